/* Walks over the index of buckets: SCAN's cursors, and random picks.
 *
 * The walk goes by position, from 0 up: a cursor is the top 56 bits of the position of the next
 * key. A key's position never changes, whatever becomes of the leaf that it is in; so a key that is
 * there from the first call to the last is visited when the walk comes to its position, and no key
 * twice. It ends however much is inserted meanwhile: each call leaves a part of the range behind.
 * The list beside the index is visited in the last call, as a whole.
 *
 * Of a leaf first those entries are read that are in their first bucket, in all its buckets, then
 * those that are in their second: an entry that moves in between is seen (index_buckets.h, B), by
 * chance twice. They are sorted by first bucket, which is by the top bits of their positions, and
 * those of one bucket by the positions, for which the keys of the items are hashed.
 *
 * Thread: index_scan for any registered RCU reader; index_random is the owner's. */
#include "dataplane/base/check.h"
#include "dataplane/base/hash.h"
#include "dataplane/store/index_buckets.h"

#define CURSOR_SHIFT 8
#define CURSOR_END   (UINT64_C(1) << (64 - CURSOR_SHIFT))

/* The entries of a leaf, sorted by first bucket: those of bucket b end at ends[b]. */
struct gathered {
    uint64_t entries[LEAF_ENTRIES_MAX * 2];
    uint32_t ends[LEAF_BUCKETS_MAX];
};

/* What is found at one reading of the leaf, at home or not; returns how many there are now. */
static uint32_t read_entries(const struct leaf *leaf, bool at_home, uint64_t *entries,
                             uint32_t count)
{
    for (uint32_t number = 0; number < leaf->bucket_count; number++) {
        for (uint32_t i = 0; i < BUCKET_ENTRIES; i++) {
            uint64_t entry = RCU_READ(&leaf->buckets[number].entries[i]) & ~ENTRY_SPILLED;
            bool is_home = first_bucket(entry, leaf->bucket_count) == number;
            entries[count] = entry;
            count += !entry_is_empty(entry) && is_home == at_home;
        }
    }
    return count;
}

/* Each reading finds as many as there are places at most. */
static void gather(const struct leaf *leaf, struct gathered *gathered)
{
    uint64_t entries[LEAF_ENTRIES_MAX * 2 + 1];
    uint32_t count = read_entries(leaf, true, entries, 0);
    count = read_entries(leaf, false, entries, count);
    uint32_t starts[LEAF_BUCKETS_MAX] = {0}, start = 0;
    for (uint32_t i = 0; i < count; i++) {
        starts[first_bucket(entries[i], leaf->bucket_count)]++;
    }
    for (uint32_t number = 0; number < leaf->bucket_count; number++) {
        uint32_t size = starts[number];
        starts[number] = start;
        start += size;
        gathered->ends[number] = start;
    }
    for (uint32_t i = 0; i < count; i++) {
        uint32_t number = first_bucket(entries[i], leaf->bucket_count);
        gathered->entries[starts[number]++] = entries[i];
    }
}

struct seen {
    uint64_t position;
    struct item *item;
};

struct walk {
    const struct index_services *services;
    uint64_t from;   /* positions below are behind us */
    uint64_t cursor; /* of the last item visited */
    uint32_t items_left;
    index_visitor *visit;
    void *argument;
};

/* Those with a tag below the walk's are left out unread; `from_tag` as tag_at. */
static uint32_t sort_by_position(const struct walk *walk, const uint64_t *entries, uint32_t count,
                                 uint64_t from_tag, struct seen *seen)
{
    uint32_t seen_count = 0;
    for (uint32_t i = 0; i < count; i++) {
        if ((entries[i] & TAG_MASK) < from_tag) {
            continue;
        }
        struct item *item = entry_item(entries[i]);
        uint64_t position = position_of_hash(walk->services->hash_item(item));
        uint32_t at = seen_count++;
        for (; at > 0 && seen[at - 1].position > position; at--) {
            seen[at] = seen[at - 1];
        }
        seen[at] = (struct seen){position, item};
    }
    return seen_count;
}

/* False: enough for this call. Those that share a cursor are visited together. */
static bool visit_sorted(struct walk *walk, const struct seen *seen, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        uint64_t cursor = seen[i].position >> CURSOR_SHIFT;
        bool is_double = i > 0 && seen[i].item == seen[i - 1].item;
        if (seen[i].position < walk->from || is_double) {
            continue;
        }
        if (walk->items_left == 0 && cursor != walk->cursor) {
            return false;
        }
        walk->visit(walk->argument, seen[i].item, position_of_hash(seen[i].position));
        walk->items_left -= walk->items_left > 0;
        walk->cursor = cursor;
    }
    return true;
}

