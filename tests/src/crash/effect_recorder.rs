//! Derives the effects of a program on a directory from its system calls.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::completed_call::{CompletedCall, argument, normalize, unknown};
use super::effect::{Effect, Kind};
use super::file_names::FileNames;
use super::image::{Image, is_shared_memory};
use super::names::Names;
use super::processes::{Processes, starts_thread};
use super::trace::{Argument, Call, CallResult, Event};

/// The index of the argument with the descriptor that a path is relative to, if any, and of
/// the argument with the path.
type PathArgument = (Option<usize>, usize);

/// The path arguments of each call.
const PATHS: [(&str, &[PathArgument]); 20] = [
    ("chdir", &[(None, 0)]),
    ("chmod", &[(None, 0)]),
    ("creat", &[(None, 0)]),
    ("fchmodat", &[(Some(0), 1)]),
    ("fchmodat2", &[(Some(0), 1)]),
    ("link", &[(None, 0), (None, 1)]),
    ("linkat", &[(Some(0), 1), (Some(2), 3)]),
    ("mkdir", &[(None, 0)]),
    ("mkdirat", &[(Some(0), 1)]),
    ("open", &[(None, 0)]),
    ("openat", &[(Some(0), 1)]),
    ("rename", &[(None, 0), (None, 1)]),
    ("renameat", &[(Some(0), 1), (Some(2), 3)]),
    ("renameat2", &[(Some(0), 1), (Some(2), 3)]),
    ("rmdir", &[(None, 0)]),
    ("symlink", &[(None, 1)]),
    ("symlinkat", &[(Some(1), 2)]),
    ("truncate", &[(None, 0)]),
    ("unlink", &[(None, 0)]),
    ("unlinkat", &[(Some(0), 1)]),
];

/// Calls whose effects on files do not appear in a trace.
const UNTRACEABLE: [&str; 2] = ["io_uring_setup", "io_setup"];

/// Derives the effects of calls.
#[derive(Debug)]
pub(super) struct EffectRecorder {
    /// The paths of the directory.
    roots: Vec<PathBuf>,
    /// The system's name of the standard output.
    pub(super) output: PathBuf,
    pub(super) processes: Processes,
    /// The number of effects when a thread's unfinished call began.
    begun: BTreeMap<u32, usize>,
    /// The current names.
    pub(super) names: Names,
    /// The length of every node, in bytes.
    pub(super) lengths: Vec<usize>,
    pub(super) effects: Vec<Effect>,
    /// The unfinished last line of the standard output.
    pub(super) line: Vec<u8>,
    /// The paths that the program used.
    used: BTreeSet<PathBuf>,
}

impl EffectRecorder {
    /// Creates a recorder with the contents of the directory before the program runs.
    pub(super) fn new(directory: &Path, command: &Command, before: &Image) -> io::Result<Self> {
        let roots = vec![std::path::absolute(directory)?, directory.canonicalize()?];
        let mut recorder = Self::in_directories(roots, command)?;
        for (place, entry) in before.placed() {
            let kind = match entry.contents {
                None => Kind::Directory,
                Some(_) => Kind::File,
            };
            let node = recorder.new_node();
            let length = entry.contents.as_ref().map_or(0, |contents| contents.len());
            recorder.set_length(node, length);
            let mode = entry.mode;
            recorder.names.apply(&Effect::Create {
                place,
                node,
                kind,
                mode,
            });
        }
        Ok(recorder)
    }

    /// Creates a recorder for an empty directory with these paths.
    pub(super) fn in_directories(roots: Vec<PathBuf>, command: &Command) -> io::Result<Self> {
        Ok(EffectRecorder {
            roots,
            output: PathBuf::new(),
            processes: Processes::new(command)?,
            begun: BTreeMap::new(),
            names: Names::default(),
            lengths: vec![0],
            effects: Vec::new(),
            line: Vec::new(),
            used: BTreeSet::from([PathBuf::new()]),
        })
    }

    /// Sets the name of the pipe to which the program writes its acknowledgements.
    pub(super) fn acknowledge_on(&mut self, pipe: PathBuf) {
        self.output = pipe;
    }

