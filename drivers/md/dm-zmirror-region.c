// SPDX-License-Identifier: GPL-2.0-only
/*
 * Regions, chunks and operations of a zmirror; see dm-zmirror-region.h.
 */
#include "dm-zmirror-region.h"

#include <linux/atomic.h>
#include <linux/bitmap.h>
#include <linux/bitops.h>
#include <linux/cache.h>
#include <linux/hash.h>
#include <linux/log2.h>
#include <linux/mm.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/spinlock.h>

#define CREATE_TRACE_POINTS
#include "dm-zmirror-trace.h"

/*
 * ------------------------------------------------------------------------
 * Types
 * ------------------------------------------------------------------------
 */

#define ZM_BUCKET_BITS	8
#define ZM_BUCKETS	BIT(ZM_BUCKET_BITS)

/*
 * The operations of the chunks that hash to one number. The lock protects both
 * lists, the fields of the operations in them, and the words of those chunks:
 * dirty, zero, unread and written. It is the only lock of this module, and is taken
 * with interrupts off, because requests end in interrupts.
 *
 * A waiting operation stands behind every earlier operation with which it is
 * in conflict, in flight or waiting. So it never waits for a later one, the
 * order is first come, first served, and no circle can form. Whoever waits is
 * held up by somebody in flight in the end: where nobody is in flight, nobody
 * waits. But for a bucket that is frozen: those that come meanwhile wait for that
 * too, and are let go together, in their order.
 */
struct zm_bucket {
	spinlock_t lock;		/* protects the lists and the bits */
	bool frozen;			/* no operation begins */
	struct hlist_head in_flight;
	struct list_head waiting;
} ____cacheline_aligned_in_smp;

/*
 * @dirty_chunks has the bit of each chunk whose dirty word is not zero; it is
 * the walker's index. Its words are shared between buckets, hence atomic bit
 * operations, but a bit changes only under the lock of its chunk's bucket.
 *
 * @unread has the bits of the dirty regions that no copy takes because they could
 * not be read. It is there from the first time on that it may be needed.
 *
 * @written holds for each chunk the flush epoch in which the destination was
 * last written there. @epoch counts the destination's flushes as they begin,
 * @flushed is the newest epoch of which all writes are known to be stable. The
 * counters may wrap: a chunk not written for 2^31 flushes then looks as if it
 * had not been flushed, which is the safe side.
 *
 * @used is the newest epoch in which a write of users ended on the destination.
 *
 * @failures counts the failures of the destination. An operation that began
 * before a failure must not make a region clean after it, even if its own
 * write succeeded: what the destination acknowledged shortly before it failed
 * may have been in its volatile cache.
 *
 * @trouble has a bit for each thing that keeps requests from the shortest way, which
 * so is one test.
 */
#define ZM_DEST_FAILED	1	/* the destination is not used */
#define ZM_LOST_DUE	2	/* what it has lost has not been made dirty */
#define ZM_FROZEN	4	/* buckets are frozen, or may be */
#define ZM_SOURCE_GONE	8	/* the source is not used */

struct zm_regions {
	sector_t len;			/* sectors */
	u32 region_shift;		/* log2 of a region's sectors */
	u32 nr_regions;
	u32 nr_chunks;
	u32 dev;			/* for the tracepoints */
	zm_ready_fn ready;

	struct zm_bucket *buckets;	/* ZM_BUCKETS of them */
	u64 *dirty;
	u64 *zero;
	u64 *unread;			/* or NULL */
	u64 *changed;			/* or NULL */
	u32 *written;
	unsigned long *dirty_chunks;
	atomic_t nr_dirty;
	atomic_t nr_zero;
	atomic_t nr_unread;

	atomic_t epoch;
	atomic_t flushed;
	u32 used;
	atomic_t failures;
	atomic_t trouble;
};

static struct zm_bucket *zm_bucket(struct zm_regions *zr, u32 chunk)
{
	return &zr->buckets[hash_32(chunk, ZM_BUCKET_BITS)];
}

/*
 * ------------------------------------------------------------------------
 * Bits
 * ------------------------------------------------------------------------
 */

/* The regions that exist in a chunk: all but in the last one. */
static u64 zm_chunk_mask(const struct zm_regions *zr, u32 chunk)
{
	u32 left = zr->nr_regions - (chunk << ZM_CHUNK_SHIFT);

	return left >= ZM_CHUNK_REGIONS ? ~0ULL : GENMASK_ULL(left - 1, 0);
}

/* Returns whether a clean region became dirty. */
static bool zm_set_dirty(struct zm_regions *zr, u32 chunk, u64 mask)
{
	u64 new = mask & ~zr->dirty[chunk];

	if (!new)
		return false;
	if (!zr->dirty[chunk])
		set_bit(chunk, zr->dirty_chunks);
	zr->dirty[chunk] |= new;
	atomic_add(hweight64(new), &zr->nr_dirty);
	trace_zmirror_dirty(zr->dev, chunk, new);
	return true;
}

/* The regions of a chunk that are left out. */
static u64 zm_unread(const struct zm_regions *zr, u32 chunk)
{
	/* Pairs with the release of zm_unread_alloc(). */
	const u64 *unread = smp_load_acquire(&zr->unread);

	return unread ? unread[chunk] : 0;
}

static void zm_clear_unread(struct zm_regions *zr, u32 chunk, u64 mask)
{
	u64 old = mask & zm_unread(zr, chunk);

	if (!old)
		return;
	zr->unread[chunk] &= ~old;
	atomic_sub(hweight64(old), &zr->nr_unread);
}

/* Returns whether the last dirty region of all became clean. */
static bool zm_clear_dirty(struct zm_regions *zr, u32 chunk, u64 mask)
{
	u64 old = mask & zr->dirty[chunk];

	if (!old)
		return false;
	zr->dirty[chunk] &= ~old;
	zm_clear_unread(zr, chunk, old);
	trace_zmirror_clean(zr->dev, chunk, old);
	if (!zr->dirty[chunk])
		clear_bit(chunk, zr->dirty_chunks);
	return atomic_sub_and_test(hweight64(old), &zr->nr_dirty);
}

static void zm_set_zero(struct zm_regions *zr, u32 chunk, u64 mask)
{
	u64 new = mask & ~zr->zero[chunk];

	if (!new)
		return;
	zr->zero[chunk] |= new;
	atomic_add(hweight64(new), &zr->nr_zero);
	trace_zmirror_zero(zr->dev, chunk, new);
}

