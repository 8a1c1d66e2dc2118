#!/bin/bash
# Installs the Debian package in the test VM, under systemd, uses it, upgrades it while a pod runs, removes and purges it.
#
#   package.sh [PACKAGE.deb]    default: the package that deploy/package.sh makes
#
# The VM has to be there: `test.sh critest` or `build-vm.sh`. HOLDFAST_TEST_CACHE as in e2e/run.sh; VM_* as in vm.sh.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../.." && pwd)
cache=${HOLDFAST_TEST_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/holdfast-e2e}
export VM_CACHE=${VM_CACHE:-$cache/vm} VM_DISK=6G VM_MEMORY=3G VM_TIMEOUT=${VM_TIMEOUT:-900}

package=${1:-$("$top/deploy/package.sh")}
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cp "$package" "$dir/holdfast.deb"
cp "$(command -v busybox)" "$cache/bin/crictl" "$dir/"
cat >"$dir/guest.sh" <<'GUEST'
set -eu
fail() { echo "FAIL: $*" >&2; journalctl -u holdfastd --no-pager | tail -n 40 >&2; exit 1; }
must() { what=$1; shift; "$@" >/tmp/out 2>&1 || { cat /tmp/out >&2; fail "$what"; }; }
install -m 755 busybox crictl /usr/local/bin/
must "dpkg -i" dpkg -i holdfast.deb
must "the service is active" systemctl is-active holdfastd
must "and enabled" systemctl is-enabled holdfastd
must "the daemon is the package's" sh -c '[ "$(readlink /proc/$(systemctl show -P MainPID holdfastd)/exe)" = /usr/bin/holdfastd ]'
must "doctor" holdfast doctor
cp /usr/share/holdfast/crictl.yaml /etc/crictl.yaml
must "crictl by its sample" crictl info
cd /usr/share/holdfast
must "the tour's first stop" holdfast tour --yes two-containers
grep -q 'hello from a' /tmp/out || fail "the tour: $(cat /tmp/out)"
must "a pod" holdfast run pods/two-containers.yaml
echo "ok: installed, started, runs pods"

pid=$(systemctl show -P MainPID holdfastd)
cd /mnt/host
must "upgrade" dpkg -i holdfast.deb
[ "$(systemctl show -P MainPID holdfastd)" != "$pid" ] || fail "an upgrade does not start the new daemon"
must "the pod survives an upgrade" holdfast exec two-containers/b -- wget -q -O - http://127.0.0.1:8080/
echo "ok: upgraded, the pod ran on"

must "dpkg -r" dpkg -r holdfast
systemctl is-active holdfastd >/dev/null 2>&1 && fail "the service outlives its package"
[ ! -e /usr/bin/holdfastd ] && [ ! -e /usr/lib/systemd/system/holdfastd.service ] || fail "files are left"
ps -e -o comm | grep -q holdfast && fail "processes are left: $(ps -e -o pid,args | grep holdfast)"
[ -e /etc/holdfast/config.toml ] || fail "the configuration went with the removal"
must "dpkg -P" dpkg -P holdfast
[ ! -e /etc/holdfast ] && [ ! -e /var/lib/holdfast ] || fail "purged, and left: $(ls -d /etc/holdfast /var/lib/holdfast 2>/dev/null)"
echo "ok: removed and purged, nothing is left"
GUEST
"$here/run-in-vm.sh" "$dir" "sh guest.sh"
echo "package.sh: passed"
