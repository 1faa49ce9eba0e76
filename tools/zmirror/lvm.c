// SPDX-License-Identifier: GPL-2.0-only
/*
 * LVM, which is to know where its volumes are; see lvm.h.
 */
#include "lvm.h"
#include "format.h"
#include "zmirror.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <libdevmapper.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define PREFIX		ZM_LVM_PREFIX
#define ID_LENGTH	32	/* of a group's, or a volume's */
#define OLD_SUFFIX	"_old"
#define MOST_NAME	127	/* of a group and a volume together */

/* LVM is not to touch a device: it changes metadata, and that is all. */
#define METADATA_ONLY	"--config", "global/activation=0"

/* What it says is to be understood, whatever lvm.conf has it look like. */
#define PLAIN		"--reportformat", "basic", "--config", \
			"report{prefixes=0 columns_as_rows=0 binary_values_as_numeric=0} " \
			"log{prefix=\"\" command_names=0 report_command_log=0}"

#define SKIPPED		"skip activation"	/* of the field lv_skip_activation */

extern char **environ;

/*
 * ------------------------------------------------------------------------
 * The program
 * ------------------------------------------------------------------------
 */

static void print_command(const char *const *words)
{
	size_t i;

	for (i = 1; words[i]; i++)
		printf("%s%s", i > 1 ? " " : "", words[i]);
	putchar('\n');
}

/* Returns whether there may be more. */
static bool read_more(int fd, char **text, size_t *len)
{
	ssize_t got;

	*text = zm_realloc(*text, *len + 4097);
	got = read(fd, *text + *len, 4096);
	if (got > 0)
		*len += got;
	(*text)[*len] = '\0';
	return got > 0 || (got < 0 && errno == EINTR);
}

/* As it comes: who waits for one of them to end could keep the other one from going on. */
static void read_pipes(int out, int err, char **said, char **complaint)
{
	struct pollfd fds[] = { { .fd = out, .events = POLLIN },
				{ .fd = err, .events = POLLIN } };
	size_t lengths[2] = { 0 }, i;
	char *texts[2] = { zm_strdup(""), zm_strdup("") };

	while (fds[0].fd >= 0 || fds[1].fd >= 0) {
		if (poll(fds, 2, -1) < 0)
			continue;
		for (i = 0; i < 2; i++)
			if (fds[i].revents && !read_more(fds[i].fd, &texts[i], &lengths[i]))
				fds[i].fd = -1;
	}
	*said = texts[0];
	*complaint = texts[1];
}

/* What is said on standard error is kept apart, for warnings come there as well. */
static int start_lvm(const char *const *words, int out, int err, pid_t *pid)
{
	posix_spawn_file_actions_t actions;
	int r;

	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null",
					 O_RDONLY, 0);
	posix_spawn_file_actions_adddup2(&actions, out, STDOUT_FILENO);
	posix_spawn_file_actions_adddup2(&actions, err, STDERR_FILENO);
	r = posix_spawnp(pid, words[0], &actions, NULL, (char *const *)words,
			 environ);
	posix_spawn_file_actions_destroy(&actions);
	return r;
}

static int ended_well(pid_t pid)
{
	int status = 0;

	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return 0;
	return WIFEXITED(status) && !WEXITSTATUS(status);
}

/* What goes wrong is not told with @quiet. */
static int run_lvm_quietly(const char *const *words, char **answer, bool quiet)
{
	int out[2], err[2], r;
	char *said, *complaint;
	pid_t pid = 0;

	if (pipe2(out, O_CLOEXEC))
		return zm_error(ZM_FAILED, "cannot make a pipe: %s", strerror(errno));
	if (pipe2(err, O_CLOEXEC)) {
		close(out[0]);
		close(out[1]);
		return zm_error(ZM_FAILED, "cannot make a pipe: %s", strerror(errno));
	}
	r = start_lvm(words, out[1], err[1], &pid);
	close(out[1]);
	close(err[1]);
	read_pipes(out[0], err[0], &said, &complaint);
	close(out[0]);
	close(err[0]);
	if (r) {
		if (!quiet)
			zm_error(ZM_FAILED, "cannot run lvm: %s", strerror(r));
		r = ZM_FAILED;
	} else if (!ended_well(pid)) {
		if (!quiet)
			zm_error(ZM_FAILED, "%s has failed:\n%s", words[1], complaint);
		r = ZM_FAILED;
	}
	free(complaint);
	if (!r && answer)
		*answer = said;
	else
		free(said);
	return r;
}

