/* Look-ups and changes of the index. Growth is in index_growth.c, walks are in index_scan.c.
 *
 * Invariants:
 *  1. Of one fingerprint at most one key is in the segments; it is in one segment only (while an
 *     entry moves: in two, with the same item). Other keys of that fingerprint are in the overflow
 *     list, and stay there until they are deleted.
 *  2. New entries go to the end of the walk (the segment without children); so a segment that is
 *     moving out only loses entries, and rte_hash is not asked to delete from it any more.
 *  3. An emptied word of a slot stays empty until the position has been freed and given out again,
 *     a grace period later.
 */
#include <stdlib.h>

#include <rte_prefetch.h>

#include "dataplane/base/check.h"
#include "dataplane/store/index_internal.h"

struct place {
    struct segment *segment; /* NULL: in the overflow list, or nowhere */
    int32_t position;
    struct overflow *overflow;
    struct item *item; /* NULL: nowhere */
    bool collided;     /* another key has the fingerprint */
};

static struct hint *hint_slot(struct index *index, uint64_t hash)
{
    return &index->hints[(hash >> 32) % INDEX_HINTS];
}

static bool has_key(const struct item *item, const struct key *key)
{
    return slice_equal(item_key(item), key->bytes);
}

static void locate_in_segments(const struct index *index, const struct key *key,
                               struct place *place)
{
    struct segment *segment = index_root(index, key->hash);
    while (segment != NULL) {
        int32_t position = segment_find(segment, &key->hash);
        struct item *item = position >= 0 ? segment_item(segment, position) : NULL;
        if (item != NULL) {
            if (has_key(item, key)) {
                place->segment = segment;
                place->position = position;
                place->item = item;
            } else {
                place->collided = true;
            }
            return;
        }
        segment = segment_child(segment, key->hash);
    }
}

static void locate_in_overflow(const struct index *index, const struct key *key,
                               struct place *place)
{
    for (struct overflow *node = RCU_READ(&index->overflow); node != NULL;
         node = RCU_READ(&node->next)) {
        struct item *item = RCU_READ(&node->item);
        if (node->hash == key->hash && has_key(item, key)) {
            place->overflow = node;
            place->item = item;
            return;
        }
    }
}

static void locate(const struct index *index, const struct key *key, struct place *place)
{
    *place = (struct place){0};
    locate_in_segments(index, key, place);
    if (place->item == NULL) {
        locate_in_overflow(index, key, place);
    }
}

/* The owner's way: the hint of the prefetch stage first. */
static void locate_hinted(struct index *index, const struct key *key, struct place *place)
{
    const struct hint *hint = hint_slot(index, key->hash);
    if (hint->hash == key->hash && hint->pass == index->services->pass) {
        struct item *item = segment_item(hint->segment, hint->position);
        if (item != NULL && has_key(item, key)) {
            *place =
                (struct place){.segment = hint->segment, .position = hint->position, .item = item};
            return;
        }
    }
    locate(index, key, place);
}

struct item *index_read(const struct index *index, const struct key *key)
{
    struct place place;
    locate(index, key, &place);
    return place.item;
}

struct item *index_find(struct index *index, const struct key *key)
{
    struct place place;
    locate_hinted(index, key, &place);
    return place.item;
}

/* ---- prefetch ------------------------------------------------------------------------------- */

struct probe {
    uint32_t count;
    uint64_t hashes[SHARD_LOOKUP_BURST];
    struct segment *segments[SHARD_LOOKUP_BURST]; /* where to look next; NULL: done */
    int32_t positions[SHARD_LOOKUP_BURST];
};

/* One bulk look-up for all keys of the segment that `first` is in; they are taken off `pending`. */
static uint32_t probe_group(struct probe *probe, uint32_t first, uint32_t pending)
{
    struct segment *segment = probe->segments[first];
    const void *keys[SHARD_LOOKUP_BURST];
    hash_sig_t signatures[SHARD_LOOKUP_BURST];
    uint32_t members[SHARD_LOOKUP_BURST], count = 0;
    for (uint32_t i = first; i < probe->count; i++) {
        if ((pending >> i & 1) != 0 && probe->segments[i] == segment) {
            keys[count] = &probe->hashes[i];
            signatures[count] = (hash_sig_t)probe->hashes[i];
            members[count++] = i;
            pending &= ~(1U << i);
        }
    }
    int32_t positions[SHARD_LOOKUP_BURST];
    (void)rte_hash_lookup_with_hash_bulk(segment->hash, keys, signatures, count, positions);
    for (uint32_t i = 0; i < count; i++) {
        probe->positions[members[i]] = positions[i];
    }
    return pending;
}

/* Prefetches the item of one key, or sends the key on to the child. True: go on looking. */
static bool settle_probe(struct index *index, struct probe *probe, uint32_t i)
{
    struct segment *segment = probe->segments[i];
    int32_t position = probe->positions[i];
    struct item *item = position >= 0 ? segment_item(segment, position) : NULL;
    if (item == NULL) {
        probe->segments[i] = segment_child(segment, probe->hashes[i]);
        return probe->segments[i] != NULL;
    }
    rte_prefetch0(item);
    rte_prefetch0((const uint8_t *)item + 64);
    *hint_slot(index, probe->hashes[i]) =
        (struct hint){probe->hashes[i], segment, position, index->services->pass};
    return false;
}

