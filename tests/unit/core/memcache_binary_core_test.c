/* memcached's binary protocol through a whole core: which protocol a connection speaks, requests
 * that come byte by byte, connections that end in the middle of one, large values, logging in,
 * several workers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#include "dataplane/base/check.h"
#include "dataplane/base/rcu.h"
#include "tests/support/simulated_host.h"
#include "tests/unit/core/core_bench.h"

#define LARGE   100000U /* received into a blob */
#define WORKERS 3U
#define HEADER  24U

struct packet {
    uint8_t bytes[400];
    size_t size;
};

/* Opaque: the opcode. `body_bytes` may count a value that is sent apart. */
static struct packet packet_of(uint8_t magic, uint8_t opcode, uint16_t status, const char *extras,
                               size_t extra_bytes, const char *key, const char *value,
                               size_t body_bytes)
{
    struct packet packet = {.size = HEADER + extra_bytes + strlen(key) + strlen(value)};
    uint8_t *at = packet.bytes;
    CHECK(packet.size <= sizeof(packet.bytes));
    at[0] = magic;
    at[1] = opcode;
    bytes_write_be16(at + 2, (uint16_t)strlen(key));
    at[4] = (uint8_t)extra_bytes;
    bytes_write_be16(at + 6, status);
    bytes_write_be32(at + 8, (uint32_t)body_bytes);
    bytes_write_be32(at + 12, opcode);
    memcpy(at + HEADER, extras, extra_bytes);
    memcpy(at + HEADER + extra_bytes, key, strlen(key));
    memcpy(at + HEADER + extra_bytes + strlen(key), value, strlen(value));
    return packet;
}

static struct packet request(uint8_t opcode, const char *extras, size_t extra_bytes,
                             const char *key, const char *value)
{
    return packet_of(0x80, opcode, 0, extras, extra_bytes, key, value,
                     extra_bytes + strlen(key) + strlen(value));
}

static struct packet reply(uint8_t opcode, uint16_t status, const char *value)
{
    return packet_of(0x81, opcode, status, "", 0, "", value, strlen(value));
}

#define NO_FLAGS "\0\0\0\0\0\0\0\0"

static struct packet setq(const char *key, const char *value)
{
    return request(0x11, NO_FLAGS, 8, key, value);
}

static struct packet noop(void)
{
    return request(0x0a, "", 0, "", "");
}

static struct packet hit(const char *key, const char *value)
{
    return packet_of(0x81, 0x0d, 0, "\0\0\0\0", 4, key, value, 4 + strlen(key) + strlen(value));
}

static struct packet getkq(const char *key)
{
    return request(0x0d, "", 0, key, "");
}

static void send_packet(int client, const struct packet *packet)
{
    bench_send_bytes(client, packet->bytes, packet->size);
}

/* Whatever the CAS value is. */
static void expect_packet(struct core_bench *b, int client, const struct packet *packet)
{
    uint8_t got[sizeof(packet->bytes)];
    assert_int_equal(bench_receive(b, client, got, packet->size), packet->size);
    memset(got + 16, 0, 8);
    assert_memory_equal(got, packet->bytes, packet->size);
}

static void expect_noop(struct core_bench *b, int client)
{
    struct packet ask = noop(), answer = reply(0x0a, 0, "");
    send_packet(client, &ask);
    expect_packet(b, client, &answer);
}

static void expect_stored(struct core_bench *b, int client, const char *key, const char *value)
{
    struct packet ask = getkq(key), answer = hit(key, value);
    send_packet(client, &ask);
    if (value[0] != '\0') {
        expect_packet(b, client, &answer);
    }
    expect_noop(b, client);
}

/* ---- which protocol -------------------------------------------------------------------------- */

