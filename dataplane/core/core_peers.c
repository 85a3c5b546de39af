/* Messages between workers: one channel for each direction of each pair.
 *
 * What is sent goes into the sender's outbox, and from there, many messages at once, into the
 * channel: when a batch has run, when the messages of others have been taken, and at the end of
 * every pass. Nobody waits: a message that finds its channel full is tried again then. A receiver
 * that sleeps is woken.
 *
 * Why no wake-up is lost: the sender puts the message into the channel and then exchanges `asleep`
 * for false (A in core_wake_if_asleep); the receiver exchanges it for true (B in
 * core_peers_may_sleep) and then looks into its channels once more. If A comes after B, the sender
 * finds it true and wakes; if before, B has read what A wrote or a later exchange, so that the look
 * sees the message. The same holds for frames that a distributor puts into its rings. (No fences:
 * ThreadSanitizer knows none.)
 *
 * Thread: the owning worker, but for `asleep`. Memory: outboxes grow by doubling, on the heap.
 * Failure: none (a failing heap is a CHECK).
 */
#include <errno.h>
#include <stdlib.h>

#include "dataplane/base/check.h"
#include "dataplane/core/core_internal.h"

#define OUTBOX_MESSAGES_MIN 64U

/* A ring of messages that grows. */
struct outbox {
    struct message *messages;
    uint32_t first, count, capacity;
};

int core_peers_create(struct core *core)
{
    core->outboxes = calloc(core->options.worker_count, sizeof(*core->outboxes));
    return core->outboxes != NULL ? 0 : -ENOMEM;
}

void core_peers_destroy(struct core *core)
{
    for (uint32_t i = 0; core->outboxes != NULL && i < core->options.worker_count; i++) {
        free(core->outboxes[i].messages);
    }
    free(core->outboxes);
}

static void grow_outbox(struct outbox *outbox)
{
    uint32_t capacity = outbox->capacity != 0 ? outbox->capacity * 2 : OUTBOX_MESSAGES_MIN;
    struct message *messages = malloc(capacity * sizeof(*messages));
    CHECK(messages != NULL);
    for (uint32_t i = 0; i < outbox->count; i++) {
        messages[i] = outbox->messages[(outbox->first + i) % outbox->capacity];
    }
    free(outbox->messages);
    *outbox = (struct outbox){messages, 0, outbox->count, capacity};
}

static void keep(struct outbox *outbox, const struct message *message)
{
    if (outbox->count == outbox->capacity) {
        grow_outbox(outbox);
    }
    outbox->messages[(outbox->first + outbox->count++) % outbox->capacity] = *message;
}

void core_wake_if_asleep(struct core *peer)
{
    if (__atomic_exchange_n(&peer->asleep, false, __ATOMIC_ACQ_REL)) { /* A: see above */
        core_wake(peer);
    }
}

void core_send(struct core *core, uint32_t to, const struct message *message)
{
    keep(&core->outboxes[to], message);
}

/* Those that stand next to each other in the ring: all, unless it begins again in between. */
static uint32_t send_run(struct outbox *outbox, struct channel *channel)
{
    uint32_t until_end = outbox->capacity - outbox->first;
    uint32_t count = outbox->count < until_end ? outbox->count : until_end;
    uint32_t sent = channel_send_burst(channel, &outbox->messages[outbox->first], count);
    outbox->first = (outbox->first + sent) % outbox->capacity;
    outbox->count -= sent;
    return sent;
}

static void flush_outbox(struct core *core, uint32_t to)
{
    struct outbox *outbox = &core->outboxes[to];
    if (outbox->count == 0) {
        return;
    }
    while (outbox->count > 0 && send_run(outbox, core->options.to_peers[to]) > 0) {
    }
    core_wake_if_asleep(core->peers[to]);
}

bool core_flush_outboxes(struct core *core)
{
    bool empty = true;
    for (uint32_t i = 0; core->options.to_peers != NULL && i < core->options.worker_count; i++) {
        flush_outbox(core, i);
        empty &= core->outboxes[i].count == 0;
    }
    return empty;
}

/* ---- connections that one worker accepts for all --------------------------------------------- */

void core_adopt_connection(struct core *core, int fd, uint32_t listener)
{
    struct stream *stream = socket_adopt(core->sockets, fd, listener);
    if (stream != NULL) {
        struct stream_event event = {.stream = stream, .type = STREAM_OPENED};
        core_take_events(core, &event, 1);
    }
}

void core_place_connections(struct core *core, const struct socket_accepted *accepted,
                            uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        uint32_t to = core->next_placed;
        core->next_placed = (to + 1) % core->options.worker_count;
        if (to == core->options.number || core->peers == NULL) {
            core_adopt_connection(core, accepted[i].fd, accepted[i].listener);
            continue;
        }
        struct message message = {.type = MESSAGE_CONNECTION,
                                  .from = core->options.number,
                                  .words = {(uint64_t)accepted[i].fd, accepted[i].listener}};
        core_send(core, to, &message);
    }
}

/* ---- before a sleep -------------------------------------------------------------------------- */

static bool has_messages(const struct core *core)
{
    for (uint32_t i = 0; i < core->options.worker_count; i++) {
        struct channel *from =
            core->options.from_peers != NULL ? core->options.from_peers[i] : NULL;
        if (from != NULL && !channel_is_empty(from)) {
            return true;
        }
    }
    return false;
}

static bool has_frames(const struct core *core)
{
    for (uint32_t i = 0; i < core->options.link_count; i++) {
        const struct core_link *link = &core->links[i];
        if (link->has_frames != NULL && link->has_frames(link->context, link->queue)) {
            return true;
        }
    }
    return false;
}

bool core_peers_may_sleep(struct core *core)
{
    if (core->peers == NULL) {
        return true;
    }
    (void)__atomic_exchange_n(&core->asleep, true, __ATOMIC_ACQ_REL); /* B: see above */
    if (has_messages(core) || has_frames(core)) {
        core_peers_awake(core);
        return false;
    }
    return true;
}

void core_peers_awake(struct core *core)
{
    (void)__atomic_exchange_n(&core->asleep, false, __ATOMIC_ACQ_REL); /* B may read this one */
}

/* A clock that was set back by more than that is believed. */
#define CLOCK_STEP_MS 1000U

void core_share_time(struct core *core)
{
    if (core->peers == NULL || core->options.worker_count == 1) {
        return;
    }
    uint64_t *shared = &core->peers[0]->shared_wall_ms;
    uint64_t seen = __atomic_load_n(shared, __ATOMIC_ACQUIRE);
    while (core->now.wall_ms > seen || core->now.wall_ms + CLOCK_STEP_MS < seen) {
        if (__atomic_compare_exchange_n(shared, &seen, core->now.wall_ms, false, __ATOMIC_ACQ_REL,
                                        __ATOMIC_ACQUIRE)) {
            return; /* once in a millisecond */
        }
    }
    core->now.wall_ms = seen;
}
