/* The frame load: one core sends request frames that were composed before the clock started, and
 * counts the frames that come back. No network stack of ours is in the generator, so it is a fast
 * enough opponent for a server at its limit, and the same for a server that only echoes.
 *
 *   frame_load [options of nicached-bench]              memcached requests over UDP
 *   frame_load --echo BYTES [options of nicached-bench] frames of BYTES, for testpmd's 5tswap
 *
 *   templates (one per key, in random order) --> bursts, a window of them under way --> port
 *   port --> frames: ARP answered; ours counted by what they say --> room in the window
 *
 * Of the options these count: --interface, --hugepages, --cpu, -h, -p, -r, -d, --key-size, --zipf,
 * -t and --mix, -P (the window), --duration, --warmup, --rate and --arrival. One JSON document goes
 * to stdout. With --rate each reply's latency is recorded from the time the request was meant to
 * leave.
 *
 * Thread: one. Failure: a port that does not open, a server that does not answer ARP, or no reply
 * at all end it with a line that says so. A frame without an answer for 100 ms counts as lost.
 */
#include <errno.h>
#include <inttypes.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include <rte_cycles.h>
#include <rte_ethdev.h>

#include "dataplane/base/check.h"
#include "dataplane/l2_link/wire_arp.h"
#include "dataplane/l2_link/wire_ethernet.h"
#include "dataplane/l3_ip/wire_ipv4.h"
#include "dataplane/l4_transport/wire_udp.h"
#include "drivers/port.h"
#include "tests/bench/histogram.h"
#include "tests/bench/options.h"
#include "tests/bench/schedule.h"

#define BURST            32U
#define LOCAL_PORT       20000U
#define FRAME_BYTES_MAX  1514U
#define HEADER_BYTES     (ETHERNET_HEADER_BYTES + IPV4_HEADER_BYTES + UDP_HEADER_BYTES)
#define MEMCACHE_BYTES   8U /* request id, sequence, count, reserved */
#define REPLY_BYTES_MIN  (HEADER_BYTES + MEMCACHE_BYTES + 1U)
#define ECHO_TEMPLATES   4096U
#define IDS              65536U
#define ARGUMENTS_MAX    100
#define WAIT_MS          10000U
#define LOST_AFTER_MS    100U
#define ARP_FRAME_BYTES  (ETHERNET_HEADER_BYTES + ARP_BYTES)
#define TEMPLATE_SIZE_OF sizeof(uint16_t) /* in front of each template: its size */

struct counts {
    uint64_t sent, frames, bytes, replies, hits, stored, errors, lost, not_accepted;
};

struct frame_load {
    struct options options;
    uint32_t echo_bytes; /* 0: requests */
    struct workload workload;
    struct rte_mempool *pool;
    struct port port;
    struct rte_ether_addr peer_mac;
    bool peer_known;

    uint8_t *templates;
    uint32_t template_count, template_stride, next_template;
    uint64_t intended[IDS]; /* TSC, with --rate */

    uint32_t in_flight;
    uint64_t hz, last_reply;
    struct schedule schedule; /* in TSC ticks */
    struct counts counts;
    bool recording;
    struct histogram latency; /* ns */
};

static volatile sig_atomic_t interrupted;

static void on_signal(int number)
{
    (void)number;
    interrupted = 1;
}

static bool fail(const char *text)
{
    fprintf(stderr, "frame_load: %s\n", text);
    return false;
}

static uint32_t own_address(const struct frame_load *load)
{
    return address_to_ipv4(&load->options.interface.addresses.at[0].address);
}

static uint32_t peer_address(const struct frame_load *load)
{
    return address_to_ipv4(&load->options.peer.address);
}

/* ---- templates ------------------------------------------------------------------------------- */

static uint8_t *template_at(const struct frame_load *load, uint32_t index)
{
    return load->templates + (size_t)index * load->template_stride;
}

