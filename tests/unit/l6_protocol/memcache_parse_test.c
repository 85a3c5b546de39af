/* memcached text parser: tables of what memcached 1.6.18 answers, every cut, mutants against a
 * naive reader; the UDP frame header. */
#include "tests/unit/l6_protocol/parse_cases.h"

#define KEY_50  "kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk"
#define KEY_250 KEY_50 KEY_50 KEY_50 KEY_50 KEY_50
#define KEY_251 KEY_250 "k"
#define FORMAT  "error CLIENT_ERROR bad command line format\n"
#define USAGE   "error CLIENT_ERROR bad command line format.  Usage: delete <key> [noreply]\n"
#define DELTA   "error CLIENT_ERROR invalid numeric delta argument\n"
#define EXPTIME "error CLIENT_ERROR invalid exptime argument\n"
#define CHUNK   "error CLIENT_ERROR bad data chunk\n"
#define NONE    "f0 e0 c0 d0 "
#define LEFT    "left 0\n"

static struct memcache_limits limits = {310};

static void run(const struct feed *feed, struct buffer *text)
{
    memcache_transcript(feed, &limits, text);
}

static void reference(struct slice stream, struct buffer *text)
{
    memcache_reference(stream, &limits, text);
}

struct sample {
    const char *input;
    size_t size;
    const char *expected;
};

