/* What one worker keeps for its commands, and the statistics that INFO shows.
 *
 * Thread: a context belongs to one worker. The figures of all workers are read by whichever worker
 * answers INFO: every counter has one writer and is read with relaxed loads; a table of error words
 * only grows, and `count` is released after the entry it shows.
 * Memory: the system heap, at start only.
 */
#include <rte_cycles.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "dataplane/base/check.h"
#include "dataplane/l7_command/l7_command_internal.h"
#include "dataplane/l7_command/memcache_observers.h"

/* `resetting` keeps two simultaneous RESETSTAT apart: the later one leaves it to the earlier. A
 * word once noted stays where it is, so a reader never sees one change. */
struct statistics_baseline {
    uint32_t resetting;
    uint64_t metrics[METRIC_COUNT];
    struct command_statistics *commands;
    struct error_statistics errors;
};

static uint64_t load(const uint64_t *counter)
{
    return __atomic_load_n(counter, __ATOMIC_RELAXED);
}

/* A baseline is read before the sums it is taken from: counters only grow, so a RESETSTAT in
 * between cannot make a difference negative. The acquire load keeps that order. */
static uint64_t load_baseline(const uint64_t *counter)
{
    return __atomic_load_n(counter, __ATOMIC_ACQUIRE);
}

static void store(uint64_t *counter, uint64_t value)
{
    __atomic_store_n(counter, value, __ATOMIC_RELAXED);
}

static void destroy_baseline(struct statistics_baseline *baseline)
{
    if (baseline != NULL) {
        free(baseline->commands);
        free(baseline);
    }
}

static struct statistics_baseline *create_baseline(void)
{
    struct statistics_baseline *baseline = calloc(1, sizeof(*baseline));
    if (baseline != NULL) {
        baseline->commands = calloc(command_count, sizeof(*baseline->commands));
        if (baseline->commands == NULL) {
            free(baseline);
            return NULL;
        }
    }
    return baseline;
}

/* System calls that INFO must not make later. */
static void note_machine(struct command_context *context)
{
    struct utsname name;
    if (uname(&name) == 0) {
        snprintf(context->operating_system, sizeof(context->operating_system), "%.64s %.64s %.64s",
                 name.sysname, name.release, name.machine);
    }
    long pages = sysconf(_SC_PHYS_PAGES), page_bytes = sysconf(_SC_PAGESIZE);
    context->system_memory_bytes =
        pages > 0 && page_bytes > 0 ? (uint64_t)pages * (uint64_t)page_bytes : 0;
    context->process_id = (uint64_t)getpid();
}

struct command_context *command_context_create(void)
{
    struct command_context *context = calloc(1, sizeof(*context));
    if (context == NULL) {
        return NULL;
    }
    context->statistics = calloc(command_count, sizeof(*context->statistics));
    context->errors = calloc(1, sizeof(*context->errors));
    context->baseline = create_baseline();
    context->owns_baseline = true;
    context->observers = memcache_observers_create();
    context->worker_count = 1;
    context->random_state = 1;
    note_machine(context);
    if (context->statistics == NULL || context->errors == NULL || context->baseline == NULL ||
        context->observers == NULL) {
        command_context_destroy(context);
        return NULL;
    }
    return context;
}

void command_context_destroy(struct command_context *context)
{
    if (context == NULL) {
        return;
    }
    if (context->owns_baseline) {
        destroy_baseline(context->baseline);
    }
    memcache_observers_release(context->observers);
    memcache_prefix_book_destroy(context->prefixes);
    free(context->events);
    free(context->statistics);
    free(context->errors);
    free(context);
}

void command_contexts_join(struct command_context *const *contexts, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        contexts[i]->all_contexts = contexts;
        contexts[i]->all_context_count = count;
        if (i > 0 && contexts[i]->owns_baseline) {
            destroy_baseline(contexts[i]->baseline);
            contexts[i]->owns_baseline = false;
            contexts[i]->baseline = contexts[0]->baseline;
            memcache_observers_release(contexts[i]->observers);
            contexts[i]->observers = contexts[0]->observers;
            contexts[i]->observers->user_count++;
        }
    }
}

static uint32_t context_count(const struct command_context *context)
{
    return context->all_contexts == NULL ? 1 : context->all_context_count;
}

static const struct command_context *context_at(const struct command_context *context, uint32_t i)
{
    return context->all_contexts == NULL ? context : context->all_contexts[i];
}

/* ---- writing: the owning worker only --------------------------------------------------------- */

