/* CONFIG GET, SET, RESETSTAT, REWRITE.
 *
 * Reading looks at this pass's snapshot. Changing is the control thread's: SET and REWRITE become a
 * control request and the connection waits for its answer.
 */
#include "config/config.h"
#include "dataplane/l7_command/handlers_server.h"
#include "dataplane/l7_command/l7_command_internal.h"

static void count_directive(void *argument, const char *name, const char *value)
{
    uint64_t *count = argument;
    (*count)++;
}

static void reply_directive(void *argument, const char *name, const char *value)
{
    struct reply *reply = argument;
    reply_bulk_string(reply, name);
    reply_bulk_string(reply, value);
}

enum command_verdict config_get(struct call *call)
{
    const struct config *config = call->context->config;
    const struct slice *patterns = call->arguments + 2;
    uint32_t pattern_count = call->argument_count - 2;
    uint64_t count = 0;
    config_visit(config, pattern_count, patterns, count_directive, &count);
    reply_map(call->reply, count);
    config_visit(config, pattern_count, patterns, reply_directive, call->reply);
    return COMMAND_DONE;
}

enum command_verdict config_resetstat(struct call *call)
{
    statistics_reset(call->context);
    reply_ok(call->reply);
    return COMMAND_DONE;
}

enum command_verdict call_defer_to_control(struct call *call, enum control_request_type type,
                                           uint32_t argument_count, const struct slice *arguments)
{
    struct control_request *request = control_request_create(type, argument_count, arguments);
    if (request == NULL) {
        reply_error(call->reply, "ERR out of memory");
        return COMMAND_DONE;
    }
    request->client_id = call->client->id;
    call->deferral.request = request;
    return COMMAND_DEFERRED;
}

/* Values travel as C strings: one with a NUL inside would arrive as another value. */
static bool texts_are_whole(struct call *call)
{
    for (uint32_t i = 2; i < call->argument_count; i++) {
        struct slice text = call->arguments[i];
        if (text.size > 0 && memchr(text.data, 0, text.size) != NULL) {
            reply_error(call->reply, "ERR CONFIG SET failed - a NUL byte in an argument");
            return false;
        }
    }
    return true;
}

enum command_verdict config_set_command(struct call *call)
{
    if (call->argument_count % 2 != 0) {
        reply_error(call->reply, ERROR_SYNTAX);
        return COMMAND_DONE;
    }
    if (!texts_are_whole(call)) {
        return COMMAND_DONE;
    }
    return call_defer_to_control(call, CONTROL_CONFIG_SET, call->argument_count - 2,
                                 call->arguments + 2);
}

enum command_verdict config_rewrite_command(struct call *call)
{
    return call_defer_to_control(call, CONTROL_CONFIG_REWRITE, 0, NULL);
}
