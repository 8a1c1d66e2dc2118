//! The addresses that `host-local` may give out: ranges of a configuration, and the search for a free one.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde_json::{Map, Value};

/// A part of a subnet, with its ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) prefix: u8,
    pub(super) gateway: IpAddr,
    network: u128,
    first: u128,
    last: u128,
    is_v6: bool,
}

/// Ranges of one family, of which a pod gets one address.
pub(super) type RangeSet = Vec<Range>;

fn number(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(v4) => u128::from(u32::from(v4)),
        IpAddr::V6(v6) => u128::from(v6),
    }
}

fn address(number: u128, is_v6: bool) -> IpAddr {
    if is_v6 {
        return Ipv6Addr::from(number).into();
    }
    // The numbers of IPv4 addresses come from IPv4 addresses.
    Ipv4Addr::from(u32::try_from(number).unwrap_or(0)).into()
}

/// The address in a text, where every reader takes it for the same one.
pub(super) fn plain_address(text: &str) -> Option<IpAddr> {
    let ip: IpAddr = text.parse().ok()?;
    // The old forms of IPv4 in IPv6 are written in several ways.
    let is_plain = |v6: Ipv6Addr| u128::from(v6) >> 64 != 0;
    match ip {
        IpAddr::V6(v6) => is_plain(v6).then_some(ip),
        IpAddr::V4(_) => Some(ip),
    }
}

/// An address with a prefix length, both in their plain form.
pub(super) fn plain_network(text: &str) -> Option<(IpAddr, u8)> {
    let (ip, length) = text.split_once('/')?;
    let prefix: u8 = length.parse().ok()?;
    let unspecified = ip == "::";
    let ip = if unspecified {
        Ipv6Addr::UNSPECIFIED.into()
    } else {
        plain_address(ip)?
    };
    let most = if ip.is_ipv4() { 32 } else { 128 };
    (prefix <= most && prefix.to_string() == length).then_some((ip, prefix))
}

/// Whether an address is that of its network.
pub(super) fn is_network((ip, prefix): (IpAddr, u8)) -> bool {
    number(ip) & host_mask(ip.is_ipv6(), prefix) == 0
}

/// The address of the network that an address is in.
pub(super) fn network_of((ip, prefix): (IpAddr, u8)) -> IpAddr {
    address(number(ip) & !host_mask(ip.is_ipv6(), prefix), ip.is_ipv6())
}

fn host_mask(is_v6: bool, prefix: u8) -> u128 {
    let bits = if is_v6 { 128 } else { 32 };
    let host = u32::from(bits - prefix.min(bits));
    u128::MAX.checked_shr(128 - host).unwrap_or(0)
}

impl Range {
    /// Reads a range. None when it is not all known, or not right.
    pub(super) fn of(fields: &Map<String, Value>) -> Option<Range> {
        let text = |key: &str| match fields.get(key) {
            None => Some(None),
            Some(Value::String(text)) => plain_address(text).map(Some),
            Some(_) => None,
        };
        let subnet = plain_network(fields.get("subnet")?.as_str()?)?;
        let (ip, prefix) = subnet;
        let is_v6 = ip.is_ipv6();
        let most = if is_v6 { 128 } else { 32 };
        if !is_network(subnet) || prefix > most - 2 {
            return None;
        }
        let network = number(ip);
        let end = network | host_mask(is_v6, prefix);
        let mut range = Range {
            prefix,
            gateway: address(network + 1, is_v6),
            network,
            first: network + 1,
            // The last address of an IPv4 subnet is its broadcast address.
            last: if is_v6 { end } else { end - 1 },
            is_v6,
        };
        let inside = |ip: IpAddr| ip.is_ipv6() == is_v6 && (network..=end).contains(&number(ip));
        if let Some(gateway) = text("gateway")? {
            range.gateway = inside(gateway).then_some(gateway)?;
        }
        if let Some(first) = text("rangeStart")? {
            range.first = inside(first).then(|| number(first))?;
        }
        if let Some(last) = text("rangeEnd")? {
            range.last = inside(last).then(|| number(last))?;
        }
        (range.first <= range.last).then_some(range)
    }

    /// Whether an address is one that this range may give out.
    pub(super) fn contains(&self, ip: IpAddr) -> bool {
        ip.is_ipv6() == self.is_v6 && (self.first..=self.last).contains(&number(ip))
    }

    fn overlaps(&self, other: &Range) -> bool {
        self.is_v6 == other.is_v6 && self.first <= other.last && other.first <= self.last
    }

    /// How people write it.
    pub(super) fn shown(&self) -> String {
        let end = |number| address(number, self.is_v6);
        format!("{}-{}", end(self.first), end(self.last))
    }
}

/// Reads a list of sets. None when it is not all known, or not right.
pub(super) fn sets(value: &Value) -> Option<Vec<RangeSet>> {
    let set = |set: &Value| {
        let ranges = set.as_array()?.iter();
        let range = |range: &Value| {
            let fields = range.as_object()?;
            only(fields, &["subnet", "rangeStart", "rangeEnd", "gateway"])?;
            Range::of(fields)
        };
        ranges.map(range).collect::<Option<RangeSet>>()
    };
    value.as_array()?.iter().map(set).collect()
}

