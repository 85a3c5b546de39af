/* Kernel network interfaces by ioctl, addresses by rtnetlink: an interface may have several.
 *
 * Every call opens a socket, makes one request and closes it: these run a few times at start and at
 * the end, so there is nothing to keep open between them.
 */
#include "drivers/kernel_interface.h"

#include <errno.h>
#include <linux/ethtool.h>
#include <linux/if_addr.h>
#include <linux/rtnetlink.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

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
    uint32_t flags = 0;
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

/* RTM_NEWADDR with up to three attributes. */
struct address_request {
    struct nlmsghdr header;
    struct ifaddrmsg message;
    uint8_t attributes[3 * RTA_SPACE(sizeof(struct in6_addr))];
};

static void add_attribute(struct address_request *to, uint16_t type, const void *data, size_t size)
{
    uint32_t at = NLMSG_ALIGN(to->header.nlmsg_len);
    struct rtattr attribute = {.rta_len = (uint16_t)RTA_LENGTH(size), .rta_type = type};
    memcpy((uint8_t *)to + at, &attribute, sizeof(attribute));
    memcpy((uint8_t *)to + at + RTA_LENGTH(0), data, size);
    to->header.nlmsg_len = at + (uint32_t)RTA_LENGTH(size);
}

/* Sends the request and reads the kernel's answer to it. */
static int request_by_netlink(const struct nlmsghdr *message)
{
    struct {
        struct nlmsghdr header;
        struct nlmsgerr error;
        uint8_t rest[256];
    } answer;
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
    if (fd < 0) {
        return -errno;
    }
    int result = 0;
    ssize_t got = 0;
    if (send(fd, message, message->nlmsg_len, 0) < 0 ||
        (got = recv(fd, &answer, sizeof(answer), 0)) < 0) {
        result = -errno;
    }
    close(fd);
    if (result == 0) {
        bool complete = (size_t)got >= NLMSG_LENGTH(sizeof(answer.error.error)) &&
                        answer.header.nlmsg_type == NLMSG_ERROR;
        result = complete ? answer.error.error : -EPROTO;
    }
    return result;
}

/* Without duplicate address detection: nobody else is on the other end of what we made. */
int kernel_interface_set_address(const char *name, const struct address *address,
                                 uint8_t prefix_length)
{
    bool ipv4 = address_is_ipv4(address);
    size_t size = ipv4 ? 4 : 16;
    const uint8_t *bytes = address->bytes + (16 - size);
    if (prefix_length > size * 8) {
        return -EINVAL;
    }
    struct address_request add = {
        .header = {.nlmsg_len = NLMSG_LENGTH(sizeof(struct ifaddrmsg)),
                   .nlmsg_type = RTM_NEWADDR,
                   .nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE},
        .message = {.ifa_family = ipv4 ? AF_INET : AF_INET6,
                    .ifa_prefixlen = prefix_length,
                    .ifa_flags = ipv4 ? 0 : IFA_F_NODAD,
                    .ifa_index = if_nametoindex(name)},
    };
    add_attribute(&add, IFA_LOCAL, bytes, size);
    add_attribute(&add, IFA_ADDRESS, bytes, size);
    if (ipv4 && prefix_length < 31) {
        uint8_t broadcast[4];
        uint32_t hosts = (uint32_t)(UINT64_C(0xffffffff) >> prefix_length);
        bytes_write_be32(broadcast, address_to_ipv4(address) | hosts);
        add_attribute(&add, IFA_BROADCAST, broadcast, sizeof(broadcast));
    }
    int result = request_by_netlink(&add.header);
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
