/* An item: one key and its value, in one piece of the shard's memory.
 *
 * Layout (offsets in bytes):
 *
 *    0  kinds (uint16)         state:4 layout:5 encoding:4 type:3
 *                              |       |        |          ITEM_STRING ...
 *                              |       |        ENCODING_RAW, ENCODING_INT
 *                              |       which optional fields follow (ITEM_HAS_...)
 *                              ITEM_STALE, ITEM_WON, ITEM_BASE64_KEY; and ITEM_ROOMY
 *    2  inline_word (uint16)   fetched:1 inline_bytes:15
 *                              |         of the value; 0 where it is in a blob
 *                              somebody has used the item: written by any reader, relaxed
 *    4  key_access (uint32)    access:24 key_bytes:8
 *                              |         0 where the key is longer than 255 bytes
 *                              for eviction: written by any reader, relaxed
 *    8  optional fields, only where their layout bit is set, in this order:
 *       [expire_at_ms 8] [cas 8] [blob pointer 8, shown_bytes 4] [client_flags 4] [key_bytes 4]
 *       key bytes, then value bytes (inline), unless the value is in a blob
 *
 * Fields are not aligned; the header is, by 8. client_flags are memcached's 32-bit flags.
 *
 * Invariants:
 *  1. A published item never changes but for `access` and `fetched`. Changing a value publishes a
 *     new item. The words of both are therefore read and written atomically, and their other bits
 *     never change: two readers that write at once lose one of the two accesses and nothing else.
 *     `fetched` is only ever set. One exception, where nobody but its owner reads a shard's values:
 *     the bytes of a plain value may be overwritten by as many others (shard_overwrite).
 *  2. The stored bytes are what STRLEN counts, for every encoding but INT, where they are an int64
 *     in machine order.
 *  3. A value of more than ITEM_INLINE_BYTES_MAX is in a blob. A blob is counted: items and
 *     replies on their way out share it, so a large value is never copied to be sent.
 *  4. An item gets a CAS value when somebody first asks for it (`gets`): caches that never use
 *     CAS do not pay for it.
 */
#ifndef NICACHED_STORE_ITEM_H
#define NICACHED_STORE_ITEM_H

#include "dataplane/base/byte_queue.h"
#include "dataplane/base/bytes.h"
#include "dataplane/base/check.h"
#include "dataplane/base/number.h"

enum item_type {
    ITEM_STRING,
    ITEM_LIST,
    ITEM_SET,
    ITEM_ZSET,
    ITEM_HASH,
    ITEM_STREAM,
    ITEM_TYPE_COUNT
};
enum item_encoding { ENCODING_RAW, ENCODING_INT };

/* Bits of `kinds`. */
#define ITEM_TYPE_MASK        0x0007U
#define ITEM_ENCODING_SHIFT   3
#define ITEM_ENCODING_MASK    0x000FU
#define ITEM_HAS_EXPIRY       0x0080U
#define ITEM_HAS_CAS          0x0100U
#define ITEM_HAS_BLOB         0x0200U
#define ITEM_HAS_CLIENT_FLAGS 0x0400U
#define ITEM_HAS_LONG_KEY     0x0800U
#define ITEM_STATE_SHIFT      12

/* Bits of `state`: what memcached's meta commands know about an item. */
#define ITEM_STALE      0x1U /* invalidated, and kept: who meets it may serve it while one renews it */
#define ITEM_WON        0x2U /* somebody has been told to renew it */
#define ITEM_BASE64_KEY 0x4U /* its key came in base64, and is shown so */
#define ITEM_STATES     0x7U /* all of these */
/* The bit above them is the store's own: the item lies in a larger block than its size asks for. */
#define ITEM_ROOMY 0x8000U /* in `kinds` */

/* Each of these stands for 8 bytes; each of those for 4 (a blob for both). */
#define ITEM_FIELDS_OF_8 (ITEM_HAS_EXPIRY | ITEM_HAS_CAS | ITEM_HAS_BLOB)
#define ITEM_FIELDS_OF_4 (ITEM_HAS_BLOB | ITEM_HAS_CLIENT_FLAGS | ITEM_HAS_LONG_KEY)

#define ITEM_SHORT_KEY_BYTES_MAX 255U
#define ITEM_ACCESS_SHIFT        8
#define ITEM_ACCESS_MAX          0xFFFFFFU

/* An inline value of 16 KiB takes a run of pages as a blob does, since header and key come on top:
 * it may as well be one. */
#define ITEM_INLINE_BYTES_MAX 16383U
#define ITEM_FETCHED          0x8000U
#define ITEM_VALUE_BYTES_MAX  (512U << 20)
#define ITEM_KEY_BYTES_MAX    (512U << 20)

struct item {
    uint16_t kinds;
    uint16_t inline_word;
    uint32_t key_access;
    /* optional fields, key, value */
};
_Static_assert(sizeof(struct item) == 8, "the drawing above");
_Static_assert(ITEM_INLINE_BYTES_MAX < ITEM_FETCHED, "the inline word holds both");
_Static_assert(ITEM_STREAM <= ITEM_TYPE_MASK, "three bits hold every type");

