// SPDX-License-Identifier: GPL-2.0-only
/*
 * All of it in one: start, wait, pivot. It can be interrupted at any moment, and said
 * again: it goes on from where things are.
 */
#include "change.h"
#include "format.h"
#include "lvm.h"
#include "pivot.h"
#include "start.h"
#include "watch.h"
#include "zmirror.h"

#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/*
 * In sync for a moment is not in sync for good: the destination may fail, or, in async
 * mode, users write. So it is waited for again, but not for ever.
 *
 * In async mode, users who write have a pivot settle what is left; while it tries they
 * write in sync mode, so that there is a rest if it cannot. That does not count as a try:
 * the mirror was not in sync.
 */
#define TRIES		10
#define REST		30	/* seconds */

static int exchange_names(void *data, bool moved)
{
	return zm_lvm_exchange(data, moved);
}

static void undo_names(void *data)
{
	zm_lvm_undo(data);
}

/*
 * What a signal would tell is not true any more, and there is nothing left that it could
 * end.
 */
static void tell_done(void *data)
{
	static const int signals[] = { SIGINT, SIGTERM, SIGHUP };
	size_t i;

	for (i = 0; i < sizeof(signals) / sizeof(*signals); i++)
		signal(signals[i], SIG_IGN);
	if (data)
		zm_lvm_tell_end(data);
}

static int tell_never(const struct zm_start *start)
{
	zm_error(ZM_TIMEOUT, "%s was in sync, but never when it was to pivot, in %d tries",
		 start->name, TRIES);
	zm_hint("it goes on being a mirror: zmirror status %s", zm_word(start->name));
	return ZM_TIMEOUT;
}

static int wait_and_pivot(const struct zm_start *start, dev_t dest,
			  struct zm_lvm_move *move)
{
	const struct zm_pivot_hook hook = {
		.before = move ? exchange_names : NULL,
		.undo = move ? undo_names : NULL,
		.after = tell_done,
		.data = move,
		.dest = dest,
	};
	struct zm_mirror mirror;
	bool again = false, was_in_sync;
	int tries = 0, code;

	while (tries < TRIES) {
		code = zm_mirror_open(start->name, &mirror);
		if (code)
			return code;
		if (!zm_has_pivoted(&mirror))
			code = zm_progress(&mirror, again ? REST : 0);
		was_in_sync = strcmp(mirror.status.state, "resync") != 0;
		zm_mirror_close(&mirror);
		if (code)
			return code;
		code = zm_pivot_run(start->name, false, false, &hook);
		zm_unlock();
		if (code != ZM_TIMEOUT)
			return code;
		if (!was_in_sync && !again)
			zm_hint("what was left was not copied in 10 seconds of sync mode; the next try is in %d seconds at least",
				REST);
		tries += was_in_sync;
		again = true;
	}
	return tell_never(start);
}

/* What was paused by a command that was killed, or by the user, is to go on. */
static int go_on(const struct zm_start *start)
{
	struct zm_mirror mirror;
	int code = zm_mirror_open(start->name, &mirror);

	if (!code && (!strcmp(mirror.status.state, "paused") ||
		      !strcmp(mirror.status.state, "stopped"))) {
		zm_note("resuming %s, which was %s", mirror.dev.name,
			mirror.status.state);
		code = zm_dm_message(mirror.dev.name, "resume", NULL);
	}
	zm_mirror_close(&mirror);
	return code;
}

/*
 * Whether it had come to its end before, but for what was left behind: the device is on
 * the destination alone.
 */
static bool is_done(const struct zm_start *start)
{
	struct zm_table table = { 0 };
	struct zm_dev dev;
	dev_t number, dest;
	bool done;

	/* What is on the destination in another way was not moved there. */
	done = !zm_dm_find(start->name, &dev) && !zm_dm_table(dev.name, &table) &&
	       zm_table_linear(&table, &number) &&
	       !zm_dest_find(start->dest, &dest) && number == dest;
	zm_table_free(&table);
	return done;
}

static int finish(const struct zm_start *start, struct zm_lvm_move *move)
{
	struct zm_dev dev;
	int code = zm_dm_find(start->name, &dev);

	if (!code)
		code = zm_lock(dev.dev, start->name);
	if (!code)
		code = zm_dm_lookup_dev(dev.dev, &dev);
	if (!code && move) {
		zm_hold_signals();
		code = zm_lvm_exchange(move, true);
		zm_let_signals();
	}
	if (!code)
		code = zm_clean_up(&dev);
	if (!code && !zm_options.dry_run) {
		printf("%s is on %s already\n", dev.name, start->dest);
		tell_done(move);
	}
	return code;
}

static int print_rest(struct zm_lvm_move *move)
{
	puts("# and when it is in sync:");
	return move ? zm_lvm_exchange(move, false) : ZM_OK;
}

