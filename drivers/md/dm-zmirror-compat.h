/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What differs between the kernels that dm-zmirror is built for, from 6.1 on.
 * No other file knows of it. Differences are told by what a header has, where
 * that is no macro by the Makefile, and not by version numbers, for
 * distributions take changes back to older kernels. In the kernel's own tree
 * this file shrinks to nothing.
 */
#ifndef DM_ZMIRROR_COMPAT_H
#define DM_ZMIRROR_COMPAT_H

#include <linux/blkdev.h>
#include <linux/device-mapper.h>
#include <linux/dm-io.h>
#include <linux/ioprio.h>

/* Where get_unaligned() is has changed with 6.12. */
#ifdef ZM_LINUX_UNALIGNED
#include <linux/unaligned.h>
#else
#include <asm/unaligned.h>
#endif

/*
 * Modes in which block devices are opened have been a type of their own since
 * 6.5, and a flag of the same meaning.
 */
#ifndef BLK_OPEN_WRITE
#define BLK_OPEN_WRITE FMODE_WRITE
#endif

/* Newer kernels have a status of its own for a request that is out of line. */
#ifndef BLK_STS_INVAL
#define BLK_STS_INVAL BLK_STS_NOTSUPP
#endif

/**
 * zm_want_stable_pages - ask that a page is not changed while it is written
 * @ti: the target
 * @limits: limits of the mapped device, or NULL in the constructor
 *
 * Two legs read the same page, and must read the same.
 */
static inline void zm_want_stable_pages(struct dm_target *ti,
					struct queue_limits *limits)
{
#ifdef BLK_FEAT_STABLE_WRITES
	if (limits)
		limits->features |= BLK_FEAT_STABLE_WRITES;
#elif defined(ZM_NEEDS_STABLE_WRITES)
	ti->needs_stable_writes = true;
#endif
}

/**
 * zm_stable_pages_at_resume - the same, where a target cannot ask for it
 * @ti: the target, whose table is live
 *
 * In 6.1 up to 6.1.187 at least device-mapper goes by the devices below alone, when
 * it makes a table live; what is set after that stays until the next one. Nothing is
 * written while the device is suspended.
 *
 * Context: the device is being resumed.
 */
static inline void zm_stable_pages_at_resume(struct dm_target *ti)
{
#if !defined(BLK_FEAT_STABLE_WRITES) && !defined(ZM_NEEDS_STABLE_WRITES)
	struct gendisk *disk = dm_disk(dm_table_get_md(ti->table));

	blk_queue_flag_set(QUEUE_FLAG_STABLE_WRITES, disk->queue);
#endif
}

/**
 * zm_keep_write_zeroes - take over the write-zeroes limits
 * @to: limits in which they are set
 * @from: limits from which they are taken
 */
static inline void zm_keep_write_zeroes(struct queue_limits *to,
					const struct queue_limits *from)
{
	to->max_write_zeroes_sectors = from->max_write_zeroes_sectors;
#ifdef ZM_WZEROES_UNMAP
	to->max_hw_wzeroes_unmap_sectors = from->max_hw_wzeroes_unmap_sectors;
	to->max_user_wzeroes_unmap_sectors =
		from->max_user_wzeroes_unmap_sectors;
#endif
}

/**
 * zm_discard_misaligned - whether nobody knows where granules begin
 * @bdev: a device
 *
 * It is made of devices whose granules do not fit together. Newer kernels do not
 * tell.
 */
static inline bool zm_discard_misaligned(struct block_device *bdev)
{
#ifdef ZM_DISCARD_MISALIGNED
	return bdev_get_queue(bdev)->limits.discard_misaligned;
#else
	return false;
#endif
}

/**
 * zm_mark_single - spare a bio the walk for where to split it
 * @bio: a bio with data
 *
 * Before 7.0, bio_may_need_split() (block/blk.h) takes only a bio for short that
 * has one vector in a table of its own, by bi_vcnt, which clones leave 0; later
 * it goes by the iterator, as here.
 *
 * Context: any.
 * Return: true when all its data is in the first vector.
 */
static inline bool zm_mark_single(struct bio *bio)
{
	if (bio->bi_iter.bi_idx || bio->bi_iter.bi_size !=
	    mp_bvec_iter_len(bio->bi_io_vec, bio->bi_iter))
		return false;
	bio->bi_vcnt = 1;
	return true;
}

/*
 * The arguments of what dm_io calls when a request has ended, whether any
 * part of the request failed, and whether it is known that this is because the device
 * does not support it, which only newer kernels tell.
 */
#ifdef ZM_DM_IO_UNSUP
#define ZM_IO_NOTIFY_ARGS	\
	unsigned long failed, unsigned long unsupported, void *context
#define ZM_IO_FAILED		(failed | unsupported)
#define ZM_IO_UNSUPPORTED	(!failed && unsupported)
#else
#define ZM_IO_NOTIFY_ARGS	unsigned long failed, void *context
#define ZM_IO_FAILED		(failed)
#define ZM_IO_UNSUPPORTED	false
#endif

/**
 * zm_dm_io - dm_io() for one range of one device
 * @req: the request
 * @where: the range
 *
 * Context: may sleep.
 * Return: 0, or the error of a synchronous request.
 */
static inline int zm_dm_io(struct dm_io_request *req,
			   struct dm_io_region *where)
{
#ifdef ZM_DM_IO_UNSUP
	return dm_io(req, 1, where, NULL, NULL, IOPRIO_DEFAULT);
#else
	return dm_io(req, 1, where, NULL, IOPRIO_DEFAULT);
#endif
}

#endif
