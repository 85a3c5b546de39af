/* The log: lines to stderr or a file, never from the packet path. */
#ifndef NICACHED_BASE_LOG_H
#define NICACHED_BASE_LOG_H

enum log_level { LOG_DEBUG, LOG_VERBOSE, LOG_NOTICE, LOG_WARNING };

/* `path` NULL or "" is stderr. Returns 0 or a negative errno. */
int log_setup(enum log_level level, const char *path);
void log_teardown(void);
void log_set_level(enum log_level level);

/* One line, without its newline. "pid:role date level message", as redis-server writes it. */
void log_write(enum log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

#define log_debug(...)   log_write(LOG_DEBUG, __VA_ARGS__)
#define log_verbose(...) log_write(LOG_VERBOSE, __VA_ARGS__)
#define log_notice(...)  log_write(LOG_NOTICE, __VA_ARGS__)
#define log_warning(...) log_write(LOG_WARNING, __VA_ARGS__)

#endif
