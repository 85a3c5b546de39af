/* memcached's binary protocol: the numbers on the wire, and what a request of it carries besides
 * what the text protocol has.
 *
 * A packet, both ways (all numbers big-endian):
 *
 *    0  magic       0x80 request, 0x81 reply
 *    1  opcode      the reply repeats it
 *    2  key bytes   16 bits
 *    4  extra bytes 8 bits
 *    5  data type   0
 *    6  request: virtual bucket, not looked at; reply: status
 *    8  body bytes  32 bits: extras, key and value together
 *   12  opaque      the reply repeats it
 *   16  CAS         64 bits
 *   24  extras, key, value
 */
#ifndef NICACHED_L6_PROTOCOL_MEMCACHE_BINARY_H
#define NICACHED_L6_PROTOCOL_MEMCACHE_BINARY_H

#include "dataplane/base/bytes.h"

#define MEMCACHE_BINARY_REQUEST_MAGIC 0x80U
#define MEMCACHE_BINARY_REPLY_MAGIC   0x81U
#define MEMCACHE_BINARY_HEADER_BYTES  24U
#define MEMCACHE_BINARY_EXTRAS_MAX    20U /* of the longest request, incr */

/* incr and decr with this expiration leave a key that is not there alone. */
#define MEMCACHE_BINARY_CREATE_NOTHING 0xFFFFFFFFU

enum memcache_binary_status {
    MEMCACHE_BINARY_OK = 0x00,
    MEMCACHE_BINARY_NOT_FOUND = 0x01,
    MEMCACHE_BINARY_EXISTS = 0x02,
    MEMCACHE_BINARY_TOO_LARGE = 0x03,
    MEMCACHE_BINARY_INVALID = 0x04,
    MEMCACHE_BINARY_NOT_STORED = 0x05,
    MEMCACHE_BINARY_NOT_A_NUMBER = 0x06,
    MEMCACHE_BINARY_AUTH_ERROR = 0x20,
    MEMCACHE_BINARY_AUTH_CONTINUE = 0x21,
    MEMCACHE_BINARY_UNKNOWN = 0x81,
    MEMCACHE_BINARY_NO_MEMORY = 0x82,
};

/* Part of struct memcache_request; zeroed in one of the text protocol. */
struct memcache_binary {
    bool present;     /* the request is one of this protocol */
    bool quiet;       /* success, or a get's miss, has no reply */
    bool returns_key; /* getk, gatk and their quiet forms */
    bool is_set;      /* whatever its CAS: a value that cannot be kept takes the old one along */
    bool creates;     /* incr, decr: on a key that is not there */
    bool closes;      /* MEMCACHE_REFUSED: the connection ends behind the reply */
    uint8_t opcode;   /* as it was sent */
    uint8_t status;   /* MEMCACHE_REFUSED: why, an enum memcache_binary_status */
    uint32_t opaque;
    uint64_t initial; /* of what incr or decr creates */
};

#endif
