// Program by-path is a client of the CRI that dials the socket by its path, as clients with a dialer of their own
// do, so that what it names as the authority of its requests is no host.
//
//	by-path SOCKET HOW IMAGE LOG-DIRECTORY
//
// HOW is one of the names in authorities. It runs a pod with a container through its life, and fails at the first
// answer that is not as it should be.
package main

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// The target to dial and the authority to name instead of what follows from the target.
func authority(how, socket string) (target, name string, err error) {
	passthrough := "passthrough:///" + socket
	switch how {
	case "passthrough": // what grpc-go makes of the path: escaped
		return passthrough, "", nil
	case "path": // what grpc-go made of it before it escaped it, and grpc-java does
		return passthrough, socket, nil
	case "relative":
		return passthrough, strings.TrimPrefix(socket, "/"), nil
	case "empty":
		return "passthrough:", "", nil
	case "space":
		return passthrough, "/run/a b.sock", nil
	case "underscore":
		return passthrough, "my_node", nil
	case "long":
		return passthrough, "/" + strings.Repeat("x", 5000), nil
	case "localhost":
		return passthrough, "localhost", nil
	case "host":
		return passthrough, "node.example:1234", nil
	}
	return "", "", fmt.Errorf("HOW %q is not known", how)
}

func main() {
	if len(os.Args) != 5 {
		fmt.Fprintln(os.Stderr, "usage: by-path SOCKET HOW IMAGE LOG-DIRECTORY")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2], os.Args[3], os.Args[4]); err != nil {
		fmt.Fprintln(os.Stderr, "by-path:", err)
		os.Exit(1)
	}
}

func run(socket, how, image, logs string) error {
	target, name, err := authority(how, socket)
	if err != nil {
		return err
	}
	options := []grpc.DialOption{
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			var dialer net.Dialer
			return dialer.DialContext(ctx, "unix", socket)
		}),
	}
	if name != "" {
		options = append(options, grpc.WithAuthority(name))
	}
	connection, err := grpc.NewClient(target, options...)
	if err != nil {
		return err
	}
	defer connection.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	client := cri.NewRuntimeServiceClient(connection)
	if err := manyHeaders(ctx, client); err != nil {
		return err
	}
	if err := manyAuthorities(ctx, client); err != nil {
		return err
	}
	return life(ctx, client, cri.NewImageServiceClient(connection), image, logs)
}

// manyAuthorities names another authority in each request, as a proxy does that brings those of several clients.
func manyAuthorities(ctx context.Context, client cri.RuntimeServiceClient) error {
	for call := range 300 {
		names := []string{"localhost", "/run/x", "my_node", "localhost", fmt.Sprintf("/run/%d", call)}
		name := names[call%len(names)]
		if _, err := client.Version(ctx, &cri.VersionRequest{}, grpc.CallAuthority(name)); err != nil {
			return fmt.Errorf("call %d as %q: %w", call, name, err)
		}
	}
	return nil
}

// manyHeaders sends requests whose headers fill the table that client and server keep of them several times.
func manyHeaders(ctx context.Context, client cri.RuntimeServiceClient) error {
	for call := range 200 {
		value := strings.Repeat(fmt.Sprintf("value-%d.", call), 1+call%20)
		ctx := metadata.AppendToOutgoingContext(ctx, fmt.Sprintf("name-%d", call%7), value)
		if call%50 == 49 {
			// Larger than the whole table.
			ctx = metadata.AppendToOutgoingContext(ctx, "long", strings.Repeat("x", 9000))
		}
		if _, err := client.Version(ctx, &cri.VersionRequest{}); err != nil {
			return fmt.Errorf("call %d: %w", call, err)
		}
	}
	return nil
}

func life(ctx context.Context, client cri.RuntimeServiceClient, images cri.ImageServiceClient, image, logs string) error {
	spec := &cri.ImageSpec{Image: image}
	if _, err := images.PullImage(ctx, &cri.PullImageRequest{Image: spec}); err != nil {
		return err
	}
	sandbox := &cri.PodSandboxConfig{
		Metadata:     &cri.PodSandboxMetadata{Name: "by-path", Namespace: "default", Uid: "by-path"},
		LogDirectory: logs,
		Linux:        &cri.LinuxPodSandboxConfig{},
	}
	pod, err := client.RunPodSandbox(ctx, &cri.RunPodSandboxRequest{Config: sandbox})
	if err != nil {
		return err
	}
	created, err := client.CreateContainer(ctx, &cri.CreateContainerRequest{
		PodSandboxId:  pod.PodSandboxId,
		SandboxConfig: sandbox,
		Config: &cri.ContainerConfig{
			Metadata: &cri.ContainerMetadata{Name: "main"},
			Image:    spec,
			Command:  []string{"sh", "-c", "echo started; exec sleep 1000"},
			LogPath:  "main.log",
			Linux:    &cri.LinuxContainerConfig{},
		},
	})
	if err != nil {
		return err
	}
	id := created.ContainerId
	if _, err := client.StartContainer(ctx, &cri.StartContainerRequest{ContainerId: id}); err != nil {
		return err
	}
	// More than one frame of data in each direction.
	text := strings.Repeat("x", 50_000)
	output, err := client.ExecSync(ctx, &cri.ExecSyncRequest{ContainerId: id, Cmd: []string{"echo", text}, Timeout: 30})
	if err != nil {
		return err
	}
	if string(output.Stdout) != text+"\n" || output.ExitCode != 0 {
		return fmt.Errorf("exec: exit code %d, %d bytes", output.ExitCode, len(output.Stdout))
	}
	if err := logged(filepath.Join(logs, "main.log"), " stdout F started\n"); err != nil {
		return err
	}
	if _, err := client.StopContainer(ctx, &cri.StopContainerRequest{ContainerId: id}); err != nil {
		return err
	}
	if _, err := client.RemoveContainer(ctx, &cri.RemoveContainerRequest{ContainerId: id}); err != nil {
		return err
	}
	if _, err := client.StopPodSandbox(ctx, &cri.StopPodSandboxRequest{PodSandboxId: pod.PodSandboxId}); err != nil {
		return err
	}
	_, err = client.RemovePodSandbox(ctx, &cri.RemovePodSandboxRequest{PodSandboxId: pod.PodSandboxId})
	return err
}

// logged waits until a log has a line.
func logged(path, line string) error {
	for range 100 {
		text, err := os.ReadFile(path)
		if err == nil && bytes.HasSuffix(text, []byte(line)) {
			return nil
		}
		time.Sleep(50 * time.Millisecond)
	}
	return fmt.Errorf("%s has no line %q", path, line)
}
