// SPDX-License-Identifier: GPL-2.0-only
/*
 * Verify: whether the legs read the same where they should; see
 * dm-zmirror-verify.h.
 *
 * A work item walks the regions and reads both legs, a piece at a time. It holds up
 * nobody for that: where the pieces differ, a write may have come in between. Only
 * then is the region held, so that all that is in flight there ends and nothing
 * more comes, and the piece is read once more. What differs then differs.
 */
#include "dm-zmirror-verify.h"
#include "dm-zmirror-compat.h"
#include "dm-zmirror-resync.h"

#include <linux/completion.h>
#include <linux/dm-io.h>
#include <linux/log2.h>
#include <linux/minmax.h>
#include <linux/mm.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/vmalloc.h>

#define DM_MSG_PREFIX "zmirror"

#define ZM_VERIFY_SECTORS	1024U	/* 512 KiB: a piece of each leg */
#define ZM_VERIFY_USED		128U	/* the same while the mirror is in use */

/* One leg's share of a piece; the error is set by the callback. */
struct zm_look {
	struct zm_verify *verify;
	void *buffer;			/* ZM_VERIFY_SECTORS */
	bool error;
};

/*
 * @running, the place @at and the counts are written by the work item while there
 * is one under way, and read by the status under the lock on the state alone. All else belongs to
 * the work item, or to who has the lock on messages while there is none.
 *
 * @found has a bit for each region that differs, in words as those of the region
 * module.
 */
struct zm_verify {
	struct zmirror *zm;
	struct work_struct work;
	struct dm_io_client *io;

	u32 running;			/* or 0: not all machines exchange a byte */
	bool repair;
	u32 first;			/* region */
	u32 last;
	sector_t at;
	sector_t end;
	u32 mismatch;
	u32 unverified;
	u32 last_unverified;		/* the region last counted there */
	u64 *found;

	struct zm_op op;
	struct completion begun;	/* @op, after a wait */
	struct zm_look source;
	struct zm_look dest;
	atomic_t pending;
	struct completion done;
};

/*
 * ------------------------------------------------------------------------
 * Reading
 * ------------------------------------------------------------------------
 */

static void zm_look_put(struct zm_verify *verify)
{
	if (atomic_dec_and_test(&verify->pending))
		complete(&verify->done);
}

static void zm_look_done(ZM_IO_NOTIFY_ARGS)
{
	struct zm_look *look = context;

	look->error = ZM_IO_FAILED;
	zm_look_put(look->verify);
}

static void zm_look_start(struct zm_look *look, const struct zm_leg *leg,
			  sector_t start, sector_t len)
{
	struct dm_io_region where = {
		.bdev = leg->dev->bdev,
		.sector = leg->start + start,
		.count = len,
	};
	struct dm_io_request req = {
		.bi_opf = REQ_OP_READ,
		.mem.type = DM_IO_VMA,
		.mem.ptr.vma = look->buffer,
		.notify.fn = zm_look_done,
		.notify.context = look,
		.client = look->verify->io,
	};

	/* Asynchronous, this fails for a wrong memory type only. */
	zm_dm_io(&req, &where);
}

/* Reads a piece of both legs. */
static void zm_look_at(struct zm_verify *verify, sector_t start, sector_t len)
{
	struct zmirror *zm = verify->zm;

	reinit_completion(&verify->done);
	atomic_set(&verify->pending, 2);
	zm_look_start(&verify->source, &zm->source, start, len);
	zm_look_start(&verify->dest, &zm->dest, start, len);
	wait_for_completion_io(&verify->done);
}

/*
 * Whether what was read differs, from @skip on. What the destination cannot read is
 * not there.
 */
static bool zm_differs(const struct zm_verify *verify, sector_t skip,
		       sector_t len)
{
	return verify->dest.error ||
	       memcmp(verify->source.buffer + (skip << SECTOR_SHIFT),
		      verify->dest.buffer + (skip << SECTOR_SHIFT),
		      len << SECTOR_SHIFT);
}

/*
 * ------------------------------------------------------------------------
 * Regions
 * ------------------------------------------------------------------------
 */

static u32 zm_region_of(const struct zm_verify *verify, sector_t sector)
{
	return sector >> ilog2(verify->zm->region_sectors);
}

