/* Ports: from an `interface` line to a started DPDK device.
 *
 *   interface_config -> driver row -> device arguments -> create -> capabilities -> queues
 *                    -> before_start -> start -> after_start
 *
 * Thread: setup and teardown on the control thread; bursts on the worker that owns the queue, which
 * touch nothing of struct port that changes after setup.
 * Memory: queues take their mbufs from the one packet pool; the caller destroys it after the ports.
 * Failure: setup undoes what it did and says why in one line; bursts cannot fail, they drop.
 */
#include "drivers/port.h"

#include <dirent.h>
#include <errno.h>
#include <net/if.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <rte_dev.h>
#include <rte_errno.h>

#include "dataplane/base/check.h"
#include "dataplane/base/log.h"
#include "drivers/dma.h"
#include "drivers/kernel_interface.h"
#include "drivers/port_gate.h"
#include "drivers/port_internal.h"
#include "drivers/port_rss.h"

#define MBUF_CACHE 256U
#define RX_OFFLOADS_CHECKSUM                                                                       \
    (RTE_ETH_RX_OFFLOAD_IPV4_CKSUM | RTE_ETH_RX_OFFLOAD_UDP_CKSUM | RTE_ETH_RX_OFFLOAD_TCP_CKSUM)
#define TX_OFFLOADS_WANTED                                                                         \
    (RTE_ETH_TX_OFFLOAD_IPV4_CKSUM | RTE_ETH_TX_OFFLOAD_UDP_CKSUM | RTE_ETH_TX_OFFLOAD_TCP_CKSUM | \
     RTE_ETH_TX_OFFLOAD_MULTI_SEGS | RTE_ETH_TX_OFFLOAD_TCP_TSO)
/* A packet that is cut: the device sums its segments, and its text lies in many buffers. Devices of
 * virtual machines make the IPv4 headers of what they cut, and announce no checksum for others. */
#define TX_OFFLOADS_OF_TSO                                                                         \
    (RTE_ETH_TX_OFFLOAD_TCP_CKSUM | RTE_ETH_TX_OFFLOAD_MULTI_SEGS | RTE_ETH_TX_OFFLOAD_TCP_TSO)
#define MTU_MIN              576U
#define MTU_MIN_IPV6         1280U /* RFC 8200 5 */
#define DESCRIPTORS_SEEN_MAX 4096
#define RETA_ENTRIES_MAX     RTE_ETH_RSS_RETA_SIZE_512
/* What a descriptor of any device holds (the smallest end below 16 KiB), and any one segment. */
#define MAPPED_PART_BYTES_MAX 12288U
/* What the kernel puts before a frame in a packet socket's ring: net_af_packet wants buffers that
 * could take all of an entry. (net_virtio wants 12 bytes for its own.) Large ones are a multiple of
 * what makes blocks of few pages. */
#define RING_HEADER_BYTES 66U
#define ROOM_STEP_BYTES   256U

static const struct port_driver *const drivers[] = {
    &port_driver_tap,   &port_driver_af_xdp, &port_driver_af_packet,
    &port_driver_memif, &port_driver_pcap,   &port_driver_pci,
};

static const struct port_driver *find_driver(enum interface_driver driver)
{
    for (size_t i = 0; i < RTE_DIM(drivers); i++) {
        if (drivers[i]->driver == driver) {
            return drivers[i];
        }
    }
    return NULL;
}

static bool has_quirk(const struct port *port, uint32_t quirk)
{
    return (port->driver->quirks & quirk) != 0;
}

int port_refuse(struct config_error *error, const char *name, int code, const char *format, ...)
{
    int used = snprintf(error->text, sizeof(error->text), "interface '%s': ", name);
    va_list list;
    va_start(list, format);
    vsnprintf(error->text + used, sizeof(error->text) - (size_t)used, format, list);
    va_end(list);
    return code;
}

/* As above, with the error's name and what DPDK logged about it. */
static int refuse_step(const struct port *port, struct config_error *error, int code,
                       const char *step)
{
    const char *reason = eal_reason();
    return port_refuse(error, port->name, code, "cannot %s: %s%s%s", step, rte_strerror(-code),
                       reason[0] ? ": " : "", reason);
}

/* ---- packet pool ----------------------------------------------------------------------------- */

/* For each worker: full receive and transmit rings and one pass of output on every port, its cache,
 * and what TCP may hold (out-of-order segments, fragments, packets waiting for a neighbour). With
 * several, also what is on its way from one to another: to it, and from it to be sent. */
static uint32_t packet_count(uint32_t workers, uint32_t ports)
{
    uint32_t handed_on = workers > 1 ? 2 * 1024U : 0;
    return workers * (ports * (3 * 1024U + handed_on) + 2 * MBUF_CACHE + 4096U) + 1024U;
}

uint32_t port_frame_room(uint16_t mtu)
{
    uint32_t bytes = mtu + (uint32_t)PORT_LINK_OVERHEAD + RING_HEADER_BYTES;
    return bytes <= RTE_MBUF_DEFAULT_DATAROOM
               ? RTE_MBUF_DEFAULT_DATAROOM
               : (bytes + ROOM_STEP_BYTES - 1) / ROOM_STEP_BYTES * ROOM_STEP_BYTES;
}

