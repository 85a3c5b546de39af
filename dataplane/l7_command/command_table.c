/* The command table and the index over its names.
 *
 * The index is built once, before any thread starts, and only read afterwards. It is an open
 * addressing table of names folded to lower case. A name of at most 16 bytes is kept whole in two
 * words, so the common look-up (GET, SET) is a few loads of the name, one multiplication, one probe
 * and a compare of words; there is no string compare and no loop over the name.
 *
 * A subcommand is found the same way: its container's row takes part in the hash.
 */
#include "dataplane/base/check.h"
#include "dataplane/l7_command/handlers_connection.h"
#include "dataplane/l7_command/handlers_generic.h"
#include "dataplane/l7_command/handlers_server.h"
#include "dataplane/l7_command/handlers_string.h"
#include "dataplane/l7_command/l7_command_internal.h"

const struct command commands[] = {
#define COMMAND(...) {__VA_ARGS__},
#include "dataplane/l7_command/commands.def"
#undef COMMAND
};

#define COMMAND_COUNT (sizeof(commands) / sizeof(commands[0]))
const uint32_t command_count = COMMAND_COUNT;

#define INDEX_BITS  11
#define INDEX_SLOTS (1U << INDEX_BITS)
_Static_assert(COMMAND_COUNT * 4 <= INDEX_SLOTS, "probes stay short while the table is sparse");

const char *const command_flag_names[COMMAND_FLAG_COUNT] = {
    "write",    "readonly",     "denyoom",       "admin",
    "pubsub",   "noscript",     "blocking",      "loading",
    "stale",    "skip_monitor", "skip_slowlog",  "asking",
    "fast",     "no_auth",      "may_replicate", "no_async_loading",
    "no_multi", "movablekeys",  "allow_busy",    NULL, /* protected: not shown by Redis */
};

const char *const command_category_names[COMMAND_CATEGORY_COUNT] = {
    "keyspace", "read",   "write",       "set",       "sortedset",  "list",        "hash",
    "string",   "bitmap", "hyperloglog", "geo",       "stream",     "pubsub",      "admin",
    "fast",     "slow",   "blocking",    "dangerous", "connection", "transaction", "scripting",
};

/* A name as two words: whole when it has at most 16 bytes, else its first and last eight. */
struct folded_name {
    uint64_t head, tail;
};

/* Two to a cache line. */
struct index_slot {
    struct folded_name name;
    const struct command *command; /* NULL: the slot is free */
    uint32_t size;                 /* of the name */
    uint32_t scope;                /* 0: top level; else the container's row + 1 */
};
_Static_assert(sizeof(struct index_slot) == 32, "half a cache line");

static _Alignas(64) struct index_slot name_index[INDEX_SLOTS];

/* ASCII upper case to lower case in all eight bytes at once; bytes from 0x80 on stay as they are.
 */
static uint64_t fold_word(uint64_t word)
{
    const uint64_t ones = 0x0101010101010101U, high = 0x8080808080808080U;
    uint64_t low7 = word & ~high;
    uint64_t from_a = low7 + ones * (0x80 - 'A');
    uint64_t above_z = low7 + ones * (0x80 - ('Z' + 1));
    uint64_t upper = from_a & ~above_z & ~word & high;
    return word | upper >> 2;
}

static uint64_t load_bytes(const uint8_t *from, size_t size)
{
    uint64_t word = 0;
    memcpy(&word, from, size);
    return word;
}

static inline struct folded_name fold_name(struct slice name)
{
    const uint8_t *p = name.data;
    if (name.size < 4) {
        uint64_t head =
            (uint64_t)p[0] | (uint64_t)p[name.size / 2] << 8 | (uint64_t)p[name.size - 1] << 16;
        return (struct folded_name){fold_word(head), 0};
    }
    if (name.size < 8) {
        uint64_t head = load_bytes(p, 4) | load_bytes(p + name.size - 4, 4) << 32;
        return (struct folded_name){fold_word(head), 0};
    }
    return (struct folded_name){fold_word(load_bytes(p, 8)),
                                fold_word(load_bytes(p + name.size - 8, 8))};
}

static inline uint32_t first_slot(struct folded_name name, uint32_t size, uint32_t scope)
{
    uint64_t mixed = name.head ^ (name.tail << 7 | name.tail >> 57) ^ (uint64_t)scope << 48 ^ size;
    return (uint32_t)((mixed * 0x9E3779B97F4A7C15U) >> (64 - INDEX_BITS));
}

/* The part of a row's name that a request spells: what follows '|' in a subcommand. */
static struct slice spelled_name(const struct command *command)
{
    if (command->parent == NULL) {
        return slice_of_string(command->name);
    }
    return slice_of_string(command->name + strlen(command->parent) + 1);
}

