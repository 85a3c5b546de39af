#!/usr/bin/env bash
# The long forms: ten million requests of the whole appliance over lossy networks (R13), many seeds of TCP against
# itself, and the histories of sixteen clients on 1, 2 and 4 workers, a million operations each; overload with eviction;
# attacks on the stack, and what else docs/tcp_conformance.md names. Every line names the seed that replays it; a history's
# seed replays its operations, not their timing.
#   tests/stress/run.sh BUILD-DIRECTORY
set -euo pipefail
build=$1
for seed in {101..110}; do
    SEED=$seed REQUESTS=1000000 "$build/tests/model/appliance_model_test"
done
SEED=1 COUNT=10000 "$build/tests/model/tcp_model_test"
SEED=1 COUNT=200 "$build/tests/model/tcp_request_test"
# One connection that carries 5 GB each way while everything with 32 bits wraps (R40), in simulated time.
MEGABYTES=5000 "$build/tests/model/tcp_wrap_test"
# What the build's configuration does not have yet it skips, and says so.
/usr/bin/python3 tests/history/history.py --build "$build" --workers 1,2,4 --modes plain --operations 1000000
/usr/bin/python3 tests/history/history.py --build "$build" --workers 1,2,4 --modes full,eviction,growth --operations 200000
# Attacks on our own stack (R03, R04, R10, R11, R12, R14, R32, R37, R38): a SYN flood of 60,000 a second for 30 s and 200,000
# distinct SYNs, a million forged cookies, datagrams that are never completed, and connections that end in every way; 100,000
# messages of ARP and neighbour discovery.
ATTACKS=long NICACHED_BINARY=$PWD/$build/control/nicached /usr/bin/python3 -m pytest -q -s \
    -p no:cacheprovider tests/integration/test_attacks.py
# 100,000 frames with a wrong byte, each counted as a drop (R39).
MALFORMED=100000 NICACHED_BINARY=$PWD/$build/control/nicached /usr/bin/python3 -m pytest -q -s \
    -p no:cacheprovider tests/integration/test_malformed.py
# 5 GB each way over one connection of a TAP; a clock that passes 2^31 and 2^32 us and ms; a wall clock that jumps (R40).
TIME=long NICACHED_BINARY=$PWD/$build/control/nicached /usr/bin/python3 -m pytest -q -s \
    -p no:cacheprovider tests/integration/test_time.py
# Half requests for 30 s by 5,000 clients, a million unread replies of 10 MB to each of 64, values that change for 30 s while
# replies wait.
SLOW_FACTOR=10 SLOW_SECONDS=30 NICACHED_BINARY=$PWD/$build/control/nicached /usr/bin/python3 -m pytest -q -s \
    -p no:cacheprovider tests/integration/test_slow_clients.py
# All 64 choices of TCP options that a Linux client has.
COMBINATIONS=all NICACHED_BINARY=$PWD/$build/control/nicached /usr/bin/python3 -m pytest -q -s \
    -p no:cacheprovider tests/integration/test_interworking.py
# A link that is away for 30 s, under load, over every kind of port.
OUTAGE_SECONDS=30 NICACHED_BINARY=$PWD/$build/control/nicached /usr/bin/python3 -m pytest -q -s \
    -p no:cacheprovider tests/integration/test_outage.py
/usr/bin/python3 tests/history/history.py --build "$build" --workers 1,2,4 --modes plain,full,eviction,growth \
    --operations 200000 --directive '--store-index buckets'
# Writers at full speed into 64 MB, a minute with every policy.
OVERLOAD_SECONDS=60 NICACHED_BINARY=$PWD/$build/control/nicached /usr/bin/python3 -m pytest -q -s \
    -p no:cacheprovider tests/integration/test_eviction.py
# Generated commands, of a seed that the clock gives. Of memcached's not many more: sooner or later its own memory makes it refuse numbers
# of 2^63 and more (docs/support.md), and then every time.
for reference in redis:1000000 memcached:100000 memcached_binary:60000; do
    /usr/bin/python3 "tests/differential/${reference%:*}_differential.py" --server "$build/control/nicached" \
        --count "${reference#*:}"
done
