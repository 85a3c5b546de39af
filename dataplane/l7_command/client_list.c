/* CLIENT LIST, INFO and KILL: the connections of all workers, each of which adds its own.
 *
 * The line has the fields of Redis 7.2 in its order, because tools split it by position and by
 * name. What does not exist here (subscriptions, transactions, redirection) shows the value that
 * Redis gives a client without it.
 */
#include <stdlib.h>

#include "config/config.h"
#include "dataplane/base/check.h"
#include "dataplane/l7_command/handlers_connection.h"
#include "dataplane/l7_command/l7_command_internal.h"

#define ADDRESS_BYTES_MAX 512 /* a Unix socket shows its path */

static void format_address(const struct config *config, const struct client *client,
                           const struct endpoint *endpoint, char text[ADDRESS_BYTES_MAX])
{
    if (endpoint->port == 0) {
        snprintf(text, ADDRESS_BYTES_MAX, "%.500s:0",
                 client->kind == CLIENT_RESP ? config->unixsocket : config->memcache_unixsocket);
    } else {
        endpoint_format(endpoint, text);
    }
}

static void format_flags(const struct client *client, char flags[8])
{
    char *p = flags;
    if (client->close_after_reply) {
        *p++ = 'c';
    }
    if (client->close_now) {
        *p++ = 'A';
    }
    if (client->peer.port == 0) {
        *p++ = 'U';
    }
    if (client->no_evict) {
        *p++ = 'e';
    }
    if (client->no_touch) {
        *p++ = 'T';
    }
    if (p == flags) {
        *p++ = 'N';
    }
    *p = '\0';
}

static const char *text_or_empty(const char *text)
{
    return text == NULL ? "" : text;
}

static uint64_t seconds_since(const struct instant *now, uint64_t mono_us)
{
    return now->mono_us <= mono_us ? 0 : (now->mono_us - mono_us) / 1000000;
}

static void print_client(struct text *text, const struct command_context *context,
                         const struct client *client)
{
    const struct instant *now = &context->now;
    char address[ADDRESS_BYTES_MAX], local_address[ADDRESS_BYTES_MAX], flags[8];
    format_address(context->config, client, &client->peer, address);
    format_address(context->config, client, &client->local, local_address);
    format_flags(client, flags);
    text_print(text, "id=%" PRIu64 " addr=%s laddr=%s fd=%d name=%s", client->id, address,
               local_address, client->socket_fd, text_or_empty(client->name));
    text_print(text,
               " age=%" PRIu64 " idle=%" PRIu64 " flags=%s db=%" PRIu32
               " sub=0 psub=0 ssub=0 multi=-1",
               seconds_since(now, client->created_mono_us),
               seconds_since(now, client->active_mono_us), flags, client->database);
    uint64_t total = sizeof(*client) + client->query_buffer_bytes +
                     client->query_buffer_free_bytes + client->argument_bytes +
                     client->output_buffer_bytes;
    text_print(text,
               " qbuf=%" PRIu64 " qbuf-free=%" PRIu64 " argv-mem=%" PRIu64
               " multi-mem=0 rbs=0 rbp=0 obl=0 oll=%" PRIu64 " omem=%" PRIu64 " tot-mem=%" PRIu64,
               client->query_buffer_bytes, client->query_buffer_free_bytes, client->argument_bytes,
               (client->output_buffer_bytes + BYTE_PAGE_ROOM - 1) / BYTE_PAGE_ROOM,
               client->output_buffer_bytes, total);
    text_print(text, " events=%s cmd=%s user=default redir=-1 resp=%u lib-name=%s lib-ver=%s\n",
               client->output_buffer_bytes > 0 ? "rw" : "r",
               client->last_command == NULL ? "NULL" : client->last_command, client->protocol,
               text_or_empty(client->library_name), text_or_empty(client->library_version));
}

size_t client_describe(const struct command_context *context, const struct client *client,
                       struct byte_pool *pool, char *line, size_t size_max)
{
    struct text text = {.pool = pool};
    print_client(&text, context, client);
    size_t size = byte_queue_copy_out(&text.queue, 0, line, size_max - 1);
    text_discard(&text);
    line[line[size - 1] == '\n' ? size - 1 : size] = '\0';
    return strlen(line);
}

enum command_verdict connection_client_info(struct call *call)
{
    struct text text;
    text_init(&text, call->reply);
    print_client(&text, call->context, call->client);
    text_reply_verbatim(&text, call->reply);
    return COMMAND_DONE;
}

