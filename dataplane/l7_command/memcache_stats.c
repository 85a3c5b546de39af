/* stats and its subcommands, under memcached's names where a figure means the same here.
 *
 * Left out is what has no meaning: chunks and pages of slabs, LRU segments, the crawler, external
 * storage. Monitoring tools read what is there; "stats items" and "stats slabs" show one class.
 * Refusals use words of the reference's own.
 */
#include <stdio.h>

#include "config/config.h"
#include "dataplane/l7_command/l7_command_internal.h"
#include "dataplane/l7_command/memcache_internal.h"
#include "dataplane/l7_command/memcache_observers.h"

#define STAT_VALUE_BYTES_MAX 256

static void stat_number(struct memcache_call *call, const char *name, uint64_t value)
{
    char text[NUMBER_TEXT_BYTES_MAX];
    (void)snprintf(text, sizeof(text), "%" PRIu64, value);
    memcache_reply_stat(call->reply, name, text);
}

static void stat_seconds(struct memcache_call *call, const char *name, uint64_t microseconds)
{
    char text[2 * NUMBER_TEXT_BYTES_MAX];
    (void)snprintf(text, sizeof(text), "%" PRIu64 ".%06" PRIu64, microseconds / 1000000,
                   microseconds % 1000000);
    memcache_reply_stat(call->reply, name, text);
}

/* ---- stats --------------------------------------------------------------------------------- */

/* Counters since the last reset, in the order memcached shows them. */
static const struct counter_row {
    const char *name;
    enum metric metric;
} command_counters[] = {
    {"cmd_get", METRIC_MEMCACHE_CMD_GET},
    {"cmd_set", METRIC_MEMCACHE_CMD_SET},
    {"cmd_flush", METRIC_MEMCACHE_CMD_FLUSH},
    {"cmd_touch", METRIC_MEMCACHE_CMD_TOUCH},
    {"get_hits", METRIC_MEMCACHE_GET_HITS},
    {"get_misses", METRIC_MEMCACHE_GET_MISSES},
    {"delete_misses", METRIC_MEMCACHE_DELETE_MISSES},
    {"delete_hits", METRIC_MEMCACHE_DELETE_HITS},
    {"incr_misses", METRIC_MEMCACHE_INCR_MISSES},
    {"incr_hits", METRIC_MEMCACHE_INCR_HITS},
    {"decr_misses", METRIC_MEMCACHE_DECR_MISSES},
    {"decr_hits", METRIC_MEMCACHE_DECR_HITS},
    {"cas_misses", METRIC_MEMCACHE_CAS_MISSES},
    {"cas_hits", METRIC_MEMCACHE_CAS_HITS},
    {"cas_badval", METRIC_MEMCACHE_CAS_BADVAL},
    {"touch_hits", METRIC_MEMCACHE_TOUCH_HITS},
    {"touch_misses", METRIC_MEMCACHE_TOUCH_MISSES},
    {"auth_cmds", METRIC_MEMCACHE_AUTH_CMDS},
    {"auth_errors", METRIC_MEMCACHE_AUTH_ERRORS},
    {"store_too_large", METRIC_MEMCACHE_STORE_TOO_LARGE},
    {"store_no_memory", METRIC_MEMCACHE_STORE_NO_MEMORY},
    {"bytes_read", METRIC_SESSION_INPUT_BYTES},
    {"bytes_written", METRIC_SESSION_OUTPUT_BYTES},
    {"total_items", METRIC_MEMCACHE_TOTAL_ITEMS},
    {"reclaimed", METRIC_STORE_EXPIRED_KEYS},
    {"log_worker_dropped", METRIC_MEMCACHE_LOG_WORKER_DROPPED},
    {"log_worker_written", METRIC_MEMCACHE_LOG_WORKER_WRITTEN},
    {"log_watcher_skipped", METRIC_MEMCACHE_LOG_WATCHER_SKIPPED},
    {"log_watcher_sent", METRIC_MEMCACHE_LOG_WATCHER_SENT},
};

static void stat_counters(struct memcache_call *call)
{
    for (size_t i = 0; i < sizeof(command_counters) / sizeof(command_counters[0]); i++) {
        stat_number(call, command_counters[i].name,
                    statistics_metric(call->context, command_counters[i].metric));
    }
}

static const struct shard *shard_of(const struct command_context *context, uint32_t worker)
{
    return context->all_shards == NULL ? context->shard : context->all_shards[worker];
}

