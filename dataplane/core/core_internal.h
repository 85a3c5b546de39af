/* What the files of dataplane/core share: the core, a conversation, the batch.
 *
 *   core_loop.c           the pass, in the order of the packet's way; sleeping
 *   core_parser.c         parsers, lent to conversations while a request arrives
 *   core_conversation.c   stream events -> sessions -> parsers -> requests in the batch
 *   core_datagram.c       memcached over UDP: datagrams -> requests in the batch -> datagrams
 *   datagram_guard.c      who is answered over UDP, how often, how much
 *   datagram_parts.c      requests of several datagrams
 *   core_route.c          what a request needs of which shards
 *   core_errand.c         requests that need other workers' shards: there and back, leases
 *   core_errand_request.c such a request: copied, run
 *   core_prefetch.c       what the keys of errands will be asked for, on its way from memory
 *   core_batch.c          look up, fetch, run: the requests of many connections together
 *   core_memory.c         requests that wait for memory which is about to be freed
 *   core_stages.c         cycles per stage of the pass, for INFO stages
 *   core_peers.c          messages between workers: sending, waking, what waits for room
 *   core_dump.c           all keys, a slice in each pass
 *   core_watch.c          lines about what happens, for those who watch
 *   core_deferred.c       replies that come later: DEBUG SLEEP, CONFIG SET, SHUTDOWN
 */
#ifndef NICACHED_CORE_CORE_INTERNAL_H
#define NICACHED_CORE_CORE_INTERNAL_H

#include <sys/queue.h>

#include "dataplane/base/check.h"
#include "dataplane/base/object_pool.h"
#include "dataplane/core/core.h"
#include "dataplane/core/core_stages.h"
#include "dataplane/core/datagram_guard.h"
#include "dataplane/core/datagram_parts.h"
#include "dataplane/l4_transport/tcp.h"
#include "dataplane/l4_transport/udp.h"
#include "dataplane/l5_session/session.h"
#include "dataplane/l6_protocol/memcache_binary_parse.h"
#include "dataplane/l6_protocol/resp_parse.h"
#include "dataplane/l7_command/memcache_observers.h"
#include "drivers/socket_transport.h"

#define CORE_RX_BURST       32U
#define CORE_EVENTS_MAX     1024U
#define CORE_BATCH_REQUESTS 64U
#define CORE_BATCH_SLICES   1024U
#define CORE_BATCH_KEYS     1024U
#define CORE_DATAGRAMS_MAX  64U
#define CORE_ACCEPTED_MAX   64U

/* A peer with this much output waiting is not served further until it has read all but a
 * quarter of it. */
#define CORE_OUTPUT_PAUSE_BYTES (1024U * 1024U)
/* One that has not logged in: it has errors to read. */
#define CORE_OUTPUT_PAUSE_LOGIN_BYTES 16384U

/* What a stream's listener number says about the protocol spoken on it. */
enum core_listener { LISTENER_RESP, LISTENER_MEMCACHE, LISTENER_MEMCACHE_UDP };

/* A set of shards, by their workers' numbers. */
struct shard_set {
    uint64_t words[(CONFIG_WORKERS_MAX + 63) / 64];
};

static inline void shard_set_add(struct shard_set *set, uint32_t number)
{
    set->words[number / 64] |= 1ULL << number % 64;
}

static inline void shard_set_add_all(struct shard_set *set, const struct shard_set *more)
{
    for (size_t i = 0; i < sizeof(set->words) / sizeof(set->words[0]); i++) {
        set->words[i] |= more->words[i];
    }
}

static inline bool shard_set_covers(const struct shard_set *set, const struct shard_set *part)
{
    uint64_t missing = 0;
    for (size_t i = 0; i < sizeof(set->words) / sizeof(set->words[0]); i++) {
        missing |= part->words[i] & ~set->words[i];
    }
    return missing == 0;
}

