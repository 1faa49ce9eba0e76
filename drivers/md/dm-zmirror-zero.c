// SPDX-License-Identifier: GPL-2.0-only
/*
 * Finding zeroes, and making them on the destination; see dm-zmirror-zero.h.
 */
#include "dm-zmirror-zero.h"

#include <linux/blkdev.h>
#include <linux/highmem.h>
#include <linux/string.h>

static bool zm_bvec_is_zero(const struct bio_vec *bv)
{
	const void *data = bvec_kmap_local((struct bio_vec *)bv);
	bool zero = !memchr_inv(data, 0, bv->bv_len);

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

bool zm_dest_zeroes(const struct zmirror *zm)
{
	return bdev_write_zeroes_sectors(zm->dest.dev->bdev);
}

blk_opf_t zm_zero_opf(const struct zmirror *zm)
{
	return REQ_OP_WRITE_ZEROES | (zm->no_unmap ? REQ_NOUNMAP : 0);
}
