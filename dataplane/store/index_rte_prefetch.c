/* The prefetch stage of a batch: rounds of cache misses, each shared by all keys of the batch,
 * whatever segments they are in.
 *
 *   first bucket of all keys --> second bucket, where that has not the signature
 *                            --> slots whose signature fits --> items --> what is long of them
 *
 * rte_hash's own bulk look-up does the same for the keys of one table only; a batch meets as many
 * tables as there are segments. So the rounds are ours, over rte_hash's memory (segment.h: checked
 * when a segment is made, and never trusted): what they find is a hint, a position at which the
 * item must still have the full key. Whoever finds no hint asks rte_hash, which then finds its
 * lines in the cache. Thread: the owner. */
#include <rte_prefetch.h>

#include "dataplane/base/check.h"
#include "dataplane/store/index_rte.h"
#include "dataplane/store/item_prefetch.h"

struct probe {
    uint64_t hash;
    struct segment *segment; /* where to look; NULL: done */
    uint32_t position;       /* POSITION_NONE: in neither bucket */
};
#define POSITION_NONE UINT32_MAX

/* Position of the first entry that has the signature: more than one is rare, and for a hint the
 * first will do. An empty one gives POSITION_NONE. */
static uint32_t match_signature(const struct bucket *bucket, uint64_t hash)
{
    uint64_t matches = bucket_match_signature(bucket, (uint16_t)((uint32_t)hash >> 16));
    return matches != 0 ? bucket->slot_numbers[bucket_first_match(matches)] - 1 : POSITION_NONE;
}

static void fetch_slot(struct probe *probe)
{
    if (LIKELY(probe->position < probe->segment->capacity)) {
        rte_prefetch0(&probe->segment->slots[probe->position]);
    } else {
        probe->position = POSITION_NONE;
    }
}

/* True: the second bucket is wanted. */
static bool match_first(struct probe *probe)
{
    probe->position = POSITION_NONE;
    if (UNLIKELY(probe->segment == NULL || probe->segment->buckets == NULL)) {
        return false;
    }
    probe->position = match_signature(segment_bucket(probe->segment, probe->hash), probe->hash);
    if (probe->position == POSITION_NONE) {
        rte_prefetch0(segment_other_bucket(probe->segment, probe->hash));
        return true;
    }
    fetch_slot(probe);
    return false;
}

static void match_second(struct probe *probe)
{
    probe->position =
        match_signature(segment_other_bucket(probe->segment, probe->hash), probe->hash);
    fetch_slot(probe);
}

/* The item that is there, on its way into the cache; or NULL, and the key is sent on to the child.
 */
static const struct item *settle(struct rte_index *index, struct probe *probe)
{
    struct item *item = NULL;
    if (probe->position != POSITION_NONE &&
        segment_hash_at(probe->segment, probe->position) == probe->hash) {
        item = segment_item(probe->segment, probe->position);
    }
    if (item == NULL) {
        probe->segment = probe->segment != NULL ? segment_child(probe->segment, probe->hash) : NULL;
        return NULL;
    }
    item_prefetch_begin(item);
    *index_rte_hint(index, probe->hash) =
        (struct hint){probe->hash, probe->segment, probe->position, index->common.services->pass};
    probe->segment = NULL;
    return item;
}

/* Of `count` probes those with a segment look there. Returns how many have to go on to another;
 * they are the first then. `items` gets what the others found. */
static uint32_t look_once(struct rte_index *index, struct probe *probes, uint32_t count,
                          const struct item **items, uint32_t *item_count)
{
    uint32_t seconds = 0, left = 0;
    for (uint32_t i = 0; i < count; i++) {
        seconds |= (uint32_t)match_first(&probes[i]) << i;
    }
    for (; seconds != 0; seconds &= seconds - 1) {
        match_second(&probes[__builtin_ctz(seconds)]);
    }
    for (uint32_t i = 0; i < count; i++) {
        const struct item *item = settle(index, &probes[i]);
        if (LIKELY(item != NULL)) {
            items[(*item_count)++] = item;
        } else if (probes[i].segment != NULL) {
            probes[left++] = probes[i];
        }
    }
    return left;
}

static void fetch_first_bucket(const struct probe *probe)
{
    if (LIKELY(probe->segment != NULL && probe->segment->buckets != NULL)) {
        rte_prefetch0(segment_bucket(probe->segment, probe->hash));
    }
}

/* Longer walks than that are rare, and left to the look-ups. */
#define WALK_MAX 3

void index_rte_prefetch_bulk(struct index *common, const struct key *const *keys, uint32_t count)
{
    struct rte_index *index = rte_index_of(common);
    CHECK(count <= SHARD_LOOKUP_BURST);
    struct probe probes[SHARD_LOOKUP_BURST];
    const struct item *items[SHARD_LOOKUP_BURST];
    uint32_t item_count = 0;
    for (uint32_t i = 0; i < count; i++) {
        probes[i].hash = keys[i]->hash;
        probes[i].segment = index_rte_root(index, keys[i]->hash);
        fetch_first_bucket(&probes[i]);
    }
    for (uint32_t step = 0; count > 0 && step < WALK_MAX; step++) {
        count = look_once(index, probes, count, items, &item_count);
        for (uint32_t i = 0; i < count; i++) {
            fetch_first_bucket(&probes[i]);
        }
    }
    for (uint32_t i = 0; i < item_count; i++) {
        item_prefetch_rest(items[i]);
    }
}
