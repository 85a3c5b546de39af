/* The options that SET and GETEX share, and the times they and SETEX, PSETEX take. */
#ifndef NICACHED_L7_COMMAND_STRING_OPTIONS_H
#define NICACHED_L7_COMMAND_STRING_OPTIONS_H

#include "dataplane/l7_command/command.h"

enum string_option {
    STRING_OPTION_NX = 1 << 0,
    STRING_OPTION_XX = 1 << 1,
    STRING_OPTION_GET = 1 << 2,
    STRING_OPTION_KEEPTTL = 1 << 3,
    STRING_OPTION_PERSIST = 1 << 4,
    STRING_OPTION_EX = 1 << 5,
    STRING_OPTION_PX = 1 << 6,
    STRING_OPTION_EXAT = 1 << 7,
    STRING_OPTION_PXAT = 1 << 8,
};

#define STRING_OPTIONS_OF_SET                                                                      \
    (STRING_OPTION_NX | STRING_OPTION_XX | STRING_OPTION_GET | STRING_OPTION_KEEPTTL |             \
     STRING_OPTION_EX | STRING_OPTION_PX | STRING_OPTION_EXAT | STRING_OPTION_PXAT)
#define STRING_OPTIONS_OF_GETEX                                                                    \
    (STRING_OPTION_PERSIST | STRING_OPTION_EX | STRING_OPTION_PX | STRING_OPTION_EXAT |            \
     STRING_OPTION_PXAT)

struct string_options {
    uint32_t flags;      /* enum string_option */
    uint32_t time_index; /* argument that holds the time; 0: none */
};

/* Reads the arguments from `index` to the end; `allowed` are the command's own. False with the
 * syntax error written. */
bool string_parse_options(struct call *call, uint32_t index, uint32_t allowed,
                          struct string_options *options);

/* The time at argument `index` as Unix milliseconds, by its option (STRING_OPTION_EX ... PXAT).
 * False with the error written: no integer, not positive, or beyond what fits. */
bool string_parse_time(struct call *call, uint32_t index, uint32_t flags, uint64_t *expire_at_ms);

/* "ERR invalid expire time in 'set' command" */
void string_reply_invalid_time(struct call *call);

#endif
