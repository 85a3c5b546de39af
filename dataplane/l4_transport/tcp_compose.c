/* A segment as bytes: header, options, text from the send queue, checksum. What it says about the
 * receiving side (ACK, window, SACK blocks) is noted as said, so every segment that leaves also
 * settles the ACKs that were due.
 *
 * Text is copied behind the header, but for a segment in the middle of a large value on a port that
 * can send it from where it is: there a second buffer of the chain shows the value's own bytes, and
 * holds a count on it until the port is through with the frame. (Until the peer has acknowledged
 * them the queue's reference holds another.)
 */
#include <netinet/in.h>

#include "dataplane/base/checksum.h"
#include "dataplane/l4_transport/tcp_internal.h"

#define EXTERNAL_BYTES_MIN 512U /* a second buffer costs about what it takes to copy as much */

struct header {
    const struct address *source, *destination;
    uint16_t source_port, destination_port;
    uint32_t seq, ack;
    uint8_t flags;
    uint16_t window;
    const uint8_t *options;
    uint32_t option_bytes;
};

static void write_header(uint8_t *to, const struct header *h)
{
    bytes_write_be16(to, h->source_port);
    bytes_write_be16(to + 2, h->destination_port);
    bytes_write_be32(to + 4, h->seq);
    bytes_write_be32(to + 8, h->ack);
    to[12] = (uint8_t)((TCP_HEADER_BYTES + h->option_bytes) / 4 << 4);
    to[13] = h->flags;
    bytes_write_be16(to + 14, h->window);
    memset(to + 16, 0, 4);
    if (LIKELY(h->option_bytes == TCP_TIMESTAMPS_BYTES)) {
        memcpy(to + TCP_HEADER_BYTES, h->options, TCP_TIMESTAMPS_BYTES);
    } else if (h->option_bytes > 0) {
        memcpy(to + TCP_HEADER_BYTES, h->options, h->option_bytes);
    }
}

/* `text_sum`: of the `text_bytes` behind the header, where the hardware does not sum. */
static void write_checksum(const struct net_interface *interface, uint8_t *l4, uint32_t text_bytes,
                           uint64_t text_sum, const struct header *h)
{
    uint32_t header_bytes = TCP_HEADER_BYTES + h->option_bytes;
    uint64_t sum =
        checksum_pseudo(h->source, h->destination, IPPROTO_TCP, header_bytes + text_bytes);
    if (interface->tx_tcp_checksum) {
        checksum_store(l4 + 16, checksum_fold(sum));
    } else {
        sum = checksum_add(sum, l4, header_bytes);
        checksum_store(l4 + 16, checksum_finish(sum + text_sum));
    }
}

static void hand_down(struct tcp *tcp, struct tcp_connection *c, struct rte_mbuf *mbuf,
                      const struct instant *now)
{
    metric_add(tcp->metrics, METRIC_TCP_SEGMENTS_OUT, 1);
    c->last_send_us = now->mono_us;
    /* Answers go back to the station that segments come from: no look-up. After timeouts the way
     * may have changed, and the neighbour table is asked. */
    if (c->station_known && c->retries < 2) {
        ip_output_to_station(tcp->net, c->interface, &c->stream.local.address,
                             &c->stream.peer.address, IPPROTO_TCP, &c->station, mbuf);
    } else {
        ip_output(tcp->net, c->interface, &c->stream.local.address, &c->stream.peer.address,
                  IPPROTO_TCP, mbuf, now);
    }
}

/* The window to advertise; notes the edge it stands for. */
static uint16_t advertise_window(const struct tcp *tcp, struct tcp_connection *c)
{
    uint32_t window = (tcp_receive_edge(tcp, c) - c->rcv_nxt) >> c->rcv_shift;
    window = window > UINT16_MAX ? UINT16_MAX : window;
    c->rcv_adv = seq_max(c->rcv_adv, c->rcv_nxt + (window << c->rcv_shift));
    return (uint16_t)window;
}

static void acknowledgement_left(struct tcp_connection *c)
{
    c->last_ack_sent = c->rcv_nxt;
    c->rcv_unacknowledged = 0;
    c->ack_now = c->ack_pending = false;
    c->ack_due = TCP_NEVER;
}

