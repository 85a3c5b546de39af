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

/* What the stages of timed passes of ordinary length add up to. */
struct timed {
    uint64_t cycles, packets, requests;
};

static void print_stage(struct text *text, const struct call *call, enum stage stage,
                        const struct timed *all)
{
    uint64_t cycles = sum_of(call, stage_cycles_metric(stage));
    text_print(text, "stage_%s:share=%.4f,cycles_per_packet=%.1f,cycles_per_request=%.1f\r\n",
               stage_names[stage], ratio(cycles, all->cycles), ratio(cycles, all->packets),
               ratio(cycles, all->requests));
}

static void print_loop(struct text *text, const struct call *call)
{
    uint64_t total = sum_of(call, METRIC_LOOP_CYCLES), busy = sum_of(call, METRIC_LOOP_BUSY_CYCLES);
    uint64_t asleep = sum_of(call, METRIC_STAGE_CYCLES_SLEEP);
    uint64_t ordinary = difference(busy, sum_of(call, METRIC_LOOP_LONG_CYCLES));
    uint64_t packets =
        difference(sum_of(call, METRIC_LOOP_PACKETS), sum_of(call, METRIC_LOOP_LONG_PACKETS));
    uint64_t requests =
        difference(sum_of(call, METRIC_LOOP_REQUESTS), sum_of(call, METRIC_LOOP_LONG_REQUESTS));
    text_print(text,
               "tsc_hz:%" PRIu64 "\r\ncycles_total:%" PRIu64 "\r\ncycles_busy:%" PRIu64
               "\r\ncycles_asleep:%" PRIu64 "\r\ncycles_idle:%" PRIu64
               "\r\nbusy_cycle_ratio:%.4f\r\n",
               rte_get_tsc_hz(), total, busy, asleep, difference(total, busy + asleep),
               ratio(busy, total));
    text_print(text, "cycles_per_packet:%.1f\r\ncycles_per_request:%.1f\r\n",
               ratio(ordinary, packets), ratio(ordinary, requests));
}

void info_print_stages(struct text *text, const struct call *call)
{
    struct timed timed = {.cycles = sum_of(call, METRIC_LOOP_TIMED_CYCLES),
                          .packets = sum_of(call, METRIC_LOOP_TIMED_PACKETS),
                          .requests = sum_of(call, METRIC_LOOP_TIMED_REQUESTS)};
    print_loop(text, call);
    for (uint32_t i = 0; i < STAGE_SLEEP; i++) {
        print_stage(text, call, (enum stage)i, &timed);
    }
    info_print_area(text, call, METRIC_AREA_STAGES);
}
