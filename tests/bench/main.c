/* nicached-bench: options, then connect, preload, the tests one after another, and the reports. */
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "tests/bench/load.h"
#include "tests/bench/options.h"
#include "tests/bench/report.h"
#include "tests/bench/templates.h"
#include "tests/bench/transport.h"

#define PRELOAD_PIPELINE_MIN 16U

enum exit_code { EXIT_RIGHT, EXIT_FAILED, EXIT_USAGE, EXIT_WRONG_VALUES };

struct program {
    struct options options;
    struct transport *transport;
    struct workload workload;
    struct ledger *ledger;
    struct load *load;
    struct plot *plot;
    struct config_error error;
    uint32_t tests_done;
    bool values_wrong;
};

static void on_interrupt(int number)
{
    (void)number;
    load_interrupt();
}

static void catch_signals(void)
{
    struct sigaction action = {.sa_handler = on_interrupt, .sa_flags = (int)SA_RESETHAND};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    signal(SIGPIPE, SIG_IGN);
}

static bool fail(struct program *program, const char *text)
{
    snprintf(program->error.text, sizeof(program->error.text), "%s", text);
    return false;
}

static bool pin(struct program *program)
{
    if (program->options.cpu < 0) {
        return true;
    }
    cpu_set_t cpus;
    CPU_ZERO(&cpus);
    CPU_SET((size_t)program->options.cpu, &cpus);
    return sched_setaffinity(0, sizeof(cpus), &cpus) == 0 ||
           fail(program, "--cpu: this process may not run there");
}

/* One descriptor for each connection, and some. */
static void raise_descriptor_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
}

/* ---- setup ----------------------------------------------------------------------------------- */

static uint32_t keys_a_get_max(const struct options *options)
{
    uint32_t maximum = 1;
    for (uint32_t i = 0; i < options->test_count; i++) {
        uint32_t count = options->tests[i].keys_a_get;
        maximum = count > maximum ? count : maximum;
    }
    return maximum;
}

static bool setup_workload(struct program *program)
{
    const struct options *options = &program->options;
    program->workload = (struct workload){
        .protocol = options->protocol,
        .key_count = options->key_count,
        .key_sizes = options->key_sizes,
        .value_sizes = options->value_sizes,
        .theta = options->theta,
        .keys_a_get = keys_a_get_max(options),
        .ttl_low_s = options->ttl_low_s,
        .ttl_high_s = options->ttl_high_s,
        .one_hit_percent = options->one_hit_percent,
    };
    if (!workload_init(&program->workload, options->seed)) {
        return fail(program, "out of memory");
    }
    if (options->verify) {
        program->ledger = ledger_create(options->key_count);
        return program->ledger != NULL || fail(program, "out of memory: fewer keys (-r)?");
    }
    return true;
}

static bool setup_transport(struct program *program)
{
    const struct options *options = &program->options;
    program->transport = options->has_interface
                             ? transport_open_stack(&options->interface, options->hugepages,
                                                    options->ack_delay_ms, &program->error)
                             : transport_open_sockets(&program->error);
    return program->transport != NULL;
}

static bool setup_load(struct program *program)
{
    const struct options *options = &program->options;
    struct load_options load_options = {
        .transport = program->transport,
        .workload = &program->workload,
        .peer = options->peer,
        .datagrams = options->datagrams,
        .connections = options->connections,
        .pipeline = options->pipeline,
        .in_flight_max = options->in_flight_max,
        .password = options->password,
        .ledger = program->ledger,
        .timeout_ns = (uint64_t)(options->timeout_s * 1e9),
        .datagram_timeout_ns = (uint64_t)(options->timeout_s * 1e9 / 20),
        .busy = options->busy,
    };
    program->load = load_create(&load_options);
    if (program->load == NULL) {
        return fail(program, "out of memory: fewer connections (-c)?");
    }
    return load_connect(program->load, &program->error) == 0;
}

static bool setup_plot(struct program *program)
{
    if (program->options.plot_path == NULL) {
        return true;
    }
    program->plot = plot_create();
    return program->plot != NULL || fail(program, "out of memory");
}

/* ---- phases ---------------------------------------------------------------------------------- */

