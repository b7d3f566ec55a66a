//! Modules that were built for wasm-bindgen, whose imports only JavaScript provides. Their
//! names show which crates are the cause.

use std::collections::BTreeSet;

use wasmparser::{Parser, Payload};

/// The modules that wasm-bindgen imports from, before and after its tool has processed
/// them.
const MODULES: [&str; 2] = ["__wbindgen", "wbg"];

/// The most functions that are named.
const MAX_NAMED: usize = 5;

/// Parts of the names of imports, and the crates that usually cause them.
const CRATES: [(&[&str], &str); 4] = [
    (
        &["getRandomValues", "randomFillSync", "crypto", "msCrypto"],
        "random numbers: getrandom with its feature js or wasm_js, also by way of uuid (js, v4), rand or ahash",
    ),
    (
        &[
            "getTimezoneOffset",
            "getFullYear",
            "getHours",
            "getTime_",
            "new0_",
        ],
        "the date and time zone: chrono with its feature wasmbind (switch its default features off), or jiff (js)",
    ),
    (
        &["now_", "performance", "Performance", "timeOrigin"],
        "a clock: web-time, or instant with its feature wasm-bindgen",
    ),
    (
        &[
            "fetch",
            "Request",
            "Headers",
            "setTimeout",
            "queueMicrotask",
            "console",
        ],
        "the network, timers or a console: web-sys, gloo, reqwest or wasm-bindgen-futures",
    ),
];

/// Returns why a module cannot become a policy; `None` if it does not use wasm-bindgen.
pub(super) fn reason(module: &[u8]) -> Option<String> {
    let functions = imports(module);
    if functions.is_empty() {
        return None;
    }
    let crates: Vec<&str> = CRATES
        .iter()
        .filter(|(parts, _)| {
            let matches = |name: &String| parts.iter().any(|part| name.contains(part));
            functions.iter().any(matches)
        })
        .map(|(_, crates)| *crates)
        .collect();
    let causes = match crates.as_slice() {
        [] => "wasm-bindgen, js-sys or web-sys is among its dependencies (cargo tree --target wasm32-unknown-unknown --invert wasm-bindgen)"
            .to_owned(),
        several => several.join("; "),
    };
    let named: Vec<&str> = functions
        .iter()
        .take(MAX_NAMED)
        .map(String::as_str)
        .collect();
    let more = match functions.len() - named.len() {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    Some(format!(
        "it needs wasm-bindgen, whose functions only JavaScript provides ({}{more}), and a policy \
         has nothing but its request. The usual cause is {causes}. Remove these crates or \
         features: the time is in the request, and a policy needs no random numbers",
        named.join(", ")
    ))
}

/// Returns the functions that a module imports from wasm-bindgen; empty if it does not
/// parse, which the encoder reports.
fn imports(module: &[u8]) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for payload in Parser::new(0).parse_all(module) {
        match payload {
            Ok(Payload::ImportSection(section)) => {
                for import in section.into_imports().flatten() {
                    if MODULES.iter().any(|name| import.module.contains(name)) {
                        found.insert(import.name.to_owned());
                    }
                }
            }
            Ok(Payload::CodeSectionStart { .. }) | Err(_) => break,
            Ok(_) => {}
        }
    }
    found
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // allowed in tests
mod tests {
    use super::*;

    fn module(imports: &[(&str, &str)]) -> Vec<u8> {
        let imports: Vec<String> = imports
            .iter()
            .map(|(module, name)| format!("(import \"{module}\" \"{name}\" (func))"))
            .collect();
        wat::parse_str(format!("(module {})", imports.join(" "))).unwrap()
    }

    #[test]
    fn the_imports_show_which_crates_cause_them() {
        for (name, expected) in [
            ("__wbg_getRandomValues_1c61fac11405ffdc", "getrandom"),
            ("__wbg_getTimezoneOffset_6b5752021c499c47", "chrono"),
            ("__wbg_now_807e54c39636c349", "web-time, or instant"),
            ("__wbg_fetch_a9bc66c159c18e19", "reqwest"),
            ("__wbindgen_describe", "--invert wasm-bindgen"),
        ] {
            let module = module(&[("__wbindgen_placeholder__", name)]);
            let reason = reason(&module).unwrap();
            assert!(reason.contains(expected), "{reason}");
            assert!(reason.contains(name), "{reason}");
        }
        let both = module(&[
            ("wbg", "__wbg_crypto_1"),
            ("./mine_bg.js", "__wbg_new0_2"),
            ("wbg", "__wbg_new0_2"),
        ]);
        let reason = reason(&both).unwrap();
        assert!(
            reason.contains("uuid") && reason.contains("wasmbind"),
            "{reason}"
        );
    }

    #[test]
    fn other_modules_have_no_reason() {
        assert_eq!(reason(&module(&[("env", "log")])), None);
        assert_eq!(reason(b"\0asm\x01\0\0\0\x02\xff"), None);
        assert_eq!(reason(b"no module"), None);
    }
}
