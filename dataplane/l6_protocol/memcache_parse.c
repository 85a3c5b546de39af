/* memcached text parser.
 *
 *                      get, delete, ...: complete
 *   MEMCACHE_LINE ----------------------------------------> MEMCACHE_LINE
 *        |  set and its family: the value is not all there
 *        +--------> MEMCACHE_VALUE ----> complete or "bad data chunk"
 *        |               | refused
 *        |  too large    v
 *        +--------> MEMCACHE_SWALLOW --> all of it gone, MEMCACHE_LINE
 *
 * A line is looked at once, when its LF is there: find_line remembers how far it has searched.
 * While a value arrives, `pending` keeps what the line said, and its key as an offset, because the
 * input may move; nothing of the value is looked at before it is complete.
 *
 * How lines and numbers are read is the reference's habit: memcache_text.h.
 *
 * Memory: the key table, grown with realloc, given back at the next request if large.
 */
#include "dataplane/l6_protocol/memcache_parse.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

#include "dataplane/base/check.h"
#include "dataplane/l6_protocol/memcache_text.h"

enum memcache_state { MEMCACHE_LINE, MEMCACHE_VALUE, MEMCACHE_SWALLOW };
_Static_assert(MEMCACHE_LINE == 0, "zeroed is initialised, and what ..._is_at_rest asks for");

#define COLD __attribute__((cold, noinline))

#define KEYS_KEPT_MAX 1024U
#define WORDS_MAX     23U /* the reference's token array; what follows is not looked at */
#define BINARY_MAGIC  0x80

struct words {
    uint32_t count;
    struct slice word[WORDS_MAX];
};

/* ---- words and numbers ----------------------------------------------------------------------- */

static void split_words(struct slice line, struct words *words)
{
    const uint8_t *at = line.data, *end = line.data + line.size;
    words->count = 0;
    while (words->count < WORDS_MAX) {
        struct slice word = memcache_next_word(&at, end);
        if (word.size == 0) {
            break;
        }
        words->word[words->count++] = word;
    }
}

static bool word_is(struct slice word, const char *text, size_t size)
{
    return word.size == size && memcmp(word.data, text, size) == 0;
}
#define WORD_IS(word, literal) word_is(word, "" literal, sizeof(literal) - 1)

static bool is_space(uint8_t byte)
{
    return byte == ' ' || (byte >= '\t' && byte <= '\r');
}

/* Sign and magnitude of a number as strtol and strtoul read one. */
static bool read_number(struct slice word, bool *negative, uint64_t *magnitude)
{
    size_t i = 0;
    while (i < word.size && is_space(word.data[i])) {
        i++;
    }
    *negative = i < word.size && word.data[i] == '-';
    if (i < word.size && (word.data[i] == '-' || word.data[i] == '+')) {
        i++;
    }
    size_t first = i;
    uint64_t value = 0;
    for (; i < word.size; i++) {
        unsigned digit = (unsigned)word.data[i] - '0';
        if (digit > 9) {
            break;
        }
        if (__builtin_mul_overflow(value, 10U, &value) ||
            __builtin_add_overflow(value, digit, &value)) {
            return false;
        }
    }
    *magnitude = value;
    /* A NUL ends a stored value as it ends a line. */
    return i > first && (i == word.size || is_space(word.data[i]) || word.data[i] == '\0');
}

bool memcache_read_int32(struct slice word, int32_t *value)
{
    bool negative;
    uint64_t magnitude;
    if (!read_number(word, &negative, &magnitude) ||
        magnitude > (uint64_t)INT64_MAX + (negative ? 1U : 0U)) {
        return false;
    }
    uint32_t low = (uint32_t)magnitude;
    *value = (int32_t)(negative ? 0U - low : low);
    return true;
}

/* A number of 2^63 and more is refused if there is a minus anywhere: it is how the reference tells
 * a negative number from a large one. */
