/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Verify: whether the legs read the same where they should.
 */
#ifndef DM_ZMIRROR_VERIFY_H
#define DM_ZMIRROR_VERIFY_H

#include "dm-zmirror.h"

/**
 * struct zm_verify_count - how far a verify is
 * @done: regions that were looked at
 * @total: regions that are to be
 * @mismatch: those that differ
 * @unverified: those that were dirty, or that the source could not read
 */
struct zm_verify_count {
	u32 done;
	u32 total;
	u32 mismatch;
	u32 unverified;
};

/**
 * zm_verify_init - prepare for verifies
 * @zm: the mirror
 *
 * Context: may sleep.
 * Return: 0 or a negative error number.
 */
int zm_verify_init(struct zmirror *zm);

/**
 * zm_verify_exit - free what zm_verify_init() made
 * @zm: the mirror, drained
 *
 * Context: may sleep.
 */
void zm_verify_exit(struct zmirror *zm);

/**
 * zm_verify_start - start a verify in the background
 * @zm: the mirror
 * @start: first sector; all of its region is looked at
 * @len: how many sectors, at least one
 * @repair: make regions that differ dirty, so that they are copied again
 *
 * It ends by itself, which is an event. What the last one has found is forgotten.
 *
 * Context: may sleep. One message at a time.
 * Return: 0; -EBUSY when there is one under way; -ENOMEM.
 */
int zm_verify_start(struct zmirror *zm, sector_t start, sector_t len,
		    bool repair);

/**
 * zm_verify_stop - end a verify before its time
 * @zm: the mirror
 *
 * Context: may sleep, as long as a request to a leg takes to end.
 */
void zm_verify_stop(struct zmirror *zm);

/**
 * zm_verify_kick - let a verify go on that a suspend has interrupted
 * @zm: the mirror
 *
 * Context: any.
 */
void zm_verify_kick(struct zmirror *zm);

/**
 * zm_verify_drain - wait until a verify has come to a rest
 * @zm: the mirror, suspended
 *
 * Context: may sleep, as long as a request to a leg takes to end.
 */
void zm_verify_drain(struct zmirror *zm);

/**
 * zm_verify_adopt - go on where another mirror was
 * @zm: the mirror, not resumed so far
 * @old: the mirror whose regions it takes over, drained
 *
 * Context: may sleep.
 */
void zm_verify_adopt(struct zmirror *zm, struct zmirror *old);

/**
 * zm_verify_count - how far a verify is, or how the last one has ended
 * @zm: the mirror
 * @count: filled in here
 *
 * Context: any.
 */
void zm_verify_count(const struct zmirror *zm, struct zm_verify_count *count);

/**
 * zm_verify_found - the regions that differ
 * @zm: the mirror
 *
 * Context: any. They stay as long as the lock on messages is held.
 * Return: a bitmap, for zm_words_next(); NULL when there never was a verify.
 */
const u64 *zm_verify_found(const struct zmirror *zm);

/**
 * zm_verify_ready - a look at a region has begun after a wait
 * @op: its operation
 *
 * Context: any.
 */
void zm_verify_ready(struct zm_op *op);

#endif
