/* The socket transport against real sockets on the loopback, in one process: the test plays the
 * session layer on one side and a plain client on the other. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "drivers/socket_transport.h"

#define EVENTS    64
#define DATAGRAMS 16
#define CLIENTS   300

/* One server with what its session layer saw. */
struct bench {
    struct byte_pool pool;
    struct metrics metrics;
    struct socket_transport *transport;
    struct endpoint endpoint;
    struct stream_event events[EVENTS];
    struct socket_datagram datagrams[DATAGRAMS];
    struct socket_input input;
    struct instant now;
    uint32_t opened, finished, drained, closed;
    uint64_t received;
    struct stream *last;
    bool echo, close_on_finish;
};

static struct endpoint loopback(uint16_t port)
{
    return (struct endpoint){.address = address_from_ipv4(INADDR_LOOPBACK), .port = port};
}

static int setup(void **state)
{
    struct bench *bench = calloc(1, sizeof(*bench));
    byte_pool_init(&bench->pool, 64);
    struct socket_options options = {
        .pool = &bench->pool, .metrics = &bench->metrics, .backlog = 511, .keepalive_s = 300};
    bench->transport = socket_transport_create(&options);
    assert_non_null(bench->transport);
    bench->endpoint = loopback(0);
    assert_int_equal(socket_listen(bench->transport, &bench->endpoint, 3), 0);
    assert_int_not_equal(bench->endpoint.port, 0);
    bench->echo = bench->close_on_finish = true;
    clock_read(&bench->now);
    *state = bench;
    return 0;
}

static int teardown(void **state)
{
    struct bench *bench = *state;
    socket_transport_close_all(bench->transport);
    socket_transport_destroy(bench->transport);
    byte_pool_deinit(&bench->pool); /* aborts if a page leaked */
    free(bench);
    return 0;
}

static void handle_data(struct bench *bench, struct stream *stream, struct slice data)
{
    bench->received += data.size;
    if (bench->echo) {
        byte_queue_append(&stream->out, &bench->pool, data.data, data.size);
        stream_mark_dirty(stream);
    }
}

/* A paused stream whose peer went properly stays until somebody reads: the session's business. */
static void resume_last(struct bench *bench)
{
    if (bench->last != NULL && bench->last->input_paused) {
        bench->last->input_paused = false;
        stream_mark_dirty(bench->last);
    }
}

static void handle_event(struct bench *bench, const struct stream_event *event)
{
    struct stream *stream = event->stream;
    switch (event->type) {
    case STREAM_OPENED:
        bench->opened++;
        resume_last(bench);
        bench->last = stream;
        assert_int_equal(stream->listener, 3);
        stream->session = bench;
        break;
    case STREAM_DATA:
        assert_ptr_equal(stream->session, bench);
        assert_true(event->data.size > 0);
        handle_data(bench, stream, event->data);
        break;
    case STREAM_FINISHED:
        bench->finished++;
        if (bench->close_on_finish) {
            stream->close_requested = true;
            stream_mark_dirty(stream);
        }
        break;
    case STREAM_DRAINED:
        bench->drained++;
        assert_int_equal(stream->drain_below, 0);
        break;
    case STREAM_CLOSED:
        assert_ptr_equal(stream->session, bench);
        stream->session = NULL; /* a second STREAM_CLOSED would fail the check above */
        bench->closed++;
        if (bench->last == stream) {
            bench->last = NULL;
        }
        break;
    }
}

static void input_pass(struct bench *bench, uint32_t event_room)
{
    clock_read(&bench->now);
    bench->input = (struct socket_input){.events = bench->events,
                                         .event_count_max = event_room,
                                         .datagrams = bench->datagrams,
                                         .datagram_count_max = DATAGRAMS};
    socket_input(bench->transport, &bench->now, &bench->input);
    assert_true(bench->input.event_count <= event_room);
    for (uint32_t i = 0; i < bench->input.event_count; i++) {
        handle_event(bench, &bench->events[i]);
    }
}

static void pass(struct bench *bench)
{
    input_pass(bench, EVENTS);
    socket_output(bench->transport, &bench->now);
}

/* Passes until the kernel has nothing more for us for a while. */
static void settle(struct bench *bench)
{
    uint32_t quiet = 0;
    while (quiet < 3) {
        pass(bench);
        bool idle = bench->input.event_count == 0 && bench->input.datagram_count == 0 &&
                    !socket_has_pending_input(bench->transport);
        quiet = idle ? quiet + 1 : 0;
        if (idle) {
            socket_wait(bench->transport, 5);
        }
    }
}

static int connect_client(const struct endpoint *endpoint)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in in = {.sin_family = AF_INET,
                             .sin_port = htons(endpoint->port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&in, sizeof(in)), 0);
    return fd;
}

