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

/* Of two messages, so that they are full now and then. */
#define PEER_CHANNEL_CAPACITY 4

static void connect_peers(struct core_bench *b)
{
    for (uint32_t from = 0; from < b->worker_count; from++) {
        for (uint32_t to = 0; to < b->worker_count; to++) {
            struct channel *channel = from == to ? NULL : channel_create(PEER_CHANNEL_CAPACITY);
            CHECK(from == to || channel != NULL);
            b->to_peers[from][to] = b->from_peers[to][from] = channel;
        }
    }
}

static struct metrics *metrics_of(struct core_bench *b, uint32_t worker)
{
    return worker == 0 ? &b->metrics : &b->more_metrics[worker - 1];
}

static void create_shard(struct core_bench *b, uint32_t worker)
{
    struct shard_options options = {.number = worker, .metrics = metrics_of(b, worker)};
    b->shards[worker] = shard_create(&options);
    CHECK(b->shards[worker] != NULL);
    b->all_metrics[worker] = metrics_of(b, worker);
}

/* Control's channels are the first core's. */
static void create_core(struct core_bench *b, uint32_t worker)
{
    struct config_error error = {{0}};
    struct instant now = instant_of(b);
    struct interface_config interface = {
        .driver = INTERFACE_SOCKET,
        .addresses = {.at[0].address = address_from_ipv4(INADDR_LOOPBACK), .count = 1}};
    struct core_options options = {
        .number = worker,
        .worker_count = b->worker_count,
        .config_slot = &b->config_slot,
        .interfaces = &interface,
        .interface_count = 1,
        .shard = b->shards[worker],
        .all_shards = b->shards,
        .metrics = metrics_of(b, worker),
        .all_metrics = b->all_metrics,
        .to_control = worker == 0 ? b->to_control : NULL,
        .from_control = worker == 0 ? b->from_control : NULL,
        .to_peers = b->to_peers[worker],
        .from_peers = b->from_peers[worker],
        .status = &b->status,
        .control_wake_fd = -1,
        .seed = 7,
        .now = &now,
        .error = &error,
    };
    b->cores[worker] = core_create(&options);
    CHECK(b->cores[worker] != NULL);
}

struct core_bench *bench_create(void)
{
    return bench_create_workers(1);
}

struct core_bench *bench_create_workers(uint32_t count)
{
    struct core_bench *b = calloc(1, sizeof(*b));
    CHECK(b != NULL && count <= BENCH_WORKERS_MAX);
    b->worker_count = count;
    b->now_us = 1000000;
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
    b->to_control = channel_create(8);
    b->from_control = channel_create(8);
    CHECK(b->to_control != NULL && b->from_control != NULL);
    connect_peers(b);
    for (uint32_t i = 0; i < count; i++) {
        create_shard(b, i);
    }
    for (uint32_t i = 0; i < count; i++) {
        create_core(b, i);
    }
    cores_join(b->cores, count);
    b->core = b->cores[0];
    b->shard = b->shards[0];
    return b;
}

static void close_core(struct core_bench *b, uint32_t worker)
{
    struct core *core = b->cores[worker];
    struct instant now = instant_of(b);
    CHECK(core->batch.count == 0 && !core_shard_is_lent(core));
    CHECK(core->errands_waiting.first == NULL && core->leases_waiting.first == NULL);
    CHECK(core->passengers.first == NULL && core->gathering.first == NULL && !core->is_leasing);
    core_close_all(core, &now);
    CHECK(core->clients.count == 0 && core->bytes.used_count == 0);
    CHECK(metric_read(metrics_of(b, worker), METRIC_CONNECTIONS_CURRENT) == 0);
}

void bench_destroy(struct core_bench *b)
{
    bench_pass(b, 3);
    for (uint32_t i = 0; i < b->worker_count; i++) {
        for (uint32_t database = 0; database < SHARD_DATABASE_COUNT; database++) {
            shard_flush(b->shards[i], database);
        }
        close_core(b, i);
    }
    for (uint32_t i = 0; i < b->worker_count; i++) {
        core_destroy(b->cores[i]);
    }
    CHECK(bench_item_bytes(b) == 0);
    for (uint32_t i = 0; i < b->worker_count; i++) {
        shard_destroy(b->shards[i]);
        for (uint32_t j = 0; j < b->worker_count; j++) {
            channel_destroy(b->to_peers[i][j]);
        }
    }
    config_destroy(b->config);
    channel_destroy(b->to_control);
    channel_destroy(b->from_control);
    free(b);
}

void bench_pass_one(struct core_bench *b, uint32_t worker)
{
    struct instant now = instant_of(b);
    core_pass(b->cores[worker], &now);
}

void bench_pass(struct core_bench *b, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        for (uint32_t worker = 0; worker < b->worker_count; worker++) {
            bench_pass_one(b, worker);
        }
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
    uint64_t bytes = 0;
    for (uint32_t worker = 0; worker < b->worker_count; worker++) {
        struct shard_memory memory;
        for (int i = 0; i < 1000 && shard_maintain(b->shards[worker], &now); i++) {
        }
        shard_read_memory(b->shards[worker], &memory);
        bytes += memory.item_bytes;
    }
    return bytes;
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

int bench_connect_to(struct core_bench *b, enum bench_protocol protocol, uint32_t worker)
{
    for (int attempt = 0; attempt < 1000; attempt++) {
        uint64_t before = b->cores[worker]->clients.count;
        int client = bench_connect(b, protocol);
        if (b->cores[worker]->clients.count > before) {
            return client;
        }
        bench_close(b, client);
    }
    CHECK(false); /* the kernel gives that worker no connection */
    return -1;
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

size_t bench_receive(struct core_bench *b, int client, void *bytes, size_t size)
{
    size_t count = 0;
    for (int idle = 0; count < size && idle < IDLE_PASSES_MAX; idle++) {
        ssize_t part = receive(client, (char *)bytes + count, size - count);
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
    return count;
}

static void expect_bytes(struct core_bench *b, int client, const char *wanted, size_t size)
{
    char *got = malloc(size + 1);
    CHECK(got != NULL);
    size_t count = bench_receive(b, client, got, size);
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

uint64_t bench_sum(const struct core_bench *b, enum metric metric)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < b->worker_count; i++) {
        sum += metric_read(b->all_metrics[i], metric);
    }
    return sum;
}
