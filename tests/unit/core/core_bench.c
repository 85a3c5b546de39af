#include "tests/unit/core/core_bench.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "dataplane/base/check.h"
#include "dataplane/channel/channel.h"

/* Without a byte for the client: it will not come any more. After the first few the kernel gets a
 * millisecond each: for delayed ACKs, window probes. */
#define IDLE_PASSES_MAX  1500
#define IDLE_PASSES_BUSY 50

/* ---- the core -------------------------------------------------------------------------------- */

/* A port that nobody has at the moment. */
static uint16_t free_port(int type)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(address);
    int fd = socket(AF_INET, type, 0);
    CHECK(fd >= 0 && bind(fd, (struct sockaddr *)&address, size) == 0);
    CHECK(getsockname(fd, (struct sockaddr *)&address, &size) == 0);
    close(fd);
    return ntohs(address.sin_port);
}

static struct instant instant_of(const struct core_bench *b)
{
    return (struct instant){.mono_us = b->now_us, .wall_ms = 1700000000000ULL + b->now_us / 1000};
}

static void create_core(struct core_bench *b)
{
    struct config_error error = {{0}};
    struct instant now = instant_of(b);
    struct interface_config interface = {.driver = INTERFACE_SOCKET,
                                         .address = address_from_ipv4(INADDR_LOOPBACK)};
    struct core_options options = {
        .worker_count = 1,
        .config_slot = &b->config_slot,
        .interfaces = &interface,
        .interface_count = 1,
        .shard = b->shard,
        .all_shards = &b->shard,
        .metrics = &b->metrics,
        .all_metrics = b->all_metrics,
        .to_control = b->to_control,
        .from_control = b->from_control,
        .status = &b->status,
        .control_wake_fd = -1,
        .seed = 7,
        .now = &now,
        .error = &error,
    };
    b->core = core_create(&options);
    CHECK(b->core != NULL);
}

struct core_bench *bench_create(void)
{
    struct core_bench *b = calloc(1, sizeof(*b));
    CHECK(b != NULL);
    b->now_us = 1000000;
    struct shard_options shard_options = {.metrics = &b->metrics};
    b->shard = shard_create(&shard_options);
    CHECK(b->shard != NULL);
    b->config = config_create_default();
    CHECK(b->config != NULL);
    b->ports[BENCH_REDIS] = free_port(SOCK_STREAM);
    b->ports[BENCH_MEMCACHE] = free_port(SOCK_STREAM);
    b->ports[2] = free_port(SOCK_DGRAM);
    b->config->port = b->ports[BENCH_REDIS];
    b->config->memcache_port = b->ports[BENCH_MEMCACHE];
    b->config->memcache_udp_port = b->ports[2];
    b->config->enable_debug_command = DEBUG_COMMAND_YES;
    b->config_slot = b->config;
    b->all_metrics[0] = &b->metrics;
    b->to_control = channel_create(8);
    b->from_control = channel_create(8);
    CHECK(b->to_control != NULL && b->from_control != NULL);
    create_core(b);
    return b;
}

void bench_destroy(struct core_bench *b)
{
    struct instant now = instant_of(b);
    bench_pass(b, 3);
    for (uint32_t database = 0; database < SHARD_DATABASE_COUNT; database++) {
        shard_flush(b->shard, database);
    }
    CHECK(b->core->batch.count == 0);
    core_close_all(b->core, &now);
    CHECK(b->core->clients.count == 0 && b->core->bytes.used_count == 0);
    CHECK(metric_read(&b->metrics, METRIC_CONNECTIONS_CURRENT) == 0);
    core_destroy(b->core);
    CHECK(bench_item_bytes(b) == 0);
    shard_destroy(b->shard);
    config_destroy(b->config);
    channel_destroy(b->to_control);
    channel_destroy(b->from_control);
    free(b);
}

void bench_pass(struct core_bench *b, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        struct instant now = instant_of(b);
        core_pass(b->core, &now);
        b->now_us += 10;
    }
}

void bench_advance(struct core_bench *b, uint64_t us)
{
    b->now_us += us;
    bench_pass(b, 3);
}

