/* Neighbour table of one interface. States and invariants: neighbour.h.
 *
 * Path: link_output asks for MACs, arp.c and l3 bring evidence, net_run_timers drives retries.
 * Memory: a fixed table, 4-way, with a hash keyed per process; the least recently used way is
 * replaced. Failure: an address that does not answer loses its waiting packet, with a counter.
 */
#include "dataplane/l2_link/neighbour.h"

#include "dataplane/base/hash.h"
#include "dataplane/l2_link/link_internal.h"

void neighbour_table_init(struct neighbour_table *table, const struct interface_addresses *ours,
                          uint64_t seed)
{
    memset(table, 0, sizeof(*table));
    uint64_t state = seed != 0 ? seed : 1;
    table->hash_add = random_next(&state);
    table->hash_multiply = random_next(&state) | 1;
    table->hash_multiply_high = random_next(&state) | 1;
    table->gateway_count = ours->gateway_count;
    for (uint32_t i = 0; i < ours->gateway_count; i++) {
        table->gateways[i].address = ours->gateways[i];
    }
    table->due_us = UINT64_MAX;
}

static void neighbour_release_pending(struct neighbour *neighbour)
{
    rte_pktmbuf_free(neighbour->pending);
    neighbour->pending = NULL;
}

void neighbour_table_deinit(struct neighbour_table *table)
{
    for (uint32_t i = 0; i < GATEWAYS_MAX; i++) {
        neighbour_release_pending(&table->gateways[i]);
    }
    for (uint32_t i = 0; i < NEIGHBOUR_SETS * NEIGHBOUR_WAYS; i++) {
        neighbour_release_pending(&table->entries[i / NEIGHBOUR_WAYS][i % NEIGHBOUR_WAYS]);
    }
}

/* Multiply-shift with secret words: addresses cannot be chosen to share a set. */
static struct neighbour *neighbour_set_of(struct neighbour_table *table,
                                          const struct address *address)
{
    uint64_t high, low;
    memcpy(&high, address->bytes, sizeof(high));
    memcpy(&low, address->bytes + 8, sizeof(low));
    uint64_t mixed = low + high * table->hash_multiply_high + table->hash_add;
    uint64_t hash = (mixed ^ mixed >> 32) * table->hash_multiply;
    return table->entries[hash >> 56];
}
_Static_assert(NEIGHBOUR_SETS == 256, "neighbour_set_of takes 8 bits");

/* The entry of a gateway, whatever its state; NULL when the address is none's. */
static struct neighbour *neighbour_gateway_of(struct neighbour_table *table,
                                              const struct address *address)
{
    for (uint32_t i = 0; i < table->gateway_count; i++) {
        if (address_equal(&table->gateways[i].address, address)) {
            return &table->gateways[i];
        }
    }
    return NULL;
}

struct neighbour *neighbour_find(struct neighbour_table *table, const struct address *address)
{
    struct neighbour *gateway = neighbour_gateway_of(table, address);
    if (gateway != NULL) {
        return gateway->state == NEIGHBOUR_FREE ? NULL : gateway;
    }
    struct neighbour *set = neighbour_set_of(table, address);
    for (uint32_t way = 0; way < NEIGHBOUR_WAYS; way++) {
        if (address_equal(&set[way].address, address) && set[way].state != NEIGHBOUR_FREE) {
            return &set[way];
        }
    }
    return NULL;
}

/* A free entry for an address that has none: the gateway's own, a free way, or the oldest. */
static struct neighbour *neighbour_claim(struct net_interface *interface,
                                         const struct address *address, const struct instant *now)
{
    struct neighbour_table *table = &interface->link->neighbours;
    struct neighbour *chosen = neighbour_gateway_of(table, address);
    if (chosen == NULL) {
        struct neighbour *set = neighbour_set_of(table, address);
        chosen = set;
        for (uint32_t way = 0; way < NEIGHBOUR_WAYS && chosen->state != NEIGHBOUR_FREE; way++) {
            if (set[way].state == NEIGHBOUR_FREE || set[way].used_us < chosen->used_us) {
                chosen = &set[way];
            }
        }
    }
    if (chosen->pending != NULL) {
        link_drop(interface, chosen->pending, METRIC_NET_DROP_NEIGHBOUR_EVICTED);
    }
    *chosen = (struct neighbour){.address = *address, .used_us = now->mono_us};
    return chosen;
}

