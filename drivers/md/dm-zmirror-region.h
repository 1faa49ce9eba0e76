/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Regions, chunks and operations: what a zmirror knows of its destination.
 *
 * A region is the unit of tracking. It has a dirty bit (the destination may
 * differ from the source) and a zero bit (the whole destination region is
 * known to read as zeroes, and nothing else is on its way to it). A chunk is
 * 64 regions, whose bits share one word; no operation crosses a chunk.
 *
 * Each write, zeroing, discard and copy job is an operation on one chunk. It
 * is begun before its first I/O is submitted and ended after its last I/O has
 * ended; the bits change only in between those two calls, and are only ever
 * wrong on the safe side: dirty though equal, not zero though zero.
 *
 * This module does no I/O and knows nothing of bios. It is built for user
 * space too, where tools/testing/region drives it.
 */
#ifndef DM_ZMIRROR_REGION_H
#define DM_ZMIRROR_REGION_H

#include <linux/list.h>
#include <linux/types.h>

#define ZM_CHUNK_SHIFT		6
#define ZM_CHUNK_REGIONS	64U

#define ZM_MIN_REGION_SECTORS	8U		/* 4 KiB */
#define ZM_MAX_REGION_SECTORS	2097152U	/* 1 GiB */
#define ZM_MAX_REGIONS		268435456U	/* 2^28 */

/* The legs, as bits of a mask. */
#define ZM_SOURCE		1U
#define ZM_DEST			2U

enum zm_op_kind {
	ZM_OP_WRITE,
	ZM_OP_ZEROES,		/* what is written reads as zero */
	ZM_OP_DISCARD,
	ZM_OP_COPY,		/* source to destination, by resync */
};

/**
 * struct zm_op - an operation on one chunk
 * @start: first sector, counted from the start of the mirror
 * @end: the sector after the last one
 * @kind: what the operation does
 * @droppable: a zeroing that may be dropped where both legs read as zeroes:
 *	it neither provisions blocks (REQ_NOUNMAP) nor asks for stable storage
 * @source_only: the destination is not to be written by this operation (async
 *	mode, or the destination cannot do what is asked)
 * @pass: a discard after which the legs need not read the same
 * @legs: the legs it goes to, decided by zm_op_begin()
 * @hold: a copy for the sake of which writes to its regions wait
 * @dirtied: its begin made a clean region dirty
 * @skipped: zeroes which the destination is known to have already
 * @verify: of a copy: it only looks, see zm_verify_hold()
 * @frozen: it waits for zm_thaw(), besides its blockers
 * @generation: the destination's failure count when the operation began
 * @blockers: earlier operations that this one waits for
 * @chunk: the chunk it is on
 * @touch: regions of the chunk of which it covers any sector
 * @raced: regions that another operation touched at the same time
 * @known_zero: of a copy or a discard, the regions whose zero bits were set when
 *	it began; the destination is not discarded there
 * @node: place among the bucket's operations in flight
 * @list: place among those that wait
 * @next: the next operation that began in the same moment, after a wait
 *
 * The caller sets @start, @end, @kind, @droppable, @source_only and @pass before
 * zm_op_begin(); the rest belongs to this module. @legs, @dirtied, @skipped and
 * @generation may be read once the operation has begun; of a copy or a discard
 * @start, @end, @chunk, @touch and @known_zero too.
 */
struct zm_op {
	sector_t start;
	sector_t end;

	u8 kind;
	bool droppable;
	bool source_only;
	bool pass;
	bool hold;
	bool dirtied;
	bool skipped;
	bool verify;
	bool frozen;
	u8 legs;
	u32 generation;
	u32 blockers;
	u32 chunk;

	u64 touch;
	u64 raced;
	u64 known_zero;

	union {
		struct hlist_node node;
		struct list_head list;
	};
	struct zm_op *next;
};

/**
 * struct zm_flush - a flush of the destination
 * @epoch: writes that ended in this epoch or before are stable once it succeeds
 * @generation: the destination's failure count when the flush began
 */
struct zm_flush {
	u32 epoch;
	u32 generation;
};

struct zm_regions;

