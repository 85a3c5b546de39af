/* The allocator alone: blocks do not overlap, books are exact, pages come and go, limits hold. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/base/check.h"
#include "dataplane/base/hash.h"
#include "dataplane/store/memory_internal.h"
#include "dataplane/store/memory_poison.h"

#define MEBIBYTE (UINT64_C(1) << 20)
#define BLOCKS   4000U

struct block {
    uint8_t *data;
    size_t bytes;
    uint8_t mark;
};

struct world {
    struct memory memory;
    uint64_t random, allocated;
    struct block blocks[BLOCKS];
};

static struct world *create_world(uint64_t limit_bytes)
{
    struct world *world = calloc(1, sizeof(*world));
    struct memory_options options = {.limit_bytes = limit_bytes, .numa_node = -1};
    world->random = 42;
    assert_true(memory_init(&world->memory, &options));
    return world;
}

static void destroy_world(struct world *world)
{
    memory_deinit(&world->memory);
    free(world);
}

/* What the reclaimer does. */
static void serve_tasks(struct world *world)
{
    struct memory_task task;
    while (memory_next_task(&world->memory, &task)) {
        memory_serve(&task);
        memory_finish(&task);
    }
    memory_publish_figures(&world->memory);
}

static bool fill_block(struct world *world, struct block *block, size_t bytes)
{
    block->data = memory_allocate(&world->memory, bytes, MEMORY_LIMITED);
    if (block->data == NULL) {
        return false;
    }
    block->bytes = bytes;
    block->mark = (uint8_t)random_next(&world->random);
    memset(block->data, block->mark, bytes);
    world->allocated += memory_block_bytes(&world->memory, block->data);
    return true;
}

static void empty_block(struct world *world, struct block *block)
{
    for (size_t i = 0; i < block->bytes; i += 1 + block->bytes / 64) {
        assert_int_equal(block->data[i], block->mark);
    }
    assert_int_equal(block->data[block->bytes - 1], block->mark);
    world->allocated -= memory_block_bytes(&world->memory, block->data);
    memory_free(&world->memory, block->data);
    block->data = NULL;
}

static void empty_all(struct world *world)
{
    for (uint32_t i = 0; i < BLOCKS; i++) {
        if (world->blocks[i].data != NULL) {
            empty_block(world, &world->blocks[i]);
        }
    }
}

static void rounding_stays_within_its_steps(void **state)
{
    struct world *world = create_world(0);
    size_t before = 0;
    for (size_t bytes = 1; bytes <= 300000; bytes += bytes < 20000 ? 1 : 997) {
        void *block = memory_allocate(&world->memory, bytes, MEMORY_LIMITED);
        size_t given = memory_block_bytes(&world->memory, block);
        assert_true(given >= bytes && given >= before);
        assert_int_equal((uintptr_t)block % 8, 0);
        if (bytes > 8 && bytes <= 512) {
            assert_true(given < bytes + 8);
        } else if (bytes > 512 && bytes <= MEMORY_SMALL_BYTES_MAX) {
            assert_true(given <= bytes + bytes / 16);
        } else if (bytes > MEMORY_SMALL_BYTES_MAX) {
            assert_true(given < bytes + REGION_UNIT_BYTES);
        }
        before = given;
        memory_free(&world->memory, block);
    }
    assert_int_equal(world->memory.item_bytes, 0);
    assert_int_equal(world->memory.region.used_units, 0);
    destroy_world(world);
}

static size_t random_bytes(struct world *world)
{
    uint64_t choice = random_next(&world->random);
    switch (choice >> 60) {
    case 0: return choice % (3 * MEBIBYTE) + 1;
    case 1: return choice % 100000 + 1;
    case 2:
    case 3: return choice % 20000 + 1;
    default: return choice % 600 + 1;
    }
}

