//! Embedders log the library's errors: each is one line of plain characters, even if it
//! contains hostile names.

#![allow(clippy::unwrap_used, clippy::panic)] // allowed in tests

use std::error::Error as StdError;
use std::fmt::Display;
use std::path::{Path, PathBuf};

use entail::policy::{
    BadSettings, CallError, Code, Compiler, ComposeError, Engine, EngineConfig, Limits, Rejected,
};
use entail::store::{
    Anchor, AnchorError, BackendError, DocumentKey, Fault, KeyError, Keys, RecipientError,
    ShareError, Sqlite, Tampering,
};
use entail::{
    AttributeValue, Catalog, CredentialName, Entail, Error, Home, ModelId, Options, Principal,
    ProviderId, ScopePath,
};
use entail_text::is_plain;

/// Each moves a cursor, breaks a line or hides something.
const HOSTILE: &str = "x\r\n\u{1b}[2K\u{1b}]52;c;aGk=\u{7}\u{9b}31m\u{202e}\u{2028}\u{85}\u{feff}\u{e0041}\u{3164}\u{7f}\tgranted";

fn hostile() -> String {
    HOSTILE.to_owned()
}

fn path() -> PathBuf {
    Path::new("/nowhere").join(HOSTILE)
}

fn io() -> std::io::Error {
    std::io::Error::other(HOSTILE)
}

#[track_caller]
fn plain(error: &dyn Display) {
    let text = error.to_string();
    assert!(text.chars().all(is_plain), "{text:?}");
}

/// Checks an error that contains text from outside.
#[track_caller]
fn shown(error: &dyn Display) {
    plain(error);
    let text = error.to_string();
    assert!(text.contains("\\u{1b}"), "{text}");
}