bool memcache_parse_uint64(struct slice word, uint64_t *value)
{
    bool negative;
    uint64_t magnitude;
    if (!read_number(word, &negative, &magnitude)) {
        return false;
    }
    *value = negative ? 0U - magnitude : magnitude;
    return *value <= INT64_MAX ||
           memchr(word.data, '-', strnlen((const char *)word.data, word.size)) == NULL;
}

bool memcache_read_uint32(struct slice word, uint32_t *value)
{
    uint64_t wide;
    if (!memcache_parse_uint64(word, &wide)) {
        return false;
    }
    *value = (uint32_t)wide;
    return true;
}

/* ---- the key table --------------------------------------------------------------------------- */

static struct slice *key_table(struct memcache_parser *parser)
{
    return parser->key_capacity == 0 ? parser->inline_keys : parser->keys;
}

static uint32_t key_room(const struct memcache_parser *parser)
{
    return parser->key_capacity == 0 ? MEMCACHE_KEYS_INLINE : parser->key_capacity;
}

static COLD bool grow_keys(struct memcache_parser *parser)
{
    uint32_t room = key_room(parser); /* a line of MEMCACHE_GET_LINE_BYTES_MAX bounds it */
    struct slice *table = realloc(parser->keys, sizeof(*table) * 2U * room);
    if (table == NULL) {
        return false;
    }
    if (parser->key_capacity == 0) {
        memcpy(table, parser->inline_keys, sizeof(parser->inline_keys));
    }
    parser->keys = table;
    parser->key_capacity = 2U * room;
    return true;
}

COLD void memcache_parser_release_large(struct memcache_parser *parser)
{
    if (parser->key_capacity > KEYS_KEPT_MAX) {
        free(parser->keys);
        parser->keys = NULL;
        parser->key_capacity = 0;
    }
}

static void set_key(struct memcache_parser *parser, struct memcache_request *request,
                    struct slice key)
{
    request->key_count = 1;
    request->keys = key_table(parser);
    request->keys[0] = key;
}

/* ---- verdicts ----------------------------------------------------------------------------------
 */

static void restart(struct memcache_parser *parser)
{
    parser->state = MEMCACHE_LINE;
    parser->value_supplied = parser->value_refused = false;
    parser->scanned = 0;
}

static void finish(struct memcache_parser *parser, enum parse_verdict verdict, size_t consumed,
                   struct memcache_parse_result *result)
{
    restart(parser);
    result->verdict = verdict;
    result->consumed = consumed;
}

static COLD void finish_error(struct memcache_parser *parser, const char *error, bool no_reply,
                              size_t consumed, struct memcache_parse_result *result)
{
    finish(parser, no_reply ? PARSE_NOTHING : PARSE_ERROR, consumed, result);
    if (!no_reply) {
        (void)snprintf(result->error, sizeof(result->error), "%s", error);
    }
}

static COLD void finish_fatal(struct memcache_parser *parser, struct slice input,
                              struct memcache_parse_result *result)
{
    finish(parser, PARSE_FATAL, input.size, result);
}

/* ---- lines --------------------------------------------------------------------------------------
 */

static COLD bool starts_long_line(struct slice input)
{
    static const char *const verbs[] = {"get ", "gets ", "gat ", "gats ", "bget "};
    size_t blanks = 0;
    while (blanks < input.size && blanks < 100 && input.data[blanks] == ' ') {
        blanks++;
    }
    for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++) {
        size_t size = strlen(verbs[i]);
        if (input.size - blanks >= size && memcmp(input.data + blanks, verbs[i], size) == 0) {
            return true;
        }
    }
    return false;
}

/* Where LF is, or -1: not there, the verdict is set. */
static inline ssize_t find_line(struct memcache_parser *parser, struct slice input,
                                struct memcache_parse_result *result)
{
    size_t from = (size_t)parser->scanned;
    CHECK(from <= input.size);
    size_t searched = input.size;
    if (UNLIKELY(searched > MEMCACHE_LINE_BYTES_MAX)) {
        /* The input may hold many requests; the limit is one line's. */
        searched = starts_long_line(input) ? MEMCACHE_GET_LINE_BYTES_MAX : MEMCACHE_LINE_BYTES_MAX;
        searched = searched < input.size ? searched : input.size;
    }
    const uint8_t *found =
        from < searched ? memchr(input.data + from, '\n', searched - from) : NULL;
    if (LIKELY(found != NULL)) {
        return found - input.data;
    }
    if (searched < input.size) {
        finish_fatal(parser, input, result);
    } else {
        parser->scanned = searched;
        result->verdict = PARSE_PARTIAL;
    }
    return -1;
}

