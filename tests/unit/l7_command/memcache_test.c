/* memcached commands as conversations: request bytes, reply bytes. The expected replies are what
 * memcached 1.6.18 answers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#include "dataplane/base/check.h"
#include "dataplane/l7_command/memcache_observers.h"
#include "tests/unit/l7_command/dialogue.h"

#define LARGE_BYTES 20000U

static struct dialogue *dialogue;
static struct byte_queue out;
static struct client memcache_client;

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

/* ---- a session of its own -------------------------------------------------------------------- */

static void execute(const struct memcache_request *request, struct blob *blob)
{
    struct key keys[64];
    struct memcache_reply reply = {.out = &out, .pool = &dialogue->pool};
    assert_true(request->key_count <= 64);
    for (uint32_t i = 0; i < request->key_count; i++) {
        keys[i] = key_hashed(request->keys[i]);
    }
    struct memcache_call call = {
        .context = dialogue->context,
        .shard = dialogue->shard,
        .now = &dialogue->now,
        .client = &memcache_client,
        .request = request,
        .keys = keys,
        .large_value = blob,
        .reply = &reply,
    };
    dialogue->context->now = dialogue->now;
    assert_int_equal(memcache_execute(&call), COMMAND_DONE);
}

/* Runs all requests in `bytes`; replies pile up in `out`. */
static void send_bytes(struct slice bytes)
{
    struct memcache_parser parser;
    struct memcache_limits limits = {(uint64_t)dialogue->config->memcache_item_size_max};
    struct memcache_request request;
    struct memcache_parse_result result;
    memcache_parser_init(&parser);
    while (bytes.size > 0) {
        memcache_parse(&parser, &limits, bytes, &request, &result);
        if (result.verdict == PARSE_COMPLETE) {
            execute(&request, NULL);
        } else if (result.verdict == PARSE_ERROR) {
            struct memcache_reply reply = {.out = &out, .pool = &dialogue->pool};
            memcache_reply_line(&reply, result.error);
        } else {
            assert_int_equal(result.verdict, PARSE_NOTHING);
        }
        bytes = slice_from(bytes, result.consumed);
    }
    memcache_parser_deinit(&parser);
}

static void maintain(void)
{
    while (shard_maintain(dialogue->shard, &dialogue->now)) {
    }
}

static char *take_reply(size_t *size)
{
    char *reply = malloc(out.size + 1);
    assert_non_null(reply);
    *size = byte_queue_copy_out(&out, 0, reply, out.size);
    reply[*size] = '\0';
    byte_queue_clear(&out, &dialogue->pool);
    maintain();
    return reply;
}

static void expect_reply(const char *expected)
{
    size_t size;
    char *reply = take_reply(&size);
    assert_string_equal(reply, expected);
    assert_int_equal(size, strlen(expected));
    free(reply);
}

static void expect(const char *request, const char *expected)
{
    send_bytes(slice_of_string(request));
    expect_reply(expected);
}

static void expect_part(const char *request, const char *part)
{
    size_t size;
    send_bytes(slice_of_string(request));
    char *reply = take_reply(&size);
    if (strstr(reply, part) == NULL) {
        print_message("%s", reply);
        fail_msg("no \"%s\"", part);
    }
    free(reply);
}

/* A set whose value arrived in a blob, as a session receives it. */
static struct blob *send_large(const char *line, char fill)
{
    struct blob *blob = shard_create_blob(dialogue->shard, LARGE_BYTES);
    assert_non_null(blob);
    memset(blob->bytes, fill, LARGE_BYTES);
    struct memcache_parser parser;
    struct memcache_limits limits = {1 << 20};
    struct memcache_request request;
    struct memcache_parse_result result;
    memcache_parser_init(&parser);
    memcache_parse(&parser, &limits, slice_of_string(line), &request, &result);
    assert_int_equal(result.verdict, PARSE_PARTIAL);
    assert_int_equal(result.bulk_bytes, LARGE_BYTES);
    memcache_parser_supply_value(&parser, slice_of(blob->bytes, LARGE_BYTES));
    char *rest = malloc(strlen(line) + 2);
    assert_non_null(rest);
    memcpy(rest, line, strlen(line));
    memcpy(rest + strlen(line), "\r\n", 2);
    memcache_parse(&parser, &limits, slice_of(rest, strlen(line) + 2), &request, &result);
    assert_int_equal(result.verdict, PARSE_COMPLETE);
    execute(&request, blob);
    free(rest);
    memcache_parser_deinit(&parser);
    return blob;
}

static const struct item *item_of(const char *key)
{
    struct key hashed = key_hashed(slice_of_string(key));
    return shard_find(dialogue->shard, 0, &hashed, &dialogue->now);
}

/* ---- tests ----------------------------------------------------------------------------------- */

static void test_storage(void **state)
{
    expect("get a\r\n", "END\r\n");
    expect("set a 7 0 3\r\nabc\r\n", "STORED\r\n");
    expect("get a\r\n", "VALUE a 7 3\r\nabc\r\nEND\r\n");
    expect("add a 0 0 1\r\nx\r\n", "NOT_STORED\r\n");
    expect("add b 0 0 0\r\n\r\n", "STORED\r\n");
    expect("replace b 9 0 2\r\nyz\r\n", "STORED\r\n");
    expect("replace c 9 0 2\r\nyz\r\n", "NOT_STORED\r\n");
    expect("get b a missing a\r\n",
           "VALUE b 9 2\r\nyz\r\nVALUE a 7 3\r\nabc\r\nVALUE a 7 3\r\nabc\r\nEND\r\n");
    expect("append a 1 1 2\r\nde\r\nprepend a 2 2 1\r\n_\r\nget a\r\n",
           "STORED\r\nSTORED\r\nVALUE a 7 6\r\n_abcde\r\nEND\r\n");
    expect("append q 0 0 1\r\na\r\nprepend q 0 0 1\r\na\r\n", "NOT_STORED\r\nNOT_STORED\r\n");
    expect("append a 0 0 0\r\n\r\nprepend a 0 0 0\r\n\r\nget a\r\n",
           "STORED\r\nSTORED\r\nVALUE a 7 6\r\n_abcde\r\nEND\r\n");
    expect("delete a\r\ndelete a\r\ndelete b 0\r\n", "DELETED\r\nNOT_FOUND\r\nDELETED\r\n");
    expect("set a 0 0 3\r\nabcd\r\nget a\r\n", "CLIENT_ERROR bad data chunk\r\nERROR\r\nEND\r\n");
}

