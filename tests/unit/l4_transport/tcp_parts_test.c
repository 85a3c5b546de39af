/* The parts of TCP that know no connection: sequence arithmetic, options, ranges, reassembly, state
 * table, connection table, round-trip arithmetic. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>

#include "dataplane/l4_transport/tcp_internal.h"

static uint64_t random_state = 88172645463325252ULL;

static uint32_t draw(uint32_t below)
{
    return (uint32_t)((random_next(&random_state) >> 20) % below);
}

static void sequence_numbers_compare_across_wraps(void **state)
{
    static const uint32_t bases[] = {0, 1, 0x7FFFFFFF, 0x80000000U, 0xFFFFFFFFU};
    for (size_t i = 0; i < sizeof(bases) / sizeof(bases[0]); i++) {
        uint32_t a = bases[i];
        assert_false(seq_before(a, a));
        assert_true(seq_at_or_before(a, a));
        assert_true(seq_before(a, a + 1));
        assert_true(seq_before(a, a + 0x7FFFFFFF));
        assert_false(seq_before(a, a - 1));
        assert_int_equal(seq_max(a, a + 9), a + 9);
        assert_int_equal(seq_min(a, a + 9), a);
    }
}

static void options_round_trip(void **state)
{
    struct tcp_header_options in = {.has_mss = true,
                                    .mss = 1460,
                                    .has_window_scale = true,
                                    .window_scale = 7,
                                    .has_sack_permitted = true,
                                    .has_timestamps = true,
                                    .ts_value = 0xDEADBEEF,
                                    .ts_echo = 5},
                              out;
    uint8_t bytes[TCP_OPTION_BYTES_MAX];
    uint32_t size = tcp_options_compose(&in, bytes, sizeof(bytes));
    assert_int_equal(size, 24);
    assert_true(tcp_options_parse(slice_of(bytes, size), &out));
    assert_memory_equal(&in, &out, sizeof(in));

    struct tcp_header_options sack = {.has_timestamps = true, .sack_count = 4};
    for (uint32_t i = 0; i < 4; i++) {
        sack.sack[i] = (struct tcp_sack_block){i * 10, i * 10 + 5};
    }
    size = tcp_options_compose(&sack, bytes, sizeof(bytes));
    assert_int_equal(size, 40); /* three fit beside timestamps */
    assert_true(tcp_options_parse(slice_of(bytes, size), &out));
    assert_int_equal(out.sack_count, 3);
    assert_int_equal(out.sack[2].end, 25);
    assert_int_equal(tcp_options_compose(&sack, bytes, 12), 12); /* none */
}

static void malformed_options_end_the_parsing(void **state) /* T02 */
{
    static const struct {
        const char *bytes;
        size_t size;
        bool whole;
        bool mss;
    } cases[] = {{"", 0, true, false},
                 {"\x02", 1, false, false},
                 {"\x02\x00\x05\xb4", 4, false, false},
                 {"\x02\x01\x05\xb4", 4, false, false},
                 {"\x02\x05\x05\xb4", 4, false, false},
                 {"\x02\x03\x05\x01", 4, true, false},
                 {"\xfd\x03\x00\x02\x04\x05\xb4\x00", 8, true, true},
                 {"\x00\x02\x04\x05\xb4", 5, true, false},
                 {"\x01\x01\x01\x02\x04\x05\xb4\xfe", 8, false, true},
                 {"\x05\x09\x01\x02\x03\x04\x05\x06\x07", 9, true, false}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct tcp_header_options out;
        uint8_t *copy = malloc(cases[i].size + 1); /* the sanitizer sees a read past the end */
        uint8_t *exact = realloc(copy, cases[i].size > 0 ? cases[i].size : 1);
        memcpy(exact, cases[i].bytes, cases[i].size);
        assert_int_equal(tcp_options_parse(slice_of(exact, cases[i].size), &out), cases[i].whole);
        assert_int_equal(out.has_mss, cases[i].mss);
        free(exact);
    }
}

/* Any cut: what the first piece holds whole is understood, and nothing beyond the cut is read. */
static void cut_options_never_say_more(void **state)
{
    static const uint8_t all[] = {2, 4, 5, 0xb4, 4, 2, 8,  10, 0, 0, 0, 1, 0, 0, 0,
                                  2, 1, 3, 3,    7, 5, 10, 0,  0, 0, 1, 0, 0, 0, 9};
    for (size_t cut = 0; cut <= sizeof(all); cut++) {
        uint8_t *piece = malloc(cut > 0 ? cut : 1);
        memcpy(piece, all, cut);
        struct tcp_header_options out;
        bool whole = tcp_options_parse(slice_of(piece, cut), &out);
        assert_int_equal(out.has_mss, cut >= 4);
        assert_int_equal(out.has_sack_permitted, cut >= 6);
        assert_int_equal(out.has_timestamps, cut >= 16);
        assert_int_equal(out.has_window_scale, cut >= 20);
        assert_int_equal(out.sack_count, cut >= 30);
        assert_true(whole || cut < sizeof(all));
        free(piece);
    }
}

