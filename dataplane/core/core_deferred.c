/* Deferred commands: the connection waits, the worker does not.
 *
 * DEBUG SLEEP waits for a time, a dump for its next slice; CONFIG SET, CONFIG REWRITE and SHUTDOWN
 * wait for the control thread. While it waits the session is blocked: requests behind it stay in
 * the session's buffer and the peer's window closes. A client that goes away meanwhile is simply
 * not found any more when its answer comes: client ids are never used twice.
 *
 * Sessions that try their request again wait here too, each kind in a queue of its own, first come
 * first served: however many wait, each is looked at when it goes on, and not before. Only those
 * that wait for a reply are looked at in each pass: DEBUG SLEEP and dumps, which are rare, and what
 * the control thread was asked, which its channel bounds.
 */
#include "dataplane/core/core_internal.h"

#include <stdio.h>
#include <unistd.h>

/* In a pass: ten thousand writers that wait must not keep the readers waiting. */
#define MEMORY_RETRIES_MAX 32

void core_init_deferred(struct core *core)
{
    for (int i = 0; i < SESSION_BLOCKED_COUNT; i++) {
        TAILQ_INIT(&core->waiting[i]);
    }
}

/* The session is blocked already. */
static void enqueue(struct core *core, struct conversation *conversation)
{
    CHECK(conversation->queue == SESSION_RUNNING);
    conversation->queue = conversation->session.blocked;
    TAILQ_INSERT_TAIL(&core->waiting[conversation->queue], conversation, waiting);
}

void core_forget_deferred(struct core *core, struct conversation *conversation)
{
    if (conversation->queue != SESSION_RUNNING) {
        TAILQ_REMOVE(&core->waiting[conversation->queue], conversation, waiting);
        conversation->queue = SESSION_RUNNING;
    }
}

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
    enqueue(core, conversation);
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

void core_pause(struct core *core, struct conversation *conversation, uint64_t until_us)
{
    conversation->deferral = (struct deferral){.until_mono_us = until_us};
    enqueue(core, conversation);
}

/* All wait equally long, so the first in the queue is the first that is due. */
void core_retry_later(struct core *core, struct conversation *conversation)
{
    session_block(&conversation->session, SESSION_AWAITS_MEMORY);
    core_pause(core, conversation, core->now.mono_us + CORE_MEMORY_RETRY_US);
}

void core_await_shard(struct core *core, struct conversation *conversation)
{
    session_block(&conversation->session, SESSION_AWAITS_SHARD);
    conversation->deferral = (struct deferral){0};
    enqueue(core, conversation);
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

/* Should one of them lend the shard again, the others wait for the next time. */
void core_continue_awaiting_shard(struct core *core)
{
    struct conversation_queue *queue = &core->waiting[SESSION_AWAITS_SHARD];
    while (!TAILQ_EMPTY(queue) && !core_shard_is_lent(core)) {
        resume(core, TAILQ_FIRST(queue));
    }
}

void core_take_control_reply(struct core *core, struct control_request *request)
{
    struct conversation *conversation = TAILQ_FIRST(&core->waiting[SESSION_AWAITS_REPLY]);
    while (conversation != NULL && conversation->client.id != request->client_id) {
        conversation = TAILQ_NEXT(conversation, waiting);
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

/* Whether it goes on now. If not, and it waits for a time, the worker sleeps no longer than that.
 */
static bool is_due(struct core *core, const struct conversation *conversation)
{
    uint64_t due_us = conversation->deferral.until_mono_us;
    if (due_us > core->now.mono_us && due_us < core->next_timer_us) {
        core->next_timer_us = due_us;
    }
    return due_us != 0 && due_us <= core->now.mono_us;
}

static void retry_for_memory(struct core *core)
{
    const struct conversation_queue *queue = &core->waiting[SESSION_AWAITS_MEMORY];
    for (int i = 0; !TAILQ_EMPTY(queue) && is_due(core, TAILQ_FIRST(queue)); i++) {
        if (i == MEMORY_RETRIES_MAX) {
            core->next_timer_us = core->now.mono_us;
            break;
        }
        resume(core, TAILQ_FIRST(queue));
    }
}

void core_run_deferred(struct core *core)
{
    const struct conversation_queue *queue = &core->waiting[SESSION_AWAITS_REPLY];
    struct conversation *conversation = TAILQ_FIRST(queue);
    while (conversation != NULL) {
        if (is_due(core, conversation)) {
            resume(core, conversation);
            conversation = TAILQ_FIRST(queue); /* it may have changed: resume runs requests */
        } else {
            conversation = TAILQ_NEXT(conversation, waiting);
        }
    }
    retry_for_memory(core);
}
