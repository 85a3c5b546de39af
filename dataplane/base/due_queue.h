/* Things that all have the same time to run, most of which are over before it is: a queue that is
 * sorted without sorting.
 *
 *   head                              tail
 *    | A 5 | - 6 | B 6 | C 9 | - 9 |           -: dropped
 *
 * What is over is dropped by its place: one store into the queue, none into the thing. So nobody
 * ever looks again at a thing that was dropped, in memory that is in no cache. Places that are
 * dropped are free again once all before them are.
 *
 * Thread: one owner. Time is an argument. Memory: from the heap, doubled as it is needed, up to the
 * room that the owner names. Failure: a push that finds no room says so.
 */
#ifndef NICACHED_BASE_DUE_QUEUE_H
#define NICACHED_BASE_DUE_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dataplane/base/bytes.h"
#include "dataplane/base/check.h"

/* At a time; many more than come in a pass of the owner's. */
#define DUE_QUEUE_SKIPPED_MAX 512U

struct due_entry {
    void *thing; /* NULL: dropped */
    uint64_t due_us;
};

struct due_queue {
    struct due_entry *entries;
    uint64_t head, tail; /* places; the first is 1 */
    uint32_t room, room_max;
};

/* `room_max`: entries, a power of two. */
void due_queue_init(struct due_queue *queue, uint32_t room_max);
void due_queue_deinit(struct due_queue *queue);

static inline struct due_entry *due_queue_at(const struct due_queue *queue, uint64_t place)
{
    return &queue->entries[place & (queue->room - 1)];
}

bool due_queue_make_room(struct due_queue *queue);

/* `due_us` is not earlier than what was pushed before. Returns the place, or 0: no room. */
static inline uint64_t due_queue_push(struct due_queue *queue, void *thing, uint64_t due_us)
{
    if (UNLIKELY(queue->tail - queue->head == queue->room) && !due_queue_make_room(queue)) {
        return 0;
    }
    *due_queue_at(queue, queue->tail) = (struct due_entry){thing, due_us};
    return queue->tail++;
}

/* A place of a thing that was not taken yet. */
static inline void due_queue_drop(struct due_queue *queue, uint64_t place)
{
    DEBUG_CHECK(place - queue->head < queue->tail - queue->head);
    due_queue_at(queue, place)->thing = NULL;
}

/* Takes out a thing that is due at `now_us`. NULL: none is, or more were dropped before it than are
 * skipped at a time; then the next due time has passed already. */
void *due_queue_take(struct due_queue *queue, uint64_t now_us);

/* When the first one is due, dropped or not; UINT64_MAX: there is none. */
static inline uint64_t due_queue_next_due(const struct due_queue *queue)
{
    return queue->head != queue->tail ? due_queue_at(queue, queue->head)->due_us : UINT64_MAX;
}

#endif
