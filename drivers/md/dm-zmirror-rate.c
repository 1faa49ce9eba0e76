// SPDX-License-Identifier: GPL-2.0-only
/*
 * Bounds on how many bytes a second resync may move; see dm-zmirror-rate.h.
 *
 * A leaky bucket, kept as a time (the virtual scheduling algorithm of ITU-T
 * I.371): what is moved puts off the moment from which the next may move by what
 * it takes at this rate. Who comes a little late gets that time back, so that
 * the clock's ticks do not slow it down; who comes much later, after a pause or
 * when there was nothing to do, gets no more than ZM_CREDIT_NS back. So there is
 * no burst of more than that and one bite, less than a fifth of a second's worth.
 */
#include "dm-zmirror-rate.h"

#include <linux/blk_types.h>
#include <linux/jiffies.h>
#include <linux/ktime.h>
#include <linux/math64.h>
#include <linux/minmax.h>
#include <linux/sched.h>

#define ZM_CREDIT_NS	(NSEC_PER_SEC / 10)
#define ZM_BITES	16U		/* in a second */

void zm_rate_init(struct zm_rate *rate)
{
	spin_lock_init(&rate->lock);
	rate->kib = 0;
	rate->next = 0;
	rate->moved = 0;
}

void zm_rate_set(struct zm_rate *rate, u32 kib)
{
	spin_lock_irq(&rate->lock);
	WRITE_ONCE(rate->kib, kib);
	rate->next = ktime_get_ns();
	spin_unlock_irq(&rate->lock);
}

void zm_rate_allow(struct zm_rate *rate, u32 kib, u64 rest_ns)
{
	u64 now = ktime_get_ns();

	spin_lock(&rate->lock);
	WRITE_ONCE(rate->kib, kib);
	rate->next = clamp(rate->next, now + rest_ns,
			   now + max_t(u64, rest_ns, NSEC_PER_SEC));
	rate->moved = 0;
	spin_unlock(&rate->lock);
}

u64 zm_rate_moved(struct zm_rate *rate)
{
	u64 moved;

	spin_lock(&rate->lock);
	moved = rate->moved;
	spin_unlock(&rate->lock);
	return moved;
}

u32 zm_rate_bite(const struct zm_rate *rate)
{
	u32 kib = READ_ONCE(rate->kib);

	return kib ? max(kib / (ZM_BITES / 2), 1U) : U32_MAX;
}

/* How long some sectors take; there is a bound. */
static u64 zm_rate_ns(const struct zm_rate *rate, u32 sectors)
{
	return div_u64((u64)sectors * (NSEC_PER_SEC / 2), rate->kib);
}

/* Counts sectors that are moved; there is a bound. */
static void zm_rate_count(struct zm_rate *rate, u64 now, u32 sectors)
{
	rate->next = max(rate->next, now - ZM_CREDIT_NS) +
		     zm_rate_ns(rate, sectors);
	rate->moved += sectors;
}

/* Returns 0 when they may be moved now, else how long to wait, in ns. */
static u64 zm_rate_ask(struct zm_rate *rate, u32 sectors)
{
	u64 now = ktime_get_ns(), wait = 0;

	spin_lock_irq(&rate->lock);
	if (rate->kib && rate->next > now)
		wait = rate->next - now;
	else if (rate->kib)
		zm_rate_count(rate, now, sectors);
	spin_unlock_irq(&rate->lock);
	return wait;
}

bool zm_rate_wait(struct zm_rate *rate, u32 sectors,
		  bool (*may_go_on)(const void *context), const void *context)
{
	u64 ns;

	while (may_go_on(context)) {
		ns = zm_rate_ask(rate, sectors);
		if (!ns)
			return true;
		ns = min_t(u64, ns, NSEC_PER_SEC / 10);
		schedule_timeout_idle(nsecs_to_jiffies(ns) + 1);
	}
	return false;
}

void zm_rate_charge(struct zm_rate *rate, u32 sectors)
{
	u64 now = ktime_get_ns();

	spin_lock_irq(&rate->lock);
	if (rate->kib)
		zm_rate_count(rate, now, sectors);
	spin_unlock_irq(&rate->lock);
}

void zm_rate_refund(struct zm_rate *rate, u32 sectors)
{
	spin_lock_irq(&rate->lock);
	if (rate->kib)
		rate->next -= min(rate->next, zm_rate_ns(rate, sectors));
	spin_unlock_irq(&rate->lock);
}

void zm_meter_init(struct zm_meter *meter)
{
	spin_lock_init(&meter->lock);
}

void zm_meter_reset(struct zm_meter *meter, u64 sectors)
{
	spin_lock_irq(&meter->lock);
	meter->at[0] = ktime_get_ns();
	meter->at[1] = meter->at[0];
	meter->sectors[0] = sectors;
	meter->sectors[1] = sectors;
	spin_unlock_irq(&meter->lock);
}

void zm_meter_tick(struct zm_meter *meter, u64 sectors)
{
	u64 now;

	spin_lock_irq(&meter->lock);
	now = ktime_get_ns();
	if (now - meter->at[1] >= NSEC_PER_SEC) {
		meter->at[0] = meter->at[1];
		meter->sectors[0] = meter->sectors[1];
		meter->at[1] = now;
		meter->sectors[1] = sectors;
	}
	spin_unlock_irq(&meter->lock);
}

u32 zm_meter_kib(struct zm_meter *meter, u64 sectors)
{
	u64 ms, kib;

	spin_lock_irq(&meter->lock);
	ms = div_u64(ktime_get_ns() - meter->at[0], NSEC_PER_MSEC);
	kib = (sectors - meter->sectors[0]) / 2;
	spin_unlock_irq(&meter->lock);
	zm_meter_tick(meter, sectors);
	return div64_u64(kib * MSEC_PER_SEC, max(ms, 1ULL));
}
