//! Records that are lost when the machine crashes.

use super::{TestHome, lines, rechain};

#[test]
fn records_lost_in_a_crash_are_counted_and_nothing_else_is_excused() {
    const MINUTE: u64 = 60_000;
    let made = || {
        let home = TestHome::new();
        // Five durable records, and five others.
        home.run(5);
        home.clock.pass(10 * MINUTE);
        home.run(1);
        home.clock.pass(MINUTE / 2);
        home.run(4);
        home.assert_intact(10);
        home
    };
    let cut = |home: &TestHome, to: usize| {
        let lines = lines(&home.text());
        home.put(&lines[..to]);
    };
    // Within one boot nothing is excused.
    let home = made();
    cut(&home, 9);
    home.assert_breached("cut");
    // After a reboot the newest records may be missing, but not the durable ones.
    for to in [5, 7, 9, 10] {
        let home = made();
        cut(&home, to);
        home.clock.start("second");
        let gone = 10 - u64::try_from(to).unwrap();
        let report = home.assert_intact(10 - gone);
        assert_eq!(report.lost, gone);
        home.run(3);
        let report = home.assert_intact(13 - gone);
        assert_eq!(report.lost, gone, "counted permanently");
        // After that nothing is excused until the next crash.
        cut(&home, to + 2);
        home.assert_breached("cut later");
    }
    for to in [0, 3] {
        let home = made();
        cut(&home, to);
        home.clock.start("second");
        let reasons = home.assert_breached("durable records cut");
        assert!(reasons.contains("missing"), "{reasons}");
        home.run(3);
        home.assert_breached("durable records cut, then records added");
    }
    // A changed record is not excused either.
    for line in [2, 8] {
        let home = made();
        let mut changed = lines(&home.text());
        changed[line] = changed[line].replace("\"scope\":\"acme\"", "\"scope\":\"evil\"");
        rechain(&mut changed);
        home.put(&changed);
        home.clock.start("second");
        home.assert_breached("changed");
        home.run(3);
        home.assert_breached("changed, then records added");
    }
    let home = made();
    std::fs::remove_file(home.log()).unwrap();
    home.clock.start("second");
    home.assert_breached("removed");
    // A log that is intact after a reboot gets a head in that boot.
    let home = made();
    home.clock.start("second");
    home.run(1);
    cut(&home, 10);
    home.assert_breached("cut in the second");
}

#[test]
fn records_lost_in_a_crash_after_a_rotation_are_counted() {
    let made = || {
        let home = TestHome::with_small_files();
        home.run(5);
        // All of it within a minute, so that the durable checkpoint stays in the first file.
        home.run(203);
        assert!(home.numbered(3).exists());
        home.assert_intact(208);
        home
    };
    let home = made();
    let text = lines(&home.text());
    home.put(&text[..text.len() - 2]);
    home.clock.start("second");
    assert_eq!(home.assert_intact(206).lost, 2);
    home.run(1);
    assert_eq!(home.assert_intact(207).lost, 2);
    // A changed full file is not excused.
    let home = made();
    home.put(&text[..text.len() - 2]);
    let mut changed = lines(&std::fs::read_to_string(home.numbered(2)).unwrap());
    changed[4] = changed[4].replace("\"scope\":\"acme\"", "\"scope\":\"evil\"");
    rechain(&mut changed);
    std::fs::write(home.numbered(2), changed.concat()).unwrap();
    home.clock.start("second");
    home.assert_breached("a full file changed");
    home.run(1);
    home.assert_breached("a full file changed, then records added");
}
