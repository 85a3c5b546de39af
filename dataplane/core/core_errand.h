/* Errands: requests that need the shard of another worker, or several shards at once.
 *
 * A request is copied into an errand, which travels by message and comes home with the reply; its
 * connection waits meanwhile, so its requests take effect in the order in which they were sent.
 *
 *   ERRAND_RUN     one other shard: the owner runs the request and sends the reply home
 *   ERRAND_BLOB    a large value is about to arrive for another shard: the owner allocates it
 *   ERRAND_ROOM    several shards, and little memory: waits at each owner until there is room, then
 *                  becomes the next kind
 *   ERRAND_LEASE   several shards: visits their owners in ascending order, each of which lends its
 *                  shard; comes home, where the requests that waited for it run on all of them, and
 *                  gives the leases back
 *   ERRAND_ROUND   visits every worker, each of which adds what it knows; replies at home
 *   ERRAND_EVENTS  lines for watchers: visits the workers that serve any
 *
 * Pipelines. An errand leaves when the batch has run. Until then the requests of its connection
 * that come next join it, as long as each needs one shard only: they form a train, whose head
 * travels and has all replies. A train runs in its order: reads wherever it is, everything else on
 * its owner's worker, so that it goes from owner to owner. One that would change trains too often
 * (core_errand.c: lease_is_quicker) takes the leases of all its shards and runs at home.
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

#include <stddef.h>

#include "dataplane/core/core_internal.h"

enum errand_kind {
    ERRAND_RUN,
    ERRAND_BLOB,
    ERRAND_ROOM,
    ERRAND_LEASE,
    ERRAND_ROUND,
    ERRAND_EVENTS
};

/* A request. What it points at stands behind it in one piece of memory, but for what is in blobs:
 * it is fetched from another worker's cache line by line. */
struct errand_request {
    struct errand_request *behind;
    const struct command *command; /* NULL: of memcached's protocols */
    bool one_shard, only_reads;    /* as its route says */
    bool writes;
    uint32_t owner; /* of that shard */
    uint32_t argument_count, key_count;
    struct slice *arguments;
    struct memcache_request *memcache;
    struct key *keys;            /* of a RESP request: the first one, if it has any */
    struct wanted_memory wanted; /* see core_memory.c */
    struct blob **blobs;
    uint32_t blob_count;
    uint32_t large_value_index;
    struct blob *large_value;
};

/* A part of an errand's memory: taken from front to back, by its home, and free when it rests. */
struct errand_chunk {
    struct errand_chunk *next;
    size_t used, size;
    max_align_t bytes[];
};

/* What every stop reads or writes comes first. */
struct errand {
    struct errand *next; /* in a list of whoever has it */
    enum errand_kind kind;
    uint32_t home, next_stop;   /* but for RUN: workers below it were visited */
    bool is_gathering;          /* it has not left */
    bool for_datagram;          /* whose sender waits for it, else a conversation may */
    bool has_blobs;             /* some of its requests may */
    struct errand_request *due; /* the next to run; NULL: all have run */
    uint64_t memory_wait_began_us;
    struct conversation *conversation;
    struct byte_queue reply;
    struct byte_pool pool;
    struct client client; /* as it was; without its names */

    /* The train, which may be one request alone. */
    struct errand_request *first, *last;
    struct shard_set shards; /* to be visited; of all its requests */
    uint32_t request_count;
    uint32_t changes;       /* of the owner, from one write to the next; the first one counts */
    uint32_t written_owner; /* of the last write */
    struct errand_chunk *chunks, *chunk; /* all; the one in use */

    struct errand *made_next; /* all that its home has made */
    uint64_t bulk_bytes;      /* BLOB; what is granted is in the request's blobs */
    struct slice lines;       /* EVENTS */
    struct collected collected;
    struct core_datagram datagram;
    struct udp_datagram packet;
    struct socket_datagram from_socket;
};

/* What is due, as the message says. */
static inline const struct errand_request *errand_due_of(const struct message *message)
{
    return (const struct errand_request *)(uintptr_t)message->words[0];
}

/* core_prefetch.c: all of a train that has its leases. */
void core_prefetch_leased(const struct core *core, const struct errand *train);

/* core_errand_request.c */
struct errand *errand_acquire(struct core *core);
void errand_release(struct core *core, struct errand *errand);
/* Of its memory, until it is released. Its home alone asks. */
void *errand_allocate(struct errand *errand, size_t bytes);
/* An empty request becomes the last one of the train; it has room for so many blobs. */
struct errand_request *errand_add_request(struct errand *train, uint32_t blob_count_max);
/* The same with a copy of the entry; who waits for it is not noted. */
struct errand_request *errand_copy_request(struct core *core, struct errand *train,
                                           const struct batch_entry *entry);
bool errand_holds_in_blob(const struct errand_request *request, struct slice bytes);
/* Runs the request, and those that can run as a row with it (command.h): on the shard of each,
 * which is ours, or which the train has the lease of; on all of the train's where it is about
 * several. How many have run. */
uint32_t errand_run(struct core *core, struct errand *train, const struct errand_request *request);
/* One that reads a shard that is another's to write. False: it must run on the owner's worker. */
bool errand_read(struct core *core, struct errand *train, const struct errand_request *request);

#endif
