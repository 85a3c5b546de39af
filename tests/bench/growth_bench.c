/* How the store's index behaves while it grows, and while a great many keys expire.
 *
 *   store_growth_bench growth [keys] [--json FILE]    10,000,000 by default
 *   store_growth_bench expiry [keys]                  10,000,000 by default
 *   store_growth_bench flush [keys]                   10,000,000 by default
 *
 * STORE_INDEX=buckets in the environment: with that index instead of the one over rte_hash.
 *
 * `growth` inserts up to each power of ten and to the number given, with a reclaimer thread as in
 * the server, one pass per 32 inserts. At each stop: bulk look-ups with a touch of the item, beside
 * rte_hash's own bulk look-up of the same keys in one table made for that number. Keys are drawn
 * and hashed before the clock starts. In the end all keys are deleted, 32 with each pass. Batches
 * of over 100 us were interrupted and do not count. A pass during which the kernel took the
 * processor away is not one of the long ones. What a hypervisor takes cannot be told apart: after
 * each stretch an empty loop runs for as long as growing took, and its long turns are counted in
 * the same way. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <rte_cycles.h>
#include <rte_hash.h>
#include <rte_prefetch.h>

#include "dataplane/base/rcu.h"
#include "dataplane/channel/channel.h"
#include "dataplane/store/reclaimer.h"
#include "drivers/eal_memory.h"
#include "tests/bench/key_batch.h"
#include "tests/unit/store/store_test.h"

#define BATCHES       20000U
#define DURATIONS_MAX (1U << 22)

/* Index memory over the number of keys, every two per cent. */
struct point {
    uint64_t keys;
    double bytes_per_key;
};
#define POINTS_MAX 1024

/* An empty loop: what growing takes none of. */
struct machine {
    double seconds, longest_us;
    uint64_t over_200us;
};

/* Of one stretch between two stops. */
struct row {
    uint64_t keys;
    double inserts_per_s, lookups_per_s, plain_lookups_per_s;
    double bytes_per_key_average, bytes_per_key_least, bytes_per_key_most;
    double growth_longest_us, growth_percentile_us; /* 99.99 % */
    double growth_seconds;
    uint64_t growth_over_200us, segments, moves, emergencies;
    struct machine machine;
};

/* How long something took, in each pass. */
struct series {
    uint32_t *ns;
    uint32_t count;
};

struct bench {
    struct fixture *fixture;
    struct channel *from, *to;
    struct reclaimer *reclaimer;
    uint64_t random, sink, key_count;
    long switches;
    struct key_batch batch;
    struct series passes; /* `growth`: what growing added to each */
    struct series causes[UPKEEP_CAUSE_COUNT];
    struct point points[POINTS_MAX];
    uint32_t point_count;
};

static double microseconds(uint64_t cycles)
{
    return (double)cycles * 1e6 / (double)rte_get_tsc_hz();
}

/* ---- durations --------------------------------------------------------------------------------
 */

static void series_init(struct series *series)
{
    *series = (struct series){.ns = malloc(DURATIONS_MAX * sizeof(uint32_t))};
    CHECK(series->ns != NULL);
}

static void note_duration(struct series *series, double us)
{
    if (series->count < DURATIONS_MAX) {
        series->ns[series->count++] = (uint32_t)(us * 1000);
    }
}

static int compare_durations(const void *a, const void *b)
{
    uint32_t first = *(const uint32_t *)a, second = *(const uint32_t *)b;
    return (first > second) - (first < second);
}

static double percentile_us(struct series *series, double share)
{
    qsort(series->ns, series->count, sizeof(uint32_t), compare_durations);
    double index = share * (double)(series->count - 1);
    return series->ns[(uint32_t)index] / 1000.0;
}

static bool was_interrupted(struct bench *bench)
{
    struct rusage usage;
    getrusage(RUSAGE_THREAD, &usage);
    bool interrupted = usage.ru_nivcsw != bench->switches;
    bench->switches = usage.ru_nivcsw;
    return interrupted;
}

