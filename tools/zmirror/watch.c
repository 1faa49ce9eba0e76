// SPDX-License-Identifier: GPL-2.0-only
/*
 * Looking on, and waiting: the verbs watch and wait, and the progress that others show.
 */
#include <inttypes.h>
#include <langinfo.h>
#include <locale.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/select.h>
#include <sys/time.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "format.h"
#include "mirror.h"
#include "watch.h"
#include "zmirror.h"

/*
 * ------------------------------------------------------------------------
 * Signals and time
 * ------------------------------------------------------------------------
 */

static const int zm_signals[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGALRM, SIGWINCH };

#define ZM_SIGNALS	(sizeof(zm_signals) / sizeof(*zm_signals))

/* The signal that asks the program to end, or 0. */
static atomic_int zm_ended_by;

static void zm_on_signal(int signal)
{
	if (signal != SIGALRM && signal != SIGWINCH)
		zm_ended_by = signal;
}

/*
 * Without SA_RESTART, for a signal is to end what blocks. What is ignored stays so: the
 * program may run in the background, or by nohup.
 */
static void zm_catch_signals(struct sigaction *old)
{
	struct sigaction action = { .sa_handler = zm_on_signal };
	size_t i;

	sigemptyset(&action.sa_mask);
	zm_ended_by = 0;
	for (i = 0; i < ZM_SIGNALS; i++) {
		sigaction(zm_signals[i], NULL, &old[i]);
		if (old[i].sa_handler != SIG_IGN || zm_signals[i] == SIGALRM)
			sigaction(zm_signals[i], &action, NULL);
	}
}

static void zm_release_signals(const struct sigaction *old)
{
	size_t i;

	for (i = 0; i < ZM_SIGNALS; i++)
		sigaction(zm_signals[i], &old[i], NULL);
}

static void zm_set_timer(double seconds)
{
	struct itimerval timer;

	timer.it_value.tv_sec = seconds;
	timer.it_value.tv_usec = (seconds - timer.it_value.tv_sec) * 1e6;
	timer.it_interval = timer.it_value;
	setitimer(ITIMER_REAL, &timer, NULL);
}

/*
 * Waits for an event of the mirror that comes after its status was read, or for a while:
 * not all that happens to a mirror is an event. A signal that comes just before the
 * kernel waits would be missed, so the timer does not ring only once.
 */
static int zm_wait_event(const struct zm_mirror *mirror, double seconds)
{
	int r;

	zm_set_timer(seconds < 0.01 ? 0.01 : seconds);
	r = zm_dm_wait(mirror->dev.name, mirror->dev.event_nr);
	zm_set_timer(0);
	return r == ZM_INTERRUPTED ? ZM_OK : r;
}

/*
 * ------------------------------------------------------------------------
 * Terminals
 * ------------------------------------------------------------------------
 */

/* What can be shown, and where. */
struct zm_screen {
	bool tty;
	bool utf8;
	bool color;
	size_t columns;
	size_t rows;
};

static bool zm_is_terminal(int fd)
{
	const char *term = getenv("TERM");

	return isatty(fd) && term && *term && strcmp(term, "dumb");
}

static size_t zm_environment_size(const char *variable, size_t otherwise)
{
	const char *text = getenv(variable);
	uint64_t size;

	return text && zm_take_number(&text, &size) && !*text && size && size < 10000 ?
	       size : otherwise;
}

/* Where there is no terminal, the environment may tell how wide the text is to be. */
static void zm_screen_measure(struct zm_screen *screen, int fd)
{
	struct winsize size;

	screen->columns = zm_environment_size("COLUMNS", 80);
	screen->rows = zm_environment_size("LINES", 24);
	if (!isatty(fd) || ioctl(fd, TIOCGWINSZ, &size))
		return;
	if (size.ws_col)
		screen->columns = size.ws_col;
	if (size.ws_row)
		screen->rows = size.ws_row;
}

static void zm_screen_init(struct zm_screen *screen, int fd, bool color)
{
	const char *no_color = getenv("NO_COLOR");

	setlocale(LC_CTYPE, "");
	screen->utf8 = !strcmp(nl_langinfo(CODESET), "UTF-8");
	screen->tty = zm_is_terminal(fd);
	screen->color = color && screen->tty && !(no_color && *no_color);
	zm_screen_measure(screen, fd);
}

/*
 * ------------------------------------------------------------------------
 * Waiting
 * ------------------------------------------------------------------------
 */

/* What is waited for. */
enum zm_goal {
	ZM_GOAL_IN_SYNC,
	ZM_GOAL_VERIFIED,
};

