//! Chooses a protocol that both a client and this server support.

use super::head::{Head, Refusal};

/// Versions of the remote command protocol: what the `error` stream says, and whether there is `resize`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Version {
    /// Errors are text, and there is no `resize` stream.
    V1,
    /// Version 1 with streams that end one by one.
    V2,
    /// Version 2 with a `resize` stream.
    V3,
    /// The outcome as a Status in JSON, with the exit code.
    V4,
    /// Version 4 with a message that ends a single stream over WebSocket.
    V5,
}

/// Protocols of exec and attach over SPDY.
const COMMAND: [(&str, Version); 4] = [
    ("v4.channel.k8s.io", Version::V4),
    ("v3.channel.k8s.io", Version::V3),
    ("v2.channel.k8s.io", Version::V2),
    ("channel.k8s.io", Version::V1),
];

/// The protocol of port-forwards over SPDY.
pub(super) const PORT_FORWARD: &str = "portforward.k8s.io";

/// The header with which SPDY clients offer protocols, and the answer's.
pub(super) const PROTOCOL_HEADER: &str = "X-Stream-Protocol-Version";

/// Form of messages over WebSocket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Codec {
    /// Binary, with the channel as first byte.
    Binary,
    /// Text: the channel as a digit, then base64.
    Base64,
}

/// The protocol that carries the streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Transport {
    Spdy,
    WebSocket,
}

/// Finds the protocol that a client wants to change to.
///
/// # Errors
/// [`Refusal`] when the client asks for neither SPDY nor WebSocket.
pub(super) fn transport(head: &Head) -> Result<Transport, Refusal> {
    let upgrades = head.has_word("Connection", "upgrade");
    if upgrades && head.has_word("Upgrade", "SPDY/3.1") {
        return Ok(Transport::Spdy);
    }
    if upgrades && head.has_word("Upgrade", "websocket") {
        return Ok(Transport::WebSocket);
    }
    let text =
        "streams need a request with Connection: Upgrade, and Upgrade: SPDY/3.1 or websocket";
    Err(Refusal::new("400 Bad Request", text))
}

/// The first of a client's protocols that is served. Without any it is the oldest.
fn choose<'h, T: Copy>(
    offered: impl Iterator<Item = &'h str>,
    served: &[(&'static str, T)],
    oldest: T,
) -> Result<(Option<&'static str>, T), Refusal> {
    let mut any = false;
    for wanted in offered {
        any = true;
        if let Some((name, meaning)) = served.iter().find(|(name, _)| *name == wanted) {
            return Ok((Some(name), *meaning));
        }
    }
    if !any {
        return Ok((None, oldest));
    }
    let names: Vec<_> = served.iter().map(|(name, _)| *name).collect();
    Err(Refusal {
        status: "403 Forbidden",
        text: format!(
            "none of the offered protocols is served; offer one of {}",
            names.join(", ")
        ),
        headers: names
            .iter()
            .map(|name| ("X-Accepted-Stream-Protocol-Versions", (*name).to_owned()))
            .collect(),
    })
}

/// The protocol of an exec or attach over SPDY.
///
/// # Errors
/// [`Refusal`] when no offered protocol is supported.
pub(super) fn spdy_command(head: &Head) -> Result<(Option<&'static str>, Version), Refusal> {
    choose(head.words(PROTOCOL_HEADER), &COMMAND, Version::V1)
}

/// The protocol of a port-forward over SPDY.
///
/// # Errors
/// [`Refusal`] when no offered protocol is supported.
pub(super) fn spdy_port_forward(head: &Head) -> Result<Option<&'static str>, Refusal> {
    let served = [(PORT_FORWARD, ())];
    choose(head.words(PROTOCOL_HEADER), &served, ()).map(|(name, ())| name)
}

/// The protocol of an exec or attach over WebSocket.
///
/// # Errors
/// [`Refusal`] when no offered protocol is supported.
pub(super) fn websocket_command(
    head: &Head,
) -> Result<(Option<&'static str>, (Version, Codec)), Refusal> {
    use Codec::{Base64, Binary};
    let served = [
        ("v5.channel.k8s.io", (Version::V5, Binary)),
        ("v4.channel.k8s.io", (Version::V4, Binary)),
        ("v4.base64.channel.k8s.io", (Version::V4, Base64)),
        ("channel.k8s.io", (Version::V1, Binary)),
        ("base64.channel.k8s.io", (Version::V1, Base64)),
    ];
    let oldest = (Version::V1, Binary);
    choose(head.words("Sec-WebSocket-Protocol"), &served, oldest)
}

/// Whether a client can end one channel and go on with the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ChannelEnds {
    /// Only with the connection.
    Never,
    /// With the message of v5. Kubernetes has no v5 of port-forwards; without it a client that has sent
    /// everything could not say so and still read the answer.
    ByMessage,
}

/// How a port-forward goes over WebSocket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Forward {
    /// Two channels for each port of the request.
    Channels(Codec, ChannelEnds),
    /// A connection of SPDY in binary messages.
    Tunnel,
}

/// Chooses the protocol of a port-forward over WebSocket.
///
/// # Errors
/// [`Refusal`] when no offered protocol is supported.
pub(super) fn websocket_port_forward(
    head: &Head,
) -> Result<(Option<&'static str>, Forward), Refusal> {
    let served = [
        ("SPDY/3.1+portforward.k8s.io", Forward::Tunnel),
        (
            "v5.channel.k8s.io",
            Forward::Channels(Codec::Binary, ChannelEnds::ByMessage),
        ),
        (
            "v4.channel.k8s.io",
            Forward::Channels(Codec::Binary, ChannelEnds::Never),
        ),
        (
            "v4.base64.channel.k8s.io",
            Forward::Channels(Codec::Base64, ChannelEnds::Never),
        ),
    ];
    let oldest = Forward::Channels(Codec::Binary, ChannelEnds::Never);
    choose(head.words("Sec-WebSocket-Protocol"), &served, oldest)
}
