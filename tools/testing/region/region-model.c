// SPDX-License-Identifier: GPL-2.0-only
/*
 * A randomized model test of dm-zmirror-region.c: two simulated legs, random
 * requests and copies whose sectors reach the legs in any order, errors, flushes
 * and power cuts; the rules of the mirror are checked after every step.
 *
 *	region-model [-n STEPS] [-s SEED]
 *
 * The rules, by the numbers that a failure names:
 *	1	a clean region on which nothing is in flight reads the same on both legs
 *	2	a region whose zero bit is set reads as zeroes on the destination,
 *		and nothing else is on its way there
 *	3	a region is dirty before a write for the source alone is submitted,
 *		and becomes clean only by what makes the legs equal again
 *	4	no request waits but for a reason, none is overtaken by a later one,
 *		and all end
 *	5	when everything has been copied, the legs are equal, and it is said so
 *	6	nothing is allocated once the state has been made
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/random.h>

/* The module itself, so that its bits can be looked at. */
#include "../../../drivers/md/dm-zmirror-region.c"

int shim_locks;
void (*shim_before_lock)(void);
unsigned long shim_allocs;
long shim_fail_at;

#define MAX_REGIONS	192
#define MAX_REGION	32
#define MAX_SECTORS	(MAX_REGIONS * MAX_REGION)
#define MAX_CHUNKS	(MAX_REGIONS / 64)
#define MAX_WRITES	10
#define MAX_COPIES	4
#define MAX_FLUSHES	3
#define MAX_SPAN	24	/* sectors that one step moves, at most */
#define TRACE		48

/*
 * ------------------------------------------------------------------------
 * The world
 * ------------------------------------------------------------------------
 */

enum phase {
	FREE,
	WAITING,	/* held up by the region module */
	MOVING,		/* its sectors go to the legs, or are read */
	WRITING,	/* a copy has read and writes */
};

/* A request of the foreground. */
struct request {
	struct zm_op op;
	enum phase phase;
	u64 serial;		/* in the order in which they came */
	u16 value;		/* what it writes */
	u32 done[2];		/* sectors that have reached each leg */
	u32 stride;		/* the order in which they do */
	bool fails[2];
	bool declines;		/* the destination fails, but is not broken */
	bool changes;		/* the payload is rewritten in flight */
	bool frozen;		/* it came while the module was frozen */
	u64 mixed;		/* regions on which it was not alone */
};

/* A job of resync. */
struct copy {
	struct zm_op op;
	enum phase phase;
	u64 serial;
	u32 done;
	u32 stride;
	bool prezero;		/* it only zeroes the destination */
	bool looks;		/* it only compares */
	bool read_fails;
	bool write_fails;
	u64 mixed;
	u64 marked;		/* of these, those that the user has marked meanwhile */
	u64 data;		/* regions with data in them, once read */
	u64 again;		/* regions that raced */
	u32 again_chunk;
	u16 *buffer;
};

struct flush {
	bool used;
	struct zm_flush flush;
	u64 time;
	u16 content[MAX_SECTORS];
};

static struct {
	struct zm_regions *zr;
	u32 len;		/* sectors */
	u32 region;
	u32 regions;
	u32 chunks;

	u16 leg[2][MAX_SECTORS];	/* source, destination */
	u16 stable[MAX_SECTORS];	/* what a power cut leaves */
	u64 stable_time;
	u64 used_time;			/* a request has ended there */
	u64 flushed_time;		/* the last flush of it has begun */

	/* What the checks go by, kept up to date as sectors change. */
	u16 differ[MAX_REGIONS];	/* sectors that differ */
	u16 nonzero[MAX_REGIONS];	/* sectors of the destination */
	u16 busy[MAX_REGIONS];		/* operations in flight */
	u16 data_coming[MAX_REGIONS];	/* of these, with data for the destination */
	u64 differ_mask[MAX_CHUNKS];
	u64 nonzero_mask[MAX_CHUNKS];
	u64 busy_mask[MAX_CHUNKS];
	u64 coming_mask[MAX_CHUNKS];
	u64 was_zero[MAX_CHUNKS];	/* the source, when it began */

	struct request requests[MAX_WRITES];
	struct copy copies[MAX_COPIES];
	struct flush flushes[MAX_FLUSHES];
	u16 buffers[MAX_COPIES][64 * MAX_REGION];
	u64 serial;
	u64 time;
	u16 value;

	bool down;		/* the destination fails everything */
	bool unnoticed;		/* it has lost data, and nobody knows */
	bool frozen;		/* no operation begins */
	bool gone;		/* the source is, and nothing goes there */
	bool lost_due;		/* zm_dest_lost() has not been called yet */
	u32 cursor;
} w;

static u64 seed, rng, step;

/* What has happened, for the coverage at the end. */
enum {
	N_WRITE, N_ZEROES, N_DISCARD, N_NOOP, N_SKIP, N_SOURCE_ONLY, N_BOTH,
	N_WAIT, N_COPY, N_PREZERO, N_AGAIN, N_AGAIN_WAITS, N_ZERO_SET, N_ZERO_CLEAR,
	N_SOURCE_ERROR, N_DEST_ERROR, N_DECLINED, N_CHANGED, N_READ_ERROR,
	N_COPY_ERROR, N_FLUSH, N_FLUSH_ERROR, N_CUT, N_LOST, N_ATTACH,
	N_FREEZE, N_OVER, N_GONE, N_EXCHANGE, N_HINT,
	N_HINTED, N_VERIFY, N_MARK, N_UNREAD, N_FORGET,
	N_READ_DEST, N_READ_NOT, N_STALE, N_IN_SYNC, N_DRAIN, N_EPISODE,
	N_COUNTS
};

static const char * const count_names[N_COUNTS] = {
	"writes", "zeroes", "discards", "no-ops", "skips", "source only",
	"both legs", "waits", "copies", "zeroings", "second copies",
	"held copies that wait",
	"zero bits set", "zero bits cleared", "source errors",
	"destination errors", "declined", "payloads changed", "read errors",
	"copy errors", "flushes", "flush errors", "power cuts", "losses",
	"attached", "freezes", "sources gone", "requests without them",
	"legs exchanged", "hints", "regions clean by hints",
	"regions compared", "marks", "left out", "not left out any more",
	"reads of the destination", "reads it must not serve", "stale ends",
	"in sync", "drains", "episodes",
};

static u64 counts[N_COUNTS];

static char trace[TRACE][128];
static u64 traced;

__attribute__((format(printf, 1, 2)))
static void note(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(trace[traced++ % TRACE], sizeof(trace[0]), format, args);
	va_end(args);
}

__attribute__((format(printf, 2, 3), noreturn))
static void broken(int rule, const char *format, ...)
{
	va_list args;
	u64 i;

	printf("# rule %d is broken in step %llu of seed %llu: ", rule,
	       (unsigned long long)step, (unsigned long long)seed);
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	printf("\n# %u sectors in %u regions of %u; what came before:\n",
	       w.len, w.regions, w.region);
	for (i = traced > TRACE ? traced - TRACE : 0; i < traced; i++)
		printf("#   %s\n", trace[i % TRACE]);
	printf("not ok 1 - region-model -s %llu\n", (unsigned long long)seed);
	exit(1);
}

/* xorshift64*, by Marsaglia and Vigna */
static u64 random64(void)
{
	rng ^= rng >> 12;
	rng ^= rng << 25;
	rng ^= rng >> 27;
	return rng * 0x2545f4914f6cdd1dULL;
}

static u32 below(u32 n)
{
	return (u64)(u32)(random64() >> 32) * n >> 32;
}

static bool one_in(u32 n)
{
	return !below(n);
}

/*
 * ------------------------------------------------------------------------
 * Sectors
 * ------------------------------------------------------------------------
 */

static void mark(u64 *masks, u32 region, bool on)
{
	if (on)
		masks[region / 64] |= BIT_ULL(region % 64);
	else
		masks[region / 64] &= ~BIT_ULL(region % 64);
}

static void put(int leg, u32 sector, u16 value)
{
	u32 r = sector / w.region;

	w.differ[r] -= w.leg[0][sector] != w.leg[1][sector];
	w.nonzero[r] -= !!w.leg[1][sector];
	w.leg[leg][sector] = value;
	w.differ[r] += w.leg[0][sector] != w.leg[1][sector];
	w.nonzero[r] += !!w.leg[1][sector];
	mark(w.differ_mask, r, w.differ[r]);
	mark(w.nonzero_mask, r, w.nonzero[r]);
}

static void add_to(u16 *in, u64 *masks, u32 chunk, u64 regions, int n)
{
	for (; regions; regions &= regions - 1) {
		u32 r = chunk * 64 + __ffs64(regions);

		in[r] += n;
		mark(masks, r, in[r]);
	}
}

static void set_busy(const struct zm_op *op, int n)
{
	add_to(w.busy, w.busy_mask, op->chunk, op->touch, n);
}

