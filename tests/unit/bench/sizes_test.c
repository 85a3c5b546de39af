#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>

#include "tests/bench/sizes.h"
#include "tests/bench/workload.h"

static struct sizes sizes;

static void test_single_and_list(void **state)
{
    (void)state;
    assert_true(sizes_parse(&sizes, "64", 1, 1000));
    assert_int_equal(sizes_of(&sizes, 123), 64);
    assert_true(sizes_parse(&sizes, "0", 0, 1000));
    assert_true(sizes_parse(&sizes, "10:3,100-200,7", 1, 1000));
    assert_int_equal(sizes_maximum(&sizes), 200);
    assert_int_equal(sizes_minimum(&sizes), 7);
    uint32_t tens = 0, sevens = 0, ranged = 0;
    for (uint64_t key = 0; key < 50000; key++) {
        uint32_t size = sizes_of(&sizes, workload_key_hash(key));
        assert_int_equal(size, sizes_of(&sizes, workload_key_hash(key)));
        tens += size == 10;
        sevens += size == 7;
        ranged += size >= 100 && size <= 200;
    }
    assert_in_range(tens, 29000, 31000);
    assert_in_range(sevens, 9500, 10500);
    assert_in_range(ranged, 9500, 10500);
}

static void test_refused(void **state)
{
    (void)state;
    static const char *const wrong[] = {
        "",    "x",    "1,",   ",1", "1-",       "5-4",    "1:0", "1:",
        "-1",  "0",    "1001", "1 ", "1,2,1001", "1-1001", "1:x", "99999999999999999999",
        "etc", "1--2", "1:2:3"};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        assert_false(sizes_parse(&sizes, wrong[i], 1, 1000));
    }
    assert_false(sizes_parse(&sizes, "twitter-value", 1, 1000));
}

static double mean_of(const char *name, uint32_t low, uint32_t high)
{
    double sum = 0;
    assert_true(sizes_parse(&sizes, name, 1, 1000000));
    for (uint64_t key = 0; key < 100000; key++) {
        uint32_t size = sizes_of(&sizes, workload_key_hash(key));
        assert_in_range(size, low, high);
        sum += size;
    }
    return sum / 100000;
}

static void test_named(void **state)
{
    (void)state;
    assert_true(fabs(mean_of("etc-key", 20, 70) - 36) < 2);
    assert_true(fabs(mean_of("etc-value", 1, 1000) - 260) < 40);
    assert_true(fabs(mean_of("twitter-value", 15, 67000) - 460) < 60);
    /* (20000 - 15) / ln(20000 / 15) */
    assert_true(fabs(mean_of("twitter-write", 15, 20000) - 2777) < 60);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_single_and_list),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
