/* Commands about the server: cache_memlimit, shutdown, lru_crawler, config get cluster, watch.
 *
 * What the control thread does (a new maxmemory, the end) is asked of it as CONFIG SET and SHUTDOWN
 * ask; the connection waits for the answer. A dump of all keys is the loop's: it writes a slice in
 * each pass (core/core_dump.c).
 */
#include <inttypes.h>
#include <stdio.h>

#include "config/config.h"
#include "dataplane/l7_command/memcache_internal.h"
#include "dataplane/l7_command/memcache_observers.h"

#define MEMLIMIT_MEGABYTES_MIN 8U
#define MEMLIMIT_MEGABYTES_MAX 1000000000U
#define CLUSTER_TEXT_BYTES_MAX (CONFIG_TEXT_BYTES_MAX + 2 * ENDPOINT_TEXT_BYTES_MAX + 64)

static bool words_are(struct slice text, const char *first, const char *second)
{
    return slice_equal(memcache_take_word(&text), slice_of_string(first)) &&
           slice_equal(memcache_take_word(&text), slice_of_string(second));
}

static void ask_control(struct memcache_call *call, enum control_request_type type, uint32_t count,
                        const struct slice *arguments)
{
    if (call->client->kind == CLIENT_MEMCACHE_UDP) {
        memcache_reply_line(call->reply, "SERVER_ERROR not over UDP");
        return;
    }
    struct control_request *request = control_request_create(type, count, arguments);
    if (request == NULL) {
        memcache_reply_line(call->reply, "SERVER_ERROR out of memory");
        return;
    }
    call->deferral = (struct deferral){.request = request, .muted = call->request->no_reply};
}

void memcache_execute_memlimit(struct memcache_call *call)
{
    uint64_t megabytes = call->request->delta;
    char text[NUMBER_TEXT_BYTES_MAX];
    if (megabytes < MEMLIMIT_MEGABYTES_MIN) {
        memcache_reply_line(call->reply, "MEMLIMIT_TOO_SMALL cannot set maxbytes to less than 8m");
    } else if (megabytes > MEMLIMIT_MEGABYTES_MAX) {
        memcache_reply_line(call->reply,
                            "MEMLIMIT_ADJUST_FAILED input value is megabytes not bytes");
    } else {
        (void)snprintf(text, sizeof(text), "%" PRIu64, megabytes << 20);
        const struct slice arguments[] = {SLICE_LITERAL("maxmemory"), slice_of_string(text)};
        ask_control(call, CONTROL_CONFIG_SET, 2, arguments);
    }
}

void memcache_execute_shutdown(struct memcache_call *call)
{
    if (!call->context->config->memcache_shutdown) {
        memcache_reply_line(call->reply, "ERROR: shutdown not enabled");
    } else if (call->request->arguments.size != 0 &&
               !slice_equal(call->request->arguments, SLICE_LITERAL("graceful"))) {
        memcache_reply_line(call->reply, "CLIENT_ERROR invalid shutdown mode");
    } else {
        ask_control(call, CONTROL_SHUTDOWN, 0, NULL);
    }
}

void memcache_resume(struct deferral *deferral, struct memcache_reply *reply)
{
    reply->suppressed = deferral->muted;
    bool failed = deferral->request->error[0] != '\0';
    memcache_reply_line(reply,
                        failed ? "MEMLIMIT_ADJUST_FAILED out of bounds or unable to adjust" : "OK");
    control_request_destroy(deferral->request);
    deferral->request = NULL;
}

/* ---- auto discovery ------------------------------------------------------------------------ */

/* The version, a line of nodes parted by blanks. False: nothing is known of this node. */
static bool format_cluster(const struct memcache_call *call, char *text, size_t size)
{
    const struct config *config = call->context->config;
    char own[2 * ADDRESS_TEXT_BYTES_MAX + 16], address[ADDRESS_TEXT_BYTES_MAX];
    const char *nodes = config->memcache_cluster_nodes;
    if (nodes[0] == '\0') {
        const struct endpoint *local = &call->client->local;
        if (local->port == 0) {
            return false;
        }
        address_format(&local->address, address);
        (void)snprintf(own, sizeof(own), "%s|%s|%u", address, address, local->port);
        nodes = own;
    }
    int used = snprintf(text, size, "%" PRId64 "\n%s\n", config->cluster_version, nodes);
    for (int i = 0; i < used; i++) {
        text[i] = text[i] == ',' ? ' ' : text[i];
    }
    return true;
}

