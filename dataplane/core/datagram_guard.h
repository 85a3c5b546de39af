/* Who may be answered over UDP, how often, and how much.
 *
 * A datagram's sender may be forged. Whoever is not on the list (memcache-udp-allow) and not on
 * this host gets no reply that is larger than the request, in bytes or in datagrams, so that we are
 * worth nothing to an attacker (CVE-2018-1000115 was a factor of 50,000); and no more than
 * memcache-udp-rate answers a second, by a bucket of a quarter of a second for each address.
 *
 * Thread: one worker's. Memory: a fixed table; an address that finds no room takes that of the one
 * that has been silent for longest. Time is an argument.
 */
#ifndef NICACHED_CORE_DATAGRAM_GUARD_H
#define NICACHED_CORE_DATAGRAM_GUARD_H

#include "dataplane/base/clock.h"
#include "dataplane/base/prefix_list.h"

#define DATAGRAM_SOURCES_MAX 4096U

struct datagram_source {
    uint64_t hash; /* of the address; 0: free */
    uint64_t last_us;
    uint64_t tokens; /* in millionths of a request */
};

struct datagram_guard {
    char *allow_text; /* what `allowed` was made of */
    struct prefix_list allowed;
    struct datagram_source sources[DATAGRAM_SOURCES_MAX];
};

/* Zeroed is initialised. */
void datagram_guard_deinit(struct datagram_guard *guard);
/* What the configuration says now; cheap while it says the same as before. */
void datagram_guard_set(struct datagram_guard *guard, const char *allow);
/* Replies of any size, at any rate. */
static inline bool datagram_guard_trusts(const struct datagram_guard *guard,
                                         const struct address *source)
{
    return prefix_list_has(&guard->allowed, source) || address_is_loopback(source);
}
/* Takes one of the address' requests; false: it has had its share. `rate` 0: no limit. */
bool datagram_guard_take(struct datagram_guard *guard, const struct address *source, uint64_t rate,
                         const struct instant *now);

#endif
