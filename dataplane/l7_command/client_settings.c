/* CLIENT SETNAME, GETNAME, SETINFO, ID, NO-EVICT, NO-TOUCH, REPLY: what a connection may say
 * about itself and choose for itself.
 *
 * Memory: names are on the heap; they are set once per connection. A heap that is out leaves the
 * name unset.
 */
#include <stdlib.h>

#include "dataplane/l7_command/handlers_connection.h"
#include "dataplane/l7_command/l7_command_internal.h"

void client_set_text(char **field, struct slice text)
{
    free(*field);
    *field = text.size == 0 ? NULL : malloc(text.size + 1);
    if (*field != NULL) {
        memcpy(*field, text.data, text.size);
        (*field)[text.size] = '\0';
    }
}

/* Nothing that would break the lines of CLIENT LIST. */
bool client_name_valid(struct call *call, const char *what, struct slice name)
{
    for (size_t i = 0; i < name.size; i++) {
        if (name.data[i] < '!' || name.data[i] > '~') {
            reply_error_format(
                call->reply, "ERR %s cannot contain spaces, newlines or special characters.", what);
            return false;
        }
    }
    if (name.size > CLIENT_NAME_BYTES_MAX) {
        reply_error_format(call->reply, "ERR %s cannot be longer than %d bytes.", what,
                           CLIENT_NAME_BYTES_MAX);
        return false;
    }
    return true;
}

enum command_verdict connection_client_setname(struct call *call)
{
    if (client_name_valid(call, "Client names", call->arguments[2])) {
        client_set_text(&call->client->name, call->arguments[2]);
        reply_ok(call->reply);
    }
    return COMMAND_DONE;
}

enum command_verdict connection_client_getname(struct call *call)
{
    if (call->client->name == NULL) {
        reply_null(call->reply);
    } else {
        reply_bulk_string(call->reply, call->client->name);
    }
    return COMMAND_DONE;
}

enum command_verdict connection_client_setinfo(struct call *call)
{
    char **field;
    const char *what;
    if (call_option(call, 2, "lib-name")) {
        field = &call->client->library_name;
        what = "lib-name";
    } else if (call_option(call, 2, "lib-ver")) {
        field = &call->client->library_version;
        what = "lib-ver";
    } else {
        reply_error_format(call->reply, "ERR Unrecognized option '%.*s'",
                           call_shown_size(call, 2, SHOWN_BYTES_MAX),
                           (const char *)call->arguments[2].data);
        return COMMAND_DONE;
    }
    if (client_name_valid(call, what, call->arguments[3])) {
        client_set_text(field, call->arguments[3]);
        reply_ok(call->reply);
    }
    return COMMAND_DONE;
}

enum command_verdict connection_client_id(struct call *call)
{
    reply_integer(call->reply, (int64_t)call->client->id);
    return COMMAND_DONE;
}

static enum command_verdict set_switch(struct call *call, bool *value)
{
    if (call_option(call, 2, "ON")) {
        *value = true;
    } else if (call_option(call, 2, "OFF")) {
        *value = false;
    } else {
        reply_error(call->reply, ERROR_SYNTAX);
        return COMMAND_DONE;
    }
    reply_ok(call->reply);
    return COMMAND_DONE;
}

enum command_verdict connection_client_no_evict(struct call *call)
{
    return set_switch(call, &call->client->no_evict);
}

enum command_verdict connection_client_no_touch(struct call *call)
{
    return set_switch(call, &call->client->no_touch);
}

/* Only ON is answered; command_run sends or drops what is composed here. */
enum command_verdict connection_client_reply(struct call *call)
{
    struct client *client = call->client;
    if (call_option(call, 2, "ON")) {
        client->reply_mode = CLIENT_REPLY_ON;
        reply_ok(call->reply);
    } else if (call_option(call, 2, "OFF")) {
        client->reply_mode = CLIENT_REPLY_OFF;
    } else if (call_option(call, 2, "SKIP")) {
        if (client->reply_mode != CLIENT_REPLY_OFF) {
            client->reply_mode = CLIENT_REPLY_SKIP_NEXT;
        }
    } else {
        reply_error(call->reply, ERROR_SYNTAX);
    }
    return COMMAND_DONE;
}
