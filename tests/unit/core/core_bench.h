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
 * The channels to the control thread are there; nobody answers but the test.
 */
#ifndef NICACHED_TESTS_UNIT_CORE_CORE_BENCH_H
#define NICACHED_TESTS_UNIT_CORE_CORE_BENCH_H

#include "dataplane/core/core_internal.h"

enum bench_protocol { BENCH_REDIS, BENCH_MEMCACHE };

struct core_bench {
    struct config *config; /* may be changed between passes */
    const struct config *config_slot;
    struct metrics metrics;
    const struct metrics *all_metrics[1];
    struct shard *shard;
    struct control_status status;
    struct channel *to_control, *from_control;
    uint64_t now_us;
    uint16_t ports[3]; /* by bench_protocol; memcached's UDP */
    struct core *core;
};

struct core_bench *bench_create(void);
void bench_destroy(struct core_bench *b);

int bench_connect(struct core_bench *b, enum bench_protocol protocol);
/* All of it, without a pass in between: it must fit into the kernel's buffers. */
void bench_send_bytes(int client, const void *bytes, size_t size);
void bench_send(int client, const char *text);
/* "*n $.. ..." of the words, the last one `size` bytes of `fill`. */
void bench_send_filled(int client, const char *head, char fill, size_t size, const char *tail);

void bench_pass(struct core_bench *b, uint32_t count);
void bench_advance(struct core_bench *b, uint64_t us);

/* Passes until as many bytes have come as `text` has; they must be the same, and no more follow. */
void bench_expect(struct core_bench *b, int client, const char *text);
void bench_expect_filled(struct core_bench *b, int client, const char *head, char fill, size_t size,
                         const char *tail);
void bench_expect_nothing(struct core_bench *b, int client);
/* The server has ended the connection (or reset it); closes the client's side. */
void bench_expect_end(struct core_bench *b, int client);
void bench_close(struct core_bench *b, int client);

/* Bytes of items and blobs, after what was retired has been freed. */
uint64_t bench_item_bytes(struct core_bench *b);

#endif
