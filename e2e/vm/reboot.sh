#!/bin/bash
# Tests a real reboot and systemd's watchdog in the test VM. While pods run the machine loses its power; after the next boot
# the daemon must know which containers had ended, release what outlived the boot, and run pods again. When the daemon hangs,
# systemd must start another one.
#
# The VM gets the programs that are built, so run `make build` before, and `test.sh critest` or `build-vm.sh` once for the VM.
# HOLDFAST_BIN_DIR, HOLDFAST_TEST_CACHE as in e2e/run.sh; VM_* as in vm.sh. About two minutes.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../.." && pwd)
cache=${HOLDFAST_TEST_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/holdfast-e2e}
bin=${HOLDFAST_BIN_DIR:-${CARGO_TARGET_DIR:-$top/target}/release}
export VM_CACHE=${VM_CACHE:-$cache/vm} VM_DISK=6G VM_MEMORY=3G VM_TIMEOUT=${VM_TIMEOUT:-900}
. "$here/vm.sh"

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
mkdir -p "$dir/share/bin" "$dir/share/tree"/{bin,etc,tmp,proc,sys,dev}
cp "$bin"/{holdfastd,holdfast,holdfast-shim} "$cache/bin/crictl" "$(command -v busybox)" "$dir/share/bin/"
cp -r "$top/deploy" "$here/guest-reboot" "$dir/share/"
cp "$(command -v busybox)" "$dir/share/tree/bin/"
for applet in sh sleep seq echo cat; do ln -s busybox "$dir/share/tree/bin/$applet"; done
echo 'root:x:0:0:root:/root:/bin/sh' >"$dir/share/tree/etc/passwd"

# One disk for both boots; the image of the cache stays as it is.
qemu-img create -q -f qcow2 -F raw -b "$VM_CACHE/root.ext4" "$dir/disk.qcow2"

# Boots, runs guest-reboot/$1 and takes the power away.
boot() {
  local control=$dir/control
  rm -rf "$control"
  mkdir "$control"
  echo "sh guest-reboot/$1" >"$control/command"
  mkfifo "$control/go"
  exec 3<>"$control/go"
  date +%s >&3
  (vm_start "$control" "$dir/share" -drive "file=$dir/disk.qcow2,format=qcow2,if=virtio" -serial "file:$control/console" \
    -monitor none -chardev stdio,id=agent <"$control/go") || true
  exec 3>&-
  [ -s "$control/status" ] || { tail -n 40 "$control/console" >&2; exit 125; }
  return "$(cat "$control/status")"
}

echo "== first boot"
boot before.sh
echo "== second boot"
boot after.sh
echo "reboot.sh: passed"
