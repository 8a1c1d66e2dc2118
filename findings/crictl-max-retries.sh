#!/bin/bash
# A configuration file of crictl 1.37.0 that does not name max-retries turns the retries off, whose default is 3; one
# that names it is refused by every crictl before 1.37. So no one file serves both.
#
# Valid input: a crictl.yaml with endpoints and a timeout, as documentation has shown it for years, and the same with
# the key max-retries, which crictl 1.37 documents with the default 3.
#
# Behaviour: the file's zero value replaces the option's default, so an endpoint that is about to come is tried once
# instead of four times. crictl 1.34.0 takes no key that it does not know and ends at once.
# Seen:
#   crictl 1.37.0, file without max-retries: 0 retries
#   crictl 1.37.0, file with max-retries: 3: 3 retries
#   crictl 1.34.0, file with max-retries: 3: Config option 'max-retries' is not valid
#
#   crictl-max-retries.sh     needs go; two crictl are built; ends with 1 when the behaviour is another
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
  echo "$1: $2 retries"
  [ "$2" = "$3" ] || failed=1
}
expect "crictl 1.37.0, file without max-retries" "$(retries v1.37.0 without.yaml)" 0
expect "crictl 1.37.0, file with max-retries: 3" "$(retries v1.37.0 with.yaml)" 3
retries v1.34.0 with.yaml >/dev/null
refusal=$(grep -o "Config option 'max-retries' is not valid" "$work/out" || true)
echo "crictl 1.34.0, file with max-retries: 3: $refusal"
[ -n "$refusal" ] || failed=1
exit $failed
