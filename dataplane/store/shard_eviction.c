/* The owner's part of eviction: takes the victims that the control thread chose out of the index,
 * and chooses by itself when the control thread is late.
 *
 * A victim is an item that was there when it was chosen. Since then its key may have been
 * overwritten, deleted or flushed: it goes only if the index still maps that fingerprint to that
 * very item. (The memory may hold another item of the same key by now: then that one goes, which is
 * no more wrong than any choice a moment old.) What goes is retired like any deleted item.
 *
 * Under s3fifo the owner also notes every new key in a small ring, from which the control thread
 * makes the small queue. A full ring loses entries; the control thread then finds these items on
 * its walk through the index.
 *
 * Thread: the owner, but for shard_take_insertions and shard_read_hash (the control thread).
 * Memory: batches are the chooser's; the ring is the shard's. Bounded: see the constants.
 */
#include <stdlib.h>

#include "dataplane/base/check.h"
#include "dataplane/base/rcu.h"
#include "dataplane/store/store_internal.h"

#define VICTIMS_PER_PASS      64U
#define VICTIMS_WHILE_WAITING 256U /* a write has no room */
#define PREFETCH_DISTANCE     6U
#define WANTED_US             5000U

#define EMERGENCY_ITEMS   64U /* looked at in one slice */
#define EMERGENCY_VICTIMS 16U /* of a slice */
#define EMERGENCY_SCANS   8U  /* a segment that has moved out holds nothing */
#define SLICES_PER_PASS   4U
#define FRUITLESS_US      1000U
#define SHORT_PART        96U /* of the limit: two thirds of the least that is kept free */

/* ---- batches from the control thread ----------------------------------------------------------
 */

void shard_queue_evictions(struct shard *shard, struct eviction_batch *batch)
{
    batch->next = NULL;
    batch->done = 0;
    struct eviction_batch **link = &shard->eviction.waiting;
    while (*link != NULL) {
        link = &(*link)->next;
    }
    *link = batch;
}

static void prefetch_victim(const struct eviction_batch *batch, uint32_t at)
{
    if (at < batch->count) {
        __builtin_prefetch(batch->victims[at].item);
    }
}

/* Of one pass: what shard_run_evictions and shard_evict_now can remove. */
#define EVICTED_MAX (VICTIMS_WHILE_WAITING + (SLICES_PER_PASS + 1) * EMERGENCY_VICTIMS)

struct evicted_items {
    uint32_t count;
    struct eviction_victim victims[EVICTED_MAX];
};

static void keep_evicted(struct shard *shard, const struct eviction_victim *victim)
{
    struct evicted_items *evicted = shard->eviction.evicted;
    CHECK(evicted->count < EVICTED_MAX);
    evicted->victims[evicted->count++] = *victim;
}

void shard_keep_evicted(struct shard *shard, bool keep)
{
    struct shard_eviction *eviction = &shard->eviction;
    if (UNLIKELY(keep && eviction->evicted == NULL)) {
        eviction->evicted = calloc(1, sizeof(*eviction->evicted));
    }
    eviction->keeps_evicted = keep && eviction->evicted != NULL;
}

uint32_t shard_take_evicted(struct shard *shard, const struct eviction_victim **evicted)
{
    struct evicted_items *items = shard->eviction.evicted;
    if (items == NULL) {
        return 0;
    }
    uint32_t count = items->count;
    items->count = 0;
    *evicted = items->victims;
    return count;
}

static bool evict(struct shard *shard, const struct eviction_victim *victim)
{
    const struct index *index = shard->databases[victim->database].index;
    if (index == NULL || !index_holds(index, victim->hash, victim->item)) {
        return false;
    }
    struct key key = key_of(item_key(victim->item), victim->hash);
    bool removed = shard_remove(shard, victim->database, &key) != NULL;
    if (UNLIKELY(removed && shard->eviction.keeps_evicted)) {
        keep_evicted(shard, victim);
    }
    return removed;
}

static void work_off(struct shard *shard)
{
    struct shard_eviction *eviction = &shard->eviction;
    uint32_t budget = eviction->wanted_bytes > 0 ? VICTIMS_WHILE_WAITING : VICTIMS_PER_PASS;
    uint32_t evicted = 0;
    while (eviction->waiting != NULL && budget > 0) {
        struct eviction_batch *batch = eviction->waiting;
        for (; batch->done < batch->count && budget > 0; budget--) {
            prefetch_victim(batch, batch->done + PREFETCH_DISTANCE);
            evicted += evict(shard, &batch->victims[batch->done++]);
        }
        if (batch->done == batch->count) {
            eviction->waiting = batch->next;
            shard_keep_finished_eviction(shard, batch);
        }
    }
    metric_add(shard->metrics, METRIC_STORE_EVICTED_KEYS, evicted);
}

bool shard_is_evicting(const struct shard *shard)
{
    return shard->eviction.waiting != NULL;
}

