//! Reading the logs of a home: the decision log, and that of shadow policies. They contain the
//! facts of every scope, so only who may administer the installation reads them.

use entail_policy::Policy;
use entail_store::{LogHead, Store};

use crate::audit::{self, Filter, LogReport, Records};
use crate::authorize::authorize_whole;
use crate::compare::replay::{self, Replay};
use crate::error::Error;
use crate::home::Home;
use crate::policies::{self, ShadowDecisions};
use crate::principal::{Action, Principal};

/// Journal entries read at a time.
const JOURNAL_PAGE: usize = 1_000;

fn authorize_reading(principal: &Principal) -> Result<(), Error> {
    authorize_whole(principal, Action::Administer)
}

/// The records of a home's log that match `filter`, oldest first. Skips lines that are not
/// records; [`verify_log`] reports them.
///
/// # Errors
///
/// [`Error::NotAuthorized`]; [`Error::Home`] if a file cannot be read; each record may also
/// fail with it.
pub fn records(home: &Home, principal: &Principal, filter: &Filter) -> Result<Records, Error> {
    authorize_reading(principal)?;
    Ok(audit::records(home, filter))
}

/// The last `count` matching records, oldest first. Reads the log backwards, no further
/// than to the first of them.
///
/// # Errors
///
/// As [`records`].
pub fn last_records(
    home: &Home,
    principal: &Principal,
    filter: &Filter,
    count: usize,
) -> Result<Records, Error> {
    authorize_reading(principal)?;
    audit::last_records(home, filter, count)
}

/// How many records of a home's log match `filter`.
///
/// # Errors
///
/// As [`records`].
pub fn count_records(home: &Home, principal: &Principal, filter: &Filter) -> Result<usize, Error> {
    authorize_reading(principal)?;
    audit::count_records(home, filter)
}

/// Verifies that each record of a home's log is where its writer put it, and was not
/// changed: against the records after it, against the head, and against `heads`, which were known
/// earlier. Reads the whole log, and
/// blocks meanwhile.
///
/// # Errors
///
/// [`Error::NotAuthorized`]; [`Error::Home`] if a file cannot be read.
pub fn verify_log(
    home: &Home,
    principal: &Principal,
    heads: &[LogHead],
) -> Result<LogReport, Error> {
    authorize_reading(principal)?;
    audit::verify(home, heads)
}

/// Decides the records of a home's log that match `filter` again, with `policy`, and
/// compares.
///
/// Blocks the caller's thread while all processors work: some ten thousand records a second
/// each, if the policy is as fast as the built-in one.
///
/// # Errors
///
/// [`Error::NotAuthorized`]; fails if a file of the log cannot be read.
pub fn replay(
    home: &Home,
    principal: &Principal,
    policy: &Policy,
    filter: &Filter,
) -> Result<Replay, Error> {
    authorize_reading(principal)?;
    replay::replay(home, policy, filter)
}

/// The logged decisions of shadow policies, oldest first, read on demand. Incomplete lines
/// are skipped.
///
/// # Errors
///
/// [`Error::NotAuthorized`]; each decision may fail with [`Error::Unavailable`].
pub fn shadow_decisions(home: &Home, principal: &Principal) -> Result<ShadowDecisions, Error> {
    authorize_reading(principal)?;
    Ok(policies::shadow_decisions(home))
}

/// The ends of a home's decision log that the journal of its store contains: what the log was when
/// this machine made its changes. [`verify_log`] checks that the log still contains them.
///
/// # Errors
///
/// [`Error::NotAuthorized`]; [`Error::Tampered`], [`Error::Unavailable`]; [`Error::Home`] if the
/// key of the log cannot be read.
pub async fn journalled_log_heads(
    home: &Home,
    principal: &Principal,
    store: &Store,
) -> Result<Vec<LogHead>, Error> {
    authorize_reading(principal)?;
    let Some(own) = audit::log_id(home)? else {
        return Ok(Vec::new());
    };
    let (mut heads, mut after) = (Vec::new(), 0);
    loop {
        let entries = store.journal(after, JOURNAL_PAGE).await?;
        let Some(last) = entries.last() else {
            return Ok(heads);
        };
        after = last.revision;
        let logged = entries.iter().filter_map(|entry| entry.log);
        heads.extend(logged.filter(|head| head.log == own));
        heads.dedup();
    }
}
