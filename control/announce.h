/* What a user reads when the server is ready: where it listens, and one line to try each protocol.
 */
#ifndef NICACHED_CONTROL_ANNOUNCE_H
#define NICACHED_CONTROL_ANNOUNCE_H

#include <stdio.h>

#include "config/config.h"

/* `interfaces` are those that are up. */
void announce(FILE *to, const struct config *config, const struct interface_config *interfaces,
              uint32_t interface_count);

#endif