static int client_error(int fd)
{
    uint8_t byte;
    ssize_t size = recv(fd, &byte, 1, MSG_DONTWAIT);
    return size < 0 ? errno : (int)size; /* 0: end of stream */
}

/* ---- streams --------------------------------------------------------------------------------- */

static void test_echo_and_half_close(void **state)
{
    struct bench *bench = *state;
    int fd = connect_client(&bench->endpoint);
    assert_int_equal(send(fd, "hello", 5, 0), 5);
    shutdown(fd, SHUT_WR); /* data and end arrive together */
    settle(bench);
    char text[8] = "";
    assert_int_equal(recv(fd, text, sizeof(text), 0), 5);
    assert_memory_equal(text, "hello", 5);
    assert_int_equal(client_error(fd), 0);
    assert_int_equal(bench->opened, 1);
    assert_int_equal(bench->finished, 1);
    assert_int_equal(bench->closed, 1);
    close(fd);
}

static void test_endpoints_and_options(void **state)
{
    struct bench *bench = *state;
    int fd = connect_client(&bench->endpoint);
    settle(bench);
    struct sockaddr_in in;
    socklen_t size = sizeof(in);
    getsockname(fd, (struct sockaddr *)&in, &size);
    assert_non_null(bench->last);
    assert_int_equal(bench->last->peer.port, ntohs(in.sin_port));
    assert_int_equal(address_to_ipv4(&bench->last->peer.address), INADDR_LOOPBACK);
    assert_int_equal(bench->last->local.port, bench->endpoint.port);
    int value = 0;
    size = sizeof(value);
    getsockopt(bench->last->socket_fd, IPPROTO_TCP, TCP_NODELAY, &value, &size);
    assert_int_equal(value, 1);
    getsockopt(bench->last->socket_fd, SOL_SOCKET, SO_KEEPALIVE, &value, &size);
    assert_int_equal(value, 1);
    getsockopt(bench->last->socket_fd, IPPROTO_TCP, TCP_KEEPIDLE, &value, &size);
    assert_int_equal(value, 300);
    getsockopt(bench->last->socket_fd, IPPROTO_TCP, TCP_KEEPINTVL, &value, &size);
    assert_int_equal(value, 100);
    assert_true(fcntl(bench->last->socket_fd, F_GETFL) & O_NONBLOCK);
    assert_true(fcntl(bench->last->socket_fd, F_GETFD) & FD_CLOEXEC);
    close(fd);
}

static void test_half_close_keeps_sending(void **state)
{
    struct bench *bench = *state;
    bench->close_on_finish = false;
    int fd = connect_client(&bench->endpoint);
    shutdown(fd, SHUT_WR);
    settle(bench);
    assert_int_equal(bench->finished, 1);
    assert_int_equal(bench->closed, 0);
    byte_queue_append(&bench->last->out, &bench->pool, "late", 4);
    bench->last->close_requested = true;
    stream_mark_dirty(bench->last);
    settle(bench);
    char text[8];
    assert_int_equal(recv(fd, text, sizeof(text), MSG_WAITALL), 4);
    assert_int_equal(bench->finished, 1);
    assert_int_equal(bench->closed, 1);
    close(fd);
}

static void test_abort_resets(void **state)
{
    struct bench *bench = *state;
    int fd = connect_client(&bench->endpoint);
    settle(bench);
    byte_queue_append(&bench->last->out, &bench->pool, "never sent", 10);
    bench->last->abort_requested = true;
    stream_mark_dirty(bench->last);
    settle(bench);
    assert_int_equal(client_error(fd), ECONNRESET);
    assert_int_equal(bench->closed, 1);
    assert_int_equal(bench->pool.used_count, 0);
    close(fd);
}

static void reset_client(int fd)
{
    struct linger linger = {.l_onoff = 1};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
    close(fd);
}

static void test_peer_reset(void **state)
{
    struct bench *bench = *state;
    int fd = connect_client(&bench->endpoint);
    settle(bench);
    reset_client(fd);
    settle(bench);
    assert_int_equal(bench->closed, 1);
    assert_int_equal(bench->finished, 0);
}

static void test_peer_reset_while_paused(void **state)
{
    struct bench *bench = *state;
    int fd = connect_client(&bench->endpoint);
    settle(bench);
    bench->last->input_paused = true;
    stream_mark_dirty(bench->last);
    assert_int_equal(send(fd, "unread", 6, 0), 6);
    settle(bench);
    reset_client(fd);
    settle(bench);
    assert_int_equal(bench->closed, 1);
    assert_int_equal(bench->received, 0);
}

/* Reset after the peer's end was seen and while we still hold the connection. */
static void test_peer_reset_after_finish(void **state)
{
    struct bench *bench = *state;
    bench->close_on_finish = false;
    int fd = connect_client(&bench->endpoint);
    shutdown(fd, SHUT_WR);
    settle(bench);
    assert_int_equal(bench->finished, 1);
    assert_int_equal(bench->closed, 0);
    reset_client(fd);
    settle(bench);
    assert_int_equal(bench->closed, 1);
}

