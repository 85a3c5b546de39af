#include "dataplane/store/memory.h"

#include <string.h>
#include <unistd.h>

#include "dataplane/base/check.h"
#include "dataplane/store/memory_internal.h"
#include "dataplane/store/memory_poison.h"

#define SMALL_STEPS       62U /* classes of 16, 24, ... 504 */
#define STEPS_PER_DOUBLE  16U
#define SPAN_UNITS_MIN    8U
#define SPAN_BLOCKS_MIN   4U
#define TASKS_PENDING_MAX 8U
#define AHEAD_CHUNKS_MAX  16U
#define SPARE_CHUNKS      3U
#define HOLES_SHARE       16U
#define BIN_SLACK         16U
#define PATIENCE          10000U

static void store_relaxed(uint64_t *counter, uint64_t value)
{
    __atomic_store_n(counter, value, __ATOMIC_RELAXED);
}

/* ---- classes ----------------------------------------------------------------------------------
 */

/* 512 bytes are the last of the linear classes and the first of the others. */
static uint32_t class_bytes(uint32_t class)
{
    if (class >= MEMORY_ITEM_CLASSES) {
        return (class - MEMORY_ITEM_CLASSES + 1) * MEMORY_INDEX_STEP;
    }
    if (class <= SMALL_STEPS) {
        return 16 + class * 8;
    }
    uint32_t step = class - SMALL_STEPS;
    uint32_t doubling = step / STEPS_PER_DOUBLE, part = step % STEPS_PER_DOUBLE;
    return (MEMORY_LINEAR_BYTES_MAX + MEMORY_LINEAR_BYTES_MAX / STEPS_PER_DOUBLE * part)
           << doubling;
}

static uint32_t class_of(size_t bytes)
{
    if (bytes <= MEMORY_LINEAR_BYTES_MAX) {
        return bytes <= 16 ? 0 : (uint32_t)(bytes - 9) / 8;
    }
    uint32_t last = (uint32_t)bytes - 1;
    uint32_t doubling = 31 - (uint32_t)__builtin_clz(last) - 9;
    return SMALL_STEPS + doubling * STEPS_PER_DOUBLE + (last >> (doubling + 5)) - STEPS_PER_DOUBLE +
           1;
}

/* The shortest span that loses little at its end. */
static uint32_t choose_span_units(uint32_t block_bytes)
{
    uint32_t best = SPAN_UNITS_MAX, best_lost = UINT32_MAX;
    for (uint32_t units = SPAN_UNITS_MIN; units <= SPAN_UNITS_MAX; units++) {
        uint32_t bytes = units * REGION_UNIT_BYTES;
        uint32_t lost = bytes % block_bytes * 1024 / units;
        if (bytes / block_bytes >= SPAN_BLOCKS_MIN && lost < best_lost) {
            best = units;
            best_lost = lost;
            if (lost <= REGION_UNIT_BYTES * 1024 / 64) {
                break;
            }
        }
    }
    return best;
}

/* Bin b is entered with b quarters of the blocks in use, and left somewhat below: one block that
 * comes and goes at the border must not move the span each time. */
static void init_bins(struct size_class *class)
{
    uint32_t slack = class->capacity / BIN_SLACK;
    for (uint32_t bin = 0; bin <= MEMORY_BINS; bin++) {
        uint32_t enter = (class->capacity * bin + MEMORY_BINS - 1) / MEMORY_BINS;
        class->enter[bin] = (uint16_t)enter;
        class->leave[bin] = (uint16_t)(bin == MEMORY_BINS || enter < slack ? enter : enter - slack);
    }
    class->enter[MEMORY_BINS + 1] = UINT16_MAX;
}

static void init_classes(struct memory *memory)
{
    for (uint32_t i = 0; i < MEMORY_CLASSES; i++) {
        struct size_class *class = &memory->classes[i];
        class->block_bytes = class_bytes(i);
        class->span_units = (uint16_t)choose_span_units(class->block_bytes);
        class->capacity = (uint16_t)(class->span_units * REGION_UNIT_BYTES / class->block_bytes);
        for (uint32_t bin = 0; bin < MEMORY_BINS; bin++) {
            class->first[bin] = REGION_NONE;
        }
        init_bins(class);
    }
    CHECK(memory->classes[MEMORY_ITEM_CLASSES - 1].block_bytes == MEMORY_SMALL_BYTES_MAX);
}

/* ---- spans ------------------------------------------------------------------------------------
 */

static void mark_class(struct memory *memory, uint32_t bin, uint32_t class, bool present)
{
    uint64_t bit = UINT64_C(1) << class % 64;
    uint64_t *word = &memory->class_bits[bin][class / 64];
    *word = present ? *word | bit : *word & ~bit;
}

