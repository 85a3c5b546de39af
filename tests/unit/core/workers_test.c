/* Several cores and their shards: requests that travel, leases, reads of others' shards. All cores
 * run in this thread, in turns that the tests choose; what they do at once in truth is for
 * tests/history. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "dataplane/base/check.h"
#include "dataplane/base/hash.h"
#include "dataplane/base/rcu.h"
#include "tests/support/simulated_host.h"
#include "tests/unit/core/core_bench.h"

#define WORKERS 3U
#define LARGE   100000U
/* Beside six of those: enough for a worker to wait for the control thread. */
#define ROOM_LEFT 8000U

static uint32_t owner_of(const char *name)
{
    struct key key = key_hashed(slice_of_string(name));
    return key_owner(&key, WORKERS);
}

/* A name that begins with `stem` and lives on that worker's shard. */
static const char *name_on(const char *stem, uint32_t worker)
{
    static char names[16][32];
    static uint32_t next;
    char *name = names[next++ % 16];
    for (uint32_t i = 0; i < 10000; i++) {
        snprintf(name, sizeof(names[0]), "%s%u", stem, i);
        if (owner_of(name) == worker) {
            return name;
        }
    }
    CHECK(false);
    return names[0];
}

static void send_format(int client, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void send_format(int client, const char *format, ...)
{
    char text[4096];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    bench_send(client, text);
}

/* ---- owners ---------------------------------------------------------------------------------- */

static void keys_are_spread_and_tags_keep_them_together(void **state)
{
    uint32_t counts[WORKERS] = {0};
    for (int i = 0; i < 30000; i++) {
        char name[32];
        snprintf(name, sizeof(name), "key:%d", i);
        counts[owner_of(name)]++;
    }
    for (uint32_t i = 0; i < WORKERS; i++) {
        assert_in_range(counts[i], 9500, 10500);
    }
    assert_int_equal(owner_of("{user7}a"), owner_of("b{user7}c"));
    assert_int_equal(owner_of("{user7}a"), owner_of("user7"));
    /* The first brace counts, an empty tag is none. */
    struct key whole = key_hashed(SLICE_LITERAL("{}x")), tag = key_hashed(SLICE_LITERAL("x"));
    assert_int_equal(key_owner(&whole, 128), whole.hash >> 32 << 42 >> 42 << 7 >> 22);
    assert_int_not_equal(key_owner(&whole, 128), key_owner(&tag, 128));
    assert_int_equal(owner_of("{a{b}c"), owner_of("a{b"));
    assert_int_equal(owner_of("{a"), owner_of("{a"));
}

/* ---- one other shard ------------------------------------------------------------------------- */

static void every_worker_reads_and_writes_every_shard(void **state)
{
    struct core_bench *b = bench_create_workers(WORKERS);
    for (uint32_t worker = 0; worker < WORKERS; worker++) {
        int client = bench_connect_to(b, BENCH_REDIS, worker);
        for (uint32_t owner = 0; owner < WORKERS; owner++) {
            const char *name = name_on("k", owner);
            send_format(client, "SET %s w%u\r\nGET %s\r\nAPPEND %s x\r\nSTRLEN %s\r\nGETDEL %s\r\n",
                        name, worker, name, name, name, name);
            char expected[128];
            snprintf(expected, sizeof(expected), "+OK\r\n$2\r\nw%u\r\n:3\r\n:3\r\n$3\r\nw%ux\r\n",
                     worker, worker);
            bench_expect(b, client, expected);
        }
        bench_close(b, client);
    }
    /* For two of three owners, by each of three workers: the reads travel with the SET. */
    assert_int_equal(bench_sum(b, METRIC_ERRANDS_SENT), 5 * 2 * 3);
    assert_int_equal(bench_sum(b, METRIC_ERRANDS_RUN), 5 * 2 * 3);
    assert_int_equal(bench_sum(b, METRIC_READS_SHARED), 0);
    assert_int_equal(bench_sum(b, METRIC_ERRANDS_LEASE), 0);
    assert_int_equal(bench_sum(b, METRIC_COMMANDS_PROCESSED), 5 * 3 * 3);
    bench_destroy(b);
}

static void pipelines_keep_their_order(void **state)
{
    enum { COUNT = 400 };
    struct core_bench *b = bench_create_workers(WORKERS);
    int client = bench_connect_to(b, BENCH_REDIS, 1);
    char *text = calloc(COUNT, 64), *expected = calloc(COUNT, 64);
    size_t used = 0, wanted = 0;
    for (int i = 0; i < COUNT; i++) {
        used +=
            (size_t)sprintf(text + used, "SET k%d %d\r\nINCR n\r\nGET k%d\r\n", i % 7, i, i % 7);
        size_t digits = (size_t)snprintf(NULL, 0, "%d", i);
        wanted +=
            (size_t)sprintf(expected + wanted, "+OK\r\n:%d\r\n$%zu\r\n%d\r\n", i + 1, digits, i);
    }
    bench_send(client, text);
    bench_expect(b, client, expected);
    free(text);
    free(expected);
    bench_destroy(b);
}

static void full_channels_lose_nothing(void **state)
{
    enum { CLIENTS = 30 };
    struct core_bench *b = bench_create_workers(WORKERS);
    int clients[CLIENTS];
    const char *name = name_on("n", 2);
    for (int i = 0; i < CLIENTS; i++) {
        clients[i] = bench_connect_to(b, BENCH_REDIS, (uint32_t)i % 2);
        send_format(clients[i], "INCR %s\r\n", name);
    }
    bench_pass(b, 100);
    send_format(clients[0], "GET %s\r\n", name);
    char reply[64];
    for (int i = 0; i < CLIENTS; i++) {
        ssize_t got = recv(clients[i], reply, sizeof(reply), MSG_DONTWAIT);
        assert_true(got >= 4 && reply[0] == ':');
    }
    bench_pass(b, 5);
    send_format(clients[1], "GET %s\r\n", name);
    bench_expect(b, clients[1], "$2\r\n30\r\n");
    bench_destroy(b);
}

static void replies_obey_client_reply(void **state)
{
    struct core_bench *b = bench_create_workers(WORKERS);
    int client = bench_connect_to(b, BENCH_REDIS, 0);
    const char *far = name_on("k", 1);
    send_format(client,
                "CLIENT REPLY SKIP\r\nSET %s 1\r\nGET %s\r\nCLIENT REPLY OFF\r\nINCR %s\r\n"
                "INCR %s\r\nCLIENT REPLY ON\r\nGET %s\r\n",
                far, far, far, far, far);
    bench_expect(b, client, "$1\r\n1\r\n+OK\r\n$1\r\n3\r\n");
    bench_destroy(b);
}

static void errors_are_those_of_one_worker(void **state)
{
    struct core_bench *b = bench_create_workers(WORKERS);
    int client = bench_connect_to(b, BENCH_REDIS, 0);
    const char *far = name_on("k", 1), *other = name_on("k", 2);
    send_format(client, "SET %s x\r\nINCR %s\r\nSET %s\r\nMSET %s 1 %s\r\nGET\r\nRENAME nil %s\r\n",
                far, far, far, far, other, other);
    bench_expect(b, client,
                 "+OK\r\n-ERR value is not an integer or out of range\r\n"
                 "-ERR wrong number of arguments for 'set' command\r\n"
                 "-ERR wrong number of arguments for 'mset' command\r\n"
                 "-ERR wrong number of arguments for 'get' command\r\n-ERR no such key\r\n");
    assert_int_equal(bench_sum(b, METRIC_ERROR_REPLIES), 5);
    bench_destroy(b);
}

static void connections_that_end_meanwhile_are_forgotten(void **state)
{
    struct core_bench *b = bench_create_workers(WORKERS);
    for (int i = 0; i < 20; i++) {
        int client = bench_connect_to(b, BENCH_REDIS, 0);
        const char *far = name_on("n", 1), *last = name_on("n", 2);
        send_format(client,
                    i % 3 == 0   ? "INCR %s\r\n"
                    : i % 3 == 1 ? "MSET %s 5 %s 6\r\n"
                                 : "INCR %s\r\nINCR %s\r\n",
                    far, last);
        bench_pass_one(b, 0); /* it has left */
        struct linger hard = {1, 0};
        setsockopt(client, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
        close(client);
        bench_pass_one(b, 0);
        bench_pass(b, 5);
    }
    int client = bench_connect_to(b, BENCH_REDIS, 1);
    bench_send(client, "PING\r\n");
    bench_expect(b, client, "+PONG\r\n");
    bench_destroy(b);
}

/* ---- pipelines travel ------------------------------------------------------------------------ */

/* Replies that are there now, without another pass. */
static void assert_received(int client, const char *expected)
{
    char reply[4096];
    ssize_t got = recv(client, reply, sizeof(reply) - 1, MSG_DONTWAIT);
    reply[got > 0 ? got : 0] = 0;
    assert_string_equal(reply, expected);
}

static void a_pipeline_for_one_owner_is_one_errand(void **state)
{
    struct core_bench *b = bench_create_workers(WORKERS);
    int client = bench_connect_to(b, BENCH_REDIS, 0),
        other = bench_connect_to(b, BENCH_MEMCACHE, 0);
    const char *far = name_on("k", 1), *third = name_on("k", 2);
    send_format(client,
                "SET %s 1\r\nINCR %s\r\nGET %s\r\nGET %s\r\nAPPEND %s x\r\nPING\r\nGET %s\r\n", far,
                far, far, third, far, far);
    send_format(other, "set %s 0 0 1 noreply\r\n7\r\nincr %s 2\r\nget %s\r\n", third, third, third);
    bench_pass_one(b, 0);
    assert_int_equal(bench_sum(b, METRIC_ERRANDS_SENT), 5 + 3);
    bench_pass_one(b, 1);
    bench_pass_one(b, 2);
    assert_int_equal(bench_sum(b, METRIC_ERRANDS_RUN), 5 + 3);
    bench_pass_one(b, 0);
    assert_received(client, "+OK\r\n:2\r\n$1\r\n2\r\n$-1\r\n:2\r\n+PONG\r\n$2\r\n2x\r\n");
    char expected[64];
    snprintf(expected, sizeof(expected), "9\r\nVALUE %s 0 1\r\n9\r\nEND\r\n", third);
    assert_received(other, expected);
    assert_int_equal(bench_sum(b, METRIC_COMMANDS_PROCESSED), 7 + 3);
    bench_destroy(b);
}

/* First the data, then the flag, whoever runs when. */
static void a_pipeline_for_several_owners_keeps_its_order(void **state)
{
    struct core_bench *b = bench_create_workers(WORKERS);
    int client = bench_connect_to(b, BENCH_REDIS, 0), reader = bench_connect_to(b, BENCH_REDIS, 2);
    const char *data = name_on("d", 1), *flag = name_on("f", 2), *own = name_on("o", 0);
    send_format(client, "SET %s 1\r\nSET %s 1\r\nSET %s 1\r\n", data, flag, own);
    bench_pass_one(b, 0);
    for (int i = 0; i < 5; i++) {
        send_format(reader, "EXISTS %s %s\r\n", flag, own);
        bench_pass_one(b, 2);
        bench_pass_one(b, 0);
    }
    assert_received(reader, ":0\r\n:0\r\n:0\r\n:0\r\n:0\r\n");
    bench_pass_one(b, 1);
    send_format(reader, "EXISTS %s\r\n", own);
    bench_pass_one(b, 2);
    assert_received(reader, ":0\r\n");
    bench_pass_one(b, 0);
    assert_received(client, "+OK\r\n+OK\r\n+OK\r\n");
    send_format(reader, "EXISTS %s %s %s\r\n", data, flag, own);
    bench_expect(b, reader, ":3\r\n");
    assert_int_equal(bench_sum(b, METRIC_ERRANDS_LEASE), 0);
    bench_destroy(b);
}

static void a_pipeline_that_changes_owners_often_takes_leases(void **state)
{
    enum { COUNT = 16 };
    struct core_bench *b = bench_create_workers(WORKERS);
    int client = bench_connect_to(b, BENCH_REDIS, 0);
    const char *far = name_on("k", 1), *third = name_on("k", 2);
    char expected[1024];
    size_t used = 0;
    for (int i = 0; i < COUNT; i++) {
        send_format(client, "INCR %s\r\nGET %s\r\n", i % 2 == 0 ? far : third, far);
        used += (size_t)snprintf(expected + used, sizeof(expected) - used, ":%d\r\n$1\r\n%d\r\n",
                                 i / 2 + 1, i / 2 + 1);
    }
    bench_pass_one(b, 0);
    bench_pass_one(b, 1);
    bench_pass_one(b, 2);
    bench_pass_one(b, 0);
    assert_received(client, expected);
    assert_int_equal(bench_sum(b, METRIC_LEASES_TAKEN), 1);
    assert_int_equal(bench_sum(b, METRIC_ERRANDS_LEASE), 2 * COUNT);
    /* Of requests of one shard each: readers elsewhere need not keep away. */
    assert_int_equal(shard_observe(b->shards[1]).version, 0);
    bench_destroy(b);
}

/* A read that meets a joint write on its way goes to the owner. */
static void a_torn_read_of_a_pipeline_goes_to_its_owner(void **state)
{
    struct core_bench *b = bench_create_workers(WORKERS);
    int client = bench_connect_to(b, BENCH_REDIS, 0);
    const char *far = name_on("k", 1), *third = name_on("k", 2);
    shard_begin_joint_write(b->shards[2]);
    send_format(client, "SET %s 1\r\nGET %s\r\nGET %s\r\n", far, third, far);
    bench_pass_one(b, 0);
    bench_pass_one(b, 1);
    assert_int_equal(bench_sum(b, METRIC_ERRANDS_RUN), 1);
    shard_end_joint_write(b->shards[2]);
    bench_pass_one(b, 2);
    bench_pass_one(b, 0);
    assert_received(client, "+OK\r\n$-1\r\n$1\r\n1\r\n");
    bench_destroy(b);
}

/* ---- several shards -------------------------------------------------------------------------- */

static void commands_over_several_shards(void **state)
{
    struct core_bench *b = bench_create_workers(WORKERS);
    const char *x = name_on("a", 0), *y = name_on("a", 1), *z = name_on("a", 2);
    for (uint32_t worker = 0; worker < WORKERS; worker++) {
        int client = bench_connect_to(b, BENCH_REDIS, worker);
        send_format(client, "MSET %s 1 %s 2 %s 3\r\nMGET %s %s %s none\r\n", x, y, z, z, y, x);
        bench_expect(b, client, "+OK\r\n*4\r\n$1\r\n3\r\n$1\r\n2\r\n$1\r\n1\r\n$-1\r\n");
        send_format(client, "MSETNX new 1 %s 9\r\nEXISTS %s %s none %s new\r\nTOUCH %s %s\r\n", y,
                    x, y, x, x, z);
        bench_expect(b, client, ":0\r\n:3\r\n:2\r\n");
        send_format(client, "RENAME %s %s\r\nGET %s\r\nEXISTS %s\r\nRENAMENX %s %s\r\n", x, y, y, x,
                    y, z);
        bench_expect(b, client, "+OK\r\n$1\r\n1\r\n:0\r\n:0\r\n");
        send_format(client, "COPY %s %s\r\nCOPY %s %s REPLACE\r\nMGET %s %s %s\r\n", y, x, z, x, x,
                    y, z);
        bench_expect(b, client, ":1\r\n:1\r\n*3\r\n$1\r\n3\r\n$1\r\n1\r\n$1\r\n3\r\n");
        send_format(client, "LCS %s %s LEN\r\nMOVE %s 3\r\nDBSIZE\r\n", x, z, z);
        bench_expect(b, client, ":1\r\n:1\r\n:2\r\n");
        bench_send(client,
                   "SWAPDB 0 3\r\nDBSIZE\r\nSWAPDB 0 3\r\nSELECT 3\r\nFLUSHDB\r\nSELECT 0\r\n");
        bench_expect(b, client, "+OK\r\n:1\r\n+OK\r\n+OK\r\n+OK\r\n+OK\r\n");
        send_format(client, "DEL %s %s %s none\r\nUNLINK %s\r\nDBSIZE\r\nRANDOMKEY\r\n", x, y, z,
                    x);
        bench_expect(b, client, ":2\r\n:0\r\n:0\r\n$-1\r\n");
        bench_close(b, client);
    }
    assert_true(bench_sum(b, METRIC_ERRANDS_LEASE) > 0);
    bench_destroy(b);
}

static void keys_of_one_tag_need_no_lease(void **state)
{
    struct core_bench *b = bench_create_workers(WORKERS);
    int client = bench_connect_to(b, BENCH_REDIS, 0);
    const char *tag = name_on("t", 2);
    send_format(client, "MSET {%s}a 1 {%s}b 2\r\n", tag, tag);
    bench_expect(b, client, "+OK\r\n");
    send_format(client, "MGET {%s}a {%s}b\r\nRENAME {%s}a {%s}c\r\n", tag, tag, tag, tag);
    bench_expect(b, client, "*2\r\n$1\r\n1\r\n$1\r\n2\r\n+OK\r\n");
    assert_int_equal(bench_sum(b, METRIC_ERRANDS_LEASE), 0);
    assert_int_equal(bench_sum(b, METRIC_ERRANDS_SENT), 2);
    assert_int_equal(bench_sum(b, METRIC_READS_SHARED), 1);
    bench_destroy(b);
}

/* Worker 0 has asked for the shards of 1 and 2, and 1 has lent its own. */
static void a_lent_shard_is_left_alone(void **state)
{
    struct core_bench *b = bench_create_workers(WORKERS);
    const char *near = name_on("k", 1), *far = name_on("k", 2);
    int writer = bench_connect_to(b, BENCH_REDIS, 0), local = bench_connect_to(b, BENCH_REDIS, 1);
    int reader = bench_connect_to(b, BENCH_REDIS, 1), third = bench_connect_to(b, BENCH_REDIS, 2);
    send_format(local, "SET %s old\r\n", near);
    bench_expect(b, local, "+OK\r\n");

    send_format(writer, "MSET %s new %s new\r\n", near, far);
    bench_pass_one(b, 0);
    bench_pass_one(b, 1);
    assert_true(core_shard_is_lent(b->cores[1]));
    send_format(local, "APPEND %s +\r\nPING\r\n", near);
    send_format(reader, "GET %s\r\nPING\r\n", near);
    send_format(third, "APPEND %s -\r\n", near);
    for (int i = 0; i < 5; i++) {
        bench_pass_one(b, 1); /* the lease is with worker 2, which does not run */
    }
    char bytes[64] = {0};
    assert_int_equal(recv(local, bytes, sizeof(bytes), MSG_DONTWAIT), -1);
    assert_int_equal(recv(reader, bytes, sizeof(bytes) - 1, MSG_DONTWAIT), 16);
    assert_string_equal(bytes, "$3\r\nold\r\n+PONG\r\n");
    assert_true(core_shard_is_lent(b->cores[1]));

    bench_expect(b, writer, "+OK\r\n");
    bench_expect(b, local, ":4\r\n+PONG\r\n");
    bench_expect(b, third, ":5\r\n");
    send_format(reader, "GET %s\r\n", near);
    bench_expect(b, reader, "$5\r\nnew+-\r\n");
    bench_destroy(b);
}

/* The first calls of a command are timed, each by itself: as if they had been made. */
static void leave_timed_calls_behind(struct core_bench *b, uint32_t worker)
{
    for (uint32_t i = 0; i < command_count; i++) {
        b->cores[worker]->context->statistics[i].calls = 100001;
    }
}

static void send_get(int client, const char *name)
{
    send_format(client, "*2\r\n$3\r\nGET\r\n$%zu\r\n%s\r\n", strlen(name), name);
}

static void send_set(int client, const char *name, const char *value)
{
    send_format(client, "*3\r\n$3\r\nSET\r\n$%zu\r\n%s\r\n$%zu\r\n%s\r\n", strlen(name), name,
                strlen(value), value);
}

/* One pipeline, whose keys are on all shards; then one of them is not to be read for a while. */
static void reads_of_all_shards_run_as_a_row(void **state)
{
    struct core_bench *b = bench_create_workers(WORKERS);
    const char *names[] = {name_on("k", 0), name_on("k", 1), name_on("k", 2)};
    int client = bench_connect_to(b, BENCH_REDIS, 0);
    leave_timed_calls_behind(b, 0);
    send_set(client, names[0], "own");
    send_set(client, names[1], "");
    send_set(client, names[2], "two");
    bench_expect(b, client, "+OK\r\n+OK\r\n+OK\r\n");
    assert_int_equal(bench_sum(b, METRIC_ERRANDS_SENT), 2);
    for (uint32_t i = 0; i < 7; i++) {
        send_get(client, names[i % 3]);
    }
    bench_expect(b, client,
                 "$3\r\nown\r\n$0\r\n\r\n$3\r\ntwo\r\n$3\r\nown\r\n$0\r\n\r\n$3\r\ntwo\r\n"
                 "$3\r\nown\r\n");
    assert_int_equal(bench_sum(b, METRIC_READS_SHARED), 4);
    assert_int_equal(bench_sum(b, METRIC_READS_TORN), 0);

    shard_begin_joint_write(b->shards[2]);
    for (uint32_t i = 0; i < 4; i++) {
        send_get(client, names[i % 3]);
    }
    bench_pass_one(b, 0);
    assert_int_equal(bench_sum(b, METRIC_READS_TORN), 1);
    assert_int_equal(bench_sum(b, METRIC_ERRANDS_SENT), 4); /* and what is behind it */
    shard_end_joint_write(b->shards[2]);
    bench_expect(b, client, "$3\r\nown\r\n$0\r\n\r\n$3\r\ntwo\r\n$3\r\nown\r\n");
    bench_destroy(b);
}

static void readers_keep_away_from_joint_writes(void **state)
{
    struct core_bench *b = bench_create_workers(WORKERS);
    const char *x = name_on("k", 1), *y = name_on("k", 2);
    int client = bench_connect_to(b, BENCH_REDIS, 0), mget = bench_connect_to(b, BENCH_MEMCACHE, 0);
    shard_begin_joint_write(b->shards[1]);
    send_format(client, "GET %s\r\n", x);
    send_format(mget, "get %s %s\r\n", x, y);
    bench_pass_one(b, 0);
    assert_int_equal(bench_sum(b, METRIC_READS_TORN), 2);
    shard_end_joint_write(b->shards[1]);
    bench_expect(b, client, "$-1\r\n");
    bench_expect(b, mget, "END\r\n");
    assert_int_equal(bench_sum(b, METRIC_ERRANDS_LEASE), 1);
    bench_destroy(b);
}

/* Readers on other workers must not see half of it: found by a history of a million operations. */
static void several_keys_of_one_shard_are_a_joint_write_too(void **state)
{
    struct core_bench *b = bench_create_workers(WORKERS);
    const char *tag = name_on("t", 1);
    int local = bench_connect_to(b, BENCH_REDIS, 1), far = bench_connect_to(b, BENCH_REDIS, 0);
    send_format(local, "MSET {%s}a 1 {%s}b 2\r\nSET {%s}a 3\r\n", tag, tag, tag);
    bench_expect(b, local, "+OK\r\n+OK\r\n");
    assert_int_equal(shard_observe(b->shards[1]).version, 2);
    send_format(far, "RENAME {%s}a {%s}c\r\n", tag, tag);
    bench_expect(b, far, "+OK\r\n");
    assert_int_equal(shard_observe(b->shards[1]).version, 4);
    bench_destroy(b);
}

/* Nor the key in both databases, or in neither. */
static void one_key_of_two_databases_is_a_joint_write_too(void **state)
{
    struct core_bench *b = bench_create_workers(WORKERS);
    const char *key = name_on("k", 1);
    int local = bench_connect_to(b, BENCH_REDIS, 1), far = bench_connect_to(b, BENCH_REDIS, 0);
    send_format(local, "SET %s 1\r\nMOVE %s 1\r\n", key, key);
    bench_expect(b, local, "+OK\r\n:1\r\n");
    assert_int_equal(shard_observe(b->shards[1]).version, 2);
    send_format(far, "SELECT 1\r\nMOVE %s 0\r\nGET %s\r\nSELECT 0\r\nGET %s\r\n", key, key, key);
    bench_expect(b, far, "+OK\r\n:1\r\n$-1\r\n+OK\r\n$1\r\n1\r\n");
    assert_int_equal(shard_observe(b->shards[1]).version, 4);
    bench_destroy(b);
}

/* ---- large values ---------------------------------------------------------------------------- */

static void large_values_travel(void **state)
{
    struct core_bench *b = bench_create_workers(WORKERS);
    for (uint32_t worker = 0; worker < WORKERS; worker++) {
        char x[32], y[32];
        memcpy(x, name_on("k", 0), sizeof(x));
        memcpy(y, name_on("k", 1), sizeof(y));
        int client = bench_connect_to(b, BENCH_REDIS, worker);
        char head[128];
        snprintf(head, sizeof(head), "*3\r\n$3\r\nSET\r\n$%zu\r\n%s\r\n$%u\r\n", strlen(y), y,
                 LARGE);
        bench_send_filled(client, head, 'v', LARGE, "\r\n");
        bench_expect(b, client, "+OK\r\n");
        send_format(client, "GET %s\r\n", y);
        bench_expect_filled(b, client, "$100000\r\n", 'v', LARGE, "\r\n");
        snprintf(head, sizeof(head),
                 "*5\r\n$4\r\nMSET\r\n$%zu\r\n%s\r\n$1\r\nx\r\n$%zu\r\n%s\r\n$%u\r\n", strlen(x), x,
                 strlen(y), y, LARGE);
        bench_send_filled(client, head, 'w', LARGE, "\r\n");
        bench_expect(b, client, "+OK\r\n");
        send_format(client,
                    "COPY %s %s REPLACE\r\nAPPEND %s !\r\nDEL %s\r\nSTRLEN %s\r\nGETDEL %s\r\n", y,
                    x, x, x, x, y);
        bench_expect_filled(b, client, ":1\r\n:100001\r\n:1\r\n:0\r\n$100000\r\n", 'w', LARGE,
                            "\r\n");
        bench_close(b, client);
    }
    bench_destroy(b);
}

static void large_values_that_arrive_while_the_shard_is_lent(void **state)
{
    struct core_bench *b = bench_create_workers(WORKERS);
    const char *near = name_on("k", 1), *far = name_on("k", 2);
    int writer = bench_connect_to(b, BENCH_REDIS, 0), local = bench_connect_to(b, BENCH_REDIS, 1);
    send_format(writer, "MSET %s new %s new\r\n", near, far);
    bench_pass_one(b, 0);
    bench_pass_one(b, 1);
    assert_true(core_shard_is_lent(b->cores[1]));
    char head[128];
    snprintf(head, sizeof(head), "*3\r\n$3\r\nSET\r\n$%zu\r\n%s\r\n$%u\r\n", strlen(near), near,
             LARGE);
    bench_send_filled(local, head, 'v', LARGE, "\r\n");
    for (int i = 0; i < 5; i++) {
        bench_pass_one(b, 1);
    }
    bench_expect(b, writer, "+OK\r\n");
    bench_expect(b, local, "+OK\r\n");
    send_format(writer, "GET %s\r\n", near);
    bench_expect_filled(b, writer, "$100000\r\n", 'v', LARGE, "\r\n");
    bench_destroy(b);
}

/* The value of a key counts where the key is, whoever receives it; and is refused by that shard
 * alone.
 */
static void large_values_count_where_their_key_is(void **state)
{
    enum { COUNT = 12, FITTING = 8 };
    struct core_bench *b = bench_create_workers(WORKERS);
    struct shard_memory near, far;
    int client = bench_connect_to(b, BENCH_REDIS, 0),
        memcache = bench_connect_to(b, BENCH_MEMCACHE, 0);
    const char *name = name_on("k", 1);
    send_format(client, "SET %s x\r\n", name);
    bench_expect(b, client, "+OK\r\n");
    shard_read_memory(b->shards[0], &near);
    shard_read_memory(b->shards[1], &far);
    uint64_t near_before = near.used_bytes;
    uint64_t limit = far.used_bytes + FITTING * (LARGE + 8192);
    b->config->maxmemory = (int64_t)(WORKERS * limit);
    uint32_t stored = 0;
    for (uint32_t i = 0; i < COUNT; i++) {
        char head[128];
        snprintf(head, sizeof(head), "*3\r\n$3\r\nSET\r\n$%zu\r\n{%s}%02u\r\n$%u\r\n",
                 strlen(name) + 4, name, i, LARGE);
        bench_send_filled(client, head, 'v', LARGE, "\r\n");
        char reply[128] = {0};
        bench_pass(b, 30);
        ssize_t got = recv(client, reply, sizeof(reply), MSG_DONTWAIT);
        assert_true(got > 0 && (reply[0] == '+' || strncmp(reply, "-OOM", 4) == 0));
        stored += reply[0] == '+';
        shard_read_memory(b->shards[0], &near);
        shard_read_memory(b->shards[1], &far);
        assert_true(far.blob_bytes >= stored * (uint64_t)LARGE && near.blob_bytes == 0);
        assert_true(far.peak_bytes <= limit);
    }
    assert_int_equal(stored, FITTING);
    assert_int_equal(near.used_bytes, near_before);
    char head[64];
    int size = snprintf(head, sizeof(head), "set {%s}m 0 0 %u\r\n", name, LARGE);
    assert_true(size > 0);
    bench_send_filled(memcache, head, 'm', LARGE, "\r\n");
    bench_expect(b, memcache, "SERVER_ERROR out of memory storing object\r\n");
    send_format(client, "DEL {%s}00\r\n", name);
    bench_expect(b, client, ":1\r\n");
    bench_pass(b, 5);
    bench_send_filled(memcache, head, 'm', LARGE, "\r\n");
    bench_expect(b, memcache, "STORED\r\n");
    /* No key in front of it: an argument like others. */
    bench_send_filled(client, "*2\r\n$4\r\nECHO\r\n$100000\r\n", 'e', LARGE, "\r\n");
    bench_expect_filled(b, client, "$100000\r\n", 'e', LARGE, "\r\n");
    bench_destroy(b);
}

/* Six large values on each shard, and no room for another one of 16000 bytes. */
static void fill_shards(struct core_bench *b, int client)
{
    uint64_t most = 0;
    for (uint32_t i = 0; i < 6 * WORKERS; i++) {
        char head[128], stem[8];
        snprintf(stem, sizeof(stem), "f%c", 'a' + (char)i);
        const char *name = name_on(stem, i % WORKERS);
        snprintf(head, sizeof(head), "*3\r\n$3\r\nSET\r\n$%zu\r\n%s\r\n$%u\r\n", strlen(name), name,
                 LARGE);
        bench_send_filled(client, head, 'v', LARGE, "\r\n");
        bench_expect(b, client, "+OK\r\n");
    }
    for (uint32_t i = 0; i < WORKERS; i++) {
        struct shard_memory memory;
        shard_read_memory(b->shards[i], &memory);
        most = memory.used_bytes > most ? memory.used_bytes : most;
    }
    b->config->maxmemory = (int64_t)(WORKERS * (most + ROOM_LEFT));
    b->config->maxmemory_policy = MAXMEMORY_ALLKEYS_LRU;
}

static void send_medium_values(int client, const char *verb, const char *one, const char *other)
{
    enum { MEDIUM = 16000 };
    char head[128];
    bool joint = strcmp(verb, "MSET") == 0;
    snprintf(head, sizeof(head), "*%d\r\n$%zu\r\n%s\r\n$%zu\r\n%s\r\n$%d\r\n", joint ? 5 : 3,
             strlen(verb), verb, strlen(one), one, MEDIUM);
    bench_send_filled(client, head, '1', MEDIUM, "\r\n");
    if (joint) {
        snprintf(head, sizeof(head), "$%zu\r\n%s\r\n$%d\r\n", strlen(other), other, MEDIUM);
    } else {
        snprintf(head, sizeof(head), "*3\r\n$3\r\n%s\r\n$%zu\r\n%s\r\n$%d\r\n", verb, strlen(other),
                 other, MEDIUM);
    }
    bench_send_filled(client, head, '2', MEDIUM, "\r\n");
}

/* Each owner makes room in its own shard, by itself where nobody serves as the control thread; and
 * only those that must. */
static void requests_over_several_shards_wait_for_eviction(void **state)
{
    static const char *const verbs[] = {"MSET", "SET"};
    for (int i = 0; i < 2; i++) {
        struct core_bench *b = bench_create_workers(WORKERS);
        int client = bench_connect_to(b, BENCH_REDIS, 0),
            other = bench_connect_to(b, BENCH_REDIS, 1);
        fill_shards(b, client);
        const char *x = name_on("x", 1), *y = name_on("y", 2), *z = name_on("z", 1);
        send_medium_values(client, verbs[i], x, y);
        bench_pass(b, 10);
        send_format(other, "GET %s\r\nDEL %s\r\n", x, z); /* nobody else waits */
        bench_expect(b, other, "$-1\r\n:0\r\n");
        for (int k = 0; k < 200; k++) {
            bench_advance(b, 200);
        }
        bench_expect(b, client, i == 0 ? "+OK\r\n" : "+OK\r\n+OK\r\n");
        assert_int_equal(metric_read(b->all_metrics[0], METRIC_STORE_EVICTED_KEYS), 0);
        assert_in_range(metric_read(b->all_metrics[1], METRIC_STORE_EMERGENCY_EVICTIONS), 1, 3);
        assert_in_range(metric_read(b->all_metrics[2], METRIC_STORE_EMERGENCY_EVICTIONS), 1, 3);
        send_format(client, "EXISTS %s %s\r\n", x, y);
        bench_expect(b, client, ":2\r\n");
        bench_destroy(b);
    }
}

/* A connection that ends while it waits for the owner's answer leaves nothing behind. */
static void large_values_of_connections_that_end(void **state)
{
    struct core_bench *b = bench_create_workers(WORKERS);
    int client = bench_connect_to(b, BENCH_REDIS, 0);
    const char *name = name_on("k", 1);
    char head[128];
    snprintf(head, sizeof(head), "*3\r\n$3\r\nSET\r\n$%zu\r\n%s\r\n$%u\r\n", strlen(name), name,
             LARGE);
    bench_send_filled(client, head, 'v', 20000, "");
    for (int i = 0; i < 3; i++) {
        bench_pass_one(b, 0);
    }
    assert_int_equal(bench_sum(b, METRIC_ERRANDS_SENT), 1);
    close(client);
    for (int i = 0; i < 3; i++) {
        bench_pass_one(b, 0);
    }
    bench_pass(b, 20);
    assert_int_equal(bench_sum(b, METRIC_ERRANDS_RUN), 1);
    struct shard_memory far;
    shard_read_memory(b->shards[1], &far);
    assert_int_equal(far.blob_bytes, 0);
    bench_destroy(b);
}

/* ---- everybody ------------------------------------------------------------------------------- */

static void clients_of_all_workers_are_listed_and_killed(void **state)
{
    struct core_bench *b = bench_create_workers(WORKERS);
    int clients[WORKERS];
    char reply[8192];
    for (uint32_t i = 0; i < WORKERS; i++) {
        clients[i] = bench_connect_to(b, BENCH_REDIS, i);
        send_format(clients[i], "CLIENT SETNAME c%u\r\n", i);
        bench_expect(b, clients[i], "+OK\r\n");
    }
    bench_send(clients[1], "CLIENT LIST\r\nPING\r\n");
    bench_pass(b, 20);
    ssize_t got = recv(clients[1], reply, sizeof(reply) - 1, MSG_DONTWAIT);
    assert_true(got > 0);
    reply[got] = '\0';
    for (uint32_t i = 0; i < WORKERS; i++) {
        char name[16];
        snprintf(name, sizeof(name), " name=c%u ", i);
        assert_non_null(strstr(reply, name));
    }
    assert_non_null(strstr(reply, "+PONG\r\n"));
    bench_send(clients[1], "CLIENT LIST TYPE nonsense\r\nCLIENT KILL ID 0\r\nCLIENT LIST ID x\r\n");
    bench_expect(b, clients[1],
                 "-ERR Unknown client type 'nonsense'\r\n"
                 "-ERR client-id should be greater than 0\r\n-ERR Invalid client ID\r\n");
    bench_send(clients[1], "CLIENT KILL TYPE normal\r\nPING\r\n");
    bench_expect(b, clients[1], ":2\r\n+PONG\r\n");
    bench_expect_end(b, clients[0]);
    bench_expect_end(b, clients[2]);
    bench_send(clients[1], "CLIENT KILL TYPE normal SKIPME no\r\n");
    bench_expect(b, clients[1], ":1\r\n");
    bench_expect_end(b, clients[1]);
    bench_destroy(b);
}

static void walks_see_all_shards(void **state)
{
    enum { KEYS = 300 };
    struct core_bench *b = bench_create_workers(WORKERS);
    int client = bench_connect_to(b, BENCH_REDIS, 2);
    for (int i = 0; i < KEYS; i++) {
        send_format(client, "SET key:%03d x\r\n", i);
        bench_expect(b, client, "+OK\r\n");
    }
    bench_send(client, "DBSIZE\r\n");
    bench_expect(b, client, ":300\r\n");
    bool seen[KEYS] = {false};
    uint64_t cursor = 0;
    int calls = 0;
    do {
        char reply[65536];
        send_format(client, "SCAN %llu COUNT 20\r\n", (unsigned long long)cursor);
        bench_pass(b, 5);
        ssize_t got = recv(client, reply, sizeof(reply) - 1, MSG_DONTWAIT);
        assert_true(got > 0 && ++calls < 10000);
        reply[got] = '\0';
        cursor = strtoull(strchr(strchr(reply, '$'), '\n') + 1, NULL, 10);
        assert_true(cursor < 1ULL << 63);
        for (const char *at = reply; (at = strstr(at, "key:")) != NULL; at += 7) {
            seen[atoi(at + 4)] = true;
        }
    } while (cursor != 0);
    for (int i = 0; i < KEYS; i++) {
        assert_true(seen[i]);
    }
    bench_send(client, "SCAN 9151314442816847872\r\nFLUSHALL\r\nDBSIZE\r\n");
    bench_expect(b, client, "*2\r\n$1\r\n0\r\n*0\r\n+OK\r\n:0\r\n");
    bench_destroy(b);
}

/* ---- memcached ------------------------------------------------------------------------------- */

static void memcached_commands(void **state)
{
    struct core_bench *b = bench_create_workers(WORKERS);
    for (uint32_t worker = 0; worker < WORKERS; worker++) {
        const char *x = name_on("m", 0), *y = name_on("m", 1);
        int client = bench_connect_to(b, BENCH_MEMCACHE, worker);
        send_format(client,
                    "set %s 5 0 1\r\n1\r\nset %s 6 0 1\r\n2\r\nget %s %s\r\nincr %s 7\r\n"
                    "delete %s\r\nset %s 0 0 1 noreply\r\nz\r\ngat 100 %s %s\r\n",
                    x, y, x, y, x, y, y, x, y);
        char expected[512];
        snprintf(expected, sizeof(expected),
                 "STORED\r\nSTORED\r\nVALUE %s 5 1\r\n1\r\nVALUE %s 6 1\r\n2\r\nEND\r\n8\r\n"
                 "DELETED\r\nVALUE %s 5 1\r\n8\r\nVALUE %s 0 1\r\nz\r\nEND\r\n",
                 x, y, x, y);
        bench_expect(b, client, expected);
        send_format(client, "flush_all\r\nget %s %s\r\nversion\r\n", x, y);
        bench_expect(b, client, "OK\r\nEND\r\nVERSION 1.6.18\r\n");
        send_format(client, "set %s 5 0 1\r\n1\r\nset %s 6 0 1\r\n2\r\nflush_all 2\r\n", x, y);
        bench_expect(b, client, "STORED\r\nSTORED\r\nOK\r\n");
        bench_advance(b, 2100000);
        send_format(client, "get %s %s\r\n", x, y);
        bench_expect(b, client, "END\r\n");
        bench_close(b, client);
    }
    bench_destroy(b);
}

static void datagrams_travel_too(void **state)
{
    enum { COUNT = 40 };
    struct core_bench *b = bench_create_workers(WORKERS);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(b->ports[2])};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    for (int i = 0; i < COUNT; i++) {
        char request[128], reply[128] = {0};
        int fd = socket(AF_INET, SOCK_DGRAM, 0); /* another source port: another worker, perhaps */
        assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
        memcpy(request, "\0\7\0\0\0\1\0\0", 8);
        int size = snprintf(request + 8, sizeof(request) - 8, "set u%d 0 0 2\r\nok\r\n", i);
        assert_int_equal(send(fd, request, (size_t)size + 8, 0), size + 8);
        bench_pass(b, 10);
        assert_int_equal(recv(fd, reply, sizeof(reply), MSG_DONTWAIT), 16);
        assert_memory_equal(reply, "\0\7\0\0\0\1\0\0STORED\r\n", 16);
        size = snprintf(request + 8, sizeof(request) - 8, "get u%d u%d\r\n", i, i / 2);
        assert_int_equal(send(fd, request, (size_t)size + 8, 0), size + 8);
        bench_pass(b, 10);
        assert_true(recv(fd, reply, sizeof(reply), MSG_DONTWAIT) > 30);
        close(fd);
    }
    assert_true(bench_sum(b, METRIC_READS_SHARED) > 0);
    assert_true(bench_sum(b, METRIC_ERRANDS_SENT) > 0);
    bench_destroy(b);
}

/* ---- the same as one worker ------------------------------------------------------------------ */

static const char *random_key(uint64_t *random)
{
    static char names[8][16];
    static uint32_t next;
    char *name = names[next++ % 8];
    snprintf(name, 16, "k%d", (int)(random_next(random) % 12));
    return name;
}

static size_t random_request(uint64_t *random, char *to, size_t room)
{
    const char *a = random_key(random), *c = random_key(random), *d = random_key(random);
    unsigned v = (unsigned)(random_next(random) % 1000);
    switch (random_next(random) % 20) {
    case 0: return (size_t)snprintf(to, room, "SET %s %u\r\n", a, v);
    case 1: return (size_t)snprintf(to, room, "GET %s\r\n", a);
    case 2: return (size_t)snprintf(to, room, "INCR %s\r\n", a);
    case 3: return (size_t)snprintf(to, room, "MSET %s %u %s %u %s x\r\n", a, v, c, v, d);
    case 4: return (size_t)snprintf(to, room, "MGET %s %s %s\r\n", a, c, d);
    case 5: return (size_t)snprintf(to, room, "DEL %s %s\r\n", a, c);
    case 6: return (size_t)snprintf(to, room, "RENAME %s %s\r\n", a, c);
    case 7: return (size_t)snprintf(to, room, "COPY %s %s\r\n", a, c);
    case 8: return (size_t)snprintf(to, room, "EXISTS %s %s %s\r\n", a, c, a);
    case 9: return (size_t)snprintf(to, room, "DBSIZE\r\n");
    case 10: return (size_t)snprintf(to, room, "MSETNX %s %u %s %u\r\n", a, v, c, v);
    case 11: return (size_t)snprintf(to, room, "GETSET %s %u\r\n", a, v);
    case 12: return (size_t)snprintf(to, room, "APPEND %s %u\r\n", a, v);
    case 13: return (size_t)snprintf(to, room, "SET %s %u NX GET\r\n", a, v);
    case 14: return (size_t)snprintf(to, room, "LCS %s %s LEN\r\n", a, c);
    case 15: return (size_t)snprintf(to, room, "EXPIRE %s 100\r\nTTL %s\r\n", a, a);
    case 16: return (size_t)snprintf(to, room, "RENAMENX %s %s\r\n", a, c);
    case 17: return (size_t)snprintf(to, room, "GETDEL %s\r\n", a);
    case 18: return (size_t)snprintf(to, room, "SELECT %u\r\n", v % 2);
    default: return (size_t)snprintf(to, room, v % 10 == 0 ? "FLUSHDB\r\n" : "PING\r\n");
    }
}

/* All that comes until nothing does. */
static size_t receive_all(struct core_bench *b, int client, char *to, size_t room)
{
    size_t used = 0;
    for (int idle = 0; idle < 12; idle++) {
        bench_pass(b, 1);
        ssize_t got = recv(client, to + used, room - used, MSG_DONTWAIT);
        if (got > 0) {
            used += (size_t)got;
            idle = 0;
        }
    }
    return used;
}

static void replies_are_those_of_one_worker(void **state)
{
    enum { ROUNDS = 300, REQUESTS = 30, ROOM = 65536 };
    static char request[ROOM], one_reply[ROOM], many_reply[ROOM];
    uint64_t random = 20261128;
    struct core_bench *one = bench_create(), *many = bench_create_workers(WORKERS);
    int alone = bench_connect(one, BENCH_REDIS), clients[WORKERS];
    for (uint32_t i = 0; i < WORKERS; i++) {
        clients[i] = bench_connect_to(many, BENCH_REDIS, i);
    }
    for (int round = 0; round < ROUNDS; round++) {
        size_t size = (size_t)snprintf(request, ROOM, "SELECT 0\r\n");
        for (int i = 0; i < REQUESTS; i++) {
            size += random_request(&random, request + size, ROOM - size);
        }
        int client = clients[random_next(&random) % WORKERS];
        bench_send(alone, request);
        bench_send(client, request);
        size_t wanted = receive_all(one, alone, one_reply, ROOM);
        size_t got = receive_all(many, client, many_reply, ROOM);
        if (got != wanted || memcmp(one_reply, many_reply, got) != 0) {
            one_reply[wanted < ROOM ? wanted : ROOM - 1] = many_reply[got < ROOM ? got : ROOM - 1] =
                0;
            fail_msg("round %d\n%s\n-- one worker:\n%s\n-- three:\n%s", round, request, one_reply,
                     many_reply);
        }
    }
    bench_destroy(one);
    bench_destroy(many);
}

/* Sixteen clients on two workers ask for what is missing, what is due and what is stale: one of
 * them is told to renew it, whoever runs first. */
static void one_client_wins(void **state)
{
    enum { CLIENTS = 16, ROUNDS = 200 };
    static const struct {
        const char *verb, *rest;
    } changes[] = {{"md", "q"}, {"ms", "1 q T50\r\nx"}, {"md", "I q"}};
    uint64_t random = 11;
    struct core_bench *b = bench_create_workers(2);
    int clients[CLIENTS], writer = bench_connect_to(b, BENCH_MEMCACHE, 0);
    for (uint32_t i = 0; i < CLIENTS; i++) {
        clients[i] = bench_connect_to(b, BENCH_MEMCACHE, i % 2);
    }
    for (int round = 0; round < ROUNDS; round++) {
        char name[16], line[64];
        int winners = 0;
        snprintf(name, sizeof(name), "key%d", round % 8);
        send_format(writer, "%s %s %s\r\nmn\r\n", changes[round % 3].verb, name,
                    changes[round % 3].rest);
        bench_pass(b, 8);
        (void)receive_all(b, writer, line, sizeof(line));
        for (int i = 0; i < CLIENTS; i++) {
            send_format(clients[i], "mg %s N60 R100 k\r\n", name);
        }
        for (int i = 0; i < 40; i++) {
            bench_pass_one(b, (uint32_t)(random_next(&random) % 2));
        }
        bench_pass(b, 8);
        for (int i = 0; i < CLIENTS; i++) {
            size_t size = receive_all(b, clients[i], line, sizeof(line));
            assert_true(size > 6 && memcmp(line, "HD k", 4) == 0);
            bool won = memchr(line, 'W', size) != NULL;
            assert_true(won != (memchr(line, 'Z', size) != NULL));
            winners += won;
        }
        assert_int_equal(winners, 1);
    }
    assert_true(bench_sum(b, METRIC_READS_SHARED) > 0);
    bench_destroy(b);
}

/* Many clients at once, and workers that take their turns in any order: every request is answered.
 */
static void storms_pass(void **state)
{
    enum { CLIENTS = 24, ROUNDS = 60, REQUESTS = 12, ROOM = 65536 };
    static char request[ROOM], reply[ROOM];
    uint64_t random = 7;
    struct core_bench *b = bench_create_workers(WORKERS);
    int clients[CLIENTS];
    for (uint32_t i = 0; i < CLIENTS; i++) {
        clients[i] = bench_connect_to(b, BENCH_REDIS, i % WORKERS);
    }
    for (int round = 0; round < ROUNDS; round++) {
        for (uint32_t i = 0; i < CLIENTS; i++) {
            size_t size = 0;
            for (int k = 0; k < REQUESTS; k++) {
                size += random_request(&random, request + size, ROOM - size);
            }
            snprintf(request + size, ROOM - size, "ECHO end%u\r\n", i);
            bench_send(clients[i], request);
        }
        for (int i = 0; i < 400; i++) {
            bench_pass_one(b, (uint32_t)(random_next(&random) % WORKERS));
        }
        bench_pass(b, 30);
        for (uint32_t i = 0; i < CLIENTS; i++) {
            char end[16];
            int end_size = snprintf(end, sizeof(end), "\r\nend%u\r\n", i);
            size_t size = receive_all(b, clients[i], reply, ROOM);
            assert_true(size > (size_t)end_size);
            assert_memory_equal(reply + size - (size_t)end_size, end, (size_t)end_size);
        }
    }
    assert_true(bench_sum(b, METRIC_LEASES_TAKEN) < bench_sum(b, METRIC_ERRANDS_LEASE));
    bench_destroy(b);
}

/* The limit is one for all workers: a value that is larger than one's part of it may come, while
 * the others hold little. */
static void clients_of_all_workers_are_counted_together(void **state)
{
    struct core_bench *b = bench_create_workers(WORKERS);
    int large = bench_connect_to(b, BENCH_REDIS, 0), other = bench_connect_to(b, BENCH_REDIS, 1);
    int small = bench_connect_to(b, BENCH_REDIS, 2);
    b->config->maxmemory_clients = 4000000;
    send_format(large, "*3\r\n$3\r\nSET\r\n$1\r\na\r\n$3000000\r\nx");
    send_format(small, "*3\r\n$3\r\nSET\r\n$1\r\na\r\n$300000\r\nx");
    bench_pass(b, 10);
    assert_in_range(bench_sum(b, METRIC_CLIENT_MEMORY), 3300000, 3400000);
    assert_int_equal(bench_sum(b, METRIC_EVICTED_CLIENTS), 0);
    send_format(other, "*3\r\n$3\r\nSET\r\n$1\r\nb\r\n$2000000\r\nx");
    bench_pass(b, 10);
    bench_expect_end(b, other); /* its worker has more than a part, and is the first to see it */
    assert_in_range(bench_sum(b, METRIC_CLIENT_MEMORY), 3300000, 3400000);
    assert_int_equal(bench_sum(b, METRIC_EVICTED_CLIENTS), 1);
    bench_close(b, large);
    bench_close(b, small);
    bench_destroy(b);
}

/* A value that is gone counts for the clients that hold it, whichever worker they and it are with.
 */
static void values_that_only_replies_of_others_hold_count(void **state)
{
    enum { VALUE_BYTES = 32 << 20 };
    struct core_bench *b = bench_create_workers(WORKERS);
    int writer = bench_connect_to(b, BENCH_REDIS, 0);
    bench_send(writer, "SETRANGE a 33554431 x\r\n");
    bench_pass(b, 10);
    bench_expect(b, writer, ":33554432\r\n");
    for (uint32_t i = 0; i < WORKERS; i++) {
        bench_send(bench_connect_to(b, BENCH_REDIS, i), "GET a\r\n");
    }
    b->config->maxmemory_clients = VALUE_BYTES / 2;
    bench_pass(b, 10);
    assert_int_equal(bench_sum(b, METRIC_EVICTED_CLIENTS), 0);
    bench_send(writer, "DEL a\r\n");
    bench_pass(b, 20);
    bench_expect(b, writer, ":1\r\n");
    assert_int_equal(bench_sum(b, METRIC_EVICTED_CLIENTS), WORKERS);
    for (uint32_t i = 0; i < WORKERS; i++) {
        assert_int_equal(shard_kept_bytes(b->shards[i]), 0);
    }
    bench_destroy(b);
}

#define CASE(name) cmocka_unit_test(name)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(keys_are_spread_and_tags_keep_them_together),
        CASE(every_worker_reads_and_writes_every_shard),
        CASE(pipelines_keep_their_order),
        CASE(full_channels_lose_nothing),
        CASE(replies_obey_client_reply),
        CASE(errors_are_those_of_one_worker),
        CASE(connections_that_end_meanwhile_are_forgotten),
        CASE(a_pipeline_for_one_owner_is_one_errand),
        CASE(a_pipeline_for_several_owners_keeps_its_order),
        CASE(a_pipeline_that_changes_owners_often_takes_leases),
        CASE(a_torn_read_of_a_pipeline_goes_to_its_owner),
        CASE(commands_over_several_shards),
        CASE(keys_of_one_tag_need_no_lease),
        CASE(a_lent_shard_is_left_alone),
        CASE(reads_of_all_shards_run_as_a_row),
        CASE(readers_keep_away_from_joint_writes),
        CASE(several_keys_of_one_shard_are_a_joint_write_too),
        CASE(one_key_of_two_databases_is_a_joint_write_too),
        CASE(large_values_travel),
        CASE(large_values_that_arrive_while_the_shard_is_lent),
        CASE(large_values_count_where_their_key_is),
        CASE(requests_over_several_shards_wait_for_eviction),
        CASE(large_values_of_connections_that_end),
        CASE(clients_of_all_workers_are_listed_and_killed),
        CASE(walks_see_all_shards),
        CASE(memcached_commands),
        CASE(datagrams_travel_too),
        CASE(replies_are_those_of_one_worker),
        CASE(one_client_wins),
        CASE(storms_pass),
        CASE(clients_of_all_workers_are_counted_together),
        CASE(values_that_only_replies_of_others_hold_count),
    };
    simulated_memory_setup();
    command_table_setup();
    rcu_thread_register();
    int result = cmocka_run_group_tests(tests, NULL, NULL);
    rcu_thread_unregister();
    return result;
}