static void tell_how_to_go_on(const struct zm_start *start, bool lvm)
{
	zm_hint("the mirror goes on; to look at it: zmirror watch %s",
		zm_word(start->name));
	zm_hint("to go on to the end: zmirror migrate %s%s %s",
		lvm ? "--lvm " : "", zm_word(start->name), zm_word(start->dest));
	zm_hint("to give it up: zmirror cancel %s", zm_word(start->name));
}

/*
 * What is said when a signal comes before or after the wait, made ready before, for a
 * handler may do next to nothing. Steps that belong together keep signals back; between
 * them the same command goes on, or finishes, as after the death of this one.
 */
static char *farewell;

static void say_farewell(int sig)
{
	ssize_t unused __attribute__((unused));

	(void)sig;
	unused = write(STDERR_FILENO, farewell, strlen(farewell));
	_exit(ZM_INTERRUPTED);
}

static void be_ready_for_signals(const struct zm_start *start)
{
	static const int signals[] = { SIGINT, SIGTERM, SIGHUP };
	struct sigaction action = { .sa_handler = say_farewell }, old;
	size_t i;

	farewell = zm_printf("\nzmirror: interrupted; '%s' works as before\n"
			     "  to go on, wherever it was: the same command again\n"
			     "  to give it up, if a mirror was started: zmirror cancel %s\n",
			     start->name, zm_word(start->name));
	sigfillset(&action.sa_mask);
	for (i = 0; i < sizeof(signals) / sizeof(*signals); i++) {
		sigaction(signals[i], NULL, &old);
		if (old.sa_handler != SIG_IGN)
			sigaction(signals[i], &action, NULL);
	}
}

static int migrate(const struct zm_start *start, struct zm_lvm_move *move)
{
	dev_t dest;
	int code;

	if (!zm_options.dry_run)
		be_ready_for_signals(start);

	if (is_done(start))
		return finish(start, move);
	code = zm_start_run(start, &dest);
	zm_unlock();
	if (code)
		return code;
	if (zm_options.dry_run) {
		code = print_rest(move);
		puts("# and zmirror pivot");
		return code;
	}
	code = go_on(start);
	if (!code)
		code = wait_and_pivot(start, dest, move);
	if (code == ZM_INTERRUPTED)
		tell_how_to_go_on(start, move);
	return code;
}

/* LVM's names tell of one move alone. A mirror has its source's table on the private device. */
static int check_unmoved(const struct zm_start *start, const struct zm_dev *dev)
{
	struct zm_table table = { 0 };
	struct zm_dev holder = *dev, to;
	int code = zm_dm_table(dev->name, &table);

	if (!code && zm_is_mirror(&table))
		code = zm_origin_find(dev, &holder);
	zm_table_free(&table);
	if (code || !holder.name[0] || is_done(start) || !zm_lvm_has_moved(&holder, &to))
		return code;
	return zm_lvm_refuse_moved(dev, &to);
}

/* What cannot be done while the volume is in use is said before the start. */
static int migrate_lvm(const struct zm_start *start, const struct zm_dev *dev)
{
	struct zm_lvm_move move;
	struct zm_dev dest;
	int code = zm_dm_find(start->dest, &dest);

	if (!code)
		code = check_unmoved(start, dev);
	if (!code)
		code = zm_lvm_look(dev, &dest, &move);
	if (code)
		return code;
	if (!zm_options.dry_run)
		zm_lvm_tell(&move);
	code = migrate(start, &move);
	zm_lvm_free(&move);
	return code;
}

static void warn_of_owner(const struct zm_dev *dev)
{
	if (zm_is_cryptsetup(dev))
		zm_hint("cryptsetup will not know where %s is, and would open the old place with old data the next time: see /etc/crypttab",
			dev->name);
	if (zm_lvm_is_volume(dev))
		zm_hint("LVM will not know where %s is, and would activate the old place with old data the next time: see --lvm",
			dev->name);
}

int zm_cmd_migrate(int argc, char **argv)
{
	static const struct option options[] = {
		ZM_START_OPTIONS,
		{ "lvm", no_argument, NULL, 'L' },
		{ 0 }
	};
	struct zm_start start = { 0 };
	struct zm_dev dev;
	bool lvm = false;
	int option, code = ZM_OK;

	while ((option = zm_getopt(argc, argv, "", options)) != -1) {
		if (option == '?')
			return ZM_USAGE;
		if (option == 'L')
			lvm = true;
		else
			code = zm_start_option(&start, option, optarg);
		if (code)
			return code;
	}
	if (argc - optind != 2)
		return zm_error(ZM_USAGE, "migrate takes a device and a destination");
	start.name = argv[optind];
	start.dest = argv[optind + 1];

	/* A link by what is on a device may lead to the destination once it has that, too. */
	code = zm_dm_find(start.name, &dev);
	if (code)
		return code;
	start.name = dev.name;
	if (lvm)
		return migrate_lvm(&start, &dev);
	warn_of_owner(&dev);
	return migrate(&start, NULL);
}
