#!/bin/bash
# An image that go-containerregistry makes without a base image is for no platform, and containerd finds nothing in it.
#
# `crane append -f layer.tar -t x/y:1 -o image.tar` without -b starts from the library's empty image, whose
# configuration says "architecture": "" and "os": "". podman, skopeo and docker load the archive. containerd's importer
# makes the configuration's platform that of the index entry: an empty os is normalised to the machine's, an empty
# architecture stays empty and fits no machine. So `ctr images import` says "image might be filtered out" and lists no
# image; with --all-platforms it takes it, for the platform "linux".
#
# Seen with go-containerregistry v0.22.1, containerd v2.4.2 (core/images, client and platforms v1.0.0-rc.5), go1.26.8:
#   configuration: {"architecture":"","os":"",…}
#   containerd's index entry is for: linux/
#   containerd: no match for platform in manifest sha256:…: not found
#
# Needs Go and a network. Exits with 0 when the libraries behave so, with 1 when containerd finds the image, with 2 when
# the test itself cannot run.
set -euo pipefail

work=$(mktemp -d)
trap 'chmod -R u+w "$work"; rm -rf "$work"' EXIT
cd "$work"
command -v go >/dev/null || { echo "needs Go" >&2; exit 2; }

cat >main.go <<'END'
package main

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"os"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/images/archive"
	"github.com/containerd/containerd/v2/plugins/content/local"
	"github.com/containerd/platforms"
	"github.com/google/go-containerregistry/pkg/crane"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

func must(err error) {
	if err != nil {
		log.Print(err)
		os.Exit(2)
	}
}

func main() {
	var layer bytes.Buffer
	writer := tar.NewWriter(&layer)
	must(writer.WriteHeader(&tar.Header{Name: "program", Mode: 0o755, Size: 1}))
	_, err := writer.Write([]byte("x"))
	must(err)
	must(writer.Close())
	must(os.WriteFile("layer.tar", layer.Bytes(), 0o600))

	// What crane append does without -b.
	image, err := crane.Append(empty.Image, "layer.tar")
	must(err)
	config, err := image.RawConfigFile()
	must(err)
	fmt.Printf("configuration: %s\n", config)
	must(crane.Save(image, "x/y:1", "image.tar"))

	ctx := context.Background()
	store, err := local.NewStore("content")
	must(err)
	file, err := os.Open("image.tar")
	must(err)
	index, err := archive.ImportIndex(ctx, store, io.Reader(file))
	must(err)
	blob, err := content.ReadBlob(ctx, store, index)
	must(err)
	var list ocispec.Index
	must(json.Unmarshal(blob, &list))
	p := list.Manifests[0].Platform
	fmt.Printf("containerd's index entry is for: %s/%s\n", p.OS, p.Architecture)
	if _, err := images.Manifest(ctx, store, index, platforms.Default()); err != nil {
		fmt.Printf("containerd: %v\n", err)
		return
	}
	fmt.Println("containerd finds the image")
	os.Exit(1)
}
END
cat >go.mod <<'END'
module finding

go 1.26.0

require (
	github.com/containerd/containerd/v2 v2.4.2
	github.com/containerd/platforms v1.0.0-rc.5
	github.com/google/go-containerregistry v0.22.1
	github.com/opencontainers/image-spec v1.1.1
)
END
export GOFLAGS=-mod=mod CGO_ENABLED=0
go mod tidy >tidy.log 2>&1 || { cat tidy.log >&2; exit 2; }
go version
go build -o finding . || exit 2
./finding
