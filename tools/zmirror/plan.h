/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Steps that change devices: made first, so that they can be looked at, then done one
 * after another, or printed as the dmsetup commands that they stand for.
 */
#ifndef ZMIRROR_PLAN_H
#define ZMIRROR_PLAN_H

#include "dm.h"

enum zm_step_kind {
	ZM_STEP_CREATE,		/* a device with a table, live */
	ZM_STEP_LOAD,		/* an inactive table */
	ZM_STEP_RESUME,		/* makes it the live one, in one ioctl */
	ZM_STEP_CLEAR,		/* drops an inactive table */
	ZM_STEP_REMOVE,
	ZM_STEP_MESSAGE,
};

/**
 * struct zm_step - one of them
 * @kind: what is done
 * @point: its fault point, see zm_fault(): "POINT" before it, "POINT.done" after
 * @name: the device
 * @uuid: of a device that is created
 * @table: that is created or loaded
 * @message: that is sent
 */
struct zm_step {
	enum zm_step_kind kind;
	char *point;
	char *name;
	char *uuid;
	struct zm_table table;
	char *message;
};

/**
 * struct zm_plan - some steps
 * @steps: to be done
 * @nr: how many
 */
struct zm_plan {
	struct zm_step *steps;
	size_t nr;
};

/* Each adds a step at the end. Tables are copied. */
void zm_plan_create(struct zm_plan *plan, const char *point, const char *name,
		    const char *uuid, const struct zm_table *table);
void zm_plan_load(struct zm_plan *plan, const char *point, const char *name,
		  const struct zm_table *table);
void zm_plan_resume(struct zm_plan *plan, const char *point, const char *name);
void zm_plan_clear(struct zm_plan *plan, const char *point, const char *name);
void zm_plan_remove(struct zm_plan *plan, const char *point, const char *name);
void zm_plan_message(struct zm_plan *plan, const char *point, const char *name,
		     const char *message);
void zm_plan_free(struct zm_plan *plan);

/** zm_plan_print - the dmsetup commands, one a line, quoted for a shell */
void zm_plan_print(const struct zm_plan *plan);

/**
 * zm_plan_run - do the steps, or print them with --dry-run
 * @plan: the steps
 * @done: how many were done, the one that failed not counted; may be NULL
 *
 * Return: ZM_OK, or that of the step which failed, which has told why.
 */
int zm_plan_run(const struct zm_plan *plan, size_t *done);

#endif
