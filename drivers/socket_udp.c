/* Datagram sockets: UDP over IPv4 and IPv6.
 *
 * Datagrams are received in batches into fixed slots of 64 KiB, so none is ever cut; a slot costs
 * memory only as far as datagrams have filled it. They live until the next input call, so one pass
 * takes at most as many as there are slots.
 */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "dataplane/base/check.h"
#include "drivers/socket_internal.h"

#define CONTROL_BYTES 64 /* CMSG_SPACE of one in6_pktinfo is 40 */

struct socket_datagram_arena {
    struct mmsghdr messages[SOCKET_DATAGRAM_BURST];
    struct iovec vectors[SOCKET_DATAGRAM_BURST];
    struct sockaddr_storage sources[SOCKET_DATAGRAM_BURST];
    _Alignas(16) uint8_t control[SOCKET_DATAGRAM_BURST][CONTROL_BYTES];
    uint8_t bytes[SOCKET_DATAGRAM_BURST][SOCKET_DATAGRAM_BYTES];
};

void socket_datagram_arena_destroy(struct socket_datagram_arena *arena)
{
    free(arena);
}

/* ---- opening --------------------------------------------------------------------------------- */

static int ask_for_local_address(int fd, const struct address *address)
{
    int on = 1;
    if (!socket_address_is_any(address)) {
        return 0;
    }
    int result = address_is_ipv4(address)
                     ? setsockopt(fd, IPPROTO_IP, IP_PKTINFO, &on, sizeof(on))
                     : setsockopt(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, &on, sizeof(on));
    return result < 0 ? -errno : 0;
}

int socket_open_udp(struct socket_transport *transport, struct endpoint *endpoint,
                    uint32_t listener)
{
    if (transport->datagrams == NULL) {
        transport->datagrams = malloc(sizeof(*transport->datagrams));
        if (transport->datagrams == NULL) {
            return -ENOMEM;
        }
    }
    int fd = socket_open_bound(endpoint, SOCK_DGRAM, true);
    if (fd < 0) {
        return fd;
    }
    struct endpoint bound = {0};
    int result = ask_for_local_address(fd, &endpoint->address);
    if (result == 0) {
        result = socket_read_local(fd, &bound);
    }
    struct socket_listener *created =
        result < 0 ? NULL : socket_listener_create(transport, SOCKET_DATAGRAM, fd, listener);
    if (created == NULL) {
        close(fd);
        return result < 0 ? result : -ENOMEM;
    }
    created->endpoint = *endpoint = bound;
    return 0;
}

/* ---- receiving ------------------------------------------------------------------------------- */

static void prepare_slots(struct socket_datagram_arena *arena, uint32_t first, uint32_t count)
{
    for (uint32_t i = first; i < first + count; i++) {
        arena->vectors[i] =
            (struct iovec){.iov_base = arena->bytes[i], .iov_len = SOCKET_DATAGRAM_BYTES};
        arena->messages[i] = (struct mmsghdr){
            .msg_hdr = {.msg_name = &arena->sources[i],
                        .msg_namelen = sizeof(arena->sources[i]),
                        .msg_iov = &arena->vectors[i],
                        .msg_iovlen = 1,
                        .msg_control = arena->control[i],
                        .msg_controllen = CONTROL_BYTES},
        };
    }
}

/* The address it was sent to; the port stays the socket's. */
static void read_local_address(struct msghdr *message, struct endpoint *local)
{
    for (struct cmsghdr *part = CMSG_FIRSTHDR(message); part != NULL;
         part = CMSG_NXTHDR(message, part)) {
        if (part->cmsg_level == IPPROTO_IP && part->cmsg_type == IP_PKTINFO) {
            struct in_pktinfo info;
            memcpy(&info, CMSG_DATA(part), sizeof(info));
            local->address = address_from_ipv4(ntohl(info.ipi_addr.s_addr));
        } else if (part->cmsg_level == IPPROTO_IPV6 && part->cmsg_type == IPV6_PKTINFO) {
            struct in6_pktinfo info;
            memcpy(&info, CMSG_DATA(part), sizeof(info));
            memcpy(local->address.bytes, &info.ipi6_addr, 16);
        }
    }
}

