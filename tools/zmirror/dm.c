// SPDX-License-Identifier: GPL-2.0-only
/*
 * Device-mapper devices, by libdevmapper; see dm.h.
 */
#include "dm.h"
#include "zmirror.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libdevmapper.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

/*
 * ------------------------------------------------------------------------
 * What libdevmapper and the kernel say
 * ------------------------------------------------------------------------
 */

#define LEVEL_MASK	7	/* what is over it are flags */
#define LEVEL_ERROR	3

static char said[512];		/* the last complaint of libdevmapper's */

static void log_fn(int level, const char *file, int line, int dm_errno,
		   const char *format, ...)
{
	va_list args;

	(void)file;
	(void)line;
	(void)dm_errno;
	if ((level & LEVEL_MASK) > LEVEL_ERROR)
		return;
	va_start(args, format);
	vsnprintf(said, sizeof(said), format, args);
	va_end(args);
}

/*
 * Why a table is not taken the kernel tells its log alone. So what comes there while
 * it is loaded is read, for the line that has the name of a target's error.
 */
static int kmsg_open(void)
{
	int fd = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);

	if (fd >= 0)
		lseek(fd, 0, SEEK_END);
	return fd;
}

static void kmsg_take(char *record, char *why, size_t size)
{
	static const char table[] = "device-mapper: table: ";
	static const char target[] = "device-mapper: zmirror: ";
	char *text = strstr(record, table), *end;

	if (text) {
		/* "253:3: zmirror: Cannot open ... (-ENOENT)" */
		text += strlen(table);
		end = strstr(text, ": ");
		text = end ? end + 2 : text;
	} else {
		text = strstr(record, target);
		if (!text)
			return;
		text += strlen(target);
	}
	text[strcspn(text, "\n")] = '\0';
	snprintf(why, size, "%s", text);
}

/* Reads to the end; keeps the last line that fits. */
static void kmsg_close(int fd, char *why, size_t size)
{
	char record[8192];
	ssize_t len;

	*why = '\0';
	if (fd < 0)
		return;
	while ((len = read(fd, record, sizeof(record) - 1)) > 0 ||
	       (len < 0 && errno == EPIPE)) {
		if (len < 0)
			continue;
		record[len] = '\0';
		kmsg_take(record, why, size);
	}
	close(fd);
}

/*
 * ------------------------------------------------------------------------
 * Tables
 * ------------------------------------------------------------------------
 */

void zm_table_add(struct zm_table *table, uint64_t start, uint64_t length,
		  const char *type, const char *params)
{
	struct zm_target *target;

	table->targets = zm_realloc(table->targets, (table->nr + 1) *
				    sizeof(*table->targets));
	target = &table->targets[table->nr++];
	target->start = start;
	target->length = length;
	target->type = zm_strdup(type);
	target->params = zm_strdup(params);
}

void zm_table_free(struct zm_table *table)
{
	size_t i;

	for (i = 0; i < table->nr; i++) {
		free(table->targets[i].type);

		/* That of dm-crypt has a key. */
		explicit_bzero(table->targets[i].params,
			       strlen(table->targets[i].params));
		free(table->targets[i].params);
	}
	free(table->targets);
	table->targets = NULL;
	table->nr = 0;
}

uint64_t zm_table_sectors(const struct zm_table *table)
{
	const struct zm_target *last;

	if (!table->nr)
		return 0;
	last = &table->targets[table->nr - 1];
	return last->start + last->length;
}

bool zm_table_equal(const struct zm_table *a, const struct zm_table *b)
{
	size_t i;

	if (a->nr != b->nr)
		return false;
	for (i = 0; i < a->nr; i++)
		if (a->targets[i].start != b->targets[i].start ||
		    a->targets[i].length != b->targets[i].length ||
		    strcmp(a->targets[i].type, b->targets[i].type) ||
		    strcmp(a->targets[i].params, b->targets[i].params))
			return false;
	return true;
}

