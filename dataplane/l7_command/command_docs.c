/* COMMAND and its relatives, HELP, and the reference page: what the table says about itself.
 *
 * The shapes are those of Redis 7.2: sets and maps in RESP3, arrays in RESP2 (the reply writer sees
 * to that). Texts are ours.
 */
#include <stdio.h>
#include <stdlib.h>

#include "dataplane/base/check.h"
#include "dataplane/l7_command/command_compact.h"
#include "dataplane/l7_command/handlers_server.h"
#include "dataplane/l7_command/l7_command_internal.h"

#define SYNTAX_BYTES_MAX 1024

static bool is_child(const struct command *command, const struct command *parent)
{
    return command->parent != NULL && strcmp(command->parent, parent->name) == 0;
}

static bool is_top_level(const struct command *command)
{
    return command->parent == NULL;
}

static uint32_t count_children(const struct command *parent)
{
    uint32_t count = 0;
    for (uint32_t i = 0; parent->is_container && i < command_count; i++) {
        count += is_child(&commands[i], parent);
    }
    return count;
}

static uint32_t count_top_level(void)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < command_count; i++) {
        count += is_top_level(&commands[i]);
    }
    return count;
}

/* "get" or "client|list", as COMMAND INFO and DOCS are asked. */
static const struct command *find_by_full_name(struct slice name)
{
    const uint8_t *bar = name.size == 0 ? NULL : memchr(name.data, '|', name.size);
    if (bar == NULL) {
        return command_find_named(NULL, name);
    }
    size_t size = (size_t)(bar - name.data);
    const struct command *parent = command_find_named(NULL, slice_of(name.data, size));
    if (parent == NULL || !parent->is_container) {
        return NULL;
    }
    return command_find_named(parent, slice_from(name, size + 1));
}

static void reply_pair(struct reply *reply, const char *name, const char *value)
{
    reply_bulk_string(reply, name);
    reply_bulk_string(reply, value);
}

/* Status replies take C strings; elements of the compact columns are short. */
static void reply_status_slice(struct reply *reply, struct slice text)
{
    char copy[64];
    CHECK(text.size < sizeof(copy));
    memcpy(copy, text.data, text.size);
    copy[text.size] = '\0';
    reply_status(reply, copy);
}

/* ---- COMMAND INFO ---------------------------------------------------------------------------- */

/* One status per set bit that has a name. */
static void reply_bits(struct reply *reply, uint32_t bits, const char *const *names, uint32_t count,
                       const char *prefix)
{
    uint32_t shown = 0;
    for (uint32_t i = 0; i < count; i++) {
        shown += (bits >> i & 1) && names[i] != NULL;
    }
    reply_set(reply, shown);
    for (uint32_t i = 0; i < count; i++) {
        if ((bits >> i & 1) && names[i] != NULL) {
            char text[32];
            snprintf(text, sizeof(text), "%s%s", prefix, names[i]);
            reply_status(reply, text);
        }
    }
}

static uint32_t count_words(struct slice text, char separator)
{
    struct slice word;
    uint32_t count = 0;
    while (compact_next_word(&text, separator, &word)) {
        count++;
    }
    return count;
}

static void reply_tips(struct reply *reply, struct slice tips)
{
    struct slice tip;
    reply_set(reply, count_words(tips, ' '));
    while (compact_next_word(&tips, ' ', &tip)) {
        reply_bulk(reply, tip);
    }
}

/* "RO" stays as it is, the flags of three letters and more are shown in lower case. */
static void reply_key_flags(struct reply *reply, struct slice flags)
{
    struct slice flag;
    reply_set(reply, count_words(flags, ','));
    while (compact_next_word(&flags, ',', &flag)) {
        char text[32];
        CHECK(flag.size < sizeof(text));
        for (size_t i = 0; i < flag.size; i++) {
            char c = (char)flag.data[i];
            text[i] = flag.size > 2 && c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
        }
        text[flag.size] = '\0';
        reply_status(reply, text);
    }
}

static void reply_number(struct reply *reply, const char *name, int32_t value)
{
    reply_bulk_string(reply, name);
    reply_integer(reply, value);
}

