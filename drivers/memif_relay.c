#include "drivers/memif_relay.h"

#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <rte_interrupts.h>

#include "dataplane/base/check.h"
#include "drivers/port_internal.h"
#include "drivers/unix_socket.h"

/* The protocol's messages: their size, and those that matter here. A message begins with its type,
 * 16 bits. */
#define MESSAGE_BYTES 128U
enum message_type { MESSAGE_ACK = 1, MESSAGE_HELLO = 2, MESSAGE_CONNECTED = 7 };

/* A socket that EAL's interrupt thread looks after. */
struct watch {
    int fd; /* -1: none */
    struct rte_intr_handle *handle;
    rte_intr_callback_fn callback;
};

struct memif_relay {
    struct port_gate gate;
    bool is_client;
    bool ending;  /* the pair is to be closed */
    bool greeted; /* net_memif may be hung up on: its HELLO was handed on, or will not come */
    struct eal_errand end;
    struct watch listener, peer, pmd;
    char path[MEMIF_PATH_BYTES_MAX + 1],
        pmd_path[MEMIF_PATH_BYTES_MAX + MEMIF_SUFFIX_BYTES_MAX + 1];
};

/* ---- sockets --------------------------------------------------------------------------------- */

static struct sockaddr_un address_of(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    return address;
}

static int open_socket(void)
{
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    return fd < 0 ? -errno : fd;
}

static int listen_on(const char *path)
{
    int fd = open_socket();
    if (fd < 0) {
        return fd;
    }
    struct sockaddr_un address = address_of(path);
    if (bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 || listen(fd, 1) < 0) {
        int code = -errno;
        close(fd);
        return code;
    }
    return fd;
}

static int connect_to(const char *path)
{
    int fd = open_socket();
    if (fd < 0) {
        return fd;
    }
    struct sockaddr_un address = address_of(path);
    if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
        int code = -errno;
        close(fd);
        return code;
    }
    return fd;
}

static int watch_begin(struct watch *watch, int fd, rte_intr_callback_fn callback,
                       struct memif_relay *relay)
{
    watch->fd = fd;
    watch->callback = callback;
    watch->handle = rte_intr_instance_alloc(RTE_INTR_INSTANCE_F_PRIVATE);
    if (watch->handle == NULL) {
        return -ENOMEM;
    }
    (void)rte_intr_fd_set(watch->handle, fd);
    (void)rte_intr_type_set(watch->handle, RTE_INTR_HANDLE_EXT);
    return rte_intr_callback_register(watch->handle, callback, relay);
}

/* Not from a callback of the same socket: it would wait for itself. */
static void watch_end(struct watch *watch, struct memif_relay *relay)
{
    if (watch->handle != NULL) {
        (void)rte_intr_callback_unregister_sync(watch->handle, watch->callback, relay);
        rte_intr_instance_free(watch->handle);
        watch->handle = NULL;
    }
    if (watch->fd >= 0) {
        close(watch->fd);
        watch->fd = -1;
    }
}

/* ---- a pair: the peer and net_memif ---------------------------------------------------------- */

static void end_pair(struct eal_errand *errand)
{
    struct memif_relay *relay =
        (struct memif_relay *)(void *)((char *)errand - offsetof(struct memif_relay, end));
    watch_end(&relay->pmd, relay);
    watch_end(&relay->peer, relay);
    relay->ending = false;
}

/* Not at once: a callback of one of the two is running. And not before net_memif has greeted. */
static void end_if_greeted(struct memif_relay *relay)
{
    if (relay->greeted) {
        relay->end.run = end_pair;
        eal_post_errand(&relay->end);
    }
}

static void begin_end(struct memif_relay *relay)
{
    if (!relay->ending) {
        port_gate_close(&relay->gate);
        relay->ending = true;
        end_if_greeted(relay);
    }
}

struct letter {
    uint8_t bytes[MESSAGE_BYTES];
    size_t size;
    int fd; /* -1: none */
};

