/* A core over its own TCP, with a peer across a simulated link without losses: what kernel sockets
 * cannot show. Slow readers by the window, protected mode, stopping with thousands of connections.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "dataplane/base/check.h"
#include "dataplane/base/rcu.h"
#include "dataplane/core/core_internal.h"
#include "tests/support/simulated_host.h"
#include "tests/support/simulated_network.h"
#include "tests/support/simulated_server.h"

enum { SERVER = 1, CLIENT = 2, BUFFERS = 16383 };

struct peer {
    struct stream *stream;
    bool opened, finished, closed;
    bool holds; /* reads nothing: its window closes */
    size_t received;
    /* Of replies with a value of one letter each: */
    size_t value_bytes;
    char letter;
    uint64_t mixed; /* bytes that are not their reply's letter */
    char first[64]; /* the first bytes of what was received */
};

struct stack_bench {
    uint64_t now_us, resets;
    struct simulated_network *network;
    struct rte_mempool *pool;
    struct simulated_host host;
    struct simulated_server server;
};

/* ---- both sides ------------------------------------------------------------------------------ */

static uint16_t link_receive(void *context, uint16_t queue, struct rte_mbuf **packets,
                             uint16_t count_max)
{
    struct stack_bench *b = context;
    return (uint16_t)simulated_network_receive(b->network, 0, packets, count_max, b->now_us);
}

static uint16_t link_transmit(void *context, uint16_t queue, struct rte_mbuf **packets,
                              uint16_t count)
{
    enum { ETHERNET_AND_IPV4 = 14 + 20, FLAGS = 13, RST = 4 };
    struct stack_bench *b = context;
    for (uint16_t i = 0; i < count; i++) {
        const uint8_t *frame = rte_pktmbuf_mtod(packets[i], const uint8_t *);
        b->resets += packets[i]->data_len >= 54 && (frame[ETHERNET_AND_IPV4 + FLAGS] & RST) != 0;
    }
    simulated_network_send(b->network, 0, packets, count, b->now_us);
    return 0;
}

#define VALUE_HEAD_BYTES (sizeof("$200000\r\n") - 1)

static void check_letters(struct peer *peer, struct slice data)
{
    for (size_t i = 0; i < data.size; i++) {
        size_t at = (peer->received + i) % (VALUE_HEAD_BYTES + peer->value_bytes + 2);
        if (at == VALUE_HEAD_BYTES) {
            peer->letter = (char)data.data[i];
        }
        bool in_value = at >= VALUE_HEAD_BYTES && at < VALUE_HEAD_BYTES + peer->value_bytes;
        peer->mixed += in_value && (char)data.data[i] != peer->letter;
    }
}

static void take_data(struct peer *peer, struct slice data)
{
    if (peer->value_bytes > 0) {
        check_letters(peer, data);
    }
    if (peer->received < sizeof(peer->first)) {
        size_t room = sizeof(peer->first) - peer->received;
        memcpy(peer->first + peer->received, data.data, data.size < room ? data.size : room);
    }
    peer->received += data.size;
    if (peer->holds) {
        peer->stream->unread_bytes += data.size;
        stream_mark_dirty(peer->stream);
    }
}

static void on_events(struct simulated_host *host, const struct stream_event *events,
                      uint32_t count, const struct instant *now)
{
    for (uint32_t i = 0; i < count; i++) {
        struct peer *peer = events[i].stream->session;
        switch (events[i].type) {
        case STREAM_OPENED: peer->opened = true; break;
        case STREAM_DATA: take_data(peer, events[i].data); break;
        case STREAM_FINISHED: peer->finished = true; break;
        case STREAM_DRAINED: break;
        case STREAM_CLOSED:
            peer->closed = true;
            peer->stream = NULL;
            break;
        }
    }
}

