/* Ranges of sequence numbers. Invariants: at[i].start < at[i].end < at[i + 1].start (touching
 * ranges are joined); bytes is the sum of the lengths. */
#include "dataplane/l4_transport/tcp_ranges.h"

#include <string.h>

#include "dataplane/base/check.h"

uint32_t tcp_ranges_find(const struct tcp_ranges *ranges, uint32_t seq)
{
    uint32_t low = 0, high = ranges->count;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (seq_before(ranges->at[middle].end, seq)) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

bool tcp_ranges_has_room(const struct tcp_ranges *ranges, uint32_t start, uint32_t end)
{
    uint32_t index = tcp_ranges_find(ranges, start);
    bool joins = index < ranges->count && seq_at_or_before(ranges->at[index].start, end);
    return joins || ranges->count < TCP_RANGES_MAX;
}

static void remove_entries(struct tcp_ranges *ranges, uint32_t from, uint32_t to)
{
    memmove(&ranges->at[from], &ranges->at[to], (ranges->count - to) * sizeof(ranges->at[0]));
    ranges->count -= to - from;
}

bool tcp_ranges_add(struct tcp_ranges *ranges, uint32_t start, uint32_t end)
{
    if (!seq_before(start, end)) {
        return true;
    }
    uint32_t first = tcp_ranges_find(ranges, start), past = first;
    while (past < ranges->count && seq_at_or_before(ranges->at[past].start, end)) {
        ranges->bytes -= ranges->at[past].end - ranges->at[past].start;
        start = seq_min(start, ranges->at[past].start);
        end = seq_max(end, ranges->at[past].end);
        past++;
    }
    if (past == first) {
        if (ranges->count == TCP_RANGES_MAX) {
            return false;
        }
        memmove(&ranges->at[first + 1], &ranges->at[first],
                (ranges->count - first) * sizeof(ranges->at[0]));
        ranges->count++;
    } else {
        remove_entries(ranges, first + 1, past);
    }
    ranges->at[first] = (struct tcp_range){.start = start, .end = end, .stamp = ++ranges->stamp};
    ranges->bytes += end - start;
    return true;
}

void tcp_ranges_trim(struct tcp_ranges *ranges, uint32_t seq)
{
    uint32_t gone = 0;
    while (gone < ranges->count && seq_at_or_before(ranges->at[gone].end, seq)) {
        ranges->bytes -= ranges->at[gone].end - ranges->at[gone].start;
        gone++;
    }
    if (gone > 0) {
        remove_entries(ranges, 0, gone);
    }
    if (ranges->count > 0 && seq_before(ranges->at[0].start, seq)) {
        ranges->bytes -= seq - ranges->at[0].start;
        ranges->at[0].start = seq;
    }
}

bool tcp_ranges_gap(const struct tcp_ranges *ranges, uint32_t seq, uint32_t limit, uint32_t *start,
                    uint32_t *end)
{
    uint32_t index = tcp_ranges_find(ranges, seq);
    while (index < ranges->count && seq_at_or_before(ranges->at[index].start, seq)) {
        seq = seq_max(seq, ranges->at[index].end);
        index++;
    }
    if (!seq_before(seq, limit)) {
        return false;
    }
    *start = seq;
    *end = index < ranges->count ? seq_min(ranges->at[index].start, limit) : limit;
    return true;
}
