/* The loop: one pass takes everything that has arrived through all layers and sends what came out.
 *
 *   receive      bursts from every port; frames -> IP -> UDP datagrams, TCP bytes; kernel sockets
 *   requests     sessions -> parsers -> batch -> commands -> replies in the streams
 *   send         TCP and sockets send what the windows allow; frames go to the ports
 *   upkeep       timers, messages, the shard's background work, one quiescent state
 *
 * core_pass reads no clock and makes no system call but those of the socket transport; the TSC is
 * read for statistics only (core_stages.h). core_run is the worker's thread around it.
 */
#include "dataplane/core/core_internal.h"

#include <netinet/in.h>
#include <unistd.h>

#include "dataplane/base/check.h"
#include "dataplane/base/rcu.h"
#include "dataplane/capture/capture.h"

/* How long a worker without work goes on looking before it sleeps, and for how long at most. */
#define SPIN_US 50U
/* Where a port cannot wake it, it sleeps a millisecond at least: it looks for as long before. */
#define SPIN_POLLING_US    1000U
#define SLEEP_MS_MAX       100
#define MISSED_INTERVAL_US 1000000U
/* A pass with a request or two takes a microsecond, to look whether there is upkeep half of one. */
#define UPKEEP_INTERVAL_US 10U
/* It asks every cache beside the pool. */
#define POOL_INTERVAL_US  10000U
#define MESSAGES_PER_PASS 32U
/* Asking the kernel about sockets is a system call, as dear as two requests. A worker that has
 * ports asks it this often while no frames come in; while they do, after the least time where it
 * had something to say, and each time twice as long after that where it had not, up to the longest:
 * nobody waits for much longer than he was silent. Without ports, in every pass. */
#define SOCKETS_IDLE_US     1U
#define SOCKETS_BUSY_US_MIN 10U
#define SOCKETS_BUSY_US_MAX 80U
/* With a port that cannot wake it, a worker looks after 1/64 of the time it has been idle for. */
#define SLEEP_MS_POLLING_MAX 10U
#define SLEEP_US_PER_MS_IDLE (1000U * 64U)

/* ---- receive --------------------------------------------------------------------------------- */

/* Fragments came in by their addresses; the connection may be another worker's. */
static uint32_t hand_on_segments(struct core *core, const struct core_link *link, uint32_t count)
{
    if (link->hand_on == NULL) {
        return count;
    }
    uint32_t kept = 0;
    for (uint32_t i = 0; i < count; i++) {
        struct ip_datagram *datagram = &core->datagrams[i];
        if (UNLIKELY(datagram->reassembled) && datagram->protocol == IPPROTO_TCP &&
            link->hand_on(link->context, link->queue, datagram)) {
            continue;
        }
        if (kept != i) {
            core->datagrams[kept] = *datagram;
        }
        kept++;
    }
    return kept;
}

static void take_frames(struct core *core, uint32_t link, uint32_t count)
{
    struct tcp_events events = {.events = core->events, .count_max = CORE_EVENTS_MAX};
    core_enter_stage(core, STAGE_LINK_IP);
    uint32_t datagrams = net_input_batch(core->net, core->interfaces[link], core->frames, count,
                                         &core->now, core->datagrams);
    datagrams = hand_on_segments(core, &core->links[link], datagrams);
    core_enter_stage(core, STAGE_UDP_INPUT);
    uint32_t udp_count =
        udp_input_batch(core->udp, core->datagrams, datagrams, &core->now, core->udp_datagrams);
    core_enter_stage(core, STAGE_TCP_INPUT);
    tcp_input_batch(core->tcp, core->datagrams, datagrams, &core->now, &events);
    core_take_events(core, events.events, events.count);
    core_take_udp(core, core->udp_datagrams, udp_count);
}

