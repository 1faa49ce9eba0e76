/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * zmirror: moves and mirrors block devices that are in use, with dm-zmirror.
 *
 *	main	the verbs and their options
 *	start, pivot, migrate	what changes devices
 *	show, watch	what tells about mirrors
 *	plan	steps that are done, undone, or printed
 *	dest	what is found out about a destination
 *	hints	what the source's thin pool knows
 *	mirror	a mirror: legs, table, status
 *	dm	device-mapper, by libdevmapper
 */
#ifndef ZMIRROR_H
#define ZMIRROR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Exit codes, documented in zmirror(8). Functions return them, too. */
enum zm_exit {
	ZM_OK = 0,
	ZM_FAILED = 1,		/* it did not work; what was changed is undone */
	ZM_USAGE = 2,		/* the command line is wrong */
	ZM_NOT_FOUND = 3,	/* no such device, or it is no mirror */
	ZM_REFUSED = 4,		/* it would lose data, or is not possible; nothing is changed */
	ZM_TIMEOUT = 5,		/* what was waited for has not happened in time */
	ZM_STOPPED = 6,		/* the mirror stands still: a leg failed, or it is paused */
	ZM_INTERRUPTED = 7,	/* by a signal; the mirror goes on */
};

/* What holds for all verbs. */
struct zm_options {
	bool dry_run;		/* print dmsetup commands instead of doing them */
	bool force;
	bool verbose;
};

extern struct zm_options zm_options;

/**
 * zm_error - tell what went wrong, on standard error
 * @code: the exit code
 * @format: as printf(), without a newline at the end
 *
 * Return: @code.
 */
int zm_error(int code, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/**
 * zm_hint - tell the user what can be done next, on standard error
 * @format: as printf(), without a newline at the end
 */
void zm_hint(const char *format, ...) __attribute__((format(printf, 1, 2)));

/**
 * zm_note - tell what is done, on standard error, with --verbose only
 * @format: as printf(), without a newline at the end
 */
void zm_note(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* As those of libc, but they end the program when there is no memory. */
void *zm_alloc(size_t size);		/* zeroed */
void *zm_realloc(void *old, size_t size);
char *zm_strdup(const char *text);
char *zm_printf(const char *format, ...) __attribute__((format(printf, 1, 2)));

/**
 * zm_add_word - add a word to words that begin with a blank each
 * @words: they, which are freed and made anew
 * @nr: how many they are
 * @word: the word
 */
void zm_add_word(char **words, size_t *nr, const char *word);

/**
 * zm_has_word - whether a word is one of words with a blank between
 * @words: they
 * @word: the word
 */
bool zm_has_word(const char *words, const char *word);

/**
 * zm_fault - a point at which tests have the program die or a step fail
 * @point: its name
 *
 * The variable ZMIRROR_FAULT has the name of one point; there the program kills
 * itself by SIGKILL. With ":fail" after the name the step fails instead; with ":stop" the
 * program stops there, until it gets SIGCONT.
 *
 * Return: 0, or -1 when the step is to fail.
 */
int zm_fault(const char *point);

/*
 * The verbs. argv[0] is the verb. Each parses its own options with getopt_long() and
 * returns an exit code.
 */
int zm_cmd_start(int argc, char **argv);
int zm_cmd_status(int argc, char **argv);
int zm_cmd_list(int argc, char **argv);
int zm_cmd_hint(int argc, char **argv);
int zm_cmd_watch(int argc, char **argv);
int zm_cmd_wait(int argc, char **argv);
int zm_cmd_pause(int argc, char **argv);
int zm_cmd_resume(int argc, char **argv);
int zm_cmd_set(int argc, char **argv);
int zm_cmd_verify(int argc, char **argv);
int zm_cmd_pivot(int argc, char **argv);
int zm_cmd_revert(int argc, char **argv);
int zm_cmd_cancel(int argc, char **argv);
int zm_cmd_migrate(int argc, char **argv);
int zm_cmd_doctor(int argc, char **argv);

#endif