/* What is in the region of the first sector; a piece may begin in the middle of one. */
static sector_t zm_in_region(const struct zm_verify *verify, sector_t start,
			     sector_t len)
{
	u32 region_sectors = verify->zm->region_sectors;

	return min_t(sector_t, len,
		     region_sectors - (start & (region_sectors - 1)));
}

static bool zm_was_found(const struct zm_verify *verify, u32 region)
{
	return verify->found[region / ZM_CHUNK_REGIONS] &
	       BIT_ULL(region % ZM_CHUNK_REGIONS);
}

static void zm_found(struct zm_verify *verify, u32 region)
{
	struct zmirror *zm = verify->zm;

	verify->found[region / ZM_CHUNK_REGIONS] |=
		BIT_ULL(region % ZM_CHUNK_REGIONS);
	WRITE_ONCE(verify->mismatch, verify->mismatch + 1);
	DMERR_LIMIT("%s: verify: region %u differs",
		    dm_table_device_name(zm->ti->table), region);
}

/* A large region is looked at in pieces, but counts once. */
static void zm_unverified(struct zm_verify *verify, u32 region)
{
	if (verify->last_unverified == region)
		return;
	verify->last_unverified = region;
	WRITE_ONCE(verify->unverified, verify->unverified + 1);
}

/*
 * Looks once more at a piece of one region that seems to differ, while nobody
 * writes to the region. One that is dirty by now need not be equal.
 */
static void zm_look_again(struct zm_verify *verify, sector_t start,
			  sector_t len)
{
	struct zmirror *zm = verify->zm;
	u32 region = zm_region_of(verify, start);
	bool differs, known;

	reinit_completion(&verify->begun);
	switch (zm_verify_hold(zm->regions, &verify->op, region)) {
	case ZM_AGAIN_NONE:
		zm_unverified(verify, region);
		return;
	case ZM_AGAIN_WAITS:
		wait_for_completion(&verify->begun);
		break;
	case ZM_AGAIN_BEGUN:
		break;
	}
	zm_rate_charge(&zm->scan_rate, len);
	zm_look_at(verify, start, len);
	differs = !verify->source.error && zm_differs(verify, 0, len);

	/*
	 * A destination that fails has lost more than this. And what this has waited for,
	 * or a user's mark, may have made the region dirty, or the source be gone.
	 */
	known = !verify->source.error && !zm_source_gone(zm->regions) &&
		zm_read_dest_end(zm->regions, &verify->op) &&
		zm_read_dest(zm->regions, &verify->op);
	if (!known)
		zm_unverified(verify, region);
	else if (differs)
		zm_found(verify, region);
	zm_op_ended(zm, zm_verify_release(zm->regions, &verify->op,
					  known && differs && verify->repair));
}

/*
 * ------------------------------------------------------------------------
 * The walk
 * ------------------------------------------------------------------------
 */

static bool zm_verify_runs(const void *context)
{
	const struct zm_verify *verify = context;

	zm_pace_tick(&verify->zm->pace, zm_resync_in_use(verify->zm));
	return READ_ONCE(verify->running) && !READ_ONCE(verify->zm->suspended);
}

/*
 * Compares a piece, region by region. A leg that hangs, or fails after a long time, does so
 * for each read: so who suspends or stops a verify waits for the one that is under way, and
 * the rest is left. Returns the sectors that were compared.
 */
static sector_t zm_compare(struct zm_verify *verify, sector_t start,
			   sector_t len)
{
	sector_t skip, part;

	for (skip = 0; skip < len; skip += part) {
		part = zm_in_region(verify, start + skip, len - skip);
		if (zm_was_found(verify, zm_region_of(verify, start + skip)) ||
		    !zm_differs(verify, skip, part))
			continue;
		if (!zm_verify_runs(verify))
			return skip;
		zm_look_again(verify, start + skip, part);
		if (skip + part == len)
			break;
		if (!zm_verify_runs(verify))
			return skip + part;
		/* The buffers have something else now. */
		zm_look_at(verify, start, len);
	}
	return len;
}

/* Once the destination has failed or taken over there is nothing to compare. */
static bool zm_verify_is_over(const struct zm_verify *verify)
{
	return verify->at >= verify->end || zm_dest_failed(verify->zm->regions) ||
	       zm_source_gone(verify->zm->regions);
}

/*
 * The next piece: of regions that are clean all, or of one that is clean. Regions
 * that are not are passed over. Its length is a part of a region, or several
 * regions. Returns its length, or 0 when there is none.
 */
