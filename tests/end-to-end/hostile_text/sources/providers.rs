//! The provider file of the home.

use super::toml;
use crate::hostile_text::{Source, check_source, row};

sources! {
    the_texts_of_a_provider: "the texts of a provider", |world| {
        world.truncate(4_000);
        let words = toml(&world.text);
        world.in_home("providers.toml", &provider(&Words { shown: &words, ..Words::default() }));
        world.input = b"canary-of-nobody-0000".to_vec();
    }, [
        row(0, "providers").exact(),
        row(0, "providers local").exact(),
        row(0, "credential set acme local --stdin --grace 0").hidden(),
        row(0, "credential show acme local").hidden(),
        row(0, "credential rotate acme local").hidden(),
        row(19, "credential set acme local --mode nothing").hidden(),
        row(19, "credential set acme local --param note=").hidden(),
        row(0, "status").hidden(),
        row(0, "resolve acme local").hidden(),
        row(0, "export-env acme --provider local").hidden(),
    ];

    modes_of_a_provider: "the names of a provider's modes and fields", |world| {
        world.truncate(4_000);
        let names = toml(&world.text);
        world.in_home("providers.toml", &provider(&Words { names: &names, ..Words::default() }));
    }, [
        row(19, "providers local"),
        row(19, "credential set acme local"),
        row(19, "resolve acme local"),
    ];

    a_duplicate_field_of_a_provider: "a duplicate field of a provider", |world| {
        let name = toml(&world.text);
        let text = provider(&Words::default()) + &field(&name) + &field(&name);
        world.in_home("providers.toml", &text);
    }, [
        row(19, "providers"),
        row(19, "status"),
        row(19, "doctor"),
        row(19, "resolve acme openai"),
    ];

    a_variable_of_a_provider: "the variable of a provider", |world| {
        let variables = toml(&world.text);
        let text = provider(&Words { variables: &variables, ..Words::default() });
        world.in_home("providers.toml", &text);
    }, [
        row(19, "providers"),
        row(19, "run acme -- true"),
    ];

    the_id_of_a_provider: "the id of a provider", |world| {
        let id = toml(&world.text);
        world.in_home("providers.toml", &provider(&Words { id: &id, ..Words::default() }));
    }, [
        row(19, "providers"),
        row(19, "status"),
    ];

    the_base_url_of_a_provider: "the base URL of a provider", |world| {
        let url = toml(&world.text);
        world.in_home("providers.toml", &provider(&Words { url: &url, ..Words::default() }));
    }, [
        row(19, "providers"),
        row(19, "status"),
    ];

    a_member_of_a_provider: "a member of providers.toml", |world| {
        let text = format!("{} = 1\n", toml(&world.text));
        world.in_home("providers.toml", &text);
    }, [
        row(19, "providers"),
        row(19, "status"),
        row(19, "doctor"),
    ];
}

/// The foreign parts of a provider, as TOML.
struct Words<'a> {
    id: &'a str,
    url: &'a str,
    /// Texts for people.
    shown: &'a str,
    /// The names of its mode and of a field.
    names: &'a str,
    variables: &'a str,
}

impl Default for Words<'_> {
    fn default() -> Self {
        Words {
            id: "\"local\"",
            url: "\"https://llm.example.com\"",
            shown: "\"Local\"",
            names: "\"key\"",
            variables: "\"LOCAL_API_KEY\"",
        }
    }
}

fn provider(words: &Words<'_>) -> String {
    let Words {
        id,
        url,
        shown,
        names,
        variables,
    } = words;
    format!(
        r#"
        [[provider]]
        id = {id}
        name = {shown}
        kind = "gateway"
        docs = {shown}
        base-url = {url}
        hosts = ["llm.example.com"]
        [[provider.mode]]
        name = {names}
        label = {shown}
        required = ["api_key"]
        optional = [{names}]
        authentication = {{ headers = {{ Authorization = "Bearer {{api_key}}" }} }}
        [[provider.field]]
        name = "api_key"
        label = {shown}
        secret = true
        environment = [{variables}]
        hint = {shown}
        [[provider.field]]
        name = {names}
        label = {shown}
        default = {shown}
        hint = {shown}
        "#
    )
}

fn field(name: &str) -> String {
    format!("\n[[provider.field]]\nname = {name}\nlabel = \"Field\"\n")
}
