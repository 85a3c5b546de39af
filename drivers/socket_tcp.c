/* Stream sockets: TCP and Unix. Listening, accepting, reading, writing, closing. */
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <unistd.h>

#include "dataplane/base/check.h"
#include "drivers/socket_internal.h"
#include "drivers/unix_socket.h"

#define VECTORS_MAX 64

/* ---- listening ------------------------------------------------------------------------------- */

/* Linux hands these down to the accepted sockets, so accepting needs no further calls. Probes as
 * Redis does it: three, a third of the idle time apart. */
static int set_stream_options(int fd, uint32_t keepalive_s)
{
    int on = 1;
    if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) < 0) {
        return -errno;
    }
    if (keepalive_s == 0) {
        return 0;
    }
    /* The kernel takes at most 32767 seconds. */
    int idle = keepalive_s > 32767 ? 32767 : (int)keepalive_s;
    int interval = idle / 3 > 0 ? idle / 3 : 1, count = 3;
    if (setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on)) < 0 ||
        setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle)) < 0 ||
        setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof(interval)) < 0 ||
        setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof(count)) < 0) {
        return -errno;
    }
    return 0;
}

/* NULL with errno. */
static struct socket_listener *start_listening(struct socket_transport *transport, int fd,
                                               uint32_t listener)
{
    uint32_t backlog = transport->options.backlog;
    if (listen(fd, backlog > INT32_MAX ? INT32_MAX : (int)backlog) < 0) {
        return NULL;
    }
    errno = ENOMEM;
    return socket_listener_create(transport, SOCKET_LISTENER, fd, listener);
}

int socket_listen(struct socket_transport *transport, struct endpoint *endpoint, uint32_t listener)
{
    int fd = socket_open_bound(endpoint, SOCK_STREAM, true);
    if (fd < 0) {
        return fd;
    }
    struct endpoint bound = {0};
    int result = set_stream_options(fd, transport->options.keepalive_s);
    if (result == 0) {
        result = socket_read_local(fd, &bound);
    }
    struct socket_listener *created = result < 0 ? NULL : start_listening(transport, fd, listener);
    if (created == NULL) {
        result = result < 0 ? result : -errno;
        close(fd);
        return result;
    }
    created->endpoint = *endpoint = bound;
    return 0;
}

/* ---- Unix sockets ---------------------------------------------------------------------------- */

/* The mode is set before listen(): nobody can connect while the file is more open than it should.
 */
static int bind_unix(int fd, const struct sockaddr_un *address, uint32_t mode)
{
    if (bind(fd, (const struct sockaddr *)address, sizeof(*address)) < 0) {
        return -errno;
    }
    if (mode != 0 && chmod(address->sun_path, (mode_t)(mode & 07777)) < 0) {
        int code = errno;
        unlink(address->sun_path);
        return -code;
    }
    return 0;
}

int socket_listen_unix(struct socket_transport *transport, const char *path, uint32_t mode,
                       uint32_t listener)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t size = strlen(path);
    if (size == 0 || size >= sizeof(address.sun_path)) {
        return -ENAMETOOLONG;
    }
    memcpy(address.sun_path, path, size);
    int result = unix_socket_remove_stale(path);
    if (result < 0) {
        return result;
    }
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return -errno;
    }
    result = bind_unix(fd, &address, mode);
    if (result < 0) {
        close(fd);
        return result;
    }
    struct socket_listener *created = start_listening(transport, fd, listener);
    if (created == NULL) {
        result = -errno;
        unlink(path);
        close(fd);
        return result;
    }
    struct stat status = {0};
    (void)lstat(path, &status);
    created->is_unix = true;
    created->device = status.st_dev;
    created->inode = status.st_ino;
    memcpy(created->path, address.sun_path, sizeof(created->path));
    return 0;
}

void socket_listener_remove_file(struct socket_listener *listener)
{
    struct stat status;
    if (lstat(listener->path, &status) == 0 && status.st_dev == listener->device &&
        status.st_ino == listener->inode) {
        (void)unlink(listener->path);
    }
}

