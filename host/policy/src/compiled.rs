//! Compiled code, from the compiler to the engine.
//!
//! The engine runs compiled code without checking it: a single changed bit can do anything
//! to this process. Loading is therefore `unsafe`, and only this module of the crate does
//! it. The safety argument:
//!
//! - Only this module makes a [`Code`], in one of three ways: with the compiler in this
//!   process ([`Code::compile`]); with the same compiler in a child process, whose output
//!   comes by a pipe that no other process has ([`Code::compile_in`]); or from a cache
//!   entry that [`Code::open`] has authenticated.
//! - An entry is authenticated with HMAC-SHA-256, with a [`Key`] that only processes of
//!   one home can read. The authenticated bytes are the bytes that are loaded: they were
//!   read into memory once, and are not read again from a file.
//! - The authenticated data includes the digest of the component, the version of this
//!   crate, and everything else that compiled code depends on: the configuration of the
//!   engine and the features of the processor. So an entry is valid for no other
//!   component, no other version, and no other engine.
//! - A `Code` is immutable.
//!
//! What this does not promise: that the compiler is correct. Code that was miscompiled
//! from a hostile component runs, whether or not it was cached.

#![allow(unsafe_code)] // loading code: see the safety argument above

use std::hash::{Hash as _, Hasher};
use std::time::Duration;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};
use wasmtime::component::Component;
use zeroize::Zeroizing;

use crate::digest::PolicyDigest;
use crate::limits::Limits;
use crate::sandbox::{Job, JobError, JobLimits, Sandbox};
use crate::wasmtime_engine::{Allocation, new_compiler};

/// Compiles for engines that reserve address space.
pub(crate) const COMPILE: Job = Job {
    name: "compile",
    run: |component| compile(Allocation::OnDemand, component),
};

/// Compiles for engines that reserve no address space.
pub(crate) const COMPILE_COMPACT: Job = Job {
    name: "compile-compact",
    run: |component| compile(Allocation::Compact, component),
};

/// The most bytes of code for each byte of a component. Components made of Rust,
/// JavaScript and Python have fewer than three. One with far more instantiates the same
/// module many times, and loading it would exhaust the memory of this process.
const CODE_PER_BYTE: usize = 8;

/// The bytes of code that are allowed for a component of any size, in addition.
const CODE_BYTES: usize = 4 << 20;

/// The length of a key: a block of the hash, so that HMAC uses it unchanged.
pub(crate) const KEY_BYTES: usize = 64;

/// The first bytes of an entry. The last one is the version of the format.
const MAGIC: &[u8; 8] = b"entail\x00\x01";

/// Separates these authentication codes from other uses of the key.
const DOMAIN: &[u8] = b"entail compiled code";

/// The offset of the authenticated part of an entry, after its authentication code.
const AUTHENTICATED: usize = MAGIC.len() + 32;

/// The offset of the code, after two numbers of eight bytes.
const CODE: usize = AUTHENTICATED + 16;

/// The secret key that cache entries are authenticated with.
pub(crate) struct Key(Zeroizing<[u8; KEY_BYTES]>);

impl Key {
    pub(crate) fn new(bytes: Zeroizing<[u8; KEY_BYTES]>) -> Self {
        Key(bytes)
    }
}

/// A hash of what compiled code depends on besides the component: versions, the
/// configuration of the engine, the features of the processor.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Compatibility([u8; 32]);

impl Compatibility {
    pub(crate) fn of(engine: &wasmtime::Engine) -> Self {
        let mut hasher = Sha256Hasher(Sha256::new());
        env!("CARGO_PKG_VERSION").hash(&mut hasher);
        engine.precompile_compatibility_hash().hash(&mut hasher);
        Compatibility(hasher.0.finalize().into())
    }

    /// Its first bytes, for a file name.
    pub(crate) fn short(self) -> u64 {
        let start = self.0.first_chunk().copied().unwrap_or_default();
        u64::from_be_bytes(start)
    }
}

/// The standard library does not promise the same hash in another process.
struct Sha256Hasher(Sha256);

impl Hasher for Sha256Hasher {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// Not used: the digest is taken from the inner hash.
    fn finish(&self) -> u64 {
        0
    }
}

/// Limits that sufficed to compile a component.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CompileLimits {
    memory_bytes: u64,
    time_ms: u64,
}

impl CompileLimits {
    /// For code that was compiled in this process, without limits.
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

/// Compiled code that is safe to load.
pub(crate) struct Code {
    /// A cache entry, or only the code.
    bytes: Vec<u8>,
    start: usize,
}

impl Code {
    /// Compiles in this process, without limits.
    pub(crate) fn compile(
        engine: &wasmtime::Engine,
        component: &[u8],
    ) -> Result<Self, wasmtime::Error> {
        let bytes = engine.precompile_component(component)?;
        Ok(Code { bytes, start: 0 })
    }

