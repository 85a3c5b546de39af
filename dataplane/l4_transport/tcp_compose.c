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
#include "dataplane/l3_ip/ip_push.h"
#include "dataplane/l4_transport/tcp_internal.h"

#define EXTERNAL_BYTES_MIN 512U /* a second buffer costs about what it takes to copy as much */

struct header {
    uint64_t pseudo_sum; /* of the pseudo-header without the length */
    uint16_t source_port, destination_port;
    uint32_t seq, ack;
    uint8_t flags;
    uint16_t window;
    bool has_timestamps;
    uint32_t ts_value, ts_echo;
    const uint8_t *options; /* the others */
    uint32_t option_bytes;
};

static inline uint32_t header_bytes_of(const struct header *h)
{
    return TCP_HEADER_BYTES + (h->has_timestamps ? TCP_TIMESTAMPS_BYTES : 0) + h->option_bytes;
}

/* Writes a word; returns what it adds to the sum. */
static inline uint64_t write_word(uint8_t *to, uint32_t word)
{
    uint32_t wire = rte_cpu_to_be_32(word);
    memcpy(to, &wire, sizeof(wire));
    return wire;
}

/* All but the checksum, which is zero. Returns what the sum is of all that was written. */
static __rte_always_inline uint64_t write_header(uint8_t *to, const struct header *h)
{
    uint64_t sum = write_word(to, (uint32_t)h->source_port << 16 | h->destination_port);
    sum += write_word(to + 4, h->seq);
    sum += write_word(to + 8, h->ack);
    sum += write_word(to + 12, header_bytes_of(h) / 4 << 28 | (uint32_t)h->flags << 16 | h->window);
    (void)write_word(to + 16, 0);
    to += TCP_HEADER_BYTES;
    if (LIKELY(h->has_timestamps)) {
        sum += write_word(to, TCP_TIMESTAMPS_PREDICTED_WORD);
        sum += write_word(to + 4, h->ts_value);
        sum += write_word(to + 8, h->ts_echo);
        to += TCP_TIMESTAMPS_BYTES;
    }
    if (UNLIKELY(h->option_bytes > 0)) {
        memcpy(to, h->options, h->option_bytes);
        sum = checksum_add(sum, to, h->option_bytes);
    }
    return sum;
}

/* `sum`: of the header and of the `text_bytes` behind it. Hardware sums those itself, and begins
 * with the pseudo-header. */
static inline void write_checksum(const struct net_interface *interface, uint8_t *l4,
                                  const struct header *h, uint32_t text_bytes, uint64_t sum)
{
    uint64_t pseudo = h->pseudo_sum + rte_cpu_to_be_32(header_bytes_of(h) + text_bytes);
    if (UNLIKELY(interface->tx_tcp_checksum)) {
        checksum_store(l4 + 16, checksum_fold(pseudo));
    } else {
        checksum_store(l4 + 16, checksum_finish(pseudo + sum));
    }
}

static __rte_always_inline void hand_down(struct tcp *tcp, struct tcp_connection *c,
                                          struct rte_mbuf *mbuf, const struct instant *now)
{
    metric_add(tcp->metrics, METRIC_TCP_SEGMENTS_OUT, 1);
    c->last_send = tcp_send_tick(now);
    /* Answers go back to the station that segments come from: no look-up. After timeouts the way
     * may have changed, and the neighbour table is asked. */
    if (UNLIKELY(!c->station_known || c->retries >= 2)) {
        ip_output(tcp->net, c->interface, &c->stream.local.address, &c->stream.peer.address,
                  IPPROTO_TCP, mbuf, now);
    } else if (LIKELY(c->ipv4)) {
        ip_push_to_station(tcp->net, tcp->metrics, c->interface, &c->stream.local.address,
                           &c->stream.peer.address, IPPROTO_TCP, &c->station, mbuf);
    } else {
        ip_output_to_station(tcp->net, c->interface, &c->stream.local.address,
                             &c->stream.peer.address, IPPROTO_TCP, &c->station, mbuf);
    }
}

