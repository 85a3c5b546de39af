/* memcached over UDP: a request in one datagram or several, its reply likewise.
 *
 * Path: datagrams come from a port's UDP or from a kernel socket; their requests go into the batch
 * with everybody else's; when the last request of a datagram has run, the reply leaves, cut into
 * datagrams with the frame header's sequence numbers.
 *
 * What is no complete request is counted and dropped: there is no connection to complain on. So is
 * what comes from another host in protected mode, or too often, and a reply that would be larger
 * than its request (datagram_guard.h): answering would lend us to whoever forges addresses.
 */
#include "dataplane/core/core_internal.h"

#include <stdlib.h>

#include "dataplane/base/check.h"

#define DATAGRAM_PAYLOAD_BYTES 1400U /* of one reply datagram, frame header included */

static void drop(struct core *core, enum metric reason)
{
    metric_add(core->metrics, reason, 1);
}

static inline size_t part_bytes_max(const struct core_datagram *datagram)
{
    size_t room = DATAGRAM_PAYLOAD_BYTES;
    if (datagram->packet != NULL) {
        size_t packet_room = udp_payload_bytes_max(datagram->packet);
        room = packet_room < room ? packet_room : room;
    }
    return room - MEMCACHE_FRAME_BYTES;
}

void core_begin_datagram_reply(struct core *core, struct core_datagram *datagram)
{
    struct byte_queue *reply = &core->datagram_reply;
    DEBUG_CHECK(reply->size == 0);
    byte_queue_clear(reply, &core->bytes); /* begun before, for one that went on as an errand */
    datagram->part_bytes = part_bytes_max(datagram);
    if (LIKELY(datagram->packet != NULL)) {
        udp_lend_packet(datagram->packet, reply, MEMCACHE_FRAME_BYTES,
                        (uint32_t)datagram->part_bytes);
    }
}

static void send_by_socket(struct core *core, const struct core_datagram *datagram,
                           const struct memcache_frame *frame, size_t offset, size_t size)
{
    uint8_t bytes[DATAGRAM_PAYLOAD_BYTES];
    memcache_frame_compose(frame, bytes);
    byte_queue_copy_out(&core->datagram_reply, offset, bytes + MEMCACHE_FRAME_BYTES, size);
    socket_send_datagram(core->sockets, datagram->from_socket->socket_fd, datagram->source,
                         slice_of(bytes, MEMCACHE_FRAME_BYTES + size));
}

static void send_part(struct core *core, struct core_datagram *datagram, uint16_t sequence,
                      uint16_t count, size_t offset, size_t size)
{
    struct memcache_frame frame = {datagram->frame.request_id, sequence, count, 0};
    if (UNLIKELY(datagram->packet == NULL)) {
        send_by_socket(core, datagram, &frame, offset, size);
        return;
    }
    uint8_t bytes[MEMCACHE_FRAME_BYTES];
    memcache_frame_compose(&frame, bytes);
    udp_reply(core->udp, datagram->packet, slice_of(bytes, sizeof(bytes)), &core->datagram_reply,
              offset, size);
}

static void send_parts(struct core *core, struct core_datagram *datagram, size_t count)
{
    size_t bytes = core->datagram_reply.size, part = datagram->part_bytes;
    for (size_t i = 0; i < count; i++) {
        size_t left = bytes - i * part;
        send_part(core, datagram, (uint16_t)i, (uint16_t)count, i * part,
                  left < part ? left : part);
    }
}

void core_send_datagram_reply(struct core *core, struct core_datagram *datagram)
{
    size_t bytes = core->datagram_reply.size;
    size_t part = datagram->part_bytes;
    size_t count = LIKELY(bytes <= part) ? bytes > 0 : (bytes + part - 1) / part;
    size_t sent_bytes = bytes + count * MEMCACHE_FRAME_BYTES;
    if (!datagram->trusted &&
        (sent_bytes > datagram->request_bytes || count > datagram->frame.datagram_count)) {
        drop(core, METRIC_MEMCACHE_UDP_DROP_AMPLIFY);
        count = 0;
    } else if (count > UINT16_MAX) {
        drop(core, METRIC_MEMCACHE_DATAGRAMS_DROPPED);
        count = 0;
    } else {
        metric_add(core->metrics, METRIC_SESSION_OUTPUT_BYTES, bytes);
    }
    if (LIKELY(count == 1)) {
        send_part(core, datagram, 0, 1, 0, bytes);
    } else {
        send_parts(core, datagram, count);
    }
    byte_queue_clear(&core->datagram_reply, &core->bytes);
}

/* The request that the datagram holds, or completes; false: none, and that is counted. */
static bool take_request(struct core *core, struct core_datagram *datagram, struct slice *text)
{
    if (!memcache_frame_parse(datagram->payload, &datagram->frame) ||
        datagram->frame.datagram_count == 0) {
        drop(core, METRIC_MEMCACHE_DATAGRAMS_DROPPED);
        return false;
    }
    *text = slice_from(datagram->payload, MEMCACHE_FRAME_BYTES);
    datagram->request_bytes = datagram->payload.size;
    return LIKELY(datagram->frame.datagram_count == 1) ||
           datagram_parts_add(core->datagram_parts, datagram->source, &datagram->frame, *text,
                              &core->now, text, &datagram->request_bytes);
}

