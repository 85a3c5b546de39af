/* Dialogues with a core over kernel sockets: order of replies, ends of connections, large
 * arguments, slow readers, replies that come late, limits, datagrams. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "dataplane/base/rcu.h"
#include "dataplane/channel/channel.h"
#include "tests/support/simulated_host.h"
#include "tests/unit/core/core_bench.h"

/* More than one read brings, so that it is received into a blob. */
#define LARGE   100000U
#define NEAR_1M 1048550U
/* Beside six values of LARGE bytes: enough for the worker to wait for the control thread, and too
 * little for what is written then. */
#define ROOM_LEFT     7000
#define OUT_OF_MEMORY "-OOM command not allowed when used memory > 'maxmemory'.\r\n"

/* ---- pipelines ------------------------------------------------------------------------------- */

static void replies_before_a_fatal_error_are_sent(void **state)
{
    struct core_bench *b = bench_create();
    int client = bench_connect(b, BENCH_REDIS);
    bench_send(client, "PING\r\n*1\r\n$4\r\nPING\r\n*x\r\nPING\r\n");
    bench_expect(b, client, "+PONG\r\n+PONG\r\n-ERR Protocol error: invalid multibulk length\r\n");
    bench_expect_end(b, client);
    bench_destroy(b);
}

static void nothing_runs_behind_quit(void **state)
{
    struct core_bench *b = bench_create();
    int client = bench_connect(b, BENCH_REDIS), other = bench_connect(b, BENCH_MEMCACHE);
    bench_send(client, "PING\r\nQUIT\r\nSET a 1\r\n");
    bench_send(other, "version\r\nquit\r\nset a 0 0 1\r\n1\r\n");
    bench_expect(b, client, "+PONG\r\n+OK\r\n");
    bench_expect_end(b, client);
    bench_expect(b, other, "VERSION 1.6.18\r\n");
    bench_expect_end(b, other);
    assert_int_equal(shard_key_count(b->shard, 0), 0);
    bench_destroy(b);
}

static void many_requests_of_many_connections_keep_their_order(void **state)
{
    enum { CLIENTS = 40, EACH = 50 };
    struct core_bench *b = bench_create();
    int clients[CLIENTS];
    for (int i = 0; i < CLIENTS; i++) {
        clients[i] = bench_connect(b, BENCH_REDIS);
    }
    for (int i = 0; i < CLIENTS; i++) {
        for (int k = 0; k < EACH; k++) {
            bench_send(clients[i], k % 2 == 0 ? "ECHO \"a b\"\r\n" : "PING x\r\n");
        }
    }
    for (int i = 0; i < CLIENTS; i++) {
        for (int k = 0; k < EACH; k++) {
            bench_expect(b, clients[i], k % 2 == 0 ? "$3\r\na b\r\n" : "$1\r\nx\r\n");
        }
        bench_expect_nothing(b, clients[i]);
        bench_close(b, clients[i]);
    }
    bench_destroy(b);
}

static void set_password(struct core_bench *b)
{
    free(b->config->requirepass);
    b->config->requirepass = strdup("secret");
    assert_non_null(b->config->requirepass);
}

/* The limits of the unauthenticated are not those of whoever has just said the password. */
static void authentication_in_a_pipeline_counts(void **state)
{
    struct core_bench *b = bench_create();
    set_password(b);
    int client = bench_connect(b, BENCH_REDIS);
    bench_send_filled(
        client, "AUTH secret\r\n*3\r\n$3\r\nSET\r\n$1\r\na\r\n$100000\r\n", 'x', LARGE,
        "\r\n*12\r\n$6\r\nEXISTS\r\n$1\r\na\r\n$1\r\na\r\n$1\r\na\r\n$1\r\na\r\n"
        "$1\r\na\r\n$1\r\na\r\n$1\r\na\r\n$1\r\na\r\n$1\r\na\r\n$1\r\na\r\n$1\r\na\r\n");
    bench_expect(b, client, "+OK\r\n+OK\r\n:11\r\n");
    bench_close(b, client);
    client = bench_connect(b, BENCH_REDIS);
    bench_send(client, "PING\r\n*3\r\n$3\r\nSET\r\n$1\r\na\r\n$100000\r\n");
    bench_expect(b, client,
                 "-NOAUTH Authentication required.\r\n"
                 "-ERR Protocol error: unauthenticated bulk length\r\n");
    bench_expect_end(b, client);
    bench_destroy(b);
}

static void errors_obey_client_reply(void **state)
{
    struct core_bench *b = bench_create();
    int client = bench_connect(b, BENCH_REDIS);
    bench_send(client, "CLIENT REPLY OFF\r\n*x\r\n");
    bench_expect_end(b, client);
    bench_destroy(b);
}

/* ---- ends of connections -----------------------------------------------------------------------
 */

static void half_closed_clients_get_their_replies(void **state)
{
    struct core_bench *b = bench_create();
    int client = bench_connect(b, BENCH_REDIS), waiting = bench_connect(b, BENCH_REDIS);
    bench_send(client, "PING\r\nPIN");
    bench_send(waiting, "DEBUG SLEEP 5\r\nPING\r\nPI");
    shutdown(client, SHUT_WR);
    shutdown(waiting, SHUT_WR);
    bench_expect(b, client, "+PONG\r\n");
    bench_expect_end(b, client);
    bench_expect_nothing(b, waiting);
    bench_advance(b, 5000000);
    bench_expect(b, waiting, "+OK\r\n+PONG\r\n");
    bench_expect_end(b, waiting);
    bench_destroy(b);
}

static void clients_that_vanish_leave_nothing(void **state)
{
    struct core_bench *b = bench_create();
    int clients[4];
    for (int i = 0; i < 4; i++) {
        clients[i] = bench_connect(b, i < 2 ? BENCH_REDIS : BENCH_MEMCACHE);
    }
    bench_send_filled(clients[0], "*3\r\n$3\r\nSET\r\n$1\r\na\r\n$100000\r\n", 'x', 50000, "");
    bench_send_filled(clients[1],
                      "*5\r\n$4\r\nMSET\r\n$1\r\na\r\n$1\r\nb\r\n$1\r\nc\r\n$100000\r\n", 'x',
                      LARGE, "");
    bench_send_filled(clients[2], "set a 0 0 90000\r\n", 'x', 50000, "");
    bench_send_filled(clients[3], "set a 0 0 2000000\r\n", 'x', 50000, ""); /* too large */
    bench_pass(b, 5);
    assert_true(bench_item_bytes(b) > 200000);
    for (int i = 0; i < 4; i++) {
        bench_close(b, clients[i]);
    }
    assert_int_equal(bench_item_bytes(b), 0);
    bench_destroy(b);
}

static uint64_t client_id(struct core_bench *b, uint32_t position)
{
    const struct client *client = b->core->clients.first;
    while (position-- > 0) {
        client = client->next;
    }
    return client->id;
}

static void kill_takes_effect_at_once(void **state)
{
    struct core_bench *b = bench_create();
    int killer = bench_connect(b, BENCH_REDIS), victim = bench_connect(b, BENCH_REDIS);
    int sleeper = bench_connect(b, BENCH_REDIS);
    char text[128];
    bench_send(sleeper, "DEBUG SLEEP 1\r\nPING\r\n");
    bench_pass(b, 5);
    snprintf(text, sizeof(text), "CLIENT KILL ID %llu\r\nCLIENT KILL ID %llu\r\nPING\r\n",
             (unsigned long long)client_id(b, 1), (unsigned long long)client_id(b, 2));
    bench_send(killer, text);
    bench_send(victim, "SET a 1\r\nSET b 1\r\n"); /* in the same pass, behind the KILL */
    bench_expect(b, killer, ":1\r\n:1\r\n+PONG\r\n");
    bench_expect_end(b, victim);
    bench_expect_end(b, sleeper);
    bench_advance(b, 1000000);
    assert_int_equal(shard_key_count(b->shard, 0), 0);
    snprintf(text, sizeof(text), "CLIENT KILL ID %llu SKIPME no\r\nPING\r\n",
             (unsigned long long)client_id(b, 0));
    bench_send(killer, text);
    bench_expect(b, killer, ":1\r\n");
    bench_expect_end(b, killer);
    bench_destroy(b);
}

static void idle_clients_are_ended(void **state)
{
    struct core_bench *b = bench_create();
    int idle = bench_connect(b, BENCH_REDIS), busy = bench_connect(b, BENCH_REDIS);
    int waiting = bench_connect(b, BENCH_REDIS);
    b->config->timeout = 10;
    bench_send(waiting, "DEBUG SLEEP 30\r\n");
    for (int i = 0; i < 12; i++) {
        bench_send(busy, "PING\r\n");
        bench_expect(b, busy, "+PONG\r\n");
        bench_advance(b, 1000000);
    }
    bench_expect_end(b, idle);
    bench_expect_nothing(b, waiting);
    bench_advance(b, 20000000);
    bench_expect(b, waiting, "+OK\r\n");
    bench_expect_end(b, busy);
    bench_close(b, waiting);
    bench_destroy(b);
}

/* A byte now and then is no progress; a large value that comes steadily is, and so are whole
 * requests. */
