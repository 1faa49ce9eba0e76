// SPDX-License-Identifier: GPL-2.0-only
/*
 * The features of a table line, and those of them that a message can set; see
 * dm-zmirror-feature.h.
 */
#include "dm-zmirror-feature.h"
#include "dm-zmirror-io.h"
#include "dm-zmirror-resync.h"

#include <linux/device-mapper.h>
#include <linux/kstrtox.h>
#include <linux/string.h>

#define DM_MSG_PREFIX "zmirror"

/*
 * One word of the table line, `name` or `name:value`. @set stores a value, or
 * tells that it is none; for a feature without a value it gets NULL. @get
 * prints the word if it is not the default. A feature with @message can be set
 * while the mirror runs.
 */
struct zm_feature {
	const char *name;
	bool message;
	int (*set)(struct zmirror *zm, const char *value);
	void (*get)(struct zmirror *zm, char *word, size_t size);
	char *error;
};

static int zm_set_dest_zeroed(struct zmirror *zm, const char *value)
{
	zm->dest_zeroed = true;
	return 0;
}

static void zm_get_dest_zeroed(struct zmirror *zm, char *word, size_t size)
{
	if (zm->dest_zeroed)
		strscpy(word, "dest_zeroed", size);
}

static int zm_set_nosync(struct zmirror *zm, const char *value)
{
	zm->nosync = true;
	return 0;
}

static void zm_get_nosync(struct zmirror *zm, char *word, size_t size)
{
	if (zm->nosync)
		strscpy(word, "nosync", size);
}

static int zm_set_zero_detect(struct zmirror *zm, const char *value)
{
	if (!strcmp(value, "on"))
		WRITE_ONCE(zm->zero_detect, true);
	else if (!strcmp(value, "off"))
		WRITE_ONCE(zm->zero_detect, false);
	else
		return -EINVAL;
	return 0;
}

static void zm_get_zero_detect(struct zmirror *zm, char *word, size_t size)
{
	if (!zm->zero_detect)
		strscpy(word, "zero_detect:off", size);
}

static int zm_set_prezero(struct zmirror *zm, const char *value)
{
	zm->prezero = true;
	return 0;
}

static void zm_get_prezero(struct zmirror *zm, char *word, size_t size)
{
	if (zm->prezero)
		strscpy(word, "prezero", size);
}

static int zm_set_discard_zeroes(struct zmirror *zm, const char *value)
{
	zm->discard_zeroes = true;
	return 0;
}

static void zm_get_discard_zeroes(struct zmirror *zm, char *word, size_t size)
{
	if (zm->discard_zeroes)
		strscpy(word, "discard_zeroes", size);
}

static const char * const zm_discards[] = {
	[ZM_DISCARD_EXACT] = "exact",
	[ZM_DISCARD_PASS] = "pass",
	[ZM_DISCARD_IGNORE] = "ignore",
};

static int zm_set_discard(struct zmirror *zm, const char *value)
{
	int discard = match_string(zm_discards, ARRAY_SIZE(zm_discards), value);

	if (discard < 0)
		return -EINVAL;
	zm->discard = discard;
	return 0;
}

static void zm_get_discard(struct zmirror *zm, char *word, size_t size)
{
	if (zm->discard != ZM_DISCARD_EXACT)
		snprintf(word, size, "discard:%s", zm_discards[zm->discard]);
}

static int zm_set_no_unmap(struct zmirror *zm, const char *value)
{
	zm->no_unmap = true;
	return 0;
}

static void zm_get_no_unmap(struct zmirror *zm, char *word, size_t size)
{
	if (zm->no_unmap)
		strscpy(word, "no_unmap", size);
}

