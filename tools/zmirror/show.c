// SPDX-License-Identifier: GPL-2.0-only
/*
 * The verbs that tell how mirrors are: status, list; and those that send one message:
 * pause, resume, set, verify.
 */
#include <inttypes.h>
#include <json-c/json.h>
#include <libsmartcols/libsmartcols.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "format.h"
#include "mirror.h"
#include "plan.h"
#include "watch.h"
#include "zmirror.h"

#define ZM_ARRAY_SIZE(array)	(sizeof(array) / sizeof(*(array)))

/*
 * ------------------------------------------------------------------------
 * Figures, for programs
 * ------------------------------------------------------------------------
 */

/*
 * Numbers that --json and --line both tell: the name, which is never changed, where the
 * value is, and by what it is multiplied to have the unit that the name says.
 */
static const struct {
	const char *key;
	size_t offset;
	uint64_t scale;
} zm_numbers[] = {
	{ "size_bytes", offsetof(struct zm_mirror, sectors), 512 },
	{ "region_bytes", offsetof(struct zm_mirror, region_sectors), 512 },
	{ "source_start_bytes", offsetof(struct zm_mirror, source.start), 512 },
	{ "destination_start_bytes", offsetof(struct zm_mirror, dest.start), 512 },
	{ "total_regions", offsetof(struct zm_mirror, status.total), 1 },
	{ "clean_regions", offsetof(struct zm_mirror, status.clean), 1 },
	{ "dirty_regions", offsetof(struct zm_mirror, status.dirty), 1 },
	{ "zero_regions", offsetof(struct zm_mirror, status.zero), 1 },
	{ "unread_regions", offsetof(struct zm_mirror, status.unread), 1 },
	{ "read_bytes", offsetof(struct zm_mirror, status.read), 512 },
	{ "copied_bytes", offsetof(struct zm_mirror, status.copied), 512 },
	{ "zeroed_bytes", offsetof(struct zm_mirror, status.zeroed), 512 },
	{ "skipped_bytes", offsetof(struct zm_mirror, status.skipped), 512 },
	{ "user_skipped_bytes", offsetof(struct zm_mirror, status.fg_skipped), 512 },
	{ "discarded_bytes", offsetof(struct zm_mirror, status.discarded), 512 },
	{ "served_bytes", offsetof(struct zm_mirror, status.served), 512 },
	{ "source_errors", offsetof(struct zm_mirror, status.source_errors), 1 },
	{ "destination_errors", offsetof(struct zm_mirror, status.dest_errors), 1 },
	{ "verify_done_regions", offsetof(struct zm_mirror, status.verify_done), 1 },
	{ "verify_total_regions", offsetof(struct zm_mirror, status.verify_total), 1 },
	{ "mismatch_regions", offsetof(struct zm_mirror, status.mismatch), 1 },
	{ "unverified_regions", offsetof(struct zm_mirror, status.unverified), 1 },
	{ "writing_bytes_per_second", offsetof(struct zm_mirror, status.writing), 1024 },
	{ "reading_bytes_per_second", offsetof(struct zm_mirror, status.reading), 1024 },
	{ "bound_bytes_per_second", offsetof(struct zm_mirror, status.bound), 1024 },
	{ "latency_microseconds", offsetof(struct zm_mirror, status.latency_now), 1 },
	{ "latency_without_resync_microseconds",
	  offsetof(struct zm_mirror, status.latency_without), 1 },
};

static uint64_t zm_number(const struct zm_mirror *mirror, size_t i)
{
	uint64_t value;

	memcpy(&value, (const char *)mirror + zm_numbers[i].offset, sizeof(value));
	if (value > INT64_MAX / zm_numbers[i].scale)
		return INT64_MAX;
	return value * zm_numbers[i].scale;
}

static uint64_t zm_remaining_bytes(const struct zm_mirror *mirror)
{
	return zm_bytes(zm_status_remaining(&mirror->status));
}

static struct zm_text zm_dev_text(dev_t dev)
{
	struct zm_text text;

	snprintf(text.text, sizeof(text.text), "%u:%u", major(dev), minor(dev));
	return text;
}

