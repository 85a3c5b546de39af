/* The configuration file and the command line: lines in, a filled struct config out.
 *
 * Every refusal is one line that names file, line, directive and what is allowed:
 *   "/etc/nicached.conf:12: 'port': argument must be between 0 and 65535 inclusive (TCP port ...)"
 *
 * Thread: the one that starts the process. Memory: one file's text at a time per include level.
 * Bounds: file, line, words, include depth and number of includes, all in the headers. A byte that
 * is not text is refused where it stands, not guessed at.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config/config_internal.h"
#include "dataplane/base/number.h"

/* Where a directive stands. */
struct config_place {
    const char *name; /* file, or NULL: the command line */
    uint32_t line;
    uint32_t depth; /* of includes */
};

struct config_reader {
    struct config *config;
    struct config_error *error;
    bool may_include;
    uint32_t include_count;
};

static int load_path(struct config_reader *reader, const char *path, uint32_t depth,
                     const struct config_place *from);

/* ---- refusals ------------------------------------------------------------------------------ */

static int refuse_at(struct config_reader *reader, const struct config_place *place,
                     const char *format, ...) __attribute__((format(printf, 3, 4)));

static int refuse_at(struct config_reader *reader, const struct config_place *place,
                     const char *format, ...)
{
    char *text = reader->error->text;
    size_t size = sizeof(reader->error->text);
    int used = place->name == NULL ? snprintf(text, size, "command line: ")
                                   : snprintf(text, size, "%.200s:%u: ", place->name, place->line);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text + used, size - (size_t)used, format, arguments);
    va_end(arguments);
    for (char *at = text; *at != '\0'; at++) {
        if ((unsigned char)*at < ' ' || *at == 0x7f) {
            *at = '?'; /* one line, and nothing that a terminal would obey */
        }
    }
    return -EINVAL;
}

/* A number's reason alone does not say which units there are, or why the bounds are what they are.
 */
static int refuse_option(struct config_reader *reader, const struct config_place *place,
                         const struct option *option, const struct config_reason *reason)
{
    char allowed[CONFIG_VALUE_BYTES_MAX];
    if (option->kind == OPTION_KIND_INTEGER) {
        option_format_allowed(option, allowed);
        return refuse_at(reader, place, "'%s': %s; allowed: %s (%s)", option->name, reason->text,
                         allowed, option->help);
    }
    return refuse_at(reader, place, "'%s': %s", option->name, reason->text);
}

/* ---- one line ------------------------------------------------------------------------------ */

static int include(struct config_reader *reader, const struct config_place *place,
                   uint32_t word_count, char *const *words)
{
    if (word_count != 1) {
        return refuse_at(reader, place, "'include': wrong number of arguments (one file)");
    }
    if (!reader->may_include) {
        return refuse_at(reader, place, "'include': not allowed here");
    }
    if (place->depth >= CONFIG_INCLUDE_DEPTH_MAX) {
        return refuse_at(reader, place, "'include': nested deeper than %d files",
                         CONFIG_INCLUDE_DEPTH_MAX);
    }
    if (reader->include_count == CONFIG_INCLUDE_COUNT_MAX) {
        return refuse_at(reader, place, "'include': more than %d files", CONFIG_INCLUDE_COUNT_MAX);
    }
    reader->include_count++;
    return load_path(reader, words[0], place->depth + 1, place);
}

static int apply_words(struct config_reader *reader, const struct config_place *place,
                       const struct config_words *words)
{
    struct slice name = slice_of_string(words->words[0]);
    if (slice_equal_ignoring_case(name, SLICE_LITERAL("include"))) {
        return include(reader, place, words->count - 1, words->words + 1);
    }
    const struct option *option = option_find(words->words[0]);
    if (option == NULL) {
        return refuse_at(reader, place, "unknown directive '%.64s' (docs/configuration.md has all)",
                         words->words[0]);
    }
    struct config_reason reason;
    int result = option_set(reader->config, option, words->count - 1, words->words + 1, &reason);
    if (result == -ENOMEM) {
        refuse_at(reader, place, "'%s': out of memory", option->name);
        return -ENOMEM;
    }
    return result == 0 ? 0 : refuse_option(reader, place, option, &reason);
}

bool config_line_is_silent(struct slice line)
{
    for (size_t i = 0; i < line.size; i++) {
        if (line.data[i] != ' ' && (line.data[i] < '\t' || line.data[i] > '\r')) {
            return line.data[i] == '#';
        }
    }
    return true;
}

static int parse_line(struct config_reader *reader, const struct config_place *place,
                      struct slice line)
{
    struct config_words words;
    struct config_reason reason;
    if (config_line_is_silent(line)) {
        return 0;
    }
    if (line.size >= CONFIG_LINE_BYTES_MAX) {
        return refuse_at(reader, place, "line longer than %d bytes", CONFIG_LINE_BYTES_MAX - 1);
    }
    if (config_split_words(line, &words, &reason) != 0) {
        return refuse_at(reader, place, "%s", reason.text);
    }
    return apply_words(reader, place, &words);
}

