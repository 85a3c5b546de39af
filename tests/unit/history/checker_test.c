/* Histories that one order explains, and histories that none does.
 *
 * A case is a text, one operation a line:
 *     THREAD ASKED ANSWERED COMMAND KEY... [#REPLY]     times in microseconds; ANSWERED '-': cut
 * off k0=7      writes string 7      k0=7n   writes number 7 k0:7      saw string 7         k0:7n+2
 * saw number 7 after two INCRs    k0:7+9 with 9 appended k0:-      saw nothing          PX5 lives 5
 * ms
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>

#include "tests/bench/chance.h"
#include "tests/history/history.h"

#define US       1000U
#define CUT_TIME (900000U * US) /* by when a cut off operation has taken effect or never will */

static enum operation_type type_named(const char *name)
{
    for (uint32_t type = 0; type < OPERATION_TYPE_COUNT; type++) {
        char joined[32];
        snprintf(joined, sizeof(joined), "%s", operation_name((enum operation_type)type));
        for (char *c = joined; *c != '\0'; c++) {
            *c = *c == ' ' ? '_' : *c;
        }
        if (strcmp(joined, name) == 0) {
            return (enum operation_type)type;
        }
    }
    fail_msg("no operation is named %s", name);
    return OPERATION_TYPE_COUNT;
}

static struct value parse_value(const char *text)
{
    uint8_t bytes[VALUE_TEXT_BYTES_MAX];
    char *end;
    if (*text == '-') {
        return (struct value){0};
    }
    uint32_t token = (uint32_t)strtoul(text, &end, 10), more = 0;
    bool number = *end == 'n';
    end += number;
    if (*end == '+') {
        more = (uint32_t)strtoul(end + 1, NULL, 10);
    }
    if (number) {
        return value_of_number(((uint64_t)token << 16) + more);
    }
    struct value value = value_of_bytes(slice_of(bytes, value_write_string(bytes, token, 0)));
    if (more != 0) {
        value = value_append(value, slice_of(bytes, value_write_suffix(bytes, more)));
    }
    return value;
}

static struct value parse_suffix(uint32_t token)
{
    uint8_t bytes[VALUE_TEXT_BYTES_MAX];
    return value_of_bytes(slice_of(bytes, value_write_suffix(bytes, token)));
}

static void parse_word(const char *word, struct operation *operation, struct access *accesses)
{
    struct access *access = &accesses[operation->access_count];
    if (word[0] == '#') {
        operation->number = strtoll(word + 1, NULL, 10);
    } else if (word[0] == 'P') {
        operation->px_ms = (uint32_t)strtoul(word + 2, NULL, 10);
    } else {
        assert_int_equal(word[0], 'k');
        *access = (struct access){.key = (uint8_t)(word[1] - '0')};
        const char *written = strchr(word, '='), *observed = strchr(word, ':');
        access->observed = observed != NULL ? parse_value(observed + 1) : access->observed;
        access->written = written != NULL ? parse_value(written + 1) : access->written;
        if (operation->type == OPERATION_APPEND) {
            access->written = parse_suffix(access->written.origin);
        }
        operation->access_count++;
    }
}

static void parse_line(char *line, struct history *history)
{
    char *rest, *thread = strtok_r(line, " ", &rest);
    if (thread == NULL) {
        return;
    }
    struct operation operation = {.thread = (uint8_t)strtoul(thread, NULL, 10)};
    struct access accesses[GROUP_KEYS];
    operation.asked_ns = strtoull(strtok_r(NULL, " ", &rest), NULL, 10) * US;
    const char *answered = strtok_r(NULL, " ", &rest);
    operation.unanswered = answered[0] == '-';
    operation.answered_ns = operation.unanswered ? CUT_TIME : strtoull(answered, NULL, 10) * US;
    operation.type = (uint8_t)type_named(strtok_r(NULL, " ", &rest));
    operation.number = operation.type == OPERATION_SET_GET;
    for (const char *word; (word = strtok_r(NULL, " ", &rest)) != NULL;) {
        parse_word(word, &operation, accesses);
    }
    history_add(history, &operation, accesses, operation.access_count);
}

