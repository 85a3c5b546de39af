/* What must hold after every step of the conversation, whatever came in. */
#include "dataplane/l2_link/link_internal.h"
#include "dataplane/l2_link/wire_ethernet.h"
#include "dataplane/l3_ip/ip_internal.h"
#include "tests/fuzz/conversation.h"

#define MTU 1500U

/* ---- what was sent -----------------------------------------------------------------------------
 */

void check_frame(struct tcp_bench *b, const struct rte_mbuf *mbuf)
{
    struct conversation *v = b->host.context;
    struct frame frame;
    frame_from_mbuf(&frame, mbuf);
    CHECK(frame_fault(&frame) == NULL);
    bool tagged = bytes_read_be16(frame.bytes + AT_TYPE) == RTE_ETHER_TYPE_VLAN;
    CHECK(tagged == v->tagged && (!tagged || bytes_read_be16(frame.bytes + AT_IP) == VLAN));
    uint32_t header_bytes = wire_ethernet_bytes(tagged ? VLAN : 0);
    CHECK(frame.size <= header_bytes + MTU);
    const uint8_t *packet = frame.bytes + header_bytes;
    uint16_t type = bytes_read_be16(packet - 2);
    bool tcp = (type == RTE_ETHER_TYPE_IPV4 && packet[9] == IPPROTO_TCP) ||
               (type == RTE_ETHER_TYPE_IPV6 && packet[6] == IPPROTO_TCP);
    v->other_count += !tcp;
}

static void check_text_sent(const struct conversation *v, const struct sent_segment *s)
{
    uint32_t position = s->seq - (v->iss + 1);
    CHECK(position <= v->written && s->text_bytes <= v->written - position);
    CHECK(position + 1 + s->text_bytes <= v->reached);
    for (uint32_t i = 0; i < s->text_bytes; i++) {
        CHECK(s->text[i] == byte_at(s->seq + i));
    }
}

static bool answers_with_cookies(const struct conversation *v)
{
    return v->b->host.tcp->options.half_open_max == 0;
}

/* The right edge of the window never moves back by more than scaling rounds off. */
static void check_window_said(struct conversation *v, const struct sent_segment *s)
{
    const struct tcp_connection *c = connection_of(v);
    if (c == NULL || c->iss != v->edge_iss || c->rcv_shift != v->edge_shift ||
        (v->opened_now && answers_with_cookies(v))) {
        v->edge_known = false; /* a part of this step was another connection's */
        return;
    }
    if (!(s->flags & TCP_ACK) || (s->flags & TCP_RST) ||
        ((s->flags & TCP_SYN) && s->seq != c->iss)) {
        return;
    }
    uint32_t shift = s->flags & TCP_SYN ? 0 : c->rcv_shift;
    uint32_t edge = s->ack + ((uint32_t)s->window << shift);
    CHECK(!v->edge_known || (s->flags & TCP_SYN) ||
          seq_before(v->edge, edge + (1U << c->rcv_shift)));
    v->edge = edge;
    v->edge_known = true;
}

/* What the path let pass when the step began still bounds it, but for the least segment. */
static void check_size(const struct conversation *v, const struct sent_segment *s)
{
    const struct tcp_connection *c = connection_of(v);
    uint32_t headers = v->ipv6 ? TCP_IPV6_HEADERS_BYTES : TCP_IPV4_HEADERS_BYTES;
    if (c != NULL && c->iss == v->path_iss && !v->opened_now) {
        CHECK(s->packet_bytes <= v->path_mtu || s->packet_bytes <= headers + SEGMENT_BYTES_MIN);
    }
}

