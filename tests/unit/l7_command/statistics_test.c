/* What INFO counts: calls, failures, errors, latencies, over workers, and since RESETSTAT. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "dataplane/l7_command/l7_command_internal.h"
#include "tests/unit/l7_command/dialogue.h"

static int setup(void **state)
{
    *state = dialogue_create();
    return 0;
}

static int teardown(void **state)
{
    dialogue_destroy(*state);
    return 0;
}

static void test_command_counts(void **state)
{
    struct dialogue *d = *state;
    dialogue_expect(d, "SET k v", "+OK\r\n");
    dialogue_expect_part(d, "INCR k", "-ERR");
    dialogue_expect_part(d, "GET", "-ERR");
    dialogue_expect(d, "GET k", "$1\r\nv\r\n");
    dialogue_expect(d, "GET none", "$-1\r\n");
    dialogue_expect_part(d, "INFO commandstats", "cmdstat_set:calls=1,usec=");
    assert_non_null(strstr(d->reply, "cmdstat_get:calls=2,usec="));
    assert_non_null(strstr(d->reply, ",rejected_calls=1,failed_calls=0\r\ncmdstat_incr:calls=1,"));
    assert_non_null(strstr(d->reply, ",rejected_calls=0,failed_calls=1\r\n"));
    assert_null(strstr(d->reply, "cmdstat_del"));
    dialogue_expect_part(d, "INFO latencystats", "latency_percentiles_usec_get:p50=");
    dialogue_expect_part(d, "INFO stats", "\r\nkeyspace_hits:1\r\nkeyspace_misses:1\r\n");
    dialogue_expect_part(d, "INFO stats", "\r\ntotal_error_replies:2\r\n");
    dialogue_expect_part(d, "INFO stats", "\r\ntotal_commands_processed:8\r\n");

    dialogue_expect(d, "CONFIG RESETSTAT", "+OK\r\n");
    /* RESETSTAT itself is counted after it has run, as in Redis. */
    dialogue_expect_part(d, "INFO stats", "\r\ntotal_commands_processed:1\r\n");
    dialogue_expect_part(d, "INFO stats", "\r\nkeyspace_hits:0\r\nkeyspace_misses:0\r\n");
    dialogue_expect(d, "INFO errorstats", "$14\r\n# Errorstats\r\n\r\n");
    dialogue_expect_part(d, "INFO commandstats", "cmdstat_info:calls=3,");
    assert_null(strstr(d->reply, "cmdstat_get"));
    dialogue_expect_part(d, "INCR k", "-ERR");
    dialogue_expect(d, "INFO errorstats", "$37\r\n# Errorstats\r\nerrorstat_ERR:count=1\r\n\r\n");
    /* The metrics themselves never go back. */
    assert_int_equal(d->metrics.values[METRIC_KEYSPACE_HITS], 1);
}

static void test_stages(void **state)
{
    struct dialogue *d = *state;
    uint64_t *values = d->metrics.values;
    values[METRIC_LOOP_CYCLES] = 10000;
    values[METRIC_LOOP_BUSY_CYCLES] = 5000; /* of these in long passes: */
    values[METRIC_LOOP_LONG_CYCLES] = 1000;
    values[METRIC_STAGE_CYCLES_SLEEP] = 4000;
    values[METRIC_LOOP_PACKETS] = 12;
    values[METRIC_LOOP_LONG_PACKETS] = 2;
    values[METRIC_LOOP_REQUESTS] = 25;
    values[METRIC_LOOP_LONG_REQUESTS] = 5;
    values[METRIC_LOOP_TIMED_CYCLES] = 800; /* one pass in some, by stage: */
    values[METRIC_STAGE_CYCLES_RUN] = 600;
    values[METRIC_STAGE_CYCLES_TCP_INPUT] = 200;
    values[METRIC_STAGE_LONG_CYCLES_RUN] = 1000000;
    values[METRIC_LOOP_TIMED_PACKETS] = 2;
    values[METRIC_LOOP_TIMED_REQUESTS] = 4;
    values[METRIC_LOOP_PASSES_UNDER_4US] = 7;
    dialogue_expect_part(d, "INFO stages", "# Stages\r\n");
    assert_non_null(strstr(d->reply, "\r\ncycles_total:10000\r\ncycles_busy:5000\r\n"
                                     "cycles_asleep:4000\r\ncycles_idle:1000\r\n"
                                     "busy_cycle_ratio:0.5000\r\n"
                                     "cycles_per_packet:400.0\r\ncycles_per_request:200.0\r\n"));
    assert_non_null(strstr(d->reply, "\r\nstage_run:share=0.7500,cycles_per_packet=300.0,"
                                     "cycles_per_request=150.0\r\n"));
    assert_non_null(strstr(d->reply, "\r\nloop_passes_under_4us:7\r\n"));
    dialogue_expect(d, "CONFIG RESETSTAT", "+OK\r\n");
    dialogue_expect_part(d, "INFO stages", "\r\ncycles_total:0\r\ncycles_busy:0\r\n");
    assert_non_null(strstr(d->reply, "\r\ncycles_per_request:0.0\r\n"));
    /* Only for those who ask: Redis has no such section. */
    dialogue_send(d, "INFO all");
    assert_null(strstr(d->reply, "# Stages"));
}

