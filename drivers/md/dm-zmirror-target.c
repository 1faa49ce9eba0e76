// SPDX-License-Identifier: GPL-2.0-only
/*
 * dm-zmirror mirrors a block device in use to another one, and never writes
 * zeroes to where the other one has them already.
 *
 * This file is what device-mapper calls: the constructor, suspend and resume, the
 * limits of the device, and what has to be announced. See
 * Documentation/admin-guide/device-mapper/dm-zmirror.rst.
 */
#include "dm-zmirror.h"
#include "dm-zmirror-compat.h"
#include "dm-zmirror-feature.h"
#include "dm-zmirror-io.h"
#include "dm-zmirror-message.h"
#include "dm-zmirror-resync.h"
#include "dm-zmirror-verify.h"

#include <linux/blkdev.h>
#include <linux/device-mapper.h>
#include <linux/kstrtox.h>
#include <linux/log2.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/slab.h>
#include <linux/string.h>

#define DM_MSG_PREFIX "zmirror"

#define ZM_DEFAULT_REGION_SECTORS	128U	/* 64 KiB */

/*
 * All mirrors that have been constructed. The lock protects the list, and the
 * hand-over of the region state from one mirror to another. It is taken before
 * any other lock; those of the mirror that is taken over are not needed, for its
 * table is not live any more.
 */
static DEFINE_MUTEX(zm_mirrors_lock);
static LIST_HEAD(zm_mirrors);

/*
 * ------------------------------------------------------------------------
 * Constructor
 * ------------------------------------------------------------------------
 */

struct zm_leg_errors {
	char *open;
	char *offset;
	char *small;
	char *align;
	char *zoned;
	char *read_only;
	char *self;
};

static const struct zm_leg_errors zm_source_errors = {
	.open = "Cannot open source device",
	.offset = "Invalid source offset",
	.small = "Source device is too small",
	.align = "Source offset or length is not a multiple of its logical block",
	.zoned = "Source device is zoned",
	.read_only = "Source device is read-only",
	.self = "Source device is the mirror itself",
};

static const struct zm_leg_errors zm_dest_errors = {
	.open = "Cannot open destination device",
	.offset = "Invalid destination offset",
	.small = "Destination device is too small",
	.align = "Destination offset or length is not a multiple of its logical block",
	.zoned = "Destination device is zoned",
	.read_only = "Destination device is read-only",
	.self = "Destination device is the mirror itself",
};

static char *zm_check_leg(struct dm_target *ti, const struct zm_leg *leg,
			  const struct zm_leg_errors *errors)
{
	struct block_device *bdev = leg->dev->bdev;
	sector_t size = bdev_nr_sectors(bdev);
	unsigned int block = bdev_logical_block_size(bdev) >> SECTOR_SHIFT;

	/* Newer kernels do not even open it. */
	if (bdev->bd_disk == dm_disk(dm_table_get_md(ti->table)))
		return errors->self;
	if (bdev_read_only(bdev))
		return errors->read_only;
	if (bdev_is_zoned(bdev))
		return errors->zoned;
	if (leg->start > size || ti->len > size - leg->start)
		return errors->small;
	if ((leg->start & (block - 1)) || (ti->len & (block - 1)))
		return errors->align;
	return NULL;
}

static int zm_open_leg(struct dm_target *ti, struct dm_arg_set *as,
		       struct zm_leg *leg, const struct zm_leg_errors *errors)
{
	const char *path = dm_shift_arg(as);
	u64 start;
	int r;

	r = kstrtou64(dm_shift_arg(as), 10, &start);
	leg->start = start;
	if (r || leg->start != start) {
		ti->error = errors->offset;
		return -EINVAL;
	}
	r = dm_get_device(ti, path, dm_table_get_mode(ti->table), &leg->dev);
	if (r) {
		leg->dev = NULL;
		ti->error = errors->open;
		return r;
	}
	ti->error = zm_check_leg(ti, leg, errors);
	return ti->error ? -EINVAL : 0;
}

/* Where a leg starts on the disk that its device is, or is a partition of. */
static sector_t zm_leg_on_disk(const struct zm_leg *leg)
{
	return get_start_sect(leg->dev->bdev) + leg->start;
}