static void zm_json_text(struct json_object *object, const char *key, const char *text)
{
	char *printable = zm_printable(text, false);

	json_object_object_add(object, key, json_object_new_string(printable));
	free(printable);
}

static void zm_json_number(struct json_object *object, const char *key, uint64_t number)
{
	json_object_object_add(object, key, json_object_new_uint64(number));
}

static void zm_json_bool(struct json_object *object, const char *key, bool value)
{
	json_object_object_add(object, key, json_object_new_boolean(value));
}

static struct json_object *zm_json_features(const char *features)
{
	struct json_object *array = json_object_new_array();
	size_t len;

	for (; *features; features += strspn(features, " ")) {
		len = strcspn(features, " ");
		json_object_array_add(array, json_object_new_string_len(features, len));
		features += len;
	}
	return array;
}

static struct json_object *zm_json_origin(const struct zm_dev *origin)
{
	struct json_object *object;

	if (!origin->name[0])
		return NULL;
	object = json_object_new_object();
	zm_json_text(object, "name", origin->name);
	zm_json_text(object, "uuid", origin->uuid);
	zm_json_text(object, "device", zm_dev_text(origin->dev).text);
	return object;
}

static struct json_object *zm_json_mirror(const struct zm_mirror *mirror)
{
	struct json_object *object = json_object_new_object();
	const struct zm_status *status = &mirror->status;
	size_t i;

	zm_json_text(object, "name", mirror->dev.name);
	zm_json_text(object, "uuid", mirror->dev.uuid);
	zm_json_text(object, "device", zm_dev_text(mirror->dev.dev).text);
	zm_json_bool(object, "suspended", mirror->dev.suspended);
	zm_json_bool(object, "inactive_table", mirror->dev.inactive);
	zm_json_bool(object, "read_only", mirror->dev.read_only);
	zm_json_number(object, "open_count",
		       mirror->dev.open_count > 0 ? mirror->dev.open_count : 0);
	zm_json_number(object, "event_number", mirror->dev.event_nr);
	zm_json_text(object, "state", status->state);
	zm_json_text(object, "source", mirror->source.name);
	zm_json_text(object, "source_device", zm_dev_text(mirror->source.dev).text);
	zm_json_text(object, "source_health", zm_health_word(status->source_health));
	zm_json_text(object, "destination", mirror->dest.name);
	zm_json_text(object, "destination_device", zm_dev_text(mirror->dest.dev).text);
	zm_json_text(object, "destination_health", zm_health_word(status->dest_health));
	json_object_object_add(object, "origin", zm_json_origin(&mirror->origin));
	zm_json_bool(object, "exchanged", mirror->exchanged);
	json_object_object_add(object, "features", zm_json_features(mirror->features));
	zm_json_number(object, "remaining_bytes", zm_remaining_bytes(mirror));
	for (i = 0; i < ZM_ARRAY_SIZE(zm_numbers); i++)
		zm_json_number(object, zm_numbers[i].key, zm_number(mirror, i));
	return object;
}

static int zm_show_json(const struct zm_mirror *mirrors, size_t nr)
{
	struct json_object *all = json_object_new_object();
	struct json_object *array = json_object_new_array();
	size_t i;

	for (i = 0; i < nr; i++)
		json_object_array_add(array, zm_json_mirror(&mirrors[i]));
	json_object_object_add(all, "mirrors", array);
	puts(json_object_to_json_string_ext(all, JSON_C_TO_STRING_PRETTY |
						 JSON_C_TO_STRING_SPACED |
						 JSON_C_TO_STRING_NOSLASHESCAPE));
	json_object_put(all);
	return ZM_OK;
}

static void zm_show_word(const char *key, const char *text)
{
	char *word = zm_printable(text, true);

	printf(" %s=%s", key, word);
	free(word);
}