void memory_unlink_span(struct memory *memory, uint32_t number)
{
    struct span *span = region_span(&memory->region, number);
    if (span->bin >= MEMORY_BINS) {
        return;
    }
    uint32_t *first = &memory->classes[span->class].first[span->bin];
    if (span->previous != REGION_NONE) {
        region_span(&memory->region, span->previous)->next = span->next;
    } else {
        *first = span->next;
        if (*first == REGION_NONE) {
            mark_class(memory, span->bin, span->class, false);
        }
    }
    if (span->next != REGION_NONE) {
        region_span(&memory->region, span->next)->previous = span->previous;
    }
}

static void insert_span(struct memory *memory, uint32_t number, uint32_t bin)
{
    struct span *span = region_span(&memory->region, number);
    struct size_class *class = &memory->classes[span->class];
    span->bin = (uint8_t)bin;
    span->bin_floor = class->leave[bin];
    span->bin_ceiling = class->enter[bin + 1];
    if (bin == BIN_FULL) {
        return;
    }
    span->previous = REGION_NONE;
    span->next = class->first[bin];
    if (span->next != REGION_NONE) {
        region_span(&memory->region, span->next)->previous = number;
    } else {
        mark_class(memory, bin, span->class, true);
    }
    class->first[bin] = number;
}

void memory_link_span(struct memory *memory, uint32_t number)
{
    const struct span *span = region_span(&memory->region, number);
    const struct size_class *class = &memory->classes[span->class];
    uint32_t bin = 0;
    while (span->used >= class->enter[bin + 1]) {
        bin++;
    }
    insert_span(memory, number, bin);
}

static void change_bin(struct memory *memory, uint32_t number)
{
    const struct span *span = region_span(&memory->region, number);
    if (span->bin == BIN_FULL) {
        insert_span(memory, number, BIN_FULL - 1); /* where things are packed, every other time */
    } else {
        memory_unlink_span(memory, number);
        memory_link_span(memory, number);
    }
}

/* ---- limits -----------------------------------------------------------------------------------
 */

static uint64_t limit_of(const struct memory *memory)
{
    return __atomic_load_n(&memory->limit_bytes, __ATOMIC_RELAXED);
}

/* Written so that no sum can overflow. */
static bool fits(const struct memory *memory, uint64_t bytes)
{
    uint64_t used = memory_used_bytes(memory), limit = limit_of(memory);
    return limit == 0 || (used <= limit && bytes <= limit - used);
}

/* What the limit leaves for pages and their books. */
static uint64_t pages_bytes_max(const struct memory *memory)
{
    uint64_t limit = limit_of(memory), other = memory->index_bytes - memory->index_block_bytes;
    return limit > other ? limit - other : 0;
}

static uint64_t at_least(uint64_t value, uint64_t least)
{
    return value > least ? value : least;
}

/* How many units may be in use. */
static uint64_t units_max(const struct memory *memory)
{
    uint64_t most = (uint64_t)memory->region.chunk_count * REGION_CHUNK_UNITS;
    if (limit_of(memory) == 0) {
        return most;
    }
    uint64_t bytes = pages_bytes_max(memory);
    uint64_t books = memory->region.backed_chunks * REGION_CHUNK_OVERHEAD;
    uint64_t units = (bytes > books ? bytes - books : 0) / REGION_UNIT_BYTES;
    units = at_least(units, MEMORY_UNITS_MIN);
    return units < most ? units : most;
}

/* How many chunks may have memory behind them: all of the units in use may lie in them, the last
 * one in part. It does not depend on how many have: who takes one more never finds himself above
 * it. */
static uint32_t chunks_max(const struct memory *memory)
{
    const uint64_t least = (MEMORY_UNITS_MIN + REGION_CHUNK_UNITS - 1) / REGION_CHUNK_UNITS;
    if (limit_of(memory) == 0) {
        return memory->region.chunk_count;
    }
    uint64_t chunks = (pages_bytes_max(memory) + REGION_CHUNK_BYTES - REGION_UNIT_BYTES) /
                      (REGION_CHUNK_BYTES + REGION_CHUNK_OVERHEAD);
    chunks = at_least(chunks, least);
    return chunks < memory->region.chunk_count ? (uint32_t)chunks : memory->region.chunk_count;
}

bool memory_is_oversized(const struct memory *memory)
{
    return memory->region.backed_chunks > chunks_max(memory);
}

