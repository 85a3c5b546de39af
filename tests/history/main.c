/* history: records what concurrent clients of a server see, and checks that one order of their
 * operations explains it. tests/history/history.py starts servers for it. */
#include <getopt.h>
#include <inttypes.h>
#include <stdlib.h>
#include <time.h>

#include "tests/history/recorder.h"

enum exit_code { EXIT_LINEARIZABLE = 0, EXIT_VIOLATION = 1, EXIT_TROUBLE = 2, EXIT_UNDECIDED = 3 };

static const char usage[] =
    "history --port PORT [options]: is what clients of a Redis or memcached server see "
    "linearizable?\n"
    "  --host ADDRESS          the server (127.0.0.1)\n"
    "  --port PORT             Redis protocol; 0: none\n"
    "  --memcache-port PORT    memcached text protocol, for every fourth client; the same keys\n"
    "  --clients COUNT         (16)\n"
    "  --operations COUNT      (30000)\n"
    "  --pipeline DEPTH        the deepest; clients differ, from 1 on (16)\n"
    "  --groups COUNT          of 8 keys each (8)\n"
    "  --filler KEYS           as many keys come and go beside those that are watched (0)\n"
    "  --refusals              the server may refuse writes for want of memory\n"
    "  --eviction              it may evict, too: a key may vanish at any moment\n"
    "  --no-expiry --no-flush --no-cut   without SET PX, FLUSHDB, connections cut off\n"
    "  --slack-ms MS           how far from its time the server may see an expiry (20)\n"
    "  --seed NUMBER           of the operations (from the clock)\n"
    "Exit code: 0 linearizable, 1 violation, 2 no history, 3 the search gave up.\n";

struct arguments {
    struct recorder_options recorder;
    struct check_options check;
};

enum {
    HOST = 1,
    PORT,
    MEMCACHE,
    CLIENTS,
    OPERATION_LIMIT,
    PIPELINE,
    GROUPS,
    FILLER,
    REFUSALS,
    EVICTION,
    NO_EXPIRY,
    NO_FLUSH,
    NO_CUT,
    SLACK,
    SEED,
    HELP,
};

static const struct option long_options[] = {
    {"host", required_argument, NULL, HOST},
    {"port", required_argument, NULL, PORT},
    {"memcache-port", required_argument, NULL, MEMCACHE},
    {"clients", required_argument, NULL, CLIENTS},
    {"operations", required_argument, NULL, OPERATION_LIMIT},
    {"pipeline", required_argument, NULL, PIPELINE},
    {"groups", required_argument, NULL, GROUPS},
    {"filler", required_argument, NULL, FILLER},
    {"refusals", no_argument, NULL, REFUSALS},
    {"eviction", no_argument, NULL, EVICTION},
    {"no-expiry", no_argument, NULL, NO_EXPIRY},
    {"no-flush", no_argument, NULL, NO_FLUSH},
    {"no-cut", no_argument, NULL, NO_CUT},
    {"slack-ms", required_argument, NULL, SLACK},
    {"seed", required_argument, NULL, SEED},
    {"help", no_argument, NULL, HELP},
    {NULL, 0, NULL, 0},
};

static void take_option(struct arguments *arguments, int option)
{
    struct recorder_options *recorder = &arguments->recorder;
    uint64_t number = optarg != NULL ? strtoull(optarg, NULL, 10) : 0;
    switch (option) {
    case HOST: recorder->host = optarg; return;
    case PORT: recorder->port = (uint16_t)number; return;
    case MEMCACHE: recorder->memcache_port = (uint16_t)number; return;
    case CLIENTS: recorder->clients = (uint32_t)number; return;
    case OPERATION_LIMIT: recorder->operations = number; return;
    case PIPELINE: recorder->pipeline = (uint32_t)number; return;
    case GROUPS: recorder->groups = (uint32_t)number; return;
    case FILLER: recorder->filler_keys = (uint32_t)number; return;
    case REFUSALS: recorder->refusals = arguments->check.refusals = true; return;
    case EVICTION:
        recorder->refusals = arguments->check.refusals = true;
        recorder->eviction = arguments->check.eviction = true;
        return;
    case NO_EXPIRY: recorder->expiry = false; return;
    case NO_FLUSH: recorder->flush = false; return;
    case NO_CUT: recorder->cut = false; return;
    case SLACK: arguments->check.slack_ns = number * 1000000U; return;
    case SEED: recorder->seed = number; return;
    case HELP: fputs(usage, stdout); exit(0);
    default: fputs(usage, stderr); exit(EXIT_TROUBLE);
    }
}

