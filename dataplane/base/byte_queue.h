/* A queue of bytes made of chunks: what a connection has still to send.
 *
 *   head                                                    tail
 *    |                                                        |
 *    v                                                        v
 *  [page: copied bytes] -> [reference: bytes of a blob] -> [page: copied bytes, room left]
 *
 * Four kinds of chunk. A page holds copied bytes and comes from the core's pool. A slip is a small
 * page, for bytes that only wait (byte_queue_shrink). A reference
 * points at bytes that somebody else owns, a large value for instance, and holds a count on the
 * owner until the bytes are consumed; nothing is copied. Lent room, which only the head can be, is
 * filled as a page is, but is a part of the packet that the reply leaves in. The transport reads at
 * any offset (it may have to send the same bytes again) and consumes from the front what the peer
 * has acknowledged.
 *
 * Thread: the owning core only. Failure: the pool allocates from the heap when its free list is
 * empty, and a failing heap is a CHECK; limits on output are the session's to enforce.
 */
#ifndef NICACHED_BASE_BYTE_QUEUE_H
#define NICACHED_BASE_BYTE_QUEUE_H

#include <sys/uio.h>

#include "dataplane/base/bytes.h"
#include "dataplane/base/check.h"
#include "dataplane/base/object_pool.h"

#define BYTE_PAGE_BYTES 4096 /* a page with its header */
#define BYTE_SLIP_BYTES 256  /* a slip with its header */

/* What a reference keeps alive. `release` is called once for each reference that was queued, and
 * for each `acquire` of who lets the bytes outlive that; both by any thread. */
struct byte_owner {
    void (*acquire)(struct byte_owner *owner);
    void (*release)(struct byte_owner *owner);
    bool is_mapped; /* devices can read the bytes by themselves, at the same addresses */
};

struct byte_chunk {
    struct byte_chunk *next;
    const uint8_t *data;      /* first byte; in a page, right behind this header */
    size_t size;              /* bytes filled */
    size_t size_max;          /* bytes there is room for; of a reference: its size */
    struct byte_owner *owner; /* NULL for a page or a slip, byte_lender for lent room */
};

extern struct byte_owner byte_lender;

#define BYTE_PAGE_ROOM (BYTE_PAGE_BYTES - sizeof(struct byte_chunk))
#define BYTE_SLIP_ROOM (BYTE_SLIP_BYTES - sizeof(struct byte_chunk))

struct byte_pool {
    struct byte_chunk **free; /* pages, the last one that was given back last */
    size_t free_count;
    size_t free_count_max;   /* beyond it, pages go back to the heap */
    size_t used_count;       /* chunks in queues, but for slips: for accounting and leak checks */
    size_t referenced_bytes; /* that chunks in queues refer to; twice what two of them refer to */
    struct object_pool slips;
};

/* What the only chunk of a queue is known to be. What most replies are is given back without being
 * looked at: when the peer acknowledges it, it is in no cache. */
enum byte_lone {
    BYTE_LONE_UNKNOWN, /* or there are none, or several */
    BYTE_LONE_PAGE,
    BYTE_LONE_SLIP,
    BYTE_LONE_LENT, /* nothing is to be given back */
};

struct byte_queue {
    struct byte_chunk *head, *tail;
    size_t size;          /* bytes in the queue */
    uint32_t head_offset; /* bytes of the head chunk already consumed */
    uint8_t lone;         /* enum byte_lone */
};

void byte_pool_init(struct byte_pool *pool, size_t free_count_max);
void byte_pool_deinit(struct byte_pool *pool); /* every queue must be empty */

void byte_pool_free_page(struct byte_chunk *page);
/* Takes a page back, which is not looked at. */
static inline void byte_pool_release_page(struct byte_pool *pool, struct byte_chunk *page)
{
    DEBUG_CHECK(pool->used_count > 0);
    pool->used_count--;
    if (LIKELY(pool->free_count < pool->free_count_max)) {
        pool->free[pool->free_count++] = page;
    } else {
        byte_pool_free_page(page);
    }
}

/* Replies are about to be shrunk: asks for the first of the slips that they take, each of which
 * then asks for a later one. */
void byte_pool_prefetch_slips(const struct byte_pool *pool);

/* The page that is given out next, or NULL. */
static inline const struct byte_chunk *byte_pool_next_page(const struct byte_pool *pool)
{
    return pool->free_count > 0 ? pool->free[pool->free_count - 1] : NULL;
}

/* Of all chunks in queues. */
static inline size_t byte_pool_held_bytes(const struct byte_pool *pool)
{
    return pool->used_count * BYTE_PAGE_BYTES + pool->slips.used_count * BYTE_SLIP_BYTES;
}

