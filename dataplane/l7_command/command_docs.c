/* COMMAND and its relatives: what the table says about itself. */
#include "dataplane/l7_command/l7_command_internal.h"

void reply_container_help(struct call *call)
{
    const struct command *parent = command_find_named(NULL, slice_of_string(call->command->parent));
    uint32_t count = 0;
    for (uint32_t i = 0; i < command_count; i++) {
        count += commands[i].parent != NULL && strcmp(commands[i].parent, parent->name) == 0;
    }
    reply_array(call->reply, count);
    for (uint32_t i = 0; i < command_count; i++) {
        if (commands[i].parent != NULL && strcmp(commands[i].parent, parent->name) == 0) {
            reply_status(call->reply, commands[i].summary);
        }
    }
}

void command_print_reference(FILE *to)
{
    for (uint32_t i = 0; i < command_count; i++) {
        fprintf(to, "- %s: %s\n", commands[i].name, commands[i].summary);
    }
}
