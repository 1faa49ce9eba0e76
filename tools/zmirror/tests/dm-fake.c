// SPDX-License-Identifier: GPL-2.0-only
/*
 * A fake of device-mapper, and of what main.c and plan.c offer.
 */
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "../plan.h"
#include "../zmirror.h"
#include "dm-fake.h"

#define FAKE_DEVS	64

static struct fake_dev fake_devs[FAKE_DEVS];
static size_t fake_nr;

struct zm_options zm_options;
char fake_errors[4096];
char fake_messages[4096];
unsigned int fake_nr_messages;
char *(*fake_answer)(const char *name, const char *message);
int (*fake_wait)(struct fake_dev *dev);
void (*fake_read)(struct fake_dev *dev);

void fake_reset(void)
{
	fake_nr = 0;
	fake_errors[0] = '\0';
	fake_messages[0] = '\0';
	fake_nr_messages = 0;
	fake_answer = NULL;
	fake_wait = NULL;
	fake_read = NULL;
	memset(&zm_options, 0, sizeof(zm_options));
}

struct fake_dev *fake_add(const char *name, const char *uuid, unsigned int minor,
			  const char *type, const char *params, const char *status)
{
	struct fake_dev *dev = &fake_devs[fake_nr++];

	memset(dev, 0, sizeof(*dev));
	snprintf(dev->dev.name, sizeof(dev->dev.name), "%s", name);
	snprintf(dev->dev.uuid, sizeof(dev->dev.uuid), "%s", uuid);
	dev->dev.dev = makedev(253, minor);
	dev->dev.live = true;
	dev->sectors = 524288;
	dev->type = type;
	dev->params = params;
	dev->status = status;
	return dev;
}

static struct fake_dev *fake_find(const char *name)
{
	size_t i;

	for (i = 0; i < fake_nr; i++)
		if (!strcmp(fake_devs[i].dev.name, name))
			return &fake_devs[i];
	return NULL;
}

void fake_remove(const char *name)
{
	struct fake_dev *dev = fake_find(name);

	if (dev)
		dev->dev.name[0] = '\0';
}

static void fake_tell(const char *prefix, const char *format, va_list args)
{
	size_t len = strlen(fake_errors);
	char text[512];

	vsnprintf(text, sizeof(text), format, args);
	snprintf(fake_errors + len, sizeof(fake_errors) - len, "%s%s\n", prefix, text);
}

int zm_error(int code, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	fake_tell("", format, args);
	va_end(args);
	return code;
}

void zm_hint(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	fake_tell("hint: ", format, args);
	va_end(args);
}

void *zm_alloc(size_t size)
{
	void *new = calloc(1, size ? size : 1);

	if (!new)
		abort();
	return new;
}

void *zm_realloc(void *old, size_t size)
{
	void *new = realloc(old, size);

	if (!new)
		abort();
	return new;
}

char *zm_strdup(const char *text)
{
	size_t size = strlen(text) + 1;

	return memcpy(zm_alloc(size), text, size);
}

char *zm_printf(const char *format, ...)
{
	char *text = NULL;
	va_list args;
	size_t size;
	FILE *file;

	file = open_memstream(&text, &size);
	va_start(args, format);
	vfprintf(file, format, args);
	va_end(args);
	fclose(file);
	return text;
}

void zm_table_free(struct zm_table *table)
{
	size_t i;

	for (i = 0; i < table->nr; i++) {
		free(table->targets[i].type);
		free(table->targets[i].params);
	}
	free(table->targets);
	memset(table, 0, sizeof(*table));
}

uint64_t zm_table_sectors(const struct zm_table *table)
{
	return table->targets[0].length;
}

int zm_dm_lookup(const char *name, struct zm_dev *dev)
{
	struct fake_dev *found = fake_find(name);

	if (!found)
		return ZM_NOT_FOUND;
	*dev = found->dev;
	return ZM_OK;
}

int zm_dm_lookup_uuid(const char *uuid, struct zm_dev *dev)
{
	size_t i;

	for (i = 0; i < fake_nr; i++) {
		if (strcmp(fake_devs[i].dev.uuid, uuid))
			continue;
		*dev = fake_devs[i].dev;
		return ZM_OK;
	}
	return ZM_NOT_FOUND;
}

int zm_dm_find(const char *arg, struct zm_dev *dev)
{
	int r = zm_dm_lookup(arg, dev);

	return r ? zm_error(r, "no device %s", arg) : r;
}

int zm_dm_list(char ***names, size_t *nr)
{
	size_t i;

	*names = zm_alloc(fake_nr * sizeof(**names));
	*nr = fake_nr;
	for (i = 0; i < fake_nr; i++)
		(*names)[i] = zm_strdup(fake_devs[i].dev.name);
	return ZM_OK;
}

void zm_free_names(char **names, size_t nr)
{
	while (nr)
		free(names[--nr]);
	free(names);
}

