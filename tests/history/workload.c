/* Which operations, in which shares; how both protocols write them down; what replies mean. */
#include "tests/history/workload.h"

#include <inttypes.h>
#include <stdio.h>

#include "dataplane/base/check.h"
#include "tests/bench/chance.h"

#define PADDING_BYTES_MAX 20000U /* beyond what an item holds itself: such a value is a blob */
#define NUMBER_KEYS       2U     /* the last ones of a group: they mostly hold numbers */
#define EXPIRY_MS_MAX     60U
#define FLUSH_ONE_IN      4000U
#define MEET_OPERATIONS   512U

struct share {
    enum operation_type type;
    uint32_t weight, keys_min, keys_max;
};

static const struct share resp_shares[] = {
    {OPERATION_GET, 25, 1, 1},    {OPERATION_MGET, 11, 2, GROUP_KEYS},
    {OPERATION_EXISTS, 4, 2, 3},  {OPERATION_SET, 17, 1, 1},
    {OPERATION_SET_NX, 4, 1, 1},  {OPERATION_SET_XX, 3, 1, 1},
    {OPERATION_SET_GET, 5, 1, 1}, {OPERATION_GETDEL, 3, 1, 1},
    {OPERATION_INCR, 8, 1, 1},    {OPERATION_APPEND, 5, 1, 1},
    {OPERATION_DEL, 4, 1, 3},     {OPERATION_MSET, 5, 2, 4},
    {OPERATION_MSETNX, 2, 2, 3},  {OPERATION_RENAME, 2, 2, 2},
    {OPERATION_COPY, 1, 2, 2},    {OPERATION_COPY_REPLACE, 1, 2, 2},
};

static const struct share memcache_shares[] = {
    {OPERATION_GET, 50, 1, 1}, {OPERATION_SET, 20, 1, 1},    {OPERATION_SET_NX, 8, 1, 1},
    {OPERATION_DEL, 7, 1, 1},  {OPERATION_SET_XX, 15, 1, 1},
};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static uint64_t below(struct workload *workload, uint64_t bound)
{
    return chance_below(&workload->random, bound);
}

static const struct share *draw_share(struct workload *workload, const struct share *shares,
                                      size_t count)
{
    uint64_t total = 0;
    for (size_t i = 0; i < count; i++) {
        total += shares[i].weight;
    }
    uint64_t place = below(workload, total);
    while (place >= shares->weight) {
        place -= shares->weight;
        shares++;
    }
    return shares;
}

/* A client stays away from a quarter of the groups, and half of the time goes where all go. */
static uint32_t draw_group(struct workload *workload, uint32_t client, uint64_t round)
{
    uint32_t group = below(workload, 2) == 0
                         ? (uint32_t)(round / MEET_OPERATIONS % workload->group_count)
                         : (uint32_t)below(workload, workload->group_count);
    return workload->group_count > 1 && (group + client) % 4 == 0
               ? (group + 1) % workload->group_count
               : group;
}

static bool writes_values(enum operation_type type)
{
    return type == OPERATION_SET || type == OPERATION_SET_NX || type == OPERATION_SET_XX ||
           type == OPERATION_SET_GET || type == OPERATION_MSET || type == OPERATION_MSETNX ||
           type == OPERATION_CAS;
}

/* Most are small; some fill an item, few are larger than one. */
static uint32_t padding_of(uint32_t token)
{
    if (token % 512 == 0) {
        return PADDING_BYTES_MAX;
    }
    return token % 32 == 0 ? token % 1777 : token % 23;
}

static size_t write_value(uint8_t *text, struct value written)
{
    return value_is_number(written)
               ? value_write_number(text, written.origin)
               : value_write_string(text, written.origin, padding_of(written.origin));
}

static struct value new_value(struct workload *workload, uint8_t key)
{
    static uint8_t text[VALUE_TEXT_BYTES_MAX + PADDING_BYTES_MAX];
    uint32_t token = ++workload->token;
    bool number = below(workload, 8) < (key >= GROUP_KEYS - NUMBER_KEYS ? 7U : 1U);
    size_t size = number ? value_write_number(text, token)
                         : value_write_string(text, token, padding_of(token));
    return value_of_bytes(slice_of(text, size));
}

