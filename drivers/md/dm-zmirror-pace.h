/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * How fast the background may go so that the foreground does not suffer.
 */
#ifndef DM_ZMIRROR_PACE_H
#define DM_ZMIRROR_PACE_H

#include <linux/atomic.h>
#include <linux/spinlock.h>
#include <linux/types.h>

#include "dm-zmirror-rate.h"

#define ZM_MIN_LATENCY_TARGET		1U	/* percent */
#define ZM_MAX_LATENCY_TARGET		1000U
#define ZM_DEFAULT_LATENCY_TARGET	25U

#define ZM_PACE_CLASSES	8	/* of requests: reads and writes, of four lengths */

/**
 * struct zm_pace_sum - requests that have ended in a window
 * @ns: how long they took together
 * @nr: how many there were
 */
struct zm_pace_sum {
	atomic64_t ns;
	atomic_t nr;
};

/**
 * enum zm_window - what resync does in a window of time
 * @ZM_WINDOW_FREE: as much as it can, for nobody uses the mirror
 * @ZM_WINDOW_QUIET: nothing, so that the latency without it is known
 * @ZM_WINDOW_PACED: as much as the rate allows
 */
enum zm_window { ZM_WINDOW_FREE, ZM_WINDOW_QUIET, ZM_WINDOW_PACED };

/**
 * struct zm_pace - a controller of a rate by the latency of the foreground
 * @on: whether it is in force
 * @target: by how many percent resync may lengthen the mean latency
 * @rate: what it controls
 * @lock: protects what follows but @sums; taken before that of @rate
 * @window: what kind of window it is
 * @begin: when the window began, in ns of the monotonic clock
 * @from: requests that began before this do not tell the latency without resync
 * @next: when to look at the window
 * @turns: windows left until the latency without resync is measured again
 * @fresh: that latency is not known of this time of use so far
 * @kib: the rate, in KiB a second, as long as the mirror is in use
 * @knee: the rate at which latency was too long the last time; 0 if not known
 * @debt: by how much latency has been longer than aimed at, all requests together, in
 *	ns, fading
 * @idle: mean latency without resync by class, in ns; 0 if not known
 * @expected: what the requests of late would have taken without resync, in ns, fading
 * @actual: what they took
 * @mean_us: their mean latency, for the status
 * @idle_us: what it would have been without resync
 * @sums: of the window, by class
 *
 * @on, @window and @from are read without the lock by requests that end: a sample of
 * which it is not clear where it belongs makes little difference.
 */
struct zm_pace {
	bool on;
	u32 target;
	struct zm_rate *rate;
	spinlock_t lock;		/* protects what follows but sums */
	enum zm_window window;
	u64 begin;
	u64 from;
	u64 next;
	u32 turns;
	bool fresh;
	u32 kib;
	u32 knee;
	s64 debt;
	u64 idle[ZM_PACE_CLASSES];
	u64 expected;
	u64 actual;
	u32 mean_us;
	u32 idle_us;
	struct zm_pace_sum sums[ZM_PACE_CLASSES];
};

/**
 * zm_pace_init - a controller that is not in force
 * @pace: the controller, all zeroes
 * @rate: what it controls
 *
 * Context: any.
 */
void zm_pace_init(struct zm_pace *pace, struct zm_rate *rate);

/**
 * zm_pace_set - put a controller in force, or out of it
 * @pace: the controller
 * @on: which
 *
 * When it is out of force, the rate is the caller's to set.
 *
 * Context: any with interrupts on. Calls must not run at the same time.
 */
void zm_pace_set(struct zm_pace *pace, bool on);

/**
 * zm_pace_sample - take note of a request of users that has ended well
 * @pace: the controller
 * @started: when it came, in ns of the monotonic clock
 * @write: whether it was a write
 * @sectors: its length
 *
 * Context: any.
 */
void zm_pace_sample(struct zm_pace *pace, u64 started, bool write, u32 sectors);

/**
 * zm_pace_tick - set the rate by what is known of the latency
 * @pace: the controller
 * @in_use: whether somebody uses the mirror
 *
 * To be called by whoever moves something, before each time, and while waiting for
 * leave.
 *
 * Context: any with interrupts on.
 */
void zm_pace_tick(struct zm_pace *pace, bool in_use);

#endif