/* ---- ranges and reassembly against a model of one flag for each byte ----------------------------
 */

#define SPACE 4000U

static void check_ranges(const struct tcp_ranges *ranges, const bool *model, uint32_t base)
{
    uint32_t at = 0, index = 0, total = 0;
    while (at < SPACE) {
        if (!model[at]) {
            at++;
            continue;
        }
        uint32_t start = at;
        while (at < SPACE && model[at]) {
            at++;
        }
        assert_true(index < ranges->count);
        assert_int_equal(ranges->at[index].start, base + start);
        assert_int_equal(ranges->at[index].end, base + at);
        total += at - start;
        index++;
    }
    assert_int_equal(index, ranges->count);
    assert_int_equal(total, ranges->bytes);
}

static uint32_t missing_bytes(const struct tcp_ranges *ranges, uint32_t start, uint32_t end)
{
    uint32_t missing = 0, gap_start, gap_end;
    while (tcp_ranges_gap(ranges, start, end, &gap_start, &gap_end)) {
        missing += gap_end - gap_start;
        start = gap_end;
    }
    return missing;
}

static void ranges_match_a_model(void **state)
{
    for (uint32_t round = 0; round < 300; round++) {
        static struct tcp_ranges ranges;
        bool model[SPACE] = {false};
        uint32_t base = round % 2 == 0 ? 0xFFFFFFFFU - draw(SPACE) : draw(1U << 31);
        memset(&ranges, 0, sizeof(ranges));
        for (uint32_t step = 0; step < 60; step++) {
            uint32_t start = draw(SPACE), end = start + draw(120);
            end = end < SPACE ? end : SPACE;
            bool room = tcp_ranges_has_room(&ranges, base + start, base + end);
            bool added = tcp_ranges_add(&ranges, base + start, base + end);
            assert_true(start == end || room == added);
            for (uint32_t i = start; added && i < end; i++) {
                model[i] = true;
            }
            if (draw(10) == 0) {
                uint32_t cut = draw(SPACE);
                tcp_ranges_trim(&ranges, base + cut);
                memset(model, 0, cut);
            }
            check_ranges(&ranges, model, base);
            uint32_t from = draw(SPACE), missing = 0;
            for (uint32_t i = from; i < SPACE; i++) {
                missing += !model[i];
            }
            assert_int_equal(missing_bytes(&ranges, base + from, base + SPACE), missing);
        }
    }
}

static void full_ranges_refuse_but_join(void **state)
{
    static struct tcp_ranges ranges;
    memset(&ranges, 0, sizeof(ranges));
    for (uint32_t i = 0; i < TCP_RANGES_MAX; i++) {
        assert_true(tcp_ranges_add(&ranges, i * 10, i * 10 + 5));
    }
    assert_false(tcp_ranges_add(&ranges, 7, 8));
    assert_false(tcp_ranges_add(&ranges, 100000, 100001));
    assert_true(tcp_ranges_add(&ranges, 5, 10));
    assert_int_equal(ranges.count, TCP_RANGES_MAX - 1);
}

#define WINDOW 50000U

struct reassembly_model {
    uint8_t bytes[WINDOW];
    bool present[WINDOW];
};

static void insert_random(struct tcp_reassembly_budget *budget, struct tcp_reassembly *store,
                          struct reassembly_model *model, uint32_t base, uint32_t next)
{
    uint8_t text[3000];
    /* Often enough the text that is waited for, or the window would close only by luck. */
    uint32_t start = next + (draw(8) == 0 ? 0 : draw(WINDOW - next)), size = 1 + draw(2999);
    size = size < WINDOW - start ? size : WINDOW - start;
    for (uint32_t i = 0; i < size; i++) {
        text[i] = (uint8_t)draw(256);
    }
    if (tcp_reassembly_insert(budget, store, base + start, slice_of(text, size), false) ==
        TCP_REASSEMBLY_REFUSED) {
        return;
    }
    for (uint32_t i = 0; i < size; i++) {
        if (!model->present[start + i]) {
            model->present[start + i] = true;
            model->bytes[start + i] = text[i];
        }
    }
}

