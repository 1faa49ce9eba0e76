// SPDX-License-Identifier: GPL-2.0-only
/*
 * The background of a zmirror; see dm-zmirror-resync.h.
 *
 * Each job is a work item that takes runs of dirty regions, one after another,
 * until there are none. It waits for its own I/O, so that what it does reads
 * from top to bottom, and other jobs go on meanwhile.
 *
 * A run is looked at in units, of a region's length or of ZM_UNIT_SECTORS,
 * whichever is less. The head of each is read first. Where it is not zero,
 * kcopyd copies the unit, joined with its neighbours. Where it is, the whole
 * unit is read, and should data turn up in it, it is written from that buffer.
 * So a pass reads each sector once, and at most one head in 16 twice. Units that
 * are shorter than that are read at once, and so are those that come after
 * others most of which were zero: there a head tells little.
 *
 * While somebody uses the mirror, resync gives way: few jobs run, and each reads
 * and writes a little at a time. See zm_resync_in_use() and zm_jobs_now().
 */
#include "dm-zmirror-resync.h"
#include "dm-zmirror-compat.h"
#include "dm-zmirror-zero.h"

#include <linux/blkdev.h>
#include <linux/completion.h>
#include <linux/dm-io.h>
#include <linux/dm-kcopyd.h>
#include <linux/jiffies.h>
#include <linux/ktime.h>
#include <linux/math64.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

#define DM_MSG_PREFIX "zmirror"

DECLARE_DM_KCOPYD_THROTTLE_WITH_MODULE_PARM(resync_throttle, "Percentage of time for resync");

#define ZM_JOB_SECTORS		2048U	/* 1 MiB */
#define ZM_UNIT_SECTORS		256U	/* 128 KiB */
#define ZM_BUFFER_SECTORS	256U	/* at least a unit */
#define ZM_USED_SECTORS		128U	/* 64 KiB: a bite while in use */
#define ZM_PACE_BITES	16U	/* of a rate's: 1/256 of a second */
#define ZM_USED_JIFFIES		(HZ / 10)	/* in use so long after a request */
#define ZM_NEAR_JOBS		4U	/* keep a device near by busy */
#define ZM_HEAD_SECTORS		8U	/* 4 KiB, or a logical block if larger */
#define ZM_HEAD_SHARE		16U	/* a head is at most one part in this */
#define ZM_METER_NS	NSEC_PER_SEC		/* between looks at the pace */
#define ZM_AUTO_NS	(2 * NSEC_PER_SEC)	/* that in sync may be away */
#define ZM_STUCK_NS	(8 * NSEC_PER_SEC)	/* without getting nearer */
#define ZM_MAX_UNITS		32U	/* that are looked at together */
#define ZM_MAX_PARTS		64U	/* of a job, in flight at the same time */
#define ZM_PREZERO_SECTORS	524288U	/* 256 MiB in one request */
#define ZM_PREZERO_OPS		64U	/* that it may consist of */

/*
 * ------------------------------------------------------------------------
 * Types
 * ------------------------------------------------------------------------
 */

/*
 * One request of a job, of several that are in flight at the same time. The
 * errors are set by its callback, and read once the job has waited. The range
 * is there for zeroes only, which may be those of several batches of units.
 */
struct zm_part {
	struct zm_job *job;
	unsigned long units;		/* mask of the units it is for */
	bool read_error;
	bool write_error;
	enum zm_zero_how how;
	sector_t start;
	sector_t end;
};

/*
 * @pending counts the parts in flight, and one for the job itself until it
 * waits. The masks of units are those of the units in hand; the masks of
 * regions are those of @op. All but @pending, @done and @begun belong to the
 * work item.
 */
struct zm_job {
	struct zmirror *zm;
	struct work_struct work;
	u32 index;

	struct zm_op op;
	struct completion begun;	/* @op, after a wait */
	u64 copied;
	u64 zeroes;
	u64 lost;			/* could not be read */
	bool dest_failed;
	bool stopped;			/* got no leave to move something */
	blk_status_t dest_status;	/* why */
	u64 leave;			/* to move something, when, in ns */

	sector_t start;			/* of the first unit in hand */
	sector_t end;
	unsigned int nr_units;
	unsigned long unread;		/* of those in hand, by the last wait */
	unsigned long unwritten;
	sector_t zero_start;		/* of zeroes found, not made so far */
	sector_t zero_end;
	struct zm_part parts[ZM_MAX_PARTS];
	unsigned int nr_parts;
	atomic_t pending;
	struct completion done;
	void *buffer;			/* ZM_BUFFER_SECTORS */
};

/*
 * @walk protects the place where the next job looks for a dirty region; it is
 * never held while another lock is waited for but a bucket's. What begins with
 * prezero belongs to the work item. @jobs has @nr
 * entries, which are made when they are first asked for and live as long as
 * the mirror; a job whose index is not below zm_jobs_now() does not run.
 *
 * The time of a copy is read and written by all jobs without a lock: whatever
 * becomes of it, only the pace of resync changes.
 */
struct zm_resync {
	struct zmirror *zm;
	struct dm_io_client *io;
	struct dm_kcopyd_client *kcopyd;
	struct workqueue_struct *wq;

	struct mutex walk;		/* protects chunk and bit */
	u32 chunk;
	unsigned int bit;

	u32 nr;
	struct zm_job *jobs[ZM_MAX_JOBS];

	unsigned int region_sectors;
	unsigned int unit_sectors;
	unsigned int head_sectors;
	unsigned int batch_sectors;	/* what is looked at together */
	unsigned int block_sectors;	/* the least that is written */
	unsigned int granule;		/* that the destination unmaps */
	bool heads;			/* units are worth a look at their head */
	bool sparse;			/* most units were zero lately; a hint */

	u64 copy_ns;			/* the shortest time that one took, or 0 */

	/* Of auto mode; all of it belongs to the first job. */
	u64 metered;			/* when, in ns */
	u64 progress;			/* sectors done by then */
	u64 least;			/* sectors left, at best */
	u64 least_at;			/* when, in ns */

	struct work_struct prezero;
	u32 prezero_chunk;		/* where it goes on */
	unsigned int prezero_bit;
	unsigned int prezero_regions;	/* most in one operation */
	struct zm_op prezero_ops[ZM_PREZERO_OPS];
};

/*
 * ------------------------------------------------------------------------
 * Parts of a job
 * ------------------------------------------------------------------------
 */

static void zm_parts_begin(struct zm_job *job)
{
	job->nr_parts = 0;
	atomic_set(&job->pending, 1);
	reinit_completion(&job->done);
}

