// Command cdi reads the files that it is given as the reference library of the Container Device Interface
// reads them. For each it writes one line of JSON: what an OCI Spec has once the device "d" of the file is in it,
// or why there is none.
package main

import (
	"encoding/json"
	"log"
	"os"

	oci "github.com/opencontainers/runtime-spec/specs-go"
	"tags.cncf.io/container-device-interface/pkg/cdi"
)

type answer struct {
	Error string    `json:"error,omitempty"`
	Spec  *oci.Spec `json:"spec,omitempty"`
}

func read(path string) answer {
	spec, err := cdi.ReadSpec(path, 0)
	if err != nil {
		return answer{Error: err.Error()}
	}
	device := spec.GetDevice("d")
	if device == nil {
		return answer{Error: "no device d"}
	}
	out := &oci.Spec{Process: &oci.Process{}, Linux: &oci.Linux{}}
	if err := spec.ApplyEdits(out); err != nil {
		return answer{Error: err.Error()}
	}
	if err := device.ApplyEdits(out); err != nil {
		return answer{Error: err.Error()}
	}
	return answer{Spec: out}
}

func main() {
	encoder := json.NewEncoder(os.Stdout)
	for _, path := range os.Args[1:] {
		if err := encoder.Encode(read(path)); err != nil {
			log.Fatalf("write the answer: %v", err)
		}
	}
}
