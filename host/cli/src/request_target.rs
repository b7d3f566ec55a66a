//! Which words of a command line are the scope and the provider.
//!
//! The scope may be left out where one is in effect ([`crate::directory_scope`]). Then a
//! first word without a `/` that is a known provider, and no organization of the home, is
//! the provider; in all other cases the first word is the scope. Without a scope in effect
//! a provider alone is an error that says what was probably meant.

use entail::{CredentialName, ModelId, ProviderId, ScopePath};

use crate::args::{AttributeArgs, KeepArgs, RequestArgs, StatusArgs, VariablesArgs};
use crate::directory_scope::in_effect;
use crate::failure::Failure;
use crate::session::Session;

/// What `run` and `export-env` ask for.
pub struct Wanted {
    pub scope: ScopePath,
    /// None means every provider that is granted.
    pub providers: Vec<ProviderId>,
    pub model: Option<ModelId>,
    pub attributes: AttributeArgs,
    pub keep: KeepArgs,
}

/// The most scopes that a suggestion lists.
const MAX_SUGGESTIONS: usize = 3;

/// Returns the scope and the provider of `resolve` or `explain`. A suggestion repeats the
/// options of `args`, and `options`.
///
/// # Errors
///
/// Fails if one of them is missing, and says how to give it.
pub async fn of_request(
    session: &Session,
    command: &str,
    args: &RequestArgs,
    options: &[String],
) -> Result<(ScopePath, ProviderId), Failure> {
    let line = |words: &[&str]| {
        let mut line = CommandLine::new(command);
        line.extend(words);
        line.option("--model", args.model.as_ref().map(ModelId::as_str));
        line.option("--name", args.name.as_ref().map(CredentialName::as_str));
        line.attributes(&args.attributes);
        line.extend(options);
        line.text()
    };
    if let (Some(scope), Some(provider)) = (&args.first, &args.second) {
        return Ok((scope.clone(), provider.clone()));
    }
    let named = match &args.first {
        Some(word) => provider_named(session, word).await?,
        None => None,
    };
    match (&args.first, &named) {
        (_, Some(provider)) => match in_effect(session)? {
            Some(scope) => Ok((scope, provider.clone())),
            None => Err(no_scope(session, Some(provider), |scope| {
                line(&[scope, provider.as_str()])
            })
            .await),
        },
        (Some(word), None) => {
            let exists = scopes(session).await.contains(word);
            let message = if exists {
                format!("no provider is given for the scope {word}")
            } else {
                format!(
                    "{word} is not a provider or a scope of this home, and a provider is needed"
                )
            };
            let scope = if exists { word.as_str() } else { "SCOPE" };
            Err(usage(message).with_remedies(vec![
                line(&[scope, "PROVIDER"]),
                "entail providers".to_owned(),
            ]))
        }
        (None, None) => {
            let words = match in_effect(session)? {
                Some(_) => &["PROVIDER"][..],
                None => &["SCOPE", "PROVIDER"],
            };
            Err(usage("no provider is given".to_owned()).with_remedies(vec![line(words)]))
        }
    }
}

/// Returns what `run` or `export-env` asks for. `tail` is what follows its options.
///
/// # Errors
///
/// Fails if no scope is given and none is in effect.
pub async fn of_variables(
    session: &Session,
    command: &str,
    args: &VariablesArgs,
    tail: &[String],
) -> Result<Wanted, Failure> {
    let named = match &args.first {
        Some(word) => provider_named(session, word).await?,
        None => None,
    };
    let wanted = |scope: ScopePath| Wanted {
        scope,
        providers: named.iter().chain(&args.providers).cloned().collect(),
        model: args.model.clone(),
        attributes: args.attributes.clone(),
        keep: args.keep.clone(),
    };
    if let (Some(scope), None) = (&args.first, &named) {
        return Ok(wanted(scope.clone()));
    }
    if let Some(scope) = in_effect(session)? {
        return Ok(wanted(scope));
    }
    let line = |scope: &str| {
        let mut line = CommandLine::new(command);
        line.extend(&[scope]);
        for provider in named.iter().chain(&args.providers) {
            line.option("--provider", Some(provider.as_str()));
        }
        line.option("--model", args.model.as_ref().map(ModelId::as_str));
        line.attributes(&args.attributes);
        for variable in &args.keep.variables {
            line.option("--keep", Some(variable));
        }
        for provider in &args.keep.providers {
            line.option("--keep-provider", Some(provider.as_str()));
        }
        line.extend(tail);
        line.text()
    };
    Err(no_scope(session, named.as_ref(), line).await)
}

/// Returns the scope that `status` is limited to; `None` means all of them.
///
/// # Errors
///
/// Fails if the scope of the directory is not valid, or was not allowed.
pub fn of_status(session: &Session, args: &StatusArgs) -> Result<Option<ScopePath>, Failure> {
    if args.all {
        return Ok(None);
    }
    if args.scope.is_some() {
        return Ok(args.scope.clone());
    }
    let show_all = |failure: Failure| {
        let mut remedies = failure.remedies().to_vec();
        remedies.push("to see every scope: entail status --all".to_owned());
        failure.with_remedies(remedies)
    };
    in_effect(session).map_err(show_all)
}

