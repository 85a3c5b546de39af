/* `client-output-buffer-limit` lines: what a client may leave unread before it is disconnected.
 *
 *   client-output-buffer-limit normal|replica|pubsub HARD SOFT SECONDS ...
 *
 * One line sets one class or several; what it does not name stays. The words of redis-server, and
 * its reasons. Thread: any. Failure: a reason in words, and the limits as they were.
 */
#include "config/config_internal.h"
#include "dataplane/base/number.h"

#define WORDS_OF_CLASS 4

static int find_class(const char *name)
{
    static const struct {
        const char *name;
        enum output_class class;
    } classes[] = {{"normal", OUTPUT_CLASS_NORMAL},
                   {"replica", OUTPUT_CLASS_REPLICA},
                   {"slave", OUTPUT_CLASS_REPLICA},
                   {"pubsub", OUTPUT_CLASS_PUBSUB}};
    struct slice wanted = slice_of_string(name);
    for (size_t i = 0; i < sizeof(classes) / sizeof(classes[0]); i++) {
        if (slice_equal_ignoring_case(wanted, slice_of_string(classes[i].name))) {
            return (int)classes[i].class;
        }
    }
    return -1;
}

static bool parse_limit(char *const *words, struct output_limit *limit)
{
    return config_parse_bytes(words[0], &limit->hard_bytes) &&
           config_parse_bytes(words[1], &limit->soft_bytes) &&
           number_parse_int64(slice_of_string(words[2]), &limit->soft_seconds) &&
           limit->soft_seconds >= 0;
}

static int set_limits(struct config *config, uint32_t word_count, char *const *words,
                      struct config_reason *reason)
{
    struct output_limit limits[OUTPUT_CLASS_COUNT];
    memcpy(limits, config->client_output_buffer_limit, sizeof(limits));
    if (word_count % WORDS_OF_CLASS != 0) {
        return config_refuse(reason, "Wrong number of arguments in buffer limit configuration.");
    }
    for (uint32_t i = 0; i < word_count; i += WORDS_OF_CLASS) {
        int class = find_class(words[i]);
        if (class < 0) {
            return config_refuse(reason,
                                 "Invalid client class specified in buffer limit configuration.");
        }
        if (!parse_limit(&words[i + 1], &limits[class])) {
            return config_refuse(reason, "Error in hard, soft or soft_seconds setting in buffer "
                                         "limit configuration.");
        }
    }
    memcpy(config->client_output_buffer_limit, limits, sizeof(limits));
    return 0;
}

int config_set_output_limits(struct config *config, uint32_t word_count, char *const *words,
                             struct config_reason *reason)
{
    struct config_words split;
    if (word_count == 0) {
        return config_refuse(reason, "wrong number of arguments");
    }
    if (word_count > 1) {
        return set_limits(config, word_count, words, reason);
    }
    int result = config_split_words(slice_of_string(words[0]), &split, reason);
    return result != 0 ? result : set_limits(config, split.count, split.words, reason);
}

static void format_bytes(int64_t value, bool for_file, char text[CONFIG_BYTES_TEXT_MAX])
{
    if (for_file) {
        config_format_bytes(value, text);
    } else {
        snprintf(text, CONFIG_BYTES_TEXT_MAX, "%lld", (long long)value);
    }
}

/* CONFIG GET has kept the old name of replicas, the file has not. */
void config_format_output_limits(const struct config *config, bool for_file, char *text,
                                 size_t size)
{
    const char *names[] = {"normal", for_file ? "replica" : "slave", "pubsub"};
    size_t used = 0;
    for (uint32_t i = 0; i < OUTPUT_CLASS_COUNT; i++) {
        const struct output_limit *limit = &config->client_output_buffer_limit[i];
        char hard[CONFIG_BYTES_TEXT_MAX], soft[CONFIG_BYTES_TEXT_MAX];
        format_bytes(limit->hard_bytes, for_file, hard);
        format_bytes(limit->soft_bytes, for_file, soft);
        used += (size_t)snprintf(text + used, size - used, "%s%s %s %s %lld", i == 0 ? "" : " ",
                                 names[i], hard, soft, (long long)limit->soft_seconds);
    }
}