static inline void byte_queue_init(struct byte_queue *queue)
{
    *queue = (struct byte_queue){0};
}

void byte_queue_append(struct byte_queue *queue, struct byte_pool *pool, const void *data,
                       size_t size);

/* The first bytes of the queue, which has no chunk yet, go to `room`. It and `chunk` stay the
 * caller's, who keeps them until the queue is cleared; bytes behind `size_max` go into pages. The
 * chunks of such a queue stay in it. */
static inline void byte_queue_lend(struct byte_queue *queue, struct byte_chunk *chunk,
                                   uint8_t *room, size_t size_max)
{
    DEBUG_CHECK(queue->head == NULL);
    *chunk = (struct byte_chunk){.data = room, .size_max = size_max, .owner = &byte_lender};
    queue->head = queue->tail = chunk;
    queue->lone = BYTE_LONE_LENT;
}

/* An empty page at the end of the queue. */
void byte_queue_add_page(struct byte_queue *queue, struct byte_pool *pool);

/* Bytes that the last chunk has room for. */
static inline size_t byte_queue_room(const struct byte_queue *queue)
{
    const struct byte_chunk *tail = queue->tail;
    return tail == NULL ? 0 : tail->size_max - tail->size;
}

/* Room for `size` contiguous bytes (at most BYTE_PAGE_ROOM); the caller fills a prefix of it and
 * commits how much. Nothing else may touch the queue in between. */
static inline uint8_t *byte_queue_reserve(struct byte_queue *queue, struct byte_pool *pool,
                                          size_t size)
{
    CHECK(size <= BYTE_PAGE_ROOM);
    if (UNLIKELY(byte_queue_room(queue) < size)) {
        byte_queue_add_page(queue, pool);
    }
    /* What has room is a page or was lent as such. */
    return (uint8_t *)(uintptr_t)(queue->tail->data + queue->tail->size);
}

static inline void byte_queue_commit(struct byte_queue *queue, size_t size)
{
    DEBUG_CHECK(size <= byte_queue_room(queue));
    queue->tail->size += size;
    queue->size += size;
}

/* Takes over one count on `owner`, released when the bytes are consumed or the queue is cleared. */
void byte_queue_append_reference(struct byte_queue *queue, struct byte_pool *pool,
                                 struct slice bytes, struct byte_owner *owner);

/* Bytes that fill a small part of a page, and wait: they move into a slip, and the page is the next
 * reply's, in the cache. Nobody may point at them. Without memory nothing happens. */
void byte_queue_shrink(struct byte_queue *queue, struct byte_pool *pool);

/* Moves all of `from` to the end of `to`. */
void byte_queue_move(struct byte_queue *to, struct byte_queue *from);

/* The same where the two queues have different pools: what is short is copied, so that its pages
 * stay where they are; else the chunks, which may be no slips, move over, and belong to `to_pool`
 * from then on. */
void byte_queue_transfer(struct byte_queue *to, struct byte_pool *to_pool, struct byte_queue *from,
                         struct byte_pool *from_pool);

/* Copies min(size, queued - offset) bytes from `offset` on; returns how many. */
size_t byte_queue_copy_out(const struct byte_queue *queue, size_t offset, void *to, size_t size);

/* Describes bytes from the front in at most `count_max` vectors; returns how many were filled. */
size_t byte_queue_vectors(const struct byte_queue *queue, struct iovec *vectors, size_t count_max);

/* Gives back what is in the queue; for byte_queue_clear. */
void byte_queue_release_chunks(struct byte_queue *queue, struct byte_pool *pool);
/* Drops everything. */
static inline void byte_queue_clear(struct byte_queue *queue, struct byte_pool *pool)
{
    if (LIKELY(queue->lone == BYTE_LONE_PAGE)) {
        byte_pool_release_page(pool, queue->head);
    } else if (LIKELY(queue->lone == BYTE_LONE_SLIP)) {
        object_pool_release(&pool->slips, queue->head);
    } else if (UNLIKELY(queue->lone == BYTE_LONE_UNKNOWN && queue->head != NULL)) {
        byte_queue_release_chunks(queue, pool);
    }
    byte_queue_init(queue);
}

/* Drops `size` bytes from the front; size is less than queue->size. */
void byte_queue_consume_part(struct byte_queue *queue, struct byte_pool *pool, size_t size);
/* The same, or all of them. */
static inline void byte_queue_consume(struct byte_queue *queue, struct byte_pool *pool, size_t size)
{
    if (LIKELY(size == queue->size)) {
        byte_queue_clear(queue, pool);
    } else {
        byte_queue_consume_part(queue, pool, size);
    }
}

#endif
