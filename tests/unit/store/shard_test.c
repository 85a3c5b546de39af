/* The shard's contract, small: look-up, overwriting, collisions, expiry, SCAN, flush, a model. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "dataplane/base/hash.h"
#include "tests/unit/store/store_test.h"

static int setup(void **state)
{
    *state = create_fixture(0, NULL);
    return 0;
}

static int teardown(void **state)
{
    destroy_fixture(*state);
    return 0;
}

static void assert_holds(struct fixture *f, uint32_t database, const struct key *key,
                         const char *text)
{
    const struct item *item = shard_find(f->shard, database, key, &f->now);
    assert_ptr_equal(item, shard_find_shared(f->shard, database, key, &f->now));
    if (text == NULL) {
        assert_null(item);
        return;
    }
    assert_non_null(item);
    assert_int_equal(item_stored_bytes(item), strlen(text));
    assert_memory_equal(item_value_bytes(item), text, strlen(text));
}

static bool put_text(struct fixture *f, uint32_t database, const struct key *key, const char *text)
{
    return put(f, database, key, slice_of_string(text), 0);
}

static void keys_come_and_go(void **state)
{
    struct fixture *f = *state;
    struct key a = key_hashed(SLICE_LITERAL("a")), empty = key_hashed(slice_of(NULL, 0));
    assert_holds(f, 0, &a, NULL);
    assert_false(shard_delete(f->shard, 0, &a, &f->now));
    put_text(f, 0, &a, "1");
    put_text(f, 0, &empty, "nothing");
    assert_holds(f, 0, &a, "1");
    assert_holds(f, 0, &empty, "nothing");
    assert_holds(f, 1, &a, NULL);
    assert_int_equal(shard_key_count(f->shard, 0), 2);
    put_text(f, 0, &a, "2");
    assert_holds(f, 0, &a, "2");
    assert_int_equal(shard_key_count(f->shard, 0), 2);
    assert_true(shard_delete(f->shard, 0, &a, &f->now));
    assert_false(shard_delete(f->shard, 0, &a, &f->now));
    assert_holds(f, 0, &a, NULL);
    assert_int_equal(shard_key_count(f->shard, 0), 1);
    settle(f);
    assert_int_equal(memory_of(f).retired_bytes, 0);
}

static void items_stay_valid_until_the_end_of_the_pass(void **state)
{
    struct fixture *f = *state;
    struct key a = key_hashed(SLICE_LITERAL("a"));
    put_text(f, 0, &a, "first");
    const struct item *first = shard_find(f->shard, 0, &a, &f->now);
    put_text(f, 0, &a, "second");
    const struct item *second = shard_find(f->shard, 0, &a, &f->now);
    shard_delete(f->shard, 0, &a, &f->now);
    assert_memory_equal(item_value_bytes(first), "first", 5);
    assert_memory_equal(item_value_bytes(second), "second", 6);
    assert_true(memory_of(f).retired_bytes > 0);
    settle(f);
    assert_int_equal(memory_of(f).item_bytes, 0);
}

static uint64_t hash_to_0(const struct item *item)
{
    return 0;
}

static void equal_fingerprints_keep_keys_apart(void **state)
{
    struct fixture *f = *state;
    f->shard->services.hash_item = hash_to_0;
    struct key a = key_of(SLICE_LITERAL("a"), 0), b = key_of(SLICE_LITERAL("b"), 0),
               c = key_of(SLICE_LITERAL("c"), 0);
    assert_holds(f, 0, &a, NULL);
    put_text(f, 0, &a, "A");
    assert_holds(f, 0, &b, NULL);
    assert_false(shard_delete(f->shard, 0, &b, &f->now));
    put_text(f, 0, &b, "B");
    put_text(f, 0, &c, "C");
    assert_int_equal(shard_key_count(f->shard, 0), 3);
    assert_int_equal(metric_read(&f->metrics, METRIC_STORE_COLLISIONS), 2);
    const struct key *all[] = {&a, &b, &c};
    shard_prefetch_bulk(f->shard, 0, all, 3);
    assert_holds(f, 0, &a, "A");
    assert_holds(f, 0, &b, "B");
    assert_holds(f, 0, &c, "C");
    put_text(f, 0, &b, "B2");
    assert_holds(f, 0, &b, "B2");
    /* The one in the segment goes; the others must stay, and the next takes its place there. */
    assert_true(shard_delete(f->shard, 0, &a, &f->now));
    settle(f);
    assert_holds(f, 0, &a, NULL);
    assert_holds(f, 0, &b, "B2");
    put_text(f, 0, &a, "A2");
    put_text(f, 0, &b, "B3");
    assert_holds(f, 0, &a, "A2");
    assert_holds(f, 0, &b, "B3");
    assert_true(shard_delete(f->shard, 0, &b, &f->now));
    assert_true(shard_delete(f->shard, 0, &c, &f->now));
    assert_holds(f, 0, &a, "A2");
    assert_holds(f, 0, &b, NULL);
    assert_int_equal(shard_key_count(f->shard, 0), 1);
    assert_int_equal(metric_read(&f->metrics, METRIC_STORE_OVERFLOW_ITEMS), 0);
}

