//! The model for the checker: which actions are possible, and how often.

use stateright::{Model, Property};

use super::actions::{Action, Outcome, Source, step};
use super::properties;
use super::rules::Rules;
use super::state::{ADMIN, ADVERSARY, OTHER, State};

/// A kind of action that a scope limits. Reads are free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Write,
    Signer,
    Owner,
    Reader,
    Renewal,
    Copy,
    Restore,
    Clean,
    Theft,
    Replacement,
    Forgery,
    ForgedKeyring,
}

const KINDS: usize = Kind::ForgedKeyring as usize + 1;

/// How often each kind of action may be taken: what is explored exhaustively.
#[derive(Clone, Copy, Debug)]
pub struct Scope {
    pub name: &'static str,
    pub limits: &'static [(Kind, u8)],
    /// Whether the machine without the owner key acts.
    pub other_acts: bool,
    /// Whether the running processes read.
    pub processes: bool,
    /// Whether a restore can be given what the adversary made.
    pub forged_backups: bool,
}

/// The protocol under a set of rules, in a scope.
#[derive(Clone, Debug)]
pub struct KeyringModel {
    pub rules: Rules,
    pub scope: Scope,
}

impl KeyringModel {
    fn limit(&self, kind: Kind) -> u8 {
        let mut limits = self.scope.limits.iter();
        limits
            .find(|(limited, _)| *limited == kind)
            .map_or(0, |(_, limit)| *limit)
    }

    /// Takes an action, and counts it.
    pub fn step(&self, state: &State, action: Action) -> Option<(State, Outcome)> {
        let (mut next, outcome) = step(self.rules, state, action)?;
        if let Some(kind) = kind_of(action) {
            next.spent[kind as usize] += 1;
        }
        Some((next, outcome))
    }
}

impl Model for KeyringModel {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State {
            spent: vec![0; KINDS],
            ..State::first()
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        // What follows a violation does not matter.
        if !state.violations.is_empty() {
            return;
        }
        let all = [
            honest_actions(state),
            restores(state, self.scope.forged_backups),
            thefts(),
            forgeries(state),
        ];
        actions.extend(all.into_iter().flatten().filter(|action| {
            let is_acting = match action {
                Action::Poll(_) if !self.scope.processes => false,
                Action::Read(home) | Action::Poll(home) | Action::Write(home) => {
                    *home != OTHER || self.scope.other_acts
                }
                _ => true,
            };
            let kind = kind_of(*action);
            let is_left = |kind| state.spent[kind as usize] < self.limit(kind);
            is_acting && kind.is_none_or(is_left)
        }));
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        let (next, outcome) = self.step(state, action)?;
        match outcome {
            Outcome::Done => Some(next),
            // What was refused changed nothing but the count.
            Outcome::Refused(_) | Outcome::NotAllowed | Outcome::RestoredElsewhere => None,
        }
    }

    fn properties(&self) -> Vec<Property<Self>> {
        properties::all()
    }
}

fn kind_of(action: Action) -> Option<Kind> {
    Some(match action {
        Action::Read(_) | Action::Poll(_) => return None,
        Action::Write(_) => Kind::Write,
        Action::RotateSigner | Action::AddSigner | Action::RemoveSigner => Kind::Signer,
        Action::RotateOwner => Kind::Owner,
        Action::AddReader | Action::RemoveReader => Kind::Reader,
        Action::Renew(_) => Kind::Renewal,
        Action::BackUp | Action::Receipt => Kind::Copy,
        Action::Restore(_) => Kind::Restore,
        Action::RestoreClean(_) => Kind::Clean,
        Action::StealSigner(_) | Action::StealOwner => Kind::Theft,
        Action::Replace { .. } => Kind::Replacement,
        Action::Forge { .. } => Kind::Forgery,
        Action::ForgeKeyring { .. } => Kind::ForgedKeyring,
    })
}

fn honest_actions(state: &State) -> Vec<Action> {
    let mut actions = vec![
        Action::RotateSigner,
        Action::AddSigner,
        Action::RemoveSigner,
        Action::RotateOwner,
        Action::AddReader,
        Action::RemoveReader,
        Action::BackUp,
        Action::Receipt,
    ];
    for home in 0..state.homes.len() {
        actions.extend([
            Action::Read(home),
            Action::Poll(home),
            Action::Write(home),
            Action::Renew(home),
        ]);
    }
    actions
}

fn restores(state: &State, forged_backups: bool) -> Vec<Action> {
    let backups = (0..state.backups.len()).map(Source::Backup);
    let branches = (0..state.branches.len()).map(Source::Branch);
    let sources = backups.chain(branches.filter(|_| forged_backups));
    sources
        .flat_map(|source| [Action::Restore(source), Action::RestoreClean(source)])
        .collect()
}

fn thefts() -> Vec<Action> {
    vec![
        Action::StealSigner(ADMIN),
        Action::StealSigner(OTHER),
        Action::StealOwner,
    ]
}

fn forgeries(state: &State) -> Vec<Action> {
    let mut actions = Vec::new();
    for (branch, database) in state.branches.iter().enumerate() {
        for revision in 1..=database.head.position.revision {
            actions.extend([false, true].map(|with_later_keyrings| Action::Replace {
                branch,
                revision,
                with_later_keyrings,
            }));
            for keyring in 1..=database.keyrings.number {
                let signers = state.stolen.signers.without(ADVERSARY).keys();
                actions.extend(signers.map(|signer| Action::Forge {
                    branch,
                    revision,
                    keyring,
                    signer,
                }));
                actions.push(Action::ForgeKeyring {
                    branch,
                    revision,
                    after: keyring,
                });
            }
        }
    }
    actions
}
