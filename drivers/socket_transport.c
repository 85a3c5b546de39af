/* The socket transport: instance, stream pool, epoll, and the order of one pass.
 *
 * Path: kernel -> socket_input -> session; session -> dirty list -> socket_output -> kernel.
 * Invariants:
 *  1. A handle is in the ready list only if it is readable; a paused stream keeps the flag and
 * leaves the list, and comes back with the output call after the session lifted the pause.
 *  2. A stream with a notice due is in the notice list until the notice is handed out.
 *  3. A closed stream has no descriptor, an empty `out`, and is in no ready list once input ran.
 */
#include "drivers/socket_transport.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "dataplane/base/check.h"
#include "drivers/socket_internal.h"

#define EPOLL_BATCH        256
#define WATCHED            1U  /* in an event's data: no handle, but a descriptor, shifted by one */
#define WAIT_MS_WHEN_SHORT 100 /* while accepting is paused or a write waits for kernel memory */

static struct socket_stream *stream_of(struct stream *stream)
{
    return (struct socket_stream *)(void *)((uint8_t *)stream -
                                            offsetof(struct socket_stream, stream));
}

/* ---- instance -------------------------------------------------------------------------------- */

struct socket_transport *socket_transport_create(const struct socket_options *options)
{
    struct socket_transport *transport = calloc(1, sizeof(*transport));
    if (transport == NULL) {
        return NULL;
    }
    transport->options = *options;
    transport->ready_end = &transport->ready_first;
    transport->notice_end = &transport->notice_first;
    transport->arena = malloc(SOCKET_ARENA_BYTES);
    transport->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (transport->arena == NULL || transport->epoll_fd < 0) {
        if (transport->epoll_fd >= 0) {
            close(transport->epoll_fd);
        }
        free(transport->arena);
        free(transport);
        return NULL;
    }
    return transport;
}

static void destroy_listeners(struct socket_transport *transport)
{
    for (uint32_t i = 0; i < transport->listener_count; i++) {
        struct socket_listener *listener = transport->listeners[i];
        if (listener->is_unix) {
            socket_listener_remove_file(listener);
        }
        close(listener->handle.fd);
        free(listener);
    }
    transport->listener_count = 0;
}

void socket_transport_destroy(struct socket_transport *transport)
{
    if (transport == NULL) {
        return;
    }
    CHECK(transport->stream_count == 0);
    destroy_listeners(transport);
    while (transport->chunks != NULL) {
        struct socket_stream_chunk *chunk = transport->chunks;
        transport->chunks = chunk->next;
        free(chunk);
    }
    socket_datagram_arena_destroy(transport->datagrams);
    close(transport->epoll_fd);
    free(transport->arena);
    free(transport);
}

/* ---- handles and lists ----------------------------------------------------------------------- */

int socket_handle_register(struct socket_transport *transport, struct socket_handle *handle,
                           uint32_t events)
{
    struct epoll_event event = {.events = events | EPOLLET, .data.ptr = handle};
    return epoll_ctl(transport->epoll_fd, EPOLL_CTL_ADD, handle->fd, &event) < 0 ? -errno : 0;
}

void socket_handle_make_ready(struct socket_transport *transport, struct socket_handle *handle)
{
    if (!handle->queued) {
        handle->queued = true;
        handle->ready_next = NULL;
        *transport->ready_end = handle;
        transport->ready_end = &handle->ready_next;
        transport->ready_count++;
    }
}

static struct socket_handle *take_ready(struct socket_transport *transport)
{
    struct socket_handle *handle = transport->ready_first;
    if (handle != NULL) {
        transport->ready_first = handle->ready_next;
        if (transport->ready_first == NULL) {
            transport->ready_end = &transport->ready_first;
        }
        handle->queued = false;
        transport->ready_count--;
    }
    return handle;
}

static void remove_ready(struct socket_transport *transport, struct socket_handle *handle)
{
    struct socket_handle **link = &transport->ready_first;
    while (handle->queued && *link != NULL) {
        if (*link == handle) {
            *link = handle->ready_next;
            handle->queued = false;
            transport->ready_count--;
        } else {
            link = &(*link)->ready_next;
        }
    }
    transport->ready_end = &transport->ready_first;
    while (*transport->ready_end != NULL) {
        transport->ready_end = &(*transport->ready_end)->ready_next;
    }
}

void socket_stream_add_notice(struct socket_transport *transport, struct socket_stream *stream)
{
    if (!stream->noticed) {
        stream->noticed = true;
        stream->notice_next = NULL;
        *transport->notice_end = stream;
        transport->notice_end = &stream->notice_next;
    }
}

