/* A link in user space between two TAP interfaces, each in a network namespace of its own: rate,
 * delay, a queue that drops what does not fit, and loss by a seed, the same both ways. For
 * comparing TCPs where the kernel has no netem.
 *
 *   link_relay --left NAMESPACE/INTERFACE --right NAMESPACE/INTERFACE
 *              [--rate BITS-PER-SECOND] [--delay-us N] [--queue-bytes N] [--loss-ppm N] [--seed N]
 *
 * It makes the interfaces and prints "ready"; on SIGTERM it prints what each way carried. A lost
 * frame takes its time on the line like any other; ARP is never lost.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "dataplane/base/check.h"
#include "dataplane/base/hash.h"

#define FRAME_BYTES_MAX 9216U
#define FRAMES_A_TURN   64U
#define ETHERTYPE_AT    12U

struct link_options {
    uint64_t rate_bits, delay_us, queue_bytes, loss_ppm, seed;
};

struct frame {
    struct frame *next;
    uint64_t due_us; /* arrives at the other end */
    uint32_t bytes;
    uint8_t data[];
};

/* One way: frames on it, in the order in which they arrive. */
struct way {
    int from_fd, to_fd;
    struct frame *first, **last;
    uint64_t line_free_us, random_state;
    uint64_t frames, bytes, lost, dropped;
};

static volatile sig_atomic_t stopping;

static void on_signal(int number)
{
    (void)number;
    stopping = 1;
}

static void fail(const char *what)
{
    fprintf(stderr, "link_relay: %s: %s\n", what, strerror(errno));
    exit(1);
}

static uint64_t now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000U + (uint64_t)now.tv_nsec / 1000U;
}

static int make_tap(const char *name)
{
    struct ifreq request = {.ifr_flags = IFF_TAP | IFF_NO_PI};
    int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", name);
    if (fd < 0 || ioctl(fd, TUNSETIFF, &request) < 0) {
        fail(name);
    }
    return fd;
}

/* "NAMESPACE/INTERFACE": enters the namespace for as long as it takes to make the interface. */
static int open_end(const char *where)
{
    char path[256];
    const char *slash = strchr(where, '/');
    int home = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    if (slash == NULL || home < 0) {
        fail(where);
    }
    snprintf(path, sizeof(path), "/run/netns/%.*s", (int)(slash - where), where);
    int there = open(path, O_RDONLY | O_CLOEXEC);
    if (there < 0 || setns(there, CLONE_NEWNET) < 0) {
        fail(path);
    }
    int fd = make_tap(slash + 1);
    if (setns(home, CLONE_NEWNET) < 0) {
        fail("the own namespace");
    }
    close(there);
    close(home);
    return fd;
}

static bool is_lost(struct way *way, const uint8_t *data, uint32_t bytes, uint64_t loss_ppm)
{
    bool ip = bytes > ETHERTYPE_AT + 1 && data[ETHERTYPE_AT] == 0x08 && data[ETHERTYPE_AT + 1] == 0;
    return ip && (random_next(&way->random_state) >> 11) % 1000000U < loss_ppm;
}

static void put_on_line(struct way *way, const struct link_options *options, const uint8_t *data,
                        uint32_t bytes, uint64_t now)
{
    uint64_t start = way->line_free_us > now ? way->line_free_us : now;
    uint64_t waiting = (start - now) * options->rate_bits / 8000000U;
    if (waiting + bytes > options->queue_bytes) {
        way->dropped++;
        return;
    }
    way->line_free_us = start + bytes * 8000000ULL / options->rate_bits;
    if (is_lost(way, data, bytes, options->loss_ppm)) {
        way->lost++;
        return;
    }
    struct frame *frame = malloc(sizeof(*frame) + bytes);
    CHECK(frame != NULL);
    *frame = (struct frame){.due_us = way->line_free_us + options->delay_us, .bytes = bytes};
    memcpy(frame->data, data, bytes);
    *way->last = frame;
    way->last = &frame->next;
}

static void take_in(struct way *way, const struct link_options *options)
{
    uint8_t data[FRAME_BYTES_MAX];
    for (uint32_t i = 0; i < FRAMES_A_TURN; i++) {
        ssize_t bytes = read(way->from_fd, data, sizeof(data));
        if (bytes <= 0) {
            return;
        }
        put_on_line(way, options, data, (uint32_t)bytes, now_us());
    }
}

