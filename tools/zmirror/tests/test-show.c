// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the verbs status, list, pause, resume, set and verify print and send. With the
 * argument --json this prints what status --json does, for check-json.sh.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "../mirror.h"
#include "../zmirror.h"
#include "dm-fake.h"

#define DATA_TABLE	"253:3 0 253:4 8 128 2 rate:auto jobs:4"
#define DATA_STATUS	"4000/4096 128 resync AA 20 dirty:96 zero:2048 read:3 copied:2048" \
	" zeroed:5 skipped:4096 fg_skipped:2048 source_errors:8 dest_errors:9 discarded:10" \
	" served:11 unread:12 verify:13/14 mismatch:0 unverified:16 remaining:12288" \
	" writing:1024 reading:19 bound:0 latency:1250/1000"

/* A mirror that zmirror made, what belongs to it, and two that it did not make. */
static int setup(void **state)
{
	(void)state;
	fake_reset();
	fake_add("data", "LVM-abc", 2, "zmirror", DATA_TABLE, DATA_STATUS);
	fake_add("data-zorigin", "LVM-abc-zorigin", 3, "linear", "8:0 0", "");
	fake_add("new", "LVM-def", 4, "linear", "8:16 0", "");
	fake_add("by hand", "", 5, "zmirror", "253:6 0 253:7 0 128 0",
		 "4096/4096 128 in_sync AA 1 dirty:0");
	fake_add("full", "", 8, "zmirror", "253:6 0 253:7 0 128",
		 "4000/4096 128 stopped AN 2 dirty:96 dest_errors:3");
	fake_add("empty", "", 9, "zmirror", "", "")->dev.live = false;
	return 0;
}

static void check_has(const char *text, const char *part)
{
	if (!strstr(text, part))
		fail_msg("\"%s\" is not in:\n%s", part, text);
}

static void check_run(int (*verb)(int argc, char **argv), const char *line, int code,
		      const char *part)
{
	char *output;
	int r;

	r = fake_run(verb, line, &output);
	if (r != code)
		fail_msg("%s: exit code %d: %s", line, r, fake_errors);
	check_has(r ? fake_errors : output, part);
	free(output);
}

static void test_open(void **state)
{
	struct zm_mirror mirror;

	(void)state;
	assert_int_equal(zm_mirror_open("data", &mirror), ZM_OK);
	assert_int_equal(mirror.sectors, 524288);
	assert_string_equal(mirror.origin.name, "data-zorigin");
	assert_false(mirror.exchanged);
	fake_remove("data");
	fake_errors[0] = '\0';
	assert_int_equal(zm_mirror_refresh(&mirror), ZM_NOT_FOUND);
	assert_string_equal(fake_errors, "");
	zm_mirror_close(&mirror);

	assert_int_equal(zm_mirror_open("by hand", &mirror), ZM_OK);
	assert_string_equal(mirror.origin.name, "");
	zm_mirror_close(&mirror);
	assert_int_equal(zm_mirror_open("new", &mirror), ZM_NOT_FOUND);
	check_has(fake_errors, "new is no mirror");
	assert_int_equal(zm_mirror_open("empty", &mirror), ZM_NOT_FOUND);
	assert_int_equal(zm_mirror_open("none", &mirror), ZM_NOT_FOUND);
}

static void test_reload(void **state)
{
	struct fake_dev *dev;
	struct zm_mirror mirror;

	(void)state;
	fake_reset();
	dev = fake_add("data", "", 2, "zmirror", DATA_TABLE, DATA_STATUS);
	fake_add("data-zorigin", "ZMIRROR-data", 3, "linear", "", "");
	assert_int_equal(zm_mirror_open("data", &mirror), ZM_OK);
	dev->dev.event_nr = 7;
	dev->params = "253:4 8 253:3 0 128";
	dev->status = "4096/4096 128 in_sync AA 0";
	assert_int_equal(zm_mirror_refresh(&mirror), ZM_OK);
	assert_int_equal(mirror.dev.event_nr, 7);
	assert_int_equal(mirror.status.clean, 4096);
	assert_true(mirror.source.dev == makedev(253, 3));
	assert_int_equal(zm_mirror_reload(&mirror), ZM_OK);
	assert_true(mirror.source.dev == makedev(253, 4));
	assert_true(mirror.exchanged);
	dev->type = "linear";
	assert_int_equal(zm_mirror_refresh(&mirror), ZM_NOT_FOUND);
	assert_int_equal(zm_mirror_reload(&mirror), ZM_NOT_FOUND);
	dev->type = "zmirror";
	dev->status = "garbage";
	assert_int_equal(zm_mirror_refresh(&mirror), ZM_FAILED);
	check_has(fake_errors, "the status of data is not understood: garbage");
	dev->params = "garbage";
	assert_int_equal(zm_mirror_reload(&mirror), ZM_FAILED);
	check_has(fake_errors, "the table of data is not understood: garbage");
	zm_mirror_close(&mirror);
}

