/* The least that a server on kernel sockets can do: reads, and sends replies that it has ready.
 * What others need beyond that is theirs; what this one needs is the kernel's.
 *
 *   least_server PORT REQUEST_BYTES VALUE_BYTES
 *
 * Listens on 127.0.0.1. Every REQUEST_BYTES that a connection sends are answered by a RESP bulk
 * string of VALUE_BYTES, as many as one read brings by one write; nothing is looked at, but that
 * "*2\r\n$4\r\n" can only begin an INFO, whose reply says how many requests were answered. One
 * thread, epoll with edges.
 */
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define DESCRIPTORS_MAX 4096U
#define EVENTS_MAX      256
#define READ_BYTES      16384U
#define INFO_BEGIN      "*2\r\n$4\r\n"

static struct {
    int listener, epoll;
    uint32_t request_bytes, reply_bytes;
    uint64_t answered;
    uint32_t partial_bytes[DESCRIPTORS_MAX]; /* of the request that a descriptor has begun */
    char *replies;                           /* as many as one read can ask for */
} server;

static bool start_listening(uint16_t port)
{
    int on = 1;
    struct sockaddr_in in = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    server.listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    return server.listener >= 0 &&
           setsockopt(server.listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) == 0 &&
           setsockopt(server.listener, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) == 0 &&
           bind(server.listener, (const struct sockaddr *)&in, sizeof(in)) == 0 &&
           listen(server.listener, 511) == 0;
}

static bool watch(int fd, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.fd = fd};
    return epoll_ctl(server.epoll, EPOLL_CTL_ADD, fd, &event) == 0;
}

static bool prepare_replies(uint32_t value_bytes)
{
    char head[32];
    int head_bytes = snprintf(head, sizeof(head), "$%u\r\n", value_bytes);
    server.reply_bytes = (uint32_t)head_bytes + value_bytes + 2;
    uint32_t count = READ_BYTES / server.request_bytes + 1;
    server.replies = malloc((size_t)count * server.reply_bytes);
    for (uint32_t i = 0; server.replies != NULL && i < count; i++) {
        char *reply = server.replies + (size_t)i * server.reply_bytes;
        memcpy(reply, head, (size_t)head_bytes);
        memset(reply + head_bytes, 'x', value_bytes);
        memcpy(reply + head_bytes + value_bytes, "\r\n", 2);
    }
    return server.replies != NULL;
}

static void accept_client(void)
{
    int fd = accept4(server.listener, NULL, NULL, SOCK_NONBLOCK);
    if (fd >= (int)DESCRIPTORS_MAX || (fd >= 0 && !watch(fd, EPOLLIN | EPOLLRDHUP | EPOLLET))) {
        close(fd);
    } else if (fd >= 0) {
        server.partial_bytes[fd] = 0;
    }
}

/* A reply that the socket does not take is lost: its client has too much under way for this server.
 */
static void say(int fd, const char *bytes, size_t size)
{
    if (send(fd, bytes, size, MSG_NOSIGNAL) != (ssize_t)size) {
        shutdown(fd, SHUT_RDWR);
    }
}

static void say_info(int fd)
{
    char text[64], reply[96];
    int size =
        snprintf(text, sizeof(text), "answered:%llu\r\n", (unsigned long long)server.answered);
    int total = snprintf(reply, sizeof(reply), "$%d\r\n%s\r\n", size, text);
    say(fd, reply, (size_t)total);
}

static void serve(int fd)
{
    static char bytes[READ_BYTES];
    ssize_t size;
    do {
        size = recv(fd, bytes, sizeof(bytes), 0);
        if (size <= 0) {
            break;
        }
        if (size >= (ssize_t)strlen(INFO_BEGIN) &&
            memcmp(bytes, INFO_BEGIN, strlen(INFO_BEGIN)) == 0) {
            say_info(fd);
            continue;
        }
        uint32_t total = server.partial_bytes[fd] + (uint32_t)size;
        uint32_t requests = total / server.request_bytes;
        server.partial_bytes[fd] = total % server.request_bytes;
        server.answered += requests;
        if (requests > 0) {
            say(fd, server.replies, (size_t)requests * server.reply_bytes);
        }
    } while (size == (ssize_t)sizeof(bytes));
    if (size == 0) {
        close(fd);
    }
}

static void serve_events(void)
{
    struct epoll_event events[EVENTS_MAX];
    int count = epoll_wait(server.epoll, events, EVENTS_MAX, -1);
    for (int i = 0; i < count; i++) {
        int fd = events[i].data.fd;
        if (fd == server.listener) {
            accept_client();
        } else {
            serve(fd);
        }
    }
}

int main(int argument_count, char **arguments)
{
    if (argument_count != 4) {
        fputs("usage: least_server PORT REQUEST_BYTES VALUE_BYTES\n", stderr);
        return 2;
    }
    server.request_bytes = (uint32_t)strtoul(arguments[2], NULL, 10);
    server.epoll = epoll_create1(0);
    if (server.request_bytes == 0 || server.request_bytes > READ_BYTES || server.epoll < 0 ||
        !prepare_replies((uint32_t)strtoul(arguments[3], NULL, 10)) ||
        !start_listening((uint16_t)strtoul(arguments[1], NULL, 10)) ||
        !watch(server.listener, EPOLLIN)) {
        perror("least_server");
        return 1;
    }
    for (;;) {
        serve_events();
    }
}
