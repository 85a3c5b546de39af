/* Keys fetched in bulk: rounds of cache misses, each shared by all keys.
 *
 *   words of the leaves --> first buckets --> items --> what is long of them
 *                                |              ^
 *                                +--> second ---+   for the keys that the first did not have
 *
 * What is found is noted in the key, for what comes next. Thread: the owner, or any reader under
 * RCU. */
#include <rte_prefetch.h>

#include "dataplane/base/check.h"
#include "dataplane/store/index_buckets.h"

struct probe {
    const struct shard_lookup *lookup;
    uint64_t epoch;       /* when it set out */
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

static uint64_t position_of(const struct probe *probe)
{
    return position_of_hash(probe->lookup->key->hash);
}

static void fetch_slot(struct probe *probe)
{
    probe->epoch = index_epoch(probe->lookup->index);
    probe->slot = leaf_slot(buckets_index_of_const(probe->lookup->index), position_of(probe));
    rte_prefetch0(probe->slot);
}

static void fetch_first_bucket(struct probe *probe)
{
    probe->leaf = leaf_unpack(RCU_READ(probe->slot));
    probe->tag = tag_at(position_of(probe), probe->leaf.depth);
    probe->bucket = &probe->leaf.buckets[first_bucket(probe->tag, probe->leaf.bucket_count)];
    rte_prefetch0(probe->bucket);
}

/* More than one match is rare, and then the first will do. */
static bool fetch_item(const struct probe *probe, struct found_items *found)
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
        index_note_found(probe->lookup->key, entry, probe->epoch);
    }
    return true;
}

/* True: the second bucket is wanted. */
static bool fetch_from_first(struct probe *probe, struct found_items *found)
{
    if (fetch_item(probe, found) || !bucket_is_spilled(probe->bucket)) {
        return false;
    }
    probe->bucket = &probe->leaf.buckets[second_bucket(probe->tag, probe->leaf.bucket_count)];
    rte_prefetch0(probe->bucket);
    return true;
}

void index_buckets_prefetch_bulk(const struct shard_lookup *lookups, uint32_t count)
{
    CHECK(count <= SHARD_LOOKUP_BURST);
    struct probe probes[SHARD_LOOKUP_BURST];
    struct found_items found;
    found.count = 0;
    for (uint32_t i = 0; i < count; i++) {
        probes[i].lookup = &lookups[i];
        fetch_slot(&probes[i]);
    }
    for (uint32_t i = 0; i < count; i++) {
        fetch_first_bucket(&probes[i]);
    }
    uint32_t wanted = 0;
    for (uint32_t i = 0; i < count; i++) {
        wanted |= (uint32_t)fetch_from_first(&probes[i], &found) << i;
    }
    for (; wanted != 0; wanted &= wanted - 1) {
        (void)fetch_item(&probes[__builtin_ctz(wanted)], &found);
    }
    for (uint32_t i = 0; i < found.count; i++) {
        item_prefetch_rest(found.items[i]);
    }
}

/* ---- in steps -------------------------------------------------------------------------------- */

/* Each time the same way, a line further. */
static inline void visit_key(const struct shard_lookup *lookup, uint32_t visit)
{
    struct probe probe = {.lookup = lookup};
    struct found_items found;
    found.count = 0;
    fetch_slot(&probe);
    if (visit >= 1) {
        fetch_first_bucket(&probe);
    }
    if (visit >= 2 && fetch_from_first(&probe, &found) && visit == 3) {
        (void)fetch_item(&probe, &found);
    }
}

void index_buckets_prefetch_step(const struct shard_prefetch *prefetch,
                                 const struct index_services *services)
{
    index_visit_all(prefetch, services, visit_key);
}
