/* Assertions.
 *
 * CHECK stays in release builds: it guards against our own bugs, never against what a peer sends.
 * DEBUG_CHECK is for the ones too expensive for the packet path; it is compiled in when NDEBUG is
 * not set and NICACHED_DEBUG is.
 */
#ifndef NICACHED_BASE_CHECK_H
#define NICACHED_BASE_CHECK_H

#include <stdbool.h>

#define LIKELY(condition)   __builtin_expect(!!(condition), 1)
#define UNLIKELY(condition) __builtin_expect(!!(condition), 0)

/* Prints the condition and its place to stderr, then aborts. */
_Noreturn void check_failed(const char *condition, const char *file, int line,
                            const char *function);

#define CHECK(condition)                                                                           \
    (LIKELY(condition) ? (void)0 : check_failed(#condition, __FILE__, __LINE__, __func__))

#ifdef NICACHED_DEBUG
#define DEBUG_CHECK(condition) CHECK(condition)
#else
#define DEBUG_CHECK(condition) ((void)sizeof(condition))
#endif

#endif
