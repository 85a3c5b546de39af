#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>

#include "tests/bench/chance.h"
#include "tests/bench/histogram.h"

static struct histogram histogram;

/* Every value's bucket stands for it within one percent; buckets are in order. */
static void test_relative_error(void **state)
{
    (void)state;
    uint32_t last = 0;
    for (uint64_t value = 0; value < HISTOGRAM_VALUE_MAX; value += 1 + value / 1000) {
        uint32_t bucket = histogram_bucket_of(value);
        assert_true(bucket >= last && bucket < HISTOGRAM_BUCKET_COUNT);
        double middle = (double)histogram_bucket_middle(bucket);
        assert_true(fabs(middle - (double)value) <= 0.0041 * (double)value);
        last = bucket;
    }
    assert_int_equal(histogram_bucket_of(HISTOGRAM_VALUE_MAX), HISTOGRAM_BUCKET_COUNT - 1);
    assert_int_equal(histogram_bucket_of(UINT64_MAX), HISTOGRAM_BUCKET_COUNT - 1);
}

static void test_empty(void **state)
{
    (void)state;
    histogram_init(&histogram);
    assert_int_equal(histogram_quantile(&histogram, 0.5), 0);
    assert_true(histogram_mean(&histogram) == 0);
}

/* 1 .. 1000000: the quantiles are known. */
static void test_quantiles(void **state)
{
    (void)state;
    static const double quantiles[] = {0, 0.001, 0.25, 0.5, 0.9, 0.99, 0.999, 0.9999, 0.99999};
    histogram_init(&histogram);
    for (uint64_t i = 1; i <= 1000000; i++) {
        histogram_add(&histogram, i);
    }
    for (size_t i = 0; i < sizeof(quantiles) / sizeof(quantiles[0]); i++) {
        double expected = fmax(1, quantiles[i] * 1e6);
        double got = (double)histogram_quantile(&histogram, quantiles[i]);
        assert_true(fabs(got - expected) <= 0.01 * expected);
    }
    assert_int_equal(histogram_quantile(&histogram, 1), 1000000);
    assert_int_equal(histogram.minimum, 1);
    assert_true(fabs(histogram_mean(&histogram) - 500000.5) < 0.01);
}

/* One value far out is the maximum, exactly, and no other quantile. */
static void test_outlier(void **state)
{
    (void)state;
    histogram_init(&histogram);
    for (uint32_t i = 0; i < 999; i++) {
        histogram_add(&histogram, 1000);
    }
    histogram_add(&histogram, 123456789);
    assert_in_range(histogram_quantile(&histogram, 0.999), 996, 1004);
    assert_int_equal(histogram_quantile(&histogram, 0.9999), 123456789);
    assert_int_equal(histogram.maximum, 123456789);
}

static void test_merge(void **state)
{
    (void)state;
    static struct histogram parts[2], whole;
    uint64_t random = 42;
    histogram_init(&parts[0]);
    histogram_init(&parts[1]);
    histogram_init(&whole);
    for (uint32_t i = 0; i < 10000; i++) {
        uint64_t value = random_next(&random) >> (20 + i % 40);
        histogram_add(&parts[i % 2], value);
        histogram_add(&whole, value);
    }
    histogram_merge(&parts[0], &parts[1]);
    parts[0].sum = whole.sum; /* added in another order */
    assert_memory_equal(&parts[0], &whole, sizeof(whole));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_relative_error), cmocka_unit_test(test_empty),
        cmocka_unit_test(test_quantiles),      cmocka_unit_test(test_outlier),
        cmocka_unit_test(test_merge),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
