/* APPEND SETRANGE, INCR DECR INCRBY DECRBY INCRBYFLOAT. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tests/unit/l7_command/string_dialogue.h"

#define NOT_INTEGER "-ERR value is not an integer or out of range\r\n"
#define NOT_FLOAT   "-ERR value is not a valid float\r\n"
#define OVERFLOWS   "-ERR increment or decrement would overflow\r\n"
#define TOO_LONG    "-ERR string exceeds maximum allowed size (proto-max-bulk-len)\r\n"
#define WRONG_TYPE  "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n"

static void test_append(void **state)
{
    struct dialogue *d = *state;
    SAY(d, "APPEND k 12", ":2\r\n");
    assert_int_equal(item_encoding(find_item(d, "k")), ENCODING_INT);
    SAY(d, "APPEND k 34", ":4\r\n");
    assert_int_equal(item_encoding(find_item(d, "k")), ENCODING_RAW);
    SAY(d, "GET k", "$4\r\n1234\r\n");
    SAY(d, "INCR k", ":1235\r\n");
    SAY(d, "APPEND k \"\"", ":4\r\n");
    SAY(d, "GET k", "$4\r\n1235\r\n");
    SAY(d, "EXPIRE k 10", ":1\r\n");
    SAY(d, "APPEND k x", ":5\r\n");
    SAY(d, "TTL k", ":10\r\n");
    put_list_item(d, "list");
    SAY(d, "APPEND list x", WRONG_TYPE);
}

/* Over the border between values in the item and values in a blob, and on in the blob. */
static void test_append_grows_large(void **state)
{
    struct dialogue *d = *state;
    enum { PIECE = 1000, PIECES = 60 };
    char piece[PIECE], expected[32];
    for (size_t i = 0; i < PIECES; i++) {
        memset(piece, 'a' + (int)(i % 26), PIECE);
        const struct slice words[] = {SLICE_LITERAL("APPEND"), SLICE_LITERAL("k"),
                                      slice_of(piece, PIECE)};
        struct slice reply = say_words(d, words, 3);
        snprintf(expected, sizeof(expected), ":%zu\r\n", (i + 1) * PIECE);
        assert_true(slice_equal(reply, slice_of_string(expected)));
    }
    uint8_t scratch[NUMBER_TEXT_BYTES_MAX];
    struct slice value = item_value(find_item(d, "k"), scratch);
    for (size_t i = 0; i < PIECES * PIECE; i++) {
        assert_int_equal(value.data[i], 'a' + (int)(i / PIECE % 26));
    }
}

/* Two items over one blob: what is appended through one must not show in the other. */
static void test_append_to_a_copy(void **state)
{
    struct dialogue *d = *state;
    SAY(d, "SETRANGE a 19999 x", ":20000\r\n");
    SAY(d, "APPEND a 1", ":20001\r\n");
    SAY(d, "COPY a b", ":1\r\n");
    SAY(d, "APPEND a 2", ":20002\r\n");
    SAY(d, "APPEND b 3", ":20002\r\n");
    SAY(d, "GETRANGE a -3 -1", "$3\r\nx12\r\n");
    SAY(d, "GETRANGE b -3 -1", "$3\r\nx13\r\n");
}

static void test_setrange(void **state)
{
    struct dialogue *d = *state;
    SAY(d, "SETRANGE k 3 abc", ":6\r\n");
    SAY(d, "GET k", "$6\r\n\0\0\0abc\r\n");
    SAY(d, "SETRANGE k 0 xyz", ":6\r\n");
    SAY(d, "GET k", "$6\r\nxyzabc\r\n");
    SAY(d, "SETRANGE k 5 12", ":7\r\n");
    SAY(d, "GET k", "$7\r\nxyzab12\r\n");
    SAY(d, "SETRANGE k 9 z", ":10\r\n");
    SAY(d, "GET k", "$10\r\nxyzab12\0\0z\r\n");
    SAY(d, "SETRANGE k 100 \"\"", ":10\r\n");
    SAY(d, "SETRANGE nokey 100 \"\"", ":0\r\n");
    SAY(d, "EXISTS nokey", ":0\r\n");
    SAY(d, "SET k 12345", "+OK\r\n");
    SAY(d, "SETRANGE k 1 x", ":5\r\n");
    SAY(d, "GET k", "$5\r\n1x345\r\n");
    SAY(d, "SETRANGE k -1 x", "-ERR offset is out of range\r\n");
    SAY(d, "SETRANGE k x x", NOT_INTEGER);
    SAY(d, "SETRANGE k 536870912 x", TOO_LONG);
    SAY(d, "SETRANGE k 9223372036854775807 x", TOO_LONG);
    SAY(d, "SETRANGE k 536870912 \"\"", ":5\r\n");
    put_list_item(d, "list");
    SAY(d, "SETRANGE list x y", NOT_INTEGER);
    SAY(d, "SETRANGE list 0 \"\"", WRONG_TYPE);
}

static void test_setrange_in_a_large_value(void **state)
{
    struct dialogue *d = *state;
    SAY(d, "SETRANGE a 19999 x", ":20000\r\n");
    SAY(d, "COPY a b", ":1\r\n");
    SAY(d, "SETRANGE a 10000 middle", ":20000\r\n");
    SAY(d, "GETRANGE a 9999 10006", "$8\r\n\0middle\0\r\n");
    SAY(d, "GETRANGE b 9999 10006", "$8\r\n\0\0\0\0\0\0\0\0\r\n");
    SAY(d, "SETRANGE a 20002 y", ":20003\r\n");
    SAY(d, "GETRANGE a -4 -1", "$4\r\nx\0\0y\r\n");
    SAY(d, "STRLEN b", ":20000\r\n");
}

