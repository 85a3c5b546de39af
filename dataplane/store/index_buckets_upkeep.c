/* How the index of buckets shrinks, and moves out of pages that are to become empty.
 *
 * A round looks at each leaf once, a few with each pass; it begins when a sixteenth of the keys has
 * been removed since the last one began, so each removal pays for a small part of a look. A leaf
 * that is less than 55 % full is made anew with fewer buckets; two neighbours that would fill less
 * than half of the largest leaf become one; so do two tables whose leaves all stand in pairs of
 * words, and the root is halved when no table has its shortest range. A leaf is made 80 % full, so
 * nothing swings. An emptied database ends with one leaf.
 *
 * Thread: the owner, once per pass. Bounded: see the constants. Failure: without memory for the
 * smaller leaf all stays as it is, until the next round. */
#include <string.h>

#include "dataplane/base/check.h"
#include "dataplane/store/index_buckets.h"
#include "dataplane/store/retire.h"

#define LOOKS_PER_PASS 4U
/* Whether a leaf or a table lies in such a page is one look; to copy it takes as long as many. */
#define RELOCATION_LOOKS 32U
#define RELOCATION_COST  8U
#define KEYS_PER_REMOVAL 16U
#define SHRINK_PERCENT   55U
#define MERGE_PERCENT    48U /* of the largest leaf */

/* ---- leaves -----------------------------------------------------------------------------------
 */

/* The tags of a range that begins one bit earlier: that bit comes to the front. */
static void widen_tags(uint64_t *entries, uint32_t count, bool upper)
{
    uint64_t bit = (uint64_t)upper << 63;
    for (uint32_t i = 0; i < count; i++) {
        uint64_t tag = bit | (entries[i] >> 1 & ~(UINT64_C(1) << 63) & TAG_MASK);
        entries[i] = tag | (entries[i] & ENTRY_ITEM);
    }
}

/* Whether the leaf and its upper neighbour have become one. */
static bool merge_leaves(struct buckets_index *index, uint64_t start, const struct leaf *lower,
                         const uint64_t *entries, uint32_t count)
{
    uint64_t joined[LEAF_ENTRIES_MAX * 2];
    uint64_t table = *root_slot(index->root, start);
    uint64_t bit = range_size(lower->depth);
    if (lower->depth == table_depth(table) || (start & bit) != 0) {
        return false;
    }
    struct leaf upper = leaf_at(index, start | bit);
    if (upper.depth != lower->depth) {
        return false;
    }
    memcpy(joined, entries, count * sizeof(joined[0]));
    uint32_t upper_count = leaf_collect(&upper, joined + count), all = count + upper_count;
    if (all > LEAF_ENTRIES_MAX * MERGE_PERCENT / 100) {
        return false;
    }
    widen_tags(joined, count, false);
    widen_tags(joined + count, upper_count, true);
    struct leaf leaf = {.depth = lower->depth - 1};
    if (!leaf_make(index, &leaf, joined, all, LEAF_BUCKETS_MIN)) {
        return false;
    }
    leaf_publish(index, start, &leaf);
    leaf_retire(index, lower);
    leaf_retire(index, &upper);
    leaf_note_replaced(index, all);
    return true;
}

static void shrink_leaf(struct buckets_index *index, uint64_t start, const struct leaf *old,
                        const uint64_t *entries, uint32_t count)
{
    if (count * 100 >= old->bucket_count * BUCKET_ENTRIES * SHRINK_PERCENT ||
        leaf_wanted_buckets(count) >= old->bucket_count) {
        return;
    }
    struct leaf leaf = {.depth = old->depth};
    if (leaf_make(index, &leaf, entries, count, LEAF_BUCKETS_MIN)) {
        leaf_publish(index, start, &leaf);
        leaf_retire(index, old);
        leaf_note_replaced(index, count);
    }
}

/* ---- tables and root --------------------------------------------------------------------------
 */

static bool is_in_pairs(const struct table *table)
{
    uint64_t differences = 0;
    for (uint32_t i = 0; i < 1U << TABLE_BITS; i += 2) {
        differences |= table->leaves[i] ^ table->leaves[i + 1];
    }
    return differences == 0;
}

static bool halve_root(struct buckets_index *index)
{
    const struct root *old = index->root;
    if (old->depth == 0 || old->deepest_count > 0) {
        return false;
    }
    struct root *root = root_create(index, old->depth - 1, MEMORY_LIMITED);
    if (root == NULL) {
        return false;
    }
    for (uint64_t i = 0; i < UINT64_C(1) << root->depth; i++) {
        root->tables[i] = old->tables[2 * i];
        /* The deepest ones that the new root has stand in one word each. */
        root->deepest_count += table_depth(root->tables[i]) == root->depth;
    }
    root_replace(index, root);
    return true;
}

/* Whether the table that begins at `start` and its upper neighbour have become one. */
static bool merge_tables(struct buckets_index *index, uint64_t start)
{
    struct index_services *services = index->common.services;
    uint64_t lower = *root_slot(index->root, start);
    uint32_t depth = table_depth(lower);
    if (depth == 0) {
        return false;
    }
    uint64_t upper = *root_slot(index->root, start | range_size(depth));
    if (table_depth(upper) != depth || !is_in_pairs(table_unpack(lower)) ||
        !is_in_pairs(table_unpack(upper))) {
        return false;
    }
    struct table *table = memory_allocate_index(services->memory, sizeof(*table), MEMORY_LIMITED);
    if (table == NULL) {
        return false;
    }
    for (uint32_t i = 0; i < 1U << (TABLE_BITS - 1); i++) {
        table->leaves[i] = table_unpack(lower)->leaves[2 * i];
        table->leaves[(1U << (TABLE_BITS - 1)) + i] = table_unpack(upper)->leaves[2 * i];
    }
    index->root->deepest_count -= depth == index->root->depth ? 2 : 0;
    table_publish(index->root, start, table_pack(table, depth - 1));
    retire_add(services->retire, RETIRED_INDEX_PART, table_unpack(lower), 0);
    retire_add(services->retire, RETIRED_INDEX_PART, table_unpack(upper), 0);
    return true;
}

