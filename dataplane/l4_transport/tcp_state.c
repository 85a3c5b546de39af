#include "dataplane/l4_transport/tcp_state.h"

#define TO(state) (1U << TCP_##state)

static const struct {
    const char *name;
    uint32_t next;
} states[TCP_STATE_COUNT] = {
    [TCP_CLOSED] = {"CLOSED", TO(SYN_SENT) | TO(SYN_RECEIVED)},
    [TCP_SYN_SENT] = {"SYN-SENT", TO(ESTABLISHED) | TO(SYN_RECEIVED) | TO(CLOSED)},
    [TCP_SYN_RECEIVED] = {"SYN-RECEIVED", TO(ESTABLISHED) | TO(CLOSED)},
    [TCP_ESTABLISHED] = {"ESTABLISHED", TO(FIN_WAIT_1) | TO(CLOSE_WAIT) | TO(CLOSED)},
    [TCP_FIN_WAIT_1] = {"FIN-WAIT-1", TO(FIN_WAIT_2) | TO(CLOSING) | TO(TIME_WAIT) | TO(CLOSED)},
    [TCP_FIN_WAIT_2] = {"FIN-WAIT-2", TO(TIME_WAIT) | TO(CLOSED)},
    [TCP_CLOSE_WAIT] = {"CLOSE-WAIT", TO(LAST_ACK) | TO(CLOSED)},
    [TCP_CLOSING] = {"CLOSING", TO(TIME_WAIT) | TO(CLOSED)},
    [TCP_LAST_ACK] = {"LAST-ACK", TO(CLOSED)},
    [TCP_TIME_WAIT] = {"TIME-WAIT", TO(CLOSED)},
};

const char *tcp_state_name(enum tcp_state state)
{
    return state < TCP_STATE_COUNT ? states[state].name : "?";
}

bool tcp_state_may_follow(enum tcp_state from, enum tcp_state to)
{
    return (states[from].next & 1U << to) != 0;
}
