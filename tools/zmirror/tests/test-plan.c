// SPDX-License-Identifier: GPL-2.0-only
/*
 * Planning: what is believed of a destination, the mirror's table, the commands of a dry
 * run, and what thin_dump, lvs and files of hints are read as. No device is asked.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "../change.h"
#include "../dest.h"
#include "../doctor.h"
#include "../hints.h"
#include "../lvm.h"
#include "../plan.h"
#include "../start.h"
#include "../zmirror.h"

/*
 * ------------------------------------------------------------------------
 * Destinations
 * ------------------------------------------------------------------------
 */

#define THIN		"253:7 3"
#define POOL		"253:5 253:6 128 0"

static struct zm_dest look(const char *thin, const char *status, const char *pool)
{
	struct zm_dest dest = { 0 };
	dev_t number;

	if (thin) {
		assert_true(zm_dest_thin(thin, status, &number, &dest));
		assert_int_equal(number, makedev(253, 7));
	}
	if (pool)
		zm_dest_pool(pool, &dest);
	zm_dest_prove(&dest);
	assert_non_null(dest.why);
	free(dest.why);
	dest.why = NULL;
	return dest;
}

/* Nothing but a thin volume of which nothing is mapped, in a pool that zeroes. */
static void test_prove(void **state)
{
	static const struct {
		const char *thin, *status, *pool;
		bool zeroed, discards;
	} rows[] = {
		{ NULL, NULL, NULL, false, false },
		{ THIN, "0 -", POOL, true, true },
		{ THIN, "0 -", POOL " 0", true, true },
		{ THIN, "128 127", POOL, false, true },
		{ THIN, "0 -", POOL " 1 skip_block_zeroing", false, false },
		{ THIN, "0 -", POOL " 2 skip_block_zeroing no_discard_passdown", false, false },
		{ THIN, "0 -", POOL " 1 ignore_discard", true, false },
		{ THIN, "0 -", POOL " 1 no_discard_passdown", true, true },
		{ THIN " 253:9", "0 -", POOL, false, false },
		{ THIN, "0 -", NULL, false, false },
		{ THIN, "0 -", "rubbish", false, false },
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct zm_dest dest = look(rows[i].thin, rows[i].status, rows[i].pool);

		if (dest.dest_zeroed != rows[i].zeroed)
			fail_msg("row %zu: dest_zeroed", i);
		if (dest.discard_zeroes != rows[i].discards)
			fail_msg("row %zu: discard_zeroes", i);
	}
}

static void test_thin_words(void **state)
{
	struct zm_dest dest = { 0 };
	dev_t pool;

	(void)state;
	assert_false(zm_dest_thin("", "0 -", &pool, &dest));
	assert_false(zm_dest_thin("253:7", "0 -", &pool, &dest));
	assert_false(zm_dest_thin(THIN, "Fail", &pool, &dest));
	assert_false(zm_dest_thin(THIN, "- -", &pool, &dest));
	assert_false(dest.thin);
}

/*
 * ------------------------------------------------------------------------
 * Tables and commands
 * ------------------------------------------------------------------------
 */

static void check_table(const struct zm_start *start, const struct zm_dest *dest, bool hints,
			const char *wanted)
{
	struct zm_table table = { 0 };

	zm_start_table(start, dest, "253:2", 4096, hints, &table);
	assert_int_equal(table.nr, 1);
	assert_int_equal(table.targets[0].length, 4096);
	assert_string_equal(table.targets[0].type, "zmirror");
	assert_string_equal(table.targets[0].params, wanted);
	zm_table_free(&table);
}

static void test_table(void **state)
{
	struct zm_dest dest = { .dev = makedev(8, 16) };
	struct zm_start start = { .name = "a" };

	(void)state;
	check_table(&start, &dest, false, "253:2 0 8:16 0 0 0");
	start.prezero = true;
	start.paused = true;
	start.region_sectors = 1024;
	check_table(&start, &dest, false, "253:2 0 8:16 0 1024 2 prezero paused");
	dest.dest_zeroed = true;
	dest.discard_zeroes = true;
	check_table(&start, &dest, true,
		    "253:2 0 8:16 0 1024 4 dest_zeroed discard_zeroes hints paused");
	start.paused = false;
	check_table(&start, &dest, true,
		    "253:2 0 8:16 0 1024 4 dest_zeroed discard_zeroes hints paused");
	start.features[0] = "no_unmap";
	start.features[1] = "rate:auto";
	start.nr_features = 2;
	check_table(&start, &dest, false,
		    "253:2 0 8:16 0 1024 3 dest_zeroed no_unmap rate:auto");
}

