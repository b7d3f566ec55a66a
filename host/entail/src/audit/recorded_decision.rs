//! A decision as it is read back from the log.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::principals::PrincipalNames;
use super::recorded_opening::RecordedOpening;

/// A decision in the log, with what became of a granted secret.
#[derive(Clone, Debug)]
pub struct RecordedDecision {
    json: String,
    writer: String,
    sequence: u64,
    at_ms: u64,
    scope: String,
    provider: String,
    /// The id in the line, and the text that it is shown as.
    recorded_principal: String,
    principal: String,
    purpose: String,
    /// The code of a refusal; `None` for anything else.
    refused: Option<String>,
    is_granted: bool,
    granted: Option<(String, String, u64)>,
    failure: Option<String>,
    opening: Option<RecordedOpening>,
}

/// The request of a record.
pub(crate) struct RecordedRequest<'a> {
    pub(crate) scope: &'a str,
    pub(crate) provider: &'a str,
    /// The principal as the line has it: an id.
    pub(crate) recorded_principal: &'a str,
    /// The principal as it is shown.
    pub(crate) principal: &'a str,
    pub(crate) at_ms: u64,
}

/// The fields of a record that are shown; others are ignored.
#[derive(Deserialize)]
struct ShownRecord<'a> {
    #[serde(borrow)]
    writer: Cow<'a, str>,
    sequence: u64,
    #[serde(borrow)]
    kind: Cow<'a, str>,
    at_ms: u64,
    #[serde(borrow)]
    scope: Cow<'a, str>,
    #[serde(borrow)]
    provider: Cow<'a, str>,
    #[serde(borrow)]
    principal: Cow<'a, str>,
    #[serde(borrow)]
    purpose: Cow<'a, str>,
    #[serde(borrow, default)]
    decision: Option<ShownDecision<'a>>,
    #[serde(borrow, default)]
    granted: Option<ShownGrant<'a>>,
    #[serde(borrow, default)]
    failure: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct ShownDecision<'a> {
    #[serde(borrow, default)]
    granted: Option<&'a RawValue>,
    #[serde(borrow, default)]
    refused: Option<ShownRefusal<'a>>,
}

#[derive(Deserialize)]
struct ShownRefusal<'a> {
    #[serde(borrow)]
    code: Cow<'a, str>,
}

#[derive(Deserialize)]
struct ShownGrant<'a> {
    #[serde(borrow)]
    holder: Cow<'a, str>,
    #[serde(borrow)]
    credential: Cow<'a, str>,
    version: u64,
}

