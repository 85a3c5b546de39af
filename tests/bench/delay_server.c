/* A server of known delay, to prove the load generator with: answers every RESP PING after exactly
 * so long, and may stop answering for a while.
 *
 *   delay_server DELAY_US [STALL_AT_MS STALL_MS]
 *
 * Listens on a free port of 127.0.0.1, which it prints. The stall begins STALL_AT_MS after the
 * first request. It polls, so that its delays are exact; it ends when its standard input ends, and
 * then prints how long each reply was really held back, in ns, one line each: on a busy machine
 * that may be longer than it was told, and a client can be compared with what was, not with what
 * should have been. Only the first MEASURED_MAX are kept.
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
#define WAKE_EARLY_NS 150000U
#define IDLE_NS       100000000U
#define MEASURED_MAX  131072U
#define REPLY         "+PONG\r\n"

struct client {
    int fd;
    uint32_t partial_bytes;
};

/* The delay is the same for all: replies leave in the order in which requests came. */
struct waiting {
    uint64_t came_ns, due_ns;
    uint32_t client;
};

static struct {
    int listener;
    uint64_t delay_ns, stall_at_ns, stall_ns, first_ns;
    struct client clients[CLIENTS_MAX];
    uint32_t client_count;
    struct waiting waiting[WAITING_MAX];
    uint32_t first, next;
    uint64_t measured_ns[MEASURED_MAX];
    uint32_t measured_count;
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

/* A slot is used again only while no reply waits: none can go to the wrong client. */
static struct client *free_slot(void)
{
    for (uint32_t i = 0; i < server.client_count && server.first == server.next; i++) {
        if (server.clients[i].fd < 0) {
            return &server.clients[i];
        }
    }
    return server.client_count < CLIENTS_MAX ? &server.clients[server.client_count++] : NULL;
}

static void accept_clients(void)
{
    int on = 1, fd = accept4(server.listener, NULL, NULL, SOCK_NONBLOCK);
    if (fd >= 0) {
        struct client *client = free_slot();
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        if (client == NULL) {
            close(fd);
        } else {
            *client = (struct client){.fd = fd};
        }
    }
}

static void receive(uint32_t index)
{
    struct client *client = &server.clients[index];
    uint8_t bytes[4096];
    ssize_t size = client->fd < 0 ? -1 : recv(client->fd, bytes, sizeof(bytes), 0);
    if (size == 0 || (size < 0 && client->fd >= 0 && errno != EAGAIN)) {
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
            (struct waiting){now_ns, now_ns + server.delay_ns, index};
    }
}

/* Before the reply is sent: the client cannot have seen less. */
static void note_delay(const struct waiting *waiting)
{
    if (server.measured_count < MEASURED_MAX) {
        server.measured_ns[server.measured_count++] = clock_ns() - waiting->came_ns;
    }
}

static void print_delays(void)
{
    for (uint32_t i = 0; i < server.measured_count; i++) {
        printf("%llu\n", (unsigned long long)server.measured_ns[i]);
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
        note_delay(waiting);
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

/* Sleeps until something arrives, or a reply is nearly due. False when the standard input has
 * ended. */
static bool wait_for_work(uint64_t now_ns)
{
    struct pollfd polled[CLIENTS_MAX + 2] = {{.fd = STDIN_FILENO, .events = POLLIN},
                                             {.fd = server.listener, .events = POLLIN}};
    uint64_t wait_ns = IDLE_NS;
    if (server.first != server.next) {
        uint64_t due_ns = server.waiting[server.first % WAITING_MAX].due_ns;
        wait_ns = due_ns > now_ns + WAKE_EARLY_NS ? due_ns - now_ns - WAKE_EARLY_NS : 0;
    }
    for (uint32_t i = 0; i < server.client_count; i++) {
        polled[i + 2] = (struct pollfd){.fd = server.clients[i].fd, .events = POLLIN};
    }
    struct timespec timeout = {.tv_nsec = (long)(wait_ns < IDLE_NS ? wait_ns : IDLE_NS)};
    (void)ppoll(polled, server.client_count + 2, &timeout, NULL);
    return (polled[0].revents & (POLLIN | POLLHUP)) == 0;
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
    uint64_t now_ns = clock_ns();
    while (is_stalled(now_ns) || wait_for_work(now_ns)) {
        now_ns = clock_ns();
        if (is_stalled(now_ns)) {
            continue;
        }
        accept_clients();
        for (uint32_t i = 0; i < server.client_count; i++) {
            receive(i);
        }
        answer(clock_ns());
    }
    print_delays();
    return 0;
}
