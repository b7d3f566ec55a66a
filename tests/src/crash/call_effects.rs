//! The effects of each system call.

use std::io;
use std::path::{Path, PathBuf};

use super::completed_call::{CompletedCall, argument, normalize, number, size, unknown};
use super::effect::{Effect, Kind, Node, Place};
use super::effect_recorder::EffectRecorder;
use super::processes::Description;
use super::trace::{Argument, Call};

/// Calls that may affect a file of the directory but change nothing that is recorded: not
/// the contents, the names or the mode. Sync calls that promise nothing about a power loss
/// are included.
const HARMLESS: [&str; 19] = [
    "chown",
    "execve",
    "execveat",
    "fchown",
    "fchownat",
    "flock",
    "fgetxattr",
    "fsetown",
    "getcwd",
    "getxattr",
    "inotify_add_watch",
    "lchown",
    "lgetxattr",
    "msync",
    "readahead",
    "readlinkat",
    "sync_file_range",
    "syncfs",
    "utimensat",
];

impl EffectRecorder {
    /// Records the effects of a completed call. Fails if they are not known.
    pub(super) fn record_completed(&mut self, done: &CompletedCall) -> io::Result<()> {
        match done.call.name.as_str() {
            "open" | "openat" | "creat" => self.open(done),
            "close" => self.close(done),
            "dup" | "dup2" | "dup3" => self.duplicate(done),
            "fcntl" if is_duplicate(done.call) => self.duplicate(done),
            "fcntl" => Ok(()),
            "read" | "readv" => self.read(done),
            "lseek" => self.seek(done),
            "write" | "writev" => self.write(done),
            "pwrite64" | "pwritev" => self.write_at(done),
            "ftruncate" | "truncate" => self.truncate(done),
            "fallocate" => self.allocate(done),
            "fsync" | "fdatasync" => self.sync(done),
            "mkdir" | "mkdirat" => self.create_directory(done),
            "link" | "linkat" => self.link(done),
            "rename" | "renameat" | "renameat2" => self.rename(done),
            "unlink" | "unlinkat" | "rmdir" => self.remove(done),
            "chmod" | "fchmod" | "fchmodat" | "fchmodat2" => self.change_mode(done),
            "umask" => self.change_umask(done),
            "chdir" | "fchdir" => self.change_directory(done),
            "mmap" if !writes_file(done.call) => Ok(()),
            name if HARMLESS.contains(&name) => Ok(()),
            _ if self.affects(done.process, done.call, &done.paths) => {
                Err(unknown(done.call, "its effect"))
            }
            _ => Ok(()),
        }
    }

    fn open(&mut self, done: &CompletedCall) -> io::Result<()> {
        let descriptor = number(done.call, done.returned)?;
        self.processes.close(done.process, descriptor);
        let Some(path) = done.path(0) else {
            return Ok(());
        };
        let flags = match done.call.name.as_str() {
            "creat" => &Argument("O_CREAT|O_TRUNC".to_owned()),
            "open" => argument(done.call, 1)?,
            _ => argument(done.call, 2)?,
        };
        // `O_DSYNC` is not a substring of the other two.
        if ["O_TMPFILE", "O_SYNC", "O_DSYNC"]
            .iter()
            .any(|flag| flags.has(flag))
        {
            return Err(unknown(done.call, "the effect of its flag"));
        }
        let node = match self.names.find(path) {
            Some(node) => node,
            None if flags.has("O_CREAT") => {
                let mode = done.call.arguments.last().and_then(Argument::number);
                self.create(done, Kind::File, mode)?
            }
            None => return Err(unknown(done.call, "who created the file")),
        };
        if flags.has("O_TRUNC") && self.length(node) > 0 {
            self.resize(node, 0);
        }
        let appends = flags.has("O_APPEND");
        let description = self.processes.describe(node, appends);
        self.processes.open(done.process, descriptor, description);
        Ok(())
    }

