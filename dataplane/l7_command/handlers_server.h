/* The handlers of the server group: one per row of commands_server.def. */
#ifndef NICACHED_L7_COMMAND_HANDLERS_SERVER_H
#define NICACHED_L7_COMMAND_HANDLERS_SERVER_H

#include "dataplane/l7_command/command.h"

#endif
