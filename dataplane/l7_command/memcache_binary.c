/* The requests of memcached's binary protocol: the same operations as the text protocol's, with
 * replies of their own.
 *
 *   memcache_execute_binary ---> here                      get gat touch delete incr decr flush ...
 *                           ---> memcache_storage.c        set add replace append prepend
 *                           ---> memcache_binary_stats.c   stat
 *                           ---> memcache_login.c          SASL
 *
 * A quiet request is silent when it succeeds; a quiet get when it finds nothing. Every other
 * failure is told. A reply shows the CAS value of the item, so the item has one then: it is given
 * with the write that shows it, or by the first get (item.h, invariant 4). A get that would have to
 * give it on another worker's shard is for the owner: COMMAND_TORN.
 *
 * Behaviour and texts are those of memcached 1.6.18. Thread: the owning worker, or any that reads
 * the shard under RCU (call->shared). Failure: a status.
 */
#include "config/config.h"
#include "dataplane/base/check.h"
#include "dataplane/l6_protocol/memcache_binary_compose.h"
#include "dataplane/l7_command/memcache_internal.h"

#define NO_MEMORY_TEXT  "Out of memory allocating item"
#define WRONG_TYPE_TEXT "The key holds a value that is not a string"

/* ---- replies --------------------------------------------------------------------------------- */

static void refuse(struct memcache_call *call, enum memcache_binary_status status)
{
    memcache_binary_reply_error(call->reply, &call->request->binary, status, NULL);
}

static void refuse_with(struct memcache_call *call, enum memcache_binary_status status,
                        const char *text)
{
    memcache_binary_reply_error(call->reply, &call->request->binary, status, text);
}

/* Success, with a value or without. */
static void reply_success(struct memcache_call *call, uint64_t cas, struct slice value)
{
    const struct memcache_binary_reply what = {.cas = cas, .value = value};
    if (!call->request->binary.quiet) {
        memcache_binary_reply(call->reply, &call->request->binary, &what);
    }
}

static void reply_done(struct memcache_call *call)
{
    reply_success(call, 0, slice_of(NULL, 0));
}

/* What was not stored because of the key's state: add and replace say which. */
static enum memcache_binary_status not_stored_status(const struct memcache_call *call)
{
    switch ((int)call->request->verb) {
    case MEMCACHE_ADD: return MEMCACHE_BINARY_EXISTS;
    case MEMCACHE_REPLACE: return MEMCACHE_BINARY_NOT_FOUND;
    default: return MEMCACHE_BINARY_NOT_STORED;
    }
}

static void reply_outcome(struct memcache_call *call, enum memcache_outcome outcome)
{
    switch (outcome) {
    case OUTCOME_NOT_STORED: refuse(call, not_stored_status(call)); break;
    case OUTCOME_EXISTS: refuse(call, MEMCACHE_BINARY_EXISTS); break;
    case OUTCOME_NOT_FOUND: refuse(call, MEMCACHE_BINARY_NOT_FOUND); break;
    case OUTCOME_TOO_LARGE: refuse(call, MEMCACHE_BINARY_TOO_LARGE); break;
    case OUTCOME_NOT_A_NUMBER: refuse(call, MEMCACHE_BINARY_NOT_A_NUMBER); break;
    case OUTCOME_NO_MEMORY: refuse_with(call, MEMCACHE_BINARY_NO_MEMORY, NO_MEMORY_TEXT); break;
    case OUTCOME_WRONG_TYPE: refuse_with(call, MEMCACHE_BINARY_INVALID, WRONG_TYPE_TEXT); break;
    case OUTCOME_STORED: CHECK(false);
    }
}

/* ---- get, gat, touch ------------------------------------------------------------------------- */

static void count_look_up(struct memcache_call *call, bool touches, bool hit)
{
    memcache_count(call, touches ? METRIC_MEMCACHE_CMD_TOUCH : METRIC_MEMCACHE_CMD_GET);
    if (touches) {
        memcache_count(call, hit ? METRIC_MEMCACHE_TOUCH_HITS : METRIC_MEMCACHE_TOUCH_MISSES);
    } else {
        memcache_count(call, hit ? METRIC_MEMCACHE_GET_HITS : METRIC_MEMCACHE_GET_MISSES);
    }
    if (call->request->verb != MEMCACHE_TOUCH) {
        memcache_count(call, hit ? METRIC_KEYSPACE_HITS : METRIC_KEYSPACE_MISSES);
    }
}

