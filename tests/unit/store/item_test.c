/* Items and blobs: what is written is what is read, in every layout; books balance. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/store/store_test.h"

static int setup(void **state)
{
    *state = create_fixture(0, NULL);
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;
    shard_maintain(fixture->shard, &fixture->now);
    destroy_fixture(fixture);
    return 0;
}

static void assert_value(const struct item *item, struct slice expected)
{
    uint8_t scratch[NUMBER_TEXT_BYTES_MAX];
    struct slice value = item_value(item, scratch);
    assert_int_equal(value.size, expected.size);
    assert_memory_equal(value.data, expected.data, expected.size);
    assert_int_equal(item_value_size(item), expected.size);
}

static void fill_pattern(uint8_t *to, size_t size, uint8_t seed)
{
    for (size_t i = 0; i < size; i++) {
        to[i] = (uint8_t)(seed + i * 31 + (i >> 8));
    }
}

static const uint32_t value_sizes[] = {
    0, 1, 100, ITEM_INLINE_BYTES_MAX, ITEM_INLINE_BYTES_MAX + 1, 100000};
static const uint32_t key_sizes[] = {0, 1, 7, 255, 256, 70000};

static void check_layout(struct fixture *f, const struct item_draft_options *options,
                         struct slice key, const uint8_t *pattern)
{
    struct item *draft = shard_draft(f->shard, key, options);
    assert_non_null(draft);
    memcpy(draft_value(draft), pattern, options->value_bytes);
    item_set_access(draft, 0xABCDEF);
    assert_int_equal(item_type(draft), options->type);
    assert_int_equal(item_encoding(draft), ENCODING_RAW);
    assert_int_equal(item_has_expiry(draft), options->expire_at_ms != 0);
    assert_true(item_expire_at_ms(draft) == options->expire_at_ms);
    assert_true(item_cas(draft) == options->cas);
    assert_int_equal(item_client_flags(draft), options->client_flags);
    assert_int_equal(item_state(draft), options->state);
    assert_false(item_is_fetched(draft));
    item_set_fetched(draft);
    assert_true(item_is_fetched(draft));
    assert_int_equal(item_access(draft), 0xABCDEF);
    assert_true(slice_equal(item_key(draft), key));
    assert_int_equal(item_blob(draft) != NULL, options->value_bytes > ITEM_INLINE_BYTES_MAX);
    assert_int_equal(item_stored_bytes(draft), options->value_bytes);
    assert_true(item_bytes(draft) <= memory_block_bytes(&f->shard->memory, draft));
    assert_value(draft, slice_of(pattern, options->value_bytes));
    shard_discard_draft(f->shard, draft);
}

static void every_layout_keeps_its_fields(void **state)
{
    struct fixture *f = *state;
    static uint8_t pattern[100000], key[100000];
    fill_pattern(pattern, sizeof(pattern), 7);
    fill_pattern(key, sizeof(key), 99);
    for (unsigned fields = 0; fields < 8; fields++) {
        for (unsigned s = 0; s < 36; s++) {
            struct item_draft_options options = {
                .type = fields % 2 == 0 ? ITEM_STRING : ITEM_STREAM,
                .expire_at_ms = (fields & 1) != 0 ? 12345678901 : 0,
                .cas = (fields & 2) != 0 ? UINT64_MAX : 0,
                .client_flags = (fields & 4) != 0 ? 0xCAFEBABE : 0,
                .state = (fields * 2 + 1) & ITEM_STATES,
                .value_bytes = value_sizes[s % 6]};
            check_layout(f, &options, slice_of(key, key_sizes[s / 6]), pattern);
        }
    }
    assert_int_equal(memory_of(f).item_bytes, 0);
}

static void fields_cost_only_where_they_are(void **state)
{
    struct fixture *f = *state;
    struct item_draft_options options = {.value_bytes = 100};
    struct slice key = SLICE_LITERAL("0123456789abcdef");
    const size_t expected[] = {8, 16, 24, 28};
    for (unsigned i = 0; i < 4; i++) {
        options.expire_at_ms = i >= 1 ? 1 : 0;
        options.cas = i >= 2 ? 1 : 0;
        options.client_flags = i >= 3 ? 1 : 0;
        struct item *draft = shard_draft(f->shard, key, &options);
        assert_int_equal(item_bytes(draft), expected[i] + 116);
        shard_discard_draft(f->shard, draft);
    }
}

static void access_is_kept_apart_from_the_key(void **state)
{
    struct fixture *f = *state;
    struct item_draft_options options = {.value_bytes = 1};
    struct item *item = shard_draft(f->shard, SLICE_LITERAL("key"), &options);
    assert_int_equal(item_access(item), 0);
    item_set_access(item, ITEM_ACCESS_MAX);
    assert_int_equal(item_access(item), ITEM_ACCESS_MAX);
    assert_int_equal(item_key_size(item), 3);
    item_set_access(item, 1);
    assert_int_equal(item_access(item), 1);
    assert_int_equal(item_key_size(item), 3);
    shard_discard_draft(f->shard, item);
}

static void integers_are_read_as_text_and_number(void **state)
{
    struct fixture *f = *state;
    const int64_t values[] = {0, -1, 42, INT64_MAX, INT64_MIN};
    const char *texts[] = {"0", "-1", "42", "9223372036854775807", "-9223372036854775808"};
    for (unsigned i = 0; i < 5; i++) {
        struct item_draft_options options = {.encoding = ENCODING_INT, .value_bytes = 999};
        struct item *draft = shard_draft(f->shard, SLICE_LITERAL("n"), &options);
        memcpy(draft_value(draft), &values[i], sizeof(int64_t));
        assert_value(draft, slice_of_string(texts[i]));
        int64_t value;
        assert_true(item_value_int64(draft, &value));
        assert_true(value == values[i]);
        shard_discard_draft(f->shard, draft);
    }
}

static void raw_text_reads_as_a_number_by_redis_rules(void **state)
{
    struct fixture *f = *state;
    const char *texts[] = {"17", "-3", "017", "1 ", "", "x", "9223372036854775808"};
    const bool right[] = {true, true, false, false, false, false, false};
    for (unsigned i = 0; i < 7; i++) {
        struct slice text = slice_of_string(texts[i]);
        struct item_draft_options options = {.value_bytes = (uint32_t)text.size};
        struct item *draft = shard_draft(f->shard, SLICE_LITERAL("n"), &options);
        memcpy(draft_value(draft), text.data, text.size);
        int64_t value;
        assert_int_equal(item_value_int64(draft, &value), right[i]);
        shard_discard_draft(f->shard, draft);
    }
}

static void blob_filled_outside_is_shared_not_copied(void **state)
{
    struct fixture *f = *state;
    struct blob *blob = shard_create_blob(f->shard, 50000);
    fill_pattern(blob->bytes, 50000, 1);
    struct item_draft_options options = {.value_bytes = 40000};
    struct item *first = shard_draft_over_blob(f->shard, SLICE_LITERAL("a"), blob, &options);
    options.expire_at_ms = 99;
    struct item *second = shard_draft_like(f->shard, SLICE_LITERAL("b"), first, &options);
    assert_ptr_equal(item_blob(first), blob);
    assert_ptr_equal(item_blob(second), blob);
    assert_int_equal(blob_reference_count(blob), 3);
    blob_release(blob);
    shard_discard_draft(f->shard, first);
    assert_value(second, slice_of(blob->bytes, 40000));
    assert_true(item_expire_at_ms(second) == 99);
    /* A reply on its way out keeps the bytes, through a byte queue. */
    struct byte_pool pool;
    struct byte_queue queue;
    byte_pool_init(&pool, 4);
    byte_queue_init(&queue);
    blob_acquire(blob);
    byte_queue_append_reference(&queue, &pool, slice_of(blob->bytes, 40000), &blob->owner);
    shard_discard_draft(f->shard, second);
    assert_true(memory_of(f).item_bytes >= 50000);
    byte_queue_consume(&queue, &pool, 40000);
    byte_pool_deinit(&pool);
    /* Whoever releases it last, the shard's holder frees it. */
    assert_true(shard_will_free(f->shard));
    settle(f);
    assert_false(shard_will_free(f->shard));
    assert_int_equal(memory_of(f).item_bytes, 0);
}

