//! Templates: text with field names in braces.

/// A part of a template.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part<'a> {
    /// Text to copy.
    Text(&'a str),
    /// The name of a field to fill in.
    Field(&'a str),
}

/// Splits a template into text and field names in braces.
pub fn parts(template: &str) -> impl Iterator<Item = Part<'_>> {
    template
        .split('{')
        .enumerate()
        .flat_map(|(position, piece)| {
            match (position, piece.split_once('}')) {
                (0, _) | (_, None) => [Some(Part::Text(piece)), None],
                (_, Some((field, text))) => [Some(Part::Field(field)), Some(Part::Text(text))],
            }
            .into_iter()
            .flatten()
        })
}