/* The upkeep of one pass; returns its cycles. */
static uint64_t pass(struct bench *bench)
{
    struct message messages[32];
    uint32_t count = channel_receive_burst(bench->to, messages, 32);
    uint64_t wall_ms = bench->fixture->now.wall_ms;
    clock_read(&bench->fixture->now);
    bench->fixture->now.wall_ms = wall_ms;
    uint64_t start = rte_rdtsc();
    for (uint32_t i = 0; i < count; i++) {
        shard_take_message(bench->fixture->shard, &messages[i]);
    }
    shard_maintain(bench->fixture->shard, &bench->fixture->now);
    rcu_quiescent();
    return rte_rdtsc() - start;
}

static void write_key(struct bench *bench, const struct key *key, uint64_t expire_at_ms)
{
    static const uint8_t value[8];
    CHECK(put(bench->fixture, 0, key, slice_of(value, sizeof(value)), expire_at_ms));
}

/* 32 inserts and a pass; returns their cycles. */
static uint64_t insert_batch(struct bench *bench, uint64_t first, uint64_t expire_at_ms)
{
    for (uint32_t i = 0; i < BURST; i++) {
        key_batch_set(&bench->batch, i, first + i);
    }
    uint64_t start = rte_rdtsc();
    prefetch_keys(bench->fixture, 0, bench->batch.pointers, BURST);
    for (uint32_t i = 0; i < BURST; i++) {
        write_key(bench, &bench->batch.keys[i], expire_at_ms);
    }
    (void)pass(bench);
    return rte_rdtsc() - start;
}

/* ---- look-ups ---------------------------------------------------------------------------------
 */

static void look_up_ours(struct bench *bench, void *argument)
{
    prefetch_keys(bench->fixture, 0, bench->batch.pointers, BURST);
    for (uint32_t i = 0; i < BURST; i++) {
        const struct item *item =
            shard_find(bench->fixture->shard, 0, &bench->batch.keys[i], &bench->fixture->now);
        CHECK(item != NULL);
        bench->sink += item_value_bytes(item)[0];
    }
}

static void look_up_plain(struct bench *bench, void *argument)
{
    const void *keys[BURST];
    hash_sig_t signatures[BURST];
    void *items[BURST];
    uint64_t hits = 0;
    for (uint32_t i = 0; i < BURST; i++) {
        keys[i] = &bench->batch.keys[i].hash;
        signatures[i] = (hash_sig_t)bench->batch.keys[i].hash;
    }
    rte_hash_lookup_with_hash_bulk_data(argument, keys, signatures, BURST, &hits, items);
    CHECK(hits == UINT32_MAX);
    for (uint32_t i = 0; i < BURST; i++) {
        rte_prefetch0(items[i]);
    }
    for (uint32_t i = 0; i < BURST; i++) {
        bench->sink += item_value_bytes(items[i])[0];
        CHECK(slice_equal(item_key(items[i]), bench->batch.keys[i].bytes));
    }
}

static double measure(struct bench *bench, uint64_t key_count,
                      void (*look_up)(struct bench *bench, void *argument), void *argument)
{
    uint64_t ticks = 0, counted = 0, limit = rte_get_tsc_hz() / 10000;
    for (uint32_t i = 0; i < BATCHES; i++) {
        key_batch_draw(&bench->batch, &bench->random, 0, key_count);
        uint64_t start = rte_rdtsc();
        look_up(bench, argument);
        uint64_t took = rte_rdtsc() - start;
        if (took < limit) {
            ticks += took;
            counted++;
        }
    }
    return (double)counted * BURST * (double)rte_get_tsc_hz() / (double)ticks;
}

static int compare_words(const void *a, const void *b, size_t bytes)
{
    return *(const uint64_t *)a != *(const uint64_t *)b;
}

static bool fill_plain(struct bench *bench, struct rte_hash *table, uint64_t key_count)
{
    for (uint64_t number = 0; number < key_count; number++) {
        key_batch_set(&bench->batch, 0, number);
        const struct key *key = &bench->batch.keys[0];
        const struct item *item = shard_find(bench->fixture->shard, 0, key, &bench->fixture->now);
        if (rte_hash_add_key_with_hash_data(table, &key->hash, (hash_sig_t)key->hash,
                                            (void *)(uintptr_t)item) != 0) {
            return false;
        }
    }
    return true;
}