static void the_first_byte_decides(void **state)
{
    struct core_bench *b = bench_create();
    int text = bench_connect(b, BENCH_MEMCACHE), binary = bench_connect(b, BENCH_MEMCACHE);
    struct packet ask = noop();
    bench_send(text, "version\r\n");
    bench_expect(b, text, "VERSION 1.6.18\r\n");
    send_packet(text, &ask); /* its opcode is a line feed */
    bench_expect(b, text, "ERROR\r\n");
    expect_noop(b, binary);
    bench_send(binary, "version\r\n");
    bench_expect_end(b, binary);
    bench_destroy(b);
}

static void what_ends_a_connection(void **state)
{
    static const struct {
        uint8_t opcode;
        const char *key;
        uint16_t status;
        const char *text;
    } cases[] = {{0x00, "", 0x04, "Invalid arguments"}, {0x0a, "key", 0x04, "Invalid arguments"}};
    struct core_bench *b = bench_create();
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        int client = bench_connect(b, BENCH_MEMCACHE);
        struct packet wrong = request(cases[i].opcode, "", 0, cases[i].key, "");
        struct packet answer = reply(cases[i].opcode, cases[i].status, cases[i].text);
        struct packet before = reply(0x0a, 0, ""), ask = noop(), after = setq("a", "never");
        send_packet(client, &ask);
        send_packet(client, &wrong);
        send_packet(client, &after);
        expect_packet(b, client, &before);
        expect_packet(b, client, &answer);
        bench_expect_end(b, client);
    }
    assert_int_equal(shard_key_count(b->shard, 0), 0);
    bench_destroy(b);
}

/* ---- pieces ---------------------------------------------------------------------------------- */

static void requests_byte_by_byte(void **state)
{
    struct core_bench *b = bench_create();
    int client = bench_connect(b, BENCH_MEMCACHE);
    struct packet packets[] = {setq("a", "value"),
                               getkq("a"),
                               setq("b", ""),
                               getkq("none"),
                               request(0x19, "", 0, "a", "!"),
                               getkq("a"),
                               noop()};
    struct packet answers[] = {hit("a", "value"), hit("a", "value!"), reply(0x0a, 0, "")};
    for (size_t i = 0; i < sizeof(packets) / sizeof(packets[0]); i++) {
        for (size_t at = 0; at < packets[i].size; at++) {
            bench_send_bytes(client, packets[i].bytes + at, 1);
            bench_pass(b, 1);
        }
    }
    for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
        expect_packet(b, client, &answers[i]);
    }
    bench_destroy(b);
}

/* Every prefix of a request, and then the connection ends: nothing of it has happened, and what
 * others ask is not mixed up. */
static void aborts_in_the_middle_of_any_request(void **state)
{
    struct core_bench *b = bench_create();
    int witness = bench_connect(b, BENCH_MEMCACHE);
    struct packet before = setq("a", "before");
    struct packet packets[] = {
        setq("a", "after"), request(0x19, "", 0, "a", "after"), request(0x14, "", 0, "a", ""),
        request(0x15, "\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\1\0\0\0\0", 20, "n", "")};
    send_packet(witness, &before);
    for (size_t i = 0; i < sizeof(packets) / sizeof(packets[0]); i++) {
        for (size_t size = 1; size < packets[i].size; size++) {
            int client = bench_connect(b, BENCH_MEMCACHE);
            bench_send_bytes(client, packets[i].bytes, size);
            bench_pass(b, 1);
            bench_close(b, client);
        }
        expect_stored(b, witness, "a", "before");
        expect_stored(b, witness, "n", "");
    }
    assert_int_equal(shard_key_count(b->shard, 0), 1);
    bench_destroy(b);
}

/* ---- large values ---------------------------------------------------------------------------- */

static void send_large(int client, uint8_t opcode, const char *key, size_t sent)
{
    struct packet head = packet_of(0x80, opcode, 0, NO_FLAGS, 8, key, "", 8 + strlen(key) + LARGE);
    uint8_t *value = malloc(LARGE);
    CHECK(value != NULL && sent <= LARGE);
    memset(value, 'v', LARGE);
    send_packet(client, &head);
    bench_send_bytes(client, value, sent);
    free(value);
}

