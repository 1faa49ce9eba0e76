// SPDX-License-Identifier: GPL-2.0-only
/*
 * Messages, memory, and faults on purpose; see zmirror.h.
 */
#include "zmirror.h"

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct zm_options zm_options;

static void say(const char *before, const char *format, va_list args)
{
	fflush(stdout);
	fputs(before, stderr);
	vfprintf(stderr, format, args);
	fputc('\n', stderr);
}

int zm_error(int code, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	say("zmirror: ", format, args);
	va_end(args);
	return code;
}

void zm_hint(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	say("  ", format, args);
	va_end(args);
}

void zm_note(const char *format, ...)
{
	va_list args;

	if (!zm_options.verbose)
		return;
	va_start(args, format);
	say("zmirror: ", format, args);
	va_end(args);
}

static void *check_memory(void *memory)
{
	if (memory)
		return memory;
	fputs("zmirror: out of memory\n", stderr);
	exit(ZM_FAILED);
}

void *zm_alloc(size_t size)
{
	return check_memory(calloc(1, size ? size : 1));
}

void *zm_realloc(void *old, size_t size)
{
	return check_memory(realloc(old, size ? size : 1));
}

char *zm_strdup(const char *text)
{
	return check_memory(strdup(text));
}

char *zm_printf(const char *format, ...)
{
	va_list args;
	char *text;

	va_start(args, format);
	if (vasprintf(&text, format, args) < 0)
		text = NULL;
	va_end(args);
	return check_memory(text);
}

void zm_add_word(char **words, size_t *nr, const char *word)
{
	char *more = zm_printf("%s %s", *words, word);

	free(*words);
	*words = more;
	(*nr)++;
}

bool zm_has_word(const char *words, const char *word)
{
	size_t len = strlen(word);
	const char *at;

	for (at = words; (at = strstr(at, word)); at += len)
		if ((at == words || at[-1] == ' ') && (!at[len] || at[len] == ' '))
			return true;
	return false;
}

int zm_fault(const char *point)
{
	const char *fault = getenv("ZMIRROR_FAULT");
	size_t len = strlen(point);

	if (!fault || strncmp(fault, point, len))
		return 0;
	if (!strcmp(fault + len, ":fail"))
		return -1;
	if (!strcmp(fault + len, ":stop"))
		kill(getpid(), SIGSTOP);
	if (!fault[len])
		kill(getpid(), SIGKILL);
	return 0;
}
