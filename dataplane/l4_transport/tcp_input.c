/* Segments in: validation, look-up, the fast path.
 *
 * A batch goes through stages, so that the memory one stage needs was asked for by the one before:
 * headers are checked and hashed; then, segment by segment, the bucket of one that comes later is
 * read, which asks for its connection, and this one is worked on. (The reply that a segment
 * acknowledges is given back unseen: byte_queue.h.)
 *
 * Most segments of an established connection are the next in order, carry a plain header, and
 * change nothing but text and ACK. They are recognised by summing up all reasons why a segment may
 * be anything else, with one branch at the end (header prediction); the others go to
 * tcp_input_slow.c.
 */
#include <rte_ip.h>

#include "dataplane/l2_link/packet.h"
#include "dataplane/l3_ip/checksum.h"
#include "dataplane/l4_transport/tcp_internal.h"

/* Segments that are worked on while a connection's lines come: more wait for each other, as a
 * processor fetches about a dozen lines at a time. */
#define CONNECTIONS_AHEAD 8U

/* A segment that says nothing but its ACK, as most peers write it, is two blocks long. */
static inline uint64_t sum_piece(uint64_t sum, const uint8_t *data, uint32_t size)
{
    return size == TCP_HEADER_BYTES + TCP_TIMESTAMPS_BYTES
               ? sum + checksum_two_blocks(data, data + 16)
               : checksum_add(sum, data, size);
}

/* `ipv4`: both addresses are. */
static __rte_always_inline bool segment_is_sound(const struct ip_datagram *datagram, bool ipv4)
{
    const struct rte_mbuf *mbuf = datagram->mbuf;
    if (datagram->interface->rx_checksum &&
        (mbuf->ol_flags & RTE_MBUF_F_RX_L4_CKSUM_MASK) == RTE_MBUF_F_RX_L4_CKSUM_GOOD) {
        return true;
    }
    uint64_t sum = tcp_pseudo_sum(ipv4, &datagram->source, &datagram->destination) +
                   rte_cpu_to_be_32(mbuf->pkt_len);
    if (LIKELY(mbuf->nb_segs == 1)) {
        const uint8_t *data = rte_pktmbuf_mtod(mbuf, const uint8_t *);
        return checksum_is_right(sum_piece(sum, data, mbuf->data_len));
    }
    uint16_t payload;
    if (rte_raw_cksum_mbuf(mbuf, 0, mbuf->pkt_len, &payload) != 0) {
        return false;
    }
    return checksum_is_right(sum + payload);
}

/* The header is inside the first mbuf and the lengths agree. A chain that fits is made one piece.
 */
static inline bool parse(struct ip_datagram *datagram, struct tcp_segment *segment)
{
    struct rte_mbuf *mbuf = datagram->mbuf;
    if (mbuf->nb_segs > 1 && rte_pktmbuf_linearize(mbuf) != 0 &&
        mbuf->data_len < TCP_HEADER_BYTES + TCP_OPTION_BYTES_MAX) {
        return false;
    }
    if (UNLIKELY(mbuf->data_len < TCP_HEADER_BYTES || mbuf->pkt_len > UINT16_MAX)) {
        return false;
    }
    const uint8_t *h = rte_pktmbuf_mtod(mbuf, const uint8_t *);
    uint32_t header_bytes = (uint32_t)(h[12] >> 4) * 4U;
    if (header_bytes < TCP_HEADER_BYTES || header_bytes > mbuf->data_len) {
        return false;
    }
    segment->datagram = datagram;
    segment->header = h;
    segment->peer_port = bytes_read_be16(h);
    segment->local_port = bytes_read_be16(h + 2);
    segment->seq = bytes_read_be32(h + 4);
    segment->ack = bytes_read_be32(h + 8);
    segment->flags = h[13] & 0x3F;
    segment->window = bytes_read_be16(h + 14);
    segment->header_bytes = (uint8_t)header_bytes;
    segment->text_bytes = mbuf->pkt_len - header_bytes;
    segment->text = mbuf->nb_segs == 1 ? h + header_bytes : NULL;
    segment->skip = 0;
    segment->options.sack_count = 0;
    segment->options.has_timestamps = false;
    return segment->peer_port != 0;
}