static void expect_with(const struct check_options *options, enum check_verdict verdict,
                        const char *text)
{
    struct history history = {0};
    char *copy = strdup(text), *rest;
    for (char *line = strtok_r(copy, "\n", &rest); line != NULL;
         line = strtok_r(NULL, "\n", &rest)) {
        parse_line(line, &history);
    }
    struct check_result result = history_check(&history, options, NULL);
    if (result.verdict != verdict) {
        history_check(&history, options, stderr);
        fail_msg("verdict %d, not %d, on\n%s", result.verdict, verdict, text);
    }
    history_deinit(&history);
    free(copy);
}

static void passes(const char *text)
{
    expect_with(&(struct check_options){0}, CHECK_PASSED, text);
}

static void fails(const char *text)
{
    expect_with(&(struct check_options){0}, CHECK_VIOLATED, text);
}

static void test_real_time(void **state)
{
    (void)state;
    passes("");
    passes("0 0 10 SET k0=1\n1 20 30 GET k0:1");
    fails("0 0 10 SET k0=1\n1 20 30 GET k0:-");
    fails("0 0 10 SET k0=1\n0 20 30 SET k0=2\n1 40 50 GET k0:1");
    /* While the write is under way either is right, but not the new and then the old. */
    passes("0 0 10 SET k0=1\n0 20 60 SET k0=2\n1 30 50 GET k0:1");
    passes("0 0 10 SET k0=1\n0 20 60 SET k0=2\n1 30 50 GET k0:2");
    passes("0 0 10 SET k0=1\n0 20 90 SET k0=2\n1 30 40 GET k0:1\n2 50 60 GET k0:2");
    fails("0 0 10 SET k0=1\n0 20 90 SET k0=2\n1 30 40 GET k0:2\n2 50 60 GET k0:1");
    /* Read before it was written; never written; bytes of nobody. */
    fails("1 0 10 GET k0:1\n0 20 30 SET k0=1");
    fails("1 0 10 GET k0:1");
}

static void test_program_order(void **state)
{
    (void)state;
    /* Two pipelined writes: their replies come together, their order still holds. */
    fails("0 0 90 SET k0=1\n0 1 90 SET k0=2\n1 100 110 GET k0:1");
    passes("0 0 90 SET k0=1\n2 1 90 SET k0=2\n1 100 110 GET k0:1");
    /* The data, then the flag. */
    fails("0 0 90 SET k0=1\n0 1 90 SET k7=2\n1 5 80 GET k7:2\n1 6 80 GET k0:-");
    passes("0 0 90 SET k0=1\n0 1 90 SET k7=2\n1 5 80 GET k7:-\n1 6 80 GET k0:1");
    passes("0 0 90 SET k0=1\n0 1 90 SET k7=2\n1 5 80 GET k0:-\n1 6 80 GET k7:2");
}

static void test_several_keys(void **state)
{
    (void)state;
    const char *both = "0 0 90 MSET k0=1 k1=2\n1 5 80 MGET k0:1 k1:2";
    passes(both);
    passes("0 0 90 MSET k0=1 k1=2\n1 5 80 MGET k0:- k1:-");
    fails("0 0 90 MSET k0=1 k1=2\n1 5 80 MGET k0:1 k1:-");
    fails("0 0 90 MSET k0=1 k1=2\n1 5 80 MGET k0:- k1:2");
    /* Two writers of both: never a mixture, and the two readers see one order. */
    fails("0 0 90 MSET k0=1 k1=2\n1 0 90 MSET k0=3 k1=4\n2 100 110 MGET k0:1 k1:4");
    fails("0 0 90 MSET k0=1 k1=2\n1 0 90 MSET k0=3 k1=4\n"
          "2 10 80 MGET k0:1 k1:2\n2 11 81 MGET k0:3 k1:4\n"
          "3 10 80 MGET k0:3 k1:4\n3 11 81 MGET k0:1 k1:2");
    passes("0 0 10 MSETNX k0=1 k1=2 #1\n0 20 30 MSETNX k1=3 k2=4 #0\n1 40 50 MGET k0:1 k1:2 k2:-");
    fails("0 0 10 SET k1=1\n0 20 30 MSETNX k1=3 k2=4 #1");
    passes("0 0 10 MSET k0=1 k1=2\n0 20 30 DEL k0 k1 k2 #2\n0 40 50 EXISTS k0 k1 #0");
    fails("0 0 10 MSET k0=1 k1=2\n0 20 30 DEL k0 k1 k2 #1");
    fails("0 0 10 MSET k0=1 k1=2\n0 20 30 EXISTS k0 k1 #1");
    passes("0 0 10 MSET k0=1 k1=2\n0 20 30 FLUSHDB\n1 40 50 MGET k0:- k1:-");
    fails("0 0 10 MSET k0=1 k1=2\n0 20 30 FLUSHDB\n1 40 50 MGET k0:- k1:2");
}

