#!/bin/bash
# Runs fuzz targets on stable Rust, each for a while, one on each processor: fuzz/run.sh [SECONDS [TARGET...]]
#
# cargo fuzz wants a nightly toolchain for its sanitizers only. The crate has no unsafe code to sanitize where it
# decodes; what libFuzzer needs of the compiler, coverage counters, stable Rust can give.
set -euo pipefail

cd "$(dirname "$0")"
seconds=${1:-60}
[ $# -eq 0 ] || shift
[ $# -gt 0 ] || set -- $(sed -n 's/^name = "\(.*\)"$/\1/p' Cargo.toml | tail -n +2)

coverage="--cfg fuzzing -Cpasses=sancov-module -Ccodegen-units=1
  -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters
  -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares"
host=$(rustc -vV | sed -n 's/^host: //p')
# With --target the flags are for the targets alone, not for build scripts.
RUSTFLAGS=$coverage cargo build --quiet --release --target "$host" --target-dir target

./seed.pl
fuzz() {
    local target=$1 log=artifacts/$1.log
    mkdir -p "corpus/$target" "artifacts/$target"
    "target/$host/release/$target" "corpus/$target" -artifact_prefix="artifacts/$target/" -max_total_time="$seconds" \
        -max_len=4096 -timeout=5 -rss_limit_mb=1024 -print_final_stats=1 >"$log" 2>&1 || { echo "== $target"; tail -n 40 "$log"; exit 1; }
    printf '== %s, %s s\n%s\n' "$target" "$seconds" "$(grep '^stat::number' "$log")"
}
export -f fuzz
export host seconds
printf '%s\n' "$@" | xargs -P "$(nproc)" -n 1 bash -c 'fuzz "$0"'
