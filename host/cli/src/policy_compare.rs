//! Trying a policy or a change before it is put in service: what requests of the past
//! would have got, and who would get what from now on.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use entail::policy::{BadSettings, Compile, Engine, Policy, Sandbox, Settings, Values};
use entail::{
    AccessChange, AccessChanges, Change, ComparedRequest, Coverage, Difference, DifferenceCounts,
    EffectiveDecision, Entail, Home, ModelId, Replay, ReplayedChange, ScopePath,
    replay as replay_log,
};
use serde_json::{Value, json};

use crate::args::FilterArgs;
use crate::audit::to_filter;
use crate::component_source::{Component, ComponentArgs, read_settings};
use crate::failure::{Failure, shown};
use crate::output::{Cell, Line, Style, Table, print_json, say, say_dry_run, tell, with_member};
use crate::session::Session;

/// Something may be used that could not be before. A number of its own, so that a
/// pipeline can stop for it and for nothing else.
const WIDENED: u8 = 20;

/// The policy would fail where it, or another, decides now.
const FAILING: u8 = 12;

/// Rows of a table; who wants more of them takes the JSON.
const MAX_ROWS: usize = 200;

/// A policy that is not in service, and what would be set for it.
#[derive(Args)]
pub struct CandidateArgs {
    #[command(flatten)]
    pub component: ComponentArgs,
    /// The settings: a file with a JSON object [default: none]
    #[arg(long, value_name = "FILE", value_parser = crate::paths::parser())]
    pub settings: Option<PathBuf>,
}

#[derive(Args)]
pub struct ReplayArgs {
    #[command(flatten)]
    pub candidate: CandidateArgs,
    #[command(flatten)]
    pub filter: FilterArgs,
    /// Also show what is refused before and after, for another reason
    #[arg(long)]
    pub reworded: bool,
}

#[derive(Args)]
pub struct DiffArgs {
    #[command(flatten)]
    pub candidate: CandidateArgs,
    /// Only this organization, or this project and those below it [default: all]
    #[arg(long, value_name = "ORG")]
    pub organization: Option<ScopePath>,
}

/// Decides the requests of the decision log again.
pub fn replay(session: &Session, args: &ReplayArgs) -> Result<ExitCode, Failure> {
    let home = session.home()?;
    let filter = to_filter(&home, &args.filter)?;
    let policy = args.candidate.admit(&engine(&home))?;
    let mut replay = replay_log(&home, &policy, &filter)?;
    if !args.reworded {
        let is_reworded = |change: &ReplayedChange| change.difference == Difference::ReasonChanged;
        replay.changes.retain(|change| !is_reworded(change));
    }
    if replay.counts.all() == 0 {
        tell!(Style::Warn => "note:"; " no record of the decision log fits, so nothing was tried"
        );
    }
    if session.common.json {
        print_json(&with_member(json!(replay), "policy", described(&policy)));
    } else {
        print_replay(&replay, args.reworded);
    }
    Ok(exit(&replay.counts))
}

/// Compares the effective access of every scope and provider, now against then.
pub async fn diff(session: &Session, args: &DiffArgs) -> Result<ExitCode, Failure> {
    let entail = session.open()?;
    let policy = args.candidate.admit(entail.engine())?;
    let changes = entail
        .policy_diff(
            &session.principal,
            &policy,
            args.organization.as_ref(),
            &session.attributes()?,
        )
        .await?;
    match session.common.json {
        true => print_json(&under(&policy, &changes)),
        false => print_access(&changes),
    }
    Ok(exit(&changes.counts))
}

/// Prints who would get what if a policy were put in service, which it is not.
pub fn print_dry_run(session: &Session, policy: &Policy, changes: &AccessChanges) -> ExitCode {
    if session.common.json {
        print_json(&with_member(under(policy, changes), "dry_run", true));
    } else {
        let description = policy.description();
        say!("{} {} would decide", description.name, description.version);
        print_access(changes);
        say_dry_run();
    }
    exit(&changes.counts)
}

/// Prints what a planned change would change in who gets what, without making it.
/// Returns how the program ends, as a comparison of policies does.
pub async fn dry_run(
    session: &Session,
    entail: &Entail,
    change: &Change,
) -> Result<ExitCode, Failure> {
    let changes = entail
        .preview(&session.principal, change, &session.attributes()?)
        .await?;
    if session.common.json {
        let json = with_member(to_json(&changes), "notes", json!(changes.notes));
        print_json(&with_member(json, "dry_run", true));
        return Ok(exit(&changes.counts));
    }
    print_access(&changes);
    for note in &changes.notes {
        say!(Style::Warn => "note:"; " {note}");
    }
    say_dry_run();
    Ok(exit(&changes.counts))
}

