/* INFO workers: what each worker has to do, to see whether they share the load. Read while they
 * run: figures of one line may be a little apart. Since the start: CONFIG RESETSTAT keeps sums
 * only. */
#include "dataplane/l7_command/info_internal.h"

static void print_worker(struct text *text, uint32_t number, const struct metrics *metrics)
{
    uint64_t total = metric_read(metrics, METRIC_LOOP_CYCLES);
    uint64_t busy = metric_read(metrics, METRIC_LOOP_BUSY_CYCLES);
    text_print(
        text,
        "worker%" PRIu32 ":connections=%" PRIu64 ",connections_received=%" PRIu64
        ",commands=%" PRIu64 ",rx_packets=%" PRIu64 ",tx_packets=%" PRIu64 ",handed_on=%" PRIu64
        ",datagrams=%" PRIu64 ",sleeps=%" PRIu64 ",busy_ratio=%.4f\r\n",
        number, metric_read(metrics, METRIC_CONNECTIONS_CURRENT),
        metric_read(metrics, METRIC_CONNECTIONS_RECEIVED),
        metric_read(metrics, METRIC_COMMANDS_PROCESSED),
        metric_read(metrics, METRIC_NET_RX_PACKETS), metric_read(metrics, METRIC_NET_TX_PACKETS),
        metric_read(metrics, METRIC_NET_FRAMES_HANDED_ON),
        metric_read(metrics, METRIC_NET_UDP_DATAGRAMS_RECEIVED),
        metric_read(metrics, METRIC_LOOP_SLEEPS), total == 0 ? 0.0 : (double)busy / (double)total);
}

void info_print_workers(struct text *text, const struct call *call)
{
    const struct command_context *context = call->context;
    if (context->all_metrics == NULL) {
        print_worker(text, context->worker, context->metrics);
        return;
    }
    for (uint32_t i = 0; i < context->worker_count; i++) {
        print_worker(text, i, context->all_metrics[i]);
    }
}
