/* A pool of objects of one size, carved from slabs: acquiring and releasing are a few instructions;
 * the heap is asked only when the pool grows, and gets its memory back when the pool is destroyed.
 */
#ifndef NICACHED_L4_TRANSPORT_TCP_POOL_H
#define NICACHED_L4_TRANSPORT_TCP_POOL_H

#include <stddef.h>
#include <stdint.h>

struct tcp_pool_entry {
    struct tcp_pool_entry *next;
};

struct tcp_pool {
    size_t object_bytes; /* a multiple of 64 */
    uint32_t slab_objects;
    uint32_t used_count;
    struct tcp_pool_entry *free, *slabs;
};

void tcp_pool_init(struct tcp_pool *pool, size_t object_bytes, uint32_t slab_objects);
void tcp_pool_deinit(struct tcp_pool *pool);
/* Not zeroed; aligned to a cache line. NULL when the heap is exhausted. */
void *tcp_pool_acquire(struct tcp_pool *pool);
void tcp_pool_release(struct tcp_pool *pool, void *object);

#endif