/* The bytes of a large value. Capacity may exceed what any item shows of it: APPEND fills the rest
 * in place, because no published item can see those bytes.
 *
 * The life of a blob:
 *
 *   created --> held by items, sessions, replies --> last release --> freed into its shard
 *               (also of other workers)                |  by the shard's holder: at once
 *                                                      +- by anybody else: through the shard's
 *                                                         stack of returned blobs, at its next pass
 *
 * Who may touch what: `reference_count`, `item_count` and `next_returned` are atomic; `used_bytes`
 * is written by the holder of its shard (items of other shards may show it, too), `was_shown` by
 * who makes the first item; the rest does not change. Why nobody counts up from 0, and nobody reads
 * what has been freed: A. A holder counts up for another one while it holds a count itself. A
 * reader of another worker does so between finding the item and its next quiescent state: the item
 * is freed a grace period after it was unlinked, so until then it holds its own count. So counting
 * up needs no order (relaxed), and a count that was 0 is a CHECK. B. Counting down releases: what
 * this holder read of the bytes comes before it. Who arrives at 0 also acquires: the reads of all
 * others come before what it does next. One operation, ACQ_REL. C. The stack of returned blobs has
 * many who push and one who takes. A push is a compare-exchange with release: it hands on what B
 * acquired. The holder takes all of it by one exchange with acquire; so a blob is never taken while
 * another is compared with it, and there is no ABA. */
struct blob {
    struct byte_owner owner; /* first: a byte queue releases through it */
    struct shard *shard;
    struct blob *next_returned;
    uint32_t reference_count;
    uint32_t item_count; /* of the references: items' and drafts', of any shard */
    uint32_t used_bytes; /* bytes that some item shows */
    uint32_t capacity_bytes;
    bool was_shown; /* by an item; the rest of its life it is shown or kept (shard_kept_bytes) */
    uint8_t bytes[];
};

/* ---- accessors; inline because every command is made of them --------------------------------- */

static inline enum item_type item_type(const struct item *item)
{
    return (enum item_type)(item->kinds & ITEM_TYPE_MASK);
}

static inline enum item_encoding item_encoding(const struct item *item)
{
    return (enum item_encoding)(item->kinds >> ITEM_ENCODING_SHIFT & ITEM_ENCODING_MASK);
}

static inline uint8_t item_state(const struct item *item)
{
    return (uint8_t)(item->kinds >> ITEM_STATE_SHIFT & ITEM_STATES);
}

static inline uint16_t item_inline_word(const struct item *item)
{
    return __atomic_load_n(&item->inline_word, __ATOMIC_RELAXED);
}

static inline uint32_t item_inline_bytes(const struct item *item)
{
    return item_inline_word(item) & (ITEM_FETCHED - 1);
}

static inline bool item_is_fetched(const struct item *item)
{
    return (item_inline_word(item) & ITEM_FETCHED) != 0;
}

/* Whoever changes the item, where nobody else sets it. */
static inline void item_clear_fetched(struct item *item)
{
    __atomic_store_n(&item->inline_word, (uint16_t)item_inline_bytes(item), __ATOMIC_RELAXED);
}

/* Any thread that may read the item. */
static inline void item_set_fetched(const struct item *item)
{
    uint16_t before = item_inline_word(item);
    if ((before & ITEM_FETCHED) == 0) {
        uint16_t *word = (uint16_t *)(uintptr_t)&item->inline_word;
        __atomic_store_n(word, (uint16_t)(before | ITEM_FETCHED), __ATOMIC_RELAXED);
    }
}

/* What the fields of these layout bits take together. */
static inline unsigned item_fields_bytes(unsigned layout)
{
    if (LIKELY((layout & (ITEM_FIELDS_OF_8 | ITEM_FIELDS_OF_4)) == 0)) {
        return 0;
    }
    return 8 * (unsigned)__builtin_popcount(layout & ITEM_FIELDS_OF_8) +
           4 * (unsigned)__builtin_popcount(layout & ITEM_FIELDS_OF_4);
}

/* Where the field of a layout bit is: behind the fields of the lower bits. */
static inline const uint8_t *item_field(const struct item *item, unsigned bit)
{
    return (const uint8_t *)(item + 1) + item_fields_bytes(item->kinds & (bit - 1));
}

static inline uint64_t item_optional_field(const struct item *item, unsigned bit)
{
    uint64_t field = 0;
    if ((item->kinds & bit) != 0) {
        memcpy(&field, item_field(item, bit), sizeof(field));
    }
    return field;
}

/* Its value is a string of so many bytes as they are, and there is nothing beside it. */
static inline bool item_is_bare(const struct item *item, size_t value_bytes)
{
    return (item->kinds & ~ITEM_ROOMY) == 0 && item_inline_bytes(item) == value_bytes;
}