static void zm_clear_zero(struct zm_regions *zr, u32 chunk, u64 mask)
{
	u64 old = mask & zr->zero[chunk];

	if (!old)
		return;
	zr->zero[chunk] &= ~old;
	atomic_sub(hweight64(old), &zr->nr_zero);
	trace_zmirror_nonzero(zr->dev, chunk, old);
}

/*
 * ------------------------------------------------------------------------
 * Operations: who waits for whom, and who raced whom
 * ------------------------------------------------------------------------
 */

/* Works out where a foreground operation is. */
static void zm_op_map(const struct zm_regions *zr, struct zm_op *op)
{
	u32 first = op->start >> zr->region_shift;
	u32 last = (op->end - 1) >> zr->region_shift;

	op->chunk = first >> ZM_CHUNK_SHIFT;
	op->touch = ((2ULL << (last - first)) - 1) << first % ZM_CHUNK_REGIONS;
	op->raced = 0;
	op->legs = 0;
	op->hold = false;
	op->dirtied = false;
	op->skipped = false;
	op->verify = false;	/* with its neighbours it takes one instruction */
}

/*
 * The regions of its chunk that an operation covers whole: all that it touches
 * but for the first and the last one, if these are cut. The last region of the
 * mirror ends where the mirror does.
 */
static u64 zm_whole(const struct zm_regions *zr, const struct zm_op *op)
{
	sector_t cut = (1ULL << zr->region_shift) - 1;
	u64 whole = op->touch;

	if (op->start & cut)
		whole &= whole - 1;
	if ((op->end & cut) && op->end != zr->len)
		whole &= ~BIT_ULL(fls64(op->touch) - 1);
	return whole;
}

/*
 * Whether two operations must not be in flight at the same time. Two copies
 * never are on the same region, see zm_dirty_and_free(). This depends on nothing that
 * changes while an operation is in a list, so that the counts of blockers that
 * are made with it come out even.
 */
static bool zm_conflict(const struct zm_op *a, const struct zm_op *b)
{
	if (a->chunk != b->chunk)
		return false;
	if (a->kind == ZM_OP_COPY || b->kind == ZM_OP_COPY)
		return (a->hold || b->hold) && (a->touch & b->touch);
	return a->start < b->end && b->start < a->end;
}

static u32 zm_count_blockers(const struct zm_bucket *bucket,
			     const struct zm_op *op)
{
	const struct zm_op *other;
	u32 blockers = 0;

	hlist_for_each_entry(other, &bucket->in_flight, node)
		blockers += zm_conflict(other, op);
	list_for_each_entry(other, &bucket->waiting, list)
		blockers += zm_conflict(other, op);
	return blockers;
}

/* The regions of a chunk on which there is an operation of a kind. */
static u64 zm_regions_under(const struct zm_bucket *bucket, u32 chunk, u8 kind)
{
	const struct zm_op *other;
	u64 mask = 0;

	hlist_for_each_entry(other, &bucket->in_flight, node)
		if (other->kind == kind && other->chunk == chunk)
			mask |= other->touch;
	list_for_each_entry(other, &bucket->waiting, list)
		if (other->kind == kind && other->chunk == chunk)
			mask |= other->touch;
	return mask;
}

/* The regions of a chunk that are dirty, and that no copy has taken. */
static u64 zm_dirty_and_free(const struct zm_regions *zr,
			     const struct zm_bucket *bucket, u32 chunk)
{
	return zr->dirty[chunk] & ~zm_regions_under(bucket, chunk, ZM_OP_COPY);
}

/*
 * Each of two operations on the same region learns that it is not alone there:
 * their I/O may reach the legs in any order, so that neither may conclude from
 * its own end what the region now holds. Returns the regions of @op that are
 * under copy.
 */
static u64 zm_race(struct zm_bucket *bucket, struct zm_op *op)
{
	struct zm_op *other;
	u64 both, copied = 0;

	hlist_for_each_entry(other, &bucket->in_flight, node) {
		if (other->chunk != op->chunk)
			continue;
		both = other->touch & op->touch;
		other->raced |= both;
		op->raced |= both;
		if (other->kind == ZM_OP_COPY)
			copied |= both;
	}
	return copied;
}

/*
 * What trouble there is, and how often the destination has failed so far. The
 * count is read before the flag, and zm_dest_fail() raises them in the other
 * order: an operation that still finds the destination well has the old count,
 * and its end does not believe a success.
 */
static int zm_trouble(const struct zm_regions *zr, u32 *generation)
{
	*generation = atomic_read(&zr->failures);
	/* Pairs with the barrier of zm_dest_fail(). */
	smp_rmb();
	return atomic_read(&zr->trouble);
}

static bool zm_dest_well(const struct zm_regions *zr, u32 *generation)
{
	return !(zm_trouble(zr, generation) & ZM_DEST_FAILED);
}

/* Whether the background may do something to the destination. */
static bool zm_may_copy(const struct zm_regions *zr,
			const struct zm_bucket *bucket, u32 *generation)
{
	return !(zm_trouble(zr, generation) &
		 (ZM_DEST_FAILED | ZM_SOURCE_GONE)) && !bucket->frozen;
}

/*
 * ------------------------------------------------------------------------
 * Foreground operations
 * ------------------------------------------------------------------------
 */

/*
 * What reads as zero goes to no leg that reads as zero there already. Returns
 * false when the destination may not be zero everywhere.
 */
static bool zm_skip_zeroes(struct zm_regions *zr, struct zm_op *op)
{
	if (op->touch & ~zr->zero[op->chunk])
		return false;

	/*
	 * A clean region reads on the source as on the destination, and no
	 * write of data is in flight to it, or its zero bit would be clear.
	 */
	if (op->droppable && !(op->touch & zr->dirty[op->chunk]))
		op->legs = 0;
	else
		op->legs = ZM_SOURCE;
	op->skipped = true;
	return true;
}

/*
 * Whether an operation on dirty regions is of no use to the destination: a write
 * to regions that are dirty all and stay so, or a discard of what is known to be
 * zero there.
 */
static bool zm_leaves_dirty(const struct zm_regions *zr, const struct zm_op *op)
{
	if (op->kind == ZM_OP_DISCARD)
		return op->known_zero == op->touch;
	return !(op->touch & ~zr->dirty[op->chunk]) && !zm_whole(zr, op);
}

/*
 * What a discarded range reads as is each leg's own affair, so that it has to be
 * copied. The destination is left alone where it is known to be zero, and stays
 * so: else zeroes would have to be written there once more.
 *
 * A discard that is passed on leaves its regions clean, though their sources may
 * not read as zeroes any more. So none of them may be known to be zero, or
 * requests to zero them would be dropped.
 */