static void unfinished_requests_are_ended(void **state)
{
    struct core_bench *b = bench_create();
    int slow = bench_connect(b, BENCH_REDIS), steady = bench_connect(b, BENCH_REDIS);
    int busy = bench_connect(b, BENCH_REDIS), idle = bench_connect(b, BENCH_REDIS);
    int memcache = bench_connect(b, BENCH_MEMCACHE);
    char piece[1201];
    memset(piece, 'v', 1200);
    piece[1200] = '\0';
    b->config->request_timeout = 10;
    bench_send(slow, "*2\r\n$4\r\nECHO\r\n$200\r\n");
    bench_send(memcache, "set key 0 0 100\r\n");
    bench_send(steady, "*3\r\n$3\r\nSET\r\n$1\r\na\r\n$60000\r\n");
    bench_send(busy, "PI");
    for (int i = 0; i < 50; i++) {
        bench_send(steady, piece);
        bench_send(busy, "NG\r\nPI"); /* there is always a begun one */
        bench_expect(b, busy, "+PONG\r\n");
        if (i < 8) {
            bench_send(slow, "x");
        }
        bench_advance(b, 1000000);
        bench_pass(b, 2);
        if (i == 15) {
            bench_expect_end(b, slow);
            bench_expect_end(b, memcache);
        }
    }
    bench_send(steady, "\r\n");
    bench_expect(b, steady, "+OK\r\n");
    bench_send(idle, "PING\r\n"); /* who owes nothing may be silent */
    bench_expect(b, idle, "+PONG\r\n");
    assert_int_equal(metric_read(&b->metrics, METRIC_REQUEST_TIMEOUTS), 2);
    bench_destroy(b);
}

static void logins_are_not_waited_for_long(void **state)
{
    struct core_bench *b = bench_create();
    free(b->config->requirepass);
    b->config->requirepass = strdup("secret");
    assert_non_null(b->config->requirepass);
    b->config->request_timeout = 10;
    int member = bench_connect(b, BENCH_REDIS), stranger = bench_connect(b, BENCH_REDIS);
    bench_send(member, "AUTH secret\r\n");
    bench_expect(b, member, "+OK\r\n");
    for (int i = 0; i < 9; i++) {
        bench_send(stranger, "PING\r\n");
        bench_expect(b, stranger, "-NOAUTH Authentication required.\r\n");
        bench_advance(b, 1000000);
    }
    bench_advance(b, 2000000);
    bench_pass(b, 2);
    bench_expect_end(b, stranger);
    bench_send(member, "PING\r\n");
    bench_expect(b, member, "+PONG\r\n");
    assert_int_equal(metric_read(&b->metrics, METRIC_REQUEST_TIMEOUTS), 1);
    bench_destroy(b);
}

/* Looked at when the time is over but for what milliseconds leave out: not put off by a whole one.
 */
static void logins_end_at_any_microsecond(void **state)
{
    struct core_bench *b = bench_create();
    free(b->config->requirepass);
    b->config->requirepass = strdup("secret");
    assert_non_null(b->config->requirepass);
    b->config->request_timeout = 10;
    bench_advance(b, 1900 - b->now_us % 1000);
    int stranger = bench_connect(b, BENCH_REDIS);
    bench_pass(b, 2);
    bench_advance(b, 10000000 - 900);
    bench_pass(b, 2);
    bench_advance(b, 900);
    bench_pass(b, 2);
    bench_expect_end(b, stranger);
    assert_int_equal(metric_read(&b->metrics, METRIC_REQUEST_TIMEOUTS), 1);
    bench_destroy(b);
}

/* Of those who begin large requests and never end them, the largest goes; who said NO-EVICT stays.
 */
static void clients_beyond_their_memory_are_evicted(void **state)
{
    struct core_bench *b = bench_create();
    int kept = bench_connect(b, BENCH_REDIS), large = bench_connect(b, BENCH_REDIS);
    int small = bench_connect(b, BENCH_REDIS);
    bench_send(kept, "CLIENT NO-EVICT ON\r\n");
    bench_expect(b, kept, "+OK\r\n");
    bench_send_filled(kept, "*3\r\n$4\r\nMSET\r\n$16000\r\n", 'k', 15999, "");
    bench_send_filled(large, "*3\r\n$4\r\nMSET\r\n$12000\r\n", 'k', 11999, "");
    bench_send_filled(small, "*3\r\n$4\r\nMSET\r\n$6000\r\n", 'k', 5999, "");
    bench_pass(b, 5);
    b->config->maxmemory_clients = (int64_t)b->core->request_bytes - 1;
    bench_pass(b, 5);
    bench_expect_end(b, large);
    assert_int_equal(metric_read(&b->metrics, METRIC_EVICTED_CLIENTS), 1);
    b->config->maxmemory_clients = 1;
    bench_pass(b, 5);
    bench_expect_end(b, small);
    bench_expect_nothing(b, kept);
    assert_int_equal(metric_read(&b->metrics, METRIC_EVICTED_CLIENTS), 2);
    bench_close(b, kept);
    bench_destroy(b);
}

/* A value is counted whole from its announcement on, however little of it has come. */
static void values_on_their_way_count(void **state)
{
    struct core_bench *b = bench_create();
    int large = bench_connect(b, BENCH_REDIS), small = bench_connect(b, BENCH_MEMCACHE);
    struct client *client = b->core->clients.first;
    bench_send_filled(large, "*7\r\n$4\r\nMSET\r\n$1\r\na\r\n$100000\r\n", 'a', LARGE,
                      "\r\n$1\r\nb\r\n$3000000\r\nbbbb");
    bench_send(small, "set a 0 0 200000\r\nx");
    bench_pass(b, 5);
    assert_in_range(b->core->request_bytes, 3300000, 3400000);
    assert_int_equal(metric_read(&b->metrics, METRIC_CLIENT_MEMORY), b->core->request_bytes);
    assert_in_range(client->argument_bytes, LARGE + 3000000, LARGE + 3100000);
    b->config->maxmemory_clients = 3300000; /* between the two */
    bench_pass(b, 5);
    bench_expect_end(b, large);
    assert_int_equal(metric_read(&b->metrics, METRIC_EVICTED_CLIENTS), 1);
    assert_in_range(b->core->request_bytes, 200000, 220000);
    bench_send_filled(small, "", 'x', 199999, "\r\n");
    bench_expect(b, small, "STORED\r\n");
    assert_int_equal(b->core->request_bytes, 0);
    bench_close(b, small);
    bench_destroy(b);
}

#define KEPT_BYTES (32U << 20) /* far more than a socket takes */

static void set_value_to_keep(struct core_bench *b, int writer, const char *key)
{
    char request[64];
    snprintf(request, sizeof(request), "SETRANGE %s %u x\r\n", key, KEPT_BYTES - 1);
    bench_send(writer, request);
    bench_pass(b, 5);
    bench_expect(b, writer, ":33554432\r\n");
}

/* A value counts once, and only when no key has it any more, whatever took the key away. */
static void values_that_only_replies_hold_count(void **state)
{
    struct core_bench *b = bench_create();
    int writer = bench_connect(b, BENCH_REDIS);
    int readers[2] = {bench_connect(b, BENCH_REDIS), bench_connect(b, BENCH_REDIS)};
    set_value_to_keep(b, writer, "a");
    for (int i = 0; i < 2; i++) {
        bench_send(readers[i], "GET a\r\n");
    }
    bench_send(writer, "COPY a b\r\nDEL a\r\nRENAME b c\r\n");
    bench_pass(b, 10);
    bench_expect(b, writer, ":1\r\n:1\r\n+OK\r\n");
    assert_in_range(b->core->bytes.referenced_bytes, 2 * KEPT_BYTES, 2 * KEPT_BYTES + 64);
    assert_int_equal(shard_kept_bytes(b->core->shard), 0);
    b->config->maxmemory_clients = KEPT_BYTES + KEPT_BYTES / 2;
    bench_send(writer, "SET c 1\r\n");
    bench_pass(b, 10);
    bench_expect(b, writer, "+OK\r\n");
    assert_in_range(shard_kept_bytes(b->core->shard), KEPT_BYTES, 2 * KEPT_BYTES - 1);
    assert_int_equal(metric_read(&b->metrics, METRIC_EVICTED_CLIENTS), 0);
    b->config->maxmemory_clients = KEPT_BYTES / 2;
    bench_pass(b, 10);
    assert_int_equal(metric_read(&b->metrics, METRIC_EVICTED_CLIENTS), 2);
    assert_int_equal(shard_kept_bytes(b->core->shard), 0);
    assert_int_equal(b->core->bytes.referenced_bytes, 0);
    bench_send(writer, "PING\r\n");
    bench_expect(b, writer, "+PONG\r\n");
    bench_destroy(b);
}

/* As long as a key has it, who reads it is not dropped for it; nor is it kept when nobody reads. */
static void values_of_keys_do_not_count_for_readers(void **state)
{
    struct core_bench *b = bench_create();
    int writer = bench_connect(b, BENCH_REDIS), reader = bench_connect(b, BENCH_REDIS);
    b->config->maxmemory_clients = KEPT_BYTES / 2;
    set_value_to_keep(b, writer, "a");
    set_value_to_keep(b, writer, "b");
    bench_send(reader, "GET a\r\n");
    bench_send(writer, "DEL b\r\n");
    bench_pass(b, 10);
    bench_expect(b, writer, ":1\r\n");
    assert_int_equal(shard_kept_bytes(b->core->shard), 0);
    assert_int_equal(metric_read(&b->metrics, METRIC_EVICTED_CLIENTS), 0);
    bench_send(writer, "FLUSHALL\r\n");
    bench_pass(b, 20);
    bench_expect(b, writer, "+OK\r\n");
    assert_int_equal(metric_read(&b->metrics, METRIC_EVICTED_CLIENTS), 1);
    assert_int_equal(shard_kept_bytes(b->core->shard), 0);
    bench_destroy(b);
}

