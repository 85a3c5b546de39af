/* A second, naive reading of both protocols, to compare the real parsers with: one pass over a
 * stream that is all there, lines as terminated copies, numbers by strtol. Slow on purpose. */
#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

#include "dataplane/base/check.h"
#include "tests/unit/l6_protocol/parse_driver.h"

static char *copy_string(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1);
    CHECK(text != NULL);
    if (size > 0) {
        memcpy(text, data, size);
    }
    text[size] = '\0';
    return text;
}

/* ---- RESP -------------------------------------------------------------------------------------
 */

struct reader {
    struct slice stream;
    size_t at;
    const struct resp_limits *limits;
    struct buffer *text;
    bool stop;
};

enum { FOUND, WAIT, TOO_BIG };

/* strchr over what is left. */
static int find_end(const struct reader *r, size_t from, char stop, size_t *distance)
{
    size_t left = r->stream.size - from;
    for (size_t i = 0; i < left && i <= RESP_INLINE_BYTES_MAX; i++) {
        if (r->stream.data[from + i] == '\0') {
            break;
        }
        if (r->stream.data[from + i] == (uint8_t)stop) {
            *distance = i;
            return FOUND;
        }
    }
    return left > RESP_INLINE_BYTES_MAX ? TOO_BIG : WAIT;
}

static void stop_fatal(struct reader *r, const char *what)
{
    buffer_print(r->text, "fatal ERR Protocol error: %s\n", what);
    r->stop = true;
}

static void stop_left(struct reader *r)
{
    buffer_print(r->text, "left %zu\n", r->stream.size - r->at);
    r->stop = true;
}

static bool strict_number(const char *text, long long *value)
{
    char back[32];
    errno = 0;
    *value = strtoll(text, NULL, 10);
    (void)snprintf(back, sizeof(back), "%lld", *value);
    return errno == 0 && strcmp(back, text) == 0;
}

/* -1: stopped; 0: not a number; 1: *value. *from moves behind the line. */
static int read_length(struct reader *r, size_t *from, const char *too_big, long long *value)
{
    size_t distance;
    int found = find_end(r, *from, '\r', &distance);
    if (found == TOO_BIG) {
        stop_fatal(r, too_big);
        return -1;
    }
    if (found == WAIT || *from + distance + 2 > r->stream.size) {
        stop_left(r);
        return -1;
    }
    char *text = distance == 0 ? copy_string(NULL, 0)
                               : copy_string(r->stream.data + *from + 1, distance - 1);
    int good = strict_number(text, value);
    free(text);
    *from += distance + 2;
    return good;
}

static bool equals(struct slice word, const char *text)
{
    return slice_equal_ignoring_case(word, slice_of_string(text));
}

static void emit(struct reader *r, const struct buffer *line, struct slice first)
{
    if (equals(first, "post") || equals(first, "host:")) {
        buffer_print(r->text, "fatal \n");
        r->stop = true;
        return;
    }
    buffer_append(r->text, line->data, line->size);
    buffer_print(r->text, "\n");
}

static bool reference_bulk(struct reader *r, size_t *from, struct slice *bulk)
{
    long long size;
    uint8_t marker = *from < r->stream.size ? r->stream.data[*from] : 0;
    int good = read_length(r, from, "too big bulk count string", &size);
    if (good < 0) {
        return false;
    }
    if (marker != '$') {
        char text[64];
        (void)snprintf(text, sizeof(text), "expected '$', got '%c'",
                       marker == '\r' || marker == '\n' ? ' ' : marker);
        stop_fatal(r, text);
    } else if (!good || size < 0 || (unsigned long long)size > r->limits->bulk_bytes_max) {
        stop_fatal(r, "invalid bulk length");
    } else if (size > 16384 && !r->limits->authenticated) {
        stop_fatal(r, "unauthenticated bulk length");
    } else if (r->stream.size - *from < (size_t)size + 2) {
        stop_left(r);
    } else {
        *bulk = slice_of(r->stream.data + *from, (size_t)size);
        *from += (size_t)size + 2;
        return true;
    }
    return false;
}