static void draw_accesses(struct workload *workload, const struct share *share,
                          struct request *request)
{
    uint32_t taken = 0;
    bool numbers = share->type == OPERATION_INCR && below(workload, 8) != 0;
    request->access_count =
        share->keys_min + (uint32_t)below(workload, share->keys_max - share->keys_min + 1);
    for (uint32_t i = 0; i < request->access_count; i++) {
        uint8_t key;
        do {
            key = (uint8_t)(numbers ? GROUP_KEYS - 1 - below(workload, NUMBER_KEYS)
                                    : below(workload, GROUP_KEYS));
        } while ((taken >> key & 1) != 0);
        taken |= 1U << key;
        request->accesses[i] = (struct access){.key = key};
        if (writes_values(share->type)) {
            request->accesses[i].written = new_value(workload, key);
        }
    }
}

static void draw_from(struct workload *workload, uint32_t client, uint64_t round,
                      const struct share *share, struct request *request)
{
    *request = (struct request){.group = draw_group(workload, client, round)};
    request->operation.type = (uint8_t)share->type;
    draw_accesses(workload, share, request);
    if (share->type == OPERATION_APPEND) {
        uint8_t text[VALUE_TEXT_BYTES_MAX];
        size_t size = value_write_suffix(text, ++workload->token);
        request->accesses[0].written = value_of_bytes(slice_of(text, size));
    }
}

void workload_draw(struct workload *workload, uint32_t client, uint64_t round,
                   struct request *request)
{
    if (workload->flush && below(workload, FLUSH_ONE_IN) == 0) {
        *request = (struct request){.operation.type = OPERATION_FLUSH};
        return;
    }
    draw_from(workload, client, round, draw_share(workload, resp_shares, COUNT(resp_shares)),
              request);
    if (request->operation.type == OPERATION_SET && workload->expiry && below(workload, 3) == 0) {
        request->operation.px_ms = 1 + (uint32_t)below(workload, EXPIRY_MS_MAX);
    }
}

void workload_draw_memcache(struct workload *workload, uint32_t client, uint64_t round,
                            const struct cas_memory *memory, struct request *request)
{
    draw_from(workload, client, round,
              draw_share(workload, memcache_shares, COUNT(memcache_shares)), request);
    if (memory->valid && below(workload, 2) == 0) {
        *request = (struct request){.operation.type = OPERATION_CAS,
                                    .accesses = {memory->access},
                                    .access_count = 1,
                                    .group = memory->group,
                                    .cas = memory->cas};
        request->accesses[0].written = new_value(workload, memory->access.key);
    }
    request->with_cas = request->operation.type == OPERATION_GET && below(workload, 2) == 0;
}

void workload_read_group(uint32_t group, struct request *request)
{
    *request = (struct request){
        .operation.type = OPERATION_MGET, .access_count = GROUP_KEYS, .group = group};
    for (uint8_t key = 0; key < GROUP_KEYS; key++) {
        request->accesses[key].key = key;
    }
}

/* ---- bytes ----------------------------------------------------------------------------------- */

void workload_key_name(const struct workload *workload, uint32_t group, uint8_t key, char text[64])
{
    snprintf(text, 64, "history:%" PRIu64 ":%" PRIu32 ":%u", workload->seed, group, key);
}

static void put_key(const struct workload *workload, const struct request *request, uint32_t index,
                    struct wire_buffer *out)
{
    char text[64];
    workload_key_name(workload, request->group, request->accesses[index].key, text);
    wire_put_word(out, slice_of_string(text));
}

static struct slice value_text(struct value written)
{
    static uint8_t text[VALUE_TEXT_BYTES_MAX + PADDING_BYTES_MAX];
    return slice_of(text, write_value(text, written));
}

/* The command's words in front of the keys, and behind them. */
struct words {
    const char *before, *after[2];
};

