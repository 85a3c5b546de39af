/* A server of known delay, to prove the load generator with: answers every RESP PING after exactly
 * so long, and may stop answering for a while.
 *
 *   delay_server DELAY_US [STALL_AT_MS STALL_MS]
 *
 * Listens on a free port of 127.0.0.1, which it prints. The stall begins STALL_AT_MS after the
 * first request. It polls, so that its delays are exact; it ends when its standard input ends.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define CLIENTS_MAX   256
#define WAITING_MAX   65536U /* a power of two */
#define REQUEST_BYTES 14     /* "*1\r\n$4\r\nPING\r\n" */
#define REPLY         "+PONG\r\n"

struct client {
    int fd;
    uint32_t partial_bytes;
};

/* The delay is the same for all: replies leave in the order in which requests came. */
struct waiting {
    uint64_t due_ns;
    uint32_t client;
};

static struct {
    int listener;
    uint64_t delay_ns, stall_at_ns, stall_ns, first_ns;
    struct client clients[CLIENTS_MAX];
    uint32_t client_count;
    struct waiting waiting[WAITING_MAX];
    uint32_t first, next;
} server;

static uint64_t clock_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000U + (uint64_t)t.tv_nsec;
}

static int start_listening(void)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(in);
    server.listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (server.listener < 0 ||
        bind(server.listener, (const struct sockaddr *)&in, sizeof(in)) < 0 ||
        listen(server.listener, 64) < 0 ||
        getsockname(server.listener, (struct sockaddr *)&in, &size) < 0) {
        perror("delay_server");
        return -1;
    }
    printf("%u\n", ntohs(in.sin_port));
    fflush(stdout);
    return 0;
}

static void accept_clients(void)
{
    int on = 1, fd;
    while (server.client_count < CLIENTS_MAX &&
           (fd = accept4(server.listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        server.clients[server.client_count++] = (struct client){.fd = fd};
    }
}

static void receive(uint32_t index)
{
    struct client *client = &server.clients[index];
    uint8_t bytes[4096];
    ssize_t size = client->fd < 0 ? -1 : recv(client->fd, bytes, sizeof(bytes), 0);
    if (size == 0) {
        close(client->fd);
        client->fd = -1;
    }
    if (size <= 0) {
        return;
    }
    uint64_t now_ns = clock_ns();
    server.first_ns = server.first_ns == 0 ? now_ns : server.first_ns;
    client->partial_bytes += (uint32_t)size;
    for (; client->partial_bytes >= REQUEST_BYTES && server.next - server.first < WAITING_MAX;
         client->partial_bytes -= REQUEST_BYTES) {
        server.waiting[server.next++ % WAITING_MAX] =
            (struct waiting){now_ns + server.delay_ns, index};
    }
}

static void answer(uint64_t now_ns)
{
    for (; server.first != server.next; server.first++) {
        const struct waiting *waiting = &server.waiting[server.first % WAITING_MAX];
        if (waiting->due_ns > now_ns) {
            return;
        }
        int fd = server.clients[waiting->client].fd;
        if (fd >= 0 && send(fd, REPLY, sizeof(REPLY) - 1, MSG_NOSIGNAL) < 0 && errno != EAGAIN) {
            close(fd);
            server.clients[waiting->client].fd = -1;
        }
    }
}

static bool is_stalled(uint64_t now_ns)
{
    uint64_t begin_ns = server.first_ns + server.stall_at_ns;
    return server.stall_ns > 0 && server.first_ns != 0 && now_ns >= begin_ns &&
           now_ns < begin_ns + server.stall_ns;
}

static bool input_ended(void)
{
    struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
    return poll(&input, 1, 0) > 0;
}

int main(int argument_count, char **arguments)
{
    if (argument_count != 2 && argument_count != 4) {
        fputs("usage: delay_server DELAY_US [STALL_AT_MS STALL_MS]\n", stderr);
        return 2;
    }
    server.delay_ns = strtoull(arguments[1], NULL, 10) * 1000U;
    if (argument_count == 4) {
        server.stall_at_ns = strtoull(arguments[2], NULL, 10) * 1000000U;
        server.stall_ns = strtoull(arguments[3], NULL, 10) * 1000000U;
    }
    if (start_listening() < 0) {
        return 1;
    }
    for (uint32_t pass = 0; pass % 4096 != 0 || !input_ended(); pass++) {
        uint64_t now_ns = clock_ns();
        if (is_stalled(now_ns)) {
            continue;
        }
        if (pass % 64 == 0) {
            accept_clients();
        }
        answer(now_ns);
        for (uint32_t i = 0; i < server.client_count; i++) {
            receive(i);
        }
    }
    return 0;
}
