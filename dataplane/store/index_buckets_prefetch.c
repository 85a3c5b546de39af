/* The prefetch stage of a batch: rounds of cache misses, each shared by all keys.
 *
 *   words of the leaves --> first buckets --> items --> what is long of them
 *                                |              ^
 *                                +--> second ---+   for the keys that the first did not have
 *
 * What is found is a hint for the look-up that follows. Thread: the owner. */
#include <rte_prefetch.h>

#include "dataplane/base/check.h"
#include "dataplane/store/index_buckets.h"
#include "dataplane/store/item_prefetch.h"

struct probe {
    uint64_t hash;
    const uint64_t *slot; /* the leaf's word */
    struct leaf leaf;
    uint64_t tag;
    struct leaf_bucket *bucket;
};

/* Those on their way. */
struct found_items {
    const struct item *items[SHARD_LOOKUP_BURST];
    uint32_t count;
};

static void fetch_slot(const struct buckets_index *index, struct probe *probe)
{
    probe->slot = leaf_slot(index, position_of_hash(probe->hash));
    rte_prefetch0(probe->slot);
}

static void fetch_first_bucket(struct probe *probe)
{
    probe->leaf = leaf_unpack(RCU_READ(probe->slot));
    probe->tag = tag_at(position_of_hash(probe->hash), probe->leaf.depth);
    probe->bucket = &probe->leaf.buckets[first_bucket(probe->tag, probe->leaf.bucket_count)];
    rte_prefetch0(probe->bucket);
}

/* More than one match is rare, and then the first will do. */
static bool fetch_item(struct buckets_index *index, const struct probe *probe,
                       struct found_items *found)
{
    uint32_t matches = bucket_match(probe->bucket, probe->tag);
    if (matches == 0) {
        return false;
    }
    uint64_t *entry = &probe->bucket->entries[__builtin_ctz(matches)];
    const struct item *item = entry_item(RCU_READ(entry));
    if (LIKELY(item != NULL)) {
        item_prefetch_begin(item);
        found->items[found->count++] = item;
        *buckets_hint(index, probe->hash) = (struct bucket_hint){probe->hash, index->epoch, entry};
    }
    return true;
}

/* True: the second bucket is wanted. */
static bool fetch_from_first(struct buckets_index *index, struct probe *probe,
                             struct found_items *found)
{
    if (fetch_item(index, probe, found) || !bucket_is_spilled(probe->bucket)) {
        return false;
    }
    probe->bucket = &probe->leaf.buckets[second_bucket(probe->tag, probe->leaf.bucket_count)];
    rte_prefetch0(probe->bucket);
    return true;
}

void index_buckets_prefetch_bulk(struct index *common, const struct key *const *keys,
                                 uint32_t count)
{
    struct buckets_index *index = buckets_index_of(common);
    CHECK(count <= SHARD_LOOKUP_BURST);
    struct probe probes[SHARD_LOOKUP_BURST];
    struct found_items found;
    found.count = 0;
    for (uint32_t i = 0; i < count; i++) {
        probes[i].hash = keys[i]->hash;
        fetch_slot(index, &probes[i]);
    }
    for (uint32_t i = 0; i < count; i++) {
        fetch_first_bucket(&probes[i]);
    }
    uint32_t wanted = 0;
    for (uint32_t i = 0; i < count; i++) {
        wanted |= (uint32_t)fetch_from_first(index, &probes[i], &found) << i;
    }
    for (; wanted != 0; wanted &= wanted - 1) {
        (void)fetch_item(index, &probes[__builtin_ctz(wanted)], &found);
    }
    for (uint32_t i = 0; i < found.count; i++) {
        item_prefetch_rest(found.items[i]);
    }
}
