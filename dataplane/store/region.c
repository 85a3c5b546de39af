#include "dataplane/store/region.h"

#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "dataplane/base/check.h"
#include "dataplane/store/memory_poison.h"

#define WORDS         (REGION_CHUNK_UNITS / 64)
#define BIN_EMPTY     (REGION_BINS - 1)
#define BIN_NONE      REGION_BINS
#define FIRST_FIT_MAX 8 /* chunks of the lowest bin that are looked at */
/* Where a region for devices is looked for: above what EAL takes for itself, from 4 GiB on. */
#define DEVICE_ADDRESS_FIRST (UINT64_C(1) << 36)
#define DEVICE_ADDRESS_END   (UINT64_C(1) << 46)
#define DEVICE_ADDRESS_STEP  (UINT64_C(1) << 30)
#define DEVICE_ADDRESS_TRIES 1024U

/* ---- bits of a chunk --------------------------------------------------------------------------
 */

/* The first unit from `from` on that is taken (or not); REGION_CHUNK_UNITS: none. */
static uint32_t next_unit(const struct chunk *chunk, uint32_t from, bool taken)
{
    while (from < REGION_CHUNK_UNITS) {
        uint64_t word = taken ? chunk->taken[from / 64] : ~chunk->taken[from / 64];
        word >>= from % 64;
        if (word != 0) {
            return from + (uint32_t)__builtin_ctzll(word);
        }
        from = (from / 64 + 1) * 64;
    }
    return REGION_CHUNK_UNITS;
}

static void set_units(struct chunk *chunk, uint32_t from, uint32_t count, bool taken)
{
    while (count > 0) {
        uint32_t part = 64 - from % 64 < count ? 64 - from % 64 : count;
        uint64_t mask = (part == 64 ? UINT64_MAX : (UINT64_C(1) << part) - 1) << from % 64;
        uint64_t *word = &chunk->taken[from / 64];
        CHECK((*word & mask) == (taken ? 0 : mask)); /* taken or given twice */
        *word ^= mask;
        from += part;
        count -= part;
    }
}

static uint32_t longest_run(const struct chunk *chunk)
{
    uint32_t longest = 0;
    for (uint32_t start = next_unit(chunk, 0, false); start < REGION_CHUNK_UNITS;) {
        uint32_t end = next_unit(chunk, start, true);
        longest = end - start > longest ? end - start : longest;
        start = next_unit(chunk, end, false);
    }
    return longest;
}

static uint32_t find_run(const struct chunk *chunk, uint32_t units)
{
    uint32_t start = next_unit(chunk, 0, false);
    for (;;) {
        CHECK(start < REGION_CHUNK_UNITS); /* the longest run was longer */
        uint32_t end = next_unit(chunk, start, true);
        if (end - start >= units) {
            return start;
        }
        start = next_unit(chunk, end, false);
    }
}

/* ---- bins -------------------------------------------------------------------------------------
 */

static uint8_t bin_of(const struct chunk *chunk)
{
    if (chunk->longest_run == 0 || chunk->draining) {
        return BIN_NONE;
    }
    return (uint8_t)(31 - __builtin_clz(chunk->longest_run));
}

static void unlink_chunk(struct region *region, uint32_t number)
{
    struct chunk *chunk = &region->chunks[number];
    if (chunk->bin == BIN_NONE) {
        return;
    }
    if (chunk->previous != REGION_NONE) {
        region->chunks[chunk->previous].next = chunk->next;
    } else {
        region->bins[chunk->bin] = chunk->next;
    }
    if (chunk->next != REGION_NONE) {
        region->chunks[chunk->next].previous = chunk->previous;
    }
    chunk->bin = BIN_NONE;
}

static void link_chunk(struct region *region, uint32_t number)
{
    struct chunk *chunk = &region->chunks[number];
    chunk->bin = bin_of(chunk);
    if (chunk->bin == BIN_NONE) {
        return;
    }
    uint32_t *first = &region->bins[chunk->bin];
    chunk->previous = REGION_NONE;
    chunk->next = *first;
    if (*first != REGION_NONE) {
        region->chunks[*first].previous = number;
    }
    *first = number;
}

static void relink_chunk(struct region *region, uint32_t number)
{
    struct chunk *chunk = &region->chunks[number];
    chunk->longest_run = (uint16_t)longest_run(chunk);
    if (chunk->bin != bin_of(chunk)) {
        unlink_chunk(region, number);
        link_chunk(region, number);
    }
}

/* ---- states -----------------------------------------------------------------------------------
 */

static void note_frontier(struct region *region, uint32_t number)
{
    if (number >= region->frontier) {
        region->frontier = number + 1;
    }
    while (region->bare_first < region->chunk_count &&
           region->states[region->bare_first] != CHUNK_BARE) {
        region->bare_first++;
    }
}

