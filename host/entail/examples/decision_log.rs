//! Reads and verifies the decision log of a home.
//!
//! ```sh
//! cargo run -p entail --example decision_log -- "$HOME/.local/share/entail"
//! ```

use entail::{Filter, Home, Principal, last_records, verify_log};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let directory = std::env::args_os()
        .nth(1)
        .ok_or("give the directory of a home")?;
    let home = Home::open(directory.as_ref())?;

    for record in last_records(&home, &Principal::LocalOwner, &Filter::default(), 10)? {
        let record = record?;
        let outcome = match (record.granted(), record.refusal()) {
            (Some((holder, credential, version)), _) => {
                format!("granted {credential} of {holder}, version {version}")
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

    let report = verify_log(&home, &Principal::LocalOwner)?;
    println!(
        "{} records, {} faults",
        report.records,
        report.breaches.len()
    );
    Ok(())
}
