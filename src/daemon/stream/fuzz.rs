//! Entry points of the fuzzer to what reads bytes of clients: see `e2e/fuzz`.

use tokio::io::{join, sink};

use super::drive::Activity;
use super::{head, negotiate, spdy, websocket};

/// A request's head, what it negotiates, and what follows it in whatever protocol that is.
pub async fn connection(bytes: &[u8]) {
    let mut input = bytes;
    let Ok((head, rest)) = head::read(&mut input).await else {
        return;
    };
    let _ = negotiate::transport(&head);
    let _ = negotiate::spdy_command(&head);
    let _ = negotiate::spdy_port_forward(&head);
    let _ = negotiate::websocket_command(&head);
    let _ = negotiate::websocket_port_forward(&head);
    let _ = websocket::accept(&head);
    let rest = [&rest[..], input].concat();
    spdy_frames(&rest).await;
}

/// Frames of SPDY, as a connection reads them.
pub async fn spdy_frames(bytes: &[u8]) {
    let activity = Activity::new();
    let session = |mut opened: tokio::sync::mpsc::Receiver<spdy::Opened>| async move {
        while let Some(opened) = opened.recv().await {
            let _ = spdy::value(&opened.headers, "streamtype");
        }
    };
    let _ = spdy::serve(join(bytes, sink()), &activity, session).await;
}

/// Reads the input as messages of a WebSocket client.
pub async fn websocket_messages(bytes: &[u8]) {
    let activity = Activity::new();
    for codec in [negotiate::Codec::Binary, negotiate::Codec::Base64] {
        let form = websocket::Form { codec, ends: true };
        let socket = websocket::open(join(bytes, sink())).await;
        let session = |channels: &mut websocket::Channels| {
            let open: Vec<_> = (0..5).map(|number| channels.open(number)).collect();
            async move { drop(open) }
        };
        let _ = websocket::serve(socket, form, &activity, session).await;
    }
}