static const struct sample samples[] = {
    /* get and its family */
    {SAMPLE("get a\r\n"), "get " NONE "a||\n" LEFT},
    {SAMPLE("get a\n"), "get " NONE "a||\n" LEFT},
    {SAMPLE("  get   a  b \r\nget c\r\n"), "get " NONE "a|b||\nget " NONE "c||\n" LEFT},
    {SAMPLE("gets a b c d e f g h i j k l m n o p q r\r\n"),
     "gets " NONE "a|b|c|d|e|f|g|h|i|j|k|l|m|n|o|p|q|r||\n" LEFT},
    {SAMPLE("bget a\r\n"), "get " NONE "a||\n" LEFT},
    {SAMPLE("get a \r \r\n"), "get " NONE "a|\\x0d||\n" LEFT},
    {SAMPLE("get a\0b c\r\nget d\r\n"), "get " NONE "a||\nget " NONE "d||\n" LEFT},
    {SAMPLE("get / HTTP/1.1\r\n"), "get " NONE "/|HTTP/1.1||\n" LEFT},
    {SAMPLE("get " KEY_250 "\r\n"), "get " NONE KEY_250 "||\n" LEFT},
    {SAMPLE("get a " KEY_251 " b\r\nget a\r\n"), FORMAT "get " NONE "a||\n" LEFT},
    /* what memcache_parse_plain takes of a get, and what differs from it in one byte */
    {SAMPLE("get 0123456789abcdef\r\nget 0123456789abcde 0123456789abcdefg h\r\n"),
     "get " NONE "0123456789abcdef||\nget " NONE "0123456789abcde|0123456789abcdefg|h||\n" LEFT},
    {SAMPLE("get a b c d e f g h i j k l m n o p\r\nget a b c d e f g h i j k l m n o p q r\r\n"),
     "get " NONE "a|b|c|d|e|f|g|h|i|j|k|l|m|n|o|p||\n"
     "get " NONE "a|b|c|d|e|f|g|h|i|j|k|l|m|n|o|p|q|r||\n" LEFT},
    {SAMPLE("get a \r\nget a  b\r\nget a\tb\x01 c\r\nget a\rb c\r\nget a\r\r\n"),
     "get " NONE "a||\nget " NONE "a|b||\nget " NONE "a\\x09b\\x01|c||\nget " NONE
     "a\\x0db|c||\nget " NONE "a\\x0d||\n" LEFT},
    {SAMPLE("get \x7f\x80\xff a\nb\r\nget a\0\r\nget 0123456789abcdef0123 \0b\r\n"),
     "get " NONE "\\x7f\\x80\\xff|a||\nerror ERROR\nget " NONE "a||\nget " NONE
     "0123456789abcdef0123||\n" LEFT},
    {SAMPLE("get\r\nget \r\ngets\r\ngat\r\n"),
     "error ERROR\nerror ERROR\nerror ERROR\nerror ERROR\n" LEFT},
    {SAMPLE("get\ta\r\nGET a\r\n\rget a\r\n"), "error ERROR\nerror ERROR\nerror ERROR\n" LEFT},
    {SAMPLE("gat 10 a b\r\ngats -1 a\r\ngat 0\r\n"),
     "gat f0 e10 c0 d0 a|b||\ngats f0 e-1 c0 d0 a||\ngat " NONE "|\n" LEFT},
    {SAMPLE("gat x a\r\ngat a\r\ngats 0 " KEY_251 "\r\n"), EXPTIME EXPTIME FORMAT LEFT},
    {SAMPLE("gat 4294967297 a\r\n"), "gat f0 e1 c0 d0 a||\n" LEFT},
    /* storage */
    {SAMPLE("set a 1 2 3\r\nabc\r\nget a\r\n"), "set f1 e2 c0 d0 a|abc|\nget " NONE "a||\n" LEFT},
    {SAMPLE("set a 0 0 0\r\n\r\n"), "set " NONE "a||\n" LEFT},
    {SAMPLE("set a 0 0 3\nabc\r\n"), "set " NONE "a|abc|\n" LEFT},
    {SAMPLE("set a 0 0 7 noreply\r\na\r\nb\0c\xff\r\n"),
     "set noreply " NONE "a|a\\x0d\\x0ab\\x00c\\xff|\n" LEFT},
    /* what memcache_parse_plain takes of a set, and what differs from it in one byte */
    {SAMPLE("set 0123456789abcdef 0 0 16\r\n0123456789abcdef\r\nset " KEY_250
            " 999999999 999999999 "
            "001\r\n\n\r\nget a\r\n"),
     "set " NONE
     "0123456789abcdef|0123456789abcdef|\nset too-large f999999999 e999999999 c0 d0 " KEY_250
     "||\nget " NONE "a||\n" LEFT},
    {SAMPLE("set a 1000000000 0 1\r\na\r\nset a 0 1000000000 1\r\na\r\nset a 0 0 "
            "0000000001\r\na\r\n"),
     "set f1000000000 e0 c0 d0 a|a|\nset f0 e1000000000 c0 d0 a|a|\nset " NONE "a|a|\n" LEFT},
    {SAMPLE("set  a 0 0 1\r\na\r\nset a  0 0 1\r\na\r\nset a 0 0 1 \r\na\r\n set a 0 0 "
            "1\r\na\r\n"),
     "set " NONE "a|a|\nset " NONE "a|a|\nset " NONE "a|a|\nset " NONE "a|a|\n" LEFT},
    {SAMPLE("set a\tb 0 0 1\r\na\r\nset a 0 -1 1\r\na\r\nset a 0 0 1\t\r\na\r\nset a 0 0\r "
            "1\r\na\r\n"),
     "set " NONE "a\\x09b|a|\nset f0 e-1 c0 d0 a|a|\nset " NONE "a|a|\nset " NONE "a|a|\n" LEFT},
    {SAMPLE("set a 0 0 3\r\nabc\r\rset a 0 0 3\r\nabc\n\nset a 0 0 1\rx\r\na\r\n"),
     CHUNK CHUNK "set " NONE "a|a|\n" LEFT},
    {SAMPLE("add a 0 0 1\r\na\r\nreplace a 0 0 1\r\na\r\nappend a 0 0 1\r\na\r\nprepend a 0 0 "
            "1\r\na\r\n"),
     "add " NONE "a|a|\nreplace " NONE "a|a|\nappend " NONE "a|a|\nprepend " NONE "a|a|\n" LEFT},
    {SAMPLE("cas a 1 2 3 4\r\nabc\r\ncas a 1 2 3 5 noreply\r\nabc\r\n"),
     "cas f1 e2 c4 d0 a|abc|\ncas noreply f1 e2 c5 d0 a|abc|\n" LEFT},
    {SAMPLE("set a 0 0 3 x\r\nabc\r\n"), "set " NONE "a|abc|\n" LEFT},
    {SAMPLE("set " KEY_250 " 0 0 -0\r\n"), "left 263\n"},
    {SAMPLE("set a 0 0 3\r\nabc\nget a\r\n"), CHUNK "error ERROR\n" LEFT},
    {SAMPLE("set a 0 0 3\r\nabcdef\r\n"), CHUNK "error ERROR\n" LEFT},
    {SAMPLE("set a 0 0 3 noreply\r\nabcdef\r\n"), "error ERROR\n" LEFT},
    {SAMPLE("set a 0 0\r\nset a 0 0 3 noreply x\r\n"), "error ERROR\nerror ERROR\n" LEFT},
    {SAMPLE("cas a 0 0 3\r\ncas a 0 0 3 x\r\ncas a 0 0 3 -1\r\n"),
     "error ERROR\n" FORMAT FORMAT LEFT},
    {SAMPLE("cas a 0 0 3 noreply\r\nversion\r\n"), "version " NONE "|\n" LEFT},
    {SAMPLE("set a 0 0 noreply\r\nset a 0 0 x\r\n"), FORMAT LEFT},
    {SAMPLE("set " KEY_251 " 0 0 1\r\na\r\n"), FORMAT "error ERROR\n" LEFT},
    {SAMPLE("set " KEY_251 " 0 0 1 noreply\r\na\r\n"), "error ERROR\n" LEFT},
    {SAMPLE("set a\0b 0 0 3\r\nabc\r\n"), "error ERROR\nerror ERROR\n" LEFT},
    /* numbers, as strtol and strtoul read them */
    {SAMPLE("set a x 0 1\r\nset a -1 0 1\r\nset a 0x7 0 1\r\nset a 1. 0 1\r\nset a - 0 1\r\n"),
     FORMAT FORMAT FORMAT FORMAT FORMAT LEFT},
    {SAMPLE("set a 99999999999999999999 0 1\r\nset a 0 9223372036854775808 1\r\n"),
     FORMAT FORMAT LEFT},
    {SAMPLE("set a 0 0 -1\r\nset a 0 0 2147483646\r\nset a 0 0 2147483647\r\n"),
     FORMAT FORMAT FORMAT LEFT},
    {SAMPLE("set a +7 -9223372036854775808 +1\r\na\r\n"), "set f7 e0 c0 d0 a|a|\n" LEFT},
    {SAMPLE("set a 7\tq 2147483648 01\r\na\r\n"), "set f7 e-2147483648 c0 d0 a|a|\n" LEFT},
    {SAMPLE("set a \v7 4294967296 4294967297\r\na\r\n"), "set f7 e0 c0 d0 a|a|\n" LEFT},
    {SAMPLE("set a 4294967297 0 1\r\na\r\n"), "set f1 e0 c0 d0 a|a|\n" LEFT},
    {SAMPLE("set a -18446744073709551615 0 1\r\na\r\n"), "set f1 e0 c0 d0 a|a|\n" LEFT},
    /* too large: the limit of these tests is 310 with 59 for the reference's own */
    {SAMPLE("set a 0 0 251\r\nx\r\n"), "set too-large " NONE "a||\n" LEFT},
    {SAMPLE("set a 1 0 247 noreply\r\n"), "set noreply too-large f1 e0 c0 d0 a||\n" LEFT},
    {SAMPLE("set a 1 0 246\r\n"), "left 15\n"},
    {SAMPLE("set " KEY_250 " 0 0 2\r\nabcdversion\r\n"),
     "set too-large " NONE KEY_250 "||\nversion " NONE "|\n" LEFT},
    /* delete */
    {SAMPLE("delete a\r\ndelete a 0\r\ndelete a noreply\r\ndelete a 0 noreply\r\n"),
     "delete " NONE "a||\ndelete " NONE "a||\ndelete noreply " NONE "a||\ndelete noreply " NONE
     "a||\n" LEFT},
    {SAMPLE("delete a 1\r\ndelete a 0 0\r\ndelete a 1 noreply\r\ndelete a noreply noreply\r\n"),
     USAGE USAGE LEFT},
    {SAMPLE("delete\r\ndelete a 0 noreply x\r\n"), "error ERROR\nerror ERROR\n" LEFT},
    {SAMPLE("delete " KEY_251 "\r\ndelete " KEY_251 " 1\r\n"), FORMAT USAGE LEFT},
    /* incr, decr, touch */
    {SAMPLE("incr a 1\r\ndecr a 18446744073709551615 noreply\r\nincr a 1 x\r\n"),
     "incr f0 e0 c0 d1 a||\ndecr noreply f0 e0 c0 d18446744073709551615 a||\nincr f0 e0 c0 d1 "
     "a||\n" LEFT},
    {SAMPLE("incr a x\r\nincr a -1\r\nincr a 18446744073709551616\r\nincr a x noreply\r\n"),
     DELTA DELTA DELTA LEFT},
    {SAMPLE("incr a\r\nincr a 1 2 3\r\nincr " KEY_251 " x\r\n"),
     "error ERROR\nerror ERROR\n" FORMAT LEFT},
    {SAMPLE("touch a 5\r\ntouch a 5 noreply\r\ntouch a x\r\ntouch a\r\ntouch " KEY_251 " x\r\n"),
     "touch f0 e5 c0 d0 a||\ntouch noreply f0 e5 c0 d0 a||\n" EXPTIME "error ERROR\n" FORMAT LEFT},
    /* flush_all, verbosity, version, quit, stats */
    {SAMPLE("flush_all\r\nflush_all 5\r\nflush_all noreply\r\nflush_all 5 noreply\r\nflush_all 0 "
            "x\r\n"),
     "flush_all " NONE "|\nflush_all argument f0 e5 c0 d0 |\nflush_all noreply " NONE
     "|\nflush_all noreply argument f0 e5 c0 d0 |\nflush_all argument " NONE "|\n" LEFT},
    {SAMPLE("flush_all x\r\nflush_all noreply noreply\r\nflush_all 0 0 0\r\n"),
     EXPTIME "error ERROR\n" LEFT},
    {SAMPLE("verbosity 1\r\nverbosity 1 noreply\r\nverbosity 1 2\r\n"),
     "verbosity argument f0 e0 c0 d1 |\nverbosity noreply argument f0 e0 c0 d1 |\nverbosity "
     "argument f0 e0 c0 d1 |\n" LEFT},
    {SAMPLE("verbosity\r\nverbosity x\r\nverbosity -1\r\nverbosity noreply\r\nverbosity 1 2 3\r\n"),
     "error ERROR\n" FORMAT FORMAT "error ERROR\n" LEFT},
    {SAMPLE("version\r\nversion x\r\nversion\r\r\n"),
     "version " NONE "|\nversion " NONE "|x\nerror ERROR\n" LEFT},
    {SAMPLE("quit\r\n"), "quit " NONE "|\n" LEFT},
    {SAMPLE("stats\r\nstats  items x\r\nstats a\0b\r\n"),
     "stats " NONE "|\nstats " NONE "|items\\x20x\nstats " NONE "|a\n" LEFT},
    /* meta commands; flags are a bit for each letter from A on */
    {SAMPLE("mg a\r\nmg a  v k \r\nmn x\r\n"),
     "mg f0 e0 c0 d1 a||\nmg f0 e0 c0 d1 a||20040000000000 N0 R0 J0 E0 M0 \\x20\\x20v\\x20k\\x20\n"
     "mn " NONE "|x\n" LEFT},
    {SAMPLE("ms a 3 T5 F7\r\nabc\r\nms a 3 z\r\nabc\r\nms a 3 q\r\nabcd\r\n"),
     "ms f7 e5 c0 d1 a|abc|80020 N0 R0 J0 E0 M0 \\x20T5\\x20F7\nerror CLIENT_ERROR invalid "
     "flag\n" CHUNK "error ERROR\n" LEFT},
    {SAMPLE("ms YQA= 1 b\r\nx\r\nmd YQA b\r\nme YQ== b\r\nme a z\r\n"),
     "ms f0 e0 c0 d1 a\\x00|x|200000000 N0 R0 J0 E0 M0 \\x20b\nerror CLIENT_ERROR invalid or "
     "duplicate flag\nme f0 e0 c0 d1 a||200000000 N0 R0 J0 E0 M0 b\nme " NONE "a||\n" LEFT},
    {SAMPLE("ma a D5 J9 N10 MD C3 E4\r\nma a MX\r\nmg a N1 R2\r\nmg\r\nme\r\nms\r\nms a\r\n"),
     "ma f0 e0 c3 d5 a||321c N10 R0 J9 E4 M68 "
     "\\x20D5\\x20J9\\x20N10\\x20MD\\x20C3\\x20E4\nerror CLIENT_ERROR invalid mode for ma M "
     "token\nmg f0 e0 c0 d1 a||22000 N1 R2 J0 E0 M0 \\x20N1\\x20R2\nerror ERROR\n" FORMAT
     "error ERROR\n" FORMAT LEFT},
    {SAMPLE("ms a 251 T1\r\n"), "ms too-large f0 e1 c0 d1 a||80000 N0 R0 J0 E0 M0 \\x20T1\n" LEFT},
    /* unknown */
    {SAMPLE("\r\n\n \r\ng\r\nfoo noreply\r\n\x81get a\r\n"),
     "error ERROR\nerror ERROR\nerror ERROR\nerror ERROR\nerror ERROR\nerror ERROR\n" LEFT},
    {SAMPLE("lru mode flat\r\nslabs x\r\ncache_memlimit x noreply\r\ncache_memlimit "
            "-1\r\ncache_memlimit\r\n"),
     "error CLIENT_ERROR no LRU to tune: maxmemory-policy chooses what is evicted\n"
     "error CLIENT_ERROR slab reassignment disabled\n"
     "error ERROR\nerror ERROR\n" LEFT},
    {SAMPLE("shutdown  graceful\r\nlru_crawler metadump all\r\nconfig get "
            "cluster\r\ncache_memlimit 64 noreply\r\n"
            "cache_memlimit 5000000000 x\r\n"),
     "shutdown " NONE "|graceful\nlru_crawler " NONE "|metadump\\x20all\nconfig " NONE
     "|get\\x20cluster\n"
     "cache_memlimit noreply f0 e0 c0 d64 |\ncache_memlimit f0 e0 c0 d705032704 |\n" LEFT},
    {SAMPLE("POST / HTTP/1.1\r\nversion\r\n"), "fatal \n"},
    {SAMPLE("GET / HTTP/1.1\r\n"), "fatal \n"},
    {SAMPLE("version\r\nHTTP/1.1\r\n"), "version " NONE "|\nfatal \n"},
    {SAMPLE("x HTTP/\r\ndoit HTTP/1\r\nx HTTP/ y\r\n"),
     "error ERROR\nerror ERROR\nerror ERROR\n" LEFT},
    /* the binary protocol */
    {SAMPLE("\x80\0\0\1"), "fatal \n"},
    {SAMPLE("version\r\n\x80 x\r\n"), "version " NONE "|\nerror ERROR\n" LEFT},
    {SAMPLE("get"), "left 3\n"},
    {SAMPLE("get a\r"), "left 6\n"},
    {SAMPLE("set a 0 0 3\r\nabc\r"), "left 17\n"},
};

