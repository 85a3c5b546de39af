/* SET with all its options, SETNX SETEX PSETEX GETSET, MSET MSETNX. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tests/unit/l7_command/string_dialogue.h"

#define NOT_INTEGER "-ERR value is not an integer or out of range\r\n"
#define SYNTAX      "-ERR syntax error\r\n"
#define WRONG_TYPE  "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n"

static void test_set_and_get(void **state)
{
    struct dialogue *d = *state;
    SAY(d, "SET k v", "+OK\r\n");
    SAY(d, "GET k", "$1\r\nv\r\n");
    SAY(d, "SET k \"\"", "+OK\r\n");
    SAY(d, "GET k", "$0\r\n\r\n");
    SAY(d, "SET \"\" empty", "+OK\r\n");
    SAY(d, "GET \"\"", "$5\r\nempty\r\n");
    SAY(d, "SET k", "-ERR wrong number of arguments for 'set' command\r\n");
}

static void test_integers_come_back_as_sent(void **state)
{
    struct dialogue *d = *state;
    SAY(d, "SET k 9223372036854775807", "+OK\r\n");
    assert_int_equal(item_encoding(find_item(d, "k")), ENCODING_INT);
    SAY(d, "GET k", "$19\r\n9223372036854775807\r\n");
    SAY(d, "SET k -9223372036854775808", "+OK\r\n");
    assert_int_equal(item_encoding(find_item(d, "k")), ENCODING_INT);
    SAY(d, "GET k", "$20\r\n-9223372036854775808\r\n");
    SAY(d, "SET k 9223372036854775808", "+OK\r\n");
    assert_int_equal(item_encoding(find_item(d, "k")), ENCODING_RAW);
    SAY(d, "GET k", "$19\r\n9223372036854775808\r\n");
    SAY(d, "SET k -0", "+OK\r\n");
    assert_int_equal(item_encoding(find_item(d, "k")), ENCODING_RAW);
    SAY(d, "GET k", "$2\r\n-0\r\n");
    SAY(d, "SET k 007", "+OK\r\n");
    SAY(d, "GET k", "$3\r\n007\r\n");
}

static void test_conditions(void **state)
{
    struct dialogue *d = *state;
    SAY(d, "SET k 1 XX", "$-1\r\n");
    SAY(d, "SET k 1 NX", "+OK\r\n");
    SAY(d, "SET k 2 nx", "$-1\r\n");
    SAY(d, "GET k", "$1\r\n1\r\n");
    SAY(d, "SET k 2 xX", "+OK\r\n");
    SAY(d, "GET k", "$1\r\n2\r\n");
    SAY(d, "SET k 3 NX XX", SYNTAX);
    SAY(d, "SET k 3 XX NX", SYNTAX);
    SAY(d, "SET k 3 NX NX", "$-1\r\n");
    d->client->protocol = 3;
    SAY(d, "SET k 3 NX", "_\r\n");
}

static void test_get_option(void **state)
{
    struct dialogue *d = *state;
    SAY(d, "SET k 1 GET", "$-1\r\n");
    SAY(d, "SET k 2 GET", "$1\r\n1\r\n");
    SAY(d, "SET k 3 GET NX", "$1\r\n2\r\n");
    SAY(d, "GET k", "$1\r\n2\r\n");
    SAY(d, "SET new 1 NX GET", "$-1\r\n");
    SAY(d, "GET new", "$1\r\n1\r\n");
    SAY(d, "SET gone 1 XX GET", "$-1\r\n");
    SAY(d, "EXISTS gone", ":0\r\n");
    put_list_item(d, "list");
    SAY(d, "SET list 1 GET", WRONG_TYPE);
    SAY(d, "TYPE list", "+list\r\n");
    SAY(d, "SET list 1", "+OK\r\n");
    SAY(d, "TYPE list", "+string\r\n");
    d->client->protocol = 3;
    SAY(d, "SET gone 1 XX GET", "_\r\n");
}

static void test_times(void **state)
{
    struct dialogue *d = *state;
    SAY(d, "SET k v EX 10", "+OK\r\n");
    SAY(d, "PTTL k", ":10000\r\n");
    SAY(d, "SET k v px 1500", "+OK\r\n");
    SAY(d, "PTTL k", ":1500\r\n");
    SAY(d, "SET k v EXAT 1700000007", "+OK\r\n");
    SAY(d, "PTTL k", ":7000\r\n");
    SAY(d, "SET k v PXAT 1700000000009", "+OK\r\n");
    SAY(d, "PTTL k", ":9\r\n");
    SAY(d, "SET k v EX 1 EX 2", "+OK\r\n");
    SAY(d, "PTTL k", ":2000\r\n");
    SAY(d, "SET k w KEEPTTL", "+OK\r\n");
    SAY(d, "PTTL k", ":2000\r\n");
    pass_time(d, 2000);
    SAY(d, "GET k", "$1\r\nw\r\n");
    pass_time(d, 1);
    SAY(d, "GET k", "$-1\r\n");
    SAY(d, "SET k v KEEPTTL", "+OK\r\n");
    SAY(d, "TTL k", ":-1\r\n");
    SAY(d, "SET k v EX 10", "+OK\r\n");
    SAY(d, "SET k v", "+OK\r\n");
    SAY(d, "TTL k", ":-1\r\n");
    SAY(d, "SET k v PXAT 1", "+OK\r\n");
    SAY(d, "GET k", "$-1\r\n");
}

static void test_bad_times(void **state)
{
    struct dialogue *d = *state;
    SAY(d, "SET k v EX 0", "-ERR invalid expire time in 'set' command\r\n");
    SAY(d, "SET k v PX -1", "-ERR invalid expire time in 'set' command\r\n");
    SAY(d, "SET k v EX 9223372036854775", "-ERR invalid expire time in 'set' command\r\n");
    SAY(d, "SET k v EX 9223372036854776", "-ERR invalid expire time in 'set' command\r\n");
    SAY(d, "SET k v EXAT 9223372036854775", "+OK\r\n");
    SAY(d, "SET k v PXAT 9223372036854775807", "+OK\r\n");
    SAY(d, "PEXPIRETIME k", ":9223372036854775807\r\n");
    SAY(d, "SET k v PX 9223372036854775807", "-ERR invalid expire time in 'set' command\r\n");
    SAY(d, "SET k v EX x", NOT_INTEGER);
    SAY(d, "SET k v EX 1.5", NOT_INTEGER);
    SAY(d, "SET k v EX", SYNTAX);
    SAY(d, "SET k v EX 1 PX 1", SYNTAX);
    SAY(d, "SET k v EX 1 KEEPTTL", SYNTAX);
    SAY(d, "SET k v KEEPTTL PXAT 1", SYNTAX);
    SAY(d, "SET k v PERSIST", SYNTAX);
    SAY(d, "SET k v bogus", SYNTAX);
    SAY(d, "SETEX k 0 v", "-ERR invalid expire time in 'setex' command\r\n");
    SAY(d, "PSETEX k -5 v", "-ERR invalid expire time in 'psetex' command\r\n");
    SAY(d, "SETEX k x v", NOT_INTEGER);
}

static void test_short_forms(void **state)
{
    struct dialogue *d = *state;
    SAY(d, "SETNX k 1", ":1\r\n");
    SAY(d, "SETNX k 2", ":0\r\n");
    SAY(d, "SETEX k 100 3", "+OK\r\n");
    SAY(d, "PTTL k", ":100000\r\n");
    SAY(d, "PSETEX k 100 4", "+OK\r\n");
    SAY(d, "PTTL k", ":100\r\n");
    SAY(d, "GETSET k 5", "$1\r\n4\r\n");
    SAY(d, "TTL k", ":-1\r\n");
    SAY(d, "GETSET other 6", "$-1\r\n");
    SAY(d, "GET other", "$1\r\n6\r\n");
    put_list_item(d, "list");
    SAY(d, "GETSET list 1", WRONG_TYPE);
    SAY(d, "SETNX list 1", ":0\r\n");
}

static void test_mset(void **state)
{
    struct dialogue *d = *state;
    SAY(d, "MSET a 1 b two a 3", "+OK\r\n");
    SAY(d, "MGET a b c", "*3\r\n$1\r\n3\r\n$3\r\ntwo\r\n$-1\r\n");
    SAY(d, "MSETNX c 1 b 2", ":0\r\n");
    SAY(d, "EXISTS c", ":0\r\n");
    SAY(d, "MSETNX c 1 c 2", ":1\r\n");
    SAY(d, "GET c", "$1\r\n2\r\n");
    SAY(d, "MSET a 1 b", "-ERR wrong number of arguments for 'mset' command\r\n");
    SAY(d, "MSETNX a 1 b", "-ERR wrong number of arguments for 'msetnx' command\r\n");
    SAY(d, "SETEX a 10 v", "+OK\r\n");
    SAY(d, "MSET a 1", "+OK\r\n");
    SAY(d, "TTL a", ":-1\r\n");
    d->client->protocol = 3;
    SAY(d, "MGET a nokey", "*2\r\n$1\r\n1\r\n_\r\n");
}

/* More pairs than fit on the stack, and than one prefetch burst takes. */
static void test_mset_of_many(void **state)
{
    struct dialogue *d = *state;
    enum { PAIRS = 300 };
    struct slice words[2 * PAIRS + 1];
    char text[PAIRS][16];
    words[0] = SLICE_LITERAL("MSET");
    for (size_t i = 0; i < PAIRS; i++) {
        snprintf(text[i], sizeof(text[i]), "value:%zu", i);
        words[2 * i + 1] = words[2 * i + 2] = slice_of_string(text[i]);
    }
    struct slice reply = say_words(d, words, 2 * PAIRS + 1);
    assert_memory_equal(reply.data, "+OK\r\n", 5);
    assert_int_equal(shard_key_count(d->shard, 0), PAIRS);
    SAY(d, "GET value:0", "$7\r\nvalue:0\r\n");
    SAY(d, "GET value:299", "$9\r\nvalue:299\r\n");
}