static void reassembly_matches_a_model(void **state)
{
    for (uint32_t round = 0; round < 1000; round++) {
        static struct reassembly_model model;
        struct byte_pool pages;
        struct tcp_reassembly_budget budget;
        memset(&model, 0, sizeof(model));
        byte_pool_init(&pages, 100);
        tcp_reassembly_budget_init(&budget, &pages, WINDOW, 1 << 20);
        uint32_t base = round % 2 == 0 ? 0xFFFFFFFFU - draw(WINDOW) : draw(1U << 31), next = 0;
        struct tcp_reassembly *store = tcp_reassembly_create(&budget, base);
        while (next < WINDOW) {
            insert_random(&budget, store, &model, base, next);
            uint32_t end = tcp_reassembly_contiguous_end(store, base + next) - base;
            assert_int_equal(tcp_reassembly_undelivered(store, base + end), end - next);
            struct slice s;
            while ((s = tcp_reassembly_take(&budget, store, base + end)).size > 0) {
                assert_memory_equal(s.data, model.bytes + next, s.size);
                next += (uint32_t)s.size;
            }
            assert_int_equal(next, end);
            assert_true(next == WINDOW || !model.present[next]);
            tcp_reassembly_free_used(&budget);
        }
        tcp_reassembly_destroy(&budget, store);
        tcp_reassembly_budget_deinit(&budget);
        assert_int_equal(pages.used_count, 0);
        byte_pool_deinit(&pages);
    }
}

static void scattered_bytes_take_few_pages(void **state) /* R10 */
{
    struct byte_pool pages;
    struct tcp_reassembly_budget budget;
    byte_pool_init(&pages, 1000);
    tcp_reassembly_budget_init(&budget, &pages, 1 << 20, 1 << 22);
    struct tcp_reassembly *store = tcp_reassembly_create(&budget, 0);
    for (uint32_t i = 1; i < 60; i++) {
        tcp_reassembly_insert(&budget, store, i * 16384, slice_of("x", 1), false);
    }
    assert_int_equal(pages.used_count, 8);
    /* Into a page that is there: as many as there are ranges for. */
    assert_int_equal(tcp_reassembly_insert(&budget, store, 16390, slice_of("y", 1), false),
                     TCP_REASSEMBLY_STORED);
    /* A peer that lost one segment fills what it takes. */
    static uint8_t text[1460];
    for (uint32_t i = 0; i < 500; i++) {
        assert_int_equal(tcp_reassembly_insert(&budget, store, 32768 + i * 1460,
                                               slice_of(text, sizeof(text)), false),
                         TCP_REASSEMBLY_STORED);
    }
    tcp_reassembly_destroy(&budget, store);
    tcp_reassembly_budget_deinit(&budget);
    byte_pool_deinit(&pages);
}

static void forged_cookies_are_found_out(void **state) /* R03 */
{
    struct tcp_secret secret;
    struct tcp_cookies cookies;
    struct endpoint local = {address_from_ipv4(0xC6120002), 6379};
    struct endpoint peer = {address_from_ipv4(0xC6120001), 40000};
    uint64_t random = 1;
    uint32_t accepted = 0;
    uint16_t mss;
    tcp_secret_init(&secret, 1, 2);
    tcp_cookies_init(&cookies, &secret);
    uint32_t cookie = tcp_cookie_make(&cookies, &local, &peer, 5, 1460, 0);
    assert_true(tcp_cookie_check(&cookies, &local, &peer, 5, cookie, 1000, &mss));
    assert_int_equal(mss, 1460);
    for (uint32_t i = 0; i < 1000000; i++) {
        peer.port = (uint16_t)i;
        accepted += tcp_cookie_check(&cookies, &local, &peer, i,
                                     (uint32_t)(random_next(&random) >> 16), 1000, &mss);
    }
    assert_in_range(accepted, 0, 1);
}

static void reassembly_budget_is_kept(void **state) /* T13 */
{
    struct byte_pool pages;
    struct tcp_reassembly_budget budget;
    byte_pool_init(&pages, 100);
    tcp_reassembly_budget_init(&budget, &pages, 1 << 20, 10 * BYTE_PAGE_ROOM);
    struct tcp_reassembly *store = tcp_reassembly_create(&budget, 0);
    uint32_t stored = 0;
    for (uint32_t i = 1; i < 60; i++) {
        stored += tcp_reassembly_insert(&budget, store, i * 8192, slice_of("x", 1), false) ==
                  TCP_REASSEMBLY_STORED;
    }
    assert_in_range(stored, 4, 10);
    assert_in_range(pages.used_count, 4, 10);
    assert_int_equal(tcp_reassembly_insert(&budget, store, 0, slice_of("y", 1), true),
                     TCP_REASSEMBLY_STORED);
    tcp_reassembly_destroy(&budget, store);
    tcp_reassembly_budget_deinit(&budget);
    byte_pool_deinit(&pages);
}