static void add_datagram(const struct socket_transport *transport, struct socket_listener *socket,
                         struct socket_datagram_arena *arena, uint32_t slot,
                         struct socket_input *input)
{
    struct socket_datagram *datagram = &input->datagrams[input->datagram_count];
    *datagram = (struct socket_datagram){
        .payload = slice_of(arena->bytes[slot], arena->messages[slot].msg_len),
        .local = socket->endpoint,
        .listener = socket->listener,
        .socket_fd = socket->handle.fd,
    };
    socket_address_to_endpoint(&arena->sources[slot], &datagram->source);
    read_local_address(&arena->messages[slot].msg_hdr, &datagram->local);
    enum metric reason = access_check_rules(transport->options.access, &datagram->source.address,
                                            datagram->local.port, IPPROTO_UDP);
    if (reason != METRIC_COUNT) {
        metric_add(transport->options.metrics, reason, 1);
        return;
    }
    input->datagram_count++;
}

/* Slots are shared by all sockets of one pass: the next free one is the count of datagrams so far.
 */
void socket_datagrams_receive(struct socket_transport *transport, struct socket_listener *socket,
                              struct socket_input *input)
{
    struct socket_datagram_arena *arena = transport->datagrams;
    uint32_t first = input->datagram_count;
    uint32_t end = input->datagram_count_max < SOCKET_DATAGRAM_BURST ? input->datagram_count_max
                                                                     : SOCKET_DATAGRAM_BURST;
    if (first >= end) {
        return;
    }
    prepare_slots(arena, first, end - first);
    int count =
        recvmmsg(socket->handle.fd, arena->messages + first, end - first, MSG_DONTWAIT, NULL);
    for (int i = 0; i < count; i++) {
        add_datagram(transport, socket, arena, first + (uint32_t)i, input);
    }
    /* A full batch may have left some. An error (an ICMP answer to something we sent) was consumed
     * by being reported: the next call goes on behind it. */
    bool full = count > 0 && (uint32_t)count == end - first;
    bool again = count < 0 && errno != EAGAIN;
    socket->handle.readable = full || again;
}

/* ---- sending --------------------------------------------------------------------------------- */

void socket_send_datagram(struct socket_transport *transport, int socket_fd,
                          const struct endpoint *to, struct slice payload)
{
    (void)transport;
    struct sockaddr_storage address;
    socklen_t size = socket_address_from_endpoint(to, &address);
    (void)sendto(socket_fd, payload.data, payload.size, MSG_DONTWAIT | MSG_NOSIGNAL,
                 (const struct sockaddr *)&address, size);
}

static size_t compose_source(const struct address *from, uint8_t *control)
{
    struct cmsghdr *part = (struct cmsghdr *)(void *)control;
    if (address_is_ipv4(from)) {
        struct in_pktinfo info = {.ipi_spec_dst.s_addr = htonl(address_to_ipv4(from))};
        *part = (struct cmsghdr){
            .cmsg_len = CMSG_LEN(sizeof(info)), .cmsg_level = IPPROTO_IP, .cmsg_type = IP_PKTINFO};
        memcpy(CMSG_DATA(part), &info, sizeof(info));
        return CMSG_SPACE(sizeof(info));
    }
    struct in6_pktinfo info = {0};
    memcpy(&info.ipi6_addr, from->bytes, 16);
    *part = (struct cmsghdr){
        .cmsg_len = CMSG_LEN(sizeof(info)), .cmsg_level = IPPROTO_IPV6, .cmsg_type = IPV6_PKTINFO};
    memcpy(CMSG_DATA(part), &info, sizeof(info));
    return CMSG_SPACE(sizeof(info));
}

void socket_answer_datagram(struct socket_transport *transport,
                            const struct socket_datagram *request, struct slice payload)
{
    (void)transport;
    struct sockaddr_storage address;
    _Alignas(16) uint8_t control[CONTROL_BYTES] = {0};
    struct iovec vector = {.iov_base = (void *)(uintptr_t)payload.data, .iov_len = payload.size};
    struct msghdr message = {.msg_name = &address, .msg_iov = &vector, .msg_iovlen = 1};
    message.msg_namelen = socket_address_from_endpoint(&request->source, &address);
    message.msg_control = control;
    message.msg_controllen = compose_source(&request->local.address, control);
    (void)sendmsg(request->socket_fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
}
