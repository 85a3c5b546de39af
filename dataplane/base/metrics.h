/* Counters. One row each in a .def table: the row is the name, the variable and the documentation.
 *
 * Every worker has its own block, written by it alone with relaxed stores; anybody may sum them.
 */
#ifndef NICACHED_BASE_METRICS_H
#define NICACHED_BASE_METRICS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

enum metric {
#define METRIC(identifier, name, help) METRIC_##identifier,
#define GAUGE(identifier, name, help)  METRIC_##identifier,
#include "dataplane/base/metrics.def"
#undef METRIC
#undef GAUGE
    METRIC_COUNT,
};

struct metrics {
    _Alignas(64) uint64_t values[METRIC_COUNT];
};

struct metric_description {
    const char *name, *help;
    bool is_gauge; /* a state that goes up and down: CONFIG RESETSTAT does not touch it */
};
extern const struct metric_description metric_descriptions[METRIC_COUNT];

/* One .def file: a section of INFO, and of docs/metrics.md. Its rows stand together in the enum. */
enum metric_area_index {
    METRIC_AREA_NET,
    METRIC_AREA_LOOP,
    METRIC_AREA_REQUESTS,
    METRIC_AREA_STORE,
    METRIC_AREA_STAGES,
    METRIC_AREA_COUNT,
};
struct metric_area {
    const char *name, *title, *file;
    uint32_t first, count;
};
extern const struct metric_area metric_areas[METRIC_AREA_COUNT];

/* Counts packets that were thrown away. */
bool metric_is_drop(enum metric metric);

/* docs/metrics.md, from the tables. */
void metrics_print_reference(FILE *to);

/* Owner only. A relaxed atomic store: no fence, no lock prefix, and no torn read for the others. */
static inline void metric_add(struct metrics *metrics, enum metric metric, uint64_t amount)
{
    __atomic_store_n(&metrics->values[metric], metrics->values[metric] + amount, __ATOMIC_RELAXED);
}

static inline void metric_subtract(struct metrics *metrics, enum metric metric, uint64_t amount)
{
    metric_add(metrics, metric, 0U - amount);
}

static inline void metric_set(struct metrics *metrics, enum metric metric, uint64_t value)
{
    __atomic_store_n(&metrics->values[metric], value, __ATOMIC_RELAXED);
}

static inline uint64_t metric_read(const struct metrics *metrics, enum metric metric)
{
    return __atomic_load_n(&metrics->values[metric], __ATOMIC_RELAXED);
}

#endif
