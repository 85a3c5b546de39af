/* The exception path. core_exception.h has the picture and the invariants.
 *
 * Memory: buffers of the packet pool only; the stack keeps none of those that go to the host.
 */
#include "dataplane/core/core_exception.h"

#include <stdlib.h>
#include <unistd.h>

#include "dataplane/base/check.h"
#include "dataplane/l3_ip/net.h"
#include "drivers/port.h"

#define BURST 64U
/* A look at the TAP is a system call: while nothing comes, in one pass of so many. */
#define QUIET_PASSES 8U

/* What one worker has. */
struct exception_queue {
    struct core_link port, tap;
    int wait_fd; /* of both */
    uint32_t quiet_passes;
    bool gave; /* frames went to the host since the last exchange */
};

struct exception {
    struct exception_options options;
    struct exception_queue *queues;
    /* As they are added to the stack, to know our addresses by. */
    struct net_interface interfaces[NET_INTERFACES_MAX];
};

static void count(const struct exception *exception, uint16_t queue, enum metric metric,
                  uint32_t amount)
{
    metric_add(&exception->options.metrics[queue], metric, amount);
}

/* ---- to the host ----------------------------------------------------------------------------- */

/* Adds what the kernel gets of this frame. True when the frame itself stays ours. */
static bool share_frame(const struct exception *exception, uint16_t queue, struct rte_mbuf *frame,
                        struct rte_mbuf **to_kernel, uint16_t *to_kernel_count)
{
    struct slice bytes = slice_of(rte_pktmbuf_mtod(frame, const uint8_t *), frame->data_len);
    struct exception_verdict verdict = exception_judge(&exception->options.rules, bytes);
    if (LIKELY(!verdict.kernels)) {
        return true;
    }
    struct rte_mbuf *given =
        verdict.ours ? rte_pktmbuf_copy(frame, exception->options.pool, 0, UINT32_MAX) : frame;
    if (given == NULL) {
        count(exception, queue, METRIC_NET_DROP_NO_BUFFER, 1);
        return true;
    }
    to_kernel[(*to_kernel_count)++] = given;
    count(exception, queue, verdict.reason, 1);
    return verdict.ours;
}

static uint16_t receive(void *context, uint16_t queue, struct rte_mbuf **packets,
                        uint16_t count_max)
{
    struct exception *exception = context;
    struct exception_queue *own = &exception->queues[queue];
    struct rte_mbuf *to_kernel[BURST];
    uint16_t kept = 0, to_kernel_count = 0;
    uint16_t received = own->port.receive(own->port.context, own->port.queue, packets,
                                          count_max < BURST ? count_max : BURST);
    for (uint16_t i = 0; i < received; i++) {
        if (share_frame(exception, queue, packets[i], to_kernel, &to_kernel_count)) {
            packets[kept++] = packets[i];
        }
    }
    if (to_kernel_count > 0) {
        uint16_t dropped =
            own->tap.transmit(own->tap.context, own->tap.queue, to_kernel, to_kernel_count);
        count(exception, queue, METRIC_NET_DROP_EXCEPTION_TAP, dropped);
        own->gave = true;
    }
    return kept;
}

/* ---- from the host --------------------------------------------------------------------------- */

static bool exchange(void *context, uint16_t queue)
{
    struct exception *exception = context;
    struct exception_queue *own = &exception->queues[queue];
    struct rte_mbuf *frames[BURST];
    bool moved = own->gave;
    own->gave = false;
    if (own->quiet_passes > 0 && !moved) {
        own->quiet_passes--;
        return false;
    }
    uint16_t frame_count = own->tap.receive(own->tap.context, own->tap.queue, frames, BURST);
    if (frame_count == 0) {
        own->quiet_passes = QUIET_PASSES;
        return moved;
    }
    uint16_t dropped = own->port.transmit(own->port.context, own->port.queue, frames, frame_count);
    count(exception, queue, METRIC_NET_EXCEPTION_FROM_KERNEL, frame_count);
    count(exception, queue, METRIC_NET_DROP_EXCEPTION_PORT, dropped);
    return true;
}

