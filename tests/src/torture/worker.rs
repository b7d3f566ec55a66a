//! The process under test: it changes a store and acknowledges each change.
//!
//! Each writer has a separate scope and numbers its changes. A change sets the secret of
//! its credential, or its model, to the number, which is printed when the change is
//! acknowledged. A rotator alternately rotates the identity and the signer, and prints the
//! number of completed rotations. A reader resolves, and prints the number of revealed secrets.

use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;

use entail::{Change, Clock, Entail, Home, Principal, Request, SecretEdit, SystemClock, Uptime};

use super::{add_scope, set_key, settings};

/// How long a replaced secret stays valid: longer than any cycle.
const GRACE_MS: u64 = 3_600_000;

/// What a worker does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Changes the scope with this number.
    Writer(u32),
    /// Rotates keys.
    Rotator,
    /// Resolves in the scope with this number, in an earlier boot of the machine.
    Reader(u32),
}

/// The clock of a machine before it was restarted.
#[derive(Debug)]
struct EarlierBoot;

impl Clock for EarlierBoot {
    fn now_ms(&self) -> u64 {
        SystemClock.now_ms()
    }

    fn uptime(&self) -> Option<Uptime> {
        Some(Uptime {
            boot: "an earlier one".to_owned(),
            ..SystemClock.uptime()?
        })
    }
}

/// The scope of a writer.
pub fn scope(writer: u32) -> String {
    format!("acme/w{writer}")
}

/// The secret of a change.
pub fn secret(writer: u32, count: u64) -> String {
    format!("canary-of-writer-{writer}-change-{count:08}")
}

/// The model of a change.
pub fn model(count: u64) -> String {
    format!("model-{count:08}")
}

/// Creates a home with a scope for each writer.
pub async fn make_home(directory: &Path, cache: &Path, writers: u32) -> Home {
    let home = Home::create(directory, None).await.unwrap();
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

/// Makes changes until it is killed or has made `limit` changes. Numbers start after
/// `from`.
pub async fn work(
    directory: &Path,
    cache: &Path,
    role: Role,
    from: u64,
    limit: u64,
) -> Result<(), entail::Error> {
    let home = Home::open(directory)?;
    let mut settings = settings(cache);
    if matches!(role, Role::Reader(_)) {
        settings.clock = Arc::new(EarlierBoot);
    }
    let entail = Entail::open(&home, settings)?;
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
                print_line(&format!("{writer} {what} {count}"));
            }
            Role::Rotator => {
                if count % 4 == 1 {
                    entail.keys().rotate_owner(&me).await?;
                } else if count % 2 == 0 {
                    entail
                        .keys()
                        .rotate_identity(&me, None, &mut |_| {})
                        .await?;
                } else {
                    entail.keys().rotate_signer(&me).await?;
                }
                print_line(&format!("rotated {count}"));
            }
            Role::Reader(reader) => {
                let scope = scope(reader).parse().unwrap();
                let request = Request::new(scope, "openai".parse().unwrap());
                // A refusal is written and not synced.
                let refused = Request::new(request.scope.clone(), "anthropic".parse().unwrap());
                let _ = entail.resolve(&me, &refused).await;
                entail.resolve(&me, &request).await?;
                print_line(&format!("revealed {count}"));
            }
        }
    }
    Ok(())
}

/// Prints a line in one write, so that it is complete or missing.
fn print_line(line: &str) {
    let mut output = std::io::stdout().lock();
    output.write_all(format!("{line}\n").as_bytes()).unwrap();
    output.flush().unwrap();
}

/// Every other secret is renewed with a grace period, the others are replaced.
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