/* The stack above takes frames of one buffer, and so every buffer is as large as the largest frame:
 * to find out about chains on the packet path would cost every port what one has of them. */
static uint16_t buffer_bytes(uint16_t mtu)
{
    return (uint16_t)(port_frame_room(mtu) + RTE_PKTMBUF_HEADROOM);
}

uint64_t port_packet_pool_bytes(uint32_t workers, uint32_t ports, uint16_t mtu)
{
    const uint64_t one = buffer_bytes(mtu) + sizeof(struct rte_mbuf) + 128;
    return packet_count(workers, ports) * one + (UINT64_C(4) << 20);
}

/* Without hugepages rte_pktmbuf_pool_create would not let a packet cross a 4 KiB page, for the sake
 * of devices that need physical addresses, and so waste two fifths of the memory. There are none
 * then: those steps by hand, without that demand. */
static struct rte_mempool *create_packed_pool(uint32_t count, uint16_t bytes)
{
    struct rte_mempool *pool = rte_mempool_create_empty(
        "packets", count, (unsigned)sizeof(struct rte_mbuf) + bytes, MBUF_CACHE,
        sizeof(struct rte_pktmbuf_pool_private), SOCKET_ID_ANY, RTE_MEMPOOL_F_NO_IOVA_CONTIG);
    if (pool == NULL) {
        return NULL;
    }
    struct rte_pktmbuf_pool_private private = {.mbuf_data_room_size = bytes};
    rte_pktmbuf_pool_init(pool, &private);
    if (rte_mempool_populate_default(pool) < 0) {
        rte_mempool_free(pool);
        return NULL;
    }
    rte_mempool_obj_iter(pool, rte_pktmbuf_init, NULL);
    return pool;
}

struct rte_mempool *port_create_packet_pool(uint32_t workers, uint32_t ports, uint16_t mtu)
{
    CHECK(workers > 0 && workers <= CONFIG_WORKERS_MAX && ports <= CONFIG_INTERFACES_MAX);
    uint32_t count = packet_count(workers, ports);
    if (!eal_uses_hugepages()) {
        return create_packed_pool(count, buffer_bytes(mtu));
    }
    return rte_pktmbuf_pool_create("packets", count, MBUF_CACHE, 0, buffer_bytes(mtu),
                                   SOCKET_ID_ANY);
}

/* ---- the device's descriptors ---------------------------------------------------------------- */

/* PMDs do not say which descriptors their queues read from. They are those of the right kind that
 * were not open before the device was created. */
struct descriptor_set {
    uint64_t bits[DESCRIPTORS_SEEN_MAX / 64];
};

static void collect_descriptors(struct descriptor_set *set, descriptor_predicate *predicate)
{
    *set = (struct descriptor_set){0};
    DIR *directory = opendir("/proc/self/fd");
    if (directory == NULL) {
        return;
    }
    for (struct dirent *entry = readdir(directory); entry != NULL; entry = readdir(directory)) {
        int fd = atoi(entry->d_name);
        if (entry->d_name[0] != '.' && fd < DESCRIPTORS_SEEN_MAX && predicate(fd)) {
            set->bits[fd / 64] |= UINT64_C(1) << (fd % 64);
        }
    }
    closedir(directory);
}

static void keep_new_descriptors(struct port *port, const struct descriptor_set *before)
{
    struct descriptor_set after;
    collect_descriptors(&after, port->driver->is_queue_descriptor);
    for (int fd = 0; fd < DESCRIPTORS_SEEN_MAX && port->queue_fd_count < PORT_QUEUES_MAX; fd++) {
        uint64_t bit = UINT64_C(1) << (fd % 64);
        if ((after.bits[fd / 64] & bit) && !(before->bits[fd / 64] & bit)) {
            port->queue_fds[port->queue_fd_count++] = fd;
        }
    }
}

int port_join_descriptors(const int *fds, int count)
{
    int epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    for (int i = 0; epoll_fd >= 0 && i < count; i++) {
        struct epoll_event event = {.events = EPOLLIN};
        if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fds[i], &event) < 0) {
            close(epoll_fd);
            return -1;
        }
    }
    return epoll_fd;
}

static void ask_interrupt_descriptors(struct port *port)
{
    port->queue_fd_count = 0;
    for (uint16_t queue = 0; queue < port->capabilities.queue_count; queue++) {
        int fd = rte_eth_dev_rx_intr_ctl_q_get_fd(port->dpdk_port, queue);
        if (fd < 0 || queue >= PORT_QUEUES_MAX) {
            port->queue_fd_count = 0;
            return;
        }
        port->queue_fds[port->queue_fd_count++] = fd;
    }
}

/* Whether interrupts can be turned on for all queues; afterwards they are off, which not every
 * driver starts with. */
static bool can_arm(const struct port *port)
{
    bool can = true;
    for (uint16_t queue = 0; queue < port->capabilities.queue_count; queue++) {
        can = rte_eth_dev_rx_intr_enable(port->dpdk_port, queue) == 0 && can;
        (void)rte_eth_dev_rx_intr_disable(port->dpdk_port, queue);
    }
    return can;
}

