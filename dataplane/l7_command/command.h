/* Commands: one row per command in commands.def, and everything reads that one table: dispatch,
 * COMMAND and COMMAND DOCS, key positions and routing, ACL categories, the reference page in docs/.
 *
 * The life of a request here:
 *   command_find         name (and subcommand) -> row
 *   command_first_key    first key position of the row -> key with its hash
 *   (it is fetched, with those of other requests: shard_prefetch)
 *   command_run          checks arity, authentication, memory; runs the row's handler, which writes
 *                        exactly one reply, unless it returns COMMAND_DEFERRED
 *
 * A handler sees a parsed request, the shard it may touch and a reply writer: never a connection, a
 * packet or a thread.
 */
#ifndef NICACHED_L7_COMMAND_COMMAND_H
#define NICACHED_L7_COMMAND_COMMAND_H

#include <stdio.h>

#include "dataplane/base/check.h"
#include "dataplane/base/clock.h"
#include "dataplane/base/glob.h"
#include "dataplane/base/metrics.h"
#include "dataplane/l6_protocol/memcache_compose.h"
#include "dataplane/l6_protocol/memcache_parse.h"
#include "dataplane/l6_protocol/resp_compose.h"
#include "dataplane/l7_command/client.h"
#include "dataplane/store/shard.h"

struct config;
struct command;
struct call;
struct memcache_observers;
struct memcache_event_log;
struct memcache_prefix_book;

/* COMMAND INFO's flags, in Redis' order and names (COMMAND_FLAG_NAMES in command_table.c). */
enum command_flag {
    COMMAND_WRITE = 1 << 0,
    COMMAND_READONLY = 1 << 1,
    COMMAND_DENYOOM = 1 << 2,
    COMMAND_ADMIN = 1 << 3,
    COMMAND_PUBSUB = 1 << 4,
    COMMAND_NOSCRIPT = 1 << 5,
    COMMAND_BLOCKING = 1 << 6,
    COMMAND_LOADING = 1 << 7,
    COMMAND_STALE = 1 << 8,
    COMMAND_SKIP_MONITOR = 1 << 9,
    COMMAND_SKIP_SLOWLOG = 1 << 10,
    COMMAND_ASKING = 1 << 11,
    COMMAND_FAST = 1 << 12,
    COMMAND_NO_AUTH = 1 << 13,
    COMMAND_MAY_REPLICATE = 1 << 14,
    COMMAND_NO_ASYNC_LOADING = 1 << 15,
    COMMAND_NO_MULTI = 1 << 16,
    COMMAND_MOVABLE_KEYS = 1 << 17,
    COMMAND_ALLOW_BUSY = 1 << 18,
    COMMAND_PROTECTED = 1 << 19,

    /* Ours, not shown: how a command finds the shards of its data. */
    COMMAND_ALL_SHARDS = 1 << 20,  /* without keys, over all of them at one moment */
    COMMAND_ALL_WORKERS = 1 << 21, /* `collect` runs on every worker before the handler */
    COMMAND_TWO_PLACES = 1 << 22,  /* its one key changes in two databases at one moment */
};

/* ACL categories, one bit each, in Redis' order. */
enum command_category {
    CATEGORY_KEYSPACE = 1 << 0,
    CATEGORY_READ = 1 << 1,
    CATEGORY_WRITE = 1 << 2,
    CATEGORY_SET = 1 << 3,
    CATEGORY_SORTEDSET = 1 << 4,
    CATEGORY_LIST = 1 << 5,
    CATEGORY_HASH = 1 << 6,
    CATEGORY_STRING = 1 << 7,
    CATEGORY_BITMAP = 1 << 8,
    CATEGORY_HYPERLOGLOG = 1 << 9,
    CATEGORY_GEO = 1 << 10,
    CATEGORY_STREAM = 1 << 11,
    CATEGORY_PUBSUB = 1 << 12,
    CATEGORY_ADMIN = 1 << 13,
    CATEGORY_FAST = 1 << 14,
    CATEGORY_SLOW = 1 << 15,
    CATEGORY_BLOCKING = 1 << 16,
    CATEGORY_DANGEROUS = 1 << 17,
    CATEGORY_CONNECTION = 1 << 18,
    CATEGORY_TRANSACTION = 1 << 19,
    CATEGORY_SCRIPTING = 1 << 20,
};

