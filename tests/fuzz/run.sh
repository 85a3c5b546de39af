#!/usr/bin/env bash
# Runs every fuzz target of a fuzz build for a number of seconds each, two at a time, on its corpus.
#   tests/fuzz/run.sh BUILD-DIRECTORY SECONDS [TARGET...]
# New inputs that reach new code stay in BUILD-DIRECTORY/corpus; a crash is written beside them.
set -euo pipefail
build=$1 seconds=$2
shift 2
here=$(dirname "$(readlink -f "$0")")
targets=("$@")
if [ ${#targets[@]} -eq 0 ]; then
    mapfile -t targets < <(find "$build/tests/fuzz" -maxdepth 1 -type f -executable -name 'fuzz_*' -printf '%f\n' | sort)
fi
[ ${#targets[@]} -gt 0 ] || { echo "no fuzz target in $build"; exit 1; }

# -entropic=0: the books of that schedule take six sevenths of the time of a target that has 70,000 features.
fuzz_one() {
    local name=$1 work=$build/corpus/$1
    mkdir -p "$work" "$build/findings"
    if "$build/tests/fuzz/$name" -entropic=0 -max_total_time="$seconds" -print_final_stats=1 -rss_limit_mb=4096 -timeout=20 \
        -artifact_prefix="$build/findings/$name-" "$work" "$here/corpus/$name" >"$build/findings/$name.log" 2>&1; then
        echo "$name: clean after $seconds s, $(grep -o 'stat::number_of_executed_units: [0-9]*' "$build/findings/$name.log" | grep -o '[0-9]*$') inputs"
    else
        echo "$name: FINDING"
        tail -n 40 "$build/findings/$name.log"
        return 1
    fi
}

status=0
running=()
for name in "${targets[@]}"; do
    fuzz_one "$name" &
    running+=($!)
    if [ ${#running[@]} -ge 2 ]; then
        wait "${running[0]}" || status=1
        running=("${running[@]:1}")
    fi
done
for process in "${running[@]}"; do wait "$process" || status=1; done
exit $status