static void equal_bucket_bits_overflow_without_loss(void **state)
{
    struct fixture *f = *state;
    char names[200][8];
    struct key keys[200];
    for (unsigned i = 0; i < 200; i++) {
        snprintf(names[i], sizeof(names[i]), "k%u", i);
        keys[i] = key_of(slice_of_string(names[i]), (uint64_t)i << 40 | 0x12345678);
        put_text(f, 0, &keys[i], names[i]);
    }
    assert_true(metric_read(&f->metrics, METRIC_STORE_OVERFLOW_ITEMS) > 0);
    for (unsigned i = 0; i < 200; i++) {
        assert_holds(f, 0, &keys[i], names[i]);
        if (i % 2 == 0) {
            assert_true(shard_delete(f->shard, 0, &keys[i], &f->now));
        }
    }
    for (unsigned i = 0; i < 200; i++) {
        assert_holds(f, 0, &keys[i], i % 2 == 0 ? NULL : names[i]);
    }
}

static void expiry_is_exact_when_read(void **state)
{
    struct fixture *f = *state;
    struct key a = key_hashed(SLICE_LITERAL("a"));
    put(f, 0, &a, SLICE_LITERAL("x"), 1500);
    assert_int_equal(shard_expiry_count(f->shard, 0), 1);
    f->now.wall_ms = 1500;
    assert_holds(f, 0, &a, "x"); /* as Redis: gone in the millisecond after */
    f->now.wall_ms = 1501;
    assert_null(shard_find_shared(f->shard, 0, &a, &f->now));
    assert_int_equal(shard_key_count(f->shard, 0), 1);
    assert_holds(f, 0, &a, NULL);
    assert_int_equal(shard_key_count(f->shard, 0), 0);
    assert_int_equal(shard_expiry_count(f->shard, 0), 0);
    assert_int_equal(metric_read(&f->metrics, METRIC_STORE_EXPIRED_KEYS), 1);
    put(f, 0, &a, SLICE_LITERAL("x"), 1400);
    assert_false(shard_delete(f->shard, 0, &a, &f->now));
    assert_int_equal(metric_read(&f->metrics, METRIC_STORE_EXPIRED_KEYS), 2);
    put(f, 0, &a, SLICE_LITERAL("x"), 1600);
    put(f, 0, &a, SLICE_LITERAL("y"), 0);
    assert_int_equal(shard_expiry_count(f->shard, 0), 0);
    f->now.wall_ms = 9999;
    assert_holds(f, 0, &a, "y");
}

static void expired_items_give_memory_back_unasked(void **state)
{
    struct fixture *f = *state;
    struct numbered_key key;
    for (uint32_t i = 0; i < 20000; i++) {
        put(f, i % 3, number_key(&key, i), SLICE_LITERAL("0123456789"), i % 10 == 0 ? 0 : 2000);
    }
    settle(f);
    uint64_t full = memory_of(f).item_bytes;
    assert_in_range(shard_expiry_average_ms(f->shard, 1, &f->now), 990, 1000);
    f->now.wall_ms = 3000;
    for (unsigned pass = 0; pass < 20000 && shard_key_count(f->shard, 0) > 667; pass++) {
        f->now.mono_us += 100;
        shard_maintain(f->shard, &f->now);
    }
    for (unsigned pass = 0; pass < 20000; pass++) {
        f->now.mono_us += 100;
        shard_maintain(f->shard, &f->now);
    }
    uint64_t left =
        shard_key_count(f->shard, 0) + shard_key_count(f->shard, 1) + shard_key_count(f->shard, 2);
    assert_int_equal(left, 2000);
    assert_int_equal(shard_expiry_count(f->shard, 1), 0);
    assert_int_equal(metric_read(&f->metrics, METRIC_STORE_EXPIRED_KEYS), 18000);
    assert_true(memory_of(f).item_bytes < full / 5);
    assert_int_equal(shard_expiry_average_ms(f->shard, 1, &f->now), 0);
}

static void count_visit(void *argument, const struct item *item)
{
    (*(uint64_t *)argument)++;
}

