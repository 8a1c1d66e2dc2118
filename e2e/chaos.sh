#!/bin/bash
# Runs random calls and kills against a daemon. Every answer must be one that the model allows, and nothing may be left
# at the end (e2e/chaos/main.rs). This script makes the build in which steps can fail.
#
#   chaos.sh [ARGUMENT ...]     such as --seed 7 --seconds 600 --clients 4, or --round 3 of that seed
set -euo pipefail

cd "$(dirname "$0")/.."
[ "$(id -u)" = 0 ] || { echo "chaos.sh: the tests make namespaces and cgroups: run as root" >&2; exit 1; }
# shellcheck source=e2e/tools/fault-build.sh
source e2e/tools/fault-build.sh
cargo build -q --workspace --bin chaos
"$target/debug/chaos" "$@"