static void like_copies_value_and_access(void **state)
{
    struct fixture *f = *state;
    /* A frequency goes along; where access is the time of the last use, this is one. */
    shard_set_policy(f->shard, &(struct eviction_policy){.access = ACCESS_FREQUENCY});
    struct item_draft_options options = {.value_bytes = 3, .client_flags = 9};
    struct item *first = shard_draft(f->shard, SLICE_LITERAL("a"), &options);
    memcpy(draft_value(first), "abc", 3);
    item_set_access(first, 77);
    struct item_draft_options other = {.cas = 5};
    struct item *second = shard_draft_like(f->shard, SLICE_LITERAL("longer"), first, &other);
    assert_value(second, SLICE_LITERAL("abc"));
    assert_int_equal(item_access(second), 77);
    assert_int_equal(item_client_flags(second), 0);
    assert_true(item_cas(second) == 5);
    assert_true(slice_equal(item_key(second), SLICE_LITERAL("longer")));
    shard_discard_draft(f->shard, first);
    shard_discard_draft(f->shard, second);
}

/* Publishes a value grown by `text` under key "k". */
static void append(struct fixture *f, struct slice text)
{
    struct key key = key_hashed(SLICE_LITERAL("k"));
    const struct item *old = shard_find(f->shard, 0, &key, &f->now);
    struct item_draft_options options = {0};
    struct item *draft = shard_draft_grown(f->shard, old, (uint32_t)text.size, &options);
    assert_non_null(draft);
    memcpy(draft_value(draft) + item_value_size(old), text.data, text.size);
    shard_publish(f->shard, 0, &key, draft);
}

