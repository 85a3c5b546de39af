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
    struct key *all[] = {&a, &b, &c};
    prefetch_keys(f, 0, all, 3);
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
    struct key *found = &key.key;
    prefetch_keys(f, 0, &found, 1);
    shard_swap_databases(f->shard, 0, 1);
    assert_holds(f, 0, found, "one");
    assert_holds(f, 1, found, "zero");
    assert_int_equal(shard_key_count(f->shard, 1), 5000);
    assert_int_equal(shard_expiry_count(f->shard, 1), 2500);
    prefetch_keys(f, 1, &found, 1);
    shard_flush(f->shard, 1);
    assert_holds(f, 1, found, NULL);
    assert_int_equal(shard_key_count(f->shard, 1), 0);
    assert_int_equal(shard_expiry_count(f->shard, 1), 0);
    put_text(f, 1, found, "new");
    assert_holds(f, 1, found, "new");
    uint64_t visited = 0;
    assert_int_equal(shard_scan(f->shard, 9, 0, 10, &f->now, count_visit, &visited), 0);
    assert_int_equal(visited, 0);
    settle(f);
    assert_holds(f, 0, found, "one");
    assert_holds(f, 1, found, "new");
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

struct recount {
    const struct shard *shard;
    struct type_book types[ITEM_TYPE_COUNT];
    uint64_t expiry_count;
};

static void recount_item(void *argument, const struct item *item)
{
    struct recount *recount = argument;
    recount->types[item_type(item)].count++;
    recount->types[item_type(item)].bytes += shard_item_bytes(recount->shard, item);
    recount->expiry_count += item_has_expiry(item);
}

static void assert_books(struct fixture *f)
{
    struct recount recount = {.shard = f->shard};
    uint64_t cursor = 0;
    do {
        cursor = shard_scan(f->shard, 0, cursor, 100, &f->now, recount_item, &recount);
    } while (cursor != 0);
    struct shard_memory memory = memory_of(f);
    assert_memory_equal(memory.types, recount.types, sizeof(recount.types));
    assert_int_equal(shard_expiry_count(f->shard, 0), recount.expiry_count);
}

/* Of any type, size and expiry over any other. */
static void the_books_follow_overwrites(void **state)
{
    struct fixture *f = *state;
    uint64_t random = 3;
    for (uint32_t i = 0; i < 20000; i++) {
        struct numbered_key text;
        const struct key *key = number_key(&text, random_next(&random) % 50);
        uint64_t choice = random_next(&random);
        struct item_draft_options options = {.type = choice % 8 == 0 ? ITEM_HASH : ITEM_STRING,
                                             .value_bytes = choice % 16 < 8 ? 64 : choice >> 8 & 63,
                                             .expire_at_ms = choice % 4 == 1 ? 5000 : 0};
        shard_publish(f->shard, 0, key, shard_draft(f->shard, key->bytes, &options));
        if (i % 500 == 0) {
            assert_books(f);
            settle(f);
        }
    }
    assert_books(f);
}

/* ---- in place ---------------------------------------------------------------------------------
 */

static bool overwrite(struct fixture *f, uint32_t database, const char *key, const char *value)
{
    struct key hashed = key_hashed(slice_of_string(key));
    return shard_overwrite(f->shard, database, &hashed, slice_of_string(value));
}

static void only_bare_values_are_overwritten(void **state)
{
    struct fixture *f = *state;
    struct key a = key_hashed(SLICE_LITERAL("a")), b = key_hashed(SLICE_LITERAL("b")),
               n = key_hashed(SLICE_LITERAL("n"));
    struct item_draft_options number = {.encoding = ENCODING_INT};
    assert_false(overwrite(f, 0, "a", "new"));
    put_text(f, 0, &a, "old");
    (void)put(f, 0, &b, SLICE_LITERAL("old"), 5000);
    shard_publish(f->shard, 0, &n, shard_draft(f->shard, n.bytes, &number));
    assert_false(overwrite(f, 1, "a", "new"));
    assert_false(overwrite(f, 0, "a", "news"));
    assert_false(overwrite(f, 0, "b", "new")); /* it has an expiry */
    assert_false(overwrite(f, 0, "n", "eight by"));
    assert_false(overwrite(f, 0, "c", "new"));
    assert_holds(f, 0, &a, "old");
    assert_holds(f, 0, &b, "old");
    const struct item *item = shard_find(f->shard, 0, &a, &f->now);
    item_set_fetched(item);
    assert_true(overwrite(f, 0, "a", "new"));
    assert_ptr_equal(shard_find(f->shard, 0, &a, &f->now), item);
    assert_holds(f, 0, &a, "new");
    assert_false(item_is_fetched(item));
    assert_books(f);
}

