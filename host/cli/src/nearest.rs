//! Which of several names is spelled most like another.

use strsim::damerau_levenshtein;

/// The fewest characters for one slip. Shorter names are too much alike.
const CHARACTERS_FOR_A_SLIP: usize = 4;

/// The most slips, however long a name is.
const MAX_SLIPS: usize = 3;

/// The one of `known` that `given` is with a slip or two.
pub fn nearest<'a>(given: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let most = given.chars().count() / CHARACTERS_FOR_A_SLIP;
    known
        .map(|known| (damerau_levenshtein(given, known), known))
        .filter(|(slips, _)| *slips <= most.min(MAX_SLIPS))
        .min()
        .map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_near_and_another_name_is_not() {
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
