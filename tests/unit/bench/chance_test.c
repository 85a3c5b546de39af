#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>

#include "tests/bench/chance.h"

#define DRAWS 400000

/* The first ranks come up as often as the law says, and all of the range is reached. */
static void check_zipf(uint64_t count, double theta)
{
    struct zipf zipf;
    uint64_t random = 7;
    static uint32_t seen[1000];
    for (uint32_t i = 0; i < 1000; i++) {
        seen[i] = 0;
    }
    zipf_init(&zipf, count, theta);
    for (uint32_t i = 0; i < DRAWS; i++) {
        uint64_t rank = zipf_draw(&zipf, &random);
        assert_true(rank < count);
        if (rank < 1000) {
            seen[rank]++;
        }
    }
    double sum = 0;
    for (uint64_t i = 1; i <= count; i++) {
        sum += pow((double)i, -theta);
    }
    for (uint32_t rank = 0; rank < 10 && rank < count; rank++) {
        double expected = pow(rank + 1.0, -theta) / sum * DRAWS;
        assert_true(fabs(seen[rank] - expected) < 5 * sqrt(expected) + 1);
    }
}

static void test_zipf(void **state)
{
    (void)state;
    static const double thetas[] = {0.2, 0.5, 0.99, 1, 1.2, 2};
    for (size_t i = 0; i < sizeof(thetas) / sizeof(thetas[0]); i++) {
        check_zipf(1, thetas[i]);
        check_zipf(2, thetas[i]);
        check_zipf(1000, thetas[i]);
        check_zipf(1000000, thetas[i]);
    }
}

/* Small thetas are nearly uniform: the last tenth of the keys gets its share. */
static void test_zipf_tail(void **state)
{
    (void)state;
    struct zipf zipf;
    uint64_t random = 9, tail = 0;
    zipf_init(&zipf, 1000000, 0.01);
    for (uint32_t i = 0; i < DRAWS; i++) {
        tail += zipf_draw(&zipf, &random) >= 900000;
    }
    assert_true(fabs((double)tail / DRAWS - 0.1) < 0.005);
}

static void test_below(void **state)
{
    (void)state;
    uint64_t random = 3, seen[7] = {0};
    for (uint32_t i = 0; i < 70000; i++) {
        seen[chance_below(&random, 7)]++;
    }
    for (uint32_t i = 0; i < 7; i++) {
        assert_in_range(seen[i], 9500, 10500);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_zipf),
        cmocka_unit_test(test_zipf_tail),
        cmocka_unit_test(test_below),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