static void check_sent(struct conversation *v, uint32_t bare_max, uint32_t other_max)
{
    const struct tcp_connection *c = connection_of(v);
    uint32_t bare = 0, with_text = 0;
    for (uint32_t i = 0; i < v->b->sent_count; i++) {
        const struct sent_segment *s = &v->b->sent[i];
        CHECK(s->checksum_right && s->port == v->port && s->peer_port == v->peer_port);
        bare += s->text_bytes == 0;
        with_text += s->text_bytes > 0;
        if (s->text_bytes > 0) {
            check_text_sent(v, s);
            check_size(v, s);
        }
        check_window_said(v, s);
        v->syn_stamp = s->flags & TCP_SYN ? s->options.ts_value : v->syn_stamp;
    }
    v->edge_iss = c != NULL ? c->iss : 0;
    v->edge_shift = c != NULL ? c->rcv_shift : 0;
    CHECK(bare <= bare_max && with_text <= TEXT_FRAMES_MAX);
    CHECK(v->other_count <= other_max);
    v->other_count = 0;
}

/* ---- the connection ----------------------------------------------------------------------------
 */

/* Its timer, or for what is under way the queue of those that await their ACK. */
static bool is_looked_at(const struct tcp *tcp, const struct tcp_connection *c, uint64_t due_us)
{
    if (timer_is_armed(&c->timer) && c->timer.due_us <= due_us) {
        return true;
    }
    return c->awaiting_place != 0 && due_us == c->retransmit_due &&
           due_queue_at(&tcp->awaiting, c->awaiting_place)->due_us <= due_us;
}

static void check_timers(const struct conversation *v, const struct tcp_connection *c)
{
    const struct tcp *tcp = v->b->host.tcp;
    bool waits = tcp_flight_bytes(c) > 0 || c->stream.out.size > 0;
    CHECK(c->state == TCP_TIME_WAIT || c->state == TCP_FIN_WAIT_2 || !waits ||
          c->retransmit_due != TCP_NEVER || c->stream.dirty);
    CHECK(!c->ack_pending || c->ack_due != TCP_NEVER || c->stream.dirty);
    CHECK(c->state == TCP_TIME_WAIT || c->idle_due != TCP_NEVER || !c->opened);
    const uint64_t dues_us[] = {c->retransmit_due, c->ack_due, c->idle_due};
    for (uint32_t i = 0; i < 3; i++) {
        CHECK(dues_us[i] == TCP_NEVER || is_looked_at(tcp, c, dues_us[i]));
    }
    CHECK(c->awaiting_place == 0 || due_queue_at(&tcp->awaiting, c->awaiting_place)->thing == c);
    CHECK(c->timer_due == (timer_is_armed(&c->timer) ? c->timer.due_us : TCP_NEVER));
}

/* The flight is all that is under way, and its books are right. */
static void check_flight(const struct tcp_connection *c)
{
    const struct tcp_flight *flight = c->flight;
    CHECK(c->has_flight == (flight != NULL));
    CHECK(c->has_reassembly == (c->reassembly != NULL));
    if (flight == NULL) {
        return;
    }
    uint32_t at = c->snd_una, sacked = 0, lost = 0;
    CHECK(tcp_flight_bytes(c) > 0 && flight->start == c->snd_una);
    CHECK(flight->first + flight->count <= flight->room && flight->count > 0);
    for (uint32_t i = 0; i < flight->count; i++) {
        const struct tcp_flight_range *range = &flight->ranges[flight->first + i];
        CHECK(seq_before(at, range->end));
        sacked += range->fate & TCP_FLIGHT_SACKED ? range->end - at : 0;
        lost += range->fate & TCP_FLIGHT_LOST ? range->end - at : 0;
        at = range->end;
    }
    CHECK(at == c->snd_nxt && sacked == flight->sacked_bytes && lost == flight->lost_bytes);
}

/* Only somebody's word makes the path narrower, and nobody's makes it narrower than any path is
 * (RFC 5927 7.2). It never becomes wider; but the next connection of the same moment has the same
 * ISS, and begins with what the interface lets pass. */
