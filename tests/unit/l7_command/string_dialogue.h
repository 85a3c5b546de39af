/* What the tests of the string and generic groups add to a dialogue: replies of any bytes, requests
 * by words, and a look behind the commands at what a key holds. */
#ifndef NICACHED_TESTS_UNIT_L7_COMMAND_STRING_DIALOGUE_H
#define NICACHED_TESTS_UNIT_L7_COMMAND_STRING_DIALOGUE_H

#include "tests/unit/l7_command/dialogue.h"

/* cmocka's setup and teardown of one test; *state is the dialogue. */
int start_dialogue(void **state);
int end_dialogue(void **state);

#define TEST(function) cmocka_unit_test_setup_teardown(function, start_dialogue, end_dialogue)

/* Sends `request` as an inline command and compares the reply, a literal that may hold zeros. */
#define SAY(dialogue, request, reply)                                                              \
    say_at(dialogue, request, slice_of(reply, sizeof(reply) - 1), __FILE__, __LINE__)
void say_at(struct dialogue *dialogue, const char *request, struct slice reply, const char *file,
            int line);

/* Sends words of any bytes; the reply, valid until the next request. */
struct slice say_words(struct dialogue *dialogue, const struct slice *words, uint32_t count);

void pass_time(struct dialogue *dialogue, uint64_t milliseconds);

/* What a key of database 0 holds now. */
const struct item *find_item(struct dialogue *dialogue, const char *key);
/* Puts `value` under `key` as memcached would: with flags, CAS value and state bits. */
void put_memcached_item(struct dialogue *dialogue, const char *key, const char *value,
                        uint32_t client_flags, uint64_t cas, uint8_t state);
/* Puts something there that is no string. */
void put_list_item(struct dialogue *dialogue, const char *key);

#endif
