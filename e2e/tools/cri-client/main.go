// Command cri-client fails a call on a CRI runtime on purpose, through the client library that every kubelet
// uses, and prints what the kubelet then makes of the error: the reason that it shows in the status of the pod.
//
//	cri-client ENDPOINT pull IMAGE
//	cri-client ENDPOINT volume POD IMAGE VOLUME [SUBPATH]
//
// The answer is one JSON object with the text of the error as the kubelet sees it, the gRPC code that is left
// in it, and the reason.
package main

import (
	"context"
	"encoding/json"
	"log"
	"os"
	"strings"
	"time"

	"google.golang.org/grpc/status"
	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"
	crierrors "k8s.io/cri-api/pkg/errors"
	client "k8s.io/cri-client/pkg"
)

type verdict struct {
	Text   string `json:"text"`
	Code   string `json:"code"`
	Reason string `json:"reason"`
}

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	if len(os.Args) < 4 {
		log.Fatal("usage: cri-client ENDPOINT pull IMAGE | volume POD IMAGE VOLUME [SUBPATH]")
	}
	var result verdict
	switch endpoint, verb, args := os.Args[1], os.Args[2], os.Args[3:]; verb {
	case "pull":
		result = pull(ctx, endpoint, args[0])
	case "volume":
		result = volume(ctx, endpoint, args)
	default:
		log.Fatalf("unknown verb %q", verb)
	}
	if err := json.NewEncoder(os.Stdout).Encode(result); err != nil {
		log.Fatal(err)
	}
}

// pull judges as evalCRIPullErr of pkg/kubelet/images does: by the first word of the error's text.
func pull(ctx context.Context, endpoint, image string) verdict {
	images, err := client.NewRemoteImageService(ctx, endpoint, 10*time.Second, nil, false)
	if err != nil {
		log.Fatal(err)
	}
	_, err = images.PullImage(ctx, &runtime.ImageSpec{Image: image}, nil, nil)
	if err == nil {
		log.Fatalf("%s was pulled", image)
	}
	return verdict{
		Text: err.Error(),
		Code: status.Code(err).String(),
		Reason: reason(err.Error(), "ErrImagePull",
			crierrors.ErrRegistryUnavailable, crierrors.ErrSignatureValidationFailed),
	}
}

// volume judges as incrementImageVolumeMetrics of pkg/kubelet/kuberuntime does: by the first word of the
// message in the status, whatever its code.
func volume(ctx context.Context, endpoint string, args []string) verdict {
	containers, err := client.NewRemoteRuntimeService(ctx, endpoint, 30*time.Second, nil, false)
	if err != nil {
		log.Fatal(err)
	}
	mount := &runtime.Mount{
		ContainerPath: "/volume",
		Readonly:      true,
		Image:         &runtime.ImageSpec{Image: args[2]},
	}
	if len(args) > 3 {
		mount.ImageSubPath = args[3]
	}
	config := &runtime.ContainerConfig{
		Metadata: &runtime.ContainerMetadata{Name: "volume"},
		Image:    &runtime.ImageSpec{Image: args[1]},
		Mounts:   []*runtime.Mount{mount},
	}
	pod := &runtime.PodSandboxConfig{Metadata: &runtime.PodSandboxMetadata{Name: "pod", Namespace: "ns", Uid: "uid"}}
	if _, err = containers.CreateContainer(ctx, args[0], config, pod); err == nil {
		log.Fatalf("a container with %s as a volume was made", args[2])
	}
	message := status.Convert(err).Message()
	return verdict{
		Text:   message,
		Code:   status.Code(err).String(),
		Reason: reason(message, "CreateContainerError", crierrors.ErrImageVolumeMountFailed),
	}
}

func reason(text, otherwise string, known ...error) string {
	for _, word := range known {
		if strings.HasPrefix(text, word.Error()) {
			return word.Error()
		}
	}
	return otherwise
}