/* One table of exactly so many entries; twice as many where its buckets are too full for that. */
static struct rte_hash *create_plain(struct bench *bench, uint64_t key_count)
{
    for (uint64_t entries = key_count;; entries *= 2) {
        struct rte_hash_parameters parameters = {
            .name = "plain",
            .entries = (uint32_t)entries,
            .key_len = sizeof(uint64_t),
            .socket_id = SOCKET_ID_ANY,
            .extra_flag = RTE_HASH_EXTRA_FLAGS_RW_CONCURRENCY_LF,
        };
        struct rte_hash *table = rte_hash_create(&parameters);
        CHECK(table != NULL);
        rte_hash_set_cmp_func(table, compare_words);
        if (fill_plain(bench, table, key_count)) {
            return table;
        }
        rte_hash_free(table);
    }
}

static double better(double a, double b)
{
    return a > b ? a : b;
}

/* Turn and turn about, the best of five rounds of each. */
static void measure_lookups(struct bench *bench, uint64_t key_count, struct row *row)
{
    struct rte_hash *plain = create_plain(bench, key_count);
    for (uint32_t round = 0; round < 5; round++) {
        row->lookups_per_s =
            better(row->lookups_per_s, measure(bench, key_count, look_up_ours, NULL));
        row->plain_lookups_per_s =
            better(row->plain_lookups_per_s, measure(bench, key_count, look_up_plain, plain));
    }
    rte_hash_free(plain);
}

/* ---- growth -----------------------------------------------------------------------------------
 */

/* False: the pass was interrupted. */
static bool note_growth(struct bench *bench, struct row *row)
{
    struct shard *shard = bench->fixture->shard;
    double us = microseconds(shard_longest_upkeep(shard, UPKEEP_GROWTH));
    shard_reset_longest_upkeep(shard);
    if (was_interrupted(bench)) {
        return false;
    }
    row->growth_seconds += us / 1e6;
    row->growth_over_200us += us > 200;
    row->growth_longest_us = better(row->growth_longest_us, us);
    note_duration(&bench->passes, us);
    return true;
}

#define EMPTY_TURN_US 10.0

/* Turns of an empty loop, for as long as growing took. */
static void watch_machine(struct bench *bench, struct row *row)
{
    struct machine *machine = &row->machine;
    uint64_t turn = rte_get_tsc_hz() / 1000000 * (uint64_t)EMPTY_TURN_US;
    (void)was_interrupted(bench);
    while (machine->seconds < row->growth_seconds) {
        uint64_t begin = rte_rdtsc(), now = begin;
        while (now - begin < turn) {
            now = rte_rdtsc();
        }
        double us = microseconds(now - begin) - EMPTY_TURN_US;
        if (!was_interrupted(bench)) {
            machine->longest_us = better(machine->longest_us, us);
            machine->over_200us += us > 200;
        }
        machine->seconds += EMPTY_TURN_US / 1e6;
    }
}

static void note_point(struct bench *bench, double bytes_per_key)
{
    uint64_t last = bench->point_count > 0 ? bench->points[bench->point_count - 1].keys : 1000;
    if (bench->key_count > last + last / 50 && bench->point_count < POINTS_MAX) {
        bench->points[bench->point_count++] = (struct point){bench->key_count, bytes_per_key};
    }
}

static void insert_until(struct bench *bench, uint64_t keys, struct row *row)
{
    const struct metrics *metrics = &bench->fixture->metrics;
    uint64_t ticks = 0, samples = 0, counted = 0;
    uint64_t moves = metric_read(metrics, METRIC_STORE_SEGMENT_MOVES);
    row->bytes_per_key_least = INFINITY;
    bench->passes.count = 0;
    (void)was_interrupted(bench);
    while (bench->key_count < keys) {
        uint64_t took = insert_batch(bench, bench->key_count, 0);
        bench->key_count += BURST;
        if (note_growth(bench, row)) {
            ticks += took;
            counted += BURST;
        }
        double each = (double)memory_of(bench->fixture).index_bytes / (double)bench->key_count;
        note_point(bench, each);
        row->bytes_per_key_average += each;
        row->bytes_per_key_least =
            each < row->bytes_per_key_least ? each : row->bytes_per_key_least;
        row->bytes_per_key_most = better(row->bytes_per_key_most, each);
        samples++;
    }
    row->keys = bench->key_count;
    row->bytes_per_key_average /= (double)samples;
    row->inserts_per_s = (double)counted * (double)rte_get_tsc_hz() / (double)ticks;
    row->growth_percentile_us = percentile_us(&bench->passes, 0.9999);
    row->moves = metric_read(metrics, METRIC_STORE_SEGMENT_MOVES) - moves;
    row->emergencies = metric_read(metrics, METRIC_STORE_SEGMENT_EMERGENCIES);
    row->segments = metric_read(metrics, METRIC_STORE_SEGMENTS);
    watch_machine(bench, row);
}

