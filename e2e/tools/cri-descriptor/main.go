// Command cri-descriptor writes the descriptor of the CRI that Kubernetes ships, as an encoded
// google.protobuf.FileDescriptorProto, to its standard output. The descriptor is the one linked
// into every kubelet, not one compiled anew from a text.
//
// Two versions of one module do not fit into one program, so it is run once with each of two module
// files: go.mod has the beta that proto/ equals, release.mod the release that proto/ contains.
package main

import (
	"log"
	"os"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"
)

func main() {
	// Asked of a message: the name of the file's own variable depends on where it was generated.
	file := protodesc.ToFileDescriptorProto(new(runtime.VersionRequest).ProtoReflect().Descriptor().ParentFile())
	encoded, err := proto.Marshal(file)
	if err != nil {
		log.Fatalf("encode the descriptor: %v", err)
	}
	if _, err := os.Stdout.Write(encoded); err != nil {
		log.Fatalf("write the descriptor: %v", err)
	}
}
