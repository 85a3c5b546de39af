/* The option table: options.def as data, and what can be done with one directive's value.
 *
 * Columns of options.def:
 *   field     the variable in struct config
 *   name      the directive
 *   default   as the variable holds it
 *   low high  bounds of an integer, inclusive
 *   unit      UNIT_BYTES takes Redis' k kb m mb g gb; UNIT_OCTAL is read and shown in octal; the
 *             others are plain decimal numbers
 *   values    names of an enumeration
 *   check     of a string: NULL, or what is wrong with it
 *   when      WHEN_START: only before the start; WHEN_NOW: CONFIG SET changes it
 *   help      one sentence for sample, reference and refusals; of a fixed value, the reason
 *
 * Thread: any, the table is constant. Failure: a reason in words, never a changed value.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>

#include "config/config_internal.h"
#include "dataplane/base/check.h"
#include "dataplane/base/log.h"
#include "dataplane/base/number.h"
#include "dataplane/base/prefix_list.h"

/* ---- values and checks that rows name ----------------------------------------------------------
 */

static const struct option_value values_maxmemory_policy[] = {
    {"volatile-lru", MAXMEMORY_VOLATILE_LRU},       {"volatile-lfu", MAXMEMORY_VOLATILE_LFU},
    {"volatile-random", MAXMEMORY_VOLATILE_RANDOM}, {"volatile-ttl", MAXMEMORY_VOLATILE_TTL},
    {"allkeys-lru", MAXMEMORY_ALLKEYS_LRU},         {"allkeys-lfu", MAXMEMORY_ALLKEYS_LFU},
    {"allkeys-random", MAXMEMORY_ALLKEYS_RANDOM},   {"noeviction", MAXMEMORY_NOEVICTION},
    {"allkeys-s3fifo", MAXMEMORY_ALLKEYS_S3FIFO},   {NULL, 0},
};
static const struct option_value values_debug_command[] = {
    {"no", DEBUG_COMMAND_NO},
    {"yes", DEBUG_COMMAND_YES},
    {"local", DEBUG_COMMAND_LOCAL},
    {NULL, 0},
};
static const struct option_value values_tcp_control[] = {
    {"cubic", TCP_CONTROL_CUBIC},
    {"newreno", TCP_CONTROL_NEWRENO},
    {NULL, 0},
};
static const struct option_value values_poll_mode[] = {
    {"adaptive", POLL_ADAPTIVE},
    {"busy", POLL_BUSY},
    {NULL, 0},
};
static const struct option_value values_hugepages[] = {
    {"auto", HUGEPAGES_AUTO},
    {"yes", HUGEPAGES_YES},
    {"no", HUGEPAGES_NO},
    {NULL, 0},
};
static const struct option_value values_store_index[] = {
    {"rte_hash", STORE_INDEX_RTE_HASH},
    {"buckets", STORE_INDEX_BUCKETS},
    {NULL, 0},
};
static const struct option_value values_loglevel[] = {
    {"debug", LOG_DEBUG},
    {"verbose", LOG_VERBOSE},
    {"notice", LOG_NOTICE},
    {"warning", LOG_WARNING},
    {NULL, 0},
};

static const char *check_any_text(const char *value)
{
    (void)value;
    return NULL;
}

static const char *check_path(const char *value)
{
    for (; *value != '\0'; value++) {
        if ((unsigned char)*value < ' ') {
            return "a path holds no control characters";
        }
    }
    return NULL;
}

static const char *check_file_name(const char *value)
{
    if (strchr(value, '/') != NULL || strcmp(value, ".") == 0 || strcmp(value, "..") == 0) {
        return "argument must be the name of a file, without a folder";
    }
    return check_path(value);
}

/* sun_path has 108 bytes, with the terminator. */
static const char *check_socket_path(const char *value)
{
    return strlen(value) > 107 ? "a Unix socket's path has at most 107 bytes" : check_path(value);
}

/* What we call ourselves stands in replies without quotes: one printable word. */
static const char *check_identity(const char *value)
{
    size_t size = strlen(value);
    for (size_t i = 0; i < size; i++) {
        if (value[i] <= ' ' || value[i] > '~') {
            return "argument must be one word of printable characters";
        }
    }
    return size == 0 || size > 63 ? "argument must have 1 to 63 characters" : NULL;
}

