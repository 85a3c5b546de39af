/* An item: one key and its value, in one piece of the shard's memory.
 *
 * Layout (offsets in bytes; optional fields only where their layout bit is set, in this order):
 *
 *    0  type:4 encoding:4      ITEM_STRING ...; ENCODING_RAW, ENCODING_INT
 *    1  layout                 which optional fields follow
 *    2  access                 for eviction: written by any reader, relaxed
 *    3  state                  stale, win-token-sent, negative, soft-expired (memcached meta)
 *    4  key_bytes   (uint32)
 *    8  value_bytes (uint32)
 *   12  client_flags (uint32)  0 where a RESP command wrote it: memcached's 32-bit flags
 *   16  [expire_at_ms (uint64)] [cas (uint64)] [blob pointer]
 *       key bytes, then value bytes (inline), unless the value is in a blob
 *
 * Invariants:
 *  1. A published item never changes but for `access`. Changing a value publishes a new item.
 *  2. value_bytes is what STRLEN says, for every encoding but INT, where the value is 8 bytes,
 *     an int64 in machine order.
 *  3. A value of more than ITEM_INLINE_BYTES_MAX is in a blob. A blob is counted: items and
 *     replies on their way out share it, so a large value is never copied to be sent.
 *  4. An item gets a CAS value when somebody first asks for it (`gets`): caches that never use
 *     CAS do not pay for it.
 */
#ifndef NICACHED_STORE_ITEM_H
#define NICACHED_STORE_ITEM_H

#include "dataplane/base/byte_queue.h"
#include "dataplane/base/bytes.h"
#include "dataplane/base/number.h"

enum item_type { ITEM_STRING, ITEM_LIST, ITEM_SET, ITEM_ZSET, ITEM_HASH, ITEM_STREAM };
enum item_encoding { ENCODING_RAW, ENCODING_INT };

#define ITEM_HAS_EXPIRY 0x01
#define ITEM_HAS_CAS    0x02
#define ITEM_HAS_BLOB   0x04

#define ITEM_INLINE_BYTES_MAX 16384U
#define ITEM_VALUE_BYTES_MAX  (512U << 20)
#define ITEM_KEY_BYTES_MAX    (512U << 20)

struct item {
    uint8_t type_encoding; /* type in the low four bits */
    uint8_t layout;
    uint8_t access;
    uint8_t state;
    uint32_t key_bytes;
    uint32_t value_bytes;
    uint32_t client_flags;
    /* optional fields, key, value */
};
_Static_assert(sizeof(struct item) == 16, "the drawing above");

/* The bytes of a large value. Capacity may exceed what any item shows of it: APPEND fills the rest
 * in place, because no published item can see those bytes. */
struct blob {
    struct byte_owner owner; /* first: a byte queue releases through it */
    struct shard *shard;
    uint32_t reference_count; /* owning core only */
    uint32_t used_bytes;      /* bytes that some item shows */
    uint32_t capacity_bytes;
    uint8_t bytes[];
};

/* ---- accessors; inline because every command is made of them --------------------------------- */

static inline enum item_type item_type(const struct item *item)
{
    return (enum item_type)(item->type_encoding & 0x0F);
}

static inline enum item_encoding item_encoding(const struct item *item)
{
    return (enum item_encoding)(item->type_encoding >> 4);
}

static inline uint64_t item_optional_field(const struct item *item, uint8_t bit)
{
    if ((item->layout & bit) == 0) {
        return 0;
    }
    uint64_t field;
    unsigned index = (unsigned)__builtin_popcount(item->layout & (bit - 1U));
    memcpy(&field, (const uint8_t *)(item + 1) + index * sizeof(field), sizeof(field));
    return field;
}

static inline uint64_t item_expire_at_ms(const struct item *item) /* Unix ms; 0: never */
{
    return item_optional_field(item, ITEM_HAS_EXPIRY);
}

static inline uint64_t item_cas(const struct item *item) /* 0: none given yet */
{
    return item_optional_field(item, ITEM_HAS_CAS);
}

static inline struct blob *item_blob(const struct item *item) /* NULL when inline */
{
    return (struct blob *)(uintptr_t)item_optional_field(item, ITEM_HAS_BLOB);
}

static inline const uint8_t *item_key_bytes(const struct item *item)
{
    return (const uint8_t *)(item + 1) +
           (unsigned)__builtin_popcount(item->layout) * sizeof(uint64_t);
}

static inline struct slice item_key(const struct item *item)
{
    return slice_of(item_key_bytes(item), item->key_bytes);
}

/* As Redis has it: an item expires in the millisecond after its time. */
static inline bool item_is_expired(const struct item *item, uint64_t wall_ms)
{
    return (item->layout & ITEM_HAS_EXPIRY) != 0 && wall_ms > item_expire_at_ms(item);
}

/* The stored bytes of the value, whatever they mean. */
static inline const uint8_t *item_value_bytes(const struct item *item)
{
    const struct blob *blob = item_blob(item);
    return blob != NULL ? blob->bytes : item_key_bytes(item) + item->key_bytes;
}

struct slice item_integer_text(const struct item *item, uint8_t scratch[NUMBER_TEXT_BYTES_MAX]);

/* The string value as text; an integer is formatted into `scratch`. */
static inline struct slice item_value(const struct item *item,
                                      uint8_t scratch[NUMBER_TEXT_BYTES_MAX])
{
    if (item_encoding(item) == ENCODING_INT) {
        return item_integer_text(item, scratch);
    }
    return slice_of(item_value_bytes(item), item->value_bytes);
}

size_t item_value_size(const struct item *item); /* as STRLEN says */
/* True for an integer-encoded value, or a raw one that reads as one (Redis' getLongLong rules). */
bool item_value_int64(const struct item *item, int64_t *value);

static inline size_t item_bytes(const struct item *item) /* allocated size without the blob */
{
    size_t value = (item->layout & ITEM_HAS_BLOB) != 0 ? 0 : item->value_bytes;
    return (size_t)(item_key_bytes(item) - (const uint8_t *)item) + item->key_bytes + value;
}

/* One more / one less holder. The last release frees the blob into its shard. */
void blob_acquire(struct blob *blob);
void blob_release(struct blob *blob);

#endif
