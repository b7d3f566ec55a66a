//! The one type that holds secret bytes.

use zeroize::Zeroizing;

/// Secret bytes. They are overwritten on drop; the type implements neither
/// `Debug`, `Display` nor `Serialize`, so they cannot end up in a log or an
/// error by accident. A clone is a second copy, equally guarded.
#[derive(Clone)]
#[allow(missing_debug_implementations)] // on purpose
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// Takes over `bytes`.
    pub fn new(bytes: Vec<u8>) -> Self {
        Secret(Zeroizing::new(bytes))
    }

    /// The bytes. Whoever calls this answers for where they go.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// The bytes as text, if they are UTF-8. Whoever calls this answers for
    /// where it goes.
    pub fn expose_text(&self) -> Option<&str> {
        std::str::from_utf8(&self.0).ok()
    }

    /// How many bytes there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Secret::new(text.as_bytes().to_vec())
    }
}

/// Takes over the text's bytes.
impl From<String> for Secret {
    fn from(text: String) -> Self {
        Secret::new(text.into_bytes())
    }
}

impl Secret {
    /// Reads everything from `source` into a secret of at most `limit` bytes,
    /// such that no copy of it stays behind in a buffer that had to grow.
    /// `None` if there is more.
    ///
    /// # Errors
    ///
    /// When `source` cannot be read.
    pub fn read(source: &mut dyn std::io::Read, limit: usize) -> std::io::Result<Option<Self>> {
        let mut buffer = Zeroizing::new(vec![0; limit + 1]);
        let mut filled = 0;
        loop {
            let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) else {
                return Ok(None);
            };
            match source.read(rest) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        // Shortened, not reallocated; what lies beyond was never written.
        buffer.truncate(filled);
        Ok(Some(Secret(buffer)))
    }

    /// Reads a file of at most `limit` bytes. `None` if there is more.
    ///
    /// # Errors
    ///
    /// When the file cannot be read.
    pub fn read_file(file: &std::path::Path, limit: usize) -> std::io::Result<Option<Self>> {
        Self::read(&mut std::fs::File::open(file)?, limit)
    }
}
