//! Generates the Rust side of the contracts. The protos are compiled in-process, so that a plain
//! `cargo build` needs no protoc.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::{env, fs};

/// The contracts, relative to this package.
const PROTOS: [&str; 2] = ["runtime/v1/api.proto", "holdfast/v1/holdfast.proto"];

/// Messages whose `Debug` is written by hand in `src/lib.rs`, since a derived one prints secrets.
const SECRET: &str = ".runtime.v1.AuthConfig";

fn main() -> Result<(), Box<dyn Error>> {
    let root =
        PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").ok_or("CARGO_MANIFEST_DIR is not set")?);
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("OUT_DIR is not set")?);
    for proto in PROTOS {
        println!("cargo::rerun-if-changed={proto}");
    }
    println!("cargo::rerun-if-changed=build.rs");

    let descriptors = compile(&root)?;
    // Encoded by the compiler itself: prost's own types would drop options they do not know.
    #[allow(
        clippy::disallowed_methods,
        reason = "a build script writes into OUT_DIR only"
    )]
    fs::write(
        out.join("descriptors.bin"),
        descriptors.encode_file_descriptor_set(),
    )?;

    tonic_prost_build::configure()
        .build_client(true)
        .build_server(true)
        // An RPC that a service does not override answers UNIMPLEMENTED.
        .generate_default_stubs(true)
        .skip_debug([SECRET])
        .compile_fds(descriptors.file_descriptor_set())?;
    Ok(())
}

fn compile(root: &Path) -> Result<protox::Compiler, protox::Error> {
    let mut compiler = protox::Compiler::new([root])?;
    compiler.include_source_info(true).include_imports(true);
    for proto in PROTOS {
        compiler.open_file(proto)?;
    }
    Ok(compiler)
}