static void test_moves(void **state)
{
    (void)state;
    const char *rename = "0 0 10 SET k0=1\n0 20 90 RENAME k0 k1 #1\n";
    char text[256];
    snprintf(text, sizeof(text), "%s1 30 80 MGET k0:- k1:1", rename);
    passes(text);
    snprintf(text, sizeof(text), "%s1 30 80 MGET k0:1 k1:-", rename);
    passes(text);
    snprintf(text, sizeof(text), "%s1 30 80 MGET k0:1 k1:1", rename);
    fails(text);
    snprintf(text, sizeof(text), "%s1 30 80 MGET k0:- k1:-", rename);
    fails(text);
    passes("0 0 10 RENAME k0 k1 #0");
    passes("0 0 10 SET k0=1\n0 20 30 COPY k0 k1 #1\n0 40 50 DEL k0 #1\n0 60 70 RENAME k1 k0 #1\n"
           "1 80 90 GET k0:1");
    fails("0 0 10 MSET k0=1 k1=2\n0 20 30 COPY k0 k1 #1");
    passes("0 0 10 MSET k0=1 k1=2\n0 20 30 COPY_REPLACE k0 k1 #1\n0 40 50 GET k1:1");
}

static void test_derived_values(void **state)
{
    (void)state;
    passes("0 0 90 INCR k0:- #1\n1 0 90 INCR k0 #2\n2 100 110 INCR k0 #3");
    fails("0 0 90 INCR k0:- #1\n1 0 90 INCR k0:- #1");
    passes(
        "0 0 10 SET k0=5n\n0 20 90 INCR k0:5n #327681\n1 20 90 GET k0:5n\n2 100 110 GET k0:5n+1");
    fails("0 0 10 SET k0=5n\n0 20 30 INCR k0:5n #327681\n1 40 90 GET k0:5n");
    passes("0 0 10 SET k0=5\n0 20 30 INCR k0 #-1");
    passes("0 0 10 SET k0=5\n0 20 30 APPEND k0=6 #5\n1 40 50 GET k0:5+6");
    fails("0 0 10 SET k0=5\n0 20 30 APPEND k0=6 #5\n1 40 50 GET k0:5");
    fails("0 0 10 SET k0=5\n0 20 30 APPEND k0=6 #2");
    passes("0 0 10 SET k0=1\n0 20 30 SET_GET k0=2:1");
}

