/* For LD_PRELOAD: the wall clock that a program sees is off by what the first eight bytes of the
 * file WALL_CLOCK_SHIFT say, in seconds. A test writes there while the program runs, and the clock
 * jumps; the system's own clock stays as it is, and so does the monotonic one. */
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static const int64_t *shift;

__attribute__((constructor)) static void map_shift(void)
{
    const char *path = getenv("WALL_CLOCK_SHIFT");
    int file = path == NULL ? -1 : open(path, O_RDONLY | O_CLOEXEC);
    void *map = file < 0 ? MAP_FAILED : mmap(NULL, sizeof(*shift), PROT_READ, MAP_SHARED, file, 0);
    if (map == MAP_FAILED) {
        abort();
    }
    close(file);
    shift = map;
}

int clock_gettime(clockid_t id, struct timespec *time)
{
    int result = (int)syscall(SYS_clock_gettime, id, time);
    if (result == 0 && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE)) {
        time->tv_sec += __atomic_load_n(shift, __ATOMIC_RELAXED);
    }
    return result;
}
