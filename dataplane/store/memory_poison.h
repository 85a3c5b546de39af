/* Freed memory, made unusable in the checking builds.
 *
 * Under AddressSanitizer a touch of freed memory is a report. In every checking build
 * (NICACHED_DEBUG, or a sanitizer) it is filled with a pattern, too: what reads it reads nonsense,
 * ThreadSanitizer sees the write, and memory.c finds what wrote to it. */
#ifndef NICACHED_STORE_MEMORY_POISON_H
#define NICACHED_STORE_MEMORY_POISON_H

#include <stddef.h>

#ifdef __has_feature
#define MEMORY_HAS_FEATURE(feature) __has_feature(feature)
#else
#define MEMORY_HAS_FEATURE(feature) 0
#endif

#if defined(__SANITIZE_ADDRESS__) || MEMORY_HAS_FEATURE(address_sanitizer)
#include <sanitizer/asan_interface.h>
#define memory_poison(address, bytes)   ASAN_POISON_MEMORY_REGION((address), (bytes))
#define memory_unpoison(address, bytes) ASAN_UNPOISON_MEMORY_REGION((address), (bytes))
#define memory_is_poisoned(address)     __asan_address_is_poisoned(address)
#define MEMORY_CHECKING                 1
#else
#define memory_poison(address, bytes)   ((void)(address), (void)(bytes))
#define memory_unpoison(address, bytes) ((void)(address), (void)(bytes))
#if defined(NICACHED_DEBUG) || defined(__SANITIZE_THREAD__) || MEMORY_HAS_FEATURE(thread_sanitizer)
#define MEMORY_CHECKING 1
#else
#define MEMORY_CHECKING 0
#endif
#endif

#define MEMORY_PATTERN 0xDB

#endif
