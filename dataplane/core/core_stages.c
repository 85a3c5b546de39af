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

/* Of sixteenths of a microsecond: 8 is where the classes begin. */
static uint32_t residence_class(uint64_t sixteenths)
{
    if (sixteenths < 8) {
        return 0;
    }
    uint32_t exponent = 63U - (uint32_t)__builtin_clzll(sixteenths);
    uint32_t quarter = (uint32_t)(sixteenths >> (exponent - 2)) & 3U;
    uint32_t class = 1 + (exponent - 3) * 4 + quarter;
    return class < STAGES_RESIDENCE_CLASSES ? class : STAGES_RESIDENCE_CLASSES - 1;
}

static void count_length(const struct core_stages *stages, struct metrics *metrics, uint64_t length)
{
    uint64_t sixteenths = length * 16 / stages->cycles_per_us;
    metric_add(metrics, stages_length_metric(length_class(sixteenths / 16)), 1);
    metric_add(metrics, stages_residence_metric(residence_class(sixteenths)), stages->requests);
}

static void count_long_pass(const struct core_stages *stages, struct metrics *metrics,
                            uint64_t length)
{
    metric_add(metrics, METRIC_LOOP_LONG_PASSES, 1);
    metric_add(metrics, METRIC_LOOP_LONG_CYCLES, length);
    metric_add(metrics, METRIC_LOOP_LONG_PACKETS, stages->packets);
    metric_add(metrics, METRIC_LOOP_LONG_REQUESTS, stages->requests);
}

static void count_stages(struct core_stages *stages, struct metrics *metrics, enum metric first)
{
    for (uint32_t i = 0; i < STAGE_SLEEP; i++) {
        metric_add(metrics, (enum metric)(first + i), stages->cycles[i]);
        stages->cycles[i] = 0;
    }
}

static void count_timed_pass(struct core_stages *stages, struct metrics *metrics, uint64_t length,
                             bool is_long)
{
    if (is_long) {
        count_stages(stages, metrics, stage_long_cycles_metric(STAGE_RECEIVE));
        return;
    }
    count_stages(stages, metrics, stage_cycles_metric(STAGE_RECEIVE));
    metric_add(metrics, METRIC_LOOP_TIMED_CYCLES, length);
    metric_add(metrics, METRIC_LOOP_TIMED_PACKETS, stages->packets);
    metric_add(metrics, METRIC_LOOP_TIMED_REQUESTS, stages->requests);
}

/* Reads the TSC for the last time in this pass; the last stage ends here. */
static uint64_t end_pass(struct core_stages *stages)
{
    uint64_t now = rte_rdtsc();
    stages->cycles[stages->current] += stages->timed ? now - stages->read : 0;
    stages->read = now;
    return now - stages->began;
}

void core_stages_end(struct core_stages *stages, struct metrics *metrics, bool did_work)
{
    stages->follows_busy_pass = did_work;
    if (!did_work) {
        return;
    }
    uint64_t length = end_pass(stages);
    bool is_long = length > STAGES_LONG_PASS_US * stages->cycles_per_us;
    if (is_long) {
        count_long_pass(stages, metrics, length);
    }
    if (stages->timed) {
        count_timed_pass(stages, metrics, length, is_long);
    }
    count_length(stages, metrics, length);
    metric_add(metrics, METRIC_LOOP_BUSY_CYCLES, length);
    metric_add(metrics, METRIC_LOOP_PACKETS, stages->packets);
    metric_add(metrics, METRIC_LOOP_REQUESTS, stages->requests);
    stages->packets = stages->requests = 0;
}

void core_stages_slept(struct core_stages *stages, struct metrics *metrics, uint64_t began)
{
    metric_add(metrics, METRIC_STAGE_CYCLES_SLEEP, rte_rdtsc() - began);
    stages->follows_busy_pass = false;
}
