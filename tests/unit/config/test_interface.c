/* `interface` and `bind` lines: what is taken, what is refused and why, and back to text. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "tests/unit/config/fresh_config.h"

/* The line comes back as it was written, so nothing of it was lost or invented. */
static void test_round_trip(void **state)
{
    (void)state;
    static const char *const lines[] = {
        "lo0 socket 127.0.0.1",
        "lo1 socket ::1 optional",
        "any socket 0.0.0.0",
        "tap0 tap 198.18.0.2/24",
        "tap1 tap 198.18.1.2/24 optional",
        "eth1 af_xdp 10.0.0.5/24 gateway 10.0.0.1",
        "eth2 af_packet 10.0.1.5/31 gateway 10.0.1.4",
        "nic0 pci:0000:41:00.0 10.0.2.5/24 gateway 10.0.2.1 vlan 12",
        "nic1 pci:00ab:4f:1E.7 10.0.3.5/24 vlan 4094 mtu 9000 optional",
        "m0 memif:/run/nicached/m0.sock 198.18.2.2/24 mtu 576",
        "m1 memif:/run/nicached/m0.sock 198.18.2.3/24 client",
        "m2 memif:/run/nicached/m0.sock 198.18.2.4/24 mtu 576 client optional",
        "p.0_x-1 pcap:in.pcap,out.pcap 198.18.3.2/30",
        "tap2 tap fd00::5/64",
        "tap3 tap 10.8.0.5/24 fd01::5/64 10.9.0.5/16 fe80::5/10 gateway fd01::1 gateway 10.8.0.1",
        "tap4 tap fd03::/128 fd02::5/127 gateway fe80::1 mtu 1280",
    };
    uint32_t count = sizeof(lines) / sizeof(lines[0]);
    for (uint32_t i = 0; i < count; i++) {
        char line[512], text[512];
        snprintf(line, sizeof(line), "interface %s", lines[i]);
        if (parse(line) != 0) {
            fail_msg("%s", error.text);
        }
        assert_int_equal(config->interface_count, i + 1);
        interface_format(&config->interfaces[i], text, sizeof(text));
        assert_string_equal(text, lines[i]);
    }
    assert_int_equal(config->interfaces[7].driver, INTERFACE_PCI);
    assert_string_equal(config->interfaces[7].argument, "0000:41:00.0");
    assert_int_equal(config->interfaces[7].vlan, 12);
    const struct interface_addresses *addresses = &config->interfaces[7].addresses;
    assert_int_equal(addresses->gateway_count, 1);
    assert_int_equal(address_to_ipv4(&addresses->gateways[0]), 0x0a000201);
    assert_int_equal(addresses->count, 1);
    assert_int_equal(addresses->at[0].prefix_length, 24);
    assert_int_equal(config->interfaces[9].mtu, 576);
    addresses = &config->interfaces[14].addresses;
    assert_int_equal(addresses->count, 4);
    assert_int_equal(addresses->at[1].prefix_length, 64);
    assert_int_equal(address_to_ipv4(&addresses->at[2].address), 0x0a090005);
    assert_int_equal(addresses->gateway_count, 2);
    assert_int_equal(addresses->gateways[0].bytes[0], 0xfd);
}