static void test_counters(void **state)
{
    struct dialogue *d = *state;
    SAY(d, "INCR k", ":1\r\n");
    SAY(d, "DECRBY k 3", ":-2\r\n");
    SAY(d, "INCRBY k -9223372036854775806", ":-9223372036854775808\r\n");
    SAY(d, "DECR k", OVERFLOWS);
    SAY(d, "GET k", "$20\r\n-9223372036854775808\r\n");
    SAY(d, "SET k 9223372036854775806", "+OK\r\n");
    SAY(d, "INCR k", ":9223372036854775807\r\n");
    SAY(d, "INCR k", OVERFLOWS);
    SAY(d, "INCRBY k 9223372036854775808", NOT_INTEGER);
    SAY(d, "DECRBY k -9223372036854775808", "-ERR decrement would overflow\r\n");
    SAY(d, "DECRBY k -1", OVERFLOWS);
    SAY(d, "SET k 1.5", "+OK\r\n");
    SAY(d, "INCR k", NOT_INTEGER);
    SAY(d, "SET k \"\"", "+OK\r\n");
    SAY(d, "INCR k", NOT_INTEGER);
    SAY(d, "SET k 99999999999999999999", "+OK\r\n");
    SAY(d, "INCR k", NOT_INTEGER);
    SAY(d, "SET k 5 EX 10", "+OK\r\n");
    SAY(d, "INCR k", ":6\r\n");
    SAY(d, "TTL k", ":10\r\n");
    put_list_item(d, "list");
    SAY(d, "INCR list", WRONG_TYPE);
    SAY(d, "INCRBY list x", NOT_INTEGER);
}

static void test_float_counters(void **state)
{
    struct dialogue *d = *state;
    SAY(d, "SET k 10.50", "+OK\r\n");
    SAY(d, "INCRBYFLOAT k 0.1", "$4\r\n10.6\r\n");
    SAY(d, "INCRBYFLOAT k -5", "$3\r\n5.6\r\n");
    SAY(d, "SET k 5.0e3", "+OK\r\n");
    SAY(d, "INCRBYFLOAT k 2.0e2", "$4\r\n5200\r\n");
    SAY(d, "STRLEN k", ":4\r\n");
    assert_int_equal(item_encoding(find_item(d, "k")), ENCODING_RAW);
    SAY(d, "INCR k", ":5201\r\n");
    SAY(d, "INCRBYFLOAT new 3", "$1\r\n3\r\n");
    SAY(d, "INCRBYFLOAT new -3", "$1\r\n0\r\n");
    SAY(d, "INCRBYFLOAT new -0.0", "$1\r\n0\r\n");
    SAY(d, "INCRBYFLOAT new x", NOT_FLOAT);
    SAY(d, "INCRBYFLOAT new nan", NOT_FLOAT);
    SAY(d, "INCRBYFLOAT new \"\"", NOT_FLOAT);
    SAY(d, "INCRBYFLOAT new inf", "-ERR increment would produce NaN or Infinity\r\n");
    SAY(d, "SET k text", "+OK\r\n");
    SAY(d, "INCRBYFLOAT k 1", NOT_FLOAT);
    put_list_item(d, "list");
    SAY(d, "INCRBYFLOAT list x", WRONG_TYPE);
    d->client->protocol = 3; /* a bulk string there too */
    SAY(d, "INCRBYFLOAT new 1.25", "$4\r\n1.25\r\n");
}

/* The result of one call must be readable by the next, however many digits it has. */
static void test_float_counter_reads_its_own_text(void **state)
{
    struct dialogue *d = *state;
    const struct slice words[] = {SLICE_LITERAL("INCRBYFLOAT"), SLICE_LITERAL("k"),
                                  SLICE_LITERAL("1e4900")};
    for (int i = 0; i < 2; i++) {
        struct slice reply = say_words(d, words, 3);
        assert_memory_equal(reply.data, "$4901\r\n", 7);
    }
}

static void test_changes_keep_flags_and_drop_cas(void **state)
{
    struct dialogue *d = *state;
    static const char *const changes[] = {"APPEND k 1", "INCR k", "INCRBYFLOAT k 1",
                                          "SETRANGE k 0 5"};
    for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
        put_memcached_item(d, "k", "1", 7, 99, 0);
        struct slice words[4];
        uint32_t count = 0;
        char text[32];
        snprintf(text, sizeof(text), "%s", changes[i]);
        for (char *word = strtok(text, " "); word != NULL; word = strtok(NULL, " ")) {
            words[count++] = slice_of_string(word);
        }
        struct slice reply = say_words(d, words, count);
        assert_int_not_equal(reply.data[0], '-');
        const struct item *item = find_item(d, "k");
        assert_int_equal(item_client_flags(item), 7);
        assert_int_equal(item_cas(item), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_append),
        TEST(test_append_grows_large),
        TEST(test_append_to_a_copy),
        TEST(test_setrange),
        TEST(test_setrange_in_a_large_value),
        TEST(test_counters),
        TEST(test_float_counters),
        TEST(test_float_counter_reads_its_own_text),
        TEST(test_changes_keep_flags_and_drop_cas),
    };
    dialogue_setup("string_change_test");
    return cmocka_run_group_tests(tests, NULL, NULL);
}
