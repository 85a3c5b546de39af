/* Eviction without threads: counters, scores, the choice by every policy, the owner's checks, the
 * headroom and the ghost. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "config/config.h"
#include "control/eviction/evictor.h"
#include "control/eviction/ghost.h"
#include "control/eviction/headroom.h"
#include "tests/unit/store/store_test.h"

#define MINUTE_US 60000000ULL

/* A shard, its evictor, and the policy of a configuration. */
struct bench {
    struct fixture *f;
    struct evictor *evictor;
    struct config *config;
    struct eviction_policy policy;
    uint64_t random_state;
    struct eviction_batch batch;
};

static void set_policy(struct bench *b, const char *name)
{
    char *words[] = {(char *)(uintptr_t) "maxmemory-policy", (char *)(uintptr_t)name};
    struct config_error error;
    assert_int_equal(config_set(b->config, 2, words, &error), 0);
}

/* Time goes on, and the policy with it. */
static void advance(struct bench *b, uint64_t us)
{
    b->f->now.mono_us += us;
    b->f->now.wall_ms += us / 1000;
    eviction_policy_set(&b->policy, b->config, &b->f->now);
    shard_set_policy(b->f->shard, &b->policy);
}

static int setup(void **state)
{
    struct bench *b = calloc(1, sizeof(*b));
    assert_non_null(b);
    b->f = create_fixture(0, NULL);
    b->config = config_create_default();
    b->evictor = evictor_create(b->f->shard, 99);
    b->random_state = 7;
    assert_true(b->config != NULL && b->evictor != NULL);
    *state = b;
    return 0;
}

static int teardown(void **state)
{
    struct bench *b = *state;
    evictor_destroy(b->evictor);
    destroy_fixture(b->f);
    config_destroy(b->config);
    free(b);
    return 0;
}

static void put_range(struct bench *b, uint64_t from, uint64_t to, uint64_t expire_at_ms)
{
    static const uint8_t value[16];
    for (uint64_t i = from; i < to; i++) {
        struct numbered_key key;
        assert_true(put(b->f, 0, number_key(&key, i), slice_of(value, 16), expire_at_ms));
        evictor_follow(b->evictor, &b->policy);
    }
}

static const struct item *find(struct bench *b, uint64_t number)
{
    struct numbered_key key;
    return shard_find(b->f->shard, 0, number_key(&key, number), &b->f->now);
}

static void use_range(struct bench *b, uint64_t from, uint64_t to)
{
    for (uint64_t i = from; i < to; i++) {
        const struct item *item = find(b, i);
        assert_non_null(item);
        eviction_note_use(&b->policy, item, &b->random_state);
    }
}

static uint64_t count_range(struct bench *b, uint64_t from, uint64_t to)
{
    uint64_t count = 0;
    for (uint64_t i = from; i < to; i++) {
        count += find(b, i) != NULL;
    }
    return count;
}

static uint64_t evicted_keys(const struct bench *b)
{
    return metric_read(&b->f->metrics, METRIC_STORE_EVICTED_KEYS);
}

static void work_off(struct bench *b)
{
    shard_queue_evictions(b->f->shard, &b->batch);
    settle(b->f);
    assert_ptr_equal(shard_take_finished_eviction(b->f->shard), &b->batch);
    assert_null(shard_take_finished_eviction(b->f->shard));
}

static bool choose(struct bench *b)
{
    b->batch.count = 0;
    b->batch.bytes = 0;
    return evictor_choose(b->evictor, &b->policy, &b->f->now, UINT64_MAX, &b->batch);
}

/* Until so many keys are left, or nothing can be evicted. */
static void evict_down_to(struct bench *b, uint64_t count)
{
    while (shard_key_count(b->f->shard, 0) > count && choose(b)) {
        uint64_t surplus = shard_key_count(b->f->shard, 0) - count;
        b->batch.count = b->batch.count < surplus ? b->batch.count : (uint32_t)surplus;
        work_off(b);
    }
}

/* ---- access bits ------------------------------------------------------------------------------
 */