static inline uint32_t shard_set_count(const struct shard_set *set)
{
    uint32_t count = 0;
    for (size_t i = 0; i < sizeof(set->words) / sizeof(set->words[0]); i++) {
        count += (uint32_t)__builtin_popcountll(set->words[i]);
    }
    return count;
}

static inline bool shard_set_has(const struct shard_set *set, uint32_t number)
{
    return (set->words[number / 64] >> number % 64 & 1) != 0;
}

enum core_protocol { PROTOCOL_RESP, PROTOCOL_MEMCACHE, PROTOCOL_MEMCACHE_BINARY, PROTOCOL_COUNT };

struct conversation_parser {
    struct conversation_parser *free_next;
    union {
        struct resp_parser resp;
        struct memcache_parser memcache;
        struct memcache_binary_parser memcache_binary;
    };
};

/* Of one protocol, lent to nobody. */
struct core_parsers {
    struct conversation_parser *first;
    uint32_t count;
};

TAILQ_HEAD(conversation_queue, conversation);

/* A conversation: one connection's session, its client, and, while a request arrives, a parser.
 * What a request touches comes first; docs/tcp.md says what an idle connection takes. */
struct conversation {
    struct session session;
    struct conversation_parser *parser; /* NULL between requests */

    bool rewind; /* a request was parsed and then not run: session.executed says where it
                        begins; from there all is parsed again when the session goes on */
    /* The owner has answered about the large argument that comes next: it is the last blob, or
     * there is none. */
    enum blob_answer { BLOB_UNASKED, BLOB_GRANTED, BLOB_DENIED } blob_answer : 8;
    enum session_blocked
        queue : 8;          /* in which of core->waiting it stands; SESSION_RUNNING: in none */
    bool has_spoken : 1;    /* memcached: the first byte has said which of its protocols this is */
    bool speaks_binary : 1; /* memcached's other protocol */
    bool blob_refused : 1;  /* over maxmemory: the payload is discarded, the request gets OOM */
    bool timed_out : 1;     /* closed because it was idle */
    bool refused : 1;       /* too many clients, or protected mode: no client is counted for it */
    bool owes : 1;          /* is in the list of those that do: core_limits.c */
    bool event_waits : 1; /* one of its events does, for the batch: the next ones stay behind it */
    /* Since when more output waits than the soft limit allows, in seconds from 1 on; 0: it does not
     */
    uint32_t output_soft_since_s;

    size_t request_begin; /* offset in the session's view of the request that is being parsed */
    uint64_t memory_wait_began_us; /* while SESSION_AWAITS_MEMORY, and until the request has run */

    /* Large arguments of the request that is arriving, in order; the last one is handed to the
     * command by reference. */
    uint32_t blob_count;
    /* memcached's watch: what it is told of (EVENT_BIT); 0: it is no watcher. */
    uint32_t watched;
    struct blob **blobs;

    size_t
        request_bytes; /* of the session's buffer and the blobs, as last counted: core_limits.c */
    struct client client;

    /* core_limits.c */
    struct owing {
        struct conversation *next, *previous;
        /* When it was put there; of the time and the commands the lower half. */
        uint64_t input_bytes;
        uint32_t since_ms, command_count;
    } owing;

    struct errand *errand; /* whose reply it awaits, or NULL */
    /* While session.blocked == SESSION_AWAITS_REPLY. */
    struct deferral deferral;

    struct dump {
        uint64_t cursor;
        uint32_t shard;
        bool is_active;
    } dump; /* of all keys: core_dump.c */

    uint32_t blob_capacity;
    uint32_t lines_skipped; /* that a watcher has missed since the last one */

    union {
        TAILQ_ENTRY(conversation) waiting;
        struct conversation *watch_next; /* a watcher waits for no reply */
    };
};

#define CONVERSATION_HOT_BYTES 256
static_assert(offsetof(struct conversation, client.output_bytes) + sizeof(uint64_t) <=
                  CONVERSATION_HOT_BYTES,
              "what a request reads or writes is four cache lines");