static void large_values(void **state)
{
    struct core_bench *b = bench_create();
    int client = bench_connect(b, BENCH_MEMCACHE);
    struct packet ask = request(0x00, "", 0, "big", "");
    send_large(client, 0x11, "big", LARGE);
    expect_noop(b, client);
    send_packet(client, &ask);
    struct packet head = packet_of(0x81, 0x00, 0, "\0\0\0\0", 4, "", "", 4 + LARGE);
    expect_packet(b, client, &head);
    bench_expect_filled(b, client, "", 'v', LARGE, "");
    /* Half of one, and the connection ends. */
    send_large(client, 0x11, "other", LARGE / 2);
    bench_pass(b, 2);
    bench_close(b, client);
    assert_int_equal(shard_key_count(b->shard, 0), 1);
    bench_destroy(b);
}

static void large_values_that_are_refused(void **state)
{
    struct core_bench *b = bench_create();
    int client = bench_connect(b, BENCH_MEMCACHE);
    struct packet small = setq("big", "old"), too_large = reply(0x01, 0x03, "Too large.");
    struct packet no_memory = reply(0x11, 0x82, "Out of memory allocating item");
    send_packet(client, &small);
    b->config->memcache_item_size_max = LARGE;
    send_large(client, 0x01, "big", LARGE);
    expect_packet(b, client, &too_large);
    expect_stored(b, client, "big", ""); /* what it held is gone, too */
    b->config->memcache_item_size_max = 1 << 20;
    b->config->maxmemory = 1;
    shard_set_maxmemory(b->shard, 1);
    send_large(client, 0x11, "big", LARGE);
    expect_packet(b, client, &no_memory);
    expect_noop(b, client);
    bench_destroy(b);
}

/* ---- logging in ------------------------------------------------------------------------------ */

static void set_password(struct core_bench *b, const char *password)
{
    free(b->config->requirepass);
    b->config->requirepass = strdup(password);
    CHECK(b->config->requirepass != NULL);
}

static void a_password_is_asked_for(void **state)
{
    struct core_bench *b = bench_create();
    set_password(b, "secret");
    int text = bench_connect(b, BENCH_MEMCACHE), binary = bench_connect(b, BENCH_MEMCACHE);
    bench_send(text, "version\r\nset a 0 0 9\r\nx secreT!\r\n"
                     "set a 0 0 14\r\ndefault secret\r\nget a\r\nset a 0 0 1\r\nx\r\n");
    bench_expect(b, text,
                 "CLIENT_ERROR unauthenticated\r\nCLIENT_ERROR authentication failure\r\n"
                 "STORED\r\nEND\r\nSTORED\r\n");
    struct packet set = setq("a", "stolen"), answer = reply(0x11, 0x20, "Auth failure.");
    send_packet(binary, &set);
    expect_packet(b, binary, &answer);
    bench_expect_end(b, binary);
    bench_send(text, "get a\r\n");
    bench_expect(b, text, "VALUE a 0 1\r\nx\r\nEND\r\n");

    /* SASL and what follows it in one packet. */
    binary = bench_connect(b, BENCH_MEMCACHE);
    uint8_t auth[HEADER + 5 + 15] = {0x80, 0x21, 0, 5, 0, 0, 0, 0, 0, 0, 0, 20, 0, 0, 0, 0x21};
    memcpy(auth + HEADER, "PLAIN\0default\0secret", 20);
    struct packet welcome = reply(0x21, 0, "Authenticated"), ask = getkq("a"),
                  found = hit("a", "x");
    bench_send_bytes(binary, auth, sizeof(auth));
    send_packet(binary, &ask);
    expect_packet(b, binary, &welcome);
    expect_packet(b, binary, &found);
    bench_destroy(b);
}

/* Who has not logged in may keep us busy with 2048 bytes of a line, and not with more. */
static void input_before_the_login_is_bounded(void **state)
{
    struct core_bench *b = bench_create();
    set_password(b, "secret");
    int client = bench_connect(b, BENCH_MEMCACHE);
    bench_send_filled(client, "get ", 'k', 2000, "");
    bench_expect_nothing(b, client);
    bench_send_filled(client, "", 'k', 100, "");
    bench_expect_end(b, client);
    bench_destroy(b);
}