/// Checks an error and all its sources.
#[track_caller]
fn shown_with_sources(error: &(dyn StdError + 'static)) {
    shown(error);
    let mut source = error.source();
    while let Some(error) = source {
        // The system's messages contain no text from outside.
        if error.downcast_ref::<std::io::Error>().is_none() {
            plain(error);
        }
        source = error.source();
    }
}

fn scope() -> ScopePath {
    "acme".parse().unwrap()
}

#[test]
fn library_errors_are_plain() {
    let provider: ProviderId = "openai".parse().unwrap();
    let tampering = || Tampering::new(Fault::Forged, HOSTILE, HOSTILE);
    for error in [
        Error::Invalid(hostile()),
        Error::Home(hostile()),
        Error::Unavailable(hostile()),
        Error::Untrusted {
            message: hostile(),
            owners: Vec::new(),
        },
        Error::PolicyUnready(hostile()),
        Error::Tampered(tampering()),
        Error::HasProjects {
            scope: scope(),
            below: hostile(),
        },
        Error::NotRecorded {
            file: path(),
            error: io(),
        },
        Error::Sealed {
            scope: scope(),
            credential: hostile(),
            error: entail::store::SealError::Damaged,
        },
        Error::Anchor(AnchorError::Malformed(path())),
        Error::NotAnchored(AnchorError::Missing(path())),
        Error::Keys(KeyError::ForeignOwner { file: path() }),
        Error::Recipient(RecipientError::Unknown(hostile())),
        Error::PolicyInUse {
            name: hostile(),
            component: entail::policy::PolicyDigest::of(b""),
            organization: scope(),
            is_shadow: true,
        },
        Error::SignerExists(hostile()),
        Error::Unreadable {
            file: path(),
            error: io(),
        },
        Error::PolicyFailed(CallError::Undecided(hostile())),
        Error::Rejected(Rejected::Invalid(hostile())),
        Error::Compose(ComposeError::Incompatible(hostile())),
        entail::store::Error::Unavailable(BackendError::Failed(hostile())).into(),
        entail::store::Error::Tampered(tampering()).into(),
    ] {
        shown_with_sources(&error);
    }
    // The recipient is for the hint.
    let recipient = HOSTILE.to_owned();
    plain(&Error::NotARecipient { recipient });
    let refusal = serde_json::json!({"code": "expired", "message": HOSTILE});
    shown(&Error::Refused {
        scope: scope(),
        provider,
        refusal: serde_json::from_value(refusal).unwrap(),
    });
}

#[test]
fn store_errors_are_plain() {
    for error in [
        KeyError::File {
            file: path(),
            error: io(),
        },
        KeyError::NotWritable {
            directory: path(),
            error: io(),
        },
        KeyError::TooOpen {
            file: path(),
            mode: 0o644,
            remedy: "600",
        },
        KeyError::ForeignOwner { file: path() },
        KeyError::Malformed {
            file: path(),
            expected: "a key",
        },
        ShareError::Damaged(path()).into(),
        ShareError::Mixed {
            first: path(),
            second: path(),
        }
        .into(),
    ] {
        shown_with_sources(&error);
    }
    for error in [
        AnchorError::File {
            file: path(),
            error: io(),
        },
        AnchorError::Missing(path()),
        AnchorError::Malformed(path()),
    ] {
        shown_with_sources(&error);
    }
    for error in [
        RecipientError::Duplicate(hostile()),
        RecipientError::Ambiguous(hostile()),
        RecipientError::Unknown(hostile()),
    ] {
        shown_with_sources(&error);
    }
    shown(&BackendError::Failed(hostile()));
    shown(&DocumentKey::new(HOSTILE, HOSTILE));
    let tampering = Tampering::new(Fault::Extra, HOSTILE, HOSTILE);
    shown(&tampering);
    assert!(tampering.what().chars().all(is_plain));
    assert!(tampering.reason().chars().all(is_plain));
    // A name in a database may be megabytes long.
    let long = "x\n".repeat(1 << 20);
    let long = Tampering::new(Fault::Extra, &long, &long).to_string();
    assert!(long.len() < 10_000);
}

#[test]
fn policy_errors_are_plain() {
    for error in [
        CallError::Malformed(hostile()),
        CallError::InvalidFacts(hostile()),
        CallError::Undecided(hostile()),
    ] {
        shown(&error);
        shown(&Rejected::Trial(error));
    }
    for error in [
        Rejected::Invalid(hostile()),
        Rejected::CompileCrashed(hostile()),
        Rejected::Imports(vec![hostile(), hostile()]),
        Rejected::MissingExport(hostile()),
        Rejected::WrongType(hostile()),
        Rejected::Schema(hostile()),
    ] {
        shown(&error);
    }
    shown(&ComposeError::Incompatible(hostile()));
    shown(&ComposeError::Invalid {
        part: "layer".to_owned(),
        reason: hostile(),
    });
    shown(&HOSTILE.parse::<Code>().unwrap_err());
    // Messages of the engine and its tools.
    let engine = Engine::new(EngineConfig {
        compiler: Compiler::UnsafeInThisProcess,
        ..EngineConfig::default()
    });
    let named = HOSTILE.bytes().map(|byte| format!("\\{byte:02x}"));
    let named: String = named.collect();
    for text in [
        format!("(component (import \"{named}\" (instance)))"),
        format!("(component (import \"url=<{named}>\" (instance)))"),
        format!("(component (instance $i) (export \"{named}\" (instance $i)))"),
    ] {
        let component = wat::parse_str(text).unwrap();
        plain(
            &engine
                .admit_within(&component, &Limits::default())
                .unwrap_err(),
        );
        plain(
            &engine
                .compose(&component, entail::DEFAULT_POLICY)
                .unwrap_err(),
        );
    }
    let built_in = engine.admit(entail::DEFAULT_POLICY).unwrap();
    let settings = [(hostile(), serde_json::json!(1))].into_iter().collect();
    let error = built_in.with_settings(&settings).unwrap_err();
    shown(&error);
    let BadSettings::NotAccepted(problems) = error else {
        panic!("{error}");
    };
    for problem in problems {
        plain(&problem);
    }
}

#[test]
fn an_invalid_name_is_shown_plainly() {
    // Longer names are not repeated.
    let short = "x\r\n\u{1b}[K\u{9b}\u{202e}\u{2028}";
    shown(&short.parse::<ScopePath>().unwrap_err());
    shown(&short.parse::<ProviderId>().unwrap_err());
    shown(&short.parse::<CredentialName>().unwrap_err());
    shown(&short.parse::<ModelId>().unwrap_err());
    shown(&short.parse::<AttributeValue>().unwrap_err());
    plain(&HOSTILE.parse::<ScopePath>().unwrap_err());
}

#[test]
fn the_text_of_a_provider_file_is_shown_plainly() {
    let quoted = HOSTILE.chars().map(|c| format!("\\U{:08X}", u32::from(c)));
    let quoted = format!("\"{}\"", quoted.collect::<String>());
    let provider = |id: &str, field: &str, mode: &str, url: &str, variable: &str, header: &str| {
        format!(
            r#"
            [[provider]]
            id = {id}
            name = "Local"
            kind = "gateway"
            docs = "https://example.com"
            base-url = {url}
            hosts = ["llm.example.com"]
            [[provider.field]]
            name = "api_key"
            label = "API key"
            secret = true
            environment = [{variable}]
            [[provider.mode]]
            name = {mode}
            label = "API key"
            required = [{field}]
            authentication = {{ headers = {{ Authorization = {header} }} }}
            "#
        )
    };
    let (id, field, mode) = ("\"local\"", "\"api_key\"", "\"api-key\"");
    let (url, variable) = ("\"https://llm.example.com\"", "\"LOCAL_API_KEY\"");
    let header = "\"Bearer {api_key}\"";
    let braced = quoted.replacen('"', "\"{", 1);
    assert!(Catalog::new(Some(&provider(id, field, mode, url, variable, header))).is_ok());
    for text in [
        provider(id, &quoted, mode, url, variable, header),
        provider(id, &quoted, &quoted, url, variable, header),
        provider(id, field, mode, &quoted, variable, header),
        provider(id, field, mode, url, &quoted, header),
        format!("{quoted} = 1"),
    ] {
        shown(&Catalog::new(Some(&text)).unwrap_err());
    }
    // An invalid header value is not repeated.
    let braced = provider(id, field, mode, url, variable, &braced);
    plain(&Catalog::new(Some(&braced)).unwrap_err());
    plain(&Catalog::new(Some(HOSTILE)).unwrap_err());
    plain(&Catalog::new(Some(&provider(&quoted, field, mode, url, variable, header))).unwrap_err());
}

/// A home below a directory with the hostile name.
async fn home(directory: &tempfile::TempDir) -> Home {
    let path = directory.path().join(HOSTILE);
    Home::create(&path, None).await.unwrap()
}

fn opened(home: &Home) -> Error {
    match Entail::open(home, Options::default()) {
        Ok(_) => panic!("it was opened"),
        Err(error) => error,
    }
}

#[tokio::test]
async fn a_home_and_its_contents_are_shown_plainly() {
    let directory = tempfile::tempdir().unwrap();
    shown(&Home::open(&directory.path().join(HOSTILE)).unwrap_err());
    let home = home(&directory).await;
    shown(&Home::create(home.directory(), None).await.unwrap_err());
    shown(&Home::check_new(home.directory()).unwrap_err());
    let quoted = HOSTILE.chars().map(|c| format!("\\U{:08X}", u32::from(c)));
    let quoted = format!("\"{}\"", quoted.collect::<String>());
    for text in [
        format!("{quoted} = 1"),
        format!("[decision-log]\nsecondary = {quoted}"),
        format!("[decision-log]\nrequire = {quoted}"),
        HOSTILE.to_owned(),
    ] {
        std::fs::write(home.settings_file(), text).unwrap();
        shown(&home.settings().unwrap_err());
    }
    std::fs::remove_file(home.settings_file()).unwrap();
    std::fs::write(home.providers_file(), [0xff]).unwrap();
    shown(&home.catalog().unwrap_err());
    std::fs::remove_file(home.providers_file()).unwrap();
    let anchor = home.directory().join("anchor.json");
    let kept = std::fs::read(&anchor).unwrap();
    std::fs::write(&anchor, HOSTILE).unwrap();
    shown(&opened(&home));
    shown(&Anchor::at(&anchor).read().unwrap_err());
    std::fs::write(&anchor, kept).unwrap();
    let entail = Entail::open(&home, Options::default()).unwrap();
    let backup = home.directory().join("backup.db");
    entail
        .maintenance()
        .backup(&Principal::LocalOwner, &backup)
        .await
        .unwrap();
    let again = entail
        .maintenance()
        .backup(&Principal::LocalOwner, &backup)
        .await;
    shown(&again.unwrap_err());
    drop(entail);
    std::fs::write(home.keys_directory().join("keyring.jsonl"), HOSTILE).unwrap();
    shown(&Keys::open(&home.keys_directory()).err().unwrap());
    std::fs::remove_file(home.database_file()).unwrap();
    shown(&Sqlite::open(&home.database_file()).unwrap_err());
}

#[tokio::test]
async fn a_database_with_hostile_names_is_reported_plainly() {
    let name = HOSTILE.replace('\0', "");
    let tampered = async |statement: &str| {
        let directory = tempfile::tempdir().unwrap();
        let home = Home::create(&directory.path().join("home"), None)
            .await
            .unwrap();
        let connection = rusqlite::Connection::open(home.database_file()).unwrap();
        connection.execute_batch(statement).unwrap();
        (directory, home)
    };
    let (_directory, home) = tampered(&format!(
        "CREATE TRIGGER \"{name}\" AFTER INSERT ON blobs BEGIN SELECT 1; END"
    ))
    .await;
    shown(&opened(&home));
    // SQLite's message quotes the definition.
    let database = Sqlite::open(&home.database_file());
    plain(&database.err().unwrap());
    for statement in [
        format!("INSERT INTO documents VALUES ('scope', '{name}', x'00')"),
        format!("INSERT INTO documents VALUES ('{name}', 'acme', x'00')"),
        format!("ALTER TABLE documents RENAME COLUMN payload TO \"{name}\""),
        format!("ALTER TABLE blobs ADD COLUMN \"{name}\" TEXT"),
    ] {
        let (_directory, home) = tampered(&statement).await;
        let mut faults = Vec::new();
        match Entail::open(&home, Options::default()) {
            Err(error) => plain(&error),
            Ok(entail) => {
                let mut ignore_progress = |_| {};
                match entail
                    .maintenance()
                    .verify(&Principal::LocalOwner, &mut ignore_progress)
                    .await
                {
                    Err(error) => plain(&error),
                    Ok(found) => faults = found.faults,
                }
                let read = entail.scopes(&Principal::LocalOwner, None).await;
                if let Err(error) = read {
                    plain(&error);
                }
            }
        }
        for fault in &faults {
            plain(fault);
        }
    }
}