static void frequency_counts_and_decays_as_redis_has_it(void **state)
{
    struct bench *b = *state;
    struct eviction_policy policy = {.access = ACCESS_FREQUENCY, .decay_minutes = 2, .now = 10};
    uint32_t access = eviction_initial_access(&policy);
    assert_int_equal(eviction_lfu_counter(&policy, access), 5);
    for (int i = 0; i < 400; i++) { /* factor 0: every use counts, up to 255 */
        access = eviction_lfu_use(&policy, access, &b->random_state);
    }
    assert_int_equal(eviction_lfu_counter(&policy, access), 255);
    policy.now = 13;
    assert_int_equal(eviction_lfu_counter(&policy, access), 254);
    policy.now = 10 + 2 * 300;
    assert_int_equal(eviction_lfu_counter(&policy, access), 0);
    policy.decay_minutes = 0;
    assert_int_equal(eviction_lfu_counter(&policy, access), 255);
    policy.now = 5; /* 65531 minutes later, as 16 bits have it */
    policy.decay_minutes = 65531;
    assert_int_equal(eviction_lfu_counter(&policy, access), 254);
}

/* Redis documents about 10 for a hundred uses and 18 for a thousand with the factor 10. */
static void frequency_grows_with_the_logarithm(void **state)
{
    struct bench *b = *state;
    struct eviction_policy policy = {.access = ACCESS_FREQUENCY, .log_factor = 10};
    uint32_t sums[2] = {0};
    for (int run = 0; run < 50; run++) {
        uint32_t access = eviction_initial_access(&policy);
        for (int use = 1; use <= 1000; use++) {
            access = eviction_lfu_use(&policy, access, &b->random_state);
            sums[0] += use == 100 ? eviction_lfu_counter(&policy, access) : 0;
        }
        sums[1] += eviction_lfu_counter(&policy, access);
    }
    assert_in_range(sums[0] / 50, 9, 11);
    assert_in_range(sums[1] / 50, 17, 20);
}

static void idle_time_is_told_in_seconds(void **state)
{
    struct bench *b = *state;
    advance(b, 0);
    put_range(b, 0, 1, 0);
    advance(b, 100 * 1000000ULL);
    assert_in_range(eviction_idle_seconds(&b->policy, item_access(find(b, 0))), 99, 100);
    use_range(b, 0, 1);
    assert_int_equal(eviction_idle_seconds(&b->policy, item_access(find(b, 0))), 0);
}

static void an_overwritten_key_keeps_its_frequency(void **state)
{
    struct bench *b = *state;
    set_policy(b, "allkeys-lfu");
    b->config->lfu_log_factor = 0;
    advance(b, 0);
    put_range(b, 0, 1, 0);
    use_range(b, 0, 1);
    use_range(b, 0, 1);
    assert_int_equal(eviction_lfu_counter(&b->policy, item_access(find(b, 0))), 7);
    put_range(b, 0, 1, 0);
    assert_int_equal(eviction_lfu_counter(&b->policy, item_access(find(b, 0))), 8);
}

/* ---- choices ----------------------------------------------------------------------------------
 */

static void lru_takes_what_is_idle(void **state)
{
    struct bench *b = *state;
    set_policy(b, "allkeys-lru");
    advance(b, MINUTE_US);
    put_range(b, 0, 4000, 0);
    advance(b, MINUTE_US);
    use_range(b, 0, 2000);
    advance(b, MINUTE_US);
    evict_down_to(b, 2400);
    assert_int_equal(evicted_keys(b), 1600);
    assert_true(count_range(b, 0, 2000) > 1900);
}

static void lfu_takes_what_is_rarely_used(void **state)
{
    struct bench *b = *state;
    set_policy(b, "allkeys-lfu");
    b->config->lfu_log_factor = 0;
    advance(b, 0);
    put_range(b, 0, 4000, 0);
    for (int i = 0; i < 5; i++) {
        use_range(b, 2000, 4000);
    }
    evict_down_to(b, 2400);
    assert_true(count_range(b, 2000, 4000) > 1900);
}

static void ttl_takes_what_expires_first(void **state)
{
    struct bench *b = *state;
    set_policy(b, "volatile-ttl");
    advance(b, 0);
    put_range(b, 0, 2000, b->f->now.wall_ms + 100000);
    put_range(b, 2000, 4000, b->f->now.wall_ms + 900000);
    put_range(b, 4000, 5000, 0);
    evict_down_to(b, 3400);
    assert_int_equal(count_range(b, 4000, 5000), 1000);
    assert_true(count_range(b, 2000, 4000) > 1900);
}