static void reference_multibulk(struct reader *r)
{
    long long count;
    size_t from = r->at;
    int good = read_length(r, &from, "too big mbulk count string", &count);
    if (good < 0) {
        return;
    }
    if (!good || count > INT_MAX) {
        stop_fatal(r, "invalid multibulk length");
        return;
    }
    if (count > 10 && !r->limits->authenticated) {
        stop_fatal(r, "unauthenticated multibulk length");
        return;
    }
    struct buffer line = {0};
    struct slice first = {NULL, 0}, bulk;
    for (long long i = 0; i < count; i++) {
        if (!reference_bulk(r, &from, &bulk)) {
            buffer_free(&line);
            return;
        }
        if (i == 0) {
            first = bulk;
        }
        buffer_print_bytes(&line, bulk, '|');
    }
    if (count > 0) {
        emit(r, &line, first);
    }
    buffer_free(&line);
    r->at = from;
}

/* One word of an inline line, as a shell would read it. False: quotes do not balance. */
static bool reference_word(const char **at, struct buffer *word)
{
    const char *p = *at;
    char quote = 0;
    for (;; p++) {
        char c = *p;
        if (quote == '"' && c == '\\' && p[1] == 'x' && isxdigit((unsigned char)p[2]) &&
            isxdigit((unsigned char)p[3])) {
            char hex[3] = {p[2], p[3], 0};
            c = (char)strtol(hex, NULL, 16);
            p += 3;
        } else if (quote == '"' && c == '\\' && p[1] != '\0') {
            static const char from[] = "nrtba", to[] = "\n\r\t\b\a";
            const char *known = strchr(from, *++p);
            c = known != NULL ? to[known - from] : *p;
        } else if (quote == '\'' && c == '\\' && p[1] == '\'') {
            c = *++p;
        } else if (quote != 0 && c == quote) {
            *at = p + 1;
            return p[1] == '\0' || isspace((unsigned char)p[1]);
        } else if (quote != 0 && c == '\0') {
            return false;
        } else if (quote == 0 && (c == '\0' || strchr(" \n\r\t", c) != NULL)) {
            *at = p;
            return true;
        } else if (quote == 0 && (c == '"' || c == '\'')) {
            quote = c;
            continue;
        }
        buffer_append(word, &c, 1);
    }
}

static void reference_inline(struct reader *r)
{
    size_t distance;
    int found = find_end(r, r->at, '\n', &distance);
    if (found != FOUND) {
        if (found == TOO_BIG) {
            stop_fatal(r, "too big inline request");
        } else {
            stop_left(r);
        }
        return;
    }
    size_t size = distance;
    if (size > 0 && r->stream.data[r->at + size - 1] == '\r') {
        size--;
    }
    char *copy = copy_string(r->stream.data + r->at, size);
    const char *at = copy;
    struct buffer line = {0}, first = {0};
    for (bool is_first = true;; is_first = false) {
        while (isspace((unsigned char)*at)) {
            at++;
        }
        if (*at == '\0') {
            if (!is_first) {
                emit(r, &line, slice_of(first.data, first.size));
            }
            break;
        }
        struct buffer word = {0};
        bool balanced = reference_word(&at, &word);
        buffer_print_bytes(&line, slice_of(word.data, word.size), '|');
        if (is_first) {
            buffer_append(&first, word.data, word.size);
        }
        buffer_free(&word);
        if (!balanced) {
            stop_fatal(r, "unbalanced quotes in request");
            break;
        }
    }
    buffer_free(&line);
    buffer_free(&first);
    free(copy);
    r->at += distance + 1;
}

void resp_reference(struct slice stream, const struct resp_limits *limits, struct buffer *text)
{
    struct reader r = {stream, 0, limits, text, false};
    while (!r.stop) {
        if (r.at == stream.size) {
            stop_left(&r);
        } else if (stream.data[r.at] == '*') {
            reference_multibulk(&r);
        } else {
            reference_inline(&r);
        }
    }
}

