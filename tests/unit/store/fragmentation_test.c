/* Values that change their size: the memory that they leave is found again, without a restart. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "dataplane/base/hash.h"
#include "tests/unit/store/store_test.h"

#define KEYS     40000U
#define SMALL    100U
#define LARGE    1000U
#define MEBIBYTE (UINT64_C(1) << 20)

static uint8_t sizes_of[KEYS]; /* of each key's value, in units of SMALL */

static void fill(uint8_t *value, uint64_t number, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        value[i] = (uint8_t)(number * 131 + i * 7 + size);
    }
}

static void write_value(struct fixture *f, uint64_t number, size_t size)
{
    struct numbered_key key;
    uint8_t value[LARGE];
    fill(value, number, size);
    while (!put(f, 0, number_key(&key, number), slice_of(value, size), 0)) {
        /* As a connection does: it waits while something is about to be freed. */
        assert_true(shard_will_free(f->shard));
        f->now.mono_us += 100;
        shard_maintain(f->shard, &f->now);
    }
    sizes_of[number] = (uint8_t)(size / SMALL);
}

static void check_value(struct fixture *f, uint64_t number)
{
    struct numbered_key key;
    uint8_t value[LARGE];
    size_t size = sizes_of[number] * SMALL;
    const struct item *item = shard_find(f->shard, 0, number_key(&key, number), &f->now);
    if (size == 0) {
        assert_null(item);
        return;
    }
    assert_non_null(item);
    fill(value, number, size);
    assert_int_equal(item_stored_bytes(item), size);
    assert_memory_equal(item_value_bytes(item), value, size);
}

/* Every key once, in random order; `share` of them in per cent. */
static void rewrite(struct fixture *f, uint64_t *random, size_t size, uint32_t share)
{
    static uint32_t order[KEYS];
    for (uint32_t i = 0; i < KEYS; i++) {
        uint32_t other = (uint32_t)(random_next(random) % (i + 1));
        order[i] = order[other];
        order[other] = i;
    }
    for (uint32_t i = 0; i < KEYS; i++) {
        if (random_next(random) % 100 < share) {
            write_value(f, order[i], size);
        }
        if (i % 32 == 0) {
            f->now.mono_us += 100;
            shard_maintain(f->shard, &f->now);
        }
    }
}

/* As long as an idle worker would take, at most. */
static void come_to_rest(struct fixture *f)
{
    for (uint32_t i = 0; i < 3000; i++) {
        f->now.mono_us += 1000;
        shard_maintain(f->shard, &f->now);
    }
}

static void assert_dense(struct fixture *f, const char *when)
{
    come_to_rest(f);
    struct shard_memory memory = memory_of(f);
    double active = (double)memory.allocated_bytes / (double)memory.active_bytes;
    double resident = (double)memory.allocated_bytes / (double)memory.resident_bytes;
    print_message("# %s: %.1f MB allocated, of pages in use %.3f, of resident %.3f, moved %lu\n",
                  when, (double)memory.allocated_bytes / 1e6, active, resident,
                  (unsigned long)metric_read(&f->metrics, METRIC_STORE_MOVED_ITEMS));
    assert_true(active >= 0.85);
    assert_int_equal(f->shard->memory.evacuating_spans, 0);
    for (uint64_t i = 0; i < KEYS; i++) {
        check_value(f, i);
    }
}

static void run_workload(struct fixture *f)
{
    uint64_t random = 99;
    memset(sizes_of, 0, sizeof(sizes_of));
    rewrite(f, &random, SMALL, 100);
    assert_dense(f, "100-byte values");
    rewrite(f, &random, LARGE, 100);
    assert_dense(f, "replaced by 1000-byte values");
    rewrite(f, &random, SMALL, 100);
    assert_dense(f, "and back");
    rewrite(f, &random, LARGE, 30);
    assert_dense(f, "30 % of 1000 bytes");
    rewrite(f, &random, SMALL, 70);
    assert_dense(f, "70 % back");
    rewrite(f, &random, 500, 50);
    assert_dense(f, "half of 500 bytes");
    rewrite(f, &random, SMALL, 90);
    assert_dense(f, "90 % of 100 bytes");
}

static void sizes_change_without_a_limit(void **state)
{
    struct fixture *f = create_fixture(0, NULL);
    run_workload(f);
    destroy_fixture(f);
}

/* So tight that the pages of one size are needed for the other. */
static void sizes_change_within_maxmemory(void **state)
{
    struct fixture *f = create_fixture(54 * MEBIBYTE, NULL);
    run_workload(f);
    assert_true(memory_of(f).peak_bytes <= 54 * MEBIBYTE);
    assert_true(memory_of(f).resident_bytes <= 56 * MEBIBYTE);
    destroy_fixture(f);
}

/* Nine of ten keys go: the memory goes back to the machine, though what stays lay scattered. */
static void data_that_shrinks_gives_memory_back(void **state)
{
    struct fixture *f = create_fixture(0, NULL);
    uint64_t random = 5;
    memset(sizes_of, 0, sizeof(sizes_of));
    rewrite(f, &random, LARGE, 100);
    come_to_rest(f);
    uint64_t before = memory_of(f).resident_bytes;
    for (uint64_t i = 0; i < KEYS; i++) {
        if (random_next(&random) % 10 != 0) {
            struct numbered_key key;
            assert_true(shard_delete(f->shard, 0, number_key(&key, i), &f->now));
            sizes_of[i] = 0;
        }
    }
    assert_dense(f, "a tenth left");
    assert_true(before > 40 * MEBIBYTE);
    assert_true(memory_of(f).resident_bytes < 20 * MEBIBYTE);
    destroy_fixture(f);
}

/* The books by type, and of values that are apart. */
static void books_add_up(void **state)
{
    struct fixture *f = create_fixture(0, NULL);
    uint64_t random = 5;
    memset(sizes_of, 0, sizeof(sizes_of));
    rewrite(f, &random, SMALL, 50);
    struct key key = key_hashed(SLICE_LITERAL("large"));
    static const uint8_t large[100000];
    assert_true(put(f, 0, &key, slice_of(large, sizeof(large)), 0));
    rewrite(f, &random, LARGE, 20);
    come_to_rest(f);
    struct shard_memory memory = memory_of(f);
    assert_in_range(memory.blob_bytes, 100000, 110000);
    assert_int_equal(memory.retired_bytes, 0);
    assert_int_equal(memory.types[ITEM_STRING].count, shard_key_count(f->shard, 0));
    assert_true(memory.types[ITEM_STRING].bytes + memory.blob_bytes == memory.item_bytes);
    assert_true(memory.item_bytes + memory.index_bytes == memory.used_bytes);
    assert_true(memory.allocated_bytes + memory.hole_bytes == memory.active_bytes);
    shard_flush(f->shard, 0);
    come_to_rest(f);
    memory = memory_of(f);
    assert_int_equal(memory.types[ITEM_STRING].count, 0);
    assert_int_equal(memory.types[ITEM_STRING].bytes, 0);
    assert_int_equal(memory.blob_bytes, 0);
    assert_int_equal(memory.used_bytes, 0);
    destroy_fixture(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sizes_change_without_a_limit),
        cmocka_unit_test(sizes_change_within_maxmemory),
        cmocka_unit_test(data_that_shrinks_gives_memory_back),
        cmocka_unit_test(books_add_up),
    };
    return cmocka_run_group_tests_name("fragmentation", tests, setup_eal, NULL);
}