/* Eight classes per power of two: the position of the highest bit, then the three bits below it. */
static uint32_t latency_class(uint64_t ticks)
{
    if (ticks < 8) {
        return (uint32_t)ticks;
    }
    uint32_t exponent = 63U - (uint32_t)__builtin_clzll(ticks);
    uint32_t index = (exponent - 2) * 8 + (uint32_t)(ticks >> (exponent - 3) & 7);
    return index < COMMAND_LATENCY_CLASSES ? index : COMMAND_LATENCY_CLASSES - 1;
}

static uint64_t latency_class_end(uint32_t index)
{
    if (index < 8) {
        return index + 1;
    }
    uint32_t exponent = index / 8 + 2;
    return (uint64_t)(index % 8 + 9) << (exponent - 3);
}

void statistics_note_latency(struct command_statistics *statistics, uint64_t ticks)
{
    store(&statistics->timed_calls, statistics->timed_calls + 1);
    store(&statistics->timed_ticks, statistics->timed_ticks + ticks);
    uint32_t *latency = &statistics->latencies[latency_class(ticks)];
    __atomic_store_n(latency, *latency + 1, __ATOMIC_RELAXED);
}

static size_t word_size(struct slice text)
{
    size_t size = 0;
    while (size < text.size && size < ERROR_WORD_BYTES_MAX - 1 && text.data[size] != ' ' &&
           text.data[size] != '\r' && text.data[size] != '\n') {
        size++;
    }
    return size;
}

static struct error_entry *find_error(struct error_statistics *errors, uint32_t count,
                                      const char *word, size_t size)
{
    for (uint32_t i = 0; i < count; i++) {
        if (strncmp(errors->entries[i].word, word, size) == 0 &&
            errors->entries[i].word[size] == '\0') {
            return &errors->entries[i];
        }
    }
    return NULL;
}

void statistics_note_error(struct command_context *context, struct slice text)
{
    struct error_statistics *errors = context->errors;
    const char *word = (const char *)text.data;
    size_t size = word_size(text);
    metric_add(context->metrics, METRIC_ERROR_REPLIES, 1);
    struct error_entry *entry = find_error(errors, errors->count, word, size);
    if (entry != NULL) {
        store(&entry->replies, entry->replies + 1);
    } else if (errors->count == ERROR_WORD_COUNT_MAX) {
        store(&errors->others, errors->others + 1);
    } else {
        entry = &errors->entries[errors->count];
        memcpy(entry->word, word, size);
        entry->replies = 1;
        /* Pairs with the acquire load in statistics_errors: the entry first, then the count. */
        __atomic_store_n(&errors->count, errors->count + 1, __ATOMIC_RELEASE);
    }
}

/* ---- reading: any worker --------------------------------------------------------------------- */

uint64_t statistics_gauge(const struct command_context *context, enum metric metric)
{
    if (context->all_metrics == NULL) {
        return metric_read(context->metrics, metric);
    }
    uint64_t sum = 0;
    for (uint32_t i = 0; i < context->worker_count; i++) {
        sum += metric_read(context->all_metrics[i], metric);
    }
    return sum;
}

uint64_t statistics_metric(const struct command_context *context, enum metric metric)
{
    uint64_t base = load_baseline(&context->baseline->metrics[metric]);
    return statistics_gauge(context, metric) - base;
}

static void sum_command(const struct command_context *context, uint32_t index,
                        struct command_statistics *sum)
{
    *sum = (struct command_statistics){0};
    for (uint32_t i = 0; i < context_count(context); i++) {
        const struct command_statistics *part = &context_at(context, i)->statistics[index];
        sum->calls += load(&part->calls);
        sum->rejected += load(&part->rejected);
        sum->failed += load(&part->failed);
        sum->timed_calls += load(&part->timed_calls);
        sum->timed_ticks += load(&part->timed_ticks);
        for (uint32_t j = 0; j < COMMAND_LATENCY_CLASSES; j++) {
            sum->latencies[j] += __atomic_load_n(&part->latencies[j], __ATOMIC_RELAXED);
        }
    }
}

void statistics_command(const struct command_context *context, uint32_t index,
                        struct command_statistics *sum)
{
    const struct command_statistics *at = &context->baseline->commands[index];
    struct command_statistics base = {
        .calls = load_baseline(&at->calls),
        .rejected = load_baseline(&at->rejected),
        .failed = load_baseline(&at->failed),
        .timed_calls = load_baseline(&at->timed_calls),
        .timed_ticks = load_baseline(&at->timed_ticks),
    };
    for (uint32_t j = 0; j < COMMAND_LATENCY_CLASSES; j++) {
        base.latencies[j] = __atomic_load_n(&at->latencies[j], __ATOMIC_ACQUIRE);
    }
    sum_command(context, index, sum);
    sum->calls -= base.calls;
    sum->rejected -= base.rejected;
    sum->failed -= base.failed;
    sum->timed_calls -= base.timed_calls;
    sum->timed_ticks -= base.timed_ticks;
    for (uint32_t j = 0; j < COMMAND_LATENCY_CLASSES; j++) {
        sum->latencies[j] -= base.latencies[j];
    }
}