void index_prefetch_bulk(struct index *index, const struct key *const *keys, uint32_t count)
{
    CHECK(count <= SHARD_LOOKUP_BURST);
    struct probe probe = {.count = count};
    uint32_t pending = 0;
    for (uint32_t i = 0; i < count; i++) {
        probe.hashes[i] = keys[i]->hash;
        probe.segments[i] = index_root(index, keys[i]->hash);
        if (probe.segments[i] != NULL) {
            pending |= 1U << i;
        }
    }
    while (pending != 0) {
        uint32_t asked = pending, next = 0;
        while (pending != 0) {
            pending = probe_group(&probe, (uint32_t)__builtin_ctz(pending), pending);
        }
        for (; asked != 0; asked &= asked - 1) {
            uint32_t i = (uint32_t)__builtin_ctz(asked);
            if (settle_probe(index, &probe, i)) {
                next |= 1U << i;
            }
        }
        pending = next;
    }
}

/* ---- changes -------------------------------------------------------------------------------- */

static void add_to_overflow(struct index *index, uint64_t hash, struct item *item)
{
    struct overflow *node = malloc(sizeof(*node));
    CHECK(node != NULL);
    (void)memory_reserve_index(index->services->memory, sizeof(*node), MEMORY_UNLIMITED);
    *node = (struct overflow){index->overflow, item, hash};
    RCU_PUBLISH(&index->overflow, node);
    metric_add(index->services->metrics, METRIC_STORE_OVERFLOW_ITEMS, 1);
}

static void remove_from_overflow(struct index *index, struct overflow *node)
{
    struct overflow **link = &index->overflow;
    while (*link != node) {
        link = &(*link)->next;
    }
    RCU_PUBLISH(link, node->next);
    retire_add(index->services->retire, RETIRED_BLOCK, node, sizeof(*node));
    metric_subtract(index->services->metrics, METRIC_STORE_OVERFLOW_ITEMS, 1);
}

static void insert(struct index *index, const struct key *key, struct item *item, bool collided)
{
    if (collided) {
        metric_add(index->services->metrics, METRIC_STORE_COLLISIONS, 1);
        add_to_overflow(index, key->hash, item);
    } else if (!index_add_to_segment(index, key->hash, item)) {
        add_to_overflow(index, key->hash, item);
    }
}

/* A write pays for a few entries of the segments that are moving out. */
#define MOVES_PER_WRITE 4

struct item *index_store(struct index *index, const struct key *key, struct item *item)
{
    struct place place;
    locate_hinted(index, key, &place);
    if (place.segment != NULL) {
        (void)RCU_EXCHANGE(&place.segment->slots[place.position].item, item);
    } else if (place.overflow != NULL) {
        (void)RCU_EXCHANGE(&place.overflow->item, item);
    } else {
        insert(index, key, item, place.collided);
    }
    if (index->moving_first != NULL) {
        index_move_entries(index, MOVES_PER_WRITE);
    }
    return place.item;
}

/* In a segment that is moving out the emptied word is enough: rte_hash goes as a whole. */
static void remove_from_segment(struct index *index, struct segment *segment, int32_t position,
                                uint64_t hash)
{
    RCU_PUBLISH(&segment->slots[position].item, NULL);
    if (segment->children[0] == NULL) {
        segment_remove(segment, hash, position);
        retire_add(index->services->retire, RETIRED_POSITION, segment, (uint32_t)position);
    }
}

struct item *index_remove(struct index *index, const struct key *key)
{
    struct place place;
    locate_hinted(index, key, &place);
    if (place.segment != NULL) {
        remove_from_segment(index, place.segment, place.position, key->hash);
    } else if (place.overflow != NULL) {
        remove_from_overflow(index, place.overflow);
    }
    if (index->moving_first != NULL) {
        index_move_entries(index, MOVES_PER_WRITE);
    }
    return place.item;
}

/* ---- life ----------------------------------------------------------------------------------- */

/* The index itself and its directory. */
static uint64_t fixed_bytes(uint32_t depth)
{
    return sizeof(struct index) + directory_bytes(depth);
}

struct index *index_create(struct index_services *services)
{
    struct index *index = calloc(1, sizeof(*index));
    struct directory *directory = calloc(1, directory_bytes(0));
    CHECK(index != NULL && directory != NULL);
    (void)memory_reserve_index(services->memory, fixed_bytes(0), MEMORY_UNLIMITED);
    index->services = services;
    index->directory = directory;
    /* Failing is no harm: the first insert tries again. */
    (void)index_create_first_segment(index);
    return index;
}

static uint32_t free_items_of_segment(struct segment *segment, uint32_t budget,
                                      index_visitor *free_item, void *argument)
{
    while (budget > 0 && segment->move_position < segment->capacity) {
        uint32_t position = segment->move_position++;
        struct item *item = segment->slots[position].item;
        if (item != NULL) {
            free_item(argument, item, 0);
            budget--;
        }
    }
    return budget;
}

static void free_overflow(struct index *index, index_visitor *free_item, void *argument)
{
    while (index->overflow != NULL) {
        struct overflow *node = index->overflow;
        index->overflow = node->next;
        free_item(argument, node->item, node->hash);
        memory_release_index(index->services->memory, sizeof(*node));
        metric_subtract(index->services->metrics, METRIC_STORE_OVERFLOW_ITEMS, 1);
        free(node);
    }
}

bool index_dismantle(struct index *index, uint32_t budget, index_visitor *free_item, void *argument)
{
    while (index->segments != NULL) {
        struct segment *segment = index->segments;
        budget = free_items_of_segment(segment, budget, free_item, argument);
        if (segment->move_position < segment->capacity) {
            return false;
        }
        index_unlink_segment(index, segment);
        segments_dispose(index->services, segment);
    }
    free_overflow(index, free_item, argument);
    memory_release_index(index->services->memory, fixed_bytes(index->directory->depth));
    free(index->directory);
    free(index);
    return true;
}