/*
 * A wait: its goal, whether a pivot follows, and from when on that may settle what is left,
 * when it has to end if that is not 0, whether and where it is shown, and since when verify
 * has not gone on.
 */
struct zm_wait {
	enum zm_goal goal;
	bool pivots;
	double settle_from;
	double end;
	bool show;
	struct zm_screen screen;
	struct zm_eta eta;
	double shown;
	uint64_t shown_tenth;
	uint64_t verified;
	double verified_at;
};

#define ZM_GOES_ON	(-1)	/* no exit code: there is more to wait for */

static bool zm_state_is(const struct zm_mirror *mirror, const char *state)
{
	return !strcmp(mirror->status.state, state);
}

/* With on_dest_error:retry the kernel tries a destination that has failed again. */
static bool zm_retries(const struct zm_mirror *mirror)
{
	return mirror->status.source_health == 'A' &&
	       strstr(mirror->features, "on_dest_error:retry");
}

static int zm_look_at_resync(const struct zm_mirror *mirror)
{
	if (zm_state_is(mirror, "in_sync"))
		return ZM_OK;
	if (zm_state_is(mirror, "resync") || zm_state_is(mirror, "zeroing") ||
	    (zm_state_is(mirror, "stopped") && zm_retries(mirror)))
		return ZM_GOES_ON;
	return ZM_STOPPED;
}

/*
 * A verify that was ended before its time looks as one that goes on. So one that takes
 * much longer for a region than the slowest one would is taken to have ended.
 */
static bool zm_verify_stalled(const struct zm_mirror *mirror, struct zm_wait *wait)
{
	double patience = 30 + mirror->status.region_sectors / 256.0;
	double now = zm_now();

	if (mirror->status.verify_done != wait->verified || !wait->verified_at ||
	    mirror->dev.suspended) {
		wait->verified = mirror->status.verify_done;
		wait->verified_at = now;
	}
	return now - wait->verified_at > patience;
}

static int zm_look_at_verify(const struct zm_mirror *mirror, struct zm_wait *wait)
{
	const struct zm_status *status = &mirror->status;

	if (!status->verify_total)
		return ZM_REFUSED;
	if (status->verify_done >= status->verify_total)
		return ZM_OK;
	if (status->dest_health != 'A' || status->source_health == 'D' ||
	    zm_state_is(mirror, "pivoted") || zm_verify_stalled(mirror, wait))
		return ZM_STOPPED;
	return ZM_GOES_ON;
}

/*
 * In async mode each write makes something dirty until it is copied: a mirror in use may
 * never be seen in sync. A pivot sets sync mode, and waits for what is left for ten seconds.
 */
static bool zm_pivot_can_settle(const struct zm_mirror *mirror)
{
	const struct zm_status *status = &mirror->status;

	return zm_state_is(mirror, "resync") &&
	       strstr(mirror->features, "copy_mode:async") &&
	       zm_bytes(status->remaining) / 5 < status->writing * 1024;
}

static int zm_look(const struct zm_mirror *mirror, struct zm_wait *wait)
{
	int r;

	if (wait->goal == ZM_GOAL_VERIFIED)
		r = zm_look_at_verify(mirror, wait);
	else
		r = zm_look_at_resync(mirror);
	if (r == ZM_GOES_ON && wait->pivots && zm_now() >= wait->settle_from &&
	    zm_pivot_can_settle(mirror))
		r = ZM_OK;
	if (zm_ended_by && (r == ZM_GOES_ON || (r == ZM_OK && wait->pivots)))
		r = ZM_INTERRUPTED;
	if (r == ZM_GOES_ON && wait->end && zm_now() >= wait->end)
		r = ZM_TIMEOUT;
	return r;
}

/* How far it is: what is done, and what all is. */
static void zm_wait_share(const struct zm_mirror *mirror, const struct zm_wait *wait,
			  uint64_t *done, uint64_t *total)
{
	bool verify = wait->goal == ZM_GOAL_VERIFIED;

	*done = verify ? mirror->status.verify_done : mirror->status.clean;
	*total = verify ? mirror->status.verify_total : mirror->status.total;
}

