/* The command line: redis-benchmark's letters where it has them, words for the rest. */
#include "tests/bench/options.h"

#include <errno.h>
#include <getopt.h>
#include <netdb.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "dataplane/base/hash.h"
#include "tests/bench/transport.h"

#define REQUESTS         100000U /* of each test, unless told otherwise */
#define REQUESTS_IN_FILE 1000U

static const char help[] =
    "Usage: nicached-bench [-h host] [-p port] [-c connections] [-n requests] [option ...]\n"
    "\n"
    "Measures a Redis or memcached server: over kernel sockets, or with --interface over a port of "
    "its\n"
    "own and nicached's own network stack. Options are redis-benchmark's where it has them.\n"
    "\n"
    "Server\n"
    " -h, --host HOST        name or address (default 127.0.0.1)\n"
    " -p, --port PORT        default 6379, or 11211 with --memcache and --udp\n"
    " -a PASSWORD            AUTH with it on every connection\n"
    " -m, --memcache         speak memcached's text protocol instead of RESP\n"
    "     --meta             speak memcached's meta commands (mg, ms)\n"
    " -u, --udp              memcached over UDP; each connection is a port, -P its window\n"
    "     --interface LINE   DPDK port and address to send from, as in nicached.conf:\n"
    "                        \"m0 memif:/run/nicached/m0.sock 198.18.2.1/24 client\"\n"
    "     --hugepages MODE   auto, yes or no (default auto); with --interface\n"
    "     --ack-delay MS     how long the ACK of a reply waits for a request that it can ride on\n"
    "                        (default 40; below 500 by RFC 9293; 0: it always goes by itself);\n"
    "                        with --interface\n"
    "     --cpu N            stay on this CPU\n"
    "\n"
    "Load\n"
    " -c CONNECTIONS         default 50\n"
    " -P, --pipeline N       requests under way on each connection (default 1)\n"
    "     --in-flight N      no connection begins while so many requests are under way on all of "
    "them;\n"
    "                        they take turns (default 0: no limit but -P)\n"
    " -n REQUESTS            of each test (default 100000)\n"
    "     --duration SECONDS by time instead of by count\n"
    "     --warmup SECONDS   run before measuring (default 0)\n"
    "     --rate N           open loop: N requests a second, whatever the server does. A latency "
    "counts\n"
    "                        from the time the request was meant to leave\n"
    "     --arrival KIND     poisson (default) or constant; with --rate\n"
    "     --busy             poll without sleeping (always so with --interface)\n"
    "     --timeout SECONDS  without any answer the run fails (default 10); a UDP request is given "
    "up\n"
    "                        after a twentieth of it\n"
    "\n"
    "Requests\n"
    " -t TESTS               one after another: set, get, mget, ping, mix (default set,get)\n"
    "     --mix GET:SET      one test with both, as 90:10\n"
    "     --preset NAME      mica-small, usr, etc, twitter-mid, twitter-write, valkey (below)\n"
    " -r KEYS                size of the key space (default 100000)\n"
    " -d, --value-size SIZE  64, or a list 64,512 or 64:90,4096:10, a range 1-1000, or a "
    "distribution:\n"
    "                        etc-value, twitter-value, twitter-write (default 3)\n"
    "     --key-size SIZE    the same, or etc-key (default 16)\n"
    "     --zipf THETA       skewed keys: 0.99, 1.2, ... (default 0: uniform)\n"
    "     --keys-per-get N   MGET, or get with many keys (mget: 10)\n"
    "     --ttl LOW[-HIGH]   seconds that a written value lives (default: no limit)\n"
    "     --one-hit PERCENT  of the writes go to a key that is never used again\n"
    "     --seed N           of all random choices\n"
    "     --preload          write every key once before the first test\n"
    "     --verify           check every value that is read: of this key, whole, not stale. "
    "Preloads\n"
    "\n"
    "Output\n"
    "     --json             one JSON document instead of text\n"
    "     --plot FILE.svg    latency by percentile\n"
    " -q                     one line for each test\n"
    "     --help, --version\n"
    "\n";