/* ---- the rest ----------------------------------------------------------------------------------
 */

static void states_follow_the_drawing(void **state)
{
    assert_string_equal(tcp_state_name(TCP_FIN_WAIT_2), "FIN-WAIT-2");
    assert_true(tcp_state_may_follow(TCP_SYN_RECEIVED, TCP_ESTABLISHED));
    assert_false(tcp_state_may_follow(TCP_TIME_WAIT, TCP_ESTABLISHED));
    assert_false(tcp_state_may_follow(TCP_FIN_WAIT_2, TCP_CLOSING));
    for (int from = TCP_SYN_SENT; from < TCP_STATE_COUNT; from++) {
        assert_true(tcp_state_may_follow((enum tcp_state)from, TCP_CLOSED));
    }
}

static void round_trip_arithmetic(void **state) /* RFC 6298 */
{
    static struct tcp_connection c;
    tcp_rtt_sample(&c, 100000, 200000);
    assert_int_equal(c.srtt_us, 100000);
    assert_int_equal(c.rttvar_us, 50000);
    assert_int_equal(c.rto_us, 300000);
    tcp_rtt_sample(&c, 200000, 200000);
    assert_int_equal(c.srtt_us, 112500);
    assert_int_equal(c.rttvar_us, 62500);
    assert_int_equal(c.rto_us, 362500);
    for (int i = 0; i < 100; i++) {
        tcp_rtt_sample(&c, 1000, 200000);
    }
    assert_in_range(c.rto_us, 201000, 203000); /* the floor */
    c.backoff = 3;
    assert_in_range(tcp_rto_us(&c), 8 * 201000, 8 * 203000);
    c.backoff = 16;
    assert_int_equal(tcp_rto_us(&c), TCP_RTO_MAX_US);
}

static void table_finds_all_while_it_grows(void **state)
{
    enum { COUNT = 6000 };
    struct tcp_table table;
    struct tcp_connection *all = aligned_alloc(64, COUNT * sizeof(*all));
    assert_true(tcp_table_init(&table, COUNT));
    memset(all, 0, COUNT * sizeof(*all));
    struct address own = address_from_ipv4(1), peer = address_from_ipv4(2);
    for (uint16_t i = 0; i < COUNT; i++) {
        all[i].stream.local = (struct endpoint){own, 80};
        all[i].stream.peer = (struct endpoint){peer, i};
        tcp_table_insert(&table, &all[i]);
    }
    for (int round = 0; round < 2; round++) {
        for (uint16_t i = 0; i < COUNT; i++) {
            uint64_t hash = tcp_table_hash(&own, 80, &peer, i);
            struct tcp_connection *found = tcp_table_find(&table, hash, &own, 80, &peer, i);
            assert_ptr_equal(found, round == 1 && i % 3 == 0 ? NULL : &all[i]);
        }
        for (uint16_t i = 0; round == 0 && i < COUNT; i += 3) {
            tcp_table_remove(&table, &all[i]);
        }
    }
    for (uint16_t i = 0; i < COUNT; i++) {
        if (i % 3 != 0) {
            tcp_table_remove(&table, &all[i]);
        }
    }
    tcp_table_deinit(&table);
    free(all);
}

