//! Types as text in WIT syntax.

use wit_parser::{Resolve, Type, TypeDefKind};

/// The most characters of a type in a message.
const MAX_TYPE_CHARACTERS: usize = 80;

/// The text for a missing type, field or function.
pub(super) const NOTHING: &str = "nothing";

/// Returns a type in WIT syntax; `a case` for a case without one.
pub(super) fn type_text(resolve: &Resolve, type_: Option<&Type>) -> String {
    let Some(type_) = type_ else {
        return "a case".to_owned();
    };
    let of = |inner: &Type| type_text(resolve, Some(inner));
    let id = match type_ {
        Type::Bool => return "bool".to_owned(),
        Type::U8 => return "u8".to_owned(),
        Type::U16 => return "u16".to_owned(),
        Type::U32 => return "u32".to_owned(),
        Type::U64 => return "u64".to_owned(),
        Type::S8 => return "s8".to_owned(),
        Type::S16 => return "s16".to_owned(),
        Type::S32 => return "s32".to_owned(),
        Type::S64 => return "s64".to_owned(),
        Type::F32 => return "f32".to_owned(),
        Type::F64 => return "f64".to_owned(),
        Type::Char => return "char".to_owned(),
        Type::String => return "string".to_owned(),
        Type::ErrorContext => return "error-context".to_owned(),
        Type::Id(id) => id,
    };
    let Some(definition) = resolve.types.get(*id) else {
        return NOTHING.to_owned();
    };
    let or_underscore = |side: Option<&Type>| side.map_or_else(|| "_".to_owned(), of);
    match (&definition.name, &definition.kind) {
        (Some(name), TypeDefKind::Type(_)) => name.clone(),
        (Some(name), kind) => format!("{} {name}", kind.as_str()),
        (None, TypeDefKind::Type(target)) => of(target),
        (None, TypeDefKind::List(item)) => format!("list<{}>", of(item)),
        (None, TypeDefKind::Option(value)) => format!("option<{}>", of(value)),
        (None, TypeDefKind::Tuple(tuple)) => {
            let parts: Vec<String> = tuple.types.iter().map(of).collect();
            format!("tuple<{}>", parts.join(", "))
        }
        (None, TypeDefKind::Result(result)) => match (&result.ok, &result.err) {
            (None, None) => "result".to_owned(),
            (Some(value), None) => format!("result<{}>", of(value)),
            (value, error) => format!(
                "result<{}, {}>",
                or_underscore(value.as_ref()),
                or_underscore(error.as_ref())
            ),
        },
        (None, kind) => kind.as_str().to_owned(),
    }
}

pub(super) fn shorten(text: &str) -> String {
    match text.char_indices().nth(MAX_TYPE_CHARACTERS) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}
