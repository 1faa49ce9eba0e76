// SPDX-License-Identifier: GPL-2.0-only
/*
 * A mirror, as the kernel tells of it: its table, its status, its private device.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "format.h"
#include "mirror.h"
#include "zmirror.h"

#define ZM_MIN_REGION		8
#define ZM_MAX_REGION		2097152

/* The device is no mirror, and nobody was told so. */
#define ZM_NO_MIRROR		(-1)

/* A figure of the status: its name, and where its value and what follows a slash go. */
struct zm_figure {
	const char *name;
	size_t value;
	size_t second;
};

static const struct zm_figure zm_figures[] = {
	{ "dirty", offsetof(struct zm_status, dirty), 0 },
	{ "zero", offsetof(struct zm_status, zero), 0 },
	{ "read", offsetof(struct zm_status, read), 0 },
	{ "copied", offsetof(struct zm_status, copied), 0 },
	{ "zeroed", offsetof(struct zm_status, zeroed), 0 },
	{ "skipped", offsetof(struct zm_status, skipped), 0 },
	{ "fg_skipped", offsetof(struct zm_status, fg_skipped), 0 },
	{ "source_errors", offsetof(struct zm_status, source_errors), 0 },
	{ "dest_errors", offsetof(struct zm_status, dest_errors), 0 },
	{ "discarded", offsetof(struct zm_status, discarded), 0 },
	{ "served", offsetof(struct zm_status, served), 0 },
	{ "unread", offsetof(struct zm_status, unread), 0 },
	{ "verify", offsetof(struct zm_status, verify_done),
	  offsetof(struct zm_status, verify_total) },
	{ "mismatch", offsetof(struct zm_status, mismatch), 0 },
	{ "unverified", offsetof(struct zm_status, unverified), 0 },
	{ "remaining", offsetof(struct zm_status, remaining), 0 },
	{ "writing", offsetof(struct zm_status, writing), 0 },
	{ "reading", offsetof(struct zm_status, reading), 0 },
	{ "bound", offsetof(struct zm_status, bound), 0 },
	{ "latency", offsetof(struct zm_status, latency_now),
	  offsetof(struct zm_status, latency_without) },
};

static const char * const zm_states[] = {
	"in_sync", "resync", "paused", "zeroing", "stopped", "degraded", "failed_over",
	"pivoted",
};

static bool zm_take_char(const char **at, char wanted)
{
	if (**at != wanted)
		return false;
	(*at)++;
	return true;
}

static bool zm_region_good(uint64_t sectors)
{
	return sectors >= ZM_MIN_REGION && sectors <= ZM_MAX_REGION &&
	       !(sectors & (sectors - 1));
}

static bool zm_take_state(const char **at, struct zm_status *status)
{
	size_t len = strcspn(*at, " "), i;

	for (i = 0; i < sizeof(zm_states) / sizeof(*zm_states); i++) {
		if (strlen(zm_states[i]) != len || strncmp(zm_states[i], *at, len))
			continue;
		memcpy(status->state, *at, len);
		*at += len;
		return true;
	}
	return false;
}

static bool zm_take_letter(const char **at, char *letter)
{
	*letter = **at;
	if (*letter < 'A' || *letter > 'Z')
		return false;
	(*at)++;
	return true;
}

/* What all versions of the target have told, in this order. */
static bool zm_take_fixed(const char **at, struct zm_status *status)
{
	return zm_take_number(at, &status->clean) && zm_take_char(at, '/') &&
	       zm_take_number(at, &status->total) && zm_take_char(at, ' ') &&
	       zm_take_number(at, &status->region_sectors) && zm_take_char(at, ' ') &&
	       zm_take_state(at, status) && zm_take_char(at, ' ') &&
	       zm_take_letter(at, &status->source_health) &&
	       zm_take_letter(at, &status->dest_health) &&
	       status->total && status->total <= UINT32_MAX &&
	       status->clean <= status->total && zm_region_good(status->region_sectors);
}

static const struct zm_figure *zm_find_figure(const char *name, size_t len)
{
	size_t i;

	for (i = 0; i < sizeof(zm_figures) / sizeof(*zm_figures); i++)
		if (strlen(zm_figures[i].name) == len &&
		    !strncmp(zm_figures[i].name, name, len))
			return &zm_figures[i];
	return NULL;
}

