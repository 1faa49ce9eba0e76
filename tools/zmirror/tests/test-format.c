// SPDX-License-Identifier: GPL-2.0-only
/*
 * What users read and write: numbers, bars, maps.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../format.h"
#include "../zmirror.h"
#include "dm-fake.h"

static void test_numbers(void **state)
{
	const char *at = "18446744073709551615,";
	uint64_t number;

	(void)state;
	assert_true(zm_take_number(&at, &number));
	assert_true(number == UINT64_MAX);
	assert_string_equal(at, ",");
	assert_false(zm_take_number(&at, &number));
	/* One more, and one that is 0 when what is over is cut. */
	at = "18446744073709551616";
	assert_false(zm_take_number(&at, &number));
	at = "184467440737095516160";
	assert_false(zm_take_number(&at, &number));
}

static void test_amounts(void **state)
{
	static const struct {
		const char *text;
		uint64_t unit;
		uint64_t amount;
	} good[] = {
		{ "0", 512, 0 }, { "128", 512, 128 }, { "64KiB", 512, 128 },
		{ "64K", 512, 128 }, { "1MiB", 512, 2048 }, { "10GiB", 1024, 10485760 },
		{ "2TiB", 512, 4294967296 }, { "1T", 1024, 1073741824 },
	};
	static const char * const bad[] = {
		"", "x", "-1", "1kB", "1KB", "1Ki", "1KiBs", "1 KiB", "KiB",
		"18446744073709551616", "18446744073709551615", "16777216TiB",
	};
	uint64_t amount;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(good) / sizeof(*good); i++) {
		assert_true(zm_parse_amount(good[i].text, good[i].unit, &amount));
		assert_true(amount == good[i].amount);
	}
	for (i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		if (zm_parse_amount(bad[i], 512, &amount))
			fail_msg("taken for an amount: %s", bad[i]);
	assert_false(zm_parse_amount("1KiB", 4096, &amount));
}

static void test_seconds(void **state)
{
	double seconds;

	(void)state;
	assert_true(zm_parse_seconds("5", &seconds) && seconds == 5);
	assert_true(zm_parse_seconds("0.25", &seconds) && seconds == 0.25);
	assert_true(zm_parse_seconds("0.05", &seconds) && fabs(seconds - 0.05) < 0.000001);
	assert_false(zm_parse_seconds("", &seconds));
	assert_false(zm_parse_seconds("-1", &seconds));
	assert_false(zm_parse_seconds("1.", &seconds));
	assert_false(zm_parse_seconds("1s", &seconds));
	assert_false(zm_parse_seconds("inf", &seconds));
	assert_false(zm_parse_seconds("1000000001", &seconds));
}

static void test_sizes(void **state)
{
	(void)state;
	assert_string_equal(zm_size(0).text, "0 B");
	assert_string_equal(zm_size(1023).text, "1023 B");
	assert_string_equal(zm_size(1024).text, "1 KiB");
	assert_string_equal(zm_size(65536).text, "64 KiB");
	assert_string_equal(zm_size(1536).text, "1.5 KiB");
	assert_string_equal(zm_size((1 << 20) - 1).text, "1023.9 KiB");
	assert_string_equal(zm_size(10ULL << 40).text, "10 TiB");
	assert_string_equal(zm_size(UINT64_MAX).text, "15.9 EiB");
	assert_string_equal(zm_short_size(1536).text, "1.5KiB");
	assert_string_equal(zm_rate(225280).text, "220 MiB/s");
	assert_string_equal(zm_rate(UINT64_MAX).text, "15.9 EiB/s");
	assert_string_equal(zm_short_rate(225280).text, "220MiB/s");
	assert_true(zm_bytes(3) == 1536);
	assert_true(zm_bytes(UINT64_MAX) == UINT64_MAX);
}

