//! Generates facts: every small configuration, by number, and random trees, by seed.

use std::collections::BTreeMap;

use entail_policy::{CredentialFacts, Facts, Inheritance, RequestFacts, ScopeFacts, Sharing};

/// The time of every generated request.
const NOW_MS: u64 = 1_767_225_600_000;

/// The number of small configurations: 4,988,206.
///
/// Each has 1 to 3 scopes; each scope but the last every [`Inheritance`]; each
/// scope 0 to 2 credentials; each credential is usable or not, mandatory or not
/// and, except on the requesting scope, shared with it or not. Symmetry makes other
/// configurations redundant:
///
/// - For a request that names no credential, names do not matter, so a scope with
///   one credential calls it `a`. Other requests name `a`, and a scope may hold
///   `a`, `b`, both or neither.
/// - The sharing of the requesting scope's own credentials does not affect the
///   request, so they are always shared.
/// - Sharing has two forms, `all` and patterns that match; so has not sharing,
///   `none` and patterns that do not match. The forms alternate over scopes and
///   names. Every configuration occurs once with each of the two alternations, not
///   with each mixture.
/// - The reason why a credential is unusable depends on its scope and its name,
///   not on the configuration. The reasons differ, except for one of the six, so
///   that the code of a refusal identifies the credential.
/// - On the middle one of three scopes, and the last of two, `b` precedes `a` by
///   its priority; elsewhere the names decide.
pub fn count() -> u64 {
    shapes().iter().map(Shape::count).sum()
}

/// Returns the small configuration with this number.
///
/// # Panics
///
/// If `index` is not below [`count`].
pub fn nth(index: u64) -> Facts {
    let mut index = index;
    for shape in shapes() {
        if index < shape.count() {
            return shape.nth(index);
        }
        index -= shape.count();
    }
    panic!("there are only {} small configurations", count());
}

/// The common properties of the configurations in one range of numbers.
struct Shape {
    scopes: u64,
    names_credential: bool,
}

fn shapes() -> Vec<Shape> {
    let mut shapes = Vec::new();
    for scopes in 1..=3 {
        for names_credential in [false, true] {
            shapes.push(Shape {
                scopes,
                names_credential,
            });
        }
    }
    shapes
}

const INHERITANCES: [Inheritance; 3] = [
    Inheritance::Isolated,
    Inheritance::Inherit,
    Inheritance::FallBack,
];

/// The properties of a credential of the requesting scope: usable, mandatory.
const OWN_KINDS: u64 = 4;

/// The properties of any other credential: usable, mandatory, shared.
const ANCESTOR_KINDS: u64 = 8;

impl Shape {
    fn count(&self) -> u64 {
        let inheritances = 3_u64.pow(u32::try_from(self.scopes - 1).expect("few scopes"));
        (0..self.scopes)
            .map(|level| self.holdings(level))
            .product::<u64>()
            * inheritances
            * self.alternations()
    }

    /// The number of alternations of the forms of sharing.
    fn alternations(&self) -> u64 {
        if self.scopes == 1 { 1 } else { 2 }
    }

    /// The number of ways in which a scope can hold credentials.
    fn holdings(&self, level: u64) -> u64 {
        let kinds = kinds(level);
        let single = if self.names_credential {
            2 * kinds
        } else {
            kinds
        };
        1 + single + kinds * kinds
    }

    fn nth(&self, index: u64) -> Facts {
        let mut digits = Digits(index);
        let alternation = digits.next(self.alternations());
        let chain = (0..self.scopes)
            .map(|level| {
                let is_organization = level + 1 == self.scopes;
                let inheritance = if is_organization { 0 } else { digits.next(3) };
                ScopeFacts {
                    path: path(self.scopes - level),
                    inheritance: INHERITANCES[usize::try_from(inheritance).expect("below 3")],
                    default_model: None,
                    credentials: self.credentials(
                        level,
                        digits.next(self.holdings(level)),
                        alternation,
                    ),
                    attributes: BTreeMap::new(),
                }
            })
            .collect();
        Facts {
            request: RequestFacts {
                provider: "openai".to_owned(),
                model: None,
                credential: self.names_credential.then(|| "a".to_owned()),
                principal: String::new(),
                now_ms: NOW_MS,
                attributes: BTreeMap::new(),
            },
            chain,
        }
    }