static void create_server(struct stack_bench *b)
{
    struct instant now = simulated_instant(b->now_us);
    simulated_server_init(&b->server);
    struct core_link link = simulated_server_link(SERVER, b);
    link.receive = link_receive;
    link.transmit = link_transmit;
    link.interface.tx_external_bytes = UINT16_MAX;
    struct core_options options = {
        .links = &link, .link_count = 1, .pool = b->pool, .seed = 3, .now = &now};
    simulated_server_start(&b->server, &options);
}

static struct stack_bench *stack_create_over(const struct simulated_link *link)
{
    struct stack_bench *b = calloc(1, sizeof(*b));
    CHECK(b != NULL);
    b->now_us = 1000000;
    struct instant now = simulated_instant(b->now_us);
    struct rte_ether_addr server = simulated_host_mac(SERVER), client = simulated_host_mac(CLIENT);
    b->pool = simulated_pool_create("stack", BUFFERS, 2048 + RTE_PKTMBUF_HEADROOM);
    b->network = simulated_network_create(3);
    CHECK(simulated_network_add_station(b->network, &server, link) == 0);
    CHECK(simulated_network_add_station(b->network, &client, link) == 1);
    create_server(b);
    simulated_host_init(&b->host, CLIENT, 1500, b->pool, NULL, &now);
    b->host.on_events = on_events;
    return b;
}

static struct stack_bench *stack_create(void)
{
    struct simulated_link link = {.delay_us = 50};
    return stack_create_over(&link);
}

/* Nobody is left on the server's side, no buffer is lost. */
static void stack_destroy(struct stack_bench *b)
{
    struct instant now = simulated_instant(b->now_us);
    core_close_all(b->server.core, &now);
    assert_int_equal(b->server.core->bytes.used_count, 0);
    simulated_server_deinit(&b->server, &now);
    simulated_host_deinit(&b->host);
    simulated_network_destroy(b->network);
    assert_int_equal(rte_mempool_avail_count(b->pool), BUFFERS);
    rte_mempool_free(b->pool);
    free(b);
}

static void run_for(struct stack_bench *b, uint64_t us)
{
    struct rte_mbuf *frames[SIMULATED_BURST];
    for (uint64_t end = b->now_us + us; b->now_us < end; b->now_us += 20) {
        struct instant now = simulated_instant(b->now_us);
        core_pass(b->server.core, &now);
        uint32_t count =
            simulated_network_receive(b->network, 1, frames, SIMULATED_BURST, b->now_us);
        simulated_host_pass(&b->host, frames, count, &now);
        simulated_network_collect(b->network, 1, b->host.interface, b->now_us);
    }
}

static void peer_connect(struct stack_bench *b, struct peer *peer)
{
    struct endpoint server = {simulated_host_address(SERVER), 6379};
    struct instant now = simulated_instant(b->now_us);
    *peer = (struct peer){.stream = tcp_connect(b->host.tcp, &server, &now)};
    assert_non_null(peer->stream);
    peer->stream->session = peer;
}

static void peer_send(struct stack_bench *b, struct peer *peer, const char *text)
{
    byte_queue_append(&peer->stream->out, &b->host.bytes, text, strlen(text));
    stream_mark_dirty(peer->stream);
}

static void peer_reads_again(struct peer *peer)
{
    peer->holds = false;
    peer->stream->unread_bytes = 0;
    stream_mark_dirty(peer->stream);
}

/* ---- tests -------------------------------------------------------------------------------------
 */