/// The words of a command after `--`, for a suggestion: its program, and its arguments if
/// they are few and short, since an argument may be anything.
pub fn command_tail(command: &[std::ffi::OsString]) -> Vec<String> {
    const MAX_WORDS: usize = 4;
    const MAX_CHARS: usize = 20;

    let mut tail = vec!["--".to_owned()];
    let short = |word: &&std::ffi::OsString| {
        let text = word.to_str()?;
        (text.chars().count() <= MAX_CHARS).then(|| text.to_owned())
    };
    let words: Option<Vec<String>> = command.iter().map(|word| short(&word)).collect();
    match words.filter(|words| words.len() <= MAX_WORDS) {
        Some(words) => tail.extend(words),
        None => tail.push("COMMAND".to_owned()),
    }
    tail
}

/// Returns the provider of that id, if `word` is one and no organization of the home.
async fn provider_named(
    session: &Session,
    word: &ScopePath,
) -> Result<Option<ProviderId>, Failure> {
    // A path with a slash is no id.
    let Ok(id) = word.as_str().parse::<ProviderId>() else {
        return Ok(None);
    };
    if session.home()?.catalog()?.get(&id).is_none() {
        return Ok(None);
    }
    let entail = session.open()?;
    match entail.scope(&session.principal, word).await {
        Ok(_) => Ok(None),
        Err(entail::Error::UnknownScope(_)) => Ok(Some(id)),
        Err(error) => Err(error.into()),
    }
}

/// The error of a command line without a scope, with those that there are.
async fn no_scope(
    session: &Session,
    provider: Option<&ProviderId>,
    line: impl Fn(&str) -> String,
) -> Failure {
    let scopes = scopes(session).await;
    let mut remedies: Vec<String> = suggested(&scopes)
        .iter()
        .map(|scope| line(scope.as_str()))
        .collect();
    if remedies.is_empty() {
        remedies.push(line("SCOPE"));
    }
    // A project may be called like a provider.
    let is_of_that_name = |scope: &&ScopePath| {
        provider.is_some_and(|provider| scope.last_segment() == provider.as_str())
    };
    let meant: Vec<&ScopePath> = scopes.iter().filter(is_of_that_name).collect();
    remedies.push("to set a scope for this directory: entail use SCOPE".to_owned());
    let message = match (provider, meant.first()) {
        (Some(provider), Some(scope)) => format!(
            "{provider} is a provider, and the scope comes first; did you mean the scope {scope}?"
        ),
        (Some(provider), None) => format!("{provider} is a provider, and the scope comes first"),
        (None, _) => {
            "no scope is given, and neither ENTAIL_SCOPE nor this directory sets one".to_owned()
        }
    };
    usage(message).with_remedies(remedies)
}

/// The scopes to suggest: projects before organizations.
fn suggested(scopes: &[ScopePath]) -> Vec<&ScopePath> {
    let (organizations, projects): (Vec<&ScopePath>, Vec<&ScopePath>) =
        scopes.iter().partition(|scope| scope.is_organization());
    projects
        .into_iter()
        .chain(organizations)
        .take(MAX_SUGGESTIONS)
        .collect()
}

/// The scopes of the home; none if they cannot be read, since this is for an error that is
/// about something else.
async fn scopes(session: &Session) -> Vec<ScopePath> {
    match session.open() {
        Ok(entail) => entail
            .scopes(&session.principal, None)
            .await
            .unwrap_or_default(),
        Err(_) => Vec::new(),
    }
}

fn usage(message: String) -> Failure {
    Failure::new(2, "usage", message)
}

/// A command to suggest, with the options of the one that was given.
struct CommandLine {
    words: Vec<String>,
}

impl CommandLine {
    fn new(command: &str) -> Self {
        CommandLine {
            words: vec!["entail".to_owned(), command.to_owned()],
        }
    }

    fn extend(&mut self, words: &[impl AsRef<str>]) {
        self.words
            .extend(words.iter().map(|word| shell_word(word.as_ref())));
    }

    fn option(&mut self, name: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.extend(&[name, value]);
        }
    }

    /// Repeats attributes that are short; a long one may be a key in the wrong place.
    fn attributes(&mut self, args: &AttributeArgs) {
        const MAX_CHARS: usize = 20;

        for attribute in &args.attributes {
            let shown = match attribute.split_once('=') {
                Some((name, value)) if name.len().max(value.len()) <= MAX_CHARS => attribute,
                _ => "NAME=VALUE",
            };
            self.option("--attribute", Some(shown));
        }
    }

    fn text(&self) -> String {
        self.words.join(" ")
    }
}

/// A word as a shell takes it for one.
pub fn shell_word(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@%+,".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}
