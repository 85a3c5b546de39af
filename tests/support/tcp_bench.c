#include "tests/support/tcp_bench.h"

#include "dataplane/l2_link/packet.h"
#include "dataplane/l2_link/wire_ipv6.h"
#include "dataplane/l2_link/wire_nd.h"
#include "tests/support/simulated_offload.h"

#include <rte_ip.h>
#include <stdlib.h>

#define POOL_MBUFS   2047U
#define IP_BYTES     20U
#define IPV6_BYTES   40U
#define OWN_NUMBER   2
#define PEER_NUMBER  1
#define ANSWER_BYTES 90U /* an advertisement in a tagged frame */

static struct rte_mempool *pool;

/* Where the packet begins in a frame, which may have a tag. */
static uint32_t packet_at(const uint8_t *frame)
{
    bool tagged = bytes_read_be16(frame + 12) == RTE_ETHER_TYPE_VLAN;
    return RTE_ETHER_HDR_LEN + (tagged ? RTE_VLAN_HLEN : 0U);
}

static bool is_of_type(const uint8_t *frame, uint16_t type)
{
    return bytes_read_be16(frame + packet_at(frame) - 2) == type;
}

static void record(struct tcp_bench *b, const struct rte_mbuf *mbuf)
{
    const uint8_t *frame = rte_pktmbuf_mtod(mbuf, const uint8_t *), *ip = frame + packet_at(frame);
    bool ipv6 = is_of_type(frame, RTE_ETHER_TYPE_IPV6);
    if (!(ipv6 || is_of_type(frame, RTE_ETHER_TYPE_IPV4)) || ip[ipv6 ? 6 : 9] != IPPROTO_TCP) {
        return;
    }
    CHECK(b->sent_count < BENCH_SEGMENTS_MAX);
    const uint8_t *l4 = ip + (ipv6 ? IPV6_BYTES : IP_BYTES);
    uint32_t packet_bytes =
        ipv6 ? IPV6_BYTES + bytes_read_be16(ip + 4) : (uint32_t)bytes_read_be16(ip + 2);
    uint32_t l4_bytes = packet_bytes - (uint32_t)(l4 - ip), header = (uint32_t)(l4[12] >> 4) * 4;
    struct sent_segment *s = &b->sent[b->sent_count++];
    *s = (struct sent_segment){.port = bytes_read_be16(l4),
                               .peer_port = bytes_read_be16(l4 + 2),
                               .seq = bytes_read_be32(l4 + 4),
                               .ack = bytes_read_be32(l4 + 8),
                               .flags = l4[13],
                               .window = bytes_read_be16(l4 + 14),
                               .text = b->sent_text + b->sent_text_bytes,
                               .text_bytes = l4_bytes - header,
                               .packet_bytes = packet_bytes,
                               .at_us = b->now_us};
    tcp_options_parse(slice_of(l4 + 20, header - 20), &s->options);
    CHECK(b->sent_text_bytes + s->text_bytes <= BENCH_TEXT_MAX);
    memcpy(b->sent_text + b->sent_text_bytes, l4 + header, s->text_bytes);
    b->sent_text_bytes += s->text_bytes;
    const void *header_of_ip = ip;
    s->checksum_right = (ipv6 ? rte_ipv6_udptcp_cksum_verify(header_of_ip, l4)
                              : rte_ipv4_udptcp_cksum_verify(header_of_ip, l4)) == 0;
    uint32_t end =
        s->seq + s->text_bytes + ((s->flags & TCP_SYN) != 0) + ((s->flags & TCP_FIN) != 0);
    if (s->flags & TCP_SYN) {
        b->own_iss = s->seq;
        b->own_nxt = end;
    } else if (!(s->flags & TCP_RST)) {
        b->own_nxt = seq_max(b->own_nxt, end);
    }
}

/* ---- the peer as a neighbour -------------------------------------------------------------------
 */

