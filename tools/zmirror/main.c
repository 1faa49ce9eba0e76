// SPDX-License-Identifier: GPL-2.0-only
/*
 * zmirror: the command line.
 */
#include "zmirror.h"

#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifndef ZM_VERSION
#define ZM_VERSION "unknown"
#endif

/**
 * struct verb - something that zmirror does
 * @name: what users call it
 * @run: does it
 * @args: its arguments
 * @what: what it does, in a line
 * @options: a line for each
 */
struct verb {
	const char *name;
	int (*run)(int argc, char **argv);
	const char *args;
	const char *what;
	const char *options;
};

#define START_HELP \
	"  --dest-is-zero     the destination reads as zeroes: checked by samples\n" \
	"  --prezero          zero the destination first, quickly\n" \
	"  --region SIZE      size of a region (64KiB)\n" \
	"  --hints FILE       ranges that the source has as zeroes: start, length\n" \
	"  --no-hints         do not ask the source's thin pool for them\n" \
	"  --set FEATURE[:V]  a feature of the table, such as rate:auto or jobs:4\n" \
	"  --force            whatever the destination holds, and whoever has it open\n"

static const struct verb verbs[] = {
	{ "migrate", zm_cmd_migrate, "NAME DESTINATION",
	  "move a device that is in use: start, wait, pivot",
	  START_HELP
	  "  --lvm              have LVM know where its volume is then\n" },
	{ "start", zm_cmd_start, "NAME DESTINATION",
	  "mirror a device that is in use",
	  START_HELP
	  "  --paused           do not resync yet\n"
	  "  --want-hints       wait for the verb hint, and for resume\n" },
	{ "hint", zm_cmd_hint, "NAME FILE",
	  "tell a mirror what its source has as zeroes", "" },
	{ "status", zm_cmd_status, "[NAME]", "tell how mirrors are",
	  "  --json             all of it, for programs\n"
	  "  --line             one line of key=value, for scripts\n" },
	{ "list", zm_cmd_list, "", "names of all mirrors",
	  "  -l, --long         with their legs\n" },
	{ "watch", zm_cmd_watch, "NAME", "look on, until q",
	  "  --interval SECONDS between two looks (1)\n"
	  "  --once             look once\n"
	  "  --no-color         also by the variable NO_COLOR\n"
	  "  --map, --no-map    with a map of the device, or without\n" },
	{ "wait", zm_cmd_wait, "NAME", "wait until it is in sync",
	  "  --in-sync          what is waited for anyway\n"
	  "  --verify           wait until a verify has ended\n"
	  "  --timeout SECONDS  not longer\n" },
	{ "pause", zm_cmd_pause, "NAME", "start no more copies", "" },
	{ "resume", zm_cmd_resume, "NAME", "go on after a pause or a failure", "" },
	{ "set", zm_cmd_set, "NAME FEATURE VALUE", "change rate, jobs, and the like", "" },
	{ "verify", zm_cmd_verify, "NAME", "compare the legs",
	  "  --repair           copy again what differs\n"
	  "  --range START LENGTH  sectors, or with KiB, MiB, GiB, TiB\n"
	  "  --wait             until it has ended; exit with 1 if they differ\n"
	  "  --stop             end one that is under way\n" },
	{ "pivot", zm_cmd_pivot, "NAME", "go on with the destination alone",
	  "  --keep-mirroring   have the old source follow\n" },
	{ "revert", zm_cmd_revert, "NAME", "after pivot --keep-mirroring: back again", "" },
	{ "cancel", zm_cmd_cancel, "NAME", "go on with the source alone", "" },
	{ "doctor", zm_cmd_doctor, "", "tell what is missing on this machine", "" },
};

#define NR_VERBS	(sizeof(verbs) / sizeof(*verbs))

