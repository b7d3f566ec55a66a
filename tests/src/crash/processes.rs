//! The state of the processes of a program: open files and working directories.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::effect::Node;
use super::trace::{Call, CallResult};

/// All processes, including ended ones.
#[derive(Debug)]
pub(super) struct Processes {
    all: Vec<Process>,
    /// The index of each thread's process.
    threads: BTreeMap<u32, usize>,
    /// Threads that are starting another thread, and whether it shares their process.
    starting: Vec<(u32, bool)>,
    descriptions: Vec<Description>,
    first: u32,
}

/// The state that the threads of a process share.
#[derive(Clone, Debug)]
struct Process {
    descriptors: BTreeMap<i64, usize>,
    directory: PathBuf,
    umask: u32,
}

/// An open file description, shared by duplicated descriptors.
#[derive(Debug)]
pub(super) struct Description {
    pub(super) node: Node,
    pub(super) position: usize,
    pub(super) appends: bool,
}

impl Processes {
    /// Starts with the process of `command`.
    pub(super) fn new(command: &Command) -> io::Result<Self> {
        let here = std::env::current_dir()?;
        let directory = command.get_current_dir().unwrap_or(Path::new(""));
        let process = Process {
            descriptors: BTreeMap::new(),
            directory: here.join(directory),
            umask: umask()?,
        };
        Ok(Processes {
            all: vec![process],
            threads: BTreeMap::new(),
            starting: Vec::new(),
            descriptions: Vec::new(),
            first: 0,
        })
    }

    /// The process id of the first process.
    pub(super) fn first(&self) -> u32 {
        self.first
    }

    /// The process of a thread. The thread may be new: it can run before the call that started
    /// it returns.
    pub(super) fn of(&mut self, thread: u32) -> usize {
        if self.first == 0 {
            self.first = thread;
            self.threads.insert(thread, 0);
        }
        if let Some(process) = self.threads.get(&thread) {
            return *process;
        }
        match self.starting.pop() {
            Some((parent, shared)) => self.start(parent, thread, shared),
            None => 0,
        }
    }

    fn start(&mut self, parent: u32, thread: u32, shared: bool) -> usize {
        let process = self.threads.get(&parent).copied().unwrap_or(0);
        let process = match self.all.get(process) {
            Some(forked) if !shared => {
                self.all.push(forked.clone());
                self.all.len() - 1
            }
            _ => process,
        };
        self.threads.insert(thread, process);
        process
    }

    /// Handles a call that has begun and not returned.
    pub(super) fn begin(&mut self, thread: u32, call: &str, arguments: &str) {
        self.of(thread);
        if starts_thread(call) {
            self.starting.push((thread, shares_process(arguments)));
        }
    }

    /// Handles a call that started a thread.
    pub(super) fn started_by(&mut self, call: &Call) {
        self.starting.retain(|(parent, _)| *parent != call.thread);
        let CallResult::Returned(returned) = &call.result else {
            return;
        };
        let number = returned.number();
        if let Some(thread) = number.and_then(|number| u32::try_from(number).ok())
            && !self.threads.contains_key(&thread)
        {
            let mut arguments = call.arguments.iter();
            let shared = arguments.any(|argument| shares_process(&argument.0));
            self.start(call.thread, thread, shared);
        }
    }

    pub(super) fn end(&mut self, thread: u32) {
        self.threads.remove(&thread);
    }

    pub(super) fn directory(&self, process: usize) -> PathBuf {
        match self.all.get(process) {
            Some(process) => process.directory.clone(),
            None => PathBuf::new(),
        }
    }

    pub(super) fn set_directory(&mut self, process: usize, directory: PathBuf) {
        if let Some(process) = self.all.get_mut(process) {
            process.directory = directory;
        }
    }

    pub(super) fn umask(&self, process: usize) -> u32 {
        self.all.get(process).map_or(0, |process| process.umask)
    }

    pub(super) fn set_umask(&mut self, process: usize, umask: u32) {
        if let Some(process) = self.all.get_mut(process) {
            process.umask = umask;
        }
    }

    /// Creates a description of a file, at position 0.
    pub(super) fn describe(&mut self, node: Node, appends: bool) -> usize {
        self.descriptions.push(Description {
            node,
            position: 0,
            appends,
        });
        self.descriptions.len() - 1
    }

    pub(super) fn description(&self, index: usize) -> Option<&Description> {
        self.descriptions.get(index)
    }

    pub(super) fn description_mut(&mut self, index: usize) -> Option<&mut Description> {
        self.descriptions.get_mut(index)
    }

    pub(super) fn open(&mut self, process: usize, descriptor: i64, description: usize) {
        if let Some(process) = self.all.get_mut(process) {
            process.descriptors.insert(descriptor, description);
        }
    }

    pub(super) fn opened(&self, process: usize, descriptor: i64) -> Option<usize> {
        let process = self.all.get(process)?;
        process.descriptors.get(&descriptor).copied()
    }

    pub(super) fn close(&mut self, process: usize, descriptor: i64) {
        if let Some(process) = self.all.get_mut(process) {
            process.descriptors.remove(&descriptor);
        }
    }
}

/// The umask of this process.
fn umask() -> io::Result<u32> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let umask = status
        .lines()
        .find_map(|line| line.strip_prefix("Umask:"))
        .and_then(|umask| u32::from_str_radix(umask.trim(), 8).ok());
    umask.ok_or_else(|| io::Error::other("/proc/self/status does not contain the umask"))
}

pub(super) fn starts_thread(call: &str) -> bool {
    ["clone", "clone3", "fork", "vfork"].contains(&call)
}

fn shares_process(arguments: &str) -> bool {
    arguments.contains("CLONE_FILES")
}
