/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * As much of the kernel as dm-zmirror-region.c needs, for user space. One thread
 * runs, so atomics are plain, and a lock checks that it is used as it should be.
 */
#ifndef ZM_SHIM_H
#define ZM_SHIM_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;
typedef int32_t s32;
typedef u64 sector_t;

#define BITS_PER_LONG		64
#define BITS_TO_LONGS(n)	DIV_ROUND_UP((n), BITS_PER_LONG)
#define BIT(n)			(1UL << (n))
#define BIT_ULL(n)		(1ULL << (n))
#define GENMASK_ULL(high, low)	((~0ULL << (low)) & (~0ULL >> (63 - (high))))
#define round_up(x, y) ((((x) - 1) | ((__typeof__(x))(y) - 1)) + 1)
#define DIV_ROUND_UP(n, d)	(((n) + (d) - 1) / (d))
#define ARRAY_SIZE(a)		(sizeof(a) / sizeof((a)[0]))
#define noinline
#define __releases(...)
#define likely(x)	(x)
#define unlikely(x)	(x)
#define READ_ONCE(x)		(x)
#define WRITE_ONCE(x, v)	((x) = (v))
#define ____cacheline_aligned_in_smp
#define smp_load_acquire(p)	(*(p))
#define smp_store_release(p, v)	(*(p) = (v))
#define smp_rmb()		do { } while (0)
#define smp_wmb()		do { } while (0)
#define cond_resched()		do { } while (0)
#define min_t(type, a, b) min((type)(a), (type)(b))
#define min(a, b)		((a) < (b) ? (a) : (b))
#define swap(a, b) \
	do { __typeof__(a) t_ = (a); (a) = (b); (b) = t_; } while (0)
#define container_of(ptr, type, member) \
	((type *)((char *)(ptr) - offsetof(type, member)))

static inline unsigned int hweight64(u64 x)
{
	return __builtin_popcountll(x);
}

static inline unsigned int __ffs64(u64 x)
{
	assert(x);
	return __builtin_ctzll(x);
}

static inline int fls64(u64 x)
{
	return x ? 64 - __builtin_clzll(x) : 0;
}

static inline int ilog2(u64 x)
{
	return fls64(x) - 1;
}

/* Bad on purpose: chunks far apart share a bucket, as they may anywhere. */
static inline u32 hash_32(u32 x, unsigned int bits)
{
	(void)bits;
	return x & 1;
}

static inline void set_bit(u32 nr, unsigned long *map)
{
	map[nr / BITS_PER_LONG] |= 1UL << nr % BITS_PER_LONG;
}

static inline void clear_bit(u32 nr, unsigned long *map)
{
	map[nr / BITS_PER_LONG] &= ~(1UL << nr % BITS_PER_LONG);
}

static inline bool test_bit(u32 nr, const unsigned long *map)
{
	return map[nr / BITS_PER_LONG] >> nr % BITS_PER_LONG & 1;
}

static inline u32 find_next_bit(const unsigned long *map, u32 size, u32 from)
{
	while (from < size && !test_bit(from, map))
		from++;
	return min(from, size);
}

static inline void bitmap_fill(unsigned long *map, u32 size)
{
	while (size--)
		set_bit(size, map);
}

/* Atomics */

typedef struct { int counter; } atomic_t;

static inline int atomic_read(const atomic_t *a)
{
	return a->counter;
}

static inline void atomic_set(atomic_t *a, int v)
{
	a->counter = v;
}

static inline void atomic_add(int v, atomic_t *a)
{
	a->counter = (int)((u32)a->counter + (u32)v);
}

static inline void atomic_sub(int v, atomic_t *a)
{
	a->counter = (int)((u32)a->counter - (u32)v);
}

static inline void atomic_inc(atomic_t *a)
{
	atomic_add(1, a);
}

static inline int atomic_inc_return(atomic_t *a)
{
	atomic_inc(a);
	return a->counter;
}

static inline bool atomic_sub_and_test(int v, atomic_t *a)
{
	atomic_sub(v, a);
	return !a->counter;
}

static inline int atomic_fetch_or(int v, atomic_t *a)
{
	int was = a->counter;

	a->counter |= v;
	return was;
}

static inline void atomic_or(int v, atomic_t *a)
{
	a->counter |= v;
}

static inline void atomic_andnot(int v, atomic_t *a)
{
	a->counter &= ~v;
}

static inline int atomic_cmpxchg(atomic_t *a, int old, int new)
{
	int was = a->counter;

	if (was == old)
		a->counter = new;
	return was;
}

