#include "dataplane/base/byte_queue.h"

#include <stdlib.h>

#define SLIPS_FIRST  8191U /* a large page: where replies wait is chance */
#define LINE_BYTES   64U
#define CHUNKS_AHEAD 4U /* that are taken before one that is asked for into the cache */

/* Marks what was lent: its lender knows when the queue is cleared. */
struct byte_owner byte_lender;

static uint8_t *page_bytes(struct byte_chunk *page)
{
    return (uint8_t *)(page + 1);
}

/* A chunk whose turn comes soon: for writing a header and what a short reply is. */
static inline void prefetch_chunk(const void *chunk)
{
    if (chunk != NULL) {
        __builtin_prefetch(chunk, 1);
        __builtin_prefetch((const uint8_t *)chunk + LINE_BYTES, 1);
    }
}

/* References use pages too: one pool, one size, and they are few beside the bytes they carry. */
static struct byte_chunk *acquire_chunk(struct byte_pool *pool)
{
    struct byte_chunk *chunk;
    if (LIKELY(pool->free_count > 0)) {
        chunk = pool->free[--pool->free_count];
        prefetch_chunk(
            pool->free_count >= CHUNKS_AHEAD ? pool->free[pool->free_count - CHUNKS_AHEAD] : NULL);
    } else {
        chunk = malloc(BYTE_PAGE_BYTES);
        CHECK(chunk != NULL);
    }
    pool->used_count++;
    chunk->next = NULL;
    chunk->data = page_bytes(chunk);
    chunk->size = 0;
    chunk->size_max = BYTE_PAGE_ROOM;
    chunk->owner = NULL;
    return chunk;
}

static bool is_page(const struct byte_chunk *chunk)
{
    return chunk->owner == NULL && chunk->size_max == BYTE_PAGE_ROOM;
}

static bool is_slip(const struct byte_chunk *chunk)
{
    return chunk->owner == NULL && chunk->size_max == BYTE_SLIP_ROOM;
}

void byte_pool_free_page(struct byte_chunk *page)
{
    free(page);
}

static void release_chunk(struct byte_pool *pool, struct byte_chunk *chunk)
{
    if (chunk->owner == &byte_lender) {
        return;
    }
    if (is_slip(chunk)) {
        object_pool_release(&pool->slips, chunk);
        return;
    }
    if (chunk->owner != NULL) {
        pool->referenced_bytes -= chunk->size_max;
        chunk->owner->release(chunk->owner);
    }
    byte_pool_release_page(pool, chunk);
}

static void link_chunk(struct byte_queue *queue, struct byte_chunk *chunk)
{
    if (queue->tail == NULL) {
        queue->head = chunk;
    } else {
        queue->tail->next = chunk;
    }
    queue->tail = chunk;
    queue->lone = BYTE_LONE_UNKNOWN;
}

void byte_pool_init(struct byte_pool *pool, size_t free_count_max)
{
    *pool = (struct byte_pool){.free_count_max = free_count_max};
    pool->free = malloc(free_count_max * sizeof(*pool->free));
    CHECK(pool->free != NULL || free_count_max == 0);
    object_pool_init(&pool->slips, BYTE_SLIP_BYTES, SLIPS_FIRST);
}

void byte_pool_deinit(struct byte_pool *pool)
{
    CHECK(pool->used_count == 0);
    while (pool->free_count > 0) {
        free(pool->free[--pool->free_count]);
    }
    free(pool->free);
    pool->free = NULL;
    object_pool_deinit(&pool->slips);
}

void byte_queue_add_page(struct byte_queue *queue, struct byte_pool *pool)
{
    link_chunk(queue, acquire_chunk(pool));
    queue->lone = queue->head == queue->tail ? BYTE_LONE_PAGE : BYTE_LONE_UNKNOWN;
}

void byte_queue_append(struct byte_queue *queue, struct byte_pool *pool, const void *data,
                       size_t size)
{
    const uint8_t *from = data;
    while (size > 0) {
        size_t room = byte_queue_room(queue);
        if (room == 0) {
            byte_queue_add_page(queue, pool);
            room = BYTE_PAGE_ROOM;
        }
        size_t part = size < room ? size : room;
        memcpy(byte_queue_reserve(queue, pool, part), from, part);
        byte_queue_commit(queue, part);
        from += part;
        size -= part;
    }
}

void byte_queue_append_reference(struct byte_queue *queue, struct byte_pool *pool,
                                 struct slice bytes, struct byte_owner *owner)
{
    if (bytes.size == 0) {
        owner->release(owner);
        return;
    }
    CHECK(bytes.size <= UINT32_MAX);
    struct byte_chunk *chunk = acquire_chunk(pool);
    chunk->data = bytes.data;
    chunk->size = chunk->size_max = bytes.size;
    chunk->owner = owner;
    pool->referenced_bytes += bytes.size;
    link_chunk(queue, chunk);
    queue->size += bytes.size;
}

