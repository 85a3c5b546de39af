/* memcached's short options, as names of our directives: "-m 64" is "--maxmemory 64mb".
 *
 * Each option of memcached 1.6.18 is a row: what it sets here, or why there is nothing to set. A
 * value may stick to its letter ("-m64"). Thread: the one that starts the process. Failure: a
 * reason in words.
 */
#include <errno.h>
#include <stdio.h>

#include "config/config_internal.h"
#include "dataplane/base/check.h"

enum alias_kind {
    ALIAS_TEXT,      /* the value as it is */
    ALIAS_MEGABYTES, /* a number of them */
    ALIAS_SIZE,      /* bytes; k, m, g are 1024 based, as memcached has them */
    ALIAS_ADDRESSES, /* parted by commas */
    ALIAS_FIXED,     /* takes no value */
    ALIAS_VERBOSE,   /* -v, -vv, -vvv */
    ALIAS_REFUSED,
};

struct alias {
    char letter;
    enum alias_kind kind;
    const char *argument;  /* what stands behind it, for the documents; NULL: nothing */
    const char *directive; /* REFUSED: why */
    const char *fixed;     /* FIXED: its value */
    const char *more[2];   /* further directives with their values */
};

#define NO_COUNTERPART "there is nothing of the kind here"
#define BY_PASSWORD    "set --requirepass, and clients log in by SASL or by text"
#define REFUSED(of_letter, why)                                                                    \
    {                                                                                              \
        .letter = of_letter, .kind = ALIAS_REFUSED, .directive = why                               \
    }

/* clang-format off */
static const struct alias aliases[] = {
    {.letter = 'p', .kind = ALIAS_TEXT, .argument = "PORT", .directive = "memcache-port"},
    {.letter = 'U', .kind = ALIAS_TEXT, .argument = "PORT", .directive = "memcache-udp-port"},
    {.letter = 'l', .kind = ALIAS_ADDRESSES, .argument = "ADDRESS[,ADDRESS]", .directive = "bind"},
    {.letter = 's', .kind = ALIAS_TEXT, .argument = "PATH", .directive = "memcache-unixsocket",
     .more = {"memcache-port 0", "memcache-udp-port 0"}},
    {.letter = 'a', .kind = ALIAS_TEXT, .argument = "MODE", .directive = "memcache-unixsocketperm"},
    {.letter = 'm', .kind = ALIAS_MEGABYTES, .argument = "MB", .directive = "maxmemory",
     .more = {"maxmemory-policy allkeys-lru"}},
    {.letter = 'M', .kind = ALIAS_FIXED, .directive = "maxmemory-policy", .fixed = "noeviction"},
    {.letter = 'I', .kind = ALIAS_SIZE, .argument = "SIZE[k or m or g]", .directive = "memcache-item-size-max"},
    {.letter = 'c', .kind = ALIAS_TEXT, .argument = "CONNECTIONS", .directive = "maxclients"},
    {.letter = 't', .kind = ALIAS_TEXT, .argument = "THREADS", .directive = "workers"},
    {.letter = 'b', .kind = ALIAS_TEXT, .argument = "CONNECTIONS", .directive = "tcp-backlog"},
    {.letter = 'P', .kind = ALIAS_TEXT, .argument = "PATH", .directive = "pidfile"},
    {.letter = 'L', .kind = ALIAS_FIXED, .directive = "hugepages", .fixed = "yes"},
    {.letter = 'A', .kind = ALIAS_FIXED, .directive = "memcache-shutdown", .fixed = "yes"},
    {.letter = 'W', .kind = ALIAS_FIXED, .directive = "memcache-watch", .fixed = "no"},
    {.letter = 'D', .kind = ALIAS_TEXT, .argument = "CHARACTER", .directive = "memcache-prefix-delimiter",
     .more = {"memcache-detail yes"}},
    {.letter = 'v', .kind = ALIAS_VERBOSE, .directive = "loglevel"},
    REFUSED('d', "this version stays in the foreground; run it under a supervisor"),
    REFUSED('u', "start it as that user"),
    REFUSED('S', BY_PASSWORD),
    REFUSED('Y', BY_PASSWORD),
    REFUSED('B', "the first byte of a connection says which protocol it speaks"),
    REFUSED('r', NO_COUNTERPART),
    REFUSED('k', NO_COUNTERPART),
    REFUSED('f', NO_COUNTERPART),
    REFUSED('n', NO_COUNTERPART),
    REFUSED('R', NO_COUNTERPART),
    REFUSED('C', NO_COUNTERPART),
    REFUSED('F', NO_COUNTERPART),
    REFUSED('X', NO_COUNTERPART),
    REFUSED('e', NO_COUNTERPART),
    REFUSED('Z', NO_COUNTERPART),
    REFUSED('o', NO_COUNTERPART),
};
/* clang-format on */
#define ALIAS_COUNT (sizeof(aliases) / sizeof(aliases[0]))

static const struct alias *find_alias(const char *argument)
{
    if (argument[0] != '-' || argument[1] == '\0') {
        return NULL;
    }
    for (size_t i = 0; i < ALIAS_COUNT; i++) {
        if (aliases[i].letter == argument[1]) {
            return &aliases[i];
        }
    }
    return NULL;
}

bool config_is_alias(const char *argument)
{
    return find_alias(argument) != NULL;
}

/* ---- what it stands for ---------------------------------------------------------------------- */