static bool zm_take_value(const char **at, struct zm_status *status, size_t offset)
{
	uint64_t value;

	if (!zm_take_number(at, &value))
		return false;
	memcpy((char *)status + offset, &value, sizeof(value));
	return true;
}

/*
 * One that is not known is of a later version of the target. One that is known and is
 * no number must not pass for 0: decisions are made on it.
 */
static bool zm_take_figure(const char **at, struct zm_status *status)
{
	const char *end = *at + strcspn(*at, " ");
	size_t name = strcspn(*at, ": ");
	const struct zm_figure *figure;

	if (!name || (*at)[name] != ':')
		return false;
	figure = zm_find_figure(*at, name);
	if (!figure) {
		*at = end;
		return true;
	}
	*at += name;
	return zm_take_char(at, ':') && zm_take_value(at, status, figure->value) &&
	       (!figure->second || (zm_take_char(at, '/') &&
				    zm_take_value(at, status, figure->second))) &&
	       *at == end;
}

int zm_status_parse(const char *params, struct zm_status *status)
{
	uint64_t nr;

	memset(status, 0, sizeof(*status));
	if (!zm_take_fixed(&params, status) || !zm_take_char(&params, ' ') ||
	    !zm_take_number(&params, &nr))
		return -1;
	for (; nr; nr--)
		if (!zm_take_char(&params, ' ') || !zm_take_figure(&params, status))
			return -1;
	return params[strspn(params, " ")] ? -1 : 0;
}

uint64_t zm_status_remaining(const struct zm_status *status)
{
	if (status->remaining)
		return status->remaining;
	return (status->total - status->clean) * status->region_sectors;
}

static bool zm_take_leg(const char **at, struct zm_leg *leg)
{
	size_t len = strcspn(*at, " ");
	char number[32] = "";

	if (len >= sizeof(number))
		return false;
	memcpy(number, *at, len);
	*at += len;
	return zm_dev_parse(number, &leg->dev) && zm_take_char(at, ' ') &&
	       zm_take_number(at, &leg->start);
}

/* The words are left where they are: @words is where the first one begins. */
static bool zm_take_features(const char *at, const char **words, size_t *len)
{
	uint64_t nr = 0;

	*words = "";
	if (*at && (!zm_take_char(&at, ' ') || !zm_take_number(&at, &nr)))
		return false;
	if (nr)
		*words = at + 1;
	for (; nr; nr--) {
		if (!zm_take_char(&at, ' ') || !strcspn(at, " "))
			return false;
		at += strcspn(at, " ");
	}
	*len = **words ? (size_t)(at - *words) : 0;
	return !at[strspn(at, " ")];
}

int zm_mirror_parse(const char *params, struct zm_mirror *mirror)
{
	struct zm_leg source, dest;
	const char *words;
	uint64_t region;
	size_t len;

	if (!zm_take_leg(&params, &source) || !zm_take_char(&params, ' ') ||
	    !zm_take_leg(&params, &dest) || !zm_take_char(&params, ' ') ||
	    !zm_take_number(&params, &region) || (region && !zm_region_good(region)) ||
	    !zm_take_features(params, &words, &len))
		return -1;
	mirror->source = source;
	mirror->dest = dest;
	mirror->source.name = zm_dev_name(source.dev);
	mirror->dest.name = zm_dev_name(dest.dev);
	mirror->region_sectors = region;
	mirror->features = zm_alloc(len + 1);
	memcpy(mirror->features, words, len);
	return 0;
}

/*
 * LVM takes what has a suffix after its own UUID for a layer of the volume: it does not look
 * for physical volumes there, which may be those of a virtual machine, and removes it
 * together with the volume. For others the UUID begins with a word of our own.
 */
void zm_origin_uuid(const struct zm_dev *dev, char *uuid)
{
	const char *whose = dev->uuid[0] ? dev->uuid : dev->name;
	bool lvm = !strncmp(dev->uuid, ZM_LVM_PREFIX, strlen(ZM_LVM_PREFIX));
	size_t room = ZM_UUID_SIZE - sizeof(ZM_ORIGIN_SUFFIX), len = strnlen(whose, room);

	memset(uuid, 0, ZM_UUID_SIZE);
	if (lvm) {
		memcpy(uuid, whose, len);
		memcpy(uuid + len, ZM_ORIGIN_SUFFIX, sizeof(ZM_ORIGIN_SUFFIX));
	} else {
		memcpy(uuid, ZM_ORIGIN_PREFIX, strlen(ZM_ORIGIN_PREFIX));
		memcpy(uuid + strlen(ZM_ORIGIN_PREFIX), whose, len);
	}
}

