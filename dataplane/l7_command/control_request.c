/* Requests to the control thread: what a worker must not do itself (change the configuration, write
 * files, stop the process). Made by the worker, answered by the control thread, freed by the
 * worker.
 *
 * Memory: the system heap; these commands are rare and administrative. Failure: a heap that cannot
 * give some hundred bytes yields NULL, and the caller replies with an error.
 */
#include <stdlib.h>

#include "dataplane/l7_command/command.h"

struct control_request *control_request_create(enum control_request_type type,
                                               uint32_t argument_count,
                                               const struct slice *arguments)
{
    struct control_request *request = calloc(1, sizeof(*request));
    if (request == NULL) {
        return NULL;
    }
    request->type = type;
    request->arguments = calloc((size_t)argument_count + 1, sizeof(*request->arguments));
    if (request->arguments == NULL) {
        control_request_destroy(request);
        return NULL;
    }
    for (uint32_t i = 0; i < argument_count; i++) {
        char *copy = malloc(arguments[i].size + 1);
        if (copy == NULL) {
            control_request_destroy(request);
            return NULL;
        }
        if (arguments[i].size > 0) {
            memcpy(copy, arguments[i].data, arguments[i].size);
        }
        copy[arguments[i].size] = '\0';
        request->arguments[request->argument_count++] = copy;
    }
    return request;
}

void control_request_destroy(struct control_request *request)
{
    if (request == NULL) {
        return;
    }
    for (uint32_t i = 0; i < request->argument_count; i++) {
        free(request->arguments[i]);
    }
    free(request->arguments);
    free(request);
}