static bool asks_for_peer(const uint8_t *frame)
{
    const uint8_t *packet = frame + packet_at(frame);
    struct address ipv4 = simulated_host_address(PEER_NUMBER);
    struct address ipv6 = simulated_host_address_ipv6(PEER_NUMBER);
    struct rte_ether_addr mac = simulated_host_mac(PEER_NUMBER);
    if (!(frame[0] & RTE_ETHER_GROUP_ADDR) && memcmp(frame, &mac, sizeof(mac)) != 0) {
        return false;
    }
    if (is_of_type(frame, RTE_ETHER_TYPE_ARP)) {
        return bytes_read_be16(packet + 6) == 1 && memcmp(packet + 24, ipv4.bytes + 12, 4) == 0;
    }
    return is_of_type(frame, RTE_ETHER_TYPE_IPV6) && packet[6] == IPPROTO_ICMPV6 &&
           packet[IPV6_BYTES] == ND_SOLICITATION &&
           memcmp(packet + IPV6_BYTES + 8, ipv6.bytes, 16) == 0;
}

static void answer_arp(const uint8_t *request, uint8_t *to)
{
    struct rte_ether_addr mac = simulated_host_mac(PEER_NUMBER);
    memcpy(to, request, 6);
    bytes_write_be16(to + 6, 2);
    memcpy(to + 8, &mac, 6);
    memcpy(to + 14, request + 24, 4);
    memcpy(to + 18, request + 8, 10);
}

static void answer_solicitation(const uint8_t *request, uint8_t *to)
{
    struct rte_ether_addr mac = simulated_host_mac(PEER_NUMBER);
    struct address peer = simulated_host_address_ipv6(PEER_NUMBER);
    struct ipv6_header header = {.source = peer,
                                 .payload_bytes = ND_MESSAGE_BYTES + ND_STATION_BYTES,
                                 .next = IPPROTO_ICMPV6,
                                 .hop_limit = ND_HOP_LIMIT};
    struct nd_message message = {.type = ND_ADVERTISEMENT,
                                 .flags = ND_FLAG_SOLICITED | ND_FLAG_OVERRIDE,
                                 .target = peer,
                                 .has_station = true,
                                 .station = mac};
    memcpy(header.destination.bytes, request + 8, 16);
    wire_ipv6_compose(to, &header);
    wire_nd_compose(to + IPV6_BYTES, &message);
    const void *ip = to;
    uint16_t sum = rte_ipv6_udptcp_cksum(ip, to + IPV6_BYTES);
    memcpy(to + IPV6_BYTES + 2, &sum, 2);
}

/* The peer answers requests for its addresses. NULL when this is none. */
static struct rte_mbuf *answer_neighbour(const struct rte_mbuf *mbuf)
{
    const uint8_t *request = rte_pktmbuf_mtod(mbuf, const uint8_t *);
    struct rte_ether_addr mac = simulated_host_mac(PEER_NUMBER);
    uint32_t at = packet_at(request);
    if (!asks_for_peer(request)) {
        return NULL;
    }
    struct rte_mbuf *answer = rte_pktmbuf_alloc(pool);
    CHECK(answer != NULL);
    uint8_t *to = (uint8_t *)rte_pktmbuf_append(answer, ANSWER_BYTES);
    CHECK(to != NULL);
    memset(to, 0, ANSWER_BYTES);
    memcpy(to, request + 6, 6);
    memcpy(to + 6, &mac, 6);
    memcpy(to + 12, request + 12, at - 12);
    if (is_of_type(request, RTE_ETHER_TYPE_ARP)) {
        answer_arp(request + at, to + at);
    } else {
        answer_solicitation(request + at, to + at);
    }
    return answer;
}

static void queue_frame(struct tcp_bench *b, struct rte_mbuf *frame)
{
    CHECK(b->queued_count < SIMULATED_BURST);
    b->queued[b->queued_count++] = frame;
}