static void volatile_policies_leave_other_keys_alone(void **state)
{
    static const char *const names[] = {"volatile-lru", "volatile-lfu", "volatile-random",
                                        "volatile-ttl"};
    struct bench *b = *state;
    for (uint32_t i = 0; i < 4; i++) {
        set_policy(b, names[i]);
        advance(b, 0);
        put_range(b, 0, 1000, 0);
        assert_false(shard_can_evict(b->f->shard));
        assert_false(choose(b));
        put_range(b, 1000, 1500, b->f->now.wall_ms + 100000);
        assert_true(shard_can_evict(b->f->shard));
        evict_down_to(b, 0);
        assert_int_equal(shard_key_count(b->f->shard, 0), 1000);
    }
}

static void random_takes_some_of_all(void **state)
{
    struct bench *b = *state;
    set_policy(b, "allkeys-random");
    advance(b, 0);
    put_range(b, 0, 4000, 0);
    evict_down_to(b, 2000);
    assert_in_range(count_range(b, 0, 2000), 850, 1150);
}

/* New keys that nobody uses go first; what was used stays, and a key that comes back soon after it
 * went is not put on trial again. */
static void s3fifo_keeps_what_is_used_again(void **state)
{
    struct bench *b = *state;
    set_policy(b, "allkeys-s3fifo");
    advance(b, 0);
    put_range(b, 0, 2000, 0);
    for (int i = 0; i < 3; i++) {
        use_range(b, 0, 2000);
    }
    for (uint64_t i = 2000; i < 8000; i += 100) {
        put_range(b, i, i + 100, 0);
        evict_down_to(b, 2200);
    }
    assert_true(count_range(b, 0, 2000) > 1900);
    uint64_t gone = 7700;
    while (find(b, gone) != NULL) {
        gone--;
    }
    put_range(b, gone, gone + 1, 0);
    assert_true((item_access(find(b, gone)) & ACCESS_MAIN) != 0);
}

static void every_policy_can_empty_a_shard(void **state)
{
    static const char *const names[] = {"allkeys-lru", "allkeys-lfu", "allkeys-random",
                                        "allkeys-s3fifo"};
    struct bench *b = *state;
    for (uint32_t i = 0; i < 4; i++) {
        for (uint64_t count = 1; count < 3000; count *= 7) {
            set_policy(b, names[i]);
            advance(b, 0);
            put_range(b, 0, count, 0);
            use_range(b, 0, count);
            evict_down_to(b, 0);
            assert_int_equal(shard_key_count(b->f->shard, 0), 0);
        }
    }
    assert_false(choose(b));
}

/* Keys in several databases go, too. */
static void all_databases_are_walked(void **state)
{
    struct bench *b = *state;
    set_policy(b, "allkeys-lru");
    advance(b, 0);
    for (uint32_t database = 0; database < SHARD_DATABASE_COUNT; database += 5) {
        struct numbered_key key;
        assert_true(put(b->f, database, number_key(&key, database), SLICE_LITERAL("v"), 0));
    }
    for (uint32_t i = 0; i < 10 && shard_can_evict(b->f->shard); i++) {
        assert_true(choose(b));
        work_off(b);
    }
    assert_int_equal(evicted_keys(b), 4);
}

/* ---- the owner --------------------------------------------------------------------------------
 */

static void the_owner_checks_every_victim(void **state)
{
    struct bench *b = *state;
    set_policy(b, "allkeys-random");
    advance(b, 0);
    put_range(b, 0, 64, 0);
    do {
        assert_true(choose(b));
    } while (b->batch.count < 3);
    b->batch.count = 3;
    /* The first is overwritten, the second is deleted, and a fourth never was. */
    struct slice names[2] = {item_key(b->batch.victims[0].item),
                             item_key(b->batch.victims[1].item)};
    struct key keys[2] = {key_hashed(names[0]), key_hashed(names[1])};
    assert_true(put(b->f, 0, &keys[0], SLICE_LITERAL("another"), 0));
    assert_true(shard_delete(b->f->shard, 0, &keys[1], &b->f->now));
    static const uint64_t nothing[4];
    b->batch.victims[3] = (struct eviction_victim){(const struct item *)(const void *)nothing,
                                                   b->batch.victims[0].hash, 0};
    b->batch.count = 4;
    work_off(b);
    assert_int_equal(evicted_keys(b), 1);
    assert_int_equal(shard_key_count(b->f->shard, 0), 62);
}

