/* Fuzz target: one TCP conversation. The input is a list of steps; each is a segment made relative
 * to what the connection expects (so that the edges of the windows are near), a segment in IP
 * fragments (some missing, repeated or contradicting each other), an ARP message about those who
 * talk, a passage of time, or something that the session does. Connections may begin with a cookie.
 *
 * The text of both sides is a function of its sequence number, so every byte that is delivered or
 * sent is checked wherever it comes from. After each step the connection's own invariants hold, and
 * the stack has sent no more than the step explains. At the end the peer is gone: all must come to
 * an end by itself, each stream with one STREAM_CLOSED, and all memory must be back.
 */
#include <rte_ip.h>
#include <stdlib.h>

#include "tests/support/tcp_bench.h"

#define STEPS_MAX           200U
#define UNSENT_MAX          12000U
#define TEXT_MAX            1400U
#define BUFFER_MIN          4000U
#define SEGMENT_BYTES_MIN   48U
#define BARE_FRAMES_A_STEP  3U  /* without text: an answer, a reset, a window update */
#define BARE_FRAMES_A_PAUSE 40U /* probes and retransmitted SYNs of 100 s */
#define BATCH_MAX           8U
#define TEXT_FRAMES_MAX     (2U * UNSENT_MAX / (SEGMENT_BYTES_MIN - TCP_TIMESTAMPS_BYTES))
#define LAST_PAUSE_US       (2000ULL * 1000000)
#define FRAGMENTED_TEXT_MAX 600U
#define HEADERS_BYTES       34U /* Ethernet, IPv4 */
#define ARP_FRAME_BYTES     60U
#define SHIFT_UNKNOWN       14U

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct input {
    const uint8_t *at, *end;
};

struct conversation {
    struct tcp_bench *b;
    struct stream *stream; /* the one that the session has */
    /* One that it had, whose end it hears of in this pass: with a cookie the next one may be there
     * already. */
    struct stream *ending;
    uint16_t port, peer_port;
    bool active, opened, finished, close_asked;
    bool hold;
    uint32_t receive_seq; /* of the next byte to be delivered */
    uint32_t iss, written;
    uint32_t peer_stamp, syn_stamp;
    uint16_t next_id;
    bool edge_known, reached_known;
    uint32_t edge_iss;  /* of the connection that the edge is of; the next one of the same moment */
    uint8_t edge_shift; /* has the same, but was perhaps offered other options */
    uint32_t edge;      /* right edge that the stack has advertised */
    uint32_t arrived;   /* segments of the last pass */
    uint32_t batch_window; /* the largest that one of the queued segments may have set */
    uint32_t reached;      /* right edge that the peer has advertised, relative to iss */
};

static uint8_t take(struct input *input)
{
    return input->at < input->end ? *input->at++ : 0;
}

static uint8_t byte_at(uint32_t seq)
{
    return (uint8_t)((seq * 0x9E3779B1U) >> 24);
}

static struct tcp_connection *connection_of(const struct conversation *v)
{
    struct address own = simulated_host_address(2), peer = simulated_host_address(1);
    uint64_t hash = tcp_table_hash(&own, v->port, &peer, v->peer_port);
    return tcp_table_find(&v->b->host.tcp->table, hash, &own, v->port, &peer, v->peer_port);
}

/* ---- the session -------------------------------------------------------------------------------
 */

static void on_opened(struct conversation *v, struct stream *stream)
{
    const struct tcp_connection *c = tcp_connection_of_stream(stream);
    if (v->stream != NULL && v->stream != stream) {
        CHECK(v->ending == NULL);
        CHECK(tcp_connection_of_stream(v->stream)->state == TCP_CLOSED);
        v->ending = v->stream;
    } else {
        CHECK(v->stream == NULL || (v->active && !v->opened));
    }
    v->stream = stream;
    v->opened = true;
    v->finished = v->close_asked = v->hold = false;
    v->receive_seq = c->irs + 1;
    v->iss = c->iss;
    v->written = 0;
}

static void on_data(struct conversation *v, struct slice data)
{
    CHECK(v->opened && !v->finished && !v->close_asked && data.size > 0);
    for (size_t i = 0; i < data.size; i++) {
        CHECK(data.data[i] == byte_at(v->receive_seq + (uint32_t)i));
    }
    v->receive_seq += (uint32_t)data.size;
    v->stream->unread_bytes += v->hold ? data.size : 0;
}