enum command_verdict {
    COMMAND_DONE,
    COMMAND_DEFERRED, /* the reply comes later: see call->deferral. The connection's next requests
                         wait for it. */
    COMMAND_TORN,     /* a read of other workers' shards met their writes: nothing was replied, the
                         owners must be asked */
};

/* What a deferred call waits for. */
struct deferral {
    uint64_t until_mono_us;          /* DEBUG SLEEP: resume at this time */
    struct control_request *request; /* sent to the control thread; resume with its answer */
    bool muted;                      /* CLIENT REPLY OFF / SKIP was in force */
};

/* Asked of the control thread; travels by channel, comes back answered. Heap, freed by the worker
 * when the reply is composed. */
enum control_request_type {
    CONTROL_CONFIG_SET,
    CONTROL_CONFIG_REWRITE,
    CONTROL_SHUTDOWN, /* arguments: those of the command, without its name. It may be answered
                         (ABORT, failure); success answers nothing, because the process ends. */
    CONTROL_LOG,      /* argument: a line for the log, a warning; its answer is for nobody */
};
struct control_request {
    enum control_request_type type;
    uint64_t client_id; /* whom the answer is for */
    uint32_t argument_count;
    char **arguments; /* terminated copies (configuration values hold no NUL) */
    char error[512];  /* answer: "" is success, else the whole error text "ERR ..." */
};
struct control_request *control_request_create(enum control_request_type type,
                                               uint32_t argument_count,
                                               const struct slice *arguments);
void control_request_destroy(struct control_request *request);

/* What the control thread publishes for INFO, read by workers without a lock (relaxed atomics). */
struct control_status {
    uint64_t start_wall_ms;
    uint64_t resident_bytes; /* of the process */
    uint64_t cpu_user_us, cpu_system_us;
    uint64_t operations_per_second, input_bytes_per_second, output_bytes_per_second;
    char run_id[41];
    char executable[256], config_file[256];
};

/* Latencies are kept in ticks of the TSC, in classes of about 12 percent: eight per power of two.
 */
#define COMMAND_LATENCY_CLASSES 264

/* Of one row of the table. Written by the owning worker, read by any (relaxed). Not every call is
 * timed: command_execute.c says which. */
struct command_statistics {
    uint64_t calls, rejected, failed;
    uint64_t timed_calls, timed_ticks;
    uint32_t latencies[COMMAND_LATENCY_CLASSES];
};

#define ERROR_WORD_BYTES_MAX 32
#define ERROR_WORD_COUNT_MAX 64
/* Error replies per first word ("ERR", "WRONGTYPE"). One writer; an entry is filled in before
 * `count` shows it (release / acquire). Words beyond the bound are counted together. */
struct error_statistics {
    uint32_t count;
    uint64_t others;
    struct error_entry {
        char word[ERROR_WORD_BYTES_MAX];
        uint64_t replies;
    } entries[ERROR_WORD_COUNT_MAX];
};

/* CONFIG RESETSTAT touches no worker's counters: it notes their sums here, and INFO shows what has
 * been added since. So metrics stay monotonic for whoever scrapes them, and no thread writes
 * another's counters. Shared by all workers; relaxed atomics. */
struct statistics_baseline;

/* Everything of one worker that commands may use. One per worker, no globals. */
#define COMMAND_PORTS_BYTES 4096

struct command_context {
    struct shard *shard;
    const struct config *config;              /* this pass's snapshot */
    struct metrics *metrics;                  /* this worker's */
    const struct metrics *const *all_metrics; /* of all workers, for INFO */
    struct shard *const *all_shards;          /* for figures that may be read from any thread */
    uint32_t worker, worker_count;
    struct client_registry *clients;
    const struct control_status *status;
    struct command_statistics *statistics; /* per row, for INFO commandstats and latencystats */
    struct error_statistics *errors;       /* per first word, for INFO errorstats */
    struct statistics_baseline *baseline;
    bool owns_baseline;
    /* The contexts of all workers, for INFO; set by command_contexts_join, else only this one. */
    struct command_context *const *all_contexts;
    uint32_t all_context_count;
    struct instant now; /* of this pass */
    uint64_t random_state;
    /* Keys of the batch (core_batch.c): a command that has many says which one it comes to. */
    struct shard_prefetch ahead;
    /* Who looks on at memcached's requests (memcache_observers.h): shared; what it said at the
     * beginning of the pass; the lines for them and the figures of this worker, NULL until needed.
     */
    struct memcache_observers *observers;
    uint64_t observed;
    struct memcache_event_log *events;
    struct memcache_prefix_book *prefixes;
    /* The worker's ports, as lines of INFO. */
    char ports[COMMAND_PORTS_BYTES];
    /* Of the machine and the process, noted when the context is made. */
    char operating_system[256];
    uint64_t process_id, system_memory_bytes;
};
/* The client as CLIENT LIST shows it, without the newline, cut to `size_max` bytes with terminator;
 * returns its length. */
