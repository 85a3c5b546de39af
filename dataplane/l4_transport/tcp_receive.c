/* The receiving side after a segment was found acceptable: text goes up, or waits in the reassembly
 * store; what is to be acknowledged is noted and leaves with tcp_output.
 *
 * The window. What one connection may hold is unread_bytes of the session, text stored below
 * RCV.NXT that found no room among the events, and text out of order. The last lies inside the
 * window that was advertised, so `unread + undelivered + window <= receive_buffer_bytes_max` bounds
 * all three, and the right edge never moves back.
 */
#include "dataplane/l4_transport/tcp_internal.h"

#include <stdlib.h>

uint32_t tcp_find_receive_edge(const struct tcp *tcp, const struct tcp_connection *c)
{
    uint64_t held = c->stream.unread_bytes;
    if (UNLIKELY(c->has_reassembly)) {
        held += tcp_reassembly_undelivered(c->reassembly, c->rcv_nxt);
    }
    uint32_t bytes_max = tcp->options.receive_buffer_bytes_max;
    uint32_t room = held < bytes_max ? bytes_max - (uint32_t)held : 0;
    uint32_t sayable = (uint32_t)UINT16_MAX << c->rcv_shift;
    uint32_t edge = c->rcv_nxt + (room < sayable ? room : sayable);
    edge = seq_before(edge, c->rcv_adv + tcp_receive_step(tcp, c)) ? c->rcv_adv : edge;
    return seq_max(edge, c->rcv_nxt);
}

void tcp_drop_reassembly(struct tcp *tcp, struct tcp_connection *c)
{
    if (c->has_reassembly) {
        tcp_reassembly_destroy(&tcp->reassembly, c->reassembly);
        c->reassembly = NULL;
        c->has_reassembly = false;
    }
}

static void grow_held(struct tcp *tcp)
{
    tcp->held_max *= 2;
    tcp->held = realloc(tcp->held, tcp->held_max * sizeof(struct rte_mbuf *));
    CHECK(tcp->held != NULL);
}

static inline void hold_packet(struct tcp *tcp, struct ip_datagram *datagram)
{
    if (UNLIKELY(tcp->held_count == tcp->held_max)) {
        grow_held(tcp);
    }
    tcp->held[tcp->held_count++] = datagram->mbuf;
    datagram->mbuf = NULL;
}

/* RFC 9293 3.8.6.3, RFC 5681 4.2: at least every second full segment at once, the rest delayed. */
static inline void note_received(struct tcp_connection *c, uint32_t bytes)
{
    c->rcv_unacknowledged += bytes;
    if (bytes > c->rcv_segment_max) {
        c->rcv_segment_max = (uint16_t)(bytes < c->offered_mss ? bytes : c->offered_mss);
    }
    if (c->rcv_unacknowledged >= 2U * c->rcv_segment_max && c->rcv_unacknowledged > bytes) {
        c->ack_now = true;
    }
    c->ack_pending = true;
    stream_mark_dirty(&c->stream);
}

/* The headers, which nobody reads once the events are taken, and the room in front of them, unless
 * somebody else holds the packet. */
static inline uint32_t front_bytes(const struct rte_mbuf *mbuf, const uint8_t *text)
{
    bool is_ours = RTE_MBUF_DIRECT(mbuf) && rte_mbuf_refcnt_read(mbuf) == 1;
    return is_ours ? (uint32_t)(text - (const uint8_t *)mbuf->buf_addr) : 0;
}

void tcp_receive_in_order(struct tcp *tcp, struct tcp_connection *c, struct tcp_segment *segment,
                          struct tcp_events *events)
{
    const uint8_t *text = segment->text + segment->skip;
    struct stream_event *event =
        tcp_emit(events, c, STREAM_DATA, slice_of(text, segment->text_bytes));
    event->front_bytes = front_bytes(segment->datagram->mbuf, text);
    c->rcv_nxt += segment->text_bytes;
    note_received(c, segment->text_bytes);
    hold_packet(tcp, segment->datagram);
}

/* A store without text in it is taken down again: the fast path needs it to be absent. */
static void drop_empty_store(struct tcp *tcp, struct tcp_connection *c)
{
    if (c->has_reassembly && c->reassembly->ranges.count == 0) {
        tcp_drop_reassembly(tcp, c);
    }
}

bool tcp_deliver_stored(struct tcp *tcp, struct tcp_connection *c, struct tcp_events *events,
                        uint32_t slices_max)
{
    while (c->has_reassembly && tcp_reassembly_undelivered(c->reassembly, c->rcv_nxt) > 0) {
        if (slices_max-- == 0 || !tcp_events_have_room(events)) {
            return false;
        }
        struct slice taken = tcp_reassembly_take(&tcp->reassembly, c->reassembly, c->rcv_nxt);
        tcp_emit(events, c, STREAM_DATA, taken);
        stream_mark_dirty(&c->stream);
    }
    drop_empty_store(tcp, c);
    if (c->finished_pending) {
        if (!tcp_events_have_room(events)) {
            return false;
        }
        c->finished_pending = false;
        tcp_emit(events, c, STREAM_FINISHED, slice_of(NULL, 0));
    }
    return true;
}