static void on_event(struct conversation *v, const struct stream_event *event)
{
    if (event->type == STREAM_OPENED) {
        on_opened(v, event->stream);
        return;
    }
    if (v->ending != NULL && event->stream == v->ending) {
        CHECK(event->type == STREAM_CLOSED);
        v->ending = NULL;
        return;
    }
    CHECK(v->stream == event->stream);
    if (event->type == STREAM_DATA) {
        on_data(v, event->data);
    } else if (event->type == STREAM_FINISHED) {
        CHECK(v->opened && !v->finished && !v->close_asked);
        v->finished = true;
    } else if (event->type == STREAM_DRAINED) {
        CHECK(v->opened && !v->close_asked && v->stream->drain_below == 0);
    } else {
        v->stream = NULL;
        v->opened = false;
    }
}

static void on_events(struct simulated_host *host, const struct stream_event *events,
                      uint32_t count, const struct instant *now)
{
    for (uint32_t i = 0; i < count; i++) {
        on_event(host->context, &events[i]);
    }
}

static void write_text(struct conversation *v, uint32_t size)
{
    uint8_t bytes[UNSENT_MAX];
    size_t room = v->stream->out.size < UNSENT_MAX ? UNSENT_MAX - v->stream->out.size : 0;
    size = size < room ? size : (uint32_t)room;
    for (uint32_t i = 0; i < size; i++) {
        bytes[i] = byte_at(v->iss + 1 + v->written + i);
    }
    byte_queue_append(&v->stream->out, &v->b->host.bytes, bytes, size);
    v->written += size;
}

static void session_step(struct conversation *v, uint8_t what, uint8_t amount)
{
    struct stream *stream = v->stream;
    if (stream == NULL || v->close_asked) {
        return;
    }
    if (what < 6 && v->opened) {
        write_text(v, what < 3 ? amount : 48U * amount);
    } else if (what < 8 && v->opened) {
        stream->drain_below = amount * 8U;
    } else if (what < 10) {
        v->hold = !v->hold;
    } else if (what < 12) {
        size_t read = amount * 64U;
        stream->unread_bytes -= read < stream->unread_bytes ? read : stream->unread_bytes;
    } else if (what < 13) {
        stream->unread_bytes = 0;
    } else if (what < 15) {
        stream->close_requested = v->close_asked = true;
    } else {
        stream->abort_requested = v->close_asked = true;
    }
    v->b->stream = stream;
    bench_touch(v->b);
}

/* ---- the peer ----------------------------------------------------------------------------------
 */

static uint32_t near(uint32_t base, int8_t offset, bool far)
{
    return base + (uint32_t)((int32_t)offset * (far ? 128 : 1));
}

static uint32_t choose_seq(const struct conversation *v, const struct tcp_connection *c,
                           uint8_t how, int8_t offset)
{
    uint32_t bases[4] = {v->b->peer_nxt, c != NULL ? c->rcv_nxt : v->b->peer_nxt,
                         c != NULL ? c->rcv_adv : v->b->peer_nxt,
                         c != NULL ? c->irs : v->b->peer_nxt};
    return near(bases[how & 3], how & 0x10 ? offset : (int8_t)0, how & 0x20);
}

static uint32_t choose_ack(const struct conversation *v, const struct tcp_connection *c,
                           uint8_t how, int8_t offset)
{
    uint32_t bases[4] = {v->b->own_nxt, c != NULL ? c->snd_una : v->b->own_nxt, v->b->own_iss,
                         c != NULL ? c->snd_nxt : v->b->own_nxt};
    return near(bases[how & 3], how & 0x10 ? offset : (int8_t)0, how & 0x20);
}

static uint32_t write_stamps(struct conversation *v, uint8_t *to, int8_t offset)
{
    const struct tcp_connection *c = connection_of(v);
    struct instant now = {.mono_us = v->b->now_us};
    v->peer_stamp = (uint32_t)(v->b->now_us / 1000U);
    bytes_write_be32(to, TCP_TIMESTAMPS_PREDICTED_WORD);
    bytes_write_be32(to + 4, near(v->peer_stamp, offset, false));
    bytes_write_be32(to + 8,
                     c != NULL ? tcp_timestamp(c, &now) - ((uint32_t)offset & 7U) : v->syn_stamp);
    return 12;
}

