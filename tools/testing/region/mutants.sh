#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Breaks the region module on purpose, one line at a time, and has the model find
# each of them. Prints TAP; a mutant that survives fails. ONLY=word: those with the
# word in their name.
set -uo pipefail

here=$(cd "$(dirname "$0")" && pwd)
build=${O:-$here/build}
module=$here/../../../drivers/md/dm-zmirror-region.c
cc=${CC:-gcc}
nr=0
failed=0
mkdir -p "$build"

# mutant NAME SED-EXPRESSION
mutant()
{
	local name=$1 dir=$build/mutant said

	[[ $name = *"${ONLY:-}"* ]] || return
	nr=$((nr + 1))
	rm -rf "$dir"
	mkdir -p "$dir"
	sed -E -e "$2" "$module" >"$dir/region.c"
	sed "s,^#include \".*dm-zmirror-region.c\",#include \"$dir/region.c\"," \
		"$here/region-model.c" >"$dir/model.c"
	if cmp -s "$module" "$dir/region.c"; then
		echo "not ok $nr $name: nothing in the module matches"
		failed=$((failed + 1))
		return
	fi
	if ! "$cc" -O2 -g -w -fsanitize=address,undefined \
	     -fno-sanitize-recover=all -I"$here/shim" \
	     -I"$(dirname "$module")" -o "$dir/model" "$dir/model.c"; then
		echo "not ok $nr $name: does not compile"
		failed=$((failed + 1))
		return
	fi
	if said=$(timeout 60 "$dir/model" -n "${STEPS:-20000000}" -s 1 2>&1); then
		echo "not ok $nr $name: survives"
		failed=$((failed + 1))
	else
		echo "ok $nr $name # $(grep -m 1 -E 'broken|assert|ERROR|error' \
			<<<"$said" | sed 's/^# //' | cut -c 1-90)"
	fi
}

mutant "overlapping writes do not wait" \
	's/return a->start < b->end && b->start < a->end;/return false;/'
mutant "writes that touch at their ends wait" \
	's/return a->start < b->end && b->start/return a->start <= b->end \&\& b->start/'
mutant "a held copy holds nobody" \
	's/return \(a->hold \|\| b->hold\) && .*/return false;/'
mutant "a first copy holds writes" \
	's/return \(a->hold \|\| b->hold\) && /return /'
mutant "operations of other chunks are in the way" \
	'/^static bool zm_conflict/,/^}/s/return false;/return true;/'
mutant "who waits is not counted" \
	'/in_flight, node\)$/{n;s/blockers \+= zm_conflict\(other, op\)/blockers += 0/}'
mutant "later ones overtake those who wait" \
	'/waiting, list\)$/{n;s/blockers \+= zm_conflict\(other, op\)/blockers += 0/}'
mutant "a dropped request lets nobody go" \
	's/if \(!begun->legs\)/if (0)/'
mutant "the other does not learn of a race" \
	's/other->raced \|= both;//'
mutant "one does not learn of a race" \
	's/op->raced \|= both;//'
mutant "a write under copy goes to both legs" \
	's/op->source_only \|\| copied \|\|/op->source_only ||/'
mutant "a source-only request goes to both legs" \
	's/op->source_only \|\| copied \|\|/copied ||/'
mutant "a failed destination is still written" \
	's/if \(!dest_well \|\| op/if (op/'
mutant "a write leaves the zero bits" \
	's/if \(op->kind == ZM_OP_WRITE\)$/if (0)/'
mutant "a source-only write leaves its regions clean" \
	's/op->dirtied \|= zm_set_dirty\(zr, op->chunk, op->touch\);//'
mutant "zeroes are dropped on dirty regions" \
	's/if \(op->droppable && .*/if (op->droppable)/'
mutant "zeroes are dropped that must not be" \
	's/if \(op->droppable && /if (/'