/* What stands beside the bar. */
static char *zm_wait_tail(const struct zm_mirror *mirror, const struct zm_wait *wait)
{
	double left = zm_eta_left(&wait->eta);
	uint64_t done, total;

	zm_wait_share(mirror, wait, &done, &total);
	if (wait->goal == ZM_GOAL_VERIFIED)
		return zm_printf("%s verified%s%s", zm_percent(done, total).text,
				 left < 0 ? "" : ", time left: ",
				 left < 0 ? "" : zm_duration(left).text);
	if (zm_state_is(mirror, "in_sync"))
		return zm_printf("in sync");
	if (!zm_state_is(mirror, "resync"))
		return zm_printf("%s, %s", zm_percent(done, total).text,
				 mirror->status.state);
	return zm_printf("%s, %s%s%s", zm_percent(done, total).text,
			 zm_rate(mirror->status.writing).text,
			 left < 0 ? "" : ", time left: ",
			 left < 0 ? "" : zm_duration(left).text);
}

static bool zm_wait_due(struct zm_wait *wait, uint64_t done, uint64_t total)
{
	uint64_t tenth = total ? done * 10 / total : 0;

	if (wait->shown && tenth == wait->shown_tenth && zm_now() - wait->shown < 10)
		return false;
	wait->shown = zm_now();
	wait->shown_tenth = tenth;
	return true;
}

/* Lines elsewhere than on a terminal are few: they end up in logs. */
static void zm_wait_show(const struct zm_mirror *mirror, struct zm_wait *wait)
{
	uint64_t done, total;
	char *tail, *line;

	zm_wait_share(mirror, wait, &done, &total);
	zm_eta_add(&wait->eta, zm_now(), total - done);
	if (!wait->screen.tty && !zm_wait_due(wait, done, total))
		return;
	zm_screen_measure(&wait->screen, STDERR_FILENO);
	tail = zm_wait_tail(mirror, wait);
	if (wait->screen.tty) {
		line = zm_bar_line(mirror->dev.name, done, total, tail,
				   wait->screen.columns - 1, wait->screen.utf8);
		fprintf(stderr, "\r%s\033[K", line);
	} else {
		line = zm_printf("%s: %s", mirror->dev.name, tail);
		fprintf(stderr, "%s\n", line);
	}
	fflush(stderr);
	free(line);
	free(tail);
}

static double zm_wait_pause(const struct zm_wait *wait)
{
	double left = wait->end - zm_now();

	return wait->end && left < 1 ? left : 1;
}

static int zm_wait_loop(struct zm_mirror *mirror, struct zm_wait *wait)
{
	int r, waited = ZM_OK;

	for (;;) {
		r = zm_mirror_reload(mirror);
		if (r || waited)
			return r ? r : waited;
		if (wait->show)
			zm_wait_show(mirror, wait);
		r = zm_look(mirror, wait);
		if (r != ZM_GOES_ON)
			return r;
		waited = zm_wait_event(mirror, zm_wait_pause(wait));
	}
}

static void zm_tell_stopped(const struct zm_mirror *mirror, const struct zm_wait *wait)
{
	const struct zm_status *status = &mirror->status;
	const char *name = mirror->dev.name;

	if (wait->goal == ZM_GOAL_VERIFIED)
		zm_error(ZM_STOPPED, "the verify of %s has ended, or hangs, after %s: health %s",
			 name, zm_percent(status->verify_done, status->verify_total).text,
			 zm_health(status).text);
	else
		zm_error(ZM_STOPPED, "%s will not get in sync by itself: %s, health %s",
			 name, status->state, zm_health(status).text);
	zm_hint("zmirror status %s tells what can be done", zm_word(name));
}

/* Tells why a wait has ended. What else it may be was told where it happened. */
static void zm_wait_tell(const struct zm_mirror *mirror, const struct zm_wait *wait, int r)
{
	const char *name = mirror->dev.name;
	uint64_t done, total;

	zm_wait_share(mirror, wait, &done, &total);
	if (r == ZM_NOT_FOUND)
		zm_error(r, "%s is no mirror any more", name);
	else if (r == ZM_REFUSED)
		zm_error(r, "no verify of %s was started", name);
	else if (r == ZM_INTERRUPTED)
		zm_error(r, "interrupted; the mirror %s goes on", name);
	else if (r == ZM_TIMEOUT)
		zm_error(r, "%s is not ready in time: %s, %s done", name,
			 mirror->status.state, zm_percent(done, total).text);
	else if (r == ZM_STOPPED)
		zm_tell_stopped(mirror, wait);
}

static int zm_wait_for(struct zm_mirror *mirror, struct zm_wait *wait)
{
	struct sigaction old[ZM_SIGNALS];
	int r;

	zm_catch_signals(old);
	r = zm_wait_loop(mirror, wait);
	zm_release_signals(old);
	/* What is told must not be written into the line that was drawn in place. */
	if (wait->show && wait->screen.tty)
		fputc('\n', stderr);
	zm_wait_tell(mirror, wait, r);
	return r;
}