/* The first request of the text; false when there is none that is complete. */
static bool parse_text(struct core *core, struct slice text, struct memcache_request *request,
                       struct memcache_parse_result *result)
{
    struct memcache_limits limits = {.item_bytes_max =
                                         (uint64_t)core->config->memcache_item_size_max};
    memcache_parser_restart(&core->datagram_parser);
    memcache_parse(&core->datagram_parser, &limits, text, request, result);
    return result->verdict != PARSE_PARTIAL && result->verdict != PARSE_NOTHING;
}

/* Whether its sender is answered at all, and how much. */
static bool admit(struct core *core, struct core_datagram *datagram)
{
    const struct address *source = &datagram->source->address;
    if (core_is_protected_from(core, datagram->source, CLIENT_MEMCACHE_UDP)) {
        drop(core, METRIC_MEMCACHE_UDP_DROP_PROTECTED);
        return false;
    }
    datagram->trusted = datagram_guard_trusts(&core->datagram_guard, source);
    uint64_t rate = (uint64_t)core->config->memcache_udp_rate;
    if (!datagram->trusted &&
        !datagram_guard_take(&core->datagram_guard, source, rate, &core->now)) {
        drop(core, METRIC_MEMCACHE_UDP_DROP_RATE);
        return false;
    }
    return true;
}

/* Whether the entry points at what the next datagram would overwrite. */
static bool must_run_now(const struct core *core, const struct core_datagram *datagram,
                         const struct memcache_request *request)
{
    return datagram->frame.datagram_count > 1 ||
           memcache_uses_parser(&core->datagram_parser, request);
}

/* Into the batch. `request` is the next entry's, when nothing has run since. */
static void add_request(struct core *core, struct core_datagram *datagram,
                        const struct memcache_request *request)
{
    uint32_t keys = request->key_count;
    if (keys > CORE_BATCH_KEYS) {
        drop(core, METRIC_MEMCACHE_DATAGRAMS_DROPPED);
        return;
    }
    if (UNLIKELY(!core_batch_has_room(core, 0, keys))) {
        core_run_batch(core);
    }
    struct batch_entry *entry = core_batch_add(core, ENTRY_MEMCACHE, NULL);
    if (UNLIKELY(&entry->memcache.request != request)) {
        entry->memcache.request = *request;
    }
    entry->datagram = datagram;
    core_batch_finish_memcache(core, entry, request->keys);
    if (UNLIKELY(must_run_now(core, datagram, &entry->memcache.request))) {
        core_run_batch(core);
    }
}

static void add_error(struct core *core, struct core_datagram *datagram, const char *error)
{
    struct batch_entry *entry = core_batch_add(core, ENTRY_ERROR, NULL);
    entry->datagram = datagram;
    entry->error.memcache = true;
    entry->error.fatal = false;
    snprintf(entry->error.text, sizeof(entry->error.text), "%s", error);
}

/* Any request. */
static __attribute__((noinline)) void take_text(struct core *core, struct core_datagram *datagram,
                                                struct slice text)
{
    struct memcache_request *request = core_batch_next_request(core);
    struct memcache_parse_result result;
    if (UNLIKELY(!parse_text(core, text, request, &result))) {
        drop(core, METRIC_MEMCACHE_DATAGRAMS_DROPPED);
    } else if (LIKELY(result.verdict == PARSE_COMPLETE)) {
        add_request(core, datagram, request);
    } else {
        add_error(core, datagram, result.error);
    }
}

/* Of the datagram who sends it, and the payload, is known. */
static void take_datagram(struct core *core, struct core_datagram *datagram)
{
    metric_add(core->metrics, METRIC_SESSION_INPUT_BYTES, datagram->payload.size);
    struct slice text;
    if (!admit(core, datagram) || !take_request(core, datagram, &text)) {
        return;
    }
    /* A text of several datagrams must run at once. */
    if (UNLIKELY(datagram->frame.datagram_count > 1 ||
                 core_batch_add_plain(core, NULL, datagram, text) == 0)) {
        take_text(core, datagram, text);
    }
}

void core_take_udp(struct core *core, struct udp_datagram *datagrams, uint32_t count)
{
    if (count > 0) {
        core_enter_stage(core, STAGE_SESSIONS);
        datagram_guard_set(&core->datagram_guard, core->config->memcache_udp_allow);
    }
    for (uint32_t i = 0; i < count; i++) {
        struct core_datagram *datagram = &core->core_datagrams[i];
        datagram->packet = &datagrams[i];
        datagram->from_socket = NULL;
        datagram->source = &datagrams[i].source;
        datagram->payload = datagrams[i].payload;
        take_datagram(core, datagram);
    }
    core_run_batch(core);
    for (uint32_t i = 0; i < count; i++) {
        udp_release(&datagrams[i]);
    }
}

void core_take_socket_datagrams(struct core *core, struct socket_datagram *datagrams,
                                uint32_t count)
{
    CHECK(count <= CORE_DATAGRAMS_MAX);
    if (count > 0) {
        datagram_guard_set(&core->datagram_guard, core->config->memcache_udp_allow);
    }
    for (uint32_t i = 0; i < count; i++) {
        struct core_datagram *datagram = &core->core_datagrams[i];
        datagram->packet = NULL;
        datagram->from_socket = &datagrams[i];
        datagram->source = &datagrams[i].source;
        datagram->payload = datagrams[i].payload;
        take_datagram(core, datagram);
    }
    core_run_batch(core);
}