static void zm_decide_discard(struct zm_regions *zr, struct zm_op *op)
{
	if (op->pass) {
		op->known_zero = 0;
		zm_clear_zero(zr, op->chunk, op->touch);
	} else {
		op->known_zero = op->touch & zr->zero[op->chunk];
		op->dirtied = zm_set_dirty(zr, op->chunk, op->touch);
	}
}

/*
 * Where the source is gone. What it would have to be sent is remembered, but for
 * zeroes that are there already. A discard that was to leave the destination alone, and
 * has waited while that took over, does so.
 */
static void zm_decide_gone(struct zm_regions *zr, struct zm_op *op)
{
	op->known_zero = 0;
	if (op->kind == ZM_OP_DISCARD && op->source_only) {
		op->legs = 0;
		return;
	}
	op->skipped = op->kind == ZM_OP_ZEROES &&
		      !(op->touch & ~zr->zero[op->chunk]);
	if (op->skipped && op->droppable) {
		op->legs = 0;
		return;
	}
	op->legs = ZM_DEST;
	if (op->kind != ZM_OP_ZEROES)
		zm_clear_zero(zr, op->chunk, op->touch);
	zm_set_dirty(zr, op->chunk, op->touch);
}

/*
 * The table of the foreground, for an operation of whose regions @copied are
 * under copy. There the destination must be left out, for the copy may write
 * older data at the same time. The bucket's lock is held, and no operation in
 * flight is in conflict with this one.
 */
static noinline void zm_decide(struct zm_regions *zr, struct zm_op *op,
			       u64 copied)
{
	bool dest_well = zm_dest_well(zr, &op->generation);

	if (unlikely(zm_source_gone(zr))) {
		zm_decide_gone(zr, op);
		return;
	}
	if (op->kind == ZM_OP_ZEROES && zm_skip_zeroes(zr, op))
		return;

	if (op->kind == ZM_OP_DISCARD)
		zm_decide_discard(zr, op);
	if (!dest_well || op->source_only || copied || zm_leaves_dirty(zr, op)) {
		op->legs = ZM_SOURCE;
		op->dirtied |= zm_set_dirty(zr, op->chunk, op->touch);
		return;
	}
	op->legs = ZM_SOURCE | ZM_DEST;
	if (op->kind == ZM_OP_WRITE)
		zm_clear_zero(zr, op->chunk, op->touch);
}

/*
 * The row of that table on which most requests are: data for regions in sync that
 * have data, with nobody else there. No bit changes. Returns false for all
 * others. The bucket's lock is held.
 */
static bool zm_decide_plain(struct zm_regions *zr, struct zm_op *op)
{
	u64 bits = zr->dirty[op->chunk] | zr->zero[op->chunk];

	if (op->kind != ZM_OP_WRITE || op->source_only || (op->touch & bits) ||
	    zr->changed || zm_trouble(zr, &op->generation))
		return false;
	op->legs = ZM_SOURCE | ZM_DEST;
	return true;
}

/* An operation with no leg to go to is complete, and does not get in flight. */
static __always_inline void zm_take_off(struct zm_regions *zr,
					struct zm_bucket *bucket,
					struct zm_op *op)
{
	if (trace_zmirror_begin_enabled())
		trace_zmirror_begin(zr->dev, op, zr->dirty[op->chunk],
				    zr->zero[op->chunk]);
	if (op->legs)
		hlist_add_head(&op->node, &bucket->in_flight);
}

/* Begins an operation that nothing holds up; the bucket's lock is held. */
static void zm_start(struct zm_regions *zr, struct zm_bucket *bucket,
		     struct zm_op *op)
{
	if (op->kind == ZM_OP_COPY) {
		op->legs = ZM_SOURCE | ZM_DEST;
		op->known_zero = zr->zero[op->chunk] & op->touch;
		zm_race(bucket, op);
	} else {
		if (unlikely(zr->changed))
			zr->changed[op->chunk] |= op->touch;
		zm_decide(zr, op, zm_race(bucket, op));
	}
	zm_take_off(zr, bucket, op);
}

/*
 * Begins @op, or puts it behind those in its way; the bucket's lock is held.
 * Returns whether it has begun.
 */
static bool zm_enter(struct zm_regions *zr, struct zm_bucket *bucket,
		     struct zm_op *op)
{
	op->frozen = bucket->frozen;
	op->blockers = zm_count_blockers(bucket, op) + op->frozen;
	if (op->blockers) {
		list_add_tail(&op->list, &bucket->waiting);
		return false;
	}
	zm_start(zr, bucket, op);
	return true;
}

/*
 * Begins those of which @op was the last blocker; without an @op, those which have
 * waited for the thaw only. One of them
 * may turn out to have nothing to do, which ends it at once: whoever waits for
 * it stands behind it in the list, so one pass finds all. The bucket's lock is
 * held; returns the chain of operations that have begun, for zm_tell().
 */
static noinline struct zm_op *zm_let_go(struct zm_regions *zr,
					struct zm_bucket *bucket,
					struct zm_op *op)
{
	struct zm_op *waiter, *safe, *begun;
	struct zm_op *first = NULL, **tail = &first;

	list_for_each_entry_safe(waiter, safe, &bucket->waiting, list) {
		if (op) {
			waiter->blockers -= zm_conflict(op, waiter);
		} else {
			waiter->blockers -= waiter->frozen;
			waiter->frozen = false;
		}
		for (begun = first; begun; begun = begun->next)
			if (!begun->legs)
				waiter->blockers -= zm_conflict(begun, waiter);
		if (waiter->blockers)
			continue;

		list_del(&waiter->list);
		zm_start(zr, bucket, waiter);
		waiter->next = NULL;
		*tail = waiter;
		tail = &waiter->next;
	}
	return first;
}

/* Takes @op out; as zm_let_go(). */
static struct zm_op *zm_leave(struct zm_regions *zr, struct zm_bucket *bucket,
			      struct zm_op *op)
{
	hlist_del(&op->node);
	if (likely(list_empty(&bucket->waiting)))
		return NULL;
	return zm_let_go(zr, bucket, op);
}

/* Tells the owners; an operation may be gone as soon as its owner knows. */
static void zm_tell(struct zm_regions *zr, struct zm_op *begun)
{
	struct zm_op *next;

	for (; begun; begun = next) {
		next = begun->next;
		zr->ready(begun);
	}
}

bool zm_op_begin(struct zm_regions *zr, struct zm_op *op)
{
	struct zm_bucket *bucket;
	bool begun;

	zm_op_map(zr, op);
	bucket = zm_bucket(zr, op->chunk);
	spin_lock_irq(&bucket->lock);
	/* Nobody is there to wait for, or to race with. */
	begun = likely(hlist_empty(&bucket->in_flight)) &&
		likely(zm_decide_plain(zr, op));
	if (likely(begun))
		zm_take_off(zr, bucket, op);
	else
		begun = zm_enter(zr, bucket, op);
	spin_unlock_irq(&bucket->lock);
	return begun;
}

