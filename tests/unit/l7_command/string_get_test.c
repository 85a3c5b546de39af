/* GET GETEX GETDEL MGET STRLEN GETRANGE SUBSTR. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tests/unit/l7_command/string_dialogue.h"

#define NOT_INTEGER "-ERR value is not an integer or out of range\r\n"
#define SYNTAX      "-ERR syntax error\r\n"
#define WRONG_TYPE  "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n"

static void test_get(void **state)
{
    struct dialogue *d = *state;
    SAY(d, "GET k", "$-1\r\n");
    SAY(d, "SET k value", "+OK\r\n");
    SAY(d, "GET k", "$5\r\nvalue\r\n");
    assert_int_equal(metric_read(&d->metrics, METRIC_KEYSPACE_HITS), 1);
    assert_int_equal(metric_read(&d->metrics, METRIC_KEYSPACE_MISSES), 1);
    put_list_item(d, "list");
    SAY(d, "GET list", WRONG_TYPE);
    SAY(d, "MGET list k", "*2\r\n$-1\r\n$5\r\nvalue\r\n");
    SAY(d, "STRLEN list", WRONG_TYPE);
    d->client->protocol = 3;
    SAY(d, "GET nokey", "_\r\n");
    SAY(d, "GET k", "$5\r\nvalue\r\n");
}

static void test_getex(void **state)
{
    struct dialogue *d = *state;
    SAY(d, "GETEX k EX 10", "$-1\r\n");
    SAY(d, "GETEX k EX 0", "$-1\r\n"); /* the time matters only when the key is there */
    SAY(d, "SET k v", "+OK\r\n");
    SAY(d, "GETEX k", "$1\r\nv\r\n");
    SAY(d, "GETEX k EX 10", "$1\r\nv\r\n");
    SAY(d, "PTTL k", ":10000\r\n");
    SAY(d, "GETEX k px 7", "$1\r\nv\r\n");
    SAY(d, "PTTL k", ":7\r\n");
    SAY(d, "GETEX k EXAT 1700000005", "$1\r\nv\r\n");
    SAY(d, "PTTL k", ":5000\r\n");
    SAY(d, "GETEX k", "$1\r\nv\r\n");
    SAY(d, "PTTL k", ":5000\r\n");
    SAY(d, "GETEX k PERSIST", "$1\r\nv\r\n");
    SAY(d, "PTTL k", ":-1\r\n");
    SAY(d, "GETEX k EX 0", "-ERR invalid expire time in 'getex' command\r\n");
    SAY(d, "GETEX k EX x", NOT_INTEGER);
    SAY(d, "GETEX k EX 5 PERSIST", SYNTAX);
    SAY(d, "GETEX k KEEPTTL", SYNTAX);
    SAY(d, "GETEX k NX", SYNTAX);
    SAY(d, "GETEX k PXAT 1", "$1\r\nv\r\n"); /* gone with the answer */
    SAY(d, "EXISTS k", ":0\r\n");
    put_list_item(d, "list");
    SAY(d, "GETEX list EX 0", WRONG_TYPE);
}

static void test_getex_keeps_metadata(void **state)
{
    struct dialogue *d = *state;
    put_memcached_item(d, "k", "v", 7, 99, 1);
    SAY(d, "GETEX k EX 10", "$1\r\nv\r\n");
    const struct item *item = find_item(d, "k");
    assert_int_equal(item_client_flags(item), 7);
    assert_int_equal(item_state(item), 1);
    assert_int_equal(item_cas(item), 99);
}

static void test_getdel(void **state)
{
    struct dialogue *d = *state;
    SAY(d, "GETDEL k", "$-1\r\n");
    SAY(d, "SET k v", "+OK\r\n");
    SAY(d, "GETDEL k", "$1\r\nv\r\n");
    SAY(d, "EXISTS k", ":0\r\n");
    put_list_item(d, "list");
    SAY(d, "GETDEL list", WRONG_TYPE);
    SAY(d, "EXISTS list", ":1\r\n");
}

static void test_strlen(void **state)
{
    struct dialogue *d = *state;
    SAY(d, "STRLEN k", ":0\r\n");
    SAY(d, "SET k hello", "+OK\r\n");
    SAY(d, "STRLEN k", ":5\r\n");
    SAY(d, "SET k -123", "+OK\r\n");
    SAY(d, "STRLEN k", ":4\r\n");
}

static void test_getrange(void **state)
{
    struct dialogue *d = *state;
    SAY(d, "SET k hello", "+OK\r\n");
    SAY(d, "GETRANGE k 0 -1", "$5\r\nhello\r\n");
    SAY(d, "GETRANGE k 1 3", "$3\r\nell\r\n");
    SAY(d, "SUBSTR k -3 -2", "$2\r\nll\r\n");
    SAY(d, "GETRANGE k -100 100", "$5\r\nhello\r\n");
    SAY(d, "GETRANGE k -100 -100", "$1\r\nh\r\n"); /* as Redis: both end at the first byte */
    SAY(d, "GETRANGE k -1 -3", "$0\r\n\r\n");
    SAY(d, "GETRANGE k 3 1", "$0\r\n\r\n");
    SAY(d, "GETRANGE k 5 10", "$0\r\n\r\n");
    SAY(d, "GETRANGE k 9223372036854775807 -9223372036854775808", "$0\r\n\r\n");
    SAY(d, "GETRANGE k -9223372036854775808 9223372036854775807", "$5\r\nhello\r\n");
    SAY(d, "GETRANGE nokey 0 -1", "$0\r\n\r\n");
    SAY(d, "GETRANGE k x 1", NOT_INTEGER);
    SAY(d, "SET k 12345", "+OK\r\n");
    SAY(d, "GETRANGE k 1 2", "$2\r\n23\r\n");
    SAY(d, "SET k \"\"", "+OK\r\n");
    SAY(d, "GETRANGE k 0 -1", "$0\r\n\r\n");
    put_list_item(d, "list");
    SAY(d, "GETRANGE list 0 x", NOT_INTEGER);
    SAY(d, "GETRANGE list 0 1", WRONG_TYPE);
}

/* A large value leaves by reference, also when its key is gone before it is sent. */
static void test_large_values_are_referenced(void **state)
{
    struct dialogue *d = *state;
    SAY(d, "SETRANGE k 99999 x", ":100000\r\n");
    const struct slice ask[] = {SLICE_LITERAL("GETDEL"), SLICE_LITERAL("k")};
    struct slice reply = say_words(d, ask, 2);
    assert_int_equal(reply.size, 9 + 100000 + 2);
    assert_memory_equal(reply.data, "$100000\r\n", 9);
    assert_int_equal(reply.data[9 + 99998], 0);
    assert_int_equal(reply.data[9 + 99999], 'x');
    SAY(d, "SETRANGE k 99999 x", ":100000\r\n");
    const struct slice range[] = {SLICE_LITERAL("GETRANGE"), SLICE_LITERAL("k"),
                                  SLICE_LITERAL("50000"), SLICE_LITERAL("-1")};
    reply = say_words(d, range, 4);
    assert_int_equal(reply.size, 8 + 50000 + 2);
    assert_int_equal(reply.data[8 + 49999], 'x');
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_get),
        TEST(test_getex),
        TEST(test_getex_keeps_metadata),
        TEST(test_getdel),
        TEST(test_strlen),
        TEST(test_getrange),
        TEST(test_large_values_are_referenced),
    };
    dialogue_setup("string_get_test");
    return cmocka_run_group_tests(tests, NULL, NULL);
}
