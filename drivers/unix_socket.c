#include "drivers/unix_socket.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

int unix_socket_remove_stale(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct stat status;
    size_t size = strlen(path);
    if (size == 0 || size >= sizeof(address.sun_path)) {
        return -ENAMETOOLONG;
    }
    memcpy(address.sun_path, path, size);
    if (lstat(path, &status) < 0) {
        return errno == ENOENT ? 0 : -errno;
    }
    if (!S_ISSOCK(status.st_mode)) {
        return -EEXIST;
    }
    /* Deliberately of another type: a living listener answers EPROTOTYPE and notices nothing. (A
     * connection that goes at once makes the memif listener of another DPDK 22.11 panic.) */
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return -errno;
    }
    int code = connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0 ? errno : 0;
    close(fd);
    if (code != ECONNREFUSED) {
        return -EADDRINUSE; /* or, without permission to ask, may be */
    }
    return unlink(path) < 0 && errno != ENOENT ? -errno : 0;
}