/* A device that goes away after its name was read is left out, as if it never was. */
static void vanish(struct fake_dev *dev)
{
	if (!strcmp(dev->dev.name, "data"))
		fake_remove("data");
}

static void test_list(void **state)
{
	char *output;

	(void)state;
	assert_int_equal(fake_run(zm_cmd_list, "list", &output), ZM_OK);
	assert_string_equal(output, "data\nby hand\nfull\n");
	free(output);
	fake_read = vanish;
	assert_int_equal(fake_run(zm_cmd_list, "list", &output), ZM_OK);
	assert_string_equal(output, "by hand\nfull\n");
	free(output);
	check_run(zm_cmd_list, "list -l", ZM_OK, "DESTINATION");
	check_run(zm_cmd_list, "list data", ZM_USAGE, "data");
	check_run(zm_cmd_list, "list --what", ZM_USAGE, "--what");
	fake_reset();
	assert_int_equal(fake_run(zm_cmd_list, "list", &output), ZM_OK);
	assert_string_equal(output, "");
	free(output);
}

static void test_table(void **state)
{
	char *output;

	(void)state;
	assert_int_equal(fake_run(zm_cmd_status, "status", &output), ZM_OK);
	check_has(output, "NAME");
	check_has(output, "97.6 %");
	check_has(output, "data-zorigin");
	check_has(output, "6MiB");
	check_has(output, "1MiB/s");
	check_has(output, "128MiB");
	check_has(output, "destination no space");
	free(output);
}

static void test_block(void **state)
{
	char *output;

	(void)state;
	assert_int_equal(fake_run(zm_cmd_status, "status data", &output), ZM_OK);
	check_has(output, "data (253:2): resync\n");
	check_has(output, "data-zorigin (253:3)\n");
	check_has(output, "new (253:4) from 4 KiB on\n");
	check_has(output, "256 MiB in 4096 regions of 64 KiB\n");
	check_has(output, "97.6 %; 6 MiB are left at most\n");
	check_has(output, "3 MiB of zeroes not written: 2 MiB by resync, 1 MiB by users\n");
	check_has(output, "1.2 ms; 1.0 ms without resync\n");
	check_has(output, "92.8 % of 14 regions; 0 differ, 16 could not be compared\n");
	check_has(output, "rate:auto jobs:4\n");
	check_has(output, "    zmirror watch data\n");
	free(output);
	check_run(zm_cmd_status, "status new", ZM_NOT_FOUND, "new is no mirror");
	check_run(zm_cmd_status, "status data full", ZM_USAGE, "full");
	check_run(zm_cmd_status, "status --json --line", ZM_USAGE, "only one of");
	check_run(zm_cmd_status, "status --json=x", ZM_USAGE, "--json=x");
}

static void test_advice(void **state)
{
	static const struct {
		const char *status;
		const char *meaning;
		const char *next;
	} cases[] = {
		{ "1/1 8 in_sync AA 0", "Both legs are equal", "zmirror pivot a" },
		{ "0/1 8 zeroing AA 0", "zeroed", "zmirror watch a" },
		{ "0/1 8 paused AA 0", "Nothing is copied", "zmirror resume a" },
		{ "0/1 8 stopped AN 0", "no space left", "zmirror resume a" },
		{ "0/1 8 stopped AD 0", "destination has failed", "zmirror resume a" },
		{ "0/1 8 stopped RA 0", "source could not be read", "zmirror resume a" },
		{ "0/1 8 stopped AA 0", "kernel log", "zmirror resume a" },
		{ "0/1 8 degraded RA 0", "but what could not be read", "zmirror resume a" },
		{ "1/1 8 failed_over DA 0", "source has failed", "zmirror pivot a" },
		{ "1/1 8 pivoted AA 0", "has taken over", "zmirror pivot a" },
		{ "1/1 8 in_sync AA 1 mismatch:1", "differences",
		  "zmirror verify a --repair" },
	};
	struct fake_dev *dev;
	size_t i;

	(void)state;
	fake_reset();
	dev = fake_add("a", "", 1, "zmirror", "253:3 0 253:4 0 8", "");
	for (i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		dev->status = cases[i].status;
		check_run(zm_cmd_status, "status a", ZM_OK, cases[i].meaning);
		check_run(zm_cmd_status, "status a", ZM_OK, cases[i].next);
	}
	dev->dev.suspended = true;
	check_run(zm_cmd_status, "status a", ZM_OK, "dmsetup resume a");
	check_run(zm_cmd_status, "status a", ZM_OK, "a (253:1): suspended");
	dev->dev.suspended = false;
	dev->status = cases[0].status;
	fake_add("a-zorigin", "ZMIRROR-a", 4, "linear", "", "");
	check_run(zm_cmd_status, "status a", ZM_OK, "zmirror cancel a");
}

