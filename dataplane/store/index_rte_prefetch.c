/* The prefetch stage of a batch: three rounds of cache misses, each shared by all keys of the
 * batch, whatever segments they are in.
 *
 *   buckets of all keys --> slots whose signature fits --> items
 *
 * rte_hash's own bulk look-up does the same for the keys of one table only; a batch meets as many
 * tables as there are segments. So the rounds are ours, over rte_hash's memory (segment.h: checked
 * when a segment is made, and never trusted): what they find is a hint, a position at which the
 * item must still have the full key. Whoever finds no hint asks rte_hash, which then finds its
 * lines in the cache. Thread: the owner. */
#include <rte_prefetch.h>

#include "dataplane/base/check.h"
#include "dataplane/store/index_rte.h"

struct probe {
    uint64_t hash;
    struct segment *segment; /* where to look; NULL: done */
    uint32_t position;
    bool has_position;
};

static void fetch_buckets(const struct probe *probe)
{
    if (probe->segment != NULL && probe->segment->buckets != NULL) {
        rte_prefetch0(segment_bucket(probe->segment, probe->hash));
        rte_prefetch0(segment_other_bucket(probe->segment, probe->hash));
    }
}

/* Bit n: entry n of the bucket has the signature. */
static uint32_t match_signatures(const struct bucket *bucket, uint64_t hash)
{
    uint16_t signature = (uint16_t)((uint32_t)hash >> 16);
    uint32_t matches = 0;
    for (uint32_t i = 0; i < 8; i++) {
        matches |= (uint32_t)(bucket->signatures[i] == signature && bucket->slot_numbers[i] != 0)
                   << i;
    }
    return matches;
}

/* More than one match is rare, and then the first will do: it is a hint. */
static void fetch_slot(struct probe *probe)
{
    probe->has_position = false;
    if (probe->segment == NULL || probe->segment->buckets == NULL) {
        return;
    }
    const struct bucket *bucket = segment_bucket(probe->segment, probe->hash);
    uint32_t matches = match_signatures(bucket, probe->hash);
    if (matches == 0) {
        bucket = segment_other_bucket(probe->segment, probe->hash);
        matches = match_signatures(bucket, probe->hash);
    }
    if (matches != 0) {
        uint32_t position = bucket->slot_numbers[__builtin_ctz(matches)] - 1;
        probe->has_position = position < probe->segment->capacity;
        probe->position = position;
        rte_prefetch0(&probe->segment->slots[position]);
    }
}

/* Prefetches the item, or sends the key on to the child. True: go on looking. */
static bool settle(struct rte_index *index, struct probe *probe)
{
    struct item *item = NULL;
    if (probe->has_position && segment_hash_at(probe->segment, probe->position) == probe->hash) {
        item = segment_item(probe->segment, probe->position);
    }
    if (item == NULL) {
        probe->segment = probe->segment != NULL ? segment_child(probe->segment, probe->hash) : NULL;
        return probe->segment != NULL;
    }
    rte_prefetch0(item);
    rte_prefetch0((const uint8_t *)item + 64);
    *index_rte_hint(index, probe->hash) =
        (struct hint){probe->hash, probe->segment, probe->position, index->common.services->pass};
    probe->segment = NULL;
    return false;
}

/* Longer walks than that are rare, and left to the look-ups. */
#define WALK_MAX 3

void index_rte_prefetch_bulk(struct index *common, const struct key *const *keys, uint32_t count)
{
    struct rte_index *index = rte_index_of(common);
    CHECK(count <= SHARD_LOOKUP_BURST);
    struct probe probes[SHARD_LOOKUP_BURST];
    for (uint32_t i = 0; i < count; i++) {
        probes[i] =
            (struct probe){.hash = keys[i]->hash, .segment = index_rte_root(index, keys[i]->hash)};
    }
    bool more = true;
    for (uint32_t step = 0; more && step < WALK_MAX; step++) {
        for (uint32_t i = 0; i < count; i++) {
            fetch_buckets(&probes[i]);
        }
        for (uint32_t i = 0; i < count; i++) {
            fetch_slot(&probes[i]);
        }
        more = false;
        for (uint32_t i = 0; i < count; i++) {
            more |= settle(index, &probes[i]);
        }
    }
}
