//! Checkpoints of the head file and their binary form.

use std::io::Write as _;

use entail_store::Digest;

use super::position::Position;
use crate::clock::Uptime;

/// Bytes of an encoded checkpoint.
pub(super) const BODY_BYTES: usize = 128;

/// The first bytes of each checkpoint; another layout uses other ones.
const MAGIC: [u8; 4] = *b"EHM1";

/// The kind of a checkpoint. Its number is the slot in the file; those of closed files
/// follow after all others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::audit) enum CheckpointKind {
    Begin = 0,
    Head = 1,
    Durable = 2,
    NextDurable = 3,
    Lost = 4,
    Closed = 5,
}

/// The time since the machine booted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::audit) struct MachineTime {
    /// Identifies the boot; all zero if the system does not name it.
    pub(in crate::audit) boot: [u8; 16],
    pub(in crate::audit) ms: u64,
}

impl MachineTime {
    pub(in crate::audit) fn of(uptime: Option<Uptime>) -> Self {
        let Some(uptime) = uptime else {
            return MachineTime::default();
        };
        let mut boot = [0; 16];
        let name = Digest::of(uptime.boot.as_bytes());
        for (byte, of_name) in boot.iter_mut().zip(name.as_bytes()) {
            *byte = *of_name;
        }
        MachineTime {
            boot,
            ms: uptime.ms,
        }
    }
}

/// A recorded position of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::audit) struct Checkpoint {
    pub(in crate::audit) kind: CheckpointKind,
    pub(in crate::audit) at: Position,
    pub(in crate::audit) machine: MachineTime,
    /// For [`CheckpointKind::Begin`], 1 if earlier heads were lost; for
    /// [`CheckpointKind::Lost`], how many records were lost.
    pub(in crate::audit) count: u64,
}

impl Checkpoint {
    pub(super) fn encode(&self) -> [u8; BODY_BYTES] {
        let mut body = [0; BODY_BYTES];
        let at = &self.at;
        let last = at.last.map_or([0; 32], |last| *last.as_bytes());
        let parts: [&[u8]; 10] = [
            &MAGIC,
            &(self.kind as u32).to_le_bytes(),
            &at.file.to_le_bytes(),
            &at.bytes.to_le_bytes(),
            &at.lines.to_le_bytes(),
            at.digest.as_bytes(),
            &last,
            &self.machine.boot,
            &self.machine.ms.to_le_bytes(),
            &self.count.to_le_bytes(),
        ];
        let mut rest = body.as_mut_slice();
        for part in parts {
            // The parts have 128 bytes in all.
            let _ = rest.write_all(part);
        }
        body
    }

    /// Decodes a checkpoint; `None` if it is of another kind or layout.
    pub(super) fn decode(body: &[u8], kind: CheckpointKind) -> Option<Self> {
        let mut fields = FieldReader(body);
        let is_ours = fields.take()? == MAGIC && u32::from_le_bytes(fields.take()?) == kind as u32;
        let mut number = || fields.take().map(u64::from_le_bytes);
        let (file, bytes, lines) = (number()?, number()?, number()?);
        let digest = Digest::from(fields.take::<32>()?);
        let last = fields.take::<32>()?;
        let boot = fields.take()?;
        let mut number = || fields.take().map(u64::from_le_bytes);
        is_ours.then_some(Checkpoint {
            kind,
            at: Position {
                file,
                bytes,
                lines,
                digest,
                last: (last != [0; 32]).then(|| Digest::from(last)),
            },
            machine: MachineTime {
                boot,
                ms: number()?,
            },
            count: number()?,
        })
    }
}

/// The fields that are left to decode.
struct FieldReader<'a>(&'a [u8]);

impl FieldReader<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (field, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*field)
    }
}
