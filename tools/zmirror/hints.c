// SPDX-License-Identifier: GPL-2.0-only
/*
 * What is known to be zero on a source; see hints.h.
 *
 * What a thin pool has not mapped of a volume reads as zeroes, unless the volume has an
 * external origin. The pool's metadata changes all the time, so it is read from a
 * snapshot that the pool keeps of it on demand. It is taken when the mirror is live: what
 * is written from then on the mirror sees, and what was written before is in the snapshot,
 * for to reserve it commits the metadata.
 *
 * A pool has one such snapshot at a time. Who is killed leaves it there; so a file tells
 * the next command which one was ours, and others' are left alone.
 */
#include "hints.h"
#include "change.h"
#include "format.h"
#include "zmirror.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#define MESSAGE_SIZE	4000	/* bytes of ranges in one message */
#define PENDING		"pending"
#define POOL_TRIES	600	/* tenths of a second that others may have the pool */

extern char **environ;

/*
 * ------------------------------------------------------------------------
 * Ranges
 * ------------------------------------------------------------------------
 */

void zm_ranges_add(struct zm_ranges *ranges, uint64_t start, uint64_t end)
{
	/* A power of two is full. */
	if (!(ranges->nr & (ranges->nr - 1)))
		ranges->at = zm_realloc(ranges->at, (ranges->nr ? 2 * ranges->nr : 1) *
					sizeof(*ranges->at));
	ranges->at[ranges->nr].start = start;
	ranges->at[ranges->nr].end = end;
	ranges->nr++;
}

void zm_ranges_free(struct zm_ranges *ranges)
{
	free(ranges->at);
	ranges->at = NULL;
	ranges->nr = 0;
}

static int compare(const void *one, const void *other)
{
	const uint64_t *a = one, *b = other;

	return *a < *b ? -1 : *a > *b;
}

void zm_ranges_invert(struct zm_ranges *ranges, uint64_t sectors,
		      struct zm_ranges *rest)
{
	uint64_t at = 0;
	size_t i;

	if (ranges->nr)
		qsort(ranges->at, ranges->nr, sizeof(*ranges->at), compare);
	for (i = 0; i < ranges->nr && at < sectors; i++) {
		if (ranges->at[i].start > at)
			zm_ranges_add(rest, at, ranges->at[i].start < sectors ?
						ranges->at[i].start : sectors);
		if (ranges->at[i].end > at)
			at = ranges->at[i].end;
	}
	if (at < sectors)
		zm_ranges_add(rest, at, sectors);
}

/* Two amounts and nothing else; or nothing, which is no range. */
static bool take_line(char *line, uint64_t sectors, struct zm_ranges *ranges)
{
	char *save = NULL, *first, *second;
	uint64_t start, length;

	line[strcspn(line, "#\n")] = '\0';
	first = strtok_r(line, " \t\r", &save);
	if (!first)
		return true;
	second = strtok_r(NULL, " \t\r", &save);
	if (!second || strtok_r(NULL, " \t\r", &save) ||
	    !zm_parse_amount(first, 512, &start) ||
	    !zm_parse_amount(second, 512, &length) || start > sectors ||
	    length > sectors - start)
		return false;
	if (length)
		zm_ranges_add(ranges, start, start + length);
	return true;
}

int zm_ranges_read(const char *path, uint64_t sectors, struct zm_ranges *ranges)
{
	FILE *file = fopen(path, "re");
	size_t size = 0, number = 0;
	char *line = NULL;
	int code = ZM_OK;

	if (!file)
		return zm_error(ZM_FAILED, "cannot open %s: %s", path,
				strerror(errno));
	while (!code && getline(&line, &size, file) > 0) {
		number++;
		if (!take_line(line, sectors, ranges))
			code = zm_error(ZM_USAGE, "%s, line %zu: not a start and a length within %" PRIu64 " sectors",
					path, number, sectors);
	}
	if (!code && ferror(file))
		code = zm_error(ZM_FAILED, "cannot read %s: %s", path,
				strerror(errno));
	free(line);
	fclose(file);
	return code;
}