static void test_paused_input(void **state)
{
    struct bench *bench = *state;
    int fd = connect_client(&bench->endpoint);
    settle(bench);
    struct stream *stream = bench->last;
    stream->input_paused = true;
    stream_mark_dirty(stream);
    assert_int_equal(send(fd, "wait", 4, 0), 4);
    settle(bench);
    assert_int_equal(bench->received, 0);
    assert_false(socket_has_pending_input(bench->transport)); /* a paused stream must not spin */
    stream->input_paused = false;
    stream_mark_dirty(stream);
    settle(bench);
    assert_int_equal(bench->received, 4);
    char text[4];
    assert_int_equal(recv(fd, text, 4, MSG_WAITALL), 4);
    close(fd);
}

/* The end of the stream comes while it is paused: it shows after the data, not instead of it. */
static void test_finish_while_paused(void **state)
{
    struct bench *bench = *state;
    int fd = connect_client(&bench->endpoint);
    settle(bench);
    struct stream *stream = bench->last;
    stream->input_paused = true;
    stream_mark_dirty(stream);
    assert_int_equal(send(fd, "wait", 4, 0), 4);
    shutdown(fd, SHUT_WR);
    settle(bench);
    assert_int_equal(bench->finished, 0);
    stream->input_paused = false;
    stream_mark_dirty(stream);
    settle(bench);
    assert_int_equal(bench->received, 4);
    assert_int_equal(bench->finished, 1);
    assert_int_equal(bench->closed, 1);
    close(fd);
}

/* An error reply reaches a client that has sent more than we read. */
static void test_close_with_unread_input(void **state)
{
    struct bench *bench = *state;
    bench->echo = false;
    int fd = connect_client(&bench->endpoint);
    settle(bench);
    struct stream *stream = bench->last;
    static char junk[200000];
    assert_int_equal(send(fd, junk, sizeof(junk), 0), sizeof(junk));
    byte_queue_append(&stream->out, &bench->pool, "-ERR\r\n", 6);
    stream->close_requested = true;
    stream_mark_dirty(stream);
    settle(bench);
    char text[16];
    assert_int_equal(recv(fd, text, sizeof(text), 0), 6);
    assert_int_equal(client_error(fd), 0);
    assert_int_equal(bench->received, 0);
    assert_int_equal(bench->closed, 1);
    close(fd);
}

static void fill_pattern(uint8_t *bytes, size_t size, uint64_t offset)
{
    for (size_t i = 0; i < size; i++) {
        bytes[i] = (uint8_t)((offset + i) * 2654435761U >> 13);
    }
}

static void queue_pattern(struct bench *bench, struct stream *stream, uint64_t size)
{
    static uint8_t bytes[1 << 16];
    for (uint64_t offset = 0; offset < size; offset += sizeof(bytes)) {
        uint64_t part = size - offset < sizeof(bytes) ? size - offset : sizeof(bytes);
        fill_pattern(bytes, part, offset);
        byte_queue_append(&stream->out, &bench->pool, bytes, part);
    }
}

static uint64_t read_pattern(int fd, uint64_t offset)
{
    static uint8_t bytes[1 << 16], expected[1 << 16];
    ssize_t size = recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT);
    if (size <= 0) {
        return 0;
    }
    fill_pattern(expected, (size_t)size, offset);
    assert_memory_equal(bytes, expected, (size_t)size);
    return (uint64_t)size;
}

/* 50 MB to a reader slower than we are: every byte, in order, and one STREAM_DRAINED. */
static void test_large_output_drains(void **state)
{
    struct bench *bench = *state;
    const uint64_t total = 50000000;
    int fd = connect_client(&bench->endpoint);
    settle(bench);
    struct stream *stream = bench->last;
    queue_pattern(bench, stream, total);
    stream->drain_below = 1000000;
    stream_mark_dirty(stream);
    uint64_t got = 0;
    bool drained_early = false;
    while (got < total) {
        pass(bench);
        drained_early = drained_early || (bench->drained > 0 && stream->out.size > 1000000);
        got += read_pattern(fd, got);
        if (!socket_has_pending_input(bench->transport)) {
            socket_wait(bench->transport, 0);
        }
    }
    pass(bench);
    assert_int_equal(got, total);
    assert_false(drained_early);
    assert_int_equal(bench->drained, 1);
    assert_int_equal(stream->out.size, 0);
    assert_int_equal(bench->pool.used_count, 0);
    close(fd);
}

