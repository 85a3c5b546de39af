/* DEL UNLINK EXISTS TOUCH TYPE RANDOMKEY, KEYS and SCAN, OBJECT. */
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
#define BAD_CURSOR  "-ERR invalid cursor\r\n"

static void test_del_and_exists(void **state)
{
    struct dialogue *d = *state;
    SAY(d, "MSET a 1 b 2 c 3", "+OK\r\n");
    SAY(d, "EXISTS a b a nokey", ":3\r\n");
    SAY(d, "TOUCH a nokey", ":1\r\n");
    SAY(d, "DEL a a nokey", ":1\r\n");
    SAY(d, "UNLINK b c", ":2\r\n");
    SAY(d, "EXISTS a b c", ":0\r\n");
    SAY(d, "SET a 1 PX 5", "+OK\r\n");
    pass_time(d, 6);
    SAY(d, "DEL a", ":0\r\n");
    SAY(d, "DEL", "-ERR wrong number of arguments for 'del' command\r\n");
}

/* More keys than one prefetch burst takes. */
static void test_many_keys(void **state)
{
    struct dialogue *d = *state;
    enum { KEYS = 100 };
    char text[KEYS][8];
    struct slice words[KEYS + 1];
    for (size_t i = 0; i < KEYS; i++) {
        snprintf(text[i], sizeof(text[i]), "k%zu", i);
        words[i + 1] = slice_of_string(text[i]);
        struct slice set[] = {SLICE_LITERAL("SET"), words[i + 1], SLICE_LITERAL("v")};
        say_words(d, set, 3);
    }
    words[0] = SLICE_LITERAL("DEL");
    struct slice reply = say_words(d, words, KEYS + 1);
    assert_true(slice_equal(reply, SLICE_LITERAL(":100\r\n")));
}

static void test_type(void **state)
{
    struct dialogue *d = *state;
    SAY(d, "TYPE k", "+none\r\n");
    SAY(d, "SET k 1", "+OK\r\n");
    SAY(d, "TYPE k", "+string\r\n");
    put_list_item(d, "k");
    SAY(d, "TYPE k", "+list\r\n");
}

static void test_randomkey(void **state)
{
    struct dialogue *d = *state;
    SAY(d, "RANDOMKEY", "$-1\r\n");
    SAY(d, "SET k 1", "+OK\r\n");
    SAY(d, "RANDOMKEY", "$1\r\nk\r\n");
    SAY(d, "SELECT 1", "+OK\r\n");
    SAY(d, "RANDOMKEY", "$-1\r\n");
    d->client->protocol = 3;
    SAY(d, "RANDOMKEY", "_\r\n");
}

static void test_keys(void **state)
{
    struct dialogue *d = *state;
    SAY(d, "KEYS *", "*0\r\n");
    SAY(d, "MSET one 1 two 2", "+OK\r\n");
    SAY(d, "KEYS o*", "*1\r\n$3\r\none\r\n");
    SAY(d, "KEYS t?[o-p]", "*1\r\n$3\r\ntwo\r\n");
    SAY(d, "KEYS O*", "*0\r\n");
    SAY(d, "PEXPIRE one 5", ":1\r\n");
    pass_time(d, 6);
    SAY(d, "KEYS *", "*1\r\n$3\r\ntwo\r\n");
}

static void test_scan(void **state)
{
    struct dialogue *d = *state;
    SAY(d, "SCAN 0", "*2\r\n$1\r\n0\r\n*0\r\n");
    SAY(d, "SET k v", "+OK\r\n");
    SAY(d, "SCAN 0 COUNT 1000", "*2\r\n$1\r\n0\r\n*1\r\n$1\r\nk\r\n");
    SAY(d, "SCAN 0 count 1000 match k*", "*2\r\n$1\r\n0\r\n*1\r\n$1\r\nk\r\n");
    SAY(d, "SCAN 0 COUNT 1000 MATCH x*", "*2\r\n$1\r\n0\r\n*0\r\n");
    SAY(d, "SCAN 0 COUNT 1000 TYPE StRing", "*2\r\n$1\r\n0\r\n*1\r\n$1\r\nk\r\n");
    SAY(d, "SCAN 0 COUNT 1000 TYPE hash", "*2\r\n$1\r\n0\r\n*0\r\n");
    SAY(d, "SCAN 0 COUNT 1000 TYPE \"\"", "*2\r\n$1\r\n0\r\n*0\r\n");
    SAY(d, "SCAN 0 COUNT 9223372036854775807", "*2\r\n$1\r\n0\r\n*1\r\n$1\r\nk\r\n");
    SAY(d, "SCAN \"\" COUNT 1000", "*2\r\n$1\r\n0\r\n*1\r\n$1\r\nk\r\n");
    SAY(d, "PEXPIRE k 5", ":1\r\n");
    pass_time(d, 6);
    SAY(d, "SCAN 0 COUNT 1000", "*2\r\n$1\r\n0\r\n*0\r\n");
}

