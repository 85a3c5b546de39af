#include "tests/bench/template_session.h"

#define CLIENT_SEQUENCE 1000U
#define SERVER_SEQUENCE 2000U

static void send_segment(struct template_session *session, enum template_side side, uint8_t flags,
                         struct slice payload)
{
    uint8_t frame[TEMPLATE_FRAME_BYTES_MAX];
    enum template_side other = side == TEMPLATE_CLIENT ? TEMPLATE_SERVER : TEMPLATE_CLIENT;
    const struct template_segment segment = {
        .sequence = session->sequence[side],
        .acknowledgment = (flags & TEMPLATE_ACK) != 0 ? session->sequence[other] : 0,
        .flags = flags,
        .payload = payload,
    };
    size_t size =
        template_compose_tcp(frame, &session->ends[side], &session->ends[other], &segment);
    capture_add(session->capture, schedule_next_ns(session->clock), slice_of(frame, size));
    schedule_advance(session->clock);
    session->sequence[side] +=
        (uint32_t)payload.size + ((flags & (TEMPLATE_SYN | TEMPLATE_FIN)) != 0);
}

static void flush(struct template_session *session, uint8_t more_flags)
{
    if (session->gathered_bytes > 0) {
        send_segment(session, session->speaker, (uint8_t)(TEMPLATE_ACK | more_flags),
                     slice_of(session->gathered, session->gathered_bytes));
        session->gathered_bytes = 0;
    }
}

void template_session_open(struct template_session *session)
{
    session->sequence[TEMPLATE_CLIENT] = CLIENT_SEQUENCE;
    session->sequence[TEMPLATE_SERVER] = SERVER_SEQUENCE;
    const struct slice nothing = {0};
    send_segment(session, TEMPLATE_CLIENT, TEMPLATE_SYN, nothing);
    send_segment(session, TEMPLATE_SERVER, TEMPLATE_SYN | TEMPLATE_ACK, nothing);
    send_segment(session, TEMPLATE_CLIENT, TEMPLATE_ACK, nothing);
}

void template_session_send(struct template_session *session, enum template_side side,
                           struct slice bytes)
{
    session->full |= bytes.size > TEMPLATE_SESSION_BYTES_MAX - session->sent_bytes[side];
    if (session->full) {
        return;
    }
    if (side != session->speaker) {
        flush(session, TEMPLATE_PSH);
        session->speaker = side;
    }
    session->sent_bytes[side] += (uint32_t)bytes.size;
    while (bytes.size > 0) {
        size_t room = sizeof(session->gathered) - session->gathered_bytes;
        size_t size = bytes.size < room ? bytes.size : room;
        memcpy(session->gathered + session->gathered_bytes, bytes.data, size);
        session->gathered_bytes += size;
        bytes = slice_from(bytes, size);
        if (session->gathered_bytes == sizeof(session->gathered)) {
            flush(session, 0);
        }
    }
}

void template_session_close(struct template_session *session)
{
    const struct slice nothing = {0};
    flush(session, TEMPLATE_PSH);
    send_segment(session, TEMPLATE_CLIENT, TEMPLATE_FIN | TEMPLATE_ACK, nothing);
    send_segment(session, TEMPLATE_SERVER, TEMPLATE_FIN | TEMPLATE_ACK, nothing);
    send_segment(session, TEMPLATE_CLIENT, TEMPLATE_ACK, nothing);
}