impl CandidateArgs {
    /// Makes a policy of the component, as it would be in service.
    fn admit(&self, engine: &Engine) -> Result<Policy, Failure> {
        let component = self.component.read(engine)?;
        let settings = match &self.settings {
            Some(file) => read_settings(file)?,
            None => Values::new(),
        };
        let policy = self.admit_alone(engine, &component)?;
        policy
            .with_settings(&settings)
            .map_err(|error| match error {
                BadSettings::NotAccepted(problems) => {
                    let message = format!(
                        "{}: the policy does not take these settings",
                        component.name
                    );
                    Failure::not_accepted(message, &problems)
                }
                error => {
                    let message = format!("{}: {error}", component.name);
                    Failure::new(12, "policy-failed", message)
                }
            })
    }

    /// The same, with nothing set for it.
    fn admit_alone(&self, engine: &Engine, component: &Component) -> Result<Policy, Failure> {
        let admitted = match &component.limits {
            Some(limits) => engine.admit_within(&component.bytes, limits),
            None => engine.admit(&component.bytes),
        };
        admitted.map_err(|rejected| {
            let file = shown(&self.component.source.component);
            Failure::from(entail::Error::from(rejected))
                .with_remedies(vec![format!("entail policy check {file}")])
        })
    }
}

/// An engine for a home whose store nobody needs to open.
fn engine(home: &Home) -> Engine {
    Engine::new(Settings {
        code_cache: Some(home.code_cache()),
        compile: Compile::InSandbox(Sandbox::this_program()),
        ..Settings::default()
    })
}

fn exit(counts: &DifferenceCounts) -> ExitCode {
    match (counts.widened, counts.now_failing) {
        (0, 0) => ExitCode::SUCCESS,
        (0, _) => ExitCode::from(FAILING),
        _ => ExitCode::from(WIDENED),
    }
}

fn described(policy: &Policy) -> Value {
    let description = policy.description();
    json!({
        "name": description.name, "version": description.version,
        "digest": policy.digest().to_string(),
    })
}

fn print_replay(replay: &Replay, reworded: bool) {
    if !replay.changes.is_empty() {
        let mut table = Table::with_headings([
            "SCOPE", "PROVIDER", "RECORDED", "THEN", "CHANGE", "TIMES", "SUCH AS",
        ]);
        for change in replay.changes.iter().take(MAX_ROWS) {
            let example = &change.example;
            table.row([
                change.scope.as_str().into(),
                change.provider.as_str().into(),
                answer(&change.from),
                answer(&change.to),
                difference(change.difference),
                change.times.to_string().into(),
                Cell::new(
                    format!("{} of {}", example.sequence, example.writer),
                    Style::Faint,
                ),
            ]);
        }
        table.print();
    }
    left_out(replay.changes.len(), "groups of changes");
    summary("records", &replay.counts);
    if !reworded && replay.counts.reason_changed > 0 {
        say!(Style::Faint => "what is refused for another reason is left out; it is shown with --reworded");
    }
    if replay.ungrouped > 0 {
        say!(
            "{} more changed, in more ways than are told apart",
            replay.ungrouped
        );
    }
    if replay.unreadable > 0 {
        tell!(Style::Warn => "note:"; " {} lines of the decision log are no records; run: entail audit verify",
            replay.unreadable
        );
    }
}

fn print_access(changes: &AccessChanges) {
    if !changes.changes.is_empty() {
        let mut table =
            Table::with_headings(["SCOPE", "PROVIDER", "MODEL", "NOW", "THEN", "CHANGE"]);
        for change in changes.changes.iter().take(MAX_ROWS) {
            table.row([
                change.scope.as_str().into(),
                change.provider.as_str().into(),
                asked(&change.request).into(),
                answer(&change.from),
                answer(&change.to),
                difference(change.difference),
            ]);
        }
        table.print();
    }
    left_out(changes.changes.len(), "changes");
    let what = format!("requests of {} scopes", changes.scopes);
    summary(&what, &changes.counts);
    say!(Style::Faint => asked_for(&changes.coverage));
    if let Some(note) = about_attributes(&changes.coverage) {
        say!(Style::Warn => "note:"; " {note}");
    }
}

/// What the log's requests say about attributes; `None` if nothing depends on them.
fn about_attributes(coverage: &Coverage) -> Option<String> {
    let Coverage {
        with_attributes,
        attributes_decide,
        skipped: left_out,
        ..
    } = coverage;
    if *attributes_decide == 0 {
        return None;
    }
    let left_out = match left_out {
        0 => String::new(),
        more => format!(", and {more} more requests of the log were not asked"),
    };
    Some(format!(
        "{with_attributes} of the log's requests say attributes, and {attributes_decide} of them \
         get another answer without{left_out}: ask for others with --attribute NAME=VALUE"
    ))
}

