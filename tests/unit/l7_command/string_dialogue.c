#include "tests/unit/l7_command/string_dialogue.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "dataplane/base/check.h"

int start_dialogue(void **state)
{
    *state = dialogue_create();
    return 0;
}

int end_dialogue(void **state)
{
    struct dialogue *dialogue = *state;
    CHECK(dialogue->pool.used_count == 0);
    dialogue_destroy(dialogue);
    return 0;
}

void say_at(struct dialogue *dialogue, const char *request, struct slice reply, const char *file,
            int line)
{
    dialogue_send(dialogue, request);
    if (!slice_equal(slice_of(dialogue->reply, dialogue->reply_bytes), reply)) {
        print_error("%s:%d: %s\n  expected: %.*s\n  got:      %s\n", file, line, request,
                    (int)reply.size, (const char *)reply.data, dialogue->reply);
        _fail(file, line);
    }
}

static size_t compose_words(const struct slice *words, uint32_t count, char *text, size_t room)
{
    size_t size = (size_t)snprintf(text, room, "*%u\r\n", count);
    for (uint32_t i = 0; i < count; i++) {
        size += (size_t)snprintf(text + size, room - size, "$%zu\r\n", words[i].size);
        memcpy(text + size, words[i].data, words[i].size);
        memcpy(text + size + words[i].size, "\r\n", 2);
        size += words[i].size + 2;
    }
    return size;
}

struct slice say_words(struct dialogue *dialogue, const struct slice *words, uint32_t count)
{
    size_t room = 32;
    for (uint32_t i = 0; i < count; i++) {
        room += words[i].size + 32;
    }
    char *text = malloc(room);
    CHECK(text != NULL);
    dialogue_send_bytes(dialogue, slice_of(text, compose_words(words, count, text, room)));
    free(text);
    return slice_of(dialogue->reply, dialogue->reply_bytes);
}

void pass_time(struct dialogue *dialogue, uint64_t milliseconds)
{
    dialogue->now.mono_us += milliseconds * 1000;
    dialogue->now.wall_us += milliseconds * 1000;
    dialogue->now.wall_ms += milliseconds;
}

const struct item *find_item(struct dialogue *dialogue, const char *key)
{
    struct key hashed = key_hashed(slice_of_string(key));
    return shard_find(dialogue->shard, 0, &hashed, &dialogue->now);
}

static void put_item(struct dialogue *dialogue, const char *key, const char *value,
                     const struct item_draft_options *options)
{
    struct key hashed = key_hashed(slice_of_string(key));
    struct item *draft = shard_draft(dialogue->shard, hashed.bytes, options);
    CHECK(draft != NULL);
    memcpy(draft_value(draft), value, options->value_bytes);
    shard_publish(dialogue->shard, 0, &hashed, draft);
}

void put_memcached_item(struct dialogue *dialogue, const char *key, const char *value,
                        uint32_t client_flags, uint64_t cas, uint8_t state)
{
    struct item_draft_options options = {.client_flags = client_flags,
                                         .cas = cas,
                                         .state = state,
                                         .value_bytes = (uint32_t)strlen(value)};
    put_item(dialogue, key, value, &options);
}

void put_list_item(struct dialogue *dialogue, const char *key)
{
    struct item_draft_options options = {.type = ITEM_LIST, .value_bytes = 1};
    put_item(dialogue, key, "x", &options);
}
