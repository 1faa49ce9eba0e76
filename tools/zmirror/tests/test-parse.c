// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the kernel tells of a mirror is read right, and garbage is refused.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "../mirror.h"
#include "../zmirror.h"
#include "dm-fake.h"

#define FIXED	"4000/4096 128 resync AD"
#define FULL	FIXED " 20 dirty:96 zero:3686 read:3 copied:4 zeroed:5 skipped:6" \
	" fg_skipped:7 source_errors:8 dest_errors:9 discarded:10 served:11 unread:12" \
	" verify:13/14 mismatch:15 unverified:16 remaining:17 writing:18 reading:19" \
	" bound:20 latency:21/22"

static void test_status_full(void **state)
{
	struct zm_status status;

	(void)state;
	assert_int_equal(zm_status_parse(FULL, &status), 0);
	assert_int_equal(status.clean, 4000);
	assert_int_equal(status.total, 4096);
	assert_int_equal(status.region_sectors, 128);
	assert_string_equal(status.state, "resync");
	assert_int_equal(status.source_health, 'A');
	assert_int_equal(status.dest_health, 'D');
	assert_int_equal(status.dirty, 96);
	assert_int_equal(status.zero, 3686);
	assert_int_equal(status.read, 3);
	assert_int_equal(status.copied, 4);
	assert_int_equal(status.zeroed, 5);
	assert_int_equal(status.skipped, 6);
	assert_int_equal(status.fg_skipped, 7);
	assert_int_equal(status.source_errors, 8);
	assert_int_equal(status.dest_errors, 9);
	assert_int_equal(status.discarded, 10);
	assert_int_equal(status.served, 11);
	assert_int_equal(status.unread, 12);
	assert_int_equal(status.verify_done, 13);
	assert_int_equal(status.verify_total, 14);
	assert_int_equal(status.mismatch, 15);
	assert_int_equal(status.unverified, 16);
	assert_int_equal(status.remaining, 17);
	assert_int_equal(status.writing, 18);
	assert_int_equal(status.reading, 19);
	assert_int_equal(status.bound, 20);
	assert_int_equal(status.latency_now, 21);
	assert_int_equal(status.latency_without, 22);
}

static void test_status_versions(void **state)
{
	static const char * const good[] = {
		FIXED " 0",
		FIXED " 1 dirty:96",
		FIXED " 2 dirty:96 later:1/2/3",
		FIXED " 3 word: dirty:96 dirtyish:x",
		FIXED " 1 dirty:96 ",
	};
	struct zm_status status;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(good) / sizeof(*good); i++) {
		assert_int_equal(zm_status_parse(good[i], &status), 0);
		assert_int_equal(status.dirty, i ? 96 : 0);
		assert_int_equal(status.remaining, 0);
		assert_int_equal(zm_status_remaining(&status), 96 * 128);
	}
}

static void test_status_states(void **state)
{
	static const char * const states[] = {
		"in_sync", "resync", "paused", "zeroing", "stopped", "degraded",
		"failed_over", "pivoted",
	};
	struct zm_status status;
	char *params;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(states) / sizeof(*states); i++) {
		params = zm_printf("1/1 8 %s AA 0", states[i]);
		assert_int_equal(zm_status_parse(params, &status), 0);
		assert_string_equal(status.state, states[i]);
		free(params);
	}
}

static void test_status_garbage(void **state)
{
	static const char * const bad[] = {
		"", " ", "0", "1/", "1/1", "1/1 ", "1/1 8", "1/1 8 in_sync", "1/1 8 in_sync A",
		"1/1 8 in_sync AA", "1/1 8 in_sync AA ", "1/1 8 in_sync AA x",
		"2/1 8 in_sync AA 0", "0/0 8 in_sync AA 0", "-1/1 8 in_sync AA 0",
		"1/4294967296 8 in_sync AA 0", "1/99999999999999999999 8 in_sync AA 0",
		"1/1 0 in_sync AA 0", "1/1 9 in_sync AA 0", "1/1 4 in_sync AA 0",
		"1/1 4194304 in_sync AA 0", "1/1 8 in_syn AA 0", "1/1 8 in_syncs AA 0",
		"1/1 8 a_state_that_is_much_too_long AA 0", "1/1 8  AA 0",
		"1/1 8 in_sync aa 0", "1/1 8 in_sync AAA 0", "1/1  8 in_sync AA 0",
		"1/1 8 in_sync AA 1", "1/1 8 in_sync AA 2 dirty:0",
		"1/1 8 in_sync AA 1 dirty:0 zero:0", "1/1 8 in_sync AA 18446744073709551616",
		"1/1 8 in_sync AA 18446744073709551615 dirty:0",
		"1/1 8 in_sync AA 1 dirty", "1/1 8 in_sync AA 1 dirty:",
		"1/1 8 in_sync AA 1 dirty:x",
		"1/1 8 in_sync AA 1 word", "1/1 8 in_sync AA 1 :1", "1/1 8 in_sync AA 1 dirty:1x",
		"1/1 8 in_sync AA 1 dirty:-1", "1/1 8 in_sync AA 1 dirty: 1",
		"1/1 8 in_sync AA 1 dirty:18446744073709551616",
		"1/1 8 in_sync AA 1 verify:1", "1/1 8 in_sync AA 1 verify:1/",
		"1/1 8 in_sync AA 1 verify:1/2/3", "1/1 8 in_sync AA 1 dirty:1/2",
		"1/1 8 in_sync AA 2 dirty:1  zero:1",
	};
	struct zm_status status;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		if (!zm_status_parse(bad[i], &status))
			fail_msg("taken for a status: %s", bad[i]);
	assert_int_equal(zm_status_parse("1/1 8 in_sync AA 1 dirty:18446744073709551615",
					 &status), 0);
	assert_true(status.dirty == UINT64_MAX);
}

