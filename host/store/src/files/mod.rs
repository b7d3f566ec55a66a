//! Small files that only their owner can use, and checks of the paths to them.

pub(crate) mod path_check;
mod read;
#[cfg(test)]
mod tests;
mod write;

pub(crate) use read::{read_private, read_trusted};
pub(crate) use write::{
    name_new, remove_temporary_files, rename_no_replace, replace, sync_directory, temporary_path,
    write_new,
};
pub use write::{private_directory, temporary_files};
