#include "dataplane/base/object_pool.h"

#include <stdbool.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "dataplane/base/check.h"

#define LINE_BYTES       64U
#define SLAB_BYTES_MIN   4096U
#define LARGE_PAGE_BYTES (2U << 20)

void object_pool_init(struct object_pool *pool, size_t object_bytes, uint32_t first_count)
{
    *pool = (struct object_pool){
        .object_bytes = (object_bytes + LINE_BYTES - 1) / LINE_BYTES * LINE_BYTES,
        .slab_bytes = SLAB_BYTES_MIN,
    };
    while (pool->slab_bytes - LINE_BYTES < pool->object_bytes * first_count) {
        pool->slab_bytes *= 2;
    }
}

void object_pool_deinit(struct object_pool *pool)
{
    CHECK(pool->used_count == 0);
    while (pool->slabs != NULL) {
        struct object_pool_slab *slab = pool->slabs;
        pool->slabs = slab->next;
        free(slab);
    }
    free(pool->free);
    pool->free = NULL;
    pool->free_count = 0;
    pool->object_count = pool->free_room = pool->fresh_count = 0;
}

/* For `count` more objects, all of which may come back. */
static bool make_room(struct object_pool *pool, size_t count)
{
    size_t room = pool->free_room, wanted = pool->object_count + count;
    if (wanted <= room) {
        return true;
    }
    room = wanted < 2 * room ? 2 * room : wanted;
    void **larger = realloc(pool->free, room * sizeof(*larger));
    if (larger == NULL) {
        return false;
    }
    pool->free = larger;
    pool->free_room = room;
    return true;
}

/* The first line of a slab links it to the others. */
static void grow(struct object_pool *pool)
{
    size_t bytes = pool->slab_bytes, count = (bytes - LINE_BYTES) / pool->object_bytes;
    if (!make_room(pool, count)) {
        return;
    }
    bool is_large = bytes >= LARGE_PAGE_BYTES;
    uint8_t *slab = aligned_alloc(is_large ? LARGE_PAGE_BYTES : LINE_BYTES, bytes);
    if (slab == NULL) {
        return;
    }
    if (is_large) {
        (void)madvise(slab, bytes, MADV_HUGEPAGE);
    } else {
        pool->slab_bytes *= 2;
    }
    struct object_pool_slab *head = (struct object_pool_slab *)(void *)slab;
    head->next = pool->slabs;
    pool->slabs = head;
    pool->object_count += count;
    pool->fresh = slab + LINE_BYTES;
    pool->fresh_count = count;
}

void *object_pool_take_fresh(struct object_pool *pool)
{
    if (pool->fresh_count == 0) {
        grow(pool);
    }
    if (pool->fresh_count == 0) {
        return NULL;
    }
    uint8_t *object = pool->fresh;
    pool->fresh += pool->object_bytes;
    pool->fresh_count--;
    return object;
}
