/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What users write and read: numbers, sizes, durations, bars and maps. Nothing here
 * looks at a device or a terminal. All text that is made depends on its arguments only,
 * never on the locale.
 */
#ifndef ZMIRROR_FORMAT_H
#define ZMIRROR_FORMAT_H

#include <getopt.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mirror.h"

/* A short text by value, so that many can be arguments of one printf(). */
struct zm_text {
	char text[48];
};

/**
 * zm_take_number - read a decimal number at the start of a text
 * @at: the text; what follows the number afterwards
 * @number: the number
 *
 * Return: whether there is one, and it is less than 2^64.
 */
bool zm_take_number(const char **at, uint64_t *number);

/**
 * zm_parse_amount - read an amount such as "128", "64KiB" or "10GiB"
 * @text: what the user wrote
 * @unit: bytes that 1 stands for where no suffix is given
 * @amount: in units
 *
 * The suffixes are KiB, MiB, GiB and TiB, or their first letter.
 *
 * Return: whether it is one, is a multiple of the unit and less than 2^64 bytes.
 */
bool zm_parse_amount(const char *text, uint64_t unit, uint64_t *amount);

/**
 * zm_parse_seconds - read a time such as "5" or "0.5"
 * @text: what the user wrote
 * @seconds: the time
 *
 * Return: whether it is one, of at most a thousand million seconds.
 */
bool zm_parse_seconds(const char *text, double *seconds);

/**
 * zm_getopt - the next option of a verb, as getopt_long()
 * @argc: words
 * @argv: the words, the first one is the verb
 * @letters: the @val of those options that have a letter, too
 * @options: what the verb takes
 *
 * Return: a @val, -1 after the last one, or '?' having told what is wrong.
 */
int zm_getopt(int argc, char **argv, const char *letters,
	      const struct option *options);

/** zm_bytes - sectors in bytes; the most that there can be when that is too much */
uint64_t zm_bytes(uint64_t sectors);

/** zm_size - bytes, for people: "0 B", "64 KiB", "1.5 TiB"; what is over is cut */
struct zm_text zm_size(uint64_t bytes);

/** zm_short_size - as zm_size(), in one word for a column: "1.5TiB" */
struct zm_text zm_short_size(uint64_t bytes);

/** zm_rate - KiB a second, for people: "220 MiB/s" */
struct zm_text zm_rate(uint64_t kib);

/** zm_short_rate - as zm_rate(), in one word for a column: "220MiB/s" */
struct zm_text zm_short_rate(uint64_t kib);

/**
 * zm_percent - a share, for people
 * @done: this much
 * @total: of that
 *
 * What is over is cut, so that "100 %" means all, and "0 %" nothing.
 */
struct zm_text zm_percent(uint64_t done, uint64_t total);

/** zm_duration - seconds, for people: "2 h 13 min"; "unknown" below 0 */
struct zm_text zm_duration(double seconds);

/** zm_delay - microseconds, for people: "850 us", "1.2 ms" */
struct zm_text zm_delay(uint64_t microseconds);

/**
 * zm_printable - a name that is safe to print
 * @text: the name
 * @word: it must be one word, without quotes, too
 *
 * Return: it, with whatever is not printable ASCII as "\xHH", to be freed.
 */
char *zm_printable(const char *text, bool word);

/** zm_columns - columns that a text takes, each character being one wide */
size_t zm_columns(const char *text);

/** zm_cut - cut a text in place to at most so many columns */
void zm_cut(char *text, size_t columns);

/**
 * zm_bar - a bar
 * @columns: how long it is
 * @done: this much of it is full
 * @total: of that
 * @utf8: with block characters, to an eighth of a column
 *
 * Return: the bar, to be freed.
 */
char *zm_bar(size_t columns, uint64_t done, uint64_t total, bool utf8);

/**
 * zm_health_word - what a letter of the health means, for programs
 * @letter: as in the status
 *
 * Return: alive, failed, read_error, no_space, or unknown.
 */
const char *zm_health_word(char letter);

/** zm_health_text - what a letter of the health means, for people */
const char *zm_health_text(char letter);

/** zm_health - the health of both legs: "ok", "destination failed"... */
struct zm_text zm_health(const struct zm_status *status);

/**
 * struct zm_eta - how long something will take
 * @samples: how many there were
 * @since: when the first was, in seconds
 * @at: when the last was
 * @remaining: what was left then
 * @rate: of progress, smoothed over some 20 seconds, a second
 */