/* Whether a leg of @zm and one of @other have sectors in common. */
static bool zm_legs_overlap(const struct zmirror *zm, const struct zm_leg *leg,
			    const struct zmirror *other,
			    const struct zm_leg *other_leg)
{
	sector_t a = zm_leg_on_disk(leg), b = zm_leg_on_disk(other_leg);

	return leg->dev->bdev->bd_disk == other_leg->dev->bdev->bd_disk &&
	       a < b + other->ti->len && b < a + zm->ti->len;
}

u32 zm_block_sectors(const struct zmirror *zm)
{
	return max(bdev_logical_block_size(zm->source.dev->bdev),
		   bdev_logical_block_size(zm->dest.dev->bdev)) >> SECTOR_SHIFT;
}

static int zm_parse_region(struct zmirror *zm, const char *arg)
{
	struct dm_target *ti = zm->ti;
	u32 block = zm_block_sectors(zm);
	u32 sectors;

	if (kstrtou32(arg, 10, &sectors)) {
		ti->error = "Invalid region size";
		return -EINVAL;
	}
	if (!sectors) {
		sectors = max(ZM_DEFAULT_REGION_SECTORS, block);
		while (ti->len > (sector_t)sectors * ZM_MAX_REGIONS &&
		       sectors < ZM_MAX_REGION_SECTORS)
			sectors *= 2;
	}
	if (!is_power_of_2(sectors)) {
		ti->error = "Region size is not a power of two";
		return -EINVAL;
	}
	if (sectors < ZM_MIN_REGION_SECTORS || sectors > ZM_MAX_REGION_SECTORS) {
		ti->error = "Region size is not between 8 and 2097152 sectors";
		return -EINVAL;
	}
	if (sectors < block) {
		ti->error = "Region size is less than a logical block of a leg";
		return -EINVAL;
	}
	if (ti->len > (sector_t)sectors * ZM_MAX_REGIONS) {
		ti->error = "Region size makes more than 2^28 regions";
		return -EINVAL;
	}
	zm->region_sectors = sectors;
	return 0;
}

static int zm_parse_legs(struct zmirror *zm, struct dm_arg_set *as)
{
	struct dm_target *ti = zm->ti;
	int r;

	if (!(dm_table_get_mode(ti->table) & BLK_OPEN_WRITE)) {
		ti->error = "A mirror cannot be read-only";
		return -EROFS;
	}
	r = zm_open_leg(ti, as, &zm->source, &zm_source_errors);
	if (r)
		return r;
	r = zm_open_leg(ti, as, &zm->dest, &zm_dest_errors);
	if (r)
		return r;
	if (zm_legs_overlap(zm, &zm->source, zm, &zm->dest)) {
		ti->error = "Source and destination overlap";
		return -EINVAL;
	}

	/*
	 * Device-mapper asks this of a device that it knows of, but not before
	 * the resume.
	 */
	if (zm->source.start & (zm_block_sectors(zm) - 1)) {
		ti->error = "Source offset is not a multiple of the destination's logical block";
		return -EINVAL;
	}
	return 0;
}

static void zm_ready(struct zm_op *op)
{
	if (op->kind != ZM_OP_COPY)
		zm_io_ready(op);
	else if (op->verify)
		zm_verify_ready(op);
	else
		zm_resync_ready(op);
}

static void zm_event_work(struct work_struct *work);
static void zm_sync_work(struct work_struct *work);
static void zm_retry_work(struct work_struct *work);

static int zm_make(struct zmirror *zm)
{
	struct dm_target *ti = zm->ti;
	dev_t dev;
	int r;

	dev = disk_devt(dm_disk(dm_table_get_md(ti->table)));
	zm->regions = zm_regions_create(ti->len, zm->region_sectors,
					!zm->nosync, zm->dest_zeroed, dev,
					zm_ready);
	if (!zm->regions) {
		ti->error = "Cannot allocate region bitmaps";
		return -ENOMEM;
	}
	INIT_WORK(&zm->event_work, zm_event_work);
	INIT_WORK(&zm->sync_work, zm_sync_work);
	INIT_DELAYED_WORK(&zm->retry_work, zm_retry_work);
	r = zm->skip ? zm_unread_alloc(zm->regions) : 0;
	if (!r && zm->hints)
		r = zm_changed_alloc(zm->regions);
	if (!r)
		r = zm_resync_init(zm);
	if (!r)
		r = zm_verify_init(zm);
	if (!r)
		r = zm_io_init(zm);
	if (r)
		ti->error = "Cannot allocate what resync needs";
	return r;
}

