/* Which spans should become empty, so that their pages go to whoever needs some.
 *
 *  1. Spans of any class that are less than three quarters full, the emptiest first, once the holes
 *     of all spans together are more than a share of them.
 *  2. Then chunks, where memory goes back to the machine or a large run found no room: those whose
 *     runs lie scattered. Every span of the chunk is evacuated, full or not.
 *
 * Emptying a span moves its blocks into free blocks of its class: it is worth it only when the
 * other spans have room for them. Thread, memory: memory.h. Time: bounded, a few list heads or
 * SCATTER_LOOKS chunks a call. */
#include <string.h>

#include "dataplane/base/check.h"
#include "dataplane/store/memory_internal.h"
#include "dataplane/store/memory_poison.h"

/* Holes are worth moving things from a tenth of the spans on; from a thirty-second when somebody
 * could not get a page. */
#define HOLES_SHARE_CALM  10U
#define HOLES_SHARE_SHORT 32U
#define SCATTER_LOOKS     32U
#define SCATTER_SLACK     (2 * REGION_CHUNK_UNITS) /* units */
#define MARKS_PER_CALL    128U

_Static_assert(MEMORY_SPAN_OFFSETS_MAX == SPAN_UNITS_MAX * REGION_UNIT_BYTES / BLOCK_STEP,
               "the largest");

static bool has_many_holes(const struct memory *memory)
{
    uint64_t holes = memory_hole_bytes(memory), spans = memory->span_bytes;
    uint64_t share = memory->short_of_pages ? HOLES_SHARE_SHORT : HOLES_SHARE_CALM;
    /* What is being evacuated will have filled as many holes as it has bytes. */
    holes = holes > memory->evacuating_bytes ? holes - memory->evacuating_bytes : 0;
    return holes > spans / share;
}

static void evacuate(struct memory *memory, uint32_t number)
{
    struct span *span = region_span(&memory->region, number);
    memory_unlink_span(memory, number);
    span->bin = BIN_EVACUATING;
    memory->classes[span->class].free_blocks -= (uint32_t)span->capacity - span->used;
    memory->evacuating_spans++;
    memory->evacuating_bytes += (uint64_t)span->units * REGION_UNIT_BYTES;
}

/* The next class from `from` on that has a span in a bin; MEMORY_CLASSES: none. */
static uint32_t next_class(const struct memory *memory, uint32_t bin, uint32_t from)
{
    while (from < MEMORY_CLASSES) {
        uint64_t word = memory->class_bits[bin][from / 64] >> from % 64;
        if (word != 0) {
            return from + (uint32_t)__builtin_ctzll(word);
        }
        from = (from / 64 + 1) * 64;
    }
    return MEMORY_CLASSES;
}

/* The other spans have room for all of its blocks. */
static bool is_worth_it(const struct memory *memory, uint32_t class, uint32_t bin)
{
    uint32_t number = memory->classes[class].first[bin];
    return memory->classes[class].free_blocks >= region_span(&memory->region, number)->capacity;
}

static uint32_t choose_in_bin(struct memory *memory, uint32_t bin)
{
    for (uint32_t turn = 0; turn < 2; turn++) {
        uint32_t class = next_class(memory, bin, turn == 0 ? memory->victim_class : 0);
        for (; class < MEMORY_CLASSES; class = next_class(memory, bin, class + 1)) {
            if (is_worth_it(memory, class, bin)) {
                memory->victim_class = class + 1;
                return memory->classes[class].first[bin];
            }
        }
    }
    return REGION_NONE;
}

static uint32_t choose_sparse_span(struct memory *memory)
{
    for (uint32_t bin = 0; bin + 1 < MEMORY_BINS; bin++) {
        uint32_t number = choose_in_bin(memory, bin);
        if (number != REGION_NONE) {
            return number;
        }
    }
    return REGION_NONE;
}

/* ---- scattered chunks -------------------------------------------------------------------------
 */

static bool is_scattered(const struct memory *memory)
{
    const struct region *region = &memory->region;
    if (__atomic_load_n(&memory->limit_bytes, __ATOMIC_RELAXED) != 0 &&
        region->wanted_chunks == 0 && !memory_is_oversized(memory)) {
        return false;
    }
    uint64_t units = (uint64_t)region_used_chunks(region) * REGION_CHUNK_UNITS;
    uint64_t evacuating = memory->evacuating_bytes / REGION_UNIT_BYTES;
    return units >
           region->used_units + evacuating + region->used_units / HOLES_SHARE_CALM + SCATTER_SLACK;
}

/* The first unit of the next run in a chunk; REGION_CHUNK_UNITS: none. */
static uint32_t next_run(const struct chunk *chunk, uint32_t from)
{
    for (; from < REGION_CHUNK_UNITS; from++) {
        if ((chunk->taken[from / 64] >> from % 64 & 1) != 0 && chunk->distance[from] == 0) {
            return from;
        }
    }
    return REGION_CHUNK_UNITS;
}

static struct span *span_at(struct chunk *chunk, uint32_t unit)
{
    return &chunk->spans[unit / REGION_RUN_UNITS_MIN];
}

/* Large blocks cannot be moved: who holds one holds its address. */
static bool has_large_block(struct chunk *chunk)
{
    for (uint32_t unit = next_run(chunk, 0); unit < REGION_CHUNK_UNITS;) {
        const struct span *span = span_at(chunk, unit);
        if (span->class == CLASS_RUN) {
            return true;
        }
        unit = next_run(chunk, unit + span->units);
    }
    return false;
}

