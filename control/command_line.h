/* The arguments that make nicached print something and leave: --help, --version, --check,
 * --print-sample, --print-reference. */
#ifndef NICACHED_CONTROL_COMMAND_LINE_H
#define NICACHED_CONTROL_COMMAND_LINE_H

#include <stdbool.h>

/* Exit codes of the process. */
enum exit_code {
    EXIT_CODE_OK = 0,     /* clean stop, or what was asked for is printed */
    EXIT_CODE_CONFIG = 1, /* the configuration is refused */
    EXIT_CODE_START = 2,  /* the configuration is good, the start failed */
};

/* Looks at the first argument behind the program's name. True when it was one of ours: all is done
 * and `exit_code` says how it went. */
bool command_line_handle(int argument_count, char *const *arguments, enum exit_code *exit_code);

#endif
