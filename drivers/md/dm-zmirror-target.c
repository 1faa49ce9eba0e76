// SPDX-License-Identifier: GPL-2.0-only
/*
 * dm-zmirror mirrors a block device in use to another one, and never writes
 * zeroes to where the other one has them already.
 *
 * This file is what device-mapper calls, and what users see: the table line,
 * the status, the messages, the limits of the device. See
 * Documentation/admin-guide/device-mapper/dm-zmirror.rst.
 */
#include "dm-zmirror.h"
#include "dm-zmirror-compat.h"
#include "dm-zmirror-io.h"
#include "dm-zmirror-resync.h"
#include "dm-zmirror-verify.h"

#include <linux/blkdev.h>
#include <linux/ctype.h>
#include <linux/device-mapper.h>
#include <linux/kstrtox.h>
#include <linux/log2.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/sched/mm.h>
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

static void zm_retry_later(struct zmirror *zm);

/*
 * ------------------------------------------------------------------------
 * Features
 * ------------------------------------------------------------------------
 */

/*
 * One word of the table line, `name` or `name:value`. @set stores a value, or
 * tells that it is none; for a feature without a value it gets NULL. @get
 * prints the word if it is not the default. A feature with @message can be set
 * while the mirror runs.
 */
struct zm_feature {
	const char *name;
	bool message;
	int (*set)(struct zmirror *zm, const char *value);
	void (*get)(struct zmirror *zm, char *word, size_t size);
	char *error;
};

static int zm_set_dest_zeroed(struct zmirror *zm, const char *value)
{
	zm->dest_zeroed = true;
	return 0;
}

static void zm_get_dest_zeroed(struct zmirror *zm, char *word, size_t size)
{
	if (zm->dest_zeroed)
		strscpy(word, "dest_zeroed", size);
}

static int zm_set_nosync(struct zmirror *zm, const char *value)
{
	zm->nosync = true;
	return 0;
}

static void zm_get_nosync(struct zmirror *zm, char *word, size_t size)
{
	if (zm->nosync)
		strscpy(word, "nosync", size);
}

static int zm_set_zero_detect(struct zmirror *zm, const char *value)
{
	if (!strcmp(value, "on"))
		WRITE_ONCE(zm->zero_detect, true);
	else if (!strcmp(value, "off"))
		WRITE_ONCE(zm->zero_detect, false);
	else
		return -EINVAL;
	return 0;
}

static void zm_get_zero_detect(struct zmirror *zm, char *word, size_t size)
{
	if (!zm->zero_detect)
		strscpy(word, "zero_detect:off", size);
}

static int zm_set_prezero(struct zmirror *zm, const char *value)
{
	zm->prezero = true;
	return 0;
}

static void zm_get_prezero(struct zmirror *zm, char *word, size_t size)
{
	if (zm->prezero)
		strscpy(word, "prezero", size);
}

static int zm_set_discard_zeroes(struct zmirror *zm, const char *value)
{
	zm->discard_zeroes = true;
	return 0;
}

static void zm_get_discard_zeroes(struct zmirror *zm, char *word, size_t size)
{
	if (zm->discard_zeroes)
		strscpy(word, "discard_zeroes", size);
}

static const char * const zm_discards[] = {
	[ZM_DISCARD_EXACT] = "exact",
	[ZM_DISCARD_PASS] = "pass",
	[ZM_DISCARD_IGNORE] = "ignore",
};

static int zm_set_discard(struct zmirror *zm, const char *value)
{
	int discard = match_string(zm_discards, ARRAY_SIZE(zm_discards), value);

	if (discard < 0)
		return -EINVAL;
	zm->discard = discard;
	return 0;
}

static void zm_get_discard(struct zmirror *zm, char *word, size_t size)
{
	if (zm->discard != ZM_DISCARD_EXACT)
		snprintf(word, size, "discard:%s", zm_discards[zm->discard]);
}

static int zm_set_no_unmap(struct zmirror *zm, const char *value)
{
	zm->no_unmap = true;
	return 0;
}

static void zm_get_no_unmap(struct zmirror *zm, char *word, size_t size)
{
	if (zm->no_unmap)
		strscpy(word, "no_unmap", size);
}

/* In auto mode, it begins async, and resync finds out when to end that. */
static int zm_set_copy_mode(struct zmirror *zm, const char *value)
{
	bool auto_mode = !strcmp(value, "auto");

	if (!auto_mode && strcmp(value, "async") && strcmp(value, "sync"))
		return -EINVAL;
	WRITE_ONCE(zm->auto_mode, auto_mode);
	WRITE_ONCE(zm->async, strcmp(value, "sync"));
	if (zm->resync)
		zm_resync_kick(zm);
	return 0;
}