static bool is_sensible(const struct recorder_options *options)
{
    return (options->port != 0 || options->memcache_port != 0) && options->clients >= 1 &&
           options->clients <= RECORDER_CLIENTS_MAX && options->pipeline >= 1 &&
           options->pipeline <= RECORDER_PIPELINE_MAX && options->groups >= 1 &&
           options->groups <= RECORDER_GROUPS_MAX;
}

static void parse(int argc, char **argv, struct arguments *arguments)
{
    int option;
    while ((option = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
        take_option(arguments, option);
    }
    if (optind != argc || !is_sensible(&arguments->recorder)) {
        fputs(usage, stderr);
        exit(EXIT_TROUBLE);
    }
}

static enum exit_code check_all(const struct recorder *recorder, const struct arguments *arguments)
{
    struct check_result sum = {0};
    enum exit_code code = EXIT_LINEARIZABLE;
    clock_t start = clock();
    for (uint32_t group = 0; group < arguments->recorder.groups; group++) {
        FILE *report = code == EXIT_LINEARIZABLE ? stderr : NULL; /* one is enough to read */
        struct check_result result =
            history_check(recorder_history(recorder, group), &arguments->check, report);
        sum.steps += result.steps;
        sum.branches += result.branches;
        if (result.verdict != CHECK_PASSED) {
            fprintf(stderr, "in group %" PRIu32 ", seed %" PRIu64 "\n", group,
                    arguments->recorder.seed);
            code = result.verdict == CHECK_VIOLATED || code == EXIT_VIOLATION ? EXIT_VIOLATION
                                                                              : EXIT_UNDECIDED;
        }
    }
    printf("checked in %.2f s of CPU: %" PRIu64 " steps, %" PRIu64 " with a choice\n",
           (double)(clock() - start) / CLOCKS_PER_SEC, sum.steps, sum.branches);
    const struct recorder_report *report = recorder_report(recorder);
    return report->flag_violations + report->count_violations > 0 ? EXIT_VIOLATION : code;
}

static void print_report(const struct recorder_report *report, uint64_t seed)
{
    double seconds = (double)report->duration_ns / 1e9;
    printf("seed %" PRIu64 ": %" PRIu64 " operations in %.2f s (%" PRIu64
           " reads of a flag, %" PRIu64 " refused), %" PRIu64 " of the filler; %" PRIu64
           " connections, %" PRIu64 " cut off with %" PRIu64 " requests\n",
           seed, report->operations, seconds, report->flag_reads, report->refused,
           report->filler_operations, report->connections, report->cut_connections,
           report->unanswered);
}

int main(int argc, char **argv)
{
    struct arguments arguments = {
        .recorder = {.host = "127.0.0.1",
                     .clients = 16,
                     .groups = 8,
                     .pipeline = 16,
                     .operations = 30000,
                     .seed = (uint64_t)time(NULL),
                     .expiry = true,
                     .flush = true,
                     .cut = true},
        .check = {.slack_ns = 20000000},
    };
    char problem[256] = "";
    parse(argc, argv, &arguments);
    struct recorder *recorder = recorder_create(&arguments.recorder);
    enum exit_code code = EXIT_TROUBLE;
    bool recorded = recorder_run(recorder, problem);
    print_report(recorder_report(recorder), arguments.recorder.seed);
    if (recorded) {
        code = check_all(recorder, &arguments);
    } else {
        fprintf(stderr, "history: seed %" PRIu64 ": %s\n", arguments.recorder.seed, problem);
    }
    recorder_destroy(recorder);
    puts(code == EXIT_LINEARIZABLE ? "linearizable" : "NOT shown to be linearizable");
    return (int)code;
}