static const char help_more[] =
    "Templates for other packet generators (docs/packet-generators.md)\n"
    "     --write-templates FILE.pcap\n"
    "                        write the requests as Ethernet frames, and ask no server: with --udp "
    "one for\n"
    "                        each request, else one TCP connection with its replies. -n 1000 of "
    "each\n"
    "                        test unless given; -h is the address they are sent to, -c the number "
    "of\n"
    "                        client ports, --rate the distance of their time stamps\n"
    "     --client ADDRESS[:PORT]\n"
    "                        sent from (default 198.18.0.1:40000); more ports count up from there\n"
    "     --client-mac MAC, --server-mac MAC\n"
    "                        default 02:00:00:00:00:01 and 02:00:00:00:00:02\n"
    "     --no-checksum      UDP checksum 0, which means none: for a generator that changes the "
    "payload\n"
    "\n"
    "Presets; options given too take precedence. All preload their key space but valkey.\n"
    "  mica-small     8 B keys, 8 B values, Zipf 0.99, 95:5, 1 M keys\n"
    "  usr            19 B keys, 2 B values, Zipf 0.99, 99:1, 1 M keys\n"
    "  etc            20-70 B keys, 1-1000 B values mostly small, Zipf 0.99, 75:25, 1 M keys\n"
    "  twitter-mid    36 B keys, 224 B values, Zipf 1.2, 90:10, TTL 5 min to a day, 1 M keys\n"
    "  twitter-write  36 B keys, 15 B-20 KB values, Zipf 0.9, 20:80, TTL 20-300 s, 80 % of the "
    "writes to\n"
    "                 keys used once, 100 K keys\n"
    "  valkey         16 B keys, 512 B values, SET, 3 M keys, 650 connections\n"
    "\n"
    "Examples\n"
    "  nicached-bench -p 6379 -t set,get -n 1000000 -P 16\n"
    "  nicached-bench --memcache --preset etc --duration 10 --rate 50000 --plot etc.svg\n"
    "  nicached-bench --interface \"m0 memif:/tmp/m0.sock 198.18.2.1/24 client\" -h 198.18.2.2 "
    "--udp\n"
    "                 -c 1 -P 64 --mix 95:5 --preload -r 1000000 -d 64\n"
    "\n"
    "Exit code: 0, 1 when the run failed, 2 when the command line is wrong, 3 when a value was "
    "wrong.\n";

static bool refuse(const char *format, ...) __attribute__((format(printf, 1, 2)));

static bool refuse(const char *format, ...)
{
    va_list list;
    fputs("nicached-bench: ", stderr);
    va_start(list, format);
    vfprintf(stderr, format, list);
    va_end(list);
    fputs(" (--help says more)\n", stderr);
    return false;
}

/* ---- values ---------------------------------------------------------------------------------- */

static bool parse_integer(const char *name, const char *text, uint64_t low, uint64_t high,
                          uint64_t *value)
{
    char *end;
    errno = 0;
    unsigned long long number = strtoull(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0' || text[0] == '-' || number < low ||
        number > high) {
        return refuse("%s must be a number from %llu to %llu, not '%s'", name,
                      (unsigned long long)low, (unsigned long long)high, text);
    }
    *value = number;
    return true;
}

static bool parse_small(const char *name, const char *text, uint32_t low, uint32_t high,
                        uint32_t *value)
{
    uint64_t number = 0;
    bool right = parse_integer(name, text, low, high, &number);
    *value = (uint32_t)number;
    return right;
}

static bool parse_real(const char *name, const char *text, double low, double high, double *value)
{
    char *end;
    *value = strtod(text, &end);
    if (end == text || *end != '\0' || !(*value >= low && *value <= high)) {
        return refuse("%s must be a number from %g to %g, not '%s'", name, low, high, text);
    }
    return true;
}

static bool parse_key_size(struct options *options, const char *text)
{
    options->key_text = text;
    return sizes_parse(&options->key_sizes, text, 1, WORKLOAD_KEY_BYTES_MAX) ||
           refuse("--key-size takes sizes from 1 to %u, not '%s'", WORKLOAD_KEY_BYTES_MAX, text);
}