static void test_percents(void **state)
{
	(void)state;
	assert_string_equal(zm_percent(0, 4096).text, "0 %");
	assert_string_equal(zm_percent(1, 4096).text, "0.0 %");
	assert_string_equal(zm_percent(2048, 4096).text, "50.0 %");
	assert_string_equal(zm_percent(4095, 4096).text, "99.9 %");
	assert_string_equal(zm_percent(4294967294, 4294967295).text, "99.9 %");
	assert_string_equal(zm_percent(4096, 4096).text, "100 %");
	assert_string_equal(zm_percent(0, 0).text, "100 %");
}

static void test_durations(void **state)
{
	(void)state;
	assert_string_equal(zm_duration(0).text, "0 s");
	assert_string_equal(zm_duration(59.4).text, "59 s");
	assert_string_equal(zm_duration(59.6).text, "1 min 0 s");
	assert_string_equal(zm_duration(3599).text, "59 min 59 s");
	assert_string_equal(zm_duration(7980).text, "2 h 13 min");
	assert_string_equal(zm_duration(90000).text, "1 d 1 h");
	assert_string_equal(zm_duration(-1).text, "unknown");
	assert_string_equal(zm_duration(NAN).text, "unknown");
	assert_string_equal(zm_duration(INFINITY).text, "unknown");
	assert_string_equal(zm_delay(850).text, "850 us");
	assert_string_equal(zm_delay(1250).text, "1.2 ms");
}

static void test_words(void **state)
{
	char text[] = "a\xc2\xb7z\xe2\x96\x88";
	char *printable;

	(void)state;
	printable = zm_printable("a b\x1b[\xc2", false);
	assert_string_equal(printable, "a b\\x1b[\\xc2");
	free(printable);
	printable = zm_printable("a b\"", true);
	assert_string_equal(printable, "a\\x20b\\x22");
	free(printable);
	assert_int_equal(zm_columns(text), 4);
	zm_cut(text, 4);
	assert_int_equal(zm_columns(text), 4);
	zm_cut(text, 2);
	assert_string_equal(text, "a\xc2\xb7");
	zm_cut(text, 0);
	assert_string_equal(text, "");
}

/* What zm_print_word() prints, to be freed. */
static char *printed_word(const char *word)
{
	FILE *kept = stdout;
	char *text = NULL;
	size_t size;

	stdout = open_memstream(&text, &size);
	assert_non_null(stdout);
	zm_print_word(word);
	fclose(stdout);
	stdout = kept;
	return text;
}

/* A shell that reads what is printed has the word again. */
static void test_print_word(void **state)
{
	static const char * const words[][2] = {
		{ "vg0-root", " vg0-root" },
		{ "", " ''" },
		{ "a b", " 'a b'" },
		{ "$HOME", " '$HOME'" },
		{ "it's", " 'it'\\''s'" },
		{ "/dev/mapper/a+b:1,2@c%d=e_f", " /dev/mapper/a+b:1,2@c%d=e_f" },
		{ "~", " '~'" },
		{ "a\nb", " $'a\\012b'" },
		{ "it's\033[1m\\", " $'it\\'s\\033[1m\\\\'" },
	};
	char *text;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(words) / sizeof(*words); i++) {
		text = printed_word(words[i][0]);
		assert_string_equal(text, words[i][1]);
		free(text);
	}
}

/* Some may be words of one command. */
static void test_word(void **state)
{
	char *text = zm_printf("%s %s %s", zm_word("a b"), zm_word("c"), zm_word("d'e"));

	(void)state;
	assert_string_equal(text, "'a b' c 'd'\\''e'");
	free(text);
}

static void test_health(void **state)
{
	struct zm_status status = { .source_health = 'A', .dest_health = 'A' };

	(void)state;
	assert_string_equal(zm_health(&status).text, "ok");
	status.dest_health = 'N';
	assert_string_equal(zm_health(&status).text, "destination no space");
	status.source_health = 'R';
	assert_string_equal(zm_health(&status).text,
			    "source read error, destination no space");
	status.dest_health = 'A';
	assert_string_equal(zm_health(&status).text, "source read error");
	assert_string_equal(zm_health_word('R'), "read_error");
	assert_string_equal(zm_health_word('?'), "unknown");
}

