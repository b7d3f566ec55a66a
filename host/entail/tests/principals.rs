//! What each principal may do, what it is told, and what stays of its name.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // allowed in tests

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use entail::policy::{Inheritance, Isolation, Sharing, Values};
use entail::store::{LabelledKey, RandomId, Recipient, Signer, StoreSigner};
use entail::{
    ActivatePolicy, BundleExport, Change, CredentialRef, Entail, Error, ErrorKind, Filter, Home,
    IdentitySource, InstallPolicy, KeyChange, Options, Principal, PrincipalKind, PrincipalRef,
    Request, RestoreRequest, RuleChanges, ScopePath, Secret, SecretEdit, SetCredential, Trust,
    accept_log_loss, archive_log, count_records, erase_logged_principal, last_records,
    logged_principals, plan_restore_in_place, plan_restore_to_clean_machine, records, replay,
    restore_in_place, restore_to_clean_machine, review_proposal, shadow_decisions, sign_proposal,
    verify_log,
};

const ME: Principal = Principal::LocalOwner;

fn path(text: &str) -> ScopePath {
    text.parse().unwrap()
}

fn credential(scope: &str, name: &str) -> CredentialRef {
    CredentialRef {
        scope: path(scope),
        provider: "openai".parse().unwrap(),
        name: name.parse().unwrap(),
    }
}

fn add(scope: &str) -> Change {
    Change::AddScope { scope: path(scope) }
}

fn set(scope: &str, name: &str, sharing: Sharing) -> Change {
    Change::SetCredential(Box::new(SetCredential {
        credential: credential(scope, name),
        mode: None,
        fields: vec![(
            "api_key".to_owned(),
            Secret::from("canary-of-the-principals"),
        )],
        rules: RuleChanges {
            sharing: Some(sharing),
            ..RuleChanges::default()
        },
        secret: SecretEdit::Given,
        grace_ms: 0,
    }))
}

fn inherit(scope: &str) -> Change {
    Change::SetInheritance {
        scope: path(scope),
        provider: None,
        inheritance: Inheritance::Inherit,
    }
}

fn request(scope: &str) -> Request {
    Request::new(path(scope), "openai".parse().unwrap())
}

fn built_in_policy() -> ActivatePolicy {
    ActivatePolicy {
        component: None,
        settings: Values::new(),
        limits: None,
        isolation: Isolation::PerCall,
    }
}

struct Test {
    entail: Entail,
    home: Home,
    directory: tempfile::TempDir,
}

impl Test {
    async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let home = Home::create(&directory.path().join("home"), None)
            .await
            .unwrap();
        let entail = Entail::open(&home, Options::default()).unwrap();
        Test {
            entail,
            home,
            directory,
        }
    }

    /// `acme` with a key for everybody, one for a neighbour, and one for nobody; `acme/evals`
    /// inherits, `acme/agents` is isolated and has a key of its own.
    async fn with_acme() -> Self {
        let test = Test::new().await;
        for change in [
            add("acme"),
            add("acme/evals"),
            add("acme/evals/nightly"),
            add("acme/agents"),
            set("acme", "everybodys", Sharing::All),
            set(
                "acme",
                "neighbours",
                Sharing::Paths(vec!["acme/agents".to_owned()]),
            ),
            set("acme", "nobodys", Sharing::None),
            set("acme/agents", "agents-own", Sharing::All),
            inherit("acme/evals"),
        ] {
            test.entail.change(&ME, &change).await.unwrap();
        }
        test
    }

    /// The ids of the principals that the journal names, oldest first.
    async fn authors(&self) -> Vec<RandomId> {
        let journal = self.entail.journal(&ME, 0, 100).await.unwrap();
        let journal = journal.into_iter();
        journal.map(|change| change.entry.principal).collect()
    }

    /// Whether a file of the home, or a file beside it, contains a text.
    fn contains(&self, text: &str) -> bool {
        fn any_file(directory: &Path, text: &[u8]) -> bool {
            std::fs::read_dir(directory).unwrap().any(|entry| {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    return any_file(&path, text);
                }
                let bytes = std::fs::read(&path).unwrap();
                bytes.windows(text.len()).any(|window| window == text)
            })
        }
        any_file(self.directory.path(), text.as_bytes())
    }
}