    fn create(&mut self, done: &CompletedCall, kind: Kind, mode: Option<i64>) -> io::Result<Node> {
        let place = self.place(done, 0)?;
        let umask = self.processes.umask(done.process);
        let mode = mode.and_then(|mode| u32::try_from(mode).ok()).unwrap_or(0) & !umask;
        let node = self.new_node();
        self.change_names(Effect::Create {
            place,
            node,
            kind,
            mode,
        });
        Ok(node)
    }

    pub(super) fn new_node(&mut self) -> Node {
        self.lengths.push(0);
        self.lengths.len() - 1
    }

    fn change_names(&mut self, effect: Effect) {
        self.names.apply(&effect);
        self.effects.push(effect);
    }

    fn place(&self, done: &CompletedCall, path: usize) -> io::Result<Place> {
        done.path(path)
            .and_then(|path| self.names.place(path))
            .ok_or_else(|| unknown(done.call, "its directory"))
    }

    fn close(&mut self, done: &CompletedCall) -> io::Result<()> {
        let descriptor = number(done.call, argument(done.call, 0)?)?;
        self.processes.close(done.process, descriptor);
        Ok(())
    }

    fn duplicate(&mut self, done: &CompletedCall) -> io::Result<()> {
        let from = number(done.call, argument(done.call, 0)?)?;
        let to = number(done.call, done.returned)?;
        match self.processes.opened(done.process, from) {
            Some(description) => self.processes.open(done.process, to, description),
            None => self.processes.close(done.process, to),
        }
        Ok(())
    }

    /// The open file of the first argument, if it is in the directory.
    fn opened(&mut self, done: &CompletedCall) -> io::Result<Option<Opened>> {
        let first = argument(done.call, 0)?;
        let path = first.descriptor_path().and_then(|path| self.below(&path));
        let descriptor = number(done.call, first)?;
        let description = self.processes.opened(done.process, descriptor);
        match (path, description) {
            // `execve` closed the descriptor without a traced call, and it was reused.
            (None, _) => Ok(None),
            (Some(_), Some(index)) => match self.processes.description(index) {
                Some(description) => Ok(Some(Opened {
                    node: description.node,
                    description: Some(index),
                })),
                None => Ok(None),
            },
            (Some(path), None) => match self.names.find(&path) {
                Some(node) if !first.is_deleted() => Ok(Some(Opened {
                    node,
                    description: None,
                })),
                _ => Err(unknown(done.call, "the file")),
            },
        }
    }

    fn read(&mut self, done: &CompletedCall) -> io::Result<()> {
        // strace prints descriptors of reads as bare numbers, without a path.
        let descriptor = number(done.call, argument(done.call, 0)?)?;
        let length = size(done.call, done.returned)?;
        if let Some(index) = self.processes.opened(done.process, descriptor)
            && let Some(description) = self.processes.description_mut(index)
        {
            description.position += length;
        }
        Ok(())
    }

    fn seek(&mut self, done: &CompletedCall) -> io::Result<()> {
        let Some(opened) = self.opened(done)? else {
            return Ok(());
        };
        let position = size(done.call, done.returned)?;
        self.description_of(done, &opened)?.position = position;
        Ok(())
    }

    fn description_of(
        &mut self,
        done: &CompletedCall,
        opened: &Opened,
    ) -> io::Result<&mut Description> {
        opened
            .description
            .and_then(|index| self.processes.description_mut(index))
            .ok_or_else(|| unknown(done.call, "its position"))
    }

    fn write(&mut self, done: &CompletedCall) -> io::Result<()> {
        if argument(done.call, 0)?.descriptor_path().as_deref() == Some(self.output.as_path()) {
            let bytes = written(done)?;
            self.acknowledge(&bytes);
            return Ok(());
        }
        let Some(opened) = self.opened(done)? else {
            return Ok(());
        };
        let bytes = written(done)?;
        let end = self.length(opened.node);
        let description = self.description_of(done, &opened)?;
        let offset = if description.appends {
            end
        } else {
            description.position
        };
        description.position = offset + bytes.len();
        self.put(opened.node, offset, bytes);
        Ok(())
    }

