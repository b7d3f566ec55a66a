//! Compiled code, from its making to its loading.
//!
//! Loading compiled code means running it: nothing in it is checked any more, so a single
//! bit that is not what the compiler made can do anything to this process. Hence the one
//! place of this crate with `unsafe` code of its own. What it rests on:
//!
//! - A [`Code`] is made in this module only, in one of three ways: by the compiler in
//!   this process ([`Code::compile`]); by the same compiler in a child process, whose
//!   output comes back by a pipe that nobody else has ([`Code::compile_in`]); or from an
//!   entry of the cache that [`Code::open`] has authenticated.
//! - An entry is authenticated with HMAC-SHA-256 under a [`Key`] that only processes of
//!   one home have, over the very bytes that are loaded afterwards: they are read once,
//!   into memory, and never looked for again by a name.
//! - What is authenticated includes the digest of the component, the version of this
//!   crate, and all of the engine's configuration and of the processor's abilities that
//!   compiled code depends on. So an entry is no other component's, no other version's,
//!   and no other machine's.
//! - A `Code` is not changed after it was made.
//!
//! What it does not promise: that the compiler is right. Code that it made wrongly from a
//! hostile component runs, whether or not it was kept for a while.

#![allow(unsafe_code)] // see above

use std::hash::{Hash as _, Hasher};
use std::time::Duration;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};
use wasmtime::component::Component;
use zeroize::Zeroizing;

use crate::digest::Digest;
use crate::limits::Limits;
use crate::machine::{Allocation, compiler};
use crate::sandbox::{Bounds, Job, JobError, Sandbox};

/// Compiles for engines that have address space to spare.
pub(crate) const COMPILE: Job = Job {
    name: "compile",
    run: |component| compile(Allocation::OnDemand, component),
};

/// Compiles for engines that have not.
pub(crate) const COMPILE_COMPACT: Job = Job {
    name: "compile-compact",
    run: |component| compile(Allocation::Compact, component),
};

/// Bytes of code for each byte of a component, at most. Those of Rust, JavaScript and
/// Python have less than three; one that has far more is made of the same thing over and
/// over, and loading it would take memory of this process.
const CODE_PER_BYTE: usize = 8;

/// Bytes of code that any component may have.
const CODE_BYTES: usize = 4 << 20;

/// As long as a block of the hash, so that it is used as it is.
pub(crate) const KEY_BYTES: usize = 64;

/// What an entry begins with. The number is that of its form.
const MAGIC: &[u8; 8] = b"entail\x00\x01";

/// Separates these authentication codes from those of any other use of the key.
const DOMAIN: &[u8] = b"entail compiled code";

/// Where an entry has its authentication code, and what that is about.
const AUTHENTICATED: usize = MAGIC.len() + 32;

/// Where the code begins: after two numbers of eight bytes.
const CODE: usize = AUTHENTICATED + 16;

/// The secret that entries of the cache are authenticated with.
pub(crate) struct Key(Zeroizing<[u8; KEY_BYTES]>);

impl Key {
    pub(crate) fn new(bytes: Zeroizing<[u8; KEY_BYTES]>) -> Self {
        Key(bytes)
    }
}

/// What compiled code depends on besides the component: versions, configuration, the
/// abilities of the processor.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Compatibility([u8; 32]);

impl Compatibility {
    pub(crate) fn of(engine: &wasmtime::Engine) -> Self {
        let mut hasher = Sha256Hasher(Sha256::new());
        env!("CARGO_PKG_VERSION").hash(&mut hasher);
        engine.precompile_compatibility_hash().hash(&mut hasher);
        Compatibility(hasher.0.finalize().into())
    }

    /// A part of it, for a name.
    pub(crate) fn short(self) -> u64 {
        let start = self.0.first_chunk().copied().unwrap_or_default();
        u64::from_be_bytes(start)
    }
}

/// The hash of the standard library is only promised to be the same within a process.
struct Sha256Hasher(Sha256);

