// SPDX-License-Identifier: GPL-2.0-only
/*
 * What is found out about a destination; see dest.h.
 */
#include "dest.h"
#include "format.h"
#include "scsi.h"
#include "zmirror.h"

#include <blkid.h>
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <inttypes.h>
#include <limits.h>
#include <linux/fs.h>
#include <linux/loop.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define SECTOR		512U
#define SAMPLES		64
#define SAMPLE_BYTES	(64U << 10)
#define END_BYTES	(1U << 20)	/* that are read at both ends */

/*
 * ------------------------------------------------------------------------
 * sysfs
 * ------------------------------------------------------------------------
 */

static char *sysfs_path(dev_t dev, const char *what)
{
	return zm_printf("/sys/dev/block/%u:%u/%s", major(dev), minor(dev), what);
}

/* The first line of a file, to be freed; or NULL. */
static char *read_line(const char *path)
{
	FILE *file = fopen(path, "re");
	char *line = NULL;
	size_t size = 0;

	if (!file)
		return NULL;
	if (getline(&line, &size, file) <= 0) {
		free(line);
		line = NULL;
	} else {
		line[strcspn(line, "\n")] = '\0';
	}
	fclose(file);
	return line;
}

static char *read_attribute(dev_t dev, const char *what)
{
	char *path = sysfs_path(dev, what), *line = read_line(path);

	free(path);
	return line;
}

static bool has_attribute(dev_t dev, const char *what)
{
	char *path = sysfs_path(dev, what);
	bool there = !access(path, F_OK);

	free(path);
	return there;
}

static uint64_t read_number(dev_t dev, const char *what)
{
	char *line = read_attribute(dev, what);
	uint64_t number = line ? strtoull(line, NULL, 10) : 0;

	free(line);
	return number;
}

/* The disk that a partition is on. */
static bool disk_of(dev_t dev, dev_t *disk)
{
	char *line;
	bool found;

	if (!has_attribute(dev, "partition"))
		return false;
	line = read_attribute(dev, "../dev");
	found = line && zm_dev_parse(line, disk);
	free(line);
	return found;
}

/* Calls a function for each device in a folder of links, until it returns true. */
static bool visit_links(dev_t dev, const char *folder,
			bool (*fn)(dev_t dev, void *data), void *data)
{
	char *path = sysfs_path(dev, folder);
	DIR *dir = opendir(path);
	struct dirent *entry;
	bool found = false;

	while (dir && !found && (entry = readdir(dir))) {
		char *file, *line;
		dev_t other;

		if (entry->d_name[0] == '.')
			continue;
		file = zm_printf("%s/%s/dev", path, entry->d_name);
		line = read_line(file);
		if (line && zm_dev_parse(line, &other))
			found = fn(other, data);
		free(line);
		free(file);
	}
	if (dir)
		closedir(dir);
	free(path);
	return found;
}

/*
 * ------------------------------------------------------------------------
 * Who is on whom
 * ------------------------------------------------------------------------
 */

#define DEEPEST	32	/* more than any stack; against loops */

struct search {
	dev_t wanted;
	int depth;
};

/* The device of the file system that has the file of a loop device. */
static bool file_is_on(dev_t dev, dev_t *under)
{
	char *file = read_attribute(dev, "loop/backing_file");
	struct stat st;
	bool found;

	found = file && !stat(file, &st) &&
		has_attribute(S_ISBLK(st.st_mode) ? st.st_rdev : st.st_dev, "size");
	if (found)
		*under = S_ISBLK(st.st_mode) ? st.st_rdev : st.st_dev;
	free(file);
	return found;
}

/* Whether a device is the one that is looked for, or on it. */
static bool is_on(dev_t dev, void *data)
{
	struct search *search = data;
	bool found;
	dev_t disk;

	if (dev == search->wanted)
		return true;
	if (++search->depth > DEEPEST) {
		search->depth--;
		return false;
	}
	if (disk_of(dev, &disk) || file_is_on(dev, &disk))
		found = is_on(disk, search);
	else
		found = visit_links(dev, "slaves", is_on, search);
	search->depth--;
	return found;
}

/* A partition is on its disk. Two volumes of one pool, or disk, are no relatives. */
static bool related(dev_t a, dev_t b)
{
	struct search search = { .wanted = b };

	if (is_on(a, &search))
		return true;
	search.wanted = a;
	return is_on(b, &search);
}

