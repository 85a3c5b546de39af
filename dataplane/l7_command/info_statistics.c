/* INFO's sections of counters: stats, commandstats, errorstats, latencystats, keyspace, and the
 * areas of the metrics. */
#include <stdlib.h>

#include "config/config.h"
#include "dataplane/l7_command/info_internal.h"

static void print_metric(struct text *text, const struct call *call, const char *name,
                         enum metric metric)
{
    text_print(text, "%s:%" PRIu64 "\r\n", name, statistics_metric(call->context, metric));
}

static uint64_t count_errors(const struct call *call, const char *word)
{
    struct error_entry entries[ERROR_WORD_COUNT_MAX];
    uint32_t count = statistics_errors(call->context, entries);
    for (uint32_t i = 0; i < count; i++) {
        if (strcmp(entries[i].word, word) == 0) {
            return entries[i].replies;
        }
    }
    return 0;
}

static void print_rates(struct text *text, const struct call *call)
{
    const struct control_status *status = call->context->status;
    uint64_t operations = 0, input = 0, output = 0;
    if (status != NULL) {
        operations = __atomic_load_n(&status->operations_per_second, __ATOMIC_RELAXED);
        input = __atomic_load_n(&status->input_bytes_per_second, __ATOMIC_RELAXED);
        output = __atomic_load_n(&status->output_bytes_per_second, __ATOMIC_RELAXED);
    }
    text_print(text,
               "instantaneous_ops_per_sec:%" PRIu64 "\r\ninstantaneous_input_kbps:%.2f\r\n"
               "instantaneous_output_kbps:%.2f\r\n",
               operations, (double)input / 1024, (double)output / 1024);
}

void info_print_stats(struct text *text, const struct call *call)
{
    print_metric(text, call, "total_connections_received", METRIC_CONNECTIONS_RECEIVED);
    print_metric(text, call, "total_commands_processed", METRIC_COMMANDS_PROCESSED);
    print_rates(text, call);
    print_metric(text, call, "total_net_input_bytes", METRIC_SESSION_INPUT_BYTES);
    print_metric(text, call, "total_net_output_bytes", METRIC_SESSION_OUTPUT_BYTES);
    text_print(text, "total_net_repl_input_bytes:0\r\ntotal_net_repl_output_bytes:0\r\n"
                     "instantaneous_input_repl_kbps:0.00\r\n"
                     "instantaneous_output_repl_kbps:0.00\r\n");
    print_metric(text, call, "rejected_connections", METRIC_CONNECTIONS_REJECTED);
    text_print(text, "sync_full:0\r\nsync_partial_ok:0\r\nsync_partial_err:0\r\n");
    print_metric(text, call, "expired_keys", METRIC_STORE_EXPIRED_KEYS);
    print_metric(text, call, "evicted_keys", METRIC_STORE_EVICTED_KEYS);
    print_metric(text, call, "evicted_clients", METRIC_EVICTED_CLIENTS);
    /* Memory is made before it is used: it is never exceeded. */
    text_print(text, "total_eviction_exceeded_time:0\r\ncurrent_eviction_exceeded_time:0\r\n");
    print_metric(text, call, "keyspace_hits", METRIC_KEYSPACE_HITS);
    print_metric(text, call, "keyspace_misses", METRIC_KEYSPACE_MISSES);
    text_print(text, "pubsub_channels:0\r\npubsub_patterns:0\r\npubsubshard_channels:0\r\n"
                     "latest_fork_usec:0\r\ntotal_forks:0\r\nmigrate_cached_sockets:0\r\n"
                     "slave_expires_tracked_keys:0\r\nactive_defrag_hits:0\r\n"
                     "active_defrag_misses:0\r\nactive_defrag_key_hits:0\r\n"
                     "active_defrag_key_misses:0\r\ntotal_active_defrag_time:0\r\n"
                     "current_active_defrag_time:0\r\ntracking_total_keys:0\r\n"
                     "tracking_total_items:0\r\ntracking_total_prefixes:0\r\n"
                     "unexpected_error_replies:0\r\n");
    print_metric(text, call, "total_error_replies", METRIC_ERROR_REPLIES);
    text_print(text, "dump_payload_sanitizations:0\r\nio_threaded_reads_processed:0\r\n"
                     "io_threaded_writes_processed:0\r\nacl_access_denied_cmd:0\r\n"
                     "acl_access_denied_key:0\r\nacl_access_denied_channel:0\r\n");
    print_metric(text, call, "client_query_buffer_limit_disconnections",
                 METRIC_QUERY_LIMIT_DISCONNECTIONS);
    print_metric(text, call, "client_output_buffer_limit_disconnections",
                 METRIC_OUTPUT_LIMIT_DISCONNECTIONS);
    text_print(text, "acl_access_denied_auth:%" PRIu64 "\r\n", count_errors(call, "WRONGPASS"));
    print_metric(text, call, "eventloop_cycles", METRIC_LOOP_PASSES);
}

/* ---- per command ----------------------------------------------------------------------------- */