static void test_error_words(void **state)
{
    struct dialogue *d = *state;
    char text[64];
    statistics_note_error(d->context, SLICE_LITERAL("WRONGTYPE Operation"));
    statistics_note_error(d->context, SLICE_LITERAL("WRONGTYPE"));
    statistics_note_error(d->context, SLICE_LITERAL("WRONG x"));
    statistics_note_error(d->context, SLICE_LITERAL(""));
    struct error_entry entries[ERROR_WORD_COUNT_MAX];
    assert_int_equal(statistics_errors(d->context, entries), 3);
    assert_string_equal(entries[0].word, "WRONGTYPE");
    assert_int_equal(entries[0].replies, 2);
    assert_string_equal(entries[1].word, "WRONG");
    /* A bounded table: the rest is counted together. */
    for (int i = 0; i < 2 * ERROR_WORD_COUNT_MAX; i++) {
        snprintf(text, sizeof(text), "E%d-a-very-long-first-word-that-does-not-fit x", i);
        statistics_note_error(d->context, slice_of_string(text));
    }
    assert_int_equal(statistics_errors(d->context, entries), ERROR_WORD_COUNT_MAX);
    assert_true(d->context->errors->others > 0);
}

static void test_two_workers(void **state)
{
    struct dialogue *d = *state, *other = dialogue_create();
    struct command_context *contexts[2] = {d->context, other->context};
    const struct metrics *metrics[2] = {&d->metrics, &other->metrics};
    struct shard *shards[2] = {d->shard, other->shard};
    command_contexts_join(contexts, 2);
    for (int i = 0; i < 2; i++) {
        contexts[i]->worker_count = 2;
        contexts[i]->all_metrics = metrics;
        contexts[i]->all_shards = shards;
    }
    dialogue_expect(d, "PING", "+PONG\r\n");
    dialogue_expect(other, "PING", "+PONG\r\n");
    dialogue_expect_part(d, "FOO", "-ERR");
    dialogue_expect_part(other, "FOO", "-ERR");
    dialogue_expect(d, "INFO errorstats", "$37\r\n# Errorstats\r\nerrorstat_ERR:count=2\r\n\r\n");
    dialogue_expect_part(other, "INFO commandstats", "cmdstat_ping:calls=2,");
    dialogue_expect(other, "CONFIG RESETSTAT", "+OK\r\n");
    dialogue_expect(d, "INFO errorstats", "$14\r\n# Errorstats\r\n\r\n");
    dialogue_expect(d, "PING", "+PONG\r\n");
    dialogue_expect_part(other, "INFO commandstats", "cmdstat_ping:calls=1,");
    /* The baseline is d's: the other one goes first. */
    dialogue_destroy(other);
    d->context->all_contexts = NULL;
    d->context->all_metrics = NULL;
    d->context->all_shards = NULL;
}

/* A worker of its own thread: commands that touch no shard, and one that does not exist. */
static void *run_commands(void *argument)
{
    struct dialogue *d = argument;
    struct slice words[2] = {SLICE_LITERAL("PING"), SLICE_LITERAL("NOPE")};
    struct byte_queue out;
    byte_queue_init(&out);
    for (int i = 0; i < 20000; i++) {
        struct reply reply = {.out = &out, .pool = &d->pool, .protocol = 2};
        struct call call = {.context = d->context,
                            .shard = d->shard,
                            .now = &d->now,
                            .client = d->client,
                            .argument_count = 1,
                            .arguments = &words[i % 2],
                            .reply = &reply};
        call.command = command_find(call.arguments, 1);
        command_run(&call);
        byte_queue_clear(&out, &d->pool);
    }
    return NULL;
}

