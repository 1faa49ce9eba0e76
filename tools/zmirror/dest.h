/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What is found out about a destination before it is written to.
 */
#ifndef ZMIRROR_DEST_H
#define ZMIRROR_DEST_H

#include "dm.h"

/**
 * struct zm_dest - a destination
 * @dev: the device
 * @path: of it
 * @name: what users call it
 * @sectors: its length
 * @block_sectors: its logical block
 * @read_only: it cannot be written to
 * @holder: who uses it (a file system, swap, another device), or NULL
 * @user: who has it open without keeping others out, or NULL
 * @signature: what libblkid finds on it ("ext4", "LVM2_member", "gpt"...), or NULL
 * @loop: it is a loop device
 * @scsi: it is a SCSI disk, or a partition of one
 * @thin: it is a thin volume
 * @thin_mapped: sectors that its pool has mapped for it
 * @thin_external: it has an external origin, so that what is not mapped need not be zero
 * @pool_chunk: the pool's block, in sectors
 * @pool_zeroes: the pool zeroes new blocks
 * @pool_discards: the pool passes or processes discards
 * @dest_zeroed: proved: it reads as zeroes
 * @discard_zeroes: an aligned discard makes it read as zeroes
 * @why: in words, how @dest_zeroed was proved or why not
 */
struct zm_dest {
	dev_t dev;
	char *path;
	char *name;
	uint64_t sectors;
	uint32_t block_sectors;
	bool read_only;
	char *holder;
	char *user;
	char *signature;
	bool loop;
	bool scsi;
	bool thin;
	uint64_t thin_mapped;
	bool thin_external;
	uint64_t pool_chunk;
	bool pool_zeroes;
	bool pool_discards;
	bool dest_zeroed;
	bool discard_zeroes;
	char *why;
};

/**
 * zm_dest_find - find a destination, and no more
 * @arg: as for zm_dest_probe()
 * @dev: its number goes there
 *
 * Return: ZM_OK; or, having told why, ZM_NOT_FOUND or ZM_FAILED.
 */
int zm_dest_find(const char *arg, dev_t *dev);

/**
 * zm_dest_probe - find out about a destination, without writing to it
 * @arg: a path, VG/LV, or the name of a device-mapper device
 * @dest: is filled; zm_dest_free() frees what it has
 *
 * Whoever has it open is waited for, for two seconds at most, unless with --force.
 *
 * Return: ZM_OK; or, having told why, ZM_NOT_FOUND, ZM_FAILED, or ZM_REFUSED where a look
 * would not end.
 */
int zm_dest_probe(const char *arg, struct zm_dest *dest);
void zm_dest_free(struct zm_dest *dest);

/**
 * zm_dest_thin - take the table and the status of a thin volume apart
 * @params: of its table: pool, number, and an external origin or not
 * @status: of its status: sectors that are mapped
 * @pool: the pool's device
 * @dest: what is known by that is filled in
 *
 * Return: whether they are understood.
 */
bool zm_dest_thin(const char *params, const char *status, dev_t *pool,
		  struct zm_dest *dest);

/**
 * zm_dest_pool - take the table of a thin pool apart
 * @params: of the table
 * @dest: what is known by that is filled in
 */
void zm_dest_pool(const char *params, struct zm_dest *dest);

/**
 * zm_dest_prove - decide what can be believed of a destination
 * @dest: what is known of it; dest_zeroed, discard_zeroes and why are filled in
 */
void zm_dest_prove(struct zm_dest *dest);

/**
 * zm_dest_still_zero - look again whether what was proved is still so
 * @dest: a destination with dest_zeroed proved, not promised
 *
 * To be asked when nobody else can write to it any more. What others have written is
 * brought there first.
 *
 * Return: whether it is.
 */
bool zm_dest_still_zero(const struct zm_dest *dest);

/**
 * zm_dest_sample - read blocks of a destination that is promised to be zero
 * @dest: a destination
 * @sectors: how much of it is to be mirrored to
 * @where: where data was found, in bytes
 *
 * Reads both ends of that, and blocks at random places, with O_DIRECT.
 *
 * Return: 1 when all were zero, 0 when data was found, -1 when it cannot be read
 * (having told why).
 */
int zm_dest_sample(const struct zm_dest *dest, uint64_t sectors, uint64_t *where);

/**
 * zm_dest_check - whether a source can be mirrored to it
 * @dest: a destination that was probed
 * @source: the source
 * @sectors: its length
 * @force: a signature is no reason to refuse
 *
 * Refused, with a message and a hint: too small, read-only, in use (@force does not
 * help), the source itself or a device under or over it, a signature.
 *
 * Return: ZM_OK or ZM_REFUSED.
 */
int zm_dest_check(const struct zm_dest *dest, const struct zm_dev *source,
		  uint64_t sectors, bool force);

#endif
