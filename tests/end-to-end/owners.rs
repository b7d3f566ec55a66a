//! Several owners, who sign changes of keys on their own machines.

use std::path::PathBuf;

use entail::store::{NewKeys, Signer};

use crate::sandbox::{RunOutput, Sandbox};

/// An owner with a key that is not in the home.
struct Owner {
    name: &'static str,
    key: String,
    public_key: String,
}

impl Owner {
    fn new(sandbox: &Sandbox, name: &'static str) -> Self {
        let signer = Signer::generate().unwrap();
        let pem = signer.to_pem().unwrap();
        let public_key = signer.verifier().to_pem().unwrap();
        Owner {
            name,
            key: sandbox.file(&format!("{name}.pem"), pem.expose()),
            public_key: sandbox.file(&format!("{name}.pub"), public_key),
        }
    }

    /// Signs on a machine without a home.
    fn sign(&self, sandbox: &Sandbox, proposal: &str) -> RunOutput {
        let mut command = sandbox.command(&["key", "sign", proposal, "--key", &self.key]);
        command.env("ENTAIL_HOME", sandbox.path("nowhere"));
        sandbox.run(command, "")
    }
}

/// A home of which two of three owners must sign.
fn two_of_three() -> (Sandbox, String, [Owner; 2]) {
    let (sandbox, key) = Sandbox::with_acme();
    let owners = ["alice", "bob"].map(|name| Owner::new(&sandbox, name));
    for Owner {
        name, public_key, ..
    } in &owners
    {
        let add = ["key", "add-owner", public_key, "--label", name];
        sandbox.entail(&add).ok();
    }
    let proposal = proposed(&sandbox.entail(&["key", "require-owners", "2"]));
    owners[0].sign(&sandbox, &proposal).ok();
    sandbox.entail(&["key", "apply", &proposal]).ok();
    (sandbox, key, owners)
}

/// The file of the proposal that a command made.
fn proposed(output: &RunOutput) -> String {
    assert_eq!(output.code, Some(16), "{}", output.stderr);
    let after = output.stderr.split("it is proposed in ").nth(1);
    let file = after.and_then(|rest| rest.lines().next());
    file.unwrap_or_else(|| panic!("{}", output.stderr))
        .to_owned()
}

#[test]
fn two_of_three_owners_change_the_recipients() {
    let (sandbox, _, [alice, bob]) = two_of_three();
    let list = sandbox.entail(&["key", "list", "--json"]).ok().json();
    assert_eq!(list["owners_required"], 2);
    assert_eq!(list["owners"].as_array().unwrap().len(), 3);
    let recipient = NewKeys::generate().unwrap().recipient("laptop", 0).key;
    let add = ["key", "add-recipient", &recipient, "--label", "laptop"];
    sandbox
        .entail(&[&add[..], &["--dry-run"]].concat())
        .ok()
        .prints("1 more owner would have to sign it");
    let output = sandbox.entail(&add);
    let proposal = proposed(&output);
    output
        .prints("needs the signatures of 1 more owner (2 of 3 must sign)")
        .prints(&format!("entail key apply {proposal}"));
    sandbox
        .entail(&["key", "apply", &proposal])
        .fails(16)
        .prints("1 more owner");
    let has_recipient = || {
        let list = sandbox.entail(&["key", "list"]).ok();
        list.stdout.contains(&recipient)
    };
    assert!(!has_recipient());
    // The owner's own machine has no home: it says whom the owner has to know.
    bob.sign(&sandbox, &proposal)
        .ok()
        .prints("(\"laptop\") can open the secrets of acme")
        .prints("check that its owners are ed25519:")
        .prints("enough owners have signed it");
    sandbox.entail(&["key", "apply", &proposal]).ok();
    assert!(has_recipient());
    // It was made, so only what was left to do is done.
    sandbox
        .entail(&["key", "apply", &proposal])
        .ok()
        .prints("continued a change that was interrupted");

    // Owners without the key of this home are enough.
    std::fs::remove_file(sandbox.home().join("keys/owner.pem")).unwrap();
    sandbox
        .entail(&["doctor"])
        .ok()
        .prints("owners elsewhere must sign");
    let remove = ["key", "remove-recipient", "laptop"];
    let output = sandbox.entail(&remove);
    let proposal = proposed(&output);
    output.prints("2 more owners");
    for owner in [&alice, &bob] {
        owner.sign(&sandbox, &proposal).ok();
    }
    sandbox
        .entail(&["key", "apply", &proposal])
        .ok()
        .prints("1 secret was sealed again");
    assert!(!has_recipient());
    sandbox.entail(&["verify"]).ok();
    sandbox.entail(&["resolve", "acme/evals", "openai"]).ok();
}