static void print_row(const struct row *row)
{
    printf("%10lu %10.2f %10.2f %10.2f %6.2f %7.1f %7.1f %7.1f %9.1f %9.1f %6lu %9.1f %6lu %5lu\n",
           (unsigned long)row->keys, row->inserts_per_s / 1e6, row->lookups_per_s / 1e6,
           row->plain_lookups_per_s / 1e6, row->lookups_per_s / row->plain_lookups_per_s,
           row->bytes_per_key_average, row->bytes_per_key_least, row->bytes_per_key_most,
           row->growth_percentile_us, row->growth_longest_us, (unsigned long)row->growth_over_200us,
           row->machine.longest_us, (unsigned long)row->machine.over_200us,
           (unsigned long)row->segments);
    fflush(stdout);
}

static void write_json_row(FILE *to, const struct row *row, bool is_first)
{
    fprintf(to,
            "%s\n  {\"keys\": %lu, \"inserts_per_s\": %.0f, \"lookups_per_s\": %.0f, "
            "\"plain_lookups_per_s\": %.0f, \"index_bytes_per_key\": {\"average\": %.2f, "
            "\"least\": %.2f, \"most\": %.2f}, \"growth_us\": {\"p9999\": %.1f, \"longest\": %.1f, "
            "\"over_200us\": %lu, \"seconds\": %.3f, \"empty_longest\": %.1f, "
            "\"empty_over_200us\": %lu}, \"segments\": %lu, \"emergencies\": %lu, "
            "\"moves_per_insert\": %.2f}",
            is_first ? "" : ",", (unsigned long)row->keys, row->inserts_per_s, row->lookups_per_s,
            row->plain_lookups_per_s, row->bytes_per_key_average, row->bytes_per_key_least,
            row->bytes_per_key_most, row->growth_percentile_us, row->growth_longest_us,
            (unsigned long)row->growth_over_200us, row->growth_seconds, row->machine.longest_us,
            (unsigned long)row->machine.over_200us, (unsigned long)row->segments,
            (unsigned long)row->emergencies, (double)row->moves / (double)row->keys);
}

/* All keys, in the order in which they came; what shrinking costs, as a row. */
static void delete_all(struct bench *bench, struct row *row)
{
    bench->passes.count = 0;
    (void)was_interrupted(bench);
    for (uint64_t first = 0; first < bench->key_count; first += BURST) {
        for (uint32_t i = 0; i < BURST; i++) {
            key_batch_set(&bench->batch, i, first + i);
        }
        prefetch_keys(bench->fixture, 0, bench->batch.pointers, BURST);
        for (uint32_t i = 0; i < BURST; i++) {
            CHECK(shard_delete(bench->fixture->shard, 0, &bench->batch.keys[i],
                               &bench->fixture->now));
        }
        (void)pass(bench);
        (void)note_growth(bench, row);
    }
    row->growth_percentile_us = percentile_us(&bench->passes, 0.9999);
    row->segments = metric_read(&bench->fixture->metrics, METRIC_STORE_SEGMENTS);
    watch_machine(bench, row);
}

static void report_shrinking(struct bench *bench, FILE *to)
{
    struct row row = {0};
    delete_all(bench, &row);
    uint64_t left = memory_of(bench->fixture).index_bytes;
    printf("all deleted: shrinking in a pass p99.99 %.1f us, longest %.1f, over 200 us %lu; empty "
           "loop %.1f, %lu; index %lu bytes, %lu segments\n",
           row.growth_percentile_us, row.growth_longest_us, (unsigned long)row.growth_over_200us,
           row.machine.longest_us, (unsigned long)row.machine.over_200us, (unsigned long)left,
           (unsigned long)row.segments);
    if (to != NULL) {
        fprintf(to,
                "\n],\n\"shrinking\": {\"p9999\": %.1f, \"longest\": %.1f, \"over_200us\": %lu, "
                "\"seconds\": %.3f, \"empty_longest\": %.1f, \"empty_over_200us\": %lu, "
                "\"bytes_left\": %lu},\n\"curve\": [",
                row.growth_percentile_us, row.growth_longest_us,
                (unsigned long)row.growth_over_200us, row.growth_seconds, row.machine.longest_us,
                (unsigned long)row.machine.over_200us, (unsigned long)left);
    }
}

