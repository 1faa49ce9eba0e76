// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the verbs watch and wait print, how much they ask for, and with what they end.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../format.h"
#include "../watch.h"
#include "../zmirror.h"
#include "dm-fake.h"

#define TABLE	"253:3 0 253:4 0 128 0"

/* 10 TiB in regions of 64 KiB. */
#define TOTAL	163840000

static struct fake_dev *dev;

/* The statuses that are read one after another; the last one stays. */
static const char * const *script;

static void next_status(struct fake_dev *read)
{
	read->status = *script;
	if (script[1])
		script++;
}

static int setup(void **state)
{
	(void)state;
	fake_reset();
	dev = fake_add("data", "", 2, "zmirror", TABLE, "");
	dev->sectors = TOTAL * 128ULL;
	setenv("COLUMNS", "80", 1);
	setenv("LINES", "24", 1);
	unsetenv("NO_COLOR");
	setenv("LC_ALL", "C", 1);
	return 0;
}

/* Every second region is zero: as ranges they are as long as can be. */
static char *scattered(const char *name, const char *message)
{
	uint64_t first, count, i;
	char *text = NULL;
	size_t size;
	FILE *file;

	(void)name;
	if (strncmp(message, "list zero ", 10))
		return zm_strdup("none");
	message += 10;
	assert_true(zm_take_number(&message, &first) && *message++ == ' ' &&
		    zm_take_number(&message, &count));
	file = open_memstream(&text, &size);
	for (i = first; i < first + count; i += 2)
		fprintf(file, "%s%" PRIu64, i == first ? "" : ",", i);
	fclose(file);
	/* The first question must not be of more than the kernel tells at once. */
	assert_true(size <= 32768);
	return text;
}

