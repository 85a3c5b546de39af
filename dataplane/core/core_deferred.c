/* Deferred commands: the connection waits, the worker does not.
 *
 * DEBUG SLEEP waits for a time, a dump for its next slice; CONFIG SET, CONFIG REWRITE and SHUTDOWN
 * wait for the control thread. While it waits the session is blocked: requests behind it stay in
 * the session's buffer and the peer's window closes. A client that goes away meanwhile is simply
 * not found any more when its answer comes: client ids are never used twice.
 */
#include "dataplane/core/core_internal.h"

#include <stdio.h>
#include <unistd.h>

/* The reply of a deferred command, in its place; frees the request. */
static void compose_reply(struct core *core, struct conversation *conversation)
{
    struct stream *stream = conversation->session.stream;
    if (conversation->client.kind == CLIENT_MEMCACHE) {
        struct memcache_reply text = {.out = &stream->out, .pool = &core->bytes};
        memcache_resume(&conversation->deferral, &text);
        stream_mark_dirty(stream);
        return;
    }
    struct reply reply = {
        .out = &stream->out, .pool = &core->bytes, .protocol = conversation->client.protocol};
    command_resume(core->context, &conversation->client, &conversation->deferral, &reply);
    stream_mark_dirty(stream);
}

void core_wake_control(const struct core *core)
{
    uint64_t one = 1;
    if (core->options.control_wake_fd >= 0) {
        ssize_t written = write(core->options.control_wake_fd, &one, sizeof(one));
        (void)written; /* full: it is awake already */
    }
}

static bool send_to_control(struct core *core, struct control_request *request)
{
    struct message message = {
        .type = MESSAGE_CONTROL_REQUEST, .from = core->options.number, .pointer = request};
    return core->options.to_control != NULL && channel_send(core->options.to_control, &message);
}

void core_defer(struct core *core, struct conversation *conversation,
                const struct deferral *deferral)
{
    conversation->deferral = *deferral;
    struct control_request *request = deferral->request;
    if (request != NULL) {
        request->client_id = conversation->client.id;
        if (!send_to_control(core, request)) {
            snprintf(request->error, sizeof(request->error),
                     "ERR the control thread is busy, try again");
            compose_reply(core, conversation);
            return;
        }
        conversation->deferral.request = NULL; /* the control thread's until it comes back */
        core_wake_control(core);
    }
    session_block(&conversation->session, SESSION_AWAITS_REPLY);
    conversation->deferred_next = core->deferred;
    core->deferred = conversation;
}

bool core_log_warning(struct core *core, const char *line)
{
    struct slice argument = slice_of_string(line);
    struct control_request *request = control_request_create(CONTROL_LOG, 1, &argument);
    if (request == NULL || !send_to_control(core, request)) {
        control_request_destroy(request);
        return false;
    }
    core_wake_control(core);
    return true;
}

/* The same list serves sessions that try their request again at a certain time. */
void core_retry_later(struct core *core, struct conversation *conversation, uint64_t at_us)
{
    session_block(&conversation->session, SESSION_AWAITS_MEMORY);
    conversation->deferral = (struct deferral){.until_mono_us = at_us};
    conversation->deferred_next = core->deferred;
    core->deferred = conversation;
}

void core_await_shard(struct core *core, struct conversation *conversation)
{
    session_block(&conversation->session, SESSION_AWAITS_SHARD);
    conversation->deferral = (struct deferral){0};
    conversation->deferred_next = core->deferred;
    core->deferred = conversation;
}

void core_forget_deferred(struct core *core, struct conversation *conversation)
{
    struct conversation **link = &core->deferred;
    while (*link != NULL && *link != conversation) {
        link = &(*link)->deferred_next;
    }
    if (*link != NULL) {
        *link = conversation->deferred_next;
        conversation->deferred_next = NULL;
    }
}

static void resume(struct core *core, struct conversation *conversation)
{
    core_forget_deferred(core, conversation);
    core->did_work = true;
    if (conversation->session.closing) {
        /* Killed meanwhile: its stream may have sent its end already. */
        control_request_destroy(conversation->deferral.request);
        conversation->deferral.request = NULL;
        return;
    }
    if (conversation->dump.is_active) {
        if (core_continue_dump(core, conversation)) {
            return;
        }
    } else if (conversation->session.blocked == SESSION_AWAITS_REPLY) {
        size_t before = conversation->session.stream->out.size;
        compose_reply(core, conversation);
        core_count_output(core, conversation, before);
    }
    core_continue(core, conversation);
}

/* The list may change with each that goes on. Should one of them lend the shard again, the others
 * wait for the next time. */
void core_continue_awaiting_shard(struct core *core)
{
    struct conversation *conversation = core->deferred;
    while (conversation != NULL && !core_shard_is_lent(core)) {
        if (conversation->session.blocked == SESSION_AWAITS_SHARD) {
            resume(core, conversation);
            conversation = core->deferred;
        } else {
            conversation = conversation->deferred_next;
        }
    }
}

void core_take_control_reply(struct core *core, struct control_request *request)
{
    struct conversation *conversation = core->deferred;
    while (conversation != NULL && (conversation->client.id != request->client_id ||
                                    conversation->session.blocked != SESSION_AWAITS_REPLY)) {
        conversation = conversation->deferred_next;
    }
    /* SHUTDOWN that succeeds has no reply: the connection ends with the process. */
    bool silent = request->type == CONTROL_SHUTDOWN && request->error[0] == '\0';
    if (conversation == NULL || silent) {
        control_request_destroy(request);
        return;
    }
    conversation->deferral.request = request;
    resume(core, conversation);
}

void core_run_deferred(struct core *core)
{
    struct conversation *conversation = core->deferred;
    while (conversation != NULL) {
        struct conversation *next = conversation->deferred_next;
        uint64_t due_us = conversation->deferral.until_mono_us;
        if (due_us != 0 && due_us <= core->now.mono_us) {
            resume(core, conversation);
            next = core->deferred; /* the list may have changed: resume runs requests */
        } else if (due_us != 0 && due_us < core->next_timer_us) {
            core->next_timer_us = due_us;
        }
        conversation = next;
    }
}
