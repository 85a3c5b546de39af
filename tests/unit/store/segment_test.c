/* Segments: what is assumed of rte_hash's memory, what one costs, where positions lead to. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <rte_malloc.h>

#include "dataplane/base/hash.h"
#include "dataplane/store/segment.h"
#include "tests/unit/store/store_test.h"

static uint64_t hash_of(uint64_t number)
{
    uint64_t state = number;
    return random_next(&state);
}

static struct item *pointer_of(uint64_t number)
{
    return (struct item *)(uintptr_t)((number + 1) * 16);
}

/* What rte_hash's look-ups of data return is the word before the key, whoever wrote it. */
static void the_data_word_lies_before_the_key(void **state)
{
    struct segment *segment = segment_create(3000);
    assert_non_null(segment);
    for (uint64_t i = 0; i < 3000; i++) {
        int32_t position = segment_add(segment, hash_of(i), pointer_of(i));
        assert_true(position >= 0);
        assert_int_equal(segment_hash_at(segment, (uint32_t)position), hash_of(i));
    }
    for (uint64_t i = 0; i < 3000; i += 3) {
        uint64_t hash = hash_of(i);
        (void)RCU_EXCHANGE(&segment->slots[segment_find(segment, &hash)].item, pointer_of(i + 1));
    }
    for (uint64_t i = 0; i < 3000; i++) {
        uint64_t hash = hash_of(i), hits = 0;
        const void *key = &hash;
        uint32_t signature = (uint32_t)hash;
        void *single = NULL, *bulk[1] = {NULL};
        int32_t position = rte_hash_lookup_with_hash_data(segment->hash, &hash, signature, &single);
        rte_hash_lookup_with_hash_bulk_data(segment->hash, &key, &signature, 1, &hits, bulk);
        struct item *expected = pointer_of(i % 3 == 0 ? i + 1 : i);
        assert_ptr_equal(single, expected);
        assert_ptr_equal(bulk[0], expected);
        assert_ptr_equal(segment_item(segment, (uint32_t)position), expected);
    }
    segment_destroy(segment);
}

static void assert_found_alike(const struct segment *segment, uint64_t number, bool is_there)
{
    uint64_t hash = hash_of(number);
    int32_t position = segment_find(segment, &hash), own = segment_find_own(segment, hash);
    assert_int_equal(position >= 0, is_there);
    assert_int_equal(own, is_there ? position : -1);
}

/* The owner finds what rte_hash finds; without buckets he asks it. */
static void the_owner_finds_what_rte_hash_finds(void **state)
{
    enum { ENTRIES = 5000 };
    struct segment *segment = segment_create(ENTRIES);
    assert_non_null(segment);
    for (uint64_t i = 0; i < ENTRIES; i++) {
        assert_int_equal(segment_find_own(segment, hash_of(i)), -1);
        assert_true(segment_add(segment, hash_of(i), pointer_of(i)) >= 0);
        assert_found_alike(segment, i, true);
    }
    for (uint64_t i = 0; i < ENTRIES; i += 3) {
        uint32_t position = (uint32_t)segment_find_own(segment, hash_of(i));
        segment_remove(segment, hash_of(i), position);
        segment_free_position(segment, position);
    }
    for (uint64_t i = 0; i < 2ULL * ENTRIES; i++) {
        assert_found_alike(segment, i, i < ENTRIES && i % 3 != 0);
    }
    segment->buckets = NULL;
    assert_int_equal(segment_find_own(segment, hash_of(1)) >= 0, true);
    assert_true(segment_find_own(segment, hash_of(0)) < 0);
    segment_destroy(segment);
}

/* In the DPDK that we are built with, buckets are recognised, and all entries are found in them. */
static void the_buckets_are_recognised(void **state)
{
    const uint32_t sizes[] = {900, 1843, 5000, 100000};
    for (unsigned n = 0; n < 4; n++) {
        struct segment *segment = segment_create(sizes[n]);
        assert_non_null(segment);
        assert_non_null(segment->buckets);
        uint32_t found = 0;
        for (uint64_t i = 0; i < sizes[n]; i++) {
            int32_t position = segment_add(segment, hash_of(i), pointer_of(i));
            assert_true(position >= 0); /* to the last position: no size is too full for it */
        }
        for (uint64_t i = 0; i < sizes[n]; i++) {
            uint64_t hash = hash_of(i);
            uint32_t number = (uint32_t)segment_find(segment, &hash) + 1;
            const struct bucket *first = segment_bucket(segment, hash);
            const struct bucket *second = segment_other_bucket(segment, hash);
            for (uint32_t entry = 0; entry < 8; entry++) {
                found += first->slot_numbers[entry] == number ||
                         (second != first && second->slot_numbers[entry] == number);
            }
        }
        assert_int_equal(found, sizes[n]);
        segment_destroy(segment);
    }
}

static uint64_t heap_bytes(void)
{
    uint64_t bytes = 0;
    for (int socket = 0; socket < RTE_MAX_NUMA_NODES; socket++) {
        struct rte_malloc_socket_stats stats;
        if (rte_malloc_get_socket_stats(socket, &stats) == 0) {
            bytes += stats.heap_allocsz_bytes;
        }
    }
    return bytes;
}

static void what_a_segment_costs_is_known_exactly(void **state)
{
    const uint32_t sizes[] = {900,   921,   1023,  1024,   1161,  7000,
                              30000, 65535, 65536, 118000, 943718};
    for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        uint64_t before = heap_bytes();
        struct segment *segment = segment_create(sizes[i]);
        assert_non_null(segment);
        assert_int_equal(heap_bytes() - before + sizeof(*segment), segment_bytes(sizes[i]));
        segment_touch(segment);
        segment_destroy(segment);
        assert_int_equal(heap_bytes(), before);
    }
}

/* Positions ascend until each has been used once: walks over a replaced segment depend on it. */
static void positions_ascend(void **state)
{
    struct segment *segment = segment_create(1000);
    for (uint32_t i = 0; i < 999; i++) {
        uint64_t hash = hash_of(i);
        assert_int_equal(segment_add(segment, hash, pointer_of(i)), i + 1);
        assert_int_equal(segment_end(segment), i + 2);
        if (i % 2 == 0) {
            segment_remove(segment, hash, i + 1);
            segment_free_position(segment, i + 1);
        }
    }
    segment_destroy(segment);
}

static void a_trail_leads_no_further_than_needed(void **state)
{
    struct trail trail;
    for (uint32_t part = 0; part <= TRAIL_PARTS; part++) {
        trail.bounds[part] = part * 10;
    }
    assert_int_equal(trail_follow(&trail, 3200, 0), 0);
    assert_int_equal(trail_follow(&trail, 3200, 1), 10);
    assert_int_equal(trail_follow(&trail, 3200, 100), 10);
    assert_int_equal(trail_follow(&trail, 3200, 101), 20);
    assert_int_equal(trail_follow(&trail, 3200, 3200), 320);
    assert_int_equal(trail_follow(&trail, 3200, 4000000), 320);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_data_word_lies_before_the_key),
        cmocka_unit_test(the_buckets_are_recognised),
        cmocka_unit_test(the_owner_finds_what_rte_hash_finds),
        cmocka_unit_test(what_a_segment_costs_is_known_exactly),
        cmocka_unit_test(positions_ascend),
        cmocka_unit_test(a_trail_leads_no_further_than_needed),
    };
    return cmocka_run_group_tests_name("segment", tests, setup_eal, NULL);
}
