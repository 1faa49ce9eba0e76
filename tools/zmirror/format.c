// SPDX-License-Identifier: GPL-2.0-only
/*
 * What users write and read: numbers, sizes, durations, bars and maps. Fractions are
 * made of integers, as printf() would take the decimal point of the locale.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "format.h"
#include "zmirror.h"

#define ZM_SECTOR		512
#define ZM_ETA_SECONDS		20	/* of smoothing */

/*
 * ------------------------------------------------------------------------
 * What users write
 * ------------------------------------------------------------------------
 */

bool zm_take_number(const char **at, uint64_t *number)
{
	const char *digit = *at;
	uint64_t value = 0;

	for (; *digit >= '0' && *digit <= '9'; digit++)
		if (__builtin_mul_overflow(value, 10, &value) ||
		    __builtin_add_overflow(value, *digit - '0', &value))
			return false;
	if (digit == *at)
		return false;
	*at = digit;
	*number = value;
	return true;
}

/* Bytes that a suffix stands for, or 0. */
static uint64_t zm_suffix(const char *suffix)
{
	static const char letters[] = "KMGT";
	const char *letter;

	letter = *suffix ? strchr(letters, *suffix) : NULL;
	if (!letter || (suffix[1] && strcmp(suffix + 1, "iB")))
		return 0;
	return 1ULL << (10 * (letter - letters + 1));
}

bool zm_parse_amount(const char *text, uint64_t unit, uint64_t *amount)
{
	uint64_t number, scale, bytes;

	if (!zm_take_number(&text, &number))
		return false;
	scale = *text ? zm_suffix(text) : unit;
	if (!scale || __builtin_mul_overflow(number, scale, &bytes) || bytes % unit)
		return false;
	*amount = bytes / unit;
	return true;
}

bool zm_parse_seconds(const char *text, double *seconds)
{
	uint64_t whole, digits = 0;
	double part = 0, scale = 1;
	const char *dot;

	if (!zm_take_number(&text, &whole) || whole > 1000000000)
		return false;
	if (*text == '.') {
		dot = ++text;
		if (!zm_take_number(&text, &digits))
			return false;
		for (; dot < text; dot++)
			scale *= 10;
		part = digits / scale;
	}
	*seconds = whole + part;
	return !*text;
}

static int zm_bad_option(char **argv, int result)
{
	const char *word = argv[optind - 1];

	if (result == ':')
		zm_error(ZM_USAGE, "%s: option %s takes a value", argv[0], word);
	else if (optopt && strncmp(word, "--", 2))
		zm_error(ZM_USAGE, "%s: unknown option -%c", argv[0], optopt);
	else
		zm_error(ZM_USAGE, "%s: option %s is unknown, ambiguous, or takes no value",
			 argv[0], word);
	return '?';
}

int zm_getopt(int argc, char **argv, const char *letters,
	      const struct option *options)
{
	char *all = zm_printf(":%s", letters);
	int r;

	opterr = 0;
	r = getopt_long(argc, argv, all, options, NULL);
	free(all);
	return r == '?' || r == ':' ? zm_bad_option(argv, r) : r;
}

/*
 * ------------------------------------------------------------------------
 * Numbers
 * ------------------------------------------------------------------------
 */

uint64_t zm_bytes(uint64_t sectors)
{
	return sectors > UINT64_MAX / ZM_SECTOR ? UINT64_MAX : sectors * ZM_SECTOR;
}

static struct zm_text zm_size_between(uint64_t bytes, const char *between)
{
	static const char * const units[] = { "B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
	uint64_t whole, tenths;
	struct zm_text text;
	unsigned int i = 0;

	while (i < 6 && bytes >> (10 * (i + 1)))
		i++;
	whole = bytes >> (10 * i);
	tenths = i ? ((bytes >> (10 * (i - 1))) & 1023) * 10 / 1024 : 0;
	if (tenths)
		snprintf(text.text, sizeof(text.text), "%" PRIu64 ".%" PRIu64 "%s%s",
			 whole, tenths, between, units[i]);
	else
		snprintf(text.text, sizeof(text.text), "%" PRIu64 "%s%s", whole, between,
			 units[i]);
	return text;
}

struct zm_text zm_size(uint64_t bytes)
{
	return zm_size_between(bytes, " ");
}

struct zm_text zm_short_size(uint64_t bytes)
{
	return zm_size_between(bytes, "");
}

static struct zm_text zm_rate_between(uint64_t kib, const char *between)
{
	struct zm_text text;