static void flush_and_swap(void **state)
{
    struct fixture *f = *state;
    struct numbered_key key;
    for (uint32_t i = 0; i < 5000; i++) {
        put(f, 0, number_key(&key, i), SLICE_LITERAL("zero"), i % 2 == 0 ? 5000 : 0);
    }
    put_text(f, 1, number_key(&key, 7), "one");
    const struct key *hinted = &key.key;
    shard_prefetch_bulk(f->shard, 0, &hinted, 1);
    shard_swap_databases(f->shard, 0, 1);
    assert_holds(f, 0, hinted, "one");
    assert_holds(f, 1, hinted, "zero");
    assert_int_equal(shard_key_count(f->shard, 1), 5000);
    assert_int_equal(shard_expiry_count(f->shard, 1), 2500);
    shard_prefetch_bulk(f->shard, 1, &hinted, 1);
    shard_flush(f->shard, 1);
    assert_holds(f, 1, hinted, NULL);
    assert_int_equal(shard_key_count(f->shard, 1), 0);
    assert_int_equal(shard_expiry_count(f->shard, 1), 0);
    put_text(f, 1, hinted, "new");
    assert_holds(f, 1, hinted, "new");
    uint64_t visited = 0;
    assert_int_equal(shard_scan(f->shard, 9, 0, 10, &f->now, count_visit, &visited), 0);
    assert_int_equal(visited, 0);
    settle(f);
    assert_holds(f, 0, hinted, "one");
    assert_holds(f, 1, hinted, "new");
    assert_true(memory_of(f).item_bytes < 500);
    shard_flush(f->shard, 0);
    shard_flush(f->shard, 1);
    shard_flush(f->shard, 2);
    settle(f);
    assert_int_equal(memory_of(f).used_bytes, 0);
}

struct seen {
    uint8_t *marks;
    uint64_t visits;
};

static void mark_visit(void *argument, const struct item *item)
{
    struct seen *seen = argument;
    uint64_t value[2];
    memcpy(value, item_value_bytes(item), sizeof(value));
    seen->marks[value[0]] = 1;
    seen->visits++;
}

static void scan_sees_every_key_and_respects_count(void **state)
{
    struct fixture *f = *state;
    struct seen seen = {.marks = calloc(1, 3000)};
    for (uint32_t i = 0; i < 3000; i++) {
        put_number(f, i, 1);
    }
    settle(f);
    uint64_t cursor = 0, calls = 0;
    do {
        uint64_t before = seen.visits;
        cursor = shard_scan(f->shard, 0, cursor, 10, &f->now, mark_visit, &seen);
        assert_true(seen.visits - before <= 10);
        assert_true(cursor <= INT64_MAX);
        assert_true(++calls < 5000);
    } while (cursor != 0);
    assert_int_equal(seen.visits, 3000);
    for (uint32_t i = 0; i < 3000; i++) {
        assert_int_equal(seen.marks[i], 1);
    }
    free(seen.marks);
}

static void scan_takes_any_cursor(void **state)
{
    struct fixture *f = *state;
    uint64_t random = 99, visited = 0;
    for (uint32_t i = 0; i < 2000; i++) {
        put_number(f, i, 1);
    }
    for (uint32_t i = 0; i < 20000; i++) {
        shard_scan(f->shard, 0, random_next(&random) >> (random % 50), 5, &f->now, count_visit,
                   &visited);
    }
    shard_scan(f->shard, 0, UINT64_MAX, UINT32_MAX, &f->now, count_visit, &visited);
    shard_scan(f->shard, 0, 1, 0, &f->now, count_visit, &visited);
    assert_true(visited > 2000);
}

static void random_is_spread_and_finds_the_last_one(void **state)
{
    struct fixture *f = *state;
    assert_null(shard_random(f->shard, 0, &f->now));
    unsigned counts[1000] = {0};
    for (uint32_t i = 0; i < 1000; i++) {
        put_number(f, i, 1);
    }
    for (uint32_t i = 0; i < 100000; i++) {
        uint64_t value[2];
        memcpy(value, item_value_bytes(shard_random(f->shard, 0, &f->now)), sizeof(value));
        counts[value[0]]++;
    }
    for (uint32_t i = 0; i < 1000; i++) {
        assert_in_range(counts[i], 30, 250);
    }
    for (uint32_t i = 1; i < 1000; i++) {
        assert_true(delete_number(f, i));
    }
    for (uint32_t i = 0; i < 50; i++) {
        assert_non_null(shard_random(f->shard, 0, &f->now));
    }
    delete_number(f, 0);
    assert_null(shard_random(f->shard, 0, &f->now));
}

static void cas_values_grow_and_name_the_shard(void **state)
{
    struct fixture *f = *state;
    uint64_t first = shard_next_cas(f->shard), second = shard_next_cas(f->shard);
    assert_true(first != 0 && second > first);
    assert_int_equal(first % (SHARD_NUMBER_MAX + 1), 3);
}

