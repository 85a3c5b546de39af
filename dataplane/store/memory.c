#include "dataplane/store/memory.h"

#include "dataplane/base/check.h"

#ifdef NICACHED_MIMALLOC

#include <mimalloc.h>
#include <pthread.h>

static void *block_allocate(struct memory *memory, size_t bytes)
{
    if (UNLIKELY(memory->heap == NULL)) {
        memory_attach_thread(memory);
    }
    return mi_heap_malloc(memory->heap, bytes);
}

static void block_free(void *block)
{
    mi_free(block);
}

size_t memory_block_bytes(void *block)
{
    return mi_usable_size(block);
}

void memory_attach_thread(struct memory *memory)
{
    CHECK(memory->heap == NULL);
    memory->heap = mi_heap_new();
    CHECK(memory->heap != NULL);
    memory->thread = (uint64_t)pthread_self();
}

/* mimalloc deletes the heaps of a thread that ends; then the heap is not ours to touch any more. */
void memory_deinit(struct memory *memory)
{
    if (memory->heap != NULL && memory->thread == (uint64_t)pthread_self()) {
        mi_heap_delete(memory->heap);
    }
    memory->heap = NULL;
}

#else

#include <malloc.h>
#include <stdlib.h>

static void *block_allocate(struct memory *memory, size_t bytes)
{
    return malloc(bytes);
}

static void block_free(void *block)
{
    free(block);
}

size_t memory_block_bytes(void *block)
{
    return malloc_usable_size(block);
}

void memory_attach_thread(struct memory *memory)
{
}

void memory_deinit(struct memory *memory)
{
}

#endif

static void store_relaxed(uint64_t *counter, uint64_t value)
{
    __atomic_store_n(counter, value, __ATOMIC_RELAXED);
}

static void note_peak(struct memory *memory)
{
    uint64_t used = memory_used_bytes(memory);
    if (used > memory->peak_bytes) {
        store_relaxed(&memory->peak_bytes, used);
    }
}

/* Written so that no sum can overflow. */
static bool fits(const struct memory *memory, uint64_t bytes)
{
    uint64_t used = memory_used_bytes(memory);
    return memory->limit_bytes == 0 ||
           (used <= memory->limit_bytes && bytes <= memory->limit_bytes - used);
}

void memory_init(struct memory *memory, uint64_t limit_bytes)
{
    *memory = (struct memory){.limit_bytes = limit_bytes};
}

void *memory_allocate(struct memory *memory, size_t bytes, enum memory_limit limit)
{
    if (UNLIKELY(limit == MEMORY_LIMITED && !fits(memory, bytes))) {
        return NULL;
    }
    void *block = block_allocate(memory, bytes);
    if (UNLIKELY(block == NULL)) {
        return NULL;
    }
    size_t given = memory_block_bytes(block);
    if (UNLIKELY(limit == MEMORY_LIMITED && !fits(memory, given))) {
        block_free(block);
        return NULL;
    }
    store_relaxed(&memory->item_bytes, memory->item_bytes + given);
    note_peak(memory);
    return block;
}

void memory_free(struct memory *memory, void *block)
{
    size_t given = memory_block_bytes(block);
    DEBUG_CHECK(memory->item_bytes >= given);
    store_relaxed(&memory->item_bytes, memory->item_bytes - given);
    block_free(block);
}

bool memory_reserve_index(struct memory *memory, uint64_t bytes, enum memory_limit limit)
{
    if (limit == MEMORY_LIMITED && !fits(memory, bytes)) {
        return false;
    }
    store_relaxed(&memory->index_bytes, memory->index_bytes + bytes);
    note_peak(memory);
    return true;
}

void memory_release_index(struct memory *memory, uint64_t bytes)
{
    CHECK(memory->index_bytes >= bytes);
    store_relaxed(&memory->index_bytes, memory->index_bytes - bytes);
}

void memory_note_retired(struct memory *memory, uint64_t bytes)
{
    store_relaxed(&memory->retired_bytes, memory->retired_bytes + bytes);
}

void memory_note_reclaimed(struct memory *memory, uint64_t bytes)
{
    CHECK(memory->retired_bytes >= bytes);
    store_relaxed(&memory->retired_bytes, memory->retired_bytes - bytes);
}
