/* How the index grows and shrinks: from one small segment on and back, without a pause and without
 * a key count.
 *
 *            97 % full, or         child there,
 *   NORMAL ------------> HUNGRY ---------------> MOVING ---> (neighbour done too) ---> retired
 *     ^    below 55 %      |    plan still good    |
 *     |                    |                       +-- index_rte_move.c
 *     +-- fell below, or filled up meanwhile
 *
 * Sizes. A segment of n entries costs 16 n + 12 (next power of two) bytes, so sizes go from 0.51 to
 * 0.9 of a power of two (0.9: beyond, rte_hash finds no place in its buckets), in three steps for
 * each doubling. All segments fill at the same pace, because hashes are even; so that they do not
 * all grow at the same moment, each has its own ladder of sizes, shifted by a fraction of a step:
 * `phase`, from the low bits of its range. Only one in many exists twice at any moment.
 *
 * Up to 2^SPREAD_DEPTH segments the index divides early, so that there are several to be out of
 * step; then segments grow to the size that suits their number, and divide beyond (depth_limit).
 * Two neighbours that have become small share a child again.
 *
 * The reclaimer makes the larger ones: index_rte_supply.c. Failure: without memory for a child a
 * segment goes on to the last position; in the last hundredth `starved` makes the shard refuse
 * drafts. What comes in nevertheless finds its place in the overflow list.
 */
#include "dataplane/base/check.h"
#include "dataplane/store/index_rte.h"

#define SHRINK_PERCENT  55
#define FILLED_PERCENT  88 /* of a child, by what moves in */
#define FORCE_PERCENT   50
#define HUNGRY_PER_PASS 4

/* ---- sizes ----------------------------------------------------------------------------------- */

#define SPREAD_DEPTH 3
#define PHASES       8
#define STEPS        3 /* of the ladder, per doubling */

/* Of a power of two, in 65536ths: from 0.51 to 0.9, every one the same factor larger. Sizes above
 * 0.9 are left out: rte_hash finds no place in buckets that are so full. */
static const uint32_t fractions[PHASES * STEPS] = {
    33423, 34259, 35115, 35993, 36893, 37815, 38761, 39730, 40723, 41742, 42785, 43855,
    44951, 46075, 47227, 48408, 49619, 50859, 52131, 53434, 54770, 56140, 57543, 58982,
};

/* The smallest size on the ladder that has room for so many. */
static uint32_t ladder_entries(uint32_t phase, uint64_t wanted)
{
    uint64_t entries = 0;
    for (uint32_t rung = phase; entries < wanted || entries < SEGMENT_ENTRIES_MIN; rung += PHASES) {
        uint64_t fraction = fractions[rung % (PHASES * STEPS)];
        entries = (fraction << (rung / (PHASES * STEPS))) >> 16;
    }
    return (uint32_t)entries;
}

static uint32_t phase_of(uint64_t start, uint32_t depth)
{
    return depth == 0 ? 0 : (uint32_t)(start >> (64 - depth)) % PHASES;
}

/* The largest segment at a depth; one that outgrows it divides. */
static uint32_t depth_limit(uint32_t depth)
{
    uint32_t order = depth < SPREAD_DEPTH ? 11 : 13 + depth;
    uint32_t power = order < 20 ? 1U << order : SEGMENT_ENTRIES_MAX;
    return power / 10 * 9;
}

static uint64_t with_room(uint64_t used)
{
    return used * 100 / FILLED_PERCENT;
}

/* Just before the end where the child is made on the spot, earlier where it takes its time. */
static uint32_t growth_threshold(const struct index_services *services, uint32_t entries)
{
    return entries - entries / (segments_are_made_inline(services, entries) ? 128 : 32);
}

static bool is_nearly_full(const struct segment *segment)
{
    return segment->capacity - segment->used <= segment->capacity / 128;
}

/* ---- plans ----------------------------------------------------------------------------------- */