/**
 * typedef zm_ready_fn - called when an operation that had to wait has begun
 * @op: the operation; its legs are decided
 *
 * Context: that of the zm_op_end() or zm_copy_end() which let it go, so
 * possibly an interrupt. No lock is held.
 */
typedef void (*zm_ready_fn)(struct zm_op *op);

/* What zm_op_end() and zm_copy_end() tell, as bits of a mask. */
#define ZM_ENDED_DIRTY		1U	/* a region has become free to copy */
#define ZM_ENDED_IN_SYNC	2U	/* the last dirty region became clean */

/**
 * zm_regions_create - make the region state of a mirror
 * @len: length of the mirror, in sectors, not zero
 * @region_sectors: length of a region, in sectors: a power of two from
 *	ZM_MIN_REGION_SECTORS to ZM_MAX_REGION_SECTORS, such that there are at
 *	most ZM_MAX_REGIONS regions
 * @dirty: whether the regions start dirty
 * @zero: whether the zero bits start set
 * @dev: number of the mirror's device, for the tracepoints
 * @ready: called for each operation that begins after a wait
 *
 * Context: may sleep.
 * Return: the state, or NULL when out of memory.
 */
struct zm_regions *zm_regions_create(sector_t len, u32 region_sectors,
				     bool dirty, bool zero, u32 dev,
				     zm_ready_fn ready);

/**
 * zm_regions_destroy - free the region state
 * @zr: the state; no operation is in flight or waiting. NULL is ignored.
 *
 * Context: may sleep.
 */
void zm_regions_destroy(struct zm_regions *zr);

/**
 * zm_regions_total - how many regions there are
 * @zr: the state
 *
 * Context: any.
 * Return: number of regions.
 */
u32 zm_regions_total(const struct zm_regions *zr);

/**
 * zm_regions_dirty - how many regions are dirty
 * @zr: the state
 *
 * Context: any.
 * Return: number of regions.
 */
u32 zm_regions_dirty(const struct zm_regions *zr);

/**
 * zm_regions_zero - how many regions are known to read as zeroes
 * @zr: the state
 *
 * Context: any.
 * Return: number of regions.
 */
u32 zm_regions_zero(const struct zm_regions *zr);

/**
 * zm_regions_unread - how many regions could not be read, and are left out
 * @zr: the state
 *
 * Context: any.
 * Return: number of regions.
 */
u32 zm_regions_unread(const struct zm_regions *zr);

/**
 * enum zm_which - a kind of region
 * @ZM_DIRTY: the destination may differ
 * @ZM_ZERO: the destination is known to read as zeroes
 * @ZM_UNREAD: dirty, and no copy takes it, for the source could not be read
 */
enum zm_which { ZM_DIRTY, ZM_ZERO, ZM_UNREAD };

/**
 * zm_regions_next - find neighbouring regions of a kind
 * @zr: the state
 * @which: the kind
 * @first: where to start to look, a region; the first one found is stored here
 * @end: where to end, at most the number of regions
 *
 * Context: any. No lock is taken: what changes meanwhile is seen or not.
 * Return: the region after the last one of the run, or 0 when there is none.
 */
u32 zm_regions_next(const struct zm_regions *zr, enum zm_which which,
		    u32 *first, u32 end);

/**
 * zm_words_next - find neighbouring regions in a bitmap
 * @words: one word for each chunk, or NULL for an empty bitmap
 * @first: where to start to look, a region; the first one found is stored here
 * @end: where to end, at most the number of regions
 *
 * Context: any. No lock is taken.
 * Return: as zm_regions_next().
 */
u32 zm_words_next(const u64 *words, u32 *first, u32 end);

/**
 * zm_chunk_end - where the chunk of a sector ends
 * @zr: the state
 * @sector: a sector of the mirror
 *
 * Context: any.
 * Return: the first sector after the chunk, or the length of the mirror.
 */
sector_t zm_chunk_end(const struct zm_regions *zr, sector_t sector);

/**
 * zm_zeroes_end - how far zeroes reach that are of one kind
 * @zr: the state
 * @start: first sector that is to be zeroed
 * @end: the sector after the last one, in the same chunk
 *
 * Zeroes that are cut here leave no region out that is not known to be zero,
 * and zero none that is.
 *
 * Context: any. No lock is taken, so the answer is a hint: what becomes of the
 * zeroes is decided by zm_op_begin().
 * Return: @end, or the sector before it where regions that are known to be zero
 * meet others.
 */
