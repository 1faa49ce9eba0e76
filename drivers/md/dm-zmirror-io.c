// SPDX-License-Identifier: GPL-2.0-only
/*
 * The foreground of a zmirror; see dm-zmirror-io.h.
 */
#include "dm-zmirror-io.h"
#include "dm-zmirror-compat.h"
#include "dm-zmirror-resync.h"
#include "dm-zmirror-zero.h"

#include <linux/blk-cgroup.h>
#include <linux/blkdev.h>
#include <linux/dm-io.h>
#include <linux/jiffies.h>
#include <linux/ktime.h>
#include <linux/list.h>
#include <linux/math.h>
#include <linux/minmax.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/wait.h>

/*
 * ------------------------------------------------------------------------
 * Types
 * ------------------------------------------------------------------------
 */

#define ZM_FREEZE_MS	5U	/* between two looks at what is in flight */
#define ZM_MOST_PAGES	8192U	/* sectors of zero pages for one operation */

enum zm_io_kind {
	ZM_IO_PASS,		/* nothing is to be done at its end */
	ZM_IO_READ,
	ZM_IO_READ_DEST,	/* a read that has failed on the source */
	ZM_IO_OP,		/* an operation on regions */
	ZM_IO_DEST_FLUSH,
	ZM_IO_SOURCE_FLUSH,
};

#define ZM_IO_TIMED		1U	/* somebody wants to know how long it takes */
#define ZM_IO_ZERO_PAYLOAD	2U	/* written as zeroes, by its content */
#define ZM_IO_DEST_FAILED	4U	/* the destination's share has failed */
#define ZM_IO_SOURCE_GONE	8U	/* a read that was sent to the destination at once */

/*
 * What is kept for each bio, in the data that device-mapper allocates with it,
 * so that no path below allocates anything.
 *
 * An operation on both legs has the source's bio, which is device-mapper's,
 * and @dest, or requests that make zeroes on the destination. @legs counts those
 * that have not ended; whoever brings it to zero ends the operation, in the
 * context in which it finds itself.
 *
 * Of a read, @op has the sectors only, and @payload is what it was sent with.
 *
 * @flags tell what else there is to look at when it ends.
 */
struct zm_io {
	struct zmirror *zm;
	u8 kind;			/* enum zm_io_kind */
	u8 flags;
	blk_status_t dest_status;	/* of a read: that of the source */
	atomic_t legs;
	struct list_head zeroing;	/* place in zmirror.zeroing */
	struct bvec_iter payload;	/* where zeroes were found, too */
	u64 started;			/* when it came, in ns */
	union {
		struct zm_op op;
		struct zm_flush flush;
	};
	struct bio dest;
};

unsigned int zm_io_size(void)
{
	return sizeof(struct zm_io);
}

static struct zm_io *zm_io(struct bio *bio)
{
	return dm_per_bio_data(bio, sizeof(struct zm_io));
}

static struct bio *zm_io_bio(struct zm_io *io)
{
	return dm_bio_from_per_bio_data(io, sizeof(struct zm_io));
}

/* How the destination's share of an operation has ended. */
static blk_status_t zm_dest_status(const struct zm_io *io)
{
	return READ_ONCE(io->flags) & ZM_IO_DEST_FAILED ?
	       READ_ONCE(io->dest_status) : BLK_STS_OK;
}

/*
 * Called before the part of @legs that stands for it is given back. Several requests of
 * one operation may fail at once, all of which write the same flags.
 */
static void zm_dest_share_failed(struct zm_io *io, blk_status_t status)
{
	WRITE_ONCE(io->dest_status, status);
	WRITE_ONCE(io->flags, READ_ONCE(io->flags) | ZM_IO_DEST_FAILED);
}

/* The leg that has all that was written: the source, as long as it is there. */
static const struct zm_leg *zm_truth(const struct zmirror *zm)
{
	return READ_ONCE(zm->truth);
}

/* @sector counts from the start of the mirror. */
static void zm_remap_to(const struct zm_leg *leg, struct bio *bio,
			sector_t sector)
{
	bio_set_dev(bio, leg->dev->bdev);
	bio->bi_iter.bi_sector = leg->start + sector;
}

/* @sector counts from the start of the mirror. */
static void zm_remap_to_source(struct zmirror *zm, struct bio *bio,
			       sector_t sector)
{
	zm_remap_to(&zm->source, bio, sector);
}

/*
 * ------------------------------------------------------------------------
 * The end of a request
 * ------------------------------------------------------------------------
 */

/*
 * A leg that cannot do what was asked has not failed. The regions are dirty all
 * the same: resync finds another way on the destination, and whoever sent the
 * request finds one on the source.
 */
static bool zm_declined(const struct zm_io *io, blk_status_t status)
{
	return io->op.kind != ZM_OP_WRITE &&
	       (status == BLK_STS_NOTSUPP || status == BLK_STS_TARGET);
}

/*
 * Someone may rewrite a buffer while it is written, against the rules of
 * O_DIRECT. The source then has one content or another, but it may not be that
 * for which the destination was left as it is.
 */
static bool zm_payload_changed(struct zm_io *io, struct bio *bio)
{
	return (io->flags & ZM_IO_ZERO_PAYLOAD) &&
	       !zm_payload_is_zero(bio, io->payload);
}

/*
 * The bio itself has been to the destination, for the source is gone. Parts of it
 * may have gone there too, which are those of zeroes.
 */
static unsigned int zm_gone_failed(struct zm_io *io, blk_status_t *error)
{
	if (!*error)
		*error = zm_dest_status(io);
	if (!*error)
		return 0;
	if (!zm_declined(io, *error))
		atomic64_inc(&io->zm->stats.dest_errors);
	return ZM_DEST;
}