static uint64_t start_of_upper_half(const struct segment *segment)
{
    return segment->start | 1ULL << (63 - segment->depth);
}

/* Count 0: it cannot grow any more. */
static struct succession plan_growth(const struct segment *segment)
{
    uint64_t wanted = segment->capacity + segment->capacity / 8;
    uint32_t larger = ladder_entries(phase_of(segment->start, segment->depth), wanted);
    if (larger <= depth_limit(segment->depth)) {
        return (struct succession){.capacities = {larger, larger}, .count = 1};
    }
    if (segment->depth == DIRECTORY_DEPTH_MAX) {
        return (struct succession){.count = 0};
    }
    uint32_t depth = segment->depth + 1U;
    uint64_t half = with_room(segment->used / 2);
    struct succession plan = {.count = 2};
    plan.capacities[0] = ladder_entries(phase_of(segment->start, depth), half);
    plan.capacities[1] = ladder_entries(phase_of(start_of_upper_half(segment), depth), half);
    return plan;
}

static bool is_at_rest(const struct segment *segment)
{
    return segment->children[0] == NULL && !segment->hungry && segment->sources == 0;
}

/* The neighbour with which the lower half of a range can become one; NULL when there is none. */
static struct segment *upper_neighbour(const struct rte_index *index, const struct segment *segment)
{
    if (segment->depth == 0) {
        return NULL;
    }
    uint64_t start = segment->start | 1ULL << (64 - segment->depth);
    struct segment *upper = index_rte_root(index, start);
    bool found = start != segment->start && upper->start == start && upper->depth == segment->depth;
    return found ? upper : NULL;
}

static struct succession plan_merger(const struct rte_index *index, const struct segment *segment)
{
    struct segment *upper = upper_neighbour(index, segment);
    if (upper == NULL || !is_at_rest(upper)) {
        return (struct succession){.count = 0};
    }
    uint32_t depth = segment->depth - 1U;
    uint64_t wanted = with_room((uint64_t)segment->used + upper->used);
    if (wanted > depth_limit(depth) * 6ULL / 10) {
        return (struct succession){.count = 0};
    }
    uint32_t entries = ladder_entries(phase_of(segment->start, depth), wanted);
    return (struct succession){.capacities = {entries, entries}, .count = 1, .partner = upper};
}

static struct succession plan_shrinking(const struct segment *segment)
{
    if ((uint64_t)segment->used * 100 >= (uint64_t)segment->capacity * SHRINK_PERCENT) {
        return (struct succession){.count = 0};
    }
    uint32_t entries =
        ladder_entries(phase_of(segment->start, segment->depth), with_room(segment->used));
    bool pays = entries <= segment->capacity - segment->capacity / 8;
    return (struct succession){.capacities = {entries, entries}, .count = pays ? 1 : 0};
}

static bool plans_to_shrink(const struct segment *segment)
{
    const struct succession *plan = &segment->plan;
    return plan->partner != NULL || (plan->count == 1 && plan->capacities[0] < segment->capacity);
}

/* What came and went meanwhile may have made it pointless. */
static bool is_plan_good(const struct segment *segment)
{
    const struct succession *plan = &segment->plan;
    if (!plans_to_shrink(segment)) {
        return segment->used * 10ULL > segment->capacity * 9ULL;
    }
    uint64_t used = segment->used;
    if (plan->partner != NULL) {
        if (!is_at_rest(plan->partner)) {
            return false;
        }
        used += plan->partner->used;
    }
    return used * 10 < plan->capacities[0] * 9ULL;
}

/* ---- the list of those that want children ---------------------------------------------------- */

static void make_hungry(struct rte_index *index, struct segment *segment,
                        const struct succession *plan)
{
    segment->plan = *plan;
    segment->hungry = true;
    segment->requested = 0;
    segment->queue_next = index->hungry;
    index->hungry = segment;
    index->common.services->hungry_count++;
}

