/* Misses by policy: the shard and the evictors of the program itself, without threads and without a
 * network, in simulated time; beside them an exact LRU of the same number of keys, the yardstick.
 *
 *   eviction_bench [OBJECTS [REQUESTS [POLICY]]]
 *                                            a table of all policies, of one, or (none) of exact
 * LRU eviction_bench --trace NAME OBJECTS REQUESTS the keys of a trace, a line each, for other
 * servers
 *
 * A request looks for a key and stores it when it is not there. Every value has the same size, so
 * the cache is as large as its number of keys. The evictors are asked as the control thread asks
 * them: they keep 1/64 of the cache free, so ours holds that much less than the exact LRU.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/config.h"
#include "control/eviction/evictor.h"
#include "dataplane/base/check.h"
#include "tests/bench/chance.h"
#include "tests/unit/store/store_test.h"

#define REQUEST_US  1000U /* of simulated time: a cache turns over in many ticks of the clock */
#define FREE_PART   64U
#define VALUE_BYTES 64U
#define TTL_MS      (3600U * 1000U)

/* ---- traces -----------------------------------------------------------------------------------
 */

enum trace { TRACE_ZIPF, TRACE_ONE_HIT, TRACE_SCAN, TRACE_LOOP, TRACE_COUNT };
static const char *const trace_names[TRACE_COUNT] = {"zipf-0.99", "zipf-0.9-one-hit", "zipf-scan",
                                                     "loop"};

/* Every fifth request of the one-hit trace asks for an object that is never asked for again. The
 * scan trace reads a tenth of the objects once, in order, after every stretch of as many requests
 * as there are objects. The loop goes over a quarter of the objects. */
static uint64_t *make_trace(enum trace trace, uint64_t objects, uint64_t requests)
{
    uint64_t *keys = malloc(requests * sizeof(*keys));
    CHECK(keys != NULL);
    uint64_t random = 88172645463325252ULL, fresh = objects;
    struct zipf zipf;
    zipf_init(&zipf, objects, trace == TRACE_ONE_HIT ? 0.9 : 0.99);
    uint64_t scan_every = objects, scan_keys = objects / 10;
    for (uint64_t i = 0; i < requests; i++) {
        if (trace == TRACE_LOOP) {
            keys[i] = i % (objects / 4);
        } else if (trace == TRACE_ONE_HIT && i % 5 == 4) {
            keys[i] = fresh++;
        } else if (trace == TRACE_SCAN && i % (scan_every + scan_keys) >= scan_every) {
            keys[i] = fresh++;
        } else {
            keys[i] = zipf_draw(&zipf, &random);
        }
    }
    return keys;
}

static uint64_t key_space(uint64_t objects, uint64_t requests)
{
    return objects + requests;
}

/* ---- the yardstick ----------------------------------------------------------------------------
 */

#define NOBODY UINT32_MAX

/* Doubly linked by index; slot 0 of the links is the list's head. */
static uint64_t misses_of_exact_lru(const uint64_t *keys, uint64_t requests, uint64_t space,
                                    uint64_t capacity)
{
    uint32_t *next = malloc((space + 1) * sizeof(*next));
    uint32_t *previous = malloc((space + 1) * sizeof(*previous));
    CHECK(next != NULL && previous != NULL);
    for (uint64_t i = 0; i <= space; i++) {
        next[i] = previous[i] = NOBODY;
    }
    next[0] = previous[0] = 0;
    uint64_t misses = 0, count = 0;
    for (uint64_t i = 0; i < requests; i++) {
        uint32_t at = (uint32_t)keys[i] + 1;
        if (next[at] == NOBODY) {
            misses++;
            if (count == capacity) {
                uint32_t oldest = previous[0];
                previous[0] = previous[oldest];
                next[previous[oldest]] = 0;
                next[oldest] = previous[oldest] = NOBODY;
            } else {
                count++;
            }
        } else {
            next[previous[at]] = next[at];
            previous[next[at]] = previous[at];
        }
        next[at] = next[0];
        previous[at] = 0;
        previous[next[0]] = at;
        next[0] = at;
    }
    free(next);
    free(previous);
    return misses;
}

/* ---- ours -------------------------------------------------------------------------------------
 */

struct run {
    struct fixture *fixture;
    struct evictor *evictor;
    struct config *config;
    struct eviction_policy policy;
    struct eviction_batch batch;
    uint64_t capacity, item_bytes, random_state;
};

static void evict(struct run *run)
{
    struct shard *shard = run->fixture->shard;
    for (;;) {
        uint64_t count = shard_key_count(shard, 0), aim = run->capacity - run->capacity / FREE_PART;
        if (count <= aim) {
            return;
        }
        run->batch.count = 0;
        run->batch.bytes = 0;
        CHECK(evictor_choose(run->evictor, &run->policy, &run->fixture->now,
                             (count - aim) * run->item_bytes, &run->batch));
        shard_queue_evictions(shard, &run->batch);
        do {
            run->fixture->now.mono_us++;
        } while (shard_maintain(shard, &run->fixture->now));
        CHECK(shard_take_finished_eviction(shard) == &run->batch);
    }
}