static void add_line(struct config_alias_lines *lines, const char *directive, const char *value,
                     const char *suffix)
{
    char *line = lines->line[lines->count++];
    int size = snprintf(line, CONFIG_ALIAS_LINE_BYTES, "%s %s%s", directive, value, suffix);
    CHECK(size > 0 && size < CONFIG_ALIAS_LINE_BYTES);
}

/* One word, whatever is in it. */
static void add_text(struct config_alias_lines *lines, const char *directive, const char *value)
{
    char quoted[CONFIG_TEXT_BYTES_MAX];
    CHECK(config_quote_word(value, quoted, sizeof(quoted)));
    add_line(lines, directive, quoted, "");
}

static void add_addresses(struct config_alias_lines *lines, const char *directive,
                          const char *value)
{
    add_line(lines, directive, value, "");
    for (char *at = lines->line[lines->count - 1]; *at != '\0'; at++) {
        if (*at == ',') {
            *at = ' ';
        }
    }
}

static const char *size_suffix(const char *value)
{
    size_t size = strlen(value);
    return size > 1 && strchr("kKmMgG", value[size - 1]) != NULL ? "b" : "";
}

/* -v is more, -vv and -vvv are all there is. */
static int add_verbosity(struct config_alias_lines *lines, const char *argument,
                         struct config_reason *reason)
{
    size_t count = strspn(argument + 1, "v");
    if (argument[1 + count] != '\0') {
        return config_refuse(reason, "'%.64s': takes no value", argument);
    }
    add_line(lines, "loglevel", count == 1 ? "verbose" : "debug", "");
    return 0;
}

static int expand(const struct alias *alias, const char *value, struct config_alias_lines *lines,
                  struct config_reason *reason)
{
    /* Quoted it may be four times as long. */
    if (strlen(value) > CONFIG_TEXT_BYTES_MAX / 8) {
        return config_refuse(reason, "'-%c': too long a value", alias->letter);
    }
    switch (alias->kind) {
    case ALIAS_TEXT: add_text(lines, alias->directive, value); break;
    case ALIAS_MEGABYTES: add_line(lines, alias->directive, value, "mb"); break;
    case ALIAS_SIZE: add_line(lines, alias->directive, value, size_suffix(value)); break;
    case ALIAS_ADDRESSES: add_addresses(lines, alias->directive, value); break;
    case ALIAS_FIXED: add_line(lines, alias->directive, alias->fixed, ""); break;
    case ALIAS_VERBOSE:
    case ALIAS_REFUSED: return config_refuse(reason, "'-%c': refused", alias->letter);
    }
    for (size_t i = 0; i < 2 && alias->more[i] != NULL; i++) {
        (void)snprintf(lines->line[lines->count++], CONFIG_ALIAS_LINE_BYTES, "%s", alias->more[i]);
    }
    return 0;
}

int config_expand_alias(int argument_count, char *const *arguments,
                        struct config_alias_lines *lines, struct config_reason *reason)
{
    const struct alias *alias = find_alias(arguments[0]);
    const char *stuck = arguments[0] + 2;
    CHECK(alias != NULL);
    lines->count = 0;
    if (alias->kind == ALIAS_REFUSED) {
        return config_refuse(reason, "'-%c' of memcached: %s", alias->letter, alias->directive);
    }
    if (alias->kind == ALIAS_VERBOSE) {
        int result = add_verbosity(lines, arguments[0], reason);
        return result != 0 ? result : 1;
    }
    if (alias->argument == NULL && stuck[0] != '\0') {
        return config_refuse(reason, "'%.64s': takes no value", arguments[0]);
    }
    bool separate = alias->argument != NULL && stuck[0] == '\0';
    if (separate && argument_count < 2) {
        return config_refuse(reason, "'-%c' needs a value: %s", alias->letter, alias->argument);
    }
    int result = expand(alias, separate ? arguments[1] : stuck, lines, reason);
    return result != 0 ? result : separate ? 2 : 1;
}

/* ---- the documents --------------------------------------------------------------------------- */

static void print_meaning(FILE *to, const struct alias *alias)
{
    static const char *const values[] = {
        [ALIAS_TEXT] = NULL,
        [ALIAS_MEGABYTES] = "MBmb",
        [ALIAS_SIZE] = "SIZE",
        [ALIAS_ADDRESSES] = "ADDRESS ...",
        [ALIAS_VERBOSE] = "verbose`; `-vv`: `loglevel debug",
        [ALIAS_REFUSED] = "",
    };
    if (alias->kind == ALIAS_REFUSED) {
        fprintf(to, "refused: %s", alias->directive);
        return;
    }
    const char *value = alias->kind == ALIAS_FIXED  ? alias->fixed
                        : alias->kind == ALIAS_TEXT ? alias->argument
                                                    : values[alias->kind];
    fprintf(to, "`%s %s`", alias->directive, value);
    for (size_t i = 0; i < 2 && alias->more[i] != NULL; i++) {
        fprintf(to, ", `%s`", alias->more[i]);
    }
}

void config_print_aliases(FILE *to)
{
    fputs(
        "\n## Options of memcached\n\n"
        "On the command line memcached's short options stand for directives, in their place: what "
        "comes later\ncounts. `-m` evicts, as memcached does; `-M` or `maxmemory-policy` behind it "
        "changes that.\n\n"
        "| option | stands for |\n|---|---|\n",
        to);
    for (size_t i = 0; i < ALIAS_COUNT; i++) {
        const struct alias *alias = &aliases[i];
        fprintf(to, "| `-%c%s%s` | ", alias->letter, alias->argument != NULL ? " " : "",
                alias->argument != NULL ? alias->argument : "");
        print_meaning(to, alias);
        fputs(" |\n", to);
    }
}
