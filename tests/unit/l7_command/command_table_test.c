/* The table against itself: every row complete, every compact column readable, the rows in order,
 * and arity, key positions, flags and key specs saying the same. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "dataplane/l7_command/command.h"
#include "dataplane/l7_command/command_compact.h"

static void test_rows_are_complete(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < command_count; i++) {
        const struct command *command = &commands[i];
        assert_non_null(command->name);
        const char *texts[] = {command->summary, command->group, command->since,
                               command->complexity};
        for (size_t t = 0; t < 4; t++) {
            if (texts[t] == NULL || texts[t][0] == '\0') {
                fail_msg("%s lacks a text (%zu)", command->name, t);
            }
        }
        if (command->handler == NULL && !command->is_container) {
            fail_msg("%s has no handler", command->name);
        }
        assert_int_not_equal(command->arity, 0);
    }
}

static void test_every_row_is_found(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < command_count; i++) {
        const struct command *command = &commands[i];
        char upper[64];
        size_t size = 0;
        for (; command->name[size] != '\0'; size++) {
            char c = command->name[size];
            assert_false(c >= 'A' && c <= 'Z');
            upper[size] = c >= 'a' && c <= 'z' ? (char)(c - 32) : c;
        }
        struct slice name = slice_of(upper, size), arguments[2] = {name, {NULL, 0}};
        uint32_t count = 1;
        if (command->parent != NULL) {
            size_t parent = strlen(command->parent);
            assert_memory_equal(command->name, command->parent, parent);
            assert_int_equal(command->name[parent], '|');
            arguments[0] = slice_of(upper, parent);
            arguments[1] = slice_of(upper + parent + 1, size - parent - 1);
            count = 2;
        }
        assert_ptr_equal(command_find(arguments, count), command);
    }
}

static void test_look_up_is_exact(void **state)
{
    (void)state;
    /* Bytes that differ from a letter's in the case bit only, cut and longer names, NUL inside. */
    static const char *const names[] = {"ge",
                                        "gett",
                                        "g\x05t",
                                        "set ",
                                        "\x47"
                                        "\x45"
                                        "\x34",
                                        "{et",
                                        "client|list",
                                        "p\x89ng",
                                        "incrbyfloatx",
                                        "incrbyfloa"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        assert_null(command_find_named(NULL, slice_of_string(names[i])));
    }
    assert_null(command_find_named(NULL, slice_of("", 0)));
    assert_null(command_find_named(NULL, slice_of("ping\0", 5)));
    assert_non_null(command_find_named(NULL, SLICE_LITERAL("pInG")));
    struct slice unknown[2] = {SLICE_LITERAL("client"), SLICE_LITERAL("nope")};
    assert_null(command_find(unknown, 2));
    assert_string_equal(command_find(unknown, 1)->name, "client");
    /* A subcommand's name alone is no command. */
    assert_null(command_find_named(NULL, SLICE_LITERAL("getname")));
}

static void test_names_are_sorted_and_unique(void **state)
{
    (void)state;
    for (uint32_t i = 1; i < command_count; i++) {
        const struct command *before = &commands[i - 1], *command = &commands[i];
        if (strcmp(before->group, command->group) == 0 &&
            strcmp(before->name, command->name) >= 0) {
            fail_msg("%s stands before %s", before->name, command->name);
        }
    }
    for (uint32_t i = 0; i < command_count; i++) {
        for (uint32_t j = i + 1; j < command_count; j++) {
            assert_string_not_equal(commands[i].name, commands[j].name);
        }
    }
}

static void test_keys_fit_flags_and_arity(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < command_count; i++) {
        const struct command *command = &commands[i];
        struct slice rest = compact_column(command->key_specs);
        struct key_spec spec;
        uint32_t specs = 0;
        int32_t last = 0;
        while (compact_next_key_spec(&rest, &spec)) {
            if (specs++ == 0) {
                assert_int_equal(spec.first, command->first_key);
                assert_int_equal(spec.step, command->key_step);
            }
            last = spec.last >= 0 ? spec.first + spec.last : spec.last;
            bool reads = spec.flags.data[0] == 'R' && spec.flags.data[1] == 'O';
            if (!reads && !(command->flags & COMMAND_WRITE)) {
                fail_msg("%s writes keys but has no write flag", command->name);
            }
        }
        assert_int_equal(last, command->last_key);
        if ((command->first_key != 0) != (specs > 0)) {
            fail_msg("%s: key positions and key specs differ", command->name);
        }
        int32_t least = command->arity < 0 ? -command->arity : command->arity;
        assert_true(command->first_key < least || command->first_key == 0);
        bool both = command->flags & COMMAND_WRITE && command->flags & COMMAND_READONLY;
        assert_false(both);
        if (command->flags & COMMAND_DENYOOM) {
            assert_true(command->flags & COMMAND_WRITE);
        }
    }
}