static inline bool slot_holds(const struct index_slot *slot, struct folded_name name, size_t size,
                              uint32_t scope)
{
    return slot->name.head == name.head && slot->name.tail == name.tail && slot->size == size &&
           slot->scope == scope;
}

/* Collisions, long names, and names that do not exist. */
static __attribute__((noinline)) const struct command *
find_further(struct slice name, struct folded_name folded, uint32_t at, uint32_t scope)
{
    for (; name_index[at].command != NULL; at = (at + 1) % INDEX_SLOTS) {
        const struct index_slot *slot = &name_index[at];
        if (slot_holds(slot, folded, name.size, scope) &&
            slice_equal_ignoring_case(name, spelled_name(slot->command))) {
            return slot->command;
        }
    }
    return NULL;
}

static inline const struct command *find_in_scope(struct slice name, uint32_t scope)
{
    if (UNLIKELY(name.size == 0 || name.size > UINT16_MAX)) {
        return NULL;
    }
    struct folded_name folded = fold_name(name);
    uint32_t at = first_slot(folded, (uint32_t)name.size, scope);
    const struct index_slot *slot = &name_index[at];
    if (LIKELY(slot_holds(slot, folded, name.size, scope) && name.size <= 16)) {
        return slot->command;
    }
    return find_further(name, folded, at, scope);
}

const struct command *command_find_named(const struct command *parent, struct slice name)
{
    return find_in_scope(name, parent == NULL ? 0 : command_index(parent) + 1);
}

const struct command *command_find(const struct slice *arguments, uint32_t argument_count)
{
    const struct command *command = find_in_scope(arguments[0], 0);
    if (LIKELY(command != NULL && !command->is_container)) {
        return command;
    }
    if (command == NULL || argument_count == 1) {
        return command;
    }
    return command_find_named(command, arguments[1]);
}

uint32_t command_key_count(const struct command *command, uint32_t argument_count)
{
    int64_t first = command->first_key, count = argument_count;
    int64_t last = command->last_key < 0 ? count + command->last_key : command->last_key;
    last = last < count ? last : count - 1;
    return first == 0 || last < first ? 0 : (uint32_t)((last - first) / command->key_step) + 1;
}

struct key command_key_at(const struct command *command, const struct slice *arguments,
                          uint32_t index)
{
    return key_hashed(
        arguments[(uint32_t)command->first_key + index * (uint32_t)command->key_step]);
}

bool command_key_before(const struct command *command, uint32_t argument_count, uint32_t index,
                        uint32_t *key_index)
{
    uint32_t count = command_key_count(command, argument_count);
    uint32_t first = (uint32_t)command->first_key, step = (uint32_t)command->key_step;
    if (count == 0 || index <= first) {
        return false;
    }
    uint32_t number = (index - first) / step;
    bool is_key = number < count && (index - first) % step == 0;
    *key_index = first + (number < count ? number : count - 1) * step;
    return !is_key;
}

static void insert_row(const struct command *command)
{
    const struct command *parent = NULL;
    if (command->parent != NULL) {
        parent = command_find_named(NULL, slice_of_string(command->parent));
        CHECK(parent != NULL && parent->is_container);
    }
    uint32_t scope = parent == NULL ? 0 : command_index(parent) + 1;
    struct slice name = spelled_name(command);
    CHECK(name.size > 0 && find_in_scope(name, scope) == NULL);
    struct folded_name folded = fold_name(name);
    uint32_t at = first_slot(folded, (uint32_t)name.size, scope);
    while (name_index[at].command != NULL) {
        at = (at + 1) % INDEX_SLOTS;
    }
    name_index[at] = (struct index_slot){folded, command, (uint32_t)name.size, scope};
}

void command_table_setup(void)
{
    memset(name_index, 0, sizeof(name_index));
    /* Containers first: a subcommand's hash needs its container's row. */
    for (uint32_t row = 0; row < command_count; row++) {
        if (commands[row].parent == NULL) {
            insert_row(&commands[row]);
        }
    }
    for (uint32_t row = 0; row < command_count; row++) {
        if (commands[row].parent != NULL) {
            insert_row(&commands[row]);
        }
    }
}

uint32_t command_categories(const struct command *command)
{
    uint32_t flags = command->flags, categories = command->categories;
    categories |= flags & COMMAND_WRITE ? CATEGORY_WRITE : 0U;
    categories |=
        flags & COMMAND_READONLY && !(categories & CATEGORY_SCRIPTING) ? CATEGORY_READ : 0U;
    categories |= flags & COMMAND_ADMIN ? CATEGORY_ADMIN | CATEGORY_DANGEROUS : 0U;
    categories |= flags & COMMAND_PUBSUB ? CATEGORY_PUBSUB : 0U;
    categories |= flags & COMMAND_BLOCKING ? CATEGORY_BLOCKING : 0U;
    categories |= flags & COMMAND_FAST ? CATEGORY_FAST : CATEGORY_SLOW;
    return categories;
}
