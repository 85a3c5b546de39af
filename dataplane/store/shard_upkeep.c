/* What a shard does between batches of requests: hands retired things over, frees what came back,
 * grows its indexes, takes flushed ones apart, expires. Thread: the owner, once per pass. Every
 * step is bounded. */
#include <stdlib.h>

#include <rte_cycles.h>

#include "dataplane/base/check.h"
#include "dataplane/channel/channel.h"
#include "dataplane/store/segment.h"
#include "dataplane/store/store_internal.h"

#define FREES_AT_ONCE      16  /* between two looks at the clock */
#define DISMANTLED_AT_ONCE 256 /* in the index's units of work: about as long */
#define DRAINED_AT_ONCE    64
#define FIGURES_PERIOD_US  1000

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
        memory_recycle(&shard->memory, entry->pointer, entry->extra);
        metric_add(shard->metrics, METRIC_STORE_RECLAIMED_OBJECTS, 1);
        break;
    case RETIRED_BLOB_ITEM:
        memory_note_reclaimed(&shard->memory, entry->extra);
        shard_free_item(shard, entry->pointer);
        metric_add(shard->metrics, METRIC_STORE_RECLAIMED_OBJECTS, 1);
        break;
    case RETIRED_POSITION: segment_free_position(entry->pointer, entry->extra); break;
    case RETIRED_SEGMENT: segments_dispose(&shard->services, entry->pointer); break;
    case RETIRED_INDEX: queue_dismantling(shard, entry->pointer); break;
    case RETIRED_BLOCK:
        memory_release_index(&shard->memory, entry->extra);
        free(entry->pointer);
        break;
    case RETIRED_INDEX_PART: memory_free(&shard->memory, entry->pointer); break;
    }
}

/* At least so many of those that came back, and more until `end` (in cycles). */
static void free_returned(struct shard *shard, uint64_t least, uint64_t end)
{
    struct retired entry;
    for (uint64_t count = 0; count < least || count % FREES_AT_ONCE != 0 || rte_rdtsc() < end;
         count++) {
        if (!retire_next_returned(&shard->retire, &entry)) {
            return;
        }
        free_retired(shard, &entry);
    }
}

static void free_dismantled_item(void *argument, struct item *item, uint64_t hash)
{
    struct shard *shard = argument;
    shard_note_unpublished(shard, item, shard_block_bytes(shard, item));
    shard_free_item(shard, item);
}

static void dismantle_some(struct shard *shard, uint32_t work)
{
    struct dismantling *entry = shard->dismantling_first;
    if (index_dismantle(entry->index, work, free_dismantled_item, shard)) {
        shard->dismantling_first = entry->next;
        if (entry->next == NULL) {
            shard->dismantling_last = NULL;
        }
        free(entry);
    }
}