static void finish_template(const struct frame_load *load, uint8_t *slot, uint16_t id,
                            uint32_t payload_bytes)
{
    uint8_t *frame = slot + TEMPLATE_SIZE_OF, *ip = frame + ETHERNET_HEADER_BYTES;
    uint8_t *udp = ip + IPV4_HEADER_BYTES;
    uint16_t udp_bytes = (uint16_t)(UDP_HEADER_BYTES + payload_bytes);
    uint16_t size = (uint16_t)(HEADER_BYTES + payload_bytes);
    struct ipv4_header header = {
        .source = own_address(load),
        .destination = peer_address(load),
        .total_bytes = (uint16_t)(IPV4_HEADER_BYTES + udp_bytes),
        .identification = id,
        .fragment = IPV4_DONT_FRAGMENT,
        .ttl = 64,
        .protocol = IPPROTO_UDP,
    };
    memcpy(slot, &size, sizeof(size));
    wire_ethernet_compose(frame, &load->peer_mac, &load->port.mac, 0, RTE_ETHER_TYPE_IPV4);
    wire_ipv4_compose(ip, &header, true);
    wire_udp_compose(udp, LOCAL_PORT, load->options.peer.port, udp_bytes);
    uint64_t sum =
        checksum_pseudo_ipv4(header.source, header.destination, header.protocol, udp_bytes);
    wire_udp_set_checksum(udp, checksum_add(sum, udp, udp_bytes));
}

static struct slice compose_request(struct frame_load *load)
{
    if (workload_draw_kind(&load->workload) == REQUEST_SET) {
        return workload_compose_set(&load->workload, workload_draw_key(&load->workload), 1);
    }
    uint64_t key = workload_draw_key(&load->workload);
    return workload_compose_get(&load->workload, &key, 1);
}

static void compose_template(struct frame_load *load, uint32_t index)
{
    uint8_t *slot = template_at(load, index);
    uint8_t *payload = slot + TEMPLATE_SIZE_OF + HEADER_BYTES;
    if (load->echo_bytes > 0) {
        finish_template(load, slot, (uint16_t)index, load->echo_bytes - HEADER_BYTES);
        return;
    }
    struct slice request = compose_request(load);
    CHECK(HEADER_BYTES + MEMCACHE_BYTES + request.size <= FRAME_BYTES_MAX);
    bytes_write_be16(payload, (uint16_t)index);
    bytes_write_be16(payload + 4, 1);
    memcpy(payload + MEMCACHE_BYTES, request.data, request.size);
    finish_template(load, slot, (uint16_t)index, MEMCACHE_BYTES + (uint32_t)request.size);
}

/* As many as there are keys, so that the caches of the server see them all; but a multiple of the
 * ids, so that a template's id follows from its number. */
static bool compose_templates(struct frame_load *load)
{
    uint32_t keys = load->options.key_count < UINT32_MAX / 2 ? (uint32_t)load->options.key_count
                                                             : UINT32_MAX / 2;
    uint32_t largest = HEADER_BYTES + MEMCACHE_BYTES + 64U +
                       sizes_maximum(&load->options.key_sizes) +
                       sizes_maximum(&load->options.value_sizes);
    if (load->echo_bytes > 0) {
        load->template_count = ECHO_TEMPLATES;
        largest = load->echo_bytes;
    } else {
        load->template_count = (keys + IDS - 1) / IDS * IDS;
    }
    load->template_stride = (uint32_t)((TEMPLATE_SIZE_OF + largest + 15U) & ~15U);
    load->templates = calloc(load->template_count, load->template_stride);
    if (load->templates == NULL) {
        return fail("out of memory for the frames: fewer keys (-r)?");
    }
    for (uint32_t i = 0; i < load->template_count; i++) {
        compose_template(load, i);
    }
    return true;
}

/* ---- frames in ------------------------------------------------------------------------------- */

static void send_arp(struct frame_load *load, const struct rte_ether_addr *station,
                     const struct arp_message *message)
{
    struct rte_mbuf *packet = rte_pktmbuf_alloc(load->pool);
    if (packet == NULL) {
        return;
    }
    uint8_t *frame = rte_pktmbuf_mtod(packet, uint8_t *);
    packet->data_len = ARP_FRAME_BYTES;
    packet->pkt_len = ARP_FRAME_BYTES;
    wire_ethernet_compose(frame, station, &load->port.mac, 0, RTE_ETHER_TYPE_ARP);
    wire_arp_compose(frame + ETHERNET_HEADER_BYTES, message);
    (void)port_transmit_burst(&load->port, 0, &packet, 1);
}

static void answer_arp(struct frame_load *load, const struct arp_message *request)
{
    struct arp_message reply = {
        .operation = ARP_REPLY,
        .sender_mac = load->port.mac,
        .target_mac = request->sender_mac,
        .sender = own_address(load),
        .target = request->sender,
    };
    send_arp(load, &request->sender_mac, &reply);
}