static inline bool atomic_try_cmpxchg(atomic_t *a, int *old, int new)
{
	int was = atomic_cmpxchg(a, *old, new);
	bool done = was == *old;

	*old = was;
	return done;
}

/* Lists */

struct list_head {
	struct list_head *next, *prev;
};

static inline void INIT_LIST_HEAD(struct list_head *head)
{
	head->next = head;
	head->prev = head;
}

static inline bool list_empty(const struct list_head *head)
{
	return head->next == head;
}

static inline void list_add_tail(struct list_head *entry, struct list_head *head)
{
	entry->next = head;
	entry->prev = head->prev;
	head->prev->next = entry;
	head->prev = entry;
}

static inline void list_del(struct list_head *entry)
{
	entry->prev->next = entry->next;
	entry->next->prev = entry->prev;
	entry->next = NULL;
	entry->prev = NULL;
}

struct hlist_node {
	struct hlist_node *next, **pprev;
};

struct hlist_head {
	struct hlist_node *first;
};

static inline void INIT_HLIST_HEAD(struct hlist_head *head)
{
	head->first = NULL;
}

static inline bool hlist_empty(const struct hlist_head *head)
{
	return !head->first;
}

static inline void hlist_add_head(struct hlist_node *node,
				  struct hlist_head *head)
{
	node->next = head->first;
	if (node->next)
		node->next->pprev = &node->next;
	head->first = node;
	node->pprev = &head->first;
}

static inline void __hlist_del(struct hlist_node *node)
{
	*node->pprev = node->next;
	if (node->next)
		node->next->pprev = node->pprev;
}

/* Who looks at the node again finds poison. */
static inline void hlist_del(struct hlist_node *node)
{
	__hlist_del(node);
	node->next = NULL;
	node->pprev = NULL;
}

#define hlist_entry_safe(ptr, type, member)				\
	((ptr) ? container_of(ptr, type, member) : NULL)

#define hlist_for_each_entry(pos, head, member)				\
	for (pos = hlist_entry_safe((head)->first, typeof(*pos), member); \
	     pos;							\
	     pos = hlist_entry_safe(pos->member.next, typeof(*pos), member))

#define list_entry(ptr, type, member) container_of(ptr, type, member)

#define list_for_each_entry(pos, head, member)				\
	for (pos = list_entry((head)->next, typeof(*pos), member);	\
	     &pos->member != (head);					\
	     pos = list_entry(pos->member.next, typeof(*pos), member))

#define list_for_each_entry_safe(pos, n, head, member)			\
	for (pos = list_entry((head)->next, typeof(*pos), member),	\
	     n = list_entry(pos->member.next, typeof(*pos), member);	\
	     &pos->member != (head);					\
	     pos = n, n = list_entry(n->member.next, typeof(*n), member))

/* Locks: one at a time, and every one that is taken is let go. */

typedef struct { bool held; } spinlock_t;

extern int shim_locks;
extern void (*shim_before_lock)(void);	/* what others do meanwhile */

static inline void spin_lock_init(spinlock_t *lock)
{
	lock->held = false;
}

static inline void shim_lock(spinlock_t *lock)
{
	assert(!shim_locks);
	assert(!lock->held);
	lock->held = true;
	shim_locks++;
}

static inline void shim_unlock(spinlock_t *lock)
{
	assert(lock->held);
	lock->held = false;
	shim_locks--;
}

#define spin_lock_irqsave(lock, flags)		\
	do { (flags) = 0; shim_before_lock(); shim_lock(lock); } while (0)
#define spin_unlock_irqrestore(lock, flags)	\
	do { (void)(flags); shim_unlock(lock); } while (0)
#define spin_lock_irq(lock)			\
	do { shim_before_lock(); shim_lock(lock); } while (0)
#define spin_unlock_irq(lock)	shim_unlock(lock)

/* Memory: counted, and made to fail when a test says so. */

#define GFP_KERNEL	0

extern unsigned long shim_allocs;	/* so far */
extern long shim_fail_at;		/* fail that many allocations from now */

static inline void *kvcalloc(size_t n, size_t size, int gfp)
{
	(void)gfp;
	shim_allocs++;
	if (shim_fail_at > 0 && !--shim_fail_at)
		return NULL;
	return calloc(n, size);
}

static inline void *kvzalloc(size_t size, int gfp)
{
	return kvcalloc(1, size, gfp);
}

static inline void kvfree(void *p)
{
	free(p);
}

#endif
