//! The syntax of names and values in the provider file.

/// Whether it consists of lower-case letters, digits and `joint`, and is not empty.
pub(super) fn is_name(text: &str, joint: u8) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == joint;
    !text.is_empty() && text.bytes().all(is_allowed)
}

/// Whether it is the name of an environment variable.
pub(super) fn is_variable(name: &str) -> bool {
    let is_allowed = |byte| matches!(byte, b'A'..=b'Z' | b'0'..=b'9' | b'_');
    !name.is_empty()
        && name.bytes().all(is_allowed)
        && !name.starts_with(|first: char| first.is_ascii_digit())
}

/// Whether it is a name, or a prefix of names with a final `*`.
pub(super) fn is_pattern(pattern: &str) -> bool {
    let name = pattern.strip_suffix('*').unwrap_or(pattern);
    is_visible(name) && !name.contains(['*', '='])
}

/// A token of HTTP (RFC 9110, section 5.6.2).
pub(super) fn is_token(text: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(is_allowed)
}

/// Whether it consists of visible ASCII characters and spaces.
pub(super) fn is_text(text: &str) -> bool {
    let is_allowed = |byte: u8| byte == b' ' || byte.is_ascii_graphic();
    text.bytes().all(is_allowed)
}

/// Whether it consists of visible ASCII characters, and is not empty.
pub(super) fn is_visible(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic())
}
