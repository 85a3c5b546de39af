#include "dataplane/l7_command/command.h"
void memcache_execute(struct memcache_call *call)
{
    memcache_reply_line(call->reply, "ERROR");
}