/* In auto mode, it begins async, and resync finds out when to end that. */
static int zm_set_copy_mode(struct zmirror *zm, const char *value)
{
	bool auto_mode = !strcmp(value, "auto");

	if (!auto_mode && strcmp(value, "async") && strcmp(value, "sync"))
		return -EINVAL;
	spin_lock_irq(&zm->lock);
	WRITE_ONCE(zm->auto_mode, auto_mode);
	WRITE_ONCE(zm->async, strcmp(value, "sync"));
	spin_unlock_irq(&zm->lock);
	if (zm->resync)
		zm_resync_kick(zm);
	return 0;
}

static void zm_get_copy_mode(struct zmirror *zm, char *word, size_t size)
{
	if (zm->auto_mode)
		strscpy(word, "copy_mode:auto", size);
	else if (zm->async)
		strscpy(word, "copy_mode:async", size);
}

/* Before the resync is there, the number is for zm_resync_init(). */
static int zm_set_jobs(struct zmirror *zm, const char *value)
{
	u32 jobs;

	if (kstrtou32(value, 10, &jobs) || jobs < ZM_MIN_JOBS ||
	    jobs > ZM_MAX_JOBS)
		return -EINVAL;
	if (zm->resync)
		return zm_resync_set_jobs(zm, jobs);
	zm->jobs = jobs;
	return 0;
}

static void zm_get_jobs(struct zmirror *zm, char *word, size_t size)
{
	if (zm->jobs != ZM_DEFAULT_JOBS)
		snprintf(word, size, "jobs:%u", zm->jobs);
}

/* A bound of less could not be kept within a second. */
static int zm_parse_rate(const char *value, u32 least, u32 *kib)
{
	u32 rate;

	if (kstrtou32(value, 10, &rate) || (rate && rate < least))
		return -EINVAL;
	*kib = rate;
	return 0;
}

static int zm_set_rate(struct zmirror *zm, const char *value)
{
	u32 kib;

	if (!strcmp(value, "auto")) {
		zm_pace_set(&zm->pace, true);
		return 0;
	}
	if (zm_parse_rate(value, ZM_MIN_RATE, &kib))
		return -EINVAL;
	zm_pace_set(&zm->pace, false);
	zm_rate_set(&zm->rate, kib);
	return 0;
}

static void zm_get_rate(struct zmirror *zm, char *word, size_t size)
{
	if (zm->pace.on)
		strscpy(word, "rate:auto", size);
	else if (zm->rate.kib)
		snprintf(word, size, "rate:%u", zm->rate.kib);
}

static int zm_set_scan_rate(struct zmirror *zm, const char *value)
{
	u32 kib;

	if (zm_parse_rate(value, ZM_MIN_SCAN_RATE, &kib))
		return -EINVAL;
	zm_rate_set(&zm->scan_rate, kib);
	return 0;
}

static void zm_get_scan_rate(struct zmirror *zm, char *word, size_t size)
{
	if (zm->scan_rate.kib)
		snprintf(word, size, "scan_rate:%u", zm->scan_rate.kib);
}

static int zm_set_latency_target(struct zmirror *zm, const char *value)
{
	u32 percent;

	if (kstrtou32(value, 10, &percent) || percent < ZM_MIN_LATENCY_TARGET ||
	    percent > ZM_MAX_LATENCY_TARGET)
		return -EINVAL;
	WRITE_ONCE(zm->pace.target, percent);
	return 0;
}

static void zm_get_latency_target(struct zmirror *zm, char *word, size_t size)
{
	if (zm->pace.target != ZM_DEFAULT_LATENCY_TARGET)
		snprintf(word, size, "latency_target:%u", zm->pace.target);
}

static int zm_set_on_dest_error(struct zmirror *zm, const char *value)
{
	if (!strcmp(value, "stop"))
		WRITE_ONCE(zm->retry, false);
	else if (!strcmp(value, "retry"))
		WRITE_ONCE(zm->retry, true);
	else
		return -EINVAL;
	if (zm->resync)
		zm_retry_later(zm);
	return 0;
}

static void zm_get_on_dest_error(struct zmirror *zm, char *word, size_t size)
{
	if (zm->retry)
		strscpy(word, "on_dest_error:retry", size);
}