/* Tells of what has failed, and to the user. Returns the mask of the legs. */
static noinline unsigned int zm_io_failed(struct zm_io *io, blk_status_t *error)
{
	blk_status_t dest_status = zm_dest_status(io);
	struct zmirror *zm = io->zm;
	unsigned int failed = 0;

	if (!(io->op.legs & ZM_SOURCE))
		return zm_gone_failed(io, error);
	if (*error) {
		if (!zm_declined(io, *error))
			atomic64_inc(&zm->stats.source_errors);
		failed |= ZM_SOURCE;
	}
	if (dest_status) {
		if (!zm_declined(io, dest_status))
			zm_dest_error(zm, io->op.generation, dest_status);
		failed |= ZM_DEST;
	}
	return failed;
}

static void zm_dest_flush_end(struct zm_io *io, blk_status_t *error)
{
	struct zmirror *zm = io->zm;

	if (*error)
		zm_dest_error(zm, io->flush.generation, *error);
	else
		zm_flush_end(zm->regions, &io->flush);

	/* What happens to the destination is no affair of the user's, as a rule. */
	if (!zm_source_gone(zm->regions))
		*error = BLK_STS_OK;
}

/* Whether a leg has failed, and not just that request. */
static bool zm_leg_failed(blk_status_t status)
{
	return status != BLK_STS_AGAIN && status != BLK_STS_INVAL &&
	       status != BLK_STS_NOTSUPP && status != BLK_STS_TARGET;
}

/*
 * Whether a write that failed on the source has done on the destination what it was
 * to do, so that the user need not know of it if the destination takes over. Where
 * the destination was left out, its regions are dirty, and it cannot.
 */
static bool zm_may_take_over(const struct zm_io *io, blk_status_t status)
{
	struct zmirror *zm = io->zm;

	return READ_ONCE(zm->failover) && (io->op.legs & ZM_SOURCE) &&
	       ((io->op.legs & ZM_DEST) || io->op.skipped) &&
	       !zm_dest_status(io) && zm_leg_failed(status) &&
	       !zm_dest_failed(zm->regions) && !zm_regions_dirty(zm->regions);
}

/*
 * Keeps a bio that failed on the source until it is decided whether the destination
 * takes over. If it is a write its operation stays in flight meanwhile.
 */
static void zm_hold(struct zm_io *io, struct bio *bio)
{
	struct zmirror *zm = io->zm;
	unsigned long flags;

	spin_lock_irqsave(&zm->lock, flags);
	bio_list_add(&zm->held, bio);
	/* Under the lock, as in zm_dest_later(). */
	queue_delayed_work(zm->wq, &zm->source_work, 0);
	spin_unlock_irqrestore(&zm->lock, flags);
}

/* Of what carries data and has ended well, the controller wants the latency. */
static noinline void zm_io_took(const struct zm_io *io)
{
	zm_pace_sample(&io->zm->pace, io->started, io->kind == ZM_IO_OP,
		       io->op.end - io->op.start);
}

/* An operation has ended: not well, or its end is to be looked at. */
static noinline int zm_op_end_closely(struct zm_io *io, struct bio *bio,
				      blk_status_t *error)
{
	struct zmirror *zm = io->zm;
	unsigned int failed = 0;

	if (*error || zm_dest_status(io)) {
		if (*error && zm_may_take_over(io, *error)) {
			atomic64_inc(&zm->stats.source_errors);
			zm_hold(io, bio);
			return DM_ENDIO_INCOMPLETE;
		}
		failed = zm_io_failed(io, error);
	}
	if (zm_payload_changed(io, bio))
		failed |= ZM_DEST;
	if ((io->flags & ZM_IO_TIMED) && io->op.kind == ZM_OP_WRITE && !*error)
		zm_io_took(io);

	zm_op_ended(zm, zm_op_end(zm->regions, &io->op, failed));
	return DM_ENDIO_DONE;
}

static __always_inline int zm_op_end_io(struct zm_io *io, struct bio *bio,
					blk_status_t *error)
{
	unsigned int ended;

	if (unlikely(*error) || unlikely(io->flags))
		return zm_op_end_closely(io, bio, error);

	ended = zm_op_end(io->zm->regions, &io->op, 0);
	if (unlikely(ended))
		zm_op_ended(io->zm, ended);
	return DM_ENDIO_DONE;
}

static int zm_source_flush_end(struct zm_io *io, struct bio *bio)
{
	struct zmirror *zm = io->zm;

	atomic64_inc(&zm->stats.source_errors);
	if (!zm_leg_failed(bio->bi_status))
		return DM_ENDIO_DONE;

	/* A device may tell of it only once: a flush that succeeds later says nothing. */
	WRITE_ONCE(zm->source_doubtful, true);
	if (!READ_ONCE(zm->failover) || zm_dest_failed(zm->regions))
		return DM_ENDIO_DONE;
	zm_hold(io, bio);
	return DM_ENDIO_INCOMPLETE;
}

/*
 * Whether a read that failed on the source may be sent to the destination. What
 * was a try only, or would not wait, is not worth it; and what is kept beside the
 * data to check it belongs to the source. While the destination is being zeroed, a
 * region that becomes dirty after this is asked may be zeroed before it is read.
 */
static bool zm_read_elsewhere(struct zm_io *io, struct bio *bio,
			      blk_status_t status)
{
	if ((bio->bi_opf & (REQ_RAHEAD | REQ_NOWAIT | REQ_INTEGRITY)) ||
	    status == BLK_STS_AGAIN || status == BLK_STS_NOTSUPP ||
	    zm_prezero_busy(io->zm))
		return false;
	return zm_read_dest(io->zm->regions, &io->op);
}

