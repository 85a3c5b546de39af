/* ICMPv6 (RFC 4443): the messages that are served, by number. Neighbour discovery's are in
 * l2_link/wire_nd.h. */
#ifndef NICACHED_L3_IP_WIRE_ICMPV6_H
#define NICACHED_L3_IP_WIRE_ICMPV6_H

#include "dataplane/base/checksum.h"
#include "dataplane/l2_link/wire_ipv6.h"

#define ICMPV6_HEADER_BYTES 8U

enum icmpv6_type {
    ICMPV6_TYPE_UNREACHABLE = 1,
    ICMPV6_TYPE_PACKET_TOO_BIG = 2,
    ICMPV6_TYPE_TIME_EXCEEDED = 3,
    ICMPV6_TYPE_PARAMETER_PROBLEM = 4,
    ICMPV6_TYPE_ECHO_REQUEST = 128,
    ICMPV6_TYPE_ECHO_REPLY = 129,
    ICMPV6_TYPE_LISTENER_QUERY = 130,
};

#define ICMPV6_CODE_PORT        4U /* of unreachable */
#define ICMPV6_CODE_NEXT_HEADER 1U /* of a parameter problem */
#define ICMPV6_CODE_OPTION      2U

/* Completes an error message whose quote of `quote_bytes` lies behind its header. */
static inline void wire_icmpv6_compose_error(uint8_t *message, uint8_t type, uint8_t code,
                                             uint32_t parameter, uint32_t quote_bytes,
                                             const struct address *source,
                                             const struct address *destination)
{
    uint32_t bytes = ICMPV6_HEADER_BYTES + quote_bytes;
    bytes_write_be32(message, (uint32_t)type << 24 | (uint32_t)code << 16);
    bytes_write_be32(message + 4, parameter);
    uint64_t sum = checksum_pseudo(source, destination, IPV6_ICMP, bytes);
    checksum_store(message + 2, checksum_finish(checksum_add(sum, message, bytes)));
}

#endif