static void prefetch_items(const struct gathered *gathered, uint32_t from, uint32_t to)
{
    for (uint32_t i = from; i < to; i++) {
        __builtin_prefetch(entry_item(gathered->entries[i]));
    }
}

/* False: enough, and there may be more in the leaf. */
static bool walk_leaf(struct walk *walk, const struct leaf *leaf)
{
    struct gathered gathered;
    struct seen seen[LEAF_ENTRIES_MAX * 2];
    uint64_t from_tag = tag_at(walk->from, leaf->depth);
    gather(leaf, &gathered);
    uint32_t number = first_bucket(from_tag, leaf->bucket_count), start, prefetched;
    start = prefetched = number > 0 ? gathered.ends[number - 1] : 0;
    for (; number < leaf->bucket_count; number++) {
        uint32_t next = number + 2 < leaf->bucket_count ? number + 2 : leaf->bucket_count - 1;
        prefetch_items(&gathered, prefetched, gathered.ends[next]);
        prefetched = gathered.ends[next];
        uint32_t end = gathered.ends[number];
        uint32_t count =
            sort_by_position(walk, &gathered.entries[start], end - start, from_tag, seen);
        if (!visit_sorted(walk, seen, count)) {
            return false;
        }
        start = end;
    }
    return true;
}

/* A call looks at so many places for each item asked for, however empty the leaves are. */
#define PLACES_PER_ITEM 16

uint64_t index_buckets_scan(const struct index *common, uint64_t cursor, uint32_t count,
                            index_visitor *visit, void *argument)
{
    struct walk walk = {.services = common->services,
                        .from = cursor << CURSOR_SHIFT,
                        .cursor = CURSOR_END,
                        .items_left = count,
                        .visit = visit,
                        .argument = argument};
    int64_t places_left = (int64_t)count * PLACES_PER_ITEM;
    do {
        struct leaf leaf = leaf_at(buckets_index_of_const(common), walk.from);
        if (!walk_leaf(&walk, &leaf)) {
            return walk.cursor + 1;
        }
        walk.from = range_start(walk.from, leaf.depth) + range_size(leaf.depth);
        places_left -= leaf.bucket_count * BUCKET_ENTRIES;
    } while (walk.from != 0 && walk.items_left > 0 && places_left > 0);
    if (walk.from != 0) {
        return walk.from >> CURSOR_SHIFT;
    }
    overflow_visit(common, visit, argument);
    return 0;
}

/* ---- random -----------------------------------------------------------------------------------
 */

/* Leaves have as many items as their range is wide, give or take a tenth: so a random position
 * leads to each with nearly the same chance, if all of that leaf have the same. */
static struct item *pick(const struct buckets_index *index, uint64_t *random_state)
{
    uint64_t entries[LEAF_ENTRIES_MAX];
    struct leaf leaf = leaf_at(index, random_next(random_state));
    uint32_t count = leaf_collect(&leaf, entries);
    return count > 0 ? entry_item(entries[random_next(random_state) % count]) : NULL;
}

static struct item *first_accepted(const struct leaf *leaf,
                                   bool (*accept)(void *argument, const struct item *item),
                                   void *argument)
{
    uint64_t entries[LEAF_ENTRIES_MAX];
    uint32_t count = leaf_collect(leaf, entries);
    for (uint32_t i = 0; i < count; i++) {
        if (accept(argument, entry_item(entries[i]))) {
            return entry_item(entries[i]);
        }
    }
    return NULL;
}

#define PICKS_MAX 100

struct item *index_buckets_random(const struct index *common, uint64_t *random_state,
                                  bool (*accept)(void *argument, const struct item *item),
                                  void *argument)
{
    const struct buckets_index *index = buckets_index_of_const(common);
    for (uint32_t attempt = 0; attempt < PICKS_MAX; attempt++) {
        struct item *item = pick(index, random_state);
        if (item != NULL && accept(argument, item)) {
            return item;
        }
    }
    /* Nearly empty: take the next one from some place on. */
    uint64_t start = random_next(random_state), position = start, passed = 0;
    for (bool once_round = false; !once_round;) {
        struct leaf leaf = leaf_at(index, position);
        struct item *item = first_accepted(&leaf, accept, argument);
        if (item != NULL) {
            return item;
        }
        uint64_t next = range_start(position, leaf.depth) + range_size(leaf.depth);
        once_round = leaf.depth == 0 || __builtin_add_overflow(passed, next - position, &passed);
        position = next;
    }
    return overflow_random(common, accept, argument);
}