/* Before the regions are there, the room is for zm_make(). */
static int zm_set_on_source_error(struct zmirror *zm, const char *value)
{
	bool skip = !strcmp(value, "skip"), over = !strcmp(value, "failover");

	if (!skip && !over && strcmp(value, "stop"))
		return -EINVAL;
	if (skip && zm->regions && zm_unread_alloc(zm->regions))
		return -ENOMEM;
	/* With room for what is left out; pairs with zm_job_lost(). */
	smp_store_release(&zm->skip, skip);
	WRITE_ONCE(zm->failover, over);
	/* Whoever takes the source back relies on it: none comes after this. */
	if (zm->wq && !over)
		flush_delayed_work(&zm->source_work);
	return 0;
}

static void zm_get_on_source_error(struct zmirror *zm, char *word, size_t size)
{
	if (zm->skip)
		strscpy(word, "on_source_error:skip", size);
	else if (zm->failover)
		strscpy(word, "on_source_error:failover", size);
}

static int zm_set_hints(struct zmirror *zm, const char *value)
{
	zm->hints = true;
	return 0;
}

/* With the regions, those of another table may have been taken over. */
static void zm_get_hints(struct zmirror *zm, char *word, size_t size)
{
	if (zm_changed_known(zm->regions))
		strscpy(word, "hints", size);
}

static int zm_set_paused(struct zmirror *zm, const char *value)
{
	zm->paused = true;
	return 0;
}

static void zm_get_paused(struct zmirror *zm, char *word, size_t size)
{
	if (zm->paused)
		strscpy(word, "paused", size);
}

static const struct zm_feature zm_features[] = {
	{ "dest_zeroed", false, zm_set_dest_zeroed, zm_get_dest_zeroed,
	  "Feature dest_zeroed takes no value" },
	{ "nosync", false, zm_set_nosync, zm_get_nosync,
	  "Feature nosync takes no value" },
	{ "prezero", false, zm_set_prezero, zm_get_prezero,
	  "Feature prezero takes no value" },
	{ "discard_zeroes", false, zm_set_discard_zeroes,
	  zm_get_discard_zeroes, "Feature discard_zeroes takes no value" },
	{ "discard:", false, zm_set_discard, zm_get_discard,
	  "Feature discard takes exact, pass or ignore" },
	{ "zero_detect:", true, zm_set_zero_detect, zm_get_zero_detect,
	  "Feature zero_detect takes on or off" },
	{ "no_unmap", false, zm_set_no_unmap, zm_get_no_unmap,
	  "Feature no_unmap takes no value" },
	{ "copy_mode:", true, zm_set_copy_mode, zm_get_copy_mode,
	  "Feature copy_mode takes sync, async or auto" },
	{ "rate:", true, zm_set_rate, zm_get_rate,
	  "Feature rate takes KiB a second, from 64, or 0, or auto" },
	{ "latency_target:", true, zm_set_latency_target,
	  zm_get_latency_target,
	  "Feature latency_target takes percent, from 1 to 1000" },
	{ "scan_rate:", true, zm_set_scan_rate, zm_get_scan_rate,
	  "Feature scan_rate takes KiB a second, from 1024, or 0" },
	{ "jobs:", true, zm_set_jobs, zm_get_jobs,
	  "Feature jobs takes a number from 1 to 256" },
	{ "on_dest_error:", true, zm_set_on_dest_error, zm_get_on_dest_error,
	  "Feature on_dest_error takes stop or retry" },
	{ "on_source_error:", true, zm_set_on_source_error,
	  zm_get_on_source_error,
	  "Feature on_source_error takes stop, skip or failover" },
	{ "hints", false, zm_set_hints, zm_get_hints,
	  "Feature hints takes no value" },
	{ "paused", false, zm_set_paused, zm_get_paused,
	  "Feature paused takes no value" },
};

