/* Cycles per stage: what is counted where, in busy, idle and long passes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "dataplane/core/core_stages.h"

struct fixture {
    struct metrics metrics;
    struct core_stages stages;
};

static int setup(void **state)
{
    static struct fixture fixture;
    fixture = (struct fixture){0};
    /* No EAL here: the frequency of the TSC is unknown until the test says it. */
    core_stages_init(&fixture.stages);
    fixture.stages.cycles_per_us = 1000000000000; /* nothing is long, even when interrupted */
    *state = &fixture;
    return 0;
}

static uint64_t count(const struct fixture *fixture, enum metric metric)
{
    return metric_read(&fixture->metrics, metric);
}

static uint64_t stage_sum(const struct fixture *fixture)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < STAGE_COUNT; i++) {
        sum += count(fixture, stage_cycles_metric((enum stage)i));
    }
    return sum;
}

static void spend(uint64_t cycles)
{
    uint64_t start = rte_rdtsc();
    while (rte_rdtsc() - start < cycles) {
    }
}

static void busy_pass(struct fixture *fixture)
{
    struct core_stages *stages = &fixture->stages;
    core_stages_begin(stages, &fixture->metrics);
    stages->packets = 3;
    core_stages_enter(stages, true, STAGE_TCP_INPUT);
    spend(1000);
    core_stages_enter(stages, true, STAGE_SESSIONS);
    enum stage before = core_stages_enter(stages, true, STAGE_RUN);
    spend(5000);
    stages->requests = 2;
    core_stages_enter(stages, true, before);
    spend(2000);
    core_stages_end(stages, &fixture->metrics, true);
}

static void test_each_stage_gets_its_cycles(void **state)
{
    struct fixture *fixture = *state;
    busy_pass(fixture);
    assert_true(count(fixture, METRIC_STAGE_CYCLES_TCP_INPUT) >= 1000);
    assert_true(count(fixture, METRIC_STAGE_CYCLES_RUN) >= 5000);
    assert_true(count(fixture, METRIC_STAGE_CYCLES_SESSIONS) >= 2000);
    assert_int_equal(count(fixture, METRIC_STAGE_CYCLES_UPKEEP), 0);
    assert_int_equal(count(fixture, METRIC_LOOP_PACKETS), 3);
    assert_int_equal(count(fixture, METRIC_LOOP_REQUESTS), 2);
    assert_int_equal(count(fixture, METRIC_LOOP_LONG_PASSES), 0);
    assert_int_equal(count(fixture, METRIC_LOOP_PASSES_UNDER_1US), 1);
}

/* Every pass counts as a whole, one in STAGES_TIMED_STRIDE by stage. */
static void test_some_passes_are_timed(void **state)
{
    struct fixture *fixture = *state;
    for (uint32_t i = 0; i < 2 * STAGES_TIMED_STRIDE; i++) {
        busy_pass(fixture);
    }
    assert_int_equal(count(fixture, METRIC_LOOP_TIMED_PACKETS), 2 * 3);
    assert_int_equal(count(fixture, METRIC_LOOP_TIMED_REQUESTS), 2 * 2);
    assert_int_equal(count(fixture, METRIC_LOOP_TIMED_CYCLES), stage_sum(fixture));
    assert_true(stage_sum(fixture) >= 2 * 8000);
    assert_int_equal(count(fixture, METRIC_LOOP_PACKETS), 2 * STAGES_TIMED_STRIDE * 3);
    assert_true(count(fixture, METRIC_LOOP_BUSY_CYCLES) >= 2 * STAGES_TIMED_STRIDE * 8000);
}

/* No cycle between two busy passes is lost or counted twice. */
static void test_busy_passes_are_counted_without_gaps(void **state)
{
    struct fixture *fixture = *state;
    for (uint32_t i = 0; i < STAGES_TIMED_STRIDE; i++) {
        busy_pass(fixture);
        spend(3000); /* reading the clock */
    }
    busy_pass(fixture);
    core_stages_begin(&fixture->stages, &fixture->metrics);
    assert_int_equal(count(fixture, METRIC_LOOP_CYCLES), count(fixture, METRIC_LOOP_BUSY_CYCLES));
    assert_int_equal(count(fixture, METRIC_LOOP_TIMED_CYCLES), stage_sum(fixture));
    assert_true(count(fixture, METRIC_STAGE_CYCLES_RECEIVE) >= 3000);
}

static void test_idle_pass_charges_nobody(void **state)
{
    struct fixture *fixture = *state;
    for (int i = 0; i < 2; i++) {
        core_stages_begin(&fixture->stages, &fixture->metrics);
        core_stages_enter(&fixture->stages, false, STAGE_SOCKET_INPUT);
        spend(1000);
        core_stages_end(&fixture->stages, &fixture->metrics, false);
    }
    assert_int_equal(stage_sum(fixture), 0);
    assert_true(count(fixture, METRIC_LOOP_CYCLES) >= 1000);
    /* A sleep is neither idle nor busy. */
    core_stages_slept(&fixture->stages, &fixture->metrics, rte_rdtsc() - 7000);
    assert_true(count(fixture, METRIC_STAGE_CYCLES_SLEEP) >= 7000);
    assert_int_equal(stage_sum(fixture), count(fixture, METRIC_STAGE_CYCLES_SLEEP));
}