static void reply_key_spec(struct reply *reply, const struct key_spec *spec)
{
    reply_map(reply, 3);
    reply_bulk_string(reply, "flags");
    reply_key_flags(reply, spec->flags);

    reply_bulk_string(reply, "begin_search");
    reply_map(reply, 2);
    reply_pair(reply, "type", "index");
    reply_bulk_string(reply, "spec");
    reply_map(reply, 1);
    reply_number(reply, "index", spec->first);

    reply_bulk_string(reply, "find_keys");
    reply_map(reply, 2);
    reply_pair(reply, "type", "range");
    reply_bulk_string(reply, "spec");
    reply_map(reply, 3);
    reply_number(reply, "lastkey", spec->last);
    reply_number(reply, "keystep", spec->step);
    reply_number(reply, "limit", spec->limit);
}

static void reply_key_specs(struct reply *reply, struct slice column)
{
    struct key_spec spec;
    uint32_t count = 0;
    for (struct slice rest = column; compact_next_key_spec(&rest, &spec);) {
        count++;
    }
    reply_set(reply, count);
    while (compact_next_key_spec(&column, &spec)) {
        reply_key_spec(reply, &spec);
    }
}

static void reply_info(struct reply *reply, const struct command *command)
{
    reply_array(reply, 10);
    reply_bulk_string(reply, command->name);
    reply_integer(reply, command->arity);
    reply_bits(reply, command->flags, command_flag_names, COMMAND_FLAG_COUNT, "");
    reply_integer(reply, command->first_key);
    reply_integer(reply, command->last_key);
    reply_integer(reply, command->key_step);
    reply_bits(reply, command_categories(command), command_category_names, COMMAND_CATEGORY_COUNT,
               "@");
    reply_tips(reply, compact_column(command->tips));
    reply_key_specs(reply, compact_column(command->key_specs));
    reply_set(reply, count_children(command));
    for (uint32_t i = 0; command->is_container && i < command_count; i++) {
        if (is_child(&commands[i], command)) {
            reply_info(reply, &commands[i]); /* one level: subcommands have none */
        }
    }
}

static void reply_info_all(struct reply *reply)
{
    reply_array(reply, count_top_level());
    for (uint32_t i = 0; i < command_count; i++) {
        if (is_top_level(&commands[i])) {
            reply_info(reply, &commands[i]);
        }
    }
}

enum command_verdict server_command(struct call *call)
{
    reply_info_all(call->reply);
    return COMMAND_DONE;
}

enum command_verdict server_command_info(struct call *call)
{
    if (call->argument_count == 2) {
        reply_info_all(call->reply);
        return COMMAND_DONE;
    }
    reply_array(call->reply, call->argument_count - 2);
    for (uint32_t i = 2; i < call->argument_count; i++) {
        const struct command *command = find_by_full_name(call->arguments[i]);
        if (command == NULL) {
            reply_null(call->reply);
        } else {
            reply_info(call->reply, command);
        }
    }
    return COMMAND_DONE;
}

enum command_verdict server_command_count(struct call *call)
{
    reply_integer(call->reply, count_top_level());
    return COMMAND_DONE;
}

/* ---- COMMAND LIST ---------------------------------------------------------------------------- */

struct list_filter {
    uint32_t categories; /* if by_category: one of them */
    bool by_category, by_pattern, none;
    struct slice pattern;
};

static uint32_t category_bit(struct slice name)
{
    for (uint32_t i = 0; i < COMMAND_CATEGORY_COUNT; i++) {
        if (slice_equal_ignoring_case(name, slice_of_string(command_category_names[i]))) {
            return 1U << i;
        }
    }
    return 0;
}

static bool parse_list_filter(struct call *call, struct list_filter *filter)
{
    if (call->argument_count == 2) {
        return true;
    }
    if (call->argument_count != 5 || !call_option(call, 2, "FILTERBY")) {
        return false;
    }
    if (call_option(call, 3, "MODULE")) {
        filter->none = true; /* there are no modules */
    } else if (call_option(call, 3, "ACLCAT")) {
        filter->by_category = true;
        filter->categories = category_bit(call->arguments[4]);
    } else if (call_option(call, 3, "PATTERN")) {
        filter->by_pattern = true;
        filter->pattern = call->arguments[4];
    } else {
        return false;
    }
    return true;
}

static bool passes(const struct list_filter *filter, const struct command *command)
{
    if (filter->none) {
        return false;
    }
    if (filter->by_category) {
        return (command_categories(command) & filter->categories) != 0;
    }
    return !filter->by_pattern || glob_match(filter->pattern, slice_of_string(command->name), true);
}

