/* See datagram_parts.h. Parts are kept one behind the other as they come; when all are there they
 * are copied in their order. */
#include "dataplane/core/datagram_parts.h"

#include <stdlib.h>

#include "dataplane/base/check.h"

struct part {
    uint32_t offset, size;
    bool is_there;
};

struct pending {
    bool in_use;
    struct endpoint source;
    uint16_t request_id, count, there;
    uint64_t since_us;
    uint32_t bytes; /* of all parts that are there */
    struct part parts[DATAGRAM_PARTS_MAX];
    uint8_t content[DATAGRAM_BYTES_MAX];
};

struct datagram_parts {
    struct metrics *metrics;
    struct pending pending[DATAGRAM_REQUESTS_MAX];
    uint8_t whole[DATAGRAM_BYTES_MAX];
};

struct datagram_parts *datagram_parts_create(struct metrics *metrics)
{
    struct datagram_parts *parts = calloc(1, sizeof(*parts));
    if (parts != NULL) {
        parts->metrics = metrics;
    }
    return parts;
}

void datagram_parts_destroy(struct datagram_parts *parts)
{
    free(parts);
}

static void give_up(struct datagram_parts *parts, struct pending *pending, enum metric metric)
{
    metric_add(parts->metrics, metric, 1);
    pending->in_use = false;
}

static bool is_same(const struct pending *pending, const struct endpoint *source, uint16_t id)
{
    return pending->in_use && pending->request_id == id && pending->source.port == source->port &&
           address_equal(&pending->source.address, &source->address);
}

/* That of the request, or a free one; one whose time is over, or the oldest, makes way. */
static struct pending *find(struct datagram_parts *parts, const struct endpoint *source,
                            const struct memcache_frame *frame, const struct instant *now)
{
    struct pending *free_one = NULL, *oldest = &parts->pending[0];
    for (uint32_t i = 0; i < DATAGRAM_REQUESTS_MAX; i++) {
        struct pending *pending = &parts->pending[i];
        if (pending->in_use && now->mono_us - pending->since_us > DATAGRAM_WAIT_US) {
            give_up(parts, pending, METRIC_MEMCACHE_UDP_DROP_INCOMPLETE);
        }
        if (is_same(pending, source, frame->request_id)) {
            return pending;
        }
        free_one = !pending->in_use ? pending : free_one;
        oldest = pending->since_us < oldest->since_us ? pending : oldest;
    }
    if (free_one == NULL) {
        give_up(parts, oldest, METRIC_MEMCACHE_UDP_DROP_INCOMPLETE);
        free_one = oldest;
    }
    free_one->in_use = true;
    free_one->source = *source;
    free_one->request_id = frame->request_id;
    free_one->count = frame->datagram_count;
    free_one->there = 0;
    free_one->bytes = 0;
    free_one->since_us = now->mono_us;
    memset(free_one->parts, 0, sizeof(free_one->parts));
    return free_one;
}

static struct slice join(struct datagram_parts *parts, const struct pending *pending)
{
    size_t size = 0;
    for (uint32_t i = 0; i < pending->count; i++) {
        const struct part *part = &pending->parts[i];
        memcpy(parts->whole + size, pending->content + part->offset, part->size);
        size += part->size;
    }
    return slice_of(parts->whole, size);
}

bool datagram_parts_add(struct datagram_parts *parts, const struct endpoint *source,
                        const struct memcache_frame *frame, struct slice payload,
                        const struct instant *now, struct slice *request, size_t *request_bytes)
{
    if (frame->datagram_count > DATAGRAM_PARTS_MAX || frame->sequence >= frame->datagram_count) {
        metric_add(parts->metrics, METRIC_MEMCACHE_UDP_DROP_PART, 1);
        return false;
    }
    struct pending *pending = find(parts, source, frame, now);
    struct part *part = &pending->parts[frame->sequence];
    if (pending->count != frame->datagram_count || part->is_there ||
        payload.size > DATAGRAM_BYTES_MAX - pending->bytes) {
        give_up(parts, pending, METRIC_MEMCACHE_UDP_DROP_PART);
        return false;
    }
    *part = (struct part){pending->bytes, (uint32_t)payload.size, true};
    if (payload.size > 0) {
        memcpy(pending->content + pending->bytes, payload.data, payload.size);
    }
    pending->bytes += (uint32_t)payload.size;
    pending->there++;
    if (pending->there < pending->count) {
        return false;
    }
    pending->in_use = false;
    metric_add(parts->metrics, METRIC_MEMCACHE_UDP_REASSEMBLED, 1);
    *request = join(parts, pending);
    *request_bytes = request->size + (size_t)pending->count * MEMCACHE_FRAME_BYTES;
    return true;
}