static void a_flush_leaves_no_victim(void **state)
{
    struct bench *b = *state;
    set_policy(b, "allkeys-random");
    advance(b, 0);
    put_range(b, 0, 64, 0);
    assert_true(choose(b));
    shard_flush(b->f->shard, 0);
    work_off(b);
    assert_int_equal(evicted_keys(b), 0);
}

static void an_emergency_evicts_a_few(void **state)
{
    struct bench *b = *state;
    set_policy(b, "allkeys-lru");
    advance(b, 0);
    put_range(b, 0, 1000, 0);
    shard_evict_now(b->f->shard);
    assert_in_range(evicted_keys(b), 1, 16);
    assert_int_equal(metric_read(&b->f->metrics, METRIC_STORE_EMERGENCY_EVICTIONS),
                     evicted_keys(b));
    set_policy(b, "noeviction");
    advance(b, 0);
    uint64_t before = evicted_keys(b);
    shard_evict_now(b->f->shard);
    assert_int_equal(evicted_keys(b), before);
}

/* Several times what fits, 32 keys in a pass, and nobody sends victims. An index that may not grow
 * any more says so when it is nearly full, not long before; leaves that grow need pages of other
 * sizes, which are made by moving items. */
static void writes_find_room_when_the_control_thread_is_late(void **state)
{
    struct bench *b = *state;
    struct numbered_key key;
    const uint64_t limit = 16 << 20, keys = 1000000;
    uint64_t waits = 0, stored = 0;
    set_policy(b, "allkeys-lru");
    shard_set_maxmemory(b->f->shard, limit);
    while (stored < keys) {
        uint64_t before = stored;
        while (stored < before + 32 &&
               put(b->f, 0, number_key(&key, stored), slice_of("value", 5), 0)) {
            stored++;
        }
        waits += stored < before + 32;
        advance(b, 100);
        shard_maintain(b->f->shard, &b->f->now);
        assert_true(shard_used_bytes(b->f->shard) <= limit);
    }
    assert_true(waits < keys / 32 / (tested_index() == INDEX_BUCKETS ? 2 : 50));
    assert_true(shard_used_bytes(b->f->shard) > limit / 8 * 7);
    assert_int_equal(metric_read(&b->f->metrics, METRIC_STORE_EMERGENCY_EVICTIONS),
                     evicted_keys(b));
    assert_int_equal(evicted_keys(b) + shard_key_count(b->f->shard, 0), stored);
}

static void nothing_goes_early_that_the_policy_keeps(void **state)
{
    struct bench *b = *state;
    struct numbered_key key;
    set_policy(b, "volatile-lru");
    advance(b, 0);
    shard_set_maxmemory(b->f->shard, 8 << 20);
    for (uint64_t i = 0; put(b->f, 0, number_key(&key, i), slice_of("value", 5), 0); i++) {
        advance(b, 100);
        shard_maintain(b->f->shard, &b->f->now);
    }
    assert_int_equal(evicted_keys(b), 0);
}

static void what_was_evicted_is_kept_on_request(void **state)
{
    struct bench *b = *state;
    const struct eviction_victim *evicted;
    set_policy(b, "allkeys-lru");
    advance(b, 0);
    put_range(b, 0, 1000, 0);
    shard_evict_now(b->f->shard);
    assert_int_equal(shard_take_evicted(b->f->shard, &evicted), 0);
    uint64_t before = evicted_keys(b);
    shard_keep_evicted(b->f->shard, true);
    shard_evict_now(b->f->shard);
    uint32_t count = shard_take_evicted(b->f->shard, &evicted);
    assert_int_equal(count, evicted_keys(b) - before);
    assert_in_range(count, 1, 16);
    for (uint32_t i = 0; i < count; i++) {
        struct key key = key_hashed(item_key(evicted[i].item));
        assert_int_equal(key.hash, evicted[i].hash);
        assert_null(shard_find(b->f->shard, evicted[i].database, &key, &b->f->now));
    }
    assert_int_equal(shard_take_evicted(b->f->shard, &evicted), 0);
    shard_keep_evicted(b->f->shard, false);
    shard_evict_now(b->f->shard);
    assert_int_equal(shard_take_evicted(b->f->shard, &evicted), 0);
}