static void test_info_beside_a_running_worker(void **state)
{
    struct dialogue *d = *state, *other = dialogue_create();
    struct command_context *contexts[2] = {d->context, other->context};
    const struct metrics *metrics[2] = {&d->metrics, &other->metrics};
    command_contexts_join(contexts, 2);
    d->context->worker_count = 2;
    d->context->all_metrics = metrics;
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, run_commands, other), 0);
    for (int i = 0; i < 50; i++) {
        dialogue_expect_part(d, "INFO stats", "total_commands_processed:");
        dialogue_send(d, "INFO errorstats commandstats latencystats");
        /* Never below zero: that would show as a number of twenty digits. */
        assert_null(strstr(d->reply, "1844674407"));
        dialogue_expect(d, "CONFIG RESETSTAT", "+OK\r\n");
    }
    assert_int_equal(pthread_join(thread, NULL), 0);
    dialogue_expect_part(d, "INFO errorstats", "# Errorstats");
    assert_int_equal(other->metrics.values[METRIC_COMMANDS_PROCESSED], 10000);
    dialogue_destroy(other);
    d->context->all_contexts = NULL;
    d->context->all_metrics = NULL;
}

static void test_percentiles(void **state)
{
    (void)state;
    struct command_statistics *statistics = calloc(1, sizeof(*statistics));
    assert_non_null(statistics);
    for (uint64_t i = 1; i <= 1000; i++) {
        statistics_note_latency(statistics, i * 1000);
    }
    statistics_note_latency(statistics, 0);
    statistics_note_latency(statistics, UINT64_MAX / 2);
    assert_int_equal(statistics->timed_calls, 1002);
    double p50 = statistics_percentile_us(statistics, 50);
    double p99 = statistics_percentile_us(statistics, 99);
    assert_true(p50 >= statistics_ticks_to_us(500000) * 0.99 &&
                p50 <= statistics_ticks_to_us(500000) * 1.13);
    assert_true(p99 >= statistics_ticks_to_us(990000) * 0.99 &&
                p99 <= statistics_ticks_to_us(990000) * 1.13);
    free(statistics);
}

static void test_sampling_starts_after_many_calls(void **state)
{
    struct dialogue *d = *state;
    for (int i = 0; i < 3000; i++) {
        dialogue_send(d, "PING");
    }
    struct command_statistics sum;
    statistics_command(d->context, command_index(command_find_named(NULL, SLICE_LITERAL("ping"))),
                       &sum);
    assert_int_equal(sum.calls, 3000);
    assert_int_equal(sum.timed_calls, 1024 + (3000 - 1024 + 63) / 64);
}

static void test_info_sections(void **state)
{
    struct dialogue *d = *state;
    static const char *const titles[] = {
        "Server",  "Clients",      "Memory",     "Persistence",  "Stats",   "Replication", "CPU",
        "Modules", "Commandstats", "Errorstats", "Latencystats", "Cluster", "Keyspace",    "Net",
        "Loop",    "Requests",     "Store",      "Stages",       "Workers"};
    strcpy(d->status.run_id, "0123456789012345678901234567890123456789");
    d->status.start_wall_ms = d->now.wall_ms - 90061000;
    dialogue_expect(d, "SET k v EX 100", "+OK\r\n");
    dialogue_send(d, "INFO everything");
    const char *at = d->reply;
    for (size_t i = 0; i < sizeof(titles) / sizeof(titles[0]); i++) {
        char header[40];
        snprintf(header, sizeof(header), "%s# %s\r\n", i == 0 ? "" : "\r\n\r\n", titles[i]);
        if (i > 0 && at[-1] == '\n' && strncmp(at, "\r\n", 2) == 0) {
            snprintf(header, sizeof(header), "\r\n# %s\r\n", titles[i]); /* after an empty one */
        }
        const char *found = strstr(at, header);
        if (found == NULL) {
            fail_msg("no section %s in its place", titles[i]);
            return;
        }
        at = found + strlen(header);
    }
    assert_non_null(strstr(d->reply, "\r\nuptime_in_seconds:90061\r\nuptime_in_days:1\r\n"));
    assert_non_null(strstr(d->reply, "\r\nrun_id:0123456789012345678901234567890123456789\r\n"));
    assert_non_null(strstr(d->reply, "\r\nloading:0\r\n"));
    assert_non_null(strstr(d->reply, "\r\nmaxmemory_policy:noeviction\r\n"));
    assert_non_null(strstr(d->reply, "\r\nbusy_ratio:0.0000\r\n"));
    assert_non_null(strstr(d->reply, "\r\nworker0:connections=0,connections_received=0,"));
    assert_non_null(strstr(d->reply, "db0:keys=1,expires=1,avg_ttl="));

    dialogue_expect(d, "INFO nope", "$0\r\n\r\n");
    dialogue_expect(d, "INFO CLUSTER", "$30\r\n# Cluster\r\ncluster_enabled:0\r\n\r\n");
    dialogue_expect(d, "INFO modules cluster",
                    "$43\r\n# Modules\r\n\r\n# Cluster\r\ncluster_enabled:0\r\n\r\n");
    dialogue_send(d, "INFO");
    assert_null(strstr(d->reply, "# Commandstats"));
    assert_null(strstr(d->reply, "# Net"));
    assert_non_null(strstr(d->reply, "# Modules"));
    dialogue_send(d, "INFO all");
    assert_non_null(strstr(d->reply, "# Commandstats"));
    assert_null(strstr(d->reply, "# Modules"));
    assert_null(strstr(d->reply, "# Net"));
    dialogue_expect_part(d, "HELLO 3", "%7");
    dialogue_expect(d, "INFO cluster", "=34\r\ntxt:# Cluster\r\ncluster_enabled:0\r\n\r\n");
}

