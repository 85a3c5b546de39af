/* A plain reading of a stream of binary requests: the whole of it at once, no state. */
#include <stdio.h>

#include "tests/unit/l6_protocol/parse_driver.h"

/* One letter says what a request of the opcode is made of, one what it is:
 *   g key         s extras of 8, key, value   i extras of 20, key    t extras of 4, key
 *   a key, value  n nothing                   f extras of 0 or 4     k key or nothing   p SASL
 *   Q quiet       K shows the key             B both                 L allowed before the login */
static const struct reference_opcode {
    int opcode;
    char shape, kind;
    enum memcache_verb verb;
} opcodes[] = {
    {0x00, 'g', ' ', MEMCACHE_GET},       {0x01, 's', ' ', MEMCACHE_SET},
    {0x02, 's', ' ', MEMCACHE_ADD},       {0x03, 's', ' ', MEMCACHE_REPLACE},
    {0x04, 'g', ' ', MEMCACHE_DELETE},    {0x05, 'i', ' ', MEMCACHE_INCR},
    {0x06, 'i', ' ', MEMCACHE_DECR},      {0x07, 'n', ' ', MEMCACHE_QUIT},
    {0x08, 'f', ' ', MEMCACHE_FLUSH_ALL}, {0x09, 'g', 'Q', MEMCACHE_GET},
    {0x0a, 'n', ' ', MEMCACHE_NOOP},      {0x0b, 'n', 'L', MEMCACHE_VERSION},
    {0x0c, 'g', 'K', MEMCACHE_GET},       {0x0d, 'g', 'B', MEMCACHE_GET},
    {0x0e, 'a', ' ', MEMCACHE_APPEND},    {0x0f, 'a', ' ', MEMCACHE_PREPEND},
    {0x10, 'k', ' ', MEMCACHE_STATS},     {0x11, 's', 'Q', MEMCACHE_SET},
    {0x12, 's', 'Q', MEMCACHE_ADD},       {0x13, 's', 'Q', MEMCACHE_REPLACE},
    {0x14, 'g', 'Q', MEMCACHE_DELETE},    {0x15, 'i', 'Q', MEMCACHE_INCR},
    {0x16, 'i', 'Q', MEMCACHE_DECR},      {0x17, 'n', 'Q', MEMCACHE_QUIT},
    {0x18, 'f', 'Q', MEMCACHE_FLUSH_ALL}, {0x19, 'a', 'Q', MEMCACHE_APPEND},
    {0x1a, 'a', 'Q', MEMCACHE_PREPEND},   {0x1c, 't', ' ', MEMCACHE_TOUCH},
    {0x1d, 't', ' ', MEMCACHE_GAT},       {0x1e, 't', 'Q', MEMCACHE_GAT},
    {0x20, 'n', 'L', MEMCACHE_SASL_LIST}, {0x21, 'p', 'L', MEMCACHE_SASL_AUTH},
    {0x22, 'p', 'L', MEMCACHE_SASL_STEP}, {0x23, 't', 'K', MEMCACHE_GAT},
    {0x24, 't', 'B', MEMCACHE_GAT},
};

static const struct reference_opcode *opcode_of(int opcode)
{
    for (size_t i = 0; i < sizeof(opcodes) / sizeof(opcodes[0]); i++) {
        if (opcodes[i].opcode == opcode) {
            return &opcodes[i];
        }
    }
    return NULL;
}

static unsigned long long number_at(const uint8_t *bytes, size_t size)
{
    unsigned long long value = 0;
    for (size_t i = 0; i < size; i++) {
        value = value << 8 | bytes[i];
    }
    return value;
}

static bool shape_fits(char shape, size_t extras, size_t key, size_t value)
{
    switch (shape) {
    case 'g': return extras == 0 && key > 0 && value == 0;
    case 's': return extras == 8 && key > 0;
    case 'i': return extras == 20 && key > 0 && value == 0;
    case 't': return extras == 4 && key > 0 && value == 0;
    case 'a': return extras == 0 && key > 0;
    case 'n': return extras == 0 && key == 0 && value == 0;
    case 'f': return (extras == 0 || extras == 4) && key == 0 && value == 0;
    case 'k': return extras == 0 && value == 0;
    default: return extras == 0 && key > 0 && value <= 4096;
    }
}

