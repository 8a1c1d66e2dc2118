#!/bin/bash
# umoci: layers with whiteouts from changes of a tree, and with what its options change.
set -euo pipefail
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
made
cp -r "$work/made" "$out/layout"
case_of layout oci layout it "$prints"
# Several images and an archive of the layout, whose entries begin with ./ as tar makes them.
quiet umoci tag --image "$out/layout:it" other
quiet umoci config --image "$out/layout:other" --config.cmd other --history.created_by "changed by umoci" --config.user 7:8
tar -C "$out/layout" -cf "$out/several.tar" .
case_of several oci-archive several.tar other "other as 7:8 in /data/private A=1"
# A whole new layer over what is there, whose directories are opaque.
cp -r "$work/made" "$work/insert"
quiet umoci insert --image "$work/insert:it" --opaque "$work/changed/emptied" /turned
tar -C "$work/insert" -cf "$out/opaque.tar" oci-layout index.json blobs
case_of opaque oci-archive opaque.tar it -
# A directory that becomes a file: umoci writes `turned` and then the whiteout `turned/.wh.file`, which containerd
# 2.4.2 (mkparent: not a directory) and podman refuse alike.
quiet umoci unpack --image "$work/made:it" "$work/bundle"
python3 "$here/tree.py" turn "$work/bundle/rootfs"
quiet umoci repack --image "$work/made:it" "$work/bundle"
cp -r "$work/made" "$out/turned"
case_of turned refused turned it "turned" localhost/umoci-turned:it
finish
