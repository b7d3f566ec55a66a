//! Compiling in a process of its own.
//!
//! Neither deadlines nor limits of memory apply to compiling, and a small component
//! can be made that takes very long. So a foreign component is compiled for the first
//! time by a child process that the system stops when it takes too much. The code
//! that it makes comes back by the cache, which this process then finds filled.
//!
//! The child is the same program, started with [`ARGUMENT`]; see [`serve`].
//!
//! # Security
//!
//! The child gets the component by a pipe, no environment, and a folder to write to;
//! it gives way to all other processes. A mark in the cache says that a component has
//! been compiled once, by this version: compiling it again, should the code be gone,
//! takes no more than it took the child.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, ExitCode, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, setpriority_process, setrlimit};
use wasmtime::component::Component;

use crate::admission::Rejected;
use crate::digest::Digest;
use crate::engine::{Engine, EngineError, Kind, Machine, Settings};
use crate::failure::plain;
use crate::limits::Limits;

/// The first argument of a program that is to compile.
const ARGUMENT: &str = "compile-for-parent";

/// The folder of marks, within that of the code.
const MARKS: &str = "compiled";

/// What the child says on its standard error: the start of a text on what is wrong
/// with the component.
const INVALID: &str = "invalid: ";

/// The most that is read of it.
const SAID_BYTES: u64 = 4096;

/// Between two looks whether the child has ended.
const PAUSE: Duration = Duration::from_millis(2);

/// How much longer than its processor time the child may take on a busy machine.
const SLOWER: u32 = 4;

/// The system's words for memory that it did not give, in an error of the compiler's.
const NO_MEMORY: &str = "os error 12";

/// The exit code for a component that is invalid.
const EXIT_INVALID: u8 = 3;

/// On the scale of nice(1).
const GIVE_WAY: i32 = 10;

/// The signals by which the system ends a process that used up its time.
const SIGKILL: i32 = 9;
const SIGXCPU: i32 = 24;
/// The one by which a process ends itself when it gets no memory.
const SIGABRT: i32 = 6;

/// With less memory, a child may not even begin, and end in any way.
const TO_BEGIN_BYTES: u64 = 128 << 20;

/// The program that compiles.
#[derive(Clone, Debug)]
pub struct Sandbox {
    program: PathBuf,
}

impl Sandbox {
    /// This very program. Its `main` has to call [`serve`] before anything else, and its
    /// allocator must not reserve address space far ahead, which the limit of memory
    /// counts: a program with one that does (mimalloc, say) names another by
    /// [`Sandbox::program`].
    ///
    /// # Errors
    ///
    /// When the system does not tell which program that is.
    pub fn this_program() -> Result<Self, EngineError> {
        // On Linux a name for it that holds also when its file was replaced.
        let own = Path::new("/proc/self/exe");
        let program = match own.exists() {
            true => own.to_owned(),
            false => std::env::current_exe().map_err(|error| {
                EngineError::new(format_args!("the own program is not known: {error}"))
            })?,
        };
        Ok(Sandbox { program })
    }

    /// A program that calls [`serve`].
    pub fn program(file: impl Into<PathBuf>) -> Self {
        Sandbox {
            program: file.into(),
        }
    }

    /// Sees to it that the code of a component is in the engine's cache.
    pub(crate) fn compile(
        &self,
        engine: &Engine,
        digest: Digest,
        bytes: &[u8],
        limits: &Limits,
    ) -> Result<(), Rejected> {
        let Some(cache) = &engine.settings().code_cache else {
            return Err(EngineError::new("a sandbox needs a cache of compiled code").into());
        };
        let mark = mark(engine, cache, digest);
        let (wanted, compiled) = (Room::of(limits), Room::read(&mark));
        if compiled.is_some_and(|compiled| compiled.is_within(wanted)) {
            return Ok(());
        }
        let failed = |error: std::io::Error| {
            let cache = cache.display();
            Rejected::from(EngineError::new(format_args!("{cache}: {error}")))
        };
        let ended = if compiled.is_none() {
            self.run(cache, bytes, limits)
        } else {
            // With the code at hand, nothing would be compiled, and it would fit into
            // any room.
            let trial = Trial::begin(cache).map_err(failed)?;
            self.run(&trial.folder, bytes, limits)
        };
        tell(&ended?, limits)?;
        if let Some(folder) = mark.parent() {
            std::fs::create_dir_all(folder).map_err(failed)?;
        }
        std::fs::write(&mark, wanted.to_string()).map_err(failed)
    }

