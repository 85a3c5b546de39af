/* Ports: receive burst, transmit burst, capabilities; one kind for every DPDK driver.
 *
 * Thread: port_setup / teardown on the control thread; bursts on the worker that owns the queue.
 * What a PMD lacks (checksum offload, RSS) is decided once, here, in `struct port_capabilities`,
 * and done in software above.
 */
#ifndef NICACHED_DRIVERS_PORT_H
#define NICACHED_DRIVERS_PORT_H

#include <rte_ether.h>
#include <rte_mbuf.h>

#include "config/config.h"

struct config_error;
struct port_rss;
struct port_gate;
struct memif_relay;
struct port_driver; /* one row of the table of drivers, port_internal.h */

/* ---- EAL (eal.c) ---------------------------------------------------------------------------- */

struct eal_options {
    enum hugepages_mode hugepages; /* auto: hugepages if any are free, else --no-huge */
    bool with_pci;                 /* a pci interface is configured */
    uint64_t memory_bytes;         /* for packets and index; the heap limit without hugepages */
};
/* Starts EAL once per process, in-memory mode, no telemetry socket, quiet log. 0 or a negative
 * errno with a one-line reason. */
int eal_setup(const struct eal_options *options, struct config_error *error);
/* Gives everything back: map files, sockets. */
void eal_teardown(void);
bool eal_uses_hugepages(void);

/* Makes the calling thread one that DPDK's per-core caches know (rte_thread_register). */
int eal_thread_register(void);
void eal_thread_unregister(void);

/* ---- ports (port.c, one file per driver family) ---------------------------------------------- */

struct port_capabilities {
    bool tx_ipv4_checksum, tx_tcp_checksum, tx_udp_checksum; /* hardware does it */
    bool rx_checksum; /* mbuf flags tell good/bad; "unknown" is always verified */
    bool rss;         /* spreads flows over queues as port_rss.h says: queue = worker */
    bool tx_multi_segment;
    bool tx_prepare; /* packets that ask for something are made ready by the driver first */
    uint32_t tx_tso_bytes,
        tx_tso_bytes_ipv6;      /* not 0: cuts TCP packets of up to so many bytes into segments */
    uint16_t tx_external_bytes; /* not 0: parts of a chain, of up to so many bytes, may be in memory
                                   that is no packet buffer; ... */
    bool tx_external_mapped;    /* ... in such as was mapped for devices (dma.h), that is */
    bool rx_interrupt;          /* rx_fd below works, ... */
    bool rx_armed;              /* ... after port_arm only */
    uint16_t queue_count;
    uint16_t mtu_max;
};

#define PORT_QUEUES_MAX 16 /* queue pairs with a descriptor of their own */

struct port {
    uint16_t dpdk_port;
    char name[32];
    struct rte_ether_addr mac;
    struct port_capabilities capabilities;
    struct interface_config config; /* mtu is the effective one */
    int rx_fd;                      /* readable when packets wait (pci: if armed), or -1 */
    uint64_t link_changes; /* how often its link has changed, even while it is up; atomic */

    /* Private to the port files. */
    const struct port_driver *driver;
    char device[64];           /* DPDK's name of it */
    struct port_gate *gate;    /* every burst enters it; NULL: none */
    struct memif_relay *memif; /* of a memif port */
    int queue_fds[PORT_QUEUES_MAX];
    int queue_fd_count;
    uint64_t missed[PORT_QUEUES_MAX]; /* by queue, as last told */
    bool created, started;
    bool with_interrupts;         /* of its queues, as configured */
    bool link_told;               /* the driver calls when its link changes */
    bool unfinished_checksums;    /* frames may come with a checksum that was left to hardware */
    uint32_t kernel_flags_before; /* of IFF_UP and IFF_ALLMULTI: what to put back ... */
    bool kernel_gro_before;       /* ... and this */
};

/* Packet pool for `workers` workers and `ports` ports; mbufs of 2 KiB data room with headroom, or
 * of as much as a frame of `mtu` takes, the largest MTU that a port is configured with (0: none
 * is). Created once after eal_setup. NULL when memory is short. */
struct rte_mempool *port_create_packet_pool(uint32_t workers, uint32_t ports, uint16_t mtu);
/* What that pool takes of eal_options.memory_bytes. */
uint64_t port_packet_pool_bytes(uint32_t workers, uint32_t ports, uint16_t mtu);

/* Creates the vdev or binds the device, configures `queue_count` queue pairs (fewer if it has
 * fewer), starts it. `rss` (may be NULL) is given to a device that can spread by it. For tap:
 * creates the host interface, sets its address and brings it up. 0 or a negative errno with a
 * one-line reason that names the interface. */
int port_setup(struct port *port, const struct interface_config *config, uint32_t queue_count,
               struct port_rss *rss, struct rte_mempool *pool, struct config_error *error);
void port_teardown(struct port *port);
/* The TAP `tap_name` beside a port that is set up (not with a tap's or a socket's): its kernel
 * interface has the port's MAC and MTU and as many queues. Its addresses are the host's affair. */
int port_setup_exception(struct port *tap, const char *tap_name, const struct port *beside,
                         struct rte_mempool *pool, struct config_error *error);

/* For a sleeping worker: readable when packets wait on this queue, or -1. Level-triggered; the
 * port keeps it. (port->rx_fd covers all queues.) */
int port_queue_fd(const struct port *port, uint16_t queue);

/* For a worker that wants to sleep, where capabilities.rx_armed: a packet that comes from now on
 * makes the queue's descriptor readable; then it looks once more whether one has come before. */
void port_arm(struct port *port, uint16_t queue);
/* No more of that; true: one has. */
bool port_disarm(struct port *port, uint16_t queue);

/* A descriptor that is readable when any of them is; the caller closes it. -1 when there is none
 * free. */
int port_join_descriptors(const int *fds, int count);

/* Looks at the link, which is taken to be up at first; notes, and logs, what has changed. A driver
 * that tells calls it by itself; otherwise the control thread asks now and then. Makes system
 * calls. */
void port_watch_link(struct port *port);

uint16_t port_receive_burst(struct port *port, uint16_t queue, struct rte_mbuf **packets,
                            uint16_t count_max);
/* Frames lost before they reached us since the last call, as far as the port can tell: no room in
 * the queue, no buffer. A port that knows only the sum tells it for queue 0. */
uint64_t port_take_missed(struct port *port, uint16_t queue);
/* Takes over all packets: what the queue does not accept is freed and its number returned. Offers
 * the rest again as long as the queue takes something (PMDs take a limited batch a call); never
 * waits for room: TCP repairs a loss, a stalled core it cannot. */
uint16_t port_transmit_burst(struct port *port, uint16_t queue, struct rte_mbuf **packets,
                             uint16_t count);

#endif
