//! Where a registry is reached: containerd's `certs.d/HOST/hosts.toml`.
//!
//! The directory of a host is the first that exists of `HOST_PORT_` (for a host with a port), `HOST`
//! and `_default`. Its `hosts.toml` names mirrors in order, then the server itself; without that file
//! `*.crt` are authorities and `*.cert`/`*.key` a client certificate. Everything is read anew for each
//! pull, so that a change needs no restart.

use http::header::{CONTENT_LENGTH, TRAILER, TRANSFER_ENCODING};
use http::{HeaderName, HeaderValue};
use reqwest::Url;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::path::{Path, PathBuf};
use toml::Table;

/// The default registry's name and the host that serves it.
const DOCKER_HUB: (&str, &str) = ("docker.io", "registry-1.docker.io");
/// Values of `capabilities`. Holdfast never pushes and never asks for referrers, but accepts both values because the
/// file is containerd's.
const CAPABILITIES: [&str; 4] = ["pull", "resolve", "push", "referrers"];
/// The longest hosts.toml, certificate or key read, in bytes.
const FILE_MAX: u64 = 1 << 20;

/// A host that can be asked for a repository.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Endpoint {
    /// Whether requests go over TLS.
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
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// How its certificate is checked.
    pub tls: Tls,
}

/// The scheme of a URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scheme {
    /// Requests go over TLS.
    Https,
    /// Requests go without encryption.
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
    /// Certificates are verified as they should be.
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
        /// The path of the file.
        path: PathBuf,
        /// The error that the kernel gave.
        #[source]
        source: std::io::Error,
    },
    /// The file is not TOML, or has a value of the wrong type.
    #[error("cannot use the hosts file {}", path.display())]
    Parse {
        /// The path of the file.
        path: PathBuf,
        /// Where it is wrong.
        #[source]
        source: Box<toml::de::Error>,
    },
    /// A file that a key of the hosts file names could not be read.
    #[error("{}: {key}: cannot read {}", path.display(), file.display())]
    Named {
        /// The path of the hosts file.
        path: PathBuf,
        /// The key that names the other file.
        key: String,
        /// The path of that other file.
        file: PathBuf,
        /// The error that the kernel gave.
        #[source]
        source: std::io::Error,
    },
    /// A key of the file has a value that cannot be used.
    #[error("{}: {key}: {what}", path.display())]
    Key {
        /// The path of the file.
        path: PathBuf,
        /// The key whose value is refused.
        key: String,
        /// The fault of the key's value.
        what: String,
    },
}

/// A host's table, or the part of the file that concerns the server itself.
struct HostTable {
    capabilities: Vec<String>,
    ca: OneOrMany<PathBuf>,
    client: OneOrMany<ClientCert>,
    skip_verify: bool,
    override_path: bool,
    headers: Vec<(HeaderName, HeaderValue)>,
}

/// A table of the file, for errors.
struct HostsTable<'a> {
    file: &'a Path,
    /// In front of the table's keys, with a dot; empty for the file itself.
    table: String,
}

impl HostsTable<'_> {
    fn wrong(&self, key: &str, what: impl Into<String>) -> HostsError {
        HostsError::Key {
            path: self.file.to_owned(),
            key: self.key(key),
            what: what.into(),
        }
    }

    /// A key with the table in which it stands.
    fn key(&self, key: &str) -> String {
        let key = format!("{}{key}", self.table);
        key.trim_end_matches('.').to_owned()
    }
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
    /// The files of certificate and key.
    Pair(PathBuf, PathBuf),
}

