/* Look-ups and changes of the index of buckets: see index_buckets.h. */
#include <stdlib.h>

#include "dataplane/base/check.h"
#include "dataplane/store/index_buckets.h"
#include "dataplane/store/item_key.h"
#include "dataplane/store/retire.h"

/* Where a key is. */
struct place {
    uint64_t *entry; /* NULL: in the list beside, or nowhere */
    struct item *item;
    bool has_doubles; /* another key has the tag */
};

static inline bool find_in_bucket(struct leaf_bucket *bucket, uint64_t tag, const struct key *key,
                                  struct place *place)
{
    for (uint32_t matches = bucket_match(bucket, tag); matches != 0; matches &= matches - 1) {
        uint64_t *entry = &bucket->entries[__builtin_ctz(matches)];
        struct item *item = entry_item(RCU_READ(entry)); /* by now perhaps another: see C */
        if (LIKELY(item != NULL && item_has_key(item, key))) {
            place->entry = entry;
            place->item = item;
            return true;
        }
        place->has_doubles = true;
    }
    return false;
}

static inline struct place find_in_leaf(const struct buckets_index *index, const struct key *key)
{
    uint64_t position = position_of_hash(key->hash);
    struct leaf leaf = leaf_at(index, position);
    uint64_t tag = tag_at(position, leaf.depth);
    struct leaf_bucket *bucket = &leaf.buckets[first_bucket(tag, leaf.bucket_count)];
    struct place place = {0};
    if (!find_in_bucket(bucket, tag, key, &place) && bucket_is_spilled(bucket)) {
        bucket = &leaf.buckets[second_bucket(tag, leaf.bucket_count)];
        (void)find_in_bucket(bucket, tag, key, &place);
    }
    return place;
}

/* The owner's way: where the prefetch found it, if it still is there. */
static inline struct place find_found(const struct buckets_index *index, const struct key *key)
{
    struct item *item = index_found_item(&index->common, key);
    return item != NULL ? (struct place){.entry = key->entry, .item = item}
                        : find_in_leaf(index, key);
}

static inline struct item *find(const struct index *common, const struct key *key,
                                struct place place)
{
    if (place.item == NULL && UNLIKELY(!overflow_is_empty(common))) {
        const struct overflow *node = overflow_find(common, key);
        return node != NULL ? RCU_READ(&node->item) : NULL;
    }
    return place.item;
}

struct item *index_buckets_read(const struct index *common, const struct key *key)
{
    return find(common, key, find_in_leaf(buckets_index_of_const(common), key));
}

/* ---- by fingerprint alone: for the eviction, which knows no keys ------------------------------
 */

static struct item *find_hash(const struct index_services *services,
                              const struct leaf_bucket *bucket, uint64_t tag, uint64_t hash)
{
    for (uint32_t matches = bucket_match(bucket, tag); matches != 0; matches &= matches - 1) {
        struct item *item = entry_item(RCU_READ(&bucket->entries[__builtin_ctz(matches)]));
        if (item != NULL && services->hash_item(item) == hash) {
            return item;
        }
    }
    return NULL;
}

struct item *index_buckets_read_hash(const struct index *common, uint64_t hash)
{
    uint64_t position = position_of_hash(hash);
    struct leaf leaf = leaf_at(buckets_index_of_const(common), position);
    uint64_t tag = tag_at(position, leaf.depth);
    const struct leaf_bucket *bucket = &leaf.buckets[first_bucket(tag, leaf.bucket_count)];
    struct item *item = find_hash(common->services, bucket, tag, hash);
    if (item == NULL && bucket_is_spilled(bucket)) {
        bucket = &leaf.buckets[second_bucket(tag, leaf.bucket_count)];
        item = find_hash(common->services, bucket, tag, hash);
    }
    return item;
}

static bool bucket_holds(const struct leaf_bucket *bucket, const struct item *item)
{
    bool holds = false;
    for (uint32_t i = 0; i < BUCKET_ENTRIES; i++) {
        holds |= entry_item(RCU_READ(&bucket->entries[i])) == item;
    }
    return holds;
}

bool index_buckets_holds(const struct index *common, uint64_t hash, const struct item *item)
{
    uint64_t position = position_of_hash(hash);
    struct leaf leaf = leaf_at(buckets_index_of_const(common), position);
    uint64_t tag = tag_at(position, leaf.depth);
    return bucket_holds(&leaf.buckets[first_bucket(tag, leaf.bucket_count)], item) ||
           bucket_holds(&leaf.buckets[second_bucket(tag, leaf.bucket_count)], item) ||
           overflow_holds(common, hash, item);
}

/* ---- changes ----------------------------------------------------------------------------------
 */

/* Only one that has the tag can have the fingerprint. */
static bool has_fingerprint(const struct buckets_index *index, const struct place *place,
                            uint64_t hash)
{
    return (place->has_doubles && index_buckets_read_hash(&index->common, hash) != NULL);
}