static uint32_t try_units(struct memory *memory, uint32_t units, enum memory_limit limit)
{
    uint32_t backed_max = memory->region.chunk_count;
    if (limit == MEMORY_LIMITED) {
        if (memory->region.used_units + (uint64_t)units > units_max(memory)) {
            return REGION_NONE;
        }
        backed_max = chunks_max(memory);
    }
    return region_take(&memory->region, units, backed_max);
}

/* Recycled blocks keep no pages from anybody. */
static uint32_t take_units(struct memory *memory, uint32_t units, enum memory_limit limit)
{
    uint32_t unit = try_units(memory, units, limit);
    if (UNLIKELY(unit == REGION_NONE && memory->recent_blocks > 0)) {
        (void)memory_drain(memory, MEMORY_RECENT_BLOCKS_MAX);
        unit = try_units(memory, units, limit);
    }
    memory->short_of_pages |= unit == REGION_NONE;
    return unit;
}

/* ---- blocks of a class ------------------------------------------------------------------------
 */

static uint32_t find_span(const struct size_class *class)
{
    for (uint32_t bin = MEMORY_BINS; bin > 0; bin--) {
        if (class->first[bin - 1] != REGION_NONE) {
            return class->first[bin - 1];
        }
    }
    return REGION_NONE;
}

static uint32_t create_span(struct memory *memory, uint32_t class_number, enum memory_limit limit)
{
    const struct size_class *class = &memory->classes[class_number];
    uint32_t unit = take_units(memory, class->span_units, limit);
    if (unit == REGION_NONE) {
        return REGION_NONE;
    }
    uint32_t number = region_span_number(unit);
    *region_span(&memory->region, number) =
        (struct span){.units = class->span_units,
                      .start = (uint16_t)(unit % REGION_CHUNK_UNITS),
                      .capacity = class->capacity,
                      .free_first = NO_BLOCK,
                      .class = (uint8_t)class_number};
    uint64_t bytes = (uint64_t) class->span_units * REGION_UNIT_BYTES;
    store_relaxed(&memory->span_bytes, memory->span_bytes + bytes);
    memory->classes[class_number].free_blocks += class->capacity;
    memory_poison(region_address(&memory->region, unit), bytes);
    memory_link_span(memory, number);
    return number;
}

static void destroy_span(struct memory *memory, uint32_t number)
{
    struct span *span = region_span(&memory->region, number);
    uint64_t bytes = (uint64_t)span->units * REGION_UNIT_BYTES;
    if (span->bin == BIN_EVACUATING) {
        memory->evacuating_spans--;
        memory->evacuating_bytes -= bytes;
    } else {
        memory->classes[span->class].free_blocks -= span->capacity;
    }
    memory_unlink_span(memory, number);
    span->bin = BIN_FULL; /* no longer to be evacuated */
    store_relaxed(&memory->span_bytes, memory->span_bytes - bytes);
    region_give(&memory->region, memory_span_unit(span, number), span->units);
}

static uint8_t *span_address(const struct memory *memory, uint32_t number)
{
    const struct span *span = region_span(&memory->region, number);
    return region_address(&memory->region, memory_span_unit(span, number));
}

/* But for the link at its beginning. */
#if MEMORY_CHECKING
static void fill_freed(uint8_t *block, uint32_t link_bytes, uint32_t bytes)
{
    memset(block + link_bytes, MEMORY_PATTERN, bytes - link_bytes);
}

static void check_freed(const uint8_t *block, uint32_t link_bytes, uint32_t bytes)
{
    for (uint32_t i = link_bytes; i < bytes; i++) {
        CHECK(block[i] == MEMORY_PATTERN); /* somebody wrote to freed memory */
    }
}
#else
static void fill_freed(uint8_t *block, uint32_t link_bytes, uint32_t bytes)
{
}

static void check_freed(const uint8_t *block, uint32_t link_bytes, uint32_t bytes)
{
}
#endif

static uint8_t *take_block(struct memory *memory, uint32_t number)
{
    struct span *span = region_span(&memory->region, number);
    uint32_t bytes = memory->classes[span->class].block_bytes;
    uint8_t *block = span_address(memory, number);
    if (span->free_first != NO_BLOCK) {
        block += (uint32_t)span->free_first * BLOCK_STEP;
        memory_unpoison(block, bytes);
        memcpy(&span->free_first, block, sizeof(span->free_first));
        check_freed(block, sizeof(span->free_first), bytes);
    } else {
        block += (uint64_t)span->fresh++ * bytes;
        memory_unpoison(block, bytes);
    }
    span->used++;
    memory->classes[span->class].free_blocks--;
    if (span->used >= span->bin_ceiling) {
        change_bin(memory, number);
    }
    return block;
}

