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
#include "hints.h"
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

static int refuse_changed(const char *name)
{
	return zm_error(ZM_REFUSED, "%s is not what it was: another command has changed it meanwhile",
			name);
}

/*
 * Who has made the device has it on its old place, which gets old data now. A move of
 * LVM's that is at its end but for that is finished by migrate.
 */
static void warn_of_owner(const struct zm_dev *dev, dev_t place)
{
	char uuid[40], *name;
	struct zm_dev dest;

	if (zm_is_cryptsetup(dev))
		zm_hint("cryptsetup does not know: when %s is opened the next time, by a boot for one, the old place is back with old data; see /etc/crypttab",
			dev->name);
	if (!zm_lvm_uuid(dev, uuid))
		return;
	zm_hint("LVM does not know: when it activates %s the next time, by a boot for one, the old place is back with old data",
		dev->name);
	name = zm_dev_name(place);
	if (!zm_dm_lookup_dev(place, &dest) && zm_lvm_uuid(&dest, uuid))
		zm_hint("to have it know: zmirror migrate --lvm %s %s",
			zm_word(dev->name), zm_word(name));
	else
		zm_hint("%s is no volume of LVM's, and it cannot be told", name);
	free(name);
}

/*
 * Whether there is something to finish, instead of a mirror to work on: a command may
 * have been killed between its last change and the removal of what is not needed any more,
 * or before its first one.
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

/* What a device that is no mirror is on. */
enum place {
	ON_SOURCE,	/* the table that it had before */
	ON_OTHER,	/* one device as a whole, which it did not have before */
	ON_ELSE,	/* something that no command of ours has put there */
};

/**
 * struct left - what a command that was killed has left
 * @dev: the device, which is no mirror
 * @place: what it is on
 * @number: of that, where it is one device
 * @name: of that, to be freed, or NULL where it is not one device
 */
struct left {
	struct zm_dev dev;
	enum place place;
	dev_t number;
	char *name;
};

/* The private device has the table from before. */
static int find_place(struct left *left)
{
	struct zm_table now = { 0 }, before = { 0 };
	struct zm_dev origin;
	int code = zm_dm_table(left->dev.name, &now);

	if (!code && zm_is_mirror(&now))
		code = refuse_changed(left->dev.name);
	if (!code)
		code = zm_origin_find(&left->dev, &origin);
	if (!code && origin.name[0])
		code = zm_dm_table(origin.name, &before);
	if (!code) {
		bool linear = zm_table_linear(&now, &left->number);

		left->name = linear ? zm_dev_name(left->number) : NULL;
		left->place = before.nr && zm_table_equal(&now, &before) ? ON_SOURCE :
			      before.nr && linear ? ON_OTHER : ON_ELSE;
	}
	zm_table_free(&now);
	zm_table_free(&before);
	return code;
}

static int tell_place(const struct left *left, bool done)
{
	const char *name = left->dev.name, *on = left->name ? left->name : "";

	if (done && zm_options.dry_run)
		return ZM_OK;
	if (done && left->place == ON_SOURCE)
		printf("%s is on its source alone; what was left behind is removed\n", name);
	else if (done)
		printf("%s is on %s alone; what was left behind is removed\n", name, on);
	if (done)
		return ZM_OK;
	if (left->place == ON_SOURCE)
		return zm_error(ZM_NOT_FOUND, "%s is no mirror: it is on its source alone%s%s",
				name, *on ? ", " : "", on);
	if (*on)
		return zm_error(ZM_NOT_FOUND, "%s is no mirror: it is on %s alone", name, on);
	return zm_error(ZM_NOT_FOUND, "%s is no mirror: dmsetup table %s tells what it is on",
			name, zm_word(name));
}

/*
 * It is done only if the device is where the command was to bring it. With @alone nobody
 * else tells LVM.
 */
