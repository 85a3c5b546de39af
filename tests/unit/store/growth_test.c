/* Growth: from nothing to millions of keys and back, SCAN during growth, the memory limit. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "dataplane/channel/channel.h"
#include "dataplane/store/segment.h"
#include "tests/unit/store/store_test.h"

/* The sanitizers make every step several times slower. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define MANY_KEYS 1000000U
#else
#define MANY_KEYS 2000000U
#endif

static void maintain(struct fixture *f)
{
    f->now.mono_us += 10;
    shard_maintain(f->shard, &f->now);
}

static void free_item(void *argument, struct item *item, uint64_t hash)
{
    struct shard *shard = argument;
    shard_note_unpublished(shard, item, memory_block_bytes(&shard->memory, item));
    shard_free_item(shard, item);
}

/* What a flushed database costs one pass is bounded by the work, not by the number of items alone.
 */
static void taking_an_index_apart_is_bounded_by_work(void **state)
{
    enum { KEYS = 20000, WORK = 256 };
    struct fixture *f = create_fixture(0, NULL);
    for (uint64_t i = 0; i < KEYS; i++) {
        assert_true(put_number(f, i, i + 1));
    }
    settle(f);
    struct index *index = f->shard->databases[0].index;
    uint32_t calls = 1;
    f->shard->databases[0].index = NULL;
    f->shard->databases[0].key_count = 0;
    while (!index_dismantle(index, WORK, free_item, f->shard)) {
        calls++;
    }
    assert_in_range(calls, KEYS * INDEX_WORK_ITEM / WORK, 2 * KEYS * INDEX_WORK_ITEM / WORK);
    settle(f);
    assert_int_equal(memory_of(f).used_bytes, 0);
    destroy_fixture(f);
}

static void grows_to_millions_and_gives_all_back(void **state)
{
    struct fixture *f = create_fixture(0, NULL);
    for (uint64_t i = 0; i < MANY_KEYS; i++) {
        assert_true(put_number(f, i, i + 1));
        if (i % 32 == 0) {
            maintain(f);
        }
        if (i % 1000 == 0) {
            assert_int_equal(get_number(f, i / 2), i / 2 + 1);
        }
    }
    assert_int_equal(shard_key_count(f->shard, 0), MANY_KEYS);
    for (uint64_t i = 0; i < MANY_KEYS; i++) {
        assert_int_equal(get_number(f, i), i + 1);
        assert_int_equal(get_number(f, i + MANY_KEYS), 0);
    }
    settle(f);
    struct shard_memory full = memory_of(f);
    assert_true(full.index_bytes / MANY_KEYS < (tested_index() == INDEX_RTE_HASH ? 110 : 11));
    assert_int_equal(metric_read(&f->metrics, METRIC_STORE_OVERFLOW_ITEMS), 0);
    for (uint64_t i = 0; i < MANY_KEYS; i += 2) {
        assert_true(delete_number(f, i));
        if (i % 64 == 0) {
            maintain(f);
        }
    }
    for (uint64_t i = 0; i < MANY_KEYS; i++) {
        assert_int_equal(get_number(f, i), i % 2 == 0 ? 0 : i + 1);
    }
    shard_flush(f->shard, 0);
    assert_int_equal(get_number(f, 1), 0);
    settle(f);
    assert_int_equal(memory_of(f).used_bytes, 0);
    assert_int_equal(metric_read(&f->metrics, METRIC_STORE_SEGMENTS), 0);
    destroy_fixture(f);
}

static void a_shard_is_destroyed_while_it_grows(void **state)
{
    for (uint64_t count = 700; count < 60000; count = count * 3 / 2) {
        struct fixture *f = create_fixture(0, NULL);
        for (uint64_t i = 0; i < count; i++) {
            put_number(f, i, 1);
            if (i % 3 == 0) {
                put_number(f, i, 2);
                delete_number(f, i / 2);
            }
        }
        if (count % 2 == 0) {
            shard_flush(f->shard, 0);
            put_number(f, 1, 1);
            maintain(f);
        }
        destroy_fixture(f);
    }
}

#define SCAN_STABLE  5000U
#define SCAN_INSERTS 100000U

struct seen {
    uint8_t marks[SCAN_STABLE];
};