static void pass(struct tcp_bench *b)
{
    struct instant now = {.mono_us = b->now_us};
    b->pass_count++;
    uint32_t count = b->queued_count;
    b->queued_count = 0;
    simulated_host_pass(&b->host, b->queued, count, &now);
    bool answered = false;
    for (uint32_t i = 0; i < b->host.interface->tx_count; i++) {
        struct rte_mbuf *cut[SIMULATED_CUT_MAX];
        uint32_t cut_count = simulated_offload(b->host.interface->tx[i], cut);
        for (uint32_t j = 0; j < cut_count; j++) {
            record(b, cut[j]);
            if (b->on_frame != NULL) {
                b->on_frame(b, cut[j]);
            }
            struct rte_mbuf *answer = b->mute ? NULL : answer_neighbour(cut[j]);
            if (answer != NULL) {
                queue_frame(b, answer);
                answered = true;
            }
            rte_pktmbuf_free(cut[j]);
        }
    }
    b->host.interface->tx_count = 0;
    if (answered) {
        pass(b);
    }
}

static void on_events(struct simulated_host *host, const struct stream_event *events,
                      uint32_t count, const struct instant *now)
{
    struct tcp_bench *b = host->context;
    for (uint32_t i = 0; i < count; i++) {
        const struct stream_event *event = &events[i];
        b->stream = event->stream;
        b->opened += event->type == STREAM_OPENED;
        b->finished += event->type == STREAM_FINISHED;
        b->drained += event->type == STREAM_DRAINED;
        b->closed += event->type == STREAM_CLOSED;
        if (event->type == STREAM_DATA) {
            CHECK(b->text_bytes + event->data.size <= BENCH_TEXT_MAX);
            memcpy(b->text + b->text_bytes, event->data.data, event->data.size);
            b->text_bytes += (uint32_t)event->data.size;
            event->stream->unread_bytes += b->hold ? event->data.size : 0;
        }
    }
}

struct tcp_options bench_options(void)
{
    struct tcp_options options;
    tcp_default_options(&options);
    options.keepalive_s = 0;
    options.seed = 42;
    return options;
}

struct tcp_bench *bench_create(const struct tcp_options *options)
{
    simulated_memory_setup();
    if (pool == NULL) {
        pool = simulated_pool_create("bench", POOL_MBUFS, 2048);
    }
    struct tcp_options defaults = bench_options();
    struct tcp_bench *b = calloc(1, sizeof(*b));
    b->sent_text = malloc(BENCH_TEXT_MAX);
    b->text = malloc(BENCH_TEXT_MAX);
    b->now_us = 5000000;
    struct instant now = {.mono_us = b->now_us};
    simulated_host_init(&b->host, OWN_NUMBER, 1500, pool, options != NULL ? options : &defaults,
                        &now);
    b->host.context = b;
    b->host.on_events = on_events;
    b->peer_nxt = BENCH_PEER_ISS;
    CHECK(tcp_listen(b->host.tcp, BENCH_PORT, 3) == 0);
    pass(b);
    bench_forget(b);
    return b;
}

/* Everything must have come back. */
void bench_destroy(struct tcp_bench *b)
{
    simulated_host_deinit(&b->host);
    CHECK(rte_mempool_avail_count(pool) == POOL_MBUFS);
    free(b->sent_text);
    free(b->text);
    free(b);
}

void bench_forget(struct tcp_bench *b)
{
    b->sent_count = b->sent_text_bytes = 0;
    b->opened = b->finished = b->drained = b->closed = 0;
}

static struct address peer_of(const struct probe *p)
{
    if (p->peer != NULL) {
        return *p->peer;
    }
    return p->ipv6 ? simulated_host_address_ipv6(PEER_NUMBER) : simulated_host_address(PEER_NUMBER);
}