/* 12 MB of replies for somebody who reads nothing: they are not queued, and none is lost. */
static void closed_windows_hold_requests_back(void **state)
{
    enum { VALUE = 60000, GETS = 200 };
    struct stack_bench *b = stack_create();
    struct peer peer;
    char *value = malloc(VALUE + 1);
    CHECK(value != NULL);
    memset(value, 'v', VALUE);
    value[VALUE] = '\0';
    peer_connect(b, &peer);
    peer_send(b, &peer, "*3\r\n$3\r\nSET\r\n$1\r\na\r\n$60000\r\n");
    peer_send(b, &peer, value);
    peer_send(b, &peer, "\r\n");
    free(value);
    run_for(b, 50000);
    assert_int_equal(peer.received, 5);

    peer.holds = true;
    for (int i = 0; i < GETS; i++) {
        peer_send(b, &peer, "GET a\r\n");
    }
    peer_send(b, &peer, "PIN"); /* a request that is still arriving when the rest waits */
    run_for(b, 200000);
    const struct client *client = b->server.core->clients.first;
    assert_true(client->output_buffer_bytes > CORE_OUTPUT_PAUSE_BYTES / 2);
    assert_true(client->output_buffer_bytes < CORE_OUTPUT_PAUSE_BYTES + 2 * VALUE);
    assert_true(client->query_buffer_bytes > 0);
    peer_send(b, &peer, "G\r\n");
    run_for(b, 200000);
    peer_reads_again(&peer);
    run_for(b, 20000000);
    assert_int_equal(peer.received, 5 + GETS * (sizeof("$60000\r\n") - 1 + VALUE + 2) + 7);
    core_note_sizes(b->server.core);
    assert_int_equal(client->output_buffer_bytes, 0);
    stack_destroy(b);
}

static void strangers_are_told_of_protected_mode(void **state)
{
    struct stack_bench *b = stack_create();
    struct peer peer;
    b->server.config->protected_mode = true;
    peer_connect(b, &peer);
    run_for(b, 50000);
    assert_true(peer.opened && peer.finished);
    assert_memory_equal(peer.first, "-DENIED nicached is running in protected mode", 45);
    run_for(b, 50000);
    assert_int_equal(b->server.core->clients.count, 0);
    stack_destroy(b);
}

static void reset_in_the_middle_of_a_value(void **state)
{
    struct stack_bench *b = stack_create();
    struct peer peer;
    peer_connect(b, &peer);
    peer_send(b, &peer, "*5\r\n$4\r\nMSET\r\n$1\r\na\r\n$1\r\nb\r\n$1\r\nc\r\n$50000\r\nxxx");
    run_for(b, 50000);
    struct shard_memory memory;
    shard_read_memory(b->server.shard, &memory);
    assert_true(memory.item_bytes >= 50000);
    peer.stream->abort_requested = true;
    stream_mark_dirty(peer.stream);
    run_for(b, 50000);
    shard_read_memory(b->server.shard, &memory);
    assert_int_equal(memory.item_bytes, 0);
    assert_int_equal(b->server.core->clients.count, 0);
    stack_destroy(b);
}

/* Every packet buffer is held by somebody else for a while, but for those that requests come in:
 * what cannot be sent is counted, and a second after they are back every connection goes on. */
static void dry_pool_is_survived(void **state)
{
    enum { PEERS = 8, REPLY = 2000 };
    static struct peer peers[PEERS];
    static struct rte_mbuf *held[BUFFERS];
    static char value[REPLY + 1];
    struct stack_bench *b = stack_create();
    uint32_t held_count = 0;
    memset(value, 'v', REPLY);
    for (int i = 0; i < PEERS; i++) {
        peer_connect(b, &peers[i]);
    }
    peer_send(b, &peers[0], "*3\r\n$3\r\nSET\r\n$1\r\na\r\n$2000\r\n");
    peer_send(b, &peers[0], value);
    peer_send(b, &peers[0], "\r\n");
    run_for(b, 1500000);
    size_t before = peers[0].received;
    for (int i = 0; i < PEERS; i++) {
        peer_send(b, &peers[i], "GET a\r\nPING\r\n");
    }
    struct instant now = simulated_instant(b->now_us);
    simulated_host_pass(&b->host, NULL, 0, &now); /* the requests are on the way */
    simulated_network_collect(b->network, 1, b->host.interface, b->now_us);
    while ((held[held_count] = rte_pktmbuf_alloc(b->pool)) != NULL) {
        held_count++;
    }
    run_for(b, 300000);
    assert_true(metric_read(&b->server.metrics, METRIC_TCP_DROP_NO_BUFFER) > 0);
    rte_pktmbuf_free_bulk(held, held_count);
    run_for(b, 1000000);
    for (int i = 0; i < PEERS; i++) {
        size_t reply = sizeof("$2000\r\n") - 1 + REPLY + 2 + sizeof("+PONG\r\n") - 1;
        assert_int_equal(peers[i].received, (i == 0 ? before : 0) + reply);
        assert_false(peers[i].closed);
    }
    stack_destroy(b);
}