static void zm_destroy(struct zmirror *zm)
{
	zm_io_exit(zm);
	zm_verify_exit(zm);
	zm_resync_exit(zm);
	zm_regions_destroy(zm->regions);
	if (zm->dest.dev)
		dm_put_device(zm->ti, zm->dest.dev);
	if (zm->source.dev)
		dm_put_device(zm->ti, zm->source.dev);
	kfree(zm);
}

static bool zm_same_leg(const struct zm_leg *a, const struct zm_leg *b)
{
	return a->dev->bdev->bd_dev == b->dev->bdev->bd_dev &&
	       a->start == b->start;
}

/*
 * Whether the legs have changed places since @old, whose destination has taken over:
 * the old source lacks what is dirty there, and no more, if that is known still. Whoever
 * adopts from @old finds all its flushes ended.
 */
static bool zm_exchanges(const struct zmirror *zm, const struct zmirror *old)
{
	return ((old->pivoted && old->source_stable &&
		 !READ_ONCE(old->source_doubtful)) || old->source_lost) &&
	       zm_same_leg(&old->source, &zm->dest) &&
	       zm_same_leg(&old->dest, &zm->source);
}

/* Whether they are of one device, and @old has regions that nobody has taken over. */
static bool zm_is_before(const struct zmirror *zm, const struct zmirror *old)
{
	return old->regions && dm_table_get_md(old->ti->table) ==
			       dm_table_get_md(zm->ti->table);
}

/* Whether @zm goes on with what is known of @old, if its table replaces that of @old. */
static bool zm_replaces(const struct zmirror *zm, const struct zmirror *old)
{
	return old != zm && zm_is_before(zm, old) &&
	       old->ti->begin == zm->ti->begin &&
	       old->ti->len == zm->ti->len &&
	       old->region_sectors == zm->region_sectors &&
	       (zm_exchanges(zm, old) ||
		(zm_same_leg(&old->source, &zm->source) &&
		 zm_same_leg(&old->dest, &zm->dest)));
}

/*
 * Whether @zm would have an old source back: the destination of @old, whose table that of
 * @zm replaces, has taken over from it. What is known of it is not what @zm could take over,
 * as its regions are others.
 */
static bool zm_brings_back(const struct zmirror *zm, const struct zmirror *old)
{
	return old->ti->table != zm->ti->table && zm_is_before(zm, old) &&
	       (old->source_lost || (old->active && zm_source_gone(old->regions))) &&
	       zm_legs_overlap(zm, &zm->source, old, &old->source);
}

/* As long as nothing changes until it is resumed, which looks again. */
static bool zm_is_old(const struct zmirror *zm)
{
	const struct zmirror *old;

	list_for_each_entry(old, &zm_mirrors, list)
		if (!zm_replaces(zm, old) && zm_brings_back(zm, old))
			return true;
	return false;
}

/*
 * The regions of @old, which @zm would have taken over, have gone. If the destination had
 * taken over, what is known no more is that the source is old.
 */
static void zm_lose(struct zmirror *zm, const struct zmirror *old)
{
	zm->lost = true;
	if (zm_same_leg(&zm->source, &old->source) &&
	    (old->source_lost || zm_source_gone(old->regions)))
		zm->source_lost = true;
}

/*
 * A mirror goes away. Where another one was to take its regions over, and has not, another
 * target of the same table would not resume: device-mapper does not keep the old table for
 * that. Nor does a mirror know what it would have known, had it been resumed.
 */
static void zm_leave_heirs(const struct zmirror *old)
{
	struct zmirror *zm;

	if (!old->active && !old->lost)
		return;
	list_for_each_entry(zm, &zm_mirrors, list)
		if (!zm->active && zm_replaces(zm, old))
			zm_lose(zm, old);
}

static void zm_set_capabilities(struct zmirror *zm)
{
	struct dm_target *ti = zm->ti;

	ti->per_io_data_size = zm_io_size();
	ti->num_flush_bios = 2;
	ti->num_write_zeroes_bios = 1;
	ti->flush_supported = true;
	if (zm->discard != ZM_DISCARD_IGNORE) {
		ti->num_discard_bios = 1;
		ti->discards_supported =
			bdev_max_discard_sectors(zm->source.dev->bdev) ||
			bdev_max_discard_sectors(zm->dest.dev->bdev);
	}
	zm_want_stable_pages(ti, NULL);
	ti->private = zm;
}