static sector_t zm_verify_piece(struct zm_verify *verify)
{
	struct zmirror *zm = verify->zm;
	u32 most = zm_resync_in_use(zm) ? ZM_VERIFY_USED : ZM_VERIFY_SECTORS;
	struct zm_op op;
	sector_t next;

	while (!zm_verify_is_over(verify) && zm_verify_runs(verify)) {
		op.start = verify->at;
		op.end = min(round_down(op.start, most) + most, verify->end);
		if (zm_read_dest(zm->regions, &op))
			return op.end - op.start;

		/* Some of it is not clean: what begins it, or what follows. */
		next = round_down(op.start, zm->region_sectors) +
		       zm->region_sectors;
		op.end = min3(op.end, next, verify->end);
		if (zm_read_dest(zm->regions, &op))
			return op.end - op.start;
		zm_unverified(verify, zm_region_of(verify, op.start));
		WRITE_ONCE(verify->at, min(next, verify->end));
		cond_resched();
	}
	return 0;
}

/* Compares a piece; what the source cannot read together, region by region. */
static void zm_verify_one(struct zm_verify *verify, sector_t len)
{
	struct zmirror *zm = verify->zm;
	sector_t at = verify->at, end = at + len, part;

	if (READ_ONCE(zm->pace.on) &&
	    !zm_rate_wait(&zm->rate, len, zm_verify_runs, verify))
		return;
	if (!zm_rate_wait(&zm->scan_rate, len, zm_verify_runs, verify))
		return;
	zm_look_at(verify, at, len);
	if (!verify->source.error) {
		WRITE_ONCE(verify->at, at + zm_compare(verify, at, len));
		return;
	}
	for (; at < end && zm_verify_runs(verify); at += part) {
		part = zm_in_region(verify, at, end - at);
		zm_look_at(verify, at, part);
		if (verify->source.error)
			zm_unverified(verify, zm_region_of(verify, at));
		else if (zm_compare(verify, at, part) < part)
			break;
	}
	WRITE_ONCE(verify->at, at);
}

/* Who has it end tells of it, once: the work item, or who stops it. */
static void zm_verify_tell(const struct zm_verify *verify)
{
	struct zmirror *zm = verify->zm;

	DMINFO("%s: verify %s: %u of %u regions differ, %u not compared",
	       dm_table_device_name(zm->ti->table),
	       verify->at < verify->end ? "given up" : "ended",
	       verify->mismatch, verify->last - verify->first,
	       verify->unverified);
	dm_table_event(zm->ti->table);
}

/* A suspend interrupts it, and who stops it ends it himself. */
static void zm_verify_work(struct work_struct *work)
{
	struct zm_verify *verify = container_of(work, struct zm_verify, work);
	sector_t len;

	/*
	 * A resume may queue this as a message begins another verify: it must not see the
	 * range of before, and end the new one for that. Pairs with zm_verify_start().
	 */
	if (!smp_load_acquire(&verify->running))
		return;
	while ((len = zm_verify_piece(verify))) {
		zm_verify_one(verify, len);
		cond_resched();
	}
	if (!zm_verify_is_over(verify)) {
		/* Unless whoever suspended it has thought better of it, a resume does this. */
		zm_verify_kick(verify->zm);
		return;
	}
	if (zm_verify_runs(verify) && xchg(&verify->running, false))
		zm_verify_tell(verify);
}

/*
 * ------------------------------------------------------------------------
 * For the rest of the target
 * ------------------------------------------------------------------------
 */

void zm_verify_ready(struct zm_op *op)
{
	complete(&container_of(op, struct zm_verify, op)->begun);
}

void zm_verify_kick(struct zmirror *zm)
{
	if (zm_verify_runs(zm->verify))
		queue_work(zm->event_wq, &zm->verify->work);
}

void zm_verify_drain(struct zmirror *zm)
{
	flush_work(&zm->verify->work);
}