static bool known_type(struct slice type)
{
    static const char *const types[] = {"string", "integer",   "double",     "key",  "pattern",
                                        "oneof",  "unix-time", "pure-token", "block"};
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        if (slice_equal(type, slice_of_string(types[i]))) {
            return true;
        }
    }
    return false;
}

static void check_key_before(const char *name, uint32_t count, uint32_t index, uint32_t expected)
{
    const struct command *command = command_find_named(NULL, slice_of_string(name));
    uint32_t key_index = 0;
    bool found = command_key_before(command, count, index, &key_index);
    assert_int_equal(found ? key_index : 0, expected);
}

/* 0: none. */
static void test_values_belong_to_the_key_before_them(void **state)
{
    check_key_before("set", 3, 2, 1);
    check_key_before("set", 5, 4, 1);
    check_key_before("set", 3, 1, 0);
    check_key_before("setex", 4, 3, 1);
    check_key_before("mset", 5, 2, 1);
    check_key_before("mset", 5, 3, 0);
    check_key_before("mset", 5, 4, 3);
    check_key_before("del", 3, 2, 0);
    check_key_before("echo", 2, 1, 0);
}

static void check_arguments(const struct command *command, struct slice column, int depth)
{
    struct argument argument;
    assert_true(depth < 8);
    while (compact_next_argument(&column, &argument)) {
        if (!known_type(argument.type)) {
            fail_msg("%s: unknown type %.*s", command->name, (int)argument.type.size,
                     (const char *)argument.type.data);
        }
        bool token = slice_equal(argument.type, SLICE_LITERAL("pure-token"));
        assert_true(!token || argument.token.size > 0);
        bool groups = slice_equal(argument.type, SLICE_LITERAL("oneof")) ||
                      slice_equal(argument.type, SLICE_LITERAL("block"));
        assert_int_equal(groups, argument.nested.size > 0);
        check_arguments(command, argument.nested, depth + 1);
    }
}

static void test_arguments_are_readable(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < command_count; i++) {
        check_arguments(&commands[i], compact_column(commands[i].arguments), 0);
    }
}

static void test_syntax(void **state)
{
    (void)state;
    static const struct {
        const char *compact, *syntax;
    } cases[] = {
        {"", ""},
        {"key:key@0 value:string", "key value"},
        {"key:key@0*", "key [key ...]"},
        {"c:oneof?(nx:pure-token=NX xx:pure-token=XX^2.0.0)", "[NX | XX]"},
        {"c:oneof(a:pure-token=A b:integer=B)", "<A | B b>"},
        {"auth:block=AUTH?(user:string password:string)", "[AUTH user password]"},
        {"prefix:string=PREFIX?*+", "[PREFIX prefix [PREFIX prefix ...]]"},
        {"d:block*(k:key@0 v:string)", "k v [k v ...]"},
        {"f:oneof*(a:integer=A b:integer=B)", "<A a | B b> ..."},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char text[256];
        compact_format_syntax(slice_of_string(cases[i].compact), text, sizeof(text));
        assert_string_equal(text, cases[i].syntax);
    }
    char small[6];
    compact_format_syntax(SLICE_LITERAL("key:key value:string"), small, sizeof(small));
    assert_string_equal(small, "key v");
}

static void test_reference_names_every_command(void **state)
{
    (void)state;
    char *page = NULL;
    size_t size = 0;
    FILE *to = open_memstream(&page, &size);
    assert_non_null(to);
    command_print_reference(to);
    assert_int_equal(fclose(to), 0);
    for (uint32_t i = 0; i < command_count; i++) {
        if (commands[i].handler != NULL) {
            assert_non_null(strstr(page, commands[i].summary));
        }
    }
    assert_non_null(strstr(page, "| `CLIENT LIST` |"));
    free(page);
}

int main(void)
{
    command_table_setup();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows_are_complete),
        cmocka_unit_test(test_every_row_is_found),
        cmocka_unit_test(test_look_up_is_exact),
        cmocka_unit_test(test_names_are_sorted_and_unique),
        cmocka_unit_test(test_keys_fit_flags_and_arity),
        cmocka_unit_test(test_values_belong_to_the_key_before_them),
        cmocka_unit_test(test_arguments_are_readable),
        cmocka_unit_test(test_syntax),
        cmocka_unit_test(test_reference_names_every_command),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