	text = zm_size_between(kib > UINT64_MAX / 1024 ? UINT64_MAX : kib * 1024,
			       between);
	strcat(text.text, "/s");
	return text;
}

struct zm_text zm_rate(uint64_t kib)
{
	return zm_rate_between(kib, " ");
}

struct zm_text zm_short_rate(uint64_t kib)
{
	return zm_rate_between(kib, "");
}

struct zm_text zm_percent(uint64_t done, uint64_t total)
{
	unsigned int tenths;
	struct zm_text text;

	tenths = done >= total ? 1000 : (unsigned int)((double)done / total * 1000);
	if (tenths > 999 && done < total)
		tenths = 999;
	if (done && done < total)
		snprintf(text.text, sizeof(text.text), "%u.%u %%", tenths / 10,
			 tenths % 10);
	else
		snprintf(text.text, sizeof(text.text), "%u %%", tenths / 10);
	return text;
}

struct zm_text zm_duration(double seconds)
{
	struct zm_text text;
	uint64_t s;

	/* This is true of what is not a number, too. */
	if (!(seconds >= 0 && seconds < 1e12)) {
		snprintf(text.text, sizeof(text.text), "unknown");
		return text;
	}
	s = seconds + 0.5;
	if (s < 60)
		snprintf(text.text, sizeof(text.text), "%" PRIu64 " s", s);
	else if (s < 3600)
		snprintf(text.text, sizeof(text.text), "%" PRIu64 " min %" PRIu64 " s",
			 s / 60, s % 60);
	else if (s < 86400)
		snprintf(text.text, sizeof(text.text), "%" PRIu64 " h %" PRIu64 " min",
			 s / 3600, s % 3600 / 60);
	else
		snprintf(text.text, sizeof(text.text), "%" PRIu64 " d %" PRIu64 " h",
			 s / 86400, s % 86400 / 3600);
	return text;
}

struct zm_text zm_delay(uint64_t microseconds)
{
	struct zm_text text;

	if (microseconds < 1000)
		snprintf(text.text, sizeof(text.text), "%" PRIu64 " us", microseconds);
	else
		snprintf(text.text, sizeof(text.text), "%" PRIu64 ".%" PRIu64 " ms",
			 microseconds / 1000, microseconds % 1000 / 100);
	return text;
}

/*
 * ------------------------------------------------------------------------
 * Words
 * ------------------------------------------------------------------------
 */

char *zm_printable(const char *text, bool word)
{
	char *printable = zm_alloc(4 * strlen(text) + 1), *at = printable;
	unsigned char c;

	for (; *text; text++) {
		c = *text;
		if (c < ' ' || c > '~' || (word && strchr(" \\\"'", c)))
			at += sprintf(at, "\\x%02x", c);
		else
			*at++ = c;
	}
	return printable;
}

/* The bytes of a character after its first one. */
static bool zm_continues(char c)
{
	return ((unsigned char)c & 0xc0) == 0x80;
}

size_t zm_columns(const char *text)
{
	size_t columns = 0;

	for (; *text; text++)
		columns += !zm_continues(*text);
	return columns;
}

void zm_cut(char *text, size_t columns)
{
	for (; *text; text++) {
		if (zm_continues(*text))
			continue;
		if (!columns--) {
			*text = '\0';
			return;
		}
	}
}

const char *zm_health_word(char letter)
{
	switch (letter) {
	case 'A':
		return "alive";
	case 'D':
		return "failed";
	case 'R':
		return "read_error";
	case 'N':
		return "no_space";
	default:
		return "unknown";
	}
}

const char *zm_health_text(char letter)
{
	switch (letter) {
	case 'R':
		return "read error";
	case 'N':
		return "no space";
	default:
		return zm_health_word(letter);
	}
}

struct zm_text zm_health(const struct zm_status *status)
{
	struct zm_text text;