static void test_set_over_blob(void **state)
{
    struct dialogue *d = *state;
    enum { SIZE = 100000 };
    struct blob *blob = shard_create_blob(d->shard, SIZE);
    assert_non_null(blob);
    memset(blob->bytes, 'x', SIZE);
    blob->used_bytes = SIZE;
    const struct slice words[] = {SLICE_LITERAL("SET"), SLICE_LITERAL("k"),
                                  slice_of(blob->bytes, SIZE)};
    struct byte_queue out;
    byte_queue_init(&out);
    struct reply reply = {.out = &out, .pool = &d->pool, .protocol = 2};
    struct call call = {.context = d->context,
                        .shard = d->shard,
                        .now = &d->now,
                        .client = d->client,
                        .argument_count = 3,
                        .arguments = words,
                        .large_value = blob,
                        .large_value_index = 2,
                        .reply = &reply};
    struct key key;
    call.command = command_find(words, 3);
    assert_true(command_first_key(call.command, words, 3, &key));
    call.first_key = &key;
    assert_int_equal(command_run(&call), COMMAND_DONE);
    assert_int_equal(out.size, 5);
    byte_queue_clear(&out, &d->pool);
    assert_ptr_equal(item_blob(find_item(d, "k")), blob);
    blob_release(blob);
    SAY(d, "GETRANGE k 0 2", "$3\r\nxxx\r\n");
    SAY(d, "STRLEN k", ":100000\r\n");
}

