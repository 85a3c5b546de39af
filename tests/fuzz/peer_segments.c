/* What the peer sends to the connection: segments near the edges of what is expected, good ones,
 * and ones in fragments; below TCP in options, extension headers, tags and from stations of any
 * kind.
 */
#include <rte_ip.h>

#include "dataplane/l2_link/wire_ipv6.h"
#include "tests/fuzz/conversation.h"

#define TEXT_MAX            1400U
#define FRAGMENTED_TEXT_MAX 300U
#define FAR_BYTES           65000U
#define SHIFT_UNKNOWN       14U
#define EXTENSION_BYTES     8U
#define EXTENSIONS_MAX      18U

/* ---- below TCP ---------------------------------------------------------------------------------
 */

/* Of 8 bytes, whatever its length says. */
struct extension {
    uint8_t number, count; /* so many of them */
    uint8_t length;
    uint8_t rest[6];
};

static const struct extension extensions[16] = {
    [1] = {IPV6_HOP_BY_HOP, 1, 0, {1, 4}},
    [2] = {IPV6_DESTINATION_OPTIONS, 1, 0, {1, 4}},
    [3] = {IPV6_ROUTING, 1, 0, {2, 0}},
    [4] = {IPV6_ROUTING, 1, 0, {0, 0}},
    [5] = {IPV6_ROUTING, 1, 0, {2, 1}},
    [6] = {IPV6_HOP_BY_HOP, 1, 0, {5, 2, 0, 0, 0, 0}},
    [7] = {IPV6_DESTINATION_OPTIONS, 1, 0, {0x1e, 4}}, /* unknown: passed over, ... */
    [8] = {IPV6_DESTINATION_OPTIONS, 1, 0, {0x5e, 4}}, /* dropped, ... */
    [9] = {IPV6_DESTINATION_OPTIONS, 1, 0, {0x9e, 4}}, /* told, ... */
    [10] = {IPV6_HOP_BY_HOP, 1, 0, {0xde, 4}},         /* told unless to a group */
    [11] = {IPV6_FRAGMENT, 1, 0, {0, 0, 1, 2, 3, 4}},  /* the only fragment */
    [12] = {IPV6_DESTINATION_OPTIONS, 3, 0, {1, 4}},
    [13] = {IPV6_DESTINATION_OPTIONS, 1, 20, {1, 164}}, /* ends behind the packet, often */
    [14] = {IPV6_DESTINATION_OPTIONS, 9, 0, {0, 0}},    /* too many */
    [15] = {135, 1, 0, {0}},                            /* unknown */
};

/* Two kinds, one behind the other; returns their size. `first`, with the number that is behind
 * them, becomes the number of the first. */
static uint32_t write_extensions(uint8_t kinds, uint8_t *first, uint8_t *to)
{
    const struct extension *chain[EXTENSIONS_MAX];
    uint32_t count = 0;
    for (uint32_t i = 0; i < 2; i++) {
        const struct extension *extension = &extensions[kinds >> 4 * i & 15];
        for (uint32_t j = 0; j < extension->count; j++) {
            chain[count++] = extension;
        }
    }
    for (uint32_t i = 0; i < count; i++) {
        uint8_t *at = to + i * EXTENSION_BYTES;
        at[0] = i + 1 < count ? chain[i + 1]->number : *first;
        at[1] = chain[i]->length;
        memcpy(at + 2, chain[i]->rest, sizeof(chain[i]->rest));
    }
    *first = count > 0 ? chain[0]->number : *first;
    return count * EXTENSION_BYTES;
}

static uint32_t insert_extensions(uint8_t *frame, uint32_t bytes, uint8_t kinds)
{
    uint8_t headers[EXTENSIONS_MAX * EXTENSION_BYTES];
    uint32_t size = write_extensions(kinds, &frame[AT_IPV6_NEXT], headers);
    memmove(frame + AT_IPV6_L4 + size, frame + AT_IPV6_L4, bytes - AT_IPV6_L4);
    memcpy(frame + AT_IPV6_L4, headers, size);
    bytes_write_be16(frame + AT_IPV6_LENGTH,
                     (uint16_t)(bytes_read_be16(frame + AT_IPV6_LENGTH) + size));
    return bytes + size;
}

static void seal_ipv4(uint8_t *ip)
{
    memset(ip + 10, 0, 2);
    uint16_t sum = rte_ipv4_cksum((const struct rte_ipv4_hdr *)(const void *)ip);
    memcpy(ip + 10, &sum, 2);
}

