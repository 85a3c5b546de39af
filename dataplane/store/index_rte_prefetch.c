/* Keys fetched in bulk: rounds of cache misses, each shared by all keys, whatever segments they are
 * in.
 *
 *   first bucket of all keys --> second bucket, where that has not the signature
 *                            --> slots whose signature fits --> items --> what is long of them
 *
 * rte_hash's own bulk look-up does the same for the keys of one table only; a batch meets as many
 * tables as there are segments. So the rounds are ours, over rte_hash's memory (segment.h: checked
 * when a segment is made): what they find is noted in the key, and the item there must still have
 * the full key. Where nothing is found the look-up goes the same way again, its lines in the cache;
 * a reader's asks rte_hash. Thread: the owner, or any reader under RCU.
 *
 * What a reader has noted is right as long as its entry is not empty and has the key: one that
 * moves is published in its new place first, then emptied here, and changed after that
 * (index_rte.c, invariants 1 and 3). The epoch says that it is of this index, not of one that was
 * flushed, and that its memory is still there.
 *
 * In steps (shard.h) the way is the same, with other work between the misses. */
#include <rte_prefetch.h>

#include "dataplane/base/check.h"
#include "dataplane/store/index_rte.h"

struct probe {
    const struct shard_lookup *lookup;
    uint64_t hash;
    const struct segment *segment; /* where to look; NULL: done */
    union {
        const struct bucket *bucket;
        struct slot *slot; /* NULL: in neither bucket */
    };
};

static void fetch_first_bucket(struct probe *probe, const struct segment *segment)
{
    probe->segment = segment;
    probe->bucket = NULL;
    if (LIKELY(segment != NULL && segment->buckets != NULL)) {
        probe->bucket = segment_bucket(segment, probe->hash);
        rte_prefetch0(probe->bucket);
    }
}

static inline void set_out(struct probe *probe, const struct shard_lookup *lookup)
{
    probe->lookup = lookup;
    probe->hash = lookup->key->hash;
    fetch_first_bucket(probe, index_rte_root(rte_index_of_const(lookup->index), probe->hash));
}

/* Fetches the slot of the first entry that has the signature: more than one is rare, and then the
 * first will do. False: there is none. */
static inline bool fetch_slot(struct probe *probe)
{
    const struct bucket *bucket = probe->bucket;
    uint64_t matches = bucket_match_signature(bucket, segment_signature(probe->hash));
    probe->slot = NULL;
    if (matches == 0) {
        return false;
    }
    uint32_t position = bucket->slot_numbers[bucket_first_match(matches)] - 1; /* -1: empty */
    if (LIKELY(position < probe->segment->capacity)) {
        probe->slot = &probe->segment->slots[position];
        rte_prefetch0(probe->slot);
    }
    return true;
}

/* True: the second bucket is wanted. */
static inline bool match_first(struct probe *probe)
{
    if (UNLIKELY(probe->bucket == NULL) || LIKELY(fetch_slot(probe))) {
        return false;
    }
    probe->bucket = segment_other_bucket(probe->segment, probe->hash);
    rte_prefetch0(probe->bucket);
    return true;
}

/* The owner's epoch does not end meanwhile. To anybody else it says only what is still reached by
 * then. */
static inline void note_slot(const struct probe *probe)
{
    const struct shard_lookup *lookup = probe->lookup;
    uint64_t epoch = index_epoch(lookup->index);
    if (LIKELY(lookup->is_own) ||
        segment_has_slot(index_rte_root(rte_index_of_const(lookup->index), probe->hash),
                         probe->slot)) {
        index_note_found(lookup->key, probe->slot, epoch);
    }
}

/* The item that is there, on its way into the cache; NULL: another one's, or none. */
static inline const struct item *settle(const struct probe *probe)
{
    struct slot *slot = probe->slot;
    if (UNLIKELY(slot == NULL || slot_hash(slot) != probe->hash)) {
        return NULL;
    }
    const struct item *item = RCU_READ(&slot->item);
    if (LIKELY(item != NULL)) {
        item_prefetch_begin(item);
        note_slot(probe);
    }
    return item;
}

