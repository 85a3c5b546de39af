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
    /* IPv6, without extension headers */
    AT_IPV6_LENGTH = AT_IP + 4,
    AT_IPV6_NEXT = AT_IP + 6,
    AT_IPV6_HOP_LIMIT = AT_IP + 7,
    AT_IPV6_SOURCE = AT_IP + 8,
    AT_IPV6_DESTINATION = AT_IP + 24,
    AT_IPV6_L4 = AT_IP + 40,
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

/* One end of a conversation over IPv6; also a group. */
struct station_ipv6 {
    uint8_t mac[6];
    uint8_t ipv6[16];
    uint16_t port;
};

struct ipv6_fields {
    uint8_t hop_limit;       /* 0: 64 */
    uint8_t first;           /* number of the first extension header */
    struct slice extensions; /* with its last header's "next header" right; empty: none */
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
/* `next`: what the payload is; not read where there are extension headers. */
void frame_ipv6(struct frame *frame, const struct station_ipv6 *from, const struct station_ipv6 *to,
                const struct ipv6_fields *fields, uint8_t next, struct slice payload);
void frame_udp_ipv6(struct frame *frame, const struct station_ipv6 *from,
                    const struct station_ipv6 *to, const struct ipv6_fields *fields,
                    struct slice payload);
void frame_tcp_ipv6(struct frame *frame, const struct station_ipv6 *from,
                    const struct station_ipv6 *to, const struct tcp_fields *tcp,
                    struct slice payload);
void frame_icmpv6(struct frame *frame, const struct station_ipv6 *from,
                  const struct station_ipv6 *to, uint8_t hop_limit, uint8_t type, uint8_t code,
                  uint32_t rest, struct slice payload);
/* A neighbour solicitation (135) or advertisement (136) about `target`; `station` is the MAC in its
 * option, or NULL. Hop limit 255. */
void frame_nd(struct frame *frame, uint8_t type, const struct station_ipv6 *from,
              const struct station_ipv6 *to, const uint8_t target[16], uint32_t flags,
              const uint8_t *station);
/* 802.1Q tag in front of the type. */
void frame_add_tag(struct frame *frame, uint16_t tag_control);
/* Puts the right IP header checksum into an untagged frame that was changed. */
void frame_seal_ipv4(struct frame *frame);

/* An L4 datagram with its checksum, for cutting into fragments; returns its size. */
size_t udp_datagram_compose(uint8_t *to, const struct station *from,
                            const struct station *destination, struct slice payload);

size_t udp_ipv6_compose(uint8_t *to, const struct station_ipv6 *from,
                        const struct station_ipv6 *destination, struct slice payload);

/* NULL without room in the pool. `segment_bytes` 0: one segment. */
struct rte_mbuf *frame_to_mbuf(const struct frame *frame, struct rte_mempool *pool,
                               size_t segment_bytes);
void frame_from_mbuf(struct frame *frame, const struct rte_mbuf *mbuf);

/* NULL when every length and checksum of an untagged or tagged ARP, IPv4 or IPv6 frame is
 * right (fragments: the IP header only), else what is wrong. */
const char *frame_fault(const struct frame *frame);

/* RFC 1071, the slow way; the value of the checksum field, host order. */
uint16_t naive_checksum(const uint8_t *data, size_t size, uint32_t sum);

#endif