static void check_frame(const char *columns, size_t width)
{
	char *output, *line, *save;
	size_t widest = 0;

	setenv("COLUMNS", columns, 1);
	assert_int_equal(fake_run(zm_cmd_watch, "watch data --once", &output), ZM_OK);
	assert_null(strchr(output, '\033'));
	for (line = strtok_r(output, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
		if (zm_columns(line) > widest)
			widest = zm_columns(line);
	assert_int_equal(widest, width);
	assert_true(fake_nr_messages > 1);
	assert_true(fake_nr_messages <= 400);
	free(output);
}

static void test_frame(void **state)
{
	(void)state;
	dev->status = "81920000/163840000 128 resync AA 3 dirty:81920000 zero:9999 verify:1/2";
	fake_answer = scattered;
	check_frame("80", 80);
	check_frame("200", 200);
	check_frame("20", 20);
	check_frame("1", 1);
}

static char *half(const char *name, const char *message)
{
	uint64_t first, count, end;

	(void)name;
	message = strpbrk(message, "0123456789");
	assert_true(zm_take_number(&message, &first) && *message++ == ' ' &&
		    zm_take_number(&message, &count));
	end = first + count;
	if (first < TOTAL / 2)
		first = TOTAL / 2;
	return first < end ? zm_printf("%" PRIu64 "-%" PRIu64, first, end - 1) :
			     zm_strdup("none");
}

/* Whether there is a row of 80 columns that are all the same. */
static bool has_row(const char *output, char glyph)
{
	char row[83] = "\n";

	memset(row + 1, glyph, 80);
	row[81] = '\n';
	return strstr(output, row);
}

static void test_frame_text(void **state)
{
	char *output;

	(void)state;
	dev->status = "81920000/163840000 128 resync AA 2 dirty:81920000 mismatch:0";
	fake_answer = half;
	assert_int_equal(fake_run(zm_cmd_watch, "watch data --once", &output), ZM_OK);
	assert_non_null(strstr(output, "data: 253:3 -> 253:4, 9.7 TiB\n"));
	assert_non_null(strstr(output, "####."));
	assert_non_null(strstr(output, "]  50.0 %\n"));
	assert_true(has_row(output, '#'));
	assert_true(has_row(output, '.'));
	assert_non_null(strstr(output, "# clean"));
	free(output);
	assert_int_equal(fake_run(zm_cmd_watch, "watch data --once --no-map", &output), ZM_OK);
	assert_null(strstr(output, "# clean"));
	assert_int_equal(fake_nr_messages, 0);
	free(output);
	assert_int_equal(fake_run(zm_cmd_watch, "watch data --interval 0", NULL), ZM_USAGE);
	assert_int_equal(fake_run(zm_cmd_watch, "watch data --interval x", NULL), ZM_USAGE);
	assert_int_equal(fake_run(zm_cmd_watch, "watch", NULL), ZM_USAGE);
}

/* In a pipe there is a line only where something has changed. */
static void test_watch_pipe(void **state)
{
	static const char * const statuses[] = {
		"1/2 128 paused AA 0", "1/2 128 paused AA 0", "1/2 128 paused AA 0",
		"2/2 128 in_sync AA 0", "2/2 128 in_sync AA 0", "garbage", NULL,
	};
	char *output;

	(void)state;
	script = statuses;
	fake_read = next_status;
	assert_int_equal(fake_run(zm_cmd_watch, "watch data --interval 0.1", &output),
			 ZM_FAILED);
	assert_string_equal(output,
			    "data: paused, 50.0 % done, 64 KiB left, 0 B/s, health ok\n"
			    "data: in_sync, health ok\n");
	free(output);
}

static int no_event(struct fake_dev *waited)
{
	(void)waited;
	return ZM_INTERRUPTED;
}

static int gone(struct fake_dev *waited)
{
	waited->type = "linear";
	return ZM_OK;
}

static int terminated(struct fake_dev *waited)
{
	(void)waited;
	kill(getpid(), SIGTERM);
	return ZM_INTERRUPTED;
}

static int broken(struct fake_dev *waited)
{
	return zm_error(ZM_FAILED, "cannot wait for %s", waited->dev.name);
}

static void check_wait(const char * const *statuses, int (*wait)(struct fake_dev *waited),
		       const char *line, int code)
{
	setup(NULL);
	script = statuses;
	fake_read = next_status;
	fake_wait = wait;
	if (fake_run(zm_cmd_wait, line, NULL) != code)
		fail_msg("%s: not %d: %s", line, code, fake_errors);
	assert_int_equal(!*fake_errors, !code);
}

static void test_wait(void **state)
{
	static const char * const done[] = {
		"0/2 128 zeroing AA 0", "1/2 128 resync AA 0", "2/2 128 in_sync AA 0", NULL,
	};
	static const char * const busy[] = { "1/2 128 resync AA 0", NULL };
	static const char * const ends[] = {
		"1/2 128 paused AA 0", "1/2 128 stopped AD 0", "1/2 128 degraded RA 0",
		"1/2 128 failed_over DA 0", "2/2 128 pivoted AA 0",
	};
	const char *end[2];
	size_t i;

	(void)state;
	check_wait(done, no_event, "wait data", ZM_OK);
	check_wait(done, no_event, "wait --in-sync data", ZM_OK);
	check_wait(busy, no_event, "wait data --timeout 0", ZM_TIMEOUT);
	check_wait(busy, no_event, "wait data --timeout 0.2", ZM_TIMEOUT);
	check_wait(busy, gone, "wait data", ZM_NOT_FOUND);
	check_wait(busy, terminated, "wait data", ZM_INTERRUPTED);
	assert_non_null(strstr(fake_errors, "goes on"));
	for (i = 0; i < sizeof(ends) / sizeof(*ends); i++) {
		end[0] = ends[i];
		end[1] = NULL;
		check_wait(end, no_event, "wait data", ZM_STOPPED);
	}
	check_wait(busy, no_event, "wait none", ZM_NOT_FOUND);
	check_wait(busy, no_event, "wait data --timeout x", ZM_USAGE);
	check_wait(busy, no_event, "wait data --verify --in-sync", ZM_USAGE);
	check_wait(busy, broken, "wait data", ZM_FAILED);
}

static void test_wait_quoted(void **state)
{
	(void)state;
	fake_add("$x", "", 9, "zmirror", TABLE, "1/2 128 paused AA 0");
	assert_int_equal(fake_run(zm_cmd_wait, "wait $x", NULL), ZM_STOPPED);
	assert_non_null(strstr(fake_errors, "zmirror status '$x' tells"));
}

/* With on_dest_error:retry a destination that failed is no reason to give up. */
static void test_wait_retry(void **state)
{
	static const char * const statuses[] = {
		"1/2 128 stopped AD 0", "1/2 128 stopped AD 0", "2/2 128 in_sync AA 0", NULL,
	};

	(void)state;
	script = statuses;
	fake_read = next_status;
	dev->params = "253:3 0 253:4 0 128 1 on_dest_error:retry";
	assert_int_equal(fake_run(zm_cmd_wait, "wait data", NULL), ZM_OK);
}

static void test_wait_verify(void **state)
{
	static const char * const done[] = {
		"2/2 128 in_sync AA 1 verify:0/2", "2/2 128 in_sync AA 1 verify:1/2",
		"2/2 128 in_sync AA 2 verify:2/2 mismatch:1", NULL,
	};
	static const char * const failed[] = { "2/2 128 stopped AD 1 verify:1/2", NULL };
	static const char * const none[] = { "2/2 128 in_sync AA 1 verify:0/0", NULL };

	(void)state;
	check_wait(done, no_event, "wait --verify data", ZM_OK);
	check_wait(failed, no_event, "wait --verify data", ZM_STOPPED);
	check_wait(none, no_event, "wait --verify data", ZM_REFUSED);
	check_wait(failed, no_event, "wait --verify data --timeout", ZM_USAGE);
}

static void test_verify_wait(void **state)
{
	static const char * const differs[] = {
		"2/2 128 in_sync AA 1 verify:0/2",
		"2/2 128 in_sync AA 3 verify:2/2 mismatch:1 unverified:1", NULL,
	};
	static const char * const equal[] = { "2/2 128 in_sync AA 1 verify:2/2", NULL };
	char *output;

	(void)state;
	script = differs;
	fake_read = next_status;
	fake_wait = no_event;
	assert_int_equal(fake_run(zm_cmd_verify, "verify --wait data", &output), ZM_FAILED);
	assert_string_equal(output, "2 regions: 1 differ, 1 could not be compared\n");
	free(output);
	script = equal;
	assert_int_equal(fake_run(zm_cmd_verify, "verify --wait data", NULL), ZM_OK);
}

/* An event that comes between the status and the wait is not missed. */
static void event_after_status(struct fake_dev *read)
{
	next_status(read);
	read->dev.event_nr++;
}

static int must_not_wait(struct fake_dev *waited)
{
	(void)waited;
	fail_msg("waits for an event that has come");
	return ZM_FAILED;
}

static void test_no_event_missed(void **state)
{
	static const char * const statuses[] = {
		"1/2 128 resync AA 0", "1/2 128 resync AA 0", "2/2 128 in_sync AA 0", NULL,
	};

	(void)state;
	script = statuses;
	fake_read = event_after_status;
	fake_wait = must_not_wait;
	assert_int_equal(fake_run(zm_cmd_wait, "wait data", NULL), ZM_OK);
}

static void test_progress(void **state)
{
	static const char * const statuses[] = {
		"1/2 128 resync AA 0", "2/2 128 in_sync AA 0", "1/2 128 resync AA 0",
		"1/2 128 stopped RA 0", NULL,
	};
	struct sigaction before, after;
	struct zm_mirror mirror;

	(void)state;
	script = statuses;
	fake_read = next_status;
	fake_wait = no_event;
	sigaction(SIGINT, NULL, &before);
	assert_int_equal(zm_mirror_open("data", &mirror), ZM_OK);
	assert_int_equal(zm_progress(&mirror, 0), ZM_OK);
	assert_int_equal(zm_progress(&mirror, 0), ZM_STOPPED);
	sigaction(SIGINT, NULL, &after);
	assert_true(before.sa_handler == after.sa_handler);
	zm_mirror_close(&mirror);
}

/* A signal that comes as the mirror gets in sync keeps migrate from the pivot. */
static void test_progress_interrupted(void **state)
{
	static const char * const statuses[] = {
		"1/2 128 resync AA 0", "1/2 128 resync AA 0", "2/2 128 in_sync AA 0", NULL,
	};
	struct zm_mirror mirror;

	(void)state;
	script = statuses;
	fake_read = next_status;
	fake_wait = terminated;
	assert_int_equal(zm_mirror_open("data", &mirror), ZM_OK);
	assert_int_equal(zm_progress(&mirror, 0), ZM_INTERRUPTED);
	zm_mirror_close(&mirror);
}

/* 1024 KiB a second in 5 seconds are 10240 sectors. */
static void test_progress_async(void **state)
{
	static const char * const statuses[] = {
		"1/2 128 resync AA 2 remaining:10240 writing:1024",
		"1/2 128 resync AA 2 remaining:10240 writing:1024",
		"1/2 128 resync AA 2 remaining:10230 writing:1024",
		"1/2 128 stopped RA 0", NULL,
	};
	struct zm_mirror mirror;

	(void)state;
	script = statuses;
	fake_read = next_status;
	fake_wait = no_event;
	dev->params = "253:3 0 253:4 0 128 1 copy_mode:async";
	assert_int_equal(zm_mirror_open("data", &mirror), ZM_OK);
	assert_int_equal(zm_progress(&mirror, 0), ZM_OK);
	script = statuses;
	assert_int_equal(zm_progress(&mirror, 30), ZM_STOPPED);
	zm_mirror_close(&mirror);

	setup(NULL);
	script = statuses;
	fake_read = next_status;
	fake_wait = no_event;
	assert_int_equal(zm_mirror_open("data", &mirror), ZM_OK);
	assert_int_equal(zm_progress(&mirror, 0), ZM_STOPPED);
	zm_mirror_close(&mirror);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_frame, setup),
		cmocka_unit_test_setup(test_frame_text, setup),
		cmocka_unit_test_setup(test_watch_pipe, setup),
		cmocka_unit_test_setup(test_wait, setup),
		cmocka_unit_test_setup(test_wait_quoted, setup),
		cmocka_unit_test_setup(test_wait_retry, setup),
		cmocka_unit_test_setup(test_wait_verify, setup),
		cmocka_unit_test_setup(test_verify_wait, setup),
		cmocka_unit_test_setup(test_no_event_missed, setup),
		cmocka_unit_test_setup(test_progress, setup),
		cmocka_unit_test_setup(test_progress_interrupted, setup),
		cmocka_unit_test_setup(test_progress_async, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