/*
 * The bio is made as it was when it came; what has ended it has left its marks. It
 * is sent by a work item, which may sleep.
 */
static void zm_read_again(struct zm_io *io, struct bio *bio)
{
	io->kind = ZM_IO_READ_DEST;
	io->dest_status = bio->bi_status;
	bio->bi_status = BLK_STS_OK;
	bio->bi_iter = io->payload;
	bio->bi_opf &= ~REQ_POLLED;
	WRITE_ONCE(bio->bi_cookie, BLK_QC_T_NONE);
	atomic_set(&bio->__bi_remaining, 1);
	bio_clear_flag(bio, BIO_CHAIN);
	bio_clear_flag(bio, BIO_QOS_THROTTLED);
	bio_clear_flag(bio, BIO_QOS_MERGED);
	zm_io_ready(&io->op);
}

/* A read has failed, on one leg or the other. */
static int zm_read_failed(struct zm_io *io, struct bio *bio,
			  blk_status_t *error)
{
	struct zmirror *zm = io->zm;

	if (io->kind == ZM_IO_READ_DEST) {
		atomic64_inc(&zm->stats.dest_errors);
		*error = io->dest_status;
		return DM_ENDIO_DONE;
	}
	if (*error != BLK_STS_AGAIN && !(bio->bi_opf & REQ_RAHEAD))
		atomic64_inc(io->flags & ZM_IO_SOURCE_GONE ?
			     &zm->stats.dest_errors : &zm->stats.source_errors);
	if ((io->flags & ZM_IO_SOURCE_GONE) || !zm_read_elsewhere(io, bio, *error))
		return DM_ENDIO_DONE;
	zm_read_again(io, bio);
	return DM_ENDIO_INCOMPLETE;
}

/* The destination may have lost what it had, should it have failed meanwhile. */
static void zm_read_served(struct zm_io *io, blk_status_t *error)
{
	struct zmirror *zm = io->zm;

	if (zm_read_dest_end(zm->regions, &io->op))
		atomic64_add(io->op.end - io->op.start, &zm->stats.served);
	else
		*error = io->dest_status;
}

/* The end of what is no operation. */
static noinline int zm_other_end(struct zm_io *io, struct bio *bio,
				 blk_status_t *error)
{
	if (io->kind == ZM_IO_DEST_FLUSH)
		zm_dest_flush_end(io, error);
	else if (*error && io->kind == ZM_IO_SOURCE_FLUSH)
		return zm_source_flush_end(io, bio);
	else if (*error && io->kind != ZM_IO_PASS)
		return zm_read_failed(io, bio, error);
	else if (io->kind == ZM_IO_READ_DEST)
		zm_read_served(io, error);
	else if ((io->flags & ZM_IO_TIMED) && io->kind == ZM_IO_READ)
		zm_io_took(io);
	return DM_ENDIO_DONE;
}

/*
 * Comes here when the source's bio has ended, and once more when that of the
 * destination, ending later, has called bio_endio() for the source's: to end the
 * operation then is left to that call. The status of the source stays in its bio
 * in between.
 */
int zm_io_end(struct dm_target *ti, struct bio *bio, blk_status_t *error)
{
	struct zm_io *io = zm_io(bio);

	if (io->kind == ZM_IO_OP) {
		if (!atomic_dec_and_test(&io->legs))
			return DM_ENDIO_INCOMPLETE;
		return zm_op_end_io(io, bio, error);
	}
	if (likely(io->kind == ZM_IO_READ) && likely(!*error) &&
	    likely(!io->flags))
		return DM_ENDIO_DONE;
	return zm_other_end(io, bio, error);
}

/*
 * A bio that has ended before ends once more, for device-mapper. What controls I/O
 * by cgroups must not count that: it has seen the first time.
 */
static void zm_end_again(struct bio *bio)
{
	bio_clear_flag(bio, BIO_QOS_THROTTLED);
	bio_clear_flag(bio, BIO_QOS_MERGED);
	bio_endio(bio);
}

/*
 * A request to the destination has ended, or a part of one. If it is the last,
 * the source's bio has ended before.
 */
static void zm_dest_put(struct zm_io *io)
{
	if (!atomic_dec_and_test(&io->legs))
		return;
	atomic_set(&io->legs, 1);
	zm_end_again(zm_io_bio(io));
}

static void zm_dest_later(struct zm_io *io)
{
	struct zmirror *zm = io->zm;
	unsigned long flags;

	spin_lock_irqsave(&zm->lock, flags);
	list_add_tail(&io->zeroing, &zm->zeroing);
	/* Under the lock: without it, the mirror may be gone once it is taken. */
	queue_work(zm->wq, &zm->zeroing_work);
	spin_unlock_irqrestore(&zm->lock, flags);
}

/*
 * Whether the destination cannot zero as it had offered. The zeroes are made in
 * another way then; meanwhile the operation is in flight as before.
 */
static bool zm_zero_other_way(struct zm_io *io, const struct bio *dest)
{
	enum zm_zero_how how;

	if (bio_op(dest) == REQ_OP_WRITE_ZEROES)
		how = ZM_ZERO_ASKED;
	else if (bio_op(dest) == REQ_OP_DISCARD)
		how = ZM_ZERO_DISCARD;
	else
		return false;
	if (io->op.kind != ZM_OP_ZEROES || !zm_declined(io, dest->bi_status))
		return false;
	zm_zero_refused(io->zm, how);
	return true;
}