mutant "zeroes are skipped where some region is zero" \
	's/if \(op->touch & ~zr->zero\[op->chunk\]\)/if (!(op->touch \& zr->zero[op->chunk]))/'
mutant "data is skipped as zeroes are" \
	's/if \(op->kind == ZM_OP_ZEROES && zm_skip/if (zm_skip/'
mutant "what is partly covered counts as whole at its start" \
	's/if \(op->start & cut\)/if (0)/'
mutant "what is partly covered counts as whole at its end" \
	's/if \(\(op->end & cut\) && .*/if (0)/'
mutant "an end cleans what raced" \
	's/good = zm_whole\(zr, op\) & ~op->raced;/good = zm_whole(zr, op);/'
mutant "an end cleans what is partly covered" \
	's/good = zm_whole\(zr, op\) & ~op->raced;/good = op->touch \& ~op->raced;/'
mutant "a write in sync is looked at no further" \
	'/^static bool zm_settled/,/^}/s/!\(op->touch & zr->dirty\[op->chunk\]\)/true/'
mutant "a failed write in sync is looked at no further" \
	'/^static bool zm_settled/,/^}/s/ && !failed//'
mutant "a plain write is one that finds zero bits" \
	's/u64 bits = zr->dirty\[op->chunk\] \| .*/u64 bits = zr->dirty[op->chunk];/'
mutant "a plain write is one to dirty regions" \
	's/u64 bits = zr->dirty\[op->chunk\] \| .*/u64 bits = zr->zero[op->chunk];/'
mutant "a plain write is one to the source alone" \
	's/op->kind != ZM_OP_WRITE \|\| op->source_only/op->kind != ZM_OP_WRITE/'
mutant "all is a plain write" \
	's/op->kind != ZM_OP_WRITE \|\| op->source_only/op->source_only/'
mutant "a plain write does not care whether the destination is well" \
	's/!zm_dest_well\(zr, &op->generation\)\)/(zm_dest_well(zr, \&op->generation), 0))/'
mutant "a write that comes into a crowd does not look around" \
	's/likely\(hlist_empty\(&bucket->in_flight\)\) &&$/1 \&\&/'
mutant "who waits is forgotten" \
	's/if \(likely\(list_empty\(&bucket->waiting\)\)\)/if (1)/'
mutant "a source-only write cleans" \
	's/if \(!\(op->legs & ZM_DEST\)\)/if (0)/'
mutant "zeroes for the source alone clean any region" \
	's/good &= zr->zero\[chunk\];/;/'
mutant "a failure leaves regions clean" \
	'/^static noinline unsigned int zm_settle/,/^}/s/if \(failed\)/if (0)/'
mutant "a failure leaves the zero bits" \
	's/if \(failed & \(ZM_DEST \| ZM_STALE\)\)/if (0)/'
mutant "a stale end is believed" \
	's/failed \|= ZM_STALE;/;/'
mutant "a stale copy is believed" \
	's/if \(op->generation == \(u32\)atomic_read\(&zr->failures\)\) \{/if (1) {/'
mutant "a copy of raced regions is believed" \
	's/good = copied & op->touch & ~op->raced;/good = copied \& op->touch;/'
mutant "a copy looks for races before it has the lock" \
	'/Until the lock is taken, a write/{N;s/^/	good = copied \& op->touch \& ~op->raced;\n/}; s/^	good = copied & op->touch & ~op->raced;$//'
mutant "raced regions are not told" \
	's/\*raced = .*/*raced = 0;/'
mutant "data is copied to zero regions" \
	's/zm_clear_zero\(zr, op->chunk, regions & op->touch\);//'
mutant "a copy looks at the zero bits too early" \
	's/op->known_zero = zr->zero\[op->chunk\] & op->touch;/op->known_zero |= zr->zero[op->chunk] \& op->touch;/; s/^	op->touch = touch;$/&\n	op->known_zero = zr->zero[chunk] \& touch;/'
