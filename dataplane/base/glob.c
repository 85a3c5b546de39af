/* Glob matching with one point to come back to.
 *
 * Only the latest '*' ever has to be tried again: if the rest of the pattern cannot match from some
 * place behind it, an earlier '*' that swallows more cannot help, because the latest one could have
 * swallowed the same bytes. So two saved positions take the place of recursion.
 */
#include "dataplane/base/glob.h"

static uint8_t fold(uint8_t byte, bool ignore_case)
{
    return ignore_case && byte >= 'A' && byte <= 'Z' ? (uint8_t)(byte | 0x20) : byte;
}

/* One byte against the class that opens at `*at`; moves `*at` behind the class. A class without its
 * ']' ends with the pattern, as Redis takes it. */
static bool class_matches(struct slice pattern, size_t *at, uint8_t byte, bool ignore_case)
{
    size_t i = *at + 1;
    bool negated = i < pattern.size && pattern.data[i] == '^';
    bool found = false;
    i += negated ? 1 : 0;
    while (i < pattern.size && pattern.data[i] != ']') {
        uint8_t low, high;
        if (pattern.data[i] == '\\' && i + 1 < pattern.size) {
            low = high = pattern.data[i + 1];
            i += 2;
        } else if (i + 2 < pattern.size && pattern.data[i + 1] == '-') {
            low = pattern.data[i];
            high = pattern.data[i + 2];
            i += 3;
        } else {
            low = high = pattern.data[i];
            i += 1;
        }
        if (low > high) {
            uint8_t swapped = low;
            low = high;
            high = swapped;
        }
        low = fold(low, ignore_case);
        high = fold(high, ignore_case);
        found = found || (byte >= low && byte <= high);
    }
    *at = i < pattern.size ? i + 1 : i;
    return found != negated;
}

/* One byte against the single-byte element at `*at`; moves `*at` behind the element. */
static bool element_matches(struct slice pattern, size_t *at, uint8_t byte, bool ignore_case)
{
    byte = fold(byte, ignore_case);
    switch (pattern.data[*at]) {
    case '?': *at += 1; return true;
    case '[': return class_matches(pattern, at, byte, ignore_case);
    case '\\': *at += *at + 1 < pattern.size ? 1 : 0; break;
    default: break;
    }
    return fold(pattern.data[(*at)++], ignore_case) == byte;
}

bool glob_matches(struct slice pattern, struct slice text, bool ignore_case)
{
    size_t at = 0, i = 0;
    size_t star_at = SIZE_MAX, star_i = 0; /* behind the latest '*', and what it has swallowed */
    while (i < text.size) {
        if (at < pattern.size && pattern.data[at] == '*') {
            star_at = ++at;
            star_i = i;
            if (at == pattern.size) {
                return true;
            }
        } else if (at < pattern.size && element_matches(pattern, &at, text.data[i], ignore_case)) {
            i++;
        } else if (star_at != SIZE_MAX) {
            at = star_at;
            i = ++star_i;
        } else {
            return false;
        }
    }
    while (at < pattern.size && pattern.data[at] == '*') {
        at++;
    }
    return at == pattern.size;
}

bool glob_is_literal(struct slice pattern)
{
    for (size_t i = 0; i < pattern.size; i++) {
        uint8_t byte = pattern.data[i];
        if (byte == '*' || byte == '?' || byte == '[' || byte == '\\') {
            return false;
        }
    }
    return true;
}
