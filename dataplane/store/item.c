/* Items and blobs: how drafts are made and what they cost. Memory: the shard's (memory.h). Failure:
 * NULL when over maxmemory; nothing is changed then. */
#include "dataplane/store/item.h"

#include "dataplane/base/check.h"
#include "dataplane/store/item_key.h"
#include "dataplane/store/store_internal.h"

/* ---- accessors that are too large to be inline ------------------------------------------------
 */

static int64_t integer_of(const struct item *item)
{
    int64_t value;
    memcpy(&value, item_value_bytes(item), sizeof(value));
    return value;
}

struct slice item_integer_text(const struct item *item, uint8_t scratch[NUMBER_TEXT_BYTES_MAX])
{
    return slice_of(scratch, number_format_int64(integer_of(item), scratch));
}

size_t item_value_size(const struct item *item)
{
    uint8_t scratch[NUMBER_TEXT_BYTES_MAX];
    return item_value(item, scratch).size;
}

bool item_value_int64(const struct item *item, int64_t *value)
{
    if (item_encoding(item) == ENCODING_INT) {
        *value = integer_of(item);
        return true;
    }
    return number_parse_int64(slice_of(item_value_bytes(item), item_stored_bytes(item)), value);
}

/* ---- blobs ------------------------------------------------------------------------------------
 */

static void acquire_owner(struct byte_owner *owner)
{
    blob_acquire((struct blob *)owner);
}

static void release_owner(struct byte_owner *owner)
{
    blob_release((struct blob *)owner);
}

/* A run of its own in any case: only items are in spans, and can be moved (shard_defrag.c). */
static struct blob *create_blob(struct shard *shard, uint32_t capacity_bytes,
                                enum memory_limit limit)
{
    size_t bytes = offsetof(struct blob, bytes) + (size_t)capacity_bytes;
    bytes = bytes > MEMORY_SMALL_BYTES_MAX ? bytes : MEMORY_SMALL_BYTES_MAX + 1;
    struct blob *blob = memory_allocate(&shard->memory, bytes, limit);
    if (blob != NULL) {
        bool is_mapped = memory_is_mapped(&shard->memory, blob);
        *blob = (struct blob){.owner = {acquire_owner, release_owner, is_mapped},
                              .shard = shard,
                              .reference_count = 1,
                              .capacity_bytes = capacity_bytes};
        memory_note_blob(&shard->memory, (int64_t)memory_block_bytes(&shard->memory, blob));
    }
    return blob;
}

struct blob *shard_create_blob(struct shard *shard, uint32_t capacity_bytes)
{
    struct blob *blob = create_blob(shard, capacity_bytes, MEMORY_LIMITED);
    if (blob == NULL) {
        metric_add(shard->metrics, METRIC_STORE_OUT_OF_MEMORY, 1);
    }
    return blob;
}

void blob_acquire(struct blob *blob)
{
    uint32_t before = __atomic_fetch_add(&blob->reference_count, 1, __ATOMIC_RELAXED);
    CHECK(before > 0 && before < UINT32_MAX);
}

static void keep(struct blob *blob)
{
    __atomic_fetch_add(&blob->shard->kept_bytes, blob->capacity_bytes, __ATOMIC_RELAXED);
}

static void stop_keeping(struct blob *blob)
{
    __atomic_fetch_sub(&blob->shard->kept_bytes, blob->capacity_bytes, __ATOMIC_RELAXED);
}

void blob_show(struct blob *blob)
{
    if (__atomic_fetch_add(&blob->item_count, 1, __ATOMIC_RELAXED) > 0) {
        return;
    }
    if (blob->was_shown) {
        stop_keeping(blob);
    } else {
        blob->was_shown = true;
    }
}

void blob_hide(struct blob *blob)
{
    uint32_t before = __atomic_fetch_sub(&blob->item_count, 1, __ATOMIC_RELAXED);
    CHECK(before > 0);
    if (before == 1) {
        keep(blob);
    }
}

/* True: that was the last count. */
static bool count_down(struct blob *blob)
{
    uint32_t before = __atomic_fetch_sub(&blob->reference_count, 1, __ATOMIC_ACQ_REL);
    CHECK(before > 0);
    if (before == 1 && blob->was_shown) {
        stop_keeping(blob);
    }
    return before == 1;
}