#[test]
fn owners_who_sign_one_file_at_once_lose_no_signature() {
    let (sandbox, _, owners) = two_of_three();
    std::fs::remove_file(sandbox.home().join("keys/owner.pem")).unwrap();
    for round in 0..10 {
        let label = format!("laptop {round}");
        let recipient = NewKeys::generate().unwrap().recipient(&label, 0).key;
        let add = ["key", "add-recipient", &recipient, "--label", &label];
        let proposal = proposed(&sandbox.entail(&add));
        std::thread::scope(|scope| {
            for owner in &owners {
                scope.spawn(|| owner.sign(&sandbox, &proposal).ok());
            }
        });
        sandbox.entail(&["key", "apply", &proposal]).ok();
    }
}

#[test]
fn one_of_several_owners_makes_no_backup_that_a_clean_machine_trusts() {
    let (sandbox, key, [alice, _]) = two_of_three();
    let recovery = sandbox.path("recovery.txt");
    let recovery = recovery.to_str().unwrap();
    let add = ["key", "add-recipient", "--recovery", recovery];
    let proposal = proposed(&sandbox.entail(&add));
    alice.sign(&sandbox, &proposal).ok();
    sandbox.entail(&["key", "apply", &proposal]).ok();
    sandbox.entail(&add).ok();
    sandbox.entail(&["key", "receipt", recovery]).ok();
    let receipt = std::fs::read_to_string(recovery).unwrap();
    assert!(receipt.contains("\n# required: 2\n"), "owners");
    let genuine = sandbox.path("genuine.entail");
    let genuine = genuine.to_str().unwrap();
    sandbox.entail(&["backup", genuine]).ok();
    let entail_in = |home: &str, arguments: &[&str]| {
        let mut command = sandbox.command(arguments);
        command.env("ENTAIL_HOME", sandbox.path(home));
        sandbox.run(command, "")
    };
    let restore = |home: &str, backup: &str, more: &[&str]| {
        let arguments = [&["restore", backup, "--recovery", recovery], more].concat();
        entail_in(home, &arguments)
    };

    // Alice's key and a backup are stolen: a store of hers alone continues that of the backup.
    restore("thief", genuine, &[]).ok();
    let thief = |arguments: &[&str]| entail_in("thief", arguments);
    thief(&["key", "add-owner", &alice.public_key, "--label", "alice"]).ok();
    // The file stays private.
    let stolen = std::fs::read(&alice.key).unwrap();
    std::fs::write(sandbox.path("thief/keys/owner.pem"), stolen).unwrap();
    thief(&["key", "remove-owner", "restored"]).ok();
    thief(&["project", "add", "acme/evil"]).ok();
    let forged = sandbox.path("forged.entail");
    let forged = forged.to_str().unwrap();
    thief(&["backup", forged]).ok();
    for more in [&[][..], &["--at-least", "1"]] {
        restore("clean", forged, more)
            .fails(15)
            .prints("a store whose owners are not trusted");
    }
    restore("clean", genuine, &[]).ok();
    assert_eq!(sandbox.revealed_key(), key);

    // Without a receipt, the error names as many owners as the store needs.
    let text = receipt
        .lines()
        .filter(|line| !line.starts_with("# required"));
    std::fs::write(recovery, text.collect::<Vec<_>>().join("\n")).unwrap();
    let output = restore("explicit", genuine, &[]).fails(15);
    let named = output.stderr.split("add --owner ").nth(1).unwrap().trim();
    let named: Vec<&str> = named.split(" --owner ").collect();
    assert_eq!(named.len(), 2);
    restore(
        "explicit",
        genuine,
        &["--owner", named[0], "--owner", named[1]],
    )
    .ok();
}

