/* Neighbour discovery (RFC 4861), as IPv6 input hands it to the link. */
#ifndef NICACHED_L2_LINK_ND_H
#define NICACHED_L2_LINK_ND_H

#include "dataplane/l2_link/link.h"

/* How a message came. */
struct nd_envelope {
    struct address source, destination;
    struct rte_ether_addr station; /* whose frame it is */
    bool overheard;                /* another worker answers it */
};

/* A solicitation or an advertisement whose checksum and hop limit are right. */
void nd_input(struct net_interface *interface, struct slice packet,
              const struct nd_envelope *envelope, const struct instant *now);

/* Somebody asks which groups have listeners (MLD, mld.c). */
void mld_answer_query(struct net_interface *interface, const struct instant *now);

/* Whether the interface listens to this group: all nodes, or the solicited-node group of one of our
 * addresses. */
bool nd_listens_to(const struct net_interface *interface, const struct address *group);

#endif