/* Besides the legs that failed: the destination has failed since the begin. */
#define ZM_STALE	4U

/*
 * What the end of a foreground operation says of its regions; the bucket's lock
 * is held. Only regions that it covers whole, and on which it was alone, become
 * clean or known to be zero.
 */
static noinline unsigned int zm_settle(struct zm_regions *zr, struct zm_op *op,
				       unsigned int failed)
{
	u64 good = zm_whole(zr, op) & ~op->raced;
	u32 chunk = op->chunk;

	if (failed & (ZM_DEST | ZM_STALE))
		zm_clear_zero(zr, chunk, op->touch);
	if (failed) {
		/* They may have been dirty, but not free to copy: a discard's. */
		zm_set_dirty(zr, chunk, op->touch);
		return ZM_ENDED_DIRTY;
	}

	switch (op->kind) {
	case ZM_OP_WRITE:
		if (!(op->legs & ZM_DEST))
			return 0;
		break;
	case ZM_OP_ZEROES:
		/*
		 * Where the destination was left out, a region whose zero bit
		 * was set when the operation began has it still, for nobody
		 * else was there: now it reads as zeroes on both legs.
		 */
		if (op->legs & ZM_DEST)
			zm_set_zero(zr, chunk, good);
		else
			good &= zr->zero[chunk];
		break;
	default:
		return op->touch & zr->dirty[chunk] ? ZM_ENDED_DIRTY : 0;
	}
	/* Where the source is gone, it is the source that has not got it. */
	if (!(op->legs & ZM_SOURCE))
		return 0;
	return zm_clear_dirty(zr, chunk, good) ? ZM_ENDED_IN_SYNC : 0;
}

/* Whether the end of an operation leaves all bits as they are: most writes. */
static bool zm_settled(const struct zm_regions *zr, const struct zm_op *op,
		       unsigned int failed)
{
	return op->kind == ZM_OP_WRITE && !failed &&
	       !(op->touch & zr->dirty[op->chunk]);
}

/* As zm_op_end(), where bits may change or somebody waits; the bucket's lock is held. */
static noinline unsigned int zm_op_end_closely(struct zm_regions *zr,
					       struct zm_bucket *bucket,
					       struct zm_op *op,
					       unsigned int failed,
					       unsigned long flags)
	__releases(&bucket->lock)
{
	unsigned int ended = 0;
	struct zm_op *begun;

	if (!zm_settled(zr, op, failed))
		ended = zm_settle(zr, op, failed);
	begun = zm_leave(zr, bucket, op);
	spin_unlock_irqrestore(&bucket->lock, flags);
	zm_tell(zr, begun);
	return ended;
}

unsigned int zm_op_end(struct zm_regions *zr, struct zm_op *op,
		       unsigned int failed)
{
	struct zm_bucket *bucket = zm_bucket(zr, op->chunk);
	unsigned long flags;

	spin_lock_irqsave(&bucket->lock, flags);
	if (trace_zmirror_end_enabled())
		trace_zmirror_end(zr->dev, op, zm_whole(zr, op), failed);
	if (op->legs & ZM_DEST) {
		u32 epoch = atomic_read(&zr->epoch);

		zr->written[op->chunk] = epoch;
		if (READ_ONCE(zr->used) != epoch)
			WRITE_ONCE(zr->used, epoch);
		if (unlikely(op->generation != (u32)atomic_read(&zr->failures)))
			failed |= ZM_STALE;
	}
	if (unlikely(!zm_settled(zr, op, failed)) ||
	    unlikely(!list_empty(&bucket->waiting)))
		return zm_op_end_closely(zr, bucket, op, failed, flags);
	/* Most writes come here, and the operation is over: it is not poisoned. */
	__hlist_del(&op->node);
	spin_unlock_irqrestore(&bucket->lock, flags);
	return 0;
}

/*
 * ------------------------------------------------------------------------
 * Copies
 * ------------------------------------------------------------------------
 */

u32 zm_next_dirty_chunk(const struct zm_regions *zr, u32 chunk)
{
	return find_next_bit(zr->dirty_chunks, zr->nr_chunks, chunk);
}

/*
 * The first run of neighbours in a mask that is not empty, up to a multiple of
 * @max: so that runs of full length follow one that started anywhere.
 */
static u64 zm_first_run(u64 mask, unsigned int max)
{
	unsigned int first = __ffs64(mask);
	u64 gaps = ~(mask >> first);
	unsigned int len = gaps ? __ffs64(gaps) : ZM_CHUNK_REGIONS;

	return GENMASK_ULL(first + min(len, max - first % max) - 1, first);
}

/*
 * The count of failures is that of this moment, even if the copy has to wait:
 * should the destination fail meanwhile, the copy begins in vain.
 */
static void zm_copy_init(const struct zm_regions *zr, struct zm_op *op,
			 u32 chunk, u64 touch, u32 generation)
{
	sector_t unused;

	memset(op, 0, sizeof(*op));
	op->generation = generation;
	op->kind = ZM_OP_COPY;
	op->chunk = chunk;
	op->touch = touch;
	zm_region_range(zr, chunk, __ffs64(touch), &op->start, &unused);
	zm_region_range(zr, chunk, fls64(touch) - 1, &unused, &op->end);
}

/*
 * A discard makes its regions dirty as it begins, so a copy that is looking for
 * work would find them at once, and race with it. The end of the discard tells
 * to look again.
 */
bool zm_copy_begin(struct zm_regions *zr, struct zm_op *op, u32 chunk,
		   unsigned int from, unsigned int max)
{
	struct zm_bucket *bucket = zm_bucket(zr, chunk);
	unsigned long flags;
	bool begun = false;
	u32 generation;
	u64 free;

	spin_lock_irqsave(&bucket->lock, flags);
	free = zm_dirty_and_free(zr, bucket, chunk);
	free &= ~zm_regions_under(bucket, chunk, ZM_OP_DISCARD);
	free &= ~zm_unread(zr, chunk);
	free &= GENMASK_ULL(ZM_CHUNK_REGIONS - 1, from);
	if (free && zm_may_copy(zr, bucket, &generation)) {
		zm_copy_init(zr, op, chunk, zm_first_run(free, max),
			     generation);
		begun = zm_enter(zr, bucket, op);
	}
	spin_unlock_irqrestore(&bucket->lock, flags);
	return begun;
}

