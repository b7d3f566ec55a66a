//! Changes of a credential's rules: who may use it, and for what.

use entail_policy::Sharing;

use crate::documents::scope::Rules;
use crate::error::Error;
use entail_decision::name::{ModelId, ScopePath, quoted};

/// The most patterns in a rule; a policy tests each of them on each request.
const MAX_PATTERNS: usize = 100;

/// The most segments of a path pattern: as many as paths have.
const MAX_PATTERN_SEGMENTS: usize = 8;

/// How to change an optional value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Edit<T> {
    /// Keep it.
    #[default]
    Keep,
    /// Clear it.
    Clear,
    /// Set it.
    Set(T),
}

impl<T: Clone> Edit<T> {
    fn apply(&self, setting: &mut Option<T>) {
        match self {
            Edit::Keep => {}
            Edit::Clear => *setting = None,
            Edit::Set(value) => *setting = Some(value.clone()),
        }
    }
}

/// The rules of a credential to change; what is `None` or kept does not change.
#[derive(Clone, Debug, Default)]
pub struct RuleChanges {
    /// The models it may be used for; cleared means every model.
    pub models: Edit<Vec<String>>,
    /// The descendants that it is shared with.
    pub sharing: Option<Sharing>,
    /// Whether it is mandatory.
    pub mandatory: Option<bool>,
    /// Its priority within its scope.
    pub priority: Option<u32>,
    /// When it expires, in milliseconds since 1970-01-01T00:00:00Z; cleared means never.
    pub expires_at_ms: Edit<u64>,
    /// Whether it may be sent to another machine of a private network over plain HTTP.
    pub unsafe_http: Option<bool>,
}

impl RuleChanges {
    pub(crate) fn apply(&self, rules: &mut Rules, scope: &ScopePath) -> Result<(), Error> {
        if let Edit::Set(models) = &self.models {
            check_patterns("a model pattern", models.iter(), is_model_pattern)?;
        }
        self.models.apply(&mut rules.models);
        self.expires_at_ms.apply(&mut rules.expires_at_ms);
        if let Some(sharing) = &self.sharing {
            if let Sharing::Paths(paths) = sharing {
                check_patterns("a path pattern", paths.iter(), is_path_pattern)?;
                let organization = scope.chain().last();
                let elsewhere = |path: &&String| {
                    let first = path.split('/').next().unwrap_or_default();
                    !first.contains('*')
                        && organization.as_ref().is_some_and(|o| o.as_str() != first)
                };
                if let Some(path) = paths.iter().find(elsewhere) {
                    return Err(Error::Invalid(format!(
                        "{path} matches nothing below {scope}: a pattern is a whole path, such as {scope}/*"
                    )));
                }
            }
            rules.sharing = sharing.clone();
        }
        rules.mandatory = self.mandatory.unwrap_or(rules.mandatory);
        rules.priority = self.priority.unwrap_or(rules.priority);
        Ok(())
    }
}

fn check_patterns<'a>(
    what: &str,
    patterns: impl Iterator<Item = &'a String> + Clone,
    is_valid: impl Fn(&str) -> bool,
) -> Result<(), Error> {
    if patterns.clone().count() > MAX_PATTERNS {
        return Err(Error::Invalid(format!(
            "more than {MAX_PATTERNS} patterns are given"
        )));
    }
    let mut patterns = patterns;
    match patterns.find(|pattern| !is_valid(pattern)) {
        Some(pattern) => Err(Error::Invalid(format!("{} is not {what}", quoted(pattern)))),
        None => Ok(()),
    }
}

/// A model pattern has the characters of a model, which include the two wildcards.
fn is_model_pattern(pattern: &str) -> bool {
    pattern.parse::<ModelId>().is_ok()
}

/// A path pattern has the characters of a path, `*` for a part of a segment and `**` for
/// whole segments.
fn is_path_pattern(pattern: &str) -> bool {
    let is_allowed = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'*');
    let segment_fits = |segment: &str| {
        (1..=63).contains(&segment.len())
            && segment.bytes().all(is_allowed)
            && (segment == "**" || !segment.contains("**"))
    };
    pattern.split('/').count() <= MAX_PATTERN_SEGMENTS && pattern.split('/').all(segment_fits)
}