static void fill_extras(struct memcache_request *request, char shape, const uint8_t *extras,
                        size_t size)
{
    if (shape == 's') {
        request->client_flags = (uint32_t)number_at(extras, 4);
        request->exptime = (int64_t)number_at(extras + 4, 4);
    } else if (shape == 'i') {
        request->delta = number_at(extras, 8);
        request->binary.initial = number_at(extras + 8, 8);
        request->exptime = (int64_t)number_at(extras + 16, 4);
        request->binary.creates = request->exptime != 0xFFFFFFFF;
    } else {
        request->exptime = (int64_t)number_at(extras, size);
    }
}

/* Bytes that the request takes; 0: it is not complete. */
static size_t read_request(const uint8_t *at, size_t left, const struct reference_opcode *row,
                           const struct memcache_binary_limits *limits, struct buffer *text)
{
    size_t key = (size_t)number_at(at + 2, 2), extras = at[4], body = (size_t)number_at(at + 8, 4);
    size_t value = body - key - extras, head = 24 + extras + key;
    struct memcache_request request = {.verb = row->verb, .cas = number_at(at + 16, 8)};
    struct slice name = slice_of(at + 24 + extras, key);
    if (left < head) {
        return 0;
    }
    request.binary = (struct memcache_binary){
        .present = true,
        .quiet = row->kind == 'Q' || row->kind == 'B',
        .returns_key = row->kind == 'K' || row->kind == 'B',
        .is_set = row->verb == MEMCACHE_SET,
        .opcode = at[1],
        .opaque = (uint32_t)number_at(at + 12, 4),
    };
    fill_extras(&request, row->shape, at + 24, extras);
    if (row->shape == 's' && request.cas != 0) {
        request.verb = MEMCACHE_CAS;
    }
    if (row->shape == 'p' || row->shape == 'k') {
        request.arguments = name;
    } else if (key > 0) {
        request.keys = &name;
        request.key_count = 1;
    }
    request.value_too_large =
        (row->shape == 's' || row->shape == 'a') &&
        59 + key + value + (request.client_flags != 0 ? 4 : 0) > limits->item_bytes_max;
    if (!request.value_too_large && left < head + value) {
        return 0;
    }
    if (!request.value_too_large) {
        request.value = slice_of(at + head, value);
    }
    memcache_print_request(&request, text);
    return left < head + value ? left : head + value;
}

static void print_refused(const uint8_t *at, uint8_t status, bool closes, struct buffer *text)
{
    const struct reference_opcode *row = opcode_of(at[1]);
    struct memcache_request request = {.verb = MEMCACHE_REFUSED, .cas = number_at(at + 16, 8)};
    request.binary = (struct memcache_binary){
        .present = true,
        .quiet = row != NULL && (row->kind == 'Q' || row->kind == 'B'),
        .returns_key = row != NULL && (row->kind == 'K' || row->kind == 'B'),
        .closes = closes,
        .opcode = at[1],
        .status = status,
        .opaque = (uint32_t)number_at(at + 12, 4),
    };
    memcache_print_request(&request, text);
}

/* The status of a header that ends the connection, or 0. */
static uint8_t fault_of(const uint8_t *at, const struct memcache_binary_limits *limits)
{
    const struct reference_opcode *row = opcode_of(at[1]);
    size_t key = (size_t)number_at(at + 2, 2), extras = at[4], body = (size_t)number_at(at + 8, 4);
    if (key + extras > body) {
        return 0x81;
    }
    if (limits->login_needed && (row == NULL || (row->kind != 'L' && row->shape != 'p'))) {
        return 0x20;
    }
    if (key > 250) {
        return 0x04;
    }
    return row == NULL || shape_fits(row->shape, extras, key, body - key - extras) ? 0 : 0x04;
}

void memcache_binary_reference(struct slice stream, const struct memcache_binary_limits *limits,
                               struct buffer *text)
{
    size_t at = 0;
    while (at < stream.size) {
        const uint8_t *header = stream.data + at;
        size_t left = stream.size - at, used;
        if (header[0] != 0x80) {
            buffer_print(text, "fatal \n");
            return;
        }
        if (left < 24) {
            break;
        }
        uint8_t fault = fault_of(header, limits);
        const struct reference_opcode *row = opcode_of(header[1]);
        if (fault != 0) {
            print_refused(header, fault, true, text);
            used = left;
        } else if (row == NULL) {
            size_t whole = 24 + (size_t)number_at(header + 8, 4);
            print_refused(header, 0x81, false, text);
            used = left < whole ? left : whole;
        } else {
            used = read_request(header, left, row, limits, text);
        }
        if (used == 0) {
            break;
        }
        at += used;
    }
    buffer_print(text, "left %zu\n", stream.size - at);
}