static void hand_out(struct way *way)
{
    uint64_t now = now_us();
    while (way->first != NULL && way->first->due_us <= now) {
        struct frame *frame = way->first;
        if (write(way->to_fd, frame->data, frame->bytes) >= 0) {
            way->frames++;
            way->bytes += frame->bytes;
        } else if (errno == EAGAIN) {
            return;
        }
        way->first = frame->next;
        way->last = way->first == NULL ? &way->first : way->last;
        free(frame);
    }
}

static void wait_for_work(const struct way ways[2])
{
    uint64_t due = now_us() + 1000000U, now = due - 1000000U;
    for (int i = 0; i < 2; i++) {
        due = ways[i].first != NULL && ways[i].first->due_us < due ? ways[i].first->due_us : due;
    }
    uint64_t wait_ns = due > now ? (due - now) * 1000U : 0;
    struct timespec wait = {.tv_sec = (time_t)(wait_ns / 1000000000U),
                            .tv_nsec = (long)(wait_ns % 1000000000U)};
    struct pollfd polled[2] = {{.fd = ways[0].from_fd, .events = POLLIN},
                               {.fd = ways[1].from_fd, .events = POLLIN}};
    ppoll(polled, 2, &wait, NULL);
}

static void run(struct way ways[2], const struct link_options *options)
{
    while (!stopping) {
        for (int i = 0; i < 2; i++) {
            take_in(&ways[i], options);
            hand_out(&ways[i]);
        }
        wait_for_work(ways);
    }
}

static uint64_t number(const char *text)
{
    char *end;
    uint64_t value = strtoull(text, &end, 10);
    if (*text == '\0' || *end != '\0') {
        errno = EINVAL;
        fail(text);
    }
    return value;
}

static void tell(const char *name, const struct way *way)
{
    printf("%s: %llu frames, %llu bytes, %llu lost, %llu dropped\n", name,
           (unsigned long long)way->frames, (unsigned long long)way->bytes,
           (unsigned long long)way->lost, (unsigned long long)way->dropped);
}

static void parse(int argc, char **argv, struct link_options *options, const char *ends[2])
{
    static const struct option names[] = {
        {"left", required_argument, NULL, 'l'},        {"right", required_argument, NULL, 'r'},
        {"rate", required_argument, NULL, 'b'},        {"delay-us", required_argument, NULL, 'd'},
        {"queue-bytes", required_argument, NULL, 'q'}, {"loss-ppm", required_argument, NULL, 'p'},
        {"seed", required_argument, NULL, 's'},        {NULL, 0, NULL, 0},
    };
    int name;
    while ((name = getopt_long(argc, argv, "", names, NULL)) != -1) {
        switch (name) {
        case 'l': ends[0] = optarg; break;
        case 'r': ends[1] = optarg; break;
        case 'b': options->rate_bits = number(optarg); break;
        case 'd': options->delay_us = number(optarg); break;
        case 'q': options->queue_bytes = number(optarg); break;
        case 'p': options->loss_ppm = number(optarg); break;
        case 's': options->seed = number(optarg); break;
        default: exit(1);
        }
    }
    if (ends[0] == NULL || ends[1] == NULL || options->rate_bits == 0) {
        errno = EINVAL;
        fail("--left, --right and a rate are needed");
    }
}

int main(int argc, char **argv)
{
    struct link_options options = {
        .rate_bits = 100000000, .delay_us = 10000, .queue_bytes = 250000, .seed = 1};
    const char *ends[2] = {NULL, NULL};
    parse(argc, argv, &options, ends);
    signal(SIGTERM, on_signal);
    signal(SIGINT, on_signal);
    int fds[2] = {open_end(ends[0]), open_end(ends[1])};
    struct way ways[2];
    for (int i = 0; i < 2; i++) {
        ways[i] = (struct way){.from_fd = fds[i],
                               .to_fd = fds[1 - i],
                               .random_state =
                                   (options.seed * 2U + (uint64_t)i) * 0x9E3779B97F4A7C15ULL | 1};
        ways[i].last = &ways[i].first;
    }
    printf("ready\n");
    fflush(stdout);
    run(ways, &options);
    tell("left to right", &ways[0]);
    tell("right to left", &ways[1]);
    return 0;
}
