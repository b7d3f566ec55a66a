//! Commands to suggest.

/// A command to suggest, with the options of the one that was given.
pub struct CommandLine {
    words: Vec<String>,
}

impl CommandLine {
    /// `entail` and the command.
    pub fn new(command: &str) -> Self {
        CommandLine {
            words: vec!["entail".to_owned(), command.to_owned()],
        }
    }

    /// Appends words.
    pub fn extend(&mut self, words: &[impl AsRef<str>]) {
        self.words
            .extend(words.iter().map(|word| shell_word(word.as_ref())));
    }

    /// Appends an option, if it has a value.
    pub fn option(&mut self, name: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.extend(&[name, value]);
        }
    }

    /// Appends short attributes. A long one may be a key in the wrong place.
    pub fn attributes(&mut self, attributes: &[String]) {
        const MAX_CHARS: usize = 20;

        for attribute in attributes {
            let shown = match attribute.split_once('=') {
                Some((name, value)) if name.len().max(value.len()) <= MAX_CHARS => attribute,
                _ => "NAME=VALUE",
            };
            self.option("--attribute", Some(shown));
        }
    }

    /// The command as one line.
    pub fn text(&self) -> String {
        self.words.join(" ")
    }
}

/// Quotes a word for a shell if it has to be.
pub fn shell_word(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@%+,".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// The option ` --name NAME`; empty for the default name.
pub fn name_option(name: &str) -> String {
    match name {
        "default" => String::new(),
        name => format!(" --name {name}"),
    }
}

/// The words of a command after `--`: its program and arguments if they are few and short,
/// because an argument may be a secret.
pub fn command_tail(command: &[std::ffi::OsString]) -> Vec<String> {
    const MAX_WORDS: usize = 4;
    const MAX_CHARS: usize = 20;

    let mut tail = vec!["--".to_owned()];
    let short = |word: &std::ffi::OsString| {
        let text = word.to_str()?;
        (text.chars().count() <= MAX_CHARS).then(|| text.to_owned())
    };
    let words: Option<Vec<String>> = command.iter().map(short).collect();
    match words.filter(|words| words.len() <= MAX_WORDS) {
        Some(words) => tail.extend(words),
        None => tail.push("COMMAND".to_owned()),
    }
    tail
}
