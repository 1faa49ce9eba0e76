/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A fake of dm.h and of what main.c and plan.c offer: devices are what a test says.
 */
#ifndef ZMIRROR_DM_FAKE_H
#define ZMIRROR_DM_FAKE_H

#include "../dm.h"

/**
 * struct fake_dev - a device
 * @dev: what a look-up tells
 * @sectors: its length
 * @type: of its only target
 * @params: of its table
 * @status: of its status
 */
struct fake_dev {
	struct zm_dev dev;
	uint64_t sectors;
	const char *type;
	const char *params;
	const char *status;
};

/* What was told on standard error since fake_reset(). */
extern char fake_errors[4096];

/* The messages that were sent since then, each with a newline after it. */
extern char fake_messages[4096];

/* How many there were. */
extern unsigned int fake_nr_messages;

/* Answers a message, when it is not NULL: the answer is freed, NULL is a failure. */
extern char *(*fake_answer)(const char *name, const char *message);

/* Is called when somebody waits for an event, or reads a device's status. */
extern int (*fake_wait)(struct fake_dev *dev);
extern void (*fake_read)(struct fake_dev *dev);

/** fake_reset - no devices, no messages */
void fake_reset(void);

/**
 * fake_add - add a device, the number of which is 253:MINOR
 * @name: its name
 * @uuid: its UUID, or ""
 * @minor: of its number
 * @type: of its target
 * @params: of its table
 * @status: of its status
 *
 * Return: the device, which lives until fake_reset().
 */
struct fake_dev *fake_add(const char *name, const char *uuid, unsigned int minor,
			  const char *type, const char *params, const char *status);

/** fake_remove - have a device go away */
void fake_remove(const char *name);

/**
 * fake_run - run a verb
 * @verb: the verb
 * @line: its words, with a blank between, the verb's name first
 * @output: what it wrote to standard output, to be freed; may be NULL
 *
 * Return: what the verb returns.
 */
int fake_run(int (*verb)(int argc, char **argv), const char *line, char **output);

#endif