static void test_refused(void **state)
{
    (void)state;
    /* The line, and a part of the one-line reason. */
    static const char *const cases[][2] = {
        {"", "number of arguments"},
        {"a", "number of arguments"},
        {"a tap", "number of arguments"},
        {"'' tap 10.0.0.5/24", "1 to 31"},
        {"abcdefghijklmnopqrstuvwxyz0123456 socket ::1", "1 to 31"},
        {"a/b tap 10.0.0.5/24", "letters"},
        {"\"a b\" tap 10.0.0.5/24", "letters"},
        {"bind7 socket ::1", "bind directive"},
        {"sixteen-letters- tap 10.0.0.5/24", "at most 15"},
        {"a nosuch 10.0.0.5/24", "unknown driver 'nosuch'"},
        {"a TAP 10.0.0.5/24", "unknown driver"},
        {"a tap:x 10.0.0.5/24", "takes no argument"},
        {"a socket: 127.0.0.1", "takes no argument"},
        {"a memif 10.0.0.5/24", "needs the path"},
        {"a memif: 10.0.0.5/24", "needs the path"},
        {"a memif:relative 10.0.0.5/24", "needs the path"},
        {"a 'memif:/a b' 10.0.0.5/24", "no blanks"},
        {"a pcap:one 10.0.0.5/24", "two files"},
        {"a pcap:,b 10.0.0.5/24", "two files"},
        {"a pcap:a, 10.0.0.5/24", "two files"},
        {"a pcap:a,b,c 10.0.0.5/24", "two files"},
        {"a pci 10.0.0.5/24", "PCI address"},
        {"a pci:41:00.0 10.0.0.5/24", "PCI address"},
        {"a pci:0000:41:00.00 10.0.0.5/24", "PCI address"},
        {"a pci:0000:41:00 10.0.0.5/24", "PCI address"},
        {"a tap 10.0.0.5", "needs a prefix"},
        {"a tap 10.0.0.5/", "needs a prefix"},
        {"a tap 10.0.0.5/0", "needs a prefix"},
        {"a tap 10.0.0.5/32", "needs a prefix"},
        {"a tap 10.0.0.5/-1", "needs a prefix"},
        {"a tap 10.0.0.5/24x", "needs a prefix"},
        {"a tap 10.0.0.5/18446744073709551640", "needs a prefix"},
        {"a tap 10.0.0.256/24", "is no address"},
        {"a tap x/24", "is no address"},
        {"a tap fd00::5", "needs a prefix"},
        {"a tap fd00::5/0", "needs a prefix"},
        {"a tap fd00::5/129", "needs a prefix"},
        {"a tap ::1/64", "no address that"},
        {"a tap ::/64", "no address that"},
        {"a tap ff02::1/64", "no address that"},
        {"a tap fd00::/64", "no address that"},
        {"a tap 10.0.0.5/24 10.0.0.5/24", "given twice"},
        {"a tap 10.0.0.5/24 fd00::5", "unknown word"},
        {"a tap 10.0.0.5/24 fd00::5/x", "needs a prefix"},
        {"a tap 10.0.0.1/8 10.0.0.2/8 10.0.0.3/8 10.0.0.4/8 10.0.0.5/8 10.0.0.6/8 10.0.0.7/8 "
         "10.0.0.8/8 10.0.0.9/8",
         "more than 8"},
        {"a tap fd00::5/64 mtu 1279", "at least 1280"},
        {"a tap fd00::5/64 gateway fd00:0:0:1::1", "same network"},
        {"a tap fd00::5/64 gateway fd00::", "same network"},
        {"a tap fd00::5/64 gateway 10.0.0.1", "same network"},
        {"a tap fd00::5/64 gateway fd00::5", "same network"},
        {"a tap fd00::5/64 gateway fd00::1 gateway fe80::1", "twice"},
        {"a tap 10.0.0.0/24", "no address that"},
        {"a tap 10.0.0.255/24", "no address that"},
        {"a tap 127.0.0.1/8", "no address that"},
        {"a tap 0.0.0.1/8", "no address that"},
        {"a tap 224.0.0.1/24", "no address that"},
        {"a tap 255.255.255.254/24", "no address that"},
        {"a socket 127.0.0.1/8", "no prefix"},
        {"a socket localhost", "no address for a socket"},
        {"a socket 127.0.0.1 vlan 3", "takes no vlan"},
        {"a tap 10.0.0.5/24 client", "only a memif"},
        {"a memif:/a 10.0.0.5/24 client client", "given twice"},
        {"a tap 10.0.0.5/24 gateway", "needs a value"},
        {"a tap 10.0.0.5/24 gateway x", "is no address"},
        {"a tap 10.0.0.5/24 gateway fe80::1", "same network"},
        {"a tap 10.0.0.5/24 gateway 10.0.1.1", "same network"},
        {"a tap 10.0.0.5/24 gateway 10.0.0.5", "same network"},
        {"a tap 10.0.0.5/24 gateway 10.0.0.255", "same network"},
        {"a tap 10.0.0.5/24 gateway 10.0.0.1 gateway 10.0.0.2", "twice"},
        {"a tap 10.0.0.5/24 vlan", "needs a value"},
        {"a tap 10.0.0.5/24 vlan 0", "from 1 to 4094"},
        {"a tap 10.0.0.5/24 vlan 4095", "from 1 to 4094"},
        {"a tap 10.0.0.5/24 vlan 65537", "from 1 to 4094"},
        {"a tap 10.0.0.5/24 vlan x", "from 1 to 4094"},
        {"a tap 10.0.0.5/24 vlan 1 vlan 2", "twice"},
        {"a tap 10.0.0.5/24 mtu 575", "from 576 to 9216"},
        {"a tap 10.0.0.5/24 mtu 9217", "from 576 to 9216"},
        {"a tap 10.0.0.5/24 mtu 1500 mtu 1500", "twice"},
        {"a tap 10.0.0.5/24 offloads", "needs a value"},
        {"a tap 10.0.0.5/24 offloads some", "auto, none or all"},
        {"a tap 10.0.0.5/24 offloads none offloads all", "twice"},
        {"a socket 127.0.0.1 offloads none", "takes no offloads"},
        {"a tap 10.0.0.5/24 optional vlan 3", "at the end"},
        {"a tap 10.0.0.5/24 mandatory", "unknown word"},
        {"a tap 10.0.0.5/24 exception-tap x0", "only an af_xdp or pci"},
        {"a af_packet 10.0.0.5/24 exception-tap x0", "only an af_xdp or pci"},
        {"a af_xdp 10.0.0.5/24 exception-tap", "needs a value"},
        {"a af_xdp 10.0.0.5/24 exception-tap x/0", "letters, digits"},
        {"a af_xdp 10.0.0.5/24 exception-tap sixteen-letters0", "at most 15"},
        {"a af_xdp 10.0.0.5/24 exception-tap x0 exception-tap x1", "twice"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char line[512];
        snprintf(line, sizeof(line), "interface %s", cases[i][0]);
        if (parse(line) != -EINVAL || strstr(error.text, cases[i][1]) == NULL ||
            strncmp(error.text, "f:1: 'interface': ", 18) != 0) {
            fail_msg("%s gives: %s", line, error.text);
        }
        assert_true(config->bind_is_default);
        assert_int_equal(config->interface_count, 2);
    }
}

static void test_vlans_of_one_port(void **state)
{
    (void)state;
    static const char first[] = "interface eth1 af_xdp 10.0.0.5/24 vlan 10 mtu 1500\n"
                                "interface v20 vlan:eth1 10.1.0.5/24 gateway 10.1.0.1 vlan 20\n";
    static const char *const cases[][2] = {
        {"a vlan 10.2.0.5/24 vlan 3", "needs an interface"},
        {"a vlan:eth1 10.2.0.5/24", "needs a vlan"},
        {"a vlan:eth2 10.2.0.5/24 vlan 3", "no interface 'eth2'"},
        {"a vlan:v20 10.2.0.5/24 vlan 3", "no interface 'v20' with frames"},
        {"a vlan:eth1 10.2.0.5/24 vlan 10", "'eth1' has this vlan"},
        {"a vlan:eth1 10.2.0.5/24 vlan 20", "'v20' has this vlan"},
        {"a vlan:eth1 10.1.0.5/24 vlan 3", "'v20' has this address"},
        {"a vlan:eth1 10.2.0.5/24 vlan 3 mtu 1501", "mtu beyond"},
    };
    assert_int_equal(parse(first), 0);
    assert_int_equal(config->interface_count, 2);
    char text[INTERFACE_TEXT_BYTES_MAX];
    interface_format(&config->interfaces[1], text, sizeof(text));
    assert_string_equal(text, "v20 vlan:eth1 10.1.0.5/24 gateway 10.1.0.1 vlan 20");
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char line[512];
        snprintf(line, sizeof(line), "interface %s", cases[i][0]);
        if (parse(line) != -EINVAL || strstr(error.text, cases[i][1]) == NULL) {
            fail_msg("%s gives: %s", cases[i][0], error.text);
        }
    }
}

