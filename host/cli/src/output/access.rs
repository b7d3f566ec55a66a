//! Comparisons of who gets which credential: made of the library's types, and printed as
//! text.

use entail::{AccessChanges, ComparedRequest, UsableCredential};

use super::{Cell, Line, Style, Table, count, out};
use entail_api::access::{
    AccessChange, AccessComparison, ComparisonCoverage, Difference, DifferenceCounts,
    EffectiveDecision, OfferedCredential,
};

/// The most rows of a table; the JSON has them all.
pub const MAX_ROWS: usize = 200;

/// Explains the column of models.
const MODEL_LEGEND: &str = "  MODEL: any is every request; none is a request that names no model";

/// Converts a decision.
pub fn effective_decision(decision: &entail::EffectiveDecision) -> EffectiveDecision {
    match decision {
        entail::EffectiveDecision::Absent => EffectiveDecision::Absent,
        entail::EffectiveDecision::Granted { credentials, model } => EffectiveDecision::Granted {
            credentials: credentials.iter().map(offered_credential).collect(),
            model: model.clone(),
        },
        entail::EffectiveDecision::Refused { code } => EffectiveDecision::Refused {
            code: code.as_str().to_owned(),
        },
        entail::EffectiveDecision::Failed { cause } => EffectiveDecision::Failed {
            cause: cause.clone(),
        },
    }
}

fn offered_credential(credential: &UsableCredential) -> OfferedCredential {
    OfferedCredential {
        id: credential.id.clone(),
        holder: credential.holder.clone(),
        name: credential.name.clone(),
    }
}

/// Converts a difference.
pub fn difference(difference: entail::Difference) -> Difference {
    match difference {
        entail::Difference::Widened => Difference::Widened,
        entail::Difference::NowFailing => Difference::NowFailing,
        entail::Difference::Narrowed => Difference::Narrowed,
        entail::Difference::Reordered => Difference::Reordered,
        entail::Difference::ReasonChanged => Difference::ReasonChanged,
        entail::Difference::Same => Difference::Same,
    }
}

/// Converts the counts of differences.
pub fn difference_counts(counts: &entail::DifferenceCounts) -> DifferenceCounts {
    DifferenceCounts {
        widened: counts.widened,
        now_failing: counts.now_failing,
        narrowed: counts.narrowed,
        reordered: counts.reordered,
        reason_changed: counts.reason_changed,
        same: counts.same,
    }
}

/// Converts a comparison; it names no policy and is no dry run.
pub fn access_comparison(changes: &AccessChanges) -> AccessComparison {
    AccessComparison {
        policy: None,
        revision: changes.revision,
        scopes: number(changes.scopes),
        counts: difference_counts(&changes.counts),
        changes: changes.changes.iter().map(access_change).collect(),
        coverage: coverage(&changes.coverage),
        notes: changes.notes.clone(),
        dry_run: false,
    }
}

fn access_change(change: &entail::AccessChange) -> AccessChange {
    let of_any_request = AccessChange {
        scope: change.scope.to_string(),
        provider: change.provider.to_string(),
        any: true,
        credential: None,
        model: None,
        attributes: [].into(),
        kept: Vec::new(),
        later_ms: None,
        difference: difference(change.difference),
        from: effective_decision(&change.from),
        to: effective_decision(&change.to),
    };
    match &change.request {
        ComparedRequest::Any => of_any_request,
        ComparedRequest::Only {
            credential,
            model,
            attributes,
            kept,
            later_ms,
        } => AccessChange {
            any: false,
            credential: credential.as_ref().map(ToString::to_string),
            model: model.as_ref().map(ToString::to_string),
            attributes: attributes
                .iter()
                .map(|(name, value)| (name.to_string(), value.to_string()))
                .collect(),
            kept: kept.clone(),
            later_ms: *later_ms,
            ..of_any_request
        },
    }
}

fn coverage(coverage: &entail::Coverage) -> ComparisonCoverage {
    ComparisonCoverage {
        later_ms: coverage.later_ms.clone(),
        records: number(coverage.records),
        recorded_requests: number(coverage.recorded_requests),
        skipped: number(coverage.skipped),
        attributes: coverage
            .attributes
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_string()))
            .collect(),
        with_attributes: number(coverage.with_attributes),
        attributes_matter: number(coverage.attributes_decide),
    }
}

