#include "dataplane/l5_session/session.h"

#include <stdlib.h>

#include "dataplane/base/check.h"

void session_attach(struct session *session, struct stream *stream)
{
    *session = (struct session){.stream = stream};
}

void session_detach(struct session *session)
{
    free(session->buffer);
    session->buffer = NULL;
    session->buffer_bytes = session->buffer_capacity = 0;
}

static void reserve_buffer(struct session *session, size_t bytes)
{
    if (bytes <= session->buffer_capacity) {
        return;
    }
    size_t capacity = session->buffer_capacity != 0 ? session->buffer_capacity : 512;
    while (capacity < bytes) {
        capacity *= 2;
    }
    session->buffer = realloc(session->buffer, capacity);
    CHECK(session->buffer != NULL);
    session->buffer_capacity = capacity;
}

static void append_to_buffer(struct session *session, struct slice bytes)
{
    if (bytes.size == 0) {
        return;
    }
    reserve_buffer(session, session->buffer_bytes + bytes.size);
    memcpy(session->buffer + session->buffer_bytes, bytes.data, bytes.size);
    session->buffer_bytes += bytes.size;
}

static bool view_is_buffer(const struct session *session)
{
    return session->buffer_bytes > 0;
}

static void show_buffer(struct session *session)
{
    session_show(session, slice_of(session->buffer, session->buffer_bytes));
}

/* The bytes a blocked session holds close the peer's window; those of a half-arrived request do
 * not, or a request larger than the window could never arrive. */
static void account_unread(struct session *session)
{
    size_t unread = session->blocked == SESSION_RUNNING ? 0 : session->buffer_bytes;
    bool paused = session->blocked != SESSION_RUNNING;
    if (unread != session->stream->unread_bytes || paused != session->stream->input_paused) {
        session->stream->unread_bytes = unread;
        session->stream->input_paused = paused;
        stream_mark_dirty(session->stream);
    }
}

/* What is left over goes in front of the next bytes, if it fits there. */
static bool show_joined(struct session *session, struct slice bytes, size_t front_bytes)
{
    struct slice left = session->view.size > 0 ? slice_from(session->view, session->executed)
                                               : slice_of(session->buffer, session->buffer_bytes);
    if (left.size > front_bytes) {
        return false;
    }
    uint8_t *begin = (uint8_t *)(uintptr_t)bytes.data - left.size;
    if (left.size > 0) {
        memcpy(begin, left.data, left.size);
    }
    session_detach(session);
    session_show(session, slice_of(begin, left.size + bytes.size));
    return true;
}

void session_offer_behind(struct session *session, struct slice bytes, size_t front_bytes)
{
    if (session->blocked == SESSION_RUNNING && show_joined(session, bytes, front_bytes)) {
        return;
    }
    if (session->view.size > 0) {
        session_settle(session);
    }
    append_to_buffer(session, bytes);
    show_buffer(session);
    account_unread(session);
}

void session_resume(struct session *session)
{
    CHECK(session->pending == 0);
    session->blocked = SESSION_RUNNING;
    show_buffer(session);
    account_unread(session);
}

void session_receive_bulk(struct session *session, size_t head_bytes, uint8_t *memory,
                          size_t payload_bytes)
{
    CHECK(session->pending == 0 && !session->bulk_active);
    session->executed = session->parsed;
    session_settle(session);
    CHECK(head_bytes <= session->buffer_bytes);

    session->bulk_active = true;
    session->bulk = memory;
    session->bulk_bytes = payload_bytes;
    session->bulk_received = 0;
    struct slice arrived =
        slice_of(session->buffer + head_bytes, session->buffer_bytes - head_bytes);
    struct slice rest = session_fill_bulk(session, arrived);
    memmove(session->buffer + head_bytes, rest.data, rest.size);
    session->buffer_bytes = head_bytes + rest.size;
}

struct slice session_fill_bulk(struct session *session, struct slice bytes)
{
    size_t missing = session->bulk_bytes - session->bulk_received;
    size_t part = bytes.size < missing ? bytes.size : missing;
    if (session->bulk != NULL && part > 0) {
        memcpy(session->bulk + session->bulk_received, bytes.data, part);
    }
    session->bulk_received += part;
    return slice_of(bytes.data + part, bytes.size - part);
}

void session_finish_bulk(struct session *session)
{
    CHECK(session_bulk_complete(session));
    session->bulk_active = false;
    session->bulk = NULL;
    show_buffer(session);
}

void session_settle(struct session *session)
{
    CHECK(session->pending == 0);
    struct slice rest = slice_from(session->view, session->executed);
    if (view_is_buffer(session)) {
        if (session->view.size > 0 && session->executed > 0) {
            if (rest.size > 0) {
                memmove(session->buffer, rest.data, rest.size);
            }
            session->buffer_bytes = rest.size;
        }
    } else {
        append_to_buffer(session, rest);
    }
    if (session->buffer_bytes == 0 && session->buffer_capacity > 0) {
        session_detach(session);
    }
    session_show(session, slice_of(NULL, 0));
    account_unread(session);
}

void session_block(struct session *session, enum session_blocked reason)
{
    session->blocked = reason;
}