static int zmirror_ctr(struct dm_target *ti, unsigned int argc, char **argv)
{
	struct dm_arg_set as = { argc, argv };
	struct zmirror *zm;
	int r;

	if (argc < 5) {
		ti->error = "Missing arguments: source, offset, destination, offset, region size";
		return -EINVAL;
	}
	zm = kzalloc(sizeof(*zm), GFP_KERNEL);
	if (!zm) {
		ti->error = "Cannot allocate mirror";
		return -ENOMEM;
	}
	zm->ti = ti;
	zm->truth = &zm->source;
	zm->zero_detect = true;
	zm->jobs = ZM_DEFAULT_JOBS;
	zm->suspended = true;
	zm_rate_init(&zm->rate);
	zm_rate_init(&zm->scan_rate);
	zm_pace_init(&zm->pace, &zm->rate);
	zm_meter_init(&zm->writing);
	zm_meter_init(&zm->reading);
	mutex_init(&zm->message_lock);
	mutex_init(&zm->state_lock);
	spin_lock_init(&zm->lock);

	r = zm_parse_legs(zm, &as);
	if (!r)
		r = zm_parse_region(zm, dm_shift_arg(&as));
	if (!r)
		r = zm_parse_features(zm, &as);
	if (!r)
		r = zm_make(zm);
	if (r) {
		zm_destroy(zm);
		return r;
	}
	zm_set_capabilities(zm);

	mutex_lock(&zm_mirrors_lock);
	if (zm_is_old(zm)) {
		ti->error = "Destination had taken over from this source: exchange the legs";
		r = -EINVAL;
	} else {
		list_add(&zm->list, &zm_mirrors);
	}
	mutex_unlock(&zm_mirrors_lock);
	if (r)
		zm_destroy(zm);
	return r;
}

static void zmirror_dtr(struct dm_target *ti)
{
	struct zmirror *zm = ti->private;

	mutex_lock(&zm_mirrors_lock);
	list_del(&zm->list);
	zm_leave_heirs(zm);
	mutex_unlock(&zm_mirrors_lock);
	zm_destroy(zm);
}

/*
 * ------------------------------------------------------------------------
 * Events
 * ------------------------------------------------------------------------
 */

void zm_event(struct zmirror *zm, enum zm_event event)
{
	set_bit(event, &zm->events);
	queue_work(zm->event_wq, &zm->event_work);
}

void zm_dest_error(struct zmirror *zm, u32 generation, blk_status_t status)
{
	atomic64_inc(&zm->stats.dest_errors);
	if (!zm_dest_fail(zm->regions, generation))
		return;
	WRITE_ONCE(zm->dest_full, status == BLK_STS_NOSPC);
	zm_event(zm, ZM_EVENT_DEST_FAILED);
}

static bool zm_in_sync(const struct zmirror *zm)
{
	return !zm_regions_dirty(zm->regions) && !zm_dest_failed(zm->regions) &&
	       !zm_source_gone(zm->regions);
}

/* That it is in sync is to be said, if that is so and has not been said. */
static void zm_look_in_sync(struct zmirror *zm)
{
	queue_work(zm->event_wq, &zm->sync_work);
}

void zm_op_ended(struct zmirror *zm, unsigned int ended)
{
	if (ended & ZM_ENDED_DIRTY)
		zm_resync_kick(zm);
	if (ended & ZM_ENDED_IN_SYNC) {
		WRITE_ONCE(zm->told_in_sync, false);
		zm_look_in_sync(zm);
	}
}

/*
 * What was copied is made stable before it is said that it is there. The flush
 * may fail, or a write come in between: then it is not in sync after all. If it got
 * out of sync and in again meanwhile, the flush may have been too early; this
 * work has been queued again then. While it is suspended nothing is sent, and the
 * resume looks again.
 */
