/* The public face of a shard: keys in, items out. The index knows where things are, item.c makes
 * drafts, shard_upkeep.c does what is done later. Thread: the owner, but for shard_find_shared,
 * shard_scan_shared and the figures. Failure: only drafts fail; publishing what was drafted does
 * not. */
#include "dataplane/store/shard.h"

#include <stdlib.h>

#include <rte_cycles.h>

#include "dataplane/base/check.h"
#include "dataplane/base/hash.h"
#include "dataplane/base/rcu.h"
#include "dataplane/store/store_internal.h"

static uint64_t hash_of_item(const struct item *item)
{
    return hash_bytes(item_key(item));
}

struct shard *shard_create(const struct shard_options *options)
{
    CHECK(options->number <= SHARD_NUMBER_MAX && options->metrics != NULL);
    struct shard *shard = aligned_alloc(_Alignof(struct shard), sizeof(*shard));
    if (shard == NULL) {
        return NULL;
    }
    memset(shard, 0, sizeof(*shard));
    shard->number = options->number;
    shard->metrics = options->metrics;
    shard->random_state = 0x9E3779B97F4A7C15ULL + options->number;
    struct memory_options memory = {.limit_bytes = options->maxmemory_bytes,
                                    .use_hugepages = options->use_hugepages,
                                    .devices = options->devices,
                                    .numa_node = options->numa_node};
    if (!memory_init(&shard->memory, &memory)) {
        free(shard);
        return NULL;
    }
    uint64_t cycles_per_us = rte_get_tsc_hz() / 1000000;
    shard->cycles_per_us = cycles_per_us;
    shard->long_cycles = UPKEEP_LONG_US * cycles_per_us;
    shard->expiry_budget = UPKEEP_EXPIRY_US * cycles_per_us;
    shard->reclaim_budget = UPKEEP_RECLAIM_US * cycles_per_us;
    retire_init(&shard->retire);
    shard->services = (struct index_services){.kind = options->index,
                                              .hash_item = hash_of_item,
                                              .memory = &shard->memory,
                                              .retire = &shard->retire,
                                              .metrics = options->metrics,
                                              .to_reclaimer = options->to_reclaimer,
                                              .number = options->number,
                                              .growth_budget = UPKEEP_GROWTH_US * cycles_per_us,
                                              .epoch = index_first_epoch(options->number)};
    return shard;
}

void shard_clear(struct shard *shard)
{
    for (uint32_t i = 0; i < SHARD_DATABASE_COUNT; i++) {
        shard_flush(shard, i);
    }
    shard_free_everything(shard);
}

void shard_destroy(struct shard *shard)
{
    if (shard == NULL) {
        return;
    }
    shard_clear(shard);
    CHECK(shard->memory.item_bytes == 0); /* a draft or a blob is still out there */
    retire_deinit(&shard->retire);
    memory_deinit(&shard->memory);
    free(shard->eviction.insertions);
    free(shard->eviction.evicted);
    free(shard);
}

void shard_set_maxmemory(struct shard *shard, uint64_t bytes)
{
    memory_set_limit(&shard->memory, bytes);
}

enum index_kind shard_index_kind(const struct shard *shard)
{
    return shard->services.kind;
}

/* As Redis Cluster reads a hash tag: between the first brace and the next closing one, if there is
 * anything. */
static struct slice tag_of(struct slice bytes)
{
    const uint8_t *open = bytes.size > 0 ? memchr(bytes.data, '{', bytes.size) : NULL;
    if (open == NULL) {
        return bytes;
    }
    struct slice rest = slice_from(bytes, (size_t)(open - bytes.data) + 1);
    const uint8_t *close = rest.size > 0 ? memchr(rest.data, '}', rest.size) : NULL;
    return close == NULL || close == rest.data ? bytes
                                               : slice_of(rest.data, (size_t)(close - rest.data));
}

uint64_t key_tag_hash(const struct key *key)
{
    struct slice tag = tag_of(key->bytes);
    return tag.size == key->bytes.size ? key->hash : hash_bytes(tag);
}

uint64_t shard_next_cas(struct shard *shard)
{
    return ++shard->cas_count * (SHARD_NUMBER_MAX + 1) + shard->number;
}

static struct database *database_at(struct shard *shard, uint32_t database)
{
    CHECK(database < SHARD_DATABASE_COUNT);
    return &shard->databases[database];
}

/* ---- retiring ---------------------------------------------------------------------------------
 */

void shard_free_item(struct shard *shard, struct item *item)
{
    struct blob *blob = item_blob(item);
    if (blob != NULL) {
        blob_hide(blob);
        shard_release_blob(shard, blob);
    }
    memory_free(&shard->memory, item);
}

