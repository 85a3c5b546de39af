/* How the index of buckets grows: one leaf at a time, made anew.
 *
 *   no place for an entry --> a leaf of a fifth more buckets, in the same range
 *                             beyond 32 buckets: two leaves, each with half of the range
 *
 * Entries of a larger leaf need no look at their items: the tag says where they belong. Those of
 * two do, for their tags begin one bit later: the key of each item is hashed again. That is what
 * growth costs most, some hundred cache misses that overlap; keys of many KiB make it longer.
 *
 * A table whose leaf divides its shortest range gives way to two, and the root is doubled when a
 * table has its shortest range: 8 bytes for each 12,000 keys or so.
 *
 * Thread: the owner. Readers: index_buckets.h, A. Failure: false, and nothing has changed. */
#include <stdlib.h>

#include <rte_cycles.h>

#include "dataplane/base/check.h"
#include "dataplane/store/index_buckets.h"
#include "dataplane/store/retire.h"

#define FILL_PERCENT 80 /* of a new leaf, about */
/* With fewer entries than this many per cent a larger leaf would not help: it is their tags. */
#define HOPELESS_PERCENT  50
#define PREFETCH_DISTANCE 16U

/* An even number, see LEAF_BUCKETS_MAX. May be beyond that. */
uint32_t leaf_wanted_buckets(uint32_t count)
{
    uint32_t entries_per_pair = 2 * BUCKET_ENTRIES * FILL_PERCENT;
    uint32_t pairs = (count * 100 + entries_per_pair - 1) / entries_per_pair;
    return pairs > 0 ? 2 * pairs : LEAF_BUCKETS_MIN;
}

static bool is_hopeless(uint32_t count, uint32_t bucket_count)
{
    return count * 100 < bucket_count * BUCKET_ENTRIES * HOPELESS_PERCENT;
}

bool leaf_make(struct buckets_index *index, struct leaf *leaf, const uint64_t *entries,
               uint32_t count, uint32_t buckets_min)
{
    struct index_services *services = index->common.services;
    uint32_t wanted = leaf_wanted_buckets(count);
    wanted = wanted > buckets_min ? wanted : buckets_min;
    wanted = wanted < LEAF_BUCKETS_MAX ? wanted : LEAF_BUCKETS_MAX;
    for (; count <= LEAF_ENTRIES_MAX && wanted <= LEAF_BUCKETS_MAX; wanted += 2) {
        leaf->bucket_count = wanted;
        if (!leaf_allocate(services, leaf)) {
            return false;
        }
        if (leaf_fill(leaf, entries, count)) {
            metric_add(services->metrics, METRIC_STORE_SEGMENTS, 1);
            return true;
        }
        memory_free(services->memory, leaf->buckets);
        if (is_hopeless(count, leaf->bucket_count)) {
            return false;
        }
    }
    return false;
}

static void leaf_discard(struct buckets_index *index, const struct leaf *leaf)
{
    metric_subtract(index->common.services->metrics, METRIC_STORE_SEGMENTS, 1);
    memory_free(index->common.services->memory, leaf->buckets);
}

void leaf_retire(struct buckets_index *index, const struct leaf *leaf)
{
    metric_subtract(index->common.services->metrics, METRIC_STORE_SEGMENTS, 1);
    retire_add(index->common.services->retire, RETIRED_INDEX_PART, leaf->buckets, 0);
}

/* Words `first` ... of a table or a root; each leads to the same place for its part of the range.
 */
static void publish_range(uint64_t *words, uint64_t count, uint64_t word)
{
    for (uint64_t i = 0; i < count; i++) {
        RCU_PUBLISH(&words[i], word);
    }
}

void leaf_publish(struct buckets_index *index, uint64_t position, const struct leaf *leaf)
{
    uint64_t table = *root_slot(index->root, position);
    uint64_t count = UINT64_C(1) << (table_depth(table) + TABLE_BITS - leaf->depth);
    uint64_t *first = table_slot(table, range_start(position, leaf->depth));
    publish_range(first, count, leaf_pack(leaf));
    index_begin_epoch(&index->common);
}