static bool parse_value_size(struct options *options, const char *text)
{
    options->value_text = text;
    return sizes_parse(&options->value_sizes, text, 0, WORKLOAD_VALUE_BYTES_MAX) ||
           refuse("-d takes sizes from 0 to %u, not '%s'", WORKLOAD_VALUE_BYTES_MAX, text);
}

static bool parse_ttl(struct options *options, const char *text)
{
    unsigned low, high;
    char rest;
    int count = sscanf(text, "%u-%u%c", &low, &high, &rest);
    high = count == 1 ? low : high;
    /* memcached takes more than 30 days for a date. */
    if (count < 1 || count > 2 || low == 0 || high < low || high > 2592000 ||
        (count == 1 && strspn(text, "0123456789") != strlen(text))) {
        return refuse("--ttl takes seconds, as 60 or 20-300, not '%s'", text);
    }
    options->ttl_low_s = low;
    options->ttl_high_s = high;
    return true;
}

static bool add_test(struct options *options, const char *name, uint32_t get, uint32_t set,
                     uint32_t ping)
{
    if (options->test_count == OPTIONS_TESTS_MAX) {
        return refuse("more than %u tests", OPTIONS_TESTS_MAX);
    }
    struct bench_test *test = &options->tests[options->test_count++];
    *test = (struct bench_test){.weights = {get, set, ping}, .keys_a_get = 1};
    snprintf(test->name, sizeof(test->name), "%s", name);
    return true;
}

static bool parse_mix(struct options *options, const char *text)
{
    unsigned get, set;
    char rest, name[32];
    if (sscanf(text, "%u:%u%c", &get, &set, &rest) != 2 || get > 1000000 || set > 1000000 ||
        get + set == 0) {
        return refuse("--mix takes GET:SET, as 90:10, not '%s'", text);
    }
    options->test_count = 0;
    snprintf(name, sizeof(name), "get:set %u:%u", get, set);
    return add_test(options, name, get, set, 0);
}

static bool parse_test(struct options *options, const char *name)
{
    if (strcasecmp(name, "get") == 0) {
        return add_test(options, "get", 1, 0, 0);
    }
    if (strcasecmp(name, "set") == 0) {
        return add_test(options, "set", 0, 1, 0);
    }
    if (strcasecmp(name, "ping") == 0) {
        return add_test(options, "ping", 0, 0, 1);
    }
    if (strcasecmp(name, "mix") == 0) {
        return add_test(options, "get:set 90:10", 90, 10, 0);
    }
    if (strcasecmp(name, "mget") == 0 && add_test(options, "mget", 1, 0, 0)) {
        options->tests[options->test_count - 1].keys_a_get = 10;
        return true;
    }
    return refuse("unknown test '%s'; known are set, get, mget, ping, mix", name);
}

static bool parse_tests(struct options *options, const char *text)
{
    char words[128];
    options->test_count = 0;
    if (strlen(text) >= sizeof(words)) {
        return refuse("the list of -t is too long");
    }
    memcpy(words, text, strlen(text) + 1);
    char *rest = words;
    for (char *word = strsep(&rest, ","); word != NULL; word = strsep(&rest, ",")) {
        if (!parse_test(options, word)) {
            return false;
        }
    }
    return true;
}

/* By the server's own grammar. */
static bool parse_interface_line(struct options *options, char *text)
{
    char directive[] = "--interface";
    char *const arguments[] = {directive, text};
    struct config *config = config_create_default();
    struct config_error error = {.text = "out of memory"};
    bool right = config != NULL && config_load(config, 2, arguments, &error) == 0;
    if (right) {
        options->interface = config->interfaces[config->interface_count - 1];
        options->has_interface = options->interface.driver != INTERFACE_SOCKET;
    }
    if (config != NULL) {
        config_destroy(config);
    }
    return right || refuse("%s", error.text);
}