static void clients_beyond_the_limit_are_told(void **state)
{
    struct core_bench *b = bench_create();
    b->config->maxclients = 2;
    int first = bench_connect(b, BENCH_REDIS), second = bench_connect(b, BENCH_MEMCACHE);
    int third = bench_connect(b, BENCH_REDIS), fourth = bench_connect(b, BENCH_MEMCACHE);
    bench_expect(b, third, "-ERR max number of clients reached\r\n");
    bench_expect_end(b, third);
    bench_expect(b, fourth, "ERROR Too many open connections\r\n");
    bench_expect_end(b, fourth);
    bench_close(b, first);
    first = bench_connect(b, BENCH_REDIS);
    bench_send(first, "PING\r\n");
    bench_expect(b, first, "+PONG\r\n");
    bench_send(second, "version\r\n");
    bench_expect(b, second, "VERSION 1.6.18\r\n");
    assert_int_equal(metric_read(&b->metrics, METRIC_CONNECTIONS_REJECTED), 2);
    bench_destroy(b);
}

static void endless_requests_are_ended(void **state)
{
    struct core_bench *b = bench_create();
    b->config->client_query_buffer_limit = 1 << 20;
    int client = bench_connect(b, BENCH_REDIS);
    bench_send(client, "*1000\r\n");
    for (int i = 0; i < 100 && b->core->clients.count == 1; i++) {
        assert_true(i < 90);
        bench_send_filled(client, "$12000\r\n", 'x', 12000, "\r\n");
        bench_pass(b, 3);
    }
    bench_expect_end(b, client);
    assert_int_equal(metric_read(&b->metrics, METRIC_QUERY_LIMIT_DISCONNECTIONS), 1);
    bench_destroy(b);
}

static void stopping_ends_everybody(void **state)
{
    enum { CLIENTS = 300 };
    struct core_bench *b = bench_create();
    int clients[CLIENTS];
    for (int i = 0; i < CLIENTS; i++) {
        clients[i] = bench_connect(b, BENCH_REDIS);
        bench_send_filled(clients[i], "DEBUG SLEEP 9\r\n*3\r\n$3\r\nSET\r\n$1\r\na\r\n$100000\r\n",
                          'x', 100, "");
    }
    bench_pass(b, 5);
    assert_int_equal(b->core->clients.count, CLIENTS);
    bench_destroy(b);
    for (int i = 0; i < CLIENTS; i++) {
        char byte;
        assert_true(recv(clients[i], &byte, 1, MSG_DONTWAIT) <= 0);
        close(clients[i]);
    }
}

/* ---- large arguments ---------------------------------------------------------------------------
 */

static void large_arguments_of_any_command(void **state)
{
    struct core_bench *b = bench_create();
    int client = bench_connect(b, BENCH_REDIS);
    bench_send_filled(client, "*7\r\n$4\r\nMSET\r\n$1\r\na\r\n$100000\r\n", 'a', LARGE,
                      "\r\n$1\r\nb\r\n$130000\r\n");
    bench_send_filled(client, "", 'b', 130000, "\r\n$1\r\nc\r\n$1\r\nc\r\nGET c\r\n");
    bench_expect(b, client, "+OK\r\n$1\r\nc\r\n");
    bench_send(client, "GET b\r\nGET a\r\n");
    bench_expect_filled(b, client, "$130000\r\n", 'b', 130000, "\r\n");
    bench_expect_filled(b, client, "$100000\r\n", 'a', LARGE, "\r\n");
    bench_send_filled(client, "*2\r\n$4\r\nECHO\r\n$100000\r\n", 'e', LARGE, "\r\nPING\r\n");
    bench_expect_filled(b, client, "$100000\r\n", 'e', LARGE, "\r\n+PONG\r\n");
    bench_send_filled(client, "*3\r\n$6\r\nAPPEND\r\n$1\r\na\r\n$100000\r\n", 'a', LARGE,
                      "\r\nGET a\r\n");
    bench_expect_filled(b, client, ":200000\r\n$200000\r\n", 'a', 200000, "\r\n");
    bench_send_filled(client, "*2\r\n$3\r\nGET\r\n$100000\r\n", 'k', LARGE, "\r\n");
    bench_expect(b, client, "$-1\r\n");
    bench_send_filled(client, "*3\r\n$3\r\nSET\r\n$100000\r\n", 'k', LARGE, "\r\n$1\r\nv\r\n");
    bench_expect(b, client, "+OK\r\n");
    bench_send_filled(client, "*2\r\n$5\r\nNOSUC\r\n$100000\r\n", 'x', LARGE, "\r\nPING\r\n");
    bench_expect_filled(b, client, "-ERR unknown command 'NOSUC', with args beginning with: '", 'x',
                        128, "' \r\n+PONG\r\n");
    bench_send_filled(client, "*3\r\n$4\r\nMSET\r\n$100000\r\n", 'k', LARGE, "\r\n+PING\r\n");
    bench_expect(b, client, "-ERR Protocol error: expected '$', got '+'\r\n");
    bench_expect_end(b, client);
    bench_destroy(b);
}

static void large_memcached_values(void **state)
{
    struct core_bench *b = bench_create();
    int client = bench_connect(b, BENCH_MEMCACHE);
    bench_send_filled(client, "set a 7 0 100000\r\n", 'a', LARGE, "\r\nget a\r\n");
    bench_expect_filled(b, client, "STORED\r\nVALUE a 7 100000\r\n", 'a', LARGE, "\r\nEND\r\n");
    bench_send_filled(client, "add a 0 0 100000\r\n", 'x', LARGE, "\r\nget none\r\n");
    bench_expect(b, client, "NOT_STORED\r\nEND\r\n");
    bench_send_filled(client, "set b 0 0 100000 noreply\r\n", 'b', LARGE, "\r\nget none\r\n");
    bench_expect(b, client, "END\r\n");
    bench_send_filled(client, "set c 0 0 100000\r\n", 'c', LARGE, "XXget c\r\n");
    bench_expect(b, client, "CLIENT_ERROR bad data chunk\r\nEND\r\n");
    bench_send_filled(client, "set c 0 0 100000 noreply\r\n", 'c', LARGE, "XXget none\r\n");
    bench_expect(b, client, "END\r\n");
    b->config->memcache_item_size_max = 1024;
    bench_send_filled(client, "set b 0 0 100000\r\n", 'b', LARGE, "\r\nget b\r\n");
    bench_expect(b, client, "SERVER_ERROR object too large for cache\r\nEND\r\n");
    bench_destroy(b);
}

/* Keys of one letter, over and over: the capitals have that letter as their value. */
static void add_get(char *requests, char *replies, uint32_t key_count)
{
    strcat(requests, "get");
    for (uint32_t i = 0; i < key_count; i++) {
        char letter = "aBcDeFgHiJ"[i % 10], *request_end = strchr(requests, '\0');
        (void)snprintf(request_end, 3, " %c", letter);
        if (letter < 'a') {
            (void)snprintf(strchr(replies, '\0'), 32, "VALUE %c 0 1\r\n%c\r\n", letter, letter);
        }
    }
    strcat(requests, "\r\n");
    strcat(replies, "END\r\n");
}

static void add_set(char *requests, char *replies, char key)
{
    (void)snprintf(strchr(requests, '\0'), 32, "set %c 0 0 1\r\n%c\r\n", key, key);
    strcat(replies, "STORED\r\n");
}

/* One, and several at once, between short ones and writes; more keys than a batch has, too. */
static void requests_with_many_keys(void **state)
{
    struct core_bench *b = bench_create();
    int client = bench_connect(b, BENCH_MEMCACHE);
    static char requests[32768], replies[65536];
    for (const char *key = "BDFHJ"; *key != '\0'; key++) {
        add_set(requests, replies, *key);
    }
    add_get(requests, replies, 33);
    add_get(requests, replies, 1);
    add_get(requests, replies, 32);
    for (uint32_t keys = 40; keys < 60; keys++) {
        add_get(requests, replies, keys);
        if (keys % 5 == 0) {
            add_set(requests, replies, 'B');
            add_get(requests, replies, 2);
        }
    }
    add_get(requests, replies, 50);
    add_get(requests, replies, CORE_BATCH_KEYS);
    add_get(requests, replies, CORE_BATCH_KEYS + 1);
    add_get(requests, replies, 50);
    for (int round = 0; round < 2; round++) {
        bench_send(client, requests);
        bench_expect(b, client, replies);
    }
    assert_int_equal(b->core->context->ahead.visited, SHARD_PREFETCH_ENDED);
    bench_destroy(b);
}

static void set_memory_limit(struct core_bench *b)
{
    b->config->maxmemory = 1; /* below what the index takes */
    bench_pass(b, 1);
}

