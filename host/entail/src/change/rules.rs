//! Changes of a credential's rules: who may use it, and for what.

use entail_policy::Sharing;

use crate::documents::scope::Rules;
use crate::error::Error;
use entail_decision::name::{ModelId, ScopePath, quoted};

/// The most patterns in a rule; a policy looks at each of them on each request.
const MAX_PATTERNS: usize = 100;

/// Paths have as many segments; a longer pattern matches nothing more.
const MAX_PATTERN_SEGMENTS: usize = 8;

/// What to do about a setting that may be absent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Edit<T> {
    /// Leave it as it is.
    #[default]
    Keep,
    /// Take it away.
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

/// The rules of a credential to change; what is none or kept stays as it is.
#[derive(Clone, Debug, Default)]
pub struct RuleChanges {
    /// The models it may be used for; without the setting every one.
    pub models: Edit<Vec<String>>,
    /// Whom it is shared with.
    pub sharing: Option<Sharing>,
    /// Whether it is mandatory.
    pub mandatory: Option<bool>,
    /// Its place within its scope.
    pub priority: Option<u32>,
    /// When it ends, in milliseconds since 1970-01-01T00:00:00Z; without the
    /// setting never.
    pub expires_at_ms: Edit<u64>,
    /// Whether its URL may be of another machine of a private network over plain HTTP.
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
    fits: impl Fn(&str) -> bool,
) -> Result<(), Error> {
    if patterns.clone().count() > MAX_PATTERNS {
        return Err(Error::Invalid(format!(
            "more than {MAX_PATTERNS} patterns are given"
        )));
    }
    let mut patterns = patterns;
    match patterns.find(|pattern| !fits(pattern)) {
        Some(pattern) => Err(Error::Invalid(format!("{} is not {what}", quoted(pattern)))),
        None => Ok(()),
    }
}

/// What a model consists of, and the two wildcards.
fn is_model_pattern(pattern: &str) -> bool {
    pattern.parse::<ModelId>().is_ok()
}

/// What a path consists of, with `*` for a part of a segment and `**` for
/// segments; as deep as paths are.
fn is_path_pattern(pattern: &str) -> bool {
    let fit = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'*');
    let segment_fits = |segment: &str| {
        (1..=63).contains(&segment.len())
            && segment.bytes().all(fit)
            && (segment == "**" || !segment.contains("**"))
    };
    pattern.split('/').count() <= MAX_PATTERN_SEGMENTS && pattern.split('/').all(segment_fits)
}