enum command_verdict server_command_list(struct call *call)
{
    struct list_filter filter = {0};
    if (!parse_list_filter(call, &filter)) {
        reply_error(call->reply, ERROR_SYNTAX);
        return COMMAND_DONE;
    }
    uint32_t count = 0;
    for (uint32_t i = 0; i < command_count; i++) {
        count += passes(&filter, &commands[i]);
    }
    reply_array(call->reply, count);
    for (uint32_t i = 0; i < command_count; i++) {
        if (passes(&filter, &commands[i])) {
            reply_bulk_string(call->reply, commands[i].name);
        }
    }
    return COMMAND_DONE;
}

/* ---- COMMAND DOCS ---------------------------------------------------------------------------- */

static uint32_t count_arguments(struct slice column)
{
    struct argument argument;
    uint32_t count = 0;
    while (compact_next_argument(&column, &argument)) {
        count++;
    }
    return count;
}

/* Leaves have a text to display; what only groups others has none. */
static bool argument_is_leaf(const struct argument *argument)
{
    return !slice_equal(argument->type, SLICE_LITERAL("oneof")) &&
           !slice_equal(argument->type, SLICE_LITERAL("block"));
}

static void reply_argument_flags(struct reply *reply, const struct argument *argument)
{
    reply_bulk_string(reply, "flags");
    reply_set(reply, (uint64_t)argument->optional + argument->multiple + argument->multiple_token);
    if (argument->optional) {
        reply_status(reply, "optional");
    }
    if (argument->multiple) {
        reply_status(reply, "multiple");
    }
    if (argument->multiple_token) {
        reply_status(reply, "multiple_token");
    }
}

static void reply_slice_pair(struct reply *reply, const char *name, struct slice value)
{
    if (value.size > 0) {
        reply_bulk_string(reply, name);
        reply_bulk(reply, value);
    }
}

static void reply_arguments(struct reply *reply, struct slice column);

static void reply_argument(struct reply *reply, const struct argument *argument)
{
    bool leaf = argument_is_leaf(argument);
    bool with_flags = argument->optional || argument->multiple || argument->multiple_token;
    reply_map(reply, 2 + (uint64_t)leaf + (argument->key_spec >= 0) + (argument->token.size > 0) +
                         (argument->since.size > 0) + with_flags + (argument->nested.size > 0));
    reply_slice_pair(reply, "name", argument->name);
    reply_slice_pair(reply, "type", argument->type);
    if (leaf) {
        reply_slice_pair(reply, "display_text", argument->name);
    }
    if (argument->key_spec >= 0) {
        reply_number(reply, "key_spec_index", argument->key_spec);
    }
    reply_slice_pair(reply, "token", argument->token);
    reply_slice_pair(reply, "since", argument->since);
    if (with_flags) {
        reply_argument_flags(reply, argument);
    }
    if (argument->nested.size > 0) {
        reply_bulk_string(reply, "arguments");
        reply_arguments(reply, argument->nested); /* as deep as the table's own text nests */
    }
}

static void reply_arguments(struct reply *reply, struct slice column)
{
    struct argument argument;
    reply_array(reply, count_arguments(column));
    while (compact_next_argument(&column, &argument)) {
        reply_argument(reply, &argument);
    }
}

static bool given(const char *text)
{
    return text != NULL && text[0] != '\0';
}

static void reply_pair_if_given(struct reply *reply, const char *name, const char *value)
{
    if (given(value)) {
        reply_pair(reply, name, value);
    }
}

static void reply_doc_flags(struct reply *reply, struct slice flags)
{
    struct slice flag;
    reply_bulk_string(reply, "doc_flags");
    reply_set(reply, count_words(flags, ' '));
    while (compact_next_word(&flags, ' ', &flag)) {
        reply_status_slice(reply, flag);
    }
}

static void reply_docs(struct reply *reply, const struct command *command)
{
    reply_map(reply, 3 + (uint64_t)given(command->complexity) + given(command->doc_flags) +
                         given(command->deprecated_since) + given(command->replaced_by) +
                         given(command->arguments) + command->is_container);
    reply_pair(reply, "summary", command->summary);
    reply_pair(reply, "since", command->since);
    reply_pair(reply, "group", command->group);
    reply_pair_if_given(reply, "complexity", command->complexity);
    if (given(command->doc_flags)) {
        reply_doc_flags(reply, compact_column(command->doc_flags));
    }
    reply_pair_if_given(reply, "deprecated_since", command->deprecated_since);
    reply_pair_if_given(reply, "replaced_by", command->replaced_by);
    if (given(command->arguments)) {
        reply_bulk_string(reply, "arguments");
        reply_arguments(reply, compact_column(command->arguments));
    }
    if (!command->is_container) {
        return;
    }
    reply_bulk_string(reply, "subcommands");
    reply_map(reply, count_children(command));
    for (uint32_t i = 0; i < command_count; i++) {
        if (is_child(&commands[i], command)) {
            reply_bulk_string(reply, commands[i].name);
            reply_docs(reply, &commands[i]);
        }
    }
}

