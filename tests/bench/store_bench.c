/* What one operation of the store costs. A program to look at, not a test:
 *
 *   store_bench [keys]     (1,000,000 by default)
 *
 * Keys are drawn and copied into a small buffer before the clock starts: in a request they are in
 * the packet, already in the cache, and their hash is known. A batch of 32 is timed with the TSC;
 * batches of more than 100 us were interrupted and do not count. Medians of eleven turns, with the
 * least and the most.
 *
 * Beside it a plain rte_hash over the same keys (16 bytes, hash known too, lock-free readers, items
 * as large as ours that hang on the data pointer and are read): what the goals of look-ups are
 * ratios to. And memory alone: as many random lines for each key, of as much memory, each known
 * only when the one before has come, and nothing done with them: nobody's look-up takes less.
 * tests/bench/suite reads the lines that are printed. */
#include <stdio.h>
#include <stdlib.h>

#include <rte_cycles.h>
#include <rte_hash.h>
#include <rte_malloc.h>
#include <rte_prefetch.h>

#include "drivers/eal_memory.h"
#include "tests/bench/key_batch.h"
#include "tests/unit/store/store_test.h"

/* Of a row, in each of its turns; the first ones bring its memory back into the cache. */
#define BATCHES       6000U
#define BATCHES_FIRST 1000U
#define TURNS         11U

#define UPKEEP_INTERVAL_US 10U /* core_loop.c's */

/* What a program that uses rte_hash alone would keep. */
struct plain_item {
    uint8_t header[16], key[16], value[64];
};

/* Memory alone: the lines of one step of a look-up. */
struct memory_line {
    uint64_t word, rest[7];
};
struct memory_step {
    const struct memory_line *lines; /* one more than `count` */
    uint64_t count;
};
enum { STEP_BUCKET, STEP_SLOT, STEP_ITEM, STEP_COUNT };

struct bench {
    struct fixture *fixture;
    struct rte_hash *plain;
    struct memory_step memory[STEP_COUNT];
    uint64_t key_count, random;
    uint64_t upkeep_at; /* TSC */
    bool upkeep_goes_on;
    uint64_t sink;
    struct key_batch batch;
};

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

/* Upkeep when the worker would do it: each 10 us, and as long as there is some to do. */
static void pass(struct bench *bench)
{
    uint64_t now = rte_rdtsc();
    if (bench->upkeep_goes_on || now >= bench->upkeep_at) {
        bench->upkeep_at = now + rte_get_tsc_hz() / 1000000 * UPKEEP_INTERVAL_US;
        bench->fixture->now.mono_us += UPKEEP_INTERVAL_US;
        bench->upkeep_goes_on = shard_maintain(bench->fixture->shard, &bench->fixture->now);
    }
}

static void prefetch(struct bench *bench)
{
    prefetch_keys(bench->fixture, 0, bench->batch.pointers, BURST);
}

static const struct item *find(struct bench *bench, uint32_t i)
{
    return shard_find(bench->fixture->shard, 0, &bench->batch.keys[i], &bench->fixture->now);
}

static void look_up(struct bench *bench)
{
    for (uint32_t i = 0; i < BURST; i++) {
        touch(bench, find(bench, i));
    }
}

static void look_up_bulk(struct bench *bench)
{
    prefetch(bench);
    look_up(bench);
}

static void miss_bulk(struct bench *bench)
{
    prefetch(bench);
    for (uint32_t i = 0; i < BURST; i++) {
        bench->sink += find(bench, i) != NULL;
    }
}

static void overwrite(struct bench *bench)
{
    for (uint32_t i = 0; i < BURST; i++) {
        write_key(bench, &bench->batch.keys[i]);
    }
}

static void overwrite_bulk(struct bench *bench)
{
    prefetch(bench);
    overwrite(bench);
}

static void delete_and_add(struct bench *bench)
{
    for (uint32_t i = 0; i < BURST; i++) {
        const struct key *key = &bench->batch.keys[i];
        (void)shard_delete(bench->fixture->shard, 0, key, &bench->fixture->now);
        write_key(bench, key);
    }
}

static void delete_and_add_bulk(struct bench *bench)
{
    prefetch(bench);
    delete_and_add(bench);
}

/* ---- plain rte_hash -------------------------------------------------------------------------- */

static uint32_t plain_hash(const struct bench *bench, uint32_t i)
{
    return (uint32_t)bench->batch.keys[i].hash;
}