bool zm_table_linear(const struct zm_table *table, dev_t *dev)
{
	char *params, *offset;
	bool is;

	if (table->nr != 1 || strcmp(table->targets[0].type, "linear"))
		return false;
	params = zm_strdup(table->targets[0].params);
	offset = params + strcspn(params, " ");
	is = !strcmp(offset, " 0");
	*offset = '\0';
	is = is && zm_dev_parse(params, dev);
	free(params);
	return is;
}

/*
 * ------------------------------------------------------------------------
 * Tasks
 * ------------------------------------------------------------------------
 */

static struct dm_task *task_new(int type)
{
	static bool prepared;
	struct dm_task *task;

	if (!prepared) {
		dm_log_with_errno_init(log_fn);
		prepared = true;
	}
	said[0] = '\0';
	task = dm_task_create(type);
	if (!task) {
		/* Without the control device there is nothing that can be done. */
		zm_error(ZM_FAILED, "device-mapper does not answer: %s", said);
		zm_hint("are you root, and is the module dm_mod loaded?");
		exit(ZM_FAILED);
	}
	return task;
}

static struct dm_task *task_for(int type, const char *name)
{
	struct dm_task *task = task_new(type);

	if (dm_task_set_name(task, name))
		return task;
	zm_error(ZM_FAILED, "%s is no name for a device: %s", name, said);
	dm_task_destroy(task);
	return NULL;
}

/* Runs a task that changes nothing, and destroys it unless it is well. */
static int task_ask(struct dm_task *task, const char *what, const char *name)
{
	int code = ZM_OK;

	if (dm_task_run(task))
		return ZM_OK;
	if (dm_task_get_errno(task) == ENXIO)
		code = ZM_NOT_FOUND;
	else
		code = zm_error(ZM_FAILED, "cannot %s of %s: %s", what, name,
				said[0] ? said :
				strerror(dm_task_get_errno(task)));
	dm_task_destroy(task);
	return code;
}

/*
 * What udev does on a change is waited for, if there is a udev. A device with @private
 * is nobody's business: no links are made for what is found on it, which is on the
 * mirrored device as well.
 */
static int task_change(struct dm_task *task, const char *what, const char *name,
		       bool private)
{
	uint16_t flags = private ? DM_UDEV_DISABLE_DISK_RULES_FLAG |
				   DM_UDEV_DISABLE_OTHER_RULES_FLAG |
				   DM_UDEV_LOW_PRIORITY_FLAG : 0;
	uint32_t cookie = 0;
	char why[512];
	int code = ZM_OK, kmsg;

	if (!dm_task_set_cookie(task, &cookie, flags)) {
		zm_error(ZM_FAILED, "cannot %s %s: %s", what, name, said);
		dm_task_destroy(task);
		return ZM_FAILED;
	}
	kmsg = kmsg_open();
	if (!dm_task_run(task))
		code = ZM_FAILED;
	kmsg_close(kmsg, why, sizeof(why));
	dm_udev_wait(cookie);
	if (code)
		zm_error(code, "cannot %s %s: %s", what, name,
			 why[0] ? why : said);
	dm_task_destroy(task);
	return code;
}

static bool task_add_table(struct dm_task *task, const struct zm_table *table)
{
	size_t i;

	dm_task_secure_data(task);
	for (i = 0; i < table->nr; i++)
		if (!dm_task_add_target(task, table->targets[i].start,
					table->targets[i].length,
					table->targets[i].type,
					table->targets[i].params))
			return false;
	return true;
}

/*
 * ------------------------------------------------------------------------
 * Finding devices
 * ------------------------------------------------------------------------
 */