/* Whatever @dest holds is given back before the operation may end. */
static noinline void zm_dest_not_well(struct zm_io *io, struct bio *dest)
{
	bool again = zm_zero_other_way(io, dest);

	if (!again)
		zm_dest_share_failed(io, dest->bi_status);
	bio_uninit(dest);
	if (again)
		zm_dest_later(io);
	else
		zm_dest_put(io);
}

static void zm_dest_end(struct bio *dest)
{
	struct zm_io *io = container_of(dest, struct zm_io, dest);

	if (unlikely(dest->bi_status)) {
		zm_dest_not_well(io, dest);
		return;
	}
	bio_uninit(dest);
	zm_dest_put(io);
}

/*
 * ------------------------------------------------------------------------
 * Submission
 * ------------------------------------------------------------------------
 */

/*
 * The destination's share of a write, of a discard, or of zeroes that cannot
 * be asked for: a clone. It is charged to whom the source's share is charged,
 * which is known since that was remapped; without a device, bio_init_clone() does
 * not look for it a second time.
 */
static void zm_dest_clone(struct zmirror *zm, struct zm_io *io,
			  struct bio *bio)
{
	/* Cannot fail: only integrity and encryption contexts would allocate. */
	bio_init_clone(NULL, &io->dest, bio, GFP_NOIO);
	io->dest.bi_bdev = zm->dest.dev->bdev;
	bio_clone_blkg_association(&io->dest, bio);

	/*
	 * Only one leg can be polled for, and one that would not wait while
	 * the other does would set them apart.
	 */
	io->dest.bi_opf &= ~(REQ_POLLED | REQ_NOWAIT);
	io->dest.bi_vcnt = bio->bi_vcnt;
}

/*
 * The destination's share of zeroes that one request can make: no data, whatever
 * the user sent.
 */
static void zm_dest_zero(struct zm_io *io, struct bio *bio,
			 enum zm_zero_how how)
{
	struct zmirror *zm = io->zm;

	bio_init(&io->dest, zm->dest.dev->bdev, NULL, 0,
		 zm_zero_opf(zm, how) | (bio->bi_opf & REQ_SYNC));
	bio_clone_blkg_association(&io->dest, bio);
	io->dest.bi_ioprio = bio->bi_ioprio;
	io->dest.bi_iter.bi_size = bio->bi_iter.bi_size;
}

/*
 * Prepares @dest for the destination's share of zeroes or of a discard. Returns
 * false for those that take more than one request.
 *
 * Zeroes with FUA are written as data: the block layer has no zeroing that is
 * stable when it ends. So are those that come as data, where nothing better than
 * data can be made of them.
 */
static noinline bool zm_dest_prepare(struct zmirror *zm, struct zm_io *io,
				     struct bio *bio)
{
	enum zm_zero_how how;
	sector_t piece;
	bool whole;

	if (io->op.kind == ZM_OP_DISCARD) {
		if (io->op.known_zero)
			return false;
		atomic64_add(io->op.end - io->op.start, &zm->stats.discarded);
	}
	if (io->op.kind != ZM_OP_ZEROES || (bio->bi_opf & REQ_FUA)) {
		zm_dest_clone(zm, io, bio);
		return true;
	}
	how = zm_zero_how(zm, io->op.start, io->op.end, &piece);
	whole = piece == io->op.end;
	if (how != ZM_ZERO_PAGES && whole) {
		zm_dest_zero(io, bio, how);
		return true;
	}
	if (how == ZM_ZERO_PAGES && (io->flags & ZM_IO_ZERO_PAYLOAD) &&
	    (whole || !zm_zero_cheap(zm))) {
		zm_dest_clone(zm, io, bio);
		return true;
	}
	return false;
}

static __always_inline void zm_send_dest(struct zmirror *zm, struct zm_io *io)
{
	io->dest.bi_iter.bi_sector = zm->dest.start + io->op.start;
	io->dest.bi_end_io = zm_dest_end;
	submit_bio_noacct(&io->dest);
}

/* Takes note of what the beginning of an operation has told. */
static void zm_io_begun(struct zm_io *io)
{
	struct zmirror *zm = io->zm;

	if (io->op.skipped)
		atomic64_add(io->op.end - io->op.start, &zm->stats.fg_skipped);
	if (io->op.dirtied)
		zm_resync_kick(zm);
}

/* Ends a bio for which there is nothing to do. */
static int zm_complete(struct bio *bio)
{
	zm_io(bio)->kind = ZM_IO_PASS;
	bio_endio(bio);
	return DM_MAPIO_SUBMITTED;
}

/*
 * Sends an operation to the destination alone, for the source is gone. Zeroes that
 * come without data are made in the way that the destination knows.
 */
static noinline int zm_submit_gone(struct zmirror *zm, struct zm_io *io,
				   struct bio *bio)
{
	if (bio_op(bio) == REQ_OP_WRITE_ZEROES) {
		zm_dest_later(io);
		return DM_MAPIO_SUBMITTED;
	}
	bio_set_dev(bio, zm->dest.dev->bdev);
	bio->bi_iter.bi_sector = zm->dest.start + io->op.start;
	return DM_MAPIO_REMAPPED;
}

/* Any operation but a write to both legs. Returns as zm_submit_write(). */
static noinline int zm_submit_other(struct zmirror *zm, struct zm_io *io,
				    struct bio *bio)
{
	unsigned int legs = io->op.legs;

	atomic_set(&io->legs, 1);
	zm_io_begun(io);
	if (!legs)
		return zm_complete(bio);
	if (legs == ZM_DEST)
		return zm_submit_gone(zm, io, bio);
	zm_remap_to_source(zm, bio, io->op.start);
	if (legs & ZM_DEST) {
		atomic_set(&io->legs, 2);
		bio->bi_opf &= ~REQ_NOWAIT;
		if (zm_dest_prepare(zm, io, bio))
			zm_send_dest(zm, io);
		else
			zm_dest_later(io);
	}
	return DM_MAPIO_REMAPPED;
}