impl Hasher for Sha256Hasher {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// Nobody asks: the digest is taken from what is within.
    fn finish(&self) -> u64 {
        0
    }
}

/// What compiling was allowed to take. In an entry, as much as is known to be enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CompileLimits {
    memory_bytes: u64,
    time_ms: u64,
}

impl CompileLimits {
    /// Of code that was compiled in this process.
    pub(crate) const NONE: CompileLimits = CompileLimits {
        memory_bytes: u64::MAX,
        time_ms: u64::MAX,
    };

    pub(crate) fn of(limits: &Limits) -> Self {
        CompileLimits {
            memory_bytes: limits.compile_memory_bytes,
            time_ms: milliseconds(limits.compile_time),
        }
    }

    pub(crate) fn is_within(self, other: CompileLimits) -> bool {
        self.memory_bytes <= other.memory_bytes && self.time_ms <= other.time_ms
    }
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Compiled code that can be loaded.
pub(crate) struct Code {
    /// An entry of the cache, or just the code.
    bytes: Vec<u8>,
    start: usize,
}

impl Code {
    /// Compiles in this process, without any limit.
    pub(crate) fn compile(
        engine: &wasmtime::Engine,
        component: &[u8],
    ) -> Result<Self, wasmtime::Error> {
        let bytes = engine.precompile_component(component)?;
        Ok(Code { bytes, start: 0 })
    }

    /// Compiles in a child process for engines of this kind.
    pub(crate) fn compile_in(
        sandbox: &Sandbox,
        allocation: Allocation,
        component: &[u8],
        limits: &Limits,
    ) -> Result<Self, JobError> {
        let job = match allocation {
            Allocation::Pooled | Allocation::OnDemand => COMPILE,
            Allocation::Compact => COMPILE_COMPACT,
        };
        let most = component.len().saturating_mul(CODE_PER_BYTE) + CODE_BYTES;
        let bytes = sandbox.run(job, component, &Bounds::of(limits, most))?;
        Ok(Code { bytes, start: 0 })
    }

    /// Reads an entry of the cache: the code, and what compiling it was allowed to take.
    /// None if it was not made with this key, or for something else.
    pub(crate) fn open(
        key: &Key,
        component: Digest,
        compatibility: Compatibility,
        entry: Vec<u8>,
    ) -> Option<(Self, CompileLimits)> {
        let (magic, rest) = entry.split_at_checked(MAGIC.len())?;
        let (code, authenticated) = rest.split_at_checked(AUTHENTICATED - MAGIC.len())?;
        if magic != MAGIC {
            return None;
        }
        authentication(key, component, compatibility)
            .chain_update(authenticated)
            .verify_slice(code)
            .ok()?;
        let (memory_bytes, rest) = authenticated.split_first_chunk()?;
        let (time_ms, _) = rest.split_first_chunk()?;
        let limits = CompileLimits {
            memory_bytes: u64::from_le_bytes(*memory_bytes),
            time_ms: u64::from_le_bytes(*time_ms),
        };
        let code = Code {
            bytes: entry,
            start: CODE,
        };
        Some((code, limits))
    }

    /// Writes an entry of the cache.
    pub(crate) fn entry(
        &self,
        key: &Key,
        component: Digest,
        compatibility: Compatibility,
        limits: CompileLimits,
    ) -> Vec<u8> {
        let code = self.as_slice();
        let memory_bytes = limits.memory_bytes.to_le_bytes();
        let time_ms = limits.time_ms.to_le_bytes();
        let authentication = authentication(key, component, compatibility)
            .chain_update(memory_bytes)
            .chain_update(time_ms)
            .chain_update(code)
            .finalize();
        let mut entry = Vec::with_capacity(CODE + code.len());
        entry.extend_from_slice(MAGIC);
        entry.extend_from_slice(&authentication.into_bytes());
        entry.extend_from_slice(&memory_bytes);
        entry.extend_from_slice(&time_ms);
        entry.extend_from_slice(code);
        entry
    }

