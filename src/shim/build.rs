//! Builds the pause program, which the shim embeds: static, without a C library, a few KiB.

use std::env;
use std::error::Error;
use std::path::Path;
use std::process::Command;

/// Source of the pause program.
const SOURCE: &str = "holdfast-pause.rs";

/// Link it without C start files, at a fixed address, in as few pages as possible.
const LINK_ARGUMENTS: [&str; 5] = [
    "-nostartfiles",
    "-nostdlib",
    "-static",
    "-Wl,--gc-sections,--build-id=none,-z,noseparate-code,-z,norelro",
    "-no-pie",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed={SOURCE}");
    println!("cargo::rerun-if-changed=build.rs");
    for argument in LINK_ARGUMENTS {
        println!("cargo::rustc-link-arg-bin=holdfast-pause={argument}");
    }
    let output = Path::new(&env::var("OUT_DIR")?).join("holdfast-pause");
    #[expect(
        clippy::disallowed_methods,
        reason = "a build script runs the compiler"
    )]
    let mut compiler = Command::new(env::var("RUSTC")?);
    compiler
        .args([
            "--edition=2024",
            "--crate-type=bin",
            "--crate-name=holdfast_pause",
        ])
        .args(["-Cpanic=abort", "-Copt-level=s", "-Cstrip=symbols"])
        .args(["-Crelocation-model=static", "-Ctarget-feature=+crt-static"])
        .arg(format!("--target={}", env::var("TARGET")?))
        .args(LINK_ARGUMENTS.map(|argument| format!("-Clink-arg={argument}")));
    if let Ok(linker) = env::var("RUSTC_LINKER") {
        compiler.arg(format!("-Clinker={linker}"));
    }
    let status = compiler.arg("-o").arg(&output).arg(SOURCE).status()?;
    if !status.success() {
        return Err(format!("compile {SOURCE}: {status}").into());
    }
    Ok(())
}