/* A reply shows the whole key, whichever way it is copied. */
static void test_key_lengths(void **state)
{
    char key[MEMCACHE_KEY_BYTES_MAX + 1], text[2 * sizeof(key) + 64], reply[2 * sizeof(key)];
    for (int size = 1; size <= (int)MEMCACHE_KEY_BYTES_MAX; size++) {
        for (int i = 0; i < size; i++) {
            key[i] = (char)('!' + (size + 7 * i) % 90);
        }
        (void)snprintf(text, sizeof(text), "set %.*s 5 0 1\r\nv\r\nget %.*s\r\n", size, key, size,
                       key);
        (void)snprintf(reply, sizeof(reply), "STORED\r\nVALUE %.*s 5 1\r\nv\r\nEND\r\n", size, key);
        expect(text, reply);
    }
}

static void test_noreply(void **state)
{
    expect("set a 0 0 1 noreply\r\n5\r\nadd a 0 0 1 noreply\r\n6\r\nincr a 1 noreply\r\n"
           "append a 0 0 1 noreply\r\n0\r\ntouch a 0 noreply\r\nverbosity 1 noreply\r\n"
           "cas a 0 0 1 1 noreply\r\n7\r\nset b 0 0 9999999 noreply\r\n",
           "");
    expect("get a\r\n", "VALUE a 0 2\r\n60\r\nEND\r\n");
    expect("delete a noreply\r\nget a\r\nset a 0 0 1\r\nx\r\nflush_all noreply\r\nget a\r\n",
           "END\r\nSTORED\r\nEND\r\n");
}

/* An item gets a CAS value when it is asked for, and keeps it as long as its value. */
static void test_cas(void **state)
{
    char text[128];
    expect("set a 5 0 1\r\nx\r\ncas a 0 0 1 0\r\ny\r\ncas a 0 0 1 1\r\ny\r\n",
           "STORED\r\nEXISTS\r\nEXISTS\r\n");
    assert_int_equal(item_cas(item_of("a")), 0);
    send_bytes(SLICE_LITERAL("gets a\r\n"));
    uint64_t cas = item_cas(item_of("a"));
    assert_int_not_equal(cas, 0);
    (void)snprintf(text, sizeof(text), "VALUE a 5 1 %llu\r\nx\r\nEND\r\n", (unsigned long long)cas);
    expect_reply(text);
    expect("touch a 100\r\n", "TOUCHED\r\n");
    expect("gets a\r\n", text);
    expect("gats 0 a\r\n", text);
    (void)snprintf(text, sizeof(text), "cas a 6 0 1 %llu\r\ny\r\n", (unsigned long long)cas);
    expect(text, "STORED\r\n");
    assert_int_equal(item_cas(item_of("a")), 0);
    expect(text, "EXISTS\r\n");
    expect("get a\r\ncas none 0 0 1 1\r\nz\r\n", "VALUE a 6 1\r\ny\r\nEND\r\nNOT_FOUND\r\n");

    expect("set n 0 0 1\r\n5\r\n", "STORED\r\n");
    send_bytes(SLICE_LITERAL("gets n\r\n"));
    cas = item_cas(item_of("n"));
    byte_queue_clear(&out, &dialogue->pool);
    expect("incr n 1\r\n", "6\r\n");
    (void)snprintf(text, sizeof(text), "cas n 6 0 1 %llu\r\ny\r\n", (unsigned long long)cas);
    expect(text, "EXISTS\r\n");
}

static void test_arithmetic(void **state)
{
    static const struct {
        const char *value, *request, *reply, *after;
    } cases[] = {
        {"5", "incr n 10", "15", "15"},
        {"5", "decr n 10", "0", "0"},
        {"99", "incr n 10", "109", "109"},
        {"100", "decr n 1", "99", "99 "},
        {" 12", "incr n 10", "22", "22 "},
        {"12 ab", "incr n 10", "22", "22   "},
        {"007", "decr n 10", "0", "0  "},
        {"+3", "incr n 10", "13", "13"},
        {"18446744073709551615", "incr n 10", "9", "9                   "},
        {"18446744073709551615", "decr n 10", "18446744073709551605", "18446744073709551605"},
        {"1", "incr n 18446744073709551615", "0", "0"},
    };
    char request[128], expected[128];
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        (void)snprintf(request, sizeof(request), "set n 3 0 %zu\r\n%s\r\n%s\r\nget n\r\n",
                       strlen(cases[i].value), cases[i].value, cases[i].request);
        (void)snprintf(expected, sizeof(expected), "STORED\r\n%s\r\nVALUE n 3 %zu\r\n%s\r\nEND\r\n",
                       cases[i].reply, strlen(cases[i].after), cases[i].after);
        expect(request, expected);
    }
    static const char *const no_numbers[] = {"", "x", "-5", "12ab", "99999999999999999999", " "};
    for (size_t i = 0; i < sizeof(no_numbers) / sizeof(no_numbers[0]); i++) {
        (void)snprintf(request, sizeof(request), "set n 3 0 %zu\r\n%s\r\nincr n 1\r\n",
                       strlen(no_numbers[i]), no_numbers[i]);
        expect(request,
               "STORED\r\nCLIENT_ERROR cannot increment or decrement non-numeric value\r\n");
    }
    send_bytes(SLICE_LITERAL("set n 3 0 4\r\n12\0x\r\nincr n 10\r\nget n\r\n"));
    expect_reply("STORED\r\n22\r\nVALUE n 3 4\r\n22  \r\nEND\r\n");
    expect("incr none 1\r\ndecr none 1\r\n", "NOT_FOUND\r\nNOT_FOUND\r\n");
}

static void test_expiry(void **state)
{
    expect("set a 0 10 1\r\nx\r\n", "STORED\r\n");
    dialogue->now.wall_ms += 10000;
    expect("get a\r\n", "VALUE a 0 1\r\nx\r\nEND\r\n");
    dialogue->now.wall_ms += 1;
    expect("get a\r\n", "END\r\n");

    /* 30 days count from now, one second more is a Unix time, long past. */
    expect("set a 0 2592000 1\r\nx\r\nset b 0 2592001 1\r\nx\r\nget a b\r\n",
           "STORED\r\nSTORED\r\nVALUE a 0 1\r\nx\r\nEND\r\n");
    assert_int_equal(item_expire_at_ms(item_of("a")), dialogue->now.wall_ms + 2592000000ULL);
    expect("set b 0 1800000000 1\r\nx\r\n", "STORED\r\n");
    assert_int_equal(item_expire_at_ms(item_of("b")), 1800000000000ULL);

    /* Expired at once: the old value is gone too. */
    expect("set a 0 -1 1\r\ny\r\nget a\r\nset a 0 0 1\r\nx\r\nreplace a 0 -1 1\r\ny\r\nget a\r\n",
           "STORED\r\nEND\r\nSTORED\r\nSTORED\r\nEND\r\n");

    expect("set a 3 0 1\r\nx\r\ntouch a 5\r\ntouch none 5\r\n",
           "STORED\r\nTOUCHED\r\nNOT_FOUND\r\n");
    assert_int_equal(item_expire_at_ms(item_of("a")), dialogue->now.wall_ms + 5000);
    expect("gat 7 a none\r\n", "VALUE a 3 1\r\nx\r\nEND\r\n");
    assert_int_equal(item_expire_at_ms(item_of("a")), dialogue->now.wall_ms + 7000);
    expect("append a 0 0 1\r\ny\r\n", "STORED\r\n");
    assert_int_equal(item_expire_at_ms(item_of("a")), dialogue->now.wall_ms + 7000);
    expect("gat 0 a\r\n", "VALUE a 3 2\r\nxy\r\nEND\r\n");
    assert_int_equal(item_expire_at_ms(item_of("a")), 0);
    expect("gat -1 a\r\nget a\r\n", "VALUE a 3 2\r\nxy\r\nEND\r\nEND\r\n");
    expect("set a 3 0 1\r\nx\r\ntouch a -1\r\nget a\r\n", "STORED\r\nTOUCHED\r\nEND\r\n");
}

