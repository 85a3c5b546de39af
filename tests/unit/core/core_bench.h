/* A bench for a core: one core over kernel sockets on 127.0.0.1, its clients in the same thread,
 * time as the test says. Dialogues are exact: what is sent, and every byte that must come back.
 *
 *   struct core_bench *b = bench_create();
 *   int client = bench_connect(b, BENCH_REDIS);
 *   bench_send(client, "PING\r\nQUIT\r\nPING\r\n");    (nothing happens before a pass)
 *   bench_expect(b, client, "+PONG\r\n+OK\r\n");
 *   bench_expect_end(b, client);
 *   bench_destroy(b);                       (checks that no blob and no connection is left)
 *
 * With several workers the bench decides whose turn it is, so that what they do in between each
 * other is as the test says.
 *
 * The channels to the control thread are there; nobody answers but the test.
 */
#ifndef NICACHED_TESTS_UNIT_CORE_CORE_BENCH_H
#define NICACHED_TESTS_UNIT_CORE_CORE_BENCH_H

#include "dataplane/core/core_internal.h"

#define BENCH_WORKERS_MAX 4

enum bench_protocol { BENCH_REDIS, BENCH_MEMCACHE };

struct core_bench {
    struct config *config; /* may be changed between passes */
    const struct config *config_slot;
    uint32_t worker_count;
    struct metrics metrics; /* of the first core; likewise `shard` and `core` */
    struct metrics more_metrics[BENCH_WORKERS_MAX - 1];
    const struct metrics *all_metrics[BENCH_WORKERS_MAX];
    struct shard *shard;
    struct shard *shards[BENCH_WORKERS_MAX];
    struct channel *to_peers[BENCH_WORKERS_MAX][BENCH_WORKERS_MAX];
    struct channel *from_peers[BENCH_WORKERS_MAX][BENCH_WORKERS_MAX];
    struct control_status status;
    struct channel *to_control, *from_control;
    uint64_t now_us;
    uint16_t ports[3]; /* by bench_protocol; memcached's UDP */
    struct core *core;
    struct core *cores[BENCH_WORKERS_MAX];
};

struct core_bench *bench_create(void);
/* Several cores, all in this thread: every pass of the bench is one pass of each, in order. */
struct core_bench *bench_create_workers(uint32_t count);
void bench_destroy(struct core_bench *b);

int bench_connect(struct core_bench *b, enum bench_protocol protocol);
/* A connection that this worker has accepted. */
int bench_connect_to(struct core_bench *b, enum bench_protocol protocol, uint32_t worker);
/* All of it, without a pass in between: it must fit into the kernel's buffers. */
void bench_send_bytes(int client, const void *bytes, size_t size);
void bench_send(int client, const char *text);
/* "*n $.. ..." of the words, the last one `size` bytes of `fill`. */
void bench_send_filled(int client, const char *head, char fill, size_t size, const char *tail);

void bench_pass(struct core_bench *b, uint32_t count);
/* One pass of one core; time stands still. */
void bench_pass_one(struct core_bench *b, uint32_t worker);
void bench_advance(struct core_bench *b, uint64_t us);

/* Passes until as many bytes have come as `text` has; they must be the same, and no more follow. */
void bench_expect(struct core_bench *b, int client, const char *text);
/* Passes until so many bytes have come, or no more come; returns how many have. */
size_t bench_receive(struct core_bench *b, int client, void *bytes, size_t size);
void bench_expect_filled(struct core_bench *b, int client, const char *head, char fill, size_t size,
                         const char *tail);
void bench_expect_nothing(struct core_bench *b, int client);
/* The server has ended the connection (or reset it); closes the client's side. */
void bench_expect_end(struct core_bench *b, int client);
void bench_close(struct core_bench *b, int client);

/* Of all workers. */
uint64_t bench_sum(const struct core_bench *b, enum metric metric);

/* Bytes of items and blobs, after what was retired has been freed. */
uint64_t bench_item_bytes(struct core_bench *b);

#endif
