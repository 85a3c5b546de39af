/* A line as words, quoted the way redis-server's configuration file and command line are.
 *
 * Thread: any. Memory: the caller's struct config_words; nothing is allocated. Failure: a reason.
 */
#include <errno.h>

#include "config/config_internal.h"

/* Where the line is read and where the current word is written. */
struct word_reader {
    struct slice line;
    size_t at;
    char *to;
    const char *to_end;
};

static bool is_blank(uint8_t byte)
{
    return byte == ' ' || (byte >= '\t' && byte <= '\r');
}

static int hex_digit(uint8_t byte)
{
    if (byte >= '0' && byte <= '9') {
        return byte - '0';
    }
    byte |= 0x20;
    return byte >= 'a' && byte <= 'f' ? byte - 'a' + 10 : -1;
}

static int put(struct word_reader *reader, uint8_t byte, struct config_reason *reason)
{
    if (byte == '\0') {
        return config_refuse(reason, "a value cannot hold a zero byte");
    }
    if (reader->to == reader->to_end) {
        return config_refuse(reason, "line too long");
    }
    *reader->to++ = (char)byte;
    return 0;
}

static uint8_t peek(const struct word_reader *reader, size_t ahead)
{
    size_t at = reader->at + ahead;
    return at < reader->line.size ? reader->line.data[at] : 0;
}

/* Behind a backslash in double quotes: one byte out, the reader behind the sequence. */
static uint8_t unescape(struct word_reader *reader)
{
    uint8_t byte = peek(reader, 0);
    int high = hex_digit(peek(reader, 1)), low = hex_digit(peek(reader, 2));
    if (byte == 'x' && high >= 0 && low >= 0) {
        reader->at += 3;
        return (uint8_t)(high << 4 | low);
    }
    reader->at += 1;
    switch (byte) {
    case 'n': return '\n';
    case 'r': return '\r';
    case 't': return '\t';
    case 'b': return '\b';
    case 'a': return '\a';
    default: return byte;
    }
}

/* From behind the opening quote to behind the closing one, which ends the word. */
static int read_quoted(struct word_reader *reader, uint8_t quote, struct config_reason *reason)
{
    while (reader->at < reader->line.size) {
        uint8_t byte = reader->line.data[reader->at++];
        if (byte == quote) {
            if (reader->at < reader->line.size && !is_blank(reader->line.data[reader->at])) {
                return config_refuse(reason, "a closing quote must be followed by a blank");
            }
            return 0;
        }
        if (byte == '\\' && quote == '"' && reader->at < reader->line.size) {
            byte = unescape(reader);
        } else if (byte == '\\' && quote == '\'' && peek(reader, 0) == '\'') {
            byte = '\'';
            reader->at++;
        }
        if (put(reader, byte, reason) != 0) {
            return -EINVAL;
        }
    }
    return config_refuse(reason, "unbalanced quotes");
}

static int read_word(struct word_reader *reader, struct config_reason *reason)
{
    while (reader->at < reader->line.size && !is_blank(reader->line.data[reader->at])) {
        uint8_t byte = reader->line.data[reader->at++];
        if (byte == '"' || byte == '\'') {
            return read_quoted(reader, byte, reason);
        }
        if (put(reader, byte, reason) != 0) {
            return -EINVAL;
        }
    }
    return 0;
}

int config_split_words(struct slice line, struct config_words *words, struct config_reason *reason)
{
    struct word_reader reader = {line, 0, words->storage,
                                 words->storage + sizeof(words->storage) - 1};
    words->count = 0;
    for (;;) {
        while (reader.at < line.size && is_blank(line.data[reader.at])) {
            reader.at++;
        }
        if (reader.at == line.size) {
            return 0;
        }
        if (words->count == CONFIG_WORDS_MAX) {
            return config_refuse(reason, "more than %d words in a line", CONFIG_WORDS_MAX);
        }
        words->words[words->count++] = reader.to;
        if (read_word(&reader, reason) != 0) {
            return -EINVAL;
        }
        if (reader.to == reader.to_end) {
            return config_refuse(reason, "line too long");
        }
        *reader.to++ = '\0';
    }
}

static bool needs_quotes(const char *word)
{
    if (*word == '\0' || *word == '#') {
        return true;
    }
    for (; *word != '\0'; word++) {
        if (*word <= ' ' || *word > '~' || *word == '"' || *word == '\'' || *word == '\\') {
            return true;
        }
    }
    return false;
}

bool config_quote_word(const char *word, char *text, size_t size)
{
    if (!needs_quotes(word)) {
        return (size_t)snprintf(text, size, "%s", word) < size;
    }
    size_t used = 0;
    if (size < 3) {
        return false;
    }
    text[used++] = '"';
    for (; *word != '\0'; word++) {
        if (used + 6 > size) { /* the longest escape, the closing quote, the terminator */
            return false;
        }
        if (*word == '"' || *word == '\\') {
            text[used++] = '\\';
            text[used++] = *word;
        } else if (*word < ' ' || *word > '~') {
            used += (size_t)snprintf(text + used, size - used, "\\x%02x", (unsigned char)*word);
        } else {
            text[used++] = *word;
        }
    }
    text[used++] = '"';
    text[used] = '\0';
    return true;
}