static void drop_hungry(struct rte_index *index, struct segment *segment)
{
    struct segment **link = &index->hungry;
    while (*link != segment) {
        link = &(*link)->queue_next;
    }
    *link = segment->queue_next;
    segment->queue_next = NULL;
    segment->hungry = false;
    index->common.services->hungry_count--;
}

static void link_segment(struct rte_index *index, struct segment *segment, uint64_t start,
                         uint32_t depth)
{
    segment->id = ++index->next_segment_id & 0xFFFFFF;
    segment->start = start;
    segment->depth = (uint8_t)depth;
    segment->grow_at = growth_threshold(index->common.services, segment->capacity);
    segment->previous = NULL;
    segment->next = index->segments;
    if (index->segments != NULL) {
        index->segments->previous = segment;
    }
    index->segments = segment;
}

void index_rte_unlink_segment(struct rte_index *index, struct segment *segment)
{
    if (segment->hungry) {
        drop_hungry(index, segment);
    }
    if (index->inspected == segment) {
        index->inspected = segment->next;
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

/* ---- children -------------------------------------------------------------------------------- */

static void publish_children(struct segment *segment, struct segment *lower, struct segment *upper)
{
    segment->torn = segment->sources > 0;
    lower->sources++;
    upper->sources += upper != lower;
    /* The second first: the first one is what says that there are children. */
    RCU_PUBLISH(&segment->children[1], upper);
    RCU_PUBLISH(&segment->children[0], lower);
}

static void begin_moving(struct rte_index *index, struct segment *segment)
{
    struct succession plan = segment->plan;
    struct segment *children[2];
    uint32_t depth = segment->depth + plan.count - 1 - (plan.partner != NULL);
    for (uint32_t i = 0; i < plan.count; i++) {
        children[i] = segments_take(index->common.services, plan.capacities[i]);
        link_segment(index, children[i], i == 0 ? segment->start : start_of_upper_half(segment),
                     depth);
    }
    drop_hungry(index, segment);
    if (plan.partner != NULL) {
        /* A walk goes lower, upper, child; entries of the upper one move first, so that what such a
         * walk has still to see is always the beginning of the child. */
        RCU_PUBLISH(&segment->walk_next, plan.partner);
        publish_children(plan.partner, children[0], children[0]);
        index_rte_queue_move(index, plan.partner);
    }
    publish_children(segment, children[0], children[plan.count - 1]);
    index_rte_queue_move(index, segment);
    metric_add(index->common.services->metrics, METRIC_STORE_SEGMENT_SPLITS, 1);
}

static bool has_children_ready(const struct index_services *services, const struct succession *plan)
{
    bool same = plan->count == 2 && plan->capacities[0] == plan->capacities[1];
    for (uint32_t i = 0; i < plan->count; i++) {
        if (segments_count_ready(services, plan->capacities[i]) < (same ? 2U : 1U)) {
            return false;
        }
    }
    return true;
}

/* Asks the reclaimer; again, when it could not make one. */
static void request_children(struct index_services *services, struct segment *segment)
{
    if (segment->requested == segment->plan.count && services->outstanding == 0) {
        segment->requested = 0;
    }
    while (segment->requested < segment->plan.count &&
           segments_request(services, segment->plan.capacities[segment->requested])) {
        segment->requested++;
    }
}

static void make_children(struct index_services *services, const struct segment *segment)
{
    while (!has_children_ready(services, &segment->plan)) {
        uint32_t i = 0;
        if (segment->plan.count == 2 &&
            segments_count_ready(services, segment->plan.capacities[0]) > 0) {
            i = 1;
        }
        if (!segments_make(services, segment->plan.capacities[i])) {
            return;
        }
        if (!segments_are_made_inline(services, segment->plan.capacities[i])) {
            metric_add(services->metrics, METRIC_STORE_SEGMENT_EMERGENCIES, 1);
        }
    }
}

/* `must`: the segment is full. True when it is moving out afterwards. */
static bool feed(struct rte_index *index, struct segment *segment, bool must)
{
    struct index_services *services = index->common.services;
    const struct succession *plan = &segment->plan;
    services->refused = plan->count == 0;
    if (plan->count > 0 && !has_children_ready(services, plan)) {
        if (must || (segments_are_made_inline(services, plan->capacities[0]) &&
                     segments_are_made_inline(services, plan->capacities[1]))) {
            make_children(services, segment);
        } else {
            request_children(services, segment);
        }
    }
    if (plan->count > 0 && has_children_ready(services, plan)) {
        begin_moving(index, segment);
        return true;
    }
    services->starved |= services->refused && is_nearly_full(segment);
    return false;
}

static void begin_growth(struct rte_index *index, struct segment *segment)
{
    /* One that was about to shrink grows instead. */
    if (segment->hungry && plans_to_shrink(segment)) {
        drop_hungry(index, segment);
    }
    if (!segment->hungry) {
        struct succession plan = plan_growth(segment);
        make_hungry(index, segment, &plan);
    }
}

void index_rte_note_growth(struct rte_index *index, struct segment *segment)
{
    if (UNLIKELY(segment->used >= segment->grow_at)) {
        begin_growth(index, segment);
        (void)feed(index, segment, false);
    }
}

/* rte_hash found no room. If the segment is not full either, a larger one would not help. */
bool index_rte_force_growth(struct rte_index *index, struct segment *segment)
{
    if ((uint64_t)segment->used * 100 < (uint64_t)segment->capacity * FORCE_PERCENT) {
        return false;
    }
    begin_growth(index, segment);
    return feed(index, segment, true);
}

bool index_rte_create_first_segment(struct rte_index *index)
{
    uint32_t entries = ladder_entries(0, SEGMENT_ENTRIES_MIN);
    struct index_services *services = index->common.services;
    if (segments_count_ready(services, entries) == 0 && !segments_make(services, entries)) {
        services->starved = true;
        return false;
    }
    struct segment *segment = segments_take(services, entries);
    link_segment(index, segment, 0, 0);
    RCU_PUBLISH(&index->directory->entries[0], segment);
    return true;
}

/* ---- upkeep ---------------------------------------------------------------------------------- */

static void feed_hungry(struct rte_index *index)
{
    struct segment *segment = index->hungry;
    for (uint32_t i = 0; i < HUNGRY_PER_PASS && segment != NULL; i++) {
        struct segment *next = segment->queue_next;
        if (!is_plan_good(segment)) {
            drop_hungry(index, segment);
        } else {
            (void)feed(index, segment, false);
        }
        segment = next;
    }
}

/* One segment with each pass: is it too large by now, or too small to be alone? */
static void inspect_next(struct rte_index *index)
{
    struct segment *segment = index->inspected != NULL ? index->inspected : index->segments;
    index->inspected = segment->next;
    if (!is_at_rest(segment)) {
        return;
    }
    struct succession plan = plan_merger(index, segment);
    if (plan.count == 0) {
        plan = plan_shrinking(segment);
    }
    if (plan.count > 0) {
        make_hungry(index, segment, &plan);
    }
}

#define MOVES_PER_PASS 64

bool index_rte_maintain(struct index *common)
{
    struct rte_index *index = rte_index_of(common);
    if (index->segments == NULL && !index_rte_create_first_segment(index)) {
        return false;
    }
    if (index->hungry != NULL) {
        feed_hungry(index);
    } else if (index->moving_first == NULL) {
        inspect_next(index);
    }
    /* Writes that have used the pass's time up have moved enough. */
    const struct index_services *services = common->services;
    if (index->moving_first != NULL && services->growth_cycles < services->growth_budget) {
        index_rte_move_entries(index, MOVES_PER_PASS);
    }
    return index->moving_first != NULL;
}