static void large_values_without_memory(void **state)
{
    struct core_bench *b = bench_create();
    int client = bench_connect(b, BENCH_REDIS), other = bench_connect(b, BENCH_MEMCACHE);
    bench_send(other, "set a 0 0 1\r\n1\r\n");
    bench_expect(b, other, "STORED\r\n");
    set_memory_limit(b);
    bench_send_filled(client, "PING\r\n*3\r\n$3\r\nSET\r\n$1\r\nb\r\n$100000\r\n", 'x', LARGE,
                      "\r\nPING\r\n");
    bench_expect(b, client,
                 "+PONG\r\n-OOM command not allowed when used memory > 'maxmemory'.\r\n+PONG\r\n");
    bench_send(client, "CLIENT REPLY SKIP\r\n");
    bench_send_filled(client, "*3\r\n$3\r\nSET\r\n$1\r\nb\r\n$100000\r\n", 'x', LARGE,
                      "\r\nPING\r\n");
    bench_expect(b, client, "+PONG\r\n");
    bench_send_filled(client, "*3\r\n$4\r\nMSET\r\n$100000\r\n", 'k', LARGE, "\r\n+x\r\n");
    bench_expect(b, client, "-ERR Protocol error: expected '$', got '+'\r\n");
    bench_expect_end(b, client);
    /* As the reference does: no reply when none is wanted, and the old value is gone. */
    bench_send_filled(other, "set a 0 0 100000 noreply\r\n", 'x', LARGE, "\r\nget a\r\n");
    bench_expect(b, other, "END\r\n");
    bench_send_filled(other, "set a 0 0 100000\r\n", 'x', LARGE, "\r\nget a\r\n");
    bench_expect(b, other, "SERVER_ERROR out of memory storing object\r\nEND\r\n");
    bench_destroy(b);
}

/* Freed after a grace period, not at once: who writes in between waits for it, and nobody else. */
static void writes_wait_for_memory_that_comes_back(void **state)
{
    struct core_bench *b = bench_create();
    int client = bench_connect(b, BENCH_REDIS), other = bench_connect(b, BENCH_REDIS);
    bench_send_filled(client, "*3\r\n$3\r\nSET\r\n$1\r\na\r\n$100000\r\n", 'x', LARGE, "\r\n");
    bench_expect(b, client, "+OK\r\n");
    struct shard_memory memory;
    shard_read_memory(b->shard, &memory);
    b->config->maxmemory = (int64_t)memory.used_bytes + ROOM_LEFT;
    bench_send_filled(client, "FLUSHALL\r\n*3\r\n$3\r\nSET\r\n$1\r\nb\r\n$100000\r\n", 'x', LARGE,
                      "\r\n");
    bench_send(other, "PING\r\n");
    bench_expect(b, other, "+PONG\r\n");
    for (int i = 0; i < 100; i++) {
        bench_advance(b, 100);
    }
    bench_expect(b, client, "+OK\r\n+OK\r\n");
    assert_true(metric_read(&b->metrics, METRIC_MEMORY_WAITS) > 0);
    bench_destroy(b);
}

/* More than are tried again in one pass, for more than will come: who waited first gets it. One
 * goes away meanwhile. */
static void who_waits_for_memory_first_gets_it_first(void **state)
{
    enum { CLIENTS = 100, GONE = CLIENTS / 10 };
    struct core_bench *b = bench_create();
    int clients[CLIENTS];
    for (int i = 0; i < CLIENTS; i++) {
        clients[i] = bench_connect(b, BENCH_REDIS);
    }
    bench_send_filled(clients[0], "*3\r\n$3\r\nSET\r\n$1\r\na\r\n$100000\r\n", 'x', LARGE, "\r\n");
    bench_expect(b, clients[0], "+OK\r\n");
    struct shard_memory memory;
    shard_read_memory(b->shard, &memory);
    b->config->maxmemory = (int64_t)memory.used_bytes;
    bench_send(clients[0], "FLUSHALL\r\n");
    for (int i = 1; i < CLIENTS; i++) {
        char head[64];
        snprintf(head, sizeof(head), "*3\r\n$3\r\nSET\r\n$3\r\n%03d\r\n$3000\r\n", i);
        bench_send_filled(clients[i], head, 'x', 3000, "\r\n");
    }
    bench_expect(b, clients[0], "+OK\r\n");
    assert_int_equal(metric_read(&b->metrics, METRIC_MEMORY_WAITS), CLIENTS - 1);
    const struct linger reset = {.l_onoff = 1};
    setsockopt(clients[GONE], SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
    close(clients[GONE]);
    for (int i = 0; i < 100; i++) {
        bench_advance(b, 100);
    }
    uint64_t served = shard_key_count(b->shard, 0);
    assert_in_range(served, GONE + 10, CLIENTS - 10);
    for (int i = 1; i < CLIENTS; i++) {
        if (i != GONE) {
            bench_expect(b, clients[i], (uint64_t)i <= served + 1 ? "+OK\r\n" : OUT_OF_MEMORY);
        }
    }
    bench_destroy(b);
}

/* Nobody serves as the control thread here: the worker helps itself, after a while. What is too
 * large for the shard gets its error at once and evicts nothing. */
static void writes_wait_for_eviction(void **state)
{
    struct core_bench *b = bench_create();
    int client = bench_connect(b, BENCH_REDIS), other = bench_connect(b, BENCH_REDIS);
    for (char key = 'a'; key < 'f'; key++) {
        char head[64];
        snprintf(head, sizeof(head), "*3\r\n$3\r\nSET\r\n$1\r\n%c\r\n$100000\r\n", key);
        bench_send_filled(client, head, 'x', LARGE, "\r\n");
        bench_expect(b, client, "+OK\r\n");
    }
    struct shard_memory memory;
    shard_read_memory(b->shard, &memory);
    b->config->maxmemory = (int64_t)memory.used_bytes + ROOM_LEFT;
    b->config->maxmemory_policy = MAXMEMORY_ALLKEYS_LRU;
    bench_send_filled(client, "*3\r\n$3\r\nSET\r\n$1\r\ng\r\n$1048550\r\n", 'k', NEAR_1M, "\r\n");
    bench_expect(b, client, "-OOM command not allowed when used memory > 'maxmemory'.\r\n");
    assert_int_equal(shard_key_count(b->shard, 0), 5);

    bench_send_filled(client, "*3\r\n$3\r\nSET\r\n$1\r\nf\r\n$100000\r\n", 'x', LARGE, "\r\n");
    bench_send(other, "PING\r\n");
    bench_expect(b, other, "+PONG\r\n");
    bench_expect_nothing(b, client);
    assert_int_equal(shard_key_count(b->shard, 0), 5);
    assert_true(shard_wanted_bytes(b->shard) >= LARGE);
    for (int i = 0; i < 100; i++) {
        bench_advance(b, 200);
    }
    bench_expect(b, client, "+OK\r\n");
    assert_in_range(metric_read(&b->metrics, METRIC_STORE_EMERGENCY_EVICTIONS), 1, 4);
    shard_read_memory(b->shard, &memory);
    assert_true(memory.peak_bytes <= (uint64_t)b->config->maxmemory);
    bench_destroy(b);
}

/* Five values of 100000 bytes, and one more whose key is `last` and which was used later. No room
 * for another. */
static int fill_up(struct core_bench *b, char last)
{
    int client = bench_connect(b, BENCH_REDIS);
    b->config->maxmemory_policy = MAXMEMORY_ALLKEYS_LRU;
    for (char key = 'a'; key <= 'f'; key++) {
        char head[64];
        bench_advance(b, key == 'f' ? 2000000 : 1);
        snprintf(head, sizeof(head), "*3\r\n$3\r\nSET\r\n$1\r\n%c\r\n$100000\r\n",
                 key == 'f' ? last : key);
        bench_send_filled(client, head, 'x', LARGE, "\r\n");
        bench_expect(b, client, "+OK\r\n");
    }
    struct shard_memory memory;
    shard_read_memory(b->shard, &memory);
    b->config->maxmemory = (int64_t)memory.used_bytes + ROOM_LEFT;
    return client;
}

static void pass_some_time(struct core_bench *b)
{
    for (int i = 0; i < 100; i++) {
        bench_advance(b, 200);
    }
}

/* Each of them, also while its request holds those before it. What cannot be there together gets
 * the error. */
static void several_large_values_wait_for_eviction(void **state)
{
    struct core_bench *b = bench_create();
    int client = fill_up(b, 'f');
    bench_send_filled(client, "*7\r\n$4\r\nMSET\r\n$1\r\nx\r\n$100000\r\n", 'x', LARGE,
                      "\r\n$1\r\ny\r\n$100000\r\n");
    pass_some_time(b);
    bench_send_filled(client, "", 'y', LARGE, "\r\n$1\r\nz\r\n$100000\r\n");
    pass_some_time(b);
    bench_send_filled(client, "", 'z', LARGE, "\r\n");
    pass_some_time(b);
    bench_expect(b, client, "+OK\r\n");
    bench_send(client, "GET z\r\n");
    bench_expect_filled(b, client, "$100000\r\n", 'z', LARGE, "\r\n");
    assert_in_range(metric_read(&b->metrics, METRIC_STORE_EVICTED_KEYS), 3, 6);
    bench_send(client, "*15\r\n$4\r\nMSET\r\n");
    for (int i = 0; i < 7; i++) {
        bench_send_filled(client, "$1\r\nm\r\n$100000\r\n", 'm', LARGE, "\r\n");
        pass_some_time(b);
    }
    bench_expect(b, client, "-OOM command not allowed when used memory > 'maxmemory'.\r\n");
    struct shard_memory memory;
    shard_read_memory(b->shard, &memory);
    assert_true(memory.peak_bytes <= (uint64_t)b->config->maxmemory);
    bench_destroy(b);
}

/* A value that is made of an old one needs room for all of it. */
static void changes_of_large_values_wait_for_eviction(void **state)
{
    struct core_bench *b = bench_create();
    int client = fill_up(b, 'v');
    bench_send(client, "APPEND v y\r\n");
    bench_expect_nothing(b, client);
    pass_some_time(b);
    bench_expect(b, client, ":100001\r\n");
    bench_send(client, "SETRANGE v 10 z\r\n");
    pass_some_time(b);
    bench_expect(b, client, ":100001\r\n");
    bench_send(client, "SETRANGE new 90000 z\r\n");
    pass_some_time(b);
    bench_expect(b, client, ":90001\r\n");
    bench_send(client, "EXISTS v\r\nSTRLEN v\r\nEXISTS a\r\n");
    bench_expect(b, client, ":1\r\n:100001\r\n:0\r\n");
    uint64_t evicted = metric_read(&b->metrics, METRIC_STORE_EVICTED_KEYS);
    assert_in_range(evicted, 1, 5);
    /* What could not be there beside the old value evicts nothing. */
    bench_send(client, "SETRANGE v 600000 z\r\n");
    bench_expect(b, client, "-OOM command not allowed when used memory > 'maxmemory'.\r\n");
    assert_int_equal(metric_read(&b->metrics, METRIC_STORE_EVICTED_KEYS), evicted);
    struct shard_memory memory;
    shard_read_memory(b->shard, &memory);
    assert_true(memory.peak_bytes <= (uint64_t)b->config->maxmemory);
    bench_destroy(b);
}

static void datagrams_wait_for_eviction(void **state)
{
    struct core_bench *b = bench_create();
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(b->ports[2])};
    char request[8 + 32 + 9000], reply[64];
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    (void)fill_up(b, 'v');
    memcpy(request, "\0\7\0\0\0\1\0\0", 8);
    int head = 8 + snprintf(request + 8, 32, "set u 0 0 9000\r\n");
    memset(request + head, 'u', 9000);
    memcpy(request + head + 9000, "\r\n", 2);
    assert_int_equal(send(fd, request, (size_t)head + 9002, 0), head + 9002);
    bench_pass(b, 3);
    assert_int_equal(recv(fd, reply, sizeof(reply), MSG_DONTWAIT), -1);
    pass_some_time(b);
    assert_int_equal(recv(fd, reply, sizeof(reply), MSG_DONTWAIT), 16);
    assert_memory_equal(reply, "\0\7\0\0\0\1\0\0STORED\r\n", 16);
    close(fd);
    bench_destroy(b);
}

