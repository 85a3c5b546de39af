/* The network stack instance of one worker: interfaces, neighbours, fragments, and what goes out.
 *
 * No globals, no clock, no system call: a function of (packets, time). Two instances can be
 * joined by a simulated link inside one test process.
 *
 *   frames --> net_input_batch ------------------------------> udp_input_batch --> datagrams
 *                 | what is not ordinary            ^          tcp_input_batch --> stream events
 *                 v                                 |
 *              link_input_frame --> ip_input_packet
 *                 | ARP answered       | ICMP and ND answered
 *
 *   tcp_output / udp_reply --> ip_output --> link_output --> interface's transmit array
 *                                                           (the loop flushes it to the port)
 */
#ifndef NICACHED_L3_IP_NET_H
#define NICACHED_L3_IP_NET_H

#include "dataplane/l2_link/link.h"

struct net;

struct net_options {
    struct rte_mempool *pool;
    struct metrics *metrics;
    uint64_t seed; /* for IP IDs, neighbour hash, jitter: random in production */
};

struct net *net_create(const struct net_options *options);
void net_destroy(struct net *net);
/* Adds an interface and announces it (gratuitous ARP and advertisements go to its tx array). With
 * an IPv6 address comes a link-local one, made of the MAC (RFC 4291), if the description has none.
 */
struct net_interface *net_add_interface(struct net *net, const struct net_interface *description,
                                        const struct instant *now);
/* One more VLAN of `below`'s port, with addresses of its own. */
struct net_interface *net_add_vlan(struct net *net, struct net_interface *below,
                                   const struct net_interface *description,
                                   const struct instant *now);
/* What net_add_interface derives from a description: its derived fields, the link-local address. */
void net_complete_interface(struct net_interface *interface);
struct net_interface *net_interface_at(struct net *net, uint32_t index); /* NULL beyond the end */

/* A received IP datagram, validated, reassembled; mbuf's data starts at the L4 header and its
 * length is the L4 length (link padding cut off). */
struct ip_datagram {
    struct rte_mbuf *mbuf;
    struct net_interface *interface;
    struct address source, destination;
    struct rte_ether_addr source_mac;
    bool reassembled; /* from fragments, which came in by their addresses alone */
    uint8_t protocol; /* IPPROTO_TCP, IPPROTO_UDP; others are answered or dropped below */
};

/* Takes over `count` frames from one interface. Answers ARP, strips Ethernet and VLAN, validates
 * IPv4 and IPv6, reassembles fragments, answers ICMP echo and neighbour discovery, drops and counts
 * the rest. Fills `datagrams` (room for `count` at least); returns how many. */
uint32_t net_input_batch(struct net *net, struct net_interface *interface, struct rte_mbuf **frames,
                         uint32_t count, const struct instant *now, struct ip_datagram *datagrams);

/* Timers of l2 / l3: requests to neighbours, neighbour ageing, fragment timeouts. Returns the next
 * due time (mono_us) or UINT64_MAX. */
uint64_t net_run_timers(struct net *net, const struct instant *now);

/* ---- output, for l4 -------------------------------------------------------------------------- */

/* A packet buffer with room for all headers in front; NULL when the pool is dry (counted). */
struct rte_mbuf *net_allocate(struct net *net);
/* The same from the small pool of buffers that hold 65 KB: for what will be fragmented. */
struct rte_mbuf *net_allocate_large(struct net *net);

/* Sends `mbuf`, whose data starts at the L4 header, from an address of the interface. L4 checksum
 * field must hold the pseudo-header sum if the interface has the offload for it, else the full
 * checksum. Next hop by neighbour table or gateway; unresolved: one packet waits per neighbour.
 * Takes over the mbuf. `tos` 0 unless there is reason. DF set, TTL 64. */
void ip_output(struct net *net, struct net_interface *interface, const struct address *source,
               const struct address *destination, uint8_t protocol, struct rte_mbuf *mbuf,
               const struct instant *now);

/* The same, answering straight to the station a request came from: no neighbour look-up. */
void ip_output_to_station(struct net *net, struct net_interface *interface,
                          const struct address *source, const struct address *destination,
                          uint8_t protocol, const struct rte_ether_addr *station,
                          struct rte_mbuf *mbuf);

/* Which interface owns this destination address as its own; NULL if none. */
struct net_interface *net_interface_of(struct net *net, const struct address *address);
/* Which interface leads to a remote address (active open), and by which address of ours
 * (`source`); NULL when there is no route. */
struct net_interface *net_route(struct net *net, const struct address *destination,
                                struct address *source);

/* What IP puts in front of a packet to or from this address. */
uint32_t net_header_bytes(const struct address *address);

/* ICMP "nobody listens at this port" about a received datagram; rate-limited. */
void icmp_send_port_unreachable(struct net *net, const struct ip_datagram *about,
                                const struct instant *now);

/* ICMP errors that arrived and quote one of our packets: l4 takes them after each input batch. Both
 * families say the same things by other numbers. */
enum icmp_notice_kind {
    ICMP_NOTICE_PACKET_TOO_BIG,
    ICMP_NOTICE_NOBODY_THERE, /* no such port, or no such protocol */
    ICMP_NOTICE_OTHER,
};

struct icmp_notice {
    enum icmp_notice_kind kind;
    uint16_t mtu; /* packet too big: what passes */
    uint8_t protocol;
    struct endpoint local, peer; /* of the quoted packet: local is its source */
    uint32_t sequence;           /* TCP: quoted SEQ */
};
bool net_has_icmp_notices(const struct net *net);
uint32_t net_take_icmp_notices(struct net *net, struct icmp_notice *notices, uint32_t count_max);

#endif
