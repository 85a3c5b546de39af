/* memcached commands: entry point, and the verbs that need only a few lines.
 *
 *   memcache_execute ---> memcache_get.c         get gets gat gats
 *                    ---> memcache_storage.c     set add replace append prepend cas
 *                    ---> memcache_arithmetic.c  incr decr
 *                    ---> memcache_stats.c       stats
 *                    ---> memcache_control.c     cache_memlimit shutdown lru_crawler config watch
 *                    ---> memcache_meta.c        mg ms md ma me (and its neighbours)
 *                    ---> memcache_login.c       the set that logs in
 *                    ---> memcache_binary.c      all requests of the binary protocol
 *                    ---> here                   delete touch flush_all version verbosity mn quit
 *
 * Where somebody watches, or figures per prefix are kept, memcache_observe.c stands in between.
 *
 * Behaviour and texts are those of memcached 1.6.18. Thread: the owning worker. Memory: the
 * shard's. Failure: what a client asks wrongly is an error line; no memory is SERVER_ERROR.
 */
#include <stdio.h>

#include "config/config.h"
#include "dataplane/base/check.h"
#include "dataplane/l7_command/memcache_internal.h"
#include "dataplane/l7_command/string_value.h"

#define RELATIVE_SECONDS_MAX (60 * 60 * 24 * 30)

/* ---- for the other files ------------------------------------------------------------------- */

uint64_t memcache_expire_at_ms(int64_t exptime, const struct instant *now)
{
    if (exptime == 0) {
        return 0;
    }
    if (exptime < 0) {
        return MEMCACHE_EXPIRED;
    }
    /* The parser keeps exptime within 32 bits. */
    uint64_t milliseconds = (uint64_t)exptime * 1000;
    if (exptime <= RELATIVE_SECONDS_MAX) {
        return now->wall_ms + milliseconds;
    }
    return milliseconds <= now->wall_ms ? MEMCACHE_EXPIRED : milliseconds;
}

/* ---- verbs --------------------------------------------------------------------------------- */

static void execute_delete(struct memcache_call *call)
{
    bool found =
        shard_delete(memcache_shard(call, 0), MEMCACHE_DATABASE, &call->keys[0], call->now);
    memcache_count(call, found ? METRIC_MEMCACHE_DELETE_HITS : METRIC_MEMCACHE_DELETE_MISSES);
    memcache_reply_line(call->reply, found ? "DELETED" : "NOT_FOUND");
}

static void execute_touch(struct memcache_call *call)
{
    const struct item *item = memcache_find(call, 0);
    memcache_count(call, METRIC_MEMCACHE_CMD_TOUCH);
    memcache_count(call, item != NULL ? METRIC_MEMCACHE_TOUCH_HITS : METRIC_MEMCACHE_TOUCH_MISSES);
    if (item == NULL) {
        memcache_reply_line(call->reply, "NOT_FOUND");
        return;
    }
    item_set_fetched(item);
    if (!memcache_touch(call, 0, item)) {
        memcache_reply_line(call->reply, "SERVER_ERROR out of memory");
    } else {
        memcache_reply_line(call->reply, "TOUCHED");
    }
}

/* A later flush_all takes the place of one that still waits. */
void memcache_flush(struct memcache_call *call)
{
    memcache_count(call, METRIC_MEMCACHE_CMD_FLUSH);
    uint64_t at_ms = memcache_expire_at_ms(call->request->exptime, call->now);
    bool now = at_ms == 0 || at_ms == MEMCACHE_EXPIRED;
    for (uint32_t i = 0; i < call->context->worker_count; i++) {
        struct shard *shard = context_shard(call->context, i);
        shard_flush_at(shard, MEMCACHE_DATABASE, now ? 0 : at_ms);
        if (now) {
            shard_flush(shard, MEMCACHE_DATABASE);
        }
    }
}

static void execute_flush_all(struct memcache_call *call)
{
    memcache_flush(call);
    memcache_reply_line(call->reply, "OK");
}

static void execute_version(struct memcache_call *call)
{
    char text[128];
    (void)snprintf(text, sizeof(text), "VERSION %.100s", call->context->config->memcache_version);
    memcache_reply_line(call->reply, text);
}