static int run_lvm(const char *const *words, char **answer)
{
	return run_lvm_quietly(words, answer, false);
}

/* Changes something, or prints it. @point is its fault point, see zm_fault(). */
static int change(const char *point, const char *const *words)
{
	char *after;
	int code;

	if (zm_options.dry_run) {
		print_command(words);
		return ZM_OK;
	}
	if (zm_fault(point))
		return zm_error(ZM_FAILED, "%s fails, as ZMIRROR_FAULT wants", point);
	code = run_lvm(words, NULL);
	after = zm_printf("%s.done", point);
	if (!code)
		zm_fault(after);
	free(after);
	return code;
}

/*
 * ------------------------------------------------------------------------
 * Volumes
 * ------------------------------------------------------------------------
 */

/* What has a suffix is a layer that LVM keeps to itself: -tpool, -real, -cow. */
bool zm_lvm_uuid(const struct zm_dev *dev, char *uuid)
{
	static const size_t groups[] = { 6, 4, 4, 4, 4, 4, 6 };
	const char *from = dev->uuid + strlen(PREFIX) + ID_LENGTH;
	size_t i;

	if (!zm_lvm_is_volume(dev) ||
	    strlen(dev->uuid) != strlen(PREFIX) + 2 * ID_LENGTH)
		return false;
	for (i = 0; i < sizeof(groups) / sizeof(*groups); i++) {
		if (i)
			*uuid++ = '-';
		memcpy(uuid, from, groups[i]);
		uuid += groups[i];
		from += groups[i];
	}
	*uuid = '\0';
	return true;
}

/* The first two fields of a line; returns what follows, or NULL having told why. */
static const char *take_names(const char *line, struct zm_lv *lv)
{
	size_t vg, name = 0;

	line += strspn(line, " ");
	vg = strcspn(line, "/\n");
	if (vg && line[vg] == '/')
		name = strcspn(line + vg + 1, "/\n");
	if (!name || line[vg + 1 + name] != '/') {
		zm_error(ZM_FAILED, "what lvs says is not understood: \"%s\"", line);
		return NULL;
	}
	lv->vg = zm_printf("%.*s", (int)vg, line);
	lv->name = zm_printf("%.*s", (int)name, line + vg + 1);
	return line + vg + name + 2;
}

int zm_lvm_parse(const char *line, struct zm_lv *lv)
{
	line = take_names(line, lv);
	if (!line)
		return ZM_FAILED;
	lv->skipped = !strncmp(line, SKIPPED, strlen(SKIPPED));
	line += strcspn(line, "/\n");
	line += *line == '/';
	if (*line && *line != '\n' && strncmp(line, "none", 4))
		return zm_error(ZM_REFUSED, "the group %s is shared with other machines, which may have its volumes active",
				lv->vg);
	return ZM_OK;
}

static void free_volume(struct zm_lv *lv)
{
	free(lv->vg);
	free(lv->name);
	free(lv->uuid);
	free(lv->active);
}

/* The names that it was activated with are in its device's; to be freed, or NULL. */
static void split_name(const struct zm_dev *dev, char **vg, char **name)
{
	struct dm_pool *pool = dm_pool_create("names", 256);
	char *group = NULL, *volume = NULL, *layer = NULL;
	bool split = pool && dm_split_lvm_name(pool, dev->name, &group, &volume, &layer) &&
		     group && *group && volume && *volume && !*layer;

	*vg = split ? zm_strdup(group) : NULL;
	*name = split ? zm_strdup(volume) : NULL;
	if (pool)
		dm_pool_destroy(pool);
}