void byte_pool_prefetch_slips(const struct byte_pool *pool)
{
    for (uint32_t i = 0; i < CHUNKS_AHEAD; i++) {
        prefetch_chunk(object_pool_after(&pool->slips, i));
    }
}

void byte_queue_shrink(struct byte_queue *queue, struct byte_pool *pool)
{
    struct byte_chunk *page = queue->head;
    if (page == NULL || page != queue->tail || !is_page(page) || queue->size > BYTE_SLIP_ROOM) {
        return;
    }
    struct byte_chunk *slip = object_pool_acquire(&pool->slips);
    if (slip == NULL) {
        return;
    }
    prefetch_chunk(object_pool_after(&pool->slips, CHUNKS_AHEAD - 1));
    *slip = (struct byte_chunk){
        .data = page_bytes(slip), .size = queue->size, .size_max = BYTE_SLIP_ROOM};
    memcpy(page_bytes(slip), page->data + queue->head_offset, queue->size);
    byte_pool_release_page(pool, page);
    queue->head = queue->tail = slip;
    queue->head_offset = 0;
    queue->lone = BYTE_LONE_SLIP;
}

void byte_queue_move(struct byte_queue *to, struct byte_queue *from)
{
    /* A consumed prefix can only be described at the head. */
    CHECK(from->head_offset == 0 || to->head == NULL);
    if (from->head == NULL) {
        return;
    }
    DEBUG_CHECK(from->head->owner != &byte_lender);
    if (to->head == NULL) {
        *to = *from;
    } else {
        to->tail->next = from->head;
        to->tail = from->tail;
        to->size += from->size;
        to->lone = BYTE_LONE_UNKNOWN;
    }
    byte_queue_init(from);
}

#define TRANSFER_COPIED_BYTES_MAX 1024U

void byte_queue_transfer(struct byte_queue *to, struct byte_pool *to_pool, struct byte_queue *from,
                         struct byte_pool *from_pool)
{
    const struct byte_chunk *only = from->head;
    if (only != NULL && only == from->tail && only->owner == NULL &&
        from->size <= TRANSFER_COPIED_BYTES_MAX) {
        byte_queue_append(to, to_pool, only->data + from->head_offset, from->size);
        byte_queue_clear(from, from_pool);
        return;
    }
    size_t count = 0, referenced_bytes = 0;
    for (const struct byte_chunk *chunk = from->head; chunk != NULL; chunk = chunk->next) {
        DEBUG_CHECK(!is_slip(chunk));
        count++;
        referenced_bytes += chunk->owner != NULL ? chunk->size_max : 0;
    }
    DEBUG_CHECK(from_pool->used_count >= count);
    from_pool->used_count -= count;
    to_pool->used_count += count;
    from_pool->referenced_bytes -= referenced_bytes;
    to_pool->referenced_bytes += referenced_bytes;
    byte_queue_move(to, from);
}

size_t byte_queue_copy_out(const struct byte_queue *queue, size_t offset, void *to, size_t size)
{
    size_t copied = 0;
    offset += queue->head_offset;
    for (const struct byte_chunk *chunk = queue->head; chunk != NULL && copied < size;
         chunk = chunk->next) {
        if (offset >= chunk->size) {
            offset -= chunk->size;
            continue;
        }
        size_t part = chunk->size - offset;
        if (part > size - copied) {
            part = size - copied;
        }
        memcpy((uint8_t *)to + copied, chunk->data + offset, part);
        copied += part;
        offset = 0;
    }
    return copied;
}

size_t byte_queue_vectors(const struct byte_queue *queue, struct iovec *vectors, size_t count_max)
{
    size_t count = 0, offset = queue->head_offset;
    for (const struct byte_chunk *chunk = queue->head; chunk != NULL && count < count_max;
         chunk = chunk->next) {
        if (chunk->size > offset) {
            /* iovec has no const form; the readers of it do not write. */
            vectors[count].iov_base = (void *)(uintptr_t)(chunk->data + offset);
            vectors[count].iov_len = chunk->size - offset;
            count++;
        }
        offset = 0;
    }
    return count;
}

void byte_queue_consume_part(struct byte_queue *queue, struct byte_pool *pool, size_t size)
{
    CHECK(size < queue->size);
    queue->size -= size;
    size_t offset = queue->head_offset + size;
    while (offset >= queue->head->size) {
        struct byte_chunk *chunk = queue->head;
        offset -= chunk->size;
        queue->head = chunk->next;
        release_chunk(pool, chunk);
    }
    queue->head_offset = (uint32_t)offset;
}

void byte_queue_release_chunks(struct byte_queue *queue, struct byte_pool *pool)
{
    struct byte_chunk *chunk = queue->head;
    while (chunk != NULL) {
        struct byte_chunk *next = chunk->next;
        release_chunk(pool, chunk);
        chunk = next;
    }
}
