/* INFO's sections about the process: server, clients, memory, persistence, replication, cpu,
 * cluster.
 *
 * What only the control thread can know comes from struct control_status, written there with
 * relaxed atomics; before it has been written, or in tests without it, the figures are 0.
 */
#include "config/config.h"
#include "dataplane/l7_command/info_internal.h"

static const struct control_status no_status;

static const struct control_status *status_of(const struct call *call)
{
    const struct control_status *status = call->context->status;
    return status != NULL ? status : &no_status;
}

static uint64_t load(const uint64_t *value)
{
    return __atomic_load_n(value, __ATOMIC_RELAXED);
}

void info_print_server(struct text *text, const struct call *call)
{
    const struct command_context *context = call->context;
    const struct control_status *status = status_of(call);
    uint64_t started_ms = load(&status->start_wall_ms), now_ms = call->now->wall_ms;
    uint64_t uptime_s = started_ms == 0 || now_ms < started_ms ? 0 : (now_ms - started_ms) / 1000;
    text_print(text,
               "redis_version:%s\r\nredis_git_sha1:00000000\r\nredis_git_dirty:0\r\n"
               "redis_build_id:0\r\nredis_mode:standalone\r\nserver_name:%s\r\n"
               "nicached_version:%s\r\n",
               context->config->redis_version, context->config->server_name, NICACHED_VERSION);
    text_print(text,
               "os:%s\r\narch_bits:%zu\r\nmonotonic_clock:POSIX clock_gettime\r\n"
               "multiplexing_api:dpdk\r\natomicvar_api:c11-builtin\r\ngcc_version:%d.%d.%d\r\n",
               context->operating_system, sizeof(void *) * 8, __GNUC__, __GNUC_MINOR__,
               __GNUC_PATCHLEVEL__);
    text_print(text,
               "process_id:%" PRIu64 "\r\nprocess_supervised:no\r\nrun_id:%.40s\r\n"
               "tcp_port:%" PRId64 "\r\nserver_time_usec:%" PRIu64 "\r\n"
               "uptime_in_seconds:%" PRIu64 "\r\nuptime_in_days:%" PRIu64 "\r\n",
               context->process_id, status->run_id, context->config->port, call->now->wall_us,
               uptime_s, uptime_s / 86400);
    text_print(text,
               "executable:%s\r\nconfig_file:%s\r\nio_threads_active:0\r\nworkers:%" PRIu32 "\r\n",
               status->executable, status->config_file, context->worker_count);
}

struct buffer_figures {
    uint64_t input_max, output_max, total;
};

static void add_buffers(struct buffer_figures *figures, const struct client *client)
{
    uint64_t input = client->query_buffer_bytes + client->query_buffer_free_bytes;
    uint64_t output = client->output_buffer_bytes;
    figures->input_max = input > figures->input_max ? input : figures->input_max;
    figures->output_max = output > figures->output_max ? output : figures->output_max;
    figures->total += input + client->argument_bytes + output;
}

static struct buffer_figures measure_buffers(const struct call *call)
{
    struct buffer_figures figures = {0};
    for (const struct client *client = call->context->clients->first; client != NULL;
         client = client->next) {
        add_buffers(&figures, client);
    }
    return figures;
}

void info_print_clients(struct text *text, const struct call *call)
{
    struct buffer_figures figures = measure_buffers(call);
    text_print(text,
               "connected_clients:%" PRIu64 "\r\ncluster_connections:0\r\nmaxclients:%" PRId64
               "\r\nclient_recent_max_input_buffer:%" PRIu64
               "\r\nclient_recent_max_output_buffer:%" PRIu64 "\r\n",
               statistics_gauge(call->context, METRIC_CONNECTIONS_CURRENT),
               call->context->config->maxclients, figures.input_max, figures.output_max);
    text_print(text, "blocked_clients:0\r\ntracking_clients:0\r\npubsub_clients:0\r\n"
                     "watching_clients:0\r\nclients_in_timeout_table:0\r\n"
                     "total_watched_keys:0\r\ntotal_blocking_keys:0\r\n"
                     "total_blocking_keys_on_nokey:0\r\n");
}