/* Random operations against a plain array, with prefetch in front of the reads and upkeep between.
 */
#define MODEL_KEYS 60000

static void bulk_read(struct fixture *f, const uint64_t *model, uint64_t *random)
{
    struct numbered_key keys[SHARD_LOOKUP_BURST];
    const struct key *pointers[SHARD_LOOKUP_BURST];
    uint64_t numbers[SHARD_LOOKUP_BURST];
    for (uint32_t i = 0; i < SHARD_LOOKUP_BURST; i++) {
        numbers[i] = random_next(random) % MODEL_KEYS;
        pointers[i] = number_key(&keys[i], numbers[i]);
    }
    shard_prefetch_bulk(f->shard, 0, pointers, SHARD_LOOKUP_BURST);
    for (uint32_t i = 0; i < SHARD_LOOKUP_BURST; i++) {
        assert_int_equal(get_number(f, numbers[i]), model[numbers[i]]);
    }
}

static void a_model_agrees(void **state)
{
    struct fixture *f = *state;
    uint64_t *model = calloc(MODEL_KEYS, sizeof(*model));
    uint64_t random = 1, count = 0;
    for (uint64_t step = 1; step <= 1500000; step++) {
        uint64_t choice = random_next(&random), number = choice % MODEL_KEYS;
        uint64_t deletes = step / 300000 % 2 == 0 ? 40 : 70; /* grows and shrinks */
        if (choice >> 32 & 1) {
            if ((choice >> 40) % 100 < deletes) {
                assert_int_equal(delete_number(f, number), model[number] != 0);
                count -= model[number] != 0;
                model[number] = 0;
            }
        } else {
            assert_true(put_number(f, number, step));
            count += model[number] == 0;
            model[number] = step;
        }
        if (step % 64 == 0) {
            bulk_read(f, model, &random);
        }
        if (step % 97 == 0) {
            f->now.mono_us += 10;
            shard_maintain(f->shard, &f->now);
        }
    }
    assert_int_equal(shard_key_count(f->shard, 0), count);
    for (uint64_t i = 0; i < MODEL_KEYS; i++) {
        assert_int_equal(get_number(f, i), model[i]);
    }
    assert_int_equal(metric_read(&f->metrics, METRIC_STORE_OVERFLOW_ITEMS), 0);
    free(model);
}

/* However many it is that a pass retires, its upkeep frees as many: nothing piles up. */
static void what_a_pass_retires_is_freed(void **state)
{
    struct fixture *f = *state;
    for (uint64_t version = 1; version < 20; version++) {
        for (uint64_t i = 0; i < 5000; i++) {
            assert_true(put_number(f, i, version));
        }
        f->now.mono_us += 100;
        shard_maintain(f->shard, &f->now);
        /* What was moved together afterwards comes next time. */
        assert_in_range(memory_of(f).retired_bytes, 0, 10000);
    }
}

/* Moving them to empty their pages would be in vain. */
static void expired_items_are_not_moved(void **state)
{
    enum { COUNT = 50000 };
    struct fixture *f = *state;
    struct numbered_key key;
    for (uint64_t i = 0; i < COUNT; i++) {
        assert_true(put(f, 0, number_key(&key, i), SLICE_LITERAL("value"), 5000));
    }
    for (uint64_t i = 0; i < COUNT; i++) {
        assert_true(i % 4 == 0 || delete_number(f, i));
    }
    f->now.wall_ms = 6000;
    settle(f);
    assert_int_equal(shard_key_count(f->shard, 0), 0);
    assert_int_equal(metric_read(&f->metrics, METRIC_STORE_EXPIRED_KEYS), COUNT / 4);
    assert_int_equal(metric_read(&f->metrics, METRIC_STORE_MOVED_ITEMS), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define ROW(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        ROW(keys_come_and_go),
        ROW(items_stay_valid_until_the_end_of_the_pass),
        ROW(equal_fingerprints_keep_keys_apart),
        ROW(equal_bucket_bits_overflow_without_loss),
        ROW(expiry_is_exact_when_read),
        ROW(expired_items_give_memory_back_unasked),
        ROW(what_a_pass_retires_is_freed),
        ROW(expired_items_are_not_moved),
        ROW(flush_and_swap),
        ROW(scan_sees_every_key_and_respects_count),
        ROW(scan_takes_any_cursor),
        ROW(random_is_spread_and_finds_the_last_one),
        ROW(cas_values_grow_and_name_the_shard),
        ROW(a_model_agrees),
#undef ROW
    };
    return cmocka_run_group_tests_name("shard", tests, setup_eal, NULL);
}
