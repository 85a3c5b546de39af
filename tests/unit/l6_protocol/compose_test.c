/* Both composers: the bytes of every reply, in RESP2 and RESP3; ownership of referenced values. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "dataplane/l6_protocol/memcache_compose.h"
#include "dataplane/l6_protocol/resp_compose.h"

static struct byte_pool pool;
static struct byte_queue queue;
static struct reply reply;
static struct memcache_reply text;

static int setup(void **state)
{
    byte_pool_init(&pool, 4);
    byte_queue_init(&queue);
    reply = (struct reply){.out = &queue, .pool = &pool, .protocol = 2};
    text = (struct memcache_reply){.out = &queue, .pool = &pool};
    return 0;
}

static int teardown(void **state)
{
    byte_queue_clear(&queue, &pool);
    byte_pool_deinit(&pool);
    return 0;
}

static void expect_bytes(const char *expected, size_t size)
{
    char *bytes = malloc(queue.size + 1);
    assert_non_null(bytes);
    size_t copied = byte_queue_copy_out(&queue, 0, bytes, queue.size);
    bytes[copied] = '\0';
    assert_int_equal(copied, queue.size);
    if (size == strlen(expected)) {
        assert_string_equal(bytes, expected);
    }
    assert_int_equal(copied, size);
    assert_memory_equal(bytes, expected, size);
    free(bytes);
    byte_queue_clear(&queue, &pool);
}

static void expect(const char *expected)
{
    expect_bytes(expected, strlen(expected));
}

static void test_simple_types(void **state)
{
    reply_status(&reply, "OK");
    expect("+OK\r\n");
    reply_error(&reply, "ERR a\r\nb");
    expect("-ERR a  b\r\n");
    reply_error(&reply, "ERR tail\r\n");
    expect("-ERR tail\r\n");
    reply_error_format(&reply, "ERR unknown '%s' %d", "x\ny", 7);
    expect("-ERR unknown 'x y' 7\r\n");
    assert_int_equal(reply.error_count, 3);
    static const struct {
        int64_t value;
        const char *text;
    } integers[] = {
        {0, ":0\r\n"},
        {7, ":7\r\n"},
        {10, ":10\r\n"},
        {99, ":99\r\n"},
        {100, ":100\r\n"},
        {-1, ":-1\r\n"},
        {-123, ":-123\r\n"},
        {INT64_MAX, ":9223372036854775807\r\n"},
        {INT64_MIN, ":-9223372036854775808\r\n"},
    };
    for (size_t i = 0; i < sizeof(integers) / sizeof(integers[0]); i++) {
        reply_integer(&reply, integers[i].value);
        expect(integers[i].text);
    }
}

static void test_bulks(void **state)
{
    reply_bulk(&reply, slice_of(NULL, 0));
    expect("$0\r\n\r\n");
    reply_bulk(&reply, SLICE_LITERAL("a\0b"));
    expect_bytes("$3\r\na\0b\r\n", 9);
    reply_bulk_string(&reply, "hello world!");
    expect("$12\r\nhello world!\r\n");

    /* Every size around the single reservation and the page. */
    static const size_t sizes[] = {1023, 1024, 1025, 4000, 4064, 4096, 9000};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        char expected[9100], value[9000];
        memset(value, 'v', sizeof(value));
        int header = snprintf(expected, sizeof(expected), "$%zu\r\n", sizes[i]);
        memcpy(expected + header, value, sizes[i]);
        memcpy(expected + header + sizes[i], "\r\n", 2);
        reply_bulk(&reply, slice_of(value, sizes[i]));
        expect_bytes(expected, (size_t)header + sizes[i] + 2);
    }
}

static void test_types_by_protocol(void **state)
{
    static const struct {
        const char *two, *three;
    } expected = {
        "$-1\r\n*-1\r\n:1\r\n:0\r\n*3\r\n*4\r\n*2\r\n*1\r\n$2\r\nhi\r\n",
        "_\r\n_\r\n#t\r\n#f\r\n*3\r\n%2\r\n~2\r\n>1\r\n=6\r\ntxt:hi\r\n",
    };
    for (uint8_t protocol = 2; protocol <= 3; protocol++) {
        reply.protocol = protocol;
        reply_null(&reply);
        reply_null_array(&reply);
        reply_boolean(&reply, true);
        reply_boolean(&reply, false);
        reply_array(&reply, 3);
        reply_map(&reply, 2);
        reply_set(&reply, 2);
        reply_push(&reply, 1);
        reply_verbatim(&reply, SLICE_LITERAL("hi"), "txt");
        expect(protocol == 2 ? expected.two : expected.three);
    }
    reply_attribute(&reply, 1);
    expect("|1\r\n");
    reply_array(&reply, 1234567);
    expect("*1234567\r\n");
}

