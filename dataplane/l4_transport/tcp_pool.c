#include "dataplane/l4_transport/tcp_pool.h"

#include <stdlib.h>

#include "dataplane/base/check.h"

#define LINE_BYTES 64U

void tcp_pool_init(struct tcp_pool *pool, size_t object_bytes, uint32_t slab_objects)
{
    *pool = (struct tcp_pool){
        .object_bytes = (object_bytes + LINE_BYTES - 1) / LINE_BYTES * LINE_BYTES,
        .slab_objects = slab_objects,
    };
}

void tcp_pool_deinit(struct tcp_pool *pool)
{
    CHECK(pool->used_count == 0);
    while (pool->slabs != NULL) {
        struct tcp_pool_entry *slab = pool->slabs;
        pool->slabs = slab->next;
        free(slab);
    }
    pool->free = NULL;
}

/* The first line of a slab links it to the others. */
static void grow(struct tcp_pool *pool)
{
    uint8_t *slab = aligned_alloc(LINE_BYTES, LINE_BYTES + pool->object_bytes * pool->slab_objects);
    if (slab == NULL) {
        return;
    }
    struct tcp_pool_entry *head = (struct tcp_pool_entry *)(void *)slab;
    head->next = pool->slabs;
    pool->slabs = head;
    for (uint32_t i = pool->slab_objects; i > 0; i--) {
        struct tcp_pool_entry *entry =
            (struct tcp_pool_entry *)(void *)(slab + LINE_BYTES + (i - 1) * pool->object_bytes);
        entry->next = pool->free;
        pool->free = entry;
    }
}

void *tcp_pool_acquire(struct tcp_pool *pool)
{
    if (pool->free == NULL) {
        grow(pool);
    }
    struct tcp_pool_entry *entry = pool->free;
    if (entry != NULL) {
        pool->free = entry->next;
        pool->used_count++;
    }
    return entry;
}

void tcp_pool_release(struct tcp_pool *pool, void *object)
{
    struct tcp_pool_entry *entry = object;
    CHECK(pool->used_count > 0);
    pool->used_count--;
    entry->next = pool->free;
    pool->free = entry;
}
