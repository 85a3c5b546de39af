/* memcached over UDP: a request in one datagram, its reply in one or more.
 *
 * Path: datagrams come from a port's UDP or from a kernel socket; their requests go into the batch
 * with everybody else's; when the last request of a datagram has run, the reply leaves, cut into
 * datagrams with the frame header's sequence numbers.
 *
 * A datagram that is no complete request, or says it is one of several, is counted and dropped:
 * there is no connection to complain on. So is one from another host in protected mode: answering
 * would lend us to whoever forges addresses.
 */
#include "dataplane/core/core_internal.h"

#include <stdlib.h>

#include "dataplane/base/check.h"

#define DATAGRAM_PAYLOAD_BYTES 1400U /* of one reply datagram, frame header included */

static void drop_datagram(struct core *core)
{
    metric_add(core->metrics, METRIC_MEMCACHE_DATAGRAMS_DROPPED, 1);
}

static void send_part(struct core *core, struct core_datagram *datagram, uint16_t sequence,
                      uint16_t count, size_t offset, size_t size)
{
    struct memcache_frame frame = {datagram->frame.request_id, sequence, count, 0};
    uint8_t bytes[DATAGRAM_PAYLOAD_BYTES];
    memcache_frame_compose(&frame, bytes);
    if (datagram->packet != NULL) {
        udp_reply(core->udp, datagram->packet, slice_of(bytes, MEMCACHE_FRAME_BYTES),
                  &core->datagram_reply, offset, size);
        return;
    }
    byte_queue_copy_out(&core->datagram_reply, offset, bytes + MEMCACHE_FRAME_BYTES, size);
    socket_send_datagram(core->sockets, datagram->from_socket->socket_fd, &datagram->source,
                         slice_of(bytes, MEMCACHE_FRAME_BYTES + size));
}

static size_t part_bytes_max(const struct core_datagram *datagram)
{
    size_t room = DATAGRAM_PAYLOAD_BYTES;
    if (datagram->packet != NULL && udp_payload_bytes_max(datagram->packet) < room) {
        room = udp_payload_bytes_max(datagram->packet);
    }
    return room - MEMCACHE_FRAME_BYTES;
}

void core_send_datagram_reply(struct core *core, struct core_datagram *datagram)
{
    size_t bytes = core->datagram_reply.size;
    size_t part = part_bytes_max(datagram);
    size_t count = (bytes + part - 1) / part;
    metric_add(core->metrics, METRIC_SESSION_OUTPUT_BYTES, bytes);
    if (count > UINT16_MAX) {
        drop_datagram(core);
        count = 0;
    }
    for (size_t i = 0; i < count; i++) {
        size_t offset = i * part;
        send_part(core, datagram, (uint16_t)i, (uint16_t)count, offset,
                  bytes - offset < part ? bytes - offset : part);
    }
    byte_queue_clear(&core->datagram_reply, &core->bytes);
}

/* The first request of the datagram; false when there is none that is complete. */
static bool parse_datagram(struct core *core, struct core_datagram *datagram,
                           struct memcache_request *request, struct memcache_parse_result *result)
{
    if (!memcache_frame_parse(datagram->payload, &datagram->frame) ||
        datagram->frame.datagram_count != 1) {
        return false;
    }
    struct memcache_limits limits = {.item_bytes_max =
                                         (uint64_t)core->config->memcache_item_size_max};
    memcache_parser_deinit(&core->datagram_parser); /* zeroed is initialised */
    memcache_parse(&core->datagram_parser, &limits,
                   slice_from(datagram->payload, MEMCACHE_FRAME_BYTES), request, result);
    return result->verdict != PARSE_PARTIAL && result->verdict != PARSE_NOTHING;
}

static void take_datagram(struct core *core, struct core_datagram *datagram)
{
    metric_add(core->metrics, METRIC_SESSION_INPUT_BYTES, datagram->payload.size);
    struct memcache_request request;
    struct memcache_parse_result result;
    if (core_is_protected_from(core, &datagram->source, CLIENT_MEMCACHE_UDP) ||
        !parse_datagram(core, datagram, &request, &result)) {
        drop_datagram(core);
        return;
    }
    uint32_t keys = result.verdict == PARSE_COMPLETE ? request.key_count : 0;
    if (keys > CORE_BATCH_KEYS) {
        drop_datagram(core);
        return;
    }
    if (!core_batch_has_room(core, keys, keys)) {
        core_run_batch(core);
    }
    if (result.verdict == PARSE_COMPLETE) {
        struct batch_entry *entry = core_batch_add(core, ENTRY_MEMCACHE, NULL);
        entry->datagram = datagram;
        entry->memcache.request = request;
        entry->memcache.request.keys = core_batch_slices(core, request.keys, keys);
        entry->memcache.keys = &core->batch.keys[core->batch.key_count];
        core->batch.key_count += keys;
        if (memcache_uses_parser(&core->datagram_parser, &request)) {
            core_run_batch(core);
        }
    } else {
        struct batch_entry *entry = core_batch_add(core, ENTRY_ERROR, NULL);
        entry->datagram = datagram;
        entry->error.memcache = true;
        entry->error.fatal = false;
        snprintf(entry->error.text, sizeof(entry->error.text), "%s", result.error);
    }
}

void core_take_udp(struct core *core, struct udp_datagram *datagrams, uint32_t count)
{
    if (count > 0) {
        core_enter_stage(core, STAGE_SESSIONS);
    }
    for (uint32_t i = 0; i < count; i++) {
        core->core_datagrams[i] = (struct core_datagram){.packet = &datagrams[i],
                                                         .payload = datagrams[i].payload,
                                                         .source = datagrams[i].source,
                                                         .local = datagrams[i].local};
        take_datagram(core, &core->core_datagrams[i]);
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
    for (uint32_t i = 0; i < count; i++) {
        core->core_datagrams[i] = (struct core_datagram){.from_socket = &datagrams[i],
                                                         .payload = datagrams[i].payload,
                                                         .source = datagrams[i].source,
                                                         .local = datagrams[i].local};
        take_datagram(core, &core->core_datagrams[i]);
    }
    core_run_batch(core);
}