struct socket_listener *socket_listener_create(struct socket_transport *transport,
                                               enum socket_kind kind, int fd, uint32_t listener)
{
    struct socket_listener *created = NULL;
    if (transport->listener_count < SOCKET_LISTENERS_MAX) {
        created = calloc(1, sizeof(*created));
    }
    if (created == NULL) {
        return NULL;
    }
    created->handle = (struct socket_handle){.kind = kind, .fd = fd};
    created->listener = listener;
    if (socket_handle_register(transport, &created->handle, EPOLLIN) < 0) {
        free(created);
        return NULL;
    }
    transport->listeners[transport->listener_count++] = created;
    return created;
}

/* ---- stream pool ----------------------------------------------------------------------------- */

static bool grow_pool(struct socket_transport *transport)
{
    struct socket_stream_chunk *chunk = calloc(1, sizeof(*chunk));
    if (chunk == NULL) {
        return false;
    }
    chunk->next = transport->chunks;
    transport->chunks = chunk;
    for (uint32_t i = 0; i < SOCKET_STREAMS_PER_CHUNK; i++) {
        chunk->streams[i].next = transport->free;
        transport->free = &chunk->streams[i];
    }
    return true;
}

struct socket_stream *socket_stream_acquire(struct socket_transport *transport)
{
    if (transport->free == NULL && !grow_pool(transport)) {
        return NULL;
    }
    struct socket_stream *stream = transport->free;
    transport->free = stream->next;
    *stream = (struct socket_stream){
        .handle = {.kind = SOCKET_STREAM, .fd = -1},
        .stream = {.dirty_list = &transport->dirty, .socket_fd = -1},
        .writable = true,
        .next = transport->streams,
    };
    if (stream->next != NULL) {
        stream->next->previous = stream;
    }
    transport->streams = stream;
    transport->stream_count++;
    metric_add(transport->options.metrics, METRIC_CONNECTION_BYTES, sizeof(*stream));
    return stream;
}

static void unlink_stream(struct socket_transport *transport, struct socket_stream *stream)
{
    if (stream->previous != NULL) {
        stream->previous->next = stream->next;
    } else {
        transport->streams = stream->next;
    }
    if (stream->next != NULL) {
        stream->next->previous = stream->previous;
    }
    transport->stream_count--;
    metric_subtract(transport->options.metrics, METRIC_CONNECTION_BYTES, sizeof(*stream));
}

void socket_stream_abandon(struct socket_transport *transport, struct socket_stream *stream)
{
    unlink_stream(transport, stream);
    stream->next = transport->free;
    transport->free = stream;
}

static void remove_dirty(struct socket_transport *transport, struct stream *stream)
{
    struct stream **link = &transport->dirty.first;
    while (stream->dirty && *link != NULL) {
        if (*link == stream) {
            *link = stream->dirty_next;
            stream->dirty = false;
        } else {
            link = &(*link)->dirty_next;
        }
    }
}

/* The session has seen STREAM_CLOSED by now: it was told a whole pass ago. */
static void free_reported(struct socket_transport *transport)
{
    while (transport->reported != NULL) {
        struct socket_stream *stream = transport->reported;
        transport->reported = stream->next;
        remove_dirty(transport, &stream->stream);
        byte_queue_clear(&stream->stream.out, transport->options.pool);
        stream->next = transport->free;
        transport->free = stream;
    }
}

static void report_closed(struct socket_transport *transport, struct socket_stream *stream)
{
    unlink_stream(transport, stream);
    if (stream->handle.queued) {
        remove_ready(transport, &stream->handle);
    }
    stream->state = STREAM_STATE_REPORTED;
    stream->next = transport->reported;
    transport->reported = stream;
}

static void resume_accepting(struct socket_transport *transport)
{
    transport->accept_paused = false;
    for (uint32_t i = 0; i < transport->listener_count; i++) {
        struct socket_listener *listener = transport->listeners[i];
        if (listener->accept_paused) {
            listener->accept_paused = false;
            socket_handle_make_ready(transport, &listener->handle);
        }
    }
}

/* Bytes that were received but never read make close() send a reset, which can destroy a reply on
 * its way (an error to a client that is still sending, say). Those already here are thrown away
 * first. */
static void discard_unread(int fd)
{
    for (int i = 0; i < 8; i++) {
        if (recv(fd, NULL, 1U << 20, MSG_TRUNC | MSG_DONTWAIT) <= 0) {
            return;
        }
    }
}