void memcache_execute_config(struct memcache_call *call)
{
    char text[CLUSTER_TEXT_BYTES_MAX], line[64];
    if (!words_are(call->request->arguments, "get", "cluster") ||
        !format_cluster(call, text, sizeof(text))) {
        memcache_reply_line(call->reply, "ERROR");
        return;
    }
    (void)snprintf(line, sizeof(line), "CONFIG cluster 0 %zu", strlen(text));
    memcache_reply_line(call->reply, line);
    memcache_reply_line(call->reply, text);
    memcache_reply_end(call->reply);
}

bool memcache_get_cluster(struct memcache_call *call, uint32_t index)
{
    static const char name[] = "AmazonElastiCache:cluster";
    char text[CLUSTER_TEXT_BYTES_MAX];
    struct slice key = call->keys[index].bytes;
    if (!slice_equal(key, slice_of_string(name)) || !format_cluster(call, text, sizeof(text))) {
        return false;
    }
    struct memcache_value value = {.key = key, .bytes = slice_of_string(text)};
    memcache_reply_value(call->reply, &value);
    return true;
}

/* ---- watch --------------------------------------------------------------------------------- */

/* What is about proxies, and the background threads of the reference, never happens here. 0: no
 * such word. */
static uint32_t kind_of(struct slice word)
{
    static const struct {
        const char *name;
        uint32_t kind;
    } rows[] = {
        {"fetchers", EVENT_BIT(EVENT_FETCH)},     {"mutations", EVENT_BIT(EVENT_MUTATION)},
        {"evictions", EVENT_BIT(EVENT_EVICTION)}, {"connevents", EVENT_BIT(EVENT_CONNECTION)},
        {"sysevents", EVENT_BIT(EVENT_OTHER)},    {"rawcmds", EVENT_BIT(EVENT_OTHER)},
        {"proxyreqs", EVENT_BIT(EVENT_OTHER)},    {"proxyevents", EVENT_BIT(EVENT_OTHER)},
        {"proxyuser", EVENT_BIT(EVENT_OTHER)},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        if (slice_equal(word, slice_of_string(rows[i].name))) {
            return rows[i].kind;
        }
    }
    return 0;
}

/* The connection replies once it is among the watchers: core/core_watch.c. */
void memcache_execute_watch(struct memcache_call *call)
{
    struct slice rest = call->request->arguments;
    uint32_t kinds = 0;
    if (!call->context->config->memcache_watch) {
        memcache_reply_line(call->reply, "CLIENT_ERROR watch commands not allowed");
        return;
    }
    for (struct slice word; (word = memcache_take_word(&rest)).size > 0;) {
        uint32_t kind = kind_of(word);
        if (kind == 0) {
            memcache_reply_line(call->reply, "ERROR");
            return;
        }
        kinds |= kind;
    }
    if (call->client->kind == CLIENT_MEMCACHE_UDP) {
        memcache_reply_line(call->reply, "SERVER_ERROR not over UDP");
    } else {
        call->watches = kinds != 0 ? kinds : EVENT_BIT(EVENT_FETCH);
    }
}

/* ---- lru_crawler --------------------------------------------------------------------------- */

/* There is one class, that of all items. */
static bool is_class(struct slice word)
{
    static const char *const names[] = {"all", "hash", "1"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (slice_equal(word, slice_of_string(names[i]))) {
            return true;
        }
    }
    return false;
}

static void dump(struct memcache_call *call, struct slice class)
{
    if (!is_class(class)) {
        memcache_reply_line(call->reply, class.size == 0 ? "ERROR" : "BADCLASS invalid class id");
    } else if (call->client->kind == CLIENT_MEMCACHE_UDP) {
        memcache_reply_line(call->reply, "SERVER_ERROR not over UDP");
    } else {
        call->starts_dump = true;
    }
}

/* Expired items are looked for all the time: there is nothing to start, to stop or to tune. */
void memcache_execute_crawler(struct memcache_call *call)
{
    struct slice rest = call->request->arguments;
    struct slice verb = memcache_take_word(&rest), class = memcache_take_word(&rest);
    if (slice_equal(verb, SLICE_LITERAL("metadump"))) {
        dump(call, class);
    } else if (slice_equal(verb, SLICE_LITERAL("enable"))) {
        memcache_reply_line(call->reply, "OK");
    } else if (slice_equal(verb, SLICE_LITERAL("crawl")) && class.size > 0) {
        memcache_reply_line(call->reply, is_class(class) ? "OK" : "BADCLASS invalid class id");
    } else if (slice_equal(verb, SLICE_LITERAL("disable")) ||
               slice_equal(verb, SLICE_LITERAL("sleep")) ||
               slice_equal(verb, SLICE_LITERAL("tocrawl"))) {
        memcache_reply_line(call->reply, "CLIENT_ERROR expired items are looked for all the time");
    } else {
        memcache_reply_line(call->reply, "ERROR");
    }
}
