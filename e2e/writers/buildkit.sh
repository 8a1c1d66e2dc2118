#!/bin/bash
# BuildKit: a Dockerfile without RUN by a daemon of its own, in its formats and compressions, with attestations.
set -euo pipefail
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
trees
home=$work/buildkit
mkdir "$home" "$work/context"
cp -a "$work/tree" "$work/context/tree"
cat >"$work/context/Dockerfile" <<'DOCKERFILE'
FROM scratch AS base
COPY tree /
FROM base
COPY --chown=5:6 --chmod=600 tree/data/mark /copied/mark
COPY --link tree/etc/group /linked/group
ENV A=1 PATH=/bin
USER maker
WORKDIR /data/private
LABEL one=1
VOLUME ["/tmp/kept"]
EXPOSE 80/tcp
STOPSIGNAL SIGUSR1
ENTRYPOINT ["/made"]
CMD ["buildkit"]
DOCKERFILE
serve
cat >"$home/buildkitd.toml" <<EOT
root = "$home/root"
[grpc]
  address = ["unix://$home/sock"]
[worker.oci]
  snapshotter = "native"
[worker.containerd]
  enabled = false
[registry."$registry"]
  http = true
EOT
# It will not start without a runc, which nothing here runs.
mkdir "$work/bin"
ln -s "$(command -v crun)" "$work/bin/runc"
export PATH=$work/bin:$PATH
buildkitd --config "$home/buildkitd.toml" >"$home/log" 2>&1 &
daemon=$!
server=$(jobs -p | head -n1)
trap 'kill $daemon $server 2>/dev/null || true; wait $daemon 2>/dev/null || true; rm -rf "$work"' EXIT
buildctl() { command buildctl --addr "unix://$home/sock" "$@"; }
for _ in $(seq 100); do
  buildctl debug workers >/dev/null 2>&1 && break
  sleep 0.1
done
# build OUTPUT [OPTION ...]
build() {
  local output=$1
  shift
  quiet buildctl build --frontend dockerfile.v0 --local context="$work/context" --local dockerfile="$work/context" \
    --progress plain --output "$output" "$@" || { tail -5 "$home/log" >&2; exit 1; }
}
build "type=docker,name=localhost/buildkit:docker,dest=$out/docker.tar"
case_of docker docker-archive docker.tar localhost/buildkit:docker "$prints"
for compression in gzip zstd estargz uncompressed; do
  build "type=oci,name=localhost/buildkit:$compression,dest=$out/$compression.tar,compression=$compression,force-compression=true"
  case_of oci-$compression oci-archive $compression.tar $compression "$prints" localhost/buildkit:$compression
done
build "type=oci,dest=$out/unnamed.tar,oci-mediatypes=false"
case_of unnamed oci-archive unnamed.tar - "$prints"
build "type=oci,dest=$out/layout,tar=false,rewrite-timestamp=true" --opt build-arg:SOURCE_DATE_EPOCH=1600000000
case_of layout oci layout - "$prints"
# With provenance, which makes an index with an image for the platform unknown/unknown.
build "type=oci,name=localhost/buildkit:attested,dest=$out/attested.tar" --opt attest:provenance=mode=max
case_of attested oci-archive attested.tar attested "$prints" localhost/buildkit:attested
# The same for Docker's format: then there is no manifest.json, and the layout alone says what the image is.
build "type=docker,name=localhost/buildkit:attested,dest=$out/docker-attested.tar" --opt attest:provenance=mode=min
case_of docker-attested oci-archive docker-attested.tar attested "$prints" localhost/buildkit:attested
build "type=image,name=$registry/pushed:1,push=true" --opt attest:provenance=mode=min
quiet skopeo copy --all --src-tls-verify=false "docker://$registry/pushed:1" "oci:$out/pushed"
case_of pushed oci pushed - "$prints"
build "type=tar,dest=$out/rootfs.tar"
case_of tar rootfs rootfs.tar - -
finish
