/* Values that say what they are, so that whoever reads one can tell whether it is the right one.
 *
 *   bytes 0-7    hash of the key            a value of another key shows here
 *   bytes 8-11   version, counted per key   a lost or stale write shows here
 *   bytes 12-    a pattern of both          a damaged, torn or shifted value shows here
 *
 * A shorter value has as much of it as fits: below 12 bytes only the key is checked.
 */
#ifndef NICACHED_TESTS_BENCH_VALUE_H
#define NICACHED_TESTS_BENCH_VALUE_H

#include "dataplane/base/bytes.h"

#define VALUE_HEAD_BYTES 12U

enum value_fault {
    VALUE_RIGHT,
    VALUE_OF_OTHER_KEY,
    VALUE_WRONG_SIZE,
    VALUE_DAMAGED,
    VALUE_STALE,      /* older than a write that was acknowledged before the read was sent */
    VALUE_NEVER_SENT, /* a version that nobody wrote */
    VALUE_FAULT_COUNT,
};
extern const char *const value_fault_names[VALUE_FAULT_COUNT];

void value_compose(uint64_t key_hash, uint32_t version, uint8_t *to, size_t size);

/* Checks a value that arrives in pieces. */
struct value_check {
    uint64_t key_hash;
    uint64_t size, offset;
    uint32_t version; /* known once 12 bytes are there */
    enum value_fault fault;
};

void value_check_start(struct value_check *check, uint64_t key_hash, uint64_t expected_size,
                       uint64_t size);
void value_check_bytes(struct value_check *check, struct slice bytes);

static inline bool value_has_version(uint64_t size)
{
    return size >= VALUE_HEAD_BYTES;
}

#endif