static void check_bar(size_t columns, uint64_t done, uint64_t total, bool utf8,
		      const char *expected)
{
	char *bar = zm_bar(columns, done, total, utf8);

	assert_int_equal(zm_columns(bar), columns);
	if (expected)
		assert_string_equal(bar, expected);
	free(bar);
}

static void test_bars(void **state)
{
	uint64_t done;

	(void)state;
	check_bar(4, 0, 8, false, "....");
	check_bar(4, 4, 8, false, "##..");
	check_bar(4, 7, 8, false, "###.");
	check_bar(4, 8, 8, false, "####");
	check_bar(4, 0, 0, false, "####");
	check_bar(0, 1, 2, true, "");
	check_bar(4, 5, 8, true, "██▌ ");
	check_bar(2, 1, 16, true, "▏ ");
	for (done = 0; done <= 1000; done++) {
		check_bar(80, done, 1000, true, NULL);
		check_bar(200, done, 1000, true, NULL);
		check_bar(200, done, 1000, false, NULL);
	}
}

static void check_bar_line(size_t columns, size_t expected)
{
	char *line = zm_bar_line("data", 1, 2, "50.0 %", columns, true);

	assert_int_equal(zm_columns(line), expected);
	free(line);
}

static void test_bar_lines(void **state)
{
	char *line;

	(void)state;
	check_bar_line(80, 80);
	check_bar_line(200, 200);
	check_bar_line(26, 26);
	/* Where no bar has room, the rest is shown, or what fits of it. */
	check_bar_line(25, 12);
	check_bar_line(12, 12);
	check_bar_line(8, 8);
	check_bar_line(0, 0);
	line = zm_bar_line("data", 1, 2, "50.0 %", 26, false);
	assert_string_equal(line, "data  [#####.....]  50.0 %");
	free(line);
	line = zm_bar_line("a-name-that-is-longer-than-others-are", 1, 2, "x", 25, false);
	assert_string_equal(line, "a-name-that-is-longer-th ");
	free(line);
}

static void test_eta(void **state)
{
	struct zm_eta eta = { .samples = 0 };
	int i;

	(void)state;
	assert_true(zm_eta_left(&eta) == -1);
	zm_eta_add(&eta, 100, 1000);
	assert_true(zm_eta_left(&eta) == -1);
	zm_eta_add(&eta, 101, 990);
	assert_true(fabs(zm_eta_left(&eta) - 99) < 0.000001);
	/* The mean at first: it was 10 a second, and 30. */
	zm_eta_add(&eta, 102, 960);
	assert_true(fabs(zm_eta_left(&eta) - 48) < 0.000001);
	/* A look at once after another one tells nothing. */
	zm_eta_add(&eta, 102.01, 0);
	assert_true(fabs(zm_eta_left(&eta) - 48) < 0.000001);
	/* What was long ago is forgotten. */
	for (i = 1; i <= 200; i++)
		zm_eta_add(&eta, 102 + i, 960 - i);
	assert_true(fabs(zm_eta_left(&eta) - 760) < 20);
	/* It may become more again. */
	for (i = 1; i <= 100; i++)
		zm_eta_add(&eta, 302 + i, 760 + 5 * i);
	assert_true(zm_eta_left(&eta) == -1);
	zm_eta_add(&eta, 500, 0);
	assert_true(zm_eta_left(&eta) == 0);
}

static void check_line(struct zm_mirror *mirror, double left, const char *expected)
{
	char *line = zm_line(mirror, left);

	assert_string_equal(line, expected);
	free(line);
}