void blob_release(struct blob *blob)
{
    if (!count_down(blob)) {
        return;
    }
    struct blob **stack = &blob->shard->returned_blobs;
    struct blob *first = __atomic_load_n(stack, __ATOMIC_RELAXED);
    do {
        blob->next_returned = first;
    } while (!__atomic_compare_exchange_n(stack, &first, blob, true, __ATOMIC_RELEASE,
                                          __ATOMIC_RELAXED));
}

static void free_blob(struct shard *shard, struct blob *blob)
{
    memory_note_blob(&shard->memory, -(int64_t)memory_block_bytes(&shard->memory, blob));
    memory_free(&shard->memory, blob);
}

void shard_release_blob(struct shard *shard, struct blob *blob)
{
    if (blob->shard != shard) {
        blob_release(blob);
    } else if (count_down(blob)) {
        free_blob(shard, blob);
    }
}

bool shard_free_returned_blobs(struct shard *shard)
{
    if (__atomic_load_n(&shard->returned_blobs, __ATOMIC_RELAXED) == NULL) {
        return false;
    }
    struct blob *blob = __atomic_exchange_n(&shard->returned_blobs, NULL, __ATOMIC_ACQUIRE);
    while (blob != NULL) {
        struct blob *next = blob->next_returned;
        free_blob(shard, blob);
        blob = next;
    }
    return true;
}

/* ---- drafts -----------------------------------------------------------------------------------
 */

/* Grows in the home shard only; items of other shards, which show less, look at it too. */
static uint32_t blob_used_bytes(const struct blob *blob)
{
    return __atomic_load_n(&blob->used_bytes, __ATOMIC_RELAXED);
}

/* What an item is made of, before its size is known. */
struct shape {
    struct slice key;
    enum item_type type;
    enum item_encoding encoding;
    uint32_t value_bytes;
    struct blob *blob; /* NULL: the value is inline */
};

static enum memory_limit limit_of(const struct item_draft_options *options)
{
    return options->ignore_maxmemory ? MEMORY_UNLIMITED : MEMORY_LIMITED;
}

static uint8_t *put_64(uint8_t *to, uint64_t value)
{
    memcpy(to, &value, sizeof(value));
    return to + sizeof(value);
}

static uint8_t *put_32(uint8_t *to, uint32_t value)
{
    memcpy(to, &value, sizeof(value));
    return to + sizeof(value);
}

/* Of 8 to 16 bytes by two words that overlap: a call takes longer than that. */
static inline void copy_key(uint8_t *to, struct slice key)
{
    if (LIKELY(key.size >= 8 && key.size <= 16)) {
        uint64_t first = item_key_word(key.data), last = item_key_word(key.data + key.size - 8);
        (void)put_64(to, first);
        (void)put_64(to + key.size - 8, last);
    } else if (key.size > 0) {
        memcpy(to, key.data, key.size);
    }
}

/* Whatever there is in front of the key, in the order of the drawing in item.h; returns its end. */
static uint8_t *fill_fields(uint8_t *to, const struct shape *shape,
                            const struct item_draft_options *options)
{
    if (options->expire_at_ms != 0) {
        to = put_64(to, options->expire_at_ms);
    }
    if (options->cas != 0) {
        to = put_64(to, options->cas);
    }
    if (shape->blob != NULL) {
        to = put_64(to, (uint64_t)(uintptr_t)shape->blob);
        to = put_32(to, shape->value_bytes);
    }
    if (options->client_flags != 0) {
        to = put_32(to, options->client_flags);
    }
    if (shape->key.size > ITEM_SHORT_KEY_BYTES_MAX) {
        to = put_32(to, (uint32_t)shape->key.size);
    }
    return to;
}

/* Few have one of them. */
static inline bool has_fields(const struct shape *shape, const struct item_draft_options *options)
{
    return UNLIKELY((options->expire_at_ms | options->cas | options->client_flags) != 0 ||
                    shape->blob != NULL || shape->key.size > ITEM_SHORT_KEY_BYTES_MAX);
}

static inline unsigned layout_of(const struct shape *shape,
                                 const struct item_draft_options *options)
{
    return (options->expire_at_ms != 0 ? ITEM_HAS_EXPIRY : 0) |
           (options->cas != 0 ? ITEM_HAS_CAS : 0) | (shape->blob != NULL ? ITEM_HAS_BLOB : 0) |
           (options->client_flags != 0 ? ITEM_HAS_CLIENT_FLAGS : 0) |
           (shape->key.size > ITEM_SHORT_KEY_BYTES_MAX ? ITEM_HAS_LONG_KEY : 0);
}

