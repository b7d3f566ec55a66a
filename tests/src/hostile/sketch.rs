//! Components in a few lines of WebAssembly text, each of which misbehaves in one way.
//!
//! A sketch grants the credential `default` to every request, or refuses if there is none.
//! Its other behaviour is given as instructions in the text format, for each place at which
//! they run.

use wit_component::{ComponentEncoder, StringEncoding};
use wit_parser::Resolve;

/// The current contract.
const CONTRACT: &str = include_str!("../../../wit/policy.wit");

/// The contract's first version.
const FIRST_CONTRACT: &str = include_str!("../../../wit/released/0.1.0/policy.wit");

/// Worlds that differ from the contract's.
const OTHER_WORLDS: &str = "
    world without-settings { export resolver; export about; }
    world without-about { export resolver; export settings; }
    world without-resolver { export settings; export about; }
";

/// The address of the result of `decide`: 52 bytes of a `result<decision, error>`.
pub(super) const ANSWER: u32 = 1024;
/// The address of the description: three texts.
pub(super) const DESCRIPTION: u32 = 1152;
/// The address of the pointer to the text of the schema.
pub(super) const SCHEMA: u32 = 1184;
/// The address of the result of `validate`: a `result<_, list<problem>>`.
pub(super) const VALIDATION: u32 = 1200;
/// The address of the scratch memory of a sketch.
pub(super) const SCRATCH: u32 = 3072;
/// The address of the text of the schema.
const SCHEMA_TEXT: u32 = 32_768;
/// A page of memory.
const PAGE: u32 = 65_536;

/// The common part of all sketches: functions that find and grant a credential. The offsets
/// are those of the contract's records in the canonical ABI.
const COMMON: &str = r#"
    (global $evil (mut i32) (i32.const 0))
    (data (i32.const 1280) "sketch1.0.0A sketch.defaultno-credential")
    ;; Whether two texts are equal.
    (func $same (param $a i32) (param $a_len i32) (param $b i32) (param $b_len i32) (result i32)
        (if (i32.ne (local.get $a_len) (local.get $b_len)) (then (return (i32.const 0))))
        (loop $on
            (if (i32.eqz (local.get $a_len)) (then (return (i32.const 1))))
            (if (i32.ne (i32.load8_u (local.get $a)) (i32.load8_u (local.get $b)))
                (then (return (i32.const 0))))
            (local.set $a (i32.add (local.get $a) (i32.const 1)))
            (local.set $b (i32.add (local.get $b) (i32.const 1)))
            (local.set $a_len (i32.sub (local.get $a_len) (i32.const 1)))
            (br $on))
        (unreachable))
    ;; The credential with a name anywhere in the chain; 0 if there is none.
    (func $find (param $p i32) (param $name i32) (param $len i32) (result i32)
        (local $scope i32) (local $scopes i32) (local $credential i32) (local $credentials i32)
        (local.set $scope (i32.load offset=64 (local.get $p)))
        (local.set $scopes (i32.load offset=68 (local.get $p)))
        (block $none
            (loop $each_scope
                (br_if $none (i32.eqz (local.get $scopes)))
                (local.set $credential (i32.load offset=24 (local.get $scope)))
                (local.set $credentials (i32.load offset=28 (local.get $scope)))
                (block $next_scope
                    (loop $each
                        (br_if $next_scope (i32.eqz (local.get $credentials)))
                        (if (call $same
                                (i32.load offset=8 (local.get $credential))
                                (i32.load offset=12 (local.get $credential))
                                (local.get $name) (local.get $len))
                            (then (return (local.get $credential))))
                        (local.set $credential (i32.add (local.get $credential) (i32.const 80)))
                        (local.set $credentials (i32.sub (local.get $credentials) (i32.const 1)))
                        (br $each)))
                (local.set $scope (i32.add (local.get $scope) (i32.const 40)))
                (local.set $scopes (i32.sub (local.get $scopes) (i32.const 1)))
                (br $each_scope)))
        (i32.const 0))
    ;; Writes the id of a credential to an address.
    (func $name (param $at i32) (param $credential i32)
        (if (local.get $credential) (then
            (i32.store (local.get $at) (i32.load (local.get $credential)))
            (i32.store offset=4 (local.get $at) (i32.load offset=4 (local.get $credential))))
        (else
            (i32.store (local.get $at) (i32.const 0))
            (i32.store offset=4 (local.get $at) (i32.const 0)))))
    ;; Grants `default` for the model of the request, or refuses.
    (func $answer (param $p i32)
        (local $credential i32)
        (local.set $credential (call $find (local.get $p) (i32.const 1300) (i32.const 7)))
        (if (local.get $credential) (then
            (call $name (i32.const 1032) (local.get $credential))
            (i32.store8 (i32.const 1048) (i32.load8_u offset=8 (local.get $p)))
            (i32.store (i32.const 1052) (i32.load offset=12 (local.get $p)))
            (i32.store (i32.const 1056) (i32.load offset=16 (local.get $p))))
        (else
            (i32.store8 (i32.const 1028) (i32.const 1))
            (i32.store (i32.const 1032) (i32.const 1307))
            (i32.store (i32.const 1036) (i32.const 13)))))
    ;; Whether the request is for the provider `evil`.
    (func $is_evil (param $p i32) (result i32)
        (i32.and
            (i32.eq (i32.load offset=4 (local.get $p)) (i32.const 4))
            (i32.eq (i32.load (i32.load (local.get $p))) (i32.const 0x6c697665))))
