/* LCS: the longest common subsequence of two strings, its length, or where its pieces lie.
 *
 * The classic table: lengths[i][j] is the length of the longest common subsequence of the first i
 * bytes of a and the first j bytes of b. Filling it is O(N*M) in time and memory; walking it back
 * from the far corner gives the pieces, last one first. Where several subsequences are longest, the
 * walk prefers the step that Redis prefers, so the answer is the same one.
 *
 * This is the one command that takes its working memory from the heap: it is documented as O(N*M),
 * and the memory is bounded by proto-max-bulk-len as in Redis.
 */
#include <stdlib.h>

#include "dataplane/l7_command/handlers_string.h"
#include "dataplane/l7_command/string_value.h"

struct lcs {
    struct slice a, b;
    uint32_t *lengths; /* (a.size + 1) rows of (b.size + 1) */
};

/* A run of bytes equal in both strings: `size` of them, from a_start and b_start on. */
struct lcs_run {
    size_t a_start, b_start, size;
};

struct lcs_options {
    bool length_only, indexes, with_match_length;
    int64_t match_length_min;
};

static bool parse_options(struct call *call, struct lcs_options *options)
{
    *options = (struct lcs_options){0};
    for (uint32_t i = 3; i < call->argument_count; i++) {
        if (call_option(call, i, "IDX")) {
            options->indexes = true;
        } else if (call_option(call, i, "LEN")) {
            options->length_only = true;
        } else if (call_option(call, i, "WITHMATCHLEN")) {
            options->with_match_length = true;
        } else if (call_option(call, i, "MINMATCHLEN") && i + 1 < call->argument_count) {
            if (!call_int64(call, ++i, &options->match_length_min)) {
                return false;
            }
        } else {
            reply_error(call->reply, ERROR_SYNTAX);
            return false;
        }
    }
    if (options->indexes && options->length_only) {
        reply_error(call->reply,
                    "ERR If you want both the length and indexes, please just use IDX.");
        return false;
    }
    return true;
}

static uint32_t length_at(const struct lcs *lcs, size_t i, size_t j)
{
    return lcs->lengths[i * (lcs->b.size + 1) + j];
}

/* False with the error written. The sizes are bounded by ITEM_VALUE_BYTES_MAX, so the product fits
 * 64 bits. */
static bool allocate_table(struct call *call, struct lcs *lcs)
{
    uint64_t cells = (uint64_t)(lcs->a.size + 1) * (lcs->b.size + 1);
    uint64_t bytes = cells * sizeof(uint32_t);
    if (bytes > string_size_max(call)) {
        reply_error(call->reply, "ERR Insufficient memory, transient memory for LCS exceeds "
                                 "proto-max-bulk-len");
        return false;
    }
    lcs->lengths = malloc(bytes);
    if (lcs->lengths == NULL) {
        reply_error(call->reply,
                    "ERR Insufficient memory, failed allocating transient memory for LCS");
        return false;
    }
    return true;
}

static void fill_row(struct lcs *lcs, size_t i)
{
    uint32_t *row = lcs->lengths + i * (lcs->b.size + 1);
    const uint32_t *above = row - (lcs->b.size + 1);
    uint8_t byte = lcs->a.data[i - 1];
    row[0] = 0;
    for (size_t j = 1; j <= lcs->b.size; j++) {
        uint32_t longer = above[j] > row[j - 1] ? above[j] : row[j - 1];
        row[j] = lcs->b.data[j - 1] == byte ? above[j - 1] + 1 : longer;
    }
}

static void fill_table(struct lcs *lcs)
{
    memset(lcs->lengths, 0, (lcs->b.size + 1) * sizeof(uint32_t));
    for (size_t i = 1; i <= lcs->a.size; i++) {
        fill_row(lcs, i);
    }
}

/* The next run on the way back from (*i, *j); false when there is none left. */
static bool walk_to_run(const struct lcs *lcs, size_t *i, size_t *j, struct lcs_run *run)
{
    while (*i > 0 && *j > 0 && lcs->a.data[*i - 1] != lcs->b.data[*j - 1]) {
        if (length_at(lcs, *i - 1, *j) > length_at(lcs, *i, *j - 1)) {
            --*i;
        } else {
            --*j;
        }
    }
    size_t size = 0;
    while (*i > 0 && *j > 0 && lcs->a.data[*i - 1] == lcs->b.data[*j - 1]) {
        --*i;
        --*j;
        size++;
    }
    *run = (struct lcs_run){*i, *j, size};
    return size != 0;
}

