/* The handlers of the connection group: one per row of commands_connection.def. */
#ifndef NICACHED_L7_COMMAND_HANDLERS_CONNECTION_H
#define NICACHED_L7_COMMAND_HANDLERS_CONNECTION_H

#include "dataplane/l7_command/command.h"

enum command_verdict connection_ping(struct call *call);
enum command_verdict connection_echo(struct call *call);
enum command_verdict connection_select(struct call *call);
enum command_verdict connection_quit(struct call *call);
enum command_verdict connection_reset(struct call *call);
enum command_verdict connection_auth(struct call *call);
enum command_verdict connection_hello(struct call *call);

enum command_verdict connection_client_getname(struct call *call);
enum command_verdict connection_client_id(struct call *call);
enum command_verdict connection_client_info(struct call *call);
enum command_verdict connection_client_kill(struct call *call);
enum command_verdict connection_client_list(struct call *call);
enum command_verdict connection_client_no_evict(struct call *call);
enum command_verdict connection_client_no_touch(struct call *call);
enum command_verdict connection_client_reply(struct call *call);
enum command_verdict connection_client_setinfo(struct call *call);
enum command_verdict connection_client_setname(struct call *call);

/* What each worker adds to CLIENT LIST and CLIENT KILL. */
void connection_collect_list(struct call *call);
void connection_collect_kill(struct call *call);

#endif
