//! `policy check`: whether a component would be admitted, and what it takes; else what
//! is wrong with it.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Args;
use entail::policy::{
    BadSettings, CallError, Compiler, Engine, EngineConfig, Facts, Inheritance, Isolation, Limits,
    Policy, Rejected, Sandbox, Sharing, Values,
};
use entail::policy::{CredentialFacts as Credential, RequestFacts as Request, ScopeFacts as Scope};
use serde_json::json;

use crate::build_record::Built;
use crate::code_cache::{Cache, code_cache};
use crate::component_source::{Component, ComponentArgs, limits_in, read_settings};
use crate::failure::Failure;
use crate::output::{Cell, Style, Table, print_json, say, tell};
use crate::policy_problems::{
    Problem, failure, failure_of_calls, needs, on_call, on_settings, problems,
};
use crate::session::Session;

/// How often a policy is called to tell how long it takes.
const CALLS: usize = 100;

/// It is called for so long at most.
const CALLING: Duration = Duration::from_secs(5);

/// From this size on compiling takes so long that one wonders.
const LARGE_BYTES: usize = 4 << 20;

/// From this part of its deadline on, a call that takes no longer on an idle machine
/// may miss it on a busy one.
const NEAR: u32 = 4;

#[derive(Args)]
pub struct CheckArgs {
    #[command(flatten)]
    pub component: ComponentArgs,
    /// Settings to check the component with: a file with a JSON object
    #[arg(long, value_name = "FILE", value_parser = crate::paths::parser())]
    pub settings: Option<PathBuf>,
    /// If the limits are too low, find out what it needs: try again with up to 2 GiB
    /// of memory and 2 minutes for compiling, and up to 512 MiB and 10 seconds a call
    #[arg(long)]
    pub find_limits: bool,
}

/// Admits a component, and tells what it takes.
///
/// # Errors
///
/// That it is not admitted, and why; that there is none.
pub fn check(session: &Session, args: &CheckArgs) -> Result<(), Failure> {
    let bench = Bench::new(session)?;
    let component = args.component.read(&bench.engine)?;
    let policy = match bench.try_on(&component) {
        Ok(policy) => policy,
        Err(rejected) => {
            let found = bench.problems(&component, &rejected, args.find_limits);
            if session.common.json {
                print_json(&json!({"admitted": false, "problems": found}));
            }
            return Err(failure(&component.name, &found));
        }
    };
    let useless = |found: &[Problem]| {
        if session.common.json {
            print_json(&json!({"admitted": true, "problems": found}));
        }
        failure_of_calls(&component.name, found)
    };
    let settings = match &args.settings {
        Some(file) => read_settings(file)?,
        None => Values::new(),
    };
    let policy = match policy.with_settings(&settings) {
        Ok(policy) => policy,
        // That it needs some is no flaw.
        Err(BadSettings::NotAccepted(_)) if args.settings.is_none() => policy,
        Err(bad) => return Err(useless(&on_settings(&bad))),
    };
    let calls = |isolation| {
        middle_call(&policy.with_isolation(isolation))
            .map_err(|failed| useless(&[on_call(&component.bytes, &failed)]))
    };
    let fresh = calls(Isolation::PerCall)?;
    let warm = calls(Isolation::PerOrganization)?;
    report(session, &component, &policy, fresh, warm);
    Ok(())
}

/// An engine to try components on, which is set up as one that serves.
pub struct Bench {
    engine: Engine,
    _code: Cache,
}

impl Bench {
    /// Sets it up.
    ///
    /// # Errors
    ///
    /// When there is no place for code.
    pub fn new(session: &Session) -> Result<Self, Failure> {
        let code = code_cache(session)?;
        let engine = Engine::new(EngineConfig {
            code_cache: Some(code.cache.clone()),
            compiler: Compiler::Sandboxed(Sandbox::this_program()),
            ..EngineConfig::default()
        });
        Ok(Bench {
            engine,
            _code: code,
        })
    }