static void test_scan_errors(void **state)
{
    struct dialogue *d = *state;
    SAY(d, "SCAN x", BAD_CURSOR);
    SAY(d, "SCAN 1x", BAD_CURSOR);
    SAY(d, "SCAN -", BAD_CURSOR);
    const struct slice words[] = {SLICE_LITERAL("SCAN"), SLICE_LITERAL(" 1")};
    assert_true(slice_equal(say_words(d, words, 2), SLICE_LITERAL(BAD_CURSOR)));
    SAY(d, "SCAN 18446744073709551616", BAD_CURSOR);
    SAY(d, "SCAN x COUNT 0", BAD_CURSOR);
    SAY(d, "SCAN 0 COUNT 0", SYNTAX);
    SAY(d, "SCAN 0 COUNT -1", SYNTAX);
    SAY(d, "SCAN 0 COUNT x", NOT_INTEGER);
    SAY(d, "SCAN 0 COUNT", SYNTAX);
    SAY(d, "SCAN 0 MATCH", SYNTAX);
    SAY(d, "SCAN 0 bogus 1", SYNTAX);
}

/* Every key, in small steps, by the cursors that the replies give. */
static void test_scan_walk(void **state)
{
    struct dialogue *d = *state;
    enum { KEYS = 500 };
    bool seen[KEYS] = {false};
    for (size_t i = 0; i < KEYS; i++) {
        char request[32];
        snprintf(request, sizeof(request), "SET key:%zu v", i);
        SAY(d, request, "+OK\r\n");
    }
    char cursor[32] = "0";
    size_t calls = 0;
    do {
        struct slice scan[] = {SLICE_LITERAL("SCAN"), slice_of_string(cursor),
                               SLICE_LITERAL("COUNT"), SLICE_LITERAL("7")};
        struct slice reply = say_words(d, scan, 4);
        char *text = calloc(1, reply.size + 1);
        assert_non_null(text);
        memcpy(text, reply.data, reply.size);
        assert_int_equal(sscanf(text, "*2\r\n$%*u\r\n%31s", cursor), 1);
        for (char *at = strstr(text, "key:"); at != NULL; at = strstr(at + 4, "key:")) {
            seen[strtoul(at + 4, NULL, 10)] = true;
        }
        free(text);
        assert_true(++calls < 10000);
    } while (strcmp(cursor, "0") != 0);
    for (size_t i = 0; i < KEYS; i++) {
        assert_true(seen[i]);
    }
    assert_true(calls > 10);
}

/* A cursor is the peer's: whatever it is, an answer comes. */
static void test_scan_any_cursor(void **state)
{
    struct dialogue *d = *state;
    static const char *const cursors[] = {
        "1", "7", "-1", "18446744073709551615", "+99999", "00", "9223372036854775808"};
    SAY(d, "MSET a 1 b 2 c 3", "+OK\r\n");
    for (size_t i = 0; i < sizeof(cursors) / sizeof(cursors[0]); i++) {
        struct slice scan[] = {SLICE_LITERAL("SCAN"), slice_of_string(cursors[i])};
        struct slice reply = say_words(d, scan, 2);
        assert_memory_equal(reply.data, "*2\r\n", 4);
    }
}

static void test_object(void **state)
{
    struct dialogue *d = *state;
    SAY(d, "OBJECT ENCODING k", "$-1\r\n");
    SAY(d, "SET k 123", "+OK\r\n");
    SAY(d, "OBJECT ENCODING k", "$3\r\nint\r\n");
    SAY(d, "OBJECT refcount k", ":2147483647\r\n");
    SAY(d, "SET k 10000", "+OK\r\n");
    SAY(d, "OBJECT REFCOUNT k", ":1\r\n");
    SAY(d, "SET k 12345678901234567890123456789012345678901234", "+OK\r\n");
    SAY(d, "OBJECT ENCODING k", "$6\r\nembstr\r\n");
    SAY(d, "APPEND k x", ":45\r\n");
    SAY(d, "OBJECT ENCODING k", "$3\r\nraw\r\n");
    SAY(d, "OBJECT IDLETIME k", ":0\r\n");
    SAY(d, "OBJECT FREQ k",
        "-ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note "
        "that when switching between policies at runtime LRU and LFU data will take some time to "
        "adjust.\r\n");
    SAY(d, "OBJECT FREQ nokey", "$-1\r\n");
    SAY(d, "OBJECT bogus k", "-ERR unknown subcommand 'bogus'. Try OBJECT HELP.\r\n");
    SAY(d, "OBJECT ENCODING", "-ERR wrong number of arguments for 'object|encoding' command\r\n");
    d->client->protocol = 3;
    SAY(d, "OBJECT IDLETIME nokey", "_\r\n");
}