static void prefetch_block(const uint8_t *block, uint32_t bytes)
{
    enum { LINE_BYTES = 64, FOR_WRITING = 1 };
    __builtin_prefetch(block, FOR_WRITING);
    if (bytes > LINE_BYTES) {
        __builtin_prefetch(block + LINE_BYTES, FOR_WRITING);
    }
}

/* The block that the next one of the class will be, on its way into the cache: what is free has not
 * been touched for long, and taking it begins with reading the link that lies in it. */
static void prefetch_next_block(const struct memory *memory, const struct size_class *class)
{
    uint32_t number = find_span(class);
    if (UNLIKELY(number == REGION_NONE)) {
        return;
    }
    const struct span *span = region_span(&memory->region, number);
    uint64_t offset = span->free_first != NO_BLOCK ? (uint64_t)span->free_first * BLOCK_STEP
                                                   : (uint64_t)span->fresh * class->block_bytes;
    prefetch_block(span_address(memory, number) + offset, class->block_bytes);
}

static void give_block(struct memory *memory, uint32_t number, uint8_t *block)
{
    struct span *span = region_span(&memory->region, number);
    uint32_t bytes = memory->classes[span->class].block_bytes;
    uint64_t offset = (uint64_t)(block - span_address(memory, number));
    DEBUG_CHECK(offset % bytes == 0);
    CHECK(span->used > 0);
    fill_freed(block, sizeof(span->free_first), bytes);
    memcpy(block, &span->free_first, sizeof(span->free_first));
    memory_poison(block, bytes);
    span->free_first = (uint16_t)(offset / BLOCK_STEP);
    span->used--;
    memory->classes[span->class].free_blocks += span->bin != BIN_EVACUATING;
    if (span->used == 0) {
        destroy_span(memory, number);
    } else if (span->used < span->bin_floor && span->bin != BIN_EVACUATING) {
        change_bin(memory, number);
    }
}

/* ---- blocks outside of their spans ------------------------------------------------------------
 */

static uint8_t *take_recent(struct memory *memory, struct size_class *class)
{
    struct recent_block *recent = class->recent;
    memory_unpoison(recent, class->block_bytes);
    class->recent = recent->next;
    memory->recent_blocks--;
    memory->recent_bytes -= class->block_bytes;
    check_freed((uint8_t *)recent, sizeof(*recent), class->block_bytes);
    return (uint8_t *)recent;
}

static void give_recent(struct memory *memory, struct size_class *class, uint8_t *block)
{
    struct recent_block *recent = (struct recent_block *)(void *)block;
    fill_freed(block, sizeof(*recent), class->block_bytes);
    recent->next = class->recent;
    class->recent = recent;
    memory->recent_blocks++;
    memory->recent_bytes += class->block_bytes;
    memory_poison(block, class->block_bytes);
}

static uint32_t span_of(const struct memory *memory, const void *block)
{
    const struct region *region = &memory->region;
    uint32_t unit = region_unit(region, block);
    CHECK(unit / REGION_CHUNK_UNITS < region->frontier);
    return region_span_number(region_run_start(region, unit));
}

bool memory_drain(struct memory *memory, uint32_t count)
{
    for (uint32_t i = 0; i < MEMORY_ITEM_CLASSES && memory->recent_blocks > 0 && count > 0; i++) {
        struct size_class *class = &memory->classes[i];
        for (; class->recent != NULL && count > 0; count--) {
            uint8_t *block = take_recent(memory, class);
            give_block(memory, span_of(memory, block), block);
        }
    }
    return memory->recent_blocks == 0;
}

/* memory_can_allocate looks without it: so whoever asked there for up to 64 bytes more than he
 * takes finds a block, be it in a class of twice the size that he asked for. */
#define LARGER_SPARE_BYTES 128U

/* No page can be had: a free block of a larger class, up to twice the size, will do. */
static uint32_t find_larger_span(const struct memory *memory, uint32_t class, uint32_t spare_bytes)
{
    uint32_t bytes_max = memory->classes[class].block_bytes * 2 + spare_bytes;
    while (++class < MEMORY_ITEM_CLASSES && memory->classes[class].block_bytes <= bytes_max) {
        uint32_t number = find_span(&memory->classes[class]);
        if (number != REGION_NONE) {
            return number;
        }
    }
    return REGION_NONE;
}