/* ---- memcached ----------------------------------------------------------------------------------
 */

struct line_words {
    char *copy;
    char *word[4096];
    size_t count;
};

static void cut_words(struct line_words *words, const uint8_t *data, size_t size)
{
    char *save = NULL;
    words->copy = copy_string(data, size);
    words->count = 0;
    for (char *word = strtok_r(words->copy, " ", &save); word != NULL && words->count < 4096;
         word = strtok_r(NULL, " ", &save)) {
        words->word[words->count++] = word;
    }
}

static bool ends_number(const char *text, const char *end)
{
    return end != text && (*end == '\0' || isspace((unsigned char)*end));
}

static bool long_number(const char *text, long long *value)
{
    char *end;
    errno = 0;
    *value = (int32_t)strtoll(text, &end, 10);
    return errno != ERANGE && ends_number(text, end);
}

static bool unsigned_number(const char *text, unsigned long long *value)
{
    char *end;
    errno = 0;
    *value = strtoull(text, &end, 10);
    return errno != ERANGE && ends_number(text, end) &&
           ((long long)*value >= 0 || strchr(text, '-') == NULL);
}

struct memcache_reader {
    struct slice stream;
    size_t at;
    const struct memcache_limits *limits;
    struct buffer *text;
    struct memcache_request request;
    struct slice key;
};

static const char reference_format_error[] = "CLIENT_ERROR bad command line format";

static const struct {
    const char *name;
    enum memcache_verb verb;
    size_t low, high; /* words; high 0: any */
    char kind;
} reference_verbs[] = {
    {"get", MEMCACHE_GET, 2, 0, 'g'},
    {"gets", MEMCACHE_GETS, 2, 0, 'g'},
    {"bget", MEMCACHE_GET, 2, 0, 'g'},
    {"gat", MEMCACHE_GAT, 2, 0, 'G'},
    {"gats", MEMCACHE_GATS, 2, 0, 'G'},
    {"set", MEMCACHE_SET, 5, 6, 's'},
    {"add", MEMCACHE_ADD, 5, 6, 's'},
    {"replace", MEMCACHE_REPLACE, 5, 6, 's'},
    {"append", MEMCACHE_APPEND, 5, 6, 's'},
    {"prepend", MEMCACHE_PREPEND, 5, 6, 's'},
    {"cas", MEMCACHE_CAS, 6, 7, 's'},
    {"delete", MEMCACHE_DELETE, 2, 4, 'd'},
    {"incr", MEMCACHE_INCR, 3, 4, 'i'},
    {"decr", MEMCACHE_DECR, 3, 4, 'i'},
    {"touch", MEMCACHE_TOUCH, 3, 4, 't'},
    {"flush_all", MEMCACHE_FLUSH_ALL, 1, 3, 'f'},
    {"verbosity", MEMCACHE_VERBOSITY, 2, 3, 'v'},
    {"cache_memlimit", MEMCACHE_MEMLIMIT, 2, 3, 'l'},
    {"mg", MEMCACHE_META_GET, 1, 0, 'm'},
    {"ms", MEMCACHE_META_SET, 1, 0, 'm'},
    {"md", MEMCACHE_META_DELETE, 1, 0, 'm'},
    {"ma", MEMCACHE_META_ARITHMETIC, 1, 0, 'm'},
    {"me", MEMCACHE_META_DEBUG, 1, 0, 'm'},
};

static const char *reference_keys(struct memcache_reader *r, struct line_words *words, size_t from)
{
    static struct slice keys[4096];
    r->request.keys = keys;
    for (size_t i = from; i < words->count; i++) {
        if (strlen(words->word[i]) > 250) {
            return reference_format_error;
        }
        keys[r->request.key_count++] = slice_of_string(words->word[i]);
    }
    return NULL;
}

static const char *reference_key(struct memcache_reader *r, struct line_words *words)
{
    r->key = slice_of_string(words->word[1]);
    r->request.keys = &r->key;
    r->request.key_count = 1;
    return r->key.size > 250 ? reference_format_error : NULL;
}