uint64_t bench_item_bytes(struct core_bench *b)
{
    struct instant now = instant_of(b);
    struct shard_memory memory;
    for (int i = 0; i < 1000 && shard_maintain(b->shard, &now); i++) {
    }
    shard_read_memory(b->shard, &memory);
    return memory.item_bytes;
}

/* ---- clients -----------------------------------------------------------------------------------
 */

int bench_connect(struct core_bench *b, enum bench_protocol protocol)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                                  .sin_port = htons(b->ports[protocol])};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;
    CHECK(fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0);
    /* Else Nagle's algorithm holds back what follows a request without a reply. */
    CHECK(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) == 0);
    bench_pass(b, 3);
    return fd;
}

void bench_send_bytes(int client, const void *bytes, size_t size)
{
    CHECK(send(client, bytes, size, MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)size);
}

void bench_send(int client, const char *text)
{
    bench_send_bytes(client, text, strlen(text));
}

static char *filled(const char *head, char fill, size_t size, const char *tail, size_t *total)
{
    *total = strlen(head) + size + strlen(tail);
    char *text = malloc(*total + 1);
    CHECK(text != NULL);
    memcpy(text, head, strlen(head));
    memset(text + strlen(head), fill, size);
    memcpy(text + strlen(head) + size, tail, strlen(tail) + 1);
    return text;
}

void bench_send_filled(int client, const char *head, char fill, size_t size, const char *tail)
{
    size_t total;
    char *text = filled(head, fill, size, tail, &total);
    bench_send_bytes(client, text, total);
    free(text);
}

/* Receives what is there: -1 nothing yet, 0 the end (also by a reset). */
static ssize_t receive(int client, void *to, size_t size)
{
    ssize_t got = recv(client, to, size, MSG_DONTWAIT);
    if (got < 0 && errno == ECONNRESET) {
        return 0;
    }
    CHECK(got >= 0 || errno == EAGAIN);
    return got;
}

static void give_time(int client, int idle)
{
    struct pollfd wait = {.fd = client, .events = POLLIN};
    if (idle > IDLE_PASSES_BUSY) {
        (void)poll(&wait, 1, 1);
    }
}

static void expect_bytes(struct core_bench *b, int client, const char *wanted, size_t size)
{
    char *got = malloc(size + 1);
    size_t count = 0;
    CHECK(got != NULL);
    for (int idle = 0; count < size && idle < IDLE_PASSES_MAX; idle++) {
        ssize_t part = receive(client, got + count, size - count);
        if (part == 0) {
            break;
        }
        if (part > 0) {
            count += (size_t)part;
            idle = 0;
        }
        bench_pass(b, 1);
        give_time(client, idle);
    }
    if (count < size || memcmp(got, wanted, size) != 0) {
        size_t same = 0;
        while (same < count && got[same] == wanted[same]) {
            same++;
        }
        fprintf(stderr, "wanted %zu bytes, got %zu, the first %zu the same; then: %.*s\n", size,
                count, same, (int)(count - same < 200 ? count - same : 200), got + same);
        abort();
    }
    free(got);
}

void bench_expect(struct core_bench *b, int client, const char *text)
{
    expect_bytes(b, client, text, strlen(text));
}

void bench_expect_filled(struct core_bench *b, int client, const char *head, char fill, size_t size,
                         const char *tail)
{
    size_t total;
    char *text = filled(head, fill, size, tail, &total);
    expect_bytes(b, client, text, total);
    free(text);
}

void bench_expect_nothing(struct core_bench *b, int client)
{
    char byte;
    bench_pass(b, 5);
    CHECK(receive(client, &byte, 1) == -1);
}

void bench_expect_end(struct core_bench *b, int client)
{
    char byte;
    ssize_t got = -1;
    for (int i = 0; i < IDLE_PASSES_MAX && got < 0; i++) {
        bench_pass(b, 1);
        give_time(client, i);
        got = receive(client, &byte, 1);
    }
    CHECK(got == 0);
    bench_close(b, client);
}

void bench_close(struct core_bench *b, int client)
{
    close(client);
    bench_pass(b, 3);
}