/* ---- one line
 * ------------------------------------------------------------------------------------ */

/* A line while it is read. The parse functions return NULL or the error's text. */
struct command_line {
    struct memcache_parser *parser;
    const struct memcache_limits *limits;
    struct memcache_request *request;
    struct slice rest;  /* behind the first word */
    struct words words; /* [0] is the verb */
    bool has_value;
    uint64_t value_bytes;
};

/* Keys of the get family; the same pass takes a line of one key or ten thousand. */
static const char *parse_keys(struct command_line *line, struct slice text)
{
    struct memcache_parser *parser = line->parser;
    const uint8_t *at = text.data, *end = text.data + text.size;
    struct slice *keys = key_table(parser);
    uint32_t count = 0, room = key_room(parser);
    for (;;) {
        struct slice key = memcache_next_word(&at, end);
        if (key.size == 0) {
            break;
        }
        if (UNLIKELY(key.size > MEMCACHE_KEY_BYTES_MAX)) {
            return MEMCACHE_BAD_FORMAT;
        }
        if (UNLIKELY(count == room)) {
            if (!grow_keys(parser)) {
                return "SERVER_ERROR out of memory writing get response";
            }
            keys = key_table(parser);
            room = key_room(parser);
        }
        keys[count++] = key;
    }
    line->request->keys = keys;
    line->request->key_count = count;
    return NULL;
}

static const char *parse_get(struct command_line *line)
{
    const char *error = parse_keys(line, line->rest);
    return error == NULL && line->request->key_count == 0 ? "ERROR" : error;
}

static const char *parse_gat(struct command_line *line)
{
    const uint8_t *at = line->rest.data, *end = line->rest.data + line->rest.size;
    struct slice word = memcache_next_word(&at, end);
    int32_t exptime;
    if (word.size == 0) {
        return "ERROR";
    }
    if (!memcache_read_int32(word, &exptime)) {
        return "CLIENT_ERROR invalid exptime argument";
    }
    line->request->exptime = exptime;
    return parse_keys(line, slice_of(at, (size_t)(end - at)));
}

static const char *parse_one_key(struct command_line *line)
{
    if (line->words.word[1].size > MEMCACHE_KEY_BYTES_MAX) {
        return MEMCACHE_BAD_FORMAT;
    }
    set_key(line->parser, line->request, line->words.word[1]);
    return NULL;
}

static const char *parse_storage(struct command_line *line)
{
    const struct slice *word = line->words.word;
    struct memcache_request *request = line->request;
    int32_t exptime, value_bytes;
    if (parse_one_key(line) != NULL || !memcache_read_uint32(word[2], &request->client_flags) ||
        !memcache_read_int32(word[3], &exptime) || !memcache_read_int32(word[4], &value_bytes) ||
        (request->verb == MEMCACHE_CAS && !memcache_parse_uint64(word[5], &request->cas)) ||
        value_bytes < 0 || value_bytes > INT_MAX - 2) {
        return MEMCACHE_BAD_FORMAT;
    }
    request->exptime = exptime;
    line->has_value = true;
    line->value_bytes = (uint64_t)value_bytes;
    request->value_too_large =
        memcache_item_bytes(word[1].size, line->value_bytes, request->client_flags) >
        line->limits->item_bytes_max;
    return NULL;
}

static const char *parse_delete(struct command_line *line)
{
    const struct words *words = &line->words;
    if (words->count > 2) {
        bool zero = WORD_IS(words->word[2], "0");
        bool valid =
            words->count == 3 ? zero || line->request->no_reply : zero && line->request->no_reply;
        if (!valid) {
            return MEMCACHE_BAD_FORMAT ".  Usage: delete <key> [noreply]";
        }
    }
    return parse_one_key(line);
}

