#!/bin/bash
# Installs what is needed to build and test Holdfast, on Debian or Ubuntu. Running it again does nothing.
#
#   install.sh [build|package|test|peer]    build: enough for `cargo build` and the demo; package: for `make deb`;
#                                           test, the default: for all tests; peer: test, and containerd with runc
#
# Packages come from apt, as root; crictl, critest and ginkgo are built from their Go module, in the version
# that cri-tools/go.mod pins, into $HOLDFAST_TEST_CACHE/bin (default ~/.cache/holdfast-e2e/bin), and network plugins
# from those that cni-plugins/go.mod and cni-flannel/go.mod pin into bin/cni, and containerd and runc, which the
# benchmark runs beside Holdfast, from peer-containerd/go.mod into bin/peer. cargo-deb and cargo-deny are built from
# crates.io.
# Where apt's Go is too old to fetch newer toolchains by itself, one is kept in the same place, with
# a link bin/go. So put that bin, and ~/.cargo/bin, in front of PATH.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
cache=${HOLDFAST_TEST_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/holdfast-e2e}
policy=/usr/sbin/policy-rc.d
export PATH=$cache/bin:$HOME/.cargo/bin:/usr/local/go/bin:$PATH:/usr/sbin:/sbin

build_packages=(build-essential ca-certificates curl iproute2 libseccomp-dev nftables pkg-config)
demo_packages=(busybox-static procps util-linux)
test_packages=(
  binutils buildah containernetworking-plugins debootstrap docker-registry fonts-dejavu-core graphviz iptables librsvg2-bin openssl perl-base
  protobuf-compiler python3 python3-venv skopeo umoci zstd
)

say() { echo "install.sh: $*"; }
fail() { echo "install.sh: $*" >&2; exit 1; }

# Prints those of the packages given that are not installed.
missing() {
  local installed
  installed=$(dpkg-query -W -f '${db:Status-Status} ${Package}\n' "$@" 2>/dev/null || true)
  for package in "$@"; do
    grep -qx "installed $package" <<<"$installed" || echo "$package"
  done
}

# Installs packages and lets none of them start a service: docker-registry's would take a port.
# A policy that the machine has already is left as it is.
apt_install() {
  [ "$(id -u)" = 0 ] || fail "run as root, or install by hand: $*"
  say "apt-get install $*"
  local ours=no
  if [ ! -e $policy ]; then
    ours=yes
    # shellcheck disable=SC2064
    trap "rm -f $policy" EXIT
    printf '#!/bin/sh\nexit 101\n' >$policy
    chmod 755 $policy
  fi
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -q >/dev/null
  apt-get install -q -y --no-install-recommends "$@" >/dev/null
  if [ $ours = yes ]; then rm -f $policy; trap - EXIT; fi
  # The package also starts the service at boot. Only where it was us who brought it in.
  if [[ " $* " == *" docker-registry "* ]] && command -v systemctl >/dev/null; then
    systemctl disable -q docker-registry.service 2>/dev/null || true
  fi
}

install_rust() {
  command -v cargo >/dev/null && return
  if [ -n "$(apt-cache policy rustup 2>/dev/null | sed -n 's/  Candidate: \([^(].*\)/\1/p')" ]; then
    apt_install rustup
    say "rustup default stable"
    rustup default stable
  else
    say "Rust by rustup into ~/.cargo"
    curl --proto '=https' --tlsv1.2 -fsS https://sh.rustup.rs | sh -s -- -y -q --profile minimal -c clippy -c rustfmt
  fi
}

# Whether Go $1 can fetch the toolchain a module asks for, which it does since 1.21.
go_is_recent() {
  local minor
  minor=$("$1" env GOVERSION 2>/dev/null | sed -n 's/^go1\.\([0-9]*\).*/\1/p')
  [ "${minor:-0}" -ge 21 ]
}

install_go() {
  if command -v go >/dev/null && go_is_recent go; then return; fi
  if [ -x "$cache/go/bin/go" ]; then return; fi
  [ -n "$(missing golang-go)" ] && apt_install golang-go
  go_is_recent /usr/bin/go && return
  local version module
  version=$(sed -n 's/^go \([0-9.]*\)$/\1/p' "$here/cri-tools/go.mod")
  module=golang.org/toolchain@v0.0.1-go$version.linux-$(dpkg --print-architecture)
  say "$(/usr/bin/go env GOVERSION) is too old; $module into $cache/go"
  (cd / && /usr/bin/go mod download "$module")
  mkdir -p "$cache/bin"
  rm -rf "$cache/go.partial"
  cp -r "$(/usr/bin/go env GOMODCACHE)/$module" "$cache/go.partial"
  # Files of a module are read-only and not executable.
  chmod -R u+w "$cache/go.partial"
  chmod -R a+x "$cache/go.partial/bin" "$cache/go.partial/pkg/tool"
  mv "$cache/go.partial" "$cache/go"
  ln -sf ../go/bin/go "$cache/bin/go"
}