/* Sleeping by socket_wait alone must be enough to make progress: no lost edges. */
static void test_wakes_for_output(void **state)
{
    struct bench *bench = *state;
    const uint64_t total = 5000000;
    int fd = connect_client(&bench->endpoint);
    settle(bench);
    queue_pattern(bench, bench->last, total);
    stream_mark_dirty(bench->last);
    uint64_t got = 0, passes = 0;
    while (got < total) {
        pass(bench);
        while (true) {
            uint64_t part = read_pattern(fd, got);
            if (part == 0) {
                break;
            }
            got += part;
        }
        socket_wait(bench->transport, got < total ? 2000 : 0);
        assert_true(++passes < 100000);
    }
    close(fd);
}

static void test_large_input(void **state)
{
    struct bench *bench = *state;
    bench->echo = false;
    const uint64_t total = 20000000;
    int fd = connect_client(&bench->endpoint);
    static uint8_t bytes[1 << 16];
    uint64_t sent = 0;
    while (bench->received < total) {
        uint64_t part = total - sent < sizeof(bytes) ? total - sent : sizeof(bytes);
        ssize_t size = part > 0 ? send(fd, bytes, part, MSG_DONTWAIT) : 0;
        sent += size > 0 ? (uint64_t)size : 0;
        pass(bench);
        for (uint32_t i = 0; i < bench->input.event_count; i++) {
            assert_true(bench->events[i].data.size <= 65536);
        }
    }
    assert_int_equal(bench->received, total);
    close(fd);
}

/* A read stops at TCP's urgent mark: what is behind it must not wait for another edge. The urgent
 * byte itself is not part of the stream. */
static void test_input_behind_urgent_data(void **state)
{
    struct bench *bench = *state;
    int fd = connect_client(&bench->endpoint);
    settle(bench);
    assert_int_equal(send(fd, "before", 6, 0), 6);
    assert_int_equal(send(fd, "!", 1, MSG_OOB), 1);
    assert_int_equal(send(fd, "behind", 6, 0), 6);
    settle(bench);
    assert_int_equal(bench->received, 12);
    char text[16] = "";
    assert_int_equal(recv(fd, text, sizeof(text), MSG_DONTWAIT), 12);
    assert_string_equal(text, "beforebehind");
    close(fd);
}

/* Small event arrays: nothing lost, nobody starved. */
static void test_many_connections(void **state)
{
    struct bench *bench = *state;
    int fds[CLIENTS];
    for (int i = 0; i < CLIENTS; i++) {
        fds[i] = connect_client(&bench->endpoint);
        assert_int_equal(send(fds[i], &i, sizeof(i), 0), sizeof(i));
        pass(bench);
    }
    for (int round = 0; round < 400; round++) {
        input_pass(bench, 3);
        socket_output(bench->transport, &bench->now);
    }
    assert_int_equal(bench->opened, CLIENTS);
    assert_int_equal(bench->received, CLIENTS * sizeof(int));
    for (int i = 0; i < CLIENTS; i++) {
        int value = -1;
        assert_int_equal(recv(fds[i], &value, sizeof(value), MSG_DONTWAIT), sizeof(value));
        assert_int_equal(value, i);
        close(fds[i]);
    }
    settle(bench);
    assert_int_equal(bench->closed, CLIENTS);
}

/* Two flooders and event room for one: the third gets its turn. */
static void test_fairness(void **state)
{
    struct bench *bench = *state;
    bench->echo = false;
    static uint8_t junk[400000];
    int a = connect_client(&bench->endpoint), b = connect_client(&bench->endpoint);
    int c = connect_client(&bench->endpoint);
    settle(bench);
    struct stream *quiet = bench->last;
    assert_true(send(a, junk, sizeof(junk), MSG_DONTWAIT) > 200000);
    assert_true(send(b, junk, sizeof(junk), MSG_DONTWAIT) > 200000);
    assert_int_equal(send(c, "x", 1, 0), 1);
    usleep(1000);
    bool served = false;
    for (int i = 0; i < 3; i++) {
        input_pass(bench, 1);
        served = served || (bench->input.event_count == 1 && bench->events[0].stream == quiet);
    }
    assert_true(served);
    close(a);
    close(b);
    close(c);
}

static void test_out_of_descriptors(void **state)
{
    struct bench *bench = *state;
    int a = connect_client(&bench->endpoint);
    settle(bench);
    struct stream *first = bench->last;
    int spare = dup(a); /* the lowest free descriptor after it is the limit */
    int b = connect_client(&bench->endpoint);
    struct rlimit before, limit;
    getrlimit(RLIMIT_NOFILE, &before);
    limit = before;
    limit.rlim_cur = (rlim_t)b + 1;
    setrlimit(RLIMIT_NOFILE, &limit);
    close(spare);
    int hole = dup(a); /* fill the hole: nothing is left */
    pass(bench);
    pass(bench);
    setrlimit(RLIMIT_NOFILE, &before);
    assert_int_equal(bench->opened, 1);
    assert_int_equal(metric_read(&bench->metrics, METRIC_SOCKET_ACCEPT_PAUSES), 1);
    assert_false(socket_has_pending_input(bench->transport)); /* no spinning */
    /* Closing a stream gives a descriptor back: accepting goes on at once. */
    first->close_requested = true;
    stream_mark_dirty(first);
    pass(bench);
    assert_true(socket_has_pending_input(bench->transport));
    settle(bench);
    assert_int_equal(bench->opened, 2);
    close(hole);
    close(a);
    close(b);
}

