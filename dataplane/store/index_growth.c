/* How the index grows: from one small segment on, without a pause and without a key count.
 *
 *   NORMAL --- 65 % full ---> HUNGRY --- 75 %, children there ---> MOVING ---> retired
 *                 |             |                                    |
 *                 |             |  children come ready-made from the reclaimer thread; from 90 %
 * on, |             |  or when there is none, the owner makes them itself |             +-- fell
 * below again: NORMAL
 *                 +-- asks for children                              +-- a few entries per write
 * and per pass go to the children
 *
 * Up to 2^SEGMENT_ORDER_MAX entries a segment is followed by a larger one: the bulk look-up hides
 * cache misses only among keys of the same segment, so few large ones are better than many small.
 * Beyond, it is followed by two of its size, and the directory gets a bit more where it has to.
 *
 * Only the first segment of the queue moves entries: its children may be moving already or fill up
 * meanwhile, entries go to the end of the walk in any case.
 *
 * Failure: without memory for children a segment goes on to about 94 %; beyond 90 % `starved` makes
 * the shard refuse drafts. What comes in nevertheless finds its place in the overflow list.
 */
#include <stdlib.h>
#include <string.h>

#include "dataplane/base/check.h"
#include "dataplane/channel/channel.h"
#include "dataplane/store/index_internal.h"

#define HUNGRY_PERCENT    65
#define SPLIT_PERCENT     75
#define EMERGENCY_PERCENT 90

/* Smaller ones are made faster than asked for (2^14: about 30 us). */
#define INLINE_ORDER_MAX 14
#define RETRY_US         100000
#define MOVES_PER_PASS   16
#define HUNGRY_PER_PASS  4

static bool is_filled(const struct segment *segment, uint32_t percent)
{
    return (uint64_t)segment->used * 100 >= (uint64_t)segment->capacity * percent;
}

/* ---- supply --------------------------------------------------------------------------------- */

void segments_take_ready(struct index_services *services, struct segment *segment, uint32_t order)
{
    CHECK(services->outstanding > 0);
    services->outstanding--;
    if (segment == NULL) {
        memory_release_index(services->memory, segment_bytes(order));
        return;
    }
    segment->queue_next = services->ready;
    services->ready = segment;
    metric_add(services->metrics, METRIC_STORE_SEGMENTS, 1);
}

/* The reclaimer destroys it: giving the memory back to EAL clears it first, and takes that long. */
void segments_dispose(struct index_services *services, struct segment *segment)
{
    memory_release_index(services->memory, segment_bytes(segment->order));
    metric_subtract(services->metrics, METRIC_STORE_SEGMENTS, 1);
    struct message message = {
        .type = MESSAGE_SEGMENT_WANTED, .from = services->number, .pointer = segment};
    if (segment->order <= INLINE_ORDER_MAX || services->to_reclaimer == NULL ||
        !channel_send(services->to_reclaimer, &message)) {
        segment_destroy(segment);
    }
}

void segments_trim(struct index_services *services)
{
    if (services->ready != NULL && services->hungry_count == 0 && services->outstanding == 0) {
        struct segment *segment = services->ready;
        services->ready = segment->queue_next;
        segments_dispose(services, segment);
    }
}

void segments_teardown(struct index_services *services)
{
    services->to_reclaimer = NULL;
    while (services->ready != NULL) {
        struct segment *segment = services->ready;
        services->ready = segment->queue_next;
        segments_dispose(services, segment);
    }
}

static uint32_t count_ready(const struct index_services *services, uint32_t order)
{
    uint32_t count = 0;
    for (const struct segment *s = services->ready; s != NULL; s = s->queue_next) {
        count += s->order == order;
    }
    return count;
}

static struct segment *take_ready(struct index_services *services, uint32_t order)
{
    struct segment **link = &services->ready;
    while (*link != NULL && (*link)->order != order) {
        link = &(*link)->queue_next;
    }
    struct segment *segment = *link;
    if (segment != NULL) {
        *link = segment->queue_next;
        segment->queue_next = NULL;
    }
    return segment;
}

/* Makes one on the spot and puts it with the ready ones. */
static bool make_ready(struct index_services *services, uint32_t order)
{
    if (services->now_us < services->retry_at_us ||
        !memory_reserve_index(services->memory, segment_bytes(order), MEMORY_LIMITED)) {
        return false;
    }
    services->outstanding++;
    struct segment *segment = segment_create(order);
    segments_take_ready(services, segment, order);
    if (segment == NULL) {
        services->retry_at_us = services->now_us + RETRY_US;
    }
    return segment != NULL;
}

static bool request(struct index_services *services, uint32_t order)
{
    if (!memory_reserve_index(services->memory, segment_bytes(order), MEMORY_LIMITED)) {
        return false;
    }
    struct message message = {
        .type = MESSAGE_SEGMENT_WANTED, .from = services->number, .words = {order}};
    if (!channel_send(services->to_reclaimer, &message)) {
        memory_release_index(services->memory, segment_bytes(order));
        return false;
    }
    services->outstanding++;
    return true;
}

/* ---- children ------------------------------------------------------------------------------- */

