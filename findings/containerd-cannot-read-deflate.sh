#!/bin/bash
# containerd's client for registries (github.com/containerd/containerd/v2 v2.4.2, core/remotes/docker) asks every
# registry for the content coding `deflate` and cannot read it.
#
# Valid input: a registry, or a cache before it, that chooses `deflate` of the codings in the request's
# Accept-Encoding ("zstd;q=1.0, gzip;q=0.8, deflate;q=0.5") and sends the zlib format of RFC 1950, which is what that
# name means (RFC 9110, section 8.4.1.2). One would say from memory that a client can read what it asks for, all the
# more as Go's compress/flate and compress/zlib stand side by side.
#
# Behaviour: the body is given to compress/flate, which reads the bare stream of RFC 1951 and takes zlib's header for
# a broken block. The bare stream, which the RFC calls the mistake of some servers, is read. gzip is read.
# Seen:
#   asks for deflate: true
#   gzip: 12 bytes
#   deflate of zlib: flate: corrupt input before offset 5
#   deflate without zlib's wrapper: 12 bytes
#
#   containerd-cannot-read-deflate.sh     needs go and the network; ends with 1 when the behaviour is another
set -euo pipefail

work=$(mktemp -d)
trap 'chmod -R u+w "$work"; rm -rf "$work"' EXIT
cd "$work"
export GOFLAGS=-mod=mod CGO_ENABLED=0
cat >main.go <<'GO'
package main

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/containerd/containerd/v2/core/remotes/docker"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

const content = "some content"

func coded(writer func(io.Writer) io.WriteCloser) []byte {
	var out bytes.Buffer
	w := writer(&out)
	io.WriteString(w, content)
	w.Close()
	return out.Bytes()
}

func main() {
	answers := []struct {
		name, coding string
		body         []byte
	}{
		{"gzip", "gzip", coded(func(w io.Writer) io.WriteCloser { return gzip.NewWriter(w) })},
		{"deflate of zlib", "deflate", coded(func(w io.Writer) io.WriteCloser { return zlib.NewWriter(w) })},
		{"deflate without zlib's wrapper", "deflate", coded(func(w io.Writer) io.WriteCloser {
			out, _ := flate.NewWriter(w, flate.DefaultCompression)
			return out
		})},
	}
	for i, answer := range answers {
		var asked string
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			asked = r.Header.Get("Accept-Encoding")
			w.Header().Set("Content-Encoding", answer.coding)
			w.Write(answer.body)
		}))
		host := strings.TrimPrefix(server.URL, "http://")
		resolver := docker.NewResolver(docker.ResolverOptions{
			Hosts: docker.ConfigureDefaultRegistries(docker.WithPlainHTTP(docker.MatchAllHosts)),
		})
		fetcher, err := resolver.Fetcher(context.Background(), host+"/finding/image:v1")
		var got []byte
		if err == nil {
			var body io.ReadCloser
			body, err = fetcher.Fetch(context.Background(), ocispec.Descriptor{
				MediaType: ocispec.MediaTypeImageConfig,
				Digest:    digest.FromString(content),
				Size:      int64(len(content)),
			})
			if err == nil {
				got, err = io.ReadAll(body)
			}
		}
		if i == 0 {
			fmt.Println("asks for deflate:", strings.Contains(asked, "deflate"))
		}
		if err != nil {
			fmt.Printf("%s: %v\n", answer.name, err)
		} else {
			fmt.Printf("%s: %d bytes\n", answer.name, len(got))
		}
		server.Close()
	}
}
GO
go mod init finding >/dev/null 2>&1
go get github.com/containerd/containerd/v2@v2.4.2 github.com/opencontainers/go-digest@v1.0.0 \
  github.com/opencontainers/image-spec@v1.1.1 >/dev/null 2>&1
go build -o finding .
./finding 2>/dev/null | tee seen
grep -qx 'asks for deflate: true' seen && grep -qx 'gzip: 12 bytes' seen &&
  grep -q '^deflate of zlib: flate: corrupt input' seen &&
  grep -qx "deflate without zlib's wrapper: 12 bytes" seen ||
  { echo "the behaviour is another" >&2; exit 1; }
