#!/bin/bash
# Archives in the layouts of rules_oci and rules_docker, whose own code is in no registry: written by hand after
# their documentation.
set -euo pipefail
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
trees
for form in rules-oci rules-oci-layout rules-docker; do
  python3 "$here/archives.py" $form "$work" "$out/$form.tar"
  kind=docker-archive
  [ $form != rules-oci-layout ] || kind=oci-archive
  case_of $form $kind $form.tar localhost/bazel:$form "bazel as 0:0 in / A=1"
done
finish