/// Calls each function as `$who`, and asserts that it refuses.
macro_rules! refused {
    ($who:ident: $($name:ident => $call:expr;)+) => {
        $(
            let result = $call;
            let error = result.err().unwrap_or_else(|| {
                panic!("{} may call {}", $who, stringify!($name))
            });
            assert!(
                matches!(&error, Error::NotAuthorized { principal, .. } if *principal == $who),
                "{}: {error}",
                stringify!($name)
            );
            assert_eq!(error.kind(), ErrorKind::NotAuthorized);
        )+
        const REFUSED: &[&str] = &[$(stringify!($name)),+];
    };
}

#[tokio::test]
async fn a_project_is_refused_by_every_function_but_for_its_own_scopes() {
    let test = Test::with_acme().await;
    let (entail, home) = (&test.entail, &test.home);
    let (keys, policies, maintenance) = (entail.keys(), entail.policies(), entail.maintenance());
    let evals = Principal::project(&path("acme/evals"));
    let neighbour = request("acme/agents");
    let own = path("acme/evals");
    let none = BTreeMap::new();
    let acme = path("acme");
    let built_in = policies.built_in().unwrap();
    let digest = built_in.digest();
    let activate = built_in_policy;
    let install = || InstallPolicy {
        limits: None,
        source: String::new(),
        over: None,
    };
    let signer = || {
        let verifier = Signer::generate().unwrap().verifier();
        StoreSigner::of_everything(LabelledKey::new(verifier, "other"))
    };
    let refused = keys.add_owner(&ME, signer().key, Some(2)).await;
    let Err(Error::OwnersRequired(proposal)) = refused else {
        panic!("the new owner need not sign");
    };
    let recipient = || Recipient {
        key: "age1".to_owned(),
        label: String::new(),
        added_at_ms: 0,
    };
    let export = BundleExport {
        scopes: vec![path("acme/evals")],
        recipients: Vec::new(),
        providers: None,
        lifetime_ms: 1,
    };
    let id = RandomId::generate().unwrap();
    let file = test.directory.path().join("file");
    let (filter, trust) = (Filter::default(), Trust::default());
    refused! { evals:
        resolve => entail.resolve(&evals, &neighbour).await;
        resolve_any => entail.resolve_any(&evals, &neighbour).await;
        probe => entail.probe(&evals, &neighbour).await;
        compare_secret => entail.compare_secret(&evals, &neighbour, &[]).await;
        explain => entail.explain(&evals, &neighbour).await;
        export_bundle => entail.export_bundle(&evals, &export).await;
        scope => entail.scope(&evals, &acme).await;
        scopes => entail.scopes(&evals, None).await;
        users => entail.users(&evals, &credential("acme", "everybodys")).await;
        masked => entail.masked(&evals, &credential("acme/evals", "any")).await;
        change => entail.change(&evals, &inherit("acme/evals")).await;
        preview => entail.preview(&evals, &inherit("acme/evals"), &none).await;
        journal => entail.journal(&evals, 0, 1).await;
        principals => entail.principals(&evals).await;
        log_head => entail.log_head(&evals).await;
        journalled_log_heads => entail.journalled_log_heads(&evals).await;
        unreadable => keys.unreadable(&evals).await;
        access_hint => keys.access_hint(&evals, None);
        erase_principal => entail.erase_principal(&evals, &PrincipalRef::Id(id)).await;
        logged_principals => logged_principals(home, &evals);
        erase_logged_principal => erase_logged_principal(home, &evals, &ME);
        local => keys.local(&evals);
        keyring => keys.keyring(&evals).await;
        receipt => keys.receipt(&evals).await;
        plan => keys.plan(&evals, KeyChange::RotateSigner).await;
        rotate_identity => keys.rotate_identity(&evals, None, &mut |_| {}).await;
        rotate_signer => keys.rotate_signer(&evals).await;
        rotate_owner => keys.rotate_owner(&evals).await;
        add_owner => keys.add_owner(&evals, signer().key, None).await;
        remove_owner => keys.remove_owner(&evals, "first", None).await;
        require_owners => keys.require_owners(&evals, 1).await;
        apply => keys.apply(&evals, (*proposal).clone(), &mut |_| {}).await;
        review_proposal => review_proposal(Some(home), &evals, &proposal);
        sign_proposal => sign_proposal(Some(home), &evals, &mut (*proposal).clone(), None);
        add_signer => keys.add_signer(&evals, signer()).await;
        remove_signer => keys.remove_signer(&evals, "first").await;
        add_recipient => keys.add_recipient(&evals, recipient(), None).await;
        remove_recipient => keys.remove_recipient(&evals, "x", None, &mut |_| {}).await;
        reseal => keys.reseal(&evals, &mut |_| {}).await;
        require_heartbeats => keys.require_heartbeats(&evals, None).await;
        send_heartbeat => keys.send_heartbeat(&evals).await;
        freshness => keys.freshness(&evals).await;
        active => policies.active(&evals, &acme).await;
        all_active => policies.all_active(&evals).await;
        load_active => policies.load_active(&evals, &acme).await;
        activate => policies.activate(&evals, &acme, activate()).await;
        plan_activate => policies.plan_activate(&evals, &acme, &activate(), &none).await;
        roll_back => policies.roll_back(&evals, &acme).await;
        plan_roll_back => policies.plan_roll_back(&evals, &acme, &none).await;
        shadow => policies.shadow(&evals, &acme, None).await;
        plan_shadow => policies.plan_shadow(&evals, &acme, None).await;
        install => policies.install(&evals, b"", install()).await;
        plan_install => policies.plan_install(&evals, b"", install()).await;
        component => policies.component(&evals, digest).await;
        installed => policies.installed(&evals).await;
        get => policies.get(&evals, digest).await;
        find => policies.find(&evals, "x").await;
        remove => policies.remove(&evals, digest).await;
        plan_remove => policies.plan_remove(&evals, digest).await;
        diff => policies.diff(&evals, built_in, Some(&own), &none).await;
        destroy_due => maintenance.destroy_due(&evals).await;
        verify => maintenance.verify(&evals, &mut |_| {}).await;
        backup => maintenance.backup(&evals, &file).await;
        run => {
            let report = maintenance.run(&evals).await;
            assert!(report.store.unwrap().is_err() && report.log.unwrap().is_err());
            report.destroyed
        };
        records => records(home, &evals, &filter);
        last_records => last_records(home, &evals, &filter, 1);
        count_records => count_records(home, &evals, &filter);
        verify_log => verify_log(home, &evals, &[]);
        replay => replay(home, &evals, built_in, &filter);
        shadow_decisions => shadow_decisions(home, &evals);
        plan_restore_in_place => {
            plan_restore_in_place(home, &evals, RestoreRequest::default()).await
        };
        restore_in_place => {
            restore_in_place(home, &evals, RestoreRequest::default(), &mut |_| {}).await
        };
        plan_restore_to_clean_machine => {
            let (new, source) = (test.directory.path().join("new"), IdentitySource::Directory);
            plan_restore_to_clean_machine(&new, &evals, &file, source, &trust).await
        };
        restore_to_clean_machine => {
            let (new, source) = (test.directory.path().join("new"), IdentitySource::Directory);
            let steps = &mut |_| {};
            restore_to_clean_machine(&new, &evals, &file, source, &trust, None, steps).await
        };
        archive_log => archive_log(home, &evals, &file, None);
        accept_log_loss => accept_log_loss(home, &evals, &[], "reason");
    }
    let mut declared = Vec::new();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    public_functions_with_a_principal(&source, &mut declared);
    declared.sort();
    declared.dedup();
    let mut refused = REFUSED.to_vec();
    refused.sort_unstable();
    assert_eq!(refused, declared);
}