/*
 * ------------------------------------------------------------------------
 * Who uses it
 * ------------------------------------------------------------------------
 */

static bool take_holder(dev_t dev, void *data)
{
	char **name = data;

	*name = zm_dev_name(dev);
	return true;
}

/* "36 35 98:0 /mnt1 /mnt2 rw,noatime - ext3 /dev/root rw": the third and fifth words. */
static char *mounted_at(dev_t dev)
{
	FILE *file = fopen("/proc/self/mountinfo", "re");
	char *line = NULL, *where = NULL;
	size_t size = 0;

	while (file && !where && getline(&line, &size, file) > 0) {
		unsigned int ma, mi;
		char path[PATH_MAX];

		if (sscanf(line, "%*u %*u %u:%u %*s %4095s", &ma, &mi, path) == 3 &&
		    makedev(ma, mi) == dev)
			where = zm_strdup(path);
	}
	free(line);
	if (file)
		fclose(file);
	return where;
}

static bool is_swap(dev_t dev)
{
	FILE *file = fopen("/proc/swaps", "re");
	char *line = NULL;
	size_t size = 0;
	bool found = false;

	while (file && !found && getline(&line, &size, file) > 0) {
		struct stat st;

		line[strcspn(line, " \t\n")] = '\0';
		found = *line == '/' && !stat(line, &st) && S_ISBLK(st.st_mode) &&
			st.st_rdev == dev;
	}
	free(line);
	if (file)
		fclose(file);
	return found;
}

static char *find_holder(dev_t dev)
{
	char *name = NULL, *text;

	if (visit_links(dev, "holders", take_holder, &name)) {
		text = zm_printf("device %s is on it", name);
		free(name);
		return text;
	}
	name = mounted_at(dev);
	if (name) {
		text = zm_printf("it is mounted at %s", name);
		free(name);
		return text;
	}
	if (is_swap(dev))
		return zm_strdup("it is swap");
	return zm_strdup("a program has it open, or one of its partitions is in use");
}

/*
 * ------------------------------------------------------------------------
 * What is on it
 * ------------------------------------------------------------------------
 */

static char *take_value(blkid_probe probe, const char *name)
{
	const char *value;

	return blkid_probe_lookup_value(probe, name, &value, NULL) ? NULL :
								     zm_strdup(value);
}

/*
 * What two of libblkid's probers take for theirs is a signature as well. That it
 * cannot be looked at is told by the caller.
 */
static int find_signature(const char *path, char **signature)
{
	blkid_probe probe = blkid_new_probe_from_filename(path);
	int r;

	if (!probe)
		return -1;
	blkid_probe_enable_superblocks(probe, 1);
	blkid_probe_set_superblocks_flags(probe, BLKID_SUBLKS_TYPE);
	blkid_probe_enable_partitions(probe, 1);
	r = blkid_do_safeprobe(probe);
	if (!r) {
		*signature = take_value(probe, "TYPE");
		if (!*signature)
			*signature = take_value(probe, "PTTYPE");
	}
	if (r == -2)
		*signature = zm_strdup("several kinds of data at once");
	blkid_free_probe(probe);
	return r == -1 ? -1 : 0;
}

/*
 * ------------------------------------------------------------------------
 * What it can do, and whether it is zero
 * ------------------------------------------------------------------------
 */

static void find_pool(dev_t number, struct zm_dest *dest)
{
	struct zm_table table = { 0 };
	struct zm_dev dev;

	if (!zm_dm_lookup_dev(number, &dev) && !zm_dm_table(dev.name, &table) &&
	    table.nr == 1 && !strcmp(table.targets[0].type, "thin-pool"))
		zm_dest_pool(table.targets[0].params, dest);
	zm_table_free(&table);
}

void zm_dest_pool(const char *params, struct zm_dest *dest)
{
	if (sscanf(params, "%*u:%*u %*u:%*u %" SCNu64, &dest->pool_chunk) != 1) {
		dest->pool_chunk = 0;
		return;
	}
	dest->pool_zeroes = !strstr(params, "skip_block_zeroing");
	dest->pool_discards = !strstr(params, "ignore_discard");
}

bool zm_dest_thin(const char *params, const char *status, dev_t *pool,
		  struct zm_dest *dest)
{
	unsigned int ma, mi;
	int len = 0;

