// SPDX-License-Identifier: GPL-2.0-only
/*
 * What users see of a mirror, and what they tell it; see dm-zmirror-message.h and
 * Documentation/admin-guide/device-mapper/dm-zmirror.rst.
 */
#include "dm-zmirror-message.h"
#include "dm-zmirror-compat.h"
#include "dm-zmirror-feature.h"
#include "dm-zmirror-io.h"
#include "dm-zmirror-resync.h"
#include "dm-zmirror-verify.h"

#include <linux/ctype.h>
#include <linux/device-mapper.h>
#include <linux/kstrtox.h>
#include <linux/mutex.h>
#include <linux/sched/mm.h>
#include <linux/string.h>

#define DM_MSG_PREFIX "zmirror"

/*
 * ------------------------------------------------------------------------
 * Status
 * ------------------------------------------------------------------------
 */

/* The state goes by the number of dirty regions that the same line shows. */
static const char *zm_state(const struct zmirror *zm, u32 dirty)
{
	if (zm_source_gone(zm->regions))
		return READ_ONCE(zm->pivoted) ? "pivoted" : "failed_over";
	if (zm_dest_failed(zm->regions) || (dirty && READ_ONCE(zm->source_failed)))
		return "stopped";
	if (!dirty)
		return "in_sync";
	if (READ_ONCE(zm->paused))
		return "paused";
	if (dirty == zm_regions_unread(zm->regions))
		return "degraded";
	return zm_prezero_due(zm) ? "zeroing" : "resync";
}

static char zm_source_health(const struct zmirror *zm)
{
	if (zm_source_gone(zm->regions) && !READ_ONCE(zm->pivoted))
		return 'D';
	if (READ_ONCE(zm->source_failed) || zm_regions_unread(zm->regions))
		return 'R';
	return 'A';
}

/* One that has taken over is used, whatever becomes of it. */
static char zm_dest_health(const struct zmirror *zm)
{
	if (!zm_dest_failed(zm->regions))
		return 'A';
	return READ_ONCE(zm->dest_full) ? 'N' : 'D';
}

static unsigned int zm_status_info(struct zmirror *zm, char *result,
				   unsigned int maxlen)
{
	struct zm_stats *stats = &zm->stats;
	struct zm_verify_count verify;
	u32 total, dirty;
	unsigned int sz = 0;

	total = zm_regions_total(zm->regions);
	dirty = zm_regions_dirty(zm->regions);

	DMEMIT("%u/%u %u %s %c%c", total - dirty, total, zm->region_sectors,
	       zm_state(zm, dirty), zm_source_health(zm), zm_dest_health(zm));
	zm_verify_count(zm, &verify);
	DMEMIT(" 20 dirty:%u zero:%u", dirty, zm_regions_zero(zm->regions));
	DMEMIT(" read:%lld copied:%lld zeroed:%lld skipped:%lld",
	       atomic64_read(&stats->read), atomic64_read(&stats->copied),
	       atomic64_read(&stats->zeroed), atomic64_read(&stats->skipped));
	DMEMIT(" fg_skipped:%lld source_errors:%lld dest_errors:%lld discarded:%lld",
	       atomic64_read(&stats->fg_skipped),
	       atomic64_read(&stats->source_errors),
	       atomic64_read(&stats->dest_errors),
	       atomic64_read(&stats->discarded));
	DMEMIT(" served:%lld unread:%u", atomic64_read(&stats->served),
	       zm_regions_unread(zm->regions));
	DMEMIT(" verify:%u/%u mismatch:%u unverified:%u", verify.done,
	       verify.total, verify.mismatch, verify.unverified);
	DMEMIT(" remaining:%llu",
	       min_t(unsigned long long, (u64)dirty * zm->region_sectors,
		     zm->ti->len));
	DMEMIT(" writing:%u reading:%u bound:%u latency:%u/%u",
	       zm_meter_kib(&zm->writing, atomic64_read(&stats->copied)),
	       zm_meter_kib(&zm->reading, atomic64_read(&stats->read)),
	       READ_ONCE(zm->rate.kib), READ_ONCE(zm->pace.mean_us),
	       READ_ONCE(zm->pace.idle_us));
	return sz;
}