static void write_ipv6(uint8_t *ip, const struct probe *p, uint32_t l4_bytes)
{
    struct ipv6_header header = {.source = peer_of(p),
                                 .destination = simulated_host_address_ipv6(OWN_NUMBER),
                                 .payload_bytes = (uint16_t)l4_bytes,
                                 .next = IPPROTO_TCP,
                                 .hop_limit = 64};
    wire_ipv6_compose(ip, &header);
}

static void write_ip(uint8_t *ip, const struct probe *p, uint32_t l4_bytes)
{
    struct address own = simulated_host_address(OWN_NUMBER), peer = peer_of(p);
    memset(ip, 0, IP_BYTES);
    ip[0] = 0x45;
    bytes_write_be16(ip + 2, (uint16_t)(IP_BYTES + l4_bytes));
    ip[6] = 0x40;
    ip[8] = 64;
    ip[9] = IPPROTO_TCP;
    memcpy(ip + 12, peer.bytes + 12, 4);
    memcpy(ip + 16, own.bytes + 12, 4);
    uint16_t sum = rte_ipv4_cksum((const struct rte_ipv4_hdr *)(const void *)ip);
    memcpy(ip + 10, &sum, 2);
}

static uint32_t write_tcp(uint8_t *l4, const struct probe *p)
{
    uint32_t header = TCP_HEADER_BYTES + (uint32_t)p->options.size;
    bytes_write_be16(l4, p->peer_port != 0 ? p->peer_port : BENCH_PEER_PORT);
    bytes_write_be16(l4 + 2, p->port != 0 ? p->port : BENCH_PORT);
    bytes_write_be32(l4 + 4, p->seq);
    bytes_write_be32(l4 + 8, p->ack);
    l4[12] = (uint8_t)((p->header_words != 0 ? p->header_words : header / 4) << 4);
    l4[13] = p->flags;
    bytes_write_be16(l4 + 14, p->window == 0 && !p->zero_window ? 65535 : p->window);
    bytes_write_be16(l4 + 16, 0);
    bytes_write_be16(l4 + 18, p->urgent);
    if (p->options.size > 0) {
        memcpy(l4 + TCP_HEADER_BYTES, p->options.data, p->options.size);
    }
    if (p->text_bytes > 0) {
        memcpy(l4 + header, p->text, p->text_bytes);
    }
    return header + p->text_bytes;
}

static void release_memory(void *memory, void *shared)
{
    free(memory);
    free(shared);
}

/* Memory of its own, where a sanitizer guards both ends. */
static void give_memory(struct rte_mbuf *mbuf, uint32_t size)
{
    struct rte_mbuf_ext_shared_info *shared = calloc(1, sizeof(*shared));
    void *memory = malloc(size);
    CHECK(shared != NULL && memory != NULL);
    shared->free_cb = release_memory;
    shared->fcb_opaque = shared;
    rte_mbuf_ext_refcnt_set(shared, 1);
    rte_pktmbuf_attach_extbuf(mbuf, memory, RTE_BAD_IOVA, (uint16_t)size, shared);
}

static struct rte_mbuf *buffer_of(const struct tcp_bench *b, const uint8_t *bytes, uint32_t size)
{
    struct rte_mbuf *mbuf = rte_pktmbuf_alloc(pool);
    CHECK(mbuf != NULL);
    if (b->exact) {
        give_memory(mbuf, size);
    }
    uint8_t *to = (uint8_t *)rte_pktmbuf_append(mbuf, (uint16_t)size);
    CHECK(to != NULL);
    memcpy(to, bytes, size);
    return mbuf;
}

void bench_queue_frame(struct tcp_bench *b, const uint8_t *frame, uint32_t bytes)
{
    uint32_t part = b->part_bytes != 0 && b->part_bytes < bytes ? b->part_bytes : bytes;
    struct rte_mbuf *first = buffer_of(b, frame, part);
    for (uint32_t at = part; at < bytes; at += part) {
        uint32_t size = bytes - at < part ? bytes - at : part;
        CHECK(rte_pktmbuf_chain(first, buffer_of(b, frame + at, size)) == 0);
    }
    if (b->overheard) {
        packet_mark_overheard(first);
    }
    queue_frame(b, first);
}

