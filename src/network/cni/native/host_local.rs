//! The plugin `host-local`, which leases addresses from files of this machine. Other plugins call it.

use std::net::IpAddr;
use std::path::{Component, Path, PathBuf};
use std::time::Instant;

use nix::sys::stat::Mode;
use serde_json::{Map, Value, json};

use super::edition::Edition;
use super::error::NativeError;
use super::message::{Held, NewRoute};
use super::pod::Pod;
use super::range::{self, Range, RangeSet, Search, only};
use super::store::Store;
use crate::cni::pod::INTERFACE;
use holdfast_kernel::sys::regular;

/// Where the files are unless a configuration says otherwise.
const DEFAULT_DIR: &str = "/var/lib/cni/networks";
/// Largest resolver configuration that is read.
const RESOLVER_LIMIT: u64 = 64 << 10;

/// A configuration of the plugin.
#[derive(Debug)]
pub(super) struct HostLocal {
    directory: PathBuf,
    sets: Vec<RangeSet>,
    routes: Vec<Value>,
    resolver: Option<PathBuf>,
    mode: Mode,
}

/// A leased address, with what a pod has to know of its subnet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Lease {
    pub(super) ip: IpAddr,
    pub(super) prefix: u8,
    pub(super) gateway: IpAddr,
}

impl Lease {
    /// The network that the address is in.
    pub(super) fn network(&self) -> Held {
        Held {
            ip: range::network_of((self.ip, self.prefix)),
            prefix: self.prefix,
        }
    }
}

/// What a pod gets.
#[derive(Debug)]
pub(super) struct Leased {
    pub(super) leases: Vec<Lease>,
    /// Routes, as the configuration has them.
    pub(super) routes: Vec<Value>,
    pub(super) dns: Value,
}

impl Leased {
    /// The routes as they are set: through the gateway of their family's first address, unless they name another.
    pub(super) fn set(&self, routes: &[Value]) -> Vec<NewRoute> {
        let of_family = |v4: bool| self.leases.iter().find(|lease| lease.ip.is_ipv4() == v4);
        let route = |route: &Value| {
            let text = |key: &str| route.get(key).and_then(Value::as_str);
            let (ip, prefix) = range::plain_network(text("dst")?)?;
            let named: Option<IpAddr> = text("gw").and_then(|gateway| gateway.parse().ok());
            let own = of_family(ip.is_ipv4()).map(|lease| lease.gateway);
            Some(NewRoute::through(Held { ip, prefix }, named.or(own)))
        };
        routes.iter().filter_map(route).collect()
    }
}

impl HostLocal {
    /// Reads the part `ipam` of a configuration. None when it is not all known, or not right.
    pub(super) fn of(config: &Map<String, Value>, edition: Edition) -> Option<HostLocal> {
        let ipam = config.get("ipam")?.as_object()?;
        only(
            ipam,
            &[
                "type",
                "subnet",
                "rangeStart",
                "rangeEnd",
                "gateway",
                "ranges",
                "routes",
                "dataDir",
                "resolvConf",
            ],
        )?;
        let mut sets = match config.get("runtimeConfig") {
            None => Vec::new(),
            Some(runtime) => {
                let runtime = runtime.as_object()?;
                only(runtime, &["ipRanges"])?;
                range::sets(runtime.get("ipRanges")?)?
            }
        };
        let single = ["subnet", "rangeStart", "rangeEnd", "gateway"];
        if single.iter().any(|key| ipam.contains_key(*key)) {
            sets.push(vec![Range::of(ipam)?]);
        }
        if let Some(more) = ipam.get("ranges") {
            sets.extend(range::sets(more)?);
        }
        let resolver = match ipam.get("resolvConf") {
            None => None,
            // Releases before 1.2.0 read it, and the plugin that called them lost it.
            Some(_) if edition == Edition::Y2022 => return None,
            Some(path) => Some(resolver(path)?),
        };
        Some(HostLocal {
            directory: directory(ipam.get("dataDir"), config.get("name")?.as_str()?)?,
            sets: range::fit(&sets).then_some(sets)?,
            routes: ipam.get("routes").map_or(Some(Vec::new()), routes)?,
            resolver,
            mode: match edition {
                Edition::Y2022 => Mode::from_bits_truncate(0o644),
                Edition::Y2026 => Mode::from_bits_truncate(0o600),
            },
        })
    }

    /// Leases an address of each set.
    ///
    /// # Errors
    /// [`NativeError`]; nothing is leased then that was not before.
    pub(super) fn lease(&self, pod: &Pod, deadline: Instant) -> Result<Leased, NativeError> {
        let dns = self.resolver.as_deref().map_or(Ok(json!({})), dns)?;
        let store = Store::create(&self.directory, deadline)?;
        let held = named(&pod.id);
        if !pod.is_new {
            let found = store.held_by(&[&held, &pod.id])?;
            let found = found.iter().filter_map(|name| name.parse().ok());
            let mut known = found.filter(|ip| self.ranges().any(|range| range.contains(*ip)));
            if let Some(known) = known.next() {
                return Err(NativeError::State(format!(
                    "address {known} is leased for this pod already; ADD was called twice"
                )));
            }
        }
        let mut leases: Vec<Lease> = Vec::with_capacity(self.sets.len());
        for (number, set) in self.sets.iter().enumerate() {
            match self.lease_one(&store, (number, set), &held) {
                Ok(lease) => leases.push(lease),
                Err(error) => {
                    for lease in leases {
                        // DEL tries it again.
                        let _ = store.release(lease.ip, &held);
                    }
                    return Err(error);
                }
            }
        }
        let routes = self.routes.clone();
        Ok(Leased {
            leases,
            routes,
            dns,
        })
    }