static bool parse_hugepages(struct options *options, const char *text)
{
    static const char *const names[] = {"auto", "yes", "no"};
    for (int i = 0; i < 3; i++) {
        if (strcmp(text, names[i]) == 0) {
            options->hugepages = (enum hugepages_mode)i;
            return true;
        }
    }
    return refuse("--hugepages takes auto, yes or no");
}

static bool parse_arrival(struct options *options, const char *text)
{
    options->poisson = strcmp(text, "poisson") == 0;
    return options->poisson || strcmp(text, "constant") == 0 ||
           refuse("--arrival takes poisson or constant");
}

/* ---- templates ------------------------------------------------------------------------------- */

static bool parse_mac(const char *name, const char *text, struct rte_ether_addr *mac)
{
    return rte_ether_unformat_addr(text, mac) == 0 ||
           refuse("%s takes an address as 02:00:00:00:00:01, not '%s'", name, text);
}

static bool parse_client(struct options *options, const char *text)
{
    struct address address;
    const char *colon = strchr(text, ':');
    size_t size = colon == NULL ? strlen(text) : (size_t)(colon - text);
    if (!address_parse(slice_of(text, size), &address) || !address_is_ipv4(&address)) {
        return refuse("--client takes an IPv4 address and maybe a port, as 198.18.0.1:40000,"
                      " not '%s'",
                      text);
    }
    options->template_client.ipv4 = address_to_ipv4(&address);
    uint32_t port = options->template_client.port;
    bool right =
        colon == NULL || parse_small("the port of --client", colon + 1, 1, UINT16_MAX, &port);
    options->template_client.port = (uint16_t)port;
    return right;
}

/* ---- presets --------------------------------------------------------------------------------- */

static const struct {
    const char *name, *key_size, *value_size, *mix, *ttl;
    double theta;
    uint64_t key_count;
    uint32_t one_hit_percent, connections;
    bool preload;
} presets[] = {
    {"mica-small", "8", "8", "95:5", NULL, 0.99, 1000000, 0, 50, true},
    {"usr", "19", "2", "99:1", NULL, 0.99, 1000000, 0, 50, true},
    {"etc", "etc-key", "etc-value", "75:25", NULL, 0.99, 1000000, 0, 50, true},
    {"twitter-mid", "36", "224", "90:10", "300-86400", 1.2, 1000000, 0, 50, true},
    {"twitter-write", "36", "twitter-write", "20:80", "20-300", 0.9, 100000, 80, 50, true},
    {"valkey", "16", "512", "0:100", NULL, 0, 3000000, 0, 650, false},
};

static bool apply_preset(struct options *options, const char *name)
{
    for (size_t i = 0; i < sizeof(presets) / sizeof(presets[0]); i++) {
        if (strcmp(name, presets[i].name) != 0) {
            continue;
        }
        options->preset = presets[i].name;
        options->theta = presets[i].theta;
        options->key_count = presets[i].key_count;
        options->one_hit_percent = presets[i].one_hit_percent;
        options->connections = presets[i].connections;
        options->preload = presets[i].preload;
        return parse_key_size(options, presets[i].key_size) &&
               parse_value_size(options, presets[i].value_size) &&
               parse_mix(options, presets[i].mix) &&
               (presets[i].ttl == NULL || parse_ttl(options, presets[i].ttl));
    }
    return refuse("unknown preset '%s'", name);
}

/* ---- the table of options -------------------------------------------------------------------- */

enum long_option {
    OPTION_HELP = 256,
    OPTION_VERSION,
    OPTION_INTERFACE_LINE,
    OPTION_META,
    OPTION_HUGEPAGES,
    OPTION_ACK_DELAY,
    OPTION_CPU,
    OPTION_IN_FLIGHT,
    OPTION_DURATION,
    OPTION_WARMUP,
    OPTION_RATE,
    OPTION_ARRIVAL,
    OPTION_BUSY,
    OPTION_TIMEOUT,
    OPTION_MIX,
    OPTION_PRESET,
    OPTION_KEY_SIZE,
    OPTION_ZIPF,
    OPTION_KEYS_PER_GET,
    OPTION_TTL,
    OPTION_ONE_HIT,
    OPTION_SEED,
    OPTION_PRELOAD,
    OPTION_VERIFY,
    OPTION_JSON,
    OPTION_PLOT,
    OPTION_WRITE_TEMPLATES,
    OPTION_CLIENT,
    OPTION_CLIENT_MAC,
    OPTION_SERVER_MAC,
    OPTION_NO_CHECKSUM,
};

