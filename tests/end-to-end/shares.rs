//! Recovery keys that are shares for several people.

use std::path::{Path, PathBuf};

use crate::sandbox::{RunOutput, Sandbox};

/// Creates a recovery key of which any 3 of 5 shares restore a backup.
fn shares(sandbox: &Sandbox, name: &str) -> Vec<PathBuf> {
    let file = sandbox.path(name);
    let path = file.to_str().unwrap();
    sandbox
        .entail(&add(path, "5", "3"))
        .ok()
        .prints("any 3 of them restore a backup")
        .prints("it can open the secrets of acme");
    assert!(!file.exists());
    let share = |number| PathBuf::from(format!("{path}.{number}"));
    (1..=5).map(share).collect()
}

fn add<'a>(path: &'a str, shares: &'a str, threshold: &'a str) -> [&'a str; 8] {
    [
        "key",
        "add-recipient",
        "--recovery",
        path,
        "--shares",
        shares,
        "--threshold",
        threshold,
    ]
}

fn backup(sandbox: &Sandbox, name: &str) -> PathBuf {
    let file = sandbox.path(name);
    sandbox.entail(&["backup", file.to_str().unwrap()]).ok();
    file
}

fn restore(sandbox: &Sandbox, home: &Path, copy: &Path, files: &[&PathBuf]) -> RunOutput {
    let mut command = sandbox.command(&["restore", copy.to_str().unwrap()]);
    for file in files {
        command.arg("--recovery").arg(file);
    }
    command.env("ENTAIL_HOME", home);
    sandbox.run(command, "")
}

#[test]
fn the_threshold_of_shares_restores_on_a_clean_machine() {
    let (sandbox, key) = Sandbox::with_acme();
    let shares = shares(&sandbox, "recovery.txt");
    let copy = backup(&sandbox, "copy.entail");
    for share in &shares {
        let text = std::fs::read_to_string(share).unwrap();
        assert!(!text.contains("AGE-SECRET-KEY"), "{text}");
    }
    std::fs::remove_dir_all(sandbox.home()).unwrap();
    for lost in [&shares[1], &shares[3]] {
        std::fs::remove_file(lost).unwrap();
    }
    let left = [&shares[4], &shares[0], &shares[2]];
    restore(&sandbox, &sandbox.home(), &copy, &left[..2])
        .fails(16)
        .prints("needs 3 of its shares, and 2 are given");
    restore(&sandbox, &sandbox.home(), &copy, &left)
        .ok()
        .prints("can open the secrets of acme too");
    assert_eq!(sandbox.revealed_key(), key);
    sandbox.entail(&["doctor"]).ok();
    // The home knows the recipient of the shares, and renews their receipts.
    let mut receipt = vec!["key", "receipt"];
    receipt.extend(left.iter().map(|file| file.to_str().unwrap()));
    sandbox.entail(&receipt).ok().prints("as of revision");
    let later = backup(&sandbox, "later.entail");
    let elsewhere = sandbox.path("elsewhere");
    restore(&sandbox, &elsewhere, &copy, &left)
        .fails(15)
        .prints("owners are not trusted");
    restore(&sandbox, &elsewhere, &later, &left).ok();
}

#[test]
fn shares_that_do_not_combine_are_refused_without_a_trace() {
    let (sandbox, _) = Sandbox::with_acme();
    let ours = shares(&sandbox, "recovery.txt");
    let theirs = shares(&sandbox, "other.txt");
    let whole = sandbox.path("whole.txt");
    let path = whole.to_str().unwrap();
    sandbox
        .entail(&["key", "add-recipient", "--recovery", path])
        .ok();
    let copy = backup(&sandbox, "copy.entail");
    let copied = sandbox.path("copied.txt");
    std::fs::copy(&ours[1], &copied).unwrap();
    let damaged = sandbox.path("damaged.txt");
    let text = std::fs::read_to_string(&ours[1]).unwrap();
    let end = text.trim_end().len() - 1;
    let other = if text[end..].starts_with('Q') {
        "P"
    } else {
        "Q"
    };
    std::fs::write(&damaged, format!("{}{other}\n", &text[..end])).unwrap();
    let nothing = sandbox.file("nothing.txt", "nothing");
    let nothing = PathBuf::from(nothing);
    let elsewhere = sandbox.path("elsewhere");
    for (second, message) in [
        (&theirs[1], "shares of different recovery keys"),
        (&ours[0], "have the same share, number 1"),
        (&damaged, "is damaged"),
        (&whole, "has a whole recovery key"),
        (&nothing, "has no share of a recovery key"),
    ] {
        let files = [&ours[0], second, &ours[2]];
        let refused = restore(&sandbox, &elsewhere, &copy, &files).fails(16);
        let refused = refused.prints(message);
        assert!(
            !refused.stderr.contains("ENTAIL-SHARE"),
            "{}",
            refused.stderr
        );
        assert!(!elsewhere.join("keys").exists());
    }
    restore(&sandbox, &elsewhere, &copy, &[&ours[1], &copied, &ours[2]])
        .fails(16)
        .prints("have the same share, number 2");
    restore(&sandbox, &elsewhere, &copy, &[&whole, &whole])
        .fails(16)
        .prints("give it alone");
    // A share opens nothing where an identity is needed.
    let directory = sandbox.path("credentials");
    std::fs::create_dir(&directory).unwrap();
    std::fs::copy(&ours[0], directory.join("entail-identity")).unwrap();
    let mut command = sandbox.command(&["resolve", "acme/evals", "openai"]);
    command.env("CREDENTIALS_DIRECTORY", directory);
    sandbox
        .run(command, "")
        .fails(16)
        .prints("which opens nothing")
        .prints("entail restore");
}

