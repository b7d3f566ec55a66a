//! Lower-case hexadecimal digits.

/// Encodes bytes.
pub(crate) fn encode(bytes: &[u8]) -> String {
    bytes
        .iter()
        .flat_map(|byte| [digit(byte >> 4), digit(byte & 0xf)])
        .collect()
}

fn digit(value: u8) -> char {
    char::from_digit(value.into(), 16).unwrap_or_default()
}

/// Decodes exactly `N` bytes; `None` if the text has another length or other characters.
pub(crate) fn decode<const N: usize>(text: &str) -> Option<[u8; N]> {
    decode_any(text)?.try_into().ok()
}

/// Decodes any number of bytes; `None` if the text is not their encoding.
pub(crate) fn decode_any(text: &str) -> Option<Vec<u8>> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let byte = |[high, low]: &[u8; 2]| Some(value(*high)? << 4 | value(*low)?);
    if !rest.is_empty() {
        return None;
    }
    pairs.iter().map(byte).collect()
}

fn value(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_round_trip_and_other_texts_are_refused() {
        let bytes = [0, 1, 0x9a, 0xff];
        assert_eq!(encode(&bytes), "00019aff");
        assert_eq!(decode("00019aff"), Some(bytes));
        for text in [
            "",
            "00019af",
            "00019aff0",
            "00019aFf",
            "00019afg",
            "0x019aff",
        ] {
            assert_eq!(decode::<4>(text), None, "{text}");
        }
    }
}
