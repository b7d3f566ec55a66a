//! Prints what was done to a credential.

use entail::Applied;

use super::replaced::Replaced;
use crate::args::credential::CredentialArgs;
use crate::output::{Style, out, print_json};
use crate::session::Session;
use crate::suggest::command_line::name_option;
use entail_api::credential::CredentialChanged;

/// The result of a change of a credential, for its output.
pub struct Changed<'a> {
    pub id: &'a CredentialArgs,
    pub applied: &'a Applied,
    pub replaced: Option<&'a Replaced>,
    /// The name of the scope's credential that requests get, if it has several.
    pub serves: Option<String>,
}

impl Changed<'_> {
    /// Prints the change. `what` completes a sentence that begins with the credential.
    pub fn print(self, session: &Session, what: &str) {
        let Changed {
            id,
            applied,
            replaced,
            serves,
        } = self;
        let changed = CredentialChanged {
            scope: id.scope.to_string(),
            provider: id.provider.to_string(),
            credential: id.name.to_string(),
            version: applied.version,
            notes: applied.notes.clone(),
            retired_until_ms: applied.retired_until_ms,
            replaced: replaced.map(Replaced::to_output),
            serves,
        };
        if session.global.json {
            print_json(&changed);
        } else {
            print_text(&changed, what);
        }
    }
}

fn print_text(changed: &CredentialChanged, what: &str) {
    let CredentialChanged {
        scope,
        provider,
        credential,
        ..
    } = changed;
    out!("{scope} {provider}{} {what}", name_option(credential));
    for note in &changed.notes {
        out!(Style::Warn => "note:"; " {note}");
    }
    match &changed.serves {
        Some(serves) if serves == credential => {
            out!("requests of {scope} for {provider} now get {credential}");
        }
        Some(serves) => out!(
            "requests of {scope} for {provider} still get {serves}; {credential} comes after it (to change that: --priority)"
        ),
        None => {}
    }
}

/// ` (version 2)`; empty if there is none.
pub fn version(applied: &Applied) -> String {
    applied
        .version
        .map_or(String::new(), |version| format!(" (version {version})"))
}
