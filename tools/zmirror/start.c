// SPDX-License-Identifier: GPL-2.0-only
/*
 * The start of a mirror. The device's table moves under a private device, and the
 * mirror's takes its place:
 *
 *	create NAME-zorigin with the table of NAME
 *	load NAME with a mirror from NAME-zorigin to the destination
 *	resume NAME
 *
 * Until the last step NAME goes on as it was, whatever becomes of this program; that step
 * is one ioctl. What is left behind by a death before it, a private device that nobody
 * uses and a table that is not live, the next command removes.
 */
#include "start.h"
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

/*
 * ------------------------------------------------------------------------
 * Options
 * ------------------------------------------------------------------------
 */

static int add_feature(struct zm_start *start, const char *feature)
{
	static const char * const ours[] = { "dest_zeroed", "hints", "paused", "prezero" };
	size_t i;

	if (start->nr_features == ZM_MOST_FEATURES)
		return zm_error(ZM_USAGE, "--set is given too often");
	if (!*feature || strpbrk(feature, " \t\n"))
		return zm_error(ZM_USAGE, "--set takes FEATURE or FEATURE:VALUE, not \"%s\"",
				feature);
	for (i = 0; i < sizeof(ours) / sizeof(*ours); i++)
		if (!strcmp(feature, ours[i]))
			return zm_error(ZM_USAGE, "--set does not take %s, which has an option of its own",
					feature);
	start->features[start->nr_features++] = feature;
	return ZM_OK;
}

int zm_start_option(struct zm_start *start, int option, const char *value)
{
	switch (option) {
	case 'z':
		start->dest_is_zero = true;
		return ZM_OK;
	case 'p':
		start->prezero = true;
		return ZM_OK;
	case 'r':
		if (zm_parse_amount(value, 512, &start->region_sectors))
			return ZM_OK;
		return zm_error(ZM_USAGE, "--region takes sectors, or a size such as 64KiB, not \"%s\"",
				value);
	case 'H':
		start->hints = value;
		return ZM_OK;
	case 'N':
		start->no_hints = true;
		return ZM_OK;
	case 's':
		return add_feature(start, value);
	default:
		zm_options.force = true;
		return ZM_OK;
	}
}

/*
 * ------------------------------------------------------------------------
 * The table
 * ------------------------------------------------------------------------
 */

static bool has_feature(const struct zm_start *start, const char *feature)
{
	size_t i;

	for (i = 0; i < start->nr_features; i++)
		if (!strcmp(start->features[i], feature))
			return true;
	return false;
}

void zm_start_table(const struct zm_start *start, const struct zm_dest *dest,
		    const char *origin, uint64_t sectors, bool hints,
		    struct zm_table *table)
{
	char *words = zm_strdup(""), *params;
	size_t nr = 0, i;

	if (dest->dest_zeroed)
		zm_add_word(&words, &nr, "dest_zeroed");
	if (start->prezero && !dest->dest_zeroed)
		zm_add_word(&words, &nr, "prezero");
	if (dest->discard_zeroes && !has_feature(start, "no_unmap") &&
	    !has_feature(start, "discard_zeroes"))
		zm_add_word(&words, &nr, "discard_zeroes");
	if (hints)
		zm_add_word(&words, &nr, "hints");

	/* Or resync would read meanwhile what need not be read. */
	if (start->paused || hints)
		zm_add_word(&words, &nr, "paused");
	for (i = 0; i < start->nr_features; i++)
		zm_add_word(&words, &nr, start->features[i]);

	params = zm_printf("%s 0 %u:%u 0 %" PRIu64 " %zu%s", origin,
			   major(dest->dev), minor(dest->dev),
			   start->region_sectors, nr, words);
	zm_table_add(table, 0, sectors, "zmirror", params);
	free(params);
	free(words);
}

/*
 * ------------------------------------------------------------------------
 * Steps
 * ------------------------------------------------------------------------
 */

/**
 * struct job - what a start has found out, and made
 * @start: what the user wants
 * @dev: the device
 * @table: its table
 * @sectors: its length
 * @dest: the destination
 * @origin: name of the private device
 * @uuid: of the private device
 * @promised: the destination is zero because the user says so
 * @hints: the mirror is to be told what is zero
 * @zero: that, from a file
 * @written: sectors written to the device and discarded there before it was looked at
 * @late: that is not known: another command has made the mirror
 */