static inline void fill_header(struct item *item, const struct shape *shape, unsigned layout,
                               const struct item_draft_options *options, uint32_t access)
{
    DEBUG_CHECK(options->state <= ITEM_STATES);
    item->kinds =
        (uint16_t)((unsigned)shape->type | (unsigned)shape->encoding << ITEM_ENCODING_SHIFT |
                   layout | (unsigned)options->state << ITEM_STATE_SHIFT);
    item->inline_word = shape->blob != NULL ? 0 : (uint16_t)shape->value_bytes;
    uint32_t key_bytes =
        shape->key.size <= ITEM_SHORT_KEY_BYTES_MAX ? (uint32_t)shape->key.size : 0;
    item->key_access = key_bytes | access << ITEM_ACCESS_SHIFT;
}

struct item *shard_allocate_item(struct shard *shard, size_t bytes, enum memory_limit limit,
                                 unsigned *layout)
{
    size_t given;
    struct item *item = memory_allocate_block(&shard->memory, bytes, limit, &given);
    if (UNLIKELY(bytes > MEMORY_SMALL_BYTES_MAX || given != memory_rounded_bytes(bytes))) {
        *layout |= ITEM_ROOMY;
    }
    return item;
}

/* Key, fields and header; the value is the caller's to fill. Takes over no count on the blob. */
static inline __attribute__((always_inline)) struct item *
create_item(struct shard *shard, const struct shape *shape,
            const struct item_draft_options *options)
{
    unsigned layout = has_fields(shape, options) ? layout_of(shape, options) : 0;
    DEBUG_CHECK(layout == layout_of(shape, options));
    unsigned fields_bytes = item_fields_bytes(layout);
    size_t bytes = sizeof(struct item) + fields_bytes + shape->key.size +
                   (shape->blob != NULL ? 0 : shape->value_bytes);
    bool refused = shape->key.size > ITEM_KEY_BYTES_MAX ||
                   shape->value_bytes > ITEM_VALUE_BYTES_MAX ||
                   (shard->services.starved && !options->ignore_maxmemory);
    struct item *item =
        refused ? NULL : shard_allocate_item(shard, bytes, limit_of(options), &layout);
    if (UNLIKELY(item == NULL)) {
        metric_add(shard->metrics, METRIC_STORE_OUT_OF_MEMORY, 1);
        return NULL;
    }
    fill_header(item, shape, layout, options, eviction_initial_access(&shard->policy));
    uint8_t *to = (uint8_t *)(item + 1);
    if (UNLIKELY(fields_bytes > 0)) {
        to = fill_fields(to, shape, options);
    }
    copy_key(to, shape->key);
    return item;
}

/* The item takes over the caller's count on the blob, or the blob is released. */
static struct item *create_item_owning(struct shard *shard, const struct shape *shape,
                                       const struct item_draft_options *options)
{
    struct item *item = create_item(shard, shape, options);
    if (item == NULL) {
        shard_release_blob(shard, shape->blob);
        return NULL;
    }
    blob_show(shape->blob);
    if (blob_used_bytes(shape->blob) < shape->value_bytes) {
        __atomic_store_n(&shape->blob->used_bytes, shape->value_bytes, __ATOMIC_RELAXED);
    }
    return item;
}

struct item *shard_draft(struct shard *shard, struct slice key,
                         const struct item_draft_options *options)
{
    struct shape shape = {.key = key,
                          .type = options->type,
                          .encoding = options->encoding,
                          .value_bytes = options->encoding == ENCODING_INT ? sizeof(int64_t)
                                                                           : options->value_bytes};
    if (shape.value_bytes <= ITEM_INLINE_BYTES_MAX || shape.value_bytes > ITEM_VALUE_BYTES_MAX) {
        return create_item(shard, &shape, options);
    }
    shape.blob = create_blob(shard, shape.value_bytes, limit_of(options));
    if (shape.blob == NULL) {
        metric_add(shard->metrics, METRIC_STORE_OUT_OF_MEMORY, 1);
        return NULL;
    }
    return create_item_owning(shard, &shape, options);
}

