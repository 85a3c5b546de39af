#include "tests/bench/workload.h"

#include <stdlib.h>

#include "dataplane/base/number.h"
#include "tests/bench/value.h"

#define KEY_PREFIX        "key:"
#define KEY_PREFIX_BYTES  4U
#define KEY_HEADER_BYTES  16U  /* "$250\r\n" and the CRLF behind the key, or a blank */
#define REQUEST_BYTES_MAX 256U /* command, options, lengths */

const char *const request_kind_names[REQUEST_KIND_COUNT] = {"get", "set", "ping"};

bool workload_init(struct workload *workload, uint64_t seed)
{
    size_t key_room = (size_t)workload->keys_a_get * (WORKLOAD_KEY_BYTES_MAX + KEY_HEADER_BYTES);
    size_t value_room = sizes_maximum(&workload->value_sizes) + WORKLOAD_KEY_BYTES_MAX;
    workload->random_state = seed | 1;
    uint8_t text[NUMBER_TEXT_BYTES_MAX];
    workload->key_digits = (uint32_t)number_format_uint64(workload->key_count, text);
    workload->one_hit_next = workload->key_count;
    if (workload->theta > 0) {
        zipf_init(&workload->zipf, workload->key_count, workload->theta);
    }
    workload->buffer = malloc((key_room > value_room ? key_room : value_room) + REQUEST_BYTES_MAX);
    return workload->buffer != NULL;
}

void workload_deinit(struct workload *workload)
{
    free(workload->buffer);
    workload->buffer = NULL;
}

/* ---- choices --------------------------------------------------------------------------------- */

enum request_kind workload_draw_kind(struct workload *workload)
{
    uint32_t total = 0, kind = 0;
    for (uint32_t i = 0; i < REQUEST_KIND_COUNT; i++) {
        total += workload->weights[i];
    }
    uint64_t point = chance_below(&workload->random_state, total);
    while (point >= workload->weights[kind]) {
        point -= workload->weights[kind++];
    }
    return (enum request_kind)kind;
}

uint64_t workload_draw_key(struct workload *workload)
{
    if (workload->theta > 0) {
        return zipf_draw(&workload->zipf, &workload->random_state);
    }
    return chance_below(&workload->random_state, workload->key_count);
}

uint64_t workload_draw_write_key(struct workload *workload)
{
    if (workload->one_hit_percent > 0 &&
        chance_below(&workload->random_state, 100) < workload->one_hit_percent) {
        return workload->one_hit_next++;
    }
    return workload_draw_key(workload);
}

/* ---- keys ------------------------------------------------------------------------------------ */

/* A bijection that scatters: neighbours have nothing in common. */
uint64_t workload_key_hash(uint64_t key)
{
    uint64_t x = key + 0x9E3779B97F4A7C15ULL;
    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9ULL;
    x = (x ^ x >> 27) * 0x94D049BB133111EBULL;
    return x ^ x >> 31;
}

uint32_t workload_value_size(const struct workload *workload, uint64_t key)
{
    return sizes_of(&workload->value_sizes, workload_key_hash(key) * 3);
}

bool workload_keys_fit(const struct workload *workload)
{
    uint8_t text[NUMBER_TEXT_BYTES_MAX];
    uint64_t last =
        workload->one_hit_percent > 0 ? workload->key_count * 1000 : workload->key_count;
    return number_format_uint64(last, text) <= sizes_minimum(&workload->key_sizes);
}

/* "key:000000000012", as redis-benchmark has it; the prefix gives way where room is short. A key
 * beyond the key space is never longer than its size, or it is as long as its number. */
uint32_t workload_compose_key(const struct workload *workload, uint64_t key, uint8_t *text)
{
    uint8_t digits[NUMBER_TEXT_BYTES_MAX];
    uint32_t count = (uint32_t)number_format_uint64(key, digits);
    uint32_t size = sizes_of(&workload->key_sizes, workload_key_hash(key));
    size = size < count ? count : size;
    uint32_t widest = count > workload->key_digits ? count : workload->key_digits;
    uint32_t prefix = size < KEY_PREFIX_BYTES + widest ? 0 : KEY_PREFIX_BYTES;
    memcpy(text, KEY_PREFIX, prefix);
    memset(text + prefix, '0', size - count - prefix);
    memcpy(text + size - count, digits, count);
    return size;
}

/* ---- requests -------------------------------------------------------------------------------- */

static uint8_t *put_bytes(uint8_t *to, const void *data, size_t size)
{
    memcpy(to, data, size);
    return to + size;
}

#define PUT_LITERAL(to, text) put_bytes(to, text, sizeof(text) - 1)

static uint8_t *put_number(uint8_t *to, uint64_t number)
{
    return to + number_format_uint64(number, to);
}

/* "$5\r\n" */
static uint8_t *put_bulk_header(uint8_t *to, uint64_t size)
{
    *to++ = '$';
    return PUT_LITERAL(put_number(to, size), "\r\n");
}

static uint8_t *put_bulk_number(uint8_t *to, uint64_t number)
{
    uint8_t digits[NUMBER_TEXT_BYTES_MAX];
    size_t size = number_format_uint64(number, digits);
    to = put_bytes(put_bulk_header(to, size), digits, size);
    return PUT_LITERAL(to, "\r\n");
}