/* ---- rounds -----------------------------------------------------------------------------------
 */

/* The lower of two neighbours. */
static uint64_t lower_start(uint64_t start, uint32_t depth)
{
    return depth == 0 ? 0 : start & ~range_size(depth);
}

/* When the walk leaves a table, that and its neighbour may have become small enough for one; then
 * it goes back, for leaves of both may have become neighbours. */
static void go_on(struct buckets_index *index, uint64_t last, uint64_t next)
{
    uint32_t depth = table_depth(*root_slot(index->root, last));
    uint64_t pair = lower_start(range_start(last, depth), depth);
    bool leaves_table = range_start(next, depth) == next;
    if (leaves_table && merge_tables(index, pair)) {
        index->round_position = pair;
        return;
    }
    index->round_position = next;
    index->is_in_round = next != 0;
    while (!index->is_in_round && halve_root(index)) {
    }
}

static void look_at_next(struct buckets_index *index)
{
    uint64_t entries[LEAF_ENTRIES_MAX];
    struct leaf leaf = leaf_at(index, index->round_position);
    uint64_t start = range_start(index->round_position, leaf.depth);
    uint32_t count = leaf_collect(&leaf, entries);
    if (merge_leaves(index, start, &leaf, entries, count)) {
        /* It may find another neighbour now. */
        index->round_position = lower_start(start, leaf.depth - 1);
        return;
    }
    shrink_leaf(index, start, &leaf, entries, count);
    go_on(index, start, start + range_size(leaf.depth));
}

static void go_round(struct buckets_index *index)
{
    if (!index->is_in_round && index->removals > 0 &&
        index->removals >= index->entry_count / KEYS_PER_REMOVAL) {
        index->is_in_round = true;
        index->removals = 0;
        index->round_position = 0;
    }
    for (uint32_t looks = 0; index->is_in_round && looks < LOOKS_PER_PASS; looks++) {
        look_at_next(index);
    }
}

/* ---- out of pages that are to become empty ----------------------------------------------------
 */

static void relocate_leaf(struct buckets_index *index, uint64_t start, const struct leaf *old)
{
    struct index_services *services = index->common.services;
    struct leaf leaf = *old;
    size_t bytes = old->bucket_count * sizeof(struct leaf_bucket);
    leaf.buckets = memory_allocate_index(services->memory, bytes, MEMORY_LIMITED);
    if (leaf.buckets == NULL) {
        return;
    }
    memcpy(leaf.buckets, old->buckets, bytes); /* also where the block is larger */
    leaf_publish(index, start, &leaf);
    retire_add(services->retire, RETIRED_INDEX_PART, old->buckets, 0);
}

static void relocate_table(struct buckets_index *index, uint64_t start, uint64_t word)
{
    struct index_services *services = index->common.services;
    struct table *table = memory_allocate_index(services->memory, sizeof(*table), MEMORY_LIMITED);
    if (table == NULL) {
        return;
    }
    *table = *table_unpack(word);
    uint32_t depth = table_depth(word);
    index->root->deepest_count -= depth == index->root->depth;
    table_publish(index->root, start, table_pack(table, depth));
    retire_add(services->retire, RETIRED_INDEX_PART, table_unpack(word), 0);
}

/* What has no place to go to stays: the allocator takes the page back into use (GIVE_UP_US).
 * Returns what it has cost, in looks. */
static uint32_t relocate_next(struct buckets_index *index)
{
    uint32_t cost = 1;
    const struct memory *memory = index->common.services->memory;
    uint64_t position = index->relocation_position;
    uint64_t table = *root_slot(index->root, position);
    if (range_start(position, table_depth(table)) == position &&
        memory_is_leaving(memory, table_unpack(table))) {
        relocate_table(index, position, table);
        cost += RELOCATION_COST;
    }
    struct leaf leaf = leaf_at(index, position);
    uint64_t start = range_start(position, leaf.depth);
    if (memory_is_leaving(memory, leaf.buckets)) {
        relocate_leaf(index, start, &leaf);
        cost += RELOCATION_COST;
    }
    index->relocation_position = start + range_size(leaf.depth);
    index->is_relocating = index->relocation_position != 0;
    return cost;
}

static void relocate(struct buckets_index *index)
{
    if (index->evacuations != index->common.services->evacuations && !index->is_relocating) {
        index->evacuations = index->common.services->evacuations;
        index->relocation_position = 0;
        index->is_relocating = true;
    }
    for (uint32_t looks = 0; index->is_relocating && looks < RELOCATION_LOOKS;) {
        looks += relocate_next(index);
    }
}

bool index_buckets_maintain(struct index *common)
{
    struct buckets_index *index = buckets_index_of(common);
    index_buckets_keep_spares(common->services);
    go_round(index);
    relocate(index);
    return index->is_in_round || index->is_relocating;
}