int zm_progress(struct zm_mirror *mirror, unsigned int rest)
{
	struct zm_wait wait = {
		.goal = ZM_GOAL_IN_SYNC,
		.pivots = true,
		.settle_from = zm_now() + rest,
		.show = true,
	};

	zm_screen_init(&wait.screen, STDERR_FILENO, false);
	return zm_wait_for(mirror, &wait);
}

int zm_verify_progress(struct zm_mirror *mirror)
{
	struct zm_wait wait = { .goal = ZM_GOAL_VERIFIED, .show = true };

	zm_screen_init(&wait.screen, STDERR_FILENO, false);
	return zm_wait_for(mirror, &wait);
}

/*
 * ------------------------------------------------------------------------
 * The verb wait
 * ------------------------------------------------------------------------
 */

/* What the command line says of a wait. */
struct zm_wait_options {
	bool in_sync;
	bool verify;
	bool bounded;
	double timeout;
};

static int zm_wait_parse(int argc, char **argv, struct zm_wait_options *options)
{
	static const struct option longs[] = {
		{ "in-sync", no_argument, NULL, 'i' },
		{ "verify", no_argument, NULL, 'V' },
		{ "timeout", required_argument, NULL, 't' },
		{ NULL, 0, NULL, 0 },
	};
	int option;

	while ((option = zm_getopt(argc, argv, "", longs)) != -1) {
		if (option == '?')
			return ZM_USAGE;
		options->in_sync |= option == 'i';
		options->verify |= option == 'V';
		options->bounded |= option == 't';
		if (option == 't' && !zm_parse_seconds(optarg, &options->timeout))
			return zm_error(ZM_USAGE, "wait: --timeout takes seconds, not %s",
					optarg);
	}
	if (options->in_sync && options->verify)
		return zm_error(ZM_USAGE, "wait: only one of --in-sync and --verify");
	return ZM_OK;
}

static int zm_open_only(int argc, char **argv, struct zm_mirror *mirror)
{
	if (optind >= argc)
		return zm_error(ZM_USAGE, "%s: the name of a mirror is missing", argv[0]);
	if (argc - optind > 1)
		return zm_error(ZM_USAGE, "%s: unexpected argument %s", argv[0],
				argv[optind + 1]);
	return zm_mirror_open(argv[optind], mirror);
}

int zm_cmd_wait(int argc, char **argv)
{
	struct zm_wait_options options = { .in_sync = false };
	struct zm_wait wait = { .goal = ZM_GOAL_IN_SYNC };
	struct zm_mirror mirror;
	int r;

	r = zm_wait_parse(argc, argv, &options);
	if (!r)
		r = zm_open_only(argc, argv, &mirror);
	if (r)
		return r;
	if (options.verify)
		wait.goal = ZM_GOAL_VERIFIED;
	if (options.bounded)
		wait.end = zm_now() + options.timeout;
	if (zm_options.dry_run) {
		fputs("dmsetup wait", stdout);
		zm_print_word(mirror.dev.name);
		putchar('\n');
	} else {
		r = zm_wait_for(&mirror, &wait);
	}
	zm_mirror_close(&mirror);
	return r;
}

/*
 * ------------------------------------------------------------------------
 * What watch shows
 * ------------------------------------------------------------------------
 */

#define ZM_LABEL		"%-11s"
#define ZM_MAP_ROWS		32	/* at most */

/* How many regions are asked for at first: as ranges they take 16 KiB at most. */
#define ZM_WINDOW		2048
#define ZM_SHORT_ANSWER		4096	/* bytes: the next question may be of more */
#define ZM_LONG_ANSWER		16384
#define ZM_MAP_MESSAGES		64	/* of each kind, for one picture */

#define ZM_BOLD			"\033[1m"
#define ZM_RED			"\033[1;31m"
#define ZM_GREEN		"\033[32m"
#define ZM_YELLOW		"\033[33m"
#define ZM_CYAN			"\033[36m"
#define ZM_PLAIN		"\033[0m"

/*
 * A watch: @map is made again when the screen's size changes, for which it has to have
 * @map_asked cells. It is @sampled where not all regions were looked at; @window is how
 * many of a kind one message asks for. The picture is drawn into @out, @row is the
 * next one, and @full tells that it is to fill the screen of a terminal.
 */
