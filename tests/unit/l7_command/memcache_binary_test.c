/* memcached's binary protocol as conversations: packets in, packets out; logging in; and what Redis
 * clients see of the same keys. The expected replies are what memcached 1.6.18 answers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#include "dataplane/base/check.h"
#include "dataplane/l6_protocol/memcache_binary_parse.h"
#include "tests/unit/l7_command/dialogue.h"

#define OPAQUE   0x0a0d8081U
#define ANY_CAS  UINT64_MAX /* expected: one that is not 0 */
#define NO_VALUE slice_of(NULL, 0)

enum opcode {
    GET,
    SET,
    ADD,
    REPLACE,
    DELETE,
    INCR,
    DECR,
    QUIT,
    FLUSH,
    GETQ,
    NOOP,
    VERSION,
    GETK,
    GETKQ,
    APPEND,
    PREPEND,
    STAT,
    SETQ,
    ADDQ,
    REPLACEQ,
    DELETEQ,
    INCRQ,
    DECRQ,
    QUITQ,
    FLUSHQ,
    APPENDQ,
    PREPENDQ,
    TOUCH = 0x1c,
    GAT,
    GATQ,
    SASL_LIST = 0x20,
    SASL_AUTH,
    SASL_STEP,
    GATK,
    GATKQ,
};

static struct dialogue *dialogue;
static struct byte_queue out;
static struct client memcache_client;
static uint64_t last_cas; /* of the last reply */

static int setup(void **state)
{
    dialogue = dialogue_create();
    byte_queue_init(&out);
    client_open(&dialogue->clients, &memcache_client, CLIENT_MEMCACHE);
    memcache_client.peer = dialogue->client->peer;
    memcache_client.local = dialogue->client->local;
    return 0;
}

static int teardown(void **state)
{
    byte_queue_clear(&out, &dialogue->pool);
    client_close(&dialogue->clients, &memcache_client);
    dialogue_destroy(dialogue);
    return 0;
}

/* ---- packets --------------------------------------------------------------------------------- */

static void execute(const struct memcache_request *request)
{
    struct memcache_reply reply = {.out = &out, .pool = &dialogue->pool};
    struct key key;
    if (request->key_count > 0) {
        key = key_hashed(request->keys[0]);
    }
    struct memcache_call call = {
        .context = dialogue->context,
        .shard = dialogue->shard,
        .now = &dialogue->now,
        .client = &memcache_client,
        .request = request,
        .keys = &key,
        .reply = &reply,
    };
    dialogue->context->now = dialogue->now;
    assert_int_equal(memcache_execute(&call), COMMAND_DONE);
}

static void send_bytes(const uint8_t *bytes, size_t size)
{
    struct memcache_binary_parser parser = {0};
    struct memcache_binary_limits limits = {
        .item_bytes_max = (uint64_t)dialogue->config->memcache_item_size_max,
        .login_needed = !command_client_authenticated(dialogue->context, &memcache_client),
    };
    struct memcache_request request;
    struct memcache_parse_result result;
    for (size_t at = 0; at < size; at += result.consumed) {
        memcache_binary_parse(&parser, &limits, slice_of(bytes + at, size - at), &request, &result);
        if (result.verdict == PARSE_COMPLETE) {
            execute(&request);
        } else {
            assert_int_equal(result.verdict, PARSE_NOTHING);
        }
    }
    while (shard_maintain(dialogue->shard, &dialogue->now)) {
    }
}

static void send_packet(enum opcode opcode, struct slice extras, struct slice key,
                        struct slice value, uint64_t cas)
{
    static uint8_t packet[70000];
    uint8_t *at = packet + MEMCACHE_BINARY_HEADER_BYTES;
    const struct slice parts[] = {extras, key, value};
    memset(packet, 0, MEMCACHE_BINARY_HEADER_BYTES);
    packet[0] = 0x80;
    packet[1] = (uint8_t)opcode;
    bytes_write_be16(packet + 2, (uint16_t)key.size);
    packet[4] = (uint8_t)extras.size;
    bytes_write_be32(packet + 8, (uint32_t)(extras.size + key.size + value.size));
    bytes_write_be32(packet + 12, OPAQUE);
    bytes_write_be64(packet + 16, cas);
    for (size_t i = 0; i < 3; i++) {
        if (parts[i].size > 0) {
            memcpy(at, parts[i].data, parts[i].size);
            at += parts[i].size;
        }
    }
    send_bytes(packet, (size_t)(at - packet));
}

