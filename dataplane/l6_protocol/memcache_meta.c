/* Flags of the meta commands: see memcache_meta.h. Texts and their order are memcached 1.6.18's; E,
 * N of ms and s of ms come from later versions. Pure functions. */
#include "dataplane/l6_protocol/memcache_meta.h"

#include "dataplane/l6_protocol/base64.h"
#include "dataplane/l6_protocol/memcache_parse.h"
#include "dataplane/l6_protocol/memcache_text.h"

#define LETTERS_END 127 /* of the reference's table */
#define BAD_TOKEN   "CLIENT_ERROR bad token in command line format"

/* What any of the commands takes; one that means nothing to a command is passed over. */
static const char known_letters[] = "bcCDEfFhIJklLMNOPqRstTuvx";

static bool is_known(uint8_t letter)
{
    return letter != '\0' && strchr(known_letters, letter) != NULL;
}

const char memcache_opaque_too_long[] = "CLIENT_ERROR opaque token too long";

/* What is wrong with the token of a flag; "": the reference has no words for it. */
static const char *read_exptime(struct slice token, int32_t *value)
{
    return memcache_read_int32(token, value) ? NULL : BAD_TOKEN;
}

static const char *read_number(struct slice token, uint64_t *value, const char *error)
{
    return memcache_parse_uint64(token, value) ? NULL : error;
}

static const char *read_mode(struct slice token, char *mode)
{
    *mode = token.size == 1 ? (char)token.data[0] : '\0';
    return token.size == 1 ? NULL : "CLIENT_ERROR incorrect length for M token";
}

static const char *decode_key(struct slice *key, uint8_t *decoded)
{
    *key = slice_of(decoded, base64_decode(*key, decoded));
    return key->size > 0 ? NULL : "CLIENT_ERROR error decoding key";
}

static const char *read_flag(struct slice flag, struct memcache_request *request, uint8_t *decoded)
{
    struct memcache_meta *meta = &request->meta;
    struct slice token = slice_from(flag, 1);
    int32_t exptime = 0;
    const char *error = NULL;
    switch (flag.data[0]) {
    case 'b': return decode_key(&request->keys[0], decoded);
    case 'N': return read_exptime(token, &meta->vivify_exptime);
    case 'R': return read_exptime(token, &meta->recache_exptime);
    case 'T':
        error = read_exptime(token, &exptime);
        request->exptime = exptime;
        return error;
    case 'F': return memcache_read_uint32(token, &request->client_flags) ? NULL : "";
    case 'C': return read_number(token, &request->cas, BAD_TOKEN);
    case 'E': return read_number(token, &meta->new_cas, BAD_TOKEN);
    case 'J':
        return read_number(token, &meta->initial, "CLIENT_ERROR invalid numeric initial value");
    case 'D':
        return read_number(token, &request->delta, "CLIENT_ERROR invalid numeric delta value");
    case 'M': return read_mode(token, &meta->mode);
    default: return NULL;
    }
}

bool memcache_meta_next(struct slice *text, struct slice *flag)
{
    const uint8_t *at = text->data;
    const uint8_t *end = text->data + text->size;
    *flag = memcache_next_word(&at, end);
    *text = slice_of(at, (size_t)(end - at));
    return flag->size > 0;
}

const char *memcache_meta_parse(struct slice text, struct memcache_request *request,
                                uint8_t *decoded)
{
    struct memcache_meta *meta = &request->meta;
    struct slice rest = text, flag;
    const char *error = MEMCACHE_BAD_FORMAT;
    bool failed = false;
    size_t opaque_bytes = 0;
    request->arguments = text;
    request->delta = 1;
    while (memcache_meta_next(&rest, &flag)) {
        uint8_t letter = flag.data[0];
        if (letter >= LETTERS_END || (is_known(letter) && memcache_meta_has(meta, (char)letter))) {
            return "CLIENT_ERROR duplicate flag";
        }
        if (!is_known(letter)) {
            return "CLIENT_ERROR invalid flag";
        }
        meta->flags |= MEMCACHE_META(letter);
        opaque_bytes = letter == 'O' ? flag.size : opaque_bytes;
        const char *wrong = read_flag(flag, request, decoded);
        failed |= wrong != NULL;
        error = wrong != NULL && wrong[0] != '\0' ? wrong : error;
    }
    if (!failed && opaque_bytes > MEMCACHE_OPAQUE_BYTES_MAX) {
        return memcache_opaque_too_long;
    }
    return failed ? error : NULL;
}