size_t client_describe(const struct command_context *context, const struct client *client,
                       struct byte_pool *pool, char *line, size_t size_max);
/* Zeroed, tables allocated; NULL when out of memory. */
struct command_context *command_context_create(void);
void command_context_destroy(struct command_context *context);
/* Once, before the workers start: they show common figures in INFO. The array stays the caller's
 * and lives as long as the contexts; destroy them after all workers have stopped. */
void command_contexts_join(struct command_context *const *contexts, uint32_t count);

struct call {
    struct command_context *context;
    struct shard *shard; /* of all its keys; NULL: of several shards, see call_shard */
    bool shared;         /* the shards are others' to write: look up by shard_find_shared only */
    const struct instant *now;
    struct client *client;
    const struct command *command;
    uint32_t argument_count;
    const struct slice *arguments; /* arguments[0] is the name as sent */
    const struct key *first_key;   /* hashed key of the row's first key position, or NULL */
    struct blob *large_value;      /* when the last bulk argument was received into a blob:
                                      arguments[large_value_index] shows its bytes */
    uint32_t large_value_index;
    struct collected *collected; /* COMMAND_ALL_WORKERS: what the workers have contributed */
    struct reply *reply;
    struct deferral deferral;
};

/* What `collect` of every worker adds to, one after the other. */
struct collected {
    struct byte_queue text;
    struct byte_pool *pool; /* of `text` */
    int64_t count;
};

typedef enum command_verdict (*command_handler)(struct call *call);

struct command {
    const char *name;   /* lower case; subcommands: "client|list" */
    const char *parent; /* NULL, or the container's name */
    int32_t arity;      /* as Redis: exact if positive, at least -n if negative; with name */
    uint32_t flags, categories;
    int32_t first_key, last_key, key_step; /* 0 0 0: no keys */
    command_handler handler;               /* NULL: a container that needs a subcommand */
    /* COMMAND_ALL_WORKERS: adds to call->collected what this worker knows; call->context is that
     * worker's, call->client a copy. Arguments that the handler will refuse add nothing. */
    void (*collect)(struct call *call);
    /* For those that make a new value of what the key holds (`old`, or NULL): how many bytes of it
     * take memory of the shard anew. Others need what their arguments need. */
    uint64_t (*value_bytes)(const struct shard *shard, const struct item *old,
                            const struct slice *arguments);
    bool is_container; /* rows with .parent = this name exist */
    const char *group, *since, *summary, *complexity;
    const char *key_specs; /* compact form, command_docs.c documents the grammar; "" none */
    const char *tips;      /* blank separated */
    const char *arguments; /* compact form of COMMAND DOCS' arguments */
    const char *doc_flags; /* "deprecated" ...; with deprecated_since, replaced_by */
    const char *deprecated_since, *replaced_by;
};

extern const struct command commands[];
extern const uint32_t command_count;
static inline uint32_t command_index(const struct command *command)
{
    return (uint32_t)(command - commands);
}
void command_table_setup(void); /* once, before any thread: builds the name index */

/* The row a request means: the container's subcommand where there is one. NULL: unknown. Depends on
 * nothing but the table, so a batch may look all its requests up first. */
const struct command *command_find(const struct slice *arguments, uint32_t argument_count);
/* The row of a top-level command, or of a subcommand of `parent`, by its name alone. */
const struct command *command_find_named(const struct command *parent, struct slice name);
/* Hashes the first key position's argument; false when there is none. */
static inline bool command_first_key(const struct command *command, const struct slice *arguments,
                                     uint32_t argument_count, struct key *key)
{
    uint32_t position = (uint32_t)command->first_key;
    if (position == 0 || position >= argument_count) {
        return false;
    }
    key_init(key, arguments[position]);
    return true;
}
/* Flags imply some categories (fast or slow, admin is dangerous, ...): all of them. */
uint32_t command_categories(const struct command *command);

