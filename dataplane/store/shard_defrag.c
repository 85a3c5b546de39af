/* Moves items together, so that memory which lies scattered becomes whole pages again.
 *
 *   memory_choose_victim --> move its items, a few each pass --> wait until the span has vanished
 *                            copy, publish, retire the old one      (a grace period later)
 *
 * memory_evacuate.c decides which span should become empty, and when that is worth it. An item is
 * moved when a database still has it under its key, and deleted instead when its time has come.
 * Others are drafts, or retired already and on their way. To readers a move is an overwrite by an
 * equal value. Spans with parts of an index are emptied by the index (index_buckets_upkeep.c).
 *
 * Thread: the holder. Bounded: MOVES_PER_PASS and UPKEEP_DEFRAG_US, more when somebody could not
 * get a page: looking at a span costs time, too, whether anything is to be moved or not. Failure:
 * without memory for a copy it goes on in a later pass; a span that does not become empty in time
 * is taken back into use. */
#include <rte_cycles.h>

#include "dataplane/base/check.h"
#include "dataplane/base/hash.h"
#include "dataplane/store/store_internal.h"

#define MOVES_PER_PASS       8
#define MOVES_PER_PASS_SHORT 64
#define GIVE_UP_US           1000000U

struct move_call {
    struct shard *shard;
    uint64_t wall_ms;
    uint32_t budget;
    uint64_t end; /* in cycles: nothing is begun after it, but for the first */
    bool has_begun;
};

static bool may_go_on(const struct move_call *call)
{
    return call->budget > 0 && (!call->has_begun || rte_rdtsc() < call->end);
}

static struct item *copy_item(struct shard *shard, const struct item *item)
{
    size_t bytes = item_bytes(item);
    unsigned kinds = item->kinds & ~ITEM_ROOMY;
    struct item *copy = shard_allocate_item(shard, bytes, MEMORY_LIMITED, &kinds);
    if (copy != NULL) {
        *copy = (struct item){.kinds = (uint16_t)kinds,
                              .inline_word = item_inline_word(item),
                              .key_access = item_key_access(item)};
        memcpy(copy + 1, item + 1, bytes - sizeof(*item));
    }
    if (copy != NULL && item_blob(copy) != NULL) {
        blob_acquire(item_blob(copy));
        blob_show(item_blob(copy));
    }
    return copy;
}

/* SHARD_DATABASE_COUNT: it is in none. */
static uint32_t find_database(const struct shard *shard, const struct key *key,
                              const struct item *item)
{
    uint32_t number = 0;
    while (number < SHARD_DATABASE_COUNT &&
           (shard->databases[number].index == NULL ||
            index_read(shard->databases[number].index, key) != item)) {
        number++;
    }
    return number;
}

/* False: not now, or enough for this pass. */
static bool move_item(void *argument, void *block)
{
    struct move_call *call = argument;
    struct shard *shard = call->shard;
    if (!may_go_on(call)) {
        return false;
    }
    call->budget--;
    call->has_begun = true;
    const struct item *item = block;
    struct key key = key_hashed(item_key(item));
    uint32_t database = find_database(shard, &key, item);
    if (database == SHARD_DATABASE_COUNT) {
        return true;
    }
    if (item_is_expired(item, call->wall_ms)) {
        shard_expire(shard, database, &key);
        return true;
    }
    struct item *copy = copy_item(shard, item);
    if (copy == NULL) {
        return false;
    }
    shard_note_published(shard, copy);
    struct item *old = index_store(shard->databases[database].index, &key, copy);
    CHECK(old == item);
    shard_retire_item(shard, old);
    metric_add(shard->metrics, METRIC_STORE_MOVED_ITEMS, 1);
    return true;
}

static struct defrag_entry *entry_at(struct defrag *defrag, uint32_t index)
{
    return &defrag->entries[(defrag->first + index) % DEFRAG_SPANS_MAX];
}

/* In the order in which they were begun. */
static void forget_finished(struct shard *shard, uint64_t now_us)
{
    struct defrag *defrag = &shard->defrag;
    while (defrag->count > 0) {
        const struct defrag_entry *oldest = entry_at(defrag, 0);
        bool there = memory_is_evacuating(&shard->memory, oldest->span);
        if (there && now_us - oldest->since_us < GIVE_UP_US) {
            return;
        }
        if (there) {
            memory_give_up(&shard->memory, oldest->span);
        }
        defrag->is_moving &= defrag->count > 1; /* it may have been the one in work */
        defrag->first = (defrag->first + 1) % DEFRAG_SPANS_MAX;
        defrag->count--;
    }
}

static bool begin_span(struct shard *shard, uint64_t now_us)
{
    struct defrag *defrag = &shard->defrag;
    uint32_t span =
        defrag->count < DEFRAG_SPANS_MAX ? memory_choose_victim(&shard->memory) : REGION_NONE;
    if (span == REGION_NONE) {
        return false;
    }
    *entry_at(defrag, defrag->count++) = (struct defrag_entry){span, now_us};
    defrag->look = (struct span_visit){0};
    defrag->is_moving = !memory_is_index_span(&shard->memory, span);
    shard->services.evacuations += !defrag->is_moving;
    return true;
}

bool shard_defragment(struct shard *shard, const struct instant *now)
{
    struct defrag *defrag = &shard->defrag;
    bool is_short = shard->memory.short_of_pages;
    uint64_t us = is_short ? UPKEEP_DEFRAG_SHORT_US : UPKEEP_DEFRAG_US;
    struct move_call call = {.shard = shard,
                             .wall_ms = now->wall_ms,
                             .budget = is_short ? MOVES_PER_PASS_SHORT : MOVES_PER_PASS,
                             .end = rte_rdtsc() + us * shard->cycles_per_us};
    forget_finished(shard, now->mono_us);
    while (may_go_on(&call) && (defrag->is_moving || begin_span(shard, now->mono_us))) {
        uint32_t span = entry_at(defrag, defrag->count - 1)->span;
        call.has_begun = true;
        bool all = !defrag->is_moving || !memory_is_evacuating(&shard->memory, span) ||
                   memory_visit_blocks(&shard->memory, span, &defrag->look, move_item, &call);
        defrag->is_moving = !all;
        if (!all) {
            break;
        }
    }
    return defrag->is_moving && !(may_go_on(&call) && defrag->look.has_marked);
}
