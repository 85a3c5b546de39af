/* How entries move from a segment into its children.
 *
 * An entry is published in the child, then emptied here. Only the first segment of the queue moves
 * entries: its children may be moving already or fill up meanwhile, entries go to the end of the
 * walk in any case. So segments finish in the order in which they began.
 *
 * Who pays: a write that needs a new position, for several entries, so that a segment has moved out
 * before its child is full; and each pass for a few more. Entries are moved by the handful, with
 * their buckets prefetched: that makes one several times cheaper.
 */
#include <stdlib.h>

#include <rte_cycles.h>
#include <rte_prefetch.h>

#include "dataplane/base/check.h"
#include "dataplane/store/index_rte.h"

#define HANDFUL 32

/* What an insert pays for while there is anything to move; less when growth has taken its time in
 * this pass. A child has room for an eighth more than what moves in, and receives but its share of
 * the inserts, so that both are enough. */
#define MOVES_PER_INSERT      24
#define MOVES_PER_INSERT_LESS 6

static struct segment *last_segment(const struct rte_index *index, uint64_t hash)
{
    struct segment *segment = index_rte_root(index, hash);
    for (struct segment *child = segment; child != NULL; child = segment_child(child, hash)) {
        segment = child;
    }
    return segment;
}

/* Bounded: each turn but the last made the walk longer by one. */
#define ADD_ATTEMPTS_MAX 3

bool index_rte_add_to_segment(struct rte_index *index, uint64_t hash, struct item *item)
{
    for (uint32_t attempt = 0; attempt < ADD_ATTEMPTS_MAX; attempt++) {
        struct segment *segment = last_segment(index, hash);
        if (segment == NULL) {
            if (!index_rte_create_first_segment(index)) {
                return false;
            }
        } else if (segment_add(segment, hash, item) >= 0) {
            index_rte_note_growth(index, segment);
            return true;
        } else if (!index_rte_force_growth(index, segment)) {
            return false;
        }
    }
    return false;
}

void index_rte_queue_move(struct rte_index *index, struct segment *segment)
{
    segment->queue_next = NULL;
    if (index->moving_last == NULL) {
        index->moving_first = segment;
    } else {
        index->moving_last->queue_next = segment;
    }
    index->moving_last = segment;
}

/* ---- the end of a segment ---------------------------------------------------------------------
 */

static void double_directory(struct rte_index *index)
{
    struct directory *old = index->directory;
    size_t count = (size_t)1 << old->depth;
    struct directory *new = malloc(directory_bytes(old->depth + 1));
    CHECK(new != NULL);
    (void)memory_reserve_index(index->common.services->memory, directory_bytes(old->depth + 1),
                               MEMORY_UNLIMITED);
    new->depth = old->depth + 1;
    for (size_t i = 0; i < count; i++) {
        new->entries[2 * i] = old->entries[i];
        new->entries[2 * i + 1] = old->entries[i];
    }
    RCU_PUBLISH(&index->directory, new);
    retire_add(index->common.services->retire, RETIRED_BLOCK, old, directory_bytes(old->depth));
}

/* The children take the place of the segment in the directory. Not at once, but a reader finds its
 * way from either. */
static void replace_in_directory(struct rte_index *index, struct segment *segment)
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

static void append_ancestor(struct segment *child, const struct ancestor *ancestor)
{
    if (child->ancestor_count < ANCESTORS_MAX) {
        child->ancestors[child->ancestor_count] = *ancestor;
        RCU_PUBLISH(&child->ancestor_count, child->ancestor_count + 1);
    }
}

/* Where the positions of the segment, and of those before it, are in the child. */
static void leave_trail(const struct segment *segment, struct segment *child,
                        const struct trail *trail)
{
    bool leads_there = !segment->torn && child->children[0] == NULL &&
                       child->given_out < child->capacity; /* positions still ascend */
    if (!leads_there) {
        return;
    }
    struct ancestor own = {.id = segment->id, .capacity = segment->capacity, .trail = *trail};
    append_ancestor(child, &own);
    for (uint32_t i = 0; i < segment->ancestor_count; i++) {
        struct ancestor older = segment->ancestors[i];
        for (uint32_t part = 0; part <= TRAIL_PARTS; part++) {
            older.trail.bounds[part] =
                trail_follow(trail, segment->capacity, older.trail.bounds[part]);
        }
        append_ancestor(child, &older);
    }
}

static void retire_moved(struct rte_index *index, struct segment *segment)
{
    leave_trail(segment, segment->children[0], &segment->trails[0]);
    if (segment->children[1] != segment->children[0]) {
        leave_trail(segment, segment->children[1], &segment->trails[1]);
    }
    replace_in_directory(index, segment);
    index_rte_unlink_segment(index, segment);
    index_begin_epoch(&index->common);
    retire_add(index->common.services->retire, RETIRED_SEGMENT, segment, 0);
}

