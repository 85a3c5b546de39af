/* See base64.h. Pure functions. */
#include "dataplane/l6_protocol/base64.h"

#define NO_DIGIT 64U

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static uint32_t digit_of(uint8_t byte)
{
    if (byte >= 'A' && byte <= 'Z') {
        return byte - 'A';
    }
    if (byte >= 'a' && byte <= 'z') {
        return byte - 'a' + 26U;
    }
    if (byte >= '0' && byte <= '9') {
        return byte - '0' + 52U;
    }
    return byte == '+' ? 62U : byte == '/' ? 63U : NO_DIGIT;
}

static bool counts(uint8_t byte)
{
    return byte == '=' || digit_of(byte) != NO_DIGIT;
}

static size_t count_digits(struct slice text)
{
    size_t count = 0;
    for (size_t i = 0; i < text.size; i++) {
        count += counts(text.data[i]);
    }
    return count;
}

size_t base64_decode(struct slice text, uint8_t *to)
{
    uint32_t group = 0, in_group = 0, padding = 0;
    size_t size = 0;
    if (count_digits(text) % 4 != 0) {
        return 0;
    }
    for (size_t i = 0; i < text.size; i++) {
        uint8_t byte = text.data[i];
        if (!counts(byte)) {
            continue;
        }
        padding += byte == '=';
        group = group << 6 | (byte == '=' ? 0 : digit_of(byte));
        if (++in_group < 4) {
            continue;
        }
        to[size++] = (uint8_t)(group >> 16);
        to[size++] = (uint8_t)(group >> 8);
        to[size++] = (uint8_t)group;
        if (padding > 0) {
            return padding > 2 ? 0 : size - padding;
        }
        group = in_group = 0;
    }
    return size;
}

size_t base64_encode(struct slice bytes, uint8_t *to)
{
    size_t size = 0;
    for (size_t i = 0; i < bytes.size; i += 3) {
        size_t left = bytes.size - i;
        uint32_t group = (uint32_t)bytes.data[i] << 16 |
                         (left > 1 ? (uint32_t)bytes.data[i + 1] << 8 : 0) |
                         (left > 2 ? bytes.data[i + 2] : 0U);
        to[size++] = (uint8_t)digits[group >> 18];
        to[size++] = (uint8_t)digits[group >> 12 & 63];
        to[size++] = (uint8_t)(left > 1 ? digits[group >> 6 & 63] : '=');
        to[size++] = (uint8_t)(left > 2 ? digits[group & 63] : '=');
    }
    return size;
}