struct zm_watch {
	struct zm_mirror mirror;
	struct zm_screen screen;
	struct zm_eta eta;
	bool full;
	bool with_map;
	struct zm_map map;
	size_t map_asked;
	bool sampled;
	uint64_t window[ZM_MAP_KINDS];
	FILE *out;
	size_t row;
};

static void zm_row_put(struct zm_watch *watch, const char *color, const char *text)
{
	if (watch->full && watch->row >= watch->screen.rows)
		return;
	watch->row++;
	if (watch->full)
		fprintf(watch->out, "\033[%zu;1H", watch->row);
	if (watch->screen.color && color)
		fprintf(watch->out, "%s%s" ZM_PLAIN, color, text);
	else
		fputs(text, watch->out);
	fputs(watch->full ? "\033[K" : "\n", watch->out);
}

__attribute__((format(printf, 3, 4)))
static void zm_row(struct zm_watch *watch, const char *color, const char *format, ...)
{
	char *text = NULL;
	va_list args;
	size_t size;
	FILE *row;

	row = open_memstream(&text, &size);
	if (!row)
		return;
	va_start(args, format);
	vfprintf(row, format, args);
	va_end(args);
	fclose(row);
	zm_cut(text, watch->screen.columns);
	zm_row_put(watch, color, text);
	free(text);
}

static const char *zm_state_color(const struct zm_mirror *mirror)
{
	if (mirror->dev.suspended || zm_state_is(mirror, "stopped") ||
	    zm_state_is(mirror, "failed_over") || zm_state_is(mirror, "degraded"))
		return ZM_RED;
	return zm_state_is(mirror, "in_sync") ? ZM_GREEN : ZM_YELLOW;
}

static void zm_draw_title(struct zm_watch *watch)
{
	const struct zm_mirror *mirror = &watch->mirror;
	char *name = zm_printable(mirror->dev.name, false);
	char *source = zm_printable(mirror->source.name, false);
	char *dest = zm_printable(mirror->dest.name, false);

	zm_row(watch, ZM_BOLD, "%s: %s -> %s, %s", name, source, dest,
	       zm_size(zm_bytes(mirror->sectors)).text);
	free(name);
	free(source);
	free(dest);
}

static void zm_draw_progress(struct zm_watch *watch)
{
	const struct zm_mirror *mirror = &watch->mirror;
	const struct zm_status *status = &mirror->status;
	double left = zm_eta_left(&watch->eta);
	char *line;

	line = zm_bar_line("progress ", status->clean, status->total,
			   zm_percent(status->clean, status->total).text,
			   watch->screen.columns, watch->screen.utf8);
	zm_row_put(watch, ZM_GREEN, line);
	free(line);
	if (left >= 0 && (zm_state_is(mirror, "resync") || zm_state_is(mirror, "zeroing")))
		zm_row(watch, zm_state_color(mirror), ZM_LABEL "%s, %s left", "state",
		       status->state, zm_duration(left).text);
	else
		zm_row(watch, zm_state_color(mirror), ZM_LABEL "%s", "state",
		       mirror->dev.suspended ? "suspended: requests wait" : status->state);
	zm_row(watch, NULL, ZM_LABEL "%s at most", "left",
	       zm_size(zm_bytes(zm_status_remaining(status))).text);
}

static void zm_draw_rates(struct zm_watch *watch)
{
	const struct zm_status *status = &watch->mirror.status;

	zm_row(watch, NULL, ZM_LABEL "writing %s, reading %s, %s%s", "rate",
	       zm_rate(status->writing).text, zm_rate(status->reading).text,
	       status->bound ? "at most " : "no bound",
	       status->bound ? zm_rate(status->bound).text : "");
	if (status->latency_now)
		zm_row(watch, NULL, ZM_LABEL "%s, %s without resync", "latency",
		       zm_delay(status->latency_now).text,
		       zm_delay(status->latency_without).text);
	zm_row(watch, NULL, ZM_LABEL "%s, zeroed %s", "copied",
	       zm_size(zm_bytes(status->copied)).text,
	       zm_size(zm_bytes(status->zeroed)).text);
	zm_row(watch, NULL, ZM_LABEL "%s of zeroes by resync, %s by users", "skipped",
	       zm_size(zm_bytes(status->skipped)).text,
	       zm_size(zm_bytes(status->fg_skipped)).text);
}

