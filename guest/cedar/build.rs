//! Linker settings of the core module.

/// Cedar's parser, validator and evaluator recurse into the rules, the last with
/// 4 KiB an operator. This lets a rule have some hundreds.
const STACK_BYTES: u32 = 2 * 1024 * 1024;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if std::env::var("CARGO_CFG_TARGET_FAMILY").is_ok_and(|family| family == "wasm") {
        println!("cargo::rustc-link-arg-cdylib=-zstack-size={STACK_BYTES}");
    }
}