static void zm_get_copy_mode(struct zmirror *zm, char *word, size_t size)
{
	if (zm->auto_mode)
		strscpy(word, "copy_mode:auto", size);
	else if (zm->async)
		strscpy(word, "copy_mode:async", size);
}

/* Before the resync is there, the number is for zm_resync_init(). */
static int zm_set_jobs(struct zmirror *zm, const char *value)
{
	u32 jobs;

	if (kstrtou32(value, 10, &jobs) || jobs < ZM_MIN_JOBS ||
	    jobs > ZM_MAX_JOBS)
		return -EINVAL;
	if (zm->resync)
		return zm_resync_set_jobs(zm, jobs);
	zm->jobs = jobs;
	return 0;
}

static void zm_get_jobs(struct zmirror *zm, char *word, size_t size)
{
	if (zm->jobs != ZM_DEFAULT_JOBS)
		snprintf(word, size, "jobs:%u", zm->jobs);
}

/* A bound of less could not be kept within a second. */
static int zm_parse_rate(const char *value, u32 least, u32 *kib)
{
	u32 rate;

	if (kstrtou32(value, 10, &rate) || (rate && rate < least))
		return -EINVAL;
	*kib = rate;
	return 0;
}

static int zm_set_rate(struct zmirror *zm, const char *value)
{
	u32 kib;

	if (!strcmp(value, "auto")) {
		zm_pace_set(&zm->pace, true);
		return 0;
	}
	if (zm_parse_rate(value, ZM_MIN_RATE, &kib))
		return -EINVAL;
	zm_pace_set(&zm->pace, false);
	zm_rate_set(&zm->rate, kib);
	return 0;
}

static void zm_get_rate(struct zmirror *zm, char *word, size_t size)
{
	if (zm->pace.on)
		strscpy(word, "rate:auto", size);
	else if (zm->rate.kib)
		snprintf(word, size, "rate:%u", zm->rate.kib);
}

static int zm_set_scan_rate(struct zmirror *zm, const char *value)
{
	u32 kib;

	if (zm_parse_rate(value, ZM_MIN_SCAN_RATE, &kib))
		return -EINVAL;
	zm_rate_set(&zm->scan_rate, kib);
	return 0;
}

static void zm_get_scan_rate(struct zmirror *zm, char *word, size_t size)
{
	if (zm->scan_rate.kib)
		snprintf(word, size, "scan_rate:%u", zm->scan_rate.kib);
}

static int zm_set_latency_target(struct zmirror *zm, const char *value)
{
	u32 percent;

	if (kstrtou32(value, 10, &percent) || percent < ZM_MIN_LATENCY_TARGET ||
	    percent > ZM_MAX_LATENCY_TARGET)
		return -EINVAL;
	WRITE_ONCE(zm->pace.target, percent);
	return 0;
}

static void zm_get_latency_target(struct zmirror *zm, char *word, size_t size)
{
	if (zm->pace.target != ZM_DEFAULT_LATENCY_TARGET)
		snprintf(word, size, "latency_target:%u", zm->pace.target);
}

static int zm_set_on_dest_error(struct zmirror *zm, const char *value)
{
	if (!strcmp(value, "stop"))
		WRITE_ONCE(zm->retry, false);
	else if (!strcmp(value, "retry"))
		WRITE_ONCE(zm->retry, true);
	else
		return -EINVAL;
	if (zm->resync)
		zm_retry_later(zm);
	return 0;
}

static void zm_get_on_dest_error(struct zmirror *zm, char *word, size_t size)
{
	if (zm->retry)
		strscpy(word, "on_dest_error:retry", size);
}

/* Before the regions are there, the room is for zm_make(). */
static int zm_set_on_source_error(struct zmirror *zm, const char *value)
{
	bool skip = !strcmp(value, "skip"), over = !strcmp(value, "failover");

	if (!skip && !over && strcmp(value, "stop"))
		return -EINVAL;
	if (skip && zm->regions && zm_unread_alloc(zm->regions))
		return -ENOMEM;
	WRITE_ONCE(zm->skip, skip);
	WRITE_ONCE(zm->failover, over);
	return 0;
}

static void zm_get_on_source_error(struct zmirror *zm, char *word, size_t size)
{
	if (zm->skip)
		strscpy(word, "on_source_error:skip", size);
	else if (zm->failover)
		strscpy(word, "on_source_error:failover", size);
}

static int zm_set_hints(struct zmirror *zm, const char *value)
{
	zm->hints = true;
	return 0;
}

/* With the regions, those of another table may have been taken over. */
static void zm_get_hints(struct zmirror *zm, char *word, size_t size)
{
	if (zm_changed_known(zm->regions))
		strscpy(word, "hints", size);
}

