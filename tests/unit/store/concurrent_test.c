/* One writer, foreign readers, the reclaimer running: no reader ever sees a wrong value, one that
 * was replaced before he looked, a freed item or a missing stable key, while the writer overwrites,
 * deletes, grows and flushes. Readers fetch their keys as requests do, or not at all.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <unistd.h>

#include "dataplane/base/hash.h"
#include "dataplane/base/rcu.h"
#include "dataplane/channel/channel.h"
#include "dataplane/store/reclaimer.h"
#include "tests/unit/store/store_test.h"

#ifdef __SANITIZE_THREAD__
#define STEPS 150000U
#else
#define STEPS 1500000U
#endif
#define STABLE_KEYS 2000U
#define WILD_KEYS   20000U
#define READERS     2

struct world {
    struct fixture *fixture;
    struct shard *shard;
    struct channel *from, *to;
    struct reclaimer *reclaimer;
    bool stop;
    uint64_t reads[READERS], wrong[READERS], missed[READERS], stale[READERS], noted[READERS];
    uint64_t versions[WILD_KEYS]; /* atomic: of the last change that is done */
};

struct reader {
    struct world *world;
    uint32_t number;
};

static void check_read(struct world *world, uint32_t reader, uint64_t number, const struct key *key)
{
    struct instant now = {.wall_ms = 1000};
    uint64_t least = __atomic_load_n(&world->versions[number], __ATOMIC_ACQUIRE);
    const struct item *item = shard_find_shared(world->shard, number % 2, key, &now);
    world->reads[reader]++;
    if (item == NULL) {
        world->missed[reader] += number < STABLE_KEYS;
        return;
    }
    uint64_t value[2];
    memcpy(value, item_value_bytes(item), sizeof(value));
    bool right = item_stored_bytes(item) >= sizeof(value) && value[0] == number &&
                 slice_equal(item_key(item), key->bytes);
    if (item_stored_bytes(item) > sizeof(value)) {
        right = right && item_value_bytes(item)[item_stored_bytes(item) - 1] == (uint8_t)value[1];
    }
    world->wrong[reader] += !right;
    world->stale[reader] += value[1] < least;
}

/* What a pass reads. */
struct burst {
    uint64_t numbers[SHARD_LOOKUP_BURST];
    struct numbered_key texts[SHARD_LOOKUP_BURST];
    struct key keys[SHARD_LOOKUP_BURST];
};

static void draw_burst(struct world *world, struct burst *burst, uint64_t *random)
{
    for (uint32_t i = 0; i < SHARD_LOOKUP_BURST; i++) {
        uint64_t choice = random_next(random);
        uint64_t number = (choice >> 40) % 2 != 0 ? choice % STABLE_KEYS : choice % WILD_KEYS;
        burst->numbers[i] = number;
        burst->keys[i] = *number_key(&burst->texts[i], number);
        burst->keys[i].index = shard_index(world->shard, number % 2);
    }
}

static void fetch_burst(struct burst *burst)
{
    struct shard_lookup lookups[SHARD_LOOKUP_BURST];
    uint32_t count = 0;
    for (uint32_t i = 0; i < SHARD_LOOKUP_BURST; i++) {
        if (burst->keys[i].index != NULL) {
            lookups[count++] = (struct shard_lookup){burst->keys[i].index, &burst->keys[i], false};
        }
    }
    shard_prefetch_bulk(lookups, count);
}

static bool is_noted(const struct world *world, const struct burst *burst, uint32_t i)
{
    const struct index *index = shard_index(world->shard, burst->numbers[i] % 2);
    return index != NULL && index_found_item(index, &burst->keys[i]) != NULL;
}

static void read_burst(struct world *world, uint32_t reader, uint64_t *random)
{
    struct burst burst;
    struct shard_prefetch ahead;
    draw_burst(world, &burst, random);
    uint64_t way = random_next(random) % 3;
    shard_prefetch_begin(&ahead, world->shard, false, burst.keys);
    if (way == 0) {
        fetch_burst(&burst);
    } else if (way == 1) {
        shard_prefetch_add(&ahead, SHARD_LOOKUP_BURST);
    }
    for (uint32_t i = 0; i < SHARD_LOOKUP_BURST; i++) {
        shard_prefetch_reach(&ahead, &burst.keys[i]);
        world->noted[reader] += is_noted(world, &burst, i);
        check_read(world, reader, burst.numbers[i], &burst.keys[i]);
    }
}