static void stat_store(struct memcache_call *call)
{
    const struct command_context *context = call->context;
    uint32_t count = context->all_shards == NULL ? 1 : context->worker_count;
    uint64_t items = 0, item_bytes = 0, index_bytes = 0;
    for (uint32_t i = 0; i < count; i++) {
        struct shard_memory memory;
        shard_read_memory(shard_of(context, i), &memory);
        items += shard_key_count(shard_of(context, i), MEMCACHE_DATABASE);
        item_bytes += memory.item_bytes;
        index_bytes += memory.index_bytes;
    }
    stat_number(call, "limit_maxbytes", (uint64_t)context->config->maxmemory);
    stat_number(call, "bytes", item_bytes);
    stat_number(call, "hash_bytes", index_bytes);
    stat_number(call, "curr_items", items);
    stat_number(call, "evictions", statistics_metric(context, METRIC_STORE_EVICTED_KEYS));
}

/* Of the status that the control thread keeps: relaxed, as everywhere. 0 without a status. */
static uint64_t load(const uint64_t *figure)
{
    return figure == NULL ? 0 : __atomic_load_n(figure, __ATOMIC_RELAXED);
}

static void stat_process(struct memcache_call *call)
{
    const struct command_context *context = call->context;
    const struct control_status *status = context->status;
    uint64_t start_ms = load(status == NULL ? NULL : &status->start_wall_ms);
    uint64_t up_ms =
        start_ms != 0 && call->now->wall_ms > start_ms ? call->now->wall_ms - start_ms : 0;
    stat_number(call, "pid", context->process_id);
    stat_number(call, "uptime", up_ms / 1000);
    stat_number(call, "time", call->now->wall_ms / 1000);
    memcache_reply_stat(call->reply, "version", context->config->memcache_version);
    stat_number(call, "pointer_size", 8 * sizeof(void *));
    stat_seconds(call, "rusage_user", load(status == NULL ? NULL : &status->cpu_user_us));
    stat_seconds(call, "rusage_system", load(status == NULL ? NULL : &status->cpu_system_us));
}

static void stat_connections(struct memcache_call *call)
{
    const struct command_context *context = call->context;
    stat_number(call, "max_connections", (uint64_t)context->config->maxclients);
    stat_number(call, "curr_connections", statistics_gauge(context, METRIC_CONNECTIONS_CURRENT));
    stat_number(call, "total_connections", statistics_metric(context, METRIC_CONNECTIONS_RECEIVED));
    stat_number(call, "rejected_connections",
                statistics_metric(context, METRIC_CONNECTIONS_REJECTED));
    stat_number(call, "accepting_conns", 1);
    stat_number(call, "threads", context->worker_count);
}

static void stats_general(struct memcache_call *call, struct slice argument)
{
    stat_process(call);
    stat_connections(call);
    stat_counters(call);
    stat_number(call, "log_watchers",
                __atomic_load_n(&call->context->observers->watcher_count, __ATOMIC_RELAXED));
    stat_store(call);
    memcache_reply_end(call->reply);
}

/* ---- subcommands --------------------------------------------------------------------------- */

static void stats_reset(struct memcache_call *call, struct slice argument)
{
    statistics_reset(call->context);
    memcache_forget_prefixes(call->context);
    memcache_reply_line(call->reply, "RESET");
}

static void stats_settings(struct memcache_call *call, struct slice argument)
{
    const struct config *config = call->context->config;
    const struct {
        const char *name;
        int64_t value;
    } numbers[] = {
        {"maxbytes", config->maxmemory},
        {"maxconns", config->maxclients},
        {"tcpport", config->memcache_port},
        {"udpport", config->memcache_udp_port},
        {"num_threads", config->workers},
        {"tcp_backlog", config->tcp_backlog},
        {"item_size_max", config->memcache_item_size_max},
        {"idle_timeout", config->timeout},
        {"verbosity", 0},
        {"watcher_logbuf_size", MEMCACHE_WATCHER_BYTES_MAX},
        {"worker_logbuf_size", MEMCACHE_EVENT_LOG_BYTES},
    };
    const char *login = config->requirepass[0] != '\0' ? "yes" : "no";
    bool is_detailed = (memcache_observed(call->context->observers) & OBSERVED_DETAIL) != 0;
    bool evicts = shard_policy(call->context->shard)->kind != EVICT_NOTHING;
    const char *const texts[][2] = {
        {"evictions", evicts ? "on" : "off"},
        {"cas_enabled", "yes"},
        {"flush_enabled", "yes"},
        {"dump_enabled", "yes"},
        {"watch_enabled", config->memcache_watch ? "yes" : "no"},
        {"shutdown_command", config->memcache_shutdown ? "yes" : "no"},
        {"stat_key_prefix", config->memcache_prefix_delimiter},
        {"detail_enabled", is_detailed ? "yes" : "no"},
        {"track_sizes", "no"},
        {"lru_crawler", "no"},
        {"lru_maintainer_thread", "no"},
        {"slab_reassign", "no"},
        {"auth_enabled_sasl", login},
        {"auth_enabled_ascii", login},
        {"binding_protocol", "auto-negotiate"},
        {"hash_algorithm", "xxh3"},
        {"ssl_enabled", "no"},
    };
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        stat_number(call, numbers[i].name, (uint64_t)numbers[i].value);
    }
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        memcache_reply_stat(call->reply, texts[i][0], texts[i][1]);
    }
    memcache_reply_end(call->reply);
}

