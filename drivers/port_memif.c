/* memif: shared-memory rings to another process on the host (DPDK net_memif).
 *
 * One side is the server and listens on the socket; the other, the client, connects, owns the
 * memory and says how many queues there are. An appliance is the server; the load generator, or an
 * appliance behind a switch that listens, is the client. Until both are there, and after one left,
 * bursts move nothing. No receive descriptor: memif masks its interrupt while it is polled, so a
 * worker sleeps with a timeout.
 *
 * One queue pair, however many workers (core/core_distributor.h): how many are really there is
 * agreed anew with each peer, net_memif does not tell, and a queue that the peer has not got reads
 * and writes the first one's ring.
 *
 * Peers come and go by way of memif_relay.h: net_memif takes its memory away from under a burst.
 *
 * Jumbo frames: the ring's buffers, which the client makes, are as large as the MTU on its
 * interface line asks for. A peer with smaller ones sends a frame in several, and so do we.
 *
 * Whoever may connect shares memory with us and has to be trusted: the socket is open to its owner
 * only, by the usual umask.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "drivers/memif_relay.h"
#include "drivers/port_internal.h"
#include "drivers/unix_socket.h"

static int compose_memif_arguments(const struct interface_config *config, uint32_t *queue_count,
                                   char *text, size_t size, struct config_error *error)
{
    (void)queue_count;
    /* A comma would end the value. */
    size_t length = strlen(config->argument);
    if (config->argument[0] != '/' || length > MEMIF_PATH_BYTES_MAX ||
        strchr(config->argument, ',') != NULL) {
        return port_refuse(error, config->name, -EINVAL,
                           "memif:PATH needs an absolute path of at most %d bytes without comma",
                           MEMIF_PATH_BYTES_MAX);
    }
    char path[MEMIF_PATH_BYTES_MAX + MEMIF_SUFFIX_BYTES_MAX + 1];
    memif_relay_pmd_path(config->argument, config->client, path, sizeof(path));
    int result = unix_socket_remove_stale(path);
    if (result < 0) {
        return port_refuse(error, config->name, result, "cannot listen on %s: %s", path,
                           strerror(-result));
    }
    snprintf(text, size, "role=%s,socket=%s,socket-abstract=no,rsize=10,bsize=%u",
             config->client ? "client" : "server", path, port_frame_room(config->mtu));
    return 0;
}

static int create_relay(struct port *port, struct config_error *error)
{
    const struct interface_config *config = &port->config;
    int code = 0;
    port->memif = memif_relay_create(config->argument, config->client, &code);
    if (port->memif == NULL) {
        return port_refuse(error, config->name, code, "cannot %s %s: %s",
                           config->client ? "connect to" : "listen on", config->argument,
                           strerror(-code));
    }
    port->gate = memif_relay_gate(port->memif);
    return 0;
}

static int start_relay(struct port *port, struct config_error *error)
{
    int code = memif_relay_start(port->memif);
    return code < 0 ? port_refuse(error, port->name, code, "cannot serve %s: %s",
                                  port->config.argument, strerror(-code))
                    : 0;
}

static void destroy_relay(struct port *port)
{
    if (port->memif != NULL) {
        memif_relay_destroy(port->memif);
        port->memif = NULL;
        port->gate = NULL;
    }
}

const struct port_driver port_driver_memif = {
    .driver = INTERFACE_MEMIF,
    .bus = "vdev",
    .pmd = "net_memif",
    .quirks = PORT_QUIRK_COPIES_ON_TRANSMIT | PORT_QUIRK_SIZE_UNTOLD,
    .rx_descriptors = 1024,
    .tx_descriptors = 1024,
    .queue_count_max = 1,
    .compose_arguments = compose_memif_arguments,
    .before_start = create_relay,
    .after_start = start_relay,
    .after_teardown = destroy_relay,
};
