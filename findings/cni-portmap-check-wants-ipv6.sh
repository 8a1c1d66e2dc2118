#!/bin/bash
# CHECK of the network plugin portmap of the CNI project (containernetworking/plugins v1.1.1, which Debian 12 has)
# fails for each pod that has addresses of one family only, as soon as the node has iptables for both. v1.10.0 is right.
#
# Valid input: a port mapped for a pod with one IPv4 address, and CHECK directly after ADD with the same configuration.
#
# Behaviour: ADD makes the chain of the pod for the families of its addresses. CHECK of v1.1.1 looks for it with
# iptables and with ip6tables, if these work, whatever addresses the pod has. A caller that replaces pods whose CHECK
# fails replaces healthy ones. v1.10.0 looks for the families of the addresses.
# Seen:
#   v1.1.1 192.0.2.2/24: CHECK: status 1, could not check ipv6 dnat: chain not found
#   v1.1.1 2001:db8::2/64: CHECK: status 1, could not check ipv4 dnat: chain not found
#   v1.10.0 192.0.2.2/24: CHECK: status 0
#   v1.10.0 2001:db8::2/64: CHECK: status 0
#
#   cni-portmap-check-wants-ipv6.sh     needs root, go, iproute2 and iptables-nft; ends with 1 when the behaviour is another
set -euo pipefail
shopt -s inherit_errexit

work=$(mktemp -d)
node=portmap-finding-node-$$ pod=portmap-finding-pod-$$
trap 'ip netns del $pod 2>/dev/null || true; ip netns del $node 2>/dev/null || true; rm -rf "$work"' EXIT
cd "$work"
export GOFLAGS=-buildvcs=false CGO_ENABLED=0
ip netns add $node
ip netns add $pod

# A plugin's call, in a network namespace in place of the node's.
call() {
  CNI_COMMAND=$1 CNI_CONTAINERID=finding CNI_NETNS=/run/netns/$pod CNI_IFNAME=eth0 CNI_PATH=$work/$version \
    ip netns exec $node "$work/$version/portmap"
}

# Maps a port to an address and prints what CHECK says.
look() {
  local config said status=0
  config='{"cniVersion":"1.0.0","name":"finding","type":"portmap","capabilities":{"portMappings":true},
    "runtimeConfig":{"portMappings":[{"hostPort":8080,"containerPort":80,"protocol":"tcp"}]},
    "prevResult":{"cniVersion":"1.0.0","interfaces":[{"name":"eth0","sandbox":"/run/netns/'$pod'"}],
      "ips":[{"address":"'$1'","interface":0}]}}'
  call ADD <<<"$config" >/dev/null
  said=$(call CHECK <<<"$config") || status=$?
  call DEL <<<"$config"
  said=$(sed -n 's/.*"msg": "\(.*\): chain CNI-DN-[0-9a-f]* not found .*/, \1: chain not found/p' <<<"$said")
  echo "CHECK: status $status$said"
}

for version in v1.1.1 v1.10.0; do
  GOBIN=$work/$version go install github.com/containernetworking/plugins/plugins/meta/portmap@$version
  for address in 192.0.2.2/24 2001:db8::2/64; do
    case $version,$address in
    v1.1.1,192*) expected="CHECK: status 1, could not check ipv6 dnat: chain not found" ;;
    v1.1.1,2001*) expected="CHECK: status 1, could not check ipv4 dnat: chain not found" ;;
    *) expected="CHECK: status 0" ;;
    esac
    seen=$(look $address)
    echo "$version $address: $seen"
    [ "$seen" = "$expected" ] || { echo "the behaviour is another" >&2; exit 1; }
  done
done
