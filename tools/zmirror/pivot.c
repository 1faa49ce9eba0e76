// SPDX-License-Identifier: GPL-2.0-only
/*
 * The end of a mirror: on with the destination, on with the source, or the other way
 * round.
 *
 * The message pivot has the kernel exchange the legs' roles at one moment, or refuse. The
 * table follows, in one ioctl; the device works before, in between and after, and whoever
 * is killed in between finds a mirror that has pivoted, and goes on from there.
 */
#include "pivot.h"
#include "change.h"
#include "format.h"
#include "lvm.h"
#include "zmirror.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

/*
 * ------------------------------------------------------------------------
 * What all of them do
 * ------------------------------------------------------------------------
 */

/*
 * Whether there is something to finish, instead of a mirror to work on: a command may
 * have been killed between its last change and the removal of what is not needed any more.
 */
static int look_for_left(const char *name, struct zm_dev *dev, bool *left)
{
	struct zm_table table = { 0 };
	struct zm_dev origin = { 0 };
	int code = zm_dm_find(name, dev);

	if (!code)
		code = zm_dm_table(dev->name, &table);
	if (!code)
		code = zm_origin_find(dev, &origin);
	*left = !zm_is_mirror(&table) && origin.name[0];
	zm_table_free(&table);
	return code;
}

static int finish_other(const char *name, const struct zm_dev *dev)
{
	struct zm_dev now;
	int code = zm_lock(dev->dev, name);

	if (!code)
		code = zm_dm_lookup_dev(dev->dev, &now);
	if (!code)
		code = zm_clean_up(&now);
	if (!code && !zm_options.dry_run)
		printf("%s is no mirror; what was left behind is removed\n", dev->name);
	return code;
}

/* Has a table follow, and removes the private device if it is not in there. */
static int put_table(const struct zm_mirror *mirror, const struct zm_table *table,
		     const char *verb, bool keep_origin)
{
	char *load = zm_printf("%s.load", verb);
	char *resume = zm_printf("%s.resume", verb);
	char *remove = zm_printf("%s.remove", verb);
	struct zm_plan plan = { 0 };
	int code;

	zm_plan_load(&plan, load, mirror->dev.name, table);
	zm_plan_resume(&plan, resume, mirror->dev.name);
	if (mirror->origin.name[0] && !keep_origin)
		zm_plan_remove(&plan, remove, mirror->origin.name);
	code = zm_plan_run(&plan, NULL);
	zm_plan_free(&plan);
	free(load);
	free(resume);
	free(remove);
	return code;
}

/*
 * After a failure: what is loaded is dropped, and a mirror that was left suspended goes
 * on. Its table is the one that it had, or the new one.
 */
static void recover(const struct zm_mirror *mirror)
{
	struct zm_table now = { 0 };

	if (!zm_dm_table(mirror->dev.name, &now))
		zm_put_back(mirror->dev.name, &now);
	zm_table_free(&now);
}

/*
 * ------------------------------------------------------------------------
 * Pivot, and back
 * ------------------------------------------------------------------------
 */

static bool has_pivoted(const struct zm_mirror *mirror)
{
	return !strcmp(mirror->status.state, "pivoted") ||
	       !strcmp(mirror->status.state, "failed_over");
}

static bool is_in_sync(const struct zm_mirror *mirror)
{
	return !strcmp(mirror->status.state, "in_sync");
}

/*
 * In async mode a mirror is out of sync with each write, and in sync in between. So it
 * gets into sync mode first, and what is left then is soon there.
 */
static int settle(struct zm_mirror *mirror)
{
	struct zm_plan plan = { 0 };
	int tries = 100, code;

	if (has_pivoted(mirror) || !strstr(mirror->features, "copy_mode:"))
		return ZM_OK;
	zm_plan_message(&plan, "pivot.sync", mirror->dev.name, "set copy_mode sync");
	code = zm_plan_run(&plan, NULL);
	zm_plan_free(&plan);
	if (zm_options.dry_run)
		return ZM_OK;
	while (!code && !is_in_sync(mirror) && tries--) {
		usleep(100000);
		code = zm_mirror_refresh(mirror);
	}
	return code;
}

/* The features are those of before. */
static void unsettle(const struct zm_mirror *mirror)
{
	const char *mode = strstr(mirror->features, "copy_mode:");
	char *message;

	if (!mode || has_pivoted(mirror) || zm_options.dry_run)
		return;
	mode += strlen("copy_mode:");
	message = zm_printf("set copy_mode %.*s", (int)strcspn(mode, " "), mode);
	zm_dm_message(mirror->dev.name, message, NULL);
	free(message);
}