    /// Runs the child to its end.
    fn run(&self, cache: &Path, bytes: &[u8], limits: &Limits) -> Result<Ended, Rejected> {
        let failed = |error: std::io::Error| {
            let program = self.program.display();
            let text = format_args!("{program} could not be started to compile: {error}");
            Rejected::from(EngineError::new(text))
        };
        let mut child = Command::new(&self.program)
            .arg(ARGUMENT)
            .arg(cache)
            .arg(limits.compile_memory_bytes.to_string())
            .arg(limits.compile_time.as_millis().div_ceil(1000).to_string())
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(failed)?;
        let said = child.stderr.take().map(listen);
        // One that ends before it has read all has a reason, which it tells.
        if let Some(mut input) = child.stdin.take() {
            let _ = input.write_all(bytes);
        }
        let end = Instant::now() + limits.compile_time * SLOWER;
        let status = match wait(&mut child, end) {
            Ok(status) => status,
            Err(error) => {
                // Whatever becomes of it, it is not waited for.
                let _ = child.kill();
                let _ = child.wait();
                return Err(failed(error));
            }
        };
        let said = said.and_then(|said| said.join().ok()).unwrap_or_default();
        Ok(Ended { status, said })
    }
}

/// What a component was compiled with, or is to be.
#[derive(Clone, Copy)]
struct Room {
    memory_bytes: u64,
    time_ms: u64,
}

impl Room {
    fn of(limits: &Limits) -> Self {
        Room {
            memory_bytes: limits.compile_memory_bytes,
            time_ms: u64::try_from(limits.compile_time.as_millis()).unwrap_or(u64::MAX),
        }
    }

    /// What a mark says; nothing, if there is none, or no sense in it.
    fn read(mark: &Path) -> Option<Self> {
        let text = std::fs::read_to_string(mark).ok()?;
        let (memory_bytes, time_ms) = text.split_once(' ')?;
        Some(Room {
            memory_bytes: memory_bytes.parse().ok()?,
            time_ms: time_ms.parse().ok()?,
        })
    }

    fn is_within(self, other: Room) -> bool {
        self.memory_bytes <= other.memory_bytes && self.time_ms <= other.time_ms
    }
}

impl std::fmt::Display for Room {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.memory_bytes, self.time_ms)
    }
}

/// A folder for code that is compiled to see whether it can be, and then goes.
struct Trial {
    folder: PathBuf,
}

impl Trial {
    fn begin(cache: &Path) -> std::io::Result<Self> {
        static BEGUN: AtomicU64 = AtomicU64::new(0);
        let count = BEGUN.fetch_add(1, Ordering::Relaxed);
        let folder = cache.join(format!("trial-{}-{count}", std::process::id()));
        // One that a process of the same number left when it was stopped.
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir(&folder)?;
        Ok(Trial { folder })
    }
}