/* ---- one file -------------------------------------------------------------------------------- */

bool config_next_line(struct slice *text, struct slice *line)
{
    if (text->size == 0) {
        return false;
    }
    const uint8_t *end = memchr(text->data, '\n', text->size);
    size_t size = end == NULL ? text->size : (size_t)(end - text->data);
    *line = slice_of(text->data, size);
    *text = slice_from(*text, size + 1);
    return true;
}

static int parse_text(struct config_reader *reader, const char *name, struct slice text,
                      uint32_t depth)
{
    struct config_place place = {.name = name, .depth = depth};
    struct slice line;
    while (config_next_line(&text, &line)) {
        place.line++;
        int result = parse_line(reader, &place, line);
        if (result != 0) {
            return result;
        }
    }
    return 0;
}

int config_parse_text(struct config *config, const char *name, struct slice text, bool may_include,
                      struct config_error *error)
{
    struct config_reader reader = {config, error, may_include, 0};
    return parse_text(&reader, name, text, 0);
}

int config_read_all(int fd, char **text, size_t *size)
{
    char *buffer = malloc(CONFIG_FILE_BYTES_MAX + 1);
    size_t used = 0;
    if (buffer == NULL) {
        return -ENOMEM;
    }
    for (;;) {
        ssize_t count = read(fd, buffer + used, CONFIG_FILE_BYTES_MAX + 1 - used);
        if (count < 0 && errno == EINTR) {
            continue;
        }
        if (count < 0 || used + (size_t)count > CONFIG_FILE_BYTES_MAX) {
            int result = count < 0 ? -errno : -EFBIG;
            free(buffer);
            return result;
        }
        if (count == 0) {
            *text = buffer;
            *size = used;
            return 0;
        }
        used += (size_t)count;
    }
}

static int read_path(const char *path, char **text, size_t *size)
{
    if (strcmp(path, "-") == 0) {
        return config_read_all(STDIN_FILENO, text, size);
    }
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0) {
        return -errno;
    }
    int result = config_read_all(fd, text, size);
    close(fd);
    return result;
}

/* `from` is the line that includes the file, or NULL for the file of the command line. */
static int load_path(struct config_reader *reader, const char *path, uint32_t depth,
                     const struct config_place *from)
{
    static const struct config_place command_line = {0};
    char *text;
    size_t size;
    int result = read_path(path, &text, &size);
    if (result != 0) {
        return refuse_at(reader, from != NULL ? from : &command_line,
                         "cannot read configuration file '%.200s': %s", path, strerror(-result));
    }
    result = parse_text(reader, strcmp(path, "-") == 0 ? "standard input" : path,
                        slice_of(text, size), depth);
    free(text);
    return result;
}

/* CONFIG REWRITE writes to this path later, from wherever the process then stands. */
static int remember_path(struct config_reader *reader, const char *path)
{
    static const struct config_place command_line = {0};
    char resolved[PATH_MAX];
    if (strcmp(path, "-") == 0) {
        return 0;
    }
    if (realpath(path, resolved) == NULL) {
        return refuse_at(reader, &command_line, "cannot read configuration file '%.200s': %s", path,
                         strerror(errno));
    }
    if (strlen(resolved) >= sizeof(reader->config->file_path)) {
        return refuse_at(reader, &command_line, "path of the configuration file is too long");
    }
    memcpy(reader->config->file_path, resolved, strlen(resolved) + 1);
    return 0;
}

static int load_file(struct config_reader *reader, const char *path)
{
    int result = remember_path(reader, path);
    return result != 0 ? result : load_path(reader, path, 0, NULL);
}

int config_load_file(struct config *config, const char *path, struct config_error *error)
{
    struct config_reader reader = {config, error, true, 0};
    return load_file(&reader, path);
}

/* ---- the command line --------------------------------------------------------------------------
 */

static bool is_directive(const char *argument)
{
    return argument[0] == '-' && argument[1] == '-';
}

/* "--interface" "lo0 socket 127.0.0.1" means the same as four words; a password with a blank in it
 * stays one. So words are as the shell made them, but for directives that take several. */
static int add_value(const char *value, bool splits, struct config_words *words, char **to,
                     struct config_reason *reason)
{
    size_t size = strlen(value) + 1;
    size_t room = (size_t)(words->storage + sizeof(words->storage) - *to);
    struct config_words parts;
    if (splits) {
        if (config_split_words(slice_of_string(value), &parts, reason) != 0) {
            return -EINVAL;
        }
        for (uint32_t i = 0; i < parts.count; i++) {
            if (add_value(parts.words[i], false, words, to, reason) != 0) {
                return -EINVAL;
            }
        }
        return 0;
    }
    if (size > room || words->count == CONFIG_WORDS_MAX) {
        return config_refuse(reason, "too long a value, or more than %d words", CONFIG_WORDS_MAX);
    }
    memcpy(*to, value, size);
    words->words[words->count++] = *to;
    *to += size;
    return 0;
}