/* A chunk with memory behind it that nobody uses. */
static void make_free(struct region *region, uint32_t number)
{
    struct chunk *chunk = &region->chunks[number];
    region->states[number] = CHUNK_FREE;
    chunk->draining = false;
    chunk->bin = BIN_NONE;
    chunk->longest_run = REGION_CHUNK_UNITS;
    link_chunk(region, number);
    region->free_chunks++;
}

/* Out of its list, to be used. */
static void start_using(struct region *region, uint32_t number)
{
    struct chunk *chunk = &region->chunks[number];
    if (region->states[number] == CHUNK_FREE) {
        unlink_chunk(region, number);
        region->free_chunks--;
    } else {
        CHECK(region->states[number] == CHUNK_BARE);
        *chunk = (struct chunk){.bin = BIN_NONE};
        region->backed_chunks++;
        region->faulting_takes++;
    }
    region->states[number] = CHUNK_USED;
    note_frontier(region, number);
}

uint32_t region_begin_prepare(struct region *region)
{
    uint32_t number = region->bare_first;
    if (number >= region->chunk_count) {
        return REGION_NONE;
    }
    region->states[number] = CHUNK_PREPARING;
    region->backed_chunks++;
    region->pending_chunks++;
    note_frontier(region, number);
    return number;
}

uint32_t region_begin_release(struct region *region)
{
    uint32_t number = region->bins[BIN_EMPTY];
    if (number == REGION_NONE) {
        return REGION_NONE;
    }
    unlink_chunk(region, number);
    region->states[number] = CHUNK_RELEASING;
    region->free_chunks--;
    region->pending_chunks++;
    return number;
}

void region_finish(struct region *region, uint32_t number)
{
    CHECK(number < region->chunk_count);
    region->pending_chunks--;
    if (region->states[number] == CHUNK_PREPARING) {
        make_free(region, number);
        return;
    }
    CHECK(region->states[number] == CHUNK_RELEASING);
    region->states[number] = CHUNK_BARE;
    region->backed_chunks--;
    if (number < region->bare_first) {
        region->bare_first = number;
    }
}

/* ---- runs -------------------------------------------------------------------------------------
 */

static uint32_t chunk_with_run(struct region *region, uint32_t units)
{
    uint32_t bin = 31 - (uint32_t)__builtin_clz(units);
    uint32_t looked_at = 0;
    for (uint32_t i = region->bins[bin]; i != REGION_NONE && looked_at < FIRST_FIT_MAX;
         i = region->chunks[i].next, looked_at++) {
        if (region->chunks[i].longest_run >= units) {
            return i;
        }
    }
    /* Fuller chunks first: empty ones may still be given back. */
    while (++bin < REGION_BINS) {
        if (region->bins[bin] != REGION_NONE) {
            return region->bins[bin];
        }
    }
    return REGION_NONE;
}

static uint32_t take_in_chunk(struct region *region, uint32_t number, uint32_t units)
{
    struct chunk *chunk = &region->chunks[number];
    uint32_t start = find_run(chunk, units);
    set_units(chunk, start, units, true);
    chunk->used_units = (uint16_t)(chunk->used_units + units);
    region->used_units += units;
    for (uint32_t i = 0; i < units && i <= UINT8_MAX; i++) {
        chunk->distance[start + i] = (uint8_t)i;
    }
    relink_chunk(region, number);
    return number * REGION_CHUNK_UNITS + start;
}

static uint32_t take_small(struct region *region, uint32_t units, uint32_t backed_max)
{
    uint32_t number = chunk_with_run(region, units);
    if (number == REGION_NONE) {
        number = region->bare_first;
        if (number >= region->chunk_count || region->backed_chunks >= backed_max) {
            return REGION_NONE;
        }
    }
    if (region->states[number] != CHUNK_USED) {
        start_using(region, number);
    }
    return take_in_chunk(region, number, units);
}

/* The first of `count` chunks in a row that can be had; `bare_max` of them may be BARE. */
static uint32_t find_chunks(const struct region *region, uint32_t count, uint32_t bare_max)
{
    uint32_t run = 0, bare = 0;
    uint64_t end = (uint64_t)region->frontier + count;
    for (uint32_t i = 0; i < region->chunk_count && i < end; i++) {
        uint8_t state = region->states[i];
        run = state == CHUNK_BARE || state == CHUNK_FREE ? run + 1 : 0;
        bare = run == 0 ? 0 : bare + (state == CHUNK_BARE);
        if (run > count) {
            run = count;
            bare -= region->states[i - count] == CHUNK_BARE;
        }
        if (run == count && bare <= bare_max) {
            return i + 1 - count;
        }
    }
    return REGION_NONE;
}