static void take_arp(struct frame_load *load, struct slice frame)
{
    struct arp_message message;
    if (!wire_arp_parse(slice_from(frame, ETHERNET_HEADER_BYTES), &message)) {
        return;
    }
    if (message.operation == ARP_REQUEST && message.target == own_address(load)) {
        answer_arp(load, &message);
    }
    if (message.sender == peer_address(load)) {
        load->peer_mac = message.sender_mac;
        load->peer_known = true;
    }
}

static void count_reply(struct frame_load *load, const uint8_t *payload)
{
    struct counts *counts = &load->counts;
    switch (payload[MEMCACHE_BYTES]) {
    case 'V': counts->hits++; break;   /* VALUE */
    case 'S': counts->stored++; break; /* STORED */
    default: counts->errors++; break;  /* END without a value, or an error */
    }
}

static void count_latency(struct frame_load *load, uint16_t id, uint64_t now)
{
    uint64_t ticks = now > load->intended[id] ? now - load->intended[id] : 0;
    histogram_add(&load->latency, (uint64_t)((double)ticks * 1e9 / (double)load->hz));
}

static void take_datagram(struct frame_load *load, struct slice frame, uint64_t now)
{
    const uint8_t *ip = frame.data + ETHERNET_HEADER_BYTES;
    const uint8_t *udp = ip + IPV4_HEADER_BYTES, *payload = udp + UDP_HEADER_BYTES;
    if (ip[9] != IPPROTO_UDP || bytes_read_be16(udp + 2) != LOCAL_PORT) {
        return;
    }
    load->counts.frames++;
    load->counts.bytes += frame.size;
    bool first = load->echo_bytes > 0 || bytes_read_be16(payload + 2) == 0;
    if (!first) {
        return; /* a reply of many datagrams is one reply */
    }
    load->counts.replies++;
    load->in_flight -= load->in_flight > 0;
    load->last_reply = now;
    if (load->echo_bytes == 0) {
        count_reply(load, payload);
    }
    if (load->options.rate > 0 && load->recording) {
        uint16_t id = load->echo_bytes > 0 ? bytes_read_be16(ip + 4) : bytes_read_be16(payload);
        count_latency(load, id, now);
    }
}

static void take_frame(struct frame_load *load, const struct rte_mbuf *packet, uint64_t now)
{
    struct slice frame = slice_of(rte_pktmbuf_mtod(packet, const uint8_t *), packet->data_len);
    if (frame.size < ETHERNET_HEADER_BYTES) {
        return;
    }
    uint16_t type = bytes_read_be16(frame.data + 12);
    if (type == RTE_ETHER_TYPE_ARP) {
        take_arp(load, frame);
    } else if (type == RTE_ETHER_TYPE_IPV4 && frame.size >= REPLY_BYTES_MIN) {
        take_datagram(load, frame, now);
    }
}

static void receive(struct frame_load *load)
{
    struct rte_mbuf *packets[BURST];
    uint16_t count = port_receive_burst(&load->port, 0, packets, BURST);
    if (count == 0) {
        return;
    }
    uint64_t now = rte_rdtsc();
    for (uint16_t i = 0; i < count; i++) {
        rte_prefetch0(rte_pktmbuf_mtod(packets[i], void *));
    }
    for (uint16_t i = 0; i < count; i++) {
        take_frame(load, packets[i], now);
    }
    rte_pktmbuf_free_bulk(packets, count);
}

/* ---- frames out ------------------------------------------------------------------------------ */

static void fill(struct frame_load *load, struct rte_mbuf *packet)
{
    const uint8_t *slot = template_at(load, load->next_template);
    uint16_t size;
    memcpy(&size, slot, sizeof(size));
    memcpy(rte_pktmbuf_mtod(packet, void *), slot + TEMPLATE_SIZE_OF, size);
    packet->data_len = size;
    packet->pkt_len = size;
    load->next_template =
        load->next_template + 1 == load->template_count ? 0 : load->next_template + 1;
}

static void send_burst(struct frame_load *load, uint32_t count)
{
    struct rte_mbuf *packets[BURST];
    if (count == 0 || rte_pktmbuf_alloc_bulk(load->pool, packets, count) != 0) {
        return;
    }
    for (uint32_t i = 0; i < count; i++) {
        fill(load, packets[i]);
    }
    uint16_t left = port_transmit_burst(&load->port, 0, packets, (uint16_t)count);
    load->counts.not_accepted += left;
    load->counts.sent += count - left;
    load->in_flight += count - left;
}

