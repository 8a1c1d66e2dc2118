//! What the reference implementations of other projects say, asked of Go programs in `e2e/tools`.

use std::path::Path;
use std::process::Command;

/// Runs a Go program of `e2e/tools` and returns its standard output. A machine without Go fails the test: passing
/// would hide a difference. `HOLDFAST_E2E_REFERENCES` is a directory where they are built already.
#[track_caller]
pub fn ask(program: &str, args: &[String]) -> String {
    let mut command = match std::env::var_os("HOLDFAST_E2E_REFERENCES") {
        Some(built) => Command::new(Path::new(&built).join(program)),
        None => go_run(program),
    };
    let output = command.args(args).output().unwrap_or_else(|error| {
        panic!(
            "cannot run {command:?}: {error}; run e2e/tools/install.sh, or put Go 1.21 or newer into PATH"
        )
    });
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{program}, {}: {errors}",
        output.status
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn go_run(program: &str) -> Command {
    let (module, package) = program.split_once('/').unwrap_or((program, "."));
    let directory = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tools")
        .join(module);
    let mut go = Command::new("go");
    go.args(["run", &format!("./{package}")])
        .current_dir(directory)
        .env("GOFLAGS", "-mod=readonly -buildvcs=false");
    go
}