	if (sscanf(params, "%u:%u %*u%n", &ma, &mi, &len) != 2 || !len ||
	    !isdigit((unsigned char)*status) ||
	    sscanf(status, "%" SCNu64, &dest->thin_mapped) != 1)
		return false;
	*pool = makedev(ma, mi);
	dest->thin = true;
	dest->thin_external = params[len];
	return true;
}

static void look_at_thin(const struct zm_dev *dev, struct zm_dest *dest)
{
	struct zm_table table = { 0 }, status = { 0 };
	dev_t pool;

	if (!zm_dm_table(dev->name, &table) && table.nr == 1 &&
	    !strcmp(table.targets[0].type, "thin") &&
	    !zm_dm_status(dev->name, &status) && status.nr == 1 &&
	    zm_dest_thin(table.targets[0].params, status.targets[0].params, &pool,
			 dest))
		find_pool(pool, dest);
	zm_table_free(&table);
	zm_table_free(&status);
}

/* Another file may have the name by now, here or for whoever made the device. */
static bool is_backing_file(int loop, int file)
{
	struct loop_info64 info;
	struct stat st;

	return !ioctl(loop, LOOP_GET_STATUS64, &info) && !fstat(file, &st) &&
	       info.lo_device == st.st_dev && info.lo_inode == st.st_ino;
}

/*
 * Whether the file of a loop device has no data where the device is. What is in the
 * device's page cache is written to the file before; what is in the file's, it counts
 * as data. A file system that knows no holes says that all is data.
 */
static bool loop_is_hole(const struct zm_dest *dest)
{
	char *file = read_attribute(dest->dev, "loop/backing_file");
	uint64_t offset = read_number(dest->dev, "loop/offset");
	int fd = open(dest->path, O_RDONLY | O_CLOEXEC), back;
	bool hole = false;
	off_t data;

	back = file ? open(file, O_RDONLY | O_CLOEXEC) : -1;
	if (fd >= 0 && back >= 0 && is_backing_file(fd, back) && !fsync(fd)) {
		data = lseek(back, offset, SEEK_DATA);
		hole = data < 0 ? errno == ENXIO :
		       (uint64_t)data >= offset + dest->sectors * SECTOR;
	}
	if (back >= 0)
		close(back);
	if (fd >= 0)
		close(fd);
	free(file);
	return hole;
}

/*
 * Only what is proved counts. That a device says it discards to zeroes, or that it was
 * made a moment ago, is no proof. In a pool that does not zero what it maps, the first
 * write to a block brings to light what was there before in all of the block.
 */
void zm_dest_prove(struct zm_dest *dest)
{
	dest->discard_zeroes = dest->thin && !dest->thin_external &&
			       dest->pool_chunk && dest->pool_zeroes &&
			       dest->pool_discards;
	if (dest->thin && !(dest->pool_chunk && dest->pool_zeroes)) {
		dest->why = zm_strdup("not known to be zero: a thin volume of a pool that does not zero");
	} else if (dest->thin && !dest->thin_external && !dest->thin_mapped) {
		dest->dest_zeroed = true;
		dest->why = zm_strdup("known to be zero: a thin volume of which nothing is mapped");
	} else if (dest->thin) {
		dest->why = zm_strdup("not known to be zero: a thin volume that is used already");
	} else {
		dest->why = zm_strdup("not known to be zero");
	}
}

/*
 * A SCSI disk, or a partition of one, of which nothing is mapped: a new or wholly
 * discarded one of a thin array, or of iSCSI. Its driver has a directory for it.
 */
static bool is_scsi(dev_t dev)
{
	dev_t disk;

	return has_attribute(disk_of(dev, &disk) ? disk : dev, "device/scsi_disk");
}

static bool scsi_is_zero(const struct zm_dest *dest)
{
	/* A whole disk has no attribute "start", which stands for 0. */
	return zm_scsi_is_zero(dest->path, read_number(dest->dev, "start"), dest->sectors);
}

static void prove_disk(struct zm_dest *dest)
{
	const char *why = NULL;

	dest->loop = has_attribute(dest->dev, "loop/backing_file");
	dest->scsi = is_scsi(dest->dev);
	if (dest->loop && loop_is_hole(dest))
		why = "known to be zero: a loop device on a file without data";
	else if (dest->scsi && scsi_is_zero(dest))
		why = "known to be zero: a SCSI disk of which nothing is mapped";
	if (!why)
		return;
	dest->dest_zeroed = true;
	free(dest->why);
	dest->why = zm_strdup(why);
}