static int zm_show_line(const struct zm_mirror *mirrors, size_t nr)
{
	const struct zm_mirror *mirror;
	char *name;
	size_t i;

	for (mirror = mirrors; mirror < mirrors + nr; mirror++) {
		name = zm_printable(mirror->dev.name, true);
		printf("name=%s state=%s", name, mirror->status.state);
		free(name);
		printf(" suspended=%d", mirror->dev.suspended);
		zm_show_word("source", mirror->source.name);
		zm_show_word("source_health", zm_health_word(mirror->status.source_health));
		zm_show_word("destination", mirror->dest.name);
		zm_show_word("destination_health",
			     zm_health_word(mirror->status.dest_health));
		zm_show_word("origin", mirror->origin.name);
		printf(" exchanged=%d remaining_bytes=%" PRIu64, mirror->exchanged,
		       zm_remaining_bytes(mirror));
		for (i = 0; i < ZM_ARRAY_SIZE(zm_numbers); i++)
			printf(" %s=%" PRIu64, zm_numbers[i].key, zm_number(mirror, i));
		putchar('\n');
	}
	return ZM_OK;
}

/*
 * ------------------------------------------------------------------------
 * A table, for people
 * ------------------------------------------------------------------------
 */

enum zm_column {
	ZM_COLUMN_NAME,
	ZM_COLUMN_STATE,
	ZM_COLUMN_DONE,
	ZM_COLUMN_SOURCE,
	ZM_COLUMN_DEST,
	ZM_COLUMN_LEFT,
	ZM_COLUMN_RATE,
	ZM_COLUMN_ZERO,
	ZM_COLUMN_SKIPPED,
	ZM_COLUMN_HEALTH,
};

static const struct {
	const char *name;
	int flags;
} zm_columns_shown[] = {
	[ZM_COLUMN_NAME] = { "NAME", 0 },
	[ZM_COLUMN_STATE] = { "STATE", 0 },
	[ZM_COLUMN_DONE] = { "DONE", SCOLS_FL_RIGHT },
	[ZM_COLUMN_SOURCE] = { "SOURCE", SCOLS_FL_TRUNC },
	[ZM_COLUMN_DEST] = { "DESTINATION", SCOLS_FL_TRUNC },
	[ZM_COLUMN_LEFT] = { "LEFT", SCOLS_FL_RIGHT },
	[ZM_COLUMN_RATE] = { "RATE", SCOLS_FL_RIGHT },
	[ZM_COLUMN_ZERO] = { "ZERO", SCOLS_FL_RIGHT },
	[ZM_COLUMN_SKIPPED] = { "SKIPPED", SCOLS_FL_RIGHT },
	[ZM_COLUMN_HEALTH] = { "HEALTH", 0 },
};

/* What is known to be zero, which is less than the regions where the last one is cut. */
static uint64_t zm_zero_bytes(const struct zm_mirror *mirror)
{
	uint64_t sectors = mirror->status.zero * mirror->status.region_sectors;

	return zm_bytes(sectors < mirror->sectors ? sectors : mirror->sectors);
}

static uint64_t zm_skipped_bytes(const struct zm_mirror *mirror)
{
	return zm_bytes(mirror->status.skipped + mirror->status.fg_skipped);
}

static int zm_fill_line(struct libscols_line *line, const struct zm_mirror *mirror)
{
	const struct zm_status *status = &mirror->status;
	const struct zm_text texts[] = {
		[ZM_COLUMN_DONE] = zm_percent(status->clean, status->total),
		[ZM_COLUMN_LEFT] = zm_short_size(zm_remaining_bytes(mirror)),
		[ZM_COLUMN_RATE] = zm_short_rate(status->writing),
		[ZM_COLUMN_ZERO] = zm_short_size(zm_zero_bytes(mirror)),
		[ZM_COLUMN_SKIPPED] = zm_short_size(zm_skipped_bytes(mirror)),
		[ZM_COLUMN_HEALTH] = zm_health(status),
	};
	const char *names[ZM_ARRAY_SIZE(texts)] = {
		[ZM_COLUMN_NAME] = mirror->dev.name,
		[ZM_COLUMN_STATE] = mirror->dev.suspended ? "suspended" : status->state,
		[ZM_COLUMN_SOURCE] = mirror->source.name,
		[ZM_COLUMN_DEST] = mirror->dest.name,
	};
	size_t i;
	int r = 0;

	for (i = 0; !r && i < ZM_ARRAY_SIZE(texts); i++)
		r = scols_line_set_data(line, i, names[i] ? names[i] : texts[i].text);
	return r;
}