"#;

/// The parts of a component.
#[derive(Clone, Debug)]
pub struct Sketch {
    memory: Option<String>,
    items: String,
    realloc: String,
    describe: String,
    schema: String,
    schema_text: Vec<u8>,
    validate: String,
    decide: String,
    when: String,
    evil: String,
    after: String,
    contract: String,
    version: &'static str,
    world: &'static str,
}

impl Default for Sketch {
    fn default() -> Self {
        Sketch {
            memory: None,
            items: String::new(),
            realloc: String::new(),
            describe: String::new(),
            schema: String::new(),
            schema_text: br#"{"type":"object"}"#.to_vec(),
            validate: String::new(),
            decide: String::new(),
            when: "(call $is_evil (local.get $p))".to_owned(),
            evil: String::new(),
            after: String::new(),
            contract: [CONTRACT, OTHER_WORLDS].concat(),
            version: "0.2.0",
            world: "policy",
        }
    }
}

impl Sketch {
    /// Runs `instructions` after the decision of a request for the provider `evil`, and so not
    /// in the trial call.
    pub fn evil(instructions: impl Into<String>) -> Self {
        Sketch {
            evil: instructions.into(),
            ..Sketch::default()
        }
    }

    /// Runs `instructions` before the decision of each request.
    pub fn decide(instructions: impl Into<String>) -> Self {
        Sketch {
            decide: instructions.into(),
            ..Sketch::default()
        }
    }

    /// Sets the condition for misbehaving, instead of the provider `evil`: an expression over
    /// `$p`, which points to the request.
    #[must_use]
    pub fn when(self, condition: impl Into<String>) -> Self {
        Sketch {
            when: condition.into(),
            ..self
        }
    }

    /// With more items of the module.
    #[must_use]
    pub fn items(self, items: impl Into<String>) -> Self {
        Sketch {
            items: items.into(),
            ..self
        }
    }

    /// With `bytes` in its scratch memory.
    #[must_use]
    pub fn data(self, bytes: &[u8]) -> Self {
        let data = data(SCRATCH, bytes);
        Sketch {
            items: self.items + &data,
            ..self
        }
    }