static_assert(sizeof(struct conversation) <= 7 * RTE_CACHE_LINE_SIZE,
              "docs/tcp.md says what a connection takes");
static_assert(CORE_BATCH_REQUESTS <= UINT16_MAX, "session.pending counts them");

/* A datagram being answered: memcached over UDP by a port of ours, or by a kernel socket. */
struct core_datagram {
    struct udp_datagram *packet;         /* or NULL */
    struct socket_datagram *from_socket; /* or NULL */
    const struct endpoint *source;       /* in whichever of them it is */
    struct slice payload;
    struct memcache_frame frame;
    size_t request_bytes; /* of all its datagrams, frame headers included */
    size_t part_bytes;    /* of the reply in each of its datagrams, at most */
    bool trusted;         /* the reply may be larger than that */
};

/* Which way a request goes: core_route.c. */
enum route_kind {
    ROUTE_HERE,
    ROUTE_OWN,
    ROUTE_SHARED,
    ROUTE_OWNER,
    ROUTE_LEASE,
    ROUTE_ROUND,
};

struct route {
    enum route_kind kind;
    bool has_shard, several, only_reads;
    uint32_t owner; /* of one of its keys */
    struct shard_set shards;
};

enum batch_entry_kind { ENTRY_RESP, ENTRY_MEMCACHE, ENTRY_ERROR };

struct batch_entry {
    enum batch_entry_kind kind;
    struct conversation *conversation; /* NULL: of a datagram */
    struct core_datagram *datagram;
    size_t begin;  /* offset of this request in the session's view */
    bool must_run; /* part of it has left the input: it cannot be parsed again */
    struct route route;
    struct key *keys; /* of RESP the one of the first key position */
    union {
        struct {
            uint32_t argument_count;
            const struct slice *arguments;
            const struct command *command; /* NULL: unknown, or a form that has no row */
            bool has_key;
            bool is_short; /* the arguments stand in one piece of the view, in order */
        } resp;
        struct {
            struct memcache_request request; /* `keys` in it are the parser's: not used here */
        } memcache;
        struct {
            char text[128];
            bool fatal, memcache;
        } error;
    };
};

struct batch {
    struct batch_entry entries[CORE_BATCH_REQUESTS];
    uint32_t count;
    struct slice slices[CORE_BATCH_SLICES];
    uint32_t slice_count;
    struct key keys[CORE_BATCH_KEYS];
    uint32_t key_count;
    /* The command of one word that was named last, as most requests name it again, and as it was
     * spelled. */
    const struct command *named; /* NULL: none yet */
    struct slice name;
};

/* First in, first out. */
struct errand_list {
    struct errand *first, *last;
};

struct core {
    struct core_options options;
    struct command_context *context;
    struct client_registry clients;
    struct shard *shard;
    struct metrics *metrics;
    struct core_stages stages;
    const struct config *config; /* this pass's snapshot */
    struct instant now;          /* this pass's time */
    bool did_work;
    uint64_t next_timer_us;

    struct net *net;
    struct tcp *tcp;
    struct udp *udp;
    struct core_link *links;
    struct net_interface **interfaces; /* one per link */
    struct socket_transport *sockets;
    uint64_t sockets_asked_us;  /* when the kernel was last asked what they have */
    uint32_t sockets_period_us; /* until it is asked again, while frames come in */
    struct byte_pool bytes;