/* The regions that data is on its way to on the destination. */
static u64 coming(const struct zm_op *op)
{
	if (!(op->legs & ZM_DEST) || op->kind == ZM_OP_ZEROES)
		return 0;
	return op->kind == ZM_OP_DISCARD ? op->touch & ~op->known_zero :
					   op->touch;
}

static void set_coming(u32 chunk, u64 regions, int n)
{
	add_to(w.data_coming, w.coming_mask, chunk, regions, n);
}

/* The order of sectors: a stride that has no divisor in common with their number. */
static u32 random_stride(u32 n)
{
	static const u32 primes[] = { 1, 7919, 6841, 5501, 104729 };

	return primes[below(ARRAY_SIZE(primes))] % n ?: 1;
}

static u32 gcd(u32 a, u32 b)
{
	return b ? gcd(b, a % b) : a;
}

static u32 pick_stride(u32 n)
{
	u32 stride = random_stride(n);

	return gcd(stride, n) == 1 ? stride : 1;
}

/*
 * ------------------------------------------------------------------------
 * The rules
 * ------------------------------------------------------------------------
 */

static void check(void)
{
	u32 chunk, dirty = 0, zero = 0, unread = 0;

	for (chunk = 0; chunk < w.chunks; chunk++) {
		u64 d = w.zr->dirty[chunk], z = w.zr->zero[chunk];
		u64 bad;

		if (w.zr->unread) {
			unread += hweight64(w.zr->unread[chunk]);
			if (w.zr->unread[chunk] & ~d)
				broken(5, "chunk %u has clean regions that are left out",
				       chunk);
		}
		dirty += hweight64(d);
		zero += hweight64(z);
		if ((d | z) & ~zm_chunk_mask(w.zr, chunk))
			broken(5, "chunk %u has bits past its end", chunk);
		if (!d == test_bit(chunk, w.zr->dirty_chunks))
			broken(5, "the index of dirty chunks is wrong at %u",
			       chunk);
		bad = z & w.coming_mask[chunk];
		if (bad)
			broken(2, "data is on its way to zero region %u",
			       chunk * 64 + __ffs64(bad));
		if (w.unnoticed)
			continue;
		bad = w.differ_mask[chunk] & ~d & ~w.busy_mask[chunk];
		if (bad)
			broken(1, "clean region %u differs",
			       chunk * 64 + __ffs64(bad));
		bad = z & w.nonzero_mask[chunk];
		if (bad)
			broken(2, "zero region %u is not zero",
			       chunk * 64 + __ffs64(bad));
	}
	if (dirty != zm_regions_dirty(w.zr) || zero != zm_regions_zero(w.zr))
		broken(5, "%u dirty and %u zero regions are counted as %u and %u",
		       dirty, zero, zm_regions_dirty(w.zr),
		       zm_regions_zero(w.zr));
	if (unread != zm_regions_unread(w.zr))
		broken(5, "%u regions are left out, and counted as %u", unread,
		       zm_regions_unread(w.zr));
	if (zm_flush_needed(w.zr) !=
	    (w.used_time && w.used_time >= w.flushed_time))
		broken(4, "a flush is%s needed",
		       zm_flush_needed(w.zr) ? " not" : "");
	if (shim_locks)
		broken(4, "a lock is held");
}

/* The bits as they were before a call, and what became of them since. */
static u64 old_dirty[MAX_CHUNKS], old_zero[MAX_CHUNKS];
static u32 old_nr;

static void remember(void)
{
	memcpy(old_dirty, w.zr->dirty, w.chunks * sizeof(u64));
	memcpy(old_zero, w.zr->zero, w.chunks * sizeof(u64));
	old_nr = zm_regions_dirty(w.zr);
}

/*
 * After a call: no region became clean but @clean, and none known to be zero
 * but @zero, all in @chunk.
 */
static void check_bits(u32 chunk, u64 clean, u64 zero, const char *by)
{
	u32 c;

	for (c = 0; c < w.chunks; c++) {
		u64 cleaned = old_dirty[c] & ~w.zr->dirty[c];
		u64 zeroed = w.zr->zero[c] & ~old_zero[c];

		counts[N_ZERO_SET] += hweight64(zeroed);
		counts[N_ZERO_CLEAR] += hweight64(old_zero[c] & ~w.zr->zero[c]);
		if (cleaned & ~(c == chunk ? clean : 0))
			broken(3, "%s cleans regions %#llx of chunk %u, not just %#llx",
			       by, (unsigned long long)cleaned, c,
			       (unsigned long long)clean);
		if (zeroed & ~(c == chunk ? zero : 0))
			broken(2, "%s makes regions %#llx of chunk %u known zero, not just %#llx",
			       by, (unsigned long long)zeroed, c,
			       (unsigned long long)zero);
	}
}

/*
 * What an end told must be what it did; the end of a discard, that there is
 * something to copy now. Requests that it let go may have made
 * regions dirty as well; what they did is theirs to tell.
 */
static void check_ended(unsigned int ended, u32 let_go, u32 chunk, u64 discarded)
{
	u32 nr = zm_regions_dirty(w.zr);

	if (let_go)
		return;
	if (!!(ended & ZM_ENDED_IN_SYNC) != (old_nr && !nr))
		broken(5, "in sync is told wrongly: %u dirty regions, then %u",
		       old_nr, nr);
	if (!(ended & ZM_ENDED_DIRTY) !=
	    !(nr > old_nr || (discarded & w.zr->dirty[chunk])))
		broken(5, "new dirty regions are told wrongly: %u, then %u",
		       old_nr, nr);
	counts[N_IN_SYNC] += !!(ended & ZM_ENDED_IN_SYNC);
}

/*
 * ------------------------------------------------------------------------
 * Who waits for whom, by the design and not by the module
 * ------------------------------------------------------------------------
 */

static bool in_the_way(const struct zm_op *a, const struct zm_op *b)
{
	bool copies = a->kind == ZM_OP_COPY || b->kind == ZM_OP_COPY;

	if (a->chunk != b->chunk)
		return false;
	if (!copies)
		return a->start < b->end && b->start < a->end;
	return (a->hold || b->hold) && (a->touch & b->touch);
}

typedef u32 (*other_fn)(const struct zm_op *self, u64 serial,
			struct zm_op *other, u64 other_serial, enum phase phase,
			u64 *mixed);

/* Adds up @fn of each operation in flight or waiting, but @self. */
static u32 count_others(const struct zm_op *self, other_fn fn, u64 serial)
{
	u32 i, n = 0;

	for (i = 0; i < MAX_WRITES; i++) {
		struct request *r = &w.requests[i];

		if (r->phase != FREE && &r->op != self)
			n += fn(self, serial, &r->op, r->serial, r->phase,
				&r->mixed);
	}
	for (i = 0; i < MAX_COPIES; i++) {
		struct copy *c = &w.copies[i];

		if (c->phase != FREE && &c->op != self)
			n += fn(self, serial, &c->op, c->serial, c->phase,
				&c->mixed);
	}
	return n;
}

static u32 earlier_in_the_way(const struct zm_op *self, u64 serial,
			      struct zm_op *other, u64 other_serial,
			      enum phase phase, u64 *mixed)
{
	(void)phase;
	(void)mixed;
	return other_serial < serial && in_the_way(self, other);
}

static u64 mixed_here;

static u32 mix(const struct zm_op *self, u64 serial, struct zm_op *other,
	       u64 other_serial, enum phase phase, u64 *mixed)
{
	u64 both = other->chunk == self->chunk ? other->touch & self->touch : 0;

	(void)serial;
	(void)other_serial;
	if (phase == WAITING || !both)
		return 0;
	if (in_the_way(self, other))
		broken(4, "two operations overlap in flight in chunk %u",
		       self->chunk);
	if (self->kind == ZM_OP_COPY && other->kind == ZM_OP_COPY)
		broken(4, "two copies of regions %#llx of chunk %u",
		       (unsigned long long)both, self->chunk);
	*mixed |= both;
	mixed_here |= both;
	return 1;
}

/* An operation has begun: nothing may be in its way. Returns the mixed regions. */
static u64 begun(struct zm_op *op, u64 serial)
{
	if (count_others(op, earlier_in_the_way, serial))
		broken(4, "an operation on chunk %u has not waited", op->chunk);
	mixed_here = 0;
	count_others(op, mix, serial);
	return mixed_here;
}

static void waits(struct zm_op *op, u64 serial)
{
	counts[N_WAIT]++;
	if (!w.frozen && !count_others(op, earlier_in_the_way, serial))
		broken(4, "an operation on chunk %u waits for nothing",
		       op->chunk);
}

/*
 * ------------------------------------------------------------------------
 * Requests
 * ------------------------------------------------------------------------
 */

static u32 request_len(const struct request *r)
{
	return r->op.end - r->op.start;
}

