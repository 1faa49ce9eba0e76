// SPDX-License-Identifier: GPL-2.0-only
/*
 * A plugin of QEMU's which counts the instructions that the guest executes, by
 * the address of the block of code that they are in. The instruction
 *
 *	nopl 0x00424d5a(%rax) or nopl 0x01424d5a(%rax)
 *
 * in the guest begins to count, or writes what was counted to FILE.0, FILE.1 and
 * so on: address, instructions in the block, times that it was executed.
 *
 *	qemu-system-x86_64 -plugin insn-count.so,out=FILE
 *
 * What is declared here is QEMU's interface for plugins, version 1; Debian 12 has
 * no header of it.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXPORT __attribute__((visibility("default")))
#define BUCKET_BITS	18
#define MARK		"\x0f\x1f\x80\x5a\x4d\x42"	/* and what to do */

struct qemu_plugin_tb;
struct qemu_plugin_insn;
enum { INLINE_ADD_U64 };
enum { CB_NO_REGS };

void qemu_plugin_register_vcpu_tb_trans_cb(uint64_t id,
		void (*cb)(uint64_t id, struct qemu_plugin_tb *tb));
void qemu_plugin_register_vcpu_tb_exec_inline(struct qemu_plugin_tb *tb,
		int op, void *number, uint64_t value);
void qemu_plugin_register_vcpu_insn_exec_cb(struct qemu_plugin_insn *insn,
		void (*cb)(unsigned int cpu, void *data), int flags,
		void *data);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *tb);
uint64_t qemu_plugin_tb_vaddr(const struct qemu_plugin_tb *tb);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(
		const struct qemu_plugin_tb *tb, size_t index);
const void *qemu_plugin_insn_data(const struct qemu_plugin_insn *insn);
size_t qemu_plugin_insn_size(const struct qemu_plugin_insn *insn);

EXPORT int qemu_plugin_version = 1;

struct block {
	struct block *next;
	uint64_t address, insns, count;
};

static struct block *buckets[1 << BUCKET_BITS];
static const char *out = "insns";
static unsigned int files;

static struct block *find(uint64_t address, uint64_t insns)
{
	uint64_t hash = address * 0x9e3779b97f4a7c15ULL >> (64 - BUCKET_BITS);
	struct block *block;

	for (block = buckets[hash]; block; block = block->next)
		if (block->address == address && block->insns == insns)
			return block;
	block = calloc(1, sizeof(*block));
	if (!block)
		abort();
	block->address = address;
	block->insns = insns;
	block->next = buckets[hash];
	buckets[hash] = block;
	return block;
}

static void mark(unsigned int cpu, void *data)
{
	struct block *block;
	FILE *file = NULL;
	char name[4096];
	size_t i;

	(void)cpu;
	if (data) {
		snprintf(name, sizeof(name), "%s.%u", out, files++);
		file = fopen(name, "w");
	}
	for (i = 0; i < 1 << BUCKET_BITS; i++)
		for (block = buckets[i]; block; block = block->next) {
			if (file && block->count)
				fprintf(file, "%llx %llu %llu\n",
					(unsigned long long)block->address,
					(unsigned long long)block->insns,
					(unsigned long long)block->count);
			block->count = 0;
		}
	if (file)
		fclose(file);
}

static void translated(uint64_t id, struct qemu_plugin_tb *tb)
{
	size_t insns = qemu_plugin_tb_n_insns(tb), i;
	struct block *block = find(qemu_plugin_tb_vaddr(tb), insns);

	(void)id;
	qemu_plugin_register_vcpu_tb_exec_inline(tb, INLINE_ADD_U64,
						 &block->count, 1);
	for (i = 0; i < insns; i++) {
		struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, i);
		const char *code = qemu_plugin_insn_data(insn);

		if (qemu_plugin_insn_size(insn) == 7 && !memcmp(code, MARK, 6))
			qemu_plugin_register_vcpu_insn_exec_cb(insn, mark,
					CB_NO_REGS, (void *)(intptr_t)code[6]);
	}
}

EXPORT int qemu_plugin_install(uint64_t id, const void *info, int argc,
			       char **argv)
{
	int i;

	(void)info;
	for (i = 0; i < argc; i++)
		if (!strncmp(argv[i], "out=", 4))
			out = strdup(argv[i] + 4);
	qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
	return 0;
}