static void receive_links(struct core *core)
{
    for (uint32_t i = 0; i < core->options.link_count; i++) {
        const struct core_link *link = &core->links[i];
        core_enter_stage(core, STAGE_RECEIVE);
        if (link->exchange != NULL) {
            core->did_work |= link->exchange(link->context, link->queue);
        }
        uint16_t count = link->receive(link->context, link->queue, core->frames, CORE_RX_BURST);
        if (count > 0) {
            core->did_work = true;
            core->stages.packets += count;
            if (UNLIKELY(capture_is_on(core->options.capture))) {
                capture_frames(core->options.capture, link->port, link->queue, core->frames, count,
                               CAPTURE_RECEIVED);
            }
            take_frames(core, i, count);
        }
    }
}

static bool sockets_are_due(const struct core *core)
{
    uint64_t period_us = core->did_work ? core->sockets_period_us : SOCKETS_IDLE_US;
    return core->options.link_count == 0 || socket_has_pending_input(core->sockets) ||
           core->now.mono_us - core->sockets_asked_us >= period_us;
}

static void pace_sockets(struct core *core, bool had_something)
{
    uint32_t period_us = had_something ? 0 : 2 * core->sockets_period_us;
    period_us = RTE_MAX(period_us, SOCKETS_BUSY_US_MIN);
    core->sockets_period_us = RTE_MIN(period_us, SOCKETS_BUSY_US_MAX);
    core->sockets_asked_us = core->now.mono_us;
}

static void receive_sockets(struct core *core)
{
    if (!sockets_are_due(core)) {
        return;
    }
    struct socket_input input = {
        .events = core->events,
        .event_count_max = CORE_EVENTS_MAX,
        .datagrams = core->socket_datagrams,
        .datagram_count_max = CORE_DATAGRAMS_MAX,
        .accepted = core->accepted,
        .accepted_count_max = CORE_ACCEPTED_MAX,
    };
    core_enter_stage(core, STAGE_SOCKET_INPUT);
    socket_input(core->sockets, &core->now, &input);
    pace_sockets(core, input.event_count + input.datagram_count + input.accepted_count > 0);
    if (input.event_count > 0 || input.datagram_count > 0) {
        core->did_work = true;
        core->stages.packets += input.event_count + input.datagram_count;
        core_take_events(core, input.events, input.event_count);
        core_take_socket_datagrams(core, input.datagrams, input.datagram_count);
    }
    if (input.accepted_count > 0) {
        core->did_work = true;
        core_place_connections(core, core->accepted, input.accepted_count);
    }
}

/* ---- send ------------------------------------------------------------------------------------ */

static void send_sockets(struct core *core)
{
    core_enter_stage(core, STAGE_SOCKET_OUTPUT);
    socket_output(core->sockets, &core->now);
}

static void transmit_interface(struct core *core, const struct core_link *link,
                               struct net_interface *interface)
{
    if (UNLIKELY(capture_is_on(core->options.capture))) {
        capture_frames(core->options.capture, link->port, link->queue, interface->tx,
                       interface->tx_count, CAPTURE_SENT);
    }
    for (uint32_t sent = 0; sent < interface->tx_count; sent += NET_TX_BURST) {
        uint32_t count = interface->tx_count - sent;
        uint16_t dropped = link->transmit(link->context, link->queue, interface->tx + sent,
                                          (uint16_t)(count < NET_TX_BURST ? count : NET_TX_BURST));
        if (dropped > 0) {
            metric_add(core->metrics, METRIC_NET_DROP_PORT_FULL, dropped);
        }
    }
    core->did_work |= interface->tx_count > 0;
    interface->tx_count = 0;
}

static void transmit_links(struct core *core)
{
    core_enter_stage(core, STAGE_TRANSMIT);
    for (uint32_t i = 0; i < core->options.link_count; i++) {
        struct net_interface *interface = core->interfaces[i];
        while (interface != NULL) {
            transmit_interface(core, &core->links[i], interface);
            interface = interface->next_vlan;
        }
    }
}

static void send_tcp(struct core *core)
{
    core_enter_stage(core, STAGE_TCP_OUTPUT);
    while (tcp_output(core->tcp, &core->now)) {
        transmit_links(core);
        core_enter_stage(core, STAGE_TCP_OUTPUT);
    }
}