/* ---- keys that know where they are ------------------------------------------------------------
 */

static void assert_knows(const struct fixture *f, const struct key *key, bool knows)
{
    assert_int_equal(index_found_item(f->shard->databases[0].index, key) != NULL, knows);
}

static void a_key_is_found_where_it_was(void **state)
{
    struct fixture *f = *state;
    struct numbered_key text;
    struct key *key = number_key(&text, 1);
    assert_true(put_number(f, 1, 1) && put_number(f, 2, 1));
    assert_knows(f, key, false);
    prefetch_keys(f, 0, &key, 1);
    assert_knows(f, key, true);
    /* Others write it. */
    assert_true(put_number(f, 1, 2));
    assert_int_equal(get_version(f, key, 1), 2);
    assert_true(put_version(f, key, 1, 3));
    assert_int_equal(get_number(f, 1), 3);
    assert_knows(f, key, true);
    /* It goes, and what was there is another key's. */
    assert_true(delete_number(f, 1));
    assert_int_equal(get_version(f, key, 1), 0);
    assert_false(shard_delete(f->shard, 0, key, &f->now));
    for (uint64_t i = 3; i < 500; i++) {
        assert_true(put_number(f, i, i));
    }
    assert_int_equal(get_version(f, key, 1), 0);
    /* It comes back, at another place perhaps, and goes by the key that knows the old one. */
    assert_true(put_version(f, key, 1, 4));
    assert_int_equal(get_version(f, key, 1), 4);
    assert_true(shard_delete(f->shard, 0, key, &f->now));
    assert_int_equal(get_number(f, 1), 0);
    assert_int_equal(shard_key_count(f->shard, 0), 498);
}

static void a_key_is_found_in_its_database(void **state)
{
    struct fixture *f = *state;
    struct key a = key_hashed(SLICE_LITERAL("a")), *found = &a;
    put_text(f, 0, &a, "zero");
    put_text(f, 1, &a, "one");
    prefetch_keys(f, 0, &found, 1);
    assert_holds(f, 1, &a, "one");
    shard_swap_databases(f->shard, 0, 1);
    assert_holds(f, 0, &a, "one");
    shard_flush(f->shard, 1);
    assert_holds(f, 1, &a, NULL);
    put_text(f, 1, &a, "new");
    assert_holds(f, 1, &a, "new");
    assert_holds(f, 0, &a, "one");
}

/* Whose epoch may begin while he looks: he has to search. */
static void a_reader_of_another_shard_notes_where_a_key_is(void **state)
{
    struct fixture *f = *state;
    struct key a = key_hashed(SLICE_LITERAL("a"));
    assert_null(shard_index(f->shard, 0));
    put_text(f, 0, &a, "zero");
    struct shard_lookup lookup = {shard_index(f->shard, 0), &a, .is_own = false};
    shard_prefetch_bulk(&lookup, 1);
    assert_knows(f, &a, true);
    a = key_hashed(SLICE_LITERAL("a"));
    lookup.is_own = true;
    assert_knows(f, &a, false);
    shard_prefetch_bulk(&lookup, 1);
    assert_knows(f, &a, true);
}

/* What a reader has noted says nothing about another index, and of its own only what is there now.
 */
