//! holdfast-shim: the processes of pods, and the maker of the small mount namespace.
//!
//! `serve` takes everything by descriptor: 0 a socket of the daemon over which pods come, 2 the log.
//! `mount-namespace STORE` sends the namespace over the socket that is descriptor 0.

use std::error::Error;
use std::ffi::CString;
use std::os::unix::ffi::OsStringExt;
use std::process::ExitCode;

use holdfast_kernel::sys::descriptor::{Stream, inherited};
use holdfast_shim as shim;

fn run() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args_os().skip(1);
    let command = arguments.next().unwrap_or_default();
    match (command.to_str(), arguments.next()) {
        (Some("serve"), None) => Ok(shim::serve()?),
        (Some("mount-namespace"), Some(store)) => {
            let store = CString::new(store.into_vec())?;
            Ok(shim::serve_mount_namespace(
                &store,
                inherited(Stream::Input),
            )?)
        }
        _ => {
            Err("usage: holdfast-shim serve | mount-namespace STORE (started by holdfastd)".into())
        }
    }
}

fn main() -> ExitCode {
    let Err(error) = run() else {
        return ExitCode::SUCCESS;
    };
    let text = format!(
        "holdfast-shim: {}
",
        holdfast_kernel::error_chain(error.as_ref())
    );
    // Nobody is left to hear that the log cannot be written.
    let _ = holdfast_kernel::sys::descriptor::write(inherited(Stream::Error), text.as_bytes());
    ExitCode::FAILURE
}
