/* Logging in, for AUTH, HELLO, SASL and memcached's text protocol.
 *
 * There is one user, "default", with the password of `requirepass` or none. Name and password are
 * compared whole, both of them always, in a time that depends on what was sent only.
 */
#include "config/config.h"
#include "dataplane/l7_command/command.h"

static unsigned difference_of(struct slice guess, const char *wanted)
{
    size_t size = strlen(wanted);
    unsigned difference = guess.size == size ? 0 : 1;
    for (size_t i = 0; i < guess.size; i++) {
        /* Beyond its end the terminator is compared, the same byte again and again. */
        difference |= (unsigned)(guess.data[i] ^ (uint8_t)wanted[i < size ? i : size]);
    }
    return difference;
}

bool command_log_in(const struct command_context *context, struct client *client, struct slice user,
                    struct slice password)
{
    const char *wanted = context->config->requirepass;
    unsigned difference = wanted[0] == '\0' ? 0 : difference_of(password, wanted);
    difference |= difference_of(user, "default");
    if (difference == 0) {
        client->authenticated = true;
    }
    return difference == 0;
}
