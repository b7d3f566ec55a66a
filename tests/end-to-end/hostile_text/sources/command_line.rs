//! Arguments, environment variables and standard input.

use crate::hostile_text::corpus::file_name;
use crate::hostile_text::{Source, check_source, failing, row};

sources! {
    arguments: "an argument", |_| {}, [
        row(2, "{text}"),
        row(2, "--{text}"),
        row(2, "-{text}").hidden(),
        row(2, "status {text}"),
        row(2, "status acme {text}"),
        row(2, "status --{text}"),
        row(2, "init {text}"),
        row(2, "help {text}"),
        row(2, "use {text}"),
        row(1, "import {text} --dry-run"),
        row(2, "import --org {text}"),
        row(2, "import --provider {text}"),
        row(2, "project {text}"),
        row(2, "project add {text}"),
        row(2, "project list {text}"),
        row(2, "project remove {text}"),
        row(2, "credential {text}"),
        row(2, "credential set {text} openai"),
        row(2, "credential set acme {text}"),
        row(2, "credential set acme openai --name {text}"),
        row(2, "credential set acme openai --priority {text}"),
        row(19, "credential set acme openai --keep-secret --models {text}"),
        row(19, "credential set acme openai --keep-secret --share {text}"),
        row(19, "credential set acme openai --keep-secret --expires {text}"),
        row(19, "credential set acme openai --mode {text}"),
        row(19, "credential set acme openai --param {text}").hidden(),
        row(19, "credential set acme openai --keep-secret --param {text}=1"),
        row(19, "credential set acme openai --keep-secret --param base_url={text}").hidden(),
        row(19, "credential set acme openai --from-env {text}"),
        row(19, "credential set acme openai --from-env {text}=X"),
        failing("credential set acme openai --from-file {text}"),
        row(19, "credential rotate acme openai --from-env X --grace {text}").hidden(),
        row(19, "credential rollback acme openai --grace {text}"),
        row(2, "credential rotate {text} openai"),
        row(2, "credential rollback acme {text}"),
        row(2, "credential list {text}"),
        row(2, "credential show {text} openai"),
        row(2, "credential disable acme {text}"),
        row(2, "credential enable acme openai --name {text}"),
        row(2, "credential remove acme {text}"),
        row(19, "credential remove acme openai --grace {text}"),
        row(2, "credential restore acme {text}"),
        row(2, "inherit {text}"),
        row(2, "inherit acme/evals {text}"),
        row(2, "model acme openai {text}"),
        row(2, "model {text} openai"),
        row(2, "resolve {text} openai"),
        row(2, "resolve acme {text}"),
        row(2, "resolve acme openai --model {text}"),
        row(2, "resolve acme openai --name {text}"),
        row(2, "resolve acme openai --format {text}"),
        row(19, "resolve acme openai --attribute {text}"),
        row(19, "resolve acme openai --attribute {text}=1"),
        row(19, "resolve acme openai --attribute a={text}"),
        row(19, "explain acme openai --attribute {text}"),
        row(2, "explain {text} openai"),
        row(2, "explain {text} openai --as-project"),
        row(2, "run {text} -- true"),
        row(2, "run acme --provider {text} -- true"),
        row(19, "run acme --attribute {text} -- true"),
        failing("run acme -- {text}"),
        row(2, "export-env {text}"),
        row(19, "export-env acme --attribute a={text}"),
        row(2, "providers {text}"),
        row(2, "policy {text}"),
        row(2, "policy new --lang {text} directory"),
        row(19, "policy new --lang rust {text}"),
        failing("policy build {text}"),
        failing("policy check {text}"),
        failing("policy test {text}"),
        failing("policy decide {text}"),
        failing("policy replay {text}"),
        failing("policy diff {text}"),
        row(2, "policy diff {built-in} --organization {text}"),
        failing("policy install {text}"),
        row(19, "policy install {built-in} --over {text}"),
        row(19, "policy show {text}"),
        row(19, "policy activate acme {text}"),
        row(2, "policy activate {text} built-in"),
        row(2, "policy activate acme built-in --isolation {text}"),
        row(2, "policy rollback {text}"),
        row(2, "policy shadow {text}"),
        row(19, "policy shadow acme {text}"),
        row(19, "policy remove {text}"),
        row(2, "key {text}"),
        row(2, "key rotate {text}"),
        row(2, "key list {text}"),
        row(2, "key reseal {text}"),
        row(19, "key add-recipient {text}").hidden(),
        row(19, "key remove-recipient {text}"),
        failing("key add-signer {text}"),
        row(2, "key add-signer signer.pub --scope {text}"),
        failing("key add-owner {text}"),
        row(2, "key add-owner owner.pub --required {text}"),
        row(19, "key remove-owner {text}"),
        row(2, "key require-owners {text}"),
        failing("key sign {text}"),
        failing("key sign {text} --key {text}"),
        failing("key apply {text}"),
        row(2, "heartbeat {text}"),
        row(2, "heartbeat send {text}"),
        row(19, "heartbeat require {text}"),
        row(19, "key remove-signer {text}"),
        row(2, "principal {text}"),
        row(2, "principal list {text}"),
        row(2, "principal erase {text}"),
        row(2, "audit {text}"),
        row(2, "audit tail -n {text}"),
        row(2, "audit tail --scope {text}"),
        row(2, "audit tail --provider {text}"),
        row(0, "audit tail --principal {text}").hidden(),
        row(19, "audit tail --outcome {text}"),
        row(19, "audit show --since {text}"),
        row(19, "audit show --until {text}"),
        row(2, "audit verify {text}"),
        row(2, "verify {text}"),
        row(2, "backup --{text}"),
        row(2, "backup a {text}"),
        row(2, "restore a {text}"),
        row(19, "restore a --accept-rollback --owner {text}"),
        row(2, "bundle {text}"),
        row(2, "bundle export {text} --to a -o b"),
        row(19, "bundle export acme --to {text} -o b").hidden(),
        row(19, "bundle export acme --to a --expires {text} -o b"),
        failing("bundle inspect {text}"),
        failing("bundle verify {text}"),
        failing("bundle resolve {text} acme openai --identity {text}"),
        row(2, "bundle explain a {text} openai"),
        row(2, "doctor {text}"),
        row(2, "dev {text}"),
        row(2, "dev {text}"),
        row(2, "completions {text}"),
        row(2, "--identity-fd {text} status"),
        row(2, "--identity-fd={text} status"),
        row(2, "--signer-fd {text} status"),
        row(14, "--home {text} status"),
    ];

    a_variable_with_a_number: "a variable that should be a number", |world| {
        world.variable("ENTAIL_IDENTITY_FD");
    }, [
        row(2, "status"),
        row(2, "resolve acme openai"),
        row(2, "doctor"),
    ];

    a_variable_with_the_home: "the variable of the home", |world| {
        world.variable("ENTAIL_HOME");
    }, [
        row(14, "status"),
        row(14, "doctor"),
        row(14, "policy list"),
    ];

    a_variable_with_a_passphrase_file: "the variable of the passphrase", |world| {
        world.variable("ENTAIL_PASSPHRASE_FILE");
    }, [
        failing("init acme --passphrase --home {fresh}"),
    ];

    a_variable_with_the_data_directory: "the variable of the data directory", |world| {
        let directory = world.sandbox.path(&file_name(&world.text));
        world.environment.insert("XDG_DATA_HOME", Some(directory.into()));
        world.environment.insert("ENTAIL_HOME", None);
    }, [
        row(14, "status"),
        row(0, "init beta --dry-run"),
    ];

    a_variable_with_credentials: "the variable of systemd's credentials", |world| {
        let directory = file_name(&world.text);
        world.file("", &format!("{directory}/entail-identity"), "none");
        let directory = world.sandbox.path(&directory);
        world.environment.insert("CREDENTIALS_DIRECTORY", Some(directory.into()));
    }, [
        row(16, "status").hidden(),
        row(16, "key list").hidden(),
    ];

    a_variable_with_a_scope: "the variable of the scope", |world| {
        world.variable("ENTAIL_SCOPE");
    }, [
        row(19, "use"),
        row(19, "run -- true"),
        row(19, "resolve openai"),
        row(19, "explain openai"),
        row(19, "export-env"),
        row(19, "status"),
    ];

    a_variable_with_the_temporary_directory: "the variable of the temporary directory", |world| {
        let directory = world.sandbox.path(&file_name(&world.text));
        std::fs::create_dir(&directory).unwrap();
        world.environment.insert("TMPDIR", Some(directory.into()));
    }, [
        row(0, "dev"),
    ];

    a_variable_with_a_key: "the variable of a key", |world| {
        world.variable("XAI_API_KEY");
    }, [
        row(19, "credential set acme xai --from-env").hidden(),
        row(19, "credential set acme xai --from-env XAI_API_KEY").hidden(),
        row(0, "dev").hidden(),
    ];

    standard_input: "standard input", |world| {
        world.input = world.text.clone().into_bytes();
        let text = world.text.clone();
        world.file("file", "file", text);
    }, [
        row(19, "credential set acme xai").hidden(),
        row(19, "credential rotate acme openai").hidden(),
        row(19, "credential set acme xai --from-file {file}").hidden(),
        row(19, "credential set acme vertex-ai").hidden(),
        row(12, "policy decide --policy {file}").hidden(),
        row(12, "policy check {file}").hidden(),
        row(12, "policy install {file}").hidden(),
    ];
}