static void test_duplicates(void **state)
{
    (void)state;
    assert_int_equal(parse("interface a tap 10.0.0.5/24\n"), 0);
    assert_int_equal(parse("interface a tap 10.0.0.6/24\n"), -EINVAL);
    assert_non_null(strstr(error.text, "there already"));
    assert_int_equal(parse("interface b af_xdp 10.0.0.5/24\n"), -EINVAL);
    assert_non_null(strstr(error.text, "this address already"));
    assert_int_equal(parse("interface b af_xdp fd00::5/64 10.0.0.5/24\n"), -EINVAL);
    assert_non_null(strstr(error.text, "this address already"));
    assert_int_equal(parse("interface b af_xdp fd00::5/64 fe80::5/64\n"), 0);
    assert_int_equal(parse("interface c tap fe80::5/64 fd02::5/127 gateway fd02::4\n"), 0);
    /* The kernel's address and ours are different worlds. */
    assert_int_equal(parse("interface d socket 10.0.0.5\n"), 0);
    assert_int_equal(parse("interface e socket 10.0.0.5\n"), -EINVAL);
}

static void test_too_many(void **state)
{
    (void)state;
    char line[64];
    for (int i = 0; i < CONFIG_INTERFACES_MAX; i++) {
        snprintf(line, sizeof(line), "interface i%d socket 127.0.0.%d", i, i + 1);
        assert_int_equal(parse(line), 0);
    }
    assert_int_equal(parse("interface more socket 127.0.1.1"), -EINVAL);
    assert_non_null(strstr(error.text, "more than 16"));
    assert_int_equal(parse("bind ::1"), -EINVAL);
    assert_int_equal(config->interface_count, CONFIG_INTERFACES_MAX);
}

