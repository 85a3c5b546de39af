/* Requests that somebody looks on at: the lines of `watch` and the figures of `stats detail`.
 *
 * As in the reference every request shows a look-up of each of its keys, whatever it does then, and
 * one that stores shows what became of it. What the key held is looked at once more for that, just
 * before the request runs.
 *
 * A line is: ts (seconds and microseconds), gid (counts all events), type, then what the type has.
 * clsid is 1, the class of all items, or 0 for none; cfd is the client's number, as CLIENT LIST
 * shows it. Keys as memcached encodes them, cut after 250 bytes. A line that the log has no room
 * for is dropped and counted.
 *
 * Thread: the worker's. Only called while context->observed is not 0.
 */
#include "dataplane/l7_command/memcache_observers.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "dataplane/base/check.h"
#include "dataplane/l7_command/memcache_meta.h"

#define KEY_TEXT_BYTES (3 * MEMCACHE_KEY_BYTES_MAX)
#define LINE_BYTES     (KEY_TEXT_BYTES + 256)

struct event_head {
    uint16_t bytes;
    uint8_t kind;
};

/* ---- the log --------------------------------------------------------------------------------- */

static bool is_watched(const struct command_context *context, enum memcache_event_kind kind)
{
    return (context->observed & OBSERVED_KIND(kind)) != 0;
}

bool memcache_event_next(struct slice *rest, enum memcache_event_kind *kind, struct slice *line)
{
    struct event_head head;
    if (rest->size == 0) {
        return false;
    }
    CHECK(rest->size > sizeof(head));
    memcpy(&head, rest->data, sizeof(head));
    *kind = (enum memcache_event_kind)head.kind;
    *line = slice_of(rest->data + sizeof(head), head.bytes);
    CHECK(rest->size >= sizeof(head) + head.bytes);
    *rest = slice_from(*rest, sizeof(head) + head.bytes);
    return true;
}

/* NULL: no room, or no memory; the event is lost. */
static uint8_t *reserve(struct command_context *context, size_t bytes)
{
    struct memcache_event_log *log = context->events;
    if (log == NULL) {
        context->events = log = calloc(1, sizeof(*log));
    }
    if (log == NULL || sizeof(log->bytes) - log->used < bytes) {
        metric_add(context->metrics, METRIC_MEMCACHE_LOG_WORKER_DROPPED, 1);
        return NULL;
    }
    return log->bytes + log->used;
}

/* `text` is what follows ts and gid. */
static __attribute__((format(printf, 3, 4))) void
add_line(struct command_context *context, enum memcache_event_kind kind, const char *format, ...)
{
    char line[LINE_BYTES];
    uint64_t event = __atomic_add_fetch(&context->observers->last_event, 1, __ATOMIC_RELAXED);
    int size = snprintf(line, sizeof(line), "ts=%" PRIu64 ".%06" PRIu64 " gid=%" PRIu64 " ",
                        context->now.wall_us / 1000000, context->now.wall_us % 1000000, event);
    va_list arguments;
    va_start(arguments, format);
    size += vsnprintf(line + size, sizeof(line) - (size_t)size, format, arguments);
    va_end(arguments);
    CHECK(size > 0 && (size_t)size < sizeof(line));
    line[size++] = '\n';
    struct event_head head = {.bytes = (uint16_t)size, .kind = (uint8_t)kind};
    uint8_t *to = reserve(context, sizeof(head) + (size_t)size);
    if (to != NULL) {
        memcpy(to, &head, sizeof(head));
        memcpy(to + sizeof(head), line, (size_t)size);
        context->events->used += (uint32_t)sizeof(head) + (uint32_t)size;
        metric_add(context->metrics, METRIC_MEMCACHE_LOG_WORKER_WRITTEN, 1);
    }
}

static void encode_key(struct slice key, char text[KEY_TEXT_BYTES + 1])
{
    key.size = key.size < MEMCACHE_KEY_BYTES_MAX ? key.size : MEMCACHE_KEY_BYTES_MAX;
    text[memcache_encode_uri(key, (uint8_t *)text)] = '\0';
}

/* ---- look-ups -------------------------------------------------------------------------------- */