/* False: nothing more comes, or not a memif message. */
static bool take_letter(int from, struct letter *letter)
{
    union {
        struct cmsghdr header;
        char room[CMSG_SPACE(sizeof(int)) + CMSG_SPACE(sizeof(struct ucred))];
    } control;
    struct iovec part = {.iov_base = letter->bytes, .iov_len = sizeof(letter->bytes)};
    struct msghdr message = {.msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = &control,
                             .msg_controllen = sizeof(control)};
    *letter = (struct letter){.fd = -1};
    ssize_t size = recvmsg(from, &message, MSG_CMSG_CLOEXEC);
    if (size <= 0) {
        return size < 0 && errno == EAGAIN;
    }
    for (struct cmsghdr *at = CMSG_FIRSTHDR(&message); at != NULL; at = CMSG_NXTHDR(&message, at)) {
        if (at->cmsg_level == SOL_SOCKET && at->cmsg_type == SCM_RIGHTS) {
            memcpy(&letter->fd, CMSG_DATA(at), sizeof(letter->fd));
        }
    }
    letter->size = (size_t)size;
    return (message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) == 0 && letter->size == MESSAGE_BYTES;
}

static bool send_letter(int to, struct letter *letter)
{
    union {
        struct cmsghdr header;
        char room[CMSG_SPACE(sizeof(int))];
    } control = {0};
    struct iovec part = {.iov_base = letter->bytes, .iov_len = letter->size};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    if (letter->fd >= 0) {
        message.msg_control = &control;
        message.msg_controllen = sizeof(control);
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(sizeof(letter->fd));
        memcpy(CMSG_DATA(header), &letter->fd, sizeof(letter->fd));
    }
    return sendmsg(to, &message, MSG_NOSIGNAL) == (ssize_t)letter->size;
}

static uint16_t type_of(const struct letter *letter)
{
    uint16_t type;
    memcpy(&type, letter->bytes, sizeof(type));
    return type;
}

/* Takes a letter and sends it to the other. False: this is the end of the pair. */
static bool hand_on(struct memif_relay *relay, int from, int to)
{
    struct letter letter;
    bool goes_on = take_letter(from, &letter);
    if (goes_on && letter.size > 0) {
        /* What the peer says when it is connected may make net_memif give its memory back. It does
         * not when something is acknowledged. */
        if (from == relay->peer.fd && type_of(&letter) != MESSAGE_ACK) {
            port_gate_close(&relay->gate);
        }
        goes_on = send_letter(to, &letter);
        relay->greeted |= type_of(&letter) == MESSAGE_HELLO;
        if (goes_on && type_of(&letter) == MESSAGE_CONNECTED) {
            port_gate_open(&relay->gate);
        }
    }
    if (letter.fd >= 0) {
        close(letter.fd);
    }
    return goes_on;
}

/* From net_memif. After the peer has gone, still: until it has greeted. */
static void on_pmd(void *argument)
{
    struct memif_relay *relay = argument;
    if (relay->ending && relay->greeted) {
        return;
    }
    bool goes_on = hand_on(relay, relay->pmd.fd, relay->peer.fd);
    if (relay->ending) {
        relay->greeted = true; /* or it never will */
        end_if_greeted(relay);
    } else if (!goes_on) {
        relay->greeted = true;
        begin_end(relay);
    }
}

static void on_peer(void *argument)
{
    struct memif_relay *relay = argument;
    if (!relay->ending && !hand_on(relay, relay->peer.fd, relay->pmd.fd)) {
        begin_end(relay);
    }
}

static int begin_pair(struct memif_relay *relay, int peer, int pmd)
{
    relay->greeted = relay->is_client; /* only a listener minds */
    relay->peer.fd = peer;
    int code = watch_begin(&relay->pmd, pmd, on_pmd, relay);
    if (code == 0) {
        code = watch_begin(&relay->peer, peer, on_peer, relay);
    }
    return code;
}