/* Flags, CAS value and state bits of memcached are of the value that SET replaces. */
static void test_set_clears_metadata(void **state)
{
    struct dialogue *d = *state;
    put_memcached_item(d, "k", "v", 7, 99, 1);
    SAY(d, "SET k v KEEPTTL", "+OK\r\n");
    const struct item *item = find_item(d, "k");
    assert_int_equal(item_client_flags(item), 0);
    assert_int_equal(item_state(item), 0);
    assert_int_equal(item_cas(item), 0);
}

static void test_a_value_as_long_is_overwritten_in_place(void **state)
{
    struct dialogue *d = *state;
    SAY(d, "SET k abcd", "+OK\r\n");
    SAY(d, "GET k", "$4\r\nabcd\r\n");
    const struct item *item = find_item(d, "k");
    assert_true(item_is_fetched(item));
    SAY(d, "SET k efgh", "+OK\r\n");
    assert_ptr_equal(find_item(d, "k"), item);
    assert_false(item_is_fetched(item));
    SAY(d, "GET k", "$4\r\nefgh\r\n");
    SAY(d, "SET k ijkl XX", "+OK\r\n");
    SAY(d, "SET k mnop NX", "$-1\r\n");
    assert_ptr_equal(find_item(d, "k"), item);
    SAY(d, "GET k", "$4\r\nijkl\r\n");
    SAY(d, "SET k \"\"", "+OK\r\n");
    SAY(d, "SET k \"\"", "+OK\r\n");
    SAY(d, "GET k", "$0\r\n\r\n");
}