    struct batch batch;
    struct resp_shape shape; /* of the last common request of RESP */
    struct session *touched; /* sessions with a view in this pass */
    struct conversation_queue waiting[SESSION_BLOCKED_COUNT]; /* core_deferred.c */
    struct conversation *watchers;
    bool events_away;   /* an errand with lines for watchers is under way */
    bool keeps_evicted; /* the shard keeps its victims for them */
    struct object_pool conversations;
    struct conversation *owing_first, *owing_last; /* core_limits.c */
    uint64_t request_bytes;                        /* of all sessions' buffers and blobs */
    struct conversation *evicting;                 /* is not gone yet, or NULL */
    struct output_limit output_limit;              /* as all clients were last held against it */
    uint64_t output_watch_bytes;                   /* the least that it is about */
    uint32_t output_soft_count;                    /* clients beyond the soft limit */
    uint64_t outputs_checked_us, output_logged_us;
    uint64_t outputs_unlogged; /* clients ended since then without a line in the log */
    uint64_t upkeep_us;        /* the last pass that had upkeep */
    bool upkeep_goes_on;       /* the shard has more of it */
    uint64_t missed_asked_us;  /* when ports were last asked for what they lost */
    uint64_t link_changes;     /* of all ports together, as INFO shows them */
    uint64_t pool_checked_us;  /* when the packet pool was last looked at */
    struct core_parsers parsers[PROTOCOL_COUNT];
    uint64_t clients_checked_us; /* when idle clients were last looked for */

    struct client datagram_client; /* who speaks in datagrams: nobody in particular */
    struct memcache_parser datagram_parser;
    struct byte_queue datagram_reply;
    struct datagram_guard datagram_guard;
    struct datagram_parts *datagram_parts; /* NULL: memcached's UDP port is not served */

    struct stream_event events[CORE_EVENTS_MAX];
    struct rte_mbuf *frames[CORE_RX_BURST];
    struct ip_datagram datagrams[CORE_RX_BURST];
    struct udp_datagram udp_datagrams[CORE_RX_BURST];
    struct socket_datagram socket_datagrams[CORE_DATAGRAMS_MAX];
    struct core_datagram core_datagrams[CORE_DATAGRAMS_MAX];
    struct socket_accepted accepted[CORE_ACCEPTED_MAX];
    uint32_t next_placed; /* worker that gets the next of these */

    /* Other workers' shards: core_errand.h. */
    struct errand *errands;                             /* all that were made here */
    uint64_t errand_count;                              /* sent from here */
    uint32_t datagrams_away;                            /* errands that keep a datagram */
    struct errand *free_errands;                        /* those of them that are at rest */
    struct errand_list errands_waiting, leases_waiting; /* of any home: for our shard */
    struct errand *lease;                               /* to whom our shard is lent, or NULL */
    struct errand_list passengers;                      /* requests of ours that need leases */
    struct errand_list gathering;                       /* trains that leave after this batch */
    bool is_leasing;                                    /* an errand of ours collects leases */

    struct command_context *contexts[CONFIG_WORKERS_MAX]; /* of all cores; kept by number 0 */
    struct core *const *peers; /* all cores by number, this one included; NULL: alone */
    struct outbox *outboxes;   /* by worker: messages that found their channel full */

    int wake_fd;
    /* Written by other workers, on lines that hold nothing else. */
    uint8_t padding_before[64];
    bool asleep;             /* atomic: whoever sends a message writes wake_fd */
    uint64_t shared_wall_ms; /* atomic: the latest wall_ms of any worker; that of number 0 serves */
    uint8_t padding_behind[64];
    bool stop_requested; /* atomic */
    uint64_t idle_since_us;
    bool armed;                /* links that want it are */
    uint64_t control_woken_us; /* for eviction */
    uint64_t emergency_us;     /* the last pass that evicted by itself */
};

static inline struct conversation *conversation_of_client(struct client *client)
{
    return (struct conversation *)(void *)((char *)client - offsetof(struct conversation, client));
}
static inline struct conversation *conversation_of_session(struct session *session)
{
    return (struct conversation *)(void *)((char *)session -
                                           offsetof(struct conversation, session));
}

/* What the last large argument was received into, or NULL: it becomes the value as it is. */
static inline struct blob *conversation_last_blob(const struct conversation *conversation)
{
    return conversation->blob_count > 0 ? conversation->blobs[conversation->blob_count - 1] : NULL;
}

