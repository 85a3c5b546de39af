/* UDP of one worker: validated datagrams in, replies out in the packet they came in. */
#ifndef NICACHED_L4_TRANSPORT_UDP_H
#define NICACHED_L4_TRANSPORT_UDP_H

#include "dataplane/access/access.h"
#include "dataplane/base/byte_queue.h"
#include "dataplane/l3_ip/net.h"

struct udp;

struct udp_datagram {
    struct slice payload; /* inside mbuf, contiguous */
    struct endpoint source, local;
    uint32_t listener;
    struct ip_datagram ip;  /* holds the mbuf */
    struct byte_chunk room; /* udp_lend_packet */
};

struct udp *udp_create(struct net *net, struct metrics *metrics);
void udp_destroy(struct udp *udp);
/* Who may send to us; without it everybody. Borrowed. */
void udp_set_access(struct udp *udp, const struct access *access);
/* Any local address; a port without a listener gets ICMP port unreachable. 0 or -EADDRINUSE. */
int udp_listen(struct udp *udp, uint16_t port, uint32_t listener);
/* Takes those of `datagrams` that are UDP out of the array (their mbuf becomes NULL), verifies
 * length and checksum; returns how many are in `out` (room for `count`). */
uint32_t udp_input_batch(struct udp *udp, struct ip_datagram *datagrams, uint32_t count,
                         const struct instant *now, struct udp_datagram *out);
/* Largest payload that leaves unfragmented on this interface. */
uint32_t udp_payload_bytes_max(const struct udp_datagram *datagram);
/* Lends `reply`, an empty queue, the room behind the request in its packet, for at most `size_max`
 * bytes that shall have `header_bytes` in front of them. What a reply has there is not copied to
 * be sent. Nothing is lent where the packet is not ours alone, or has no room. */
void udp_lend_packet(struct udp_datagram *datagram, struct byte_queue *reply, uint32_t header_bytes,
                     uint32_t size_max);
/* Sends `header` + `size` bytes of `body` from `offset` on as one datagram back to the source: its
 * first bytes in the request's packet if they lie there (`datagram->ip.mbuf` becomes NULL then, the
 * request's bytes are gone, and those of the body that were lent room stay until the packet is
 * transmitted), otherwise in another. */
void udp_reply(struct udp *udp, struct udp_datagram *datagram, struct slice header,
               const struct byte_queue *body, size_t offset, size_t size);
/* Sends a datagram that answers none, from the address of the interface that leads there. False
 * when there is no route, no packet buffer, or the payload does not fit in one packet (of 2 KB). */
bool udp_send(struct udp *udp, uint16_t local_port, const struct endpoint *peer,
              struct slice payload, const struct instant *now);
/* Frees the mbuf if no reply took it. */
void udp_release(struct udp_datagram *datagram);

#endif
