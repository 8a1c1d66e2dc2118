//! A bad line to a registry: a TCP proxy that breaks, stalls or slows what comes back.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// What a connection does to the bytes that come back.
#[derive(Debug, Clone, Copy)]
pub enum Line {
    /// Passes all bytes on at once.
    Good,
    /// The first connections break after so many bytes each.
    Breaks {
        /// How many connections break.
        connections: u32,
        /// Bytes that each lets through.
        after: u64,
    },
    /// The first connections fall silent after so many bytes each.
    Stalls {
        /// How many connections fall silent.
        connections: u32,
        /// Bytes that each lets through.
        after: u64,
    },
    /// So many bytes a second on each connection.
    Slow(u64),
}

/// The proxy; it ends with this value.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    line: Line,
    upstream: String,
    connections: AtomicU32,
    passed: AtomicU64,
    asked: Mutex<Vec<u8>>,
    ended: AtomicBool,
}

impl Proxy {
    /// Listens on loopback in front of HOST:PORT.
    #[track_caller]
    pub fn start(upstream: &str, line: Line) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap_or_else(|error| panic!("{error}"));
        let address = listener
            .local_addr()
            .unwrap_or_else(|error| panic!("{error}"));
        let shared = Arc::new(Shared {
            line,
            upstream: upstream.to_owned(),
            connections: AtomicU32::new(0),
            passed: AtomicU64::new(0),
            asked: Mutex::default(),
            ended: AtomicBool::new(false),
        });
        let serving = Arc::clone(&shared);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if serving.ended.load(Ordering::Acquire) {
                    return;
                }
                let shared = Arc::clone(&serving);
                thread::spawn(move || shared.serve(client));
            }
        });
        Self { address, shared }
    }

    /// Where the proxy listens: HOST:PORT.
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// Bytes that came back through it.
    pub fn passed(&self) -> u64 {
        self.shared.passed.load(Ordering::Relaxed)
    }

    /// What clients sent, in lower case.
    pub fn asked(&self) -> String {
        String::from_utf8_lossy(&self.shared.asked()).to_lowercase()
    }

    /// Connections that were made to it.
    pub fn connections(&self) -> u32 {
        self.shared.connections.load(Ordering::Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Release);
        // Wakes the thread that accepts.
        let _ = TcpStream::connect(self.address);
    }
}

impl Shared {
    fn asked(&self) -> MutexGuard<'_, Vec<u8>> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn serve(self: &Arc<Self>, client: TcpStream) -> Option<()> {
        let number = self.connections.fetch_add(1, Ordering::Relaxed);
        let server = TcpStream::connect(&self.upstream).ok()?;
        let (mut up_from, mut up_to) = (client.try_clone().ok()?, server.try_clone().ok()?);
        let shared = Arc::clone(self);
        thread::spawn(move || {
            let mut block = [0; 4096];
            while let Ok(length @ 1..) = up_from.read(&mut block) {
                shared.asked().extend_from_slice(&block[..length]);
                if up_to.write_all(&block[..length]).is_err() {
                    break;
                }
            }
            let _ = up_to.shutdown(Shutdown::Write);
        });
        self.back(server, client, number)
    }

    fn back(&self, mut server: TcpStream, mut client: TcpStream, number: u32) -> Option<()> {
        let mut block = vec![0; 16 << 10];
        let mut sent = 0;
        loop {
            if let Line::Slow(rate) = self.line {
                block.resize(usize::try_from(rate / 20).ok()?.max(1), 0);
            }
            let length = server.read(&mut block).ok()?;
            if length == 0 {
                let _ = client.shutdown(Shutdown::Write);
                return Some(());
            }
            match self.line {
                Line::Breaks { connections, after } if number < connections && sent >= after => {
                    let _ = client.shutdown(Shutdown::Both);
                    let _ = server.shutdown(Shutdown::Both);
                    return None;
                }
                Line::Stalls { connections, after } if number < connections && sent >= after => {
                    while !self.ended.load(Ordering::Acquire) {
                        thread::sleep(Duration::from_millis(50));
                    }
                    return None;
                }
                Line::Slow(_) => thread::sleep(Duration::from_millis(50)),
                Line::Good | Line::Breaks { .. } | Line::Stalls { .. } => {}
            }
            client.write_all(&block[..length]).ok()?;
            sent += length as u64;
            self.passed.fetch_add(length as u64, Ordering::Relaxed);
        }
    }
}