static bool is_sparse(const struct memory *memory, uint32_t number)
{
    const struct region *region = &memory->region;
    struct chunk *chunk = &region->chunks[number];
    return region->states[number] == CHUNK_USED && !chunk->draining &&
           (uint64_t)chunk->used_units * region_used_chunks(region) <= region->used_units &&
           !has_large_block(chunk);
}

static bool begin_draining(struct memory *memory)
{
    struct region *region = &memory->region;
    for (uint32_t looks = 0; looks < SCATTER_LOOKS && looks < region->frontier; looks++) {
        uint32_t number = memory->scatter_chunk++ % region->frontier;
        if (is_sparse(memory, number)) {
            region_set_draining(region, number, true);
            memory->draining_chunk = number;
            memory->draining_unit = 0;
            return true;
        }
    }
    return false;
}

/* The next span of the chunk that is to become empty. */
static uint32_t choose_draining_span(struct memory *memory)
{
    uint32_t number = memory->draining_chunk;
    if (number == REGION_NONE) {
        return REGION_NONE;
    }
    struct chunk *chunk = &memory->region.chunks[number];
    bool draining = memory->region.states[number] == CHUNK_USED && chunk->draining;
    while (draining) {
        uint32_t unit = next_run(chunk, memory->draining_unit);
        if (unit == REGION_CHUNK_UNITS) {
            break;
        }
        const struct span *span = span_at(chunk, unit);
        memory->draining_unit = unit + span->units;
        if (span->bin != BIN_EVACUATING) {
            return region_span_number(number * REGION_CHUNK_UNITS + unit);
        }
    }
    memory->draining_chunk = REGION_NONE;
    return REGION_NONE;
}

/* ---- the face ---------------------------------------------------------------------------------
 */

/* A recycled block counts as one in use of its span, and must not be handed out again once that is
 * to become empty: all of them go home first, which may be the end of the span in question. */
static uint32_t choose_sparse(struct memory *memory)
{
    uint32_t number = choose_sparse_span(memory);
    if (number != REGION_NONE && memory->recent_blocks > 0) {
        (void)memory_drain(memory, MEMORY_RECENT_BLOCKS_MAX);
        number = choose_sparse_span(memory);
    }
    return number;
}

static uint32_t choose_draining(struct memory *memory)
{
    (void)memory_drain(memory, MEMORY_RECENT_BLOCKS_MAX);
    return choose_draining_span(memory);
}

uint32_t memory_choose_victim(struct memory *memory)
{
    uint32_t number = REGION_NONE;
    if (memory->draining_chunk != REGION_NONE) {
        number = choose_draining(memory);
    }
    if (number == REGION_NONE && has_many_holes(memory)) {
        number = choose_sparse(memory);
    }
    if (number == REGION_NONE && is_scattered(memory) && begin_draining(memory)) {
        number = choose_draining(memory);
    }
    if (number != REGION_NONE) {
        evacuate(memory, number);
    }
    memory->short_of_pages = false;
    return number;
}

/* Marks a free block; returns the next one. */
static uint16_t mark_free_block(uint8_t *address, uint16_t at, uint64_t *bits)
{
    CHECK(at != NO_BLOCK);
    uint8_t *block = address + (uint32_t)at * BLOCK_STEP;
    bits[at / 64] |= UINT64_C(1) << at % 64;
    memory_unpoison(block, BLOCK_STEP);
    memcpy(&at, block, sizeof(at));
    memory_poison(block, BLOCK_STEP);
    return at;
}

/* False: there are more. */
static bool mark_free_blocks(const struct span *span, uint8_t *address, struct span_visit *look)
{
    if (!look->has_begun) {
        look->has_begun = true;
        look->head = look->next = span->free_first;
    }
    for (uint16_t at = span->free_first; at != look->head;) {
        at = mark_free_block(address, at, look->free_bits);
    }
    look->head = span->free_first;
    for (uint32_t i = 0; i < MARKS_PER_CALL && look->next != NO_BLOCK; i++) {
        look->next = mark_free_block(address, look->next, look->free_bits);
    }
    look->has_marked = look->next == NO_BLOCK;
    return look->has_marked;
}

bool memory_visit_blocks(struct memory *memory, uint32_t number, struct span_visit *look,
                         bool (*visit)(void *argument, void *block), void *argument)
{
    const struct span *span = region_span(&memory->region, number);
    uint8_t *address = region_address(&memory->region, memory_span_unit(span, number));
    uint32_t bytes = memory->classes[span->class].block_bytes;
    if (!mark_free_blocks(span, address, look)) {
        return false;
    }
    for (; look->position < span->fresh; look->position++) {
        uint32_t at = look->position * bytes / BLOCK_STEP;
        bool is_free = (look->free_bits[at / 64] >> at % 64 & 1) != 0;
        if (!is_free && !visit(argument, address + (uint64_t)look->position * bytes)) {
            return false;
        }
    }
    return true;
}

bool memory_is_evacuating(const struct memory *memory, uint32_t number)
{
    const struct region *region = &memory->region;
    return region->states[number / REGION_SPANS] == CHUNK_USED &&
           region_span(region, number)->bin == BIN_EVACUATING;
}

void memory_give_up(struct memory *memory, uint32_t number)
{
    struct span *span = region_span(&memory->region, number);
    CHECK(span->bin == BIN_EVACUATING);
    memory->evacuating_spans--;
    memory->evacuating_bytes -= (uint64_t)span->units * REGION_UNIT_BYTES;
    memory->classes[span->class].free_blocks += (uint32_t)span->capacity - span->used;
    memory_link_span(memory, number);
    region_set_draining(&memory->region, number / REGION_SPANS, false);
}