fn number(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

/// Prints a comparison as text.
pub fn print_access(comparison: &AccessComparison) {
    if !comparison.changes.is_empty() {
        let headings = ["SCOPE", "PROVIDER", "MODEL", "NOW", "THEN", "CHANGE"];
        let mut table = Table::with_headings(headings);
        for change in comparison.changes.iter().take(MAX_ROWS) {
            table.row([
                change.scope.as_str().into(),
                change.provider.as_str().into(),
                request_text(change).into(),
                decision_cell(&change.from),
                decision_cell(&change.to),
                difference_cell(change.difference),
            ]);
        }
        table.print();
        out!(Style::Faint => MODEL_LEGEND);
    }
    print_omitted(comparison.changes.len(), "changes");
    let requests = count(comparison.counts.all(), "request");
    let scopes = count(comparison.scopes, "scope");
    print_summary(&format!("{requests} in {scopes}"), &comparison.counts);
    out!(Style::Faint => coverage_text(&comparison.coverage));
    if let Some(note) = attributes_note(&comparison.coverage) {
        out!(Style::Warn => "note:"; " {note}");
    }
}

/// Prints how many rows of a table are omitted.
pub fn print_omitted(rows: usize, what: &str) {
    if rows > MAX_ROWS {
        out!("… and {} more {what} (see: --json)", rows - MAX_ROWS);
    }
}

/// Prints `12 records: 1 widened, 11 unchanged`, and what each of the words means.
pub fn print_summary(what: &str, counts: &DifferenceCounts) {
    let found: Vec<(u64, Difference)> = [
        (counts.widened, Difference::Widened),
        (counts.narrowed, Difference::Narrowed),
        (counts.reordered, Difference::Reordered),
        (counts.reason_changed, Difference::ReasonChanged),
        (counts.now_failing, Difference::NowFailing),
    ]
    .into_iter()
    .filter(|(count, _)| *count > 0)
    .collect();
    let mut line = Line::plain(format_args!("{what}: "));
    for (count, difference) in &found {
        let text = format!("{count} {}", difference_name(*difference));
        line = line
            .then_styled(difference_style(*difference), text)
            .then(", ");
    }
    line.then(format_args!("{} unchanged", counts.same)).print();
    for (_, difference) in found {
        let name = difference_name(difference);
        out!(Style::Faint => format_args!("  {name}: {}", meaning(difference)));
    }
}

/// Returns which requests a comparison covers.
fn coverage_text(coverage: &ComparisonCoverage) -> String {
    let later = count(coverage.later_ms.len(), "later time");
    let attributes: Vec<String> = coverage
        .attributes
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    let attributes = if attributes.is_empty() {
        String::new()
    } else {
        format!(", with and without {}", attributes.join(" "))
    };
    let requests = count(coverage.recorded_requests, "request");
    let records = count(coverage.records, "record");
    format!(
        "compared now and at {later}: requests for the models that scopes name{attributes}, \
         and {requests} from the last {records} of the decision log; \
         not compared: other models, attributes and times"
    )
}

/// Returns what the log's requests show about attributes; `None` if no decision depends on
/// them.
fn attributes_note(coverage: &ComparisonCoverage) -> Option<String> {
    let ComparisonCoverage {
        with_attributes,
        attributes_matter,
        skipped,
        ..
    } = coverage;
    if *attributes_matter == 0 {
        return None;
    }
    let skipped = match skipped {
        0 => String::new(),
        more => format!(", and {more} more requests of the log were not compared"),
    };
    Some(format!(
        "{with_attributes} requests of the log have attributes, and {attributes_matter} of them \
         are decided in another way without{skipped}: compare others with --attribute NAME=VALUE"
    ))
}

/// Returns the request in the column of the model: `any`, `none`, `gpt-5`,
/// `gpt-5 (named backup)`, `gpt-5 (session=7)`, `none (in 6 h)`.
fn request_text(change: &AccessChange) -> String {
    if change.any {
        return "any".to_owned();
    }
    let model = change.model.as_deref().unwrap_or("none");
    let named = change.credential.iter().map(|name| format!("named {name}"));
    let attributes = change
        .attributes
        .iter()
        .map(|(name, value)| format!("{name}={value}"));
    let kept = change.kept.iter().map(|name| format!("keeping {name}"));
    let later = change
        .later_ms
        .iter()
        .map(|later| format!("in {}", hours(*later)));
    let details: Vec<String> = named.chain(attributes).chain(kept).chain(later).collect();
    if details.is_empty() {
        return model.to_owned();
    }
    format!("{model} ({})", details.join(", "))
}

/// Returns a time in hours, or in days if it is a whole number of days.
fn hours(ms: u64) -> String {
    let hours = ms / (60 * 60 * 1_000);
    match hours % 24 {
        0 => format!("{} d", hours / 24),
        _ => format!("{hours} h"),
    }
}

/// Returns a decision as a cell of a table: `default of acme, else backup of acme, for
/// gpt-5`, `refused: expired`.
pub fn decision_cell(decision: &EffectiveDecision) -> Cell {
    let (style, text) = match decision {
        EffectiveDecision::Granted { credentials, model } => {
            let credentials: Vec<String> = credentials
                .iter()
                .map(|credential| format!("{} of {}", credential.name, credential.holder))
                .collect();
            let model = model.iter().map(|model| format!(", for {model}"));
            let text = credentials.join(", else ") + &model.collect::<String>();
            (Style::Good, text)
        }
        EffectiveDecision::Refused { code } => (Style::Warn, format!("refused: {code}")),
        EffectiveDecision::Failed { cause } => (Style::Bad, format!("failed: {cause}")),
        EffectiveDecision::Absent => (Style::Faint, "no such scope".to_owned()),
    };
    Cell::new(text, style)
}

/// Returns a difference as a cell of a table.
pub fn difference_cell(difference: Difference) -> Cell {
    Cell::new(difference_name(difference), difference_style(difference))
}

fn difference_name(difference: Difference) -> &'static str {
    match difference {
        Difference::Widened => "widened",
        Difference::NowFailing => "now-failing",
        Difference::Narrowed => "narrowed",
        Difference::Reordered => "reordered",
        Difference::ReasonChanged => "reason-changed",
        Difference::Same => "unchanged",
    }
}

fn difference_style(difference: Difference) -> Style {
    match difference {
        Difference::Widened | Difference::NowFailing => Style::Bad,
        Difference::Narrowed => Style::Warn,
        Difference::Reordered | Difference::ReasonChanged | Difference::Same => Style::Plain,
    }
}

/// Returns what a word of the summary means.
fn meaning(difference: Difference) -> &'static str {
    match difference {
        Difference::Widened => "a credential may be used that could not be used before",
        Difference::NowFailing => "the policy fails, so no credential may be used",
        Difference::Narrowed => "a credential may no longer be used",
        Difference::Reordered => "the same credentials, in another order or for another model",
        Difference::ReasonChanged => "refused before and after, for another reason",
        Difference::Same => "the same credentials, or the same refusal",
    }
}