static int activated_as(const struct zm_dev *dev, struct zm_lv *lv)
{
	char *vg;

	split_name(dev, &vg, &lv->active);
	free(vg);
	return lv->active ? ZM_OK :
	       zm_error(ZM_FAILED, "%s is no name of a volume of LVM's", dev->name);
}

/* Of one group; or, with NULL, of all. */
static int ask_group(const char *vg, const char *select, const char *fields, char **answer)
{
	const char *const words[] = {
		"lvm", "lvs", PLAIN, "--noheadings", "--separator", "/", "-o", fields,
		"--select", select, vg, NULL
	};

	*answer = NULL;
	return run_lvm_quietly(words, answer, vg);
}

/*
 * Fields of a volume, with "/" between. Only its group is read, which may be one of many;
 * all are if that has another name than when the volume was activated.
 */
static int ask_lvs(const struct zm_dev *dev, const char *uuid, const char *fields,
		   char **answer)
{
	char *select = zm_printf("lv_uuid=%s", uuid), *vg, *name;
	int code;

	split_name(dev, &vg, &name);
	code = ask_group(vg, select, fields, answer);
	if (vg && (code || !(*answer)[strspn(*answer, " \n")])) {
		free(*answer);
		code = ask_group(NULL, select, fields, answer);
	}
	free(name);
	free(vg);
	free(select);
	return code;
}

/* A group that other machines have is refused, but where its names are all that matters. */
static int find_volume(const struct zm_dev *dev, bool shared, struct zm_lv *lv)
{
	char uuid[40], *answer;
	int code;

	if (!zm_lvm_uuid(dev, uuid))
		return zm_error(ZM_REFUSED, "%s is no volume of LVM's, which --lvm is for",
				dev->name);
	code = ask_lvs(dev, uuid, "vg_name,lv_name,lv_skip_activation,vg_lock_type",
		       &answer);
	if (code)
		return code;
	lv->uuid = zm_strdup(uuid);
	if (!shared)
		code = zm_lvm_parse(answer, lv);
	else if (!take_names(answer, lv))
		code = ZM_FAILED;
	free(answer);
	return code ? code : activated_as(dev, lv);
}

/* Whether a group has a volume of a name, or cannot be asked. */
static bool is_taken(const char *vg, const char *name)
{
	char *select = zm_printf("lv_name=%s", name);
	const char *const words[] = {
		"lvm", "lvs", PLAIN, "--all", "--noheadings", "-o", "lv_name",
		"--select", select, vg, NULL
	};
	char *answer = NULL;
	bool taken;

	taken = run_lvm(words, &answer) || answer[strspn(answer, " \n")];
	free(answer);
	free(select);
	return taken;
}

/* The pool's own device, which is there when the pool is active itself. */
static bool is_active(const char *vg, const char *name)
{
	struct dm_pool *names = dm_pool_create("names", 256);
	char *device = names ? dm_build_dm_name(names, vg, name, NULL) : NULL;
	struct zm_dev dev;
	bool active = device && !zm_dm_lookup(device, &dev) && dev.live;

	if (names)
		dm_pool_destroy(names);
	return active;
}

static int activate_pool(const char *vg, const char *pool)
{
	char *name = zm_printf("%s/%s", vg, pool);
	const char *const words[] = { "lvm", "lvchange", "-ay", name, NULL };
	int code = ZM_OK;

	if (zm_options.dry_run) {
		print_command(words);
	} else {
		zm_note("activating the pool %s, so that LVM can extend it by itself", name);
		code = run_lvm(words, NULL);
	}
	free(name);
	return code;
}