/* Of `count` probes those with a segment look there. Returns how many have to go on to another, on
 * their way; they are the first then. `items` gets what the others found. */
static uint32_t look_once(struct probe *probes, uint32_t count, const struct item **items,
                          uint32_t *item_count)
{
    uint32_t seconds = 0, left = 0;
    for (uint32_t i = 0; i < count; i++) {
        seconds |= (uint32_t)match_first(&probes[i]) << i;
    }
    for (; seconds != 0; seconds &= seconds - 1) {
        (void)fetch_slot(&probes[__builtin_ctz(seconds)]);
    }
    for (uint32_t i = 0; i < count; i++) {
        const struct segment *segment = probes[i].segment;
        const struct item *item = settle(&probes[i]);
        if (LIKELY(item != NULL)) {
            items[(*item_count)++] = item;
            continue;
        }
        const struct segment *child =
            segment != NULL ? segment_child(segment, probes[i].hash) : NULL;
        if (UNLIKELY(child != NULL)) {
            probes[left].lookup = probes[i].lookup;
            probes[left].hash = probes[i].hash;
            fetch_first_bucket(&probes[left++], child);
        }
    }
    return left;
}

/* Longer walks than that are rare, and left to the look-ups. */
#define WALK_MAX 3

void index_rte_prefetch_bulk(const struct shard_lookup *lookups, uint32_t count)
{
    CHECK(count <= SHARD_LOOKUP_BURST);
    struct probe probes[SHARD_LOOKUP_BURST];
    const struct item *items[SHARD_LOOKUP_BURST];
    uint32_t item_count = 0;
    for (uint32_t i = 0; i < count; i++) {
        set_out(&probes[i], &lookups[i]);
    }
    for (uint32_t step = 0; count > 0 && step < WALK_MAX; step++) {
        count = look_once(probes, count, items, &item_count);
    }
    for (uint32_t i = 0; i < item_count; i++) {
        item_prefetch_rest(items[i]);
    }
}

/* ---- in steps -------------------------------------------------------------------------------- */

/* A key's entry is its first bucket, on the way; NULL: there is none. */
static inline void begin(const struct shard_lookup *lookup)
{
    struct probe probe;
    set_out(&probe, lookup);
    lookup->key->entry = (void *)(uintptr_t)probe.bucket;
}

/* Its slot; NULL: the second bucket is. */
static inline void take_first_bucket(const struct shard_lookup *lookup)
{
    struct key *key = lookup->key;
    struct probe probe = {.lookup = lookup,
                          .hash = key->hash,
                          .segment = index_rte_root(rte_index_of_const(lookup->index), key->hash)};
    probe.bucket = key->entry;
    key->entry = match_first(&probe) ? NULL : probe.slot;
}

static __attribute__((noinline)) void take_second_bucket(struct shard_lookup lookup)
{
    struct probe probe;
    set_out(&probe, &lookup);
    if (probe.bucket != NULL) {
        probe.bucket = segment_other_bucket(probe.segment, probe.hash);
        (void)fetch_slot(&probe);
        lookup.key->entry = probe.slot;
    }
}

static inline void take_slot(const struct shard_lookup *lookup)
{
    struct probe probe = {.lookup = lookup, .hash = lookup->key->hash};
    probe.slot = lookup->key->entry;
    (void)settle(&probe);
}

/* Children of a segment that moves out are left to the look-ups. */
static inline void visit_key(const struct shard_lookup *lookup, uint32_t visit)
{
    switch (visit) {
    case 0: begin(lookup); break;
    case 1: take_first_bucket(lookup); break;
    case 2:
        if (LIKELY(lookup->key->entry != NULL)) {
            take_slot(lookup);
        } else {
            take_second_bucket(*lookup);
        }
        break;
    default: take_slot(lookup); break;
    }
}

void index_rte_prefetch_step(const struct shard_prefetch *prefetch,
                             const struct index_services *services)
{
    index_visit_all(prefetch, services, visit_key);
}