static bool both_under_copy(const struct zm_op *op)
{
	u32 i;

	for (i = 0; i < MAX_COPIES; i++) {
		const struct copy *c = &w.copies[i];

		if ((c->phase == MOVING || c->phase == WRITING) &&
		    c->op.chunk == op->chunk && (c->op.touch & op->touch))
			return op->legs & ZM_DEST;
	}
	return false;
}

/* The regions that a request covers whole, worked out the long way. */
static u64 covered(const struct zm_op *op)
{
	u64 regions = 0;
	u32 sector;

	for (sector = op->start - op->start % w.region; sector < op->end;
	     sector += w.region)
		if (sector >= op->start &&
		    min(sector + w.region, w.len) <= op->end)
			regions |= BIT_ULL(sector / w.region % 64);
	return regions;
}

/*
 * The legs of a request have been decided; @now, unless it had waited: then
 * others may have begun in the same moment, and made regions dirty since.
 */
/* The source is gone: what is begun is for the destination, and remembered. */
static void gone_begun(struct request *r)
{
	struct zm_op *op = &r->op;

	if (!op->legs) {
		counts[N_NOOP]++;
		if (op->kind == ZM_OP_DISCARD ? !op->source_only :
		    op->kind != ZM_OP_ZEROES || !op->droppable || !op->skipped)
			broken(3, "a request is dropped");
		r->phase = FREE;
		return;
	}
	if (op->legs != ZM_DEST ||
	    (op->kind == ZM_OP_DISCARD && op->source_only))
		broken(3, "a request does not go to the destination alone");
	if (op->touch & ~w.zr->dirty[op->chunk])
		broken(3, "a request for the destination alone leaves regions clean");
	counts[N_GONE]++;
	r->phase = MOVING;
	r->done[0] = op->end - op->start;
	set_busy(op, 1);
	set_coming(op->chunk, coming(op), 1);
}

static void request_begun(struct request *r, bool now)
{
	struct zm_op *op = &r->op;
	u64 dirty = w.zr->dirty[op->chunk];

	if (w.frozen && r->frozen)
		broken(4, "a request begins that is frozen");
	r->mixed = begun(op, r->serial);
	note("request %llu: kind %u, %llu to %llu, legs %u%s",
	     (unsigned long long)r->serial, op->kind,
	     (unsigned long long)op->start, (unsigned long long)op->end,
	     op->legs, op->skipped ? ", skipped" : "");
	if (w.gone) {
		gone_begun(r);
		return;
	}

	if (!op->legs) {
		counts[N_NOOP]++;
		if (op->kind != ZM_OP_ZEROES || !op->droppable || !op->skipped)
			broken(3, "a request is dropped");
		if (now && (op->touch & dirty))
			broken(3, "a request for dirty regions is dropped");
		r->phase = FREE;
		return;
	}
	if (!(op->legs & ZM_SOURCE))
		broken(3, "a request does not go to the source");
	if ((op->legs & ZM_DEST) &&
	    (op->source_only || zm_dest_failed(w.zr)))
		broken(4, "a request goes to a destination that is out of use");
	if (now && op->kind == ZM_OP_WRITE && (op->legs & ZM_DEST) &&
	    !(op->touch & ~dirty) && !covered(op))
		broken(4, "a write goes to where all is dirty and stays so");
	if (!(op->legs & ZM_DEST) && !op->skipped && (op->touch & ~dirty))
		broken(3, "a request for the source alone leaves regions clean");
	if (op->kind == ZM_OP_DISCARD && !op->pass && (op->touch & ~dirty))
		broken(3, "a discard leaves regions clean");
	if (now && op->kind == ZM_OP_DISCARD && op->pass &&
	    (op->touch & w.zr->zero[op->chunk]))
		broken(2, "a discard leaves regions known zero");
	if (now && op->kind == ZM_OP_DISCARD && !op->pass &&
	    op->known_zero != (op->touch & w.zr->zero[op->chunk]))
		broken(5, "a discard does not spare what is known zero");

	if (both_under_copy(op))
		broken(4, "a request under copy goes to both legs");

	counts[op->skipped ? N_SKIP : op->legs & ZM_DEST ? N_BOTH :
	       N_SOURCE_ONLY]++;
	r->phase = MOVING;
	set_busy(op, 1);
	set_coming(op->chunk, coming(op), 1);
}

static struct request *free_request(void)
{
	u32 i;

	for (i = 0; i < MAX_WRITES; i++)
		if (w.requests[i].phase == FREE)
			return &w.requests[i];
	return NULL;
}

/* Where people write: anywhere, or whole regions, or again and again here. */
static void random_range(struct zm_op *op)
{
	u32 start = below(w.len), n;
	u32 chunk_end = min((start / (64 * w.region) + 1) * 64 * w.region, w.len);

	if (one_in(3))
		start = below(min(w.len, 3 * w.region));
	switch (below(4)) {
	case 0:
		n = 1 + below(2);
		break;
	case 1:
		n = 1 + below(2 * w.region);
		break;
	case 2:
		start -= start % w.region;
		n = w.region * (1 + below(3));
		break;
	default:
		n = 1 + below(one_in(8) ? 64 * w.region : 4 * w.region);
		break;
	}
	chunk_end = min((start / (64 * w.region) + 1) * 64 * w.region, w.len);
	op->start = start;
	op->end = min(start + n, chunk_end);
}

/* Where zeroes are cut, worked out the long way; callers may cut or not. */
static void cut_zeroes(struct zm_op *op)
{
	u32 region = op->start / w.region, cut = region;
	u64 zero = w.zr->zero[region / 64];
	sector_t end;

	while (cut < region / 64 * 64 + 64 &&
	       (zero >> cut % 64 & 1) == (zero >> region % 64 & 1))
		cut++;
	end = zm_zeroes_end(w.zr, op->start, op->end);
	if (end != min(op->end, cut * w.region))
		broken(2, "zeroes from %llu to %llu are cut at %llu",
		       (unsigned long long)op->start,
		       (unsigned long long)op->end, (unsigned long long)end);
	if (one_in(2))
		op->end = end;
}

static void new_request(void)
{
	struct request *r = free_request();

	if (!r)
		return;
	memset(r, 0xa5, sizeof(*r));	/* nothing of it is the module's to read */
	random_range(&r->op);
	r->op.source_only = one_in(12);
	r->op.droppable = false;
	r->op.pass = false;
	r->value = 0;
	r->declines = false;
	r->changes = false;
	switch (below(8)) {
	case 0:
		r->op.kind = ZM_OP_DISCARD;
		r->op.pass = one_in(2);
		break;
	case 1: case 2: case 3:
		r->op.kind = ZM_OP_ZEROES;
		r->op.droppable = one_in(2);
		r->changes = !r->op.droppable && one_in(40);
		cut_zeroes(&r->op);
		break;
	default:
		r->op.kind = ZM_OP_WRITE;
		do {
			r->value = ++w.value;
		} while (!r->value);
	}
	counts[r->op.kind == ZM_OP_WRITE ? N_WRITE :
	       r->op.kind == ZM_OP_ZEROES ? N_ZEROES : N_DISCARD]++;

	r->serial = ++w.serial;
	r->done[0] = 0;
	r->done[1] = 0;
	r->mixed = 0;
	r->fails[0] = one_in(150);
	r->fails[1] = one_in(400);
	if (r->op.kind != ZM_OP_WRITE && one_in(15))
		r->declines = true;
	r->stride = pick_stride(request_len(r));
	r->phase = WAITING;
	r->frozen = w.frozen;

	remember();
	if (zm_op_begin(w.zr, &r->op))
		request_begun(r, true);
	else
		waits(&r->op, r->serial);
	check_bits(0, 0, 0, "a begin");
}

/*
 * What a sector of a request comes to read as. A discard that is passed on may
 * set the legs apart, as its user wants it; here it does the same to both, so
 * that the rules hold.
 */
static u16 request_value(struct request *r, int leg, u32 sector)
{
	u32 hash = (r->serial * 7919 + sector) * 2654435761u;

	if (r->op.kind == ZM_OP_DISCARD && r->op.pass) {
		switch (hash >> 16 & 3) {
		case 0:
			return 0;
		case 1:
			return w.leg[leg][sector];
		default:
			return 1 + (hash >> 8 & 0x7fff);
		}
	}
	if (r->op.kind == ZM_OP_DISCARD) {
		switch (below(3)) {
		case 0:
			return 0;
		case 1:
			return w.leg[leg][sector];
		default:
			return 1 + below(65535);
		}
	}
	if (!leg && r->changes)
		return 77;
	return r->value;
}

static u64 region_bit(u32 sector)
{
	return BIT_ULL(sector / w.region % 64);
}

static void request_moves(struct request *r, int leg)
{
	u32 len = request_len(r), n = 1 + below(MAX_SPAN);

	for (; n && r->done[leg] < len; n--, r->done[leg]++) {
		u32 sector = r->op.start +
			     (u64)r->done[leg] * r->stride % len;

		if (leg && r->op.kind == ZM_OP_DISCARD &&
		    (r->op.known_zero & region_bit(sector)))
			continue;
		if (leg && (w.down || r->declines)) {
			r->fails[1] = true;
			continue;
		}
		if (r->fails[leg] && one_in(2))
			continue;
		put(leg, sector, request_value(r, leg, sector));
	}
}

