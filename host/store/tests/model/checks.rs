//! The checks: the whole space of each scope without a counterexample, and a counterexample for
//! each rule that is broken.

use std::collections::BTreeSet;
use std::sync::LazyLock;
use std::time::Instant;

use stateright::{Checker as _, HasDiscoveries, Model as _};

use super::actions::Action;
use super::model::{KeyringModel, Scope};
use super::properties::{
    FORMER_SIGNERS, NO_ROLLBACK, NOT_LOCKED_OUT, NOTHING_BROUGHT_BACK, NOTHING_LOST, OWNERS_DECIDE,
    REMOVED_READERS, TRUSTED_BACKUPS,
};
use super::rules::{Rule, Rules};
use super::scopes::{CLEAN, KEYRINGS, OWNERS, READERS, RESTORES, ROLLBACKS, SIGNERS};

/// The scopes, each with a number of states that the exploration must exceed: fewer mean that
/// actions have become impossible.
const SCOPES: [(Scope, usize); 7] = [
    (SIGNERS, 300_000),
    (ROLLBACKS, 70_000),
    (OWNERS, 120_000),
    (READERS, 50_000),
    (RESTORES, 60_000),
    (KEYRINGS, 20_000),
    (CLEAN, 50_000),
];

/// Each rule, the property that needs it, and where.
const FAULTS: [(Rule, &str, Scope); 19] = [
    (Rule::AnchorNamesCheckpoint, NO_ROLLBACK, ROLLBACKS),
    (Rule::ProcessReadsAnchor, NO_ROLLBACK, ROLLBACKS),
    (Rule::ProcessReadsAnchoredEntry, NO_ROLLBACK, ROLLBACKS),
    (Rule::FormerSignersEnd, FORMER_SIGNERS, SIGNERS),
    (Rule::KeyringsAdvance, FORMER_SIGNERS, SIGNERS),
    (Rule::OwnersSignKeyrings, OWNERS_DECIDE, OWNERS),
    (Rule::TrustedKeyringRequired, OWNERS_DECIDE, OWNERS),
    (Rule::KeyringsFollowed, NOT_LOCKED_OUT, SIGNERS),
    (Rule::RemovalBeginsEpoch, REMOVED_READERS, READERS),
    (Rule::AdditionSealsEpochs, NOTHING_LOST, READERS),
    (Rule::UsedEpochsKept, NOTHING_LOST, READERS),
    (Rule::RestoreKeepsReaders, NOTHING_BROUGHT_BACK, READERS),
    (Rule::RestoreKeepsSigners, NOTHING_BROUGHT_BACK, RESTORES),
    (Rule::RestoreTrustsPresentKeys, TRUSTED_BACKUPS, RESTORES),
    (Rule::RestoreBeginsEpoch, REMOVED_READERS, READERS),
    (Rule::RestoreComparesEpochs, REMOVED_READERS, READERS),
    (Rule::RestoreTakesProvenKeyrings, OWNERS_DECIDE, KEYRINGS),
    (Rule::ReceiptContained, TRUSTED_BACKUPS, CLEAN),
    (Rule::ReceiptOwners, TRUSTED_BACKUPS, CLEAN),
];

/// For each rule, a trace that violates its property without it.
pub static COUNTEREXAMPLES: LazyLock<Vec<(Rule, Vec<Action>)>> = LazyLock::new(|| {
    let found = FAULTS.map(|(rule, property, scope)| (rule, counterexample(rule, property, scope)));
    found.into()
});

fn counterexample(rule: Rule, property: &'static str, scope: Scope) -> Vec<Action> {
    let rules = Rules::without(rule);
    let only = HasDiscoveries::AnyOf(BTreeSet::from([property]));
    let checker = KeyringModel { rules, scope }.checker().finish_when(only);
    let checker = checker.spawn_bfs().join();
    let states = checker.unique_state_count();
    let found = checker.discovery(property);
    let found = found.unwrap_or_else(|| panic!("{rule:?}: nothing violates: {property}"));
    let actions = found.into_actions();
    println!("without {rule:?}: {states} unique states: {property}: {actions:?}");
    actions
}

#[test]
fn every_property_holds_in_the_whole_space_of_each_scope() {
    for (scope, least) in SCOPES {
        let began = Instant::now();
        let rules = Rules::default();
        let checker = KeyringModel { rules, scope }.checker().spawn_bfs().join();
        let states = checker.unique_state_count();
        let time = began.elapsed();
        println!("{}: {states} unique states in {time:?}", scope.name);
        let violated = checker.discoveries().into_iter();
        let violated: Vec<_> = violated
            .map(|(property, path)| (property, path.into_actions()))
            .collect();
        assert_eq!(violated, [], "{}", scope.name);
        assert!(states > least, "{}: only {states} states", scope.name);
    }
}

#[test]
fn every_rule_is_needed() {
    assert_eq!(COUNTEREXAMPLES.len(), FAULTS.len());
}