/*
 * ------------------------------------------------------------------------
 * Thin pools
 * ------------------------------------------------------------------------
 */

bool zm_hints_possible(const struct zm_table *table)
{
	unsigned int ma, mi;
	uint64_t id;
	int len = 0;

	return table->nr == 1 && !strcmp(table->targets[0].type, "thin") &&
	       sscanf(table->targets[0].params, "%u:%u %" SCNu64 "%n", &ma, &mi,
		      &id, &len) == 3 && !table->targets[0].params[len];
}

static bool attribute(const char *line, const char *name, uint64_t *value)
{
	char *key = zm_printf(" %s=\"", name);
	const char *at = strstr(line, key);
	size_t len = strlen(key);

	free(key);
	if (!at)
		return false;
	at += len;
	return zm_take_number(&at, value) && *at == '"';
}

/*
 * thin_dump writes an element a line. What several volumes share may be told of in a
 * <def> that a <ref> has the name of; to take all of them for mapped is on the safe side.
 */
bool zm_thin_mapped(const char *line, uint64_t chunk, struct zm_ranges *ranges)
{
	static const char * const others[] = {
		"<superblock ", "</superblock>", "<device ", "</device>", "<def ",
		"</def>", "<ref ", "<?xml ", "",
	};
	uint64_t begin, length = 1;
	size_t i;

	line += strspn(line, " \t");
	if (!strncmp(line, "<range_mapping ", 15)) {
		if (!attribute(line, "origin_begin", &begin) ||
		    !attribute(line, "length", &length))
			return false;
	} else if (!strncmp(line, "<single_mapping ", 16)) {
		if (!attribute(line, "origin_block", &begin))
			return false;
	} else {
		for (i = 0; *others[i]; i++)
			if (!strncmp(line, others[i], strlen(others[i])))
				return true;
		return !line[strspn(line, " \t\r\n")];
	}
	if (begin > UINT64_MAX / chunk || length > UINT64_MAX / chunk - begin)
		return false;
	zm_ranges_add(ranges, begin * chunk, (begin + length) * chunk);
	return true;
}

/*
 * A signal that the user sends to all ends thin_dump, whereas the caller may hold its
 * own back until the snapshot is released. That of Ctrl-Z does not stop it, for the caller
 * would wait for it with the terminal.
 */
static void take_signals(posix_spawnattr_t *attributes)
{
	sigset_t stop;

	sigemptyset(&stop);
	sigaddset(&stop, SIGTSTP);
	posix_spawnattr_setsigmask(attributes, &stop);
	posix_spawnattr_setflags(attributes, POSIX_SPAWN_SETSIGMASK);
}

/* Starts thin_dump; returns what it writes, or NULL having told why. */
static FILE *start_thin_dump(const char *device, uint64_t id, pid_t *pid)
{
	char *number = zm_printf("%" PRIu64, id);
	char *const argv[] = { "thin_dump", "--metadata-snap", "--dev-id", number,
			       (char *)device, NULL };
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attributes;
	int ends[2], r;

	if (pipe2(ends, O_CLOEXEC)) {
		free(number);
		zm_error(ZM_FAILED, "cannot make a pipe: %s", strerror(errno));
		return NULL;
	}
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
	posix_spawnattr_init(&attributes);
	take_signals(&attributes);
	r = posix_spawnp(pid, argv[0], &actions, &attributes, argv, environ);
	posix_spawnattr_destroy(&attributes);
	posix_spawn_file_actions_destroy(&actions);
	close(ends[1]);
	free(number);
	if (!r)
		return fdopen(ends[0], "r");
	close(ends[0]);
	zm_error(ZM_FAILED, "cannot run thin_dump: %s", strerror(r));
	if (r == ENOENT)
		zm_hint("it is in the package thin-provisioning-tools");
	return NULL;
}

/* The volume that was asked for, and how many blocks it has. */
static bool is_volume(const char *line, uint64_t id, uint64_t *blocks)
{
	uint64_t number;

	line += strspn(line, " \t");
	return !strncmp(line, "<device ", 8) && attribute(line, "dev_id", &number) &&
	       number == id && attribute(line, "mapped_blocks", blocks);
}