/* Every client here is of type normal; the others exist in the grammar only. */
enum client_type { CLIENT_TYPE_UNKNOWN, CLIENT_TYPE_NORMAL, CLIENT_TYPE_OTHER };

static enum client_type parse_type(const struct call *call, uint32_t index)
{
    static const char *const others[] = {"master", "replica", "slave", "pubsub"};
    if (call_option(call, index, "normal")) {
        return CLIENT_TYPE_NORMAL;
    }
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        if (call_option(call, index, others[i])) {
            return CLIENT_TYPE_OTHER;
        }
    }
    return CLIENT_TYPE_UNKNOWN;
}

static void reply_unknown_type(struct call *call, uint32_t index)
{
    reply_error_format(call->reply, "ERR Unknown client type '%.*s'",
                       call_shown_size(call, index, SHOWN_BYTES_MAX),
                       (const char *)call->arguments[index].data);
}

static int compare_ids(const void *a, const void *b)
{
    const struct client *const *x = a, *const *y = b;
    return ((*x)->id > (*y)->id) - ((*x)->id < (*y)->id);
}

/* Clients in the order of their ids, for the look-ups of LIST ID: many ids must not cost many walks
 * of the list. */
static const struct client **sorted_clients(const struct client_registry *registry)
{
    const struct client **sorted = calloc(registry->count + 1, sizeof(const struct client *));
    uint64_t count = 0;
    for (const struct client *client = registry->first; sorted != NULL && client != NULL;
         client = client->next) {
        sorted[count++] = client;
    }
    return sorted;
}

static bool selects_by_id(const struct call *call)
{
    return call->argument_count > 3 && call_option(call, 2, "ID");
}

static bool ids_valid(const struct call *call)
{
    int64_t id;
    for (uint32_t i = 3; i < call->argument_count; i++) {
        if (!number_parse_int64(call->arguments[i], &id)) {
            return false;
        }
    }
    return true;
}

static void print_clients_by_id(struct text *text, struct call *call)
{
    const struct client_registry *registry = call->context->clients;
    const struct client **sorted = sorted_clients(registry);
    CHECK(sorted != NULL);
    for (uint32_t i = 3; i < call->argument_count; i++) {
        int64_t id = 0;
        (void)number_parse_int64(call->arguments[i], &id);
        struct client wanted = {.id = id > 0 ? (uint64_t)id : 0};
        const struct client *key = &wanted;
        const struct client *const *found =
            bsearch(&key, sorted, registry->count, sizeof(const struct client *), compare_ids);
        if (found != NULL) {
            print_client(text, call->context, *found);
        }
    }
    free(sorted);
}

/* False with the error written. */
static bool list_arguments_valid(struct call *call)
{
    if (selects_by_id(call)) {
        if (ids_valid(call)) {
            return true;
        }
        reply_error(call->reply, "ERR Invalid client ID");
        return false;
    }
    if (call->argument_count == 4 && call_option(call, 2, "TYPE")) {
        if (parse_type(call, 3) != CLIENT_TYPE_UNKNOWN) {
            return true;
        }
        reply_unknown_type(call, 3);
        return false;
    }
    if (call->argument_count != 2) {
        reply_error(call->reply, ERROR_SYNTAX);
        return false;
    }
    return true;
}

void connection_collect_list(struct call *call)
{
    struct text text = {call->collected->text, call->collected->pool};
    if (selects_by_id(call)) {
        if (ids_valid(call)) {
            print_clients_by_id(&text, call);
        }
    } else if (call->argument_count == 2 || parse_type(call, 3) == CLIENT_TYPE_NORMAL) {
        for (const struct client *client = call->context->clients->first; client != NULL;
             client = client->next) {
            print_client(&text, call->context, client);
        }
    }
    call->collected->text = text.queue;
}

enum command_verdict connection_client_list(struct call *call)
{
    if (list_arguments_valid(call)) {
        struct text text = {call->collected->text, call->collected->pool};
        byte_queue_init(&call->collected->text);
        text_reply_verbatim(&text, call->reply);
    }
    return COMMAND_DONE;
}

/* ---- CLIENT KILL ----------------------------------------------------------------------------- */

struct kill_filter {
    uint64_t id; /* 0: any */
    enum client_type type;
    bool by_address, by_local_address, skip_me;
    struct slice address, local_address;
};