/* TCP's timers may end connections; the sessions hear of it at once, while the streams live. */
static void run_stack_timers(struct core *core)
{
    struct tcp_events events = {.events = core->events, .count_max = CORE_EVENTS_MAX};
    core_enter_stage(core, STAGE_TIMERS);
    uint64_t due_us = net_run_timers(core->net, &core->now);
    core->next_timer_us = due_us < core->next_timer_us ? due_us : core->next_timer_us;
    tcp_run_timers(core->tcp, &core->now, &events);
    if (events.count > 0) {
        core->did_work = true;
        core_take_events(core, events.events, events.count);
    }
}

/* ---- upkeep ---------------------------------------------------------------------------------- */

static void take_message(struct core *core, const struct message *message)
{
    switch (message->type) {
    case MESSAGE_CONTROL_REPLY: core_take_control_reply(core, message->pointer); break;
    case MESSAGE_CONNECTION:
        core_adopt_connection(core, (int)message->words[0], (uint32_t)message->words[1]);
        break;
    case MESSAGE_RECLAIMED_BATCH:
    case MESSAGE_EVICT_BATCH:
    case MESSAGE_SEGMENT_READY:
    case MESSAGE_MEMORY_READY: shard_take_message(core->shard, message); break;
    case MESSAGE_NONE:
    case MESSAGE_ERRAND: core_take_errand(core, message->pointer); break;
    case MESSAGE_ERRAND_DONE: core_take_errand_home(core, message->pointer); break;
    case MESSAGE_LEASE_RETURNED: core_take_lease_back(core); break;
    case MESSAGE_RECLAIM_BATCH:
    case MESSAGE_CONTROL_REQUEST:
    case MESSAGE_EVICTED_BATCH:
    case MESSAGE_SEGMENT_WANTED:
    case MESSAGE_MEMORY_WANTED: break;
    }
}

/* One group of messages is prefetched, then the group before it is taken. */
static void take_burst(struct core *core, const struct message *messages, uint32_t count)
{
    core_prefetch_errands(messages, count);
    uint32_t ready = core_prefetch_errand_keys(core, messages, 0, count);
    for (uint32_t done = 0; done < count;) {
        uint32_t next =
            ready < count ? core_prefetch_errand_keys(core, messages, ready, count) : ready;
        for (; done < ready; done++) {
            take_message(core, &messages[done]);
        }
        ready = next;
    }
}

static void take_messages(struct core *core, struct channel *channel)
{
    struct message messages[MESSAGES_PER_PASS];
    core_enter_stage(core, STAGE_MESSAGES);
    uint32_t count =
        channel != NULL ? channel_receive_burst(channel, messages, MESSAGES_PER_PASS) : 0;
    if (count > 0) {
        core->did_work = true;
        take_burst(core, messages, count);
    }
}

static void take_peer_messages(struct core *core)
{
    if (core->peers != NULL) {
        for (uint32_t i = 0; i < core->options.worker_count; i++) {
            take_messages(core, core->options.from_peers[i]);
        }
        (void)core_flush_outboxes(core);
    }
}

/* Batches of victims that are done; one that finds the channel full goes in a later pass. */
static void return_evictions(struct core *core)
{
    for (struct eviction_batch *batch;
         (batch = shard_take_finished_eviction(core->shard)) != NULL;) {
        struct message message = {
            .type = MESSAGE_EVICTED_BATCH, .from = core->options.number, .pointer = batch};
        if (!channel_send(core->options.to_control, &message)) {
            shard_keep_finished_eviction(core->shard, batch);
            return;
        }
    }
}

/* Nothing of it while the shard is lent: the messages wait, and so does what they bring. */
static void maintain_shard(struct core *core)
{
    if (core_shard_is_lent(core)) {
        return;
    }
    take_messages(core, core->options.from_reclaimer);
    core_enter_stage(core, STAGE_UPKEEP);
    core->upkeep_goes_on = shard_maintain(core->shard, &core->now);
    core->did_work |= core->upkeep_goes_on;
    return_evictions(core);
    core_run_waiting_errands(core);
}

