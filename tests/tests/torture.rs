//! The short forms of what tries to make the store lose something, or lie; the long
//! ones are commands (see `tests/README.md`).

use entail_tests::torture::{
    Program, io_errors::io_errors, kill::kill, power_loss::power_loss, rotation::rotation,
    schema::mutate, tamper::tamper,
};

fn program() -> Program {
    Program::at(env!("CARGO_BIN_EXE_torture"))
}

#[test]
fn nothing_acknowledged_is_lost_when_processes_are_killed() {
    let killed = kill(&program(), 30, 1, |_| {});
    assert_eq!((killed.cycles, killed.failed), (30, 0), "{killed:?}");
    assert!(
        killed.with_changes > 20,
        "a kill that comes too early shows nothing: {killed:?}"
    );
}

#[test]
fn every_secret_opens_while_the_identity_is_renewed_and_none_for_the_one_let_go() {
    let rotated = rotation(&program(), 15, 1, |_| {});
    assert!(rotated.kills >= 15 && rotated.renewals > 0, "{rotated:?}");
}

#[test]
fn nothing_acknowledged_is_lost_with_the_power() {
    let lost = power_loss(&program(), 1, 1, |_| {});
    assert!(lost.images > 300, "{lost:?}");
}

#[test]
fn nothing_is_acknowledged_that_failed() {
    let failed = io_errors(&program(), 40, |_| {});
    assert!(failed.reported > 10, "{failed:?}");
}

#[test]
fn every_change_behind_the_stores_back_is_named_and_nothing_is_revealed() {
    let tampered = tamper(12, 1);
    assert!(
        tampered.cases > 500 && tampered.refused > 1_000,
        "{tampered:?}"
    );
}

#[test]
fn no_change_of_the_definition_of_the_database_passes_in_silence() {
    let mutated = mutate(300, 1, |_| {});
    assert!(
        mutated.refused > 150 && mutated.harmless > 10 && mutated.while_open > 100,
        "{mutated:?}"
    );
}