/* The control thread's victims leave in the worker's passes, and the batch comes back. */
static void victims_of_the_control_thread_go(void **state)
{
    struct core_bench *b = bench_create();
    int client = bench_connect(b, BENCH_REDIS);
    bench_send(client, "SET a 1\r\nSET b 2\r\n");
    bench_expect(b, client, "+OK\r\n+OK\r\n");
    struct key key = key_hashed(SLICE_LITERAL("a"));
    struct instant now = {.mono_us = b->now_us};
    struct eviction_batch batch = {.count = 1};
    batch.victims[0] = (struct eviction_victim){shard_find(b->shard, 0, &key, &now), key.hash, 0};
    struct message message = {.type = MESSAGE_EVICT_BATCH, .pointer = &batch};
    assert_true(channel_send(b->from_control, &message));
    bench_pass(b, 3);
    bench_send(client, "EXISTS a\r\nEXISTS b\r\n");
    bench_expect(b, client, ":0\r\n:1\r\n");
    assert_int_equal(channel_receive_burst(b->to_control, &message, 1), 1);
    assert_int_equal(message.type, MESSAGE_EVICTED_BATCH);
    assert_ptr_equal(message.pointer, &batch);
    bench_destroy(b);
}

/* ---- slow readers ------------------------------------------------------------------------------
 */

static void slow_readers_get_everything_in_order(void **state)
{
    struct core_bench *b = bench_create();
    int client = bench_connect(b, BENCH_REDIS);
    bench_send_filled(client, "*3\r\n$3\r\nSET\r\n$1\r\na\r\n$50000\r\n", 'a', 50000, "\r\n");
    bench_expect(b, client, "+OK\r\n");
    for (int i = 0; i < 400; i++) {
        bench_send(client, "GET a\r\nINCR n\r\n");
    }
    bench_pass(b, 20);
    assert_true(bench_item_bytes(b) < 200000);
    assert_true(b->core->bytes.used_count < 1000); /* 20 MB are not queued */
    for (int i = 1; i <= 400; i++) {
        char number[32];
        snprintf(number, sizeof(number), "\r\n:%d\r\n", i);
        bench_expect_filled(b, client, "$50000\r\n", 'a', 50000, number);
    }
    bench_expect_nothing(b, client);
    bench_close(b, client);
    bench_destroy(b);
}

/* The first byte decides for the connection, whatever reads the lines: a plain request, or the
 * parser. */
static void binary_magic_behind_text_is_text(void **state)
{
    struct core_bench *b = bench_create();
    int client = bench_connect(b, BENCH_MEMCACHE);
    bench_send(client, "get a\r\n\x80\r\nget a b\r\n");
    bench_expect(b, client, "END\r\nERROR\r\nEND\r\n");
    client = bench_connect(b, BENCH_MEMCACHE);
    bench_send(client, "set a 0 0 1\r\na\r\n\x80\r\nset a 0 0 1\r\nb\r\nget a\r\n");
    bench_expect(b, client, "STORED\r\nERROR\r\nSTORED\r\nVALUE a 0 1\r\nb\r\nEND\r\n");
    bench_destroy(b);
}

/* Calls before those that are timed one by one, and what is timed of the next hundred. */
#define FULLY_TIMED_CALLS 1024

static void send_many(struct core_bench *b, int client, const char *request, const char *reply,
                      uint32_t count)
{
    while (count > 0) {
        uint32_t part = count < 50 ? count : 50;
        char requests[2048] = "", replies[4096] = "";
        for (uint32_t i = 0; i < part; i++) {
            strcat(requests, request);
            strcat(replies, reply);
        }
        bench_send(client, requests);
        bench_expect(b, client, replies);
        count -= part;
    }
}

/* Requests that run as a row count as if each had run by itself. */
static void rows_keep_the_statistics(void **state)
{
    struct core_bench *b = bench_create();
    int client = bench_connect(b, BENCH_REDIS);
    const struct command *command = command_find_named(NULL, SLICE_LITERAL("getrange"));
    const struct command_statistics *statistics =
        &b->core->context->statistics[command_index(command)];
    send_many(b, client, "GETRANGE k 0 x\r\n", "-ERR value is not an integer or out of range\r\n",
              FULLY_TIMED_CALLS + 100);
    assert_int_equal(statistics->calls, FULLY_TIMED_CALLS + 100);
    assert_int_equal(statistics->failed, FULLY_TIMED_CALLS + 100);
    assert_int_equal(statistics->timed_calls, FULLY_TIMED_CALLS + 2);
    assert_int_equal(b->core->clients.first->command_count, FULLY_TIMED_CALLS + 100);
    assert_int_equal(metric_read(&b->metrics, METRIC_ERROR_REPLIES), FULLY_TIMED_CALLS + 100);
    /* Between requests of other kinds, and one of another arity. */
    bench_send(client,
               "SET k 0123\r\nGETRANGE k 1 1\r\nGETRANGE k\r\nGETRANGE k 2 2\r\nCLIENT REPLY "
               "SKIP\r\nGETRANGE k 0 0\r\nGETRANGE k 3 3\r\n");
    bench_expect(b, client,
                 "+OK\r\n$1\r\n1\r\n-ERR wrong number of arguments for 'getrange' command\r\n"
                 "$1\r\n2\r\n$1\r\n3\r\n");
    bench_destroy(b);
}

