/* A simulated Ethernet: stations joined by links that lose, delay, reorder, duplicate and corrupt
 * frames, by a seed and a simulated clock. The same seed and the same calls give the same frames
 * at the same times.
 *
 *   station 0 -- send --> [link of station 0] --> heap by due time --> receive -- station 1
 *
 * Frames go by destination MAC; group addresses reach every other station. The network moves the
 * mbufs themselves (copies only duplicates, and corrupted frames that are shared), so stations may
 * use one pool or several. What an interface says that its port does (sums, cutting) is done here,
 * as a NIC would (simulated_offload.h).
 *
 * Order in one simulated pass of a station:
 *   simulated_network_receive  frames that have arrived by `now`
 *   ... the stack works ...
 *   simulated_network_collect  takes what lies in an interface's transmit array
 * and between passes the clock jumps to the smallest of all next due times.
 */
#ifndef NICACHED_TESTS_SUPPORT_SIMULATED_NETWORK_H
#define NICACHED_TESTS_SUPPORT_SIMULATED_NETWORK_H

#include "dataplane/l3_ip/net.h"

#define SIMULATED_STATIONS_MAX 16U
#define SIMULATED_MILLION      1000000U

/* What happens to the frames that a station sends. Chances are in parts per million. */
struct simulated_link {
    uint32_t loss, duplication, corruption;
    uint32_t reorder;             /* chance of being held back by reorder_delay_us */
    uint64_t delay_us, jitter_us; /* jitter reorders too when it exceeds the spacing */
    uint64_t reorder_delay_us;
    uint64_t bytes_per_second; /* 0: no limit; else frames queue, behind at most queue_us */
    uint64_t queue_us;
    uint32_t frame_bytes_max; /* 0: no limit; longer frames vanish */
};

struct simulated_counters {
    uint64_t sent, delivered, lost, duplicated, corrupted, reordered, oversized, queue_drops;
};

struct simulated_network;

struct simulated_network *simulated_network_create(uint64_t seed);
/* Frees what is still under way. */
void simulated_network_destroy(struct simulated_network *network);
/* Returns the station's index. */
uint32_t simulated_network_add_station(struct simulated_network *network,
                                       const struct rte_ether_addr *mac,
                                       const struct simulated_link *link);
/* Changes the link of a station from now on. */
void simulated_network_set_link(struct simulated_network *network, uint32_t station,
                                const struct simulated_link *link);

/* Takes over the frames. */
void simulated_network_send(struct simulated_network *network, uint32_t station,
                            struct rte_mbuf **frames, uint32_t count, uint64_t now_us);
/* Sends the transmit array of an interface and empties it. */
void simulated_network_collect(struct simulated_network *network, uint32_t station,
                               struct net_interface *interface, uint64_t now_us);
/* Hands over frames that have arrived at the station; at most `count_max`. */
uint32_t simulated_network_receive(struct simulated_network *network, uint32_t station,
                                   struct rte_mbuf **frames, uint32_t count_max, uint64_t now_us);

/* When the next frame arrives at the station, or at any; UINT64_MAX when none is under way. */
uint64_t simulated_network_next_due(const struct simulated_network *network);
uint64_t simulated_network_next_due_at(const struct simulated_network *network, uint32_t station);
const struct simulated_counters *
simulated_network_counters(const struct simulated_network *network);

/* The instant for a simulated time: the wall clock runs along, from a fixed date. */
struct instant simulated_instant(uint64_t mono_us);

#endif
