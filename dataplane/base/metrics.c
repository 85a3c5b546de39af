/* The tables of counters as data: for INFO, and for docs/metrics.md. */
#include "dataplane/base/metrics.h"

#include <string.h>

const struct metric_description metric_descriptions[METRIC_COUNT] = {
#define METRIC(identifier, name, help) [METRIC_##identifier] = {name, help, false},
#define GAUGE(identifier, name, help)  [METRIC_##identifier] = {name, help, true},
#include "dataplane/base/metrics.def"
#undef METRIC
#undef GAUGE
};

/* Rows of each file. */
#define METRIC(identifier, name, help) +1
#define GAUGE(identifier, name, help)  +1
enum {
    NET_COUNT = 0
#include "dataplane/base/metrics_net.def"
    ,
    LOOP_COUNT = 0
#include "dataplane/base/metrics_session.def"
    ,
    REQUESTS_COUNT = 0
#include "dataplane/base/metrics_command.def"
    ,
    STORE_COUNT = 0
#include "dataplane/base/metrics_store.def"
    ,
    STAGES_COUNT = 0
#include "dataplane/base/metrics_stage.def"
    ,
    LOOP_FIRST = NET_COUNT,
    REQUESTS_FIRST = LOOP_FIRST + LOOP_COUNT,
    STORE_FIRST = REQUESTS_FIRST + REQUESTS_COUNT,
    STAGES_FIRST = STORE_FIRST + STORE_COUNT,
};
#undef METRIC
#undef GAUGE
_Static_assert(STAGES_FIRST + STAGES_COUNT == METRIC_COUNT, "every row belongs to an area");

const struct metric_area metric_areas[METRIC_AREA_COUNT] = {
    [METRIC_AREA_NET] = {"net", "Network", "metrics_net.def", 0, NET_COUNT},
    [METRIC_AREA_LOOP] = {"loop", "Sessions and the loop", "metrics_session.def", LOOP_FIRST,
                          LOOP_COUNT},
    [METRIC_AREA_REQUESTS] = {"requests", "Requests", "metrics_command.def", REQUESTS_FIRST,
                              REQUESTS_COUNT},
    [METRIC_AREA_STORE] = {"store", "Store", "metrics_store.def", STORE_FIRST, STORE_COUNT},
    [METRIC_AREA_STAGES] = {"stages", "Stages of the loop", "metrics_stage.def", STAGES_FIRST,
                            STAGES_COUNT},
};

bool metric_is_drop(enum metric metric)
{
    return strncmp(metric_descriptions[metric].name, "net_drop_", 9) == 0;
}

static const char *kind_of(enum metric metric)
{
    return metric_descriptions[metric].is_gauge ? "gauge"
           : metric_is_drop(metric)             ? "drop reason"
                                                : "counter";
}

static void print_area(FILE *to, const struct metric_area *area)
{
    fprintf(to, "\n## %s\n\n`INFO %s`, from `dataplane/base/%s`.\n\n", area->title, area->name,
            area->file);
    fputs("| name | kind | meaning |\n|---|---|---|\n", to);
    for (uint32_t i = 0; i < area->count; i++) {
        enum metric metric = (enum metric)(area->first + i);
        fprintf(to, "| `%s` | %s | %s |\n", metric_descriptions[metric].name, kind_of(metric),
                metric_descriptions[metric].help);
    }
}

void metrics_print_reference(FILE *to)
{
    fputs("# Metrics\n\n"
          "Made from `dataplane/base/metrics_*.def` (`nicached --print-reference metrics`); change "
          "the tables,\nnot this page.\n\n"
          "Every worker counts for itself; INFO shows the sums. Counters grow from the start on, "
          "and INFO\nshows them since the last CONFIG RESETSTAT; a *gauge* is a state and goes up "
          "and down. A\n*drop reason* counts packets that were thrown away: there is no other way "
          "for one to vanish.\n",
          to);
    for (uint32_t i = 0; i < METRIC_AREA_COUNT; i++) {
        print_area(to, &metric_areas[i]);
    }
}
