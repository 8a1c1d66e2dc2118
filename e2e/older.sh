#!/bin/bash
# Builds holdfastd and holdfast-shim of an earlier commit, and prints the directory that they are in.
#
#   older.sh COMMIT
#   HOLDFAST_OLDER=$(e2e/older.sh COMMIT) cargo test -p e2e --test socket upgrade::
#
# The first release whose pods are served is 0.1.0: src/wire/tests/protocol-1.txt has its protocol. Pods of builds
# before that are left alone. Kept in $HOLDFAST_TEST_CACHE/older (default ~/.cache/holdfast-e2e/older).
set -euo pipefail

cd "$(dirname "$0")/.."
commit=$(git rev-parse --short "$1^{commit}")
cache=${HOLDFAST_TEST_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/holdfast-e2e}/older
if [ ! -x "$cache/$commit/holdfast-shim" ]; then
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  git archive "$commit" | tar -x -C "$work"
  # Before they had crates of their own, one package had all programs.
  packages=(-p holdfast)
  [ ! -e "$work/src/shim/Cargo.toml" ] || packages=(-p holdfastd -p holdfast-shim)
  (cd "$work" && CARGO_TARGET_DIR=$cache/target cargo build -q --locked "${packages[@]}" --bins) >&2
  mkdir -p "$cache/$commit"
  cp "$cache/target/debug/holdfastd" "$cache/$commit/"
  cp "$cache/target/debug/holdfast-shim" "$cache/$commit/"
fi
echo "$cache/$commit"
