/* Rules as a trie of rte_acl, and the sketch of what each source has. access.h has the contract.
 *
 * Memory: the sketch once; a compiled set of rules with each change, freed after a grace period.
 * Failure: a set that does not compile is refused and the old one stays.
 */
#include "dataplane/access/access.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>

#include <rte_acl.h>

#include "dataplane/base/check.h"
#include "dataplane/base/hash.h"
#include "dataplane/base/rcu.h"

#define ROWS           3U
#define COLUMNS        65536U
#define BURST_US       1000000ULL /* a source may use the connections of one second at once */
#define KIND_IPV6      0x01U
#define KIND_UDP       0x02U
#define IPV4_AT        96U /* bits of the v4-mapped prefix */
#define SOURCE_BYTES_6 8U  /* of IPv6: a subscriber has at least a /64 */

/* What is classified. rte_acl reads one byte, then groups of four, in network order. */
struct key {
    uint8_t kind;
    uint8_t padding[3];
    uint8_t address[16];
    uint8_t port[2], zero[2];
};

enum key_field { FIELD_KIND, FIELD_ADDRESS, FIELD_PORT = FIELD_ADDRESS + 4, FIELD_ZERO, FIELDS };

RTE_ACL_RULE_DEF(compiled_rule, FIELDS);

struct access_rules {
    struct rte_acl_ctx *context;
    bool allows_others; /* what no rule matches */
    bool allow[CONFIG_SECURITY_RULES_MAX];
};

struct access {
    const struct access_rules *rules; /* RCU; NULL: none */
    uint32_t generation;              /* of the contexts' names; control thread */
    struct security_rule set[CONFIG_SECURITY_RULES_MAX]; /* what `rules` was made from; as above */
    uint32_t set_count;
    uint32_t connections_max, rate_max;  /* atomic; 0: no limit */
    uint32_t connections[ROWS][COLUMNS]; /* atomic */
    uint64_t rate_due_us[ROWS][COLUMNS]; /* atomic: when all that began would have been in time */
};

/* ---- rules ----------------------------------------------------------------------------------- */

static void describe_fields(struct rte_acl_config *build)
{
    build->num_categories = 1;
    build->num_fields = FIELDS;
    build->defs[FIELD_KIND] = (struct rte_acl_field_def){.type = RTE_ACL_FIELD_TYPE_BITMASK,
                                                         .size = 1,
                                                         .field_index = FIELD_KIND,
                                                         .input_index = 0,
                                                         .offset = offsetof(struct key, kind)};
    for (uint32_t i = 0; i < 4; i++) {
        build->defs[FIELD_ADDRESS + i] =
            (struct rte_acl_field_def){.type = RTE_ACL_FIELD_TYPE_MASK,
                                       .size = 4,
                                       .field_index = (uint8_t)(FIELD_ADDRESS + i),
                                       .input_index = (uint8_t)(1 + i),
                                       .offset = (uint32_t)offsetof(struct key, address) + 4 * i};
    }
    build->defs[FIELD_PORT] = (struct rte_acl_field_def){.type = RTE_ACL_FIELD_TYPE_RANGE,
                                                         .size = 2,
                                                         .field_index = FIELD_PORT,
                                                         .input_index = 5,
                                                         .offset = offsetof(struct key, port)};
    build->defs[FIELD_ZERO] = (struct rte_acl_field_def){.type = RTE_ACL_FIELD_TYPE_RANGE,
                                                         .size = 2,
                                                         .field_index = FIELD_ZERO,
                                                         .input_index = 5,
                                                         .offset = offsetof(struct key, zero)};
}

static void compile_kind(const struct security_rule *rule, struct rte_acl_field *field)
{
    if (rule->family != SECURITY_FAMILY_ANY) {
        field->mask_range.u8 |= KIND_IPV6;
        field->value.u8 |= rule->family == SECURITY_FAMILY_IPV6 ? KIND_IPV6 : 0;
    }
    if (rule->protocol != SECURITY_PROTOCOL_ANY) {
        field->mask_range.u8 |= KIND_UDP;
        field->value.u8 |= rule->protocol == SECURITY_PROTOCOL_UDP ? KIND_UDP : 0;
    }
}