/* ---- accepting ------------------------------------------------------------------------------- */

/* Out of descriptors or memory: the connections wait in the kernel's backlog. Edge-triggered epoll
 * does not report them again, so nothing spins. */
static void pause_accepting(struct socket_transport *transport, struct socket_listener *listener,
                            const struct instant *now)
{
    metric_add(transport->options.metrics, METRIC_SOCKET_ACCEPT_PAUSES, 1);
    listener->accept_paused = true;
    transport->accept_paused = true;
    transport->accept_resume_us = now->mono_us + SOCKET_ACCEPT_PAUSE_US;
}

/* What our own stack does before it answers a SYN; the kernel's has answered it already. */
static bool may_enter(const struct socket_transport *transport,
                      const struct socket_listener *listener, const struct sockaddr_storage *peer,
                      const struct instant *now)
{
    struct endpoint source;
    if (listener->is_unix) {
        return true;
    }
    socket_address_to_endpoint(peer, &source);
    struct access *access = transport->options.access;
    enum metric reason =
        access_check_rules(access, &source.address, listener->endpoint.port, IPPROTO_TCP);
    if (reason == METRIC_COUNT) {
        reason = access_enter(access, &source.address, now->mono_us);
    }
    if (reason != METRIC_COUNT) {
        metric_add(transport->options.metrics, reason, 1);
    }
    return reason == METRIC_COUNT;
}

static void leave_again(const struct socket_transport *transport,
                        const struct socket_listener *listener, const struct sockaddr_storage *peer)
{
    struct endpoint source;
    if (!listener->is_unix) {
        socket_address_to_endpoint(peer, &source);
        access_leave(transport->options.access, &source.address);
    }
}

static bool open_stream(struct socket_transport *transport, const struct socket_listener *listener,
                        int fd, const struct sockaddr_storage *peer, struct socket_input *input)
{
    struct socket_stream *stream = socket_stream_acquire(transport);
    if (stream == NULL) {
        leave_again(transport, listener, peer);
        close(fd);
        return false;
    }
    stream->handle.fd = stream->stream.socket_fd = fd;
    stream->stream.listener = listener->listener;
    if (!listener->is_unix) {
        stream->entered = true;
        socket_address_to_endpoint(peer, &stream->stream.peer);
        stream->stream.local = listener->endpoint;
        if (socket_address_is_any(&listener->endpoint.address)) {
            (void)socket_read_local(fd, &stream->stream.local);
        }
    }
    socket_input_add_event(input, stream, STREAM_OPENED, slice_of(NULL, 0));
    if (socket_handle_register(transport, &stream->handle,
                               EPOLLIN | EPOLLPRI | EPOLLOUT | EPOLLRDHUP) < 0) {
        socket_stream_close(transport, stream, true); /* opened, and closed in the next pass */
    }
    return true;
}

static bool hands_out(const struct socket_transport *transport,
                      const struct socket_listener *listener)
{
    return listener->is_unix && transport->options.hands_out_unix;
}

static bool has_room(const struct socket_transport *transport,
                     const struct socket_listener *listener, const struct socket_input *input)
{
    return hands_out(transport, listener) ? input->accepted_count < input->accepted_count_max
                                          : socket_input_has_event_room(input);
}

struct stream *socket_adopt(struct socket_transport *transport, int fd, uint32_t listener)
{
    struct socket_stream *stream = socket_stream_acquire(transport);
    if (stream == NULL) {
        close(fd);
        return NULL;
    }
    stream->handle.fd = stream->stream.socket_fd = fd;
    stream->stream.listener = listener;
    if (socket_handle_register(transport, &stream->handle,
                               EPOLLIN | EPOLLPRI | EPOLLOUT | EPOLLRDHUP) < 0) {
        socket_stream_close(transport, stream, true); /* closed in the next pass */
    }
    return &stream->stream;
}