static void test_lines(void **state)
{
	struct zm_mirror mirror = {
		.dev = { .name = "data" },
		.status = {
			.clean = 3, .total = 4, .region_sectors = 128, .state = "resync",
			.source_health = 'A', .dest_health = 'A', .writing = 1024,
		},
	};

	(void)state;
	check_line(&mirror, -1,
		   "data: resync, 75.0 % done, 64 KiB left, 1 MiB/s, health ok");
	check_line(&mirror, 5,
		   "data: resync, 75.0 % done, 64 KiB left, 1 MiB/s, 5 s to go, health ok");
	mirror.status.clean = 4;
	memcpy(mirror.status.state, "in_sync", sizeof("in_sync"));
	check_line(&mirror, 0, "data: in_sync, health ok");
}

static void check_map(const struct zm_map *map, const char *expected)
{
	char text[256];
	size_t i;

	for (i = 0; i < map->nr; i++)
		text[i] = *zm_glyph(zm_map_look(map, i), false);
	text[i] = '\0';
	assert_string_equal(text, expected);
}

static void test_map(void **state)
{
	struct zm_map map;

	(void)state;
	zm_map_init(&map, 40, 4);
	check_map(&map, "    ");
	zm_map_begin(&map);
	assert_int_equal(zm_map_add(&map, ZM_MAP_DIRTY, 0, 40, "10-19,25"), 0);
	check_map(&map, "#.-#");
	assert_int_equal(zm_map_add(&map, ZM_MAP_ZERO, 0, 40, "5-14,36-39"), 0);
	check_map(&map, "0.-#");
	assert_int_equal(zm_map_add(&map, ZM_MAP_MISMATCH, 0, 40, "39"), 0);
	check_map(&map, "0.-X");
	/* In the next round fewer are dirty in the second one, and none differs. */
	zm_map_begin(&map);
	assert_int_equal(zm_map_add(&map, ZM_MAP_DIRTY, 0, 40, "15-19,25"), 0);
	assert_int_equal(zm_map_add(&map, ZM_MAP_MISMATCH, 0, 40, "none"), 0);
	check_map(&map, "0+-#");
	zm_map_begin(&map);
	assert_int_equal(zm_map_add(&map, ZM_MAP_DIRTY, 0, 40, "15-19,20-29"), 0);
	check_map(&map, "0-.#");
	zm_map_free(&map);
}

/* Not all was looked at: other cells keep what they were, or are as the one before. */
static void test_map_samples(void **state)
{
	struct zm_map map;

	(void)state;
	zm_map_init(&map, 40, 4);
	zm_map_begin(&map);
	assert_int_equal(zm_map_add(&map, ZM_MAP_DIRTY, 10, 5, "10-14"), 0);
	check_map(&map, " ...");
	assert_int_equal(zm_map_add(&map, ZM_MAP_DIRTY, 30, 5, "none"), 0);
	check_map(&map, " ..#");
	zm_map_begin(&map);
	assert_int_equal(zm_map_add(&map, ZM_MAP_DIRTY, 5, 10, "14"), 0);
	check_map(&map, "#--#");
	zm_map_free(&map);
}