/*
 * Sends a write that has begun to its legs. Returns DM_MAPIO_REMAPPED if the bio is
 * still to be submitted, or DM_MAPIO_SUBMITTED.
 */
static __always_inline int zm_submit_write(struct zmirror *zm, struct zm_io *io,
					   struct bio *bio)
{
	if (unlikely(io->op.legs != (ZM_SOURCE | ZM_DEST)))
		return zm_submit_other(zm, io, bio);

	/*
	 * Once the destination's bio is submitted it may end at any moment,
	 * but the bio itself stays until both have ended.
	 */
	zm_remap_to_source(zm, bio, io->op.start);
	atomic_set(&io->legs, 2);
	bio->bi_opf &= ~REQ_NOWAIT;
	zm_dest_clone(zm, io, bio);
	zm_send_dest(zm, io);
	return DM_MAPIO_REMAPPED;
}

/* Sends any operation that has begun, or ends it if it has no leg. */
static int zm_submit(struct zmirror *zm, struct zm_io *io, struct bio *bio)
{
	if (io->op.kind == ZM_OP_WRITE)
		return zm_submit_write(zm, io, bio);
	return zm_submit_other(zm, io, bio);
}

void zm_io_ready(struct zm_op *op)
{
	struct zm_io *io = container_of(op, struct zm_io, op);
	struct zmirror *zm = io->zm;
	unsigned long flags;

	spin_lock_irqsave(&zm->lock, flags);
	bio_list_add(&zm->deferred, zm_io_bio(io));
	/* Under the lock, as in zm_dest_later(). */
	queue_work(zm->wq, &zm->deferred_work);
	spin_unlock_irqrestore(&zm->lock, flags);
}

static void zm_submit_deferred(struct work_struct *work)
{
	struct zmirror *zm = container_of(work, struct zmirror, deferred_work);
	struct bio_list bios;
	struct blk_plug plug;
	struct bio *bio;

	spin_lock_irq(&zm->lock);
	bios = zm->deferred;
	bio_list_init(&zm->deferred);
	spin_unlock_irq(&zm->lock);

	blk_start_plug(&plug);
	while ((bio = bio_list_pop(&bios))) {
		struct zm_io *io = zm_io(bio);

		if (io->kind == ZM_IO_READ_DEST) {
			bio_set_dev(bio, zm->dest.dev->bdev);
			bio->bi_iter.bi_sector = zm->dest.start + io->op.start;
			submit_bio_noacct(bio);
		} else if (zm_submit(zm, io, bio) == DM_MAPIO_REMAPPED) {
			submit_bio_noacct(bio);
		}
	}
	blk_finish_plug(&plug);
}

/*
 * ------------------------------------------------------------------------
 * Zeroes and discards that take more than one request
 * ------------------------------------------------------------------------
 */

static void zm_pages_done(ZM_IO_NOTIFY_ARGS)
{
	struct zm_io *io = context;

	if (ZM_IO_FAILED)
		zm_dest_share_failed(io, BLK_STS_IOERR);
	zm_dest_put(io);
}

/*
 * What the destination just cannot do, resync does in another way. Where that is not
 * told, it is one that does not offer any more what it had.
 */
static void zm_asked_done(ZM_IO_NOTIFY_ARGS)
{
	struct zm_io *io = context;
	bool refused = ZM_IO_UNSUPPORTED ||
		       !zm_zero_offered(io->zm, io->op.kind == ZM_OP_ZEROES);

	if (ZM_IO_FAILED && !refused)
		zm_dest_share_failed(io, BLK_STS_IOERR);
	else if (ZM_IO_FAILED && !zm_dest_status(io))
		zm_dest_share_failed(io, BLK_STS_NOTSUPP);
	zm_dest_put(io);
}

static void zm_zero_pieces(struct zm_io *io)
{
	struct zmirror *zm = io->zm;
	sector_t at, piece;

	for (at = io->op.start; at < io->op.end; at = piece) {
		enum zm_zero_how how;

		how = zm_zero_how(zm, at, io->op.end, &piece);
		atomic_inc(&io->legs);
		zm_zero_dest(zm, zm->zero_io, how, at, piece,
			     how == ZM_ZERO_PAGES ? zm_pages_done :
						    zm_asked_done, io);
	}
}

/* What is known to be zero on the destination is left as it is. */
static void zm_discard_pieces(struct zm_io *io)
{
	struct zmirror *zm = io->zm;
	struct zm_op *op = &io->op;
	u64 left = op->touch & ~op->known_zero;
	sector_t start, end, unused;

	while (left) {
		unsigned int first = __ffs64(left);
		u64 gaps = ~left & GENMASK_ULL(63, first);
		unsigned int last = (gaps ? __ffs64(gaps) : 64) - 1;

		zm_region_range(zm->regions, op->chunk, first, &start, &unused);
		zm_region_range(zm->regions, op->chunk, last, &unused, &end);
		start = max(start, op->start);
		end = min(end, op->end);

		left &= ~GENMASK_ULL(last, first);
		atomic64_add(end - start, &zm->stats.discarded);
		atomic_inc(&io->legs);
		zm_zero_dest(zm, zm->zero_io, ZM_ZERO_DISCARD, start, end,
			     zm_asked_done, io);
	}
}