static void compile_rule(const struct security_rule *rule, uint32_t index,
                         struct compiled_rule *compiled)
{
    memset(compiled, 0, sizeof(*compiled));
    compiled->data.category_mask = 1;
    compiled->data.priority = RTE_ACL_MAX_PRIORITY - (int32_t)index;
    compiled->data.userdata = index + 1;
    compile_kind(rule, &compiled->field[FIELD_KIND]);
    uint32_t bits = rule->prefix_length;
    bits += rule->family == SECURITY_FAMILY_IPV4 ? IPV4_AT : 0;
    for (uint32_t i = 0; i < 4; i++) {
        struct rte_acl_field *field = &compiled->field[FIELD_ADDRESS + i];
        field->value.u32 = bytes_read_be32(rule->address.bytes + 4 * i);
        field->mask_range.u32 = bits < 32 * i ? 0 : bits - 32 * i < 32 ? bits - 32 * i : 32;
    }
    compiled->field[FIELD_PORT].value.u16 = rule->port_low;
    compiled->field[FIELD_PORT].mask_range.u16 = rule->port_high;
    compiled->field[FIELD_ZERO].mask_range.u16 = UINT16_MAX;
}

static void destroy_rules(struct access_rules *rules)
{
    if (rules != NULL) {
        rte_acl_free(rules->context);
        free(rules);
    }
}

static bool build_context(struct rte_acl_ctx *context, const struct config *config)
{
    struct compiled_rule compiled[CONFIG_SECURITY_RULES_MAX];
    for (uint32_t i = 0; i < config->security_rule_count; i++) {
        compile_rule(&config->security_rules[i], i, &compiled[i]);
    }
    struct rte_acl_config build = {0};
    describe_fields(&build);
    return rte_acl_add_rules(context, (struct rte_acl_rule *)(void *)compiled,
                             config->security_rule_count) == 0 &&
           rte_acl_build(context, &build) == 0;
}

/* NULL when memory is short. */
static struct access_rules *create_rules(struct access *access, const struct config *config)
{
    char name[32];
    snprintf(name, sizeof(name), "access_%u", access->generation++);
    struct rte_acl_param parameters = {.name = name,
                                       .socket_id = SOCKET_ID_ANY,
                                       .rule_size = RTE_ACL_RULE_SZ(FIELDS),
                                       .max_rule_num = CONFIG_SECURITY_RULES_MAX};
    struct access_rules *rules = calloc(1, sizeof(*rules));
    if (rules == NULL) {
        return NULL;
    }
    rules->context = rte_acl_create(&parameters);
    if (rules->context == NULL || !build_context(rules->context, config)) {
        destroy_rules(rules);
        return NULL;
    }
    rules->allows_others = true;
    for (uint32_t i = 0; i < config->security_rule_count; i++) {
        rules->allow[i] = config->security_rules[i].allow;
        rules->allows_others = rules->allows_others && !rules->allow[i];
    }
    return rules;
}

static bool same_rules(const struct access *access, const struct config *config)
{
    return access->set_count == config->security_rule_count &&
           memcmp(access->set, config->security_rules,
                  access->set_count * sizeof(access->set[0])) == 0;
}

static void store(uint32_t *limit, int64_t value)
{
    __atomic_store_n(limit, (uint32_t)value, __ATOMIC_RELAXED);
}

int access_set(struct access *access, const struct config *config, struct config_error *error)
{
    if (!same_rules(access, config)) {
        struct access_rules *next = NULL;
        if (config->security_rule_count > 0) {
            next = create_rules(access, config);
            if (next == NULL) {
                snprintf(error->text, sizeof(error->text),
                         "ERR security-group: no memory to compile the rules");
                return -ENOMEM;
            }
        }
        struct access_rules *old = (struct access_rules *)(uintptr_t)access->rules;
        RCU_PUBLISH(&access->rules, next);
        rcu_wait_for_readers();
        destroy_rules(old);
        access->set_count = config->security_rule_count;
        memcpy(access->set, config->security_rules, sizeof(access->set));
    }
    store(&access->connections_max, config->max_connections_per_source);
    store(&access->rate_max, config->connection_rate_per_source);
    return 0;
}

struct access *access_create(void)
{
    return calloc(1, sizeof(struct access));
}

void access_destroy(struct access *access)
{
    if (access != NULL) {
        destroy_rules((struct access_rules *)(uintptr_t)access->rules);
        free(access);
    }
}

enum metric access_check_rules(const struct access *access, const struct address *source,
                               uint16_t port, uint8_t protocol)
{
    const struct access_rules *rules = access == NULL ? NULL : RCU_READ(&access->rules);
    if (LIKELY(rules == NULL)) {
        return METRIC_COUNT;
    }
    struct key key = {.kind = (uint8_t)((address_is_ipv4(source) ? 0 : KIND_IPV6) |
                                        (protocol == IPPROTO_UDP ? KIND_UDP : 0))};
    memcpy(key.address, source->bytes, sizeof(key.address));
    bytes_write_be16(key.port, port);
    const uint8_t *data = (const uint8_t *)&key;
    uint32_t match = 0;
    int code = rte_acl_classify(rules->context, &data, &match, 1, 1);
    CHECK(code == 0 && match <= CONFIG_SECURITY_RULES_MAX);
    bool allowed = match == 0 ? rules->allows_others : rules->allow[match - 1];
    return allowed ? METRIC_COUNT : METRIC_NET_DROP_ACCESS_RULE;
}