static unsigned int zm_status_table(struct zmirror *zm, char *result,
				    unsigned int maxlen)
{
	char words[ZM_FEATURES][ZM_FEATURE_SIZE];
	unsigned int i, nr = 0, sz = 0;

	DMEMIT("%s %llu %s %llu %u", zm->source.dev->name,
	       (unsigned long long)zm->source.start, zm->dest.dev->name,
	       (unsigned long long)zm->dest.start, zm->region_sectors);

	for (i = 0; i < ZM_FEATURES; i++) {
		zm_feature_word(zm, i, words[i]);
		nr += !!words[i][0];
	}
	if (!nr)
		return sz;
	DMEMIT(" %u", nr);
	for (i = 0; i < ZM_FEATURES; i++)
		if (words[i][0])
			DMEMIT(" %s", words[i]);
	return sz;
}

/* What is measured: the table, each feature that is not its default by its name. */
static unsigned int zm_status_ima(struct zmirror *zm, char *result,
				  unsigned int maxlen)
{
	char word[ZM_FEATURE_SIZE];
	unsigned int i, sz = 0;

	DMEMIT_TARGET_NAME_VERSION(zm->ti->type);
	DMEMIT(",source_device_name=%s,source_offset=%llu",
	       zm->source.dev->name, (unsigned long long)zm->source.start);
	DMEMIT(",dest_device_name=%s,dest_offset=%llu,region_sectors=%u",
	       zm->dest.dev->name, (unsigned long long)zm->dest.start,
	       zm->region_sectors);
	for (i = 0; i < ZM_FEATURES; i++) {
		size_t len;

		zm_feature_word(zm, i, word);
		len = zm_name_len(word);
		if (word[0])
			DMEMIT(",%.*s=%s", (int)len, word,
			       word[len] ? word + len + 1 : "y");
	}
	DMEMIT(";");
	return sz;
}

void zmirror_status(struct dm_target *ti, status_type_t type,
		    unsigned int status_flags, char *result, unsigned int maxlen)
{
	struct zmirror *zm = ti->private;
	unsigned int sz = 0;

	/* A resume may take over the regions of the table before, and free this one's. */
	mutex_lock(&zm->state_lock);
	switch (type) {
	case STATUSTYPE_INFO:
		sz = zm_status_info(zm, result, maxlen);
		break;
	case STATUSTYPE_TABLE:
		sz = zm_status_table(zm, result, maxlen);
		break;
	case STATUSTYPE_IMA:
		sz = zm_status_ima(zm, result, maxlen);
		break;
	}
	mutex_unlock(&zm->state_lock);
	if (!sz)
		*result = '\0';
}

/*
 * ------------------------------------------------------------------------
 * Messages
 * ------------------------------------------------------------------------
 */

/*
 * What a failed destination has lost must be found out before it is used
 * again: the work that does so may still be under way.
 */
static void zm_message_resume(struct zmirror *zm)
{
	cancel_delayed_work(&zm->retry_work);
	flush_work(&zm->event_work);
	zm_unread_forget(zm->regions);
	WRITE_ONCE(zm->retries, 0);
	WRITE_ONCE(zm->paused, false);
	WRITE_ONCE(zm->source_failed, false);
	zm_attach(zm);
}

/* The kinds of regions that can be listed. */
static const char * const zm_lists[] = { "dirty", "zero", "unread", "mismatch" };

static u32 zm_list_next(const struct zmirror *zm, int kind, u32 *first, u32 end)
{
	static const enum zm_which which[] = { ZM_DIRTY, ZM_ZERO, ZM_UNREAD };

	if (kind < (int)ARRAY_SIZE(which))
		return zm_regions_next(zm->regions, which[kind], first, end);
	return zm_words_next(zm_verify_found(zm), first, end);
}

/* Regions of one kind, as ranges: 0-4,9. Too long a list is device-mapper's to see. */
static void zm_list_regions(struct zmirror *zm, int kind, u32 first, u32 end,
			    char *result, unsigned int maxlen)
{
	unsigned int sz = 0;
	u32 next;

	while (sz + 1 < maxlen &&
	       (next = zm_list_next(zm, kind, &first, end))) {
		DMEMIT("%s%u", sz ? "," : "", first);
		if (next - first > 1)
			DMEMIT("-%u", next - 1);
		first = next;
		cond_resched();
	}
	if (!sz)
		DMEMIT("none");
}

