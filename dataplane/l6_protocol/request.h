/* What the parsers share: verdicts, and how requests of several protocols look to the layer above.
 *
 * A parser is a pure function over bytes: no clock, no socket, no allocation but its own argument
 * table. It sees the unconsumed bytes of a connection from their first byte, contiguous, and says
 * how many it consumed. It is resumable: when a request is not complete it keeps its position
 * relative to the request's first byte, and goes on from there when called again with more bytes
 * (the same bytes first, possibly at another address). So nothing is scanned twice, and any cut of
 * the input gives the same result.
 */
#ifndef NICACHED_L6_PROTOCOL_REQUEST_H
#define NICACHED_L6_PROTOCOL_REQUEST_H

#include "dataplane/base/bytes.h"

enum parse_verdict {
    PARSE_COMPLETE, /* a request; its slices point into the input */
    PARSE_PARTIAL,  /* more bytes are needed; nothing consumed. wanted_bytes says how many in all,
                       from the request's first byte, when that is known (a large value) */
    PARSE_NOTHING,  /* bytes consumed but no request in them (empty inline line, "*0") */
    PARSE_ERROR,    /* the reply is in `error`; the connection goes on after `consumed` bytes */
    PARSE_FATAL, /* the reply is in `error`; send it and close. An empty one: close without a reply
                  */
};

#endif
