/* What a shard does between batches of requests: hands retired things over, frees what came back,
 * grows its indexes, takes flushed ones apart, expires. Thread: the owner, once per pass. Every
 * step is bounded. */
#include <stdlib.h>

#include "dataplane/base/check.h"
#include "dataplane/channel/channel.h"
#include "dataplane/store/segment.h"
#include "dataplane/store/store_internal.h"

#define FREES_PER_PASS      512
#define DISMANTLED_PER_PASS 256

static void queue_dismantling(struct shard *shard, struct index *index)
{
    struct dismantling *entry = malloc(sizeof(*entry));
    CHECK(entry != NULL);
    *entry = (struct dismantling){NULL, index};
    if (shard->dismantling_last == NULL) {
        shard->dismantling_first = entry;
    } else {
        shard->dismantling_last->next = entry;
    }
    shard->dismantling_last = entry;
}

static void free_retired(struct shard *shard, const struct retired *entry)
{
    switch ((enum retired_kind)entry->kind) {
    case RETIRED_ITEM:
        memory_note_reclaimed(&shard->memory, entry->extra);
        shard_free_item(shard, entry->pointer);
        metric_add(shard->metrics, METRIC_STORE_RECLAIMED_OBJECTS, 1);
        break;
    case RETIRED_POSITION: segment_free_position(entry->pointer, (int32_t)entry->extra); break;
    case RETIRED_SEGMENT: segments_dispose(&shard->services, entry->pointer); break;
    case RETIRED_INDEX: queue_dismantling(shard, entry->pointer); break;
    case RETIRED_BLOCK:
        memory_release_index(&shard->memory, entry->extra);
        free(entry->pointer);
        break;
    }
}

static void free_returned(struct shard *shard, uint32_t budget)
{
    struct retired entry;
    while (budget-- > 0 && retire_next_returned(&shard->retire, &entry)) {
        free_retired(shard, &entry);
    }
}

static void free_dismantled_item(void *argument, struct item *item, uint64_t hash)
{
    shard_free_item(argument, item);
}

static void dismantle(struct shard *shard, uint32_t budget)
{
    struct dismantling *entry = shard->dismantling_first;
    if (entry != NULL && index_dismantle(entry->index, budget, free_dismantled_item, shard)) {
        shard->dismantling_first = entry->next;
        if (entry->next == NULL) {
            shard->dismantling_last = NULL;
        }
        free(entry);
    }
}

static bool maintain_indexes(struct shard *shard)
{
    bool more = false;
    bool was_starved = shard->services.starved;
    if (UNLIKELY(was_starved != shard->eviction.was_starved)) {
        __atomic_store_n(&shard->eviction.was_starved, was_starved, __ATOMIC_RELAXED);
    }
    shard->services.starved = false; /* whoever still starves says so again */
    for (uint32_t i = 0; i < SHARD_DATABASE_COUNT; i++) {
        if (shard->databases[i].index != NULL) {
            more |= index_maintain(shard->databases[i].index);
        }
    }
    segments_trim(&shard->services);
    return more;
}

bool shard_maintain(struct shard *shard, const struct instant *now)
{
    shard->services.pass++;
    shard->services.now_us = now->mono_us;
    bool more = maintain_indexes(shard);
    more |= shard_sweep_expired(shard, now);
    more |= shard_run_evictions(shard, now);
    retire_send(&shard->retire, shard->services.to_reclaimer, shard->number, now->mono_us);
    free_returned(shard, FREES_PER_PASS);
    dismantle(shard, DISMANTLED_PER_PASS);
    return more || retire_has_returned(&shard->retire) || shard->dismantling_first != NULL;
}

bool shard_is_waiting(const struct shard *shard)
{
    return retire_is_waiting(&shard->retire);
}

bool shard_will_free(const struct shard *shard)
{
    return shard->dismantling_first != NULL || retire_is_busy(&shard->retire);
}

void shard_take_message(struct shard *shard, const struct message *message)
{
    if (message->type == MESSAGE_RECLAIMED_BATCH) {
        retire_accept(&shard->retire, message->pointer);
    } else if (message->type == MESSAGE_EVICT_BATCH) {
        shard_queue_evictions(shard, message->pointer);
    } else if (message->type == MESSAGE_SEGMENT_READY) {
        segments_take_ready(&shard->services, message->pointer, (uint32_t)message->words[0]);
    }
}

bool shard_is_starved(const struct shard *shard)
{
    return shard->services.starved;
}

bool shard_was_starved(const struct shard *shard)
{
    return __atomic_load_n(&shard->eviction.was_starved, __ATOMIC_RELAXED);
}

void shard_free_everything(struct shard *shard)
{
    segments_teardown(&shard->services);
    retire_return_all(&shard->retire);
    free_returned(shard, UINT32_MAX);
    while (shard->dismantling_first != NULL) {
        dismantle(shard, UINT32_MAX);
    }
    segments_teardown(&shard->services);
}

void shard_read_memory(const struct shard *shard, struct shard_memory *memory)
{
    const struct memory *of = &shard->memory;
    memory->item_bytes = __atomic_load_n(&of->item_bytes, __ATOMIC_RELAXED);
    memory->index_bytes = __atomic_load_n(&of->index_bytes, __ATOMIC_RELAXED);
    memory->used_bytes = memory->item_bytes + memory->index_bytes;
    memory->retired_bytes = __atomic_load_n(&of->retired_bytes, __ATOMIC_RELAXED);
    memory->peak_bytes = __atomic_load_n(&of->peak_bytes, __ATOMIC_RELAXED);
}