static u32 let_go;	/* operations that the last end let go */

/*
 * What is about to end. Until the module takes its lock others may begin, as on
 * another processor; only then has it ended.
 */
static struct request *ending_request;
static struct copy *ending_copy;

static void new_request(void);

static void before_lock(void)
{
	struct request *r = ending_request;
	struct copy *c = ending_copy;

	if (!r && !c)
		return;
	ending_request = NULL;
	ending_copy = NULL;
	if (one_in(4))
		new_request();
	if (r) {
		if (r->op.legs & ZM_DEST)
			w.used_time = w.time;
		set_busy(&r->op, -1);
		set_coming(r->op.chunk, coming(&r->op), -1);
		r->phase = FREE;
	} else {
		set_busy(&c->op, -1);
		set_coming(c->op.chunk, c->data, -1);
		c->phase = FREE;
	}
	remember();
}

static void dest_error(u32 generation)
{
	if (!zm_dest_fail(w.zr, generation))
		return;
	note("the destination has failed");
	w.lost_due = true;
}

/* Nothing becomes clean where the source is gone; what is zeroed is zero. */
static void gone_ends(struct request *r)
{
	struct zm_op *op = &r->op;
	bool zeroes = op->kind == ZM_OP_ZEROES;
	unsigned int failed = r->fails[1] || r->changes ? ZM_DEST : 0, ended;
	u64 zero = failed || !zeroes ? 0 : covered(op) & ~r->mixed;
	u32 chunk = op->chunk;
	u64 touch = op->touch;

	let_go = 0;
	ending_request = r;
	ended = zm_op_end(w.zr, op, failed);
	check_bits(chunk, 0, zero, "an end without the source");
	if (ended & ZM_ENDED_IN_SYNC)
		broken(5, "it is in sync without the source");
	if (touch & ~w.zr->dirty[chunk])
		broken(3, "what the source lacks is not remembered");
	if (!let_go && (zero & ~w.zr->zero[chunk]))
		broken(5, "what was zeroed whole is not known zero");
	if (failed && !let_go && (touch & w.zr->zero[chunk]))
		broken(2, "a failure leaves regions known zero");
}

static void request_ends(struct request *r)
{
	struct zm_op *op = &r->op;
	bool both = op->legs & ZM_DEST;
	bool zeroes = op->kind == ZM_OP_ZEROES, discard;
	unsigned int failed = 0, ended;
	u64 good = covered(op), clean = 0;
	u32 chunk = op->chunk;
	u64 touch = op->touch;

	if (r->fails[0])
		failed |= ZM_SOURCE;
	if (both && r->fails[1]) {
		failed |= ZM_DEST;
		counts[r->declines ? N_DECLINED : N_DEST_ERROR]++;
		if (!r->declines)
			dest_error(op->generation);
	}
	if (r->changes) {
		failed |= ZM_DEST;
		counts[N_CHANGED]++;
	}
	counts[N_SOURCE_ERROR] += r->fails[0];
	if (both && op->generation != (u32)atomic_read(&w.zr->failures)) {
		counts[N_STALE]++;
		failed |= ZM_DEST;
	}

	note("request %llu ends, failed %u", (unsigned long long)r->serial,
	     failed);

	let_go = 0;
	ending_request = r;
	discard = op->kind == ZM_OP_DISCARD;
	ended = zm_op_end(w.zr, op, failed &
			  ~(r->fails[1] || r->changes ? 0 : ZM_DEST));
	memset(op, 0xa5, sizeof(*op));

	/* What may have become clean, and known to be zero. */
	good &= ~r->mixed;
	if (!failed && !discard && both)
		clean = good;
	else if (!failed && zeroes)
		clean = good & old_zero[chunk];
	check_bits(chunk, clean, zeroes && both ? clean : 0, "an end");
	if (failed && (touch & ~w.zr->dirty[chunk]))
		broken(3, "a failure leaves regions clean");
	if (!let_go && (clean & w.zr->dirty[chunk]))
		broken(5, "what was written whole stays dirty");
	if (!let_go && both && zeroes && (clean & ~w.zr->zero[chunk]))
		broken(5, "what was zeroed whole is not known zero");
	if ((failed & ZM_DEST) && !let_go && (touch & w.zr->zero[chunk]))
		broken(2, "a failure leaves regions known zero");
	check_ended(ended, let_go, chunk, discard || failed ? touch : 0);
}

static void request_steps(struct request *r)
{
	u32 len = request_len(r);
	bool both = r->op.legs & ZM_DEST;
	int leg = both && one_in(2);

	if (r->done[leg] < len)
		request_moves(r, leg);
	else if (both && r->done[!leg] < len)
		request_moves(r, !leg);
	else if (w.gone)
		gone_ends(r);
	else
		request_ends(r);
}

/*
 * ------------------------------------------------------------------------
 * Copies
 * ------------------------------------------------------------------------
 */

static void copy_begun(struct copy *c)
{
	c->mixed = begun(&c->op, c->serial);
	c->marked = 0;
	note("copy %llu%s: regions %#llx of chunk %u",
	     (unsigned long long)c->serial, c->op.hold ? ", held" : "",
	     (unsigned long long)c->op.touch, c->op.chunk);
	if (c->op.touch & ~w.zr->dirty[c->op.chunk] && !c->op.hold)
		broken(4, "a clean region is copied");
	if (c->prezero && (c->op.touch & w.zr->zero[c->op.chunk]))
		broken(2, "a region that is zero is zeroed");
	counts[c->looks ? N_VERIFY : c->prezero ? N_PREZERO :
	       c->op.hold ? N_AGAIN : N_COPY]++;
	c->phase = c->prezero ? WRITING : MOVING;
	c->done = 0;
	c->data = 0;
	c->stride = pick_stride(c->op.end - c->op.start);
	c->read_fails = one_in(w.zr->unread ? 20 : 150);
	/* What one job could not read another one seldom can. */
	if (w.zr->unread && (c->op.touch & w.zr->unread[c->op.chunk]))
		c->read_fails = !one_in(4);
	c->write_fails = one_in(150);
	set_busy(&c->op, 1);
}

static u32 discards(const struct zm_op *self, u64 serial, struct zm_op *other,
		    u64 other_serial, enum phase phase, u64 *mixed)
{
	(void)serial;
	(void)other_serial;
	(void)mixed;
	return phase == MOVING && other->kind == ZM_OP_DISCARD &&
	       other->chunk == self->chunk && (other->touch & self->touch);
}

/* The next run of regions to zero; @c, if it begins where it is to. */
static bool new_prezero(struct copy *c, u32 chunk)
{
	u64 todo = w.zr->dirty[chunk] & ~w.zr->zero[chunk];
	u32 from = one_in(2) ? 0 : below(64);
	bool next = one_in(2);

	memset(c->buffer, 0, sizeof(w.buffers[0]));
	if (!zm_prezero_begin(w.zr, &c->op, chunk, from,
			      1 + below(one_in(4) ? 64 : 6), next))
		return false;
	if (next && (!(todo >> from & 1) || !(c->op.touch >> from & 1)))
		broken(4, "a zeroing does not begin where it is to");
	return true;
}

static void new_copy(void)
{
	struct copy *c = NULL;
	u32 i, chunk, from, max;
	bool taken;

	for (i = 0; i < MAX_COPIES; i++)
		if (w.copies[i].phase == FREE && !w.copies[i].again)
			c = &w.copies[i];
	if (!c)
		return;
	chunk = zm_next_dirty_chunk(w.zr, w.cursor);
	if (chunk >= w.chunks) {
		w.cursor = 0;
		chunk = zm_next_dirty_chunk(w.zr, 0);
		if (chunk >= w.chunks)
			return;
	}
	w.cursor = chunk + one_in(2);
	c->buffer = w.buffers[c - w.copies];
	c->serial = ++w.serial;
	c->prezero = one_in(8);
	c->looks = false;
	from = one_in(2) ? 0 : below(64);
	max = 1 + below(one_in(4) ? 64 : 6);
	remember();
	if (c->prezero)
		taken = new_prezero(c, chunk);
	else
		taken = zm_copy_begin(w.zr, &c->op, chunk, from, max);
	if (taken) {
		if (w.frozen)
			broken(4, "a copy begins that is frozen");
		if (!c->prezero && count_others(&c->op, discards, 0))
			broken(4, "a copy begins under a discard");
		if (!c->prezero && w.zr->unread &&
		    (c->op.touch & w.zr->unread[chunk]))
			broken(5, "a copy takes what is left out");
		if (!c->prezero &&
		    __ffs64(c->op.touch) / max != (fls64(c->op.touch) - 1) / max)
			broken(4, "a run of regions does not end where it is to");
		copy_begun(c);
	}
	check_bits(0, 0, 0, "the begin of a copy");
}

