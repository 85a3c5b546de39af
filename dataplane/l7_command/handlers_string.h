/* The handlers of the string group: one per row of commands_string.def. */
#ifndef NICACHED_L7_COMMAND_HANDLERS_STRING_H
#define NICACHED_L7_COMMAND_HANDLERS_STRING_H

#include "dataplane/l7_command/command.h"

#endif