static int take_info(struct dm_task *task, const char *what, struct zm_dev *dev)
{
	struct dm_info info;
	const char *uuid;
	char *name;
	int code = task_ask(task, "ask for the state", what);

	if (code)
		return code;
	if (!dm_task_get_info(task, &info) || !info.exists) {
		dm_task_destroy(task);
		return ZM_NOT_FOUND;
	}
	memset(dev, 0, sizeof(*dev));
	name = dm_task_get_name_unmangled(task);
	snprintf(dev->name, sizeof(dev->name), "%s", name ? name : what);
	dm_free(name);
	uuid = dm_task_get_uuid(task);
	snprintf(dev->uuid, sizeof(dev->uuid), "%s", uuid ? uuid : "");
	dev->dev = makedev(info.major, info.minor);
	dev->live = info.live_table;
	dev->inactive = info.inactive_table;
	dev->suspended = info.suspended;
	dev->read_only = info.read_only;
	dev->open_count = info.open_count;
	dev->event_nr = info.event_nr;
	dm_task_destroy(task);
	return ZM_OK;
}

int zm_dm_lookup(const char *name, struct zm_dev *dev)
{
	struct dm_task *task = task_new(DM_DEVICE_INFO);

	/* What is no name at all is the name of nothing. */
	if (!dm_task_set_name(task, name)) {
		dm_task_destroy(task);
		return ZM_NOT_FOUND;
	}
	return take_info(task, name, dev);
}

int zm_dm_lookup_uuid(const char *uuid, struct zm_dev *dev)
{
	struct dm_task *task = task_new(DM_DEVICE_INFO);

	if (!dm_task_set_uuid(task, uuid)) {
		dm_task_destroy(task);
		return ZM_NOT_FOUND;
	}
	return take_info(task, uuid, dev);
}

static bool is_dm(dev_t number)
{
	char path[64];

	snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/dm", major(number),
		 minor(number));
	return !access(path, F_OK);
}

int zm_dm_lookup_dev(dev_t number, struct zm_dev *dev)
{
	struct dm_task *task;
	char what[32];

	if (!is_dm(number))
		return ZM_NOT_FOUND;
	task = task_new(DM_DEVICE_INFO);
	snprintf(what, sizeof(what), "%u:%u", major(number), minor(number));
	if (!dm_task_set_major_minor(task, major(number), minor(number), 0)) {
		dm_task_destroy(task);
		return ZM_NOT_FOUND;
	}
	return take_info(task, what, dev);
}

/* By a path. A block device that is not device-mapper's cannot be mirrored in use. */
static int find_path(const char *arg, struct zm_dev *dev)
{
	struct stat st;
	int code;

	if (stat(arg, &st))
		return ZM_NOT_FOUND;
	if (!S_ISBLK(st.st_mode))
		return zm_error(ZM_NOT_FOUND, "%s is not a block device", arg);
	code = zm_dm_lookup_dev(st.st_rdev, dev);
	if (code == ZM_NOT_FOUND)
		zm_error(code, "%s is not a device-mapper device, and only such can be mirrored in use",
			 arg);
	return code;
}

/* VG/LV, as LVM writes it. */
static int find_lv(const char *arg, struct zm_dev *dev)
{
	const char *slash = strchr(arg, '/');
	struct dm_pool *pool;
	char *vg, *name;
	int code = ZM_NOT_FOUND;

	if (!slash || slash == arg || !slash[1] || strchr(slash + 1, '/'))
		return ZM_NOT_FOUND;
	vg = zm_printf("%.*s", (int)(slash - arg), arg);
	pool = dm_pool_create("name", 256);
	name = pool ? dm_build_dm_name(pool, vg, slash + 1, NULL) : NULL;
	if (name)
		code = zm_dm_lookup(name, dev);
	if (pool)
		dm_pool_destroy(pool);
	free(vg);
	return code;
}

