//! The toolchain that made a component.

/// The toolchain that made a component.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Toolchain {
    Rust,
    JavaScript,
    Python,
    Unknown,
}

impl Toolchain {
    /// Detects the toolchain by the names that tools leave in their output. rustc comes
    /// last: the runtimes of the other languages are partly written in Rust.
    pub(super) fn detect(component: &[u8]) -> Self {
        const MARKS: [(&str, Toolchain); 5] = [
            ("componentize-qjs", Toolchain::JavaScript),
            ("ComponentizeJS", Toolchain::JavaScript),
            ("StarlingMonkey", Toolchain::JavaScript),
            ("componentize_py", Toolchain::Python),
            ("rustc", Toolchain::Rust),
        ];
        let contains = |text: &str| {
            component
                .windows(text.len())
                .any(|window| window == text.as_bytes())
        };
        MARKS
            .into_iter()
            .find(|(text, _)| contains(text))
            .map_or(Toolchain::Unknown, |(_, toolchain)| toolchain)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_component_shows_its_toolchain() {
        let detect = |text: &str| Toolchain::detect(format!("\0{text}\0").as_bytes());
        assert_eq!(detect("libcomponentize_py_runtime.so"), Toolchain::Python);
        assert_eq!(
            detect("componentize-qjs:user.js rustc"),
            Toolchain::JavaScript
        );
        assert_eq!(detect("rustc"), Toolchain::Rust);
        assert_eq!(detect("tinygo"), Toolchain::Unknown);
    }
}
