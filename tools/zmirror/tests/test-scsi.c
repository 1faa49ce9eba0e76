// SPDX-License-Identifier: GPL-2.0-only
/*
 * What SCSI disks answer: bytes as SBC has them, and such as no disk should send.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "../scsi.h"

static void put_be(uint8_t *at, uint64_t value, int bytes)
{
	while (bytes--) {
		at[bytes] = value;
		value >>= 8;
	}
}

/*
 * ------------------------------------------------------------------------
 * READ CAPACITY (16)
 * ------------------------------------------------------------------------
 */

static void test_capacity(void **state)
{
	static const struct {
		uint64_t last;
		uint32_t block_bytes;
		uint8_t flags;
		size_t len;
		bool zeroes;
	} rows[] = {
		{ 2047, 512, 0xc0, 32, true },
		{ 0xffffffffffULL, 4096, 0xc7, 32, true },
		{ 2047, 512, 0xc0, 15, true },
		{ 2047, 512, 0xc0, 14, false },
		{ 2047, 512, 0x80, 32, false },	/* what is not mapped reads as anything */
		{ 2047, 512, 0x40, 32, false },	/* all is mapped always */
		{ 2047, 0, 0xc0, 32, false },
		{ 2047, 520, 0xc0, 32, false },
		{ UINT64_MAX, 512, 0xc0, 32, false },
		{ 0, 0, 0, 0, false },
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		uint8_t answer[32] = { 0 };
		uint64_t blocks = 0;
		uint32_t block_bytes = 0;
		bool zeroes;

		put_be(answer, rows[i].last, 8);
		put_be(answer + 8, rows[i].block_bytes, 4);
		answer[14] = rows[i].flags;
		zeroes = zm_scsi_capacity(answer, rows[i].len, &block_bytes, &blocks);
		if (zeroes != rows[i].zeroes)
			fail_msg("row %zu", i);
		if (!zeroes)
			continue;
		assert_int_equal(block_bytes, rows[i].block_bytes);
		assert_true(blocks == rows[i].last + 1);
	}
}

/*
 * ------------------------------------------------------------------------
 * GET LBA STATUS
 * ------------------------------------------------------------------------
 */

#define MAPPED		0
#define DEALLOCATED	1
#define ANCHORED	2

struct extent {
	uint64_t at;
	uint32_t blocks;
	uint8_t status;
};

static size_t fill(uint8_t *answer, const struct extent *extents, size_t nr)
{
	size_t i;

	memset(answer, 0, 8 + nr * 16);
	put_be(answer, 4 + nr * 16, 4);
	for (i = 0; i < nr; i++) {
		put_be(answer + 8 + i * 16, extents[i].at, 8);
		put_be(answer + 8 + i * 16 + 8, extents[i].blocks, 4);
		answer[8 + i * 16 + 12] = extents[i].status;
	}
	return 8 + nr * 16;
}

static void test_unmapped(void **state)
{
	static const struct {
		struct extent extents[2];
		size_t nr;
		uint64_t at, end, next;
	} rows[] = {
		{ { { 0, 2048, DEALLOCATED } }, 1, 0, 2048, 2048 },
		/* More than was asked for, and less. */
		{ { { 0, 4096, DEALLOCATED } }, 1, 0, 2048, 2048 },
		{ { { 0, 1024, DEALLOCATED } }, 1, 0, 2048, 1024 },
		{ { { 1024, 1024, DEALLOCATED } }, 1, 1024, 2048, 2048 },
		{ { { 0, 8, DEALLOCATED }, { 8, 8, DEALLOCATED } }, 2, 0, 16, 16 },
		{ { { 0, 8, DEALLOCATED }, { 8, 8, MAPPED } }, 2, 0, 16, 8 },
		{ { { 0, 8, DEALLOCATED }, { 8, 8, ANCHORED } }, 2, 0, 16, 8 },
		{ { { 0, 8, MAPPED }, { 8, 8, DEALLOCATED } }, 2, 0, 16, 0 },
		/* What is mapped behind the end does not matter. */
		{ { { 0, 8, DEALLOCATED }, { 8, 8, MAPPED } }, 2, 0, 8, 8 },
		/* A gap, blocks that are told of twice, none at all, another place. */
		{ { { 0, 8, DEALLOCATED }, { 9, 8, DEALLOCATED } }, 2, 0, 16, 8 },
		{ { { 0, 8, DEALLOCATED }, { 7, 9, DEALLOCATED } }, 2, 0, 16, 8 },
		{ { { 0, 0, DEALLOCATED } }, 1, 0, 16, 0 },
		{ { { 8, 8, DEALLOCATED } }, 1, 0, 16, 0 },
		{ { { 0 } }, 0, 0, 16, 0 },
		{ { { 0x100000000ULL, UINT32_MAX, DEALLOCATED } }, 1, 0x100000000ULL,
		  0x300000000ULL, 0x1ffffffffULL },
	};
	uint8_t answer[8 + 2 * 16];
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		size_t len = fill(answer, rows[i].extents, rows[i].nr);

		if (zm_scsi_unmapped(answer, len, rows[i].at, rows[i].end) != rows[i].next)
			fail_msg("row %zu", i);
	}
}

/* Cut anywhere, or with a length that is too large or too small. */
static void test_cut(void **state)
{
	static const struct extent extents[] = {
		{ 0, 8, DEALLOCATED }, { 8, 8, DEALLOCATED },
	};
	uint8_t answer[8 + 2 * 16];
	size_t len = fill(answer, extents, 2), cut;

	(void)state;
	for (cut = 0; cut <= len; cut++)
		assert_true(zm_scsi_unmapped(answer, cut, 0, 16) ==
			    (cut < 24 ? 0 : cut < 40 ? 8 : 16));
	put_be(answer, UINT32_MAX, 4);
	assert_true(zm_scsi_unmapped(answer, len, 0, 16) == 16);
	put_be(answer, 4 + 16, 4);
	assert_true(zm_scsi_unmapped(answer, len, 0, 16) == 8);
	put_be(answer, 0, 4);
	assert_true(zm_scsi_unmapped(answer, len, 0, 16) == 0);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_capacity),
		cmocka_unit_test(test_unmapped),
		cmocka_unit_test(test_cut),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
