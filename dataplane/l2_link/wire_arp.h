/* ARP for IPv4 over Ethernet (RFC 826), between bytes and a struct; other kinds cannot be
 * expressed.
 *
 *   hardware 1(2) protocol 0x0800(2) sizes 6,4(2) operation(2)
 *   sender mac(6) sender ip(4) target mac(6) target ip(4)
 */
#ifndef NICACHED_L2_LINK_WIRE_ARP_H
#define NICACHED_L2_LINK_WIRE_ARP_H

#include <rte_ether.h>

#include "dataplane/base/bytes.h"

#define ARP_BYTES 28U

enum arp_operation { ARP_REQUEST = 1, ARP_REPLY = 2 };

struct arp_message {
    enum arp_operation operation;
    struct rte_ether_addr sender_mac, target_mac;
    uint32_t sender, target; /* host order */
};

/* False unless it is a whole request or reply for IPv4 over Ethernet; bytes behind it are padding.
 */
static inline bool wire_arp_parse(struct slice packet, struct arp_message *message)
{
    static const uint8_t kind[6] = {0x00, 0x01, 0x08, 0x00, 6, 4};
    if (packet.size < ARP_BYTES || memcmp(packet.data, kind, sizeof(kind)) != 0) {
        return false;
    }
    uint16_t operation = bytes_read_be16(packet.data + 6);
    if (operation != ARP_REQUEST && operation != ARP_REPLY) {
        return false;
    }
    message->operation = operation == ARP_REQUEST ? ARP_REQUEST : ARP_REPLY;
    memcpy(message->sender_mac.addr_bytes, packet.data + 8, RTE_ETHER_ADDR_LEN);
    message->sender = bytes_read_be32(packet.data + 14);
    memcpy(message->target_mac.addr_bytes, packet.data + 18, RTE_ETHER_ADDR_LEN);
    message->target = bytes_read_be32(packet.data + 24);
    return true;
}

/* Writes ARP_BYTES. */
static inline void wire_arp_compose(uint8_t *to, const struct arp_message *message)
{
    bytes_write_be16(to, 1);
    bytes_write_be16(to + 2, RTE_ETHER_TYPE_IPV4);
    to[4] = RTE_ETHER_ADDR_LEN;
    to[5] = 4;
    bytes_write_be16(to + 6, (uint16_t)message->operation);
    memcpy(to + 8, message->sender_mac.addr_bytes, RTE_ETHER_ADDR_LEN);
    bytes_write_be32(to + 14, message->sender);
    memcpy(to + 18, message->target_mac.addr_bytes, RTE_ETHER_ADDR_LEN);
    bytes_write_be32(to + 24, message->target);
}

#endif