/* What a plan prints, to be freed. */
static char *printed(const struct zm_plan *plan)
{
	char *text = NULL;
	size_t size;
	FILE *file = open_memstream(&text, &size), *kept = stdout;

	stdout = file;
	zm_plan_print(plan);
	stdout = kept;
	fclose(file);
	return text;
}

static void test_commands(void **state)
{
	struct zm_table table = { 0 };
	struct zm_plan plan = { 0 };
	char *text;

	(void)state;
	zm_table_add(&table, 0, 8, "linear", "8:0 0");
	zm_plan_create(&plan, "p", "it's one", "ZMIRROR-x", &table);
	zm_table_add(&table, 8, 8, "zero", "");
	zm_plan_load(&plan, "p", "two", &table);
	zm_plan_resume(&plan, "p", "two");
	zm_plan_message(&plan, "p", "two", "set jobs 4");
	zm_plan_remove(&plan, "p", "--three");
	text = printed(&plan);
	assert_non_null(strstr(text, "'it'\\''s one'"));
	assert_non_null(strstr(text, "ZMIRROR-x"));
	assert_non_null(strstr(text, "'0 8 linear 8:0 0'"));
	assert_non_null(strstr(text, "<<'END'\n0 8 linear 8:0 0\n8 8 zero"));
	assert_non_null(strstr(text, "'set jobs 4'"));
	free(text);
	zm_plan_free(&plan);
	zm_table_free(&table);
}

/* Not even zeroes, with which somebody could write. */
static void test_key(void **state)
{
	struct zm_table table = { 0 };
	struct zm_plan plan = { 0 };
	char *text;

	(void)state;
	zm_table_add(&table, 0, 8, "crypt", "aes-xts-plain64 00112233 0 8:0 0");
	zm_plan_load(&plan, "p", "c", &table);
	text = printed(&plan);
	assert_null(strstr(text, "0011"));
	assert_non_null(strstr(text, "crypt aes-xts-plain64 KEY-NOT-SHOWN 0 8:0 0"));
	free(text);
	zm_plan_free(&plan);
	zm_table_free(&table);
}

/*
 * ------------------------------------------------------------------------
 * Hints
 * ------------------------------------------------------------------------
 */

static void check_ranges(struct zm_ranges *ranges, const char *wanted)
{
	char *text = strdup("");
	size_t i;

	for (i = 0; i < ranges->nr; i++) {
		char *more = zm_printf("%s%s%llu-%llu", text, i ? "," : "",
				       (unsigned long long)ranges->at[i].start,
				       (unsigned long long)ranges->at[i].end);

		free(text);
		text = more;
	}
	assert_string_equal(text, wanted);
	free(text);
	zm_ranges_free(ranges);
}

static int read_file(const char *content, struct zm_ranges *ranges)
{
	char path[] = "/tmp/zmirror-test-XXXXXX";
	int fd = mkstemp(path), code;

	assert_true(fd >= 0);
	assert_int_equal(write(fd, content, strlen(content)), strlen(content));
	close(fd);
	code = zm_ranges_read(path, 4096, ranges);
	unlink(path);
	return code;
}

static void test_files(void **state)
{
	static const char * const wrong[] = {
		"1\n", "1 2 3\n", "a 1\n", "1 -1\n", "4096 1\n", "0 4097\n", "1 2MiB\n",
		"0 1\n\n5000 1\n", "18446744073709551615 2\n",
	};
	struct zm_ranges ranges = { 0 };
	size_t i;

	(void)state;
	assert_int_equal(read_file("# a map\n0 8\n\n 1024 1MiB # more\n4000 96", &ranges), 0);
	check_ranges(&ranges, "0-8,1024-3072,4000-4096");
	for (i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
		if (read_file(wrong[i], &ranges) != ZM_USAGE)
			fail_msg("taken: %s", wrong[i]);
		zm_ranges_free(&ranges);
	}
}

static void test_invert(void **state)
{
	struct zm_ranges mapped = { 0 }, rest = { 0 };

	(void)state;
	zm_ranges_invert(&mapped, 100, &rest);
	check_ranges(&rest, "0-100");
	zm_ranges_add(&mapped, 50, 60);
	zm_ranges_add(&mapped, 0, 10);
	zm_ranges_add(&mapped, 55, 70);
	zm_ranges_add(&mapped, 56, 58);
	zm_ranges_add(&mapped, 90, 200);
	zm_ranges_invert(&mapped, 100, &rest);
	check_ranges(&rest, "10-50,70-90");
	zm_ranges_free(&mapped);
	zm_ranges_add(&mapped, 0, 100);
	zm_ranges_invert(&mapped, 100, &rest);
	check_ranges(&rest, "");
	zm_ranges_free(&mapped);
}

