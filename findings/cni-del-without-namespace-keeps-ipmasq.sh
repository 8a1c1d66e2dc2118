#!/bin/bash
# The network plugins ptp and bridge of the CNI project (containernetworking/plugins v1.10.0, and v1.1.1) leave the
# rules of ipMasq behind, and report success, when DEL comes after the network namespace of the pod is gone.
#
# Valid input: CNI_NETNS is optional for DEL, and the path of a namespace that no longer exists is as valid. The
# specification, 1.0.0: "the `bridge` plugin should delegate the DEL action to the IPAM plugin and clean up its own
# resources even if the container network namespace and/or container network interface no longer exist".
#
# Behaviour: DEL releases the address and then returns. A chain of the pod and the jump to it from POSTROUTING stay in
# the nat table of the node, although prevResult has the address, and the chain's name follows from the network's name
# and the container's ID. The jump matches by source address, so it catches the packets of the next pod that gets the
# address, even when that pod's network has no ipMasq any more. Since DEL succeeded, no caller will repeat it.
# Seen:
#   v1.1.1 ptp: empty CNI_NETNS: status 0, 0 addresses reserved, 1 jump and 1 chain left
#   v1.1.1 ptp: namespace gone: status 0, 0 addresses reserved, 1 jump and 1 chain left
#   v1.1.1 ptp: namespace there: status 0, 0 addresses reserved, 0 jump and 0 chain left
#   the same three lines for v1.1.1 bridge, v1.10.0 ptp and v1.10.0 bridge
#
#   cni-del-without-namespace-keeps-ipmasq.sh     needs root, go, iproute2 and iptables-nft; ends with 1 when the behaviour is another
set -euo pipefail
shopt -s inherit_errexit

work=$(mktemp -d)
node=ipmasq-finding-node-$$ pod=ipmasq-finding-pod-$$
trap 'ip netns del $pod 2>/dev/null || true; ip netns del $node 2>/dev/null || true; rm -rf "$work"' EXIT
cd "$work"
export GOFLAGS=-buildvcs=false CGO_ENABLED=0

# A plugin's call with a namespace of the pod, in a network namespace in place of the node's.
call() {
  CNI_COMMAND=$1 CNI_CONTAINERID=finding CNI_NETNS=$2 CNI_IFNAME=eth0 CNI_PATH=$work/$version \
    ip netns exec $node "$work/$version/$plugin"
}

# Makes a pod's network and removes it; prints what DEL says and what it leaves.
remove() {
  local case=$1 config result status=0 namespace=/run/netns/$pod rules
  config='"cniVersion":"1.0.0","name":"finding","type":"'$plugin'","ipMasq":true,
    "ipam":{"type":"host-local","dataDir":"'$work'/leases","subnet":"192.0.2.0/24"}'
  ip netns add $node
  ip netns add $pod
  result=$(call ADD $namespace <<<"{$config}")
  [ "$case" = "namespace there" ] || ip netns del $pod
  [ "$case" != "empty CNI_NETNS" ] || namespace=
  call DEL "$namespace" <<<"{$config,\"prevResult\":$result}" || status=$?
  rules=$(ip netns exec $node iptables -t nat -S)
  echo "$case: status $status, $(find leases -name '192.0.2.*' | wc -l) addresses reserved," \
    "$(grep -c '^-A POSTROUTING -s 192\.0\.2\.[0-9]*/32 .*-j CNI-' <<<"$rules") jump and" \
    "$(grep -c '^-N CNI-' <<<"$rules") chain left"
  ip netns del $pod 2>/dev/null || true
  ip netns del $node
  rm -rf leases
}

for version in v1.1.1 v1.10.0; do
  GOBIN=$work/$version go install github.com/containernetworking/plugins/plugins/{main/ptp,main/bridge,ipam/host-local}@$version
  for plugin in ptp bridge; do
    for case in "empty CNI_NETNS" "namespace gone" "namespace there"; do
      left=1
      [ "$case" != "namespace there" ] || left=0
      seen=$(remove "$case")
      echo "$version $plugin: $seen"
      [ "$seen" = "$case: status 0, 0 addresses reserved, $left jump and $left chain left" ] ||
        { echo "the behaviour is another" >&2; exit 1; }
    done
  done
done