/* Nothing optional and no encoding: the key, and behind it the value, as nearly all are. */
static inline bool item_is_plain(const struct item *item)
{
    const unsigned special =
        ITEM_FIELDS_OF_8 | ITEM_FIELDS_OF_4 | ITEM_ENCODING_MASK << ITEM_ENCODING_SHIFT;
    return LIKELY((item->kinds & special) == 0);
}

static inline bool item_has_expiry(const struct item *item)
{
    return (item->kinds & ITEM_HAS_EXPIRY) != 0;
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

static inline uint32_t item_client_flags(const struct item *item)
{
    uint32_t flags = 0;
    if ((item->kinds & ITEM_HAS_CLIENT_FLAGS) != 0) {
        memcpy(&flags, item_field(item, ITEM_HAS_CLIENT_FLAGS), sizeof(flags));
    }
    return flags;
}

static inline uint32_t item_key_access(const struct item *item)
{
    return __atomic_load_n(&item->key_access, __ATOMIC_RELAXED);
}

/* ITEM_ACCESS_MAX at most; what it means is the eviction policy's. */
static inline uint32_t item_access(const struct item *item)
{
    return item_key_access(item) >> ITEM_ACCESS_SHIFT;
}

/* Any thread that may read the item. Stores only what changes: a hot item's cache line stays
 * shared. */
static inline void item_set_access(const struct item *item, uint32_t access)
{
    uint32_t *word = (uint32_t *)(uintptr_t)&item->key_access;
    uint32_t before = item_key_access(item);
    uint32_t after = (before & ITEM_SHORT_KEY_BYTES_MAX) | access << ITEM_ACCESS_SHIFT;
    if (after != before) {
        __atomic_store_n(word, after, __ATOMIC_RELAXED);
    }
}

static inline const uint8_t *item_key_bytes(const struct item *item)
{
    return (const uint8_t *)(item + 1) + item_fields_bytes(item->kinds);
}

static inline uint32_t item_key_size(const struct item *item)
{
    uint32_t size = item_key_access(item) & ITEM_SHORT_KEY_BYTES_MAX;
    if ((item->kinds & ITEM_HAS_LONG_KEY) != 0) {
        memcpy(&size, item_field(item, ITEM_HAS_LONG_KEY), sizeof(size));
    }
    return size;
}

static inline struct slice item_key(const struct item *item)
{
    return slice_of(item_key_bytes(item), item_key_size(item));
}

/* As Redis has it: an item expires in the millisecond after its time. */
static inline bool item_is_expired(const struct item *item, uint64_t wall_ms)
{
    return item_has_expiry(item) && wall_ms > item_expire_at_ms(item);
}

/* The stored bytes of the value, whatever they mean. */
static inline const uint8_t *item_value_bytes(const struct item *item)
{
    const struct blob *blob = item_blob(item);
    return blob != NULL ? blob->bytes : item_key_bytes(item) + item_key_size(item);
}

/* How many they are; see invariant 2. */
static inline uint32_t item_stored_bytes(const struct item *item)
{
    uint32_t bytes = item_inline_bytes(item);
    if ((item->kinds & ITEM_HAS_BLOB) != 0) {
        memcpy(&bytes, item_field(item, ITEM_HAS_BLOB) + sizeof(uint64_t), sizeof(bytes));
    }
    return bytes;
}

struct slice item_integer_text(const struct item *item, uint8_t scratch[NUMBER_TEXT_BYTES_MAX]);

/* The string value as text; an integer is formatted into `scratch`. */
static inline struct slice item_value(const struct item *item,
                                      uint8_t scratch[NUMBER_TEXT_BYTES_MAX])
{
    if (item_is_plain(item)) {
        return slice_of((const uint8_t *)(item + 1) +
                            (item_key_access(item) & ITEM_SHORT_KEY_BYTES_MAX),
                        item_inline_bytes(item));
    }
    if (item_encoding(item) == ENCODING_INT) {
        return item_integer_text(item, scratch);
    }
    return slice_of(item_value_bytes(item), item_stored_bytes(item));
}

size_t item_value_size(const struct item *item); /* as STRLEN says */
/* True for an integer-encoded value, or a raw one that reads as one (Redis' getLongLong rules). */
bool item_value_int64(const struct item *item, int64_t *value);

static inline size_t item_bytes(const struct item *item) /* what it needs, without the blob */
{
    return sizeof(*item) + item_fields_bytes(item->kinds) + item_key_size(item) +
           item_inline_bytes(item);
}

static inline uint64_t item_bytes_with_blob(const struct item *item)
{
    return item_bytes(item) + (item_blob(item) != NULL ? item_stored_bytes(item) : 0U);
}

/* One more / one less holder; any thread. */
void blob_acquire(struct blob *blob);
void blob_release(struct blob *blob);
/* One more item, or one less, has one of the counts. */
void blob_show(struct blob *blob);
void blob_hide(struct blob *blob);

static inline uint32_t blob_reference_count(const struct blob *blob)
{
    return __atomic_load_n(&blob->reference_count, __ATOMIC_RELAXED);
}

#endif