static void reply_miss(struct memcache_call *call)
{
    const struct memcache_binary *request = &call->request->binary;
    if (request->quiet) {
        return;
    }
    if (request->returns_key) {
        const struct memcache_binary_reply what = {.status = MEMCACHE_BINARY_NOT_FOUND,
                                                   .key = call->keys[0].bytes};
        memcache_binary_reply(call->reply, request, &what);
    } else {
        refuse(call, MEMCACHE_BINARY_NOT_FOUND);
    }
}

/* A hit is told by the quiet forms, too. */
static void reply_hit(struct memcache_call *call, const struct item *item)
{
    const struct memcache_binary *request = &call->request->binary;
    uint8_t scratch[NUMBER_TEXT_BYTES_MAX], flags[4];
    struct memcache_binary_reply what = {.cas = item_cas(item), .extras = slice_of(flags, 4)};
    bytes_write_be32(flags, item_client_flags(item));
    if (request->returns_key) {
        what.key = call->keys[0].bytes;
    }
    if (call->request->verb != MEMCACHE_TOUCH) {
        struct blob *blob = item_blob(item);
        what.value = item_value(item, scratch);
        if (blob != NULL) {
            blob_acquire(blob);
            what.owner = &blob->owner;
        }
    }
    memcache_binary_reply(call->reply, request, &what);
}

static enum command_verdict execute_get(struct memcache_call *call)
{
    const struct item *item = memcache_find(call, 0);
    bool touches = call->request->verb != MEMCACHE_GET;
    if (item != NULL && call->shared && item_cas(item) == 0) {
        return COMMAND_TORN;
    }
    count_look_up(call, touches, item != NULL);
    if (item == NULL) {
        reply_miss(call);
        return COMMAND_DONE;
    }
    if (!memcache_is_string(item)) {
        reply_outcome(call, OUTCOME_WRONG_TYPE);
        return COMMAND_DONE;
    }
    eviction_note_use(shard_policy(call->context->shard), item, &call->context->random_state);
    item = memcache_with_cas(call, 0, item);
    /* The item that the new expiry replaces stays readable to the end of the pass. */
    if (item == NULL || (touches && !memcache_touch(call, 0, item))) {
        reply_outcome(call, OUTCOME_NO_MEMORY);
    } else {
        reply_hit(call, item);
    }
    return COMMAND_DONE;
}

/* ---- changes --------------------------------------------------------------------------------- */

static void execute_storage(struct memcache_call *call)
{
    uint64_t cas;
    enum memcache_outcome outcome = memcache_store(call, &cas);
    if (LIKELY(outcome == OUTCOME_STORED)) {
        reply_success(call, cas, slice_of(NULL, 0));
    } else {
        reply_outcome(call, outcome);
    }
}

static void execute_delete(struct memcache_call *call)
{
    const struct item *item = memcache_find(call, 0);
    if (item != NULL && !memcache_cas_matches(call, item)) {
        reply_outcome(call, OUTCOME_EXISTS);
        return;
    }
    memcache_count(call,
                   item != NULL ? METRIC_MEMCACHE_DELETE_HITS : METRIC_MEMCACHE_DELETE_MISSES);
    if (item == NULL) {
        reply_outcome(call, OUTCOME_NOT_FOUND);
        return;
    }
    (void)shard_delete(memcache_shard(call, 0), MEMCACHE_DATABASE, &call->keys[0], call->now);
    reply_done(call);
}

/* The key of an incr or decr that is not there begins with the number that the request brings. */
static enum memcache_outcome create_number(struct memcache_call *call, uint64_t *cas)
{
    uint8_t text[NUMBER_TEXT_BYTES_MAX];
    size_t size = number_format_uint64(call->request->binary.initial, text);
    uint64_t expire_at_ms = memcache_expire_at_ms(call->request->exptime, call->now);
    *cas = memcache_cas_to_show(call);
    if (expire_at_ms == MEMCACHE_EXPIRED) {
        return OUTCOME_STORED; /* and expired at once */
    }
    const struct item_draft_options options = {.encoding = ENCODING_RAW,
                                               .expire_at_ms = expire_at_ms,
                                               .cas = *cas,
                                               .value_bytes = (uint32_t)size};
    struct shard *shard = memcache_shard(call, 0);
    struct item *draft = shard_draft(shard, call->keys[0].bytes, &options);
    if (draft == NULL) {
        return OUTCOME_NO_MEMORY;
    }
    memcpy(draft_value(draft), text, size);
    shard_publish(shard, MEMCACHE_DATABASE, &call->keys[0], draft);
    memcache_count(call, METRIC_MEMCACHE_TOTAL_ITEMS);
    return OUTCOME_STORED;
}

