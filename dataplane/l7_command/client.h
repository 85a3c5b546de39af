/* A client as commands see it: who speaks, in which protocol, with which database selected. It is
 * no connection: the layer that owns the connection embeds one and reads the requests at the end.
 *
 * Thread: the owning worker.
 */
#ifndef NICACHED_L7_COMMAND_CLIENT_H
#define NICACHED_L7_COMMAND_CLIENT_H

#include "dataplane/base/address.h"
#include "dataplane/base/bytes.h"

enum client_kind { CLIENT_RESP, CLIENT_MEMCACHE, CLIENT_MEMCACHE_UDP };
enum client_reply_mode {
    CLIENT_REPLY_ON,
    CLIENT_REPLY_OFF,
    CLIENT_REPLY_SKIP_NEXT,
    CLIENT_REPLY_SKIP
};

#define CLIENT_NAME_BYTES_MAX 256 /* longer names get a clear error */

struct client {
    /* What every request reads or writes. */
    uint8_t protocol; /* RESP 2 or 3 */
    bool authenticated;
    bool login_begun; /* SASL: what proves who it is comes with the next request */
    bool no_evict, no_touch;
    /* Requests to the layer that owns the connection, read after each command. */
    bool close_after_reply; /* QUIT, fatal errors */
    bool close_now;         /* CLIENT KILL of another client */
    enum client_reply_mode reply_mode : 8;
    enum client_kind kind;
    uint32_t database;
    uint64_t active_mono_us;
    const char *last_command; /* full name in lower case, "client|list"; static storage */
    uint64_t command_count;
    /* Filled by that layer, for CLIENT LIST. */
    uint64_t input_bytes, output_bytes; /* totals */
    uint64_t query_buffer_bytes, query_buffer_free_bytes, output_buffer_bytes;
    uint64_t argument_bytes; /* large arguments, those on their way included, all of each */

    uint64_t id; /* unique and increasing; over workers: id % workers == worker */
    struct endpoint local, peer;
    int socket_fd; /* -1 on our own TCP */
    uint64_t created_mono_us;
    char *name, *library_name, *library_version; /* heap, or NULL */

    /* List of all clients of the worker, kept by client_registry_*. */
    struct client *next, *previous;
};

struct client_registry {
    struct client *first, *last; /* in the order of their ids */
    uint64_t next_id, id_step;
    uint64_t count;
    uint64_t kill_count; /* raised when some other client's close_now was set: the session
                            layer then walks the list */
};

void client_registry_init(struct client_registry *registry, uint32_t worker, uint32_t worker_count);
/* Zeroes `client`, gives it an id and links it. */
void client_open(struct client_registry *registry, struct client *client, enum client_kind kind);
void client_close(struct client_registry *registry, struct client *client);

#endif
