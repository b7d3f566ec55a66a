//! How the store reports that the database does not hold what was written to it.

use std::fmt;

use entail_text::Shown;

/// In what way an object in the database is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Fault {
    /// It was changed, or written without permission.
    Forged,
    /// It was rolled back to an older state.
    Stale,
    /// It is missing.
    Missing,
    /// It was added without permission.
    Extra,
    /// It belongs in another place.
    Swapped,
    /// It cannot be decrypted.
    Unreadable,
    /// It is in a form of a newer version of this program. Nothing suggests that anyone
    /// tampered with it.
    Newer,
}

impl Fault {
    /// The stable code of this fault.
    pub fn as_str(self) -> &'static str {
        match self {
            Fault::Forged => "forged",
            Fault::Stale => "stale",
            Fault::Missing => "missing",
            Fault::Extra => "extra",
            Fault::Swapped => "swapped",
            Fault::Unreadable => "unreadable",
            Fault::Newer => "newer",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An object in the database that is not what was written, and how that shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tampering {
    fault: Fault,
    what: String,
    reason: String,
}

impl Tampering {
    /// Reports that the object `what` is wrong. `what` and `reason` are sanitized and
    /// cut, since they may contain names from a tampered database.
    pub fn new(fault: Fault, what: impl fmt::Display, reason: impl fmt::Display) -> Self {
        Tampering {
            fault,
            what: Shown::of(&what.to_string()).to_string(),
            reason: Shown::of(&reason.to_string()).to_string(),
        }
    }

    /// In what way the object is wrong.
    pub fn fault(&self) -> Fault {
        self.fault
    }

    /// The text of an error about it. What a newer version wrote was not tampered with.
    pub fn as_error(&self) -> String {
        if self.fault == Fault::Newer {
            format!("{} {}", self.what, self.reason)
        } else {
            format!("tampered: {self}")
        }
    }

    /// The object.
    pub fn what(&self) -> &str {
        &self.what
    }

    /// How the fault shows, as the predicate of a sentence about the object.
    pub fn reason(&self) -> &str {
        &self.reason
    }
}

impl fmt::Display for Tampering {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} ({})", self.what, self.reason, self.fault)
    }
}