sector_t zm_zeroes_end(const struct zm_regions *zr, sector_t start,
		       sector_t end);

/**
 * zm_region_range - the sectors of a region
 * @zr: the state
 * @chunk: a chunk
 * @bit: number of the region in it
 * @start: the region's first sector is stored here
 * @end: the sector after its last one is stored here
 *
 * Context: any.
 */
void zm_region_range(const struct zm_regions *zr, u32 chunk, unsigned int bit,
		     sector_t *start, sector_t *end);

/**
 * zm_op_begin - begin a write, a zeroing or a discard
 * @zr: the state
 * @op: the operation, from @op->start to @op->end, within one chunk
 *
 * Writes whose sectors overlap are let through one after another, so that both
 * legs see them in the same order, and a held copy is let through before the
 * writes that came after it. On success @op->legs says where to send the I/O;
 * with no leg at all the operation is complete and zm_op_end() must not be
 * called. Else the caller submits the I/O and calls zm_op_end() when all legs
 * have ended.
 *
 * Context: any with interrupts on, takes the bucket's lock with interrupts
 * off.
 * Return: true when it has begun; false when it waits: the ready function is
 * called once it has begun, perhaps before this function returns, so that the
 * caller must not touch @op any more.
 */
bool zm_op_begin(struct zm_regions *zr, struct zm_op *op);

/**
 * zm_op_end - end a write, a zeroing or a discard
 * @zr: the state
 * @op: the operation, which had begun with a leg to go to
 * @failed: mask of the legs that failed
 *
 * Calls the ready function for each operation that this one was the last to
 * hold up. @op may be freed once this function returns.
 *
 * Context: any, takes the bucket's lock with interrupts off.
 * Return: mask of ZM_ENDED_*.
 */
unsigned int zm_op_end(struct zm_regions *zr, struct zm_op *op,
		       unsigned int failed);

/**
 * zm_next_dirty_chunk - find the next chunk with a dirty region
 * @zr: the state
 * @chunk: where to start to look
 *
 * Context: any. No lock is taken, so the answer is a hint.
 * Return: its number, or the number of chunks when there is none.
 */
u32 zm_next_dirty_chunk(const struct zm_regions *zr, u32 chunk);

/**
 * zm_copy_begin - begin a copy of neighbouring dirty regions
 * @zr: the state
 * @op: the operation, all of which is set here
 * @chunk: the chunk to look in
 * @from: number of the first region to consider in it
 * @max: most regions to take; the run ends where a multiple of it does
 *
 * Takes the first run of dirty regions that no other copy has taken, that are
 * not left out, and on which no discard is in flight. The
 * caller reads and writes them and calls zm_copy_end().
 *
 * Context: any, takes the bucket's lock with interrupts off.
 * Return: true when it has begun, false when there is nothing to copy or the
 * destination has failed.
 */
bool zm_copy_begin(struct zm_regions *zr, struct zm_op *op, u32 chunk,
		   unsigned int from, unsigned int max);

/**
 * enum zm_again - what zm_copy_again() did
 * @ZM_AGAIN_NONE: nothing: the region is clean, or taken by another copy, or
 *	the destination has failed
 * @ZM_AGAIN_BEGUN: the copy has begun
 * @ZM_AGAIN_WAITS: the copy waits; the ready function is called once it begins
 */
enum zm_again { ZM_AGAIN_NONE, ZM_AGAIN_BEGUN, ZM_AGAIN_WAITS };

/**
 * zm_prezero_begin - begin to zero neighbouring regions of the destination
 * @zr: the state
 * @op: the operation, all of which is set here
 * @chunk: the chunk to look in
 * @from: number of the first region to consider in it
 * @max: most regions to take
 * @next: take nothing unless region @from itself is to be zeroed
 *
 * Takes the first run of regions that are dirty, so that nothing is lost on the
 * destination, and not known to be zero. To everybody else this is a copy. The
 * caller zeroes them on the destination and calls zm_prezero_end().
 *
 * Context: any, takes the bucket's lock with interrupts off.
 * Return: true when it has begun, false when there is nothing to zero or the
 * destination has failed.
 */