static int zm_fill_table(struct libscols_table *table, const struct zm_mirror *mirrors,
			 size_t nr)
{
	struct libscols_line *line;
	size_t i;
	int r = 0;

	for (i = 0; i < ZM_ARRAY_SIZE(zm_columns_shown); i++)
		if (!scols_table_new_column(table, zm_columns_shown[i].name, 0,
					    zm_columns_shown[i].flags))
			return -1;
	for (i = 0; !r && i < nr; i++) {
		line = scols_table_new_line(table, NULL);
		r = line ? zm_fill_line(line, &mirrors[i]) : -1;
	}
	return r;
}

static int zm_show_table(const struct zm_mirror *mirrors, size_t nr)
{
	struct libscols_table *table;
	int r;

	if (!nr)
		return ZM_OK;
	table = scols_new_table();
	r = table ? zm_fill_table(table, mirrors, nr) : -1;
	if (!r)
		r = scols_print_table(table);
	scols_unref_table(table);
	return r ? zm_error(ZM_FAILED, "the table cannot be printed") : ZM_OK;
}

/*
 * ------------------------------------------------------------------------
 * A mirror, for people
 * ------------------------------------------------------------------------
 */

static void zm_show_leg(const char *label, const struct zm_leg *leg, char health)
{
	char *name = zm_printable(leg->name, false);

	printf("  %-13s%s (%s)", label, name, zm_dev_text(leg->dev).text);
	if (leg->start)
		printf(" from %s on", zm_size(zm_bytes(leg->start)).text);
	if (health != 'A')
		printf(", %s", zm_health_text(health));
	putchar('\n');
	free(name);
}

static void zm_show_progress(const struct zm_mirror *mirror)
{
	const struct zm_status *status = &mirror->status;

	printf("  %-13s%s in %" PRIu64 " regions of %s\n", "size",
	       zm_size(zm_bytes(mirror->sectors)).text, status->total,
	       zm_size(zm_bytes(status->region_sectors)).text);
	printf("  %-13s%s; %s are left at most\n", "clean",
	       zm_percent(status->clean, status->total).text,
	       zm_size(zm_remaining_bytes(mirror)).text);
	printf("  %-13swriting %s, reading %s", "rate", zm_rate(status->writing).text,
	       zm_rate(status->reading).text);
	if (status->bound)
		printf(", at most %s", zm_rate(status->bound).text);
	putchar('\n');
	if (status->latency_now)
		printf("  %-13s%s; %s without resync\n", "latency",
		       zm_delay(status->latency_now).text,
		       zm_delay(status->latency_without).text);
}

static void zm_show_work(const struct zm_mirror *mirror)
{
	const struct zm_status *status = &mirror->status;

	printf("  %-13s%s; zeroed %s\n", "copied", zm_size(zm_bytes(status->copied)).text,
	       zm_size(zm_bytes(status->zeroed)).text);
	printf("  %-13s%s of zeroes not written: %s by resync, %s by users\n", "skipped",
	       zm_size(zm_skipped_bytes(mirror)).text,
	       zm_size(zm_bytes(status->skipped)).text,
	       zm_size(zm_bytes(status->fg_skipped)).text);
	printf("  %-13s%s of the destination\n", "known zero",
	       zm_size(zm_zero_bytes(mirror)).text);
	if (status->source_errors || status->dest_errors)
		printf("  %-13s%" PRIu64 " of the source, %" PRIu64 " of the destination\n",
		       "errors", status->source_errors, status->dest_errors);
	if (status->served)
		printf("  %-13s%s were read from the destination for the source\n",
		       "served", zm_size(zm_bytes(status->served)).text);
	if (status->unread)
		printf("  %-13s%" PRIu64 " regions are left out\n", "unread",
		       status->unread);
	if (status->verify_total)
		printf("  %-13s%s of %" PRIu64 " regions; %" PRIu64 " differ, %" PRIu64
		       " could not be compared\n", "verify",
		       zm_percent(status->verify_done, status->verify_total).text,
		       status->verify_total, status->mismatch, status->unverified);
}

