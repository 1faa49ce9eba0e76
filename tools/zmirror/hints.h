/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What is known to be zero on a source: by its thin pool, or by a file.
 */
#ifndef ZMIRROR_HINTS_H
#define ZMIRROR_HINTS_H

#include "dm.h"
#include "mirror.h"

/**
 * struct zm_ranges - ranges of sectors, in ascending order, apart from each other
 * @at: pairs of a start and an end
 * @nr: how many
 */
struct zm_ranges {
	struct { uint64_t start, end; } *at;
	size_t nr;
};

/** zm_ranges_add - add a range; the caller sorts them, or adds them in order */
void zm_ranges_add(struct zm_ranges *ranges, uint64_t start, uint64_t end);
void zm_ranges_free(struct zm_ranges *ranges);

/**
 * zm_ranges_invert - what is not in some ranges
 * @ranges: in any order, they may overlap; sorted afterwards
 * @sectors: the length of it all
 * @rest: is filled
 */
void zm_ranges_invert(struct zm_ranges *ranges, uint64_t sectors,
		      struct zm_ranges *rest);

/**
 * zm_ranges_read - read ranges from a file
 * @path: the file: a start and a length a line, in sectors or with KiB, MiB, GiB, TiB;
 *	what follows a # is a comment
 * @sectors: no range may be beyond
 * @ranges: is filled
 *
 * Return: ZM_OK; or, having told the line, ZM_USAGE; or ZM_FAILED.
 */
int zm_ranges_read(const char *path, uint64_t sectors, struct zm_ranges *ranges);

/**
 * zm_thin_mapped - read what thin_dump tells of a volume
 * @line: one line of its XML
 * @chunk: the pool's block, in sectors
 * @ranges: what the line maps is added
 *
 * Return: whether it is understood; a line that maps nothing is.
 */
bool zm_thin_mapped(const char *line, uint64_t chunk, struct zm_ranges *ranges);

/**
 * zm_hints_possible - whether the pool of a source can tell
 * @table: the source's table
 *
 * Return: whether it is one thin volume, without an external origin, from its start.
 */
bool zm_hints_possible(const struct zm_table *table);

/**
 * zm_hints_pool - have the pool of a source tell what is not mapped
 * @table: the source's table
 * @zero: ranges that read as zeroes are added
 *
 * Reserves a snapshot of the pool's metadata, has thin_dump read it, and releases it.
 *
 * Return: ZM_OK; or, having told why, another exit code.
 */
int zm_hints_pool(const struct zm_table *table, struct zm_ranges *zero);

/**
 * zm_hints_drop_left - release the snapshot that a command which was killed has reserved
 * @table: the source's table; nothing is done where its pool has none, or somebody else's
 *
 * What goes wrong is told, and is no failure: the snapshot is in nobody's way but that of
 * others who want one.
 */
void zm_hints_drop_left(const struct zm_table *table);

/**
 * zm_hints_send - tell a mirror
 * @mirror: the mirror
 * @zero: what its source has as zeroes
 *
 * Only regions that are in a range as a whole are told.
 *
 * Return: ZM_OK, or ZM_FAILED having told why.
 */
int zm_hints_send(const struct zm_mirror *mirror, const struct zm_ranges *zero);

#endif