static void test_map_garbage(void **state)
{
	static const char * const bad[] = {
		"", "x", "1,", ",1", "1-", "1--2", "12-11", "11,11", "13,12", "11-13,13",
		"40", "9", "10-20", "none,11", "11 12", "18446744073709551615",
		"11-18446744073709551615", "18446744073709551616",
	};
	struct zm_map map;
	size_t i;

	(void)state;
	zm_map_init(&map, 40, 4);
	zm_map_begin(&map);
	for (i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		if (!zm_map_add(&map, ZM_MAP_DIRTY, 10, 10, bad[i]))
			fail_msg("taken for a list: %s", bad[i]);
	assert_int_equal(zm_map_add(&map, ZM_MAP_DIRTY, 40, 1, "none"), -1);
	assert_int_equal(zm_map_add(&map, ZM_MAP_DIRTY, 39, 2, "none"), -1);
	assert_int_equal(zm_map_add(&map, ZM_MAP_DIRTY, 1, UINT64_MAX, "none"), -1);
	check_map(&map, "    ");
	zm_map_free(&map);
}

/* Regions one by one are in the cells in which all at once are. */
static void test_map_single(uint64_t total, size_t nr)
{
	struct zm_map one, all;
	uint64_t i;

	zm_map_init(&one, total, nr);
	zm_map_init(&all, total, nr);
	zm_map_begin(&one);
	zm_map_begin(&all);
	assert_int_equal(zm_map_add(&all, ZM_MAP_DIRTY, 0, total, "none"), 0);
	for (i = 0; i < total; i++)
		assert_int_equal(zm_map_add(&one, ZM_MAP_DIRTY, i, 1, "none"), 0);
	for (i = 0; i < nr; i++)
		assert_int_equal(one.cells[i].seen[ZM_MAP_DIRTY],
				 all.cells[i].seen[ZM_MAP_DIRTY]);
	zm_map_free(&one);
	zm_map_free(&all);
}

/* Each region is in one cell, whatever the numbers are. */
static void test_map_cells(void **state)
{
	uint64_t total, seen;
	struct zm_map map;
	size_t nr, i;
	char *all;

	(void)state;
	for (total = 1; total < 300; total += 7) {
		for (nr = 1; nr < 200; nr += 3) {
			zm_map_init(&map, total, nr);
			zm_map_begin(&map);
			all = zm_printf("0-%d", (int)total - 1);
			assert_int_equal(zm_map_add(&map, ZM_MAP_DIRTY, 0, total, all), 0);
			for (i = 0, seen = 0; i < map.nr; i++) {
				assert_true(map.cells[i].seen[ZM_MAP_DIRTY] > 0);
				seen += map.cells[i].found[ZM_MAP_DIRTY];
			}
			assert_int_equal(seen, total);
			free(all);
			zm_map_free(&map);
		}
	}
	test_map_single(37, 10);
	test_map_single(10, 10);
	test_map_single(300, 7);
	zm_map_init(&map, UINT32_MAX, 6400);
	zm_map_begin(&map);
	assert_int_equal(zm_map_add(&map, ZM_MAP_DIRTY, UINT32_MAX - 1, 1, "4294967294"), 0);
	assert_int_equal(map.cells[6399].found[ZM_MAP_DIRTY], 1);
	zm_map_free(&map);
}

static void test_legend(void **state)
{
	char *legend = zm_legend(true);
	int cell;

	(void)state;
	assert_true(zm_columns(legend) <= 80);
	free(legend);
	legend = zm_legend(false);
	assert_true(strlen(legend) <= 80);
	for (cell = ZM_CELL_CLEAN; cell < ZM_CELLS; cell++) {
		assert_non_null(strstr(legend, zm_glyph(cell, false)));
		assert_int_equal(zm_columns(zm_glyph(cell, true)), 1);
	}
	free(legend);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_numbers),
		cmocka_unit_test(test_amounts),
		cmocka_unit_test(test_seconds),
		cmocka_unit_test(test_sizes),
		cmocka_unit_test(test_percents),
		cmocka_unit_test(test_durations),
		cmocka_unit_test(test_words),
		cmocka_unit_test(test_print_word),
		cmocka_unit_test(test_word),
		cmocka_unit_test(test_health),
		cmocka_unit_test(test_bars),
		cmocka_unit_test(test_bar_lines),
		cmocka_unit_test(test_eta),
		cmocka_unit_test(test_lines),
		cmocka_unit_test(test_map),
		cmocka_unit_test(test_map_samples),
		cmocka_unit_test(test_map_garbage),
		cmocka_unit_test(test_map_cells),
		cmocka_unit_test(test_legend),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
