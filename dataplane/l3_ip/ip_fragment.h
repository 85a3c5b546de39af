/* Reassembly of fragments of both families.
 *
 * A fragment is copied to its final place in a large buffer as it arrives, and its own buffer is
 * free again at once; a bitmap of 8-byte blocks knows what is there. So what is complete is
 * contiguous, a flood of tiny fragments pins no packet buffers, and an overlap is seen before a
 * byte is changed.
 *
 *   slot:  key | bitmap of 8192 blocks | large mbuf: [IP header to be | payload ...........]
 *
 * Bounds (T32): FRAGMENT_SLOTS datagrams under way, FRAGMENT_SLOTS_PER_SOURCE for one source, 65535
 * bytes each, FRAGMENT_TIMEOUT_US from the first fragment; when all slots are taken the oldest
 * goes. A datagram in which two fragments contradict each other is dropped whole, and its slot
 * refuses the rest of its fragments until the timeout (RFC 5722); an exact repetition is ignored.
 * The table is searched linearly: 32 keys, no hash that could be attacked.
 *
 * DPDK's rte_ip_frag does the sending side (ip_output.c). It does not serve here: 22.11 takes 8
 * fragments per datagram at most (a compile-time constant of the distribution), hashes without a
 * secret, does not see overlaps, and holds every fragment's packet buffer until the end.
 */
#ifndef NICACHED_L3_IP_IP_FRAGMENT_H
#define NICACHED_L3_IP_IP_FRAGMENT_H

#include <rte_mbuf.h>

#include "dataplane/base/address.h"
#include "dataplane/base/clock.h"

#define FRAGMENT_SLOTS            32U
#define FRAGMENT_SLOTS_PER_SOURCE 8U
#define FRAGMENT_TIMEOUT_US       30000000ULL
#define FRAGMENT_BLOCK_BYTES      8U
#define FRAGMENT_BLOCKS           8192U

struct fragment_key {
    struct address source, destination;
    uint32_t interface;
    uint32_t identification;
    uint8_t protocol; /* 0 with IPv6: there it is no part of the key (RFC 8200 4.5) */
};

/* What a fragment's headers say of it. */
struct fragment_part {
    struct fragment_key key;
    uint32_t offset; /* bytes */
    bool last;
    uint8_t protocol;      /* of what it is a part; the first fragment's counts */
    uint32_t first_bytes;  /* what the first fragment must hold */
    uint32_t header_bytes; /* room that the caller needs in front of the whole */
};

/* RFC 1858: of an upper layer, the first fragment must show ports and, for TCP, the flags. */
uint32_t fragment_first_bytes(uint8_t protocol);

struct fragment_slot {
    struct fragment_key key;
    uint64_t started_us;
    struct rte_mbuf *large; /* NULL: the slot is free */
    uint32_t received_bytes;
    uint32_t payload_bytes; /* 0 until the last fragment came */
    uint32_t reach_bytes;   /* end of the fragment that reaches furthest */
    uint8_t protocol;       /* as the first fragment says */
    bool contradicted;      /* dropped; refuses what still comes */
    uint64_t present[FRAGMENT_BLOCKS / 64];
};

struct fragment_table {
    uint32_t used_count;
    uint64_t due_us; /* not later than the first timeout; UINT64_MAX when empty */
    struct fragment_slot slots[FRAGMENT_SLOTS];
};

struct net;
struct ip_datagram;

void fragment_table_init(struct fragment_table *table);
void fragment_table_deinit(struct fragment_table *table);

/* Takes over datagram->mbuf, a validated fragment whose data is its payload. True when that
 * completed the datagram: then datagram->mbuf holds all of it, with room for the header, l3_len,
 * which the caller writes; datagram->protocol is the first fragment's. */
bool fragment_accept(struct net *net, struct ip_datagram *datagram,
                     const struct fragment_part *part, const struct instant *now);

uint64_t fragment_run_timers(struct net *net, const struct instant *now);

#endif
