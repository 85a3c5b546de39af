/* Flags of the meta commands (mg ms md ma me): words of one letter, some with a token behind it.
 *
 * What is only a number goes into the request; what a reply shows again in the order of the request
 * (O, k, and what asks for a figure) is read from the line once more when the reply is made. Both
 * readings go through memcache_meta_next.
 */
#ifndef NICACHED_L6_PROTOCOL_MEMCACHE_META_H
#define NICACHED_L6_PROTOCOL_MEMCACHE_META_H

#include "dataplane/base/bytes.h"

#define MEMCACHE_OPAQUE_BYTES_MAX 32U /* with its O */

/* A bit for each letter. */
#define MEMCACHE_META(letter) (1ULL << ((letter) - 'A'))

struct memcache_meta {
    uint64_t flags;          /* MEMCACHE_META of each letter that was given */
    uint64_t initial;        /* J */
    uint64_t new_cas;        /* E */
    int32_t vivify_exptime;  /* N */
    int32_t recache_exptime; /* R */
    char mode;               /* M; 0: none */
};

static inline bool memcache_meta_has(const struct memcache_meta *meta, char letter)
{
    return (meta->flags & MEMCACHE_META(letter)) != 0;
}

struct memcache_request;

/* Reads the flags in `text`, the rest of a line behind the key (or the size of ms), into
 * request->meta and, where the classic commands have the same, into exptime (T), client_flags (F),
 * cas (C) and delta (D, 1 where it is not given); request->arguments becomes the text. With b the
 * key is decoded into `decoded`, which has room for the longest. Returns NULL or the error. */
const char *memcache_meta_parse(struct slice text, struct memcache_request *request,
                                uint8_t *decoded);
extern const char memcache_opaque_too_long[]; /* one of the errors */

/* The next flag of a text that memcache_meta_parse has accepted; false at its end. */
bool memcache_meta_next(struct slice *text, struct slice *flag);

#endif