static void test_samples_under_every_cut(void **state)
{
    for (size_t i = 0; i < CASE_COUNT(samples); i++) {
        expect_under_every_cut(run, slice_of(samples[i].input, samples[i].size), 1,
                               samples[i].expected);
    }
}

static void test_samples_as_the_reference(void **state)
{
    for (size_t i = 0; i < CASE_COUNT(samples); i++) {
        struct buffer text = {0};
        reference(slice_of(samples[i].input, samples[i].size), &text);
        assert_string_equal(buffer_text(&text), samples[i].expected);
        buffer_free(&text);
    }
}

static void test_mutants_as_the_reference(void **state)
{
    static const char *const seeds[] = {
        "get a\r\n",
        "gets key1 key2 key3\r\n",
        "gat 100 key1 key2\r\n",
        "set key 1 100 5\r\nhello\r\n",
        "set key 0 0 12\r\nset a 0 0 1\r\na\r\nhello\r\nget key\r\n",
        "set key 1 100 5 noreply\r\nhello\r\n",
        "cas key 0 -1 11 99\r\nhello world\r\n",
        "append key 0 0 250\r\n",
        "delete key 0 noreply\r\n",
        "incr key 18446744073709551615\r\n",
        "touch key 10 noreply\r\n",
        "flush_all 10 noreply\r\n",
        "verbosity 1 noreply\r\n",
        "stats items\r\n",
        "version\r\n",
        "POST / HTTP/1.1\r\n",
        "slabs automove 1\r\n",
        "mg key s v t c f k Oopaque q N30 R20 T10\r\n",
        "mg a2V5 b k v\r\n",
        "ms key 5 c F1 T100 MS C5 I q\r\nhello\r\n",
        "ms a2V5 5 b k MA\r\nhello\r\n",
        "md key I T30 q O1\r\n",
        "ma key N0 J13 D5 MD t v\r\n",
        "me a2V5 b\r\n",
    };
    expect_mutants_as_reference(run, reference, seeds, CASE_COUNT(seeds), "0123456789\r\n  \t-+xan",
                                30000);
}