static void *read_for_long(void *argument)
{
    const struct reader *reader = argument;
    struct world *world = reader->world;
    uint64_t random = reader->number + 1;
    rcu_thread_register();
    for (uint32_t pass = 0; !__atomic_load_n(&world->stop, __ATOMIC_ACQUIRE); pass++) {
        read_burst(world, reader->number, &random);
        rcu_quiescent();
        if (pass % 1000 == 999) {
            rcu_thread_unregister();
            usleep(100);
            rcu_thread_register();
        }
    }
    rcu_thread_unregister();
    return NULL;
}

/* ---- a foreign walk ---------------------------------------------------------------------------
 */

struct walker {
    struct world *world;
    uint64_t walks, visited, wrong, missed;
    uint8_t marks[STABLE_KEYS];
};

static void look_at_item(void *argument, const struct item *item, uint64_t hash)
{
    struct walker *walker = argument;
    struct numbered_key key;
    uint64_t value[2];
    memcpy(value, item_value_bytes(item), sizeof(value));
    walker->visited++;
    walker->wrong += !slice_equal(item_key(item), number_key(&key, value[0])->bytes);
    walker->wrong += key.key.hash != hash;
    if (value[0] < STABLE_KEYS) {
        walker->marks[value[0]] = 1;
    }
}

/* Both databases from the first call to the last; a walk that was stopped half-way proves nothing.
 */
static bool walk_once(struct walker *walker)
{
    struct instant now = {.wall_ms = 1000};
    for (uint32_t database = 0; database < 2; database++) {
        uint64_t cursor = 0;
        do {
            cursor = shard_scan_shared(walker->world->shard, database, cursor, 100, &now,
                                       look_at_item, walker);
            rcu_quiescent();
            if (__atomic_load_n(&walker->world->stop, __ATOMIC_ACQUIRE)) {
                return false;
            }
        } while (cursor != 0);
    }
    return true;
}

static void *walk_for_long(void *argument)
{
    struct walker *walker = argument;
    rcu_thread_register();
    while (walk_once(walker)) {
        for (uint32_t i = 0; i < STABLE_KEYS; i++) {
            walker->missed += walker->marks[i] == 0;
        }
        memset(walker->marks, 0, sizeof(walker->marks));
        walker->walks++;
    }
    rcu_thread_unregister();
    return NULL;
}

static void note_change(struct world *world, uint64_t number, uint64_t version)
{
    if (number < WILD_KEYS) {
        __atomic_store_n(&world->versions[number], version, __ATOMIC_RELEASE);
    }
}

static void write_number(struct world *world, uint64_t number, uint64_t version)
{
    struct numbered_key key;
    static uint8_t bytes[20000];
    uint64_t value[2] = {number, version};
    memcpy(bytes, value, sizeof(value));
    size_t size = version % 500 == 0 ? sizeof(bytes) : sizeof(value); /* some in a blob */
    if (size == sizeof(bytes)) {
        bytes[size - 1] = (uint8_t)version;
    }
    assert_true(
        put(world->fixture, number % 2, number_key(&key, number), slice_of(bytes, size), 0));
    note_change(world, number, version);
}

static void delete_key(struct world *world, uint64_t number, uint64_t version)
{
    struct numbered_key key;
    shard_delete(world->shard, number % 2, number_key(&key, number), &world->fixture->now);
    note_change(world, number, version);
}

static void write_pass(struct world *world)
{
    struct message messages[32];
    uint32_t count = channel_receive_burst(world->to, messages, 32);
    for (uint32_t i = 0; i < count; i++) {
        shard_take_message(world->shard, &messages[i]);
    }
    clock_read(&world->fixture->now);
    world->fixture->now.wall_ms = 1000;
    shard_maintain(world->shard, &world->fixture->now);
    rcu_quiescent();
}

