/* The options of a TCP header as bytes: parser and composer, pure functions (RFC 9293 3.2, 7323,
 * 2018). Nothing here knows a connection. */
#ifndef NICACHED_L4_TRANSPORT_TCP_OPTIONS_H
#define NICACHED_L4_TRANSPORT_TCP_OPTIONS_H

#include "dataplane/base/bytes.h"

#define TCP_OPTION_BYTES_MAX       40U
#define TCP_TIMESTAMPS_BYTES       12U /* with the two NOPs that align it */
#define TCP_SACK_BLOCKS_MAX        4U
#define TCP_WINDOW_SCALE_SHIFT_MAX 14U
#define TCP_TIMESTAMPS_PREDICTED_WORD                                                              \
    0x0101080AU /* NOP NOP kind 8 length 10: what plain segments have */

struct tcp_sack_block {
    uint32_t start, end;
};

struct tcp_header_options {
    bool has_mss, has_window_scale, has_sack_permitted, has_timestamps;
    uint8_t window_scale; /* at most 14 */
    uint16_t mss;         /* as received: the caller clamps */
    uint32_t ts_value, ts_echo;
    uint32_t sack_count;
    struct tcp_sack_block sack[TCP_SACK_BLOCKS_MAX];
};

/* Parses what is well-formed. A length of 0, 1 or beyond the end stops the parsing there; unknown
 * kinds, and known ones with a wrong length, are stepped over. False when it stopped early. */
bool tcp_options_parse(struct slice bytes, struct tcp_header_options *options);

/* Writes the options in a fixed order, padded to a multiple of 4 with NOPs; SACK blocks as far as
 * they fit into `room` (at most TCP_OPTION_BYTES_MAX). Returns the bytes written. The others must
 * fit: the caller's bug otherwise. */
uint32_t tcp_options_compose(const struct tcp_header_options *options, uint8_t *to, uint32_t room);

#endif
