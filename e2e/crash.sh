#!/bin/bash
# Kills every operation before and after each of its steps, and lets each step fail. Nothing may be lost, and nothing may be
# left (e2e/crash/main.rs). This script makes the build that announces its steps.
#
#   crash.sh [ARGUMENT ...]     such as --only run-pod, --point 'daemon disk.replace before 3', --thorough
set -euo pipefail

cd "$(dirname "$0")/.."
[ "$(id -u)" = 0 ] || { echo "crash.sh: the tests make namespaces and cgroups: run as root" >&2; exit 1; }
# shellcheck source=e2e/tools/fault-build.sh
source e2e/tools/fault-build.sh
cargo test -q --workspace --test crash -- "$@"
