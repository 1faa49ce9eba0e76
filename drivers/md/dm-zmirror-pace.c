// SPDX-License-Identifier: GPL-2.0-only
/*
 * How fast the background may go so that the foreground does not suffer; see
 * dm-zmirror-pace.h.
 *
 * As long as the mirror is in use, time is cut into windows. In a quiet one resync
 * rests, which tells the latency that users would have without it; in those that
 * follow it moves what the rate allows, and the latency is compared. By how much it
 * is longer grows with the rate, so that the rate that lengthens it by what is allowed
 * follows by proportion. Requests are compared with such of their kind and length, for
 * what users do may change from window to window. A window in which latency is longer
 * than allowed is followed by a quiet one: that is a relief at once, and tells whether
 * it was resync at all, or whether users ask for more than before.
 *
 * The latency of a disk may grow slowly with what is asked of it up to a knee, and a
 * hundredfold from there. So the rate at which it was too long is kept in mind: the rate
 * grows fast up to a little below that, and then slowly, but only if users have not
 * waited longer than is aimed at on the whole (compare CUBIC, RFC 9438, 4.1).
 *
 * The rate begins where it was last, with a quiet window, so that who comes after an
 * idle time has the devices for himself as soon as what is in flight has ended.
 */
#include "dm-zmirror-pace.h"

#include <linux/ktime.h>
#include <linux/log2.h>
#include <linux/math64.h>
#include <linux/minmax.h>

#define ZM_WINDOW_NS	(50 * NSEC_PER_MSEC)
#define ZM_WINDOW_MAX_NS (400 * NSEC_PER_MSEC)	/* for want of samples */
#define ZM_SETTLE_NS	(25 * NSEC_PER_MSEC)	/* what is in flight ends */
#define ZM_LOOK_NS	(10 * NSEC_PER_MSEC)	/* whether it is much too long */
#define ZM_STALE_NS	(2 * NSEC_PER_SEC)	/* nothing was moved so long */
#define ZM_SAMPLES	16			/* that a window needs */
#define ZM_TURNS	16			/* windows from quiet to quiet */
#define ZM_FIRST_KIB	4096U
#define ZM_LEAST_KIB	256U			/* resync never stands still */
#define ZM_MOST_KIB	(4U << 20)

void zm_pace_init(struct zm_pace *pace, struct zm_rate *rate)
{
	spin_lock_init(&pace->lock);
	pace->rate = rate;
	pace->target = ZM_DEFAULT_LATENCY_TARGET;
	pace->kib = ZM_FIRST_KIB;
}

void zm_pace_set(struct zm_pace *pace, bool on)
{
	spin_lock_irq(&pace->lock);
	if (on && !pace->on) {
		pace->window = ZM_WINDOW_FREE;
		pace->kib = ZM_FIRST_KIB;
		pace->knee = 0;
		pace->debt = 0;
		zm_rate_allow(pace->rate, 0, 0);
	}
	WRITE_ONCE(pace->on, on);
	if (!on) {
		pace->mean_us = 0;
		pace->idle_us = 0;
	}
	spin_unlock_irq(&pace->lock);
}

static unsigned int zm_pace_class(bool write, u32 sectors)
{
	/* Less than 16 KiB, 64 KiB, 256 KiB; and more. */
	unsigned int length = min(ilog2(max(sectors >> 3, 1U)) / 2, 3);

	return length + (write ? ZM_PACE_CLASSES / 2 : 0);
}

void zm_pace_sample(struct zm_pace *pace, u64 started, bool write, u32 sectors)
{
	struct zm_pace_sum *sum = &pace->sums[zm_pace_class(write, sectors)];

	if (READ_ONCE(pace->window) == ZM_WINDOW_QUIET &&
	    started < READ_ONCE(pace->from))
		return;
	atomic64_add(ktime_get_ns() - started, &sum->ns);
	atomic_inc(&sum->nr);
}

static u32 zm_pace_samples(struct zm_pace *pace)
{
	u32 nr = 0;
	int i;

	for (i = 0; i < ZM_PACE_CLASSES; i++)
		nr += atomic_read(&pace->sums[i].nr);
	return nr;
}

static void zm_pace_open(struct zm_pace *pace, enum zm_window window, u64 now)
{
	u64 rest = window == ZM_WINDOW_QUIET ? ZM_SETTLE_NS + ZM_WINDOW_NS : 0;
	int i;

	WRITE_ONCE(pace->window, window);
	WRITE_ONCE(pace->from, now + ZM_SETTLE_NS);
	pace->begin = now;
	pace->next = now + (rest ?: ZM_LOOK_NS);
	for (i = 0; i < ZM_PACE_CLASSES; i++) {
		atomic64_set(&pace->sums[i].ns, 0);
		atomic_set(&pace->sums[i].nr, 0);
	}
	if (rest)
		pace->turns = ZM_TURNS;
	zm_rate_allow(pace->rate, window == ZM_WINDOW_FREE ? 0 : pace->kib,
		      rest);
}

/*
 * Learns the latency without resync. Less is believed at once, for what is left in
 * flight or in a disk's cache can only make it more.
 */
static void zm_pace_learn(struct zm_pace *pace)
{
	int i;

	for (i = 0; i < ZM_PACE_CLASSES; i++) {
		u32 nr = atomic_read(&pace->sums[i].nr);
		s64 idle = pace->idle[i], mean;

		if (!nr)
			continue;
		mean = div_u64(atomic64_read(&pace->sums[i].ns), nr);
		if (!idle || pace->fresh)
			pace->idle[i] = max(mean, 1LL);
		else
			pace->idle[i] += (mean - idle) >> (mean < idle ? 1 : 3);
	}
	pace->fresh = false;
}