static void zm_show_device(const struct zm_mirror *mirror)
{
	char *name;

	if (mirror->origin.name[0]) {
		name = zm_printable(mirror->origin.name, false);
		printf("  %-13s%s, %s\n", "origin", name,
		       mirror->exchanged ? "which follows since the legs were exchanged" :
					   "which has the table from before");
		free(name);
	}
	if (mirror->features[0])
		printf("  %-13s%s\n", "features", mirror->features);
	if (mirror->dev.read_only)
		printf("  %-13sread only\n", "device");
	if (mirror->dev.inactive)
		printf("  %-13sone more is loaded, and not live yet\n", "table");
}

/*
 * What a state means, and the verb that comes next. The first line that fits is taken;
 * health is that of the leg that has stopped resync.
 */
static const struct zm_advice {
	const char *state;
	char source;
	char dest;
	const char *meaning;
	const char *verb;
} zm_advices[] = {
	{ "in_sync", 0, 0,
	  "Both legs are equal, and writes go to both. This goes on with the destination:",
	  "pivot" },
	{ "resync", 0, 0,
	  "It is being copied, while its users go on. This shows how:", "watch" },
	{ "zeroing", 0, 0,
	  "The destination is zeroed, and copied to then. This shows how:", "watch" },
	{ "paused", 0, 0,
	  "Nothing is copied, and the legs differ. This lets resync go on:", "resume" },
	{ "stopped", 0, 'N',
	  "The destination has no space left and is not used. Extend it, then:", "resume" },
	{ "stopped", 0, 'D',
	  "The destination has failed and is not used. Mend it, then:", "resume" },
	{ "stopped", 'R', 0,
	  "The source could not be read: the kernel log tells where. Mend it, then:",
	  "resume" },
	{ "degraded", 0, 0,
	  "All is copied but what could not be read on the source. This tries that again:",
	  "resume" },
	{ "failed_over", 0, 0,
	  "The source has failed, and the destination has taken over. This makes it last:",
	  "pivot" },
	{ "pivoted", 0, 0,
	  "The destination has taken over, as was asked for. This makes it last:",
	  "pivot" },
	{ "stopped", 0, 0,
	  "An error has stopped it: the kernel log tells which. Mend that, then:",
	  "resume" },
};

static const struct zm_advice *zm_find_advice(const struct zm_status *status)
{
	const struct zm_advice *advice = zm_advices;
	size_t i;

	for (i = 0; i < ZM_ARRAY_SIZE(zm_advices); i++) {
		advice = &zm_advices[i];
		if (!strcmp(advice->state, status->state) &&
		    (!advice->source || advice->source == status->source_health) &&
		    (!advice->dest || advice->dest == status->dest_health))
			break;
	}
	return advice;
}

static void zm_show_next(const char *meaning, const char *command, const char *verb,
			 const char *name, const char *tail)
{
	printf("%s\n    %s %s %s%s\n", meaning, command, verb, zm_word(name), tail);
}

/* LVM has to know where its volume is: a pivot alone would not tell it. */
static bool zm_is_for_lvm(const struct zm_mirror *mirror)
{
	struct zm_dev dest;

	return !mirror->exchanged && zm_lvm_is_volume(&mirror->dev) &&
	       !zm_dm_lookup(mirror->dest.name, &dest) && zm_lvm_is_volume(&dest);
}

static void zm_show_migrate(const struct zm_mirror *mirror, const char *meaning)
{
	char *dest = zm_printf(" %s", zm_word(mirror->dest.name));

	zm_show_next(meaning, "zmirror", "migrate --lvm", mirror->dev.name, dest);
	free(dest);
}

static void zm_show_advice(const struct zm_mirror *mirror)
{
	const struct zm_advice *advice = zm_find_advice(&mirror->status);
	const char *name = mirror->dev.name;

	if (mirror->dev.suspended)
		zm_show_next("It is suspended: all requests wait. This lets them go on:",
			     "dmsetup", "resume", name, "");
	else if (mirror->status.mismatch)
		zm_show_next("The last verify found differences. This copies such again:",
			     "zmirror", "verify", name, " --repair");
	else if (mirror->exchanged && !strcmp(mirror->status.state, "in_sync"))
		zm_show_next("The former source follows. This goes on without it:",
			     "zmirror", "cancel", name, "");
	else if (!strcmp(advice->verb, "pivot") && zm_is_for_lvm(mirror))
		zm_show_migrate(mirror, advice->meaning);
	else
		zm_show_next(advice->meaning, "zmirror", advice->verb, name, "");
}

