/* AUTH and HELLO: who speaks, and in which protocol version. */
#include "config/config.h"
#include "dataplane/l7_command/handlers_connection.h"
#include "dataplane/l7_command/l7_command_internal.h"

#define ERROR_WRONG_PASSWORD "WRONGPASS invalid username-password pair or user is disabled."

static bool authenticate(struct call *call, struct slice user, struct slice password)
{
    bool known = command_log_in(call->context, call->client, user, password);
    if (!known) {
        reply_error(call->reply, ERROR_WRONG_PASSWORD);
    }
    return known;
}

enum command_verdict connection_auth(struct call *call)
{
    struct slice user = SLICE_LITERAL("default");
    if (call->argument_count > 3) {
        reply_error(call->reply, ERROR_SYNTAX);
        return COMMAND_DONE;
    }
    if (call->argument_count == 3) {
        user = call->arguments[1];
    } else if (call->context->config->requirepass[0] == '\0') {
        reply_error(call->reply,
                    "ERR AUTH <password> called without any password configured for the default "
                    "user. Are you sure your configuration is correct?");
        return COMMAND_DONE;
    }
    if (authenticate(call, user, call->arguments[call->argument_count - 1])) {
        reply_ok(call->reply);
    }
    return COMMAND_DONE;
}

struct hello_options {
    int64_t protocol; /* 0: as it is */
    bool with_login, with_name;
    struct slice user, password, name;
};

static bool parse_protocol(struct call *call, struct hello_options *options)
{
    if (call->argument_count < 2) {
        return true;
    }
    if (!number_parse_int64(call->arguments[1], &options->protocol)) {
        reply_error(call->reply, "ERR Protocol version is not an integer or out of range");
        return false;
    }
    if (options->protocol < 2 || options->protocol > 3) {
        reply_error(call->reply, "NOPROTO unsupported protocol version");
        return false;
    }
    return true;
}

static bool parse_options(struct call *call, struct hello_options *options)
{
    for (uint32_t i = 2; i < call->argument_count; i++) {
        uint32_t left = call->argument_count - 1 - i;
        if (call_option(call, i, "AUTH") && left >= 2) {
            options->with_login = true;
            options->user = call->arguments[i + 1];
            options->password = call->arguments[i + 2];
            i += 2;
        } else if (call_option(call, i, "SETNAME") && left >= 1) {
            options->with_name = true;
            options->name = call->arguments[i + 1];
            if (!client_name_valid(call, "Client names", options->name)) {
                return false;
            }
            i++;
        } else {
            reply_error_format(call->reply, "ERR Syntax error in HELLO option '%.*s'",
                               call_shown_size(call, i, SHOWN_BYTES_MAX),
                               (const char *)call->arguments[i].data);
            return false;
        }
    }
    return true;
}

static void reply_pair(struct reply *reply, const char *name, const char *value)
{
    reply_bulk_string(reply, name);
    reply_bulk_string(reply, value);
}

static void reply_greeting(struct call *call)
{
    struct reply *reply = call->reply;
    reply_map(reply, 7);
    reply_pair(reply, "server", call->context->config->server_name);
    reply_pair(reply, "version", call->context->config->redis_version);
    reply_bulk_string(reply, "proto");
    reply_integer(reply, call->client->protocol);
    reply_bulk_string(reply, "id");
    reply_integer(reply, (int64_t)call->client->id);
    reply_pair(reply, "mode", "standalone");
    reply_pair(reply, "role", "master");
    reply_bulk_string(reply, "modules");
    reply_array(reply, 0);
}

enum command_verdict connection_hello(struct call *call)
{
    struct hello_options options = {0};
    struct client *client = call->client;
    if (!parse_protocol(call, &options) || !parse_options(call, &options)) {
        return COMMAND_DONE;
    }
    if (options.with_login && !authenticate(call, options.user, options.password)) {
        return COMMAND_DONE;
    }
    if (!command_client_authenticated(call->context, client)) {
        reply_error(call->reply,
                    "NOAUTH HELLO must be called with the client already authenticated, otherwise "
                    "the HELLO <proto> AUTH <user> <pass> option can be used to authenticate the "
                    "client and select the RESP protocol version at the same time");
        return COMMAND_DONE;
    }
    if (options.with_name) {
        client_set_text(&client->name, options.name);
    }
    if (options.protocol != 0) {
        client->protocol = (uint8_t)options.protocol;
        call->reply->protocol = client->protocol;
    }
    reply_greeting(call);
    return COMMAND_DONE;
}