/* A row ends where the output is full; what is put off is counted when it runs. */
static void rows_stop_at_full_output(void **state)
{
    enum { GETS = 6, REPLY_BYTES = 10 + NEAR_1M + 2 };
    struct core_bench *b = bench_create();
    int client = bench_connect(b, BENCH_REDIS);
    bench_send_filled(client, "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1048550\r\n", 'k', NEAR_1M, "\r\n");
    bench_expect(b, client, "+OK\r\n");
    send_many(b, client, "GET a\r\n", "$-1\r\n", FULLY_TIMED_CALLS + 1);
    int small = 100000;
    setsockopt(b->core->clients.first->socket_fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
    uint64_t before = metric_read(&b->metrics, METRIC_LOOP_REQUESTS);
    bench_send(client, "GET k\r\nGET k\r\nGET k\r\nGET k\r\nGET k\r\nGET k\r\n");
    bench_pass(b, 1);
    uint64_t waiting = b->core->clients.first->output_bytes;
    assert_true(waiting > 2 * NEAR_1M && waiting < GETS * NEAR_1M);
    uint8_t *replies = malloc(GETS * REPLY_BYTES);
    assert_non_null(replies);
    assert_int_equal(bench_receive(b, client, replies, GETS * REPLY_BYTES), GETS * REPLY_BYTES);
    for (int i = 0; i < GETS; i++) {
        assert_memory_equal(replies + i * REPLY_BYTES, "$1048550\r\nkkk", 13);
    }
    free(replies);
    assert_int_equal(metric_read(&b->metrics, METRIC_LOOP_REQUESTS) - before, GETS);
    bench_destroy(b);
}

/* The refusal of a value that is too large fills the output up, so that the request behind the
 * value is put off. The value's bytes look like requests; they were passed over and stay so. */
static void swallowed_bytes_are_not_parsed_later(void **state)
{
    struct core_bench *b = bench_create();
    int writer = bench_connect(b, BENCH_REDIS), client = bench_connect(b, BENCH_MEMCACHE);
    bench_send_filled(writer, "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1048550\r\n", 'k', NEAR_1M, "\r\n");
    bench_expect(b, writer, "+OK\r\n");
    b->config->memcache_item_size_max = 1024;
    char value[5001] = "";
    for (int i = 0; i < 500; i++) {
        memcpy(value + i * 10, "set e 0 0\r\n", 10);
    }
    memcpy(value, "\r\nset evil 0 0 1\r\n1\r\n", 21);
    bench_send(client, "get k\r\nset a 0 0 5000\r\n");
    bench_send(client, value);
    bench_send(client, "\r\nget a\r\nversion\r\n");
    bench_expect_filled(b, client, "VALUE k 0 1048550\r\n", 'k', NEAR_1M,
                        "\r\nEND\r\nSERVER_ERROR object too large for cache\r\nEND\r\n"
                        "VERSION 1.6.18\r\n");
    bench_expect_nothing(b, client);
    bench_destroy(b);
}

/* A value that was discarded for want of memory cannot be asked for again. */
static void discarded_values_are_answered_in_spite_of_full_output(void **state)
{
    struct core_bench *b = bench_create();
    int client = bench_connect(b, BENCH_REDIS);
    for (int i = 1; i <= 8; i++) {
        char length[16];
        snprintf(length, sizeof(length), ":%d\r\n", i * 500000);
        bench_send_filled(client, "*3\r\n$6\r\nAPPEND\r\n$1\r\nk\r\n$500000\r\n", 'k', 500000,
                          "\r\n");
        bench_expect(b, client, length);
    }
    set_memory_limit(b);
    /* What the kernel takes meanwhile is not enough to empty the output. */
    int small = 100000;
    setsockopt(b->core->clients.first->socket_fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
    setsockopt(client, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
    bench_send_filled(client, "GET k\r\n*3\r\n$3\r\nSET\r\n$1\r\na\r\n$100000\r\n", 'x', LARGE,
                      "\r\nPING\r\n");
    bench_pass(b, 5);
    assert_true(b->core->clients.first->output_buffer_bytes > CORE_OUTPUT_PAUSE_BYTES);
    bench_expect_filled(
        b, client, "$4000000\r\n", 'k', 4000000,
        "\r\n-OOM command not allowed when used memory > 'maxmemory'.\r\n+PONG\r\n");
    bench_destroy(b);
}

static struct control_request *take_request(struct core_bench *b)
{
    struct message message;
    bench_pass(b, 5);
    assert_int_equal(channel_receive_burst(b->to_control, &message, 1), 1);
    assert_int_equal(message.type, MESSAGE_CONTROL_REQUEST);
    return message.pointer;
}

static void set_output_limit(struct core_bench *b, int64_t hard_bytes, int64_t soft_bytes,
                             int64_t soft_seconds)
{
    b->config->client_output_buffer_limit[OUTPUT_CLASS_NORMAL] =
        (struct output_limit){hard_bytes, soft_bytes, soft_seconds};
    bench_pass(b, 2);
}

static uint64_t ended_for_output(const struct core_bench *b)
{
    return metric_read(&b->metrics, METRIC_OUTPUT_LIMIT_DISCONNECTIONS);
}

/* The line for the log goes to the control thread; what else it says is Redis'. */
static void expect_logged(struct core_bench *b, const char *end)
{
    struct control_request *request = take_request(b);
    assert_int_equal(request->type, CONTROL_LOG);
    assert_int_equal(strncmp(request->arguments[0], "Client id=", 10), 0);
    const char *line = strstr(request->arguments[0], " lib-ver=");
    assert_non_null(line);
    assert_string_equal(line + strlen(" lib-ver="), end);
    struct message message = {.type = MESSAGE_CONTROL_REPLY, .pointer = request};
    assert_true(channel_send(b->from_control, &message));
    bench_pass(b, 1);
}

#define LOGGED_END " scheduled to be closed ASAP for overcoming of output buffer limits."

/* A single reply is judged before any of it is sent; requests behind it are not run. */
static void replies_beyond_the_hard_limit_end_the_client(void **state)
{
    struct core_bench *b = bench_create();
    int client = bench_connect(b, BENCH_REDIS), others[4];
    bench_send_filled(client, "*3\r\n$3\r\nSET\r\n$1\r\na\r\n$100000\r\n", 'a', LARGE, "\r\n");
    bench_expect(b, client, "+OK\r\n");
    set_output_limit(b, LARGE + 20, 0, 0);
    bench_send(client, "GET a\r\n");
    bench_expect_filled(b, client, "$100000\r\n", 'a', LARGE, "\r\n");
    set_output_limit(b, LARGE + 11, 0, 0);
    bench_send(client, "GET a\r\nSET b 1\r\n");
    bench_expect_end(b, client);
    assert_int_equal(ended_for_output(b), 1);
    expect_logged(b, LOGGED_END);
    /* Of many at once one stands in the log, and the next line has their number. */
    for (int i = 0; i < 4; i++) {
        others[i] = bench_connect(b, i % 2 == 0 ? BENCH_REDIS : BENCH_MEMCACHE);
        bench_send(others[i], "get a\r\n");
        if (i == 3) {
            bench_advance(b, 1000000);
            expect_logged(b, LOGGED_END " (and 3 others before)");
        }
        bench_expect_end(b, others[i]);
    }
    assert_int_equal(ended_for_output(b), 5);
    client = bench_connect(b, BENCH_REDIS);
    bench_send(client, "EXISTS b\r\n");
    bench_expect(b, client, ":1\r\n");
    bench_destroy(b);
}

/* Long enough beyond the soft limit; who reads meanwhile begins anew. */
static void replies_beyond_the_soft_limit_end_the_client_later(void **state)
{
    enum { SIZE = 4000000 };
    static uint8_t read[SIZE];
    struct core_bench *b = bench_create();
    int reader = bench_connect(b, BENCH_REDIS), idler = bench_connect(b, BENCH_REDIS);
    bench_send(reader, "SETRANGE k 3999999 x\r\n");
    bench_expect(b, reader, ":4000000\r\n");
    int small = 100000;
    for (struct client *client = b->core->clients.first; client != NULL; client = client->next) {
        setsockopt(client->socket_fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
    }
    set_output_limit(b, 0, 1000000, 3);
    bench_send(reader, "GET k\r\n");
    bench_send(idler, "GET k\r\n");
    bench_pass(b, 3);
    assert_int_equal(b->core->output_soft_count, 2);
    for (int i = 0; i < 3; i++) {
        bench_advance(b, 1000000);
    }
    assert_int_equal(bench_receive(b, reader, read, SIZE), SIZE);
    bench_advance(b, 1000000);
    assert_in_range(bench_receive(b, idler, read, SIZE), 0, SIZE - 1000000); /* what had left */
    bench_expect_end(b, idler);
    assert_int_equal(ended_for_output(b), 1);
    assert_int_equal(b->core->output_soft_count, 0);
    expect_logged(b, LOGGED_END);
    /* A new limit is for what waits already. */
    idler = bench_connect(b, BENCH_REDIS);
    setsockopt(b->core->clients.last->socket_fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
    setsockopt(idler, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
    set_output_limit(b, 0, 0, 0);
    bench_send(idler, "GET k\r\n");
    bench_pass(b, 3);
    set_output_limit(b, 2000000, 0, 0);
    assert_in_range(bench_receive(b, idler, read, SIZE), 0, SIZE - 2000000);
    bench_expect_end(b, idler);
    assert_int_equal(ended_for_output(b), 2);
    bench_close(b, reader);
    bench_destroy(b);
}

/* ---- replies that come late ---------------------------------------------------------------------
 */

static void sleeping_holds_up_one_connection(void **state)
{
    struct core_bench *b = bench_create();
    int client = bench_connect(b, BENCH_REDIS), other = bench_connect(b, BENCH_REDIS);
    bench_send(client, "DEBUG SLEEP 1\r\nINCR n\r\nDEBUG SLEEP 1\r\nINCR n\r\nIN");
    bench_expect_nothing(b, client);
    bench_send(client, "CR n\r\n");
    bench_send(other, "INCR n\r\n");
    bench_expect(b, other, ":1\r\n");
    assert_true(core_next_timer(b->core) <= b->now_us + 1000000);
    bench_advance(b, 1000000);
    bench_expect(b, client, "+OK\r\n:2\r\n");
    bench_expect_nothing(b, client);
    bench_advance(b, 1000000);
    bench_expect(b, client, "+OK\r\n:3\r\n:4\r\n");
    bench_send(client, "CLIENT REPLY SKIP\r\nDEBUG SLEEP 1\r\nPING\r\n");
    bench_advance(b, 1000000);
    bench_advance(b, 1000000);
    bench_expect(b, client, "+PONG\r\n");
    bench_destroy(b);
}

/* More requests than a batch holds: the first run of the batch happens while events are taken, and
 * the sleep is over in the same pass. */
static void a_sleep_of_no_time_loses_nothing(void **state)
{
    struct core_bench *b = bench_create();
    int client = bench_connect(b, BENCH_REDIS);
    char text[4096] = "DEBUG SLEEP 0\r\n", expected[2048] = "+OK\r\n";
    for (int i = 0; i < 200; i++) {
        strcat(text, "PING\r\n");
        strcat(expected, "+PONG\r\n");
    }
    bench_send(client, text);
    bench_expect(b, client, expected);
    bench_expect_nothing(b, client);
    bench_destroy(b);
}

static void answer(struct core_bench *b, struct control_request *request, const char *error)
{
    struct message message = {.type = MESSAGE_CONTROL_REPLY, .pointer = request};
    strcpy(request->error, error);
    assert_true(channel_send(b->from_control, &message));
}

static void configuration_answers_in_its_place(void **state)
{
    struct core_bench *b = bench_create();
    int client = bench_connect(b, BENCH_REDIS);
    bench_send(client, "PING\r\nCONFIG SET timeout 5\r\nECHO 2\r\n");
    struct control_request *request = take_request(b);
    bench_expect(b, client, "+PONG\r\n");
    bench_send(client, "ECHO 3\r\n");
    bench_expect_nothing(b, client);
    answer(b, request, "");
    bench_expect(b, client, "+OK\r\n$1\r\n2\r\n$1\r\n3\r\n");
    bench_send(client, "CONFIG SET timeout 5\r\n");
    answer(b, take_request(b), "ERR no");
    bench_expect(b, client, "-ERR no\r\n");
    bench_send(client, "CLIENT REPLY OFF\r\nCONFIG SET timeout 5\r\nPING\r\nCLIENT REPLY ON\r\n");
    answer(b, take_request(b), "");
    bench_expect(b, client, "+OK\r\n");
    bench_expect_nothing(b, client);
    bench_destroy(b);
}

static void answers_for_the_gone_are_dropped(void **state)
{
    struct core_bench *b = bench_create();
    int client = bench_connect(b, BENCH_REDIS);
    bench_send(client, "CONFIG SET timeout 5\r\nPING\r\n");
    struct control_request *request = take_request(b);
    bench_close(b, client);
    assert_int_equal(b->core->clients.count, 1); /* its input is paused: not noticed yet, or */
    answer(b, request, "");
    bench_pass(b, 10);
    assert_int_equal(b->core->clients.count, 0);

    /* Killed, and the answer comes in the pass of the KILL. */
    int killer = bench_connect(b, BENCH_REDIS);
    client = bench_connect(b, BENCH_REDIS);
    bench_send(client, "CONFIG SET timeout 5\r\nPING\r\n");
    request = take_request(b);
    char text[128];
    snprintf(text, sizeof(text), "CLIENT KILL ID %llu\r\n", (unsigned long long)client_id(b, 1));
    bench_send(killer, text);
    answer(b, request, "");
    bench_expect(b, killer, ":1\r\n");
    bench_expect_end(b, client);
    bench_destroy(b);
}

static void a_busy_control_thread_is_an_error(void **state)
{
    struct core_bench *b = bench_create();
    int clients[8];
    for (int i = 0; i < 8; i++) {
        clients[i] = bench_connect(b, BENCH_REDIS);
        bench_send(clients[i], "CONFIG SET timeout 5\r\nPING\r\n");
        bench_pass(b, 3);
    }
    bench_expect(b, clients[7], "-ERR the control thread is busy, try again\r\n+PONG\r\n");
    for (int i = 0; i < 7; i++) {
        answer(b, take_request(b), "");
        bench_expect(b, clients[i], "+OK\r\n+PONG\r\n");
    }
    bench_destroy(b);
}

static void shutdown_answers_only_failure(void **state)
{
    struct core_bench *b = bench_create();
    int client = bench_connect(b, BENCH_REDIS);
    bench_send(client, "SHUTDOWN\r\nPING\r\n");
    answer(b, take_request(b), "ERR no");
    bench_expect(b, client, "-ERR no\r\n+PONG\r\n");
    bench_send(client, "SHUTDOWN NOSAVE\r\nPING\r\n");
    answer(b, take_request(b), "");
    bench_expect_nothing(b, client);
    bench_destroy(b);
}

/* ---- datagrams ---------------------------------------------------------------------------------
 */

static int open_datagrams(struct core_bench *b)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                                  .sin_port = htons(b->ports[2])};
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    assert_true(fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0);
    return fd;
}

static void send_datagram(int fd, uint8_t id, uint8_t count, const char *text)
{
    uint8_t bytes[256] = {0, id, 0, 0, 0, count, 0, 0};
    memcpy(bytes + 8, text, strlen(text));
    assert_true(send(fd, bytes, 8 + strlen(text), 0) > 0);
}

static void datagrams_are_answered_one_by_one(void **state)
{
    struct core_bench *b = bench_create();
    int client = bench_connect(b, BENCH_MEMCACHE), fd = open_datagrams(b);
    uint8_t bytes[2000];
    bench_send_filled(client, "set k 0 0 3000\r\n", 'k', 3000, "\r\n");
    bench_expect(b, client, "STORED\r\n");
    assert_true(send(fd, "short", 5, 0) == 5);
    send_datagram(fd, 1, 2, "get k\r\n"); /* says it is one of two */
    send_datagram(fd, 2, 1, "get k");     /* no end of line */
    send_datagram(fd, 3, 1, "nonsense\r\n");
    send_datagram(fd, 4, 1, "get k\r\n");
    bench_pass(b, 5);
    assert_int_equal(metric_read(&b->metrics, METRIC_MEMCACHE_DATAGRAMS_DROPPED), 2);
    assert_int_equal(recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT), 8 + 7);
    assert_memory_equal(bytes, "\0\3\0\0\0\1\0\0ERROR\r\n", 15);
    size_t total = 0;
    for (uint8_t i = 0; i < 3; i++) {
        ssize_t got = recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT);
        assert_true(got > 8 && got <= 1400);
        assert_memory_equal(bytes, ((uint8_t[]){0, 4, 0, i, 0, 3, 0, 0}), 8);
        total += (size_t)got - 8;
    }
    assert_int_equal(total, strlen("VALUE k 0 3000\r\n") + 3000 + strlen("\r\nEND\r\n"));
    assert_int_equal(recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT), -1);
    close(fd);
    bench_destroy(b);
}

/* Plain requests and others by turns, each answered as if it were alone. */
static void datagrams_of_every_kind_in_a_burst(void **state)
{
    static const struct {
        const char *request, *reply; /* NULL: none */
    } asked[] = {
        {"set a 0 0 2\r\nxy\r\n", "STORED\r\n"},
        {"get a\r\n", "VALUE a 0 2\r\nxy\r\nEND\r\n"},
        {"set a 0 0 2\r\nzz\r\n", "STORED\r\n"},
        {"set a 7 0 3\r\nlong", NULL},
        {"get a b\r\n", "VALUE a 0 2\r\nzz\r\nEND\r\n"},
        {"set b 7 1000 3 noreply\r\nlong\r\n", NULL},
        {"set b 7 1000 4 noreply\r\nlong\r\n", NULL},
        {"gets\r\n", "ERROR\r\n"},
        {"get a b\r\n", "VALUE a 0 2\r\nzz\r\nVALUE b 7 4\r\nlong\r\nEND\r\n"},
        {"set b 0 0 2\r\nlong\r\n", "CLIENT_ERROR bad data chunk\r\n"},
        {"set a 0 -1 1\r\na\r\n", "STORED\r\n"},
        {"set b 8 0 4\r\nlast\r\n", "STORED\r\n"},
        {"version\r\n", "VERSION 1.6.18\r\n"},
        {"get a b\r\n", "VALUE b 8 4\r\nlast\r\nEND\r\n"},
        {"incr b 1\r\n", "CLIENT_ERROR cannot increment or decrement non-numeric value\r\n"},
        {"set b 0 0 1\r\n5\r\n", "STORED\r\n"},
        {"incr b 1\r\n", "6\r\n"},
        {"gat 0 b\r\n", "VALUE b 0 1\r\n6\r\nEND\r\n"},
        {"set b 0 0 2000000\r\n", "SERVER_ERROR object too large for cache\r\n"},
        {"get b\r\n", "END\r\n"},
    };
    struct core_bench *b = bench_create();
    int fd = open_datagrams(b);
    uint64_t run_before = metric_read(&b->metrics, METRIC_COMMANDS_PROCESSED);
    for (uint8_t i = 0; i < sizeof(asked) / sizeof(asked[0]); i++) {
        send_datagram(fd, i, 1, asked[i].request);
    }
    bench_pass(b, 5);
    for (uint8_t i = 0; i < sizeof(asked) / sizeof(asked[0]); i++) {
        uint8_t bytes[200];
        if (asked[i].reply == NULL) {
            continue;
        }
        size_t size = strlen(asked[i].reply);
        assert_int_equal(recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT), 8 + size);
        assert_int_equal(bytes[1], i);
        assert_memory_equal(bytes + 8, asked[i].reply, size);
    }
    assert_int_equal(metric_read(&b->metrics, METRIC_MEMCACHE_DATAGRAMS_DROPPED), 2);
    assert_int_equal(metric_read(&b->metrics, METRIC_COMMANDS_PROCESSED) - run_before, 16);
    close(fd);
    bench_destroy(b);
}

