"""The two kinds of patterns in a credential's rules."""


def model_matches(pattern, model):
    """Whether `model` matches `pattern`: `*` matches any characters, `?` exactly one,
    nothing else is special. Case-sensitive.
    """
    return matches(pattern, model, "*", lambda p, c: p in ("?", c))


def path_matches(pattern, path):
    """Whether the scope `path` matches `pattern`: `*` matches any characters within a
    segment, `**` as a segment matches any number of segments.
    """
    return matches(pattern.split("/"), path.split("/"), "**", segment_matches)


def segment_matches(pattern, segment):
    return matches(pattern, segment, "*", lambda p, c: p == c)


def matches(pattern, text, any_run, one):
    """Matches `text` against `pattern`. The element `any_run` of the pattern matches
    any elements of the text, any other matches one element by `one`.

    Only the latest run is ever extended, so this takes at most `pattern × text`
    steps and no recursion. A regular expression could take far more.
    """
    p = t = 0
    # Where the pattern continues after the latest run, and where that run ends.
    after_run = None
    run_end = 0
    while p < len(pattern) or t < len(text):
        if p < len(pattern) and pattern[p] == any_run:
            p += 1
            after_run, run_end = p, t
        elif p < len(pattern) and t < len(text) and one(pattern[p], text[t]):
            p += 1
            t += 1
        elif t < len(text) and after_run is not None:
            run_end += 1
            p, t = after_run, run_end
        else:
            return False
    return True