static void run_growth(struct bench *bench, uint64_t keys, const char *json)
{
    FILE *to = json != NULL ? fopen(json, "w") : NULL;
    CHECK(json == NULL || to != NULL);
    if (to != NULL) {
        fprintf(to, "{\"rows\": [");
    }
    printf(
        "      keys  inserts/s  look-ups/s  rte_hash  ratio   index bytes per key     growth in a "
        "pass, us     empty loop     segments\n                  (M)        (M)        (M)      "
        "average   least    most   p99.99   longest  >200   longest   >200\n");
    bool is_first = true;
    for (uint64_t stop = 10000; bench->key_count < keys; stop *= 10) {
        struct row row = {0};
        insert_until(bench, stop < keys ? stop : keys, &row);
        measure_lookups(bench, bench->key_count, &row);
        print_row(&row);
        if (to != NULL) {
            write_json_row(to, &row, is_first);
        }
        is_first = false;
    }
    report_shrinking(bench, to);
    if (to != NULL) {
        for (uint32_t i = 0; i < bench->point_count; i++) {
            fprintf(to, "%s[%lu, %.2f]", i == 0 ? "" : ", ", (unsigned long)bench->points[i].keys,
                    bench->points[i].bytes_per_key);
        }
        fprintf(to, "]}\n");
        CHECK(fclose(to) == 0);
    }
}

/* ---- expiry -----------------------------------------------------------------------------------
 */

#define PERSISTENT_KEYS 100000U

static void note_causes(struct bench *bench)
{
    for (uint32_t i = 0; i < UPKEEP_CAUSE_COUNT; i++) {
        note_duration(&bench->causes[i],
                      microseconds(shard_longest_upkeep(bench->fixture->shard, i)));
    }
}

/* 32 look-ups of keys that stay, and the pass's upkeep. */
static void serve_pass(struct bench *bench)
{
    key_batch_draw(&bench->batch, &bench->random, 0, PERSISTENT_KEYS);
    shard_reset_longest_upkeep(bench->fixture->shard);
    uint64_t start = rte_rdtsc();
    look_up_ours(bench, NULL);
    (void)pass(bench);
    double us = microseconds(rte_rdtsc() - start);
    if (!was_interrupted(bench) || us <= 50) {
        note_duration(&bench->passes, us);
        note_causes(bench);
    }
}

static void print_series(struct series *series, const char *title)
{
    printf("%-20s median %5.1f us, p99 %6.1f, p99.9 %6.1f, longest %7.1f (%u)\n", title,
           percentile_us(series, 0.5), percentile_us(series, 0.99), percentile_us(series, 0.999),
           percentile_us(series, 1), series->count);
    series->count = 0;
}

static void print_passes(struct bench *bench, const char *when)
{
    printf("%s, passes of 32 look-ups:\n", when);
    print_series(&bench->passes, "  all of it");
    print_series(&bench->causes[UPKEEP_EXPIRY], "  expiry");
    print_series(&bench->causes[UPKEEP_RECLAIM], "  freeing");
    print_series(&bench->causes[UPKEEP_GROWTH], "  index");
}

static void run_expiry(struct bench *bench, uint64_t keys)
{
    struct shard *shard = bench->fixture->shard;
    for (uint64_t i = 0; i < PERSISTENT_KEYS; i += BURST) {
        insert_batch(bench, i, 0);
    }
    for (uint64_t i = 0; i < keys; i += BURST) {
        insert_batch(bench, i + PERSISTENT_KEYS, 1000000);
    }
    uint64_t full = memory_of(bench->fixture).used_bytes;
    for (uint32_t i = 0; i < 200000; i++) {
        serve_pass(bench);
    }
    print_passes(bench, "before");
    bench->fixture->now.wall_ms = 1000001;
    uint64_t start = rte_rdtsc();
    while (shard_expiry_count(shard, 0) > 0 || memory_of(bench->fixture).retired_bytes > 0) {
        serve_pass(bench);
    }
    double seconds = microseconds(rte_rdtsc() - start) / 1e6;
    print_passes(bench, "while they expire");
    printf("%lu keys gave back %.0f of %.0f MB in %.1f s, without being read\n",
           (unsigned long)keys, (double)(full - memory_of(bench->fixture).used_bytes) / 1e6,
           (double)full / 1e6, seconds);
}