/* A pivot alone does not tell LVM; where it cannot be told, there is nothing else. */
static void test_advice_lvm(void **state)
{
	struct fake_dev *dest;

	(void)state;
	fake_reset();
	fake_add("old-data", "LVM-a", 1, "zmirror", "253:3 0 253:4 0 8", "1/1 8 in_sync AA 0");
	dest = fake_add("new-data", "", 4, "linear", "", "");
	check_run(zm_cmd_status, "status old-data", ZM_OK, "zmirror pivot old-data\n");
	snprintf(dest->dev.uuid, sizeof(dest->dev.uuid), "LVM-b");
	check_run(zm_cmd_status, "status old-data", ZM_OK,
		  "zmirror migrate --lvm old-data new-data\n");
}

/* Commands are told as a shell reads them. */
static void test_advice_quoted(void **state)
{
	(void)state;
	fake_reset();
	fake_add("it's", "", 1, "zmirror", "253:3 0 253:4 0 8", "0/1 8 paused AA 0");
	check_run(zm_cmd_status, "status it's", ZM_OK, "zmirror resume 'it'\\''s'\n");
}

static void test_line(void **state)
{
	char *output;

	(void)state;
	assert_int_equal(fake_run(zm_cmd_status, "status --line data", &output), ZM_OK);
	check_has(output, "name=data state=resync suspended=0 source=data-zorigin ");
	check_has(output, " destination_health=alive origin=data-zorigin exchanged=0 ");
	check_has(output, " remaining_bytes=6291456 ");
	check_has(output, " latency_without_resync_microseconds=1000\n");
	assert_int_equal(strcspn(output, "\n"), strlen(output) - 1);
	free(output);
	check_run(zm_cmd_status, "status --line", ZM_OK, "name=by\\x20hand state=in_sync");
}

static int64_t json_number(struct json_object *object, const char *key)
{
	struct json_object *value;

	if (!json_object_object_get_ex(object, key, &value))
		fail_msg("no %s", key);
	return json_object_get_int64(value);
}

static void test_json(void **state)
{
	struct json_object *all, *array, *first, *origin;
	char *output;

	(void)state;
	assert_int_equal(fake_run(zm_cmd_status, "status --json", &output), ZM_OK);
	all = json_tokener_parse(output);
	assert_non_null(all);
	assert_true(json_object_object_get_ex(all, "mirrors", &array));
	assert_int_equal(json_object_array_length(array), 3);
	first = json_object_array_get_idx(array, 0);
	assert_int_equal(json_number(first, "remaining_bytes"), 12288 * 512);
	assert_int_equal(json_number(first, "size_bytes"), 524288 * 512);
	assert_int_equal(json_number(first, "writing_bytes_per_second"), 1 << 20);
	assert_int_equal(json_number(first, "user_skipped_bytes"), 1 << 20);
	assert_int_equal(json_number(first, "destination_start_bytes"), 4096);
	assert_true(json_object_object_get_ex(first, "origin", &origin));
	assert_int_equal(json_object_get_type(origin), json_type_object);
	json_object_put(all);
	free(output);
	fake_reset();
	assert_int_equal(fake_run(zm_cmd_status, "status --json", &output), ZM_OK);
	all = json_tokener_parse(output);
	assert_true(json_object_object_get_ex(all, "mirrors", &array));
	assert_int_equal(json_object_array_length(array), 0);
	json_object_put(all);
	free(output);
}

static void test_messages(void **state)
{
	(void)state;
	check_run(zm_cmd_pause, "pause data", ZM_OK, "");
	assert_string_equal(fake_messages, "pause\n");
	check_run(zm_cmd_resume, "resume data", ZM_OK, "");
	assert_string_equal(fake_messages, "resume\n");
	check_run(zm_cmd_pause, "pause", ZM_USAGE, "missing");
	check_run(zm_cmd_pause, "pause data full", ZM_USAGE, "full");
	check_run(zm_cmd_pause, "pause -x data", ZM_USAGE, "-x");
	check_run(zm_cmd_pause, "pause new", ZM_NOT_FOUND, "new is no mirror");
	assert_string_equal(fake_messages, "");
	zm_options.dry_run = true;
	check_run(zm_cmd_pause, "pause data", ZM_OK, "");
	assert_string_equal(fake_messages, "");
}

