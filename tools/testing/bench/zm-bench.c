// SPDX-License-Identifier: GPL-2.0-only
/*
 * Times what is too short for a shell to time; prints nanoseconds.
 *
 *	zm-bench punch DEVICE BYTES COUNT	a request of unmapping WRITE_ZEROES
 *	zm-bench resync NAME WORD		a resume until the status has WORD
 *	zm-bench run COMMAND...			a command
 *	zm-bench mark 0|1			tells insn-count.c to begin or end
 */
#define _GNU_SOURCE
#include <err.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <linux/dm-ioctl.h>
#include <linux/falloc.h>

static long long now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000LL + ts.tv_nsec;
}

static long long punch(const char *path, off_t bytes, long count)
{
	int fd = open(path, O_RDWR);
	off_t size, at = 0;
	long long begin;
	long i;

	if (fd < 0)
		err(1, "%s", path);
	size = lseek(fd, 0, SEEK_END);
	begin = now();
	for (i = 0; i < count; i++) {
		if (fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
			      at, bytes))
			err(1, "fallocate");
		at += bytes;
		if (at + bytes > size)
			at = 0;
	}
	return (now() - begin) / count;
}

static int control = -1;

/* What device-mapper answers ends in a status line, if there is one. */
static struct dm_ioctl *dm(unsigned long request, const char *name,
			   unsigned int event)
{
	static char buf[4096];
	struct dm_ioctl *io = (struct dm_ioctl *)buf;

	memset(buf, 0, sizeof(buf));
	io->version[0] = 4;
	io->data_size = sizeof(buf);
	io->data_start = sizeof(*io);
	io->event_nr = event;
	snprintf(io->name, sizeof(io->name), "%s", name);
	if (ioctl(control, request, io))
		err(1, "device-mapper: %s", name);
	return io;
}

static const char *status(struct dm_ioctl *io)
{
	return (char *)io + io->data_start + sizeof(struct dm_target_spec);
}

static long long resync(const char *name, const char *word)
{
	struct dm_ioctl *io;
	unsigned int event;
	long long begin;

	control = open("/dev/mapper/control", O_RDWR);
	if (control < 0)
		err(1, "/dev/mapper/control");
	event = dm(DM_DEV_STATUS, name, 0)->event_nr;
	begin = now();
	dm(DM_DEV_SUSPEND, name, 0);
	do {
		io = dm(DM_DEV_WAIT, name, event);
		event = io->event_nr;
	} while (!strstr(status(io), word));
	return now() - begin;
}

static long long run(char **argv)
{
	long long begin = now();
	int result;
	pid_t pid = fork();

	if (!pid) {
		execvp(argv[0], argv);
		err(127, "%s", argv[0]);
	}
	if (pid < 0 || waitpid(pid, &result, 0) < 0)
		err(1, "%s", argv[0]);
	if (result)
		errx(1, "%s ends with %d", argv[0], result);
	return now() - begin;
}

/* See insn-count.c, which looks for these instructions. */
static int mark(const char *what)
{
	if (*what == '1')
		asm volatile("nopl 0x01424d5a(%rax)");
	else
		asm volatile("nopl 0x00424d5a(%rax)");
	return 0;
}

int main(int argc, char **argv)
{
	long long took;

	if (argc == 3 && !strcmp(argv[1], "mark"))
		return mark(argv[2]);
	if (argc == 5 && !strcmp(argv[1], "punch"))
		took = punch(argv[2], atoll(argv[3]), atol(argv[4]));
	else if (argc == 4 && !strcmp(argv[1], "resync"))
		took = resync(argv[2], argv[3]);
	else if (argc > 2 && !strcmp(argv[1], "run"))
		took = run(argv + 2);
	else
		errx(2, "see the head of zm-bench.c");
	printf("%lld\n", took);
	return 0;
}