enum zm_again zm_copy_again(struct zm_regions *zr, struct zm_op *op, u32 chunk,
			    unsigned int bit)
{
	struct zm_bucket *bucket = zm_bucket(zr, chunk);
	enum zm_again again = ZM_AGAIN_NONE;
	unsigned long flags;
	u32 generation;
	u64 free;

	spin_lock_irqsave(&bucket->lock, flags);
	free = zm_dirty_and_free(zr, bucket, chunk);
	if ((free & BIT_ULL(bit)) && zm_may_copy(zr, bucket, &generation)) {
		zm_copy_init(zr, op, chunk, BIT_ULL(bit), generation);
		op->hold = true;
		again = zm_enter(zr, bucket, op) ? ZM_AGAIN_BEGUN :
						   ZM_AGAIN_WAITS;
	}
	spin_unlock_irqrestore(&bucket->lock, flags);
	return again;
}

void zm_copy_data(struct zm_regions *zr, struct zm_op *op, u64 regions)
{
	struct zm_bucket *bucket = zm_bucket(zr, op->chunk);
	unsigned long flags;

	spin_lock_irqsave(&bucket->lock, flags);
	zm_clear_zero(zr, op->chunk, regions & op->touch);
	spin_unlock_irqrestore(&bucket->lock, flags);
}

int zm_unread_alloc(struct zm_regions *zr)
{
	u64 *unread;

	if (zr->unread)
		return 0;
	unread = kvcalloc(zr->nr_chunks, sizeof(u64), GFP_KERNEL);
	if (!unread)
		return -ENOMEM;

	/* Pairs with the acquire of zm_unread(). */
	smp_store_release(&zr->unread, unread);
	return 0;
}

void zm_unread_take(struct zm_regions *zr, struct zm_regions *from)
{
	if (!zr->unread)
		swap(zr->unread, from->unread);
}

/* What a second copy had to wait for may have made its region clean. */
u32 zm_copy_unread(struct zm_regions *zr, struct zm_op *op, u64 regions)
{
	struct zm_bucket *bucket = zm_bucket(zr, op->chunk);
	unsigned long flags;
	u64 new;

	spin_lock_irqsave(&bucket->lock, flags);
	new = regions & zr->dirty[op->chunk] & ~op->raced &
	      ~zm_unread(zr, op->chunk);
	zr->unread[op->chunk] |= new;
	atomic_add(hweight64(new), &zr->nr_unread);
	spin_unlock_irqrestore(&bucket->lock, flags);
	return hweight64(new);
}

void zm_unread_forget(struct zm_regions *zr)
{
	unsigned long flags;
	u32 chunk;

	for (chunk = 0; zr->unread && chunk < zr->nr_chunks; chunk++) {
		struct zm_bucket *bucket = zm_bucket(zr, chunk);

		if (READ_ONCE(zr->unread[chunk])) {
			spin_lock_irqsave(&bucket->lock, flags);
			zm_clear_unread(zr, chunk, ~0ULL);
			spin_unlock_irqrestore(&bucket->lock, flags);
		}
		cond_resched();
	}
}

unsigned int zm_copy_end(struct zm_regions *zr, struct zm_op *op, u64 copied,
			 u64 zeroes, u64 *raced)
{
	struct zm_bucket *bucket = zm_bucket(zr, op->chunk);
	unsigned long flags;
	unsigned int ended = 0;
	struct zm_op *begun;
	u64 good;

	/* Until the lock is taken, a write may begin and race. */
	spin_lock_irqsave(&bucket->lock, flags);
	good = copied & op->touch & ~op->raced;
	*raced = copied & op->touch & op->raced;
	trace_zmirror_copied(zr->dev, op, copied & op->touch, zeroes);
	if (copied & ~(zeroes & op->known_zero))
		zr->written[op->chunk] = atomic_read(&zr->epoch);
	if (op->generation == (u32)atomic_read(&zr->failures)) {
		zm_set_zero(zr, op->chunk, good & zeroes);
		if (zm_clear_dirty(zr, op->chunk, good))
			ended = ZM_ENDED_IN_SYNC;
	}
	begun = zm_leave(zr, bucket, op);
	spin_unlock_irqrestore(&bucket->lock, flags);

	zm_tell(zr, begun);
	return ended;
}

/*
 * A copy, as far as others are concerned: writes to its regions go to the source
 * alone, and whoever is there too has raced with it. It takes dirty regions
 * only, and they stay dirty, so that it may destroy what they hold.
 */
bool zm_prezero_begin(struct zm_regions *zr, struct zm_op *op, u32 chunk,
		      unsigned int from, unsigned int max, bool next)
{
	struct zm_bucket *bucket = zm_bucket(zr, chunk);
	unsigned long flags;
	bool begun = false;
	u32 generation;
	u64 todo;

	spin_lock_irqsave(&bucket->lock, flags);
	todo = zm_dirty_and_free(zr, bucket, chunk) & ~zr->zero[chunk];
	todo &= GENMASK_ULL(ZM_CHUNK_REGIONS - 1, from);
	if (todo && (!next || (todo & BIT_ULL(from))) &&
	    zm_may_copy(zr, bucket, &generation)) {
		zm_copy_init(zr, op, chunk, zm_first_run(todo, max),
			     generation);
		begun = zm_enter(zr, bucket, op);
	}
	spin_unlock_irqrestore(&bucket->lock, flags);
	return begun;
}

void zm_prezero_end(struct zm_regions *zr, struct zm_op *op, bool zeroed)
{
	struct zm_bucket *bucket = zm_bucket(zr, op->chunk);
	unsigned long flags;
	struct zm_op *begun;

	spin_lock_irqsave(&bucket->lock, flags);
	trace_zmirror_copied(zr->dev, op, 0, 0);
	zr->written[op->chunk] = atomic_read(&zr->epoch);
	if (zeroed && op->generation == (u32)atomic_read(&zr->failures))
		zm_set_zero(zr, op->chunk, op->touch & ~op->raced);
	begun = zm_leave(zr, bucket, op);
	spin_unlock_irqrestore(&bucket->lock, flags);

	zm_tell(zr, begun);
}

/*
 * ------------------------------------------------------------------------
 * What users know, and want to know
 * ------------------------------------------------------------------------
 */

/* The regions from @first to @last, as far as they are in a chunk. */
static u64 zm_span(u64 first, u64 last, u32 chunk)
{
	u64 base = (u64)chunk << ZM_CHUNK_SHIFT;
	unsigned int from = first > base ? first - base : 0;
	unsigned int to = min_t(u64, last - base, ZM_CHUNK_REGIONS - 1);

	return GENMASK_ULL(to, from);
}