static const char letters[] = "h:p:a:muc:P:n:t:r:d:q";
static const struct option words[] = {
    {"help", no_argument, NULL, OPTION_HELP},
    {"version", no_argument, NULL, OPTION_VERSION},
    {"host", required_argument, NULL, 'h'},
    {"port", required_argument, NULL, 'p'},
    {"memcache", no_argument, NULL, 'm'},
    {"meta", no_argument, NULL, OPTION_META},
    {"udp", no_argument, NULL, 'u'},
    {"pipeline", required_argument, NULL, 'P'},
    {"in-flight", required_argument, NULL, OPTION_IN_FLIGHT},
    {"ack-delay", required_argument, NULL, OPTION_ACK_DELAY},
    {"value-size", required_argument, NULL, 'd'},
    {"interface", required_argument, NULL, OPTION_INTERFACE_LINE},
    {"hugepages", required_argument, NULL, OPTION_HUGEPAGES},
    {"cpu", required_argument, NULL, OPTION_CPU},
    {"duration", required_argument, NULL, OPTION_DURATION},
    {"warmup", required_argument, NULL, OPTION_WARMUP},
    {"rate", required_argument, NULL, OPTION_RATE},
    {"arrival", required_argument, NULL, OPTION_ARRIVAL},
    {"busy", no_argument, NULL, OPTION_BUSY},
    {"timeout", required_argument, NULL, OPTION_TIMEOUT},
    {"mix", required_argument, NULL, OPTION_MIX},
    {"preset", required_argument, NULL, OPTION_PRESET},
    {"key-size", required_argument, NULL, OPTION_KEY_SIZE},
    {"zipf", required_argument, NULL, OPTION_ZIPF},
    {"keys-per-get", required_argument, NULL, OPTION_KEYS_PER_GET},
    {"ttl", required_argument, NULL, OPTION_TTL},
    {"one-hit", required_argument, NULL, OPTION_ONE_HIT},
    {"seed", required_argument, NULL, OPTION_SEED},
    {"preload", no_argument, NULL, OPTION_PRELOAD},
    {"verify", no_argument, NULL, OPTION_VERIFY},
    {"json", no_argument, NULL, OPTION_JSON},
    {"plot", required_argument, NULL, OPTION_PLOT},
    {"write-templates", required_argument, NULL, OPTION_WRITE_TEMPLATES},
    {"client", required_argument, NULL, OPTION_CLIENT},
    {"client-mac", required_argument, NULL, OPTION_CLIENT_MAC},
    {"server-mac", required_argument, NULL, OPTION_SERVER_MAC},
    {"no-checksum", no_argument, NULL, OPTION_NO_CHECKSUM},
    {NULL, 0, NULL, 0},
};

static bool take_server_option(struct options *options, int code, char *text)
{
    uint32_t number = 0;
    bool right = true;
    switch (code) {
    case 'h': options->host = text; break;
    case 'p':
        right = parse_small("-p", text, 1, UINT16_MAX, &number);
        options->peer.port = (uint16_t)number;
        break;
    case 'a': options->password = text; break;
    case 'm': options->protocol = REPLY_MEMCACHE; break;
    case OPTION_META: options->protocol = REPLY_META; break;
    case 'u':
        options->protocol = options->protocol == REPLY_META ? REPLY_META : REPLY_MEMCACHE;
        options->datagrams = true;
        break;
    case OPTION_INTERFACE_LINE: return parse_interface_line(options, text);
    case OPTION_HUGEPAGES: return parse_hugepages(options, text);
    case OPTION_ACK_DELAY: return parse_small("--ack-delay", text, 0, 499, &options->ack_delay_ms);
    case OPTION_CPU:
        right = parse_small("--cpu", text, 0, 1023, &number);
        options->cpu = (int)number;
        break;
    default: return false;
    }
    return right;
}

