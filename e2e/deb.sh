#!/bin/bash
# Builds the Debian package, installs it in a separate Debian tree, checks its files, and removes and purges it.
# e2e/vm/package.sh does the same in the test VM, where systemd also starts the daemon.
set -euo pipefail

top=$(cd "$(dirname "$0")/.." && pwd)
cache=${HOLDFAST_TEST_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/holdfast-e2e}
[ "$(id -u)" = 0 ] || { echo "deb.sh: dpkg changes root's files: run as root" >&2; exit 1; }
fail() { echo "FAIL deb.sh: $*" >&2; exit 1; }

package=$("$top/deploy/package.sh")
dir=$(mktemp -d /var/tmp/holdfast-deb.XXXXXX)
trap 'rm -rf --one-file-system "$dir"' EXIT
tree=$dir/debian
mkdir "$tree"
# The same tree that the tests of images have, made once.
if [ ! -e "$cache/debootstrap-minbase.tar" ]; then
  debootstrap --variant=minbase "$(. /etc/os-release && echo "$VERSION_CODENAME")" "$tree" >"$dir/log" 2>&1 ||
    { tail -n 20 "$dir/log" >&2; fail "debootstrap"; }
  tar -C "$tree" --numeric-owner -cf "$cache/debootstrap-minbase.tar.$$" .
  mv "$cache/debootstrap-minbase.tar.$$" "$cache/debootstrap-minbase.tar"
else
  tar -C "$tree" --numeric-owner -xf "$cache/debootstrap-minbase.tar"
fi
cp "$package" "$tree/holdfast.deb"
inside() { chroot "$tree" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive "$@"; }

# What the package needs and the tree lacks is named by apt; minbase has libc and libseccomp.
inside dpkg -i /holdfast.deb >"$dir/log" 2>&1 || { cat "$dir/log" >&2; fail "dpkg -i"; }
inside dpkg --audit | grep . && fail "dpkg --audit complains"
inside holdfast --version | grep -q "^holdfast " || fail "holdfast does not run"
inside holdfastd --print-config | grep -q socket || fail "holdfastd does not read its configuration"
for file in /usr/bin/holdfast-shim /usr/lib/systemd/system/holdfastd.service /etc/holdfast/config.toml \
  /usr/lib/modules-load.d/holdfast.conf /usr/share/bash-completion/completions/holdfast \
  /usr/share/zsh/vendor-completions/_holdfast /usr/share/fish/vendor_completions.d/holdfast.fish \
  /usr/share/holdfast/crictl.yaml /usr/share/doc/holdfast/README.md /usr/share/holdfast/pods/two-containers.yaml; do
  [ -e "$tree$file" ] || fail "there is no $file"
done
grep -q '^ExecStart=/usr/bin/holdfastd$' "$tree/usr/lib/systemd/system/holdfastd.service" || fail "the unit starts another program"
for verb in run ns enter why; do
  page=$(ls "$tree"/usr/share/man/man1/holdfast-$verb.1* 2>/dev/null) || fail "there is no man page of $verb"
  case $page in *.gz) zcat "$page" ;; *) cat "$page" ;; esac | grep -q '^\.SH NAME' || fail "$page is no man page"
done
inside dpkg-query -W -f '${Conffiles}' holdfast | grep -q /etc/holdfast/config.toml || fail "config.toml is no conffile"
echo '# of the operator' >>"$tree/etc/holdfast/config.toml"

inside dpkg -r holdfast >"$dir/log" 2>&1 || { cat "$dir/log" >&2; fail "dpkg -r"; }
[ ! -e "$tree/usr/bin/holdfastd" ] || fail "dpkg -r leaves holdfastd"
grep -q operator "$tree/etc/holdfast/config.toml" || fail "dpkg -r takes the operator's configuration"
inside dpkg -P holdfast >"$dir/log" 2>&1 || { cat "$dir/log" >&2; fail "dpkg -P"; }
left=$(cd "$tree" && find . -xdev -name '*holdfast*' ! -path ./holdfast.deb)
[ -z "$left" ] || fail "dpkg -P leaves $left"
echo "deb.sh: $(basename "$package"), $(du -h "$package" | cut -f1): installed, looked at, removed, purged"