static void test_values_that_others_may_read_are_not_overwritten(void **state)
{
    struct dialogue *d = *state;
    SAY(d, "SET k abcd", "+OK\r\n");
    const struct item *item = find_item(d, "k");
    d->context->worker_count = 2;
    SAY(d, "SET k efgh", "+OK\r\n");
    d->context->worker_count = 1;
    assert_ptr_not_equal(find_item(d, "k"), item);
    SAY(d, "GET k", "$4\r\nefgh\r\n");
}

static void test_what_else_changes_takes_a_new_item(void **state)
{
    struct dialogue *d = *state;
    SAY(d, "SET k abcd", "+OK\r\n");
    SAY(d, "SET k 1234", "+OK\r\n");
    assert_int_equal(item_encoding(find_item(d, "k")), ENCODING_INT);
    SAY(d, "SET k abcdefgh", "+OK\r\n");
    assert_int_equal(item_encoding(find_item(d, "k")), ENCODING_RAW);
    SAY(d, "SET k ijklmnop GET", "$8\r\nabcdefgh\r\n");
    SAY(d, "SET k abcdefgh EX 100", "+OK\r\n");
    SAY(d, "TTL k", ":100\r\n");
    SAY(d, "SET k ijklmnop KEEPTTL", "+OK\r\n");
    SAY(d, "TTL k", ":100\r\n");
    SAY(d, "SET k abcdefgh", "+OK\r\n");
    SAY(d, "TTL k", ":-1\r\n");
    SAY(d, "GET k", "$8\r\nabcdefgh\r\n");
    SAY(d, "SETEX k 100 ijklmnop", "+OK\r\n");
    SAY(d, "TTL k", ":100\r\n");
    SAY(d, "GETSET k abcdefgh", "$8\r\nijklmnop\r\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_set_and_get),
        TEST(test_integers_come_back_as_sent),
        TEST(test_conditions),
        TEST(test_get_option),
        TEST(test_times),
        TEST(test_bad_times),
        TEST(test_short_forms),
        TEST(test_mset),
        TEST(test_mset_of_many),
        TEST(test_set_over_blob),
        TEST(test_set_clears_metadata),
        TEST(test_a_value_as_long_is_overwritten_in_place),
        TEST(test_values_that_others_may_read_are_not_overwritten),
        TEST(test_what_else_changes_takes_a_new_item),
    };
    dialogue_setup("string_set_test");
    return cmocka_run_group_tests(tests, NULL, NULL);
}