struct item *shard_draft_over_blob(struct shard *shard, struct slice key, struct blob *blob,
                                   const struct item_draft_options *options)
{
    CHECK(options->value_bytes <= blob->capacity_bytes);
    struct shape shape = {.key = key,
                          .type = options->type,
                          .encoding = ENCODING_RAW,
                          .value_bytes = options->value_bytes,
                          .blob = blob};
    blob_acquire(blob);
    return create_item_owning(shard, &shape, options);
}

struct item *shard_draft_like(struct shard *shard, struct slice key, const struct item *item,
                              const struct item_draft_options *options)
{
    struct shape shape = {.key = key,
                          .type = item_type(item),
                          .encoding = item_encoding(item),
                          .value_bytes = item_stored_bytes(item),
                          .blob = item_blob(item)};
    struct item *draft;
    if (shape.blob != NULL) {
        blob_acquire(shape.blob);
        draft = create_item_owning(shard, &shape, options);
    } else {
        draft = create_item(shard, &shape, options);
        if (draft != NULL) {
            memcpy(draft_value(draft), item_value_bytes(item), shape.value_bytes);
        }
    }
    if (draft != NULL && shard->policy.access != ACCESS_RECENCY) {
        item_set_access(draft, item_access(item));
    }
    if (draft != NULL && item_is_fetched(item)) {
        item_set_fetched(draft);
    }
    return draft;
}

/* ---- APPEND -----------------------------------------------------------------------------------
 */

/* Doubles small ones, adds a mebibyte to large ones: appending is cheap on average. */
#define GROWTH_BYTES_MAX (1U << 20)

static struct blob *create_growing_blob(struct shard *shard, uint32_t total,
                                        enum memory_limit limit)
{
    uint32_t spare = total < GROWTH_BYTES_MAX ? total : GROWTH_BYTES_MAX;
    struct blob *blob = create_blob(shard, total + spare, limit);
    return blob != NULL ? blob : create_blob(shard, total, limit);
}

/* Nobody was ever shown more than this item shows: what follows is free to be written. Only in the
 * blob's own shard: items of others may share it, and their writers must not do the same. */
bool shard_grows_in_place(const struct shard *shard, const struct item *item, uint64_t growth)
{
    const struct blob *blob = item_blob(item);
    return blob != NULL && blob->shard == shard &&
           blob_used_bytes(blob) == item_stored_bytes(item) &&
           blob->capacity_bytes - blob_used_bytes(blob) >= growth;
}

static struct blob *copy_into_blob(struct shard *shard, struct slice value, uint32_t total,
                                   const struct item_draft_options *options)
{
    struct blob *blob = create_growing_blob(shard, total, limit_of(options));
    if (blob == NULL) {
        metric_add(shard->metrics, METRIC_STORE_OUT_OF_MEMORY, 1);
    } else if (value.size > 0) {
        memcpy(blob->bytes, value.data, value.size);
    }
    return blob;
}

static struct item *draft_grown_inline(struct shard *shard, const struct item *item,
                                       struct slice value, const struct item_draft_options *options)
{
    struct item *draft = shard_draft(shard, item_key(item), options);
    if (draft != NULL && value.size > 0) {
        memcpy(draft_value(draft), value.data, value.size);
    }
    return draft;
}

struct item *shard_draft_grown(struct shard *shard, const struct item *item, uint32_t growth,
                               const struct item_draft_options *options)
{
    uint8_t scratch[NUMBER_TEXT_BYTES_MAX];
    struct slice value = item_value(item, scratch);
    if (growth > ITEM_VALUE_BYTES_MAX - value.size) {
        metric_add(shard->metrics, METRIC_STORE_OUT_OF_MEMORY, 1);
        return NULL;
    }
    struct item_draft_options grown = *options;
    grown.encoding = ENCODING_RAW;
    grown.value_bytes = (uint32_t)value.size + growth;
    if (grown.value_bytes <= ITEM_INLINE_BYTES_MAX) {
        return draft_grown_inline(shard, item, value, &grown);
    }
    struct shape shape = {.key = item_key(item),
                          .type = item_type(item),
                          .encoding = ENCODING_RAW,
                          .value_bytes = grown.value_bytes,
                          .blob = item_blob(item)};
    if (shard_grows_in_place(shard, item, growth)) {
        blob_acquire(shape.blob);
    } else {
        shape.blob = copy_into_blob(shard, value, grown.value_bytes, &grown);
    }
    return shape.blob == NULL ? NULL : create_item_owning(shard, &shape, &grown);
}
