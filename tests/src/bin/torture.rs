//! The long forms of the stress tests that try to make the store lose or falsify data.
//!
//! ```sh
//! cargo run --release -p entail-tests --bin torture -- kill --cycles 10000
//! ```

#![allow(clippy::unwrap_used)] // any failure here should end the program

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use clap::{Parser, Subcommand, ValueEnum};
use entail_tests::torture::{
    Program, block_on,
    io_errors::io_errors,
    kill::kill,
    power_loss::{log_power_loss, power_loss},
    rotation::rotation,
    schema::mutate,
    tamper::tamper,
    worker,
};

#[derive(Parser)]
#[command(about = "Tries to make the store lose or falsify data")]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// The random seed
    #[arg(long, global = true, default_value_t = 1)]
    seed: u64,
}

#[derive(Subcommand)]
enum Command {
    /// Kill processes that write and rotate keys
    Kill {
        /// The number of cycles
        #[arg(long, default_value_t = 10_000)]
        cycles: u64,
    },
    /// Kill rotations of the identity
    Rotation {
        /// The number of kills
        #[arg(long, default_value_t = 1_000)]
        kills: u64,
    },
    /// Simulate power losses
    PowerLoss {
        /// The minimum number of images to check
        #[arg(long, default_value_t = 2_000)]
        images: usize,
    },
    /// Fail system calls
    IoErrors {
        /// Only fail every nth call
        #[arg(long, default_value_t = 1)]
        every: u32,
    },
    /// Change the database directly
    Tamper {
        /// The number of older databases to restore
        #[arg(long, default_value_t = 100)]
        older: usize,
    },
    /// Change the schema of the database
    Schema {
        /// The number of mutations
        #[arg(long, default_value_t = 10_000)]
        mutations: usize,
    },
    /// Run a worker (started by the other commands)
    Work {
        #[arg(long)]
        home: PathBuf,
        #[arg(long)]
        cache: PathBuf,
        #[arg(long)]
        role: Role,
        #[arg(long)]
        number: u32,
        #[arg(long)]
        from: u64,
        #[arg(long, default_value_t = u64::MAX)]
        limit: u64,
    },
}

#[derive(Clone, Copy, ValueEnum)]
enum Role {
    Writer,
    Rotator,
    Reader,
}

fn main() -> ExitCode {
    let Cli { command, seed } = Cli::parse();
    let program = Program::this();
    let started = Instant::now();
    // Prints progress now and then.
    let every = |count: u64, line: &dyn std::fmt::Debug| {
        if count.is_multiple_of(500) {
            eprintln!("{:>6.0} s {line:?}", started.elapsed().as_secs_f64());
        }
    };
    let count = |count: usize| u64::try_from(count).unwrap();
    match command {
        Command::Kill { cycles } => {
            println!(
                "{:?}",
                kill(&program, cycles, seed, |k| every(k.cycles, &k))
            );
        }
        Command::Rotation { kills } => {
            println!(
                "{:?}",
                rotation(&program, kills, seed, |r| every(r.kills, &r))
            );
        }
        Command::PowerLoss { images } => {
            let lost = power_loss(&program, images, seed, |l| every(count(l.images), &l));
            println!("{lost:?}");
            let lost = log_power_loss(&program, images, seed, |l| every(count(l.images), &l));
            println!("the decision log: {lost:?}");
        }
        Command::IoErrors { every: step } => {
            let failed = io_errors(&program, step, |f| every(count(f.runs), &f));
            println!("{failed:?}");
        }
        Command::Tamper { older } => println!("{:?}", tamper(older, seed)),
        Command::Schema { mutations } => {
            let mutated = mutate(mutations, seed, |m| every(count(m.mutations), &m));
            println!("{mutated:?}");
        }
        Command::Work {
            home,
            cache,
            role,
            number,
            from,
            limit,
        } => {
            let role = match role {
                Role::Writer => worker::Role::Writer(number),
                Role::Rotator => worker::Role::Rotator,
                Role::Reader => worker::Role::Reader(number),
            };
            if let Err(error) = block_on(worker::work(&home, &cache, role, from, limit)) {
                eprintln!("{error}");
                return ExitCode::FAILURE;
            }
            return ExitCode::SUCCESS;
        }
    }
    println!("in {:.0} s", started.elapsed().as_secs_f64());
    ExitCode::SUCCESS
}
