/* Stand-ins for the parts that control/ composes: enough of core, drivers, store and commands to
 * run control/main.c and control/control.c without a NIC, and to say what was called. */
#ifndef NICACHED_TESTS_UNIT_CONTROL_FAKE_PARTS_H
#define NICACHED_TESTS_UNIT_CONTROL_FAKE_PARTS_H

#include "dataplane/l7_command/command.h"

/* A request as the command layer makes it. */
struct control_request *fake_request(enum control_request_type type, uint32_t argument_count,
                                     const char *const *arguments);
/* Requests made and not yet destroyed. */
extern int fake_request_count;

#endif
