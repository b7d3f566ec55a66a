// The two kinds of pattern in a credential's rules.

/**
 * Whether `model` matches `pattern`: `*` is any run of characters, `?` exactly
 * one, nothing else is special, case counts.
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
 * Whether the scope `path` matches `pattern`: `*` is any run of characters within
 * a segment, `**` as a segment any number of segments.
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
 * Matches `text` against `pattern`, where an element of the pattern stands for any
 * run of the text if `anyRun` says so, else for one element by `one`.
 *
 * Only the latest run is ever widened, so this takes at most `pattern × text` steps
 * and no recursion. A regular expression could take far more.
 */
function matches(pattern, text, anyRun, one) {
  let p = 0;
  let t = 0;
  // Where the pattern goes on after the latest run, and where that run ends.
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
