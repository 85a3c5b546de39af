#include "dataplane/base/metrics.h"

const struct metric_description metric_descriptions[METRIC_COUNT] = {
#define METRIC(identifier, name, help) [METRIC_##identifier] = {name, help},
#include "dataplane/base/metrics.def"
#undef METRIC
};