static const struct plain_sample {
    const char *input;
    size_t consumed; /* 0: memcache_parse is to read it */
} plain_samples[] = {
    {"get a\r\n", 7},
    {"get a b\r\nget c\r\n", 9},
    {"get a\n", 0},
    {"get a \r\n", 0},
    {"get " KEY_250 "\r\n", 256},
    {"get " KEY_251 "\r\n", 0},
    {"get a b c\r\n", 0}, /* more than there is room for */
    {"gets a\r\n", 0},
    {"set a 0 0 1\r\nb\r\n", 16},
    {"set a 0 0 0\r\n\r\nget a\r\n", 15},
    {"set 0123456789abcdef 999999999 999999999 64\r\n" KEY_50 KEY_50, 0},
    {"set a 999999999 999999999 50\r\n" KEY_50 "\r\n", 82},
    {"set a 0 0 2\r\na\r\n", 0},
    {"set a 0 0 1\r\nab\n", 0},
    {"set a 0 0 1 noreply\r\na\r\n", 0},
    {"set a 0 -1 1\r\na\r\n", 0},
    {"set a +0 0 1\r\na\r\n", 0},
    {"set a 1234567890 0 1\r\na\r\n", 0},
    {"set a 0 1234567890 1\r\na\r\n", 0},
    {"set a 0 0 4294967297\r\na\r\n", 0}, /* 1, where it is cut to 32 bits */
    {"set a 0 0 \r\na\r\n", 0},
    {"set a 0 0\r\na\r\n", 0},
    {"set  0 0 1\r\na\r\n", 0},
    {"set a 0 0 250\r\n" KEY_250 "\r\n", 267}, /* 310 with the reference's own: the limit */
    {"set a 1 0 247\r\n" KEY_250 "\r\n", 0},
    {"set a 0 0 251\r\n" KEY_251 "\r\n", 0},
    {"set " KEY_250 " 0 0 1\r\na\r\n", 265},
    {"set " KEY_251 " 0 0 0\r\n\r\n", 0},
    {"add a 0 0 1\r\na\r\n", 0},
};