static int refuse_pool(const char *vg, const char *pool)
{
	zm_error(ZM_REFUSED, "LVM does not activate the pool %s/%s, and would bring the old place back when it extends it",
		 vg, pool);
	zm_hint("see activation/volume_list of lvm.conf; lvchange -ay -K %s/%s if it is to be skipped",
		vg, pool);
	return ZM_REFUSED;
}

int zm_lvm_keep_pool(const struct zm_dev *dev)
{
	char uuid[40], *answer, *vg, *pool;
	int code;

	if (!zm_lvm_uuid(dev, uuid))
		return ZM_OK;
	code = ask_lvs(dev, uuid, "vg_name,pool_lv", &answer);
	if (code)
		return code;
	vg = answer + strspn(answer, " ");
	vg[strcspn(vg, "\n")] = '\0';
	pool = strchr(vg, '/');
	if (pool) {
		*pool++ = '\0';
		if (*pool && !is_active(vg, pool))
			code = activate_pool(vg, pool);
		if (!code && *pool && !zm_options.dry_run && !is_active(vg, pool))
			code = refuse_pool(vg, pool);
	} else if (*vg) {
		code = zm_error(ZM_FAILED, "what lvs says is not understood: \"%s\"", vg);
	}
	free(answer);
	return code;
}

/*
 * ------------------------------------------------------------------------
 * A move
 * ------------------------------------------------------------------------
 */

static bool source_is_done(const struct zm_lvm_move *move)
{
	return !strcmp(move->source.name, move->old_name);
}

static bool dest_is_done(const struct zm_lvm_move *move)
{
	return !move->same_group ||
	       !strcmp(move->dest.name, move->source.active);
}

/* Whether a volume has the name that a move gives. */
static bool is_old_name(const struct zm_lv *lv)
{
	size_t len = strlen(lv->active);

	return !strncmp(lv->name, lv->active, len) && !strcmp(lv->name + len, OLD_SUFFIX);
}

static int check_names(const struct zm_lvm_move *move)
{
	if (strlen(move->source.vg) + strlen(move->old_name) > MOST_NAME)
		return zm_error(ZM_REFUSED, "the name %s is too long to have %s after it",
				move->source.active, OLD_SUFFIX);
	if (source_is_done(move)) {
		if (dest_is_done(move) || !is_taken(move->source.vg, move->source.active))
			return ZM_OK;
		zm_error(ZM_REFUSED, "%s/%s is the name of another volume by now, which the one in use has left again",
			 move->source.vg, move->source.active);
		zm_hint("its data are old: rename it first");
		return ZM_REFUSED;
	}
	if (strcmp(move->source.name, move->source.active)) {
		zm_error(ZM_REFUSED, "%s/%s has been renamed to %s while it is in use",
			 move->source.vg, move->source.active, move->source.name);
		return ZM_REFUSED;
	}
	if (is_taken(move->source.vg, move->old_name)) {
		zm_error(ZM_REFUSED, "there is a volume %s/%s, and --lvm would give the old one that name",
			 move->source.vg, move->old_name);
		zm_hint("rename it, or remove it");
		return ZM_REFUSED;
	}
	return ZM_OK;
}

static int look(const struct zm_dev *source, const struct zm_dev *dest,
		struct zm_lvm_move *move)
{
	int code = find_volume(source, false, &move->source);

	if (!code)
		code = find_volume(dest, false, &move->dest);
	if (code)
		return code;
	/* One that has its new name is skipped by a command of ours: the other one tells. */
	move->skipped = is_old_name(&move->source) ? move->dest.skipped :
						      move->source.skipped;
	move->same_group = !strcmp(move->source.vg, move->dest.vg);
	move->old_name = zm_printf("%s" OLD_SUFFIX, move->source.active);
	return ZM_OK;
}

int zm_lvm_look(const struct zm_dev *source, const struct zm_dev *dest,
		struct zm_lvm_move *move)
{
	int code;