bool zm_is_origin(const struct zm_dev *dev)
{
	size_t len = strlen(dev->uuid), suffix = strlen(ZM_ORIGIN_SUFFIX);

	return !strncmp(dev->uuid, ZM_ORIGIN_PREFIX, strlen(ZM_ORIGIN_PREFIX)) ||
	       (len > suffix && !strcmp(dev->uuid + len - suffix, ZM_ORIGIN_SUFFIX));
}

int zm_origin_name(const struct zm_dev *dev, char *name)
{
	size_t len = strlen(dev->name);

	if (len + strlen(ZM_ORIGIN_SUFFIX) >= ZM_NAME_SIZE)
		return zm_error(ZM_REFUSED,
				"the name %s is too long to have %s after it",
				dev->name, ZM_ORIGIN_SUFFIX);
	memcpy(name, dev->name, len);
	memcpy(name + len, ZM_ORIGIN_SUFFIX, sizeof(ZM_ORIGIN_SUFFIX));
	return ZM_OK;
}

static bool zm_is_mirror(const struct zm_table *table)
{
	return table->nr == 1 && !strcmp(table->targets[0].type, "zmirror");
}

/*
 * A device may go away, or become another one, between two questions. Then what was
 * asked has failed, for a reason that does not matter.
 */
static int zm_mirror_gone(const struct zm_mirror *mirror, int r)
{
	struct zm_dev dev;

	return zm_dm_lookup(mirror->dev.name, &dev) == ZM_NOT_FOUND ? ZM_NO_MIRROR : r;
}

static int zm_read_status(struct zm_mirror *mirror)
{
	struct zm_table table = { NULL, 0 };
	struct zm_status status;
	int r;

	r = zm_dm_status(mirror->dev.name, &table);
	if (r)
		return zm_mirror_gone(mirror, r);
	if (!zm_is_mirror(&table))
		r = ZM_NO_MIRROR;
	else if (zm_status_parse(table.targets[0].params, &status))
		r = zm_error(ZM_FAILED, "the status of %s is not understood: %s",
			     mirror->dev.name, table.targets[0].params);
	else
		mirror->status = status;
	zm_table_free(&table);
	return r;
}

/* The private device is needed by few verbs: who has none is a mirror all the same. */
static int zm_read_origin(struct zm_mirror *mirror)
{
	char uuid[ZM_UUID_SIZE];
	int r;

	zm_origin_uuid(&mirror->dev, uuid);
	r = zm_dm_lookup_uuid(uuid, &mirror->origin);
	if (r) {
		memset(&mirror->origin, 0, sizeof(mirror->origin));
		mirror->exchanged = false;
		return r == ZM_NOT_FOUND ? ZM_OK : r;
	}
	mirror->exchanged = mirror->origin.dev == mirror->dest.dev;

	/* A device that was renamed may have the UUID that another one's would have. */
	if (!mirror->exchanged && mirror->origin.dev != mirror->source.dev)
		memset(&mirror->origin, 0, sizeof(mirror->origin));
	return ZM_OK;
}

static void zm_free_legs(struct zm_mirror *mirror)
{
	free(mirror->source.name);
	free(mirror->dest.name);
	free(mirror->features);
	mirror->source.name = NULL;
	mirror->dest.name = NULL;
	mirror->features = NULL;
}

static int zm_read_table(struct zm_mirror *mirror)
{
	struct zm_table table = { NULL, 0 };
	struct zm_mirror was = *mirror;
	int r;

	if (!mirror->dev.live)
		return ZM_NO_MIRROR;
	r = zm_dm_table(mirror->dev.name, &table);
	if (r)
		return zm_mirror_gone(mirror, r);
	if (!zm_is_mirror(&table)) {
		r = ZM_NO_MIRROR;
	} else if (zm_mirror_parse(table.targets[0].params, mirror)) {
		r = zm_error(ZM_FAILED, "the table of %s is not understood: %s",
			     mirror->dev.name, table.targets[0].params);
	} else {
		mirror->sectors = zm_table_sectors(&table);
		zm_free_legs(&was);
	}
	zm_table_free(&table);
	return r;
}

