/* Unfinished checksums from kernel virtual devices.
 *
 * On a veth pair, a bridge or a virtual NIC the kernel leaves TCP and UDP checksums to "hardware"
 * that is not there: the frame that reaches a packet or XDP socket has in its checksum field only
 * the sum over the pseudo header (what a NIC with checksum offload would start from). The kernel
 * knows (TP_STATUS_CSUMNOTREADY), but neither net_af_packet nor net_af_xdp of DPDK 22.11 pass it
 * on, and only the owner of the other end can switch it off there (`ethtool -K PEER tx off`).
 * Dropped as wrong, nothing local would ever get through.
 *
 * But such a frame can be told: its field equals the pseudo-header sum. Those are marked as good,
 * for they have never been on a wire; all others stay "unknown" and are verified above as always. A
 * frame with a wrong checksum that happens to be this one value passes (1 in 65,536 of the
 * corrupted ones, on a link that has no bit errors): acceptable there, so it is done on such links
 * only.
 *
 * What cannot be repaired here: a sender that also leaves segmentation to the hardware (TSO) hands
 * over one frame of up to 64 KiB. An XDP program on the interface makes veth switch that off; with
 * af_packet it is cut to the ring's frame size and dropped by layer 3 as too short, and the peer
 * gets through by retransmitting single segments, slowly. `ethtool -K PEER tso off gso off` avoids
 * it.
 */
#include <rte_ip.h>

#include "dataplane/base/bytes.h"
#include "drivers/port_internal.h"

#define ETHERNET_BYTES 14U
#define VLAN_BYTES     4U

/* Folded, not complemented. */
static uint16_t pseudo_header_sum(const uint8_t *addresses, size_t address_bytes, uint8_t protocol,
                                  uint32_t length)
{
    uint32_t sum = protocol + (length >> 16) + (length & 0xffff);
    for (size_t i = 0; i < address_bytes; i += 2) {
        sum += bytes_read_be16(addresses + i);
    }
    sum = (sum >> 16) + (sum & 0xffff);
    return (uint16_t)((sum >> 16) + (sum & 0xffff));
}

/* Offset of the checksum field in the L4 header, or 0. */
static size_t checksum_offset(uint8_t protocol)
{
    return protocol == IPPROTO_TCP ? 16 : protocol == IPPROTO_UDP ? 6 : 0;
}

static bool is_unfinished_ipv4(const uint8_t *ip, size_t length)
{
    if (length < 20 || (ip[0] >> 4) != 4) {
        return false;
    }
    size_t header = (size_t)(ip[0] & 15) * 4;
    size_t total = bytes_read_be16(ip + 2);
    size_t field = checksum_offset(ip[9]);
    bool fragment = (bytes_read_be16(ip + 6) & 0x3fff) != 0;
    if (field == 0 || fragment || header < 20 || total < header + field + 2 ||
        length < header + field + 2) {
        return false;
    }
    return bytes_read_be16(ip + header + field) ==
           pseudo_header_sum(ip + 12, 8, ip[9], (uint32_t)(total - header));
}

/* No extension headers: none come with TCP or UDP from a kernel in practice. */
static bool is_unfinished_ipv6(const uint8_t *ip, size_t length)
{
    if (length < 40 || (ip[0] >> 4) != 6) {
        return false;
    }
    size_t payload = bytes_read_be16(ip + 4);
    size_t field = checksum_offset(ip[6]);
    if (field == 0 || payload < field + 2 || length < 40 + field + 2) {
        return false;
    }
    return bytes_read_be16(ip + 40 + field) ==
           pseudo_header_sum(ip + 8, 32, ip[6], (uint32_t)payload);
}

bool port_checksum_is_unfinished(const uint8_t *frame, size_t length)
{
    if (length < ETHERNET_BYTES) {
        return false;
    }
    size_t offset = ETHERNET_BYTES;
    uint16_t type = bytes_read_be16(frame + 12);
    if (type == RTE_ETHER_TYPE_VLAN && length >= ETHERNET_BYTES + VLAN_BYTES) {
        type = bytes_read_be16(frame + 16);
        offset += VLAN_BYTES;
    }
    if (type == RTE_ETHER_TYPE_IPV4) {
        return is_unfinished_ipv4(frame + offset, length - offset);
    }
    return type == RTE_ETHER_TYPE_IPV6 && is_unfinished_ipv6(frame + offset, length - offset);
}

void port_mark_unfinished_checksums(struct rte_mbuf **packets, uint16_t count)
{
    for (uint16_t i = 0; i < count; i++) {
        struct rte_mbuf *packet = packets[i];
        if (port_checksum_is_unfinished(rte_pktmbuf_mtod(packet, const uint8_t *),
                                        rte_pktmbuf_data_len(packet))) {
            packet->ol_flags |= RTE_MBUF_F_RX_L4_CKSUM_GOOD;
        }
    }
}
