#!/bin/bash
# skopeo: one image in each form and compression that it writes.
set -euo pipefail
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
made
copy() { quiet skopeo copy "$@"; }
from=oci:$work/made:it
copy "$from" "docker-archive:$out/docker-archive.tar:localhost/skopeo:1"
case_of docker-archive docker-archive docker-archive.tar localhost/skopeo:1 "$prints"
copy "$from" "docker-archive:$out/unnamed.tar"
case_of docker-archive-unnamed docker-archive unnamed.tar - "$prints"
copy "$from" --additional-tag localhost/more:2 "docker-archive:$out/two-names.tar:localhost/skopeo:1"
case_of docker-archive-two-names docker-archive two-names.tar localhost/more:2 "$prints"
copy "$from" "oci-archive:$out/oci-archive.tar:localhost/skopeo:1"
case_of oci-archive oci-archive oci-archive.tar localhost/skopeo:1 "$prints"
copy "$from" "oci-archive:$out/oci-unnamed.tar"
case_of oci-archive-unnamed oci-archive oci-unnamed.tar - "$prints"
for format in gzip zstd; do
  copy --dest-compress-format $format --dest-compress "$from" "oci:$out/oci-$format:it"
  case_of oci-$format oci oci-$format it "$prints"
  copy --dest-compress-format $format --dest-compress "$from" "dir:$out/dir-$format"
  case_of dir-$format dir dir-$format - "$prints"
done
copy --dest-decompress "$from" "dir:$out/dir-plain"
case_of dir-plain dir dir-plain - "$prints"
copy --format v2s2 "$from" "dir:$out/dir-v2s2"
case_of dir-v2s2 dir dir-v2s2 - "$prints"
copy --format v2s2 --dest-decompress "$from" "dir:$out/dir-v2s2-plain"
case_of dir-v2s2-plain dir dir-v2s2-plain - "$prints"
finish
