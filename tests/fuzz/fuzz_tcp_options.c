/* TCP options from arbitrary bytes: no read outside, the parsing ends, and what was understood
 * survives being composed and parsed again. */
#include <stdlib.h>

#include "dataplane/base/check.h"
#include "dataplane/l4_transport/tcp_options.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool equal(const struct tcp_header_options *a, const struct tcp_header_options *b)
{
    return a->has_mss == b->has_mss && a->mss == b->mss &&
           a->has_window_scale == b->has_window_scale && a->window_scale == b->window_scale &&
           a->has_sack_permitted == b->has_sack_permitted &&
           a->has_timestamps == b->has_timestamps && a->ts_value == b->ts_value &&
           a->ts_echo == b->ts_echo && a->sack_count >= b->sack_count &&
           memcmp(a->sack, b->sack, b->sack_count * sizeof(a->sack[0])) == 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size = size < TCP_OPTION_BYTES_MAX ? size : TCP_OPTION_BYTES_MAX;
    uint8_t *exact = malloc(size > 0 ? size : 1);
    if (exact == NULL) {
        return 0;
    }
    if (size > 0) {
        memcpy(exact, data, size);
    }
    struct tcp_header_options first, second;
    tcp_options_parse(slice_of(exact, size), &first);
    free(exact);
    CHECK(first.window_scale <= TCP_WINDOW_SCALE_SHIFT_MAX);
    CHECK(first.sack_count <= TCP_SACK_BLOCKS_MAX);
    uint8_t bytes[TCP_OPTION_BYTES_MAX];
    uint32_t composed = tcp_options_compose(&first, bytes, sizeof(bytes));
    CHECK(composed % 4 == 0 && composed <= sizeof(bytes));
    CHECK(tcp_options_parse(slice_of(bytes, composed), &second));
    CHECK(equal(&first, &second));
    return 0;
}
