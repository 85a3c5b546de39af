/* The load over kernel sockets: TCP by the socket transport of the server, UDP by connected
 * sockets.
 *
 * Few events are taken in one pass, so that the time of a reply is not that of the last of many.
 */
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "drivers/socket_transport.h"
#include "tests/bench/transport.h"

#define EVENTS_A_PASS  4U
#define DATAGRAM_BYTES 65536U
#define PAGES_KEPT     4096U

struct socket_side {
    struct transport transport; /* first */
    struct socket_transport *sockets;
    int channels[TRANSPORT_CHANNELS_MAX];
    uint32_t channel_count, channel_next;
    uint8_t *arena; /* TRANSPORT_DATAGRAMS_MAX times DATAGRAM_BYTES, made with the first channel */
};

static struct socket_side *side_of(struct transport *transport)
{
    return (struct socket_side *)(void *)transport;
}

static struct stream *connect_stream(struct transport *transport, const struct endpoint *peer,
                                     const struct instant *now)
{
    return socket_connect(side_of(transport)->sockets, peer);
}

/* ---- datagrams ------------------------------------------------------------------------------- */

static int open_connected(const struct endpoint *peer)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(peer->port)};
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons(peer->port)};
    bool ipv4 = address_is_ipv4(&peer->address);
    if (ipv4) {
        in.sin_addr.s_addr = htonl(address_to_ipv4(&peer->address));
    }
    memcpy(&in6.sin6_addr, peer->address.bytes, sizeof(in6.sin6_addr));
    int fd = socket(ipv4 ? AF_INET : AF_INET6, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return -errno;
    }
    int buffer_bytes = 4 << 20;
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &buffer_bytes, sizeof(buffer_bytes));
    int result = ipv4 ? connect(fd, (const struct sockaddr *)&in, sizeof(in))
                      : connect(fd, (const struct sockaddr *)&in6, sizeof(in6));
    if (result < 0) {
        result = -errno;
        close(fd);
        return result;
    }
    return fd;
}

static int open_channel(struct transport *transport, uint32_t channel, const struct endpoint *peer)
{
    struct socket_side *side = side_of(transport);
    if (side->arena == NULL) {
        side->arena = malloc((size_t)TRANSPORT_DATAGRAMS_MAX * DATAGRAM_BYTES);
    }
    if (channel != side->channel_count || channel >= TRANSPORT_CHANNELS_MAX ||
        side->arena == NULL) {
        return -ENOSPC;
    }
    int fd = open_connected(peer);
    int result = fd < 0 ? fd : socket_watch(side->sockets, fd);
    if (result < 0) {
        if (fd >= 0) {
            close(fd);
        }
        return result;
    }
    side->channels[side->channel_count++] = fd;
    return 0;
}

static bool send_datagram(struct transport *transport, uint32_t channel, struct slice payload,
                          const struct instant *now)
{
    int fd = side_of(transport)->channels[channel];
    return send(fd, payload.data, payload.size, MSG_DONTWAIT | MSG_NOSIGNAL) ==
           (ssize_t)payload.size;
}

static void receive_channel(struct socket_side *side, uint32_t channel,
                            struct transport_input *input)
{
    while (input->datagram_count < TRANSPORT_DATAGRAMS_MAX) {
        uint8_t *room = side->arena + (size_t)input->datagram_count * DATAGRAM_BYTES;
        ssize_t size = recv(side->channels[channel], room, DATAGRAM_BYTES, MSG_DONTWAIT);
        if (size < 0) {
            return;
        }
        input->datagrams[input->datagram_count++] =
            (struct transport_datagram){channel, slice_of(room, (size_t)size)};
    }
}

/* ---- passes ---------------------------------------------------------------------------------- */

static void take_input(struct transport *transport, const struct instant *now,
                       struct transport_input *input)
{
    struct socket_side *side = side_of(transport);
    struct socket_input sockets = {.events = input->events, .event_count_max = EVENTS_A_PASS};
    socket_input(side->sockets, now, &sockets);
    input->event_count = sockets.event_count;
    input->datagram_count = 0;
    for (uint32_t i = 0; i < side->channel_count; i++) {
        receive_channel(side, (side->channel_next + i) % side->channel_count, input);
    }
    side->channel_next++;
}

static void flush_output(struct transport *transport, const struct instant *now)
{
    socket_output(side_of(transport)->sockets, now);
}

/* Finer than epoll's milliseconds: a descriptor of epoll can itself be waited on. */
static void wait_for_input(struct transport *transport, uint64_t timeout_ns)
{
    const struct socket_transport *sockets = side_of(transport)->sockets;
    if (!socket_has_pending_input(sockets)) {
        struct pollfd ready = {.fd = socket_wait_fd(sockets), .events = POLLIN};
        struct timespec timeout = {.tv_sec = (time_t)(timeout_ns / 1000000000U),
                                   .tv_nsec = (long)(timeout_ns % 1000000000U)};
        (void)ppoll(&ready, 1, &timeout, NULL);
    }
}

static void destroy(struct transport *transport, const struct instant *now)
{
    struct socket_side *side = side_of(transport);
    if (side->sockets != NULL) {
        socket_transport_close_all(side->sockets);
        socket_transport_destroy(side->sockets);
    }
    for (uint32_t i = 0; i < side->channel_count; i++) {
        close(side->channels[i]);
    }
    byte_pool_deinit(&side->transport.pool);
    free(side->arena);
    free(side);
}

static const struct transport_operations operations = {
    .connect = connect_stream,
    .open_channel = open_channel,
    .send = send_datagram,
    .input = take_input,
    .output = flush_output,
    .wait = wait_for_input,
    .destroy = destroy,
};

struct transport *transport_open_sockets(struct config_error *error)
{
    struct socket_side *side = calloc(1, sizeof(*side));
    if (side != NULL) {
        byte_pool_init(&side->transport.pool, PAGES_KEPT);
        struct socket_options options = {.pool = &side->transport.pool,
                                         .metrics = &side->transport.metrics};
        side->transport.operations = &operations;
        side->sockets = socket_transport_create(&options);
    }
    if (side == NULL || side->sockets == NULL) {
        snprintf(error->text, sizeof(error->text), "cannot set up sockets: %s", strerror(errno));
        free(side);
        return NULL;
    }
    return &side->transport;
}
