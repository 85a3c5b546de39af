/* set, add, replace, append, prepend, cas.
 *
 * Each publishes a new item or changes nothing. A value that the session received into a blob
 * becomes the item's value as it is. A value that is too large, or for which there is no memory,
 * also deletes the key when it was meant to be set, as the reference does: a stale value would be
 * worse than none. append and prepend keep flags and expiry of the old item and take no account of
 * those in the request.
 */
#include "config/config.h"
#include "dataplane/base/check.h"
#include "dataplane/l7_command/memcache_internal.h"
#include "dataplane/l7_command/string_value.h"

static void note_store(struct memcache_call *call, enum memcache_outcome outcome)
{
    if (memcache_is_observed(call)) {
        memcache_note_store(call, outcome);
    }
}

/* The outcome; what the key held goes when it was meant to be replaced. */
static enum memcache_outcome refuse(struct memcache_call *call, bool deletes,
                                    enum memcache_outcome outcome)
{
    if (deletes && memcache_is_observed(call)) {
        memcache_note_fetch(call, 0, memcache_find(call, 0));
    }
    if (deletes) {
        (void)shard_delete(memcache_shard(call, 0), MEMCACHE_DATABASE, &call->keys[0], call->now);
    }
    return outcome;
}

static bool deletes_when_refused(const struct memcache_request *request)
{
    return request->verb == MEMCACHE_SET || request->binary.is_set;
}

enum memcache_outcome memcache_check_value(struct memcache_call *call, bool deletes)
{
    if (UNLIKELY(call->request->value_too_large)) {
        memcache_count(call, METRIC_MEMCACHE_STORE_TOO_LARGE);
        note_store(call, OUTCOME_TOO_LARGE);
        return refuse(call, deletes, OUTCOME_TOO_LARGE);
    }
    if (UNLIKELY(call->request->value_refused)) {
        memcache_count(call, METRIC_MEMCACHE_STORE_NO_MEMORY);
        note_store(call, OUTCOME_NO_MEMORY);
        return refuse(call, deletes, OUTCOME_NO_MEMORY);
    }
    return OUTCOME_STORED;
}

/* A binary reply shows the CAS value of what was stored: it is asked for at once. */
uint64_t memcache_cas_to_show(struct memcache_call *call)
{
    const struct memcache_binary *binary = &call->request->binary;
    return UNLIKELY(binary->present && !binary->quiet) ? shard_next_cas(memcache_shard(call, 0))
                                                       : 0;
}

struct item *memcache_draft_value(struct memcache_call *call, struct item_draft_options options)
{
    struct slice value = call->request->value;
    options.encoding = ENCODING_RAW;
    options.client_flags = call->request->client_flags;
    options.value_bytes = (uint32_t)value.size;
    struct slice key = call->keys[0].bytes;
    struct blob *blob = call->large_value;
    if (blob != NULL && value.data == blob->bytes && value.size > ITEM_INLINE_BYTES_MAX) {
        return shard_draft_over_blob(memcache_shard(call, 0), key, blob, &options);
    }
    struct item *draft = shard_draft(memcache_shard(call, 0), key, &options);
    if (draft != NULL && value.size > 0) {
        memcpy(draft_value(draft), value.data, value.size);
    }
    return draft;
}

static bool overwrite(struct memcache_call *call)
{
    return context_is_alone(call->context) && call->request->client_flags == 0 &&
           shard_overwrite(memcache_shard(call, 0), MEMCACHE_DATABASE, &call->keys[0],
                           call->request->value);
}

static enum memcache_outcome store(struct memcache_call *call, uint64_t *cas)
{
    uint64_t expire_at_ms = memcache_expire_at_ms(call->request->exptime, call->now);
    *cas = memcache_cas_to_show(call);
    if (expire_at_ms == MEMCACHE_EXPIRED) {
        /* Stored and expired at once. */
        (void)shard_delete(memcache_shard(call, 0), MEMCACHE_DATABASE, &call->keys[0], call->now);
    } else if (expire_at_ms != 0 || *cas != 0 || !overwrite(call)) {
        struct item *draft = memcache_draft_value(
            call, (struct item_draft_options){.expire_at_ms = expire_at_ms, .cas = *cas});
        if (UNLIKELY(draft == NULL)) {
            memcache_count(call, METRIC_MEMCACHE_STORE_NO_MEMORY);
            return refuse(call, deletes_when_refused(call->request), OUTCOME_NO_MEMORY);
        }
        shard_publish(memcache_shard(call, 0), MEMCACHE_DATABASE, &call->keys[0], draft);
    }
    memcache_count(call, METRIC_MEMCACHE_TOTAL_ITEMS);
    return OUTCOME_STORED;
}

bool memcache_exceeds_item_size(const struct memcache_call *call, const struct item *old)
{
    uint64_t value_bytes = (uint64_t)item_value_size(old) + call->request->value.size;
    uint64_t bytes =
        memcache_item_bytes(call->keys[0].bytes.size, value_bytes, item_client_flags(old));
    return bytes > (uint64_t)call->context->config->memcache_item_size_max;
}

bool memcache_joins(const struct memcache_request *request, bool *appends)
{
    char mode = request->verb == MEMCACHE_META_SET ? request->meta.mode : 0;
    *appends = request->verb == MEMCACHE_APPEND || mode == 'A';
    return *appends || request->verb == MEMCACHE_PREPEND || mode == 'P';
}

