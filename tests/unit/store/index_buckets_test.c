/* The index of buckets alone where the shard's tests do not reach: keys of one hash and of nearly
 * one, the order of walks, tables and roots, the memory limit, pages that are to become empty. Keys
 * here begin with their hash. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "dataplane/base/hash.h"
#include "dataplane/store/index_buckets.h"
#include "tests/unit/store/store_test.h"

struct chosen_key {
    uint64_t words[2]; /* hash, serial number */
    struct key key;
};

static struct key *choose_key(struct chosen_key *to, uint64_t hash, uint64_t serial)
{
    to->words[0] = hash;
    to->words[1] = serial;
    to->key = key_of(slice_of((const uint8_t *)to->words, sizeof(to->words)), hash);
    return &to->key;
}

static uint64_t chosen_hash(const struct item *item)
{
    uint64_t hash;
    memcpy(&hash, item_key_bytes(item), sizeof(hash));
    return hash;
}

static uint64_t chosen_serial(const struct item *item)
{
    uint64_t serial;
    memcpy(&serial, item_key_bytes(item) + sizeof(uint64_t), sizeof(serial));
    return serial;
}

static int setup(void **state)
{
    struct fixture *f = create_fixture(0, NULL);
    f->shard->services.hash_item = chosen_hash;
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    destroy_fixture(*state);
    return 0;
}

static struct buckets_index *index_of(const struct fixture *f)
{
    return buckets_index_of(f->shard->databases[0].index);
}

static void maintain(struct fixture *f)
{
    f->now.mono_us += 100;
    shard_maintain(f->shard, &f->now);
}

static bool store(struct fixture *f, uint64_t hash, uint64_t serial, uint64_t version)
{
    struct chosen_key key;
    return put(f, 0, choose_key(&key, hash, serial),
               slice_of((const uint8_t *)&version, sizeof(version)), 0);
}

static bool drop(struct fixture *f, uint64_t hash, uint64_t serial)
{
    struct chosen_key key;
    return shard_delete(f->shard, 0, choose_key(&key, hash, serial), &f->now);
}

/* The version, or 0; every way to look agrees. */
static uint64_t look_for(struct fixture *f, const struct key *key)
{
    struct index *index = f->shard->databases[0].index;
    const struct item *item = index_find(index, key);
    assert_ptr_equal(item, index_read(index, key));
    if (item == NULL) {
        return 0;
    }
    assert_true(index_holds(index, key->hash, item));
    uint64_t version;
    memcpy(&version, item_value_bytes(item), sizeof(version));
    return version;
}

static uint64_t look(struct fixture *f, uint64_t hash, uint64_t serial)
{
    struct chosen_key key;
    return look_for(f, choose_key(&key, hash, serial));
}

/* ---- against a model --------------------------------------------------------------------------
 */

#define MODEL_KEYS 20000U

struct model {
    uint64_t hashes[MODEL_KEYS], versions[MODEL_KEYS], visits[MODEL_KEYS];
    uint64_t last_position, visit_count;
};

/* Some share a hash, in groups up to 40; some the 42 bits that the index uses; most share nothing.
 */
static uint64_t draw_hash(uint64_t number, uint64_t *random)
{
    uint64_t hash = random_next(random);
    if (number % 50 == 0) {
        return 0x123456789ABCDEF0ULL + number / 2000;
    }
    if (number % 51 == 0) {
        return position_of_hash(hash & 0x3FFFFF);
    }
    return number % 7 == 0 ? position_of_hash(0xABC0000000000000ULL | hash >> 12) : hash;
}

static void check_visit(void *argument, struct item *item, uint64_t hash)
{
    struct model *model = argument;
    uint64_t serial = chosen_serial(item);
    assert_int_equal(hash, model->hashes[serial]);
    model->visits[serial]++;
    model->visit_count++;
}

static void check_walk(struct fixture *f, struct model *model, uint32_t count)
{
    struct index *index = f->shard->databases[0].index;
    uint64_t cursor = 0, steps = 0;
    memset(model->visits, 0, sizeof(model->visits));
    do {
        uint64_t next = index_scan(index, cursor, count, check_visit, model);
        assert_true(next == 0 || (next > cursor && next < UINT64_C(1) << 56));
        assert_true(++steps < 4 * MODEL_KEYS);
        cursor = next;
    } while (cursor != 0);
    for (uint32_t i = 0; i < MODEL_KEYS; i++) {
        assert_int_equal(model->visits[i], model->versions[i] != 0);
    }
}