    fn lease_one(
        &self,
        store: &Store,
        (number, set): (usize, &RangeSet),
        held: &str,
    ) -> Result<Lease, NativeError> {
        for (ip, range) in Search::behind(set, store.last(number)) {
            // Most are free: looking first is for ranges that are nearly full.
            if !store.is_taken(ip) && store.take(ip, held, self.mode)? {
                store.note_last(number, ip, self.mode)?;
                return Ok(Lease {
                    ip,
                    prefix: range.prefix,
                    gateway: range.gateway,
                });
            }
        }
        let shown: Vec<String> = set.iter().map(Range::shown).collect();
        let shown = shown.join(",");
        Err(NativeError::State(format!(
            "no address of range {number} is free: all of {shown} are leased; remove pods or configure a larger range"
        )))
    }

    /// Releases what a pod has. Where the addresses that it got are all, nothing is searched.
    ///
    /// # Errors
    /// [`NativeError::File`].
    pub(super) fn release(&self, pod: &Pod, deadline: Instant) -> Result<(), NativeError> {
        if !Store::exists(&self.directory) {
            return Ok(());
        }
        let store = Store::open(&self.directory, deadline)?;
        let held = named(&pod.id);
        let mut released = 0;
        for ip in &pod.ips {
            if self.ranges().any(|range| range.contains(*ip)) && store.release(*ip, &held)? {
                released += 1;
            }
        }
        if released == self.sets.len() {
            return Ok(());
        }
        store.release_all(&[&held, &pod.id])
    }

    /// Whether a pod has an address still.
    ///
    /// # Errors
    /// [`NativeError`], also when it has none.
    pub(super) fn check(&self, pod: &Pod, deadline: Instant) -> Result<(), NativeError> {
        let store = Store::open(&self.directory, deadline)?;
        let held = named(&pod.id);
        if pod.ips.iter().any(|ip| store.is_leased_by(*ip, &held)) {
            return Ok(());
        }
        if store.held_by(&[&held, &pod.id])?.is_empty() {
            let shown = self.directory.display();
            return Err(NativeError::State(format!(
                "no address in {shown} is leased for the pod any more"
            )));
        }
        Ok(())
    }

    /// Whether pods get one IPv4 address and nothing else.
    pub(super) fn is_one_v4(&self) -> bool {
        self.sets.len() == 1 && self.ranges().all(|range| range.gateway.is_ipv4())
    }

    fn ranges(&self) -> impl Iterator<Item = &Range> {
        self.sets.iter().flatten()
    }
}

/// What the file of an address says.
fn named(id: &str) -> String {
    format!("{id}\r\n{INTERFACE}")
}

fn directory(dir: Option<&Value>, network: &str) -> Option<PathBuf> {
    let dir = match dir {
        None => DEFAULT_DIR,
        Some(dir) => dir.as_str()?,
    };
    let dir = if dir.is_empty() { DEFAULT_DIR } else { dir };
    let plain = |part: Component<'_>| matches!(part, Component::RootDir | Component::Normal(_));
    let is_plain = dir.starts_with('/') && Path::new(dir).components().all(plain);
    is_plain.then(|| Path::new(dir).join(network))
}

/// Routes with a destination and perhaps a gateway.
fn routes(routes: &Value) -> Option<Vec<Value>> {
    let routes = routes.as_array()?.iter();
    let known = |route: &Value| {
        let fields = route.as_object()?;
        only(fields, &["dst", "gw"])?;
        let (ip, prefix) = range::plain_network(fields.get("dst")?.as_str()?)?;
        if let Some(gateway) = fields.get("gw") {
            let gateway = range::plain_address(gateway.as_str()?)?;
            (gateway.is_ipv4() == ip.is_ipv4()).then_some(())?;
        }
        range::is_network((ip, prefix)).then(|| route.clone())
    };
    routes.map(known).collect()
}

/// A file that can be read, with lines that every reader reads.
fn resolver(path: &Value) -> Option<PathBuf> {
    let path = Path::new(path.as_str()?);
    let text = regular::read(path, RESOLVER_LIMIT).ok()?;
    let is_plain = path.is_absolute() && text.is_ascii();
    is_plain.then(|| path.to_owned())
}