/* What follows is that stage's work; returns the stage before it. */
static inline enum stage core_enter_stage(struct core *core, enum stage stage)
{
    return core_stages_enter(&core->stages, core->did_work, stage);
}

/* core_parser.c */
/* The conversation's parser is there afterwards. */
void core_take_parser(struct core *core, struct conversation *conversation);
/* Takes it back if it stands at the beginning of a request. */
void core_return_parser(struct core *core, struct conversation *conversation);
/* Takes it back wherever it stands. */
void core_forget_parser(struct core *core, struct conversation *conversation);
void core_free_parsers(struct core *core);

/* core_conversation.c */
void core_prefetch_conversation(const struct conversation *conversation);
void core_take_events(struct core *core, struct stream_event *events, uint32_t count);
void core_settle(struct core *core); /* end of the pass: every touched session */
void core_continue(struct core *core, struct conversation *conversation); /* was blocked */
void core_touch(struct core *core, struct conversation *conversation);
/* A large argument's memory; the conversation's until its request has run. */
void core_add_blob(struct conversation *conversation, struct blob *blob);
void core_note_sizes(struct core *core); /* for commands that show other clients */
void core_close_killed(struct core *core);
void core_close_idle(struct core *core);
/* Disconnects: what is queued for the client is dropped. */
void core_end_client(struct client *client);

/* ---- limits on clients (core_limits.c) ------------------------------------------------------- */

/* When a session has settled or was opened, and before it goes. */
void core_note_owing(struct core *core, struct conversation *conversation);
void core_forget_limits(struct core *core, struct conversation *conversation);
/* Once a pass. */
void core_end_owing(struct core *core);
void core_limit_memory(struct core *core);
void core_limit_outputs(struct core *core);
/* What the session's buffer and the blobs take now; 0: it is gone. */
void core_note_request_memory(struct core *core, struct conversation *conversation, size_t bytes);
void core_judge_output(struct core *core, struct conversation *conversation);
/* When a session has settled. */
static inline void core_limit_output(struct core *core, struct conversation *conversation)
{
    if (UNLIKELY(conversation->session.stream->out.size >= core->output_watch_bytes ||
                 conversation->output_soft_since_s != 0)) {
        core_judge_output(core, conversation);
    }
}
void core_forget_all(struct core *core);
/* Protected mode: who is asked for no password is served on this host only, as in Redis. memcached
 * over UDP has no login: while there is a password it serves nobody. */
bool core_is_protected_from(const struct core *core, const struct endpoint *peer,
                            enum client_kind kind);

/* core_prefetch.c */
/* What the messages' errands need of the cache: their first lines; then, from the message at
 * `first` on, as far as the group's end, which is returned, the keys of what will run here. */
void core_prefetch_errands(const struct message *messages, uint32_t count);
uint32_t core_prefetch_errand_keys(struct core *core, const struct message *messages,
                                   uint32_t first, uint32_t count);

/* core_batch.c */
void core_run_batch(struct core *core);
/* False when the batch has no room for them: run it first. Larger than the whole arena: true with
 * `arguments` used where they are. */
static inline bool core_batch_has_room(const struct core *core, uint32_t slices, uint32_t keys)
{
    const struct batch *batch = &core->batch;
    return batch->count < CORE_BATCH_REQUESTS && slices <= CORE_BATCH_SLICES - batch->slice_count &&
           keys <= CORE_BATCH_KEYS - batch->key_count;
}

static inline bool core_shard_is_lent(const struct core *core)
{
    return core->lease != NULL;
}

/* Anybody's. */
static inline const struct shard *core_shard_of_key(const struct core *core, const struct key *key)
{
    uint32_t count = core->options.worker_count;
    return count == 1 ? core->shard : core->options.all_shards[key_owner(key, count)];
}

/* The first request is added. Those of its keys that are looked up here are fetched from then on.
 */