/* Not every call is timed (command_execute.c): the mean of the timed ones stands for all. */
static void print_command(struct text *text, const char *name,
                          const struct command_statistics *statistics)
{
    double mean_us =
        statistics->timed_calls == 0
            ? 0.0
            : statistics_ticks_to_us(statistics->timed_ticks) / (double)statistics->timed_calls;
    text_print(text,
               "cmdstat_%s:calls=%" PRIu64 ",usec=%.0f,usec_per_call=%.2f,rejected_calls=%" PRIu64
               ",failed_calls=%" PRIu64 "\r\n",
               name, statistics->calls, mean_us * (double)statistics->calls, mean_us,
               statistics->rejected, statistics->failed);
}

void info_print_commandstats(struct text *text, const struct call *call)
{
    for (uint32_t i = 0; i < command_count; i++) {
        struct command_statistics sum;
        statistics_command(call->context, i, &sum);
        if (sum.calls != 0 || sum.rejected != 0 || sum.failed != 0) {
            print_command(text, commands[i].name, &sum);
        }
    }
}

void info_print_latencystats(struct text *text, const struct call *call)
{
    for (uint32_t i = 0; i < command_count; i++) {
        struct command_statistics sum;
        statistics_command(call->context, i, &sum);
        if (sum.timed_calls != 0) {
            text_print(text, "latency_percentiles_usec_%s:p50=%.3f,p99=%.3f,p99.9=%.3f\r\n",
                       commands[i].name, statistics_percentile_us(&sum, 50),
                       statistics_percentile_us(&sum, 99), statistics_percentile_us(&sum, 99.9));
        }
    }
}

static int compare_entries(const void *a, const void *b)
{
    const struct error_entry *x = a, *y = b;
    return strcmp(x->word, y->word);
}

void info_print_errorstats(struct text *text, const struct call *call)
{
    struct error_entry entries[ERROR_WORD_COUNT_MAX];
    uint32_t count = statistics_errors(call->context, entries);
    qsort(entries, count, sizeof(entries[0]), compare_entries);
    for (uint32_t i = 0; i < count; i++) {
        text_print(text, "errorstat_%s:count=%" PRIu64 "\r\n", entries[i].word, entries[i].replies);
    }
}

/* ---- keyspace -------------------------------------------------------------------------------- */

struct keyspace {
    uint64_t keys, expiries, average_ms;
};

/* The average time to live is weighted with how many keys of each shard have one. */
static struct keyspace sum_keyspace(const struct call *call, uint32_t database)
{
    struct keyspace sum = {0};
    double weighted_ms = 0;
    for (uint32_t i = 0; i < call->context->worker_count; i++) {
        const struct shard *shard = context_shard(call->context, i);
        uint64_t expiries = shard_expiry_count(shard, database);
        sum.keys += shard_key_count(shard, database);
        sum.expiries += expiries;
        if (expiries > 0) {
            weighted_ms +=
                (double)expiries * (double)shard_expiry_average_ms(shard, database, call->now);
        }
    }
    sum.average_ms = sum.expiries > 0 ? (uint64_t)(weighted_ms / (double)sum.expiries) : 0;
    return sum;
}

void info_print_keyspace(struct text *text, const struct call *call)
{
    for (uint32_t database = 0; database < SHARD_DATABASE_COUNT; database++) {
        struct keyspace sum = sum_keyspace(call, database);
        if (sum.keys > 0) {
            text_print(text,
                       "db%" PRIu32 ":keys=%" PRIu64 ",expires=%" PRIu64 ",avg_ttl=%" PRIu64 "\r\n",
                       database, sum.keys, sum.expiries, sum.average_ms);
        }
    }
}

/* ---- all rows of the metrics' tables --------------------------------------------------------- */

void info_print_area(struct text *text, const struct call *call, enum metric_area_index index)
{
    const struct metric_area *area = &metric_areas[index];
    for (uint32_t i = 0; i < area->count; i++) {
        enum metric metric = (enum metric)(area->first + i);
        const struct metric_description *description = &metric_descriptions[metric];
        text_print(text, "%s:%" PRIu64 "\r\n", description->name,
                   description->is_gauge ? statistics_gauge(call->context, metric)
                                         : statistics_metric(call->context, metric));
    }
}

void info_print_net(struct text *text, const struct call *call)
{
    text_print(text, "%s", call->context->ports);
    info_print_area(text, call, METRIC_AREA_NET);
}

void info_print_loop(struct text *text, const struct call *call)
{
    info_print_area(text, call, METRIC_AREA_LOOP);
}

void info_print_requests(struct text *text, const struct call *call)
{
    info_print_area(text, call, METRIC_AREA_REQUESTS);
}

void info_print_store(struct text *text, const struct call *call)
{
    text_print(text, "store_index:%s\r\n",
               shard_index_kind(call->context->shard) == INDEX_BUCKETS ? "buckets" : "rte_hash");
    info_print_area(text, call, METRIC_AREA_STORE);
}