static void test_accept_resumes_by_time(void **state)
{
    struct bench *bench = *state;
    int a = connect_client(&bench->endpoint);
    struct rlimit before, limit;
    getrlimit(RLIMIT_NOFILE, &before);
    limit = before;
    limit.rlim_cur = 3;
    setrlimit(RLIMIT_NOFILE, &limit);
    pass(bench);
    setrlimit(RLIMIT_NOFILE, &before);
    assert_int_equal(bench->opened, 0);
    struct instant start = bench->now;
    while (bench->opened == 0 && bench->now.mono_us - start.mono_us < 2000000) {
        socket_wait(bench->transport, 5000); /* must not sleep as long as that */
        pass(bench);
    }
    assert_int_equal(bench->opened, 1);
    assert_true(bench->now.mono_us - start.mono_us >= 100000);
    assert_true(bench->now.mono_us - start.mono_us < 1000000);
    close(a);
}

/* A connection that came, spoke and died between two passes, over and over: descriptor numbers and
 * streams are used again at once. */
static void test_reuse(void **state)
{
    struct bench *bench = *state;
    for (int i = 0; i < 200; i++) {
        int fd = connect_client(&bench->endpoint);
        assert_int_equal(send(fd, "x", 1, 0), 1);
        if (i % 2 == 0) {
            reset_client(fd);
        } else {
            close(fd);
        }
        pass(bench);
    }
    settle(bench);
    assert_int_equal(bench->opened, bench->closed);
}

/* A session may mark a stream dirty in the very pass in which it is told of the close. */
static void test_dirty_when_closed(void **state)
{
    struct bench *bench = *state;
    int fd = connect_client(&bench->endpoint);
    settle(bench);
    struct stream *stream = bench->last;
    reset_client(fd);
    usleep(1000);
    stream_mark_dirty(stream);
    input_pass(bench, EVENTS);
    input_pass(bench, EVENTS);
    input_pass(bench, EVENTS);
    assert_int_equal(bench->closed, 1);
    fd = connect_client(&bench->endpoint);
    settle(bench);
    assert_int_equal(bench->opened, 2);
    close(fd);
}

/* A thousand random acts of clients and session over small event arrays; afterwards every
 * connection that was opened has been closed once, and no page is left. The seed is fixed: it
 * replays. */
static void act_as_client(struct bench *bench, unsigned *seed, int *fd)
{
    static const char text[5000];
    if (*fd < 0) {
        *fd = connect_client(&bench->endpoint);
        return;
    }
    switch (rand_r(seed) % 6) {
    case 0: close(*fd), *fd = -1; break;
    case 1: reset_client(*fd), *fd = -1; break;
    case 2: shutdown(*fd, SHUT_WR); break;
    default:
        (void)send(*fd, text, (size_t)(rand_r(seed) % 5000), MSG_DONTWAIT | MSG_NOSIGNAL);
        break;
    }
}

static void act_as_session(struct bench *bench, unsigned *seed)
{
    struct stream *stream = bench->last;
    if (stream == NULL) {
        return;
    }
    switch (rand_r(seed) % 8) {
    case 0: stream->abort_requested = true; break;
    case 1: stream->close_requested = true; break;
    case 2: stream->input_paused = !stream->input_paused; break;
    case 3: stream->drain_below = 100; break;
    default: break;
    }
    stream_mark_dirty(stream);
}

static void test_random_acts(void **state)
{
    struct bench *bench = *state;
    unsigned seed = 20240117;
    int fds[20];
    memset(fds, 0xff, sizeof(fds));
    for (int round = 0; round < 1000; round++) {
        act_as_client(bench, &seed, &fds[rand_r(&seed) % 20]);
        input_pass(bench, (uint32_t)(rand_r(&seed) % 5));
        act_as_session(bench, &seed);
        if (rand_r(&seed) % 3 != 0) {
            socket_output(bench->transport, &bench->now);
        }
    }
    for (int i = 0; i < 20; i++) {
        if (fds[i] >= 0) {
            reset_client(fds[i]);
        }
    }
    resume_last(bench);
    settle(bench);
    assert_true(bench->opened > 50);
    assert_int_equal(bench->opened, bench->closed);
    assert_int_equal(bench->pool.used_count, 0);
}

