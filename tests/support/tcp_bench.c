#include "tests/support/tcp_bench.h"

#include "tests/support/simulated_offload.h"

#include <rte_ip.h>
#include <stdlib.h>

#define POOL_MBUFS  2047U
#define IP_BYTES    20U
#define OWN_NUMBER  2
#define PEER_NUMBER 1

static struct rte_mempool *pool;

static void record(struct tcp_bench *b, const struct rte_mbuf *mbuf)
{
    const uint8_t *frame = rte_pktmbuf_mtod(mbuf, const uint8_t *);
    const uint8_t *ip = frame + RTE_ETHER_HDR_LEN, *l4 = ip + IP_BYTES;
    if (bytes_read_be16(frame + 12) != RTE_ETHER_TYPE_IPV4 || ip[9] != IPPROTO_TCP) {
        return;
    }
    CHECK(b->sent_count < BENCH_SEGMENTS_MAX);
    uint32_t l4_bytes = bytes_read_be16(ip + 2) - IP_BYTES, header = (uint32_t)(l4[12] >> 4) * 4;
    struct sent_segment *s = &b->sent[b->sent_count++];
    *s = (struct sent_segment){.port = bytes_read_be16(l4),
                               .peer_port = bytes_read_be16(l4 + 2),
                               .seq = bytes_read_be32(l4 + 4),
                               .ack = bytes_read_be32(l4 + 8),
                               .flags = l4[13],
                               .window = bytes_read_be16(l4 + 14),
                               .text = b->sent_text + b->sent_text_bytes,
                               .text_bytes = l4_bytes - header,
                               .at_us = b->now_us};
    tcp_options_parse(slice_of(l4 + 20, header - 20), &s->options);
    CHECK(b->sent_text_bytes + s->text_bytes <= BENCH_TEXT_MAX);
    memcpy(b->sent_text + b->sent_text_bytes, l4 + header, s->text_bytes);
    b->sent_text_bytes += s->text_bytes;
    s->checksum_right =
        rte_ipv4_udptcp_cksum_verify((const struct rte_ipv4_hdr *)(const void *)ip, l4) == 0;
    uint32_t end =
        s->seq + s->text_bytes + ((s->flags & TCP_SYN) != 0) + ((s->flags & TCP_FIN) != 0);
    if (s->flags & TCP_SYN) {
        b->own_iss = s->seq;
        b->own_nxt = end;
    } else if (!(s->flags & TCP_RST)) {
        b->own_nxt = seq_max(b->own_nxt, end);
    }
}

/* The peer answers ARP requests for its address. */
static struct rte_mbuf *answer_arp(const struct rte_mbuf *request)
{
    const uint8_t *frame = rte_pktmbuf_mtod(request, const uint8_t *);
    struct address peer = simulated_host_address(PEER_NUMBER);
    if (bytes_read_be16(frame + 12) != RTE_ETHER_TYPE_ARP || bytes_read_be16(frame + 20) != 1 ||
        memcmp(frame + 38, peer.bytes + 12, 4) != 0) {
        return NULL;
    }
    struct rte_ether_addr mac = simulated_host_mac(PEER_NUMBER);
    struct rte_mbuf *answer = rte_pktmbuf_alloc(pool);
    CHECK(answer != NULL);
    uint8_t *to = (uint8_t *)rte_pktmbuf_append(answer, 60);
    CHECK(to != NULL);
    memset(to, 0, 60);
    memcpy(to, frame + 6, 6);
    memcpy(to + 6, &mac, 6);
    memcpy(to + 12, frame + 12, 8);
    bytes_write_be16(to + 20, 2);
    memcpy(to + 22, &mac, 6);
    memcpy(to + 28, peer.bytes + 12, 4);
    memcpy(to + 32, frame + 22, 10);
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
    struct rte_mbuf *answer = NULL;
    for (uint32_t i = 0; i < b->host.interface->tx_count; i++) {
        struct rte_mbuf *cut[SIMULATED_CUT_MAX];
        uint32_t cut_count = simulated_offload(b->host.interface->tx[i], cut);
        for (uint32_t j = 0; j < cut_count; j++) {
            record(b, cut[j]);
            answer = answer == NULL ? answer_arp(cut[j]) : answer;
            rte_pktmbuf_free(cut[j]);
        }
    }
    b->host.interface->tx_count = 0;
    if (answer != NULL) {
        queue_frame(b, answer);
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

static void write_ip(uint8_t *ip, uint32_t l4_bytes)
{
    struct address own = simulated_host_address(OWN_NUMBER);
    struct address peer = simulated_host_address(PEER_NUMBER);
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

void bench_queue_frame(struct tcp_bench *b, const uint8_t *frame, uint32_t bytes)
{
    struct rte_mbuf *mbuf = rte_pktmbuf_alloc(pool);
    CHECK(mbuf != NULL);
    uint8_t *to = (uint8_t *)rte_pktmbuf_append(mbuf, (uint16_t)bytes);
    CHECK(to != NULL);
    memcpy(to, frame, bytes);
    queue_frame(b, mbuf);
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
    bytes_write_be16(frame + 12, RTE_ETHER_TYPE_IPV4);
    uint8_t *ip = frame + RTE_ETHER_HDR_LEN, *l4 = ip + IP_BYTES;
    uint32_t l4_bytes = write_tcp(l4, p);
    write_ip(ip, l4_bytes);
    uint16_t sum = rte_ipv4_udptcp_cksum((const struct rte_ipv4_hdr *)(const void *)ip, l4);
    sum = p->bad_checksum ? (uint16_t)(sum ^ 0x0100) : sum;
    memcpy(l4 + 16, &sum, 2);
    return RTE_ETHER_HDR_LEN + IP_BYTES + l4_bytes;
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