static void write_for_long(struct world *world)
{
    uint64_t random = 7;
    uint32_t growing = WILD_KEYS;
    struct numbered_key key;
    for (uint64_t step = 1; step <= STEPS; step++) {
        uint64_t choice = random_next(&random);
        uint64_t number = choice % WILD_KEYS;
        if (choice >> 62 == 0 && number >= STABLE_KEYS) {
            delete_key(world, number, step);
        } else if (choice >> 62 == 1 && step * 8 / STEPS % 4 < 3) {
            write_number(world, growing++, step);
        } else if (choice >> 62 == 1) { /* and shrinks, three times as fast */
            for (uint32_t i = 0; i < 3 && growing > WILD_KEYS; i++) {
                delete_key(world, --growing, step);
            }
        } else {
            write_number(world, number, step);
        }
        if (step % 32 == 0) {
            write_pass(world);
        }
        if (step % 50000 == 0) {
            shard_flush(world->shard, 5);
            put(world->fixture, 5, number_key(&key, 1), SLICE_LITERAL("x"), 0);
        }
    }
}

static void create_world(struct world *world, uint64_t maxmemory_bytes)
{
    *world = (struct world){.from = channel_create(256), .to = channel_create(1024)};
    world->fixture = create_fixture(maxmemory_bytes, world->from);
    world->shard = world->fixture->shard;
    world->reclaimer = reclaimer_create(&world->from, &world->to, 1);
    assert_non_null(world->reclaimer);
}

static void destroy_world(struct world *world)
{
    reclaimer_destroy(world->reclaimer);
    destroy_fixture(world->fixture);
    channel_destroy(world->from);
    channel_destroy(world->to);
}

static void readers_see_only_what_is_right(void **state)
{
    static struct world world;
    create_world(&world, 0);
    rcu_thread_register();
    for (uint64_t i = 0; i < STABLE_KEYS; i++) {
        write_number(&world, i, 1);
    }
    pthread_t threads[READERS];
    struct reader readers[READERS];
    for (uint32_t i = 0; i < READERS; i++) {
        readers[i] = (struct reader){&world, i};
        assert_int_equal(pthread_create(&threads[i], NULL, read_for_long, &readers[i]), 0);
    }
    write_for_long(&world);
    __atomic_store_n(&world.stop, true, __ATOMIC_RELEASE);
    rcu_thread_unregister();
    for (uint32_t i = 0; i < READERS; i++) {
        pthread_join(threads[i], NULL);
        assert_true(world.reads[i] > 1000);
        assert_int_equal(world.wrong[i], 0);
        assert_int_equal(world.missed[i], 0);
        assert_int_equal(world.stale[i], 0);
        assert_true(world.noted[i] > world.reads[i] / 3);
    }
    assert_true(metric_read(&world.fixture->metrics, METRIC_STORE_RECLAIMED_OBJECTS) > 1000);
    assert_true(metric_read(&world.fixture->metrics, METRIC_STORE_SEGMENT_SPLITS) > 2);
    destroy_world(&world);
}

static void a_foreign_walk_sees_every_stable_key(void **state)
{
    struct world world;
    create_world(&world, 0);
    rcu_thread_register();
    for (uint64_t i = 0; i < STABLE_KEYS; i++) {
        write_number(&world, i, 1);
    }
    static struct walker walker;
    walker = (struct walker){.world = &world};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, walk_for_long, &walker), 0);
    write_for_long(&world);
    __atomic_store_n(&world.stop, true, __ATOMIC_RELEASE);
    rcu_thread_unregister();
    pthread_join(thread, NULL);
    assert_true(walker.walks > 0);
    assert_int_equal(walker.wrong, 0);
    assert_int_equal(walker.missed, 0);
    assert_true(metric_read(&world.fixture->metrics, METRIC_STORE_SEGMENT_SPLITS) > 2);
    destroy_world(&world);
}

static bool everything_came_back(struct world *world)
{
    return memory_of(world->fixture).retired_bytes == 0 &&
           memory_of(world->fixture).used_bytes == 0;
}

static void what_is_retired_comes_back(void **state)
{
    struct world world;
    create_world(&world, 0);
    rcu_thread_register();
    for (uint64_t i = 0; i < 200000; i++) {
        write_number(&world, i % 50000, i);
        if (i % 32 == 0) {
            write_pass(&world);
        }
    }
    shard_flush(world.shard, 0);
    shard_flush(world.shard, 1);
    for (uint32_t i = 0; i < 20000 && !everything_came_back(&world); i++) {
        write_pass(&world);
        usleep(100);
    }
    assert_true(everything_came_back(&world));
    assert_int_equal(metric_read(&world.fixture->metrics, METRIC_STORE_SEGMENTS), 0);
    rcu_thread_unregister();
    destroy_world(&world);
}

/* ---- large values are held by replies of other workers ----------------------------------------
 */