/* Some ports answer with a system call. */
static void count_missed(struct core *core)
{
    if (core->now.mono_us - core->missed_asked_us < MISSED_INTERVAL_US) {
        return;
    }
    core->missed_asked_us = core->now.mono_us;
    for (uint32_t i = 0; i < core->options.link_count; i++) {
        const struct core_link *link = &core->links[i];
        if (link->take_missed != NULL) {
            metric_add(core->metrics, METRIC_NET_DROP_PORT_MISSED,
                       link->take_missed(link->context, link->queue));
        }
    }
}

/* One pool serves all workers; the first looks at it. */
static void note_packet_pool(struct core *core)
{
    const struct rte_mempool *pool = core->options.pool;
    if (core->options.number != 0 || pool == NULL ||
        core->now.mono_us - core->pool_checked_us < POOL_INTERVAL_US) {
        return;
    }
    core->pool_checked_us = core->now.mono_us;
    uint64_t free = rte_mempool_avail_count(pool);
    uint64_t lowest = metric_read(core->metrics, METRIC_NET_PACKET_POOL_SIZE) == 0
                          ? free
                          : metric_read(core->metrics, METRIC_NET_PACKET_POOL_FREE_MIN);
    metric_set(core->metrics, METRIC_NET_PACKET_POOL_SIZE, pool->size);
    metric_set(core->metrics, METRIC_NET_PACKET_POOL_FREE, free);
    metric_set(core->metrics, METRIC_NET_PACKET_POOL_FREE_MIN, free < lowest ? free : lowest);
}

static bool upkeep_is_due(const struct core *core)
{
    return core->upkeep_goes_on || core->now.mono_us - core->upkeep_us >= UPKEEP_INTERVAL_US;
}

static void maintain(struct core *core)
{
    core_enter_stage(core, STAGE_UPKEEP);
    if (upkeep_is_due(core)) {
        core->upkeep_us = core->now.mono_us;
        count_missed(core);
        core_note_links(core);
        note_packet_pool(core);
        core_close_idle(core);
        core_end_owing(core);
        core_limit_memory(core);
        core_limit_outputs(core);
        maintain_shard(core);
    }
    core->did_work |= core_flush_events(core);
    rcu_quiescent();
}

/* The clock of a policy ticks slower than this is done. */
static void instruct_shard(struct core *core)
{
    struct eviction_policy policy;
    eviction_policy_set(&policy, core->config, &core->now);
    shard_set_policy(core->shard, &policy);
    core_keep_evicted(core);
    shard_set_maxmemory(core->shard,
                        (uint64_t)core->config->maxmemory / core->options.worker_count);
}

static void begin_pass(struct core *core, const struct instant *now)
{
    core_stages_begin(&core->stages, core->metrics);
    core->now = *now;
    const struct config *before = core->config;
    core->config = RCU_READ(core->options.config_slot);
    core->context->config = core->config;
    core->context->now = *now;
    core_note_observers(core);
    core->did_work = false;
    core->next_timer_us = UINT64_MAX;
    if ((core->config != before || upkeep_is_due(core)) && !core_shard_is_lent(core)) {
        instruct_shard(core);
    }
}

static void end_pass(struct core *core)
{
    metric_add(core->metrics, METRIC_LOOP_PASSES, 1);
    metric_add(core->metrics, METRIC_LOOP_PASSES_BUSY, core->did_work ? 1 : 0);
    core_stages_end(&core->stages, core->metrics, core->did_work);
}

bool core_pass(struct core *core, const struct instant *now)
{
    begin_pass(core, now);

    receive_links(core);
    receive_sockets(core);
    take_messages(core, core->options.from_control);
    take_peer_messages(core);
    core_run_deferred(core);
    core_run_batch(core);
    core_settle(core);

    if (core->tcp != NULL) {
        send_tcp(core);
        run_stack_timers(core);
        core_run_batch(core);
        core_settle(core);
        send_tcp(core);
        tcp_release(core->tcp);
    }
    send_sockets(core);
    transmit_links(core);

    maintain(core);
    core->did_work |= !core_flush_outboxes(core);
    end_pass(core);
    return core->did_work || (!core_shard_is_lent(core) && shard_is_waiting(core->shard));
}

uint64_t core_next_timer(const struct core *core)
{
    uint64_t due_us =
        core->tcp != NULL ? tcp_next_timer(core->tcp, &core->now) : core->next_timer_us;
    return due_us < core->next_timer_us ? due_us : core->next_timer_us;
}