/* Sends the request that the state calls for and sets the time of the next step. */
static void neighbour_ask(struct net_interface *interface, struct neighbour *neighbour,
                          const struct instant *now)
{
    struct neighbour_table *table = &interface->link->neighbours;
    bool known = neighbour->state == NEIGHBOUR_PROBING_KNOWN;
    const struct rte_ether_addr *station = known ? &neighbour->mac : NULL;
    if (address_is_ipv4(&neighbour->address)) {
        arp_send_request(interface, &neighbour->address, station);
    } else {
        nd_send_solicitation(interface, &neighbour->address, station);
    }
    neighbour->tries++;
    neighbour->due_us = now->mono_us + (known ? NEIGHBOUR_ASK_KNOWN_US : NEIGHBOUR_ASK_ANY_US);
    if (neighbour->due_us < table->due_us) {
        table->due_us = neighbour->due_us;
    }
}

static void neighbour_start(struct net_interface *interface, struct neighbour *neighbour,
                            enum neighbour_state state, const struct instant *now)
{
    neighbour->state = (uint8_t)state;
    neighbour->tries = 0;
    neighbour_ask(interface, neighbour, now);
}

static void neighbour_confirm(struct net_interface *interface, struct neighbour *neighbour,
                              const struct rte_ether_addr *mac, const struct instant *now)
{
    neighbour->state = NEIGHBOUR_REACHABLE;
    neighbour->confirmed_us = now->mono_us;
    rte_ether_addr_copy(mac, &neighbour->mac);
    struct rte_mbuf *pending = neighbour->pending;
    neighbour->pending = NULL;
    if (pending != NULL) {
        link_transmit(interface, mac, link_type_for(&neighbour->address), pending);
    }
}

/* ---- sending -----------------------------------------------------------------------------------
 */

static void neighbour_park(struct net_interface *interface, struct neighbour *neighbour,
                           struct rte_mbuf *mbuf)
{
    if (neighbour->pending != NULL) {
        link_drop(interface, neighbour->pending, METRIC_NET_DROP_NEIGHBOUR_PENDING);
    }
    neighbour->pending = mbuf;
}

const struct rte_ether_addr *neighbour_resolve(struct net_interface *interface,
                                               const struct address *address, struct rte_mbuf *mbuf,
                                               const struct instant *now)
{
    struct neighbour *neighbour = neighbour_find(&interface->link->neighbours, address);
    if (neighbour == NULL) {
        neighbour = neighbour_claim(interface, address, now);
        neighbour_start(interface, neighbour, NEIGHBOUR_INCOMPLETE, now);
    }
    neighbour->used_us = now->mono_us;
    if (neighbour->state == NEIGHBOUR_INCOMPLETE) {
        neighbour_park(interface, neighbour, mbuf);
        return NULL;
    }
    if (neighbour->state == NEIGHBOUR_REACHABLE &&
        now->mono_us - neighbour->confirmed_us > NEIGHBOUR_REACHABLE_US) {
        neighbour_start(interface, neighbour, NEIGHBOUR_PROBING_KNOWN, now);
    }
    return &neighbour->mac;
}

void neighbour_ask_gateways(struct net_interface *interface, const struct instant *now)
{
    struct neighbour_table *table = &interface->link->neighbours;
    for (uint32_t i = 0; i < table->gateway_count; i++) {
        struct neighbour *gateway = &table->gateways[i];
        if (gateway->state == NEIGHBOUR_FREE) {
            gateway->used_us = now->mono_us;
            neighbour_start(interface, gateway, NEIGHBOUR_INCOMPLETE, now);
        }
    }
}

/* ---- evidence ----------------------------------------------------------------------------------
 */

/* A first MAC without our asking. For the gateway it serves until somebody answers our request. */
static void neighbour_accept_claim(struct net_interface *interface, struct neighbour *neighbour,
                                   const struct rte_ether_addr *mac, const struct instant *now)
{
    neighbour_confirm(interface, neighbour, mac, now);
    if (neighbour_gateway_of(&interface->link->neighbours, &neighbour->address) != NULL) {
        neighbour_start(interface, neighbour, NEIGHBOUR_PROBING_ANY, now);
    }
}

/* Somebody names another MAC than the known one: ask the known one whether it still answers. */
static void neighbour_suspect(struct net_interface *interface, struct neighbour *neighbour,
                              const struct instant *now)
{
    bool again = neighbour->suspected_us != 0 &&
                 now->mono_us - neighbour->suspected_us < NEIGHBOUR_SUSPECT_US;
    if (neighbour->state == NEIGHBOUR_REACHABLE && !again) {
        neighbour->suspected_us = now->mono_us;
        neighbour_start(interface, neighbour, NEIGHBOUR_PROBING_KNOWN, now);
    }
}

static bool neighbour_note_incomplete(struct net_interface *interface, struct neighbour *neighbour,
                                      const struct rte_ether_addr *mac,
                                      enum neighbour_evidence evidence, const struct instant *now)
{
    if (evidence == NEIGHBOUR_ANSWER) {
        neighbour_confirm(interface, neighbour, mac, now);
    } else {
        neighbour_accept_claim(interface, neighbour, mac, now);
    }
    return true;
}