static const struct words words_of[OPERATION_TYPE_COUNT] = {
    [OPERATION_GET] = {"GET", {NULL, NULL}},
    [OPERATION_MGET] = {"MGET", {NULL, NULL}},
    [OPERATION_EXISTS] = {"EXISTS", {NULL, NULL}},
    [OPERATION_SET] = {"SET", {NULL, NULL}},
    [OPERATION_SET_NX] = {"SET", {"NX", NULL}},
    [OPERATION_SET_XX] = {"SET", {"XX", NULL}},
    [OPERATION_SET_GET] = {"SET", {"GET", NULL}},
    [OPERATION_GETDEL] = {"GETDEL", {NULL, NULL}},
    [OPERATION_INCR] = {"INCR", {NULL, NULL}},
    [OPERATION_APPEND] = {"APPEND", {NULL, NULL}},
    [OPERATION_DEL] = {"DEL", {NULL, NULL}},
    [OPERATION_MSET] = {"MSET", {NULL, NULL}},
    [OPERATION_MSETNX] = {"MSETNX", {NULL, NULL}},
    [OPERATION_RENAME] = {"RENAME", {NULL, NULL}},
    [OPERATION_COPY] = {"COPY", {NULL, NULL}},
    [OPERATION_COPY_REPLACE] = {"COPY", {"REPLACE", NULL}},
    [OPERATION_FLUSH] = {"FLUSHDB", {NULL, NULL}},
};

static void put_accesses(const struct workload *workload, const struct request *request,
                         struct wire_buffer *out)
{
    uint8_t suffix[VALUE_TEXT_BYTES_MAX];
    for (uint32_t i = 0; i < request->access_count; i++) {
        struct value written = request->accesses[i].written;
        put_key(workload, request, i, out);
        if (request->operation.type == OPERATION_APPEND) {
            wire_put_word(out, slice_of(suffix, value_write_suffix(suffix, written.origin)));
        } else if (!value_is_absent(written)) {
            wire_put_word(out, value_text(written));
        }
    }
}

void workload_compose(const struct workload *workload, const struct request *request,
                      struct wire_buffer *out)
{
    char px[16];
    struct words words = words_of[request->operation.type];
    CHECK(words.before != NULL);
    if (request->operation.px_ms != 0) {
        snprintf(px, sizeof(px), "%" PRIu32, request->operation.px_ms);
        words.after[0] = "PX";
        words.after[1] = px;
    }
    bool values = !value_is_absent(request->accesses[0].written);
    wire_put_words(out, 1 + request->access_count * (values ? 2 : 1) + (words.after[0] != NULL) +
                            (words.after[1] != NULL));
    wire_put_word(out, slice_of_string(words.before));
    put_accesses(workload, request, out);
    for (uint32_t i = 0; i < 2 && words.after[i] != NULL; i++) {
        wire_put_word(out, slice_of_string(words.after[i]));
    }
}

static const char *memcache_word(const struct request *request)
{
    switch (request->operation.type) {
    case OPERATION_GET: return request->with_cas ? "gets" : "get";
    case OPERATION_DEL: return "delete";
    case OPERATION_SET_NX: return "add";
    case OPERATION_SET_XX: return "replace";
    case OPERATION_CAS: return "cas";
    default: return "set";
    }
}

void workload_compose_memcache(const struct workload *workload, const struct request *request,
                               struct wire_buffer *out)
{
    char key[64], line[192];
    struct value written = request->accesses[0].written;
    workload_key_name(workload, request->group, request->accesses[0].key, key);
    if (value_is_absent(written)) {
        snprintf(line, sizeof(line), "%s %s\r\n", memcache_word(request), key);
        wire_put_text(out, line);
        return;
    }
    struct slice text = value_text(written);
    int size =
        snprintf(line, sizeof(line), "%s %s 0 0 %zu", memcache_word(request), key, text.size);
    if (request->operation.type == OPERATION_CAS) {
        snprintf(line + size, sizeof(line) - (size_t)size, " %" PRIu64, request->cas);
    }
    wire_put_text(out, line);
    wire_put_text(out, "\r\n");
    wire_put(out, text);
    wire_put_text(out, "\r\n");
}