static void add_errors(struct error_statistics *sum, const struct error_statistics *part)
{
    uint32_t count = __atomic_load_n(&part->count, __ATOMIC_ACQUIRE);
    for (uint32_t i = 0; i < count; i++) {
        const char *word = part->entries[i].word;
        struct error_entry *entry = find_error(sum, sum->count, word, strlen(word));
        if (entry == NULL && sum->count < ERROR_WORD_COUNT_MAX) {
            entry = &sum->entries[sum->count++];
            memcpy(entry->word, word, sizeof(entry->word));
            entry->replies = 0;
        }
        *(entry != NULL ? &entry->replies : &sum->others) +=
            load_baseline(&part->entries[i].replies);
    }
    sum->others += load(&part->others);
}

static void sum_errors(const struct command_context *context, struct error_statistics *sum)
{
    memset(sum, 0, sizeof(*sum));
    for (uint32_t i = 0; i < context_count(context); i++) {
        add_errors(sum, context_at(context, i)->errors);
    }
}

uint32_t statistics_errors(const struct command_context *context,
                           struct error_entry entries[ERROR_WORD_COUNT_MAX])
{
    struct error_statistics base, sum;
    memset(&base, 0, sizeof(base));
    add_errors(&base, &context->baseline->errors); /* first: see load_baseline */
    sum_errors(context, &sum);
    uint32_t shown = 0;
    for (uint32_t i = 0; i < sum.count; i++) {
        struct error_entry entry = sum.entries[i];
        const struct error_entry *before =
            find_error(&base, base.count, entry.word, strlen(entry.word));
        entry.replies -= before == NULL ? 0 : before->replies;
        if (entry.replies > 0) {
            entries[shown++] = entry;
        }
    }
    return shown;
}

static void reset_errors(const struct command_context *context, struct error_statistics *base)
{
    struct error_statistics sum;
    sum_errors(context, &sum);
    for (uint32_t i = 0; i < sum.count; i++) {
        const struct error_entry *from = &sum.entries[i];
        struct error_entry *entry = find_error(base, base->count, from->word, strlen(from->word));
        if (entry != NULL) {
            store(&entry->replies, from->replies);
        } else if (base->count < ERROR_WORD_COUNT_MAX) {
            base->entries[base->count] = *from;
            __atomic_store_n(&base->count, base->count + 1, __ATOMIC_RELEASE);
        }
    }
}

void statistics_reset(struct command_context *context)
{
    struct statistics_baseline *baseline = context->baseline;
    /* Pairs with the release store at the end: the next reset sees what this one wrote. */
    if (__atomic_exchange_n(&baseline->resetting, 1, __ATOMIC_ACQUIRE) != 0) {
        return;
    }
    for (uint32_t i = 0; i < METRIC_COUNT; i++) {
        store(&baseline->metrics[i], statistics_gauge(context, (enum metric)i));
    }
    for (uint32_t i = 0; i < command_count; i++) {
        struct command_statistics sum;
        sum_command(context, i, &sum);
        struct command_statistics *base = &baseline->commands[i];
        store(&base->calls, sum.calls);
        store(&base->rejected, sum.rejected);
        store(&base->failed, sum.failed);
        store(&base->timed_calls, sum.timed_calls);
        store(&base->timed_ticks, sum.timed_ticks);
        for (uint32_t j = 0; j < COMMAND_LATENCY_CLASSES; j++) {
            __atomic_store_n(&base->latencies[j], sum.latencies[j], __ATOMIC_RELAXED);
        }
    }
    reset_errors(context, &baseline->errors);
    __atomic_store_n(&baseline->resetting, 0, __ATOMIC_RELEASE);
}

double statistics_ticks_to_us(uint64_t ticks)
{
    uint64_t hz = rte_get_tsc_hz();
    return hz == 0 ? 0.0 : (double)ticks * 1e6 / (double)hz;
}

double statistics_percentile_us(const struct command_statistics *statistics, double percent)
{
    uint64_t total = 0;
    for (uint32_t i = 0; i < COMMAND_LATENCY_CLASSES; i++) {
        total += statistics->latencies[i];
    }
    double wanted = (double)total * percent / 100.0;
    uint64_t seen = 0;
    for (uint32_t i = 0; i < COMMAND_LATENCY_CLASSES; i++) {
        seen += statistics->latencies[i];
        if (seen > 0 && (double)seen >= wanted) {
            return statistics_ticks_to_us(latency_class_end(i));
        }
    }
    return 0.0;
}