static uint32_t insert_ipv4_options(uint8_t *frame, uint32_t bytes, uint8_t kind)
{
    static const uint8_t options[8][8] = {
        {0},
        {1, 1, 1, 1, 1, 1, 1, 0},
        {7, 7, 4, 0, 0, 0, 0, 0},   /* record route */
        {68, 8, 5, 0, 0, 0, 0, 0},  /* timestamp */
        {148, 4, 0, 0, 1, 1, 1, 0}, /* router alert */
        {131, 7, 4, 1, 2, 3, 4, 0}, /* loose source route */
        {7, 0, 0, 0, 0, 0, 0, 0},   /* no length */
        {130, 200, 0, 0, 0, 0, 0},  /* beyond the end */
    };
    uint32_t size = sizeof(options[0]);
    memmove(frame + AT_L4 + size, frame + AT_L4, bytes - AT_L4);
    memcpy(frame + AT_L4, options[kind & 7], size);
    frame[AT_IP] = (uint8_t)(frame[AT_IP] + size / 4);
    bytes_write_be16(frame + AT_IP_TOTAL, (uint16_t)(bytes_read_be16(frame + AT_IP_TOTAL) + size));
    seal_ipv4(frame + AT_IP);
    return bytes + size;
}

/* IPv4's header is sealed again: its own checksum would hide what else is wrong. */
static void change_byte(uint8_t *frame, uint32_t bytes, uint32_t at, uint8_t change)
{
    frame[at % bytes] ^= change;
    uint32_t header_bytes = (uint32_t)(frame[AT_IP] & 15) * 4;
    if (bytes_read_be16(frame + AT_TYPE) == RTE_ETHER_TYPE_IPV4 && header_bytes >= 20 &&
        AT_IP + header_bytes <= bytes) {
        seal_ipv4(frame + AT_IP);
    }
}

static uint32_t insert_tag(uint8_t *frame, uint32_t bytes, uint16_t control)
{
    memmove(frame + AT_IP + 2, frame + AT_TYPE, bytes - AT_TYPE);
    bytes_write_be16(frame + AT_TYPE, RTE_ETHER_TYPE_VLAN);
    bytes_write_be16(frame + AT_TYPE + 2, control);
    return bytes + RTE_VLAN_HLEN;
}

static uint32_t insert_tags(const struct conversation *v, uint8_t *frame, uint32_t bytes,
                            uint8_t kind)
{
    uint16_t ours = v->tagged ? VLAN : 0;
    switch (kind) {
    case 1: return bytes;                              /* none */
    case 2: return insert_tag(frame, bytes, 0xE000);   /* a priority alone */
    case 3: return insert_tag(frame, bytes, VLAN + 2); /* another VLAN */
    case 4:
        bytes = insert_tag(frame, bytes, VLAN + 2); /* two */
        return insert_tag(frame, bytes, ours);
    case 5: return insert_tag(frame, bytes, ours | 0x3000);
    default: return v->tagged ? insert_tag(frame, bytes, VLAN) : bytes;
    }
}

static void insert_station(uint8_t *frame, uint8_t kind)
{
    const struct rte_ether_addr stations[4] = {simulated_host_mac(PEER),
                                               simulated_host_mac(3),
                                               simulated_host_mac(OWN),
                                               {{0x33, 0x33, 0, 0, 0, 1}}};
    if (kind != 0) {
        memcpy(frame + 6, &stations[kind & 3], 6);
    }
}

void choose_wrapping(struct conversation *v, struct input *input)
{
    uint8_t how = take(input), headers = take(input), at = take(input), change = take(input);
    v->wrapping = (struct wrapping){.frames = 1U + (how & 3),
                                    .tag = how >> 2 & 7,
                                    .station = how >> 5 & 3,
                                    .overheard = how >> 7,
                                    .headers = headers,
                                    .changed_at = at,
                                    .change = change};
}