void core_close_all(struct core *core, const struct instant *now)
{
    core_forget_all(core);
    socket_transport_close_all(core->sockets);
    for (bool all = core->tcp == NULL; !all;) {
        all = tcp_abort_all(core->tcp, now);
        transmit_links(core);
    }
}

/* ---- the worker's thread --------------------------------------------------------------------- */

static bool stopping(const struct core *core)
{
    return __atomic_load_n(&core->stop_requested, __ATOMIC_ACQUIRE);
}

static bool must_poll(const struct core *core)
{
    for (uint32_t i = 0; i < core->options.link_count; i++) {
        if (!core->links[i].wakes) {
            return true;
        }
    }
    return false;
}

static int polling_ms(const struct core *core)
{
    uint64_t ms = 1 + (core->now.mono_us - core->idle_since_us) / SLEEP_US_PER_MS_IDLE;
    return (int)(ms < SLEEP_MS_POLLING_MAX ? ms : SLEEP_MS_POLLING_MAX);
}

static int sleep_ms(const struct core *core)
{
    int longest = must_poll(core) ? polling_ms(core) : SLEEP_MS_MAX;
    uint64_t due_us = core_next_timer(core);
    if (due_us == UINT64_MAX) {
        return longest;
    }
    if (due_us <= core->now.mono_us) {
        return 0;
    }
    uint64_t until_ms = (due_us - core->now.mono_us + 999U) / 1000U;
    return until_ms < (uint64_t)longest ? (int)until_ms : longest;
}

/* True: some were armed just now. What came before that is there for one more pass. */
static bool arm_links(struct core *core)
{
    if (core->armed) {
        return false;
    }
    for (uint32_t i = 0; i < core->options.link_count; i++) {
        const struct core_link *link = &core->links[i];
        if (link->arm != NULL) {
            link->arm(link->context, link->queue);
            core->armed = true;
        }
    }
    return core->armed;
}

/* What has woken us once is trusted from then on. */
static void disarm_links(struct core *core)
{
    for (uint32_t i = 0; i < core->options.link_count && core->armed; i++) {
        struct core_link *link = &core->links[i];
        if (link->disarm != NULL && link->disarm(link->context, link->queue)) {
            link->wakes = true;
        }
    }
    core->armed = false;
}

/* The descriptors are level-triggered: what arrived since the last look ends the wait at once. */
static void sleep_until_work(struct core *core)
{
    int timeout_ms = sleep_ms(core);
    if (timeout_ms == 0 || !core_peers_may_sleep(core)) {
        return;
    }
    uint64_t began = rte_rdtsc();
    metric_add(core->metrics, METRIC_LOOP_SLEEPS, 1);
    rcu_thread_offline();
    socket_wait(core->sockets, timeout_ms);
    rcu_thread_online();
    core_peers_awake(core);
    uint64_t wakes;
    ssize_t got = read(core->wake_fd, &wakes, sizeof(wakes));
    (void)got; /* empty: something else woke us */
    core_stages_slept(&core->stages, core->metrics, began);
}

/* core->config is that of the last pass, which ended with a quiescent state: gone, perhaps. */
static bool may_sleep(struct core *core, const struct instant *now, bool did_work)
{
    if (did_work) {
        core->idle_since_us = now->mono_us;
        return false;
    }
    const struct config *config = RCU_READ(core->options.config_slot);
    uint64_t spin_us = must_poll(core) ? SPIN_POLLING_US : SPIN_US;
    return config->poll_mode == POLL_ADAPTIVE && now->mono_us - core->idle_since_us >= spin_us;
}

void core_run(struct core *core)
{
    struct instant now;
    while (!stopping(core)) {
        clock_read(&now);
        bool did_work = core_pass(core, &now);
        if (!may_sleep(core, &now, did_work)) {
            disarm_links(core);
        } else if (!arm_links(core)) {
            sleep_until_work(core);
            disarm_links(core);
        }
    }
    clock_read(&now);
    core_close_all(core, &now);
    rcu_quiescent();
}
