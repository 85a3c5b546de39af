#include "dataplane/base/due_queue.h"

#include <stdlib.h>

#define ROOM_FIRST 64U

void due_queue_init(struct due_queue *queue, uint32_t room_max)
{
    CHECK(room_max >= ROOM_FIRST && (room_max & (room_max - 1)) == 0);
    *queue = (struct due_queue){.head = 1, .tail = 1, .room_max = room_max};
}

void due_queue_deinit(struct due_queue *queue)
{
    free(queue->entries);
    queue->entries = NULL;
    queue->room = 0;
}

/* What was dropped makes room as soon as it is the first. Behind one that waits for long a whole
 * queue may have been dropped: that takes several calls. */
static void skip_dropped(struct due_queue *queue)
{
    for (uint32_t i = 0; i < DUE_QUEUE_SKIPPED_MAX && queue->head != queue->tail &&
                         due_queue_at(queue, queue->head)->thing == NULL;
         i++) {
        queue->head++;
    }
}

static bool grow(struct due_queue *queue)
{
    uint32_t room = queue->room == 0 ? ROOM_FIRST : queue->room * 2;
    struct due_entry *entries = room <= queue->room_max ? malloc(room * sizeof(*entries)) : NULL;
    if (entries == NULL) {
        return false;
    }
    for (uint64_t place = queue->head; place != queue->tail; place++) {
        entries[place & (room - 1)] = *due_queue_at(queue, place);
    }
    free(queue->entries);
    queue->entries = entries;
    queue->room = room;
    return true;
}

bool due_queue_make_room(struct due_queue *queue)
{
    skip_dropped(queue);
    return queue->tail - queue->head < queue->room || grow(queue);
}

void *due_queue_take(struct due_queue *queue, uint64_t now_us)
{
    skip_dropped(queue);
    if (queue->head == queue->tail || due_queue_next_due(queue) > now_us ||
        due_queue_at(queue, queue->head)->thing == NULL) {
        return NULL;
    }
    return due_queue_at(queue, queue->head++)->thing;
}
