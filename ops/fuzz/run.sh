#!/bin/sh
# Fuzzes the targets named, or each of them, one after the other, for FUZZ_SECONDS (600) each. The first finding ends it.
# Usage: make fuzz FUZZ_SECONDS=600 TARGETS="body frame" (a nightly compiler and cargo-fuzz are installed when missing: network)
set -eu
cd "$(dirname "$0")"
target=${CARGO_TARGET_DIR:-$PWD/../../target}
seconds=${FUZZ_SECONDS:-600}
# Bytes of an input at most; what is longer is more of the same.
LONGEST=4096

cargo +nightly --version >/dev/null 2>&1 || rustup toolchain install nightly --profile minimal
cargo fuzz --version >/dev/null 2>&1 || cargo install --locked cargo-fuzz@^0.13

# The versions that the product is built with.
cp ../../Cargo.lock Cargo.lock
[ $# -gt 0 ] || set -- body ndjson sdks decompression frame keys settings
for name; do
    # What is new goes beside the build: only what was wrong once is checked in.
    found=$target/fuzz/$name
    mkdir -p "$found"
    log=$target/fuzz/$name.log
    if ! cargo +nightly fuzz run --fuzz-dir . --target-dir "$target/fuzz/build" "$name" "$found" "corpus/$name" -- \
        -max_total_time="$seconds" -max_len=$LONGEST -rss_limit_mb=1024 -timeout=10 -print_final_stats=1 2>"$log"; then
        tail -n 40 "$log" >&2
        exit 1
    fi
    awk -v name="$name" '
        /^stat::number_of_executed_units/ { runs = $2 }
        /^stat::average_exec_per_sec/ { speed = $2 }
        /^stat::peak_rss_mb/ { memory = $2 }
        / cov: / { covered = $4 }
        END { printf "fuzz %s: executions=%d a_second=%d edges=%d peak_rss=%dMiB findings=0\n", name, runs, speed, covered, memory }
    ' "$log"
done
