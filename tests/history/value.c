/* Values: the texts that clients write, and what the checker keeps of them. */
#include "tests/history/history.h"

#include <inttypes.h>

#define BIT_STRING (UINT64_C(1) << 63)
#define BIT_NUMBER (UINT64_C(1) << 62)

#define HASH_MASK     ((UINT64_C(1) << 48) - 1)
#define HASH_START    UINT64_C(0xcbf29ce48423)
#define HASH_FACTOR   UINT64_C(0x5851f42d4c95)
#define LENGTH_SHIFT  48
#define ORIGIN_SHIFT  16 /* of a number: so many increments before it looks like another one */
#define NUMBER_DIGITS 15U

/* One byte after the other, so that APPEND continues it. */
static uint64_t hash_bytes(uint64_t hash, struct slice bytes)
{
    for (size_t i = 0; i < bytes.size; i++) {
        hash = ((hash ^ bytes.data[i]) * HASH_FACTOR) & HASH_MASK;
        hash ^= hash >> 29;
    }
    return hash;
}

static uint64_t string_bits(uint64_t hash, uint64_t length)
{
    return BIT_STRING | (length & VALUE_LENGTH_MASK) << LENGTH_SHIFT | hash;
}

struct value value_of_number(uint64_t number)
{
    return (struct value){BIT_NUMBER | number, (uint32_t)(number >> ORIGIN_SHIFT)};
}

bool value_is_number(struct value value)
{
    return (value.bits & BIT_NUMBER) != 0 && (value.bits & BIT_STRING) == 0;
}

uint64_t value_number(struct value value)
{
    return value.bits & ~BIT_NUMBER;
}

/* The number at the start of `bytes`, and how many digits it has. */
static uint64_t leading_number(struct slice bytes, size_t *digits)
{
    uint64_t number = 0;
    *digits = 0;
    while (*digits < bytes.size && *digits < NUMBER_DIGITS && bytes.data[*digits] >= '0' &&
           bytes.data[*digits] <= '9') {
        number = number * 10 + (uint64_t)(bytes.data[(*digits)++] - '0');
    }
    return number;
}

static uint32_t origin_of_string(struct slice bytes)
{
    size_t digits;
    if (bytes.size > 0 && (bytes.data[0] == 'v' || bytes.data[0] == '+')) {
        uint64_t token = leading_number(slice_from(bytes, 1), &digits);
        return digits > 0 && token < ORIGIN_UNKNOWN ? (uint32_t)token : ORIGIN_UNKNOWN;
    }
    uint64_t number = leading_number(bytes, &digits);
    return digits > 0 ? (uint32_t)(number >> ORIGIN_SHIFT) : ORIGIN_UNKNOWN;
}

struct value value_of_bytes(struct slice bytes)
{
    size_t digits;
    uint64_t number = leading_number(bytes, &digits);
    if (digits > 0 && digits == bytes.size && bytes.data[0] != '0') {
        return value_of_number(number);
    }
    return (struct value){string_bits(hash_bytes(HASH_START, bytes), bytes.size),
                          origin_of_string(bytes)};
}

static size_t write_number(uint8_t *text, uint64_t number)
{
    return (size_t)snprintf((char *)text, VALUE_TEXT_BYTES_MAX, "%" PRIu64, number);
}

uint32_t value_length(struct value value)
{
    uint8_t text[VALUE_TEXT_BYTES_MAX];
    if (value_is_absent(value)) {
        return 0;
    }
    return value_is_number(value) ? (uint32_t)write_number(text, value_number(value))
                                  : (uint32_t)(value.bits >> LENGTH_SHIFT) & VALUE_LENGTH_MASK;
}

struct value value_append(struct value value, struct slice bytes)
{
    uint8_t text[VALUE_TEXT_BYTES_MAX];
    if (value_is_absent(value)) {
        return value_of_bytes(bytes);
    }
    uint64_t hash = value.bits & HASH_MASK;
    if (value_is_number(value)) {
        hash = hash_bytes(HASH_START, slice_of(text, write_number(text, value_number(value))));
    }
    return (struct value){
        string_bits(hash_bytes(hash, bytes), (uint64_t)value_length(value) + bytes.size),
        value.origin};
}

uint32_t value_rank(struct value value)
{
    const uint32_t increments_max = (1U << ORIGIN_SHIFT) - 1;
    return value_is_number(value) ? (uint32_t)value_number(value) & increments_max
                                  : increments_max + value_length(value);
}

size_t value_write_string(uint8_t *text, uint32_t token, uint32_t padding)
{
    size_t size = (size_t)snprintf((char *)text, VALUE_TEXT_BYTES_MAX, "v%" PRIu32 ".", token);
    memset(text + size, 'a' + (int)(token % 26), padding);
    return size + padding;
}

size_t value_write_number(uint8_t *text, uint32_t token)
{
    return write_number(text, (uint64_t)token << ORIGIN_SHIFT);
}

size_t value_write_suffix(uint8_t *text, uint32_t token)
{
    return (size_t)snprintf((char *)text, VALUE_TEXT_BYTES_MAX, "+%" PRIu32, token);
}
