/* Look-ups and changes of the index. Growth is in index_rte_growth.c, walks are in
 * index_rte_scan.c.
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

#include "dataplane/base/check.h"
#include "dataplane/store/index_rte.h"
#include "dataplane/store/item_key.h"

struct place {
    struct segment *segment; /* NULL: in the overflow list, or nowhere */
    uint32_t position;
    struct overflow *overflow;
    struct item *item; /* NULL: nowhere */
    bool collided;     /* another key has the fingerprint */
};

static inline __attribute__((always_inline)) void locate_in_segments(const struct rte_index *index,
                                                                     const struct key *key,
                                                                     bool is_own,
                                                                     struct place *place)
{
    struct segment *segment = index_rte_root(index, key->hash);
    while (segment != NULL) {
        int32_t position =
            is_own ? segment_find_own(segment, key->hash) : segment_find(segment, &key->hash);
        struct item *item = position >= 0 ? segment_item(segment, (uint32_t)position) : NULL;
        if (item != NULL) {
            if (item_has_key(item, key)) {
                place->segment = segment;
                place->position = (uint32_t)position;
                place->item = item;
            } else {
                place->collided = true;
            }
            return;
        }
        segment = segment_child(segment, key->hash);
    }
}

static inline __attribute__((always_inline)) void
locate_by(const struct rte_index *index, const struct key *key, bool is_own, struct place *place)
{
    *place = (struct place){0};
    locate_in_segments(index, key, is_own, place);
    if (place->item == NULL && !overflow_is_empty(&index->common)) {
        place->overflow = overflow_find(&index->common, key);
        place->item = place->overflow != NULL ? RCU_READ(&place->overflow->item) : NULL;
    }
}

/* The owner's way. */
static void locate(const struct rte_index *index, const struct key *key, struct place *place)
{
    locate_by(index, key, true, place);
}

/* The segment on the way of a key in which its entry is. */
static struct segment *segment_of_entry(const struct rte_index *index, const struct key *key)
{
    struct segment *segment = index_rte_root(index, key->hash);
    while (segment != NULL && !segment_has_slot(segment, key->entry)) {
        segment = segment_child(segment, key->hash);
    }
    return segment;
}

/* Where the prefetch found it, if it still is there. */
static void locate_found(const struct rte_index *index, const struct key *key, struct place *place)
{
    struct item *item = index_found_item(&index->common, key);
    struct segment *segment = item != NULL ? segment_of_entry(index, key) : NULL;
    if (segment == NULL) {
        locate(index, key, place);
        return;
    }
    uint32_t position = (uint32_t)((const struct slot *)key->entry - segment->slots);
    *place = (struct place){.segment = segment, .position = position, .item = item};
}

struct item *index_rte_read(const struct index *common, const struct key *key)
{
    const struct rte_index *index = rte_index_of_const(common);
    struct place place;
    locate_by(index, key, false, &place);
    return place.item;
}

struct item *index_rte_find(const struct index *common, const struct key *key)
{
    struct place place;
    locate(rte_index_of_const(common), key, &place);
    return place.item;
}

/* ---- changes -------------------------------------------------------------------------------- */

static void insert(struct rte_index *index, const struct key *key, struct item *item, bool collided)
{
    if (collided) {
        metric_add(index->common.services->metrics, METRIC_STORE_COLLISIONS, 1);
        overflow_add(&index->common, key->hash, item);
    } else if (!index_rte_add_to_segment(index, key->hash, item)) {
        overflow_add(&index->common, key->hash, item);
    }
}

struct item *index_rte_store(struct index *common, const struct key *key, struct item *item)
{
    struct rte_index *index = rte_index_of(common);
    struct place place;
    locate(index, key, &place);
    if (place.segment != NULL) {
        RCU_PUBLISH(&place.segment->slots[place.position].item, item);
    } else if (place.overflow != NULL) {
        (void)overflow_replace(place.overflow, item);
    } else {
        insert(index, key, item, place.collided);
        if (index->moving_first != NULL) {
            index_rte_pay_for_insert(index);
        }
    }
    return place.item;
}

/* In a segment that is moving out the emptied word is enough: rte_hash goes as a whole. */
static void remove_from_segment(struct rte_index *index, struct segment *segment, uint32_t position,
                                uint64_t hash)
{
    RCU_PUBLISH(&segment->slots[position].item, NULL);
    if (segment->children[0] == NULL) {
        segment_remove(segment, hash, position);
        retire_add(index->common.services->retire, RETIRED_POSITION, segment, position);
    }
}

struct item *index_rte_remove(struct index *common, const struct key *key)
{
    struct rte_index *index = rte_index_of(common);
    struct place place;
    locate_found(index, key, &place);
    if (place.segment != NULL) {
        remove_from_segment(index, place.segment, place.position, key->hash);
    } else if (place.overflow != NULL) {
        (void)overflow_remove(&index->common, place.overflow);
    }
    return place.item;
}

/* ---- life ----------------------------------------------------------------------------------- */

/* The index itself and its directory. */
static uint64_t fixed_bytes(uint32_t depth)
{
    return sizeof(struct rte_index) + directory_bytes(depth);
}

struct index *index_rte_create(struct index_services *services)
{
    struct rte_index *index = calloc(1, sizeof(*index));
    struct directory *directory = calloc(1, directory_bytes(0));
    CHECK(index != NULL && directory != NULL);
    (void)memory_reserve_index(services->memory, fixed_bytes(0), MEMORY_UNLIMITED);
    index->common.services = services;
    index->directory = directory;
    /* Failing is no harm: the first insert tries again. */
    (void)index_rte_create_first_segment(index);
    return &index->common;
}

/* False: that was all the work that may be done now. */
static bool free_items_of_segment(struct segment *segment, uint32_t *work, index_visitor *free_item,
                                  void *argument)
{
    bool goes_on = *work > 0;
    while (goes_on && segment->move_position < segment->capacity) {
        struct item *item = segment->slots[segment->move_position++].item;
        if (item != NULL) {
            free_item(argument, item, 0);
        }
        goes_on = index_work_is_left(work, item != NULL ? INDEX_WORK_ITEM : 1);
    }
    return goes_on;
}

bool index_rte_dismantle(struct index *common, uint32_t work, index_visitor *free_item,
                         void *argument)
{
    struct rte_index *index = rte_index_of(common);
    while (index->segments != NULL) {
        struct segment *segment = index->segments;
        if (!free_items_of_segment(segment, &work, free_item, argument)) {
            return false;
        }
        index_rte_unlink_segment(index, segment);
        segments_dispose(index->common.services, segment);
        if (!index_work_is_left(&work, INDEX_WORK_PART)) {
            return false;
        }
    }
    if (!overflow_dismantle(&index->common, &work, free_item, argument)) {
        return false;
    }
    memory_release_index(index->common.services->memory, fixed_bytes(index->directory->depth));
    free(index->directory);
    free(index);
    return true;
}
