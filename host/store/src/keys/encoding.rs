//! Bech32 (BIP 173), the encoding of age identities and of shares of recovery keys, for secrets.

use bech32::primitives::decode::CheckedHrpstring;
use bech32::{Bech32, Hrp};
use zeroize::Zeroizing;

use crate::secret::Secret;

/// More than the length of a text that is encoded, so that no buffer with a part of it is left.
const TEXT_CAPACITY: usize = 128;

/// Encodes bytes in upper case.
pub(super) fn encode(prefix: Hrp, bytes: &[u8]) -> Secret {
    let mut text = Zeroizing::new(String::with_capacity(TEXT_CAPACITY));
    // Fails only for more than a thousand characters.
    let _ = bech32::encode_upper_to_fmt::<Bech32, _>(&mut *text, prefix, bytes);
    Secret::from(text.as_str())
}

/// Decodes the text of some bytes, in upper or lower case; `None` if it is not that text.
pub(super) fn decode(prefix: Hrp, text: &str) -> Option<Secret> {
    let checked = CheckedHrpstring::new::<Bech32>(text).ok()?;
    let length = checked.byte_iter().len();
    let bytes = Secret::filled(length, |memory| {
        for (place, byte) in memory.iter_mut().zip(checked.byte_iter()) {
            *place = byte;
        }
        Ok(length)
    });
    let bytes = bytes.ok()?;
    // Another prefix, or bits at the end that belong to no byte, have another text.
    let canonical = encode(prefix, bytes.expose());
    let is_canonical = canonical.expose().eq_ignore_ascii_case(text.as_bytes());
    is_canonical.then_some(bytes)
}
