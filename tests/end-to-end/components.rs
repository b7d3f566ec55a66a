//! Components for tests: policies that return the same result for every request, and
//! components that always trap.

use std::fmt::Write as _;

use wit_component::{ComponentEncoder, StringEncoding};
use wit_parser::{ManglingAndAbi, Resolve};

/// The current contract.
pub const CONTRACT: &str = include_str!("../../wit/policy.wit");

/// The first version of the contract.
const FIRST_CONTRACT: &str = include_str!("../../wit/released/0.1.0/policy.wit");

/// A component of a world in which every function traps. `from` is replaced by `to` in its
/// contract.
pub fn trapping(world: &str, from: &str, to: &str) -> Vec<u8> {
    assert!(CONTRACT.contains(from), "{from}");
    let mut resolve = Resolve::default();
    let contract = CONTRACT.replace(from, to);
    let package = resolve.push_source("policy.wit", &contract).unwrap();
    let world = resolve.select_world(&[package], Some(world)).unwrap();
    let mut module = wit_component::dummy_module(&resolve, world, ManglingAndAbi::Standard32);
    wit_component::embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8)
        .unwrap();
    let mut encoder = ComponentEncoder::default().module(&module).unwrap();
    encoder.encode().unwrap()
}

/// A policy that refuses everything, with the code `closed`.
pub fn closed() -> Vec<u8> {
    Scripted::refusing("closed", "closed for now").component()
}

/// A policy that grants a credential called `closed`, which was not offered. It is admitted,
/// and fails only in requests.
pub fn forging() -> Vec<u8> {
    Scripted::granting("closed").component()
}

/// A policy that returns the values of these fields for every request.
#[derive(Clone)]
pub struct Scripted {
    pub kind: Kind,
    pub name: String,
    pub version: String,
    pub summary: String,
    pub schema: String,
    /// The problems that it reports for any settings: paths and rules.
    pub problems: Vec<(String, String)>,
    pub answer: Answer,
    /// Whether it returns a valid refusal in the trial call of the admission.
    pub is_well_behaved_on_trial: bool,
}

/// The kind of a policy.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    Policy,
    /// A policy of the contract 0.1.0.
    First,
    /// A layer, which does not call the policy below.
    Layer,
}

#[derive(Clone)]
pub enum Answer {
    Granted {
        credential: String,
        alternates: Vec<String>,
        model: Option<String>,
        details: Details,
    },
    Refused {
        code: String,
        message: String,
        details: Details,
    },
    InvalidFacts(String),
    Other(String),
}

/// The other parts of a decision.
#[derive(Clone, Default)]
pub struct Details {
    pub trail: Vec<Finding>,
    pub attributes: Vec<(String, String)>,
}

#[derive(Clone)]
pub struct Finding {
    pub credential: String,
    pub code: String,
    pub attributes: Vec<(String, String)>,
}

impl Scripted {
    pub fn answering(answer: Answer) -> Self {
        Scripted {
            kind: Kind::Policy,
            name: "closed".to_owned(),
            version: "1.0.0".to_owned(),
            summary: String::new(),
            schema: "{}".to_owned(),
            problems: Vec::new(),
            answer,
            is_well_behaved_on_trial: false,
        }
    }

    pub fn refusing(code: &str, message: &str) -> Self {
        Self::answering(Answer::Refused {
            code: code.to_owned(),
            message: message.to_owned(),
            details: Details::default(),
        })
    }

    pub fn granting(credential: &str) -> Self {
        Self::answering(Answer::Granted {
            credential: credential.to_owned(),
            alternates: Vec::new(),
            model: None,
            details: Details::default(),
        })
    }

