//! Where a registry is reached: containerd's `certs.d/HOST/hosts.toml`.
//!
//! The directory of a host is the first that exists of `HOST_PORT_` (for a host with a port), `HOST`
//! and `_default`. Its `hosts.toml` names mirrors in order, then the server itself; without that file
//! `*.crt` are authorities and `*.cert`/`*.key` a client certificate. Everything is read anew for each
//! pull, so that a change needs no restart.

use serde::Deserialize;
use std::path::{Path, PathBuf};
use toml::Table;

/// The default registry's name and the host that serves it.
const DOCKER_HUB: (&str, &str) = ("docker.io", "registry-1.docker.io");
/// What a host can be used for. We push nothing and ask for no referrers, but the file is containerd's.
const CAPABILITIES: [&str; 4] = ["pull", "resolve", "push", "referrers"];
/// The longest hosts.toml, certificate or key read, in bytes.
const FILE_MAX: u64 = 1 << 20;

/// One host to ask for a repository.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Endpoint {
    /// `https` or `http`.
    pub scheme: Scheme,
    /// Host and port as in a URL.
    pub authority: String,
    /// The path of the API, `/v2` unless overridden.
    pub path: String,
    /// May serve content by digest.
    pub pull: bool,
    /// May be asked what a tag stands for.
    pub resolve: bool,
    /// Sent with every request to this host, and to no other.
    pub headers: Vec<(String, String)>,
    /// How its certificate is checked.
    pub tls: Tls,
}

/// The scheme of a URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scheme {
    /// TLS.
    Https,
    /// In the clear.
    Http,
}

/// How a host's certificate is checked and what we show of ourselves.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub(crate) struct Tls {
    /// Authorities beside the system's, in PEM form.
    pub authorities: Vec<Vec<u8>>,
    /// Our certificate and key, in PEM form.
    pub identity: Option<Vec<u8>>,
    /// Whether the host's certificate is checked at all.
    pub verification: Verification,
}

/// Whether certificates are checked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(crate) enum Verification {
    /// As they should.
    #[default]
    Full,
    /// The administrator wrote `skip_verify = true`.
    Skipped,
}

/// The headers may be secrets, and so only their names are shown.
impl std::fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let headers: Vec<&str> = self.headers.iter().map(|(name, _)| name.as_str()).collect();
        f.debug_struct("Endpoint")
            .field("scheme", &self.scheme)
            .field("authority", &self.authority)
            .field("path", &self.path)
            .field("pull", &self.pull)
            .field("resolve", &self.resolve)
            .field("headers", &headers)
            .field("tls", &self.tls)
            .finish()
    }
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls")
            .field("authorities", &self.authorities.len())
            .field("identity", &self.identity.is_some())
            .field("verification", &self.verification)
            .finish()
    }
}

/// Why the configuration of a registry's hosts cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum HostsError {
    /// A file could not be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The kernel's answer.
        #[source]
        source: std::io::Error,
    },
    /// The file is not TOML, or has a value of the wrong type.
    #[error("{} is no usable hosts file", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// Where it is wrong.
        #[source]
        source: Box<toml::de::Error>,
    },
    /// A key of the file has a value that cannot be used.
    #[error("{}: {key}: {what}", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// The key.
        key: &'static str,
        /// What is wrong with its value.
        what: String,
    },
    /// A server or host is no URL.
    #[error("{}: {url:?} is no http or https URL of a registry", path.display())]
    Url {
        /// The file.
        path: PathBuf,
        /// The text.
        url: String,
    },
}

/// A host's table, or the part of the file that concerns the server itself.
#[derive(Debug, Default, Deserialize)]
struct HostTable {
    capabilities: Option<Vec<String>>,
    #[serde(default)]
    ca: OneOrMany<PathBuf>,
    #[serde(default)]
    client: OneOrMany<ClientCert>,
    #[serde(default)]
    skip_verify: bool,
    #[serde(default)]
    override_path: bool,
    #[serde(default)]
    header: std::collections::BTreeMap<String, OneOrMany<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(
    untagged,
    expecting = "one value or a list of them is expected, each a text"
)]
enum OneOrMany<T> {
    One(T),
    Many(Vec<T>),
}

impl<T> Default for OneOrMany<T> {
    fn default() -> Self {
        Self::Many(Vec::new())
    }
}

