/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The end of a mirror.
 */
#ifndef ZMIRROR_PIVOT_H
#define ZMIRROR_PIVOT_H

#include <stdbool.h>
#include <sys/types.h>

/**
 * struct zm_pivot_hook - what is to be done together with a pivot
 * @before: called when the mirror is in sync, or has pivoted before; returns an exit
 *	code; NULL for nothing
 * @undo: called when the pivot has failed, and the mirror is as it was
 * @after: called when all is done and told, before a signal that came meanwhile ends the
 *	program
 * @data: for them
 * @dest: the destination that is meant; if the mirror has another one by now, it is refused
 */
struct zm_pivot_hook {
	int (*before)(void *data, bool moved);
	void (*undo)(void *data);
	void (*after)(void *data);
	void *data;
	dev_t dest;
};

/**
 * zm_pivot_run - have a device go on with the destination
 * @name: the device, as the user says
 * @keep: the legs change places, so that the old source follows
 * @revert: they must have changed places before
 * @hook: or NULL
 *
 * Return: ZM_OK; or, having told why, ZM_TIMEOUT when it is not in sync, which is not told
 * with a hook, or another exit code. Unless the kernel has pivoted, all is as it was; if it has, the device works and
 * the same command finishes.
 */
int zm_pivot_run(const char *name, bool keep, bool revert,
		 const struct zm_pivot_hook *hook);

#endif
