/* What a text connection may say before it has logged in, as memcached's -Y has it:
 *
 *   set KEY FLAGS EXPTIME BYTES [anything]     key, flags and exptime are not looked at
 *   USER PASSWORD [anything]
 *
 * Any other line is "CLIENT_ERROR unauthenticated". So nobody makes us keep more than
 * MEMCACHE_LOGIN_LINE_BYTES_MAX and MEMCACHE_LOGIN_BYTES_MAX bytes before we know who it is; a line
 * that does not end closes the connection without a reply.
 */
#ifndef NICACHED_L6_PROTOCOL_MEMCACHE_LOGIN_PARSE_H
#define NICACHED_L6_PROTOCOL_MEMCACHE_LOGIN_PARSE_H

#include "dataplane/l6_protocol/memcache_parse.h"

#define MEMCACHE_LOGIN_LINE_BYTES_MAX 2048U
#define MEMCACHE_LOGIN_BYTES_MAX      4096U /* of what proves who it is, here and in SASL */

/* Complete: MEMCACHE_LOGIN, `value` is the line behind. It keeps no state: what little there may be
 * is read again when more has come. */
void memcache_login_parse(struct slice input, struct memcache_request *request,
                          struct memcache_parse_result *result);

#endif