#[test]
fn shares_are_created_together_or_not_at_all() {
    let (sandbox, _) = Sandbox::with_acme();
    let file = sandbox.path("recovery.txt");
    let path = file.to_str().unwrap();
    let list = || sandbox.entail(&["key", "list"]).ok().stdout;
    let before = list();
    std::fs::write(sandbox.path("recovery.txt.2"), "mine").unwrap();
    for more in [&["--dry-run"][..], &[]] {
        sandbox
            .entail(&[&add(path, "3", "2")[..], more].concat())
            .fails(1)
            .prints("recovery.txt.2: File exists");
    }
    for (shares, threshold) in [("3", "4"), ("3", "1"), ("17", "2"), ("1", "1")] {
        sandbox
            .entail(&add(path, shares, threshold))
            .fails(2)
            .prints("a recovery key has 2 to 16 shares");
    }
    let alone = ["key", "add-recipient", "--recovery", path, "--shares", "3"];
    sandbox.entail(&alone).fails(2).prints("--threshold");
    std::fs::remove_file(sandbox.path("recovery.txt.2")).unwrap();
    sandbox
        .entail(&[&add(path, "3", "2")[..], &["--dry-run"]].concat())
        .ok();
    assert_eq!(list(), before);
    for number in 1..=3 {
        assert!(!std::fs::exists(format!("{path}.{number}")).unwrap());
    }
}

#[test]
fn the_receipt_of_one_share_makes_nobody_trust_another_owner() {
    let (sandbox, _) = Sandbox::with_acme();
    let shares = shares(&sandbox, "recovery.txt");
    // One who has a share makes a store of the same id under another owner.
    let first = backup(&sandbox, "first.entail");
    let theirs = sandbox.path("theirs");
    restore(
        &sandbox,
        &theirs,
        &first,
        &[&shares[0], &shares[1], &shares[2]],
    )
    .ok();
    let in_theirs = |arguments: &[&str]| {
        let mut command = sandbox.command(arguments);
        command.env("ENTAIL_HOME", &theirs);
        sandbox.run(command, "").ok()
    };
    let forged = sandbox.path("forged.entail");
    in_theirs(&["backup", forged.to_str().unwrap()]);
    in_theirs(&["key", "receipt", shares[0].to_str().unwrap()]);
    let chosen = [&shares[0], &shares[1], &shares[2]];
    restore(&sandbox, &sandbox.path("elsewhere"), &forged, &chosen)
        .fails(15)
        .prints("owners are not trusted");
    // All receipts are renewed, or none is.
    let renew = |files: &[&PathBuf]| {
        let mut command = vec!["key", "receipt"];
        command.extend(files.iter().map(|file| file.to_str().unwrap()));
        sandbox.entail(&command)
    };
    let garbage = PathBuf::from(sandbox.file("garbage.txt", "nothing"));
    let before = std::fs::read(&shares[0]).unwrap();
    renew(&[&shares[0], &garbage])
        .fails(16)
        .prints("is not a recovery key, or a share of one");
    assert_eq!(std::fs::read(&shares[0]).unwrap(), before);
    renew(&chosen).ok();
    let copy = backup(&sandbox, "copy.entail");
    restore(&sandbox, &sandbox.path("elsewhere"), &copy, &chosen).ok();
    // The shares of a recipient that was removed are refused.
    sandbox
        .entail(&["key", "remove-recipient", "recovery"])
        .ok();
    renew(&chosen)
        .fails(16)
        .prints("is not a recipient of this store");
}