static struct zm_part *zm_part(struct zm_job *job, unsigned long units)
{
	struct zm_part *part = &job->parts[job->nr_parts++];

	part->job = job;
	part->units = units;
	part->read_error = false;
	part->write_error = false;
	atomic_inc(&job->pending);
	return part;
}

static void zm_part_end(struct zm_part *part)
{
	struct zm_job *job = part->job;

	if (atomic_dec_and_test(&job->pending))
		complete(&job->done);
}

static void zm_parts_join(struct zm_job *job)
{
	if (!atomic_dec_and_test(&job->pending))
		wait_for_completion_io(&job->done);
}

/*
 * Returns the units of the parts that failed. Those that could not be read, and
 * those that could not be written, are stored for the caller to look at.
 */
static unsigned long zm_parts_wait(struct zm_job *job)
{
	unsigned int i;

	zm_parts_join(job);
	job->unread = 0;
	job->unwritten = 0;
	for (i = 0; i < job->nr_parts; i++) {
		const struct zm_part *part = &job->parts[i];

		if (part->read_error)
			job->unread |= part->units;
		if (part->write_error)
			job->unwritten |= part->units;
	}
	return job->unread | job->unwritten;
}

static void zm_read_done(ZM_IO_NOTIFY_ARGS)
{
	struct zm_part *part = context;

	part->read_error = ZM_IO_FAILED;
	zm_part_end(part);
}

static void zm_write_done(ZM_IO_NOTIFY_ARGS)
{
	struct zm_part *part = context;

	part->write_error = ZM_IO_FAILED;
	zm_part_end(part);
}

static void zm_copy_done(int read_error, unsigned long write_error,
			 void *context)
{
	struct zm_part *part = context;

	part->read_error = read_error;
	part->write_error = write_error;
	zm_part_end(part);
}

/*
 * ------------------------------------------------------------------------
 * Giving way
 * ------------------------------------------------------------------------
 */

/*
 * Whether the mirror is in use: a request came in the last tenth of a second. Where it
 * is the latency of each that counts, also when they come more seldom, one a second at
 * least: else each of them would find resync at full speed.
 */
bool zm_resync_in_use(struct zmirror *zm)
{
	u32 most = ZM_USED_JIFFIES;

	if (READ_ONCE(zm->pace.on))
		most = clamp(READ_ONCE(zm->gap) / 2, most, (u32)HZ);
	return time_before(jiffies, READ_ONCE(zm->used) + most);
}

/* Who has been kept waiting by a suspend had no request that came. */
void zm_resync_resume(struct zmirror *zm)
{
	WRITE_ONCE(zm->used, jiffies);
	WRITE_ONCE(zm->look, jiffies - 1);
	zm_meter_reset(&zm->writing, atomic64_read(&zm->stats.copied));
	zm_meter_reset(&zm->reading, atomic64_read(&zm->stats.read));
}

static void zm_copy_took(struct zmirror *zm, u64 ns)
{
	struct zm_resync *rs = zm->resync;
	u64 least = READ_ONCE(rs->copy_ns);

	if (!least || ns < least)
		WRITE_ONCE(rs->copy_ns, ns);
}

/*
 * How many jobs may run now. Some jobs keep a device near by busy, and one does
 * not keep it too busy for others. Of one that is far away, what takes long is
 * the way, which one job more for each millisecond makes good. It is the
 * shortest time of a copy that counts, for others are made longer by what is in
 * flight already. More in flight would serve nobody, but have to end before one
 * who comes after an idle time has the device for himself.
 */
static u32 zm_jobs_now(struct zmirror *zm)
{
	u64 ms = div_u64(READ_ONCE(zm->resync->copy_ns), NSEC_PER_MSEC);
	u64 jobs = zm_resync_in_use(zm) ? max(ms, 1ULL) : ZM_NEAR_JOBS + ms;

	/* Pairs with the release of zm_resync_set_jobs(). */
	return min_t(u64, jobs, smp_load_acquire(&zm->jobs));
}

/*
 * ------------------------------------------------------------------------
 * Rates
 * ------------------------------------------------------------------------
 */

/*
 * The most that is copied at once, in sectors. By a rate that is there for the sake of
 * latency, no more than 1/256 of a second's worth.
 */
static u32 zm_bite(struct zmirror *zm)
{
	u32 bite = zm_rate_bite(&zm->rate);

	if (!zm_resync_in_use(zm))
		return min(bite, ZM_JOB_SECTORS);
	if (READ_ONCE(zm->pace.on))
		bite = max(bite / ZM_PACE_BITES, zm->resync->block_sectors);
	return min(bite, ZM_USED_SECTORS);
}

/* The most that one request writes to the destination, in sectors. */
static u32 zm_write_bite(const struct zmirror *zm)
{
	u32 block = zm->resync->block_sectors;
	u32 bite = zm_rate_bite(&zm->rate);

	return max(round_down(bite, block), block);
}

/*
 * A job takes what is copied at once, for while it waits for its share of the
 * rate its regions are under copy; but as much as a granule that the destination
 * unmaps, should one be zero.
 */
static u32 zm_job_regions(const struct zmirror *zm)
{
	const struct zm_resync *rs = zm->resync;
	u32 sectors = min(zm_rate_bite(&zm->rate), ZM_JOB_SECTORS);

	return clamp(max(sectors, rs->granule) / rs->region_sectors, 1U,
		     ZM_CHUNK_REGIONS);
}

/* Not while all requests are held until nothing is under way. */
static bool zm_job_may_wait(const void *context)
{
	const struct zm_job *job = context;

	zm_pace_tick(&job->zm->pace, zm_resync_in_use(job->zm));
	return zm_resync_running(job->zm) && !zm_frozen(job->zm->regions);
}

/*
 * Leave to move some sectors. A second copy does not wait, for others wait for
 * it: those that come later make good for it. Returns false when resync is to
 * stop.
 */
static bool zm_job_rate(struct zm_job *job, struct zm_rate *rate, u32 sectors)
{
	bool leave = true;

	if (READ_ONCE(rate->kib) || READ_ONCE(job->zm->pace.on)) {
		if (job->op.hold)
			zm_rate_charge(rate, sectors);
		else
			leave = zm_rate_wait(rate, sectors, zm_job_may_wait,
					     job);
	}
	job->leave = ktime_get_ns();
	job->stopped |= !leave;
	return leave;
}

/* How long it has been since then. */
static u64 zm_job_since(const struct zm_job *job)
{
	return ktime_get_ns() - job->leave;
}