static void finish_moving(struct rte_index *index, struct segment *segment)
{
    index->moving_first = segment->queue_next;
    if (index->moving_first == NULL) {
        index->moving_last = NULL;
    }
    segment->queue_next = NULL;
    segment->emptied = true;
    segment->children[0]->sources--;
    segment->children[1]->sources -= segment->children[1] != segment->children[0];
    /* An upper neighbour stays until the lower one, which comes next, is done as well. */
    if (segment->children[0]->depth >= segment->depth) {
        retire_moved(index, segment);
    } else if (segment->walk_next != NULL) {
        retire_moved(index, segment->walk_next);
        retire_moved(index, segment);
    }
}

/* ---- moving -----------------------------------------------------------------------------------
 */

/* The next part of the segment begins: how far had the children come? */
static void note_trail(struct segment *segment)
{
    uint64_t part = (uint64_t)segment->move_position * TRAIL_PARTS / segment->capacity;
    for (uint32_t i = 0; i < 2; i++) {
        segment->trails[i].bounds[part] = segment_end(segment->children[i]);
    }
}

static bool begins_part(const struct segment *segment, uint32_t position)
{
    uint64_t parts = (uint64_t)position * TRAIL_PARTS;
    return parts % segment->capacity < TRAIL_PARTS;
}

/* False: no room in the children now; it stays, and is tried again later. */
static bool move_entry(struct rte_index *index, struct segment *segment, uint32_t position)
{
    struct item *item = segment->slots[position].item;
    if (!index_rte_add_to_segment(index, segment->slots[position].hash, item)) {
        return false;
    }
    /* Pairs with the acquire in segment_item: who sees NULL here sees the child's entry, and a walk
     * that it has been moved. */
    RCU_PUBLISH(&segment->move_position, position + 1);
    RCU_PUBLISH(&segment->slots[position].item, NULL);
    metric_add(index->common.services->metrics, METRIC_STORE_SEGMENT_MOVES, 1);
    return true;
}

static void prefetch_targets(const struct rte_index *index, const struct segment *segment,
                             uint32_t end)
{
    for (uint32_t position = segment->move_position; position < end; position++) {
        uint64_t hash = segment->slots[position].hash;
        const struct segment *target = last_segment(index, hash);
        if (segment->slots[position].item != NULL && target->buckets != NULL) {
            rte_prefetch0(segment_bucket(target, hash));
            rte_prefetch0(segment_other_bucket(target, hash));
        }
    }
}

/* Returns how many moved; `*stuck` when one found no room. */
static uint32_t move_handful(struct rte_index *index, struct segment *segment, bool *stuck)
{
    uint32_t left = segment->capacity - segment->move_position, moved = 0;
    uint32_t end = segment->move_position + (left < HANDFUL ? left : HANDFUL);
    prefetch_targets(index, segment, end);
    for (uint32_t position = segment->move_position; position < end; position++) {
        if (begins_part(segment, position)) {
            note_trail(segment);
        }
        if (segment->slots[position].item == NULL) {
            RCU_PUBLISH(&segment->move_position, position + 1);
        } else if (move_entry(index, segment, position)) {
            moved++;
        } else {
            *stuck = true;
            return moved;
        }
    }
    return moved;
}

/* Empty positions cost little, but not nothing. */
#define HANDFULS_PER_MOVED 16

void index_rte_move_entries(struct rte_index *index, uint32_t count)
{
    uint64_t start = rte_rdtsc();
    uint32_t handfuls = count / HANDFUL * HANDFULS_PER_MOVED + 1;
    bool stuck = false;
    while (count > 0 && handfuls > 0 && !stuck && index->moving_first != NULL) {
        struct segment *segment = index->moving_first;
        uint32_t moved = move_handful(index, segment, &stuck);
        count -= moved < count ? moved : count;
        handfuls--;
        if (segment->move_position == segment->capacity) {
            note_trail(segment);
            finish_moving(index, segment);
        }
    }
    index->common.services->growth_cycles += rte_rdtsc() - start;
}

void index_rte_pay_for_insert(struct rte_index *index)
{
    const struct index_services *services = index->common.services;
    index->moves_due += services->growth_cycles < services->growth_budget ? MOVES_PER_INSERT
                                                                          : MOVES_PER_INSERT_LESS;
    if (index->moves_due >= HANDFUL) {
        index->moves_due -= HANDFUL;
        index_rte_move_entries(index, HANDFUL);
    }
}