static void blocks_never_overlap_and_books_are_exact(void **state)
{
    struct world *world = create_world(0);
    for (uint32_t step = 0; step < 60000; step++) {
        struct block *block = &world->blocks[random_next(&world->random) % BLOCKS];
        if (block->data != NULL) {
            empty_block(world, block);
        } else {
            assert_true(fill_block(world, block, random_bytes(world)));
        }
        assert_true(world->memory.item_bytes == world->allocated);
        if (step % 1000 == 0) {
            serve_tasks(world);
            assert_true(world->memory.active_bytes >= world->allocated);
            assert_true(world->memory.resident_bytes >= world->memory.active_bytes);
        }
    }
    empty_all(world);
    assert_int_equal(world->memory.item_bytes, 0);
    assert_int_equal(world->memory.span_bytes, 0);
    assert_int_equal(world->memory.region.used_units, 0);
    serve_tasks(world);
    assert_true(world->memory.resident_bytes <= 16 * REGION_CHUNK_BYTES);
    destroy_world(world);
}

static void the_limit_bounds_pages_too(void **state)
{
    const uint64_t limit = 24 * MEBIBYTE;
    struct world *world = create_world(limit);
    /* Most of it is there from the start. */
    assert_in_range(world->memory.resident_bytes, 20 * MEBIBYTE, limit);
    uint32_t refused = 0;
    for (uint32_t step = 0; step < 100000; step++) {
        struct block *block = &world->blocks[random_next(&world->random) % BLOCKS];
        if (block->data != NULL) {
            empty_block(world, block);
        } else {
            refused += !fill_block(world, block, random_next(&world->random) % 30000 + 1);
        }
        assert_true(memory_used_bytes(&world->memory) <= limit);
        assert_true(world->memory.region.used_units * (uint64_t)REGION_UNIT_BYTES <= limit);
        if (step % 100 == 0) {
            serve_tasks(world);
            assert_true(world->memory.resident_bytes <= limit + REGION_CHUNK_BYTES);
        }
    }
    assert_true(refused > 1000);
    assert_true(world->memory.peak_bytes > limit - limit / 8);
    /* What the index takes is not there for items. */
    empty_all(world);
    assert_true(memory_reserve_index(&world->memory, 16 * MEBIBYTE, MEMORY_LIMITED));
    assert_false(memory_reserve_index(&world->memory, 16 * MEBIBYTE, MEMORY_LIMITED));
    assert_null(memory_allocate(&world->memory, 9 * MEBIBYTE, MEMORY_LIMITED));
    serve_tasks(world);
    assert_true(world->memory.resident_bytes <= limit - 16 * MEBIBYTE + REGION_CHUNK_BYTES);
    memory_release_index(&world->memory, 16 * MEBIBYTE);
    destroy_world(world);
}

static void the_limit_changes_live(void **state)
{
    struct world *world = create_world(16 * MEBIBYTE);
    uint32_t filled = 0;
    while (fill_block(world, &world->blocks[filled], 30000)) {
        filled++;
    }
    assert_in_range(filled, 400, 560);
    /* Somebody who wanted a large block and went away must not be in the way. */
    assert_null(memory_allocate(&world->memory, 5 * MEBIBYTE, MEMORY_LIMITED));
    memory_set_limit(&world->memory, 64 * MEBIBYTE);
    serve_tasks(world);
    assert_true(world->memory.resident_bytes >= 50 * MEBIBYTE);
    while (filled < 1500) {
        assert_true(fill_block(world, &world->blocks[filled++], 30000));
    }
    memory_set_limit(&world->memory, 8 * MEBIBYTE);
    assert_null(memory_allocate(&world->memory, 100, MEMORY_LIMITED));
    while (filled > 100) {
        empty_block(world, &world->blocks[--filled]);
    }
    serve_tasks(world);
    assert_true(world->memory.resident_bytes <= 8 * MEBIBYTE + REGION_CHUNK_BYTES);
    assert_true(fill_block(world, &world->blocks[filled++], 100));
    empty_all(world);
    destroy_world(world);
}