static inline void core_begin_batch(struct core *core, struct key *keys)
{
    core->batch.named = NULL;
    if (LIKELY(!core_shard_is_lent(core))) {
        shard_prefetch_begin(&core->context->ahead, core->shard, true, keys);
    } else { /* the index is another's */
        shard_prefetch_end(&core->context->ahead);
    }
}

/* An entry to be filled in, and finished then by one of the two below, unless it is an error. */
static inline struct batch_entry *core_batch_add(struct core *core, enum batch_entry_kind kind,
                                                 struct conversation *conversation)
{
    struct batch *batch = &core->batch;
    CHECK(batch->count < CORE_BATCH_REQUESTS);
    if (batch->count == 0) {
        core_begin_batch(core, batch->keys);
    }
    struct batch_entry *entry = &batch->entries[batch->count++];
    entry->kind = kind;
    entry->conversation = conversation;
    entry->datagram = NULL;
    entry->route.kind = ROUTE_HERE; /* with one worker nobody looks at the rest */
    entry->keys = &batch->keys[batch->key_count];
    if (conversation != NULL) {
        entry->begin = conversation->request_begin;
        entry->must_run = conversation->blob_count > 0 || conversation->blob_refused;
        conversation->session.pending++;
    }
    return entry;
}

/* A copy of them, until the batch has run. */
static inline struct slice *core_batch_slices(struct core *core, const struct slice *from,
                                              uint32_t count)
{
    struct batch *batch = &core->batch;
    CHECK(count <= CORE_BATCH_SLICES - batch->slice_count);
    struct slice *slices = &batch->slices[batch->slice_count];
    for (uint32_t i = 0; i < count; i++) {
        slices[i] = from[i];
    }
    batch->slice_count += count;
    return slices;
}

/* The entry's arguments are known: finds its command and hashes its key. */
void core_batch_finish_resp(struct core *core, struct batch_entry *entry);
/* The entry's request is known: hashes its keys. */
void core_batch_finish_memcache(struct core *core, struct batch_entry *entry,
                                const struct slice *keys);

/* Where a request of memcached's protocols is parsed into: the place of the entry that is added
 * next. Running the batch, which leaves the places behind its entries alone, makes it another. */
static inline struct memcache_request *core_batch_next_request(struct core *core)
{
    if (UNLIKELY(!core_batch_has_room(core, 0, 0))) {
        core_run_batch(core);
    }
    return &core->batch.entries[core->batch.count].memcache.request;
}

/* The plain request that the input begins with, of the conversation or of the datagram, as the next
 * entry. How many bytes it took; 0: it is none, or there is no room for its keys. */
static inline size_t core_batch_add_plain(struct core *core, struct conversation *conversation,
                                          struct core_datagram *datagram, struct slice input)
{
    struct memcache_limits limits = {(uint64_t)core->config->memcache_item_size_max};
    struct memcache_request *request = core_batch_next_request(core);
    struct batch *batch = &core->batch;
    struct slice *keys = &batch->slices[batch->slice_count]; /* they are hashed at once */
    uint32_t slices = CORE_BATCH_SLICES - batch->slice_count;
    uint32_t room = CORE_BATCH_KEYS - batch->key_count;
    size_t consumed =
        memcache_parse_plain(&limits, input, keys, slices < room ? slices : room, request);
    if (LIKELY(consumed > 0)) {
        struct batch_entry *entry = core_batch_add(core, ENTRY_MEMCACHE, conversation);
        entry->datagram = datagram;
        core_batch_finish_memcache(core, entry, keys);
    }
    return consumed;
}
_Static_assert(CORE_BATCH_SLICES <= MEMCACHE_PLAIN_KEYS_MAX, "the room that is offered there");

/* What has come into the stream's output since it had `before` bytes. */
void core_after_command(struct conversation *conversation);
void core_count_output(struct core *core, struct conversation *conversation, size_t before);

/* core_datagram.c */
void core_take_udp(struct core *core, struct udp_datagram *datagrams, uint32_t count);
void core_take_socket_datagrams(struct core *core, struct socket_datagram *datagrams,
                                uint32_t count);