struct plan {
    uint32_t order, count;
};

static struct plan plan_children(const struct segment *segment)
{
    if (segment->order < 16) {
        return (struct plan){segment->order + 2U, 1};
    }
    if (segment->order < SEGMENT_ORDER_MAX) {
        return (struct plan){segment->order + 1U, 1};
    }
    return (struct plan){segment->order, segment->depth < DIRECTORY_DEPTH_MAX ? 2 : 0};
}

static void link_segment(struct index *index, struct segment *segment, uint64_t start,
                         uint32_t depth)
{
    CHECK(segment != NULL);
    segment->id = ++index->next_segment_id & 0x7FFFFFFF;
    segment->start = start;
    segment->depth = (uint8_t)depth;
    segment->previous = NULL;
    segment->next = index->segments;
    if (index->segments != NULL) {
        index->segments->previous = segment;
    }
    index->segments = segment;
}

static void drop_hungry(struct index *index, struct segment *segment)
{
    struct segment **link = &index->hungry;
    while (*link != segment) {
        link = &(*link)->queue_next;
    }
    *link = segment->queue_next;
    segment->queue_next = NULL;
    segment->hungry = false;
    segment->requested = 0;
    index->services->hungry_count--;
}

void index_unlink_segment(struct index *index, struct segment *segment)
{
    if (segment->hungry) {
        drop_hungry(index, segment);
    }
    if (segment->previous != NULL) {
        segment->previous->next = segment->next;
    } else {
        index->segments = segment->next;
    }
    if (segment->next != NULL) {
        segment->next->previous = segment->previous;
    }
}

static void begin_moving(struct index *index, struct segment *segment, const struct plan *plan)
{
    struct segment *children[2];
    uint32_t depth = segment->depth + plan->count - 1;
    for (uint32_t i = 0; i < plan->count; i++) {
        children[i] = take_ready(index->services, plan->order);
        uint64_t bit = i == 0 ? 0 : 1ULL << (63 - segment->depth);
        link_segment(index, children[i], segment->start | bit, depth);
    }
    if (segment->hungry) {
        drop_hungry(index, segment);
    }
    /* The second first: the first one is what says that there are children. */
    RCU_PUBLISH(&segment->children[1], children[plan->count - 1]);
    RCU_PUBLISH(&segment->children[0], children[0]);
    if (index->moving_last == NULL) {
        index->moving_first = segment;
    } else {
        index->moving_last->queue_next = segment;
    }
    index->moving_last = segment;
    metric_add(index->services->metrics, METRIC_STORE_SEGMENT_SPLITS, 1);
}

/* Gets the children made, or asked for. `must`: now. True when they are there. */
static bool provide_children(struct index *index, struct segment *segment, const struct plan *plan,
                             bool must)
{
    struct index_services *services = index->services;
    bool inline_made = services->to_reclaimer == NULL || plan->order <= INLINE_ORDER_MAX;
    while (count_ready(services, plan->order) < plan->count) {
        if (!inline_made && !must) {
            while (segment->requested < plan->count && request(services, plan->order)) {
                segment->requested++;
            }
            return false;
        }
        if (!make_ready(services, plan->order)) {
            return false;
        }
        if (!inline_made) {
            metric_add(services->metrics, METRIC_STORE_SEGMENT_EMERGENCIES, 1);
        }
    }
    return true;
}

/* True when the segment is moving out afterwards. */
static bool feed(struct index *index, struct segment *segment, bool must)
{
    struct plan plan = plan_children(segment);
    bool inline_made = index->services->to_reclaimer == NULL || plan.order <= INLINE_ORDER_MAX;
    if (inline_made && !must && !is_filled(segment, SPLIT_PERCENT)) {
        return false; /* made when it is time */
    }
    must = must || is_filled(segment, EMERGENCY_PERCENT);
    bool provided = plan.count > 0 && provide_children(index, segment, &plan, must);
    if (provided && (must || is_filled(segment, SPLIT_PERCENT))) {
        begin_moving(index, segment, &plan);
        return true;
    }
    if (!provided && is_filled(segment, EMERGENCY_PERCENT)) {
        index->services->starved = true;
    }
    return false;
}

void index_note_growth(struct index *index, struct segment *segment)
{
    if (!segment->hungry) {
        if (!is_filled(segment, HUNGRY_PERCENT)) {
            return;
        }
        segment->hungry = true;
        segment->queue_next = index->hungry;
        index->hungry = segment;
        index->services->hungry_count++;
        (void)feed(index, segment, false);
    } else if (is_filled(segment, SPLIT_PERCENT)) {
        (void)feed(index, segment, false);
    }
}

/* rte_hash found no room though the segment is not full: a larger one would not help. */
#define FORCE_PERCENT 50

bool index_force_growth(struct index *index, struct segment *segment)
{
    return is_filled(segment, FORCE_PERCENT) && feed(index, segment, true);
}

/* ---- entries -------------------------------------------------------------------------------- */