void leaf_note_replaced(struct buckets_index *index, uint32_t entries_moved)
{
    metric_add(index->common.services->metrics, METRIC_STORE_SEGMENT_SPLITS, 1);
    metric_add(index->common.services->metrics, METRIC_STORE_SEGMENT_MOVES, entries_moved);
}

/* ---- root and tables --------------------------------------------------------------------------
 */

static uint64_t root_bytes(uint32_t depth)
{
    return sizeof(struct root) + (sizeof(uint64_t) << depth);
}

struct root *root_create(struct buckets_index *index, uint32_t depth, enum memory_limit limit)
{
    struct memory *memory = index->common.services->memory;
    if (!memory_reserve_index(memory, root_bytes(depth), limit)) {
        return NULL;
    }
    struct root *root = malloc(root_bytes(depth));
    CHECK(root != NULL);
    root->depth = depth;
    root->deepest_count = 0;
    return root;
}

/* No reader is left. */
void root_destroy(struct buckets_index *index)
{
    memory_release_index(index->common.services->memory, root_bytes(index->root->depth));
    free(index->root);
}

void root_replace(struct buckets_index *index, struct root *root)
{
    struct root *old = index->root;
    RCU_PUBLISH(&index->root, root);
    retire_add(index->common.services->retire, RETIRED_BLOCK, old,
               (uint32_t)root_bytes(old->depth));
}

static bool double_root(struct buckets_index *index)
{
    const struct root *old = index->root;
    struct root *root = root_create(index, old->depth + 1, MEMORY_LIMITED);
    if (root == NULL) {
        index->common.services->starved = true;
        return false;
    }
    for (uint64_t i = 0; i < UINT64_C(1) << old->depth; i++) {
        root->tables[2 * i] = old->tables[i];
        root->tables[2 * i + 1] = old->tables[i];
    }
    root_replace(index, root);
    return true;
}

void table_publish(struct root *root, uint64_t position, uint64_t word)
{
    uint32_t depth = table_depth(word);
    publish_range(root_slot(root, range_start(position, depth)),
                  UINT64_C(1) << (root->depth - depth), word);
    root->deepest_count += depth == root->depth;
}

/* The upper or the lower half of a table, in one of its own. */
static void fill_half(struct table *half, const struct table *whole, bool upper)
{
    uint32_t from = upper ? 1U << (TABLE_BITS - 1) : 0;
    for (uint32_t i = 0; i < 1U << TABLE_BITS; i++) {
        half->leaves[i] = whole->leaves[from + i / 2];
    }
}

static bool split_table(struct buckets_index *index, uint64_t position)
{
    struct index_services *services = index->common.services;
    uint64_t old = *root_slot(index->root, position);
    uint32_t depth = table_depth(old);
    if (depth == TABLE_DEPTH_MAX || (depth == index->root->depth && !double_root(index))) {
        return false;
    }
    struct table *halves[2] = {table_allocate(services), table_allocate(services)};
    if (halves[0] == NULL || halves[1] == NULL) {
        for (uint32_t i = 0; i < 2; i++) {
            if (halves[i] != NULL) {
                memory_free(services->memory, halves[i]);
            }
        }
        return false;
    }
    uint64_t start = range_start(position, depth);
    for (uint32_t i = 0; i < 2; i++) {
        fill_half(halves[i], table_unpack(old), i == 1);
        table_publish(index->root, start + i * range_size(depth + 1),
                      table_pack(halves[i], depth + 1));
    }
    retire_add(services->retire, RETIRED_INDEX_PART, table_unpack(old), 0);
    return true;
}

/* ---- leaves -----------------------------------------------------------------------------------
 */