void socket_listener_accept(struct socket_transport *transport, struct socket_listener *listener,
                            const struct instant *now, struct socket_input *input)
{
    for (uint32_t i = 0; i < SOCKET_ACCEPT_BURST && has_room(transport, listener, input); i++) {
        struct sockaddr_storage peer = {0};
        socklen_t size = sizeof(peer);
        int fd = accept4(listener->handle.fd, (struct sockaddr *)&peer, &size,
                         SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0 && hands_out(transport, listener)) {
            input->accepted[input->accepted_count++] =
                (struct socket_accepted){fd, listener->listener};
            continue;
        }
        if (fd >= 0 && !may_enter(transport, listener, &peer, now)) {
            close(fd);
            continue;
        }
        if (fd >= 0) {
            if (!open_stream(transport, listener, fd, &peer, input)) {
                pause_accepting(transport, listener, now);
                return;
            }
            continue;
        }
        if (errno == EAGAIN) {
            listener->handle.readable = false;
            return;
        }
        if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
            pause_accepting(transport, listener, now);
            return;
        }
        /* ECONNABORTED and the network errors of accept(2) belong to one connection: the next one.
         */
    }
}

/* ---- connecting ------------------------------------------------------------------------------ */

static int start_connecting(const struct endpoint *peer, uint32_t keepalive_s)
{
    struct sockaddr_storage address;
    socklen_t size = socket_address_from_endpoint(peer, &address);
    int fd = socket(address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return -errno;
    }
    int result = set_stream_options(fd, keepalive_s);
    if (result == 0 && connect(fd, (const struct sockaddr *)&address, size) < 0 &&
        errno != EINPROGRESS) {
        result = -errno;
    }
    if (result < 0) {
        close(fd);
        return result;
    }
    return fd;
}

/* How it went shows in epoll: writable, or an error that the first read closes the stream for. */
struct stream *socket_connect(struct socket_transport *transport, const struct endpoint *peer)
{
    struct socket_stream *stream = socket_stream_acquire(transport);
    if (stream == NULL) {
        errno = ENOMEM;
        return NULL;
    }
    int fd = start_connecting(peer, transport->options.keepalive_s);
    stream->handle.fd = stream->stream.socket_fd = fd;
    stream->stream.peer = *peer;
    stream->opening = true;
    stream->writable = false;
    int result = fd < 0 ? fd : socket_read_local(fd, &stream->stream.local);
    if (result == 0) {
        result =
            socket_handle_register(transport, &stream->handle, EPOLLIN | EPOLLOUT | EPOLLRDHUP);
    }
    if (result < 0) {
        if (fd >= 0) {
            close(fd);
        }
        socket_stream_abandon(transport, stream);
        errno = -result;
        return NULL;
    }
    return &stream->stream;
}

/* ---- reading --------------------------------------------------------------------------------- */

static bool is_transient(int code)
{
    return code == EAGAIN || code == EINTR;
}

static void take_received(struct socket_transport *transport, struct socket_stream *stream,
                          struct socket_input *input, size_t size, size_t room)
{
    const uint8_t *data = transport->arena + transport->arena_used;
    socket_input_add_event(input, stream, STREAM_DATA, slice_of(data, size));
    transport->arena_used += (size + 63) & ~(size_t)63;
    /* Less than asked for: the kernel's queue was empty, and what comes later is a new edge. But an
     * end that was reported before it shows only in the read after the last byte, and TCP's urgent
     * data cuts a read short in the middle of the queue. */
    if (size < room && !stream->peer_done && !stream->failed && !stream->urgent) {
        stream->handle.readable = false;
    }
}

