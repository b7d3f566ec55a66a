//! Finds the name that is spelled most like another.

use strsim::damerau_levenshtein;

/// The number of characters per allowed edit. Shorter names are too similar.
const CHARACTERS_PER_EDIT: usize = 4;

/// The maximum number of edits, also for long names.
const MAX_EDITS: usize = 3;

/// Returns the name in `known` with the fewest edits from `given`; `None` if all differ too
/// much.
pub fn nearest<'a>(given: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let most = given.chars().count() / CHARACTERS_PER_EDIT;
    known
        .map(|known| (damerau_levenshtein(given, known), known))
        .filter(|(edits, _)| *edits <= most.min(MAX_EDITS))
        .min()
        .map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typing_error_is_near_and_another_name_is_not() {
        let known = ["acme", "acme/evals", "acme/agents", "acme/evals/nightly"];
        let near = |given| nearest(given, known.into_iter());
        assert_eq!(near("acme/evasl"), Some("acme/evals"));
        assert_eq!(near("acme/eval"), Some("acme/evals"));
        assert_eq!(near("acne"), Some("acme"));
        assert_eq!(near("acme/evals/nigthly"), Some("acme/evals/nightly"));
        assert_eq!(near("acme/nowhere"), None);
        assert_eq!(near("other"), None);
        assert_eq!(near("a"), None);
    }
}
