#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>
#include <rte_eal.h>

#include "dataplane/base/check.h"
#include "dataplane/l7_command/string_value.h"
#include "tests/unit/l7_command/string_dialogue.h"

#define WORDS_MAX 256

void dialogue_setup_program(void)
{
    static char words[][24] = {
        "test",        "--no-huge",      "--no-pci",         "-m", "512", "-l", "0",
        "--in-memory", "--no-telemetry", "--log-level=error"};
    char *arguments[sizeof(words) / sizeof(words[0])];
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        arguments[i] = words[i];
    }
    CHECK(rte_eal_init((int)(sizeof(words) / sizeof(words[0])), arguments) >= 0);
    command_table_setup();
}

void dialogue_start(struct dialogue *dialogue, uint64_t maxmemory_bytes)
{
    memset(dialogue, 0, sizeof(*dialogue));
    struct shard_options options = {.maxmemory_bytes = maxmemory_bytes,
                                    .metrics = &dialogue->metrics};
    dialogue->shard = shard_create(&options);
    CHECK(dialogue->shard != NULL);
    shard_attach_thread(dialogue->shard);
    dialogue->config = config_create_default();
    dialogue->now = (struct instant){
        .mono_us = 1000000, .wall_ms = DIALOGUE_START_MS, .wall_us = DIALOGUE_START_MS * 1000};
    byte_pool_init(&dialogue->pool, 16);
    client_registry_init(&dialogue->clients, 0, 1);
    client_open(&dialogue->clients, &dialogue->client, CLIENT_RESP);
    dialogue->client.protocol = 2;
    dialogue->context = command_context_create();
    dialogue->context->shard = dialogue->shard;
    dialogue->context->config = dialogue->config;
    dialogue->context->metrics = &dialogue->metrics;
    dialogue->context->clients = &dialogue->clients;
    dialogue->context->random_state = 1;
}

void dialogue_end(struct dialogue *dialogue)
{
    CHECK(dialogue->pool.used_count == 0);
    command_context_destroy(dialogue->context);
    client_close(&dialogue->clients, &dialogue->client);
    byte_pool_deinit(&dialogue->pool);
    config_destroy(dialogue->config);
    shard_destroy(dialogue->shard);
}

int dialogue_setup(void **state)
{
    struct dialogue *dialogue = calloc(1, sizeof(*dialogue));
    CHECK(dialogue != NULL);
    dialogue_start(dialogue, 0);
    *state = dialogue;
    return 0;
}

int dialogue_teardown(void **state)
{
    dialogue_end(*state);
    free(*state);
    return 0;
}

struct slice dialogue_ask(struct dialogue *dialogue, const struct slice *arguments, uint32_t count)
{
    struct byte_queue out;
    byte_queue_init(&out);
    struct reply reply = {
        .out = &out, .pool = &dialogue->pool, .protocol = dialogue->client.protocol};
    struct call call = {
        .context = dialogue->context,
        .shard = dialogue->shard,
        .now = &dialogue->now,
        .client = &dialogue->client,
        .argument_count = count,
        .arguments = arguments,
        .large_value = dialogue->large_value,
        .large_value_index = count - 1,
        .reply = &reply,
    };
    struct key key;
    dialogue->context->now = dialogue->now;
    if (command_prepare(&call, &key)) {
        assert_int_equal(command_execute(&call), COMMAND_DONE);
    }
    dialogue->large_value = NULL;
    shard_maintain(dialogue->shard, &dialogue->now); /* the pass is over: references must hold */
    size_t size = out.size;
    uint8_t *bytes = malloc(size + 1);
    CHECK(bytes != NULL && byte_queue_copy_out(&out, 0, bytes, size) == size);
    byte_queue_clear(&out, &dialogue->pool);
    return slice_of(bytes, size);
}

static uint32_t split_words(const char *request, struct slice *words)
{
    uint32_t count = 0;
    for (const char *at = request; *at != '\0';) {
        size_t size = strcspn(at, " ");
        bool is_empty_word = size == 2 && at[0] == '"' && at[1] == '"';
        CHECK(count < WORDS_MAX);
        words[count++] = slice_of(at, is_empty_word ? 0 : size);
        at += size;
        at += strspn(at, " ");
    }
    return count;
}

void dialogue_say(struct dialogue *dialogue, const char *request, struct slice reply,
                  const char *file, int line)
{
    struct slice words[WORDS_MAX];
    uint32_t count = split_words(request, words);
    struct slice got = dialogue_ask(dialogue, words, count);
    bool same = slice_equal(got, reply);
    if (!same) {
        print_error("%s\n  expected %.*s\n  got      %.*s\n", request, (int)reply.size,
                    (const char *)reply.data, (int)got.size, (const char *)got.data);
    }
    free((void *)(uintptr_t)got.data);
    if (!same) {
        _fail(file, line);
    }
}

void dialogue_wait(struct dialogue *dialogue, uint64_t milliseconds)
{
    dialogue->now.mono_us += milliseconds * 1000;
    dialogue->now.wall_us += milliseconds * 1000;
    dialogue->now.wall_ms += milliseconds;
}

const struct item *dialogue_find(struct dialogue *dialogue, const char *key)
{
    struct key hashed = key_hashed(slice_of_string(key));
    return shard_find(dialogue->shard, 0, &hashed, &dialogue->now);
}

static void put(struct dialogue *dialogue, const char *key, const char *value,
                const struct item_draft_options *options, enum item_type type)
{
    struct key hashed = key_hashed(slice_of_string(key));
    struct item *draft = shard_draft(dialogue->shard, hashed.bytes, options);
    CHECK(draft != NULL);
    memcpy(draft_value(draft), value, options->value_bytes);
    draft->type_encoding = (uint8_t)((draft->type_encoding & 0xF0) | type);
    CHECK(item_type(draft) == type);
    shard_publish(dialogue->shard, 0, &hashed, draft);
}

void dialogue_put_memcached(struct dialogue *dialogue, const char *key, const char *value,
                            uint32_t client_flags, uint64_t cas, uint8_t state)
{
    struct item_draft_options options = {.client_flags = client_flags,
                                         .cas = cas,
                                         .state = state,
                                         .value_bytes = (uint32_t)strlen(value)};
    put(dialogue, key, value, &options, ITEM_STRING);
}

void dialogue_put_list(struct dialogue *dialogue, const char *key)
{
    struct item_draft_options options = {.value_bytes = 1};
    put(dialogue, key, "x", &options, ITEM_LIST);
}
