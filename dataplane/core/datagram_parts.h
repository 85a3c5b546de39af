/* Requests of several datagrams, put together again by their frame headers.
 *
 * Bounds: so many requests at once for a worker, so many parts and bytes for each, so much time.
 * Parts may come in any order. One that contradicts what came before (another count, the same
 * number twice) ends its request: there is nobody to ask which is right.
 *
 * Thread: one worker's. Memory: taken at once, when memcached's UDP port is served. Time is an
 * argument.
 */
#ifndef NICACHED_CORE_DATAGRAM_PARTS_H
#define NICACHED_CORE_DATAGRAM_PARTS_H

#include "dataplane/base/address.h"
#include "dataplane/base/clock.h"
#include "dataplane/base/metrics.h"
#include "dataplane/l6_protocol/memcache_parse.h"

#define DATAGRAM_REQUESTS_MAX 16U
#define DATAGRAM_PARTS_MAX    64U
#define DATAGRAM_BYTES_MAX    65536U
#define DATAGRAM_WAIT_US      1000000U

struct datagram_parts;

struct datagram_parts *datagram_parts_create(struct metrics *metrics); /* NULL: no memory */
void datagram_parts_destroy(struct datagram_parts *parts);

/* A datagram whose frame says that it is one of several. True when the request is whole: *request
 * is valid until the next call, *request_bytes what its datagrams had in all, frame headers
 * included. What is dropped is counted. */
bool datagram_parts_add(struct datagram_parts *parts, const struct endpoint *source,
                        const struct memcache_frame *frame, struct slice payload,
                        const struct instant *now, struct slice *request, size_t *request_bytes);

#endif