bool index_create_first_segment(struct index *index)
{
    struct index_services *services = index->services;
    if (count_ready(services, SEGMENT_ORDER_MIN) == 0 && !make_ready(services, SEGMENT_ORDER_MIN)) {
        services->starved = true;
        return false;
    }
    struct segment *segment = take_ready(services, SEGMENT_ORDER_MIN);
    link_segment(index, segment, 0, 0);
    RCU_PUBLISH(&index->directory->entries[0], segment);
    return true;
}

static struct segment *last_segment(const struct index *index, uint64_t hash)
{
    struct segment *segment = index_root(index, hash);
    for (struct segment *child = segment; child != NULL; child = segment_child(child, hash)) {
        segment = child;
    }
    return segment;
}

/* Bounded: each turn but the last made the walk longer by one. */
#define ADD_ATTEMPTS_MAX 3

bool index_add_to_segment(struct index *index, uint64_t hash, struct item *item)
{
    for (uint32_t attempt = 0; attempt < ADD_ATTEMPTS_MAX; attempt++) {
        struct segment *segment = last_segment(index, hash);
        if (segment == NULL) {
            if (!index_create_first_segment(index)) {
                return false;
            }
        } else if (segment_add(segment, hash, item) >= 0) {
            index_note_growth(index, segment);
            return true;
        } else if (!index_force_growth(index, segment)) {
            return false;
        }
    }
    return false;
}

/* ---- moving --------------------------------------------------------------------------------- */

static void double_directory(struct index *index)
{
    struct directory *old = index->directory;
    size_t count = (size_t)1 << old->depth;
    struct directory *new = malloc(directory_bytes(old->depth + 1));
    CHECK(new != NULL);
    (void)memory_reserve_index(index->services->memory, directory_bytes(old->depth + 1),
                               MEMORY_UNLIMITED);
    new->depth = old->depth + 1;
    for (size_t i = 0; i < count; i++) {
        new->entries[2 * i] = old->entries[i];
        new->entries[2 * i + 1] = old->entries[i];
    }
    RCU_PUBLISH(&index->directory, new);
    retire_add(index->services->retire, RETIRED_BLOCK, old, directory_bytes(old->depth));
}

/* The children take the place of the segment in the directory. Not at once, but a reader finds its
 * way from either. */
static void replace_in_directory(struct index *index, struct segment *segment)
{
    if (segment->children[0]->depth > index->directory->depth) {
        double_directory(index);
    }
    struct directory *directory = index->directory;
    uint32_t depth = directory->depth;
    uint64_t first = (segment->start >> 1) >> (63 - depth);
    uint64_t count = 1ULL << (depth - segment->depth);
    for (uint64_t i = 0; i < count; i++) {
        uint64_t hash = depth == 0 ? 0 : (first + i) << (64 - depth);
        RCU_PUBLISH(&directory->entries[first + i], segment_child(segment, hash));
    }
}

static void finish_moving(struct index *index, struct segment *segment)
{
    replace_in_directory(index, segment);
    index->moving_first = segment->queue_next;
    if (index->moving_first == NULL) {
        index->moving_last = NULL;
    }
    segment->queue_next = NULL;
    index_unlink_segment(index, segment);
    retire_add(index->services->retire, RETIRED_SEGMENT, segment, 0);
}

/* False: no room in the children now; it stays, and is tried again later. */
static bool move_entry(struct index *index, struct segment *segment, uint32_t position)
{
    struct item *item = segment->slots[position].item;
    if (item != NULL) {
        if (!index_add_to_segment(index, segment_hash_at(segment, position), item)) {
            return false;
        }
        /* Pairs with the acquire in segment_item: who sees NULL here sees the child's entry. */
        RCU_PUBLISH(&segment->slots[position].item, NULL);
        metric_add(index->services->metrics, METRIC_STORE_SEGMENT_MOVES, 1);
    }
    return true;
}

void index_move_entries(struct index *index, uint32_t count)
{
    struct segment *segment = index->moving_first;
    while (count-- > 0 && segment != NULL) {
        if (segment->move_position + 8 < segment->capacity) {
            __builtin_prefetch(&segment->slots[segment->move_position + 8]);
        }
        if (!move_entry(index, segment, segment->move_position)) {
            return;
        }
        if (++segment->move_position == segment->capacity) {
            finish_moving(index, segment);
            segment = index->moving_first;
        }
    }
}

/* ---- upkeep --------------------------------------------------------------------------------- */

static void feed_hungry(struct index *index)
{
    struct segment *segment = index->hungry;
    for (uint32_t i = 0; i < HUNGRY_PER_PASS && segment != NULL; i++) {
        struct segment *next = segment->queue_next;
        if (!is_filled(segment, HUNGRY_PERCENT - 10)) {
            drop_hungry(index, segment);
        } else {
            (void)feed(index, segment, false);
        }
        segment = next;
    }
}

bool index_maintain(struct index *index)
{
    if (index->segments == NULL) {
        (void)index_create_first_segment(index);
    }
    if (index->hungry != NULL) {
        feed_hungry(index);
    }
    if (index->moving_first != NULL) {
        index_move_entries(index, MOVES_PER_PASS);
    }
    return index->moving_first != NULL;
}