static int zm_show_block(const struct zm_mirror *mirror)
{
	const struct zm_status *status = &mirror->status;
	char *name = zm_printable(mirror->dev.name, false);

	printf("%s (%s): %s\n", name, zm_dev_text(mirror->dev.dev).text,
	       mirror->dev.suspended ? "suspended" : status->state);
	free(name);
	zm_show_leg("source", &mirror->source, status->source_health);
	zm_show_leg("destination", &mirror->dest, status->dest_health);
	zm_show_progress(mirror);
	zm_show_work(mirror);
	zm_show_device(mirror);
	zm_show_advice(mirror);
	return ZM_OK;
}

/*
 * ------------------------------------------------------------------------
 * Verbs that tell
 * ------------------------------------------------------------------------
 */

typedef int (*zm_show_fn)(const struct zm_mirror *mirrors, size_t nr);

static int zm_show_all(zm_show_fn show)
{
	struct zm_mirror *mirrors;
	size_t nr;
	int r;

	r = zm_mirror_list(&mirrors, &nr);
	if (r)
		return r;
	r = show(mirrors, nr);
	zm_mirror_list_free(mirrors, nr);
	return r;
}

static int zm_show_one(const char *name, zm_show_fn show)
{
	struct zm_mirror mirror;
	int r;

	r = zm_mirror_open(name, &mirror);
	if (r)
		return r;
	r = show ? show(&mirror, 1) : zm_show_block(&mirror);
	zm_mirror_close(&mirror);
	return r;
}

int zm_cmd_status(int argc, char **argv)
{
	static const struct option options[] = {
		{ "json", no_argument, NULL, 'j' },
		{ "line", no_argument, NULL, 'l' },
		{ NULL, 0, NULL, 0 },
	};
	zm_show_fn show = NULL;
	int option;

	while ((option = zm_getopt(argc, argv, "", options)) != -1) {
		if (option == '?')
			return ZM_USAGE;
		if (show)
			return zm_error(ZM_USAGE, "status: only one of --json and --line");
		show = option == 'j' ? zm_show_json : zm_show_line;
	}
	if (argc - optind > 1)
		return zm_error(ZM_USAGE, "status: unexpected argument %s",
				argv[optind + 1]);
	if (argc - optind == 1)
		return zm_show_one(argv[optind], show);
	return zm_show_all(show ? show : zm_show_table);
}

static int zm_show_names(const struct zm_mirror *mirrors, size_t nr)
{
	char *name;
	size_t i;

	for (i = 0; i < nr; i++) {
		name = zm_printable(mirrors[i].dev.name, false);
		puts(name);
		free(name);
	}
	return ZM_OK;
}

int zm_cmd_list(int argc, char **argv)
{
	static const struct option options[] = {
		{ "long", no_argument, NULL, 'l' },
		{ NULL, 0, NULL, 0 },
	};
	zm_show_fn show = zm_show_names;
	int option;

	while ((option = zm_getopt(argc, argv, "l", options)) != -1) {
		if (option == '?')
			return ZM_USAGE;
		show = zm_show_table;
	}
	if (optind < argc)
		return zm_error(ZM_USAGE, "list: unexpected argument %s", argv[optind]);
	return zm_show_all(show);
}

/*
 * ------------------------------------------------------------------------
 * Verbs that send a message
 * ------------------------------------------------------------------------
 */

/* Opens the mirror that the arguments name, which are so many with it. */
static int zm_open_arg(int argc, char **argv, int nr, struct zm_mirror *mirror)
{
	if (optind >= argc)
		return zm_error(ZM_USAGE, "%s: the name of a mirror is missing", argv[0]);
	if (argc - optind < nr)
		return zm_error(ZM_USAGE, "%s: an argument is missing after %s", argv[0],
				argv[argc - 1]);
	if (argc - optind > nr)
		return zm_error(ZM_USAGE, "%s: unexpected argument %s", argv[0],
				argv[optind + nr]);
	return zm_mirror_open(argv[optind], mirror);
}