	if (status->source_health == 'A' && status->dest_health == 'A')
		snprintf(text.text, sizeof(text.text), "ok");
	else if (status->dest_health == 'A')
		snprintf(text.text, sizeof(text.text), "source %s",
			 zm_health_text(status->source_health));
	else if (status->source_health == 'A')
		snprintf(text.text, sizeof(text.text), "destination %s",
			 zm_health_text(status->dest_health));
	else
		snprintf(text.text, sizeof(text.text), "source %s, destination %s",
			 zm_health_text(status->source_health),
			 zm_health_text(status->dest_health));
	return text;
}

/*
 * ------------------------------------------------------------------------
 * Progress
 * ------------------------------------------------------------------------
 */

/* The full columns of a bar, and the one that is full in part. Returns how many. */
static size_t zm_bar_full(char *bar, size_t columns, double share, bool utf8)
{
	static const char * const eighths[] = {
		"", "▏", "▎", "▍", "▌", "▋", "▊", "▉",
	};
	size_t eighth = share * columns * 8;
	size_t full = eighth / 8, i;

	*bar = '\0';
	for (i = 0; i < full; i++)
		strcat(bar, utf8 ? "█" : "#");
	if (!utf8 || full == columns || !(eighth % 8))
		return full;
	strcat(bar, eighths[eighth % 8]);
	return full + 1;
}

char *zm_bar(size_t columns, uint64_t done, uint64_t total, bool utf8)
{
	double share = done >= total ? 1 : (double)done / total;
	char *bar = zm_alloc(columns * strlen("█") + 1);
	size_t used;

	used = zm_bar_full(bar, columns, share, utf8);
	for (; used < columns; used++)
		strcat(bar, utf8 ? " " : ".");
	return bar;
}

/*
 * As long as there were samples of less than the time of smoothing the rate is the mean
 * of all of it, so that the first one does not weigh more than others.
 */
void zm_eta_add(struct zm_eta *eta, double now, uint64_t remaining)
{
	double time = now - eta->at, weight, rate;

	if (!eta->samples) {
		eta->samples = 1;
		eta->since = now;
		eta->at = now;
		eta->remaining = remaining;
		return;
	}
	if (time < 0.05)
		return;
	rate = ((double)eta->remaining - (double)remaining) / time;
	weight = time / (now - eta->since);
	if (weight < time / (time + ZM_ETA_SECONDS))
		weight = time / (time + ZM_ETA_SECONDS);
	eta->rate += (rate - eta->rate) * weight;
	eta->at = now;
	eta->remaining = remaining;
	eta->samples++;
}

double zm_eta_left(const struct zm_eta *eta)
{
	if (eta->samples && !eta->remaining)
		return 0;
	return eta->rate > 0 ? eta->remaining / eta->rate : -1;
}

char *zm_line(const struct zm_mirror *mirror, double left)
{
	const struct zm_status *status = &mirror->status;
	char *name = zm_printable(mirror->dev.name, false), *line;

	if (!zm_status_remaining(status))
		line = zm_printf("%s: %s, health %s", name, status->state,
				 zm_health(status).text);
	else
		line = zm_printf("%s: %s, %s done, %s left, %s, %s%shealth %s", name,
				 status->state, zm_percent(status->clean, status->total).text,
				 zm_size(zm_bytes(zm_status_remaining(status))).text,
				 zm_rate(status->writing).text,
				 left < 0 ? "" : zm_duration(left).text,
				 left < 0 ? "" : " to go, ", zm_health(status).text);
	free(name);
	return line;
}

#define ZM_MIN_BAR	10
#define ZM_MAX_NAME	24

char *zm_bar_line(const char *name, uint64_t done, uint64_t total, const char *tail,
		  size_t columns, bool utf8)
{
	char *first = zm_printable(name, false), *bar = NULL, *line;
	size_t used;

	zm_cut(first, ZM_MAX_NAME);
	used = zm_columns(first) + zm_columns(tail) + strlen("  []  ");
	if (columns >= used + ZM_MIN_BAR)
		bar = zm_bar(columns - used, done, total, utf8);
	if (bar)
		line = zm_printf("%s  [%s]  %s", first, bar, tail);
	else
		line = zm_printf("%s  %s", first, tail);
	zm_cut(line, columns);
	free(bar);
	free(first);
	return line;
}

/*
 * ------------------------------------------------------------------------
 * Maps
 * ------------------------------------------------------------------------
 */

void zm_map_init(struct zm_map *map, uint64_t total, size_t nr)
{
	map->total = total;
	map->nr = nr < total ? nr : total;
	map->cells = zm_alloc(map->nr * sizeof(*map->cells));
	map->round = 0;
}

void zm_map_free(struct zm_map *map)
{
	free(map->cells);
	map->cells = NULL;
	map->nr = 0;
}

/* Where a cell begins. Regions are counted in 32 bits, so that this does not overflow. */
static uint64_t zm_cell_first(const struct zm_map *map, size_t cell)
{
	return (map->total * cell + map->nr - 1) / map->nr;
}

static size_t zm_cell_of(const struct zm_map *map, uint64_t region)
{
	return region * map->nr / map->total;
}

static bool zm_cell_whole(const struct zm_map *map, size_t cell)
{
	return map->cells[cell].seen[ZM_MAP_DIRTY] ==
	       zm_cell_first(map, cell + 1) - zm_cell_first(map, cell);
}

void zm_map_begin(struct zm_map *map)
{
	size_t i;

	map->round++;
	for (i = 0; i < map->nr; i++) {
		map->cells[i].before = map->cells[i].found[ZM_MAP_DIRTY];
		map->cells[i].whole_before = zm_cell_whole(map, i);
	}
}

/* The next range of a list, such as "5" or "0-4". */
static bool zm_take_range(const char **at, uint64_t *first, uint64_t *end)
{
	if (!zm_take_number(at, first))
		return false;
	*end = *first;
	if (**at == '-') {
		(*at)++;
		if (!zm_take_number(at, end))
			return false;
	}
	return *end >= *first && (*end)++ < UINT64_MAX;
}

static bool zm_list_good(const char *list, uint64_t first, uint64_t end)
{
	uint64_t from, to;

	if (!strcmp(list, "none"))
		return true;
	for (; zm_take_range(&list, &from, &to); list++) {
		if (from < first || to > end)
			return false;
		first = to;
		if (*list != ',')
			return !*list;
	}
	return false;
}

/* Adds regions from @first up to @end to what was seen, or to what was found there. */
static void zm_map_count(struct zm_map *map, enum zm_map_kind kind, uint64_t first,
			 uint64_t end, bool found)
{
	struct zm_map_cell *cell;
	uint64_t next;
	size_t i;

	for (i = zm_cell_of(map, first); first < end; first = next) {
		cell = &map->cells[i++];
		next = zm_cell_first(map, i);
		if (next > end)
			next = end;
		if (cell->round[kind] != map->round) {
			cell->round[kind] = map->round;
			cell->seen[kind] = 0;
			cell->found[kind] = 0;
		}
		if (found)
			cell->found[kind] += next - first;
		else
			cell->seen[kind] += next - first;
	}
}

int zm_map_add(struct zm_map *map, enum zm_map_kind kind, uint64_t first, uint64_t count,
	       const char *list)
{
	uint64_t from, to;

	if (first >= map->total || count > map->total - first ||
	    !zm_list_good(list, first, first + count))
		return -1;
	zm_map_count(map, kind, first, first + count, false);
	for (; zm_take_range(&list, &from, &to); list += *list == ',')
		zm_map_count(map, kind, from, to, true);
	return 0;
}

static bool zm_cell_copying(const struct zm_map *map, size_t i)
{
	const struct zm_map_cell *cell = &map->cells[i];

	return cell->whole_before && zm_cell_whole(map, i) &&
	       cell->found[ZM_MAP_DIRTY] < cell->before;
}

/* A cell that no sample was taken from is taken to be as the one before it. */
static const struct zm_map_cell *zm_cell_sample(const struct zm_map *map, size_t cell,
						enum zm_map_kind kind)
{
	while (cell && !map->cells[cell].seen[kind])
		cell--;
	return &map->cells[cell];
}

enum zm_cell zm_map_look(const struct zm_map *map, size_t cell)
{
	const struct zm_map_cell *dirty = zm_cell_sample(map, cell, ZM_MAP_DIRTY);
	const struct zm_map_cell *zero = zm_cell_sample(map, cell, ZM_MAP_ZERO);

