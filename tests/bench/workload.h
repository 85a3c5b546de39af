/* What is asked: which command, which keys, which values, and the bytes of the request.
 *
 * A key is a number below key_count, written as text of its own size. Key 0 is the hottest where
 * keys are drawn by Zipf's law. Everything about a key (its size, the size of its value) follows
 * from its hash, so nothing is stored for it.
 */
#ifndef NICACHED_TESTS_BENCH_WORKLOAD_H
#define NICACHED_TESTS_BENCH_WORKLOAD_H

#include "tests/bench/chance.h"
#include "tests/bench/reply.h"
#include "tests/bench/sizes.h"

#define WORKLOAD_KEY_BYTES_MAX   250U /* memcached's limit */
#define WORKLOAD_KEYS_A_GET_MAX  1024U
#define WORKLOAD_VALUE_BYTES_MAX (64U << 20)

enum request_kind { REQUEST_GET, REQUEST_SET, REQUEST_PING, REQUEST_KIND_COUNT };
extern const char *const request_kind_names[REQUEST_KIND_COUNT];

struct workload {
    enum reply_protocol protocol;
    uint64_t key_count;
    struct sizes key_sizes, value_sizes;
    double theta; /* 0: uniform */
    uint32_t weights[REQUEST_KIND_COUNT];
    uint32_t keys_a_get;
    uint32_t ttl_low_s, ttl_high_s; /* 0: none */
    uint32_t one_hit_percent;       /* of the writes go to a key that is never used again */

    struct zipf zipf;
    uint32_t key_digits;
    uint64_t one_hit_next;
    uint64_t random_state;
    uint8_t *buffer; /* room for the largest request */
};

/* Derives the rest from the options above. False when memory is short. */
bool workload_init(struct workload *workload, uint64_t seed);
void workload_deinit(struct workload *workload);
/* Whether every key below key_count has a text of at least the smallest key size. */
bool workload_keys_fit(const struct workload *workload);

enum request_kind workload_draw_kind(struct workload *workload);
uint64_t workload_draw_key(struct workload *workload);
/* For a write: sometimes a key beyond key_count. */
uint64_t workload_draw_write_key(struct workload *workload);

uint64_t workload_key_hash(uint64_t key);
uint32_t workload_value_size(const struct workload *workload, uint64_t key);
/* Returns the size; `text` has room for WORKLOAD_KEY_BYTES_MAX. */
uint32_t workload_compose_key(const struct workload *workload, uint64_t key, uint8_t *text);

/* The request's bytes, in the workload's buffer until the next call. */
struct slice workload_compose_get(struct workload *workload, const uint64_t *keys, uint32_t count);
struct slice workload_compose_set(struct workload *workload, uint64_t key, uint32_t version);
struct slice workload_compose_ping(struct workload *workload);

#endif