/*
 * Leave to read some sectors in search of zeroes. Where it is the latency of others
 * that counts, what is read counts as what is written.
 */
static bool zm_job_scan(struct zm_job *job, u32 sectors)
{
	struct zmirror *zm = job->zm;

	return (!READ_ONCE(zm->pace.on) ||
		zm_job_rate(job, &zm->rate, sectors)) &&
	       zm_job_rate(job, &zm->scan_rate, sectors);
}

/*
 * ------------------------------------------------------------------------
 * Units
 * ------------------------------------------------------------------------
 */

static sector_t zm_unit_start(const struct zm_job *job, unsigned int unit)
{
	return job->start + (sector_t)unit * job->zm->resync->unit_sectors;
}

/* The sectors of @nr units, the last of which may be cut off by the end. */
static sector_t zm_units_len(const struct zm_job *job, unsigned int unit,
			     unsigned int nr)
{
	return min(zm_unit_start(job, unit + nr), job->end) -
	       zm_unit_start(job, unit);
}

/* The regions of units, as a mask of the chunk's. */
static u64 zm_units_regions(const struct zm_job *job, unsigned long units)
{
	unsigned int region_shift = ilog2(job->zm->resync->region_sectors);
	u64 regions = 0;
	unsigned int unit;

	for_each_set_bit(unit, &units, job->nr_units)
		regions |= BIT_ULL((zm_unit_start(job, unit) >> region_shift) %
				   ZM_CHUNK_REGIONS);
	return regions;
}

static struct dm_io_region zm_where(const struct zm_leg *leg, sector_t start,
				    sector_t len)
{
	return (struct dm_io_region) {
		.bdev = leg->dev->bdev,
		.sector = leg->start + start,
		.count = len,
	};
}

/* Starts to read or write @len sectors from or to the job's buffer. */
static void zm_buffer_io(struct zm_job *job, blk_opf_t opf, void *buffer,
			 const struct zm_leg *leg, sector_t start, sector_t len,
			 struct zm_part *part)
{
	struct dm_io_region where = zm_where(leg, start, len);
	struct dm_io_request req = {
		.bi_opf = opf,
		.mem.type = DM_IO_VMA,
		.mem.ptr.vma = buffer,
		.notify.fn = op_is_write(opf) ? zm_write_done : zm_read_done,
		.notify.context = part,
		.client = job->zm->resync->io,
	};

	/* Asynchronous, this fails for a wrong memory type only. */
	zm_dm_io(&req, &where);
}

static void zm_read_part(struct zm_job *job, void *buffer, sector_t start,
			 sector_t len, unsigned long units)
{
	atomic64_add(len, &job->zm->stats.read);
	zm_buffer_io(job, REQ_OP_READ, buffer, &job->zm->source, start, len,
		     zm_part(job, units));
}

/*
 * The next run of units in a mask, behind the one at @first with @nr units, both
 * of which are zero at the start.
 */
static bool zm_next_run(const struct zm_job *job, unsigned long units,
			unsigned int *first, unsigned int *nr)
{
	*first = find_next_bit(&units, job->nr_units, *first + *nr);
	*nr = find_next_zero_bit(&units, job->nr_units, *first) - *first;
	return *nr;
}

/*
 * ------------------------------------------------------------------------
 * What has failed
 * ------------------------------------------------------------------------
 */

/*
 * Not when resync is to stop, nor when all users are held up until the job has ended, but
 * for the little that the mirror lacks to be in sync.
 */
static bool zm_job_is_wanted(const struct zm_job *job)
{
	struct zmirror *zm = job->zm;

	return zm_resync_running(zm) &&
	       (!zm_frozen(zm->regions) ||
		(u64)zm_regions_dirty(zm->regions) * zm->region_sectors <=
		ZM_JOB_SECTORS);
}

/*
 * Whether there is a point in going on with what the job has begun. A device that is
 * dead may take its whole time limit for each request, and whoever suspends waits.
 */
static bool zm_job_goes_on(const struct zm_job *job)
{
	return !job->dest_failed && !job->stopped &&
	       (!job->lost || READ_ONCE(job->zm->skip)) &&
	       zm_job_is_wanted(job);
}

/* Whether the destination may be asked why it has failed. */
static bool zm_job_may_ask(const struct zm_job *job)
{
	return !job->dest_failed && zm_resync_running(job->zm);
}

/* How much of a write of @len sectors is enough to learn why it has failed. */
static u32 zm_ask_len(const struct zm_job *job, sector_t len)
{
	return min3(len, (sector_t)job->zm->resync->block_sectors,
		    (sector_t)(PAGE_SIZE >> SECTOR_SHIFT));
}

/*
 * dm_io and kcopyd do not tell why a write has failed. So a block of it is written
 * once more, to learn whether the destination has no space left: no more than was to be
 * written, for what is behind is somebody else's. Returns false if that has succeeded.
 */
static bool zm_ask_dest(struct zm_job *job, struct page *page, sector_t start,
			u32 sectors)
{
	struct zmirror *zm = job->zm;
	struct bio_vec bv;
	struct bio bio;
	int r;

	bio_init(&bio, zm->dest.dev->bdev, &bv, 1, REQ_OP_WRITE);
	bio.bi_iter.bi_sector = zm->dest.start + start;
	__bio_add_page(&bio, page, sectors << SECTOR_SHIFT, 0);
	r = submit_bio_wait(&bio);
	if (r == -ENOSPC)
		job->dest_status = BLK_STS_NOSPC;
	bio_uninit(&bio);
	return r;
}

/*
 * The same for units of data, whose blocks are read once more for it. One that can be
 * written after all tells nothing; one that cannot tells enough.
 */
static void zm_ask_dest_units(struct zm_job *job, unsigned long units)
{
	unsigned int unit;

	for_each_set_bit(unit, &units, job->nr_units) {
		sector_t start = zm_unit_start(job, unit);
		u32 sectors = zm_ask_len(job, zm_units_len(job, unit, 1));

		zm_parts_begin(job);
		zm_read_part(job, job->buffer, start, sectors, BIT(unit));
		if (zm_parts_wait(job) ||
		    zm_ask_dest(job, vmalloc_to_page(job->buffer), start, sectors))
			break;
	}
}

/*
 * Takes note of the units that failed when the job has waited for all its parts.
 * Returns them.
 */