/* Only what is cut within the last number can be taken for whole. */
static void test_status_cut(void **state)
{
	struct zm_status status;
	char *text;
	size_t len;

	(void)state;
	for (len = 0; len < strlen(FULL) - 1; len++) {
		text = zm_strdup(FULL);
		text[len] = '\0';
		text = zm_realloc(text, len + 1);
		assert_int_equal(zm_status_parse(text, &status), -1);
		free(text);
	}
}

/* Whatever is read, it is read without harm, and what is taken is sound. */
static void test_status_random(void **state)
{
	static const char letters[] = "0123456789/: ADx_y";
	struct zm_status status;
	size_t len, i;
	char *text;
	int round;

	(void)state;
	srand(1);
	for (round = 0; round < 100000; round++) {
		len = rand() % (strlen(FULL) + 1);
		text = zm_alloc(len + 1);
		memcpy(text, FULL, len);
		for (i = rand() % 4; len && i; i--)
			text[rand() % len] = letters[rand() % (sizeof(letters) - 1)];
		if (!zm_status_parse(text, &status))
			assert_true(status.total && status.clean <= status.total &&
				    status.region_sectors >= 8);
		free(text);
	}
}

static int parse_table(const char *params, struct zm_mirror *mirror)
{
	memset(mirror, 0, sizeof(*mirror));
	return zm_mirror_parse(params, mirror);
}

static void test_table_good(void **state)
{
	struct zm_mirror mirror;

	(void)state;
	fake_reset();
	fake_add("data-zorigin", "", 3, "linear", "", "");
	assert_int_equal(parse_table("253:3 8 253:4 16 128 2 rate:auto jobs:4", &mirror), 0);
	assert_true(mirror.source.dev == makedev(253, 3));
	assert_true(mirror.dest.dev == makedev(253, 4));
	assert_int_equal(mirror.source.start, 8);
	assert_int_equal(mirror.dest.start, 16);
	assert_string_equal(mirror.source.name, "data-zorigin");
	assert_string_equal(mirror.dest.name, "253:4");
	assert_int_equal(mirror.region_sectors, 128);
	assert_string_equal(mirror.features, "rate:auto jobs:4");
	zm_mirror_close(&mirror);

	assert_int_equal(parse_table("253:3 0 253:4 0 128", &mirror), 0);
	assert_string_equal(mirror.features, "");
	zm_mirror_close(&mirror);
	assert_int_equal(parse_table("253:3 0 253:4 0 128 0 ", &mirror), 0);
	assert_string_equal(mirror.features, "");
	zm_mirror_close(&mirror);
	assert_int_equal(parse_table("253:3 0 253:4 0 0 1 paused ", &mirror), 0);
	assert_string_equal(mirror.features, "paused");
	zm_mirror_close(&mirror);
}

static void test_table_garbage(void **state)
{
	static const char * const bad[] = {
		"", "253:3", "253:3 0", "253:3 0 253:4", "253:3 0 253:4 0", "253:3 0 253:4 0 ",
		"253:3 0 253:4 0 7", "253:3 0 253:4 0 x", "sda 0 253:4 0 128",
		"253:3 x 253:4 0 128", "253:3 0 :4 0 128", "253:3 0 253:4 -1 128",
		"253:3 18446744073709551616 253:4 0 128", "253:3 0 253:4 0 128 1",
		"253:3 0 253:4 0 128 2 a", "253:3 0 253:4 0 128 1 a b",
		"253:3 0 253:4 0 128 x", "253:3 0 253:4 0 128x",
		"253:3 0 253:4 0 128 18446744073709551615 a",
		"1234567890123456789012345678901234567890:3 0 253:4 0 128",
	};
	struct zm_mirror mirror;
	size_t i;

	(void)state;
	fake_reset();
	for (i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		if (!parse_table(bad[i], &mirror))
			fail_msg("taken for a table: %s", bad[i]);
		assert_null(mirror.source.name);
		assert_null(mirror.features);
	}
}

static void test_origin(void **state)
{
	struct zm_dev dev = { .name = "data", .uuid = "LVM-abc" };
	char uuid[ZM_UUID_SIZE], name[ZM_NAME_SIZE];

	(void)state;
	fake_reset();
	zm_origin_uuid(&dev, uuid);
	assert_string_equal(uuid, "LVM-abc-zorigin");
	dev.uuid[0] = '\0';
	zm_origin_uuid(&dev, uuid);
	assert_string_equal(uuid, "ZMIRROR-data");
	memset(dev.uuid, 'u', ZM_UUID_SIZE - 1);
	zm_origin_uuid(&dev, uuid);
	assert_int_equal(strlen(uuid), ZM_UUID_SIZE - 1);

	assert_int_equal(zm_origin_name(&dev, name), ZM_OK);
	assert_string_equal(name, "data-zorigin");
	memset(dev.name, 'n', 119);
	assert_int_equal(zm_origin_name(&dev, name), ZM_OK);
	assert_int_equal(strlen(name), ZM_NAME_SIZE - 1);
	dev.name[119] = 'n';
	assert_int_equal(zm_origin_name(&dev, name), ZM_REFUSED);
	assert_non_null(strstr(fake_errors, "too long"));
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_status_full),
		cmocka_unit_test(test_status_versions),
		cmocka_unit_test(test_status_states),
		cmocka_unit_test(test_status_garbage),
		cmocka_unit_test(test_status_cut),
		cmocka_unit_test(test_status_random),
		cmocka_unit_test(test_table_good),
		cmocka_unit_test(test_table_garbage),
		cmocka_unit_test(test_origin),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