static void help(void)
{
	size_t i;

	puts("usage: zmirror [--dry-run] [--verbose] VERB [ARGUMENT...]\n\n"
	     "Mirrors and moves block devices that are in use. What reads as zeroes is\n"
	     "not written to where it is zero already.\n");
	for (i = 0; i < NR_VERBS; i++)
		printf("  %-8s %-18s %s\n", verbs[i].name, verbs[i].args,
		       verbs[i].what);
	puts("\n  -n, --dry-run   print the dmsetup commands that it stands for\n"
	     "  -v, --verbose   tell what is done\n"
	     "  -V, --version\n"
	     "  -h, --help\n\n"
	     "They stand before the verb; --dry-run, --verbose and --help may stand after it.\n"
	     "zmirror VERB --help tells of one; the manuals are zmirror(8) and\n"
	     "zmirror-VERB(8).");
}

static void help_verb(const struct verb *verb)
{
	printf("usage: zmirror %s%s %s\n\n%c%s.\n", verb->name,
	       *verb->options ? " [OPTION...]" : "", verb->args,
	       verb->what[0] - 'a' + 'A', verb->what + 1);
	if (*verb->options)
		printf("\n%s", verb->options);
	printf("\nThe manual is zmirror-%s(8).\n", verb->name);
}

static const struct verb *find_verb(const char *name)
{
	size_t i;

	for (i = 0; i < NR_VERBS; i++)
		if (!strcmp(verbs[i].name, name))
			return &verbs[i];
	return NULL;
}

/* Those before the verb. Returns an exit code, or -1 to go on. */
static int take_global(const char *word)
{
	if (!strcmp(word, "--dry-run") || !strcmp(word, "-n")) {
		zm_options.dry_run = true;
	} else if (!strcmp(word, "--verbose") || !strcmp(word, "-v")) {
		zm_options.verbose = true;
	} else if (!strcmp(word, "--help") || !strcmp(word, "-h")) {
		help();
		return ZM_OK;
	} else if (!strcmp(word, "--version") || !strcmp(word, "-V")) {
		puts("zmirror " ZM_VERSION);
		return ZM_OK;
	} else {
		return zm_error(ZM_USAGE, "unknown option %s", word);
	}
	return -1;
}

/* Global options are taken behind the verb, too. */
static bool take_late(int *argc, char **argv)
{
	bool wants_help = false;
	int from, to = 1;

	for (from = 1; from < *argc; from++) {
		const char *word = argv[from];

		if (!strcmp(word, "--"))
			break;
		if (!strcmp(word, "--help") || !strcmp(word, "-h"))
			wants_help = true;
		else if (!strcmp(word, "--dry-run"))
			zm_options.dry_run = true;
		else if (!strcmp(word, "--verbose"))
			zm_options.verbose = true;
		else
			argv[to++] = argv[from];
	}
	for (; from < *argc; from++)
		argv[to++] = argv[from];
	argv[to] = NULL;
	*argc = to;
	return wants_help;
}

static bool needs_root(const struct verb *verb)
{
	return verb->run != zm_cmd_doctor && geteuid();
}

int main(int argc, char **argv)
{
	const struct verb *verb;
	int i, code;

	setlocale(LC_ALL, "");

	/* What comes on standard error stays in its place between. */
	setlinebuf(stdout);
	for (i = 1; i < argc && argv[i][0] == '-'; i++) {
		code = take_global(argv[i]);
		if (code >= 0)
			return code;
	}
	if (i >= argc) {
		zm_error(ZM_USAGE, "what is to be done?");
		zm_hint("zmirror --help");
		return ZM_USAGE;
	}
	verb = find_verb(argv[i]);
	if (!verb) {
		zm_error(ZM_USAGE, "there is no verb %s", argv[i]);
		zm_hint("zmirror --help");
		return ZM_USAGE;
	}
	argc -= i;
	argv += i;
	if (take_late(&argc, argv)) {
		help_verb(verb);
		return ZM_OK;
	}
	if (needs_root(verb))
		return zm_error(ZM_FAILED, "%s: only root can do that", verb->name);
	code = verb->run(argc, argv);
	if (fflush(stdout) || ferror(stdout))
		code = code ? code : zm_error(ZM_FAILED, "cannot write what is to be told");
	return code;
}