/* SACK blocks: the range that grew last comes first (RFC 2018 section 4). */
static void describe_stored(const struct tcp_connection *c, struct tcp_header_options *options)
{
    if (!c->sack_enabled || c->reassembly == NULL) {
        return;
    }
    const struct tcp_ranges *ranges = &c->reassembly->ranges;
    uint32_t stamps[TCP_SACK_BLOCKS_MAX];
    for (uint32_t i = 0; i < ranges->count; i++) {
        const struct tcp_range *range = &ranges->at[i];
        if (!seq_before(c->rcv_nxt, range->start)) {
            continue; /* acknowledged, only not delivered yet */
        }
        uint32_t at = options->sack_count;
        while (at > 0 && (int32_t)(range->stamp - stamps[at - 1]) > 0) {
            at--;
        }
        if (at == TCP_SACK_BLOCKS_MAX) {
            continue;
        }
        uint32_t moved = options->sack_count - at;
        moved = at + moved == TCP_SACK_BLOCKS_MAX ? moved - 1 : moved;
        memmove(&stamps[at + 1], &stamps[at], moved * sizeof(stamps[0]));
        memmove(&options->sack[at + 1], &options->sack[at], moved * sizeof(options->sack[0]));
        stamps[at] = range->stamp;
        options->sack[at] = (struct tcp_sack_block){range->start, range->end};
        if (options->sack_count < TCP_SACK_BLOCKS_MAX) {
            options->sack_count++;
        }
    }
}

static uint32_t compose_options(const struct tcp_connection *c, uint8_t *to, uint32_t text_bytes,
                                const struct instant *now)
{
    if (LIKELY(c->reassembly == NULL)) { /* nothing to describe: what most segments are */
        return c->ts_enabled ? tcp_timestamps_compose(to, tcp_timestamp(c, now), c->ts_recent) : 0;
    }
    struct tcp_header_options options = {.has_timestamps = c->ts_enabled,
                                         .ts_value = tcp_timestamp(c, now),
                                         .ts_echo = c->ts_recent};
    describe_stored(c, &options);
    uint32_t room = c->snd_mss + (c->ts_enabled ? TCP_TIMESTAMPS_BYTES : 0U) - text_bytes;
    room = room > TCP_OPTION_BYTES_MAX ? TCP_OPTION_BYTES_MAX : room;
    return tcp_options_compose(&options, to, room);
}

/* Copies a part that is `offset` bytes behind the start of the text; returns what it adds to the
 * text's sum. */
static uint64_t copy_part(uint8_t *to, const uint8_t *from, uint32_t size, uint32_t offset,
                          bool summed)
{
    if (!summed) {
        memcpy(to, from, size);
        return 0;
    }
    uint64_t sum = checksum_copy(0, to, from, size);
    return LIKELY(offset % 2 == 0) ? sum : __builtin_bswap16(checksum_fold(sum));
}

/* The chunk of the send queue with the byte at `seq`, and how far into it that is. The same bytes
 * may be asked for again and again; walking a long queue from its front each time would cost the
 * square of its length, so the chunk found last is remembered. */
static const struct byte_chunk *find_text(struct tcp_connection *c, uint32_t seq, uint32_t *offset)
{
    const struct byte_chunk *chunk = c->send_chunk;
    uint32_t chunk_seq = c->send_chunk_seq;
    if (chunk == NULL || seq_before(seq, chunk_seq)) {
        chunk = c->stream.out.head;
        chunk_seq = c->snd_una - (uint32_t)c->stream.out.head_offset;
    }
    while (seq - chunk_seq >= chunk->size) {
        chunk_seq += (uint32_t)chunk->size;
        chunk = chunk->next;
    }
    c->send_chunk = chunk;
    c->send_chunk_seq = chunk_seq;
    *offset = seq - chunk_seq;
    return chunk;
}

/* Returns the sum of the text if it is wanted; the header in front of it has an even length. */
static uint64_t copy_text(struct tcp_connection *c, uint32_t seq, uint8_t *to, uint32_t size,
                          bool summed)
{
    uint32_t offset;
    const struct byte_chunk *chunk = find_text(c, seq, &offset);
    uint32_t chunk_seq = c->send_chunk_seq;
    uint64_t sum = 0;
    for (uint32_t done = 0;;) {
        uint32_t part = (uint32_t)chunk->size - offset, left = size - done;
        part = part < left ? part : left;
        sum += copy_part(to + done, chunk->data + offset, part, done, summed);
        done += part;
        if (done == size) {
            break;
        }
        chunk_seq += (uint32_t)chunk->size;
        chunk = chunk->next;
        offset = 0;
    }
    c->send_chunk = chunk;
    c->send_chunk_seq = chunk_seq;
    return sum;
}