static bool run_preload(struct program *program, struct load_result *result)
{
    if (!program->options.preload || load_was_interrupted()) {
        return true;
    }
    struct load_phase phase = {.preload = true};
    bool right = load_run(program->load, &phase, result, &program->error) == 0;
    if (right && result->lost > 0) {
        fprintf(stderr, "nicached-bench: %llu keys of the preload were lost on the way\n",
                (unsigned long long)result->lost);
    }
    load_result_deinit(result);
    return right;
}

static void report(struct program *program, const struct bench_test *test,
                   const struct load_result *result)
{
    if (program->options.json) {
        report_json_test(stdout, program->tests_done == 0, test, result);
    } else if (program->options.quiet) {
        report_line(stdout, test, result);
    } else {
        report_text(stdout, &program->options, test, result);
    }
    fflush(stdout);
    if (program->plot != NULL) {
        plot_add(program->plot, test->name, &result->all);
    }
    program->values_wrong |= report_fault_count(result) > 0;
    program->tests_done++;
}

static bool run_test(struct program *program, const struct bench_test *test,
                     struct load_result *result)
{
    const struct options *options = &program->options;
    struct load_phase phase = {
        .request_count = options->duration_s > 0 ? 0 : options->requests,
        .warmup_ns = (uint64_t)(options->warmup_s * 1e9),
        .duration_ns = (uint64_t)(options->duration_s * 1e9),
        .rate = options->rate,
        .poisson = options->poisson,
        .seed = options->seed + program->tests_done,
        .show_progress = !options->quiet && isatty(STDERR_FILENO),
    };
    memcpy(program->workload.weights, test->weights, sizeof(test->weights));
    program->workload.keys_a_get = test->keys_a_get;
    int code = load_run(program->load, &phase, result, &program->error);
    if (result->replies > 0) {
        report(program, test, result);
    }
    load_result_deinit(result);
    return code == 0;
}

static bool run_tests(struct program *program)
{
    struct load_result *result = calloc(1, sizeof(*result));
    bool right = result != NULL || fail(program, "out of memory");
    right = right && run_preload(program, result);
    if (program->options.json) {
        report_json_begin(stdout, &program->options);
    }
    for (uint32_t i = 0; right && i < program->options.test_count && !load_was_interrupted(); i++) {
        right = run_test(program, &program->options.tests[i], result);
    }
    if (program->options.json) {
        report_json_end(stdout);
    }
    free(result);
    return right;
}

static bool write_plot(struct program *program)
{
    int code = program->plot == NULL ? 0 : plot_write(program->plot, program->options.plot_path);
    if (code < 0) {
        snprintf(program->error.text, sizeof(program->error.text), "%.300s: %s",
                 program->options.plot_path, strerror(-code));
    }
    return code == 0;
}

static void teardown(struct program *program)
{
    struct instant now = {.mono_us = load_clock_ns() / 1000};
    if (program->load != NULL) {
        load_destroy(program->load);
    }
    if (program->transport != NULL) {
        program->transport->operations->destroy(program->transport, &now);
    }
    ledger_destroy(program->ledger);
    workload_deinit(&program->workload);
    plot_destroy(program->plot);
}

static bool run(struct program *program)
{
    if (!pin(program) || !setup_workload(program)) {
        return false;
    }
    if (program->options.template_path != NULL) {
        return templates_write(&program->options, &program->workload, stdout, &program->error) == 0;
    }
    bool right = setup_plot(program) && setup_transport(program) && setup_load(program) &&
                 run_tests(program);
    if (program->load != NULL) {
        load_disconnect(program->load);
    }
    return right && write_plot(program);
}

int main(int argument_count, char **arguments)
{
    static struct program program;
    switch (options_parse(&program.options, argument_count, arguments)) {
    case OPTIONS_DONE: return EXIT_RIGHT;
    case OPTIONS_WRONG: return EXIT_USAGE;
    case OPTIONS_RUN: break;
    }
    catch_signals();
    raise_descriptor_limit();
    bool right = run(&program);
    if (!right) {
        fprintf(stderr, "nicached-bench: %s\n", program.error.text);
    }
    teardown(&program);
    if (!right) {
        return EXIT_FAILED;
    }
    return program.values_wrong ? EXIT_WRONG_VALUES : EXIT_RIGHT;
}
