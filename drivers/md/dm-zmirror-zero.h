/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Finding zeroes, and making them on the destination.
 */
#ifndef DM_ZMIRROR_ZERO_H
#define DM_ZMIRROR_ZERO_H

#include <linux/bio.h>
#include <linux/dm-io.h>
#include <linux/highmem.h>

#include "dm-zmirror.h"
#include "dm-zmirror-compat.h"

/**
 * zm_is_zero - whether memory is all zero
 * @data: where it begins
 * @len: its length, in bytes
 *
 * Stops within 128 bytes of the first one that is not zero.
 *
 * Context: any.
 * Return: true when it is.
 */
bool zm_is_zero(const void *data, size_t len);

/**
 * zm_payload_is_zero - whether what a bio writes is all zero
 * @bio: a bio with data
 * @iter: where its payload is; not changed, so that it may be asked again when
 *	the bio has ended
 *
 * Stops early, as zm_is_zero() does.
 *
 * Context: any.
 * Return: true when it is.
 */
bool zm_payload_is_zero(struct bio *bio, struct bvec_iter iter);

/**
 * zm_payload_has_data - whether a look shows that a bio writes more than zeroes
 * @bio: a bio with data
 * @single: it is known that all of that is in one vector
 *
 * Looks at the first eight bytes, which spares most writes zm_payload_is_zero().
 *
 * Context: any.
 * Return: true when they are not all zero; false tells nothing.
 */
static inline bool zm_payload_has_data(struct bio *bio, bool single)
{
	const struct bio_vec *vecs = bio->bi_io_vec;

	if (IS_ENABLED(CONFIG_HIGHMEM) ||
	    (!single && mp_bvec_iter_len(vecs, bio->bi_iter) < sizeof(u64)))
		return false;
	return get_unaligned((u64 *)
			     (page_address(mp_bvec_iter_page(vecs, bio->bi_iter)) +
			      mp_bvec_iter_offset(vecs, bio->bi_iter)));
}

/**
 * enum zm_zero_how - how a range of the destination is zeroed
 * @ZM_ZERO_ASKED: by REQ_OP_WRITE_ZEROES
 * @ZM_ZERO_DISCARD: by a discard of whole granules, which the table says will do
 * @ZM_ZERO_PAGES: by writing pages of zeroes
 */
enum zm_zero_how { ZM_ZERO_ASKED, ZM_ZERO_DISCARD, ZM_ZERO_PAGES };

/**
 * zm_zero_how - how the destination is to be zeroed from some sector on
 * @zm: the mirror
 * @start: first sector of the mirror
 * @end: the sector after the last one
 * @piece: the end of what is to be zeroed in that way, and in one request, is
 *	stored here
 *
 * The destination is asked for zeroes where it can make them. By discards, whole
 * granules are zeroed, and what is left at both ends in another way.
 *
 * Context: any.
 * Return: see &enum zm_zero_how.
 */
enum zm_zero_how zm_zero_how(const struct zmirror *zm, sector_t start,
			     sector_t end, sector_t *piece);

/**
 * zm_zero_offered - whether the destination still offers what it was asked for
 * @zm: the mirror
 * @zeroes: that was to write zeroes, and not to discard
 *
 * Context: any.
 * Return: true when it does.
 */
bool zm_zero_offered(const struct zmirror *zm, bool zeroes);

/**
 * zm_zero_refused - the destination cannot zero in a way that it had offered
 * @zm: the mirror
 * @how: the way, which is not taken any more
 *
 * Context: any.
 */
void zm_zero_refused(struct zmirror *zm, enum zm_zero_how how);

/**
 * zm_zero_cheap - whether the destination can be zeroed without writing it all
 * @zm: the mirror
 *
 * Context: any.
 * Return: true unless it takes pages of zeroes only.
 */
bool zm_zero_cheap(const struct zmirror *zm);

/**
 * zm_zero_granule - how much of the destination is unmapped together
 * @zm: the mirror
 *
 * Context: any.
 * Return: sectors of a discard's granule where zeroes are made by discards,
 * else 1.
 */
u32 zm_zero_granule(const struct zmirror *zm);

/**
 * zm_zero_opf - the request that zeroes the destination
 * @zm: the mirror
 * @how: the way in which it does
 *
 * Context: any.
 * Return: operation and flags; REQ_OP_WRITE_ZEROES deallocates unless the table
 * forbids it.
 */
blk_opf_t zm_zero_opf(const struct zmirror *zm, enum zm_zero_how how);

/**
 * zm_zero_dest - start to zero a range of the destination
 * @zm: the mirror
 * @client: what the request is allocated from
 * @how: the way, as zm_zero_how() has told for this range
 * @start: first sector of the mirror
 * @end: the sector after the last one
 * @fn: called when it has ended, or NULL to wait for that
 * @context: for @fn
 *
 * Context: may sleep, but only until other requests of @client have ended.
 * Return: 0, or a negative error number if there is no @fn.
 */
int zm_zero_dest(struct zmirror *zm, struct dm_io_client *client,
		 enum zm_zero_how how, sector_t start, sector_t end,
		 io_notify_fn fn, void *context);

#endif