static uint32_t write_sack(const struct conversation *v, struct input *input, uint8_t *to,
                           uint32_t blocks)
{
    const struct tcp_connection *c = connection_of(v);
    uint32_t base = c != NULL ? c->snd_una : v->b->own_nxt;
    to[0] = to[1] = 1;
    to[2] = 5;
    to[3] = (uint8_t)(2 + 8 * blocks);
    for (uint32_t i = 0; i < blocks; i++) {
        uint32_t start = near(base, (int8_t)take(input), true) + (take(input) & 3U);
        bytes_write_be32(to + 4 + 8 * i, start);
        bytes_write_be32(to + 8 + 8 * i, near(start, (int8_t)take(input), true));
    }
    return 4 + 8 * blocks;
}

static uint32_t write_options(struct conversation *v, struct input *input, uint8_t kind,
                              uint8_t *to)
{
    static const uint8_t syn[] = {2, 4, 2, 24, 4, 2, 8, 10, 0, 0, 0, 0, 0, 0, 0, 0, 1, 3, 3, 2};
    uint32_t size = 0;
    switch (kind & 7) {
    case 1: return write_stamps(v, to, 0);
    case 2: return write_stamps(v, to, (int8_t)take(input));
    case 3: return write_sack(v, input, to, 1U + (take(input) & 3U));
    case 4:
        size = write_stamps(v, to, 0);
        return size + write_sack(v, input, to + size, 1U + (take(input) & 1U));
    case 5:
        memcpy(to, syn, sizeof(syn));
        bytes_write_be32(to + 8, (uint32_t)(v->b->now_us / 1000U));
        return sizeof(syn);
    case 6:
        size = 4U * (take(input) % 11U);
        for (uint32_t i = 0; i < size; i++) {
            to[i] = take(input);
        }
        return size;
    default: return 0;
    }
}

/* How far the peer lets the stack go: what an acceptable ACK says, at most. The ACK of an old
 * segment counts while its window does not (RFC 9293 3.10.7.4): then the window before it moves on.
 */
static void note_permission(struct conversation *v, const struct probe *p)
{
    uint32_t acked = p->ack - v->iss;
    const struct tcp_connection *c = connection_of(v);
    if (c == NULL || c->iss != v->iss) {
        v->iss = c != NULL ? c->iss : v->b->own_iss; /* a cookie's, perhaps */
        v->reached = 0;
        acked = p->ack - v->iss;
    }
    uint32_t window = p->window == 0 && !p->zero_window ? 65535 : p->window;
    window <<= c != NULL ? c->snd_shift : SHIFT_UNKNOWN;
    if (p->flags & TCP_SYN) {
        acked = 1;
        window = p->window == 0 && !p->zero_window ? 65535 : p->window;
    }
    if (c != NULL && c->snd_wnd > window) {
        window = c->snd_wnd;
    }
    window = v->batch_window > window ? v->batch_window : window;
    v->batch_window = window;
    if (acked <= v->written + 2 && acked + window > v->reached) {
        v->reached = acked + window;
    }
}

/* `later`: together with the segment that comes next. */
static void inject(struct conversation *v, struct probe *p, uint32_t text_bytes, bool later)
{
    uint8_t text[TEXT_MAX];
    uint32_t first = p->seq + ((p->flags & TCP_SYN) != 0);
    for (uint32_t i = 0; i < text_bytes; i++) {
        text[i] = byte_at(first + i);
    }
    p->text = text;
    p->text_bytes = text_bytes;
    p->port = v->port;
    p->peer_port = v->peer_port;
    note_permission(v, p);
    if (later && v->b->queued_count < BATCH_MAX - 1) {
        bench_queue(v->b, p);
        return;
    }
    v->arrived = v->b->queued_count + 1;
    v->batch_window = 0;
    bench_inject(v->b, p);
}