#[test]
fn one_owner_cannot_lower_the_number_and_a_stranger_counts_for_nothing() {
    let (sandbox, _, [alice, _]) = two_of_three();
    let proposal = proposed(&sandbox.entail(&["key", "require-owners", "1"]));
    // The owner key of this home has signed already.
    let own = sandbox.home().join("keys/owner.pem");
    sandbox
        .entail(&["key", "sign", &proposal, "--key", own.to_str().unwrap()])
        .ok()
        .prints("1 more owner must sign it");
    Owner::new(&sandbox, "mallory")
        .sign(&sandbox, &proposal)
        .fails(19)
        .prints("not that of an owner");
    sandbox.entail(&["key", "apply", &proposal]).fails(16);
    alice.sign(&sandbox, &proposal).ok();
    sandbox.entail(&["key", "apply", &proposal]).ok();
    sandbox
        .entail(&["key", "remove-owner", "alice", "--required", "3"])
        .fails(19)
        .prints("so 3 of them cannot be required")
        .prints("add --required with a number from 1 to 2");
    sandbox.entail(&["key", "remove-owner", "alice"]).ok();
    sandbox
        .entail(&["key", "remove-owner", "alice"])
        .fails(19)
        .prints("there is no owner");
    sandbox.entail(&["verify"]).ok();
}

#[test]
fn a_review_signs_nothing_and_names_every_change() {
    let (sandbox, _, [alice, _]) = two_of_three();
    let pub_key = &Owner::new(&sandbox, "carol").public_key;
    let add = [
        "key",
        "add-owner",
        pub_key,
        "--label",
        "carol",
        "--required",
        "3",
    ];
    let proposal = proposed(&sandbox.entail(&add));
    let before = std::fs::read(&proposal).unwrap();
    let review = ["key", "sign", &proposal, "--dry-run", "--json"];
    let review = sandbox.entail(&review).ok().json();
    assert_eq!(std::fs::read(&proposal).unwrap(), before);
    assert_eq!(review["dry_run"], true);
    assert_eq!(review["trusted"], true);
    assert_eq!(review["owners_missing"], 2);
    let kinds: Vec<&str> = review["differences"]
        .as_array()
        .unwrap()
        .iter()
        .map(|difference| difference["kind"].as_str().unwrap())
        .collect();
    assert_eq!(kinds, ["owner-added", "owners-required"]);
    // A proposal of another store is not signed here.
    let (other, _) = Sandbox::with_acme();
    let foreign = other.file("foreign.json", &before);
    other
        .entail(&["key", "sign", &foreign])
        .fails(19)
        .prints("for another store");
    other
        .entail(&["key", "apply", &foreign])
        .fails(19)
        .prints("for another store");
    let no_proposal = sandbox.file("notes.json", "{}");
    sandbox
        .entail(&["key", "sign", &no_proposal])
        .fails(19)
        .prints("it is not a proposal");
    sandbox
        .entail(&["key", "sign", &proposal, "--key", &no_proposal])
        .fails(19)
        .prints("not an Ed25519 private key");
    alice
        .sign(&sandbox, &proposal)
        .ok()
        .prints("1 more owner must");
}