    /// The engine.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Admits a component under its own limits.
    ///
    /// # Errors
    ///
    /// That it is not, with all that [`check`] would tell of it.
    pub fn admit(&self, component: &Component) -> Result<Policy, Failure> {
        self.try_on(component)
            .map_err(|rejected| not_admitted(component, &rejected))
    }

    fn try_on(&self, component: &Component) -> Result<Policy, Rejected> {
        if component.bytes.len() > LARGE_BYTES {
            tell!(
                "{} is large: unless it was before, it is compiled now, which may take a minute …",
                component.name
            );
        }
        self.engine
            .admit_within(&component.bytes, &limits_of(component))
    }

    fn problems(&self, component: &Component, rejected: &Rejected, find: bool) -> Vec<Problem> {
        let limits = limits_of(component);
        match find {
            true => needs(&self.engine, &component.bytes, &limits, rejected),
            false => problems(&component.bytes, &limits, rejected),
        }
    }
}

/// Admits what was built in a folder, or of a module, under the limits that its author
/// has put there.
///
/// # Errors
///
/// That it is not admitted, with all that [`check`] would tell of it.
pub fn admit_built(
    session: &Session,
    folder: &Path,
    module: Option<&Path>,
    bytes: Vec<u8>,
) -> Result<(Policy, Vec<u8>), Failure> {
    let bench = Bench::new(session)?;
    // A layer is nothing by itself; it is tried over the built-in policy. Whatever is no
    // layer does not go over anything.
    let over_built_in = bench.engine.compose(&bytes, entail::DEFAULT_POLICY);
    let whole = over_built_in.unwrap_or_else(|_| bytes.clone());
    let component = Component {
        bytes: whole,
        limits: limits_in(folder)?,
        name: module.unwrap_or(folder).display().to_string(),
        built: Built::OfItsSources,
    };
    let policy = bench.admit(&component)?;
    Ok((policy, bytes))
}

/// How a command fails for a component that an engine did not admit.
pub fn not_admitted(component: &Component, rejected: &Rejected) -> Failure {
    let found = problems(&component.bytes, &limits_of(component), rejected);
    failure(&component.name, &found)
}

fn limits_of(component: &Component) -> Limits {
    component.limits.clone().unwrap_or_default()
}

/// Calls a policy over and over, and tells how long it takes in the middle.
fn middle_call(policy: &Policy) -> Result<Duration, CallError> {
    let facts = ordinary_facts();
    let began = Instant::now();
    let mut times = Vec::with_capacity(CALLS);
    while times.len() < CALLS && began.elapsed() < CALLING {
        let started = Instant::now();
        match policy.decide(&facts) {
            Ok(_) | Err(CallError::InvalidFacts(_) | CallError::Undecided(_)) => {}
            Err(failure) => return Err(failure),
        }
        times.push(started.elapsed());
    }
    times.sort_unstable();
    Ok(times.get(times.len() / 2).copied().unwrap_or_default())
}

/// Facts as most requests have them: a project and its organization, with a credential
/// or two.
fn ordinary_facts() -> Facts {
    let credential = |id: &str, name: &str| Credential {
        id: id.to_owned(),
        name: name.to_owned(),
        enabled: true,
        readable: true,
        expires_at_ms: None,
        models: Some(vec!["gpt-*".to_owned()]),
        sharing: Sharing::All,
        mandatory: false,
        priority: 0,
        attributes: [("region".to_owned(), "eu".to_owned())].into(),
    };
    let scope = |path: &str, inheritance, credentials| Scope {
        path: path.to_owned(),
        inheritance,
        default_model: Some("gpt-5".to_owned()),
        credentials,
        attributes: [].into(),
    };
    Facts {
        request: Request {
            provider: "openai".to_owned(),
            model: None,
            credential: None,
            principal: "local:owner".to_owned(),
            now_ms: 1_767_225_600_000,
            attributes: [("session".to_owned(), "one".to_owned())].into(),
        },
        chain: vec![
            scope("acme/evals", Inheritance::FallBack, Vec::new()),
            scope(
                "acme",
                Inheritance::Isolated,
                vec![credential("1", "default"), credential("2", "second")],
            ),
        ],
    }
}

