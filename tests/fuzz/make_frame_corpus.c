/* Writes the seed corpus of fuzz_frame into the directory given: one file per kind of conversation.
 */
#include <stdio.h>
#include <stdlib.h>

#include "tests/support/packet_builder.h"

static const struct station us = {{2, 0, 0, 0, 0, 2}, IPV4(198, 18, 0, 2), 11211};
static const struct station client = {{2, 0, 0, 0, 0, 9}, IPV4(198, 18, 0, 9), 40000};
static const struct station gateway = {{2, 0, 0, 0, 0, 1}, IPV4(198, 18, 0, 1), 0};

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
    return 0;
}
