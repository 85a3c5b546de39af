/* What of the ports needs no device: addresses, unfinished checksums, EAL's start and end, and a
 * whole port on files (pcap). The rest is in tests/packet/ports_test.py. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <rte_ip.h>

#include "drivers/port_internal.h"

/* ---- the host's side of a tap ---------------------------------------------------------------- */

static void expect_host(const char *ours, uint8_t prefix_length, const char *expected)
{
    struct address address, host;
    char text[ADDRESS_TEXT_BYTES_MAX] = "none";
    assert_true(address_parse(slice_of_string(ours), &address));
    if (port_tap_host_address(&address, prefix_length, &host)) {
        address_format(&host, text);
    }
    assert_string_equal(text, expected);
}

static void test_host_address(void **state)
{
    (void)state;
    expect_host("198.18.0.2", 24, "198.18.0.1");
    expect_host("198.18.0.1", 24, "198.18.0.2");
    expect_host("198.18.5.77", 15, "198.18.0.1");
    expect_host("198.18.0.6", 30, "198.18.0.5");
    expect_host("198.18.0.5", 30, "198.18.0.6");
    expect_host("198.18.0.4", 31, "198.18.0.5");
    expect_host("198.18.0.5", 31, "198.18.0.4");
    expect_host("198.18.0.4", 32, "none");
    expect_host("198.18.0.4", 0, "none");
    expect_host("2001:db8::2", 64, "2001:db8::1");
    expect_host("2001:db8::1", 64, "2001:db8::2");
    expect_host("2001:db8::5", 126, "2001:db8::6");
    expect_host("2001:db8::4", 127, "2001:db8::5");
    expect_host("2001:db8::5", 127, "2001:db8::4");
    expect_host("2001:db8::5", 128, "none");
}

/* ---- unfinished checksums -------------------------------------------------------------------- */

struct frame {
    uint8_t bytes[256];
    size_t length, ip, l4, checksum;
    uint8_t protocol;
};

static void compose_frame(struct frame *frame, bool ipv6, bool vlan, uint8_t protocol,
                          size_t payload)
{
    *frame = (struct frame){.ip = vlan ? 18 : 14, .protocol = protocol};
    if (vlan) {
        bytes_write_be16(frame->bytes + 12, RTE_ETHER_TYPE_VLAN);
    }
    bytes_write_be16(frame->bytes + frame->ip - 2,
                     ipv6 ? RTE_ETHER_TYPE_IPV6 : RTE_ETHER_TYPE_IPV4);
    size_t l4_size = (protocol == IPPROTO_TCP ? 20 : 8) + payload;
    uint8_t *ip = frame->bytes + frame->ip;
    if (ipv6) {
        ip[0] = 0x60;
        bytes_write_be16(ip + 4, (uint16_t)l4_size);
        ip[6] = protocol;
        memset(ip + 8, 0xfd, 16);
        memset(ip + 24, 0x21, 16);
        frame->l4 = frame->ip + 40;
    } else {
        ip[0] = 0x45;
        bytes_write_be16(ip + 2, (uint16_t)(20 + l4_size));
        ip[9] = protocol;
        bytes_write_be32(ip + 12, 0xc6120001);
        bytes_write_be32(ip + 16, 0xc6120002);
        frame->l4 = frame->ip + 20;
    }
    frame->length = frame->l4 + l4_size;
    frame->checksum = frame->l4 + (protocol == IPPROTO_TCP ? 16 : 6);
    memset(frame->bytes + frame->length - payload, 0x5a, payload);
}

/* As the kernel leaves it: DPDK's own function computes what a NIC starts from. */
static void leave_unfinished(struct frame *frame, bool ipv6)
{
    uint16_t sum = ipv6 ? rte_ipv6_phdr_cksum((const void *)(frame->bytes + frame->ip), 0)
                        : rte_ipv4_phdr_cksum((const void *)(frame->bytes + frame->ip), 0);
    memcpy(frame->bytes + frame->checksum, &sum, sizeof(sum));
}