/* Nor does it look behind the input: each is a block of the heap. */
static void test_what_is_plain(void **state)
{
    for (size_t i = 0; i < CASE_COUNT(plain_samples); i++) {
        const struct plain_sample *sample = &plain_samples[i];
        for (size_t size = 0, all = strlen(sample->input); size <= all; size++) {
            struct memcache_request request;
            struct slice keys[2];
            uint8_t *input = malloc(size > 0 ? size : 1);
            assert_non_null(input);
            memcpy(input, sample->input, size);
            size_t consumed = memcache_parse_plain(&limits, slice_of(input, size), keys,
                                                   CASE_COUNT(keys), &request);
            assert_int_equal(consumed, size >= sample->consumed ? sample->consumed : 0);
            free(input);
        }
    }
    struct memcache_request request;
    struct slice key;
    assert_int_equal(memcache_parse_plain(&limits, SLICE_LITERAL("get a\r\n"), &key, 0, &request),
                     0);
    assert_int_equal(
        memcache_parse_plain(&limits, SLICE_LITERAL("set a 0 0 1\r\na\r\n"), &key, 0, &request), 0);
}

static void expect_long_line(const char *start, size_t filler, const char *end,
                             const char *expected)
{
    struct buffer stream = {0};
    buffer_append(&stream, start, strlen(start));
    for (size_t i = 0; i < filler; i++) {
        buffer_append(&stream, "a ", 2);
    }
    buffer_append(&stream, end, strlen(end));
    expect_under_every_cut(run, slice_of(stream.data, stream.size), 5003, expected);
    buffer_free(&stream);
}