static const char *parse_arithmetic(struct command_line *line)
{
    if (parse_one_key(line) != NULL) {
        return MEMCACHE_BAD_FORMAT;
    }
    return memcache_parse_uint64(line->words.word[2], &line->request->delta)
               ? NULL
               : "CLIENT_ERROR invalid numeric delta argument";
}

static const char *parse_touch(struct command_line *line)
{
    int32_t exptime;
    if (parse_one_key(line) != NULL) {
        return MEMCACHE_BAD_FORMAT;
    }
    if (!memcache_read_int32(line->words.word[2], &exptime)) {
        return "CLIENT_ERROR invalid exptime argument";
    }
    line->request->exptime = exptime;
    return NULL;
}

static const char *parse_flush_all(struct command_line *line)
{
    int32_t delay;
    if (line->words.count == (line->request->no_reply ? 2U : 1U)) {
        return NULL;
    }
    if (!memcache_read_int32(line->words.word[1], &delay)) {
        return "CLIENT_ERROR invalid exptime argument";
    }
    line->request->exptime = delay;
    line->request->has_argument = true;
    return NULL;
}

static const char *parse_verbosity(struct command_line *line)
{
    uint32_t level;
    if (!memcache_read_uint32(line->words.word[1], &level)) {
        return MEMCACHE_BAD_FORMAT;
    }
    line->request->delta = level;
    line->request->has_argument = true;
    return NULL;
}

static const char *parse_memlimit(struct command_line *line)
{
    uint32_t megabytes;
    if (!memcache_read_uint32(line->words.word[1], &megabytes)) {
        return "ERROR";
    }
    line->request->delta = megabytes;
    return NULL;
}

static const char *parse_nothing(struct command_line *line)
{
    struct slice rest = line->rest;
    while (rest.size > 0 && rest.data[0] == ' ') {
        rest = slice_from(rest, 1);
    }
    const uint8_t *nul = rest.size == 0 ? NULL : memchr(rest.data, '\0', rest.size);
    line->request->arguments = nul == NULL ? rest : slice_of(rest.data, (size_t)(nul - rest.data));
    return NULL;
}

/* ---- meta commands --------------------------------------------------------------------------- */

/* With the command, the key and the size. */
#define META_WORDS_MAX 19U

static uint32_t count_words(struct slice text)
{
    const uint8_t *at = text.data, *end = text.data + text.size;
    uint32_t count = 0;
    while (count <= META_WORDS_MAX && memcache_next_word(&at, end).size > 0) {
        count++;
    }
    return count;
}

/* The key; *rest becomes what follows it. */
static const char *parse_meta_key(struct command_line *line, struct slice *rest)
{
    const uint8_t *at = line->rest.data, *end = line->rest.data + line->rest.size;
    struct slice key = memcache_next_word(&at, end);
    if (key.size > MEMCACHE_KEY_BYTES_MAX) {
        return MEMCACHE_BAD_FORMAT;
    }
    set_key(line->parser, line->request, key);
    *rest = slice_of(at, (size_t)(end - at));
    return key.size == 0 ? "ERROR" : NULL;
}

static const char *parse_meta_flags(struct command_line *line, struct slice flags)
{
    return memcache_meta_parse(flags, line->request, line->parser->decoded.bytes);
}

static const char *parse_meta_get(struct command_line *line)
{
    struct slice rest;
    const char *error = parse_meta_key(line, &rest);
    if (error == NULL && count_words(rest) + 2 > META_WORDS_MAX) {
        return "CLIENT_ERROR options flags are too long";
    }
    return error != NULL ? error : parse_meta_flags(line, rest);
}

/* One of these, or none. */
static bool has_mode(const struct memcache_request *request, const char *modes)
{
    return request->meta.mode == '\0' || strchr(modes, request->meta.mode) != NULL;
}

