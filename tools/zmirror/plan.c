// SPDX-License-Identifier: GPL-2.0-only
/*
 * Steps that change devices; see plan.h.
 */
#include "format.h"
#include "plan.h"
#include "zmirror.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct zm_step *add(struct zm_plan *plan, enum zm_step_kind kind,
			   const char *point, const char *name)
{
	struct zm_step *step;

	plan->steps = zm_realloc(plan->steps,
				 (plan->nr + 1) * sizeof(*plan->steps));
	step = &plan->steps[plan->nr++];
	memset(step, 0, sizeof(*step));
	step->kind = kind;
	step->point = zm_strdup(point);
	step->name = zm_strdup(name);
	return step;
}

static void copy_table(struct zm_table *to, const struct zm_table *from)
{
	size_t i;

	for (i = 0; i < from->nr; i++)
		zm_table_add(to, from->targets[i].start, from->targets[i].length,
			     from->targets[i].type, from->targets[i].params);
}

void zm_plan_create(struct zm_plan *plan, const char *point, const char *name,
		    const char *uuid, const struct zm_table *table)
{
	struct zm_step *step = add(plan, ZM_STEP_CREATE, point, name);

	step->uuid = zm_strdup(uuid);
	copy_table(&step->table, table);
}

void zm_plan_load(struct zm_plan *plan, const char *point, const char *name,
		  const struct zm_table *table)
{
	copy_table(&add(plan, ZM_STEP_LOAD, point, name)->table, table);
}

void zm_plan_resume(struct zm_plan *plan, const char *point, const char *name)
{
	add(plan, ZM_STEP_RESUME, point, name);
}

void zm_plan_clear(struct zm_plan *plan, const char *point, const char *name)
{
	add(plan, ZM_STEP_CLEAR, point, name);
}

void zm_plan_remove(struct zm_plan *plan, const char *point, const char *name)
{
	add(plan, ZM_STEP_REMOVE, point, name);
}

void zm_plan_message(struct zm_plan *plan, const char *point, const char *name,
		     const char *message)
{
	add(plan, ZM_STEP_MESSAGE, point, name)->message = zm_strdup(message);
}

void zm_plan_free(struct zm_plan *plan)
{
	size_t i;

	for (i = 0; i < plan->nr; i++) {
		free(plan->steps[i].point);
		free(plan->steps[i].name);
		free(plan->steps[i].uuid);
		free(plan->steps[i].message);
		zm_table_free(&plan->steps[i].table);
	}
	free(plan->steps);
	plan->steps = NULL;
	plan->nr = 0;
}

/*
 * A key of dm-crypt's is not shown. What stands for it is none: were it zeroes, as dmsetup
 * shows it, the command could be given and would write with a wrong key.
 */
static char *without_key(const struct zm_target *target)
{
	size_t cipher = strcspn(target->params, " "), key;

	if (strcmp(target->type, "crypt") || !target->params[cipher])
		return zm_strdup(target->params);
	key = strcspn(target->params + cipher + 1, " ");
	return zm_printf("%.*s KEY-NOT-SHOWN%s", (int)cipher, target->params,
			 target->params + cipher + 1 + key);
}

/* A table of several lines comes in a here-document, for --table takes one. */
static void print_table(const struct zm_table *table)
{
	size_t i;

	fputs(table->nr > 1 ? " <<'END'\n" : " --table", stdout);
	for (i = 0; i < table->nr; i++) {
		const struct zm_target *target = &table->targets[i];
		char *params = without_key(target);
		char *line = zm_printf("%" PRIu64 " %" PRIu64 " %s %s", target->start,
				       target->length, target->type, params);

		free(params);
		if (table->nr > 1)
			printf("%s\n", line);
		else
			zm_print_word(line);
		free(line);
	}
	if (table->nr > 1)
		fputs("END", stdout);
}

static void print_step(const struct zm_step *step)
{
	static const char * const verbs[] = {
		[ZM_STEP_CREATE] = "create",
		[ZM_STEP_LOAD] = "load",
		[ZM_STEP_RESUME] = "resume --nolockfs",
		[ZM_STEP_CLEAR] = "clear",
		[ZM_STEP_REMOVE] = "remove --retry",
		[ZM_STEP_MESSAGE] = "message",
	};

	printf("dmsetup %s", verbs[step->kind]);
	zm_print_word(step->name);
	if (step->uuid) {
		fputs(" --uuid", stdout);
		zm_print_word(step->uuid);
	}
	if (step->message) {
		fputs(" 0", stdout);
		zm_print_word(step->message);
	}
	if (step->table.nr)
		print_table(&step->table);
	putchar('\n');
}

void zm_plan_print(const struct zm_plan *plan)
{
	size_t i;

	for (i = 0; i < plan->nr; i++)
		print_step(&plan->steps[i]);
}

static int do_step(const struct zm_step *step)
{
	switch (step->kind) {
	case ZM_STEP_CREATE:
		return zm_dm_create(step->name, step->uuid, &step->table);
	case ZM_STEP_LOAD:
		return zm_dm_load(step->name, &step->table);
	case ZM_STEP_RESUME:
		return zm_dm_resume(step->name);
	case ZM_STEP_CLEAR:
		return zm_dm_clear(step->name);
	case ZM_STEP_REMOVE:
		return zm_dm_remove(step->name);
	default:
		return zm_dm_message(step->name, step->message, NULL);
	}
}

/* A step that fails by order has not been done, as one that really fails. */
static int run_step(const struct zm_step *step)
{
	char *after = zm_printf("%s.done", step->point);
	int code;

	if (zm_fault(step->point))
		code = zm_error(ZM_FAILED, "%s fails, as ZMIRROR_FAULT wants",
				step->point);
	else
		code = do_step(step);
	if (!code)
		zm_fault(after);
	free(after);
	return code;
}

int zm_plan_run(const struct zm_plan *plan, size_t *done)
{
	size_t i;
	int code = ZM_OK;

	if (done)
		*done = 0;
	if (zm_options.dry_run) {
		zm_plan_print(plan);
		return ZM_OK;
	}
	for (i = 0; i < plan->nr && !code; i++) {
		code = run_step(&plan->steps[i]);
		if (!code && done)
			(*done)++;
	}
	return code;
}
