//! Minimal policies in WebAssembly text, which misbehave or do nothing.

use wit_component::{ComponentEncoder, StringEncoding};
use wit_parser::Resolve;

/// A core module that grants the credential with the empty id, unless `decide`
/// (instructions before its result) or `items` (of the module) change that.
pub struct Sketch {
    pub items: &'static str,
    pub decide: &'static str,
    pub describe: &'static str,
    pub schema: &'static str,
    pub validate: &'static str,
    pub memory: &'static str,
}

impl Default for Sketch {
    fn default() -> Self {
        Sketch {
            items: "",
            decide: "",
            describe: "",
            schema: "{}",
            validate: "",
            memory: r#"(memory (export "memory") 1)"#,
        }
    }
}

impl Sketch {
    pub fn component(&self) -> Vec<u8> {
        let Sketch {
            items,
            decide,
            describe,
            schema,
            validate,
            memory,
        } = self;
        let schema_text = schema.replace('"', "\\22");
        let schema_bytes = schema.len();
        // The result is at 1024, all zero: a grant of the credential "", or settings
        // without a problem. `cabi_realloc` allocates the request; `decide` gets a pointer
        // to the pointer and the length of the provider.
        let text = format!(
            r#"(module
                {memory}
                (global $next (mut i32) (i32.const 4096))
                (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
                    (local $at i32)
                    (local.set $at (i32.and (i32.add (global.get $next) (i32.const 7)) (i32.const -8)))
                    (global.set $next (i32.add (local.get $at) (local.get 3)))
                    (local.get $at))
                {items}
                (data (i32.const 1536) "{schema_text}")
                (func (export "entail:policy/about@0.2.0#describe") (result i32)
                    {describe}
                    (i32.const 1024))
                (func (export "entail:policy/settings@0.2.0#schema") (result i32)
                    (i32.store (i32.const 1280) (i32.const 1536))
                    (i32.store (i32.const 1284) (i32.const {schema_bytes}))
                    (i32.const 1280))
                (func (export "entail:policy/settings@0.2.0#validate") (param i32 i32) (result i32)
                    {validate}
                    (i32.const 1024))
                (func (export "entail:policy/resolver@0.2.0#decide") (param i32) (result i32)
                    {decide}
                    (i32.const 1024)))"#
        );
        let mut module = wat::parse_str(text).unwrap();
        let mut resolve = Resolve::default();
        let (package, _) = resolve
            .push_path(concat!(env!("CARGO_MANIFEST_DIR"), "/../../wit/policy.wit"))
            .unwrap();
        let world = resolve.select_world(&[package], Some("policy")).unwrap();
        wit_component::embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8)
            .unwrap();
        ComponentEncoder::default()
            .module(&module)
            .unwrap()
            .encode()
            .unwrap()
    }
}