static struct rte_mbuf *allocate(struct tcp *tcp, uint32_t bytes, uint8_t **l4)
{
    struct rte_mbuf *mbuf = net_allocate(tcp->net);
    if (mbuf == NULL) {
        metric_add(tcp->metrics, METRIC_TCP_DROP_NO_BUFFER, 1);
        return NULL;
    }
    *l4 = (uint8_t *)rte_pktmbuf_append(mbuf, (uint16_t)bytes);
    if (*l4 == NULL) {
        rte_pktmbuf_free(mbuf);
    }
    return *l4 == NULL ? NULL : mbuf;
}

static struct header connection_header(const struct tcp_connection *c, uint32_t seq, uint8_t flags)
{
    return (struct header){.source = &c->stream.local.address,
                           .destination = &c->stream.peer.address,
                           .source_port = c->stream.local.port,
                           .destination_port = c->stream.peer.port,
                           .seq = seq,
                           .ack = flags & TCP_ACK ? c->rcv_nxt : 0,
                           .flags = flags};
}

/* The large value that all the text lies in, and where; NULL: it is to be copied. */
static struct byte_owner *find_external(struct tcp_connection *c, uint32_t seq, uint32_t text_bytes,
                                        struct slice *text)
{
    uint32_t offset;
    if (!c->interface->tx_external || text_bytes < EXTERNAL_BYTES_MIN) {
        return NULL;
    }
    const struct byte_chunk *chunk = find_text(c, seq, &offset);
    if (chunk->owner == NULL || chunk->size - offset < text_bytes) {
        return NULL;
    }
    *text = slice_of(chunk->data + offset, text_bytes);
    return chunk->owner;
}

static void release_external(void *address, void *owner)
{
    (void)address;
    struct byte_owner *of_text = owner;
    of_text->release(of_text);
}

/* Appends a buffer that shows `text`. DPDK's count of who uses the bytes lies in that buffer's own
 * room, which nobody uses meanwhile: nothing here or in the ports that take such frames makes a
 * second buffer of one, which could outlive it. */
static bool append_external(struct tcp *tcp, struct rte_mbuf *head, struct slice text,
                            struct byte_owner *owner)
{
    struct rte_mbuf *mbuf = net_allocate(tcp->net);
    if (mbuf == NULL) {
        return false;
    }
    struct rte_mbuf_ext_shared_info *info =
        rte_pktmbuf_mtod(mbuf, struct rte_mbuf_ext_shared_info *);
    info->free_cb = release_external;
    info->fcb_opaque = owner;
    rte_mbuf_ext_refcnt_set(info, 1);
    owner->acquire(owner);
    /* The parameter is not const; nobody writes to what is to be sent. */
    rte_pktmbuf_attach_extbuf(mbuf, (void *)(uintptr_t)text.data, RTE_BAD_IOVA, (uint16_t)text.size,
                              info);
    mbuf->data_len = (uint16_t)text.size;
    mbuf->pkt_len = (uint32_t)text.size;
    head->next = mbuf;
    head->nb_segs = 2;
    head->pkt_len += (uint32_t)text.size;
    metric_add(tcp->metrics, METRIC_TCP_SEGMENTS_EXTERNAL, 1);
    return true;
}