fn report(
    session: &Session,
    component: &Component,
    policy: &Policy,
    fresh: Duration,
    warm: Duration,
) {
    let description = policy.description();
    let costs = policy.costs();
    let limits = policy.limits();
    if session.common.json {
        print_json(&json!({
            "admitted": true,
            "name": description.name, "version": description.version,
            "summary": description.summary, "digest": policy.digest(),
            "contract": policy.contract().to_string(), "schema": policy.schema(),
            "bytes": component.bytes.len(),
            "admission_us": costs.admission.as_micros(),
            "compiled": costs.compiled,
            "trial_call_us": costs.trial_call.as_micros(),
            "fresh_call_us": fresh.as_micros(), "warm_call_us": warm.as_micros(),
            "memory_bytes": costs.memory_bytes, "table_elements": costs.table_elements,
            "limits": limits,
        }));
        return;
    }
    let mut table = Table::default();
    let mut row =
        |name: &str, value: String| table.row([Cell::new(name, Style::Faint), value.into()]);
    row(
        "policy",
        format!("{} {}", description.name, description.version),
    );
    row("summary", description.summary.clone());
    row("digest", policy.digest().to_string());
    row("contract", policy.contract().to_string());
    row("imports", "none".to_owned());
    row(
        "settings",
        match policy.schema() {
            Some(_) => "by a schema of its own".to_owned(),
            None => "none: nothing can be set for it".to_owned(),
        },
    );
    row(
        "size",
        format!(
            "{} bytes of {}",
            component.bytes.len(),
            limits.component_bytes
        ),
    );
    row(
        "admission",
        match costs.compiled {
            true => format!("{}, compiling included", time(costs.admission)),
            false => format!("{}; it was compiled before", time(costs.admission)),
        },
    );
    row(
        "calls",
        format!(
            "the first {}; {CALLS} of them {} each in a fresh instance, {} in a warm one",
            time(costs.trial_call),
            time(fresh),
            time(warm)
        ),
    );
    row("deadline", format!("{} a call", time(limits.deadline)));
    row(
        "memory",
        format!("{} bytes of {}", costs.memory_bytes, limits.memory_bytes),
    );
    row(
        "tables",
        format!(
            "{} elements of {}",
            costs.table_elements, limits.table_elements
        ),
    );
    table.print();
    for warning in warnings(policy, fresh) {
        say!(Style::Warn => "mind:"; " {warning}");
    }
    say!(Style::Good => "admitted:"; " {} can be installed",
        component.name
    );
}

/// What works here and now but may not elsewhere.
fn warnings(policy: &Policy, fresh: Duration) -> Vec<String> {
    let limits = policy.limits();
    let mut warnings = Vec::new();
    if fresh * NEAR > limits.deadline {
        warnings.push(format!(
            "a call takes {} of the {} it has; on a busy machine it may miss its deadline: raise deadline_ms in limits.json, or serve it with a warm instance for each organization",
            time(fresh),
            time(limits.deadline)
        ));
    }
    if policy.costs().memory_bytes > limits.memory_bytes / 4 * 3 {
        warnings.push(
            "it is close to its limit of memory, and large facts take more: raise memory_bytes in limits.json"
                .to_owned(),
        );
    }
    warnings
}

/// A time as a person reads it.
fn time(time: Duration) -> String {
    let us = time.as_micros();
    match us {
        0..1_000 => format!("{us} µs"),
        1_000..100_000 => format!("{}.{} ms", us / 1_000, us % 1_000 / 100),
        100_000..10_000_000 => format!("{} ms", us / 1_000),
        _ => format!("{} s", us / 1_000_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_has_the_unit_that_suits_it() {
        let texts = [7, 1_234, 100_000, 12_345_678].map(|us| time(Duration::from_micros(us)));
        assert_eq!(texts, ["7 µs", "1.2 ms", "100 ms", "12 s"]);
    }
}
