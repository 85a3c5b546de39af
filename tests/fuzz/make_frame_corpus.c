/* Writes the seed corpus of fuzz_frame into the directory given: one file per kind of conversation.
 */
#include <stdio.h>
#include <stdlib.h>

#include "tests/support/packet_builder.h"

static const struct station us = {{2, 0, 0, 0, 0, 2}, IPV4(198, 18, 0, 2), 11211};
static const struct station client = {{2, 0, 0, 0, 0, 9}, IPV4(198, 18, 0, 9), 40000};
static const struct station gateway = {{2, 0, 0, 0, 0, 1}, IPV4(198, 18, 0, 1), 0};

static const struct station_ipv6 us6 = {{2, 0, 0, 0, 0, 2}, {0xfd, [15] = 2}, 11211};
static const struct station_ipv6 client6 = {{2, 0, 0, 0, 0, 9}, {0xfd, [15] = 9}, 40000};
static const struct station_ipv6 router6 = {{2, 0, 0, 0, 0, 1}, {0xfe, 0x80, [15] = 1}, 0};
static const struct station_ipv6 group6 = {
    {0x33, 0x33, 0xff, 0, 0, 2}, {0xff, 2, [11] = 1, [12] = 0xff, [15] = 2}, 0};

static FILE *file_open(const char *directory, const char *name)
{
    char path[1024];
    snprintf(path, sizeof(path), "%s/%s", directory, name);
    FILE *file = fopen(path, "wb");
    if (file == NULL) {
        perror(path);
        exit(1);
    }
    return file;
}

static void add(FILE *file, const struct frame *frame)
{
    uint8_t head[3] = {0x03};
    bytes_write_be16(head + 1, (uint16_t)frame->size);
    fwrite(head, 1, sizeof(head), file);
    fwrite(frame->bytes, 1, frame->size, file);
}

static void write_arp(const char *directory)
{
    struct frame frame;
    FILE *file = file_open(directory, "arp");
    frame_arp(&frame, 2, &gateway, &us);
    add(file, &frame);
    frame_arp(&frame, 1, &client, &us);
    add(file, &frame);
    frame_arp(&frame, 1, &client, &gateway);
    add(file, &frame);
    fclose(file);
}

static void write_udp(const char *directory)
{
    struct frame frame;
    struct station closed = us;
    FILE *file = file_open(directory, "udp");
    frame_udp(&frame, &client, &us, SLICE_LITERAL("\0\1\0\0\0\1\0\0get key\r\n"));
    add(file, &frame);
    frame_add_tag(&frame, 0x2000);
    add(file, &frame);
    closed.port = 9;
    frame_udp(&frame, &client, &closed, SLICE_LITERAL("x"));
    add(file, &frame);
    fclose(file);
}

static void write_tcp(const char *directory)
{
    struct frame frame;
    FILE *file = file_open(directory, "tcp");
    struct tcp_fields syn = {.flags = 2, .options = SLICE_LITERAL("\x02\x04\x05\xb4")};
    frame_tcp(&frame, &client, &us, &syn, SLICE_LITERAL(""));
    add(file, &frame);
    fclose(file);
}

static void write_icmp(const char *directory)
{
    struct frame frame, inner;
    struct tcp_fields ack = {.flags = 0x10};
    FILE *file = file_open(directory, "icmp");
    frame_icmp(&frame, &client, &us, 8, 0, 1, SLICE_LITERAL("ping"));
    add(file, &frame);
    frame_tcp(&inner, &us, &client, &ack, SLICE_LITERAL(""));
    frame_icmp(&frame, &gateway, &us, 3, 4, 1400, slice_of(inner.bytes + AT_IP, 28));
    add(file, &frame);
    fclose(file);
}

static void write_fragments(const char *directory)
{
    uint8_t payload[88], datagram[96];
    struct frame frame;
    memset(payload, 'f', sizeof(payload));
    size_t size = udp_datagram_compose(datagram, &client, &us, slice_of(payload, sizeof(payload)));
    FILE *file = file_open(directory, "fragments");
    for (size_t at = 0; at < size; at += 32) {
        struct ipv4_fields fields = {
            .protocol = 17, .fragment = (uint16_t)(at / 8 | (at + 32 < size ? 0x2000 : 0))};
        frame_ipv4(&frame, &client, &us, &fields, slice_of(datagram + at, 32));
        add(file, &frame);
    }
    fclose(file);
}

