/* How the load reaches the server: kernel sockets, or a port of our own with our own stack on it.
 *
 * One pass: transport_input (events and datagrams; their bytes live until the next one), the load
 * reacts and asks, transport_output. Streams keep to the contract of base/stream.h whichever it is.
 *
 * Thread: one. Failure: opening says why in one line; a lost stream says STREAM_CLOSED; datagrams
 * get lost.
 */
#ifndef NICACHED_TESTS_BENCH_TRANSPORT_H
#define NICACHED_TESTS_BENCH_TRANSPORT_H

#include "config/config.h"
#include "dataplane/base/clock.h"
#include "dataplane/base/metrics.h"
#include "dataplane/base/stream.h"

#define TRANSPORT_EVENTS_MAX    512U
#define TRANSPORT_DATAGRAMS_MAX 64U
#define TRANSPORT_CHANNELS_MAX  64U

struct transport_datagram {
    uint32_t channel;
    struct slice payload;
};

struct transport_input {
    uint32_t event_count, datagram_count;
    struct stream_event events[TRANSPORT_EVENTS_MAX];
    struct transport_datagram datagrams[TRANSPORT_DATAGRAMS_MAX];
};

struct transport;

struct transport_operations {
    /* STREAM_OPENED or STREAM_CLOSED follows. NULL with errno when it fails at once. */
    struct stream *(*connect)(struct transport *transport, const struct endpoint *peer,
                              const struct instant *now);
    /* Channel `channel` sends to and receives from this peer, from a port of its own. 0 or -errno.
     */
    int (*open_channel)(struct transport *transport, uint32_t channel, const struct endpoint *peer);
    /* False: dropped on our side, nothing left. */
    bool (*send)(struct transport *transport, uint32_t channel, struct slice payload,
                 const struct instant *now);
    void (*input)(struct transport *transport, const struct instant *now,
                  struct transport_input *input);
    void (*output)(struct transport *transport, const struct instant *now);
    /* Something is sent on the stream soon: what that needs is asked for from memory. NULL: that is
     * others' memory. */
    void (*prefetch)(const struct stream *stream);
    /* Connections that are not over yet, those that were asked to close included. NULL: whoever
     * carries them ends them by itself. */
    uint32_t (*connection_count)(const struct transport *transport);
    /* Until something arrives, at most so long. NULL: this one must be polled. */
    void (*wait)(struct transport *transport, uint64_t timeout_ns);
    /* What is still open is reset. */
    void (*destroy)(struct transport *transport, const struct instant *now);
};

struct transport {
    const struct transport_operations *operations;
    struct byte_pool pool; /* for the streams' `out` */
    struct metrics metrics;
};

struct transport *transport_open_sockets(struct config_error *error);
#define TRANSPORT_ACK_DELAY_STACK UINT32_MAX /* the stack's default */

/* `ack_delay_ms`: how long an ACK waits for text to ride on; 0: it goes before anything is sent in
 * answer. */
struct transport *transport_open_stack(const struct interface_config *interface,
                                       enum hugepages_mode hugepages, uint32_t ack_delay_ms,
                                       struct config_error *error);

#endif
