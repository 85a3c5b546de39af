/* Whether an item has a key: the last step of every look-up. */
#ifndef NICACHED_STORE_ITEM_KEY_H
#define NICACHED_STORE_ITEM_KEY_H

#include "dataplane/base/check.h"
#include "dataplane/store/shard.h"

static inline uint64_t item_key_word(const uint8_t *bytes)
{
    uint64_t word;
    memcpy(&word, bytes, sizeof(word));
    return word;
}

/* Of 8 to 32 bytes, by words that overlap where it is no multiple: a call of memcmp takes longer
 * than that. */
static inline bool item_key_words_equal(const uint8_t *a, const uint8_t *b, size_t size)
{
    uint64_t different = item_key_word(a) ^ item_key_word(b);
    different |= item_key_word(a + size - 8) ^ item_key_word(b + size - 8);
    if (size > 16) {
        different |= item_key_word(a + 8) ^ item_key_word(b + 8);
        different |= item_key_word(a + size - 16) ^ item_key_word(b + size - 16);
    }
    return different == 0;
}

static inline bool item_has_key(const struct item *item, const struct key *key)
{
    size_t size = key->bytes.size;
    if (item_key_size(item) != size) {
        return false;
    }
    const uint8_t *bytes = item_key_bytes(item);
    if (LIKELY(size >= 8 && size <= 32)) {
        return item_key_words_equal(bytes, key->bytes.data, size);
    }
    return size == 0 || memcmp(bytes, key->bytes.data, size) == 0;
}

#endif