static bool take_load_option(struct options *options, int code, const char *text)
{
    switch (code) {
    case 'c':
        options->connections_asked = true;
        return parse_small("-c", text, 1, 1000000, &options->connections);
    case 'P': return parse_small("-P", text, 1, 8192, &options->pipeline);
    case OPTION_IN_FLIGHT:
        return parse_small("--in-flight", text, 0, 1000000, &options->in_flight_max);
    case 'n': return parse_integer("-n", text, 1, UINT64_C(1) << 50, &options->requests);
    case OPTION_DURATION: return parse_real("--duration", text, 0.01, 1e6, &options->duration_s);
    case OPTION_WARMUP: return parse_real("--warmup", text, 0, 1e6, &options->warmup_s);
    case OPTION_RATE: return parse_real("--rate", text, 0.01, 1e9, &options->rate);
    case OPTION_ARRIVAL: return parse_arrival(options, text);
    case OPTION_BUSY: options->busy = true; return true;
    case OPTION_TIMEOUT: return parse_real("--timeout", text, 0.1, 1e6, &options->timeout_s);
    case OPTION_JSON: options->json = true; return true;
    case OPTION_PLOT: options->plot_path = text; return true;
    case 'q': options->quiet = true; return true;
    default: return false;
    }
}

static bool take_request_option(struct options *options, int code, const char *text)
{
    switch (code) {
    case 't': return parse_tests(options, text);
    case 'r': return parse_integer("-r", text, 1, UINT64_C(1) << 40, &options->key_count);
    case 'd': return parse_value_size(options, text);
    case OPTION_MIX: return parse_mix(options, text);
    case OPTION_PRESET: return true; /* applied before all others */
    case OPTION_KEY_SIZE: return parse_key_size(options, text);
    case OPTION_ZIPF: return parse_real("--zipf", text, 0, 10, &options->theta);
    case OPTION_KEYS_PER_GET:
        return parse_small("--keys-per-get", text, 1, WORKLOAD_KEYS_A_GET_MAX,
                           &options->keys_a_get);
    case OPTION_TTL: return parse_ttl(options, text);
    case OPTION_ONE_HIT: return parse_small("--one-hit", text, 0, 100, &options->one_hit_percent);
    case OPTION_SEED: return parse_integer("--seed", text, 0, UINT64_MAX, &options->seed);
    case OPTION_PRELOAD: options->preload = options->preload_asked = true; return true;
    case OPTION_VERIFY: options->verify = options->preload = true; return true;
    default: return false;
    }
}

static bool take_template_option(struct options *options, int code, const char *text)
{
    switch (code) {
    case OPTION_WRITE_TEMPLATES: options->template_path = text; return true;
    case OPTION_CLIENT: return parse_client(options, text);
    case OPTION_CLIENT_MAC: return parse_mac("--client-mac", text, &options->template_client.mac);
    case OPTION_SERVER_MAC: return parse_mac("--server-mac", text, &options->template_server.mac);
    case OPTION_NO_CHECKSUM: options->template_no_checksum = true; return true;
    default: return false;
    }
}

static bool is_server_option(int code)
{
    return (code < 256 && strchr("hpamu", code) != NULL) || code == OPTION_INTERFACE_LINE ||
           code == OPTION_META || code == OPTION_HUGEPAGES || code == OPTION_ACK_DELAY ||
           code == OPTION_CPU;
}

static bool is_request_option(int code)
{
    return (code < 256 && strchr("trd", code) != NULL) ||
           (code >= OPTION_MIX && code <= OPTION_VERIFY);
}