static void append_keeps_all_bytes_and_copies_rarely(void **state)
{
    struct fixture *f = *state;
    static uint8_t model[300000];
    struct key key = key_hashed(SLICE_LITERAL("k"));
    assert_true(put(f, 0, &key, slice_of("", 0), 0));
    size_t size = 0;
    unsigned blobs = 0;
    const struct blob *last = NULL;
    for (unsigned i = 0; size + 700 < sizeof(model); i++) {
        size_t part = 1 + i % 699;
        fill_pattern(model + size, part, (uint8_t)i);
        append(f, slice_of(model + size, part));
        size += part;
        const struct item *item = shard_find(f->shard, 0, &key, &f->now);
        assert_value(item, slice_of(model, size));
        blobs += item_blob(item) != last;
        last = item_blob(item);
        if (i % 7 == 0) {
            settle(f);
        }
    }
    assert_in_range(blobs, 1, 8);
}

static void append_to_an_integer_and_branching_appends(void **state)
{
    struct fixture *f = *state;
    struct item_draft_options integer = {.encoding = ENCODING_INT};
    struct item *number = shard_draft(f->shard, SLICE_LITERAL("k"), &integer);
    int64_t value = 12;
    memcpy(draft_value(number), &value, sizeof(value));
    struct item_draft_options none = {0};
    struct item *text = shard_draft_grown(f->shard, number, 2, &none);
    memcpy(draft_value(text) + 2, "ab", 2);
    assert_value(text, SLICE_LITERAL("12ab"));
    shard_discard_draft(f->shard, number);
    shard_discard_draft(f->shard, text);
    /* Two drafts over the same bytes: the second must not write what the first shows. */
    struct item_draft_options large = {.value_bytes = 20000};
    struct item *base = shard_draft(f->shard, SLICE_LITERAL("k"), &large);
    memset(draft_value(base), 'x', 20000);
    struct item *roomy = shard_draft_grown(f->shard, base, 1, &none);
    draft_value(roomy)[20000] = '1';
    struct item *left = shard_draft_grown(f->shard, roomy, 1, &none);
    struct item *right = shard_draft_grown(f->shard, roomy, 1, &none);
    assert_ptr_equal(item_blob(left), item_blob(roomy));
    assert_ptr_not_equal(item_blob(right), item_blob(roomy));
    draft_value(left)[20001] = 'l';
    draft_value(right)[20001] = 'r';
    assert_int_equal(item_value_bytes(left)[20001], 'l');
    assert_int_equal(item_value_bytes(right)[20001], 'r');
    assert_int_equal(item_value_bytes(right)[20000], '1');
    shard_discard_draft(f->shard, base);
    shard_discard_draft(f->shard, roomy);
    shard_discard_draft(f->shard, left);
    shard_discard_draft(f->shard, right);
    assert_int_equal(memory_of(f).item_bytes, 0);
}