/// What was asked, and what was not.
fn asked_for(coverage: &Coverage) -> String {
    let times = coverage.later_ms.len();
    let requests = coverage.recorded_requests;
    let attributes: Vec<String> = coverage
        .attributes
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    let said = match attributes.is_empty() {
        true => String::new(),
        false => format!(", with and without {}", attributes.join(" ")),
    };
    format!(
        "asked as of now and of {times} later times, with the models that scopes name{said} and \
         the {requests} requests that the log's last {} records hold; other models, attributes \
         and times were not asked",
        coverage.records
    )
}

fn left_out(rows: usize, what: &str) {
    if rows > MAX_ROWS {
        say!("… and {} more {what} (see: --json)", rows - MAX_ROWS);
    }
}

/// `12 records: 1 widened, 11 the same`.
pub fn summary(what: &str, counts: &DifferenceCounts) {
    let DifferenceCounts {
        widened,
        narrowed,
        reordered: moved,
        reason_changed: reworded,
        now_failing: failing,
        same,
    } = *counts;
    let differing = [
        (widened, Style::Bad, "widened"),
        (narrowed, Style::Warn, "narrowed"),
        (moved, Style::Plain, "moved"),
        (reworded, Style::Plain, "reworded"),
        (failing, Style::Bad, "failing"),
    ]
    .into_iter()
    .filter(|(count, _, _)| *count > 0);
    let mut line = Line::plain(format_args!("{} {what}: ", counts.all()));
    for (count, style, name) in differing {
        line = line
            .then_styled(style, format_args!("{count} {name}"))
            .then(", ");
    }
    line.then(format_args!("{same} the same")).print();
}

/// What was asked for, in the column of the model: `any`, `none`, `gpt-5`,
/// `gpt-5 (named backup)`, `gpt-5 (session=7)`, `none (in 6 h)`.
fn asked(asked: &ComparedRequest) -> String {
    match asked {
        ComparedRequest::Any => "any".to_owned(),
        ComparedRequest::Only {
            credential,
            model,
            attributes,
            kept,
            later_ms,
        } => {
            let model = model.as_ref().map_or("none", ModelId::as_str);
            let named = credential.iter().map(|name| format!("named {name}"));
            let said = attributes
                .iter()
                .map(|(name, value)| format!("{name}={value}"));
            let kept = kept.iter().map(|name| format!("keeping {name}"));
            let later = later_ms.iter().map(|later| format!("in {}", hours(*later)));
            let besides: Vec<String> = named.chain(said).chain(kept).chain(later).collect();
            match besides.is_empty() {
                true => model.to_owned(),
                false => format!("{model} ({})", besides.join(", ")),
            }
        }
    }
}

/// A time in hours, or in days if it has whole ones.
fn hours(ms: u64) -> String {
    let hours = ms / (60 * 60 * 1_000);
    match hours % 24 {
        0 => format!("{} d", hours / 24),
        _ => format!("{hours} h"),
    }
}

/// An answer as a cell of a table.
pub fn answer(answer: &EffectiveDecision) -> Cell {
    let style = match answer {
        EffectiveDecision::Granted { .. } => Style::Good,
        EffectiveDecision::Refused { .. } => Style::Warn,
        EffectiveDecision::Failed { .. } => Style::Bad,
        EffectiveDecision::Absent => Style::Faint,
    };
    Cell::new(answer.to_string(), style)
}

fn difference(difference: Difference) -> Cell {
    let style = match difference {
        Difference::Widened | Difference::NowFailing => Style::Bad,
        Difference::Narrowed => Style::Warn,
        Difference::Reordered | Difference::ReasonChanged | Difference::Same => Style::Plain,
    };
    Cell::new(difference.to_string(), style)
}

fn to_json(changes: &AccessChanges) -> Value {
    let rows: Vec<Value> = changes.changes.iter().map(change_json).collect();
    json!({
        "revision": changes.revision,
        "scopes": changes.scopes,
        "counts": changes.counts,
        "coverage": changes.coverage,
        "changes": rows,
    })
}

/// The same under a policy that is not in service.
fn under(policy: &Policy, changes: &AccessChanges) -> Value {
    with_member(to_json(changes), "policy", described(policy))
}

fn change_json(change: &AccessChange) -> Value {
    let mut json = json!({
        "scope": change.scope, "provider": change.provider,
        "any": true, "credential": null, "model": null,
        "difference": change.difference, "from": change.from, "to": change.to,
    });
    if let ComparedRequest::Only {
        credential,
        model,
        attributes,
        kept,
        later_ms,
    } = &change.request
    {
        for (name, value) in [
            ("any", json!(false)),
            ("credential", json!(credential)),
            ("model", json!(model)),
            ("attributes", json!(attributes)),
            ("kept", json!(kept)),
            ("later_ms", json!(later_ms)),
        ] {
            json = with_member(json, name, value);
        }
    }
    json
}