/* The window to advertise; notes the edge it stands for. */
static inline uint16_t advertise_window(const struct tcp *tcp, struct tcp_connection *c)
{
    uint32_t window = (tcp_receive_edge(tcp, c) - c->rcv_nxt) >> c->rcv_shift;
    window = window > UINT16_MAX ? UINT16_MAX : window;
    c->rcv_adv = seq_max(c->rcv_adv, c->rcv_nxt + (window << c->rcv_shift));
    return (uint16_t)window;
}

static inline void acknowledgement_left(struct tcp_connection *c)
{
    c->last_ack_sent = c->rcv_nxt;
    c->rcv_unacknowledged = 0;
    c->ack_now = c->ack_pending = false;
    c->ack_due = TCP_NEVER;
}

/* SACK blocks: the range that grew last comes first (RFC 2018 section 4). */
static void describe_stored(const struct tcp_connection *c, struct tcp_header_options *options)
{
    if (!c->sack_enabled) {
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

/* What a plain segment has not: the blocks of what is stored, as far as there is room. */
static uint32_t compose_blocks(const struct tcp_connection *c, uint8_t *to, uint32_t text_bytes)
{
    struct tcp_header_options options = {.sack_count = 0};
    describe_stored(c, &options);
    uint32_t room = text_bytes < c->snd_mss ? c->snd_mss - text_bytes : 0;
    uint32_t most = TCP_OPTION_BYTES_MAX - (c->ts_enabled ? TCP_TIMESTAMPS_BYTES : 0);
    return tcp_options_compose(&options, to, room < most ? room : most);
}

/* Copies a part that is `offset` bytes behind the start of the text; returns what it adds to the
 * text's sum. */
static inline uint64_t copy_part(uint8_t *to, const uint8_t *from, uint32_t size, uint32_t offset,
                                 bool summed)
{
    if (!summed) {
        memcpy(to, from, size);
        return 0;
    }
    uint64_t sum = checksum_copy(0, to, from, size);
    return LIKELY(offset % 2 == 0) ? sum : __builtin_bswap16(checksum_fold(sum));
}

static void move_cursor(struct tcp_connection *c, const struct byte_chunk *chunk, uint32_t seq)
{
    c->send_chunk = chunk;
    c->send_chunk_seq = seq;
    c->has_cursor = true;
}

/* Behind the first chunk. Walking a long queue from its front each time would cost the square of
 * its length, so the chunk found last is remembered; and the same bytes may be asked for again. */
static const struct byte_chunk *seek_text(struct tcp_connection *c, uint32_t seq, uint32_t *offset)
{
    const struct byte_chunk *chunk = c->stream.out.head;
    uint32_t chunk_seq = c->snd_una - c->stream.out.head_offset;
    if (c->has_cursor && seq_at_or_before(c->send_chunk_seq, seq)) {
        chunk = c->send_chunk;
        chunk_seq = c->send_chunk_seq;
    }
    while (seq - chunk_seq >= chunk->size) {
        chunk_seq += (uint32_t)chunk->size;
        chunk = chunk->next;
    }
    move_cursor(c, chunk, chunk_seq);
    *offset = seq - chunk_seq;
    return chunk;
}

/* The chunk of the send queue with the byte at `seq`, and how far into it that is. */
static inline const struct byte_chunk *find_text(struct tcp_connection *c, uint32_t seq,
                                                 uint32_t *offset)
{
    const struct byte_chunk *chunk = c->stream.out.head;
    *offset = seq - c->snd_una + c->stream.out.head_offset;
    return LIKELY(*offset < chunk->size) ? chunk : seek_text(c, seq, offset);
}

/* What the next segment will take of large values, this one or those behind it: it is summed and
 * copied while nothing else waits for memory, and the processor's own prefetching ends with every
 * page. What lies in pages was written a moment ago. */
static void prefetch_next(const struct byte_chunk *chunk, uint32_t offset, uint32_t bytes)
{
    for (; chunk != NULL && bytes > 0; chunk = chunk->next, offset = 0) {
        uint32_t left = (uint32_t)chunk->size - offset, part = left < bytes ? left : bytes;
        for (uint32_t at = 0; chunk->owner != NULL && at < part; at += RTE_CACHE_LINE_SIZE) {
            rte_prefetch0(chunk->data + offset + at);
        }
        bytes -= part;
    }
}

/* The text of [seq, seq + size) that lies in more than one chunk. */
static uint64_t copy_chunks(struct tcp_connection *c, uint32_t seq, const struct byte_chunk *chunk,
                            uint32_t offset, uint8_t *to, uint32_t size, bool summed)
{
    uint32_t chunk_seq = seq - offset;
    uint64_t sum = 0;
    for (uint32_t done = 0;;) {
        uint32_t part = (uint32_t)chunk->size - offset, left = size - done;
        part = part < left ? part : left;
        sum += copy_part(to + done, chunk->data + offset, part, done, summed);
        done += part;
        if (done == size) {
            prefetch_next(chunk, offset + part, c->snd_mss);
            break;
        }
        chunk_seq += (uint32_t)chunk->size;
        chunk = chunk->next;
        offset = 0;
    }
    move_cursor(c, chunk, chunk_seq);
    return sum;
}

/* Returns the sum of the text if it is wanted; the header in front of it has an even length. */
static inline uint64_t copy_text(struct tcp_connection *c, uint32_t seq, uint8_t *to, uint32_t size,
                                 bool summed)
{
    uint32_t offset;
    const struct byte_chunk *chunk = find_text(c, seq, &offset);
    if (LIKELY(chunk->size - offset >= size)) {
        return copy_part(to, chunk->data + offset, size, 0, summed);
    }
    return copy_chunks(c, seq, chunk, offset, to, size, summed);
}

static inline struct rte_mbuf *allocate(struct tcp *tcp, uint32_t bytes, uint8_t **l4)
{
    struct rte_mbuf *mbuf = net_allocate(tcp->net);
    if (UNLIKELY(mbuf == NULL)) {
        metric_add(tcp->metrics, METRIC_TCP_DROP_NO_BUFFER, 1);
        return NULL;
    }
    if (UNLIKELY(bytes > rte_pktmbuf_tailroom(mbuf))) {
        rte_pktmbuf_free(mbuf);
        return NULL;
    }
    mbuf->data_len = (uint16_t)bytes;
    mbuf->pkt_len = bytes;
    *l4 = rte_pktmbuf_mtod(mbuf, uint8_t *);
    return mbuf;
}

static inline struct header connection_header(const struct tcp_connection *c, uint32_t seq,
                                              uint8_t flags)
{
    return (struct header){
        .pseudo_sum = tcp_pseudo_sum(c->ipv4, &c->stream.local.address, &c->stream.peer.address),
        .source_port = c->stream.local.port,
        .destination_port = c->stream.peer.port,
        .seq = seq,
        .ack = flags & TCP_ACK ? c->rcv_nxt : 0,
        .flags = flags};
}

/* ---- text ------------------------------------------------------------------------------------ */

/* The text of a segment: behind the header, or in buffers of its own, or both. */
struct text {
    uint32_t seq, bytes;
    bool placed;  /* in buffers: nothing is to be copied behind the header any more */
    uint64_t sum; /* of what is placed, where it is wanted */
};

/* Whether bytes of a chunk are better shown where they lie than copied: the port can, and its
 * device, where it reads them by itself, can reach them. */
static inline bool is_shown(const struct tcp_connection *c, const struct byte_chunk *chunk,
                            uint32_t bytes)
{
    const struct net_interface *interface = c->interface;
    return chunk->owner != NULL && bytes >= EXTERNAL_BYTES_MIN &&
           interface->tx_external_bytes != 0 &&
           (!interface->tx_external_mapped || chunk->owner->is_mapped);
}

static void release_external(void *address, void *owner)
{
    (void)address;
    struct byte_owner *of_text = owner;
    of_text->release(of_text);
}

static void chain(struct rte_mbuf *head, struct rte_mbuf *tail, struct rte_mbuf *mbuf)
{
    tail->next = mbuf;
    head->nb_segs++;
    head->pkt_len += mbuf->data_len;
}

/* Appends a buffer that shows `text`; returns it. A device that reads there does so at the same
 * address (byte_owner.is_mapped). DPDK's count of who uses the bytes lies in that
 * buffer's own room, which nobody uses meanwhile: nothing here or in the ports that take such
 * frames makes a second buffer of one, which could outlive it. */
static struct rte_mbuf *append_external(struct tcp *tcp, struct rte_mbuf *head,
                                        struct rte_mbuf *tail, struct slice text,
                                        struct byte_owner *owner)
{
    struct rte_mbuf *mbuf = net_allocate(tcp->net);
    if (mbuf == NULL) {
        return NULL;
    }
    struct rte_mbuf_ext_shared_info *info =
        rte_pktmbuf_mtod(mbuf, struct rte_mbuf_ext_shared_info *);
    info->free_cb = release_external;
    info->fcb_opaque = owner;
    rte_mbuf_ext_refcnt_set(info, 1);
    owner->acquire(owner);
    /* The parameter is not const; nobody writes to what is to be sent. */
    rte_pktmbuf_attach_extbuf(mbuf, (void *)(uintptr_t)text.data, (uintptr_t)text.data,
                              (uint16_t)text.size, info);
    mbuf->data_len = (uint16_t)text.size;
    mbuf->pkt_len = (uint32_t)text.size;
    chain(head, tail, mbuf);
    metric_add(tcp->metrics, METRIC_TCP_SEGMENTS_EXTERNAL, 1);
    metric_add(tcp->metrics, METRIC_TCP_BYTES_EXTERNAL, text.size);
    return mbuf;
}

/* The same in as many buffers as the port's parts take; returns the last. NULL: no buffer. */
static struct rte_mbuf *append_parts(struct tcp *tcp, const struct tcp_connection *c,
                                     struct rte_mbuf *head, struct rte_mbuf *tail,
                                     struct slice text, struct byte_owner *owner)
{
    size_t part_max = c->interface->tx_external_bytes;
    while (text.size > 0 && tail != NULL) {
        size_t part = text.size < part_max ? text.size : part_max;
        tail = append_external(tcp, head, tail, slice_of(text.data, part), owner);
        text = slice_of(text.data + part, text.size - part);
    }
    return tail;
}

/* Appends a copy: what is left of the last buffer's room, then further ones. Returns the last. */
static struct rte_mbuf *append_copy(struct tcp *tcp, struct rte_mbuf *head, struct rte_mbuf *tail,
                                    struct slice text)
{
    for (;;) {
        uint16_t room = rte_pktmbuf_tailroom(tail);
        uint16_t part = text.size < room ? (uint16_t)text.size : room;
        memcpy(rte_pktmbuf_mtod_offset(tail, uint8_t *, tail->data_len), text.data, part);
        tail->data_len = (uint16_t)(tail->data_len + part);
        head->pkt_len += part;
        text = slice_of(text.data + part, text.size - part);
        if (text.size == 0) {
            return tail;
        }
        struct rte_mbuf *mbuf = net_allocate(tcp->net);
        if (mbuf == NULL) {
            return NULL;
        }
        chain(head, tail, mbuf);
        tail = mbuf;
    }
}

/* Text of a packet that the port cuts, behind its header. False: no buffer. */
static bool append_large(struct tcp *tcp, struct tcp_connection *c, const struct text *text,
                         struct rte_mbuf *head)
{
    uint32_t offset, left = text->bytes;
    const struct byte_chunk *chunk = find_text(c, text->seq, &offset);
    uint32_t chunk_seq = text->seq - offset;
    struct rte_mbuf *tail = head;
    for (;;) {
        uint32_t part = (uint32_t)chunk->size - offset;
        part = part < left ? part : left;
        struct slice bytes = slice_of(chunk->data + offset, part);
        tail = is_shown(c, chunk, part) ? append_parts(tcp, c, head, tail, bytes, chunk->owner)
                                        : append_copy(tcp, head, tail, bytes);
        left -= part;
        if (tail == NULL || left == 0) {
            break;
        }
        chunk_seq += (uint32_t)chunk->size;
        chunk = chunk->next;
        offset = 0;
    }
    move_cursor(c, chunk, chunk_seq);
    return tail != NULL;
}

/* Text of a segment that lies within one large value, where that may be shown. False: no buffer. */
static bool place_shown(struct tcp *tcp, struct tcp_connection *c, struct text *text,
                        const struct byte_chunk *chunk, uint32_t offset, struct rte_mbuf *head)
{
    struct slice bytes = slice_of(chunk->data + offset, text->bytes);
    prefetch_next(chunk, offset + text->bytes, text->bytes);
    text->sum = c->interface->tx_tcp_checksum ? 0 : checksum_add(0, bytes.data, bytes.size);
    return append_external(tcp, head, head, bytes, chunk->owner) != NULL;
}

/* What most text is: copied behind the header of a lone segment. */
static inline bool is_copied(struct tcp_connection *c, const struct text *text)
{
    uint32_t offset;
    if (LIKELY(text->bytes < EXTERNAL_BYTES_MIN)) {
        return true;
    }
    const struct byte_chunk *chunk = find_text(c, text->seq, &offset);
    return text->bytes <= c->snd_mss &&
           (chunk->size - offset < text->bytes || !is_shown(c, chunk, text->bytes));
}

/* A buffer with the header's room and the text in buffers behind it. NULL: none to be had. */
static struct rte_mbuf *allocate_chain(struct tcp *tcp, struct tcp_connection *c,
                                       uint32_t header_bytes, struct text *text, uint8_t **l4)
{
    uint32_t offset;
    struct rte_mbuf *head = allocate(tcp, header_bytes, l4);
    if (head == NULL) {
        return NULL;
    }
    text->placed = true;
    const struct byte_chunk *chunk = find_text(c, text->seq, &offset);
    if (text->bytes > c->snd_mss ? append_large(tcp, c, text, head)
                                 : place_shown(tcp, c, text, chunk, offset, head)) {
        return head;
    }
    metric_add(tcp->metrics, METRIC_TCP_DROP_NO_BUFFER, 1);
    rte_pktmbuf_free(head);
    return NULL;
}

/* A buffer with room for the header and for what is copied. NULL: none to be had. */
static inline struct rte_mbuf *allocate_segment(struct tcp *tcp, struct tcp_connection *c,
                                                uint32_t header_bytes, struct text *text,
                                                uint8_t **l4)
{
    return LIKELY(is_copied(c, text)) ? allocate(tcp, header_bytes + text->bytes, l4)
                                      : allocate_chain(tcp, c, header_bytes, text, l4);
}

/* Returns what the text adds to the segment's sum, where that is wanted. */
static inline uint64_t put_text(struct tcp_connection *c, const struct text *text, uint8_t *to)
{
    if (UNLIKELY(text->placed || text->bytes == 0)) {
        return text->sum;
    }
    return copy_text(c, text->seq, to, text->bytes, !c->interface->tx_tcp_checksum);
}

/* ---- segments -------------------------------------------------------------------------------- */

/* What the port is to cut: of each segment it makes header, sums and length. */
static void ask_for_cutting(struct tcp *tcp, const struct tcp_connection *c, struct rte_mbuf *mbuf,
                            uint8_t *l4, const struct header *h, uint32_t text_bytes)
{
    mbuf->ol_flags |= RTE_MBUF_F_TX_TCP_SEG;
    mbuf->tso_segsz = c->snd_mss;
    mbuf->l4_len = header_bytes_of(h) & 0xFF;
    checksum_store(l4 + 16, checksum_fold(h->pseudo_sum));
    uint32_t segments = (text_bytes + c->snd_mss - 1) / c->snd_mss;
    tcp->cut_segments += segments;
    metric_add(tcp->metrics, METRIC_TCP_SEGMENTS_CUT, segments);
    metric_add(tcp->metrics, METRIC_TCP_SEGMENTS_OUT, segments - 1);
}

bool tcp_send_segment(struct tcp *tcp, struct tcp_connection *c, uint32_t seq, uint32_t text_bytes,
                      uint8_t flags, const struct instant *now)
{
    uint8_t blocks[TCP_OPTION_BYTES_MAX], *l4;
    struct header h = connection_header(c, seq, flags | TCP_ACK);
    h.has_timestamps = c->ts_enabled;
    h.ts_value = tcp_timestamp(c, now);
    h.ts_echo = c->ts_recent;
    if (UNLIKELY(c->has_reassembly)) {
        h.options = blocks;
        h.option_bytes = compose_blocks(c, blocks, text_bytes);
    }
    uint32_t header_bytes = header_bytes_of(&h);
    struct text text = {.seq = seq, .bytes = text_bytes};
    struct rte_mbuf *mbuf = allocate_segment(tcp, c, header_bytes, &text, &l4);
    if (UNLIKELY(mbuf == NULL)) {
        return false;
    }
    h.window = advertise_window(tcp, c);
    uint64_t sum = write_header(l4, &h) + put_text(c, &text, l4 + header_bytes);
    if (LIKELY(text_bytes <= c->snd_mss)) {
        write_checksum(c->interface, l4, &h, text_bytes, sum);
    } else {
        ask_for_cutting(tcp, c, mbuf, l4, &h, text_bytes);
    }
    hand_down(tcp, c, mbuf, now);
    acknowledgement_left(c);
    return true;
}

/* Of handshake and reset: out of line. */
static void hand_down_bare(struct tcp *tcp, struct tcp_connection *c, struct rte_mbuf *mbuf,
                           const struct instant *now)
{
    hand_down(tcp, c, mbuf, now);
}

/* A segment without text, with its header as it stands. NULL: no buffer. */
static struct rte_mbuf *compose_bare(struct tcp *tcp, const struct net_interface *interface,
                                     const struct header *h)
{
    uint8_t *l4;
    struct rte_mbuf *mbuf = allocate(tcp, header_bytes_of(h), &l4);
    if (mbuf != NULL) {
        write_checksum(interface, l4, h, 0, write_header(l4, h));
    }
    return mbuf;
}

void tcp_send_handshake(struct tcp *tcp, struct tcp_connection *c, uint8_t flags, uint16_t window,
                        const struct tcp_header_options *options, const struct instant *now)
{
    uint8_t option_bytes[TCP_OPTION_BYTES_MAX];
    struct header h = connection_header(c, c->iss, flags);
    h.window = window;
    h.options = option_bytes;
    h.option_bytes = tcp_options_compose(options, option_bytes, TCP_OPTION_BYTES_MAX);
    struct rte_mbuf *mbuf = compose_bare(tcp, c->interface, &h);
    if (mbuf != NULL) {
        hand_down_bare(tcp, c, mbuf, now);
        acknowledgement_left(c);
    }
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
    struct header h = connection_header(c, c->snd_nxt, TCP_RST | TCP_ACK);
    struct rte_mbuf *mbuf = compose_bare(tcp, c->interface, &h);
    if (mbuf != NULL) {
        metric_add(tcp->metrics, METRIC_TCP_RESETS_OUT, 1);
        hand_down_bare(tcp, c, mbuf, now);
    }
}

void tcp_send_reset_reply(struct tcp *tcp, const struct tcp_segment *segment)
{
    const struct ip_datagram *datagram = segment->datagram;
    if (segment->flags & TCP_RST) {
        return;
    }
    struct header h = {.pseudo_sum = tcp_pseudo_sum(address_is_ipv4(&datagram->source),
                                                    &datagram->destination, &datagram->source),
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
    struct rte_mbuf *mbuf = compose_bare(tcp, datagram->interface, &h);
    if (mbuf == NULL) {
        return;
    }
    metric_add(tcp->metrics, METRIC_TCP_RESETS_OUT, 1);
    metric_add(tcp->metrics, METRIC_TCP_SEGMENTS_OUT, 1);
    ip_output_to_station(tcp->net, datagram->interface, &datagram->destination, &datagram->source,
                         IPPROTO_TCP, &datagram->source_mac, mbuf);
}
