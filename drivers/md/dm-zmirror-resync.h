/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The background of a zmirror: copies of dirty regions.
 */
#ifndef DM_ZMIRROR_RESYNC_H
#define DM_ZMIRROR_RESYNC_H

#include "dm-zmirror.h"

#define ZM_MIN_JOBS	1U
#define ZM_MAX_JOBS	256U
#define ZM_OTHER_WORK	4U	/* beside them: verify, events, in sync, another try */
#define ZM_DEFAULT_JOBS	16U

#define ZM_MIN_RATE		64U	/* KiB a second */
#define ZM_MIN_SCAN_RATE	1024U

/**
 * zm_resync_init - prepare the background of a mirror
 * @zm: the mirror
 *
 * Context: may sleep.
 * Return: 0 or a negative error number.
 */
int zm_resync_init(struct zmirror *zm);

/**
 * zm_resync_exit - free what zm_resync_init() made
 * @zm: the mirror, suspended or never resumed
 *
 * Context: may sleep.
 */
void zm_resync_exit(struct zmirror *zm);

/**
 * zm_resync_set_jobs - set how many copy jobs may be in flight
 * @zm: the mirror
 * @jobs: their number, from ZM_MIN_JOBS to ZM_MAX_JOBS
 *
 * Context: may sleep. Calls must not run at the same time.
 * Return: 0, or -ENOMEM, which changes nothing.
 */
int zm_resync_set_jobs(struct zmirror *zm, u32 jobs);

/**
 * zm_resync_running - whether resync is allowed to go on
 * @zm: the mirror
 *
 * Context: any.
 * Return: true unless it is paused, suspended, or stopped by an error.
 */
bool zm_resync_running(const struct zmirror *zm);

/**
 * zm_prezero_due - whether the destination is to be zeroed before it is copied to
 * @zm: the mirror
 *
 * Context: any.
 * Return: true until all of it has been zeroed, or that was given up.
 */
bool zm_prezero_due(const struct zmirror *zm);

/**
 * zm_prezero_busy - whether regions of the destination may be zeroed right now
 * @zm: the mirror
 *
 * Context: any.
 * Return: true as zm_prezero_due(), and until the last zeroing has ended.
 */
bool zm_prezero_busy(const struct zmirror *zm);

/**
 * zm_resync_adopt - go on where another mirror was
 * @zm: the mirror, not resumed so far
 * @old: the mirror whose regions it takes over, drained
 *
 * Context: any.
 */
void zm_resync_adopt(struct zmirror *zm, const struct zmirror *old);

/**
 * zm_resync_kick - see whether there is something to copy
 * @zm: the mirror
 *
 * To be called when a clean region has become dirty, and when what held resync
 * up is over.
 *
 * Context: any.
 */
void zm_resync_kick(struct zmirror *zm);

/**
 * zm_resync_resume - the mirror is about to be resumed
 * @zm: the mirror
 *
 * At first, resync takes it for in use.
 *
 * Context: any.
 */
void zm_resync_resume(struct zmirror *zm);

/**
 * zm_resync_in_use - whether the background should give way
 * @zm: the mirror
 *
 * Context: any.
 * Return: true when a request of users has come within the last tenth of a
 * second.
 */
bool zm_resync_in_use(struct zmirror *zm);

/**
 * zm_resync_drain - wait until all jobs and announcements have ended
 * @zm: the mirror, which lets no job start
 *
 * Context: may sleep, as long as a request to a leg takes to end.
 */
void zm_resync_drain(struct zmirror *zm);

/**
 * zm_resync_flush_dest - flush the destination
 * @zm: the mirror
 *
 * Context: may sleep.
 * Return: whether that has succeeded, and the destination not failed meanwhile.
 */
bool zm_resync_flush_dest(struct zmirror *zm);

/**
 * zm_resync_ready - the second copy of a region has begun after a wait
 * @op: its operation
 *
 * Context: any.
 */
void zm_resync_ready(struct zm_op *op);

#endif