static const char *const verb_names[MEMCACHE_VERB_COUNT] = {
    [MEMCACHE_GET] = "get",
    [MEMCACHE_GETS] = "gets",
    [MEMCACHE_GAT] = "gat",
    [MEMCACHE_GATS] = "gats",
    [MEMCACHE_SET] = "set",
    [MEMCACHE_ADD] = "add",
    [MEMCACHE_REPLACE] = "replace",
    [MEMCACHE_APPEND] = "append",
    [MEMCACHE_PREPEND] = "prepend",
    [MEMCACHE_CAS] = "cas",
    [MEMCACHE_DELETE] = "delete",
    [MEMCACHE_INCR] = "incr",
    [MEMCACHE_DECR] = "decr",
    [MEMCACHE_TOUCH] = "touch",
    [MEMCACHE_FLUSH_ALL] = "flush_all",
    [MEMCACHE_VERSION] = "version",
    [MEMCACHE_VERBOSITY] = "verbosity",
    [MEMCACHE_STATS] = "stats",
    [MEMCACHE_QUIT] = "quit",
    [MEMCACHE_MEMLIMIT] = "cache_memlimit",
    [MEMCACHE_SHUTDOWN] = "shutdown",
    [MEMCACHE_CRAWLER] = "lru_crawler",
    [MEMCACHE_CONFIG] = "config",
    [MEMCACHE_WATCH] = "watch",
    [MEMCACHE_META_GET] = "mg",
    [MEMCACHE_META_SET] = "ms",
    [MEMCACHE_META_DELETE] = "md",
    [MEMCACHE_META_ARITHMETIC] = "ma",
    [MEMCACHE_META_NOOP] = "mn",
    [MEMCACHE_META_DEBUG] = "me",
    [MEMCACHE_NOOP] = "noop",
    [MEMCACHE_SASL_LIST] = "sasl_list",
    [MEMCACHE_SASL_AUTH] = "sasl_auth",
    [MEMCACHE_SASL_STEP] = "sasl_step",
    [MEMCACHE_REFUSED] = "refused",
    [MEMCACHE_LOGIN] = "login",
};

static void note_client(struct memcache_call *call)
{
    struct client *client = call->client;
    client->last_command = verb_names[call->request->verb];
    client->command_count++;
    client->active_mono_us = call->now->mono_us;
    memcache_count(call, METRIC_COMMANDS_PROCESSED);
}

bool memcache_only_reads(const struct memcache_request *request)
{
    enum memcache_verb verb = request->verb;
    return verb == MEMCACHE_GET || verb == MEMCACHE_META_DEBUG ||
           (verb == MEMCACHE_META_GET && !memcache_meta_has(&request->meta, 'T'));
}

static void execute_text(struct memcache_call *call)
{
    switch (call->request->verb) {
    case MEMCACHE_GETS:
    case MEMCACHE_GAT:
    case MEMCACHE_GATS: memcache_execute_get(call); break;
    case MEMCACHE_SET:
    case MEMCACHE_ADD:
    case MEMCACHE_REPLACE:
    case MEMCACHE_APPEND:
    case MEMCACHE_PREPEND:
    case MEMCACHE_CAS: memcache_execute_storage(call); break;
    case MEMCACHE_DELETE: execute_delete(call); break;
    case MEMCACHE_INCR:
    case MEMCACHE_DECR: memcache_execute_arithmetic(call); break;
    case MEMCACHE_TOUCH: execute_touch(call); break;
    case MEMCACHE_FLUSH_ALL: execute_flush_all(call); break;
    case MEMCACHE_VERSION: execute_version(call); break;
    /* The log level is the configuration's; memcached's clients may still ask. */
    case MEMCACHE_VERBOSITY: memcache_reply_line(call->reply, "OK"); break;
    case MEMCACHE_STATS: memcache_execute_stats(call); break;
    case MEMCACHE_QUIT: call->client->close_after_reply = true; break;
    case MEMCACHE_MEMLIMIT: memcache_execute_memlimit(call); break;
    case MEMCACHE_SHUTDOWN: memcache_execute_shutdown(call); break;
    case MEMCACHE_CRAWLER: memcache_execute_crawler(call); break;
    case MEMCACHE_CONFIG: memcache_execute_config(call); break;
    case MEMCACHE_WATCH: memcache_execute_watch(call); break;
    case MEMCACHE_META_SET: memcache_execute_meta_set(call); break;
    case MEMCACHE_META_DELETE: memcache_execute_meta_delete(call); break;
    case MEMCACHE_META_ARITHMETIC: memcache_execute_meta_arithmetic(call); break;
    case MEMCACHE_META_NOOP: memcache_reply_line(call->reply, "MN"); break;
    case MEMCACHE_META_DEBUG: memcache_execute_meta_debug(call); break;
    case MEMCACHE_LOGIN: memcache_execute_login(call); break;
    case MEMCACHE_GET:
    case MEMCACHE_META_GET:
    case MEMCACHE_NOOP:
    case MEMCACHE_SASL_LIST:
    case MEMCACHE_SASL_AUTH:
    case MEMCACHE_SASL_STEP:
    case MEMCACHE_REFUSED:
    case MEMCACHE_VERB_COUNT: CHECK(false);
    }
}

enum command_verdict memcache_run(struct memcache_call *call)
{
    enum command_verdict verdict = COMMAND_DONE;
    call->reply->suppressed = call->request->no_reply;
    if (UNLIKELY(call->request->binary.present)) {
        verdict = memcache_execute_binary(call);
    } else if (LIKELY(call->request->verb == MEMCACHE_GET)) {
        memcache_execute_get(call);
    } else if (call->request->verb == MEMCACHE_META_GET) {
        verdict = memcache_execute_meta_get(call);
    } else {
        execute_text(call);
    }
    if (LIKELY(verdict == COMMAND_DONE)) {
        note_client(call);
    }
    return verdict;
}

enum command_verdict memcache_execute(struct memcache_call *call)
{
    return memcache_is_observed(call) ? memcache_execute_observed(call) : memcache_run(call);
}
