/* The prefetch stage of a batch: three rounds of cache misses, each shared by all keys.
 *
 *   words of the leaves --> first buckets --> items
 *                                |              ^
 *                                +--> second ---+   for the keys that the first did not have
 *
 * What follows looks everything up again, in the cache. Thread: the owner. */
#include <rte_prefetch.h>

#include "dataplane/base/check.h"
#include "dataplane/store/index_buckets.h"

struct probe {
    uint64_t position;
    const uint64_t *slot; /* the leaf's word */
    struct leaf leaf;
    uint64_t tag;
    const struct leaf_bucket *bucket;
};

static void fetch_slot(const struct buckets_index *index, struct probe *probe)
{
    probe->slot = leaf_slot(index, probe->position);
    rte_prefetch0(probe->slot);
}

static void fetch_first_bucket(struct probe *probe)
{
    probe->leaf = leaf_unpack(RCU_READ(probe->slot));
    probe->tag = tag_at(probe->position, probe->leaf.depth);
    probe->bucket = &probe->leaf.buckets[first_bucket(probe->tag, probe->leaf.bucket_count)];
    rte_prefetch0(probe->bucket);
}

/* More than one match is rare, and then the first will do. */
static bool fetch_item(const struct leaf_bucket *bucket, uint64_t tag)
{
    uint32_t matches = bucket_match(bucket, tag);
    if (matches == 0) {
        return false;
    }
    const uint8_t *item =
        (const uint8_t *)entry_item(RCU_READ(&bucket->entries[__builtin_ctz(matches)]));
    rte_prefetch0(item);
    rte_prefetch0(item + 64);
    return true;
}

/* True: the second bucket is wanted. */
static bool fetch_from_first(struct probe *probe)
{
    if (fetch_item(probe->bucket, probe->tag) || !bucket_is_spilled(probe->bucket)) {
        return false;
    }
    probe->bucket = &probe->leaf.buckets[second_bucket(probe->tag, probe->leaf.bucket_count)];
    rte_prefetch0(probe->bucket);
    return true;
}

void index_buckets_prefetch_bulk(struct index *common, const struct key *const *keys,
                                 uint32_t count)
{
    const struct buckets_index *index = buckets_index_of_const(common);
    CHECK(count <= SHARD_LOOKUP_BURST);
    struct probe probes[SHARD_LOOKUP_BURST];
    for (uint32_t i = 0; i < count; i++) {
        probes[i].position = position_of_hash(keys[i]->hash);
        fetch_slot(index, &probes[i]);
    }
    for (uint32_t i = 0; i < count; i++) {
        fetch_first_bucket(&probes[i]);
    }
    uint32_t wanted = 0;
    for (uint32_t i = 0; i < count; i++) {
        wanted |= (uint32_t)fetch_from_first(&probes[i]) << i;
    }
    for (; wanted != 0; wanted &= wanted - 1) {
        const struct probe *probe = &probes[__builtin_ctz(wanted)];
        (void)fetch_item(probe->bucket, probe->tag);
    }
}