static void test_flush_all(void **state)
{
    expect("set a 0 0 1\r\nx\r\nflush_all\r\nget a\r\n", "STORED\r\nOK\r\nEND\r\n");
    expect("set a 0 0 1\r\nx\r\nflush_all 0\r\nget a\r\n", "STORED\r\nOK\r\nEND\r\n");
    expect("set a 0 0 1\r\nx\r\nflush_all -1\r\nget a\r\n", "STORED\r\nOK\r\nEND\r\n");

    expect("set a 0 0 1\r\nx\r\nflush_all 2\r\nget a\r\n",
           "STORED\r\nOK\r\nVALUE a 0 1\r\nx\r\nEND\r\n");
    dialogue->now.wall_ms += 1999;
    shard_maintain(dialogue->shard, &dialogue->now);
    expect("get a\r\n", "VALUE a 0 1\r\nx\r\nEND\r\n");
    dialogue->now.wall_ms += 1;
    shard_maintain(dialogue->shard, &dialogue->now);
    expect("get a\r\n", "END\r\n");

    /* The later one counts. */
    expect("flush_all 100\r\nflush_all\r\nset a 0 0 1\r\nx\r\n", "OK\r\nOK\r\nSTORED\r\n");
    dialogue->now.wall_ms += 200000;
    shard_maintain(dialogue->shard, &dialogue->now);
    expect("get a\r\n", "VALUE a 0 1\r\nx\r\nEND\r\n");
}

static void test_large_values(void **state)
{
    struct blob *blob = send_large("set big 1 0 20000\r\n", 'v');
    expect_reply("STORED\r\n");
    blob_release(blob); /* the session's */
    assert_ptr_equal(item_blob(item_of("big")), blob);
    assert_int_equal(blob_reference_count(blob), 1);
    assert_int_equal(item_stored_bytes(item_of("big")), LARGE_BYTES);

    /* The reply refers to the blob; it survives the key. */
    send_bytes(SLICE_LITERAL("get big\r\n"));
    assert_int_equal(blob_reference_count(blob), 2);
    send_bytes(SLICE_LITERAL("delete big\r\n"));
    maintain();
    assert_int_equal(blob_reference_count(blob), 1);
    size_t size;
    char *reply = take_reply(&size);
    assert_int_equal(size, strlen("VALUE big 1 20000\r\n") + LARGE_BYTES +
                               strlen("\r\nEND\r\nDELETED\r\n"));
    assert_memory_equal(reply, "VALUE big 1 20000\r\nvvvv", 23);
    assert_string_equal(reply + size - 17, "v\r\nEND\r\nDELETED\r\n");
    free(reply);

    /* gets, touch and gat share it too. */
    blob = send_large("set big 1 0 20000\r\n", 'w');
    blob_release(blob);
    send_bytes(SLICE_LITERAL("gets big\r\ntouch big 50\r\ngat 60 big\r\n"));
    assert_ptr_equal(item_blob(item_of("big")), blob);
    byte_queue_clear(&out, &dialogue->pool);
    maintain();
    assert_int_equal(blob_reference_count(blob), 1);
    expect("incr big 1\r\n", "CLIENT_ERROR cannot increment or decrement non-numeric value\r\n");
}

static void expect_stored(const char *key, size_t size, char first, char last)
{
    uint8_t scratch[NUMBER_TEXT_BYTES_MAX];
    struct slice value = item_value(item_of(key), scratch);
    assert_int_equal(value.size, size);
    assert_int_equal(value.data[0], first);
    assert_int_equal(value.data[size - 1], last);
}

static void test_append_to_large_values(void **state)
{
    blob_release(send_large("set big 1 0 20000\r\n", 'v'));
    expect_reply("STORED\r\n");
    expect("append big 0 0 2\r\nyz\r\n", "STORED\r\n");
    expect_stored("big", LARGE_BYTES + 2, 'v', 'z');
    expect("append big 0 0 1\r\n!\r\n", "STORED\r\n");
    expect_stored("big", LARGE_BYTES + 3, 'v', '!');
    expect("prepend big 0 0 1\r\n<\r\n", "STORED\r\n");
    expect_stored("big", LARGE_BYTES + 4, '<', '!');
    assert_int_equal(item_client_flags(item_of("big")), 1);

    /* Numbers may stand at the front of a large one: the rest becomes blanks. */
    expect("prepend big 0 0 3\r\n41 \r\nincr big 1\r\n", "STORED\r\n42\r\n");
    expect_stored("big", LARGE_BYTES + 7, '4', ' ');

    /* A small one that becomes large. */
    expect("set small 0 0 1\r\ns\r\n", "STORED\r\n");
    blob_release(send_large("append small 0 0 20000\r\n", 'a'));
    expect_reply("STORED\r\n");
    expect_stored("small", LARGE_BYTES + 1, 's', 'a');

    /* memcache-item-size-max holds for the result. */
    dialogue->config->memcache_item_size_max = 30000;
    blob_release(send_large("append small 0 0 20000\r\n", 'a'));
    expect_reply("NOT_STORED\r\n");
    expect_stored("small", LARGE_BYTES + 1, 's', 'a');
}

