//! `entail completions`: prints the completions for a shell.

use clap::Args;

use crate::output::print_raw;

#[derive(Args)]
pub struct CompletionsArgs {
    /// The shell
    pub shell: clap_complete::Shell,
}

pub fn completions(args: &CompletionsArgs, mut parser: clap::Command) {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut parser, "entail", &mut script);
    print_raw(String::from_utf8_lossy(&script).trim_end());
}