#define BLOB_KEYS  64U
#define BLOB_BYTES 30000U
#define HELD       8U
#ifdef __SANITIZE_THREAD__
#define BLOB_STEPS 6000U
#else
#define BLOB_STEPS 60000U
#endif

static void write_blob(struct world *world, uint64_t number, uint64_t version)
{
    static uint8_t bytes[BLOB_BYTES];
    struct numbered_key key;
    memset(bytes, (int)(version % 251), sizeof(bytes));
    memcpy(bytes, &number, sizeof(number));
    assert_true(put(world->fixture, 0, number_key(&key, number), slice_of(bytes, BLOB_BYTES), 0));
}

/* All bytes are of one version, whoever overwrote the key meanwhile. */
static bool is_whole(const struct blob *blob, uint64_t number)
{
    uint64_t stored;
    memcpy(&stored, blob->bytes, sizeof(stored));
    bool right = stored == number;
    for (uint32_t i = sizeof(stored); i < BLOB_BYTES; i += 997) {
        right = right && blob->bytes[i] == blob->bytes[BLOB_BYTES - 1];
    }
    return right;
}

struct held_blob {
    struct blob *blob;
    uint64_t number;
};

static void drop_blob(struct world *world, uint32_t reader, struct held_blob *held)
{
    if (held->blob != NULL) {
        world->wrong[reader] += !is_whole(held->blob, held->number);
        blob_release(held->blob);
        held->blob = NULL;
    }
}

/* Takes a count as a reply would, and keeps it over many quiescent states. */
static void *hold_blobs(void *argument)
{
    const struct reader *reader = argument;
    struct world *world = reader->world;
    struct held_blob held[HELD] = {0};
    uint64_t random = reader->number + 17;
    rcu_thread_register();
    while (!__atomic_load_n(&world->stop, __ATOMIC_ACQUIRE)) {
        struct held_blob *slot = &held[random_next(&random) % HELD];
        drop_blob(world, reader->number, slot);
        struct numbered_key key;
        struct instant now = {.wall_ms = 1000};
        slot->number = random_next(&random) % BLOB_KEYS;
        const struct item *item =
            shard_find_shared(world->shard, 0, number_key(&key, slot->number), &now);
        world->reads[reader->number]++;
        world->missed[reader->number] += item == NULL;
        if (item != NULL) {
            slot->blob = item_blob(item);
            blob_acquire(slot->blob);
        }
        rcu_quiescent();
    }
    for (uint32_t i = 0; i < HELD; i++) {
        drop_blob(world, reader->number, &held[i]);
    }
    rcu_thread_unregister();
    return NULL;
}

static void blobs_outlive_their_items(void **state)
{
    struct world world;
    create_world(&world, 0);
    rcu_thread_register();
    for (uint64_t i = 0; i < BLOB_KEYS; i++) {
        write_blob(&world, i, i);
    }
    pthread_t threads[READERS];
    struct reader readers[READERS];
    for (uint32_t i = 0; i < READERS; i++) {
        readers[i] = (struct reader){&world, i};
        assert_int_equal(pthread_create(&threads[i], NULL, hold_blobs, &readers[i]), 0);
    }
    uint64_t random = 3;
    for (uint64_t step = 0; step < BLOB_STEPS; step++) {
        write_blob(&world, random_next(&random) % BLOB_KEYS, step);
        if (step % 8 == 0) {
            write_pass(&world);
        }
    }
    __atomic_store_n(&world.stop, true, __ATOMIC_RELEASE);
    rcu_thread_unregister();
    for (uint32_t i = 0; i < READERS; i++) {
        pthread_join(threads[i], NULL);
        assert_true(world.reads[i] > 100);
        assert_int_equal(world.wrong[i], 0);
        assert_int_equal(world.missed[i], 0);
    }
    assert_true(shard_will_free(world.shard));
    rcu_thread_register();
    shard_flush(world.shard, 0);
    for (uint32_t i = 0; i < 20000 && !everything_came_back(&world); i++) {
        write_pass(&world);
        usleep(100);
    }
    assert_true(everything_came_back(&world));
    assert_int_equal(memory_of(world.fixture).blob_bytes, 0);
    rcu_thread_unregister();
    destroy_world(&world);
}

/* ---- a reader that does not come to a quiescent state -----------------------------------------
 */

#define STALL_LIMIT (UINT64_C(16) << 20)
#define STALL_KEYS  20000U

