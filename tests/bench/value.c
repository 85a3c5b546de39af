#include "tests/bench/value.h"

const char *const value_fault_names[VALUE_FAULT_COUNT] = {
    "right", "value of another key", "wrong size", "damaged", "stale", "never written",
};

static uint64_t word_at(uint64_t key_hash, uint32_t version, uint64_t index)
{
    if (index == 0) {
        return key_hash;
    }
    uint64_t pattern = (key_hash + version) * 0x9E3779B97F4A7C15ULL + index * 0xD1B54A32D192ED03ULL;
    pattern ^= pattern >> 29;
    return index == 1 ? version | pattern << 32 : pattern;
}

static uint8_t byte_at(uint64_t key_hash, uint32_t version, uint64_t offset)
{
    return (uint8_t)(word_at(key_hash, version, offset / 8) >> (offset % 8 * 8));
}

void value_compose(uint64_t key_hash, uint32_t version, uint8_t *to, size_t size)
{
    size_t offset = 0;
    for (; size - offset >= 8; offset += 8) {
        uint64_t word = word_at(key_hash, version, offset / 8);
        memcpy(to + offset, &word, 8);
    }
    for (; offset < size; offset++) {
        to[offset] = byte_at(key_hash, version, offset);
    }
}

void value_check_start(struct value_check *check, uint64_t key_hash, uint64_t expected_size,
                       uint64_t size)
{
    *check = (struct value_check){.key_hash = key_hash, .size = size};
    if (size != expected_size) {
        check->fault = VALUE_WRONG_SIZE;
    }
}

/* Another key's value most often has the wrong size too: the key says more. */
static void check_head_byte(struct value_check *check, uint8_t byte)
{
    uint64_t offset = check->offset;
    if (offset < 8) {
        if (byte != byte_at(check->key_hash, 0, offset)) {
            check->fault = VALUE_OF_OTHER_KEY;
        }
    } else {
        check->version |= (uint32_t)byte << ((offset - 8) * 8);
    }
}

void value_check_bytes(struct value_check *check, struct slice bytes)
{
    size_t i = 0;
    while (i < bytes.size) {
        uint64_t offset = check->offset, word;
        if (offset < VALUE_HEAD_BYTES) {
            check_head_byte(check, bytes.data[i]);
        } else if (check->fault != VALUE_RIGHT) {
            return;
        } else if (offset % 8 == 0 && bytes.size - i >= 8) {
            memcpy(&word, bytes.data + i, 8);
            if (word != word_at(check->key_hash, check->version, offset / 8)) {
                check->fault = VALUE_DAMAGED;
            }
            check->offset += 8;
            i += 8;
            continue;
        } else if (bytes.data[i] != byte_at(check->key_hash, check->version, offset)) {
            check->fault = VALUE_DAMAGED;
        }
        check->offset++;
        i++;
    }
}