/* Not even that: the spans of some larger classes are shorter runs of pages. */
static uint32_t create_larger_span(struct memory *memory, uint32_t class, uint32_t spare_bytes,
                                   enum memory_limit limit)
{
    uint32_t bytes_max = memory->classes[class].block_bytes * 2 + spare_bytes;
    uint32_t units = memory->classes[class].span_units, number = REGION_NONE;
    while (number == REGION_NONE && ++class < MEMORY_ITEM_CLASSES &&
           memory->classes[class].block_bytes <= bytes_max) {
        if (memory->classes[class].span_units < units) {
            units = memory->classes[class].span_units;
            number = create_span(memory, class, limit);
        }
    }
    return number;
}

/* ---- runs -------------------------------------------------------------------------------------
 */

static void *allocate_run(struct memory *memory, size_t bytes, enum memory_limit limit)
{
    uint32_t units = (uint32_t)((bytes + REGION_UNIT_BYTES - 1) / REGION_UNIT_BYTES);
    uint32_t unit = take_units(memory, units, limit);
    if (unit == REGION_NONE) {
        return NULL;
    }
    /* A slot for each chunk that it reaches into: who walks a chunk sees it there. */
    for (uint32_t i = 0; i < units; i += REGION_CHUNK_UNITS) {
        *region_span(&memory->region, region_span_number(unit + i)) =
            (struct span){.class = CLASS_RUN, .bin = BIN_FULL, .units = units - i};
    }
    uint8_t *block = region_address(&memory->region, unit);
    memory_unpoison(block, (uint64_t)units * REGION_UNIT_BYTES);
    return block;
}

static void free_run(struct memory *memory, struct span *span, uint8_t *block)
{
    uint32_t units = span->units;
#if MEMORY_CHECKING
    memset(block, MEMORY_PATTERN, (uint64_t)units * REGION_UNIT_BYTES);
#endif
    memory_poison(block, (uint64_t)units * REGION_UNIT_BYTES);
    region_give(&memory->region, region_unit(&memory->region, block), units);
}

/* ---- the face ---------------------------------------------------------------------------------
 */

static void note_peak(struct memory *memory)
{
    uint64_t used = memory_used_bytes(memory);
    if (used > memory->peak_bytes) {
        store_relaxed(&memory->peak_bytes, used);
    }
}

static void note_allocated(struct memory *memory, uint64_t bytes)
{
    store_relaxed(&memory->item_bytes, memory->item_bytes + bytes);
    note_peak(memory);
}

static void *allocate_large(struct memory *memory, size_t bytes, enum memory_limit limit,
                            size_t *total)
{
    uint64_t given = (bytes + REGION_UNIT_BYTES - 1) / REGION_UNIT_BYTES * REGION_UNIT_BYTES;
    if (limit == MEMORY_LIMITED && !fits(memory, given)) {
        return NULL;
    }
    void *block = allocate_run(memory, bytes, limit);
    if (block != NULL) {
        store_relaxed(&memory->run_bytes, memory->run_bytes + given);
        note_allocated(memory, given);
    }
    *total = given;
    return block;
}

static inline void *allocate(struct memory *memory, size_t bytes, enum memory_limit limit,
                             uint32_t spare_bytes, size_t *total)
{
    if (UNLIKELY(bytes > MEMORY_SMALL_BYTES_MAX)) {
        return allocate_large(memory, bytes, limit, total);
    }
    uint32_t class = class_of(bytes);
    struct size_class *own = &memory->classes[class];
    *total = own->block_bytes;
    if (UNLIKELY(limit == MEMORY_LIMITED && !fits(memory, own->block_bytes))) {
        return NULL;
    }
    if (own->recent != NULL) {
        note_allocated(memory, own->block_bytes);
        uint8_t *recent = take_recent(memory, own);
        prefetch_block((const uint8_t *)own->recent, own->block_bytes);
        return recent;
    }
    uint32_t number = find_span(&memory->classes[class]);
    if (UNLIKELY(number == REGION_NONE)) {
        number = create_span(memory, class, limit);
        number = number != REGION_NONE ? number : find_larger_span(memory, class, spare_bytes);
        number =
            number != REGION_NONE ? number : create_larger_span(memory, class, spare_bytes, limit);
        if (number == REGION_NONE) {
            return NULL;
        }
    }
    uint64_t given = memory->classes[region_span(&memory->region, number)->class].block_bytes;
    note_allocated(memory, given);
    *total = given;
    void *block = take_block(memory, number);
    prefetch_next_block(memory, own);
    return block;
}

void *memory_allocate_block(struct memory *memory, size_t bytes, enum memory_limit limit,
                            size_t *given)
{
    return allocate(memory, bytes, limit, LARGER_SPARE_BYTES, given);
}

void *memory_allocate(struct memory *memory, size_t bytes, enum memory_limit limit)
{
    size_t given;
    return allocate(memory, bytes, limit, LARGER_SPARE_BYTES, &given);
}

