/* memcached's watch over several workers, and figures that are collected from all of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "dataplane/base/rcu.h"
#include "tests/support/simulated_host.h"
#include "tests/unit/core/core_bench.h"

#define WORKERS 3U
#define ROOM    (1024U * 1024U)

static char text[ROOM];

/* All that comes until nothing does; terminated. */
static size_t receive(struct core_bench *b, int client)
{
    size_t used = 0;
    for (int idle = 0; idle < 12; idle++) {
        bench_pass(b, 1);
        ssize_t got = recv(client, text + used, ROOM - 1 - used, MSG_DONTWAIT);
        if (got > 0) {
            used += (size_t)got;
            idle = 0;
        }
    }
    text[used] = '\0';
    return used;
}

static uint32_t count_of(const char *part)
{
    uint32_t count = 0;
    for (const char *at = text; (at = strstr(at, part)) != NULL; at++) {
        count++;
    }
    return count;
}

static int watch(struct core_bench *b, uint32_t worker, const char *kinds)
{
    char request[64];
    int client = bench_connect_to(b, BENCH_MEMCACHE, worker);
    snprintf(request, sizeof(request), "watch%s\r\n", kinds);
    bench_send(client, request);
    bench_expect(b, client, "OK\r\n");
    return client;
}

static void watchers_see_what_happens_on_any_worker(void **state)
{
    struct core_bench *b = bench_create_workers(WORKERS);
    int fetches = watch(b, 0, ""), stores = watch(b, 2, " mutations");
    int all = watch(b, 2, " fetchers mutations");
    for (uint32_t i = 0; i < WORKERS; i++) {
        int client = bench_connect_to(b, BENCH_MEMCACHE, i);
        for (int k = 0; k < 20; k++) {
            char request[64];
            snprintf(request, sizeof(request), "set key%d 0 0 1\r\nx\r\nget key%d\r\n", k, k);
            bench_send(client, request);
        }
        receive(b, client);
        assert_int_equal(count_of("STORED\r\n"), 20);
        bench_close(b, client);
    }
    receive(b, fetches);
    assert_int_equal(count_of("\n"), WORKERS * 20 * 2);
    assert_int_equal(count_of("type=item_get "), WORKERS * 20 * 2);
    assert_int_equal(count_of(" status=found "), WORKERS * 20 * 2 - 20);
    receive(b, stores);
    assert_int_equal(count_of("\n"), WORKERS * 20);
    assert_int_equal(count_of("type=item_store "), WORKERS * 20);
    receive(b, all);
    assert_int_equal(count_of("\n"), WORKERS * 20 * 3);
    uint64_t sent = WORKERS * 20 * (2 + 1 + 3);
    assert_int_equal(bench_sum(b, METRIC_MEMCACHE_LOG_WATCHER_SENT), sent);
    assert_int_equal(bench_sum(b, METRIC_MEMCACHE_LOG_WORKER_WRITTEN), WORKERS * 20 * 3);
    assert_int_equal(bench_sum(b, METRIC_MEMCACHE_LOG_WORKER_DROPPED), 0);
    bench_close(b, fetches);
    bench_close(b, stores);
    bench_close(b, all);
    bench_pass(b, 3);
    int client = bench_connect_to(b, BENCH_MEMCACHE, 1);
    bench_send(client, "get a\r\n");
    bench_expect(b, client, "END\r\n");
    assert_int_equal(bench_sum(b, METRIC_MEMCACHE_LOG_WORKER_WRITTEN), WORKERS * 20 * 3);
    bench_close(b, client);
    bench_destroy(b);
}

static void connections_are_events(void **state)
{
    struct core_bench *b = bench_create_workers(WORKERS);
    int watcher = watch(b, 1, " connevents");
    int client = bench_connect_to(b, BENCH_MEMCACHE, 0);
    bench_send(client, "quit\r\n");
    bench_expect_end(b, client);
    receive(b, watcher);
    uint32_t opened = count_of("type=conn_new rip=127.0.0.1 rport=");
    assert_true(opened > 0); /* the bench tries until the right worker has accepted it */
    assert_int_equal(count_of("type=conn_close rip=127.0.0.1 rport="), opened);
    assert_int_equal(count_of("\n"), 2 * opened);
    assert_true(count_of(" transport=tcp reason=normal cfd=") > 0);
    int redis = bench_connect_to(b, BENCH_REDIS, 0);
    bench_close(b, redis);
    assert_int_equal(receive(b, watcher), 0);
    bench_close(b, watcher);
    bench_destroy(b);
}

static void a_watcher_is_not_asked(void **state)
{
    struct core_bench *b = bench_create_workers(WORKERS);
    int client = bench_connect_to(b, BENCH_MEMCACHE, 0);
    bench_send(
        client,
        "watch foo\r\nwatch fetchers foo\r\nversion\r\nwatch mutations\r\nget a\r\nquit\r\n");
    bench_expect(b, client, "ERROR\r\nERROR\r\nVERSION 1.6.18\r\nOK\r\n");
    bench_send(client, "set a 0 0 5\r\nquit\r\n\r\n\x80");
    bench_expect_nothing(b, client);
    b->config->timeout = 1;
    bench_advance(b, 5000000);
    bench_expect_nothing(b, client);
    shutdown(client, SHUT_WR);
    bench_expect_end(b, client);
    b->config->memcache_watch = false;
    client = bench_connect_to(b, BENCH_MEMCACHE, 0);
    bench_send(client, "watch\r\n");
    bench_expect(b, client, "CLIENT_ERROR watch commands not allowed\r\n");
    bench_close(b, client);
    bench_destroy(b);
}

