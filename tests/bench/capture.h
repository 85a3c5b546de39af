/* A capture file that is written: the classic pcap format in microseconds, with Ethernet frames.
 *
 *   magic a1b2c3d4(4) version 2.4(4) zone(4) accuracy(4) snapshot length(4) link type 1(4)
 *   for each frame: seconds(4) microseconds(4) bytes in the file(4) bytes on the wire(4) frame
 *
 * In the byte order of this machine, as the format has it. Every packet generator reads this form;
 * not all of them read pcapng or nanoseconds.
 *
 * Failure: writing is buffered, so a full disk may show only at the end; capture_close says it.
 */
#ifndef NICACHED_TESTS_BENCH_CAPTURE_H
#define NICACHED_TESTS_BENCH_CAPTURE_H

#include <stdint.h>
#include <stdio.h>

#include "dataplane/base/bytes.h"

struct capture {
    FILE *file;
    uint64_t frame_count;
    size_t smallest, largest; /* frame, in bytes */
};

/* 0 or -errno. */
int capture_open(struct capture *capture, const char *path);
void capture_add(struct capture *capture, uint64_t time_ns, struct slice frame);
/* 0, or -errno of the first write that failed. */
int capture_close(struct capture *capture);

#endif
