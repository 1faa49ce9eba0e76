// SPDX-License-Identifier: GPL-2.0-only
/*
 * Finding zeroes, and making them on the destination; see dm-zmirror-zero.h.
 */
#include "dm-zmirror-zero.h"
#include "dm-zmirror-compat.h"

#include <linux/align.h>
#include <linux/blkdev.h>
#include <linux/dm-io.h>
#include <linux/highmem.h>
#include <linux/math64.h>

/*
 * ------------------------------------------------------------------------
 * Zeroes in what is written
 * ------------------------------------------------------------------------
 */

/*
 * memchr_inv() tests each word, which makes a look at zeroes 2.5 times as long as
 * this. What is not aligned, or is left at the end, it may do.
 */
bool zm_is_zero(const void *data, size_t len)
{
	const u64 *p = data;

	if (!IS_ALIGNED((unsigned long)data, sizeof(*p)))
		return !memchr_inv(data, 0, len);
	for (; len >= 16 * sizeof(*p); p += 16, len -= 16 * sizeof(*p))
		if (p[0] | p[1] | p[2] | p[3] | p[4] | p[5] | p[6] | p[7] |
		    p[8] | p[9] | p[10] | p[11] | p[12] | p[13] | p[14] | p[15])
			return false;
	return !memchr_inv(p, 0, len);
}

static bool zm_bvec_is_zero(const struct bio_vec *bv)
{
	const void *data = bvec_kmap_local((struct bio_vec *)bv);
	bool zero = zm_is_zero(data, bv->bv_len);

	kunmap_local(data);
	return zero;
}

bool zm_payload_is_zero(struct bio *bio, struct bvec_iter iter)
{
	struct bvec_iter at;
	struct bio_vec bv;

	__bio_for_each_segment(bv, bio, at, iter)
		if (!zm_bvec_is_zero(&bv))
			return false;
	return true;
}

/*
 * ------------------------------------------------------------------------
 * Zeroes on the destination
 * ------------------------------------------------------------------------
 */

#define ZM_PAGES_SECTORS	8192U	/* 4 MiB of pages in one request */

static bool zm_asks(const struct zmirror *zm)
{
	return !READ_ONCE(zm->no_write_zeroes) &&
	       bdev_write_zeroes_sectors(zm->dest.dev->bdev);
}

/*
 * The most that one discard may have: whole granules, for what lies below may
 * cut it anywhere if it is longer, and leave out the granule that it cuts.
 */
static sector_t zm_most_discard(const struct zmirror *zm)
{
	struct block_device *bdev = zm->dest.dev->bdev;
	u32 granule = zm_zero_granule(zm);
	u32 most = bdev_max_discard_sectors(bdev);

	if (!zm->discard_zeroes || READ_ONCE(zm->no_discard_zeroes) ||
	    zm_discard_misaligned(bdev))
		return 0;
	return most - most % granule;
}

u32 zm_zero_granule(const struct zmirror *zm)
{
	u32 granule = bdev_discard_granularity(zm->dest.dev->bdev);

	return zm->discard_zeroes ? max(granule >> SECTOR_SHIFT, 1U) : 1;
}

bool zm_zero_cheap(const struct zmirror *zm)
{
	return zm_asks(zm) || zm_most_discard(zm);
}

/* How far a sector of the destination is behind the start of its granule. */
static u32 zm_past_granule(const struct zmirror *zm, sector_t sector)
{
	struct block_device *bdev = zm->dest.dev->bdev;
	u32 granule = zm_zero_granule(zm);
	u32 align = (bdev_discard_alignment(bdev) >> SECTOR_SHIFT) % granule;
	u32 past;

	div_u64_rem(sector + granule - align, granule, &past);
	return past;
}

/*
 * Where the whole granules from @start to @end begin and end; nothing is in
 * between when there is none.
 */
static void zm_whole_granules(const struct zmirror *zm, sector_t start,
			      sector_t end, sector_t *first, sector_t *last)
{
	u32 past = zm_past_granule(zm, zm->dest.start + start);
	u32 left = zm_past_granule(zm, zm->dest.start + end);

	*first = past ? start + zm_zero_granule(zm) - past : start;
	*last = end - start > left ? end - left : start;
	if (*first >= *last)
		*first = *last = end;
}

enum zm_zero_how zm_zero_how(const struct zmirror *zm, sector_t start,
			     sector_t end, sector_t *piece)
{
	sector_t most = zm_most_discard(zm);
	sector_t first, last;

	*piece = end;
	if (most) {
		zm_whole_granules(zm, start, end, &first, &last);
		if (first == start && start < end) {
			*piece = min(last, start + most);
			return ZM_ZERO_DISCARD;
		}
		*piece = first;
	}
	if (zm_asks(zm))
		return ZM_ZERO_ASKED;
	*piece = min_t(sector_t, *piece, start + ZM_PAGES_SECTORS);
	return ZM_ZERO_PAGES;
}

bool zm_zero_offered(const struct zmirror *zm, bool zeroes)
{
	struct block_device *bdev = zm->dest.dev->bdev;

	return zeroes && !zm->discard_zeroes ? bdev_write_zeroes_sectors(bdev) :
					       bdev_max_discard_sectors(bdev);
}

void zm_zero_refused(struct zmirror *zm, enum zm_zero_how how)
{
	if (how == ZM_ZERO_DISCARD)
		WRITE_ONCE(zm->no_discard_zeroes, true);
	else
		WRITE_ONCE(zm->no_write_zeroes, true);
}

blk_opf_t zm_zero_opf(const struct zmirror *zm, enum zm_zero_how how)
{
	switch (how) {
	case ZM_ZERO_DISCARD:
		return REQ_OP_DISCARD;
	case ZM_ZERO_PAGES:
		return REQ_OP_WRITE;
	default:
		return REQ_OP_WRITE_ZEROES | (zm->no_unmap ? REQ_NOUNMAP : 0);
	}
}

int zm_zero_dest(struct zmirror *zm, struct dm_io_client *client,
		 enum zm_zero_how how, sector_t start, sector_t end,
		 io_notify_fn fn, void *context)
{
	struct dm_io_region where = {
		.bdev = zm->dest.dev->bdev,
		.sector = zm->dest.start + start,
		.count = end - start,
	};
	struct dm_io_request req = {
		.bi_opf = zm_zero_opf(zm, how),
		.mem.type = DM_IO_PAGE_LIST,
		.mem.ptr.pl = &zm->zeroes,
		.notify.fn = fn,
		.notify.context = context,
		.client = client,
	};

	return zm_dm_io(&req, &where);
}
