#!/bin/bash
# The network plugin tap of the CNI project (containernetworking/plugins v1.10.0) makes a device with another MAC
# address and another MTU than its configuration says, as soon as the configuration names an owner and a group as well.
#
# Valid input: the keys mac, mtu, owner and group, as the plugin's documentation has them side by side.
#
# Behaviour: with owner and group the device is made over netlink, and its attributes are filled in after they have
# been copied, or are lost on the way to TUNSETIFF, which has no field for them; without the two the plugin runs
# `ip tuntap` and `ip link set`, and both are right. ADD succeeds in both cases, and its result tells the MAC address
# that the device really has, so nothing fails until somebody relies on the address, with DHCP or an MTU below 1500.
# Seen:
#   plain: 00:11:22:33:44:55 mtu 1400
#   with owner and group: another MAC address, mtu 1500
#
#   cni-tap-forgets-mac-and-mtu.sh     needs root, go and iproute2; ends with 1 when the behaviour is another
set -euo pipefail

work=$(mktemp -d)
name=tap-finding-$$
trap 'ip netns del $name 2>/dev/null || true; rm -rf "$work"' EXIT
cd "$work"
export GOBIN=$work/bin GOFLAGS=-buildvcs=false CGO_ENABLED=0
go install github.com/containernetworking/plugins/plugins/{main/tap,ipam/static}@v1.10.0
ip netns add $name

# A plugin's call, in a network namespace of its own in place of the node's.
call() {
  CNI_COMMAND=$1 CNI_CONTAINERID=finding CNI_NETNS=/run/netns/$name CNI_IFNAME=$2 CNI_PATH=$work/bin \
    unshare -n "$work/bin/tap"
}

# Makes a device and prints what it is.
look() {
  local config='{"cniVersion":"1.0.0","name":"finding","type":"tap","mac":"00:11:22:33:44:55","mtu":1400,'$2'
    "ipam":{"type":"static","addresses":[{"address":"192.0.2.10/24"}]}}'
  call ADD "$1" <<<"$config" >/dev/null
  ip -n $name -o link show "$1" | sed -n 's/.* \(mtu [0-9]*\) .*link\/ether \([0-9a-f:]*\) .*/\2 \1/p'
  call DEL "$1" <<<"$config"
}

plain=$(look t0 '')
echo "plain: $plain"
owned=$(look t1 '"owner":0,"group":0,')
case $owned in
"00:11:22:33:44:55 "*) echo "with owner and group: $owned" ;;
*) echo "with owner and group: another MAC address, ${owned#* }" ;;
esac
[ "$plain" = "00:11:22:33:44:55 mtu 1400" ] && [[ $owned != "00:11:22:33:44:55 "* ]] && [[ $owned = *" mtu 1500" ]] ||
  { echo "the behaviour is another" >&2; exit 1; }