static void mark_visit(void *argument, const struct item *item)
{
    struct seen *seen = argument;
    uint64_t value[2];
    memcpy(value, item_value_bytes(item), sizeof(value));
    if (value[0] < SCAN_STABLE) {
        seen->marks[value[0]] = 1;
    }
}

/* Stable keys are there from before the first call until after the last; meanwhile others come (and
 * go), stable ones are overwritten, and segments move out and are replaced. */
static void scan_during_growth(struct fixture *f, uint64_t inserts_per_call, uint32_t count)
{
    struct seen *seen = calloc(1, sizeof(*seen));
    uint64_t next = SCAN_STABLE, cursor = 0, calls = 0;
    for (uint64_t i = 0; i < SCAN_STABLE; i++) {
        put_number(f, i, 1);
    }
    do {
        cursor = shard_scan(f->shard, 0, cursor, count, &f->now, mark_visit, seen);
        for (uint64_t i = 0; i < inserts_per_call && next < SCAN_INSERTS; i++, next++) {
            put_number(f, next, 1);
            if (next % 5 == 0 && next >= SCAN_STABLE + 5) {
                delete_number(f, next - 3);
                put_number(f, next % SCAN_STABLE, 2);
            }
        }
        maintain(f);
        assert_true(++calls < 1000000);
    } while (cursor != 0);
    for (uint64_t i = 0; i < SCAN_STABLE; i++) {
        assert_int_equal(seen->marks[i], 1);
    }
    free(seen);
}

static void scan_misses_nothing_during_growth(void **state)
{
    const uint64_t inserts[] = {1, 7, 50, 400};
    for (unsigned i = 0; i < 4; i++) {
        for (uint32_t count = 3; count < 200; count *= 4) {
            struct fixture *f = create_fixture(0, NULL);
            scan_during_growth(f, inserts[i], count);
            destroy_fixture(f);
        }
    }
}

static void maxmemory_is_never_exceeded(void **state)
{
    for (uint64_t limit = 150000; limit < 20000000; limit = limit * 7 / 3) {
        struct fixture *f = create_fixture(limit, NULL);
        uint64_t refused = 0, next = 0;
        while (refused < 2000) {
            if (put_number(f, next, 1)) {
                assert_int_equal(get_number(f, next), 1);
                next++;
            } else {
                refused++;
            }
            assert_true(memory_of(f).used_bytes <= limit);
            if (refused % 100 == 1) {
                maintain(f);
            }
        }
        assert_true(memory_of(f).peak_bytes <= limit);
        assert_true(memory_of(f).used_bytes > limit / 3);
        for (uint64_t i = 0; i < next; i++) {
            assert_int_equal(get_number(f, i), 1);
        }
        /* With room again, writing goes on and growth with it. */
        shard_set_maxmemory(f->shard, 0);
        settle(f);
        for (uint64_t i = 0; i < 3 * next + 5000; i++) {
            assert_true(put_number(f, i, 2));
        }
        settle(f);
        assert_int_equal(get_number(f, next), 2);
        assert_in_range(metric_read(&f->metrics, METRIC_STORE_OVERFLOW_ITEMS), 0, 1);
        destroy_fixture(f);
    }
}

/* Writes that are allowed over the limit find a place even when the index may not grow. */
static void forced_writes_are_never_lost(void **state)
{
    struct fixture *f = create_fixture(150000, NULL);
    struct numbered_key key;
    for (uint64_t i = 0; i < 6000; i++) {
        uint64_t value[2] = {i, 1};
        struct item_draft_options options = {.value_bytes = sizeof(value),
                                             .ignore_maxmemory = true};
        number_key(&key, i);
        struct item *draft = shard_draft(f->shard, key.key.bytes, &options);
        assert_non_null(draft);
        memcpy(draft_value(draft), value, sizeof(value));
        shard_publish(f->shard, 0, &key.key, draft);
    }
    assert_true(metric_read(&f->metrics, METRIC_STORE_OVERFLOW_ITEMS) > 0);
    assert_false(put_number(f, 9999, 1));
    uint64_t cursor = 0;
    struct seen *seen = calloc(1, sizeof(*seen));
    do {
        cursor = shard_scan(f->shard, 0, cursor, 100, &f->now, mark_visit, seen);
    } while (cursor != 0);
    for (uint64_t i = 0; i < 6000; i++) {
        assert_int_equal(get_number(f, i), 1);
        assert_int_equal(i < SCAN_STABLE ? seen->marks[i] : 1, 1);
    }
    free(seen);
    shard_flush(f->shard, 0);
    settle(f);
    assert_int_equal(memory_of(f).used_bytes, 0);
    destroy_fixture(f);
}

