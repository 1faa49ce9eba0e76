/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Finding zeroes, and making them on the destination.
 */
#ifndef DM_ZMIRROR_ZERO_H
#define DM_ZMIRROR_ZERO_H

#include <linux/bio.h>

#include "dm-zmirror.h"

/**
 * zm_payload_is_zero - whether what a bio writes is all zero
 * @bio: a bio with data
 * @iter: where its payload is; not changed, so that it may be asked again when
 *	the bio has ended
 *
 * Stops at the first byte that is not zero.
 *
 * Context: any.
 * Return: true when it is.
 */
bool zm_payload_is_zero(struct bio *bio, struct bvec_iter iter);

/**
 * zm_dest_zeroes - whether the destination can zero by itself
 * @zm: the mirror
 *
 * Context: any.
 * Return: true when it takes REQ_OP_WRITE_ZEROES.
 */
bool zm_dest_zeroes(const struct zmirror *zm);

/**
 * zm_zero_opf - the request that zeroes the destination
 * @zm: the mirror
 *
 * Context: any.
 * Return: REQ_OP_WRITE_ZEROES, which deallocates unless the table forbids it.
 */
blk_opf_t zm_zero_opf(const struct zmirror *zm);

#endif