/// The names of the public functions that take a principal.
fn public_functions_with_a_principal(directory: &Path, names: &mut Vec<String>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            public_functions_with_a_principal(&path, names);
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        for start in ["pub fn ", "pub async fn "] {
            for declared in text.split(start).skip(1) {
                let signature = declared.split(['{', ';']).next().unwrap();
                if signature.contains("principal: &Principal") {
                    let end = signature.find(['(', '<']).unwrap();
                    names.push(signature[..end].to_owned());
                }
            }
        }
    }
}

#[tokio::test]
async fn a_project_resolves_and_views_its_own_scopes() {
    let test = Test::with_acme().await;
    let entail = &test.entail;
    let evals = Principal::project(&path("acme/evals"));
    let lease = entail.resolve(&evals, &request("acme/evals")).await;
    assert_eq!(lease.unwrap().name().as_str(), "everybodys");
    entail.scope(&evals, &path("acme/evals")).await.unwrap();
    let own = entail.scopes(&evals, Some(&path("acme/evals"))).await;
    assert_eq!(
        own.unwrap(),
        [path("acme/evals"), path("acme/evals/nightly")]
    );
    let nightly = entail.resolve(&evals, &request("acme/evals/nightly")).await;
    assert!(matches!(nightly, Err(Error::Refused { .. })));
    let change = set("acme/evals", "own", Sharing::All);
    entail.change(&ME, &change).await.unwrap();
    let users = entail.users(&evals, &credential("acme/evals", "own")).await;
    assert_eq!(users.unwrap(), [path("acme/evals")]);
    // The decision log says who asked.
    let log = records(&test.home, &ME, &Filter::default()).unwrap();
    let asked: Vec<String> = log
        .map(|record| record.unwrap().principal().to_owned())
        .collect();
    assert_eq!(asked, ["project:acme/evals"; 2]);
}

