/* Where a pass spends its cycles, stage by stage (base/stages.def), for INFO stages.
 *
 *   core_stages_begin     a pass begins
 *   core_enter_stage      from here on the cycles are that stage's; returns the one before, so that
 *                         a stage inside another (the batch, run while parsing) can give it back
 *   core_stages_end       the pass is over: its figures go into the metrics
 *
 * Reading the TSC takes about 25 cycles. It is read at each boundary in one of STAGES_TIMED_STRIDE
 * passes only, and only once work was found: what a pass spent on looking before that is charged to
 * the stage that finds it. Other busy passes read it at their end, passes without work at their
 * begin. A busy pass begins where the busy pass before it ended, so reading the clock between them
 * counts too.
 *
 * These are statistics: nothing that a pass does depends on them, and core_pass stays a function of
 * packets, messages and time.
 *
 * Thread: the worker.
 */
#ifndef NICACHED_CORE_CORE_STAGES_H
#define NICACHED_CORE_CORE_STAGES_H

#include <rte_cycles.h>
#include <stdbool.h>

#include "dataplane/base/stages.h"

#define STAGES_TIMED_STRIDE 7U /* odd: no rhythm of two or four passes hides one kind of them */

struct core_stages {
    bool timed;       /* this pass's stages are */
    uint32_t untimed; /* passes until the next that is */
    enum stage current;
    bool follows_busy_pass; /* `read` is where that one ended */
    uint64_t began, read;   /* TSC: of this pass's begin, of the last look */
    uint64_t accounted;     /* TSC: METRIC_LOOP_CYCLES goes up to here */
    uint64_t packets, requests;
    uint64_t cycles[STAGE_COUNT]; /* of this pass, when timed; all zero between passes */
    uint64_t cycles_per_us;
};

void core_stages_init(struct core_stages *stages);
void core_stages_end(struct core_stages *stages, struct metrics *metrics, bool did_work);
/* Around a sleep between passes. */
void core_stages_slept(struct core_stages *stages, struct metrics *metrics, uint64_t began);

static inline void core_stages_begin(struct core_stages *stages, struct metrics *metrics)
{
    if (!stages->follows_busy_pass) {
        stages->read = rte_rdtsc();
    }
    stages->began = stages->read;
    stages->current = STAGE_RECEIVE;
    stages->timed = stages->untimed == 0;
    stages->untimed = stages->timed ? STAGES_TIMED_STRIDE - 1 : stages->untimed - 1;
    if (stages->accounted != 0) {
        metric_add(metrics, METRIC_LOOP_CYCLES, stages->began - stages->accounted);
    }
    stages->accounted = stages->began;
}

static inline enum stage core_stages_enter(struct core_stages *stages, bool did_work,
                                           enum stage stage)
{
    enum stage before = stages->current;
    if (stages->timed && did_work) {
        uint64_t now = rte_rdtsc();
        stages->cycles[before] += now - stages->read;
        stages->read = now;
    }
    stages->current = stage;
    return before;
}

#endif