static void execute_arithmetic(struct memcache_call *call)
{
    const struct memcache_binary *request = &call->request->binary;
    uint64_t value, cas;
    uint8_t bytes[8];
    enum memcache_outcome outcome = memcache_change_number(call, &value, &cas);
    if (outcome == OUTCOME_NOT_FOUND && request->creates) {
        outcome = create_number(call, &cas);
        value = request->initial;
        if (memcache_is_observed(call)) {
            memcache_note_fetch(call, 0, NULL); /* the reference looks once more */
            memcache_note_store(call, outcome);
        }
    } else if (outcome == OUTCOME_NOT_FOUND) {
        memcache_count_number_miss(call);
    }
    if (outcome != OUTCOME_STORED) {
        reply_outcome(call, outcome);
        return;
    }
    bytes_write_be64(bytes, value);
    reply_success(call, cas, slice_of(bytes, sizeof(bytes)));
}

/* ---- the rest -------------------------------------------------------------------------------- */

static void execute_flush(struct memcache_call *call)
{
    memcache_flush(call);
    reply_done(call);
}

static void execute_quit(struct memcache_call *call)
{
    reply_done(call);
    call->client->close_after_reply = true;
}

static void execute_refused(struct memcache_call *call)
{
    const struct memcache_binary *request = &call->request->binary;
    memcache_count(call, METRIC_ERROR_REPLIES);
    refuse(call, (enum memcache_binary_status)request->status);
    if (request->closes) {
        call->client->close_after_reply = true;
    }
}

enum command_verdict memcache_execute_binary(struct memcache_call *call)
{
    switch (call->request->verb) {
    case MEMCACHE_GET:
    case MEMCACHE_GAT:
    case MEMCACHE_TOUCH: return execute_get(call);
    case MEMCACHE_SET:
    case MEMCACHE_ADD:
    case MEMCACHE_REPLACE:
    case MEMCACHE_APPEND:
    case MEMCACHE_PREPEND:
    case MEMCACHE_CAS: execute_storage(call); break;
    case MEMCACHE_DELETE: execute_delete(call); break;
    case MEMCACHE_INCR:
    case MEMCACHE_DECR: execute_arithmetic(call); break;
    case MEMCACHE_FLUSH_ALL: execute_flush(call); break;
    case MEMCACHE_NOOP: reply_done(call); break;
    case MEMCACHE_VERSION:
        reply_success(call, 0, slice_of_string(call->context->config->memcache_version));
        break;
    case MEMCACHE_STATS: memcache_execute_binary_stats(call); break;
    case MEMCACHE_QUIT: execute_quit(call); break;
    case MEMCACHE_SASL_LIST:
    case MEMCACHE_SASL_AUTH:
    case MEMCACHE_SASL_STEP: memcache_execute_sasl(call); break;
    case MEMCACHE_REFUSED: execute_refused(call); break;
    case MEMCACHE_GETS:
    case MEMCACHE_GATS:
    case MEMCACHE_VERBOSITY:
    case MEMCACHE_LOGIN:
    case MEMCACHE_MEMLIMIT:
    case MEMCACHE_SHUTDOWN:
    case MEMCACHE_CRAWLER:
    case MEMCACHE_CONFIG:
    case MEMCACHE_WATCH:
    case MEMCACHE_META_GET:
    case MEMCACHE_META_SET:
    case MEMCACHE_META_DELETE:
    case MEMCACHE_META_ARITHMETIC:
    case MEMCACHE_META_NOOP:
    case MEMCACHE_META_DEBUG:
    case MEMCACHE_VERB_COUNT: CHECK(false);
    }
    return COMMAND_DONE;
}
