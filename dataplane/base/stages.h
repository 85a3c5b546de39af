/* The stages of a worker's pass, as rows of stages.def. Each has two counters among the metrics
 * (metrics_stage.def): the cycles of ordinary passes, and of long ones. Core counts them
 * (core_stages.h); INFO stages shows them.
 */
#ifndef NICACHED_BASE_STAGES_H
#define NICACHED_BASE_STAGES_H

#include "dataplane/base/metrics.h"

enum stage {
#define STAGE(identifier, name, help) STAGE_##identifier,
#include "dataplane/base/stages.def"
#undef STAGE
    STAGE_COUNT,
};

/* A pass longer than this was interrupted, or had very much to do: it says little about what a
 * request costs, and is counted apart. */
#define STAGES_LONG_PASS_US 50U

/* Busy passes by length: class i holds those under 2^i microseconds that no earlier class holds,
 * the last one all the rest. */
#define STAGES_LENGTH_CLASSES 16U

/* Requests by the length of the pass that took them: from a burst taken to the replies handed over,
 * a request stays in the worker about that long. Four classes to each doubling: class 0 holds those
 * under 0.5 us, class i those under 2^(e-1) + (m+1) * 2^(e-3) us, e = (i-1) / 4, m = (i-1) % 4, and
 * the last one those from 1024 us on. */
#define STAGES_RESIDENCE_CLASSES 46U

extern const char *const stage_names[STAGE_COUNT];

static inline enum metric stage_cycles_metric(enum stage stage)
{
    return (enum metric)((uint32_t)METRIC_STAGE_CYCLES_RECEIVE + (uint32_t)stage);
}

static inline enum metric stage_long_cycles_metric(enum stage stage)
{
    return (enum metric)((uint32_t)METRIC_STAGE_LONG_CYCLES_RECEIVE + (uint32_t)stage);
}

static inline enum metric stages_length_metric(uint32_t class)
{
    return (enum metric)((uint32_t)METRIC_LOOP_PASSES_UNDER_1US + class);
}

static inline enum metric stages_residence_metric(uint32_t class)
{
    return (enum metric)((uint32_t)METRIC_LOOP_RESIDENCE_UNDER_500NS + class);
}

#endif
