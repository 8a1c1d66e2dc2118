//! Content of the files that all containers of a pod share: /etc/hosts, /etc/hostname, /etc/resolv.conf.

use std::fs;
use std::io::{self, Read};
use std::path::Path;

use crate::spec::{DnsConfig, PodConfig};
use holdfast_disk::{Dir, Durability, FileName};

use super::error::PodError;

/// Largest file of the host that is copied into a pod.
const COPY_LIMIT: u64 = 1 << 20;

/// Names in the pod's state directory.
pub(super) const HOSTS: &str = "hosts";
pub(super) const HOSTNAME: &str = "hostname";
pub(super) const RESOLV_CONF: &str = "resolv.conf";

/// The pod's host name: that of the node when it asks for none.
pub(super) fn hostname<'a>(config: &'a PodConfig, node: &'a str) -> &'a str {
    if config.hostname.is_empty() {
        node
    } else {
        &config.hostname
    }
}

/// Writes the three files.
///
/// # Errors
/// The disk refuses.
pub(super) fn write(dir: &Dir, config: &PodConfig, node: &str) -> Result<(), PodError> {
    let resolv_conf = match &config.dns {
        Some(dns) => resolv_conf(dns),
        None => copy(Path::new("/etc/resolv.conf"))?,
    };
    let hostname = format!("{}\n", hostname(config, node));
    let owner = config.root_owner();
    write_file(dir, HOSTS, &copy(Path::new("/etc/hosts"))?, owner)?;
    write_file(dir, HOSTNAME, hostname.as_bytes(), owner)?;
    write_file(dir, RESOLV_CONF, &resolv_conf, owner)
}

fn write_file(dir: &Dir, name: &str, content: &[u8], owner: (u32, u32)) -> Result<(), PodError> {
    use std::os::unix::fs::PermissionsExt;
    let name = FileName::new(name)?;
    dir.replace(&name, content, Durability::Volatile)?;
    // Processes of any user in the pod read them.
    let shown = |source| PodError::System {
        doing: "make a file of the pod readable for everybody",
        source,
    };
    let file = dir.open_file(&name)?;
    std::os::unix::fs::fchown(&file, Some(owner.0), Some(owner.1)).map_err(shown)?;
    file.set_permissions(fs::Permissions::from_mode(0o644))
        .map_err(shown)
}

/// A file of the host; a missing one is empty.
fn copy(path: &Path) -> Result<Vec<u8>, PodError> {
    let mut content = Vec::new();
    match fs::File::open(path).and_then(|file| file.take(COPY_LIMIT).read_to_end(&mut content)) {
        Ok(_) => Ok(content),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(source) => Err(PodError::System {
            doing: "copy the host's file into the pod",
            source,
        }),
    }
}

/// resolv.conf(5). A present but empty configuration is an empty file.
fn resolv_conf(dns: &DnsConfig) -> Vec<u8> {
    let mut text = String::new();
    if !dns.searches.is_empty() {
        text.push_str(&format!("search {}\n", dns.searches.join(" ")));
    }
    for server in &dns.servers {
        text.push_str(&format!("nameserver {server}\n"));
    }
    if !dns.options.is_empty() {
        text.push_str(&format!("options {}\n", dns.options.join(" ")));
    }
    text.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolv_conf_has_searches_servers_and_options() {
        let dns = DnsConfig {
            servers: vec!["10.0.0.10".into(), "fd00::a".into()],
            searches: vec!["a.local".into(), "b".into()],
            options: vec!["ndots:5".into()],
        };
        let text = String::from_utf8(resolv_conf(&dns)).unwrap();
        assert_eq!(
            text,
            "search a.local b\nnameserver 10.0.0.10\nnameserver fd00::a\noptions ndots:5\n"
        );
        let none = DnsConfig {
            servers: vec![],
            searches: vec![],
            options: vec![],
        };
        assert!(resolv_conf(&none).is_empty());
    }
}