static uint64_t blocks_in(const struct zm_ranges *ranges, uint64_t chunk)
{
	uint64_t blocks = 0;
	size_t i;

	for (i = 0; i < ranges->nr; i++)
		blocks += (ranges->at[i].end - ranges->at[i].start) / chunk;
	return blocks;
}

/*
 * All or nothing: a volume of which half is known would lose the other half. Of a volume
 * that it does not find thin_dump tells nothing, and that is no failure to it.
 */
static int read_mapped(const char *device, uint64_t id, uint64_t chunk,
		       struct zm_ranges *mapped)
{
	bool understood = true, complete = false, found = false;
	uint64_t blocks = 0;
	char *line = NULL;
	size_t size = 0;
	int status = 0;
	FILE *file;
	pid_t pid;

	file = start_thin_dump(device, id, &pid);
	if (!file)
		return ZM_FAILED;
	while (getline(&line, &size, file) > 0) {
		understood = understood && zm_thin_mapped(line, chunk, mapped);
		complete = complete || strstr(line, "</superblock>");
		found = found || is_volume(line, id, &blocks);
	}
	free(line);
	fclose(file);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (!WIFEXITED(status) || WEXITSTATUS(status))
		return zm_error(ZM_FAILED, "thin_dump failed");
	if (!understood || !complete || !found || blocks_in(mapped, chunk) < blocks)
		return zm_error(ZM_FAILED, "what thin_dump says is not understood");
	return ZM_OK;
}

/**
 * struct pool - a thin pool
 * @name: the device that takes messages
 * @metadata: path of the device that has its metadata
 * @chunk: its block, in sectors
 * @mark: a file, locked: the block of the snapshot that is ours, or nothing
 */
struct pool {
	char name[ZM_NAME_SIZE];
	char *metadata;
	uint64_t chunk;
	int mark;
	char root[24];		/* of our snapshot */
};

static int find_pool(dev_t number, struct pool *pool)
{
	unsigned int meta_major, meta_minor, data_major, data_minor;
	struct zm_table table = { 0 };
	struct zm_dev dev;
	int code;

	code = zm_dm_lookup_dev(number, &dev);
	if (!code)
		code = zm_dm_table(dev.name, &table);
	if (!code && (table.nr != 1 || strcmp(table.targets[0].type, "thin-pool") ||
		      sscanf(table.targets[0].params, "%u:%u %u:%u %" SCNu64,
			     &meta_major, &meta_minor, &data_major, &data_minor,
			     &pool->chunk) != 5 || !pool->chunk))
		code = ZM_NOT_FOUND;
	zm_table_free(&table);
	if (code)
		return zm_error(code, "the thin pool of the source is not found");
	snprintf(pool->name, sizeof(pool->name), "%s", dev.name);
	pool->metadata = zm_dev_path(makedev(meta_major, meta_minor));
	return ZM_OK;
}

/* Many volumes of a pool may be started at the same time. */
static int open_mark(dev_t number, struct pool *pool)
{
	char name[48];

	snprintf(name, sizeof(name), "snapshot-%u:%u", major(number), minor(number));
	pool->mark = zm_run_file(name);
	return pool->mark < 0 ? ZM_FAILED : ZM_OK;
}

static int lock_pool(dev_t number, struct pool *pool)
{
	int tries = POOL_TRIES;

	if (open_mark(number, pool))
		return ZM_FAILED;
	while (flock(pool->mark, LOCK_EX | LOCK_NB)) {
		if (!tries--)
			return zm_error(ZM_FAILED, "another zmirror command is reading the metadata of %s",
					pool->name);
		usleep(100000);
	}
	return ZM_OK;
}

/* The block of the snapshot that the pool has, "-" for none; it is the fourth word. */
static int held_root(const struct pool *pool, char root[24])
{
	struct zm_table status = { 0 };
	int code = zm_dm_status(pool->name, &status);

	if (!code && (status.nr != 1 ||
		      sscanf(status.targets[0].params, "%*s %*s %*s %23s", root) != 1))
		code = ZM_FAILED;
	zm_table_free(&status);
	return code ? zm_error(ZM_FAILED, "the status of %s is not understood", pool->name) :
		      ZM_OK;
}

