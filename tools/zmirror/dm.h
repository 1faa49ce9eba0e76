/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Device-mapper devices, by libdevmapper. Names are as the user sees them: mangling
 * is libdevmapper's affair. Functions that can fail return an exit code of zmirror.h
 * and have told why when it is not ZM_OK.
 */
#ifndef ZMIRROR_DM_H
#define ZMIRROR_DM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define ZM_NAME_SIZE	128	/* bytes, with the end of the string */
#define ZM_UUID_SIZE	129

/**
 * struct zm_dev - a device-mapper device
 * @name: its name
 * @uuid: its UUID, or empty
 * @dev: its number
 * @live: it has a table
 * @inactive: it has a table that is loaded and not live yet
 * @suspended: requests wait
 * @read_only: it cannot be written to
 * @open_count: of file systems, programs and devices on it
 * @event_nr: of the last event
 */
struct zm_dev {
	char name[ZM_NAME_SIZE];
	char uuid[ZM_UUID_SIZE];
	dev_t dev;
	bool live;
	bool inactive;
	bool suspended;
	bool read_only;
	int32_t open_count;
	uint32_t event_nr;
};

/**
 * struct zm_target - a line of a table or of a status
 * @start: in sectors
 * @length: in sectors
 * @type: the target's type
 * @params: what follows it
 */
struct zm_target {
	uint64_t start;
	uint64_t length;
	char *type;
	char *params;
};

/**
 * struct zm_table - a table, or the status of one
 * @targets: its lines
 * @nr: how many
 */
struct zm_table {
	struct zm_target *targets;
	size_t nr;
};

void zm_table_add(struct zm_table *table, uint64_t start, uint64_t length,
		  const char *type, const char *params);
void zm_table_free(struct zm_table *table);
uint64_t zm_table_sectors(const struct zm_table *table);
bool zm_table_equal(const struct zm_table *a, const struct zm_table *b);

/**
 * zm_table_linear - whether a table is one linear target, from the start of a device
 * @table: the table
 * @dev: the device's number goes there
 *
 * So it is after a pivot.
 */
bool zm_table_linear(const struct zm_table *table, dev_t *dev);

/**
 * zm_dm_lookup - look up a device by its name
 * @name: its name
 * @dev: is filled
 *
 * Return: ZM_OK; ZM_NOT_FOUND, without a word, when there is none; or ZM_FAILED.
 */
int zm_dm_lookup(const char *name, struct zm_dev *dev);

/** zm_dm_lookup_uuid - as zm_dm_lookup(), by UUID */
int zm_dm_lookup_uuid(const char *uuid, struct zm_dev *dev);

/** zm_dm_lookup_dev - as zm_dm_lookup(), by number */
int zm_dm_lookup_dev(dev_t number, struct zm_dev *dev);

/**
 * zm_dm_find - find the device that a user means
 * @arg: the name of a device-mapper device, the path of a block device, or VG/LV
 * @dev: is filled
 *
 * Return: ZM_OK; or, having told why, ZM_NOT_FOUND or ZM_FAILED.
 */
int zm_dm_find(const char *arg, struct zm_dev *dev);

/**
 * zm_dm_list - names of all device-mapper devices
 * @names: an array of names, to be freed with zm_free_names()
 * @nr: how many
 */
int zm_dm_list(char ***names, size_t *nr);
void zm_free_names(char **names, size_t nr);

/* The live table, and its status; zm_table_free() frees them. */
int zm_dm_table(const char *name, struct zm_table *table);
int zm_dm_table_inactive(const char *name, struct zm_table *table);
int zm_dm_status(const char *name, struct zm_table *status);

/**
 * zm_dm_message - send a message to the first target
 * @name: the device
 * @message: the words
 * @answer: what it answers, to be freed, or NULL; may be NULL when nobody cares
 */
int zm_dm_message(const char *name, const char *message, char **answer);

/**
 * zm_dm_wait - wait for an event
 * @name: the device
 * @event_nr: the number of the last event that is known
 *
 * Blocks in the kernel; a signal with a handler ends it.
 *
 * Return: ZM_OK, ZM_INTERRUPTED, or ZM_FAILED.
 */
int zm_dm_wait(const char *name, uint32_t event_nr);

/* What changes devices. See plan.h for the way in which verbs do so. */
int zm_dm_create(const char *name, const char *uuid, const struct zm_table *table);
int zm_dm_load(const char *name, const struct zm_table *table);
int zm_dm_resume(const char *name);
int zm_dm_clear(const char *name);
int zm_dm_remove(const char *name);

/**
 * zm_dm_target_version - the version of a target that the kernel has
 * @type: its name
 *
 * Return: "1.2.3", to be freed; or NULL when its module is not loaded.
 */
char *zm_dm_target_version(const char *type);

/**
 * zm_dev_sectors - length of a block device
 * @number: the device
 *
 * Return: sectors, or 0 when it is not there.
 */
uint64_t zm_dev_sectors(dev_t number);

/**
 * zm_dev_written - how much has been written to a block device
 * @number: the device
 *
 * Return: sectors that were written or discarded since it is there, or 0 when it is not,
 * or does not count them ("iostats").
 */
uint64_t zm_dev_written(dev_t number);

/**
 * zm_kernel_path - the path of a block device that only the kernel has given a name
 * @name: the name in sysfs, where a '!' stands for each '/'
 *
 * Return: it, to be freed.
 */
char *zm_kernel_path(const char *name);

/**
 * zm_dm_path - the path that a device-mapper device has, or will have
 * @name: its name, which the path has with libdevmapper's mangling
 *
 * Return: the path, to be freed.
 */
char *zm_dm_path(const char *name);

/** zm_dev_path - a path of a device, preferring /dev/mapper/NAME; to be freed */
char *zm_dev_path(dev_t number);

/** zm_dev_name - what users call a device: a device-mapper name, or sda1; to be freed */
char *zm_dev_name(dev_t number);

/** zm_dev_parse - read "253:3", as tables have it */
bool zm_dev_parse(const char *text, dev_t *number);

#endif
