/* --help and its like. Thread: main, before anything has started. */
#include "control/command_line.h"

#include <stdio.h>
#include <string.h>

#include "config/config.h"
#include "dataplane/base/metrics.h"
#include "dataplane/l7_command/command.h"

static const char help_text[] =
    "nicached " NICACHED_VERSION ": a cache appliance for Redis and memcached clients\n"
    "\n"
    "  nicached [FILE] [--directive value ...]   serve; FILE \"-\" is the standard input\n"
    "  nicached --check [FILE] [--directive ...] check the configuration and leave\n"
    "  nicached --print-sample                   a configuration file with every default\n"
    "  nicached --print-reference PAGE           a page of docs/: commands, configuration, "
    "metrics\n"
    "  nicached --version\n"
    "  nicached --help\n"
    "\n"
    "Options of memcached, in place of directives: -p PORT -U PORT -l ADDRESS -s PATH -a MODE\n"
    "  -m MB -M -I SIZE -c CONNECTIONS -t THREADS -b CONNECTIONS -P PATH -L -v -vv\n"
    "  (docs/configuration.md says what each stands for)\n"
    "\n"
    "For example:\n"
    "  nicached --interface lo0 socket 127.0.0.1 --maxmemory 1gb\n"
    "  nicached --interface tap0 tap 198.18.0.2/24 --protected-mode no\n"
    "  nicached -m 1024 -p 11211 -l 127.0.0.1 -t 2 --port 0\n"
    "\n"
    "Exit code: 0 clean stop, 1 configuration refused, 2 start failed.\n";

static enum exit_code check_configuration(int argument_count, char *const *arguments)
{
    struct config_error error;
    struct config *config = config_create_default();
    if (config == NULL) {
        fputs("nicached: out of memory\n", stderr);
        return EXIT_CODE_START;
    }
    int result = config_load(config, argument_count, arguments, &error);
    if (result == 0) {
        printf("%s: the configuration is good\n",
               config->file_path[0] != '\0' ? config->file_path : "nicached");
    } else {
        fprintf(stderr, "nicached: %s\n", error.text);
    }
    config_destroy(config);
    return result == 0 ? EXIT_CODE_OK : EXIT_CODE_CONFIG;
}

/* The pages of docs/ that are made from tables. */
static const struct reference {
    const char *name;
    void (*print)(FILE *to);
} references[] = {
    {"commands", command_print_reference},
    {"configuration", config_print_reference},
    {"metrics", metrics_print_reference},
};

static enum exit_code print_reference(const char *name)
{
    for (size_t i = 0; i < sizeof(references) / sizeof(references[0]); i++) {
        if (name != NULL && strcmp(name, references[i].name) == 0) {
            references[i].print(stdout);
            return EXIT_CODE_OK;
        }
    }
    fputs("nicached: --print-reference takes one of commands, configuration, metrics\n", stderr);
    return EXIT_CODE_CONFIG;
}

bool command_line_handle(int argument_count, char *const *arguments, enum exit_code *exit_code)
{
    const char *first = argument_count > 1 ? arguments[1] : "";
    *exit_code = EXIT_CODE_OK;
    if (strcmp(first, "--help") == 0 || strcmp(first, "-h") == 0) {
        fputs(help_text, stdout);
    } else if (strcmp(first, "--version") == 0 || strcmp(first, "-V") == 0 ||
               (strcmp(first, "-v") == 0 && argument_count == 2)) {
        puts("nicached " NICACHED_VERSION);
    } else if (strcmp(first, "--check") == 0) {
        *exit_code = check_configuration(argument_count - 2, arguments + 2);
    } else if (strcmp(first, "--print-sample") == 0) {
        config_print_sample(stdout);
    } else if (strcmp(first, "--print-reference") == 0) {
        *exit_code = print_reference(argument_count > 2 ? arguments[2] : NULL);
    } else {
        return false;
    }
    return true;
}
