/* A pool of objects of one size, carved from slabs: acquiring and releasing are a few instructions;
 * the heap is asked only when the pool grows, and gets its memory back when the pool is destroyed.
 *
 * What was released is kept in a stack beside the slabs, not in a list through the objects: one
 * that is in no cache is given back without being looked at, and whose turn comes soon is known
 * ahead.
 *
 * The first slab is small; each is twice the one before, up to 2 MiB, from where on they are large
 * pages if the kernel has any (transparent ones). Many objects that are looked at in turn are in no
 * cache; in small pages every look would miss the TLB as well, whose walk a prefetch waits for too.
 * Such a page comes with one fault, a tenth of a millisecond in which the kernel clears it: once
 * for thousands of objects.
 *
 * Thread: one owner.
 */
#ifndef NICACHED_BASE_OBJECT_POOL_H
#define NICACHED_BASE_OBJECT_POOL_H

#include <stddef.h>
#include <stdint.h>

#include "dataplane/base/bytes.h"
#include "dataplane/base/check.h"

struct object_pool_slab {
    struct object_pool_slab *next;
};

struct object_pool {
    size_t object_bytes; /* a multiple of 64 */
    size_t slab_bytes;   /* of the next slab */
    uint32_t used_count, free_count;
    size_t object_count; /* in all slabs */
    void **free;         /* released, the last one last */
    size_t free_room;    /* not less than object_count */
    struct object_pool_slab *slabs;
    uint8_t *fresh; /* objects of the last slab that nobody had yet */
    size_t fresh_count;
};

/* `first_count`: so many objects at least are in the first slab. */
void object_pool_init(struct object_pool *pool, size_t object_bytes, uint32_t first_count);
void object_pool_deinit(struct object_pool *pool);

void *object_pool_take_fresh(struct object_pool *pool);

/* Not zeroed; aligned to a cache line. NULL when the heap is exhausted. */
static inline void *object_pool_acquire(struct object_pool *pool)
{
    void *object = LIKELY(pool->free_count > 0) ? pool->free[--pool->free_count]
                                                : object_pool_take_fresh(pool);
    pool->used_count += object != NULL;
    return object;
}

static inline void object_pool_release(struct object_pool *pool, void *object)
{
    CHECK(pool->used_count > 0);
    pool->used_count--;
    pool->free[pool->free_count++] = object;
}

/* Released before, to be acquired after `count` others; NULL: nobody knows. */
static inline void *object_pool_after(const struct object_pool *pool, uint32_t count)
{
    return pool->free_count > count ? pool->free[pool->free_count - 1 - count] : NULL;
}

#endif