void bench_inject_frame(struct tcp_bench *b, const uint8_t *frame, uint32_t bytes)
{
    bench_queue_frame(b, frame, bytes);
    bench_forget(b);
    pass(b);
}

uint32_t bench_compose(const struct probe *p, uint8_t *frame)
{
    struct rte_ether_addr own = simulated_host_mac(OWN_NUMBER),
                          peer = simulated_host_mac(PEER_NUMBER);
    memcpy(frame, &own, 6);
    memcpy(frame + 6, &peer, 6);
    bytes_write_be16(frame + 12, p->ipv6 ? RTE_ETHER_TYPE_IPV6 : RTE_ETHER_TYPE_IPV4);
    uint32_t ip_bytes = p->ipv6 ? IPV6_BYTES : IP_BYTES;
    uint8_t *ip = frame + RTE_ETHER_HDR_LEN, *l4 = ip + ip_bytes;
    uint32_t l4_bytes = write_tcp(l4, p);
    (p->ipv6 ? write_ipv6 : write_ip)(ip, p, l4_bytes);
    const void *header = ip;
    uint16_t sum = p->ipv6 ? rte_ipv6_udptcp_cksum(header, l4) : rte_ipv4_udptcp_cksum(header, l4);
    sum = p->bad_checksum ? (uint16_t)(sum ^ 0x0100) : sum;
    memcpy(l4 + 16, &sum, 2);
    return RTE_ETHER_HDR_LEN + ip_bytes + l4_bytes;
}

void bench_queue(struct tcp_bench *b, const struct probe *p)
{
    uint8_t frame[BENCH_FRAME_MAX] = {0};
    bench_queue_frame(b, frame, bench_compose(p, frame));
}

void bench_inject(struct tcp_bench *b, const struct probe *p)
{
    bench_queue(b, p);
    bench_forget(b);
    pass(b);
}

void bench_say(struct tcp_bench *b, const char *text)
{
    uint32_t seq = b->peer_nxt;
    b->peer_nxt += (uint32_t)strlen(text);
    bench_inject(b, &(struct probe){.flags = TCP_ACK | TCP_PSH,
                                    .seq = seq,
                                    .ack = b->own_nxt,
                                    .text = text,
                                    .text_bytes = (uint32_t)strlen(text)});
}

void bench_acknowledge(struct tcp_bench *b)
{
    bench_inject(b, &(struct probe){.flags = TCP_ACK, .seq = b->peer_nxt, .ack = b->own_nxt});
}

void bench_touch(struct tcp_bench *b)
{
    bench_forget(b);
    stream_mark_dirty(b->stream);
    pass(b);
}

void bench_write(struct tcp_bench *b, const void *data, size_t size)
{
    byte_queue_append(&b->stream->out, &b->host.bytes, data, size);
    bench_touch(b);
}

void bench_advance(struct tcp_bench *b, uint64_t us)
{
    uint64_t end = b->now_us + us;
    bench_forget(b);
    while (b->now_us < end) {
        uint64_t due = b->host.next_due_us;
        due = due <= b->now_us ? b->now_us + 1 : due;
        b->now_us = due < end ? due : end;
        pass(b);
    }
}

struct tcp_connection *bench_connection(struct tcp_bench *b)
{
    struct address own = simulated_host_address(OWN_NUMBER);
    struct address peer = simulated_host_address(PEER_NUMBER);
    uint16_t own_port = b->stream != NULL && b->stream->peer.port == BENCH_PORT
                            ? b->stream->local.port
                            : BENCH_PORT;
    uint16_t peer_port = own_port == BENCH_PORT ? BENCH_PEER_PORT : BENCH_PORT;
    uint64_t hash = tcp_table_hash(&own, own_port, &peer, peer_port);
    return tcp_table_find(&b->host.tcp->table, hash, &own, own_port, &peer, peer_port);
}