static void zm_make_zeroes(struct work_struct *work)
{
	struct zmirror *zm = container_of(work, struct zmirror, zeroing_work);
	struct zm_io *io, *safe;
	LIST_HEAD(list);

	spin_lock_irq(&zm->lock);
	list_splice_init(&zm->zeroing, &list);
	spin_unlock_irq(&zm->lock);

	/*
	 * The part of @legs that stands for the destination is held until all
	 * of its requests are submitted.
	 */
	list_for_each_entry_safe(io, safe, &list, zeroing) {
		if (io->op.kind == ZM_OP_DISCARD)
			zm_discard_pieces(io);
		else
			zm_zero_pieces(io);
		zm_dest_put(io);
	}
}

/*
 * ------------------------------------------------------------------------
 * The source fails
 * ------------------------------------------------------------------------
 */

/* How many bios are held, and how many of them are operations. */
static u32 zm_held(struct zmirror *zm, u32 *ops)
{
	struct bio *bio;
	u32 all = 0;

	*ops = 0;
	spin_lock_irq(&zm->lock);
	bio_list_for_each(bio, &zm->held) {
		all++;
		*ops += zm_io(bio)->kind == ZM_IO_OP;
	}
	spin_unlock_irq(&zm->lock);
	return all;
}

/*
 * Whether the destination has failed since one that is held began: it may have lost what
 * that wrote, which is not known of it before it ends.
 */
static bool zm_held_lost(struct zmirror *zm)
{
	struct bio *bio;
	bool lost = false;

	spin_lock_irq(&zm->lock);
	bio_list_for_each(bio, &zm->held)
		lost |= zm_io(bio)->kind == ZM_IO_OP &&
			!zm_read_dest_end(zm->regions, &zm_io(bio)->op);
	spin_unlock_irq(&zm->lock);
	return lost;
}

static bool zm_dest_has_all(const struct zmirror *zm)
{
	return !zm_dest_failed(zm->regions) && !zm_regions_dirty(zm->regions);
}

/* Whether it is to take over; from a source that is @well, by the user's message only. */
static bool zm_is_to_take_over(const struct zmirror *zm, bool well)
{
	return (well ? READ_ONCE(zm->pivot) : READ_ONCE(zm->failover)) &&
	       zm_dest_has_all(zm);
}

/*
 * All is at rest. Somebody is held, or the user wants it and the source is @well. What
 * resync copied was stable on the source, perhaps, and must be so here before the
 * source is done without: a power cut could come at any time. That may take long, and
 * the user may have thought better of it meanwhile. Or the destination has failed in
 * between, by another flush, and been used again: then what is held may be lost though
 * no region is dirty. So who is held is asked last.
 */
static bool zm_take_over(struct zmirror *zm, bool well)
{
	if (zm_source_gone(zm->regions))
		return true;
	if (!zm_is_to_take_over(zm, well) || !zm_resync_flush_dest(zm) ||
	    zm_held_lost(zm) || !zm_is_to_take_over(zm, well))
		return false;

	/* Who waits for one that is held begins as soon as that ends. */
	WRITE_ONCE(zm->pivoted, well);
	WRITE_ONCE(zm->truth, &zm->dest);
	zm_source_leave(zm->regions);
	zm_event(zm, well ? ZM_EVENT_PIVOTED : ZM_EVENT_FAILED_OVER);
	return true;
}

/*
 * What is held has failed on the source; on the destination it is there. If the
 * destination takes over it has succeeded, and the source is what lacks it.
 */
static void zm_let_held_go(struct zmirror *zm, bool over)
{
	struct bio_list bios;
	struct bio *bio;

	spin_lock_irq(&zm->lock);
	bios = zm->held;
	bio_list_init(&zm->held);
	spin_unlock_irq(&zm->lock);

	while ((bio = bio_list_pop(&bios))) {
		struct zm_io *io = zm_io(bio);

		if (io->kind == ZM_IO_OP)
			zm_op_ended(zm, zm_op_end(zm->regions, &io->op,
						  ZM_SOURCE));
		if (over)
			bio->bi_status = BLK_STS_OK;
		io->kind = ZM_IO_PASS;
		zm_end_again(bio);
	}
}

/*
 * Decides whether the destination takes over from a source that fails, or that the
 * user wants to leave. It can only
 * if it has all that was acknowledged, and this must not change while that is found
 * out. So no request begins, and those in flight end, or fail on the source as well
 * and are held. Then nothing is under way to either leg: no region is dirty, or one
 * is, and if the destination has failed it shows.
 *
 * A flush may still be under way, or fail from here on: what it had to make stable is
 * on the destination all the same, and who asked for it is told.
 *
 * Resync began nothing meanwhile, and gave up what would have waited for its rate. It is
 * told to look again, also for what the last request before the freeze has left dirty.
 */
static void zm_source_work(struct work_struct *work)
{
	struct zmirror *zm = container_of(to_delayed_work(work),
					  struct zmirror, source_work);
	u32 pivot = READ_ONCE(zm->pivot), nr, held = zm_held(zm, &nr);
	bool over;

	if (!held && !pivot) {
		/* Whoever wanted it does not wait any more. */
		if (zm_frozen(zm->regions)) {
			zm_thaw(zm->regions);
			zm_resync_kick(zm);
		}
		return;
	}
	zm_freeze(zm->regions);
	if (zm_in_flight(zm->regions) != nr) {
		queue_delayed_work(zm->wq, &zm->source_work,
				   msecs_to_jiffies(ZM_FREEZE_MS));
		return;
	}
	over = zm_take_over(zm, !held);
	zm_let_held_go(zm, over);
	zm_thaw(zm->regions);
	zm_resync_kick(zm);
	/* Not one that was asked for meanwhile, by another message: that has queued this again. */
	if (pivot && cmpxchg(&zm->pivot, pivot, 0) == pivot)
		wake_up(&zm->pivot_done);
}