static void zm_draw_health(struct zm_watch *watch)
{
	const struct zm_status *status = &watch->mirror.status;
	bool ill = status->source_health != 'A' || status->dest_health != 'A';

	if (status->verify_total)
		zm_row(watch, status->mismatch ? ZM_RED : NULL,
		       ZM_LABEL "%s; regions that differ: %" PRIu64 ", not compared: %" PRIu64,
		       "verify",
		       zm_percent(status->verify_done, status->verify_total).text,
		       status->mismatch, status->unverified);
	zm_row(watch, ill ? ZM_RED : NULL,
	       ZM_LABEL "%s; errors: source %" PRIu64 ", destination %" PRIu64, "health",
	       zm_health(status).text, status->source_errors, status->dest_errors);
}

/* A map row may have many colors: one is only set where it changes. */
static void zm_draw_map_row(struct zm_watch *watch, size_t first)
{
	static const char * const colors[ZM_CELLS] = {
		ZM_PLAIN, ZM_GREEN, ZM_CYAN, ZM_YELLOW, ZM_PLAIN, ZM_PLAIN, ZM_RED,
	};
	size_t end = first + watch->screen.columns, size, i;
	const char *color = NULL;
	enum zm_cell cell;
	char *text = NULL;
	FILE *row;

	row = open_memstream(&text, &size);
	if (!row)
		return;
	for (i = first; i < end && i < watch->map.nr; i++) {
		cell = zm_map_look(&watch->map, i);
		if (watch->screen.color && color != colors[cell])
			fputs(colors[cell], row);
		color = colors[cell];
		fputs(zm_glyph(cell, watch->screen.utf8), row);
	}
	if (watch->screen.color)
		fputs(ZM_PLAIN, row);
	fclose(row);
	zm_row_put(watch, NULL, text);
	free(text);
}

static void zm_draw_map(struct zm_watch *watch)
{
	char *legend = zm_legend(watch->screen.utf8);
	uint64_t cell_regions;
	size_t i;

	cell_regions = (watch->map.total + watch->map.nr - 1) / watch->map.nr;
	zm_row(watch, NULL, ZM_LABEL "each column is %s%s", "map",
	       zm_size(zm_bytes(cell_regions * watch->mirror.status.region_sectors)).text,
	       watch->sampled ? ", by samples" : "");
	for (i = 0; i < watch->map.nr; i += watch->screen.columns)
		zm_draw_map_row(watch, i);
	zm_row(watch, NULL, "%s", legend);
	free(legend);
}

/*
 * ------------------------------------------------------------------------
 * The map that watch shows
 * ------------------------------------------------------------------------
 */

/* So many as the screen has below the text, its legend and the last line. */
static void zm_map_size(struct zm_watch *watch)
{
	size_t used = 11 + !!watch->mirror.status.verify_total +
		      !!watch->mirror.status.latency_now;
	size_t rows = watch->screen.rows > used ? watch->screen.rows - used : 1;
	size_t nr;

	if (rows > ZM_MAP_ROWS)
		rows = ZM_MAP_ROWS;
	nr = rows * watch->screen.columns;
	if (watch->map.cells && watch->map.total == watch->mirror.status.total &&
	    watch->map_asked == nr)
		return;
	zm_map_free(&watch->map);
	zm_map_init(&watch->map, watch->mirror.status.total, nr);
	watch->map_asked = nr;
}

static uint64_t zm_next_window(uint64_t window, size_t answer)
{
	if (answer > ZM_LONG_ANSWER && window > ZM_WINDOW)
		return window / 2;
	return answer < ZM_SHORT_ANSWER && window < UINT32_MAX ? window * 2 : window;
}

/* Where the first question of a round begins, when not all of the device is looked at. */
static uint64_t zm_map_start(const struct zm_map *map, uint64_t window)
{
	uint64_t stride = map->total / ZM_MAP_MESSAGES;

	return stride > window ? map->round * window % stride : 0;
}

/*
 * Where regions of a kind are scattered, one answer tells of few, and there are more
 * questions than may be asked: then some are left out at even distances, other ones in
 * each round.
 */
static void zm_map_scan(struct zm_watch *watch, enum zm_map_kind kind, const char *name)
{
	uint64_t total = watch->map.total, *window = &watch->window[kind];
	uint64_t first = zm_map_start(&watch->map, *window), count, step;
	unsigned int messages = ZM_MAP_MESSAGES;
	char *list;

	for (; first < total && messages; first += step) {
		count = total - first < *window ? total - first : *window;
		list = zm_mirror_regions(&watch->mirror, name, first, count);
		if (!list || zm_map_add(&watch->map, kind, first, count, list)) {
			*window = *window > 1 ? *window / 2 : 1;
			free(list);
			return;
		}
		step = (total - first) / messages--;
		if (step > count)
			watch->sampled = true;
		else
			step = count;
		*window = zm_next_window(*window, strlen(list));
		free(list);
	}
}

