/* The parser of memcached's binary protocol (what memcached 1.6.18 answers is the reference).
 *
 * It yields the same requests as the text parser, so that whatever runs those runs these, with
 * request->binary filled in. What is wrong with a request is a request, too: MEMCACHE_REFUSED with
 * its status, because the reply repeats opcode and opaque. Where the reference ends the connection
 * behind the reply, so do we (binary.closes), and nothing that follows is read.
 *
 * Judged by the header alone, so that nobody makes us wait for bytes only to be refused:
 *
 *   magic                             wrong: closed without a reply
 *   key and extras beyond the body    0x81, closed
 *   not logged in                     0x20, closed; but for version and SASL
 *   key of more than 250 bytes        0x04, closed
 *   lengths that the opcode excludes  0x04, closed
 *   unknown opcode                    0x81; its body is swallowed
 *   value larger than an item         the request with value_too_large; its body is swallowed
 *
 * Two things the reference does otherwise, because there the body of one request becomes the header
 * of the next: what follows the key of stat, touch and the gat family is refused (0x04, closed),
 * and of an unknown opcode the body is swallowed, not the key and then as much again.
 */
#ifndef NICACHED_L6_PROTOCOL_MEMCACHE_BINARY_PARSE_H
#define NICACHED_L6_PROTOCOL_MEMCACHE_BINARY_PARSE_H

#include "dataplane/l6_protocol/memcache_login_parse.h"

#define MEMCACHE_MECHANISM_BYTES_MAX 32U /* a longer name of a SASL mechanism: 0x04 */

struct memcache_binary_limits {
    uint64_t item_bytes_max; /* memcache-item-size-max */
    bool login_needed;       /* and nobody has logged in on this connection */
};

/* State between calls; documented in memcache_binary_parse.c. Zeroed is initialised; it owns
 * nothing, and between two calls it may be moved. */
struct memcache_binary_parser {
    uint8_t state;
    bool value_supplied, value_refused;
    uint64_t swallow_bytes;
    struct slice value; /* when it was supplied */
    struct slice key;   /* the one key that a request has */
};

/* Between two requests: what it knows is what it knew at first. */
static inline bool memcache_binary_is_at_rest(const struct memcache_binary_parser *parser)
{
    return parser->state == 0;
}

/* PARSE_FATAL has an empty error: close. There is no PARSE_ERROR. */
void memcache_binary_parse(struct memcache_binary_parser *parser,
                           const struct memcache_binary_limits *limits, struct slice input,
                           struct memcache_request *request, struct memcache_parse_result *result);

/* As memcache_parser_supply_value and memcache_parser_refuse_value; behind the value there is
 * nothing, so after the supply the input is header, extras and key alone. */
void memcache_binary_supply_value(struct memcache_binary_parser *parser, struct slice value);
void memcache_binary_refuse_value(struct memcache_binary_parser *parser);
/* The key of the request whose value is awaited; `input` begins with it. */
struct slice memcache_binary_awaited_key(const struct memcache_binary_parser *parser,
                                         struct slice input);

#endif