#[tokio::test]
async fn a_project_is_told_the_names_of_no_credentials_of_others() {
    let test = Test::with_acme().await;
    let told = async |who: &Principal, scope: &str| {
        let explanation = test.entail.explain(who, &request(scope)).await.unwrap();
        format!("{explanation:?} {:?}", explanation.hints())
    };
    let hidden = ["neighbours", "nobodys", "agents-own"];
    for scope in ["acme/evals", "acme/evals/nightly"] {
        let all = told(&ME, scope).await;
        assert!(all.contains("neighbours") && all.contains("nobodys"));
        let who = Principal::project(&path(scope));
        let seen = told(&who, scope).await;
        for name in hidden {
            assert!(!seen.contains(name), "{name}: {seen}");
        }
        assert_eq!(seen.contains("everybodys"), scope == "acme/evals", "{seen}");
    }
    let who = Principal::project(&path("acme/evals"));
    let seen = test
        .entail
        .explain(&who, &request("acme/evals"))
        .await
        .unwrap();
    assert_eq!((seen.decision.trail.len(), seen.hidden.count), (1, 2));
    let codes: Vec<String> = seen.hidden.codes.iter().map(ToString::to_string).collect();
    assert_eq!(codes, ["not-shared"]);
}

#[tokio::test]
async fn the_journal_contains_an_id_in_place_of_a_principal() {
    let test = Test::new().await;
    let anna = Principal::new(PrincipalKind::Local, "", "anna").unwrap();
    test.entail.change(&ME, &add("acme")).await.unwrap();
    test.entail.change(&anna, &add("globex")).await.unwrap();
    test.entail.change(&ME, &add("initech")).await.unwrap();
    let authors = test.authors().await;
    assert_eq!(authors.len(), 4);
    assert!(authors[0] == authors[1] && authors[1] == authors[3] && authors[1] != authors[2]);
    let journal = test.entail.journal(&ME, 0, 10).await.unwrap();
    let names: Vec<Option<Principal>> = journal.into_iter().map(|c| c.principal).collect();
    assert_eq!(names, [Some(ME), Some(ME), Some(anna.clone()), Some(ME)]);
    // Another process finds the same ids.
    let other = Entail::open(&test.home, Options::default()).unwrap();
    other.change(&anna, &add("umbrella")).await.unwrap();
    assert_eq!(test.authors().await[4], authors[2]);
    assert_eq!(test.entail.principals(&ME).await.unwrap().len(), 2);
    // So does a rotation of the signer.
    other.keys().rotate_signer(&anna).await.unwrap();
    assert_eq!(test.authors().await[5], authors[2]);
}

#[tokio::test]
async fn a_rotation_records_a_principal_that_was_not_known() {
    let test = Test::new().await;
    let anna = Principal::new(PrincipalKind::Local, "", "anna").unwrap();
    test.entail.keys().rotate_signer(&anna).await.unwrap();
    let principals = test.entail.principals(&ME).await.unwrap();
    assert_eq!(principals[&test.authors().await[1]], anna);
}

fn who(principal: &Principal) -> PrincipalRef {
    PrincipalRef::Principal(principal.clone())
}

/// The principals of the records in the decision log.
fn logged(home: &Home) -> Vec<String> {
    let log = records(home, &ME, &Filter::default()).unwrap();
    log.map(|record| record.unwrap().principal().to_owned())
        .collect()
}