/*
 * What is volatile on the destination is made stable twice: most of it here, while users
 * go on, so that they do not wait long for the rest, in zm_take_over().
 *
 * When it is all over the source gets no more. What it has must be stable there before
 * what was not written since is taken for equal, see zm_exchanges(). A flush of a user's
 * that is told of as failed after this one, though it was first, is looked at there.
 */
int zm_io_pivot(struct zmirror *zm)
{
	u32 pivot = ++zm->pivots ?: ++zm->pivots;

	if (!zm_source_gone(zm->regions)) {
		if (!zm_dest_has_all(zm))
			return -EBUSY;
		zm_resync_flush_dest(zm);
		WRITE_ONCE(zm->pivot, pivot);
		queue_delayed_work(zm->wq, &zm->source_work, 0);
		if (wait_event_killable(zm->pivot_done,
					!READ_ONCE(zm->pivot))) {
			/* It must not come true after whatever is done next. */
			WRITE_ONCE(zm->pivot, 0);
			mod_delayed_work(zm->wq, &zm->source_work, 0);
			return -EINTR;
		}
		if (!zm_source_gone(zm->regions))
			return zm_dest_failed(zm->regions) ? -EIO : -EBUSY;
	}
	if (zm->pivoted && !zm->source_stable)
		zm->source_stable = !blkdev_issue_flush(zm->source.dev->bdev);
	return 0;
}

/*
 * ------------------------------------------------------------------------
 * Mapping
 * ------------------------------------------------------------------------
 */

static int zm_map_flush(struct zmirror *zm, struct zm_io *io, struct bio *bio)
{
	bool gone = zm_source_gone(zm->regions);

	if (!dm_bio_get_target_bio_nr(bio)) {
		if (gone)
			return zm_complete(bio);
		io->kind = ZM_IO_SOURCE_FLUSH;
		bio_set_dev(bio, zm->source.dev->bdev);
		return DM_MAPIO_REMAPPED;
	}

	/*
	 * In async mode nobody was told that the destination has anything, but
	 * for what was written before it was set.
	 */
	if (!gone && (zm_dest_failed(zm->regions) ||
		      (READ_ONCE(zm->async) && !zm_flush_needed(zm->regions))))
		return zm_complete(bio);
	io->kind = ZM_IO_DEST_FLUSH;
	zm_flush_begin(zm->regions, &io->flush);
	bio_set_dev(bio, zm->dest.dev->bdev);
	return DM_MAPIO_REMAPPED;
}

/* Whether a write has nothing but zeroes, and is to be taken for such. */
static __always_inline bool zm_writes_zeroes(struct zmirror *zm, struct bio *bio)
{
	bool single = zm_mark_single(bio);

	return READ_ONCE(zm->zero_detect) &&
	       unlikely(!zm_payload_has_data(bio, single)) &&
	       zm_payload_is_zero(bio, bio->bi_iter);
}

/*
 * A request without REQ_NOUNMAP asks for zeroes only, one with it for blocks too:
 * the source must see it.
 */
static void zm_set_zeroes(struct zm_io *io, struct bio *bio)
{
	io->op.kind = ZM_OP_ZEROES;
	io->op.droppable = !(bio->bi_opf & (REQ_NOUNMAP | REQ_FUA));

	/* There is no zeroing that is stable when it ends: it is copied. */
	if (bio->bi_opf & REQ_FUA)
		io->op.source_only = true;
}

/*
 * A destination that is to stay allocated is not discarded. The region module
 * makes dirty what the destination is left out of. Returns false for a discard
 * that the source cannot do, or the destination if that has taken over: it leaves
 * that leg as it is, and so must it leave the other.
 */
static bool zm_set_discard(struct zm_io *io)
{
	struct zmirror *zm = io->zm;
	const struct zm_leg *truth = zm_truth(zm);

	if (!bdev_max_discard_sectors(truth->dev->bdev) ||
	    (zm->no_unmap && truth == &zm->dest))
		return false;
	io->op.kind = ZM_OP_DISCARD;
	io->op.pass = zm->discard == ZM_DISCARD_PASS;
	/* Whatever the mode, a destination that has taken over is the only leg. */
	if (truth == &zm->dest)
		io->op.source_only = false;
	else if (zm->no_unmap || !bdev_max_discard_sectors(zm->dest.dev->bdev))
		io->op.source_only = true;
	return true;
}

/*
 * Where one operation with zeroes ends at most: where regions that have them
 * already meet others, so that only the others are zeroed; and where the pages
 * that it takes would be too many.
 */
static sector_t zm_zeroes_cut(const struct zm_io *io)
{
	const struct zmirror *zm = io->zm;
	sector_t end = zm_zeroes_end(zm->regions, io->op.start, io->op.end);
	u32 most = max(zm->region_sectors, ZM_MOST_PAGES);

	if ((io->flags & ZM_IO_ZERO_PAYLOAD) || zm_zero_cheap(zm))
		return end;
	return min_t(sector_t, end, round_up(io->op.start + 1, most));
}

/* Leaves what lies behind @end for another bio. */
static void zm_cut(struct zm_io *io, struct bio *bio, sector_t end)
{
	if (end < io->op.end) {
		dm_accept_partial_bio(bio, end - io->op.start);
		io->op.end = end;
	}
}

/* A chunk's length is a power of two. */
static bool zm_crosses_chunk(const struct zmirror *zm, sector_t start,
			     sector_t end)
{
	sector_t len = (sector_t)zm->region_sectors << ZM_CHUNK_SHIFT;

	return (start ^ (end - 1)) >= len;
}

