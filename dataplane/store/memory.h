/* The allocator face of one shard: where items and blobs come from, and the books.
 *
 * Thread: the owning worker allocates and frees; any thread may read the figures (relaxed).
 * Memory: with NICACHED_MIMALLOC a heap of its own, bound to the owning thread; otherwise the
 * system allocator. Failure: NULL when the limit or the machine has no more. Books are exact: what
 * the allocator really gave (the usable size of the block) is what counts.
 */
#ifndef NICACHED_STORE_MEMORY_H
#define NICACHED_STORE_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum memory_limit { MEMORY_LIMITED, MEMORY_UNLIMITED };

struct memory {
    void *heap;           /* mi_heap_t; NULL until a thread is attached */
    uint64_t thread;      /* which one */
    uint64_t limit_bytes; /* 0: none */
    /* Written by the owner with relaxed stores. */
    uint64_t item_bytes, index_bytes, retired_bytes, peak_bytes;
};

void memory_init(struct memory *memory, uint64_t limit_bytes);
void memory_attach_thread(struct memory *memory);
/* Every block has been freed. */
void memory_deinit(struct memory *memory);

void *memory_allocate(struct memory *memory, size_t bytes, enum memory_limit limit);
void memory_free(struct memory *memory, void *block);
size_t memory_block_bytes(void *block);

/* Index memory is allocated elsewhere (EAL, partly by another thread); only the books are here.
 * Reserving comes first and fails over the limit. */
bool memory_reserve_index(struct memory *memory, uint64_t bytes, enum memory_limit limit);
void memory_release_index(struct memory *memory, uint64_t bytes);

/* Items that wait for a grace period: still counted in item_bytes. */
void memory_note_retired(struct memory *memory, uint64_t bytes);
void memory_note_reclaimed(struct memory *memory, uint64_t bytes);

static inline uint64_t memory_used_bytes(const struct memory *memory)
{
    return __atomic_load_n(&memory->item_bytes, __ATOMIC_RELAXED) +
           __atomic_load_n(&memory->index_bytes, __ATOMIC_RELAXED);
}

#endif
