/* Requests as a capture file, for packet generators that are not ours. docs/packet-generators.md
 * says which of them takes which file.
 *
 * UDP: one frame for each request, nothing else. TCP: one connection, with the replies of a server
 * that has every key; the values are those that the file, or nicached-bench --preload, writes.
 *
 * Thread: one. Failure: of the file, and of a session that would be too long: one line.
 */
#ifndef NICACHED_TESTS_BENCH_TEMPLATES_H
#define NICACHED_TESTS_BENCH_TEMPLATES_H

#include "config/config.h"
#include "tests/bench/options.h"
#include "tests/bench/workload.h"

/* 0, or -1 with the reason. What the file holds, and where a generator may change it, goes to
 * `out`. */
int templates_write(const struct options *options, struct workload *workload, FILE *out,
                    struct config_error *error);

#endif
