/* What a shard has unlinked and other threads may still be reading: the way to its end.
 *
 *   retire_add --> current --> outgoing --> in_flight --> returned --> shard frees it
 *                  batch       (channel     (reclaimer     (one grace period has passed)
 *                               full)        waits)
 *
 * Every stage is first in, first out, and there is one reclaimer: what was retired first comes back
 * first. So a position of a segment always comes back before the segment itself.
 *
 * Thread: the owning worker. The reclaimer passes batches on and never looks into one; so
 * shard_destroy may free what is still in flight, whatever became of the reclaimer.
 * Failure: a heap without room for a batch is a CHECK (4 KiB; they are pooled).
 */
#ifndef NICACHED_STORE_RETIRE_H
#define NICACHED_STORE_RETIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct channel;

enum retired_kind {
    RETIRED_ITEM,      /* with its value; extra: bytes of its block */
    RETIRED_BLOB_ITEM, /* extra: bytes of its block, and of its blob where nobody else holds it */
    RETIRED_POSITION,  /* pointer: the segment; extra: the position */
    RETIRED_SEGMENT,
    RETIRED_INDEX,      /* of a flushed database */
    RETIRED_BLOCK,      /* heap memory of the index; extra: bytes */
    RETIRED_INDEX_PART, /* of memory_allocate_index */
};

struct retired {
    void *pointer;
    uint32_t kind;
    uint32_t extra;
};

#define RECLAIM_BATCH_ENTRIES 253

struct reclaim_batch {
    struct reclaim_batch *next;
    uint64_t sent_us;
    uint32_t count, done;
    struct retired entries[RECLAIM_BATCH_ENTRIES];
};

struct batch_list {
    struct reclaim_batch *first, *last;
};

struct retire_queue {
    struct reclaim_batch *current;
    struct batch_list outgoing, in_flight, returned;
    struct reclaim_batch *pool;
    uint32_t pool_count;
    /* Figures, relaxed: batches that wait for their grace period; those that have come back, and
     * how long that took, from handing over to coming back. */
    uint64_t in_flight_count, returned_count, grace_us_sum, grace_us_max;
    uint64_t current_since_us; /* when the oldest entry of `current` was noticed; 0: empty */
    uint64_t closed_entries;   /* of all batches that were ever closed */
};

void retire_init(struct retire_queue *queue);
void retire_deinit(struct retire_queue *queue); /* empty but for its pool */

void retire_add(struct retire_queue *queue, enum retired_kind kind, void *pointer, uint32_t extra);

/* Hands batches over: a full one at once, another when it has waited for RETIRE_LINGER_US. With no
 * channel they are returned on the spot. */
#define RETIRE_LINGER_US 200
void retire_send(struct retire_queue *queue, struct channel *to_reclaimer, uint32_t from,
                 uint64_t now_us);
/* A batch came back from the reclaimer. */
void retire_accept(struct retire_queue *queue, struct reclaim_batch *batch, uint64_t now_us);
/* The next entry whose grace period has passed; false when there is none. */
bool retire_next_returned(struct retire_queue *queue, struct retired *entry);
/* Teardown: no reader is left, so everything counts as returned. */
void retire_return_all(struct retire_queue *queue);

/* How many entries there have ever been. */
static inline uint64_t retire_added_count(const struct retire_queue *queue)
{
    return queue->closed_entries + queue->current->count;
}

static inline bool retire_has_returned(const struct retire_queue *queue)
{
    return queue->returned.first != NULL;
}

/* Anything at all is on its way from retired to freed. */
static inline bool retire_is_busy(const struct retire_queue *queue)
{
    return queue->current->count > 0 || queue->outgoing.first != NULL ||
           queue->in_flight.first != NULL || queue->returned.first != NULL;
}

/* Something could not be handed over yet. */
static inline bool retire_is_waiting(const struct retire_queue *queue)
{
    return queue->outgoing.first != NULL || queue->current->count > 0;
}

#endif
