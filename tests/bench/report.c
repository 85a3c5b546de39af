#include "tests/bench/report.h"

#include <inttypes.h>

const double report_quantiles[REPORT_QUANTILES] = {0.5,   0.75,   0.9,     0.95, 0.99,
                                                   0.999, 0.9999, 0.99999, 1};

static const char *const quantile_names[REPORT_QUANTILES] = {
    "p50", "p75", "p90", "p95", "p99", "p99.9", "p99.99", "p99.999", "max"};

double report_rate(const struct load_result *result)
{
    return result->elapsed_ns == 0 ? 0 : (double)result->replies * 1e9 / (double)result->elapsed_ns;
}

uint64_t report_fault_count(const struct load_result *result)
{
    uint64_t count = 0;
    for (uint32_t i = VALUE_RIGHT + 1; i < VALUE_FAULT_COUNT; i++) {
        count += result->faults[i];
    }
    return count;
}

static const char *protocol_name(const struct options *options)
{
    bool meta = options->protocol == REPLY_META;
    if (options->datagrams) {
        return meta ? "memcached meta over UDP" : "memcached over UDP";
    }
    if (meta) {
        return "memcached meta over TCP";
    }
    return options->protocol == REPLY_RESP ? "RESP over TCP" : "memcached over TCP";
}

static double milliseconds(uint64_t ns)
{
    return (double)ns / 1e6;
}

/* ---- text ------------------------------------------------------------------------------------ */

static void print_latency(FILE *to, const char *name, const struct histogram *histogram)
{
    fprintf(to, "  %-6s %12" PRIu64 "  %9.3f", name, histogram->count,
            histogram_mean(histogram) / 1e6);
    for (uint32_t i = 0; i < REPORT_QUANTILES; i++) {
        fprintf(to, " %9.3f", milliseconds(histogram_quantile(histogram, report_quantiles[i])));
    }
    fputc('\n', to);
}

static void print_latencies(FILE *to, const struct load_result *result)
{
    uint32_t kinds = 0;
    fprintf(to, "\n  latency in ms\n  %-6s %12s  %9s", "", "requests", "mean");
    for (uint32_t i = 0; i < REPORT_QUANTILES; i++) {
        fprintf(to, " %9s", quantile_names[i]);
    }
    fputc('\n', to);
    for (uint32_t i = 0; i < REQUEST_KIND_COUNT; i++) {
        kinds += result->kinds[i].count > 0;
    }
    for (uint32_t i = 0; i < REQUEST_KIND_COUNT && kinds > 1; i++) {
        if (result->kinds[i].count > 0) {
            print_latency(to, request_kind_names[i], &result->kinds[i]);
        }
    }
    print_latency(to, "all", &result->all);
    fputc('\n', to);
}

static void print_troubles(FILE *to, const struct options *options,
                           const struct load_result *result)
{
    if (result->errors > 0) {
        fprintf(to, "  errors: %" PRIu64 ", the first: %s\n", result->errors, result->first_error);
    }
    if (result->not_stored > 0) {
        fprintf(to, "  not stored: %" PRIu64 "\n", result->not_stored);
    }
    if (options->datagrams) {
        fprintf(to, "  lost: %" PRIu64 "\n", result->lost);
    }
    if (result->unanswered > 0) {
        fprintf(to, "  unanswered at the end: %" PRIu64 "\n", result->unanswered);
    }
    if (result->unsent > 0) {
        fprintf(to,
                "  never sent: %" PRIu64
                " (the rate is more than server and connections carry; counted with their wait)\n",
                result->unsent);
    }
}

static void print_verification(FILE *to, const struct options *options,
                               const struct load_result *result)
{
    if (!options->verify) {
        return;
    }
    uint64_t faults = report_fault_count(result);
    fprintf(to, "  values checked: %" PRIu64 ", wrong: %" PRIu64 "\n", result->values_checked,
            faults);
    for (uint32_t i = VALUE_RIGHT + 1; i < VALUE_FAULT_COUNT; i++) {
        if (result->faults[i] > 0) {
            fprintf(to, "    %s: %" PRIu64 "\n", value_fault_names[i], result->faults[i]);
        }
    }
    if (faults > 0) {
        fprintf(to, "    the first: %s\n", result->first_fault);
    }
}

