//! The short forms of the stress tests that try to make the store lose or falsify data. The
//! long forms are commands (see `tests/README.md`).

use entail_tests::torture::{
    Program,
    io_errors::io_errors,
    kill::kill,
    power_loss::{log_power_loss, power_loss},
    rotation::rotation,
    schema::mutate,
    tamper::tamper,
};

fn program() -> Program {
    Program::at(env!("CARGO_BIN_EXE_torture"))
}

#[test]
fn no_acknowledged_change_is_lost_when_processes_are_killed() {
    let killed = kill(&program(), 30, 1, |_| {});
    assert_eq!((killed.cycles, killed.failed), (30, 0), "{killed:?}");
    assert!(
        killed.with_changes > 20,
        "a kill that comes too early proves nothing: {killed:?}"
    );
}

#[test]
fn every_secret_opens_during_a_rotation_and_the_old_identity_opens_none() {
    let rotated = rotation(&program(), 15, 1, |_| {});
    assert!(rotated.kills >= 15 && rotated.renewals > 0, "{rotated:?}");
}

#[test]
fn no_acknowledged_change_is_lost_in_a_power_loss() {
    let lost = power_loss(&program(), 1, 1, |_| {});
    assert!(lost.images > 300, "{lost:?}");
}

#[test]
fn each_secret_that_was_revealed_before_a_power_loss_is_recorded() {
    let lost = log_power_loss(&program(), 1, 1, |_| {});
    assert!(lost.images > 300, "{lost:?}");
}

#[test]
fn no_failed_change_is_acknowledged() {
    let failed = io_errors(&program(), 40, |_| {});
    assert!(failed.reported > 10, "{failed:?}");
}

#[test]
fn every_direct_change_of_the_database_is_reported_and_reveals_nothing() {
    let tampered = tamper(12, 1);
    assert!(
        tampered.cases > 500 && tampered.refused > 1_000,
        "{tampered:?}"
    );
}

#[test]
fn no_change_of_the_database_schema_passes_unnoticed() {
    let mutated = mutate(300, 1, |_| {});
    assert!(
        mutated.refused > 150 && mutated.harmless > 10 && mutated.while_open > 100,
        "{mutated:?}"
    );
}
