/* The handlers of the generic group: one per row of commands_generic.def. */
#ifndef NICACHED_L7_COMMAND_HANDLERS_GENERIC_H
#define NICACHED_L7_COMMAND_HANDLERS_GENERIC_H

#include "dataplane/l7_command/command.h"

enum command_verdict generic_copy(struct call *call);
enum command_verdict generic_del(struct call *call); /* also UNLINK */
enum command_verdict generic_exists(struct call *call);
enum command_verdict generic_expire(struct call *call);
enum command_verdict generic_expireat(struct call *call);
enum command_verdict generic_expiretime(struct call *call);
enum command_verdict generic_keys(struct call *call);
enum command_verdict generic_move(struct call *call);
enum command_verdict generic_object_encoding(struct call *call);
enum command_verdict generic_object_freq(struct call *call);
enum command_verdict generic_object_help(struct call *call);
enum command_verdict generic_object_idletime(struct call *call);
enum command_verdict generic_object_refcount(struct call *call);
enum command_verdict generic_persist(struct call *call);
enum command_verdict generic_pexpire(struct call *call);
enum command_verdict generic_pexpireat(struct call *call);
enum command_verdict generic_pexpiretime(struct call *call);
enum command_verdict generic_pttl(struct call *call);
enum command_verdict generic_randomkey(struct call *call);
enum command_verdict generic_rename(struct call *call);
enum command_verdict generic_renamenx(struct call *call);
enum command_verdict generic_scan(struct call *call);
enum command_verdict generic_touch(struct call *call);
enum command_verdict generic_ttl(struct call *call);
enum command_verdict generic_type(struct call *call);

#endif