static int fake_lines(const char *name, struct zm_table *table, bool status)
{
	struct fake_dev *dev = fake_find(name);

	if (!dev)
		return zm_error(ZM_FAILED, "%s has gone", name);
	table->targets = zm_alloc(sizeof(*table->targets));
	table->nr = 1;
	table->targets->length = dev->sectors;
	table->targets->type = zm_strdup(dev->type);
	table->targets->params = zm_strdup(status ? dev->status : dev->params);
	return ZM_OK;
}

int zm_dm_table(const char *name, struct zm_table *table)
{
	return fake_lines(name, table, false);
}

int zm_dm_status(const char *name, struct zm_table *status)
{
	struct fake_dev *dev = fake_find(name);

	if (dev && fake_read)
		fake_read(dev);
	return fake_lines(name, status, true);
}

int zm_dm_message(const char *name, const char *message, char **answer)
{
	size_t len = strlen(fake_messages);
	char *text;

	snprintf(fake_messages + len, sizeof(fake_messages) - len, "%s\n", message);
	fake_nr_messages++;
	if (answer)
		*answer = NULL;
	if (!fake_answer)
		return ZM_OK;
	text = fake_answer(name, message);
	if (answer)
		*answer = text;
	else
		free(text);
	return text ? ZM_OK : zm_error(ZM_FAILED, "%s refused: %s", name, message);
}

int zm_dm_wait(const char *name, uint32_t event_nr)
{
	struct fake_dev *dev = fake_find(name);

	if (!dev)
		return zm_error(ZM_FAILED, "%s has gone", name);
	if (dev->dev.event_nr != event_nr)
		return ZM_OK;
	return fake_wait ? fake_wait(dev) : ZM_INTERRUPTED;
}

char *zm_dev_name(dev_t number)
{
	size_t i;

	for (i = 0; i < fake_nr; i++)
		if (fake_devs[i].dev.dev == number)
			return zm_strdup(fake_devs[i].dev.name);
	return zm_printf("%u:%u", major(number), minor(number));
}

bool zm_dev_parse(const char *text, dev_t *number)
{
	unsigned long major, minor;
	char *end;

	major = strtoul(text, &end, 10);
	if (end == text || *end != ':')
		return false;
	text = end + 1;
	minor = strtoul(text, &end, 10);
	if (end == text || *end || major > 4095 || minor > 1048575)
		return false;
	*number = makedev(major, minor);
	return true;
}

void zm_plan_message(struct zm_plan *plan, const char *point, const char *name,
		     const char *message)
{
	plan->steps = zm_realloc(plan->steps, (plan->nr + 1) * sizeof(*plan->steps));
	plan->steps[plan->nr++] = (struct zm_step){
		.kind = ZM_STEP_MESSAGE,
		.point = zm_strdup(point),
		.name = zm_strdup(name),
		.message = zm_strdup(message),
	};
}

int zm_plan_run(const struct zm_plan *plan, size_t *done)
{
	size_t i = 0;
	int r = ZM_OK;

	for (; !r && !zm_options.dry_run && i < plan->nr; i++)
		r = zm_dm_message(plan->steps[i].name, plan->steps[i].message, NULL);
	if (done)
		*done = i;
	return r;
}

void zm_plan_free(struct zm_plan *plan)
{
	while (plan->nr--) {
		free(plan->steps[plan->nr].point);
		free(plan->steps[plan->nr].name);
		free(plan->steps[plan->nr].message);
	}
	free(plan->steps);
}

static char *fake_read_file(FILE *file)
{
	long size = ftell(file);
	char *text;

	text = zm_alloc(size + 1);
	rewind(file);
	if (fread(text, 1, size, file) != (size_t)size)
		abort();
	return text;
}

/* Standard output is a file meanwhile, and so no terminal. */
static int fake_captured(int (*verb)(int argc, char **argv), int argc, char **argv,
			 char **output)
{
	FILE *file = tmpfile();
	int old, r;

	if (!file)
		abort();
	fflush(stdout);
	old = dup(STDOUT_FILENO);
	dup2(fileno(file), STDOUT_FILENO);
	r = verb(argc, argv);
	fflush(stdout);
	dup2(old, STDOUT_FILENO);
	close(old);
	fseek(file, 0, SEEK_END);
	*output = fake_read_file(file);
	fclose(file);
	return r;
}

int fake_run(int (*verb)(int argc, char **argv), const char *line, char **output)
{
	char *words = zm_strdup(line), *argv[16], *text, *save;
	int argc = 0, r;

	for (text = strtok_r(words, " ", &save); text && argc < 15;
	     text = strtok_r(NULL, " ", &save))
		argv[argc++] = text;
	argv[argc] = NULL;
	/* The first error is one of this verb. 0 has getopt begin anew. */
	fake_errors[0] = '\0';
	fake_messages[0] = '\0';
	fake_nr_messages = 0;
	optind = 0;
	r = fake_captured(verb, argc, argv, &text);
	if (output)
		*output = text;
	else
		free(text);
	free(words);
	return r;
}