static void send_key(enum opcode opcode, const char *key)
{
    send_packet(opcode, NO_VALUE, slice_of_string(key), NO_VALUE, 0);
}

static void send_store(enum opcode opcode, const char *key, uint32_t flags, uint32_t exptime,
                       const char *value, uint64_t cas)
{
    uint8_t extras[8];
    bytes_write_be32(extras, flags);
    bytes_write_be32(extras + 4, exptime);
    send_packet(opcode, slice_of(extras, 8), slice_of_string(key), slice_of_string(value), cas);
}

static void send_count(enum opcode opcode, const char *key, uint64_t delta, uint64_t initial,
                       uint32_t exptime, uint64_t cas)
{
    uint8_t extras[20];
    bytes_write_be64(extras, delta);
    bytes_write_be64(extras + 8, initial);
    bytes_write_be32(extras + 16, exptime);
    send_packet(opcode, slice_of(extras, 20), slice_of_string(key), NO_VALUE, cas);
}

static void send_touch(enum opcode opcode, const char *key, uint32_t exptime)
{
    uint8_t extras[4];
    bytes_write_be32(extras, exptime);
    send_packet(opcode, slice_of(extras, 4), slice_of_string(key), NO_VALUE, 0);
}

/* The next packet of the reply. */
static void expect_bytes(enum opcode opcode, unsigned status, uint64_t cas, struct slice extras,
                         const char *key, struct slice value)
{
    static uint8_t packet[70000];
    struct slice body = slice_of(packet + MEMCACHE_BINARY_HEADER_BYTES, 0);
    size_t size = byte_queue_copy_out(&out, 0, packet, sizeof(packet));
    assert_true(size >= MEMCACHE_BINARY_HEADER_BYTES);
    body.size = bytes_read_be32(packet + 8);
    assert_int_equal(packet[0], 0x81);
    assert_int_equal(packet[1], opcode);
    assert_int_equal(bytes_read_be16(packet + 6), status);
    assert_int_equal(bytes_read_be32(packet + 12), OPAQUE);
    assert_int_equal(packet[5], 0);
    last_cas = bytes_read_be64(packet + 16);
    assert_true(cas == ANY_CAS ? last_cas != 0 : last_cas == cas);
    assert_int_equal(packet[4], extras.size);
    assert_int_equal(bytes_read_be16(packet + 2), strlen(key));
    assert_int_equal(body.size, extras.size + strlen(key) + value.size);
    assert_true(slice_equal(slice_of(body.data, extras.size), extras));
    assert_memory_equal(body.data + extras.size, key, strlen(key));
    assert_true(slice_equal(slice_from(body, extras.size + strlen(key)), value));
    byte_queue_consume(&out, &dialogue->pool, MEMCACHE_BINARY_HEADER_BYTES + body.size);
}

static void expect(enum opcode opcode, unsigned status, uint64_t cas, const char *value)
{
    expect_bytes(opcode, status, cas, NO_VALUE, "", slice_of_string(value));
}

static void expect_hit(enum opcode opcode, uint32_t flags, uint64_t cas, const char *key,
                       const char *value)
{
    uint8_t extras[4];
    bytes_write_be32(extras, flags);
    expect_bytes(opcode, 0, cas, slice_of(extras, 4), key, slice_of_string(value));
}

static void expect_number(enum opcode opcode, uint64_t number)
{
    uint8_t value[8];
    bytes_write_be64(value, number);
    expect_bytes(opcode, 0, ANY_CAS, NO_VALUE, "", slice_of(value, 8));
}

