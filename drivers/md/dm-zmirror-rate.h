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
 * @lock: protects @next; a leaf
 * @kib: KiB a second, or 0 for no bound
 * @next: when the next bytes may be moved, in ns of the monotonic clock
 *
 * @kib is read without the lock too.
 */
struct zm_rate {
	spinlock_t lock;		/* protects next */
	u32 kib;
	u64 next;
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
 * @may_go_on: whether to go on waiting; asked every tenth of a second
 * @context: for @may_go_on
 *
 * Context: sleeps.
 * Return: true when they may be moved, false when the wait was given up.
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

#endif