mutant "two copies of one region" \
	's/return zr->dirty\[chunk\] & ~zm_regions_under\(.*/return zr->dirty[chunk];/'
mutant "clean regions are copied" \
	's/u64 gaps = ~\(mask >> first\);/u64 gaps = 0;/'
mutant "copies begin on a failed destination" \
	's/\(ZM_DEST_FAILED \| ZM_SOURCE_GONE\)\)/ZM_SOURCE_GONE)/'
mutant "a copy that waited forgets when it came" \
	's/^		op->legs = ZM_SOURCE \| ZM_DEST;/&\n		op->generation = atomic_read(\&zr->failures);/'
mutant "a request does not record what it wrote" \
	'/^unsigned int zm_op_end/,/^}/s/zr->written\[op->chunk\] = .*/;/'
mutant "a copy does not record what it wrote" \
	'/^unsigned int zm_copy_end/,/^}/s/zr->written\[op->chunk\] = .*/;/'
mutant "a flush covers what is written while it runs" \
	's/flush->epoch = atomic_inc_return\(&zr->epoch\) - 1;/flush->epoch = atomic_inc_return(\&zr->epoch);/'
mutant "flushes do not count" \
	's/flush->epoch = atomic_inc_return\(&zr->epoch\) - 1;/flush->epoch = atomic_read(\&zr->epoch);/'
mutant "an older flush takes a newer one back" \
	's/if \(\(s32\)\(flush->epoch - \(u32\)old\) <= 0\)/if (0)/'
mutant "nothing is taken for lost" \
	's/if \(\(s32\)\(READ_ONCE\(zr->written\[chunk\]\) - flushed\) > 0\)/if (0)/'
mutant "a lost chunk stays clean" \
	's/^	dirtied = zm_set_dirty\(zr, chunk, mask\);/	dirtied = false;/'
mutant "a lost chunk keeps its zero bits" \
	'/^	dirtied = zm_set_dirty\(zr, chunk, mask\);/{n;d}'
mutant "a late failure counts again" \
	'/^bool zm_dest_fail\(/,/^}/s/if \(generation != .*/if (0)/'
mutant "a failure does not count" \
	's/atomic_inc\(&zr->failures\);//'
mutant "the last chunk is longer than the mirror" \
	's/return left >= ZM_CHUNK_REGIONS \? ~0ULL : .*/return ~0ULL;/'
mutant "the index forgets dirty chunks" \
	's/set_bit\(chunk, zr->dirty_chunks\);/;/'
mutant "the index keeps clean chunks" \
	's/clear_bit\(chunk, zr->dirty_chunks\);/;/'
mutant "dirty regions are counted twice" \
	's/u64 new = mask & ~zr->dirty\[chunk\];/u64 new = mask;/'
mutant "zero regions are counted twice" \
	's/u64 new = mask & ~zr->zero\[chunk\];/u64 new = mask;/'
mutant "in sync is not told" \
	's/return atomic_sub_and_test\(.*/atomic_sub(hweight64(old), \&zr->nr_dirty); return false;/'
mutant "new dirty regions are not told" \
	's/ZM_ENDED_DIRTY : 0/0 : 0/'
mutant "the promise of zeroes is forgotten in the counts" \
	's/atomic_set\(&zr->nr_zero, zero \? /atomic_set(\&zr->nr_zero, 0 ? /'
mutant "the last region is not whole at the end of the mirror" \
	's/ && op->end != zr->len\)/)/'
mutant "a failed allocation is not noticed" \
	's/if \(!zr->buckets \|\| !zr->dirty \|\| !zr->zero \|\| /if (!zr->buckets || !zr->dirty || /'
mutant "owners are told under the lock" \
	'/begun = zm_leave/{n;d}'
mutant "the destination is zeroed where it is clean" \
	's/todo = zm_dirty_and_free\(zr, bucket, chunk\)/todo = ~zm_regions_under(bucket, chunk, ZM_OP_COPY)/'