void memcache_note_fetch(struct memcache_call *call, uint32_t index, const struct item *item)
{
    if (is_watched(call->context, EVENT_FETCH)) {
        uint8_t scratch[NUMBER_TEXT_BYTES_MAX];
        char key[KEY_TEXT_BYTES + 1];
        encode_key(call->keys[index].bytes, key);
        size_t size = item != NULL && memcache_is_string(item) ? item_value(item, scratch).size : 0;
        add_line(call->context, EVENT_FETCH,
                 "type=item_get key=%s status=%s clsid=%d cfd=%" PRIu64 " size=%zu", key,
                 item != NULL ? "found" : "not_found", item != NULL, call->client->id, size);
    }
}

/* What the figures of its prefix count of a request. */
static struct memcache_prefix_counts counts_of(const struct memcache_request *request, bool hit)
{
    const struct memcache_prefix_counts looked_up = {.gets = 1, .hits = hit}, nothing = {0};
    switch ((int)request->verb) {
    case MEMCACHE_GET:
    case MEMCACHE_GETS:
    case MEMCACHE_GAT:
    case MEMCACHE_GATS:
    case MEMCACHE_META_GET: return looked_up;
    case MEMCACHE_TOUCH: return request->binary.present ? looked_up : nothing; /* as there */
    case MEMCACHE_SET:
    case MEMCACHE_ADD:
    case MEMCACHE_REPLACE:
    case MEMCACHE_APPEND:
    case MEMCACHE_PREPEND:
    case MEMCACHE_CAS:
    case MEMCACHE_META_SET: return (struct memcache_prefix_counts){.sets = 1};
    case MEMCACHE_DELETE:
    case MEMCACHE_META_DELETE: return (struct memcache_prefix_counts){.deletes = 1};
    default: return nothing;
    }
}

static void count_prefix(struct memcache_call *call, uint32_t index,
                         const struct memcache_prefix_counts *counts)
{
    if ((call->context->observed & OBSERVED_DETAIL) != 0 &&
        (counts->gets | counts->sets | counts->deletes) != 0) {
        memcache_count_prefix(call, index, counts);
    }
}

/* A value that was refused is not looked up, but where it deletes: memcache_storage.c. Returns what
 * the last key counted. */
static struct memcache_prefix_counts note_look_ups(struct memcache_call *call)
{
    const struct memcache_request *request = call->request;
    bool is_refused = request->value_too_large || request->value_refused;
    struct memcache_prefix_counts counts = {0};
    for (uint32_t i = 0; i < request->key_count; i++) {
        const struct item *item = memcache_find(call, i);
        if (!is_refused) {
            memcache_note_fetch(call, i, item);
        }
        counts = counts_of(request, item != NULL);
        count_prefix(call, i, &counts);
    }
    return counts;
}

/* The owner of its key will run it, and note it: it has one key. */
static void take_back(struct memcache_call *call, uint32_t log_used,
                      const struct memcache_prefix_counts *counts)
{
    const struct memcache_prefix_counts less = {.gets = 0 - counts->gets, .hits = 0 - counts->hits};
    CHECK(call->request->key_count == 1 && counts->sets == 0 && counts->deletes == 0);
    count_prefix(call, 0, &less);
    if (call->context->events != NULL) {
        call->context->events->used = log_used;
    }
}

enum command_verdict memcache_execute_observed(struct memcache_call *call)
{
    const struct memcache_event_log *log = call->context->events;
    uint32_t used = log != NULL ? log->used : 0;
    struct memcache_prefix_counts counts = note_look_ups(call);
    enum command_verdict verdict = memcache_run(call);
    if (verdict == COMMAND_TORN) {
        take_back(call, used, &counts);
    }
    return verdict;
}

/* ---- stores ---------------------------------------------------------------------------------- */

static const char *meta_command(const struct memcache_request *request)
{
    bool compares = memcache_meta_has(&request->meta, 'C');
    switch (request->meta.mode) {
    case 'E': return "add";
    case 'A': return "append";
    case 'P': return "prepend";
    case 'R': return compares ? "cas" : "replace";
    default: return compares ? "cas" : "set";
    }
}

/* A number that incr makes is added. */
static const char *command_of(const struct memcache_request *request)
{
    bool compares = request->binary.present && request->cas != 0;
    switch ((int)request->verb) {
    case MEMCACHE_SET: return compares ? "cas" : "set";
    case MEMCACHE_ADD: return compares ? "cas" : "add";
    case MEMCACHE_REPLACE: return compares ? "cas" : "replace";
    case MEMCACHE_APPEND: return "append";
    case MEMCACHE_PREPEND: return "prepend";
    case MEMCACHE_CAS: return "cas";
    case MEMCACHE_META_SET: return meta_command(request);
    default: return "add";
    }
}