static void check_bulk(struct fixture *f, const struct model *model, uint64_t *random)
{
    struct chosen_key keys[SHARD_LOOKUP_BURST];
    struct key *pointers[SHARD_LOOKUP_BURST];
    uint64_t numbers[SHARD_LOOKUP_BURST];
    for (uint32_t i = 0; i < SHARD_LOOKUP_BURST; i++) {
        numbers[i] = random_next(random) % MODEL_KEYS;
        pointers[i] = choose_key(&keys[i], model->hashes[numbers[i]], numbers[i]);
    }
    prefetch_keys(f, 0, pointers, SHARD_LOOKUP_BURST);
    for (uint32_t i = 0; i < SHARD_LOOKUP_BURST; i++) {
        assert_int_equal(look_for(f, pointers[i]), model->versions[numbers[i]]);
    }
}

static void change_one(struct fixture *f, struct model *model, uint64_t step, uint64_t choice)
{
    uint64_t number = choice % MODEL_KEYS, hash = model->hashes[number];
    uint64_t drops = step / 60000 % 2 == 0 ? 30 : 80; /* of a hundred: grows and shrinks */
    if ((choice >> 40) % 100 < drops) {
        assert_int_equal(drop(f, hash, number), model->versions[number] != 0);
        model->versions[number] = 0;
    } else {
        assert_true(store(f, hash, number, step));
        model->versions[number] = step;
    }
    const struct item *any = index_read_hash(f->shard->databases[0].index, hash);
    assert_true(any == NULL || chosen_hash(any) == hash);
}

static void a_model_agrees(void **state)
{
    struct fixture *f = *state;
    struct model *model = calloc(1, sizeof(*model));
    uint64_t random = 5;
    for (uint64_t i = 0; i < MODEL_KEYS; i++) {
        model->hashes[i] = draw_hash(i, &random);
    }
    for (uint64_t step = 1; step <= 300000; step++) {
        change_one(f, model, step, random_next(&random));
        if (step % 64 == 0) {
            check_bulk(f, model, &random);
        }
        if (step % 7 == 0) {
            maintain(f);
        }
        if (step % 20000 == 0) {
            check_walk(f, model, (uint32_t)(step / 20000) * 7);
        }
    }
    assert_true(metric_read(&f->metrics, METRIC_STORE_COLLISIONS) > 100);
    free(model);
}

/* ---- the directory ----------------------------------------------------------------------------
 */

#define WIDE_KEYS 400000U

static uint64_t wide_hash(uint64_t i)
{
    return (i + 1) * 0x9E3779B97F4A7C15ULL ^ i << 29;
}

static void tables_and_roots_come_and_go(void **state)
{
    struct fixture *f = *state;
    for (uint64_t i = 0; i < WIDE_KEYS; i++) {
        assert_true(store(f, wide_hash(i), i, i + 1));
        if (i % 32 == 0) {
            maintain(f);
        }
    }
    assert_in_range(index_of(f)->root->depth, 3, 8);
    assert_int_equal(metric_read(&f->metrics, METRIC_STORE_OVERFLOW_ITEMS), 0);
    for (uint64_t i = 0; i < WIDE_KEYS; i++) {
        assert_int_equal(look(f, wide_hash(i), i), i + 1);
    }
    for (uint64_t i = 0; i < WIDE_KEYS; i++) {
        assert_true(drop(f, wide_hash(i), i));
        if (i % 32 == 0) {
            maintain(f);
        }
    }
    settle(f);
    assert_int_equal(index_of(f)->root->depth, 0);
    assert_int_equal(metric_read(&f->metrics, METRIC_STORE_SEGMENTS), 1);
    /* A leaf, a table, the spares, and what they hang on. */
    assert_true(memory_of(f).index_bytes <
                128 + (1 + INDEX_SPARES) * LEAF_BYTES_MAX + sizeof(struct buckets_index) + 200);
}

/* ---- memory -----------------------------------------------------------------------------------
 */

/* What asks first is refused in time, so nothing is beyond the limit or beside the index. */
static void nothing_is_beside_the_index_at_the_limit(void **state)
{
    for (uint64_t limit = 100000; limit < 3000000; limit += 77777) {
        struct fixture *f = create_fixture(limit, NULL);
        uint64_t refused = 0;
        for (uint64_t i = 0; refused < 200; i++) {
            refused += !put_number(f, i, 1);
            assert_true(memory_of(f).used_bytes <= limit);
        }
        assert_int_equal(metric_read(&f->metrics, METRIC_STORE_OVERFLOW_ITEMS), 0);
        destroy_fixture(f);
    }
}

