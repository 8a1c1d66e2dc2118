#!/bin/bash
# CHECK of the network plugin bridge of the CNI project (containernetworking/plugins v1.10.0, and v1.1.1) fails for a
# pod that nobody touched, after another pod has joined the same bridge or left it.
#
# Valid input: a bridge without isGateway, which is the default of the plugin, and the result of ADD as prevResult.
#
# Behaviour: ADD puts the MAC address of the bridge into its result, and CHECK compares it. Only with isGateway does the
# plugin give the bridge an address for good. Without it the kernel gives the bridge the lowest MAC address of its
# ports, and these are random: a pod that joins with a lower one, or the leaving of the pod with the lowest one, changes
# it. A caller that replaces pods whose CHECK fails replaces healthy ones. Which of the two happens with two pods
# depends on their addresses; one of them always does, so "joined" and "left" may change places from run to run.
# Seen:
#   v1.1.1 isGateway false: CHECK fails after a second pod joined: Bridge interface finding0 Mac doesn't match
#   v1.1.1 isGateway true: CHECK succeeds
#   v1.10.0 isGateway false: CHECK fails after the first pod left: Bridge interface finding0 Mac doesn't match
#   v1.10.0 isGateway true: CHECK succeeds
#
#   cni-bridge-check-after-other-pods.sh     needs root, go and iproute2; ends with 1 when the behaviour is another
set -euo pipefail
shopt -s inherit_errexit

work=$(mktemp -d)
node=check-finding-node-$$ pod=check-finding-pod-$$
trap 'for name in $pod-{first,second} $node; do ip netns del $name 2>/dev/null || true; done; rm -rf "$work"' EXIT
cd "$work"
export GOFLAGS=-buildvcs=false CGO_ENABLED=0

# A plugin's call for a pod, in a network namespace in place of the node's.
call() {
  CNI_COMMAND=$1 CNI_CONTAINERID=$2 CNI_NETNS=/run/netns/$pod-$2 CNI_IFNAME=eth0 CNI_PATH=$work/$version \
    ip netns exec $node "$work/$version/bridge"
}

# Adds two pods, removes the first, and prints the first failure of CHECK.
look() {
  local gateway=$1 config first second said name
  config='"cniVersion":"1.0.0","name":"finding","type":"bridge","bridge":"finding0","isGateway":'$gateway',
    "ipam":{"type":"host-local","dataDir":"'$work'/leases","subnet":"192.0.2.0/24"}'
  for name in $node $pod-first $pod-second; do ip netns add $name; done
  first="{$config,\"prevResult\":$(call ADD first <<<"{$config}")}"
  call CHECK first <<<"$first"
  second="{$config,\"prevResult\":$(call ADD second <<<"{$config}")}"
  call CHECK second <<<"$second"
  if ! said=$(call CHECK first <<<"$first"); then
    said="CHECK fails after a second pod joined: $said"
  else
    call DEL first <<<"$first"
    if said=$(call CHECK second <<<"$second"); then
      said="CHECK succeeds"
    else
      said="CHECK fails after the first pod left: $said"
    fi
  fi
  for name in $pod-first $pod-second $node; do ip netns del $name; done
  rm -rf leases
  tr -d '\n' <<<"$said" | sed "s/: {.*\"msg\": \"/: /; s/ match: [0-9a-f:]*\".*/ match/"
}

for version in v1.1.1 v1.10.0; do
  GOBIN=$work/$version go install github.com/containernetworking/plugins/plugins/{main/bridge,ipam/host-local}@$version
  without=$(look false)
  echo "$version isGateway false: $without"
  with=$(look true)
  echo "$version isGateway true: $with"
  [[ $without = "CHECK fails after "*": Bridge interface finding0 Mac doesn't match" ]] && [ "$with" = "CHECK succeeds" ] ||
    { echo "the behaviour is another" >&2; exit 1; }
done