void socket_stream_read(struct socket_transport *transport, struct socket_stream *stream,
                        struct socket_input *input)
{
    if (stream->failed && (socket_stream_ignores_input(stream) || stream->finished)) {
        /* Reset while the session takes nothing: the rest would go nowhere. */
        socket_stream_close(transport, stream, true);
        return;
    }
    size_t room = SOCKET_ARENA_BYTES - transport->arena_used;
    room = room < SOCKET_READ_BYTES_MAX ? room : SOCKET_READ_BYTES_MAX;
    ssize_t size = recv(stream->handle.fd, transport->arena + transport->arena_used, room, 0);
    if (size > 0) {
        take_received(transport, stream, input, (size_t)size, room);
    } else if (size == 0) {
        stream->handle.readable = false;
        stream->finished = true;
        socket_input_add_event(input, stream, STREAM_FINISHED, slice_of(NULL, 0));
    } else if (is_transient(errno)) {
        stream->handle.readable = errno == EINTR;
        stream->failed = false;
    } else {
        socket_stream_close(transport, stream, true);
    }
}

/* ---- writing --------------------------------------------------------------------------------- */

enum write_result {
    WRITE_DONE,
    WRITE_FULL,      /* EPOLLOUT will come */
    WRITE_TURN_OVER, /* more in the next pass: the others' turn */
    WRITE_NO_MEMORY, /* the kernel's; no event will come */
    WRITE_FAILED,
};

/* Most replies are one piece: for them send() spares the kernel the look at two structures. */
static ssize_t send_vectors(int fd, struct iovec *vectors, size_t count)
{
    if (LIKELY(count == 1)) {
        return send(fd, vectors[0].iov_base, vectors[0].iov_len, MSG_NOSIGNAL | MSG_DONTWAIT);
    }
    struct msghdr message = {.msg_iov = vectors, .msg_iovlen = count};
    return sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static enum write_result write_out(struct socket_transport *transport, struct socket_stream *stream)
{
    struct stream *face = &stream->stream;
    size_t budget = SOCKET_WRITE_BYTES_MAX;
    while (face->out.size > 0) {
        struct iovec vectors[VECTORS_MAX];
        size_t count = byte_queue_vectors(&face->out, vectors, VECTORS_MAX);
        ssize_t size = send_vectors(stream->handle.fd, vectors, count);
        if (size < 0) {
            if (errno == EINTR) {
                continue;
            }
            if (errno == ENOBUFS || errno == ENOMEM) {
                return WRITE_NO_MEMORY;
            }
            return errno == EAGAIN ? WRITE_FULL : WRITE_FAILED;
        }
        byte_queue_consume(&face->out, transport->options.pool, (size_t)size);
        if ((size_t)size >= budget) {
            return face->out.size > 0 ? WRITE_TURN_OVER : WRITE_DONE;
        }
        budget -= (size_t)size;
    }
    return WRITE_DONE;
}

static void note_drained(struct socket_transport *transport, struct socket_stream *stream)
{
    struct stream *face = &stream->stream;
    if (face->drain_below != 0 && face->out.size <= face->drain_below) {
        face->drain_below = 0;
        stream->drained_due = true;
        socket_stream_add_notice(transport, stream);
    }
}

void socket_stream_output(struct socket_transport *transport, struct socket_stream *stream)
{
    struct stream *face = &stream->stream;
    if (face->abort_requested) {
        socket_stream_close(transport, stream, true);
        return;
    }
    if (face->out.size > 0 && stream->writable) {
        enum write_result result = write_out(transport, stream);
        if (result == WRITE_FAILED) {
            socket_stream_close(transport, stream, true);
            return;
        }
        stream->writable = result != WRITE_FULL;
        if (result == WRITE_TURN_OVER || result == WRITE_NO_MEMORY) {
            stream_mark_dirty(face);
            transport->output_pending |= result == WRITE_TURN_OVER;
            transport->output_stuck |= result == WRITE_NO_MEMORY;
        }
    }
    if (face->close_requested && face->out.size == 0) {
        socket_stream_close(transport, stream, false);
        return;
    }
    note_drained(transport, stream);
    if (stream->handle.readable && !socket_stream_ignores_input(stream)) {
        socket_handle_make_ready(transport, &stream->handle);
    }
}