static void plain_insert(struct bench *bench, uint32_t i)
{
    struct plain_item *item = calloc(1, sizeof(*item));
    CHECK(item != NULL);
    memcpy(item->key, bench->batch.texts[i], sizeof(item->key));
    CHECK(rte_hash_add_key_with_hash_data(bench->plain, item->key, plain_hash(bench, i), item) ==
          0);
}

static void plain_create(struct bench *bench)
{
    const struct rte_hash_parameters parameters = {
        .name = "plain",
        .entries = (uint32_t)(bench->key_count * 5 / 4), /* 80 % full */
        .key_len = sizeof(bench->batch.texts[0]),
        .extra_flag = RTE_HASH_EXTRA_FLAGS_RW_CONCURRENCY_LF,
    };
    bench->plain = rte_hash_create(&parameters);
    CHECK(bench->plain != NULL);
    for (uint64_t next = 0; next < bench->key_count;) {
        for (uint32_t i = 0; i < BURST && next < bench->key_count; i++) {
            key_batch_set(&bench->batch, i, next++);
            plain_insert(bench, i);
        }
    }
}

static void plain_touch(struct bench *bench, const void *data)
{
    const struct plain_item *item = data;
    bench->sink += item->value[0];
}

static void plain_look_up(struct bench *bench)
{
    for (uint32_t i = 0; i < BURST; i++) {
        void *data;
        CHECK(rte_hash_lookup_with_hash_data(bench->plain, bench->batch.texts[i],
                                             plain_hash(bench, i), &data) >= 0);
        plain_touch(bench, data);
    }
}

static void plain_look_up_bulk(struct bench *bench)
{
    const void *texts[BURST];
    hash_sig_t hashes[BURST];
    void *data[BURST];
    uint64_t hits;
    for (uint32_t i = 0; i < BURST; i++) {
        texts[i] = bench->batch.texts[i];
        hashes[i] = plain_hash(bench, i);
    }
    CHECK(rte_hash_lookup_with_hash_bulk_data(bench->plain, texts, hashes, BURST, &hits, data) ==
          BURST);
    for (uint32_t i = 0; i < BURST; i++) {
        rte_prefetch0(((const struct plain_item *)data[i])->value);
    }
    for (uint32_t i = 0; i < BURST; i++) {
        plain_touch(bench, data[i]);
    }
}

/* ---- memory alone ---------------------------------------------------------------------------- */

static void memory_create_step(struct memory_step *step, uint64_t bytes)
{
    step->count = bytes / sizeof(struct memory_line);
    size_t size = (step->count + 1) * sizeof(struct memory_line);
    void *lines = rte_malloc(NULL, size, sizeof(struct memory_line));
    CHECK(lines != NULL);
    memset(lines, 1, size);
    step->lines = lines;
}

/* Bytes of a key: an entry of eight in a bucket of 64 bytes, at 80 % fill; a slot; an item. */
static void memory_create(struct bench *bench)
{
    memory_create_step(&bench->memory[STEP_BUCKET], bench->key_count * 10);
    memory_create_step(&bench->memory[STEP_SLOT], bench->key_count * 20);
    memory_create_step(&bench->memory[STEP_ITEM], bench->key_count * sizeof(struct plain_item));
}

/* Where a step leads, by the key and by what the step before has read. */
static const struct memory_line *memory_at(const struct bench *bench, uint32_t step, uint32_t i,
                                           uint64_t word)
{
    const struct memory_step *at = &bench->memory[step];
    uint64_t number = (bench->batch.keys[i].hash ^ word) * 0x9FB21C651E98DF25ULL >> 32;
    return &at->lines[number * at->count >> 32];
}

/* An item lies in two lines. */
static uint64_t memory_read_item(const struct memory_line *line)
{
    return line[0].word + line[1].word;
}

/* No key before the one in front of it: the processor would overlap them. */
static void memory_single(struct bench *bench)
{
    uint64_t word = 0;
    for (uint32_t i = 0; i < BURST; i++) {
        for (uint32_t step = 0; step < STEP_ITEM; step++) {
            word = memory_at(bench, step, i, word)->word;
        }
        word = memory_read_item(memory_at(bench, STEP_ITEM, i, word));
    }
    bench->sink += word;
}

static void memory_bulk(struct bench *bench)
{
    const struct memory_line *lines[BURST];
    for (uint32_t step = 0; step < STEP_COUNT; step++) {
        for (uint32_t i = 0; i < BURST; i++) {
            lines[i] = memory_at(bench, step, i, step > 0 ? lines[i]->word : 0);
            rte_prefetch0(&lines[i][0]);
            rte_prefetch0(&lines[i][step == STEP_ITEM]);
        }
    }
    for (uint32_t i = 0; i < BURST; i++) {
        bench->sink += memory_read_item(lines[i]);
    }
}