/* md and ma have one word for most that can be wrong with their flags. */
static const char *parse_meta_change(struct command_line *line)
{
    struct slice rest;
    const char *error = parse_meta_key(line, &rest);
    if (error == NULL && count_words(rest) + 2 > META_WORDS_MAX) {
        return "CLIENT_ERROR options flags too long";
    }
    if (error != NULL) {
        return error;
    }
    error = parse_meta_flags(line, rest);
    if (error != NULL && error != memcache_opaque_too_long) {
        return "CLIENT_ERROR invalid or duplicate flag";
    }
    bool is_arithmetic = line->request->verb == MEMCACHE_META_ARITHMETIC;
    if (error == NULL && is_arithmetic && !has_mode(line->request, "ID+-")) {
        return "CLIENT_ERROR invalid mode for ma M token";
    }
    return error;
}

static const char *parse_meta_set(struct command_line *line)
{
    struct memcache_request *request = line->request;
    struct slice rest;
    int32_t value_bytes;
    const char *error = parse_meta_key(line, &rest);
    if (error != NULL) {
        return error;
    }
    const uint8_t *at = rest.data, *end = rest.data + rest.size;
    struct slice size = memcache_next_word(&at, end);
    rest = slice_of(at, (size_t)(end - at));
    if (size.size > 0 && count_words(rest) + 3 > META_WORDS_MAX) {
        return "CLIENT_ERROR options flags too long";
    }
    if (!memcache_read_int32(size, &value_bytes) || value_bytes < 0 || value_bytes > INT_MAX - 2) {
        return MEMCACHE_BAD_FORMAT;
    }
    line->has_value = true;
    line->value_bytes = (uint64_t)value_bytes;
    error = parse_meta_flags(line, rest);
    if (error == NULL && !has_mode(request, "EAPRS")) {
        error = "CLIENT_ERROR invalid mode for ms M token";
    }
    request->value_too_large =
        memcache_item_bytes(request->keys[0].size, line->value_bytes, request->client_flags) >
        line->limits->item_bytes_max;
    return error;
}

/* me takes only b, and only directly behind the key. */
static const char *parse_meta_debug(struct command_line *line)
{
    struct slice rest, flag;
    const char *error = parse_meta_key(line, &rest);
    if (error != NULL) {
        return MEMCACHE_BAD_FORMAT;
    }
    bool is_base64 = memcache_meta_next(&rest, &flag) && WORD_IS(flag, "b");
    return is_base64 && parse_meta_flags(line, flag) != NULL ? MEMCACHE_BAD_FORMAT : NULL;
}

struct verb_row {
    const char *name;
    uint8_t name_bytes;
    uint8_t words_min, words_max; /* with the name and noreply; 0, 0: not counted beforehand */
    bool takes_no_reply;
    enum memcache_verb verb;
    const char *(*parse)(struct command_line *line);
};

#define ROW(name, min, max, no_reply, verb, parse)                                                 \
    {                                                                                              \
        name, sizeof(name) - 1, min, max, no_reply, MEMCACHE_##verb, parse                         \
    }