/// Writes to each file of the log as `anna`: decisions, also of a shadow policy and in a
/// secondary log, an archived file, and an accepted loss.
async fn use_the_log(test: &Test, anna: &Principal) {
    let secondary = test.directory.path().join("secondary");
    let settings = format!(
        "[decision-log]\nmax-bytes = 16384\nsecondary = \"{}\"\n",
        secondary.display()
    );
    std::fs::write(test.home.settings_file(), settings).unwrap();
    let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(test.home.settings_file(), private).unwrap();
    let entail = Entail::open(&test.home, Options::default()).unwrap();
    let acme = path("acme");
    let policies = entail.policies();
    let shadow = policies.shadow(anna, &acme, Some(built_in_policy())).await;
    shadow.unwrap();
    entail
        .change(anna, &set("acme", "everybodys", Sharing::All))
        .await
        .unwrap();
    for _ in 0..40 {
        entail.resolve(anna, &request("acme")).await.unwrap();
    }
    policies.settle_shadows(Duration::from_secs(10)).await;
    assert!(test.home.shadow_log().exists());
    let archive = test.directory.path().join("archive");
    let archived = archive_log(&test.home, anna, &archive, None).unwrap();
    assert_eq!(archived.unwrap().principal, anna.to_string());
    drop(entail);
    std::fs::write(test.home.decision_log(), "").unwrap();
    accept_log_loss(&test.home, anna, &[], "a test").unwrap();
    let entail = Entail::open(&test.home, Options::default()).unwrap();
    entail.resolve(anna, &request("acme")).await.unwrap();
    assert_eq!(logged(&test.home), [anna.to_string()]);
}

#[tokio::test]
async fn an_erased_principal_leaves_no_trace_of_its_name() {
    let test = Test::new().await;
    let canary = "canary.erased@example.com";
    let anna = Principal::new(PrincipalKind::Local, "https://id.canary", canary).unwrap();
    test.entail.change(&anna, &add("acme")).await.unwrap();
    let (acme, policies) = (path("acme"), test.entail.policies());
    let activated = policies.activate(&anna, &acme, built_in_policy()).await;
    activated.unwrap();
    use_the_log(&test, &anna).await;
    assert!(test.contains(canary) && test.contains("id.canary"));
    let id = test.authors().await[1];
    let meant = PrincipalRef::Id(id);
    let erased = test.entail.erase_principal(&ME, &meant).await.unwrap();
    assert_eq!((erased.journal, erased.log.len()), (vec![id], 1));
    let again = test.entail.erase_principal(&ME, &meant).await;
    assert!(matches!(again, Err(Error::UnknownPrincipal(unknown)) if *unknown == meant));
    let again = test.entail.erase_principal(&ME, &who(&anna)).await;
    assert!(matches!(again, Err(Error::UnknownPrincipal(_))));
    let backup = test.directory.path().join("backup.db");
    test.entail
        .maintenance()
        .backup(&ME, &backup)
        .await
        .unwrap();
    assert!(!test.contains(canary) && !test.contains("id.canary"));
    // Also when the write-ahead log is written back.
    let mut test = test;
    test.entail = Entail::open(&test.home, Options::default()).unwrap();
    assert!(!test.contains(canary) && !test.contains("id.canary"));
    let verified = test.entail.maintenance().verify(&ME, &mut |_| {}).await;
    let faults = verified.unwrap().faults;
    assert!(faults.is_empty(), "{faults:?}");
    assert_eq!(verify_log(&test.home, &ME, &[]).unwrap().breaches, []);
    let by = logged(&test.home);
    assert!(by.iter().all(|by| by.starts_with("unknown:")), "{by:?}");
    let journal = test.entail.journal(&ME, 1, 1).await.unwrap();
    assert_eq!(
        (journal[0].entry.principal, &journal[0].principal),
        (id, &None)
    );
    let active = test
        .entail
        .policies()
        .active(&ME, &path("acme"))
        .await
        .unwrap();
    assert_eq!(active.current.activated_by, Some(id));
    // The next change gets another id.
    test.entail.change(&anna, &add("globex")).await.unwrap();
    let new = *test.authors().await.last().unwrap();
    assert_ne!(new, id);
    assert_eq!(test.entail.principals(&ME).await.unwrap()[&new], anna);
}

#[tokio::test]
async fn who_erases_itself_gets_another_id_too() {
    let test = Test::new().await;
    test.entail.change(&ME, &add("acme")).await.unwrap();
    let id = test.authors().await[0];
    let me = who(&ME);
    test.entail.erase_principal(&ME, &me).await.unwrap();
    assert!(test.entail.principals(&ME).await.unwrap().is_empty());
    test.entail.change(&ME, &add("globex")).await.unwrap();
    let authors = test.authors().await;
    assert_eq!(authors[..3], [id; 3]);
    assert_ne!(authors[3], id);
    // A process that knew the old id does not write it again.
    let other = Entail::open(&test.home, Options::default()).unwrap();
    other.change(&ME, &add("initech")).await.unwrap();
    test.entail.erase_principal(&ME, &me).await.unwrap();
    other.change(&ME, &add("umbrella")).await.unwrap();
    let last = *test.authors().await.last().unwrap();
    assert!(last != authors[3] && last != id);
}
