/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A mirror, as the kernel tells of it. Nothing is kept on disk: the mirror's table, and
 * the private device that has the table which the mirrored device had before, are all
 * that there is. The latter's UUID is ZM_ORIGIN_PREFIX and the mirrored device's UUID,
 * or its name where it has none; for a volume of LVM's, ZM_ORIGIN_SUFFIX after its UUID.
 */
#ifndef ZMIRROR_MIRROR_H
#define ZMIRROR_MIRROR_H

#include "dm.h"

#define ZM_ORIGIN_PREFIX	"ZMIRROR-"
#define ZM_ORIGIN_SUFFIX	"-zorigin"	/* of its name, and of its UUID for LVM */
#define ZM_LVM_PREFIX		"LVM-"	/* of the UUIDs of LVM */

/**
 * struct zm_status - the status of a mirror
 *
 * Figures are as in the manual: regions, sectors, KiB a second. @state is one of
 * in_sync, resync, paused, zeroing, stopped, degraded, failed_over, pivoted. A figure
 * that the kernel does not tell is 0.
 */
struct zm_status {
	uint64_t clean;
	uint64_t total;
	uint64_t region_sectors;
	char state[16];
	char source_health;
	char dest_health;
	uint64_t dirty, zero;			/* regions */
	uint64_t read, copied, zeroed, skipped, fg_skipped;	/* sectors */
	uint64_t source_errors, dest_errors;	/* requests */
	uint64_t discarded, served;		/* sectors */
	uint64_t unread;			/* regions */
	uint64_t verify_done, verify_total;	/* regions */
	uint64_t mismatch, unverified;		/* regions */
	uint64_t remaining;			/* sectors */
	uint64_t writing, reading, bound;	/* KiB a second */
	uint64_t latency_now, latency_without;	/* microseconds */
};

/**
 * zm_status_parse - read the status of a zmirror target
 * @params: what follows the target's type in a status line
 * @status: is filled; unknown figures are passed over
 *
 * Return: 0, or -1 when this is no such status.
 */
int zm_status_parse(const char *params, struct zm_status *status);

/**
 * zm_status_remaining - sectors that are left to be made clean, at most
 * @status: a status
 *
 * Return: what the kernel tells, or the length of the dirty regions where it is one
 * that does not.
 */
uint64_t zm_status_remaining(const struct zm_status *status);

/**
 * struct zm_leg - a leg of a mirror
 * @dev: the device
 * @start: in sectors
 * @name: what users call it
 */
struct zm_leg {
	dev_t dev;
	uint64_t start;
	char *name;
};

/**
 * struct zm_mirror - a mirror
 * @dev: the device that is mirrored
 * @sectors: its length
 * @source: the leg that is the truth
 * @dest: the leg that follows
 * @region_sectors: from the table
 * @features: of the table, as words with a blank between, or empty; to set with --json
 * @origin: the private device that zmirror made, if there is one (origin.name[0])
 * @exchanged: the origin is the destination, after pivot --keep-mirroring
 * @status: as it was when it was read
 */
struct zm_mirror {
	struct zm_dev dev;
	uint64_t sectors;
	struct zm_leg source;
	struct zm_leg dest;
	uint64_t region_sectors;
	char *features;
	struct zm_dev origin;
	bool exchanged;
	struct zm_status status;
};

/**
 * zm_origin_uuid - UUID of the private device of a mirrored device
 * @dev: the mirrored device
 * @uuid: ZM_UUID_SIZE bytes; a UUID that would be too long is cut at its end
 */
void zm_origin_uuid(const struct zm_dev *dev, char *uuid);

/** zm_is_origin - whether a device is the private one of another, by its UUID */
bool zm_is_origin(const struct zm_dev *dev);

/**
 * zm_origin_name - name of the private device of a mirrored device
 * @dev: the mirrored device
 * @name: ZM_NAME_SIZE bytes
 *
 * Return: ZM_OK; or, having told so, ZM_REFUSED when it would be too long.
 */
int zm_origin_name(const struct zm_dev *dev, char *name);

/**
 * zm_mirror_parse - read a table line of a zmirror target
 * @params: what follows the target's type
 * @mirror: its legs, region size and features are set; what they were is not freed
 *
 * Return: 0, or -1, with nothing changed, when this is no such line.
 */
int zm_mirror_parse(const char *params, struct zm_mirror *mirror);

/**
 * zm_mirror_open - find a mirror and read its table and status
 * @arg: as for zm_dm_find()
 * @mirror: is filled; zm_mirror_close() frees what it has
 *
 * Return: ZM_OK; or, having told why, ZM_NOT_FOUND or ZM_FAILED.
 */
int zm_mirror_open(const char *arg, struct zm_mirror *mirror);

/**
 * zm_mirror_refresh - read the status again
 * @mirror: a mirror
 *
 * Return: ZM_OK; ZM_NOT_FOUND, without a word, when it is a mirror no more (it was
 * pivoted, cancelled or removed); ZM_FAILED.
 */
int zm_mirror_refresh(struct zm_mirror *mirror);

/**
 * zm_mirror_reload - as zm_mirror_refresh(), and read the table again as well
 * @mirror: a mirror
 *
 * For those who look on for long: a pivot exchanges the legs, and messages change
 * features.
 *
 * Return: as zm_mirror_refresh().
 */
int zm_mirror_reload(struct zm_mirror *mirror);

#define ZM_LVM_PREFIX	"LVM-"	/* of a UUID */

/** zm_lvm_is_volume - whether a device is a volume of LVM's, by its UUID */
bool zm_lvm_is_volume(const struct zm_dev *dev);

/** zm_is_cryptsetup - whether a device was opened by cryptsetup, by its UUID */
bool zm_is_cryptsetup(const struct zm_dev *dev);

/** zm_has_pivoted - whether the destination has taken over, by a pivot or a failover */
bool zm_has_pivoted(const struct zm_mirror *mirror);

/**
 * zm_mirror_close - free what a mirror has
 * @mirror: one that was opened, or that could not be
 */
void zm_mirror_close(struct zm_mirror *mirror);

/**
 * zm_mirror_list - all mirrors
 * @mirrors: an array, to be freed with zm_mirror_list_free()
 * @nr: how many
 *
 * One that goes away while it is looked at is left out.
 */
int zm_mirror_list(struct zm_mirror **mirrors, size_t *nr);

/**
 * zm_mirror_list_free - free what zm_mirror_list() has made
 * @mirrors: the array
 * @nr: how many
 */
void zm_mirror_list_free(struct zm_mirror *mirrors, size_t nr);

/**
 * zm_mirror_regions - which regions are of a kind
 * @mirror: a mirror
 * @kind: "dirty", "zero", "mismatch" or "unread"
 * @first: the first region that is looked at
 * @count: how many are
 *
 * Return: ranges as the message list tells them ("0-4,9" or "none"), to be freed; or
 * NULL, having told why.
 */
char *zm_mirror_regions(const struct zm_mirror *mirror, const char *kind,
			uint64_t first, uint64_t count);

#endif