    /// Compiles in a child process, for engines with this allocation.
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
        let code_bytes = component.len().saturating_mul(CODE_PER_BYTE) + CODE_BYTES;
        let bytes = sandbox.run(job, component, &JobLimits::of(limits, code_bytes))?;
        Ok(Code { bytes, start: 0 })
    }

    /// Authenticates a cache entry; returns its code, and the limits that it was compiled
    /// under. `None` if it was not made with this key, for this component and this engine.
    pub(crate) fn open(
        key: &Key,
        component: PolicyDigest,
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

    /// Makes a cache entry.
    pub(crate) fn entry(
        &self,
        key: &Key,
        component: PolicyDigest,
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

    /// Loads it. Fails if the component is too large for the pool of the engine.
    pub(crate) fn load(&self, engine: &wasmtime::Engine) -> Result<Component, wasmtime::Error> {
        // SAFETY: these are the unchanged bytes of the compiler of this version; see the
        // module's documentation. The engine checks that they were compiled for it.
        unsafe { Component::deserialize(engine, self.as_slice()) }
    }

    fn as_slice(&self) -> &[u8] {
        self.bytes.get(self.start..).unwrap_or_default()
    }
}

fn authentication(
    key: &Key,
    component: PolicyDigest,
    compatibility: Compatibility,
) -> Hmac<Sha256> {
    // Every part but the last has a fixed length.
    Hmac::<Sha256>::new(&(*key.0).into())
        .chain_update(DOMAIN)
        .chain_update(component.as_bytes())
        .chain_update(compatibility.0)
}

fn compile(allocation: Allocation, component: &[u8]) -> Result<Vec<u8>, String> {
    new_compiler(allocation)
        .and_then(|engine| engine.precompile_component(component))
        .map_err(|error| format!("{error:#}"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing, clippy::unwrap_used)]

    use super::*;
    use crate::wasmtime_engine::WasmtimeEngine;

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
        code.entry(&key(1), PolicyDigest::of(b"policy"), FOR, limits)
    }

    #[test]
    fn an_entry_returns_the_stored_code() {
        let (code, limits) =
            Code::open(&key(1), PolicyDigest::of(b"policy"), FOR, entry()).unwrap();
        assert_eq!(code.as_slice(), b"machine code");
        assert_eq!((limits.memory_bytes, limits.time_ms), (7, 9));
        let again = code.entry(&key(1), PolicyDigest::of(b"policy"), FOR, limits);
        assert_eq!(again, entry());
    }

    #[test]
    fn an_entry_with_any_bit_changed_does_not_open() {
        let good = entry();
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            let opened = Code::open(&key(1), PolicyDigest::of(b"policy"), FOR, bad);
            assert!(opened.is_none(), "bit {bit}");
        }
    }

    #[test]
    fn an_entry_of_any_other_length_does_not_open() {
        for length in 0..entry().len() {
            let mut short = entry();
            short.truncate(length);
            let opened = Code::open(&key(1), PolicyDigest::of(b"policy"), FOR, short);
            assert!(opened.is_none(), "{length} bytes");
        }
        let mut long = entry();
        long.push(0);
        assert!(Code::open(&key(1), PolicyDigest::of(b"policy"), FOR, long).is_none());
    }

    #[test]
    fn an_entry_is_of_one_key_one_component_and_one_engine() {
        let policy = PolicyDigest::of(b"policy");
        let other = Compatibility([2; 32]);
        assert!(Code::open(&key(2), policy, FOR, entry()).is_none());
        assert!(Code::open(&key(1), PolicyDigest::of(b"other"), FOR, entry()).is_none());
        assert!(Code::open(&key(1), policy, other, entry()).is_none());
    }

    #[test]
    fn pooled_and_on_demand_engines_share_code_and_compact_ones_do_not() {
        let compatibility = |allocation| {
            let wasmtime = WasmtimeEngine::new(allocation, &Limits::default(), 1).unwrap();
            Compatibility::of(&wasmtime.engine)
        };
        let compiler = |allocation| Compatibility::of(&new_compiler(allocation).unwrap());
        assert!(compatibility(Allocation::Pooled) == compatibility(Allocation::OnDemand));
        assert!(compatibility(Allocation::Pooled) == compiler(Allocation::OnDemand));
        assert!(compatibility(Allocation::Compact) == compiler(Allocation::Compact));
        assert!(compatibility(Allocation::Pooled) != compatibility(Allocation::Compact));
    }
}
