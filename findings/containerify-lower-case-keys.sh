#!/bin/bash
# containerify 4.1.0 (npm) writes archives for `docker load` whose manifest.json has other keys than the specification,
# and every reader that is written in Go takes them.
#
# Valid input: a Node.js program on a base from a registry, exported with --toTar.
#
# Behaviour: the Docker image specification (v1.2, "Combined Image JSON + Filesystem Changeset Format") calls the keys
# Config, RepoTags and Layers. containerify writes config, repoTags and layers. Go's encoding/json matches keys of any
# case, so docker load, podman, skopeo and crane read them as if nothing was wrong; a reader in another language that
# goes by the specification finds an image without configuration and layers. The tool's `--toDocker` depends on that.
# Seen:
#   containerify 4.1.0 writes the keys: config layers repoTags
#   crane 0.22.1 says: PASS
#
#   containerify-lower-case-keys.sh     needs go, node, npm and python3; ends with 1 when the behaviour is another
set -euo pipefail

work=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill $server; rm -rf "$work"' EXIT
cd "$work"
export GOBIN=$work/bin GOFLAGS=-buildvcs=false CGO_ENABLED=0
go install github.com/google/go-containerregistry/cmd/crane@v0.22.1
npm install --silent --no-fund --no-audit --prefix tool containerify@4.1.0 >/dev/null

: >registry.log
bin/crane registry serve --address 127.0.0.1:0 >registry.log 2>&1 &
server=$!
port=
for _ in $(seq 100); do
  port=$(sed -n 's/.*serving on port \([0-9]*\).*/\1/p' registry.log)
  [ -z "$port" ] || break
  sleep 0.1
done
echo base >file
tar -cf base.tar file
bin/crane append -f base.tar -t "127.0.0.1:$port/base:1" >/dev/null 2>&1
bin/crane mutate "127.0.0.1:$port/base:1" --set-platform linux/amd64 -t "127.0.0.1:$port/base:1" >/dev/null 2>&1

mkdir -p app/content
echo '{"name":"app","version":"1.0.0"}' >app/package.json
echo content >app/content/file
node tool/node_modules/containerify/lib/cli.js --fromRegistry "http://127.0.0.1:$port/v2/" --fromImage base:1 \
  --folder "$work/app" --toImage localhost/app:1 --toTar "$work/app.tar" --customContent content:/content >tool.log 2>&1 ||
  { cat tool.log >&2; exit 1; }
keys=$(tar -xOf app.tar manifest.json | python3 -c 'import json, sys; print(*sorted(json.load(sys.stdin)[0]))')
echo "containerify 4.1.0 writes the keys: $keys"
said=$(bin/crane validate --tarball app.tar 2>&1 | sed -n 's/^\(PASS\|FAIL\).*/\1/p')
echo "crane 0.22.1 says: $said"
[ "$keys/$said" = "config layers repoTags/PASS" ] || { echo "the behaviour is another" >&2; exit 1; }