uint64_t memcache_value_bytes(const struct shard *shard, const struct item *old,
                              const struct memcache_request *request)
{
    bool appends;
    uint64_t bytes = request->value.size;
    if (!memcache_joins(request, &appends) || old == NULL) {
        return bytes;
    }
    return appends && shard_grows_in_place(shard, old, bytes) ? 0 : item_value_size(old) + bytes;
}

struct item *memcache_draft_joined(struct memcache_call *call, const struct item *old, bool appends,
                                   struct item_draft_options options)
{
    uint8_t scratch[NUMBER_TEXT_BYTES_MAX];
    struct slice first = item_value(old, scratch), second = call->request->value;
    struct slice tail = second;
    uint64_t size = (uint64_t)first.size + second.size;
    options.value_bytes = (uint32_t)size;
    struct item *draft;
    if (appends && size > ITEM_INLINE_BYTES_MAX && item_encoding(old) == ENCODING_RAW) {
        draft = shard_draft_grown(memcache_shard(call, 0), old, (uint32_t)second.size, &options);
        if (draft != NULL && tail.size > 0) {
            memcpy(draft_value(draft) + first.size, tail.data, tail.size);
        }
        return draft;
    }
    if (!appends) {
        tail = first;
        first = second;
    }
    draft = shard_draft(memcache_shard(call, 0), call->keys[0].bytes, &options);
    if (draft != NULL && first.size > 0) {
        memcpy(draft_value(draft), first.data, first.size);
    }
    if (draft != NULL && tail.size > 0) {
        memcpy(draft_value(draft) + first.size, tail.data, tail.size);
    }
    return draft;
}

static enum memcache_outcome join(struct memcache_call *call, const struct item *old, uint64_t *cas)
{
    if (old == NULL) {
        return OUTCOME_NOT_STORED;
    }
    if (!memcache_cas_matches(call, old)) {
        return OUTCOME_EXISTS;
    }
    if (memcache_exceeds_item_size(call, old)) {
        return OUTCOME_NOT_STORED;
    }
    *cas = memcache_cas_to_show(call);
    /* The result is a new item to the reference: its state is gone, but how its key is shown. */
    struct item_draft_options options = string_options_like(old);
    options.state &= ITEM_BASE64_KEY;
    options.cas = *cas;
    struct item *draft =
        memcache_draft_joined(call, old, call->request->verb == MEMCACHE_APPEND, options);
    if (draft == NULL) {
        return OUTCOME_NO_MEMORY;
    }
    shard_publish(memcache_shard(call, 0), MEMCACHE_DATABASE, &call->keys[0], draft);
    memcache_count(call, METRIC_MEMCACHE_TOTAL_ITEMS);
    return OUTCOME_STORED;
}

static enum memcache_outcome compare_and_store(struct memcache_call *call, const struct item *old,
                                               uint64_t *cas)
{
    if (old == NULL) {
        memcache_count(call, METRIC_MEMCACHE_CAS_MISSES);
        return OUTCOME_NOT_FOUND;
    }
    if (item_cas(old) == 0 || item_cas(old) != call->request->cas) {
        memcache_count(call, METRIC_MEMCACHE_CAS_BADVAL);
        return OUTCOME_EXISTS;
    }
    memcache_count(call, METRIC_MEMCACHE_CAS_HITS);
    return store(call, cas);
}

static enum memcache_outcome store_if(struct memcache_call *call, bool condition, uint64_t *cas)
{
    return condition ? store(call, cas) : OUTCOME_NOT_STORED;
}

static enum memcache_outcome store_by_verb(struct memcache_call *call, uint64_t *cas)
{
    const struct memcache_request *request = call->request;
    if (LIKELY(request->verb == MEMCACHE_SET)) {
        return store(call, cas);
    }
    const struct item *old = memcache_find(call, 0);
    if (request->verb == MEMCACHE_ADD) {
        return store_if(call, old == NULL, cas);
    }
    if (request->verb == MEMCACHE_REPLACE) {
        return store_if(call, old != NULL, cas);
    }
    if (!memcache_is_string(old)) {
        return OUTCOME_WRONG_TYPE;
    }
    return request->verb == MEMCACHE_CAS ? compare_and_store(call, old, cas) : join(call, old, cas);
}

enum memcache_outcome memcache_store(struct memcache_call *call, uint64_t *cas)
{
    *cas = 0;
    enum memcache_outcome outcome = memcache_check_value(call, deletes_when_refused(call->request));
    if (UNLIKELY(outcome != OUTCOME_STORED)) {
        return outcome;
    }
    memcache_count(call, METRIC_MEMCACHE_CMD_SET);
    outcome = store_by_verb(call, cas);
    note_store(call, outcome);
    return outcome;
}

static const char *const outcome_lines[] = {
    [OUTCOME_STORED] = "STORED",
    [OUTCOME_NOT_STORED] = "NOT_STORED",
    [OUTCOME_EXISTS] = "EXISTS",
    [OUTCOME_NOT_FOUND] = "NOT_FOUND",
    [OUTCOME_TOO_LARGE] = "SERVER_ERROR object too large for cache",
    [OUTCOME_NO_MEMORY] = MEMCACHE_NO_MEMORY,
    [OUTCOME_WRONG_TYPE] = MEMCACHE_WRONG_TYPE,
};

void memcache_reply_outcome(struct memcache_call *call, enum memcache_outcome outcome)
{
    memcache_reply_line(call->reply, outcome_lines[outcome]);
}

void memcache_execute_storage(struct memcache_call *call)
{
    uint64_t cas;
    memcache_reply_outcome(call, memcache_store(call, &cas));
}
