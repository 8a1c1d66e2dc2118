#!/bin/bash
# umoci 0.6.0 writes a layer that containerd 2.4.2 does not take, when a directory became a file.
#
# Valid input: an image with a directory `d` that has a file, unpacked, `d` replaced by a file, and repacked.
#
# Behaviour: `umoci repack` puts into the layer the file `d` and behind it the whiteout `d/.wh.inside`, whose parent is
# no directory in that layer. umoci itself unpacks that. containerd makes the parents of each entry first and refuses;
# podman 4.3.1 does too ("unlinkat /d/inside: not a directory"). The file alone would have done: the specification
# (image-spec v1.1, layer.md, "Representing Changes") has an entry replace what is there.
# Seen:
#   umoci 0.6.0 writes: d d/.wh.inside
#   containerd 2.4.2 says: mkparent ROOT/d: not a directory
#
#   umoci-directory-becomes-file.sh     needs go and tar; run as root or not; ends with 1 when the behaviour is another
set -euo pipefail

work=$(mktemp -d)
trap 'chmod -R u+w "$work"; rm -rf "$work"' EXIT
cd "$work"
export GOFLAGS='-buildvcs=false -modcacherw' CGO_ENABLED=0
# The module replaces another, which `go install` refuses: so a copy of it is the main module.
source=$(go mod download -json github.com/opencontainers/umoci@v0.6.0 | sed -n 's/^\t"Dir": "\(.*\)",$/\1/p')
cp -r "$source" umoci
chmod -R u+w umoci
(cd umoci && go build -trimpath -o ../bin/umoci ./cmd/umoci)
umoci=$work/bin/umoci
rootless=
[ "$(id -u)" = 0 ] || rootless=--rootless
{
  $umoci init --layout image
  $umoci new --image image:it
  $umoci unpack $rootless --image image:it first
  mkdir first/rootfs/d
  echo inside >first/rootfs/d/inside
  $umoci repack --image image:it first
  $umoci unpack $rootless --image image:it second
  rm -r second/rootfs/d
  echo a file now >second/rootfs/d
  $umoci repack --image image:it second
  $umoci unpack $rootless --image image:it third
} >umoci.log 2>&1 || { cat umoci.log >&2; exit 1; }
[ "$(cat third/rootfs/d)" = "a file now" ] || { echo "umoci does not read its own image" >&2; exit 1; }

mkdir apply
cat >apply/go.mod <<'GO'
module finding

go 1.26

require github.com/containerd/containerd/v2 v2.4.2
GO
cat >apply/main.go <<'GO'
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"

	"github.com/containerd/containerd/v2/pkg/archive"
	"github.com/containerd/containerd/v2/pkg/archive/compression"
)

type descriptor struct{ Digest string }

func read(image, digest string, into any) {
	content, err := os.ReadFile(image + "/blobs/" + strings.Replace(digest, ":", "/", 1))
	if err == nil {
		err = json.Unmarshal(content, into)
	}
	if err != nil {
		panic(err)
	}
}

func main() {
	image, root := os.Args[1], os.Args[2]
	var index struct{ Manifests []descriptor }
	var manifest struct{ Layers []descriptor }
	content, err := os.ReadFile(image + "/index.json")
	if err == nil {
		err = json.Unmarshal(content, &index)
	}
	if err != nil {
		panic(err)
	}
	read(image, index.Manifests[0].Digest, &manifest)
	for _, layer := range manifest.Layers {
		file, err := os.Open(image + "/blobs/" + strings.Replace(layer.Digest, ":", "/", 1))
		if err != nil {
			panic(err)
		}
		stream, err := compression.DecompressStream(file)
		if err != nil {
			panic(err)
		}
		if _, err := archive.Apply(context.Background(), root, stream, archive.WithNoSameOwner()); err != nil {
			fmt.Println(strings.ReplaceAll(err.Error(), root, "ROOT"))
			return
		}
	}
	fmt.Println("applied")
}
GO
(cd apply && go mod tidy >/dev/null 2>&1 && go build -o ../bin/apply .)
last=
for blob in image/blobs/sha256/*; do
  names=$(tar -tzf "$blob" 2>/dev/null | tr '\n' ' ') || continue
  case $names in *.wh.*) last=${names% } ;; esac
done
echo "umoci 0.6.0 writes: $last"
mkdir root
said=$(bin/apply image "$work/root")
echo "containerd 2.4.2 says: $said"
[[ $said == *"ROOT/d: not a directory"* ]] || { echo "the behaviour is another" >&2; exit 1; }
