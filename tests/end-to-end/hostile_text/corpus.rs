//! Texts that control a terminal, forge a line or hide something if printed unchanged.

use entail_text::is_plain;

/// The beginning of each text, to find it in output: letters that occur in no name, key or
/// digest.
pub const MARK: &str = "Жук";

/// What each text does, and the text.
const SPECIMENS: [(&str, &str); 41] = [
    ("returns to the beginning of the line", "\rgranted"),
    ("moves up and clears the line", "\u{1b}[1A\u{1b}[2K"),
    (
        "clears the screen",
        "\u{1b}[2J\u{1b}[H\u{1b}[3J\u{1b}c\u{1b}[?1049h",
    ),
    ("writes the clipboard", "\u{1b}]52;c;cm0gLXJm\u{7}"),
    ("writes the clipboard, by C1", "\u{9d}52;c;cm0gLXJm\u{9c}"),
    ("sets the title", "\u{1b}]0;title\u{1b}\\"),
    (
        "is a link",
        "\u{1b}]8;;http://example.com\u{1b}\\click\u{1b}]8;;\u{1b}\\",
    ),
    ("queries the terminal", "\u{1b}[6n\u{1b}[c\u{1b}P$q\u{1b}\\"),
    ("is red, by C1", "\u{9b}31m\u{9b}2K"),
    (
        "is another C1 control",
        "\u{80}\u{84}\u{8d}\u{90}\u{98}\u{9e}\u{9f}",
    ),
    ("deletes backwards", "\u{8}\u{8}\u{8}\u{7f}"),
    ("is NUL", "\0"),
    ("rings the bell", "\u{7}"),
    ("changes the character set", "\u{e}\u{f}\u{1b}(0"),
    ("stops the output", "\u{13}\u{11}"),
    ("breaks the line", "a\nb"),
    ("breaks the line as Windows does", "a\r\nb"),
    ("breaks the line as mainframes do", "a\u{85}b"),
    ("breaks the line as Unicode does", "a\u{2028}b\u{2029}c"),
    ("breaks the line as printers do", "a\u{b}b\u{c}c"),
    ("is a tab", "a\tb"),
    (
        "reverses the direction",
        "\u{202a}\u{202b}\u{202d}\u{202e}detnarg\u{202c}",
    ),
    (
        "reverses the direction, isolated",
        "\u{2066}\u{2067}\u{2068}detnarg\u{2069}",
    ),
    ("marks a direction", "\u{200e}\u{200f}\u{61c}"),
    ("has no width", "a\u{200b}b\u{200c}c\u{200d}d\u{2060}e"),
    ("is a soft hyphen", "a\u{ad}b"),
    ("is a byte order mark", "\u{feff}a"),
    (
        "consists of tag characters",
        "\u{e0001}\u{e0067}\u{e0072}\u{e007f}",
    ),
    ("selects a variation", "a\u{fe0f}b\u{fe00}c\u{e0100}d"),
    ("is a Hangul filler", "\u{115f}\u{1160}\u{3164}\u{ffa0}"),
    ("is an invisible letter", "\u{17b4}\u{17b5}\u{180e}\u{34f}"),
    ("is a noncharacter", "\u{fdd0}\u{fffe}\u{ffff}\u{10ffff}"),
    ("is for private use", "\u{e000}\u{f8ff}\u{f0000}\u{10fffd}"),
    ("is not assigned", "\u{378}\u{e01f0}"),
    ("is another space", "\u{a0}\u{2003}\u{202f}\u{205f}\u{3000}"),
    ("annotates", "\u{fff9}a\u{fffa}b\u{fffb}"),
    (
        "imitates a success",
        "\u{1b}[32mgranted\u{1b}[0m: default of acme",
    ),
    ("ends a style", "\u{1b}[0m\u{1b}[m"),
    ("hides what comes after", "\u{1b}[8m\u{1b}[30;40m"),
    (
        "imitates lines of the program",
        "\ngranted: default of acme\nerror: nothing\n✓ all is well\n  try: entail dev\n{\"error\": 1}\n",
    ),
    (
        "imitates a line of each stream",
        "\r\n\u{1b}[31merror\u{1b}[0m: tampered\r\n\u{1b}[2mtry:\u{1b}[0m entail dev",
    ),
];

/// How a text is hostile.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// Short enough to be shown where longer texts are left out.
    Short,
    /// All specimens together.
    Everything,
    /// All specimens, repeated up to 100,000 bytes.
    Long,
}

impl Kind {
    pub const ALL: [Kind; 3] = [Kind::Short, Kind::Everything, Kind::Long];

    pub fn text(self) -> String {
        let everything = || {
            let specimens = SPECIMENS.iter().map(|(_, specimen)| *specimen);
            specimens.collect::<Vec<_>>().join(" ")
        };
        match self {
            Kind::Short => format!("{MARK}\n\r\u{1b}[K\u{9b}\u{202e}\u{2028}\u{7f}"),
            Kind::Everything => format!("{MARK} {}", everything()),
            Kind::Long => {
                let everything = everything();
                let times = 100_000 / everything.len();
                format!("{MARK}{}", everything.repeat(times))
            }
        }
    }
}

/// A text with the same number of characters, all of them plain.
pub fn harmless(text: &str) -> String {
    let plain = |character| match is_plain(character) {
        true => character,
        false => 'x',
    };
    text.chars().map(plain).collect()
}

/// The part of a text that can be the name of a file.
pub fn file_name(text: &str) -> String {
    /// The limit of the system is 255, and callers add prefixes and suffixes.
    const MOST_BYTES: usize = 180;

    let mut name = String::new();
    for character in text.chars().filter(|c| !matches!(c, '/' | '\0')) {
        if name.len() + character.len_utf8() > MOST_BYTES {
            break;
        }
        name.push(character);
    }
    name
}

#[test]
fn each_hostile_text_contains_hostile_characters() {
    for (what, specimen) in SPECIMENS {
        assert!(!specimen.chars().all(is_plain), "{what}");
    }
    for kind in Kind::ALL {
        let text = kind.text();
        assert!(text.starts_with(MARK));
        assert_eq!(harmless(&text).chars().count(), text.chars().count());
        assert!(harmless(&text).chars().all(is_plain));
    }
    assert!(Kind::Short.text().len() <= 20);
    assert!(Kind::Long.text().len() > 90_000);
}