    fn credentials(&self, level: u64, holding: u64, alternation: u64) -> Vec<CredentialFacts> {
        let kinds = kinds(level);
        let a = |kind| credential(level, 0, kind, alternation);
        let b = |kind| credential(level, 1, kind, alternation);
        let mut holding = holding;
        if holding == 0 {
            return Vec::new();
        }
        holding -= 1;
        if holding < kinds {
            return vec![a(holding)];
        }
        holding -= kinds;
        if self.names_credential {
            if holding < kinds {
                return vec![b(holding)];
            }
            holding -= kinds;
        }
        // In reverse order of the names: the policy must sort them itself.
        vec![b(holding / kinds), a(holding % kinds)]
    }
}

fn kinds(level: u64) -> u64 {
    if level == 0 {
        OWN_KINDS
    } else {
        ANCESTOR_KINDS
    }
}

/// The path of a scope with this number of segments.
fn path(depth: u64) -> String {
    let segments = ["acme", "evals", "staging"];
    segments[..usize::try_from(depth).expect("few segments")].join("/")
}

fn credential(level: u64, name: u64, kind: u64, alternation: u64) -> CredentialFacts {
    let mut digits = Digits(kind);
    let usable = digits.next(2) == 0;
    let mandatory = digits.next(2) == 1;
    let shared = digits.next(2) == 0;
    let by_pattern = (level + name + alternation) % 2 == 1;
    let letter = if name == 0 { "a" } else { "b" };
    let mut credential = CredentialFacts {
        id: format!("{letter}{level}"),
        name: letter.to_owned(),
        enabled: true,
        readable: true,
        expires_at_ms: None,
        models: None,
        sharing: match (shared, by_pattern) {
            (true, false) => Sharing::All,
            (false, false) => Sharing::None,
            // The requesting scope is `acme/evals` or `acme/evals/staging`.
            (true, true) => Sharing::Paths(vec!["acme/ev*/**".to_owned()]),
            (false, true) => Sharing::Paths(vec!["acme".to_owned(), "acme/*/prod".to_owned()]),
        },
        mandatory,
        priority: u32::from(level == 1 && name == 0),
        attributes: BTreeMap::new(),
    };
    if !usable {
        match (2 * level + name) % 5 {
            0 => credential.enabled = false,
            1 => credential.readable = false,
            2 => credential.expires_at_ms = Some(NOW_MS),
            3 => credential.models = Some(vec!["*".to_owned()]),
            _ => credential.models = Some(Vec::new()),
        }
    }
    credential
}

/// Splits a number into digits, each with a separate base.
struct Digits(u64);

impl Digits {
    fn next(&mut self, base: u64) -> u64 {
        let digit = self.0 % base;
        self.0 /= base;
        digit
    }
}

/// A random tree: 1 to 8 scopes with 0 to 4 credentials each. Everything that a rule reads
/// varies, more often near a boundary than far from it. The same seed gives the same facts.
pub fn random(seed: u64) -> Facts {
    let mut random = Random(fastrand::Rng::with_seed(seed));
    let depth = random.0.usize(1..=8);
    let segments: Vec<&str> = (0..depth).map(|_| random.one_of(&SEGMENTS)).collect();
    let mut ids = random.ids(depth * MAX_CREDENTIALS);
    let chain = (0..depth)
        .map(|level| ScopeFacts {
            path: segments[..depth - level].join("/"),
            inheritance: random.inheritance(),
            default_model: random
                .sometimes(5)
                .then(|| random.one_of(&MODELS).to_owned()),
            credentials: random.credentials(&segments, &mut ids),
            attributes: random.attributes(),
        })
        .collect();
    Facts {
        request: RequestFacts {
            provider: random.one_of(&["openai", "bedrock"]).to_owned(),
            model: random
                .sometimes(2)
                .then(|| random.one_of(&MODELS).to_owned()),
            credential: random
                .sometimes(4)
                .then(|| random.one_of(&NAMES).to_owned()),
            principal: random.one_of(&["", "local:owner"]).to_owned(),
            now_ms: NOW_MS,
            attributes: random.attributes(),
        },
        chain,
    }
}

const MAX_CREDENTIALS: usize = 4;

/// Few segments, so that patterns match them and a path repeats a segment.
const SEGMENTS: [&str; 6] = ["acme", "evals", "eval", "a", "team-1", "team-2"];

/// Names with prefixes of each other, digits and a hyphen, for which text orders differ.
const NAMES: [&str; 6] = ["default", "a", "a-b", "a0", "9", "10"];

