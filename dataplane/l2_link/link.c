/* The link of an interface: creation, destruction, timers, and what traffic teaches. */
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
    neighbour_table_init(&link->neighbours, interface->has_gateway ? interface->ipv4_gateway : 0,
                         options->seed);
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

void link_note_traffic(struct net_interface *interface, uint32_t ipv4,
                       const struct rte_ether_addr *station, const struct instant *now)
{
    uint32_t gateway = interface->link->neighbours.gateway.address;
    if (link_is_on_link(interface, ipv4)) {
        neighbour_note(interface, ipv4, station, NEIGHBOUR_CLAIM, now);
    } else if (gateway != 0) {
        neighbour_note(interface, gateway, station, NEIGHBOUR_TRANSIT, now);
    }
}

uint64_t link_run_timers(struct net_interface *interface, const struct instant *now)
{
    return neighbour_run_timers(interface, now);
}