/* A driver whose descriptors do not match its queues one to one has none that can be trusted. */
static void choose_queue_fds(struct port *port)
{
    bool armed = port->with_interrupts && has_quirk(port, PORT_QUIRK_ARMED_INTERRUPT);
    if (has_quirk(port, PORT_QUIRK_INTERRUPT_FD) || (armed && can_arm(port))) {
        ask_interrupt_descriptors(port);
    }
    if (port->queue_fd_count != port->capabilities.queue_count) {
        port->queue_fd_count = 0;
    }
    port->capabilities.rx_armed = armed && port->queue_fd_count > 0;
}

static void choose_rx_fd(struct port *port)
{
    choose_queue_fds(port);
    if (port->queue_fd_count == 1) {
        port->rx_fd = port->queue_fds[0];
    } else if (port->queue_fd_count > 1) {
        port->rx_fd = port_join_descriptors(port->queue_fds, port->queue_fd_count);
    }
    port->capabilities.rx_interrupt = port->rx_fd >= 0;
}

int port_queue_fd(const struct port *port, uint16_t queue)
{
    return queue < port->queue_fd_count ? port->queue_fds[queue] : -1;
}

/* It is an eventfd, which does not block. */
static bool take_interrupt(const struct port *port, uint16_t queue)
{
    uint64_t count;
    return read(port_queue_fd(port, queue), &count, sizeof(count)) == sizeof(count);
}

void port_arm(struct port *port, uint16_t queue)
{
    (void)take_interrupt(port, queue); /* that came after the last port_disarm */
    (void)rte_eth_dev_rx_intr_enable(port->dpdk_port, queue);
}

bool port_disarm(struct port *port, uint16_t queue)
{
    (void)rte_eth_dev_rx_intr_disable(port->dpdk_port, queue);
    return take_interrupt(port, queue);
}

/* ---- the kernel interface below -------------------------------------------------------------- */

/* Frames of a kernel virtual device may carry an unfinished checksum: port_checksum.c. */
static bool is_virtual_driver(const char *driver)
{
    static const char *const names[] = {"veth", "tun", "bridge", "dummy", "macvlan", "virtio_net"};
    for (size_t i = 0; i < RTE_DIM(names); i++) {
        if (strcmp(driver, names[i]) == 0) {
            return true;
        }
    }
    return false;
}

/* IPv6 finds neighbours by groups; in which ones a host is that shares the port we do not know. */
static bool needs_groups(const struct port *port)
{
    return addresses_have_family(&port->config.addresses, false) ||
           port->config.exception_tap[0] != '\0';
}

static uint32_t wanted_kernel_flags(const struct port *port)
{
    return needs_groups(port) ? IFF_UP | IFF_ALLMULTI : IFF_UP;
}

/* Receive offloads that merge frames would exceed the mbuf: off while the interface is ours. */
static int prepare_kernel_interface(struct port *port, struct config_error *error)
{
    uint32_t flags;
    int result = kernel_interface_get_flags(port->name, &flags);
    if (result < 0) {
        return port_refuse(error, port->name, result, "no such kernel interface: %s",
                           strerror(-result));
    }
    port->kernel_flags_before = flags;
    result = kernel_interface_set_flags(port->name, wanted_kernel_flags(port), 0);
    if (result < 0) {
        return port_refuse(error, port->name, result, "cannot bring it up: %s", strerror(-result));
    }
    char driver[32];
    port->unfinished_checksums =
        kernel_interface_get_driver(port->name, driver) == 0 && is_virtual_driver(driver);
    if (kernel_interface_get_gro(port->name, &port->kernel_gro_before) == 0 &&
        port->kernel_gro_before) {
        (void)kernel_interface_set_gro(port->name, false);
    }
    return 0;
}

static void restore_kernel_interface(struct port *port)
{
    if (port->kernel_gro_before) {
        (void)kernel_interface_set_gro(port->name, true);
    }
    uint32_t ours = wanted_kernel_flags(port) & ~port->kernel_flags_before;
    if (ours != 0) {
        (void)kernel_interface_set_flags(port->name, 0, ours);
    }
}

/* ---- the link -------------------------------------------------------------------------------- */

static bool link_is_up(const struct port *port)
{
    uint32_t flags = 0, needed = IFF_UP | IFF_RUNNING;
    if (has_quirk(port, PORT_QUIRK_KERNEL_LINK)) {
        return kernel_interface_get_flags(port->name, &flags) == 0 && (flags & needed) == needed;
    }
    struct rte_eth_link link;
    return rte_eth_link_get_nowait(port->dpdk_port, &link) != 0 ||
           link.link_status == RTE_ETH_LINK_UP;
}

