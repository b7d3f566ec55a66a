//! Reads and verifies the decision log of a home.
//!
//! ```sh
//! cargo run -p entail --example decision_log -- "$HOME/.local/share/entail"
//! ```

use entail::{Filter, Home, Principal, RecordedOpening, last_records, verify_log};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let directory = std::env::args_os()
        .nth(1)
        .ok_or("give the directory of a home")?;
    let home = Home::open(directory.as_ref())?;

    for record in last_records(&home, &Principal::LocalOwner, &Filter::default(), 10)? {
        let record = record?;
        let outcome = match (record.granted(), record.refusal()) {
            (Some((holder, credential, version)), _) => {
                let opening = match record.opening() {
                    Some(RecordedOpening::Opened { .. }) => "opened".to_owned(),
                    Some(RecordedOpening::Failed { code, .. }) => format!("not opened: {code}"),
                    _ => "granted".to_owned(),
                };
                format!("{opening}: {credential} of {holder}, version {version}")
            }
            (None, Some(code)) => format!("refused: {code}"),
            (None, None) => format!("failed: {}", record.failure().unwrap_or("unknown")),
        };
        println!(
            "{} {} {} {outcome}",
            record.at_ms(),
            record.scope(),
            record.provider()
        );
    }

    let report = verify_log(&home, &Principal::LocalOwner, &[])?;
    println!(
        "{} decisions, {} faults",
        report.decisions,
        report.breaches.len()
    );
    Ok(())
}
