/* Frames for tests: one-line constructors, and a checker for what comes out.
 *
 * Written without any of the code under test: lengths and checksums are computed byte by byte, so
 * that both sides cannot be wrong in the same way. A test takes a valid frame and spoils one field.
 */
#ifndef NICACHED_TESTS_SUPPORT_PACKET_BUILDER_H
#define NICACHED_TESTS_SUPPORT_PACKET_BUILDER_H

#include <rte_mbuf.h>

#include "dataplane/base/bytes.h"

#define FRAME_BYTES_MAX 10240U

/* Offsets in an untagged frame without IP options. */
enum {
    AT_ETHERNET = 0, /* destination, then source at 6 */
    AT_TYPE = 12,
    AT_ARP = 14,
    AT_IP = 14,
    AT_IP_TOTAL = AT_IP + 2,
    AT_IP_FRAGMENT = AT_IP + 6,
    AT_IP_TTL = AT_IP + 8,
    AT_IP_PROTOCOL = AT_IP + 9,
    AT_IP_CHECKSUM = AT_IP + 10,
    AT_IP_SOURCE = AT_IP + 12,
    AT_IP_DESTINATION = AT_IP + 16,
    AT_L4 = AT_IP + 20,
};

struct frame {
    size_t size;
    uint8_t bytes[FRAME_BYTES_MAX];
};

/* One end of a conversation. */
struct station {
    uint8_t mac[6];
    uint32_t ipv4; /* host order */
    uint16_t port;
};

struct ipv4_fields {
    uint8_t protocol, ttl; /* ttl 0: 64 */
    uint16_t identification;
    uint16_t fragment;    /* flags and offset in units of 8 bytes */
    struct slice options; /* a multiple of 4 bytes */
};

struct tcp_fields {
    uint32_t sequence, acknowledgment;
    uint8_t flags;
    uint16_t window;
    struct slice options; /* a multiple of 4 bytes */
};

#define IPV4(a, b, c, d) ((uint32_t)(a) << 24 | (uint32_t)(b) << 16 | (uint32_t)(c) << 8 | (d))

void frame_ethernet(struct frame *frame, const struct station *from, const struct station *to,
                    uint16_t type, struct slice payload);
/* operation 1: a request, sent to everybody; 2: a reply, sent to `to`. */
void frame_arp(struct frame *frame, uint16_t operation, const struct station *from,
               const struct station *to);
void frame_ipv4(struct frame *frame, const struct station *from, const struct station *to,
                const struct ipv4_fields *fields, struct slice payload);
void frame_udp(struct frame *frame, const struct station *from, const struct station *to,
               struct slice payload);
void frame_tcp(struct frame *frame, const struct station *from, const struct station *to,
               const struct tcp_fields *fields, struct slice payload);
void frame_icmp(struct frame *frame, const struct station *from, const struct station *to,
                uint8_t type, uint8_t code, uint32_t rest, struct slice payload);
/* 802.1Q tag in front of the type. */
void frame_add_tag(struct frame *frame, uint16_t tag_control);
/* Puts the right IP header checksum into an untagged frame that was changed. */
void frame_seal_ipv4(struct frame *frame);

/* An L4 datagram with its checksum, for cutting into fragments; returns its size. */
size_t udp_datagram_compose(uint8_t *to, const struct station *from,
                            const struct station *destination, struct slice payload);

/* NULL without room in the pool. `segment_bytes` 0: one segment. */
struct rte_mbuf *frame_to_mbuf(const struct frame *frame, struct rte_mempool *pool,
                               size_t segment_bytes);
void frame_from_mbuf(struct frame *frame, const struct rte_mbuf *mbuf);

/* NULL when every length and checksum of an untagged or tagged ARP or IPv4 frame is right
 * (fragments: the IP header only), else what is wrong. */
const char *frame_fault(const struct frame *frame);

/* RFC 1071, the slow way; the value of the checksum field, host order. */
uint16_t naive_checksum(const uint8_t *data, size_t size, uint32_t sum);

#endif
