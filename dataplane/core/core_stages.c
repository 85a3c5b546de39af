/* Cycles per stage: a pass's figures go into the worker's metrics. core_stages.h has the rules. */
#include "dataplane/core/core_stages.h"

void core_stages_init(struct core_stages *stages)
{
    uint64_t per_us = rte_get_tsc_hz() / 1000000U;
    *stages = (struct core_stages){.cycles_per_us = per_us != 0 ? per_us : 1};
}

static uint32_t length_class(uint64_t us)
{
    uint32_t class = us == 0 ? 0 : 64U - (uint32_t)__builtin_clzll(us);
    return class < STAGES_LENGTH_CLASSES ? class : STAGES_LENGTH_CLASSES - 1;
}

static void count_long_pass(const struct core_stages *stages, struct metrics *metrics)
{
    metric_add(metrics, METRIC_LOOP_LONG_PASSES, 1);
    metric_add(metrics, METRIC_LOOP_LONG_PACKETS, stages->packets);
    metric_add(metrics, METRIC_LOOP_LONG_REQUESTS, stages->requests);
    for (uint32_t i = 0; i < STAGE_SLEEP; i++) {
        metric_add(metrics, stage_long_cycles_metric((enum stage)i), stages->cycles[i]);
    }
}

void core_stages_end(struct core_stages *stages, struct metrics *metrics, bool did_work)
{
    stages->follows_busy_pass = did_work;
    if (!did_work) {
        return;
    }
    core_stages_enter(stages, true, STAGE_RECEIVE);
    uint64_t length = stages->read - stages->began;
    if (length > STAGES_LONG_PASS_US * stages->cycles_per_us) {
        count_long_pass(stages, metrics);
    }
    metric_add(metrics, stages_length_metric(length_class(length / stages->cycles_per_us)), 1);
    metric_add(metrics, METRIC_LOOP_PACKETS, stages->packets);
    metric_add(metrics, METRIC_LOOP_REQUESTS, stages->requests);
    stages->packets = stages->requests = 0;
    for (uint32_t i = 0; i < STAGE_SLEEP; i++) {
        metric_add(metrics, stage_cycles_metric((enum stage)i), stages->cycles[i]);
        stages->cycles[i] = 0;
    }
}

void core_stages_slept(struct core_stages *stages, struct metrics *metrics, uint64_t began)
{
    metric_add(metrics, METRIC_STAGE_CYCLES_SLEEP, rte_rdtsc() - began);
    stages->follows_busy_pass = false;
}