bool zm_prezero_begin(struct zm_regions *zr, struct zm_op *op, u32 chunk,
		      unsigned int from, unsigned int max, bool next);

/**
 * zm_prezero_end - end a zeroing that zm_prezero_begin() began
 * @zr: the state
 * @op: the operation
 * @zeroed: whether the destination reads as zeroes there, whole
 *
 * The regions stay dirty, and those on which it was alone are known to be zero.
 * Calls the ready function as zm_copy_end() does.
 *
 * Context: any, takes the bucket's lock with interrupts off.
 */
void zm_prezero_end(struct zm_regions *zr, struct zm_op *op, bool zeroed);

/**
 * zm_copy_again - begin the second copy of a region whose first copy raced
 * @zr: the state
 * @op: the operation, all of which is set here
 * @chunk: the chunk
 * @bit: number of the region in it
 *
 * The copy begins when the operations on the region that came before it have
 * ended; those that come after it wait until it has ended.
 *
 * Context: any, takes the bucket's lock with interrupts off.
 * Return: see &enum zm_again.
 */
enum zm_again zm_copy_again(struct zm_regions *zr, struct zm_op *op, u32 chunk,
			    unsigned int bit);

/**
 * zm_verify_hold - let nobody write to a clean region for a while
 * @zr: the state
 * @op: the operation, all of which is set here
 * @region: the region
 *
 * As a second copy: it begins when the operations on the region that came before
 * it have ended, and those that come after it wait until zm_verify_release().
 *
 * Context: any, takes the bucket's lock with interrupts off.
 * Return: see &enum zm_again; ZM_AGAIN_NONE when the region is dirty, under copy,
 * or the destination has failed.
 */
enum zm_again zm_verify_hold(struct zm_regions *zr, struct zm_op *op,
			     u32 region);

/**
 * zm_verify_release - let writes to a region go on
 * @zr: the state
 * @op: set by zm_verify_hold(), begun
 * @copy: have the region copied again, for the legs differ
 *
 * Context: any, takes the bucket's lock with interrupts off.
 * Return: mask of ZM_ENDED_*: ZM_ENDED_DIRTY also when what came before it has made the
 * region dirty.
 */
unsigned int zm_verify_release(struct zm_regions *zr, struct zm_op *op,
			       bool copy);

/**
 * enum zm_mark - what a user knows of regions
 * @ZM_MARK_DIRTY: the legs may differ
 * @ZM_MARK_CLEAN: the legs read the same
 * @ZM_MARK_ZERO: the destination reads as zeroes
 * @ZM_MARK_NONZERO: the destination may not read as zeroes
 */
enum zm_mark { ZM_MARK_DIRTY, ZM_MARK_CLEAN, ZM_MARK_ZERO, ZM_MARK_NONZERO };

/**
 * zm_regions_mark - take over what a user knows of regions
 * @zr: the state; with ZM_MARK_CLEAN and ZM_MARK_ZERO no operation is in flight
 * @mark: what he knows
 * @first: the first region
 * @end: the region after the last one, at most the number of regions
 *
 * Context: may sleep; takes the buckets' locks in turn.
 * Return: mask of ZM_ENDED_*.
 */
unsigned int zm_regions_mark(struct zm_regions *zr, enum zm_mark mark,
			     u32 first, u32 end);

/**
 * zm_copy_data - tell that data is about to be written to the destination
 * @zr: the state
 * @op: a copy that has begun
 * @regions: the regions that data goes to
 *
 * To be called before the first write of data to a region is submitted.
 *
 * Context: any, takes the bucket's lock with interrupts off.
 */
void zm_copy_data(struct zm_regions *zr, struct zm_op *op, u64 regions);

/**
 * zm_unread_alloc - be ready to leave out regions
 * @zr: the state
 *
 * Context: may sleep. Calls must not run at the same time.
 * Return: 0, or -ENOMEM.
 */
int zm_unread_alloc(struct zm_regions *zr);