static void expect_nothing(void)
{
    assert_int_equal(out.size, 0);
}

static const struct item *item_of(const char *key)
{
    struct key hashed = key_hashed(slice_of_string(key));
    return shard_find(dialogue->shard, 0, &hashed, &dialogue->now);
}

/* ---- tests ----------------------------------------------------------------------------------- */

static void test_get(void **state)
{
    send_key(GET, "a");
    expect(GET, 0x01, 0, "Not found");
    send_key(GETK, "a");
    expect_bytes(GETK, 0x01, 0, NO_VALUE, "a", NO_VALUE);
    send_key(GETQ, "a");
    send_key(GETKQ, "a");
    expect_nothing();
    send_store(SET, "a", 7, 0, "abc", 0);
    expect(SET, 0, ANY_CAS, "");
    uint64_t cas = last_cas;
    send_key(GET, "a");
    expect_hit(GET, 7, cas, "", "abc");
    send_key(GETQ, "a");
    expect_hit(GETQ, 7, cas, "", "abc");
    send_key(GETK, "a");
    expect_hit(GETK, 7, cas, "a", "abc");
    send_key(GETKQ, "a");
    expect_hit(GETKQ, 7, cas, "a", "abc");
    expect_nothing();
}

/* An item has a CAS value as soon as a reply shows it, and not before. */
static void test_cas_when_it_is_shown(void **state)
{
    send_store(SETQ, "a", 0, 0, "x", 0);
    expect_nothing();
    assert_int_equal(item_cas(item_of("a")), 0);
    send_key(GET, "a");
    expect_hit(GET, 0, ANY_CAS, "", "x");
    uint64_t cas = last_cas;
    assert_int_equal(item_cas(item_of("a")), cas);
    send_key(GET, "a");
    expect_hit(GET, 0, cas, "", "x");
    send_touch(TOUCH, "a", 100);
    expect_hit(TOUCH, 0, cas, "", "");
    send_store(SET, "a", 0, 0, "y", cas + 1);
    expect(SET, 0x02, 0, "Data exists for key.");
    send_store(SET, "a", 0, 0, "y", cas);
    expect(SET, 0, ANY_CAS, "");
    assert_true(last_cas != cas);
    send_store(SETQ, "a", 0, 0, "z", cas);
    expect(SETQ, 0x02, 0, "Data exists for key.");
    send_store(SET, "none", 0, 0, "z", cas);
    expect(SET, 0x01, 0, "Not found");
}

static void test_storage(void **state)
{
    send_store(ADD, "a", 1, 0, "b", 0);
    expect(ADD, 0, ANY_CAS, "");
    send_store(ADD, "a", 1, 0, "b", 0);
    expect(ADD, 0x02, 0, "Data exists for key.");
    send_store(ADDQ, "a", 1, 0, "b", 0);
    expect(ADDQ, 0x02, 0, "Data exists for key.");
    send_store(REPLACE, "b", 1, 0, "b", 0);
    expect(REPLACE, 0x01, 0, "Not found");
    send_packet(APPEND, NO_VALUE, SLICE_LITERAL("b"), SLICE_LITERAL("x"), 0);
    expect(APPEND, 0x05, 0, "Not stored.");
    send_packet(APPEND, NO_VALUE, SLICE_LITERAL("a"), SLICE_LITERAL("c"), 0);
    expect(APPEND, 0, ANY_CAS, "");
    uint64_t cas = last_cas;
    send_packet(PREPENDQ, NO_VALUE, SLICE_LITERAL("a"), SLICE_LITERAL("a"), cas + 1);
    expect(PREPENDQ, 0x02, 0, "Data exists for key.");
    send_packet(PREPENDQ, NO_VALUE, SLICE_LITERAL("a"), SLICE_LITERAL("a"), cas);
    expect_nothing();
    send_key(GET, "a");
    expect_hit(GET, 1, ANY_CAS, "", "abc");
    send_store(SET, "a", 0, 2592001, "gone at once", 0);
    expect(SET, 0, ANY_CAS, "");
    send_key(GETQ, "a");
    expect_nothing();
    send_packet(SET, slice_of("\0\0\0\0\0\0\0\0", 8), slice_of("k\0\r\n \xff", 6), NO_VALUE, 0);
    expect(SET, 0, ANY_CAS, "");
    assert_int_equal(shard_key_count(dialogue->shard, 0), 1);
}

