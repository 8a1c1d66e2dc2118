#!/bin/bash
# Storms a daemon with random calls and kills, and demands that every answer is one that the model allows and that
# nothing is left: e2e/chaos/main.rs. It needs a build in which steps can be made to fail, which is made here.
#
#   chaos.sh [ARGUMENT ...]     such as --seed 7 --seconds 600 --clients 4, or --round 3 of that seed
set -euo pipefail

cd "$(dirname "$0")/.."
[ "$(id -u)" = 0 ] || { echo "chaos.sh: the tests make namespaces and cgroups: run as root" >&2; exit 1; }
# shellcheck source=e2e/tools/fault-build.sh
source e2e/tools/fault-build.sh
cargo build -q --workspace --bin chaos
"$target/debug/chaos" "$@"