static uint32_t take_large(struct region *region, uint32_t units, uint32_t backed_max)
{
    uint32_t count = (units + REGION_CHUNK_UNITS - 1) / REGION_CHUNK_UNITS;
    uint32_t bare_max = backed_max > region->backed_chunks ? backed_max - region->backed_chunks : 0;
    uint32_t first = find_chunks(region, count, bare_max);
    if (first == REGION_NONE) {
        /* Free chunks that do not lie together help when they become BARE. */
        region->wanted_chunks = count;
        return REGION_NONE;
    }
    region->wanted_chunks = 0;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t left = units - i * REGION_CHUNK_UNITS;
        start_using(region, first + i);
        (void)take_in_chunk(region, first + i,
                            left < REGION_CHUNK_UNITS ? left : REGION_CHUNK_UNITS);
    }
    return first * REGION_CHUNK_UNITS;
}

uint32_t region_take(struct region *region, uint32_t units, uint32_t backed_max)
{
    CHECK(units >= REGION_RUN_UNITS_MIN);
    return units <= REGION_CHUNK_UNITS ? take_small(region, units, backed_max)
                                       : take_large(region, units, backed_max);
}

void region_give(struct region *region, uint32_t unit, uint32_t units)
{
    while (units > 0) {
        uint32_t number = unit / REGION_CHUNK_UNITS, start = unit % REGION_CHUNK_UNITS;
        uint32_t part = REGION_CHUNK_UNITS - start < units ? REGION_CHUNK_UNITS - start : units;
        struct chunk *chunk = &region->chunks[number];
        CHECK(number < region->chunk_count && region->states[number] == CHUNK_USED);
        set_units(chunk, start, part, false);
        chunk->used_units = (uint16_t)(chunk->used_units - part);
        region->used_units -= part;
        if (chunk->used_units == 0) {
            unlink_chunk(region, number);
            make_free(region, number);
        } else {
            relink_chunk(region, number);
        }
        unit += part;
        units -= part;
    }
}

void region_set_draining(struct region *region, uint32_t number, bool draining)
{
    struct chunk *chunk = &region->chunks[number];
    if (region->states[number] == CHUNK_USED && chunk->draining != draining) {
        chunk->draining = draining;
        relink_chunk(region, number);
    }
}

bool region_is_mapped(const struct region *region, uint32_t unit, uint32_t units)
{
    uint32_t last = (unit + units - 1) / REGION_CHUNK_UNITS;
    bool is_mapped = true;
    for (uint32_t chunk = unit / REGION_CHUNK_UNITS; chunk <= last; chunk++) {
        is_mapped = is_mapped && region->chunks[chunk].is_mapped;
    }
    return is_mapped;
}

/* ---- the machine's memory ---------------------------------------------------------------------
 */

static void *reserve(uint64_t bytes)
{
    void *address = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return address == MAP_FAILED ? NULL : address;
}

/* Addresses that begin with a chunk: one more is asked for, the ends are given back. */
static uint8_t *reserve_aligned(uint64_t bytes)
{
    uint8_t *address = reserve(bytes + REGION_CHUNK_BYTES);
    if (address == NULL) {
        return NULL;
    }
    uint64_t before =
        (REGION_CHUNK_BYTES - (uintptr_t)address % REGION_CHUNK_BYTES) % REGION_CHUNK_BYTES;
    if (before > 0) {
        munmap(address, before);
    }
    munmap(address + before + bytes, REGION_CHUNK_BYTES - before);
    return address + before;
}

/* The lowest addresses that are free: those of an IOMMU are of 39 to 48 bits, and the kernel gives
 * out what takes 47. NULL: there are none. */
static uint8_t *reserve_low(uint64_t bytes)
{
    uint64_t step = (bytes + DEVICE_ADDRESS_STEP - 1) / DEVICE_ADDRESS_STEP * DEVICE_ADDRESS_STEP;
    uint64_t at = DEVICE_ADDRESS_FIRST;
    for (uint32_t i = 0; i < DEVICE_ADDRESS_TRIES && at + bytes <= DEVICE_ADDRESS_END; i++) {
        void *address =
            mmap((void *)(uintptr_t)at, bytes, PROT_READ | PROT_WRITE,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);
        if (address != MAP_FAILED) {
            return address;
        }
        at += step;
    }
    return NULL;
}

static uint8_t *reserve_region(uint64_t bytes, bool for_devices)
{
    uint8_t *address = for_devices ? reserve_low(bytes) : NULL;
    return address != NULL ? address : reserve_aligned(bytes);
}