static const char *check_delimiter(const char *value)
{
    bool fits = value[0] > ' ' && value[0] <= '~' && value[1] == '\0';
    return fits ? NULL : "argument must be one printable character";
}

static const char *check_prefixes(const char *value)
{
    struct prefix_list list;
    return prefix_list_parse(value, &list)
               ? NULL
               : "argument must be a list of up to 64 networks, as 10.0.0.0/8,fd00::/8";
}

/* "host|address|port": both names one printable word each; the address may be missing. */
static bool is_cluster_node(const char *text, size_t size)
{
    const char *bar = memchr(text, '|', size);
    const char *second = bar != NULL ? memchr(bar + 1, '|', size - (size_t)(bar + 1 - text)) : NULL;
    uint64_t port;
    if (second == NULL || bar == text) {
        return false;
    }
    for (size_t i = 0; i < size; i++) {
        if (text[i] <= ' ' || text[i] > '~') {
            return false;
        }
    }
    size_t port_size = size - (size_t)(second + 1 - text);
    return number_parse_uint64(slice_of(second + 1, port_size), &port) && port > 0 &&
           port <= UINT16_MAX;
}

static const char *check_cluster_nodes(const char *value)
{
    while (*value != '\0') {
        size_t size = strcspn(value, ",");
        if (!is_cluster_node(value, size) || (value[size] == ',' && value[size + 1] == '\0')) {
            return "argument must be a list of nodes, as a.example|10.0.0.1|11211,"
                   "b.example|10.0.0.2|11211";
        }
        value += size + (value[size] == ',');
    }
    return NULL;
}

/* "2-3,5": numbers and ascending ranges; each CPU once. Returns how many, or -1. */
static int32_t parse_cpu_list(const char *text, uint32_t *cpus, uint32_t count_max)
{
    bool seen[1024] = {false};
    uint32_t count = 0;
    for (const char *at = text; *at != '\0';) {
        size_t size = strcspn(at, ",");
        const char *dash = memchr(at, '-', size);
        size_t low_size = dash != NULL ? (size_t)(dash - at) : size;
        uint64_t low, high;
        if (!number_parse_uint64(slice_of(at, low_size), &low)) {
            return -1;
        }
        high = low;
        if (dash != NULL && !number_parse_uint64(slice_of(dash + 1, size - low_size - 1), &high)) {
            return -1;
        }
        if (low > high || high >= sizeof(seen)) {
            return -1;
        }
        for (uint64_t cpu = low; cpu <= high; cpu++) {
            if (seen[cpu]) {
                return -1;
            }
            seen[cpu] = true;
            if (count < count_max) {
                cpus[count] = (uint32_t)cpu;
            }
            count++;
        }
        at += size;
        if (*at == ',' && *++at == '\0') {
            return -1;
        }
    }
    return (int32_t)count;
}

static const char *check_cpu_list(const char *value)
{
    return parse_cpu_list(value, NULL, 0) < 0
               ? "argument must be a list of CPU numbers below 1024 and ranges, each once, as 2-3,5"
               : NULL;
}

uint32_t config_worker_cpus(const struct config *config, uint32_t *cpus, uint32_t count_max)
{
    int32_t count = parse_cpu_list(config->worker_cpus, cpus, count_max);
    CHECK(count >= 0);
    return (uint32_t)count < count_max ? (uint32_t)count : count_max;
}

/* ---- the table ------------------------------------------------------------------------------- */