# crictl, critest, which is a test binary of the same module, and ginkgo, which critest -parallel calls.
build_cri_tools() {
  local stamp version
  stamp=$(cat "$here"/cri-tools/go.{mod,sum} | sha256sum)
  [ "$(cat "$cache/bin/.cri-tools" 2>/dev/null)" = "$stamp" ] && return
  version=$(sed -n 's/^require sigs.k8s.io\/cri-tools v//p' "$here/cri-tools/go.mod")
  say "crictl and critest $version into $cache/bin (a minute or two)"
  mkdir -p "$cache/bin"
  (
    cd "$here/cri-tools"
    export CGO_ENABLED=0 GOFLAGS=-buildvcs=false
    flags=(-trimpath -ldflags "-s -w -X sigs.k8s.io/cri-tools/pkg/version.Version=v$version")
    go build "${flags[@]}" -o "$cache/bin/crictl" sigs.k8s.io/cri-tools/cmd/crictl
    go test -c "${flags[@]}" -o "$cache/bin/critest" sigs.k8s.io/cri-tools/cmd/critest
    go build "${flags[@]}" -o "$cache/bin/ginkgo" github.com/onsi/ginkgo/v2/ginkgo
  )
  echo "$stamp" >"$cache/bin/.cri-tools"
}

# The network plugins of the CNI project and multus, and flannel's in the last version that was one of theirs.
build_network_plugins() {
  local stamp module
  stamp=$(cat "$here"/cni-{plugins,flannel}/go.{mod,sum} | sha256sum)
  [ "$(cat "$cache/bin/.cni-plugins" 2>/dev/null)" = "$stamp" ] && return
  say "network plugins into $cache/bin/cni (a minute or two)"
  mkdir -p "$cache/bin/cni"
  for module in cni-plugins cni-flannel; do
    (
      cd "$here/$module"
      export CGO_ENABLED=0 GOFLAGS=-buildvcs=false
      nice go build -trimpath -ldflags "-s -w" -o "$cache/bin/cni/" tool
    )
  done
  echo "$stamp" >"$cache/bin/.cni-plugins"
}

# containerd with its shim, and runc.
build_peer() {
  local stamp runc
  stamp=$(cat "$here"/peer-containerd/go.{mod,sum} | sha256sum)
  [ "$(cat "$cache/bin/peer/.stamp" 2>/dev/null)" = "$stamp" ] && return
  runc=$(sed -n 's/^\tgithub.com\/opencontainers\/runc v\([^ ]*\).*/\1/p' "$here/peer-containerd/go.mod")
  say "containerd and runc $runc into $cache/bin/peer (a minute or two)"
  mkdir -p "$cache/bin/peer"
  (
    cd "$here/peer-containerd"
    export GOFLAGS="-buildvcs=false -trimpath"
    module=github.com/containerd/containerd/v2/cmd
    CGO_ENABLED=0 nice go build -tags no_btrfs,no_devmapper,no_zfs -ldflags "-s -w" -o "$cache/bin/peer/" \
      $module/containerd $module/containerd-shim-runc-v2
    CGO_ENABLED=1 nice go build -tags seccomp -ldflags "-s -w -X main.version=$runc" -o "$cache/bin/peer/" \
      github.com/opencontainers/runc
  )
  echo "$stamp" >"$cache/bin/peer/.stamp"
}

# A program of crates.io into the cache, in one version everywhere.
build_cargo_tool() {
  local name=$1 version=$2
  [ "$("$cache/bin/$name" --version 2>/dev/null)" = "$name $version" ] && return
  say "$name $version into $cache/bin (some minutes)"
  cargo install -q --locked --root "$cache" --version "$version" "$name"
}

# Checks licences and sources. It runs for two seconds even without optimization, which halves the time to build it.
build_cargo_deny() (
  export CARGO_PROFILE_RELEASE_OPT_LEVEL=0 CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=256
  build_cargo_tool cargo-deny 0.20.2
)

# Makes the package.
build_cargo_deb() { build_cargo_tool cargo-deb 3.8.0; }

main() {
  local packages=("${build_packages[@]}" "${demo_packages[@]}") lacking
  case ${1:-test} in
  build | package) ;;
  test | peer) packages+=("${test_packages[@]}") ;;
  *) sed -n '4,5s/^# *//p' "$0" >&2; exit 2 ;;
  esac
  command -v dpkg-query >/dev/null || fail "only Debian and Ubuntu are known here"
  mapfile -t lacking < <(missing "${packages[@]}")
  [ ${#lacking[@]} = 0 ] || apt_install "${lacking[@]}"
  install_rust
  if [[ ${1:-test} =~ ^(test|peer)$ ]]; then
    install_go
    build_cri_tools
    "$here/../clients.sh" build
    build_network_plugins
    build_cargo_deny
  fi
  if [ "${1:-test}" = peer ]; then build_peer; fi
  if [ "${1:-test}" != build ]; then build_cargo_deb; fi
}

main "$@"