/* The frequent ones first: looked up from the top. */
static const struct verb_row verb_rows[] = {
    ROW("get", 0, 0, false, GET, parse_get),
    ROW("set", 5, 6, true, SET, parse_storage),
    ROW("gets", 0, 0, false, GETS, parse_get),
    ROW("mg", 0, 0, false, META_GET, parse_meta_get),
    ROW("ms", 0, 0, false, META_SET, parse_meta_set),
    ROW("md", 0, 0, false, META_DELETE, parse_meta_change),
    ROW("ma", 0, 0, false, META_ARITHMETIC, parse_meta_change),
    ROW("delete", 2, 4, true, DELETE, parse_delete),
    ROW("incr", 3, 4, true, INCR, parse_arithmetic),
    ROW("decr", 3, 4, true, DECR, parse_arithmetic),
    ROW("add", 5, 6, true, ADD, parse_storage),
    ROW("replace", 5, 6, true, REPLACE, parse_storage),
    ROW("append", 5, 6, true, APPEND, parse_storage),
    ROW("prepend", 5, 6, true, PREPEND, parse_storage),
    ROW("cas", 6, 7, true, CAS, parse_storage),
    ROW("touch", 3, 4, true, TOUCH, parse_touch),
    ROW("gat", 0, 0, false, GAT, parse_gat),
    ROW("gats", 0, 0, false, GATS, parse_gat),
    ROW("bget", 0, 0, false, GET, parse_get),
    ROW("flush_all", 1, 3, true, FLUSH_ALL, parse_flush_all),
    ROW("version", 0, 0, false, VERSION, parse_nothing),
    ROW("verbosity", 2, 3, true, VERBOSITY, parse_verbosity),
    ROW("stats", 0, 0, false, STATS, parse_nothing),
    ROW("quit", 0, 0, false, QUIT, parse_nothing),
    ROW("cache_memlimit", 2, 3, true, MEMLIMIT, parse_memlimit),
    ROW("shutdown", 0, 0, false, SHUTDOWN, parse_nothing),
    ROW("lru_crawler", 0, 0, false, CRAWLER, parse_nothing),
    ROW("config", 0, 0, false, CONFIG, parse_nothing),
    ROW("watch", 0, 0, false, WATCH, parse_nothing),
    ROW("mn", 0, 0, false, META_NOOP, parse_nothing),
    ROW("me", 0, 0, false, META_DEBUG, parse_meta_debug),
};

static inline const struct verb_row *find_verb(struct slice name)
{
    for (size_t i = 0; i < sizeof(verb_rows) / sizeof(verb_rows[0]); i++) {
        const struct verb_row *row = &verb_rows[i];
        if (row->name_bytes == name.size && memcmp(row->name, name.data, name.size) == 0) {
            return row;
        }
    }
    return NULL;
}

/* What the reference knows and this server does not do. */
static const struct refusal {
    const char *name;
    const char *error;
} refusals[] = {
    {"slabs", "CLIENT_ERROR slab reassignment disabled"},
    {"lru", "CLIENT_ERROR no LRU to tune: maxmemory-policy chooses what is evicted"},
};

/* A web browser that was tricked into talking to us: the last word of its request line. The
 * reference only looks there when no verb starts with the first byte. */
static bool is_http(const struct words *words)
{
    struct slice last = words->word[words->count - 1];
    return words->word[0].size >= 2 && strchr("gsacidt", words->word[0].data[0]) == NULL &&
           last.size >= 5 && memcmp(last.data, "HTTP/", 5) == 0;
}

static COLD void finish_unknown(struct memcache_parser *parser, struct slice input,
                                struct slice text, size_t consumed,
                                struct memcache_parse_result *result)
{
    struct words words;
    split_words(text, &words);
    const char *error = "ERROR";
    if (words.count > 0) {
        if (is_http(&words)) {
            finish_fatal(parser, input, result);
            return;
        }
        for (size_t i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++) {
            if (word_is(words.word[0], refusals[i].name, strlen(refusals[i].name))) {
                error = refusals[i].error;
            }
        }
    }
    finish_error(parser, error, false, consumed, result);
}

/* ---- values
 * -------------------------------------------------------------------------------------- */

static COLD void swallow_next(struct memcache_parser *parser, uint64_t value_bytes)
{
    parser->state = MEMCACHE_SWALLOW;
    parser->swallow_bytes = value_bytes + 2;
}

static COLD void start_swallowing(struct memcache_parser *parser, uint64_t value_bytes,
                                  size_t consumed, struct memcache_parse_result *result)
{
    finish(parser, PARSE_COMPLETE, consumed, result);
    swallow_next(parser, value_bytes);
}

bool memcache_uses_parser(const struct memcache_parser *parser,
                          const struct memcache_request *request)
{
    return request->key_count == 1 && request->keys[0].data == parser->decoded.bytes;
}

