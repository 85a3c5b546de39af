/* Base64 (RFC 4648, section 4), for the keys of memcached's meta commands. */
#ifndef NICACHED_L6_PROTOCOL_BASE64_H
#define NICACHED_L6_PROTOCOL_BASE64_H

#include "dataplane/base/bytes.h"

#define BASE64_DECODED_BYTES(size) ((size) / 4 * 3)
#define BASE64_ENCODED_BYTES(size) (((size) + 2) / 3 * 4)

/* Writes BASE64_DECODED_BYTES(text.size) bytes at most and returns how many; 0: that was none, or
 * empty. As memcached does, it passes over bytes that are not of the alphabet, and ends behind the
 * first group that holds padding. */
size_t base64_decode(struct slice text, uint8_t *to);
/* Writes BASE64_ENCODED_BYTES(bytes.size) and returns it. */
size_t base64_encode(struct slice bytes, uint8_t *to);

#endif