bool zm_dest_still_zero(const struct zm_dest *dest)
{
	struct zm_dest now = { .dev = dest->dev, .path = dest->path };
	struct zm_dev dev;
	bool same = false;
	int fd;

	if (dest->loop)
		return loop_is_hole(dest);
	if (dest->scsi)
		return scsi_is_zero(dest);
	fd = open(dest->path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0 && !fsync(fd) && !zm_dm_lookup_dev(dest->dev, &dev)) {
		look_at_thin(&dev, &now);
		zm_dest_prove(&now);
		same = now.dest_zeroed;
	}
	if (fd >= 0)
		close(fd);
	free(now.why);
	return same;
}

/*
 * What is elsewhere is not asked: a file on a server that is gone would not answer. There
 * is a /dev within a container's root as well.
 */
static bool leads_to_dev(const char *path)
{
	static const char dev[] = "/dev/";
	char target[PATH_MAX];
	ssize_t len = readlink(path, target, sizeof(target));

	return len > 0 && memmem(target, len, dev, strlen(dev));
}

/*
 * Device-mapper counts who has a device open, in whatever way; of other devices it is
 * seen by the processes.
 */
static bool has_open(const char *pid, dev_t wanted)
{
	char *folder = zm_printf("/proc/%s/fd", pid), *path;
	DIR *dir = opendir(folder);
	struct dirent *entry;
	bool found = false;
	struct stat st;

	while (dir && !found && (entry = readdir(dir))) {
		path = zm_printf("%s/%s", folder, entry->d_name);
		found = leads_to_dev(path) && !stat(path, &st) && S_ISBLK(st.st_mode) &&
			st.st_rdev == wanted;
		free(path);
	}
	if (dir)
		closedir(dir);
	free(folder);
	return found;
}

/* The name of a process that has it open, to be freed; or NULL. */
static char *find_process(dev_t wanted)
{
	DIR *dir = opendir("/proc");
	struct dirent *entry;
	char *name = NULL;

	while (dir && !name && (entry = readdir(dir))) {
		char *path, *comm;

		if (!isdigit((unsigned char)entry->d_name[0]) ||
		    !has_open(entry->d_name, wanted))
			continue;
		path = zm_printf("/proc/%s/comm", entry->d_name);
		comm = read_line(path);
		name = zm_printf("the process %s (%s)", entry->d_name, comm ? comm : "?");
		free(comm);
		free(path);
	}
	if (dir)
		closedir(dir);
	return name;
}

static char *find_opener(dev_t wanted)
{
	char *name = find_process(wanted);
	struct zm_dev dev;

	if (!name && !zm_dm_lookup_dev(wanted, &dev) && dev.open_count)
		name = zm_strdup("somebody has it open");
	return name;
}

/*
 * What the kernel itself has open, and no program: loop devices on it, and what it gives
 * to other machines by NVMe over a network or by SCSI. They need not claim it.
 */
static bool overlaps(dev_t used, dev_t dest)
{
	struct search search = { .wanted = dest };
	dev_t disk;

	return is_on(used, &search) || (disk_of(dest, &disk) && disk == used);
}

/* Whether the file beside a file, if it is there, says 1. */
static bool is_enabled(const char *path)
{
	char *file = zm_printf("%.*s/enable", (int)(strrchr(path, '/') - path), path), *line;
	bool enabled;

	line = read_line(file);
	enabled = !line || !strcmp(line, "1");
	free(line);
	free(file);
	return enabled;
}

/*
 * The first of the files of a pattern that have a path of what is on @dest. What is
 * elsewhere is not asked, see leads_to_dev().
 */
static char *find_path_in(const char *pattern, dev_t dest)
{
	char *found = NULL, *line;
	struct stat st;
	glob_t files;
	size_t i;

	if (glob(pattern, GLOB_NOSORT, NULL, &files))
		return NULL;
	for (i = 0; !found && i < files.gl_pathc; i++) {
		line = read_line(files.gl_pathv[i]);
		if (line && strstr(line, "/dev/") && !stat(line, &st) && S_ISBLK(st.st_mode) &&
		    overlaps(st.st_rdev, dest) && is_enabled(files.gl_pathv[i]))
			found = zm_strdup(files.gl_pathv[i]);
		free(line);
	}
	globfree(&files);
	return found;
}