struct job {
	const struct zm_start *start;
	struct zm_dev dev;
	struct zm_table table;
	uint64_t sectors;
	struct zm_dest dest;
	char origin[ZM_NAME_SIZE];
	char uuid[ZM_UUID_SIZE];
	bool promised;
	bool hints;
	struct zm_ranges zero;
	uint64_t written;
	bool late;
};

/* The device was not touched, or has a table of somebody else's: only what was made goes. */
static void withdraw(const struct job *job)
{
	struct zm_dev dev;

	if (!zm_dm_lookup_dev(job->dev.dev, &dev))
		zm_clean_up(&dev);
}

static void undo(const struct job *job)
{
	struct zm_dev origin;

	zm_put_back(job->dev.name, &job->table);
	if (!zm_dm_lookup(job->origin, &origin))
		zm_dm_remove(job->origin);
}

static int create_origin(const struct job *job)
{
	struct zm_plan plan = { 0 };
	int code;

	zm_plan_create(&plan, "start.create", job->origin, job->uuid, &job->table);
	code = zm_plan_run(&plan, NULL);
	zm_plan_free(&plan);
	return code;
}

/* By number, for the path may have come late; but it is not known before it is there. */
static char *origin_word(const struct job *job)
{
	struct zm_dev origin;

	if (!zm_options.dry_run && !zm_dm_lookup(job->origin, &origin))
		return zm_printf("%u:%u", major(origin.dev), minor(origin.dev));
	return zm_dm_path(job->origin);
}

static int load_mirror(const struct job *job)
{
	struct zm_table table = { 0 };
	struct zm_plan plan = { 0 };
	char *origin = origin_word(job);
	int code;

	zm_start_table(job->start, &job->dest, origin, job->sectors, job->hints,
		       &table);
	zm_plan_load(&plan, "start.load", job->dev.name, &table);
	code = zm_plan_run(&plan, NULL);
	zm_plan_free(&plan);
	zm_table_free(&table);
	free(origin);
	return code;
}

/* LVM, for one, may have changed the device since it was looked at. */
static int check_unchanged(const struct job *job)
{
	struct zm_table now = { 0 };
	struct zm_dev dev;
	bool same = !zm_dm_lookup_dev(job->dev.dev, &dev) && !dev.suspended &&
		    !zm_dm_table(job->dev.name, &now) &&
		    zm_table_equal(&now, &job->table);

	zm_table_free(&now);
	return same ? ZM_OK :
	       zm_error(ZM_REFUSED, "%s has been changed by somebody else meanwhile",
			job->dev.name);
}

/*
 * Once it is in a table that is loaded nobody but device-mapper can take the destination,
 * and what was written to it before that is seen now. A promise is not looked at again.
 */
static int check_proof(struct job *job)
{
	if (!job->dest.dest_zeroed || job->promised || zm_dest_still_zero(&job->dest))
		return ZM_OK;
	zm_hint("%s is not zero any more: somebody has written to it meanwhile",
		job->dest.name);
	job->dest.dest_zeroed = false;
	job->hints = job->start->hints || job->start->want_hints;
	free(job->dest.why);
	job->dest.why = NULL;
	return load_mirror(job);
}

static int go_live(const struct job *job)
{
	struct zm_plan plan = { 0 };
	struct zm_mirror mirror;
	int code;

	zm_plan_resume(&plan, "start.resume", job->dev.name);
	code = zm_plan_run(&plan, NULL);
	zm_plan_free(&plan);
	if (code)
		undo(job);
	if (code || zm_options.dry_run)
		return code;

	/* If somebody has loaded a table in between, that one is live now. */
	code = zm_mirror_open(job->dev.name, &mirror);
	if (!code && mirror.dest.dev != job->dest.dev)
		code = ZM_FAILED;
	zm_mirror_close(&mirror);
	if (!code)
		return ZM_OK;
	withdraw(job);
	return zm_error(ZM_FAILED, "%s has been changed by somebody else meanwhile",
			job->dev.name);
}

static int put_mirror(struct job *job)
{
	int code = load_mirror(job);

	if (!code && !zm_options.dry_run)
		code = check_proof(job);
	if (!code && !zm_options.dry_run)
		code = check_unchanged(job);
	if (!code)
		return go_live(job);
	withdraw(job);
	return code;
}