static void test_values_too_large(void **state)
{
    dialogue->config->memcache_item_size_max = 1000;
    char request[2200];
    static const char *const verbs[] = {"set", "add", "replace", "append", "prepend"};
    for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++) {
        expect("set a 0 0 1\r\nx\r\n", "STORED\r\n");
        int head = snprintf(request, sizeof(request), "%s a 0 0 2000\r\n", verbs[i]);
        memset(request + head, 'x', 2000);
        (void)snprintf(request + head + 2000, sizeof(request) - (size_t)head - 2000,
                       "\r\nget a\r\n");
        expect(request, i == 0 ? "SERVER_ERROR object too large for cache\r\nEND\r\n"
                               : "SERVER_ERROR object too large for cache\r\n"
                                 "VALUE a 0 1\r\nx\r\nEND\r\n");
    }
    /* 59 bytes of the reference's own and the key count; flags take four more. */
    int head = snprintf(request, sizeof(request), "set a 0 0 940\r\n");
    memset(request + head, 'x', 940);
    (void)snprintf(request + head + 940, 3, "\r\n");
    expect(request, "STORED\r\n");
    request[6] = '1';
    expect(request, "SERVER_ERROR object too large for cache\r\n");
}

static void test_out_of_memory(void **state)
{
    expect("set a 0 0 1\r\nx\r\nset n 0 0 1\r\n9\r\n", "STORED\r\nSTORED\r\n");
    shard_set_maxmemory(dialogue->shard, 1);
    expect("append a 0 0 1\r\ny\r\n", "SERVER_ERROR out of memory storing object\r\n");
    expect("add b 0 0 1\r\ny\r\n", "SERVER_ERROR out of memory storing object\r\n");
    expect("incr n 1\r\n", "SERVER_ERROR out of memory\r\n");
    /* Changes of metadata are no growth. */
    expect("touch a 100\r\n", "TOUCHED\r\n");
    expect_part("gets a\r\n", "VALUE a 0 1 ");
    /* A set that fails leaves no stale value behind. */
    expect("set a 0 0 1\r\ny\r\nget a\r\n", "SERVER_ERROR out of memory storing object\r\nEND\r\n");
    struct memcache_request refused = {.verb = MEMCACHE_SET, .value_refused = true};
    struct slice key = SLICE_LITERAL("n");
    refused.keys = &key;
    refused.key_count = 1;
    execute(&refused, NULL);
    expect_reply("SERVER_ERROR out of memory storing object\r\n");
    assert_null(item_of("n"));
}

static void test_both_protocols_share_values(void **state)
{
    dialogue_expect(dialogue, "SET n 41", "+OK\r\n");
    assert_int_equal(item_encoding(item_of("n")), ENCODING_INT);
    expect("get n\r\nincr n 1\r\nget n\r\n",
           "VALUE n 0 2\r\n41\r\nEND\r\n42\r\nVALUE n 0 2\r\n42\r\nEND\r\n");
    assert_int_equal(item_encoding(item_of("n")), ENCODING_RAW);
    dialogue_expect(dialogue, "INCR n", ":43\r\n");
    dialogue_expect(dialogue, "SET n -7", "+OK\r\n");
    expect("incr n 1\r\nappend n 0 0 1\r\n1\r\nprepend n 0 0 1\r\n0\r\nget n\r\n",
           "CLIENT_ERROR cannot increment or decrement non-numeric value\r\nSTORED\r\nSTORED\r\n"
           "VALUE n 0 4\r\n0-71\r\nEND\r\n");
    expect("set k 5 0 2\r\n10\r\n", "STORED\r\n");
    dialogue_expect(dialogue, "GET k", "$2\r\n10\r\n");
    dialogue_expect(dialogue, "STRLEN k", ":2\r\n");
    dialogue_expect(dialogue, "SET n 123", "+OK\r\n");
    expect_part("gets n\r\n", "VALUE n 0 3 ");
    dialogue_expect(dialogue, "GET n", "$3\r\n123\r\n");
}

/* No command makes one yet; the day one does, memcached clients get an answer. */
static void test_other_types(void **state)
{
    struct key key = key_hashed(SLICE_LITERAL("list"));
    const struct item_draft_options options = {.type = ITEM_LIST, .value_bytes = 1};
    struct item *draft = shard_draft(dialogue->shard, key.bytes, &options);
    draft_value(draft)[0] = 'x';
    shard_publish(dialogue->shard, 0, &key, draft);
    const char *error = "SERVER_ERROR the key holds a value that is not a string\r\n";
    expect("get list\r\n", error);
    expect("gats 0 list\r\n", error);
    expect("incr list 1\r\n", error);
    expect("append list 0 0 1\r\nx\r\n", error);
    expect("cas list 0 0 1 1\r\nx\r\n", error);
    expect("add list 0 0 1\r\nx\r\nset list 0 0 1\r\ny\r\nget list\r\n",
           "NOT_STORED\r\nSTORED\r\nVALUE list 0 1\r\ny\r\nEND\r\n");
}

static void test_small_commands(void **state)
{
    expect("version\r\nverbosity 1\r\n", "VERSION 1.6.18\r\nOK\r\n");
    assert_false(memcache_client.close_after_reply);
    expect("quit\r\n", "");
    assert_true(memcache_client.close_after_reply);
    assert_string_equal(memcache_client.last_command, "quit");
    assert_int_equal(memcache_client.command_count, 3);
}

/* ---- meta commands ------------------------------------------------------------------------- */

static void set_policy(void)
{
    struct eviction_policy policy;
    eviction_policy_set(&policy, dialogue->config, &dialogue->now);
    shard_set_policy(dialogue->shard, &policy);
}

static void test_meta_get(void **state)
{
    set_policy();
    expect("mg a\r\nmg a k O7\r\nmg a q\r\nmg a v z\r\nmn\r\n",
           "EN\r\nEN ka O7\r\nCLIENT_ERROR invalid flag\r\nMN\r\n");
    expect("set a 5 100 3\r\nabc\r\nmg a t f s v k O1 h l q\r\nmg a h u\r\nmg a\r\n",
           "STORED\r\nVA 3 t100 f5 s3 ka O1 h0 l0\r\nabc\r\nHD h1\r\nHD\r\n");
    dialogue->now.wall_ms += 500;
    expect("mg a t\r\nmg a t T30\r\nmg a T0 t\r\nmg a T-1\r\nmg a\r\n",
           "HD t100\r\nHD t100\r\nHD t-1\r\nHD\r\nEN\r\n");
    /* Only a read that was not told u is a hit. RESP reads count, too. */
    dialogue_expect(dialogue, "SET b 1", "+OK\r\n");
    expect("mg b h u\r\nmg b h u\r\n", "HD h0\r\nHD h0\r\n");
    dialogue_expect(dialogue, "GET b", "$1\r\n1\r\n");
    expect("mg b h u\r\ntouch b 0\r\nmg b h u\r\nset b 0 0 1\r\n1\r\ntouch b 0\r\nmg b h u\r\n",
           "HD h1\r\nTOUCHED\r\nHD h1\r\nSTORED\r\nTOUCHED\r\nHD h1\r\n");
    /* Stored anew it is nobody's yet: in place, or with flags and a time to live as another item.
     */
    dialogue_expect(dialogue, "SET d abc", "+OK\r\n");
    expect("mg d h v\r\nset d 0 0 3\r\ndef\r\nmg d h u v f t\r\n",
           "VA 3 h0\r\nabc\r\nSTORED\r\nVA 3 h0 f0 t-1\r\ndef\r\n");
    expect(
        "mg d\r\nset d 7 0 3\r\nghi\r\nmg d h u v f t\r\nset d 0 9 3\r\njkl\r\nmg d h u v f t\r\n",
        "HD\r\nSTORED\r\nVA 3 h0 f7 t-1\r\nghi\r\nSTORED\r\nVA 3 h0 f0 t9\r\njkl\r\n");
    dialogue->now.mono_us += 100000000;
    set_policy();
    expect_part("mg b l u\r\n", "HD l9"); /* ticks of a quarter of a second */
    expect_part("me b\r\n", "ME b exp=-1 la=9");
    expect("mg b\r\nmg b l\r\n", "HD\r\nHD l0\r\n");
    expect_part("me b\r\n", " fetch=yes cls=1 size=");
}