/* -1: no value; else its size; errors in *error. */
static long long reference_arguments(struct memcache_reader *r, struct line_words *w, char kind,
                                     const char **error)
{
    long long exptime = 0, size = -1;
    unsigned long long flags = 0, number = 0;
    struct memcache_request *q = &r->request;
    if (kind != 'g' && kind != 'G') {
        q->no_reply = strcmp(w->word[w->count - 1], "noreply") == 0;
    }
    switch (kind) {
    case 'g': *error = reference_keys(r, w, 1); break;
    case 'G':
        *error = !long_number(w->word[1], &exptime) ? "CLIENT_ERROR invalid exptime argument"
                                                    : reference_keys(r, w, 2);
        break;
    case 's':
        *error = reference_key(r, w);
        if (*error == NULL &&
            (!unsigned_number(w->word[2], &flags) || !long_number(w->word[3], &exptime) ||
             !long_number(w->word[4], &size) ||
             (q->verb == MEMCACHE_CAS && !unsigned_number(w->word[5], &number)) || size < 0 ||
             size > INT_MAX - 2)) {
            *error = reference_format_error;
        }
        q->cas = number;
        q->client_flags = (uint32_t)flags;
        q->value_too_large = 59 + r->key.size + (uint64_t)size + (q->client_flags != 0 ? 4 : 0) >
                             r->limits->item_bytes_max;
        break;
    case 'd':
        if ((w->count == 3 && !q->no_reply && strcmp(w->word[2], "0") != 0) ||
            (w->count == 4 && (!q->no_reply || strcmp(w->word[2], "0") != 0))) {
            *error = "CLIENT_ERROR bad command line format.  Usage: delete <key> [noreply]";
        } else {
            *error = reference_key(r, w);
        }
        break;
    case 'i':
        *error = reference_key(r, w);
        if (*error == NULL && !unsigned_number(w->word[2], &number)) {
            *error = "CLIENT_ERROR invalid numeric delta argument";
        }
        q->delta = number;
        break;
    case 't':
        *error = reference_key(r, w);
        if (*error == NULL && !long_number(w->word[2], &exptime)) {
            *error = "CLIENT_ERROR invalid exptime argument";
        }
        break;
    case 'f':
        q->has_argument = w->count != (q->no_reply ? 2 : 1);
        if (q->has_argument && !long_number(w->word[1], &exptime)) {
            *error = "CLIENT_ERROR invalid exptime argument";
        }
        break;
    case 'l':
        *error = unsigned_number(w->word[1], &number) ? NULL : "ERROR";
        q->delta = (uint32_t)number;
        break;
    default:
        q->has_argument = true;
        if (!unsigned_number(w->word[1], &number)) {
            *error = reference_format_error;
        }
        q->delta = (uint32_t)number;
        break;
    }
    q->exptime = exptime;
    return kind == 's' && *error == NULL ? size : -1;
}

/* ---- the meta commands ------------------------------------------------------------------------
 */

/* The alphabet's characters alone, four at a time up to the first padding; 0: none, or wrong. */
static size_t reference_base64(const char *text, uint8_t *to)
{
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    char clean[512];
    size_t count = 0, size = 0;
    for (; *text != '\0'; text++) {
        if (*text == '=' || strchr(alphabet, *text) != NULL) {
            clean[count++] = *text;
        }
    }
    for (size_t i = 0; count % 4 == 0 && i < count; i += 4) {
        unsigned long group = 0, padding = 0;
        for (size_t k = i; k < i + 4; k++) {
            padding += clean[k] == '=';
            group =
                group * 64 +
                (clean[k] == '=' ? 0UL : (unsigned long)(strchr(alphabet, clean[k]) - alphabet));
        }
        if (padding > 2) {
            return 0;
        }
        to[size] = (uint8_t)(group / 65536);
        to[size + 1] = (uint8_t)(group / 256 % 256);
        to[size + 2] = (uint8_t)(group % 256);
        size += 3 - padding;
        if (padding > 0) {
            break;
        }
    }
    return size;
}

