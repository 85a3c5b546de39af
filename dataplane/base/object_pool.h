/* A pool of objects of one size, carved from slabs: acquiring and releasing are a few instructions;
 * the heap is asked only when the pool grows, and gets its memory back when the pool is destroyed.
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

struct object_pool_entry {
    struct object_pool_entry *next;
};

struct object_pool {
    size_t object_bytes; /* a multiple of 64 */
    size_t slab_bytes;   /* of the next slab */
    uint32_t used_count;
    struct object_pool_entry *free, *slabs;
    uint8_t *fresh; /* objects of the last slab that nobody had yet */
    size_t fresh_count;
};

/* `first_count`: so many objects at least are in the first slab. */
void object_pool_init(struct object_pool *pool, size_t object_bytes, uint32_t first_count);
void object_pool_deinit(struct object_pool *pool);
/* Not zeroed; aligned to a cache line. NULL when the heap is exhausted. */
void *object_pool_acquire(struct object_pool *pool);
void object_pool_release(struct object_pool *pool, void *object);

#endif