/* `frame` has room for BENCH_FRAME_MAX; returns the new size. */
static uint32_t wrap(struct conversation *v, uint8_t *frame, uint32_t bytes)
{
    struct wrapping *wrapping = &v->wrapping;
    if (wrapping->frames == 0) {
        v->b->overheard = false;
        return insert_tags(v, frame, bytes, 0);
    }
    uint16_t type = bytes_read_be16(frame + AT_TYPE);
    if (wrapping->headers != 0 && type == RTE_ETHER_TYPE_IPV6) {
        bytes = insert_extensions(frame, bytes, wrapping->headers);
    } else if (wrapping->headers != 0 && type == RTE_ETHER_TYPE_IPV4) {
        bytes = insert_ipv4_options(frame, bytes, wrapping->headers);
    }
    insert_station(frame, wrapping->station);
    v->b->overheard = wrapping->overheard;
    if (wrapping->frames == 1 && wrapping->change != 0) {
        change_byte(frame, bytes, wrapping->changed_at, wrapping->change);
    } else if (wrapping->frames == 1 && wrapping->changed_at < bytes - RTE_ETHER_HDR_LEN) {
        bytes -= wrapping->changed_at; /* cut off behind */
    }
    wrapping->frames--;
    return insert_tags(v, frame, bytes, wrapping->tag);
}

void queue_wrapped(struct conversation *v, const uint8_t *frame, uint32_t bytes)
{
    uint8_t wrapped[BENCH_FRAME_MAX];
    memcpy(wrapped, frame, bytes);
    bytes = wrap(v, wrapped, bytes);
    bench_queue_frame(v->b, wrapped, bytes);
}

void inject_wrapped(struct conversation *v, const uint8_t *frame, uint32_t bytes)
{
    uint8_t wrapped[BENCH_FRAME_MAX];
    memcpy(wrapped, frame, bytes);
    v->arrived = v->b->queued_count + 1;
    v->batch_window = 0;
    bytes = wrap(v, wrapped, bytes);
    bench_inject_frame(v->b, wrapped, bytes);
}

void arrive(struct conversation *v)
{
    v->arrived = v->b->queued_count;
    v->batch_window = 0;
    bench_advance(v->b, 1);
}

/* ---- segments ----------------------------------------------------------------------------------
 */

static uint32_t choose_seq(const struct conversation *v, const struct tcp_connection *c,
                           uint8_t how, int8_t offset)
{
    uint32_t bases[4] = {v->b->peer_nxt, c != NULL ? c->rcv_nxt : v->b->peer_nxt,
                         c != NULL ? c->rcv_adv : v->b->peer_nxt,
                         c != NULL ? c->irs : v->b->peer_nxt};
    return near(bases[how & 3], how & 0x10 ? offset : (int8_t)0, how & 0x20);
}

uint32_t choose_ack(const struct conversation *v, const struct tcp_connection *c, uint8_t how,
                    int8_t offset)
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

uint32_t write_options(struct conversation *v, struct input *input, uint8_t kind, uint8_t *to)
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
    const struct tcp_connection *c = connection_of(v);
    uint32_t iss = c != NULL ? c->iss : v->b->own_iss; /* a cookie's, perhaps */
    /* What was said to one that is gone does not count; what is queued is said to the same. */
    if (iss != v->iss || (c == NULL && v->b->queued_count == 0)) {
        v->iss = iss;
        v->reached = 0;
    }
    uint32_t acked = p->ack - v->iss;
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

static void address_segment(const struct conversation *v, struct probe *p)
{
    p->port = v->port;
    p->peer_port = v->peer_port;
    p->ipv6 = v->ipv6;
    p->peer = &v->peer;
}

void inject(struct conversation *v, struct probe *p, uint32_t text_bytes, bool later)
{
    uint8_t text[TEXT_MAX];
    uint32_t first = p->seq + ((p->flags & TCP_SYN) != 0);
    for (uint32_t i = 0; i < text_bytes; i++) {
        text[i] = byte_at(first + i);
    }
    p->text = text;
    p->text_bytes = text_bytes;
    address_segment(v, p);
    note_permission(v, p);
    uint8_t frame[BENCH_FRAME_MAX] = {0};
    uint32_t bytes = bench_compose(p, frame);
    if (later && v->b->queued_count < BATCH_MAX - 1) {
        queue_wrapped(v, frame, bytes);
    } else {
        inject_wrapped(v, frame, bytes);
    }
}

/* Any segment. What it occupies counts as said when it begins where the peer was. */
void odd_segment(struct conversation *v, struct input *input, bool later)
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
void proper_segment(struct conversation *v, struct input *input)
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

/* [at, at + size) of the part behind the IP header. */
struct piece {
    uint32_t at, size;
    uint32_t shift; /* with the bytes from so much further behind: others than those there */
    uint8_t lies;   /* FRAGMENT_LIES_* */
};