/* What it needs is made with the first one, and stays. */
static int zm_verify_alloc(struct zm_verify *verify)
{
	u32 chunks = DIV_ROUND_UP(zm_regions_total(verify->zm->regions),
				  ZM_CHUNK_REGIONS);

	if (!verify->found)
		verify->found = kvcalloc(chunks, sizeof(u64), GFP_KERNEL);
	if (!verify->source.buffer)
		verify->source.buffer = vmalloc(ZM_VERIFY_SECTORS <<
						SECTOR_SHIFT);
	if (!verify->dest.buffer)
		verify->dest.buffer = vmalloc(ZM_VERIFY_SECTORS <<
					      SECTOR_SHIFT);
	if (!verify->found || !verify->source.buffer || !verify->dest.buffer)
		return -ENOMEM;
	memset(verify->found, 0, chunks * sizeof(u64));
	return 0;
}

void zm_verify_stop(struct zmirror *zm)
{
	struct zm_verify *verify = zm->verify;

	if (!xchg(&verify->running, false))
		return;
	flush_work(&verify->work);
	zm_verify_tell(verify);
}

int zm_verify_start(struct zmirror *zm, sector_t start, sector_t len,
		    bool repair)
{
	struct zm_verify *verify = zm->verify;
	u32 mask = zm->region_sectors - 1;
	int r;

	if (READ_ONCE(verify->running) && READ_ONCE(verify->at) < verify->end)
		return -EBUSY;
	/*
	 * One that has looked at all is about to end, unless a suspend has come in between.
	 * Then a resume must not have it go on, with what is set below.
	 */
	zm_verify_stop(zm);
	flush_work(&verify->work);
	r = zm_verify_alloc(verify);
	if (r)
		return r;

	/* The status reads these together. */
	mutex_lock(&zm->state_lock);
	verify->repair = repair;
	verify->end = min((start + len + mask) & ~(sector_t)mask, zm->ti->len);
	WRITE_ONCE(verify->at, start & ~(sector_t)mask);
	verify->first = zm_region_of(verify, start);
	verify->last = zm_region_of(verify, verify->end - 1) + 1;
	verify->mismatch = 0;
	verify->unverified = 0;
	verify->last_unverified = U32_MAX;
	mutex_unlock(&zm->state_lock);
	/* Pairs with zm_verify_work(). */
	smp_store_release(&verify->running, true);
	zm_verify_kick(zm);
	return 0;
}

void zm_verify_count(const struct zmirror *zm, struct zm_verify_count *count)
{
	const struct zm_verify *verify = zm->verify;
	sector_t at = READ_ONCE(verify->at);

	count->total = verify->last - verify->first;
	count->done = at < verify->end ?
		      zm_region_of(verify, at) - verify->first : count->total;
	count->mismatch = READ_ONCE(verify->mismatch);
	count->unverified = READ_ONCE(verify->unverified);
}

const u64 *zm_verify_found(const struct zmirror *zm)
{
	return zm->verify->found;
}

void zm_verify_adopt(struct zmirror *zm, struct zmirror *old)
{
	struct zm_verify *to = zm->verify, *from = old->verify;

	to->running = from->running;
	to->repair = from->repair;
	to->first = from->first;
	to->last = from->last;
	to->at = from->at;
	to->end = from->end;
	to->mismatch = from->mismatch;
	to->unverified = from->unverified;
	to->last_unverified = from->last_unverified;
	swap(to->found, from->found);
	swap(to->source.buffer, from->source.buffer);
	swap(to->dest.buffer, from->dest.buffer);
	from->running = false;
}

int zm_verify_init(struct zmirror *zm)
{
	struct zm_verify *verify = kzalloc(sizeof(*verify), GFP_KERNEL);

	if (!verify)
		return -ENOMEM;
	zm->verify = verify;
	verify->zm = zm;
	verify->source.verify = verify;
	verify->dest.verify = verify;
	INIT_WORK(&verify->work, zm_verify_work);
	init_completion(&verify->begun);
	init_completion(&verify->done);
	verify->io = dm_io_client_create();
	if (IS_ERR(verify->io)) {
		int r = PTR_ERR(verify->io);

		verify->io = NULL;
		return r;
	}
	return 0;
}

void zm_verify_exit(struct zmirror *zm)
{
	struct zm_verify *verify = zm->verify;

	if (!verify)
		return;
	/* A message may have come between the last suspend and the removal. */
	cancel_work_sync(&verify->work);
	if (verify->io)
		dm_io_client_destroy(verify->io);
	vfree(verify->dest.buffer);
	vfree(verify->source.buffer);
	kvfree(verify->found);
	kfree(verify);
	zm->verify = NULL;
}
