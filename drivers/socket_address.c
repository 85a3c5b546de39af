/* Between our endpoints and the kernel's socket addresses, and sockets bound to them. */
#include <errno.h>
#include <unistd.h>

#include "drivers/socket_internal.h"

bool socket_address_is_any(const struct address *address)
{
    static const uint8_t zeros[16];
    return address_is_ipv4(address) ? address_to_ipv4(address) == 0
                                    : memcmp(address->bytes, zeros, sizeof(zeros)) == 0;
}

socklen_t socket_address_from_endpoint(const struct endpoint *endpoint, struct sockaddr_storage *to)
{
    *to = (struct sockaddr_storage){0};
    if (address_is_ipv4(&endpoint->address)) {
        struct sockaddr_in in = {
            .sin_family = AF_INET,
            .sin_port = htons(endpoint->port),
            .sin_addr.s_addr = htonl(address_to_ipv4(&endpoint->address)),
        };
        memcpy(to, &in, sizeof(in));
        return sizeof(in);
    }
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons(endpoint->port)};
    memcpy(&in6.sin6_addr, endpoint->address.bytes, 16);
    memcpy(to, &in6, sizeof(in6));
    return sizeof(in6);
}

void socket_address_to_endpoint(const struct sockaddr_storage *from, struct endpoint *endpoint)
{
    *endpoint = (struct endpoint){0};
    if (from->ss_family == AF_INET) {
        struct sockaddr_in in;
        memcpy(&in, from, sizeof(in));
        endpoint->address = address_from_ipv4(ntohl(in.sin_addr.s_addr));
        endpoint->port = ntohs(in.sin_port);
    } else if (from->ss_family == AF_INET6) {
        struct sockaddr_in6 in6;
        memcpy(&in6, from, sizeof(in6));
        memcpy(endpoint->address.bytes, &in6.sin6_addr, 16);
        endpoint->port = ntohs(in6.sin6_port);
    }
}

static int set_on(int fd, int level, int option)
{
    int on = 1;
    return setsockopt(fd, level, option, &on, sizeof(on));
}

int socket_open_bound(const struct endpoint *endpoint, int type, bool reuse_port)
{
    struct sockaddr_storage address;
    socklen_t size = socket_address_from_endpoint(endpoint, &address);
    int fd = socket(address.ss_family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return -errno;
    }
    /* "::" means IPv6 only: "bind 0.0.0.0 ::" must work, as it does with Redis. A datagram socket
     * takes no SO_REUSEADDR: there it would let two sockets share a port. */
    bool failed = (type == SOCK_STREAM && set_on(fd, SOL_SOCKET, SO_REUSEADDR) < 0) ||
                  (reuse_port && set_on(fd, SOL_SOCKET, SO_REUSEPORT) < 0) ||
                  (address.ss_family == AF_INET6 && set_on(fd, IPPROTO_IPV6, IPV6_V6ONLY) < 0) ||
                  bind(fd, (struct sockaddr *)&address, size) < 0;
    if (failed) {
        int code = errno;
        close(fd);
        return -code;
    }
    return fd;
}

int socket_read_local(int fd, struct endpoint *endpoint)
{
    struct sockaddr_storage address = {0};
    socklen_t size = sizeof(address);
    if (getsockname(fd, (struct sockaddr *)&address, &size) < 0) {
        return -errno;
    }
    socket_address_to_endpoint(&address, endpoint);
    return 0;
}

int socket_probe_endpoint(const struct endpoint *endpoint)
{
    if (endpoint->port == 0) {
        return 0;
    }
    int fd = socket_open_bound(endpoint, SOCK_STREAM, false);
    if (fd < 0) {
        return fd;
    }
    /* Two sockets with SO_REUSEADDR may be bound to one port; only one may listen. */
    int result = listen(fd, 1) < 0 ? -errno : 0;
    close(fd);
    return result;
}
