#!/bin/bash
# Runs the black-box tests against the programs that are built, and says how many passed, failed and were skipped.
#
#   run.sh [FILTER ...]     only tests whose names contain a FILTER, such as `restart::`
#
# HOLDFAST_BIN_DIR     where holdfastd, holdfast and holdfast-shim are; default: the target directory
# HOLDFAST_E2E_THREADS tests at the same time, default twice the CPUs: most of them wait
# HOLDFAST_E2E_KEEP    keeps the directories of the tests' daemons below /var/tmp
set -euo pipefail

cd "$(dirname "$0")/.."
[ "$(id -u)" = 0 ] || { echo "run.sh: the tests make namespaces and cgroups: run as root" >&2; exit 1; }
output=$(mktemp -d)
trap 'rm -rf "$output"' EXIT
export HOLDFAST_E2E_SKIPPED=$output/skipped
: >"$HOLDFAST_E2E_SKIPPED"
threads=${HOLDFAST_E2E_THREADS:-$((2 * $(nproc)))}

code=0
cargo test --workspace --test contract --test socket --no-fail-fast -- --test-threads="$threads" "$@" 2>&1 | tee "$output/log" || code=$?

# `test result: ok. 3 passed; 0 failed; ...`, a line a test program.
count() { sed -n "s/^test result: .* \([0-9]*\) $1;.*/\1/p" "$output/log" | awk '{ n += $1 } END { print n + 0 }'; }
skipped=$(wc -l <"$HOLDFAST_E2E_SKIPPED")
echo
[ "$skipped" = 0 ] || cat "$HOLDFAST_E2E_SKIPPED"
echo "e2e: $(($(count passed) - skipped)) passed, $(count failed) failed, $skipped skipped, in $SECONDS s"
exit "$code"