static void next_again(struct copy *c)
{
	u32 bit = __ffs64(c->again);

	c->again &= c->again - 1;
	c->serial = ++w.serial;
	c->prezero = false;
	c->looks = false;
	remember();
	switch (zm_copy_again(w.zr, &c->op, c->again_chunk, bit)) {
	case ZM_AGAIN_NONE:
		break;
	case ZM_AGAIN_BEGUN:
		if (w.frozen)
			broken(4, "a second copy begins that is frozen");
		copy_begun(c);
		break;
	case ZM_AGAIN_WAITS:
		if (w.frozen)
			broken(4, "a second copy waits for the thaw");
		counts[N_AGAIN_WAITS]++;
		c->phase = WAITING;
		waits(&c->op, c->serial);
		break;
	}
	check_bits(0, 0, 0, "the begin of a second copy");
}

static bool under_copy(u32 chunk, u64 bit)
{
	u32 i;

	for (i = 0; i < MAX_COPIES; i++)
		if (w.copies[i].phase != FREE &&
		    w.copies[i].op.chunk == chunk &&
		    (w.copies[i].op.touch & bit))
			return true;
	return false;
}

/* A region that is clean is held, to be compared. */
static void new_verify(void)
{
	u32 region = below(w.regions), i;
	u64 bit = 1ULL << region % 64;
	struct copy *c = NULL;
	bool may;

	for (i = 0; i < MAX_COPIES; i++)
		if (w.copies[i].phase == FREE && !w.copies[i].again)
			c = &w.copies[i];
	if (!c)
		return;
	may = !w.frozen && !zm_dest_failed(w.zr) &&
	      !(w.zr->dirty[region / 64] & bit) &&
	      !under_copy(region / 64, bit);
	c->buffer = w.buffers[c - w.copies];
	c->serial = ++w.serial;
	c->prezero = false;
	c->looks = true;
	remember();
	switch (zm_verify_hold(w.zr, &c->op, region)) {
	case ZM_AGAIN_NONE:
		if (may)
			broken(5, "region %u cannot be compared", region);
		break;
	case ZM_AGAIN_BEGUN:
		if (!may)
			broken(1, "region %u should not be compared", region);
		copy_begun(c);
		break;
	case ZM_AGAIN_WAITS:
		if (!may)
			broken(1, "region %u should not be compared", region);
		c->phase = WAITING;
		waits(&c->op, c->serial);
		break;
	}
	check_bits(0, 0, 0, "the begin of a comparison");
}

/*
 * What was read of the source must be on both legs still, if the region is clean
 * and the destination was well all the time.
 */
static void verify_ends(struct copy *c)
{
	struct zm_op *op = &c->op;
	bool copy = one_in(4);
	u32 len = op->end - op->start, chunk = op->chunk, i;
	u64 regions = op->touch;
	unsigned int ended;

	if (!(w.zr->dirty[chunk] & regions) && zm_read_dest_end(w.zr, op) &&
	    !w.unnoticed)
		for (i = 0; i < len; i++)
			if (c->buffer[i] != w.leg[1][op->start + i] ||
			    c->buffer[i] != w.leg[0][op->start + i])
				broken(1, "sector %llu of a region that is held differs",
				       (unsigned long long)op->start + i);
	let_go = 0;
	ending_copy = c;
	ended = zm_verify_release(w.zr, op, copy);
	check_bits(chunk, 0, 0, "the end of a comparison");
	check_ended(ended, let_go, chunk, regions);
	if (copy && !let_go && (~w.zr->dirty[chunk] & regions))
		broken(1, "a region that differs is clean");
	if (copy && !let_go && (w.zr->zero[chunk] & regions))
		broken(2, "a region that differs is known to be zero");
}

static void copy_reads(struct copy *c)
{
	u32 len = c->op.end - c->op.start, n = 1 + below(MAX_SPAN), i;

	for (; n && c->done < len; n--, c->done++) {
		i = (u64)c->done * c->stride % len;
		c->buffer[i] = w.leg[0][c->op.start + i];
	}
	if (c->done < len)
		return;

	for (i = 0; i < len; i++)
		if (c->buffer[i])
			c->data |= region_bit(c->op.start + i);
	remember();
	if (c->data)
		zm_copy_data(w.zr, &c->op, c->data);
	check_bits(0, 0, 0, "the data of a copy");
	set_coming(c->op.chunk, c->data, 1);
	c->phase = WRITING;
	c->done = 0;
}

static void copy_writes(struct copy *c)
{
	u32 len = c->op.end - c->op.start, n = 1 + below(MAX_SPAN);

	for (; n && c->done < len; n--, c->done++) {
		u32 i = (u64)c->done * c->stride % len;
		u32 sector = c->op.start + i;

		if (!(c->data & region_bit(sector)) &&
		    (c->op.known_zero & region_bit(sector)))
			continue;
		if (w.down)
			c->write_fails = true;
		if (w.down || (c->write_fails && one_in(2)))
			continue;
		put(1, sector, c->buffer[i]);
	}
}

static void prezero_ends(struct copy *c)
{
	struct zm_op *op = &c->op;
	bool zeroed = !c->write_fails && !one_in(40);
	u64 zero = zeroed ? op->touch & ~c->mixed : 0;
	u32 chunk = op->chunk;

	if (c->write_fails) {
		counts[N_COPY_ERROR]++;
		dest_error(op->generation);
	}
	if (op->generation != (u32)atomic_read(&w.zr->failures)) {
		counts[N_STALE]++;
		zero = 0;
	}
	note("zeroing %llu ends: %d", (unsigned long long)c->serial, zeroed);

	let_go = 0;
	ending_copy = c;
	zm_prezero_end(w.zr, op, zeroed);
	zero &= ~c->mixed;
	check_bits(chunk, 0, zero, "the end of a zeroing");
	if (!let_go && (zero & ~w.zr->zero[chunk]))
		broken(5, "what was zeroed is not known zero");
}

/* What could not be read is left out, but not what somebody raced with. */
static void copy_leaves_out(struct copy *c, u64 regions)
{
	u64 expected = regions & w.zr->dirty[c->op.chunk] & ~c->mixed &
		       ~w.zr->unread[c->op.chunk];
	u32 new = zm_copy_unread(w.zr, &c->op, regions);

	counts[N_UNREAD] += new;
	if (new != hweight64(expected))
		broken(5, "%u regions are left out, not %#llx", new,
		       (unsigned long long)expected);
	if (expected & ~w.zr->unread[c->op.chunk])
		broken(5, "what could not be read is not left out");
}

static void copy_ends(struct copy *c)
{
	struct zm_op *op = &c->op;
	u64 copied = op->touch, zeroes = op->touch & ~c->data, clean, raced;
	u32 chunk = op->chunk;
	bool hold = op->hold;
	unsigned int ended;

	/* A part of it may have failed, or been given up. */
	if (c->read_fails || c->write_fails || one_in(40))
		copied &= random64();
	if (c->read_fails || c->write_fails)
		copied &= random64() & (w.down ? zeroes & op->known_zero : ~0ULL);
	counts[N_READ_ERROR] += c->read_fails;
	if (c->write_fails) {
		/* It is not known where: no region with a write is certain. */
		copied &= zeroes & op->known_zero;
		counts[N_COPY_ERROR]++;
		dest_error(op->generation);
	}
	if (c->read_fails && w.zr->unread)
		copy_leaves_out(c, op->touch & ~copied & random64());
	note("copy %llu ends: copied %#llx, zero %#llx",
	     (unsigned long long)c->serial, (unsigned long long)copied,
	     (unsigned long long)zeroes);

	let_go = 0;
	ending_copy = c;
	ended = zm_copy_end(w.zr, op, copied, zeroes, &raced);
	clean = copied & ~c->mixed;
	if (op->generation != (u32)atomic_read(&w.zr->failures)) {
		counts[N_STALE]++;
		clean = 0;
	}
	check_bits(chunk, clean, clean & zeroes, "the end of a copy");
	check_ended(ended, let_go, 0, 0);
	if (raced != (copied & c->mixed))
		broken(3, "regions %#llx raced with a copy, not %#llx",
		       (unsigned long long)(copied & c->mixed),
		       (unsigned long long)raced);
	if (!let_go && (clean & w.zr->dirty[chunk]))
		broken(5, "what was copied stays dirty");
	if (hold && (raced & ~c->marked))
		broken(4, "a held copy raced");
	if (!hold) {
		c->again = one_in(10) ? 0 : raced;
		c->again_chunk = chunk;
	}
}

static void copy_steps(struct copy *c)
{
	if (c->phase == MOVING)
		copy_reads(c);
	else if (c->looks)
		verify_ends(c);
	else if (c->done < c->op.end - c->op.start)
		copy_writes(c);
	else if (c->prezero)
		prezero_ends(c);
	else
		copy_ends(c);
}

