#include "dataplane/base/number.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>

bool number_parse_int64(struct slice text, int64_t *value)
{
    if (text.size == 0 || text.size > NUMBER_INT64_BYTES_MAX) {
        return false;
    }
    bool negative = text.data[0] == '-';
    size_t i = negative ? 1 : 0;
    if (i == text.size) {
        return false;
    }
    if (text.data[i] == '0') {
        *value = 0;
        return text.size == 1;
    }
    uint64_t magnitude = 0;
    for (; i < text.size; i++) {
        unsigned digit = (unsigned)text.data[i] - '0';
        if (digit > 9 || __builtin_mul_overflow(magnitude, 10U, &magnitude) ||
            __builtin_add_overflow(magnitude, digit, &magnitude)) {
            return false;
        }
    }
    if (magnitude > (uint64_t)INT64_MAX + (negative ? 1U : 0U)) {
        return false;
    }
    *value = negative ? (int64_t)(0U - magnitude) : (int64_t)magnitude;
    return true;
}

bool number_parse_uint64(struct slice text, uint64_t *value)
{
    if (text.size == 0) {
        return false;
    }
    uint64_t result = 0;
    for (size_t i = 0; i < text.size; i++) {
        unsigned digit = (unsigned)text.data[i] - '0';
        if (digit > 9 || __builtin_mul_overflow(result, 10U, &result) ||
            __builtin_add_overflow(result, digit, &result)) {
            return false;
        }
    }
    *value = result;
    return true;
}

bool number_parse_long_double(struct slice text, long double *value)
{
    char buffer[256];
    if (text.size == 0 || text.size >= sizeof(buffer)) {
        return false;
    }
    memcpy(buffer, text.data, text.size);
    buffer[text.size] = '\0';
    if (buffer[0] == ' ' || (buffer[0] >= '\t' && buffer[0] <= '\r')) {
        return false;
    }
    char *end;
    errno = 0;
    long double result = strtold(buffer, &end);
    if (end != buffer + text.size || isnan(result)) {
        return false;
    }
    if (errno == ERANGE &&
        (result == HUGE_VALL || result == -HUGE_VALL || fpclassify(result) == FP_ZERO)) {
        return false;
    }
    *value = result;
    return true;
}

static size_t digit_count(uint64_t value)
{
    size_t count = 1;
    for (; value >= 10000; value /= 10000) {
        count += 4;
    }
    return count + (value >= 10) + (value >= 100) + (value >= 1000);
}

static const char two_digits[] = "00010203040506070809"
                                 "10111213141516171819"
                                 "20212223242526272829"
                                 "30313233343536373839"
                                 "40414243444546474849"
                                 "50515253545556575859"
                                 "60616263646566676869"
                                 "70717273747576777879"
                                 "80818283848586878889"
                                 "90919293949596979899";

size_t number_format_uint64(uint64_t value, uint8_t *text)
{
    size_t size = digit_count(value);
    uint8_t *to = text + size;
    while (value >= 100) {
        to -= 2;
        memcpy(to, two_digits + value % 100 * 2, 2);
        value /= 100;
    }
    if (value >= 10) {
        memcpy(text, two_digits + value * 2, 2);
    } else {
        text[0] = (uint8_t)('0' + value);
    }
    return size;
}

size_t number_format_int64(int64_t value, uint8_t *text)
{
    if (value >= 0) {
        return number_format_uint64((uint64_t)value, text);
    }
    text[0] = '-';
    return 1 + number_format_uint64(0U - (uint64_t)value, text + 1);
}