static int set_mark(const struct pool *pool, const char *root)
{
	size_t len = strlen(root);

	if (ftruncate(pool->mark, 0) ||
	    pwrite(pool->mark, root, len, 0) != (ssize_t)len)
		return zm_error(ZM_FAILED, "cannot write to /run/zmirror: %s",
				strerror(errno));
	return ZM_OK;
}

static int release_snapshot(const struct pool *pool)
{
	struct zm_plan plan = { 0 };
	int code;

	zm_plan_message(&plan, "hints.release", pool->name, "release_metadata_snap");
	code = zm_plan_run(&plan, NULL);
	zm_plan_free(&plan);
	if (zm_options.dry_run)
		return ZM_OK;
	if (!code)
		return set_mark(pool, "");
	zm_hint("to release it: dmsetup message %s 0 release_metadata_snap",
		zm_word(pool->name));
	return code;
}

/* A command that died before it knew the block of its snapshot has left PENDING. */
static bool is_marked(const struct pool *pool, const char *root)
{
	char mark[24] = "";

	return pread(pool->mark, mark, sizeof(mark) - 1, 0) > 0 &&
	       (!strcmp(root, mark) || !strcmp(mark, PENDING));
}

/* One that a command of ours left behind is old: what was mapped since is not in it. */
static int drop_left(const struct pool *pool)
{
	char root[24];
	int code = held_root(pool, root);

	if (code || !strcmp(root, "-"))
		return code;
	if (is_marked(pool, root)) {
		zm_note("releasing a snapshot of the metadata of %s, which a command left behind",
			pool->name);
		return release_snapshot(pool);
	}
	zm_error(ZM_FAILED, "somebody else has a snapshot of the metadata of %s",
		 pool->name);
	zm_hint("if nobody has, and it is of before a power cut: dmsetup message %s 0 release_metadata_snap",
		zm_word(pool->name));
	return ZM_FAILED;
}

static int take_snapshot(struct pool *pool)
{
	int code = drop_left(pool);

	if (!code)
		code = set_mark(pool, PENDING);
	if (code)
		return code;
	code = zm_dm_message(pool->name, "reserve_metadata_snap", NULL);
	if (code) {
		set_mark(pool, "");
		return code;
	}
	zm_fault("start.reserve");
	code = held_root(pool, pool->root);
	if (!code)
		code = set_mark(pool, pool->root);
	if (code)
		release_snapshot(pool);
	return code;
}

/*
 * Once somebody else has released it, its blocks are used anew, and what was read of them
 * may be anything. What the pool holds then is not ours.
 */
static int check_held(const struct pool *pool)
{
	char root[24];
	int code = held_root(pool, root);

	if (code || !strcmp(root, pool->root))
		return code;
	set_mark(pool, "");
	return zm_error(ZM_FAILED, "the snapshot of the metadata of %s was released by somebody else while it was read",
			pool->name);
}

/* The caller holds signals back, or the snapshot might be left. */
int zm_hints_pool(const struct zm_table *table, struct zm_ranges *zero)
{
	struct zm_ranges mapped = { 0 };
	struct pool pool = { .metadata = NULL, .mark = -1 };
	unsigned int ma = 0, mi = 0;
	uint64_t id = 0;
	int code;

	if (!zm_hints_possible(table))
		return zm_error(ZM_FAILED, "the source is no thin volume");
	sscanf(table->targets[0].params, "%u:%u %" SCNu64, &ma, &mi, &id);
	code = find_pool(makedev(ma, mi), &pool);
	if (!code)
		code = lock_pool(makedev(ma, mi), &pool);
	if (!code)
		code = take_snapshot(&pool);
	if (!code) {
		zm_fault("start.snapshot");
		code = read_mapped(pool.metadata, id, pool.chunk, &mapped);
		if (check_held(&pool))
			code = ZM_FAILED;
		else
			release_snapshot(&pool);
	}
	if (!code)
		zm_ranges_invert(&mapped, zm_table_sectors(table), zero);
	zm_ranges_free(&mapped);
	if (pool.mark >= 0)
		close(pool.mark);
	free(pool.metadata);
	return code;
}