/* The module lets an operation go that has waited. */
static void ready(struct zm_op *op)
{
	if (shim_locks)
		broken(4, "the ready function is called with a lock held");
	let_go++;
	if (op->kind == ZM_OP_COPY) {
		struct copy *c = container_of(op, struct copy, op);

		if (c->phase != WAITING)
			broken(4, "a copy begins that does not wait");
		copy_begun(c);
	} else {
		struct request *r = container_of(op, struct request, op);

		if (r->phase != WAITING)
			broken(4, "a request begins that does not wait");
		request_begun(r, false);
	}
}

/*
 * ------------------------------------------------------------------------
 * The destination's troubles
 * ------------------------------------------------------------------------
 */

static void flush_begins(void)
{
	u32 i;

	if (zm_dest_failed(w.zr))
		return;
	for (i = 0; i < MAX_FLUSHES; i++) {
		struct flush *f = &w.flushes[i];

		if (f->used)
			continue;
		f->used = true;
		zm_flush_begin(w.zr, &f->flush);
		memcpy(f->content, w.leg[1], w.len * sizeof(u16));
		f->time = ++w.time;
		return;
	}
}

static void flush_ends(struct flush *f)
{
	f->used = false;
	if (w.down || one_in(30)) {
		counts[N_FLUSH_ERROR]++;
		dest_error(f->flush.generation);
		return;
	}
	counts[N_FLUSH]++;
	if (f->time > w.stable_time) {
		w.stable_time = f->time;
		memcpy(w.stable, f->content, w.len * sizeof(u16));
	}
	if (f->flush.generation == (u32)atomic_read(&w.zr->failures) &&
	    f->time > w.flushed_time)
		w.flushed_time = f->time;
	remember();
	zm_flush_end(w.zr, &f->flush);
	check_bits(0, 0, 0, "a flush");
}

/* What was not flushed may be gone, sector by sector. */
static void power_cut(void)
{
	u32 sector;

	counts[N_CUT]++;
	note("power cut");
	w.down = true;
	if (!zm_dest_failed(w.zr) || w.lost_due)
		w.unnoticed = true;
	for (sector = 0; sector < w.len; sector++) {
		if (w.leg[1][sector] != w.stable[sector] && one_in(2))
			put(1, sector, w.stable[sector]);
		w.stable[sector] = w.leg[1][sector];
	}
	w.stable_time = ++w.time;
}

static void dest_lost(void)
{
	bool dirtied;

	counts[N_LOST]++;
	note("what was not flushed is lost");
	remember();
	dirtied = zm_dest_lost(w.zr);
	if (dirtied != (zm_regions_dirty(w.zr) > old_nr))
		broken(5, "new dirty regions are told wrongly");
	check_bits(0, 0, 0, "a loss");
	w.lost_due = false;
	w.unnoticed = false;
}

static void repair(void)
{
	if (w.lost_due) {
		zm_dest_attach(w.zr);
		if (!zm_dest_failed(w.zr))
			broken(4, "the destination is used before it is known what it lost");
		return;
	}
	if (!zm_dest_failed(w.zr))
		return;
	counts[N_ATTACH]++;
	note("attached again");
	w.down = false;
	zm_dest_attach(w.zr);
}

/*
 * ------------------------------------------------------------------------
 * Steps
 * ------------------------------------------------------------------------
 */

/* One step of something in flight; returns whether there was anything. */
static bool progress(void)
{
	u32 i, at = below(MAX_WRITES + MAX_COPIES);

	for (i = 0; i < MAX_WRITES + MAX_COPIES; i++) {
		u32 k = (at + i) % (MAX_WRITES + MAX_COPIES);

		if (k < MAX_WRITES) {
			if (w.requests[k].phase == MOVING) {
				request_steps(&w.requests[k]);
				return true;
			}
		} else {
			struct copy *c = &w.copies[k - MAX_WRITES];

			if (c->phase == MOVING || c->phase == WRITING) {
				copy_steps(c);
				return true;
			}
			if (c->phase == FREE && c->again) {
				next_again(c);
				return true;
			}
		}
	}
	return false;
}

static void forget(void)
{
	u32 chunk;

	zm_unread_forget(w.zr);
	for (chunk = 0; w.zr->unread && chunk < w.chunks; chunk++) {
		counts[N_FORGET]++;
		if (w.zr->unread[chunk])
			broken(5, "chunk %u is left out for ever", chunk);
	}
}

/* The regions of an operation that are from @first on. */
static u64 marked_of(const struct zm_op *op, u32 first, u32 end)
{
	u64 marked = 0;
	u32 bit;

	for (bit = 0; bit < 64; bit++) {
		u32 region = 64 * op->chunk + bit;

		if ((op->touch >> bit & 1) && region >= first && region < end)
			marked |= 1ULL << bit;
	}
	return marked;
}

/* What is marked while it is copied, or written, is not what that makes of it. */
static void mark_all(u32 first, u32 end)
{
	u32 i;

	for (i = 0; i < MAX_WRITES; i++) {
		struct request *r = &w.requests[i];

		if (r->phase == MOVING)
			r->mixed |= marked_of(&r->op, first, end);
	}
	for (i = 0; i < MAX_COPIES; i++) {
		struct copy *c = &w.copies[i];

		if (c->phase != MOVING && c->phase != WRITING)
			continue;
		c->marked |= marked_of(&c->op, first, end);
		c->mixed |= c->marked;
	}
}

/* A mark does what it says, to the regions from @first on, and to no others. */
static void mark_regions(enum zm_mark mark, u32 first, u32 end)
{
	bool of_dirty = mark == ZM_MARK_DIRTY || mark == ZM_MARK_CLEAN;
	bool on = mark == ZM_MARK_DIRTY || mark == ZM_MARK_ZERO;
	unsigned int ended;
	u32 region;

	counts[N_MARK]++;
	remember();
	ended = zm_regions_mark(w.zr, mark, first, end);
	if (mark == ZM_MARK_DIRTY || mark == ZM_MARK_NONZERO)
		mark_all(first, end);
	for (region = 0; region < w.regions; region++) {
		bool in = region >= first && region < end;
		u32 chunk = region / 64, bit = region % 64;
		bool dirty = old_dirty[chunk] >> bit & 1;
		bool zero = old_zero[chunk] >> bit & 1;

		if (in && of_dirty)
			dirty = on;
		if (in && !of_dirty)
			zero = on;
		if ((w.zr->dirty[chunk] >> bit & 1) != dirty ||
		    (w.zr->zero[chunk] >> bit & 1) != zero)
			broken(5, "a mark of %u to %u is wrong at region %u",
			       first, end, region);
	}
	check_ended(ended, 0, 0, 0);
}

/* On the safe side at any time. */
static void mark_safely(void)
{
	u32 first = below(w.regions);
	u32 end = first + 1 + below(one_in(2) ? 3 : w.regions - first);

	if (end > w.regions)
		end = w.regions;
	mark_regions(one_in(2) ? ZM_MARK_DIRTY : ZM_MARK_NONZERO, first, end);
}

/* A promise that is true: nothing is in flight. */
static void mark_truly(void)
{
	bool clean = one_in(2);
	u64 *wrong = clean ? w.differ_mask : w.nonzero_mask;
	u32 first = below(w.regions), end = first;

	while (end < w.regions && !(wrong[end / 64] >> end % 64 & 1))
		end++;
	if (end > first && !w.unnoticed)
		mark_regions(clean ? ZM_MARK_CLEAN : ZM_MARK_ZERO, first, end);
}

/*
 * A hint that is true: what it speaks of was zero on the source when it all began. What
 * has changed since is for the module to know.
 */
static void hint(void)
{
	u32 first = below(w.regions), end = first, region;
	unsigned int ended;
	sector_t told, sectors = 0;

	while (end < w.regions && (w.was_zero[end / 64] >> end % 64 & 1))
		end++;
	if (end == first)
		return;
	counts[N_HINT]++;
	remember();
	ended = zm_hint_zero(w.zr, first, end, &told);
	for (region = 0; region < w.regions; region++) {
		u32 chunk = region / 64, bit = region % 64;
		u64 cleaned = old_dirty[chunk] & ~w.zr->dirty[chunk];

		if (!(cleaned >> bit & 1))
			continue;
		counts[N_HINTED]++;
		sectors += region + 1 < w.regions ? w.region :
			   w.len - region * w.region;
		if (region < first || region >= end)
			broken(3, "a hint of %u to %u cleans region %u", first,
			       end, region);
		if (w.busy_mask[chunk] >> bit & 1)
			broken(3, "a hint cleans region %u, where somebody is",
			       region);
		if (w.frozen || zm_dest_failed(w.zr))
			broken(3, "a hint cleans region %u at this time",
			       region);
	}
	if (told != sectors)
		broken(5, "a hint tells %llu sectors, not %llu",
		       (unsigned long long)told, (unsigned long long)sectors);
	check_ended(ended, 0, 0, 0);
}

