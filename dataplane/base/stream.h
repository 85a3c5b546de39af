/* A stream: the face that a transport (our TCP, or a kernel socket) shows to the sessions above.
 *
 * A lower layer never calls upward. Each pass, a transport fills an array of events; the session
 * layer works through it, writes replies into `out` and sets the fields of the lower half, and
 * marks the stream dirty; later in the pass the transport's output function walks its dirty list.
 *
 *   transport                          session
 *     STREAM_OPENED  ------------------> attaches itself (stream->session)
 *     STREAM_DATA    ------------------> takes all the bytes, at once or into its own buffer
 *     STREAM_FINISHED (peer's FIN) ----> answers what it has, then requests close
 *     STREAM_DRAINED ------------------> goes on with requests it had put off
 *     STREAM_CLOSED  ------------------> forgets the stream: the last event, exactly once
 *
 * The transport owns the stream's memory. After STREAM_CLOSED was handed over, the session never
 * touches it again; the transport may linger (unsent replies, TIME-WAIT) on its own. A stream that
 * the session asked to close also gets its STREAM_CLOSED, in a later pass.
 */
#ifndef NICACHED_BASE_STREAM_H
#define NICACHED_BASE_STREAM_H

#include "dataplane/base/address.h"
#include "dataplane/base/byte_queue.h"

enum stream_event_type {
    STREAM_OPENED,   /* handshake complete, or socket accepted */
    STREAM_DATA,     /* in-order bytes; the slice lives until the end of the pass */
    STREAM_FINISHED, /* the peer will send nothing more; we may still send */
    STREAM_DRAINED,  /* `out` fell to `drain_below` bytes or fewer (see there) */
    STREAM_CLOSED,   /* gone: reset, timed out, or closed as requested */
};

struct stream;

struct stream_event {
    struct stream *stream;
    enum stream_event_type type;
    uint32_t front_bytes; /* STREAM_DATA: so many in front of `data` are the session's to write */
    struct slice data;    /* STREAM_DATA only */
};

/* Streams whose output or flags changed in this pass; one list per transport instance. */
struct stream_list {
    struct stream *first;
};

struct stream {
    /* Set by the transport, read by the session. */
    struct endpoint local, peer;
    /* Set by the session, read by the transport. */
    bool input_paused;    /* session cannot take more: a socket stops reading */
    bool close_requested; /* send what is queued, then close */
    bool abort_requested; /* drop what is queued, reset */
    /* Of the list below. */
    bool dirty;
    struct stream_list *dirty_list;
    uint32_t listener; /* index of the listener it came in by: tells the protocol */
    int socket_fd;     /* kernel sockets: the descriptor, for CLIENT LIST; otherwise -1 */

    /* Set by the session, read by the transport. */
    void *session;
    struct byte_queue out; /* bytes to send; the transport consumes */
    size_t unread_bytes;   /* delivered bytes the session still holds: closes the TCP window */
    size_t drain_below;    /* if not 0: emit STREAM_DRAINED once when out.size <= drain_below,
                              and set it back to 0 */

    /* Intrusive list of dirty streams; touched by stream_mark_dirty and the transport only. */
    struct stream *dirty_next;
};

static inline void stream_mark_dirty(struct stream *stream)
{
    if (!stream->dirty) {
        stream->dirty = true;
        stream->dirty_next = stream->dirty_list->first;
        stream->dirty_list->first = stream;
    }
}

#endif
