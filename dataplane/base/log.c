#include "dataplane/base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static struct {
    enum log_level level;
    FILE *file; /* NULL: stderr */
} log_state = {.level = LOG_NOTICE};

int log_setup(enum log_level level, const char *path)
{
    log_state.level = level;
    if (path == NULL || path[0] == '\0') {
        return 0;
    }
    FILE *file = fopen(path, "ae");
    if (file == NULL) {
        return -errno;
    }
    setvbuf(file, NULL, _IOLBF, 0);
    log_state.file = file;
    return 0;
}

void log_teardown(void)
{
    if (log_state.file != NULL) {
        fclose(log_state.file);
        log_state.file = NULL;
    }
}

void log_set_level(enum log_level level)
{
    __atomic_store_n(&log_state.level, level, __ATOMIC_RELAXED);
}

void log_write(enum log_level level, const char *format, ...)
{
    if (level < __atomic_load_n(&log_state.level, __ATOMIC_RELAXED)) {
        return;
    }
    char line[1024], date[64];
    struct timespec now;
    struct tm local;
    clock_gettime(CLOCK_REALTIME, &now);
    localtime_r(&now.tv_sec, &local);
    strftime(date, sizeof(date), "%d %b %Y %H:%M:%S", &local);

    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line, sizeof(line), format, arguments);
    va_end(arguments);
    fprintf(log_state.file != NULL ? log_state.file : stderr, "%d:M %s.%03ld %c %s\n", getpid(),
            date, now.tv_nsec / 1000000, ".-*#"[level], line);
}