/* Any segment. What it occupies counts as said when it begins where the peer was. */
static void odd_segment(struct conversation *v, struct input *input, bool later)
{
    const struct tcp_connection *c = connection_of(v);
    uint8_t options[44], flags = take(input), seq_how = take(input), ack_how = take(input);
    int8_t seq_offset = seq_how & 0x10 ? (int8_t)take(input) : 0;
    int8_t ack_offset = ack_how & 0x10 ? (int8_t)take(input) : 0;
    uint32_t text_bytes = take(input) * (seq_how & 0x40 ? 5U : 1U);
    uint8_t window = take(input);
    struct probe p = {.flags = flags & 0x3F,
                      .seq = choose_seq(v, c, seq_how, seq_offset),
                      .ack = choose_ack(v, c, ack_how, ack_offset),
                      .window = (uint16_t)(window * (ack_how & 0x40 ? 1U : 97U)),
                      .zero_window = window == 0,
                      .bad_checksum = seq_how == 0xFF,
                      .urgent = ack_how};
    p.options = slice_of(
        options, write_options(v, input, (uint8_t)(flags >> 6 | ack_how >> 7 << 2), options));
    uint32_t end = p.seq + text_bytes + ((p.flags & TCP_SYN) != 0) + ((p.flags & TCP_FIN) != 0);
    if (p.seq == v->b->peer_nxt) {
        v->b->peer_nxt = end;
    }
    inject(v, &p, text_bytes, later);
}

/* What a good peer would send: the next text, everything acknowledged. */
static void proper_segment(struct conversation *v, struct input *input)
{
    const struct tcp_connection *c = connection_of(v);
    uint8_t options[12], how = take(input);
    uint32_t text_bytes = how & 1 ? take(input) * 5U : 0;
    bool fin = (how & 0x0E) == 0x0E;
    v->b->peer_nxt = c != NULL ? c->rcv_nxt : v->b->peer_nxt;
    struct probe p = {.flags = (uint8_t)(TCP_ACK | (fin ? TCP_FIN : 0)),
                      .seq = v->b->peer_nxt,
                      .ack = v->b->own_nxt};
    if (c != NULL && c->ts_enabled) {
        p.options = slice_of(options, write_stamps(v, options, 0));
    }
    v->b->peer_nxt += text_bytes + fin;
    inject(v, &p, text_bytes, false);
}

/* One fragment of the datagram whose L4 part is `l4`: [at, at + size). `shift`: with the bytes from
 * further behind, as an attacker would who wants others to be taken. */
static void queue_fragment(struct conversation *v, const uint8_t *whole, uint32_t l4_bytes,
                           uint32_t at, uint32_t size, uint32_t shift)
{
    uint8_t frame[BENCH_FRAME_MAX] = {0};
    uint32_t from = at + shift + size <= l4_bytes ? at + shift : at;
    bool last = at + size == l4_bytes;
    memcpy(frame, whole, HEADERS_BYTES);
    memcpy(frame + HEADERS_BYTES, whole + HEADERS_BYTES + from, size);
    uint8_t *ip = frame + RTE_ETHER_HDR_LEN;
    bytes_write_be16(ip + 2, (uint16_t)(20 + size));
    bytes_write_be16(ip + 4, v->next_id);
    bytes_write_be16(ip + 6, (uint16_t)(at / 8 | (last ? 0 : 0x2000)));
    memset(ip + 10, 0, 2);
    uint16_t sum = rte_ipv4_cksum((const struct rte_ipv4_hdr *)(const void *)ip);
    memcpy(ip + 10, &sum, 2);
    bench_queue_frame(v->b, frame, HEADERS_BYTES + size);
}

/* What a good peer would send next, in fragments that may lack one, repeat one, come in any order,
 * or contradict each other. */
