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

#include "dataplane/core/core_internal.h"

enum errand_kind {
    ERRAND_RUN,
    ERRAND_BLOB,
    ERRAND_ROOM,
    ERRAND_LEASE,
    ERRAND_ROUND,
    ERRAND_EVENTS
};

struct errand {
    struct errand *next;      /* in a list of whoever has it */
    struct errand *made_next; /* all that its home has made */
    uint32_t home, next_stop; /* but for RUN: workers below it were visited */
    enum errand_kind kind;
    struct shard_set shards;     /* to be visited; of all requests of a train */
    struct wanted_memory wanted; /* see core_memory.c */
    uint64_t bulk_bytes;         /* BLOB; what is granted is in `blobs` */
    uint64_t memory_wait_began_us;

    /* The train, which may be one request alone. Of its head, but for `behind`. */
    struct errand *behind, *last;
    struct errand *due; /* the next to run; NULL: all have run */
    uint32_t request_count;
    uint32_t changes;       /* of the owner, from one write to the next; the first one counts */
    uint32_t written_owner; /* of the last write */
    bool is_gathering;      /* it has not left */

    /* Who waits for it: a conversation, or the sender of a datagram. Of the head. */
    struct conversation *conversation;
    bool for_datagram;
    struct core_datagram datagram;
    struct udp_datagram packet;
    struct socket_datagram from_socket;
    struct client client; /* as it was; without its names */
    struct byte_queue reply;
    struct byte_pool pool;

    /* The request; what is not in a blob is in `bytes`. */
    const struct command *command;
    bool one_shard, only_reads; /* as its route says */
    uint32_t owner;             /* of that shard */
    bool writes;
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
};

/* core_errand_request.c */
struct errand *errand_acquire(struct core *core);
/* With all behind it. */
void errand_release(struct core *core, struct errand *errand);
/* Of the entry; who waits for it is not noted. */
void errand_copy_request(struct core *core, struct errand *errand, const struct batch_entry *entry);
bool errand_holds_in_blob(const struct errand *errand, struct slice bytes);
void errand_reserve_blobs(struct errand *errand, uint32_t count);
/* Room for so many of `bytes`; what was in them is lost. */
void errand_reserve_bytes(struct errand *errand, size_t bytes);
/* Of the train: on `shard`, or on all the shards that the train has leases of where it is NULL.
 * `shared`: the shard is another's to write. COMMAND_TORN: it must run on the owner's worker. */
enum command_verdict errand_run(struct core *core, struct errand *train,
                                const struct errand *request, struct shard *shard, bool shared);

#endif