    fn acknowledge(&mut self, bytes: &[u8]) {
        for byte in bytes {
            if *byte == b'\n' {
                let line = std::mem::take(&mut self.line);
                let line = String::from_utf8_lossy(&line).into_owned();
                self.effects.push(Effect::Acknowledge(line));
            } else {
                self.line.push(*byte);
            }
        }
    }

    fn write_at(&mut self, done: &CompletedCall) -> io::Result<()> {
        let Some(opened) = self.opened(done)? else {
            return Ok(());
        };
        let appends = opened
            .description
            .and_then(|index| self.processes.description(index))
            .is_some_and(|description| description.appends);
        // Linux appends regardless of the offset.
        let offset = if appends {
            self.length(opened.node)
        } else {
            size(done.call, argument(done.call, 3)?)?
        };
        self.put(opened.node, offset, written(done)?);
        Ok(())
    }

    fn put(&mut self, file: Node, offset: usize, bytes: Vec<u8>) {
        if bytes.is_empty() {
            return;
        }
        let end = offset + bytes.len();
        self.set_length(file, self.length(file).max(end));
        self.effects.push(Effect::Write {
            file,
            offset,
            bytes,
        });
    }

    fn length(&self, node: Node) -> usize {
        self.lengths.get(node).copied().unwrap_or(0)
    }

    pub(super) fn set_length(&mut self, node: Node, length: usize) {
        if let Some(known) = self.lengths.get_mut(node) {
            *known = length;
        }
    }

    fn resize(&mut self, file: Node, length: usize) {
        self.set_length(file, length);
        self.effects.push(Effect::Resize { file, length });
    }

    /// The node of a call's path or, if it has none, of its descriptor.
    fn node(&mut self, done: &CompletedCall) -> io::Result<Option<Node>> {
        match done.paths.first() {
            None => Ok(self.opened(done)?.map(|opened| opened.node)),
            Some(None) => Ok(None),
            Some(Some(path)) => match self.names.find(path) {
                Some(node) => Ok(Some(node)),
                None => Err(unknown(done.call, "the file")),
            },
        }
    }

    fn truncate(&mut self, done: &CompletedCall) -> io::Result<()> {
        if let Some(node) = self.node(done)? {
            let length = size(done.call, argument(done.call, 1)?)?;
            self.resize(node, length);
        }
        Ok(())
    }

    fn allocate(&mut self, done: &CompletedCall) -> io::Result<()> {
        let Some(opened) = self.opened(done)? else {
            return Ok(());
        };
        if number(done.call, argument(done.call, 1)?)? != 0 {
            return Err(unknown(done.call, "the effect of its flag"));
        }
        let offset = size(done.call, argument(done.call, 2)?)?;
        let end = offset + size(done.call, argument(done.call, 3)?)?;
        if end > self.length(opened.node) {
            self.resize(opened.node, end);
        }
        Ok(())
    }

    fn sync(&mut self, done: &CompletedCall) -> io::Result<()> {
        if let Some(opened) = self.opened(done)? {
            self.effects.push(Effect::Sync {
                node: opened.node,
                before: done.before,
            });
        }
        Ok(())
    }

    fn create_directory(&mut self, done: &CompletedCall) -> io::Result<()> {
        if done.path(0).is_some() {
            let mode = done.call.arguments.last().and_then(Argument::number);
            self.create(done, Kind::Directory, mode)?;
        }
        Ok(())
    }

    fn link(&mut self, done: &CompletedCall) -> io::Result<()> {
        let Some((from, _)) = both_paths(done)? else {
            return Ok(());
        };
        let node = self.find_node(done, &from)?;
        let place = self.place(done, 1)?;
        self.change_names(Effect::Link { place, node });
        Ok(())
    }

