/* A memcached datagram: frame header, then one request in what is left. What was parsed composes to
 * the same bytes, and the text reads as the naive reference does. */
#include <stdio.h>
#include <stdlib.h>

#include "tests/unit/l6_protocol/parse_driver.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct memcache_frame frame;
    if (!memcache_frame_parse(slice_of(data, size), &frame)) {
        if (size >= MEMCACHE_FRAME_BYTES) {
            abort();
        }
        return 0;
    }
    uint8_t bytes[MEMCACHE_FRAME_BYTES];
    memcache_frame_compose(&frame, bytes);
    if (memcmp(bytes, data, sizeof(bytes)) != 0) {
        abort();
    }
    const struct memcache_limits limits = {1024};
    struct buffer expected = {0}, text = {0};
    struct feed feed = {slice_from(slice_of(data, size), MEMCACHE_FRAME_BYTES), NULL, 0, 0};
    memcache_reference(feed.stream, &limits, &expected);
    memcache_transcript(&feed, &limits, &text);
    if (strcmp(buffer_text(&expected), buffer_text(&text)) != 0) {
        (void)fprintf(stderr, "expected:\n%sgot:\n%s", buffer_text(&expected), buffer_text(&text));
        abort();
    }
    buffer_free(&expected);
    buffer_free(&text);
    return 0;
}