/* Free chunks that do not lie together become one large block by way of the machine. */
static void large_blocks_find_room_among_scattered_chunks(void **state)
{
    struct world *world = create_world(64 * MEBIBYTE);
    for (uint32_t i = 0; i < 30; i++) {
        assert_true(fill_block(world, &world->blocks[i], REGION_CHUNK_BYTES));
    }
    for (uint32_t i = 0; i < 30; i += 2) {
        empty_block(world, &world->blocks[i]);
    }
    bool found = fill_block(world, &world->blocks[0], 20 * MEBIBYTE);
    for (uint32_t i = 0; i < 10 && !found; i++) {
        serve_tasks(world);
        found = fill_block(world, &world->blocks[0], 20 * MEBIBYTE);
    }
    assert_true(found);
    serve_tasks(world);
    assert_true(world->memory.resident_bytes <= 64 * MEBIBYTE);
    empty_all(world);
    assert_int_equal(world->memory.region.used_units, 0);
    destroy_world(world);
}

static void pages_go_from_class_to_class(void **state)
{
    struct world *world = create_world(32 * MEBIBYTE);
    for (uint32_t round = 0; round < 20; round++) {
        size_t bytes = 600 + 450 * (size_t)round;
        uint32_t count = (uint32_t)(28 * MEBIBYTE / bytes * 15 / 16);
        uint8_t **blocks = calloc(count, sizeof(*blocks));
        for (uint32_t i = 0; i < count; i++) {
            blocks[i] = memory_allocate(&world->memory, bytes, MEMORY_LIMITED);
            assert_non_null(blocks[i]);
        }
        for (uint32_t i = 0; i < count; i++) {
            memory_free(&world->memory, blocks[(i * 7919ULL) % count]);
            blocks[(i * 7919ULL) % count] = NULL;
        }
        for (uint32_t i = 0; i < count; i++) {
            if (blocks[i] != NULL) {
                memory_free(&world->memory, blocks[i]);
            }
        }
        free(blocks);
    }
    assert_int_equal(world->memory.item_bytes, 0);
    assert_int_equal(world->memory.span_bytes, 0);
    destroy_world(world);
}

/* Around the limits at which the books of one more chunk cost the last chunk its place: a chunk
 * that is put there must not be one too many, else it comes and goes without end. */
static void no_limit_makes_chunks_come_and_go(void **state)
{
    struct world *world = create_world(0);
    for (uint64_t limit = 3 * REGION_CHUNK_BYTES; limit < 3 * REGION_CHUNK_BYTES + 65536;
         limit += 512) {
        struct memory_task task;
        uint32_t tasks = 0;
        memory_set_limit(&world->memory, limit);
        while (memory_next_task(&world->memory, &task)) {
            memory_serve(&task);
            memory_finish(&task);
            assert_true(++tasks <= 8);
        }
        assert_false(memory_is_oversized(&world->memory));
        uint32_t filled = 0;
        while (filled < BLOCKS && fill_block(world, &world->blocks[filled], 30000)) {
            filled++;
        }
        assert_true(filled * 32768ULL > limit / 16 * 15); /* the last chunk, too */
        assert_false(memory_is_oversized(&world->memory));
        empty_all(world);
    }
    destroy_world(world);
}

/* Of a few chunks only: on a machine that has reserved hugepages others want them, too. */
static void hugepages_are_taken_while_there_are_some(void **state)
{
    struct world *world = calloc(1, sizeof(*world));
    struct memory_options options = {.limit_bytes = 6 * MEBIBYTE, .use_hugepages = true};
    assert_true(memory_init(&world->memory, &options));
    for (uint32_t round = 0; round < 3; round++) {
        memory_set_limit(&world->memory, (6 + 4 * (uint64_t)round % 8) * MEBIBYTE);
        serve_tasks(world);
        assert_in_range(memory_huge_bytes(&world->memory), 0, world->memory.resident_bytes);
        uint32_t filled = 0;
        while (fill_block(world, &world->blocks[filled], 30000)) {
            filled++;
        }
        assert_in_range(filled, 150, 400);
        empty_all(world);
    }
    memory_set_limit(&world->memory, 1);
    serve_tasks(world);
    assert_true(memory_huge_bytes(&world->memory) <= REGION_CHUNK_BYTES);
    destroy_world(world);
}