static int zm_set_paused(struct zmirror *zm, const char *value)
{
	zm->paused = true;
	return 0;
}

static void zm_get_paused(struct zmirror *zm, char *word, size_t size)
{
	if (zm->paused)
		strscpy(word, "paused", size);
}

#define ZM_FEATURE_SIZE	32	/* bytes, the longest word that @get prints */

static const struct zm_feature zm_features[] = {
	{ "dest_zeroed", false, zm_set_dest_zeroed, zm_get_dest_zeroed,
	  "Feature dest_zeroed takes no value" },
	{ "nosync", false, zm_set_nosync, zm_get_nosync,
	  "Feature nosync takes no value" },
	{ "prezero", false, zm_set_prezero, zm_get_prezero,
	  "Feature prezero takes no value" },
	{ "discard_zeroes", false, zm_set_discard_zeroes,
	  zm_get_discard_zeroes, "Feature discard_zeroes takes no value" },
	{ "discard:", false, zm_set_discard, zm_get_discard,
	  "Feature discard takes exact, pass or ignore" },
	{ "zero_detect:", true, zm_set_zero_detect, zm_get_zero_detect,
	  "Feature zero_detect takes on or off" },
	{ "no_unmap", false, zm_set_no_unmap, zm_get_no_unmap,
	  "Feature no_unmap takes no value" },
	{ "copy_mode:", true, zm_set_copy_mode, zm_get_copy_mode,
	  "Feature copy_mode takes sync, async or auto" },
	{ "rate:", true, zm_set_rate, zm_get_rate,
	  "Feature rate takes KiB a second, from 64, or 0, or auto" },
	{ "latency_target:", true, zm_set_latency_target,
	  zm_get_latency_target,
	  "Feature latency_target takes percent, from 1 to 1000" },
	{ "scan_rate:", true, zm_set_scan_rate, zm_get_scan_rate,
	  "Feature scan_rate takes KiB a second, from 1024, or 0" },
	{ "jobs:", true, zm_set_jobs, zm_get_jobs,
	  "Feature jobs takes a number from 1 to 256" },
	{ "on_dest_error:", true, zm_set_on_dest_error, zm_get_on_dest_error,
	  "Feature on_dest_error takes stop or retry" },
	{ "on_source_error:", true, zm_set_on_source_error,
	  zm_get_on_source_error,
	  "Feature on_source_error takes stop, skip or failover" },
	{ "hints", false, zm_set_hints, zm_get_hints,
	  "Feature hints takes no value" },
	{ "paused", false, zm_set_paused, zm_get_paused,
	  "Feature paused takes no value" },
};

/* Words that the design reserves, refused so that nobody counts on them. */
static const char * const zm_later_features[] = {
	"metadata",
};

/* Length of a feature's name, without the colon that tells of a value. */
static size_t zm_name_len(const char *name)
{
	return strcspn(name, ":");
}

static int zm_find_feature(const char *word, size_t len)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(zm_features); i++)
		if (zm_name_len(zm_features[i].name) == len &&
		    !strncmp(zm_features[i].name, word, len))
			return i;
	return -ENOENT;
}

static char *zm_refusal(const char *word, size_t len)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(zm_later_features); i++)
		if (strlen(zm_later_features[i]) == len &&
		    !strncmp(zm_later_features[i], word, len))
			return "Feature is not supported yet";
	return "Unknown feature";
}

static int zm_set_feature(struct zmirror *zm, const struct zm_feature *feature,
			  const char *value, char **error)
{
	bool wanted = feature->name[zm_name_len(feature->name)] == ':';
	int r = -EINVAL;

	if (wanted == !!value)
		r = feature->set(zm, value);
	if (r == -ENOMEM)
		*error = "Cannot allocate what a feature needs";
	else if (r)
		*error = feature->error;
	return r;
}

static int zm_parse_feature(struct zmirror *zm, const char *word,
			    unsigned long *seen, char **error)
{
	size_t len = zm_name_len(word);
	int i = zm_find_feature(word, len);

	if (i < 0) {
		*error = zm_refusal(word, len);
		DMERR("%s: %s", *error, word);
		return -EINVAL;
	}
	if (__test_and_set_bit(i, seen)) {
		*error = "Feature given twice";
		DMERR("%s: %s", *error, word);
		return -EINVAL;
	}
	return zm_set_feature(zm, &zm_features[i],
			      word[len] ? word + len + 1 : NULL, error);
}

/* Features of which one would undo what the other one asks for. */
static int zm_check_features(struct zmirror *zm)
{
	if (zm->prezero && zm->nosync)
		zm->ti->error = "Features nosync and prezero exclude each other";
	else if (zm->discard_zeroes && zm->no_unmap)
		zm->ti->error = "Features discard_zeroes and no_unmap exclude each other";
	else
		return 0;
	return -EINVAL;
}