/* EAL's interrupt thread and the control thread may look at once: one of them notes it. */
void port_watch_link(struct port *port)
{
    uint64_t changes = __atomic_load_n(&port->link_changes, __ATOMIC_RELAXED);
    bool up = link_is_up(port);
    if (up == (changes % 2 == 0) ||
        !__atomic_compare_exchange_n(&port->link_changes, &changes, changes + 1, false,
                                     __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
        return;
    }
    log_write(up ? LOG_NOTICE : LOG_WARNING, "interface '%s': link is %s", port->name,
              up ? "up" : "down");
}

static int on_link_event(uint16_t dpdk_port, enum rte_eth_event_type event, void *argument,
                         void *result)
{
    (void)dpdk_port;
    (void)event;
    (void)result;
    port_watch_link(argument);
    return 0;
}

static bool tells_link(const struct port *port, const struct rte_eth_dev_info *info)
{
    return !has_quirk(port, PORT_QUIRK_KERNEL_LINK) &&
           (*info->dev_flags & RTE_ETH_DEV_INTR_LSC) != 0;
}

/* ---- configuration --------------------------------------------------------------------------- */

static uint16_t choose_queue_count(const struct port *port, const struct rte_eth_dev_info *info,
                                   uint32_t wanted)
{
    uint32_t count = wanted;
    count = RTE_MIN(count, (uint32_t)info->max_rx_queues);
    count = RTE_MIN(count, (uint32_t)info->max_tx_queues);
    count = RTE_MIN(count, (uint32_t)port->driver->queue_count_max);
    return (uint16_t)RTE_MAX(count, 1U);
}

static uint16_t choose_mtu_max(const struct port *port, const struct rte_eth_dev_info *info,
                               struct rte_mempool *pool)
{
    uint32_t limit = rte_pktmbuf_data_room_size(pool) - RTE_PKTMBUF_HEADROOM - PORT_LINK_OVERHEAD;
    if (port->driver->mtu_max != 0) {
        limit = RTE_MIN(limit, (uint32_t)port->driver->mtu_max);
    }
    if (has_quirk(port, PORT_QUIRK_SIZE_UNTOLD)) {
        uint32_t asked = port->config.mtu != 0 ? port->config.mtu : RTE_ETHER_MTU;
        return (uint16_t)RTE_MIN(limit, RTE_MAX(asked, (uint32_t)RTE_ETHER_MTU));
    }
    /* As ethdev reckons: a device that gives no MTU gives a frame size, with header and FCS. */
    if (info->max_mtu != UINT16_MAX && info->max_mtu >= MTU_MIN) {
        limit = RTE_MIN(limit, (uint32_t)info->max_mtu);
    } else if (info->max_rx_pktlen >= MTU_MIN + RTE_ETHER_HDR_LEN + RTE_ETHER_CRC_LEN) {
        limit = RTE_MIN(limit, info->max_rx_pktlen - RTE_ETHER_HDR_LEN - RTE_ETHER_CRC_LEN);
    }
    return (uint16_t)limit;
}

/* The largest packet to be cut: as IP has it, or what the device's number of buffers holds when all
 * of it is copied into ours. */
static uint32_t choose_tso_bytes(const struct rte_eth_dev_info *info, struct rte_mempool *pool)
{
    uint32_t buffer = rte_pktmbuf_data_room_size(pool) - RTE_PKTMBUF_HEADROOM;
    uint32_t count = info->tx_desc_lim.nb_seg_max;
    return count == 0 || count >= UINT16_MAX / buffer ? UINT16_MAX : count * buffer;
}

/* What of its offloads is used: those that cost less than ours. */
static void choose_offloads(const struct port *port, const struct rte_eth_dev_info *info,
                            uint64_t *tx, uint64_t *rx)
{
    enum offloads_mode mode = port->config.offloads;
    *tx = info->tx_offload_capa & TX_OFFLOADS_WANTED;
    *rx = info->rx_offload_capa & RX_OFFLOADS_CHECKSUM;
    if (mode == OFFLOADS_NONE ||
        (mode == OFFLOADS_AUTO && has_quirk(port, PORT_QUIRK_EMULATED_OFFLOADS))) {
        *tx &= RTE_ETH_TX_OFFLOAD_MULTI_SEGS;
        *rx = 0;
    }
    *rx = *rx == RX_OFFLOADS_CHECKSUM ? *rx : 0;
    if ((*tx & TX_OFFLOADS_OF_TSO) != TX_OFFLOADS_OF_TSO) {
        *tx &= ~RTE_ETH_TX_OFFLOAD_TCP_TSO;
    }
}

static void choose_external(struct port *port)
{
    struct port_capabilities *can = &port->capabilities;
    if (!can->tx_multi_segment) {
        return;
    }
    if (has_quirk(port, PORT_QUIRK_COPIES_ON_TRANSMIT)) {
        can->tx_external_bytes = UINT16_MAX;
    } else if (has_quirk(port, PORT_QUIRK_READS_MEMORY) && dma_serves(port->device)) {
        can->tx_external_bytes = MAPPED_PART_BYTES_MAX;
        can->tx_external_mapped = true;
    }
}

static void choose_capabilities(struct port *port, const struct rte_eth_dev_info *info,
                                uint32_t queue_count, struct rte_mempool *pool,
                                struct rte_eth_conf *conf)
{
    struct port_capabilities *can = &port->capabilities;
    uint64_t tx, rx;
    choose_offloads(port, info, &tx, &rx);
    can->queue_count = choose_queue_count(port, info, queue_count);
    can->mtu_max = choose_mtu_max(port, info, pool);
    can->tx_ipv4_checksum = (tx & RTE_ETH_TX_OFFLOAD_IPV4_CKSUM) != 0;
    can->tx_tcp_checksum = (tx & RTE_ETH_TX_OFFLOAD_TCP_CKSUM) != 0;
    can->tx_udp_checksum = (tx & RTE_ETH_TX_OFFLOAD_UDP_CKSUM) != 0;
    can->tx_multi_segment = (tx & RTE_ETH_TX_OFFLOAD_MULTI_SEGS) != 0;
    choose_external(port);
    can->tx_tso_bytes = (tx & RTE_ETH_TX_OFFLOAD_TCP_TSO) != 0 ? choose_tso_bytes(info, pool) : 0;
    can->tx_tso_bytes_ipv6 = has_quirk(port, PORT_QUIRK_CUTS_BY_LIBRARY) ? 0 : can->tx_tso_bytes;
    can->tx_prepare = (tx & ~RTE_ETH_TX_OFFLOAD_MULTI_SEGS) != 0;
    can->rx_checksum = rx != 0 || port->unfinished_checksums;
    conf->txmode.offloads = tx;
    conf->rxmode.offloads = rx;
}

/* Whether the device can be made to agree with port_rss.h: TCP by ports is what matters. */
static bool takes_rss(const struct rte_eth_dev_info *info)
{
    uint64_t tcp = RTE_ETH_RSS_NONFRAG_IPV4_TCP | RTE_ETH_RSS_NONFRAG_IPV6_TCP;
    return (info->flow_type_rss_offloads & tcp) == tcp &&
           info->hash_key_size >= PORT_RSS_KEY_BYTES_MIN &&
           info->hash_key_size <= PORT_RSS_KEY_BYTES && info->reta_size <= RETA_ENTRIES_MAX &&
           info->reta_size >= PORT_RSS_TABLE_ENTRIES &&
           info->reta_size % PORT_RSS_TABLE_ENTRIES == 0;
}

/* Our key where the device takes it; its own, for balance alone, where it does not. */
static void choose_rss(struct port *port, const struct rte_eth_dev_info *info, struct port_rss *rss,
                       struct rte_eth_conf *conf)
{
    uint64_t types = info->flow_type_rss_offloads &
                     (RTE_ETH_RSS_IPV4 | RTE_ETH_RSS_FRAG_IPV4 | RTE_ETH_RSS_NONFRAG_IPV4_TCP |
                      RTE_ETH_RSS_NONFRAG_IPV4_UDP | RTE_ETH_RSS_NONFRAG_IPV4_OTHER |
                      RTE_ETH_RSS_IPV6 | RTE_ETH_RSS_FRAG_IPV6 | RTE_ETH_RSS_NONFRAG_IPV6_TCP |
                      RTE_ETH_RSS_NONFRAG_IPV6_UDP | RTE_ETH_RSS_NONFRAG_IPV6_OTHER);
    struct rte_eth_rss_conf *to = &conf->rx_adv_conf.rss_conf;
    if (!has_quirk(port, PORT_QUIRK_HARDWARE_RSS) || port->capabilities.queue_count == 1 ||
        types == 0) {
        return;
    }
    conf->rxmode.mq_mode = RTE_ETH_MQ_RX_RSS;
    to->rss_hf = types;
    port->capabilities.rss = rss != NULL && takes_rss(info);
    if (port->capabilities.rss) {
        to->rss_key = rss->key;
        to->rss_key_len = info->hash_key_size;
    }
}

/* A device that refuses spreads as it likes: then the workers hand frames on. */
static void set_rss_table(struct port *port)
{
    struct rte_eth_dev_info info;
    struct rte_eth_rss_reta_entry64 table[RETA_ENTRIES_MAX / RTE_ETH_RETA_GROUP_SIZE] = {0};
    if (!port->capabilities.rss) {
        return;
    }
    int result = rte_eth_dev_info_get(port->dpdk_port, &info);
    for (uint32_t i = 0; result == 0 && i < info.reta_size; i++) {
        struct rte_eth_rss_reta_entry64 *group = &table[i / RTE_ETH_RETA_GROUP_SIZE];
        group->mask = UINT64_MAX;
        group->reta[i % RTE_ETH_RETA_GROUP_SIZE] =
            (uint16_t)port_rss_worker(i, port->capabilities.queue_count);
    }
    port->capabilities.rss =
        result == 0 && rte_eth_dev_rss_reta_update(port->dpdk_port, table, info.reta_size) == 0;
}

/* The configured MTU, else the kernel interface's, else Ethernet's; never beyond one mbuf. */
static int choose_mtu(struct port *port, struct config_error *error)
{
    uint16_t limit = port->capabilities.mtu_max, mtu = port->config.mtu;
    if (mtu != 0 && (mtu > limit || mtu < MTU_MIN)) {
        return port_refuse(error, port->name, -EINVAL,
                           "mtu %u is not in %u to %u, which is what its driver takes", mtu,
                           MTU_MIN, limit);
    }
    if (mtu == 0 && (!has_quirk(port, PORT_QUIRK_KERNEL_INTERFACE) ||
                     kernel_interface_get_mtu(port->name, &mtu) < 0)) {
        mtu = RTE_ETHER_MTU;
    }
    port->config.mtu = mtu < limit ? mtu : limit;
    if (port->config.mtu < MTU_MIN_IPV6 && addresses_have_family(&port->config.addresses, false)) {
        return port_refuse(error, port->name, -EINVAL, "IPv6 needs an mtu of %u, it has %u",
                           MTU_MIN_IPV6, port->config.mtu);
    }
    return 0;
}

/* What the device is told; ours is smaller where frames that it cuts must fit its MTU. */
static uint16_t choose_device_mtu(struct port *port)
{
    uint32_t mtu = port->config.mtu;
    if (has_quirk(port, PORT_QUIRK_CUTS_BY_LIBRARY) && port->capabilities.tx_tso_bytes != 0) {
        mtu = RTE_MIN(mtu + PORT_LINK_OVERHEAD, (uint32_t)port->capabilities.mtu_max);
        port->config.mtu = (uint16_t)(mtu - PORT_LINK_OVERHEAD);
    }
    return (uint16_t)mtu;
}

/* A device without the call has no limit of its own. */
static int set_device_mtu(struct port *port)
{
    uint16_t mtu = choose_device_mtu(port);
    if (!has_quirk(port, PORT_QUIRK_SIZE_UNTOLD)) {
        int result = rte_eth_dev_set_mtu(port->dpdk_port, mtu);
        return result == -ENOTSUP ? 0 : result;
    }
    return has_quirk(port, PORT_QUIRK_KERNEL_INTERFACE) ? kernel_interface_set_mtu(port->name, mtu)
                                                        : 0;
}

static int setup_queues(struct port *port, const struct rte_eth_dev_info *info,
                        struct rte_mempool *pool)
{
    uint16_t rx = port->driver->rx_descriptors, tx = port->driver->tx_descriptors;
    int result = rte_eth_dev_adjust_nb_rx_tx_desc(port->dpdk_port, &rx, &tx);
    for (uint16_t queue = 0; result == 0 && queue < port->capabilities.queue_count; queue++) {
        struct rte_eth_rxconf rx_conf = info->default_rxconf;
        result = rte_eth_rx_queue_setup(port->dpdk_port, queue, rx,
                                        (unsigned)rte_eth_dev_socket_id(port->dpdk_port), &rx_conf,
                                        pool);
        if (result == 0) {
            result = rte_eth_tx_queue_setup(port->dpdk_port, queue, tx,
                                            (unsigned)rte_eth_dev_socket_id(port->dpdk_port), NULL);
        }
    }
    return result;
}

static int configure_device(struct port *port, uint32_t queue_count, struct port_rss *rss,
                            struct rte_mempool *pool, struct config_error *error)
{
    struct rte_eth_dev_info info;
    int result = rte_eth_dev_info_get(port->dpdk_port, &info);
    if (result < 0) {
        return refuse_step(port, error, result, "query the device");
    }
    struct rte_eth_conf conf = {0};
    choose_capabilities(port, &info, queue_count, pool, &conf);
    choose_rss(port, &info, rss, &conf);
    result = choose_mtu(port, error);
    if (result < 0) {
        return result;
    }
    conf.intr_conf.rxq = port->with_interrupts;
    port->link_told = tells_link(port, &info);
    conf.intr_conf.lsc = port->link_told;
    uint16_t queues = port->capabilities.queue_count;
    result = rte_eth_dev_configure(port->dpdk_port, queues, queues, &conf);
    if (result < 0) {
        return refuse_step(port, error, result, "configure the device");
    }
    result = set_device_mtu(port);
    if (result < 0) {
        return refuse_step(port, error, result, "set the mtu");
    }
    result = setup_queues(port, &info, pool);
    return result < 0 ? refuse_step(port, error, result, "set up the queues") : 0;
}

/* ---- creation and start ---------------------------------------------------------------------- */

static int create_device(struct port *port, uint32_t *queue_count, struct config_error *error)
{
    const struct port_driver *driver = port->driver;
    char arguments[PORT_DEVICE_TEXT_BYTES_MAX] = "";
    if (driver->pmd != NULL) {
        snprintf(port->device, sizeof(port->device), "%s_%s", driver->pmd, port->name);
    }
    if (driver->compose_arguments != NULL) {
        int result = driver->compose_arguments(&port->config, queue_count, arguments,
                                               sizeof(arguments), error);
        if (result < 0) {
            return result;
        }
    }
    if (driver->pmd == NULL) {
        /* pci: the argument is the address and, behind a comma, what the PMD understands. */
        size_t length = strcspn(port->config.argument, ",");
        snprintf(port->device, sizeof(port->device), "%.*s", (int)RTE_MIN(length, 63U),
                 port->config.argument);
    }
    int result = rte_eal_hotplug_add(driver->bus, port->device, arguments);
    if (result < 0) {
        return refuse_step(port, error, result, "create the device");
    }
    port->created = true;
    result = rte_eth_dev_get_port_by_name(port->device, &port->dpdk_port);
    return result < 0 ? refuse_step(port, error, result, "find the device") : 0;
}

static int start_device(struct port *port, struct config_error *error)
{
    const struct port_driver *driver = port->driver;
    int result = driver->before_start != NULL ? driver->before_start(port, error) : 0;
    if (result < 0) {
        return result;
    }
    result = rte_eth_dev_start(port->dpdk_port);
    if (result < 0) {
        return refuse_step(port, error, result, "start the device");
    }
    port->started = true;
    set_rss_table(port);
    if (needs_groups(port)) {
        /* A device without the call filters nothing, or its kernel interface was told. */
        (void)rte_eth_allmulticast_enable(port->dpdk_port);
    }
    result = rte_eth_macaddr_get(port->dpdk_port, &port->mac);
    if (result < 0) {
        return refuse_step(port, error, result, "read the device's address");
    }
    result = driver->after_start != NULL ? driver->after_start(port, error) : 0;
    if (result == 0 && port->link_told) {
        result = rte_eth_dev_callback_register(port->dpdk_port, RTE_ETH_EVENT_INTR_LSC,
                                               on_link_event, port);
        return result < 0 ? refuse_step(port, error, result, "watch the link") : 0;
    }
    return result;
}

static int bring_up(struct port *port, uint32_t queue_count, struct port_rss *rss,
                    struct rte_mempool *pool, const struct descriptor_set *before,
                    struct config_error *error)
{
    int result = configure_device(port, queue_count, rss, pool, error);
    if (result == 0 && before != NULL) {
        keep_new_descriptors(port, before);
    }
    return result == 0 ? start_device(port, error) : result;
}

/* What NICs refuse at the start though they announced it: interrupts where their vectors do not
 * suffice, numbers of queues that are no powers of two. */
static bool ask_for_less(struct port *port, uint32_t *queue_count)
{
    uint32_t had = port->capabilities.queue_count;
    if (port->started || !has_quirk(port, PORT_QUIRK_ARMED_INTERRUPT)) {
        return false;
    }
    if (port->with_interrupts) {
        port->with_interrupts = false;
        return true;
    }
    *queue_count = rte_align32prevpow2(had);
    port->with_interrupts = true;
    return *queue_count < had;
}

static int setup_device(struct port *port, uint32_t queue_count, struct port_rss *rss,
                        struct rte_mempool *pool, struct config_error *error)
{
    descriptor_predicate *predicate = port->driver->is_queue_descriptor;
    struct descriptor_set before;
    if (predicate != NULL) {
        collect_descriptors(&before, predicate);
    }
    int result = create_device(port, &queue_count, error);
    if (result < 0) {
        return result;
    }
    const struct descriptor_set *known = predicate != NULL ? &before : NULL;
    port->with_interrupts =
        has_quirk(port, PORT_QUIRK_INTERRUPT_FD) || has_quirk(port, PORT_QUIRK_ARMED_INTERRUPT);
    do {
        eal_forget_reason();
        result = bring_up(port, queue_count, rss, pool, known, error);
    } while (result < 0 && ask_for_less(port, &queue_count));
    return result;
}

int port_setup(struct port *port, const struct interface_config *config, uint32_t queue_count,
               struct port_rss *rss, struct rte_mempool *pool, struct config_error *error)
{
    CHECK(queue_count > 0 && pool != NULL);
    *port =
        (struct port){.config = *config, .rx_fd = -1, .kernel_flags_before = IFF_UP | IFF_ALLMULTI};
    memcpy(port->name, config->name, sizeof(port->name));
    port->driver = find_driver(config->driver);
    if (port->driver == NULL) {
        return port_refuse(error, port->name, -EINVAL, "is not a packet interface");
    }
    eal_forget_reason();
    int result = 0;
    if (has_quirk(port, PORT_QUIRK_KERNEL_INTERFACE)) {
        result = prepare_kernel_interface(port, error);
    }
    if (result == 0) {
        result = setup_device(port, queue_count, rss, pool, error);
    }
    if (result < 0) {
        port_teardown(port);
        return result;
    }
    choose_rx_fd(port);
    return 0;
}

int port_setup_exception(struct port *tap, const char *tap_name, const struct port *beside,
                         struct rte_mempool *pool, struct config_error *error)
{
    uint16_t queue_count = beside->capabilities.queue_count;
    struct interface_config config = {.driver = INTERFACE_TAP, .mtu = beside->config.mtu};
    snprintf(config.name, sizeof(config.name), "%s", tap_name);
    snprintf(config.argument, sizeof(config.argument), "mac=" RTE_ETHER_ADDR_PRT_FMT,
             RTE_ETHER_ADDR_BYTES(&beside->mac));
    int result = port_setup(tap, &config, queue_count, NULL, pool, error);
    if (result == 0 && tap->capabilities.queue_count != queue_count) {
        port_teardown(tap);
        result = port_refuse(error, tap_name, -ENOSPC, "has not %u queues as '%s' does",
                             queue_count, beside->name);
    }
    return result;
}

void port_teardown(struct port *port)
{
    if (port->driver == NULL) {
        return;
    }
    if (port->queue_fd_count > 1 && port->rx_fd >= 0) {
        close(port->rx_fd);
    }
    port->rx_fd = -1;
    port->queue_fd_count = 0;
    if (port->link_told) {
        (void)rte_eth_dev_callback_unregister(port->dpdk_port, RTE_ETH_EVENT_INTR_LSC,
                                              on_link_event, port);
    }
    if (port->started) {
        (void)rte_eth_dev_stop(port->dpdk_port);
        (void)rte_eth_dev_close(port->dpdk_port);
    }
    if (port->created) {
        (void)rte_eal_hotplug_remove(port->driver->bus, port->device);
    }
    if (port->created && port->driver->after_teardown != NULL) {
        port->driver->after_teardown(port);
    }
    if (has_quirk(port, PORT_QUIRK_KERNEL_INTERFACE)) {
        restore_kernel_interface(port);
    }
    port->created = port->started = false;
    port->driver = NULL;
}

/* ---- bursts ---------------------------------------------------------------------------------- */

static void restore_vlan_tags(struct rte_mbuf **packets, uint16_t count)
{
    for (uint16_t i = 0; i < count; i++) {
        if (UNLIKELY(packets[i]->ol_flags & RTE_MBUF_F_RX_VLAN_STRIPPED) &&
            rte_vlan_insert(&packets[i]) == 0) {
            packets[i]->ol_flags &= ~(RTE_MBUF_F_RX_VLAN_STRIPPED | RTE_MBUF_F_RX_VLAN);
        }
    }
}

static uint16_t receive_through(struct port_gate *gate, uint16_t dpdk_port, uint16_t queue,
                                struct rte_mbuf **packets, uint16_t count_max)
{
    if (!port_gate_enter(gate)) {
        return 0;
    }
    uint16_t count = rte_eth_rx_burst(dpdk_port, queue, packets, count_max);
    port_gate_leave(gate);
    return count;
}

uint16_t port_receive_burst(struct port *port, uint16_t queue, struct rte_mbuf **packets,
                            uint16_t count_max)
{
    uint16_t count = port->gate != NULL
                         ? receive_through(port->gate, port->dpdk_port, queue, packets, count_max)
                         : rte_eth_rx_burst(port->dpdk_port, queue, packets, count_max);
    if (count > 0 && has_quirk(port, PORT_QUIRK_VLAN_STRIPPED)) {
        restore_vlan_tags(packets, count);
    }
    if (count > 0 && port->unfinished_checksums) {
        port_mark_unfinished_checksums(packets, count);
    }
    return count;
}

static uint64_t count_missed(const struct port *port, uint16_t queue)
{
    uint64_t before = port->missed[queue];
    if (port->driver->count_missed != NULL) {
        int fd = port_queue_fd(port, queue);
        return fd >= 0 ? port->driver->count_missed(fd, before) : before;
    }
    struct rte_eth_stats stats;
    bool told = queue == 0 && rte_eth_stats_get(port->dpdk_port, &stats) == 0;
    return told ? stats.imissed + stats.rx_nombuf : before;
}

uint64_t port_take_missed(struct port *port, uint16_t queue)
{
    if (queue >= PORT_QUEUES_MAX) {
        return 0;
    }
    uint64_t before = port->missed[queue], now = count_missed(port, queue);
    port->missed[queue] = now;
    return now > before ? now - before : 0;
}

/* A PMD that cannot chain reads past the first segment: give it one. NULL when it does not fit or
 * the pool is dry. */
static struct rte_mbuf *flatten(struct rte_mbuf *packet)
{
    struct rte_mbuf *flat = rte_pktmbuf_copy(packet, packet->pool, 0, UINT32_MAX);
    if (flat != NULL && flat->nb_segs > 1) {
        rte_pktmbuf_free(flat);
        flat = NULL;
    }
    rte_pktmbuf_free(packet);
    return flat;
}

static uint16_t flatten_all(struct rte_mbuf **packets, uint16_t count)
{
    uint16_t kept = 0;
    for (uint16_t i = 0; i < count; i++) {
        struct rte_mbuf *packet = packets[i];
        if (packet->nb_segs > 1) {
            packet = flatten(packet);
        }
        if (packet != NULL) {
            packets[kept++] = packet;
        }
    }
    return kept;
}

static uint16_t offer_all(uint16_t dpdk_port, uint16_t queue, struct rte_mbuf **packets,
                          uint16_t count)
{
    uint16_t sent = 0, now = 0;
    do {
        now = rte_eth_tx_burst(dpdk_port, queue, packets + sent, (uint16_t)(count - sent));
        sent = (uint16_t)(sent + now);
    } while (now > 0 && sent < count);
    return sent;
}

static uint16_t offer_through(struct port_gate *gate, uint16_t dpdk_port, uint16_t queue,
                              struct rte_mbuf **packets, uint16_t count)
{
    if (!port_gate_enter(gate)) {
        return 0;
    }
    uint16_t sent = offer_all(dpdk_port, queue, packets, count);
    port_gate_leave(gate);
    return sent;
}

/* Some devices want more in the headers than DPDK says; a packet that the driver refuses is freed.
 */
static uint16_t prepare_all(struct port *port, uint16_t queue, struct rte_mbuf **packets,
                            uint16_t count)
{
    uint16_t ready = 0;
    while (ready < count) {
        ready = (uint16_t)(ready + rte_eth_tx_prepare(port->dpdk_port, queue, packets + ready,
                                                      (uint16_t)(count - ready)));
        if (UNLIKELY(ready < count)) {
            rte_pktmbuf_free(packets[ready]);
            count--;
            memmove(packets + ready, packets + ready + 1,
                    (size_t)(count - ready) * sizeof(packets[0]));
        }
    }
    return count;
}

uint16_t port_transmit_burst(struct port *port, uint16_t queue, struct rte_mbuf **packets,
                             uint16_t count)
{
    uint16_t usable = port->capabilities.tx_multi_segment ? count : flatten_all(packets, count);
    if (port->capabilities.tx_prepare) {
        usable = prepare_all(port, queue, packets, usable);
    }
    uint16_t sent = port->gate != NULL
                        ? offer_through(port->gate, port->dpdk_port, queue, packets, usable)
                        : offer_all(port->dpdk_port, queue, packets, usable);
    if (UNLIKELY(sent < usable)) {
        rte_pktmbuf_free_bulk(packets + sent, (unsigned)(usable - sent));
    }
    return (uint16_t)(count - sent);
}