enum tcp_state bench_state(const struct tcp_bench *b)
{
    const struct tcp_connection *c = bench_connection((struct tcp_bench *)(uintptr_t)b);
    return c == NULL ? TCP_CLOSED : (enum tcp_state)c->state;
}

static void send_syn(struct tcp_bench *b, struct slice options)
{
    bench_inject(b, &(struct probe){.flags = TCP_SYN, .seq = b->peer_nxt, .options = options});
    b->peer_nxt++;
}

struct tcp_bench *bench_syn_received(const struct tcp_options *options)
{
    struct tcp_bench *b = bench_create(options);
    send_syn(b, SLICE_LITERAL("\x02\x04\x05\xb4"));
    CHECK(bench_state(b) == TCP_SYN_RECEIVED && b->sent_count == 1);
    return b;
}

struct tcp_bench *bench_established_with(const struct tcp_options *options,
                                         struct slice syn_options)
{
    struct tcp_bench *b = bench_create(options);
    send_syn(b, syn_options);
    bench_acknowledge(b);
    CHECK(bench_state(b) == TCP_ESTABLISHED && b->stream != NULL);
    return b;
}

struct tcp_bench *bench_established(const struct tcp_options *options)
{
    return bench_established_with(options, SLICE_LITERAL("\x02\x04\x05\xb4"));
}

struct tcp_bench *bench_syn_sent(const struct tcp_options *options)
{
    struct tcp_bench *b = bench_create(options);
    struct instant now = {.mono_us = b->now_us};
    struct endpoint peer = {simulated_host_address(PEER_NUMBER), BENCH_PORT};
    b->stream = tcp_connect(b->host.tcp, &peer, &now);
    CHECK(b->stream != NULL);
    pass(b);
    CHECK(bench_state(b) == TCP_SYN_SENT);
    return b;
}

static void send_fin(struct tcp_bench *b)
{
    bench_inject(
        b, &(struct probe){.flags = TCP_FIN | TCP_ACK, .seq = b->peer_nxt, .ack = b->own_nxt});
    b->peer_nxt++;
}

struct tcp_bench *bench_close_wait(const struct tcp_options *options)
{
    struct tcp_bench *b = bench_established(options);
    send_fin(b);
    CHECK(bench_state(b) == TCP_CLOSE_WAIT);
    return b;
}

struct tcp_bench *bench_fin_wait_1(const struct tcp_options *options)
{
    struct tcp_bench *b = bench_established(options);
    b->stream->close_requested = true;
    bench_touch(b);
    CHECK(bench_state(b) == TCP_FIN_WAIT_1);
    return b;
}

struct tcp_bench *bench_fin_wait_2(const struct tcp_options *options)
{
    struct tcp_bench *b = bench_fin_wait_1(options);
    bench_acknowledge(b);
    CHECK(bench_state(b) == TCP_FIN_WAIT_2);
    return b;
}

struct tcp_bench *bench_closing(const struct tcp_options *options)
{
    struct tcp_bench *b = bench_fin_wait_1(options);
    bench_inject(
        b, &(struct probe){.flags = TCP_FIN | TCP_ACK, .seq = b->peer_nxt, .ack = b->own_nxt - 1});
    b->peer_nxt++;
    CHECK(bench_state(b) == TCP_CLOSING);
    return b;
}

struct tcp_bench *bench_last_ack(const struct tcp_options *options)
{
    struct tcp_bench *b = bench_close_wait(options);
    b->stream->close_requested = true;
    bench_touch(b);
    CHECK(bench_state(b) == TCP_LAST_ACK);
    return b;
}

struct tcp_bench *bench_time_wait(const struct tcp_options *options)
{
    struct tcp_bench *b = bench_fin_wait_2(options);
    send_fin(b);
    CHECK(bench_state(b) == TCP_TIME_WAIT);
    return b;
}