static bool has_hung_up(int fd)
{
    char byte;
    return recv(fd, &byte, sizeof(byte), MSG_PEEK | MSG_DONTWAIT) == 0;
}

/* A peer has come (we listen). */
static void on_listener(void *argument)
{
    struct memif_relay *relay = argument;
    if (relay->ending || (relay->peer.fd >= 0 && has_hung_up(relay->peer.fd))) {
        return; /* it waits until the one before has been dealt with */
    }
    int peer = accept4(relay->listener.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (peer < 0) {
        return;
    }
    int pmd = relay->peer.fd >= 0 ? -EBUSY : connect_to(relay->pmd_path);
    if (pmd < 0) {
        close(peer);
        return;
    }
    if (begin_pair(relay, peer, pmd) < 0) {
        relay->greeted = true; /* nobody would tell */
        begin_end(relay);
    }
}

void memif_relay_pmd_path(const char *path, bool is_client, char *pmd_path, size_t size)
{
    if (is_client) {
        snprintf(pmd_path, size, "%s.%d.pmd", path, (int)getpid());
    } else {
        snprintf(pmd_path, size, "%s.pmd", path);
    }
}

/* ---- setup ----------------------------------------------------------------------------------- */

static int open_first(struct memif_relay *relay)
{
    if (!relay->is_client) {
        int code = unix_socket_remove_stale(relay->path);
        return code < 0 ? code : (relay->listener.fd = listen_on(relay->path));
    }
    relay->peer.fd = connect_to(relay->path);
    return relay->peer.fd < 0 ? relay->peer.fd : (relay->listener.fd = listen_on(relay->pmd_path));
}

struct memif_relay *memif_relay_create(const char *path, bool is_client, int *code)
{
    struct memif_relay *relay = aligned_alloc(RTE_CACHE_LINE_SIZE, sizeof(*relay));
    CHECK(relay != NULL && strlen(path) <= MEMIF_PATH_BYTES_MAX);
    *relay = (struct memif_relay){
        .gate = {.closed = true},
        .is_client = is_client,
        .listener = {.fd = -1},
        .peer = {.fd = -1},
        .pmd = {.fd = -1},
    };
    snprintf(relay->path, sizeof(relay->path), "%s", path);
    memif_relay_pmd_path(path, is_client, relay->pmd_path, sizeof(relay->pmd_path));
    int result = open_first(relay);
    if (result < 0) {
        *code = result;
        memif_relay_destroy(relay);
        return NULL;
    }
    return relay;
}

/* ---- on the interrupt thread, where no callback is under way --------------------------------- */

static int start(void *argument)
{
    struct memif_relay *relay = argument;
    if (!relay->is_client) {
        /* Whoever may use it would come past the gate. */
        return chmod(relay->pmd_path, S_IRUSR | S_IWUSR) < 0
                   ? -errno
                   : watch_begin(&relay->listener, relay->listener.fd, on_listener, relay);
    }
    int pmd = accept4(relay->listener.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    int code = pmd < 0 ? -errno : begin_pair(relay, relay->peer.fd, pmd);
    watch_end(&relay->listener, relay);
    return code;
}

int memif_relay_start(struct memif_relay *relay)
{
    return eal_run_errand(start, relay);
}

static int stop(void *argument)
{
    struct memif_relay *relay = argument;
    watch_end(&relay->listener, relay);
    watch_end(&relay->peer, relay);
    watch_end(&relay->pmd, relay);
    return 0;
}

void memif_relay_destroy(struct memif_relay *relay)
{
    (void)eal_run_errand(stop, relay);
    /* Not another's: only if nobody listens there. */
    (void)unix_socket_remove_stale(relay->pmd_path);
    if (!relay->is_client) {
        (void)unix_socket_remove_stale(relay->path);
    }
    free(relay);
}

struct port_gate *memif_relay_gate(struct memif_relay *relay)
{
    return &relay->gate;
}
