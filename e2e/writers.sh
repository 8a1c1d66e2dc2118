#!/bin/bash
# Makes images with other people's tools, for the tests `writers::` of e2e/run.sh.
#
#   writers.sh              all of them, which takes half an hour the first time: the tools are built too
#   writers.sh small        what Debian's own tools make in a quarter of a minute; the tests call this themselves
#   writers.sh NAME ...     those writers, such as crane or jib: e2e/writers has a script for each
#
# Everything is pinned: Go modules in writers/tools.sh, Maven's and npm's in the scripts, Debian's by the release.
# Outputs and tools are kept in $HOLDFAST_TEST_CACHE/writers (default ~/.cache/holdfast-e2e/writers). A writer whose
# output is newer than its scripts is not run again. A writer whose tools a machine lacks is named and left out.
# kaniko's module is in no registry; it writes archives and layouts by go-containerregistry, as crane does.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)/writers
cache=${HOLDFAST_TEST_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/holdfast-e2e}
out=$cache/writers/out
[ "$(id -u)" = 0 ] || { echo "writers.sh: images have owners and devices: run as root" >&2; exit 1; }

# What each takes, beside skopeo, umoci and python3, which look at all outputs.
needs() {
  case $1 in
  buildah) echo buildah ;;
  podman) echo buildah podman ;;
  debian) echo mmdebstrap debootstrap zstd ;;
  crane) echo crane ;;
  ko) echo crane go ko ;;
  containerd) echo containerd ctr ;;
  jib) echo crane java mvn ;;
  containerify) echo crane node npm ;;
  buildkit) echo buildctl buildkitd crane crun ;;
  esac
}

run() {
  local writer=$1 tool
  if [ -e "$out/$writer/table.tsv" ]; then
    [ -n "$(find "$here/$writer.sh" "$here/lib.sh" "$here/"*.py -newer "$out/$writer/table.tsv")" ] || return 0
  fi
  for tool in skopeo umoci python3 $(needs "$writer"); do
    PATH=$cache/writers/bin:$PATH command -v "$tool" >/dev/null || { echo "writers.sh: $writer is left out: no $tool"; return 0; }
  done
  "$here/$writer.sh" || { echo "writers.sh: $writer failed" >&2; failed+=("$writer"); }
}

small=(umoci skopeo buildah nix bazel)
all=("${small[@]}" podman crane ko containerd jib containerify buildkit debian)
failed=()
mkdir -p "$out"
# One at a time: tests of several processes may want the same.
exec 9>"$cache/writers/lock"
flock 9
case ${1:-all} in
small) writers=("${small[@]}") ;;
all) "$here/tools.sh"; writers=("${all[@]}") ;;
*) writers=("$@") ;;
esac
for writer in "${writers[@]}"; do run "$writer"; done
[ ${#failed[@]} = 0 ]