	memset(move, 0, sizeof(*move));
	code = look(source, dest, move);
	if (!code)
		code = check_names(move);
	if (code)
		zm_lvm_free(move);
	return code;
}

void zm_lvm_tell(const struct zm_lvm_move *move)
{
	const struct zm_lv *source = &move->source, *dest = &move->dest;

	printf("LVM, when it is in sync: %s/%s gets the name %s, and is activated by hand only\n",
	       source->vg, source->active, move->old_name);
	if (dest->skipped != move->skipped)
		printf("  %s/%s is activated %s, as that was\n", dest->vg, dest->active,
		       move->skipped ? "by hand only" : "by itself");
	if (move->same_group)
		printf("  %s/%s gets the name %s\n", dest->vg, dest->active,
		       source->active);
	else
		printf("  whatever names /dev/%s/%s (such as /etc/fstab) must name /dev/%s/%s then\n",
		       source->vg, source->active, dest->vg, dest->name);
	printf("  until it is deactivated, the device in use is to LVM what %s names: leave that alone,\n"
	       "  for to resize it, to refresh it or to move its extents would bring the old data back\n",
	       move->old_name);
}

void zm_lvm_tell_end(const struct zm_lvm_move *move)
{
	const struct zm_lv *source = &move->source, *dest = &move->dest;

	printf("to LVM it is %s/%s from the next activation on\n", dest->vg,
	       dest->name);
	printf("until then, nothing may be done to %s/%s\n", source->vg, move->old_name);
	printf("when it is not in use any more, or at the next boot of itself:\n");
	printf("  lvchange -an %s/%s\n", source->vg, move->old_name);
	printf("  lvchange -an %s/%s; lvchange -ay %s/%s\n", dest->vg, dest->name,
	       dest->vg, dest->name);
}

/*
 * ------------------------------------------------------------------------
 * Names
 * ------------------------------------------------------------------------
 */

static int rename_volume(const char *point, struct zm_lv *lv, const char *name)
{
	const char *const words[] = {
		"lvm", "lvrename", METADATA_ONLY, lv->vg, lv->name, name, NULL
	};
	int code = change(point, words);

	if (!code) {
		free(lv->name);
		lv->name = zm_strdup(name);
	}
	return code;
}

static int skip_activation(const char *point, struct zm_lv *lv, bool skip)
{
	char *name = zm_printf("%s/%s", lv->vg, lv->name);
	const char *const words[] = {
		"lvm", "lvchange", METADATA_ONLY, "--setactivationskip",
		skip ? "y" : "n", name, NULL
	};
	int code = change(point, words);

	if (!code)
		lv->skipped = skip;
	free(name);
	return code;
}

/*
 * The mirror is in sync, and a write is done when both legs have it. So it does not matter
 * whether a power cut comes before or after one of these: either volume has all. The old
 * one makes way first, for its name; between the two nobody has it, and a machine that
 * boots then lacks the volume but no data. Before all, the new one is activated as the old
 * one was, by itself or by hand only; that is all the same as long as it has another name.
 *
 * When the device has gone on with the new volume, the old one is behind: then there is
 * no way back, and what fails is left for the same command to finish.
 */
int zm_lvm_exchange(struct zm_lvm_move *move, bool moved)
{
	int code = ZM_OK;

	if (move->dest.skipped != move->skipped)
		code = skip_activation("lvm.keep", &move->dest, move->skipped);
	if (!code && !source_is_done(move))
		code = rename_volume("lvm.source", &move->source, move->old_name);
	if (!code)
		code = skip_activation("lvm.skip", &move->source, true);
	if (!code && !dest_is_done(move))
		code = rename_volume("lvm.dest", &move->dest, move->source.active);
	if (code && moved)
		zm_hint("%s/%s is what LVM must activate from now on: say the same again, or rename the volumes by hand",
			move->dest.vg, move->dest.name);
	else if (code)
		zm_lvm_undo(move);
	return code;
}

