/* The handlers of the generic group: one per row of commands_generic.def. */
#ifndef NICACHED_L7_COMMAND_HANDLERS_GENERIC_H
#define NICACHED_L7_COMMAND_HANDLERS_GENERIC_H

#include "dataplane/l7_command/command.h"

#endif