/* ---- measuring ------------------------------------------------------------------------------- */

struct row {
    const char *name;
    uint64_t first; /* of the keys; those from `key_count` on are not there */
    void (*run)(struct bench *bench);
    double ns[TURNS];
};

/* With the upkeep of the pass. */
static double measure(struct bench *bench, const struct row *row)
{
    uint64_t ticks = 0, counted = 0, limit = rte_get_tsc_hz() / 10000;
    for (uint32_t i = 0; i < BATCHES; i++) {
        key_batch_draw(&bench->batch, &bench->random, row->first, bench->key_count);
        uint64_t start = rte_rdtsc();
        row->run(bench);
        pass(bench);
        uint64_t took = rte_rdtsc() - start;
        if (i >= BATCHES_FIRST && took < limit) {
            ticks += took;
            counted++;
        }
    }
    return (double)ticks * 1e9 / (double)rte_get_tsc_hz() / (double)counted / BURST;
}

static int compare_ns(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Rows are compared with each other, so they take turns: a shared machine is not the same from one
 * tenth of a second to the next. */
static void measure_rows(struct bench *bench, struct row *rows, size_t count)
{
    for (uint32_t turn = 0; turn < TURNS; turn++) {
        for (size_t i = 0; i < count; i++) {
            rows[i].ns[turn] = measure(bench, &rows[i]);
        }
    }
    for (size_t i = 0; i < count; i++) {
        double *ns = rows[i].ns;
        qsort(ns, TURNS, sizeof(ns[0]), compare_ns);
        printf("%-32s %7.1f ns (%.1f .. %.1f)\n", rows[i].name, ns[TURNS / 2], ns[0],
               ns[TURNS - 1]);
    }
}

static void insert_all(struct bench *bench)
{
    uint64_t ticks = 0, slowest = 0;
    for (uint64_t next = 0; next < bench->key_count;) {
        for (uint32_t i = 0; i < BURST; i++) {
            key_batch_set(&bench->batch, i, next++);
        }
        uint64_t start = rte_rdtsc();
        overwrite(bench);
        pass(bench);
        uint64_t took = rte_rdtsc() - start;
        ticks += took;
        slowest = took > slowest ? took : slowest;
    }
    double tick_ns = 1e9 / (double)rte_get_tsc_hz();
    printf("%-32s %7.1f ns (slowest batch of 32 %.0f us, segments made inline)\n",
           "insert, growing from nothing", (double)ticks * tick_ns / (double)bench->key_count,
           (double)slowest * tick_ns / 1000);
}

int main(int argument_count, char **arguments)
{
    struct bench bench = {.random = 88172645463325252ULL, .key_count = 1000000};
    if (argument_count > 1) {
        bench.key_count = strtoull(arguments[1], NULL, 10);
    }
    setup_eal(NULL);
    (void)eal_memory_enlarge_pages(); /* as the server does, for rte_hash's tables here and there */
    bench.fixture = create_fixture(0, NULL);
    insert_all(&bench);
    settle(bench.fixture);
    plain_create(&bench);
    memory_create(&bench);
    struct shard_memory memory = memory_of(bench.fixture);
    printf("keys %lu, per key: index %lu B, item %lu B (16 B key, 64 B value), segments %lu\n",
           (unsigned long)bench.key_count, (unsigned long)(memory.index_bytes / bench.key_count),
           (unsigned long)(memory.item_bytes / bench.key_count),
           (unsigned long)metric_read(&bench.fixture->metrics, METRIC_STORE_SEGMENTS));
    struct row rows[] = {
        {.name = "look-up + item, single", .run = look_up},
        {.name = "look-up + item, bulk of 32", .run = look_up_bulk},
        {.name = "rte_hash look-up + item, single", .run = plain_look_up},
        {.name = "rte_hash look-up + item, bulk", .run = plain_look_up_bulk},
        {.name = "memory alone, single", .run = memory_single},
        {.name = "memory alone, bulk of 32", .run = memory_bulk},
        {.name = "miss, bulk of 32", .first = 1ULL << 32, .run = miss_bulk},
        {.name = "overwrite, single", .run = overwrite},
        {.name = "overwrite, bulk of 32", .run = overwrite_bulk},
        {.name = "delete + add, single", .run = delete_and_add},
        {.name = "delete + add, bulk of 32", .run = delete_and_add_bulk},
    };
    measure_rows(&bench, rows, sizeof(rows) / sizeof(rows[0]));
    printf("(%lu)\n", (unsigned long)bench.sink);
    return 0;
}
