/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The foreground of a zmirror: requests, their clones to the legs, their ends.
 */
#ifndef DM_ZMIRROR_IO_H
#define DM_ZMIRROR_IO_H

#include <linux/bio.h>

#include "dm-zmirror.h"

/**
 * zm_io_size - size of the data that the foreground keeps for each bio
 *
 * Return: bytes, for dm_target.per_io_data_size.
 */
unsigned int zm_io_size(void);

/**
 * zm_io_map - send a bio to the legs that it has to go to
 * @ti: the mirror's target
 * @bio: the bio, which is device-mapper's clone
 *
 * A bio that crosses the end of a chunk is cut there, unless it is a read.
 *
 * Context: that of dm_target's map; does not sleep but in the block layer.
 * Return: DM_MAPIO_*.
 */
int zm_io_map(struct dm_target *ti, struct bio *bio);

/**
 * zm_io_end - a bio has ended on the source
 * @ti: the mirror's target
 * @bio: the bio
 * @error: its status, which may be changed
 *
 * Context: that of dm_target's end_io, possibly an interrupt.
 * Return: DM_ENDIO_*.
 */
int zm_io_end(struct dm_target *ti, struct bio *bio, blk_status_t *error);

/**
 * zm_io_ready - a request that had to wait has begun
 * @op: its operation
 *
 * Context: any.
 */
void zm_io_ready(struct zm_op *op);

/**
 * zm_io_pivot - have the destination take over from a source that is well
 * @zm: the mirror
 *
 * Does nothing if it has taken over already. A signal that kills the caller ends the
 * wait; it may take over all the same then.
 *
 * Context: may sleep, for as long as requests in flight take to end. The caller holds
 * the mirror's message_lock, and must not make memory allocations wait for I/O.
 * Return: 0; -EBUSY when it is not in sync; -EIO when a flush of the destination
 * failed; -EINTR.
 */
int zm_io_pivot(struct zmirror *zm);

/**
 * zm_io_init - prepare the foreground of a mirror
 * @zm: the mirror
 *
 * Context: may sleep.
 * Return: 0 or -ENOMEM.
 */
int zm_io_init(struct zmirror *zm);

/**
 * zm_io_drain - wait until requests that had to wait are submitted
 * @zm: the mirror
 *
 * Context: may sleep.
 */
void zm_io_drain(struct zmirror *zm);

/**
 * zm_io_exit - free what zm_io_init() made
 * @zm: the mirror; no request is in flight
 *
 * Context: may sleep.
 */
void zm_io_exit(struct zmirror *zm);

#endif