static int zm_parse_features(struct zmirror *zm, struct dm_arg_set *as)
{
	static const struct dm_arg args[] = {
		{ 0, ARRAY_SIZE(zm_features),
		  "Invalid number of features" },
	};
	struct dm_target *ti = zm->ti;
	unsigned long seen = 0;
	unsigned int nr;
	int r;

	if (!as->argc)
		return 0;
	r = dm_read_arg_group(args, as, &nr, &ti->error);
	if (r) {
		ti->error = "Invalid number of features";
		return r;
	}
	while (nr--) {
		r = zm_parse_feature(zm, dm_shift_arg(as), &seen, &ti->error);
		if (r)
			return r;
	}
	if (as->argc) {
		ti->error = "Arguments after the features";
		return -EINVAL;
	}
	return zm_check_features(zm);
}

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

static bool zm_legs_overlap(const struct zmirror *zm)
{
	sector_t source = zm_leg_on_disk(&zm->source);
	sector_t dest = zm_leg_on_disk(&zm->dest);
	sector_t len = zm->ti->len;

	return zm->source.dev->bdev->bd_disk == zm->dest.dev->bdev->bd_disk &&
	       source < dest + len && dest < source + len;
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
	if (zm_legs_overlap(zm)) {
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
	list_add(&zm->list, &zm_mirrors);
	mutex_unlock(&zm_mirrors_lock);
	return 0;
}

static void zmirror_dtr(struct dm_target *ti)
{
	struct zmirror *zm = ti->private;

	mutex_lock(&zm_mirrors_lock);
	list_del(&zm->list);
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
 * may fail, or a write come in between: then it is not in sync after all. While it is
 * suspended nothing is sent, and the resume looks again. If it got out of sync and in again meanwhile, the flush may have been too early; this
 * work has been queued again then.
 */
static void zm_sync_work(struct work_struct *work)
{
	struct zmirror *zm = container_of(work, struct zmirror, sync_work);

	if (READ_ONCE(zm->suspended) || !zm_in_sync(zm) ||
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
	DMINFO("%s: in sync", dm_table_device_name(zm->ti->table));
	dm_table_event(zm->ti->table);
}

#define ZM_MAX_RETRIES	6	/* the wait is doubled so often: 64 s */

/*
 * A destination that failed is tried again in a second, and each time it fails
 * again the wait is doubled. Who resumes looks at it at once.
 */
static void zm_retry_later(struct zmirror *zm)
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

/* Lets resync go on, if nothing else holds it up. */
static void zm_go_on(struct zmirror *zm)
{
	if (READ_ONCE(zm->suspended))
		return;
	if (READ_ONCE(zm->auto_mode) && zm_regions_dirty(zm->regions))
		WRITE_ONCE(zm->async, true);
	zm_resync_kick(zm);
	zm_verify_kick(zm);
	zm_look_in_sync(zm);
}

/*
 * Has a destination that failed used again. What it has lost is known by then: the
 * work that finds it out has ended.
 */
static void zm_attach(struct zmirror *zm)
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
	zm->quiesced = true;
	mutex_unlock(&zm->message_lock);
}

static bool zm_same_leg(const struct zm_leg *a, const struct zm_leg *b)
{
	return a->dev->bdev->bd_dev == b->dev->bdev->bd_dev &&
	       a->start == b->start;
}

/*
 * Whether the legs have changed places since @old, whose destination has taken over:
 * the old source lacks what is dirty there, and no more.
 */
static bool zm_exchanges(const struct zmirror *zm, const struct zmirror *old)
{
	return old->pivoted && old->source_stable &&
	       zm_same_leg(&old->source, &zm->dest) &&
	       zm_same_leg(&old->dest, &zm->source);
}

/* Whether @old is the mirror whose table that of @zm has replaced. */
static bool zm_replaces(const struct zmirror *zm, const struct zmirror *old)
{
	return old != zm && old->active && old->regions &&
	       dm_table_get_md(old->ti->table) ==
	       dm_table_get_md(zm->ti->table) &&
	       old->ti->begin == zm->ti->begin &&
	       old->ti->len == zm->ti->len &&
	       old->region_sectors == zm->region_sectors &&
	       (zm_exchanges(zm, old) ||
		(zm_same_leg(&old->source, &zm->source) &&
		 zm_same_leg(&old->dest, &zm->dest)));
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
	if (zm_exchanges(zm, old))
		zm_adopt_exchanged(zm);
	zm_take_stats(&zm->stats, &old->stats);
	mutex_unlock(&zm->state_lock);

	/* It is never used again, and must not be taken for one that is. */
	zm_regions_destroy(old->regions);
	old->regions = NULL;
}

static void zm_first_resume(struct zmirror *zm)
{
	struct zmirror *old;

	list_for_each_entry(old, &zm_mirrors, list) {
		if (zm_replaces(zm, old)) {
			zm_adopt(zm, old);
			break;
		}
	}

	/* The promises were about this moment. */
	zm->dest_zeroed = false;
	zm->nosync = false;
	zm->active = true;
}

static int zmirror_preresume(struct dm_target *ti)
{
	struct zmirror *zm = ti->private;

	zm_stable_pages_at_resume(ti);

	/* The table is live already: a message may come in, or a status be asked. */
	mutex_lock(&zm_mirrors_lock);
	mutex_lock(&zm->message_lock);
	zm->quiesced = false;
	if (!zm->active)
		zm_first_resume(zm);
	mutex_unlock(&zm->message_lock);
	mutex_unlock(&zm_mirrors_lock);
	return 0;
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
 * Status and messages
 * ------------------------------------------------------------------------
 */

/* The state goes by the number of dirty regions that the same line shows. */
static const char *zm_state(const struct zmirror *zm, u32 dirty)
{
	if (zm_source_gone(zm->regions))
		return READ_ONCE(zm->pivoted) ? "pivoted" : "failed_over";
	if (zm_dest_failed(zm->regions) || READ_ONCE(zm->source_failed))
		return "stopped";
	if (!dirty)
		return "in_sync";
	if (READ_ONCE(zm->paused))
		return "paused";
	if (dirty == zm_regions_unread(zm->regions))
		return "degraded";
	return zm_prezero_due(zm) ? "zeroing" : "resync";
}

static char zm_source_health(const struct zmirror *zm)
{
	if (zm_source_gone(zm->regions) && !READ_ONCE(zm->pivoted))
		return 'D';
	if (READ_ONCE(zm->source_failed) || zm_regions_unread(zm->regions))
		return 'R';
	return 'A';
}

/* One that has taken over is used, whatever becomes of it. */
static char zm_dest_health(const struct zmirror *zm)
{
	if (!zm_dest_failed(zm->regions))
		return 'A';
	return READ_ONCE(zm->dest_full) ? 'N' : 'D';
}

static unsigned int zm_status_info(struct zmirror *zm, char *result,
				   unsigned int maxlen)
{
	struct zm_stats *stats = &zm->stats;
	struct zm_verify_count verify;
	u32 total, dirty;
	unsigned int sz = 0;

	total = zm_regions_total(zm->regions);
	dirty = zm_regions_dirty(zm->regions);

	DMEMIT("%u/%u %u %s %c%c", total - dirty, total, zm->region_sectors,
	       zm_state(zm, dirty), zm_source_health(zm), zm_dest_health(zm));
	zm_verify_count(zm, &verify);
	DMEMIT(" 20 dirty:%u zero:%u", dirty, zm_regions_zero(zm->regions));
	DMEMIT(" read:%lld copied:%lld zeroed:%lld skipped:%lld",
	       atomic64_read(&stats->read), atomic64_read(&stats->copied),
	       atomic64_read(&stats->zeroed), atomic64_read(&stats->skipped));
	DMEMIT(" fg_skipped:%lld source_errors:%lld dest_errors:%lld discarded:%lld",
	       atomic64_read(&stats->fg_skipped),
	       atomic64_read(&stats->source_errors),
	       atomic64_read(&stats->dest_errors),
	       atomic64_read(&stats->discarded));
	DMEMIT(" served:%lld unread:%u", atomic64_read(&stats->served),
	       zm_regions_unread(zm->regions));
	DMEMIT(" verify:%u/%u mismatch:%u unverified:%u", verify.done,
	       verify.total, verify.mismatch, verify.unverified);
	DMEMIT(" remaining:%llu",
	       min_t(unsigned long long, (u64)dirty * zm->region_sectors,
		     zm->ti->len));
	DMEMIT(" writing:%u reading:%u bound:%u latency:%u/%u",
	       zm_meter_kib(&zm->writing, atomic64_read(&stats->copied)),
	       zm_meter_kib(&zm->reading, atomic64_read(&stats->read)),
	       READ_ONCE(zm->rate.kib), READ_ONCE(zm->pace.mean_us),
	       READ_ONCE(zm->pace.idle_us));
	return sz;
}

static unsigned int zm_status_table(struct zmirror *zm, char *result,
				    unsigned int maxlen)
{
	char words[ARRAY_SIZE(zm_features)][ZM_FEATURE_SIZE] = {};
	unsigned int i, nr = 0, sz = 0;

	DMEMIT("%s %llu %s %llu %u", zm->source.dev->name,
	       (unsigned long long)zm->source.start, zm->dest.dev->name,
	       (unsigned long long)zm->dest.start, zm->region_sectors);

	for (i = 0; i < ARRAY_SIZE(zm_features); i++) {
		zm_features[i].get(zm, words[i], ZM_FEATURE_SIZE);
		nr += !!words[i][0];
	}
	if (!nr)
		return sz;
	DMEMIT(" %u", nr);
	for (i = 0; i < ARRAY_SIZE(zm_features); i++)
		if (words[i][0])
			DMEMIT(" %s", words[i]);
	return sz;
}

/* What is measured: the table, each feature that is not its default by its name. */
static unsigned int zm_status_ima(struct zmirror *zm, char *result,
				  unsigned int maxlen)
{
	char word[ZM_FEATURE_SIZE];
	unsigned int i, sz = 0;

	DMEMIT_TARGET_NAME_VERSION(zm->ti->type);
	DMEMIT(",source_device_name=%s,source_offset=%llu",
	       zm->source.dev->name, (unsigned long long)zm->source.start);
	DMEMIT(",dest_device_name=%s,dest_offset=%llu,region_sectors=%u",
	       zm->dest.dev->name, (unsigned long long)zm->dest.start,
	       zm->region_sectors);
	for (i = 0; i < ARRAY_SIZE(zm_features); i++) {
		size_t len;

		word[0] = '\0';
		zm_features[i].get(zm, word, sizeof(word));
		len = zm_name_len(word);
		if (word[0])
			DMEMIT(",%.*s=%s", (int)len, word,
			       word[len] ? word + len + 1 : "y");
	}
	DMEMIT(";");
	return sz;
}

static void zmirror_status(struct dm_target *ti, status_type_t type,
			   unsigned int status_flags, char *result,
			   unsigned int maxlen)
{
	struct zmirror *zm = ti->private;
	unsigned int sz = 0;

	/* A resume may take over the regions of the table before, and free this one's. */
	mutex_lock(&zm->state_lock);
	switch (type) {
	case STATUSTYPE_INFO:
		sz = zm_status_info(zm, result, maxlen);
		break;
	case STATUSTYPE_TABLE:
		sz = zm_status_table(zm, result, maxlen);
		break;
	case STATUSTYPE_IMA:
		sz = zm_status_ima(zm, result, maxlen);
		break;
	}
	mutex_unlock(&zm->state_lock);
	if (!sz)
		*result = '\0';
}

static int zm_message_set(struct zmirror *zm, const char *name,
			  const char *value)
{
	char *error;
	int i, r;

	i = zm_find_feature(name, strlen(name));
	if (i < 0) {
		DMERR("set: %s: %s", zm_refusal(name, strlen(name)), name);
		return -EINVAL;
	}
	if (!zm_features[i].message) {
		DMERR("set: Feature cannot be set by message: %s", name);
		return -EINVAL;
	}
	r = zm_set_feature(zm, &zm_features[i], value, &error);
	if (r)
		DMERR("set: %s, not %s", error, value);
	return r;
}

/*
 * What a failed destination has lost must be found out before it is used
 * again: the work that does so may still be under way.
 */
static void zm_message_resume(struct zmirror *zm)
{
	cancel_delayed_work(&zm->retry_work);
	flush_work(&zm->event_work);
	zm_unread_forget(zm->regions);
	WRITE_ONCE(zm->retries, 0);
	WRITE_ONCE(zm->paused, false);
	WRITE_ONCE(zm->source_failed, false);
	zm_attach(zm);
}

/* The kinds of regions that can be listed. */
static const char * const zm_lists[] = { "dirty", "zero", "unread", "mismatch" };

static u32 zm_list_next(const struct zmirror *zm, int kind, u32 *first, u32 end)
{
	static const enum zm_which which[] = { ZM_DIRTY, ZM_ZERO, ZM_UNREAD };

	if (kind < (int)ARRAY_SIZE(which))
		return zm_regions_next(zm->regions, which[kind], first, end);
	return zm_words_next(zm_verify_found(zm), first, end);
}

/* Regions of one kind, as ranges: 0-4,9. Too long a list is device-mapper's to see. */
static void zm_list_regions(struct zmirror *zm, int kind, u32 first, u32 end,
			    char *result, unsigned int maxlen)
{
	unsigned int sz = 0;
	u32 next;

	while (sz + 1 < maxlen &&
	       (next = zm_list_next(zm, kind, &first, end))) {
		DMEMIT("%s%u", sz ? "," : "", first);
		if (next - first > 1)
			DMEMIT("-%u", next - 1);
		first = next;
		cond_resched();
	}
	if (!sz)
		DMEMIT("none");
}

static int zm_message_list(struct zmirror *zm, unsigned int argc, char **argv,
			   char *result, unsigned int maxlen)
{
	u32 total = zm_regions_total(zm->regions);
	u32 first = 0, count = total;
	int kind;

	if (argc < 2 || argc > 4) {
		DMERR("Message list takes dirty, zero, unread or mismatch, and a range");
		return -EINVAL;
	}
	kind = match_string(zm_lists, ARRAY_SIZE(zm_lists), argv[1]);
	if (kind < 0) {
		DMERR("list: dirty, zero, unread or mismatch, not %s", argv[1]);
		return -EINVAL;
	}
	if (argc > 2 && (kstrtou32(argv[2], 10, &first) || first >= total)) {
		DMERR("list: a region below %u, not %s", total, argv[2]);
		return -EINVAL;
	}
	if (argc > 3 && (kstrtou32(argv[3], 10, &count) || !count)) {
		DMERR("list: a number of regions, not %s", argv[3]);
		return -EINVAL;
	}
	zm_list_regions(zm, kind, first, first + min(count, total - first),
			result, maxlen);
	return 1;
}

static const char * const zm_marks[] = {
	[ZM_MARK_DIRTY] = "dirty",
	[ZM_MARK_CLEAN] = "clean",
	[ZM_MARK_ZERO] = "zero",
	[ZM_MARK_NONZERO] = "nonzero",
};

static bool zm_next_number(char **at, u32 *number)
{
	u64 value = 0;

	if (!isdigit(**at))
		return false;
	for (; isdigit(**at) && value <= U32_MAX; (*at)++)
		value = value * 10 + **at - '0';
	*number = value;
	return value <= U32_MAX;
}

/*
 * The next of some ranges, as the message list prints them: "5" or "0-4". Returns
 * where the following one begins, or NULL when this is none.
 */
static char *zm_next_range(char *at, u32 total, u32 *first, u32 *end)
{
	u32 to;

	if (!zm_next_number(&at, first))
		return NULL;
	to = *first;
	if (*at == '-') {
		at++;
		if (!zm_next_number(&at, &to))
			return NULL;
	}
	if (*first > to || to >= total || (*at && *at != ','))
		return NULL;
	if (*at == ',' && !*++at)
		return NULL;
	*end = to + 1;
	return at;
}

static bool zm_ranges_valid(const char *message, char *ranges, u32 total)
{
	char *at = *ranges ? ranges : NULL;
	u32 first, end;

	while (at && *at)
		at = zm_next_range(at, total, &first, &end);
	if (!at)
		DMERR("%s: ranges of regions below %u, not %s", message, total,
		      ranges);
	return at;
}

/* What the source had as zeroes before the mirror was resumed for the first time. */
static int zm_message_hint(struct zmirror *zm, unsigned int argc, char **argv)
{
	u32 total = zm_regions_total(zm->regions), first, end;
	unsigned int ended = 0;
	sector_t sectors;
	char *at;

	if (argc != 3 || strcasecmp(argv[1], "zero")) {
		DMERR("Message hint takes zero, and ranges of regions");
		return -EINVAL;
	}
	if (!zm_changed_known(zm->regions)) {
		DMERR("hint: the table has no feature hints");
		return -EINVAL;
	}
	if (!zm_ranges_valid("hint", argv[2], total))
		return -EINVAL;
	for (at = argv[2]; *at;) {
		at = zm_next_range(at, total, &first, &end);
		ended |= zm_hint_zero(zm->regions, first, end,
				      &sectors);
		atomic64_add(sectors, &zm->stats.skipped);
	}
	zm_op_ended(zm, ended);
	return 0;
}

static int zm_message_pivot(struct zmirror *zm, unsigned int argc)
{
	int r;

	if (argc != 1) {
		DMERR("Message pivot takes no argument");
		return -EINVAL;
	}
	r = zm_io_pivot(zm);
	if (r == -EBUSY)
		DMERR("pivot: it is not in sync");
	else if (r)
		DMERR("pivot: %s", r == -EIO ? "the destination failed" :
					       "killed while it waited");
	return r;
}

/*
 * What would be a promise speaks of this moment, so that nothing may be in flight.
 * The other two are on the safe side at any time.
 */
static int zm_message_mark(struct zmirror *zm, unsigned int argc, char **argv)
{
	u32 total = zm_regions_total(zm->regions), first, end;
	unsigned int ended = 0;
	char *at;
	int mark;

	if (argc != 3) {
		DMERR("Message mark takes dirty, clean, zero or nonzero, and ranges of regions");
		return -EINVAL;
	}
	mark = match_string(zm_marks, ARRAY_SIZE(zm_marks), argv[1]);
	if (mark < 0) {
		DMERR("mark: dirty, clean, zero or nonzero, not %s", argv[1]);
		return -EINVAL;
	}
	if ((mark == ZM_MARK_CLEAN || mark == ZM_MARK_ZERO) && !zm->quiesced) {
		DMERR("mark: %s only while the device is suspended", argv[1]);
		return -EBUSY;
	}
	if (!zm_ranges_valid("mark", argv[2], total))
		return -EINVAL;
	for (at = argv[2]; *at;) {
		at = zm_next_range(at, total, &first, &end);
		ended |= zm_regions_mark(zm->regions, mark, first, end);
	}
	zm_op_ended(zm, ended);
	return 0;
}

/* The sectors to verify, if there are any words: a first one and a number. */
static int zm_message_verify_range(struct zmirror *zm, unsigned int argc,
				   char **argv, sector_t *start, sector_t *len)
{
	u64 first, nr;

	*start = 0;
	*len = zm->ti->len;
	if (!argc)
		return 0;
	if (argc != 2) {
		DMERR("Message verify takes repair, and a sector and a number of sectors; or stop");
		return -EINVAL;
	}
	if (kstrtou64(argv[0], 10, &first) || first >= zm->ti->len) {
		DMERR("verify: a sector below %llu, not %s",
		      (unsigned long long)zm->ti->len, argv[0]);
		return -EINVAL;
	}
	if (kstrtou64(argv[1], 10, &nr) || !nr || nr > zm->ti->len - first) {
		DMERR("verify: a number of sectors up to %llu, not %s",
		      (unsigned long long)(zm->ti->len - first), argv[1]);
		return -EINVAL;
	}
	*start = first;
	*len = nr;
	return 0;
}

static int zm_message_verify(struct zmirror *zm, unsigned int argc, char **argv)
{
	bool repair = argc > 1 && !strcasecmp(argv[1], "repair");
	sector_t start, len;
	int r;

	if (argc == 2 && !strcasecmp(argv[1], "stop")) {
		zm_verify_stop(zm);
		return 0;
	}
	r = zm_message_verify_range(zm, argc - 1 - repair, argv + 1 + repair,
				    &start, &len);
	if (r)
		return r;
	r = zm_verify_start(zm, start, len, repair);
	if (r)
		DMERR("verify: %s", r == -EBUSY ? "one is under way" :
						  "Cannot allocate buffers");
	return r;
}

static int zm_message(struct zmirror *zm, unsigned int argc, char **argv,
		      char *result, unsigned int maxlen)
{
	if (!strcasecmp(argv[0], "set")) {
		if (argc == 3)
			return zm_message_set(zm, argv[1], argv[2]);
		DMERR("Message set takes a feature and a value");
		return -EINVAL;
	}
	if (!strcasecmp(argv[0], "pause") || !strcasecmp(argv[0], "resume")) {
		if (argc != 1) {
			DMERR("Message %s takes no argument", argv[0]);
			return -EINVAL;
		}
		if (!strcasecmp(argv[0], "pause"))
			WRITE_ONCE(zm->paused, true);
		else
			zm_message_resume(zm);
		return 0;
	}
	if (!strcasecmp(argv[0], "list"))
		return zm_message_list(zm, argc, argv, result, maxlen);
	if (!strcasecmp(argv[0], "mark"))
		return zm_message_mark(zm, argc, argv);
	if (!strcasecmp(argv[0], "verify"))
		return zm_message_verify(zm, argc, argv);
	if (!strcasecmp(argv[0], "hint"))
		return zm_message_hint(zm, argc, argv);
	if (!strcasecmp(argv[0], "pivot"))
		return zm_message_pivot(zm, argc);
	DMERR("Unknown message: %s", argv[0]);
	return -EINVAL;
}

static int zmirror_message(struct dm_target *ti, unsigned int argc, char **argv,
			   char *result, unsigned int maxlen)
{
	struct zmirror *zm = ti->private;
	unsigned int noio;
	int r;

	/*
	 * A suspend waits for this, and holds up all requests meanwhile. So to
	 * allocate memory must not wait for any.
	 */
	noio = memalloc_noio_save();
	mutex_lock(&zm->message_lock);
	if (zm->active) {
		r = zm_message(zm, argc, argv, result, maxlen);
	} else {
		/* It is live already, but what it is told would be lost by the resume. */
		DMERR("%s: not resumed yet: message %s refused",
		      dm_table_device_name(ti->table), argv[0]);
		r = -EAGAIN;
	}
	mutex_unlock(&zm->message_lock);
	memalloc_noio_restore(noio);
	return r;
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
