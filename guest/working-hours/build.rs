//! Linker settings of the core module.

/// Parsing JSON recurses, with some hundred bytes per level. A small stack means that
/// each call touches few pages, which the host must reset.
const STACK_BYTES: u32 = 64 * 1024;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if std::env::var("CARGO_CFG_TARGET_FAMILY").is_ok_and(|family| family == "wasm") {
        println!("cargo::rustc-link-arg-cdylib=-zstack-size={STACK_BYTES}");
    }
}