/* One that reads the pool at this moment sees to it itself. */
void zm_hints_drop_left(const struct zm_table *table)
{
	struct pool pool = { .metadata = NULL, .mark = -1 };
	unsigned int ma = 0, mi = 0;
	char root[24];

	if (!zm_hints_possible(table))
		return;
	sscanf(table->targets[0].params, "%u:%u", &ma, &mi);
	if (!find_pool(makedev(ma, mi), &pool) && !open_mark(makedev(ma, mi), &pool) &&
	    !flock(pool.mark, LOCK_EX | LOCK_NB) && !held_root(&pool, root) &&
	    strcmp(root, "-") && is_marked(&pool, root))
		release_snapshot(&pool);
	if (pool.mark >= 0)
		close(pool.mark);
	free(pool.metadata);
}

/*
 * ------------------------------------------------------------------------
 * Messages
 * ------------------------------------------------------------------------
 */

static int flush_message(const struct zm_mirror *mirror, char *words)
{
	struct zm_plan plan = { 0 };
	char *message;
	int code;

	if (!*words)
		return ZM_OK;
	message = zm_printf("hint zero %s", words);
	zm_plan_message(&plan, "hint", mirror->dev.name, message);
	code = zm_plan_run(&plan, NULL);
	zm_plan_free(&plan);
	free(message);
	*words = '\0';
	return code;
}

int zm_hints_send(const struct zm_mirror *mirror, const struct zm_ranges *zero)
{
	uint64_t region = mirror->region_sectors, first, end;
	char words[MESSAGE_SIZE + 64] = "";
	int code = ZM_OK;
	size_t i, len;

	for (i = 0; i < zero->nr && !code; i++) {
		first = (zero->at[i].start + region - 1) / region;
		end = zero->at[i].end == mirror->sectors ? mirror->status.total :
							   zero->at[i].end / region;
		if (first >= end)
			continue;
		len = strlen(words);
		snprintf(words + len, sizeof(words) - len,
			 "%s%" PRIu64 "-%" PRIu64, len ? "," : "", first, end - 1);
		if (strlen(words) > MESSAGE_SIZE)
			code = flush_message(mirror, words);
	}
	return code ? code : flush_message(mirror, words);
}

/*
 * ------------------------------------------------------------------------
 * The verb
 * ------------------------------------------------------------------------
 */

/*
 * The file is made after the mirror: the mirror knows what was written since it began, and
 * takes no hint for it.
 */
static int hint(const struct zm_mirror *mirror, const char *path)
{
	struct zm_ranges zero = { 0 };
	int code;

	if (!zm_has_word(mirror->features, "hints")) {
		zm_error(ZM_REFUSED, "%s does not keep in mind what is written, so that hints might be wrong",
			 mirror->dev.name);
		zm_hint("to have it do so: zmirror start --want-hints");
		return ZM_REFUSED;
	}
	code = zm_ranges_read(path, mirror->sectors, &zero);
	if (!code)
		code = zm_hints_send(mirror, &zero);
	zm_ranges_free(&zero);
	if (!code && !zm_options.dry_run && !strcmp(mirror->status.state, "paused"))
		zm_hint("to have it resync now: zmirror resume %s",
			zm_word(mirror->dev.name));
	return code;
}

int zm_cmd_hint(int argc, char **argv)
{
	static const struct option options[] = { { 0 } };
	struct zm_mirror mirror;
	int code;

	if (zm_getopt(argc, argv, "", options) != -1)
		return ZM_USAGE;
	if (argc - optind != 2)
		return zm_error(ZM_USAGE, "hint takes a device and a file");
	code = zm_open_locked(argv[optind], &mirror);
	if (!code)
		code = hint(&mirror, argv[optind + 1]);
	zm_mirror_close(&mirror);
	return code;
}