#[test]
fn a_keyring_that_no_command_makes_is_not_signed() {
    let (sandbox, _, [alice, _]) = two_of_three();
    let proposal = proposed(&sandbox.entail(&["key", "require-owners", "3"]));
    let text = std::fs::read_to_string(&proposal).unwrap();
    let file: serde_json::Value = serde_json::from_str(&text).unwrap();
    let payload = file["keyring"]["payload"].as_str().unwrap();
    let after = |start: &str, end: &str| {
        let rest = payload.split_once(start).unwrap().1;
        rest.split_once(end).unwrap().0
    };
    let owner = after(r#""keys":["#, "},");
    let signer = after(r#""signers":["#, "}]");
    let recipient = after(r#""default_recipients":["#, "}]");
    let key = recipient.split('"').nth(3).unwrap();
    let label = r#""label":"first""#;
    assert!(owner.contains(label));
    let long = format!(r#""label":"{}""#, "x".repeat(257));
    for (from, to, said) in [
        (
            r#""number":"#,
            r#""more":1,"number":"#.to_owned(),
            "not in the form",
        ),
        (
            r#""number":"#,
            r#""critical":["owners"],"number":"#.to_owned(),
            "not in the form",
        ),
        (owner, format!("{owner}}},{owner}"), "has a key twice"),
        (label, long, "has a label that is too long"),
        (
            signer,
            format!(r#"{signer},"scopes":[]"#),
            "scopes that cannot exist",
        ),
        (
            recipient,
            recipient.replace(key, &key.to_uppercase()),
            "has a malformed recipient",
        ),
        (
            recipient,
            format!("{recipient}}},{recipient}"),
            "has a recipient twice",
        ),
        (
            r#","proposal":"#,
            r#","fresh_for_ms":1,"proposal":"#.to_owned(),
            "more often than every minute",
        ),
    ] {
        let changed = if from == recipient {
            let (before, rest) = payload.rsplit_once(from).unwrap();
            format!("{before}{to}{rest}")
        } else {
            payload.replacen(from, &to, 1)
        };
        let mut proposal = file.clone();
        proposal["keyring"]["payload"] = changed.into();
        proposal["keyring"]["signatures"] = "[]".into();
        let file = sandbox.file("changed.json", proposal.to_string());
        alice.sign(&sandbox, &file).fails(19).prints(said);
    }
}

#[test]
fn owners_create_an_organization_together() {
    let (sandbox, _, [alice, _]) = two_of_three();
    let proposal = proposed(&sandbox.entail(&["init", "globex"]));
    // Who carries the file can change nothing of it.
    let text = std::fs::read_to_string(&proposal).unwrap();
    for (from, to) in [("globex", "acme"), ("scope", "policy"), (":", ": ")] {
        let mut changed: serde_json::Value = serde_json::from_str(&text).unwrap();
        let contents = changed["contents"].as_str().unwrap();
        let other = contents.replace(from, to);
        assert_ne!(other, contents);
        changed["contents"] = serde_json::json!(other);
        let file = sandbox.file("changed.json", changed.to_string());
        alice
            .sign(&sandbox, &file)
            .fails(15)
            .prints("it was changed after it was made");
        sandbox.entail(&["key", "apply", &file]).fails(15);
    }
    alice
        .sign(&sandbox, &proposal)
        .ok()
        .prints("the organization globex is created")
        .prints("the document scope globex is written");
    sandbox.entail(&["key", "apply", &proposal]).ok();
    let key = sandbox.canary();
    sandbox
        .entail_with(&["credential", "set", "globex", "openai", "--stdin"], &key)
        .ok();
    sandbox.entail(&["resolve", "globex", "openai"]).ok();
    sandbox.entail(&["verify"]).ok();
}

#[test]
fn a_rotation_that_owners_sign_is_completed() {
    let (sandbox, key, [alice, _]) = two_of_three();
    let apply = |proposal: &str| {
        alice.sign(&sandbox, proposal).ok();
        sandbox.entail(&["key", "apply", proposal]).ok();
    };
    for role in ["signer", "owner"] {
        let proposal = proposed(&sandbox.entail(&["key", "rotate", role]));
        sandbox
            .entail(&["project", "add", &format!("acme/{role}")])
            .ok();
        apply(&proposal);
        let next = sandbox.home().join(format!("keys/{role}.next.pem"));
        assert!(!next.exists());
        sandbox
            .entail(&["project", "remove", &format!("acme/{role}"), "--yes"])
            .ok();
        sandbox.entail(&["doctor"]).ok();
    }
    let identity = || std::fs::read_to_string(sandbox.home().join("keys/identity.txt")).unwrap();
    let before = identity();
    let proposal = proposed(&sandbox.entail(&["key", "rotate", "identity"]));
    sandbox
        .entail(&["doctor"])
        .ok()
        .prints("waits for signatures");
    // This ends the rotation as well.
    apply(&proposal);
    let after = identity();
    let secret = before.lines().last().unwrap();
    assert!(!after.contains(secret));
    sandbox.entail(&["doctor"]).ok();
    assert_eq!(sandbox.revealed_key(), key);
}

#[test]
fn a_recovery_key_that_owners_sign_gets_its_name_when_it_opens_something() {
    let (sandbox, _, [alice, _]) = two_of_three();
    let file = sandbox.path("recovery.txt");
    let pending = PathBuf::from(format!("{}.pending", file.display()));
    let add = ["key", "add-recipient", "--recovery", file.to_str().unwrap()];
    let proposal = proposed(&sandbox.entail(&add));
    assert!(pending.exists() && !file.exists());
    let kept = std::fs::read(&pending).unwrap();
    // Asking again changes nothing.
    let again = proposed(&sandbox.entail(&add));
    assert_eq!(std::fs::read(&pending).unwrap(), kept);
    assert!(proposal != again);
    alice.sign(&sandbox, &proposal).ok();
    sandbox.entail(&["key", "apply", &proposal]).ok();
    sandbox.entail(&add).ok().prints("the recovery key is in");
    assert!(file.exists() && !pending.exists());
    sandbox
        .entail(&add)
        .fails(1)
        .prints("recovery.txt: File exists");
    let copy = sandbox.path("copy.entail");
    sandbox.entail(&["backup", copy.to_str().unwrap()]).ok();
    std::fs::remove_dir_all(sandbox.home()).unwrap();
    let restore = [
        "restore",
        copy.to_str().unwrap(),
        "--recovery",
        file.to_str().unwrap(),
    ];
    sandbox.entail(&restore).ok();
    sandbox.entail(&["doctor"]).ok();
}

#[test]
fn owners_restore_a_backup_over_the_store_together() {
    let (sandbox, key, [alice, bob]) = two_of_three();
    let copy = sandbox.path("copy.entail");
    let copy = copy.to_str().unwrap();
    sandbox.entail(&["backup", copy]).ok();
    sandbox.entail(&["project", "add", "acme/later"]).ok();
    let restore = ["restore", copy, "--accept-rollback"];
    let other = sandbox.path("other.entail");
    let other = other.to_str().unwrap();
    sandbox.entail(&["backup", other]).ok();
    sandbox
        .entail(&[&restore[..], &["--dry-run"]].concat())
        .fails(16)
        .prints("1 more owner");
    let output = sandbox.entail(&restore);
    let proposal = proposed(&output);
    output.prints(&format!("repeat this command with --proposal {proposal}"));
    sandbox
        .entail(&["project", "list"])
        .ok()
        .prints("acme/later");
    let signed = [&restore[..], &["--proposal", &proposal]].concat();
    sandbox.entail(&signed).fails(16);
    bob.sign(&sandbox, &proposal)
        .ok()
        .prints("the store is restored from a backup")
        .prints("the backup has the state of the store at revision")
        .prints("repeat the restore with --proposal");
    // The owners have signed for one backup, and for a restore.
    for arguments in [
        &[
            "restore",
            other,
            "--accept-rollback",
            "--proposal",
            &proposal,
        ][..],
        &["restore", "--accept-rollback", "--proposal", &proposal],
    ] {
        sandbox
            .entail(arguments)
            .fails(19)
            .prints("it is for a backup at revision");
    }
    sandbox
        .entail(&["key", "apply", &proposal])
        .fails(19)
        .prints("it is for a restore")
        .prints("entail restore BACKUP --accept-rollback --proposal FILE");
    sandbox.entail(&signed).ok();
    let list = sandbox.entail(&["project", "list"]).ok();
    assert!(!list.stdout.contains("acme/later"));
    // An interrupted restore continues.
    sandbox.entail(&signed).ok();
    sandbox.entail(&["doctor"]).ok();
    // It is signed for once.
    sandbox.entail(&["project", "add", "acme/again"]).ok();
    sandbox.entail(&["key", "rotate", "signer"]).fails(16);
    let next = proposed(&sandbox.entail(&["key", "require-owners", "1"]));
    alice.sign(&sandbox, &next).ok();
    sandbox.entail(&["key", "apply", &next]).ok();
    sandbox
        .entail(&signed)
        .fails(19)
        .prints("has changed since");
    assert_eq!(sandbox.revealed_key(), key);
}
