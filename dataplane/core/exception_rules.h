/* Which frames of a port that the host shares are the host's: pure functions over bytes.
 *
 *   to another VLAN, another ethertype                           the host's
 *   IP to an address that is not ours, to groups and broadcasts  the host's
 *   IP to an address of ours
 *     TCP and UDP to a port that we serve                        ours; to any other: the host's
 *     fragments of TCP and ICMP, of UDP while we serve it        ours; of UDP otherwise: the host's
 *     ICMP echo requests                                         ours
 *     ICMP errors                                    whose port they quote as the sender's
 *     other ICMP, other protocols                                the host's
 *   ARP requests and solicitations for an address of ours        ours
 *   all other ARP; advertisements, listener queries              both
 *   other neighbour discovery (routers, redirects)               the host's
 *   what has no sound header, or another station's MAC           ours: we drop it and say why
 */
#ifndef NICACHED_CORE_EXCEPTION_RULES_H
#define NICACHED_CORE_EXCEPTION_RULES_H

#include "dataplane/l2_link/link.h"

#define EXCEPTION_TCP_PORTS_MAX 2U

struct exception_rules {
    const struct net_interface *interface;       /* whose addresses, MAC and VLANs are ours */
    uint16_t tcp_ports[EXCEPTION_TCP_PORTS_MAX]; /* that we serve; 0: none */
    uint16_t udp_port;
};

struct exception_verdict {
    bool ours, kernels;
    enum metric reason; /* why it is the host's */
};

struct exception_verdict exception_judge(const struct exception_rules *rules, struct slice frame);

#endif
