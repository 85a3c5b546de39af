/* The handlers of the string group: one per row of commands_string.def. */
#ifndef NICACHED_L7_COMMAND_HANDLERS_STRING_H
#define NICACHED_L7_COMMAND_HANDLERS_STRING_H

#include "dataplane/l7_command/command.h"

enum command_verdict string_append(struct call *call);
enum command_verdict string_decr(struct call *call);
enum command_verdict string_decrby(struct call *call);
enum command_verdict string_get(struct call *call);
enum command_verdict string_getdel(struct call *call);
enum command_verdict string_getex(struct call *call);
enum command_verdict string_getrange(struct call *call); /* also SUBSTR */
enum command_verdict string_getset(struct call *call);
enum command_verdict string_incr(struct call *call);
enum command_verdict string_incrby(struct call *call);
enum command_verdict string_incrbyfloat(struct call *call);
enum command_verdict string_lcs(struct call *call);
enum command_verdict string_mget(struct call *call);
enum command_verdict string_mset(struct call *call);
enum command_verdict string_msetnx(struct call *call);
enum command_verdict string_psetex(struct call *call);
enum command_verdict string_set(struct call *call);
enum command_verdict string_setex(struct call *call);
enum command_verdict string_setnx(struct call *call);
enum command_verdict string_setrange(struct call *call);
enum command_verdict string_strlen(struct call *call);

/* value_bytes of their rows. */
uint64_t string_append_bytes(const struct shard *shard, const struct item *old,
                             const struct slice *arguments);
uint64_t string_setrange_bytes(const struct shard *shard, const struct item *old,
                               const struct slice *arguments);

#endif