static int zm_read_all(struct zm_mirror *mirror)
{
	int r;

	r = zm_read_table(mirror);
	if (!r)
		r = zm_read_origin(mirror);
	if (!r)
		r = zm_read_status(mirror);
	return r;
}

int zm_mirror_open(const char *arg, struct zm_mirror *mirror)
{
	int r;

	memset(mirror, 0, sizeof(*mirror));
	r = zm_dm_find(arg, &mirror->dev);
	if (r)
		return r;
	r = zm_read_all(mirror);
	if (r == ZM_NO_MIRROR)
		r = zm_error(ZM_NOT_FOUND, "%s is no mirror", arg);
	if (r)
		zm_mirror_close(mirror);
	return r;
}

/*
 * The number of the last event is read first: whoever waits for the next one does not
 * miss what happens after the status was read.
 */
static int zm_mirror_update(struct zm_mirror *mirror, int (*read)(struct zm_mirror *mirror))
{
	struct zm_dev dev;
	int r;

	r = zm_dm_lookup(mirror->dev.name, &dev);
	if (r)
		return r;
	mirror->dev = dev;
	r = dev.live ? read(mirror) : ZM_NO_MIRROR;
	return r == ZM_NO_MIRROR ? ZM_NOT_FOUND : r;
}

int zm_mirror_refresh(struct zm_mirror *mirror)
{
	return zm_mirror_update(mirror, zm_read_status);
}

int zm_mirror_reload(struct zm_mirror *mirror)
{
	return zm_mirror_update(mirror, zm_read_all);
}

bool zm_lvm_is_volume(const struct zm_dev *dev)
{
	return !strncmp(dev->uuid, ZM_LVM_PREFIX, strlen(ZM_LVM_PREFIX));
}

bool zm_is_cryptsetup(const struct zm_dev *dev)
{
	return !strncmp(dev->uuid, "CRYPT-", strlen("CRYPT-"));
}

bool zm_has_pivoted(const struct zm_mirror *mirror)
{
	return !strcmp(mirror->status.state, "pivoted") ||
	       !strcmp(mirror->status.state, "failed_over");
}

void zm_mirror_close(struct zm_mirror *mirror)
{
	zm_free_legs(mirror);
}

/* Adds the device of that name to the array, if it is a mirror. */
static int zm_list_add(const char *name, struct zm_mirror **mirrors, size_t *nr)
{
	struct zm_mirror mirror = { .sectors = 0 };
	int r;

	r = zm_dm_lookup(name, &mirror.dev);
	if (r)
		return r == ZM_NOT_FOUND ? ZM_OK : r;
	r = zm_read_all(&mirror);
	if (r) {
		zm_mirror_close(&mirror);
		return r == ZM_NO_MIRROR ? ZM_OK : r;
	}
	*mirrors = zm_realloc(*mirrors, (*nr + 1) * sizeof(**mirrors));
	(*mirrors)[(*nr)++] = mirror;
	return ZM_OK;
}

int zm_mirror_list(struct zm_mirror **mirrors, size_t *nr)
{
	char **names = NULL;
	size_t nr_names = 0, i;
	int r;

	*mirrors = NULL;
	*nr = 0;
	r = zm_dm_list(&names, &nr_names);
	if (r)
		return r;
	for (i = 0; !r && i < nr_names; i++)
		r = zm_list_add(names[i], mirrors, nr);
	zm_free_names(names, nr_names);
	if (r) {
		zm_mirror_list_free(*mirrors, *nr);
		*mirrors = NULL;
		*nr = 0;
	}
	return r;
}

void zm_mirror_list_free(struct zm_mirror *mirrors, size_t nr)
{
	size_t i;

	for (i = 0; i < nr; i++)
		zm_mirror_close(&mirrors[i]);
	free(mirrors);
}

char *zm_mirror_regions(const struct zm_mirror *mirror, const char *kind,
			uint64_t first, uint64_t count)
{
	char *answer = NULL, *message;
	int r;

	message = zm_printf("list %s %" PRIu64 " %" PRIu64, kind, first, count);
	r = zm_dm_message(mirror->dev.name, message, &answer);
	free(message);
	if (!r && answer)
		return answer;
	if (!r)
		zm_error(ZM_FAILED, "%s does not tell which regions are %s",
			 mirror->dev.name, kind);
	free(answer);
	return NULL;
}