static void check_path(struct conversation *v, const struct tcp_connection *c)
{
    uint16_t least = v->ipv6 ? TCP_PATH_MTU_MIN_IPV6 : TCP_PATH_MTU_MIN;
    bool same = c->iss == v->path_iss;
    uint16_t before = same ? v->path_mtu : (uint16_t)MTU;
    uint16_t told = v->told_mtu < least ? least : v->told_mtu;
    bool begins = c->path_mtu == MTU && (c->state == TCP_SYN_RECEIVED || v->opened_now);
    CHECK(begins || (c->path_mtu <= before && c->path_mtu >= (told < before ? told : before)));
    v->path_iss = c->iss;
    v->path_mtu = c->path_mtu;
}

static void check_connection(struct conversation *v)
{
    const struct tcp *tcp = v->b->host.tcp;
    const struct tcp_connection *c = connection_of(v);
    CHECK(tcp->connection_count + tcp->time_wait_count == (c != NULL));
    CHECK(tcp->half_open_count <= 1 && tcp->held_count == 0 && tcp->dead == NULL);
    CHECK(tcp->reassembly.page_count <= tcp->reassembly.slot_count);
    if (c == NULL) {
        CHECK(v->b->host.bytes.used_count == 0);
        return;
    }
    bool fin_sent = tcp_state_fin_sent(c->state);
    CHECK(c->state < TCP_ESTABLISHED || tcp_flight_bytes(c) <= c->stream.out.size + fin_sent);
    CHECK((c->state != TCP_FIN_WAIT_2 && c->state != TCP_TIME_WAIT) ||
          (c->stream.out.size == 0 && tcp_flight_bytes(c) == 0));
    CHECK(c->rcv_adv - c->rcv_nxt <= tcp->options.receive_buffer_bytes_max);
    CHECK(c->stream.unread_bytes <= tcp->options.receive_buffer_bytes_max);
    /* In fast recovery it is what is under way and what an ACK lets follow (RFC 9937 6). */
    CHECK(c->cwnd >= SEGMENT_BYTES_MIN - TCP_TIMESTAMPS_BYTES || c->state < TCP_ESTABLISHED ||
          c->recovery == TCP_RECOVERY_FAST);
    CHECK(c->detached || v->stream == NULL || v->stream == &c->stream);
    check_flight(c);
    check_timers(v, c);
    check_path(v, c);
}

/* ---- below TCP ---------------------------------------------------------------------------------
 */

static struct neighbour *neighbour_of_peer(const struct conversation *v)
{
    struct address address =
        v->ipv6 ? simulated_host_address_ipv6(PEER) : simulated_host_address(PEER);
    return neighbour_find(&v->b->host.interface->link->neighbours, &address);
}

/* A MAC that the stack knows changes only if its station does not answer for itself (neighbour.h,
 * invariant 1), so the peer's and the gateway's never does; the gateway's is never forgotten. */
static void check_neighbour_of_peer(struct conversation *v)
{
    const struct neighbour *neighbour = neighbour_of_peer(v);
    struct rte_ether_addr mac = simulated_host_mac(PEER);
    bool knows = neighbour != NULL && neighbour->state != NEIGHBOUR_INCOMPLETE;
    if (!v->was_mute) {
        CHECK(!v->routed || knows);
        CHECK(!v->mac_known || !rte_is_same_ether_addr(&v->known_mac, &mac) || !knows ||
              rte_is_same_ether_addr(&neighbour->mac, &mac));
        CHECK(!v->routed || rte_is_same_ether_addr(&neighbour->mac, &mac));
    }
    v->mac_known = knows;
    v->known_mac = knows ? neighbour->mac : mac;
}

