/* The command table and the index over its names.
 *
 * The index is built once, before any thread starts, and only read afterwards. It is an open
 * addressing table of names folded to lower case. A name of at most 16 bytes is kept whole in two
 * words, so the common look-up (GET, SET) is two loads of the name, one multiplication, one probe
 * and two compares; there is no string compare and no loop over the name.
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

struct index_slot {
    struct folded_name name;
    uint32_t size;  /* of the name; 0: the slot is free */
    uint16_t scope; /* 0: top level; else the container's row + 1 */
    uint16_t row;
};

static struct index_slot name_index[INDEX_SLOTS];

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
    uint64_t head, tail = 0;
    if (name.size >= 8) {
        head = load_bytes(p, 8);
        tail = load_bytes(p + name.size - 8, 8);
    } else if (name.size >= 4) {
        head = load_bytes(p, 4) | load_bytes(p + name.size - 4, 4) << 32;
    } else {
        head = (uint64_t)p[0] | (uint64_t)p[name.size / 2] << 8 | (uint64_t)p[name.size - 1] << 16;
    }
    return (struct folded_name){fold_word(head), fold_word(tail)};
}

static inline uint32_t first_slot(struct folded_name name, size_t size, uint16_t scope)
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

static const struct command *find_in_scope(struct slice name, uint16_t scope)
{
    if (UNLIKELY(name.size == 0)) {
        return NULL;
    }
    struct folded_name folded = fold_name(name);
    for (uint32_t slot = first_slot(folded, name.size, scope);; slot = (slot + 1) % INDEX_SLOTS) {
        const struct index_slot *entry = &name_index[slot];
        if (entry->size == 0) {
            return NULL;
        }
        if (LIKELY(entry->name.head == folded.head && entry->name.tail == folded.tail &&
                   entry->size == name.size && entry->scope == scope) &&
            (name.size <= 16 ||
             slice_equal_ignoring_case(name, spelled_name(&commands[entry->row])))) {
            return &commands[entry->row];
        }
    }
}

const struct command *command_find_named(const struct command *parent, struct slice name)
{
    return find_in_scope(name, parent == NULL ? 0 : (uint16_t)(command_index(parent) + 1));
}

const struct command *command_find(const struct slice *arguments, uint32_t argument_count)
{
    const struct command *command = find_in_scope(arguments[0], 0);
    if (command == NULL || LIKELY(!command->is_container) || argument_count == 1) {
        return command;
    }
    return command_find_named(command, arguments[1]);
}

bool command_first_key(const struct command *command, const struct slice *arguments,
                       uint32_t argument_count, struct key *key)
{
    uint32_t position = (uint32_t)command->first_key;
    if (position == 0 || position >= argument_count) {
        return false;
    }
    *key = key_hashed(arguments[position]);
    return true;
}

static void insert_row(uint32_t row)
{
    const struct command *command = &commands[row];
    uint16_t scope = 0;
    if (command->parent != NULL) {
        const struct command *parent = find_in_scope(slice_of_string(command->parent), 0);
        CHECK(parent != NULL && parent->is_container);
        scope = (uint16_t)(command_index(parent) + 1);
    }
    struct slice name = spelled_name(command);
    CHECK(name.size > 0 && find_in_scope(name, scope) == NULL);
    struct folded_name folded = fold_name(name);
    uint32_t slot = first_slot(folded, name.size, scope);
    while (name_index[slot].size != 0) {
        slot = (slot + 1) % INDEX_SLOTS;
    }
    name_index[slot] = (struct index_slot){folded, (uint32_t)name.size, scope, (uint16_t)row};
}

void command_table_setup(void)
{
    memset(name_index, 0, sizeof(name_index));
    /* Containers first: a subcommand's hash needs its container's row. */
    for (uint32_t row = 0; row < command_count; row++) {
        if (commands[row].parent == NULL) {
            insert_row(row);
        }
    }
    for (uint32_t row = 0; row < command_count; row++) {
        if (commands[row].parent != NULL) {
            insert_row(row);
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