int zm_dm_find(const char *arg, struct zm_dev *dev)
{
	bool path = *arg == '/' || !strncmp(arg, "./", 2) ||
		    !strncmp(arg, "../", 3);
	struct stat st;
	int code;

	if (path) {
		code = stat(arg, &st) ?
		       zm_error(ZM_NOT_FOUND, "%s: %s", arg, strerror(errno)) :
		       find_path(arg, dev);
		return code;
	}
	code = strchr(arg, '/') ? find_lv(arg, dev) : zm_dm_lookup(arg, dev);
	if (code == ZM_NOT_FOUND) {
		zm_error(code, "there is no device-mapper device %s", arg);
		zm_hint("give a name that \"dmsetup ls\" has, VG/LV, or a path");
	}
	return code;
}

int zm_dm_list(char ***names, size_t *nr)
{
	struct dm_task *task = task_new(DM_DEVICE_LIST);
	struct dm_names *at;
	int code = task_ask(task, "list the devices", "device-mapper");

	*names = NULL;
	*nr = 0;
	if (code)
		return code;
	at = dm_task_get_names(task);
	while (at && at->dev) {
		*names = zm_realloc(*names, (*nr + 1) * sizeof(**names));
		(*names)[(*nr)++] = zm_strdup(at->name);
		if (!at->next)
			break;
		at = (struct dm_names *)((char *)at + at->next);
	}
	dm_task_destroy(task);
	return ZM_OK;
}

void zm_free_names(char **names, size_t nr)
{
	while (nr)
		free(names[--nr]);
	free(names);
}

/*
 * ------------------------------------------------------------------------
 * Asking
 * ------------------------------------------------------------------------
 */

static int ask_table(int type, bool inactive, const char *name, struct zm_table *table)
{
	struct dm_task *task = task_for(type, name);
	uint64_t start, length;
	char *target, *params;
	void *next = NULL;
	int code;

	memset(table, 0, sizeof(*table));
	if (!task)
		return ZM_FAILED;
	dm_task_secure_data(task);
	dm_task_no_flush(task);
	if (inactive)
		dm_task_query_inactive_table(task);
	code = task_ask(task, type == DM_DEVICE_TABLE ? "read the table" :
							"read the status", name);
	if (code)
		return code;
	do {
		next = dm_get_next_target(task, next, &start, &length, &target,
					  &params);
		if (target)
			zm_table_add(table, start, length, target, params);
	} while (next);
	dm_task_destroy(task);
	return ZM_OK;
}

int zm_dm_table(const char *name, struct zm_table *table)
{
	return ask_table(DM_DEVICE_TABLE, false, name, table);
}

int zm_dm_table_inactive(const char *name, struct zm_table *table)
{
	return ask_table(DM_DEVICE_TABLE, true, name, table);
}

/* A status that flushes would wait for others; what is there will do. */
int zm_dm_status(const char *name, struct zm_table *status)
{
	return ask_table(DM_DEVICE_STATUS, false, name, status);
}

int zm_dm_message(const char *name, const char *message, char **answer)
{
	struct dm_task *task = task_for(DM_DEVICE_TARGET_MSG, name);
	char why[512];
	int code = ZM_OK, kmsg;

	if (answer)
		*answer = NULL;
	if (!task)
		return ZM_FAILED;
	kmsg = kmsg_open();
	if (!dm_task_set_sector(task, 0) ||
	    !dm_task_set_message(task, message) || !dm_task_run(task))
		code = ZM_FAILED;
	kmsg_close(kmsg, why, sizeof(why));
	if (code)
		zm_error(code, "%s does not take the message \"%.60s\": %s",
			 name, message, why[0] ? why : said);
	else if (answer && dm_task_get_message_response(task))
		*answer = zm_strdup(dm_task_get_message_response(task));
	dm_task_destroy(task);
	return code;
}