static void growing_beyond_the_largest_value_is_refused(void **state)
{
    struct fixture *f = *state;
    struct item_draft_options options = {.value_bytes = 10};
    struct item *item = shard_draft(f->shard, SLICE_LITERAL("k"), &options);
    memset(draft_value(item), 'x', 10);
    assert_null(shard_draft_grown(f->shard, item, ITEM_VALUE_BYTES_MAX - 9, &options));
    assert_null(shard_draft_grown(f->shard, item, UINT32_MAX, &options));
    options.value_bytes = ITEM_VALUE_BYTES_MAX + 1;
    assert_null(shard_draft(f->shard, SLICE_LITERAL("k"), &options));
    shard_discard_draft(f->shard, item);
}

static void over_the_limit_drafts_are_refused(void **state)
{
    struct fixture *f = *state;
    shard_set_maxmemory(f->shard, 30000);
    struct item_draft_options options = {.value_bytes = 20000};
    struct item *first = shard_draft(f->shard, SLICE_LITERAL("k"), &options);
    assert_non_null(first);
    assert_null(shard_draft(f->shard, SLICE_LITERAL("k"), &options));
    assert_null(shard_create_blob(f->shard, 20000));
    assert_null(shard_draft_grown(f->shard, first, 12000, &options));
    assert_int_equal(metric_read(&f->metrics, METRIC_STORE_OUT_OF_MEMORY), 3);
    struct item *like = shard_draft_like(f->shard, SLICE_LITERAL("l"), first, &options);
    assert_non_null(like); /* shares the blob */
    options.ignore_maxmemory = true;
    struct item *forced = shard_draft(f->shard, SLICE_LITERAL("k"), &options);
    assert_non_null(forced);
    shard_discard_draft(f->shard, first);
    shard_discard_draft(f->shard, like);
    shard_discard_draft(f->shard, forced);
    assert_int_equal(memory_of(f).item_bytes, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define ROW(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        ROW(every_layout_keeps_its_fields),
        ROW(fields_cost_only_where_they_are),
        ROW(access_is_kept_apart_from_the_key),
        ROW(integers_are_read_as_text_and_number),
        ROW(raw_text_reads_as_a_number_by_redis_rules),
        ROW(blob_filled_outside_is_shared_not_copied),
        ROW(like_copies_value_and_access),
        ROW(append_keeps_all_bytes_and_copies_rarely),
        ROW(append_to_an_integer_and_branching_appends),
        ROW(growing_beyond_the_largest_value_is_refused),
        ROW(over_the_limit_drafts_are_refused),
#undef ROW
    };
    return cmocka_run_group_tests_name("item", tests, setup_eal, NULL);
}