static void test_values_too_large(void **state)
{
    static char value[2001];
    memset(value, 'x', 2000);
    dialogue->config->memcache_item_size_max = 1024;
    send_store(SET, "a", 0, 0, "x", 0);
    expect(SET, 0, ANY_CAS, "");
    send_store(ADD, "a", 0, 0, value, 0);
    expect(ADD, 0x03, 0, "Too large.");
    assert_non_null(item_of("a"));
    send_store(SETQ, "a", 0, 0, value, 77);
    expect(SETQ, 0x03, 0, "Too large.");
    assert_null(item_of("a"));
    expect_nothing();
}

static void test_out_of_memory(void **state)
{
    send_store(SETQ, "a", 0, 0, "5", 0);
    shard_set_maxmemory(dialogue->shard, 1);
    send_store(ADD, "b", 0, 0, "x", 0);
    expect(ADD, 0x82, 0, "Out of memory allocating item");
    send_count(INCR, "b", 1, 1, 0, 0);
    expect(INCR, 0x82, 0, "Out of memory allocating item");
    send_count(INCR, "a", 1, 1, 0, 0);
    expect(INCR, 0x82, 0, "Out of memory allocating item");
    send_key(GET, "a"); /* its CAS value is no growth */
    expect_hit(GET, 0, ANY_CAS, "", "5");
    send_store(SET, "a", 0, 0, "x", 0);
    expect(SET, 0x82, 0, "Out of memory allocating item");
    assert_null(item_of("a"));
}

static void test_delete(void **state)
{
    send_key(DELETEQ, "a");
    expect(DELETEQ, 0x01, 0, "Not found");
    send_store(SET, "a", 0, 0, "x", 0);
    expect(SET, 0, ANY_CAS, "");
    send_packet(DELETE, NO_VALUE, SLICE_LITERAL("a"), NO_VALUE, last_cas + 1);
    uint64_t cas = last_cas;
    expect(DELETE, 0x02, 0, "Data exists for key.");
    send_packet(DELETE, NO_VALUE, SLICE_LITERAL("a"), NO_VALUE, cas);
    expect(DELETE, 0, 0, "");
    assert_null(item_of("a"));
}

static void test_arithmetic(void **state)
{
    send_count(INCR, "n", 5, 10, 0xFFFFFFFF, 0);
    expect(INCR, 0x01, 0, "Not found");
    send_count(INCR, "n", 5, 10, 100, 0);
    expect_number(INCR, 10);
    assert_int_equal(item_expire_at_ms(item_of("n")), dialogue->now.wall_ms + 100000);
    send_count(INCR, "n", 5, 10, 0, 0);
    expect_number(INCR, 15);
    send_count(DECRQ, "n", 5, 10, 0, 0);
    expect_nothing();
    send_count(DECR, "n", 11, 10, 0, 0);
    expect_number(DECR, 0);
    send_count(INCR, "n", UINT64_MAX, 0, 0, 0);
    expect_number(INCR, UINT64_MAX);
    uint64_t cas = last_cas;
    send_count(INCR, "n", 1, 0, 0, cas + 1);
    expect(INCR, 0x02, 0, "Data exists for key.");
    send_count(INCR, "n", 1, 0, 0, cas);
    expect_number(INCR, 0);
    send_store(SETQ, "n", 0, 0, "x", 0);
    send_count(INCRQ, "n", 1, 0, 0, 0);
    expect(INCRQ, 0x06, 0, "Non-numeric server-side value for incr or decr");
}

