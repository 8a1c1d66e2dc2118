// Command seccomp writes the seccomp profile that containerd gives to a container with the capabilities that are
// its arguments, as JSON of the OCI runtime specification.
package main

import (
	"encoding/json"
	"log"
	"os"

	"github.com/containerd/containerd/v2/contrib/seccomp"
	oci "github.com/opencontainers/runtime-spec/specs-go"
)

func main() {
	spec := &oci.Spec{Process: &oci.Process{Capabilities: &oci.LinuxCapabilities{Bounding: os.Args[1:]}}}
	if err := json.NewEncoder(os.Stdout).Encode(seccomp.DefaultProfile(spec)); err != nil {
		log.Fatalf("write the profile: %v", err)
	}
}