/* Copies the segment's text into the store, mbuf by mbuf when it is a chain. */
static enum tcp_reassembly_verdict store_text(struct tcp *tcp, struct tcp_connection *c,
                                              const struct tcp_segment *segment)
{
    bool urgent = segment->seq == c->rcv_nxt;
    if (segment->text != NULL) {
        return tcp_reassembly_insert(&tcp->reassembly, c->reassembly, segment->seq,
                                     slice_of(segment->text + segment->skip, segment->text_bytes),
                                     urgent);
    }
    enum tcp_reassembly_verdict verdict = TCP_REASSEMBLY_KNOWN;
    uint32_t skip = segment->header_bytes + segment->skip, done = 0;
    for (const struct rte_mbuf *m = segment->datagram->mbuf; m != NULL; m = m->next) {
        if (skip >= m->data_len) {
            skip -= m->data_len;
            continue;
        }
        uint32_t part = m->data_len - skip, left = segment->text_bytes - done;
        part = part < left ? part : left;
        enum tcp_reassembly_verdict one = tcp_reassembly_insert(
            &tcp->reassembly, c->reassembly, segment->seq + done,
            slice_of(rte_pktmbuf_mtod_offset(m, const uint8_t *, skip), part), urgent);
        if (one == TCP_REASSEMBLY_REFUSED) {
            return one;
        }
        verdict = one == TCP_REASSEMBLY_STORED ? one : verdict;
        done += part;
        skip = 0;
    }
    return verdict;
}

static bool have_store(struct tcp *tcp, struct tcp_connection *c)
{
    if (!c->has_reassembly) {
        c->reassembly = tcp_reassembly_create(&tcp->reassembly, c->rcv_nxt);
        c->has_reassembly = c->reassembly != NULL;
    }
    return c->has_reassembly;
}

/* After the session has left: the text counts as received and is dropped, so that our last replies
 * and FIN get through to a peer that is still sending. */
static void swallow_text(struct tcp *tcp, struct tcp_connection *c,
                         const struct tcp_segment *segment)
{
    metric_add(tcp->metrics, METRIC_TCP_DROP_AFTER_CLOSE, 1);
    if (segment->seq == c->rcv_nxt) {
        c->rcv_nxt += segment->text_bytes;
    }
    c->ack_now = true;
    stream_mark_dirty(&c->stream);
}

static void receive_through_store(struct tcp *tcp, struct tcp_connection *c,
                                  struct tcp_segment *segment, const struct instant *now,
                                  struct tcp_events *events)
{
    bool in_order = segment->seq == c->rcv_nxt;
    enum tcp_reassembly_verdict verdict =
        have_store(tcp, c) ? store_text(tcp, c, segment) : TCP_REASSEMBLY_REFUSED;
    if (verdict == TCP_REASSEMBLY_REFUSED) {
        metric_add(tcp->metrics, METRIC_TCP_DROP_REASSEMBLY_LIMIT, 1);
    } else if (verdict == TCP_REASSEMBLY_KNOWN) {
        metric_add(tcp->metrics, METRIC_TCP_DROP_REPEATED, 1);
    } else if (!in_order) {
        metric_add(tcp->metrics, METRIC_TCP_OUT_OF_ORDER, 1);
    }
    if (c->has_reassembly) {
        c->rcv_nxt = tcp_reassembly_contiguous_end(c->reassembly, c->rcv_nxt);
    }
    if (in_order) {
        note_received(c, segment->text_bytes);
        c->ack_now = true;
    } else {
        /* One duplicate ACK for each: the peer counts them (RFC 5681 4.2). */
        tcp_send_ack(tcp, c, now);
    }
    drop_empty_store(tcp, c);
    if (!tcp_deliver_stored(tcp, c, events, 1)) {
        tcp_queue_pending(tcp, c);
    }
}

void tcp_receive_text(struct tcp *tcp, struct tcp_connection *c, struct tcp_segment *segment,
                      const struct instant *now, struct tcp_events *events)
{
    if (c->detached) {
        swallow_text(tcp, c, segment);
        return;
    }
    /* Of a byte that is in the store already the stored copy counts, so a segment that reaches into
     * stored text goes through the store too. */
    const struct tcp_ranges *stored = c->has_reassembly ? &c->reassembly->ranges : NULL;
    bool direct = segment->seq == c->rcv_nxt && segment->text != NULL &&
                  (stored == NULL ||
                   seq_at_or_before(segment->seq + segment->text_bytes, stored->at[0].start));
    if (!direct) {
        receive_through_store(tcp, c, segment, now, events);
        return;
    }
    tcp_receive_in_order(tcp, c, segment, events);
    if (!c->has_reassembly) {
        return;
    }
    c->ack_now = true; /* a hole, or a part of one, is filled */
    tcp_reassembly_skip(&tcp->reassembly, c->reassembly, c->rcv_nxt);
    c->rcv_nxt = tcp_reassembly_contiguous_end(c->reassembly, c->rcv_nxt);
    if (!tcp_deliver_stored(tcp, c, events, 1)) {
        tcp_queue_pending(tcp, c);
    }
}

/* The FIN's place in the sequence was noted; it counts once all text before it has arrived. */
void tcp_receive_fin(struct tcp *tcp, struct tcp_connection *c, const struct instant *now,
                     struct tcp_events *events)
{
    if (!c->peer_fin_seen || c->rcv_fin != c->rcv_nxt || !tcp_state_receives(c->state)) {
        return;
    }
    c->rcv_nxt++;
    c->ack_now = true;
    stream_mark_dirty(&c->stream);
    if (c->state == TCP_ESTABLISHED) {
        tcp_set_state(tcp, c, TCP_CLOSE_WAIT);
    } else if (c->state == TCP_FIN_WAIT_1) {
        tcp_set_state(tcp, c, TCP_CLOSING);
    } else {
        tcp_send_ack(tcp, c, now);
        tcp_enter_time_wait(tcp, c, now);
        return;
    }
    if (!c->detached) {
        c->finished_pending = true;
        if (!tcp_deliver_stored(tcp, c, events, 0)) {
            tcp_queue_pending(tcp, c);
        }
    }
}