/* ---- memory ---------------------------------------------------------------------------------- */

static void format_human(uint64_t bytes, char text[32])
{
    static const char units[] = "BKMGTPE";
    double value = (double)bytes;
    int unit = 0;
    while (value >= 1024 && units[unit + 1] != '\0') {
        value /= 1024;
        unit++;
    }
    snprintf(text, 32, unit == 0 ? "%.0f%c" : "%.2f%c", value, units[unit]);
}

static void print_bytes(struct text *text, const char *name, uint64_t bytes)
{
    char human[32];
    format_human(bytes, human);
    text_print(text, "%s:%" PRIu64 "\r\n%s_human:%s\r\n", name, bytes, name, human);
}

static double percent(uint64_t part, uint64_t whole)
{
    return whole == 0 ? 0.0 : (double)part * 100.0 / (double)whole;
}

static uint32_t shard_count(const struct command_context *context)
{
    return context->all_shards == NULL ? 1 : context->worker_count;
}

static struct shard_memory memory_of_shard(const struct command_context *context, uint32_t number)
{
    struct shard_memory memory;
    shard_read_memory(context->all_shards == NULL ? context->shard : context->all_shards[number],
                      &memory);
    return memory;
}

static struct shard_memory sum_memory(const struct call *call)
{
    struct shard_memory sum = {0};
    for (uint32_t i = 0; i < shard_count(call->context); i++) {
        struct shard_memory part = memory_of_shard(call->context, i);
        shard_add_memory(&sum, &part);
    }
    return sum;
}

static void print_policy(void *argument, const char *name, const char *value)
{
    text_print(argument, "maxmemory_policy:%s\r\n", value);
}

/* Overhead as Redis has it: what is allocated but is neither a key nor a value. The index, the
 * allocator's bookkeeping, and what connections hold. */
static void print_used_memory(struct text *text, const struct shard_memory *memory,
                              uint64_t resident, uint64_t buffers)
{
    uint64_t overhead = memory->index_bytes + memory->overhead_bytes + buffers;
    print_bytes(text, "used_memory", memory->used_bytes);
    print_bytes(text, "used_memory_rss", resident);
    print_bytes(text, "used_memory_peak", memory->peak_bytes);
    text_print(text,
               "used_memory_peak_perc:%.2f%%\r\nused_memory_overhead:%" PRIu64
               "\r\nused_memory_startup:0\r\nused_memory_dataset:%" PRIu64
               "\r\nused_memory_dataset_perc:%.2f%%\r\n",
               percent(memory->used_bytes, memory->peak_bytes), overhead, memory->item_bytes,
               percent(memory->item_bytes, memory->used_bytes));
    text_print(text,
               "used_memory_index:%" PRIu64 "\r\nused_memory_values_apart:%" PRIu64
               "\r\nused_memory_retired:%" PRIu64 "\r\n",
               memory->index_bytes, memory->blob_bytes, memory->retired_bytes);
}

static double ratio(uint64_t part, uint64_t whole)
{
    return percent(part, whole) / 100;
}

/* The pages of items and values, and of an index of buckets; one of rte_hash has its memory from
 * DPDK. */
static void print_allocator(struct text *text, const struct shard_memory *memory, uint64_t resident)
{
    text_print(text,
               "allocator_allocated:%" PRIu64 "\r\nallocator_active:%" PRIu64
               "\r\nallocator_resident:%" PRIu64 "\r\nallocator_overhead:%" PRIu64 "\r\n",
               memory->allocated_bytes, memory->active_bytes, memory->resident_bytes,
               memory->overhead_bytes);
    text_print(text,
               "allocator_frag_ratio:%.2f\r\nallocator_frag_bytes:%" PRId64
               "\r\nallocator_rss_ratio:%.2f\r\nallocator_rss_bytes:%" PRId64
               "\r\nrss_overhead_ratio:%.2f\r\nrss_overhead_bytes:%" PRId64 "\r\n",
               ratio(memory->active_bytes, memory->allocated_bytes),
               (int64_t)(memory->active_bytes - memory->allocated_bytes),
               ratio(memory->resident_bytes, memory->active_bytes),
               (int64_t)(memory->resident_bytes - memory->active_bytes),
               ratio(resident, memory->resident_bytes),
               (int64_t)(resident - memory->resident_bytes));
}