static void test_thin_dump(void **state)
{
	struct zm_ranges mapped = { 0 };

	(void)state;
	assert_true(zm_thin_mapped("<superblock uuid=\"\" time=\"1\">\n", 128, &mapped));
	assert_true(zm_thin_mapped("  <device dev_id=\"1\" mapped_blocks=\"3\">\n", 128,
				   &mapped));
	assert_true(zm_thin_mapped("    <single_mapping origin_block=\"2\" data_block=\"9\" time=\"0\"/>\n",
				   128, &mapped));
	assert_true(zm_thin_mapped("    <range_mapping origin_begin=\"5\" data_begin=\"1\" length=\"2\" time=\"0\"/>\n",
				   128, &mapped));
	assert_true(zm_thin_mapped("\n", 128, &mapped));
	assert_false(zm_thin_mapped("<new_mapping origin=\"3\"/>\n", 128, &mapped));
	assert_false(zm_thin_mapped("<single_mapping data_block=\"9\"/>\n", 128, &mapped));
	assert_false(zm_thin_mapped("<range_mapping origin_begin=\"5\"/>\n", 128, &mapped));
	assert_false(zm_thin_mapped("<single_mapping origin_block=\"18446744073709551615\"/>\n",
				    128, &mapped));
	check_ranges(&mapped, "256-384,640-896");
}

static void test_possible(void **state)
{
	struct zm_table table = { 0 };

	(void)state;
	zm_table_add(&table, 0, 8, "thin", "253:7 3");
	assert_true(zm_hints_possible(&table));
	zm_table_add(&table, 8, 8, "thin", "253:7 4");
	assert_false(zm_hints_possible(&table));
	zm_table_free(&table);
	zm_table_add(&table, 0, 8, "thin", "253:7 3 253:9");
	assert_false(zm_hints_possible(&table));
	zm_table_free(&table);
	zm_table_add(&table, 0, 8, "linear", "253:7 3");
	assert_false(zm_hints_possible(&table));
	zm_table_free(&table);
}

/*
 * ------------------------------------------------------------------------
 * LVM
 * ------------------------------------------------------------------------
 */

static void test_lvm_uuid(void **state)
{
	struct zm_dev dev = { .uuid = "LVM-abcdefghijklmnopqrstuvwxyz012345"
				      "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345" };
	char uuid[40];

	(void)state;
	assert_true(zm_lvm_uuid(&dev, uuid));
	assert_string_equal(uuid, "ABCDEF-GHIJ-KLMN-OPQR-STUV-WXYZ-012345");
	strcat(dev.uuid, "-tpool");
	assert_true(zm_lvm_is_volume(&dev));
	assert_false(zm_lvm_uuid(&dev, uuid));
	snprintf(dev.uuid, sizeof(dev.uuid), "CRYPT-LUKS2-abc");
	assert_false(zm_lvm_uuid(&dev, uuid));
	dev.uuid[0] = '\0';
	assert_false(zm_lvm_uuid(&dev, uuid));
}

static void check_lvs(const char *line, int code, bool skipped)
{
	struct zm_lv lv = { 0 };

	assert_int_equal(zm_lvm_parse(line, &lv), code);
	if (!code) {
		assert_string_equal(lv.vg, "vg-1");
		assert_string_equal(lv.name, "data");
		assert_int_equal(lv.skipped, skipped);
	}
	free(lv.vg);
	free(lv.name);
}

static void test_lvs(void **state)
{
	(void)state;
	check_lvs("  vg-1/data//\n", ZM_OK, false);
	check_lvs("vg-1/data//none\n", ZM_OK, false);
	check_lvs("vg-1/data/skip activation/none\n", ZM_OK, true);
	check_lvs("  vg-1/data//sanlock\n", ZM_REFUSED, false);
	check_lvs("  vg-1/data/skip activation/dlm\n", ZM_REFUSED, true);
	check_lvs("", ZM_FAILED, false);
	check_lvs("\n", ZM_FAILED, false);
	check_lvs("  vg-1\n", ZM_FAILED, false);
	check_lvs("  vg-1/data\n", ZM_FAILED, false);
	check_lvs("  /data//none\n", ZM_FAILED, false);
}

/*
 * ------------------------------------------------------------------------
 * Sources, and where they have gone
 * ------------------------------------------------------------------------
 */

/* Those that messages have told something would lose it under another device. */
static void test_sources(void **state)
{
	static const struct { const char *type; int code; } rows[] = {
		{ "linear", ZM_OK }, { "striped", ZM_OK }, { "thin", ZM_OK },
		{ "switch", ZM_REFUSED }, { "dust", ZM_REFUSED }, { "snapshot", ZM_REFUSED },
	};
	struct zm_dev dev = { .name = "a", .live = true };
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct zm_table table = { 0 };

		zm_table_add(&table, 0, 8, rows[i].type, "8:0 0");
		assert_int_equal(zm_source_check(&dev, &table), rows[i].code);
		zm_table_free(&table);
	}
}