void shard_note_published(struct shard *shard, const struct item *item)
{
    struct type_book *book = &shard->types[item_type(item)];
    counter_add(&book->count, 1);
    counter_add(&book->bytes, shard_block_bytes(shard, item));
}

void shard_note_unpublished(struct shard *shard, const struct item *item, size_t bytes)
{
    struct type_book *book = &shard->types[item_type(item)];
    counter_add(&book->count, 0U - 1ULL);
    counter_add(&book->bytes, 0U - (uint64_t)bytes);
}

/* What an item of ours shows of a blob that nobody else holds goes with it. */
static size_t own_blob_bytes(const struct shard *shard, const struct blob *blob)
{
    bool is_own =
        blob->shard == shard && __atomic_load_n(&blob->reference_count, __ATOMIC_RELAXED) == 1;
    return is_own ? memory_block_bytes(&shard->memory, blob) : 0;
}

/* `bytes` is what its block takes. */
static void retire_item(struct shard *shard, struct item *item, size_t bytes)
{
    enum retired_kind kind = RETIRED_ITEM;
    if (UNLIKELY((item->kinds & ITEM_HAS_BLOB) != 0)) {
        bytes += own_blob_bytes(shard, item_blob(item));
        kind = RETIRED_BLOB_ITEM;
    }
    memory_note_retired(&shard->memory, bytes);
    retire_add(&shard->retire, kind, item, (uint32_t)bytes);
    metric_add(shard->metrics, METRIC_STORE_RETIRED_OBJECTS, 1);
}

void shard_retire_item(struct shard *shard, struct item *item)
{
    size_t bytes = shard_block_bytes(shard, item);
    shard_note_unpublished(shard, item, bytes);
    retire_item(shard, item, bytes);
}

void shard_discard_draft(struct shard *shard, struct item *draft)
{
    shard_free_item(shard, draft);
}

/* ---- look-up ----------------------------------------------------------------------------------
 */

const struct item *shard_find(struct shard *shard, uint32_t database, const struct key *key,
                              const struct instant *now)
{
    struct index *index = database_at(shard, database)->index;
    if (index == NULL) {
        return NULL;
    }
    const struct item *item = index_find(index, key);
    if (item != NULL && UNLIKELY(item_is_expired(item, now->wall_ms))) {
        shard_expire(shard, database, key);
        return NULL;
    }
    return item;
}

const struct item *shard_find_shared(const struct shard *shard, uint32_t database,
                                     const struct key *key, const struct instant *now)
{
    CHECK(database < SHARD_DATABASE_COUNT);
    const struct index *index = RCU_READ(&shard->databases[database].index);
    const struct item *item = index != NULL ? index_read(index, key) : NULL;
    return item != NULL && !item_is_expired(item, now->wall_ms) ? item : NULL;
}

const struct index *shard_index(const struct shard *shard, uint32_t database)
{
    CHECK(database < SHARD_DATABASE_COUNT);
    return RCU_READ(&shard->databases[database].index);
}

void shard_prefetch_bulk(const struct shard_lookup *lookups, uint32_t count)
{
    if (count > 0) {
        index_prefetch_bulk(lookups->index, lookups, count);
    }
}

void shard_prefetch_begin(struct shard_prefetch *prefetch, const struct shard *shard, bool is_own,
                          struct key *keys)
{
    *prefetch = (struct shard_prefetch){.shard = shard,
                                        .is_own = is_own,
                                        .epoch = is_own ? shard->services.epoch : 0,
                                        .keys = keys};
}

void shard_prefetch_step(struct shard_prefetch *prefetch)
{
    const struct index_services *services = &prefetch->shard->services;
    bool is_own = prefetch->is_own;
    if (LIKELY(!is_own || services->epoch == prefetch->epoch)) {
        index_prefetch_step(services->kind, prefetch, is_own ? services : NULL);
        prefetch->visited += SHARD_PREFETCH_STRIDE;
    } else {
        shard_prefetch_end(prefetch); /* what its keys know by now is out of date */
    }
}

/* ---- writing ----------------------------------------------------------------------------------
 */

static struct index *index_for_writing(struct shard *shard, struct database *database)
{
    if (UNLIKELY(database->index == NULL)) {
        RCU_PUBLISH(&database->index, index_create(&shard->services));
    }
    return database->index;
}

static void finish_insert(struct shard *shard, uint32_t database, const struct key *key,
                          const struct item *item)
{
    struct database *to = database_at(shard, database);
    counter_add(&to->key_count, 1);
    counter_add(&to->expiry_count, item_has_expiry(item));
    shard_note_published(shard, item);
    if (shard->policy.access == ACCESS_QUEUE) {
        shard_note_insertion(shard, database, key->hash, item);
    }
}