static bool takes_words(const char *name)
{
    const struct option *option = option_find(name);
    return option != NULL &&
           (option->kind == OPTION_KIND_INTERFACE || option->kind == OPTION_KIND_BIND ||
            option->kind == OPTION_KIND_SECURITY);
}

/* memcached's option at arguments[0]; returns as apply_argument. */
static int apply_alias(struct config_reader *reader, int argument_count, char *const *arguments)
{
    static const struct config_place command_line = {0};
    static struct config_alias_lines lines; /* large; the process has only one command line */
    struct config_reason reason;
    int taken = config_expand_alias(argument_count, arguments, &lines, &reason);
    if (taken < 0) {
        return refuse_at(reader, &command_line, "%s", reason.text);
    }
    for (uint32_t i = 0; i < lines.count; i++) {
        int result = parse_line(reader, &command_line, slice_of_string(lines.line[i]));
        if (result != 0) {
            return result;
        }
    }
    return taken;
}

/* A value may look like an option of memcached only where it is the first of its directive. */
static bool ends_directive(const char *argument, uint32_t word_count)
{
    return is_directive(argument) || (word_count > 1 && config_is_alias(argument));
}

/* The directive at arguments[0] and its values; returns how many arguments it took, or an error. */
static int apply_argument(struct config_reader *reader, int argument_count, char *const *arguments)
{
    static const struct config_place command_line = {0};
    struct config_words words = {0};
    struct config_reason reason;
    char *to = words.storage;
    int count = 1;
    /* `"--port 6380"` as one argument works too, as with redis-server. */
    if (add_value(arguments[0] + 2, true, &words, &to, &reason) != 0) {
        return refuse_at(reader, &command_line, "'%.64s': %s", arguments[0], reason.text);
    }
    if (words.count == 0) {
        return refuse_at(reader, &command_line, "'--' without a directive");
    }
    for (; count < argument_count && !ends_directive(arguments[count], words.count); count++) {
        bool splits = takes_words(words.words[0]) && arguments[count][0] != '\0';
        if (add_value(arguments[count], splits, &words, &to, &reason) != 0) {
            return refuse_at(reader, &command_line, "'%.64s': %s", words.words[0], reason.text);
        }
    }
    int result = apply_words(reader, &command_line, &words);
    return result != 0 ? result : count;
}

int config_load(struct config *config, int argument_count, char *const *arguments,
                struct config_error *error)
{
    struct config_reader reader = {config, error, true, 0};
    static const struct config_place command_line = {0};
    int at = 0;
    if (argument_count > 0 && !is_directive(arguments[0]) && !config_is_alias(arguments[0])) {
        int result = load_file(&reader, arguments[at++]);
        if (result != 0) {
            return result;
        }
    }
    while (at < argument_count) {
        bool is_alias = config_is_alias(arguments[at]);
        if (!is_alias && !is_directive(arguments[at])) {
            return refuse_at(
                &reader, &command_line,
                "'%.64s' stands behind no directive; use [FILE] [--directive value ...]",
                arguments[at]);
        }
        int taken =
            (is_alias ? apply_alias : apply_argument)(&reader, argument_count - at, arguments + at);
        if (taken < 0) {
            return taken;
        }
        at += taken;
    }
    return config_check(config, error);
}

/* ---- the whole ----------------------------------------------------------------------------- */

static int refuse_whole(struct config_error *error, const char *text)
{
    snprintf(error->text, sizeof(error->text), "configuration: %s", text);
    return -EINVAL;
}

int config_check(const struct config *config, struct config_error *error)
{
    bool has_port =
        config->port != 0 || config->memcache_port != 0 || config->memcache_udp_port != 0;
    bool has_path = config->unixsocket[0] != '\0' || config->memcache_unixsocket[0] != '\0';
    if (!has_path && (!has_port || config->interface_count == 0)) {
        return refuse_whole(error, has_port
                                       ? "nothing to listen on: 'interface', 'bind', 'unixsocket' "
                                         "and 'memcache-unixsocket' are all empty"
                                       : "nothing to listen on: 'port', 'memcache-port' and "
                                         "'memcache-udp-port' are all 0");
    }
    if (config->port != 0 && config->port == config->memcache_port) {
        return refuse_whole(error, "'port' and 'memcache-port' must differ");
    }
    if (has_path && strcmp(config->unixsocket, config->memcache_unixsocket) == 0) {
        return refuse_whole(error, "'unixsocket' and 'memcache-unixsocket' must differ");
    }
    uint32_t cpus[CONFIG_WORKERS_MAX];
    uint32_t cpu_count = config_worker_cpus(config, cpus, CONFIG_WORKERS_MAX);
    if (cpu_count != 0 && cpu_count < config->workers) {
        return refuse_whole(error, "'worker-cpus' must name a CPU for each of the 'workers'");
    }
    return 0;
}
