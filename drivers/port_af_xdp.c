/* af_xdp: a kernel interface through XDP sockets (DPDK net_af_xdp).
 *
 * An XDP program on the interface redirects every frame of a receive queue into our socket, so the
 * kernel's stack sees nothing of it while we run. One socket for each hardware queue: we cannot have
 * more queues than the interface has channels, and with fewer the rest would go to the kernel; the
 * NIC's RSS spreads. Checksums of virtual devices: port_checksum.c.
 */
#include <stdio.h>
#include <sys/socket.h>

#include "drivers/kernel_interface.h"
#include "drivers/port_internal.h"

#ifndef AF_XDP
#define AF_XDP 44
#endif

static bool is_xdp_socket(int fd)
{
    int domain;
    socklen_t size = sizeof(domain);
    return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) == 0 && domain == AF_XDP;
}

static int compose_af_xdp_arguments(const struct interface_config *config, uint32_t *queue_count,
                                    char *text, size_t size, struct config_error *error)
{
    (void)error;
    *queue_count = RTE_MIN(*queue_count, kernel_interface_channel_count(config->name));
    snprintf(text, size, "iface=%s,start_queue=0,queue_count=%u", config->name, *queue_count);
    return 0;
}

const struct port_driver port_driver_af_xdp = {
    .driver = INTERFACE_AF_XDP,
    .bus = "vdev",
    .pmd = "net_af_xdp",
    .quirks = PORT_QUIRK_KERNEL_SPREADS | PORT_QUIRK_KERNEL_INTERFACE,
    .rx_descriptors = 1024,
    .tx_descriptors = 1024,
    .queue_count_max = PORT_QUEUES_MAX,
    .compose_arguments = compose_af_xdp_arguments,
    .is_queue_descriptor = is_xdp_socket,
};
