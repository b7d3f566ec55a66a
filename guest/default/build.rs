//! Linker settings of the core module.

/// The policy does not recurse, so a small stack is enough; a small one also
/// means that fewer pages are touched, and reset, for each call. Only for the component
/// itself: cargo passes these settings on to all dependents of the rules.
const STACK_BYTES: u32 = 16 * 1024;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let is_component = std::env::var_os("CARGO_FEATURE_COMPONENT").is_some();
    if is_component && std::env::var("CARGO_CFG_TARGET_FAMILY").is_ok_and(|family| family == "wasm")
    {
        println!("cargo::rustc-link-arg-cdylib=-zstack-size={STACK_BYTES}");
    }
}
