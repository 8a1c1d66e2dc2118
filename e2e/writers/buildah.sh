#!/bin/bash
# buildah: images from scratch, committed and pushed in each of its formats.
set -euo pipefail
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
buildah() { command buildah --storage-driver vfs "$@"; }
built
for format in oci docker; do
  quiet buildah commit --format $format "$container" localhost/buildah:$format
  quiet buildah push --format docker localhost/buildah:$format "docker-archive:$out/$format-docker-archive.tar:localhost/buildah:$format"
  case_of $format-docker-archive docker-archive $format-docker-archive.tar localhost/buildah:$format "$prints"
  quiet buildah push localhost/buildah:$format "oci-archive:$out/$format-oci-archive.tar:localhost/buildah:$format"
  case_of $format-oci-archive oci-archive $format-oci-archive.tar localhost/buildah:$format "$prints"
done
quiet buildah push localhost/buildah:oci "oci:$out/layout:it"
case_of layout oci layout it "$prints"
quiet buildah commit --omit-history --omit-timestamp "$container" localhost/buildah:bare
quiet buildah push localhost/buildah:bare "oci-archive:$out/bare.tar"
case_of bare oci-archive bare.tar - "$prints"
quiet buildah commit --squash "$container" localhost/buildah:squashed
quiet buildah push localhost/buildah:squashed "docker-archive:$out/squashed.tar:localhost/buildah:squashed"
case_of squashed docker-archive squashed.tar localhost/buildah:squashed "$prints"
# A Dockerfile without RUN, whose instructions make layers that are empty.
mkdir "$work/context"
cp -a "$work/tree" "$work/context/tree"
cat >"$work/context/Dockerfile" <<'DOCKERFILE'
FROM scratch
COPY tree /
ENV A=1 PATH=/bin
USER maker
WORKDIR /data/private
COPY --chown=5:6 tree/data/mark /copied/mark
LABEL one=1
VOLUME ["/tmp/kept"]
EXPOSE 80/tcp
STOPSIGNAL SIGUSR1
HEALTHCHECK NONE
ENTRYPOINT ["/made"]
CMD ["buildah"]
DOCKERFILE
for format in oci docker; do
  quiet buildah bud --layers --isolation chroot --format $format -t localhost/buildah:bud-$format "$work/context"
done
quiet buildah push localhost/buildah:bud-oci "oci-archive:$out/bud-oci.tar"
case_of bud-oci oci-archive bud-oci.tar - "$prints"
quiet buildah push localhost/buildah:bud-docker "docker-archive:$out/bud-docker-archive.tar:localhost/buildah:bud"
case_of bud-docker-archive docker-archive bud-docker-archive.tar localhost/buildah:bud "$prints"
finish