static void test_doubles(void **state)
{
    static const struct {
        double value;
        const char *three;
    } cases[] = {
        {3.14, "3.14"},
        {0.1, "0.1"},
        {-0.5, "-0.5"},
        {0, "0"},
        {-0.0, "-0"},
        {3, "3"},
        {-17, "-17"},
        {4503599627370495.0, "4503599627370495"},
        {1e15, "1000000000000000"},
        {1e20, "1e+20"},
        {123456789012345680000.0, "123456789012345680000"},
        {1e21, "1e+21"},
        {1e300, "1e+300"},
        {1.5e-7, "1.5e-7"},
        {1e-5, "0.00001"},
        {0.0001234, "1.234e-4"},
        {5e-324, "5e-324"},
        {1.7976931348623157e308, "1.7976931348623157e+308"},
        {0.30000000000000004, "0.30000000000000004"},
        {1.0 / 3, "0.3333333333333333"},
        {INFINITY, "inf"},
        {-INFINITY, "-inf"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char expected[64];
        reply.protocol = 3;
        reply_double(&reply, cases[i].value);
        (void)snprintf(expected, sizeof(expected), ",%s\r\n", cases[i].three);
        expect(expected);
        reply.protocol = 2;
        reply_double(&reply, cases[i].value);
        (void)snprintf(expected, sizeof(expected), "$%zu\r\n%s\r\n", strlen(cases[i].three),
                       cases[i].three);
        expect(expected);
    }
    reply.protocol = 3;
    reply_double(&reply, NAN);
    expect(",nan\r\n");
}

static void test_long_doubles(void **state)
{
    reply_human_long_double(&reply, 3.0L);
    expect("$1\r\n3\r\n");
    reply_human_long_double(&reply, 10.5L);
    expect("$4\r\n10.5\r\n");
    reply_human_long_double(&reply, -0.0L);
    expect("$1\r\n0\r\n");
    reply_human_long_double(&reply, 5.0e3L + 200.0L);
    expect("$4\r\n5200\r\n");
    reply_human_long_double(&reply, 0.1L);
    expect("$3\r\n0.1\r\n");
    reply_human_long_double(&reply, -(long double)INFINITY);
    expect("$4\r\n-inf\r\n");
    reply_human_long_double(&reply, 1e4900L); /* fits the text buffer */
    assert_true(queue.size > 4900);
    byte_queue_clear(&queue, &pool);
}

struct counted {
    struct byte_owner owner;
    int released;
};

static void release_counted(struct byte_owner *owner)
{
    ((struct counted *)owner)->released++;
}

static void reply_large(struct byte_owner *owner, bool is_last)
{
    struct memcache_value value = {.key = SLICE_LITERAL("k"),
                                   .bytes = SLICE_LITERAL("large"),
                                   .client_flags = 5,
                                   .shows_cas = true,
                                   .is_last = is_last,
                                   .cas = 77,
                                   .owner = owner};
    memcache_reply_value(&text, &value);
}

static void test_references(void **state)
{
    struct counted counted = {{.release = release_counted}, 0};
    reply_bulk_reference(&reply, SLICE_LITERAL("large"), &counted.owner);
    assert_int_equal(counted.released, 0);
    expect("$5\r\nlarge\r\n");
    assert_int_equal(counted.released, 1);
    reply_large(&counted.owner, false);
    expect("VALUE k 5 5 77\r\nlarge\r\n");
    assert_int_equal(counted.released, 2);
    reply_large(&counted.owner, true);
    expect("VALUE k 5 5 77\r\nlarge\r\nEND\r\n");
    assert_int_equal(counted.released, 3);
    reply.suppressed = text.suppressed = true;
    reply_bulk_reference(&reply, SLICE_LITERAL("large"), &counted.owner);
    reply_large(&counted.owner, true);
    assert_int_equal(counted.released, 5);
    expect("");
}

static void test_suppressed(void **state)
{
    reply.suppressed = true;
    reply_status(&reply, "OK");
    reply_error(&reply, "ERR x");
    reply_integer(&reply, 1);
    reply_bulk_string(&reply, "x");
    reply_null(&reply);
    reply_null_array(&reply);
    reply_array(&reply, 1);
    reply_map(&reply, 1);
    reply_double(&reply, 1);
    reply_human_long_double(&reply, 1);
    reply_boolean(&reply, true);
    reply_verbatim(&reply, SLICE_LITERAL("x"), "txt");
    text.suppressed = true;
    memcache_reply_line(&text, "STORED");
    memcache_reply_number(&text, 1);
    memcache_reply_stat(&text, "a", "b");
    memcache_reply_end(&text);
    expect("");
    assert_int_equal(reply.error_count, 1);
}

static void test_memcache(void **state)
{
    memcache_reply_line(&text, "STORED");
    memcache_reply_number(&text, 0);
    memcache_reply_number(&text, UINT64_MAX);
    memcache_reply_stat(&text, "pid", "7");
    struct memcache_value first = {
        .key = SLICE_LITERAL("key"), .bytes = SLICE_LITERAL("a\r\n"), .client_flags = 42, .cas = 9};
    struct memcache_value last = {.key = SLICE_LITERAL("key"),
                                  .client_flags = 4294967295U,
                                  .shows_cas = true,
                                  .is_last = true,
                                  .cas = UINT64_MAX};
    memcache_reply_value(&text, &first);
    memcache_reply_value(&text, &last);
    memcache_reply_end(&text);
    expect("STORED\r\n0\r\n18446744073709551615\r\nSTAT pid 7\r\n"
           "VALUE key 42 3\r\na\r\n\r\n"
           "VALUE key 4294967295 0 18446744073709551615\r\n\r\nEND\r\nEND\r\n");
    char value[5000], expected[5100];
    memset(value, 'v', sizeof(value));
    int header = snprintf(expected, sizeof(expected), "VALUE k 1 5000\r\n");
    memcpy(expected + header, value, sizeof(value));
    memcpy(expected + header + 5000, "\r\n", 2);
    struct memcache_value large = {
        .key = SLICE_LITERAL("k"), .bytes = slice_of(value, 5000), .client_flags = 1};
    memcache_reply_value(&text, &large);
    expect_bytes(expected, (size_t)header + 5002);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_simple_types, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bulks, setup, teardown),
        cmocka_unit_test_setup_teardown(test_types_by_protocol, setup, teardown),
        cmocka_unit_test_setup_teardown(test_doubles, setup, teardown),
        cmocka_unit_test_setup_teardown(test_long_doubles, setup, teardown),
        cmocka_unit_test_setup_teardown(test_references, setup, teardown),
        cmocka_unit_test_setup_teardown(test_suppressed, setup, teardown),
        cmocka_unit_test_setup_teardown(test_memcache, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