static int put_in_place(struct job *job)
{
	int code;

	zm_hold_signals();
	code = create_origin(job);
	if (!code)
		code = put_mirror(job);
	zm_let_signals();
	if (code)
		zm_hint("%s goes on as it was", job->dev.name);
	return code;
}

/*
 * ------------------------------------------------------------------------
 * Hints
 * ------------------------------------------------------------------------
 */

/*
 * Nobody had the device open when it was looked at. What has changed since it is a mirror
 * the mirror knows; what was written between the two neither it nor the file knows.
 */
static int check_unwritten(const struct job *job)
{
	if (zm_options.force)
		return ZM_OK;
	if (job->late) {
		zm_error(ZM_REFUSED, "%s is not used: nobody knows what was written to %s before it was a mirror",
			 job->start->hints, job->dev.name);
		zm_hint("if it was made after that: zmirror pause %s; zmirror hint; zmirror resume",
			zm_word(job->dev.name));
		return ZM_REFUSED;
	}
	if (zm_dev_written(job->dev.dev) == job->written)
		return ZM_OK;
	return zm_error(ZM_REFUSED, "%s is not used: somebody has written to %s meanwhile",
			job->start->hints, job->dev.name);
}

/*
 * They are a help, so that what goes wrong with them is told, and all is read then. The
 * mirror is resumed in any case.
 */
static int give_hints(struct job *job)
{
	struct zm_mirror mirror;
	int code;

	if (zm_options.dry_run) {
		printf("# what is zero on the source: dmsetup message %s 0 'hint zero REGIONS'\n",
		       zm_word(job->dev.name));
		if (!job->start->paused)
			printf("dmsetup message %s 0 resume\n", zm_word(job->dev.name));
		return ZM_OK;
	}
	zm_hold_signals();
	zm_fault("start.hints");
	code = zm_mirror_open(job->dev.name, &mirror);
	if (!code && job->start->hints)
		code = check_unwritten(job);
	else if (!code)
		code = zm_hints_pool(&job->table, &job->zero);
	if (!code)
		code = zm_hints_send(&mirror, &job->zero);
	if (code)
		zm_hint("all of the source is read therefore, which only takes longer");
	zm_fault("start.hints.done");
	code = job->start->paused ? ZM_OK :
				    zm_dm_message(job->dev.name, "resume", NULL);
	zm_let_signals();
	if (code)
		zm_hint("%s is a mirror, and paused: zmirror resume %s",
			job->dev.name, zm_word(job->dev.name));
	zm_mirror_close(&mirror);
	return code;
}

/*
 * Of a file nobody knows when it was made: perhaps before the mirror began. A mirror that
 * is live does not count as somebody who has the device open, for it has others open.
 */
static int read_hints(struct job *job, uint64_t sectors)
{
	const char *file = job->start->hints;

	if (!job->dev.open_count || zm_options.force)
		return zm_ranges_read(file, sectors, &job->zero);
	zm_error(ZM_REFUSED, "%s is in use: what was written since %s was made would be lost",
		 job->dev.name, file);
	zm_hint("zmirror start --want-hints first; then make the file; then zmirror hint");
	return ZM_REFUSED;
}

/*
 * Where the destination is not known to be zero, what is zero on the source must be
 * zeroed there, region by region, and to know it saves next to nothing.
 */
static int prepare_hints(struct job *job)
{
	const struct zm_start *start = job->start;

	job->hints = start->want_hints || start->hints;
	if (start->hints)
		return read_hints(job, job->sectors);
	if (job->hints)
		return ZM_OK;
	job->hints = !start->no_hints && job->dest.dest_zeroed &&
		     zm_hints_possible(&job->table);
	return ZM_OK;
}

/*
 * ------------------------------------------------------------------------
 * Before anything is changed
 * ------------------------------------------------------------------------
 */

