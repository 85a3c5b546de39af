#!/usr/bin/env bash
# The long forms of the model tests: a million requests of the whole appliance over a lossy network, and
# many seeds of TCP against itself; overload with eviction. Every line names the seed that replays it.
#   tests/stress/run.sh BUILD-DIRECTORY
set -euo pipefail
build=$1
for seed in 101 102 103; do
    SEED=$seed REQUESTS=1000000 "$build/tests/model/appliance_model_test"
done
SEED=1 COUNT=2000 "$build/tests/model/tcp_model_test"
SEED=1 COUNT=200 "$build/tests/model/tcp_request_test"
# Writers at full speed into 64 MB, a minute with every policy.
OVERLOAD_SECONDS=60 NICACHED_BINARY=$PWD/$build/control/nicached /usr/bin/python3 -m pytest -q -s \
    -p no:cacheprovider tests/integration/test_eviction.py