static void readers_find_what_is_there_now(void **state)
{
    struct fixture *f = *state;
    struct key a = key_hashed(SLICE_LITERAL("a"));
    put_text(f, 0, &a, "first");
    struct shard_lookup lookup = {shard_index(f->shard, 0), &a, .is_own = false};
    shard_prefetch_bulk(&lookup, 1);
    struct key noted = a;
    assert_knows(f, &noted, true);
    a = key_hashed(SLICE_LITERAL("a"));
    put_text(f, 0, &a, "second");
    const struct item *item = shard_find_shared(f->shard, 0, &noted, &f->now);
    assert_non_null(item);
    assert_memory_equal(item_value_bytes(item), "second", 6);
    assert_null(shard_find_shared(f->shard, 1, &noted, &f->now));
    shard_swap_databases(f->shard, 0, 1);
    assert_null(shard_find_shared(f->shard, 0, &noted, &f->now));
    assert_non_null(shard_find_shared(f->shard, 1, &noted, &f->now));
    assert_true(shard_delete(f->shard, 1, &a, &f->now));
    assert_null(shard_find_shared(f->shard, 1, &noted, &f->now));
    put_text(f, 1, &a, "third");
    assert_non_null(shard_find_shared(f->shard, 1, &noted, &f->now));
    shard_flush(f->shard, 1);
    assert_null(shard_find_shared(f->shard, 1, &noted, &f->now));
}

/* What was part of the index when a key was found may be gone by the time it is used. */
static void growth_makes_keys_forget(void **state)
{
    struct fixture *f = *state;
    struct numbered_key text;
    struct key *key = number_key(&text, 0);
    assert_true(put_number(f, 0, 7));
    prefetch_keys(f, 0, &key, 1);
    uint64_t epoch = f->shard->databases[0].index->epoch;
    for (uint64_t i = 1; i < 20000; i++) {
        assert_true(put_number(f, i, i));
    }
    settle(f);
    assert_true(f->shard->databases[0].index->epoch > epoch);
    assert_knows(f, key, false);
    assert_int_equal(get_version(f, key, 0), 7);
    assert_true(put_version(f, key, 0, 8));
    assert_int_equal(get_number(f, 0), 8);
    assert_true(shard_delete(f->shard, 0, key, &f->now));
    assert_int_equal(get_number(f, 0), 0);
}

/* ---- keys found in steps ----------------------------------------------------------------------
 */

enum { STEPS_KEYS = 100 };

/* In a row, as a request has them. */
struct key_row {
    struct numbered_key texts[STEPS_KEYS];
    struct key keys[STEPS_KEYS];
};

/* Each with its number as its version. */
static void put_step_keys(struct fixture *f)
{
    for (uint64_t i = 0; i < STEPS_KEYS; i++) {
        assert_true(put_number(f, i, i));
    }
}

static void name_keys(struct fixture *f, struct key_row *row, const uint64_t *numbers)
{
    for (uint32_t i = 0; i < STEPS_KEYS; i++) {
        row->keys[i] = *number_key(&row->texts[i], numbers != NULL ? numbers[i] : i);
        row->keys[i].index = shard_index(f->shard, 0);
    }
}

static void begin_steps(struct fixture *f, struct shard_prefetch *ahead, struct key_row *row,
                        const uint64_t *numbers)
{
    name_keys(f, row, numbers);
    shard_prefetch_begin(ahead, f->shard, true, row->keys);
    shard_prefetch_add(ahead, STEPS_KEYS);
    shard_prefetch_reach(ahead, row->keys);
}

static bool knows(const struct fixture *f, const struct key *key)
{
    return index_found_item(f->shard->databases[0].index, key) != NULL;
}

/* Every third is not there; some in the middle are left out; one more is asked for than there are.
 */