/* Any operation but a write of data; a write that comes here is one of zeroes. */
static noinline int zm_map_other(struct zmirror *zm, struct zm_io *io,
				 struct bio *bio)
{
	if (bio_op(bio) == REQ_OP_WRITE) {
		io->op.kind = ZM_OP_ZEROES;
		io->flags |= ZM_IO_ZERO_PAYLOAD;
	} else if (bio_op(bio) == REQ_OP_WRITE_ZEROES) {
		zm_set_zeroes(io, bio);
	} else if (!zm_set_discard(io)) {
		return zm_complete(bio);
	}
	if (io->op.kind == ZM_OP_ZEROES) {
		zm_cut(io, bio, zm_zeroes_cut(io));
		io->payload = bio->bi_iter;
	}

	/* From here on, one that waits may be gone. */
	if (!zm_op_begin(zm->regions, &io->op))
		return DM_MAPIO_SUBMITTED;
	return zm_submit_other(zm, io, bio);
}

/* No operation crosses a chunk. */
static __always_inline int zm_map_op(struct zmirror *zm, struct zm_io *io,
				     struct bio *bio, sector_t start)
{
	sector_t end = start + bio_sectors(bio);

	io->kind = ZM_IO_OP;
	/* Neighbours, which take one instruction. */
	io->op.kind = ZM_OP_WRITE;
	io->op.droppable = false;
	io->op.source_only = false;
	io->op.pass = false;
	io->op.end = end;
	if (unlikely(READ_ONCE(zm->async)))
		io->op.source_only = true;
	if (unlikely(zm_crosses_chunk(zm, start, end)))
		zm_cut(io, bio, zm_chunk_end(zm->regions, start));
	if (unlikely(bio_op(bio) != REQ_OP_WRITE) ||
	    unlikely(zm_writes_zeroes(zm, bio)))
		return zm_map_other(zm, io, bio);

	/* From here on, one that waits may be gone. */
	if (!zm_op_begin(zm->regions, &io->op))
		return DM_MAPIO_SUBMITTED;
	return zm_submit_write(zm, io, bio);
}

/*
 * For the first request of a jiffy, which tells that the mirror is in use. While
 * latency is measured it is for all: @look stays behind.
 *
 * Who has seen that it is not measured may set @look after one who has seen that it is,
 * or it may be set already: the first request of the next jiffy comes here again.
 */
static noinline void zm_look(struct zmirror *zm, struct zm_io *io)
{
	unsigned long used = READ_ONCE(zm->used), now = jiffies;

	if (READ_ONCE(zm->pace.on)) {
		io->started = ktime_get_ns();
		io->flags = ZM_IO_TIMED;
	} else {
		WRITE_ONCE(zm->look, now);
	}
	if (time_before(used, now)) {
		u32 gap = READ_ONCE(zm->gap);

		gap += min(now - used, (unsigned long)HZ) - gap / 8;
		WRITE_ONCE(zm->gap, gap);
		WRITE_ONCE(zm->used, now);
	}
}

int zm_io_map(struct dm_target *ti, struct bio *bio)
{
	struct zm_io *io = zm_io(bio);
	struct zmirror *zm = ti->private;
	sector_t sector = dm_target_offset(ti, bio->bi_iter.bi_sector);
	unsigned long now = jiffies;
	const struct zm_leg *truth;

	io->zm = zm;
	io->op.start = sector;
	io->flags = 0;
	if (unlikely(READ_ONCE(zm->look) != now))
		zm_look(zm, io);

	if (unlikely(bio->bi_opf & REQ_PREFLUSH) && !bio_sectors(bio))
		return zm_map_flush(zm, io, bio);

	if (bio_data_dir(bio) == READ) {
		io->kind = ZM_IO_READ;
		io->op.end = sector + bio_sectors(bio);
		io->payload = bio->bi_iter;
		zm_mark_single(bio);
		truth = zm_truth(zm);
		if (unlikely(truth == &zm->dest))
			io->flags |= ZM_IO_SOURCE_GONE;
		zm_remap_to(truth, bio, sector);
		return DM_MAPIO_REMAPPED;
	}
	return zm_map_op(zm, io, bio, sector);
}

/*
 * ------------------------------------------------------------------------
 * Making and freeing
 * ------------------------------------------------------------------------
 */

int zm_io_init(struct zmirror *zm)
{
	bio_list_init(&zm->deferred);
	bio_list_init(&zm->held);
	INIT_DELAYED_WORK(&zm->source_work, zm_source_work);
	init_waitqueue_head(&zm->pivot_done);
	INIT_WORK(&zm->deferred_work, zm_submit_deferred);
	INIT_LIST_HEAD(&zm->zeroing);
	INIT_WORK(&zm->zeroing_work, zm_make_zeroes);
	zm->zeroes.page = ZERO_PAGE(0);
	zm->zeroes.next = &zm->zeroes;
	zm->zero_io = dm_io_client_create();
	if (IS_ERR(zm->zero_io)) {
		int r = PTR_ERR(zm->zero_io);

		zm->zero_io = NULL;
		return r;
	}
	zm->wq = alloc_workqueue("zmirror-io", WQ_UNBOUND | WQ_MEM_RECLAIM, 0);
	return zm->wq ? 0 : -ENOMEM;
}

void zm_io_drain(struct zmirror *zm)
{
	flush_delayed_work(&zm->source_work);
	flush_work(&zm->deferred_work);
	flush_work(&zm->zeroing_work);
}

/* A pivot that was given up by a signal may have left it queued. */
void zm_io_exit(struct zmirror *zm)
{
	if (zm->wq) {
		cancel_delayed_work_sync(&zm->source_work);
		destroy_workqueue(zm->wq);
	}
	if (zm->zero_io)
		dm_io_client_destroy(zm->zero_io);
}
