//! What is tortured: a process that changes a store and says so.
//!
//! Each writer has a scope of its own and counts its changes. With a change it sets
//! the secret of its credential, or its model, to its count, and prints the count
//! once the change is acknowledged. A rotator renews the identity and the signer in
//! turn, and prints how often it got to the end.

use std::io::Write as _;
use std::path::Path;

use entail::{Change, Entail, Home, Principal, SecretEdit};

use super::{add_scope, set_key, settings};

/// How long a secret that was renewed is kept: longer than any cycle.
const GRACE_MS: u64 = 3_600_000;

/// What a worker does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Changes the scope of that number.
    Writer(u32),
    /// Renews keys.
    Rotator,
}

/// The scope of a writer.
pub fn scope(writer: u32) -> String {
    format!("acme/w{writer}")
}

/// The secret that a writer sets with that change.
pub fn secret(writer: u32, count: u64) -> String {
    format!("canary-of-writer-{writer}-change-{count:08}")
}

/// The model that a writer sets with that change.
pub fn model(count: u64) -> String {
    format!("model-{count:08}")
}

/// A home with scopes for so many writers.
pub async fn make_home(folder: &Path, cache: &Path, writers: u32) -> Home {
    let home = Home::create(folder, None).await.unwrap();
    let entail = Entail::open(&home, settings(cache)).unwrap();
    let me = Principal::LocalOwner;
    add_scope(&entail, "acme").await;
    for writer in 0..writers {
        add_scope(&entail, &scope(writer)).await;
        entail.change(&me, &set_secret(writer, 0)).await.unwrap();
        entail.change(&me, &set_model(writer, 0)).await.unwrap();
    }
    home
}

/// Works until it is stopped, or has made `limit` changes. Writers begin after
/// `from`. A change that fails is said and tried again, a few times.
pub async fn work(
    folder: &Path,
    cache: &Path,
    role: Role,
    from: u64,
    limit: u64,
) -> Result<(), entail::Error> {
    let home = Home::open(folder)?;
    let entail = Entail::open(&home, settings(cache))?;
    let me = Principal::LocalOwner;
    for count in from + 1..=from.saturating_add(limit) {
        match role {
            Role::Writer(writer) => {
                let change = match count % 3 {
                    0 => set_model(writer, count),
                    _ => set_secret(writer, count),
                };
                entail.change(&me, &change).await?;
                let what = if count % 3 == 0 { "model" } else { "secret" };
                say(&format!("{writer} {what} {count}"));
            }
            Role::Rotator => {
                if count % 2 == 0 {
                    entail.rotate_identity(&me, None, &mut |_| {}).await?;
                } else {
                    entail.rotate_signer(&me, &mut |_| {}).await?;
                }
                say(&format!("rotated {count}"));
            }
        }
    }
    Ok(())
}

/// In one write, so that a line is whole or not there.
fn say(line: &str) {
    let mut output = std::io::stdout().lock();
    output.write_all(format!("{line}\n").as_bytes()).unwrap();
    output.flush().unwrap();
}

/// Every other secret is renewed with a time of grace, the others replaced.
fn set_secret(writer: u32, count: u64) -> Change {
    let mut set = set_key(&scope(writer), secret(writer, count));
    if count % 2 == 1 && count > 1 {
        set.secret = SecretEdit::Rotate;
        set.grace_ms = GRACE_MS;
    }
    Change::SetCredential(Box::new(set))
}

fn set_model(writer: u32, count: u64) -> Change {
    Change::SetModel {
        scope: scope(writer).parse().unwrap(),
        provider: "openai".parse().unwrap(),
        model: Some(model(count).parse().unwrap()),
    }
}