/* Nothing needs to be asked where the status tells that all or no regions are so. */
static void zm_map_ask(struct zm_watch *watch, enum zm_map_kind kind, const char *name,
		       uint64_t regions)
{
	uint64_t total = watch->map.total;
	char *all;

	if (regions && regions < total) {
		zm_map_scan(watch, kind, name);
		return;
	}
	all = regions ? zm_printf("0-%" PRIu64, total - 1) : zm_strdup("none");
	zm_map_add(&watch->map, kind, 0, total, all);
	free(all);
}

static void zm_map_update(struct zm_watch *watch)
{
	const struct zm_status *status = &watch->mirror.status;

	watch->sampled = false;
	zm_map_begin(&watch->map);
	zm_map_ask(watch, ZM_MAP_DIRTY, "dirty", status->dirty);
	zm_map_ask(watch, ZM_MAP_ZERO, "zero", status->zero);
	zm_map_ask(watch, ZM_MAP_MISMATCH, "mismatch", status->mismatch);
}

/*
 * ------------------------------------------------------------------------
 * The verb watch
 * ------------------------------------------------------------------------
 */

/* How the terminal was, while it is ours. */
static struct {
	bool ours;
	bool keys;
	struct termios was;
} zm_terminal;

static void zm_terminal_leave(void)
{
	if (!zm_terminal.ours)
		return;
	zm_terminal.ours = false;
	fputs(ZM_PLAIN "\033[?25h\033[?1049l", stdout);
	fflush(stdout);
	if (zm_terminal.keys)
		tcsetattr(STDIN_FILENO, TCSADRAIN, &zm_terminal.was);
}

/*
 * The alternate screen, no cursor, and keys one by one without an echo. The key that
 * stops a program is off: it would leave the terminal as it is now.
 */
static void zm_terminal_enter(void)
{
	struct termios mode;

	zm_terminal.keys = !tcgetattr(STDIN_FILENO, &zm_terminal.was);
	if (zm_terminal.keys) {
		mode = zm_terminal.was;
		mode.c_lflag &= ~(ICANON | ECHO);
		mode.c_cc[VSUSP] = _POSIX_VDISABLE;
		tcsetattr(STDIN_FILENO, TCSADRAIN, &mode);
	}
	zm_terminal.ours = true;
	atexit(zm_terminal_leave);
	fputs("\033[?1049h\033[?25l", stdout);
}

/* The picture is written at once, so that none is seen that is half drawn. */
static void zm_watch_draw(struct zm_watch *watch)
{
	char *picture = NULL;
	size_t size;

	if (watch->with_map) {
		zm_map_size(watch);
		/* The first round finds out how many regions an answer may be of. */
		if (!watch->map.round)
			zm_map_update(watch);
		zm_map_update(watch);
	}
	watch->out = open_memstream(&picture, &size);
	if (!watch->out)
		return;
	watch->row = 0;
	zm_draw_title(watch);
	zm_draw_progress(watch);
	zm_draw_rates(watch);
	zm_draw_health(watch);
	if (watch->with_map)
		zm_draw_map(watch);
	if (watch->full)
		zm_row(watch, NULL, "q ends this; the mirror goes on");
	if (watch->full && watch->row < watch->screen.rows)
		fputs("\033[J", watch->out);
	fclose(watch->out);
	fwrite(picture, 1, size, stdout);
	fflush(stdout);
	free(picture);
}

static int zm_watch_reload(struct zm_watch *watch)
{
	int r;

	r = zm_mirror_reload(&watch->mirror);
	if (!r)
		zm_eta_add(&watch->eta, zm_now(),
			   zm_status_remaining(&watch->mirror.status));
	return r;
}

/* Whether a key asks for the end; @keys becomes false when there will be no more. */
static bool zm_quit_key(bool *keys)
{
	char key;

	if (read(STDIN_FILENO, &key, 1) == 1)
		return key == 'q' || key == 'Q';
	*keys = false;
	return false;
}

/*
 * Waits until the next picture is due: after the interval, or at once when the screen
 * has another size. Signals come only here, so that none is missed. Returns whether the
 * user has had enough.
 */
