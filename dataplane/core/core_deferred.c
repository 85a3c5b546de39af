/* Deferred commands: the connection waits, the worker does not.
 *
 * DEBUG SLEEP waits for a time; CONFIG SET, CONFIG REWRITE and SHUTDOWN wait for the control
 * thread. While it waits the session is blocked: requests behind it stay in the session's buffer
 * and the peer's window closes. A client that goes away meanwhile is simply not found any more when
 * its answer comes: client ids are never used twice.
 */
#include "dataplane/core/core_internal.h"

#include <unistd.h>

static void reply_to(struct core *core, struct conversation *conversation, const char *error,
                     const char *status)
{
    struct stream *stream = conversation->session.stream;
    struct reply reply = {.out = &stream->out,
                          .pool = &core->bytes,
                          .protocol = conversation->client.protocol,
                          .suppressed = conversation->client.reply_mode != CLIENT_REPLY_ON};
    if (error != NULL) {
        reply_error(&reply, error);
    } else {
        reply_status(&reply, status);
    }
    stream_mark_dirty(stream);
}

static void wake_control(const struct core *core)
{
    uint64_t one = 1;
    if (core->options.control_wake_fd >= 0) {
        ssize_t written = write(core->options.control_wake_fd, &one, sizeof(one));
        (void)written; /* full: it is awake already */
    }
}

void core_defer(struct core *core, struct conversation *conversation,
                const struct deferral *deferral)
{
    if (deferral->request != NULL) {
        struct message message = {.type = MESSAGE_CONTROL_REQUEST,
                                  .from = core->options.number,
                                  .pointer = deferral->request};
        deferral->request->client_id = conversation->client.id;
        if (core->options.to_control == NULL || !channel_send(core->options.to_control, &message)) {
            control_request_destroy(deferral->request);
            reply_to(core, conversation, "ERR the control thread is busy, try again", NULL);
            return;
        }
        wake_control(core);
    }
    session_block(&conversation->session, SESSION_AWAITS_REPLY);
    conversation->resume_at_us = deferral->request != NULL ? 0 : deferral->until_mono_us;
    conversation->resume_status = deferral->status;
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

static void resume(struct core *core, struct conversation *conversation, const char *error)
{
    core_forget_deferred(core, conversation);
    reply_to(core, conversation, error,
             conversation->resume_status != NULL ? conversation->resume_status : "OK");
    core_continue(core, conversation);
}

void core_take_control_reply(struct core *core, struct control_request *request)
{
    struct conversation *conversation = core->deferred;
    while (conversation != NULL && conversation->client.id != request->client_id) {
        conversation = conversation->deferred_next;
    }
    /* SHUTDOWN does not answer when it succeeds: the connection ends with the process. */
    bool silent = request->type == CONTROL_SHUTDOWN && request->error[0] == '\0';
    if (conversation != NULL && !silent) {
        resume(core, conversation, request->error[0] != '\0' ? request->error : NULL);
    }
    control_request_destroy(request);
}

void core_run_deferred(struct core *core)
{
    struct conversation *conversation = core->deferred;
    while (conversation != NULL) {
        struct conversation *next = conversation->deferred_next;
        if (conversation->resume_at_us != 0) {
            if (conversation->resume_at_us <= core->now.mono_us) {
                resume(core, conversation, NULL);
                next = core->deferred; /* the list may have changed: resume runs requests */
            } else if (conversation->resume_at_us < core->next_timer_us) {
                core->next_timer_us = conversation->resume_at_us;
            }
        }
        conversation = next;
    }
}
