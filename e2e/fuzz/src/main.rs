//! The fuzzer: one program, so that it is linked once. `FUZZ_TARGET` names the target; what is said to it on its
//! command line is libFuzzer's. `run.sh` builds and runs it.
#![no_main]

mod log;
mod wire;

use std::path::PathBuf;
use std::sync::OnceLock;

use libfuzzer_sys::{Corpus, fuzz_target};
use tokio::runtime::{Builder, Runtime};

/// What to do with bytes.
type Target = fn(&[u8]);

/// All targets, by name. `seeds/NAME` has what each begins with.
const TARGETS: [(&str, Target); 16] = [
    ("cdi", |bytes| holdfastd::fuzz::cdi(&text(bytes))),
    ("cni-config", |bytes| {
        holdfast_network::cni::fuzz::configuration(bytes)
    }),
    ("cni-output", |bytes| {
        holdfast_network::cni::fuzz::output(bytes)
    }),
    ("config", |bytes| {
        holdfastd::fuzz::configuration(&text(bytes))
    }),
    ("hosts", |bytes| holdfast_image::fuzz::hosts(&text(bytes))),
    ("image-document", |bytes| {
        holdfast_image::fuzz::document(bytes)
    }),
    ("kernel-file", |bytes| {
        holdfast_kernel::cgroup::fuzz::file(&text(bytes))
    }),
    ("layer", layer),
    ("log", log::pump),
    ("record", |bytes| holdfastd::fuzz::record(bytes)),
    ("reference", |bytes| {
        holdfast_image::fuzz::reference(&text(bytes))
    }),
    ("request", holdfastd::fuzz::request),
    ("stream", stream),
    ("users", holdfastd::fuzz::users),
    ("websocket", websocket),
    ("wire", wire::packet),
];

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn layer(bytes: &[u8]) {
    static PLACE: OnceLock<PathBuf> = OnceLock::new();
    let place = PLACE.get_or_init(|| {
        std::env::var_os("FUZZ_PLACE")
            .expect("FUZZ_PLACE is not set")
            .into()
    });
    holdfast_image::fuzz::layer(bytes, place);
}

/// Waits for what only needs the bytes that are there.
fn wait(work: impl Future<Output = ()>) {
    thread_local! {
        static RUNTIME: Runtime = Builder::new_current_thread()
            .enable_time()
            .build()
            .expect("a runtime");
    }
    RUNTIME.with(|runtime| runtime.block_on(work));
}

fn stream(bytes: &[u8]) {
    // What begins like a request is one; anything else is frames.
    if bytes.first().is_some_and(u8::is_ascii_alphabetic) {
        wait(holdfastd::fuzz::connection(bytes));
    } else {
        wait(holdfastd::fuzz::spdy_frames(bytes));
    }
}

fn websocket(bytes: &[u8]) {
    wait(holdfastd::fuzz::websocket_messages(bytes));
}

fuzz_target!(|bytes: &[u8]| -> Corpus {
    static TARGET: OnceLock<Target> = OnceLock::new();
    let target = TARGET.get_or_init(|| {
        let name = std::env::var("FUZZ_TARGET").unwrap_or_default();
        let found = TARGETS.iter().find(|(known, _)| *known == name);
        found
            .unwrap_or_else(|| {
                panic!(
                    "FUZZ_TARGET is {name:?}, which is none of {:?}",
                    TARGETS.map(|(name, _)| name)
                )
            })
            .1
    });
    target(bytes);
    Corpus::Keep
});
