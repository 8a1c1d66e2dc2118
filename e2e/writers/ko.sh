#!/bin/bash
# ko: a Go program as an image, in an archive, a layout and a registry.
set -euo pipefail
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
mkdir -p "$work/hello/kodata"
cat >"$work/hello/main.go" <<'GO'
// Command hello says where it finds its data, as ko lays it out.
package main

import (
	"fmt"
	"os"
)

func main() {
	data, err := os.ReadFile(os.Getenv("KO_DATA_PATH") + "/data.txt")
	if err != nil {
		panic(err)
	}
	fmt.Printf("ko as %d says %s", os.Getuid(), data)
}
GO
echo "what is in kodata" >"$work/hello/kodata/data.txt"
printf 'module example.com/hello\n\ngo 1.21\n' >"$work/hello/go.mod"
serve
quiet crane append --oci-empty-base -f <(tar -C /var/empty -c -T /dev/null 2>/dev/null || tar -c -T /dev/null) -t "$registry/base"
quiet crane mutate "$registry/base" --set-platform "linux/$architecture" --user 65532 --env PATH=/ko-app -t "$registry/base"
cd "$work/hello"
echo "defaultBaseImage: $registry/base" >.ko.yaml
export GOFLAGS=-buildvcs=false GOMODCACHE=$work/mod
export KO_DOCKER_REPO=localhost/ko GOCACHE=${KO_GOCACHE:-$cache/writers/gocache}
build() { quiet nice -n 10 ko build --bare --platform "linux/$architecture" --sbom none "$@" .; }
said="ko as 65532 says what is in kodata"
build --push=false --tarball "$out/ko.tar" --image-label one=1 --tags v1
case_of tarball docker-archive ko.tar localhost/ko:v1 "$said"
build --push=false --oci-layout-path "$out/layout"
case_of layout oci layout - "$said"
KO_DOCKER_REPO=$registry/made build --tags v2 --insecure-registry
quiet crane pull --format oci "$registry/made:v2" "$out/pushed"
case_of pushed oci pushed - "$said"
chmod -R u+w "$work/mod" 2>/dev/null || true
finish