const MODELS: [&str; 7] = [
    "gpt-4o",
    "gpt-4o-mini",
    "GPT-4o",
    "o3",
    "o\u{301}3",
    "meta/llama-3",
    "claude.3[x]",
];

const MODEL_PATTERNS: [&str; 16] = [
    "*",
    "?",
    "??",
    "o?",
    "o?3",
    "gpt-*",
    "gpt-4o",
    "*-mini",
    "g*4*o",
    "*4*",
    "**a*",
    "meta/*",
    "claude?3[?]",
    "claude.3[x]",
    "",
    "gpt-4o?*",
];

struct Random(fastrand::Rng);

impl Random {
    fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        self.0
            .choice(choices.iter().copied())
            .expect("there are choices")
    }

    /// True once in `times` calls on average.
    fn sometimes(&mut self, times: u32) -> bool {
        self.0.u32(0..times) == 0
    }

    /// Ids that do not reveal the order of the credentials.
    fn ids(&mut self, count: usize) -> Vec<String> {
        let mut ids: Vec<String> = (0..count).map(|number| format!("id-{number}")).collect();
        self.0.shuffle(&mut ids);
        ids
    }

    /// Rarely isolated: otherwise little would be reachable in a deep tree.
    fn inheritance(&mut self) -> Inheritance {
        match self.0.u32(0..8) {
            0 => Inheritance::Isolated,
            1..=3 => Inheritance::Inherit,
            _ => Inheritance::FallBack,
        }
    }

    fn credentials(&mut self, segments: &[&str], ids: &mut Vec<String>) -> Vec<CredentialFacts> {
        let mut names = NAMES;
        self.0.shuffle(&mut names);
        let count = self.0.usize(0..=MAX_CREDENTIALS);
        names[..count]
            .iter()
            .map(|name| CredentialFacts {
                id: ids.pop().expect("an id for each"),
                name: (*name).to_owned(),
                enabled: !self.sometimes(6),
                readable: !self.sometimes(6),
                expires_at_ms: self.expiry(),
                models: self.models(),
                sharing: self.sharing(segments),
                mandatory: self.sometimes(10),
                priority: self.one_of(&[0, 0, 0, 1, 1, 2, 10, u32::MAX]),
                attributes: self.attributes(),
            })
            .collect()
    }

    fn expiry(&mut self) -> Option<u64> {
        let times = [0, NOW_MS - 1, NOW_MS, NOW_MS + 1, NOW_MS + 1, u64::MAX];
        self.sometimes(2).then(|| self.one_of(&times))
    }

    fn models(&mut self) -> Option<Vec<String>> {
        self.sometimes(2).then(|| {
            let listed = self.0.usize(0..=3);
            (0..listed)
                .map(|_| self.one_of(&MODEL_PATTERNS).to_owned())
                .collect()
        })
    }

    fn sharing(&mut self, segments: &[&str]) -> Sharing {
        match self.0.u32(0..8) {
            0..=3 => Sharing::All,
            4 => Sharing::None,
            _ => {
                let listed = self.0.usize(0..=3);
                Sharing::Paths((0..listed).map(|_| self.path_pattern(segments)).collect())
            }
        }
    }

    /// A pattern from the path of the requesting scope, in which each segment is kept,
    /// replaced by a wildcard, changed or omitted, or to which one is added.
    fn path_pattern(&mut self, segments: &[&str]) -> String {
        let mut pattern = Vec::new();
        for segment in segments {
            let (first, rest) = segment.split_at(1);
            match self.0.u32(0..24) {
                0..=9 => pattern.push((*segment).to_owned()),
                10..=12 => pattern.push("*".to_owned()),
                13..=15 => pattern.push("**".to_owned()),
                16 => pattern.push(format!("{first}*")),
                17 => pattern.push(format!("*{rest}")),
                18 => pattern.push(format!("{first}**")),
                19 => pattern.push(format!("{segment}*")),
                20 => pattern.push(format!("?{rest}")),
                21 => pattern.push(self.one_of(&["", "A*", "team-*"]).to_owned()),
                22 => {}
                _ => {
                    pattern.push((*segment).to_owned());
                    pattern.push(self.one_of(&["**", "*", "x"]).to_owned());
                }
            }
        }
        pattern.join("/")
    }

    /// Attributes, which the default policy must ignore.
    fn attributes(&mut self) -> BTreeMap<String, String> {
        if self.sometimes(6) {
            [("region".to_owned(), self.one_of(&["eu", "us"]).to_owned())].into()
        } else {
            BTreeMap::new()
        }
    }
}
