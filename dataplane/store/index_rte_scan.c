/* Walks over the index: SCAN's cursors, and random picks.
 *
 * A cursor is a place in the order of hashes and a place in a segment:
 *
 *    63  62        53  52                22  21            0
 *   | 0 | prefix (10) | segment's id (31)   | position (22) |
 *
 * An item keeps its position as long as it is in its segment. The walk goes through a segment from
 * the end down to position 0 (the cursor says: below this), then through the upper neighbour if
 * both are being joined, then through its children if it is moving out, then on to the segment that
 * begins where its range ends. So a key that is there from the first call to the last is seen:
 *   - it stays in its segment: when the walk passes its position;
 *   - it moves to a child before the walk has come to it: the walk, coming down, meets the place to
 *     which moving has come up, leaves the segment there, and goes through the child, all of it;
 *   - the segment is replaced while the walk is in it: what the walk had still to see is the
 *     beginning of the child, because entries move in the order of their positions and positions
 *     are given out in that order. How far it goes is in the child's list of ancestors; a cursor
 *     whose segment is not in it begins with what now covers its prefix, from the end.
 * The overflow list is visited in the last call, as a whole; items never move out of it.
 *
 * A walk ends, also when more is inserted than it visits: new entries come in behind it, and of a
 * segment's child it visits what was still to be seen. Segments to come fill meanwhile: with r
 * inserts for each visit it ends at e^r times as many keys as it began with.
 *
 * Thread: index_scan for any registered RCU reader; it may see the owner at work between any two of
 * its steps. Of a segment it reads what never changes once it is published, the words of items, the
 * children, the neighbour and the ancestors; a segment that is replaced under a walk keeps its
 * children, which outlive it by one grace period at least, because segments finish moving in the
 * order in which they began. index_random is the owner's.
 */
#include "dataplane/base/check.h"
#include "dataplane/base/hash.h"
#include "dataplane/store/index_rte.h"

#define CURSOR_POSITION_BITS 22
#define CURSOR_ID_BITS       24
#define CURSOR_PREFIX_SHIFT  (CURSOR_POSITION_BITS + CURSOR_ID_BITS)

_Static_assert(SEGMENT_ENTRIES_MAX < 1U << CURSOR_POSITION_BITS, "a position fits");
_Static_assert(DIRECTORY_DEPTH_MAX + CURSOR_PREFIX_SHIFT <= 56, "SCAN puts the shard above it");

static uint64_t compose_cursor(const struct segment *segment, uint32_t position)
{
    return (segment->start >> (64 - DIRECTORY_DEPTH_MAX)) << CURSOR_PREFIX_SHIFT |
           (uint64_t)segment->id << CURSOR_POSITION_BITS | position;
}

/* The segment whose range begins at `hash`; if none does, the last one that covers it. */
static struct segment *segment_that_starts(const struct rte_index *index, uint64_t hash)
{
    struct segment *segment = index_rte_root(index, hash);
    while (segment != NULL && segment->start != hash) {
        struct segment *child = segment_child(segment, hash);
        if (child == NULL) {
            break;
        }
        segment = child;
    }
    return segment;
}

static struct segment *next_segment(const struct rte_index *index, const struct segment *segment)
{
    /* The children first: whoever sees them sees the neighbour. */
    struct segment *child = RCU_READ(&segment->children[0]);
    struct segment *neighbour = RCU_READ(&segment->walk_next);
    if (child != NULL) {
        return neighbour != NULL ? neighbour : child;
    }
    uint64_t size = segment->depth == 0 ? 0 : 1ULL << (64 - segment->depth);
    uint64_t end = segment->start + size;
    return end == 0 ? NULL : segment_that_starts(index, end);
}

static const struct ancestor *find_ancestor(const struct segment *segment, uint32_t id)
{
    uint32_t count = RCU_READ(&segment->ancestor_count);
    for (uint32_t i = 0; i < count; i++) {
        if (segment->ancestors[i].id == id) {
            return &segment->ancestors[i];
        }
    }
    return NULL;
}

/* Where to go on, and below which position; a cursor may be anything, clients send what they like.
 */
