//! The ports and addresses of the command line, and listening on them.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use tokio::net::TcpListener;

/// A local port and the pod's port that it leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ports {
    /// The local port; 0 for any free one.
    pub local: u16,
    /// The port in the pod.
    pub remote: u16,
}

impl FromStr for Ports {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (local, remote) = text.split_once(':').unwrap_or((text, text));
        let remote = remote.parse().ok().filter(|port| *port > 0);
        let remote = remote.ok_or("the pod's port must be from 1 to 65535")?;
        let local = match local {
            "" => 0,
            local => local
                .parse()
                .map_err(|_| "the local port must be from 0 to 65535")?,
        };
        Ok(Self { local, remote })
    }
}

/// A value of the option `--address`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Addresses {
    /// Both 127.0.0.1 and ::1.
    Localhost,
    /// A single IP address.
    One(IpAddr),
}

impl FromStr for Addresses {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "localhost" => Ok(Self::Localhost),
            text => text
                .parse()
                .map(Self::One)
                .map_err(|_| "give an IP address, or localhost"),
        }
    }
}

/// A local port cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}")]
pub(crate) struct ListenError {
    address: SocketAddr,
    #[source]
    source: io::Error,
}

/// Listens on all addresses. On localhost, IPv4 and IPv6 have the same port, and one of them is enough.
pub(super) async fn listen(
    addresses: &[Addresses],
    ports: Ports,
) -> Result<Vec<(TcpListener, SocketAddr)>, ListenError> {
    let mut listeners = Vec::new();
    for address in addresses {
        match address {
            Addresses::One(address) => listeners.push(bind(*address, ports.local).await?),
            Addresses::Localhost => {
                let four = bind(Ipv4Addr::LOCALHOST.into(), ports.local).await;
                let port = four.as_ref().map_or(ports.local, |(_, bound)| bound.port());
                let six = bind(Ipv6Addr::LOCALHOST.into(), port).await;
                match (four, six) {
                    (Err(error), Err(_)) => return Err(error),
                    // Without IPv6 there is no ::1; a port that somebody has there is not ours to take.
                    (four, six) => listeners.extend([four, six].into_iter().flatten()),
                }
            }
        }
    }
    Ok(listeners)
}

async fn bind(address: IpAddr, port: u16) -> Result<(TcpListener, SocketAddr), ListenError> {
    let address = SocketAddr::new(address, port);
    let failed = |source| ListenError { address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok((listener, bound))
}

#[cfg(test)]
mod tests {
    use super::{Addresses, Ports};

    #[test]
    fn ports_are_a_pair_or_one_for_both() {
        let parse = |text: &str| {
            let ports = text.parse::<Ports>();
            ports.map(|ports| (ports.local, ports.remote)).ok()
        };
        assert_eq!(parse("80"), Some((80, 80)));
        assert_eq!(parse("8080:80"), Some((8080, 80)));
        assert_eq!(parse(":80"), Some((0, 80)));
        assert_eq!(parse("0:80"), Some((0, 80)));
        for text in ["", "0", "80:", "x:80", "80:70000", "8:8:8"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn addresses_are_numbers() {
        assert_eq!("localhost".parse(), Ok(Addresses::Localhost));
        assert!("::1".parse::<Addresses>().is_ok());
        assert!("example.com".parse::<Addresses>().is_err());
    }
}