static void test_close_all_is_silent(void **state)
{
    struct bench *bench = *state;
    int a = connect_client(&bench->endpoint), b = connect_client(&bench->endpoint);
    settle(bench);
    byte_queue_append(&bench->last->out, &bench->pool, "x", 1);
    stream_mark_dirty(bench->last);
    socket_transport_close_all(bench->transport);
    settle(bench);
    assert_int_equal(bench->closed, 0);
    assert_int_equal(bench->pool.used_count, 0);
    int codes[2] = {client_error(a), client_error(b)};
    assert_true((codes[0] == 0 && codes[1] == ECONNRESET) ||
                (codes[1] == 0 && codes[0] == ECONNRESET));
    close(a);
    close(b);
}

/* ---- listening ------------------------------------------------------------------------------- */

static void test_two_workers_share_a_port(void **state)
{
    struct bench *bench = *state;
    struct socket_options options = {
        .pool = &bench->pool, .metrics = &bench->metrics, .backlog = 511};
    struct socket_transport *other = socket_transport_create(&options);
    struct endpoint endpoint = bench->endpoint;
    assert_int_equal(socket_probe_endpoint(&endpoint), -EADDRINUSE);
    assert_int_equal(socket_listen(other, &endpoint, 0), 0);
    assert_int_equal(endpoint.port, bench->endpoint.port);
    socket_transport_destroy(other);
    struct endpoint free_one = loopback(0);
    other = socket_transport_create(&options);
    assert_int_equal(socket_listen(other, &free_one, 0), 0);
    socket_transport_destroy(other);
    assert_int_equal(socket_probe_endpoint(&free_one), 0);
}

static void test_ipv6(void **state)
{
    struct bench *bench = *state;
    struct endpoint endpoint = {0};
    assert_true(address_parse(SLICE_LITERAL("::1"), &endpoint.address));
    int result = socket_listen(bench->transport, &endpoint, 3);
    if (result == -EADDRNOTAVAIL || result == -EAFNOSUPPORT) {
        skip(); /* no IPv6 here */
    }
    assert_int_equal(result, 0);
    int fd = socket(AF_INET6, SOCK_STREAM, 0);
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons(endpoint.port)};
    in6.sin6_addr = in6addr_loopback;
    assert_int_equal(connect(fd, (struct sockaddr *)&in6, sizeof(in6)), 0);
    assert_int_equal(send(fd, "six", 3, 0), 3);
    settle(bench);
    char text[4];
    assert_int_equal(recv(fd, text, 4, 0), 3);
    char peer[ENDPOINT_TEXT_BYTES_MAX];
    endpoint_format(&bench->last->peer, peer);
    assert_memory_equal(peer, "[::1]:", 6);
    close(fd);
}

static void make_unix_path(char *path, size_t size)
{
    snprintf(path, size, "/tmp/nicached-test-%d.sock", (int)getpid());
    unlink(path);
}

static int connect_unix(const char *path)
{
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
        close(fd);
        return -1;
    }
    return fd;
}

static void test_unix(void **state)
{
    struct bench *bench = *state;
    char path[64];
    make_unix_path(path, sizeof(path));
    assert_int_equal(socket_listen_unix(bench->transport, path, 0700, 3), 0);
    struct stat status;
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0700);
    /* Somebody listens: refused, and the file stays. */
    assert_int_equal(socket_listen_unix(bench->transport, path, 0700, 3), -EADDRINUSE);
    int fd = connect_unix(path);
    assert_true(fd >= 0);
    assert_int_equal(send(fd, "local", 5, 0), 5);
    settle(bench);
    char text[8];
    assert_int_equal(recv(fd, text, sizeof(text), 0), 5);
    assert_int_equal(bench->last->peer.port, 0);
    bench->last->close_requested = true;
    stream_mark_dirty(bench->last);
    settle(bench);
    assert_int_equal(client_error(fd), 0);
    assert_int_equal(bench->opened, 1); /* the second call went unnoticed */
    assert_int_equal(bench->closed, 1);
    close(fd);
}

static void test_unix_file_is_removed(void **state)
{
    (void)state;
    char path[64];
    make_unix_path(path, sizeof(path));
    struct byte_pool pool;
    struct metrics metrics = {0};
    byte_pool_init(&pool, 0);
    struct socket_options options = {.pool = &pool, .metrics = &metrics, .backlog = 5};
    struct socket_transport *transport = socket_transport_create(&options);
    /* A stale file, as a killed process leaves it. */
    int dead = socket(AF_UNIX, SOCK_STREAM, 0);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    assert_int_equal(bind(dead, (struct sockaddr *)&address, sizeof(address)), 0);
    close(dead);
    assert_int_equal(socket_listen_unix(transport, path, 0600, 0), 0);
    socket_transport_destroy(transport);
    assert_int_equal(access(path, F_OK), -1);
    /* Anything else of that name is not ours to remove. */
    FILE *file = fopen(path, "w");
    fclose(file);
    transport = socket_transport_create(&options);
    assert_int_equal(socket_listen_unix(transport, path, 0600, 0), -EEXIST);
    socket_transport_destroy(transport);
    assert_int_equal(access(path, F_OK), 0);
    unlink(path);
    byte_pool_deinit(&pool);
}