/* Churn at a steady number of keys: positions come back, nothing grows for ever. */
static void deleting_and_adding_does_not_grow(void **state)
{
    struct fixture *f = create_fixture(0, NULL);
    for (uint64_t i = 0; i < 1500000; i++) {
        assert_true(put_number(f, i, 1));
        if (i >= 10000) {
            assert_true(delete_number(f, i - 10000));
        }
        if (i % 16 == 0) {
            maintain(f);
        }
    }
    settle(f);
    assert_int_equal(shard_key_count(f->shard, 0), 10000);
    assert_true(memory_of(f).index_bytes <= segment_bytes(1U << 16));
    destroy_fixture(f);
}

/* A reclaimer that never answers: batches wait, emergencies provide segments, teardown frees all.
 */
static void a_silent_reclaimer_stops_nothing(void **state)
{
    struct channel *channel = channel_create(16);
    struct fixture *f = create_fixture(0, channel);
    for (uint64_t i = 0; i < 300000; i++) {
        assert_true(put_number(f, i, 1));
        assert_true(put_number(f, i / 2, 2));
        if (i % 32 == 0) {
            maintain(f);
        }
    }
    for (uint64_t i = 0; i < 300000; i++) {
        assert_int_equal(get_number(f, i), i < 150000 ? 2 : 1);
    }
    /* Buckets are made by the worker in any case. */
    assert_true((metric_read(&f->metrics, METRIC_STORE_SEGMENT_EMERGENCIES) > 0) ==
                (tested_index() == INDEX_RTE_HASH));
    assert_true(memory_of(f).retired_bytes > 0);
    destroy_fixture(f);
    channel_destroy(channel);
}

/* ---- shrinking --------------------------------------------------------------------------------
 */

static uint32_t count_segments(const struct fixture *f)
{
    return (uint32_t)metric_read(&f->metrics, METRIC_STORE_SEGMENTS);
}

/* Passes until the index has looked at all its segments, and done what it found. */
static void settle_index(struct fixture *f)
{
    for (uint32_t i = 0; i < 3000; i++) {
        settle(f);
    }
}

static void index_memory_follows_the_data_down(void **state)
{
    struct fixture *f = create_fixture(0, NULL);
    uint64_t keys = 300000;
    for (uint64_t i = 0; i < keys; i++) {
        assert_true(put_number(f, i, i + 1));
    }
    settle(f);
    uint32_t segments = count_segments(f);
    assert_true(segments >= 8);
    for (uint64_t i = 0; i < keys; i++) {
        if (i % 16 != 0) {
            assert_true(delete_number(f, i));
        }
        if (i % 32 == 0) {
            maintain(f);
        }
    }
    settle_index(f);
    assert_true(memory_of(f).index_bytes < keys / 16 * 60 + sizeof(struct index_services) + 100000);
    for (uint64_t i = 0; i < keys; i++) {
        assert_int_equal(get_number(f, i), i % 16 == 0 ? i + 1 : 0);
    }
    for (uint64_t i = 0; i < keys; i += 16) {
        assert_true(delete_number(f, i));
    }
    settle_index(f);
    assert_int_equal(count_segments(f), 1);
    assert_true(memory_of(f).index_bytes < 100000);
    /* And up again. */
    for (uint64_t i = 0; i < 100000; i++) {
        assert_true(put_number(f, i, 7));
    }
    for (uint64_t i = 0; i < 100000; i++) {
        assert_int_equal(get_number(f, i), 7);
    }
    assert_int_equal(metric_read(&f->metrics, METRIC_STORE_OVERFLOW_ITEMS), 0);
    destroy_fixture(f);
}