static void check_neighbour(const struct neighbour_table *table, const struct neighbour *neighbour)
{
    bool waits = neighbour->state != NEIGHBOUR_FREE && neighbour->state != NEIGHBOUR_REACHABLE;
    CHECK(neighbour->pending == NULL || neighbour->state == NEIGHBOUR_INCOMPLETE);
    CHECK(neighbour->tries <= NEIGHBOUR_TRIES_MAX);
    CHECK(!waits || table->due_us <= neighbour->due_us + NEIGHBOUR_TIMER_GRAIN_US);
    CHECK(neighbour->state == NEIGHBOUR_FREE || neighbour->state == NEIGHBOUR_INCOMPLETE ||
          rte_is_valid_assigned_ether_addr(&neighbour->mac));
}

/* Only who can be reached on the link, and is not us, has an entry. Looks at all of them. */
void check_table(const struct conversation *v)
{
    const struct net_interface *interface = v->b->host.interface;
    const struct neighbour_table *table = &interface->link->neighbours;
    for (uint32_t i = 0; i < NEIGHBOUR_SETS * NEIGHBOUR_WAYS; i++) {
        const struct neighbour *neighbour = &table->entries[i / NEIGHBOUR_WAYS][i % NEIGHBOUR_WAYS];
        CHECK(neighbour->state == NEIGHBOUR_FREE ||
              (link_is_on_link(interface, &neighbour->address) &&
               link_find_address(interface, &neighbour->address) < 0));
        check_neighbour(table, neighbour);
    }
}

static void check_neighbours(const struct conversation *v)
{
    struct neighbour_table *table = &v->b->host.interface->link->neighbours;
    for (uint32_t i = 0; i < table->gateway_count; i++) {
        check_neighbour(table, &table->gateways[i]);
    }
    for (uint8_t number = 0; number < 8; number++) {
        struct address ipv4 = simulated_host_address(number);
        struct address ipv6 = simulated_host_address_ipv6(number);
        const struct neighbour *entries[2] = {neighbour_find(table, &ipv4),
                                              neighbour_find(table, &ipv6)};
        for (uint32_t i = 0; i < 2; i++) {
            CHECK(entries[i] == NULL || number != OWN);
            if (entries[i] != NULL) {
                check_neighbour(table, entries[i]);
            }
        }
    }
}

static uint32_t slots_of_source(const struct fragment_table *table, const struct address *source)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < FRAGMENT_SLOTS; i++) {
        const struct fragment_slot *slot = &table->slots[i];
        count += slot->large != NULL && address_equal(&slot->key.source, source);
    }
    return count;
}

static void check_fragments(const struct conversation *v)
{
    const struct fragment_table *table = &v->b->host.net->fragments;
    uint32_t used = 0;
    for (uint32_t i = 0; i < FRAGMENT_SLOTS; i++) {
        const struct fragment_slot *slot = &table->slots[i];
        if (slot->large == NULL) {
            continue;
        }
        used++;
        CHECK(slot->payload_bytes == 0 || slot->reach_bytes <= slot->payload_bytes);
        CHECK(slot->received_bytes <= slot->reach_bytes);
        CHECK(table->due_us <= slot->started_us + FRAGMENT_TIMEOUT_US);
        CHECK(slots_of_source(table, &slot->key.source) <= FRAGMENT_SLOTS_PER_SOURCE);
    }
    CHECK(used == table->used_count);
    CHECK(rte_mempool_in_use_count(v->b->host.net->large_pool) == used);
    CHECK(v->b->host.net->notice_count == 0);
}

void check_step(struct conversation *v, uint32_t bare_max, uint32_t other_max)
{
    check_sent(v, bare_max, other_max);
    check_connection(v);
    check_neighbour_of_peer(v);
    check_neighbours(v);
    check_fragments(v);
    v->told_mtu = UINT16_MAX;
    v->opened_now = false;
}

void check_end(const struct conversation *v)
{
    CHECK(v->stream == NULL && v->ending == NULL);
    CHECK(connection_of(v) == NULL && v->b->host.bytes.used_count == 0);
    CHECK(v->b->host.net->fragments.used_count == 0);
}
