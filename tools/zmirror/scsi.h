/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What a SCSI disk says of its blocks: whether any of them is mapped, as SBC calls what
 * has space of its own.
 */
#ifndef ZMIRROR_SCSI_H
#define ZMIRROR_SCSI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/**
 * zm_scsi_capacity - take the answer to READ CAPACITY (16) apart
 * @answer: its bytes
 * @len: how many there are
 * @block_bytes: the length of a logical block goes there
 * @blocks: how many the disk has go there
 *
 * Return: whether what is not mapped reads as zeroes, by LBPME and LBPRZ.
 */
bool zm_scsi_capacity(const uint8_t *answer, size_t len, uint32_t *block_bytes,
		      uint64_t *blocks);

/**
 * zm_scsi_unmapped - take the answer to GET LBA STATUS apart
 * @answer: its bytes
 * @len: how many there are
 * @at: the first block that was asked for
 * @end: the block after the last one that matters
 *
 * Return: the block up to which nothing is mapped, at most @end; @at when it is mapped
 * itself, or the answer makes no sense.
 */
uint64_t zm_scsi_unmapped(const uint8_t *answer, size_t len, uint64_t at, uint64_t end);

/**
 * zm_scsi_is_zero - whether nothing of a disk, or of a partition, is mapped
 * @path: the device
 * @start: its first sector on the disk
 * @sectors: its length
 *
 * Asks the disk; whether it is one is for the caller to know, for device-mapper passes
 * commands on to disks of which it uses a part only.
 *
 * Return: whether all of it is known to read as zeroes.
 */
bool zm_scsi_is_zero(const char *path, uint64_t start, uint64_t sectors);

#endif