/* True: a hit. */
static bool request(struct run *run, uint64_t number)
{
    static const uint8_t value[VALUE_BYTES];
    struct fixture *fixture = run->fixture;
    struct numbered_key key;
    fixture->now.mono_us += REQUEST_US;
    fixture->now.wall_ms = fixture->now.mono_us / 1000;
    eviction_policy_set(&run->policy, run->config, &fixture->now);
    shard_set_policy(fixture->shard, &run->policy);
    const struct item *item =
        shard_find(fixture->shard, 0, number_key(&key, number), &fixture->now);
    if (item != NULL) {
        eviction_note_use(&run->policy, item, &run->random_state);
        return true;
    }
    if (shard_key_count(fixture->shard, 0) >= run->capacity) {
        evict(run);
    }
    uint64_t ttl_ms = run->policy.volatile_only ? TTL_MS : 0;
    CHECK(put(fixture, 0, &key.key, slice_of(value, sizeof(value)),
              ttl_ms != 0 ? fixture->now.wall_ms + ttl_ms : 0));
    return false;
}

static uint64_t measure_item_bytes(struct fixture *fixture)
{
    CHECK(put_number(fixture, 0, 1));
    struct numbered_key key;
    const struct item *item = shard_find(fixture->shard, 0, number_key(&key, 0), &fixture->now);
    uint64_t bytes = item_bytes(item) - 16 + VALUE_BYTES;
    delete_number(fixture, 0);
    settle(fixture);
    return bytes;
}

static uint64_t misses_of_ours(const char *policy, const uint64_t *keys, uint64_t requests,
                               uint64_t capacity)
{
    char *arguments[] = {(char *)(uintptr_t) "maxmemory-policy", (char *)(uintptr_t)policy};
    struct config_error error;
    struct run run = {.fixture = create_fixture(0, NULL),
                      .config = config_create_default(),
                      .capacity = capacity,
                      .random_state = 42};
    CHECK(run.config != NULL && config_set(run.config, 2, arguments, &error) == 0);
    run.evictor = evictor_create(run.fixture->shard, 4711);
    CHECK(run.evictor != NULL);
    run.item_bytes = measure_item_bytes(run.fixture);
    uint64_t misses = 0;
    for (uint64_t i = 0; i < requests; i++) {
        misses += request(&run, keys[i]) ? 0 : 1;
        if (i % 64 == 0) {
            evictor_follow(run.evictor, &run.policy);
            shard_maintain(run.fixture->shard, &run.fixture->now);
        }
    }
    evictor_destroy(run.evictor);
    destroy_fixture(run.fixture);
    config_destroy(run.config);
    return misses;
}

static const char *const policies[] = {
    "allkeys-lru",  "allkeys-lfu",  "allkeys-random",  "allkeys-s3fifo",
    "volatile-lru", "volatile-lfu", "volatile-random", "volatile-ttl",
};
static const double parts[] = {0.01, 0.05, 0.1};

static void print_row(enum trace trace, double part, const char *policy, uint64_t misses,
                      uint64_t requests, uint64_t yardstick)
{
    printf("%s,%g,%s,%.4f,%.3f\n", trace_names[trace], part, policy,
           (double)misses / (double)requests, (double)misses / (double)yardstick);
    fflush(stdout);
}

static void print_table(uint64_t objects, uint64_t requests, const char *only)
{
    puts("trace,cache,policy,miss_ratio,of_exact_lru");
    for (enum trace trace = 0; trace < TRACE_COUNT; trace++) {
        uint64_t *keys = make_trace(trace, objects, requests);
        for (uint32_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
            uint64_t capacity = (uint64_t)((double)objects * parts[i]);
            uint64_t yardstick =
                misses_of_exact_lru(keys, requests, key_space(objects, requests), capacity);
            print_row(trace, parts[i], "exact LRU", yardstick, requests, yardstick);
            for (uint32_t p = 0; p < sizeof(policies) / sizeof(policies[0]); p++) {
                if (only == NULL || strcmp(only, policies[p]) == 0) {
                    uint64_t misses = misses_of_ours(policies[p], keys, requests, capacity);
                    print_row(trace, parts[i], policies[p], misses, requests, yardstick);
                }
            }
        }
        free(keys);
    }
}

static int print_trace(const char *name, uint64_t objects, uint64_t requests)
{
    for (enum trace trace = 0; trace < TRACE_COUNT; trace++) {
        if (strcmp(name, trace_names[trace]) == 0) {
            uint64_t *keys = make_trace(trace, objects, requests);
            for (uint64_t i = 0; i < requests; i++) {
                printf("%lu\n", (unsigned long)keys[i]);
            }
            free(keys);
            return 0;
        }
    }
    fprintf(stderr, "no such trace: %s\n", name);
    return 2;
}

int main(int argument_count, char **arguments)
{
    bool dumps = argument_count == 5 && strcmp(arguments[1], "--trace") == 0;
    if (dumps) {
        return print_trace(arguments[2], strtoull(arguments[3], NULL, 10),
                           strtoull(arguments[4], NULL, 10));
    }
    uint64_t objects = argument_count > 1 ? strtoull(arguments[1], NULL, 10) : 100000;
    uint64_t requests = argument_count > 2 ? strtoull(arguments[2], NULL, 10) : 1000000;
    setup_eal(NULL);
    print_table(objects, requests, argument_count > 3 ? arguments[3] : NULL);
    return 0;
}