static int believe_promise(struct job *job)
{
	uint64_t where = 0;
	int r;

	if (!job->start->dest_is_zero || job->dest.dest_zeroed)
		return ZM_OK;
	if (job->dest.thin && !job->dest.pool_zeroes) {
		zm_error(ZM_REFUSED, "%s is in a pool that does not zero what it maps: it will not stay zero",
			 job->start->dest);
		zm_hint("leave --dest-is-zero out; or lvchange --zero y of the pool, for a new volume");
		return ZM_REFUSED;
	}
	r = zm_dest_sample(&job->dest, job->sectors, &where);
	if (r < 0)
		return ZM_FAILED;
	if (!r) {
		zm_error(ZM_REFUSED, "%s is not zero: there is data at byte %" PRIu64,
			 job->start->dest, where);
		zm_hint("leave --dest-is-zero out, and what is zero is zeroed there");
		return ZM_REFUSED;
	}
	job->dest.dest_zeroed = true;
	job->promised = true;
	free(job->dest.why);
	job->dest.why = zm_strdup("promised by --dest-is-zero, and no data in samples of it");
	return ZM_OK;
}

/* By "nosync" nothing is copied, and it shows after a pivot that nothing was. */
static int believe_equal(const struct zm_start *start)
{
	if (zm_options.force || !has_feature(start, "nosync"))
		return ZM_OK;
	zm_error(ZM_REFUSED, "--set nosync: %s is not proved to be equal to %s",
		 start->dest, start->name);
	zm_hint("if it is, --force says so");
	return ZM_REFUSED;
}

/* Of other destinations nobody can tell; of a thin volume it is known. */
static int believe_discards(const struct job *job)
{
	if (zm_options.force || !has_feature(job->start, "discard_zeroes") ||
	    !job->dest.thin || job->dest.discard_zeroes)
		return ZM_OK;
	zm_error(ZM_REFUSED, "--set discard_zeroes: what is discarded of %s does not read as zeroes",
		 job->start->dest);
	zm_hint("leave it out: it has an external origin, or its pool takes no discards or does not zero what it maps");
	return ZM_REFUSED;
}

static int look_at_dest(struct job *job)
{
	int code = zm_dest_probe(job->start->dest, &job->dest);

	if (!code)
		code = zm_lock(job->dest.dev, job->start->dest);
	if (!code)
		code = zm_dest_check(&job->dest, &job->dev, job->sectors,
				     zm_options.force);
	if (!code)
		code = believe_equal(job->start);
	if (!code)
		code = believe_discards(job);
	if (!code)
		code = believe_promise(job);
	if (!code)
		code = prepare_hints(job);
	return code;
}

static int look_at_source(struct job *job)
{
	int code = zm_clean_up(&job->dev);

	if (!code)
		code = zm_source_check(&job->dev, &job->table);
	if (!code)
		code = zm_origin_name(&job->dev, job->origin);
	if (code)
		return code;
	zm_origin_uuid(&job->dev, job->uuid);
	job->sectors = zm_table_sectors(&job->table);
	return ZM_OK;
}

/*
 * A command that was killed before it had given hints has left the mirror paused. The
 * pool's are right at any time: what has changed since, the mirror knows. A file's are
 * from before, and what has come between it and the mirror only that command could see.
 */
static int go_on_with_hints(struct job *job, const struct zm_mirror *mirror)
{
	int code = ZM_OK;

	if (job->start->paused || job->start->want_hints || strcmp(mirror->status.state, "paused") ||
	    !zm_has_word(mirror->features, "hints"))
		return ZM_OK;
	zm_table_free(&job->table);
	job->late = true;
	if (job->start->hints && zm_options.force)
		code = read_hints(job, mirror->sectors);
	else if (!job->start->hints && mirror->origin.name[0])
		code = zm_dm_table(mirror->origin.name, &job->table);
	return code ? code : give_hints(job);
}

/* How a mirror works is not changed by another start. */
static void tell_unchanged(const struct zm_start *start, const struct zm_mirror *mirror)
{
	bool same = !start->region_sectors || start->region_sectors == mirror->region_sectors;
	size_t i;

	for (i = 0; i < start->nr_features; i++)
		same = same && zm_has_word(mirror->features, start->features[i]);
	if (!same)
		zm_hint("--region and --set change nothing of a mirror that is there: see zmirror set, or zmirror cancel and start anew");
}