/* A number of keys that goes up and down by a tenth moves nothing once it has found its size. */
static void a_steady_number_of_keys_moves_nothing(void **state)
{
    struct fixture *f = create_fixture(0, NULL);
    for (uint64_t i = 0; i < 100000; i++) {
        assert_true(put_number(f, i, 1));
    }
    uint64_t moves = 0;
    for (uint32_t round = 0; round < 6; round++) {
        for (uint64_t i = 0; i < 10000; i++) {
            assert_true(delete_number(f, i));
            if (i % 32 == 0) {
                maintain(f);
            }
        }
        settle_index(f);
        for (uint64_t i = 0; i < 10000; i++) {
            assert_true(put_number(f, i, 1));
        }
        settle_index(f);
        if (round == 1) {
            moves = metric_read(&f->metrics, METRIC_STORE_SEGMENT_MOVES);
        }
    }
    assert_int_equal(metric_read(&f->metrics, METRIC_STORE_SEGMENT_MOVES), moves);
    destroy_fixture(f);
}

static void scan_misses_nothing_while_it_shrinks(void **state)
{
    for (uint32_t deletes = 20; deletes < 2000; deletes *= 5) {
        struct fixture *f = create_fixture(0, NULL);
        struct seen *seen = calloc(1, sizeof(*seen));
        uint64_t next = SCAN_STABLE, cursor = 0;
        for (uint64_t i = 0; i < SCAN_INSERTS; i++) {
            put_number(f, i, 1);
        }
        settle(f);
        do {
            cursor = shard_scan(f->shard, 0, cursor, 20, &f->now, mark_visit, seen);
            for (uint64_t i = 0; i < deletes && next < SCAN_INSERTS; i++, next++) {
                assert_true(delete_number(f, next));
            }
            for (uint32_t i = 0; i < 20; i++) {
                maintain(f);
            }
        } while (cursor != 0);
        for (uint64_t i = 0; i < SCAN_STABLE; i++) {
            assert_int_equal(seen->marks[i], 1);
        }
        free(seen);
        destroy_fixture(f);
    }
}

/* Three times as much is inserted as the walk visits, for as long as it takes: it ends when there
 * are about e^3 times as many keys. */
static void scan_ends_while_inserts_outpace_it(void **state)
{
    struct fixture *f = create_fixture(0, NULL);
    struct seen *seen = calloc(1, sizeof(*seen));
    uint64_t next = 0, cursor = 0, calls = 0;
    for (; next < SCAN_STABLE; next++) {
        put_number(f, next, 1);
    }
    do {
        cursor = shard_scan(f->shard, 0, cursor, 10, &f->now, mark_visit, seen);
        for (uint32_t i = 0; i < 30; i++) {
            assert_true(put_number(f, next++, 1));
        }
        maintain(f);
        assert_true(++calls < 20000);
    } while (cursor != 0);
    for (uint64_t i = 0; i < SCAN_STABLE; i++) {
        assert_int_equal(seen->marks[i], 1);
    }
    free(seen);
    destroy_fixture(f);
}

/* ---- bounds -----------------------------------------------------------------------------------
 */

/* While a segment grows it exists twice, but only one in several: small writes get most of a small
 * maxmemory. */
static void small_writes_get_most_of_a_small_memory(void **state)
{
    const uint64_t limit = 16U << 20;
    struct fixture *f = create_fixture(limit, NULL);
    uint64_t next = 0, refused = 0;
    while (refused < 1000) { /* a worker's writes wait for what is about to be freed, too */
        if (put_number(f, next, 1)) {
            next++;
        } else {
            refused++;
        }
        if (refused > 0 || next % 32 == 0) {
            maintain(f);
        }
    }
    struct shard_memory memory = memory_of(f);
    assert_true(memory.used_bytes > limit / 100 * 90);
    assert_true(memory.peak_bytes <= limit);
    assert_true(memory.index_bytes < next * 60);
    destroy_fixture(f);
}

/* rte_hash: writes pay for moves in handfuls, a pass for two at most. Buckets: a write makes one
 * leaf anew at most, and few do. */