/* Of one key. Nearly always: the books stay as they are. */
static bool count_alike(const struct item *a, const struct item *b)
{
    return a->kinds == b->kinds && (a->kinds & ITEM_ROOMY) == 0 &&
           item_inline_bytes(a) == item_inline_bytes(b);
}

static void finish_overwrite(struct shard *shard, struct database *to, struct item *old,
                             const struct item *item)
{
    size_t bytes = shard_block_bytes(shard, old);
    if (UNLIKELY(!count_alike(old, item))) {
        counter_add(&to->expiry_count, item_has_expiry(item));
        counter_add(&to->expiry_count, 0U - (uint64_t)item_has_expiry(old));
        shard_note_published(shard, item);
        shard_note_unpublished(shard, old, bytes);
    }
    if (shard->policy.access != ACCESS_RECENCY) { /* the use of the key goes on */
        item_set_access(item, eviction_access_after_use(&shard->policy, item_access(old),
                                                        &shard->random_state));
    }
    retire_item(shard, old, bytes);
}

bool shard_overwrite(struct shard *shard, uint32_t database, const struct key *key,
                     struct slice value)
{
    const struct index *index = database_at(shard, database)->index;
    struct item *item = index != NULL ? index_find(index, key) : NULL;
    if (item == NULL || !item_is_bare(item, value.size)) {
        return false;
    }
    if (value.size != 0) { /* a bare item: header, key, value */
        memcpy((uint8_t *)(item + 1) + key->bytes.size, value.data, value.size);
    }
    item_clear_fetched(item);
    item_set_access(
        item, eviction_access_after_use(&shard->policy, item_access(item), &shard->random_state));
    return true;
}

void shard_publish(struct shard *shard, uint32_t database, const struct key *key,
                   struct item *draft)
{
    struct database *to = database_at(shard, database);
    DEBUG_CHECK(slice_equal(item_key(draft), key->bytes));
    struct item *old = index_store(index_for_writing(shard, to), key, draft);
    if (LIKELY(old != NULL)) {
        finish_overwrite(shard, to, old, draft);
    } else {
        finish_insert(shard, database, key, draft);
    }
}

const struct item *shard_remove(struct shard *shard, uint32_t database, const struct key *key)
{
    struct database *from = database_at(shard, database);
    if (from->index == NULL) {
        return NULL;
    }
    /* Before the item is unlinked, which is a release: who misses the item sees this too. */
    counter_add(&shard->shared.removals, 1);
    struct item *item = index_remove(from->index, key);
    if (item != NULL) {
        counter_add(&from->key_count, 0U - 1ULL);
        counter_add(&from->expiry_count, 0U - (uint64_t)item_has_expiry(item));
        shard_retire_item(shard, item);
    }
    return item;
}

void shard_expire(struct shard *shard, uint32_t database, const struct key *key)
{
    if (shard_remove(shard, database, key) != NULL) {
        metric_add(shard->metrics, METRIC_STORE_EXPIRED_KEYS, 1);
    }
}

bool shard_delete(struct shard *shard, uint32_t database, const struct key *key,
                  const struct instant *now)
{
    const struct item *item = shard_remove(shard, database, key);
    if (item == NULL) {
        return false;
    }
    if (item_is_expired(item, now->wall_ms)) {
        metric_add(shard->metrics, METRIC_STORE_EXPIRED_KEYS, 1);
        return false;
    }
    return true;
}

/* ---- writes that span shards ------------------------------------------------------------------
 */

/* The odd version is stored before any item is published, which is a release: a reader that sees an
 * item of the joint write sees the odd version of each of its shards, or a later one. */
void shard_begin_joint_write(struct shard *shard)
{
    DEBUG_CHECK(shard->shared.version % 2 == 0);
    counter_add(&shard->shared.version, 1);
}

void shard_end_joint_write(struct shard *shard)
{
    DEBUG_CHECK(shard->shared.version % 2 == 1);
    __atomic_store_n(&shard->shared.version, shard->shared.version + 1, __ATOMIC_RELEASE);
}

struct shard_state shard_observe(const struct shard *shard)
{
    return (struct shard_state){
        .version = __atomic_load_n(&shard->shared.version, __ATOMIC_ACQUIRE),
        .removals = __atomic_load_n(&shard->shared.removals, __ATOMIC_ACQUIRE),
    };
}

