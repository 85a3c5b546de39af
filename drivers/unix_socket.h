/* The file of a Unix socket: left behind by whoever made it and died. */
#ifndef NICACHED_DRIVERS_UNIX_SOCKET_H
#define NICACHED_DRIVERS_UNIX_SOCKET_H

/* Makes room for a stream or packet socket at `path`: removes the file if it is a socket that
 * nobody has open. 0, -EADDRINUSE if somebody does, -EEXIST if the file is not a socket, or another
 * negative errno. */
int unix_socket_remove_stale(const char *path);

#endif