static void a_pass_moves_a_bounded_number_of_entries(void **state)
{
    struct fixture *f = create_fixture(0, NULL);
    uint64_t before = 0, most = 0;
    for (uint64_t i = 0; i < 200000; i++) {
        assert_true(put_number(f, i, 1));
        if (i % 16 == 0) {
            maintain(f);
            uint64_t moves = metric_read(&f->metrics, METRIC_STORE_SEGMENT_MOVES);
            most = moves - before > most ? moves - before : most;
            before = moves;
        }
    }
    assert_true(before > 0 && before < 200000 * 6);
    assert_in_range(most, 1, tested_index() == INDEX_RTE_HASH ? 16 * 24 + 64 + 32 : 16 * 257);
    destroy_fixture(f);
}

/* ---- expiry -----------------------------------------------------------------------------------
 */

static void put_expiring(struct fixture *f, uint64_t number, uint64_t expire_at_ms)
{
    struct numbered_key key;
    assert_true(put(f, 0, number_key(&key, number), SLICE_LITERAL("value"), expire_at_ms));
}

/* Every second key expires, nobody reads any: in 10 s at 10,000 passes per second, all memory is
 * back, the index's too. */
static void expired_keys_give_their_memory_back(void **state)
{
    const uint64_t keys = 200000;
    struct fixture *f = create_fixture(0, NULL);
    for (uint64_t i = 0; i < keys; i++) {
        put_expiring(f, i, i % 2 == 0 ? 2000 : 0);
    }
    settle(f);
    struct shard_memory full = memory_of(f);
    uint64_t before = 0, most = 0;
    f->now.wall_ms = 2001;
    for (uint32_t pass = 0; pass < 100000; pass++) {
        f->now.mono_us += 100;
        shard_maintain(f->shard, &f->now);
        uint64_t expired = metric_read(&f->metrics, METRIC_STORE_EXPIRED_KEYS);
        most = expired - before > most ? expired - before : most;
        before = expired;
    }
    assert_int_equal(before, keys / 2);
    assert_int_equal(shard_key_count(f->shard, 0), keys / 2);
    /* Of the items more than half: those that stay have no expiry. Of the index, whose parts are at
     * different fills, about. */
    assert_true(memory_of(f).item_bytes < full.item_bytes / 2);
    assert_true(memory_of(f).used_bytes < full.used_bytes * 65 / 100);
    assert_true(most < 2000); /* bounded by time; a slice has 32 */
    destroy_fixture(f);
}

/* Few keys that can expire do not make the search run at full speed through those that cannot. */
static void few_expiring_keys_cost_little(void **state)
{
    struct fixture *f = create_fixture(0, NULL);
    for (uint64_t i = 0; i < 100000; i++) {
        put_expiring(f, i, i % 1000 == 0 ? 5000000 : 0);
    }
    settle(f);
    uint64_t before = metric_read(&f->metrics, METRIC_STORE_EXPIRY_SEARCHED);
    for (uint32_t pass = 0; pass < 100000; pass++) { /* one second */
        f->now.mono_us += 10;
        shard_maintain(f->shard, &f->now);
    }
    uint64_t searched = metric_read(&f->metrics, METRIC_STORE_EXPIRY_SEARCHED) - before;
    assert_in_range(searched, 100000, 135000);
    destroy_fixture(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(grows_to_millions_and_gives_all_back),
        cmocka_unit_test(taking_an_index_apart_is_bounded_by_work),
        cmocka_unit_test(a_shard_is_destroyed_while_it_grows),
        cmocka_unit_test(scan_misses_nothing_during_growth),
        cmocka_unit_test(maxmemory_is_never_exceeded),
        cmocka_unit_test(forced_writes_are_never_lost),
        cmocka_unit_test(deleting_and_adding_does_not_grow),
        cmocka_unit_test(a_silent_reclaimer_stops_nothing),
        cmocka_unit_test(index_memory_follows_the_data_down),
        cmocka_unit_test(a_steady_number_of_keys_moves_nothing),
        cmocka_unit_test(scan_misses_nothing_while_it_shrinks),
        cmocka_unit_test(scan_ends_while_inserts_outpace_it),
        cmocka_unit_test(small_writes_get_most_of_a_small_memory),
        cmocka_unit_test(a_pass_moves_a_bounded_number_of_entries),
        cmocka_unit_test(expired_keys_give_their_memory_back),
        cmocka_unit_test(few_expiring_keys_cost_little),
    };
    return cmocka_run_group_tests_name("growth", tests, setup_eal, NULL);
}
