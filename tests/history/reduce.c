/* Makes a history that no order explains shorter, so that a person can see why.
 *
 *   1. The first reply that no order explains is looked for: what was asked after its time is left
 *      out, and what was answered later counts as not answered.
 *   2. Reads that are not needed are left out: first half of them, then quarters, and so on.
 *
 * Both take conditions away and add none. Writes stay: what a read saw depends on them.
 */
#include <stdlib.h>

#include "dataplane/base/check.h"
#include "tests/history/history_internal.h"

#define TRIALS_MAX      400U
#define STEPS_MAX       UINT64_C(50000) /* of one trial, and one for each operation */
#define STEPS_TOTAL_MAX UINT64_C(500000)

struct reduction {
    const struct history *history;
    struct check_options options;
    uint64_t end_ns;
    bool *keep;
    uint32_t trials;
    uint64_t steps;
};

static bool is_read(const struct operation *operation)
{
    return operation->type == OPERATION_GET || operation->type == OPERATION_MGET ||
           operation->type == OPERATION_EXISTS;
}

static void add_kept(const struct reduction *reduction, struct history *shorter)
{
    for (uint32_t i = 0; i < reduction->history->operation_count; i++) {
        struct operation operation = reduction->history->operations[i];
        const struct access *accesses = operation_accesses(reduction->history, &operation);
        operation.unanswered |= operation.answered_ns > reduction->end_ns;
        if (reduction->keep[i]) {
            history_add(shorter, &operation, accesses, operation.access_count);
        }
    }
}

static bool is_still_wrong(struct reduction *reduction)
{
    struct history shorter = {0};
    add_kept(reduction, &shorter);
    struct check_result result = history_check(&shorter, &reduction->options, NULL);
    history_deinit(&shorter);
    reduction->trials++;
    reduction->steps += result.steps;
    return result.verdict == CHECK_VIOLATED;
}

static void set_reads(struct reduction *reduction, const uint32_t *reads, uint32_t count, bool keep)
{
    for (uint32_t i = 0; i < count; i++) {
        reduction->keep[reads[i]] = keep;
    }
}

static bool may_go_on(const struct reduction *reduction)
{
    return reduction->trials < TRIALS_MAX && reduction->steps < STEPS_TOTAL_MAX;
}

static void leave_reads_out(struct reduction *reduction)
{
    uint32_t *reads = (uint32_t *)calloc(reduction->history->operation_count, sizeof(uint32_t));
    CHECK(reads != NULL);
    uint32_t count = 0;
    for (uint32_t i = 0; i < reduction->history->operation_count; i++) {
        if (reduction->keep[i] && is_read(&reduction->history->operations[i])) {
            reads[count++] = i;
        }
    }
    for (uint32_t size = (count + 1) / 2; size > 0; size /= 2) {
        for (uint32_t first = 0; first < count && may_go_on(reduction);) {
            uint32_t chunk = count - first < size ? count - first : size;
            set_reads(reduction, reads + first, chunk, false);
            if (is_still_wrong(reduction)) {
                memmove(reads + first, reads + first + chunk,
                        (count - first - chunk) * sizeof(*reads));
                count -= chunk;
            } else {
                set_reads(reduction, reads + first, chunk, true);
                first += chunk;
            }
        }
    }
    free(reads);
}

static int compare_times(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static void end_at(struct reduction *reduction, uint64_t end_ns)
{
    reduction->end_ns = end_ns;
    for (uint32_t i = 0; i < reduction->history->operation_count; i++) {
        reduction->keep[i] = reduction->history->operations[i].asked_ns <= end_ns;
    }
}

/* Once wrong, a history stays wrong however it goes on: so the end can be halved in on. */
static void find_end(struct reduction *reduction)
{
    uint32_t count = reduction->history->operation_count;
    uint64_t *times = (uint64_t *)calloc(count, sizeof(uint64_t));
    CHECK(times != NULL);
    for (uint32_t i = 0; i < count; i++) {
        times[i] = reduction->history->operations[i].answered_ns;
    }
    qsort(times, count, sizeof(*times), compare_times);
    uint32_t right = 0, wrong = count - 1; /* the first `right` times are too early */
    while (right < wrong) {
        uint32_t middle = right + (wrong - right) / 2;
        end_at(reduction, times[middle]);
        if (is_still_wrong(reduction)) {
            wrong = middle;
        } else {
            right = middle + 1;
        }
    }
    end_at(reduction, times[wrong]);
    free(times);
}

const struct operation *history_reduce(const struct history *history,
                                       const struct check_options *options, struct history *shorter)
{
    struct reduction reduction = {.history = history, .options = *options};
    reduction.options.steps_max = STEPS_MAX + history->operation_count;
    reduction.keep = (bool *)calloc(history->operation_count, sizeof(bool));
    CHECK(reduction.keep != NULL);
    find_end(&reduction);
    leave_reads_out(&reduction);
    add_kept(&reduction, shorter);
    free(reduction.keep);
    for (uint32_t i = 0;; i++) {
        CHECK(i < history->operation_count);
        if (history->operations[i].answered_ns == reduction.end_ns) {
            return &history->operations[i];
        }
    }
}
