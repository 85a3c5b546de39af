/* memcached binary requests. The first four bytes of an input choose limits, cuts and which values
 * are supplied; the rest is the stream. Cut and whole must read as the naive reference does. */
#include <stdio.h>
#include <stdlib.h>

#include "dataplane/base/hash.h"
#include "tests/unit/l6_protocol/parse_driver.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_same(struct buffer *a, struct buffer *b)
{
    if (strcmp(buffer_text(a), buffer_text(b)) != 0) {
        (void)fprintf(stderr, "expected:\n%sgot:\n%s", buffer_text(a), buffer_text(b));
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 4) {
        return 0;
    }
    uint64_t random = bytes_read_be32(data) + 1ULL;
    struct memcache_binary_limits limits = {64 + data[0] % 64, data[1] % 16 == 15};
    struct slice stream = slice_of(data + 4, size - 4);
    struct buffer expected = {0}, text = {0}, login = {0};
    size_t cuts[16], count = 0;
    for (size_t at = random_next(&random) % 32; count < 16 && at < stream.size;
         at += random_next(&random) % 64) {
        cuts[count++] = at;
    }
    struct feed feed = {stream, cuts, count, data[1] % 8};
    memcache_binary_reference(stream, &limits, &expected);
    memcache_binary_transcript(&feed, &limits, &text);
    check_same(&expected, &text);
    /* What a text connection may say before it has logged in: whole and cut the same. */
    struct feed whole = {stream, NULL, 0, 0};
    buffer_free(&expected);
    memcache_login_transcript(&whole, &expected);
    memcache_login_transcript(&feed, &login);
    check_same(&expected, &login);
    buffer_free(&expected);
    buffer_free(&text);
    buffer_free(&login);
    return 0;
}
