#!/bin/bash
# BuildKit 0.34.2: `--output type=docker` with provenance writes an archive without manifest.json, which the readers of
# docker-archives do not take.
#
# Valid input: a Dockerfile of one COPY, built with and without --opt attest:provenance=mode=min.
#
# Behaviour: with an attestation the result is an index of two manifests, and the exporter then leaves manifest.json
# out without a word. What remains is an OCI layout in a file that is said to be Docker's: Docker since 25 and
# containerd load it; what reads `docker save`, such as crane, skopeo's docker-archive: and Docker before 25, does not.
# Seen:
#   without provenance: index.json manifest.json oci-layout; crane 0.22.1 says: PASS: plain.tar
#   with provenance: index.json oci-layout; crane 0.22.1 says: Error: failed to read image attested.tar: file manifest.json not found in tar
#
#   buildkit-docker-without-manifest-json.sh     needs go, and root for buildkitd; ends with 1 when the behaviour is another
set -euo pipefail

[ "$(id -u)" = 0 ] || { echo "buildkitd runs as root" >&2; exit 2; }
work=$(mktemp -d)
daemon=
trap '[ -z "$daemon" ] || { kill $daemon; wait $daemon || true; }; rm -rf "$work"' EXIT
cd "$work"
export GOBIN=$work/bin GOFLAGS=-buildvcs=false CGO_ENABLED=0
# The module excludes others, which `go install` refuses: so a copy of it is the main module.
source=$(go mod download -json github.com/moby/buildkit@v0.34.2 | sed -n 's/^\t"Dir": "\(.*\)",$/\1/p')
cp -r "$source" buildkit
chmod -R u+w buildkit
(cd buildkit && go build -trimpath -ldflags '-s -w' -o "$GOBIN/" ./cmd/buildctl ./cmd/buildkitd)
go install github.com/google/go-containerregistry/cmd/crane@v0.22.1
# It asks whether there is a runc; nothing here is run in a container.
printf '#!/bin/sh\nexit 1\n' >bin/runc
chmod +x bin/runc
export PATH=$work/bin:$PATH
mkdir context state
echo hello >context/file
printf 'FROM scratch\nCOPY file /file\n' >context/Dockerfile
cat >buildkitd.toml <<TOML
root = "$work/state"
[grpc]
  address = ["unix://$work/sock"]
[worker.oci]
  snapshotter = "native"
[worker.containerd]
  enabled = false
TOML
buildkitd --config buildkitd.toml >daemon.log 2>&1 &
daemon=$!
for _ in $(seq 100); do
  buildctl --addr "unix://$work/sock" debug workers >/dev/null 2>&1 && break
  sleep 0.1
done
build() {
  local file=$1
  shift
  buildctl --addr "unix://$work/sock" build --frontend dockerfile.v0 --local context=context --local dockerfile=context \
    --progress plain --output "type=docker,name=localhost/app:1,dest=$file" "$@" >build.log 2>&1 || { cat build.log >&2; exit 1; }
}
told() {
  local names said
  names=$(tar -tf "$1" | grep -v blobs | sort | tr '\n' ' ')
  said=$(crane validate --tarball "$1" 2>&1 || true)
  said=${said//"$work/"/}
  echo "${names% }; crane 0.22.1 says: $said"
}
build plain.tar
build attested.tar --opt attest:provenance=mode=min
plain=$(told plain.tar)
attested=$(told attested.tar)
printf 'without provenance: %s\nwith provenance: %s\n' "$plain" "$attested"
[ "$plain / $attested" = "index.json manifest.json oci-layout; crane 0.22.1 says: PASS: plain.tar / index.json oci-layout; crane 0.22.1 says: Error: failed to read image attested.tar: file manifest.json not found in tar" ] ||
  { echo "the behaviour is another" >&2; exit 1; }
