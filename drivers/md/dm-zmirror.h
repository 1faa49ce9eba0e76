/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A mirror: what the parts of dm-zmirror share.
 *
 *	target	what device-mapper calls, and what users see
 *	io	the foreground: requests and their legs
 *	resync	the background: copies of dirty regions
 *	rate	bounds on what the background moves
 *	pace	the bound that the latency of the foreground asks for
 *	verify	comparisons of the legs
 *	zero	finding and making zeroes
 *	region	what is known of the destination
 */
#ifndef DM_ZMIRROR_H
#define DM_ZMIRROR_H

#include <linux/atomic.h>
#include <linux/bio.h>
#include <linux/device-mapper.h>
#include <linux/dm-io.h>
#include <linux/mutex.h>
#include <linux/spinlock.h>
#include <linux/wait.h>
#include <linux/workqueue.h>

#include "dm-zmirror-pace.h"
#include "dm-zmirror-rate.h"
#include "dm-zmirror-region.h"

struct zm_resync;
struct zm_verify;

/**
 * struct zm_leg - a device that is mirrored, or mirrored to
 * @dev: the device
 * @start: where the mirror starts on it, in sectors
 */
struct zm_leg {
	struct dm_dev *dev;
	sector_t start;
};

/**
 * struct zm_stats - what a mirror counts
 * @read: sectors that resync read from the source
 * @copied: sectors of data that resync wrote to the destination
 * @zeroed: sectors that resync zeroed on the destination
 * @skipped: sectors that resync left out, being zero on both legs
 * @fg_skipped: sectors of foreground zeroes that the destination had already
 * @discarded: sectors of foreground discards that went to the destination
 * @served: sectors of reads that the destination served for the source
 * @source_errors: requests to the source that failed
 * @dest_errors: requests to the destination that failed
 */
struct zm_stats {
	atomic64_t read;
	atomic64_t copied;
	atomic64_t zeroed;
	atomic64_t skipped;
	atomic64_t fg_skipped;
	atomic64_t discarded;
	atomic64_t served;
	atomic64_t source_errors;
	atomic64_t dest_errors;
};

/**
 * enum zm_discard - what a discard does
 * @ZM_DISCARD_EXACT: both legs are discarded, and resync makes them equal
 * @ZM_DISCARD_PASS: both legs are discarded, and read as they like
 * @ZM_DISCARD_IGNORE: there are none
 */
enum zm_discard { ZM_DISCARD_EXACT, ZM_DISCARD_PASS, ZM_DISCARD_IGNORE };

/* What zm_event() announces, as bit numbers. */
enum zm_event {
	ZM_EVENT_DEST_FAILED,	/* the destination failed */
	ZM_EVENT_SOURCE_FAILED,	/* a read error on the source stopped resync */
	ZM_EVENT_UNREAD,	/* regions that could not be read were left out */
	ZM_EVENT_FAILED_OVER,	/* the destination has taken over */
	ZM_EVENT_PIVOTED,	/* it has, because the user wants it */
};

/**
 * struct zmirror - a mirror
 * @ti: its target
 * @list: place in the list of all mirrors, see dm-zmirror-target.c
 * @source: the leg that is the truth
 * @dest: the leg that follows
 * @truth: the leg that has all that was written: the source, until that fails and the
 *	destination takes over
 * @region_sectors: length of a region, in sectors
 * @regions: state of the regions; taken over from the mirror whose table this
 *	one replaces. It changes only while no I/O is in flight.
 * @stats: figures for the status
 * @dest_zeroed: the user's promise, until the first resume
 * @nosync: the user's promise, until the first resume
 * @prezero: zero the destination before resync
 * @discard_zeroes: the user's promise that a discard of whole granules of the
 *	destination makes them read as zeroes
 * @discard: what a discard does
 * @no_unmap: zero the destination without deallocating it
 * @zero_detect: look for zero content
 * @async: a write ends when the source has it
 * @auto_mode: resync sets @async: as long as it has much to copy
 * @paused: the user has paused resync
 * @jobs: most copy jobs in flight
 * @rate: of bytes that resync writes to the destination
 * @scan_rate: of bytes that resync reads only to look for zeroes
 * @pace: controls @rate, if the user wants that
 * @writing: measures what resync writes to the destination
 * @reading: measures what it reads from the source
 * @retry: a destination that failed is tried again and again
 * @skip: regions that cannot be read are left out
 * @failover: the destination takes over from a source that fails
 * @hints: the user's wish to tell what is zero on the source, until the first resume
 * @pivot: the user wants the destination to take over, and waits: the number of his
 *	message, or 0
 * @pivots: how many such messages there were; protected by @message_lock
 * @pivoted: it has done so
 * @pivot_done: who waits for that
 * @source_stable: what the source was sent before that is stable there; protected by
 *	@message_lock
 * @source_doubtful: a flush of the source has failed, so that nobody knows what it has
 * @used: when the last request of users came, in jiffies
 * @look: the jiffy of which no further request needs a closer look
 * @gap: mean time from one jiffy with a request to the next, in eighths of a jiffy
 * @lost: a mirror has gone whose regions it was to take over; protected by the lock on the
 *	list of mirrors
 * @source_lost: and its source was old, for the destination had taken over; as @lost
 * @active: it has been resumed, so that its state is worth taking over
 * @suspended: resync must not start a job
 * @quiesced: it is suspended, and nothing is in flight; protected by
 *	@message_lock
 * @source_failed: resync stopped on a read error
 * @dest_full: the destination failed because it has no space left; read only
 *	while it is failed
 * @told_in_sync: users know that it is in sync
 * @message_lock: lets one message in at a time, and none while the regions of another
 *	mirror are taken over; taken before any other lock but that of the list of mirrors
 * @state_lock: protects @regions and @verify against being exchanged under the status
 * @no_write_zeroes: the destination has refused REQ_OP_WRITE_ZEROES
 * @no_discard_zeroes: the destination has refused a discard for zeroes
 * @zeroes: a page of zeroes, in a circle so that it has any length
 * @resync: the background
 * @verify: comparisons of the legs
 * @events: bits of &enum zm_event which are to be announced
 * @event_work: announces them; runs on @resync's workqueue, embedded here
 * @sync_work: announces that it is in sync, as @event_work
 * @retry_work: has a destination that failed used again, as @event_work
 * @retries: how often it has done so in vain
 * @event_wq: where these works run
 * @lock: protects @deferred, @held and @zeroing, and changes of @async and @auto_mode
 * @deferred: requests that have begun after a wait, to be submitted
 * @deferred_work: submits them; embedded here
 * @held: requests that have failed on the source, until it is decided whether the
 *	destination takes over
 * @source_work: decides that; embedded here
 * @zeroing: requests that take several to the destination: zeroes and discards
 * @zeroing_work: sends them; embedded here
 * @zero_io: what it allocates its requests from
 * @wq: where @deferred_work, @source_work and @zeroing_work run
 *
 * The switches that a message may change are read without a lock: each request
 * and each job goes by what it sees.
 */
