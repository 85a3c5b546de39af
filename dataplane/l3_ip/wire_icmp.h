/* ICMP (RFC 792): the messages that are served, between bytes and structs. */
#ifndef NICACHED_L3_IP_WIRE_ICMP_H
#define NICACHED_L3_IP_WIRE_ICMP_H

#include "dataplane/l3_ip/checksum.h"

#define ICMP_HEADER_BYTES 8U

enum icmp_type {
    ICMP_TYPE_ECHO_REPLY = 0,
    ICMP_TYPE_UNREACHABLE = 3,
    ICMP_TYPE_ECHO_REQUEST = 8,
    ICMP_TYPE_TIME_EXCEEDED = 11,
    ICMP_TYPE_PARAMETER_PROBLEM = 12,
};

enum icmp_unreachable_code {
    ICMP_CODE_PROTOCOL = 2,
    ICMP_CODE_PORT = 3,
    ICMP_CODE_FRAGMENTATION_NEEDED = 4,
};

/* Turns an echo request into its reply, of the type that the family has for it; the checksum is
 * changed by what the type changes (RFC 1624; ICMPv6's pseudo-header has the same sum both ways).
 */
static inline void wire_icmp_make_echo_reply(uint8_t *message, uint8_t reply_type)
{
    uint16_t old_word, old_checksum;
    memcpy(&old_word, message, 2);
    memcpy(&old_checksum, message + 2, 2);
    message[0] = reply_type;
    uint16_t new_word;
    memcpy(&new_word, message, 2);
    uint64_t sum = (uint64_t)(uint16_t)~old_checksum + (uint16_t)~old_word + new_word;
    /* Of the two zeros, all ones is right for every message; 0 is wrong for one of nothing but
     * zeros, and the change alone cannot tell which it is. */
    uint16_t checksum = checksum_finish(sum);
    checksum_store(message + 2, checksum == 0 ? 0xffff : checksum);
}

/* Completes an unreachable message whose quote of `quote_bytes` lies behind its header. */
static inline void wire_icmp_compose_unreachable(uint8_t *message, uint8_t code, size_t quote_bytes)
{
    memset(message, 0, ICMP_HEADER_BYTES);
    message[0] = ICMP_TYPE_UNREACHABLE;
    message[1] = code;
    uint64_t sum = checksum_add(0, message, ICMP_HEADER_BYTES + quote_bytes);
    checksum_store(message + 2, checksum_finish(sum));
}

#endif