static void there_are_twenty_at_most(void **state)
{
    struct core_bench *b = bench_create_workers(WORKERS);
    int watchers[MEMCACHE_WATCHERS_MAX];
    for (uint32_t i = 0; i < MEMCACHE_WATCHERS_MAX; i++) {
        watchers[i] = watch(b, i % WORKERS, "");
    }
    int client = bench_connect_to(b, BENCH_MEMCACHE, 0);
    bench_send(client, "watch\r\nversion\r\n");
    bench_expect(b, client, "WATCHER_TOO_MANY log watcher limit reached\r\nVERSION 1.6.18\r\n");
    bench_close(b, watchers[7]);
    bench_pass(b, 3);
    bench_send(client, "watch\r\n");
    bench_expect(b, client, "OK\r\n");
    watchers[7] = client;
    for (uint32_t i = 0; i < MEMCACHE_WATCHERS_MAX; i++) {
        bench_close(b, watchers[i]);
    }
    bench_destroy(b);
}

/* The sum of what the lines in `text` say was skipped. */
static uint64_t told_skipped(void)
{
    uint64_t sum = 0;
    for (const char *at = text; (at = strstr(at, "\nskipped=")) != NULL; at++) {
        sum += strtoull(at + strlen("\nskipped="), NULL, 10);
    }
    return sum + (strncmp(text, "skipped=", 8) == 0 ? strtoull(text + 8, NULL, 10) : 0);
}

/* It reads nothing: others are served, its lines are skipped, and it is told how many. */
static void a_slow_watcher_holds_up_nobody(void **state)
{
    struct core_bench *b = bench_create_workers(WORKERS);
    int slow = watch(b, 0, ""), client = bench_connect_to(b, BENCH_MEMCACHE, 1);
    char keys[16384];
    size_t size = (size_t)snprintf(keys, sizeof(keys), "get");
    for (int i = 0; i < 500; i++) {
        size +=
            (size_t)snprintf(keys + size, sizeof(keys) - size, " a-key-that-is-not-there-%d", i);
    }
    snprintf(keys + size, sizeof(keys) - size, "\r\n");
    while (bench_sum(b, METRIC_MEMCACHE_LOG_WATCHER_SKIPPED) < 1000) {
        bench_send(client, keys);
        bench_expect(b, client, "END\r\n");
    }
    struct stream *stream = conversation_of_client(b->cores[0]->clients.first)->session.stream;
    assert_true(stream->out.size <= MEMCACHE_WATCHER_BYTES_MAX);
    uint64_t told = 0;
    while (receive(b, slow) > 0) {
        told += told_skipped();
    }
    bench_send(client, "get last\r\n");
    bench_expect(b, client, "END\r\n");
    receive(b, slow);
    assert_non_null(strstr(text, " key=last status=not_found "));
    told += told_skipped();
    assert_int_equal(told, bench_sum(b, METRIC_MEMCACHE_LOG_WATCHER_SKIPPED));
    bench_close(b, slow);
    bench_close(b, client);
    bench_destroy(b);
}

static void watchers_that_end_while_lines_are_under_way(void **state)
{
    struct core_bench *b = bench_create_workers(WORKERS);
    int client = bench_connect_to(b, BENCH_MEMCACHE, 1);
    for (int round = 0; round < 20; round++) {
        int watcher = watch(b, 2, " fetchers connevents");
        bench_send(client, "get a\r\n");
        bench_pass_one(b, 1);
        bench_close(b, watcher);
        bench_pass_one(b, 2);
        bench_pass(b, 4);
        bench_expect(b, client, "END\r\n");
    }
    assert_int_equal(memcache_observed(b->core->context->observers), 0);
    bench_close(b, client);
    bench_destroy(b);
}

static void figures_of_all_workers_are_one(void **state)
{
    struct core_bench *b = bench_create_workers(WORKERS);
    int clients[WORKERS];
    for (uint32_t i = 0; i < WORKERS; i++) {
        clients[i] = bench_connect_to(b, BENCH_MEMCACHE, i);
    }
    bench_send(clients[0], "stats detail on\r\n");
    bench_expect(b, clients[0], "OK\r\n");
    bench_pass(b, 1);
    for (uint32_t i = 0; i < WORKERS; i++) {
        bench_send(clients[i], "set a:1 0 0 1\r\nx\r\nset a:2 0 0 1\r\nx\r\nget a:1 a:2 a:3\r\n");
        receive(b, clients[i]);
    }
    bench_send(clients[1], "stats detail dump\r\nversion\r\n");
    bench_expect(b, clients[1], "PREFIX a get 9 hit 6 set 6 del 0\r\nEND\r\nVERSION 1.6.18\r\n");
    bench_send(clients[2], "stats conns\r\n");
    receive(b, clients[2]);
    assert_int_equal(count_of(":addr tcp:127.0.0.1:"), WORKERS);
    bench_send(clients[2], "stats reset\r\nstats detail dump\r\n");
    bench_expect(b, clients[2], "RESET\r\nEND\r\n");
    for (uint32_t i = 0; i < WORKERS; i++) {
        bench_close(b, clients[i]);
    }
    bench_destroy(b);
}

#define CASE(name) cmocka_unit_test(name)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(watchers_see_what_happens_on_any_worker),
        CASE(connections_are_events),
        CASE(a_watcher_is_not_asked),
        CASE(there_are_twenty_at_most),
        CASE(a_slow_watcher_holds_up_nobody),
        CASE(watchers_that_end_while_lines_are_under_way),
        CASE(figures_of_all_workers_are_one),
    };
    simulated_memory_setup();
    command_table_setup();
    rcu_thread_register();
    int result = cmocka_run_group_tests(tests, NULL, NULL);
    rcu_thread_unregister();
    return result;
}
