/* Frames into a pcapng file. capture.h has the picture.
 *
 * Memory: a ring and a pool of copies while a capture goes on. Its end: `wanted` is taken back, one
 * grace period later no worker is in capture_frames any more, what the ring holds is written, and
 * all is given back. Failure: a file that cannot be made is refused; one that cannot be written to
 * ends the capture with a warning.
 */
#include "dataplane/capture/capture.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include <rte_cycles.h>
#include <rte_ethdev.h>
#include <rte_mbuf.h>
#include <rte_pcapng.h>
#include <rte_ring.h>

#include "dataplane/base/check.h"
#include "dataplane/base/log.h"
#include "dataplane/base/rcu.h"

#define RING_PLACES    4096U
#define SNAP_BYTES     2048U
#define WRITE_BURST    32U
#define WRITES_AT_ONCE (2 * RING_PLACES / WRITE_BURST)

struct capture {
    struct capture_wanted on; /* first: capture_is_on */
    struct rte_ring *ring;
    struct rte_mempool *pool;
    int64_t packets_left, bytes_left; /* atomic */
    uint64_t missed;                  /* atomic */
    /* control thread */
    rte_pcapng_t *file;
    char name[CONFIG_TEXT_BYTES_MAX];
    uint64_t due_cycles, written;
    bool failed;
};

struct capture *capture_create(void)
{
    return calloc(1, sizeof(struct capture));
}

/* ---- workers --------------------------------------------------------------------------------- */

/* Both bounds are taken before the copy, so that workers together stay within them. */
static bool may_take(struct capture *capture, uint32_t bytes)
{
    return __atomic_fetch_sub(&capture->packets_left, 1, __ATOMIC_RELAXED) > 0 &&
           __atomic_fetch_sub(&capture->bytes_left, bytes, __ATOMIC_RELAXED) > 0;
}

static bool take(struct capture *capture, uint16_t port, uint16_t queue,
                 const struct rte_mbuf *frame, enum capture_direction direction)
{
    struct rte_mbuf *copy = rte_pcapng_copy(
        port, queue, frame, capture->pool, SNAP_BYTES, rte_rdtsc(),
        direction == CAPTURE_RECEIVED ? RTE_PCAPNG_DIRECTION_IN : RTE_PCAPNG_DIRECTION_OUT);
    if (copy == NULL) {
        return false;
    }
    if (rte_ring_mp_enqueue(capture->ring, copy) != 0) {
        rte_pktmbuf_free(copy);
        return false;
    }
    return true;
}

void capture_frames(struct capture *capture, uint16_t port, uint16_t queue,
                    struct rte_mbuf *const *frames, uint32_t count,
                    enum capture_direction direction)
{
    for (uint32_t i = 0; i < count; i++) {
        if (!may_take(capture, frames[i]->pkt_len)) {
            __atomic_store_n(&capture->on.wanted, 0, __ATOMIC_RELAXED);
            return;
        }
        if (!take(capture, port, queue, frames[i], direction)) {
            __atomic_fetch_add(&capture->missed, 1, __ATOMIC_RELAXED);
        }
    }
}

/* ---- the file -------------------------------------------------------------------------------- */

static int open_file(const struct config *config)
{
    int directory = open(config->capture_directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (directory < 0) {
        return -errno;
    }
    int fd = openat(directory, config->capture_file,
                    O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    int code = fd < 0 ? -errno : fd;
    close(directory);
    return code;
}

static void give_back(struct capture *capture)
{
    rte_ring_free(capture->ring);
    rte_mempool_free(capture->pool);
    capture->ring = NULL;
    capture->pool = NULL;
}

static bool make_memory(struct capture *capture)
{
    capture->ring = rte_ring_create("capture", RING_PLACES, SOCKET_ID_ANY, RING_F_SC_DEQ);
    capture->pool =
        rte_pktmbuf_pool_create("capture", RING_PLACES + 512, 0, 0,
                                (uint16_t)rte_pcapng_mbuf_size(SNAP_BYTES), SOCKET_ID_ANY);
    if (capture->ring == NULL || capture->pool == NULL) {
        give_back(capture);
        return false;
    }
    return true;
}

static int refuse(struct config_error *error, const char *what, int code)
{
    snprintf(error->text, sizeof(error->text), "ERR capture-file: %s%s%s", what,
             code != 0 ? ": " : "", code != 0 ? strerror(-code) : "");
    return code != 0 ? code : -EINVAL;
}

static int begin(struct capture *capture, const struct config *config, struct config_error *error)
{
    if (config->capture_directory[0] == '\0') {
        return refuse(error, "there is no capture-directory", 0);
    }
    if (rte_eth_dev_count_avail() == 0) {
        return refuse(error, "there is no port of our own stack", 0);
    }
    if (!make_memory(capture)) {
        return refuse(error, "packet copies", -ENOMEM);
    }
    int fd = open_file(config);
    capture->file = fd < 0 ? NULL : rte_pcapng_fdopen(fd, NULL, NULL, "nicached", NULL);
    if (capture->file == NULL) {
        if (fd >= 0) {
            close(fd);
        }
        give_back(capture);
        return refuse(error, config->capture_file, fd < 0 ? fd : -EIO);
    }
    snprintf(capture->name, sizeof(capture->name), "%s", config->capture_file);
    capture->packets_left = config->capture_packets;
    capture->bytes_left = config->capture_bytes;
    capture->due_cycles = rte_rdtsc() + (uint64_t)config->capture_seconds * rte_get_tsc_hz();
    capture->written = capture->missed = 0;
    capture->failed = false;
    __atomic_store_n(&capture->on.wanted, 1, __ATOMIC_RELEASE);
    log_notice("capture %s begins", capture->name);
    return 0;
}

static void write_waiting(struct capture *capture)
{
    struct rte_mbuf *frames[WRITE_BURST];
    for (uint32_t i = 0; i < WRITES_AT_ONCE; i++) {
        uint32_t count =
            rte_ring_sc_dequeue_burst(capture->ring, (void **)frames, WRITE_BURST, NULL);
        if (count == 0) {
            return;
        }
        if (!capture->failed &&
            rte_pcapng_write_packets(capture->file, frames, (uint16_t)count) < 0) {
            log_warning("capture %s: cannot be written to", capture->name);
            capture->failed = true;
        }
        capture->written += capture->failed ? 0 : count;
        rte_pktmbuf_free_bulk(frames, count);
    }
}

static void end(struct capture *capture)
{
    __atomic_store_n(&capture->on.wanted, 0, __ATOMIC_RELEASE);
    rcu_wait_for_readers();
    write_waiting(capture);
    rte_pcapng_close(capture->file);
    capture->file = NULL;
    give_back(capture);
    log_notice("capture %s is complete: %llu frames, %llu missing", capture->name,
               (unsigned long long)capture->written, (unsigned long long)capture->missed);
}

int capture_set(struct capture *capture, const struct config *config, struct config_error *error)
{
    bool same = capture->file != NULL && strcmp(capture->name, config->capture_file) == 0;
    if (!same && capture->file != NULL) {
        end(capture);
    }
    return same || config->capture_file[0] == '\0' ? 0 : begin(capture, config, error);
}

bool capture_run(struct capture *capture)
{
    if (capture->file == NULL) {
        return false;
    }
    write_waiting(capture);
    if (capture_is_on(capture) && !capture->failed && rte_rdtsc() < capture->due_cycles) {
        return false;
    }
    end(capture);
    return true;
}

void capture_destroy(struct capture *capture)
{
    if (capture != NULL) {
        if (capture->file != NULL) {
            end(capture);
        }
        free(capture);
    }
}