static void write_options(const char *directory)
{
    uint8_t datagram[64];
    struct frame frame;
    size_t size = udp_datagram_compose(datagram, &client, &us, SLICE_LITERAL("option"));
    FILE *file = file_open(directory, "options");
    struct ipv4_fields fields = {.protocol = 17,
                                 .options = SLICE_LITERAL("\x07\x07\x04\0\0\0\0\1")};
    frame_ipv4(&frame, &client, &us, &fields, slice_of(datagram, size));
    add(file, &frame);
    fields.protocol = 132;
    frame_ipv4(&frame, &client, &us, &fields, slice_of(datagram, size));
    add(file, &frame);
    fclose(file);
}

static void write_nd(const char *directory)
{
    struct frame frame;
    FILE *file = file_open(directory, "nd");
    frame_nd(&frame, 136, &router6, &us6, router6.ipv6, 0x60000000, router6.mac);
    add(file, &frame);
    frame_nd(&frame, 135, &client6, &group6, us6.ipv6, 0, client6.mac);
    add(file, &frame);
    frame_nd(&frame, 135, &client6, &us6, us6.ipv6, 0, NULL);
    add(file, &frame);
    fclose(file);
}

static void write_ipv6(const char *directory)
{
    struct frame frame, inner;
    struct tcp_fields syn = {.flags = 2, .options = SLICE_LITERAL("\x02\x04\x05\xa0")};
    struct ipv6_fields none = {0};
    struct ipv6_fields chain = {.first = 0,
                                .extensions = SLICE_LITERAL("\x3c\0\x05\x02\0\0\x01\0"
                                                            "\x2b\0\x01\x04\0\0\0\0"
                                                            "\x2c\0\x04\0\0\0\0\0"
                                                            "\x11\0\0\0\x12\x34\x56\x78")};
    FILE *file = file_open(directory, "ipv6");
    frame_udp_ipv6(&frame, &client6, &us6, &none, SLICE_LITERAL("\0\1\0\0\0\1\0\0get key\r\n"));
    add(file, &frame);
    frame_udp_ipv6(&frame, &client6, &us6, &chain, SLICE_LITERAL("\0\1\0\0\0\1\0\0get key\r\n"));
    add(file, &frame);
    frame_tcp_ipv6(&frame, &client6, &us6, &syn, SLICE_LITERAL(""));
    add(file, &frame);
    frame_icmpv6(&frame, &client6, &us6, 64, 128, 0, 1, SLICE_LITERAL("ping"));
    add(file, &frame);
    frame_tcp_ipv6(&inner, &us6, &client6, &syn, SLICE_LITERAL(""));
    frame_icmpv6(&frame, &router6, &us6, 64, 2, 0, 1300, slice_of(inner.bytes + AT_IP, 60));
    add(file, &frame);
    fclose(file);
}

static void write_ipv6_fragments(const char *directory)
{
    uint8_t payload[88], datagram[96];
    struct frame frame;
    memset(payload, 'f', sizeof(payload));
    size_t size = udp_ipv6_compose(datagram, &client6, &us6, slice_of(payload, sizeof(payload)));
    FILE *file = file_open(directory, "ipv6_fragments");
    for (size_t at = 0; at < size; at += 32) {
        uint8_t header[8] = {17, 0, 0, (uint8_t)(at | (at + 32 < size ? 1U : 0U)), 0, 0, 0, 7};
        struct ipv6_fields fields = {.first = 44, .extensions = slice_of(header, sizeof(header))};
        frame_ipv6(&frame, &client6, &us6, &fields, 0, slice_of(datagram + at, 32));
        add(file, &frame);
    }
    fclose(file);
}

int main(int argument_count, char **arguments)
{
    if (argument_count != 2) {
        fprintf(stderr, "usage: make_frame_corpus DIRECTORY\n");
        return 2;
    }
    write_arp(arguments[1]);
    write_udp(arguments[1]);
    write_tcp(arguments[1]);
    write_icmp(arguments[1]);
    write_fragments(arguments[1]);
    write_options(arguments[1]);
    write_nd(arguments[1]);
    write_ipv6(arguments[1]);
    write_ipv6_fragments(arguments[1]);
    return 0;
}