/**
 * zm_unread_take - take over the room for regions that are left out
 * @zr: the state, which may have none
 * @from: a state that is not used any more
 *
 * Context: no operation is in flight on either.
 */
void zm_unread_take(struct zm_regions *zr, struct zm_regions *from);

/**
 * zm_copy_unread - leave regions out that could not be read
 * @zr: the state, with zm_unread_alloc() called
 * @op: a copy that is about to end
 * @regions: the regions; not those on which somebody raced with the copy, who may
 *	have made them readable
 *
 * They stay dirty, and no copy takes them until they have become clean by a
 * write, or zm_unread_forget() is called.
 *
 * Context: any, takes the bucket's lock with interrupts off.
 * Return: how many of them were not left out before.
 */
u32 zm_copy_unread(struct zm_regions *zr, struct zm_op *op, u64 regions);

/**
 * zm_unread_forget - leave out no region any more
 * @zr: the state
 *
 * Context: may sleep; takes the buckets' locks in turn.
 */
void zm_unread_forget(struct zm_regions *zr);

/**
 * zm_read_dest - whether sectors may be read from the destination instead
 * @zr: the state
 * @op: has the sectors, in @op->start and @op->end, of any number of chunks;
 *	@op->generation is set here
 *
 * To be asked when the read is about to be submitted. No lock is taken: a write
 * that comes after this is asked is one at the same time as the read, and one
 * that has ended before has made its regions dirty before, should it not have
 * reached the destination.
 *
 * Context: any.
 * Return: true when all its regions are clean, and the destination is well; or the
 * destination is the truth.
 */
bool zm_read_dest(const struct zm_regions *zr, struct zm_op *op);

/**
 * zm_read_dest_end - whether what was read from the destination counts
 * @zr: the state
 * @op: as set by zm_read_dest()
 *
 * Context: any.
 * Return: true unless the destination has failed meanwhile, and is not the truth.
 */
bool zm_read_dest_end(const struct zm_regions *zr, const struct zm_op *op);

/**
 * zm_copy_end - end a copy
 * @zr: the state
 * @op: the copy
 * @copied: the regions that now read on the destination as the source read
 *	while the copy was in flight
 * @zeroes: those of @copied that read as zeroes, whole
 * @raced: the regions of @copied that must be copied again are stored here
 *
 * Regions that were touched but are not in @copied stay dirty; a failure of the
 * destination is told to zm_dest_fail() before. Calls the ready
 * function for each operation that this one was the last to hold up.
 *
 * Context: any, takes the bucket's lock with interrupts off.
 * Return: mask of ZM_ENDED_*.
 */
unsigned int zm_copy_end(struct zm_regions *zr, struct zm_op *op, u64 copied,
			 u64 zeroes, u64 *raced);

/**
 * zm_changed_alloc - from now on, keep in mind which regions users change
 * @zr: the state, not in use yet
 *
 * Context: may sleep.
 * Return: 0 or -ENOMEM.
 */
int zm_changed_alloc(struct zm_regions *zr);

/**
 * zm_changed_known - whether it is known which regions users have changed
 * @zr: the state
 *
 * Context: any.
 * Return: true after zm_changed_alloc().
 */
bool zm_changed_known(const struct zm_regions *zr);

/**
 * zm_hint_zero - users know that regions of the source read as zeroes
 * @zr: the state; zm_changed_known()
 * @first: the first region
 * @end: the region after the last one, more than @first
 * @sectors: is set to the length of what became clean
 *
 * They did so when the mirror was resumed for the first time, and whoever writes to one
 * of them meanwhile may make it dirty at any moment. A dirty region that the destination
 * is known to have as zeroes becomes clean, unless it was changed.
 *
 * Context: may sleep; takes the buckets' locks in turn.
 * Return: mask of ZM_ENDED_*.
 */
unsigned int zm_hint_zero(struct zm_regions *zr, u32 first, u32 end,
			  sector_t *sectors);

/**
 * zm_flush_begin - a flush of the destination is about to be submitted
 * @zr: the state
 * @flush: filled in here, for zm_flush_end()
 *
 * Context: any.
 */
void zm_flush_begin(struct zm_regions *zr, struct zm_flush *flush);

