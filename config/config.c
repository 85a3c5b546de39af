/* Snapshots of the configuration: made, copied, changed as CONFIG SET does, shown as CONFIG GET
 * does.
 *
 * Thread: any, for a snapshot of one's own or a published one that is only read. Memory: the
 * snapshot and its strings, on the heap. Failure: NULL or -ENOMEM when the heap is exhausted.
 */
#include "config/config.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "config/config_internal.h"
#include "dataplane/base/check.h"
#include "dataplane/base/glob.h"

static char **string_field(struct config *config, const struct option *option)
{
    return (char **)(void *)((char *)config + option->offset);
}

/* Gives every string field of `config` a copy of its own of what it points at now. */
static bool own_strings(struct config *config)
{
    bool complete = true;
    for (uint32_t i = 0; i < option_count; i++) {
        if (options[i].kind == OPTION_KIND_STRING) {
            char **field = string_field(config, &options[i]);
            *field = strdup(*field);
            complete = complete && *field != NULL;
        }
    }
    return complete;
}

struct config *config_create_default(void)
{
    struct config *config = calloc(1, sizeof(*config));
    if (config == NULL) {
        return NULL;
    }
    for (uint32_t i = 0; i < option_count; i++) {
        option_set_default(config, &options[i]);
        if (options[i].kind == OPTION_KIND_STRING && *string_field(config, &options[i]) == NULL) {
            config_destroy(config);
            return NULL;
        }
    }
    char ipv4[] = "*", ipv6[] = "-::*";
    char *const everywhere[] = {ipv4, ipv6};
    struct config_reason reason;
    CHECK(config_set_bind(config, 2, everywhere, &reason) == 0);
    config->bind_is_default = true;
    config->cluster_version = (int64_t)time(NULL);
    return config;
}

struct config *config_copy(const struct config *config)
{
    struct config *copy = malloc(sizeof(*copy));
    if (copy == NULL) {
        return NULL;
    }
    *copy = *config;
    if (!own_strings(copy)) {
        config_destroy(copy);
        return NULL;
    }
    return copy;
}

void config_destroy(struct config *config)
{
    if (config == NULL) {
        return;
    }
    for (uint32_t i = 0; i < option_count; i++) {
        if (options[i].kind == OPTION_KIND_STRING) {
            free(*string_field(config, &options[i]));
        }
    }
    free(config);
}

/* ---- CONFIG SET --------------------------------------------------------------------------------
 */

/* The reply is one line: what a client sent in a name or value cannot break it. */
static int fail(struct config_error *error)
{
    for (char *at = error->text; *at != '\0'; at++) {
        if (*at == '\r' || *at == '\n') {
            *at = ' ';
        }
    }
    return -EINVAL;
}

static int fail_unknown(const char *name, struct config_error *error)
{
    snprintf(error->text, sizeof(error->text),
             "ERR Unknown option or number of arguments for CONFIG SET - '%.128s'", name);
    return fail(error);
}

static int fail_option(const char *name, const char *reason, struct config_error *error)
{
    snprintf(error->text, sizeof(error->text),
             "ERR CONFIG SET failed (possibly related to argument '%s') - %s", name, reason);
    return fail(error);
}

/* What can be refused before any value is looked at; the first fault in order, as Redis reports it.
 */
static int check_names(uint32_t argument_count, char *const *arguments, struct config_error *error)
{
    bool seen[UINT8_MAX + 1] = {false};
    CHECK(option_count <= UINT8_MAX);
    for (uint32_t i = 0; i < argument_count; i += 2) {
        const struct option *option = option_find(arguments[i]);
        if (option == NULL) {
            return fail_unknown(arguments[i], error);
        }
        if (option->when == WHEN_START) {
            return fail_option(arguments[i], "can't set immutable config", error);
        }
        if (seen[option - options]) {
            return fail_option(arguments[i], "duplicate parameter", error);
        }
        seen[option - options] = true;
    }
    return 0;
}

static int set_pairs(struct config *config, uint32_t argument_count, char *const *arguments,
                     struct config_error *error)
{
    struct config_reason reason;
    for (uint32_t i = 0; i < argument_count; i += 2) {
        const struct option *option = option_find(arguments[i]);
        int result = option_set(config, option, 1, &arguments[i + 1], &reason);
        if (result == -ENOMEM) {
            fail_option(option->name, "out of memory", error);
            return -ENOMEM;
        }
        if (result != 0) {
            return fail_option(option->name, reason.text, error);
        }
    }
    return 0;
}

static void count_cluster_change(const struct config *before, struct config *after)
{
    int64_t now = (int64_t)time(NULL), next = before->cluster_version + 1;
    if (strcmp(before->memcache_cluster_nodes, after->memcache_cluster_nodes) != 0) {
        after->cluster_version = now > next ? now : next;
    }
}

int config_set(struct config *config, uint32_t argument_count, char *const *arguments,
               struct config_error *error)
{
    if (argument_count == 0 || argument_count % 2 != 0) {
        snprintf(error->text, sizeof(error->text), "ERR syntax error");
        return -EINVAL;
    }
    int result = check_names(argument_count, arguments, error);
    if (result != 0) {
        return result;
    }
    struct config *next = config_copy(config);
    if (next == NULL) {
        snprintf(error->text, sizeof(error->text), "ERR out of memory");
        return -ENOMEM;
    }
    result = set_pairs(next, argument_count, arguments, error);
    if (result == 0) {
        count_cluster_change(config, next);
        struct config before = *config;
        *config = *next;
        *next = before;
    }
    config_destroy(next);
    return result;
}

/* ---- CONFIG GET ---------------------------------------------------------------------------- */

/* The name to answer with, or NULL when no pattern matches. A literal pattern wins, because Redis
 * looks those up first and answers with them as they were written. */
static const char *match_name(const struct option *option, uint32_t pattern_count,
                              const struct slice *patterns, char literal[64])
{
    struct slice name = slice_of_string(option->name);
    bool matched = false;
    for (uint32_t i = 0; i < pattern_count; i++) {
        if (glob_is_literal(patterns[i]) && slice_equal_ignoring_case(patterns[i], name)) {
            CHECK(name.size < 64);
            memcpy(literal, patterns[i].data, name.size);
            literal[name.size] = '\0';
            return literal;
        }
        matched = matched || glob_matches(patterns[i], name, true);
    }
    return matched ? option->name : NULL;
}

void config_visit(const struct config *config, uint32_t pattern_count, const struct slice *patterns,
                  void (*visit)(void *argument, const char *name, const char *value),
                  void *argument)
{
    char value[CONFIG_VALUE_BYTES_MAX], literal[64];
    for (uint32_t i = 0; i < option_count; i++) {
        if (options[i].kind == OPTION_KIND_SECTION) {
            continue;
        }
        const char *name = match_name(&options[i], pattern_count, patterns, literal);
        if (name != NULL) {
            option_format(config, &options[i], value);
            visit(argument, name, value);
        }
    }
}
