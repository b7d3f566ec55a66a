// The two kinds of patterns in a credential's rules.

/**
 * Whether `model` matches `pattern`: `*` matches any characters, `?` exactly one,
 * nothing else is special. Case-sensitive.
 */
export function modelMatches(pattern, model) {
  return matches(
    [...pattern],
    [...model],
    (p) => p === "*",
    (p, c) => p === "?" || p === c,
  );
}

/**
 * Whether the scope `path` matches `pattern`: `*` matches any characters within a
 * segment, `**` as a segment matches any number of segments.
 */
export function pathMatches(pattern, path) {
  return matches(pattern.split("/"), path.split("/"), (p) => p === "**", segmentMatches);
}

function segmentMatches(pattern, segment) {
  return matches(
    [...pattern],
    [...segment],
    (p) => p === "*",
    (p, c) => p === c,
  );
}

/**
 * Matches `text` against `pattern`. An element of the pattern for which `anyRun` is
 * true matches any elements of the text, any other matches one element by `one`.
 *
 * Only the latest run is ever extended, so this takes at most `pattern × text` steps
 * and no recursion. A regular expression could take far more.
 */
function matches(pattern, text, anyRun, one) {
  let p = 0;
  let t = 0;
  // Where the pattern continues after the latest run, and where that run ends.
  let afterRun = null;
  let runEnd = 0;
  while (p < pattern.length || t < text.length) {
    if (p < pattern.length && anyRun(pattern[p])) {
      p += 1;
      afterRun = p;
      runEnd = t;
    } else if (p < pattern.length && t < text.length && one(pattern[p], text[t])) {
      p += 1;
      t += 1;
    } else if (t < text.length && afterRun !== null) {
      runEnd += 1;
      p = afterRun;
      t = runEnd;
    } else {
      return false;
    }
  }
  return true;
}
