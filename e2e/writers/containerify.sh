#!/bin/bash
# containerify, from npm: a Node.js program on a base, without Docker.
set -euo pipefail
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
version=4.1.0
tool=$writers/containerify-$version
if [ ! -e "$tool/node_modules/containerify/lib/cli.js" ]; then
  quiet npm install --silent --no-fund --no-audit --prefix "$tool" containerify@$version
fi
trees
serve
tar -C "$work/tree" -cf "$work/1.tar" --xattrs --xattrs-include='*' --numeric-owner .
quiet crane append -f "$work/1.tar" -t "$registry/base:1"
quiet crane mutate "$registry/base:1" --set-platform "linux/$architecture" --env PATH=/bin --entrypoint /made --cmd containerify -t "$registry/base:1"
mkdir -p "$work/app/content"
echo '{"name":"app","version":"1.0.0","dependencies":{}}' >"$work/app/package.json"
echo '{"name":"app","version":"1.0.0","lockfileVersion":3,"packages":{}}' >"$work/app/package-lock.json"
mkdir "$work/app/node_modules"
echo 'console.log("app")' >"$work/app/index.js"
echo content >"$work/app/content/file"
containerify() {
  quiet node "$tool/node_modules/containerify/lib/cli.js" --fromRegistry "http://$registry/v2/" --fromImage base:1 --folder "$work/app" "$@"
}
containerify --toImage localhost/containerify:app --toTar "$out/app.tar" --entrypoint "/made containerify" --user 1234:2345 \
  --workdir /app --env A=1 --label one=1 --setTimeStamp 2020-01-01T00:00:00Z
case_of app docker-archive app.tar - "containerify as 1234:2345 in /app A=1"
containerify --toImage localhost/containerify:content --toTar "$out/content.tar" --customContent content:/content --env A=1
case_of content docker-archive content.tar - "containerify as 0:0 in / A=1"
containerify --toImage localhost/containerify:layout --toOciLayout "$out/layout.tar" --customContent content:/content --env A=1
case_of layout oci-archive layout.tar - "containerify as 0:0 in / A=1"
containerify --toImage pushed:1 --toRegistry "http://$registry/v2/" --allowNoPushAuth --customContent content:/content --env A=1
quiet crane pull --format oci "$registry/pushed:1" "$out/pushed"
case_of pushed oci pushed - "containerify as 0:0 in / A=1"
finish