enum zm_again zm_verify_hold(struct zm_regions *zr, struct zm_op *op,
			     u32 region)
{
	u32 chunk = region >> ZM_CHUNK_SHIFT;
	struct zm_bucket *bucket = zm_bucket(zr, chunk);
	u64 bit = BIT_ULL(region % ZM_CHUNK_REGIONS);
	enum zm_again again = ZM_AGAIN_NONE;
	unsigned long flags;
	u32 generation;
	u64 taken;

	spin_lock_irqsave(&bucket->lock, flags);
	taken = zr->dirty[chunk] |
		zm_regions_under(bucket, chunk, ZM_OP_COPY);
	if (!(taken & bit) && zm_may_copy(zr, bucket, &generation)) {
		zm_copy_init(zr, op, chunk, bit, generation);
		op->hold = true;
		op->verify = true;
		again = zm_enter(zr, bucket, op) ? ZM_AGAIN_BEGUN :
						   ZM_AGAIN_WAITS;
	}
	spin_unlock_irqrestore(&bucket->lock, flags);
	return again;
}

/*
 * What it waited for may have made the region dirty. Who tells of that before this found
 * the region taken, so that it is told once more.
 */
unsigned int zm_verify_release(struct zm_regions *zr, struct zm_op *op,
			       bool copy)
{
	struct zm_bucket *bucket = zm_bucket(zr, op->chunk);
	unsigned long flags;
	unsigned int ended = 0;
	struct zm_op *begun;

	spin_lock_irqsave(&bucket->lock, flags);
	if (copy) {
		zm_clear_zero(zr, op->chunk, op->touch);
		zm_set_dirty(zr, op->chunk, op->touch);
	}
	if (zr->dirty[op->chunk] & op->touch)
		ended = ZM_ENDED_DIRTY;
	begun = zm_leave(zr, bucket, op);
	spin_unlock_irqrestore(&bucket->lock, flags);

	zm_tell(zr, begun);
	return ended;
}

/*
 * Who is under way goes by what was known when he began, and ends his regions as clean, or
 * as zero. Marked after that, they stay as they are marked, and are copied once more.
 */
static void zm_race_all(struct zm_bucket *bucket, u32 chunk, u64 regions)
{
	struct zm_op *op;

	hlist_for_each_entry(op, &bucket->in_flight, node)
		if (op->chunk == chunk)
			op->raced |= op->touch & regions;
}

static unsigned int zm_chunk_marked(struct zm_regions *zr, enum zm_mark mark,
				    u32 chunk, u64 regions)
{
	switch (mark) {
	case ZM_MARK_DIRTY:
		return zm_set_dirty(zr, chunk, regions) ? ZM_ENDED_DIRTY : 0;
	case ZM_MARK_CLEAN:
		return zm_clear_dirty(zr, chunk, regions) ?
		       ZM_ENDED_IN_SYNC : 0;
	case ZM_MARK_ZERO:
		zm_set_zero(zr, chunk, regions);
		return 0;
	default:
		zm_clear_zero(zr, chunk, regions);
		return 0;
	}
}

unsigned int zm_regions_mark(struct zm_regions *zr, enum zm_mark mark,
			     u32 first, u32 end)
{
	unsigned int ended = 0;
	unsigned long flags;
	u32 chunk;

	for (chunk = first >> ZM_CHUNK_SHIFT;
	     chunk <= (end - 1) >> ZM_CHUNK_SHIFT; chunk++) {
		struct zm_bucket *bucket = zm_bucket(zr, chunk);

		u64 regions = zm_span(first, end - 1, chunk);

		spin_lock_irqsave(&bucket->lock, flags);
		if (mark == ZM_MARK_DIRTY || mark == ZM_MARK_NONZERO)
			zm_race_all(bucket, chunk, regions);
		ended |= zm_chunk_marked(zr, mark, chunk, regions);
		spin_unlock_irqrestore(&bucket->lock, flags);
		cond_resched();
	}
	return ended;
}

int zm_changed_alloc(struct zm_regions *zr)
{
	zr->changed = kvcalloc(zr->nr_chunks, sizeof(u64), GFP_KERNEL);
	return zr->changed ? 0 : -ENOMEM;
}

bool zm_changed_known(const struct zm_regions *zr)
{
	return zr->changed;
}

static sector_t zm_sectors(const struct zm_regions *zr, u32 chunk, u64 regions)
{
	sector_t nr = (sector_t)hweight64(regions) << zr->region_shift;
	u32 last = zr->nr_regions - 1;

	if (chunk == last >> ZM_CHUNK_SHIFT &&
	    (regions & BIT_ULL(last % ZM_CHUNK_REGIONS)))
		nr -= ((sector_t)zr->nr_regions << zr->region_shift) - zr->len;
	return nr;
}

/* The regions of a chunk on which nobody is; the bucket's lock is held. */
static u64 zm_free(const struct zm_bucket *bucket, u32 chunk)
{
	const struct zm_op *op;
	u64 busy = 0;

	hlist_for_each_entry(op, &bucket->in_flight, node)
		if (op->chunk == chunk)
			busy |= op->touch;
	return ~busy;
}

/*
 * What nobody has changed on the source since the first resume still reads as it did
 * before. A write that begins meanwhile has the lock after this or before: then it
 * finds the region clean, or it is seen here.
 */
unsigned int zm_hint_zero(struct zm_regions *zr, u32 first, u32 end,
			  sector_t *sectors)
{
	unsigned int ended = 0;
	unsigned long flags;
	u32 chunk;

	*sectors = 0;
	for (chunk = first >> ZM_CHUNK_SHIFT;
	     chunk <= (end - 1) >> ZM_CHUNK_SHIFT; chunk++) {
		struct zm_bucket *bucket = zm_bucket(zr, chunk);
		u32 generation;
		u64 equal;

		spin_lock_irqsave(&bucket->lock, flags);
		equal = zr->dirty[chunk] & zr->zero[chunk] &
			~zr->changed[chunk] & zm_span(first, end - 1, chunk) &
			zm_free(bucket, chunk);
		if (zm_may_copy(zr, bucket, &generation)) {
			*sectors += zm_sectors(zr, chunk, equal);
			if (zm_clear_dirty(zr, chunk, equal))
				ended = ZM_ENDED_IN_SYNC;
		}
		spin_unlock_irqrestore(&bucket->lock, flags);
		cond_resched();
	}
	return ended;
}

/*
 * ------------------------------------------------------------------------
 * Reads of the destination
 * ------------------------------------------------------------------------
 */