static unsigned long zm_note_failed(struct zm_job *job)
{
	unsigned long unread = job->unread, unwritten = job->unwritten;

	job->lost |= zm_units_regions(job, unread);
	if (unwritten && zm_job_may_ask(job))
		zm_ask_dest_units(job, unwritten);
	if (unwritten)
		job->dest_failed = true;
	return unread | unwritten;
}

/*
 * ------------------------------------------------------------------------
 * Zeroing
 * ------------------------------------------------------------------------
 */

/* The regions of a range of the job's chunk, as a mask. */
static u64 zm_range_regions(const struct zm_job *job, sector_t start,
			    sector_t end)
{
	unsigned int shift = ilog2(job->zm->resync->region_sectors);

	return GENMASK_ULL(((end - 1) >> shift) % ZM_CHUNK_REGIONS,
			   (start >> shift) % ZM_CHUNK_REGIONS);
}

/*
 * Asks the destination once more to zero a range, to learn why it did not. Should it
 * do so now, or fail in another way, it had failed, and may have lost what it had in
 * its cache.
 */
static bool zm_refuses(struct zmirror *zm, const struct zm_part *part)
{
	struct bio bio;
	int r;

	bio_init(&bio, zm->dest.dev->bdev, NULL, 0, zm_zero_opf(zm, part->how));
	bio.bi_iter.bi_sector = zm->dest.start + part->start;
	bio.bi_iter.bi_size = (part->end - part->start) << SECTOR_SHIFT;
	r = submit_bio_wait(&bio);
	bio_uninit(&bio);
	if (r != -EOPNOTSUPP && r != -EREMOTEIO)
		return false;
	zm_zero_refused(zm, part->how);
	return true;
}

/*
 * A device may find out only when asked that it cannot zero, or not this: pages
 * tell whether it can be written to.
 */
static void zm_zero_failed(struct zm_job *job, const struct zm_part *part)
{
	struct zmirror *zm = job->zm;

	if (!job->dest_failed && part->how != ZM_ZERO_PAGES &&
	    zm_refuses(zm, part) &&
	    !zm_zero_dest(zm, zm->resync->io, ZM_ZERO_PAGES, part->start,
			  part->end, NULL, NULL))
		return;
	if (zm_job_may_ask(job))
		zm_ask_dest(job, ZERO_PAGE(0), part->start,
			    zm_ask_len(job, part->end - part->start));
	job->dest_failed = true;
	job->copied &= ~zm_range_regions(job, part->start, part->end);
}

static void zm_zero_wait(struct zm_job *job)
{
	unsigned int i;

	zm_parts_join(job);
	for (i = 0; i < job->nr_parts; i++)
		if (job->parts[i].write_error)
			zm_zero_failed(job, &job->parts[i]);
}

/*
 * Starts to make the zeroes that have been found. Those that are written are bytes
 * copied, as far as the rate is concerned; others cost nothing.
 */
static void zm_zero_found(struct zm_job *job)
{
	struct zmirror *zm = job->zm;
	sector_t at, piece;

	for (at = job->zero_start; at < job->zero_end; at = piece) {
		enum zm_zero_how how;
		struct zm_part *part;

		if (job->nr_parts == ZM_MAX_PARTS) {
			zm_zero_wait(job);
			zm_parts_begin(job);
		}
		how = zm_zero_how(zm, at, job->zero_end, &piece);
		if (how == ZM_ZERO_PAGES) {
			piece = min(piece, at + zm_write_bite(zm));
			if (!zm_job_is_wanted(job) ||
			    !zm_job_rate(job, &zm->rate, piece - at)) {
				job->copied &= ~zm_range_regions(job, at,
								 job->zero_end);
				break;
			}
		}
		part = zm_part(job, 0);
		part->how = how;
		part->start = at;
		part->end = piece;
		atomic64_add(piece - at, &zm->stats.zeroed);
		zm_zero_dest(zm, zm->resync->io, part->how, at, piece,
			     zm_write_done, part);
	}
	job->zero_start = 0;
	job->zero_end = 0;
}

/*
 * Zeroes the units that read as zero on the source, but those of regions that
 * were known to be zero when the copy began: what could have changed them
 * since has raced with it, so that they are copied again. Units that follow one
 * another are zeroed together, the last of them when it is known what follows.
 */
static void zm_make_zero(struct zm_job *job, unsigned long units)
{
	struct zm_stats *stats = &job->zm->stats;
	unsigned int unit;

	zm_parts_begin(job);
	for_each_set_bit(unit, &units, job->nr_units) {
		sector_t start = zm_unit_start(job, unit);
		sector_t len = zm_units_len(job, unit, 1);

		if (zm_units_regions(job, BIT(unit)) & job->op.known_zero) {
			atomic64_add(len, &stats->skipped);
			continue;
		}
		if (start != job->zero_end) {
			zm_zero_found(job);
			job->zero_start = start;
		}
		job->zero_end = start + len;
	}
	zm_zero_wait(job);
}

/* Makes the zeroes that are left when all units have been looked at. */
static void zm_make_last_zero(struct zm_job *job)
{
	zm_parts_begin(job);
	zm_zero_found(job);
	zm_zero_wait(job);
}

/*
 * ------------------------------------------------------------------------
 * Copying
 * ------------------------------------------------------------------------
 */

/* Starts to copy units by kcopyd. Returns those for which there was no leave. */
static unsigned long zm_copy_units(struct zm_job *job, unsigned long units)
{
	struct zmirror *zm = job->zm;
	unsigned int first = 0, nr = 0;

	while (zm_next_run(job, units, &first, &nr)) {
		sector_t start = zm_unit_start(job, first);
		sector_t len = zm_units_len(job, first, nr);
		struct dm_io_region from = zm_where(&zm->source, start, len);
		struct dm_io_region to = zm_where(&zm->dest, start, len);

		if (!zm_job_rate(job, &zm->rate, len))
			return units & GENMASK(job->nr_units - 1, first);
		atomic64_add(len, &zm->stats.read);
		atomic64_add(len, &zm->stats.copied);
		dm_kcopyd_copy(zm->resync->kcopyd, &from, 1, &to, 0,
			       zm_copy_done,
			       zm_part(job, GENMASK(first + nr - 1, first)));
	}
	return 0;
}

/*
 * Starts to write units that lie in the buffer, where @base is at its start.
 * Returns those for which there was no leave. As a bite is at least a block of
 * 4 KiB, there are not too many parts.
 */