/* Around whatever writes core->datagram_reply; one that is begun need not be sent. */
void core_begin_datagram_reply(struct core *core, struct core_datagram *datagram);
void core_send_datagram_reply(struct core *core, struct core_datagram *datagram);

/* core_memory.c */
/* Whether the request adds anything to a shard that has a limit. */
static inline bool core_may_want_memory(const struct core *core, const struct batch_entry *entry)
{
    if (core->config->maxmemory == 0) {
        return false;
    }
    if (entry->kind == ENTRY_RESP) {
        const struct command *command = entry->resp.command;
        return command != NULL && (command->flags & COMMAND_DENYOOM) != 0;
    }
    return entry->kind == ENTRY_MEMCACHE && entry->memcache.request.verb != MEMCACHE_GET;
}
/* Blocks the conversation when its request must wait. */
void core_wait_for_wanted_memory(struct core *core, const struct batch_entry *entry);
static inline void core_wait_for_memory(struct core *core, const struct batch_entry *entry)
{
    if (core_may_want_memory(core, entry)) {
        core_wait_for_wanted_memory(core, entry);
    }
}
/* The request of a datagram has nobody who could wait, and one with large arguments has left the
 * input: true when it should become an errand, which can. */
bool core_waits_better_as_errand(const struct core *core, const struct batch_entry *entry);
static inline bool core_should_wait_as_errand(const struct core *core,
                                              const struct batch_entry *entry)
{
    return core_may_want_memory(core, entry) && core_waits_better_as_errand(core, entry);
}
/* What the request may add to the shard. */
struct wanted_memory {
    uint64_t bytes;         /* in all; 0: nothing */
    uint64_t largest_bytes; /* of one item, about */
    uint64_t beside_bytes;  /* that must stay meanwhile: the value that is copied from */
};
struct wanted_memory core_wanted_memory(const struct core *core, const struct batch_entry *entry);
struct wanted_memory core_wanted_by_bulk(const struct conversation *conversation,
                                         const struct shard *shard, uint64_t bytes);
/* A row of requests for one command needs no look at each: there is plenty for all. */
bool core_row_has_room(const struct core *core, const struct batch_entry *entries, uint32_t count);
/* That depends on what the key holds when it runs. */
bool core_wants_by_old_value(const struct batch_entry *entry);
/* The request of it that is due. */
bool core_errand_waits_for_memory(struct core *core, struct errand *train);
/* As core_row_has_room, of our shard. */
struct errand_request;
bool core_errand_row_has_room(const struct core *core, const struct errand_request *request,
                              uint32_t count);
/* With the leases of all its shards: one of them has no room, but will have some. */
bool core_leases_lack_memory(struct core *core, struct errand *train);
/* The next pass, at the latest, in which those who wait try again. */
void core_note_memory_retry(struct core *core);
/* Any of its shards, for all of its requests. */
bool core_train_is_short_of_memory(const struct core *core, const struct errand *train);
bool core_bulk_waits_for_memory(struct core *core, struct conversation *conversation,
                                uint64_t bytes);

/* core_route.c: only where there are several workers */
void core_route_entry(const struct core *core, struct batch_entry *entry);
/* Whose shard holds the large value that is about to arrive: the owner's of the key in front of it.
 * Where there is none it is an argument like others, and this worker's. */
uint32_t core_owner_of_bulk(const struct core *core, const struct conversation *conversation);

/* core_errand.c */
/* The request leaves, with this batch; the conversation waits for its reply. */
void core_send_errand(struct core *core, const struct batch_entry *entry);
/* The conversation's errand is still here, and this request may travel with it if it is admitted:
 * then it is to join. */