static void send_part(int fd, uint8_t id, uint8_t sequence, uint8_t count, const char *text)
{
    uint8_t bytes[256] = {0, id, 0, sequence, 0, count, 0, 0};
    memcpy(bytes + 8, text, strlen(text));
    assert_true(send(fd, bytes, 8 + strlen(text), 0) > 0);
}

static void requests_of_several_datagrams(void **state)
{
    struct core_bench *b = bench_create();
    int fd = open_datagrams(b), other = open_datagrams(b);
    uint8_t bytes[100];
    send_part(fd, 9, 2, 3, "\r\n");
    send_part(fd, 9, 0, 3, "set k 0 0 4\r\nab");
    send_part(other, 9, 1, 2, " 0 2\r\nxy\r\n"); /* the same number, another's */
    send_datagram(fd, 8, 1, "get k\r\n");
    bench_pass(b, 3);
    send_part(fd, 9, 1, 3, "cd");
    send_part(other, 9, 0, 2, "set other 0");
    send_datagram(fd, 7, 1, "get k other\r\n");
    bench_pass(b, 3);
    assert_int_equal(recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT), 8 + 5);
    assert_memory_equal(bytes, "\0\10\0\0\0\1\0\0END\r\n", 13);
    assert_int_equal(recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT), 8 + 8);
    assert_memory_equal(bytes, "\0\11\0\0\0\1\0\0STORED\r\n", 16);
    assert_int_equal(recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT), 8 + 45);
    assert_memory_equal(bytes + 8, "VALUE k 0 4\r\nabcd\r\nVALUE other 0 2\r\nxy\r\nEND\r\n", 45);
    assert_int_equal(metric_read(&b->metrics, METRIC_MEMCACHE_UDP_REASSEMBLED), 2);
    close(other);
    close(fd);
    bench_destroy(b);
}