/* clang-format off */
const struct option options[] = {
#define OPTION_SECTION(title_text) \
    {.kind = OPTION_KIND_SECTION, .name = title_text},
#define OPTION_BOOL(field, name_text, default_value, when_set, help_text) \
    {.kind = OPTION_KIND_BOOL, .name = name_text, .offset = offsetof(struct config, field), \
     .default_integer = default_value, .when = when_set, .help = help_text},
#define OPTION_INTEGER(field, name_text, default_value, low_bound, high_bound, unit_of, when_set, help_text) \
    {.kind = OPTION_KIND_INTEGER, .name = name_text, .offset = offsetof(struct config, field), \
     .default_integer = default_value, .low = low_bound, .high = high_bound, .unit = unit_of, \
     .when = when_set, .help = help_text},
#define OPTION_ENUM(field, name_text, default_value, value_list, when_set, help_text) \
    {.kind = OPTION_KIND_ENUM, .name = name_text, .offset = offsetof(struct config, field), \
     .default_integer = (int64_t)default_value, .values = value_list, .when = when_set, .help = help_text},
#define OPTION_STRING(field, name_text, default_value, check_value, when_set, help_text) \
    {.kind = OPTION_KIND_STRING, .name = name_text, .offset = offsetof(struct config, field), \
     .default_text = default_value, .check = check_value, .when = when_set, .help = help_text},
#define OPTION_FIXED(name_text, value, when_set, help_text) \
    {.kind = OPTION_KIND_FIXED, .name = name_text, .default_text = value, .when = when_set, .help = help_text},
#define OPTION_INTERFACE(name_text, help_text) \
    {.kind = OPTION_KIND_INTERFACE, .name = name_text, .when = WHEN_START, .help = help_text},
#define OPTION_BIND(name_text, help_text) \
    {.kind = OPTION_KIND_BIND, .name = name_text, .when = WHEN_START, .help = help_text},
#define OPTION_SECURITY(name_text, help_text) \
    {.kind = OPTION_KIND_SECURITY, .name = name_text, .when = WHEN_NOW, .help = help_text},
#define OPTION_OUTPUT_LIMITS(name_text, default_value, help_text) \
    {.kind = OPTION_KIND_OUTPUT_LIMITS, .name = name_text, .default_text = default_value, .when = WHEN_NOW, .help = help_text},
#include "config/options.def"
};
/* clang-format on */
const uint32_t option_count = sizeof(options) / sizeof(options[0]);

const struct option *option_find(const char *name)
{
    struct slice wanted = slice_of_string(name);
    for (uint32_t i = 0; i < option_count; i++) {
        if (options[i].kind != OPTION_KIND_SECTION &&
            slice_equal_ignoring_case(wanted, slice_of_string(options[i].name))) {
            return &options[i];
        }
    }
    return NULL;
}

int config_refuse(struct config_reason *reason, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(reason->text, sizeof(reason->text), format, arguments);
    va_end(arguments);
    return -EINVAL;
}

/* The variables, by kind. */
static bool *bool_of(struct config *config, const struct option *option)
{
    return (bool *)((char *)config + option->offset);
}

static int64_t *integer_of(struct config *config, const struct option *option)
{
    return (int64_t *)(void *)((char *)config + option->offset);
}

static int *enum_of(struct config *config, const struct option *option)
{
    return (int *)(void *)((char *)config + option->offset);
}

static char **string_of(struct config *config, const struct option *option)
{
    return (char **)(void *)((char *)config + option->offset);
}

/* ---- text to value --------------------------------------------------------------------------- */

static int set_bool(struct config *config, const struct option *option, const char *value,
                    struct config_reason *reason)
{
    struct slice text = slice_of_string(value);
    bool yes = slice_equal_ignoring_case(text, SLICE_LITERAL("yes"));
    if (!yes && !slice_equal_ignoring_case(text, SLICE_LITERAL("no"))) {
        return config_refuse(reason, "argument must be 'yes' or 'no'");
    }
    *bool_of(config, option) = yes;
    return 0;
}

/* No sign, no fraction, no blank. */
bool config_parse_bytes(const char *text, int64_t *value)
{
    static const struct {
        const char *name;
        uint64_t factor;
    } units[] = {
        {"", 1},
        {"b", 1},
        {"k", 1000},
        {"kb", 1024},
        {"m", 1000 * 1000},
        {"mb", 1024 * 1024},
        {"g", 1000 * 1000 * 1000},
        {"gb", 1024 * 1024 * 1024},
    };
    size_t digits = strspn(text, "0123456789");
    uint64_t number;
    if (!number_parse_uint64(slice_of(text, digits), &number)) {
        return false;
    }
    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
        if (slice_equal_ignoring_case(slice_of_string(text + digits),
                                      slice_of_string(units[i].name))) {
            return !__builtin_mul_overflow(number, units[i].factor, value);
        }
    }
    return false;
}