/*
 * What the requests of the window so far would have taken without resync, and what
 * they took. Returns the number of them for which both are known.
 */
static u32 zm_pace_compare(struct zm_pace *pace, u64 *expected, u64 *actual)
{
	u32 nr = 0;
	int i;

	*expected = 0;
	*actual = 0;
	for (i = 0; i < ZM_PACE_CLASSES; i++) {
		u32 class = atomic_read(&pace->sums[i].nr);

		if (!pace->idle[i])
			continue;
		nr += class;
		*expected += class * pace->idle[i];
		*actual += atomic64_read(&pace->sums[i].ns);
	}
	return nr;
}

/* In thousandths. */
static s64 zm_pace_excess(u64 expected, u64 actual)
{
	return div64_s64((s64)(actual - expected) * 1000, max(expected, 1ULL));
}

/* Three quarters of what is allowed, in thousandths. */
static u32 zm_pace_aim(const struct zm_pace *pace)
{
	return READ_ONCE(pace->target) * 15 / 2;
}

static u32 zm_pace_limit(const struct zm_pace *pace)
{
	return READ_ONCE(pace->target) * 10;
}

/* What users have waited longer than is aimed at, or less long. */
static void zm_pace_owe(struct zm_pace *pace, u64 expected, u64 actual)
{
	pace->debt -= pace->debt >> 7;
	pace->debt += actual - expected -
		      div_u64(expected * zm_pace_aim(pace), 1000);
}

/* The rate is halved at most, and grows by a quarter at most, or hardly. */
static void zm_pace_adjust(struct zm_pace *pace, s64 excess, u64 took)
{
	u64 allowed = div_u64(took * pace->kib, NSEC_PER_SEC / 2);
	u32 near = pace->knee - pace->knee / 8;
	s64 factor = 1280;
	u64 kib;

	if (excess > 0)
		factor = clamp(div64_s64(zm_pace_aim(pace) * 1024LL, excess),
			       512LL, 1280LL);
	if (factor > 1024 && zm_rate_moved(pace->rate) < allowed / 2)
		return;
	if (excess > 2 * zm_pace_limit(pace))
		pace->knee = pace->kib;
	else if (pace->kib > pace->knee + pace->knee / 8)
		pace->knee = 0;

	kib = (u64)pace->kib * factor / 1024;
	if (factor > 1024 && pace->knee && kib > near)
		kib = max(pace->kib + (pace->debt > 0 ? 0 : pace->kib / 64),
			  near);
	pace->kib = clamp_t(u64, kib, ZM_LEAST_KIB, ZM_MOST_KIB);
}

static enum zm_window zm_pace_judge(struct zm_pace *pace, u64 now)
{
	u64 expected, actual;
	s64 excess;
	u32 nr;

	nr = zm_pace_compare(pace, &expected, &actual);
	if (!nr)
		return ZM_WINDOW_QUIET;
	pace->mean_us = div_u64(div_u64(actual, nr), NSEC_PER_USEC);
	pace->idle_us = div_u64(div_u64(expected, nr), NSEC_PER_USEC);
	zm_pace_owe(pace, expected, actual);
	pace->expected = pace->expected / 2 + expected;
	pace->actual = pace->actual / 2 + actual;
	excess = zm_pace_excess(pace->expected, pace->actual);
	zm_pace_adjust(pace, excess, now - pace->begin);
	return excess > zm_pace_limit(pace) || !--pace->turns ?
	       ZM_WINDOW_QUIET : ZM_WINDOW_PACED;
}

static void zm_pace_close(struct zm_pace *pace, u64 now)
{
	enum zm_window next = ZM_WINDOW_PACED;
	u64 expected, actual;

	if (pace->window == ZM_WINDOW_QUIET) {
		zm_pace_compare(pace, &expected, &actual);
		zm_pace_owe(pace, expected, actual);
		zm_pace_learn(pace);
		pace->expected = 0;
		pace->actual = 0;
	} else {
		next = zm_pace_judge(pace, now);
	}
	zm_pace_open(pace, next, now);
}

/* Whether a window is over: in time, or because latency is much too long. */
static bool zm_pace_over(struct zm_pace *pace, u64 now)
{
	u64 expected, actual;

	if (now - pace->begin >= ZM_WINDOW_MAX_NS)
		return true;
	if (zm_pace_samples(pace) < ZM_SAMPLES)
		return false;
	if (pace->window == ZM_WINDOW_QUIET ||
	    now - pace->begin >= ZM_WINDOW_NS)
		return true;
	zm_pace_compare(pace, &expected, &actual);
	return zm_pace_excess(expected, actual) > 4 * zm_pace_limit(pace);
}

void zm_pace_tick(struct zm_pace *pace, bool in_use)
{
	u64 now;

	if (!READ_ONCE(pace->on))
		return;
	spin_lock_irq(&pace->lock);
	if (!pace->on)
		goto out;
	now = ktime_get_ns();
	if (!in_use) {
		if (pace->window != ZM_WINDOW_FREE)
			zm_pace_open(pace, ZM_WINDOW_FREE, now);
	} else if (pace->window == ZM_WINDOW_FREE ||
		   now - pace->begin > ZM_STALE_NS) {
		pace->fresh = true;
		zm_pace_open(pace, ZM_WINDOW_QUIET, now);
	} else if (now >= pace->next) {
		pace->next = now + ZM_LOOK_NS;
		if (zm_pace_over(pace, now))
			zm_pace_close(pace, now);
		else if (pace->window == ZM_WINDOW_QUIET)
			zm_rate_allow(pace->rate, pace->kib, ZM_LOOK_NS);
	}
out:
	spin_unlock_irq(&pace->lock);
}