/* To one of our own addresses, from somebody else (T05: broadcast, multicast and land). */
static bool is_for_us(const struct tcp *tcp, const struct ip_datagram *datagram)
{
    return (link_find_address(datagram->interface, &datagram->destination) >= 0 ||
            net_interface_of(tcp->net, &datagram->destination) != NULL) &&
           !address_equal(&datagram->source, &datagram->destination);
}

/* The one layout of options that a plain segment has; PAWS is content. */
static inline bool timestamps_are_predicted(const struct tcp_connection *c,
                                            struct tcp_segment *segment)
{
    const uint8_t *option = segment->header + TCP_HEADER_BYTES;
    segment->options.has_timestamps = true;
    segment->options.ts_value = bytes_read_be32(option + 4);
    segment->options.ts_echo = bytes_read_be32(option + 8);
    return bytes_read_be32(option) == TCP_TIMESTAMPS_PREDICTED_WORD &&
           !seq_before(segment->options.ts_value, c->ts_recent);
}

/* Of the header's fourth word: its length and the flags, but for PSH (and what nobody uses). */
#define PREDICTED_MASK 0xF0370000U
static inline uint32_t predicted_word(const struct tcp_connection *c)
{
    uint32_t bytes = TCP_HEADER_BYTES + (c->ts_enabled ? TCP_TIMESTAMPS_BYTES : 0);
    return bytes / 4 << 28 | TCP_ACK << 16;
}

static inline bool leaves_fast_path(const struct tcp_connection *c, struct tcp_segment *segment)
{
    uint32_t reasons = !tcp_is_plain(c);
    reasons |= (bytes_read_be32(segment->header + 12) & PREDICTED_MASK) ^ predicted_word(c);
    reasons |= segment->seq ^ c->rcv_nxt;
    reasons |= segment->text_bytes > c->rcv_adv - c->rcv_nxt;
    reasons |= segment->ack - c->snd_una > c->snd_nxt - c->snd_una;
    reasons |= segment->text_bytes == 0 && segment->ack == c->snd_una;
    reasons |= segment->text == NULL;
    return reasons != 0 || (c->ts_enabled && !timestamps_are_predicted(c, segment));
}

static inline void input_fast(struct tcp *tcp, struct tcp_connection *c,
                              struct tcp_segment *segment, const struct instant *now,
                              struct tcp_events *events)
{
    metric_add(tcp->metrics, METRIC_TCP_SEGMENTS_IN_FAST, 1);
    c->last_receive = tcp_receive_tick(now);
    tcp_follow_station(c, segment->datagram);
    if (segment->options.has_timestamps && seq_at_or_before(segment->seq, c->last_ack_sent)) {
        c->ts_recent = segment->options.ts_value;
    }
    tcp_process_plain_ack(tcp, c, segment, now, events);
    if (LIKELY(segment->text_bytes > 0)) {
        tcp_receive_in_order(tcp, c, segment, events);
    }
}

/* A segment of no connection. Whose address it is sent to is asked here only: a connection is to
 * one of ours. */
static void input_stray(struct tcp *tcp, struct tcp_segment *segment, const struct instant *now,
                        struct tcp_events *events)
{
    const struct ip_datagram *datagram = segment->datagram;
    if (!is_for_us(tcp, datagram)) {
        metric_add(tcp->metrics, METRIC_TCP_DROP_MALFORMED, 1);
    } else if (!segment_is_sound(datagram, address_is_ipv4(&datagram->source))) {
        metric_add(tcp->metrics, METRIC_TCP_DROP_CHECKSUM, 1);
    } else {
        tcp_input_unconnected(tcp, segment, now, events);
    }
}

/* `guess` was right unless a tag was another's; and a segment before this one may have ended it,
 * which says its state: what is plain is in the table. */
static inline struct tcp_connection *find_connection(const struct tcp *tcp,
                                                     struct tcp_connection *guess,
                                                     const struct tcp_segment *segment)
{
    const struct ip_datagram *datagram = segment->datagram;
    if (LIKELY(guess != NULL && tcp_is_plain(guess) &&
               tcp_connection_has_tuple(guess, &datagram->destination, segment->local_port,
                                        &datagram->source, segment->peer_port))) {
        return guess;
    }
    return tcp_table_find(&tcp->table, segment->hash, &datagram->destination, segment->local_port,
                          &datagram->source, segment->peer_port);
}

