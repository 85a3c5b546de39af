/* The `socket` driver: kernel TCP and Unix sockets as streams, kernel UDP as datagrams; epoll.
 *
 * One instance per worker. Listening sockets use SO_REUSEPORT so that the kernel spreads
 * connections over workers. A Unix socket has no such thing: one worker accepts, and hands the
 * connections out for each in turn.
 *
 * Edge-triggered: a descriptor is registered once, for everything, and never changed again. What
 * the kernel has reported stays in a flag until a call says "would block", and sockets with work
 * wait in a list of ours. So pausing a stream, taking turns between streams and waiting for room to
 * write cost no system call, and a pass can stop anywhere without losing anything.
 *
 * Thread: the owning worker. Memory: streams from a pool that only grows; one receive arena of 1
 * MiB for all streams. Failure: a socket's error is its STREAM_CLOSED; out of descriptors:
 * accepting pauses (metric socket_accept_pauses) until one is closed or 100 ms have passed, the
 * rest goes on.
 */
#ifndef NICACHED_DRIVERS_SOCKET_TRANSPORT_H
#define NICACHED_DRIVERS_SOCKET_TRANSPORT_H

#include "dataplane/access/access.h"
#include "dataplane/base/clock.h"
#include "dataplane/base/metrics.h"
#include "dataplane/base/stream.h"

struct socket_transport;

struct socket_options {
    struct byte_pool *pool;
    struct metrics *metrics;
    struct access *access; /* shared by all workers; NULL: everybody is welcome */
    uint32_t backlog;      /* tcp-backlog */
    uint32_t keepalive_s;  /* tcp-keepalive */
    /* Connections to Unix sockets are not served here but handed out, to be adopted by any. */
    bool hands_out_unix;
};

struct socket_transport *socket_transport_create(const struct socket_options *options);
void socket_transport_destroy(
    struct socket_transport *transport); /* streams must be closed first */
/* Sends nothing more: resets or closes every stream at once, emitting no events. */
void socket_transport_close_all(struct socket_transport *transport);

/* 0 or a negative errno. `listener` comes back in stream->listener. Port 0 picks one; the bound
 * endpoint is written back. */
int socket_listen(struct socket_transport *transport, struct endpoint *endpoint, uint32_t listener);
int socket_listen_unix(struct socket_transport *transport, const char *path, uint32_t mode,
                       uint32_t listener);
int socket_open_udp(struct socket_transport *transport, struct endpoint *endpoint,
                    uint32_t listener);

/* Active open over TCP: STREAM_OPENED or STREAM_CLOSED follows. NULL with errno when it fails at
 * once: no descriptor, no memory, no route. */
struct stream *socket_connect(struct socket_transport *transport, const struct endpoint *peer);

/* Serves a connection to a Unix socket that some instance has handed out. The stream is open: no
 * STREAM_OPENED follows. NULL without memory; the descriptor is closed then. */
struct stream *socket_adopt(struct socket_transport *transport, int fd, uint32_t listener);

/* Whether somebody holds this endpoint: 0 or -EADDRINUSE. With SO_REUSEPORT a second process of the
 * same user would join a port without notice, so ask once before the workers listen. */
int socket_probe_endpoint(const struct endpoint *endpoint);

/* One datagram received by a UDP socket; the payload lives until the next input call. */
struct socket_datagram {
    struct slice payload;
    struct endpoint source, local;
    uint32_t listener;
    int socket_fd;
};

/* A connection for whoever adopts it. */
struct socket_accepted {
    int fd;
    uint32_t listener;
};

struct socket_input {
    struct stream_event *events;
    uint32_t event_count, event_count_max;
    struct socket_datagram *datagrams;
    uint32_t datagram_count, datagram_count_max;
    struct socket_accepted *accepted; /* only with hands_out_unix */
    uint32_t accepted_count, accepted_count_max;
};

/* Polls without waiting: accepts, reads, notices closes, until the arrays are full or nothing is
 * ready; the rest waits for the next pass. Data slices live until the next call. */
void socket_input(struct socket_transport *transport, const struct instant *now,
                  struct socket_input *input);
/* Writes what the dirty streams have, closes those that asked for it and are flushed; arms EPOLLOUT
 * where the kernel is full. */
void socket_output(struct socket_transport *transport, const struct instant *now);
/* Best effort, as UDP is. The kernel chooses the source address. */
void socket_send_datagram(struct socket_transport *transport, int socket_fd,
                          const struct endpoint *to, struct slice payload);
/* The same, from the address the request was sent to: what a host with several addresses needs. */
void socket_answer_datagram(struct socket_transport *transport,
                            const struct socket_datagram *request, struct slice payload);

/* For the sleeping worker: an epoll descriptor that covers all of the above; other descriptors
 * (ports, wake-ups) may be added to it with socket_watch: they only wake. */
int socket_wait_fd(const struct socket_transport *transport);
int socket_watch(struct socket_transport *transport, int fd);
/* Waits at most `timeout_ms` for anything to become ready. Never called while RCU-online. */
void socket_wait(struct socket_transport *transport, int timeout_ms);
bool socket_has_pending_input(const struct socket_transport *transport);

#endif
