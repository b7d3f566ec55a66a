//! What differs between two keyrings, for people who decide whether to sign the second.

use super::Keyring;
use super::authority::{Authority, LabelledKey, StoreSigner};
use crate::recipients::{Epoch, Readers, Recipient};

/// A difference between two keyrings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyringDifference {
    /// What differs.
    pub kind: DifferenceKind,
    /// The organization that it is about, if it is about one.
    pub organization: Option<String>,
    /// The key, fingerprint or number that it is about.
    pub subject: String,
    /// The label of the key, if it has one.
    pub label: Option<String>,
}

/// What differs between two keyrings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DifferenceKind {
    /// A key may sign keyrings.
    OwnerAdded,
    /// A key may no longer sign keyrings.
    OwnerRemoved,
    /// The number of owners that must sign.
    OwnersRequired,
    /// A key may change the store. The subject names the scopes, if it is limited to some.
    SignerAdded,
    /// A key may no longer change the store.
    SignerRemoved,
    /// The entry of a key changes: its label, or the scopes of a signer. The subject and the label
    /// are the new ones.
    EntryChanged,
    /// The order of a list changes. The subject is what it lists.
    OrderChanged,
    /// An organization is created.
    OrganizationAdded,
    /// An organization does not exist any more.
    OrganizationRemoved,
    /// A recipient can open the secrets of the organization; of those that are created later,
    /// without an organization.
    RecipientAdded,
    /// A recipient can no longer open what is sealed from then on.
    RecipientRemoved,
    /// Secrets are sealed to a new key. The subject is the number of the epoch.
    EpochBegun,
    /// A key to which secrets were sealed is removed. The subject is the number of the epoch.
    EpochRemoved,
    /// The key of an epoch is sealed to other recipients. The subject lists their fingerprints.
    EpochResealed,
    /// How long a state counts as the newest after it was confirmed, in milliseconds; `none` if
    /// that needs no confirmation.
    FreshFor,
    /// The store is restored from a backup: a new lineage begins.
    LineageBegun,
}

impl DifferenceKind {
    /// Its stable name, in kebab-case.
    pub fn as_str(self) -> &'static str {
        match self {
            DifferenceKind::OwnerAdded => "owner-added",
            DifferenceKind::OwnerRemoved => "owner-removed",
            DifferenceKind::OwnersRequired => "owners-required",
            DifferenceKind::SignerAdded => "signer-added",
            DifferenceKind::SignerRemoved => "signer-removed",
            DifferenceKind::EntryChanged => "entry-changed",
            DifferenceKind::OrderChanged => "order-changed",
            DifferenceKind::OrganizationAdded => "organization-added",
            DifferenceKind::OrganizationRemoved => "organization-removed",
            DifferenceKind::RecipientAdded => "recipient-added",
            DifferenceKind::RecipientRemoved => "recipient-removed",
            DifferenceKind::EpochBegun => "epoch-begun",
            DifferenceKind::EpochRemoved => "epoch-removed",
            DifferenceKind::EpochResealed => "epoch-resealed",
            DifferenceKind::FreshFor => "fresh-for",
            DifferenceKind::LineageBegun => "lineage-begun",
        }
    }
}

/// Lists every difference between two keyrings.
pub fn differences(before: &Keyring, after: &Keyring) -> Vec<KeyringDifference> {
    let mut found = Found::default();
    if before.lineage() != after.lineage() {
        found.push(DifferenceKind::LineageBegun, after.lineage().to_string());
    }
    found.compare(before.authority(), after.authority());
    found.differences
}

/// An item of a list.
struct Described {
    key: String,
    subject: String,
    label: String,
}

impl Described {
    fn new(key: &str, subject: String, label: &str) -> Self {
        Described {
            key: key.to_owned(),
            subject,
            label: label.to_owned(),
        }
    }
}

#[derive(Default)]
struct Found {
    differences: Vec<KeyringDifference>,
    /// The organization that is compared.
    organization: Option<String>,
}

impl Found {
    fn push(&mut self, kind: DifferenceKind, subject: impl Into<String>) {
        self.push_labelled(kind, subject.into(), None);
    }

    fn push_labelled(&mut self, kind: DifferenceKind, subject: String, label: Option<String>) {
        self.differences.push(KeyringDifference {
            kind,
            organization: self.organization.clone(),
            subject,
            label,
        });
    }