/* What is wrong with one flag; "": the error stays what it was. */
static const char *reference_flag(struct memcache_reader *r, const char *word)
{
    static uint8_t decoded[512];
    struct memcache_request *q = &r->request;
    const char *bad = "CLIENT_ERROR bad token in command line format", *token = word + 1;
    long long seconds = 0;
    unsigned long long number = 0;
    switch (word[0]) {
    case 'b':
        r->key = slice_of(decoded, reference_base64((const char *)r->key.data, decoded));
        return r->key.size == 0 ? "CLIENT_ERROR error decoding key" : NULL;
    case 'T':
    case 'N':
    case 'R':
        if (!long_number(token, &seconds)) {
            return bad;
        }
        *(word[0] == 'N' ? &q->meta.vivify_exptime : &q->meta.recache_exptime) =
            word[0] == 'T' ? q->meta.recache_exptime : (int32_t)seconds;
        q->exptime = word[0] == 'T' ? seconds : q->exptime;
        return NULL;
    case 'F':
        if (!unsigned_number(token, &number)) {
            return "";
        }
        q->client_flags = (uint32_t)number;
        return NULL;
    case 'C': return unsigned_number(token, &number) ? (q->cas = number, NULL) : bad;
    case 'E': return unsigned_number(token, &number) ? (q->meta.new_cas = number, NULL) : bad;
    case 'J':
        return unsigned_number(token, &number) ? (q->meta.initial = number, NULL)
                                               : "CLIENT_ERROR invalid numeric initial value";
    case 'D':
        return unsigned_number(token, &number) ? (q->delta = number, NULL)
                                               : "CLIENT_ERROR invalid numeric delta value";
    case 'M':
        if (strlen(token) != 1) {
            return "CLIENT_ERROR incorrect length for M token";
        }
        q->meta.mode = token[0];
        return NULL;
    default: return NULL;
    }
}

static const char *reference_flags(struct memcache_reader *r, struct line_words *words, size_t from)
{
    const char *error = reference_format_error, *opaque = "";
    bool failed = false;
    r->request.delta = 1;
    for (size_t i = from; i < words->count; i++) {
        const char *word = words->word[i];
        unsigned char letter = (unsigned char)word[0];
        if (letter >= 127) {
            return "CLIENT_ERROR duplicate flag";
        }
        if (strchr("bcCDEfFhIJkLlMNOPqRstTuvx", letter) == NULL) {
            return "CLIENT_ERROR invalid flag";
        }
        if ((r->request.meta.flags >> (letter - 'A') & 1) != 0) {
            return "CLIENT_ERROR duplicate flag";
        }
        r->request.meta.flags |= 1ULL << (letter - 'A');
        opaque = letter == 'O' ? word : opaque;
        const char *wrong = reference_flag(r, word);
        failed |= wrong != NULL;
        error = wrong != NULL && wrong[0] != '\0' ? wrong : error;
    }
    if (failed) {
        return error;
    }
    return strlen(opaque) > 32 ? "CLIENT_ERROR opaque token too long" : NULL;
}

static struct slice behind_words(const uint8_t *line, size_t size, int count)
{
    size_t at = 0;
    while (count-- > 0) {
        while (at < size && line[at] == ' ') {
            at++;
        }
        while (at < size && line[at] != ' ' && line[at] != '\0') {
            at++;
        }
    }
    return slice_of(line + at, size - at);
}

static const char *reference_mode(const struct memcache_request *q, const char *modes,
                                  const char *error)
{
    return q->meta.mode != '\0' && strchr(modes, q->meta.mode) == NULL ? error : NULL;
}

