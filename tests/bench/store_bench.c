/* What one operation of the store costs: ns per operation on this thread's CPU clock. A program to
 * look at, not a test: store_bench [keys] (1,000,000 by default). */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "dataplane/base/hash.h"
#include "tests/unit/store/store_test.h"

#define OPERATIONS 2000000U

struct bench {
    struct fixture *fixture;
    struct key *keys; /* hashed beforehand: the hash is not the store's cost */
    uint64_t key_count, random;
    uint64_t sink;
};

static double cpu_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static void create_keys(struct bench *bench)
{
    char *texts = malloc(bench->key_count * 2 * 16);
    bench->keys = malloc(bench->key_count * 2 * sizeof(*bench->keys));
    CHECK(texts != NULL && bench->keys != NULL);
    for (uint64_t i = 0; i < bench->key_count * 2; i++) {
        char *text = texts + i * 16;
        /* Sixteen bytes, as in the goals. */
        char buffer[32];
        snprintf(buffer, sizeof(buffer), "key:%012lu", (unsigned long)i);
        memcpy(text, buffer, 16);
        bench->keys[i] = key_hashed(slice_of(text, 16));
    }
}

static const struct key *random_key(struct bench *bench)
{
    return &bench->keys[random_next(&bench->random) % bench->key_count];
}

static void touch(struct bench *bench, const struct item *item)
{
    CHECK(item != NULL);
    bench->sink += item_value_bytes(item)[0];
}

static void write_key(struct bench *bench, const struct key *key)
{
    static const uint8_t value[64];
    CHECK(put(bench->fixture, 0, key, slice_of(value, sizeof(value)), 0));
}

static void pass(struct bench *bench, uint64_t i)
{
    if (i % 32 == 31) {
        bench->fixture->now.mono_us += 10;
        shard_maintain(bench->fixture->shard, &bench->fixture->now);
    }
}

static void single_lookup(struct bench *bench)
{
    for (uint64_t i = 0; i < OPERATIONS; i++) {
        touch(bench, shard_find(bench->fixture->shard, 0, random_key(bench), &bench->fixture->now));
    }
}

/* The keys of a request are in the cache when the store gets them; here they are brought first. */
static void bulk(struct bench *bench, const struct key **keys)
{
    for (uint32_t j = 0; j < SHARD_LOOKUP_BURST; j++) {
        keys[j] = random_key(bench);
        __builtin_prefetch(keys[j]);
    }
    for (uint32_t j = 0; j < SHARD_LOOKUP_BURST; j++) {
        __builtin_prefetch(keys[j]->bytes.data);
    }
    shard_prefetch_bulk(bench->fixture->shard, 0, keys, SHARD_LOOKUP_BURST);
}

static void bulk_lookup(struct bench *bench)
{
    const struct key *keys[SHARD_LOOKUP_BURST];
    for (uint64_t i = 0; i < OPERATIONS; i += SHARD_LOOKUP_BURST) {
        bulk(bench, keys);
        for (uint32_t j = 0; j < SHARD_LOOKUP_BURST; j++) {
            touch(bench, shard_find(bench->fixture->shard, 0, keys[j], &bench->fixture->now));
        }
        pass(bench, 31);
    }
}

static void bulk_miss(struct bench *bench)
{
    const struct key *keys[SHARD_LOOKUP_BURST];
    for (uint64_t i = 0; i < OPERATIONS; i += SHARD_LOOKUP_BURST) {
        for (uint32_t j = 0; j < SHARD_LOOKUP_BURST; j++) {
            keys[j] = random_key(bench) + bench->key_count;
            __builtin_prefetch(keys[j]);
        }
        shard_prefetch_bulk(bench->fixture->shard, 0, keys, SHARD_LOOKUP_BURST);
        for (uint32_t j = 0; j < SHARD_LOOKUP_BURST; j++) {
            bench->sink +=
                shard_find(bench->fixture->shard, 0, keys[j], &bench->fixture->now) != NULL;
        }
        pass(bench, 31);
    }
}

static void overwrite(struct bench *bench)
{
    for (uint64_t i = 0; i < OPERATIONS; i++) {
        write_key(bench, random_key(bench));
        pass(bench, i);
    }
}

static void bulk_overwrite(struct bench *bench)
{
    const struct key *keys[SHARD_LOOKUP_BURST];
    for (uint64_t i = 0; i < OPERATIONS; i += SHARD_LOOKUP_BURST) {
        bulk(bench, keys);
        for (uint32_t j = 0; j < SHARD_LOOKUP_BURST; j++) {
            write_key(bench, keys[j]);
        }
        pass(bench, 31);
    }
}

static void delete_and_add(struct bench *bench)
{
    for (uint64_t i = 0; i < OPERATIONS; i++) {
        const struct key *key = random_key(bench);
        CHECK(shard_delete(bench->fixture->shard, 0, key, &bench->fixture->now));
        write_key(bench, key);
        pass(bench, i);
    }
}

static void measure(struct bench *bench, const char *name, void (*run)(struct bench *bench))
{
    double best = 1e18;
    for (unsigned round = 0; round < 3; round++) {
        double start = cpu_ns();
        run(bench);
        double took = (cpu_ns() - start) / OPERATIONS;
        best = took < best ? took : best;
    }
    printf("%-28s %7.1f ns\n", name, best);
}

static void insert_all(struct bench *bench)
{
    double start = cpu_ns(), slowest = 0;
    for (uint64_t i = 0; i < bench->key_count; i++) {
        double before = i % 32 == 0 ? cpu_ns() : 0;
        write_key(bench, &bench->keys[i]);
        pass(bench, i);
        double took = i % 32 == 0 ? cpu_ns() - before : 0;
        slowest = took > slowest ? took : slowest;
    }
    printf("%-28s %7.1f ns (slowest sampled %.0f us)\n", "insert, growing from nothing",
           (cpu_ns() - start) / (double)bench->key_count, slowest / 1000);
}

int main(int argument_count, char **arguments)
{
    struct bench bench = {.random = 88172645463325252ULL, .key_count = 1000000};
    if (argument_count > 1) {
        bench.key_count = strtoull(arguments[1], NULL, 10);
    }
    setup_eal(NULL);
    bench.fixture = create_fixture(0, NULL);
    create_keys(&bench);
    insert_all(&bench);
    settle(bench.fixture);
    struct shard_memory memory = memory_of(bench.fixture);
    printf("keys %lu, per key: index %lu B, item %lu B (16 B key, 64 B value), segments %lu\n",
           (unsigned long)bench.key_count, (unsigned long)(memory.index_bytes / bench.key_count),
           (unsigned long)(memory.item_bytes / bench.key_count),
           (unsigned long)metric_read(&bench.fixture->metrics, METRIC_STORE_SEGMENTS));
    measure(&bench, "look-up, single", single_lookup);
    measure(&bench, "look-up, bulk of 32 + item", bulk_lookup);
    measure(&bench, "miss, bulk of 32", bulk_miss);
    measure(&bench, "overwrite, single", overwrite);
    measure(&bench, "overwrite, bulk of 32", bulk_overwrite);
    measure(&bench, "delete + add, single", delete_and_add);
    printf("(%lu)\n", (unsigned long)bench.sink);
    return 0;
}