/* N, R and I: one winner, who is told so; the others see that there is one. */
static void test_stampede(void **state)
{
    expect("mg a N30 v t h\r\nmg a N30 v t h\r\nmg a v\r\n",
           "VA 0 t30 h0 W\r\n\r\nVA 0 t30 h1 Z\r\n\r\nVA 0 Z\r\n\r\n");
    expect("ms a 3 T100\r\nabc\r\nmg a v R30\r\nmg a R200\r\nmg a R200\r\nmg a\r\n",
           "HD\r\nVA 3\r\nabc\r\nHD W\r\nHD Z\r\nHD Z\r\n");
    dialogue->now.wall_ms += 70001;
    expect("ms b 1 T100\r\nx\r\nmg b R100 t\r\n", "HD\r\nHD t100\r\n");
    expect("mg a R30 t\r\nms a 1\r\ny\r\nmg a R30 t\r\n", "HD t30 Z\r\nHD\r\nHD t-1\r\n");

    expect("md a I T30\r\nmg a v t\r\nmg a v t\r\nget a\r\n",
           "HD\r\nVA 1 t30 X W\r\ny\r\nVA 1 t30 Z X\r\ny\r\nVALUE a 0 1\r\ny\r\nEND\r\n");
    /* The state survives whatever leaves the value alone, and goes with it. */
    dialogue_expect(dialogue, "EXPIRE a 50", ":1\r\n");
    dialogue_expect(dialogue, "GET a", "$1\r\ny\r\n");
    expect("touch a 0\r\nmg a t\r\n", "TOUCHED\r\nHD t-1 Z X\r\n");
    expect("md a I\r\nmg a u\r\nms a 1\r\nz\r\nmg a\r\n", "HD\r\nHD X W\r\nHD\r\nHD\r\n");
    expect("md a I\r\nappend a 0 0 1\r\nz\r\nmg a v\r\n", "HD\r\nSTORED\r\nVA 2\r\nzz\r\n");
    expect("ms n 1\r\n5\r\nmd n I\r\nincr n 1\r\nmg n\r\nincr n 100\r\nmg n\r\n",
           "HD\r\nHD\r\n6\r\nHD X W\r\n106\r\nHD\r\n");
    dialogue_expect(dialogue, "SET n 1", "+OK\r\n");
    expect("md n I\r\n", "HD\r\n");
    dialogue_expect(dialogue, "SET n 1", "+OK\r\n");
    expect("mg n\r\nmd n I T-1\r\nmg n\r\n", "HD\r\nHD\r\nEN\r\n");
    assert_int_equal(metric_read(&dialogue->metrics, METRIC_STORE_OUT_OF_MEMORY), 0);
}

static uint64_t shown_cas(const char *request)
{
    size_t size;
    send_bytes(slice_of_string(request));
    char *reply = take_reply(&size);
    const char *flag = strstr(reply, " c");
    assert_non_null(flag);
    uint64_t cas = strtoull(flag + 2, NULL, 10);
    free(reply);
    return cas;
}

static void expect_with_cas(const char *format, uint64_t cas, const char *expected)
{
    char request[256];
    const char *number = strstr(format, "CAS");
    (void)snprintf(request, sizeof(request), "%.*s%llu%s", (int)(number - format), format,
                   (unsigned long long)cas, number + 3);
    expect(request, expected);
}

static void test_meta_cas(void **state)
{
    expect("ms a 1\r\nx\r\n", "HD\r\n");
    uint64_t first = shown_cas("mg a c\r\n");
    assert_true(first != 0 && first == shown_cas("mg a c\r\n") && first == item_cas(item_of("a")));
    expect("ms a 1 C1\r\ny\r\nms a 1 C1 c\r\ny\r\nmd a C1 k\r\nms b 1 C1 c\r\ny\r\n",
           "EX\r\nEX c0\r\nEX ka\r\nNF c0\r\n");
    expect_with_cas("ms a 1 CCAS\r\ny\r\nmg a v\r\n", first, "HD\r\nVA 1\r\ny\r\n");
    expect_with_cas("ms a 1 CCAS\r\nz\r\n", first, "EX\r\n");

    /* What an invalidation has overtaken is stored, but stale; with what is newer, nothing. */
    uint64_t second = shown_cas("ms a 1 T100 c\r\nx\r\n");
    assert_true(second > first);
    expect("md a I\r\nmg a v\r\n", "HD\r\nVA 1 X W\r\nx\r\n");
    expect_with_cas("ms a 1 I CCAS\r\ny\r\nmg a v t\r\n", second, "HD\r\nVA 1 t100 Z X\r\ny\r\n");
    expect("ms a 1 I C18446744073709551615\r\nz\r\nms a 1 I C0\r\nz\r\n", "EX\r\nEX\r\n");

    /* E: the client's own. */
    expect("ms a 1 E77 c\r\nx\r\nmg a c\r\nmd a I E78\r\nmg a c u\r\nma n N0 E5 c\r\n",
           "HD c77\r\nHD c77\r\nHD\r\nHD c78 X W\r\nHD c5\r\n");
    expect("ma n C5 v E6 c\r\nma n C5 v\r\nmg v N9 E12 c\r\n",
           "VA 1 c6\r\n1\r\nEX\r\nHD c12 W\r\n");
    expect("ms a 1 C78\r\ny\r\nmg a v\r\n", "HD\r\nVA 1\r\ny\r\n");
}

