/* What both parser tests do with a sample: every cut, byte by byte, with bulks supplied, mutated.
 */
#ifndef NICACHED_TESTS_PARSE_CASES_H
#define NICACHED_TESTS_PARSE_CASES_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#include "dataplane/base/hash.h"
#include "tests/unit/l6_protocol/parse_driver.h"

#define CASE_COUNT(table) (sizeof(table) / sizeof((table)[0]))
/* A literal that may hold NUL. */
#define SAMPLE(text) (text), sizeof(text) - 1

/* Fills `text` with what the parser under test makes of the feed. */
typedef void (*transcribe)(const struct feed *feed, struct buffer *text);

static inline void expect_transcript(transcribe run, const struct feed *feed, const char *expected)
{
    struct buffer text = {0};
    run(feed, &text);
    assert_string_equal(buffer_text(&text), expected);
    buffer_free(&text);
}

/* `stride` > 1 tries only some of the cuts of a long sample. */
static inline void expect_under_every_cut(transcribe run, struct slice stream, size_t stride,
                                          const char *expected)
{
    static const uint64_t supply[] = {0, 1, 5};
    for (size_t s = 0; s < CASE_COUNT(supply); s++) {
        struct feed feed = {stream, NULL, 0, supply[s]};
        expect_transcript(run, &feed, expected);
        for (size_t cut = 1; cut < stream.size; cut += stride) {
            feed = (struct feed){stream, &cut, 1, supply[s]};
            expect_transcript(run, &feed, expected);
        }
        size_t *cuts = calloc(stream.size + 1, sizeof(*cuts));
        assert_non_null(cuts);
        size_t count = 0;
        for (size_t at = 1; at < stream.size; at += stride) {
            cuts[count++] = at;
        }
        feed = (struct feed){stream, cuts, count, supply[s]};
        expect_transcript(run, &feed, expected);
        free(cuts);
    }
}

/* A few bytes of `stream` changed, inserted, removed or doubled. */
static inline void mutate(struct buffer *stream, uint64_t *random, const char *alphabet)
{
    uint64_t changes = 1 + random_next(random) % 4;
    for (uint64_t i = 0; i < changes && stream->size > 0; i++) {
        size_t at = random_next(random) % stream->size;
        uint64_t r = random_next(random);
        uint8_t byte =
            r % 8 == 0 ? (uint8_t)(r >> 8) : (uint8_t)alphabet[(r >> 8) % strlen(alphabet)];
        switch (random_next(random) % 4) {
        case 0: stream->data[at] = byte; break;
        case 1:
            buffer_append(stream, &byte, 1);
            memmove(stream->data + at + 1, stream->data + at, stream->size - at - 1);
            stream->data[at] = byte;
            break;
        case 2:
            memmove(stream->data + at, stream->data + at + 1, stream->size - at - 1);
            stream->size--;
            break;
        default: {
            size_t part = 1 + random_next(random) % 12;
            part = part < stream->size - at ? part : stream->size - at;
            uint8_t copy[16];
            memcpy(copy, stream->data + at, part);
            buffer_append(stream, copy, part);
            break;
        }
        }
    }
}

static inline size_t random_cuts(size_t size, size_t *cuts, size_t count_max, uint64_t *random)
{
    size_t count = 0, at = 0;
    while (count < count_max && size > 1) {
        at += 1 + random_next(random) % (1 + size / 4);
        if (at >= size) {
            break;
        }
        cuts[count++] = at;
    }
    return count;
}

/* Mutants of the samples, cut at random, against the reference. */
static inline void expect_mutants_as_reference(transcribe run,
                                               void (*reference)(struct slice, struct buffer *),
                                               const char *const *samples, size_t sample_count,
                                               const char *alphabet, unsigned rounds)
{
    uint64_t random = 0x9E3779B97F4A7C15U;
    for (unsigned round = 0; round < rounds; round++) {
        struct buffer stream = {0}, expected = {0};
        uint64_t parts = 1 + random_next(&random) % 3;
        for (uint64_t i = 0; i < parts; i++) {
            const char *sample = samples[random_next(&random) % sample_count];
            buffer_append(&stream, sample, strlen(sample));
        }
        mutate(&stream, &random, alphabet);
        struct slice bytes = slice_of(stream.data, stream.size);
        reference(bytes, &expected);
        size_t cuts[8];
        struct feed feed = {bytes, cuts, random_cuts(bytes.size, cuts, 8, &random),
                            random_next(&random) % 4};
        struct buffer text = {0};
        run(&feed, &text);
        if (strcmp(buffer_text(&text), buffer_text(&expected)) != 0) {
            struct buffer shown = {0};
            buffer_print_bytes(&shown, bytes, '\n');
            print_message("round %u: %s", round, buffer_text(&shown));
            buffer_free(&shown);
        }
        assert_string_equal(buffer_text(&text), buffer_text(&expected));
        buffer_free(&text);
        buffer_free(&expected);
        buffer_free(&stream);
    }
}

#endif
