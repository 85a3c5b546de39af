/* The allocator of one shard: where items, blobs and parts of an index come from, and the books.
 *
 *   up to 16 KiB   a block of a size class, in a span: a run of units that is full of such blocks
 *   beyond         a run of its own
 *
 *   classes        step 8 bytes from 16 to 512; then 16 steps for each doubling (6.25 % at most)
 *   index classes  step 128 bytes from 128 to 2048, in spans of their own: they are moved otherwise
 *   bins           each class keeps its spans that have room by how full they are, in quarters. The
 *                  fullest is taken from, so that the emptiest become empty, and their pages go to
 *                  whoever needs some: any class, or the machine.
 *   recent         blocks that were just given back, and are in the cache still, wait outside their
 *                  spans for the next allocation of their class, the last one first: a few at most,
 *                  and only while there are pages. memory_drain puts them where they belong.
 *
 *   region.h has the pages. Limits: `limit_bytes` bounds what is allocated and the index together;
 *   and the units in use, the index and the bookkeeping together, which is what the machine loses.
 *   Smaller limits than MEMORY_UNITS_MIN units are kept by the first bound only.
 *
 * Thread: whoever holds the shard: its owner, or the holder of its lease. It is bound to no thread,
 * and takes no lock: a hand-over by message (release, acquire) is all that it takes. Any thread may
 * read the figures (relaxed). Time: bounded. System calls: none; chunks are prepared and released
 * by memory_serve, on the reclaimer thread. Failure: NULL when the limit or the machine has no
 * more. Books are exact: what a block takes, not what was asked for, is what counts.
 */
#ifndef NICACHED_STORE_MEMORY_H
#define NICACHED_STORE_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dataplane/base/check.h"
#include "dataplane/store/region.h"

enum memory_limit { MEMORY_LIMITED, MEMORY_UNLIMITED };

#define MEMORY_SMALL_BYTES_MAX 16384U
#define MEMORY_ITEM_CLASSES    143U
#define MEMORY_INDEX_STEP      128U /* bytes; blocks are aligned to 64 */
#define MEMORY_INDEX_CLASSES   16U
#define MEMORY_CLASSES         (MEMORY_ITEM_CLASSES + MEMORY_INDEX_CLASSES)
#define MEMORY_BINS            4
#define MEMORY_UNITS_MIN       256U
/* What waits outside of spans: about as much as a pass overwrites, and less than a cache. */
#define MEMORY_RECENT_BLOCKS_MAX 1024U
#define MEMORY_RECENT_BYTES_MAX  (256U << 10)

/* Freed, in front of the others of its class. */
struct recent_block {
    struct recent_block *next;
};

struct size_class {
    uint32_t block_bytes;
    uint16_t span_units;
    uint16_t capacity;    /* blocks of a span */
    uint32_t free_blocks; /* in spans that are not being evacuated */
    uint32_t first[MEMORY_BINS];
    struct recent_block *recent; /* not in their spans' lists, which count them as in use */
    uint16_t
        enter[MEMORY_BINS + 2]; /* blocks in use with which a span enters a bin, full included */
    uint16_t leave[MEMORY_BINS + 1];
};

struct memory {
    struct region region;
    uint64_t limit_bytes;                                         /* 0: none */
    uint64_t class_bits[MEMORY_BINS][(MEMORY_CLASSES + 63) / 64]; /* classes that have such spans */
    struct size_class classes[MEMORY_CLASSES];
    uint32_t recent_blocks, recent_bytes; /* of all classes */
    uint32_t patience;   /* how often memory_next_task still looks after region.wanted_chunks */
    bool short_of_pages; /* an allocation failed for want of pages; cleared by who looks */
    uint32_t evacuating_spans;
    uint64_t evacuating_bytes;
    uint32_t draining_chunk, draining_unit; /* the chunk whose spans are victims, and from where */
    uint32_t victim_class, scatter_chunk;   /* where the search goes on */
    /* Written by the holder with relaxed stores. */
    uint64_t item_bytes, blob_bytes, index_bytes, retired_bytes, peak_bytes;
    uint64_t index_block_bytes; /* part of index_bytes: in spans of the index classes */
    uint64_t span_bytes;        /* units of spans; what is not allocated of them is holes */
    uint64_t run_bytes;         /* part of item_bytes: not in spans */
    /* As of memory_publish_figures: units in use; chunks that are not BARE; bookkeeping. */
    uint64_t active_bytes, resident_bytes, overhead_bytes, free_page_bytes;
};

struct memory_options {
    uint64_t limit_bytes; /* so much is put behind the addresses at once, but for the share that
                             the index will need; 0: a little, and more when it is used */
    bool use_hugepages;
    int numa_node; /* -1: any */
    const struct region_devices *devices;
};

bool memory_init(struct memory *memory, const struct memory_options *options);
/* What is still allocated is gone, too. */
void memory_deinit(struct memory *memory);
void memory_set_limit(struct memory *memory, uint64_t bytes); /* any thread */

void *memory_allocate(struct memory *memory, size_t bytes, enum memory_limit limit);
/* The same; *given is what the block takes: memory_rounded_bytes, or more where no page can be had.
 */
void *memory_allocate_block(struct memory *memory, size_t bytes, enum memory_limit limit,
                            size_t *given);