/* There is one class for tools that look for classes: 1, that of all items. */
struct class_figures {
    uint64_t items, item_bytes;
};

static struct class_figures read_class(const struct memcache_call *call)
{
    struct class_figures figures = {0};
    for (uint32_t i = 0; i < call->context->worker_count; i++) {
        struct shard_memory memory;
        const struct shard *shard = context_shard(call->context, i);
        shard_read_memory(shard, &memory);
        figures.item_bytes += memory.item_bytes;
        figures.items += shard_key_count(shard, MEMCACHE_DATABASE);
    }
    return figures;
}

static void stat_counter_rows(struct memcache_call *call, const struct counter_row *rows,
                              size_t count)
{
    for (size_t i = 0; i < count; i++) {
        stat_number(call, rows[i].name, statistics_metric(call->context, rows[i].metric));
    }
}

/* As the reference: nothing while nothing is stored. */
static void stats_items(struct memcache_call *call, struct slice argument)
{
    static const struct counter_row rows[] = {
        {"items:1:evicted", METRIC_STORE_EVICTED_KEYS},
        {"items:1:outofmemory", METRIC_STORE_OUT_OF_MEMORY},
        {"items:1:reclaimed", METRIC_STORE_EXPIRED_KEYS},
    };
    struct class_figures figures = read_class(call);
    if (figures.items > 0) {
        stat_number(call, "items:1:number", figures.items);
        stat_number(call, "items:1:mem_requested", figures.item_bytes);
        stat_counter_rows(call, rows, sizeof(rows) / sizeof(rows[0]));
    }
    memcache_reply_end(call->reply);
}

static void stats_slabs(struct memcache_call *call, struct slice argument)
{
    static const struct counter_row rows[] = {
        {"1:get_hits", METRIC_MEMCACHE_GET_HITS},
        {"1:cmd_set", METRIC_MEMCACHE_CMD_SET},
        {"1:delete_hits", METRIC_MEMCACHE_DELETE_HITS},
        {"1:incr_hits", METRIC_MEMCACHE_INCR_HITS},
        {"1:decr_hits", METRIC_MEMCACHE_DECR_HITS},
        {"1:cas_hits", METRIC_MEMCACHE_CAS_HITS},
        {"1:cas_badval", METRIC_MEMCACHE_CAS_BADVAL},
        {"1:touch_hits", METRIC_MEMCACHE_TOUCH_HITS},
    };
    struct class_figures figures = read_class(call);
    if (figures.items > 0) {
        stat_number(call, "1:used_chunks", figures.items);
        stat_number(call, "1:mem_requested", figures.item_bytes);
        stat_counter_rows(call, rows, sizeof(rows) / sizeof(rows[0]));
    }
    stat_number(call, "active_slabs", figures.items > 0);
    stat_number(call, "total_malloced", figures.item_bytes);
    memcache_reply_end(call->reply);
}

static void stats_sizes(struct memcache_call *call, struct slice argument)
{
    memcache_reply_stat(call->reply, "sizes_status", "disabled");
    memcache_reply_end(call->reply);
}

static void stat_client(struct memcache_call *call, const struct client *client, const char *field,
                        const char *value)
{
    char name[64];
    (void)snprintf(name, sizeof(name), "%" PRIu64 ":%s", client->id, field);
    memcache_reply_stat(call->reply, name, value);
}