    fn rename(&mut self, done: &CompletedCall) -> io::Result<()> {
        let Some((from, to)) = both_paths(done)? else {
            return Ok(());
        };
        if done
            .call
            .arguments
            .get(4)
            .is_some_and(|flags| flags.has("RENAME_EXCHANGE"))
        {
            return Err(unknown(done.call, "the effect of its flag"));
        }
        let node = self.find_node(done, &from)?;
        // Renaming between two names of one file does nothing.
        if self.names.find(&to) == Some(node) {
            return Ok(());
        }
        let (from, to) = (self.place(done, 0)?, self.place(done, 1)?);
        self.change_names(Effect::Rename { from, to, node });
        Ok(())
    }

    fn find_node(&self, done: &CompletedCall, path: &Path) -> io::Result<Node> {
        self.names
            .find(path)
            .ok_or_else(|| unknown(done.call, "the file"))
    }

    fn remove(&mut self, done: &CompletedCall) -> io::Result<()> {
        if done.path(0).is_some() {
            let place = self.place(done, 0)?;
            self.change_names(Effect::Remove(place));
        }
        Ok(())
    }

    fn change_mode(&mut self, done: &CompletedCall) -> io::Result<()> {
        let Some(node) = self.node(done)? else {
            return Ok(());
        };
        let mode = match done.call.name.as_str() {
            "chmod" | "fchmod" => argument(done.call, 1)?,
            _ => argument(done.call, 2)?,
        };
        let mode = number(done.call, mode)?;
        let mode = u32::try_from(mode).map_err(|_| unknown(done.call, "its mode"))?;
        self.effects.push(Effect::Mode { node, mode });
        Ok(())
    }

    fn change_umask(&mut self, done: &CompletedCall) -> io::Result<()> {
        let umask = number(done.call, argument(done.call, 0)?)?;
        let umask = u32::try_from(umask).map_err(|_| unknown(done.call, "its mask"))?;
        self.processes.set_umask(done.process, umask);
        Ok(())
    }

    fn change_directory(&mut self, done: &CompletedCall) -> io::Result<()> {
        let directory = match done.call.name.as_str() {
            "fchdir" => argument(done.call, 0)?
                .descriptor_path()
                .ok_or_else(|| unknown(done.call, "the directory"))?,
            _ => argument(done.call, 0)?.path()?,
        };
        let directory = normalize(&self.processes.directory(done.process).join(directory));
        self.processes.set_directory(done.process, directory);
        Ok(())
    }
}

/// Fails if one path is in the directory and the other is not.
fn both_paths(done: &CompletedCall) -> io::Result<Option<(PathBuf, PathBuf)>> {
    match (done.path(0), done.path(1)) {
        (None, None) => Ok(None),
        (Some(from), Some(to)) => Ok(Some((from.clone(), to.clone()))),
        _ => Err(unknown(done.call, "the path outside the directory")),
    }
}

/// An open file of the directory.
#[derive(Debug)]
struct Opened {
    node: Node,
    /// `None` if it was opened before its thread was known.
    description: Option<usize>,
}

fn is_duplicate(call: &Call) -> bool {
    call.arguments
        .get(1)
        .is_some_and(|command| command.has("F_DUPFD") || command.has("F_DUPFD_CLOEXEC"))
}

/// Whether a mapping can change the file.
fn writes_file(call: &Call) -> bool {
    let has = |flag| call.arguments.iter().any(|argument| argument.has(flag));
    has("PROT_WRITE") && (has("MAP_SHARED") || has("MAP_SHARED_VALIDATE"))
}

/// The bytes that were actually written.
fn written(done: &CompletedCall) -> io::Result<Vec<u8>> {
    let mut bytes = argument(done.call, 1)?.bytes()?;
    let length = size(done.call, done.returned)?;
    if bytes.len() < length {
        return Err(unknown(done.call, "what was written"));
    }
    bytes.truncate(length);
    Ok(bytes)
}
