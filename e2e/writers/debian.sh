#!/bin/bash
# Debian's own: trees of mmdebstrap and debootstrap as tars. They are large, so on demand alone.
set -euo pipefail
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
release=$(. /etc/os-release && echo "$VERSION_CODENAME")
quiet mmdebstrap --variant=essential --mode=root "$release" "$out/mmdebstrap.tar"
case_of mmdebstrap rootfs mmdebstrap.tar - -
zstd -q "$out/mmdebstrap.tar" -o "$out/mmdebstrap.tar.zst"
same_as mmdebstrap mmdebstrap-zstd rootfs mmdebstrap.tar.zst - -
# The form of debootstrap's cache of packages is none of ours; its tree is.
quiet debootstrap --variant=minbase "$release" "$work/tree"
tar -C "$work/tree" -cf "$out/debootstrap.tar" --xattrs --xattrs-include='*' --numeric-owner .
case_of debootstrap rootfs debootstrap.tar - -
finish