/* Every row of the tables is a line of its area's section, once. */
static void test_info_shows_every_metric(void **state)
{
    struct dialogue *d = *state;
    uint32_t shown = 0;
    for (uint32_t i = 0; i < METRIC_AREA_COUNT; i++) {
        char request[40];
        snprintf(request, sizeof(request), "INFO %s", metric_areas[i].name);
        dialogue_send(d, request);
        const char *at = d->reply;
        for (uint32_t j = 0; j < metric_areas[i].count; j++, shown++) {
            char line[80];
            snprintf(line, sizeof(line),
                     "\r\n%s:", metric_descriptions[metric_areas[i].first + j].name);
            at = strstr(at, line);
            if (at == NULL) {
                fail_msg("no line %s in INFO %s", line + 2, metric_areas[i].name);
                return;
            }
        }
    }
    assert_int_equal(shown, METRIC_COUNT);
    dialogue_expect_part(d, "INFO net", "# Net\r\nsocket_accept_pauses:0\r\n");
    dialogue_expect_part(d, "INFO loop", "\r\nloop_passes:0\r\n");
    dialogue_expect_part(d, "INFO store", "# Store\r\nstore_index:rte_hash\r\n");
    dialogue_expect_part(d, "INFO store", "\r\nstore_index_segments:");
    assert_true(metric_is_drop(METRIC_TCP_DROP_CHECKSUM));
    assert_false(metric_is_drop(METRIC_TCP_RETRANSMITS));
}

static void test_metrics_of_all_workers(void **state)
{
    struct dialogue *d = *state;
    static struct metrics other;
    const struct metrics *metrics[2] = {&d->metrics, &other};
    d->context->worker_count = 2;
    d->context->all_metrics = metrics;
    metric_add(&d->metrics, METRIC_NET_DROP_IP_CHECKSUM, 2);
    metric_add(&other, METRIC_NET_DROP_IP_CHECKSUM, 3);
    metric_add(&other, METRIC_TCP_CONNECTIONS, 7);
    dialogue_expect_part(d, "INFO net", "\r\nnet_drop_ip_checksum:5\r\n");
    assert_non_null(strstr(d->reply, "\r\ntcp_connections:7\r\n"));
    /* RESETSTAT is for counters; a gauge is what it is. */
    dialogue_expect(d, "CONFIG RESETSTAT", "+OK\r\n");
    dialogue_expect_part(d, "INFO net", "\r\nnet_drop_ip_checksum:0\r\n");
    assert_non_null(strstr(d->reply, "\r\ntcp_connections:7\r\n"));
    d->context->worker_count = 0;
    d->context->all_metrics = NULL;
}

int main(void)
{
    dialogue_setup("statistics_test");
#define DIALOGUE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        DIALOGUE(test_command_counts),
        DIALOGUE(test_stages),
        DIALOGUE(test_error_words),
        DIALOGUE(test_two_workers),
        DIALOGUE(test_info_beside_a_running_worker),
        cmocka_unit_test(test_percentiles),
        DIALOGUE(test_sampling_starts_after_many_calls),
        DIALOGUE(test_info_sections),
        DIALOGUE(test_info_shows_every_metric),
        DIALOGUE(test_metrics_of_all_workers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