impl RecordedDecision {
    /// Parses a line; `None` if it is not a decision, or `accepts` rejects its request.
    pub(super) fn parse(
        line: &[u8],
        names: &mut PrincipalNames,
        accepts: impl FnOnce(&RecordedRequest<'_>) -> bool,
    ) -> Option<Self> {
        // Records contain no white space between values and no control characters.
        if line.iter().any(|byte| *byte < b' ') {
            return None;
        }
        let json = std::str::from_utf8(line).ok()?;
        let shown: ShownRecord<'_> = serde_json::from_str(json).ok()?;
        let principal = names.shown(&shown.principal);
        let request = RecordedRequest {
            scope: &shown.scope,
            provider: &shown.provider,
            recorded_principal: &shown.principal,
            principal: &principal,
            at_ms: shown.at_ms,
        };
        if shown.kind != "decision" || !accepts(&request) {
            return None;
        }
        let (is_granted, refused) = match shown.decision {
            Some(decision) => (
                decision.granted.is_some(),
                decision.refused.map(|refused| refused.code.into_owned()),
            ),
            None => (false, None),
        };
        Some(RecordedDecision {
            json: json.to_owned(),
            writer: shown.writer.into_owned(),
            sequence: shown.sequence,
            opening: None,
            at_ms: shown.at_ms,
            scope: shown.scope.into_owned(),
            provider: shown.provider.into_owned(),
            principal: principal.into_owned(),
            recorded_principal: shown.principal.into_owned(),
            purpose: shown.purpose.into_owned(),
            refused,
            is_granted,
            granted: shown.granted.map(|granted| {
                let holder = granted.holder.into_owned();
                (holder, granted.credential.into_owned(), granted.version)
            }),
            failure: shown.failure.map(Cow::into_owned),
        })
    }

    /// The line of the decision: one JSON object, with the id of the principal.
    pub fn json(&self) -> &str {
        &self.json
    }

    /// The line as a JSON value.
    pub fn to_value(&self) -> Value {
        // It was parsed before.
        serde_json::from_str(&self.json).unwrap_or_default()
    }

    /// The line as it is shown: with the text of the principal in place of its id, also in the
    /// facts, and one more member, `opening`, if the decision is a grant.
    pub fn shown_json(&self) -> String {
        let json = self.json_with_principal();
        let with_opening = self.opening.as_ref().and_then(|opening| {
            let opening = entail_text::json::to_string(opening).ok()?;
            let line = json.strip_suffix('}')?;
            Some(format!("{line},\"opening\":{opening}}}"))
        });
        with_opening.unwrap_or_else(|| json.into_owned())
    }

    fn json_with_principal(&self) -> Cow<'_, str> {
        if self.principal == self.recorded_principal {
            return Cow::Borrowed(&self.json);
        }
        // Texts of principals and ids contain nothing that JSON escapes. No text in JSON
        // contains a quotation mark, so this finds only members with this name and this id.
        let member = |text: &str| format!("\"principal\":\"{text}\"");
        let (id, shown) = (member(&self.recorded_principal), member(&self.principal));
        Cow::Owned(self.json.replace(&id, &shown))
    }

    /// Identifies the decision: its writer, and its number among the writer's records.
    pub(super) fn key(&self) -> (String, u64) {
        (self.writer.clone(), self.sequence)
    }

    pub(super) fn is_granted(&self) -> bool {
        self.is_granted
    }

    pub(super) fn set_opening(&mut self, opening: RecordedOpening) {
        self.opening = Some(opening);
    }

    /// What became of the granted secret; `None` if nothing was granted.
    pub fn opening(&self) -> Option<&RecordedOpening> {
        self.opening.as_ref()
    }

    /// The time, in milliseconds since 1970-01-01T00:00:00Z.
    pub fn at_ms(&self) -> u64 {
        self.at_ms
    }

    /// The requesting scope.
    pub fn scope(&self) -> &str {
        &self.scope
    }

    /// The provider.
    pub fn provider(&self) -> &str {
        &self.provider
    }

    /// The principal: `local:owner`; `unknown:` and the id in the log if its name was erased.
    pub fn principal(&self) -> &str {
        &self.principal
    }

    /// The purpose: `lease` or `status`.
    pub fn purpose(&self) -> &str {
        &self.purpose
    }

    /// Whether the request was only a probe that did not fail: no credential was returned.
    pub fn is_probe(&self) -> bool {
        let is_failed = self.outcome() == "failed"
            || matches!(self.opening, Some(RecordedOpening::Failed { .. }));
        self.purpose == "status" && !is_failed
    }

    /// The decision: `granted`, `refused` or `failed`. A granted secret may still fail to open
    /// ([`RecordedDecision::opening`]).
    pub fn outcome(&self) -> &'static str {
        match &self.refused {
            _ if self.is_granted => "granted",
            Some(_) => "refused",
            None => "failed",
        }
    }

    /// The code of a refusal, as the policy gave it.
    pub fn refusal(&self) -> Option<&str> {
        self.refused.as_deref().filter(|_| !self.is_granted)
    }

    /// The granted credential: its holder, name and version.
    pub fn granted(&self) -> Option<(&str, &str, u64)> {
        let (holder, credential, version) = self.granted.as_ref()?;
        Some((holder, credential, *version))
    }

    /// Why the request failed, if it did.
    pub fn failure(&self) -> Option<&str> {
        self.failure.as_deref()
    }
}