struct zm_eta {
	unsigned int samples;
	double since;
	double at;
	uint64_t remaining;
	double rate;
};

/**
 * zm_eta_add - take a sample
 * @eta: zeroed at first
 * @now: a clock, in seconds
 * @remaining: what is left
 */
void zm_eta_add(struct zm_eta *eta, double now, uint64_t remaining);

/** zm_eta_left - seconds that are left, or -1 when nobody knows */
double zm_eta_left(const struct zm_eta *eta);

/**
 * zm_line - how a mirror is, in one line
 * @mirror: the mirror
 * @left: seconds, or -1
 *
 * Return: the line, to be freed.
 */
char *zm_line(const struct zm_mirror *mirror, double left);

/**
 * zm_bar_line - a name, a bar and what is to be said of it, in one line
 * @name: before the bar
 * @done: this much of the bar is full
 * @total: of that
 * @tail: after the bar
 * @columns: how wide the line may be; what does not fit is left out
 * @utf8: for zm_bar()
 *
 * Return: the line, to be freed.
 */
char *zm_bar_line(const char *name, uint64_t done, uint64_t total, const char *tail,
		  size_t columns, bool utf8);

/* Kinds of regions that a map shows. */
enum zm_map_kind {
	ZM_MAP_DIRTY,
	ZM_MAP_ZERO,
	ZM_MAP_MISMATCH,
	ZM_MAP_KINDS,
};

/* What a cell of a map shows. */
enum zm_cell {
	ZM_CELL_UNKNOWN,	/* nobody has looked there */
	ZM_CELL_CLEAN,
	ZM_CELL_ZERO,		/* clean, and at least half of it is known zero */
	ZM_CELL_COPYING,	/* fewer regions are dirty than were */
	ZM_CELL_PARTLY,		/* some regions are dirty */
	ZM_CELL_DIRTY,		/* all are */
	ZM_CELL_MISMATCH,
	ZM_CELLS,
};

/**
 * struct zm_map_cell - some regions that are next to each other
 * @seen: how many of them were looked at, of each kind
 * @found: how many of these are of that kind
 * @round: when that was
 * @before: how many were dirty in the round before, if all were looked at
 * @whole_before: all were
 */
struct zm_map_cell {
	uint64_t seen[ZM_MAP_KINDS];
	uint64_t found[ZM_MAP_KINDS];
	unsigned int round[ZM_MAP_KINDS];
	uint64_t before;
	bool whole_before;
};

/**
 * struct zm_map - a map of all regions
 * @total: regions
 * @cells: each shows some of them
 * @nr: how many cells
 * @round: counts how often it was drawn
 */
struct zm_map {
	uint64_t total;
	struct zm_map_cell *cells;
	size_t nr;
	unsigned int round;
};

/**
 * zm_map_init - make a map
 * @map: is filled
 * @total: regions, not 0
 * @nr: how many cells at most, not 0
 */
void zm_map_init(struct zm_map *map, uint64_t total, size_t nr);

/** zm_map_free - free what a map has */
void zm_map_free(struct zm_map *map);

/** zm_map_begin - begin a round: what is added from now on replaces what was */
void zm_map_begin(struct zm_map *map);

/**
 * zm_map_add - take in what was found
 * @map: the map
 * @kind: what was looked for
 * @first: the first region that was looked at
 * @count: how many were
 * @list: what was found, as zm_mirror_regions() tells
 *
 * Return: 0; or -1, with nothing changed, when the list is no such list, or is cut.
 */
int zm_map_add(struct zm_map *map, enum zm_map_kind kind, uint64_t first, uint64_t count,
	       const char *list);

/** zm_map_look - what a cell shows */
enum zm_cell zm_map_look(const struct zm_map *map, size_t cell);

/** zm_glyph - one column that stands for what a cell shows */
const char *zm_glyph(enum zm_cell cell, bool utf8);

/** zm_legend - what the glyphs mean, to be freed */
char *zm_legend(bool utf8);

/**
 * zm_word - one word as a shell reads it, in quotes if need be
 * @word: the word, such as a name in a command that users are told
 *
 * Return: it, which stays until the eighth call after this one.
 */
const char *zm_word(const char *word);

/** zm_print_word - a blank, and one word as a shell reads it, in quotes if need be */
void zm_print_word(const char *word);

/** zm_now - seconds of a clock that nobody sets */
double zm_now(void);

#endif