static void test_touch(void **state)
{
    send_touch(TOUCH, "a", 1);
    expect(TOUCH, 0x01, 0, "Not found");
    send_touch(GAT, "a", 1);
    expect(GAT, 0x01, 0, "Not found");
    send_touch(GATK, "a", 1);
    expect_bytes(GATK, 0x01, 0, NO_VALUE, "a", NO_VALUE);
    send_touch(GATQ, "a", 1);
    send_touch(GATKQ, "a", 1);
    expect_nothing();
    send_store(SETQ, "a", 9, 0, "x", 0);
    send_touch(GATKQ, "a", 50);
    expect_hit(GATKQ, 9, ANY_CAS, "a", "x");
    assert_int_equal(item_expire_at_ms(item_of("a")), dialogue->now.wall_ms + 50000);
    send_touch(GATQ, "a", 2592001);
    expect_hit(GATQ, 9, last_cas, "", "x");
    assert_null(item_of("a"));
}

static void test_the_rest(void **state)
{
    send_packet(NOOP, NO_VALUE, NO_VALUE, NO_VALUE, 0);
    expect(NOOP, 0, 0, "");
    send_packet(VERSION, NO_VALUE, NO_VALUE, NO_VALUE, 0);
    expect(VERSION, 0, 0, "1.6.18");
    send_packet((enum opcode)0x1b, slice_of("\0\0\0\1", 4), NO_VALUE, NO_VALUE, 0);
    expect((enum opcode)0x1b, 0x81, 0, "Unknown command");
    send_store(SETQ, "a", 0, 0, "x", 0);
    send_packet(FLUSH, slice_of("\0\0\0\2", 4), NO_VALUE, NO_VALUE, 0);
    expect(FLUSH, 0, 0, "");
    assert_non_null(item_of("a"));
    dialogue->now.wall_ms += 2000;
    shard_maintain(dialogue->shard, &dialogue->now);
    assert_null(item_of("a"));
    send_store(SETQ, "a", 0, 0, "x", 0);
    send_packet(FLUSHQ, NO_VALUE, NO_VALUE, NO_VALUE, 0);
    expect_nothing();
    assert_null(item_of("a"));
    send_packet(QUITQ, NO_VALUE, NO_VALUE, NO_VALUE, 0);
    expect_nothing();
    assert_true(memcache_client.close_after_reply);
}

static void test_stats(void **state)
{
    send_packet(STAT, NO_VALUE, SLICE_LITERAL("reset"), NO_VALUE, 0);
    expect(STAT, 0, 0, "");
    send_key(STAT, "nonsense");
    expect(STAT, 0x01, 0, "Not found");
    send_key(STAT, "detail what");
    expect(STAT, 0x01, 0, "Not found");
    send_key(STAT, "sizes");
    expect_bytes(STAT, 0, 0, NO_VALUE, "sizes_status", SLICE_LITERAL("disabled"));
    expect(STAT, 0, 0, "");
    send_packet(STAT, NO_VALUE, NO_VALUE, NO_VALUE, 0);
    size_t count = 0;
    for (uint8_t header[24]; byte_queue_copy_out(&out, 0, header, 24) == 24; count++) {
        assert_int_equal(header[1], STAT);
        byte_queue_consume(&out, &dialogue->pool, 24 + bytes_read_be32(header + 8));
    }
    assert_true(count > 30);
    expect_nothing();
}

static void test_large_values_are_referenced(void **state)
{
    static char value[20001];
    memset(value, 'v', 20000);
    send_store(SET, "big", 3, 0, value, 0);
    expect(SET, 0, ANY_CAS, "");
    struct blob *blob = item_blob(item_of("big"));
    assert_non_null(blob);
    send_key(GET, "big");
    assert_int_equal(blob_reference_count(blob), 2);
    expect_hit(GET, 3, last_cas, "", value);
    assert_int_equal(blob_reference_count(blob), 1);
}

/* ---- logging in ------------------------------------------------------------------------------ */

static void set_password(const char *password)
{
    free(dialogue->config->requirepass);
    dialogue->config->requirepass = strdup(password);
    assert_non_null(dialogue->config->requirepass);
}