static void fragmented_segment(struct conversation *v, struct input *input)
{
    const struct tcp_connection *c = connection_of(v);
    uint8_t options[12], text[FRAGMENTED_TEXT_MAX], frame[BENCH_FRAME_MAX] = {0};
    uint8_t how = take(input), which = take(input);
    uint32_t text_bytes = 20U + 2U * take(input), size = 16U + 8U * (take(input) & 15U);
    v->b->peer_nxt = c != NULL ? c->rcv_nxt : v->b->peer_nxt;
    struct probe p = {.flags = TCP_ACK,
                      .seq = v->b->peer_nxt,
                      .ack = v->b->own_nxt,
                      .text = text,
                      .text_bytes = text_bytes,
                      .port = v->port,
                      .peer_port = v->peer_port};
    for (uint32_t i = 0; i < text_bytes; i++) {
        text[i] = byte_at(p.seq + i);
    }
    if (c != NULL && c->ts_enabled) {
        p.options = slice_of(options, write_stamps(v, options, 0));
    }
    note_permission(v, &p);
    uint32_t l4_bytes = bench_compose(&p, frame) - HEADERS_BYTES;
    uint32_t count = (l4_bytes + size - 1) / size;
    v->next_id++;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t index = how & 1 ? count - 1 - i : i, at = index * size;
        uint32_t part = l4_bytes - at < size ? l4_bytes - at : size;
        bool chosen = index == which % count;
        if (!(chosen && (how & 2))) {
            queue_fragment(v, frame, l4_bytes, at, part, chosen && (how & 4) ? 8 : 0);
        }
        if (chosen && (how & 8)) {
            queue_fragment(v, frame, l4_bytes, at, part, how & 16 ? 8 : 0);
        }
    }
    v->batch_window = 0;
    bench_advance(v->b, 1);
}

/* Sender and target are the peer, we, or a third one; the MAC is the peer's, ours, another, a
 * group.
 */
static void arp_message(struct conversation *v, struct input *input)
{
    uint8_t frame[ARP_FRAME_BYTES] = {0}, how = take(input), who = take(input);
    const struct rte_ether_addr macs[4] = {simulated_host_mac(1),
                                           simulated_host_mac(2),
                                           simulated_host_mac((uint8_t)(3 + (who >> 6))),
                                           {{0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF}}};
    const struct address addresses[4] = {simulated_host_address(1), simulated_host_address(2),
                                         simulated_host_address((uint8_t)(3 + (who >> 4 & 3))),
                                         address_from_ipv4(0)};
    memcpy(frame, &macs[how & 1 ? 3 : 1], 6);
    memcpy(frame + 6, &macs[how >> 2 & 3], 6);
    bytes_write_be16(frame + 12, RTE_ETHER_TYPE_ARP);
    bytes_write_be16(frame + 14, 1);
    bytes_write_be16(frame + 16, RTE_ETHER_TYPE_IPV4);
    frame[18] = 6;
    frame[19] = 4;
    bytes_write_be16(frame + 20, how & 2 ? 2 : 1);
    memcpy(frame + 22, &macs[how & 0x40 ? how >> 4 & 3 : how >> 2 & 3], 6);
    memcpy(frame + 28, addresses[who & 3].bytes + 12, 4);
    memcpy(frame + 32, &macs[1], 6);
    memcpy(frame + 38, addresses[who >> 2 & 3].bytes + 12, 4);
    bench_inject_frame(v->b, frame, how & 0x80 ? ARP_FRAME_BYTES / 2 : ARP_FRAME_BYTES);
}

/* ---- what must hold ----------------------------------------------------------------------------
 */

static void check_text_sent(const struct conversation *v, const struct sent_segment *s)
{
    uint32_t position = s->seq - (v->iss + 1);
    CHECK(position <= v->written && s->text_bytes <= v->written - position);
    CHECK(position + 1 + s->text_bytes <= v->reached);
    for (uint32_t i = 0; i < s->text_bytes; i++) {
        CHECK(s->text[i] == byte_at(s->seq + i));
    }
}

/* The right edge of the window never moves back by more than scaling rounds off. */
static void check_window_said(struct conversation *v, const struct sent_segment *s)
{
    const struct tcp_connection *c = connection_of(v);
    if (c == NULL || c->iss != v->edge_iss || c->rcv_shift != v->edge_shift) {
        v->edge_known = false; /* a part of this step was another connection's */
        return;
    }
    if (!(s->flags & TCP_ACK) || (s->flags & TCP_RST)) {
        return;
    }
    uint32_t shift = s->flags & TCP_SYN ? 0 : c->rcv_shift;
    uint32_t edge = s->ack + ((uint32_t)s->window << shift);
    CHECK(!v->edge_known || (s->flags & TCP_SYN) ||
          seq_before(v->edge, edge + (1U << c->rcv_shift)));
    v->edge = edge;
    v->edge_known = true;
}