/* As AoE and old RAID controllers have them. */
static void test_kernel_path(void **state)
{
	char *plain = zm_kernel_path("sda1"), *deep = zm_kernel_path("etherd!e0.0!x");

	(void)state;
	assert_string_equal(plain, "/dev/sda1");
	assert_string_equal(deep, "/dev/etherd/e0.0/x");
	free(plain);
	free(deep);
}

static void test_linear(void **state)
{
	static const struct { const char *type, *params; bool is; } rows[] = {
		{ "linear", "8:16 0", true }, { "linear", "8:16 8", false },
		{ "linear", "8:16 00", false }, { "linear", "/dev/sda 0", false },
		{ "thin", "8:16 0", false },
	};
	dev_t number;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct zm_table table = { 0 };

		number = 0;
		zm_table_add(&table, 0, 8, rows[i].type, rows[i].params);
		assert_int_equal(zm_table_linear(&table, &number), rows[i].is);
		assert_true(!rows[i].is || number == makedev(8, 16));
		zm_table_add(&table, 8, 8, "zero", "");
		assert_false(zm_table_linear(&table, &number));
		zm_table_free(&table);
	}
}

/*
 * ------------------------------------------------------------------------
 * The doctor
 * ------------------------------------------------------------------------
 */

#define BOOT	"sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"
#define MOKS	"sys/firmware/efi/mok-variables/MokListRT"

/* A file below the machine's root, with the directories that it is in. */
static void put_file(const char *root, const char *name, const char *bytes, size_t len)
{
	char *path = zm_printf("%s/%s", root, name), *slash;
	FILE *file;

	for (slash = path + strlen(root) + 1; (slash = strchr(slash, '/')); slash++) {
		*slash = '\0';
		mkdir(path, 0700);
		*slash = '/';
	}
	file = fopen(path, "we");
	assert_non_null(file);
	assert_int_equal(fwrite(bytes, 1, len, file), len);
	fclose(file);
	free(path);
}

static void check_doctor(const char *root, int code, const char *wanted)
{
	struct zm_doctor doctor = { .root = root, .release = "6.12.1" };
	FILE *kept = stdout;
	char *text = NULL;
	size_t size;
	int r;

	stdout = open_memstream(&text, &size);
	r = zm_doctor(&doctor);
	fclose(stdout);
	stdout = kept;
	if (r != code || !strstr(text, wanted))
		fail_msg("%d, or without \"%s\":\n%s", r, wanted, text);
	free(text);
}

/* What cannot be seen is not missing. */
static void test_secure_boot(void **state)
{
	static const char module[] = "module~Module signature appended~\n.";
	char root[] = "/tmp/zmirror-test-XXXXXX", *command;

	(void)state;
	assert_non_null(mkdtemp(root));
	put_file(root, BOOT, "\6\0\0\0\1", 5);
	put_file(root, "lib/modules/6.12.1/modules.dep", "updates/dm-zmirror.ko:\n", 23);
	put_file(root, "lib/modules/6.12.1/updates/dm-zmirror.ko", module, strlen(module));
	check_doctor(root, ZM_FAILED, "missing   a signature of the module");
	put_file(root, "lib/modules/6.12.1/updates/dm-zmirror.ko", module, strlen(module) - 1);
	check_doctor(root, ZM_OK, "optional  Secure Boot is on, and who signed");
	put_file(root, "var/lib/dkms/mok.pub", "KEY", 3);
	check_doctor(root, ZM_OK, "optional  Secure Boot is on, and whether it takes the key");
	put_file(root, MOKS, "other", 5);
	check_doctor(root, ZM_FAILED, "missing   the key of DKMS");
	put_file(root, MOKS, "a KEY b", 7);
	check_doctor(root, ZM_OK, "ok        Secure Boot: the module is signed, and the key");
	command = zm_printf("rm -r %s", root);
	assert_int_equal(system(command), 0);
	free(command);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_prove),
		cmocka_unit_test(test_thin_words),
		cmocka_unit_test(test_table),
		cmocka_unit_test(test_commands),
		cmocka_unit_test(test_key),
		cmocka_unit_test(test_files),
		cmocka_unit_test(test_invert),
		cmocka_unit_test(test_thin_dump),
		cmocka_unit_test(test_possible),
		cmocka_unit_test(test_lvm_uuid),
		cmocka_unit_test(test_lvs),
		cmocka_unit_test(test_sources),
		cmocka_unit_test(test_linear),
		cmocka_unit_test(test_kernel_path),
		cmocka_unit_test(test_secure_boot),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
