//! stub
use crate::{failure::Failure, session::Session};
use clap::Args;
use std::path::PathBuf;
#[derive(Args)]
pub struct ImportArgs {
    pub paths: Vec<PathBuf>,
    #[arg(long)]
    pub env: bool,
    #[arg(long)]
    pub org: Option<entail::ScopePath>,
    #[arg(long)]
    pub map: Vec<String>,
    #[arg(long, short)]
    pub yes: bool,
}
pub async fn import(_session: &Session, _args: &ImportArgs) -> Result<(), Failure> {
    Ok(())
}