static void check_sent(struct conversation *v, uint32_t bare_max, uint32_t text_frames_max)
{
    const struct tcp_connection *c = connection_of(v);
    uint32_t bare = 0, with_text = 0;
    for (uint32_t i = 0; i < v->b->sent_count; i++) {
        const struct sent_segment *s = &v->b->sent[i];
        CHECK(s->checksum_right && s->port == v->port && s->peer_port == v->peer_port);
        bare += s->text_bytes == 0;
        with_text += s->text_bytes > 0;
        if (s->text_bytes > 0) {
            check_text_sent(v, s);
        }
        check_window_said(v, s);
        v->syn_stamp = s->flags & TCP_SYN ? s->options.ts_value : v->syn_stamp;
    }
    v->edge_iss = c != NULL ? c->iss : 0;
    v->edge_shift = c != NULL ? c->rcv_shift : 0;
    CHECK(bare <= bare_max && with_text <= text_frames_max);
}

static void check_timers(const struct conversation *v, const struct tcp_connection *c)
{
    bool waits = tcp_flight_bytes(c) > 0 || c->stream.out.size > 0;
    CHECK(c->state == TCP_TIME_WAIT || c->state == TCP_FIN_WAIT_2 || !waits ||
          c->retransmit_due != TCP_NEVER || c->stream.dirty);
    CHECK(!c->ack_pending || c->ack_due != TCP_NEVER || c->stream.dirty);
    CHECK(c->state == TCP_TIME_WAIT || c->idle_due != TCP_NEVER || !c->opened);
    uint64_t due = c->retransmit_due < c->ack_due ? c->retransmit_due : c->ack_due;
    due = c->idle_due < due ? c->idle_due : due;
    CHECK(due == TCP_NEVER || (timer_is_armed(&c->timer) && c->timer.due_us <= due));
    CHECK(c->timer_due == (timer_is_armed(&c->timer) ? c->timer.due_us : TCP_NEVER));
}

/* The flight is all that is under way, and its books are right. */
static void check_flight(const struct tcp_connection *c)
{
    const struct tcp_flight *flight = c->flight;
    CHECK(c->has_flight == (flight != NULL));
    CHECK(c->has_reassembly == (c->reassembly != NULL));
    if (flight == NULL) {
        return;
    }
    uint32_t at = c->snd_una, sacked = 0, lost = 0;
    CHECK(tcp_flight_bytes(c) > 0 && flight->start == c->snd_una);
    CHECK(flight->first + flight->count <= flight->room && flight->count > 0);
    for (uint32_t i = 0; i < flight->count; i++) {
        const struct tcp_flight_range *range = &flight->ranges[flight->first + i];
        CHECK(seq_before(at, range->end));
        sacked += range->fate & TCP_FLIGHT_SACKED ? range->end - at : 0;
        lost += range->fate & TCP_FLIGHT_LOST ? range->end - at : 0;
        at = range->end;
    }
    CHECK(at == c->snd_nxt && sacked == flight->sacked_bytes && lost == flight->lost_bytes);
}

static void check_connection(const struct conversation *v)
{
    const struct tcp *tcp = v->b->host.tcp;
    const struct tcp_connection *c = connection_of(v);
    CHECK(tcp->connection_count + tcp->time_wait_count == (c != NULL));
    CHECK(tcp->half_open_count <= 1 && tcp->held_count == 0 && tcp->dead == NULL);
    CHECK(tcp->reassembly.page_count <= tcp->reassembly.slot_count);
    if (c == NULL) {
        CHECK(v->b->host.bytes.used_count == 0);
        return;
    }
    bool fin_sent = tcp_state_fin_sent(c->state);
    CHECK(c->state < TCP_ESTABLISHED || tcp_flight_bytes(c) <= c->stream.out.size + fin_sent);
    CHECK((c->state != TCP_FIN_WAIT_2 && c->state != TCP_TIME_WAIT) ||
          (c->stream.out.size == 0 && tcp_flight_bytes(c) == 0));
    CHECK(c->rcv_adv - c->rcv_nxt <= tcp->options.receive_buffer_bytes_max);
    CHECK(c->stream.unread_bytes <= tcp->options.receive_buffer_bytes_max);
    CHECK(c->cwnd >= SEGMENT_BYTES_MIN - TCP_TIMESTAMPS_BYTES || c->state < TCP_ESTABLISHED);
    CHECK(c->detached || v->stream == NULL || v->stream == &c->stream);
    check_flight(c);
    check_timers(v, c);
}

