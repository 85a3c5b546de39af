/* `security-group` lines: who may speak to us.
 *
 *   security-group allow|deny PREFIX|all [port N[-M]] [protocol tcp|udp]
 *
 * Rules are tried in their order and the first that matches decides. One line adds one rule, or
 * several with semicolons between them; a single quoted word replaces all that were there, and ""
 * takes them away. Thread: any. Failure: a reason in words, and the configuration as it was.
 */
#include <errno.h>

#include "config/config_internal.h"
#include "dataplane/base/number.h"

#define IPV4_AT 12 /* bytes in front of an IPv4 address */

static int parse_verdict(const char *word, struct security_rule *rule, struct config_reason *reason)
{
    rule->allow = strcmp(word, "allow") == 0;
    if (!rule->allow && strcmp(word, "deny") != 0) {
        return config_refuse(reason, "a rule begins with allow or deny, not with '%.32s'", word);
    }
    return 0;
}

/* Clears what lies beyond the prefix; false when there was anything. */
static bool cut_to_prefix(uint8_t *bytes, size_t size, uint8_t prefix_length)
{
    bool clean = true;
    for (size_t i = 0; i < size; i++) {
        size_t first = i * 8;
        uint32_t cut = prefix_length >= first + 8 ? 0 : (uint32_t)first + 8 - prefix_length;
        uint8_t mask = (uint8_t)(cut < 8 ? UINT32_C(0xFF) << cut : 0);
        clean = clean && (bytes[i] & (uint8_t)~mask) == 0;
        bytes[i] = (uint8_t)(bytes[i] & mask);
    }
    return clean;
}

static int parse_prefix(const char *word, struct security_rule *rule, struct config_reason *reason)
{
    if (strcmp(word, "all") == 0) {
        return 0;
    }
    size_t size = strcspn(word, "/");
    if (!address_parse(slice_of(word, size), &rule->address)) {
        return config_refuse(reason, "'%.64s' is no address or prefix, as 10.0.0.0/8, and not all",
                             word);
    }
    bool ipv4 = address_is_ipv4(&rule->address);
    uint64_t longest = ipv4 ? 32 : 128, prefix = longest;
    if (word[size] == '/' &&
        (!number_parse_uint64(slice_of_string(word + size + 1), &prefix) || prefix > longest)) {
        return config_refuse(reason, "'%.64s': the prefix is a number from 0 to %u", word,
                             (unsigned)longest);
    }
    rule->family = ipv4 ? SECURITY_FAMILY_IPV4 : SECURITY_FAMILY_IPV6;
    rule->prefix_length = (uint8_t)prefix;
    uint8_t *bytes = rule->address.bytes + (ipv4 ? IPV4_AT : 0);
    if (!cut_to_prefix(bytes, ipv4 ? 4 : 16, rule->prefix_length)) {
        char network[ADDRESS_TEXT_BYTES_MAX];
        address_format(&rule->address, network);
        return config_refuse(reason, "'%.64s' has bits beyond its prefix; the network is %s/%u",
                             word, network, rule->prefix_length);
    }
    return 0;
}

static int parse_ports(const char *word, struct security_rule *rule, struct config_reason *reason)
{
    size_t size = strcspn(word, "-");
    uint64_t low, high;
    bool good = number_parse_uint64(slice_of(word, size), &low);
    high = low;
    if (good && word[size] == '-') {
        good = number_parse_uint64(slice_of_string(word + size + 1), &high);
    }
    if (!good || low < 1 || low > high || high > UINT16_MAX) {
        return config_refuse(reason, "port '%.32s' is no number from 1 to 65535, and no range",
                             word);
    }
    rule->port_low = (uint16_t)low;
    rule->port_high = (uint16_t)high;
    return 0;
}

static int parse_protocol(const char *word, struct security_rule *rule,
                          struct config_reason *reason)
{
    if (strcmp(word, "tcp") == 0) {
        rule->protocol = SECURITY_PROTOCOL_TCP;
    } else if (strcmp(word, "udp") == 0) {
        rule->protocol = SECURITY_PROTOCOL_UDP;
    } else {
        return config_refuse(reason, "protocol '%.32s' is neither tcp nor udp", word);
    }
    return 0;
}

static int parse_keyword(const char *keyword, const char *word, struct security_rule *rule,
                         struct config_reason *reason)
{
    bool is_port = strcmp(keyword, "port") == 0;
    if (!is_port && strcmp(keyword, "protocol") != 0) {
        return config_refuse(reason, "unknown word '%.32s'; known are port N[-M], protocol tcp|udp",
                             keyword);
    }
    if (word == NULL) {
        return config_refuse(reason, "'%.32s' needs a value", keyword);
    }
    bool again = is_port ? rule->port_high != UINT16_MAX || rule->port_low != 0
                         : rule->protocol != SECURITY_PROTOCOL_ANY;
    if (again) {
        return config_refuse(reason, "%s given twice", keyword);
    }
    return is_port ? parse_ports(word, rule, reason) : parse_protocol(word, rule, reason);
}