    /// Loads it. The error is that the engine has no room for such a component.
    pub(crate) fn load(&self, engine: &wasmtime::Engine) -> Result<Component, wasmtime::Error> {
        // SAFETY: these are bytes that the compiler of this version made, unchanged; see
        // the module's documentation. That they fit the engine, it checks itself.
        unsafe { Component::deserialize(engine, self.as_slice()) }
    }

    fn as_slice(&self) -> &[u8] {
        self.bytes.get(self.start..).unwrap_or_default()
    }
}

fn authentication(key: &Key, component: Digest, compatibility: Compatibility) -> Hmac<Sha256> {
    // Each part but the last is of one length.
    Hmac::<Sha256>::new(&(*key.0).into())
        .chain_update(DOMAIN)
        .chain_update(component.as_bytes())
        .chain_update(compatibility.0)
}

fn compile(allocation: Allocation, component: &[u8]) -> Result<Vec<u8>, String> {
    let in_words = |error: wasmtime::Error| format!("{error:#}");
    compiler(allocation)
        .and_then(|engine| engine.precompile_component(component))
        .map_err(in_words)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing, clippy::unwrap_used)]

    use super::*;
    use crate::machine::Machine;

    fn key(byte: u8) -> Key {
        Key(Zeroizing::new([byte; KEY_BYTES]))
    }

    const FOR: Compatibility = Compatibility([1; 32]);

    fn entry() -> Vec<u8> {
        let code = Code {
            bytes: b"machine code".to_vec(),
            start: 0,
        };
        let limits = CompileLimits {
            memory_bytes: 7,
            time_ms: 9,
        };
        code.entry(&key(1), Digest::of(b"policy"), FOR, limits)
    }

    #[test]
    fn an_entry_opens_to_what_was_put_in() {
        let (code, limits) = Code::open(&key(1), Digest::of(b"policy"), FOR, entry()).unwrap();
        assert_eq!(code.as_slice(), b"machine code");
        assert_eq!((limits.memory_bytes, limits.time_ms), (7, 9));
        let again = code.entry(&key(1), Digest::of(b"policy"), FOR, limits);
        assert_eq!(again, entry());
    }

    #[test]
    fn an_entry_with_any_bit_changed_does_not_open() {
        let good = entry();
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            let opened = Code::open(&key(1), Digest::of(b"policy"), FOR, bad);
            assert!(opened.is_none(), "bit {bit}");
        }
    }

    #[test]
    fn an_entry_of_any_other_length_does_not_open() {
        for length in 0..entry().len() {
            let mut short = entry();
            short.truncate(length);
            let opened = Code::open(&key(1), Digest::of(b"policy"), FOR, short);
            assert!(opened.is_none(), "{length} bytes");
        }
        let mut long = entry();
        long.push(0);
        assert!(Code::open(&key(1), Digest::of(b"policy"), FOR, long).is_none());
    }

    #[test]
    fn an_entry_is_of_one_key_one_component_and_one_engine() {
        let policy = Digest::of(b"policy");
        let other = Compatibility([2; 32]);
        assert!(Code::open(&key(2), policy, FOR, entry()).is_none());
        assert!(Code::open(&key(1), Digest::of(b"other"), FOR, entry()).is_none());
        assert!(Code::open(&key(1), policy, other, entry()).is_none());
    }

    #[test]
    fn code_for_a_pool_is_code_without_one_and_no_code_for_compact_memory() {
        let of = |allocation| {
            let machine = Machine::new(allocation, &Limits::default(), 1).unwrap();
            Compatibility::of(&machine.engine)
        };
        let compiler = |allocation| Compatibility::of(&compiler(allocation).unwrap());
        assert!(of(Allocation::Pooled) == of(Allocation::OnDemand));
        assert!(of(Allocation::Pooled) == compiler(Allocation::OnDemand));
        assert!(of(Allocation::Compact) == compiler(Allocation::Compact));
        assert!(of(Allocation::Pooled) != of(Allocation::Compact));
    }
}