/// The hosts to ask for a registry's content, in order; never empty.
///
/// Blocks on the disk.
pub(crate) fn endpoints(hosts_dir: Option<&Path>, host: &str) -> Result<Vec<Endpoint>, HostsError> {
    let Some(file) = hosts_dir.and_then(|root| file_of(root, host)) else {
        return Ok(vec![upstream(host)]);
    };
    let dir = file.parent().unwrap_or(&file).to_owned();
    match read(&file) {
        // What is no UTF-8 is no URL and no header either, and is told as such.
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

/// Where the hosts.toml of a registry is or would be; `None` when it has no directory.
pub(super) fn file_of(root: &Path, host: &str) -> Option<PathBuf> {
    let spelled = match split_port(host) {
        (name, Some(port)) => vec![format!("{name}_{port}_"), host.to_owned()],
        _ => vec![host.to_owned()],
    };
    spelled
        .into_iter()
        .chain(["_default".to_owned()])
        .map(|name| root.join(name))
        .find(|dir| dir.is_dir())
        .map(|dir| dir.join("hosts.toml"))
}

/// Reads a hosts.toml of `host`. Paths in the file are relative to `dir`.
pub(super) fn parse(
    dir: &Path,
    file: &Path,
    text: &str,
    host: &str,
) -> Result<Vec<Endpoint>, HostsError> {
    let mut root: Table = toml::from_str(text).map_err(|source| HostsError::Parse {
        path: file.to_owned(),
        source: Box::new(source),
    })?;
    let place = HostsTable {
        file,
        table: String::new(),
    };
    let hosts = match root.remove("host") {
        Some(toml::Value::Table(hosts)) => hosts,
        Some(_) => return Err(place.wrong("host", "a table is expected")),
        None => Table::new(),
    };
    let server = match root.remove("server") {
        Some(toml::Value::String(server)) => Some(server).filter(|s| !s.is_empty()),
        Some(_) => return Err(place.wrong("server", "a text is expected")),
        None => None,
    };
    let mut endpoints = Vec::new();
    // The order of the file is the order to ask in: toml is built to keep it.
    for (name, value) in hosts {
        let toml::Value::Table(table) = value else {
            let what = format!("a table is expected: write it as [host.{name:?}]");
            return Err(place.wrong(&format!("host.{name:?}"), what));
        };
        let place = HostsTable {
            file,
            table: format!("host.{name:?}."),
        };
        let endpoint = at_url(&name).map_err(|what| place.wrong("", what))?;
        endpoints.push(configured(dir, &place, endpoint, table)?);
    }
    let last = match server {
        Some(server) => at_url(&server).map_err(|what| place.wrong("server", what))?,
        None => upstream(host),
    };
    // The path of the registry itself is as it should be.
    endpoints.push(configured(dir, &place, last, root)?);
    Ok(endpoints)
}

/// Reads the keys of a table.
fn host_table(mut table: Table, place: &HostsTable<'_>) -> Result<HostTable, HostsError> {
    Ok(HostTable {
        capabilities: take(&mut table, "capabilities", place)?,
        ca: take(&mut table, "ca", place)?,
        client: take(&mut table, "client", place)?,
        skip_verify: take(&mut table, "skip_verify", place)?,
        override_path: take(&mut table, "override_path", place)?,
        headers: headers(table.remove("header"), place)?,
    })
}

fn take<T: DeserializeOwned + Default>(
    table: &mut Table,
    key: &str,
    place: &HostsTable<'_>,
) -> Result<T, HostsError> {
    let value = table.remove(key).map(toml::Value::try_into).transpose();
    let value = value.map_err(|error: toml::de::Error| place.wrong(key, error.message()))?;
    Ok(value.unwrap_or_default())
}

/// The host of a URL, with the path as it is written there, or what is wrong with the URL.
fn at_url(url: &str) -> Result<Endpoint, String> {
    let refuse = |why: &str| {
        format!(
            "{url:?} is not an http or https URL of a registry{why}: write one such as \
             \"https://registry.example:5000\""
        )
    };
    let (scheme, rest) = url.split_once("://").unwrap_or(("https", url));
    let scheme = match scheme.to_ascii_lowercase().as_str() {
        "https" => Scheme::Https,
        "http" => Scheme::Http,
        _ => return Err(refuse("")),
    };
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let well_formed = !authority.contains('@')
        && !url.contains(['?', '#', '\\', ' '])
        && !url.contains(char::is_control);
    if !well_formed {
        return Err(refuse(""));
    }
    // The scheme does not matter for what an authority may be.
    Url::parse(&format!("https://{authority}/")).map_err(|why| refuse(&format!(" ({why})")))?;
    Ok(Endpoint {
        scheme,
        path: path
            .split('/')
            .filter(|part| !part.is_empty())
            .flat_map(|part| ["/", part])
            .collect(),
        authority: authority.to_owned(),
        ..upstream(authority)
    })
}

fn configured(
    dir: &Path,
    place: &HostsTable<'_>,
    endpoint: Endpoint,
    table: Table,
) -> Result<Endpoint, HostsError> {
    let mut table = host_table(table, place)?;
    let path = match table.override_path || endpoint.path.ends_with("/v2") {
        true => endpoint.path.clone(),
        false => format!("{}/v2", endpoint.path),
    };
    let endpoint = Endpoint {
        path,
        headers: std::mem::take(&mut table.headers),
        tls: tls(dir, place, &table)?,
        ..endpoint
    };
    restricted(endpoint, place, &table.capabilities)
}

/// Takes from an endpoint what the file does not list, in any case of letters as containerd does.
fn restricted(
    mut endpoint: Endpoint,
    place: &HostsTable<'_>,
    listed: &[String],
) -> Result<Endpoint, HostsError> {
    if listed.is_empty() {
        return Ok(endpoint);
    }
    for name in listed {
        if !CAPABILITIES
            .iter()
            .any(|known| known.eq_ignore_ascii_case(name))
        {
            let what = format!("unknown value {name:?}: use {}", CAPABILITIES.join(", "));
            return Err(place.wrong("capabilities", what));
        }
    }
    let has = |wanted: &str| listed.iter().any(|name| name.eq_ignore_ascii_case(wanted));
    (endpoint.pull, endpoint.resolve) = (has("pull"), has("resolve"));
    Ok(endpoint)
}

/// The headers that a host is sent. Their values may be secrets, which no error shows.
fn headers(
    table: Option<toml::Value>,
    place: &HostsTable<'_>,
) -> Result<Vec<(HeaderName, HeaderValue)>, HostsError> {
    let table = match table {
        None => return Ok(Vec::new()),
        Some(toml::Value::Table(table)) => table,
        Some(_) => return Err(place.wrong("header", "a table is expected")),
    };
    let mut headers = Vec::new();
    for (name, values) in table {
        let key = match name.contains(|c: char| !c.is_ascii_alphanumeric() && !"-_".contains(c)) {
            true => format!("header.{name:?}"),
            false => format!("header.{name}"),
        };
        let Ok(name) = HeaderName::from_bytes(name.as_bytes()) else {
            let what = "it is not a name of an HTTP header: use letters, digits and hyphens";
            return Err(place.wrong(&key, what));
        };
        if [CONTENT_LENGTH, TRANSFER_ENCODING, TRAILER].contains(&name) {
            return Err(place.wrong(&key, "it belongs to each request itself: remove it"));
        }
        let values: Result<OneOrMany<String>, _> = values.try_into();
        let values = values.map_err(|error| place.wrong(&key, error.message()))?;
        for value in values.as_slice() {
            let Some(value) = secret_header(value.trim_matches([' ', '\t'])) else {
                let what = "its value holds a line break or another control character: remove it";
                return Err(place.wrong(&key, what));
            };
            headers.push((name.clone(), value));
        }
    }
    Ok(headers)
}

/// A value that no debug output shows; `None` when no header can hold it (RFC 9110, section 5.5).
pub(super) fn secret_header(value: &str) -> Option<HeaderValue> {
    let mut header = HeaderValue::from_bytes(value.as_bytes()).ok()?;
    header.set_sensitive(true);
    Some(header)
}

fn tls(dir: &Path, place: &HostsTable<'_>, table: &HostTable) -> Result<Tls, HostsError> {
    // The error says which key of the file names what cannot be read.
    let of_key = |key| {
        move |error: HostsError| match error {
            HostsError::Read { path, source } => HostsError::Named {
                path: place.file.to_owned(),
                key: place.key(key),
                file: path,
                source,
            },
            other @ (HostsError::Parse { .. }
            | HostsError::Key { .. }
            | HostsError::Named { .. }) => other,
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
            return Err(place.wrong("ca", what));
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
    holdfast_kernel::sys::regular::read(path, FILE_MAX).map_err(|source| HostsError::Read {
        path: path.to_owned(),
        source,
    })
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