/* ---- replies --------------------------------------------------------------------------------- */

static bool starts_with(struct slice text, const char *start)
{
    size_t size = strlen(start);
    return text.size >= size && memcmp(text.data, start, size) == 0;
}

static bool take_error(struct operation *operation, struct slice text)
{
    enum operation_type type = (enum operation_type)operation->type;
    bool memcache = starts_with(text, "SERVER_ERROR out of memory");
    if (memcache || (starts_with(text, "OOM ") && operation_needs_memory(type))) {
        operation->type =
            memcache && type == OPERATION_SET ? OPERATION_REFUSED_SET : OPERATION_REFUSED;
        return true;
    }
    if (operation->type == OPERATION_RENAME && starts_with(text, "ERR no such key")) {
        operation->number = 0;
        return true;
    }
    operation->number = -1;
    return operation->type == OPERATION_INCR && starts_with(text, "ERR value is not an integer");
}

static bool take_values(struct operation *operation, struct access *accesses,
                        const struct wire_reply *reply)
{
    /* SET NX and SET XX answer nil for no. */
    bool refused = reply->value_count == 1 && value_is_absent(reply->values[0]);
    operation->number = operation->type == OPERATION_SET_GET;
    if (operation->type == OPERATION_SET_NX || operation->type == OPERATION_SET_XX) {
        return refused;
    }
    bool names = operation->type == OPERATION_GET || operation->type == OPERATION_MGET ||
                 operation->type == OPERATION_SET_GET || operation->type == OPERATION_GETDEL;
    if (!names || reply->value_count != operation->access_count) {
        return false;
    }
    for (uint32_t i = 0; i < operation->access_count; i++) {
        accesses[i].observed = reply->values[i];
    }
    return true;
}

static bool take_number(struct operation *operation, struct access *accesses, int64_t number)
{
    operation->number = number;
    switch (operation->type) {
    case OPERATION_INCR:
        accesses->observed = number > 1 ? value_of_number((uint64_t)number - 1) : (struct value){0};
        return number > 0;
    case OPERATION_APPEND: operation->number = number & VALUE_LENGTH_MASK; return true;
    case OPERATION_EXISTS:
    case OPERATION_DEL: return number >= 0 && number <= operation->access_count;
    case OPERATION_MSETNX:
    case OPERATION_COPY:
    case OPERATION_COPY_REPLACE: return number == 0 || number == 1;
    default: return false;
    }
}

static bool take_memcache_status(struct operation *operation, struct slice text)
{
    bool stored = starts_with(text, "STORED"), deleted = starts_with(text, "DELETED");
    bool not_found = starts_with(text, "NOT_FOUND");
    switch (operation->type) {
    case OPERATION_SET: return stored;
    case OPERATION_SET_NX:
    case OPERATION_SET_XX:
        operation->number = stored;
        return stored || starts_with(text, "NOT_STORED");
    case OPERATION_DEL: operation->number = deleted; return deleted || not_found;
    case OPERATION_CAS:
        operation->number = stored ? 1 : not_found ? -1 : 0;
        return stored || not_found || starts_with(text, "EXISTS");
    default: return false;
    }
}

static bool take_status(struct operation *operation, struct slice text)
{
    operation->number = operation->type == OPERATION_SET_NX ||
                        operation->type == OPERATION_SET_XX || operation->type == OPERATION_RENAME;
    return starts_with(text, "OK") &&
           (operation->number == 1 || operation->type == OPERATION_SET ||
            operation->type == OPERATION_MSET || operation->type == OPERATION_FLUSH);
}

bool workload_take_reply(struct operation *operation, struct access *accesses, bool memcache,
                         const struct wire_reply *reply)
{
    switch (reply->kind) {
    case WIRE_ERROR: return take_error(operation, reply->text);
    case WIRE_VALUES: return take_values(operation, accesses, reply);
    case WIRE_NUMBER: return take_number(operation, accesses, reply->number);
    case WIRE_STATUS: break;
    }
    return memcache ? take_memcache_status(operation, reply->text)
                    : take_status(operation, reply->text);
}
