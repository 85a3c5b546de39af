/* What the files of the load share: connections, requests under way, the phase that runs. */
#ifndef NICACHED_TESTS_BENCH_LOAD_INTERNAL_H
#define NICACHED_TESTS_BENCH_LOAD_INTERNAL_H

#include <rte_prefetch.h>

#include "tests/bench/load.h"
#include "tests/bench/schedule.h"

#define LOAD_LINE_BYTES            64
#define LOAD_DATAGRAM_HEADER_BYTES 8U
#define LOAD_DATAGRAM_BYTES_MAX    1400U /* of a request: one packet at the usual MTU */

struct request_key {
    uint64_t key;
    uint32_t floor; /* of a read: the least version that is right */
};

struct request {
    uint64_t intended_ns;
    uint64_t sent_ns;
    uint16_t key_count;
    uint8_t kind;
    bool recorded;
    bool active;
};

enum connection_state {
    CONNECTION_CLOSED,
    CONNECTION_OPENING,
    CONNECTION_AUTHENTICATING,
    CONNECTION_READY,
};

/* Requests have consecutive ids; their slot is the id modulo the capacity. A stream answers them in
 * order, datagrams in any. */
struct connection {
    _Alignas(LOAD_LINE_BYTES) struct stream *stream; /* NULL: a channel of datagrams, or closed */
    struct request *requests;
    struct request_key *keys; /* keys_a_get for each request */
    uint32_t index;
    uint32_t first, next, active;
    enum connection_state state : 8;
    bool queued; /* in the ready list */

    /* The reply that is being read. */
    bool checking;
    uint16_t datagram_id, datagram_sequence;
    uint32_t value_index, value_count;
    _Alignas(LOAD_LINE_BYTES) struct value_check check;
    struct reply_parser parser;
};

#define LOAD_HOT_BYTES (2 * LOAD_LINE_BYTES) /* of a connection: what one value needs */
_Static_assert(offsetof(struct connection, parser.elements_left) <= LOAD_HOT_BYTES,
               "a turn and its reply take two cache lines");

struct load {
    struct load_options options;
    struct workload *workload;
    struct transport *transport;
    const struct load_phase *phase;
    struct load_result *result;
    struct instant instant;
    uint64_t now_ns;

    struct connection *connections;
    uint32_t capacity, mask; /* of the requests of one connection */
    uint32_t keys_a_request;
    uint32_t open_count, opening_count;
    struct request *request_memory;
    struct request_key *key_memory;
    uint8_t *line_memory; /* of the reply parsers */
    uint32_t *ready;      /* ring of connections with room */
    uint32_t ready_first, ready_count;
    uint8_t datagram[LOAD_DATAGRAM_BYTES_MAX];

    /* The phase. */
    struct schedule schedule;
    bool stopped; /* no more requests */
    uint64_t record_start_ns, stop_ns;
    uint64_t recorded_count, preload_next;
    uint64_t in_flight;
    uint64_t last_reply_ns, last_activity_ns;
    struct histogram second;
    uint64_t second_end_ns;
    uint32_t second_capacity;
    struct transport_input input;
    bool failed, probe_answered;
    struct config_error *error;
};

/* The run ends with this line; the first one is kept. */
void load_fail(struct load *load, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* ---- load_request.c ---- */

void load_offer(struct load *load, struct connection *connection); /* it may have room now */
/* Sends what is due and there is room for; returns whether it sent anything. */
bool load_generate(struct load *load);
void load_authenticate(struct load *load, struct connection *connection);

/* ---- load_reply.c ---- */

void load_take_bytes(struct load *load, struct connection *connection, struct slice bytes);
void load_take_datagram(struct load *load, struct connection *connection, struct slice payload);
/* Gives up on a request: `counter` of the result says why. */
void load_abandon(struct load *load, struct connection *connection, struct request *request,
                  uint64_t *counter);

static inline struct request *load_request_at(const struct load *load,
                                              const struct connection *connection, uint32_t id)
{
    return &connection->requests[id & load->mask];
}

static inline struct request_key *load_keys_at(const struct load *load,
                                               const struct connection *connection, uint32_t id)
{
    return &connection->keys[(size_t)(id & load->mask) * load->keys_a_request];
}

/* With many of them they are in no cache. */
static inline void load_prefetch(const struct load *load, uint32_t index)
{
    const uint8_t *connection = (const uint8_t *)&load->connections[index];
    rte_prefetch0(connection);
    rte_prefetch0(connection + LOAD_LINE_BYTES);
    size_t first = (size_t)index * load->capacity;
    rte_prefetch0(&load->request_memory[first]);
    rte_prefetch0(&load->key_memory[first * load->keys_a_request]);
}

static inline bool load_knows_key(const struct load *load, uint64_t key)
{
    return load->options.ledger != NULL && key < load->workload->key_count;
}

#endif
