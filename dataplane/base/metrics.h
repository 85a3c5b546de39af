/* Counters. One row each in a .def table: the row is the name, the variable and the documentation.
 *
 * Every worker has its own block, written by it alone with relaxed stores; anybody may sum them.
 */
#ifndef NICACHED_BASE_METRICS_H
#define NICACHED_BASE_METRICS_H

#include <stdint.h>

enum metric {
#define METRIC(identifier, name, help) METRIC_##identifier,
#include "dataplane/base/metrics.def"
#undef METRIC
    METRIC_COUNT,
};

struct metrics {
    _Alignas(64) uint64_t values[METRIC_COUNT];
};

struct metric_description {
    const char *name, *help;
};
extern const struct metric_description metric_descriptions[METRIC_COUNT];

/* Owner only. A relaxed atomic store: no fence, no lock prefix, and no torn read for the others. */
static inline void metric_add(struct metrics *metrics, enum metric metric, uint64_t amount)
{
    __atomic_store_n(&metrics->values[metric], metrics->values[metric] + amount, __ATOMIC_RELAXED);
}

static inline void metric_subtract(struct metrics *metrics, enum metric metric, uint64_t amount)
{
    metric_add(metrics, metric, 0U - amount);
}

static inline uint64_t metric_read(const struct metrics *metrics, enum metric metric)
{
    return __atomic_load_n(&metrics->values[metric], __ATOMIC_RELAXED);
}

#endif