static COLD void suspend_in_value(struct memcache_parser *parser,
                                  const struct memcache_request *request, struct slice input,
                                  struct memcache_parse_result *result)
{
    parser->state = MEMCACHE_VALUE;
    parser->pending = *request;
    parser->pending_key_bytes = request->keys[0].size;
    parser->pending_key_decoded = memcache_uses_parser(parser, request);
    if (!parser->pending_key_decoded) {
        parser->pending_key_offset = (uint64_t)(request->keys[0].data - input.data);
    }
    if (request->arguments.size > 0) {
        parser->pending_arguments_offset = (uint64_t)(request->arguments.data - input.data);
    }
    result->verdict = PARSE_PARTIAL;
    result->bulk_offset = parser->value_offset;
    result->bulk_bytes = parser->value_bytes;
    result->wanted_bytes = parser->value_offset + parser->value_bytes + 2;
}

/* `terminator` is the offset of the CRLF that must follow the value; two bytes are there. */
static inline void finish_value(struct memcache_parser *parser, struct slice input,
                                uint64_t terminator, const struct memcache_request *request,
                                struct memcache_parse_result *result)
{
    size_t consumed = (size_t)terminator + 2;
    if (LIKELY(input.data[terminator] == '\r' && input.data[terminator + 1] == '\n')) {
        finish(parser, PARSE_COMPLETE, consumed, result);
    } else {
        finish_error(parser, "CLIENT_ERROR bad data chunk", request->no_reply, consumed, result);
    }
}

static void begin_value(struct memcache_parser *parser, struct slice input,
                        const struct command_line *line, size_t consumed,
                        struct memcache_request *request, struct memcache_parse_result *result)
{
    parser->value_offset = consumed;
    parser->value_bytes = line->value_bytes;
    if (UNLIKELY(request->value_too_large)) {
        start_swallowing(parser, line->value_bytes, consumed, result);
    } else if (UNLIKELY(input.size - consumed < line->value_bytes + 2)) {
        suspend_in_value(parser, request, input, result);
    } else {
        request->value = slice_of(input.data + consumed, (size_t)line->value_bytes);
        finish_value(parser, input, consumed + line->value_bytes, request, result);
    }
}

static COLD void resume_value(struct memcache_parser *parser, struct slice input,
                              struct memcache_request *request,
                              struct memcache_parse_result *result)
{
    CHECK(input.size >= parser->value_offset);
    uint64_t terminator = parser->value_offset + (parser->value_supplied ? 0 : parser->value_bytes);
    *request = parser->pending;
    set_key(parser, request, memcache_parser_key(parser, input));
    if (request->arguments.size > 0) {
        request->arguments.data = input.data + parser->pending_arguments_offset;
    }
    if (parser->value_refused) {
        request->value_refused = true;
        start_swallowing(parser, parser->value_bytes, (size_t)parser->value_offset, result);
        return;
    }
    if (input.size < terminator + 2) {
        result->verdict = PARSE_PARTIAL;
        result->wanted_bytes = terminator + 2;
        if (!parser->value_supplied) {
            result->bulk_offset = parser->value_offset;
            result->bulk_bytes = parser->value_bytes;
        }
        return;
    }
    if (!parser->value_supplied) {
        request->value = slice_of(input.data + parser->value_offset, (size_t)parser->value_bytes);
    }
    finish_value(parser, input, terminator, request, result);
}

static COLD void swallow(struct memcache_parser *parser, struct slice input,
                         struct memcache_parse_result *result)
{
    uint64_t part = input.size < parser->swallow_bytes ? input.size : parser->swallow_bytes;
    uint64_t left = parser->swallow_bytes - part;
    finish(parser, PARSE_NOTHING, (size_t)part, result);
    parser->swallow_bytes = left;
    if (left > 0) {
        parser->state = MEMCACHE_SWALLOW;
    }
}

/* ---- entry points
 * -------------------------------------------------------------------------------- */

