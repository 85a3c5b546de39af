/* Kernel network interfaces by ioctl: what `ip` and `ethtool` would do, without running them.
 *
 * Control thread only. Every function returns 0 or a negative errno.
 */
#ifndef NICACHED_DRIVERS_KERNEL_INTERFACE_H
#define NICACHED_DRIVERS_KERNEL_INTERFACE_H

#include "dataplane/base/address.h"

int kernel_interface_get_flags(const char *name, uint32_t *flags);
int kernel_interface_set_flags(const char *name, uint32_t set, uint32_t clear);
int kernel_interface_get_mtu(const char *name, uint16_t *mtu);
int kernel_interface_set_mtu(const char *name, uint16_t mtu);
/* Adds it to what the interface has. */
int kernel_interface_set_address(const char *name, const struct address *address,
                                 uint8_t prefix_length);
/* "veth", "tun", "virtio_net", ...: the kernel driver behind it; `driver` has room for 32. */
int kernel_interface_get_driver(const char *name, char *driver);
/* How many combined channels (queue pairs) it has; 1 if it cannot say. */
uint32_t kernel_interface_channel_count(const char *name);
/* Generic receive offload merges frames before a packet socket sees them. */
int kernel_interface_get_gro(const char *name, bool *on);
int kernel_interface_set_gro(const char *name, bool on);

#endif