static bool run_is_shown(const struct lcs_run *run, const struct lcs_options *options)
{
    return options->match_length_min <= 0 || run->size >= (uint64_t)options->match_length_min;
}

static uint64_t count_runs(const struct lcs *lcs, const struct lcs_options *options)
{
    size_t i = lcs->a.size, j = lcs->b.size;
    struct lcs_run run;
    uint64_t count = 0;
    while (walk_to_run(lcs, &i, &j, &run)) {
        count += run_is_shown(&run, options) ? 1 : 0;
    }
    return count;
}

static void reply_range(struct reply *reply, size_t start, size_t size)
{
    reply_array(reply, 2);
    reply_integer(reply, (int64_t)start);
    reply_integer(reply, (int64_t)(start + size - 1));
}

static void reply_runs(struct call *call, const struct lcs *lcs, const struct lcs_options *options)
{
    struct reply *reply = call->reply;
    reply_map(reply, 2);
    reply_bulk_string(reply, "matches");
    reply_array(reply, count_runs(lcs, options));
    size_t i = lcs->a.size, j = lcs->b.size;
    struct lcs_run run;
    while (walk_to_run(lcs, &i, &j, &run)) {
        if (!run_is_shown(&run, options)) {
            continue;
        }
        reply_array(reply, options->with_match_length ? 3 : 2);
        reply_range(reply, run.a_start, run.size);
        reply_range(reply, run.b_start, run.size);
        if (options->with_match_length) {
            reply_integer(reply, (int64_t)run.size);
        }
    }
    reply_bulk_string(reply, "len");
    reply_integer(reply, length_at(lcs, lcs->a.size, lcs->b.size));
}

static void reply_subsequence(struct call *call, const struct lcs *lcs)
{
    size_t size = length_at(lcs, lcs->a.size, lcs->b.size), left = size;
    uint8_t *text = malloc(size + 1); /* + 1: never a request for nothing */
    if (text == NULL) {
        reply_error(call->reply,
                    "ERR Insufficient memory, failed allocating transient memory for LCS");
        return;
    }
    size_t i = lcs->a.size, j = lcs->b.size;
    struct lcs_run run;
    while (walk_to_run(lcs, &i, &j, &run)) {
        left -= run.size;
        memcpy(text + left, lcs->a.data + run.a_start, run.size);
    }
    reply_bulk(call->reply, slice_of(text, size));
    free(text);
}

static const struct item *find_string(struct call *call, uint32_t index, bool *is_string)
{
    struct key key = call_key(call, index);
    const struct item *item = call_find_for_read(call, &key);
    *is_string = item == NULL || item_type(item) == ITEM_STRING;
    return item;
}

static void reply_lcs(struct call *call, struct lcs *lcs, const struct lcs_options *options)
{
    if (!allocate_table(call, lcs)) {
        return;
    }
    fill_table(lcs);
    if (options->indexes) {
        reply_runs(call, lcs, options);
    } else if (options->length_only) {
        reply_integer(call->reply, length_at(lcs, lcs->a.size, lcs->b.size));
    } else {
        reply_subsequence(call, lcs);
    }
    free(lcs->lengths);
}

enum command_verdict string_lcs(struct call *call)
{
    bool is_string_a, is_string_b;
    const struct item *a = find_string(call, 1, &is_string_a);
    const struct item *b = find_string(call, 2, &is_string_b);
    if (!is_string_a || !is_string_b) {
        reply_error(call->reply, "ERR The specified keys must contain string values");
        return COMMAND_DONE;
    }
    struct lcs_options options;
    if (!parse_options(call, &options)) {
        return COMMAND_DONE;
    }
    uint8_t scratch_a[NUMBER_TEXT_BYTES_MAX], scratch_b[NUMBER_TEXT_BYTES_MAX];
    struct lcs lcs = {
        .a = a == NULL ? slice_of(NULL, 0) : item_value(a, scratch_a),
        .b = b == NULL ? slice_of(NULL, 0) : item_value(b, scratch_b),
    };
    reply_lcs(call, &lcs, &options);
    return COMMAND_DONE;
}