struct zmirror {
	struct dm_target *ti;
	struct list_head list;

	struct zm_leg source;
	struct zm_leg dest;
	const struct zm_leg *truth;
	u32 region_sectors;
	struct zm_regions *regions;
	struct zm_stats stats;

	bool dest_zeroed;
	bool nosync;
	bool prezero;
	bool discard_zeroes;
	enum zm_discard discard;
	bool no_unmap;
	bool zero_detect;
	bool async;
	bool auto_mode;
	bool paused;
	u32 jobs;
	struct zm_rate rate;
	struct zm_rate scan_rate;
	struct zm_pace pace;
	struct zm_meter writing;
	struct zm_meter reading;
	bool retry;
	bool skip;
	bool failover;
	bool hints;
	u32 pivot;
	u32 pivots;
	bool pivoted;
	bool source_stable;
	bool source_doubtful;
	wait_queue_head_t pivot_done;

	unsigned long used;
	unsigned long look;
	u32 gap;
	bool lost;
	bool source_lost;
	bool active;
	bool suspended;
	bool quiesced;
	u32 source_failed;		/* not all machines exchange a byte */
	bool dest_full;
	bool told_in_sync;
	struct mutex message_lock;	/* one message at a time */
	struct mutex state_lock;	/* against a take-over */

	bool no_write_zeroes;
	bool no_discard_zeroes;
	struct page_list zeroes;

	struct zm_resync *resync;
	struct zm_verify *verify;

	unsigned long events;
	struct work_struct event_work;
	struct work_struct sync_work;
	struct delayed_work retry_work;
	unsigned int retries;
	struct workqueue_struct *event_wq;

	spinlock_t lock;		/* protects deferred, held and zeroing */
	struct bio_list deferred;
	struct work_struct deferred_work;
	struct bio_list held;
	struct delayed_work source_work;
	struct list_head zeroing;
	struct work_struct zeroing_work;
	struct dm_io_client *zero_io;
	struct workqueue_struct *wq;
};

/**
 * zm_auto_async - resync gets into async mode, or ends it
 * @zm: the mirror; nothing is done if its mode is not auto any more
 * @async: the mode
 *
 * Context: may sleep; takes the mirror's lock.
 */
void zm_auto_async(struct zmirror *zm, bool async);

/**
 * zm_block_sectors - the logical block of a mirror
 * @zm: the mirror
 *
 * Context: any.
 * Return: that of the leg whose block is larger, in sectors.
 */
u32 zm_block_sectors(const struct zmirror *zm);

/**
 * zm_event - have something announced to user space
 * @zm: the mirror
 * @event: what happened
 *
 * Context: any.
 */
void zm_event(struct zmirror *zm, enum zm_event event);

/**
 * zm_dest_error - a request to the destination has failed
 * @zm: the mirror
 * @generation: that of the operation or of the flush to which it belonged
 * @status: how it has ended; BLK_STS_NOSPC when the destination is full
 *
 * Context: any.
 */
void zm_dest_error(struct zmirror *zm, u32 generation, blk_status_t status);

/**
 * zm_op_ended - act upon what the end of an operation told
 * @zm: the mirror
 * @ended: mask of ZM_ENDED_*
 *
 * Context: any.
 */
void zm_op_ended(struct zmirror *zm, unsigned int ended);

/**
 * zm_retry_later - try a destination that failed again, after a while
 * @zm: the mirror
 *
 * Does nothing without ``on_dest_error:retry``, while it is suspended, or when the
 * destination is well.
 *
 * Context: any.
 */
void zm_retry_later(struct zmirror *zm);

/**
 * zm_attach - use a destination again that has failed
 * @zm: the mirror, whose event_work has ended: what was lost is known
 *
 * Context: any.
 */
void zm_attach(struct zmirror *zm);

#endif
