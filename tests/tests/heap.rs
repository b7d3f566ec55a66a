//! What sealing leaves in memory that was freed, in a program with the allocator of `entail`.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // allowed in tests

use std::alloc::System;
use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::FileExt as _;

use entail::store::{Digest, Keys, NewKeys, Readers, SealContext, Secret};
use zeroizing_alloc::ZeroAlloc;

#[global_allocator]
static ALLOCATOR: ZeroAlloc<System> = ZeroAlloc(System);

/// The bytes of the secret are the masked ones, so that the search finds no copy of its own.
const MASK: u8 = 0x55;
const MASKED: [u8; 32] = *b"aMasked:canary-of-the-heap-00001";

/// A search of the memory of this process. It allocates nothing while it searches, so that it
/// overwrites nothing that was freed.
struct Search {
    maps: String,
    buffer: Vec<u8>,
}

impl Search {
    fn new() -> Self {
        Search {
            maps: String::with_capacity(1 << 18),
            buffer: vec![0; 1 << 20],
        }
    }

    /// How often the secret is in writable memory.
    fn count(&mut self) -> usize {
        self.maps.clear();
        let mut maps = File::open("/proc/self/maps").unwrap();
        maps.read_to_string(&mut self.maps).unwrap();
        let memory = File::open("/proc/self/mem").unwrap();
        let own = self.buffer.as_ptr_range();
        let own = own.start as u64..own.end as u64;
        let mut found = 0;
        for line in self.maps.lines().filter(|line| line.contains(" rw-p ")) {
            let (range, _) = line.split_once(' ').unwrap();
            let (start, end) = range.split_once('-').unwrap();
            let number = |text| u64::from_str_radix(text, 16).unwrap();
            let (mut at, end) = (number(start), number(end));
            while at < end {
                let length = usize::try_from(end - at).unwrap().min(self.buffer.len());
                let Ok(read) = memory.read_at(&mut self.buffer[..length], at) else {
                    break;
                };
                let is_secret = |place: &usize| {
                    let address = at + u64::try_from(*place).unwrap();
                    let bytes = &self.buffer[*place..*place + MASKED.len()];
                    let mut pairs = bytes.iter().zip(&MASKED);
                    !own.contains(&address) && pairs.all(|(byte, masked)| byte ^ MASK == *masked)
                };
                let places = 0..(read + 1).saturating_sub(MASKED.len());
                found += places.filter(is_secret).count();
                at += u64::try_from(read.max(1)).unwrap();
            }
        }
        self.buffer.fill(0);
        found
    }
}

#[test]
fn a_sealed_secret_leaves_no_copy_in_freed_memory() {
    let mut search = Search::new();
    let mut bytes = MASKED.map(|byte| byte ^ MASK);
    let fields = vec![("api_key".to_owned(), Secret::new(&bytes))];
    bytes.fill(0);

    let recipient = NewKeys::generate().unwrap().recipient("test", 0);
    let context = SealContext {
        store: "000102030405060708090a0b0c0d0e0f".parse().unwrap(),
        scope: "acme".to_owned(),
        credential: "c1".to_owned(),
        version: 1,
        provider: "openai".to_owned(),
        mode: "api-key".to_owned(),
        hosts: Vec::new(),
        destination: Digest::of(b"{}"),
        epoch: 1,
        fields: vec!["api_key".to_owned()],
    };
    let readers = Readers::first("acme", vec![recipient]).unwrap().readers;
    let sealed = Keys::seal(readers.newest().unwrap(), &context, &fields).unwrap();
    assert!(search.count() >= 1, "it finds a secret that is there");
    drop(fields);
    assert_eq!(search.count(), 0);
    drop(sealed);
}