static struct segment *resume(const struct rte_index *index, uint64_t cursor, uint32_t *position)
{
    uint64_t prefix = (cursor >> CURSOR_PREFIX_SHIFT) & ((1U << DIRECTORY_DEPTH_MAX) - 1);
    uint64_t hash = prefix << (64 - DIRECTORY_DEPTH_MAX);
    uint32_t id = (cursor >> CURSOR_POSITION_BITS) & ((1U << CURSOR_ID_BITS) - 1);
    uint32_t below = (uint32_t)(cursor & ((1U << CURSOR_POSITION_BITS) - 1));
    for (struct segment *segment = index_rte_root(index, hash); segment != NULL;
         segment = segment_child(segment, hash)) {
        if (segment->id == id) {
            *position = below < segment->capacity ? below : segment->capacity;
            return segment;
        }
        const struct ancestor *ancestor = find_ancestor(segment, id);
        if (ancestor != NULL) {
            *position = trail_follow(&ancestor->trail, ancestor->capacity, below);
            return segment;
        }
    }
    struct segment *segment = segment_that_starts(index, hash);
    *position = segment != NULL ? segment_end(segment) : 0;
    return segment;
}

struct walk {
    uint32_t items_left, positions_left;
    index_visitor *visit;
    void *argument;
};

#define PREFETCH_DISTANCE 16

/* What was at an empty position, and all below it, is in the children now. */
static bool has_moved_on(const struct segment *segment, uint32_t position)
{
    return position < RCU_READ(&segment->move_position);
}

/* Visits what is below a position, from there down; returns where it stopped, 0 when the segment
 * has no more. */
static uint32_t walk_segment(struct walk *walk, const struct segment *segment, uint32_t position)
{
    while (position > 0 && walk->items_left > 0 && walk->positions_left > 0) {
        position--;
        if (position >= PREFETCH_DISTANCE) {
            __builtin_prefetch(segment_item(segment, position - PREFETCH_DISTANCE));
        }
        struct item *item = segment_item(segment, position);
        if (item != NULL) {
            walk->visit(walk->argument, item, segment_hash_at(segment, position));
            walk->items_left--;
        } else if (has_moved_on(segment, position)) {
            return 0;
        }
        walk->positions_left--;
    }
    return position;
}

/* A call looks at so many positions for each item asked for, however empty the segments are. */
#define POSITIONS_PER_ITEM 16

uint64_t index_rte_scan(const struct index *common, uint64_t cursor, uint32_t count,
                        index_visitor *visit, void *argument)
{
    const struct rte_index *index = rte_index_of_const(common);
    uint32_t positions;
    if (__builtin_mul_overflow(count, POSITIONS_PER_ITEM, &positions)) {
        positions = UINT32_MAX;
    }
    struct walk walk = {count, positions, visit, argument};
    uint32_t position = 0;
    const struct segment *segment = resume(index, cursor, &position);
    while (segment != NULL) {
        position = walk_segment(&walk, segment, position);
        if (position > 0) {
            return compose_cursor(segment, position);
        }
        segment = next_segment(index, segment);
        position = segment != NULL ? segment_end(segment) : 0;
    }
    overflow_visit(common, visit, argument);
    return 0;
}

/* ---- random --------------------------------------------------------------------------------- */

static uint64_t count_positions(const struct rte_index *index)
{
    uint64_t count = 0;
    for (const struct segment *s = index->segments; s != NULL; s = s->next) {
        count += s->capacity;
    }
    return count;
}

static struct item *item_at(const struct rte_index *index, uint64_t place)
{
    const struct segment *segment = index->segments;
    while (place >= segment->capacity) {
        place -= segment->capacity;
        segment = segment->next;
    }
    return segment_item(segment, (uint32_t)place);
}

struct item *index_rte_random(const struct index *common, uint64_t *random_state,
                              bool (*accept)(void *argument, const struct item *item),
                              void *argument)
{
    const struct rte_index *index = rte_index_of_const(common);
    uint64_t count = count_positions(index);
    for (uint32_t attempt = 0; count > 0 && attempt < 100; attempt++) {
        struct item *item = item_at(index, random_next(random_state) % count);
        if (item != NULL && accept(argument, item)) {
            return item;
        }
    }
    /* Nearly empty: take the next one from some place on. */
    uint64_t start = count > 0 ? random_next(random_state) % count : 0;
    for (uint64_t i = 0; i < count; i++) {
        struct item *item = item_at(index, (start + i) % count);
        if (item != NULL && accept(argument, item)) {
            return item;
        }
    }
    return overflow_random(common, accept, argument);
}