static enum options_result take_option(struct options *options, int code, char *text)
{
    bool right;
    if (code == '?') {
        return OPTIONS_WRONG; /* getopt has said why */
    }
    if (code == OPTION_HELP) {
        fputs(help, stdout);
        fputs(help_more, stdout);
        return OPTIONS_DONE;
    }
    if (code == OPTION_VERSION) {
        puts("nicached-bench " NICACHED_VERSION);
        return OPTIONS_DONE;
    }
    if (is_server_option(code)) {
        right = take_server_option(options, code, text);
    } else if (is_request_option(code)) {
        right = take_request_option(options, code, text);
    } else if (code >= OPTION_WRITE_TEMPLATES) {
        right = take_template_option(options, code, text);
    } else {
        right = take_load_option(options, code, text);
    }
    return right ? OPTIONS_RUN : OPTIONS_WRONG;
}

/* ---- the whole ------------------------------------------------------------------------------- */

static bool resolve(struct options *options)
{
    if (address_parse(slice_of_string(options->host), &options->peer.address)) {
        return true;
    }
    struct addrinfo wanted = {.ai_family = AF_INET, .ai_socktype = SOCK_STREAM}, *found = NULL;
    int code = getaddrinfo(options->host, NULL, &wanted, &found);
    if (code != 0) {
        return refuse("%s: %s", options->host, gai_strerror(code));
    }
    struct sockaddr_in in;
    memcpy(&in, found->ai_addr, sizeof(in));
    options->peer.address = address_from_ipv4(ntohl(in.sin_addr.s_addr));
    freeaddrinfo(found);
    return true;
}

static bool check_meta(const struct options *options)
{
    for (uint32_t i = 0; i < options->test_count && options->protocol == REPLY_META; i++) {
        if (options->tests[i].keys_a_get > 1) {
            return refuse("--meta gets one key at a time");
        }
    }
    return true;
}

static bool check_datagrams(const struct options *options)
{
    if (!options->datagrams) {
        return true;
    }
    if (options->connections > TRANSPORT_CHANNELS_MAX && options->template_path == NULL) {
        return refuse("--udp takes at most %u connections (-c)", TRANSPORT_CHANNELS_MAX);
    }
    if (options->password != NULL) {
        return refuse("-a does not go with --udp");
    }
    for (uint32_t i = 0; i < options->test_count; i++) {
        bool writes = options->preload || options->tests[i].weights[REQUEST_SET] > 0;
        uint64_t keys = (uint64_t)options->tests[i].keys_a_get * sizes_maximum(&options->key_sizes);
        if (keys > 1200 || (writes && sizes_maximum(&options->value_sizes) > 1000)) {
            return refuse(
                "with --udp a request has to fit in one packet: at most 1000 bytes of value"
                " to write, 1200 bytes of keys to read");
        }
    }
    return true;
}

/* Of a run, and without a meaning in a file. */
static bool check_template_conflicts(const struct options *options)
{
    const struct {
        bool given;
        const char *name;
    } conflicts[] = {
        {options->has_interface, "--interface"}, {options->password != NULL, "-a"},
        {options->duration_s > 0, "--duration"}, {options->warmup_s > 0, "--warmup"},
        {options->verify, "--verify"},           {options->json, "--json"},
        {options->plot_path != NULL, "--plot"},  {options->busy, "--busy"},
        {options->pipeline > 1, "-P"},           {options->in_flight_max > 0, "--in-flight"},
    };
    for (size_t i = 0; i < sizeof(conflicts) / sizeof(conflicts[0]); i++) {
        if (conflicts[i].given) {
            return refuse("%s does not go with --write-templates", conflicts[i].name);
        }
    }
    return true;
}

/* One TCP connection to a file: TRex takes no more. */
static bool check_template_stream(const struct options *options)
{
    if (options->datagrams) {
        return true;
    }
    if (options->connections > 1) {
        return refuse("--write-templates writes one TCP connection (-c 1), or UDP with --udp");
    }
    if (options->template_no_checksum) {
        return refuse("--no-checksum goes with --udp: TCP has no frames without a checksum");
    }
    for (uint32_t i = 0; i < options->test_count; i++) {
        if (options->tests[i].weights[REQUEST_PING] > 0 && options->protocol != REPLY_RESP) {
            return refuse("-t ping over memcached's TCP: the reply differs from server to server,"
                          " and the file has to know it");
        }
    }
    return true;
}

