// SPDX-License-Identifier: GPL-2.0-only
/*
 * What all verbs that change devices do alike; see change.h.
 */
#include "change.h"
#include "format.h"
#include "zmirror.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define RUN_DIR		"/run/zmirror"

/*
 * ------------------------------------------------------------------------
 * Alone
 * ------------------------------------------------------------------------
 */

static int locks[4];
static size_t nr_locks;

void zm_unlock(void)
{
	while (nr_locks)
		close(locks[--nr_locks]);
}

int zm_run_file(const char *name)
{
	char *path;
	int fd;

	if (mkdir(RUN_DIR, 0700) && errno != EEXIST) {
		zm_error(ZM_FAILED, "cannot make %s: %s", RUN_DIR, strerror(errno));
		return -1;
	}
	path = zm_printf(RUN_DIR "/%s", name);
	fd = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		zm_error(ZM_FAILED, "cannot open %s: %s", path, strerror(errno));
	free(path);
	return fd;
}

/* The file is left: who removes it could take the lock away from under another one. */
int zm_lock(dev_t dev, const char *name)
{
	char file[32];
	int fd;

	if (zm_options.dry_run)
		return ZM_OK;
	snprintf(file, sizeof(file), "%u:%u", major(dev), minor(dev));
	fd = zm_run_file(file);
	if (fd < 0)
		return ZM_FAILED;
	if (nr_locks < sizeof(locks) / sizeof(*locks) &&
	    !flock(fd, LOCK_EX | LOCK_NB)) {
		locks[nr_locks++] = fd;
		return ZM_OK;
	}
	close(fd);
	return zm_error(ZM_REFUSED, "another zmirror command is working on %s",
			name);
}

int zm_open_locked(const char *name, struct zm_mirror *mirror)
{
	struct zm_dev dev;
	int code = zm_dm_find(name, &dev);

	memset(mirror, 0, sizeof(*mirror));
	if (!code)
		code = zm_lock(dev.dev, name);
	if (!code)
		code = zm_mirror_open(dev.name, mirror);
	return code;
}

static sigset_t kept;
static int held;

void zm_hold_signals(void)
{
	sigset_t set;

	if (held++)
		return;
	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGQUIT);
	sigaddset(&set, SIGPIPE);
	sigaddset(&set, SIGTSTP);
	sigprocmask(SIG_BLOCK, &set, &kept);
}

/* One that is ignored waits as well, until it is let come. */
bool zm_signal_waits(void)
{
	static const int ends[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT };
	struct sigaction action;
	sigset_t waiting;
	size_t i;

	if (sigpending(&waiting))
		return false;
	for (i = 0; i < sizeof(ends) / sizeof(*ends); i++)
		if (sigismember(&waiting, ends[i]) == 1 &&
		    !sigaction(ends[i], NULL, &action) && action.sa_handler != SIG_IGN)
			return true;
	return false;
}

void zm_let_signals(void)
{
	if (!--held)
		sigprocmask(SIG_SETMASK, &kept, NULL);
}

/*
 * ------------------------------------------------------------------------
 * Sources
 * ------------------------------------------------------------------------
 */

bool zm_is_mirror(const struct zm_table *table)
{
	return table->nr == 1 && !strcmp(table->targets[0].type, "zmirror");
}

/*
 * Targets that pass requests on and keep nothing: or, as a thin volume, keep it in one
 * place for all who have the volume open. Those are not that messages have told something
 * which is not in their table, as switch and dust.
 */
static bool is_stateless(const char *type)
{
	static const char * const types[] = {
		"linear", "striped", "crypt", "thin", "error", "zero", "delay",
		"flakey", "unstriped",
	};
	size_t i;

	for (i = 0; i < sizeof(types) / sizeof(*types); i++)
		if (!strcmp(types[i], type))
			return true;
	return false;
}

/*
 * cryptsetup gives the key of a LUKS2 device to its own keyring, which ends with it: such
 * a table cannot be loaded again. The key is the second word: ":<bytes>:<type>:<name>".
 */
static bool key_is_gone(const struct zm_target *target)
{
	const char *key = strchr(target->params, ' ');

	return !strcmp(target->type, "crypt") && key && key[1] == ':';
}

int zm_source_check(const struct zm_dev *dev, const struct zm_table *table)
{
	size_t i;

	if (dev->read_only)
		return zm_error(ZM_REFUSED, "%s is read-only", dev->name);
	if (dev->suspended)
		return zm_error(ZM_REFUSED, "%s is suspended", dev->name);
	if (!dev->live || !table->nr)
		return zm_error(ZM_REFUSED, "%s has no table", dev->name);
	if (zm_is_origin(dev)) {
		zm_error(ZM_REFUSED, "%s is a part of a mirror that zmirror has made", dev->name);
		zm_hint("mirror what is on it, or under it");
		return ZM_REFUSED;
	}
	for (i = 0; i < table->nr; i++) {
		if (key_is_gone(&table->targets[i])) {
			zm_error(ZM_REFUSED, "the key of %s is in the kernel's keyring, where nobody else finds it",
				 dev->name);
			zm_hint("open it with cryptsetup --disable-keyring");
			return ZM_REFUSED;
		}
		if (is_stateless(table->targets[i].type))
			continue;
		zm_error(ZM_REFUSED, "%s has a target %s, which cannot move under another device while it is in use",
			 dev->name, table->targets[i].type);
		zm_hint("mirror what is under it, or above");
		return ZM_REFUSED;
	}
	return ZM_OK;
}

