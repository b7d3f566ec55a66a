//! Properties of a credential in words.

use entail::now_ms;

use crate::output::Style;
use entail_api::credential::Credential;
use entail_api::decision::Sharing;

/// The state: `enabled`, `disabled`, `expired`, `mandatory`.
pub fn state(credential: &Credential) -> (String, Style) {
    let is_expired = credential.expires_at_ms.is_some_and(|end| end <= now_ms());
    let (state, style) = if !credential.enabled {
        ("disabled", Style::Warn)
    } else if is_expired {
        ("expired", Style::Bad)
    } else if credential.mandatory {
        ("mandatory", Style::Good)
    } else {
        ("enabled", Style::Good)
    };
    if credential.unsafe_http {
        (format!("{state}, unsafe HTTP"), Style::Warn)
    } else {
        (state.to_owned(), style)
    }
}

/// The scopes that it is shared with.
pub fn sharing(sharing: &Sharing) -> String {
    match sharing {
        Sharing::All => "all below".to_owned(),
        Sharing::None => "nobody".to_owned(),
        Sharing::Paths(paths) => paths.join(","),
    }
}

/// The models that it may be used for.
pub fn models(models: Option<&[String]>) -> String {
    match models {
        None => "all".to_owned(),
        Some([]) => "none".to_owned(),
        Some(patterns) => patterns.join(","),
    }
}
