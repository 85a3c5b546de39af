/* Entries and their places in one leaf: see index_buckets.h. Thread: the owner. */
#include <string.h>

#include "dataplane/base/check.h"
#include "dataplane/store/index_buckets.h"

/* A place in a bucket without an item; NULL: full. */
static uint64_t *find_room(struct leaf_bucket *bucket)
{
    for (uint32_t i = 0; i < BUCKET_ENTRIES; i++) {
        if (entry_is_empty(bucket->entries[i])) {
            return &bucket->entries[i];
        }
    }
    return NULL;
}

/* What is there may carry its bucket's flag. */
static void put(uint64_t *place, uint64_t entry)
{
    RCU_PUBLISH(place, entry | (*place & ENTRY_SPILLED));
}

static void mark_spilled(struct leaf_bucket *bucket)
{
    if ((bucket->entries[0] & ENTRY_SPILLED) == 0) {
        RCU_PUBLISH(&bucket->entries[0], bucket->entries[0] | ENTRY_SPILLED);
    }
}

/* Moves an entry of the bucket to its second one: the place that it leaves; NULL: none can go. It
 * still holds the entry: who overwrites it does so after the move (index_buckets.h, B). */
static uint64_t *move_one_on(const struct leaf *leaf, uint32_t number)
{
    struct leaf_bucket *bucket = &leaf->buckets[number];
    for (uint32_t i = 0; i < BUCKET_ENTRIES; i++) {
        uint64_t entry = bucket->entries[i] & ~ENTRY_SPILLED;
        if (first_bucket(entry, leaf->bucket_count) != number) {
            continue;
        }
        uint64_t *room = find_room(&leaf->buckets[second_bucket(entry, leaf->bucket_count)]);
        if (room != NULL) {
            mark_spilled(bucket);
            put(room, entry);
            return &bucket->entries[i];
        }
    }
    return NULL;
}

bool leaf_place(const struct leaf *leaf, uint64_t entry)
{
    uint32_t number = first_bucket(entry, leaf->bucket_count);
    struct leaf_bucket *first = &leaf->buckets[number];
    uint64_t *place = find_room(first);
    if (place != NULL) {
        put(place, entry);
        return true;
    }
    uint32_t second = second_bucket(entry, leaf->bucket_count);
    place = find_room(&leaf->buckets[second]);
    if (place == NULL) {
        place = move_one_on(leaf, number);
        if (place != NULL) {
            put(place, entry);
            return true;
        }
        place = move_one_on(leaf, second);
    }
    if (place == NULL) {
        return false;
    }
    mark_spilled(first);
    put(place, entry);
    return true;
}

/* Entries of a leaf that nobody reads yet may be pushed on in either direction, so it can be filled
 * nearly to the last place. */
#define PUSHES_MAX 500

static bool push_in(const struct leaf *leaf, uint64_t entry)
{
    uint32_t number = second_bucket(entry, leaf->bucket_count);
    for (uint32_t pushes = 0; pushes < PUSHES_MAX; pushes++) {
        struct leaf_bucket *bucket = &leaf->buckets[number];
        uint64_t *room = find_room(bucket);
        uint64_t *place = room != NULL ? room : &bucket->entries[pushes % BUCKET_ENTRIES];
        uint64_t pushed = *place & ~ENTRY_SPILLED;
        uint32_t first = first_bucket(entry, leaf->bucket_count);
        put(place, entry);
        if (first != number) {
            mark_spilled(&leaf->buckets[first]);
        }
        if (room != NULL) {
            return true;
        }
        first = first_bucket(pushed, leaf->bucket_count);
        number = first != number ? first : second_bucket(pushed, leaf->bucket_count);
        entry = pushed;
    }
    return false;
}

/* First all that find room where they are looked for first, then the others. */
bool leaf_fill(const struct leaf *leaf, const uint64_t *entries, uint32_t count)
{
    uint64_t others[LEAF_ENTRIES_MAX];
    uint8_t used[LEAF_BUCKETS_MAX] = {0};
    uint32_t other_count = 0;
    CHECK(count <= LEAF_ENTRIES_MAX);
    memset(leaf->buckets, 0, leaf->bucket_count * sizeof(struct leaf_bucket));
    for (uint32_t i = 0; i < count; i++) {
        uint32_t number = first_bucket(entries[i], leaf->bucket_count);
        if (used[number] < BUCKET_ENTRIES) {
            leaf->buckets[number].entries[used[number]++] = entries[i];
        } else {
            others[other_count++] = entries[i];
        }
    }
    for (uint32_t i = 0; i < other_count; i++) {
        mark_spilled(&leaf->buckets[first_bucket(others[i], leaf->bucket_count)]);
        if (!push_in(leaf, others[i])) {
            return false;
        }
    }
    return true;
}

uint32_t leaf_collect(const struct leaf *leaf, uint64_t entries[LEAF_ENTRIES_MAX])
{
    const uint64_t *words = leaf->buckets[0].entries;
    uint32_t count = 0;
    for (uint32_t i = 0; i < leaf->bucket_count * BUCKET_ENTRIES; i++) {
        entries[count] = words[i] & ~ENTRY_SPILLED;
        count += !entry_is_empty(words[i]);
    }
    return count;
}