void zm_linear(struct zm_table *table, uint64_t sectors, const struct zm_leg *leg)
{
	char *params = zm_printf("%u:%u %" PRIu64, major(leg->dev),
				 minor(leg->dev), leg->start);

	zm_table_add(table, 0, sectors, "linear", params);
	free(params);
}

/*
 * ------------------------------------------------------------------------
 * Left-overs and failures
 * ------------------------------------------------------------------------
 */

int zm_origin_find(const struct zm_dev *dev, struct zm_dev *origin)
{
	char uuid[ZM_UUID_SIZE];
	int code;

	memset(origin, 0, sizeof(*origin));
	zm_origin_uuid(dev, uuid);
	code = zm_dm_lookup_uuid(uuid, origin);
	return code == ZM_NOT_FOUND ? ZM_OK : code;
}

/* Whether a table is one that a command of ours loads: a mirror of the private device. */
static bool is_ours(const struct zm_table *table, const struct zm_dev *origin)
{
	struct zm_mirror mirror = { 0 };
	bool ours;

	if (!origin->name[0] || !zm_is_mirror(table) ||
	    zm_mirror_parse(table->targets[0].params, &mirror))
		return false;
	ours = mirror.source.dev == origin->dev || mirror.dest.dev == origin->dev;
	free(mirror.source.name);
	free(mirror.dest.name);
	free(mirror.features);
	return ours;
}

static int drop_loaded(const struct zm_dev *dev, const struct zm_dev *origin)
{
	struct zm_table loaded = { 0 };
	struct zm_plan plan = { 0 };
	bool ours;
	int code;

	if (!dev->inactive)
		return ZM_OK;
	ours = !zm_dm_table_inactive(dev->name, &loaded) && is_ours(&loaded, origin);
	zm_table_free(&loaded);
	if (!ours) {
		zm_error(ZM_REFUSED, "%s has a table loaded that is not live, by somebody else",
			 dev->name);
		zm_hint("if nobody is at work on it: dmsetup clear %s",
			zm_word(dev->name));
		return ZM_REFUSED;
	}
	zm_note("dropping the table that a command left loaded for %s", dev->name);
	zm_plan_clear(&plan, "clean.clear", dev->name);
	code = zm_plan_run(&plan, NULL);
	zm_plan_free(&plan);
	return code;
}

static int remove_origin(const struct zm_dev *origin)
{
	struct zm_plan plan = { 0 };
	int code;

	zm_note("removing %s, which a command left behind", origin->name);
	zm_plan_remove(&plan, "clean.remove", origin->name);
	code = zm_plan_run(&plan, NULL);
	zm_plan_free(&plan);
	return code;
}

/*
 * A resume that fails in the kernel leaves the device suspended, on the table it had. What
 * is left behind stays then, so that who finishes later knows what there was.
 */
int zm_check_runs(const struct zm_dev *dev)
{
	struct zm_dev now = *dev;
	int tries = 20;

	while (now.suspended && tries-- && !zm_dm_lookup_dev(dev->dev, &now))
		usleep(100000);
	if (!now.suspended)
		return ZM_OK;
	zm_error(ZM_REFUSED, "%s is suspended: what is read and written there waits", dev->name);
	zm_hint("if nobody is at work on it: %s%s%sdmsetup resume %s; and then the same again",
		dev->inactive ? "dmsetup clear " : "", dev->inactive ? zm_word(dev->name) : "",
		dev->inactive ? "; " : "", zm_word(dev->name));
	return ZM_REFUSED;
}

int zm_clean_up(const struct zm_dev *dev)
{
	struct zm_dev origin;
	int code = zm_origin_find(dev, &origin);

	if (!code)
		code = origin.name[0] ? zm_check_runs(dev) : ZM_OK;
	if (!code)
		code = drop_loaded(dev, &origin);
	if (code || !origin.name[0])
		return code;

	/* Nothing is on it now, if it was only what is loaded. */
	code = zm_dm_lookup(origin.name, &origin);
	if (code)
		return code == ZM_NOT_FOUND ? ZM_OK : code;
	if (origin.open_count && !zm_options.dry_run) {
		zm_error(ZM_REFUSED, "%s, which zmirror made for %s, is in use",
			 origin.name, dev->name);
		return ZM_REFUSED;
	}
	return remove_origin(&origin);
}

int zm_put_back(const char *name, const struct zm_table *table)
{
	struct zm_table now = { 0 };
	struct zm_dev dev;
	bool same;
	int code;

	code = zm_dm_lookup(name, &dev);
	if (!code)
		code = zm_dm_table(name, &now);
	if (code)
		return zm_error(ZM_FAILED, "cannot see what became of %s", name);
	same = zm_table_equal(&now, table);
	zm_table_free(&now);
	if (same && !dev.suspended)
		return dev.inactive ? zm_dm_clear(name) : ZM_OK;
	if (!same)
		code = zm_dm_load(name, table);
	else if (dev.inactive)
		code = zm_dm_clear(name);
	if (!code)
		code = zm_dm_resume(name);
	if (code)
		zm_hint("%s may be suspended: dmsetup info %s", name, zm_word(name));
	return code;
}