/* -1: no value; else its size, also where there is an error. */
static long long reference_meta(struct memcache_reader *r, struct line_words *w,
                                const uint8_t *line, size_t line_bytes, const char **error)
{
    struct memcache_request *q = &r->request;
    bool sets = q->verb == MEMCACHE_META_SET, gets = q->verb == MEMCACHE_META_GET;
    long long size = -1;
    if (w->count < 2) {
        *error = q->verb == MEMCACHE_META_DEBUG ? reference_format_error : "ERROR";
        return -1;
    }
    *error = reference_key(r, w);
    if (*error != NULL) {
        return -1;
    }
    if (q->verb == MEMCACHE_META_DEBUG) {
        if (w->count > 2 && strcmp(w->word[2], "b") == 0) {
            w->count = 3;
            *error = reference_flags(r, w, 2) != NULL ? reference_format_error : NULL;
            q->arguments = SLICE_LITERAL("b");
        }
        return -1;
    }
    if (w->count > 19) {
        *error = gets ? "CLIENT_ERROR options flags are too long"
                      : "CLIENT_ERROR options flags too long";
        return -1;
    }
    q->arguments = behind_words(line, line_bytes, sets ? 3 : 2);
    if (sets &&
        (w->count < 3 || !long_number(w->word[2], &size) || size < 0 || size > INT_MAX - 2)) {
        *error = reference_format_error;
        return -1;
    }
    *error = reference_flags(r, w, sets ? 3 : 2);
    if (!sets && !gets && *error != NULL && strstr(*error, "opaque") == NULL) {
        *error = "CLIENT_ERROR invalid or duplicate flag";
    }
    if (*error == NULL && sets) {
        *error = reference_mode(q, "EAPRS", "CLIENT_ERROR invalid mode for ms M token");
    } else if (*error == NULL && q->verb == MEMCACHE_META_ARITHMETIC) {
        *error = reference_mode(q, "ID+-", "CLIENT_ERROR invalid mode for ma M token");
    }
    q->value_too_large =
        sets && 59 + r->key.size + (uint64_t)size + (q->client_flags != 0 ? 4 : 0) >
                    r->limits->item_bytes_max;
    return size;
}

static bool is_http_line(const struct line_words *words)
{
    size_t last = words->count > 23 ? 22 : words->count - 1;
    return strlen(words->word[0]) >= 2 && strchr("gsacidt", words->word[0][0]) == NULL &&
           strncmp(words->word[last], "HTTP/", 5) == 0;
}

static const char *other_error(const char *name)
{
    static const char *const known[][2] = {
        {"slabs", "CLIENT_ERROR slab reassignment disabled"},
        {"lru", "CLIENT_ERROR no LRU to tune: maxmemory-policy chooses what is evicted"},
    };
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        if (strcmp(known[i][0], name) == 0) {
            return known[i][1];
        }
    }
    return "ERROR";
}

/* Verbs that take whatever follows. */
static bool reference_free_form(struct memcache_reader *r, struct line_words *words,
                                const uint8_t *line, size_t size)
{
    static const struct {
        const char *name;
        enum memcache_verb verb;
    } verbs[] = {{"version", MEMCACHE_VERSION},     {"stats", MEMCACHE_STATS},
                 {"quit", MEMCACHE_QUIT},           {"shutdown", MEMCACHE_SHUTDOWN},
                 {"lru_crawler", MEMCACHE_CRAWLER}, {"config", MEMCACHE_CONFIG},
                 {"mn", MEMCACHE_META_NOOP},        {"watch", MEMCACHE_WATCH}};
    for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++) {
        if (strcmp(verbs[i].name, words->word[0]) == 0) {
            char *copy = copy_string(line, size);
            const char *rest = strstr(copy, verbs[i].name) + strlen(verbs[i].name);
            r->request.verb = verbs[i].verb;
            r->request.arguments = slice_of_string(rest + strspn(rest, " "));
            memcache_print_request(&r->request, r->text);
            free(copy);
            return true;
        }
    }
    return false;
}

/* False: the stream ends here. */
static bool reference_value(struct memcache_reader *r, size_t from, size_t size)
{
    size_t left = r->stream.size - from;
    if (r->request.value_too_large) {
        memcache_print_request(&r->request, r->text);
        r->at = left < size + 2 ? r->stream.size : from + size + 2;
        return true;
    }
    if (left < size + 2) {
        return false;
    }
    r->request.value = slice_of(r->stream.data + from, size);
    r->at = from + size + 2;
    if (memcmp(r->stream.data + from + size, "\r\n", 2) == 0) {
        memcache_print_request(&r->request, r->text);
    } else if (!r->request.no_reply) {
        buffer_print(r->text, "error CLIENT_ERROR bad data chunk\n");
    }
    return true;
}

