#!/bin/bash
# podman save, in each format, and archives of several images.
set -euo pipefail
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
podman() { command podman --storage-driver vfs --cgroup-manager cgroupfs --events-backend none "$@"; }
buildah() { command buildah --storage-driver vfs "$@"; }
built
quiet buildah commit --format docker "$container" localhost/podman:1
quiet podman tag localhost/podman:1 localhost/podman:too
for format in docker-archive oci-archive; do
  quiet podman save --format $format -o "$out/$format.tar" localhost/podman:1
  case_of $format $format $format.tar localhost/podman:1 "$prints"
done
quiet podman save --format docker-archive -m -o "$out/several.tar" localhost/podman:1 localhost/podman:too
case_of several docker-archive several.tar localhost/podman:too "$prints"
quiet podman save --format docker-dir -o "$out/docker-dir" localhost/podman:1
case_of docker-dir dir docker-dir - "$prints"
quiet podman save --format oci-dir -o "$out/oci-dir" localhost/podman:1
case_of oci-dir oci oci-dir - "$prints"
quiet podman save --compress --format docker-dir -o "$out/docker-dir-gzip" localhost/podman:1
case_of docker-dir-gzip dir docker-dir-gzip - "$prints"
quiet podman save --uncompressed --format oci-archive -o "$out/plain.tar" localhost/podman:1 &&
  case_of oci-archive-plain oci-archive plain.tar - "$prints"
# A file system with no image around it.
tar -C "$work/changed" -cf "$work/changed.tar" --xattrs --xattrs-include='*' .
quiet podman import --change 'ENTRYPOINT ["/made"]' --change "CMD podman" --change USER=maker --change WORKDIR=/data/private \
  --change ENV=A=1 --message "an import" "$work/changed.tar" localhost/podman:imported
quiet podman save -o "$out/imported.tar" localhost/podman:imported
# podman takes the command for a line of the shell.
case_of imported docker-archive imported.tar localhost/podman:imported "/bin/sh as 1234:2345 in /data/private A=1"
finish
