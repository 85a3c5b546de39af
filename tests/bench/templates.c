#include "tests/bench/templates.h"

#include <stdlib.h>

#include "tests/bench/template_session.h"
#include "tests/bench/value.h"

#define MEMCACHE_FRAME_BYTES 8U
#define RATE_UNASKED         1e6 /* frames a second in the file: the finest it can tell apart */

struct writer {
    const struct options *options;
    struct workload *workload;
    struct capture capture;
    struct schedule clock;
    struct template_session session; /* TCP */
    uint8_t *value;                  /* TCP: room for the largest one */
    uint64_t request_number;
    uint64_t kinds[REQUEST_KIND_COUNT];
};

/* ---- UDP ------------------------------------------------------------------------------------- */

/* Client ports in turn; the requests of each count up. Request id, number 0 of 1 datagrams,
 * reserved: memcached's frame. */
static void add_datagram(struct writer *writer, struct slice request)
{
    const struct options *options = writer->options;
    uint8_t payload[TEMPLATE_PAYLOAD_BYTES_MAX] = {0}, frame[TEMPLATE_FRAME_BYTES_MAX];
    struct template_end client = options->template_client;
    client.port = (uint16_t)(client.port + writer->request_number % options->connections);
    bytes_write_be16(payload, (uint16_t)(writer->request_number / options->connections));
    bytes_write_be16(payload + 4, 1);
    memcpy(payload + MEMCACHE_FRAME_BYTES, request.data, request.size);
    size_t size = template_compose_udp(frame, &client, &options->template_server,
                                       slice_of(payload, MEMCACHE_FRAME_BYTES + request.size),
                                       !options->template_no_checksum);
    capture_add(&writer->capture, schedule_next_ns(&writer->clock), slice_of(frame, size));
    schedule_advance(&writer->clock);
}

/* ---- replies --------------------------------------------------------------------------------- */

static void reply_text(struct writer *writer, const char *text)
{
    template_session_send(&writer->session, TEMPLATE_SERVER, slice_of_string(text));
}

static void reply_value(struct writer *writer, uint64_t key)
{
    uint8_t key_text[WORKLOAD_KEY_BYTES_MAX];
    char header[WORKLOAD_KEY_BYTES_MAX + 64];
    uint32_t key_bytes = workload_compose_key(writer->workload, key, key_text);
    uint32_t size = workload_value_size(writer->workload, key);
    switch (writer->workload->protocol) {
    case REPLY_RESP: snprintf(header, sizeof(header), "$%u\r\n", size); break;
    case REPLY_META: snprintf(header, sizeof(header), "VA %u\r\n", size); break;
    case REPLY_MEMCACHE:
    default:
        snprintf(header, sizeof(header), "VALUE %.*s 0 %u\r\n", (int)key_bytes,
                 (const char *)key_text, size);
    }
    value_compose(workload_key_hash(key), 0, writer->value, size);
    reply_text(writer, header);
    template_session_send(&writer->session, TEMPLATE_SERVER, slice_of(writer->value, size));
    reply_text(writer, "\r\n");
}

static void reply_to_get(struct writer *writer, const uint64_t *keys, uint32_t count)
{
    enum reply_protocol protocol = writer->workload->protocol;
    if (protocol == REPLY_RESP && count > 1) {
        char header[16];
        snprintf(header, sizeof(header), "*%u\r\n", count);
        reply_text(writer, header);
    }
    for (uint32_t i = 0; i < count; i++) {
        reply_value(writer, keys[i]);
    }
    if (protocol == REPLY_MEMCACHE) {
        reply_text(writer, "END\r\n");
    }
}

static const char *reply_to_set(enum reply_protocol protocol)
{
    switch (protocol) {
    case REPLY_RESP: return "+OK\r\n";
    case REPLY_META: return "HD\r\n";
    case REPLY_MEMCACHE:
    default: return "STORED\r\n";
    }
}

/* ---- requests -------------------------------------------------------------------------------- */

static void add_request(struct writer *writer, enum request_kind kind, struct slice request)
{
    if (writer->options->datagrams) {
        add_datagram(writer, request);
    } else {
        template_session_send(&writer->session, TEMPLATE_CLIENT, request);
    }
    writer->request_number++;
    writer->kinds[kind]++;
}

static void add_set(struct writer *writer, uint64_t key)
{
    add_request(writer, REQUEST_SET, workload_compose_set(writer->workload, key, 0));
    if (!writer->options->datagrams) {
        reply_text(writer, reply_to_set(writer->workload->protocol));
    }
}

static void add_get(struct writer *writer)
{
    uint64_t keys[WORKLOAD_KEYS_A_GET_MAX];
    uint32_t count = writer->workload->keys_a_get;
    for (uint32_t i = 0; i < count; i++) {
        keys[i] = workload_draw_key(writer->workload);
    }
    add_request(writer, REQUEST_GET, workload_compose_get(writer->workload, keys, count));
    if (!writer->options->datagrams) {
        reply_to_get(writer, keys, count);
    }
}

/* Over TCP RESP's alone: memcached's `version` is answered as each server likes. */
static void add_ping(struct writer *writer)
{
    add_request(writer, REQUEST_PING, workload_compose_ping(writer->workload));
    if (!writer->options->datagrams) {
        reply_text(writer, "+PONG\r\n");
    }
}

static void add_test(struct writer *writer, const struct bench_test *test)
{
    struct workload *workload = writer->workload;
    memcpy(workload->weights, test->weights, sizeof(test->weights));
    workload->keys_a_get = test->keys_a_get;
    for (uint64_t i = 0; i < writer->options->requests && !writer->session.full; i++) {
        switch (workload_draw_kind(workload)) {
        case REQUEST_SET: add_set(writer, workload_draw_write_key(workload)); break;
        case REQUEST_PING: add_ping(writer); break;
        case REQUEST_GET:
        case REQUEST_KIND_COUNT:
        default: add_get(writer);
        }
    }
}