static void close_descriptor(const struct socket_transport *transport, struct socket_stream *stream,
                             bool reset)
{
    if (stream->entered) {
        stream->entered = false;
        access_leave(transport->options.access, &stream->stream.peer.address);
    }
    if (reset) {
        struct linger linger = {.l_onoff = 1, .l_linger = 0};
        (void)setsockopt(stream->handle.fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
    } else if (!stream->finished && stream->stream.local.port != 0) {
        discard_unread(stream->handle.fd);
    }
    close(stream->handle.fd);
    stream->handle.fd = stream->stream.socket_fd = -1;
    stream->handle.readable = stream->writable = false;
}

void socket_stream_close(struct socket_transport *transport, struct socket_stream *stream,
                         bool reset)
{
    DEBUG_CHECK(stream->state == STREAM_STATE_OPEN);
    close_descriptor(transport, stream, reset);
    byte_queue_clear(&stream->stream.out, transport->options.pool);
    stream->state = STREAM_STATE_CLOSED;
    stream->drained_due = stream->opened_due = false;
    stream->closed_due = true;
    socket_stream_add_notice(transport, stream);
    if (transport->accept_paused) {
        resume_accepting(transport);
    }
}

void socket_transport_close_all(struct socket_transport *transport)
{
    free_reported(transport);
    while (transport->streams != NULL) {
        struct socket_stream *stream = transport->streams;
        if (stream->state == STREAM_STATE_OPEN) {
            close_descriptor(transport, stream, stream->stream.out.size > 0);
        }
        report_closed(transport, stream);
    }
    transport->notice_first = NULL;
    transport->notice_end = &transport->notice_first;
    free_reported(transport);
}

/* ---- epoll ----------------------------------------------------------------------------------- */

static void note_stream_event(struct socket_transport *transport, struct socket_stream *stream,
                              uint32_t events)
{
    stream->urgent = stream->urgent || (events & EPOLLPRI);
    if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) {
        stream->handle.readable = !stream->finished || (events & EPOLLERR);
        stream->peer_done = stream->peer_done || (events & (EPOLLRDHUP | EPOLLHUP));
        stream->failed = stream->failed || (events & EPOLLERR);
        if (stream->handle.readable && (!socket_stream_ignores_input(stream) || stream->failed)) {
            socket_handle_make_ready(transport, &stream->handle);
        }
    }
    if (events & EPOLLOUT) {
        stream->writable = true;
        if (stream->opening && !stream->failed) {
            stream->opened_due = true;
            socket_stream_add_notice(transport, stream);
        }
        if (stream->stream.out.size > 0) {
            stream_mark_dirty(&stream->stream);
        }
    }
}

/* A watched descriptor only wakes. But a packet socket whose interface went down has an error on it
 * that would wake for ever, until it is asked for. */
static void take_error(int fd)
{
    int error;
    socklen_t size = sizeof(error);
    (void)getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size);
}

static void note_event(struct socket_transport *transport, const struct epoll_event *event)
{
    if ((event->data.u64 & WATCHED) != 0) {
        if ((event->events & EPOLLERR) != 0) {
            take_error((int)(event->data.u64 >> 1));
        }
        return;
    }
    struct socket_handle *handle = event->data.ptr;
    if (handle->kind == SOCKET_STREAM) {
        note_stream_event(transport, (struct socket_stream *)(void *)handle, event->events);
        return;
    }
    handle->readable = true;
    if (!((struct socket_listener *)(void *)handle)->accept_paused) {
        socket_handle_make_ready(transport, handle);
    }
}

/* Turns what the kernel reports into flags. Nothing is closed or freed in here. */
static void poll_kernel(struct socket_transport *transport, int timeout_ms)
{
    struct epoll_event events[EPOLL_BATCH];
    int count = epoll_wait(transport->epoll_fd, events, EPOLL_BATCH, timeout_ms);
    for (int i = 0; i < count; i++) {
        note_event(transport, &events[i]);
    }
}

int socket_wait_fd(const struct socket_transport *transport)
{
    return transport->epoll_fd;
}

int socket_watch(struct socket_transport *transport, int fd)
{
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = (uint64_t)fd << 1 | WATCHED};
    return epoll_ctl(transport->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
}

void socket_wait(struct socket_transport *transport, int timeout_ms)
{
    if (socket_has_pending_input(transport)) {
        timeout_ms = 0;
    } else if ((transport->accept_paused || transport->output_stuck) &&
               (timeout_ms < 0 || timeout_ms > WAIT_MS_WHEN_SHORT)) {
        timeout_ms = WAIT_MS_WHEN_SHORT;
    }
    poll_kernel(transport, timeout_ms);
}

bool socket_has_pending_input(const struct socket_transport *transport)
{
    return transport->ready_first != NULL || transport->notice_first != NULL ||
           transport->output_pending;
}

/* ---- one pass -------------------------------------------------------------------------------- */