static void test_unfinished_checksum(void **state)
{
    (void)state;
    for (int variant = 0; variant < 8; variant++) {
        bool ipv6 = variant & 1, vlan = variant & 2, tcp = variant & 4;
        struct frame frame;
        compose_frame(&frame, ipv6, vlan, tcp ? IPPROTO_TCP : IPPROTO_UDP, 33);
        leave_unfinished(&frame, ipv6);
        assert_true(port_checksum_is_unfinished(frame.bytes, frame.length));
        /* The link pads short frames; what counts is the IP length. */
        assert_true(port_checksum_is_unfinished(frame.bytes, frame.length + 5));
        frame.bytes[frame.checksum] ^= 0x40;
        assert_false(port_checksum_is_unfinished(frame.bytes, frame.length));
    }
}

static void test_finished_checksum_is_left_alone(void **state)
{
    (void)state;
    struct frame frame;
    compose_frame(&frame, false, false, IPPROTO_UDP, 33);
    uint16_t sum =
        rte_ipv4_udptcp_cksum((const void *)(frame.bytes + frame.ip), frame.bytes + frame.l4);
    memcpy(frame.bytes + frame.checksum, &sum, sizeof(sum));
    assert_false(port_checksum_is_unfinished(frame.bytes, frame.length));
    /* A fragment's first bytes are no whole datagram, and other protocols have no such field. */
    compose_frame(&frame, false, false, IPPROTO_UDP, 33);
    leave_unfinished(&frame, false);
    frame.bytes[frame.ip + 6] = 0x20;
    assert_false(port_checksum_is_unfinished(frame.bytes, frame.length));
    frame.bytes[frame.ip + 6] = 0;
    assert_true(port_checksum_is_unfinished(frame.bytes, frame.length));
    frame.bytes[frame.ip + 9] = IPPROTO_ICMP;
    assert_false(port_checksum_is_unfinished(frame.bytes, frame.length));
}

/* Every length that a frame can be cut to, and every value of its length fields: in exact
 * allocations, so that the address sanitizer sees a read too far. */
static void test_cut_frames(void **state)
{
    (void)state;
    for (int variant = 0; variant < 8; variant++) {
        struct frame frame;
        compose_frame(&frame, variant & 1, variant & 2, variant & 4 ? IPPROTO_TCP : IPPROTO_UDP, 9);
        leave_unfinished(&frame, variant & 1);
        for (size_t length = 0; length <= frame.length; length++) {
            uint8_t *cut = malloc(length + 1);
            memcpy(cut, frame.bytes, length);
            uint8_t *exact = realloc(cut, length > 0 ? length : 1);
            (void)port_checksum_is_unfinished(exact, length);
            for (int byte = 0; length > frame.ip + 4 && byte < 256; byte++) {
                exact[frame.ip + (variant & 1 ? 4 : 0)] = (uint8_t)byte;
                (void)port_checksum_is_unfinished(exact, length);
            }
            free(exact);
        }
    }
}

/* ---- EAL and a port -------------------------------------------------------------------------- */

static void refuse_impossible_hugepages(void)
{
    struct config_error error;
    struct eal_options options = {.hugepages = HUGEPAGES_YES, .memory_bytes = UINT64_C(1) << 50};
    assert_true(eal_setup(&options, &error) < 0);
    assert_non_null(strstr(error.text, "hugepages yes"));
}

static void write_capture(const char *path, uint32_t frames)
{
    static const uint32_t header[6] = {0xa1b2c3d4, 0x00040002, 0, 0, 65535, 1};
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fwrite(header, sizeof(header), 1, file);
    for (uint32_t i = 0; i < frames; i++) {
        uint8_t frame[64] = {[12] = 0x88, [13] = 0xb5, [20] = (uint8_t)i};
        uint32_t record[4] = {0, 0, sizeof(frame), sizeof(frame)};
        fwrite(record, sizeof(record), 1, file);
        fwrite(frame, sizeof(frame), 1, file);
    }
    fclose(file);
}

