/* Kernel network interfaces by ioctl.
 *
 * Every call opens a datagram socket, makes one request and closes it: these run a few times at
 * start and at the end, so there is nothing to keep open between them.
 */
#include "drivers/kernel_interface.h"

#include <errno.h>
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

/* <linux/ipv6.h> has this struct, but does not go together with <netinet/in.h>. */
struct address_request_ipv6 {
    struct in6_addr address;
    uint32_t prefix_length;
    int interface_index;
};

static int request(int family, unsigned long command, void *argument)
{
    int fd = socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return -errno;
    }
    int result = ioctl(fd, command, argument) == 0 ? 0 : -errno;
    close(fd);
    return result;
}

static int name_request(struct ifreq *to, const char *name)
{
    *to = (struct ifreq){0};
    size_t size = strlen(name);
    if (size == 0 || size >= sizeof(to->ifr_name)) {
        return -ENAMETOOLONG;
    }
    memcpy(to->ifr_name, name, size);
    return 0;
}

static int ethtool(const char *name, void *command)
{
    struct ifreq ifreq;
    int result = name_request(&ifreq, name);
    if (result < 0) {
        return result;
    }
    ifreq.ifr_data = command;
    return request(AF_INET, SIOCETHTOOL, &ifreq);
}

int kernel_interface_get_flags(const char *name, uint32_t *flags)
{
    struct ifreq ifreq;
    int result = name_request(&ifreq, name);
    if (result == 0) {
        result = request(AF_INET, SIOCGIFFLAGS, &ifreq);
    }
    if (result == 0) {
        *flags = (uint16_t)ifreq.ifr_flags;
    }
    return result;
}

int kernel_interface_set_flags(const char *name, uint32_t set, uint32_t clear)
{
    uint32_t flags;
    int result = kernel_interface_get_flags(name, &flags);
    uint32_t wanted = (flags & ~clear) | set;
    if (result < 0 || wanted == flags) {
        return result;
    }
    struct ifreq ifreq;
    (void)name_request(&ifreq, name);
    ifreq.ifr_flags = (short)wanted;
    return request(AF_INET, SIOCSIFFLAGS, &ifreq);
}

int kernel_interface_get_mtu(const char *name, uint16_t *mtu)
{
    struct ifreq ifreq;
    int result = name_request(&ifreq, name);
    if (result == 0) {
        result = request(AF_INET, SIOCGIFMTU, &ifreq);
    }
    if (result == 0) {
        *mtu =
            ifreq.ifr_mtu < 0 || ifreq.ifr_mtu > UINT16_MAX ? UINT16_MAX : (uint16_t)ifreq.ifr_mtu;
    }
    return result;
}

int kernel_interface_set_mtu(const char *name, uint16_t mtu)
{
    struct ifreq ifreq;
    int result = name_request(&ifreq, name);
    if (result < 0) {
        return result;
    }
    ifreq.ifr_mtu = mtu;
    return request(AF_INET, SIOCSIFMTU, &ifreq);
}

static int set_address_ipv4(const char *name, uint32_t address, uint8_t prefix_length)
{
    struct ifreq ifreq;
    int result = name_request(&ifreq, name);
    if (result < 0) {
        return result;
    }
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(address)};
    memcpy(&ifreq.ifr_addr, &in, sizeof(in));
    result = request(AF_INET, SIOCSIFADDR, &ifreq);
    if (result < 0) {
        return result;
    }
    uint32_t mask = prefix_length == 0 ? 0 : UINT32_MAX << (32 - prefix_length);
    in.sin_addr.s_addr = htonl(mask);
    memcpy(&ifreq.ifr_netmask, &in, sizeof(in));
    return request(AF_INET, SIOCSIFNETMASK, &ifreq);
}

int kernel_interface_set_address(const char *name, const struct address *address,
                                 uint8_t prefix_length)
{
    if (address_is_ipv4(address)) {
        return prefix_length > 32 ? -EINVAL
                                  : set_address_ipv4(name, address_to_ipv4(address), prefix_length);
    }
    struct address_request_ipv6 add = {
        .prefix_length = prefix_length,
        .interface_index = (int)if_nametoindex(name),
    };
    memcpy(&add.address, address->bytes, sizeof(add.address));
    int result = request(AF_INET6, SIOCSIFADDR, &add);
    return result == -EEXIST ? 0 : result;
}

int kernel_interface_get_driver(const char *name, char *driver)
{
    struct ethtool_drvinfo info = {.cmd = ETHTOOL_GDRVINFO};
    int result = ethtool(name, &info);
    if (result == 0) {
        snprintf(driver, sizeof(info.driver), "%.31s", info.driver);
    }
    return result;
}

uint32_t kernel_interface_channel_count(const char *name)
{
    struct ethtool_channels channels = {.cmd = ETHTOOL_GCHANNELS};
    if (ethtool(name, &channels) < 0 || channels.combined_count == 0) {
        return 1;
    }
    return channels.combined_count;
}

int kernel_interface_get_gro(const char *name, bool *on)
{
    struct ethtool_value value = {.cmd = ETHTOOL_GGRO};
    int result = ethtool(name, &value);
    if (result == 0) {
        *on = value.data != 0;
    }
    return result;
}

int kernel_interface_set_gro(const char *name, bool on)
{
    struct ethtool_value value = {.cmd = ETHTOOL_SGRO, .data = on};
    return ethtool(name, &value);
}
