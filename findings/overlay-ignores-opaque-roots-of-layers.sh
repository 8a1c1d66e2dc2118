#!/bin/bash
# The kernel's overlay ignores `trusted.overlay.opaque` on the root of a lower layer.
#
# An OCI layer may have an opaque whiteout at its top (`.wh..wh..opq`; image specification v1.1.1, layer.md, "Opaque
# Whiteout"), and overlay snapshotters turn it into the attribute trusted.overlay.opaque on the layer's root, as they do
# for every other directory (containerd 2.4, pkg/archive/tar_opts_linux.go, OverlayConvertWhiteout). On a directory
# below the root the attribute hides what lower layers have in it; on the root of a layer it does nothing, so that all
# files of the layers below, which the image has taken away, are there again.
#
# Seen on Linux 6.18.44:
#   below an opaque directory: above
#   below an opaque root: above below
#
# Needs root and python3 (for setxattr), and a file system that can be an upper layer. Exits with 0 when the kernel
# behaves so, with 1 when the root hides, with 2 when the test itself cannot run.
set -euo pipefail

[ "$(id -u)" = 0 ] || { echo "needs root" >&2; exit 2; }
command -v python3 >/dev/null || { echo "needs python3" >&2; exit 2; }
work=$(mktemp -d -p /var/tmp)
trap 'rm -rf "$work"' EXIT
cd "$work"

uname -r
opaque() { python3 -c 'import os, sys; os.setxattr(sys.argv[1], "trusted.overlay.opaque", b"y")' "$1"; }
mkdir -p upper/d lower/d merged
touch upper/d/above lower/d/below
opaque upper/d
shown() {
  unshare -m sh -euc "mount -t overlay overlay -o lowerdir=$1:$2 merged; ls merged/$3" | tr '\n' ' ' | sed 's/ $//'
}
directory=$(shown upper lower d)
mkdir top bottom
touch top/above bottom/below
opaque top
root=$(shown top bottom .)
echo "below an opaque directory: $directory"
echo "below an opaque root: $root"
[ "$directory" = above ] || { echo "an opaque directory does not hide" >&2; exit 2; }
[ "$root" = "above below" ] || { echo "behaves otherwise: the root hides" >&2; exit 1; }
echo "behaves as described"