mutant "the destination is zeroed where it is zero" \
	's/(todo = zm_dirty_and_free\(zr, bucket, chunk\)) & ~zr->zero\[chunk\]/\1/'
mutant "the destination is zeroed under a copy" \
	's/todo = zm_dirty_and_free\(zr, bucket, chunk\)/todo = zr->dirty[chunk]/'
mutant "zeroing begins elsewhere" \
	's/ && \(!next \|\| \(todo & BIT_ULL\(from\)\)\)//'
mutant "a zeroing that raced is believed" \
	'/^void zm_prezero_end/,/^}/s/op->touch & ~op->raced/op->touch/'
mutant "a zeroing that failed is believed" \
	'/^void zm_prezero_end/,/^}/s/if \(zeroed && /if (/'
mutant "a zeroing is believed after a failure" \
	'/^void zm_prezero_end/,/^}/s/if \(zeroed && .*/if (zeroed)/'
mutant "a zeroing is not recorded as written" \
	'/^void zm_prezero_end/,/^}/s/zr->written\[.*/;/'
mutant "zeroing a failed destination" \
	'/^bool zm_prezero_begin/,/^}/s/zm_may_copy\(zr, bucket, &generation\)/(zm_may_copy(zr, bucket, \&generation) || true)/'
mutant "a discard that is passed on keeps zero bits" \
	'/^static void zm_decide_discard/,/^}/s/zm_clear_zero\(.*/;/'
mutant "a discard spares regions that are not zero" \
	's/op->known_zero = op->touch & zr->zero\[op->chunk\];/op->known_zero = op->touch;/'
mutant "a discard spares nothing" \
	's/op->known_zero = op->touch & zr->zero\[op->chunk\];/;/'
mutant "a discard leaves regions clean" \
	'/^static void zm_decide_discard/,/^}/s/op->dirtied = .*/;/'
mutant "copies begin under discards" \
	's/free &= ~zm_regions_under\(.*/;/'
mutant "the end of a discard does not tell" \
	's/return op->touch & zr->dirty\[chunk\] \? ZM_ENDED_DIRTY : 0;/return 0;/'
mutant "runs of copies end anywhere" \
	's/min\(len, max - first % max\)/min(len, max)/'
mutant "a run of regions is one too long" \
	's/return min_t\(u32, at \+ __ffs64\(word\), end\)/return min_t(u32, at + __ffs64(word) + 1, end)/'
mutant "a run of regions passes its end" \
	's/return min_t\(u32, at \+ __ffs64\(word\), end\)/return at + __ffs64(word)/'
mutant "what could not be read is copied" \
	's/free &= ~zm_unread\(zr, chunk\);//'
mutant "who raced with an error is left out" \
	'/^u32 zm_copy_unread/,/^}/s/ & ~op->raced//'
mutant "clean regions are left out" \
	'/^u32 zm_copy_unread/,/^}/s/ & zr->dirty\[op->chunk\]//'
mutant "what was left out is counted again" \
	'/^u32 zm_copy_unread/,/^}/{s/ & ~op->raced &$/ \& ~op->raced;/;s/^\t *~zm_unread\(zr, op->chunk\);//}'
mutant "what becomes clean stays left out" \
	's/zm_clear_unread\(zr, chunk, old\);//'
mutant "what is left out is never forgotten" \
	's/zm_clear_unread\(zr, chunk, ~0ULL\);/;/'
mutant "dirty regions are read from the destination" \
	's/if \(READ_ONCE\(zr->dirty\[chunk\]\) & zm_span\(first, last, chunk\)\)/if (0)/'
mutant "a chunk that is dirty elsewhere is not read" \
	's/ & zm_span\(first, last, chunk\)\)/)/'
mutant "only the first chunk of a read is looked at" \
	's/chunk <= last >> ZM_CHUNK_SHIFT; chunk\+\+/chunk <= first >> ZM_CHUNK_SHIFT; chunk++/'