static bool check_templates(struct options *options)
{
    if (options->template_path == NULL) {
        return true;
    }
    if (!address_is_ipv4(&options->peer.address) || address_is_loopback(&options->peer.address)) {
        return refuse("--write-templates needs -h with the IPv4 address of the server on the wire");
    }
    if (options->template_client.port + options->connections - 1 > UINT16_MAX) {
        return refuse("%u client ports (-c) from %u on are too many", options->connections,
                      options->template_client.port);
    }
    options->template_server.ipv4 = address_to_ipv4(&options->peer.address);
    options->template_server.port = options->peer.port;
    return check_template_conflicts(options) && check_template_stream(options);
}

/* What is not given, and is another number in a file than in a run. */
static void default_counts(struct options *options)
{
    bool to_file = options->template_path != NULL;
    if (options->requests == 0) {
        options->requests = to_file ? REQUESTS_IN_FILE : REQUESTS;
    }
    if (options->connections == 0 || (to_file && !options->connections_asked)) {
        options->connections = options->datagrams || to_file ? 1 : 50;
    }
    if (to_file) {
        options->preload = options->preload_asked;
    }
}

static bool finish(struct options *options)
{
    if (options->test_count == 0 && !parse_tests(options, "set,get")) {
        return false;
    }
    for (uint32_t i = 0; i < options->test_count && options->keys_a_get > 0; i++) {
        options->tests[i].keys_a_get = options->keys_a_get;
    }
    if (options->peer.port == 0) {
        options->peer.port = options->protocol == REPLY_RESP ? 6379 : 11211;
    }
    default_counts(options);
    struct workload workload = {.key_count = options->key_count,
                                .key_sizes = options->key_sizes,
                                .one_hit_percent = options->one_hit_percent};
    if (!workload_keys_fit(&workload)) {
        return refuse("keys of %s bytes cannot tell %llu keys apart", options->key_text,
                      (unsigned long long)options->key_count);
    }
    if (options->password != NULL && options->protocol != REPLY_RESP) {
        return refuse("-a is RESP's");
    }
    if (options->ack_delay_ms != TRANSPORT_ACK_DELAY_STACK && !options->has_interface) {
        return refuse("--ack-delay goes with --interface: the kernel has its own");
    }
    return check_meta(options) && check_datagrams(options) && resolve(options) &&
           check_templates(options);
}

static bool find_preset(struct options *options, int argument_count, char **arguments)
{
    int code;
    opterr = 0;
    optind = 1;
    bool right = true;
    while (right && (code = getopt_long(argument_count, arguments, letters, words, NULL)) != -1) {
        if (code == OPTION_PRESET) {
            right = apply_preset(options, optarg);
        }
    }
    opterr = 1;
    optind = 1;
    return right;
}

enum options_result options_parse(struct options *options, int argument_count, char **arguments)
{
    *options = (struct options){
        .host = "127.0.0.1",
        .cpu = -1,
        .pipeline = 1,
        .timeout_s = 10,
        .ack_delay_ms = TRANSPORT_ACK_DELAY_STACK,
        .poisson = true,
        .key_count = 100000,
        .seed = random_seed() >> 1,
        .template_client = {{{2, 0, 0, 0, 0, 1}}, 0xc6120001U, 40000},
        .template_server = {{{2, 0, 0, 0, 0, 2}}, 0, 0},
    };
    if (!parse_key_size(options, "16") || !parse_value_size(options, "3") ||
        !find_preset(options, argument_count, arguments)) {
        return OPTIONS_WRONG;
    }
    int code;
    while ((code = getopt_long(argument_count, arguments, letters, words, NULL)) != -1) {
        enum options_result result = take_option(options, code, optarg);
        if (result != OPTIONS_RUN) {
            return result;
        }
    }
    if (optind < argument_count) {
        refuse("unknown word '%s'", arguments[optind]);
        return OPTIONS_WRONG;
    }
    return finish(options) ? OPTIONS_RUN : OPTIONS_WRONG;
}