/* Whatever its arguments are. */
static inline bool command_has_one_key(const struct command *command)
{
    return command->first_key != 0 && command->first_key == command->last_key;
}
/* How many keys a request names, and the i-th of them (hashed). */
uint32_t command_key_count(const struct command *command, uint32_t argument_count);
struct key command_key_at(const struct command *command, const struct slice *arguments,
                          uint32_t index);
/* The key to which the argument at `index`, a value perhaps, belongs: the last one in front of it.
 * False: there is none, or the argument is a key itself. */
bool command_key_before(const struct command *command, uint32_t argument_count, uint32_t index,
                        uint32_t *key_index);
bool command_arity_fits(const struct command *command, uint32_t argument_count);

/* The life of a RESP request whose row is in call->command (NULL: unknown): checks what depends on
 * the state at its turn (arity, authentication, memory), runs the handler, keeps the statistics.
 * An AUTH earlier in the same batch counts. */
enum command_verdict command_run(struct call *call);
/* Rows: requests of one client that follow each other, all for the same command and with as many
 * arguments, none of which changes what the next one may do. What was found out for the first holds
 * for all, and statistics are kept once: command_row_max, command_run_in_row for each,
 * command_end_row. */
/* How many may run so from the request of `call` on; 0: command_run is to run this one. */
uint32_t command_row_max(const struct call *call);
void command_end_row(struct call *call, uint32_t count);
/* An error reply has been composed behind the first `size_before` bytes of the output. */
void command_note_error(struct call *call, size_t size_before);
static inline void command_run_in_row(struct call *call)
{
    const struct reply *reply = call->reply;
    uint32_t errors_before = reply->error_count;
    size_t size_before = reply->out->size;
    CHECK(call->command->handler(call) == COMMAND_DONE);
    if (UNLIKELY(reply->error_count != errors_before)) {
        command_note_error(call, size_before);
    }
}
/* The two halves of command_run, for a request whose second half runs on another worker or later:
 * the first where its connection is, the second with the context of the worker that runs it. False:
 * refused, and answered. */
bool command_admit(struct call *call);
/* The same, but who is refused is not answered: command_admit will do so when his turn has come. */
bool command_admit_silently(struct call *call);
enum command_verdict command_run_admitted(struct call *call);
/* The replies of so many requests have come from elsewhere: what remains to be noted here. True
 * when CLIENT REPLY, which is about one alone, says that it is not to be sent. */
bool command_note_elsewhere(struct client *client, uint32_t count);

/* Writes the reply of a deferred call once its time or its answer has come, and frees the request.
 * `deferral` is a copy of call->deferral. */
void command_resume(struct command_context *context, struct client *client,
                    struct deferral *deferral, struct reply *reply);
/* An error in place of running the request (call->command may be NULL): counted, and muted as
 * CLIENT REPLY says. */
void command_refuse(struct call *call, const char *text);
/* Whether the client may do more than AUTH and HELLO: for the parser's unauthenticated limits. */
bool command_client_authenticated(const struct command_context *context, struct client *client);

/* docs/commands.md, from the table. */
void command_print_reference(FILE *to);

/* Compares in a time that depends on what was sent only. True: the client is the default user from
 * now on. Without a password everybody is let in whatever the guess, as in Redis. */
bool command_log_in(const struct command_context *context, struct client *client, struct slice user,
                    struct slice password);

/* The same for memcached's protocols. Replies go to `reply`; `large_value` as in struct call. */
struct memcache_call {
    struct command_context *context;
    struct shard *shard; /* of all its keys; NULL: of several shards */
    bool shared;         /* as in struct call */
    const struct instant *now;
    struct client *client;
    const struct memcache_request *request;
    const struct key *keys; /* request->key_count hashed keys */
    struct blob *large_value;
    struct memcache_reply *reply;
    /* What only a connection can do, and never a request with keys: */
    struct deferral
        deferral;     /* its request is not NULL: the reply comes later, by memcache_resume */
    bool starts_dump; /* the reply is a line for every key */
    uint32_t watches; /* kinds of events (EVENT_BIT), whose lines are all it gets from now on */
    /* memcache_visits_workers: what they have contributed. NULL: this worker is the only one. */
    struct collected *collected;
};
/* COMMAND_DONE; or COMMAND_TORN, and nothing replied: call->shared was right as far as the request
 * tells, but the item it found must be changed, or is the owner's to read. The owner is to be
 * asked.
 */
enum command_verdict memcache_execute(struct memcache_call *call);
/* Whether the request asks every worker: memcache_collect runs on each of them before
 * memcache_execute, and adds to call->collected what this worker knows. */
