/* What the port files share: the table of drivers and the few helpers below it.
 *
 * Adding a driver is one row (port_<name>.c) and one line in port.c's table.
 */
#ifndef NICACHED_DRIVERS_PORT_INTERNAL_H
#define NICACHED_DRIVERS_PORT_INTERNAL_H

#include <rte_ethdev.h>

#include "drivers/port.h"

/* The PMD announces offloads that it computes in software with an extra copy: ours is cheaper. */
#define PORT_QUIRK_EMULATED_OFFLOADS (1U << 0)
/* rte_eth_dev_rx_intr_ctl_q_get_fd gives a descriptor that is simply readable: nothing to arm. */
#define PORT_QUIRK_INTERRUPT_FD (1U << 1)
/* A kernel interface of the configured name must exist; it is brought up and put back after. */
#define PORT_QUIRK_KERNEL_INTERFACE (1U << 2)
/* The kernel takes the VLAN tag out of the frame; layer 2 expects it in place. */
#define PORT_QUIRK_VLAN_STRIPPED (1U << 3)
/* Spreads flows over queues by itself, and can be told how. */
#define PORT_QUIRK_HARDWARE_RSS (1U << 4)
/* What is sent was copied when the burst returns: it may lie in memory that no device knows. */
#define PORT_QUIRK_COPIES_ON_TRANSMIT (1U << 5)

/* Cuts packets by DPDK's library (rte_gso), which knows IPv4 only; and takes the Ethernet header
 * for a part of the MTU then, and sends nothing of what is longer: our MTU is smaller than the
 * device's (after_start tells the kernel). */
#define PORT_QUIRK_CUTS_BY_LIBRARY (1U << 6)

/* The PMD's link is always up: the kernel interface of the same name knows. */
#define PORT_QUIRK_KERNEL_LINK (1U << 7)

/* The PMD announces Ethernet's largest frame and takes as much as its buffers hold: the MTU is what
 * is asked for, and not told to it. */
#define PORT_QUIRK_SIZE_UNTOLD (1U << 8)

/* A device of a bus that reads what is sent by itself: memory may be mapped for it (dma.h). */
#define PORT_QUIRK_READS_MEMORY (1U << 9)

/* That descriptor is readable only if rte_eth_dev_rx_intr_enable came before the packet. */
#define PORT_QUIRK_ARMED_INTERRUPT (1U << 10)

/* Ethernet header, two VLAN tags: what a frame has beyond the MTU (the FCS is not in the mbuf). */
#define PORT_LINK_OVERHEAD (RTE_ETHER_HDR_LEN + 2 * RTE_VLAN_HLEN)

#define PORT_DEVICE_TEXT_BYTES_MAX 512

/* Which descriptors of this process belong to a device: by what the descriptor is. */
typedef bool descriptor_predicate(int fd);

struct port_driver {
    enum interface_driver driver;
    const char *bus; /* "vdev" or "pci" */
    const char *pmd; /* vdev: the device is called PMD_NAME; pci: NULL */
    uint32_t quirks;
    uint16_t rx_descriptors, tx_descriptors;
    uint16_t queue_count_max; /* what the driver can take whatever the device says */
    uint16_t mtu_max; /* what really arrives whole where the device says more; 0: trust it */
    /* Writes the device's arguments; may lower *queue_count. May be NULL: no arguments. */
    int (*compose_arguments)(const struct interface_config *config, uint32_t *queue_count,
                             char *text, size_t size, struct config_error *error);
    /* Picks out the descriptors on which packets arrive. NULL: the driver has none. */
    descriptor_predicate *is_queue_descriptor;
    /* All frames that the queue of this descriptor had no room for; `before`: as last told. NULL:
     * the device counts. */
    uint64_t (*count_missed)(int fd, uint64_t before);
    /* Between queue setup and start, and after start; may be NULL. */
    int (*before_start)(struct port *port, struct config_error *error);
    int (*after_start)(struct port *port, struct config_error *error);
    /* When the device is gone again; may be NULL. */
    void (*after_teardown)(struct port *port);
};

extern const struct port_driver port_driver_tap, port_driver_af_xdp, port_driver_af_packet,
    port_driver_memif, port_driver_pcap, port_driver_pci;

/* Fills `error` with "interface 'NAME': " and the text, and returns `code`. */
int port_refuse(struct config_error *error, const char *name, int code, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* The first line DPDK logged since eal_forget_reason, without newline; "" if none (eal.c). */
const char *eal_reason(void);
void eal_forget_reason(void);

/* What is to be done on EAL's interrupt thread, in order, while no other callback is under way. */
struct eal_errand {
    void (*run)(struct eal_errand *errand);
    struct eal_errand *next;
};
void eal_post_errand(struct eal_errand *errand); /* any thread */
/* Waits for its result; not on that thread. */
int eal_run_errand(int (*run)(void *argument), void *argument);

/* The data room of a packet buffer that takes frames of this MTU. */
uint32_t port_frame_room(uint16_t mtu);

/* The address the host side of a tap gets: the first host address of the network that is not ours.
 * False where there is none (/32, /128). */
bool port_tap_host_address(const struct address *ours, uint8_t prefix_length, struct address *host);

/* Received from a kernel virtual device: see port_checksum.c. */
void port_mark_unfinished_checksums(struct rte_mbuf **packets, uint16_t count);
/* The same for one frame of which `length` bytes are contiguous; for tests and fuzzing. */
bool port_checksum_is_unfinished(const uint8_t *frame, size_t length);

#endif