static void queue_fragment(struct conversation *v, const uint8_t *whole, uint32_t payload_bytes,
                           const struct piece *piece)
{
    uint8_t frame[BENCH_FRAME_MAX] = {0};
    uint32_t headers_bytes = v->ipv6 ? AT_IPV6_L4 : AT_L4, behind = headers_bytes;
    uint32_t end = piece->at + piece->size;
    uint32_t from = end + piece->shift <= payload_bytes ? piece->at + piece->shift : piece->at;
    uint32_t offset = piece->lies & FRAGMENT_LIES_FAR ? FAR_BYTES : piece->at;
    bool last = (end == payload_bytes) != ((piece->lies & FRAGMENT_LIES_LAST) != 0);
    memcpy(frame, whole, headers_bytes);
    if (v->ipv6) {
        frame[AT_IPV6_NEXT] = IPV6_FRAGMENT;
        bytes_write_be16(frame + AT_IPV6_LENGTH, (uint16_t)(IPV6_FRAGMENT_BYTES + piece->size));
        wire_ipv6_compose_fragment(frame + behind, whole[AT_IPV6_NEXT], offset, last, v->next_id);
        behind += IPV6_FRAGMENT_BYTES;
    } else {
        bytes_write_be16(frame + AT_IP_TOTAL, (uint16_t)(20 + piece->size));
        bytes_write_be16(frame + AT_IP + 4, v->next_id);
        bytes_write_be16(frame + AT_IP_FRAGMENT, (uint16_t)(offset / 8 | (last ? 0 : 0x2000)));
        seal_ipv4(frame + AT_IP);
    }
    memcpy(frame + behind, whole + headers_bytes + from, piece->size);
    queue_wrapped(v, frame, behind + piece->size);
}

void queue_fragments(struct conversation *v, const uint8_t *whole, uint32_t payload_bytes,
                     const struct cut *cut)
{
    uint32_t count = (payload_bytes + cut->size - 1) / cut->size;
    v->next_id++;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t index = cut->how & CUT_BACKWARDS ? count - 1 - i : i, at = index * cut->size;
        uint32_t left = payload_bytes - at;
        bool chosen = index == cut->which % count;
        struct piece piece = {.at = at, .size = left < cut->size ? left : cut->size};
        if (chosen) {
            piece.shift = cut->how & CUT_SHIFTED ? 8 : 0;
            piece.lies = cut->lies;
        }
        if (!(chosen && (cut->how & CUT_MISSING))) {
            queue_fragment(v, whole, payload_bytes, &piece);
        }
        if (chosen && (cut->how & CUT_REPEATED)) {
            piece.shift = cut->how & CUT_REPEATED_SHIFTED ? 8 : 0;
            queue_fragment(v, whole, payload_bytes, &piece);
        }
    }
}

static struct cut choose_cut(uint8_t how, uint8_t which, uint8_t size)
{
    return (struct cut){.size = size & 0x40 ? 8U : 16U + 8U * (size & 15U),
                        .how = how,
                        .which = which,
                        .lies = size >> 4 & (FRAGMENT_LIES_LAST | FRAGMENT_LIES_FAR)};
}

/* What a good peer would send next, in fragments. With IPv6 extension headers may be among what is
 * cut. */
void fragmented_segment(struct conversation *v, struct input *input)
{
    const struct tcp_connection *c = connection_of(v);
    uint8_t options[12], text[FRAGMENTED_TEXT_MAX], frame[BENCH_FRAME_MAX] = {0};
    uint8_t how = take(input), which = take(input);
    uint32_t text_bytes = 20U + take(input);
    struct cut cut = choose_cut(how, which, take(input));
    v->b->peer_nxt = c != NULL ? c->rcv_nxt : v->b->peer_nxt;
    struct probe p = {.flags = TCP_ACK,
                      .seq = v->b->peer_nxt,
                      .ack = v->b->own_nxt,
                      .text = text,
                      .text_bytes = text_bytes};
    for (uint32_t i = 0; i < text_bytes; i++) {
        text[i] = byte_at(p.seq + i);
    }
    if (c != NULL && c->ts_enabled) {
        p.options = slice_of(options, write_stamps(v, options, 0));
    }
    address_segment(v, &p);
    note_permission(v, &p);
    uint32_t bytes = bench_compose(&p, frame);
    if (v->ipv6 && how >> 5 != 0) {
        bytes = insert_extensions(frame, bytes, (uint8_t)(which >> 4 | (how >> 5) << 4));
    }
    queue_fragments(v, frame, bytes - (v->ipv6 ? AT_IPV6_L4 : AT_L4), &cut);
    arrive(v);
}