struct staller {
    struct world *world;
    bool holds, resume;
    bool was_right;
};

static void *stall(void *argument)
{
    struct staller *staller = argument;
    struct numbered_key key;
    struct instant now = {.wall_ms = 1000};
    rcu_thread_register();
    const struct item *item =
        shard_find_shared(staller->world->shard, 0, number_key(&key, 0), &now);
    __atomic_store_n(&staller->holds, true, __ATOMIC_RELEASE);
    while (!__atomic_load_n(&staller->resume, __ATOMIC_ACQUIRE)) {
        usleep(100);
    }
    /* Overwritten long ago, and still what it was. */
    uint64_t value[2];
    memcpy(value, item_value_bytes(item), sizeof(value));
    staller->was_right = value[0] == 0 && value[1] == 1;
    rcu_quiescent();
    rcu_thread_unregister();
    return NULL;
}

static bool try_write(struct world *world, uint64_t number, uint64_t version)
{
    struct numbered_key key;
    uint8_t bytes[100] = {0};
    uint64_t value[2] = {number, version};
    memcpy(bytes, value, sizeof(value));
    return put(world->fixture, 0, number_key(&key, number), slice_of(bytes, sizeof(bytes)), 0);
}

/* Overwrites until nothing can be had any more; returns how often it could. */
static uint64_t write_until_refused(struct world *world, uint64_t version)
{
    uint64_t written = 0;
    while (try_write(world, written % STALL_KEYS, version)) {
        if (++written % 32 == 0) {
            write_pass(world);
        }
        assert_true(memory_of(world->fixture).used_bytes <= STALL_LIMIT);
    }
    return written;
}

static void a_stalled_reader_delays_memory_only(void **state)
{
    struct world world;
    create_world(&world, STALL_LIMIT);
    rcu_thread_register();
    for (uint64_t i = 0; i < STALL_KEYS; i++) {
        assert_true(try_write(&world, i, 1));
    }
    write_pass(&world);
    struct staller staller = {.world = &world};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, stall, &staller), 0);
    while (!__atomic_load_n(&staller.holds, __ATOMIC_ACQUIRE)) {
        usleep(100);
    }
    /* Writers go on until maxmemory is full of what waits for the reader; then they are told so. */
    uint64_t written = write_until_refused(&world, 2);
    assert_true(written > STALL_KEYS);
    usleep(20000);
    write_pass(&world);
    assert_false(try_write(&world, 0, 3));
    struct shard_memory memory = memory_of(world.fixture);
    assert_true(memory.retired_bytes > STALL_LIMIT / 4);
    assert_true(memory.reclaim_batches > 10);
    assert_true(shard_will_free(world.shard));
    /* Reads are served meanwhile. */
    struct numbered_key key;
    for (uint64_t i = 0; i < STALL_KEYS; i++) {
        assert_non_null(shard_find(world.shard, 0, number_key(&key, i), &world.fixture->now));
    }
    __atomic_store_n(&staller.resume, true, __ATOMIC_RELEASE);
    pthread_join(thread, NULL);
    assert_true(staller.was_right);
    memory = memory_of(world.fixture);
    for (uint32_t i = 0; i < 20000 && memory.retired_bytes + memory.reclaim_batches > 0; i++) {
        write_pass(&world);
        usleep(100);
        memory = memory_of(world.fixture);
    }
    assert_int_equal(memory.retired_bytes, 0);
    assert_int_equal(memory.reclaim_batches, 0);
    assert_true(memory.grace_us_max >= 20000);
    assert_true(memory.grace_us_sum >= memory.grace_us_max && memory.grace_periods > 10);
    for (uint64_t i = 0; i < STALL_KEYS; i++) {
        while (!try_write(&world, i, 4)) {
            write_pass(&world);
            usleep(100);
        }
        if (i % 32 == 0) {
            write_pass(&world);
        }
    }
    rcu_thread_unregister();
    destroy_world(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(readers_see_only_what_is_right),
        cmocka_unit_test(a_foreign_walk_sees_every_stable_key),
        cmocka_unit_test(what_is_retired_comes_back),
        cmocka_unit_test(blobs_outlive_their_items),
        cmocka_unit_test(a_stalled_reader_delays_memory_only),
    };
    return cmocka_run_group_tests_name("concurrent", tests, setup_eal, NULL);
}