static unsigned long zm_write_units(struct zm_job *job, unsigned long units,
				    unsigned int base)
{
	struct zmirror *zm = job->zm;
	unsigned int first = 0, nr = 0;
	sector_t at, len, end;

	while (zm_next_run(job, units, &first, &nr)) {
		at = zm_unit_start(job, first);
		end = at + zm_units_len(job, first, nr);
		for (; at < end; at += len) {
			sector_t skip = at - zm_unit_start(job, base);

			len = min_t(sector_t, end - at, zm_write_bite(zm));
			if (!zm_job_rate(job, &zm->rate, len))
				return units & GENMASK(job->nr_units - 1,
						       first);
			atomic64_add(len, &zm->stats.copied);
			zm_buffer_io(job, REQ_OP_WRITE,
				     job->buffer + (skip << SECTOR_SHIFT),
				     &zm->dest, at, len,
				     zm_part(job, GENMASK(first + nr - 1,
							  first)));
		}
	}
	return 0;
}

/* Tells the regions of units of data before any of it is written. */
static void zm_found_data(struct zm_job *job, unsigned long units)
{
	u64 regions = zm_units_regions(job, units);

	if (!regions)
		return;
	job->zeroes &= ~regions;
	zm_copy_data(job->zm->regions, &job->op, regions);
}

static sector_t zm_head_len(const struct zm_job *job, unsigned int unit)
{
	return min_t(sector_t, job->zm->resync->head_sectors,
		     zm_units_len(job, unit, 1));
}

static void *zm_head(const struct zm_job *job, unsigned int unit)
{
	return job->buffer +
	       unit * (job->zm->resync->head_sectors << SECTOR_SHIFT);
}

/* Reads the heads of all units; returns the units with data in their heads. */
static unsigned long zm_look_at_heads(struct zm_job *job, unsigned long *failed)
{
	struct zm_resync *rs = job->zm->resync;
	unsigned long data = 0;
	unsigned int unit;

	if (!zm_job_scan(job, job->nr_units * rs->head_sectors)) {
		*failed = GENMASK(job->nr_units - 1, 0);
		return 0;
	}
	zm_parts_begin(job);
	for (unit = 0; unit < job->nr_units; unit++)
		zm_read_part(job, zm_head(job, unit), zm_unit_start(job, unit),
			     zm_head_len(job, unit), BIT(unit));
	zm_parts_wait(job);
	*failed = zm_note_failed(job);

	for (unit = 0; unit < job->nr_units; unit++)
		if (!(*failed & BIT(unit)) &&
		    !zm_is_zero(zm_head(job, unit),
				zm_head_len(job, unit) << SECTOR_SHIFT))
			data |= BIT(unit);
	return data;
}

/* Which of @nr units, which have been read to the buffer, are not zero. */
static unsigned long zm_look_at_units(struct zm_job *job, unsigned int first,
				      unsigned int nr)
{
	void *at = job->buffer;
	unsigned long data = 0;
	unsigned int unit;

	for (unit = first; unit < first + nr; unit++) {
		size_t len = zm_units_len(job, unit, 1) << SECTOR_SHIFT;

		if (!zm_is_zero(at, len))
			data |= BIT(unit);
		at += len;
	}
	return data;
}

/*
 * Reads @nr units into the buffer, and looks which of them have data. Returns
 * false when they were not read. What is read counts as read for the sake of
 * zeroes, until it turns out to be data.
 */
static bool zm_read_units(struct zm_job *job, unsigned int first,
			  unsigned int nr, unsigned long *data)
{
	struct zmirror *zm = job->zm;
	sector_t len = zm_units_len(job, first, nr);
	bool detect = READ_ONCE(zm->zero_detect);
	unsigned int unit;

	*data = GENMASK(first + nr - 1, first);
	job->unread = 0;
	job->unwritten = 0;
	job->leave = ktime_get_ns();
	if (detect && !zm_job_scan(job, len))
		return false;
	zm_parts_begin(job);
	zm_read_part(job, job->buffer, zm_unit_start(job, first), len, *data);
	if (zm_parts_wait(job))
		return false;
	if (!detect)
		return true;

	*data = zm_look_at_units(job, first, nr);
	for_each_set_bit(unit, data, job->nr_units)
		zm_rate_refund(&zm->scan_rate, zm_units_len(job, unit, 1));
	return true;
}

/*
 * Reads @nr units that fit into the buffer, and writes those with data in them.
 * Returns those that are zero; the ones that failed are added to @failed. Where
 * what cannot be read is left out, it is looked for unit by unit.
 */
static unsigned long zm_read_and_write(struct zm_job *job, unsigned int first,
				       unsigned int nr, unsigned long *failed)
{
	unsigned long units = GENMASK(first + nr - 1, first);
	unsigned long data, zero = 0;
	u64 took;

	if (!zm_read_units(job, first, nr, &data)) {
		if (job->unread && nr > 1 && READ_ONCE(job->zm->skip)) {
			for (; nr--; first++)
				zero |= zm_read_and_write(job, first, 1,
							  failed);
			return zero;
		}
		zm_note_failed(job);
		*failed |= units;
		return 0;
	}
	took = zm_job_since(job);
	zm_found_data(job, data);
	zm_parts_begin(job);
	*failed |= zm_write_units(job, data, first);
	zm_parts_wait(job);
	if (data)
		zm_copy_took(job->zm, took + zm_job_since(job));
	*failed |= zm_note_failed(job);
	return units & ~data;
}

/* The same for any number of units, a bite at a time. */
static unsigned long zm_read_and_write_all(struct zm_job *job,
					   unsigned long units,
					   unsigned long *failed)
{
	unsigned int unit_sectors = job->zm->resync->unit_sectors;
	unsigned long zero = 0;
	unsigned int first = 0, nr = 0;

	while (zm_next_run(job, units, &first, &nr)) {
		u32 most = min(zm_bite(job->zm), ZM_BUFFER_SECTORS);

		nr = min(nr, max(most / unit_sectors, 1U));
		if (zm_job_goes_on(job))
			zero |= zm_read_and_write(job, first, nr, failed);
		else
			*failed |= GENMASK(first + nr - 1, first);
	}
	return zero;
}

/*
 * Copies the units in hand, one way or another. Returns those that failed. What
 * kcopyd could not read together is read unit by unit where that is worth it.
 */