static void bursts_of_datagrams_fit(void **state)
{
    enum { COUNT = 150 };
    struct core_bench *b = bench_create();
    int client = bench_connect(b, BENCH_REDIS), fd = open_datagrams(b);
    uint8_t bytes[100];
    bench_send(client, "PING\r\nPING\r\nPING\r\n"); /* in the batch with them */
    for (uint8_t i = 0; i < COUNT; i++) {
        send_datagram(fd, i, 1, "get a b c d e f g h i j k l m n o p q r s t u v w x y z\r\n");
    }
    bench_pass(b, 5);
    for (uint8_t i = 0; i < COUNT; i++) {
        assert_int_equal(recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT), 8 + 5);
        assert_int_equal(bytes[1], i);
    }
    bench_expect(b, client, "+PONG\r\n+PONG\r\n+PONG\r\n");
    close(fd);
    bench_destroy(b);
}

/* A parser that is lent to nobody has no table of the large request that it has read. */
static void large_requests_leave_no_table(void **state)
{
    enum { WORDS = 3000 };
    static char request[16 * WORDS];
    struct core_bench *b = bench_create();
    int client = bench_connect(b, BENCH_REDIS);
    int size = snprintf(request, sizeof(request), "*%d\r\n$3\r\nDEL\r\n", WORDS + 1);
    for (int i = 0; i < WORDS; i++) {
        size += snprintf(request + size, sizeof(request) - (size_t)size, "$1\r\nk\r\n");
    }
    bench_send_bytes(client, request, (size_t)size / 2);
    bench_pass(b, 3);
    assert_null(b->core->parsers[PROTOCOL_RESP].first);
    bench_send(client, request + size / 2);
    bench_expect(b, client, ":0\r\n");
    assert_non_null(b->core->parsers[PROTOCOL_RESP].first);
    assert_in_range(b->core->parsers[PROTOCOL_RESP].first->resp.argument_capacity, 0, WORDS / 2);
    bench_close(b, client);

    client = bench_connect(b, BENCH_MEMCACHE);
    size = snprintf(request, sizeof(request), "get");
    for (int i = 0; i < WORDS; i++) {
        size += snprintf(request + size, sizeof(request) - (size_t)size, " k");
    }
    snprintf(request + size, sizeof(request) - (size_t)size, "\r\n");
    bench_send(client, request);
    bench_expect(b, client, "END\r\n");
    assert_non_null(b->core->parsers[PROTOCOL_MEMCACHE].first);
    assert_in_range(b->core->parsers[PROTOCOL_MEMCACHE].first->memcache.key_capacity, 0, WORDS / 2);
    bench_close(b, client);
    bench_destroy(b);
}

static void strangers_are_kept_out(void **state)
{
    struct core_bench *b = bench_create();
    struct endpoint here = {address_from_ipv4(INADDR_LOOPBACK + 5), 7};
    struct endpoint there = {address_from_ipv4(198U << 24 | 18U << 16 | 9), 7}, local = there;
    local.port = 0; /* a Unix socket */
    bench_pass(b, 1);
    assert_false(core_is_protected_from(b->core, &here, CLIENT_RESP));
    assert_false(core_is_protected_from(b->core, &local, CLIENT_MEMCACHE));
    assert_true(core_is_protected_from(b->core, &there, CLIENT_RESP));
    set_password(b);
    assert_false(core_is_protected_from(b->core, &there, CLIENT_RESP));
    assert_false(core_is_protected_from(b->core, &there, CLIENT_MEMCACHE));
    /* A password that nobody can give over UDP lets nobody in, from wherever. */
    assert_true(core_is_protected_from(b->core, &there, CLIENT_MEMCACHE_UDP));
    assert_true(core_is_protected_from(b->core, &here, CLIENT_MEMCACHE_UDP));
    bench_destroy(b);
}

#define CASE(name) cmocka_unit_test(name)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(replies_before_a_fatal_error_are_sent),
        CASE(nothing_runs_behind_quit),
        CASE(many_requests_of_many_connections_keep_their_order),
        CASE(authentication_in_a_pipeline_counts),
        CASE(errors_obey_client_reply),
        CASE(half_closed_clients_get_their_replies),
        CASE(clients_that_vanish_leave_nothing),
        CASE(kill_takes_effect_at_once),
        CASE(idle_clients_are_ended),
        CASE(unfinished_requests_are_ended),
        CASE(logins_are_not_waited_for_long),
        CASE(logins_end_at_any_microsecond),
        CASE(clients_beyond_their_memory_are_evicted),
        CASE(values_on_their_way_count),
        CASE(values_that_only_replies_hold_count),
        CASE(values_of_keys_do_not_count_for_readers),
        CASE(clients_beyond_the_limit_are_told),
        CASE(endless_requests_are_ended),
        CASE(stopping_ends_everybody),
        CASE(large_arguments_of_any_command),
        CASE(large_memcached_values),
        CASE(requests_with_many_keys),
        CASE(large_values_without_memory),
        CASE(writes_wait_for_memory_that_comes_back),
        CASE(who_waits_for_memory_first_gets_it_first),
        CASE(writes_wait_for_eviction),
        CASE(several_large_values_wait_for_eviction),
        CASE(changes_of_large_values_wait_for_eviction),
        CASE(datagrams_wait_for_eviction),
        CASE(victims_of_the_control_thread_go),
        CASE(slow_readers_get_everything_in_order),
        CASE(swallowed_bytes_are_not_parsed_later),
        CASE(binary_magic_behind_text_is_text),
        CASE(rows_keep_the_statistics),
        CASE(rows_stop_at_full_output),
        CASE(discarded_values_are_answered_in_spite_of_full_output),
        CASE(replies_beyond_the_hard_limit_end_the_client),
        CASE(replies_beyond_the_soft_limit_end_the_client_later),
        CASE(sleeping_holds_up_one_connection),
        CASE(a_sleep_of_no_time_loses_nothing),
        CASE(configuration_answers_in_its_place),
        CASE(answers_for_the_gone_are_dropped),
        CASE(a_busy_control_thread_is_an_error),
        CASE(shutdown_answers_only_failure),
        CASE(datagrams_are_answered_one_by_one),
        CASE(datagrams_of_every_kind_in_a_burst),
        CASE(requests_of_several_datagrams),
        CASE(bursts_of_datagrams_fit),
        CASE(large_requests_leave_no_table),
        CASE(strangers_are_kept_out),
    };
    simulated_memory_setup();
    command_table_setup();
    rcu_thread_register();
    int result = cmocka_run_group_tests(tests, NULL, NULL);
    rcu_thread_unregister();
    return result;
}
