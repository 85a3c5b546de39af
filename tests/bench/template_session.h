/* One whole TCP connection as frames: handshake, requests and replies, and the end.
 *
 *   template_session_open --> template_session_send (either side, any number) --> _close
 *
 * Bytes of one side are gathered into full segments; a segment leaves early, with PSH, when the
 * other side speaks. Every segment acknowledges all that came before it: nothing is lost or sent
 * twice, which is what TRex demands of a file.
 */
#ifndef NICACHED_TESTS_BENCH_TEMPLATE_SESSION_H
#define NICACHED_TESTS_BENCH_TEMPLATE_SESSION_H

#include "tests/bench/capture.h"
#include "tests/bench/schedule.h"
#include "tests/bench/template_frame.h"

/* Of one side: sequence numbers must not wrap, TRex does not follow them round. */
#define TEMPLATE_SESSION_BYTES_MAX (UINT32_C(1) << 30)

enum template_side { TEMPLATE_CLIENT, TEMPLATE_SERVER, TEMPLATE_SIDE_COUNT };

struct template_session {
    struct capture *capture;
    struct schedule *clock; /* one step for each frame */
    struct template_end ends[TEMPLATE_SIDE_COUNT];
    uint32_t sequence[TEMPLATE_SIDE_COUNT]; /* of the next byte */
    uint32_t sent_bytes[TEMPLATE_SIDE_COUNT];
    enum template_side speaker;
    uint8_t gathered[TEMPLATE_SEGMENT_BYTES_MAX];
    size_t gathered_bytes;
    bool full; /* a side has said more than TEMPLATE_SESSION_BYTES_MAX: cut off there */
};

/* capture, clock and ends are set by the caller. */
void template_session_open(struct template_session *session);
void template_session_send(struct template_session *session, enum template_side side,
                           struct slice bytes);
void template_session_close(struct template_session *session);

#endif