/* No page can be had: a free block of any larger index class. */
static uint32_t find_larger_index_span(const struct memory *memory, uint32_t class)
{
    uint32_t number = REGION_NONE;
    while (number == REGION_NONE && ++class < MEMORY_CLASSES) {
        number = find_span(&memory->classes[class]);
    }
    return number;
}

void *memory_allocate_index(struct memory *memory, size_t bytes, enum memory_limit limit)
{
    CHECK(bytes % MEMORY_INDEX_STEP == 0 && bytes - 1 < MEMORY_INDEX_CLASSES * MEMORY_INDEX_STEP);
    uint32_t class = MEMORY_ITEM_CLASSES - 1 + (uint32_t)bytes / MEMORY_INDEX_STEP;
    uint32_t number = find_span(&memory->classes[class]);
    number = number != REGION_NONE ? number : create_span(memory, class, limit);
    number = number != REGION_NONE ? number : find_larger_index_span(memory, class);
    if (number == REGION_NONE) {
        return NULL;
    }
    uint64_t given = memory->classes[region_span(&memory->region, number)->class].block_bytes;
    if (limit == MEMORY_LIMITED && !fits(memory, given)) {
        return NULL;
    }
    store_relaxed(&memory->index_block_bytes, memory->index_block_bytes + given);
    store_relaxed(&memory->index_bytes, memory->index_bytes + given);
    note_peak(memory);
    return take_block(memory, number);
}

static uint64_t bytes_of(const struct memory *memory, const struct span *span)
{
    return span->class == CLASS_RUN ? (uint64_t)span->units * REGION_UNIT_BYTES
                                    : memory->classes[span->class].block_bytes;
}

static bool is_of_index(const struct span *span)
{
    return span->class >= MEMORY_ITEM_CLASSES && span->class < MEMORY_CLASSES;
}

bool memory_is_index_span(const struct memory *memory, uint32_t number)
{
    return is_of_index(region_span(&memory->region, number));
}

static void free_index_block(struct memory *memory, uint32_t number, void *block)
{
    uint64_t given = bytes_of(memory, region_span(&memory->region, number));
    CHECK(memory->index_block_bytes >= given);
    store_relaxed(&memory->index_block_bytes, memory->index_block_bytes - given);
    store_relaxed(&memory->index_bytes, memory->index_bytes - given);
    give_block(memory, number, block);
}

bool memory_is_leaving(const struct memory *memory, const void *block)
{
    return memory_is_evacuating(memory, span_of(memory, block));
}

void memory_free(struct memory *memory, void *block)
{
    uint32_t number = span_of(memory, block);
    struct span *span = region_span(&memory->region, number);
    if (UNLIKELY(is_of_index(span))) {
        free_index_block(memory, number, block);
        return;
    }
    uint64_t given = bytes_of(memory, span);
    CHECK(memory->item_bytes >= given);
    store_relaxed(&memory->item_bytes, memory->item_bytes - given);
    if (UNLIKELY(span->class == CLASS_RUN)) {
        store_relaxed(&memory->run_bytes, memory->run_bytes - given);
        free_run(memory, span, block);
    } else {
        give_block(memory, number, block);
    }
}

/* While spans are being emptied all blocks go home: one of theirs must not be handed out again. */
void memory_recycle(struct memory *memory, void *block, size_t given)
{
    bool keeps = given <= MEMORY_SMALL_BYTES_MAX && memory->evacuating_spans == 0 &&
                 memory->recent_blocks < MEMORY_RECENT_BLOCKS_MAX &&
                 memory->recent_bytes + given <= MEMORY_RECENT_BYTES_MAX;
    if (UNLIKELY(!keeps)) {
        memory_free(memory, block);
        return;
    }
    CHECK(memory->item_bytes >= given);
    store_relaxed(&memory->item_bytes, memory->item_bytes - given);
    struct size_class *class = &memory->classes[class_of(given)];
    DEBUG_CHECK(class->block_bytes == memory_block_bytes(memory, block));
    give_recent(memory, class, block);
}

size_t memory_rounded_large_bytes(size_t bytes)
{
    return class_bytes(class_of(bytes));
}

size_t memory_block_bytes(const struct memory *memory, const void *block)
{
    return bytes_of(memory, region_span(&memory->region, span_of(memory, block)));
}

bool memory_is_mapped(const struct memory *memory, const void *block)
{
    const struct span *span = region_span(&memory->region, span_of(memory, block));
    uint32_t unit = region_run_start(&memory->region, region_unit(&memory->region, block));
    return region_is_mapped(&memory->region, unit, span->units);
}

