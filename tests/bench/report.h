/* What was measured, as text, as JSON, and as a picture. */
#ifndef NICACHED_TESTS_BENCH_REPORT_H
#define NICACHED_TESTS_BENCH_REPORT_H

#include <stdio.h>

#include "tests/bench/load.h"
#include "tests/bench/options.h"

#define REPORT_QUANTILES 9U
extern const double report_quantiles[REPORT_QUANTILES];

double report_rate(const struct load_result *result);
uint64_t report_fault_count(const struct load_result *result);

void report_text(FILE *to, const struct options *options, const struct bench_test *test,
                 const struct load_result *result);
/* One line, as redis-benchmark -q. */
void report_line(FILE *to, const struct bench_test *test, const struct load_result *result);
/* begin, the tests, end: one document. */
void report_json_begin(FILE *to, const struct options *options);
void report_json_test(FILE *to, bool first, const struct bench_test *test,
                      const struct load_result *result);
void report_json_end(FILE *to);

/* ---- plot.c: an SVG with one curve for each test, latency over percentile, both logarithmic ----
 */

struct plot;
struct plot *plot_create(void);
void plot_add(struct plot *plot, const char *name, const struct histogram *histogram);
int plot_write(const struct plot *plot, const char *path); /* 0 or -errno */
void plot_destroy(struct plot *plot);

#endif
