/* The command line of nicached-bench. */
#ifndef NICACHED_TESTS_BENCH_OPTIONS_H
#define NICACHED_TESTS_BENCH_OPTIONS_H

#include "config/config.h"
#include "tests/bench/template_frame.h"
#include "tests/bench/workload.h"

#define OPTIONS_TESTS_MAX 8U

/* One measurement. */
struct bench_test {
    char name[32];
    uint32_t weights[REQUEST_KIND_COUNT];
    uint32_t keys_a_get;
};

struct options {
    const char *host;
    struct endpoint peer;
    enum reply_protocol protocol;
    bool datagrams;
    bool has_interface;
    struct interface_config interface;
    enum hugepages_mode hugepages;
    uint32_t ack_delay_ms; /* or TRANSPORT_ACK_DELAY_STACK */
    int cpu;               /* -1: any */
    bool busy;
    const char *password;

    uint32_t connections, pipeline;
    uint32_t in_flight_max; /* 0: no limit */
    bool connections_asked; /* on the command line, not by a preset */
    uint64_t requests;
    double duration_s, warmup_s, timeout_s;
    double rate;
    bool poisson;

    struct bench_test tests[OPTIONS_TESTS_MAX];
    uint32_t test_count;
    uint64_t key_count;
    struct sizes key_sizes, value_sizes;
    const char *key_text, *value_text;
    double theta;
    uint32_t keys_a_get;
    uint32_t ttl_low_s, ttl_high_s, one_hit_percent;
    uint64_t seed;

    bool preload, verify, json, quiet;
    bool preload_asked; /* on the command line, not by a preset */
    const char *plot_path;
    const char *preset;

    const char *template_path; /* not NULL: requests go to this file, and no server is asked */
    struct template_end template_client, template_server;
    bool template_no_checksum;
};

enum options_result { OPTIONS_RUN, OPTIONS_DONE, OPTIONS_WRONG };

/* OPTIONS_DONE: help or version was printed. OPTIONS_WRONG: the reason was, to stderr. */
enum options_result options_parse(struct options *options, int argument_count, char **arguments);

#endif