static void check_set(const char *words, const char *message)
{
	char *line = zm_printf("set data %s", words);

	check_run(zm_cmd_set, line, message ? ZM_OK : ZM_USAGE, message ? "" : "set: ");
	assert_string_equal(fake_messages, message ? message : "");
	free(line);
}

static void test_set(void **state)
{
	(void)state;
	check_set("rate auto", "set rate auto\n");
	check_set("rate 0", "set rate 0\n");
	check_set("rate 64", "set rate 64\n");
	check_set("rate 100MiB", "set rate 102400\n");
	check_set("rate 63", NULL);
	check_set("rate x", NULL);
	check_set("rate 8TiB", NULL);
	check_set("scan_rate 1024", "set scan_rate 1024\n");
	check_set("scan_rate 1023", NULL);
	check_set("scan_rate auto", NULL);
	check_set("latency_target 1000", "set latency_target 1000\n");
	check_set("latency_target 0", NULL);
	check_set("latency_target 1001", NULL);
	check_set("jobs 256", "set jobs 256\n");
	check_set("jobs 0", NULL);
	check_set("jobs 257", NULL);
	check_set("jobs 1K", NULL);
	check_set("copy_mode async", "set copy_mode async\n");
	check_set("copy_mode asyn", NULL);
	check_set("copy_mode 1", NULL);
	check_set("zero_detect off", "set zero_detect off\n");
	check_set("on_dest_error retry", "set on_dest_error retry\n");
	check_set("on_source_error failover", "set on_source_error failover\n");
	check_set("discard pass", NULL);
	check_set("rate", NULL);
	check_set("rate 64 65", NULL);
}

static void test_verify(void **state)
{
	(void)state;
	check_run(zm_cmd_verify, "verify data", ZM_OK, "");
	assert_string_equal(fake_messages, "verify\n");
	check_run(zm_cmd_verify, "verify data --repair", ZM_OK, "");
	assert_string_equal(fake_messages, "verify repair\n");
	check_run(zm_cmd_verify, "verify --range 128 64KiB data", ZM_OK, "");
	assert_string_equal(fake_messages, "verify 128 128\n");
	check_run(zm_cmd_verify, "verify data --repair --range 1MiB 255MiB", ZM_OK, "");
	assert_string_equal(fake_messages, "verify repair 2048 522240\n");
	check_run(zm_cmd_verify, "verify data --stop", ZM_OK, "");
	assert_string_equal(fake_messages, "verify stop\n");
	check_run(zm_cmd_verify, "verify data --range 1MiB 256MiB", ZM_USAGE, "256MiB");
	check_run(zm_cmd_verify, "verify data --range 524288 1", ZM_USAGE, "524288");
	check_run(zm_cmd_verify, "verify data --range 0 0", ZM_USAGE, "no length");
	check_run(zm_cmd_verify, "verify data --range 0", ZM_USAGE, "--range");
	check_run(zm_cmd_verify, "verify data --range", ZM_USAGE, "--range");
	check_run(zm_cmd_verify, "verify data --stop --wait", ZM_USAGE, "--stop");
	assert_string_equal(fake_messages, "");
}

static int print_json(void)
{
	char *output;
	int r;

	setup(NULL);
	r = fake_run(zm_cmd_status, "status --json", &output);
	fputs(output, stdout);
	free(output);
	return r;
}

int main(int argc, char **argv)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_open, setup),
		cmocka_unit_test_setup(test_reload, setup),
		cmocka_unit_test_setup(test_list, setup),
		cmocka_unit_test_setup(test_table, setup),
		cmocka_unit_test_setup(test_block, setup),
		cmocka_unit_test_setup(test_advice, setup),
		cmocka_unit_test_setup(test_advice_lvm, setup),
		cmocka_unit_test_setup(test_advice_quoted, setup),
		cmocka_unit_test_setup(test_line, setup),
		cmocka_unit_test_setup(test_json, setup),
		cmocka_unit_test_setup(test_messages, setup),
		cmocka_unit_test_setup(test_set, setup),
		cmocka_unit_test_setup(test_verify, setup),
	};

	if (argc == 2 && !strcmp(argv[1], "--json"))
		return print_json();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