static unsigned long zm_copy_batch(struct zm_job *job)
{
	struct zm_resync *rs = job->zm->resync;
	unsigned long units = GENMASK(job->nr_units - 1, 0);
	unsigned long data = 0, zero = 0, failed = 0;

	if (zm_bite(job->zm) < ZM_JOB_SECTORS)
		data = 0;
	else if (!READ_ONCE(job->zm->zero_detect))
		data = units;
	else if (rs->heads && !READ_ONCE(rs->sparse))
		data = zm_look_at_heads(job, &failed);

	if (data) {
		zm_found_data(job, data);
		zm_parts_begin(job);
		failed |= zm_copy_units(job, data);
		zm_parts_wait(job);
		zm_copy_took(job->zm, zm_job_since(job));
		if (job->unread && READ_ONCE(job->zm->skip)) {
			data &= ~job->unread;
			job->unread = 0;
		}
		failed |= zm_note_failed(job);
	}
	units &= ~(data | failed);
	if (units)
		zero = zm_read_and_write_all(job, units, &failed);
	if (zero)
		zm_make_zero(job, zero);
	WRITE_ONCE(rs->sparse, hweight_long(zero) * 2 > job->nr_units);
	return failed;
}

/*
 * ------------------------------------------------------------------------
 * Whether there is something to do
 * ------------------------------------------------------------------------
 */

bool zm_resync_running(const struct zmirror *zm)
{
	return !READ_ONCE(zm->suspended) && !READ_ONCE(zm->paused) &&
	       !READ_ONCE(zm->source_failed) && !zm_dest_failed(zm->regions) &&
	       !zm_source_gone(zm->regions);
}

static u32 zm_nr_chunks(const struct zmirror *zm)
{
	return DIV_ROUND_UP(zm_regions_total(zm->regions), ZM_CHUNK_REGIONS);
}

bool zm_prezero_due(const struct zmirror *zm)
{
	return zm->prezero &&
	       READ_ONCE(zm->resync->prezero_chunk) < zm_nr_chunks(zm);
}

bool zm_prezero_busy(const struct zmirror *zm)
{
	return zm->prezero &&
	       (zm_prezero_due(zm) || work_busy(&zm->resync->prezero));
}

/*
 * ------------------------------------------------------------------------
 * Zeroing the destination before the first copy
 * ------------------------------------------------------------------------
 */

/*
 * Begins operations on neighbouring regions for one request. The place goes on
 * with them: whatever becomes of a region, it is looked at once.
 */
static unsigned int zm_prezero_pick(struct zmirror *zm)
{
	struct zm_resync *rs = zm->resync;
	struct zm_op *op = rs->prezero_ops;
	unsigned int nr = 0;

	while (zm_prezero_due(zm) && nr < ZM_PREZERO_OPS) {
		u32 chunk = rs->prezero_chunk;

		bool begun = zm_prezero_begin(zm->regions, &op[nr], chunk,
					      rs->prezero_bit,
					      rs->prezero_regions, nr > 0);

		if (!begun && (nr || !zm_resync_running(zm) ||
			       zm_frozen(zm->regions)))
			break;
		rs->prezero_bit = begun ? fls64(op[nr++].touch) : 0;
		rs->prezero_bit %= ZM_CHUNK_REGIONS;
		if (rs->prezero_bit)
			continue;
		chunk++;
		if (!begun)
			chunk = zm_next_dirty_chunk(zm->regions, chunk);
		WRITE_ONCE(rs->prezero_chunk, chunk);
		if (nr && op[nr - 1].end - op[0].start >= ZM_PREZERO_SECTORS)
			break;
	}
	return nr;
}

/* Returns 0 or a negative error number. */
static int zm_prezero_range(struct zmirror *zm, sector_t start, sector_t end)
{
	sector_t at, piece;
	int r = 0;

	for (at = start; at < end && !r; at = piece) {
		enum zm_zero_how how = zm_zero_how(zm, at, end, &piece);

		/* What is written is little: the ends of granules. */
		if (how == ZM_ZERO_PAGES)
			zm_rate_charge(&zm->rate, piece - at);
		r = zm_zero_dest(zm, zm->resync->io, how, at, piece, NULL,
				 NULL);
	}
	return r;
}

/*
 * What the destination cannot do, or not in this way, is left to resync, which
 * finds another way or that the destination has failed.
 */
static void zm_prezero_give_up(struct zmirror *zm, const char *why)
{
	DMWARN("%s: prezero given up: destination %s %s",
	       dm_table_device_name(zm->ti->table), zm->dest.dev->name, why);
	WRITE_ONCE(zm->resync->prezero_chunk, zm_nr_chunks(zm));
}

static void zm_prezero_batch(struct zmirror *zm, unsigned int nr)
{
	struct zm_op *op = zm->resync->prezero_ops;
	sector_t start = op[0].start, end = op[nr - 1].end;
	unsigned int i;
	int r;

	r = zm_prezero_range(zm, start, end);
	if (r)
		zm_prezero_give_up(zm, "cannot be zeroed");
	else
		atomic64_add(end - start, &zm->stats.zeroed);
	for (i = 0; i < nr; i++)
		zm_prezero_end(zm->regions, &op[i], !r);
}

static void zm_prezero_work(struct work_struct *work)
{
	struct zm_resync *rs = container_of(work, struct zm_resync, prezero);
	struct zmirror *zm = rs->zm;
	unsigned int nr;

	if (zm_prezero_due(zm) && !zm_zero_cheap(zm))
		zm_prezero_give_up(zm, "has no fast way to zero");

	while (zm_resync_running(zm) && zm_prezero_due(zm)) {
		nr = zm_prezero_pick(zm);
		if (nr)
			zm_prezero_batch(zm, nr);
		else if (zm_frozen(zm->regions))
			schedule_timeout_idle(1);
		cond_resched();
	}
	zm_resync_kick(zm);
}

/*
 * ------------------------------------------------------------------------
 * Jobs
 * ------------------------------------------------------------------------
 */

/*
 * Copies what the job's operation covers. It is given up in the middle when
 * resync is to stop, or all requests are held, so that nobody has to wait for a region
 * of 1 GiB.
 */
static void zm_job_copy(struct zm_job *job)
{
	struct zm_resync *rs = job->zm->resync;
	struct zm_op *op = &job->op;
	sector_t at;

	job->copied = op->touch;
	job->zeroes = op->touch;
	job->lost = 0;
	job->dest_failed = false;
	job->stopped = false;
	job->dest_status = BLK_STS_IOERR;
	job->zero_start = 0;
	job->zero_end = 0;

	for (at = op->start; at < op->end; at = job->end) {
		unsigned long failed;

		job->start = at;
		job->end = min(at + rs->batch_sectors, op->end);
		job->nr_units = DIV_ROUND_UP((u32)(job->end - at),
					     rs->unit_sectors);

		if (zm_job_goes_on(job))
			failed = zm_copy_batch(job);
		else
			failed = GENMASK(job->nr_units - 1, 0);
		job->copied &= ~zm_units_regions(job, failed);
	}
	zm_make_last_zero(job);
}

