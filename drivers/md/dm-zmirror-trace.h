/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Tracepoints of a zmirror: why a region was or was not written.
 *
 * The masks are those of a chunk, bit 0 is its first region. The device is that
 * of the mirror.
 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM zmirror

#if !defined(DM_ZMIRROR_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define DM_ZMIRROR_TRACE_H

#include <linux/kdev_t.h>
#include <linux/tracepoint.h>

TRACE_DEFINE_ENUM(ZM_OP_WRITE);
TRACE_DEFINE_ENUM(ZM_OP_ZEROES);
TRACE_DEFINE_ENUM(ZM_OP_DISCARD);
TRACE_DEFINE_ENUM(ZM_OP_COPY);

#define zm_show_kind(kind) __print_symbolic(kind,	\
	{ ZM_OP_WRITE,		"write" },		\
	{ ZM_OP_ZEROES,		"zeroes" },		\
	{ ZM_OP_DISCARD,	"discard" },		\
	{ ZM_OP_COPY,		"copy" })

#define zm_show_legs(legs) __print_symbolic(legs,	\
	{ 0,			"none" },		\
	{ 1,			"source" },		\
	{ 2,			"dest" },		\
	{ 3,			"both" })

/* Printed after the bits of its chunk as they are once it has begun. */
TRACE_EVENT(zmirror_begin,
	TP_PROTO(u32 dev, const struct zm_op *op, u64 dirty, u64 zero),
	TP_ARGS(dev, op, dirty, zero),
	TP_STRUCT__entry(
		__field(u32, dev)
		__field(u8, kind)
		__field(u8, legs)
		__field(bool, skipped)
		__field(bool, hold)
		__field(u64, start)
		__field(u64, len)
		__field(u32, chunk)
		__field(u64, touch)
		__field(u64, raced)
		__field(u64, dirty)
		__field(u64, zero)
	),
	TP_fast_assign(
		__entry->dev = dev;
		__entry->kind = op->kind;
		__entry->legs = op->legs;
		__entry->skipped = op->skipped;
		__entry->hold = op->hold;
		__entry->start = op->start;
		__entry->len = op->end - op->start;
		__entry->chunk = op->chunk;
		__entry->touch = op->touch;
		__entry->raced = op->raced;
		__entry->dirty = dirty;
		__entry->zero = zero;
	),
	TP_printk("%u:%u %s %llu+%llu legs=%s%s%s chunk=%u touch=%llx raced=%llx dirty=%llx zero=%llx",
		  MAJOR(__entry->dev), MINOR(__entry->dev),
		  zm_show_kind(__entry->kind), __entry->start, __entry->len,
		  zm_show_legs(__entry->legs),
		  __entry->skipped ? " skipped" : "",
		  __entry->hold ? " hold" : "", __entry->chunk,
		  __entry->touch, __entry->raced, __entry->dirty,
		  __entry->zero)
);

/* @failed is a mask of legs. */
TRACE_EVENT(zmirror_end,
	TP_PROTO(u32 dev, const struct zm_op *op, u64 whole,
		 unsigned int failed),
	TP_ARGS(dev, op, whole, failed),
	TP_STRUCT__entry(
		__field(u32, dev)
		__field(u8, kind)
		__field(u8, legs)
		__field(u64, start)
		__field(u64, len)
		__field(u32, chunk)
		__field(u64, whole)
		__field(u64, raced)
		__field(unsigned int, failed)
	),
	TP_fast_assign(
		__entry->dev = dev;
		__entry->kind = op->kind;
		__entry->legs = op->legs;
		__entry->start = op->start;
		__entry->len = op->end - op->start;
		__entry->chunk = op->chunk;
		__entry->whole = whole;
		__entry->raced = op->raced;
		__entry->failed = failed;
	),
	TP_printk("%u:%u %s %llu+%llu legs=%s chunk=%u whole=%llx raced=%llx failed=%s%s",
		  MAJOR(__entry->dev), MINOR(__entry->dev),
		  zm_show_kind(__entry->kind), __entry->start, __entry->len,
		  zm_show_legs(__entry->legs), __entry->chunk,
		  __entry->whole, __entry->raced,
		  __entry->failed & 1 ? "S" : "-",
		  __entry->failed & 2 ? "D" : "-")
);

/* A copy: what was copied, what of it was zero, what of that needs no write. */
TRACE_EVENT(zmirror_copied,
	TP_PROTO(u32 dev, const struct zm_op *op, u64 copied, u64 zeroes),
	TP_ARGS(dev, op, copied, zeroes),
	TP_STRUCT__entry(
		__field(u32, dev)
		__field(u64, start)
		__field(u64, len)
		__field(u32, chunk)
		__field(u64, touch)
		__field(u64, copied)
		__field(u64, zeroes)
		__field(u64, known)
		__field(u64, raced)
	),
	TP_fast_assign(
		__entry->dev = dev;
		__entry->start = op->start;
		__entry->len = op->end - op->start;
		__entry->chunk = op->chunk;
		__entry->touch = op->touch;
		__entry->copied = copied;
		__entry->zeroes = zeroes & copied;
		__entry->known = zeroes & copied & op->known_zero;
		__entry->raced = op->raced;
	),
	TP_printk("%u:%u %llu+%llu chunk=%u touch=%llx copied=%llx zeroes=%llx known=%llx raced=%llx",
		  MAJOR(__entry->dev), MINOR(__entry->dev), __entry->start,
		  __entry->len, __entry->chunk, __entry->touch,
		  __entry->copied, __entry->zeroes, __entry->known,
		  __entry->raced)
);

/* What changed in the bits of a chunk. */
DECLARE_EVENT_CLASS(zmirror_bits,
	TP_PROTO(u32 dev, u32 chunk, u64 regions),
	TP_ARGS(dev, chunk, regions),
	TP_STRUCT__entry(
		__field(u32, dev)
		__field(u32, chunk)
		__field(u64, regions)
	),
	TP_fast_assign(
		__entry->dev = dev;
		__entry->chunk = chunk;
		__entry->regions = regions;
	),
	TP_printk("%u:%u chunk=%u regions=%llx",
		  MAJOR(__entry->dev), MINOR(__entry->dev), __entry->chunk,
		  __entry->regions)
);

DEFINE_EVENT(zmirror_bits, zmirror_dirty,
	TP_PROTO(u32 dev, u32 chunk, u64 regions),
	TP_ARGS(dev, chunk, regions)
);

DEFINE_EVENT(zmirror_bits, zmirror_clean,
	TP_PROTO(u32 dev, u32 chunk, u64 regions),
	TP_ARGS(dev, chunk, regions)
);

DEFINE_EVENT(zmirror_bits, zmirror_zero,
	TP_PROTO(u32 dev, u32 chunk, u64 regions),
	TP_ARGS(dev, chunk, regions)
);

DEFINE_EVENT(zmirror_bits, zmirror_nonzero,
	TP_PROTO(u32 dev, u32 chunk, u64 regions),
	TP_ARGS(dev, chunk, regions)
);

#endif

#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH .
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE dm-zmirror-trace
#include <trace/define_trace.h>