/* With so many free units nobody needs to look, though some lie in a chunk that is being emptied or
 * in runs that are too short. */
#define PLENTY_UNITS 4096U

bool memory_has_plenty(const struct memory *memory, uint64_t bytes, uint64_t largest_bytes)
{
    if (limit_of(memory) == 0) {
        return true;
    }
    uint64_t units = PLENTY_UNITS + bytes / REGION_UNIT_BYTES;
    return largest_bytes <= MEMORY_SMALL_BYTES_MAX && fits(memory, bytes) &&
           memory->region.used_units + units <= units_max(memory);
}

/* A block of this size, without a trial: of a span that there is, or of one for which there are
 * pages. */
static bool has_small_block(const struct memory *memory, size_t bytes)
{
    const struct size_class *class = &memory->classes[class_of(bytes)];
    const struct region *region = &memory->region;
    return class->recent != NULL || class->free_blocks > 0 ||
           (region->used_units + SPAN_UNITS_MAX <= units_max(memory) &&
            region_has_run(region, SPAN_UNITS_MAX));
}

/* Tries it, if need be. What finds a block of this size finds one for less, too: its own class, the
 * pages that come back here, or this very block (find_larger_span). */
bool memory_can_allocate(struct memory *memory, size_t bytes)
{
    if (bytes <= MEMORY_SMALL_BYTES_MAX &&
        (limit_of(memory) == 0 ||
         (fits(memory, class_bytes(class_of(bytes))) && has_small_block(memory, bytes)))) {
        return true;
    }
    uint64_t peak = memory->peak_bytes;
    size_t given;
    void *block = allocate(memory, bytes, MEMORY_LIMITED, 0, &given);
    if (block == NULL) {
        return false;
    }
    memory_free(memory, block);
    store_relaxed(&memory->peak_bytes, peak);
    return true;
}

bool memory_reserve_index(struct memory *memory, uint64_t bytes, enum memory_limit limit)
{
    if (limit == MEMORY_LIMITED && !fits(memory, bytes)) {
        return false;
    }
    store_relaxed(&memory->index_bytes, memory->index_bytes + bytes);
    note_peak(memory);
    return true;
}

void memory_release_index(struct memory *memory, uint64_t bytes)
{
    CHECK(memory->index_bytes >= bytes);
    store_relaxed(&memory->index_bytes, memory->index_bytes - bytes);
}

void memory_note_retired(struct memory *memory, uint64_t bytes)
{
    store_relaxed(&memory->retired_bytes, memory->retired_bytes + bytes);
}

void memory_note_reclaimed(struct memory *memory, uint64_t bytes)
{
    CHECK(memory->retired_bytes >= bytes);
    store_relaxed(&memory->retired_bytes, memory->retired_bytes - bytes);
}

void memory_note_blob(struct memory *memory, int64_t bytes)
{
    store_relaxed(&memory->blob_bytes, memory->blob_bytes + (uint64_t)bytes);
}

static uint64_t small_bytes(const struct memory *memory)
{
    uint64_t items = __atomic_load_n(&memory->item_bytes, __ATOMIC_RELAXED);
    uint64_t runs = __atomic_load_n(&memory->run_bytes, __ATOMIC_RELAXED);
    uint64_t parts = __atomic_load_n(&memory->index_block_bytes, __ATOMIC_RELAXED);
    return (items > runs ? items - runs : 0) + parts;
}

uint64_t memory_hole_bytes(const struct memory *memory)
{
    uint64_t spans = __atomic_load_n(&memory->span_bytes, __ATOMIC_RELAXED);
    uint64_t used = small_bytes(memory);
    return spans > used ? spans - used : 0;
}

void memory_publish_figures(struct memory *memory)
{
    const struct region *region = &memory->region;
    store_relaxed(&memory->active_bytes, (uint64_t)region->used_units * REGION_UNIT_BYTES);
    store_relaxed(&memory->resident_bytes, region->backed_chunks * REGION_CHUNK_BYTES);
    store_relaxed(&memory->overhead_bytes, region->backed_chunks * REGION_CHUNK_OVERHEAD);
    uint64_t most = units_max(memory), used = region->used_units;
    store_relaxed(&memory->free_page_bytes, most > used ? (most - used) * REGION_UNIT_BYTES : 0);
}

uint64_t memory_huge_bytes(const struct memory *memory)
{
    return __atomic_load_n(&memory->region.huge_chunks, __ATOMIC_RELAXED) * REGION_CHUNK_BYTES;
}