/* False: stopped, *fatal says how. */
static bool reference_line(struct memcache_reader *r, size_t size, struct line_words *words,
                           bool *fatal)
{
    const uint8_t *line = r->stream.data + r->at;
    size_t shown = size > 1 && line[size - 1] == '\r' ? size - 1 : size;
    cut_words(words, line, shown);
    memset(&r->request, 0, sizeof(r->request));
    const char *error = "ERROR";
    if (words->count > 0) {
        if (reference_free_form(r, words, line, shown)) {
            r->at += size + 1;
            return true;
        }
        for (size_t i = 0; i < sizeof(reference_verbs) / sizeof(reference_verbs[0]); i++) {
            if (strcmp(reference_verbs[i].name, words->word[0]) != 0) {
                continue;
            }
            if (words->count < reference_verbs[i].low ||
                (reference_verbs[i].high != 0 && words->count > reference_verbs[i].high)) {
                buffer_print(r->text, "error ERROR\n");
                r->at += size + 1;
                return true;
            }
            error = NULL;
            r->request.verb = reference_verbs[i].verb;
            long long value = reference_verbs[i].kind == 'm'
                                  ? reference_meta(r, words, line, shown, &error)
                                  : reference_arguments(r, words, reference_verbs[i].kind, &error);
            if (value >= 0 && error != NULL) {
                size_t left = r->stream.size - r->at - size - 1, there = (size_t)value + 2;
                buffer_print(r->text, "error %s\n", error);
                r->at += size + 1 + (left < there ? left : there);
                return true;
            }
            if (value >= 0) {
                return reference_value(r, r->at + size + 1, (size_t)value);
            }
            if (error == NULL) {
                memcache_print_request(&r->request, r->text);
            } else if (!r->request.no_reply) {
                buffer_print(r->text, "error %s\n", error);
            }
            r->at += size + 1;
            return true;
        }
        if (is_http_line(words)) {
            *fatal = true;
            return false;
        }
        error = other_error(words->word[0]);
    }
    buffer_print(r->text, "error %s\n", error);
    r->at += size + 1;
    return true;
}

static bool is_long_verb(struct slice rest)
{
    size_t blanks = 0;
    while (blanks < rest.size && blanks < 100 && rest.data[blanks] == ' ') {
        blanks++;
    }
    char *copy = copy_string(rest.data + blanks, rest.size - blanks);
    bool result = strncmp(copy, "get ", 4) == 0 || strncmp(copy, "gets ", 5) == 0 ||
                  strncmp(copy, "gat ", 4) == 0 || strncmp(copy, "gats ", 5) == 0 ||
                  strncmp(copy, "bget ", 5) == 0;
    free(copy);
    return result;
}

void memcache_reference(struct slice stream, const struct memcache_limits *limits,
                        struct buffer *text)
{
    static struct line_words words;
    struct memcache_reader r = {.stream = stream, .limits = limits, .text = text};
    bool fatal = stream.size > 0 && stream.data[0] == 0x80;
    while (!fatal) {
        struct slice rest = slice_from(stream, r.at);
        size_t most = is_long_verb(rest) ? MEMCACHE_GET_LINE_BYTES_MAX : MEMCACHE_LINE_BYTES_MAX;
        const uint8_t *end =
            rest.size == 0 ? NULL : memchr(rest.data, '\n', rest.size < most ? rest.size : most);
        if (end == NULL) {
            fatal = rest.size > most;
            break;
        }
        bool more = reference_line(&r, (size_t)(end - rest.data), &words, &fatal);
        free(words.copy);
        if (!more) {
            break;
        }
    }
    if (fatal) {
        buffer_print(text, "fatal \n");
    } else {
        buffer_print(text, "left %zu\n", stream.size - r.at);
    }
}