bool neighbour_note(struct net_interface *interface, const struct address *address,
                    const struct rte_ether_addr *mac, enum neighbour_evidence evidence,
                    const struct instant *now)
{
    struct neighbour *neighbour = neighbour_find(&interface->link->neighbours, address);
    if (neighbour == NULL) {
        if (evidence == NEIGHBOUR_ANSWER || evidence == NEIGHBOUR_HEARSAY) {
            return false;
        }
        neighbour = neighbour_claim(interface, address, now);
        neighbour_accept_claim(interface, neighbour, mac, now);
        return true;
    }
    neighbour->used_us = now->mono_us;
    if (neighbour->state == NEIGHBOUR_INCOMPLETE) {
        return neighbour_note_incomplete(interface, neighbour, mac, evidence, now);
    }
    if (neighbour->state == NEIGHBOUR_PROBING_ANY && evidence == NEIGHBOUR_ANSWER) {
        neighbour_confirm(interface, neighbour, mac, now);
        return true;
    }
    if (!rte_is_same_ether_addr(mac, &neighbour->mac)) {
        if (evidence != NEIGHBOUR_TRANSIT) {
            neighbour_suspect(interface, neighbour, now);
        }
        return false;
    }
    neighbour->confirmed_us = now->mono_us;
    if (neighbour->state == NEIGHBOUR_PROBING_KNOWN) {
        neighbour->state = NEIGHBOUR_REACHABLE;
    }
    if (evidence == NEIGHBOUR_CLAIM) {
        interface->link->neighbours.noted[address->bytes[15] % NEIGHBOURS_NOTED] = neighbour;
    }
    return true;
}

/* ---- timers ------------------------------------------------------------------------------------
 */

/* Nobody answered: forgotten, unless traffic shows that the station lives (invariant 4). */
static void neighbour_give_up(struct net_interface *interface, struct neighbour *neighbour,
                              const struct instant *now)
{
    if (neighbour->pending != NULL) {
        link_drop(interface, neighbour->pending, METRIC_NET_DROP_NEIGHBOUR_UNRESOLVED);
        neighbour->pending = NULL;
    }
    bool alive =
        neighbour->state == NEIGHBOUR_PROBING_ANY &&
        now->mono_us - neighbour->confirmed_us < NEIGHBOUR_TRIES_MAX * NEIGHBOUR_ASK_ANY_US;
    neighbour->state = alive ? NEIGHBOUR_REACHABLE : NEIGHBOUR_FREE;
}

static bool neighbour_is_waiting(const struct neighbour *neighbour)
{
    return neighbour->state != NEIGHBOUR_FREE && neighbour->state != NEIGHBOUR_REACHABLE;
}

static void neighbour_run_timer(struct net_interface *interface, struct neighbour *neighbour,
                                const struct instant *now)
{
    if (!neighbour_is_waiting(neighbour) || neighbour->due_us > now->mono_us) {
        return;
    }
    if (neighbour->tries < NEIGHBOUR_TRIES_MAX) {
        neighbour_ask(interface, neighbour, now);
    } else if (neighbour->state == NEIGHBOUR_PROBING_KNOWN) {
        neighbour_start(interface, neighbour, NEIGHBOUR_PROBING_ANY, now);
    } else {
        neighbour_give_up(interface, neighbour, now);
    }
}

static uint64_t neighbour_due(const struct neighbour *neighbour)
{
    return neighbour_is_waiting(neighbour) ? neighbour->due_us : UINT64_MAX;
}

/* The gateways, then the table. */
static struct neighbour *neighbour_at(struct neighbour_table *table, uint32_t position)
{
    if (position < table->gateway_count) {
        return &table->gateways[position];
    }
    uint32_t entry = position - table->gateway_count;
    return &table->entries[entry / NEIGHBOUR_WAYS][entry % NEIGHBOUR_WAYS];
}

uint64_t neighbour_run_timers(struct net_interface *interface, const struct instant *now)
{
    struct neighbour_table *table = &interface->link->neighbours;
    if (LIKELY(now->mono_us < table->due_us)) {
        return table->due_us;
    }
    uint64_t due_us = UINT64_MAX;
    for (uint32_t i = 0; i < NEIGHBOUR_SETS * NEIGHBOUR_WAYS + table->gateway_count; i++) {
        struct neighbour *neighbour = neighbour_at(table, i);
        neighbour_run_timer(interface, neighbour, now);
        uint64_t entry_due_us = neighbour_due(neighbour);
        due_us = entry_due_us < due_us ? entry_due_us : due_us;
    }
    uint64_t soonest_us = now->mono_us + NEIGHBOUR_TIMER_GRAIN_US;
    table->due_us = due_us < soonest_us ? soonest_us : due_us;
    return table->due_us;
}