static void zm_sync_work(struct work_struct *work)
{
	struct zmirror *zm = container_of(work, struct zmirror, sync_work);

	if (READ_ONCE(zm->quiesced) || !zm_in_sync(zm) ||
	    READ_ONCE(zm->told_in_sync))
		return;
	WRITE_ONCE(zm->told_in_sync, true);
	zm_resync_flush_dest(zm);
	if (!READ_ONCE(zm->told_in_sync))
		return;
	if (!zm_in_sync(zm)) {
		WRITE_ONCE(zm->told_in_sync, false);
		return;
	}
	WRITE_ONCE(zm->retries, 0);
	/* What could not be read was written anew. Another may have become dirty meanwhile. */
	if (xchg(&zm->source_failed, false))
		zm_resync_kick(zm);
	DMINFO("%s: in sync", dm_table_device_name(zm->ti->table));
	dm_table_event(zm->ti->table);
}

#define ZM_MAX_RETRIES	6	/* the wait is doubled so often: 64 s */

/*
 * A destination that failed is tried again in a second, and each time it fails
 * again the wait is doubled. Who resumes looks at it at once.
 */
void zm_retry_later(struct zmirror *zm)
{
	unsigned int retries = min(READ_ONCE(zm->retries), ZM_MAX_RETRIES);

	if (READ_ONCE(zm->retry) && !READ_ONCE(zm->suspended) &&
	    zm_dest_failed(zm->regions))
		queue_delayed_work(zm->event_wq, &zm->retry_work,
				   HZ << retries);
}

/*
 * A failure that is told of between the test of its bit and the end of this
 * work has queued the work again. Each is a change of its own to those who wait.
 */
static void zm_event_work(struct work_struct *work)
{
	struct zmirror *zm = container_of(work, struct zmirror, event_work);
	const char *name = dm_table_device_name(zm->ti->table);

	if (test_and_clear_bit(ZM_EVENT_DEST_FAILED, &zm->events)) {
		WRITE_ONCE(zm->told_in_sync, false);
		zm_dest_lost(zm->regions);
		DMERR("%s: destination %s %s: resync stopped", name,
		      zm->dest.dev->name, READ_ONCE(zm->dest_full) ?
		      "has no space left" : "failed");
		dm_table_event(zm->ti->table);
		zm_retry_later(zm);
	}
	if (test_and_clear_bit(ZM_EVENT_SOURCE_FAILED, &zm->events)) {
		DMERR("%s: read error on source %s: resync stopped", name,
		      zm->source.dev->name);
		dm_table_event(zm->ti->table);
	}
	if (test_and_clear_bit(ZM_EVENT_FAILED_OVER, &zm->events)) {
		DMERR("%s: source %s failed: destination %s has taken over",
		      name, zm->source.dev->name, zm->dest.dev->name);
		dm_table_event(zm->ti->table);
	}
	if (test_and_clear_bit(ZM_EVENT_PIVOTED, &zm->events)) {
		DMINFO("%s: pivoted: destination %s has taken over", name,
		       zm->dest.dev->name);
		dm_table_event(zm->ti->table);
	}
	if (test_and_clear_bit(ZM_EVENT_UNREAD, &zm->events)) {
		DMERR("%s: read error on source %s: %u regions left out", name,
		      zm->source.dev->name, zm_regions_unread(zm->regions));
		dm_table_event(zm->ti->table);
	}
}

/*
 * ------------------------------------------------------------------------
 * Suspend and resume
 * ------------------------------------------------------------------------
 */

/* A mode that the user has set meanwhile is not undone. */
void zm_auto_async(struct zmirror *zm, bool async)
{
	spin_lock_irq(&zm->lock);
	if (zm->auto_mode)
		WRITE_ONCE(zm->async, async);
	spin_unlock_irq(&zm->lock);
}

/* Lets resync go on, if nothing else holds it up. */
static void zm_go_on(struct zmirror *zm)
{
	if (READ_ONCE(zm->suspended))
		return;
	if (READ_ONCE(zm->auto_mode) && zm_regions_dirty(zm->regions))
		zm_auto_async(zm, true);
	zm_resync_kick(zm);
	zm_verify_kick(zm);
	zm_look_in_sync(zm);
}

/*
 * Has a destination that failed used again. What it has lost is known by then: the
 * work that finds it out has ended.
 */
void zm_attach(struct zmirror *zm)
{
	zm_dest_attach(zm->regions);
	zm_go_on(zm);
}

static void zm_retry_work(struct work_struct *work)
{
	struct zmirror *zm = container_of(to_delayed_work(work),
					  struct zmirror, retry_work);

	if (!READ_ONCE(zm->retry) || READ_ONCE(zm->suspended))
		return;
	flush_work(&zm->event_work);
	WRITE_ONCE(zm->retries, READ_ONCE(zm->retries) + 1);
	zm_attach(zm);
}