/* Regions could not be read: they are left out, or resync stops. */
static void zm_job_lost(struct zm_job *job)
{
	struct zmirror *zm = job->zm;

	atomic64_inc(&zm->stats.source_errors);
	/* Pairs with zm_set_on_source_error(). */
	if (!smp_load_acquire(&zm->skip)) {
		/* Of those that fail together one tells. */
		if (!xchg(&zm->source_failed, true))
			zm_event(zm, ZM_EVENT_SOURCE_FAILED);
	} else if (zm_copy_unread(zm->regions, &job->op, job->lost)) {
		zm_event(zm, ZM_EVENT_UNREAD);
	}
}

/* Ends the job's operation; returns the regions that are to be copied again. */
static u64 zm_job_end(struct zm_job *job)
{
	struct zmirror *zm = job->zm;
	u64 raced;

	if (job->lost)
		zm_job_lost(job);
	if (job->dest_failed)
		zm_dest_error(zm, job->op.generation, job->dest_status);

	zm_op_ended(zm, zm_copy_end(zm->regions, &job->op, job->copied,
				    job->zeroes, &raced));
	return raced;
}

/*
 * Copies regions again whose first copy raced with a write. One at a time, for
 * as long as it takes writes to its region wait. A region that was not told
 * apart, because resync is to stop, just stays dirty.
 */
static void zm_job_again(struct zm_job *job, u64 raced)
{
	struct zmirror *zm = job->zm;
	u32 chunk = job->op.chunk;

	while (raced && zm_resync_running(zm)) {
		unsigned int bit = __ffs64(raced);

		raced &= raced - 1;
		reinit_completion(&job->begun);
		switch (zm_copy_again(zm->regions, &job->op, chunk, bit)) {
		case ZM_AGAIN_NONE:
			continue;
		case ZM_AGAIN_WAITS:
			wait_for_completion(&job->begun);
			break;
		case ZM_AGAIN_BEGUN:
			break;
		}
		zm_job_copy(job);
		zm_job_end(job);
	}
}

/* Sectors that resync has got over, one way or another. */
static u64 zm_progress(const struct zmirror *zm)
{
	return atomic64_read(&zm->stats.copied) +
	       atomic64_read(&zm->stats.zeroed) +
	       atomic64_read(&zm->stats.skipped);
}

/* Regions that resync is to copy: not those that it has left out. */
static u32 zm_regions_left(const struct zmirror *zm)
{
	u32 dirty = zm_regions_dirty(zm->regions);

	return dirty - min(dirty, zm_regions_unread(zm->regions));
}

/*
 * In auto mode, ends async mode when what is dirty would be copied in ZM_AUTO_NS at
 * the pace of late, or when it has not become less for ZM_STUCK_NS, for as much is
 * written. From then on what is written is on the destination at once, so that
 * resync comes to an end however much that is.
 */
static void zm_auto_mode(struct zmirror *zm)
{
	struct zm_resync *rs = zm->resync;
	u64 now = ktime_get_ns(), passed = now - rs->metered, done, left;

	if (!READ_ONCE(zm->auto_mode) || !READ_ONCE(zm->async) ||
	    passed < ZM_METER_NS)
		return;
	done = zm_progress(zm) - rs->progress;
	left = (u64)zm_regions_left(zm) * rs->region_sectors;
	rs->metered = now;
	rs->progress += done;

	/* The first time, and after a break, there is no pace. */
	if (passed > 2 * ZM_AUTO_NS || left < rs->least) {
		rs->least = left;
		rs->least_at = now;
	}
	if (now - rs->least_at > ZM_STUCK_NS ||
	    (passed <= 2 * ZM_AUTO_NS &&
	     left <= div64_u64(done * ZM_AUTO_NS, passed)))
		zm_auto_async(zm, false);
}

/* Nothing is left to copy. */
static void zm_auto_mode_end(struct zmirror *zm)
{
	if (READ_ONCE(zm->auto_mode) && !zm_regions_left(zm))
		zm_auto_async(zm, false);
}

static void zm_job_measure(struct zm_job *job)
{
	struct zmirror *zm = job->zm;

	if (job->index)
		return;
	zm_meter_tick(&zm->writing, atomic64_read(&zm->stats.copied));
	zm_meter_tick(&zm->reading, atomic64_read(&zm->stats.read));
	zm_auto_mode(zm);
}

void zm_resync_ready(struct zm_op *op)
{
	complete(&container_of(op, struct zm_job, op)->begun);
}

/*
 * Begins the next run of dirty regions, from where the last one ended, once
 * around the mirror. The lock is held all the way, but only chunks with a dirty
 * region are looked at, and few of them are all taken by other jobs.
 */
static bool zm_job_pick(struct zm_job *job)
{
	struct zmirror *zm = job->zm;
	struct zm_resync *rs = zm->resync;
	u32 nr_chunks = zm_nr_chunks(zm);
	unsigned int from, turn;
	bool found = false;
	u32 chunk, stop;

	mutex_lock(&rs->walk);
	chunk = zm_next_dirty_chunk(zm->regions, rs->chunk);
	from = chunk == rs->chunk ? rs->bit : 0;
	stop = rs->chunk;
	for (turn = 0; turn < 2 && !found; turn++) {
		for (; chunk < nr_chunks && (!turn || chunk <= stop) && !found;
		     chunk = zm_next_dirty_chunk(zm->regions, chunk + 1)) {
			found = zm_copy_begin(zm->regions, &job->op, chunk,
					      from, zm_job_regions(zm));
			from = 0;
		}
		chunk = zm_next_dirty_chunk(zm->regions, 0);
	}
	if (found) {
		rs->chunk = job->op.chunk;
		rs->bit = fls64(job->op.touch);
		if (rs->bit == ZM_CHUNK_REGIONS) {
			rs->bit = 0;
			rs->chunk = (rs->chunk + 1) % nr_chunks;
		}
	}
	mutex_unlock(&rs->walk);
	return found;
}

/*
 * A job that finds nothing to copy ends. A region that is dirty then is under
 * copy by another job, which looks again before it ends itself, or leaves that to
 * the first one; or it becomes dirty later, which kicks the first job.
 *
 * Each job sees to it that the next one runs if it may: at first, and again once
 * the mirror is not in use any more. The first one always may.
 */