static void insert(struct buckets_index *index, const struct key *key, struct item *item,
                   const struct place *place)
{
    uint64_t position = position_of_hash(key->hash);
    struct leaf leaf = leaf_at(index, position);
    uint64_t entry = tag_at(position, leaf.depth) | (uint64_t)(uintptr_t)item;
    CHECK(entry_item(entry) == item);
    if (UNLIKELY(has_fingerprint(index, place, key->hash))) {
        metric_add(index->common.services->metrics, METRIC_STORE_COLLISIONS, 1);
    }
    if (LIKELY(leaf_place(&leaf, entry)) || index_buckets_grow(index, position, item)) {
        index->entry_count++;
    } else {
        overflow_add(&index->common, key->hash, item);
    }
}

struct item *index_buckets_store(struct index *common, const struct key *key, struct item *item)
{
    struct buckets_index *index = buckets_index_of(common);
    struct place place = find_in_leaf(index, key);
    if (place.item != NULL) {
        RCU_PUBLISH(place.entry, (*place.entry & ~ENTRY_ITEM) | (uint64_t)(uintptr_t)item);
        return place.item;
    }
    if (UNLIKELY(!overflow_is_empty(common))) {
        struct overflow *node = overflow_find(common, key);
        if (node != NULL) {
            return overflow_replace(node, item);
        }
    }
    insert(index, key, item, &place);
    return NULL;
}

struct item *index_buckets_remove(struct index *common, const struct key *key)
{
    struct buckets_index *index = buckets_index_of(common);
    struct place place = find_found(index, key);
    if (place.item != NULL) {
        RCU_PUBLISH(place.entry, *place.entry & ENTRY_SPILLED);
        index->entry_count--;
        index->removals++;
        return place.item;
    }
    struct overflow *node = overflow_is_empty(common) ? NULL : overflow_find(common, key);
    return node != NULL ? overflow_remove(common, node) : NULL;
}

/* ---- life -------------------------------------------------------------------------------------
 */

/* The root, a table and a leaf: over the limit if need be, as all that a database is made of. */
static void create_first_leaf(struct buckets_index *index)
{
    struct index_services *services = index->common.services;
    struct leaf leaf = {.bucket_count = LEAF_BUCKETS_MIN};
    leaf.buckets = memory_allocate_index(
        services->memory, LEAF_BUCKETS_MIN * sizeof(struct leaf_bucket), MEMORY_UNLIMITED);
    struct table *table =
        memory_allocate_index(services->memory, sizeof(struct table), MEMORY_UNLIMITED);
    CHECK(leaf.buckets != NULL && table != NULL);
    CHECK(leaf_fill(&leaf, NULL, 0));
    index->root = root_create(index, 0, MEMORY_UNLIMITED);
    table_publish(index->root, 0, table_pack(table, 0));
    leaf_publish(index, 0, &leaf);
    metric_add(services->metrics, METRIC_STORE_SEGMENTS, 1);
}

struct index *index_buckets_create(struct index_services *services)
{
    struct buckets_index *index = calloc(1, sizeof(*index));
    CHECK(index != NULL);
    (void)memory_reserve_index(services->memory, sizeof(*index), MEMORY_UNLIMITED);
    index->common.services = services;
    index->evacuations = services->evacuations;
    create_first_leaf(index);
    services->index_count++;
    index_buckets_keep_spares(services);
    return &index->common;
}

/* False: that was all the work that may be done now. A leaf that was begun is looked through again.
 */
static bool free_items_of_leaf(const struct leaf *leaf, uint32_t *work, index_visitor *free_item,
                               void *argument)
{
    uint64_t *entries = leaf->buckets[0].entries;
    bool goes_on = index_work_is_left(work, leaf->bucket_count);
    for (uint32_t i = 0; goes_on && i < leaf->bucket_count * BUCKET_ENTRIES; i++) {
        if (!entry_is_empty(entries[i])) {
            free_item(argument, entry_item(entries[i]), 0);
            entries[i] = 0;
            goes_on = index_work_is_left(work, INDEX_WORK_ITEM);
        }
    }
    return goes_on;
}

static void give_leaf_back(struct buckets_index *index, const struct leaf *leaf)
{
    struct index_services *services = index->common.services;
    uint64_t table = *root_slot(index->root, index->dismantled_position);
    memory_free(services->memory, leaf->buckets);
    metric_subtract(services->metrics, METRIC_STORE_SEGMENTS, 1);
    index->dismantled_position += range_size(leaf->depth);
    if (range_start(index->dismantled_position, table_depth(table)) == index->dismantled_position) {
        memory_free(services->memory, table_unpack(table));
    }
}

static void free_rest(struct buckets_index *index)
{
    struct index_services *services = index->common.services;
    root_destroy(index);
    if (--services->index_count == 0) {
        index_buckets_free_spares(services);
    }
    memory_release_index(services->memory, sizeof(*index));
    free(index);
}

bool index_buckets_dismantle(struct index *common, uint32_t work, index_visitor *free_item,
                             void *argument)
{
    struct buckets_index *index = buckets_index_of(common);
    while (!index->leaves_are_gone) {
        struct leaf leaf = leaf_at(index, index->dismantled_position);
        if (!free_items_of_leaf(&leaf, &work, free_item, argument)) {
            return false;
        }
        give_leaf_back(index, &leaf);
        index->leaves_are_gone = index->dismantled_position == 0;
        if (!index_work_is_left(&work, INDEX_WORK_PART)) {
            return false;
        }
    }
    if (!overflow_dismantle(&index->common, &work, free_item, argument)) {
        return false;
    }
    free_rest(index);
    return true;
}