/*
 * No job starts from here on. Those in flight go on to their end, which lets go
 * the writes that wait for them, so that device-mapper can wait for the writes.
 */
static void zmirror_presuspend(struct dm_target *ti)
{
	struct zmirror *zm = ti->private;

	WRITE_ONCE(zm->suspended, true);
}

static void zmirror_presuspend_undo(struct dm_target *ti)
{
	struct zmirror *zm = ti->private;

	WRITE_ONCE(zm->suspended, false);
	zm_go_on(zm);
	zm_retry_later(zm);
}

static void zmirror_postsuspend(struct dm_target *ti)
{
	struct zmirror *zm = ti->private;

	zm_io_drain(zm);
	zm_verify_drain(zm);
	zm_resync_drain(zm);
	/* A pivot whose user was killed may have waited for these. */
	zm_io_drain(zm);

	mutex_lock(&zm->message_lock);
	WRITE_ONCE(zm->quiesced, true);
	mutex_unlock(&zm->message_lock);
}

/* As zm_adopt() has found it; what has failed was the other leg. */
static void zm_adopt_exchanged(struct zmirror *zm)
{
	zm_legs_exchange(zm->regions);
	zm->truth = &zm->source;
	zm->dest_full = false;
	zm->told_in_sync = false;
	zm->pivoted = false;
	zm->source_stable = false;
	zm->source_doubtful = false;
}

static void zm_take_stats(struct zm_stats *to, struct zm_stats *from)
{
	atomic64_set(&to->read, atomic64_read(&from->read));
	atomic64_set(&to->copied, atomic64_read(&from->copied));
	atomic64_set(&to->zeroed, atomic64_read(&from->zeroed));
	atomic64_set(&to->skipped, atomic64_read(&from->skipped));
	atomic64_set(&to->fg_skipped, atomic64_read(&from->fg_skipped));
	atomic64_set(&to->discarded, atomic64_read(&from->discarded));
	atomic64_set(&to->served, atomic64_read(&from->served));
	atomic64_set(&to->source_errors, atomic64_read(&from->source_errors));
	atomic64_set(&to->dest_errors, atomic64_read(&from->dest_errors));
}

/*
 * The table that this one replaces is suspended and drained, and will never be
 * resumed: its target lives only until this resume has ended. So its region
 * state moves here, and with it what was promised once and what has become of
 * it since. A promise in the new line is not looked at: whoever loads a saved
 * line again does not mean to make one.
 *
 * A message may have come in after it was drained, the last one before its table
 * was replaced: what that has started is waited for.
 */
static void zm_adopt(struct zmirror *zm, struct zmirror *old)
{
	if (zm->dest_zeroed || zm->nosync)
		DMWARN("%s: dest_zeroed and nosync ignored: running mirror's regions taken over",
		       dm_table_device_name(zm->ti->table));

	zm_io_drain(old);
	zm_verify_drain(old);
	zm_resync_drain(old);

	/* Where the new table leaves regions out, it has made room for it. */
	zm_unread_take(old->regions, zm->regions);
	mutex_lock(&zm->state_lock);
	swap(zm->regions, old->regions);
	zm_resync_adopt(zm, old);
	zm_verify_adopt(zm, old);
	zm->dest_full = old->dest_full;
	zm->truth = zm_source_gone(zm->regions) ? &zm->dest : &zm->source;
	zm->told_in_sync = old->told_in_sync;
	zm->pivoted = old->pivoted;
	zm->source_stable = old->source_stable;
	zm->source_doubtful = old->source_doubtful;
	if (zm_exchanges(zm, old))
		zm_adopt_exchanged(zm);
	zm_take_stats(&zm->stats, &old->stats);
	mutex_unlock(&zm->state_lock);

	/* It is never used again, and must not be taken for one that is. */
	zm_regions_destroy(old->regions);
	old->regions = NULL;
}

/* What the line promises was not true of the mirror that it was to replace. */
static void zm_forget_promises(struct zmirror *zm)
{
	u32 total = zm_regions_total(zm->regions);

	if (zm->dest_zeroed || zm->nosync)
		DMWARN("%s: dest_zeroed and nosync ignored: running mirror's regions lost",
		       dm_table_device_name(zm->ti->table));
	zm_regions_mark(zm->regions, ZM_MARK_NONZERO, 0, total);
	zm_regions_mark(zm->regions, ZM_MARK_DIRTY, 0, total);
}

