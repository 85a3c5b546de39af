#include "dataplane/store/retire.h"

#include <stdlib.h>

#include "dataplane/base/check.h"
#include "dataplane/channel/channel.h"

#define POOL_BATCHES_MAX  64
#define PREFETCH_DISTANCE 8 /* what is freed has not been touched for long */

static void store_relaxed(uint64_t *figure, uint64_t value)
{
    __atomic_store_n(figure, value, __ATOMIC_RELAXED);
}

static struct reclaim_batch *acquire_batch(struct retire_queue *queue)
{
    struct reclaim_batch *batch = queue->pool;
    if (batch != NULL) {
        queue->pool = batch->next;
        queue->pool_count--;
    } else {
        batch = malloc(sizeof(*batch));
        CHECK(batch != NULL);
    }
    batch->next = NULL;
    batch->count = 0;
    batch->done = 0;
    return batch;
}

static void release_batch(struct retire_queue *queue, struct reclaim_batch *batch)
{
    if (queue->pool_count >= POOL_BATCHES_MAX) {
        free(batch);
        return;
    }
    batch->next = queue->pool;
    queue->pool = batch;
    queue->pool_count++;
}

static void push_batch(struct batch_list *list, struct reclaim_batch *batch)
{
    batch->next = NULL;
    if (list->last == NULL) {
        list->first = batch;
    } else {
        list->last->next = batch;
    }
    list->last = batch;
}

static struct reclaim_batch *pop_batch(struct batch_list *list)
{
    struct reclaim_batch *batch = list->first;
    if (batch != NULL) {
        list->first = batch->next;
        if (list->first == NULL) {
            list->last = NULL;
        }
    }
    return batch;
}

static void close_current(struct retire_queue *queue)
{
    if (queue->current->count > 0) {
        push_batch(&queue->outgoing, queue->current);
        queue->closed_entries += queue->current->count;
        queue->current = acquire_batch(queue);
    }
    queue->current_since_us = 0;
}

void retire_init(struct retire_queue *queue)
{
    *queue = (struct retire_queue){0};
    queue->current = acquire_batch(queue);
}

void retire_deinit(struct retire_queue *queue)
{
    CHECK(queue->current->count == 0 && queue->outgoing.first == NULL);
    CHECK(queue->in_flight.first == NULL && queue->returned.first == NULL);
    free(queue->current);
    while (queue->pool != NULL) {
        struct reclaim_batch *batch = queue->pool;
        queue->pool = batch->next;
        free(batch);
    }
}

void retire_add(struct retire_queue *queue, enum retired_kind kind, void *pointer, uint32_t extra)
{
    struct reclaim_batch *batch = queue->current;
    batch->entries[batch->count++] = (struct retired){pointer, kind, extra};
    if (batch->count == RECLAIM_BATCH_ENTRIES) {
        close_current(queue);
    }
}

static bool current_is_due(struct retire_queue *queue, const struct channel *channel,
                           uint64_t now_us)
{
    if (queue->current->count == 0) {
        return false;
    }
    if (queue->current_since_us == 0) {
        queue->current_since_us = now_us != 0 ? now_us : 1;
    }
    return channel == NULL || now_us - queue->current_since_us >= RETIRE_LINGER_US;
}

void retire_send(struct retire_queue *queue, struct channel *to_reclaimer, uint32_t from,
                 uint64_t now_us)
{
    if (current_is_due(queue, to_reclaimer, now_us)) {
        close_current(queue);
    }
    while (queue->outgoing.first != NULL) {
        struct reclaim_batch *batch = queue->outgoing.first;
        if (to_reclaimer == NULL) {
            push_batch(&queue->returned, pop_batch(&queue->outgoing));
            continue;
        }
        struct message message = {.type = MESSAGE_RECLAIM_BATCH, .from = from, .pointer = batch};
        batch->sent_us = now_us;
        if (!channel_send(to_reclaimer, &message)) {
            return; /* full: again in a later pass */
        }
        push_batch(&queue->in_flight, pop_batch(&queue->outgoing));
        store_relaxed(&queue->in_flight_count, queue->in_flight_count + 1);
    }
}

static void note_grace_period(struct retire_queue *queue, uint64_t us)
{
    store_relaxed(&queue->in_flight_count, queue->in_flight_count - 1);
    store_relaxed(&queue->returned_count, queue->returned_count + 1);
    store_relaxed(&queue->grace_us_sum, queue->grace_us_sum + us);
    if (us > queue->grace_us_max) {
        store_relaxed(&queue->grace_us_max, us);
    }
}

void retire_accept(struct retire_queue *queue, struct reclaim_batch *batch, uint64_t now_us)
{
    CHECK(queue->in_flight.first == batch);
    note_grace_period(queue, now_us - batch->sent_us);
    push_batch(&queue->returned, pop_batch(&queue->in_flight));
}

bool retire_next_returned(struct retire_queue *queue, struct retired *entry)
{
    struct reclaim_batch *batch = queue->returned.first;
    if (batch == NULL) {
        return false;
    }
    *entry = batch->entries[batch->done++];
    if (batch->done + PREFETCH_DISTANCE < batch->count) {
        __builtin_prefetch(batch->entries[batch->done + PREFETCH_DISTANCE].pointer);
    }
    if (batch->done == batch->count) {
        release_batch(queue, pop_batch(&queue->returned));
    }
    return true;
}

static void move_all(struct batch_list *to, struct batch_list *from)
{
    for (struct reclaim_batch *batch; (batch = pop_batch(from)) != NULL;) {
        push_batch(to, batch);
    }
}

void retire_return_all(struct retire_queue *queue)
{
    close_current(queue);
    move_all(&queue->returned, &queue->in_flight);
    move_all(&queue->returned, &queue->outgoing);
}