impl<T> OneOrMany<T> {
    fn as_slice(&self) -> &[T] {
        match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::Many(many) => many,
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum ClientCert {
    /// Certificate and key in one file.
    Both(PathBuf),
    /// Certificate, key.
    Pair(PathBuf, PathBuf),
}

/// The hosts to ask for a registry's content, in order; never empty.
///
/// Blocks on the disk.
pub(crate) fn endpoints(hosts_dir: Option<&Path>, host: &str) -> Result<Vec<Endpoint>, HostsError> {
    let Some(dir) = hosts_dir.and_then(|root| directory_of(root, host)) else {
        return Ok(vec![upstream(host)]);
    };
    let file = dir.join("hosts.toml");
    match read(&file) {
        Ok(text) => parse(&dir, &file, &String::from_utf8_lossy(&text), host),
        Err(HostsError::Read { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
            let mut endpoint = upstream(host);
            endpoint.tls = docker_style_certificates(&dir)?;
            if endpoint.tls != Tls::default() {
                endpoint.scheme = Scheme::Https;
            }
            Ok(vec![endpoint])
        }
        Err(e) => Err(e),
    }
}

/// The host itself, as if nothing were configured.
fn upstream(host: &str) -> Endpoint {
    let authority = if host == DOCKER_HUB.0 {
        DOCKER_HUB.1
    } else {
        host
    };
    let (name, port) = split_port(authority);
    let scheme = if is_loopback(name) && port != Some("443") {
        Scheme::Http
    } else {
        Scheme::Https
    };
    Endpoint {
        scheme,
        authority: authority.to_owned(),
        path: "/v2".to_owned(),
        pull: true,
        resolve: true,
        headers: Vec::new(),
        tls: Tls::default(),
    }
}

fn directory_of(root: &Path, host: &str) -> Option<PathBuf> {
    let spelled = match split_port(host) {
        (name, Some(port)) => vec![format!("{name}_{port}_"), host.to_owned()],
        _ => vec![host.to_owned()],
    };
    spelled
        .into_iter()
        .chain(["_default".to_owned()])
        .map(|name| root.join(name))
        .find(|dir| dir.is_dir())
}

pub(super) fn parse(
    dir: &Path,
    file: &Path,
    text: &str,
    host: &str,
) -> Result<Vec<Endpoint>, HostsError> {
    let broken = |source| HostsError::Parse {
        path: file.to_owned(),
        source: Box::new(source),
    };
    let mut root: Table = toml::from_str(text).map_err(broken)?;
    let hosts = match root.remove("host") {
        Some(toml::Value::Table(hosts)) => hosts,
        Some(_) => return Err(unusable(file, "host", "a table is expected")),
        None => Table::new(),
    };
    let server = match root.remove("server") {
        Some(toml::Value::String(server)) => Some(server).filter(|s| !s.is_empty()),
        Some(_) => return Err(unusable(file, "server", "a text is expected")),
        None => None,
    };
    let mut endpoints = Vec::new();
    // The order of the file is the order to ask in: toml is built to keep it.
    for (name, value) in hosts {
        let table: HostTable = value.try_into().map_err(broken)?;
        endpoints.push(configured(dir, file, &name, &table)?);
    }
    let table: HostTable = root.try_into().map_err(broken)?;
    endpoints.push(match server {
        Some(server) => configured(dir, file, &server, &table)?,
        None => Endpoint {
            headers: headers(&table),
            tls: tls(dir, file, &table)?,
            ..restricted(upstream(host), file, &table)?
        },
    });
    Ok(endpoints)
}

fn configured(
    dir: &Path,
    file: &Path,
    url: &str,
    table: &HostTable,
) -> Result<Endpoint, HostsError> {
    let refuse = || HostsError::Url {
        path: file.to_owned(),
        url: url.to_owned(),
    };
    let full = if url.contains("://") {
        url.to_owned()
    } else {
        format!("https://{url}")
    };
    let (scheme, rest) = full.split_once("://").ok_or_else(refuse)?;
    let scheme = match scheme {
        "https" => Scheme::Https,
        "http" => Scheme::Http,
        _ => return Err(refuse()),
    };
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let well_formed = !authority.is_empty()
        && !authority.contains(['@', '?', '#', ' '])
        && !path.contains(['?', '#', ' ']);
    if !well_formed {
        return Err(refuse());
    }
    let path: String = path
        .split('/')
        .filter(|part| !part.is_empty())
        .flat_map(|part| ["/", part])
        .collect();
    let path = if table.override_path || path.ends_with("/v2") {
        path
    } else {
        format!("{path}/v2")
    };
    let endpoint = Endpoint {
        scheme,
        authority: authority.to_owned(),
        path,
        pull: true,
        resolve: true,
        headers: headers(table),
        tls: tls(dir, file, table)?,
    };
    restricted(endpoint, file, table)
}

/// Takes from an endpoint what the file does not list, in any case of letters as containerd does.
fn restricted(
    mut endpoint: Endpoint,
    file: &Path,
    table: &HostTable,
) -> Result<Endpoint, HostsError> {
    let Some(listed) = table.capabilities.as_ref().filter(|c| !c.is_empty()) else {
        return Ok(endpoint);
    };
    for name in listed {
        if !CAPABILITIES
            .iter()
            .any(|known| known.eq_ignore_ascii_case(name))
        {
            let what = format!("unknown value {name:?}: use {}", CAPABILITIES.join(", "));
            return Err(unusable(file, "capabilities", &what));
        }
    }
    let has = |wanted: &str| listed.iter().any(|name| name.eq_ignore_ascii_case(wanted));
    (endpoint.pull, endpoint.resolve) = (has("pull"), has("resolve"));
    Ok(endpoint)
}

fn unusable(file: &Path, key: &'static str, what: &str) -> HostsError {
    HostsError::Key {
        path: file.to_owned(),
        key,
        what: what.to_owned(),
    }
}

fn headers(table: &HostTable) -> Vec<(String, String)> {
    let pairs = table.header.iter();
    pairs
        .flat_map(|(name, values)| {
            values
                .as_slice()
                .iter()
                .map(|value| (name.clone(), value.clone()))
        })
        .collect()
}

fn tls(dir: &Path, file: &Path, table: &HostTable) -> Result<Tls, HostsError> {
    // The error says which key of the file names what cannot be read.
    let of_key = |key| {
        move |error: HostsError| match error {
            HostsError::Read { path, source } => {
                let what = format!("cannot read {}: {source}", path.display());
                unusable(file, key, &what)
            }
            other => other,
        }
    };
    let mut tls = Tls::default();
    for path in table.ca.as_slice() {
        let path = dir.join(path);
        let pem = read(&path).map_err(of_key("ca"))?;
        if reqwest::Certificate::from_pem_bundle(&pem).is_ok_and(|found| !found.is_empty()) {
            tls.authorities.push(pem);
        } else {
            let what = format!("{} holds no certificate in PEM form", path.display());
            return Err(unusable(file, "ca", &what));
        }
    }
    // One identity a connection: the first, as in containerd when both would fit.
    let identity = match table.client.as_slice().first() {
        Some(ClientCert::Both(path)) => read(&dir.join(path)).map(Some),
        Some(ClientCert::Pair(cert, key)) => joined(&dir.join(cert), &dir.join(key)).map(Some),
        None => Ok(None),
    };
    tls.identity = identity.map_err(of_key("client"))?;
    if table.skip_verify {
        tls.verification = Verification::Skipped;
    }
    Ok(tls)
}

fn docker_style_certificates(dir: &Path) -> Result<Tls, HostsError> {
    let failed = |source| HostsError::Read {
        path: dir.to_owned(),
        source,
    };
    let mut tls = Tls::default();
    let mut files: Vec<PathBuf> = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(failed)? {
        files.push(entry.map_err(failed)?.path());
    }
    files.sort();
    for file in files {
        match file.extension().and_then(|e| e.to_str()) {
            Some("crt") => tls.authorities.push(read(&file)?),
            Some("cert") if tls.identity.is_none() => {
                tls.identity = Some(joined(&file, &file.with_extension("key"))?);
            }
            _ => {}
        }
    }
    Ok(tls)
}

fn joined(cert: &Path, key: &Path) -> Result<Vec<u8>, HostsError> {
    let mut pem = read(cert)?;
    pem.push(b'\n');
    pem.extend(read(key)?);
    Ok(pem)
}

fn read(path: &Path) -> Result<Vec<u8>, HostsError> {
    use std::io::Read as _;
    let failed = |source| HostsError::Read {
        path: path.to_owned(),
        source,
    };
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(failed)?;
    file.take(FILE_MAX)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    Ok(bytes)
}

/// Splits a port off; the colons of a bracketed IPv6 address are none.
pub(super) fn split_port(authority: &str) -> (&str, Option<&str>) {
    match authority.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => (name, Some(port)),
        _ => (authority, None),
    }
}

/// Whether a host is this machine, where a registry is spoken to in the clear by default.
pub(super) fn is_loopback(name: &str) -> bool {
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    name == "localhost"
        || bare
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
#[path = "hosts_tests.rs"]
mod tests;
