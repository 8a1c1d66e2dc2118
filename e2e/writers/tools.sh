#!/bin/bash
# Builds the writers that are Go programs, each from its module in one pinned version.
#
#   tools.sh [TOOL ...]     all, or those named; what is there in that version stays
#
# Programs land in $HOLDFAST_TEST_CACHE/writers/bin (default ~/.cache/holdfast-e2e/writers/bin). The module's own
# go.sum pins what it is built of, and the checksum database vouches for the module.
set -euo pipefail

cache=${HOLDFAST_TEST_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/holdfast-e2e}
bin=$cache/writers/bin

# name, module, version, package in the module, build tags
tools=(
  "crane github.com/google/go-containerregistry v0.22.1 ./cmd/crane -"
  "ko github.com/google/ko v0.19.1 . -"
  "distribution github.com/distribution/distribution/v3 v3.1.2 ./cmd/registry -"
  "ctr github.com/containerd/containerd/v2 v2.4.2 ./cmd/ctr no_cri,no_btrfs,no_devmapper,no_zfs"
  "containerd github.com/containerd/containerd/v2 v2.4.2 ./cmd/containerd no_cri,no_btrfs,no_devmapper,no_zfs"
  "umoci github.com/opencontainers/umoci v0.6.0 ./cmd/umoci -"
  "buildctl github.com/moby/buildkit v0.34.2 ./cmd/buildctl -"
  "buildkitd github.com/moby/buildkit v0.34.2 ./cmd/buildkitd -"
)

# A module of the cache is read-only, and its directory cannot be a main module: so it is copied.
build() {
  local name=$1 module=$2 version=$3 package=$4 tags=$5 source work
  [ "$(cat "$bin/.$name" 2>/dev/null)" = "$module@$version" ] && return
  echo "tools.sh: $name of $module@$version"
  source=$(cd / && go mod download -json "$module@$version" | sed -n 's/^\t"Dir": "\(.*\)",$/\1/p')
  work=$(mktemp -d)
  cp -r "$source/." "$work"
  chmod -R u+w "$work"
  (
    cd "$work"
    if [ "$tags" = - ]; then tags=; fi
    CGO_ENABLED=0 GOFLAGS=-buildvcs=false nice -n 10 go build -trimpath -tags "$tags" -ldflags '-s -w' -o "$bin/$name" "$package"
  )
  rm -rf "$work"
  echo "$module@$version" >"$bin/.$name"
}

mkdir -p "$bin"
for tool in "${tools[@]}"; do
  read -r name module version package tags <<<"$tool"
  [ $# = 0 ] || [[ " $* " == *" $name "* ]] || continue
  build "$name" "$module" "$version" "$package" "$tags"
done
