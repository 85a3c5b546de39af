/* Shared among the files of config/ and their tests: the option table, and how a line is read. */
#ifndef NICACHED_CONFIG_CONFIG_INTERNAL_H
#define NICACHED_CONFIG_CONFIG_INTERNAL_H

#include "config/config.h"

#define CONFIG_LINE_BYTES_MAX    8192 /* of one line, with its terminator */
#define CONFIG_WORDS_MAX         64   /* of one line */
#define CONFIG_FILE_BYTES_MAX    (1U << 20)
#define CONFIG_INCLUDE_COUNT_MAX 64 /* of one start: a file may include itself twice */
#define CONFIG_REASON_BYTES_MAX  384
/* Every value of any directive as text fits: all interfaces are the longest. */
#define CONFIG_VALUE_BYTES_MAX (CONFIG_INTERFACES_MAX * INTERFACE_TEXT_BYTES_MAX)

/* ---- the table (options.c) ------------------------------------------------------------------- */

enum option_kind {
    OPTION_KIND_SECTION, /* a heading of the documents, no directive */
    OPTION_KIND_BOOL,
    OPTION_KIND_INTEGER,
    OPTION_KIND_ENUM,
    OPTION_KIND_STRING,
    OPTION_KIND_FIXED,     /* reported, never changed */
    OPTION_KIND_INTERFACE, /* appends one interface */
    OPTION_KIND_BIND,      /* replaces the interfaces it made before */
    OPTION_KIND_SECURITY,  /* appends rules; one word replaces them */
    OPTION_KIND_OUTPUT_LIMITS,
};
enum option_when { WHEN_START, WHEN_NOW };
enum option_unit { UNIT_NONE, UNIT_BYTES, UNIT_SECONDS, UNIT_MILLISECONDS, UNIT_OCTAL };

struct option_value {
    const char *name; /* NULL ends the list */
    int value;
};

struct option {
    enum option_kind kind;
    const char *name;
    size_t offset;            /* in struct config */
    int64_t default_integer;  /* and of bool and enum */
    const char *default_text; /* of string, fixed and limits on output */
    int64_t low, high;
    enum option_unit unit;
    const struct option_value *values;
    const char *(*check)(const char *value); /* NULL, or what is wrong */
    enum option_when when;
    const char *help; /* of a fixed one: why it is */
};

extern const struct option options[];
extern const uint32_t option_count;

struct config_reason {
    char text[CONFIG_REASON_BYTES_MAX];
};
/* Writes the reason; returns -EINVAL, so that a refusal is one statement. */
int config_refuse(struct config_reason *reason, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

const struct option *option_find(const char *name);
/* Sets one directive from the words behind its name. 0, -EINVAL with the reason, -ENOMEM. */
int option_set(struct config *config, const struct option *option, uint32_t word_count,
               char *const *words, struct config_reason *reason);
/* The value as CONFIG GET shows it. `text` has room for CONFIG_VALUE_BYTES_MAX. */
void option_format(const struct config *config, const struct option *option, char *text);
/* The same as a line of the file needs it: memory sizes with their unit, text quoted. */
void option_format_for_file(const struct config *config, const struct option *option, char *text);
/* What may stand behind the name, in words. `text` has room for CONFIG_VALUE_BYTES_MAX. */
void option_format_allowed(const struct option *option, char *text);
void option_set_default(struct config *config, const struct option *option);

/* Digits, then one of Redis' units; false for anything else, and for what an int64_t cannot hold.
 */
bool config_parse_bytes(const char *text, int64_t *value);
/* The largest unit that divides the number, as Redis rewrites memory sizes. */
#define CONFIG_BYTES_TEXT_MAX 24 /* with its terminator */
void config_format_bytes(int64_t value, char text[CONFIG_BYTES_TEXT_MAX]);

/* ---- memcached's options (config_alias.c) ---------------------------------------------------- */

/* The lines that an option stands for: a directive each, with its value. */
#define CONFIG_ALIAS_LINE_BYTES (2 * CONFIG_TEXT_BYTES_MAX)
struct config_alias_lines {
    uint32_t count;
    char line[3][CONFIG_ALIAS_LINE_BYTES];
};
bool config_is_alias(const char *argument);
/* The option at arguments[0], and its value; returns how many arguments it took, or -EINVAL with
 * the reason. */
int config_expand_alias(int argument_count, char *const *arguments,
                        struct config_alias_lines *lines, struct config_reason *reason);
void config_print_aliases(FILE *to);

/* ---- interfaces (config_interface.c) --------------------------------------------------------- */

int config_add_interface(struct config *config, uint32_t word_count, char *const *words,
                         struct config_reason *reason);
int config_set_bind(struct config *config, uint32_t word_count, char *const *words,
                    struct config_reason *reason);
void config_format_bind(const struct config *config, char *text, size_t size);

/* ---- rules (config_security.c) --------------------------------------------------------------- */

int config_add_security_rules(struct config *config, uint32_t word_count, char *const *words,
                              struct config_reason *reason);
void config_format_security_rules(const struct config *config, char *text, size_t size);

/* ---- limits on output (config_output_limit.c) ------------------------------------------------ */

/* The words, or one word that holds them; none in it: nothing changes. */
int config_set_output_limits(struct config *config, uint32_t word_count, char *const *words,
                             struct config_reason *reason);
void config_format_output_limits(const struct config *config, bool for_file, char *text,
                                 size_t size);

/* ---- text (config_words.c, config_file.c) ---------------------------------------------------- */

/* The words of one line, unquoted as redis-server does: "..." with \n \r \t \b \a \xHH and \c for
 * any other c, '...' with \' only, and blanks in between. */
struct config_words {
    uint32_t count;
    char *words[CONFIG_WORDS_MAX];
    char storage[CONFIG_LINE_BYTES_MAX + CONFIG_WORDS_MAX];
};
int config_split_words(struct slice line, struct config_words *words, struct config_reason *reason);
/* As much quoting as the word needs to come back the same; false when `size` is too small. */
bool config_quote_word(const char *word, char *text, size_t size);

/* All lines of a file's text. `name` is for messages. Without `may_include` an include line is
 * refused (tests and fuzzing touch no files). */
int config_parse_text(struct config *config, const char *name, struct slice text, bool may_include,
                      struct config_error *error);
/* Reads the whole of an open file, at most CONFIG_FILE_BYTES_MAX, into the heap. */
int config_read_all(int fd, char **text, size_t *size);
/* Cuts the next line, without its newline, off `text`; false at the end. */
bool config_next_line(struct slice *text, struct slice *line);
/* Empty, or a comment. */
bool config_line_is_silent(struct slice line);

#endif