    /// Builds the component, which returns pointers to values in its initial memory, in the
    /// layout of the canonical ABI.
    pub fn component(&self) -> Vec<u8> {
        let mut memory = Memory::default();
        let about = [
            memory.text(&self.name),
            memory.text(&self.version),
            memory.text(&self.summary),
        ]
        .concat();
        let about = memory.put(&about);
        let schema = memory.text(&self.schema);
        let schema = memory.put(&schema);
        let problems = memory.pairs(&self.problems);
        let is_refused = u32::from(!self.problems.is_empty());
        let validated = memory.put(&[&is_refused.to_le_bytes()[..], &problems].concat());
        let answer = self.answer.bytes(&mut memory);
        let answer = memory.put(&answer);
        let valid = Scripted::refusing("closed", "").answer.bytes(&mut memory);
        let valid = memory.put(&valid);
        let (version, world, package) = match self.kind {
            Kind::Policy => ("0.2.0", "policy", CONTRACT),
            Kind::First => ("0.1.0", "policy", FIRST_CONTRACT),
            Kind::Layer => ("0.2.0", "layer", CONTRACT),
        };
        // One more parameter makes the canonical ABI pass them all in memory. The second
        // number is the length of the provider's name.
        let (parameters, provider) = match self.kind {
            Kind::First => (
                format!("{} i64 {}", "i32 ".repeat(10), "i32 ".repeat(4)),
                "(local.get 1)",
            ),
            Kind::Policy | Kind::Layer => ("i32".to_owned(), "(i32.load offset=4 (local.get 0))"),
        };
        let settings = match self.kind {
            Kind::First => String::new(),
            Kind::Policy | Kind::Layer => format!(
                r#"(func (export "entail:policy/settings@{version}#schema") (result i32)
                    (i32.const {schema}))
                (func (export "entail:policy/settings@{version}#validate") (param i32 i32)
                    (result i32) (i32.const {validated}))"#
            ),
        };
        let below = match self.kind {
            Kind::Layer => {
                r#"(import "entail:policy/resolver@0.2.0" "decide" (func (param i32 i32)))"#
            }
            Kind::Policy | Kind::First => "",
        };
        let text = format!(
            r#"(module
                {below}
                (memory (export "memory") {pages})
                (global $next (mut i32) (i32.const {end}))
                (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
                    (local $at i32)
                    (local.set $at (i32.and (i32.add (global.get $next) (i32.const 7)) (i32.const -8)))
                    (global.set $next (i32.add (local.get $at) (local.get 3)))
                    (local.get $at))
                (data (i32.const {BASE}) "{data}")
                (func (export "entail:policy/about@{version}#describe") (result i32)
                    (i32.const {about}))
                {settings}
                (func (export "entail:policy/resolver@{version}#decide")
                    (param {parameters}) (result i32)
                    (if (i32.and (i32.const {has_trial}) (i32.eq {provider} (i32.const {trial})))
                        (then (return (i32.const {valid}))))
                    (i32.const {answer})))"#,
            has_trial = i32::from(self.is_well_behaved_on_trial),
            trial = "trial".len(),
            pages = memory.end() / 65_536 + 4,
            end = memory.end(),
            data = memory.escaped(),
        );
        let mut module = wat::parse_str(text).unwrap();
        let mut resolve = Resolve::default();
        let package = resolve.push_source("policy.wit", package).unwrap();
        let world = resolve.select_world(&[package], Some(world)).unwrap();
        wit_component::embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8)
            .unwrap();
        ComponentEncoder::default()
            .module(&module)
            .unwrap()
            .encode()
            .unwrap()
    }
}

impl Answer {
    /// The value as a `result<decision, error>` of the contract.
    fn bytes(&self, memory: &mut Memory) -> Vec<u8> {
        let error = |case: u32, text: Vec<u8>| [number(1), number(case), text].concat();
        let decision = |case: u32, outcome: Vec<u8>, details: &Details, memory: &mut Memory| {
            let mut outcome = [number(case), outcome].concat();
            // Padded to the size of the larger case.
            outcome.resize(32, 0);
            [number(0), outcome, details.bytes(memory)].concat()
        };
        match self {
            Answer::InvalidFacts(text) => error(0, memory.text(text)),
            Answer::Other(text) => error(1, memory.text(text)),
            Answer::Granted {
                credential,
                alternates,
                model,
                details,
            } => {
                let credential = memory.text(credential);
                let alternates: Vec<_> = alternates.iter().map(|id| memory.text(id)).collect();
                let alternates = memory.list(&alternates);
                let model = match model {
                    Some(model) => [number(1), memory.text(model)].concat(),
                    None => vec![0; 12],
                };
                let grant = [credential, alternates, model].concat();
                decision(0, grant, details, memory)
            }
            Answer::Refused {
                code,
                message,
                details,
            } => {
                let refusal = [memory.text(code), memory.text(message)].concat();
                decision(1, refusal, details, memory)
            }
        }
    }
}

impl Details {
    fn bytes(&self, memory: &mut Memory) -> Vec<u8> {
        let findings: Vec<_> = self
            .trail
            .iter()
            .map(|finding| {
                [
                    memory.text(&finding.credential),
                    memory.text(&finding.code),
                    memory.pairs(&finding.attributes),
                ]
                .concat()
            })
            .collect();
        [memory.list(&findings), memory.pairs(&self.attributes)].concat()
    }
}

fn number(number: u32) -> Vec<u8> {
    number.to_le_bytes().to_vec()
}

/// The address of the initial memory.
const BASE: usize = 1024;

/// The initial memory of a component.
#[derive(Default)]
struct Memory(Vec<u8>);

impl Memory {
    /// Writes bytes and returns their address.
    fn put(&mut self, bytes: &[u8]) -> usize {
        let address = self.end();
        self.0.extend_from_slice(bytes);
        self.0.resize(self.0.len().next_multiple_of(8), 0);
        address
    }

    fn end(&self) -> usize {
        BASE + self.0.len()
    }

    /// Writes a text. Returns a pointer to it and its length.
    fn text(&mut self, text: &str) -> Vec<u8> {
        let address = self.put(text.as_bytes());
        pointer(address, text.len())
    }

    /// Writes a list of elements of the same size. Returns a pointer to it and its length.
    fn list(&mut self, elements: &[Vec<u8>]) -> Vec<u8> {
        let address = self.put(&elements.concat());
        pointer(address, elements.len())
    }

    fn pairs(&mut self, pairs: &[(String, String)]) -> Vec<u8> {
        let pairs: Vec<_> = pairs
            .iter()
            .map(|(name, value)| [self.text(name), self.text(value)].concat())
            .collect();
        self.list(&pairs)
    }

    /// The memory as a string literal of the WebAssembly text format.
    fn escaped(&self) -> String {
        self.0.iter().fold(String::new(), |mut text, byte| {
            write!(text, "\\{byte:02x}").unwrap();
            text
        })
    }
}

fn pointer(address: usize, length: usize) -> Vec<u8> {
    let number = |length: usize| u32::try_from(length).unwrap().to_le_bytes();
    [number(address), number(length)].concat()
}