static int finish_other(const char *name, const struct zm_dev *dev, enum place wanted,
			bool alone)
{
	struct left left = { .name = NULL };
	int code = zm_lock(dev->dev, name);

	if (!code)
		code = zm_dm_lookup_dev(dev->dev, &left.dev);
	if (!code)
		code = find_place(&left);
	if (!code)
		code = zm_clean_up(&left.dev);
	if (!code)
		code = tell_place(&left, left.place == wanted && wanted != ON_ELSE);
	if (!code && alone && left.place == ON_OTHER && !zm_options.dry_run)
		warn_of_owner(&left.dev, left.number);
	if (!code && left.place == ON_SOURCE)
		zm_lvm_warn_of_name(&left.dev);
	free(left.name);
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

static bool is_in_sync(const struct zm_mirror *mirror)
{
	return !strcmp(mirror->status.state, "in_sync");
}

/*
 * In async mode a mirror is out of sync with each write, and in sync in between. So it
 * gets into sync mode first, and what is left then is soon there. The caller holds signals
 * back, so that the mode is what it was when one ends the program; so it ends this soon.
 */
static int settle(struct zm_mirror *mirror)
{
	struct zm_plan plan = { 0 };
	int tries = 100, code;

	if (zm_has_pivoted(mirror) || !strstr(mirror->features, "copy_mode:"))
		return ZM_OK;
	/* One that stands still gets nowhere by that. */
	if (!is_in_sync(mirror) && strcmp(mirror->status.state, "resync") != 0)
		return ZM_OK;
	zm_plan_message(&plan, "pivot.sync", mirror->dev.name, "set copy_mode sync");
	code = zm_plan_run(&plan, NULL);
	zm_plan_free(&plan);
	if (zm_options.dry_run)
		return ZM_OK;
	/* What was known before the message is of async mode, and says nothing. */
	if (!code)
		code = zm_mirror_refresh(mirror);
	while (!code && !is_in_sync(mirror) && tries--) {
		if (zm_signal_waits())
			return ZM_INTERRUPTED;
		usleep(100000);
		code = zm_mirror_refresh(mirror);
	}
	if (code == ZM_NOT_FOUND)
		zm_error(code, "%s is no mirror any more", mirror->dev.name);
	return code;
}

/* The features are those of before. Where the kernel cannot be asked, it may have pivoted. */
static void unsettle(struct zm_mirror *mirror)
{
	const char *mode = strstr(mirror->features, "copy_mode:");
	char *message;

	if (!mode || zm_options.dry_run || zm_mirror_refresh(mirror) ||
	    zm_has_pivoted(mirror))
		return;
	mode += strlen("copy_mode:");
	message = zm_printf("set copy_mode %.*s", (int)strcspn(mode, " "), mode);
	zm_dm_message(mirror->dev.name, message, NULL);
	free(message);
}

/* Who has a hook tries again, and tells in the end. */
static int check_in_sync(const struct zm_mirror *mirror, const struct zm_pivot_hook *hook)
{
	const struct zm_status *status = &mirror->status;
	const char *name = mirror->dev.name, *word = zm_word(name);

	if (zm_has_pivoted(mirror) || is_in_sync(mirror))
		return ZM_OK;
	if (hook)
		return ZM_TIMEOUT;
	zm_error(ZM_TIMEOUT, "%s is not in sync: it is %s, and %s are left", name,
		 status->state, zm_size(zm_bytes(status->remaining)).text);
	if (!strcmp(status->state, "stopped"))
		zm_hint("see zmirror status %s; then zmirror resume %s", word, word);
	else if (!strcmp(status->state, "paused"))
		zm_hint("zmirror resume %s", word);
	else
		zm_hint("zmirror wait %s, and then again", word);
	return ZM_TIMEOUT;
}

static int let_kernel_pivot(const struct zm_mirror *mirror)
{
	struct zm_plan plan = { 0 };
	int code;

	if (zm_has_pivoted(mirror))
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
		code = hook->before(hook->data, zm_has_pivoted(mirror));
	if (!code)
		code = drop_loaded(mirror);
	if (!code)
		code = let_kernel_pivot(mirror);
	if (!code || !hook || !hook->undo)
		return code;
	if (!zm_mirror_refresh(mirror) && !zm_has_pivoted(mirror))
		hook->undo(hook->data);
	return code;
}

/* The caller holds signals back. */
static int pivot(struct zm_mirror *mirror, bool keep, const struct zm_pivot_hook *hook)
{
	int code = exchange(mirror, hook);

	if (code) {
		if (!zm_mirror_refresh(mirror) && !zm_has_pivoted(mirror))
			zm_hint("%s goes on as it was", mirror->dev.name);
		return code;
	}
	code = follow(mirror, keep);
	if (code && !zm_options.dry_run)
		recover(mirror);
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

/*
 * A command that was ended before it could tell has done what it was to do. Were it done
 * again, the device would be back where it was.
 */
static bool has_changed_places(const struct zm_mirror *mirror)
{
	if (!mirror->exchanged || zm_has_pivoted(mirror))
		return false;
	if (!zm_options.dry_run)
		printf("%s is on %s already, and %s is its mirror: %s\n", mirror->dev.name,
		       mirror->source.name, mirror->dest.name, mirror->status.state);
	zm_hint("to go back: zmirror revert %s", zm_word(mirror->dev.name));
	return true;
}

/* What is told of a pivot is told before a signal, which came meanwhile, ends the program. */
static int pivot_locked(struct zm_mirror *mirror, bool keep, bool revert,
			const struct zm_pivot_hook *hook)
{
	int code;

	if (revert && !mirror->exchanged)
		return zm_error(ZM_REFUSED, "%s has not changed places with its destination",
				mirror->dev.name);
	if (hook && (mirror->dest.dev != hook->dest || mirror->exchanged))
		return refuse_changed(mirror->dev.name);
	if (keep && !revert && has_changed_places(mirror))
		return ZM_OK;
	code = zm_check_runs(&mirror->dev);
	if (code)
		return code;
	zm_hold_signals();
	code = settle(mirror);
	if (!code)
		code = check_in_sync(mirror, hook);
	if (!code) {
		code = pivot(mirror, keep, hook);
		if (code == ZM_FAILED && !zm_mirror_refresh(mirror) &&
		    !is_in_sync(mirror) && !zm_has_pivoted(mirror))
			code = ZM_TIMEOUT;
	}
	if (code)
		unsettle(mirror);
	if (!code)
		tell_pivot(mirror, keep);
	if (!code && hook && !zm_options.dry_run)
		hook->after(hook->data);
	if (!code && !keep && !hook && !zm_options.dry_run &&
	    mirror->dest.dev != mirror->origin.dev)
		warn_of_owner(&mirror->dev, mirror->dest.dev);
	fflush(stdout);
	zm_let_signals();
	return code;
}

int zm_pivot_run(const char *name, bool keep, bool revert,
		 const struct zm_pivot_hook *hook)
{
	struct zm_mirror mirror;
	struct zm_dev dev;
	bool left;
	int code = look_for_left(name, &dev, &left);

	if (!code && left && hook)
		return refuse_changed(name);
	if (code || left)
		return code ? code : finish_other(name, &dev, keep ? ON_ELSE : ON_OTHER, true);
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

static int refuse_cancel(const struct zm_mirror *mirror)
{
	const char *name = zm_word(mirror->dev.name);

	zm_error(ZM_REFUSED, "%s has gone on with %s, and its old source lacks what was written since",
		 mirror->dev.name, mirror->dest.name);
	zm_hint("to finish: zmirror pivot %s; to have the old source follow: zmirror pivot --keep-mirroring %s",
		name, name);
	return ZM_REFUSED;
}

static bool may_fail_over(const struct zm_mirror *mirror)
{
	return zm_has_word(mirror->features, "on_source_error:failover");
}

/* The source may fail at any moment: no failover may come between a look and the table. */
static int keep_from_failover(struct zm_mirror *mirror)
{
	struct zm_plan plan = { 0 };
	int code = ZM_OK;

	if (may_fail_over(mirror))
		zm_plan_message(&plan, "cancel.stop", mirror->dev.name,
				"set on_source_error stop");
	code = zm_plan_run(&plan, NULL);
	zm_plan_free(&plan);
	if (code || zm_options.dry_run)
		return code;
	code = zm_mirror_refresh(mirror);
	if (code == ZM_NOT_FOUND)
		return zm_error(code, "%s is no mirror any more", mirror->dev.name);
	return !code && zm_has_pivoted(mirror) ? refuse_cancel(mirror) : code;
}

/* After a failure. A mirror that has pivoted does not fail over, and takes it all the same. */
static void allow_failover(const struct zm_mirror *mirror)
{
	struct zm_table now = { 0 };

	if (may_fail_over(mirror) && !zm_dm_table(mirror->dev.name, &now) && zm_is_mirror(&now))
		zm_dm_message(mirror->dev.name, "set on_source_error failover", NULL);
	zm_table_free(&now);
}

static int put_source(const struct zm_mirror *mirror, const struct zm_table *table)
{
	int code = put_table(mirror, table, "cancel", false);

	if (code && !zm_options.dry_run)
		recover(mirror);
	return code;
}

/*
 * A migrate --lvm that was killed may have changed names. They are given back before the
 * table is: were it the other way round, a power cut in between would have LVM activate what
 * is behind. And when no failover can come any more, or the name would be that of old data.
 */
static int cancel_steps(struct zm_mirror *mirror, struct zm_lvm_move *move,
			const struct zm_table *table)
{
	int code = keep_from_failover(mirror);

	if (!code && move->old_name)
		code = zm_lvm_undo(move);
	if (!code)
		code = put_source(mirror, table);
	if (code && !zm_options.dry_run)
		allow_failover(mirror);

	/* Nobody but who wants hints again would see that it is still there. */
	if (!code && !mirror->exchanged)
		zm_hints_drop_left(table);
	return code;
}

/* LVM may have to wait for a lock, which can be interrupted. */
static int cancel(struct zm_mirror *mirror)
{
	struct zm_lvm_move move = { .old_name = NULL };
	struct zm_table table = { 0 };
	int code;

	if (zm_has_pivoted(mirror))
		return refuse_cancel(mirror);
	code = zm_check_runs(&mirror->dev);
	if (code)
		return code;
	code = source_table(mirror, &table);
	if (!code)
		code = zm_lvm_find_begun(mirror, &move);
	if (!code) {
		zm_hold_signals();
		code = cancel_steps(mirror, &move, &table);
		zm_let_signals();
	}
	zm_lvm_free(&move);
	zm_table_free(&table);
	if (code || zm_options.dry_run)
		return code;
	printf("%s goes on with %s alone\n", mirror->dev.name,
	       mirror->exchanged ? mirror->source.name : "its source");
	if (mirror->exchanged)
		warn_of_owner(&mirror->dev, mirror->source.dev);
	return ZM_OK;
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
		return code ? code : finish_other(argv[optind], &dev, ON_SOURCE, false);
	code = zm_open_locked(argv[optind], &mirror);
	if (!code)
		code = cancel(&mirror);
	zm_mirror_close(&mirror);
	return code;
}