static int zm_send(const struct zm_mirror *mirror, const char *verb, const char *message)
{
	struct zm_plan plan = { NULL, 0 };
	int r;

	zm_plan_message(&plan, verb, mirror->dev.name, message);
	r = zm_plan_run(&plan, NULL);
	zm_plan_free(&plan);
	return r;
}

/* The verbs that have the name of a message and take nothing. */
static int zm_cmd_plain(int argc, char **argv)
{
	static const struct option options[] = {
		{ NULL, 0, NULL, 0 },
	};
	struct zm_mirror mirror;
	int r;

	if (zm_getopt(argc, argv, "", options) != -1)
		return ZM_USAGE;
	r = zm_open_arg(argc, argv, 1, &mirror);
	if (r)
		return r;
	r = zm_send(&mirror, argv[0], argv[0]);
	zm_mirror_close(&mirror);
	return r;
}

int zm_cmd_pause(int argc, char **argv)
{
	return zm_cmd_plain(argc, argv);
}

int zm_cmd_resume(int argc, char **argv)
{
	return zm_cmd_plain(argc, argv);
}

/*
 * Features that a message can change. The kernel checks values as well, but it can only
 * say no. A number is in units of so many bytes, 0 if it is of no bytes; 0 is allowed
 * where it means that there is no bound.
 */
static const struct zm_setting {
	const char *name;
	uint64_t unit;
	uint64_t least;
	uint64_t most;
	bool zero;
	const char *words;
	const char *takes;
} zm_settings[] = {
	{ "rate", 1024, 64, UINT32_MAX, true, "auto",
	  "auto, or KiB a second from 64, such as 500MiB, or 0 for no bound" },
	{ "scan_rate", 1024, 1024, UINT32_MAX, true, "",
	  "KiB a second from 1024, such as 2GiB, or 0 for no bound" },
	{ "latency_target", 0, 1, 1000, false, "", "percent, from 1 to 1000" },
	{ "jobs", 0, 1, 256, false, "", "a number from 1 to 256" },
	{ "copy_mode", 0, 1, 0, false, "sync async auto", "sync, async or auto" },
	{ "zero_detect", 0, 1, 0, false, "on off", "on or off" },
	{ "on_dest_error", 0, 1, 0, false, "stop retry", "stop or retry" },
	{ "on_source_error", 0, 1, 0, false, "stop skip failover",
	  "stop, skip or failover" },
};

static bool zm_one_of(const char *words, const char *word)
{
	size_t len;

	for (; *words; words += len + strspn(words + len, " ")) {
		len = strcspn(words, " ");
		if (strlen(word) == len && !strncmp(words, word, len))
			return true;
	}
	return false;
}

/* Returns the message that sets it, to be freed, or NULL when the value is none. */
static char *zm_setting_message(const struct zm_setting *setting, const char *value)
{
	uint64_t number;
	const char *end = value;

	if (zm_one_of(setting->words, value))
		return zm_printf("set %s %s", setting->name, value);
	if (setting->unit ? !zm_parse_amount(value, setting->unit, &number) :
			    !zm_take_number(&end, &number) || *end)
		return NULL;
	if ((number || !setting->zero) &&
	    (number < setting->least || number > setting->most))
		return NULL;
	return zm_printf("set %s %" PRIu64, setting->name, number);
}

static int zm_setting_find(const char *feature, const struct zm_setting **setting)
{
	size_t i;

	for (i = 0; i < ZM_ARRAY_SIZE(zm_settings); i++) {
		*setting = &zm_settings[i];
		if (!strcmp(feature, zm_settings[i].name))
			return ZM_OK;
	}
	zm_error(ZM_USAGE, "set: %s is no feature that can be set", feature);
	for (i = 0; i < ZM_ARRAY_SIZE(zm_settings); i++)
		zm_hint("%s takes %s", zm_settings[i].name, zm_settings[i].takes);
	return ZM_USAGE;
}

int zm_cmd_set(int argc, char **argv)
{
	static const struct option options[] = {
		{ NULL, 0, NULL, 0 },
	};
	const struct zm_setting *setting;
	struct zm_mirror mirror;
	char *message;
	int r;

	if (zm_getopt(argc, argv, "", options) != -1)
		return ZM_USAGE;
	r = zm_open_arg(argc, argv, 3, &mirror);
	if (r)
		return r;
	r = zm_setting_find(argv[optind + 1], &setting);
	if (!r) {
		message = zm_setting_message(setting, argv[optind + 2]);
		r = message ? zm_send(&mirror, "set", message) :
			      zm_error(ZM_USAGE, "set: %s takes %s, not %s", setting->name,
				       setting->takes, argv[optind + 2]);
		free(message);
	}
	zm_mirror_close(&mirror);
	return r;
}

