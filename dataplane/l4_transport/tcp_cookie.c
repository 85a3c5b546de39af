/* SYN cookies: numbers in, numbers out. tcp_cookie.h has the layout. */
#include "dataplane/l4_transport/tcp_cookie.h"

#include "dataplane/l4_transport/tcp_sequence.h"

#define PURPOSE_MASK  4U
#define PURPOSE_MAC   5U
#define MSS_SHIFT     29U
#define EPOCH_SHIFT   28U
#define MAC_MASK      0x0FFFFFFFU
#define STAMP_BITS    5U
#define STAMP_MASK    ((1U << STAMP_BITS) - 1U)
#define STAMP_SCALE   0x0FU
#define STAMP_NOSCALE 0x0FU
#define STAMP_SACK    0x10U

/* Ethernet with and without the headers of tunnels, IPv6's least MTU, and what is common below. */
static const uint16_t mss_table[] = {48, 216, 536, 1200, 1360, 1440, 1460, 8960};
#define MSS_COUNT (sizeof(mss_table) / sizeof(mss_table[0]))
_Static_assert(MSS_COUNT == 1U << (32 - MSS_SHIFT), "the index has three bits");

void tcp_cookies_init(struct tcp_cookies *cookies, const struct tcp_secret *secret)
{
    *cookies = (struct tcp_cookies){.mask = *secret, .sent_epoch = UINT64_MAX};
    cookies->previous = *secret;
    tcp_secret_advance(&cookies->previous);
    cookies->current = cookies->previous;
    tcp_secret_advance(&cookies->current);
}

/* After a long silence both keys are new ones, however many epochs went by. */
static void rotate_keys(struct tcp_cookies *cookies, uint64_t now_us)
{
    uint64_t epoch = now_us >> TCP_COOKIE_EPOCH_SHIFT;
    uint64_t steps = epoch - cookies->epoch;
    for (uint64_t i = 0; i < steps && i < 2; i++) {
        cookies->previous = cookies->current;
        tcp_secret_advance(&cookies->current);
    }
    cookies->epoch = epoch;
}

static uint32_t mask_of(const struct tcp_cookies *cookies, const struct endpoint *local,
                        const struct endpoint *peer, uint32_t peer_iss)
{
    return (uint32_t)tcp_secret_of_segment(&cookies->mask, local, peer, PURPOSE_MASK, peer_iss);
}

/* The index of the MSS is a part of the message. */
static uint32_t mac_of(const struct tcp_secret *key, const struct endpoint *local,
                       const struct endpoint *peer, uint32_t peer_iss, uint32_t mss_index)
{
    uint32_t purpose = PURPOSE_MAC | mss_index << 8;
    return (uint32_t)tcp_secret_of_segment(key, local, peer, purpose, peer_iss) & MAC_MASK;
}

static uint32_t mss_index_of(uint16_t mss)
{
    uint32_t index = 0;
    while (index + 1 < MSS_COUNT && mss_table[index + 1] <= mss) {
        index++;
    }
    return index;
}

uint32_t tcp_cookie_make(struct tcp_cookies *cookies, const struct endpoint *local,
                         const struct endpoint *peer, uint32_t peer_iss, uint16_t mss,
                         uint64_t now_us)
{
    rotate_keys(cookies, now_us);
    cookies->sent_epoch = cookies->epoch;
    uint32_t index = mss_index_of(mss);
    uint32_t plain = index << MSS_SHIFT | ((uint32_t)cookies->epoch & 1U) << EPOCH_SHIFT |
                     mac_of(&cookies->current, local, peer, peer_iss, index);
    return plain ^ mask_of(cookies, local, peer, peer_iss);
}

bool tcp_cookies_in_use(const struct tcp_cookies *cookies, uint64_t now_us)
{
    return cookies->sent_epoch != UINT64_MAX &&
           (now_us >> TCP_COOKIE_EPOCH_SHIFT) - cookies->sent_epoch <= 1;
}

bool tcp_cookie_check(struct tcp_cookies *cookies, const struct endpoint *local,
                      const struct endpoint *peer, uint32_t peer_iss, uint32_t cookie,
                      uint64_t now_us, uint16_t *mss)
{
    rotate_keys(cookies, now_us);
    uint32_t plain = cookie ^ mask_of(cookies, local, peer, peer_iss);
    uint32_t index = plain >> MSS_SHIFT;
    bool is_current = (plain >> EPOCH_SHIFT & 1U) == ((uint32_t)cookies->epoch & 1U);
    const struct tcp_secret *key = is_current ? &cookies->current : &cookies->previous;
    *mss = mss_table[index];
    return (plain & MAC_MASK) == mac_of(key, local, peer, peer_iss, index);
}

uint32_t tcp_cookie_stamp(uint32_t clock, const struct tcp_header_options *offer)
{
    uint32_t scale = offer->has_window_scale ? offer->window_scale : STAMP_NOSCALE;
    uint32_t stamp = (clock & ~STAMP_MASK) | scale | (offer->has_sack_permitted ? STAMP_SACK : 0);
    return seq_before(clock, stamp) ? stamp - (STAMP_MASK + 1) : stamp;
}

void tcp_cookie_read_stamp(uint32_t stamp, struct tcp_header_options *offer)
{
    uint32_t scale = stamp & STAMP_SCALE;
    offer->has_window_scale = scale != STAMP_NOSCALE;
    offer->window_scale = offer->has_window_scale ? (uint8_t)scale : 0;
    offer->has_sack_permitted = (stamp & STAMP_SACK) != 0;
}
