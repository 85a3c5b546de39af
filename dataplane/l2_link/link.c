/* The link of an interface: creation, destruction, timers, what traffic teaches, and whose address
 * is whose. */
#include "dataplane/l2_link/link.h"

#include <stdlib.h>

#include "dataplane/l2_link/link_internal.h"

struct link *link_create(const struct net_interface *interface, const struct link_options *options)
{
    struct link *link = calloc(1, sizeof(*link));
    if (link == NULL) {
        return NULL;
    }
    link->options = *options;
    neighbour_table_init(&link->neighbours, &interface->addresses, options->seed);
    return link;
}

void link_destroy(struct net_interface *interface)
{
    for (uint32_t i = 0; i < interface->tx_count; i++) {
        rte_pktmbuf_free(interface->tx[i]);
    }
    interface->tx_count = 0;
    neighbour_table_deinit(&interface->link->neighbours);
    free(interface->link);
    interface->link = NULL;
}

/* Traffic that says more than that a known neighbour is where it was. */
static __attribute__((noinline)) void link_learn(struct net_interface *interface,
                                                 const struct address *address,
                                                 const struct rte_ether_addr *station,
                                                 const struct instant *now)
{
    if (link_is_on_link(interface, address)) {
        neighbour_note(interface, address, station, NEIGHBOUR_CLAIM, now);
        return;
    }
    const struct address *gateway = link_gateway_for(interface, address);
    if (gateway != NULL) {
        neighbour_note(interface, gateway, station, NEIGHBOUR_TRANSIT, now);
    }
}

void link_note_traffic(struct net_interface *interface, const struct address *address,
                       const struct rte_ether_addr *station, const struct instant *now)
{
    if (UNLIKELY(!neighbour_note_again(&interface->link->neighbours, address, station, now))) {
        link_learn(interface, address, station, now);
    }
}

void link_announce(struct net_interface *interface, const struct instant *now)
{
    for (uint32_t i = 0; !interface->quiet && i < interface->addresses.count; i++) {
        const struct address *address = &interface->addresses.at[i].address;
        if (address_is_ipv4(address)) {
            arp_announce(interface, address_to_ipv4(address));
        } else {
            nd_probe(interface, address);
            nd_announce(interface, address);
        }
    }
    if (!interface->quiet && interface->ipv6_count != 0) {
        mld_announce(interface);
    }
    neighbour_ask_gateways(interface, now);
}

bool link_may_defend(struct net_interface *interface, uint32_t number, const struct instant *now)
{
    uint64_t *defended_us = &interface->link->defended_us[number];
    bool may = *defended_us == 0 || now->mono_us - *defended_us >= LINK_DEFEND_INTERVAL_US;
    if (may) {
        *defended_us = now->mono_us;
    }
    return may;
}

uint64_t link_run_timers(struct net_interface *interface, const struct instant *now)
{
    return neighbour_run_timers(interface, now);
}

/* ---- whose address it is --------------------------------------------------------------------- */

int32_t link_find_address(const struct net_interface *interface, const struct address *address)
{
    for (uint32_t i = 0; i < interface->addresses.count; i++) {
        if (address_equal(&interface->addresses.at[i].address, address)) {
            return (int32_t)i;
        }
    }
    return -1;
}

bool link_has_further_ipv4(const struct net_interface *interface, uint32_t ipv4)
{
    struct address address = address_from_ipv4(ipv4);
    return link_find_address(interface, &address) >= 0;
}

bool link_is_further_broadcast(const struct net_interface *interface, uint32_t ipv4)
{
    struct address address = address_from_ipv4(ipv4);
    const struct address_prefix *network = link_network_of(interface, &address);
    return network != NULL && network->prefix_length < 31 &&
           (ipv4 | UINT32_MAX << (32 - network->prefix_length)) == UINT32_MAX;
}

const struct address_prefix *link_network_of(const struct net_interface *interface,
                                             const struct address *address)
{
    const struct address_prefix *longest = NULL;
    for (uint32_t i = 0; i < interface->addresses.count; i++) {
        const struct address_prefix *network = &interface->addresses.at[i];
        if (address_is_within(address, network) &&
            (longest == NULL || network->prefix_length > longest->prefix_length)) {
            longest = network;
        }
    }
    return longest;
}

const struct address *link_gateway_for(const struct net_interface *interface,
                                       const struct address *address)
{
    for (uint32_t i = 0; i < interface->addresses.gateway_count; i++) {
        const struct address *gateway = &interface->addresses.gateways[i];
        if (address_is_ipv4(gateway) == address_is_ipv4(address)) {
            return gateway;
        }
    }
    return NULL;
}

const struct address *link_source_for(const struct net_interface *interface,
                                      const struct address *address)
{
    const struct address_prefix *network = link_network_of(interface, address);
    const struct address *gateway = link_gateway_for(interface, address);
    if (network == NULL && gateway != NULL && !address_is_link_local(gateway)) {
        network = link_network_of(interface, gateway);
    }
    if (network != NULL) {
        return &network->address;
    }
    for (uint32_t i = 0; i < interface->addresses.count; i++) {
        const struct address *ours = &interface->addresses.at[i].address;
        if (address_is_ipv4(ours) == address_is_ipv4(address) && !address_is_link_local(ours)) {
            return ours;
        }
    }
    return NULL;
}