static void test_meta_set(void **state)
{
    expect("ms a 2 ME k\r\nhi\r\nms a 2 ME q O1\r\nho\r\nms a 2 MR q\r\nho\r\nmg a v\r\n",
           "HD ka\r\nNS O1\r\nVA 2\r\nho\r\n");
    expect("ms a 1 MA F9 T5\r\n!\r\nms a 1 MP s\r\n<\r\nmg a v f t\r\nms b 1 MA\r\nx\r\nms b 1 MR "
           "s\r\nx\r\n",
           "HD\r\nHD s4\r\nVA 4 f0 t-1\r\n<ho!\r\nNS\r\nNS s1\r\n");
    expect("ms b 1 MA N60 F3\r\nx\r\nmg b v t f\r\n", "HD\r\nVA 1 t60 f3\r\nx\r\n");
    expect("ms a 1 T-1 F4\r\nx\r\nmg a\r\n", "HD\r\nEN\r\n");
    expect("ms a 1\r\nx\r\nms a 9999999 ME q\r\n",
           "HD\r\nSERVER_ERROR object too large for cache\r\n");
    assert_null(item_of("a"));
    expect("md b x\r\nmg b v f t\r\nmd b\r\nmd b q\r\n", "HD\r\nVA 0 f0 t60\r\n\r\nHD\r\nNF\r\n");
}

/* A key in base64 may hold any byte, and is never shown otherwise. */
static void test_meta_base64(void **state)
{
    expect("ms AA0KIP8= 1 b k\r\nx\r\nmg AA0KIP8= b k v\r\n",
           "HD kAA0KIP8= b\r\nVA 1 kAA0KIP8= b\r\nx\r\n");
    expect("ms AA0KIP8= 1 b MA\r\ny\r\nmg AA0KIP8= b k v\r\nmg AA0K b N9 k\r\nmg AA0K b k\r\n",
           "HD\r\nVA 2 kAA0KIP8= b\r\nxy\r\nHD kAA0K b W\r\nHD kAA0K b Z\r\n");
    expect("ms Zm9v 1 b\r\n5\r\nmg foo k\r\nincr foo 995\r\nmg foo k\r\nset foo 0 0 1\r\n1\r\nmg "
           "foo k\r\n",
           "HD\r\nHD kZm9v b\r\n1000\r\nHD kZm9v b\r\nSTORED\r\nHD kfoo\r\n");
    expect("mg Zm9 b\r\nmd Zm9 b\r\n",
           "CLIENT_ERROR error decoding key\r\nCLIENT_ERROR invalid or duplicate flag\r\n");
}

static void test_meta_arithmetic(void **state)
{
    expect("ma n v\r\nma n N100 J13 v t k O5 q\r\nma n v q\r\nma n D5 v\r\nma n MD D99 v\r\nma n t "
           "T30\r\n",
           "NF\r\nVA 2 t100 kn O5\r\n13\r\nVA 2\r\n19\r\nVA 1\r\n0\r\nHD t100\r\n");
    expect("mg n v t\r\nma n T-1 v\r\nmg n\r\n", "VA 2 t30\r\n1 \r\nVA 1\r\n2\r\nEN\r\n");
    expect("ms t 2\r\nab\r\nma t q\r\n",
           "HD\r\nCLIENT_ERROR cannot increment or decrement non-numeric value\r\n");
}

static void test_meta_large_values(void **state)
{
    blob_release(send_large("ms big 20000 F1 c\r\n", 'v'));
    expect_part("", "HD c");
    const struct blob *blob = item_blob(item_of("big"));
    assert_non_null(blob);
    send_bytes(SLICE_LITERAL("md big I\r\nmg big R9 T60 c\r\nmg big v\r\n"));
    assert_ptr_equal(item_blob(item_of("big")), blob);
    size_t size;
    char *reply = take_reply(&size);
    assert_non_null(strstr(reply, "\r\nVA 20000 Z X\r\nvvv"));
    assert_string_equal(reply + size - 3, "v\r\n");
    free(reply);
    assert_int_equal(blob_reference_count(blob), 1);
}

static void test_stats(void **state)
{
    dialogue->status.start_wall_ms = dialogue->now.wall_ms - 90500;
    dialogue->status.cpu_user_us = 1000002;
    expect("set a 0 0 1\r\n1\r\nget a b\r\nincr a 1\r\nincr b 1\r\ndelete b\r\ntouch a 0\r\n"
           "gat 0 b\r\ncas a 0 0 1 1\r\nx\r\nflush_all 1000\r\n",
           "STORED\r\nVALUE a 0 1\r\n1\r\nEND\r\n2\r\nNOT_FOUND\r\nNOT_FOUND\r\nTOUCHED\r\nEND\r\n"
           "EXISTS\r\nOK\r\n");
    static const char *const lines[] = {
        "STAT uptime 90\r\n",
        "STAT time 1700000000\r\n",
        "STAT version 1.6.18\r\n",
        "STAT pointer_size 64\r\n",
        "STAT rusage_user 1.000002\r\n",
        "STAT cmd_get 2\r\n",
        "STAT cmd_set 2\r\n",
        "STAT cmd_flush 1\r\n",
        "STAT cmd_touch 2\r\n",
        "STAT get_hits 1\r\n",
        "STAT get_misses 1\r\n",
        "STAT incr_hits 1\r\n",
        "STAT incr_misses 1\r\n",
        "STAT delete_misses 1\r\n",
        "STAT touch_hits 1\r\n",
        "STAT touch_misses 1\r\n",
        "STAT cas_badval 1\r\n",
        "STAT curr_items 1\r\n",
        "STAT total_items 1\r\n",
        "STAT threads 1\r\n",
        "STAT limit_maxbytes 0\r\n",
        "STAT max_connections 10000\r\n",
        "STAT evictions 0\r\n",
        "\r\nEND\r\n",
    };
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        expect_part("stats\r\n", lines[i]);
    }
    assert_int_equal(metric_read(&dialogue->metrics, METRIC_KEYSPACE_HITS), 1);
    expect("stats reset\r\n", "RESET\r\n");
    expect_part("stats\r\n", "STAT cmd_get 0\r\n");
    expect_part("stats\r\n", "STAT curr_items 1\r\n");

    expect_part("stats settings\r\n", "STAT item_size_max 1048576\r\n");
    expect_part("stats settings\r\n", "STAT cas_enabled yes\r\n");
    expect_part("stats items\r\n", "STAT items:1:number 1\r\nSTAT items:1:mem_requested ");
    expect_part("stats slabs\r\n", "STAT 1:used_chunks 1\r\nSTAT 1:mem_requested ");
    expect_part("stats slabs\r\n", "STAT active_slabs 1\r\nSTAT total_malloced ");
    send_bytes(SLICE_LITERAL("delete a noreply\r\n"));
    expect("stats items\r\n", "END\r\n");
    expect_part("stats slabs\r\n", "STAT active_slabs 0\r\n");
    expect("stats sizes\r\n", "STAT sizes_status disabled\r\nEND\r\n");
    expect_part("stats conns\r\n", ":addr tcp:127.0.0.1:");
    expect("stats detail\r\n", "CLIENT_ERROR usage: stats detail on|off|dump\r\n");
    expect("stats detail off\r\nstats detail dump x\r\n", "OK\r\nEND\r\n");
    expect("stats detail on\r\n", "OK\r\n");
    expect_part("stats settings\r\n", "STAT stat_key_prefix :\r\nSTAT detail_enabled yes\r\n");
    expect("stats detail off\r\n", "OK\r\n");
    expect_part("stats settings\r\n", "STAT detail_enabled no\r\n");
    expect("stats cachedump 1 1\r\n", "CLIENT_ERROR stats cachedump not allowed\r\n");
    expect("stats foo\r\nstats noreply\r\n", "ERROR\r\nERROR\r\n");
}