/* Sectors of any number of chunks, read from the destination or not. */
static void read_dest(void)
{
	struct zm_op op = { .start = below(w.len) };
	bool clean = true, may;
	u32 region;

	op.end = op.start + 1 + below(one_in(2) ? MAX_SPAN : w.len - op.start);
	if (op.end > w.len)
		op.end = w.len;
	for (region = op.start / w.region; region <= (op.end - 1) / w.region;
	     region++)
		if (w.zr->dirty[region / 64] >> region % 64 & 1)
			clean = false;
	may = zm_read_dest(w.zr, &op);
	counts[may ? N_READ_DEST : N_READ_NOT]++;
	if (may != (clean && !zm_dest_failed(w.zr)))
		broken(1, "sectors %llu to %llu may%s be read from the destination",
		       (unsigned long long)op.start, (unsigned long long)op.end,
		       may ? "" : " not");
	if (!may)
		return;
	if (!zm_read_dest_end(w.zr, &op))
		broken(1, "what was read does not count");
	if (one_in(200)) {
		dest_error(op.generation);
		if (zm_read_dest_end(w.zr, &op))
			broken(1, "what was read from a failed destination counts");
	}
}

static void freeze_or_thaw(void)
{
	u32 i;

	note(w.frozen ? "thawed" : "frozen");
	if (!w.frozen) {
		counts[N_FREEZE]++;
		w.frozen = true;
		zm_freeze(w.zr);
		return;
	}
	w.frozen = false;
	for (i = 0; i < MAX_WRITES; i++)
		w.requests[i].frozen = false;
	zm_thaw(w.zr);
}

static void trouble(void)
{
	struct flush *f = &w.flushes[below(MAX_FLUSHES)];

	switch (below(29)) {
	case 28:
		if (w.frozen || one_in(5))
			freeze_or_thaw();
		break;
	case 24: case 25: case 26:
		read_dest();
		break;
	case 27:
		if (one_in(8))
			forget();
		else if (one_in(4))
			mark_safely();
		else
			new_verify();
		break;
	case 0:
		if (one_in(12))
			power_cut();
		break;
	case 1: case 2: case 3:
		if (w.lost_due)
			dest_lost();
		break;
	case 4:
		repair();
		break;
	case 5: case 6: case 7: case 8: case 9: case 10:
		flush_begins();
		break;
	default:
		if (f->used)
			flush_ends(f);
	}
}

static void random_step(u32 load)
{
	u32 x = below(1000);

	step++;
	if (x < load)
		new_request();
	else if (x < load + 90)
		new_copy();
	else if (x < load + 120)
		trouble();
	else
		progress();
	if (zm_changed_known(w.zr) && one_in(100))
		hint();
	check();
}

/* All that is in flight ends, and nothing is left waiting. */
static void drain(void)
{
	u32 i;

	counts[N_DRAIN]++;
	if (w.frozen)
		freeze_or_thaw();
	while (progress()) {
		step++;
		check();
	}
	for (i = 0; i < MAX_WRITES; i++)
		if (w.requests[i].phase != FREE)
			broken(4, "a request waits for ever");
	for (i = 0; i < MAX_COPIES; i++)
		if (w.copies[i].phase != FREE)
			broken(4, "a copy waits for ever");
	for (i = 0; i < ZM_BUCKETS; i++)
		if (!hlist_empty(&w.zr->buckets[i].in_flight) ||
		    !list_empty(&w.zr->buckets[i].waiting))
			broken(4, "an operation is left in a list");
	if (one_in(2))
		mark_truly();
}

/* Resync to the end, whatever happens on the way. */
static void converge(void)
{
	u32 sector, rounds = 0;

	do {
		drain();
		if (w.down && !zm_dest_failed(w.zr)) {
			flush_begins();
			flush_ends(&w.flushes[0]);
		}
		if (w.lost_due)
			dest_lost();
		repair();
		forget();
		new_copy();
		step++;
		if (rounds++ > 100000)
			broken(5, "resync does not come to an end");
	} while (zm_regions_dirty(w.zr) || zm_dest_failed(w.zr));
	drain();
	if (zm_regions_dirty(w.zr))
		return;	/* a copy's error, at the very end */
	for (sector = 0; sector < w.len; sector++)
		if (w.leg[0][sector] != w.leg[1][sector] && !w.unnoticed)
			broken(5, "sector %u differs in sync", sector);
}

static void start_episode(void)
{
	static const u32 region_sizes[] = { 8, 8, 16, 32 };
	bool dirty = one_in(2), zero = one_in(2);
	u32 sector, rare = one_in(2) ? 30 : 1000;

	memset(&w, 0, sizeof(w));
	w.time = 1;
	counts[N_EPISODE]++;
	w.region = region_sizes[below(ARRAY_SIZE(region_sizes))];
	w.len = 1 + below(w.region * (one_in(3) ? MAX_REGIONS :
				      one_in(2) ? 70 : 6));
	w.regions = DIV_ROUND_UP(w.len, w.region);
	w.chunks = DIV_ROUND_UP(w.regions, 64);

	memset(w.was_zero, 0xff, sizeof(w.was_zero));

	/* The promises, if they are made, are true. */
	for (sector = 0; sector < w.len; sector++) {
		u16 value = one_in(30) ? ++w.value : 0;

		put(1, sector, zero ? 0 : value);
		put(0, sector, dirty ? (one_in(rare) ? 5 : 0) :
		    w.leg[1][sector]);
		if (w.leg[0][sector])
			mark(w.was_zero, sector / w.region, false);
	}
	memcpy(w.stable, w.leg[1], w.len * sizeof(u16));
	w.zr = zm_regions_create(w.len, w.region, dirty, zero, 0, ready);
	if (!w.zr || zm_regions_total(w.zr) != w.regions)
		broken(5, "the state is not made");
	if (one_in(2) && (zm_unread_alloc(w.zr) || zm_unread_alloc(w.zr)))
		broken(5, "no room for what is left out");
	if (one_in(3) && zm_changed_alloc(w.zr))
		broken(5, "no room for what is changed");
	note("episode: dirty %d, zero %d", dirty, zero);
	check();
}

/*
 * The source goes, in sync and with nothing in flight; from then on the rules
 * mean the same, but a region is dirty because of the source.
 */
static void take_over(u32 steps)
{
	static u16 source[MAX_SECTORS];
	struct zm_op all = { .start = 0, .end = w.len };

	if (zm_regions_dirty(w.zr) || zm_dest_failed(w.zr) || w.down ||
	    w.unnoticed)
		return;
	counts[N_OVER]++;
	memcpy(source, w.leg[0], sizeof(source));
	freeze_or_thaw();
	new_request();
	if (zm_in_flight(w.zr))
		broken(4, "something is in flight that is frozen");
	zm_source_leave(w.zr);
	w.gone = true;
	freeze_or_thaw();
	for (; steps; steps--) {
		if (one_in(4))
			new_request();
		else
			progress();
		step++;
		check();
		if (zm_next_dirty_chunk(w.zr, 0) < w.chunks &&
		    zm_copy_begin(w.zr, &w.copies[0].op,
				  zm_next_dirty_chunk(w.zr, 0), 0, 64))
			broken(3, "a copy begins without a source");
	}
	if (!zm_source_gone(w.zr) || !zm_read_dest(w.zr, &all) ||
	    !zm_read_dest_end(w.zr, &all))
		broken(1, "the destination does not serve all");
	while (progress())
		check();
	if (memcmp(source, w.leg[0], sizeof(source)))
		broken(3, "the source is written though it is gone");
}

/* What was the source lacks what is dirty; it has nothing that is not stable. */
static void exchange(void)
{
	u32 sector;

	counts[N_EXCHANGE]++;
	note("the legs change places");
	for (sector = 0; sector < w.len; sector++) {
		u16 value = w.leg[0][sector];

		put(0, sector, w.leg[1][sector]);
		put(1, sector, value);
	}
	memcpy(w.stable, w.leg[1], w.len * sizeof(u16));
	memset(w.flushes, 0, sizeof(w.flushes));
	w.stable_time = ++w.time;
	w.flushed_time = w.time;
	w.used_time = 0;
	w.down = false;
	w.lost_due = false;
	w.unnoticed = false;
	w.gone = false;
	zm_legs_exchange(w.zr);
	if (zm_source_gone(w.zr) || zm_dest_failed(w.zr))
		broken(1, "the legs have not changed places");
	if (zm_changed_known(w.zr))
		broken(3, "what was changed is taken for known");
	check();
}

static void episode(u32 steps)
{
	u32 load = one_in(3) ? 30 : one_in(2) ? 100 : 300;
	unsigned long allocs;
	u64 end;

	start_episode();
	allocs = shim_allocs;
	for (end = step + steps; step < end; )
		random_step(load);
	converge();
	if (one_in(3))
		take_over(500);
	if (w.gone && one_in(2)) {
		exchange();
		for (end = step + steps; step < end; )
			random_step(load);
		converge();
	}
	if (shim_allocs != allocs)
		broken(6, "something was allocated on the way");
	zm_regions_destroy(w.zr);
}