static bool parse_octal(const char *text, int64_t *value)
{
    int64_t result = 0;
    size_t i = 0;
    for (; text[i] >= '0' && text[i] <= '7' && i < 8; i++) {
        result = result * 8 + (text[i] - '0');
    }
    *value = result;
    return i > 0 && text[i] == '\0';
}

static int set_integer(struct config *config, const struct option *option, const char *text,
                       struct config_reason *reason)
{
    int64_t value = 0;
    switch (option->unit) {
    case UNIT_BYTES:
        if (!config_parse_bytes(text, &value)) {
            return config_refuse(reason, "argument must be a memory value");
        }
        break;
    case UNIT_OCTAL:
        if (!parse_octal(text, &value)) {
            return config_refuse(reason, "argument couldn't be parsed as an octal number");
        }
        break;
    case UNIT_NONE:
    case UNIT_SECONDS:
    case UNIT_MILLISECONDS:
    default:
        if (!number_parse_int64(slice_of_string(text), &value)) {
            return config_refuse(reason, "argument couldn't be parsed into an integer");
        }
        break;
    }
    if (value < option->low || value > option->high) {
        return config_refuse(reason,
                             option->unit == UNIT_OCTAL
                                 ? "argument must be between %llo and %llo inclusive"
                                 : "argument must be between %lld and %lld inclusive",
                             (long long)option->low, (long long)option->high);
    }
    *integer_of(config, option) = value;
    return 0;
}

static int refuse_enum(const struct option *option, struct config_reason *reason)
{
    char names[CONFIG_REASON_BYTES_MAX - 128] = "";
    size_t used = 0;
    for (const struct option_value *value = option->values;
         value->name != NULL && used < sizeof(names); value++) {
        used += (size_t)snprintf(names + used, sizeof(names) - used, "%s%s", used == 0 ? "" : ", ",
                                 value->name);
    }
    return config_refuse(reason, "argument(s) must be one of the following: %s", names);
}

static int set_enum(struct config *config, const struct option *option, const char *text,
                    struct config_reason *reason)
{
    for (const struct option_value *value = option->values; value->name != NULL; value++) {
        if (slice_equal_ignoring_case(slice_of_string(text), slice_of_string(value->name))) {
            *enum_of(config, option) = value->value;
            return 0;
        }
    }
    return refuse_enum(option, reason);
}

static int set_string(struct config *config, const struct option *option, const char *text,
                      struct config_reason *reason)
{
    if (strlen(text) >= CONFIG_TEXT_BYTES_MAX) {
        return config_refuse(reason, "argument is longer than %d bytes", CONFIG_TEXT_BYTES_MAX - 1);
    }
    const char *wrong = option->check(text);
    if (wrong != NULL) {
        return config_refuse(reason, "%s", wrong);
    }
    char *copy = strdup(text);
    if (copy == NULL) {
        return -ENOMEM;
    }
    free(*string_of(config, option));
    *string_of(config, option) = copy;
    return 0;
}

/* A value of several words ("save 900 1 300 10") is never the fixed one; no word at all is "". */
static int set_fixed(const struct option *option, uint32_t word_count, char *const *words,
                     struct config_reason *reason)
{
    const char *text = word_count == 0 ? "" : words[0];
    if (word_count > 1 ||
        !slice_equal_ignoring_case(slice_of_string(text), slice_of_string(option->default_text))) {
        return config_refuse(reason, "%s; only '%s' is accepted", option->help,
                             option->default_text);
    }
    return 0;
}