/* ---- devices that read where values lie ------------------------------------------------------ */

#define CHUNKS_MAPPED_MAX 64U

/* What a device's IOMMU knows. */
static struct {
    const uint8_t *chunks[CHUNKS_MAPPED_MAX];
    uint32_t count, refuse_every, asked;
} iommu;

static uint32_t find_mapping(const uint8_t *chunk)
{
    uint32_t i = 0;
    while (i < iommu.count && iommu.chunks[i] != chunk) {
        i++;
    }
    return i;
}

static bool map_for_device(void *address, uint64_t bytes)
{
    assert_int_equal(bytes, REGION_CHUNK_BYTES);
    assert_int_equal(find_mapping(address), iommu.count);
    iommu.asked++;
    if (iommu.refuse_every != 0 && iommu.asked % iommu.refuse_every == 0) {
        return false;
    }
    assert_true(iommu.count < CHUNKS_MAPPED_MAX);
    iommu.chunks[iommu.count++] = address;
    return true;
}

static void unmap_for_device(void *address, uint64_t bytes)
{
    assert_int_equal(bytes, REGION_CHUNK_BYTES);
    uint32_t at = find_mapping(address);
    assert_true(at < iommu.count);
    iommu.chunks[at] = iommu.chunks[--iommu.count];
}

/* By the IOMMU's word, each chunk of a block. */
static bool device_reaches(const uint8_t *block, size_t bytes)
{
    bool reached = true;
    uint64_t first = (uintptr_t)block / REGION_CHUNK_BYTES * REGION_CHUNK_BYTES;
    for (uint64_t at = first; at < (uintptr_t)block + bytes; at += REGION_CHUNK_BYTES) {
        const uint8_t *chunk = block - ((uintptr_t)block - at);
        reached = reached && find_mapping(chunk) < iommu.count;
    }
    return reached;
}

static struct world *create_world_with_device(uint64_t limit_bytes, uint32_t refuse_every)
{
    static const struct region_devices devices = {map_for_device, unmap_for_device};
    struct world *world = calloc(1, sizeof(*world));
    struct memory_options options = {
        .limit_bytes = limit_bytes, .numa_node = -1, .devices = &devices};
    memset(&iommu, 0, sizeof(iommu));
    iommu.refuse_every = refuse_every;
    world->random = 42;
    assert_true(memory_init(&world->memory, &options));
    return world;
}

static void devices_know_the_memory_that_is_there(void **state)
{
    struct world *world = create_world_with_device(32 * MEBIBYTE, 0);
    assert_in_range(iommu.count, 8, 17);
    assert_int_equal(memory_mapped_bytes(&world->memory), iommu.count * REGION_CHUNK_BYTES);
#if !MEMORY_CHECKING && !defined(__SANITIZE_THREAD__)
    assert_true((uintptr_t)world->memory.region.base < UINT64_C(1) << 39);
#endif
    for (uint32_t i = 0; i < 20; i++) {
        struct block *block = &world->blocks[i];
        assert_true(fill_block(world, block, i % 5 == 0 ? 3 * MEBIBYTE : 20000 + i * 50000));
        assert_true(memory_is_mapped(&world->memory, block->data));
        assert_true(device_reaches(block->data, block->bytes));
    }
    empty_all(world);
    destroy_world(world);
}

