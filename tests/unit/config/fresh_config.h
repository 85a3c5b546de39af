/* For each test a configuration of its own with the defaults, and the ways into it. A test's main
 * file includes this once, behind cmocka.h. */
#ifndef NICACHED_TESTS_UNIT_CONFIG_FRESH_CONFIG_H
#define NICACHED_TESTS_UNIT_CONFIG_FRESH_CONFIG_H

#include <stdio.h>

#include "config/config_internal.h"

static struct config *config;
static struct config_error error;

static inline int setup(void **state)
{
    (void)state;
    config = config_create_default();
    return config == NULL;
}

static inline int teardown(void **state)
{
    (void)state;
    config_destroy(config);
    return 0;
}

/* The lines of a file. */
static inline int parse(const char *text)
{
    error.text[0] = '\0';
    return config_parse_text(config, "f", slice_of_string(text), false, &error);
}

/* CONFIG SET of one directive. */
static inline int set_value(const char *name, const char *value)
{
    char name_text[64], text[CONFIG_VALUE_BYTES_MAX];
    snprintf(name_text, sizeof(name_text), "%s", name);
    snprintf(text, sizeof(text), "%s", value);
    char *const pair[] = {name_text, text};
    return config_set(config, 2, pair, &error);
}

#endif