static int zm_first_resume(struct zmirror *zm)
{
	struct zmirror *old;

	if (zm_is_old(zm)) {
		zm->lost = true;
		zm->source_lost = true;
	}
	list_for_each_entry(old, &zm_mirrors, list) {
		if (!zm_replaces(zm, old))
			continue;
		if (old->active) {
			/* What is adopted is known, whatever has come before. */
			zm_adopt(zm, old);
			zm->lost = false;
			zm->source_lost = false;
			break;
		}
		if (old->lost)
			zm_lose(zm, old);
	}
	if (zm->source_lost) {
		DMERR("%s: %s had taken over from %s: load the mirror the other way round",
		      dm_table_device_name(zm->ti->table), zm->dest.dev->name,
		      zm->source.dev->name);
		return -EINVAL;
	}
	if (zm->lost)
		zm_forget_promises(zm);

	/* The promises were about this moment. */
	zm->dest_zeroed = false;
	zm->nosync = false;
	zm->active = true;
	return 0;
}

static int zmirror_preresume(struct dm_target *ti)
{
	struct zmirror *zm = ti->private;
	int r = 0;

	zm_stable_pages_at_resume(ti);

	/* The table is live already: a message may come in, or a status be asked. */
	mutex_lock(&zm_mirrors_lock);
	mutex_lock(&zm->message_lock);
	if (!zm->active)
		r = zm_first_resume(zm);
	if (!r)
		WRITE_ONCE(zm->quiesced, false);
	mutex_unlock(&zm->message_lock);
	mutex_unlock(&zm_mirrors_lock);
	return r;
}

static void zmirror_resume(struct dm_target *ti)
{
	struct zmirror *zm = ti->private;

	zm_resync_resume(zm);
	WRITE_ONCE(zm->suspended, false);
	zm_go_on(zm);
	zm_retry_later(zm);
}

/*
 * ------------------------------------------------------------------------
 * Devices and limits
 * ------------------------------------------------------------------------
 */

/*
 * The source alone, for device-mapper takes from a mapped device what one of
 * the devices under it lacks: WRITE_ZEROES above all. What it would have
 * checked of the destination is checked in the constructor.
 */
static int zmirror_iterate_devices(struct dm_target *ti,
				   iterate_devices_callout_fn fn, void *data)
{
	struct zmirror *zm = ti->private;

	return fn(ti, zm->source.dev, zm->source.start, ti->len, data);
}

static void zmirror_io_hints(struct dm_target *ti, struct queue_limits *limits)
{
	struct zmirror *zm = ti->private;
	struct block_device *dest = zm->dest.dev->bdev;
	struct queue_limits saved = *limits;

	if (blk_stack_limits(limits, &bdev_get_queue(dest)->limits,
			     zm_leg_on_disk(&zm->dest)) < 0)
		DMWARN("%s: the alignment of the legs differs",
		       dm_table_device_name(ti->table));
	zm_keep_write_zeroes(limits, &saved);
	zm_want_stable_pages(ti, limits);
}

static struct target_type zmirror_target = {
	.name = "zmirror",
	.version = {1, 0, 0},
	.module = THIS_MODULE,
	.ctr = zmirror_ctr,
	.dtr = zmirror_dtr,
	.map = zm_io_map,
	.end_io = zm_io_end,
	.presuspend = zmirror_presuspend,
	.presuspend_undo = zmirror_presuspend_undo,
	.postsuspend = zmirror_postsuspend,
	.preresume = zmirror_preresume,
	.resume = zmirror_resume,
	.status = zmirror_status,
	.message = zmirror_message,
	.iterate_devices = zmirror_iterate_devices,
	.io_hints = zmirror_io_hints,
};

static int __init zmirror_init(void)
{
	return dm_register_target(&zmirror_target);
}

static void __exit zmirror_exit(void)
{
	dm_unregister_target(&zmirror_target);
}

module_init(zmirror_init);
module_exit(zmirror_exit);

MODULE_AUTHOR("dm-zmirror maintainers");
MODULE_DESCRIPTION(DM_NAME " mirror that keeps a sparse destination sparse");
MODULE_LICENSE("GPL");
