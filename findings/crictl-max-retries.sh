#!/bin/bash
# crictl 1.37 has an option --max-retries, default 3. Any configuration file without the key max-retries sets it to 0:
# the file's zero value replaces the option's default, and the daemon is tried once. With the key in the file, crictl
# before 1.37 refuses the whole file. So no one file serves both.
#
# Needs Go and a network. Takes some minutes: two releases of crictl are built.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export CGO_ENABLED=0
for version in v1.34.0 v1.37.0; do
  GOBIN=$work/$version go install -trimpath "sigs.k8s.io/cri-tools/cmd/crictl@$version"
done

cat >"$work/without.yaml" <<END
runtime-endpoint: unix://$work/nobody.sock
image-endpoint: unix://$work/nobody.sock
timeout: 1
END
{ cat "$work/without.yaml"; echo "max-retries: 3"; } >"$work/with.yaml"

# How often a crictl says that it tries again.
retries() {
  local version=$1 file=$2
  "$work/$version/crictl" --debug --config "$work/$file" version 2>&1 | tee "$work/out" | grep -c 'Connection attempt' || true
}

failed=0
expect() {
  echo "$1: $2 (expected $3)"
  [ "$2" = "$3" ] || failed=1
}

"$work/v1.37.0/crictl" --help 2>&1 | grep -- --max-retries
expect "crictl 1.37.0, file without max-retries: retries" "$(retries v1.37.0 without.yaml)" 0
expect "crictl 1.37.0, file with max-retries: 3: retries" "$(retries v1.37.0 with.yaml)" 3
retries v1.34.0 with.yaml >/dev/null
sed 's/^/crictl 1.34.0, file with max-retries: /' "$work/out"
grep -q "Config option 'max-retries' is not valid" "$work/out" || failed=1
exit $failed

# Seen on 2026-11-30, linux/amd64:
#   --max-retries value  Max retries for connecting to an explicitly set endpoint with exponential backoff … (default: 3)
#   crictl 1.37.0, file without max-retries: retries: 0 (expected 0)
#   crictl 1.37.0, file with max-retries: 3: retries: 3 (expected 3)
#   crictl 1.34.0, file with max-retries: … "Config option 'max-retries' is not valid"
