//! What became of granted secrets.

use std::fs::File;
use std::io::Write as _;

use super::{ME, TestHome, decide, grant, lines, open, rechain, scopes};
use crate::audit::OpeningResult::{Failed, Opened};
use crate::audit::{
    Filter, OutcomeFilter, RecordedOpening, archive_log, count_records, last_records, records,
};

/// Grants for `acme/opened`, `acme/sealed` and `acme/stopped`, and a failure for `acme/other`,
/// by two writers.
fn with_openings() -> TestHome {
    let home = TestHome::new();
    let (one, two) = (home.open(), home.open());
    let sealed = grant(&one, "acme/sealed").unwrap();
    let opened = grant(&two, "acme/opened").unwrap();
    grant(&one, "acme/stopped").unwrap();
    decide(&two, "acme/other").unwrap();
    open(&two, &opened, Opened).unwrap();
    open(&one, &sealed, Failed { code: "sealed" }).unwrap();
    home
}

fn of(outcome: &str) -> Filter {
    Filter {
        outcome: Some(outcome.into()),
        ..Filter::default()
    }
}

#[test]
fn a_grant_is_read_with_what_became_of_its_secret() {
    let home = with_openings();
    let at_ms = 1_800_000_000_001;
    let found: Vec<(String, Option<RecordedOpening>)> = records(&home.home, &Filter::default())
        .map(|record| record.unwrap())
        .map(|record| (record.scope().to_owned(), record.opening().cloned()))
        .collect();
    let code = "sealed".to_owned();
    let expected = [
        ("acme/sealed", Some(RecordedOpening::Failed { at_ms, code })),
        ("acme/opened", Some(RecordedOpening::Opened { at_ms })),
        ("acme/stopped", Some(RecordedOpening::Unknown)),
        ("acme/other", None),
    ];
    let expected = expected.map(|(scope, opening)| (scope.to_owned(), opening));
    assert_eq!(found, expected);
    let mut all = records(&home.home, &Filter::default());
    let json = all.next().unwrap().unwrap().shown_json();
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    let expected = serde_json::json!({"result": "failed", "at_ms": at_ms, "code": "sealed"});
    assert_eq!(json["opening"], expected);
    let other = all.last().unwrap().unwrap();
    assert!(!other.shown_json().contains("opening"));
}

#[test]
fn grants_are_selected_by_what_became_of_their_secrets() {
    let home = with_openings();
    for (outcome, expected) in [
        (
            "granted",
            &["acme/sealed", "acme/opened", "acme/stopped"][..],
        ),
        ("opened", &["acme/opened"]),
        ("not-opened", &["acme/sealed"]),
        ("sealed", &["acme/sealed"]),
        ("unknown", &["acme/stopped"]),
        ("failed", &["acme/other"]),
        ("refused", &[]),
    ] {
        let filter = of(outcome);
        assert_eq!(
            filter.outcome.as_ref().map(OutcomeFilter::is_of_opening),
            Some(["opened", "not-opened", "unknown"].contains(&outcome))
        );
        let forwards = scopes(records(&home.home, &filter));
        let backwards = scopes(last_records(&home.home, &filter, 9).unwrap());
        assert_eq!(forwards, expected, "{outcome}");
        assert_eq!(backwards, expected, "{outcome}");
        assert_eq!(count_records(&home.home, &filter).unwrap(), expected.len());
        for count in 0..expected.len() {
            let last = scopes(last_records(&home.home, &filter, count).unwrap());
            assert_eq!(last, expected[expected.len() - count..], "{outcome}");
        }
    }
}

#[test]
fn an_opening_is_found_behind_the_records_of_other_requests() {
    let home = TestHome::with_settings("max-bytes = 200000");
    let (one, two) = (home.open(), home.open());
    let first = grant(&one, "acme/first").unwrap();
    for _ in 0..1_000 {
        decide(&two, "acme/other").unwrap();
    }
    assert!(home.numbered(1).exists());
    open(&one, &first, Opened).unwrap();
    let all = records(&home.home, &of("opened"));
    assert_eq!(scopes(all), ["acme/first"]);
    let last = last_records(&home.home, &of("opened"), 1).unwrap();
    assert_eq!(scopes(last), ["acme/first"]);
    // A grant that is never opened is read once the search ends.
    grant(&one, "acme/stopped").unwrap();
    for _ in 0..20_000 {
        let line = lines(&home.text()).pop().unwrap();
        let mut file = File::options().append(true).open(home.log()).unwrap();
        file.write_all(line.repeat(1_000).as_bytes()).unwrap();
        if file.metadata().unwrap().len() > 20_000_000 {
            break;
        }
    }
    let all = records(&home.home, &of("unknown"));
    assert!(scopes(all).contains(&"acme/stopped".to_owned()));
}

#[test]
fn a_reader_that_follows_gets_a_grant_when_its_opening_is_there() {
    let home = TestHome::new();
    let log = home.open();
    let mut following = last_records(&home.home, &Filter::default(), 9)
        .unwrap()
        .following();
    let first = grant(&log, "acme/first").unwrap();
    decide(&log, "acme/second").unwrap();
    assert!(
        following.next().is_none(),
        "its opening may be about to come"
    );
    open(&log, &first, Opened).unwrap();
    let record = following.next().unwrap().unwrap();
    assert!(matches!(
        record.opening(),
        Some(RecordedOpening::Opened { .. })
    ));
    assert_eq!(scopes(&mut following), ["acme/second"]);
    // It waits once.
    grant(&log, "acme/third").unwrap();
    assert!(following.next().is_none());
    let record = following.next().unwrap().unwrap();
    assert_eq!(record.opening(), Some(&RecordedOpening::Unknown));
}

#[test]
fn verification_counts_decisions_openings_and_grants_without_one() {
    let home = with_openings();
    let report = home.assert_intact(6);
    let counts = (report.decisions, report.openings, report.without_opening);
    assert_eq!(counts, (4, 2, 1));
}

#[test]
fn an_opening_without_its_grant_is_a_breach() {
    let home = with_openings();
    let mut changed = lines(&home.text());
    // That of a grant names a failure of the same writer instead.
    changed[4] = changed[4].replace("\"of\":1", "\"of\":2");
    rechain(&mut changed);
    home.put(&changed);
    let reasons = home.assert_breached("another decision");
    assert!(reasons.contains("what became of the record 2"), "{reasons}");
    // The grants of a writer are removed.
    let home = with_openings();
    let mut changed = lines(&home.text());
    changed.remove(2);
    changed.remove(0);
    rechain(&mut changed);
    home.put(&changed);
    let reasons = home.assert_breached("no decision");
    assert!(reasons.contains("what became of the record 1"), "{reasons}");
}

#[test]
fn an_opening_is_valid_after_its_decision_was_archived() {
    let home = TestHome::with_small_files();
    let log = home.open();
    let first = grant(&log, "acme").unwrap();
    let mut count = 1;
    while !home.numbered(1).exists() {
        decide(&log, "acme").unwrap();
        count += 1;
    }
    open(&log, &first, Opened).unwrap();
    home.assert_intact(count + 1);
    let elsewhere = home.directory.path().join("archive");
    archive_log(&home.home, &ME, &elsewhere, None)
        .unwrap()
        .unwrap();
    let report = home.verify();
    assert_eq!(report.breaches, []);
    assert_eq!((report.openings, report.without_opening), (1, 0));
}