    /// Compares two lists of keys. `describe` returns the key, what is said of it, and its label.
    fn compare_lists<T: PartialEq>(
        &mut self,
        (before, after): (&[T], &[T]),
        (added, removed): (DifferenceKind, DifferenceKind),
        list: &str,
        describe: impl Fn(&T) -> Described,
    ) {
        let find = |all: &[T], key: &str| all.iter().position(|item| describe(item).key == key);
        for item in before {
            let Described {
                key,
                subject,
                label,
            } = describe(item);
            if find(after, &key).is_none() {
                self.push_labelled(removed, subject, Some(label));
            }
        }
        let mut places = Vec::new();
        for item in after {
            let Described {
                key,
                subject,
                label,
            } = describe(item);
            let Some(place) = find(before, &key) else {
                self.push_labelled(added, subject, Some(label));
                continue;
            };
            places.push(place);
            if before.get(place) != Some(item) {
                self.push_labelled(DifferenceKind::EntryChanged, subject, Some(label));
            }
        }
        if !places.is_sorted() {
            self.push(DifferenceKind::OrderChanged, list);
        }
    }

    fn compare(&mut self, before: &Authority, after: &Authority) {
        // All members, so that none is left out when there is another.
        let Authority {
            owners,
            signers,
            readers,
            default_recipients,
            fresh_for_ms,
        } = after;
        let kinds = (DifferenceKind::OwnerAdded, DifferenceKind::OwnerRemoved);
        let lists = (&*before.owners.keys, &*owners.keys);
        self.compare_lists(lists, kinds, "owners", |key: &LabelledKey| {
            let id = key.key.id().to_string();
            Described::new(&id, id.clone(), &key.label)
        });
        if before.owners.threshold != owners.threshold {
            self.push(DifferenceKind::OwnersRequired, owners.threshold.to_string());
        }
        let kinds = (DifferenceKind::SignerAdded, DifferenceKind::SignerRemoved);
        let lists = (&*before.signers, &**signers);
        self.compare_lists(lists, kinds, "signers", |signer: &StoreSigner| {
            let id = signer.id().to_string();
            let subject = match &signer.scopes {
                None => id.clone(),
                Some(scopes) => format!("{id} (only {})", scopes.join(", ")),
            };
            Described::new(&id, subject, &signer.key.label)
        });
        if before.fresh_for_ms != *fresh_for_ms {
            let subject = fresh_for_ms.map_or_else(|| "none".to_owned(), |ms| ms.to_string());
            self.push(DifferenceKind::FreshFor, subject);
        }
        self.compare_recipients(&before.default_recipients, default_recipients);
        self.compare_readers(&before.readers, readers);
    }

    fn compare_recipients(&mut self, before: &[Recipient], after: &[Recipient]) {
        let kinds = (
            DifferenceKind::RecipientAdded,
            DifferenceKind::RecipientRemoved,
        );
        self.compare_lists((before, after), kinds, "recipients", |recipient| {
            Described::new(&recipient.key, recipient.key.clone(), &recipient.label)
        });
    }

    fn compare_readers(&mut self, before: &[Readers], after: &[Readers]) {
        let find = |list: &[Readers], organization: &str| {
            let mut list = list.iter();
            list.find(|readers| readers.organization == organization)
                .cloned()
        };
        for readers in before {
            if find(after, &readers.organization).is_none() {
                self.push(
                    DifferenceKind::OrganizationRemoved,
                    readers.organization.clone(),
                );
            }
        }
        for readers in after {
            let Readers {
                organization,
                class,
                recipients,
                epochs,
            } = readers;
            let known = find(before, organization).unwrap_or_else(|| {
                self.push(DifferenceKind::OrganizationAdded, organization.clone());
                Readers {
                    organization: organization.clone(),
                    class: *class,
                    recipients: Vec::new(),
                    epochs: Vec::new(),
                }
            });
            self.organization = Some(organization.clone());
            self.compare_recipients(&known.recipients, recipients);
            self.compare_epochs(&known.epochs, epochs, recipients);
            self.organization = None;
        }
    }

    fn compare_epochs(&mut self, before: &[Epoch], after: &[Epoch], recipients: &[Recipient]) {
        let is_in = |list: &[Epoch], epoch: &Epoch| {
            let mut list = list.iter();
            list.any(|known| known.number == epoch.number && known.key == epoch.key)
        };
        for epoch in before.iter().filter(|epoch| !is_in(after, epoch)) {
            self.push(DifferenceKind::EpochRemoved, epoch.number.to_string());
        }
        for epoch in after {
            let is_new = !is_in(before, epoch);
            if is_new {
                self.push(DifferenceKind::EpochBegun, epoch.number.to_string());
            }
            let is_for_recipients = epoch.sealed_to.len() == recipients.len()
                && recipients
                    .iter()
                    .all(|recipient| epoch.sealed_to.contains(&recipient.id()));
            let is_unchanged = before.contains(epoch);
            if !(is_unchanged || is_new && is_for_recipients) {
                self.push(DifferenceKind::EpochResealed, epoch.sealed_to.join(", "));
            }
        }
    }
}