static void print_books(struct text *text, const char *owner, uint32_t number,
                        const struct shard_memory *memory)
{
    static const char *const types[ITEM_TYPE_COUNT] = {
        [ITEM_STRING] = "string", [ITEM_LIST] = "list", [ITEM_SET] = "set",
        [ITEM_ZSET] = "zset",     [ITEM_HASH] = "hash", [ITEM_STREAM] = "stream",
    };
    text_print(text,
               "%s%" PRIu32 ":used=%" PRIu64 ",items=%" PRIu64 ",values_apart=%" PRIu64
               ",index=%" PRIu64 ",retired=%" PRIu64 ",active=%" PRIu64 ",resident=%" PRIu64
               ",headroom=%" PRIu64 "\r\n",
               owner, number, memory->used_bytes, memory->item_bytes, memory->blob_bytes,
               memory->index_bytes, memory->retired_bytes, memory->active_bytes,
               memory->resident_bytes, memory->headroom_bytes);
    for (uint32_t i = 0; i < ITEM_TYPE_COUNT; i++) {
        if (memory->types[i].count > 0) {
            text_print(text, "%s%" PRIu32 "_%s:items=%" PRIu64 ",bytes=%" PRIu64 "\r\n", owner,
                       number, types[i], memory->types[i].count, memory->types[i].bytes);
        }
    }
}

static void print_shards(struct text *text, const struct call *call)
{
    for (uint32_t i = 0; i < shard_count(call->context); i++) {
        struct shard_memory memory = memory_of_shard(call->context, i);
        print_books(text, "shard", i, &memory);
    }
}

static void print_reclaim(struct text *text, const struct shard_memory *memory)
{
    uint64_t average =
        memory->grace_periods == 0 ? 0 : memory->grace_us_sum / memory->grace_periods;
    text_print(text,
               "reclaim_batches_in_flight:%" PRIu64 "\r\nreclaim_grace_periods:%" PRIu64
               "\r\nreclaim_grace_us_average:%" PRIu64 "\r\nreclaim_grace_us_max:%" PRIu64 "\r\n",
               memory->reclaim_batches, memory->grace_periods, average, memory->grace_us_max);
}

void info_print_memory(struct text *text, const struct call *call)
{
    const struct config *config = call->context->config;
    struct shard_memory memory = sum_memory(call);
    uint64_t resident = load(&status_of(call)->resident_bytes);
    uint64_t buffers =
        measure_buffers(call).total + statistics_gauge(call->context, METRIC_CONNECTION_BYTES);
    print_used_memory(text, &memory, resident, buffers);
    print_allocator(text, &memory, resident);
    print_bytes(text, "total_system_memory", call->context->system_memory_bytes);
    text_print(text, "used_memory_lua:0\r\nused_memory_vm_eval:0\r\nused_memory_lua_human:0B\r\n"
                     "used_memory_scripts_eval:0\r\nnumber_of_cached_scripts:0\r\n"
                     "number_of_functions:0\r\nnumber_of_libraries:0\r\n"
                     "used_memory_vm_functions:0\r\nused_memory_vm_total:0\r\n"
                     "used_memory_vm_total_human:0B\r\nused_memory_functions:0\r\n"
                     "used_memory_scripts:0\r\nused_memory_scripts_human:0B\r\n");
    print_bytes(text, "maxmemory", (uint64_t)config->maxmemory);
    struct slice policy = SLICE_LITERAL("maxmemory-policy");
    config_visit(config, 1, &policy, print_policy, text);
    text_print(text, "mem_fragmentation_ratio:%.2f\r\nmem_fragmentation_bytes:%" PRId64 "\r\n",
               ratio(resident, memory.used_bytes), (int64_t)resident - (int64_t)memory.used_bytes);
    text_print(text,
               "mem_not_counted_for_evict:0\r\nmem_replication_backlog:0\r\n"
               "mem_total_replication_buffers:0\r\nmem_clients_slaves:0\r\n"
               "mem_clients_normal:%" PRIu64 "\r\nmem_cluster_links:0\r\nmem_aof_buffer:0\r\n"
               "mem_allocator:nicached\r\nactive_defrag_running:0\r\n"
               "lazyfree_pending_objects:0\r\nlazyfreed_objects:0\r\n",
               buffers);
    print_reclaim(text, &memory);
    print_shards(text, call);
}