/// Whether sets can be used together: each has ranges, all of one family, and no address is in two.
pub(super) fn fit(sets: &[RangeSet]) -> bool {
    let of_one_family = |set: &RangeSet| set.iter().all(|range| range.is_v6 == set[0].is_v6);
    let filled = !sets.is_empty() && sets.iter().all(|set| !set.is_empty());
    let all: Vec<&Range> = sets.iter().flatten().collect();
    let apart = |(at, range): (usize, &&Range)| !all[at + 1..].iter().any(|of| range.overlaps(of));
    filled && sets.iter().all(of_one_family) && all.iter().enumerate().all(apart)
}

/// Nothing but these keys.
pub(super) fn only(fields: &Map<String, Value>, known: &[&str]) -> Option<()> {
    let known = |key: &String| known.contains(&key.as_str());
    fields.keys().all(known).then_some(())
}

/// The addresses of a set in the order in which they are tried: from behind the last one that was given out, through all
/// ranges, once around.
#[derive(Debug)]
pub(super) struct Search<'a> {
    ranges: &'a [Range],
    at: usize,
    current: Option<u128>,
    /// Where the search began.
    begin: Option<u128>,
}

impl<'a> Search<'a> {
    /// Begins behind an address that was given out; at the beginning where it is not of this set.
    pub(super) fn behind(ranges: &'a [Range], last: Option<IpAddr>) -> Search<'a> {
        let place = last.and_then(|last| ranges.iter().position(|range| range.contains(last)));
        Search {
            ranges,
            at: place.unwrap_or(0),
            current: place.and(last).map(number),
            begin: None,
        }
    }
}

impl<'a> Iterator for Search<'a> {
    type Item = (IpAddr, &'a Range);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let range = &self.ranges[self.at];
            let tried = match self.current {
                None => range.first,
                Some(current) if current == range.last => {
                    self.at = (self.at + 1) % self.ranges.len();
                    self.ranges[self.at].first
                }
                Some(current) => current + 1,
            };
            self.current = Some(tried);
            match self.begin {
                None => self.begin = Some(tried),
                Some(begin) if begin == tried => return None,
                Some(_) => {}
            }
            let range = &self.ranges[self.at];
            let ip = address(tried, range.is_v6);
            if ip != range.gateway {
                return Some((ip, range));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn set(value: Value) -> Option<RangeSet> {
        sets(&json!([value])).map(|mut sets| sets.remove(0))
    }

    fn order(value: Value, last: Option<&str>) -> Vec<String> {
        let set = set(value).unwrap();
        let found = Search::behind(&set, last.map(|ip| ip.parse().unwrap()));
        found.map(|(ip, _)| ip.to_string()).collect()
    }

    /// What `host-local` of both releases gives out, one pod after the other, without any being released.
    #[test]
    fn addresses_are_tried_round_robin_without_the_gateway() {
        let small = json!([{ "subnet": "10.0.0.0/29" }]);
        let all = ["10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5", "10.0.0.6"];
        assert_eq!(order(small.clone(), None), all);
        let behind = order(small.clone(), Some("10.0.0.4"));
        assert_eq!(
            behind,
            ["10.0.0.5", "10.0.0.6", "10.0.0.2", "10.0.0.3", "10.0.0.4"]
        );
        // One that is not of the set says nothing.
        assert_eq!(order(small, Some("10.0.1.4")), all);
        let two = json!([
            { "subnet": "10.0.0.0/24", "rangeStart": "10.0.0.254", "gateway": "10.0.0.254" },
            { "subnet": "10.0.1.0/24", "rangeStart": "10.0.1.9", "rangeEnd": "10.0.1.10" },
        ]);
        assert_eq!(order(two.clone(), None), ["10.0.1.9", "10.0.1.10"]);
        assert_eq!(order(two, Some("10.0.1.9")), ["10.0.1.10", "10.0.1.9"]);
        let six = json!([{ "subnet": "fd00::/126" }]);
        assert_eq!(order(six, None), ["fd00::2", "fd00::3"]);
        let only_gateway = json!([{ "subnet": "10.0.0.0/24", "rangeEnd": "10.0.0.1" }]);
        assert!(order(only_gateway, None).is_empty());
    }

    #[test]
    fn ranges_that_are_not_right_are_not_known() {
        for wrong in [
            json!({ "subnet": "10.0.0.1/24" }),
            json!({ "subnet": "10.0.0.0/31" }),
            json!({ "subnet": "10.0.0.0/024" }),
            json!({ "subnet": "10.0.0.0" }),
            json!({ "subnet": "::ffff:10.0.0.0/120" }),
            json!({ "subnet": 10 }),
            json!({ "rangeStart": "10.0.0.1" }),
            json!({ "subnet": "10.0.0.0/24", "gateway": "10.0.1.1" }),
            json!({ "subnet": "10.0.0.0/24", "rangeStart": "10.0.0.9", "rangeEnd": "10.0.0.8" }),
            json!({ "subnet": "10.0.0.0/24", "rangeEnd": "fd00::1" }),
            json!({ "subnet": "10.0.0.0/24", "Gateway": "10.0.0.1" }),
        ] {
            assert_eq!(set(json!([wrong])), None, "{wrong}");
        }
        let sets = |value| sets(&value).unwrap();
        assert!(fit(&sets(
            json!([[{ "subnet": "10.0.0.0/24" }], [{ "subnet": "fd00::/64" }]])
        )));
        for wrong in [
            json!([]),
            json!([[]]),
            json!([[{ "subnet": "10.0.0.0/24" }, { "subnet": "fd00::/64" }]]),
            json!([[{ "subnet": "10.0.0.0/24" }], [{ "subnet": "10.0.0.128/25" }]]),
        ] {
            assert!(!fit(&sets(wrong.clone())), "{wrong}");
        }
    }
}
