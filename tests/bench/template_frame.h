/* Whole Ethernet frames of a request or a TCP segment, from end to end, with right checksums.
 *
 * A frame is at least 60 bytes long, as on the wire without its FCS: padded with zeros behind the
 * IP packet.
 */
#ifndef NICACHED_TESTS_BENCH_TEMPLATE_FRAME_H
#define NICACHED_TESTS_BENCH_TEMPLATE_FRAME_H

#include <rte_ether.h>

#include "dataplane/base/bytes.h"

#define TEMPLATE_FRAME_BYTES_MAX   1514U
#define TEMPLATE_SEGMENT_BYTES_MAX 1460U /* of TCP payload in one frame */
#define TEMPLATE_PAYLOAD_BYTES_MAX 1472U /* of UDP payload in one frame */

/* Offsets in these frames. */
#define TEMPLATE_AT_IP      14U
#define TEMPLATE_AT_L4      34U
#define TEMPLATE_AT_PAYLOAD 42U /* of UDP */

enum template_flag {
    TEMPLATE_FIN = 0x01,
    TEMPLATE_SYN = 0x02,
    TEMPLATE_PSH = 0x08,
    TEMPLATE_ACK = 0x10,
};

struct template_end {
    struct rte_ether_addr mac;
    uint32_t ipv4; /* host order */
    uint16_t port;
};

struct template_segment {
    uint32_t sequence, acknowledgment;
    uint8_t flags; /* of enum template_flag; TEMPLATE_SYN carries the segment size above */
    struct slice payload;
};

/* Both write at most TEMPLATE_FRAME_BYTES_MAX and return how many. */
size_t template_compose_udp(uint8_t *to, const struct template_end *from,
                            const struct template_end *destination, struct slice payload,
                            bool with_checksum);
size_t template_compose_tcp(uint8_t *to, const struct template_end *from,
                            const struct template_end *destination,
                            const struct template_segment *segment);

#endif
