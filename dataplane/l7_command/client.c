/* The clients of one worker: ids, the list that CLIENT LIST and CLIENT KILL walk, and what a client
 * owns (its names).
 *
 * Thread: the owning worker. Memory: a client is embedded in its owner; only the names are heap.
 */
#include "dataplane/l7_command/client.h"

#include <stdlib.h>

#include "dataplane/base/check.h"

void client_registry_init(struct client_registry *registry, uint32_t worker, uint32_t worker_count)
{
    CHECK(worker_count > 0 && worker < worker_count);
    /* Ids are never 0, and id % worker_count names the worker. */
    *registry = (struct client_registry){
        .next_id = worker == 0 ? worker_count : worker,
        .id_step = worker_count,
    };
}

void client_open(struct client_registry *registry, struct client *client, enum client_kind kind)
{
    *client = (struct client){.kind = kind, .socket_fd = -1, .protocol = 2};
    client->id = registry->next_id;
    registry->next_id += registry->id_step;
    client->previous = registry->last;
    if (registry->last == NULL) {
        registry->first = client;
    } else {
        registry->last->next = client;
    }
    registry->last = client;
    registry->count++;
}

void client_close(struct client_registry *registry, struct client *client)
{
    CHECK(registry->count > 0);
    *(client->previous == NULL ? &registry->first : &client->previous->next) = client->next;
    *(client->next == NULL ? &registry->last : &client->next->previous) = client->previous;
    registry->count--;
    free(client->name);
    free(client->library_name);
    free(client->library_version);
    client->name = client->library_name = client->library_version = NULL;
    client->next = client->previous = NULL;
}