bool memcache_visits_workers(const struct memcache_request *request);
void memcache_collect(struct memcache_call *call);
/* Writes the reply of a deferred call, and frees its request. */
void memcache_resume(struct deferral *deferral, struct memcache_reply *reply);
/* Whether the old value stays, and the request's comes behind it (appends) or in front of it. */
bool memcache_joins(const struct memcache_request *request, bool *appends);
/* As value_bytes of a command's row; of storage verbs. */
uint64_t memcache_value_bytes(const struct shard *shard, const struct item *old,
                              const struct memcache_request *request);
/* The request changes nothing, or only what the items it finds call for; its keys may be read one
 * by one. */
bool memcache_only_reads(const struct memcache_request *request);

/* ---- for handlers (reply_helpers.c) --------------------------------------------------------- */

#define ERROR_WRONG_TYPE  "WRONGTYPE Operation against a key holding the wrong kind of value"
#define ERROR_SYNTAX      "ERR syntax error"
#define ERROR_NOT_INTEGER "ERR value is not an integer or out of range"
#define ERROR_NOT_FLOAT   "ERR value is not a valid float"
#define ERROR_OOM         "OOM command not allowed when used memory > 'maxmemory'."
#define ERROR_NO_KEY      "ERR no such key"

/* The shard of a key. */
static inline struct shard *call_shard(const struct call *call, const struct key *key)
{
    return LIKELY(call->shard != NULL)
               ? call->shard
               : call->context->all_shards[key_owner(key, call->context->worker_count)];
}
/* No other worker reads values. */
static inline bool context_is_alone(const struct command_context *context)
{
    return context->worker_count == 1;
}
/* The i-th of all shards, for COMMAND_ALL_SHARDS; there are context->worker_count. */
static inline struct shard *context_shard(const struct command_context *context, uint32_t index)
{
    return context->all_shards == NULL ? context->shard : context->all_shards[index];
}
/* The client's database, the key at argument `index` (hash reused when it is the first key). */
struct key call_key(const struct call *call, uint32_t index);
static inline const struct item *call_find_for_write(struct call *call, const struct key *key)
{
    struct shard *shard = call_shard(call, key);
    uint32_t database = call->client->database;
    return UNLIKELY(call->shared) ? shard_find_shared(shard, database, key, call->now)
                                  : shard_find(shard, database, key, call->now);
}
/* For commands that ask about a key without using it (TTL, TYPE, OBJECT, EXISTS): counts
 * keyspace_hits and keyspace_misses. */
static inline const struct item *call_peek(struct call *call, const struct key *key)
{
    const struct item *item = call_find_for_write(call, key);
    metric_add(call->context->metrics, item != NULL ? METRIC_KEYSPACE_HITS : METRIC_KEYSPACE_MISSES,
               1);
    return item;
}
static inline void call_note_use(struct call *call, const struct item *item)
{
    eviction_note_use(shard_policy(call->context->shard), item, &call->context->random_state);
}
/* Looks up for reading: counts as call_peek, and the use of the item for the eviction, unless
 * CLIENT NO-TOUCH is on. */
static inline const struct item *call_find_for_read(struct call *call, const struct key *key)
{
    const struct item *item = call_peek(call, key);
    if (item != NULL && !call->client->no_touch) {
        call_note_use(call, item);
    }
    return item;
}
/* A string item's value as a bulk reply: referenced when it is in a blob, copied otherwise. */
static inline void reply_item(struct reply *reply, const struct item *item)
{
    uint8_t scratch[NUMBER_TEXT_BYTES_MAX];
    struct slice value = item_value(item, scratch);
    struct blob *blob = item_is_plain(item) ? NULL : item_blob(item);
    if (LIKELY(blob == NULL)) {
        reply_bulk(reply, value);
        return;
    }
    blob_acquire(blob);
    reply_bulk_reference(reply, value, &blob->owner);
}
bool call_option(const struct call *call, uint32_t index, const char *name); /* ignoring case */
bool call_int64(struct call *call, uint32_t index, int64_t *value); /* replies ERROR_NOT_INTEGER */
/* Redis' glob: * ? [a-z] [^a] \x; iterative, no recursion (CVE-2024-31228). */
static inline bool glob_match(struct slice pattern, struct slice text, bool ignore_case)
{
    return glob_matches(pattern, text, ignore_case);
}

#endif