/* ---- by source ------------------------------------------------------------------------------- */

struct places {
    uint32_t column[ROWS];
};

static struct places places_of(const struct address *source)
{
    size_t size = address_is_ipv4(source) ? sizeof(source->bytes) : SOURCE_BYTES_6;
    uint64_t hash = hash_bytes(slice_of(source->bytes, size));
    struct places places;
    for (uint32_t row = 0; row < ROWS; row++) {
        places.column[row] = (uint32_t)(hash >> (16 * row)) % COLUMNS;
    }
    return places;
}

static bool has_too_many(const struct access *access, const struct places *places)
{
    uint32_t limit = __atomic_load_n(&access->connections_max, __ATOMIC_RELAXED);
    for (uint32_t row = 0; limit != 0 && row < ROWS; row++) {
        const uint32_t *count = &access->connections[row][places->column[row]];
        if (__atomic_load_n(count, __ATOMIC_RELAXED) < limit) {
            return false;
        }
    }
    return limit != 0;
}

static bool is_too_fast(const struct access *access, const struct places *places, uint64_t now_us)
{
    uint32_t rate = __atomic_load_n(&access->rate_max, __ATOMIC_RELAXED);
    for (uint32_t row = 0; rate != 0 && row < ROWS; row++) {
        const uint64_t *due = &access->rate_due_us[row][places->column[row]];
        if (__atomic_load_n(due, __ATOMIC_RELAXED) + BURST_US / rate <= now_us + BURST_US) {
            return false;
        }
    }
    return rate != 0;
}

static enum metric check_source(const struct access *access, const struct places *places,
                                uint64_t now_us)
{
    if (has_too_many(access, places)) {
        return METRIC_NET_DROP_SOURCE_CONNECTIONS;
    }
    return is_too_fast(access, places, now_us) ? METRIC_NET_DROP_SOURCE_RATE : METRIC_COUNT;
}

static bool has_limits(const struct access *access)
{
    return (__atomic_load_n(&access->connections_max, __ATOMIC_RELAXED) |
            __atomic_load_n(&access->rate_max, __ATOMIC_RELAXED)) != 0;
}

enum metric access_check(const struct access *access, const struct address *source, uint16_t port,
                         uint64_t now_us)
{
    enum metric reason = access_check_rules(access, source, port, IPPROTO_TCP);
    if (reason != METRIC_COUNT || access == NULL || !has_limits(access)) {
        return reason;
    }
    struct places places = places_of(source);
    return check_source(access, &places, now_us);
}

/* Two workers may read the same value: one connection is then forgiven. */
static void note_rate(struct access *access, const struct places *places, uint64_t now_us)
{
    uint32_t rate = __atomic_load_n(&access->rate_max, __ATOMIC_RELAXED);
    for (uint32_t row = 0; rate != 0 && row < ROWS; row++) {
        uint64_t *due = &access->rate_due_us[row][places->column[row]];
        uint64_t from = __atomic_load_n(due, __ATOMIC_RELAXED);
        from = from < now_us ? now_us : from;
        __atomic_store_n(due, from + BURST_US / rate, __ATOMIC_RELAXED);
    }
}

enum metric access_enter(struct access *access, const struct address *source, uint64_t now_us)
{
    if (access == NULL) {
        return METRIC_COUNT;
    }
    struct places places = places_of(source);
    enum metric reason = check_source(access, &places, now_us);
    if (reason != METRIC_COUNT) {
        return reason;
    }
    for (uint32_t row = 0; row < ROWS; row++) {
        __atomic_fetch_add(&access->connections[row][places.column[row]], 1, __ATOMIC_RELAXED);
    }
    note_rate(access, &places, now_us);
    return METRIC_COUNT;
}

void access_leave(struct access *access, const struct address *source)
{
    if (access == NULL) {
        return;
    }
    struct places places = places_of(source);
    for (uint32_t row = 0; row < ROWS; row++) {
        uint32_t *count = &access->connections[row][places.column[row]];
        CHECK(__atomic_fetch_sub(count, 1, __ATOMIC_RELAXED) > 0);
    }
}
