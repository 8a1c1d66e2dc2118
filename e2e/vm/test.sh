#!/bin/bash
# Runs critest or the black-box tests in the test VM: pure cgroup v2, systemd, AppArmor, another kernel.
#
#   test.sh critest [ARGUMENT ...]    arguments as in e2e/critest/main.rs, such as --set cgroup.driver=systemd
#   test.sh e2e [FILTER ...]          tests whose names contain a FILTER
#
# The VM gets the programs that are built, so run `make build` before. The guest has no network: crictl and the images come
# from the test cache of this machine. VM_PREPARED=1 says that the VM and the test cache are ready.
# HOLDFAST_BIN_DIR, HOLDFAST_TEST_CACHE as in e2e/run.sh; VM_* as in vm.sh.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../.." && pwd)
target=${CARGO_TARGET_DIR:-$top/target}
cache=${HOLDFAST_TEST_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/holdfast-e2e}
export VM_CACHE=${VM_CACHE:-$cache/vm}
export VM_PACKAGES="docker-registry python3 openssl perl-base libseccomp2 sudo zstd" VM_DISK=6G VM_MEMORY=3G
export VM_TIMEOUT=${VM_TIMEOUT:-1800}
# The tests know their own sources by the path that they were built at.
export CARGO_TARGET_DIR=$target

usage() { sed -n '4,5s/^# *//p' "$0" >&2; exit 2; }

# The images of the tests, pushed once into the registry of the cache.
push_images() {
  "$top/e2e/images/registry.sh" start vm >/dev/null
  local failed=0
  python3 "$top/e2e/images/build_images.py" --registry "$(cat "$cache/registry/vm/address")" || failed=1
  "$top/e2e/images/registry.sh" stop vm
  rm -rf "$cache/registry/vm"
  return $failed
}

# Everything that the guest gets, in the directory $1. Of the cache one archive: file by file takes minutes.
stage() {
  mkdir -p "$1/bin" "$1/source"
  local bin=${HOLDFAST_BIN_DIR:-$target/release} test
  cp "$bin"/{holdfastd,holdfast,holdfast-shim} "$target/debug/conformance" "$cache"/bin/{crictl,critest,ginkgo} "$1/bin/"
  test=$(cd "$top" && cargo test -q --workspace --test socket --no-run --message-format=json |
    sed -n 's/.*"executable":"\([^"]*\/socket-[^"]*\)".*/\1/p' | tail -n1)
  cp "$test" "$1/bin/socket"
  [ ! -d "$cache/bin/cni" ] || cp -r "$cache/bin/cni" "$1/bin/"
  cp -r "$top/e2e" "$top/pods" "$top/deploy" "$1/source/"
  # The guest has no Go.
  for program in cdi seccomp; do
    (cd "$top/e2e/tools/oci-reference" && CGO_ENABLED=0 GOFLAGS="-mod=readonly -buildvcs=false" go build -o "$1/bin/oci-reference/$program" "./$program")
  done
  tar -C "$cache" --exclude=vm --exclude=go --exclude=bin -cf "$1/cache.tar" registry images
  cat >"$1/guest.sh" <<EOF
set -eu
mkdir -p "\$HOME/.cache/holdfast-e2e" "$(dirname "$top")" /var/tmp
tar -C "\$HOME/.cache/holdfast-e2e" -xf cache.tar
# Not over 9p: a plugin that is read from there for each of its calls misses the daemon's deadlines.
cp -r /mnt/host/bin "\$HOME/.cache/holdfast-e2e/bin"
[ -e "$top" ] || ln -s /mnt/host/source "$top"
export HOLDFAST_BIN_DIR=\$HOME/.cache/holdfast-e2e/bin PATH=\$HOME/.cache/holdfast-e2e/bin:\$PATH HOLDFAST_E2E_SKIPPED=/mnt/host/skipped HOLDFAST_TEST_IMAGES=kept
export HOLDFAST_E2E_REFERENCES=\$HOME/.cache/holdfast-e2e/bin
cd "$top"
exec "\$@"
EOF
}

case ${1:-} in
critest) command="conformance" ;;
e2e) command="socket --test-threads=2" ;;
*) usage ;;
esac
shift
if [ -z "${VM_PREPARED:-}" ]; then
  [ -e "$VM_CACHE/ready.state" ] || "$here/build-vm.sh"
  push_images
  (cd "$top" && cargo build -q --workspace --bin conformance)
fi
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
stage "$dir"
"$here/run-in-vm.sh" "$dir" "sh guest.sh $command $*"
