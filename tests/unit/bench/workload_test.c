#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/bench/value.h"
#include "tests/bench/workload.h"

static struct workload workload;

static void start(enum reply_protocol protocol, const char *key_size, const char *value_size)
{
    workload = (struct workload){
        .protocol = protocol, .key_count = 1000, .keys_a_get = 3, .weights = {90, 10, 0}};
    assert_true(sizes_parse(&workload.key_sizes, key_size, 1, WORKLOAD_KEY_BYTES_MAX));
    assert_true(sizes_parse(&workload.value_sizes, value_size, 0, 1000000));
    assert_true(workload_init(&workload, 11));
}

static void expect_text(struct slice got, const char *expected)
{
    assert_int_equal(got.size, strlen(expected));
    assert_memory_equal(got.data, expected, got.size);
}

static void test_requests(void **state)
{
    (void)state;
    static const uint64_t keys[] = {7, 42};
    start(REPLY_RESP, "16", "2");
    expect_text(workload_compose_get(&workload, keys, 1),
                "*2\r\n$3\r\nGET\r\n$16\r\nkey:000000000007\r\n");
    expect_text(workload_compose_get(&workload, keys, 2),
                "*3\r\n$4\r\nMGET\r\n$16\r\nkey:000000000007\r\n$16\r\nkey:000000000042\r\n");
    struct slice set = workload_compose_set(&workload, 7, 1);
    char expected[] = "*3\r\n$3\r\nSET\r\n$16\r\nkey:000000000007\r\n$2\r\n..\r\n";
    value_compose(workload_key_hash(7), 1, (uint8_t *)strchr(expected, '.'), 2);
    assert_int_equal(set.size, sizeof(expected) - 1);
    assert_memory_equal(set.data, expected, set.size);
    workload_deinit(&workload);

    start(REPLY_MEMCACHE, "6", "2");
    expect_text(workload_compose_get(&workload, keys, 2), "get 000007 000042\r\n");
    workload.ttl_low_s = workload.ttl_high_s = 60;
    set = workload_compose_set(&workload, 42, 1);
    expect_text(slice_of(set.data, 19), "set 000042 0 60 2\r\n");
    assert_int_equal(set.size, 19 + 2 + 2);
    workload_deinit(&workload);
}

static void test_keys_are_distinct(void **state)
{
    (void)state;
    static const char *const sizes[] = {"3", "4-8", "20-70", "250"};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        static uint8_t texts[1000][WORKLOAD_KEY_BYTES_MAX + 1];
        start(REPLY_RESP, sizes[i], "2");
        for (uint64_t key = 0; key < 1000; key++) {
            uint32_t size = workload_compose_key(&workload, key, texts[key]);
            assert_in_range(size, 3, 250);
            texts[key][size] = 0;
            for (uint64_t other = 0; other < key; other++) {
                assert_string_not_equal((char *)texts[key], (char *)texts[other]);
            }
        }
        workload_deinit(&workload);
    }
    start(REPLY_RESP, "3", "2");
    workload.key_count = 1000;
    assert_false(workload_keys_fit(&workload)); /* 1000 itself stands for one more digit */
    workload.key_count = 999;
    assert_true(workload_keys_fit(&workload));
    workload_deinit(&workload);
}

static void test_mix(void **state)
{
    (void)state;
    uint32_t seen[REQUEST_KIND_COUNT] = {0}, beyond = 0;
    start(REPLY_RESP, "16", "2");
    workload.one_hit_percent = 20;
    for (uint32_t i = 0; i < 100000; i++) {
        seen[workload_draw_kind(&workload)]++;
        assert_true(workload_draw_key(&workload) < 1000);
        beyond += workload_draw_write_key(&workload) >= 1000;
    }
    assert_in_range(seen[REQUEST_GET], 89000, 91000);
    assert_in_range(seen[REQUEST_SET], 9000, 11000);
    assert_int_equal(seen[REQUEST_PING], 0);
    assert_in_range(beyond, 19000, 21000);
    assert_int_equal(workload.one_hit_next, 1000 + beyond); /* each of them once */
    workload_deinit(&workload);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_requests),
        cmocka_unit_test(test_keys_are_distinct),
        cmocka_unit_test(test_mix),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