static void test_conditions(void **state)
{
    (void)state;
    fails("0 0 90 SET_NX k0=1 #1\n1 0 90 SET_NX k0=2 #1");
    passes("0 0 90 SET_NX k0=1 #1\n1 0 90 SET_NX k0=2 #0\n2 100 110 GET k0:1");
    fails("0 0 90 SET_NX k0=1 #1\n1 0 90 SET_NX k0=2 #0\n2 100 110 GET k0:2");
    fails("0 0 90 SET_XX k0=1 #1");
    /* A cas counts once for each number. */
    passes("0 0 10 SET k0=1\n1 20 90 cas k0=2:1 #1\n2 20 90 cas k0=3:1 #0\n0 100 110 GET k0:2");
    fails("0 0 10 SET k0=1\n1 20 90 cas k0=2:1 #1\n2 20 90 cas k0=3:1 #1");
    fails("0 0 10 SET k0=1\n1 20 90 cas k0=2:1 #0");
    passes("0 0 10 SET k0=1\n0 20 30 DEL k0 #1\n1 40 90 cas k0=2:1 #-1");
    /* The same value behind another number: moved there and back, or counted up from nothing. */
    passes(
        "0 0 10 INCR k0:- #1\n0 20 30 DEL k0 #1\n0 40 50 INCR k0:- #1\n1 60 90 cas k0=2:0n+1 #0");
    passes("0 0 10 SET k0=1\n0 20 30 RENAME k0 k1 #1\n0 40 50 RENAME k1 k0 #1\n"
           "1 60 90 cas k0=2:1 #0");
}

static void test_expiry(void **state)
{
    (void)state;
    struct check_options slack = {.slack_ns = 1000 * US};
    passes("0 0 10 SET k0=1 PX5\n1 4000 4100 GET k0:1\n1 6000 6100 GET k0:-");
    fails("0 0 10 SET k0=1 PX5\n1 4000 4100 GET k0:-");
    fails("0 0 10 SET k0=1 PX5\n1 6000 6100 GET k0:1");
    /* Its end lies between those of a reader that is quick and one that is late. */
    passes("0 0 10 SET k0=1 PX5\n1 4900 5100 GET k0:1\n2 4900 5100 GET k0:-");
    fails("0 0 10 SET k0=1 PX5\n1 4900 5002 GET k0:-\n2 5003 5005 GET k0:1");
    expect_with(&slack, CHECK_PASSED, "0 0 10 SET k0=1 PX5\n1 4000 4100 GET k0:-");
    expect_with(&slack, CHECK_PASSED, "0 0 10 SET k0=1 PX5\n1 5900 6000 GET k0:1");
    expect_with(&slack, CHECK_VIOLATED, "0 0 10 SET k0=1 PX5\n1 6100 6200 GET k0:1");
    /* A later SET takes the time to live away; RENAME takes it along. */
    passes("0 0 10 SET k0=1 PX5\n0 20 30 SET k0=2\n1 6000 6100 GET k0:2");
    fails("0 0 10 SET k0=1 PX5\n0 20 30 RENAME k0 k1 #1\n1 6000 6100 GET k1:1");
    passes("0 0 10 SET k0=1 PX5\n1 6000 6100 SET_NX k0=2 #1\n1 6200 6300 GET k0:2");
    passes("0 0 10 SET k0=1 PX5\n0 20 30 SET k1=2\n1 6000 6100 DEL k0 k1 #1");
}

static void test_eviction(void **state)
{
    (void)state;
    struct check_options eviction = {.eviction = true};
    const char *gone = "0 0 10 MSET k0=1 k1=2\n1 20 30 MGET k0:- k1:2\n1 40 50 EXISTS k0 k1 #0";
    fails(gone);
    expect_with(&eviction, CHECK_PASSED, gone);
    expect_with(&eviction, CHECK_PASSED, "0 0 10 SET k0=1\n0 20 30 INCR k0:- #1");
    expect_with(&eviction, CHECK_PASSED, "0 0 10 MSET k0=1 k1=2 k2=3\n0 20 30 DEL k0 k1 k2 #1");
    /* What is gone stays gone, and what is overwritten too. */
    expect_with(&eviction, CHECK_VIOLATED, "0 0 10 SET k0=1\n1 20 30 GET k0:-\n1 40 50 GET k0:1");
    expect_with(&eviction, CHECK_VIOLATED, "0 0 10 SET k0=1\n0 20 30 SET k0=2\n1 40 50 GET k0:1");
    expect_with(&eviction, CHECK_VIOLATED,
                "0 0 10 MSET k0=1 k1=2\n0 20 30 MSET k0=3 k1=4\n1 40 50 MGET k0:- k1:2");
}