    /// With this number of pages of memory.
    #[must_use]
    pub fn pages(self, pages: u32) -> Self {
        self.memory(format!(r#"(memory (export "memory") {pages})"#))
    }

    /// With this definition of its memory.
    #[must_use]
    pub fn memory(self, memory: impl Into<String>) -> Self {
        Sketch {
            memory: Some(memory.into()),
            ..self
        }
    }

    /// Runs `instructions` before it allocates memory; `$size` is the size.
    #[must_use]
    pub fn realloc(self, instructions: impl Into<String>) -> Self {
        Sketch {
            realloc: instructions.into(),
            ..self
        }
    }

    /// Runs `instructions` before it returns its description.
    #[must_use]
    pub fn describe(self, instructions: impl Into<String>) -> Self {
        Sketch {
            describe: instructions.into(),
            ..self
        }
    }

    /// Runs `instructions` before it returns its schema.
    #[must_use]
    pub fn schema(self, instructions: impl Into<String>) -> Self {
        Sketch {
            schema: instructions.into(),
            ..self
        }
    }

    /// With this schema.
    #[must_use]
    pub fn schema_text(self, text: impl Into<Vec<u8>>) -> Self {
        Sketch {
            schema_text: text.into(),
            ..self
        }
    }

    /// Runs `instructions` before it accepts settings; `$settings_len` is their length.
    #[must_use]
    pub fn validate(self, instructions: impl Into<String>) -> Self {
        Sketch {
            validate: instructions.into(),
            ..self
        }
    }

    /// Runs `instructions` after the host has read the result.
    #[must_use]
    pub fn after(self, instructions: impl Into<String>) -> Self {
        Sketch {
            after: instructions.into(),
            ..self
        }
    }

    /// With another world of the contract.
    #[must_use]
    pub fn world(self, world: &'static str) -> Self {
        Sketch { world, ..self }
    }

    /// With the contract in which `from` is replaced by `to`.
    #[must_use]
    pub fn contract(self, from: &str, to: &str) -> Self {
        assert!(self.contract.contains(from), "{from}");
        Sketch {
            contract: self.contract.replace(from, to),
            ..self
        }
    }

    /// With another version of the contract.
    #[must_use]
    pub fn version(self, version: &'static str) -> Self {
        let package = |version| format!("package entail:policy@{version};");
        let contract = self
            .contract
            .replace(&package(self.version), &package(version));
        Sketch {
            contract,
            version,
            ..self
        }
    }

    /// The module as text.
    fn module(&self) -> String {
        let Sketch {
            items,
            realloc,
            describe,
            schema,
            validate,
            decide,
            when,
            evil,
            after,
            version,
            ..
        } = self;
        let schema_len = u32::try_from(self.schema_text.len()).unwrap();
        let heap = (SCHEMA_TEXT + schema_len).next_multiple_of(PAGE);
        let schema_text = data(SCHEMA_TEXT, &self.schema_text);
        let memory = match &self.memory {
            Some(memory) => memory.clone(),
            None => format!(r#"(memory (export "memory") {})"#, heap / PAGE + 3),
        };
        let texts = [(1280, 6), (1286, 5), (1291, 9)];
        let description: String = texts
            .into_iter()
            .zip((DESCRIPTION..).step_by(8))
            .map(|((text, len), at)| point(at, text, len))
            .collect();
        let schema_at = point(SCHEMA, SCHEMA_TEXT, schema_len);
        let settings = match self.world {
            "without-settings" => String::new(),
            _ => format!(
                r#"(func (export "entail:policy/settings@{version}#schema") (result i32)
                    {schema_at}
                    {schema}
                    (i32.const {SCHEMA}))
                (func (export "entail:policy/settings@{version}#validate")
                    (param $settings i32) (param $settings_len i32) (result i32)
                    {validate}
                    (i32.const {VALIDATION}))"#
            ),
        };
        let about = match self.world {
            "without-about" => String::new(),
            _ => format!(
                r#"(func (export "entail:policy/about@{version}#describe") (result i32)
                    {description}
                    {describe}
                    (i32.const {DESCRIPTION}))"#
            ),
        };
        let resolver = match self.world {
            "without-resolver" => String::new(),
            _ => format!(
                r#"(func $decide (export "entail:policy/resolver@{version}#decide") (param $p i32) (result i32)
                    (local $i i32) (local $j i32)
                    {decide}
                    (call $answer (local.get $p))
                    (global.set $evil {when})
                    (if (global.get $evil) (then {evil}))
                    (i32.const {ANSWER}))
                (func (export "cabi_post_entail:policy/resolver@{version}#decide") (param i32)
                    {after})"#
            ),
        };
        format!(
            r#"(module
                {items}
                {memory}
                (global $next (mut i32) (i32.const {heap}))
                (func (export "cabi_realloc")
                    (param $old i32) (param $old_size i32) (param $align i32) (param $size i32) (result i32)
                    (local $at i32)
                    {realloc}
                    (local.set $at (i32.and (i32.add (global.get $next) (i32.const 7)) (i32.const -8)))
                    (global.set $next (i32.add (local.get $at) (local.get $size)))
                    (local.get $at))
                {COMMON}
                {schema_text}
                {about}
                {settings}
                {resolver})"#
        )
    }

    /// The component.
    pub fn component(&self) -> Vec<u8> {
        encode(&self.module(), &self.contract, self.world)
    }
}