/* ---- headroom ---------------------------------------------------------------------------------
 */

static void headroom_follows_the_writers(void **state)
{
    (void)state;
    struct headroom h = {0};
    uint64_t limit = 64 << 20, used = 32 << 20, now_us = 1000000;
    headroom_note(&h, used, now_us);
    assert_int_equal(headroom_bytes(&h, limit), limit / 64);
    assert_int_equal(headroom_excess(&h, limit, used, 0), 0);
    for (int i = 0; i < 10; i++) {
        headroom_note(&h, used += 200000, now_us += 1000);
    }
    assert_int_equal(headroom_bytes(&h, limit), 200000 * 16);
    assert_int_equal(headroom_excess(&h, limit, limit, 0), 200000 * 16);
    assert_int_equal(headroom_excess(&h, limit, limit, 9000000), 9000000);
    headroom_note_waiting(&h, now_us);
    assert_int_equal(headroom_bytes(&h, limit), 200000 * 32);
    headroom_note(&h, used += 90000000, now_us += 1000);
    assert_int_equal(headroom_bytes(&h, limit), limit / 8);
    headroom_note(&h, used, now_us += 3000000);
    assert_int_equal(headroom_bytes(&h, limit), limit / 64);
}

/* What is chosen leaves by itself: its going must not hide that as much was written. */
static void headroom_sees_writes_behind_evictions(void **state)
{
    (void)state;
    struct headroom h = {0};
    headroom_note(&h, 1000000, 1000000);
    headroom_note_chosen(&h, 300000);
    headroom_note(&h, 1000000, 1001000);
    assert_int_equal(h.bytes_per_ms, 300000);
}

/* ---- ghost ------------------------------------------------------------------------------------
 */

static void ghost_remembers_the_last_ones(void **state)
{
    struct bench *b = *state;
    struct ghost ghost = {0};
    static uint64_t hashes[20000];
    assert_false(ghost_take(&ghost, 1));
    ghost_resize(&ghost, 5000);
    for (uint32_t i = 0; i < 20000; i++) {
        hashes[i] = random_next(&b->random_state);
        ghost_add(&ghost, hashes[i]);
    }
    uint32_t recent = 0, old = 0;
    for (uint32_t i = 0; i < 10000; i++) {
        old += ghost_take(&ghost, hashes[i]);
    }
    for (uint32_t i = 16000; i < 20000; i++) {
        recent += ghost_take(&ghost, hashes[i]);
    }
    assert_true(recent > 3700);
    assert_true(old < 60);
    assert_false(ghost_take(&ghost, hashes[19999])); /* taken is forgotten */
    ghost_deinit(&ghost);
}

int main(void)
{
#define ROW(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        ROW(frequency_counts_and_decays_as_redis_has_it),
        ROW(frequency_grows_with_the_logarithm),
        ROW(idle_time_is_told_in_seconds),
        ROW(an_overwritten_key_keeps_its_frequency),
        ROW(lru_takes_what_is_idle),
        ROW(lfu_takes_what_is_rarely_used),
        ROW(ttl_takes_what_expires_first),
        ROW(volatile_policies_leave_other_keys_alone),
        ROW(random_takes_some_of_all),
        ROW(s3fifo_keeps_what_is_used_again),
        ROW(every_policy_can_empty_a_shard),
        ROW(all_databases_are_walked),
        ROW(the_owner_checks_every_victim),
        ROW(a_flush_leaves_no_victim),
        ROW(an_emergency_evicts_a_few),
        ROW(writes_find_room_when_the_control_thread_is_late),
        ROW(nothing_goes_early_that_the_policy_keeps),
        ROW(what_was_evicted_is_kept_on_request),
        ROW(headroom_follows_the_writers),
        ROW(headroom_sees_writes_behind_evictions),
        ROW(ghost_remembers_the_last_ones),
    };
#undef ROW
    return cmocka_run_group_tests_name("eviction", tests, setup_eal, NULL);
}
