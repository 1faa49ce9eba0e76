/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The start of a mirror.
 */
#ifndef ZMIRROR_START_H
#define ZMIRROR_START_H

#include "dest.h"
#include "mirror.h"
#include "plan.h"

#define ZM_MOST_FEATURES	32

/**
 * struct zm_start - how a mirror is wanted
 * @name: the device that is mirrored, as the user says
 * @dest: the destination, as the user says
 * @dest_is_zero: the user's promise
 * @prezero: zero the destination first
 * @paused: do not resync yet
 * @region_sectors: 0 for the kernel's choice
 * @hints: a file of ranges that the source has as zeroes, or NULL
 * @want_hints: keep the mirror paused, until the verb hint has told what is zero
 * @no_hints: do not ask the source's thin pool either
 * @features: more of them, as the table has them: "jobs:4"
 * @nr_features: how many
 */
struct zm_start {
	const char *name;
	const char *dest;
	bool dest_is_zero;
	bool prezero;
	bool paused;
	uint64_t region_sectors;
	const char *hints;
	bool want_hints;
	bool no_hints;
	const char *features[ZM_MOST_FEATURES];
	size_t nr_features;
};

/**
 * zm_start_option - take an option of start, for verbs that start
 * @start: where it goes
 * @option: its value in zm_start_options
 * @value: its argument, or NULL
 *
 * Return: ZM_OK, or ZM_USAGE having told why.
 */
int zm_start_option(struct zm_start *start, int option, const char *value);

/* The options, for getopt_long(); verbs put their own beside them. */
#define ZM_START_OPTIONS \
	{ "dest-is-zero", no_argument, NULL, 'z' }, \
	{ "prezero", no_argument, NULL, 'p' }, \
	{ "region", required_argument, NULL, 'r' }, \
	{ "hints", required_argument, NULL, 'H' }, \
	{ "no-hints", no_argument, NULL, 'N' }, \
	{ "set", required_argument, NULL, 's' }, \
	{ "force", no_argument, NULL, 'f' }

/**
 * zm_start_table - the table of a mirror
 * @start: what the user wants
 * @dest: what is known of the destination
 * @origin: the private device's path, or number
 * @sectors: the mirror's length
 * @hints: there will be hints
 * @table: is filled
 */
void zm_start_table(const struct zm_start *start, const struct zm_dest *dest,
		    const char *origin, uint64_t sectors, bool hints,
		    struct zm_table *table);

/**
 * zm_start_run - start a mirror
 * @start: how
 * @dest_dev: the destination's number goes there; may be NULL
 *
 * Return: ZM_OK, also if it is there already; or, having told why, another exit code;
 * then all is as it was.
 */
int zm_start_run(const struct zm_start *start, dev_t *dest_dev);

#endif