/* What does not ask, or asked long before, finds a place beside it, and growth goes on later. */
static void stored_without_memory_it_goes_beside(void **state)
{
    struct fixture *f = create_fixture(300000, NULL);
    struct numbered_key key;
    for (uint64_t i = 0; i < 20000; i++) {
        uint64_t value[2] = {i, 1};
        struct item_draft_options options = {.value_bytes = sizeof(value),
                                             .ignore_maxmemory = true};
        struct item *draft = shard_draft(f->shard, number_key(&key, i)->bytes, &options);
        memcpy(draft_value(draft), value, sizeof(value));
        shard_publish(f->shard, 0, &key.key, draft);
    }
    assert_true(metric_read(&f->metrics, METRIC_STORE_OVERFLOW_ITEMS) > 0);
    assert_true(shard_is_starved(f->shard));
    shard_set_maxmemory(f->shard, 0);
    settle(f);
    assert_false(shard_is_starved(f->shard));
    uint64_t beside = metric_read(&f->metrics, METRIC_STORE_OVERFLOW_ITEMS);
    for (uint64_t i = 20000; i < 40000; i++) {
        assert_true(put_number(f, i, 1));
    }
    assert_int_equal(metric_read(&f->metrics, METRIC_STORE_OVERFLOW_ITEMS), beside);
    for (uint64_t i = 0; i < 40000; i++) {
        assert_int_equal(get_number(f, i), 1);
        assert_true(delete_number(f, i));
    }
    assert_int_equal(metric_read(&f->metrics, METRIC_STORE_OVERFLOW_ITEMS), 0);
    destroy_fixture(f);
}

/* The pages of an index that has shrunk lie scattered: it moves together by itself. */
static void an_index_leaves_pages_that_are_to_become_empty(void **state)
{
    struct fixture *f = create_fixture(0, NULL);
    const uint64_t keys = 400000;
    for (uint64_t i = 0; i < keys; i++) {
        assert_true(put_number(f, i, 1));
        if (i % 32 == 0) {
            maintain(f);
        }
    }
    for (uint64_t i = 0; i < keys; i++) {
        if (i % 5 != 0) {
            assert_true(delete_number(f, i));
        }
        if (i % 32 == 0) {
            maintain(f);
        }
    }
    for (uint32_t i = 0; i < 20000; i++) {
        maintain(f);
    }
    assert_true(f->shard->services.evacuations > 0);
    assert_int_equal(f->shard->memory.evacuating_spans, 0);
    struct shard_memory memory = memory_of(f);
    assert_true(memory.allocated_bytes * 10 > memory.active_bytes * 8);
    assert_true(memory.index_bytes < keys / 5 * 15);
    for (uint64_t i = 0; i < keys; i++) {
        assert_int_equal(get_number(f, i), i % 5 == 0);
    }
    destroy_fixture(f);
}

/* ---- random -----------------------------------------------------------------------------------
 */

#define RANDOM_KEYS 30000U

static bool accept_all(void *argument, const struct item *item)
{
    return true;
}

static bool accept_one(void *argument, const struct item *item)
{
    return chosen_serial(item) == *(const uint64_t *)argument;
}

static void random_picks_are_fair(void **state)
{
    struct fixture *f = *state;
    uint64_t random = 11, counts[100] = {0};
    for (uint64_t i = 0; i < RANDOM_KEYS; i++) {
        assert_true(store(f, random_next(&random), i, 1));
    }
    const struct index *index = f->shard->databases[0].index;
    for (uint32_t i = 0; i < 300000; i++) {
        counts[chosen_serial(index_random(index, &random, accept_all, NULL)) % 100]++;
    }
    for (uint32_t i = 0; i < 100; i++) {
        assert_in_range(counts[i], 2700, 3300);
    }
    /* One that is hardly met by chance is found on the walk. */
    for (uint64_t wanted = 0; wanted < RANDOM_KEYS; wanted += 997) {
        assert_non_null(index_random(index, &random, accept_one, &wanted));
    }
    uint64_t none = RANDOM_KEYS;
    assert_null(index_random(index, &random, accept_one, &none));
}

static int setup_group(void **state)
{
    assert_int_equal(setenv("STORE_INDEX", "buckets", 1), 0);
    return setup_eal(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_model_agrees, setup, teardown),
        cmocka_unit_test_setup_teardown(tables_and_roots_come_and_go, setup, teardown),
        cmocka_unit_test(nothing_is_beside_the_index_at_the_limit),
        cmocka_unit_test(stored_without_memory_it_goes_beside),
        cmocka_unit_test(an_index_leaves_pages_that_are_to_become_empty),
        cmocka_unit_test_setup_teardown(random_picks_are_fair, setup, teardown),
    };
    return cmocka_run_group_tests_name("index_buckets", tests, setup_group, NULL);
}