	if (map->cells[cell].found[ZM_MAP_MISMATCH])
		return ZM_CELL_MISMATCH;
	if (!dirty->seen[ZM_MAP_DIRTY])
		return ZM_CELL_UNKNOWN;
	if (zm_cell_copying(map, cell))
		return ZM_CELL_COPYING;
	if (dirty->found[ZM_MAP_DIRTY] == dirty->seen[ZM_MAP_DIRTY])
		return ZM_CELL_DIRTY;
	if (dirty->found[ZM_MAP_DIRTY])
		return ZM_CELL_PARTLY;
	if (zero->found[ZM_MAP_ZERO] &&
	    zero->found[ZM_MAP_ZERO] * 2 >= zero->seen[ZM_MAP_ZERO])
		return ZM_CELL_ZERO;
	return ZM_CELL_CLEAN;
}

/* What is nearer to being clean is darker. */
static const struct {
	const char *utf8;
	const char *ascii;
	const char *meaning;
} zm_cells[ZM_CELLS] = {
	[ZM_CELL_UNKNOWN] = { " ", " ", NULL },
	[ZM_CELL_CLEAN] = { "█", "#", "clean" },
	[ZM_CELL_ZERO] = { "·", "0", "clean, zero" },
	[ZM_CELL_COPYING] = { "▓", "+", "being copied" },
	[ZM_CELL_PARTLY] = { "▒", "-", "partly dirty" },
	[ZM_CELL_DIRTY] = { "░", ".", "dirty" },
	[ZM_CELL_MISMATCH] = { "X", "X", "differs" },
};

const char *zm_glyph(enum zm_cell cell, bool utf8)
{
	return utf8 ? zm_cells[cell].utf8 : zm_cells[cell].ascii;
}

char *zm_legend(bool utf8)
{
	char *legend = zm_strdup(""), *longer;
	int cell;

	for (cell = ZM_CELL_CLEAN; cell < ZM_CELLS; cell++) {
		longer = zm_printf("%s%s%s %s", legend, *legend ? "  " : "",
				   zm_glyph(cell, utf8), zm_cells[cell].meaning);
		free(legend);
		legend = longer;
	}
	return legend;
}

static bool zm_is_control(char c)
{
	return (unsigned char)c < ' ' || c == 0x7f;
}

/*
 * Within '...' but for what a terminal would take for an order: that stands in $'...'.
 */
static char *zm_quote(const char *word)
{
	char *quoted = zm_alloc(4 * strlen(word) + 4), *at = quoted;
	bool control = false;
	const char *c;

	for (c = word; *c; c++)
		control |= zm_is_control(*c);
	at += sprintf(at, control ? "$'" : "'");
	for (c = word; *c; c++)
		if (zm_is_control(*c))
			at += sprintf(at, "\\%03o", (unsigned char)*c);
		else if (control && strchr("\\'", *c))
			at += sprintf(at, "\\%c", *c);
		else
			at += sprintf(at, *c == '\'' ? "'\\''" : "%c", *c);
	*at = '\'';
	return quoted;
}

const char *zm_word(const char *word)
{
	static const char plain[] =
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
		"-_./:+,@%=";
	static char *ring[8];
	static size_t next;
	char **at = &ring[next++ % (sizeof(ring) / sizeof(*ring))];

	free(*at);
	*at = *word && strspn(word, plain) == strlen(word) ? zm_strdup(word) :
							     zm_quote(word);
	return *at;
}

void zm_print_word(const char *word)
{
	printf(" %s", zm_word(word));
}

double zm_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec + now.tv_nsec / 1e9;
}
