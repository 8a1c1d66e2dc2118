#!/bin/bash
# The network plugin bridge of the CNI project (containernetworking/plugins v1.10.0, and v1.1.1) cannot undo what it
# made when ipMasq is on and the pod has two addresses of one family: DEL fails.
#
# Valid input: host-local with two sets of ranges in "ranges", both IPv4, which its documentation has ("an array of
# arrays: one address of each set").
#
# Behaviour: ADD makes one chain for the pod, with a jump to it for each address. DEL removes the jump of the first
# address and then deletes the chain, to which the second jump still leads: iptables refuses with "Device or resource
# busy". A caller that repeats DEL until it succeeds, as the specification wants it, repeats it for ever.
# Seen:
#   v1.1.1 ADD: 2 addresses
#   v1.1.1 DEL: status 1, Device or resource busy
#   v1.10.0 ADD: 2 addresses
#   v1.10.0 DEL: status 1, Device or resource busy
#
#   cni-bridge-two-ranges-del-busy.sh     needs root, go, iproute2 and iptables-nft; ends with 1 when the behaviour is another
set -euo pipefail

work=$(mktemp -d)
node=bridge-finding-node-$$ pod=bridge-finding-pod-$$
trap 'ip netns del $pod 2>/dev/null || true; ip netns del $node 2>/dev/null || true; rm -rf "$work"' EXIT
cd "$work"
export GOFLAGS=-buildvcs=false CGO_ENABLED=0
ip netns add $node
ip netns add $pod

config='{"cniVersion":"1.0.0","name":"finding","type":"bridge","bridge":"finding0","ipMasq":true,
  "ipam":{"type":"host-local","dataDir":"'$work'/leases","ranges":[
    [{"subnet":"192.0.2.0/25"}],[{"subnet":"192.0.2.128/25"}]]}}'

# A plugin's call, in a network namespace in place of the node's.
call() {
  CNI_COMMAND=$1 CNI_CONTAINERID=finding CNI_NETNS=/run/netns/$pod CNI_IFNAME=eth0 CNI_PATH=$work/$version \
    ip netns exec $node "$work/$version/bridge" <<<"$config"
}

for version in v1.1.1 v1.10.0; do
  GOBIN=$work/$version go install "github.com/containernetworking/plugins/plugins/main/bridge@$version"
  GOBIN=$work/$version go install "github.com/containernetworking/plugins/plugins/ipam/host-local@$version"
  addresses=$(call ADD | grep -c '"address": "192.0.2')
  status=0
  said=$(call DEL) || status=$?
  busy=$(grep -o "Device or resource busy" <<<"$said" | head -1 || true)
  echo "$version ADD: $addresses addresses"
  echo "$version DEL: status $status, ${busy:-$said}"
  [ "$addresses" = 2 ] && [ $status != 0 ] && [ -n "$busy" ] || { echo "the behaviour is another" >&2; exit 1; }
  ip netns del $pod && ip netns del $node
  ip netns add $node && ip netns add $pod
done
