/* Redis' glob patterns, as KEYS, SCAN MATCH, CONFIG GET and COMMAND LIST use them.
 *
 * Iterative: on a mismatch the search goes back to the last '*' only, which is enough, because
 * whatever an earlier '*' could swallow the last one can swallow too. So the cost is bounded by
 * pattern size times text size, and no pattern can exhaust the stack.
 *
 * Two habits of Redis that patterns in the wild may rely on: a class without its ']' ends with the
 * pattern, and a lone '\' at the end stands for itself.
 */
#include "dataplane/l7_command/command.h"

static uint8_t fold(uint8_t byte, bool ignore_case)
{
    return ignore_case && byte >= 'A' && byte <= 'Z' ? (uint8_t)(byte | 0x20) : byte;
}

static bool in_range(uint8_t low, uint8_t high, uint8_t byte)
{
    return low <= high ? byte >= low && byte <= high : byte >= high && byte <= low;
}

/* The class whose first byte after '[' is at `at`. Returns the position behind its ']'. */
static size_t match_class(struct slice pattern, size_t at, uint8_t byte, bool ignore_case,
                          bool *matched)
{
    const uint8_t *p = pattern.data;
    bool negated = at < pattern.size && p[at] == '^', found = false;
    if (negated) {
        at++;
    }
    while (at < pattern.size && p[at] != ']') {
        size_t left = pattern.size - at;
        if (p[at] == '\\' && left >= 2) {
            found |= p[at + 1] == byte;
            at += 2;
        } else if (left >= 3 && p[at + 1] == '-') {
            found |= in_range(fold(p[at], ignore_case), fold(p[at + 2], ignore_case),
                              fold(byte, ignore_case));
            at += 3;
        } else {
            found |= fold(p[at], ignore_case) == fold(byte, ignore_case);
            at++;
        }
    }
    *matched = found != negated;
    return at < pattern.size ? at + 1 : at;
}

/* One element that is not '*', against one byte. */
static bool match_element(struct slice pattern, size_t at, uint8_t byte, bool ignore_case,
                          size_t *next)
{
    uint8_t first = pattern.data[at];
    *next = at + 1;
    if (first == '?') {
        return true;
    }
    if (first == '[') {
        bool matched;
        *next = match_class(pattern, at + 1, byte, ignore_case, &matched);
        return matched;
    }
    if (first == '\\' && at + 1 < pattern.size) {
        first = pattern.data[at + 1];
        *next = at + 2;
    }
    return fold(first, ignore_case) == fold(byte, ignore_case);
}

static size_t skip_stars(struct slice pattern, size_t at)
{
    while (at < pattern.size && pattern.data[at] == '*') {
        at++;
    }
    return at;
}

bool glob_match(struct slice pattern, struct slice text, bool ignore_case)
{
    size_t p = 0, t = 0, star_p = 0, star_t = 0, next = 0;
    bool star_seen = false;
    while (t < text.size) {
        if (p < pattern.size && pattern.data[p] == '*') {
            p = skip_stars(pattern, p);
            if (p == pattern.size) {
                return true;
            }
            star_seen = true;
            star_p = p;
            star_t = t;
        } else if (p < pattern.size &&
                   match_element(pattern, p, text.data[t], ignore_case, &next)) {
            p = next;
            t++;
        } else if (star_seen) {
            p = star_p;
            t = ++star_t;
        } else {
            return false;
        }
    }
    return skip_stars(pattern, p) == pattern.size;
}