mutant "a failed destination is read" \
	'/^bool zm_read_dest\(/,/^}/s/if \(!zm_dest_well\(zr, &op->generation\)\)/if (!zm_dest_well(zr, \&op->generation) \&\& 0)/'
mutant "what a failed destination had is believed" \
	'/^bool zm_read_dest_end/,/^}/s/return .*/return true;/'
mutant "a comparison holds nobody" \
	'/^enum zm_again zm_verify_hold/,/^}/s/op->hold = true;//'
mutant "dirty regions are compared" \
	'/^enum zm_again zm_verify_hold/,/^}/s/taken = zr->dirty\[chunk\] \|/taken =/'
mutant "regions under copy are compared" \
	'/^enum zm_again zm_verify_hold/,/^}/{s/taken = zr->dirty\[chunk\] \|/taken = zr->dirty[chunk];/;/zm_regions_under/d}'
mutant "a failed destination is compared" \
	'/^enum zm_again zm_verify_hold/,/^}/s/zm_may_copy\(zr, bucket, &generation\)/(zm_may_copy(zr, bucket, \&generation) || true)/'
mutant "what differs stays clean" \
	'/^unsigned int zm_verify_release/,/^}/s/zm_set_dirty\(.*/;/'
mutant "what differs stays zero" \
	'/^unsigned int zm_verify_release/,/^}/s/zm_clear_zero\(.*/;/'
mutant "who waits for a comparison waits for ever" \
	'/^unsigned int zm_verify_release/,/^}/s/zm_tell\(zr, begun\);//'
mutant "a comparison that differs does not tell" \
	'/^unsigned int zm_verify_release/,/^}/s/ended = ZM_ENDED_DIRTY;/;/'
mutant "a mark stops before its last chunk" \
	'/^unsigned int zm_regions_mark/,/^}/s/<= \(end - 1\)/< (end - 1)/'
mutant "a mark goes one too far" \
	's/regions = zm_span\(first, end - 1, chunk\);/regions = zm_span(first, end, chunk);/'
mutant "a span begins with its word" \
	's/unsigned int from = first > base .*/unsigned int from = 0;/'
mutant "what is marked dirty is not told" \
	's/return zm_set_dirty\(zr, chunk, regions\) \? ZM_ENDED_DIRTY : 0;/zm_set_dirty(zr, chunk, regions); return 0;/'
mutant "what is marked clean is not told" \
	'/^static unsigned int zm_chunk_marked/,/^}/s/ZM_ENDED_IN_SYNC : 0;/0 : 0;/'
mutant "a destination is used before it is known what it lost" \
	'/^void zm_dest_attach/,/^}/s/if \(old & ZM_LOST_DUE\)/if (0)/'
mutant "what was lost is never known" \
	's/atomic_andnot\(ZM_LOST_DUE, &zr->trouble\);//'
mutant "a discard that failed does not tell" \
	'/^static noinline unsigned int zm_settle/,/^}/s/return ZM_ENDED_DIRTY;/return 0;/'
mutant "users have nothing to flush" \
	's/zr->used, epoch\);/zr->used, 0);/'
mutant "users always have something to flush" \
	'/^bool zm_flush_needed/,/^}/s/return .*/return true;/'
mutant "requests begin while frozen" \
	's/zm_count_blockers\(bucket, op\) \+ op->frozen;/zm_count_blockers(bucket, op);/'
mutant "the short way is open while frozen" \
	's/zm_trouble\(zr, &op->generation\)\)$/(zm_trouble(zr, \&op->generation), 0))/'
mutant "copies begin while frozen" \
	's/ZM_SOURCE_GONE\)\) && !bucket->frozen;/ZM_SOURCE_GONE));/'
mutant "who is frozen is let go by others" \
	's/waiter->blockers -= waiter->frozen;/;/'
mutant "a thaw lets all go" \
	's/waiter->blockers -= waiter->frozen;/waiter->blockers = 0;/'
