/* What the files of the socket transport share.
 *
 *   kernel --epoll--> flags of a handle --> ready list --> socket_input reads / accepts
 *   session marks dirty -----------------> dirty list --> socket_output writes / closes
 *                          notices (drained, closed) --> handed out by the next socket_input
 *
 * Life of a stream: open -> [finished] -> closed (descriptor gone, notice pending) -> reported
 * (STREAM_CLOSED is in the caller's array) -> free, at the start of the next input call. So an
 * event array never refers to a stream that is in use again, and epoll reports never do either:
 * they are turned into flags at once, before anything can be closed.
 */
#ifndef NICACHED_DRIVERS_SOCKET_INTERNAL_H
#define NICACHED_DRIVERS_SOCKET_INTERNAL_H

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "drivers/socket_transport.h"

#define SOCKET_ARENA_BYTES       (1U << 20)
#define SOCKET_READ_BYTES_MAX    (64U << 10) /* of one stream in one pass */
#define SOCKET_READ_BYTES_MIN    4096U       /* less room than this in the arena: the next pass */
#define SOCKET_WRITE_BYTES_MAX   (1U << 20)  /* of one stream in one pass */
#define SOCKET_ACCEPT_BURST      64U         /* of one listener in one pass */
#define SOCKET_DATAGRAM_BURST    64U         /* in one pass */
#define SOCKET_DATAGRAM_BYTES    (64U << 10)
#define SOCKET_ACCEPT_PAUSE_US   100000U
#define SOCKET_LISTENERS_MAX     64U
#define SOCKET_STREAMS_PER_CHUNK 64U

enum socket_kind { SOCKET_LISTENER, SOCKET_DATAGRAM, SOCKET_STREAM };

/* Every descriptor in epoll points at one of these. */
struct socket_handle {
    enum socket_kind kind;
    int fd;
    bool readable; /* not known to block: accept, receive */
    bool queued;   /* in the ready list */
    struct socket_handle *ready_next;
};

struct socket_listener {
    struct socket_handle handle; /* first */
    uint32_t listener;
    bool is_unix;
    bool accept_paused;
    struct endpoint endpoint;
    char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
    dev_t device; /* of the socket file we made: only that one is removed */
    ino_t inode;
};

enum socket_stream_state { STREAM_STATE_OPEN, STREAM_STATE_CLOSED, STREAM_STATE_REPORTED };

struct socket_stream {
    struct socket_handle handle; /* first */
    struct stream stream;
    enum socket_stream_state state;
    bool writable;
    bool peer_done; /* EPOLLRDHUP or EPOLLHUP seen: read until it shows */
    bool urgent;    /* EPOLLPRI seen: a read stops at the mark, with more behind it */
    bool failed;    /* EPOLLERR seen */
    bool finished;  /* STREAM_FINISHED handed out: nothing more to read */
    bool opening;   /* we connect: STREAM_OPENED not yet handed out */
    bool opened_due;
    bool drained_due, closed_due;
    bool noticed; /* in the notice list */
    bool entered; /* counted for its source */
    struct socket_stream *notice_next;
    struct socket_stream *previous, *next; /* all streams, or the free list (next) */
};

struct socket_stream_chunk {
    struct socket_stream_chunk *next;
    struct socket_stream streams[SOCKET_STREAMS_PER_CHUNK];
};

struct socket_transport {
    struct socket_options options;
    int epoll_fd;
    struct stream_list dirty;
    struct socket_handle *ready_first, **ready_end;
    uint32_t ready_count;
    struct socket_stream *notice_first, **notice_end;
    struct socket_stream *streams;  /* open or closed, not yet free */
    struct socket_stream *reported; /* handed out as closed: free at the next input call */
    struct socket_stream *free;
    struct socket_stream_chunk *chunks;
    uint32_t stream_count;                                   /* open or closed-but-unreported */
    struct socket_listener *listeners[SOCKET_LISTENERS_MAX]; /* and datagram sockets */
    uint32_t listener_count;
    bool accept_paused; /* on some listener, until: */
    uint64_t accept_resume_us;
    bool output_pending; /* a stream has used up its turn of writing */
    bool output_stuck;   /* the kernel had no memory: no event will tell */
    uint8_t *arena;
    size_t arena_used;
    struct socket_datagram_arena *datagrams; /* made with the first datagram socket */
};

/* ---- socket_transport.c ---- */

void socket_handle_make_ready(struct socket_transport *transport, struct socket_handle *handle);
int socket_handle_register(struct socket_transport *transport, struct socket_handle *handle,
                           uint32_t events);
void socket_stream_add_notice(struct socket_transport *transport, struct socket_stream *stream);
struct socket_stream *socket_stream_acquire(struct socket_transport *transport);
/* Gives back a stream that nobody has heard of; its descriptor is the caller's. */
void socket_stream_abandon(struct socket_transport *transport, struct socket_stream *stream);
/* Closes the descriptor; STREAM_CLOSED follows with the next input call. */
void socket_stream_close(struct socket_transport *transport, struct socket_stream *stream,
                         bool reset);
struct socket_listener *socket_listener_create(struct socket_transport *transport,
                                               enum socket_kind kind, int fd, uint32_t listener);

/* What comes after a request to close is of no interest; it is thrown away at the end. What comes
 * with a new connection waits until its STREAM_OPENED is handed out. */
static inline bool socket_stream_ignores_input(const struct socket_stream *stream)
{
    return stream->stream.input_paused || stream->stream.close_requested || stream->opening;
}

static inline bool socket_input_has_event_room(const struct socket_input *input)
{
    return input->event_count < input->event_count_max;
}

static inline void socket_input_add_event(struct socket_input *input, struct socket_stream *stream,
                                          enum stream_event_type type, struct slice data)
{
    input->events[input->event_count++] =
        (struct stream_event){.stream = &stream->stream, .type = type, .data = data};
}

/* ---- socket_address.c ---- */

socklen_t socket_address_from_endpoint(const struct endpoint *endpoint,
                                       struct sockaddr_storage *to);
void socket_address_to_endpoint(const struct sockaddr_storage *from, struct endpoint *endpoint);
bool socket_address_is_any(const struct address *address);
/* Creates a socket with SO_REUSEADDR, IPV6_V6ONLY and, if asked, SO_REUSEPORT, and binds it. */
int socket_open_bound(const struct endpoint *endpoint, int type, bool reuse_port);
/* Writes back the port that was picked. */
int socket_read_local(int fd, struct endpoint *endpoint);

/* ---- socket_tcp.c ---- */

/* All three leave the handle's `readable` true when there is more for another pass. */
void socket_listener_accept(struct socket_transport *transport, struct socket_listener *listener,
                            const struct instant *now, struct socket_input *input);
void socket_stream_read(struct socket_transport *transport, struct socket_stream *stream,
                        struct socket_input *input);
void socket_stream_output(struct socket_transport *transport, struct socket_stream *stream);
void socket_listener_remove_file(struct socket_listener *listener);

/* ---- socket_udp.c ---- */

void socket_datagrams_receive(struct socket_transport *transport, struct socket_listener *socket,
                              struct socket_input *input);
void socket_datagram_arena_destroy(struct socket_datagram_arena *arena);

#endif