static void send_auth(enum opcode opcode, const char *mechanism, struct slice message)
{
    send_packet(opcode, NO_VALUE, slice_of_string(mechanism), message, 0);
}

static void test_sasl(void **state)
{
    send_packet(SASL_LIST, NO_VALUE, NO_VALUE, NO_VALUE, 0);
    expect(SASL_LIST, 0x81, 0, "Unknown command");
    send_auth(SASL_AUTH, "PLAIN", slice_of("\0default\0secret", 15));
    expect(SASL_AUTH, 0x81, 0, "Unknown command");
    set_password("secret");
    memcache_client.authenticated = false;
    send_packet(SASL_LIST, NO_VALUE, NO_VALUE, NO_VALUE, 0);
    expect(SASL_LIST, 0, 0, "PLAIN");
    send_packet(VERSION, NO_VALUE, NO_VALUE, NO_VALUE, 0);
    expect(VERSION, 0, 0, "1.6.18");
    static const struct {
        const char *message;
        size_t size;
    } wrong[] = {{"\0default\0secre", 14},   {"\0default\0secrets", 16},  {"\0default\0", 9},
                 {"\0other\0secret", 13},    {"\0\0secret", 8},           {"default\0secret", 14},
                 {"x\0default\0secret", 16}, {"\0default\0secret\0", 16}, {"\0", 1}};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        send_auth(SASL_AUTH, "PLAIN", slice_of(wrong[i].message, wrong[i].size));
        expect(SASL_AUTH, 0x20, 0, "Auth failure.");
        assert_false(memcache_client.authenticated);
    }
    send_auth(SASL_AUTH, "SCRAM", slice_of("\0default\0secret", 15));
    expect(SASL_AUTH, 0x20, 0, "Auth failure.");
    send_auth(SASL_AUTH, "a mechanism of a name that is too long", slice_of("x", 1));
    expect(SASL_AUTH, 0x04, 0, "Invalid arguments");
    send_auth(SASL_STEP, "PLAIN", slice_of("\0default\0secret", 15));
    expect(SASL_STEP, 0x20, 0, "Auth failure.");
    assert_false(memcache_client.authenticated);
    assert_int_equal(metric_read(&dialogue->metrics, METRIC_MEMCACHE_AUTH_ERRORS), 9);

    send_auth(SASL_AUTH, "PLAIN", NO_VALUE);
    expect(SASL_AUTH, 0x21, 0, "");
    send_auth(SASL_STEP, "PLAIN", slice_of("\0default\0secret", 15));
    expect(SASL_STEP, 0, 0, "Authenticated");
    assert_true(memcache_client.authenticated);
    memcache_client.authenticated = false;
    send_auth(SASL_AUTH, "PLAIN", slice_of("default\0default\0secret", 22));
    expect(SASL_AUTH, 0, 0, "Authenticated");
    send_key(GETQ, "a");
    expect_nothing();
}

static void test_nothing_before_the_login(void **state)
{
    set_password("secret");
    memcache_client.authenticated = false;
    send_store(SET, "a", 0, 0, "x", 0);
    expect(SET, 0x20, 0, "Auth failure.");
    assert_true(memcache_client.close_after_reply);
    assert_null(item_of("a"));
}

static void expect_login(const char *value, const char *expected)
{
    struct memcache_request request = {.verb = MEMCACHE_LOGIN, .value = slice_of_string(value)};
    char text[128];
    execute(&request);
    size_t size = byte_queue_copy_out(&out, 0, text, sizeof(text) - 1);
    text[size] = '\0';
    assert_string_equal(text, expected);
    byte_queue_clear(&out, &dialogue->pool);
}

static void test_text_login(void **state)
{
    set_password("secret");
    memcache_client.authenticated = false;
    expect_login("", "CLIENT_ERROR bad authentication token format\r\n");
    expect_login("default", "CLIENT_ERROR bad authentication token format\r\n");
    expect_login("default  ", "CLIENT_ERROR bad authentication token format\r\n");
    expect_login("default secret2", "CLIENT_ERROR authentication failure\r\n");
    expect_login("nobody secret", "CLIENT_ERROR authentication failure\r\n");
    assert_false(memcache_client.authenticated);
    expect_login(" default  secret more", "STORED\r\n");
    assert_true(memcache_client.authenticated);
}

