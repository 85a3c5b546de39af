/* EXPIRE and its relatives, TTL and its relatives, PERSIST. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/l7_command/string_dialogue.h"

#define NOT_INTEGER "-ERR value is not an integer or out of range\r\n"

static void test_lifetime(void **state)
{
    struct dialogue *d = *state;
    SAY(d, "EXPIRE k 10", ":0\r\n");
    SAY(d, "TTL k", ":-2\r\n");
    SAY(d, "PTTL k", ":-2\r\n");
    SAY(d, "EXPIRETIME k", ":-2\r\n");
    SAY(d, "SET k v", "+OK\r\n");
    SAY(d, "TTL k", ":-1\r\n");
    SAY(d, "PEXPIRETIME k", ":-1\r\n");
    SAY(d, "EXPIRE k 10", ":1\r\n");
    SAY(d, "PTTL k", ":10000\r\n");
    SAY(d, "EXPIRETIME k", ":1700000010\r\n");
    SAY(d, "PEXPIRETIME k", ":1700000010000\r\n");
    pass_time(d, 500);
    SAY(d, "TTL k", ":10\r\n"); /* rounded half up */
    pass_time(d, 1);
    SAY(d, "TTL k", ":9\r\n");
    pass_time(d, 9499);
    SAY(d, "GET k", "$1\r\nv\r\n");
    SAY(d, "PTTL k", ":0\r\n");
    pass_time(d, 1);
    SAY(d, "GET k", "$-1\r\n");
    assert_int_equal(metric_read(&d->metrics, METRIC_STORE_EXPIRED_KEYS), 1);
}

static void test_forms(void **state)
{
    struct dialogue *d = *state;
    SAY(d, "SET k v", "+OK\r\n");
    SAY(d, "PEXPIRE k 1234", ":1\r\n");
    SAY(d, "PTTL k", ":1234\r\n");
    SAY(d, "EXPIREAT k 1700000100", ":1\r\n");
    SAY(d, "PTTL k", ":100000\r\n");
    SAY(d, "PEXPIREAT k 1700000000499", ":1\r\n");
    SAY(d, "EXPIRETIME k", ":1700000000\r\n");
    SAY(d, "PEXPIREAT k 1700000000500", ":1\r\n");
    SAY(d, "EXPIRETIME k", ":1700000001\r\n");
    SAY(d, "PERSIST k", ":1\r\n");
    SAY(d, "PERSIST k", ":0\r\n");
    SAY(d, "PERSIST nokey", ":0\r\n");
    SAY(d, "TTL k", ":-1\r\n");
}

static void test_the_past_deletes(void **state)
{
    struct dialogue *d = *state;
    static const char *const ways[] = {"EXPIRE k 0",
                                       "EXPIRE k -1",
                                       "PEXPIRE k -5",
                                       "EXPIREAT k 1",
                                       "PEXPIREAT k 1700000000000",
                                       "PEXPIREAT k -9223372036854775808"};
    for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
        SAY(d, "SET k v", "+OK\r\n");
        SAY(d, ways[i], ":1\r\n");
        assert_int_equal(shard_key_count(d->shard, 0), 0);
    }
}

static void test_conditions(void **state)
{
    struct dialogue *d = *state;
    SAY(d, "SET k v", "+OK\r\n");
    SAY(d, "EXPIRE k 10 XX", ":0\r\n");
    SAY(d, "EXPIRE k 10 GT", ":0\r\n"); /* never is later than any time */
    SAY(d, "EXPIRE k 100 nx", ":1\r\n");
    SAY(d, "EXPIRE k 10 NX", ":0\r\n");
    SAY(d, "EXPIRE k 100 GT", ":0\r\n");
    SAY(d, "EXPIRE k 101 GT", ":1\r\n");
    SAY(d, "EXPIRE k 101 LT", ":0\r\n");
    SAY(d, "EXPIRE k 50 LT XX", ":1\r\n");
    SAY(d, "PTTL k", ":50000\r\n");
    SAY(d, "EXPIRE k -1 GT", ":0\r\n");
    SAY(d, "PERSIST k", ":1\r\n");
    SAY(d, "EXPIRE k 50 LT", ":1\r\n");
    SAY(d, "EXPIRE k -1 LT", ":1\r\n");
    SAY(d, "EXISTS k", ":0\r\n");
}

static void test_errors(void **state)
{
    struct dialogue *d = *state;
    SAY(d, "EXPIRE k x", NOT_INTEGER);
    SAY(d, "EXPIRE k x bogus", "-ERR Unsupported option bogus\r\n");
    SAY(d, "EXPIRE k 1 NX XX",
        "-ERR NX and XX, GT or LT options at the same time are not compatible\r\n");
    SAY(d, "EXPIRE k 1 GT NX",
        "-ERR NX and XX, GT or LT options at the same time are not compatible\r\n");
    SAY(d, "EXPIRE k 1 GT LT", "-ERR GT and LT options at the same time are not compatible\r\n");
    SAY(d, "EXPIRE k 9223372036854776", "-ERR invalid expire time in 'expire' command\r\n");
    SAY(d, "EXPIRE k 9223372036854775", "-ERR invalid expire time in 'expire' command\r\n");
    SAY(d, "EXPIRE k -9223372036854776", "-ERR invalid expire time in 'expire' command\r\n");
    SAY(d, "PEXPIRE k 9223372036854775807", "-ERR invalid expire time in 'pexpire' command\r\n");
    SAY(d, "EXPIREAT k 9223372036854776", "-ERR invalid expire time in 'expireat' command\r\n");
    SAY(d, "PEXPIREAT k 9223372036854775807", ":0\r\n");
    SAY(d, "TTL", "-ERR wrong number of arguments for 'ttl' command\r\n");
}

static void test_metadata_stays(void **state)
{
    struct dialogue *d = *state;
    put_memcached_item(d, "k", "v", 7, 99, 1);
    SAY(d, "EXPIRE k 10", ":1\r\n");
    SAY(d, "PERSIST k", ":1\r\n");
    SAY(d, "PEXPIREAT k 9000000000000", ":1\r\n");
    const struct item *item = find_item(d, "k");
    assert_int_equal(item_client_flags(item), 7);
    assert_int_equal(item_state(item), 1);
    assert_int_equal(item_cas(item), 99);
    assert_int_equal(item_expire_at_ms(item), 9000000000000U);
}

static void test_a_large_value_is_shared(void **state)
{
    struct dialogue *d = *state;
    SAY(d, "SETRANGE k 20000 x", ":20001\r\n");
    const struct blob *blob = item_blob(find_item(d, "k"));
    SAY(d, "EXPIRE k 10", ":1\r\n");
    assert_ptr_equal(item_blob(find_item(d, "k")), blob);
    SAY(d, "PERSIST k", ":1\r\n");
    assert_ptr_equal(item_blob(find_item(d, "k")), blob);
    SAY(d, "GETRANGE k -2 -1", "$2\r\n\0x\r\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_lifetime),
        TEST(test_forms),
        TEST(test_the_past_deletes),
        TEST(test_conditions),
        TEST(test_errors),
        TEST(test_metadata_stays),
        TEST(test_a_large_value_is_shared),
    };
    dialogue_setup("generic_expire_test");
    return cmocka_run_group_tests(tests, NULL, NULL);
}
