/* RENAME RENAMENX COPY MOVE, and what happens when memory ends. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tests/unit/l7_command/string_dialogue.h"

#define NO_KEY      "-ERR no such key\r\n"
#define SAME_OBJECT "-ERR source and destination objects are the same\r\n"
#define BAD_INDEX   "-ERR DB index is out of range\r\n"
#define NOT_INTEGER "-ERR value is not an integer or out of range\r\n"
#define NOT_INT     "-ERR value is out of range, value must between -2147483648 and 2147483647\r\n"

static void test_rename(void **state)
{
    struct dialogue *d = *state;
    SAY(d, "RENAME a b", NO_KEY);
    SAY(d, "RENAME a a", NO_KEY);
    SAY(d, "SET a 1 EX 10", "+OK\r\n");
    SAY(d, "SET b 2", "+OK\r\n");
    SAY(d, "RENAME a b", "+OK\r\n");
    SAY(d, "EXISTS a", ":0\r\n");
    SAY(d, "GET b", "$1\r\n1\r\n");
    SAY(d, "TTL b", ":10\r\n");
    SAY(d, "RENAME b b", "+OK\r\n");
    SAY(d, "GET b", "$1\r\n1\r\n");
    assert_int_equal(shard_key_count(d->shard, 0), 1);
}

static void test_renamenx(void **state)
{
    struct dialogue *d = *state;
    SAY(d, "RENAMENX a b", NO_KEY);
    SAY(d, "MSET a 1 b 2", "+OK\r\n");
    SAY(d, "RENAMENX a b", ":0\r\n");
    SAY(d, "RENAMENX a a", ":0\r\n");
    SAY(d, "PEXPIRE b 5", ":1\r\n");
    pass_time(d, 6);
    SAY(d, "RENAMENX a b", ":1\r\n");
    SAY(d, "GET b", "$1\r\n1\r\n");
}

static void test_copy(void **state)
{
    struct dialogue *d = *state;
    SAY(d, "COPY a b", ":0\r\n");
    SAY(d, "COPY a a", SAME_OBJECT);
    SAY(d, "SET a 1 EX 10", "+OK\r\n");
    SAY(d, "COPY a b", ":1\r\n");
    SAY(d, "TTL b", ":10\r\n");
    SAY(d, "SET a 2", "+OK\r\n");
    SAY(d, "COPY a b", ":0\r\n");
    SAY(d, "COPY a b REPLACE", ":1\r\n");
    SAY(d, "GET b", "$1\r\n2\r\n");
    SAY(d, "TTL b", ":-1\r\n");
    SAY(d, "COPY a a DB 3", ":1\r\n");
    SAY(d, "COPY a a DB 3", ":0\r\n");
    SAY(d, "COPY a a db 3 replace", ":1\r\n");
    SAY(d, "COPY a a DB 0", SAME_OBJECT);
    SAY(d, "COPY a b DB 16", BAD_INDEX);
    SAY(d, "COPY a b DB -1", BAD_INDEX);
    SAY(d, "COPY a b DB x", NOT_INTEGER);
    SAY(d, "COPY a b DB 2147483648", NOT_INT);
    SAY(d, "COPY a b DB", "-ERR syntax error\r\n");
    SAY(d, "COPY a b bogus", "-ERR syntax error\r\n");
    SAY(d, "SELECT 3", "+OK\r\n");
    SAY(d, "GET a", "$1\r\n2\r\n");
}

static void test_move(void **state)
{
    struct dialogue *d = *state;
    SAY(d, "MOVE a 1", ":0\r\n");
    SAY(d, "MOVE a 0", SAME_OBJECT);
    SAY(d, "MOVE a 16", BAD_INDEX);
    SAY(d, "MOVE a x", NOT_INTEGER);
    SAY(d, "MOVE a -2147483649", NOT_INT);
    SAY(d, "SET a 1 EX 10", "+OK\r\n");
    SAY(d, "MOVE a 1", ":1\r\n");
    SAY(d, "EXISTS a", ":0\r\n");
    SAY(d, "SET a 2", "+OK\r\n");
    SAY(d, "MOVE a 1", ":0\r\n");
    SAY(d, "SELECT 1", "+OK\r\n");
    SAY(d, "GET a", "$1\r\n1\r\n");
    SAY(d, "TTL a", ":10\r\n");
}

static void test_metadata_travels(void **state)
{
    struct dialogue *d = *state;
    put_memcached_item(d, "a", "v", 7, 99, 1);
    SAY(d, "COPY a b", ":1\r\n");
    SAY(d, "RENAME a c", "+OK\r\n");
    assert_int_equal(item_client_flags(find_item(d, "b")), 7);
    assert_int_equal(item_client_flags(find_item(d, "c")), 7);
    assert_int_equal(item_cas(find_item(d, "b")), 0);
    assert_int_equal(item_cas(find_item(d, "c")), 0);
    put_list_item(d, "list");
    SAY(d, "RENAME list other", "+OK\r\n");
    SAY(d, "TYPE other", "+list\r\n");
}

static void test_a_large_value_is_shared(void **state)
{
    struct dialogue *d = *state;
    SAY(d, "SETRANGE a 20000 x", ":20001\r\n");
    const struct blob *blob = item_blob(find_item(d, "a"));
    assert_non_null(blob);
    SAY(d, "COPY a b", ":1\r\n");
    SAY(d, "RENAME a c", "+OK\r\n");
    assert_ptr_equal(item_blob(find_item(d, "b")), blob);
    assert_ptr_equal(item_blob(find_item(d, "c")), blob);
    SAY(d, "DEL c", ":1\r\n");
    SAY(d, "GETRANGE b -2 -1", "$2\r\n\0x\r\n");
}

/* ---- maxmemory ------------------------------------------------------------------------------ */

