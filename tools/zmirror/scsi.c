// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a SCSI disk says of its blocks; see scsi.h. The commands and their answers are
 * those of SBC-4, 5.6 (GET LBA STATUS) and 5.20 (READ CAPACITY).
 */
#include "scsi.h"

#include <endian.h>
#include <fcntl.h>
#include <scsi/sg.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define SECTOR			512U
#define SERVICE_ACTION_IN_16	0x9e
#define READ_CAPACITY		0x10
#define GET_LBA_STATUS		0x12

#define CAPACITY_BYTES		32
#define LBPME			0x80	/* both of byte 14 */
#define LBPRZ			0x40

#define STATUS_HEADER		8
#define STATUS_BYTES		16	/* a descriptor */
#define STATUS_MASK		0x07
#define DEALLOCATED		1
#define DESCRIPTORS		64	/* at once, when a disk tells of as many */
#define TIMEOUT_MS		30000

static uint32_t get_be32(const uint8_t *at)
{
	uint32_t value;

	memcpy(&value, at, sizeof(value));
	return be32toh(value);
}

static uint64_t get_be64(const uint8_t *at)
{
	uint64_t value;

	memcpy(&value, at, sizeof(value));
	return be64toh(value);
}

bool zm_scsi_capacity(const uint8_t *answer, size_t len, uint32_t *block_bytes,
		      uint64_t *blocks)
{
	uint64_t last;

	if (len < 15)
		return false;
	last = get_be64(answer);
	*block_bytes = get_be32(answer + 8);
	*blocks = last + 1;
	return *block_bytes >= SECTOR && !(*block_bytes % SECTOR) && *blocks &&
	       (answer[14] & LBPME) && (answer[14] & LBPRZ);
}

/* A descriptor that does not begin where the one before ended is not believed. */
uint64_t zm_scsi_unmapped(const uint8_t *answer, size_t len, uint64_t at, uint64_t end)
{
	const uint8_t *descriptor = answer + STATUS_HEADER;
	size_t there;

	if (len < STATUS_HEADER)
		return at;
	/* The length in the answer does not count itself. */
	there = (size_t)get_be32(answer) + 4;
	if (there < len)
		len = there;
	for (; descriptor + STATUS_BYTES <= answer + len && at < end;
	     descriptor += STATUS_BYTES) {
		if (get_be64(descriptor) != at ||
		    (descriptor[12] & STATUS_MASK) != DEALLOCATED)
			break;
		at += get_be32(descriptor + 8);
	}
	return at < end ? at : end;
}

/* Returns how many bytes there are of the answer, or -1. */
static ssize_t ask(int fd, uint8_t action, uint64_t block, void *answer, uint32_t size)
{
	uint8_t command[16] = { SERVICE_ACTION_IN_16, action }, sense[32];
	uint64_t be_block = htobe64(block);
	uint32_t be_size = htobe32(size);
	struct sg_io_hdr io = {
		.interface_id = 'S',
		.dxfer_direction = SG_DXFER_FROM_DEV,
		.cmd_len = sizeof(command),
		.cmdp = command,
		.mx_sb_len = sizeof(sense),
		.sbp = sense,
		.dxfer_len = size,
		.dxferp = answer,
		.timeout = TIMEOUT_MS,
	};

	memcpy(command + 2, &be_block, sizeof(be_block));
	memcpy(command + 10, &be_size, sizeof(be_size));
	memset(answer, 0, size);
	if (ioctl(fd, SG_IO, &io) || (io.info & SG_INFO_OK_MASK) != SG_INFO_OK)
		return -1;
	return io.resid >= 0 && (uint32_t)io.resid <= size ? (ssize_t)size - io.resid : -1;
}

static bool is_unmapped(int fd, uint64_t at, uint64_t end)
{
	uint8_t answer[STATUS_HEADER + DESCRIPTORS * STATUS_BYTES];
	uint64_t next;
	ssize_t len;

	for (; at < end; at = next) {
		len = ask(fd, GET_LBA_STATUS, at, answer, sizeof(answer));
		next = len < 0 ? at : zm_scsi_unmapped(answer, len, at, end);
		if (next == at)
			return false;
	}
	return true;
}

bool zm_scsi_is_zero(const char *path, uint64_t start, uint64_t sectors)
{
	int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	uint8_t answer[CAPACITY_BYTES];
	uint32_t block_bytes, per_block;
	bool zero = false;
	uint64_t blocks, end;
	ssize_t len;

	if (fd < 0)
		return false;

	/* What is in the page cache is on the disk first, and counts there. */
	len = fsync(fd) ? -1 : ask(fd, READ_CAPACITY, 0, answer, sizeof(answer));
	if (len >= 0 && zm_scsi_capacity(answer, len, &block_bytes, &blocks)) {
		per_block = block_bytes / SECTOR;
		end = (start + sectors + per_block - 1) / per_block;
		zero = end <= blocks && is_unmapped(fd, start / per_block, end);
	}
	close(fd);
	return zero;
}
