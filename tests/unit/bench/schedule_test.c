#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>

#include "tests/bench/schedule.h"

static void test_constant(void **state)
{
    (void)state;
    struct schedule schedule;
    schedule_init(&schedule, 1000, 3e6, false, 1);
    assert_int_equal(schedule_next_ns(&schedule), 1000);
    for (uint32_t i = 0; i < 3000000; i++) {
        schedule_advance(&schedule);
    }
    /* No drift: after 3 M requests at 3 M/s exactly a second is over. */
    assert_in_range(schedule_next_ns(&schedule), 1000001000 - 1, 1000001000 + 1);
}

/* Mean and standard deviation of exponential gaps are the interval. */
static void test_poisson(void **state)
{
    (void)state;
    struct schedule schedule;
    double sum = 0, squares = 0;
    const uint32_t count = 200000;
    schedule_init(&schedule, 0, 100000, true, 5);
    uint64_t last = 0;
    for (uint32_t i = 0; i < count; i++) {
        schedule_advance(&schedule);
        uint64_t next = schedule_next_ns(&schedule);
        assert_true(next >= last);
        double gap = (double)(next - last);
        sum += gap;
        squares += gap * gap;
        last = next;
    }
    double mean = sum / count, deviation = sqrt(squares / count - mean * mean);
    assert_true(fabs(mean - 10000) < 100);
    assert_true(fabs(deviation - 10000) < 200);
}

/* Whoever advances late is not forgiven: the times do not depend on the caller's clock. */
static void test_same_seed_same_times(void **state)
{
    (void)state;
    struct schedule a, b;
    schedule_init(&a, 0, 1000, true, 77);
    schedule_init(&b, 500, 1000, true, 77);
    for (uint32_t i = 0; i < 1000; i++) {
        assert_int_equal(schedule_next_ns(&a) + 500, schedule_next_ns(&b));
        schedule_advance(&a);
        schedule_advance(&b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_constant),
        cmocka_unit_test(test_poisson),
        cmocka_unit_test(test_same_seed_same_times),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
