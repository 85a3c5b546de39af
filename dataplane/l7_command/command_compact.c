/* Reads the compact columns of the command table; command_compact.h has the grammar. */
#include "dataplane/l7_command/command_compact.h"

#include "dataplane/base/check.h"
#include "dataplane/base/number.h"

struct slice compact_column(const char *text)
{
    return text == NULL ? slice_of(NULL, 0) : slice_of_string(text);
}

static bool starts_with(struct slice rest, char byte)
{
    return rest.size > 0 && rest.data[0] == (uint8_t)byte;
}

static bool take_byte(struct slice *rest, char byte)
{
    bool there = starts_with(*rest, byte);
    if (there) {
        *rest = slice_from(*rest, 1);
    }
    return there;
}

/* What comes before the first byte of `stops`. */
static struct slice take_until(struct slice *rest, const char *stops)
{
    size_t size = 0;
    while (size < rest->size && strchr(stops, rest->data[size]) == NULL) {
        size++;
    }
    struct slice taken = slice_of(rest->data, size);
    *rest = slice_from(*rest, size);
    return taken;
}

static int32_t take_number(struct slice *rest)
{
    int64_t value = 0;
    struct slice digits = take_until(rest, " :,?*+^(@");
    CHECK(number_parse_int64(digits, &value) && value >= INT16_MIN && value <= INT16_MAX);
    return (int32_t)value;
}

static void skip_blanks(struct slice *rest)
{
    while (take_byte(rest, ' ')) {
    }
}

bool compact_next_word(struct slice *rest, char separator, struct slice *word)
{
    const char stops[2] = {separator, '\0'};
    while (take_byte(rest, separator)) {
    }
    *word = take_until(rest, stops);
    return word->size > 0;
}

bool compact_next_key_spec(struct slice *rest, struct key_spec *spec)
{
    skip_blanks(rest);
    if (rest->size == 0) {
        return false;
    }
    spec->flags = take_until(rest, "@");
    CHECK(spec->flags.size > 0 && take_byte(rest, '@'));
    spec->first = take_number(rest);
    CHECK(take_byte(rest, ':'));
    spec->last = take_number(rest);
    CHECK(take_byte(rest, ','));
    spec->step = take_number(rest);
    CHECK(take_byte(rest, ','));
    spec->limit = take_number(rest);
    CHECK(spec->first > 0 && spec->step > 0 && (rest->size == 0 || starts_with(*rest, ' ')));
    return true;
}

/* `rest` starts behind '('; takes the matching ')' too. */
static struct slice take_nested(struct slice *rest)
{
    size_t size = 0;
    for (int depth = 1;; size++) {
        CHECK(size < rest->size);
        depth += rest->data[size] == '(' ? 1 : rest->data[size] == ')' ? -1 : 0;
        if (depth == 0) {
            break;
        }
    }
    struct slice nested = slice_of(rest->data, size);
    *rest = slice_from(*rest, size + 1);
    return nested;
}

bool compact_next_argument(struct slice *rest, struct argument *argument)
{
    static const char modifiers[] = " @?*+^(";
    skip_blanks(rest);
    if (rest->size == 0) {
        return false;
    }
    *argument = (struct argument){.key_spec = -1};
    argument->name = take_until(rest, ": ");
    CHECK(argument->name.size > 0 && take_byte(rest, ':'));
    argument->type = take_until(rest, " =@?*+^(");
    CHECK(argument->type.size > 0);
    if (take_byte(rest, '=')) {
        argument->token = take_until(rest, modifiers);
    }
    if (take_byte(rest, '@')) {
        argument->key_spec = take_number(rest);
    }
    argument->optional = take_byte(rest, '?');
    argument->multiple = take_byte(rest, '*');
    argument->multiple_token = take_byte(rest, '+');
    if (take_byte(rest, '^')) {
        argument->since = take_until(rest, " (");
    }
    if (take_byte(rest, '(')) {
        argument->nested = take_nested(rest);
    }
    CHECK(rest->size == 0 || starts_with(*rest, ' '));
    return true;
}

/* ---- syntax ---------------------------------------------------------------------------------- */

struct writer {
    char *text;
    size_t used, capacity;
};

static void write_bytes(struct writer *writer, struct slice bytes)
{
    size_t room = writer->capacity - 1 - writer->used;
    size_t size = bytes.size < room ? bytes.size : room;
    if (size > 0) {
        memcpy(writer->text + writer->used, bytes.data, size);
        writer->used += size;
    }
}

static void write_text(struct writer *writer, const char *text)
{
    write_bytes(writer, slice_of_string(text));
}

static void write_arguments(struct writer *writer, struct slice arguments, const char *separator);

/* One occurrence, without its optional brackets. */
static void write_once(struct writer *writer, const struct argument *argument)
{
    bool one_of = slice_equal(argument->type, SLICE_LITERAL("oneof"));
    bool block = slice_equal(argument->type, SLICE_LITERAL("block"));
    if (argument->token.size > 0) {
        write_bytes(writer, argument->token);
        if (slice_equal(argument->type, SLICE_LITERAL("pure-token"))) {
            return;
        }
        write_text(writer, " ");
    }
    if (one_of) {
        bool bracketed = argument->optional && argument->token.size == 0 && !argument->multiple;
        write_text(writer, bracketed ? "" : "<");
        write_arguments(writer, argument->nested, " | ");
        write_text(writer, bracketed ? "" : ">");
    } else if (block) {
        write_arguments(writer, argument->nested, " ");
    } else {
        write_bytes(writer, argument->name);
    }
}

/* " [key ...]"; a long choice is not written twice. */
static void write_repetition(struct writer *writer, const struct argument *argument)
{
    if (slice_equal(argument->type, SLICE_LITERAL("oneof"))) {
        write_text(writer, " ...");
        return;
    }
    struct argument again = *argument;
    again.token = argument->multiple_token ? argument->token : slice_of(NULL, 0);
    write_text(writer, " [");
    write_once(writer, &again);
    write_text(writer, " ...]");
}

static void write_arguments(struct writer *writer, struct slice arguments, const char *separator)
{
    struct argument argument;
    for (bool first = true; compact_next_argument(&arguments, &argument); first = false) {
        write_text(writer, first ? "" : separator);
        write_text(writer, argument.optional ? "[" : "");
        write_once(writer, &argument);
        if (argument.multiple) {
            write_repetition(writer, &argument);
        }
        write_text(writer, argument.optional ? "]" : "");
    }
}

void compact_format_syntax(struct slice arguments, char *text, size_t text_bytes)
{
    CHECK(text_bytes > 0);
    struct writer writer = {text, 0, text_bytes};
    write_arguments(&writer, arguments, " ");
    text[writer.used] = '\0';
}
