//! Counts with their nouns.

use std::fmt::Display;

/// `1 secret`, `2 secrets`. `noun` is the singular; its plural has an `s`.
pub fn count(number: impl TryInto<u64> + Display + Copy, noun: &str) -> String {
    if is_one(number) {
        format!("{number} {noun}")
    } else {
        format!("{number} {noun}s")
    }
}

/// `singular` for one thing, else `plural`: a verb, or a noun with an irregular plural.
pub fn choose<'a>(number: impl TryInto<u64>, singular: &'a str, plural: &'a str) -> &'a str {
    if is_one(number) { singular } else { plural }
}

fn is_one(number: impl TryInto<u64>) -> bool {
    number.try_into().is_ok_and(|number| number == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_thing_is_singular() {
        assert_eq!(count(0_usize, "secret"), "0 secrets");
        assert_eq!(count(1_u64, "secret"), "1 secret");
        assert_eq!(count(2_usize, "secret"), "2 secrets");
        assert_eq!(choose(1_u64, "is", "are"), "is");
    }
}