/* A frame in a device's queue holds the value that it shows. */
static void held_blocks_stay_known_when_memory_goes(void **state)
{
    struct world *world = create_world_with_device(32 * MEBIBYTE, 0);
    struct block *held = &world->blocks[0], *large = &world->blocks[1];
    assert_true(fill_block(world, held, 20000) && fill_block(world, large, 5 * MEBIBYTE));
    for (uint32_t i = 2; i < 200; i++) {
        assert_true(fill_block(world, &world->blocks[i], 100000));
    }
    for (uint32_t i = 2; i < 200; i++) {
        empty_block(world, &world->blocks[i]);
    }
    uint32_t before = iommu.count;
    memory_set_limit(&world->memory, 1);
    serve_tasks(world);
    assert_true(iommu.count < before / 2);
    assert_true(device_reaches(held->data, held->bytes) &&
                device_reaches(large->data, large->bytes));
    empty_all(world);
    serve_tasks(world);
    assert_in_range(iommu.count, 0, 1);
    memory_set_limit(&world->memory, 32 * MEBIBYTE);
    assert_true(fill_block(world, held, 20 * MEBIBYTE)); /* more than is prepared by now */
    assert_false(memory_is_mapped(&world->memory, held->data));
    empty_all(world);
    serve_tasks(world);
    assert_int_equal(memory_mapped_bytes(&world->memory), iommu.count * REGION_CHUNK_BYTES);
    destroy_world(world);
}

static void what_cannot_be_mapped_is_not_for_devices(void **state)
{
    struct world *world = create_world_with_device(32 * MEBIBYTE, 3);
    uint32_t reached = 0, count = 0;
    assert_true(iommu.count < iommu.asked);
    while (count < BLOCKS && fill_block(world, &world->blocks[count], 700000)) {
        const struct block *block = &world->blocks[count++];
        assert_int_equal(memory_is_mapped(&world->memory, block->data),
                         device_reaches(block->data, block->bytes));
        reached += memory_is_mapped(&world->memory, block->data);
    }
    assert_true(reached > 0 && reached < count);
    empty_all(world);
    assert_true(fill_block(world, &world->blocks[0], 12 * MEBIBYTE)); /* among them one of three */
    assert_false(memory_is_mapped(&world->memory, world->blocks[0].data));
    empty_all(world);
    memory_set_limit(&world->memory, 1);
    serve_tasks(world);
    destroy_world(world);
}

/* ---- moving blocks together ------------------------------------------------------------------ */

struct move {
    struct world *world;
    uint32_t moved;
};

static bool move_block(void *argument, void *data)
{
    struct move *move = argument;
    uint32_t number;
    memcpy(&number, data, sizeof(number));
    struct block *block = &move->world->blocks[number];
    assert_ptr_equal(block->data, data);
    block->data = memory_allocate(&move->world->memory, block->bytes, MEMORY_LIMITED);
    memcpy(block->data, data, block->bytes);
    memory_free(&move->world->memory, data);
    move->moved++;
    return true;
}

static void fill_numbered(struct world *world, size_t bytes)
{
    for (uint32_t i = 0; i < BLOCKS; i++) {
        struct block *block = &world->blocks[i];
        block->data = memory_allocate(&world->memory, bytes, MEMORY_LIMITED);
        block->bytes = bytes;
        memcpy(block->data, &i, sizeof(i));
    }
}

static void spans_become_empty_by_moving(void **state)
{
    struct world *world = create_world(0);
    fill_numbered(world, 1000);
    uint64_t before = world->memory.span_bytes;
    for (uint32_t i = 0; i < BLOCKS; i++) {
        if (i % 3 != 0) {
            memory_free(&world->memory, world->blocks[i].data);
            world->blocks[i].data = NULL;
        }
    }
    assert_true(world->memory.span_bytes > before - before / 8);
    struct move move = {.world = world};
    for (uint32_t span; (span = memory_choose_victim(&world->memory)) != REGION_NONE;) {
        struct span_visit look = {0};
        assert_true(memory_is_evacuating(&world->memory, span));
        while (!memory_visit_blocks(&world->memory, span, &look, move_block, &move)) {
        }
        assert_false(memory_is_evacuating(&world->memory, span));
    }
    assert_in_range(move.moved, 100, BLOCKS);
    assert_true(world->memory.item_bytes * 100 >= world->memory.span_bytes * 85);
    assert_int_equal(world->memory.evacuating_spans, 0);
    for (uint32_t i = 0; i < BLOCKS; i += 3) {
        uint32_t number;
        memcpy(&number, world->blocks[i].data, sizeof(number));
        assert_int_equal(number, i);
        memory_free(&world->memory, world->blocks[i].data);
    }
    assert_int_equal(world->memory.span_bytes, 0);
    destroy_world(world);
}