static void keys_are_found_in_steps(void **state)
{
    struct fixture *f = *state;
    struct key_row row;
    struct shard_prefetch ahead;
    for (uint64_t i = 0; i < STEPS_KEYS; i++) {
        assert_true(i % 3 == 0 || put_number(f, i, i));
    }
    begin_steps(f, &ahead, &row, NULL);
    assert_int_equal(ahead.visited, SHARD_PREFETCH_AHEAD);
    assert_false(knows(f, &row.keys[SHARD_PREFETCH_AHEAD]));
    uint32_t strangers = 0;
    for (uint32_t i = 0; i < STEPS_KEYS; i = i == 30 ? 70 : i + 1) {
        shard_prefetch_reach(&ahead, &row.keys[i]);
        strangers += i % 3 != 0 && !knows(f, &row.keys[i]);
        assert_int_equal(get_version(f, &row.keys[i], i), i % 3 != 0 ? i : 0);
    }
    assert_in_range(strangers, 0, 2); /* where another has the signature */
    struct key stranger = row.keys[0];
    uint32_t visited = ahead.visited;
    assert_int_equal(visited, STEPS_KEYS + SHARD_PREFETCH_AHEAD - SHARD_PREFETCH_STRIDE);
    shard_prefetch_reach(&ahead, &row.keys[STEPS_KEYS]); /* none of them, nor is the next */
    shard_prefetch_reach(&ahead, &stranger);
    assert_int_equal(ahead.visited, visited);
}

/* One after the other, as requests bring them; whole strides only, and not too many. */
static void keys_become_known_between_steps(void **state)
{
    struct fixture *f = *state;
    struct key_row row;
    struct shard_prefetch ahead;
    put_step_keys(f);
    name_keys(f, &row, NULL);
    shard_prefetch_begin(&ahead, f->shard, true, row.keys);
    for (uint32_t i = 1; i < STEPS_KEYS; i++) {
        shard_prefetch_add(&ahead, 1);
        uint32_t strides = i / SHARD_PREFETCH_STRIDE * SHARD_PREFETCH_STRIDE;
        assert_int_equal(ahead.visited,
                         strides < SHARD_PREFETCH_AHEAD_MAX ? strides : SHARD_PREFETCH_AHEAD_MAX);
    }
    for (uint32_t i = 0; i < STEPS_KEYS - 1; i++) {
        shard_prefetch_reach(&ahead, &row.keys[i]);
        assert_true(knows(f, &row.keys[i]));
        assert_int_equal(get_version(f, &row.keys[i], i), i);
    }
    /* Too late: what is at its place may be left over from another key. */
    row.keys[STEPS_KEYS - 1].entry = (void *)1;
    shard_prefetch_add(&ahead, 1);
    shard_prefetch_reach(&ahead, &row.keys[STEPS_KEYS - 1]);
    assert_int_equal(ahead.count, STEPS_KEYS - 1);
    assert_false(knows(f, &row.keys[STEPS_KEYS - 1]));
    assert_int_equal(get_version(f, &row.keys[STEPS_KEYS - 1], STEPS_KEYS - 1), STEPS_KEYS - 1);
}

/* What has no index, and what is the index of an empty database, or of one that is another's. */
static void keys_without_an_index_are_passed_over(void **state)
{
    struct fixture *f = *state;
    struct key_row row;
    struct shard_prefetch ahead;
    begin_steps(f, &ahead, &row, NULL);
    for (uint32_t i = 0; i < STEPS_KEYS; i++) {
        shard_prefetch_reach(&ahead, &row.keys[i]);
        assert_int_equal(row.keys[i].epoch, 0);
    }
    put_step_keys(f);
    name_keys(f, &row, NULL);
    shard_prefetch_begin(&ahead, f->shard, true, row.keys);
    for (uint32_t i = 0; i < STEPS_KEYS; i++) {
        row.keys[i].index = i % 2 == 0 ? NULL : shard_index(f->shard, 0);
    }
    shard_prefetch_add(&ahead, STEPS_KEYS);
    for (uint32_t i = 0; i < STEPS_KEYS; i++) {
        shard_prefetch_reach(&ahead, &row.keys[i]);
        assert_int_equal(knows(f, &row.keys[i]), i % 2 == 1);
    }
    struct index *index = f->shard->databases[0].index;
    struct index_services others = f->shard->services;
    index->services = &others;
    begin_steps(f, &ahead, &row, NULL);
    for (uint32_t i = 0; i < STEPS_KEYS; i++) {
        shard_prefetch_reach(&ahead, &row.keys[i]);
        assert_true(knows(f, &row.keys[i])); /* a reader does, too */
    }
    index->services = &f->shard->services;
}