    /// Returns the effects and the names.
    pub(super) fn finish(self) -> (Vec<Effect>, FileNames) {
        let names = FileNames {
            process: self.processes.first(),
            relative: self.used,
        };
        (self.effects, names)
    }

    pub(super) fn record(&mut self, event: Event) -> io::Result<()> {
        match event {
            Event::Begun {
                thread,
                name,
                arguments,
            } => {
                self.begin(thread, &name, arguments);
                Ok(())
            }
            Event::Ended { thread } => {
                self.processes.end(thread);
                Ok(())
            }
            Event::Done(call) => {
                let before = self.begun.remove(&call.thread);
                // Handled when it began: another file may have the descriptor now.
                if before.is_some() && call.name == "close" {
                    return Ok(());
                }
                self.call(&call, before.unwrap_or(self.effects.len()))
            }
        }
    }

    fn begin(&mut self, thread: u32, call: &str, arguments: String) {
        self.begun.insert(thread, self.effects.len());
        self.processes.begin(thread, call, &arguments);
        if call == "close"
            && let Some(descriptor) = Argument(arguments).number()
        {
            let process = self.processes.of(thread);
            self.processes.close(process, descriptor);
        }
    }

    fn call(&mut self, call: &Call, before: usize) -> io::Result<()> {
        let process = self.processes.of(call.thread);
        if starts_thread(&call.name) {
            self.processes.started_by(call);
            return Ok(());
        }
        let paths = self.paths(process, call)?;
        let returned = match &call.result {
            CallResult::Failed => return Ok(()),
            CallResult::Returned(returned) => returned,
            CallResult::Unknown => {
                return if self.affects(process, call, &paths) {
                    Err(unknown(call, "whether it happened"))
                } else {
                    Ok(())
                };
            }
        };
        if UNTRACEABLE.contains(&call.name.as_str()) {
            return Err(unknown(call, "its later effects"));
        }
        let done = CompletedCall {
            call,
            process,
            paths,
            returned,
            before,
        };
        self.record_completed(&done)
    }

    /// The path arguments, relative to the directory; `None` for each path outside.
    fn paths(&mut self, process: usize, call: &Call) -> io::Result<Vec<Option<PathBuf>>> {
        let Some((_, places)) = PATHS.iter().find(|(name, _)| *name == call.name) else {
            return Ok(Vec::new());
        };
        let mut paths = Vec::new();
        for (start, path) in *places {
            let path = match call.arguments.get(*path) {
                Some(path) if path.is_string() => path.path()?,
                _ => {
                    paths.push(None);
                    continue;
                }
            };
            let start = match start {
                Some(start) => argument(call, *start)?.descriptor_path(),
                None => None,
            };
            let start = start.unwrap_or_else(|| self.processes.directory(process));
            paths.push(self.below(&start.join(path)));
        }
        Ok(paths)
    }

    /// The path relative to the directory, if it is inside and recorded.
    pub(super) fn below(&mut self, path: &Path) -> Option<PathBuf> {
        let path = normalize(path);
        let relative = self
            .roots
            .iter()
            .find_map(|root| path.strip_prefix(root).ok())?
            .to_owned();
        self.used.insert(relative.clone());
        (!is_shared_memory(&relative)).then_some(relative)
    }

    /// Whether an unknown call affects the directory.
    pub(super) fn affects(
        &mut self,
        process: usize,
        call: &Call,
        paths: &[Option<PathBuf>],
    ) -> bool {
        if paths.iter().any(Option::is_some) {
            return true;
        }
        let start = self.processes.directory(process);
        call.arguments.iter().any(|argument| {
            let path = argument
                .descriptor_path()
                .and_then(|path| self.below(&path));
            path.is_some() || self.is_name(&start, argument)
        })
    }

    /// Whether the argument is a string that names something in the directory.
    fn is_name(&self, start: &Path, argument: &Argument) -> bool {
        let Ok(path) = argument.path() else {
            return false;
        };
        if !argument.is_string() || path.as_os_str().is_empty() {
            return false;
        }
        let path = normalize(&start.join(path));
        let below = self
            .roots
            .iter()
            .find_map(|root| path.strip_prefix(root).ok());
        below.is_some_and(|path| !is_shared_memory(path) && self.names.find(path).is_some())
    }
}