/* ---- who looks on -----------------------------------------------------------------------------
 */

/* As a pass of the loop would. */
static void look_on(void)
{
    dialogue->context->observed = memcache_observed(dialogue->context->observers);
}

/* What follows the time and the number in each line of the log, which is empty then. */
static void expect_events(const char *expected)
{
    struct memcache_event_log *log = dialogue->context->events;
    char text[8192];
    size_t used = 0;
    enum memcache_event_kind kind;
    struct slice rest = slice_of(log->bytes, log->used), line;
    while (memcache_event_next(&rest, &kind, &line)) {
        const char *type = memmem(line.data, line.size, "type=", 5);
        assert_non_null(type);
        size_t size = line.size - (size_t)((const uint8_t *)type - line.data);
        assert_true(used + size < sizeof(text));
        memcpy(text + used, type, size);
        used += size;
    }
    text[used] = '\0';
    assert_string_equal(text, expected);
    log->used = 0;
}

static void test_events(void **state)
{
    struct memcache_observers *observers = dialogue->context->observers;
    memcache_client.id = 7;
    assert_true(memcache_observers_add(observers, 0, EVENT_BIT(EVENT_FETCH)));
    assert_true(memcache_observers_add(observers, 0, EVENT_BIT(EVENT_MUTATION)));
    look_on();
    expect("set a%b 0 100 2\r\nxy\r\n", "STORED\r\n");
    expect_events("type=item_get key=a%25b status=not_found clsid=0 cfd=7 size=0\n"
                  "type=item_store key=a%25b status=stored cmd=set ttl=100 clsid=1 cfd=7 size=2\n");
    expect("append a%b 0 0 1\r\nz\r\nadd a%b 0 5 1\r\nz\r\n", "STORED\r\nNOT_STORED\r\n");
    expect_events(
        "type=item_get key=a%25b status=found clsid=1 cfd=7 size=2\n"
        "type=item_store key=a%25b status=stored cmd=append ttl=100 clsid=1 cfd=7 size=3\n"
        "type=item_get key=a%25b status=found clsid=1 cfd=7 size=3\n"
        "type=item_store key=a%25b status=not_stored cmd=add ttl=5 clsid=1 cfd=7 size=1\n");
    send_bytes(SLICE_LITERAL("set a%b 0 0 9999999\r\n"));
    expect_reply("SERVER_ERROR object too large for cache\r\n");
    expect_events("type=item_store key=a%25b status=too_large cmd=set ttl=0 clsid=1 cfd=7 size=0\n"
                  "type=item_get key=a%25b status=found clsid=1 cfd=7 size=3\n");
    memcache_observers_remove(observers, 0, EVENT_BIT(EVENT_MUTATION));
    look_on();
    expect("ms a 1\r\nx\r\nma n N0 J5\r\nmd a\r\n", "HD\r\nHD\r\nHD\r\n");
    expect_events("type=item_get key=a status=not_found clsid=0 cfd=7 size=0\n"
                  "type=item_get key=n status=not_found clsid=0 cfd=7 size=0\n"
                  "type=item_get key=n status=not_found clsid=0 cfd=7 size=0\n"
                  "type=item_get key=a status=found clsid=1 cfd=7 size=1\n");
    memcache_observers_remove(observers, 0, EVENT_BIT(EVENT_FETCH));
    look_on();
    expect("get n\r\n", "VALUE n 0 1\r\n5\r\nEND\r\n");
    expect_events("");
}

/* Nobody sends the lines: the log fills up, and counts what it loses. */
static void test_full_log(void **state)
{
    enum { REQUESTS = 2000 };
    assert_true(memcache_observers_add(dialogue->context->observers, 0, EVENT_BIT(EVENT_FETCH)));
    look_on();
    for (int i = 0; i < REQUESTS; i++) {
        expect("get none\r\n", "END\r\n");
    }
    uint64_t written = metric_read(&dialogue->metrics, METRIC_MEMCACHE_LOG_WORKER_WRITTEN);
    uint64_t dropped = metric_read(&dialogue->metrics, METRIC_MEMCACHE_LOG_WORKER_DROPPED);
    assert_true(written > 500 && dropped > 500);
    assert_int_equal(written + dropped, REQUESTS);
    assert_true(dialogue->context->events->used <= MEMCACHE_EVENT_LOG_BYTES);
}

/* A read that turns out to be the owner's has left no trace. */
static void test_torn_reads_are_noted_once(void **state)
{
    struct key key = key_hashed(SLICE_LITERAL("p:a"));
    struct memcache_reply reply = {.out = &out, .pool = &dialogue->pool};
    struct memcache_parser parser;
    struct memcache_limits limits = {1 << 20};
    struct memcache_request request;
    struct memcache_parse_result result;
    expect("set p:a 0 0 1\r\nx\r\n", "STORED\r\n");
    memcache_client.id = 7;
    memcache_observers_keep_detail(dialogue->context->observers, true);
    assert_true(memcache_observers_add(dialogue->context->observers, 0, EVENT_BIT(EVENT_FETCH)));
    look_on();
    expect("mg p:a\r\n", "HD\r\n");
    memcache_parser_init(&parser);
    memcache_parse(&parser, &limits, SLICE_LITERAL("mg p:a c v\r\n"), &request, &result);
    struct memcache_call call = {.context = dialogue->context,
                                 .shard = dialogue->shard,
                                 .shared = true,
                                 .now = &dialogue->now,
                                 .client = &memcache_client,
                                 .request = &request,
                                 .keys = &key,
                                 .reply = &reply};
    assert_int_equal(memcache_execute(&call), COMMAND_TORN);
    memcache_parser_deinit(&parser);
    expect("stats detail dump\r\n", "PREFIX p get 1 hit 1 set 0 del 0\r\nEND\r\n");
    expect_events("type=item_get key=p%3Aa status=found clsid=1 cfd=7 size=1\n");
}

