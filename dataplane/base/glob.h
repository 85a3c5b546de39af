/* Redis' glob patterns: '*' any bytes, '?' any byte, [a-z] and [^a-z] one byte of a class, '\x' the
 * byte x itself. */
#ifndef NICACHED_BASE_GLOB_H
#define NICACHED_BASE_GLOB_H

#include "dataplane/base/bytes.h"

/* Does the whole of `text` match? No recursion and no memory: time is at most pattern x text, stack
 * constant, whatever a peer sends. */
bool glob_matches(struct slice pattern, struct slice text, bool ignore_case);

/* True when the pattern is nothing but the bytes it matches. */
bool glob_is_literal(struct slice pattern);

#endif
