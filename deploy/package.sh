#!/bin/bash
# Builds the Debian package of what `make build` has built, with cargo-deb, and prints its path.
#
# Completions, man pages and the unit are made here: the programs describe themselves, and a package keeps them in
# /usr/bin. What goes where stands in Cargo.toml, [package.metadata.deb].
set -euo pipefail

top=$(cd "$(dirname "$0")/.." && pwd)
target=${CARGO_TARGET_DIR:-$top/target}
cache=${HOLDFAST_TEST_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/holdfast-e2e}
export PATH=$cache/bin:$HOME/.cargo/bin:$PATH
made=$target/release/package

command -v cargo-deb >/dev/null || { echo "package.sh: cargo-deb is missing: e2e/tools/install.sh" >&2; exit 1; }
rm -rf "$made"
mkdir -p "$made/man" "$made/completions"
"$target/release/holdfast" man "$made/man"
for shell in bash zsh fish; do
  "$target/release/holdfast" completion $shell >"$made/completions/holdfast.$shell"
done
sed 's|/usr/local/bin/|/usr/bin/|' "$top/deploy/holdfastd.service" >"$made/holdfastd.service"
cd "$top"
CARGO_TARGET_DIR=$target cargo deb -p holdfastd --quiet --no-build --no-strip --output "$target/debian/" "$@" >&2
ls -t "$target"/debian/holdfast_*.deb | head -n 1