void shard_want_bytes(struct shard *shard, uint64_t bytes, const struct instant *now)
{
    struct shard_eviction *eviction = &shard->eviction;
    if (bytes > eviction->wanted_bytes) {
        __atomic_store_n(&eviction->wanted_bytes, bytes, __ATOMIC_RELAXED);
    }
    eviction->wanted_until_us = now->mono_us + WANTED_US;
}

void shard_want_nothing(struct shard *shard)
{
    __atomic_store_n(&shard->eviction.wanted_bytes, 0, __ATOMIC_RELAXED);
}

uint64_t shard_wanted_bytes(const struct shard *shard)
{
    return __atomic_load_n(&shard->eviction.wanted_bytes, __ATOMIC_RELAXED);
}

struct eviction_batch *shard_take_finished_eviction(struct shard *shard)
{
    struct eviction_batch *batch = shard->eviction.finished;
    if (batch != NULL) {
        shard->eviction.finished = batch->next;
    }
    return batch;
}

void shard_keep_finished_eviction(struct shard *shard, struct eviction_batch *batch)
{
    batch->next = shard->eviction.finished;
    shard->eviction.finished = batch;
}

/* ---- when the control thread is late ----------------------------------------------------------
 */

struct emergency_slice {
    struct shard *shard;
    uint32_t count;
    uint32_t scores[EMERGENCY_ITEMS];
    struct eviction_victim victims[EMERGENCY_ITEMS];
};

static void consider(void *argument, struct item *item, uint64_t hash)
{
    struct emergency_slice *slice = argument;
    struct shard *shard = slice->shard;
    if (slice->count < EMERGENCY_ITEMS && eviction_may_take(&shard->policy, item)) {
        uint32_t at = slice->count++;
        slice->scores[at] = eviction_score(&shard->policy, item, &shard->random_state);
        slice->victims[at] = (struct eviction_victim){item, hash, shard->eviction.database};
    }
}

/* The next database that holds anything to evict; SHARD_DATABASE_COUNT: none. */
static uint32_t next_database(const struct shard *shard, uint32_t from)
{
    for (uint32_t i = 0; i < SHARD_DATABASE_COUNT; i++) {
        uint32_t number = (from + i) % SHARD_DATABASE_COUNT;
        const struct database *database = &shard->databases[number];
        if ((shard->policy.volatile_only ? database->expiry_count : database->key_count) > 0) {
            return number;
        }
    }
    return SHARD_DATABASE_COUNT;
}

static uint32_t highest(const struct emergency_slice *slice)
{
    uint32_t best = 0;
    for (uint32_t i = 1; i < slice->count; i++) {
        best = slice->scores[i] > slice->scores[best] ? i : best;
    }
    return best;
}

static uint32_t evict_highest(struct shard *shard, struct emergency_slice *slice)
{
    uint32_t wanted = (slice->count + 3) / 4, evicted = 0;
    for (uint32_t i = 0; i < wanted && i < EMERGENCY_VICTIMS; i++) {
        uint32_t best = highest(slice);
        evicted += evict(shard, &slice->victims[best]);
        slice->count--;
        slice->scores[best] = slice->scores[slice->count];
        slice->victims[best] = slice->victims[slice->count];
    }
    return evicted;
}

bool shard_can_evict(const struct shard *shard)
{
    return shard->policy.kind != EVICT_NOTHING && next_database(shard, 0) != SHARD_DATABASE_COUNT;
}

/* False: nothing is there to be evicted. */
static bool take_slice(struct shard *shard, struct emergency_slice *slice)
{
    struct shard_eviction *eviction = &shard->eviction;
    uint32_t number = next_database(shard, eviction->database);
    if (number == SHARD_DATABASE_COUNT) {
        return false;
    }
    if (number != eviction->database) {
        eviction->database = number;
        eviction->cursor = 0;
    }
    eviction->cursor = index_scan(shard->databases[number].index, eviction->cursor, EMERGENCY_ITEMS,
                                  consider, slice);
    if (eviction->cursor == 0) {
        eviction->database = (number + 1) % SHARD_DATABASE_COUNT;
    }
    return true;
}

uint32_t shard_evict_now(struct shard *shard)
{
    struct emergency_slice slice = {.shard = shard};
    bool possible = shard->policy.kind != EVICT_NOTHING;
    for (uint32_t i = 0; possible && i < EMERGENCY_SCANS && slice.count == 0; i++) {
        possible = take_slice(shard, &slice);
    }
    uint32_t evicted = evict_highest(shard, &slice);
    metric_add(shard->metrics, METRIC_STORE_EVICTED_KEYS, evicted);
    metric_add(shard->metrics, METRIC_STORE_EMERGENCY_EVICTIONS, evicted);
    return evicted;
}

/* ---- in every pass ----------------------------------------------------------------------------
 */

