/* The compact columns of the command table, read element by element. They are our own text: what
 * does not fit the grammar is a bug and fails a CHECK (the table test reads every row).
 *
 *   key specs   blank-separated  FLAG[,FLAG...]@POSITION:LAST,STEP,LIMIT
 *   arguments   blank-separated  NAME:TYPE[=TOKEN][@KEY_SPEC_INDEX][?][*][+][^SINCE][(ARGUMENTS)]
 *
 *   ? optional   * multiple   + multiple, each with its token   ^ the version that brought it
 */
#ifndef NICACHED_L7_COMMAND_COMPACT_H
#define NICACHED_L7_COMMAND_COMPACT_H

#include "dataplane/base/bytes.h"

struct key_spec {
    struct slice flags; /* upper case, joined by commas */
    int32_t first;      /* index of the first key */
    int32_t last, step,
        limit; /* as Redis' range: last is relative to first, negative from the end */
};

struct argument {
    struct slice name, type, token, since; /* token, since: empty when absent */
    int32_t key_spec;                      /* -1: none */
    bool optional, multiple, multiple_token;
    struct slice nested; /* of oneof and block */
};

/* Take the next element off the front of `rest`; false at its end. */
bool compact_next_key_spec(struct slice *rest, struct key_spec *spec);
bool compact_next_argument(struct slice *rest, struct argument *argument);
/* The next word up to `separator`. */
bool compact_next_word(struct slice *rest, char separator, struct slice *word);

/* A NULL column is an empty one. */
struct slice compact_column(const char *text);

/* The grammar as people write it: "key value [NX | XX] [EX seconds]"; terminated, cut to fit. */
void compact_format_syntax(struct slice arguments, char *text, size_t text_bytes);

#endif
