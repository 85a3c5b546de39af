/* Logging in over memcached's protocols: SASL PLAIN in the binary one, a first `set` in the text
 * one. Who may is said in login.c.
 *
 * PLAIN is one message: [authorize as] NUL user NUL password. It comes with the auth request, or
 * with a step that follows an auth without it. Whatever is asked of SASL, who was logged in is so
 * no more until the login succeeds, as in the reference. Where no password is set there is no SASL,
 * as in a memcached that was started without -S: clients that were given a password take "Unknown
 * command" for an answer and go on.
 */
#include "config/config.h"
#include "dataplane/l6_protocol/memcache_binary_compose.h"
#include "dataplane/l6_protocol/memcache_binary_parse.h"
#include "dataplane/l6_protocol/memcache_text.h"
#include "dataplane/l7_command/memcache_internal.h"

#define MECHANISM "PLAIN"

static bool log_in(struct memcache_call *call, struct slice user, struct slice password)
{
    bool known = command_log_in(call->context, call->client, user, password);
    memcache_count(call, METRIC_MEMCACHE_AUTH_CMDS);
    if (!known) {
        memcache_count(call, METRIC_MEMCACHE_AUTH_ERRORS);
    }
    return known;
}

/* ---- SASL ------------------------------------------------------------------------------------ */

static void refuse(struct memcache_call *call, enum memcache_binary_status status)
{
    memcache_binary_reply_error(call->reply, &call->request->binary, status, NULL);
}

static void reply(struct memcache_call *call, enum memcache_binary_status status, const char *text)
{
    const struct memcache_binary_reply what = {.status = status, .value = slice_of_string(text)};
    memcache_binary_reply(call->reply, &call->request->binary, &what);
}

/* Up to the next NUL, which goes with it; the rest where there is none. */
static struct slice next_field(struct slice *message)
{
    const uint8_t *end = message->size == 0 ? NULL : memchr(message->data, '\0', message->size);
    size_t size = end == NULL ? message->size : (size_t)(end - message->data);
    struct slice field = slice_of(message->data, size);
    *message = slice_from(*message, size + 1);
    return field;
}

static bool log_in_by_plain(struct memcache_call *call, struct slice message)
{
    struct slice authorized = next_field(&message);
    struct slice user = next_field(&message);
    bool same = authorized.size == 0 || slice_equal(authorized, user);
    return log_in(call, same ? user : slice_of(NULL, 0), message);
}

/* A step that fails may be tried again. */
static void authenticate(struct memcache_call *call, struct slice message)
{
    if (log_in_by_plain(call, message)) {
        call->client->login_begun = false;
        reply(call, MEMCACHE_BINARY_OK, "Authenticated");
    } else {
        refuse(call, MEMCACHE_BINARY_AUTH_ERROR);
    }
}

static void execute_auth(struct memcache_call *call)
{
    const struct memcache_request *request = call->request;
    call->client->login_begun = false;
    if (request->arguments.size > MEMCACHE_MECHANISM_BYTES_MAX) {
        refuse(call, MEMCACHE_BINARY_INVALID);
    } else if (!slice_equal_ignoring_case(request->arguments, SLICE_LITERAL(MECHANISM))) {
        refuse(call, MEMCACHE_BINARY_AUTH_ERROR);
    } else if (request->value.size == 0) {
        call->client->login_begun = true;
        reply(call, MEMCACHE_BINARY_AUTH_CONTINUE, "");
    } else {
        authenticate(call, request->value);
    }
}

static void execute_step(struct memcache_call *call)
{
    if (call->client->login_begun) {
        authenticate(call, call->request->value);
    } else {
        refuse(call, MEMCACHE_BINARY_AUTH_ERROR);
    }
}

void memcache_execute_sasl(struct memcache_call *call)
{
    if (call->context->config->requirepass[0] == '\0') {
        refuse(call, MEMCACHE_BINARY_UNKNOWN);
        return;
    }
    call->client->authenticated = false;
    if (call->request->verb == MEMCACHE_SASL_LIST) {
        reply(call, MEMCACHE_BINARY_OK, MECHANISM);
    } else if (call->request->verb == MEMCACHE_SASL_AUTH) {
        execute_auth(call);
    } else {
        execute_step(call);
    }
}

/* ---- text ------------------------------------------------------------------------------------ */

void memcache_execute_login(struct memcache_call *call)
{
    struct slice value = call->request->value;
    const uint8_t *at = value.data, *end = value.data + value.size;
    struct slice user = memcache_next_word(&at, end);
    struct slice password = memcache_next_word(&at, end);
    if (password.size == 0) {
        memcache_reply_line(call->reply, "CLIENT_ERROR bad authentication token format");
    } else if (log_in(call, user, password)) {
        memcache_reply_line(call->reply, "STORED");
    } else {
        memcache_reply_line(call->reply, "CLIENT_ERROR authentication failure");
    }
}
