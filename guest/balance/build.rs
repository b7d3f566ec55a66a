//! Linker settings of the core module.

/// The policy does not recurse, so a small stack is enough; a small one also
/// means that fewer pages are touched, and reset, for each call.
const STACK_BYTES: u32 = 16 * 1024;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if std::env::var("CARGO_CFG_TARGET_FAMILY").is_ok_and(|family| family == "wasm") {
        println!("cargo::rustc-link-arg-cdylib=-zstack-size={STACK_BYTES}");
    }
}