enum command_verdict server_command_docs(struct call *call)
{
    struct reply *reply = call->reply;
    if (call->argument_count == 2) {
        reply_map(reply, count_top_level());
        for (uint32_t i = 0; i < command_count; i++) {
            if (is_top_level(&commands[i])) {
                reply_bulk_string(reply, commands[i].name);
                reply_docs(reply, &commands[i]);
            }
        }
        return COMMAND_DONE;
    }
    uint64_t found = 0;
    for (uint32_t i = 2; i < call->argument_count; i++) {
        found += find_by_full_name(call->arguments[i]) != NULL;
    }
    reply_map(reply, found);
    for (uint32_t i = 2; i < call->argument_count; i++) {
        const struct command *command = find_by_full_name(call->arguments[i]);
        if (command != NULL) {
            reply_bulk_string(reply, command->name);
            reply_docs(reply, command);
        }
    }
    return COMMAND_DONE;
}

/* ---- COMMAND GETKEYS ------------------------------------------------------------------------- */

/* Visits the keys of a command line. The range is Redis': `last` counts from the first key, or from
 * the end of the line when negative; `limit` then takes only that part of the line. */
static void visit_keys(const struct key_spec *spec, uint32_t count,
                       void (*visit)(void *argument, uint32_t index), void *argument)
{
    int64_t last = spec->last >= 0 ? spec->first + spec->last
                   : spec->limit <= 1
                       ? (int64_t)count + spec->last
                       : spec->first + ((int64_t)count - spec->first) / spec->limit + spec->last;
    for (int64_t i = spec->first; i <= last && i < count; i += spec->step) {
        visit(argument, (uint32_t)i);
    }
}

struct keys_reply {
    struct call *call;
    uint32_t count;
    bool with_flags;
    struct slice flags;
};

static void count_key(void *argument, uint32_t index)
{
    struct keys_reply *keys = argument;
    keys->count++;
}

static void reply_key(void *argument, uint32_t index)
{
    struct keys_reply *keys = argument;
    struct reply *reply = keys->call->reply;
    if (keys->with_flags) {
        reply_array(reply, 2);
    }
    reply_bulk(reply, keys->call->arguments[2 + index]);
    if (keys->with_flags) {
        reply_key_flags(reply, keys->flags);
    }
}

/* SET is the one command whose key flags depend on its options: with GET it also reads. */
static struct slice effective_flags(const struct call *call, const struct command *command,
                                    struct slice flags)
{
    if (strcmp(command->name, "set") != 0) {
        return flags;
    }
    for (uint32_t i = 5; i < call->argument_count; i++) {
        if (call_option(call, i, "GET")) {
            return SLICE_LITERAL("RW,ACCESS,UPDATE");
        }
    }
    return SLICE_LITERAL("OW,UPDATE");
}

static void reply_keys(struct call *call, const struct command *command, bool with_flags)
{
    struct keys_reply keys = {.call = call, .with_flags = with_flags};
    struct key_spec spec;
    uint32_t count = call->argument_count - 2;
    for (struct slice rest = compact_column(command->key_specs);
         compact_next_key_spec(&rest, &spec);) {
        visit_keys(&spec, count, count_key, &keys);
    }
    reply_array(call->reply, keys.count);
    for (struct slice rest = compact_column(command->key_specs);
         compact_next_key_spec(&rest, &spec);) {
        keys.flags = effective_flags(call, command, spec.flags);
        visit_keys(&spec, count, reply_key, &keys);
    }
}

static enum command_verdict get_keys(struct call *call, bool with_flags)
{
    uint32_t count = call->argument_count - 2;
    const struct command *command = command_find(call->arguments + 2, count);
    if (command == NULL) {
        reply_error(call->reply, "ERR Invalid command specified");
    } else if (command->first_key == 0) {
        reply_error(call->reply, "ERR The command has no key arguments");
    } else if (!command_arity_fits(command, count)) {
        reply_error(call->reply, "ERR Invalid number of arguments specified for command");
    } else {
        reply_keys(call, command, with_flags);
    }
    return COMMAND_DONE;
}