/* Who does not hold the shard goes on when another epoch begins. */
static void readers_fetch_in_steps(void **state)
{
    struct fixture *f = *state;
    struct key_row row;
    struct shard_prefetch ahead;
    put_step_keys(f);
    name_keys(f, &row, NULL);
    shard_prefetch_begin(&ahead, f->shard, false, row.keys);
    shard_prefetch_add(&ahead, STEPS_KEYS);
    for (uint32_t i = 0; i < STEPS_KEYS; i++) {
        if (i == STEPS_KEYS / 2) {
            index_begin_epoch(f->shard->databases[0].index);
        }
        shard_prefetch_reach(&ahead, &row.keys[i]);
        assert_in_range(ahead.visited, i + 1, UINT32_MAX - 1);
        /* The next ones were noted before. */
        bool in_time = i < STEPS_KEYS / 2 || i >= STEPS_KEYS / 2 + SHARD_PREFETCH_AHEAD;
        assert_true(knows(f, &row.keys[i]) || !in_time);
        assert_int_equal(get_version(f, &row.keys[i], i), i);
    }
}

/* Each key is written, deleted or made another's place before its turn, at any visit. */
static void writes_go_between_steps(void **state)
{
    struct fixture *f = *state;
    for (uint32_t distance = 0; distance <= SHARD_PREFETCH_AHEAD; distance++) {
        struct key_row row;
        struct shard_prefetch ahead;
        for (uint64_t i = 0; i < STEPS_KEYS; i++) {
            assert_true(put_number(f, i, 1));
        }
        begin_steps(f, &ahead, &row, NULL);
        for (uint32_t i = 0; i < STEPS_KEYS; i++) {
            uint32_t written = i + distance;
            if (written < STEPS_KEYS && written % 2 == 0) {
                assert_true(put_number(f, written, 2));
            } else if (written < STEPS_KEYS) {
                assert_true(delete_number(f, written));
                assert_true(put_number(f, 1000 + written, 3));
            }
            uint64_t wanted = i < distance ? 1 : i % 2 == 0 ? 2 : 0;
            shard_prefetch_reach(&ahead, &row.keys[i]);
            assert_int_equal(get_version(f, &row.keys[i], i), wanted);
        }
        settle(f);
    }
}

/* Then they would note what is out of date. The database may go, too. */
static void steps_end_when_the_index_changes(void **state)
{
    struct fixture *f = *state;
    struct key_row row;
    struct shard_prefetch ahead;
    for (uint64_t i = 0; i < STEPS_KEYS; i++) {
        assert_true(put_number(f, i, 7));
    }
    begin_steps(f, &ahead, &row, NULL);
    index_begin_epoch(f->shard->databases[0].index);
    for (uint32_t i = 0; i < STEPS_KEYS; i++) {
        shard_prefetch_reach(&ahead, &row.keys[i]);
        assert_false(knows(f, &row.keys[i]));
        assert_int_equal(get_version(f, &row.keys[i], i), 7);
    }
    assert_int_equal(ahead.visited, SHARD_PREFETCH_ENDED);
    begin_steps(f, &ahead, &row, NULL);
    shard_flush(f->shard, 0);
    for (uint32_t i = 0; i < STEPS_KEYS; i++) {
        shard_prefetch_reach(&ahead, &row.keys[i]);
        assert_int_equal(get_version(f, &row.keys[i], i), 0);
    }
}

/* Random operations against a plain array, by keys that know nothing and by bursts of keys that
 * were found together, with upkeep between. */
#define MODEL_KEYS 60000

static void change(struct fixture *f, uint64_t *model, const struct key *key, uint64_t number,
                   uint64_t choice)
{
    if (choice % 2 == 0) {
        assert_int_equal(shard_delete(f->shard, 0, key, &f->now), model[number] != 0);
        model[number] = 0;
    } else {
        assert_true(put_version(f, key, number, choice));
        model[number] = choice;
    }
}

static void change_number(struct fixture *f, uint64_t *model, uint64_t number, uint64_t choice)
{
    struct numbered_key key;
    change(f, model, number_key(&key, number), number, choice);
}

