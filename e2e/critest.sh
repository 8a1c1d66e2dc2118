#!/bin/bash
# Runs the conformance suite critest three times against the programs that are built: as it is, with WebSocket for its
# streams, and with several specs in parallel. e2e/critest/expected.toml lists the specs that may be skipped or fail.
#
#   critest.sh [ARGUMENT ...]     for e2e/critest/main.rs, such as --focus Streaming
set -euo pipefail

cd "$(dirname "$0")/.."
[ "$(id -u)" = 0 ] || { echo "critest.sh: the tests make namespaces and cgroups: run as root" >&2; exit 1; }
cargo build -q --workspace --bin conformance
conformance=${CARGO_TARGET_DIR:-target}/debug/conformance
output=$(mktemp)
trap 'rm -f "$output"' EXIT
code=0
summary=
for kind in "" "--websocket --focus Streaming" "--parallel 4"; do
  # shellcheck disable=SC2086
  "$conformance" $kind "$@" 2>&1 | tee "$output" || code=1
  summary+="${kind:-as it is}: $(tail -n1 "$output")"$'\n'
done
printf '\n%s' "$summary"
exit $code