bool core_errand_takes(const struct core *core, const struct batch_entry *entry);
/* The last one that is to travel was admitted, and this one's case is the same. */
bool core_errand_ends_alike(const struct core *core, const struct batch_entry *entry);
void core_join_errand(struct core *core, const struct batch_entry *entry);
/* The batch has run. */
void core_send_gathered(struct core *core);
/* Asks an owner for the memory of a large value; the conversation waits for the answer. */
void core_ask_for_blob(struct core *core, struct conversation *conversation, uint32_t owner,
                       uint64_t bytes);
/* Lines for the watchers of these workers; core->events_away until it is back. */
void core_send_events(struct core *core, const struct shard_set *workers, struct slice lines);
void core_take_errand(struct core *core, struct errand *errand);
void core_take_errand_home(struct core *core, struct errand *errand);
void core_take_lease_back(struct core *core);
/* Those that wait for memory, once more. */
void core_run_waiting_errands(struct core *core);
void core_destroy_errands(struct core *core);

/* core_peers.c */
int core_peers_create(struct core *core);
void core_peers_destroy(struct core *core);
/* Never fails. It leaves with the next core_flush_outboxes. */
void core_send(struct core *core, uint32_t to, const struct message *message);
/* Wakes receivers that sleep. False: something waits, its channel is full. */
bool core_flush_outboxes(struct core *core);
/* Connections accepted here for all workers: each in turn gets one. */
void core_place_connections(struct core *core, const struct socket_accepted *accepted,
                            uint32_t count);
void core_adopt_connection(struct core *core, int fd, uint32_t listener);
/* Tells peers that this one is about to sleep; false when a message has come in between. */
/* Expiry is by wall_ms: no worker may see a key that another has already told to be expired. Taken
 * before requests are run: whoever has received one that was sent after another worker's answer
 * sees that worker's time, or a later one. */
void core_share_time(struct core *core);
bool core_peers_may_sleep(struct core *core);
void core_peers_awake(struct core *core);

/* core_dump.c */
void core_begin_dump(struct core *core, struct conversation *conversation);
/* The next lines; false: that was the end. */
bool core_continue_dump(struct core *core, struct conversation *conversation);

/* core_watch.c */
/* Replies; from now on the connection is a watcher, if there are not too many. */
void core_begin_watch(struct core *core, struct conversation *conversation, uint32_t kinds);
void core_end_watch(struct core *core, struct conversation *conversation);
void core_write_events(struct core *core, struct slice lines);
/* At the beginning of a pass: whether the shard shall keep its victims. */
void core_keep_evicted(struct core *core);
/* Sends off what was noted in this pass, before the quiescent state that ends it. True: there was
 * something. */
bool core_flush_events(struct core *core);
static inline void core_note_observers(struct core *core)
{
    core->context->observed = memcache_observed(core->context->observers);
}

/* core_deferred.c */
void core_wake_control(const struct core *core);
#define CORE_MEMORY_RETRY_US 200U
void core_init_deferred(struct core *core);
/* Blocks the conversation, for its next request wants memory, and tries that again in a while. */
void core_retry_later(struct core *core, struct conversation *conversation);
/* Leaves a conversation whose reply is being written alone until that time. */
void core_pause(struct core *core, struct conversation *conversation, uint64_t until_us);
void core_defer(struct core *core, struct conversation *conversation,
                const struct deferral *deferral);
/* Blocks the conversation until our shard is back. */
void core_await_shard(struct core *core, struct conversation *conversation);
void core_continue_awaiting_shard(struct core *core);
void core_take_control_reply(struct core *core, struct control_request *request);
/* The control thread writes the line; false: it is busy. Not on the packet path: it allocates. */
bool core_log_warning(struct core *core, const char *line);
void core_run_deferred(struct core *core);
void core_forget_deferred(struct core *core, struct conversation *conversation);

/* ---- core_port.c ----------------------------------------------------------------------------- */

/* A line of INFO for each port, with what it does in hardware and how its link is. */
void core_describe_links(struct core *core);
/* Once a pass. */
void core_note_links(struct core *core);

#endif