static int check_in_sync(const struct zm_mirror *mirror)
{
	const struct zm_status *status = &mirror->status;
	const char *name = mirror->dev.name;

	if (has_pivoted(mirror) || is_in_sync(mirror))
		return ZM_OK;
	zm_error(ZM_TIMEOUT, "%s is not in sync: it is %s, and %s are left", name,
		 status->state, zm_size(zm_bytes(status->remaining)).text);
	if (!strcmp(status->state, "stopped"))
		zm_hint("see zmirror status '%s'; then zmirror resume '%s'", name, name);
	else if (!strcmp(status->state, "paused"))
		zm_hint("zmirror resume '%s'", name);
	else
		zm_hint("zmirror wait '%s', and then again", name);
	return ZM_TIMEOUT;
}

static int let_kernel_pivot(const struct zm_mirror *mirror)
{
	struct zm_plan plan = { 0 };
	int code;

	if (has_pivoted(mirror))
		return ZM_OK;
	zm_plan_message(&plan, "pivot.message", mirror->dev.name, "pivot");
	code = zm_plan_run(&plan, NULL);
	zm_plan_free(&plan);
	return code;
}

/* Those that speak of the leg that was the destination, or of a moment, are left out. */
static bool feature_stays(const char *word)
{
	static const char * const go[] = {
		"dest_zeroed", "nosync", "prezero", "discard_zeroes", "no_unmap",
		"hints", "paused",
	};
	size_t i;

	for (i = 0; i < sizeof(go) / sizeof(*go); i++)
		if (!strcmp(word, go[i]))
			return false;
	return true;
}

static void exchanged_table(const struct zm_mirror *mirror, struct zm_table *table)
{
	char *features = zm_strdup(mirror->features), *save = NULL, *word;
	char *words = zm_strdup(""), *params;
	size_t nr = 0;

	for (word = strtok_r(features, " ", &save); word;
	     word = strtok_r(NULL, " ", &save))
		if (feature_stays(word))
			zm_add_word(&words, &nr, word);
	params = zm_printf("%u:%u %" PRIu64 " %u:%u %" PRIu64 " %" PRIu64 " %zu%s",
			   major(mirror->dest.dev), minor(mirror->dest.dev),
			   mirror->dest.start, major(mirror->source.dev),
			   minor(mirror->source.dev), mirror->source.start,
			   mirror->region_sectors, nr, words);
	zm_table_add(table, 0, mirror->sectors, "zmirror", params);
	free(params);
	free(words);
	free(features);
}

/* Where the origin is the leg that is left, it is all that there is of it. */
static int follow(const struct zm_mirror *mirror, bool keep)
{
	struct zm_table table = { 0 };
	int code = ZM_OK;

	if (keep)
		exchanged_table(mirror, &table);
	else if (mirror->exchanged)
		code = zm_dm_table(mirror->origin.name, &table);
	else
		zm_linear(&table, mirror->sectors, &mirror->dest);
	if (!code)
		code = put_table(mirror, &table, "pivot", keep);
	zm_table_free(&table);
	return code;
}

/*
 * What a command that was killed has loaded, a cancel for one, must not come to life once
 * the kernel has pivoted.
 */
static int drop_loaded(const struct zm_mirror *mirror)
{
	if (!mirror->dev.inactive || zm_options.dry_run)
		return ZM_OK;
	return zm_dm_clear(mirror->dev.name);
}

/*
 * The kernel says whether it has pivoted; that a message has failed does not. Where it
 * cannot be asked, nothing is undone: it may have.
 */
static int exchange(struct zm_mirror *mirror, const struct zm_pivot_hook *hook)
{
	int code = ZM_OK;

	if (hook && hook->before)
		code = hook->before(hook->data, has_pivoted(mirror));
	if (!code)
		code = drop_loaded(mirror);
	if (!code)
		code = let_kernel_pivot(mirror);
	if (!code || !hook || !hook->undo)
		return code;
	if (!zm_mirror_refresh(mirror) && !has_pivoted(mirror))
		hook->undo(hook->data);
	return code;
}

static int pivot(struct zm_mirror *mirror, bool keep, const struct zm_pivot_hook *hook)
{
	int code;

	zm_hold_signals();
	code = exchange(mirror, hook);
	if (code) {
		zm_let_signals();
		if (!zm_mirror_refresh(mirror) && !has_pivoted(mirror))
			zm_hint("%s goes on as it was", mirror->dev.name);
		return code;
	}
	code = follow(mirror, keep);
	if (code && !zm_options.dry_run)
		recover(mirror);
	zm_let_signals();
	if (code)
		zm_hint("%s goes on with %s; to finish, say the same again",
			mirror->dev.name, mirror->dest.name);
	return code;
}

static void tell_pivot(const struct zm_mirror *mirror, bool keep)
{
	if (zm_options.dry_run)
		return;
	if (keep)
		printf("%s goes on with %s, and %s follows as a mirror\n",
		       mirror->dev.name, mirror->dest.name, mirror->source.name);
	else
		printf("%s goes on with %s alone; %s is as it was at that moment\n",
		       mirror->dev.name, mirror->dest.name,
		       mirror->exchanged ? mirror->source.name : "its old source");
}