bool zm_read_dest(const struct zm_regions *zr, struct zm_op *op)
{
	u64 first = op->start >> zr->region_shift;
	u64 last = (op->end - 1) >> zr->region_shift;
	u32 chunk;

	if (!zm_dest_well(zr, &op->generation))
		return zm_source_gone(zr);
	if (zm_source_gone(zr))
		return true;
	for (chunk = first >> ZM_CHUNK_SHIFT;
	     chunk <= last >> ZM_CHUNK_SHIFT; chunk++)
		if (READ_ONCE(zr->dirty[chunk]) & zm_span(first, last, chunk))
			return false;
	return true;
}

bool zm_read_dest_end(const struct zm_regions *zr, const struct zm_op *op)
{
	return op->generation == (u32)atomic_read(&zr->failures) ||
	       zm_source_gone(zr);
}

/*
 * ------------------------------------------------------------------------
 * The destination: flushes, failure, recovery
 * ------------------------------------------------------------------------
 */

void zm_flush_begin(struct zm_regions *zr, struct zm_flush *flush)
{
	flush->generation = atomic_read(&zr->failures);

	/*
	 * A write that ends from now on may not be in the flush any more, and
	 * is recorded in a later epoch. One that was recorded in this epoch
	 * ended before the flush is submitted, so the flush covers it.
	 */
	flush->epoch = atomic_inc_return(&zr->epoch) - 1;
}

bool zm_flush_end(struct zm_regions *zr, const struct zm_flush *flush)
{
	int old = atomic_read(&zr->flushed);

	if (flush->generation != (u32)atomic_read(&zr->failures))
		return false;
	do {
		if ((s32)(flush->epoch - (u32)old) <= 0)
			return true;
	} while (!atomic_try_cmpxchg(&zr->flushed, &old, flush->epoch));
	return true;
}

bool zm_flush_needed(const struct zm_regions *zr)
{
	return (s32)(READ_ONCE(zr->used) - (u32)atomic_read(&zr->flushed)) > 0;
}

bool zm_dest_fail(struct zm_regions *zr, u32 generation)
{
	int old = atomic_read(&zr->trouble);

	if (generation != (u32)atomic_read(&zr->failures))
		return false;
	do {
		if (old & ZM_DEST_FAILED)
			return false;
	} while (!atomic_try_cmpxchg(&zr->trouble, &old,
				     old | ZM_DEST_FAILED | ZM_LOST_DUE));

	/* The flag first, then the count: see zm_dest_well(). */
	smp_wmb();
	atomic_inc(&zr->failures);
	return true;
}

static bool zm_chunk_lost(struct zm_regions *zr, u32 chunk)
{
	struct zm_bucket *bucket = zm_bucket(zr, chunk);
	u64 mask = zm_chunk_mask(zr, chunk);
	unsigned long flags;
	bool dirtied;

	spin_lock_irqsave(&bucket->lock, flags);
	dirtied = zm_set_dirty(zr, chunk, mask);
	zm_clear_zero(zr, chunk, mask);
	spin_unlock_irqrestore(&bucket->lock, flags);
	return dirtied;
}

/*
 * An operation that ends while this runs has an old generation, and makes its
 * regions dirty itself. So it does not matter that its chunk, which it records
 * as written only then, may have been passed already.
 */
bool zm_dest_lost(struct zm_regions *zr)
{
	u32 flushed = atomic_read(&zr->flushed);
	bool dirtied = false;
	unsigned int i;
	u32 chunk;

	/* Who has seen the old count has recorded what it wrote. */
	for (i = 0; i < ZM_BUCKETS; i++) {
		spin_lock_irq(&zr->buckets[i].lock);
		spin_unlock_irq(&zr->buckets[i].lock);
	}
	for (chunk = 0; chunk < zr->nr_chunks; chunk++) {
		if ((s32)(READ_ONCE(zr->written[chunk]) - flushed) > 0)
			dirtied |= zm_chunk_lost(zr, chunk);
		cond_resched();
	}
	atomic_andnot(ZM_LOST_DUE, &zr->trouble);
	return dirtied;
}

void zm_dest_attach(struct zm_regions *zr)
{
	int old = atomic_read(&zr->trouble);

	do {
		if (old & ZM_LOST_DUE)
			return;
	} while (!atomic_try_cmpxchg(&zr->trouble, &old,
				     old & ~ZM_DEST_FAILED));
}

bool zm_dest_failed(const struct zm_regions *zr)
{
	return atomic_read(&zr->trouble) & ZM_DEST_FAILED;
}

/*
 * ------------------------------------------------------------------------
 * The source is gone
 * ------------------------------------------------------------------------
 */

void zm_freeze(struct zm_regions *zr)
{
	unsigned long flags;
	unsigned int i;

	/* Before the first bucket is: nobody takes the short way any more. */
	atomic_or(ZM_FROZEN, &zr->trouble);
	for (i = 0; i < ZM_BUCKETS; i++) {
		spin_lock_irqsave(&zr->buckets[i].lock, flags);
		zr->buckets[i].frozen = true;
		spin_unlock_irqrestore(&zr->buckets[i].lock, flags);
	}
}

bool zm_frozen(const struct zm_regions *zr)
{
	return atomic_read(&zr->trouble) & ZM_FROZEN;
}

u32 zm_in_flight(struct zm_regions *zr)
{
	unsigned long flags;
	const struct zm_op *op;
	unsigned int i;
	u32 nr = 0;

	for (i = 0; i < ZM_BUCKETS; i++) {
		spin_lock_irqsave(&zr->buckets[i].lock, flags);
		hlist_for_each_entry(op, &zr->buckets[i].in_flight, node)
			nr++;
		spin_unlock_irqrestore(&zr->buckets[i].lock, flags);
	}
	return nr;
}

void zm_source_leave(struct zm_regions *zr)
{
	atomic_or(ZM_SOURCE_GONE, &zr->trouble);
}

void zm_thaw(struct zm_regions *zr)
{
	struct zm_op *begun;
	unsigned long flags;
	unsigned int i;

	for (i = 0; i < ZM_BUCKETS; i++) {
		spin_lock_irqsave(&zr->buckets[i].lock, flags);
		zr->buckets[i].frozen = false;
		begun = zm_let_go(zr, &zr->buckets[i], NULL);
		spin_unlock_irqrestore(&zr->buckets[i].lock, flags);
		zm_tell(zr, begun);
		cond_resched();
	}
	/* After the last bucket is: from here on there is a short way. */
	atomic_andnot(ZM_FROZEN, &zr->trouble);
}

bool zm_source_gone(const struct zm_regions *zr)
{
	return atomic_read(&zr->trouble) & ZM_SOURCE_GONE;
}

