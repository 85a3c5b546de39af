/* See prefix_list.h. Pure functions. */
#include "dataplane/base/prefix_list.h"

#include "dataplane/base/number.h"

#define ADDRESS_BITS      128U
#define ADDRESS_BITS_IPV4 32U

static bool parse_entry(struct slice text, struct address *address, uint32_t *bits)
{
    const uint8_t *slash = text.size > 0 ? memchr(text.data, '/', text.size) : NULL;
    size_t size = slash != NULL ? (size_t)(slash - text.data) : text.size;
    if (!address_parse(slice_of(text.data, size), address)) {
        return false;
    }
    uint64_t longest = address_is_ipv4(address) ? ADDRESS_BITS_IPV4 : ADDRESS_BITS;
    uint64_t given = longest;
    if (slash != NULL && !number_parse_uint64(slice_from(text, size + 1), &given)) {
        return false;
    }
    *bits = (uint32_t)(ADDRESS_BITS - longest + given);
    return given <= longest;
}

static void set_mask(uint8_t mask[ADDRESS_BITS / 8], uint32_t bits)
{
    memset(mask, 0, ADDRESS_BITS / 8);
    memset(mask, 0xFF, bits / 8);
    if (bits % 8 != 0) {
        mask[bits / 8] = (uint8_t)(0xFF00U >> bits % 8);
    }
}

bool prefix_list_parse(const char *text, struct prefix_list *list)
{
    list->count = 0;
    while (*text != '\0') {
        struct address address;
        uint32_t bits;
        uint8_t mask[ADDRESS_BITS / 8];
        size_t size = strcspn(text, ",");
        if (list->count == PREFIX_LIST_MAX || !parse_entry(slice_of(text, size), &address, &bits)) {
            return false;
        }
        set_mask(mask, bits);
        memcpy(list->entries[list->count].network, address.bytes, sizeof(address.bytes));
        memcpy(list->entries[list->count].mask, mask, sizeof(mask));
        list->count++;
        text += size;
        if (*text == ',' && *++text == '\0') {
            return false;
        }
    }
    return true;
}