static void add_all(struct writer *writer)
{
    const struct options *options = writer->options;
    for (uint64_t key = 0; options->preload && key < options->key_count && !writer->session.full;
         key++) {
        add_set(writer, key);
    }
    for (uint32_t i = 0; i < options->test_count; i++) {
        add_test(writer, &options->tests[i]);
    }
}

/* ---- what the file holds --------------------------------------------------------------------- */

static void print_field(FILE *out, const char *name, uint32_t offset, uint32_t bytes)
{
    fprintf(out, "  %-22s %6u  %5u\n", name, offset, bytes);
}

/* A key stands in the same place in every request with one key, since GET and SET are of equal
 * length in each of the protocols. */
static void print_key_fields(const struct writer *writer, FILE *out)
{
    uint32_t size = sizes_minimum(&writer->options->key_sizes);
    uint32_t command_bytes = writer->workload->protocol == REPLY_META ? 3 : 4; /* with the blank */
    uint32_t at = TEMPLATE_AT_PAYLOAD + MEMCACHE_FRAME_BYTES + command_bytes;
    if (size != sizes_maximum(&writer->options->key_sizes)) {
        fprintf(out, "  %-22s %6u  %5s\n", "key (sizes differ)", at, "-");
        return;
    }
    uint32_t digits = writer->workload->key_digits;
    print_field(out, "key", at, size);
    print_field(out, "last digits of the key", at + size - digits, digits);
}

static void print_fields(const struct writer *writer, FILE *out)
{
    fputs("  field                  offset  bytes   in every frame, from its first byte\n", out);
    print_field(out, "destination MAC", 0, 6);
    print_field(out, "source MAC", 6, 6);
    print_field(out, "IP checksum", TEMPLATE_AT_IP + 10, 2);
    print_field(out, "source address", TEMPLATE_AT_IP + 12, 4);
    print_field(out, "destination address", TEMPLATE_AT_IP + 16, 4);
    print_field(out, "source port", TEMPLATE_AT_L4, 2);
    print_field(out, "destination port", TEMPLATE_AT_L4 + 2, 2);
    print_field(out, "UDP checksum", TEMPLATE_AT_L4 + 6, 2);
    print_field(out, "request id", TEMPLATE_AT_PAYLOAD, 2);
    print_key_fields(writer, out);
}

static void print_summary(const struct writer *writer, FILE *out)
{
    const struct options *options = writer->options;
    const struct capture *capture = &writer->capture;
    fprintf(out, "%s: %llu frames of %zu to %zu bytes (%llu get, %llu set, %llu ping)\n",
            options->template_path, (unsigned long long)capture->frame_count, capture->smallest,
            capture->largest, (unsigned long long)writer->kinds[REQUEST_GET],
            (unsigned long long)writer->kinds[REQUEST_SET],
            (unsigned long long)writer->kinds[REQUEST_PING]);
    if (options->quiet) {
        return;
    }
    if (options->datagrams) {
        print_fields(writer, out);
    } else {
        fprintf(out, "  one TCP connection: %u bytes of requests, %u bytes of replies\n",
                writer->session.sent_bytes[TEMPLATE_CLIENT],
                writer->session.sent_bytes[TEMPLATE_SERVER]);
    }
}

/* ---- the whole ------------------------------------------------------------------------------- */

static bool open_writer(struct writer *writer, struct config_error *error)
{
    const struct options *options = writer->options;
    size_t value_room = options->datagrams ? 1 : sizes_maximum(&options->value_sizes) + 1U;
    writer->value = malloc(value_room);
    if (writer->value == NULL) {
        snprintf(error->text, sizeof(error->text), "out of memory");
        return false;
    }
    int code = capture_open(&writer->capture, options->template_path);
    if (code < 0) {
        snprintf(error->text, sizeof(error->text), "%.300s: %s", options->template_path,
                 strerror(-code));
        return false;
    }
    bool asked = options->rate > 0;
    schedule_init(&writer->clock, 0, asked ? options->rate : RATE_UNASKED,
                  asked && options->poisson, options->seed);
    writer->session.capture = &writer->capture;
    writer->session.clock = &writer->clock;
    writer->session.ends[TEMPLATE_CLIENT] = options->template_client;
    writer->session.ends[TEMPLATE_SERVER] = options->template_server;
    return true;
}

static bool close_writer(struct writer *writer, struct config_error *error)
{
    int code = capture_close(&writer->capture);
    if (code < 0) {
        snprintf(error->text, sizeof(error->text), "%.300s: %s", writer->options->template_path,
                 strerror(-code));
        return false;
    }
    if (writer->session.full) {
        snprintf(error->text, sizeof(error->text),
                 "one TCP connection holds at most %u bytes each way: fewer requests (-n)",
                 TEMPLATE_SESSION_BYTES_MAX);
        return false;
    }
    return true;
}

int templates_write(const struct options *options, struct workload *workload, FILE *out,
                    struct config_error *error)
{
    struct writer writer = {.options = options, .workload = workload};
    bool right = open_writer(&writer, error);
    if (right && !options->datagrams) {
        template_session_open(&writer.session);
    }
    if (right) {
        add_all(&writer);
    }
    if (right && !options->datagrams) {
        template_session_close(&writer.session);
    }
    right = right && close_writer(&writer, error);
    if (right) {
        print_summary(&writer, out);
    }
    free(writer.value);
    return right ? 0 : -1;
}