/* ---- what does not exist in this version -------------------------------------------------------
 */

void info_print_persistence(struct text *text, const struct call *call)
{
    /* Redis counts the start as a save, too. */
    uint64_t started_s = load(&status_of(call)->start_wall_ms) / 1000;
    text_print(text, "loading:0\r\nasync_loading:0\r\ncurrent_cow_peak:0\r\ncurrent_cow_size:0\r\n"
                     "current_cow_size_age:0\r\ncurrent_fork_perc:0.00\r\n"
                     "current_save_keys_processed:0\r\ncurrent_save_keys_total:0\r\n");
    text_print(text,
               "rdb_changes_since_last_save:0\r\nrdb_bgsave_in_progress:0\r\n"
               "rdb_last_save_time:%" PRIu64 "\r\nrdb_last_bgsave_status:ok\r\n"
               "rdb_last_bgsave_time_sec:-1\r\nrdb_current_bgsave_time_sec:-1\r\nrdb_saves:0\r\n"
               "rdb_last_cow_size:0\r\nrdb_last_load_keys_expired:0\r\n"
               "rdb_last_load_keys_loaded:0\r\n",
               started_s);
    text_print(text, "aof_enabled:0\r\naof_rewrite_in_progress:0\r\naof_rewrite_scheduled:0\r\n"
                     "aof_last_rewrite_time_sec:-1\r\naof_current_rewrite_time_sec:-1\r\n"
                     "aof_last_bgrewrite_status:ok\r\naof_rewrites:0\r\n"
                     "aof_rewrites_consecutive_failures:0\r\naof_last_write_status:ok\r\n"
                     "aof_last_cow_size:0\r\nmodule_fork_in_progress:0\r\n"
                     "module_fork_last_cow_size:0\r\n");
}

void info_print_replication(struct text *text, const struct call *call)
{
    text_print(text,
               "role:master\r\nconnected_slaves:0\r\nmaster_failover_state:no-failover\r\n"
               "master_replid:%.40s\r\nmaster_replid2:%040d\r\nmaster_repl_offset:0\r\n"
               "second_repl_offset:-1\r\nrepl_backlog_active:0\r\nrepl_backlog_size:0\r\n"
               "repl_backlog_first_byte_offset:0\r\nrepl_backlog_histlen:0\r\n",
               status_of(call)->run_id, 0);
}

void info_print_cluster(struct text *text, const struct call *call)
{
    text_print(text, "cluster_enabled:0\r\n");
}

/* A polling worker always burns its whole CPU: the busy ratio, cycles of passes that had something
 * to do against all of the workers' time, asleep or not, says how much of it was work. */
void info_print_cpu(struct text *text, const struct call *call)
{
    const struct control_status *status = status_of(call);
    uint64_t system_us = load(&status->cpu_system_us), user_us = load(&status->cpu_user_us);
    uint64_t total = statistics_metric(call->context, METRIC_LOOP_CYCLES);
    uint64_t busy = statistics_metric(call->context, METRIC_LOOP_BUSY_CYCLES);
    text_print(text,
               "used_cpu_sys:%" PRIu64 ".%06" PRIu64 "\r\nused_cpu_user:%" PRIu64 ".%06" PRIu64
               "\r\nused_cpu_sys_children:0.000000\r\nused_cpu_user_children:0.000000\r\n"
               "busy_ratio:%.4f\r\n",
               system_us / 1000000, system_us % 1000000, user_us / 1000000, user_us % 1000000,
               percent(busy, total) / 100);
}
