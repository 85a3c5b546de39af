/* Keeping a history, and printing its operations. */
#include <inttypes.h>
#include <stdlib.h>

#include "dataplane/base/check.h"
#include "tests/history/history_internal.h"

static const char *const names[] = {
#define OPERATION(name, command) command,
    OPERATIONS(OPERATION)
#undef OPERATION
};

const char *operation_name(enum operation_type type)
{
    return names[type];
}

bool operation_needs_memory(enum operation_type type)
{
    return type == OPERATION_SET || type == OPERATION_SET_NX || type == OPERATION_SET_XX ||
           type == OPERATION_SET_GET || type == OPERATION_INCR || type == OPERATION_APPEND ||
           type == OPERATION_MSET || type == OPERATION_MSETNX || type == OPERATION_RENAME ||
           type == OPERATION_COPY || type == OPERATION_COPY_REPLACE;
}

void history_deinit(struct history *history)
{
    free(history->operations);
    free(history->accesses);
    *history = (struct history){0};
}

/* Room for `count` more of `size` bytes behind `used`. */
static void *make_room(void *array, uint32_t used, uint32_t count, uint32_t *room, size_t size)
{
    if (used + count <= *room) {
        return array;
    }
    *room = (used + count) * 2 + 64;
    array = realloc(array, *room * size);
    CHECK(array != NULL);
    return array;
}

uint32_t history_add(struct history *history, const struct operation *operation,
                     const struct access *accesses, uint32_t access_count)
{
    history->operations =
        (struct operation *)make_room(history->operations, history->operation_count, 1,
                                      &history->operation_room, sizeof(*history->operations));
    history->accesses =
        (struct access *)make_room(history->accesses, history->access_count, access_count,
                                   &history->access_room, sizeof(*history->accesses));
    struct operation *added = &history->operations[history->operation_count];
    *added = *operation;
    added->access_first = history->access_count;
    added->access_count = (uint8_t)access_count;
    for (uint32_t i = 0; i < access_count; i++) {
        history->accesses[history->access_count++] = accesses[i];
    }
    return history->operation_count++;
}

void history_print_value(FILE *out, struct value value)
{
    if (value_is_absent(value)) {
        fprintf(out, "nil");
    } else if (value_is_number(value)) {
        fprintf(out, "%" PRIu32 "*65536+%" PRIu32, value.origin, value_rank(value));
    } else if (value.origin == ORIGIN_UNKNOWN) {
        fprintf(out, "bytes that nobody wrote");
    } else {
        fprintf(out, "v%" PRIu32 "(%" PRIu32 " bytes)", value.origin, value_length(value));
    }
}

static void print_access(FILE *out, const struct operation *operation, const struct access *access)
{
    fprintf(out, " k%u", access->key);
    if (!value_is_absent(access->written)) {
        fprintf(out, "=");
        history_print_value(out, access->written);
    }
    if (model_observes_values((enum operation_type)operation->type) && !operation->unanswered) {
        fprintf(out, " saw ");
        history_print_value(out, access->observed);
    }
}

void history_print_operation(FILE *out, const struct history *history,
                             const struct operation *operation, uint64_t base_ns)
{
    const struct access *accesses = operation_accesses(history, operation);
    fprintf(out, "  %12.3f us  ", (double)(int64_t)(operation->asked_ns - base_ns) / 1e3);
    if (operation->unanswered) {
        fprintf(out, "no answer      ");
    } else {
        fprintf(out, "+%10.3f us ", (double)(operation->answered_ns - operation->asked_ns) / 1e3);
    }
    fprintf(out, " thread %2u  %s", operation->thread,
            operation_name((enum operation_type)operation->type));
    for (uint32_t i = 0; i < operation->access_count; i++) {
        print_access(out, operation, &accesses[i]);
    }
    if (operation->px_ms != 0) {
        fprintf(out, " PX %" PRIu32, operation->px_ms);
    }
    if (operation->unanswered) {
        fprintf(out, "\n");
    } else {
        fprintf(out, " -> %" PRId64 "\n", operation->number);
    }
}