static bool zm_watch_pause(double interval, const sigset_t *signals, bool *keys)
{
	double end = zm_now() + interval, left;
	struct timespec time;
	fd_set input;
	int r;

	while (!zm_ended_by && (left = end - zm_now()) > 0) {
		time.tv_sec = left;
		time.tv_nsec = (left - time.tv_sec) * 1e9;
		FD_ZERO(&input);
		FD_SET(STDIN_FILENO, &input);
		r = pselect(*keys ? STDIN_FILENO + 1 : 0, &input, NULL, NULL, &time,
			    signals);
		if (r < 0)
			return zm_ended_by;
		if (r > 0 && zm_quit_key(keys))
			return true;
	}
	return zm_ended_by;
}

static int zm_watch_screen(struct zm_watch *watch, double interval, const sigset_t *signals)
{
	char *line;
	bool keys;
	int r;

	zm_terminal_enter();
	keys = zm_terminal.keys;
	do {
		r = zm_watch_reload(watch);
		if (r)
			break;
		zm_screen_measure(&watch->screen, STDOUT_FILENO);
		zm_watch_draw(watch);
	} while (!zm_watch_pause(interval, signals, &keys));
	zm_terminal_leave();
	/* The last state is left on the screen that the user comes back to. */
	if (!r) {
		line = zm_line(&watch->mirror, zm_eta_left(&watch->eta));
		puts(line);
		free(line);
	}
	return r;
}

static int zm_watch_lines(struct zm_watch *watch, double interval, const sigset_t *signals)
{
	char *last = zm_strdup(""), *line;
	bool keys = false;
	int r;

	do {
		r = zm_watch_reload(watch);
		if (r)
			break;
		line = zm_line(&watch->mirror, zm_eta_left(&watch->eta));
		if (strcmp(line, last)) {
			puts(line);
			fflush(stdout);
		}
		free(last);
		last = line;
	} while (!zm_watch_pause(interval, signals, &keys));
	free(last);
	return r;
}

/* Signals are blocked but where it waits, so that none comes between a look and a wait. */
static int zm_watch_run(struct zm_watch *watch, double interval)
{
	struct sigaction old[ZM_SIGNALS];
	sigset_t ours, signals;
	size_t i;
	int r;

	sigemptyset(&ours);
	for (i = 0; i < ZM_SIGNALS; i++)
		sigaddset(&ours, zm_signals[i]);
	sigprocmask(SIG_BLOCK, &ours, &signals);
	zm_catch_signals(old);
	r = watch->full ? zm_watch_screen(watch, interval, &signals) :
			  zm_watch_lines(watch, interval, &signals);
	zm_release_signals(old);
	sigprocmask(SIG_SETMASK, &signals, NULL);
	if (r == ZM_NOT_FOUND)
		return zm_error(r, "%s is no mirror any more", watch->mirror.dev.name);
	return !r && zm_ended_by ? ZM_INTERRUPTED : r;
}

/* What the command line says of a watch. */
struct zm_watch_options {
	double interval;
	bool once;
	bool color;
	bool map;
};

static int zm_watch_parse(int argc, char **argv, struct zm_watch_options *options)
{
	static const struct option longs[] = {
		{ "interval", required_argument, NULL, 'n' },
		{ "once", no_argument, NULL, '1' },
		{ "no-color", no_argument, NULL, 'C' },
		{ "map", no_argument, NULL, 'm' },
		{ "no-map", no_argument, NULL, 'M' },
		{ NULL, 0, NULL, 0 },
	};
	int option;

	while ((option = zm_getopt(argc, argv, "", longs)) != -1) {
		if (option == '?')
			return ZM_USAGE;
		if (option == 'n' && (!zm_parse_seconds(optarg, &options->interval) ||
				      options->interval < 0.1))
			return zm_error(ZM_USAGE,
					"watch: --interval takes seconds from 0.1, not %s",
					optarg);
		options->once |= option == '1';
		options->color &= option != 'C';
		if (option == 'm' || option == 'M')
			options->map = option == 'm';
	}
	return ZM_OK;
}

int zm_cmd_watch(int argc, char **argv)
{
	struct zm_watch_options options = { .interval = 1, .color = true, .map = true };
	struct zm_watch watch = { .window = { ZM_WINDOW, ZM_WINDOW, ZM_WINDOW } };
	int r;

	r = zm_watch_parse(argc, argv, &options);
	if (!r)
		r = zm_open_only(argc, argv, &watch.mirror);
	if (r)
		return r;
	zm_screen_init(&watch.screen, STDOUT_FILENO, options.color);
	watch.with_map = options.map;
	watch.full = watch.screen.tty && !options.once;
	if (options.once)
		zm_watch_draw(&watch);
	else
		r = zm_watch_run(&watch, options.interval);
	zm_map_free(&watch.map);
	zm_mirror_close(&watch.mirror);
	return r;
}