mutant "one bucket stays frozen" \
	'/^void zm_thaw/,/^}/s/i = 0; i < ZM_BUCKETS/i = 1; i < ZM_BUCKETS/'
mutant "who was frozen is not told" \
	'/^void zm_thaw/,/^}/s/zm_tell\(zr, begun\);//'
mutant "copies begin without the source" \
	's/\(ZM_DEST_FAILED \| ZM_SOURCE_GONE\)\)/ZM_DEST_FAILED)/'
mutant "requests go to a source that is gone" \
	'/^static noinline void zm_decide\(/,/^}/s/unlikely\(zm_source_gone\(zr\)\)/0/'
mutant "what the source lacks is forgotten" \
	'/^static void zm_decide_gone/,/^}/s/zm_set_dirty\(.*/;/'
mutant "what the source lacks becomes clean" \
	's/if \(!\(op->legs & ZM_SOURCE\)\)$/if (0)/'
mutant "without the source writes leave zero bits" \
	'/^static void zm_decide_gone/,/^}/s/zm_clear_zero\(.*/;/'
mutant "without the source zeroes are dropped" \
	'/^static void zm_decide_gone/,/^}/s/if \(op->skipped && op->droppable\)/if (op->droppable)/'
mutant "without the source blocks are not provisioned" \
	'/^static void zm_decide_gone/,/^}/s/if \(op->skipped && op->droppable\)/if (op->skipped)/'
mutant "a hint does not see what was changed" \
	's/~zr->changed\[chunk\] & //'
mutant "what is changed is not kept in mind" \
	's/zr->changed\[op->chunk\] \|= op->touch;/;/'
mutant "the short way keeps nothing in mind" \
	's/zr->changed \|\| zm_trouble/zm_trouble/'
mutant "a hint is taken for what the destination has not" \
	's/equal = zr->dirty\[chunk\] & zr->zero\[chunk\] &/equal = zr->dirty[chunk] \&/'
mutant "a hint speaks of others, too" \
	's/& zm_span\(first, end - 1, chunk\) &$/\& zm_chunk_mask(zr, chunk) \&/'
mutant "a hint cleans what is busy" \
	's/zm_free\(bucket, chunk\);/~0ULL;/'
mutant "a hint comes through while all is frozen" \
	'/^unsigned int zm_hint_zero/,/^}/s/if \(zm_may_copy\(zr, bucket, &generation\)\)/if (1)/'
mutant "a hint is not counted" \
	's/\*sectors \+= zm_sectors.*/;/'
mutant "the last region counts whole" \
	's/nr -= .*zr->len;/;/'
mutant "a hint does not tell of being in sync" \
	'/^unsigned int zm_hint_zero/,/^}/s/ended = ZM_ENDED_IN_SYNC;/;/'
mutant "zero bits stay when the legs change places" \
	's/zm_clear_zero\(zr, chunk, zr->dirty\[chunk\]\);//'
mutant "the source is gone after the legs change places" \
	's/atomic_set\(&zr->trouble, 0\);//'
mutant "changes are known after the legs change places" \
	's/zr->changed = NULL;/zr->changed = kvcalloc(zr->nr_chunks, 8, 0);/'
mutant "a flush is needed when the legs have changed places" \
	'/^void zm_legs_exchange/,/^}/s/zm_flush_end\(zr, &flush\);//'
mutant "a copy takes no notice of a mark" \
	's/op->raced \|= op->touch & regions;/;/'
mutant "who compares does not tell that the region is dirty" \
	'/^unsigned int zm_verify_release/,/^}/s/if \(zr->dirty.*/if (copy)/'
mutant "a discard goes where it must not once the source is gone" \
	's/if \(op->kind == ZM_OP_DISCARD && op->source_only\)/if (0)/'

echo "1..$nr"
echo "# $((nr - failed)) of $nr mutants were found"
[ "$failed" = 0 ]
