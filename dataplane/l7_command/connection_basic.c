/* PING, ECHO, SELECT, QUIT, RESET. */
#include "config/config.h"
#include "dataplane/l7_command/handlers_connection.h"
#include "dataplane/l7_command/l7_command_internal.h"

enum command_verdict connection_ping(struct call *call)
{
    if (call->argument_count > 2) {
        reply_wrong_arity(call);
    } else if (call->argument_count == 2) {
        reply_bulk(call->reply, call->arguments[1]);
    } else {
        reply_status(call->reply, "PONG");
    }
    return COMMAND_DONE;
}

enum command_verdict connection_echo(struct call *call)
{
    reply_bulk(call->reply, call->arguments[1]);
    return COMMAND_DONE;
}

bool database_index_valid(const struct call *call, int64_t index)
{
    return index >= 0 && index < call->context->config->databases && index < SHARD_DATABASE_COUNT;
}

enum command_verdict connection_select(struct call *call)
{
    int64_t index;
    if (!call_int64(call, 1, &index)) {
        return COMMAND_DONE;
    }
    if (index < INT32_MIN || index > INT32_MAX) {
        reply_error_format(call->reply, "ERR value is out of range, value must between %d and %d",
                           INT32_MIN, INT32_MAX);
    } else if (!database_index_valid(call, index)) {
        reply_error(call->reply, "ERR DB index is out of range");
    } else {
        call->client->database = (uint32_t)index;
        reply_ok(call->reply);
    }
    return COMMAND_DONE;
}

enum command_verdict connection_quit(struct call *call)
{
    reply_ok(call->reply);
    call->client->close_after_reply = true;
    return COMMAND_DONE;
}

/* The library's name and version stay: they are still those of whoever speaks here. */
enum command_verdict connection_reset(struct call *call)
{
    struct client *client = call->client;
    client->database = 0;
    client->protocol = 2;
    client->authenticated = false;
    client->no_evict = client->no_touch = false;
    if (client->reply_mode != CLIENT_REPLY_SKIP) {
        client->reply_mode = CLIENT_REPLY_ON;
    }
    client_set_text(&client->name, slice_of(NULL, 0));
    call->reply->protocol = 2;
    reply_status(call->reply, "RESET");
    return COMMAND_DONE;
}
