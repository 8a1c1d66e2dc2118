//! Standard input, read by a thread: a terminal cannot be waited for in any other way that works for files too.

use std::io::{self, Read};

use tokio::sync::mpsc;

/// Bytes read at once.
const CHUNK: usize = 16 << 10;
/// Chunks that wait for the daemon.
const MAX_QUEUED_CHUNKS: usize = 4;

/// Reads standard input in a thread; the end of the channel is the end of the input. The thread is not waited for: it
/// may be reading a terminal for ever.
pub(super) fn start() -> mpsc::Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel(MAX_QUEUED_CHUNKS);
    std::thread::spawn(move || {
        let mut stdin = io::stdin().lock();
        let mut chunk = vec![0; CHUNK];
        loop {
            match stdin.read(&mut chunk) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // An input that cannot be read has ended for the command.
                Ok(0) | Err(_) => return,
                Ok(count) => {
                    if sender.blocking_send(chunk[..count].to_vec()).is_err() {
                        return;
                    }
                }
            }
        }
    });
    receiver
}