fn dns(path: &Path) -> Result<Value, NativeError> {
    let text = regular::read(path, RESOLVER_LIMIT).map_err(NativeError::file("read", path))?;
    let text = String::from_utf8_lossy(&text).into_owned();
    let mut lists: [Vec<&str>; 3] = Default::default();
    let mut domain = "";
    for line in text.lines().map(str::trim) {
        let mut words = line.split_whitespace();
        let (Some(key), Some(first)) = (words.next(), words.next()) else {
            continue;
        };
        match key {
            "nameserver" => lists[0].push(first),
            "domain" => domain = first,
            "search" => lists[1].extend(std::iter::once(first).chain(words)),
            "options" => lists[2].extend(std::iter::once(first).chain(words)),
            _ => {}
        }
    }
    let [servers, searches, options] = lists;
    Ok(json!({ "nameservers": servers, "domain": domain, "search": searches, "options": options }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn config(ipam: Value) -> Map<String, Value> {
        let config = json!({ "name": "net", "ipam": ipam });
        config.as_object().unwrap().clone()
    }

    fn pod(id: &str, is_new: bool, ips: &[IpAddr]) -> Pod {
        Pod {
            id: id.to_owned(),
            netns: PathBuf::new(),
            is_new,
            ips: ips.to_vec(),
        }
    }

    #[test]
    fn pods_get_addresses_and_give_them_back() {
        let dir = tempfile::tempdir().unwrap();
        let ipam = json!({ "type": "host-local", "dataDir": dir.path(), "routes": [{ "dst": "0.0.0.0/0" }],
            "ranges": [[{ "subnet": "10.0.0.0/30" }], [{ "subnet": "fd00::/64" }]] });
        let pool = HostLocal::of(&config(ipam), Edition::Y2026).unwrap();
        let soon = Instant::now() + Duration::from_secs(5);
        let leased = pool.lease(&pod("a", true, &[]), soon).unwrap();
        let ips: Vec<String> = leased
            .leases
            .iter()
            .map(|lease| lease.ip.to_string())
            .collect();
        assert_eq!(ips, ["10.0.0.2", "fd00::2"]);
        assert_eq!(leased.leases[0].gateway.to_string(), "10.0.0.1");
        assert_eq!(leased.routes, [json!({ "dst": "0.0.0.0/0" })]);
        let twice = pool.lease(&pod("a", false, &[]), soon).unwrap_err();
        assert!(
            twice.to_string().contains("leased for this pod already"),
            "{twice}"
        );
        let full = pool.lease(&pod("b", true, &[]), soon).unwrap_err();
        assert!(full.to_string().contains("10.0.0.1-10.0.0.2"), "{full}");
        // Whoever does not know the addresses finds them.
        pool.release(&pod("a", false, &[]), soon).unwrap();
        let leased = pool.lease(&pod("b", true, &[]), soon).unwrap();
        assert_eq!(leased.leases[1].ip.to_string(), "fd00::3");
        let known: Vec<IpAddr> = leased.leases.iter().map(|lease| lease.ip).collect();
        pool.release(&pod("c", false, &known), soon).unwrap();
        let store = Store::open(&dir.path().join("net"), Instant::now()).unwrap();
        assert!(store.is_taken(known[0]), "another pod released it");
        drop(store);
        pool.release(&pod("b", false, &known), soon).unwrap();
        let store = Store::open(&dir.path().join("net"), Instant::now()).unwrap();
        assert!(!store.is_taken(known[0]) && !store.is_taken(known[1]));
    }

    #[test]
    fn what_is_not_known_is_left_to_the_program() {
        let with = |key: &str, value: Value| {
            let mut ipam = json!({ "type": "host-local", "subnet": "10.0.0.0/24" });
            ipam[key] = value;
            HostLocal::of(&config(ipam), Edition::Y2026).is_some()
        };
        assert!(with("dataDir", json!("/x")) && with("routes", json!([])));
        for (key, value) in [
            ("dataDir", json!("x")),
            ("dataDir", json!("/x/../y")),
            ("routes", json!([{ "dst": "10.0.0.1/24" }])),
            ("routes", json!([{ "dst": "10.0.0.0/24", "mtu": 1400 }])),
            ("routes", json!([{ "dst": "10.0.0.0/24", "gw": "fd00::1" }])),
            ("resolvConf", json!("/no/such/file")),
            ("ranges", json!([[{ "subnet": "10.0.0.128/25" }]])),
            ("Subnet", json!("10.0.1.0/24")),
        ] {
            assert!(!with(key, value.clone()), "{key} {value}");
        }
    }

    #[test]
    fn resolver_configurations_are_read_as_the_program_does() {
        let dir = tempfile::tempdir().unwrap();
        let home = holdfast_disk::Dir::open_root(dir.path()).unwrap();
        let name = holdfast_disk::FileName::new("resolv.conf").unwrap();
        let text = "# x\nnameserver 192.0.2.1\n  nameserver\t192.0.2.2 more\nsearch a b\nsearch c\noptions x:1\ndomain d\nsortlist\n";
        home.replace(&name, text.as_bytes(), holdfast_disk::Durability::Volatile)
            .unwrap();
        let found = dns(&dir.path().join("resolv.conf")).unwrap();
        let wanted = json!({ "nameservers": ["192.0.2.1", "192.0.2.2"], "domain": "d",
            "search": ["a", "b", "c"], "options": ["x:1"] });
        assert_eq!(found, wanted);
    }
}