/* Of a few numbers, so that some come twice. */
static void use_burst(struct fixture *f, uint64_t *model, uint64_t *random)
{
    struct numbered_key keys[SHARD_LOOKUP_BURST];
    struct key *pointers[SHARD_LOOKUP_BURST];
    uint64_t numbers[SHARD_LOOKUP_BURST], first = random_next(random) % (MODEL_KEYS - 100);
    for (uint32_t i = 0; i < SHARD_LOOKUP_BURST; i++) {
        numbers[i] = first + random_next(random) % 100;
        pointers[i] = number_key(&keys[i], numbers[i]);
    }
    prefetch_keys(f, 0, pointers, SHARD_LOOKUP_BURST);
    for (uint32_t i = 0; i < SHARD_LOOKUP_BURST; i++) {
        uint64_t choice = random_next(random);
        if (choice % 16 == 0) {
            f->now.mono_us += 10;
            shard_maintain(f->shard, &f->now);
        } else if (choice % 16 == 1) {
            change_number(f, model, first + choice / 32 % 100, choice >> 16 | 1);
        } else if (choice % 16 < 4) {
            change(f, model, pointers[i], numbers[i], choice >> 16 | 2);
        }
        assert_int_equal(get_version(f, pointers[i], numbers[i]), model[numbers[i]]);
    }
}

/* The same in steps; upkeep comes when they have ended. */
static void use_row(struct fixture *f, uint64_t *model, uint64_t *random)
{
    uint64_t numbers[STEPS_KEYS], first = random_next(random) % (MODEL_KEYS - 100);
    for (uint32_t i = 0; i < STEPS_KEYS; i++) {
        numbers[i] = first + random_next(random) % 100;
    }
    struct key_row row;
    struct shard_prefetch ahead;
    begin_steps(f, &ahead, &row, numbers);
    for (uint32_t i = 0; i < STEPS_KEYS; i++) {
        uint64_t choice = random_next(random);
        if (choice % 16 < 2) {
            change_number(f, model, first + choice / 32 % 100, choice >> 16 | 1);
        } else if (choice % 16 < 4) {
            change(f, model, &row.keys[i], numbers[i], choice >> 16 | 2);
        }
        assert_int_equal(get_version(f, &row.keys[i], numbers[i]), model[numbers[i]]);
        shard_prefetch_step(&ahead);
    }
}

static void a_model_agrees(void **state)
{
    struct fixture *f = *state;
    uint64_t *model = calloc(MODEL_KEYS, sizeof(*model));
    uint64_t random = 1, count = 0;
    for (uint64_t step = 1; step <= 1500000; step++) {
        uint64_t choice = random_next(&random);
        uint64_t deletes = step / 300000 % 2 == 0 ? 28 : 41; /* grows and shrinks */
        bool is_deletion = (choice >> 40) % 100 < deletes;
        change_number(f, model, choice % MODEL_KEYS, step << 1 | !is_deletion);
        if (step % 64 == 0) {
            use_burst(f, model, &random);
            use_row(f, model, &random);
        }
        if (step % 97 == 0) {
            f->now.mono_us += 10;
            shard_maintain(f->shard, &f->now);
        }
    }
    for (uint64_t i = 0; i < MODEL_KEYS; i++) {
        assert_int_equal(get_number(f, i), model[i]);
        count += model[i] != 0;
    }
    assert_int_equal(shard_key_count(f->shard, 0), count);
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
        ROW(the_books_follow_overwrites),
        ROW(only_bare_values_are_overwritten),
        ROW(a_key_is_found_where_it_was),
        ROW(a_key_is_found_in_its_database),
        ROW(a_reader_of_another_shard_notes_where_a_key_is),
        ROW(growth_makes_keys_forget),
        ROW(readers_find_what_is_there_now),
        ROW(keys_are_found_in_steps),
        ROW(keys_become_known_between_steps),
        ROW(keys_without_an_index_are_passed_over),
        ROW(readers_fetch_in_steps),
        ROW(writes_go_between_steps),
        ROW(steps_end_when_the_index_changes),
        ROW(a_model_agrees),
#undef ROW
    };
    return cmocka_run_group_tests_name("shard", tests, setup_eal, NULL);
}