/* Of the open loop: how many are due now and fit; their intended times are noted. */
static uint32_t take_due(struct frame_load *load, uint32_t room, uint64_t now)
{
    uint32_t due = 0;
    while (due < room && schedule_next_ns(&load->schedule) <= now) {
        uint32_t id = (load->next_template + due) % load->template_count % IDS;
        load->intended[id] = schedule_next_ns(&load->schedule);
        schedule_advance(&load->schedule);
        due++;
    }
    return due;
}

static void send_some(struct frame_load *load, uint64_t now)
{
    uint32_t room = load->options.pipeline - RTE_MIN(load->in_flight, load->options.pipeline);
    room = RTE_MIN(room, BURST);
    send_burst(load, load->options.rate > 0 ? take_due(load, room, now) : room);
}

static void give_up_lost(struct frame_load *load, uint64_t now)
{
    if (load->in_flight > 0 && now - load->last_reply > load->hz / 1000 * LOST_AFTER_MS) {
        load->counts.lost += load->in_flight;
        load->in_flight = 0;
        load->last_reply = now;
    }
}

/* ---- phases ---------------------------------------------------------------------------------- */

static double run_phase(struct frame_load *load, double seconds)
{
    uint64_t start = rte_rdtsc(), now = start;
    uint64_t end = start + (uint64_t)(seconds * (double)load->hz);
    load->counts = (struct counts){0};
    load->last_reply = start;
    if (load->options.rate > 0) {
        schedule_init(&load->schedule, start, load->options.rate * 1e9 / (double)load->hz,
                      load->options.poisson, load->options.seed);
    }
    while (now < end && interrupted == 0) {
        receive(load);
        send_some(load, now);
        now = rte_rdtsc();
        give_up_lost(load, now);
    }
    return (double)(now - start) / (double)load->hz;
}

/* What is still under way comes in. */
static void drain(struct frame_load *load)
{
    uint64_t end = rte_rdtsc() + load->hz / 1000 * LOST_AFTER_MS;
    while (load->in_flight > 0 && rte_rdtsc() < end) {
        receive(load);
    }
}

static void ask_for_peer(struct frame_load *load)
{
    static const struct rte_ether_addr everybody = {{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}};
    struct arp_message request = {
        .operation = ARP_REQUEST,
        .sender_mac = load->port.mac,
        .sender = own_address(load),
        .target = peer_address(load),
    };
    send_arp(load, &everybody, &request);
}

static bool find_peer(struct frame_load *load)
{
    if (load->echo_bytes > 0) {
        /* An echo does not mind whom a frame was for. */
        load->peer_mac = (struct rte_ether_addr){{2, 0, 0, 0, 0, 1}};
        return true;
    }
    for (uint32_t waited_ms = 0; !load->peer_known && waited_ms < WAIT_MS && interrupted == 0;) {
        if (waited_ms % 100 == 0) {
            ask_for_peer(load);
        }
        rte_delay_us_sleep(1000);
        waited_ms++;
        receive(load);
    }
    return load->peer_known || fail("the server does not answer ARP");
}

/* ---- setup ----------------------------------------------------------------------------------- */

static bool pin(const struct options *options)
{
    cpu_set_t cpus;
    if (options->cpu < 0) {
        return true;
    }
    CPU_ZERO(&cpus);
    CPU_SET((size_t)options->cpu, &cpus);
    return sched_setaffinity(0, sizeof(cpus), &cpus) == 0 ||
           fail("--cpu: this process may not run there");
}

static bool open_port(struct frame_load *load)
{
    struct config_error error = {.text = "no memory for packets"};
    struct eal_options options = {
        .hugepages = load->options.hugepages,
        .with_pci = load->options.interface.driver == INTERFACE_PCI,
        .memory_bytes = port_packet_pool_bytes(1, 1, 0) + (UINT64_C(32) << 20),
    };
    if (eal_setup(&options, &error) < 0) {
        return fail(error.text);
    }
    load->pool = port_create_packet_pool(1, 1, 0);
    if (load->pool == NULL ||
        port_setup(&load->port, &load->options.interface, 1, NULL, load->pool, &error) < 0) {
        return fail(error.text);
    }
    struct rte_eth_link link = {0};
    for (uint32_t waited_ms = 0; waited_ms < WAIT_MS && interrupted == 0; waited_ms++) {
        if (rte_eth_link_get_nowait(load->port.dpdk_port, &link) != 0 ||
            link.link_status == RTE_ETH_LINK_UP) {
            return true;
        }
        rte_delay_us_sleep(1000);
    }
    return fail("the other side of the link does not come up");
}