static void test_cut_off(void **state)
{
    (void)state;
    const char *write = "0 0 10 SET k0=1\n4 20 - SET k0=2\n4 21 - SET k0=3\n";
    char text[256];
    snprintf(text, sizeof(text), "%s1 40 50 GET k0:1", write); /* not done (yet) */
    passes(text);
    snprintf(text, sizeof(text), "%s1 40 50 GET k0:1\n1 60 70 GET k0:3", write);
    passes(text);
    snprintf(text, sizeof(text), "%s1 40 50 GET k0:2\n1 60 70 GET k0:3", write);
    passes(text);
    snprintf(text, sizeof(text), "%s1 40 50 GET k0:3\n1 60 70 GET k0:2", write);
    fails(text);
    snprintf(text, sizeof(text), "%s0 910000 920000 SET k0=4\n1 930000 940000 GET k0:3", write);
    fails(text); /* too late */
}

static void test_refused(void **state)
{
    (void)state;
    struct check_options refusals = {.refusals = true};
    passes("0 0 10 SET k0=1\n0 20 30 REFUSED k0=2\n1 40 50 GET k0:1");
    fails("0 0 10 SET k0=1\n0 20 30 REFUSED k0=2\n1 40 50 GET k0:2");
    passes("0 0 10 SET k0=1\n0 20 30 REFUSED_SET k0=2\n1 40 50 GET k0:-");
    fails("0 0 10 SET k0=1\n0 20 30 REFUSED_SET k0=2\n1 40 50 GET k0:1");
    /* Cut off, and nobody heard whether it was refused. */
    const char *first = "0 0 10 SET k0=1\n4 20 - SET k0=2\n4 21 - SET k1=3\n"
                        "1 40 50 GET k1:3\n1 60 70 GET k0:1";
    fails(first);
    expect_with(&refusals, CHECK_PASSED, first);
    /* It took effect; or could not have been refused; or was answered. */
    expect_with(&refusals, CHECK_VIOLATED,
                "0 0 10 SET k0=1\n4 20 - SET k0=2\n1 40 50 GET k0:2\n1 60 70 GET k0:1");
    expect_with(&refusals, CHECK_VIOLATED,
                "0 0 10 SET k0=1\n4 20 - DEL k0\n4 21 - SET k1=3\n"
                "1 40 50 GET k1:3\n1 60 70 GET k0:1");
    expect_with(&refusals, CHECK_VIOLATED,
                "0 0 10 SET k0=1\n4 20 30 SET k0=2\n4 21 - SET k1=3\n"
                "1 40 50 GET k1:3\n1 60 70 GET k0:1");
}

/* The report is for people, but it must come, and name the reply that nothing explains. */
static void test_report(void **state)
{
    (void)state;
    char *text = NULL;
    size_t size;
    struct history history = {0};
    char first[] = "0 0 10 SET k0=1", second[] = "0 20 30 SET k0=2", other[] = "3 22 28 GET k0:1";
    char stale[] = "1 40 50 GET k0:1", later[] = "1 60 70 GET k0:2";
    parse_line(first, &history);
    parse_line(second, &history);
    parse_line(other, &history);
    parse_line(stale, &history);
    parse_line(later, &history);
    FILE *report = open_memstream(&text, &size);
    history_check(&history, &(struct check_options){0}, report);
    fclose(report);
    assert_non_null(strstr(text, "violation"));
    assert_non_null(strstr(text, "thread  1  GET k0 saw v1(3 bytes)"));
    assert_non_null(strstr(text, "thread  0  SET k0=v2(3 bytes)"));
    assert_null(strstr(text, "thread  3")); /* it does not matter */
    free(text);
    history_deinit(&history);
}

static void test_gives_up(void **state)
{
    (void)state;
    expect_with(&(struct check_options){.steps_max = 1}, CHECK_UNDECIDED,
                "0 0 90 SET k0=1\n1 0 90 SET k0=2\n2 0 90 SET k0=3\n3 0 90 SET k0=4\n"
                "4 100 110 EXISTS k0 k1 #2");
}