uint64_t memory_mapped_bytes(const struct memory *memory)
{
    return __atomic_load_n(&memory->region.mapped_chunks, __ATOMIC_RELAXED) * REGION_CHUNK_BYTES;
}

/* Holes count only beyond a share of the spans: nobody can be sure to find one of the right size.
 */
uint64_t memory_headroom_bytes(const struct memory *memory)
{
    uint64_t limit = limit_of(memory);
    if (limit == 0) {
        return UINT64_MAX;
    }
    uint64_t used = memory_used_bytes(memory), holes = memory_hole_bytes(memory);
    uint64_t share = __atomic_load_n(&memory->span_bytes, __ATOMIC_RELAXED) / HOLES_SHARE;
    uint64_t pages = __atomic_load_n(&memory->free_page_bytes, __ATOMIC_RELAXED) +
                     (holes > share ? holes - share : 0);
    uint64_t left = limit > used ? limit - used : 0;
    return pages < left ? pages : left;
}

/* ---- chunks ahead of use, and back to the machine ---------------------------------------------
 */

/* Without a limit a few are kept ready; with one, all that the index leaves. */
static bool wants_chunk(const struct memory *memory)
{
    const struct region *region = &memory->region;
    uint32_t ready = region->free_chunks + region->pending_chunks, most = chunks_max(memory);
    if (region->backed_chunks + region->wanted_chunks >= most) {
        return false;
    }
    if (limit_of(memory) != 0) {
        return ready == 0 || region->backed_chunks < most - most / 8;
    }
    uint32_t ahead = region_used_chunks(region) / 16 + 1;
    return ready < (ahead < AHEAD_CHUNKS_MAX ? ahead : AHEAD_CHUNKS_MAX);
}

static bool can_spare_chunk(const struct memory *memory)
{
    const struct region *region = &memory->region;
    if (region->wanted_chunks + region->backed_chunks > chunks_max(memory)) {
        return true; /* also when the limit was lowered, or the index grew */
    }
    return limit_of(memory) == 0 &&
           region->free_chunks > SPARE_CHUNKS + region_used_chunks(region) / 16;
}

/* Who wanted a large run may have given up. */
static void lose_patience(struct memory *memory)
{
    if (memory->region.wanted_chunks == 0) {
        memory->patience = PATIENCE;
    } else if (--memory->patience == 0) {
        memory->region.wanted_chunks = 0;
    }
}

bool memory_next_task(struct memory *memory, struct memory_task *task)
{
    struct region *region = &memory->region;
    lose_patience(memory);
    if (region->pending_chunks >= TASKS_PENDING_MAX) {
        return false;
    }
    uint32_t chunk = REGION_NONE;
    if (can_spare_chunk(memory)) {
        chunk = region_begin_release(region);
    } else if (wants_chunk(memory)) {
        chunk = region_begin_prepare(region);
    }
    if (chunk != REGION_NONE) {
        *task = (struct memory_task){memory, chunk};
    }
    return chunk != REGION_NONE;
}

void memory_serve(const struct memory_task *task)
{
    region_serve(&task->memory->region, task->chunk);
}

void memory_finish(const struct memory_task *task)
{
    region_finish(&task->memory->region, task->chunk);
}

static void finish_tasks(struct memory *memory)
{
    struct memory_task task;
    while (memory_next_task(memory, &task)) {
        memory_serve(&task);
        memory_finish(&task);
    }
}

/* ---- life -------------------------------------------------------------------------------------
 */

static uint64_t machine_bytes(void)
{
    return (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
}

static uint64_t whole_chunks(uint64_t bytes)
{
    return (bytes + REGION_CHUNK_BYTES - 1) / REGION_CHUNK_BYTES * REGION_CHUNK_BYTES;
}

bool memory_init(struct memory *memory, const struct memory_options *options)
{
    *memory = (struct memory){
        .limit_bytes = options->limit_bytes, .draining_chunk = REGION_NONE, .patience = PATIENCE};
    struct region_options region = {
        .bytes_min = whole_chunks(options->limit_bytes) + REGION_CHUNK_BYTES,
        .bytes_max = whole_chunks(machine_bytes()),
        .use_hugepages = options->use_hugepages,
        .devices = options->devices,
        .numa_node = options->numa_node,
    };
    if (!region_init(&memory->region, &region)) {
        return false;
    }
    init_classes(memory);
    finish_tasks(memory);
    memory_publish_figures(memory);
    return true;
}

void memory_deinit(struct memory *memory)
{
    region_deinit(&memory->region);
}

void memory_set_limit(struct memory *memory, uint64_t bytes)
{
    store_relaxed(&memory->limit_bytes, bytes);
}