/* What a pass did before it found work belongs to the stage that found it. */
static void test_search_is_charged_to_the_finder(void **state)
{
    struct fixture *fixture = *state;
    core_stages_begin(&fixture->stages, &fixture->metrics);
    spend(1000);
    core_stages_enter(&fixture->stages, false, STAGE_MESSAGES);
    core_stages_enter(&fixture->stages, true, STAGE_UPKEEP);
    core_stages_end(&fixture->stages, &fixture->metrics, true);
    assert_int_equal(count(fixture, METRIC_STAGE_CYCLES_RECEIVE), 0);
    assert_true(count(fixture, METRIC_STAGE_CYCLES_MESSAGES) >= 1000);
}

static void test_long_pass_is_counted_apart(void **state)
{
    struct fixture *fixture = *state;
    fixture->stages.cycles_per_us = 100; /* 50 us are 5000 cycles */
    busy_pass(fixture);
    assert_int_equal(count(fixture, METRIC_LOOP_LONG_PASSES), 1);
    assert_int_equal(count(fixture, METRIC_LOOP_LONG_PACKETS), 3);
    assert_int_equal(count(fixture, METRIC_LOOP_LONG_REQUESTS), 2);
    assert_true(count(fixture, METRIC_LOOP_LONG_CYCLES) >= 8000);
    assert_true(count(fixture, METRIC_STAGE_LONG_CYCLES_RUN) >= 5000);
    assert_int_equal(stage_sum(fixture), 0);
    assert_int_equal(count(fixture, METRIC_LOOP_TIMED_PACKETS), 0);
    assert_int_equal(count(fixture, METRIC_LOOP_PASSES_UNDER_32US), 0);
    fixture->stages.cycles_per_us = 1;
    fixture->stages.began = 0;
    fixture->stages.read = 0;
    core_stages_end(&fixture->stages, &fixture->metrics, true); /* as long as the machine runs */
    assert_int_equal(count(fixture, METRIC_LOOP_PASSES_LONGEST), 1);
}

/* What is not in the TSC's hands: a pass of a length that was chosen. */
static void pass_of(struct fixture *fixture, double us, uint64_t requests)
{
    struct core_stages *stages = &fixture->stages;
    stages->cycles_per_us = 1000000000; /* so coarse that reading the clock does not matter */
    core_stages_begin(stages, &fixture->metrics);
    stages->began -= (uint64_t)(us * 1e9);
    stages->requests = requests;
    core_stages_end(stages, &fixture->metrics, true);
}

static void test_residence_counts_requests_by_the_length_of_their_pass(void **state)
{
    struct fixture *fixture = *state;
    fixture->stages.timed = false;
    pass_of(fixture, 0.45, 1);
    pass_of(fixture, 0.51, 2);
    pass_of(fixture, 0.99, 4);
    pass_of(fixture, 1.1, 8);
    pass_of(fixture, 13.9, 16);
    pass_of(fixture, 1000, 32);
    pass_of(fixture, 1030, 64);
    pass_of(fixture, 900000, 128);
    assert_int_equal(count(fixture, METRIC_LOOP_RESIDENCE_UNDER_500NS), 1);
    assert_int_equal(count(fixture, METRIC_LOOP_RESIDENCE_UNDER_625NS), 2);
    assert_int_equal(count(fixture, METRIC_LOOP_RESIDENCE_UNDER_1000NS), 4);
    assert_int_equal(count(fixture, METRIC_LOOP_RESIDENCE_UNDER_1250NS), 8);
    assert_int_equal(count(fixture, METRIC_LOOP_RESIDENCE_UNDER_14000NS), 16);
    assert_int_equal(count(fixture, METRIC_LOOP_RESIDENCE_UNDER_1024000NS), 32);
    assert_int_equal(count(fixture, METRIC_LOOP_RESIDENCE_LONGEST), 64 + 128);
}

static void test_rows(void **state)
{
    for (uint32_t i = 0; i < STAGE_COUNT; i++) {
        enum metric all = stage_cycles_metric((enum stage)i);
        enum metric of_long = stage_long_cycles_metric((enum stage)i);
        assert_string_equal(metric_descriptions[all].name + sizeof("stage_cycles_") - 1,
                            stage_names[i]);
        assert_string_equal(metric_descriptions[of_long].name + sizeof("stage_long_cycles_") - 1,
                            stage_names[i]);
    }
    assert_int_equal(stages_length_metric(3), METRIC_LOOP_PASSES_UNDER_8US);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_each_stage_gets_its_cycles, setup),
        cmocka_unit_test_setup(test_some_passes_are_timed, setup),
        cmocka_unit_test_setup(test_busy_passes_are_counted_without_gaps, setup),
        cmocka_unit_test_setup(test_idle_pass_charges_nobody, setup),
        cmocka_unit_test_setup(test_search_is_charged_to_the_finder, setup),
        cmocka_unit_test_setup(test_long_pass_is_counted_apart, setup),
        cmocka_unit_test_setup(test_residence_counts_requests_by_the_length_of_their_pass, setup),
        cmocka_unit_test(test_rows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