/* Whoever says it twice, perhaps because the first time ended early, has what he wants. */
static int already(struct job *job)
{
	struct zm_mirror mirror;
	int code = zm_mirror_open(job->dev.name, &mirror);

	if (code)
		return code;
	code = zm_dest_find(job->start->dest, &job->dest.dev);
	if (code) {
		zm_mirror_close(&mirror);
		return code;
	}
	if (job->dest.dev == mirror.dest.dev && !mirror.exchanged) {
		tell_unchanged(job->start, &mirror);
		code = go_on_with_hints(job, &mirror);
		if (!code && !zm_options.dry_run)
			printf("%s is being mirrored to %s already\n",
			       mirror.dev.name, mirror.dest.name);
	} else {
		code = zm_error(ZM_REFUSED, "%s is a mirror already, from %s to %s",
				mirror.dev.name, mirror.source.name,
				mirror.dest.name);
		zm_hint("to end that: zmirror cancel %s", zm_word(mirror.dev.name));
	}
	zm_mirror_close(&mirror);
	return code;
}

static void tell(const struct job *job)
{
	if (zm_options.dry_run)
		return;
	printf("%s is being mirrored to %s (%s)\n", job->dev.name, job->dest.name,
	       job->dest.why ? job->dest.why : "all of it is written");
}

static bool has_crypt(const struct zm_table *table)
{
	size_t i;

	for (i = 0; i < table->nr; i++)
		if (!strcmp(table->targets[i].type, "crypt"))
			return true;
	return false;
}

/* What is mirrored is what users of the device see. */
static void warn_of_clear(const struct job *job)
{
	struct zm_table table = { 0 };
	struct zm_dev dest;

	if (has_crypt(&job->table) &&
	    (zm_dm_lookup_dev(job->dest.dev, &dest) || zm_dm_table(dest.name, &table) ||
	     !has_crypt(&table)))
		zm_hint("%s is encrypted, and %s gets what is in it in clear, unless something under it encrypts",
			job->dev.name, job->dest.name);
	zm_table_free(&table);
}

static int start_new(struct job *job)
{
	int code = look_at_source(job);

	if (!code)
		code = look_at_dest(job);
	if (!code && !strcmp(job->table.targets[0].type, "thin"))
		code = zm_lvm_keep_pool(&job->dev);
	if (!code)
		warn_of_clear(job);

	/* Whoever is ended early still leaves a mirror that goes on. */
	zm_hold_signals();
	if (!code)
		code = put_in_place(job);
	if (!code && job->hints && !job->start->want_hints)
		code = give_hints(job);
	zm_let_signals();
	if (!code)
		tell(job);
	return code;
}

int zm_start_run(const struct zm_start *start, dev_t *dest_dev)
{
	struct job job = { .start = start };
	int code = zm_dm_find(start->name, &job.dev);

	if (!code)
		code = zm_lock(job.dev.dev, start->name);

	/* It may have changed until the lock was there. */
	job.written = zm_dev_written(job.dev.dev);
	if (!code)
		code = zm_dm_lookup_dev(job.dev.dev, &job.dev);
	if (!code)
		code = zm_dm_table(job.dev.name, &job.table);
	if (!code)
		code = zm_is_mirror(&job.table) ? already(&job) : start_new(&job);
	if (dest_dev)
		*dest_dev = job.dest.dev;
	zm_dest_free(&job.dest);
	zm_ranges_free(&job.zero);
	zm_table_free(&job.table);
	return code;
}

int zm_cmd_start(int argc, char **argv)
{
	static const struct option options[] = {
		ZM_START_OPTIONS,
		{ "paused", no_argument, NULL, 'P' },
		{ "want-hints", no_argument, NULL, 'W' },
		{ 0 }
	};
	struct zm_start start = { 0 };
	int option, code = ZM_OK;

	while ((option = zm_getopt(argc, argv, "", options)) != -1) {
		if (option == '?')
			return ZM_USAGE;
		if (option == 'P')
			start.paused = true;
		else if (option == 'W')
			start.want_hints = true;
		else
			code = zm_start_option(&start, option, optarg);
		if (code)
			return code;
	}
	if (argc - optind != 2)
		return zm_error(ZM_USAGE, "start takes a device and a destination");
	if (start.hints && start.want_hints)
		return zm_error(ZM_USAGE, "start: only one of --hints and --want-hints");
	start.name = argv[optind];
	start.dest = argv[optind + 1];
	code = zm_start_run(&start, NULL);
	if (!code && !zm_options.dry_run)
		printf("to see it: zmirror watch %s\n", zm_word(start.name));
	return code;
}