static void test_long_lines(void **state)
{
    expect_long_line("delete ", 8188, "x\r\n", "fatal \n");
    expect_long_line("delete ", 8187, "x\r\n", "error ERROR\n" LEFT);
    expect_long_line("delete ", 8188, "", "left 16383\n");
    expect_long_line("delete ", 8188, "xx", "fatal \n");
    expect_long_line("get\t", 8192, "", "fatal \n");
}

/* A get line may be long; the keys come out in order. */
static void test_many_keys(void **state)
{
    struct buffer stream = {0}, expected = {0};
    buffer_print(&stream, "  gat 7 ");
    buffer_print(&expected, "gat f0 e7 c0 d0 ");
    for (int i = 0; i < 20000; i++) {
        buffer_print(&stream, "%d ", i);
        buffer_print(&expected, "%d|", i);
    }
    buffer_print(&stream, "\r\nversion\r\n");
    buffer_print(&expected, "|\nversion " NONE "|\n" LEFT);
    expect_under_every_cut(run, slice_of(stream.data, stream.size), 30011, buffer_text(&expected));
    buffer_free(&stream);
    buffer_free(&expected);
}

static void test_get_line_has_a_bound(void **state)
{
    struct buffer stream = {0};
    buffer_print(&stream, "get ");
    while (stream.size < MEMCACHE_GET_LINE_BYTES_MAX) {
        buffer_append(&stream, "0123456789abcde ", 16);
    }
    struct feed feed = {slice_of(stream.data, MEMCACHE_GET_LINE_BYTES_MAX), NULL, 0, 0};
    expect_transcript(run, &feed, "left 1048576\n");
    feed.stream.size++;
    expect_transcript(run, &feed, "fatal \n");
    buffer_free(&stream);
}