/*
 * ------------------------------------------------------------------------
 * The verb verify
 * ------------------------------------------------------------------------
 */

/* What the command line says of a verify. */
struct zm_verify_options {
	bool repair;
	bool wait;
	bool stop;
	const char *start;
	const char *length;
};

/* --range takes two words: the second one is the next that getopt would look at. */
static int zm_verify_range(int argc, char **argv, struct zm_verify_options *options)
{
	options->start = optarg;
	if (optind >= argc)
		return zm_error(ZM_USAGE, "verify: --range takes a start and a length");
	options->length = argv[optind++];
	return ZM_OK;
}

static int zm_verify_parse(int argc, char **argv, struct zm_verify_options *options)
{
	static const struct option longs[] = {
		{ "repair", no_argument, NULL, 'r' },
		{ "range", required_argument, NULL, 'R' },
		{ "wait", no_argument, NULL, 'w' },
		{ "stop", no_argument, NULL, 's' },
		{ NULL, 0, NULL, 0 },
	};
	int option;

	while ((option = zm_getopt(argc, argv, "", longs)) != -1) {
		if (option == '?' ||
		    (option == 'R' && zm_verify_range(argc, argv, options)))
			return ZM_USAGE;
		options->repair |= option == 'r';
		options->wait |= option == 'w';
		options->stop |= option == 's';
	}
	if (options->stop && (options->repair || options->wait || options->start))
		return zm_error(ZM_USAGE, "verify: --stop goes with no other option");
	return ZM_OK;
}

static int zm_verify_message(const struct zm_mirror *mirror,
			     const struct zm_verify_options *options, char **message)
{
	const char *repair = options->repair ? " repair" : "";
	uint64_t start, length;

	if (options->stop || !options->start) {
		*message = zm_printf("verify%s%s", repair, options->stop ? " stop" : "");
		return ZM_OK;
	}
	if (!zm_parse_amount(options->start, 512, &start) || start >= mirror->sectors)
		return zm_error(ZM_USAGE,
				"verify: %s is no start: sectors below %" PRIu64 ", or so many GiB",
				options->start, mirror->sectors);
	if (!zm_parse_amount(options->length, 512, &length) || !length ||
	    length > mirror->sectors - start)
		return zm_error(ZM_USAGE,
				"verify: %s is no length: sectors to %" PRIu64 ", or so many GiB",
				options->length, mirror->sectors - start);
	*message = zm_printf("verify%s %" PRIu64 " %" PRIu64, repair, start, length);
	return ZM_OK;
}

static int zm_verify_wait(struct zm_mirror *mirror)
{
	const struct zm_status *status = &mirror->status;
	int r;

	r = zm_verify_progress(mirror);
	if (r)
		return r;
	printf("%" PRIu64 " regions: %" PRIu64 " differ, %" PRIu64 " could not be compared\n",
	       status->verify_total, status->mismatch, status->unverified);
	return status->mismatch ? ZM_FAILED : ZM_OK;
}

static int zm_verify(struct zm_mirror *mirror, const struct zm_verify_options *options)
{
	char *message = NULL;
	int r;

	r = zm_verify_message(mirror, options, &message);
	if (r)
		return r;
	r = zm_send(mirror, "verify", message);
	free(message);
	if (!r && options->wait && !zm_options.dry_run)
		r = zm_verify_wait(mirror);
	return r;
}

int zm_cmd_verify(int argc, char **argv)
{
	struct zm_verify_options options = { .repair = false };
	struct zm_mirror mirror;
	int r;

	r = zm_verify_parse(argc, argv, &options);
	if (!r)
		r = zm_open_arg(argc, argv, 1, &mirror);
	if (r)
		return r;
	r = zm_verify(&mirror, &options);
	zm_mirror_close(&mirror);
	return r;
}
