/* What nearly every handler needs: its keys, its options, its numbers, and a value as a reply.
 *
 * Thread: the owning worker. Nothing here allocates.
 */
#include "dataplane/base/check.h"
#include "dataplane/l7_command/l7_command_internal.h"

struct key call_key(const struct call *call, uint32_t index)
{
    CHECK(index < call->argument_count);
    if (call->first_key != NULL && index == (uint32_t)call->command->first_key) {
        return *call->first_key;
    }
    return key_hashed(call->arguments[index]);
}

bool call_option(const struct call *call, uint32_t index, const char *name)
{
    return index < call->argument_count &&
           slice_equal_ignoring_case(call->arguments[index], slice_of_string(name));
}

bool call_int64(struct call *call, uint32_t index, int64_t *value)
{
    CHECK(index < call->argument_count);
    if (number_parse_int64(call->arguments[index], value)) {
        return true;
    }
    reply_error(call->reply, ERROR_NOT_INTEGER);
    return false;
}

int call_shown_size(const struct call *call, uint32_t index, size_t size_max)
{
    struct slice text = call->arguments[index];
    size_t size = text.size < size_max ? text.size : size_max;
    const uint8_t *terminator = size == 0 ? NULL : memchr(text.data, 0, size);
    return (int)(terminator == NULL ? size : (size_t)(terminator - text.data));
}

void reply_wrong_arity(struct call *call)
{
    reply_error_format(call->reply, "ERR wrong number of arguments for '%s' command",
                       call->command->name);
}
