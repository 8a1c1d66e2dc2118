#!/bin/bash
# go-containerregistry's command: layers from tars, an empty base, docker-archives and OCI layouts.
set -euo pipefail
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
trees
tar -C "$work/tree" -cf "$work/1.tar" --xattrs --xattrs-include='*' --numeric-owner .
printf 'second\n' >"$work/second"
tar -C "$work" -cf "$work/2.tar" --numeric-owner second
gzip -k "$work/1.tar"

# An image that is appended to nothing has neither Cmd nor Env: it cannot run without a command.
quiet crane append -f "$work/1.tar" -t localhost/crane:plain -o "$out/plain.tar"
case_of plain docker-archive plain.tar localhost/crane:plain -
quiet crane append -f "$work/1.tar.gz" -f "$work/2.tar" -f "$work/2.tar" -t localhost/crane:again -o "$out/again.tar"
case_of again docker-archive again.tar localhost/crane:again -
quiet crane append --oci-empty-base -f "$work/1.tar" -t localhost/crane:oci -o "$out/oci.tar"
case_of oci docker-archive oci.tar localhost/crane:oci -
# What changes the configuration goes through a registry.
serve
at=$registry/crane
quiet crane append -f "$work/1.tar" -t "$at:base"
quiet crane mutate "$at:base" --entrypoint /made --cmd crane --user maker --workdir /data/private \
  --env A=1 --env B=two --env PATH=/bin --label one=1 --exposed-ports 80/tcp --set-platform "linux/$architecture" -t "$at:full"
quiet crane append -b "$at:full" -f "$work/2.tar" -t "$at:more"
quiet crane pull "$at:more" "$out/full.tar"
case_of full docker-archive full.tar "$at:more" "crane as 1234:2345 in /data/private A=1"
quiet crane pull --format oci "$at:more" "$out/layout"
case_of layout oci layout - "crane as 1234:2345 in /data/private A=1"
quiet crane pull --format legacy "$at:more" "$out/legacy.tar"
case_of legacy docker-archive legacy.tar "$at:more" "crane as 1234:2345 in /data/private A=1"
quiet crane flatten "$at:more" -t "$at:flat"
quiet crane pull "$at:flat" "$out/flat.tar"
case_of flat docker-archive flat.tar "$at:flat" "crane as 1234:2345 in /data/private A=1"
quiet crane pull "$at:more" "$at:flat" "$at:base" "$out/several.tar"
case_of several docker-archive several.tar "$at:flat" "crane as 1234:2345 in /data/private A=1"
quiet crane index append -m "$at:more" -m "$at:flat" -t "$at:index" || true
quiet crane export "$at:more" "$out/export.tar"
case_of export rootfs export.tar - -
finish
