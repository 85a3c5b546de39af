#include "tests/bench/capture.h"

#include <errno.h>

#define MAGIC_MICROSECONDS 0xa1b2c3d4U
#define LINK_TYPE_ETHERNET 1U
#define SNAPSHOT_BYTES     65535U

int capture_open(struct capture *capture, const char *path)
{
    static const struct {
        uint32_t magic;
        uint16_t major, minor;
        uint32_t zone, accuracy, snapshot_bytes, link_type;
    } header = {MAGIC_MICROSECONDS, 2, 4, 0, 0, SNAPSHOT_BYTES, LINK_TYPE_ETHERNET};
    *capture = (struct capture){.file = fopen(path, "wb"), .smallest = SIZE_MAX};
    if (capture->file == NULL) {
        return -errno;
    }
    (void)fwrite(&header, sizeof(header), 1, capture->file); /* capture_close looks at errors */
    return 0;
}

void capture_add(struct capture *capture, uint64_t time_ns, struct slice frame)
{
    const uint32_t header[4] = {
        (uint32_t)(time_ns / 1000000000U),
        (uint32_t)(time_ns % 1000000000U / 1000U),
        (uint32_t)frame.size,
        (uint32_t)frame.size,
    };
    (void)fwrite(header, sizeof(header), 1, capture->file);
    (void)fwrite(frame.data, frame.size, 1, capture->file);
    capture->frame_count++;
    capture->smallest = frame.size < capture->smallest ? frame.size : capture->smallest;
    capture->largest = frame.size > capture->largest ? frame.size : capture->largest;
}

int capture_close(struct capture *capture)
{
    errno = 0;
    bool failed = ferror(capture->file) != 0;
    failed |= fclose(capture->file) != 0;
    capture->file = NULL;
    if (!failed) {
        return 0;
    }
    return errno != 0 ? -errno : -EIO;
}