/*
 * The leg that has become the destination has nothing that is not stable, and lacks
 * what is dirty. A zero bit of the other leg holds for it where both are equal.
 */
void zm_legs_exchange(struct zm_regions *zr)
{
	struct zm_flush flush;
	u32 chunk;

	for (chunk = 0; chunk < zr->nr_chunks; chunk++) {
		zm_clear_zero(zr, chunk, zr->dirty[chunk]);
		cond_resched();
	}
	kvfree(zr->changed);
	zr->changed = NULL;
	atomic_set(&zr->trouble, 0);
	atomic_inc(&zr->failures);
	zm_flush_begin(zr, &flush);
	zm_flush_end(zr, &flush);
}

/*
 * ------------------------------------------------------------------------
 * Geometry, counts, making and freeing
 * ------------------------------------------------------------------------
 */

u32 zm_regions_total(const struct zm_regions *zr)
{
	return zr->nr_regions;
}

u32 zm_regions_dirty(const struct zm_regions *zr)
{
	return atomic_read(&zr->nr_dirty);
}

u32 zm_regions_zero(const struct zm_regions *zr)
{
	return atomic_read(&zr->nr_zero);
}

u32 zm_regions_unread(const struct zm_regions *zr)
{
	return atomic_read(&zr->nr_unread);
}

u32 zm_regions_next(const struct zm_regions *zr, enum zm_which which,
		    u32 *first, u32 end)
{
	switch (which) {
	case ZM_DIRTY:
		return zm_words_next(zr->dirty, first, end);
	case ZM_ZERO:
		return zm_words_next(zr->zero, first, end);
	default:
		return zm_words_next(zr->unread, first, end);
	}
}

u32 zm_words_next(const u64 *words, u32 *first, u32 end)
{
	u32 at = *first;
	u64 word;

	if (!words)
		return 0;
	for (; at < end; at = round_up(at + 1, ZM_CHUNK_REGIONS)) {
		word = READ_ONCE(words[at / ZM_CHUNK_REGIONS]);
		word >>= at % ZM_CHUNK_REGIONS;
		if (word)
			break;
	}
	if (at >= end)
		return 0;
	at += __ffs64(word);
	if (at >= end)
		return 0;
	*first = at;
	for (; at < end; at = round_up(at + 1, ZM_CHUNK_REGIONS)) {
		word = ~READ_ONCE(words[at / ZM_CHUNK_REGIONS]);
		word >>= at % ZM_CHUNK_REGIONS;
		if (word)
			return min_t(u32, at + __ffs64(word), end);
	}
	return end;
}

sector_t zm_chunk_end(const struct zm_regions *zr, sector_t sector)
{
	unsigned int shift = zr->region_shift + ZM_CHUNK_SHIFT;
	sector_t end = ((sector >> shift) + 1) << shift;

	return min(end, zr->len);
}

sector_t zm_zeroes_end(const struct zm_regions *zr, sector_t start,
		       sector_t end)
{
	sector_t region = start >> zr->region_shift;
	unsigned int bit = region % ZM_CHUNK_REGIONS;
	u64 zero = READ_ONCE(zr->zero[region >> ZM_CHUNK_SHIFT]) >> bit;
	u64 others = zero & 1 ? ~zero : zero;

	if (!others)
		return end;
	return min(end, (region + __ffs64(others)) << zr->region_shift);
}

void zm_region_range(const struct zm_regions *zr, u32 chunk, unsigned int bit,
		     sector_t *start, sector_t *end)
{
	sector_t region = ((sector_t)chunk << ZM_CHUNK_SHIFT) + bit;

	*start = region << zr->region_shift;
	*end = min((region + 1) << zr->region_shift, zr->len);
}

/* Sets all bits at the start of a mirror, when nothing else runs yet. */
static void zm_promise(struct zm_regions *zr, bool dirty, bool zero)
{
	u32 chunk;

	for (chunk = 0; chunk < zr->nr_chunks; chunk++) {
		u64 mask = zm_chunk_mask(zr, chunk);

		if (dirty)
			zr->dirty[chunk] = mask;
		if (zero)
			zr->zero[chunk] = mask;
	}
	if (dirty)
		bitmap_fill(zr->dirty_chunks, zr->nr_chunks);
	atomic_set(&zr->nr_dirty, dirty ? zr->nr_regions : 0);
	atomic_set(&zr->nr_zero, zero ? zr->nr_regions : 0);
}

struct zm_regions *zm_regions_create(sector_t len, u32 region_sectors,
				     bool dirty, bool zero, u32 dev,
				     zm_ready_fn ready)
{
	struct zm_regions *zr = kvzalloc(sizeof(*zr), GFP_KERNEL);
	unsigned int i;

	if (!zr)
		return NULL;

	zr->len = len;
	zr->region_shift = ilog2(region_sectors);
	zr->nr_regions = (len + region_sectors - 1) >> zr->region_shift;
	zr->nr_chunks = DIV_ROUND_UP(zr->nr_regions, ZM_CHUNK_REGIONS);
	zr->dev = dev;
	zr->ready = ready;
	atomic_set(&zr->epoch, 1);
	zr->buckets = kvcalloc(ZM_BUCKETS, sizeof(*zr->buckets), GFP_KERNEL);
	zr->dirty = kvcalloc(zr->nr_chunks, sizeof(u64), GFP_KERNEL);
	zr->zero = kvcalloc(zr->nr_chunks, sizeof(u64), GFP_KERNEL);
	zr->written = kvcalloc(zr->nr_chunks, sizeof(u32), GFP_KERNEL);
	zr->dirty_chunks = kvcalloc(BITS_TO_LONGS(zr->nr_chunks),
				    sizeof(unsigned long), GFP_KERNEL);
	if (!zr->buckets || !zr->dirty || !zr->zero || !zr->written ||
	    !zr->dirty_chunks) {
		zm_regions_destroy(zr);
		return NULL;
	}
	for (i = 0; i < ZM_BUCKETS; i++) {
		spin_lock_init(&zr->buckets[i].lock);
		INIT_HLIST_HEAD(&zr->buckets[i].in_flight);
		INIT_LIST_HEAD(&zr->buckets[i].waiting);
	}
	zm_promise(zr, dirty, zero);
	return zr;
}

void zm_regions_destroy(struct zm_regions *zr)
{
	if (!zr)
		return;
	kvfree(zr->dirty_chunks);
	kvfree(zr->written);
	kvfree(zr->changed);
	kvfree(zr->unread);
	kvfree(zr->zero);
	kvfree(zr->dirty);
	kvfree(zr->buckets);
	kvfree(zr);
}