static bool setup_workload(struct frame_load *load)
{
    const struct options *options = &load->options;
    load->workload = (struct workload){
        .protocol = REPLY_MEMCACHE,
        .key_count = options->key_count,
        .key_sizes = options->key_sizes,
        .value_sizes = options->value_sizes,
        .theta = options->theta,
        .keys_a_get = 1,
    };
    memcpy(load->workload.weights, options->tests[0].weights, sizeof(load->workload.weights));
    return workload_init(&load->workload, options->seed) || fail("out of memory");
}

static bool parse_echo(struct frame_load *load, const char *text)
{
    char *end;
    unsigned long bytes = strtoul(text, &end, 10);
    load->echo_bytes = (uint32_t)bytes;
    return (*end == '\0' && bytes >= REPLY_BYTES_MIN && bytes <= FRAME_BYTES_MAX) ||
           fail("--echo takes the bytes of a frame, 51 to 1514");
}

static bool parse(struct frame_load *load, int count, char **arguments)
{
    static char datagrams[] = "-u";
    char *words[ARGUMENTS_MAX + 2];
    int word_count = 0;
    for (int i = 0; i < count && word_count < ARGUMENTS_MAX; i++) {
        if (strcmp(arguments[i], "--echo") != 0) {
            words[word_count++] = arguments[i];
        } else if (++i == count || !parse_echo(load, arguments[i])) {
            return false;
        }
    }
    words[word_count++] = datagrams;
    words[word_count] = NULL;
    if (options_parse(&load->options, word_count, words) != OPTIONS_RUN) {
        return false;
    }
    if (!load->options.has_interface || !address_is_ipv4(&load->options.peer.address)) {
        return fail("--interface and an IPv4 address of the server (-h) are needed");
    }
    return load->options.duration_s > 0 || fail("--duration is needed");
}

/* ---- report ---------------------------------------------------------------------------------- */

static void print_latency(const struct histogram *latency)
{
    static const struct {
        const char *name;
        double quantile;
    } rows[] = {{"p50", 0.5}, {"p90", 0.9}, {"p99", 0.99}, {"p99.9", 0.999}, {"max", 1}};
    printf("\"latency_us\": {\"count\": %" PRIu64, latency->count);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        printf(", \"%s\": %.2f", rows[i].name,
               (double)histogram_quantile(latency, rows[i].quantile) / 1e3);
    }
    printf("}");
}

static void print(const struct frame_load *load, double seconds)
{
    const struct counts *counts = &load->counts;
    printf("{\"seconds_elapsed\": %.6f, \"replies_per_second\": %.1f, \"frame_bytes_sent\": %u, "
           "\"sent\": %" PRIu64 ", \"replies\": %" PRIu64 ", \"frames\": %" PRIu64
           ", \"bytes\": %" PRIu64 ",\n \"hits\": %" PRIu64 ", \"stored\": %" PRIu64
           ", \"errors\": %" PRIu64 ", \"lost\": %" PRIu64 ", \"not_accepted\": %" PRIu64 ",\n ",
           seconds, (double)counts->replies / seconds, *(const uint16_t *)load->templates,
           counts->sent, counts->replies, counts->frames, counts->bytes, counts->hits,
           counts->stored, counts->errors, counts->lost, counts->not_accepted);
    print_latency(&load->latency);
    puts("}");
}

static bool run(struct frame_load *load)
{
    load->hz = rte_get_tsc_hz();
    histogram_init(&load->latency);
    if (!find_peer(load) || !compose_templates(load)) {
        return false;
    }
    if (load->options.warmup_s > 0) {
        (void)run_phase(load, load->options.warmup_s);
    }
    load->recording = true;
    double seconds = run_phase(load, load->options.duration_s);
    print(load, seconds);
    drain(load);
    return load->counts.replies > 0 || fail("no reply at all");
}

static void teardown(struct frame_load *load, bool port_is_up)
{
    if (port_is_up) {
        port_teardown(&load->port);
    }
    rte_mempool_free(load->pool);
    eal_teardown();
    workload_deinit(&load->workload);
    free(load->templates);
}

int main(int count, char **arguments)
{
    static struct frame_load load;
    signal(SIGINT, on_signal);
    signal(SIGTERM, on_signal);
    if (!parse(&load, count, arguments)) {
        return 2;
    }
    if (!pin(&load.options) || !setup_workload(&load)) {
        return 1;
    }
    bool opened = open_port(&load);
    bool right = opened && run(&load);
    teardown(&load, opened);
    return right ? 0 : 1;
}