void report_text(FILE *to, const struct options *options, const struct bench_test *test,
                 const struct load_result *result)
{
    char peer[ENDPOINT_TEXT_BYTES_MAX];
    endpoint_format(&options->peer, peer);
    fprintf(to, "====== %s%s%s ======\n", test->name, options->preset ? ", preset " : "",
            options->preset ? options->preset : "");
    fprintf(to, "  %s, %s, %s\n", peer, protocol_name(options),
            options->has_interface ? "own stack" : "kernel sockets");
    fprintf(to, "  %u connections, pipeline %u, ", options->connections, options->pipeline);
    if (options->rate > 0) {
        fprintf(to, "open loop, %.0f requests/s meant, %s\n", options->rate,
                options->poisson ? "Poisson" : "constant");
    } else {
        fputs("closed loop\n", to);
    }
    fprintf(to, "  %" PRIu64 " keys of %s bytes, ", options->key_count, options->key_text);
    if (options->theta > 0) {
        fprintf(to, "Zipf %g, ", options->theta);
    }
    fprintf(to, "values of %s bytes", options->value_text);
    if (test->keys_a_get > 1) {
        fprintf(to, ", %u keys in a get", test->keys_a_get);
    }
    fprintf(to, "\n  %" PRIu64 " replies in %.2f s: %.2f requests/s", result->replies,
            (double)result->elapsed_ns / 1e9, report_rate(result));
    uint64_t reads = result->hits + result->misses;
    if (reads > 0) {
        fprintf(to, "; %.2f %% of %" PRIu64 " keys hit",
                100.0 * (double)result->hits / (double)reads, reads);
    }
    fputc('\n', to);
    print_latencies(to, result);
    print_troubles(to, options, result);
    print_verification(to, options, result);
    fputc('\n', to);
}

void report_line(FILE *to, const struct bench_test *test, const struct load_result *result)
{
    fprintf(to, "%s: %.2f requests per second, p50=%.3f msec, p99=%.3f msec, max=%.3f msec\n",
            test->name, report_rate(result), milliseconds(histogram_quantile(&result->all, 0.5)),
            milliseconds(histogram_quantile(&result->all, 0.99)),
            milliseconds(result->all.maximum));
}

/* ---- JSON ------------------------------------------------------------------------------------ */

static void put_string(FILE *to, const char *text)
{
    fputc('"', to);
    for (; *text != '\0'; text++) {
        unsigned char c = (unsigned char)*text;
        if (c == '"' || c == '\\') {
            fprintf(to, "\\%c", c);
        } else if (c < 0x20 || c >= 0x7f) {
            fprintf(to, "\\u%04x", c);
        } else {
            fputc(c, to);
        }
    }
    fputc('"', to);
}

static void put_field(FILE *to, const char *name, const char *text)
{
    fprintf(to, "\"%s\": ", name);
    put_string(to, text);
    fputs(", ", to);
}

void report_json_begin(FILE *to, const struct options *options)
{
    char peer[ENDPOINT_TEXT_BYTES_MAX];
    endpoint_format(&options->peer, peer);
    fputs("{\"nicached_bench\": \"" NICACHED_VERSION "\",\n \"options\": {", to);
    put_field(to, "server", peer);
    put_field(to, "protocol", protocol_name(options));
    put_field(to, "transport",
              options->has_interface ? interface_driver_name(options->interface.driver)
                                     : "kernel sockets");
    put_field(to, "preset", options->preset ? options->preset : "");
    put_field(to, "key_size", options->key_text);
    put_field(to, "value_size", options->value_text);
    put_field(to, "arrival",
              options->rate <= 0 ? "closed loop"
              : options->poisson ? "poisson"
                                 : "constant");
    fprintf(to,
            "\"connections\": %u, \"pipeline\": %u, \"in_flight_max\": %u, \"rate\": %g, \"keys\": "
            "%" PRIu64 ", \"zipf\": %g, \"warmup_s\": %g, \"seed\": %" PRIu64 "},\n \"tests\": [",
            options->connections, options->pipeline, options->in_flight_max, options->rate,
            options->key_count, options->theta, options->warmup_s, options->seed);
}

