/* af_xdp: a kernel interface through XDP sockets (DPDK net_af_xdp).
 *
 * An XDP program on the interface redirects every frame of a receive queue into our socket, so the
 * kernel's stack sees nothing of it while we run. One socket for each hardware queue: we cannot
 * have more queues than the interface has combined channels, and with fewer the rest goes to the
 * kernel
 * (`ethtool -L NAME combined N` to match `workers`; an interface with separate receive and transmit
 * channels must have one of each). How the NIC spreads flows is the kernel's affair: workers hand
 * frames on by the hash of ours (core/core_distributor.h). Checksums of virtual devices:
 * port_checksum.c.
 */
#include <dlfcn.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include <linux/if_xdp.h>

#include "dataplane/base/log.h"
#include "drivers/kernel_interface.h"
#include "drivers/port_internal.h"

#ifndef AF_XDP
#define AF_XDP 44
#endif
#ifndef SOL_XDP
#define SOL_XDP 283
#endif

static bool is_xdp_socket(int fd)
{
    int domain;
    socklen_t size = sizeof(domain);
    return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) == 0 && domain == AF_XDP;
}

/* The PMD brings in libxdp and libbpf, which write to stderr by themselves. They are found by name:
 * linking them would need them on hosts that never use XDP. */
__attribute__((format(printf, 2, 0))) static int drop_library_message(int level, const char *format,
                                                                      va_list arguments)
{
    if (level == 0) {
        char text[256];
        vsnprintf(text, sizeof(text), format, arguments);
        log_debug("xdp: %.*s", (int)strcspn(text, "\n"), text);
    }
    return 0;
}

static void silence_library(const char *library, const char *function)
{
    typedef int message_function(int, const char *, va_list);
    void *handle = dlopen(library, RTLD_LAZY | RTLD_NOLOAD);
    if (handle != NULL) {
        message_function *(*set_print)(message_function *);
        void *symbol = dlsym(handle, function);
        memcpy(&set_print, &symbol, sizeof(set_print));
        if (set_print != NULL) {
            (void)set_print(drop_library_message);
        }
        dlclose(handle);
    }
}

static int compose_af_xdp_arguments(const struct interface_config *config, uint32_t *queue_count,
                                    char *text, size_t size, struct config_error *error)
{
    (void)error;
    silence_library("libxdp.so.1", "libxdp_set_print");
    silence_library("libbpf.so.1", "libbpf_set_print");
    *queue_count = RTE_MIN(*queue_count, kernel_interface_channel_count(config->name));
    snprintf(text, size, "iface=%s,start_queue=0,queue_count=%u", config->name, *queue_count);
    return 0;
}

/* net_af_xdp leaves out those that found the ring full. */
static uint64_t count_missed(int fd, uint64_t before)
{
    struct xdp_statistics stats;
    socklen_t size = sizeof(stats);
    bool told = getsockopt(fd, SOL_XDP, XDP_STATISTICS, &stats, &size) == 0;
    return told && size == sizeof(stats) ? stats.rx_dropped + stats.rx_ring_full : before;
}

const struct port_driver port_driver_af_xdp = {
    .driver = INTERFACE_AF_XDP,
    .bus = "vdev",
    .pmd = "net_af_xdp",
    .quirks = PORT_QUIRK_KERNEL_INTERFACE | PORT_QUIRK_KERNEL_LINK,
    .rx_descriptors = 1024,
    .tx_descriptors = 1024,
    .queue_count_max = PORT_QUEUES_MAX,
    .mtu_max = 1700, /* 2 KiB of data room less the headroom that XDP programs are granted */
    .compose_arguments = compose_af_xdp_arguments,
    .is_queue_descriptor = is_xdp_socket,
    .count_missed = count_missed,
};
