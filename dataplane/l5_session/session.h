/* A session: the bytes of one stream on their way to a parser.
 *
 * The bytes of this pass are looked at where they lie, in the packet or the receive arena; only
 * what is left over of them (the start of a request) is copied: in front of the next bytes, over a
 * packet's headers, or, when the pass ends or there is no room, into the session's own buffer. From
 * then on until the buffer is empty again, new bytes are appended to it.
 *
 *     view      |-- executed --|-- parsed, in the batch --|-- not parsed yet --|
 *     offsets   0              executed                   parsed               view.size
 *
 * A large argument does not pass through the buffer: the layer above names the memory that it shall
 * end in (session_receive_bulk), and the payload goes straight there.
 *
 * Order of calls in one pass:
 *   session_offer        bytes arrive; afterwards `view` shows everything not executed
 *   (parse from view + parsed, advance parsed; run; advance executed)
 *   session_settle       keeps the rest for the next pass
 *
 * Thread: the owning worker. Memory: the buffer grows by doubling up to what the layer above allows
 * and is freed when it is empty: an idle session holds none.
 */
#ifndef NICACHED_L5_SESSION_SESSION_H
#define NICACHED_L5_SESSION_SESSION_H

#include "dataplane/base/check.h"
#include "dataplane/base/stream.h"

enum session_blocked {
    SESSION_RUNNING,
    SESSION_AWAITS_REPLY,  /* a deferred command's reply is still to come */
    SESSION_AWAITS_OUTPUT, /* the peer reads too slowly: its requests wait */
    SESSION_AWAITS_SHARD,  /* its next request needs our shard, which is lent to another worker */
    SESSION_AWAITS_MEMORY, /* its next request needs memory that is about to be freed */
    SESSION_BLOCKED_COUNT
};

struct session {
    struct stream *stream;

    struct slice view;
    size_t parsed, executed; /* offsets into view */
    uint16_t pending;        /* parsed requests of this session in the batch */
    enum session_blocked blocked : 8;
    bool finished; /* the peer sends nothing more */
    bool closing;  /* nothing more is parsed or run */
    bool touched;  /* on the list of touched_next */
    bool bulk_active;
    struct session *touched_next;

    uint8_t *buffer;
    size_t buffer_bytes, buffer_capacity;

    uint8_t *bulk; /* where a large argument goes, or NULL; may be NULL while bulk_discard */
    size_t bulk_bytes, bulk_received;
};

void session_attach(struct session *session, struct stream *stream);
/* Frees the buffer; the stream is not touched. */
void session_detach(struct session *session);

/* The bytes in which the session is to be parsed next. */
static inline void session_show(struct session *session, struct slice bytes)
{
    session->view = bytes;
    session->parsed = session->executed = 0;
}

/* New bytes at the end of the stream; `front_bytes` in front of them may be written. No request may
 * be pending, no bulk active; a view that is not settled yet ends where it was executed. If the
 * session runs, and what is left over fits in front of the bytes, it is put there, and they stay
 * where they are; else they are appended to the buffer. */
void session_offer_behind(struct session *session, struct slice bytes, size_t front_bytes);
static inline void session_offer(struct session *session, struct slice bytes, size_t front_bytes)
{
    CHECK(session->pending == 0 && !session->bulk_active);
    if (LIKELY(session->view.size == 0 && session->buffer_bytes == 0 &&
               session->blocked == SESSION_RUNNING)) {
        session_show(session, bytes);
    } else {
        session_offer_behind(session, bytes, front_bytes); /* something that came before */
    }
}

/* Shows the buffered bytes again after the session was blocked. */
void session_resume(struct session *session);

/* The request at view + parsed has a large argument: keeps its first `head_bytes` bytes in the
 * buffer, moves what has arrived of the payload to `memory`, and sends the rest there as it
 * arrives. `memory` NULL discards the payload. No request may be pending. */
void session_receive_bulk(struct session *session, size_t head_bytes, uint8_t *memory,
                          size_t payload_bytes);
static inline bool session_bulk_complete(const struct session *session)
{
    return session->bulk_active && session->bulk_received == session->bulk_bytes;
}
/* Takes payload bytes from the front of `bytes`; returns what is left of them. */
struct slice session_fill_bulk(struct session *session, struct slice bytes);
/* The payload is complete and known to the parser: the view goes on behind it. */
void session_finish_bulk(struct session *session);

/* Keeps what was not executed; forgets the view. No request may be pending. */
void session_settle(struct session *session);

/* Bytes that the peer has sent and that wait only because the session is blocked. */
void session_block(struct session *session, enum session_blocked reason);

#endif