static bool parse_kill_option(struct call *call, uint32_t i, struct kill_filter *filter)
{
    struct slice value = call->arguments[i + 1];
    if (call_option(call, i, "ID")) {
        int64_t id;
        if (!number_parse_int64(value, &id) || id < 1) {
            reply_error(call->reply, "ERR client-id should be greater than 0");
            return false;
        }
        filter->id = (uint64_t)id;
    } else if (call_option(call, i, "TYPE")) {
        filter->type = parse_type(call, i + 1);
        if (filter->type == CLIENT_TYPE_UNKNOWN) {
            reply_unknown_type(call, i + 1);
            return false;
        }
    } else if (call_option(call, i, "ADDR")) {
        filter->by_address = true;
        filter->address = value;
    } else if (call_option(call, i, "LADDR")) {
        filter->by_local_address = true;
        filter->local_address = value;
    } else if (call_option(call, i, "USER")) {
        if (!slice_equal(value, SLICE_LITERAL("default"))) {
            reply_error_format(call->reply, "ERR No such user '%.*s'",
                               call_shown_size(call, i + 1, SHOWN_BYTES_MAX),
                               (const char *)value.data);
            return false;
        }
    } else if (call_option(call, i, "SKIPME") &&
               (call_option(call, i + 1, "yes") || call_option(call, i + 1, "no"))) {
        filter->skip_me = call_option(call, i + 1, "yes");
    } else {
        reply_error(call->reply, ERROR_SYNTAX);
        return false;
    }
    return true;
}

static bool parse_kill_options(struct call *call, struct kill_filter *filter)
{
    for (uint32_t i = 2; i < call->argument_count; i += 2) {
        if (i + 1 == call->argument_count) {
            reply_error(call->reply, ERROR_SYNTAX);
            return false;
        }
        if (!parse_kill_option(call, i, filter)) {
            return false;
        }
    }
    return true;
}

static bool address_matches(const struct call *call, const struct client *client,
                            const struct endpoint *endpoint, struct slice wanted)
{
    char address[ADDRESS_BYTES_MAX];
    format_address(call->context->config, client, endpoint, address);
    return slice_equal(slice_of_string(address), wanted);
}

static bool filter_matches(const struct call *call, const struct kill_filter *filter,
                           const struct client *client)
{
    return (filter->id == 0 || client->id == filter->id) && filter->type != CLIENT_TYPE_OTHER &&
           (!filter->by_address || address_matches(call, client, &client->peer, filter->address)) &&
           (!filter->by_local_address ||
            address_matches(call, client, &client->local, filter->local_address)) &&
           !(filter->skip_me && client->id == call->client->id);
}

static int64_t kill_matching(struct call *call, const struct kill_filter *filter)
{
    int64_t killed = 0;
    for (struct client *client = call->context->clients->first; client != NULL;
         client = client->next) {
        if (client->close_now || !filter_matches(call, filter, client)) {
            continue;
        }
        killed++;
        if (client->id == call->client->id) {
            client->close_after_reply = true;
        } else {
            client->close_now = true;
        }
    }
    return killed;
}

/* CLIENT KILL addr:port answers OK or an error and may kill itself; the form with filters counts.
 */
static bool parse_kill(struct call *call, struct kill_filter *filter)
{
    *filter = (struct kill_filter){.type = CLIENT_TYPE_NORMAL};
    if (call->argument_count == 3) {
        filter->by_address = true;
        filter->address = call->arguments[2];
        return true;
    }
    filter->skip_me = true;
    return parse_kill_options(call, filter);
}

/* What is wrong with the arguments the handler says. */
void connection_collect_kill(struct call *call)
{
    struct kill_filter filter;
    struct byte_queue refusal;
    struct reply *reply = call->reply, unheard = {.out = &refusal, .pool = call->collected->pool};
    byte_queue_init(&refusal);
    call->reply = &unheard;
    if (parse_kill(call, &filter)) {
        call->collected->count += kill_matching(call, &filter);
    }
    call->reply = reply;
    byte_queue_clear(&refusal, call->collected->pool);
}

enum command_verdict connection_client_kill(struct call *call)
{
    struct kill_filter filter;
    int64_t killed = call->collected->count;
    if (!parse_kill(call, &filter)) {
        return COMMAND_DONE;
    }
    if (call->argument_count > 3) {
        reply_integer(call->reply, killed);
    } else if (killed == 0) {
        reply_error(call->reply, "ERR No such client");
    } else {
        reply_ok(call->reply);
    }
    return COMMAND_DONE;
}