bool shard_is_steady(const struct shard *shard)
{
    return __atomic_load_n(&shard->shared.version, __ATOMIC_ACQUIRE) % 2 == 0;
}

/* The look-ups before it were acquire loads: these come after them. */
bool shard_is_unchanged(const struct shard *shard, const struct shard_state *since)
{
    return __atomic_load_n(&shard->shared.version, __ATOMIC_ACQUIRE) == since->version &&
           __atomic_load_n(&shard->shared.removals, __ATOMIC_ACQUIRE) == since->removals;
}

/* ---- whole databases --------------------------------------------------------------------------
 */

void shard_flush(struct shard *shard, uint32_t database)
{
    struct database *from = database_at(shard, database);
    struct index *index = RCU_EXCHANGE(&from->index, NULL);
    if (index == NULL) {
        return;
    }
    __atomic_store_n(&from->key_count, 0, __ATOMIC_RELAXED);
    __atomic_store_n(&from->expiry_count, 0, __ATOMIC_RELAXED);
    retire_add(&shard->retire, RETIRED_INDEX, index, 0);
}

void shard_flush_at(struct shard *shard, uint32_t database, uint64_t wall_ms)
{
    database_at(shard, database)->flush_at_ms = wall_ms;
}

static void swap_counters(uint64_t *a, uint64_t *b)
{
    uint64_t value = *a;
    __atomic_store_n(a, *b, __ATOMIC_RELAXED);
    __atomic_store_n(b, value, __ATOMIC_RELAXED);
}

void shard_swap_databases(struct shard *shard, uint32_t a, uint32_t b)
{
    struct database *first = database_at(shard, a), *second = database_at(shard, b);
    struct index *index = first->index;
    RCU_PUBLISH(&first->index, second->index);
    RCU_PUBLISH(&second->index, index);
    swap_counters(&first->key_count, &second->key_count);
    swap_counters(&first->expiry_count, &second->expiry_count);
    swap_counters(&first->sweep_cursor, &second->sweep_cursor);
}

uint64_t shard_key_count(const struct shard *shard, uint32_t database)
{
    CHECK(database < SHARD_DATABASE_COUNT);
    return __atomic_load_n(&shard->databases[database].key_count, __ATOMIC_RELAXED);
}

uint64_t shard_expiry_count(const struct shard *shard, uint32_t database)
{
    CHECK(database < SHARD_DATABASE_COUNT);
    return __atomic_load_n(&shard->databases[database].expiry_count, __ATOMIC_RELAXED);
}

struct scan_call {
    uint64_t wall_ms;
    void (*visit)(void *argument, const struct item *item);
    void *argument;
};

static void visit_unexpired(void *argument, struct item *item, uint64_t hash)
{
    const struct scan_call *call = argument;
    if (!item_is_expired(item, call->wall_ms)) {
        call->visit(call->argument, item);
    }
}

uint64_t shard_scan(struct shard *shard, uint32_t database, uint64_t cursor, uint32_t count,
                    const struct instant *now,
                    void (*visit)(void *argument, const struct item *item), void *argument)
{
    const struct index *index = database_at(shard, database)->index;
    if (index == NULL) {
        return 0;
    }
    struct scan_call call = {now->wall_ms, visit, argument};
    return index_scan(index, cursor, count > 0 ? count : 1, visit_unexpired, &call);
}

struct shared_scan {
    uint64_t wall_ms;
    shard_item_visitor *visit;
    void *argument;
};

static void visit_shared(void *argument, struct item *item, uint64_t hash)
{
    const struct shared_scan *scan = argument;
    if (!item_is_expired(item, scan->wall_ms)) {
        scan->visit(scan->argument, item, hash);
    }
}

uint64_t shard_scan_shared(const struct shard *shard, uint32_t database, uint64_t cursor,
                           uint32_t count, const struct instant *now, shard_item_visitor *visit,
                           void *argument)
{
    CHECK(database < SHARD_DATABASE_COUNT);
    const struct index *index = RCU_READ(&shard->databases[database].index);
    if (index == NULL) {
        return 0;
    }
    struct shared_scan scan = {now->wall_ms, visit, argument};
    return index_scan(index, cursor, count > 0 ? count : 1, visit_shared, &scan);
}

static bool is_unexpired(void *argument, const struct item *item)
{
    return !item_is_expired(item, *(const uint64_t *)argument);
}

const struct item *shard_random(struct shard *shard, uint32_t database, const struct instant *now)
{
    const struct database *from = database_at(shard, database);
    if (from->key_count == 0) {
        return NULL;
    }
    uint64_t wall_ms = now->wall_ms;
    return index_random(from->index, &shard->random_state, is_unexpired, &wall_ms);
}
