#!/bin/bash
# The network plugin portmap of the CNI project (containernetworking/plugins v1.10.0, and v1.1.1) goes on to set the old
# mark on packets after markMasqBit of its configuration has changed.
#
# Valid input: markMasqBit, which the plugin's documentation has, with 13 (the default) and then 14; the mappings of the
# first value are removed by DEL before the second is used.
#
# Behaviour: the chains CNI-HOSTPORT-SETMARK and CNI-HOSTPORT-MASQ belong to all pods; ADD adds its rules to them unless
# the same rules are there already, and no call ever removes one. So after the change both rules are there, each packet
# gets both marks, and each packet with the old mark is masqueraded, whoever set it. The reason to change the bit, that
# somebody else uses the old one, stays until somebody flushes the two chains or the node restarts.
# Seen:
#   v1.1.1 bit 13: rules 0x2000, packet 0x2000
#   v1.1.1 bit 14: rules 0x2000 0x4000, packet 0x6000
#   v1.10.0 bit 13: rules 0x2000, packet 0x2000
#   v1.10.0 bit 14: rules 0x2000 0x4000, packet 0x6000
#
#   cni-portmap-keeps-old-mark.sh     needs root, go, iproute2 and iptables-nft; ends with 1 when the behaviour is another
set -euo pipefail
shopt -s inherit_errexit

work=$(mktemp -d)
node=mark-finding-node-$$ pod=mark-finding-pod-$$
trap 'ip netns del $pod 2>/dev/null || true; ip netns del $node 2>/dev/null || true; rm -rf "$work"' EXIT
cd "$work"
export GOFLAGS=-buildvcs=false CGO_ENABLED=0

# A plugin's call, in a network namespace in place of the node's.
call() {
  CNI_COMMAND=$1 CNI_CONTAINERID=finding CNI_NETNS=/run/netns/$pod CNI_IFNAME=eth0 CNI_PATH=$work/$version \
    ip netns exec $node "$work/$version/portmap"
}

# Maps port 8080 with a bit, and prints the marks of the rules in both chains, and the mark of a packet to the port.
look() {
  local config rules chain packet=none mark
  config='{"cniVersion":"1.0.0","name":"finding","type":"portmap","markMasqBit":'$1',
    "capabilities":{"portMappings":true},
    "runtimeConfig":{"portMappings":[{"hostPort":8080,"containerPort":80,"protocol":"tcp"}]},
    "prevResult":{"cniVersion":"1.0.0","interfaces":[{"name":"eth0","sandbox":"/run/netns/'$pod'"}],
      "ips":[{"address":"192.0.2.2/24","interface":0}]}}'
  call ADD <<<"$config" >/dev/null
  chain=$(ip netns exec $node iptables -t nat -S CNI-HOSTPORT-SETMARK)
  rules=$(sed -n 's/.*--set-xmark \(0x[0-9a-f]*\)\/.*/\1/p' <<<"$chain" | xargs)
  chain=$(ip netns exec $node iptables -t nat -S CNI-HOSTPORT-MASQ)
  [ "$rules" = "$(sed -n 's/.*--mark \(0x[0-9a-f]*\)\/.*/\1/p' <<<"$chain" | xargs)" ] || rules="$rules, differing"
  # The address of the node's own end is in the pod's network, so portmap marks what comes from there.
  ip netns exec $node timeout 0.5 bash -c 'exec 3<>/dev/tcp/192.0.2.1/8080' 2>/dev/null || true
  for mark in 0x2000 0x4000 0x6000; do
    ip netns exec $node iptables -t mangle -vxnL POSTROUTING | grep -q "^ *[1-9].* mark match $mark/0xffff" || continue
    packet=$mark
  done
  call DEL <<<"$config"
  ip netns exec $node iptables -t mangle -Z POSTROUTING
  echo "rules $rules, packet $packet"
}

for version in v1.1.1 v1.10.0; do
  GOBIN=$work/$version go install github.com/containernetworking/plugins/plugins/meta/portmap@$version
  ip netns add $node
  ip netns add $pod
  ip -n $node link set lo up
  ip -n $node link add pods type veth peer name eth0 netns $pod
  ip -n $node address add 192.0.2.1/24 dev pods
  ip -n $node link set pods up
  ip -n $pod address add 192.0.2.2/24 dev eth0
  ip -n $pod link set eth0 up
  for mark in 0x2000 0x4000 0x6000; do
    ip netns exec $node iptables -t mangle -A POSTROUTING -d 192.0.2.2 -m mark --mark $mark/0xffff
  done
  before=$(look 13)
  echo "$version bit 13: $before"
  after=$(look 14)
  echo "$version bit 14: $after"
  [ "$before" = "rules 0x2000, packet 0x2000" ] && [ "$after" = "rules 0x2000 0x4000, packet 0x6000" ] ||
    { echo "the behaviour is another" >&2; exit 1; }
  ip netns del $pod
  ip netns del $node
done