static int zm_message_list(struct zmirror *zm, unsigned int argc, char **argv,
			   char *result, unsigned int maxlen)
{
	u32 total = zm_regions_total(zm->regions);
	u32 first = 0, count = total;
	int kind;

	if (argc < 2 || argc > 4) {
		DMERR("Message list takes dirty, zero, unread or mismatch, and a range");
		return -EINVAL;
	}
	kind = match_string(zm_lists, ARRAY_SIZE(zm_lists), argv[1]);
	if (kind < 0) {
		DMERR("list: dirty, zero, unread or mismatch, not %s", argv[1]);
		return -EINVAL;
	}
	if (argc > 2 && (kstrtou32(argv[2], 10, &first) || first >= total)) {
		DMERR("list: a region below %u, not %s", total, argv[2]);
		return -EINVAL;
	}
	if (argc > 3 && (kstrtou32(argv[3], 10, &count) || !count)) {
		DMERR("list: a number of regions, not %s", argv[3]);
		return -EINVAL;
	}
	zm_list_regions(zm, kind, first, first + min(count, total - first),
			result, maxlen);
	return 1;
}

static const char * const zm_marks[] = {
	[ZM_MARK_DIRTY] = "dirty",
	[ZM_MARK_CLEAN] = "clean",
	[ZM_MARK_ZERO] = "zero",
	[ZM_MARK_NONZERO] = "nonzero",
};

static bool zm_next_number(char **at, u32 *number)
{
	u64 value = 0;

	if (!isdigit(**at))
		return false;
	for (; isdigit(**at) && value <= U32_MAX; (*at)++)
		value = value * 10 + **at - '0';
	*number = value;
	return value <= U32_MAX;
}

/*
 * The next of some ranges, as the message list prints them: "5" or "0-4". Returns
 * where the following one begins, or NULL when this is none.
 */
static char *zm_next_range(char *at, u32 total, u32 *first, u32 *end)
{
	u32 to;

	if (!zm_next_number(&at, first))
		return NULL;
	to = *first;
	if (*at == '-') {
		at++;
		if (!zm_next_number(&at, &to))
			return NULL;
	}
	if (*first > to || to >= total || (*at && *at != ','))
		return NULL;
	if (*at == ',' && !*++at)
		return NULL;
	*end = to + 1;
	return at;
}

static bool zm_ranges_valid(const char *message, char *ranges, u32 total)
{
	char *at = *ranges ? ranges : NULL;
	u32 first, end;

	while (at && *at)
		at = zm_next_range(at, total, &first, &end);
	if (!at)
		DMERR("%s: ranges of regions below %u, not %s", message, total,
		      ranges);
	return at;
}

/* What the source had as zeroes before the mirror was resumed for the first time. */
static int zm_message_hint(struct zmirror *zm, unsigned int argc, char **argv)
{
	u32 total = zm_regions_total(zm->regions), first, end;
	unsigned int ended = 0;
	sector_t sectors;
	char *at;

	if (argc != 3 || strcasecmp(argv[1], "zero")) {
		DMERR("Message hint takes zero, and ranges of regions");
		return -EINVAL;
	}
	if (!zm_changed_known(zm->regions)) {
		DMERR("hint: the table has no feature hints");
		return -EINVAL;
	}
	if (!zm_ranges_valid("hint", argv[2], total))
		return -EINVAL;
	for (at = argv[2]; *at;) {
		at = zm_next_range(at, total, &first, &end);
		ended |= zm_hint_zero(zm->regions, first, end,
				      &sectors);
		atomic64_add(sectors, &zm->stats.skipped);
	}
	zm_op_ended(zm, ended);
	return 0;
}

static int zm_message_pivot(struct zmirror *zm, unsigned int argc)
{
	int r;

	if (argc != 1) {
		DMERR("Message pivot takes no argument");
		return -EINVAL;
	}
	r = zm_io_pivot(zm);
	if (r == -EBUSY)
		DMERR("pivot: it is not in sync");
	else if (r)
		DMERR("pivot: %s", r == -EIO ? "the destination failed" :
					       "killed while it waited");
	return r;
}

/*
 * What would be a promise speaks of this moment, so that nothing may be in flight.
 * The other two are on the safe side at any time.
 */
static int zm_message_mark(struct zmirror *zm, unsigned int argc, char **argv)
{
	u32 total = zm_regions_total(zm->regions), first, end;
	unsigned int ended = 0;
	char *at;
	int mark;

	if (argc != 3) {
		DMERR("Message mark takes dirty, clean, zero or nonzero, and ranges of regions");
		return -EINVAL;
	}
	mark = match_string(zm_marks, ARRAY_SIZE(zm_marks), argv[1]);
	if (mark < 0) {
		DMERR("mark: dirty, clean, zero or nonzero, not %s", argv[1]);
		return -EINVAL;
	}
	if ((mark == ZM_MARK_CLEAN || mark == ZM_MARK_ZERO) && !zm->quiesced) {
		DMERR("mark: %s only while the device is suspended", argv[1]);
		return -EBUSY;
	}
	if (!zm_ranges_valid("mark", argv[2], total))
		return -EINVAL;
	for (at = argv[2]; *at;) {
		at = zm_next_range(at, total, &first, &end);
		ended |= zm_regions_mark(zm->regions, mark, first, end);
	}
	zm_op_ended(zm, ended);
	return 0;
}

