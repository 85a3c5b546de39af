/* tap: a kernel interface with us at the other end (DPDK net_tap).
 *
 *   host's IP stack  <->  kernel interface NAME (net_tap's MAC, host address)  <->  us (own MAC)
 *
 * - net_tap gives the kernel interface the port's MAC. We are another station on that link, so we
 *   take a MAC of our own beside it. A tap hands every frame over, whatever its destination, so
 *   neither promiscuous mode nor a filter is needed.
 * - Checksums: net_tap never asks the kernel to leave checksums to us (TUNSETOFFLOAD) and has no
 *   virtio header, so the kernel finishes checksums and segments before it hands a frame over. The
 *   "offloads" of net_tap are computed by the PMD, with a copy: only used when asked for (`offloads
 * all`).
 * - net_tap has itself woken by a real-time signal for each packet, to save a read on an empty
 * queue; signals would interrupt every system call of the process, and when too many are queued the
 * kernel sends plain SIGIO, which kills. We take the signal off before the interface comes up; the
 * PMD, having never seen one, then reads at every poll.
 * - Several queues: the kernel sends a flow's frames to the queue on which we last sent one of it,
 * so that soon each worker reads its own.
 * - One receive descriptor: net_tap's descriptors are the segments of one packet.
 * - Closing the descriptors removes the interface, also when we are killed.
 */
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "drivers/kernel_interface.h"
#include "drivers/port_internal.h"

static bool is_tap_descriptor(int fd)
{
    char link[32], target[32];
    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    ssize_t size = readlink(link, target, sizeof(target) - 1);
    return size == 12 && memcmp(target, "/dev/net/tun", 12) == 0;
}

static int compose_tap_arguments(const struct interface_config *config, uint32_t *queue_count,
                                 char *text, size_t size, struct config_error *error)
{
    (void)queue_count;
    if (strlen(config->name) >= IFNAMSIZ) {
        return port_refuse(error, config->name, -ENAMETOOLONG,
                           "a tap's name has at most %d characters", IFNAMSIZ - 1);
    }
    /* TUNSETIFF would attach to an existing tap, ours or not. */
    if (if_nametoindex(config->name) != 0) {
        return port_refuse(error, config->name, -EEXIST,
                           "there is a kernel interface of this name already");
    }
    snprintf(text, size, "iface=%s%s%s", config->name, config->argument[0] != '\0' ? "," : "",
             config->argument);
    return 0;
}

static int silence_signals(struct port *port, struct config_error *error)
{
    (void)error;
    for (int i = 0; i < port->queue_fd_count; i++) {
        int flags = fcntl(port->queue_fds[i], F_GETFL);
        if (flags >= 0) {
            (void)fcntl(port->queue_fds[i], F_SETFL, flags & ~O_ASYNC);
        }
    }
    return 0;
}

static uint32_t first_host_ipv4(uint32_t ours, uint8_t prefix_length)
{
    uint32_t mask = UINT32_MAX << (32 - prefix_length);
    uint32_t first = (ours & mask) + (prefix_length == 31 ? 0 : 1);
    return first == ours ? first + 1 : first;
}

bool port_tap_host_address(const struct address *ours, uint8_t prefix_length, struct address *host)
{
    if (address_is_ipv4(ours)) {
        if (prefix_length == 0 || prefix_length > 31) {
            return false;
        }
        *host = address_from_ipv4(first_host_ipv4(address_to_ipv4(ours), prefix_length));
        return true;
    }
    if (prefix_length == 0 || prefix_length > 127) {
        return false;
    }
    *host = *ours;
    for (uint32_t bit = prefix_length; bit < 128; bit++) {
        host->bytes[bit / 8] = (uint8_t)(host->bytes[bit / 8] & ~(0x80U >> (bit % 8)));
    }
    host->bytes[15] |= prefix_length == 127 ? 0 : 1;
    if (address_equal(host, ours)) {
        /* The last one or two bits are ours to turn: still inside the prefix. */
        host->bytes[15] = (uint8_t)(host->bytes[15] ^ (prefix_length == 127 ? 1 : 3));
    }
    return true;
}

static int set_up_host_side(struct port *port, struct config_error *error)
{
    /* Locally administered, as net_tap's own, and different from it. The exception path's, which
     * has no address, speaks with the host's. */
    port->mac.addr_bytes[0] = (uint8_t)((port->mac.addr_bytes[0] | 2) & ~1);
    port->mac.addr_bytes[5] ^= 1;
    const struct interface_addresses *addresses = &port->config.addresses;
    int result = kernel_interface_set_mtu(port->name, port->config.mtu);
    for (uint32_t i = 0; result == 0 && i < addresses->count; i++) {
        uint8_t prefix_length = addresses->at[i].prefix_length;
        struct address host;
        if (port_tap_host_address(&addresses->at[i].address, prefix_length, &host)) {
            result = kernel_interface_set_address(port->name, &host, prefix_length);
        }
    }
    if (result == 0) {
        result = kernel_interface_set_flags(port->name, IFF_UP, 0);
    }
    if (result < 0) {
        return port_refuse(error, port->name, result, "cannot set up the host's side: %s",
                           strerror(-result));
    }
    return 0;
}

const struct port_driver port_driver_tap = {
    .driver = INTERFACE_TAP,
    .bus = "vdev",
    .pmd = "net_tap",
    .quirks = PORT_QUIRK_EMULATED_OFFLOADS | PORT_QUIRK_INTERRUPT_FD |
              PORT_QUIRK_COPIES_ON_TRANSMIT | PORT_QUIRK_CUTS_BY_LIBRARY,
    .rx_descriptors = 1,
    .tx_descriptors = 1024,
    .queue_count_max = PORT_QUEUES_MAX,
    .compose_arguments = compose_tap_arguments,
    .is_queue_descriptor = is_tap_descriptor,
    .before_start = silence_signals,
    .after_start = set_up_host_side,
};