int zm_lvm_undo(struct zm_lvm_move *move)
{
	int code = ZM_OK;

	if (move->same_group && !strcmp(move->dest.name, move->source.active))
		code = rename_volume("lvm.undo", &move->dest, move->dest.active);
	if (!code && source_is_done(move)) {
		code = skip_activation("lvm.undo", &move->source, move->skipped);
		if (!code)
			code = rename_volume("lvm.undo", &move->source,
					     move->source.active);
	}
	if (code)
		zm_hint("LVM's names are not as they were: see lvs %s",
			move->source.vg);
	return code;
}

bool zm_lvm_has_moved(const struct zm_dev *dev, struct zm_dev *to)
{
	struct zm_table table = { 0 };
	char uuid[40];
	dev_t number;
	bool moved;

	moved = !zm_dm_table(dev->name, &table) && zm_table_linear(&table, &number) &&
		!zm_dm_lookup_dev(number, to) && zm_lvm_uuid(to, uuid);
	zm_table_free(&table);
	return moved;
}

int zm_lvm_refuse_moved(const struct zm_dev *source, const struct zm_dev *to)
{
	struct zm_lvm_move move = { 0 };
	const struct zm_lv *dest = &move.dest;

	zm_error(ZM_REFUSED, "%s has moved to %s already: LVM can learn of another move only after it was deactivated and activated again",
		 source->name, to->name);
	if (look(source, to, &move)) {
		zm_lvm_free(&move);
		return ZM_REFUSED;
	}
	if (!source_is_done(&move)) {
		zm_hint("LVM does not know of that one either; when it is no mirror: zmirror migrate --lvm %s %s",
			zm_word(source->name), zm_word(to->name));
	} else {
		zm_hint("when it is not in use any more:");
		zm_hint("  lvchange -an %s/%s", move.source.vg, move.old_name);
		zm_hint("  lvchange -an %s/%s; lvchange -ay %s/%s", dest->vg, dest->name,
			dest->vg, dest->name);
	}
	zm_lvm_free(&move);
	return ZM_REFUSED;
}

/*
 * The old volume has its name also after a move that has come to its end, until it is
 * deactivated; but then what the mirror began with is not its own place any more. The
 * destination's group may be gone, which is no reason unless names were changed.
 */
int zm_lvm_find_begun(const struct zm_mirror *mirror, struct zm_lvm_move *move)
{
	struct zm_lv lv = { 0 };
	struct zm_dev dest, to;
	char uuid[40];
	int code;

	memset(move, 0, sizeof(*move));
	if (mirror->exchanged || !mirror->origin.name[0] ||
	    !zm_lvm_uuid(&mirror->dev, uuid) ||
	    zm_dm_lookup_dev(mirror->dest.dev, &dest) || !zm_lvm_uuid(&dest, uuid) ||
	    zm_lvm_has_moved(&mirror->origin, &to))
		return ZM_OK;
	code = find_volume(&mirror->dev, true, &lv);
	if (!code && is_old_name(&lv))
		code = look(&mirror->dev, &dest, move);
	free_volume(&lv);
	if (code)
		zm_lvm_free(move);
	return code;
}

void zm_lvm_warn_of_name(const struct zm_dev *dev)
{
	struct zm_lv lv = { 0 };
	char uuid[40];

	if (zm_lvm_uuid(dev, uuid) && !find_volume(dev, true, &lv) && is_old_name(&lv)) {
		zm_hint("to LVM it is %s/%s, which is activated by hand only: a migrate that was not finished has called it so",
			lv.vg, lv.name);
		zm_hint("what has its name is behind: see lvs %s; rename them with lvrename, and lvchange --setactivationskip n %s/%s",
			lv.vg, lv.vg, lv.name);
	}
	free_volume(&lv);
}

void zm_lvm_free(struct zm_lvm_move *move)
{
	free_volume(&move->source);
	free_volume(&move->dest);
	free(move->old_name);
	memset(move, 0, sizeof(*move));
}
