/* A bench for the network stack: EAL without hugepages, one net with one interface, frames put in
 * and taken out, and a count of packet buffers that must be whole again at the end.
 *
 * bench_setup / bench_teardown serve cmocka as setup and teardown of each test.
 */
#ifndef NICACHED_TESTS_SUPPORT_NET_BENCH_H
#define NICACHED_TESTS_SUPPORT_NET_BENCH_H

#include "dataplane/l3_ip/net.h"
#include "dataplane/l4_transport/udp.h"
#include "tests/support/packet_builder.h"

#define BENCH_POOL_MBUFS 2047U
#define BENCH_UDP_PORT   11211

struct bench {
    struct rte_mempool *pool;
    struct metrics metrics;
    struct net *net;
    struct udp *udp;
    struct net_interface *interface;
    struct instant now;
    struct ip_datagram datagrams[64];
    uint32_t datagram_count;
};

/* The appliance: 198.18.0.2/24, gateway 198.18.0.1. */
extern const struct station bench_us, bench_client, bench_other, bench_gateway, bench_far;
/* The same over IPv6: fd00::2/64, gateway fe80::1. */
extern const struct station_ipv6 bench_us6, bench_client6, bench_other6, bench_gateway6, bench_far6;

void bench_start_eal(void);
/* What every test's interface is made of; change it before bench_create for another one. */
struct net_interface *bench_description(void);
/* The same with both families. */
struct net_interface *bench_description_ipv6(void);
struct bench *bench_create(const struct net_interface *description);
/* Checks that every packet buffer is back. */
void bench_destroy(struct bench *bench);

int bench_setup(void **state);
int bench_setup_ipv6(void **state);
int bench_teardown(void **state);

/* Feeds frames; what is for L4 lies in bench->datagrams until the next call, which frees it. */
void bench_feed(struct bench *bench, const struct frame *frame);
void bench_feed_mbufs(struct bench *bench, struct rte_mbuf **mbufs, uint32_t count);
/* Takes the oldest frame to send; false when there is none. Checks that it is valid. */
bool bench_take(struct bench *bench, struct frame *frame);
void bench_discard_tx(struct bench *bench);
void bench_release(struct bench *bench);

uint64_t bench_count(const struct bench *bench, enum metric metric);
/* Sum of all net_drop_* rows. */
uint64_t bench_drop_count(const struct bench *bench);

#endif
