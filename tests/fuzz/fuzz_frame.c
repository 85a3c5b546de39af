/* Fuzz target: frames into link, IP, ICMP, reassembly and UDP, with a reply to what arrives.
 *
 * Input: records of {how, size (2 bytes, big endian), frame}. `how` says what the fuzzer could
 * hardly guess: bit 0 put the right IP checksum in, bit 1 the right ICMP one and none for UDP, bits
 * 2-3 into how many buffers the frame is cut, bits 4-7 how much time passes before. After each
 * input an hour passes and every packet buffer must be back.
 */
#include <netinet/in.h>
#include <stdlib.h>

#include <rte_eal.h>
#include <rte_mempool.h>

#include "dataplane/base/check.h"
#include "dataplane/l4_transport/udp.h"
#include "tests/support/packet_builder.h"

#define POOL_MBUFS  1023U
#define RECORDS_MAX 64U

int LLVMFuzzerInitialize(int *argument_count, char ***arguments);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct rte_mempool *pool;
static struct metrics metrics;
static struct net *net;
static struct udp *udp;
static struct net_interface *interface;
static struct instant now = {.mono_us = 1000000};

int LLVMFuzzerInitialize(int *argument_count, char ***arguments)
{
    (void)argument_count;
    (void)arguments;
    char *eal[] = {(char[]){"fuzz"},
                   (char[]){"--no-huge"},
                   (char[]){"--no-pci"},
                   (char[]){"--no-shconf"},
                   (char[]){"-m"},
                   (char[]){"128"},
                   (char[]){"--no-telemetry"},
                   (char[]){"-l"},
                   (char[]){"0"},
                   (char[]){"--log-level=error"}};
    CHECK(rte_eal_init(sizeof(eal) / sizeof(eal[0]), eal) >= 0);
    pool =
        rte_pktmbuf_pool_create("fuzz", POOL_MBUFS, 0, 0, RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
    struct net_options options = {.pool = pool, .metrics = &metrics, .seed = 1};
    net = net_create(&options);
    udp = udp_create(net, &metrics);
    CHECK(udp != NULL && udp_listen(udp, 11211, 0) == 0);
    static struct net_interface description = {
        .mac = {{2, 0, 0, 0, 0, 2}},
        .addresses = {.at = {{.prefix_length = 24}, {.prefix_length = 64}, {.prefix_length = 16}},
                      .count = 3,
                      .gateway_count = 2},
        .mtu = 1500};
    struct interface_addresses *addresses = &description.addresses;
    addresses->at[0].address = address_from_ipv4(IPV4(198, 18, 0, 2));
    CHECK(address_parse(slice_of_string("fd00::2"), &addresses->at[1].address));
    addresses->at[2].address = address_from_ipv4(IPV4(198, 20, 0, 2));
    addresses->gateways[0] = address_from_ipv4(IPV4(198, 18, 0, 1));
    CHECK(address_parse(slice_of_string("fe80::1"), &addresses->gateways[1]));
    interface = net_add_interface(net, &description, &now);
    return 0;
}

/* ICMPv6 behind the IPv6 header: so neighbour discovery is reached. */
static void repair_ipv6(struct frame *frame, uint8_t how)
{
    uint8_t *ip = frame->bytes + AT_IP, *l4 = ip + 40;
    size_t size = frame->size < AT_IPV6_L4 ? 0 : bytes_read_be16(ip + 4);
    if ((how & 2) == 0 || size < 8 || size > frame->size - AT_IPV6_L4 || ip[6] != IPPROTO_ICMPV6) {
        return;
    }
    uint32_t sum = (uint16_t)~naive_checksum(ip + 8, 32, 0);
    bytes_write_be16(l4 + 2, 0);
    bytes_write_be16(l4 + 2, naive_checksum(l4, size, sum + IPPROTO_ICMPV6 + (uint32_t)size));
}

/* Right checksums for whatever untagged IP frame this is. */
static void repair(struct frame *frame, uint8_t how)
{
    uint8_t *ip = frame->bytes + AT_IP;
    if (frame->size >= AT_L4 && bytes_read_be16(frame->bytes + AT_TYPE) == 0x86dd) {
        repair_ipv6(frame, how);
        return;
    }
    if (frame->size < AT_L4 || bytes_read_be16(frame->bytes + AT_TYPE) != 0x0800) {
        return;
    }
    size_t header_bytes = (size_t)(ip[0] & 15) * 4, total = bytes_read_be16(ip + 2);
    if (header_bytes < 20 || total < header_bytes + 8 || total > frame->size - AT_IP) {
        return;
    }
    uint8_t *l4 = ip + header_bytes;
    if ((how & 2) != 0 && ip[9] == IPPROTO_ICMP) {
        bytes_write_be16(l4 + 2, 0);
        bytes_write_be16(l4 + 2, naive_checksum(l4, total - header_bytes, 0));
    }
    if ((how & 2) != 0 && ip[9] == IPPROTO_UDP) {
        bytes_write_be16(l4 + 6, 0);
    }
    if ((how & 1) != 0) {
        frame_seal_ipv4(frame);
    }
}

static void answer(struct udp_datagram *datagram)
{
    static const uint8_t text[4000] = "answer";
    struct byte_queue body;
    struct byte_pool pages;
    byte_pool_init(&pages, 0);
    byte_queue_init(&body);
    size_t size = datagram->payload.size * 3 < sizeof(text) ? datagram->payload.size * 3 : 6;
    udp_lend_packet(datagram, &body, 8, 1400);
    byte_queue_append(&body, &pages, text, size);
    udp_reply(udp, datagram, slice_of(text, 8), &body, 0, size);
    udp_release(datagram);
    byte_queue_clear(&body, &pages);
    byte_pool_deinit(&pages);
}

static void check_transmitted(void)
{
    for (uint32_t i = 0; i < interface->tx_count; i++) {
        struct frame sent;
        frame_from_mbuf(&sent, interface->tx[i]);
        CHECK(frame_fault(&sent) == NULL);
        rte_pktmbuf_free(interface->tx[i]);
    }
    interface->tx_count = 0;
}

static void feed(const struct frame *frame, size_t segment_bytes)
{
    struct rte_mbuf *mbuf = frame_to_mbuf(frame, pool, segment_bytes);
    struct ip_datagram datagrams[1];
    struct udp_datagram out[1];
    struct icmp_notice notices[4];
    CHECK(mbuf != NULL);
    uint32_t count = net_input_batch(net, interface, &mbuf, 1, &now, datagrams);
    uint32_t udp_count = udp_input_batch(udp, datagrams, count, &now, out);
    CHECK(udp_count <= count && count <= 1);
    if (udp_count == 1) {
        answer(&out[0]);
    } else if (count == 1) {
        rte_pktmbuf_free(datagrams[0].mbuf); /* TCP, or NULL */
    }
    net_take_icmp_notices(net, notices, 4);
    check_transmitted();
}

static void settle(void)
{
    for (uint32_t i = 0; i < 16; i++) {
        now.mono_us += 225000000;
        net_run_timers(net, &now);
        check_transmitted();
    }
    CHECK(rte_mempool_avail_count(pool) == POOL_MBUFS);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice input = slice_of(data, size);
    for (uint32_t i = 0; i < RECORDS_MAX && input.size > 3; i++) {
        uint8_t how = input.data[0];
        size_t frame_bytes = bytes_read_be16(input.data + 1);
        input = slice_from(input, 3);
        frame_bytes = frame_bytes < input.size ? frame_bytes : input.size;
        if (frame_bytes == 0 || frame_bytes > 2000) {
            continue;
        }
        struct frame frame = {.size = frame_bytes};
        memcpy(frame.bytes, input.data, frame_bytes);
        input = slice_from(input, frame_bytes);
        repair(&frame, how);
        now.mono_us += (1ULL << (how >> 4)) * 1000;
        net_run_timers(net, &now);
        feed(&frame, frame_bytes / (1 + (how >> 2 & 3)) + 1);
    }
    settle();
    return 0;
}
