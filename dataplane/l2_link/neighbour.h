/* Neighbours: which MAC an on-link address of either family has, and how sure we are.
 *
 *              packet to send                 answer to our request
 *   (no entry) --------------> INCOMPLETE --------------------------> REACHABLE
 *       |                        | 3 requests unanswered               |     ^
 *       | valid traffic          v                          old, or    |     | answer or traffic
 *       | or a request         (gone)                    contradicted  |     | from the same MAC
 *       | for us                                                       v     |
 *       +---------------------------------> REACHABLE          PROBING_KNOWN (asks the known MAC)
 *                                                                | 3 unanswered
 *                                               (gone) <---- PROBING_ANY (asks everybody; first
 * wins)
 *
 * Invariants:
 *  1. A MAC that is known changes only by an answer to a request that we sent to everybody, after
 * the old station failed to answer for itself. So an unsolicited message changes nothing (T34).
 *  2. The gateways' entries are not in the table: they cannot be evicted.
 *  3. At most one packet waits per entry; the newest wins (RFC 1122 2.3.2.2).
 *  4. While probing, the known MAC goes on being used; and if traffic from that MAC goes on, it
 * stays even without an answer. With several workers each asks for itself, and every message of ARP
 * and neighbour discovery reaches all of them (core/core_distributor.h).
 *
 * IPv6 is asked by neighbour solicitations (nd.c), IPv4 by ARP; all else is the same, and the same
 * table. RFC 4861's STALE and DELAY are REACHABLE here: what is old is probed at its next use.
 */
#ifndef NICACHED_L2_LINK_NEIGHBOUR_H
#define NICACHED_L2_LINK_NEIGHBOUR_H

#include <rte_ether.h>
#include <rte_mbuf.h>

#include "dataplane/base/address.h"
#include "dataplane/base/clock.h"

#define NEIGHBOUR_SETS           256U
#define NEIGHBOUR_WAYS           4U
#define NEIGHBOURS_NOTED         16U /* a power of two */
#define NEIGHBOUR_TRIES_MAX      3U
#define NEIGHBOUR_ASK_ANY_US     1000000ULL  /* between requests to everybody */
#define NEIGHBOUR_ASK_KNOWN_US   250000ULL   /* between requests to the known MAC */
#define NEIGHBOUR_REACHABLE_US   60000000ULL /* unconfirmed for longer: probed at its next use */
#define NEIGHBOUR_SUSPECT_US     1000000ULL  /* contradictions start one probe in this time */
#define NEIGHBOUR_TIMER_GRAIN_US 10000ULL    /* bounds how often the table is scanned */

enum neighbour_state {
    NEIGHBOUR_FREE,
    NEIGHBOUR_INCOMPLETE,
    NEIGHBOUR_REACHABLE,
    NEIGHBOUR_PROBING_KNOWN,
    NEIGHBOUR_PROBING_ANY,
};

struct neighbour {
    struct address address;
    uint8_t state; /* enum neighbour_state */
    uint8_t tries;
    struct rte_ether_addr mac;
    uint64_t used_us;         /* last packet to or from it: for replacement */
    uint64_t confirmed_us;    /* last evidence that the MAC is right */
    uint64_t suspected_us;    /* last probe because of a contradiction */
    uint64_t due_us;          /* next request or giving up; only while incomplete or probing */
    struct rte_mbuf *pending; /* only while incomplete */
};

struct neighbour_table {
    struct neighbour gateways[GATEWAYS_MAX];
    uint32_t gateway_count;
    uint64_t due_us; /* not later than any entry's; UINT64_MAX when nothing is due */
    uint64_t hash_add, hash_multiply, hash_multiply_high;
    /* Whose traffic came last, by the last bits of the address, or NULL: a hint. */
    struct neighbour *noted[NEIGHBOURS_NOTED];
    struct neighbour entries[NEIGHBOUR_SETS][NEIGHBOUR_WAYS];
};

/* What somebody says about an address. */
enum neighbour_evidence {
    NEIGHBOUR_ANSWER,  /* an ARP reply, a solicited advertisement */
    NEIGHBOUR_CLAIM,   /* a request for us, or valid traffic: may create an entry */
    NEIGHBOUR_TRANSIT, /* traffic that came through a router: as a claim, but contradicts nobody */
    NEIGHBOUR_HEARSAY, /* a request for somebody else, an unsolicited advertisement: confirms or
                          contradicts, creates nothing */
};

struct net_interface;

void neighbour_table_init(struct neighbour_table *table, const struct interface_addresses *ours,
                          uint64_t seed);
/* Frees the packets that wait. */
void neighbour_table_deinit(struct neighbour_table *table);

/* NULL when unknown. */
struct neighbour *neighbour_find(struct neighbour_table *table, const struct address *address);

/* The MAC to send to, or NULL: then the packet waits in the entry, or is dropped. Sends what
 * requests are due because of this use. */
const struct rte_ether_addr *neighbour_resolve(struct net_interface *interface,
                                               const struct address *address, struct rte_mbuf *mbuf,
                                               const struct instant *now);

/* Starts to resolve the gateways without a packet for them. */
void neighbour_ask_gateways(struct net_interface *interface, const struct instant *now);

/* Returns false when the evidence was ignored: nobody asked, or it contradicts what is known. */
bool neighbour_note(struct net_interface *interface, const struct address *address,
                    const struct rte_ether_addr *mac, enum neighbour_evidence evidence,
                    const struct instant *now);

/* The claim that most traffic is: of a neighbour that is known and not doubted, which claimed the
 * same before. False: nothing was done, neighbour_note says what it means. An entry that has become
 * another's since does not have the address any more. */
static inline bool neighbour_note_again(struct neighbour_table *table,
                                        const struct address *address,
                                        const struct rte_ether_addr *mac, const struct instant *now)
{
    struct neighbour *neighbour = table->noted[address->bytes[15] % NEIGHBOURS_NOTED];
    if (neighbour == NULL || !address_equal(&neighbour->address, address) ||
        neighbour->state != NEIGHBOUR_REACHABLE || !rte_is_same_ether_addr(mac, &neighbour->mac)) {
        return false;
    }
    neighbour->used_us = neighbour->confirmed_us = now->mono_us;
    return true;
}

uint64_t neighbour_run_timers(struct net_interface *interface, const struct instant *now);

#endif