/* A wish: another node is better than no memory. */
static void prefer_node(const struct region *region, void *address, uint64_t bytes)
{
    enum { PREFERRED = 1 }; /* MPOL_PREFERRED: <numaif.h> belongs to a library */
    if (region->numa_node >= 0 && region->numa_node < 64) {
        unsigned long mask = 1UL << region->numa_node;
        (void)syscall(SYS_mbind, address, bytes, PREFERRED, &mask, 65, 0);
    }
}

bool region_init(struct region *region, const struct region_options *options)
{
    *region = (struct region){.use_hugepages = options->use_hugepages,
                              .numa_node = options->numa_node,
                              .devices = options->devices};
    uint64_t bytes =
        options->bytes_max > options->bytes_min ? options->bytes_max : options->bytes_min;
    while ((region->base = reserve_region(bytes, options->devices != NULL)) == NULL &&
           bytes / 2 >= options->bytes_min) {
        bytes /= 2;
    }
    if (region->base == NULL) {
        return false;
    }
    region->chunk_count = (uint32_t)(bytes / REGION_CHUNK_BYTES);
    region->chunks = reserve(region->chunk_count * sizeof(struct chunk));
    region->states = reserve(region->chunk_count);
    for (uint32_t i = 0; i < REGION_BINS; i++) {
        region->bins[i] = REGION_NONE;
    }
    if (region->chunks == NULL || region->states == NULL) {
        region_deinit(region);
        return false;
    }
    (void)madvise(region->base, bytes, MADV_HUGEPAGE);
    prefer_node(region, region->base, bytes);
    return true;
}

void region_deinit(struct region *region)
{
    memory_unpoison(region->base, region->frontier * REGION_CHUNK_BYTES);
    munmap(region->base, region->chunk_count * REGION_CHUNK_BYTES);
    if (region->chunks != NULL) {
        munmap(region->chunks, region->chunk_count * sizeof(struct chunk));
    }
    if (region->states != NULL) {
        munmap(region->states, region->chunk_count);
    }
    *region = (struct region){0};
}

static bool map_chunk(uint8_t *address, int flags)
{
    return mmap(address, REGION_CHUNK_BYTES, PROT_READ | PROT_WRITE,
                MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | flags, -1, 0) != MAP_FAILED;
}

static void map_ordinary(const struct region *region, uint8_t *address)
{
    CHECK(map_chunk(address, MAP_NORESERVE));
    prefer_node(region, address, REGION_CHUNK_BYTES);
    (void)madvise(address, REGION_CHUNK_BYTES, MADV_HUGEPAGE);
}

/* False when no reserved hugepage is left. By then the failed call has unmapped what was there. */
static bool map_hugepage(const struct region *region, uint8_t *address)
{
    if (!map_chunk(address, MAP_HUGETLB | 21 << MAP_HUGE_SHIFT)) {
        map_ordinary(region, address);
        return false;
    }
    prefer_node(region, address, REGION_CHUNK_BYTES);
    return true;
}

static void populate(struct region *region, uint32_t number)
{
    uint8_t *address = region->base + number * REGION_CHUNK_BYTES;
    bool is_huge = region->use_hugepages && map_hugepage(region, address);
    /* Without MADV_POPULATE_WRITE (Linux < 5.14) the pages come when they are touched. */
    bool is_there = madvise(address, REGION_CHUNK_BYTES, MADV_POPULATE_WRITE) == 0;
    bool is_mapped =
        is_there && region->devices != NULL && region->devices->map(address, REGION_CHUNK_BYTES);
    region->chunks[number] =
        (struct chunk){.bin = BIN_NONE, .is_huge = is_huge, .is_mapped = is_mapped};
    __atomic_fetch_add(&region->huge_chunks, is_huge, __ATOMIC_RELAXED);
    __atomic_fetch_add(&region->mapped_chunks, is_mapped, __ATOMIC_RELAXED);
}

static void release_pages(struct region *region, uint32_t number)
{
    uint8_t *address = region->base + number * REGION_CHUNK_BYTES;
    bool is_huge = region->chunks[number].is_huge, is_mapped = region->chunks[number].is_mapped;
    memory_unpoison(address, REGION_CHUNK_BYTES);
    if (is_mapped) {
        region->devices->unmap(address, REGION_CHUNK_BYTES);
    }
    if (is_huge) {
        map_ordinary(region, address);
    } else {
        (void)madvise(address, REGION_CHUNK_BYTES, MADV_DONTNEED);
    }
    __atomic_fetch_sub(&region->huge_chunks, is_huge, __ATOMIC_RELAXED);
    __atomic_fetch_sub(&region->mapped_chunks, is_mapped, __ATOMIC_RELAXED);
}

void region_serve(struct region *region, uint32_t number)
{
    if (region->states[number] == CHUNK_PREPARING) {
        populate(region, number);
    } else {
        release_pages(region, number);
    }
}