static void a_span_can_be_taken_back(void **state)
{
    struct world *world = create_world(0);
    fill_numbered(world, 500);
    for (uint32_t i = 0; i < BLOCKS; i++) {
        if (i % 4 != 0) {
            memory_free(&world->memory, world->blocks[i].data);
            world->blocks[i].data = NULL;
        }
    }
    uint32_t span = memory_choose_victim(&world->memory);
    assert_true(span != REGION_NONE);
    memory_give_up(&world->memory, span);
    assert_false(memory_is_evacuating(&world->memory, span));
    assert_int_equal(world->memory.evacuating_bytes, 0);
    for (uint32_t i = 0; i < BLOCKS; i += 4) {
        memory_free(&world->memory, world->blocks[i].data);
    }
    assert_int_equal(world->memory.span_bytes, 0);
    destroy_world(world);
}

/* ---- recycled blocks ---------------------------------------------------------------------------
 */

static void *take(struct world *world, size_t bytes, size_t *given)
{
    void *data = memory_allocate_block(&world->memory, bytes, MEMORY_LIMITED, given);
    assert_non_null(data);
    assert_int_equal(*given, memory_block_bytes(&world->memory, data));
    return data;
}

static void what_was_freed_last_is_taken_first(void **state)
{
    struct world *world = create_world(0);
    size_t given, other;
    void *first = take(world, 100, &given), *second = take(world, 101, &given);
    assert_int_equal(given, memory_rounded_bytes(100));
    memory_recycle(&world->memory, first, given);
    memory_recycle(&world->memory, second, given);
    assert_int_equal(world->memory.item_bytes, 0);
    assert_true(world->memory.span_bytes > 0);
    void *larger = take(world, 200, &other);
    assert_true(larger != first && larger != second);
    assert_ptr_equal(take(world, 100, &given), second);
    assert_ptr_equal(take(world, 100, &given), first);
    assert_int_equal(world->memory.item_bytes, 2 * given + other);
    memory_recycle(&world->memory, first, given);
    memory_recycle(&world->memory, second, given);
    memory_recycle(&world->memory, larger, other);
    assert_false(memory_drain(&world->memory, 2));
    assert_true(memory_drain(&world->memory, 2));
    assert_int_equal(world->memory.span_bytes, 0);
    destroy_world(world);
}

/* Fills a world with blocks of one size, gives them all back in one way or the other, and returns
 * how many of a larger size are to be had then. */
static uint32_t count_after_freeing(bool recycles)
{
    struct world *world = create_world(4 * MEBIBYTE);
    uint32_t count = 0, large = 0;
    for (; count < BLOCKS && fill_block(world, &world->blocks[count], 1500); count++) {
    }
    assert_in_range(count, 1000, BLOCKS - 1);
    for (uint32_t i = 0; i < count; i++) {
        if (recycles) {
            memory_recycle(&world->memory, world->blocks[i].data,
                           memory_block_bytes(&world->memory, world->blocks[i].data));
        } else {
            memory_free(&world->memory, world->blocks[i].data);
        }
    }
    assert_int_equal(world->memory.item_bytes, 0);
    assert_int_equal(world->memory.recent_blocks > 0, recycles);
    assert_in_range(world->memory.recent_bytes, 0, MEMORY_RECENT_BYTES_MAX);
    for (; large < count && fill_block(world, &world->blocks[large], 30000); large++) {
    }
    assert_int_equal(world->memory.recent_blocks, 0);
    for (uint32_t i = 0; i < large; i++) {
        empty_block(world, &world->blocks[i]);
    }
    assert_int_equal(world->memory.span_bytes, 0);
    destroy_world(world);
    return large;
}