/* Each allocation of the state fails in turn; the leak checker sees the rest. */
static void out_of_memory(void)
{
	long n;

	for (n = 1; ; n++) {
		struct zm_regions *zr;

		shim_fail_at = n;
		zr = zm_regions_create(1000, 8, true, true, 0, ready);
		if (zr) {
			zm_regions_destroy(zr);
			break;
		}
		if (n > 10)
			broken(6, "the state cannot be made");
	}
	shim_fail_at = 0;
	if (n < 5)
		broken(6, "a failed allocation is not noticed");
	zm_regions_destroy(NULL);
}

/* What a caller may ask about the geometry. */
static void geometry(void)
{
	struct zm_regions *zr = zm_regions_create(8 * 64 + 13, 8, false, false,
						  0, ready);
	sector_t start, end;

	if (zm_chunk_end(zr, 0) != 512 || zm_chunk_end(zr, 511) != 512 ||
	    zm_chunk_end(zr, 512) != 525)
		broken(5, "the end of a chunk is wrong");
	zm_region_range(zr, 1, 1, &start, &end);
	if (start != 520 || end != 525)
		broken(5, "the range of the last region is wrong");
	zm_region_range(zr, 0, 63, &start, &end);
	if (start != 504 || end != 512)
		broken(5, "the range of a region is wrong");
	if (zm_next_dirty_chunk(zr, 0) != 2)
		broken(5, "a clean mirror has a dirty chunk");
	zm_regions_destroy(zr);
}

/* Runs of regions, against the same looked up one by one. */
static void runs(void)
{
	struct zm_regions *zr = zm_regions_create(8 * 200, 8, false, false,
						  0, ready);
	u32 round, first, last, end, at;
	bool bits[200];

	for (round = 0; round < 2000; round++) {
		u64 *words = one_in(2) ? zr->dirty : zr->zero;
		enum zm_which which = words == zr->dirty ? ZM_DIRTY : ZM_ZERO;
		u32 odds = 1 + below(100);

		for (at = 0, last = 0; at < 200; at++) {
			last = one_in(odds) ? !last : last;
			bits[at] = last;
			if (last)
				words[at / 64] |= BIT_ULL(at % 64);
			else
				words[at / 64] &= ~BIT_ULL(at % 64);
		}
		first = below(200);
		end = below(201);
		for (at = first; at < end && !bits[at]; at++)
			;
		for (last = at; last < end && bits[last]; last++)
			;
		if (zm_regions_next(zr, which, &first, end) !=
		    (at < end ? last : 0) || (at < end && first != at))
			broken(5, "a run of regions is not found");
	}
	zm_regions_destroy(zr);
}

/* Writes a whole region of a mirror in sync, to both legs. */
static void write_region(struct zm_regions *zr, u32 region, struct zm_op *op)
{
	memset(op, 0, sizeof(*op));
	op->kind = ZM_OP_WRITE;
	op->start = region * 8;
	op->end = region * 8 + 8;
	if (!zm_op_begin(zr, op) || op->legs != (ZM_SOURCE | ZM_DEST))
		broken(4, "a write to a mirror in sync does not go to both legs");
}

/* What safety does not ask for: no more is taken for lost than must be. */
static void flushes(void)
{
	struct zm_regions *zr = zm_regions_create(3 * 512, 8, false, false,
						  0, ready);
	struct zm_flush older, newer, late;
	struct zm_op op, pending;

	write_region(zr, 0, &op);
	zm_op_end(zr, &op, 0);
	zm_flush_begin(zr, &older);
	write_region(zr, 64, &op);
	zm_op_end(zr, &op, 0);
	zm_flush_begin(zr, &newer);
	zm_flush_end(zr, &newer);
	zm_flush_end(zr, &older);
	write_region(zr, 128, &op);
	zm_op_end(zr, &op, 0);

	zm_flush_begin(zr, &late);
	write_region(zr, 1, &pending);
	if (!zm_dest_fail(zr, late.generation) || !zm_dest_failed(zr))
		broken(4, "a failure is not noticed");
	if (zm_dest_fail(zr, late.generation))
		broken(4, "a second failure is told again");
	if (!zm_dest_lost(zr) || zm_regions_dirty(zr) != 64)
		broken(5, "%u regions are lost, not the 64 that were not flushed",
		       zm_regions_dirty(zr));
	zm_dest_attach(zr);

	/* What began before the failure is no news after it. */
	if (zm_dest_fail(zr, pending.generation) || zm_dest_failed(zr))
		broken(4, "an old failure is held against the destination");
	if (zm_op_end(zr, &pending, ZM_DEST) != ZM_ENDED_DIRTY ||
	    zm_regions_dirty(zr) != 65)
		broken(3, "a failed write leaves its region clean");
	zm_flush_end(zr, &late);
	if (!zm_dest_fail(zr, pending.generation + 1) || !zm_dest_lost(zr) ||
	    zm_regions_dirty(zr) != 128)
		broken(5, "more is lost than was not flushed");
	zm_regions_destroy(zr);
}

/* Zeroes that were not flushed may be gone like anything else. */
static void zeroes_lost(void)
{
	struct zm_regions *zr = zm_regions_create(2 * 512, 8, true, false, 0,
						  ready);
	struct zm_flush flush;
	struct zm_op op;

	if (!zm_prezero_begin(zr, &op, 0, 0, 64, false))
		broken(4, "nothing is zeroed");
	zm_prezero_end(zr, &op, true);
	zm_flush_begin(zr, &flush);
	zm_flush_end(zr, &flush);
	if (!zm_prezero_begin(zr, &op, 1, 0, 64, false))
		broken(4, "nothing is zeroed");
	zm_prezero_end(zr, &op, true);
	if (zm_regions_zero(zr) != 128 || zm_regions_dirty(zr) != 128)
		broken(5, "what was zeroed is not known zero and dirty");
	zm_dest_fail(zr, flush.generation);
	zm_dest_lost(zr);
	if (zm_regions_zero(zr) != 64)
		broken(2, "%u regions are known zero, not the 64 that were flushed",
		       zm_regions_zero(zr));
	zm_regions_destroy(zr);
}

/*
 * A region in sync that has data now is lost, and zeroed before it is copied: what was
 * known of the source at the start is not true of it.
 */
static void hint_too_late(void)
{
	struct zm_regions *zr = zm_regions_create(512, 8, false, false, 0,
						  ready);
	sector_t sectors;
	struct zm_op op;

	if (zm_changed_alloc(zr))
		broken(5, "no room for what is changed");
	write_region(zr, 3, &op);
	zm_op_end(zr, &op, 0);
	zm_dest_fail(zr, op.generation);
	zm_dest_lost(zr);
	zm_dest_attach(zr);
	if (!zm_prezero_begin(zr, &op, 0, 0, 64, false))
		broken(4, "nothing is zeroed");
	zm_prezero_end(zr, &op, true);
	zm_hint_zero(zr, 0, 64, &sectors);
	if (zr->dirty[0] != BIT_ULL(3) || sectors != 63 * 8)
		broken(1, "a hint makes %llu sectors clean, and leaves %#llx dirty",
		       (unsigned long long)sectors,
		       (unsigned long long)zr->dirty[0]);
	zm_regions_destroy(zr);
}

static u64 number(const char *arg)
{
	char *end;
	u64 value;

	errno = 0;
	value = strtoull(arg, &end, 0);
	if (errno || *end || end == arg) {
		fprintf(stderr, "region-model: not a number: %s\n", arg);
		exit(2);
	}
	return value;
}

int main(int argc, char **argv)
{
	u64 steps = 1000000;
	int i;

	if (getrandom(&seed, sizeof(seed), 0) != sizeof(seed))
		return 2;
	seed >>= 16;
	for (i = 1; i + 1 < argc; i += 2) {
		if (!strcmp(argv[i], "-n"))
			steps = number(argv[i + 1]);
		else if (!strcmp(argv[i], "-s"))
			seed = number(argv[i + 1]);
		else
			break;
	}
	if (i != argc) {
		fprintf(stderr, "usage: region-model [-n STEPS] [-s SEED]\n");
		return 2;
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	printf("# seed %llu, %llu steps\n", (unsigned long long)seed,
	       (unsigned long long)steps);
	rng = seed * 2 + 1;
	for (i = 0; i < 10; i++)
		random64();

	shim_before_lock = before_lock;
	out_of_memory();
	geometry();
	runs();
	flushes();
	zeroes_lost();
	hint_too_late();
	while (step < steps)
		episode(500 + below(one_in(10) ? 100000 : 8000));

	for (i = 0; i < N_COUNTS; i++) {
		printf("# %s: %llu\n", count_names[i],
		       (unsigned long long)counts[i]);
		if (!counts[i] && steps >= 1000000)
			broken(5, "there were no %s", count_names[i]);
	}
	printf("ok 1 - region-model -n %llu -s %llu\n",
	       (unsigned long long)step, (unsigned long long)seed);
	return 0;
}