/// A component of the first version of the contract that grants nothing, and runs
/// `instructions` for the provider `evil`.
pub fn of_first_contract(instructions: &str) -> Vec<u8> {
    let module = format!(
        r#"(module
            (memory (export "memory") 4)
            (global $next (mut i32) (i32.const 65536))
            (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
                (local $at i32)
                (local.set $at (i32.and (i32.add (global.get $next) (i32.const 7)) (i32.const -8)))
                (global.set $next (i32.add (local.get $at) (local.get 3)))
                (local.get $at))
            (data (i32.const 1280) "sketch1.0.0A sketch.none")
            (func (export "entail:policy/about@0.1.0#describe") (result i32)
                {} {} {}
                (i32.const 1152))
            (func (export "entail:policy/resolver@0.1.0#decide")
                (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i64 i32 i32 i32 i32) (result i32)
                (i32.store8 (i32.const 1028) (i32.const 1))
                {}
                (if (i32.eq (local.get 1) (i32.const 4)) (then {instructions}))
                (i32.const 1024)))"#,
        point(1152, 1280, 6),
        point(1160, 1286, 5),
        point(1168, 1291, 9),
        point(1032, 1300, 4),
    );
    encode(&module, FIRST_CONTRACT, "policy")
}

fn encode(module: &str, contract: &str, world: &str) -> Vec<u8> {
    let mut module = wat::parse_str(module).unwrap_or_else(|error| panic!("{error}\n{module}"));
    let mut resolve = Resolve::default();
    let package = resolve.push_source("policy.wit", contract).unwrap();
    let world = resolve.select_world(&[package], Some(world)).unwrap();
    wit_component::embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8)
        .unwrap();
    ComponentEncoder::default()
        .module(&module)
        .and_then(|mut encoder| encoder.encode())
        .unwrap_or_else(|error| panic!("{error:#}"))
}

/// Instructions that store a number.
pub(super) fn store(at: u32, number: u32) -> String {
    format!("(i32.store (i32.const {at}) (i32.const {number}))")
}

/// Instructions that store a byte.
pub(super) fn store_byte(at: u32, byte: u8) -> String {
    format!("(i32.store8 (i32.const {at}) (i32.const {byte}))")
}

/// Instructions that make the text or list at `at` point to `start`, with a length of `len`
/// bytes or elements.
pub(super) fn point(at: u32, start: u32, len: u32) -> String {
    store(at, start) + &store(at + 4, len)
}

/// Concatenates `item` for each number below `count`.
pub(super) fn each(count: usize, item: impl Fn(usize) -> String) -> String {
    (0..count).map(item).collect()
}

/// A data segment with these bytes at an address.
fn data(at: u32, bytes: &[u8]) -> String {
    use std::fmt::Write as _;

    let mut text = format!("(data (i32.const {at}) \"");
    for byte in bytes {
        write!(text, "\\{byte:02x}").unwrap();
    }
    text + "\")"
}
