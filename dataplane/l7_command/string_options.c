/* Options of SET and GETEX: one table row each, with what it cannot stand beside.
 *
 * As in Redis, an option may be repeated (the last time wins), and options exclude each other
 * whichever comes first.
 */
#include "dataplane/l7_command/string_options.h"

#define TIME_OPTIONS     (STRING_OPTION_EX | STRING_OPTION_PX | STRING_OPTION_EXAT | STRING_OPTION_PXAT)
#define LIFETIME_OPTIONS (TIME_OPTIONS | STRING_OPTION_KEEPTTL | STRING_OPTION_PERSIST)

static const struct option_row {
    const char *name;
    uint32_t flag;
    uint32_t excludes;
} option_rows[] = {
    {"NX", STRING_OPTION_NX, STRING_OPTION_XX},
    {"XX", STRING_OPTION_XX, STRING_OPTION_NX},
    {"GET", STRING_OPTION_GET, 0},
    {"KEEPTTL", STRING_OPTION_KEEPTTL, LIFETIME_OPTIONS & ~(uint32_t)STRING_OPTION_KEEPTTL},
    {"PERSIST", STRING_OPTION_PERSIST, LIFETIME_OPTIONS & ~(uint32_t)STRING_OPTION_PERSIST},
    {"EX", STRING_OPTION_EX, LIFETIME_OPTIONS & ~(uint32_t)STRING_OPTION_EX},
    {"PX", STRING_OPTION_PX, LIFETIME_OPTIONS & ~(uint32_t)STRING_OPTION_PX},
    {"EXAT", STRING_OPTION_EXAT, LIFETIME_OPTIONS & ~(uint32_t)STRING_OPTION_EXAT},
    {"PXAT", STRING_OPTION_PXAT, LIFETIME_OPTIONS & ~(uint32_t)STRING_OPTION_PXAT},
};

static const struct option_row *find_option(const struct call *call, uint32_t index)
{
    for (size_t i = 0; i < sizeof(option_rows) / sizeof(option_rows[0]); i++) {
        if (call_option(call, index, option_rows[i].name)) {
            return &option_rows[i];
        }
    }
    return NULL;
}

bool string_parse_options(struct call *call, uint32_t index, uint32_t allowed,
                          struct string_options *options)
{
    *options = (struct string_options){0};
    while (index < call->argument_count) {
        const struct option_row *row = find_option(call, index);
        bool takes_time = row != NULL && (row->flag & TIME_OPTIONS) != 0;
        if (row == NULL || (row->flag & allowed) == 0 || (row->excludes & options->flags) != 0 ||
            (takes_time && index + 1 == call->argument_count)) {
            reply_error(call->reply, ERROR_SYNTAX);
            return false;
        }
        options->flags |= row->flag;
        if (takes_time) {
            options->time_index = index + 1;
        }
        index += takes_time ? 2 : 1;
    }
    return true;
}

void string_reply_invalid_time(struct call *call)
{
    reply_error_format(call->reply, "ERR invalid expire time in '%s' command", call->command->name);
}

bool string_parse_time(struct call *call, uint32_t index, uint32_t flags, uint64_t *expire_at_ms)
{
    int64_t time;
    if (!call_int64(call, index, &time)) {
        return false;
    }
    bool seconds = (flags & (STRING_OPTION_EX | STRING_OPTION_EXAT)) != 0;
    bool relative = (flags & (STRING_OPTION_EX | STRING_OPTION_PX)) != 0;
    int64_t base_ms = relative ? (int64_t)call->now->wall_ms : 0;
    if (time <= 0 || (seconds && __builtin_mul_overflow(time, 1000, &time)) ||
        __builtin_add_overflow(time, base_ms, &time)) {
        string_reply_invalid_time(call);
        return false;
    }
    *expire_at_ms = (uint64_t)time;
    return true;
}