static inline void input_one(struct tcp *tcp, struct tcp_connection *guess,
                             struct tcp_segment *segment, const struct instant *now,
                             struct tcp_events *events)
{
    struct ip_datagram *datagram = segment->datagram;
    struct tcp_connection *c = find_connection(tcp, guess, segment);
    if (UNLIKELY(c == NULL)) {
        input_stray(tcp, segment, now, events);
    } else if (UNLIKELY(!segment_is_sound(datagram, c->ipv4))) {
        metric_add(tcp->metrics, METRIC_TCP_DROP_CHECKSUM, 1);
    } else if (LIKELY(!leaves_fast_path(c, segment))) {
        input_fast(tcp, c, segment, now, events);
    } else {
        tcp_input_slow(tcp, c, segment, now, events);
    }
}

static void free_datagram(struct ip_datagram *datagram)
{
    rte_pktmbuf_free(datagram->mbuf);
    datagram->mbuf = NULL;
}

/* Stage 1. The sum is left for when the connection is known, and its text in the cache. Returns how
 * many segments are worth going on with. */
static uint32_t validate_stage(struct tcp *tcp, struct ip_datagram *datagrams, uint32_t count,
                               struct tcp_segment *segments)
{
    uint32_t valid = 0, taken = 0;
    for (uint32_t i = 0; i < count; i++) {
        struct ip_datagram *datagram = &datagrams[i];
        if (datagram->mbuf == NULL || datagram->protocol != IPPROTO_TCP) {
            continue;
        }
        struct tcp_segment *segment = &segments[valid];
        taken++;
        if (UNLIKELY(!parse(datagram, segment))) {
            metric_add(tcp->metrics, METRIC_TCP_DROP_MALFORMED, 1);
            free_datagram(datagram);
            continue;
        }
        segment->hash = tcp_table_hash(&datagram->destination, segment->local_port,
                                       &datagram->source, segment->peer_port);
        segment->bucket = tcp_table_bucket(&tcp->table, segment->hash);
        rte_prefetch0(segment->bucket);
        rte_prefetch0(segment->header + segment->header_bytes);
        valid++;
    }
    metric_add(tcp->metrics, METRIC_TCP_SEGMENTS_IN, taken);
    return valid;
}

/* Stage 2: whose it is. */
static inline struct tcp_connection *guess_connection(const struct tcp_segment *segment)
{
    struct tcp_connection *c = tcp_bucket_guess(segment->bucket, segment->hash);
    if (LIKELY(c != NULL)) {
        tcp_prefetch_connection(c);
    }
    return c;
}

static void input_stages(struct tcp *tcp, struct ip_datagram *datagrams, uint32_t count,
                         const struct instant *now, struct tcp_events *events)
{
    struct tcp_segment segments[TCP_INPUT_STAGE];
    struct tcp_connection *connections[TCP_INPUT_STAGE];
    struct rte_mbuf *done[TCP_INPUT_STAGE]; /* packets whose text nobody holds */
    uint32_t done_count = 0;
    uint32_t valid = validate_stage(tcp, datagrams, count, segments);
    for (uint32_t i = 0; i < valid && i < CONNECTIONS_AHEAD; i++) {
        connections[i] = guess_connection(&segments[i]);
    }
    for (uint32_t i = 0; i < valid; i++) {
        if (i + CONNECTIONS_AHEAD < valid) {
            connections[i + CONNECTIONS_AHEAD] = guess_connection(&segments[i + CONNECTIONS_AHEAD]);
        }
        input_one(tcp, connections[i], &segments[i], now, events);
        if (segments[i].datagram->mbuf != NULL) {
            done[done_count++] = segments[i].datagram->mbuf;
            segments[i].datagram->mbuf = NULL;
        }
    }
    if (valid > 0) { /* there may have been datagrams alone */
        packet_free_bulk(done, done_count);
        byte_pool_prefetch_slips(tcp->options.pool);
    }
}

void tcp_input_batch(struct tcp *tcp, struct ip_datagram *datagrams, uint32_t count,
                     const struct instant *now, struct tcp_events *events)
{
    tcp_take_icmp_notices(tcp, now);
    for (uint32_t at = 0; at < count; at += TCP_INPUT_STAGE) {
        uint32_t part = count - at < TCP_INPUT_STAGE ? count - at : TCP_INPUT_STAGE;
        input_stages(tcp, datagrams + at, part, now, events);
    }
}