static void connect_all(struct stack_bench *b, struct peer *peers, int count)
{
    for (int i = 0; i < count; i++) {
        peer_connect(b, &peers[i]);
        run_for(b, 40);
    }
    run_for(b, 1500000); /* a SYN that met an unresolved address is repeated after a second */
}

/* More resets than the transmit array holds frames. */
static void stopping_resets_every_connection(void **state)
{
    enum { PEERS = 3000 };
    static struct peer peers[PEERS];
    struct stack_bench *b = stack_create();
    connect_all(b, peers, PEERS);
    assert_int_equal(b->server.core->clients.count, PEERS);
    struct instant now = simulated_instant(b->now_us);
    b->resets = 0;
    core_close_all(b->server.core, &now);
    assert_int_equal(b->resets, PEERS);
    assert_int_equal(b->server.core->clients.count, 0);
    stack_destroy(b);
}

static bool always_busy(void *context, uint16_t queue)
{
    return true;
}

/* While frames come in all the time the kernel is asked less often, but it is asked. */
static void sockets_are_served_beside_busy_ports(void **state)
{
    enum { ASKED_US = 10 };
    struct stack_bench *b = stack_create();
    struct core *core = b->server.core;
    struct endpoint loopback = {.address = address_from_ipv4(0x7f000001)};
    core->links[0].exchange = always_busy;
    assert_int_equal(socket_listen(core->sockets, &loopback, LISTENER_RESP), 0);
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons(loopback.port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
    assert_int_equal(send(fd, "PING\r\n", 6, 0), 6);

    char reply[8] = "";
    uint64_t asked_us = 0, asked = 0, passes = 0;
    while (recv(fd, reply, 7, MSG_DONTWAIT) < 0) {
        struct instant now = simulated_instant(b->now_us++);
        assert_true(core_pass(core, &now));
        asked += core->sockets_asked_us != asked_us;
        asked_us = core->sockets_asked_us;
        assert_true(b->now_us - asked_us <= ASKED_US);
        assert_true(++passes < 20 * ASKED_US);
    }
    assert_string_equal(reply, "+PONG\r\n");
    assert_true(asked <= 1 + (passes + ASKED_US - 1) / ASKED_US);
    core->links[0].exchange = NULL;
    close(fd);
    run_for(b, 1000);
    assert_int_equal(core->clients.count, 0);
    stack_destroy(b);
}

/* Where the kernel has nothing to say it is asked less and less often, down to a bound. */
static void silent_sockets_are_asked_seldom(void **state)
{
    enum { ASKED_US_MAX = 80, ASKS = 20 };
    struct stack_bench *b = stack_create();
    struct core *core = b->server.core;
    core->links[0].exchange = always_busy;
    uint64_t gap_us = 0;
    for (int asks = 0; asks < ASKS;) {
        uint64_t asked_us = core->sockets_asked_us;
        struct instant now = simulated_instant(b->now_us++);
        assert_true(core_pass(core, &now));
        if (core->sockets_asked_us != asked_us) {
            assert_true(asks++ < 2 || core->sockets_asked_us - asked_us >= gap_us);
            gap_us = core->sockets_asked_us - asked_us;
        }
        assert_true(asks == 0 || now.mono_us - core->sockets_asked_us < ASKED_US_MAX);
    }
    assert_int_equal(gap_us, ASKED_US_MAX);
    core->links[0].exchange = NULL;
    stack_destroy(b);
}

/* After requests that came in pieces and replies that were acknowledged, a connection holds its
 * records and nothing else: less than 1 KiB, with its place in the table. */
static void idle_connections_hold_their_records_only(void **state)
{
    enum { PEERS = 5000, TABLE_BYTES = 22, HEAP_BYTES = 16, BYTES_MAX = 1024 };
    static struct peer peers[PEERS];
    struct stack_bench *b = stack_create();
    connect_all(b, peers, PEERS);
    for (int i = 0; i < PEERS; i++) {
        peer_send(b, &peers[i], "*2\r\n$3\r\nGET\r\n$1");
        run_for(b, 40);
    }
    run_for(b, 1500000);
    assert_non_null(conversation_of_client(b->server.core->clients.first)->parser);
    for (int i = 0; i < PEERS; i++) {
        peer_send(b, &peers[i], "\r\nk\r\n");
        run_for(b, 40);
    }
    run_for(b, 3000000);
    const struct core *core = b->server.core;
    assert_int_equal(core->clients.count, PEERS);
    for (struct client *client = core->clients.first; client != NULL; client = client->next) {
        const struct conversation *conversation = conversation_of_client(client);
        assert_null(conversation->parser);
        assert_int_equal(conversation->session.buffer_capacity, 0);
    }
    for (int i = 0; i < PEERS; i++) {
        assert_memory_equal(peers[i].first, "$-1\r\n", 5);
    }
    uint64_t bytes = metric_read(core->metrics, METRIC_CONNECTION_BYTES);
    assert_int_equal(core->bytes.used_count, 0);
    assert_in_range(bytes / PEERS + TABLE_BYTES + HEAP_BYTES, 1, BYTES_MAX);
    for (int i = 0; i < PEERS; i++) {
        peers[i].stream->abort_requested = true;
        stream_mark_dirty(peers[i].stream);
        run_for(b, 40);
    }
    run_for(b, 50000);
    assert_int_equal(core->clients.count, 0);
    assert_int_equal(metric_read(core->metrics, METRIC_CONNECTION_BYTES), 0);
    stack_destroy(b);
}

/* What is behind the lines that are fetched for a request is nonsense meanwhile. */
static void requests_stay_in_their_lines(void **state)
{
    enum { REQUESTS = 10, COLD_BYTES = sizeof(struct conversation) - CONVERSATION_HOT_BYTES };
    struct stack_bench *b = stack_create();
    struct peer peer;
    uint8_t before[COLD_BYTES], nonsense[COLD_BYTES];
    peer_connect(b, &peer);
    run_for(b, 1000);
    struct client *client = b->server.core->clients.first;
    uint8_t *cold = (uint8_t *)conversation_of_client(client) + CONVERSATION_HOT_BYTES;
    memcpy(before, cold, COLD_BYTES);
    memset(nonsense, 0x5a, COLD_BYTES);
    memcpy(cold, nonsense, COLD_BYTES);
    for (int i = 0; i < REQUESTS; i++) {
        peer_send(b, &peer, "*2\r\n$3\r\nGET\r\n$1\r\nk\r\n");
        run_for(b, 1000);
    }
    assert_int_equal(peer.received, REQUESTS * (sizeof("$-1\r\n") - 1));
    assert_memory_equal(cold, nonsense, COLD_BYTES);
    memcpy(cold, before, COLD_BYTES);
    stack_destroy(b);
}

/* Pipelines of several segments each, cut anywhere, that arrive in one burst: each connection's
 * requests run in their order, whatever is between its segments. */
static void segments_of_one_burst_keep_their_order(void **state)
{
    enum { PEERS = 3, REQUESTS = 300, REPLY_BYTES = 9 * 4 + 90 * 5 + 201 * 6 };
    struct stack_bench *b = stack_create();
    struct peer peers[PEERS];
    connect_all(b, peers, PEERS);
    for (int i = 0; i < PEERS; i++) {
        for (int j = 0; j < REQUESTS; j++) {
            char request[64];
            snprintf(request, sizeof(request), "*2\r\n$4\r\nINCR\r\n$2\r\nk%d\r\n", i);
            peer_send(b, &peers[i], request);
        }
    }
    run_for(b, 100000);
    for (int i = 0; i < PEERS; i++) {
        static const char expected[] =
            ":1\r\n:2\r\n:3\r\n:4\r\n:5\r\n:6\r\n:7\r\n:8\r\n:9\r\n:10\r\n";
        assert_int_equal(peers[i].received, REPLY_BYTES);
        assert_memory_equal(peers[i].first, expected, sizeof(expected) - 1);
        peers[i].received = 0;
        char request[64];
        snprintf(request, sizeof(request), "*2\r\n$3\r\nGET\r\n$2\r\nk%d\r\n", i);
        peer_send(b, &peers[i], request);
    }
    run_for(b, 100000);
    for (int i = 0; i < PEERS; i++) {
        assert_memory_equal(peers[i].first, "$3\r\n300\r\n", 9);
    }
    stack_destroy(b);
}

static void send_value(struct stack_bench *b, struct peer *peer, char letter, size_t size)
{
    char *value = malloc(size + 1);
    CHECK(value != NULL);
    memset(value, letter, size);
    value[size] = '\0';
    peer_send(b, peer, "*3\r\n$3\r\nSET\r\n$1\r\na\r\n$200000\r\n");
    peer_send(b, peer, value);
    peer_send(b, peer, "\r\n");
    free(value);
}

static uint64_t blob_bytes(const struct stack_bench *b)
{
    struct shard_memory memory;
    shard_read_memory(b->server.shard, &memory);
    return memory.blob_bytes;
}

/* R53: replies of large values wait for slow readers across a bad link, sent from where the value
 * lies, while it is overwritten and deleted. */
static void overwritten_values_stay_whole_in_replies(void **state)
{
    enum { VALUE = 200000, READERS = 4, VERSIONS = 12 };
    struct simulated_link link = {
        .delay_us = 50, .loss = 20000, .reorder = 50000, .reorder_delay_us = 500};
    struct stack_bench *b = stack_create_over(&link);
    struct peer writer, readers[READERS];
    peer_connect(b, &writer);
    for (int i = 0; i < READERS; i++) {
        peer_connect(b, &readers[i]);
        readers[i].value_bytes = VALUE;
    }
    run_for(b, 2500000);
    uint64_t expected = 0;
    for (int version = 0; version < VERSIONS; version++) {
        send_value(b, &writer, (char)('A' + version), VALUE);
        run_for(b, 700000);
        for (int i = 0; i < READERS; i++) {
            struct peer *reader = &readers[i];
            reader->holds = (version + i) % 3 != 0;
            if (!reader->holds) {
                peer_reads_again(reader);
            }
            peer_send(b, reader, "GET a\r\n");
        }
        expected++;
        run_for(b, 10000);
    }
    peer_send(b, &writer, "DEL a\r\n");
    run_for(b, 1000000);
    assert_int_equal(writer.received, VERSIONS * 5 + 4);
    assert_true(blob_bytes(b) > 0); /* those whose readers are slow */
    for (int i = 0; i < READERS; i++) {
        peer_reads_again(&readers[i]);
    }
    const size_t wanted = expected * (VALUE_HEAD_BYTES + VALUE + 2);
    for (int i = 0; i < READERS; i++) {
        for (int second = 0; second < 60 && readers[i].received < wanted; second++) {
            run_for(b, 1000000);
        }
    }
    run_for(b, 100000); /* the last ACKs */
    for (int i = 0; i < READERS; i++) {
        assert_int_equal(readers[i].received, wanted);
        assert_int_equal(readers[i].mixed, 0);
    }
    assert_int_equal(blob_bytes(b), 0);
    assert_true(metric_read(b->server.core->metrics, METRIC_TCP_SEGMENTS_EXTERNAL) > 1000);
    assert_true(metric_read(b->server.core->metrics, METRIC_TCP_RETRANSMITS) > 0);
    stack_destroy(b);
}

/* ---- sleeping ---------------------------------------------------------------------------------
 */

/* A port without packets, whose interrupts have to be armed. */
struct quiet_port {
    struct core *core;
    int fd;
    uint32_t looks; /* since it was armed */
    uint32_t sleeps, sleeps_max, interrupt_at;
    bool looked_each_time;
};

static uint16_t quiet_receive(void *context, uint16_t queue, struct rte_mbuf **packets,
                              uint16_t count_max)
{
    ((struct quiet_port *)context)->looks++;
    return 0;
}

static uint16_t quiet_transmit(void *context, uint16_t queue, struct rte_mbuf **packets,
                               uint16_t count)
{
    rte_pktmbuf_free_bulk(packets, count);
    return 0;
}

static void quiet_arm(void *context, uint16_t queue)
{
    static const uint64_t one = 1;
    struct quiet_port *port = context;
    port->looks = 0;
    if (port->sleeps == port->interrupt_at) {
        assert_int_equal(write(port->fd, &one, sizeof(one)), sizeof(one));
    }
}

static bool quiet_disarm(void *context, uint16_t queue)
{
    uint64_t count;
    struct quiet_port *port = context;
    port->looked_each_time = port->looked_each_time && port->looks > 0;
    if (++port->sleeps >= port->sleeps_max) {
        core_request_stop(port->core);
    }
    return read(port->fd, &count, sizeof(count)) == sizeof(count);
}

static void run_until_stopped(struct quiet_port *port)
{
    struct simulated_server server;
    struct instant now;
    clock_read(&now);
    simulated_server_init(&server);
    port->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    port->looked_each_time = true;
    struct core_link link = simulated_server_link(SERVER, port);
    link.receive = quiet_receive;
    link.transmit = quiet_transmit;
    link.arm = quiet_arm;
    link.disarm = quiet_disarm;
    link.wait_fd = port->fd;
    struct core_options options = {.links = &link,
                                   .link_count = 1,
                                   .pool = simulated_pool_create("quiet", 511, 2176),
                                   .seed = 3,
                                   .now = &now};
    simulated_server_start(&server, &options);
    port->core = server.core;
    core_run(server.core);
    assert_int_equal(port->sleeps, port->sleeps_max);
    assert_true(port->looked_each_time);
    assert_int_equal(server.core->links[0].wakes, port->interrupt_at < port->sleeps_max);
    simulated_server_deinit(&server, &now);
    rte_mempool_free(options.pool);
    close(port->fd);
}

/* What came before the port was armed must not sleep through it; what woke us once is trusted. */
static void armed_ports_are_looked_at_before_each_sleep(void **state)
{
    run_until_stopped(&(struct quiet_port){.sleeps_max = 6, .interrupt_at = 3});
    run_until_stopped(&(struct quiet_port){.sleeps_max = 6, .interrupt_at = UINT32_MAX});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(closed_windows_hold_requests_back),
        cmocka_unit_test(strangers_are_told_of_protected_mode),
        cmocka_unit_test(reset_in_the_middle_of_a_value),
        cmocka_unit_test(dry_pool_is_survived),
        cmocka_unit_test(stopping_resets_every_connection),
        cmocka_unit_test(sockets_are_served_beside_busy_ports),
        cmocka_unit_test(silent_sockets_are_asked_seldom),
        cmocka_unit_test(idle_connections_hold_their_records_only),
        cmocka_unit_test(requests_stay_in_their_lines),
        cmocka_unit_test(segments_of_one_burst_keep_their_order),
        cmocka_unit_test(overwritten_values_stay_whole_in_replies),
        cmocka_unit_test(armed_ports_are_looked_at_before_each_sleep),
    };
    simulated_server_setup_process();
    int result = cmocka_run_group_tests(tests, NULL, NULL);
    rcu_thread_unregister();
    return result;
}
