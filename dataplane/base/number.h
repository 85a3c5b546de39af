/* Text to number and back, strict as Redis and memcached are: no spaces, no '+', no leading zeros
 * where the reference refuses them. */
#ifndef NICACHED_BASE_NUMBER_H
#define NICACHED_BASE_NUMBER_H

#include "dataplane/base/bytes.h"

#define NUMBER_TEXT_BYTES_MAX 32 /* enough for any int64 and its sign */

#define NUMBER_INT64_BYTES_MAX 20U /* longer is no int64 */

/* As Redis' string2ll: "-?[1-9][0-9]*|0", in range. */
bool number_parse_int64(struct slice text, int64_t *value);

/* Digits only, leading zeros allowed, in range: memcached's numbers. */
bool number_parse_uint64(struct slice text, uint64_t *value);

/* As Redis' string2d / getLongDoubleFromObject: a whole finite-or-infinite decimal or hexadecimal
 * floating-point number, no leading space, never NaN. */
bool number_parse_long_double(struct slice text, long double *value);

/* Writes at most NUMBER_TEXT_BYTES_MAX bytes, no terminator; returns how many. */
size_t number_format_int64(int64_t value, uint8_t *text);
size_t number_format_uint64(uint64_t value, uint8_t *text);

/* The same; returns where it ends. Lengths, flags and counts are mostly of one or two digits. */
static inline uint8_t *number_put_uint64(uint8_t *to, uint64_t value)
{
    if (value < 10) {
        *to = (uint8_t)('0' + value);
        return to + 1;
    }
    if (value < 100) {
        to[0] = (uint8_t)('0' + value / 10);
        to[1] = (uint8_t)('0' + value % 10);
        return to + 2;
    }
    return to + number_format_uint64(value, to);
}

#endif
