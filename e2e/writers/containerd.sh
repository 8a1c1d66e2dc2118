#!/bin/bash
# containerd: what `ctr images export` and `ctr images convert` write, by a daemon of its own.
set -euo pipefail
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
made
home=$work/containerd
mkdir "$home"
cat >"$home/config.toml" <<EOT
version = 3
root = "$home/root"
state = "$home/state"
disabled_plugins = ["io.containerd.cri.v1.images", "io.containerd.cri.v1.runtime", "io.containerd.grpc.v1.cri",
  "io.containerd.nri.v1.nri", "io.containerd.internal.v1.opt"]
[grpc]
address = "$home/sock"
[ttrpc]
address = "$home/sock.ttrpc"
EOT
containerd --config "$home/config.toml" >"$home/log" 2>&1 &
daemon=$!
trap 'kill $daemon 2>/dev/null || true; wait $daemon 2>/dev/null || true; rm -rf "$work"' EXIT
ctr() { command ctr --address "$home/sock" --namespace tests "$@"; }
for _ in $(seq 100); do
  ctr version >/dev/null 2>&1 && break
  sleep 0.1
done
quiet skopeo copy "oci:$work/made:it" "oci-archive:$work/made.tar:localhost/containerd:1"
quiet ctr images import --no-unpack --local "$work/made.tar" || { tail -5 "$home/log" >&2; exit 1; }
ctr images ls -q >"$home/names"
name=$(head -n1 "$home/names")
quiet ctr images tag "$name" localhost/containerd:1 || true
quiet ctr images tag "$name" localhost/containerd:too
export_to() { quiet ctr images export --local "$@"; }
export_to "$out/export.tar" localhost/containerd:1
# Its index has the tag alone where skopeo looks, and the whole name in an annotation of its own.
case_of export oci-archive export.tar 1 "$prints" localhost/containerd:1
same_as export export-renamed oci-archive export.tar 1 "$prints" localhost/other:name
export_to --skip-manifest-json "$out/bare.tar" localhost/containerd:1
case_of bare oci-archive bare.tar 1 "$prints" localhost/containerd:1
export_to "$out/several.tar" localhost/containerd:1 localhost/containerd:too
case_of several oci-archive several.tar too "$prints" localhost/containerd:too
quiet ctr images convert --oci --uncompress localhost/containerd:1 localhost/containerd:plain
export_to "$out/plain.tar" localhost/containerd:plain
case_of plain oci-archive plain.tar plain "$prints" localhost/containerd:plain
finish
