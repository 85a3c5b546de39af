/* af_packet: a kernel interface through packet sockets with mapped rings (DPDK net_af_packet).
 *
 * - The interface's address is ours: frames to its MAC come in, no promiscuous mode. The kernel
 * sees the same frames; give it no IP address there.
 * - Several queues are packet sockets in one fan-out group by flow hash. A full one rolls over into
 * the next, so where a frame comes in says nothing about its owner: core/core_distributor.h.
 * - The socket also sees what the host itself sends out of the interface; that is switched off
 * here.
 * - Jumbo frames: the entries of the rings are as large as the MTU on the interface line asks for,
 *   and the kernel's interface gets that MTU. Without one it is 1500 at most.
 * - VLAN tags come beside the frame and are put back (PORT_QUIRK_VLAN_STRIPPED).
 * - Checksums and segmentation of virtual devices: port_checksum.c.
 * - A full transmit ring makes the PMD wait in poll() for the kernel. Its ring is 512 frames and
 * the kernel empties it within the send call, so that is rare, and short.
 */
#include <net/if.h>
#include <stdio.h>
#include <sys/socket.h>

#include <linux/if_packet.h>

#include "drivers/port_internal.h"

static bool is_packet_socket(int fd)
{
    int domain;
    socklen_t size = sizeof(domain);
    return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) == 0 && domain == AF_PACKET;
}

/* The ring is blocks of whole pages; the PMD wants whole entries in each, too. */
static uint32_t block_bytes(uint32_t entry)
{
    uint32_t bytes = entry;
    while (bytes % 4096 != 0) {
        bytes += entry;
    }
    return bytes;
}

static int compose_af_packet_arguments(const struct interface_config *config, uint32_t *queue_count,
                                       char *text, size_t size, struct config_error *error)
{
    (void)error;
    uint32_t entry = port_frame_room(config->mtu);
    *queue_count = RTE_MIN(*queue_count, (uint32_t)PORT_QUEUES_MAX);
    snprintf(text, size, "iface=%s,qpairs=%u,blocksz=%u,framesz=%u,framecnt=1024", config->name,
             *queue_count, block_bytes(entry), entry);
    return 0;
}

static int ignore_outgoing(struct port *port, struct config_error *error)
{
    (void)error;
    for (int i = 0; i < port->queue_fd_count; i++) {
        int on = 1;
        /* Kernels before 4.20 lack it: then layer 2 drops what is not for us. */
        (void)setsockopt(port->queue_fds[i], SOL_PACKET, PACKET_IGNORE_OUTGOING, &on, sizeof(on));
    }
    return 0;
}

/* net_af_packet does not look; the kernel begins anew with each question. */
static uint64_t count_missed(int fd, uint64_t before)
{
    struct tpacket_stats stats;
    socklen_t size = sizeof(stats);
    bool told = getsockopt(fd, SOL_PACKET, PACKET_STATISTICS, &stats, &size) == 0;
    return told ? before + stats.tp_drops : before;
}

const struct port_driver port_driver_af_packet = {
    .driver = INTERFACE_AF_PACKET,
    .bus = "vdev",
    .pmd = "net_af_packet",
    .quirks = PORT_QUIRK_KERNEL_INTERFACE | PORT_QUIRK_VLAN_STRIPPED | PORT_QUIRK_KERNEL_LINK |
              PORT_QUIRK_SIZE_UNTOLD,
    .rx_descriptors = 1024,
    .tx_descriptors = 1024,
    .queue_count_max = PORT_QUEUES_MAX,
    .compose_arguments = compose_af_packet_arguments,
    .is_queue_descriptor = is_packet_socket,
    .count_missed = count_missed,
    .before_start = ignore_outgoing,
};