#define ADJUST                                                                                     \
    "Please note that when switching between policies at runtime LRU and LFU data will take some " \
    "time to adjust.\r\n"

/* As the loop does at the start of a pass, with a minute more each time. */
static void use_policy(struct dialogue *d, enum maxmemory_policy policy)
{
    struct eviction_policy to;
    d->config->maxmemory_policy = (int)policy;
    d->now.mono_us += 229ULL << ACCESS_TICK_SHIFT;
    eviction_policy_set(&to, d->config, &d->now);
    shard_set_policy(d->shard, &to);
}

/* Which commands use a key, and which only ask about it. */
static void test_object_idletime(void **state)
{
    static const char *const asking[] = {
        "EXISTS k", "TYPE k", "TTL k", "EXPIRETIME k", "OBJECT ENCODING k", "OBJECT IDLETIME k"};
    static const char *const using[] = {"GET k",   "MGET k",     "STRLEN k",      "TOUCH k",
                                        "SET k 2", "APPEND k x", "EXPIRE k 10000"};
    struct dialogue *d = *state;
    use_policy(d, MAXMEMORY_NOEVICTION);
    SAY(d, "SET k 1", "+OK\r\n");
    use_policy(d, MAXMEMORY_ALLKEYS_LRU);
    for (size_t i = 0; i < sizeof(asking) / sizeof(asking[0]); i++) {
        dialogue_expect_part(d, asking[i], "");
        SAY(d, "OBJECT IDLETIME k", ":60\r\n");
    }
    for (size_t i = 0; i < sizeof(using) / sizeof(using[0]); i++) {
        dialogue_expect_part(d, using[i], "");
        SAY(d, "OBJECT IDLETIME k", ":0\r\n");
        use_policy(d, MAXMEMORY_VOLATILE_TTL);
        d->client->no_touch = true;
        dialogue_expect_part(d, "GET k", "");
        d->client->no_touch = false;
        dialogue_expect_part(d, "OBJECT IDLETIME k", ":");
        assert_string_not_equal(d->reply, ":0\r\n");
    }
}

static void test_object_freq(void **state)
{
    struct dialogue *d = *state;
    d->config->lfu_log_factor = 0;
    use_policy(d, MAXMEMORY_ALLKEYS_LFU);
    SAY(d, "SET k 1", "+OK\r\n");
    SAY(d, "OBJECT FREQ k", ":5\r\n");
    SAY(d, "GET k", "$1\r\n1\r\n");
    SAY(d, "SET k 2", "+OK\r\n");
    SAY(d, "OBJECT FREQ k", ":7\r\n");
    SAY(d, "RENAME k l", "+OK\r\n");
    SAY(d, "OBJECT FREQ l", ":7\r\n");
    use_policy(d, MAXMEMORY_VOLATILE_LFU); /* a minute later */
    SAY(d, "OBJECT FREQ l", ":6\r\n");
    SAY(d, "OBJECT IDLETIME l",
        "-ERR An LFU maxmemory policy is selected, idle time not tracked. " ADJUST);
    use_policy(d, MAXMEMORY_ALLKEYS_S3FIFO);
    SAY(d, "OBJECT IDLETIME l",
        "-ERR An S3-FIFO maxmemory policy is selected, idle time not tracked. " ADJUST);
    SAY(d, "OBJECT FREQ l",
        "-ERR An LFU maxmemory policy is not selected, access frequency not tracked. " ADJUST);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_del_and_exists),
        TEST(test_many_keys),
        TEST(test_type),
        TEST(test_randomkey),
        TEST(test_keys),
        TEST(test_scan),
        TEST(test_scan_errors),
        TEST(test_scan_walk),
        TEST(test_scan_any_cursor),
        TEST(test_object),
        TEST(test_object_idletime),
        TEST(test_object_freq),
    };
    dialogue_setup("generic_keys_test");
    return cmocka_run_group_tests(tests, NULL, NULL);
}