static uint8_t *put_bulk_key(const struct workload *workload, uint8_t *to, uint64_t key)
{
    uint8_t text[WORKLOAD_KEY_BYTES_MAX];
    uint32_t size = workload_compose_key(workload, key, text);
    to = put_bytes(put_bulk_header(to, size), text, size);
    return PUT_LITERAL(to, "\r\n");
}

static struct slice composed(const struct workload *workload, const uint8_t *end)
{
    return slice_of(workload->buffer, (size_t)(end - workload->buffer));
}

static uint8_t *put_resp_get(struct workload *workload, const uint64_t *keys, uint32_t count)
{
    uint8_t *to = workload->buffer;
    *to++ = '*';
    to = put_number(to, count + 1U);
    to = count == 1 ? PUT_LITERAL(to, "\r\n$3\r\nGET\r\n") : PUT_LITERAL(to, "\r\n$4\r\nMGET\r\n");
    for (uint32_t i = 0; i < count; i++) {
        to = put_bulk_key(workload, to, keys[i]);
    }
    return to;
}

static uint8_t *put_memcache_get(struct workload *workload, const uint64_t *keys, uint32_t count)
{
    uint8_t *to = PUT_LITERAL(workload->buffer, "get");
    for (uint32_t i = 0; i < count; i++) {
        *to++ = ' ';
        to += workload_compose_key(workload, keys[i], to);
    }
    return PUT_LITERAL(to, "\r\n");
}

/* mg <key> v: the value alone. One key. */
static uint8_t *put_meta_get(struct workload *workload, uint64_t key)
{
    uint8_t *to = PUT_LITERAL(workload->buffer, "mg ");
    to += workload_compose_key(workload, key, to);
    return PUT_LITERAL(to, " v\r\n");
}

struct slice workload_compose_get(struct workload *workload, const uint64_t *keys, uint32_t count)
{
    switch (workload->protocol) {
    case REPLY_RESP: return composed(workload, put_resp_get(workload, keys, count));
    case REPLY_META: return composed(workload, put_meta_get(workload, keys[0]));
    case REPLY_MEMCACHE:
    default: return composed(workload, put_memcache_get(workload, keys, count));
    }
}

static uint32_t draw_ttl(struct workload *workload)
{
    uint32_t width = workload->ttl_high_s - workload->ttl_low_s + 1;
    return workload->ttl_low_s + (uint32_t)chance_below(&workload->random_state, width);
}

/* SET key value [EX ttl]; the value's bytes are the caller's to fill. */
static uint8_t *put_resp_set(struct workload *workload, uint64_t key, uint32_t ttl, uint32_t size,
                             uint8_t **value)
{
    uint8_t *to = ttl > 0 ? PUT_LITERAL(workload->buffer, "*5\r\n$3\r\nSET\r\n")
                          : PUT_LITERAL(workload->buffer, "*3\r\n$3\r\nSET\r\n");
    to = put_bulk_header(put_bulk_key(workload, to, key), size);
    *value = to;
    to = PUT_LITERAL(to + size, "\r\n");
    return ttl > 0 ? put_bulk_number(PUT_LITERAL(to, "$2\r\nEX\r\n"), ttl) : to;
}

/* set <key> <flags> <ttl> <bytes> */
static uint8_t *put_memcache_set(struct workload *workload, uint64_t key, uint32_t ttl,
                                 uint32_t size, uint8_t **value)
{
    uint8_t *to = PUT_LITERAL(workload->buffer, "set ");
    to += workload_compose_key(workload, key, to);
    to = put_number(PUT_LITERAL(to, " 0 "), ttl);
    *to++ = ' ';
    to = PUT_LITERAL(put_number(to, size), "\r\n");
    *value = to;
    return PUT_LITERAL(to + size, "\r\n");
}

/* ms <key> <bytes> T<ttl> */
static uint8_t *put_meta_set(struct workload *workload, uint64_t key, uint32_t ttl, uint32_t size,
                             uint8_t **value)
{
    uint8_t *to = PUT_LITERAL(workload->buffer, "ms ");
    to += workload_compose_key(workload, key, to);
    *to++ = ' ';
    to = put_number(PUT_LITERAL(put_number(to, size), " T"), ttl);
    to = PUT_LITERAL(to, "\r\n");
    *value = to;
    return PUT_LITERAL(to + size, "\r\n");
}

static uint8_t *put_set(struct workload *workload, uint64_t key, uint32_t ttl, uint32_t size,
                        uint8_t **value)
{
    switch (workload->protocol) {
    case REPLY_RESP: return put_resp_set(workload, key, ttl, size, value);
    case REPLY_META: return put_meta_set(workload, key, ttl, size, value);
    case REPLY_MEMCACHE:
    default: return put_memcache_set(workload, key, ttl, size, value);
    }
}

struct slice workload_compose_set(struct workload *workload, uint64_t key, uint32_t version)
{
    uint8_t *value;
    uint32_t ttl = workload->ttl_low_s > 0 ? draw_ttl(workload) : 0;
    uint32_t size = workload_value_size(workload, key);
    const uint8_t *end = put_set(workload, key, ttl, size, &value);
    value_compose(workload_key_hash(key), version, value, size);
    return composed(workload, end);
}

struct slice workload_compose_ping(struct workload *workload)
{
    const uint8_t *end = workload->protocol == REPLY_RESP
                             ? PUT_LITERAL(workload->buffer, "*1\r\n$4\r\nPING\r\n")
                             : PUT_LITERAL(workload->buffer, "version\r\n");
    return composed(workload, end);
}
