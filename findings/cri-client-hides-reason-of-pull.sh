#!/bin/bash
# The kubelet knows why a pull failed only when the runtime gives no gRPC code.
#
# k8s.io/cri-api (pkg/errors) defines words such as RegistryUnavailable and SignatureValidationFailed for a failed
# PullImage, and the kubelet compares them with the start of the client's error text (pkg/kubelet/images,
# evalCRIPullErr). k8s.io/cri-client gives the status's message alone for the code UNKNOWN; for every other code it
# gives "rpc error: code = … desc = …". So a runtime that answers UNAVAILABLE with "RegistryUnavailable: …", as the names
# of the codes suggest, makes the pod say ErrImagePull.
#
# Seen with k8s.io/cri-client v0.37.2, k8s.io/cri-api v0.37.2, google.golang.org/grpc v1.82.1, go1.26.8:
#   Unknown: "RegistryUnavailable: no route": the kubelet knows the reason: true
#   Unavailable: "rpc error: code = Unavailable desc = RegistryUnavailable: no route": the kubelet knows the reason: false
#   Internal: "rpc error: code = Internal desc = RegistryUnavailable: no route": the kubelet knows the reason: false
#
# Needs Go and a network. Exits with 0 when the library behaves so, with 1 when it behaves otherwise, with 2 when the
# test itself cannot run.
set -euo pipefail

work=$(mktemp -d)
trap 'chmod -R u+w "$work"; rm -rf "$work"' EXIT
cd "$work"
command -v go >/dev/null || { echo "needs Go" >&2; exit 2; }

cat >main.go <<'END'
package main

import (
	"context"
	"fmt"
	"log"
	"net"
	"os"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"
	crierrors "k8s.io/cri-api/pkg/errors"
	client "k8s.io/cri-client/pkg"
)

// images fails every pull with the code that the image's name says.
type images struct {
	runtime.UnimplementedImageServiceServer
}

var all = map[string]codes.Code{"unknown": codes.Unknown, "unavailable": codes.Unavailable, "internal": codes.Internal}

func (images) PullImage(_ context.Context, request *runtime.PullImageRequest) (*runtime.PullImageResponse, error) {
	return nil, status.Error(all[request.Image.Image], crierrors.ErrRegistryUnavailable.Error()+": no route")
}

func (images) ImageFsInfo(context.Context, *runtime.ImageFsInfoRequest) (*runtime.ImageFsInfoResponse, error) {
	return &runtime.ImageFsInfoResponse{}, nil
}

func main() {
	listener, err := net.Listen("unix", "cri.sock")
	if err != nil {
		log.Print(err)
		os.Exit(2)
	}
	server := grpc.NewServer()
	runtime.RegisterImageServiceServer(server, images{})
	go func() { _ = server.Serve(listener) }()
	directory, _ := os.Getwd()
	ctx := context.Background()
	service, err := client.NewRemoteImageService(ctx, "unix://"+directory+"/cri.sock", 5*time.Second, nil, false)
	if err != nil {
		log.Print(err)
		os.Exit(2)
	}
	code := 0
	for _, name := range []string{"unknown", "unavailable", "internal"} {
		_, err := service.PullImage(ctx, &runtime.ImageSpec{Image: name}, nil, nil)
		known := strings.HasPrefix(err.Error(), crierrors.ErrRegistryUnavailable.Error())
		fmt.Printf("%v: %q: the kubelet knows the reason: %v\n", all[name], err.Error(), known)
		if known != (name == "unknown") {
			code = 1
		}
	}
	os.Exit(code)
}
END
cat >go.mod <<'END'
module finding

go 1.26.0

require (
	google.golang.org/grpc v1.82.1
	k8s.io/cri-api v0.37.2
	k8s.io/cri-client v0.37.2
)
END
export GOFLAGS=-mod=mod CGO_ENABLED=0
go mod tidy >tidy.log 2>&1 || { cat tidy.log >&2; exit 2; }
go version
go build -o finding . || exit 2
# The client logs each failure too.
code=0
./finding 2>log.txt || code=$?
[ $code != 2 ] || cat log.txt >&2
exit $code