int option_set(struct config *config, const struct option *option, uint32_t word_count,
               char *const *words, struct config_reason *reason)
{
    if (option->kind == OPTION_KIND_INTERFACE) {
        return config_add_interface(config, word_count, words, reason);
    }
    if (option->kind == OPTION_KIND_BIND) {
        return config_set_bind(config, word_count, words, reason);
    }
    if (option->kind == OPTION_KIND_SECURITY) {
        return config_add_security_rules(config, word_count, words, reason);
    }
    if (option->kind == OPTION_KIND_OUTPUT_LIMITS) {
        return config_set_output_limits(config, word_count, words, reason);
    }
    if (option->kind == OPTION_KIND_FIXED) {
        return set_fixed(option, word_count, words, reason);
    }
    if (word_count != 1) {
        return config_refuse(reason, "wrong number of arguments");
    }
    switch (option->kind) {
    case OPTION_KIND_BOOL: return set_bool(config, option, words[0], reason);
    case OPTION_KIND_INTEGER: return set_integer(config, option, words[0], reason);
    case OPTION_KIND_ENUM: return set_enum(config, option, words[0], reason);
    case OPTION_KIND_STRING: return set_string(config, option, words[0], reason);
    case OPTION_KIND_SECTION:
    case OPTION_KIND_FIXED:
    case OPTION_KIND_INTERFACE:
    case OPTION_KIND_BIND:
    case OPTION_KIND_SECURITY:
    case OPTION_KIND_OUTPUT_LIMITS:
    default: CHECK(false); return -EINVAL;
    }
}

/* ---- value to text --------------------------------------------------------------------------- */

static const char *enum_name(const struct option *option, int value)
{
    const struct option_value *at = option->values;
    while (at->name != NULL && at->value != value) {
        at++;
    }
    CHECK(at->name != NULL);
    return at->name;
}

static void format_interfaces(const struct config *config, char *text)
{
    size_t used = 0;
    text[0] = '\0';
    for (uint32_t i = 0; i < config->interface_count; i++) {
        if (!config->interfaces[i].from_bind) {
            used += (size_t)snprintf(text + used, CONFIG_VALUE_BYTES_MAX - used, "%s",
                                     used == 0 ? "" : "; ");
            interface_format(&config->interfaces[i], text + used, CONFIG_VALUE_BYTES_MAX - used);
            used += strlen(text + used);
        }
    }
}

void option_format(const struct config *config, const struct option *option, char *text)
{
    struct config *of = (struct config *)(uintptr_t)config; /* read only */
    size_t size = CONFIG_VALUE_BYTES_MAX;
    switch (option->kind) {
    case OPTION_KIND_BOOL: snprintf(text, size, "%s", *bool_of(of, option) ? "yes" : "no"); break;
    case OPTION_KIND_INTEGER:
        snprintf(text, size, option->unit == UNIT_OCTAL ? "%llo" : "%lld",
                 (long long)*integer_of(of, option));
        break;
    case OPTION_KIND_ENUM:
        snprintf(text, size, "%s", enum_name(option, *enum_of(of, option)));
        break;
    case OPTION_KIND_STRING: snprintf(text, size, "%s", *string_of(of, option)); break;
    case OPTION_KIND_FIXED: snprintf(text, size, "%s", option->default_text); break;
    case OPTION_KIND_INTERFACE: format_interfaces(config, text); break;
    case OPTION_KIND_BIND: config_format_bind(config, text, size); break;
    case OPTION_KIND_SECURITY: config_format_security_rules(config, text, size); break;
    case OPTION_KIND_OUTPUT_LIMITS: config_format_output_limits(config, false, text, size); break;
    case OPTION_KIND_SECTION:
    default: CHECK(false);
    }
}

void config_format_bytes(int64_t value, char text[CONFIG_BYTES_TEXT_MAX])
{
    static const char *const names[] = {"gb", "mb", "kb"};
    for (uint32_t i = 0; i < 3; i++) {
        int64_t factor = INT64_C(1) << (30 - 10 * i);
        if (value != 0 && value % factor == 0) {
            snprintf(text, CONFIG_BYTES_TEXT_MAX, "%lld%s", (long long)(value / factor), names[i]);
            return;
        }
    }
    snprintf(text, CONFIG_BYTES_TEXT_MAX, "%lld", (long long)value);
}