static long file_size(const char *path)
{
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    fseek(file, 0, SEEK_END);
    long size = ftell(file);
    fclose(file);
    return size;
}

/* Each frame goes out as two segments. */
static uint32_t reflect_all(struct port *port, struct rte_mempool *pool)
{
    uint32_t total = 0;
    for (int i = 0; i < 20; i++) {
        struct rte_mbuf *packets[64];
        uint16_t count = port_receive_burst(port, 0, packets, 64);
        for (uint16_t k = 0; k < count; k++) {
            struct rte_mbuf *tail = rte_pktmbuf_alloc(pool);
            assert_non_null(tail);
            assert_non_null(rte_pktmbuf_append(tail, 10));
            assert_int_equal(rte_pktmbuf_chain(packets[k], tail), 0);
        }
        assert_int_equal(port_transmit_burst(port, 0, packets, count), 0);
        total += count;
    }
    return total;
}

static void run_pcap_port(struct rte_mempool *pool, const char *in, const char *out, bool flatten)
{
    struct config_error error = {""};
    struct port port;
    struct interface_config config = {.name = "p0", .driver = INTERFACE_PCAP};
    snprintf(config.argument, sizeof(config.argument), "%s,%s", in, out);
    assert_int_equal(port_setup(&port, &config, 4, NULL, pool, &error), 0);
    assert_int_equal(port.capabilities.queue_count, 1);
    assert_int_equal(port.rx_fd, -1);
    assert_true(port.config.mtu >= 1500);
    if (flatten) {
        port.capabilities.tx_multi_segment = false;
    }
    assert_int_equal(reflect_all(&port, pool), 300);
    port_teardown(&port);
    port_teardown(&port); /* harmless */
    assert_int_equal(file_size(out), 24 + 300 * (16 + 74));
}

static void test_eal_and_pcap_port(void **state)
{
    (void)state;
    char in[64], out[64];
    snprintf(in, sizeof(in), "/tmp/nicached-test-%d-in.pcap", (int)getpid());
    snprintf(out, sizeof(out), "/tmp/nicached-test-%d-out.pcap", (int)getpid());
    write_capture(in, 300);
    refuse_impossible_hugepages();
    cpu_set_t before, after;
    sched_getaffinity(0, sizeof(before), &before);
    struct config_error error = {""};
    struct eal_options options = {.hugepages = HUGEPAGES_AUTO,
                                  .memory_bytes = port_packet_pool_bytes(4, 2, 0)};
    assert_int_equal(eal_setup(&options, &error), 0);
    sched_getaffinity(0, sizeof(after), &after);
    assert_true(CPU_EQUAL(&before, &after));
    struct rte_mempool *pool = port_create_packet_pool(4, 2, 0);
    assert_non_null(pool); /* it fits into what it said it needs */
    run_pcap_port(pool, in, out, false);
    run_pcap_port(pool, in, out, true);
    struct port port;
    struct interface_config config = {.name = "x0", .driver = INTERFACE_SOCKET};
    assert_true(port_setup(&port, &config, 1, NULL, pool, &error) < 0);
    assert_non_null(strstr(error.text, "'x0'"));
    assert_int_equal(rte_mempool_avail_count(pool), pool->size);
    rte_mempool_free(pool);
    eal_teardown();
    assert_int_equal(access("/var/run/dpdk/nicached/config", F_OK), -1);
    unlink(in);
    unlink(out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_host_address),
        cmocka_unit_test(test_unfinished_checksum),
        cmocka_unit_test(test_finished_checksum_is_left_alone),
        cmocka_unit_test(test_cut_frames),
        cmocka_unit_test(test_eal_and_pcap_port),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
