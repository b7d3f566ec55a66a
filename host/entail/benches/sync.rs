//! Requests per second with and without syncs of the decision log, by the number of
//! concurrent requests.
//!
//! `cargo bench -p entail --bench sync` prints the figures, next to the time of a bare sync of
//! as many bytes on the same disk (that of the temporary directory).

#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs)] // allowed in benchmarks

use std::fs::{File, Permissions};
use std::hint::black_box;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use entail::{
    Change, CredentialRef, Entail, Home, Options, Principal, Request, RuleChanges, Secret,
    SecretEdit, SetCredential,
};

const ME: Principal = Principal::LocalOwner;

/// How long each figure is measured.
const DURATION: Duration = Duration::from_secs(3);

/// Bytes of a decision and its opening.
const RECORD_BYTES: usize = 1_700;

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().build().unwrap();
    let directory = tempfile::tempdir().unwrap();
    println!("a bare sync: {:.2?}", bare_sync(directory.path()));
    println!(
        "{:>10}  {:>10}  {:>10}  {:>6}",
        "concurrent", "none", "grouped", "ratio"
    );
    let homes = ["none", "grouped"].map(|sync| {
        let path = directory.path().join(sync);
        Arc::new(runtime.block_on(open(&path, sync)))
    });
    for concurrent in [1, 8, 64] {
        let [none, grouped] = [0, 1].map(|home| runtime.block_on(rate(&homes[home], concurrent)));
        println!(
            "{concurrent:>10}  {none:>8.0}/s  {grouped:>8.0}/s  {:>6.2}",
            grouped / none
        );
    }
}

/// The median time to append a record and sync it.
fn bare_sync(directory: &Path) -> Duration {
    let mut file = File::create(directory.join("bare")).unwrap();
    let mut times: Vec<Duration> = (0..500)
        .map(|_| {
            let started = Instant::now();
            file.write_all(&[b'x'; RECORD_BYTES]).unwrap();
            file.sync_data().unwrap();
            started.elapsed()
        })
        .collect();
    times.sort_unstable();
    times[times.len() / 2]
}

/// A home with a credential, and this setting.
async fn open(path: &Path, sync: &str) -> Entail {
    let home = Home::create(path, None).await.unwrap();
    let settings = home.settings_file();
    std::fs::write(&settings, format!("[decision-log]\nsync = {sync:?}\n")).unwrap();
    std::fs::set_permissions(&settings, Permissions::from_mode(0o600)).unwrap();
    let entail = Entail::open(&home, Options::default()).unwrap();
    let scope = "acme".parse().unwrap();
    entail
        .change(&ME, &Change::AddScope { scope })
        .await
        .unwrap();
    let set = SetCredential {
        credential: CredentialRef {
            scope: "acme".parse().unwrap(),
            provider: "openai".parse().unwrap(),
            name: "default".parse().unwrap(),
        },
        mode: None,
        fields: vec![(
            "api_key".to_owned(),
            Secret::from("canary-of-the-benchmark-0123456789"),
        )],
        rules: RuleChanges::default(),
        secret: SecretEdit::Given,
        grace_ms: 0,
    };
    let change = Change::SetCredential(Box::new(set));
    entail.change(&ME, &change).await.unwrap();
    entail
}

/// How many requests are resolved in a second.
async fn rate(entail: &Arc<Entail>, concurrent: usize) -> f64 {
    let count = Arc::new(AtomicUsize::new(0));
    let started = Instant::now();
    let tasks: Vec<_> = (0..concurrent)
        .map(|_| {
            let (entail, count) = (Arc::clone(entail), Arc::clone(&count));
            tokio::spawn(async move {
                let request = Request::new("acme".parse().unwrap(), "openai".parse().unwrap());
                while started.elapsed() < DURATION {
                    black_box(entail.resolve(&ME, &request).await.unwrap());
                    count.fetch_add(1, Ordering::Relaxed);
                    tokio::task::yield_now().await;
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    #[allow(clippy::cast_precision_loss)] // far fewer than 2^52
    let count = count.load(Ordering::Relaxed) as f64;
    count / started.elapsed().as_secs_f64()
}