static const char *status_of(enum memcache_outcome outcome)
{
    switch (outcome) {
    case OUTCOME_STORED: return "stored";
    case OUTCOME_NOT_STORED: return "not_stored";
    case OUTCOME_EXISTS: return "exists";
    case OUTCOME_NOT_FOUND: return "not_found";
    case OUTCOME_TOO_LARGE: return "too_large";
    case OUTCOME_NO_MEMORY: return "no_memory";
    case OUTCOME_NOT_A_NUMBER:
    case OUTCOME_WRONG_TYPE: break;
    }
    return NULL;
}

void memcache_note_store(struct memcache_call *call, enum memcache_outcome outcome)
{
    const struct memcache_request *request = call->request;
    const char *status = status_of(outcome);
    if (!is_watched(call->context, EVENT_MUTATION) || status == NULL) {
        return;
    }
    uint8_t scratch[NUMBER_TEXT_BYTES_MAX];
    char key[KEY_TEXT_BYTES + 1];
    const struct item *item = outcome == OUTCOME_STORED ? memcache_find(call, 0) : NULL;
    uint64_t expire_at_ms =
        item != NULL ? item_expire_at_ms(item) : memcache_expire_at_ms(request->exptime, call->now);
    uint64_t seconds = meta_seconds_left(expire_at_ms, call->now);
    size_t size = item != NULL ? item_value(item, scratch).size : request->value.size;
    encode_key(call->keys[0].bytes, key);
    add_line(call->context, EVENT_MUTATION,
             "type=item_store key=%s status=%s cmd=%s ttl=%" PRIu64 " clsid=1 cfd=%" PRIu64
             " size=%zu",
             key, status, command_of(request), seconds == UINT64_MAX ? 0 : seconds,
             call->client->id, size);
}

/* ---- evictions and connections --------------------------------------------------------------- */

void memcache_note_eviction(struct command_context *context, uint32_t database,
                            const struct item *item)
{
    if (database != MEMCACHE_DATABASE || !is_watched(context, EVENT_EVICTION)) {
        return;
    }
    uint8_t scratch[NUMBER_TEXT_BYTES_MAX];
    char key[KEY_TEXT_BYTES + 1];
    const struct eviction_policy *policy = shard_policy(context->shard);
    uint64_t idle =
        policy->access == ACCESS_RECENCY ? eviction_idle_seconds(policy, item_access(item)) : 0;
    uint64_t seconds = meta_seconds_left(item_expire_at_ms(item), &context->now);
    encode_key(item_key(item), key);
    add_line(context, EVENT_EVICTION,
             "type=eviction key=%s fetch=%s ttl=%" PRId64 " la=%" PRIu64 " clsid=1 size=%zu", key,
             item_is_fetched(item) ? "yes" : "no", seconds == UINT64_MAX ? -1 : (int64_t)seconds,
             idle, memcache_is_string(item) ? item_value(item, scratch).size : 0);
}

/* rip, rport and transport. */
static void format_peer(const struct client *client, char text[ADDRESS_TEXT_BYTES_MAX + 64])
{
    char address[ADDRESS_TEXT_BYTES_MAX];
    if (client->peer.port == 0) {
        (void)snprintf(text, ADDRESS_TEXT_BYTES_MAX + 64, "rip=unix rport=0 transport=local");
        return;
    }
    address_format(&client->peer.address, address);
    (void)snprintf(text, ADDRESS_TEXT_BYTES_MAX + 64, "rip=%s rport=%u transport=tcp", address,
                   client->peer.port);
}

void memcache_note_opened(struct command_context *context, const struct client *client)
{
    if (is_watched(context, EVENT_CONNECTION)) {
        char peer[ADDRESS_TEXT_BYTES_MAX + 64];
        format_peer(client, peer);
        add_line(context, EVENT_CONNECTION, "type=conn_new %s cfd=%" PRIu64, peer, client->id);
    }
}

void memcache_note_closed(struct command_context *context, const struct client *client,
                          enum memcache_close_reason reason)
{
    static const char *const reasons[] = {
        [CLOSED_NORMALLY] = "normal", [CLOSED_IDLE] = "idle_timeout", [CLOSED_BY_ERROR] = "error"};
    if (is_watched(context, EVENT_CONNECTION)) {
        char peer[ADDRESS_TEXT_BYTES_MAX + 64];
        format_peer(client, peer);
        add_line(context, EVENT_CONNECTION, "type=conn_close %s reason=%s cfd=%" PRIu64, peer,
                 reasons[reason], client->id);
    }
}
