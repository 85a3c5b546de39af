#!/usr/bin/env bash
# The long forms of the model tests: a million requests of the whole appliance over a lossy network, and
# many seeds of TCP against itself. Every line names the seed that replays it.
#   tests/stress/run.sh BUILD-DIRECTORY
set -euo pipefail
build=$1
for seed in 101 102 103; do
    SEED=$seed REQUESTS=1000000 "$build/tests/model/appliance_model_test"
done
SEED=1 COUNT=2000 "$build/tests/model/tcp_model_test"
SEED=1 COUNT=200 "$build/tests/model/tcp_request_test"