int zm_dm_wait(const char *name, uint32_t event_nr)
{
	struct dm_task *task = task_for(DM_DEVICE_WAITEVENT, name);
	int code = ZM_OK;

	if (!task)
		return ZM_FAILED;
	if (!dm_task_set_event_nr(task, event_nr)) {
		code = zm_error(ZM_FAILED, "cannot wait for %s: %s", name, said);
	} else if (!dm_task_run(task)) {
		code = dm_task_get_errno(task) == EINTR ? ZM_INTERRUPTED :
		       dm_task_get_errno(task) == ENXIO ? ZM_NOT_FOUND :
		       zm_error(ZM_FAILED, "cannot wait for %s: %s", name, said);
	}
	dm_task_destroy(task);
	return code;
}

/* The kernel loads the module of a target that a table names, but not for a question. */
char *zm_dm_target_version(const char *type)
{
	struct dm_task *task = task_new(DM_DEVICE_LIST_VERSIONS);
	struct dm_versions *at = dm_task_run(task) ? dm_task_get_versions(task) : NULL;
	char *version = NULL;

	while (at && !version) {
		if (!strcmp(at->name, type))
			version = zm_printf("%u.%u.%u", at->version[0],
					    at->version[1], at->version[2]);
		at = at->next ? (struct dm_versions *)((char *)at + at->next) : NULL;
	}
	dm_task_destroy(task);
	return version;
}

/*
 * ------------------------------------------------------------------------
 * Changing
 * ------------------------------------------------------------------------
 */

/* A device that is created has its table at once, or is not there. */
int zm_dm_create(const char *name, const char *uuid, const struct zm_table *table)
{
	struct dm_task *task = task_for(DM_DEVICE_CREATE, name);

	if (!task)
		return ZM_FAILED;
	if (!dm_task_set_uuid(task, uuid) || !task_add_table(task, table) ||
	    !dm_task_set_add_node(task, DM_ADD_NODE_ON_RESUME)) {
		zm_error(ZM_FAILED, "cannot create %s: %s", name, said);
		dm_task_destroy(task);
		return ZM_FAILED;
	}
	return task_change(task, "create", name, true);
}

int zm_dm_load(const char *name, const struct zm_table *table)
{
	struct dm_task *task = task_for(DM_DEVICE_RELOAD, name);
	char why[512];
	int code = ZM_OK, kmsg;

	if (!task)
		return ZM_FAILED;
	kmsg = kmsg_open();
	if (!task_add_table(task, table) || !dm_task_run(task))
		code = ZM_FAILED;
	kmsg_close(kmsg, why, sizeof(why));
	if (code)
		zm_error(code, "cannot load a table for %s: %s", name,
			 why[0] ? why : said);
	dm_task_destroy(task);
	return code;
}

/*
 * One ioctl suspends the device, exchanges the tables, and resumes it: whatever becomes
 * of this program, no request is left waiting, unless the kernel does not take the table
 * after all; then the device is suspended, on the one it had. The file system need not be frozen,
 * for nothing is taken away from under it.
 */
int zm_dm_resume(const char *name)
{
	struct dm_task *task = task_for(DM_DEVICE_RESUME, name);

	if (!task)
		return ZM_FAILED;
	if (!dm_task_skip_lockfs(task)) {
		dm_task_destroy(task);
		return zm_error(ZM_FAILED, "cannot resume %s: %s", name, said);
	}
	return task_change(task, "resume", name, false);
}

int zm_dm_clear(const char *name)
{
	struct dm_task *task = task_for(DM_DEVICE_CLEAR, name);
	int code = ZM_OK;

	if (!task)
		return ZM_FAILED;
	if (!dm_task_run(task))
		code = zm_error(ZM_FAILED, "cannot drop the table loaded for %s: %s",
				name, said);
	dm_task_destroy(task);
	return code;
}

/* Whoever looks at a new device for a moment, udev's programs for one, is waited for. */
int zm_dm_remove(const char *name)
{
	struct dm_task *task = task_for(DM_DEVICE_REMOVE, name);

	if (!task)
		return ZM_FAILED;
	dm_task_retry_remove(task);
	return task_change(task, "remove", name, true);
}