/* ---- random histories ------------------------------------------------------------------------ */

#define SIMULATED_THREADS 6U
#define SIMULATED_DEPTH   3U

/* A server without a fault: each thread has up to SIMULATED_DEPTH requests under way, the oldest
 * takes effect at some time, and its reply comes at some time after that. */
struct simulation {
    struct history history;
    uint64_t random, time;
    uint32_t token;
    struct value keys[GROUP_KEYS];
    uint32_t under_way[SIMULATED_THREADS][SIMULATED_DEPTH], asked[SIMULATED_THREADS],
        done[SIMULATED_THREADS];
};

static void simulate_ask(struct simulation *simulation, uint32_t thread)
{
    static const enum operation_type types[] = {OPERATION_GET,    OPERATION_MGET,
                                                OPERATION_SET,    OPERATION_MSET,
                                                OPERATION_GETDEL, OPERATION_SET_GET};
    struct operation operation = {.type = (uint8_t)types[chance_below(&simulation->random, 6)],
                                  .thread = (uint8_t)thread,
                                  .asked_ns = simulation->time,
                                  .number = 0};
    struct access accesses[GROUP_KEYS];
    bool several = operation.type == OPERATION_MGET || operation.type == OPERATION_MSET;
    bool writes = operation.type == OPERATION_SET || operation.type == OPERATION_MSET ||
                  operation.type == OPERATION_SET_GET;
    operation.number = operation.type == OPERATION_SET_GET;
    uint32_t count = several ? 3 : 1, first = (uint32_t)chance_below(&simulation->random, 8);
    for (uint32_t i = 0; i < count; i++) {
        char text[16];
        snprintf(text, sizeof(text), "%u", ++simulation->token);
        accesses[i] = (struct access){.key = (uint8_t)((first + i) % GROUP_KEYS)};
        accesses[i].written = writes ? parse_value(text) : (struct value){0};
    }
    simulation->under_way[thread][simulation->asked[thread]++ % SIMULATED_DEPTH] =
        history_add(&simulation->history, &operation, accesses, count);
}

static void simulate_effect(struct simulation *simulation, uint32_t thread)
{
    uint32_t index = simulation->under_way[thread][simulation->done[thread]++ % SIMULATED_DEPTH];
    struct operation *operation = &simulation->history.operations[index];
    for (uint32_t i = 0; i < operation->access_count; i++) {
        struct access *access = &simulation->history.accesses[operation->access_first + i];
        struct value *key = &simulation->keys[access->key];
        bool blind = operation->type == OPERATION_SET || operation->type == OPERATION_MSET;
        access->observed = blind ? (struct value){0} : *key;
        if (!value_is_absent(access->written) || operation->type == OPERATION_GETDEL) {
            *key = access->written;
        }
    }
    operation->answered_ns = simulation->time + 1 + chance_below(&simulation->random, 40);
}

static void simulate(struct simulation *simulation, uint64_t seed, uint32_t count)
{
    uint64_t answered[SIMULATED_THREADS] = {0};
    *simulation = (struct simulation){.random = seed};
    for (uint32_t asked = 0, done = 0; done < count; simulation->time++) {
        uint32_t thread = (uint32_t)chance_below(&simulation->random, SIMULATED_THREADS);
        uint32_t under_way = simulation->asked[thread] - simulation->done[thread];
        bool ask = asked < count && under_way < SIMULATED_DEPTH &&
                   (under_way == 0 || chance_below(&simulation->random, 2) == 0);
        if (ask) {
            simulate_ask(simulation, thread);
            asked++;
        } else if (under_way > 0) {
            simulate_effect(simulation, thread);
            done++;
        }
    }
    /* Replies come in order. */
    for (uint32_t i = 0; i < count; i++) {
        struct operation *operation = &simulation->history.operations[i];
        uint64_t *last = &answered[operation->thread];
        *last = operation->answered_ns > *last ? operation->answered_ns : *last;
        operation->answered_ns = *last;
    }
}