static uint16_t transmit(void *context, uint16_t queue, struct rte_mbuf **packets, uint16_t amount)
{
    const struct exception *exception = context;
    const struct core_link *port = &exception->queues[queue].port;
    return port->transmit(port->context, port->queue, packets, amount);
}

static uint64_t take_missed(void *context, uint16_t queue)
{
    const struct exception *exception = context;
    const struct core_link *port = &exception->queues[queue].port;
    return port->take_missed(port->context, port->queue);
}

static void arm(void *context, uint16_t queue)
{
    const struct exception *exception = context;
    const struct core_link *port = &exception->queues[queue].port;
    port->arm(port->context, port->queue);
}

static bool disarm(void *context, uint16_t queue)
{
    const struct exception *exception = context;
    const struct core_link *port = &exception->queues[queue].port;
    return port->disarm(port->context, port->queue);
}

/* ---- creation and end ------------------------------------------------------------------------ */

void exception_link(struct exception *exception, uint32_t queue, struct core_link *link)
{
    CHECK(queue < exception->options.queue_count);
    const struct exception_queue *own = &exception->queues[queue];
    *link = own->port;
    link->context = exception;
    link->queue = (uint16_t)queue;
    link->receive = receive;
    link->transmit = transmit;
    link->exchange = exchange;
    link->take_missed = own->port.take_missed != NULL ? take_missed : NULL;
    link->arm = own->port.arm != NULL ? arm : NULL;
    link->disarm = own->port.disarm != NULL ? disarm : NULL;
    link->wait_fd = own->wait_fd;
}

/* A port that cannot wake its worker has it look from time to time: the TAP's own descriptor does
 * no harm there. */
static bool join_queue(struct exception_queue *own)
{
    const int fds[2] = {own->port.wait_fd, own->tap.wait_fd};
    bool both = fds[0] >= 0 && fds[1] >= 0;
    own->wait_fd = both ? port_join_descriptors(fds, 2) : -1;
    own->port.wakes = own->port.wakes && both;
    return !both || own->wait_fd >= 0;
}

/* The link's interface and those of its VLANs, in a chain. */
static void describe_interfaces(struct exception *exception)
{
    const struct exception_options *options = &exception->options;
    struct net_interface *first = exception->interfaces;
    uint32_t used = 1;
    *first = options->queues[0].interface;
    net_complete_interface(first);
    for (uint32_t i = 0; i < options->interface_count; i++) {
        struct net_interface *vlan = &exception->interfaces[used];
        if (core_vlan_interface(&options->queues[0], &options->interfaces[i], vlan)) {
            CHECK(++used <= NET_INTERFACES_MAX);
            net_complete_interface(vlan);
            vlan->next_vlan = first->next_vlan;
            first->next_vlan = vlan;
        }
    }
    exception->options.rules.interface = first;
}

static bool create_queues(struct exception *exception)
{
    const struct exception_options *options = &exception->options;
    bool made = true;
    for (uint32_t i = 0; i < options->queue_count; i++) {
        struct exception_queue *own = &exception->queues[i];
        own->port = options->queues[i];
        own->tap = options->taps[i];
        own->wait_fd = -1;
        made = made && join_queue(own);
    }
    return made;
}

struct exception *exception_create(const struct exception_options *options)
{
    struct exception *exception = calloc(1, sizeof(*exception));
    if (exception == NULL) {
        return NULL;
    }
    exception->options = *options;
    describe_interfaces(exception);
    exception->queues = calloc(options->queue_count, sizeof(struct exception_queue));
    if (exception->queues == NULL) {
        free(exception);
        return NULL;
    }
    if (!create_queues(exception)) {
        exception_destroy(exception);
        return NULL;
    }
    return exception;
}

void exception_destroy(struct exception *exception)
{
    if (exception == NULL) {
        return;
    }
    for (uint32_t i = 0; i < exception->options.queue_count; i++) {
        if (exception->queues[i].wait_fd >= 0) {
            close(exception->queues[i].wait_fd);
        }
    }
    free(exception->queues);
    free(exception);
}