static void test_refused_value(void **state)
{
    struct memcache_parser parser;
    struct memcache_request request;
    struct memcache_parse_result result;
    struct memcache_limits large = {1 << 20};
    memcache_parser_init(&parser);
    memcache_parse(&parser, &large, SLICE_LITERAL("set key 7 0 20000\r\nabc"), &request, &result);
    assert_int_equal(result.verdict, PARSE_PARTIAL);
    assert_int_equal(result.bulk_offset, 19);
    assert_int_equal(result.bulk_bytes, 20000);
    assert_int_equal(result.wanted_bytes, 20021);
    memcache_parser_refuse_value(&parser);
    memcache_parse(&parser, &large, SLICE_LITERAL("set key 7 0 20000\r\nabc"), &request, &result);
    assert_int_equal(result.verdict, PARSE_COMPLETE);
    assert_int_equal(result.consumed, 19);
    assert_true(request.value_refused);
    assert_int_equal(request.verb, MEMCACHE_SET);
    assert_true(slice_equal(request.keys[0], SLICE_LITERAL("key")));

    static uint8_t rest[20002];
    memset(rest, 'v', sizeof(rest));
    memcache_parse(&parser, &large, slice_of(rest, 20000), &request, &result);
    assert_int_equal(result.verdict, PARSE_NOTHING);
    assert_int_equal(result.consumed, 20000);
    memcache_parse(&parser, &large, SLICE_LITERAL("\r\nversion\r\n"), &request, &result);
    assert_int_equal(result.verdict, PARSE_NOTHING);
    assert_int_equal(result.consumed, 2);
    memcache_parse(&parser, &large, SLICE_LITERAL("version\r\n"), &request, &result);
    assert_int_equal(result.verdict, PARSE_COMPLETE);
    assert_int_equal(request.verb, MEMCACHE_VERSION);
    memcache_parser_deinit(&parser);
}

static void test_frame(void **state)
{
    const uint8_t datagram[] = {0x12, 0x34, 0x00, 0x01, 0x00, 0x02, 0xab, 0xcd, 'g'};
    struct memcache_frame frame;
    for (size_t size = 0; size < MEMCACHE_FRAME_BYTES; size++) {
        assert_false(memcache_frame_parse(slice_of(datagram, size), &frame));
    }
    assert_true(memcache_frame_parse(slice_of(datagram, sizeof(datagram)), &frame));
    assert_int_equal(frame.request_id, 0x1234);
    assert_int_equal(frame.sequence, 1);
    assert_int_equal(frame.datagram_count, 2);
    assert_int_equal(frame.reserved, 0xabcd);
    uint8_t bytes[MEMCACHE_FRAME_BYTES];
    memcache_frame_compose(&frame, bytes);
    assert_memory_equal(bytes, datagram, sizeof(bytes));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_samples_under_every_cut),
        cmocka_unit_test(test_samples_as_the_reference),
        cmocka_unit_test(test_mutants_as_the_reference),
        cmocka_unit_test(test_what_is_plain),
        cmocka_unit_test(test_long_lines),
        cmocka_unit_test(test_many_keys),
        cmocka_unit_test(test_get_line_has_a_bound),
        cmocka_unit_test(test_refused_value),
        cmocka_unit_test(test_frame),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