/* More of them than it has slots, some with the same tag, come and go in any order. */
static void table_finds_all_of_a_crowded_bucket(void **state)
{
    enum { COUNT = 20, CHANGES = 2000 };
    struct tcp_table table;
    struct tcp_connection *all = aligned_alloc(64, COUNT * sizeof(*all));
    assert_true(tcp_table_init(&table, 1000));
    memset(all, 0, COUNT * sizeof(*all));
    struct address own = address_from_ipv4(1);
    const struct tcp_bucket *crowded = &table.buckets[0];
    for (uint32_t i = 0, peer = 1; i < COUNT; peer++) {
        all[i].stream.local = (struct endpoint){own, 80};
        all[i].stream.peer = (struct endpoint){address_from_ipv4(peer), 1};
        uint64_t hash = tcp_table_hash(&own, 80, &all[i].stream.peer.address, 1);
        bool wanted_tag = i % 2 == 0 || tcp_table_tag(hash) == tcp_table_tag(all[i - 1].hash);
        if (tcp_table_bucket(&table, hash) == crowded && wanted_tag) {
            all[i++].hash = hash;
        }
    }
    uint64_t random = 1;
    for (int change = 0; change < CHANGES; change++) {
        struct tcp_connection *c = &all[(random_next(&random) >> 33) % COUNT];
        (c->linked ? tcp_table_remove : tcp_table_insert)(&table, c);
        for (uint32_t i = 0; i < COUNT; i++) {
            struct tcp_connection *found =
                tcp_table_find(&table, all[i].hash, &own, 80, &all[i].stream.peer.address, 1);
            assert_ptr_equal(found, all[i].linked ? &all[i] : NULL);
        }
        bool all_slots = tcp_bucket_match(crowded, 0) == 1ULL << 63;
        assert_true(all_slots || tcp_bucket_overflow(crowded) == NULL);
    }
    for (uint32_t i = 0; i < COUNT; i++) {
        if (all[i].linked) {
            tcp_table_remove(&table, &all[i]);
        }
    }
    tcp_table_deinit(&table);
    free(all);
}

/* Tuples that differ little fall into buckets as chance would have it. */
static void tuples_spread_over_the_table(void **state)
{
    enum { BUCKETS = 1 << 16 };
    static uint8_t chains[3][BUCKETS];
    memset(chains, 0, sizeof(chains));
    struct address own = address_from_ipv4(0xC6120002);
    for (uint32_t i = 0; i < BUCKETS; i++) {
        struct address near = address_from_ipv4(0xC6120003),
                       far = address_from_ipv4(0xC6130000 + i);
        struct address some = address_from_ipv4(0xC6130000 + i / 256);
        uint16_t port = (uint16_t)(1024 + i % 256);
        chains[0][tcp_table_hash(&own, 6379, &near, (uint16_t)i) % BUCKETS]++;
        chains[1][tcp_table_hash(&own, 6379, &far, 40000) % BUCKETS]++;
        chains[2][tcp_table_hash(&own, 6379, &some, port) % BUCKETS]++;
    }
    for (uint32_t kind = 0; kind < 3; kind++) {
        uint32_t longest = 0, empty = 0;
        for (uint32_t i = 0; i < BUCKETS; i++) {
            longest = chains[kind][i] > longest ? chains[kind][i] : longest;
            empty += chains[kind][i] == 0;
        }
        assert_in_range(longest, 5, 12);                                /* Poisson: 8 to 9 */
        assert_in_range(empty, BUCKETS * 36 / 100, BUCKETS * 38 / 100); /* 1/e */
    }
}

static void secret_depends_on_every_input(void **state)
{
    struct tcp_secret one, other;
    tcp_secret_init(&one, 1, 0);
    tcp_secret_init(&other, 2, 0);
    struct endpoint a = {address_from_ipv4(1), 80}, b = {address_from_ipv4(2), 81};
    struct endpoint c = {address_from_ipv4(2), 82};
    uint64_t value = tcp_secret_of_tuple(&one, &a, &b, 1);
    assert_int_equal(value, tcp_secret_of_tuple(&one, &a, &b, 1));
    assert_true(value != tcp_secret_of_tuple(&one, &a, &b, 2));
    assert_true(value != tcp_secret_of_tuple(&one, &a, &c, 1));
    assert_true(value != tcp_secret_of_tuple(&one, &b, &a, 1));
    assert_true(value != tcp_secret_of_tuple(&other, &a, &b, 1));
}

#define CASE(name) cmocka_unit_test(name)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(sequence_numbers_compare_across_wraps),
        CASE(options_round_trip),
        CASE(malformed_options_end_the_parsing),
        CASE(cut_options_never_say_more),
        CASE(ranges_match_a_model),
        CASE(full_ranges_refuse_but_join),
        CASE(reassembly_matches_a_model),
        CASE(reassembly_budget_is_kept),
        CASE(scattered_bytes_take_few_pages),
        CASE(forged_cookies_are_found_out),
        CASE(states_follow_the_drawing),
        CASE(round_trip_arithmetic),
        CASE(table_finds_all_while_it_grows),
        CASE(table_finds_all_of_a_crowded_bucket),
        CASE(tuples_spread_over_the_table),
        CASE(secret_depends_on_every_input),
    };
    return cmocka_run_group_tests_name("tcp_parts", tests, NULL, NULL);
}
