#!/bin/bash
# Feeds hostile input to everything that reads what strangers write, for a bounded time.
#
#   run.sh [SECONDS [TARGET ...]]    default: 5 seconds for each target of src/main.rs
#
# The fuzzer is libFuzzer. Only the compiler of the project is needed: the coverage that leads it is a pass of the
# stable compiler. Built in a target directory of its own, at first for a few minutes.
#
# FUZZ_CORPUS   directory that keeps what was found interesting, a directory for each target; default: nothing is kept
#
# A crash leaves its input beside the seeds, in seeds/TARGET/crash-…: mend the code, and commit the file, with a name
# that says what it was.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
cd "$here"
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$here/../../target}/fuzz
coverage=(-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4
  -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table
  -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=16)
host=$(rustc -vV | sed -n "s/^host: //p")
# With a target named, programs that run during the build are not measured.
RUSTFLAGS="${coverage[*]}" cargo build -q --locked --target "$host"

seconds=${1:-5}
shift || true
targets=("$@")
[ ${#targets[@]} -gt 0 ] || mapfile -t targets < <(sed -n 's/^    ("\([a-z-]*\)", .*/\1/p' src/main.rs)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for target in "${targets[@]}"; do
  corpus=${FUZZ_CORPUS:-$work/corpus}/$target
  mkdir -p "$corpus" "$work/place" "seeds/$target"
  # The directory of a layer is a tmpfs, so that nothing but the code under test is slow.
  code=0
  FUZZ_TARGET=$target FUZZ_PLACE=$work/place unshare --mount --propagation private sh -c '
    mount -t tmpfs -o size=64m fuzz "$FUZZ_PLACE" && exec "$@"' sh \
    "$CARGO_TARGET_DIR/$host/debug/fuzz" "$corpus" "seeds/$target" -max_total_time="$seconds" -max_len=16384 -timeout=20 \
    -rss_limit_mb=2048 -artifact_prefix="seeds/$target/" -print_final_stats=1 -verbosity=0 \
    >"$work/log" 2>&1 || code=$?
  runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$work/log")
  if [ "$code" != 0 ]; then
    cat "$work/log" >&2
    echo "fuzz: $target failed after ${runs:-?} inputs" >&2
    exit 1
  fi
  echo "fuzz: $target ${runs:-?} inputs"
done