static bool enlarge(struct buckets_index *index, uint64_t position, const struct leaf *old,
                    const uint64_t *entries, uint32_t count)
{
    struct leaf leaf = {.depth = old->depth};
    if (old->bucket_count == LEAF_BUCKETS_MAX || leaf_wanted_buckets(count) > LEAF_BUCKETS_MAX ||
        !leaf_make(index, &leaf, entries, count, old->bucket_count + 2)) {
        return false;
    }
    leaf_publish(index, position, &leaf);
    leaf_retire(index, old);
    leaf_note_replaced(index, count);
    return true;
}

struct half {
    uint64_t entries[LEAF_ENTRIES_MAX];
    uint32_t count;
};

/* By the hash of each item's key. */
static void divide(const struct buckets_index *index, uint32_t depth, const uint64_t *entries,
                   uint32_t count, struct half halves[2])
{
    for (uint32_t i = 0; i < PREFETCH_DISTANCE && i < count; i++) {
        __builtin_prefetch(entry_item(entries[i]));
    }
    halves[0].count = halves[1].count = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (i + PREFETCH_DISTANCE < count) {
            __builtin_prefetch(entry_item(entries[i + PREFETCH_DISTANCE]));
        }
        const struct item *item = entry_item(entries[i]);
        uint64_t position = position_of_hash(index->common.services->hash_item(item));
        struct half *half = &halves[position << depth >> 63];
        half->entries[half->count++] = tag_at(position, depth + 1) | (entries[i] & ENTRY_ITEM);
    }
}

static bool make_halves(struct buckets_index *index, const struct half halves[2],
                        struct leaf leaves[2])
{
    if (!leaf_make(index, &leaves[0], halves[0].entries, halves[0].count, LEAF_BUCKETS_MIN)) {
        return false;
    }
    if (!leaf_make(index, &leaves[1], halves[1].entries, halves[1].count, LEAF_BUCKETS_MIN)) {
        leaf_discard(index, &leaves[0]);
        return false;
    }
    return true;
}

static bool split(struct buckets_index *index, uint64_t position, const struct leaf *old,
                  const uint64_t *entries, uint32_t count)
{
    struct half halves[2];
    struct leaf leaves[2] = {{.depth = old->depth + 1}, {.depth = old->depth + 1}};
    if (old->depth == LEAF_DEPTH_MAX) {
        return false;
    }
    bool is_shortest = table_depth(*root_slot(index->root, position)) + TABLE_BITS == old->depth;
    if (is_shortest && !split_table(index, position)) {
        return false;
    }
    divide(index, old->depth, entries, count, halves);
    if (!make_halves(index, halves, leaves)) {
        return false;
    }
    uint64_t start = range_start(position, old->depth);
    leaf_publish(index, start, &leaves[0]);
    leaf_publish(index, start + range_size(leaves[1].depth), &leaves[1]);
    leaf_retire(index, old);
    leaf_note_replaced(index, count);
    return true;
}

static bool make_room(struct buckets_index *index, uint64_t position, const struct leaf *leaf)
{
    uint64_t entries[LEAF_ENTRIES_MAX];
    uint32_t count = leaf_collect(leaf, entries);
    if (is_hopeless(count, leaf->bucket_count)) {
        return false;
    }
    return enlarge(index, position, leaf, entries, count) ||
           (!is_hopeless(count, LEAF_BUCKETS_MAX) && split(index, position, leaf, entries, count));
}

/* Bounded: by the depth, and by where it becomes hopeless. Once is nearly always enough. */
bool index_buckets_grow(struct buckets_index *index, uint64_t position, const struct item *item)
{
    uint64_t start = rte_rdtsc();
    bool placed = false, has_room = true;
    while (!placed && has_room) {
        struct leaf leaf = leaf_at(index, position);
        has_room = make_room(index, position, &leaf);
        leaf = leaf_at(index, position);
        uint64_t entry = tag_at(position, leaf.depth) | (uint64_t)(uintptr_t)item;
        placed = has_room && leaf_place(&leaf, entry);
    }
    index->common.services->growth_cycles += rte_rdtsc() - start;
    return placed;
}