bool tcp_send_segment(struct tcp *tcp, struct tcp_connection *c, uint32_t seq, uint32_t text_bytes,
                      uint8_t flags, const struct instant *now)
{
    uint8_t option_bytes[TCP_OPTION_BYTES_MAX], *l4;
    struct header h = connection_header(c, seq, flags | TCP_ACK);
    h.options = option_bytes;
    h.option_bytes = compose_options(c, option_bytes, text_bytes, now);
    uint32_t header_bytes = TCP_HEADER_BYTES + h.option_bytes;
    struct slice external = {0};
    struct byte_owner *owner = find_external(c, seq, text_bytes, &external);
    uint32_t copied = owner != NULL ? 0 : text_bytes;
    struct rte_mbuf *mbuf = allocate(tcp, header_bytes + copied, &l4);
    if (mbuf == NULL) {
        return false;
    }
    if (owner != NULL && !append_external(tcp, mbuf, external, owner)) {
        rte_pktmbuf_free(mbuf);
        return false;
    }
    h.window = advertise_window(tcp, c);
    write_header(l4, &h);
    uint64_t text_sum = 0;
    bool summed = !c->interface->tx_tcp_checksum;
    if (copied > 0) {
        text_sum = copy_text(c, seq, l4 + header_bytes, copied, summed);
    } else if (owner != NULL && summed) {
        text_sum = checksum_add(0, external.data, external.size);
    }
    write_checksum(c->interface, l4, text_bytes, text_sum, &h);
    hand_down(tcp, c, mbuf, now);
    acknowledgement_left(c);
    return true;
}

void tcp_send_handshake(struct tcp *tcp, struct tcp_connection *c, uint8_t flags, uint16_t window,
                        const struct tcp_header_options *options, const struct instant *now)
{
    uint8_t option_bytes[TCP_OPTION_BYTES_MAX], *l4;
    struct header h = connection_header(c, c->iss, flags);
    h.window = window;
    h.options = option_bytes;
    h.option_bytes = tcp_options_compose(options, option_bytes, TCP_OPTION_BYTES_MAX);
    struct rte_mbuf *mbuf = allocate(tcp, TCP_HEADER_BYTES + h.option_bytes, &l4);
    if (mbuf == NULL) {
        return;
    }
    write_header(l4, &h);
    write_checksum(c->interface, l4, 0, 0, &h);
    hand_down(tcp, c, mbuf, now);
    acknowledgement_left(c);
}

bool tcp_send_ack(struct tcp *tcp, struct tcp_connection *c, const struct instant *now)
{
    return tcp_send_segment(tcp, c, c->snd_nxt, 0, TCP_ACK, now);
}

/* An old sequence number without text: the peer has to answer with its ACK and window. */
void tcp_send_probe_segment(struct tcp *tcp, struct tcp_connection *c, const struct instant *now)
{
    tcp_send_segment(tcp, c, c->snd_una - 1, 0, TCP_ACK, now);
}

void tcp_send_reset(struct tcp *tcp, struct tcp_connection *c, const struct instant *now)
{
    uint8_t *l4;
    struct header h = connection_header(c, c->snd_nxt, TCP_RST | TCP_ACK);
    struct rte_mbuf *mbuf = allocate(tcp, TCP_HEADER_BYTES, &l4);
    if (mbuf == NULL) {
        return;
    }
    write_header(l4, &h);
    write_checksum(c->interface, l4, 0, 0, &h);
    metric_add(tcp->metrics, METRIC_TCP_RESETS_OUT, 1);
    hand_down(tcp, c, mbuf, now);
}

void tcp_send_reset_reply(struct tcp *tcp, const struct tcp_segment *segment)
{
    const struct ip_datagram *datagram = segment->datagram;
    if (segment->flags & TCP_RST) {
        return;
    }
    struct header h = {.source = &datagram->destination,
                       .destination = &datagram->source,
                       .source_port = segment->local_port,
                       .destination_port = segment->peer_port};
    if (segment->flags & TCP_ACK) {
        h.seq = segment->ack;
        h.flags = TCP_RST;
    } else {
        h.ack = segment->seq + segment->text_bytes + ((segment->flags & TCP_SYN) != 0) +
                ((segment->flags & TCP_FIN) != 0);
        h.flags = TCP_RST | TCP_ACK;
    }
    uint8_t *l4;
    struct rte_mbuf *mbuf = allocate(tcp, TCP_HEADER_BYTES, &l4);
    if (mbuf == NULL) {
        return;
    }
    write_header(l4, &h);
    write_checksum(datagram->interface, l4, 0, 0, &h);
    metric_add(tcp->metrics, METRIC_TCP_RESETS_OUT, 1);
    metric_add(tcp->metrics, METRIC_TCP_SEGMENTS_OUT, 1);
    ip_output_to_station(tcp->net, datagram->interface, &datagram->destination, &datagram->source,
                         IPPROTO_TCP, &datagram->source_mac, mbuf);
}