/* ---- datagrams ------------------------------------------------------------------------------- */

static int connect_udp(uint32_t address, uint16_t port)
{
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    struct sockaddr_in in = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(address)};
    assert_int_equal(connect(fd, (struct sockaddr *)&in, sizeof(in)), 0);
    return fd;
}

static void receive_datagrams(struct bench *bench, uint32_t wanted)
{
    for (int i = 0; i < 100; i++) {
        input_pass(bench, EVENTS);
        if (bench->input.datagram_count >= wanted) {
            return;
        }
        socket_wait(bench->transport, 20);
    }
    fail_msg("no datagram");
}

static void test_udp(void **state)
{
    struct bench *bench = *state;
    struct endpoint endpoint = loopback(0);
    assert_int_equal(socket_open_udp(bench->transport, &endpoint, 9), 0);
    int fd = connect_udp(INADDR_LOOPBACK, endpoint.port);
    static uint8_t big[65507];
    fill_pattern(big, sizeof(big), 7);
    assert_int_equal(send(fd, "ask", 3, 0), 3);
    assert_int_equal(send(fd, "", 0, 0), 0);
    assert_int_equal(send(fd, big, sizeof(big), 0), sizeof(big));
    receive_datagrams(bench, 3);
    const struct socket_datagram *first = &bench->datagrams[0];
    assert_true(slice_equal(first->payload, SLICE_LITERAL("ask")));
    assert_int_equal(first->listener, 9);
    assert_int_equal(first->local.port, endpoint.port);
    assert_true(address_equal(&first->local.address, &endpoint.address));
    assert_int_equal(bench->datagrams[1].payload.size, 0);
    assert_int_equal(bench->datagrams[2].payload.size, sizeof(big));
    assert_memory_equal(bench->datagrams[2].payload.data, big, sizeof(big));
    socket_send_datagram(bench->transport, first->socket_fd, &first->source,
                         SLICE_LITERAL("answer"));
    char text[16];
    assert_int_equal(recv(fd, text, sizeof(text), 0), 6);
    close(fd);
}

/* A socket on any address tells which one was meant and answers from it: the client's socket is
 * connected, so an answer from elsewhere would not reach it. */
static void test_udp_any_address(void **state)
{
    struct bench *bench = *state;
    struct endpoint endpoint = {.address = address_from_ipv4(INADDR_ANY)};
    assert_int_equal(socket_open_udp(bench->transport, &endpoint, 9), 0);
    const uint32_t meant = INADDR_LOOPBACK + 41;
    int fd = connect_udp(meant, endpoint.port);
    assert_int_equal(send(fd, "ask", 3, 0), 3);
    receive_datagrams(bench, 1);
    assert_int_equal(address_to_ipv4(&bench->datagrams[0].local.address), meant);
    socket_answer_datagram(bench->transport, &bench->datagrams[0], SLICE_LITERAL("answer"));
    char text[16];
    assert_int_equal(recv(fd, text, sizeof(text), 0), 6);
    close(fd);
}

static void test_udp_more_than_a_pass_takes(void **state)
{
    struct bench *bench = *state;
    struct endpoint endpoint = loopback(0);
    assert_int_equal(socket_open_udp(bench->transport, &endpoint, 9), 0);
    int fd = connect_udp(INADDR_LOOPBACK, endpoint.port);
    for (uint8_t i = 0; i < 100; i++) {
        assert_int_equal(send(fd, &i, 1, 0), 1);
    }
    uint8_t expected = 0;
    for (int round = 0; round < 20 && expected < 100; round++) {
        input_pass(bench, EVENTS);
        assert_true(bench->input.datagram_count <= DATAGRAMS);
        for (uint32_t i = 0; i < bench->input.datagram_count; i++) {
            assert_int_equal(bench->datagrams[i].payload.data[0], expected++);
        }
    }
    assert_int_equal(expected, 100);
    close(fd);
}

/* ---- waiting --------------------------------------------------------------------------------- */

static void test_watched_descriptor_wakes(void **state)
{
    struct bench *bench = *state;
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(socket_watch(bench->transport, ends[0]), 0);
    settle(bench);
    struct instant before, after;
    assert_int_equal(write(ends[1], "x", 1), 1);
    clock_read(&before);
    socket_wait(bench->transport, 3000);
    clock_read(&after);
    assert_true(after.mono_us - before.mono_us < 1000000);
    pass(bench);
    assert_int_equal(bench->input.event_count, 0);
    close(ends[0]);
    close(ends[1]);
    /* What socket_wait sees, socket_input does not miss. */
    int fd = connect_client(&bench->endpoint);
    socket_wait(bench->transport, 3000);
    assert_true(socket_has_pending_input(bench->transport));
    pass(bench);
    assert_int_equal(bench->opened, 1);
    close(fd);
}