/* Bytes may have come with the connection: they are read from now on. */
static void hand_out_opened(struct socket_transport *transport, struct socket_stream *stream,
                            struct socket_input *input)
{
    stream->opening = stream->opened_due = false;
    socket_input_add_event(input, stream, STREAM_OPENED, slice_of(NULL, 0));
    if (stream->handle.readable) {
        socket_handle_make_ready(transport, &stream->handle);
    }
}

static void hand_out_notices(struct socket_transport *transport, struct socket_input *input)
{
    while (transport->notice_first != NULL && socket_input_has_event_room(input)) {
        struct socket_stream *stream = transport->notice_first;
        transport->notice_first = stream->notice_next;
        if (transport->notice_first == NULL) {
            transport->notice_end = &transport->notice_first;
        }
        stream->noticed = false;
        if (stream->closed_due) {
            stream->closed_due = false;
            socket_input_add_event(input, stream, STREAM_CLOSED, slice_of(NULL, 0));
            report_closed(transport, stream);
        } else if (stream->opened_due) {
            hand_out_opened(transport, stream, input);
        } else if (stream->drained_due) {
            stream->drained_due = false;
            socket_input_add_event(input, stream, STREAM_DRAINED, slice_of(NULL, 0));
        }
    }
}

/* False when this pass has no room for it. */
static bool serve_ready(struct socket_transport *transport, struct socket_handle *handle,
                        const struct instant *now, struct socket_input *input)
{
    switch (handle->kind) {
    case SOCKET_LISTENER:
        if (!socket_input_has_event_room(input)) {
            return false;
        }
        socket_listener_accept(transport, (struct socket_listener *)(void *)handle, now, input);
        break;
    case SOCKET_DATAGRAM:
        if (input->datagram_count >= input->datagram_count_max) {
            return false;
        }
        socket_datagrams_receive(transport, (struct socket_listener *)(void *)handle, input);
        break;
    case SOCKET_STREAM:
        if (!socket_input_has_event_room(input) ||
            SOCKET_ARENA_BYTES - transport->arena_used < SOCKET_READ_BYTES_MIN) {
            return false;
        }
        socket_stream_read(transport, (struct socket_stream *)(void *)handle, input);
        break;
    }
    return true;
}

static bool wants_more(const struct socket_handle *handle)
{
    if (!handle->readable) {
        return false;
    }
    if (handle->kind == SOCKET_STREAM) {
        const struct socket_stream *stream = (const struct socket_stream *)(const void *)handle;
        return !socket_stream_ignores_input(stream) || stream->failed;
    }
    return !((const struct socket_listener *)(const void *)handle)->accept_paused;
}

/* Each ready handle once, in the order in which they became ready. Those for which there was no
 * room go first in the next pass: nobody starves. */
static void serve_all_ready(struct socket_transport *transport, const struct instant *now,
                            struct socket_input *input)
{
    struct socket_handle *unserved = NULL, **unserved_end = &unserved;
    uint32_t unserved_count = 0;
    for (uint32_t left = transport->ready_count; left > 0; left--) {
        struct socket_handle *handle = take_ready(transport);
        if (!wants_more(handle)) {
            continue;
        }
        if (!serve_ready(transport, handle, now, input)) {
            handle->queued = true;
            *unserved_end = handle;
            unserved_end = &handle->ready_next;
            unserved_count++;
        } else if (wants_more(handle)) {
            socket_handle_make_ready(transport, handle);
        }
    }
    if (unserved != NULL) {
        *unserved_end = transport->ready_first;
        if (transport->ready_first == NULL) {
            transport->ready_end = unserved_end;
        }
        transport->ready_first = unserved;
        transport->ready_count += unserved_count;
    }
}

void socket_input(struct socket_transport *transport, const struct instant *now,
                  struct socket_input *input)
{
    free_reported(transport);
    transport->arena_used = 0;
    if (transport->accept_paused && now->mono_us >= transport->accept_resume_us) {
        resume_accepting(transport);
    }
    hand_out_notices(transport, input);
    poll_kernel(transport, 0);
    serve_all_ready(transport, now, input);
}

void socket_output(struct socket_transport *transport, const struct instant *now)
{
    (void)now;
    struct stream *stream = transport->dirty.first;
    transport->dirty.first = NULL;
    transport->output_pending = transport->output_stuck = false;
    while (stream != NULL) {
        struct stream *next = stream->dirty_next;
        stream->dirty = false;
        struct socket_stream *owner = stream_of(stream);
        if (owner->state == STREAM_STATE_OPEN) {
            socket_stream_output(transport, owner);
        }
        stream = next;
    }
}