/* ---- one key space --------------------------------------------------------------------------- */

static void expect_key(uint32_t flags, uint64_t cas, const char *value)
{
    send_key(GET, "a");
    expect_hit(GET, flags, cas, "", value);
}

static void test_redis_reads_leave_flags_and_cas(void **state)
{
    send_store(SET, "a", 77, 0, "12", 0);
    expect(SET, 0, ANY_CAS, "");
    uint64_t cas = last_cas;
    dialogue_expect(dialogue, "GET a", "$2\r\n12\r\n");
    dialogue_expect(dialogue, "MGET a", "*1\r\n$2\r\n12\r\n");
    dialogue_expect(dialogue, "GETRANGE a 0 0", "$1\r\n1\r\n");
    dialogue_expect(dialogue, "STRLEN a", ":2\r\n");
    dialogue_expect(dialogue, "TYPE a", "+string\r\n");
    dialogue_expect(dialogue, "EXPIRE a 100", ":1\r\n");
    dialogue_expect(dialogue, "PERSIST a", ":1\r\n");
    dialogue_expect(dialogue, "GETEX a EX 100", "$2\r\n12\r\n");
    expect_key(77, cas, "12");
}

static void test_redis_changes_keep_flags_and_drop_cas(void **state)
{
    static const struct {
        const char *command, *reply, *value;
    } changes[] = {
        {"APPEND a 3", ":3\r\n", "123"},       {"INCR a", ":124\r\n", "124"},
        {"DECRBY a 24", ":100\r\n", "100"},    {"INCRBYFLOAT a 0.5", "$5\r\n100.5\r\n", "100.5"},
        {"SETRANGE a 0 9", ":5\r\n", "900.5"},
    };
    send_store(SET, "a", 77, 0, "12", 0);
    expect(SET, 0, ANY_CAS, "");
    for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
        uint64_t cas = last_cas;
        dialogue_expect(dialogue, changes[i].command, changes[i].reply);
        send_store(SET, "a", 0, 0, "lost update", cas);
        expect(SET, 0x02, 0, "Data exists for key.");
        expect_key(77, ANY_CAS, changes[i].value);
    }
}

/* A value of its own: the flags say how memcached's clients wrote the old one. */
static void test_redis_set_clears_flags_and_cas(void **state)
{
    static const char *const sets[] = {"SET a 5", "SET a 5 KEEPTTL", "MSET a 5", "SETEX a 100 5"};
    for (size_t i = 0; i < sizeof(sets) / sizeof(sets[0]); i++) {
        send_store(SET, "a", 77, 0, "12", 0);
        expect(SET, 0, ANY_CAS, "");
        uint64_t cas = last_cas;
        dialogue_send(dialogue, sets[i]);
        send_store(SET, "a", 0, 0, "lost update", cas);
        expect(SET, 0x02, 0, "Data exists for key.");
        expect_key(0, ANY_CAS, "5");
    }
    send_count(INCR, "a", 5, 0, 0, 0); /* which Redis keeps as a number */
    expect_number(INCR, 10);
}

int main(int argument_count, char **arguments)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_get),
        TEST(test_cas_when_it_is_shown),
        TEST(test_storage),
        TEST(test_values_too_large),
        TEST(test_out_of_memory),
        TEST(test_delete),
        TEST(test_arithmetic),
        TEST(test_touch),
        TEST(test_the_rest),
        TEST(test_stats),
        TEST(test_large_values_are_referenced),
        TEST(test_sasl),
        TEST(test_nothing_before_the_login),
        TEST(test_text_login),
        TEST(test_redis_reads_leave_flags_and_cas),
        TEST(test_redis_changes_keep_flags_and_drop_cas),
        TEST(test_redis_set_clears_flags_and_cas),
    };
    dialogue_setup(arguments[0]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
