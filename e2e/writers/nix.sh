#!/bin/bash
# Archives in the layout of Nix' dockerTools, whose own code is in no registry: written by hand after its
# documentation, with absolute names in layers, layers as ID/layer.tar, and links between layers.
set -euo pipefail
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
trees
python3 "$here/archives.py" nix-stream "$work" "$out/stream.tar"
case_of stream docker-archive stream.tar localhost/nix:stream "nix as 0:0 in / A=1"
python3 "$here/archives.py" nix-built "$work" "$out/built.tar"
case_of built docker-archive built.tar localhost/nix:built "nix as 0:0 in / A=1"
gzip -9n <"$out/built.tar" >"$out/built.tar.gz"
same_as built built-gzip docker-archive built.tar.gz localhost/nix:built "nix as 0:0 in / A=1"
finish