/* ---- several workers ------------------------------------------------------------------------- */

static const char *name_on(const char *stem, uint32_t worker)
{
    static char names[8][16];
    static uint32_t next;
    char *name = names[next++ % 8];
    for (uint32_t i = 0; i < 10000; i++) {
        snprintf(name, sizeof(names[0]), "%s%u", stem, i);
        struct key key = key_hashed(slice_of_string(name));
        if (key_owner(&key, WORKERS) == worker) {
            return name;
        }
    }
    CHECK(false);
    return name;
}

/* The first get gives the item its CAS value, which only the owner may; those behind it read. */
static void gets_of_other_shards(void **state)
{
    struct core_bench *b = bench_create_workers(WORKERS);
    int client = bench_connect_to(b, BENCH_MEMCACHE, 0);
    const char *name = name_on("k", 2);
    struct packet set = setq(name, "value"), ask = getkq(name), answer = hit(name, "value");
    send_packet(client, &set);
    expect_noop(b, client);
    uint64_t errands = bench_sum(b, METRIC_ERRANDS_RUN);
    send_packet(client, &ask);
    expect_packet(b, client, &answer);
    assert_int_equal(bench_sum(b, METRIC_ERRANDS_RUN), errands + 1);
    send_packet(client, &ask);
    send_packet(client, &ask);
    expect_packet(b, client, &answer);
    expect_packet(b, client, &answer);
    assert_int_equal(bench_sum(b, METRIC_ERRANDS_RUN), errands + 1);
    assert_int_equal(bench_sum(b, METRIC_MEMCACHE_GET_HITS), 3);
    bench_destroy(b);
}

/* Quiet requests to all shards, and the noop behind them, keep their order. */
static void quiet_requests_keep_their_order(void **state)
{
    enum { ROUNDS = 30 };
    struct core_bench *b = bench_create_workers(WORKERS);
    int client = bench_connect_to(b, BENCH_MEMCACHE, 1);
    const char *names[] = {name_on("a", 0), name_on("b", 1), name_on("c", 2)};
    const char *missing[] = {name_on("x", 2), name_on("y", 0), name_on("z", 1)};
    char value[16];
    for (int i = 0; i < ROUNDS; i++) {
        snprintf(value, sizeof(value), "%d", i);
        struct packet set = setq(names[i % 3], value), ask = getkq(names[i % 3]);
        struct packet other = getkq(missing[i % 3]);
        send_packet(client, &set);
        send_packet(client, &other);
        send_packet(client, &ask);
    }
    struct packet flush = request(0x18, "", 0, "", "");
    send_packet(client, &flush);
    for (int i = 0; i < ROUNDS; i++) {
        snprintf(value, sizeof(value), "%d", i);
        struct packet answer = hit(names[i % 3], value);
        expect_packet(b, client, &answer);
    }
    expect_stored(b, client, names[0], "");
    send_large(client, 0x11, names[0], LARGE);
    expect_noop(b, client);
    assert_int_equal(shard_key_count(b->shards[0], 0), 1);
    bench_destroy(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_byte_decides),
        cmocka_unit_test(what_ends_a_connection),
        cmocka_unit_test(requests_byte_by_byte),
        cmocka_unit_test(aborts_in_the_middle_of_any_request),
        cmocka_unit_test(large_values),
        cmocka_unit_test(large_values_that_are_refused),
        cmocka_unit_test(a_password_is_asked_for),
        cmocka_unit_test(input_before_the_login_is_bounded),
        cmocka_unit_test(gets_of_other_shards),
        cmocka_unit_test(quiet_requests_keep_their_order),
    };
    simulated_memory_setup();
    command_table_setup();
    rcu_thread_register();
    int result = cmocka_run_group_tests(tests, NULL, NULL);
    rcu_thread_unregister();
    return result;
}