/*
 * ------------------------------------------------------------------------
 * Block devices
 * ------------------------------------------------------------------------
 */

static bool read_sysfs(dev_t number, const char *attribute, char *text,
		       size_t size)
{
	char path[128];
	FILE *file;
	bool ok;

	snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/%s", major(number),
		 minor(number), attribute);
	file = fopen(path, "re");
	if (!file)
		return false;
	ok = fgets(text, size, file);
	fclose(file);
	if (ok)
		text[strcspn(text, "\n")] = '\0';
	return ok;
}

/* The file has units of 512 bytes, whatever the disk has. */
uint64_t zm_dev_sectors(dev_t number)
{
	char text[32];

	if (!read_sysfs(number, "size", text, sizeof(text)))
		return 0;
	return strtoull(text, NULL, 10);
}

/* The seventh figure is of writes, the fourteenth of discards; see iostats.rst. */
uint64_t zm_dev_written(dev_t number)
{
	uint64_t written = 0, discarded = 0;
	char text[512];

	if (read_sysfs(number, "stat", text, sizeof(text)))
		sscanf(text, "%*u %*u %*u %*u %*u %*u %" SCNu64 " %*u %*u %*u %*u %*u %*u %" SCNu64,
		       &written, &discarded);
	return written + discarded;
}

/* The name that the kernel has for it, the last part of where the link leads. */
static char *kernel_name(dev_t number)
{
	char path[64], target[PATH_MAX];
	ssize_t len;

	snprintf(path, sizeof(path), "/sys/dev/block/%u:%u", major(number),
		 minor(number));
	len = readlink(path, target, sizeof(target) - 1);
	if (len <= 0)
		return zm_printf("%u:%u", major(number), minor(number));
	target[len] = '\0';
	return zm_strdup(strrchr(target, '/') ? strrchr(target, '/') + 1 :
						target);
}

char *zm_dev_name(dev_t number)
{
	struct zm_dev dev;

	if (!zm_dm_lookup_dev(number, &dev))
		return zm_strdup(dev.name);
	return kernel_name(number);
}

/* Whether a path leads to the device: names are mangled there, or links may be old. */
static bool leads_to(const char *path, dev_t number)
{
	struct stat st;

	return !stat(path, &st) && S_ISBLK(st.st_mode) && st.st_rdev == number;
}

/*
 * What may not stand in a file's name as it is stands there as \xNN. libdevmapper does so
 * itself, but tells it of devices only that are there.
 */
char *zm_dm_path(const char *name)
{
	static const char plain[] =
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
		"#+-.:=@_";
	char *path = zm_alloc(strlen(dm_dir()) + 4 * strlen(name) + 2), *at;

	at = path + sprintf(path, "%s/", dm_dir());
	for (; *name; name++)
		at += sprintf(at, strchr(plain, *name) ? "%c" : "\\x%02x",
			      (unsigned char)*name);
	return path;
}

char *zm_kernel_path(const char *name)
{
	char *path = zm_printf("/dev/%s", name), *at;

	for (at = path; (at = strchr(at, '!')); at++)
		*at = '/';
	return path;
}

char *zm_dev_path(dev_t number)
{
	struct zm_dev dev;
	char *name, *path = NULL;

	if (!zm_dm_lookup_dev(number, &dev)) {
		path = zm_dm_path(dev.name);
		if (leads_to(path, number))
			return path;
		free(path);
	}
	name = kernel_name(number);
	path = zm_kernel_path(name);
	free(name);
	return path;
}

bool zm_dev_parse(const char *text, dev_t *number)
{
	unsigned int ma, mi;
	int len = 0;

	if (!isdigit((unsigned char)*text) ||
	    sscanf(text, "%u:%u%n", &ma, &mi, &len) != 2 || text[len])
		return false;
	*number = makedev(ma, mi);
	return true;
}