static void zm_job_work(struct work_struct *work)
{
	struct zm_job *job = container_of(work, struct zm_job, work);
	struct zmirror *zm = job->zm;
	struct zm_resync *rs = zm->resync;
	u32 now, before = 0;

	while (zm_resync_running(zm) && !zm_prezero_due(zm)) {
		now = zm_jobs_now(zm);
		if (job->index >= now) {
			zm_resync_kick(zm);
			break;
		}
		if (!zm_job_pick(job)) {
			zm_auto_mode_end(zm);
			break;
		}
		if (job->index + 1 < now && before != now)
			queue_work(rs->wq, &rs->jobs[job->index + 1]->work);
		before = now;

		zm_job_copy(job);
		zm_job_again(job, zm_job_end(job));
		zm_job_measure(job);
		cond_resched();
	}
}

void zm_resync_kick(struct zmirror *zm)
{
	struct zm_resync *rs = zm->resync;

	if (zm_resync_running(zm))
		queue_work(rs->wq, zm_prezero_due(zm) ? &rs->prezero :
							&rs->jobs[0]->work);
}

void zm_resync_drain(struct zmirror *zm)
{
	u32 i;

	flush_work(&zm->resync->prezero);
	for (i = 0; i < zm->resync->nr; i++)
		flush_work(&zm->resync->jobs[i]->work);
	flush_work(&zm->event_work);
	cancel_delayed_work_sync(&zm->retry_work);
	flush_work(&zm->sync_work);
}

bool zm_resync_flush_dest(struct zmirror *zm)
{
	struct dm_io_region where = zm_where(&zm->dest, 0, 0);
	struct dm_io_request req = {
		.bi_opf = REQ_OP_WRITE | REQ_PREFLUSH,
		.mem.type = DM_IO_KMEM,
		.mem.ptr.addr = NULL,
		.client = zm->resync->io,
	};
	struct zm_flush flush;

	zm_flush_begin(zm->regions, &flush);
	if (!zm_dm_io(&req, &where))
		return zm_flush_end(zm->regions, &flush);
	zm_dest_error(zm, flush.generation, BLK_STS_IOERR);
	return false;
}

/*
 * ------------------------------------------------------------------------
 * Making and freeing
 * ------------------------------------------------------------------------
 */

static void zm_job_free(struct zm_job *job)
{
	vfree(job->buffer);
	kfree(job);
}

static struct zm_job *zm_job_alloc(struct zmirror *zm, u32 index)
{
	struct zm_job *job = kzalloc(sizeof(*job), GFP_KERNEL);

	if (!job)
		return NULL;
	job->buffer = vmalloc(ZM_BUFFER_SECTORS << SECTOR_SHIFT);
	if (!job->buffer) {
		zm_job_free(job);
		return NULL;
	}
	job->zm = zm;
	job->index = index;
	INIT_WORK(&job->work, zm_job_work);
	init_completion(&job->begun);
	init_completion(&job->done);
	return job;
}

int zm_resync_set_jobs(struct zmirror *zm, u32 jobs)
{
	struct zm_resync *rs = zm->resync;

	for (; rs->nr < jobs; rs->nr++) {
		rs->jobs[rs->nr] = zm_job_alloc(zm, rs->nr);
		if (!rs->jobs[rs->nr])
			return -ENOMEM;
	}

	/* A job that sees the new number sees the jobs as well. */
	smp_store_release(&zm->jobs, jobs);
	return 0;
}

static void zm_resync_geometry(struct zm_resync *rs, u32 region_sectors,
			       u32 block_sectors, u32 granule)
{
	rs->region_sectors = region_sectors;
	rs->unit_sectors = min(region_sectors, ZM_UNIT_SECTORS);
	rs->block_sectors = max(ZM_HEAD_SECTORS, block_sectors);
	rs->head_sectors = rs->block_sectors;
	rs->granule = granule;
	rs->heads = rs->unit_sectors >= rs->head_sectors * ZM_HEAD_SHARE;
	rs->batch_sectors = rs->heads ? ZM_JOB_SECTORS : ZM_BUFFER_SECTORS;
	rs->prezero_regions = clamp(ZM_PREZERO_SECTORS / region_sectors, 1U,
				    ZM_CHUNK_REGIONS);
}

void zm_resync_adopt(struct zmirror *zm, const struct zmirror *old)
{
	if (!old->prezero)
		return;
	zm->resync->prezero_chunk = old->resync->prezero_chunk;
	zm->resync->prezero_bit = old->resync->prezero_bit;
}

int zm_resync_init(struct zmirror *zm)
{
	struct zm_resync *rs = kzalloc(sizeof(*rs), GFP_KERNEL);

	if (!rs)
		return -ENOMEM;
	zm->resync = rs;
	rs->zm = zm;
	INIT_WORK(&rs->prezero, zm_prezero_work);
	mutex_init(&rs->walk);
	zm_resync_geometry(rs, zm->region_sectors, zm_block_sectors(zm),
			   zm_zero_granule(zm));

	rs->io = dm_io_client_create();
	if (IS_ERR(rs->io)) {
		int r = PTR_ERR(rs->io);

		rs->io = NULL;
		return r;
	}
	rs->kcopyd = dm_kcopyd_client_create(&dm_kcopyd_throttle);
	if (IS_ERR(rs->kcopyd)) {
		int r = PTR_ERR(rs->kcopyd);

		rs->kcopyd = NULL;
		return r;
	}
	rs->wq = alloc_workqueue("zmirror-resync", WQ_UNBOUND | WQ_MEM_RECLAIM,
				 ZM_MAX_JOBS + ZM_OTHER_WORK);
	if (!rs->wq)
		return -ENOMEM;
	zm->event_wq = rs->wq;
	return zm_resync_set_jobs(zm, zm->jobs);
}

void zm_resync_exit(struct zmirror *zm)
{
	struct zm_resync *rs = zm->resync;
	u32 i;

	if (!rs)
		return;
	/*
	 * A removal does not wait for a message before it drains: one that has set
	 * on_dest_error:retry since may have queued this.
	 */
	if (rs->wq) {
		cancel_delayed_work_sync(&zm->retry_work);
		destroy_workqueue(rs->wq);
	}
	for (i = 0; i < rs->nr; i++)
		zm_job_free(rs->jobs[i]);
	if (rs->kcopyd)
		dm_kcopyd_client_destroy(rs->kcopyd);
	if (rs->io)
		dm_io_client_destroy(rs->io);
	kfree(rs);
	zm->resync = NULL;
}