static void recycled_blocks_keep_no_pages_from_others(void **state)
{
    assert_int_equal(count_after_freeing(true), count_after_freeing(false));
}

/* Many small ones are as bounded as a few large ones. */
static void so_many_wait_at_most(void **state)
{
    struct world *world = create_world(0);
    size_t given;
    for (uint32_t i = 0; i < BLOCKS; i++) {
        world->blocks[i].data = take(world, 16, &given);
    }
    for (uint32_t i = 0; i < BLOCKS; i++) {
        memory_recycle(&world->memory, world->blocks[i].data, given);
    }
    assert_int_equal(world->memory.recent_blocks, MEMORY_RECENT_BLOCKS_MAX);
    void *huge = take(world, 100000, &given);
    memory_recycle(&world->memory, huge, given);
    assert_int_equal(world->memory.recent_blocks, MEMORY_RECENT_BLOCKS_MAX);
    assert_true(memory_drain(&world->memory, MEMORY_RECENT_BLOCKS_MAX));
    assert_int_equal(world->memory.span_bytes, 0);
    destroy_world(world);
}

/* A block of a span that is being emptied goes home, and so do those that waited before. */
static void emptied_spans_get_their_blocks_back(void **state)
{
    struct world *world = create_world(0);
    fill_numbered(world, 1000);
    size_t given = memory_block_bytes(&world->memory, world->blocks[0].data);
    for (uint32_t i = 0; i < BLOCKS; i++) {
        if (i % 3 != 0) {
            memory_recycle(&world->memory, world->blocks[i].data, given);
            world->blocks[i].data = NULL;
        }
    }
    assert_true(world->memory.recent_blocks > 0);
    uint32_t span = memory_choose_victim(&world->memory);
    assert_true(span != REGION_NONE);
    assert_int_equal(world->memory.recent_blocks, 0);
    for (uint32_t i = 0; i < BLOCKS; i += 3) {
        memory_recycle(&world->memory, world->blocks[i].data, given);
        bool others = world->memory.evacuating_spans > 0;
        assert_true(!others || world->memory.recent_blocks == 0);
    }
    assert_false(memory_is_evacuating(&world->memory, span));
    (void)memory_drain(&world->memory, MEMORY_RECENT_BLOCKS_MAX);
    assert_int_equal(world->memory.span_bytes, 0);
    destroy_world(world);
}

#if MEMORY_CHECKING
/* What is freed is not what it was, and a touch is reported. */
static void freed_memory_is_unusable(void **state)
{
    struct world *world = create_world(0);
    uint8_t *small = memory_allocate(&world->memory, 100, MEMORY_LIMITED);
    uint8_t *other = memory_allocate(&world->memory, 100, MEMORY_LIMITED);
    uint8_t *large = memory_allocate(&world->memory, 100000, MEMORY_LIMITED);
    memset(small, 1, 100);
    memset(large, 1, 100000);
    memory_free(&world->memory, small);
    memory_free(&world->memory, large);
#ifdef memory_is_poisoned
    assert_true(memory_is_poisoned(small) && memory_is_poisoned(small + 99));
    assert_true(memory_is_poisoned(large) && memory_is_poisoned(large + 99999));
    assert_false(memory_is_poisoned(other));
#else
    assert_int_equal(small[2], MEMORY_PATTERN);
    assert_int_equal(small[99], MEMORY_PATTERN);
    assert_int_equal(large[99999], MEMORY_PATTERN);
#endif
    memory_recycle(&world->memory, other, memory_rounded_bytes(100));
#ifdef memory_is_poisoned
    assert_true(memory_is_poisoned(other) && memory_is_poisoned(other + 99));
#else
    assert_int_equal(other[sizeof(struct recent_block)], MEMORY_PATTERN);
    assert_int_equal(other[99], MEMORY_PATTERN);
#endif
    assert_ptr_equal(memory_allocate(&world->memory, 100, MEMORY_LIMITED), other);
    memset(other, 1, 100);
    memory_free(&world->memory, other);
    destroy_world(world);
}
#endif