/* ---- FLUSHALL ---------------------------------------------------------------------------------
 */

/* Upkeep alone: nobody is served. */
static void run_flush(struct bench *bench, uint64_t keys)
{
    for (uint64_t i = 0; i < keys; i += BURST) {
        insert_batch(bench, i, 0);
    }
    shard_flush(bench->fixture->shard, 0);
    uint64_t start = rte_rdtsc();
    (void)was_interrupted(bench);
    while (memory_of(bench->fixture).item_bytes > 0) {
        shard_reset_longest_upkeep(bench->fixture->shard);
        double us = microseconds(pass(bench));
        if (!was_interrupted(bench) || us <= 50) {
            note_duration(&bench->passes, us);
            note_causes(bench);
        }
    }
    double seconds = microseconds(rte_rdtsc() - start) / 1e6;
    printf("%lu keys flushed within %.1f s, passes without requests:\n", (unsigned long)keys,
           seconds);
    print_series(&bench->passes, "  all of it");
    print_series(&bench->causes[UPKEEP_RECLAIM], "  freeing");
}

/* ---- the program ------------------------------------------------------------------------------
 */

static void start_eal(uint64_t keys)
{
    static char words[10][24] = {"bench",          "--no-huge",   "--no-pci",          "-m", "",
                                 "--no-telemetry", "--no-shconf", "--log-level=error", "-l", "0"};
    char *arguments[11] = {NULL};
    for (unsigned i = 0; i < 10; i++) {
        arguments[i] = words[i];
    }
    snprintf(words[4], sizeof(words[4]), "%lu", (unsigned long)(keys * 130 / 1000000 + 256));
    cpu_set_t before;
    CHECK(sched_getaffinity(0, sizeof(before), &before) == 0);
    CHECK(rte_eal_init(10, arguments) >= 0);
    (void)eal_memory_enlarge_pages(); /* as the server does */
    CHECK(sched_setaffinity(0, sizeof(before), &before) == 0);
}

static void start(struct bench *bench)
{
    bench->from = channel_create(1024);
    bench->to = channel_create(1024);
    bench->fixture = create_fixture(0, bench->from);
    bench->reclaimer = reclaimer_create(&bench->from, &bench->to, 1);
    CHECK(bench->reclaimer != NULL);
    series_init(&bench->passes);
    for (uint32_t i = 0; i < UPKEEP_CAUSE_COUNT; i++) {
        series_init(&bench->causes[i]);
    }
    rcu_thread_register();
}

static void stop(struct bench *bench)
{
    rcu_thread_unregister();
    reclaimer_destroy(bench->reclaimer);
    destroy_fixture(bench->fixture);
    channel_destroy(bench->from);
    channel_destroy(bench->to);
    free(bench->passes.ns);
    for (uint32_t i = 0; i < UPKEEP_CAUSE_COUNT; i++) {
        free(bench->causes[i].ns);
    }
}

int main(int argument_count, char **arguments)
{
    struct bench bench = {.random = 88172645463325252ULL};
    const char *mode = argument_count > 1 ? arguments[1] : "growth", *json = NULL;
    uint64_t keys = 10000000;
    for (int i = 2; i < argument_count; i++) {
        if (strcmp(arguments[i], "--json") == 0 && i + 1 < argument_count) {
            json = arguments[++i];
        } else {
            keys = strtoull(arguments[i], NULL, 10);
        }
    }
    bool expiry = strcmp(mode, "expiry") == 0, flush = strcmp(mode, "flush") == 0;
    if (keys == 0 || (!expiry && !flush && strcmp(mode, "growth") != 0)) {
        fprintf(stderr, "usage: store_growth_bench growth|expiry|flush [keys] [--json FILE]\n");
        return 2;
    }
    start_eal(keys);
    start(&bench);
    if (expiry) {
        run_expiry(&bench, keys);
    } else if (flush) {
        run_flush(&bench, keys);
    } else {
        run_growth(&bench, keys, json);
    }
    stop(&bench);
    printf("(%lu)\n", (unsigned long)bench.sink);
    return 0;
}