/* A little in any case, more until `end`. */
static void dismantle(struct shard *shard, uint64_t end)
{
    bool goes_on = shard->dismantling_first != NULL;
    while (goes_on) {
        dismantle_some(shard, DISMANTLED_AT_ONCE);
        goes_on = shard->dismantling_first != NULL && rte_rdtsc() < end;
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

static void run_delayed_flushes(struct shard *shard, uint64_t wall_ms)
{
    for (uint32_t i = 0; i < SHARD_DATABASE_COUNT; i++) {
        uint64_t due_ms = shard->databases[i].flush_at_ms;
        if (UNLIKELY(due_ms != 0 && due_ms <= wall_ms)) {
            shard->databases[i].flush_at_ms = 0;
            shard_flush(shard, i);
        }
    }
}

/* Chunks to prepare or to release: the reclaimer makes the system calls. */
static void send_memory_tasks(struct shard *shard)
{
    struct memory_task *task = &shard->unsent_task;
    while (task->memory != NULL || memory_next_task(&shard->memory, task)) {
        struct message message = {.type = MESSAGE_MEMORY_WANTED,
                                  .from = shard->number,
                                  .pointer = task->memory,
                                  .words = {task->chunk}};
        if (shard->services.to_reclaimer == NULL) {
            memory_serve(task);
            memory_finish(task);
        } else if (!channel_send(shard->services.to_reclaimer, &message)) {
            return; /* full: again in a later pass */
        }
        task->memory = NULL;
    }
}

static void set_gauge(struct shard *shard, enum metric metric, uint64_t value)
{
    metric_add(shard->metrics, metric, value - metric_read(shard->metrics, metric));
}

static void publish_figures(struct shard *shard, uint64_t now_us)
{
    const struct memory *memory = &shard->memory;
    if (now_us - shard->figures_us < FIGURES_PERIOD_US) {
        return;
    }
    shard->figures_us = now_us;
    memory_publish_figures(&shard->memory);
    set_gauge(shard, METRIC_STORE_PAGES_ACTIVE, memory->active_bytes);
    set_gauge(shard, METRIC_STORE_PAGES_RESIDENT, memory->resident_bytes);
    set_gauge(shard, METRIC_STORE_PAGES_HOLES, memory_hole_bytes(memory));
    set_gauge(shard, METRIC_STORE_PAGES_HUGE, memory_huge_bytes(memory));
    set_gauge(shard, METRIC_STORE_PAGES_MAPPED, memory_mapped_bytes(memory));
    set_gauge(shard, METRIC_STORE_PAGES_UNPREPARED, memory->region.faulting_takes);
    set_gauge(shard, METRIC_STORE_RETIRED_BYTES, memory->retired_bytes);
    set_gauge(shard, METRIC_STORE_KEPT_BYTES, shard_kept_bytes(shard));
    set_gauge(shard, METRIC_STORE_RECLAIM_BATCHES, shard->retire.in_flight_count);
    set_gauge(shard, METRIC_STORE_GRACE_PERIODS, shard->retire.returned_count);
    set_gauge(shard, METRIC_STORE_GRACE_US, shard->retire.grace_us_sum);
}

static bool maintain_memory(struct shard *shard, const struct instant *now)
{
    bool more = shard_defragment(shard, now);
    (void)shard_free_returned_blobs(shard);
    send_memory_tasks(shard);
    publish_figures(shard, now->mono_us);
    return more;
}

/* What has been done since `start`, and `more` cycles of it before; returns the time. */
static uint64_t note_cost(struct shard *shard, enum upkeep_cause cause, uint64_t start,
                          uint64_t more)
{
    static const enum metric long_passes[UPKEEP_CAUSE_COUNT] = {
        [UPKEEP_GROWTH] = METRIC_STORE_LONG_GROWTH,
        [UPKEEP_EXPIRY] = METRIC_STORE_LONG_EXPIRY,
        [UPKEEP_RECLAIM] = METRIC_STORE_LONG_RECLAIM,
    };
    uint64_t now = rte_rdtsc(), cycles = now - start + more;
    if (cycles > shard->longest_cycles[cause]) {
        __atomic_store_n(&shard->longest_cycles[cause], cycles, __ATOMIC_RELAXED);
    }
    if (UNLIKELY(cycles > shard->long_cycles)) {
        metric_add(shard->metrics, long_passes[cause], 1);
    }
    return now;
}

/* Each step begins where the one before ended, at *time: to read the clock takes as long as to look
 * whether there is anything to do. */
static bool grow(struct shard *shard, uint64_t *time)
{
    uint64_t by_writes = shard->services.growth_cycles;
    bool more = maintain_indexes(shard);
    *time = note_cost(shard, UPKEEP_GROWTH, *time, by_writes);
    shard->services.growth_cycles = 0;
    return more;
}

static bool expire(struct shard *shard, const struct instant *now, uint64_t *time)
{
    bool more = shard_sweep_expired(shard, now);
    *time = note_cost(shard, UPKEEP_EXPIRY, *time, 0);
    return more;
}

/* As many as were retired since the last time, so that they do not pile up however long that takes:
 * who retired so many took longer. What has piled up all the same goes as the budget allows. */
static bool reclaim(struct shard *shard, const struct instant *now, uint64_t *time)
{
    uint64_t end = *time + shard->reclaim_budget;
    uint64_t added = retire_added_count(&shard->retire);
    uint64_t due = added - shard->reclaimed_up_to;
    shard->reclaimed_up_to = added;
    retire_send(&shard->retire, shard->services.to_reclaimer, shard->number, now->mono_us);
    free_returned(shard, due, end);
    /* Who overwrites goes on with what was freed just now; nobody does any more. */
    bool more = due == 0 && !memory_drain(&shard->memory, DRAINED_AT_ONCE);
    dismantle(shard, end);
    *time = note_cost(shard, UPKEEP_RECLAIM, *time, 0);
    return more;
}

bool shard_maintain(struct shard *shard, const struct instant *now)
{
    shard->services.now_us = now->mono_us;
    run_delayed_flushes(shard, now->wall_ms);
    bool more = shard_run_evictions(shard, now);
    uint64_t time = rte_rdtsc();
    more |= grow(shard, &time);
    more |= expire(shard, now, &time);
    more |= reclaim(shard, now, &time);
    more |= maintain_memory(shard, now);
    return more || retire_has_returned(&shard->retire) || shard->dismantling_first != NULL;
}

uint64_t shard_longest_upkeep(const struct shard *shard, enum upkeep_cause cause)
{
    return __atomic_load_n(&shard->longest_cycles[cause], __ATOMIC_RELAXED);
}

void shard_reset_longest_upkeep(struct shard *shard)
{
    for (uint32_t cause = 0; cause < UPKEEP_CAUSE_COUNT; cause++) {
        __atomic_store_n(&shard->longest_cycles[cause], 0, __ATOMIC_RELAXED);
    }
}

bool shard_is_waiting(const struct shard *shard)
{
    return retire_is_waiting(&shard->retire);
}

bool shard_will_free(const struct shard *shard)
{
    return shard->dismantling_first != NULL || retire_is_busy(&shard->retire) ||
           shard->defrag.is_moving ||
           __atomic_load_n(&shard->returned_blobs, __ATOMIC_RELAXED) != NULL;
}

bool shard_has_room(struct shard *shard, uint64_t bytes)
{
    return memory_can_allocate(&shard->memory, bytes);
}

bool shard_has_plenty(const struct shard *shard, uint64_t bytes, uint64_t largest_bytes)
{
    return !shard->services.starved && memory_has_plenty(&shard->memory, bytes, largest_bytes);
}

uint64_t shard_used_bytes(const struct shard *shard)
{
    return memory_used_bytes(&shard->memory);
}

uint64_t shard_kept_bytes(const struct shard *shard)
{
    return __atomic_load_n(&shard->kept_bytes, __ATOMIC_RELAXED);
}

void shard_take_message(struct shard *shard, const struct message *message)
{
    if (message->type == MESSAGE_RECLAIMED_BATCH) {
        retire_accept(&shard->retire, message->pointer, shard->services.now_us);
    } else if (message->type == MESSAGE_EVICT_BATCH) {
        shard_queue_evictions(shard, message->pointer);
    } else if (message->type == MESSAGE_SEGMENT_READY) {
        segments_take_ready(&shard->services, message->pointer, (uint32_t)message->words[0]);
    } else if (message->type == MESSAGE_MEMORY_READY) {
        const struct memory_task task = {message->pointer, (uint32_t)message->words[0]};
        CHECK(task.memory == &shard->memory);
        memory_finish(&task);
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
    free_returned(shard, UINT64_MAX, 0);
    while (shard->dismantling_first != NULL) {
        dismantle_some(shard, UINT32_MAX);
    }
    segments_teardown(&shard->services);
    (void)shard_free_returned_blobs(shard);
    (void)memory_drain(&shard->memory, MEMORY_RECENT_BLOCKS_MAX);
}

/* ---- the books --------------------------------------------------------------------------------
 */

static uint64_t load(const uint64_t *figure)
{
    return __atomic_load_n(figure, __ATOMIC_RELAXED);
}

uint64_t shard_item_bytes(const struct shard *shard, const struct item *item)
{
    const struct blob *blob = item_blob(item);
    uint64_t bytes = shard_block_bytes(shard, item);
    return blob == NULL ? bytes : bytes + memory_block_bytes(&blob->shard->memory, blob);
}

static void read_pages(const struct memory *of, struct shard_memory *memory)
{
    memory->hole_bytes = memory_hole_bytes(of);
    memory->active_bytes = load(&of->active_bytes);
    memory->allocated_bytes = load(&of->item_bytes) + load(&of->index_block_bytes);
    memory->resident_bytes = load(&of->resident_bytes);
    memory->overhead_bytes = load(&of->overhead_bytes);
    memory->headroom_bytes = memory_headroom_bytes(of);
}

static void read_reclaim(const struct retire_queue *of, struct shard_memory *memory)
{
    memory->reclaim_batches = load(&of->in_flight_count);
    memory->grace_periods = load(&of->returned_count);
    memory->grace_us_sum = load(&of->grace_us_sum);
    memory->grace_us_max = load(&of->grace_us_max);
}

void shard_read_memory(const struct shard *shard, struct shard_memory *memory)
{
    const struct memory *of = &shard->memory;
    memory->item_bytes = load(&of->item_bytes);
    memory->index_bytes = load(&of->index_bytes);
    memory->used_bytes = memory->item_bytes + memory->index_bytes;
    memory->blob_bytes = load(&of->blob_bytes);
    memory->retired_bytes = load(&of->retired_bytes);
    memory->peak_bytes = load(&of->peak_bytes);
    read_pages(of, memory);
    read_reclaim(&shard->retire, memory);
    for (uint32_t i = 0; i < ITEM_TYPE_COUNT; i++) {
        memory->types[i].count = load(&shard->types[i].count);
        memory->types[i].bytes = load(&shard->types[i].bytes);
    }
}

void shard_add_memory(struct shard_memory *sum, const struct shard_memory *part)
{
    sum->used_bytes += part->used_bytes;
    sum->item_bytes += part->item_bytes;
    sum->index_bytes += part->index_bytes;
    sum->blob_bytes += part->blob_bytes;
    sum->retired_bytes += part->retired_bytes;
    sum->peak_bytes += part->peak_bytes;
    sum->hole_bytes += part->hole_bytes;
    sum->active_bytes += part->active_bytes;
    sum->allocated_bytes += part->allocated_bytes;
    sum->resident_bytes += part->resident_bytes;
    sum->overhead_bytes += part->overhead_bytes;
    sum->headroom_bytes += part->headroom_bytes;
    sum->reclaim_batches += part->reclaim_batches;
    sum->grace_periods += part->grace_periods;
    sum->grace_us_sum += part->grace_us_sum;
    if (part->grace_us_max > sum->grace_us_max) {
        sum->grace_us_max = part->grace_us_max;
    }
    for (uint32_t i = 0; i < ITEM_TYPE_COUNT; i++) {
        sum->types[i].count += part->types[i].count;
        sum->types[i].bytes += part->types[i].bytes;
    }
}
