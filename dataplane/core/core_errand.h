/* Errands: requests that need the shard of another worker, or several shards at once.
 *
 * A request is copied into an errand, which travels by message and comes home with the reply; its
 * connection waits meanwhile, so its requests take effect in the order in which they were sent.
 *
 *   ERRAND_RUN     one other shard: the owner runs the request and sends the reply home
 *   ERRAND_BLOB    a large value is about to arrive for another shard: the owner allocates it
 *   ERRAND_LEASE   several shards: visits their owners in ascending order, each of which lends its
 *                  shard; comes home, where the requests that waited for it run on all of them, and
 *                  gives the leases back
 *   ERRAND_ROUND   visits every worker, each of which adds what it knows; replies at home
 *   ERRAND_EVENTS  lines for watchers: visits the workers that serve any
 *
 * A worker has one errand under way for leases at most; requests that need leases meanwhile wait
 * for it as its passengers, and run with it if it has the shards that they need.
 *
 * While its shard is lent (core->lease), a worker touches it neither for requests nor for upkeep:
 * who needs it waits, in the order of arrival. Leases are taken in ascending order and held only
 * while waiting for higher ones or running, so nobody waits for ever.
 *
 * Thread: an errand belongs to whoever has it; sending hands it over. `conversation` is its home's
 * at all times: a connection that ends meanwhile is forgotten there. Memory: an errand is reused;
 * its home frees all of its errands at the end, wherever they are then. Failure: none.
 */
#ifndef NICACHED_CORE_CORE_ERRAND_H
#define NICACHED_CORE_CORE_ERRAND_H

#include "dataplane/core/core_internal.h"

enum errand_kind { ERRAND_RUN, ERRAND_BLOB, ERRAND_LEASE, ERRAND_ROUND, ERRAND_EVENTS };

struct errand {
    struct errand *next;      /* in a list of whoever has it */
    struct errand *made_next; /* all that its home has made */
    uint32_t home, next_stop; /* LEASE, ROUND: workers below it were visited */
    enum errand_kind kind;
    struct shard_set shards; /* to be visited */
    bool writes;
    struct wanted_memory wanted; /* see core_memory.c */
    uint64_t bulk_bytes;         /* BLOB; what is granted is in `blobs` */
    uint64_t memory_wait_ends_us;

    /* Who waits for it: a conversation, or the sender of a datagram. */
    struct conversation *conversation;
    bool for_datagram;
    struct core_datagram datagram;
    struct udp_datagram packet;
    struct socket_datagram from_socket;

    /* The request; what is not in a blob is in `bytes`. */
    struct client client; /* as it was; without its names */
    const struct command *command;
    uint32_t argument_count;
    struct slice *arguments; /* of a RESP request; or the keys of memcached's */
    uint32_t argument_capacity;
    struct key first_key;
    bool has_key;
    struct memcache_request memcache;
    struct key *keys;
    uint32_t key_capacity;
    uint8_t *bytes;
    size_t byte_capacity;
    size_t line_bytes; /* EVENTS: of `bytes` */
    struct blob **blobs;
    uint32_t blob_count, blob_capacity;
    struct blob *large_value;
    uint32_t large_value_index;

    struct collected collected;
    struct byte_queue reply;
    struct byte_pool pool;
};

#endif
