//! The two kinds of patterns in a credential's rules.

/// Whether `model` matches `pattern`: `*` matches any characters, `?` exactly one,
/// nothing else is special. Case-sensitive.
pub fn model_matches(pattern: &str, model: &str) -> bool {
    matches(
        pattern.chars(),
        model.chars(),
        |p| p == '*',
        |p, c| p == '?' || p == c,
    )
}

/// Whether the scope `path` matches `pattern`: `*` matches any characters within a
/// segment, `**` as a segment matches any number of segments.
pub fn path_matches(pattern: &str, path: &str) -> bool {
    matches(
        pattern.split('/'),
        path.split('/'),
        |p| p == "**",
        segment_matches,
    )
}

fn segment_matches(pattern: &str, segment: &str) -> bool {
    matches(
        pattern.chars(),
        segment.chars(),
        |p| p == '*',
        |p, c| p == c,
    )
}

/// Matches `text` against `pattern`. An element of the pattern for which `any_run` is
/// true matches any elements of the text, any other matches one element by `one`.
///
/// Only the latest run is ever extended, so this takes at most `pattern × text` steps
/// and no recursion.
fn matches<P: Copy, T: Copy>(
    mut pattern: impl Iterator<Item = P> + Clone,
    mut text: impl Iterator<Item = T> + Clone,
    any_run: impl Fn(P) -> bool,
    one: impl Fn(P, T) -> bool,
) -> bool {
    // The pattern after the latest run, and the text that this run may still match.
    let mut latest_run = None;
    loop {
        let rest = text.clone();
        match (pattern.next(), text.next()) {
            (Some(p), _) if any_run(p) => {
                text = rest.clone();
                latest_run = Some((pattern.clone(), rest));
            }
            (Some(p), Some(t)) if one(p, t) => {}
            (None, None) => return true,
            (Some(_), None) => return false,
            (_, Some(_)) => {
                let Some((after_run, untaken)) = &mut latest_run else {
                    return false;
                };
                untaken.next();
                pattern = after_run.clone();
                text = untaken.clone();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_pattern_knows_star_and_question_mark_only() {
        for (pattern, model, expected) in [
            ("gpt-5", "gpt-5", true),
            ("gpt-5", "gpt-5-mini", false),
            ("gpt-*", "gpt-5-mini", true),
            ("*", "", true),
            ("*", "anything", true),
            ("", "", true),
            ("", "x", false),
            ("?", "é", true),
            ("?", "", false),
            ("gpt-?", "gpt-5", true),
            ("gpt-?", "gpt-", false),
            ("GPT-5", "gpt-5", false),
            ("[g]pt", "gpt", false),
            ("a*b*c", "a1b2b3c", true),
            ("a*b*c", "a1b2b3", false),
            ("*-mini", "gpt-5-mini", true),
            ("*-mini", "gpt-5-mini-2", false),
            ("**", "x/y", true),
            ("a?*", "a", false),
        ] {
            assert_eq!(
                model_matches(pattern, model),
                expected,
                "{pattern} ~ {model}"
            );
        }
    }

    #[test]
    fn a_path_pattern_keeps_a_star_within_its_segment() {
        for (pattern, path, expected) in [
            ("acme/evals", "acme/evals", true),
            ("acme/*", "acme/evals", true),
            ("acme/*", "acme/evals/staging", false),
            ("acme/*", "acme", false),
            ("acme/**", "acme", true),
            ("acme/**", "acme/evals/staging", true),
            ("acme/**/prod", "acme/prod", true),
            ("acme/**/prod", "acme/a/b/prod", true),
            ("acme/**/prod", "acme/a/b/dev", false),
            ("acme/team-*/prod", "acme/team-a/prod", true),
            ("acme/te?m", "acme/team", false),
            ("acme/a**", "acme/abc", true),
            ("acme/a**", "acme/abc/d", false),
            ("**", "acme/evals", true),
            ("**/**", "acme", true),
        ] {
            assert_eq!(path_matches(pattern, path), expected, "{pattern} ~ {path}");
        }
    }
}
