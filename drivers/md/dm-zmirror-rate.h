/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Bounds on how many bytes a second resync may move.
 */
#ifndef DM_ZMIRROR_RATE_H
#define DM_ZMIRROR_RATE_H

#include <linux/spinlock.h>
#include <linux/types.h>

/**
 * struct zm_rate - a bound on bytes a second
 * @lock: protects @next and @moved; a leaf
 * @kib: KiB a second, or 0 for no bound
 * @next: when the next bytes may be moved, in ns of the monotonic clock
 * @moved: sectors that were given leave since zm_rate_allow()
 *
 * @kib is read without the lock too.
 */
struct zm_rate {
	spinlock_t lock;		/* protects next and moved */
	u32 kib;
	u64 next;
	u64 moved;
};

/**
 * zm_rate_init - a rate without a bound
 * @rate: the rate
 *
 * Context: any.
 */
void zm_rate_init(struct zm_rate *rate);

/**
 * zm_rate_set - change the bound
 * @rate: the rate
 * @kib: KiB a second, or 0 for none
 *
 * Whoever sleeps in zm_rate_wait() sees it within a tenth of a second.
 *
 * Context: any with interrupts on.
 */
void zm_rate_set(struct zm_rate *rate, u32 kib);

/**
 * zm_rate_allow - change the bound for a while
 * @rate: the rate
 * @kib: KiB a second, or 0 for none
 * @rest_ns: how long nothing is to be moved before, in ns
 *
 * What was moved before counts on, for a second at most.
 *
 * Context: interrupts are off, by the lock of a struct zm_pace.
 */
void zm_rate_allow(struct zm_rate *rate, u32 kib, u64 rest_ns);

/**
 * zm_rate_moved - what was moved since zm_rate_allow()
 * @rate: the rate
 *
 * Context: interrupts are off, by the lock of a struct zm_pace.
 * Return: sectors that were given leave under a bound.
 */
u64 zm_rate_moved(struct zm_rate *rate);

/**
 * zm_rate_bite - how much to move at once at most
 * @rate: the rate
 *
 * Context: any.
 * Return: the sectors of one sixteenth of a second, at least one; U32_MAX when
 * there is no bound.
 */
u32 zm_rate_bite(const struct zm_rate *rate);

/**
 * zm_rate_wait - ask for leave to move some sectors, and wait for it
 * @rate: the rate
 * @sectors: how many
 * @may_go_on: whether to go on; asked first, and after a tenth of a second at most
 * @context: for @may_go_on
 *
 * Context: sleeps.
 * Return: true when they may be moved, false when it was given up.
 */
bool zm_rate_wait(struct zm_rate *rate, u32 sectors,
		  bool (*may_go_on)(const void *context), const void *context);

/**
 * zm_rate_charge - count sectors that are moved without leave
 * @rate: the rate
 * @sectors: how many
 *
 * Those that come later wait the longer.
 *
 * Context: any with interrupts on.
 */
void zm_rate_charge(struct zm_rate *rate, u32 sectors);

/**
 * zm_rate_refund - take sectors back that were counted
 * @rate: the rate
 * @sectors: how many
 *
 * Context: any with interrupts on.
 */
void zm_rate_refund(struct zm_rate *rate, u32 sectors);

/**
 * struct zm_meter - measures a rate
 * @lock: protects the rest; a leaf
 * @at: two moments of late, in ns of the monotonic clock
 * @sectors: the count that is measured, at these moments
 */
struct zm_meter {
	spinlock_t lock;		/* protects the rest */
	u64 at[2];
	u64 sectors[2];
};

/**
 * zm_meter_init - prepare a meter
 * @meter: the meter, all zeroes
 *
 * Context: any.
 */
void zm_meter_init(struct zm_meter *meter);

/**
 * zm_meter_reset - forget what was measured
 * @meter: the meter
 * @sectors: the count now
 *
 * Context: any with interrupts on.
 */
void zm_meter_reset(struct zm_meter *meter, u64 sectors);

/**
 * zm_meter_tick - take note of a count
 * @meter: the meter
 * @sectors: the count now
 *
 * To be called once a second or more often while it grows.
 *
 * Context: any with interrupts on.
 */
void zm_meter_tick(struct zm_meter *meter, u64 sectors);

/**
 * zm_meter_kib - how fast a count has grown of late
 * @meter: the meter
 * @sectors: the count now
 *
 * Context: any with interrupts on.
 * Return: KiB a second, of the last one or two seconds; or since it last grew or was
 * asked for, if that is longer.
 */
u32 zm_meter_kib(struct zm_meter *meter, u64 sectors);

#endif