static void parse_line(struct memcache_parser *parser, const struct memcache_limits *limits,
                       struct slice input, size_t line_feed, struct memcache_request *request,
                       struct memcache_parse_result *result)
{
    size_t consumed = line_feed + 1;
    size_t text_bytes =
        line_feed > 1 && input.data[line_feed - 1] == '\r' ? line_feed - 1 : line_feed;
    const uint8_t *at = input.data, *end = input.data + text_bytes;
    struct slice name = memcache_next_word(&at, end);
    const struct verb_row *row = find_verb(name);
    if (UNLIKELY(row == NULL)) {
        finish_unknown(parser, input, slice_of(input.data, text_bytes), consumed, result);
        return;
    }
    struct command_line line;
    line.parser = parser;
    line.limits = limits;
    line.request = request;
    line.rest = slice_of(at, (size_t)(end - at));
    line.has_value = false;
    *request = (struct memcache_request){.verb = row->verb};
    if (row->words_max != 0) {
        split_words(slice_of(input.data, text_bytes), &line.words);
        if (line.words.count < row->words_min || line.words.count > row->words_max) {
            finish_error(parser, "ERROR", false, consumed, result);
            return;
        }
        request->no_reply =
            row->takes_no_reply && WORD_IS(line.words.word[line.words.count - 1], "noreply");
    }
    const char *error = row->parse(&line);
    if (UNLIKELY(error != NULL)) {
        finish_error(parser, error, request->no_reply, consumed, result);
        if (line.has_value) {
            swallow_next(parser, line.value_bytes);
        }
    } else if (line.has_value) {
        begin_value(parser, input, &line, consumed, request, result);
    } else {
        finish(parser, PARSE_COMPLETE, consumed, result);
    }
}

void memcache_parser_init(struct memcache_parser *parser)
{
    /* inline_keys is written before it is read. */
    memset(parser, 0, offsetof(struct memcache_parser, inline_keys));
}

void memcache_parser_deinit(struct memcache_parser *parser)
{
    free(parser->keys);
    memcache_parser_init(parser);
}

void memcache_parser_restart(struct memcache_parser *parser)
{
    if (LIKELY(parser->state == MEMCACHE_LINE && parser->scanned == 0)) {
        parser->has_spoken = false;
    } else {
        memcache_parser_deinit(parser);
    }
}

void memcache_parse(struct memcache_parser *parser, const struct memcache_limits *limits,
                    struct slice input, struct memcache_request *request,
                    struct memcache_parse_result *result)
{
    result->consumed = 0;
    result->wanted_bytes = result->bulk_offset = result->bulk_bytes = 0;
    result->error[0] = '\0';
    if (UNLIKELY(input.size == 0)) {
        result->verdict = PARSE_PARTIAL;
        return;
    }
    if (UNLIKELY(parser->state != MEMCACHE_LINE)) {
        if (parser->state == MEMCACHE_SWALLOW) {
            swallow(parser, input, result);
        } else {
            resume_value(parser, input, request, result);
        }
        return;
    }
    if (UNLIKELY(!parser->has_spoken)) {
        parser->has_spoken = true;
        if (input.data[0] == BINARY_MAGIC) {
            finish_fatal(parser, input, result);
            return;
        }
    }
    if (UNLIKELY(parser->key_capacity > KEYS_KEPT_MAX)) {
        memcache_parser_release_large(parser);
    }
    ssize_t line_feed = find_line(parser, input, result);
    if (line_feed >= 0) {
        parse_line(parser, limits, input, (size_t)line_feed, request, result);
    }
}

struct slice memcache_parser_key(const struct memcache_parser *parser, struct slice input)
{
    return parser->pending_key_decoded
               ? slice_of(parser->decoded.bytes, parser->pending_key_bytes)
               : slice_of(input.data + parser->pending_key_offset, parser->pending_key_bytes);
}

void memcache_parser_supply_value(struct memcache_parser *parser, struct slice value)
{
    CHECK(parser->state == MEMCACHE_VALUE && !parser->value_supplied && !parser->value_refused);
    CHECK(value.size == parser->value_bytes);
    parser->pending.value = value;
    parser->value_supplied = true;
}

void memcache_parser_refuse_value(struct memcache_parser *parser)
{
    CHECK(parser->state == MEMCACHE_VALUE && !parser->value_supplied);
    parser->value_refused = true;
}
