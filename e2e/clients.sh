#!/bin/bash
# Builds other clients, and other releases of clients, with which the tests `clients::` talk to the daemon.
#
#   clients.sh build    those of CI: crictl 1.34 and 1.37, a client in Go that dials the socket by its path, and grpcio
#   clients.sh          all of them, with crictl 1.30 and 1.36 (some minutes), and runs the tests
#
# They are kept in $HOLDFAST_TEST_CACHE/clients (default ~/.cache/holdfast-e2e/clients). A client that
# cannot be built is named, and its test is skipped.
set -euo pipefail

cd "$(dirname "$0")/.."
tools=$PWD/e2e/tools/clients
cache=${HOLDFAST_TEST_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/holdfast-e2e}
export PATH=$cache/bin:/usr/local/go/bin:$PATH CGO_ENABLED=0 GOFLAGS=-buildvcs=false
clients=$cache/clients
mkdir -p "$clients"

say() { echo "clients.sh: $*"; }

# The module's own go.sum pins what a version is made of. It is built in a copy, because 1.30 calls itself by another
# path and replaces modules, which `go install` refuses.
crictl() {
  local version=$1
  [ -x "$clients/crictl-$version" ] && return
  if [ "$("$cache/bin/crictl" --version 2>/dev/null)" = "crictl version v$version" ]; then
    cp "$cache/bin/crictl" "$clients/crictl-$version"
    return
  fi
  say "crictl $version into $clients"
  local source module copy=$clients/partial
  source=$(cd / && go mod download -json "sigs.k8s.io/cri-tools@v$version" | sed -n 's/^\t"Dir": "\(.*\)",$/\1/p')
  module=$(sed -n 's/^module //p' "$source/go.mod")
  rm -rf "$copy"
  cp -r "$source" "$copy"
  chmod -R u+w "$copy"
  rm -rf "$copy/vendor"
  (cd "$copy" && nice go build -trimpath -ldflags "-s -w -X $module/pkg/version.Version=$version" \
    -o "$clients/crictl-$version" ./cmd/crictl)
  rm -rf "$copy"
}

by_path() {
  local stamp
  stamp=$(cat "$tools"/by-path/{go.mod,go.sum,main.go} | sha256sum)
  [ "$(cat "$clients/.by-path" 2>/dev/null)" = "$stamp" ] && return
  say "by-path into $clients"
  (cd "$tools/by-path" && nice go build -trimpath -ldflags "-s -w" -o "$clients/by-path" .)
  echo "$stamp" >"$clients/.by-path"
}

python() {
  local stamp
  stamp=$(sha256sum <"$tools/python/requirements.txt")
  [ "$(cat "$clients/python/.stamp" 2>/dev/null)" = "$stamp" ] && return
  say "grpcio into $clients/python"
  rm -rf "$clients/python"
  python3 -m venv "$clients/python"
  "$clients/python/bin/pip" install -q --disable-pip-version-check -r "$tools/python/requirements.txt"
  echo "$stamp" >"$clients/python/.stamp"
}

# A machine that cannot have one of them tests with the others.
try() {
  local code
  # Not behind `||`, where bash would go on after a command that fails.
  set +e
  (
    set -e
    "$@"
  )
  code=$?
  set -e
  [ $code = 0 ] || say "cannot have $*: its test will be skipped" >&2
}

try crictl 1.34.0
try crictl 1.37.0 # install.sh has built it
try by_path
try python
[ "${1:-}" != build ] || exit 0
for version in 1.30.0 1.36.0; do try crictl $version; done
e2e/run.sh clients::