/* The control thread keeps at least 1/64 free, beside what is about to be freed (headroom.h), and
 * positions of the index. With less it is late: a host that gives it no CPU, or more writes than it
 * can follow. Nor is the free memory of use to everybody: small pages between large ones. */
static bool is_short(const struct shard *shard)
{
    const struct memory *memory = &shard->memory;
    uint64_t least = __atomic_load_n(&memory->limit_bytes, __ATOMIC_RELAXED) / SHORT_PART;
    uint64_t retired = __atomic_load_n(&memory->retired_bytes, __ATOMIC_RELAXED);
    bool has_failed = shard->services.starved || memory->short_of_pages;
    return retired < least && (has_failed || memory_headroom_bytes(memory) + retired < least);
}

/* Before a write has to wait. A slice without a victim (volatile-*, few keys with a time to live)
 * is not followed by another at once. */
static void evict_early(struct shard *shard, uint64_t now_us)
{
    struct shard_eviction *eviction = &shard->eviction;
    for (uint32_t i = 0; i < SLICES_PER_PASS && now_us >= eviction->fruitless_until_us; i++) {
        if (!is_short(shard)) {
            return;
        }
        if (shard_evict_now(shard) == 0) {
            eviction->fruitless_until_us = now_us + FRUITLESS_US;
        }
    }
}

bool shard_run_evictions(struct shard *shard, const struct instant *now)
{
    struct shard_eviction *eviction = &shard->eviction;
    if (eviction->wanted_bytes != 0 && now->mono_us >= eviction->wanted_until_us) {
        __atomic_store_n(&eviction->wanted_bytes, 0, __ATOMIC_RELAXED);
    }
    if (eviction->waiting != NULL) {
        work_off(shard);
    }
    if (shard->policy.kind != EVICT_NOTHING && eviction->waiting == NULL) {
        evict_early(shard, now->mono_us);
    }
    return eviction->waiting != NULL;
}

/* ---- s3fifo: new keys -------------------------------------------------------------------------
 */

void shard_set_policy(struct shard *shard, const struct eviction_policy *policy)
{
    shard->policy = *policy;
    if (UNLIKELY(policy->access == ACCESS_QUEUE && shard->eviction.insertions == NULL)) {
        struct insertion_ring *ring = calloc(1, sizeof(*ring));
        if (ring != NULL) { /* else every item is found on the walk */
            RCU_PUBLISH(&shard->eviction.insertions, ring);
        }
    }
}

const struct eviction_policy *shard_policy(const struct shard *shard)
{
    return &shard->policy;
}

/* The stamp says when the item entered the small queue, also where the ring had no room. */
void shard_note_insertion(struct shard *shard, uint32_t database, uint64_t hash,
                          const struct item *item)
{
    struct insertion_ring *ring = shard->eviction.insertions;
    if (ring == NULL) {
        return;
    }
    uint64_t sequence = ring->sequence;
    uint32_t stamp = (uint32_t)(sequence >> ACCESS_STAMP_UNIT_SHIFT & ACCESS_STAMP_MASK);
    item_set_access(item, stamp << ACCESS_STAMP_SHIFT);
    __atomic_store_n(&ring->sequence, sequence + 1, __ATOMIC_RELAXED);
    uint64_t head = ring->head;
    if (head - __atomic_load_n(&ring->tail, __ATOMIC_ACQUIRE) < INSERTION_RING_ENTRIES) {
        ring->entries[head % INSERTION_RING_ENTRIES] = (struct insertion){hash, database, stamp};
        __atomic_store_n(&ring->head, head + 1, __ATOMIC_RELEASE);
    }
}

/* Pairs: the release of `head` with the acquire here, the release of `tail` with the acquire above:
 * an entry is read after it was written, and overwritten after it was read. */
uint32_t shard_take_insertions(const struct shard *shard, struct insertion *insertions,
                               uint32_t count_max)
{
    struct insertion_ring *ring = RCU_READ(&shard->eviction.insertions);
    if (ring == NULL) {
        return 0;
    }
    uint64_t tail = ring->tail, head = __atomic_load_n(&ring->head, __ATOMIC_ACQUIRE);
    uint32_t count = 0;
    while (tail != head && count < count_max) {
        insertions[count++] = ring->entries[tail++ % INSERTION_RING_ENTRIES];
    }
    __atomic_store_n(&ring->tail, tail, __ATOMIC_RELEASE);
    return count;
}

uint64_t shard_insertion_count(const struct shard *shard)
{
    const struct insertion_ring *ring = RCU_READ(&shard->eviction.insertions);
    return ring != NULL ? __atomic_load_n(&ring->sequence, __ATOMIC_RELAXED) : 0;
}

const struct item *shard_read_hash(const struct shard *shard, uint32_t database, uint64_t hash)
{
    const struct index *index = RCU_READ(&shard->databases[database].index);
    return index != NULL ? index_read_hash(index, hash) : NULL;
}