static void put_latency(FILE *to, const char *name, const struct histogram *histogram)
{
    fprintf(to, "\"%s\": {\"count\": %" PRIu64 ", \"mean\": %.1f, \"min\": %" PRIu64, name,
            histogram->count, histogram_mean(histogram) / 1e3,
            histogram->count > 0 ? histogram->minimum / 1000 : 0);
    for (uint32_t i = 0; i < REPORT_QUANTILES; i++) {
        fprintf(to, ", \"%s\": %.2f", quantile_names[i],
                (double)histogram_quantile(histogram, report_quantiles[i]) / 1e3);
    }
    fputc('}', to);
}

/* Every bucket that is not empty: the value, and how many were not above it. */
static void put_curve(FILE *to, const struct histogram *histogram)
{
    uint64_t seen = 0;
    fputs("\"curve_us\": [", to);
    for (uint32_t i = 0; i < HISTOGRAM_BUCKET_COUNT; i++) {
        if (histogram->buckets[i] > 0) {
            fprintf(to, "%s[%.3f, %" PRIu64 "]", seen > 0 ? ", " : "",
                    (double)histogram_bucket_middle(i) / 1e3, seen + histogram->buckets[i]);
            seen += histogram->buckets[i];
        }
    }
    fputs("]", to);
}

static void put_seconds(FILE *to, const struct load_result *result)
{
    fputs("\"seconds\": [", to);
    for (uint32_t i = 0; i < result->second_count; i++) {
        const struct load_second *second = &result->seconds[i];
        fprintf(to,
                "%s{\"replies\": %" PRIu64
                ", \"p50_us\": %.2f, \"p99_us\": %.2f, \"max_us\": %.2f}",
                i > 0 ? ", " : "", second->replies, (double)second->p50_ns / 1e3,
                (double)second->p99_ns / 1e3, (double)second->maximum_ns / 1e3);
    }
    fputs("]", to);
}

void report_json_test(FILE *to, bool first, const struct bench_test *test,
                      const struct load_result *result)
{
    fputs(first ? "\n  {" : ",\n  {", to);
    put_field(to, "name", test->name);
    fprintf(to,
            "\"requests_per_second\": %.2f, \"seconds_elapsed\": %.6f, \"replies\": %" PRIu64
            ", \"keys_a_get\": %u, \"hits\": %" PRIu64 ", \"misses\": %" PRIu64
            ", \"errors\": %" PRIu64 ", \"not_stored\": %" PRIu64 ", \"lost\": %" PRIu64
            ", \"unanswered\": %" PRIu64 ", \"unsent\": %" PRIu64 ", \"bytes_sent\": %" PRIu64
            ", \"bytes_received\": %" PRIu64 ", \"values_checked\": %" PRIu64
            ", \"values_wrong\": %" PRIu64 ", ",
            report_rate(result), (double)result->elapsed_ns / 1e9, result->replies,
            test->keys_a_get, result->hits, result->misses, result->errors, result->not_stored,
            result->lost, result->unanswered, result->unsent, result->bytes_sent,
            result->bytes_received, result->values_checked, report_fault_count(result));
    put_field(to, "first_error", result->first_error);
    put_field(to, "first_fault", result->first_fault);
    fputs("\n   \"latency_us\": {", to);
    put_latency(to, "all", &result->all);
    for (uint32_t i = 0; i < REQUEST_KIND_COUNT; i++) {
        if (result->kinds[i].count > 0) {
            fputs(", ", to);
            put_latency(to, request_kind_names[i], &result->kinds[i]);
        }
    }
    fputs("},\n   ", to);
    put_seconds(to, result);
    fputs(",\n   ", to);
    put_curve(to, &result->all);
    fputc('}', to);
}

void report_json_end(FILE *to)
{
    fputs("\n ]}\n", to);
}