/* What is queued arrives without waiting for another segment. */
static void flush(struct conversation *v)
{
    if (v->b->queued_count > 0) {
        uint32_t bare_max = BARE_FRAMES_A_STEP * v->b->queued_count;
        v->batch_window = 0;
        bench_advance(v->b, 1);
        check_sent(v, bare_max, TEXT_FRAMES_MAX);
        check_connection(v);
    }
}

static void step(struct conversation *v, struct input *input)
{
    static const uint32_t units_us[4] = {10, 1000, 20000, 400000};
    uint32_t bare_max = BARE_FRAMES_A_STEP;
    uint8_t what = take(input);
    if ((what & 7) > 3) {
        flush(v);
    }
    bench_forget(v->b);
    if ((what & 7) < 3) {
        odd_segment(v, input, what & 8);
        bare_max *= v->arrived;
    } else if ((what & 7) == 3) {
        proper_segment(v, input);
        bare_max *= v->arrived;
    } else if ((what & 7) < 6) {
        session_step(v, what >> 4, take(input));
    } else if ((what & 7) == 7 && (what & 0x20)) {
        arp_message(v, input);
    } else if ((what & 7) == 7 && (what & 0x18)) {
        fragmented_segment(v, input);
    } else {
        bench_advance(v->b, (uint64_t)units_us[what >> 6] * (1U + take(input)));
        bare_max = BARE_FRAMES_A_PAUSE;
    }
    check_sent(v, bare_max, TEXT_FRAMES_MAX);
    check_connection(v);
}

static void let_port_cut(struct net_interface *interface)
{
    interface->tx_ipv4_checksum = interface->tx_tcp_checksum = true;
    interface->tx_tso_bytes = interface->tx_tso_bytes_ipv6 = 65535;
}

static void start(struct conversation *v, struct input *input)
{
    uint8_t how = take(input);
    struct tcp_options options = bench_options();
    options.connections_max = options.time_wait_max = 4;
    options.half_open_max = how & 0x20 ? 0 : 4; /* 0: every SYN is answered with a cookie */
    options.receive_buffer_bytes_max = BUFFER_MIN << 2 * (how & 3);
    options.keepalive_s = 30;
    options.time_wait_ms = 1000;
    options.segment_bytes_min = SEGMENT_BYTES_MIN;
    v->active = how & 4;
    v->port = BENCH_PORT;
    v->peer_port = BENCH_PEER_PORT;
    v->b = v->active ? bench_syn_sent(&options) : bench_create(&options);
    v->b->host.context = v;
    v->b->host.on_events = on_events;
    if (how & 0x80) {
        let_port_cut(v->b->host.interface);
    }
    if (v->active) {
        v->stream = v->b->stream;
        v->port = v->stream->local.port;
        v->peer_port = BENCH_PORT;
        v->b->own_nxt = tcp_connection_of_stream(v->stream)->snd_nxt;
    }
    if (how & 8) {
        uint8_t syn_options[44];
        struct probe p = {.flags = (uint8_t)(v->active ? TCP_SYN | TCP_ACK : TCP_SYN),
                          .seq = v->b->peer_nxt++,
                          .ack = v->b->own_nxt,
                          .window = (uint16_t)(how & 0x40 ? 3000 : 0)};
        p.options = slice_of(syn_options, write_options(v, input, how & 0x10 ? 5 : 0, syn_options));
        inject(v, &p, 0, false);
        check_sent(v, BARE_FRAMES_A_STEP, 0);
    }
}

static void finish(struct conversation *v)
{
    flush(v);
    bench_advance(v->b, LAST_PAUSE_US);
    CHECK(v->stream == NULL && v->ending == NULL);
    CHECK(connection_of(v) == NULL);
    check_connection(v);
    bench_destroy(v->b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input input = {data, data + size};
    struct conversation conversation = {0};
    start(&conversation, &input);
    for (uint32_t i = 0; i < STEPS_MAX && input.at < input.end; i++) {
        step(&conversation, &input);
    }
    finish(&conversation);
    return 0;
}