/* The connections of this worker, of all protocols. */
static void stat_clients(struct memcache_call *call)
{
    uint64_t now_us = call->now->mono_us;
    for (const struct client *client = call->context->clients->first; client != NULL;
         client = client->next) {
        char endpoint[ENDPOINT_TEXT_BYTES_MAX], text[STAT_VALUE_BYTES_MAX];
        endpoint_format(&client->peer, endpoint);
        (void)snprintf(text, sizeof(text), "tcp:%s", client->peer.port == 0 ? "unix" : endpoint);
        stat_client(call, client, "addr", text);
        endpoint_format(&client->local, endpoint);
        (void)snprintf(text, sizeof(text), "tcp:%s", client->peer.port == 0 ? "unix" : endpoint);
        stat_client(call, client, "listen_addr", text);
        stat_client(call, client, "state", "conn_read");
        uint64_t idle_us = now_us > client->active_mono_us ? now_us - client->active_mono_us : 0;
        (void)snprintf(text, sizeof(text), "%" PRIu64, idle_us / 1000000);
        stat_client(call, client, "secs_since_last_cmd", text);
    }
}

static void stats_conns(struct memcache_call *call, struct slice argument)
{
    if (call->collected == NULL) {
        stat_clients(call);
    } else {
        byte_queue_transfer(call->reply->out, call->reply->pool, &call->collected->text,
                            call->collected->pool);
    }
    memcache_reply_end(call->reply);
}

/* A worker's share of it. */
static void collect_conns(struct memcache_call *call)
{
    struct memcache_reply reply = {.out = &call->collected->text, .pool = call->collected->pool};
    struct memcache_call share = *call;
    share.reply = &reply;
    stat_clients(&share);
}

static bool argument_is(struct slice argument, const char *text)
{
    return slice_equal(argument, slice_of_string(text));
}

static void stats_detail(struct memcache_call *call, struct slice argument)
{
    bool on = argument_is(argument, "on");
    if (on || argument_is(argument, "off")) {
        memcache_observers_keep_detail(call->context->observers, on);
        call->context->observed = memcache_observed(call->context->observers);
        memcache_reply_line(call->reply, "OK");
    } else if (argument_is(argument, "dump")) {
        memcache_reply_prefixes(call);
    } else {
        memcache_reply_line(call->reply, "CLIENT_ERROR usage: stats detail on|off|dump");
    }
}

static void stats_cachedump(struct memcache_call *call, struct slice argument)
{
    memcache_reply_line(call->reply, "CLIENT_ERROR stats cachedump not allowed");
}

static const struct stats_row {
    const char *name;
    void (*run)(struct memcache_call *call, struct slice argument);
} stats_rows[] = {
    {"", stats_general},    {"reset", stats_reset},   {"settings", stats_settings},
    {"items", stats_items}, {"slabs", stats_slabs},   {"sizes", stats_sizes},
    {"conns", stats_conns}, {"detail", stats_detail}, {"cachedump", stats_cachedump},
};

struct slice memcache_take_word(struct slice *text)
{
    while (text->size > 0 && text->data[0] == ' ') {
        *text = slice_from(*text, 1);
    }
    size_t size = 0;
    while (size < text->size && text->data[size] != ' ') {
        size++;
    }
    struct slice word = slice_of(text->data, size);
    *text = slice_from(*text, size);
    return word;
}

static bool asks(const struct memcache_request *request, const char *group, const char *argument)
{
    struct slice rest = request->arguments;
    return request->verb == MEMCACHE_STATS && argument_is(memcache_take_word(&rest), group) &&
           (argument == NULL || argument_is(memcache_take_word(&rest), argument));
}

bool memcache_visits_workers(const struct memcache_request *request)
{
    return asks(request, "conns", NULL) || asks(request, "detail", "dump");
}

void memcache_collect(struct memcache_call *call)
{
    if (asks(call->request, "conns", NULL)) {
        collect_conns(call);
    } else {
        memcache_collect_prefixes(call);
    }
}

void memcache_execute_stats(struct memcache_call *call)
{
    struct slice rest = call->request->arguments;
    struct slice name = memcache_take_word(&rest), argument = memcache_take_word(&rest);
    for (size_t i = 0; i < sizeof(stats_rows) / sizeof(stats_rows[0]); i++) {
        if (argument_is(name, stats_rows[i].name)) {
            stats_rows[i].run(call, argument);
            return;
        }
    }
    memcache_reply_line(call->reply, "ERROR");
}