#define OOM "-OOM command not allowed when used memory > 'maxmemory'.\r\n"

static struct slice large_text(size_t size)
{
    uint8_t *bytes = malloc(size);
    assert_non_null(bytes);
    memset(bytes, 'x', size);
    return slice_of(bytes, size);
}

/* A write that finds no memory answers once, and leaves everything as it was. */
static void test_out_of_memory(void **state)
{
    struct dialogue *d = *state;
    SAY(d, "MSET a old b old", "+OK\r\n");
    struct shard_memory memory;
    shard_read_memory(d->shard, &memory);
    shard_set_maxmemory(d->shard, memory.used_bytes + (256U << 10));
    struct slice value = large_text(900U << 10);
    const struct slice mset[] = {SLICE_LITERAL("MSET"), SLICE_LITERAL("a"), SLICE_LITERAL("new"),
                                 SLICE_LITERAL("b"), value};
    struct slice reply = say_words(d, mset, 5);
    assert_true(slice_equal(reply, SLICE_LITERAL(OOM)));
    SAY(d, "MGET a b", "*2\r\n$3\r\nold\r\n$3\r\nold\r\n");
    const struct slice set[] = {SLICE_LITERAL("SET"), SLICE_LITERAL("a"), value,
                                SLICE_LITERAL("GET")};
    reply = say_words(d, set, 4);
    assert_true(slice_equal(reply, SLICE_LITERAL(OOM)));
    SAY(d, "SETRANGE a 16000000 x", OOM);
    SAY(d, "GET a", "$3\r\nold\r\n");
    shard_set_maxmemory(d->shard, 1);
    SAY(d, "INCR counter", OOM);
    SAY(d, "APPEND a x", OOM);
    SAY(d, "COPY a c", OOM);
    SAY(d, "EXPIRE a 10", ":1\r\n"); /* no growth: allowed over the limit */
    SAY(d, "RENAME a c", "+OK\r\n");
    SAY(d, "GETEX c PERSIST", "$3\r\nold\r\n");
    SAY(d, "DEL b c", ":2\r\n");
    free((void *)(uintptr_t)value.data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_rename),        TEST(test_renamenx),         TEST(test_copy),
        TEST(test_move),          TEST(test_metadata_travels), TEST(test_a_large_value_is_shared),
        TEST(test_out_of_memory),
    };
    dialogue_setup("generic_move_test");
    return cmocka_run_group_tests(tests, NULL, NULL);
}