void memory_free(struct memory *memory, void *block);
/* The same for a block that takes `given` bytes and is likely to be wanted again at once. */
void memory_recycle(struct memory *memory, void *block, size_t given);
/* At most so many recycled blocks go back into their spans; true: that were all. */
bool memory_drain(struct memory *memory, uint32_t count);
/* A block of `bytes`, or of up to 64 bytes less, can be had now: that the books leave room does
 * not say that a hole of the right size, or a run of pages, is there. */
bool memory_can_allocate(struct memory *memory, size_t bytes);
/* True: `bytes` in small blocks of any sizes, and of `largest_bytes` at most, can be had for
 * certain. False says nothing. */
bool memory_has_plenty(const struct memory *memory, uint64_t bytes, uint64_t largest_bytes);
#define MEMORY_LINEAR_BYTES_MAX 512U
size_t memory_rounded_large_bytes(size_t bytes); /* beyond that */
/* What blocks of a class take, asked for by size: 1 to MEMORY_SMALL_BYTES_MAX. */
static inline size_t memory_rounded_bytes(size_t bytes)
{
    if (LIKELY(bytes <= MEMORY_LINEAR_BYTES_MAX)) {
        return bytes <= 16 ? 16 : (bytes + 7) & ~(size_t)7;
    }
    return memory_rounded_large_bytes(bytes);
}
/* What a block takes. */
size_t memory_block_bytes(const struct memory *memory, const void *block);

/* Devices can read it where it lies, as long as it is not freed. */
bool memory_is_mapped(const struct memory *memory, const void *block);

/* A part of an index: a multiple of MEMORY_INDEX_STEP bytes, or more where no page can be had:
 * memory_block_bytes says how many. memory_free takes it back. Nobody moves it but who asks
 * memory_is_leaving. */
void *memory_allocate_index(struct memory *memory, size_t bytes, enum memory_limit limit);
/* It lies in a span that is to become empty. */
bool memory_is_leaving(const struct memory *memory, const void *block);

/* Other index memory is allocated elsewhere (EAL, partly by another thread, and the heap); only the
 * books are here. Reserving comes first and fails over the limit. */
bool memory_reserve_index(struct memory *memory, uint64_t bytes, enum memory_limit limit);
void memory_release_index(struct memory *memory, uint64_t bytes);

/* Items that wait for a grace period: still counted in item_bytes. */
void memory_note_retired(struct memory *memory, uint64_t bytes);
void memory_note_reclaimed(struct memory *memory, uint64_t bytes);
void memory_note_blob(struct memory *memory, int64_t bytes); /* part of item_bytes */

static inline uint64_t memory_used_bytes(const struct memory *memory)
{
    return __atomic_load_n(&memory->item_bytes, __ATOMIC_RELAXED) +
           __atomic_load_n(&memory->index_bytes, __ATOMIC_RELAXED);
}

/* ---- chunks ahead of use, and back to the machine ---------------------------------------------
 */

struct memory_task {
    struct memory *memory;
    uint32_t chunk;
};
/* What the reclaimer should do next; false: nothing. */
bool memory_next_task(struct memory *memory, struct memory_task *task);
/* Makes system calls; any one thread at a time. Then the holder says memory_finish. */
void memory_serve(const struct memory_task *task);
void memory_finish(const struct memory_task *task);

/* ---- moving blocks together -------------------------------------------------------------------
 *
 * memory_choose_victim says which span should become empty; nothing is allocated from it any more.
 * The caller moves its blocks (allocates others, frees these), and the span vanishes with its last
 * block. memory_give_up takes it back into use. */

/* REGION_NONE: no span whose emptying is worth its cost. */
uint32_t memory_choose_victim(struct memory *memory);
/* How far the look through a span has come; zeroed: not begun. Which blocks are free only their
 * list says: it is walked first, in slices. Nothing is allocated from the span meanwhile, so what
 * is freed comes in front of what was walked. */
#define MEMORY_SPAN_OFFSETS_MAX 16384U
struct span_visit {
    bool has_begun, has_marked; /* all free blocks */
    uint16_t head, next;        /* free blocks from `head` up to `next` are in `free_bits` */
    uint32_t position;          /* blocks before it have been looked at */
    uint64_t free_bits[MEMORY_SPAN_OFFSETS_MAX / 64]; /* by their offset */
};
/* The blocks in use of a span: goes on with the look, and calls `visit` for each until it returns
 * false; true when all have been visited. */
bool memory_visit_blocks(struct memory *memory, uint32_t span, struct span_visit *look,
                         bool (*visit)(void *argument, void *block), void *argument);
/* Of an index class: not for memory_visit_blocks. */
bool memory_is_index_span(const struct memory *memory, uint32_t span);
/* The span is still there and to become empty. */
bool memory_is_evacuating(const struct memory *memory, uint32_t span);
void memory_give_up(struct memory *memory, uint32_t span);

uint64_t memory_hole_bytes(const struct memory *memory); /* free, in spans */
/* What can still be allocated without moving anything; UINT64_MAX: there is no limit. */
uint64_t memory_headroom_bytes(const struct memory *memory);
uint64_t memory_huge_bytes(const struct memory *memory);   /* of reserved hugepages */
uint64_t memory_mapped_bytes(const struct memory *memory); /* for devices */
/* Brings the figures up to date that others may read but that are not kept block by block. */
void memory_publish_figures(struct memory *memory);

#endif