static void find_kernel_user(struct zm_dest *dest)
{
	static const struct {
		const char *pattern;
		const char *what;
	} users[] = {
		{ "/sys/block/loop*/loop/backing_file", "a loop device is on it" },
		{ "/sys/kernel/config/nvmet/subsystems/*/namespaces/*/device_path",
		  "NVMe gives it to other machines" },
		{ "/sys/kernel/config/target/core/*/*/udev_path",
		  "SCSI gives it to other machines" },
	};
	char *path;
	size_t i;

	for (i = 0; !dest->holder && i < sizeof(users) / sizeof(*users); i++) {
		path = find_path_in(users[i].pattern, dest->dev);
		if (path)
			dest->holder = zm_printf("%s: %s", users[i].what, path);
		free(path);
	}
}

/*
 * ------------------------------------------------------------------------
 * All of it
 * ------------------------------------------------------------------------
 */

int zm_dest_find(const char *arg, dev_t *number)
{
	bool path = *arg == '/' || !strncmp(arg, "./", 2) ||
		    !strncmp(arg, "../", 3);
	struct zm_dev dev;
	struct stat st;
	int code;

	if (!path) {
		code = zm_dm_find(arg, &dev);
		if (!code)
			*number = dev.dev;
		return code;
	}
	if (stat(arg, &st))
		return zm_error(ZM_NOT_FOUND, "%s: %s", arg, strerror(errno));
	if (!S_ISBLK(st.st_mode)) {
		zm_error(ZM_NOT_FOUND, "%s is not a block device", arg);
		if (S_ISREG(st.st_mode))
			zm_hint("for a file: losetup --find --show %s", zm_word(arg));
		return ZM_NOT_FOUND;
	}
	*number = st.st_rdev;
	return ZM_OK;
}

static int open_dest(const char *arg, struct zm_dest *dest)
{
	int fd = open(dest->path, O_RDONLY | O_EXCL | O_CLOEXEC), size = 0, ro = 0;

	if (fd < 0 && errno == EBUSY) {
		dest->holder = find_holder(dest->dev);
		fd = open(dest->path, O_RDONLY | O_CLOEXEC);
	}
	if (fd < 0)
		return zm_error(ZM_FAILED, "cannot open %s: %s", arg, strerror(errno));
	if (!ioctl(fd, BLKSSZGET, &size))
		dest->block_sectors = size / SECTOR;
	dest->read_only = !ioctl(fd, BLKROGET, &ro) && ro;
	close(fd);
	return ZM_OK;
}

/*
 * Programs of udev's look at a device that is new, for a moment. They are waited for before
 * anything else is found out: whoever it was may have left something there.
 */
static int open_alone(const char *arg, struct zm_dest *dest)
{
	double end = zm_now() + (zm_options.force ? 0 : 2);
	int code;

	for (;;) {
		code = open_dest(arg, dest);
		if (!code && !dest->holder)
			dest->user = find_opener(dest->dev);
		if (!dest->user || zm_now() >= end)
			return code;
		free(dest->user);
		dest->user = NULL;
		usleep(100000);
	}
}

int zm_dest_probe(const char *arg, struct zm_dest *dest)
{
	struct zm_dev dev;
	int code;

	memset(dest, 0, sizeof(*dest));
	code = zm_dest_find(arg, &dest->dev);
	if (code)
		return code;
	if (!zm_dm_lookup_dev(dest->dev, &dev) && (dev.suspended || !dev.live))
		return zm_error(ZM_REFUSED, "%s %s", arg,
				dev.suspended ? "is suspended" : "has no table");
	dest->path = zm_dev_path(dest->dev);
	dest->name = zm_dev_name(dest->dev);
	dest->sectors = zm_dev_sectors(dest->dev);
	code = open_alone(arg, dest);
	if (!code && find_signature(dest->path, &dest->signature))
		code = zm_error(ZM_FAILED, "cannot read %s to see what is on it", arg);
	if (code) {
		zm_dest_free(dest);
		return code;
	}
	if (!zm_dm_lookup_dev(dest->dev, &dev))
		look_at_thin(&dev, dest);
	zm_dest_prove(dest);
	prove_disk(dest);
	find_kernel_user(dest);
	return ZM_OK;
}

