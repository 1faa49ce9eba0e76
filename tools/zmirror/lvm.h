/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * LVM, which is to know where its volumes are.
 *
 * A mirror changes what a volume's device has as its table. LVM's metadata know nothing
 * of it, and at the next activation the old place would come back, with old data. So the
 * names change in the metadata, and only there: the devices go on as they are, by their
 * UUIDs, until the volumes are deactivated. Until then the device in use has the UUID of
 * the old volume, and whatever has LVM reload that (to resize it, to move its extents)
 * would bring old data back.
 */
#ifndef ZMIRROR_LVM_H
#define ZMIRROR_LVM_H

#include "dm.h"
#include "mirror.h"

/**
 * struct zm_lv - a logical volume
 * @vg: the group
 * @name: in the metadata, now
 * @uuid: as LVM writes it
 * @active: the name by which its device went when it was activated
 * @skipped: it is activated by hand only
 */
struct zm_lv {
	char *vg;
	char *name;
	char *uuid;
	char *active;
	bool skipped;
};

/**
 * struct zm_lvm_move - a volume that takes the place of another one
 * @source: the old one
 * @dest: the new one
 * @old_name: that the old one gets, beside the one that it has been activated with
 * @same_group: the new one takes the old one's name
 * @skipped: the old one was activated by hand only, and so is the new one
 */
struct zm_lvm_move {
	struct zm_lv source;
	struct zm_lv dest;
	char *old_name;
	bool same_group;
	bool skipped;
};

/**
 * zm_lvm_uuid - the UUID of a volume, as LVM writes it
 * @dev: a device
 * @uuid: 39 bytes
 *
 * Return: whether the device is a volume that users see.
 */
bool zm_lvm_uuid(const struct zm_dev *dev, char *uuid);

/**
 * zm_lvm_parse - take a line of "lvs" apart
 * @line: "group/volume/skip activation/lock type"
 * @lv: its group and name are set, and whether it is skipped
 *
 * Return: ZM_OK; or, having told why, ZM_REFUSED when other machines may have the group,
 * ZM_FAILED when the line is not understood.
 */
int zm_lvm_parse(const char *line, struct zm_lv *lv);

/**
 * zm_lvm_keep_pool - have LVM leave a thin volume alone when it extends its pool
 * @dev: a device; nothing is done for what is no thin volume of LVM's
 *
 * LVM reloads a pool by way of any active volume in it, unless the pool is active itself:
 * then the table that it knows would replace the mirror, or what has become of it, and
 * after a pivot old data would be back. So the pool is activated, if it is not. Prints the
 * command with --dry-run.
 *
 * Return: ZM_OK; or, having told why, ZM_FAILED or ZM_REFUSED.
 */
int zm_lvm_keep_pool(const struct zm_dev *dev);

/**
 * zm_lvm_look - find out how names are to change
 * @source: the device that is moved
 * @dest: the device that it is moved to
 * @move: is filled; zm_lvm_free() frees what it has
 *
 * Return: ZM_OK; or, having told why, ZM_REFUSED or ZM_FAILED.
 */
int zm_lvm_look(const struct zm_dev *source, const struct zm_dev *dest,
		struct zm_lvm_move *move);

/** zm_lvm_tell - say what will be, before anything is changed */
void zm_lvm_tell(const struct zm_lvm_move *move);

/** zm_lvm_tell_end - say what is left to be done */
void zm_lvm_tell_end(const struct zm_lvm_move *move);

/**
 * zm_lvm_exchange - change the names in the metadata
 * @move: what zm_lvm_look() has found
 * @moved: the device has gone on with the new volume
 *
 * What has been changed already, by a command that was killed, is left. Prints commands
 * with --dry-run.
 *
 * Return: ZM_OK; or, having told why, ZM_FAILED, and then what could be undone is, unless
 * the device has moved.
 */
int zm_lvm_exchange(struct zm_lvm_move *move, bool moved);

/** zm_lvm_undo - give the names back; returns ZM_OK, or ZM_FAILED having told so */
int zm_lvm_undo(struct zm_lvm_move *move);

/**
 * zm_lvm_has_moved - whether a volume is on another one
 * @dev: the volume's device; or, of a mirror, the private one that has its table
 * @to: that other one is filled in
 *
 * LVM itself puts no volume on the start of another one that users see. So it is after a
 * pivot, until the volume is deactivated.
 */
bool zm_lvm_has_moved(const struct zm_dev *dev, struct zm_dev *to);

/**
 * zm_lvm_refuse_moved - tell why a volume that has moved cannot move again, with LVM's names
 * @source: the volume's device
 * @to: where it is
 *
 * Return: ZM_REFUSED.
 */
int zm_lvm_refuse_moved(const struct zm_dev *source, const struct zm_dev *to);

/**
 * zm_lvm_find_begun - find out whether a command that was killed has changed names
 * @mirror: the mirror that it has left
 * @move: is filled if so, for zm_lvm_undo(); its old_name is NULL otherwise;
 *	zm_lvm_free() frees what it has
 *
 * Return: ZM_OK; or, having told why, ZM_FAILED or ZM_REFUSED when LVM cannot be asked.
 */
int zm_lvm_find_begun(const struct zm_mirror *mirror, struct zm_lvm_move *move);

/**
 * zm_lvm_warn_of_name - tell that a volume which is on its own place has its old name
 * @dev: the volume's device; nothing is told of what is none
 *
 * So it is when a migrate was killed after it had changed names, and then something else
 * put an end to the mirror, such as LVM when it resizes the volume.
 */
void zm_lvm_warn_of_name(const struct zm_dev *dev);

void zm_lvm_free(struct zm_lvm_move *move);

#endif