static int pivot_locked(struct zm_mirror *mirror, bool keep, bool revert,
			const struct zm_pivot_hook *hook)
{
	int code;

	if (revert && !mirror->exchanged)
		return zm_error(ZM_REFUSED, "%s has not changed places with its destination",
				mirror->dev.name);
	if (hook && (mirror->dest.dev != hook->dest || mirror->exchanged))
		return zm_error(ZM_REFUSED, "%s is not what it was: another command has changed it meanwhile",
				mirror->dev.name);
	code = settle(mirror);
	if (!code)
		code = check_in_sync(mirror);
	if (code)
		unsettle(mirror);
	else
		code = pivot(mirror, keep, hook);
	if (code == ZM_FAILED && !zm_mirror_refresh(mirror) &&
	    !is_in_sync(mirror) && !has_pivoted(mirror))
		code = ZM_TIMEOUT;
	if (!code)
		tell_pivot(mirror, keep);
	return code;
}

int zm_pivot_run(const char *name, bool keep, bool revert,
		 const struct zm_pivot_hook *hook)
{
	struct zm_mirror mirror;
	struct zm_dev dev;
	bool left;
	int code = look_for_left(name, &dev, &left);

	if (code || left)
		return code ? code : finish_other(name, &dev);
	code = zm_open_locked(name, &mirror);
	if (!code)
		code = pivot_locked(&mirror, keep, revert, hook);
	zm_mirror_close(&mirror);
	return code;
}

static int one_name(int argc, char **argv)
{
	if (argc - optind == 1)
		return ZM_OK;
	return zm_error(ZM_USAGE, "%s takes one device", argv[0]);
}

int zm_cmd_pivot(int argc, char **argv)
{
	static const struct option options[] = {
		{ "keep-mirroring", no_argument, NULL, 'k' },
		{ 0 }
	};
	bool keep = false;
	int option;

	while ((option = zm_getopt(argc, argv, "", options)) != -1) {
		if (option == '?')
			return ZM_USAGE;
		keep = true;
	}
	if (one_name(argc, argv))
		return ZM_USAGE;
	return zm_pivot_run(argv[optind], keep, false, NULL);
}

static int no_options(int argc, char **argv)
{
	static const struct option options[] = { { 0 } };

	return zm_getopt(argc, argv, "", options) == -1 ? one_name(argc, argv) :
						      ZM_USAGE;
}

int zm_cmd_revert(int argc, char **argv)
{
	if (no_options(argc, argv))
		return ZM_USAGE;
	return zm_pivot_run(argv[optind], true, true, NULL);
}

/*
 * ------------------------------------------------------------------------
 * Back to the source
 * ------------------------------------------------------------------------
 */

/* The table that the device had; or, where there is none, the source as it is. */
static int source_table(const struct zm_mirror *mirror, struct zm_table *table)
{
	if (mirror->origin.name[0] && !mirror->exchanged)
		return zm_dm_table(mirror->origin.name, table);
	zm_linear(table, mirror->sectors, &mirror->source);
	return ZM_OK;
}

/*
 * A migrate --lvm that was killed may have changed names. They are given back first: were
 * it the other way round, a power cut in between would have LVM activate what is behind.
 */
static int give_names_back(const struct zm_mirror *mirror)
{
	struct zm_dev dest;

	if (zm_options.dry_run || zm_dm_lookup_dev(mirror->dest.dev, &dest))
		return ZM_OK;
	return zm_lvm_give_back(&mirror->dev, &dest);
}

static int cancel(const struct zm_mirror *mirror)
{
	struct zm_table table = { 0 };
	int code;

	if (has_pivoted(mirror)) {
		zm_error(ZM_REFUSED, "%s has gone on with %s, and its old source lacks what was written since",
			 mirror->dev.name, mirror->dest.name);
		zm_hint("to finish: zmirror pivot '%s'; to have the old source follow: zmirror pivot --keep-mirroring '%s'",
			mirror->dev.name, mirror->dev.name);
		return ZM_REFUSED;
	}
	zm_hold_signals();
	code = give_names_back(mirror);
	if (!code)
		code = source_table(mirror, &table);
	if (!code) {
		code = put_table(mirror, &table, "cancel", false);
		if (code && !zm_options.dry_run)
			recover(mirror);
	}
	zm_let_signals();
	zm_table_free(&table);
	if (!code && !zm_options.dry_run)
		printf("%s goes on with %s alone\n", mirror->dev.name,
		       mirror->exchanged ? mirror->source.name : "its source");
	return code;
}

int zm_cmd_cancel(int argc, char **argv)
{
	struct zm_mirror mirror;
	struct zm_dev dev;
	bool left;
	int code;

	if (no_options(argc, argv))
		return ZM_USAGE;
	code = look_for_left(argv[optind], &dev, &left);
	if (code || left)
		return code ? code : finish_other(argv[optind], &dev);
	code = zm_open_locked(argv[optind], &mirror);
	if (!code)
		code = cancel(&mirror);
	zm_mirror_close(&mirror);
	return code;
}