/* The sectors to verify, if there are any words: a first one and a number. */
static int zm_message_verify_range(struct zmirror *zm, unsigned int argc,
				   char **argv, sector_t *start, sector_t *len)
{
	u64 first, nr;

	*start = 0;
	*len = zm->ti->len;
	if (!argc)
		return 0;
	if (argc != 2) {
		DMERR("Message verify takes repair, and a sector and a number of sectors; or stop");
		return -EINVAL;
	}
	if (kstrtou64(argv[0], 10, &first) || first >= zm->ti->len) {
		DMERR("verify: a sector below %llu, not %s",
		      (unsigned long long)zm->ti->len, argv[0]);
		return -EINVAL;
	}
	if (kstrtou64(argv[1], 10, &nr) || !nr || nr > zm->ti->len - first) {
		DMERR("verify: a number of sectors up to %llu, not %s",
		      (unsigned long long)(zm->ti->len - first), argv[1]);
		return -EINVAL;
	}
	*start = first;
	*len = nr;
	return 0;
}

static int zm_message_verify(struct zmirror *zm, unsigned int argc, char **argv)
{
	bool repair = argc > 1 && !strcasecmp(argv[1], "repair");
	sector_t start, len;
	int r;

	if (argc == 2 && !strcasecmp(argv[1], "stop")) {
		zm_verify_stop(zm);
		return 0;
	}
	r = zm_message_verify_range(zm, argc - 1 - repair, argv + 1 + repair,
				    &start, &len);
	if (r)
		return r;
	r = zm_verify_start(zm, start, len, repair);
	if (r)
		DMERR("verify: %s", r == -EBUSY ? "one is under way" :
						  "Cannot allocate buffers");
	return r;
}

static int zm_message(struct zmirror *zm, unsigned int argc, char **argv,
		      char *result, unsigned int maxlen)
{
	if (!strcasecmp(argv[0], "set")) {
		if (argc == 3)
			return zm_message_set(zm, argv[1], argv[2]);
		DMERR("Message set takes a feature and a value");
		return -EINVAL;
	}
	if (!strcasecmp(argv[0], "pause") || !strcasecmp(argv[0], "resume")) {
		if (argc != 1) {
			DMERR("Message %s takes no argument", argv[0]);
			return -EINVAL;
		}
		if (!strcasecmp(argv[0], "pause"))
			WRITE_ONCE(zm->paused, true);
		else
			zm_message_resume(zm);
		return 0;
	}
	if (!strcasecmp(argv[0], "list"))
		return zm_message_list(zm, argc, argv, result, maxlen);
	if (!strcasecmp(argv[0], "mark"))
		return zm_message_mark(zm, argc, argv);
	if (!strcasecmp(argv[0], "verify"))
		return zm_message_verify(zm, argc, argv);
	if (!strcasecmp(argv[0], "hint"))
		return zm_message_hint(zm, argc, argv);
	if (!strcasecmp(argv[0], "pivot"))
		return zm_message_pivot(zm, argc);
	DMERR("Unknown message: %s", argv[0]);
	return -EINVAL;
}

int zmirror_message(struct dm_target *ti, unsigned int argc, char **argv,
		    char *result, unsigned int maxlen)
{
	struct zmirror *zm = ti->private;
	unsigned int noio;
	int r;

	/*
	 * A suspend waits for this, and holds up all requests meanwhile. So to
	 * allocate memory must not wait for any.
	 */
	noio = memalloc_noio_save();
	mutex_lock(&zm->message_lock);
	if (zm->active) {
		r = zm_message(zm, argc, argv, result, maxlen);
	} else {
		/* It is live already, but what it is told would be lost by the resume. */
		DMERR("%s: not resumed yet: message %s refused",
		      dm_table_device_name(ti->table), argv[0]);
		r = -EAGAIN;
	}
	mutex_unlock(&zm->message_lock);
	memalloc_noio_restore(noio);
	return r;
}