static const char *bind_text(void)
{
    static char text[CONFIG_VALUE_BYTES_MAX];
    option_format(config, option_find("bind"), text);
    return text;
}

static void test_bind(void **state)
{
    (void)state;
    assert_string_equal(bind_text(), "* -::*");
    assert_true(config->bind_is_default);
    assert_int_equal(parse("bind 127.0.0.1 -::1"), 0);
    assert_string_equal(bind_text(), "127.0.0.1 -::1");
    assert_int_equal(config->interface_count, 2);
    assert_true(config->interfaces[1].optional && config->interfaces[1].from_bind);
    assert_false(config->interfaces[0].optional);
    assert_string_equal(config->interfaces[1].name, "bind1");
    /* A later bind replaces an earlier one, and stands beside interface lines. */
    assert_int_equal(parse("interface a tap 10.0.0.5/24\nbind 0.0.0.0\n"), 0);
    assert_string_equal(bind_text(), "*");
    assert_int_equal(config->interface_count, 2);
    assert_int_equal(parse("bind ''"), 0);
    assert_string_equal(bind_text(), "");
    assert_int_equal(config->interface_count, 1);
}

static void test_bind_refused(void **state)
{
    (void)state;
    assert_int_equal(parse("bind 127.0.0.1"), 0);
    assert_int_equal(parse("bind"), -EINVAL);
    assert_int_equal(parse("bind ::1 nohost"), -EINVAL);
    assert_int_equal(parse("bind ::1 ::1"), -EINVAL);
    assert_int_equal(parse("bind 127.0.0.1/8"), -EINVAL);
    assert_int_equal(parse("bind -"), -EINVAL);
    assert_string_equal(bind_text(), "127.0.0.1");
}

static void test_default_gives_way(void **state)
{
    (void)state;
    assert_int_equal(parse("interface lo0 socket 127.0.0.1"), 0);
    assert_int_equal(config->interface_count, 1);
    assert_string_equal(bind_text(), "");
    assert_int_equal(parse("interface lo1 socket ::1"), 0);
    assert_int_equal(config->interface_count, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_round_trip, setup, teardown),
        cmocka_unit_test_setup_teardown(test_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(test_vlans_of_one_port, setup, teardown),
        cmocka_unit_test_setup_teardown(test_duplicates, setup, teardown),
        cmocka_unit_test_setup_teardown(test_too_many, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bind, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bind_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(test_default_gives_way, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
