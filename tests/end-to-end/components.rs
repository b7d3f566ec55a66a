//! Components for tests: policies that give one answer whatever they are asked, and
//! components of a contract that trap.

use std::fmt::Write as _;

use wit_component::{ComponentEncoder, StringEncoding};
use wit_parser::{ManglingAndAbi, Resolve};

/// The current contract.
pub const CONTRACT: &str = include_str!("../../wit/policy.wit");

/// The first version of the contract.
const FIRST_CONTRACT: &str = include_str!("../../wit/released/0.1.0/policy.wit");

/// A component of a world that traps whatever it is asked; the contract may be changed
/// first.
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

/// A policy that grants a credential called `closed`, which nobody offered. That it is
/// no good shows only when it is asked.
pub fn forging() -> Vec<u8> {
    Scripted::granting("closed").component()
}

/// A policy that says what is written here, whatever it is asked.
#[derive(Clone)]
pub struct Scripted {
    pub kind: Kind,
    pub name: String,
    pub version: String,
    pub summary: String,
    pub schema: String,
    /// What it finds wrong with any settings: paths and rules.
    pub problems: Vec<(String, String)>,
    pub answer: Answer,
    /// Whether it refuses in good order for the provider of an admission's trial.
    pub is_well_behaved_on_trial: bool,
}

/// What contract it is built against.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    Policy,
    /// A policy of the contract 0.1.0.
    First,
    /// A layer, which does not ask the policy below.
    Layer,
}

#[derive(Clone)]
pub enum Answer {
    Granted {
        credential: String,
        alternates: Vec<String>,
        model: Option<String>,
        more: More,
    },
    Refused {
        code: String,
        message: String,
        more: More,
    },
    InvalidFacts(String),
    Other(String),
}

/// What a decision has besides.
#[derive(Clone, Default)]
pub struct More {
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
            more: More::default(),
        })
    }

    pub fn granting(credential: &str) -> Self {
        Self::answering(Answer::Granted {
            credential: credential.to_owned(),
            alternates: Vec::new(),
            model: None,
            more: More::default(),
        })
    }

    /// The component: one that returns the places of what was written into its memory
    /// beforehand, as the canonical ABI has it.
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
        let good = Scripted::refusing("closed", "").answer.bytes(&mut memory);
        let good = memory.put(&good);
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
                        (then (return (i32.const {good}))))
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
    /// `result<decision, error>`, as the contract has it.
    fn bytes(&self, memory: &mut Memory) -> Vec<u8> {
        let error = |case: u32, text: Vec<u8>| [number(1), number(case), text].concat();
        let decision = |case: u32, outcome: Vec<u8>, more: &More, memory: &mut Memory| {
            let mut outcome = [number(case), outcome].concat();
            // As large as the larger of the two.
            outcome.resize(32, 0);
            [number(0), outcome, more.bytes(memory)].concat()
        };
        match self {
            Answer::InvalidFacts(text) => error(0, memory.text(text)),
            Answer::Other(text) => error(1, memory.text(text)),
            Answer::Granted {
                credential,
                alternates,
                model,
                more,
            } => {
                let credential = memory.text(credential);
                let alternates: Vec<_> = alternates.iter().map(|id| memory.text(id)).collect();
                let alternates = memory.list(&alternates);
                let model = match model {
                    Some(model) => [number(1), memory.text(model)].concat(),
                    None => vec![0; 12],
                };
                let grant = [credential, alternates, model].concat();
                decision(0, grant, more, memory)
            }
            Answer::Refused {
                code,
                message,
                more,
            } => {
                let refusal = [memory.text(code), memory.text(message)].concat();
                decision(1, refusal, more, memory)
            }
        }
    }
}

impl More {
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

/// Where what was written begins.
const BASE: usize = 1024;

/// What a component's memory holds from the start.
#[derive(Default)]
struct Memory(Vec<u8>);

impl Memory {
    /// Writes bytes, and returns their place.
    fn put(&mut self, bytes: &[u8]) -> usize {
        let place = self.end();
        self.0.extend_from_slice(bytes);
        self.0.resize(self.0.len().next_multiple_of(8), 0);
        place
    }

    fn end(&self) -> usize {
        BASE + self.0.len()
    }

    /// A text: its place and length.
    fn text(&mut self, text: &str) -> Vec<u8> {
        let place = self.put(text.as_bytes());
        pointer(place, text.len())
    }

    /// A list of elements that are equally long.
    fn list(&mut self, elements: &[Vec<u8>]) -> Vec<u8> {
        let place = self.put(&elements.concat());
        pointer(place, elements.len())
    }

    fn pairs(&mut self, pairs: &[(String, String)]) -> Vec<u8> {
        let pairs: Vec<_> = pairs
            .iter()
            .map(|(name, value)| [self.text(name), self.text(value)].concat())
            .collect();
        self.list(&pairs)
    }

    /// As a text of WebAssembly has it.
    fn escaped(&self) -> String {
        self.0.iter().fold(String::new(), |mut text, byte| {
            write!(text, "\\{byte:02x}").unwrap();
            text
        })
    }
}

fn pointer(place: usize, length: usize) -> Vec<u8> {
    let number = |length: usize| u32::try_from(length).unwrap().to_le_bytes();
    [number(place), number(length)].concat()
}
