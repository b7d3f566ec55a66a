//! Defects of components, and their remedies.

use serde_json::{Map, Value};

/// Something that is wrong with a component.
#[derive(Debug, PartialEq)]
pub struct Defect {
    /// The kind of defect.
    pub code: DefectCode,
    /// What is wrong, as a sentence.
    pub message: String,
    /// What to do about it; `None` if there is no general remedy.
    pub remedy: Option<Remedy>,
}

impl Defect {
    pub(super) fn new(code: DefectCode, message: impl Into<String>, remedy: Remedy) -> Self {
        Defect {
            code,
            message: message.into(),
            remedy: Some(remedy),
        }
    }

    pub(super) fn without_remedy(code: DefectCode, message: impl Into<String>) -> Self {
        Defect {
            code,
            message: message.into(),
            remedy: None,
        }
    }
}

/// The kind of a defect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DefectCode {
    /// The bytes are not a component.
    NotAComponent,
    /// It imports what a policy may not.
    Import,
    /// Its exports differ from the contract.
    Contract,
    /// `about.describe` returns what cannot be displayed.
    Description,
    /// `settings.schema` returns an unusable schema.
    Schema,
    /// It does not accept the settings.
    Settings,
    /// A limit is too low, too high or too small for any policy.
    Limit,
    /// A call failed.
    Call,
    /// The engine rejects it for another reason.
    Engine,
}

impl DefectCode {
    /// Returns its name: `not-a-component`.
    pub fn name(self) -> &'static str {
        match self {
            DefectCode::NotAComponent => "not-a-component",
            DefectCode::Import => "import",
            DefectCode::Contract => "contract",
            DefectCode::Description => "description",
            DefectCode::Schema => "schema",
            DefectCode::Settings => "settings",
            DefectCode::Limit => "limit",
            DefectCode::Call => "call",
            DefectCode::Engine => "engine",
        }
    }
}

/// What to do about a defect. The caller words it: as a command, a link or a button.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Remedy {
    /// Build a component from this core module.
    BuildFromModule,
    /// Build a component from the sources.
    Build,
    /// Convert the text format to the binary format.
    ConvertText,
    /// Name the policy below this layer.
    ComposeOver,
    /// Generate the bindings again from the newest contract.
    RegenerateBindings,
    /// Find out which limits it needs.
    FindLimits,
    /// Set these limits for it.
    SetLimits(Map<String, Value>),
    /// Keep a limit at most or at least at this value.
    LimitRange {
        /// Whether the value is the maximum; else it is the minimum.
        is_maximum: bool,
        /// The limit and its value.
        limit: Map<String, Value>,
    },
    /// Build it for a target without a system interface, with the tools of its language.
    BuildWithoutSystem(SystemRemedy),
    /// Advice about the source code.
    Advice(&'static str),
}

/// How to build a component without a system interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SystemRemedy {
    /// With rustc.
    Rust,
    /// With jco.
    JavaScript,
    /// With componentize-py.
    Python,
    /// With an unknown toolchain.
    Unknown,
}