static_assert(ARRAY_SIZE(zm_features) == ZM_FEATURES);

/* Words that the design reserves, refused so that nobody counts on them. */
static const char * const zm_later_features[] = {
	"metadata",
};

size_t zm_name_len(const char *name)
{
	return strcspn(name, ":");
}

static int zm_find_feature(const char *word, size_t len)
{
	unsigned int i;

	for (i = 0; i < ZM_FEATURES; i++)
		if (zm_name_len(zm_features[i].name) == len &&
		    !strncmp(zm_features[i].name, word, len))
			return i;
	return -ENOENT;
}

static char *zm_refusal(const char *word, size_t len)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(zm_later_features); i++)
		if (strlen(zm_later_features[i]) == len &&
		    !strncmp(zm_later_features[i], word, len))
			return "Feature is not supported yet";
	return "Unknown feature";
}

static int zm_set_feature(struct zmirror *zm, const struct zm_feature *feature,
			  const char *value, char **error)
{
	bool wanted = feature->name[zm_name_len(feature->name)] == ':';
	int r = -EINVAL;

	if (wanted == !!value)
		r = feature->set(zm, value);
	if (r == -ENOMEM)
		*error = "Cannot allocate what a feature needs";
	else if (r)
		*error = feature->error;
	return r;
}

static int zm_parse_feature(struct zmirror *zm, const char *word,
			    unsigned long *seen, char **error)
{
	size_t len = zm_name_len(word);
	int i = zm_find_feature(word, len);

	if (i < 0) {
		*error = zm_refusal(word, len);
		DMERR("%s: %s", *error, word);
		return -EINVAL;
	}
	if (__test_and_set_bit(i, seen)) {
		*error = "Feature given twice";
		DMERR("%s: %s", *error, word);
		return -EINVAL;
	}
	return zm_set_feature(zm, &zm_features[i],
			      word[len] ? word + len + 1 : NULL, error);
}

/* Features of which one would undo what the other one asks for. */
static int zm_check_features(struct zmirror *zm)
{
	if (zm->prezero && zm->nosync)
		zm->ti->error = "Features nosync and prezero exclude each other";
	else if (zm->discard_zeroes && zm->no_unmap)
		zm->ti->error = "Features discard_zeroes and no_unmap exclude each other";
	else
		return 0;
	return -EINVAL;
}

int zm_parse_features(struct zmirror *zm, struct dm_arg_set *as)
{
	static const struct dm_arg args[] = {
		{ 0, ZM_FEATURES,
		  "Invalid number of features" },
	};
	struct dm_target *ti = zm->ti;
	unsigned long seen = 0;
	unsigned int nr;
	int r;

	if (!as->argc)
		return 0;
	r = dm_read_arg_group(args, as, &nr, &ti->error);
	if (r) {
		ti->error = "Invalid number of features";
		return r;
	}
	while (nr--) {
		r = zm_parse_feature(zm, dm_shift_arg(as), &seen, &ti->error);
		if (r)
			return r;
	}
	if (as->argc) {
		ti->error = "Arguments after the features";
		return -EINVAL;
	}
	return zm_check_features(zm);
}

int zm_message_set(struct zmirror *zm, const char *name, const char *value)
{
	char *error;
	int i, r;

	i = zm_find_feature(name, strlen(name));
	if (i < 0) {
		DMERR("set: %s: %s", zm_refusal(name, strlen(name)), name);
		return -EINVAL;
	}
	if (!zm_features[i].message) {
		DMERR("set: Feature cannot be set by message: %s", name);
		return -EINVAL;
	}
	r = zm_set_feature(zm, &zm_features[i], value, &error);
	if (r)
		DMERR("set: %s, not %s", error, value);
	return r;
}

void zm_feature_word(struct zmirror *zm, unsigned int nr, char *word)
{
	word[0] = '\0';
	zm_features[nr].get(zm, word, ZM_FEATURE_SIZE);
}