impl Drop for Trial {
    fn drop(&mut self) {
        // It is only in the way.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// How a child ended; without a status it was ended for its time.
struct Ended {
    status: Option<ExitStatus>,
    said: String,
}

/// Hears a child out, however much it says, and keeps the beginning.
fn listen(child: ChildStderr) -> JoinHandle<String> {
    std::thread::spawn(move || {
        let mut beginning = child.take(SAID_BYTES);
        let mut said = Vec::new();
        // What cannot be read is as good as nothing.
        let _ = beginning.read_to_end(&mut said);
        let _ = std::io::copy(&mut beginning.into_inner(), &mut std::io::sink());
        String::from_utf8_lossy(&said).into_owned()
    })
}

fn wait(child: &mut Child, end: Instant) -> std::io::Result<Option<ExitStatus>> {
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if Instant::now() >= end {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        std::thread::sleep(PAUSE);
    }
}

/// Tells what the end of the child says of the component.
fn tell(ended: &Ended, limits: &Limits) -> Result<(), Rejected> {
    use std::os::unix::process::ExitStatusExt as _;

    let too_long = Rejected::CompileTime {
        limit: limits.compile_time,
    };
    let Some(status) = ended.status else {
        return Err(too_long);
    };
    if status.success() {
        return Ok(());
    }
    let too_much_memory = Rejected::CompileMemory {
        limit: limits.compile_memory_bytes,
    };
    if status.code() == Some(EXIT_INVALID.into())
        && let Some(reason) = ended.said.strip_prefix(INVALID)
    {
        return Err(match reason.contains(NO_MEMORY) {
            true => too_much_memory,
            false => Rejected::Invalid(plain(reason.trim_end())),
        });
    }
    match status.signal() {
        Some(SIGKILL | SIGXCPU) => Err(too_long),
        // The runtime's words for an allocation that failed.
        Some(SIGABRT) if ended.said.contains("memory allocation") => Err(too_much_memory),
        _ if limits.compile_memory_bytes < TO_BEGIN_BYTES => Err(too_much_memory),
        _ => Err(Rejected::CompileCrashed(plain(&format!("{status}")))),
    }
}

/// The file that says that a component has been compiled, by this version and for
/// this kind of processor, and in what [`Room`].
fn mark(engine: &Engine, cache: &Path, digest: Digest) -> PathBuf {
    let mut hasher = DefaultHasher::new();
    env!("CARGO_PKG_VERSION").hash(&mut hasher);
    engine.compatibility().hash(&mut hasher);
    let digest = digest.to_string().replace(':', "-");
    cache
        .join(MARKS)
        .join(format!("{digest}-{:016x}", hasher.finish()))
}

/// Compiles, if this process was started to do just that, and answers with its exit
/// code; else does nothing. To be called first of all in the `main` of a program that
/// uses [`Sandbox::this_program`].
pub fn serve() -> Option<ExitCode> {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next()? != ARGUMENT {
        return None;
    }
    let number = |argument: Option<std::ffi::OsString>| argument?.to_str()?.parse().ok();
    let (cache, memory, seconds) = (
        arguments.next(),
        number(arguments.next()),
        number(arguments.next()),
    );
    let (Some(cache), Some(memory), Some(seconds)) = (cache, memory, seconds) else {
        eprintln!("this is for the program's own use");
        return Some(ExitCode::from(2));
    };
    Some(match compile(cache.into(), memory, seconds) {
        Ok(()) => ExitCode::SUCCESS,
        Err(CompileError::Invalid(reason)) => {
            eprintln!("{INVALID}{reason}");
            ExitCode::from(EXIT_INVALID)
        }
        Err(CompileError::Other(reason)) => {
            eprintln!("{reason}");
            ExitCode::FAILURE
        }
    })
}

enum CompileError {
    Invalid(String),
    Other(String),
}

/// Fills the cache with the code of the component that comes by standard input.
fn compile(cache: PathBuf, memory: u64, seconds: u64) -> Result<(), CompileError> {
    let failed = |error: &dyn std::fmt::Display| CompileError::Other(error.to_string());
    limit(Resource::Core, 0).map_err(|error| failed(&error))?;
    limit(Resource::Cpu, seconds).map_err(|error| failed(&error))?;
    limit(Resource::As, memory).map_err(|error| failed(&error))?;
    // Without it, it only is less polite.
    let _ = setpriority_process(None, GIVE_WAY);
    let mut bytes = Vec::new();
    std::io::stdin()
        .lock()
        .read_to_end(&mut bytes)
        .map_err(|error| failed(&error))?;
    let settings = Settings {
        code_cache: Some(cache),
        ..Settings::default()
    };
    let machine = Machine::new(Kind::Roomy, &settings).map_err(|error| failed(&error))?;
    match Component::from_binary(&machine.engine, &bytes) {
        Ok(_) => Ok(()),
        Err(error) => Err(CompileError::Invalid(format!("{error:#}"))),
    }
}

fn limit(resource: Resource, most: u64) -> Result<(), std::io::Error> {
    let limit = Rlimit {
        current: Some(most),
        maximum: Some(most),
    };
    Ok(setrlimit(resource, limit)?)
}