void zm_dest_free(struct zm_dest *dest)
{
	free(dest->path);
	free(dest->name);
	free(dest->holder);
	free(dest->user);
	free(dest->signature);
	free(dest->why);
	memset(dest, 0, sizeof(*dest));
}

/*
 * ------------------------------------------------------------------------
 * Samples
 * ------------------------------------------------------------------------
 */

/* Reads all of it, or to the end of the device. Returns bytes or -1. */
static ssize_t read_all(int fd, char *buffer, size_t size, uint64_t at)
{
	size_t done = 0;

	while (done < size) {
		ssize_t len = pread(fd, buffer + done, size - done, at + done);

		if (len < 0 && errno == EINTR)
			continue;
		if (len < 0)
			return -1;
		if (!len)
			break;
		done += len;
	}
	return done;
}

/* As zm_dest_sample(), for one place. */
static int sample(int fd, char *buffer, size_t size, uint64_t at, uint64_t *where)
{
	ssize_t len = read_all(fd, buffer, size, at), i;

	if (len < 0)
		return -1;
	for (i = 0; i < len; i++) {
		if (buffer[i]) {
			*where = at + i;
			return 0;
		}
	}
	return 1;
}

static int sample_some(int fd, char *buffer, uint64_t bytes, uint64_t *where)
{
	uint64_t end = bytes > END_BYTES ? bytes - END_BYTES : 0, place;
	int i, r;

	r = sample(fd, buffer, END_BYTES, 0, where);
	if (r == 1)
		r = sample(fd, buffer, END_BYTES, end & ~4095ULL, where);
	for (i = 0; i < SAMPLES && r == 1 && bytes > SAMPLE_BYTES; i++) {
		if (getrandom(&place, sizeof(place), 0) != sizeof(place))
			return -1;
		place %= bytes - SAMPLE_BYTES;
		r = sample(fd, buffer, SAMPLE_BYTES, place & ~4095ULL, where);
	}
	return r;
}

int zm_dest_sample(const struct zm_dest *dest, uint64_t sectors, uint64_t *where)
{
	int fd = open(dest->path, O_RDONLY | O_DIRECT | O_CLOEXEC), r = -1;
	void *buffer = NULL;

	if (fd >= 0 && !posix_memalign(&buffer, 4096, END_BYTES))
		r = sample_some(fd, buffer, sectors * SECTOR, where);
	if (r < 0)
		zm_error(ZM_FAILED, "cannot read samples of %s: %s", dest->path,
			 strerror(errno));
	free(buffer);
	if (fd >= 0)
		close(fd);
	return r;
}

/*
 * ------------------------------------------------------------------------
 * Whether it will do
 * ------------------------------------------------------------------------
 */

int zm_dest_check(const struct zm_dest *dest, const struct zm_dev *source,
		  uint64_t sectors, bool force)
{
	if (dest->sectors < sectors) {
		zm_error(ZM_REFUSED, "%s is too small: it has %" PRIu64 " sectors, and %s has %" PRIu64,
			 dest->name, dest->sectors, source->name, sectors);
		return ZM_REFUSED;
	}
	if (dest->read_only)
		return zm_error(ZM_REFUSED, "%s is read-only", dest->name);
	if (dest->dev == source->dev || related(dest->dev, source->dev))
		return zm_error(ZM_REFUSED, "%s is %s itself, or a part of it, or on it",
				dest->name, source->name);
	if (dest->holder)
		return zm_error(ZM_REFUSED, "%s is in use: %s", dest->name,
				dest->holder);
	if (dest->user && !force) {
		zm_error(ZM_REFUSED, "%s is in use: %s", dest->name, dest->user);
		zm_hint("if that only looks at it: --force");
		return ZM_REFUSED;
	}
	if (dest->block_sectors * SECTOR > read_number(source->dev, "queue/logical_block_size")) {
		zm_error(ZM_REFUSED, "%s has blocks of %u bytes, which is more than %s has: its users may ask for less",
			 dest->name, dest->block_sectors * SECTOR, source->name);
		return ZM_REFUSED;
	}
	if (dest->signature && !force) {
		zm_error(ZM_REFUSED, "%s has data on it: %s", dest->name,
			 dest->signature);
		zm_hint("to have it overwritten: --force");
		return ZM_REFUSED;
	}
	return ZM_OK;
}