static void test_right_histories(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 100; seed++) {
        struct simulation simulation;
        simulate(&simulation, seed, 400);
        struct check_result result =
            history_check(&simulation.history, &(struct check_options){0}, stderr);
        if (result.verdict != CHECK_PASSED) {
            fail_msg("seed %u", (unsigned)seed);
        }
        history_deinit(&simulation.history);
    }
}

/* A GET sees what a SET GET had overwritten before it was asked. */
static bool make_stale(struct history *history, uint32_t from)
{
    for (uint32_t i = from; i < history->operation_count; i++) {
        struct operation *read = &history->operations[i];
        struct access *access = &history->accesses[read->access_first];
        for (uint32_t j = 0; read->type == OPERATION_GET && j < i; j++) {
            const struct operation *swap = &history->operations[j];
            const struct access *taken = operation_accesses(history, swap);
            if (swap->type == OPERATION_SET_GET && taken->key == access->key &&
                !value_is_absent(taken->observed) && swap->answered_ns < read->asked_ns) {
                access->observed = taken->observed;
                return true;
            }
        }
    }
    return false;
}

/* An MGET that saw what one MSET wrote to both of its first keys: it sees only the first. */
static bool make_torn(struct history *history, uint32_t from)
{
    for (uint32_t i = from; i < history->operation_count; i++) {
        struct operation *read = &history->operations[i];
        struct access *accesses = &history->accesses[read->access_first];
        for (uint32_t j = 0; read->type == OPERATION_MGET && j < i; j++) {
            const struct operation *write = &history->operations[j];
            const struct access *written = operation_accesses(history, write);
            bool same = write->type == OPERATION_MSET && written[0].key == accesses[0].key &&
                        written[0].written.bits == accesses[0].observed.bits &&
                        written[1].written.bits == accesses[1].observed.bits;
            if (same) {
                accesses[1].observed = (struct value){0};
                return true;
            }
        }
    }
    return false;
}

/* A SET whose value was read did nothing. */
static bool make_lost(struct history *history, uint32_t from)
{
    for (uint32_t i = from; i < history->operation_count; i++) {
        struct operation *write = &history->operations[i];
        struct value value = operation_accesses(history, write)->written;
        for (uint32_t j = 0; write->type == OPERATION_SET && j < history->operation_count; j++) {
            const struct operation *read = &history->operations[j];
            if (read->type == OPERATION_GET &&
                operation_accesses(history, read)->observed.bits == value.bits) {
                write->type = OPERATION_REFUSED;
                return true;
            }
        }
    }
    return false;
}

/* Histories made wrong in one place are found out: all of them, but where a GETDEL in between may
 * explain by chance what a torn read saw. */
static void expect_found(bool (*make_wrong)(struct history *, uint32_t), uint32_t percent_min)
{
    uint32_t made = 0, found = 0;
    for (uint64_t seed = 1; seed <= 25; seed++) {
        struct simulation simulation;
        simulate(&simulation, seed, 400);
        if (make_wrong(&simulation.history, 200)) {
            made++;
            found += history_check(&simulation.history, &(struct check_options){0}, NULL).verdict ==
                     CHECK_VIOLATED;
        }
        history_deinit(&simulation.history);
    }
    assert_true(made >= 10);
    assert_true(found * 100 >= made * percent_min);
}

static void test_wrong_histories(void **state)
{
    (void)state;
    expect_found(make_stale, 100);
    expect_found(make_lost, 100);
    expect_found(make_torn, 80);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_real_time),       cmocka_unit_test(test_program_order),
        cmocka_unit_test(test_several_keys),    cmocka_unit_test(test_moves),
        cmocka_unit_test(test_derived_values),  cmocka_unit_test(test_conditions),
        cmocka_unit_test(test_expiry),          cmocka_unit_test(test_eviction),
        cmocka_unit_test(test_cut_off),         cmocka_unit_test(test_refused),
        cmocka_unit_test(test_report),          cmocka_unit_test(test_gives_up),
        cmocka_unit_test(test_right_histories), cmocka_unit_test(test_wrong_histories),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
