/* TCP options. The parser trusts no length: every step moves on by at least one byte and stays
 * inside the slice, so it ends after at most 40 steps. */
#include "dataplane/l4_transport/tcp_options.h"

#include "dataplane/base/check.h"

enum option_kind {
    KIND_END = 0,
    KIND_NOP = 1,
    KIND_MSS = 2,
    KIND_WINDOW_SCALE = 3,
    KIND_SACK_PERMITTED = 4,
    KIND_SACK = 5,
    KIND_TIMESTAMPS = 8,
};

static void parse_sack(const uint8_t *body, size_t size, struct tcp_header_options *options)
{
    if (size % 8 != 0) {
        return;
    }
    for (size_t at = 0; at < size && options->sack_count < TCP_SACK_BLOCKS_MAX; at += 8) {
        options->sack[options->sack_count++] = (struct tcp_sack_block){
            .start = bytes_read_be32(body + at), .end = bytes_read_be32(body + at + 4)};
    }
}

/* `body` and `size`: what follows kind and length. */
static void parse_one(uint8_t kind, const uint8_t *body, size_t size,
                      struct tcp_header_options *options)
{
    if (kind == KIND_MSS && size == 2) {
        options->has_mss = true;
        options->mss = bytes_read_be16(body);
    } else if (kind == KIND_WINDOW_SCALE && size == 1) {
        options->has_window_scale = true;
        options->window_scale =
            body[0] > TCP_WINDOW_SCALE_SHIFT_MAX ? (uint8_t)TCP_WINDOW_SCALE_SHIFT_MAX : body[0];
    } else if (kind == KIND_SACK_PERMITTED && size == 0) {
        options->has_sack_permitted = true;
    } else if (kind == KIND_TIMESTAMPS && size == 8) {
        options->has_timestamps = true;
        options->ts_value = bytes_read_be32(body);
        options->ts_echo = bytes_read_be32(body + 4);
    } else if (kind == KIND_SACK) {
        parse_sack(body, size, options);
    }
}

bool tcp_options_parse(struct slice bytes, struct tcp_header_options *options)
{
    *options = (struct tcp_header_options){0};
    size_t at = 0;
    while (at < bytes.size) {
        uint8_t kind = bytes.data[at];
        if (kind == KIND_END) {
            return true;
        }
        if (kind == KIND_NOP) {
            at++;
            continue;
        }
        if (bytes.size - at < 2) {
            return false;
        }
        size_t length = bytes.data[at + 1];
        if (length < 2 || length > bytes.size - at) {
            return false;
        }
        parse_one(kind, bytes.data + at + 2, length - 2, options);
        at += length;
    }
    return true;
}

static uint32_t compose_sack(const struct tcp_header_options *options, uint8_t *to, uint32_t room)
{
    if (options->sack_count == 0 || room < 12) {
        return 0;
    }
    uint32_t count = (room - 4) / 8;
    count = count < options->sack_count ? count : options->sack_count;
    to[0] = to[1] = KIND_NOP;
    to[2] = KIND_SACK;
    to[3] = (uint8_t)(2 + 8 * count);
    CHECK(count <= TCP_SACK_BLOCKS_MAX);
    for (uint32_t i = 0; i < count; i++) {
        bytes_write_be32(to + 4 + 8 * i, options->sack[i].start);
        bytes_write_be32(to + 8 + 8 * i, options->sack[i].end);
    }
    return 4 + 8 * count;
}

static uint32_t compose_handshake(const struct tcp_header_options *options, uint8_t *to)
{
    uint32_t at = 0;
    if (options->has_mss) {
        to[at] = KIND_MSS;
        to[at + 1] = 4;
        bytes_write_be16(to + at + 2, options->mss);
        at += 4;
    }
    if (options->has_window_scale) {
        to[at] = KIND_NOP;
        to[at + 1] = KIND_WINDOW_SCALE;
        to[at + 2] = 3;
        to[at + 3] = options->window_scale;
        at += 4;
    }
    if (options->has_sack_permitted) {
        to[at] = to[at + 1] = KIND_NOP;
        to[at + 2] = KIND_SACK_PERMITTED;
        to[at + 3] = 2;
        at += 4;
    }
    return at;
}

uint32_t tcp_options_compose(const struct tcp_header_options *options, uint8_t *to, uint32_t room)
{
    CHECK(room <= TCP_OPTION_BYTES_MAX);
    uint8_t bytes[TCP_OPTION_BYTES_MAX];
    uint32_t at = compose_handshake(options, bytes);
    if (options->has_timestamps) {
        bytes_write_be32(bytes + at, TCP_TIMESTAMPS_PREDICTED_WORD);
        bytes_write_be32(bytes + at + 4, options->ts_value);
        bytes_write_be32(bytes + at + 8, options->ts_echo);
        at += TCP_TIMESTAMPS_BYTES;
    }
    CHECK(at <= room);
    at += compose_sack(options, bytes + at, room - at);
    memcpy(to, bytes, at);
    return at;
}