/**
 * zm_flush_end - a flush of the destination has succeeded
 * @zr: the state
 * @flush: what zm_flush_begin() filled in
 *
 * What had been written to the destination before zm_flush_begin() is stable, unless
 * the destination has failed since.
 *
 * Context: any.
 * Return: false if it has.
 */
bool zm_flush_end(struct zm_regions *zr, const struct zm_flush *flush);

/**
 * zm_flush_needed - whether users have something on the destination to flush
 * @zr: the state
 *
 * Context: any.
 * Return: true when a write of theirs has reached it that is not known to be stable.
 */
bool zm_flush_needed(const struct zm_regions *zr);

/**
 * zm_dest_fail - the destination has failed
 * @zr: the state
 * @generation: of the operation or of the flush that failed
 *
 * From here on nothing is sent to the destination, and no operation that is in
 * flight makes a region clean. A failure from before the last zm_dest_attach()
 * is not held against the destination. The caller, when it was the first to
 * tell, has zm_dest_lost() called in process context.
 *
 * Context: any.
 * Return: true when the destination was well before.
 */
bool zm_dest_fail(struct zm_regions *zr, u32 generation);

/**
 * zm_dest_lost - take for lost what a failed destination had not flushed
 * @zr: the state
 *
 * A destination that failed may have lost what lay in its volatile cache, so
 * the chunks written since the last successful flush become dirty and none of
 * their regions is known to be zero any longer.
 *
 * Context: may sleep; takes the buckets' locks in turn.
 * Return: true when a clean region became dirty.
 */
bool zm_dest_lost(struct zm_regions *zr);

/**
 * zm_dest_attach - the destination is to be used again
 * @zr: the state
 *
 * Does nothing as long as zm_dest_lost() has not ended since the destination failed.
 *
 * Context: any.
 */
void zm_dest_attach(struct zm_regions *zr);

/**
 * zm_dest_failed - whether the destination has failed and is not used
 * @zr: the state
 *
 * Context: any.
 * Return: true when it has failed.
 */
bool zm_dest_failed(const struct zm_regions *zr);

/**
 * zm_freeze - let no operation begin for a while
 * @zr: the state
 *
 * Requests that come from here on wait for zm_thaw(), and copies do not begin. What
 * waits already for others goes on when they end.
 *
 * Context: any, takes the buckets' locks in turn, with interrupts off. Calls of this
 * and of zm_thaw() must not run at the same time.
 */
void zm_freeze(struct zm_regions *zr);

/**
 * zm_frozen - whether no operation begins
 * @zr: the state
 *
 * Context: any.
 * Return: true from zm_freeze() to zm_thaw().
 */
bool zm_frozen(const struct zm_regions *zr);

/**
 * zm_in_flight - how many operations are in flight
 * @zr: the state
 *
 * Context: may sleep; takes the buckets' locks in turn.
 * Return: their number; exact if it does not change meanwhile.
 */
u32 zm_in_flight(struct zm_regions *zr);

/**
 * zm_source_leave - do without the source
 * @zr: the state, frozen; no region is dirty, and the destination is well
 *
 * From here on the destination is the truth: all goes there and nowhere else, and a
 * dirty region is one that the source may not have.
 *
 * Context: any.
 */
void zm_source_leave(struct zm_regions *zr);

/**
 * zm_thaw - let operations begin again
 * @zr: the state, frozen
 *
 * Calls the ready function for each operation that has waited for it.
 *
 * Context: may sleep; takes the buckets' locks in turn.
 */
void zm_thaw(struct zm_regions *zr);

/**
 * zm_source_gone - whether the destination is the truth
 * @zr: the state
 *
 * Context: any.
 * Return: true after zm_source_leave().
 */
bool zm_source_gone(const struct zm_regions *zr);

/**
 * zm_legs_exchange - the destination is the source from now on, and the source follows
 * @zr: the state, after zm_source_leave(); nothing is in flight
 *
 * What was written since zm_source_leave() is dirty and what is not is equal, if the
 * old source had made stable what it was sent before. Regions without changes are not
 * known any more, see zm_changed_alloc().
 *
 * Context: may sleep.
 */
void zm_legs_exchange(struct zm_regions *zr);

#endif
