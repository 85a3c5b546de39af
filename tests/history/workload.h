/* What clients ask: random operations on a group's keys, and their bytes on the wire. */
#ifndef NICACHED_TESTS_HISTORY_WORKLOAD_H
#define NICACHED_TESTS_HISTORY_WORKLOAD_H

#include "tests/history/wire.h"

struct workload {
    uint64_t seed, random;
    uint32_t group_count;
    uint32_t token; /* of the last value that was written */
    bool expiry, flush;
};

struct request {
    struct operation operation;
    struct access accesses[GROUP_KEYS];
    uint32_t access_count, group;
    uint64_t cas;
    bool with_cas; /* memcached: gets, which tells the cas number */
};

/* The cas number that a client was told, and of which value. */
struct cas_memory {
    uint32_t group;
    struct access access;
    uint64_t cas;
    bool valid;
};

/* `round`: operations so far; it makes clients meet in one group for a while. */
void workload_draw(struct workload *workload, uint32_t client, uint64_t round,
                   struct request *request);
void workload_draw_memcache(struct workload *workload, uint32_t client, uint64_t round,
                            const struct cas_memory *memory, struct request *request);
/* Reads all keys of the group. */
void workload_read_group(uint32_t group, struct request *request);

void workload_key_name(const struct workload *workload, uint32_t group, uint8_t key, char text[64]);
void workload_compose(const struct workload *workload, const struct request *request,
                      struct wire_buffer *out);
void workload_compose_memcache(const struct workload *workload, const struct request *request,
                               struct wire_buffer *out);

/* Puts the reply into operation and accesses. False: no reply that this command can have. */
bool workload_take_reply(struct operation *operation, struct access *accesses, bool memcache,
                         const struct wire_reply *reply);

#endif