void option_format_for_file(const struct config *config, const struct option *option, char *text)
{
    char plain[CONFIG_VALUE_BYTES_MAX];
    if (option->kind == OPTION_KIND_INTEGER && option->unit == UNIT_BYTES) {
        struct config *of = (struct config *)(uintptr_t)config; /* read only */
        config_format_bytes(*integer_of(of, option), text);
        return;
    }
    if (option->kind == OPTION_KIND_OUTPUT_LIMITS) {
        config_format_output_limits(config, true, text, CONFIG_VALUE_BYTES_MAX);
        return;
    }
    option_format(config, option, plain);
    if (option->kind == OPTION_KIND_STRING || option->kind == OPTION_KIND_FIXED ||
        option->kind == OPTION_KIND_SECURITY) {
        CHECK(config_quote_word(plain, text, CONFIG_VALUE_BYTES_MAX));
    } else {
        memcpy(text, plain, strlen(plain) + 1);
    }
}

static void format_enum_values(const struct option *option, char *text)
{
    size_t used = 0;
    for (const struct option_value *value = option->values; value->name != NULL; value++) {
        used += (size_t)snprintf(text + used, CONFIG_VALUE_BYTES_MAX - used, "%s%s",
                                 used == 0 ? "" : ", ", value->name);
    }
}

static void format_range(const struct option *option, char *text)
{
    static const char *const unit_names[] = {
        [UNIT_NONE] = "",
        [UNIT_BYTES] = " bytes, or with k kb m mb g gb",
        [UNIT_SECONDS] = " seconds",
        [UNIT_MILLISECONDS] = " milliseconds",
        [UNIT_OCTAL] = ", octal",
    };
    long long low = option->low, high = option->high;
    const char *unit = unit_names[option->unit];
    if (low == high) {
        snprintf(text, CONFIG_VALUE_BYTES_MAX, "%lld%s", low, unit);
    } else if (high >= UINT32_MAX) {
        snprintf(text, CONFIG_VALUE_BYTES_MAX, "%lld or more%s", low, unit);
    } else if (option->unit == UNIT_OCTAL) {
        snprintf(text, CONFIG_VALUE_BYTES_MAX, "%llo to %llo%s", low, high, unit);
    } else {
        snprintf(text, CONFIG_VALUE_BYTES_MAX, "%lld to %lld%s", low, high, unit);
    }
}

void option_format_allowed(const struct option *option, char *text)
{
    static const char *const kinds[] = {
        [OPTION_KIND_BOOL] = "yes, no",
        [OPTION_KIND_STRING] = "text",
        [OPTION_KIND_FIXED] = "fixed",
        [OPTION_KIND_INTERFACE] = "one interface",
        [OPTION_KIND_BIND] = "addresses",
        [OPTION_KIND_SECURITY] = "rules",
        [OPTION_KIND_OUTPUT_LIMITS] = "classes with their limits",
    };
    if (option->kind == OPTION_KIND_INTEGER) {
        format_range(option, text);
    } else if (option->kind == OPTION_KIND_ENUM) {
        format_enum_values(option, text);
    } else {
        snprintf(text, CONFIG_VALUE_BYTES_MAX, "%s", kinds[option->kind]);
    }
}

static void set_default_limits(struct config *config, const struct option *option)
{
    char text[CONFIG_TEXT_BYTES_MAX];
    char *const words[] = {text};
    struct config_reason reason;
    snprintf(text, sizeof(text), "%s", option->default_text);
    CHECK(config_set_output_limits(config, 1, words, &reason) == 0);
}

void option_set_default(struct config *config, const struct option *option)
{
    switch (option->kind) {
    case OPTION_KIND_BOOL: *bool_of(config, option) = option->default_integer != 0; break;
    case OPTION_KIND_INTEGER: *integer_of(config, option) = option->default_integer; break;
    case OPTION_KIND_ENUM: *enum_of(config, option) = (int)option->default_integer; break;
    case OPTION_KIND_STRING:
        free(*string_of(config, option));
        *string_of(config, option) = strdup(option->default_text);
        break;
    case OPTION_KIND_OUTPUT_LIMITS: set_default_limits(config, option); break;
    case OPTION_KIND_SECTION:
    case OPTION_KIND_FIXED:
    case OPTION_KIND_INTERFACE:
    case OPTION_KIND_BIND:
    case OPTION_KIND_SECURITY:
    default: break;
    }
}