/* ---- parts of an index ------------------------------------------------------------------------
 */

static void parts_of_an_index_have_spans_of_their_own(void **state)
{
    struct world *world = create_world(4 * MEBIBYTE);
    struct memory *memory = &world->memory;
    static uint8_t *parts[5000];
    uint8_t *item = memory_allocate(memory, 512, MEMORY_LIMITED);
    uint32_t count = 0;
    uint64_t bytes = 0;
    for (;; count++) {
        size_t size = MEMORY_INDEX_STEP * (1 + count % MEMORY_INDEX_CLASSES);
        parts[count] = memory_allocate_index(memory, size, MEMORY_LIMITED);
        if (parts[count] == NULL) {
            break;
        }
        size_t given = memory_block_bytes(memory, parts[count]);
        bytes += given;
        assert_int_equal((uintptr_t)parts[count] % 64, 0);
        assert_true(given == size || (given > size && memory->short_of_pages));
        assert_int_equal(memory->index_bytes, bytes);
        memset(parts[count], 1, size);
        assert_true(memory_used_bytes(memory) <= 4 * MEBIBYTE);
    }
    assert_true(bytes > 3 * MEBIBYTE);
    assert_int_equal(memory->item_bytes, 512);
    uint8_t *more = memory_allocate_index(memory, 2048, MEMORY_UNLIMITED);
    assert_non_null(more);
    memory_free(memory, more);
    /* One of ten stays: spans become worth emptying, and only those of the index are. */
    for (uint32_t i = 0; i < count; i++) {
        if (i % 10 != 0) {
            memory_free(memory, parts[i]);
        }
    }
    uint32_t leaving = 0;
    for (uint32_t span; (span = memory_choose_victim(memory)) != REGION_NONE;) {
        assert_true(memory_is_index_span(memory, span));
    }
    for (uint32_t i = 0; i < count; i += 10) {
        leaving += memory_is_leaving(memory, parts[i]);
        memory_free(memory, parts[i]);
    }
    assert_true(leaving > 0 && !memory_is_leaving(memory, item));
    memory_free(memory, item);
    assert_int_equal(memory_used_bytes(memory), 0);
    assert_int_equal(memory_hole_bytes(memory), 0);
    destroy_world(world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rounding_stays_within_its_steps),
        cmocka_unit_test(blocks_never_overlap_and_books_are_exact),
        cmocka_unit_test(the_limit_bounds_pages_too),
        cmocka_unit_test(the_limit_changes_live),
        cmocka_unit_test(large_blocks_find_room_among_scattered_chunks),
        cmocka_unit_test(no_limit_makes_chunks_come_and_go),
        cmocka_unit_test(hugepages_are_taken_while_there_are_some),
        cmocka_unit_test(devices_know_the_memory_that_is_there),
        cmocka_unit_test(held_blocks_stay_known_when_memory_goes),
        cmocka_unit_test(what_cannot_be_mapped_is_not_for_devices),
        cmocka_unit_test(pages_go_from_class_to_class),
        cmocka_unit_test(spans_become_empty_by_moving),
        cmocka_unit_test(a_span_can_be_taken_back),
        cmocka_unit_test(what_was_freed_last_is_taken_first),
        cmocka_unit_test(recycled_blocks_keep_no_pages_from_others),
        cmocka_unit_test(so_many_wait_at_most),
        cmocka_unit_test(emptied_spans_get_their_blocks_back),
#if MEMORY_CHECKING
        cmocka_unit_test(freed_memory_is_unusable),
#endif
        cmocka_unit_test(parts_of_an_index_have_spans_of_their_own),
    };
    return cmocka_run_group_tests_name("memory", tests, NULL, NULL);
}
