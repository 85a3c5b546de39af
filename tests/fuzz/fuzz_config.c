/* Configuration text, CONFIG SET pairs and glob patterns from anywhere.
 *
 * The first byte says which. Held to: no crash, a refusal has a text of one line, what was taken is
 * shown and taken again as the same (round trip), and CONFIG SET is all or nothing.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/config_internal.h"
#include "dataplane/base/check.h"
#include "dataplane/base/glob.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_refusal(const struct config_error *error)
{
    CHECK(error->text[0] != '\0' && memchr(error->text, '\0', sizeof(error->text)) != NULL);
    CHECK(strchr(error->text, '\n') == NULL && strchr(error->text, '\r') == NULL);
}

static void check_same(const struct config *a, const struct config *b)
{
    static char text_a[CONFIG_VALUE_BYTES_MAX], text_b[CONFIG_VALUE_BYTES_MAX];
    for (uint32_t i = 0; i < option_count; i++) {
        if (options[i].kind != OPTION_KIND_SECTION) {
            option_format(a, &options[i], text_a);
            option_format(b, &options[i], text_b);
            CHECK(strcmp(text_a, text_b) == 0);
        }
    }
}

/* Written as CONFIG REWRITE would, and read again. */
static void check_round_trip(const struct config *config)
{
    struct config *again = config_create_default();
    struct config_error error;
    char value[CONFIG_VALUE_BYTES_MAX], line[CONFIG_VALUE_BYTES_MAX + 64];
    for (uint32_t i = 0; i < config->interface_count; i++) {
        if (!config->interfaces[i].from_bind) {
            interface_format(&config->interfaces[i], value, sizeof(value));
            snprintf(line, sizeof(line), "interface %s", value);
            CHECK(config_parse_text(again, "again", slice_of_string(line), false, &error) == 0);
        }
    }
    for (uint32_t i = 0; i < option_count; i++) {
        if (options[i].kind == OPTION_KIND_SECTION || options[i].kind == OPTION_KIND_INTERFACE) {
            continue;
        }
        option_format_for_file(config, &options[i], value);
        snprintf(line, sizeof(line), "%s %s", options[i].name, value[0] == '\0' ? "\"\"" : value);
        CHECK(config_parse_text(again, "again", slice_of_string(line), false, &error) == 0);
    }
    check_same(config, again);
    config_destroy(again);
}

static void fuzz_text(struct slice text)
{
    struct config *config = config_create_default();
    struct config_error error = {{0}};
    if (config_parse_text(config, "fuzz", text, false, &error) != 0) {
        check_refusal(&error);
    } else {
        check_round_trip(config);
        if (config_check(config, &error) != 0) {
            check_refusal(&error);
        }
    }
    config_destroy(config);
}

static void fuzz_set(struct slice text)
{
    struct config *config = config_create_default(), *before = config_create_default();
    struct config_words words;
    struct config_reason reason;
    struct config_error error = {{0}};
    if (text.size < CONFIG_LINE_BYTES_MAX && config_split_words(text, &words, &reason) == 0) {
        if (config_set(config, words.count, words.words, &error) != 0) {
            check_refusal(&error);
            check_same(config, before);
        } else {
            check_round_trip(config);
        }
    }
    config_destroy(config);
    config_destroy(before);
}

static void ignore_value(void *argument, const char *name, const char *value)
{
    (void)argument;
    CHECK(name[0] != '\0' && value != NULL);
}

static void fuzz_glob(struct slice text)
{
    struct config *config = config_create_default();
    size_t half = text.size / 2;
    struct slice pattern = slice_of(text.data, half);
    glob_matches(pattern, slice_from(text, half), (text.size & 1) != 0);
    if (glob_is_literal(pattern)) {
        CHECK(glob_matches(pattern, pattern, false));
    }
    config_visit(config, 1, &text, ignore_value, NULL);
    config_destroy(config);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) {
        return 0;
    }
    switch (data[0] % 3) {
    case 0: fuzz_text(slice_of(data + 1, size - 1)); break;
    case 1: fuzz_set(slice_of(data + 1, size - 1)); break;
    default: fuzz_glob(slice_of(data + 1, size - 1)); break;
    }
    return 0;
}
