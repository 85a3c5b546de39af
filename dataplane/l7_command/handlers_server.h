/* The handlers of the server group: one per row of commands_server.def. */
#ifndef NICACHED_L7_COMMAND_HANDLERS_SERVER_H
#define NICACHED_L7_COMMAND_HANDLERS_SERVER_H

#include "dataplane/l7_command/command.h"

enum command_verdict server_command(struct call *call);
enum command_verdict server_command_count(struct call *call);
enum command_verdict server_command_docs(struct call *call);
enum command_verdict server_command_getkeys(struct call *call);
enum command_verdict server_command_getkeysandflags(struct call *call);
enum command_verdict server_command_info(struct call *call);
enum command_verdict server_command_list(struct call *call);
enum command_verdict server_help(struct call *call); /* HELP of any container */

enum command_verdict config_get(struct call *call);
enum command_verdict config_resetstat(struct call *call);
enum command_verdict config_rewrite_command(struct call *call);
enum command_verdict config_set_command(struct call *call);

enum command_verdict server_dbsize(struct call *call);
enum command_verdict server_debug(struct call *call);
enum command_verdict server_flushall(struct call *call);
enum command_verdict server_flushdb(struct call *call);
enum command_verdict server_info(struct call *call);
enum command_verdict server_memory_usage(struct call *call);
enum command_verdict server_role(struct call *call);
enum command_verdict server_shutdown(struct call *call);
enum command_verdict server_swapdb(struct call *call);
enum command_verdict server_time(struct call *call);

#endif
