/* INFO stages: where the workers' cycles go, worked out, and then the counters as they are.
 * docs/operations.md says how to read it. */
#include <rte_cycles.h>

#include "dataplane/base/stages.h"
#include "dataplane/l7_command/info_internal.h"

static uint64_t sum_of(const struct call *call, enum metric metric)
{
    return statistics_metric(call->context, metric);
}

static double ratio(uint64_t part, uint64_t whole)
{
    return whole == 0 ? 0.0 : (double)part / (double)whole;
}

/* The counters of a running worker are read one after the other: a part may be a little ahead. */
static uint64_t difference(uint64_t whole, uint64_t part)
{
    return whole > part ? whole - part : 0;
}

/* Cycles of the passes of ordinary length, and what they handled. */
struct ordinary {
    uint64_t cycles, packets, requests;
};

static uint64_t ordinary_cycles(const struct call *call, enum stage stage)
{
    uint64_t long_cycles = sum_of(call, stage_long_cycles_metric(stage));
    return difference(sum_of(call, stage_cycles_metric(stage)), long_cycles);
}

static void print_stage(struct text *text, const struct call *call, enum stage stage,
                        const struct ordinary *total)
{
    uint64_t cycles = ordinary_cycles(call, stage);
    text_print(text,
               "stage_%s:cycles=%" PRIu64 ",share=%.4f,cycles_per_packet=%.1f,"
               "cycles_per_request=%.1f\r\n",
               stage_names[stage], sum_of(call, stage_cycles_metric(stage)),
               ratio(cycles, total->cycles), ratio(cycles, total->packets),
               ratio(cycles, total->requests));
}

static uint64_t busy_cycles(const struct call *call)
{
    uint64_t cycles = 0;
    for (uint32_t i = 0; i < STAGE_SLEEP; i++) {
        cycles += sum_of(call, stage_cycles_metric((enum stage)i));
    }
    return cycles;
}

static struct ordinary sum_ordinary(const struct call *call)
{
    struct ordinary sum = {
        .packets =
            difference(sum_of(call, METRIC_LOOP_PACKETS), sum_of(call, METRIC_LOOP_LONG_PACKETS)),
        .requests =
            difference(sum_of(call, METRIC_LOOP_REQUESTS), sum_of(call, METRIC_LOOP_LONG_REQUESTS)),
    };
    for (uint32_t i = 0; i < STAGE_SLEEP; i++) {
        sum.cycles += ordinary_cycles(call, (enum stage)i);
    }
    return sum;
}

void info_print_stages(struct text *text, const struct call *call)
{
    struct ordinary ordinary = sum_ordinary(call);
    uint64_t total = sum_of(call, METRIC_LOOP_CYCLES), busy = busy_cycles(call);
    uint64_t asleep = sum_of(call, METRIC_STAGE_CYCLES_SLEEP);
    text_print(text,
               "tsc_hz:%" PRIu64 "\r\ncycles_total:%" PRIu64 "\r\ncycles_busy:%" PRIu64
               "\r\ncycles_asleep:%" PRIu64 "\r\ncycles_idle:%" PRIu64
               "\r\nbusy_cycle_ratio:%.4f\r\n",
               rte_get_tsc_hz(), total, busy, asleep, difference(total, busy + asleep),
               ratio(busy, total));
    text_print(text,
               "cycles_of_long_passes:%" PRIu64
               "\r\ncycles_per_packet:%.1f\r\ncycles_per_request:%.1f\r\n",
               difference(busy, ordinary.cycles), ratio(ordinary.cycles, ordinary.packets),
               ratio(ordinary.cycles, ordinary.requests));
    for (uint32_t i = 0; i < STAGE_SLEEP; i++) {
        print_stage(text, call, (enum stage)i, &ordinary);
    }
    info_print_area(text, call, METRIC_AREA_STAGES);
}