enum command_verdict server_command_getkeys(struct call *call)
{
    return get_keys(call, false);
}

enum command_verdict server_command_getkeysandflags(struct call *call)
{
    return get_keys(call, true);
}

/* ---- HELP ------------------------------------------------------------------------------------ */

static void format_upper(const char *from, char *to, size_t to_bytes)
{
    size_t i = 0;
    for (; from[i] != '\0' && i + 1 < to_bytes; i++) {
        to[i] = from[i] >= 'a' && from[i] <= 'z' ? (char)(from[i] - 'a' + 'A') : from[i];
    }
    to[i] = '\0';
}

static void reply_help_entry(struct reply *reply, const struct command *command)
{
    char name[64], syntax[SYNTAX_BYTES_MAX], line[SYNTAX_BYTES_MAX + 80];
    format_upper(command->name + strlen(command->parent) + 1, name, sizeof(name));
    compact_format_syntax(compact_column(command->arguments), syntax, sizeof(syntax));
    snprintf(line, sizeof(line), "%s%s%s", name, syntax[0] == '\0' ? "" : " ", syntax);
    reply_status(reply, line);
    snprintf(line, sizeof(line), "    %s", command->summary);
    reply_status(reply, line);
}

enum command_verdict server_help(struct call *call)
{
    const struct command *parent = command_find_named(NULL, slice_of_string(call->command->parent));
    char name[64], line[160];
    format_upper(parent->name, name, sizeof(name));
    snprintf(line, sizeof(line),
             "%s <subcommand> [<arg> [value] [opt] ...]. Subcommands are:", name);
    reply_array(call->reply, 1 + 2 * (uint64_t)count_children(parent));
    reply_status(call->reply, line);
    for (uint32_t i = 0; i < command_count; i++) {
        if (is_child(&commands[i], parent)) {
            reply_help_entry(call->reply, &commands[i]);
        }
    }
    return COMMAND_DONE;
}

/* ---- docs/commands.md ------------------------------------------------------------------------ */

static int compare_rows(const void *a, const void *b)
{
    const struct command *x = *(const struct command *const *)a;
    const struct command *y = *(const struct command *const *)b;
    int by_group = strcmp(x->group, y->group);
    return by_group != 0 ? by_group : strcmp(x->name, y->name);
}

/* A bar would end the table's cell. */
static void print_cell(FILE *to, const char *text)
{
    for (; *text != '\0'; text++) {
        fprintf(to, *text == '|' ? "\\%c" : "%c", *text);
    }
}

static void print_row(FILE *to, const struct command *command)
{
    char name[64], syntax[SYNTAX_BYTES_MAX];
    format_upper(command->name, name, sizeof(name));
    for (char *p = name; *p != '\0'; p++) {
        *p = *p == '|' ? ' ' : *p;
    }
    compact_format_syntax(compact_column(command->arguments), syntax, sizeof(syntax));
    fprintf(to, "| `%s` | ", name);
    print_cell(to, syntax);
    fprintf(to, " | %s | ", command->since);
    print_cell(to, command->summary);
    fputs(" | ", to);
    print_cell(to, command->complexity);
    fputs(" |\n", to);
}

void command_print_reference(FILE *to)
{
    const struct command **rows = calloc(command_count, sizeof(const struct command *));
    CHECK(rows != NULL);
    for (uint32_t i = 0; i < command_count; i++) {
        rows[i] = &commands[i];
    }
    qsort(rows, command_count, sizeof(const struct command *), compare_rows);
    fputs("# Commands\n\n"
          "Made from `dataplane/l7_command/commands*.def` (`nicached --print-reference commands`); "
          "change the\ntables, not this page.\n\n"
          "*Since* is the version of Redis that brought the command. The commands of memcached's "
          "text protocol,\nand what is not there yet, are in [support.md](support.md).\n",
          to);
    const char *group = "";
    for (uint32_t i = 0; i < command_count; i++) {
        if (strcmp(rows[i]->group, group) != 0) {
            group = rows[i]->group;
            fprintf(to,
                    "\n## %s\n\n| Command | Arguments | Since | What it does | Cost |\n"
                    "|---|---|---|---|---|\n",
                    group);
        }
        if (rows[i]->handler != NULL) { /* a bare container does nothing by itself */
            print_row(to, rows[i]);
        }
    }
    free(rows);
}