static int parse_rule(const struct config_words *words, struct security_rule *rule,
                      struct config_reason *reason)
{
    memset(rule, 0, sizeof(*rule)); /* compared as a whole: padding, too */
    rule->port_high = UINT16_MAX;
    if (words->count < 2) {
        return config_refuse(reason, "a rule is allow or deny and a prefix, as allow 10.0.0.0/8");
    }
    int result = parse_verdict(words->words[0], rule, reason);
    if (result == 0) {
        result = parse_prefix(words->words[1], rule, reason);
    }
    for (uint32_t i = 2; result == 0 && i < words->count; i += 2) {
        const char *value = i + 1 < words->count ? words->words[i + 1] : NULL;
        result = parse_keyword(words->words[i], value, rule, reason);
    }
    return result;
}

/* Rules with semicolons between them; an empty one is none. */
static int append_rules(struct config *config, struct slice text, struct config_reason *reason)
{
    while (text.size > 0) {
        const uint8_t *end = memchr(text.data, ';', text.size);
        size_t size = end != NULL ? (size_t)(end - text.data) : text.size;
        struct config_words words;
        int result = config_split_words(slice_of(text.data, size), &words, reason);
        if (result != 0) {
            return result;
        }
        text = slice_from(text, end != NULL ? size + 1 : size);
        if (words.count == 0) {
            continue;
        }
        if (config->security_rule_count == CONFIG_SECURITY_RULES_MAX) {
            return config_refuse(reason, "more than %d rules", CONFIG_SECURITY_RULES_MAX);
        }
        result = parse_rule(&words, &config->security_rules[config->security_rule_count], reason);
        if (result != 0) {
            return result;
        }
        config->security_rule_count++;
    }
    return 0;
}

int config_add_security_rules(struct config *config, uint32_t word_count, char *const *words,
                              struct config_reason *reason)
{
    char text[CONFIG_LINE_BYTES_MAX + CONFIG_WORDS_MAX];
    size_t used = 0;
    uint32_t before = config->security_rule_count;
    struct security_rule rules[CONFIG_SECURITY_RULES_MAX];
    memcpy(rules, config->security_rules, sizeof(rules));
    for (uint32_t i = 0; i < word_count; i++) {
        int size = snprintf(text + used, sizeof(text) - used, "%s%s", i > 0 ? " " : "", words[i]);
        if (size < 0 || (size_t)size >= sizeof(text) - used) {
            return config_refuse(reason, "too long a value");
        }
        used += (size_t)size;
    }
    if (word_count <= 1) {
        config->security_rule_count = 0;
    }
    int result = append_rules(config, slice_of(text, used), reason);
    if (result != 0) {
        config->security_rule_count = before;
        memcpy(config->security_rules, rules, sizeof(rules));
    }
    return result;
}

static void format_rule(const struct security_rule *rule, char *text, size_t size)
{
    char address[ADDRESS_TEXT_BYTES_MAX], prefix[64] = "all", ports[32] = "";
    if (rule->family != SECURITY_FAMILY_ANY) {
        address_format(&rule->address, address);
        snprintf(prefix, sizeof(prefix), "%s/%u", address, rule->prefix_length);
    }
    if (rule->port_low == rule->port_high) {
        snprintf(ports, sizeof(ports), " port %u", rule->port_low);
    } else if (rule->port_low != 0) {
        snprintf(ports, sizeof(ports), " port %u-%u", rule->port_low, rule->port_high);
    }
    static const char *const protocols[] = {[SECURITY_PROTOCOL_ANY] = "",
                                            [SECURITY_PROTOCOL_TCP] = " protocol tcp",
                                            [SECURITY_PROTOCOL_UDP] = " protocol udp"};
    snprintf(text, size, "%s %s%s%s", rule->allow ? "allow" : "deny", prefix, ports,
             protocols[rule->protocol]);
}

void config_format_security_rules(const struct config *config, char *text, size_t size)
{
    size_t used = 0;
    text[0] = '\0';
    for (uint32_t i = 0; i < config->security_rule_count; i++) {
        used += (size_t)snprintf(text + used, size - used, "%s", i == 0 ? "" : "; ");
        format_rule(&config->security_rules[i], text + used, size - used);
        used += strlen(text + used);
    }
}