static void test_prefixes(void **state)
{
    memcache_observers_keep_detail(dialogue->context->observers, true);
    look_on();
    expect("stats detail dump\r\n", "END\r\n");
    expect("set a:1 0 0 1\r\nx\r\nget a:1 a:2 none :x b:c:d\r\nadd a:1 0 0 1\r\nx\r\ngat 0 a:1\r\n",
           "STORED\r\nVALUE a:1 0 1\r\nx\r\nEND\r\nNOT_STORED\r\nVALUE a:1 0 1\r\nx\r\nEND\r\n");
    expect("touch t:1 0\r\nincr i:1 1\r\ndelete a:1\r\ndelete a:1\r\nms m:1 1\r\nx\r\nmg m:1 "
           "v\r\nmd m:1\r\n",
           "NOT_FOUND\r\nNOT_FOUND\r\nDELETED\r\nNOT_FOUND\r\nHD\r\nVA 1\r\nx\r\nHD\r\n");
    expect("stats detail dump\r\n",
           "PREFIX a get 3 hit 2 set 2 del 2\r\nPREFIX  get 1 hit 0 set 0 del 0\r\n"
           "PREFIX b get 1 hit 0 set 0 del 0\r\nPREFIX m get 1 hit 1 set 1 del 1\r\nEND\r\n");
    expect("stats reset\r\nget z:1\r\nstats detail off\r\n", "RESET\r\nEND\r\nOK\r\n");
    expect("get z:1\r\nstats detail dump\r\n",
           "END\r\nPREFIX z get 1 hit 0 set 0 del 0\r\nEND\r\n");
}

static void test_full_prefix_book(void **state)
{
    const struct memcache_prefix_counts one = {.gets = 1};
    struct memcache_prefix_book *book = memcache_prefix_book_create(100);
    assert_non_null(book);
    for (int i = 0; i < 300; i++) {
        char name[16];
        int size = snprintf(name, sizeof(name), "p%d", i % 150);
        assert_int_equal(memcache_prefix_book_add(book, slice_of(name, (size_t)size), &one),
                         i % 150 < 100);
    }
    assert_int_equal(book->count, 100);
    for (uint32_t i = 0; i < book->count; i++) {
        assert_int_equal(book->prefixes[i].counts.gets, 2);
    }
    memcache_prefix_book_clear(book);
    assert_true(memcache_prefix_book_add(book, SLICE_LITERAL(""), &one));
    assert_int_equal(book->count, 1);
    memcache_prefix_book_destroy(book);

    memcache_observers_keep_detail(dialogue->context->observers, true);
    look_on();
    for (uint32_t i = 0; i < MEMCACHE_PREFIXES_MAX + 5; i++) {
        char request[64];
        snprintf(request, sizeof(request), "get p%u:x\r\n", i);
        send_bytes(slice_of_string(request));
        byte_queue_clear(&out, &dialogue->pool);
    }
    assert_int_equal(metric_read(&dialogue->metrics, METRIC_MEMCACHE_PREFIXES_DROPPED), 5);
}

static void test_watchers_are_counted(void **state)
{
    struct memcache_observers *observers = dialogue->context->observers;
    uint32_t all = (1U << EVENT_KIND_COUNT) - 1;
    for (uint32_t i = 0; i < MEMCACHE_WATCHERS_MAX; i++) {
        assert_true(memcache_observers_add(observers, i % 2, all));
    }
    assert_false(memcache_observers_add(observers, 0, all));
    assert_true(memcache_observers_has(observers, 1) && !memcache_observers_has(observers, 2));
    memcache_observers_keep_detail(observers, true);
    for (uint32_t i = 0; i < MEMCACHE_WATCHERS_MAX; i++) {
        assert_true((memcache_observed(observers) & OBSERVED_KIND(i % EVENT_KIND_COUNT)) != 0);
        memcache_observers_remove(observers, i % 2, all);
    }
    assert_int_equal(memcache_observed(observers), OBSERVED_DETAIL);
    assert_false(memcache_observers_has(observers, 1));
}

int main(int argc, char **argv)
{
    dialogue_setup(argv[0]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_storage, setup, teardown),
        cmocka_unit_test_setup_teardown(test_noreply, setup, teardown),
        cmocka_unit_test_setup_teardown(test_key_lengths, setup, teardown),
        cmocka_unit_test_setup_teardown(test_cas, setup, teardown),
        cmocka_unit_test_setup_teardown(test_arithmetic, setup, teardown),
        cmocka_unit_test_setup_teardown(test_expiry, setup, teardown),
        cmocka_unit_test_setup_teardown(test_flush_all, setup, teardown),
        cmocka_unit_test_setup_teardown(test_large_values, setup, teardown),
        cmocka_unit_test_setup_teardown(test_append_to_large_values, setup, teardown),
        cmocka_unit_test_setup_teardown(test_values_too_large, setup, teardown),
        cmocka_unit_test_setup_teardown(test_out_of_memory, setup, teardown),
        cmocka_unit_test_setup_teardown(test_both_protocols_share_values, setup, teardown),
        cmocka_unit_test_setup_teardown(test_other_types, setup, teardown),
        cmocka_unit_test_setup_teardown(test_small_commands, setup, teardown),
        cmocka_unit_test_setup_teardown(test_events, setup, teardown),
        cmocka_unit_test_setup_teardown(test_full_log, setup, teardown),
        cmocka_unit_test_setup_teardown(test_torn_reads_are_noted_once, setup, teardown),
        cmocka_unit_test_setup_teardown(test_prefixes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_full_prefix_book, setup, teardown),
        cmocka_unit_test_setup_teardown(test_watchers_are_counted, setup, teardown),
        cmocka_unit_test_setup_teardown(test_meta_get, setup, teardown),
        cmocka_unit_test_setup_teardown(test_stampede, setup, teardown),
        cmocka_unit_test_setup_teardown(test_meta_cas, setup, teardown),
        cmocka_unit_test_setup_teardown(test_meta_set, setup, teardown),
        cmocka_unit_test_setup_teardown(test_meta_base64, setup, teardown),
        cmocka_unit_test_setup_teardown(test_meta_arithmetic, setup, teardown),
        cmocka_unit_test_setup_teardown(test_meta_large_values, setup, teardown),
        cmocka_unit_test_setup_teardown(test_stats, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