/* ---- active open ----------------------------------------------------------------------------- */

static struct stream *connect_stream(struct bench *bench, const struct endpoint *endpoint)
{
    struct stream *stream = socket_connect(bench->transport, endpoint);
    assert_non_null(stream);
    stream->listener = 3;
    stream->session = bench;
    return stream;
}

/* Both ends are ours. What was queued before the handshake leaves with it. */
static void test_connect(void **state)
{
    struct bench *bench = *state;
    bench->echo = false;
    struct stream *stream = connect_stream(bench, &bench->endpoint);
    assert_int_equal(stream->peer.port, bench->endpoint.port);
    assert_int_not_equal(stream->local.port, 0);
    byte_queue_append(&stream->out, &bench->pool, "hello", 5);
    stream_mark_dirty(stream);
    assert_int_equal(bench->opened, 0);
    settle(bench);
    assert_int_equal(bench->opened, 2);
    assert_int_equal(bench->received, 5);
    stream->close_requested = true;
    stream_mark_dirty(stream);
    settle(bench);
    assert_int_equal(bench->finished, 1);
    assert_int_equal(bench->closed, 2);
}

static void test_connect_refused(void **state)
{
    struct bench *bench = *state;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(in);
    assert_int_equal(bind(fd, (struct sockaddr *)&in, sizeof(in)),
                     0); /* taken, but nobody listens */
    getsockname(fd, (struct sockaddr *)&in, &size);
    struct endpoint nobody = loopback(ntohs(in.sin_port));
    struct stream *stream = connect_stream(bench, &nobody);
    byte_queue_append(&stream->out, &bench->pool, "hello", 5);
    stream_mark_dirty(stream);
    settle(bench);
    assert_int_equal(bench->opened, 0);
    assert_int_equal(bench->closed, 1);
    close(fd);
}

static void test_connect_given_up(void **state)
{
    struct bench *bench = *state;
    struct stream *stream = connect_stream(bench, &bench->endpoint);
    stream->abort_requested = true;
    stream_mark_dirty(stream);
    socket_output(bench->transport, &bench->now);
    settle(bench);
    assert_true(bench->closed >= 1);
    assert_true(bench->opened <= 1); /* the accepted end, if the reset was slower */
}

/* A peer that speaks first: its bytes come after STREAM_OPENED, whatever epoll reports together. */
static void test_connect_to_one_that_speaks_first(void **state)
{
    struct bench *bench = *state;
    bench->echo = false;
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(in);
    assert_int_equal(bind(listener, (struct sockaddr *)&in, sizeof(in)), 0);
    assert_int_equal(listen(listener, 1), 0);
    getsockname(listener, (struct sockaddr *)&in, &size);
    struct endpoint endpoint = loopback(ntohs(in.sin_port));
    connect_stream(bench, &endpoint)->session = NULL; /* set by STREAM_OPENED; DATA checks it */
    int fd = accept(listener, NULL, NULL);
    assert_int_equal(send(fd, "welcome", 7, 0), 7);
    close(fd);
    settle(bench);
    assert_int_equal(bench->opened, 1);
    assert_int_equal(bench->received, 7);
    assert_int_equal(bench->closed, 1);
    close(listener);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_echo_and_half_close),
        TEST(test_endpoints_and_options),
        TEST(test_half_close_keeps_sending),
        TEST(test_abort_resets),
        TEST(test_peer_reset),
        TEST(test_peer_reset_while_paused),
        TEST(test_peer_reset_after_finish),
        TEST(test_paused_input),
        TEST(test_finish_while_paused),
        TEST(test_close_with_unread_input),
        TEST(test_large_output_drains),
        TEST(test_wakes_for_output),
        TEST(test_large_input),
        TEST(test_input_behind_urgent_data),
        TEST(test_many_connections),
        TEST(test_fairness),
        TEST(test_out_of_descriptors),
        TEST(test_accept_resumes_by_time),
        TEST(test_reuse),
        TEST(test_dirty_when_closed),
        TEST(test_random_acts),
        TEST(test_close_all_is_silent),
        TEST(test_two_workers_share_a_port),
        TEST(test_ipv6),
        TEST(test_unix),
        cmocka_unit_test(test_unix_file_is_removed),
        TEST(test_udp),
        TEST(test_udp_any_address),
        TEST(test_udp_more_than_a_pass_takes),
        TEST(test_watched_descriptor_wakes),
        TEST(test_connect),
        TEST(test_connect_refused),
        TEST(test_connect_given_up),
        TEST(test_connect_to_one_that_speaks_first),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
