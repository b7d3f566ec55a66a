//! The database: names of its objects, and keys and values of its rows.

use crate::hostile_text::{Source, World, check_source, failing, row};

sources! {
    a_table_of_the_database: "the name of a table", |world| {
        world.sql(&format!("CREATE TABLE {} (x)", world.quoted()));
    }, [
        failing("verify"),
        failing("doctor"),
    ];

    an_index_of_the_database: "the name of an index", |world| {
        world.sql(&format!("CREATE INDEX {} ON documents (payload)", world.quoted()));
    }, [
        failing("verify"),
        failing("doctor"),
    ];

    a_trigger_of_the_database: "the name of a trigger", |world| {
        world.sql(&format!(
            "CREATE TRIGGER {} AFTER INSERT ON blobs BEGIN SELECT 1; END", world.quoted()
        ));
    }, [
        failing("init beta"),
        failing("project add acme/new"),
        failing("project list"),
        failing("project remove acme/evals"),
        failing("credential set acme openai"),
        failing("credential rotate acme openai"),
        failing("credential rollback acme openai"),
        failing("credential list acme"),
        failing("credential show acme openai"),
        failing("credential disable acme openai"),
        failing("credential enable acme openai"),
        failing("credential remove acme openai"),
        failing("credential restore acme openai"),
        failing("inherit acme/evals"),
        failing("model acme openai gpt-5"),
        failing("resolve acme openai"),
        failing("explain acme openai"),
        failing("run acme -- true"),
        failing("export-env acme"),
        failing("status"),
        failing("policy install {built-in}"),
        failing("policy diff {built-in}"),
        failing("policy list"),
        failing("policy show"),
        failing("policy activate acme built-in"),
        failing("policy rollback acme"),
        failing("policy shadow acme"),
        failing("policy remove closed"),
        failing("principal list"),
        failing("principal erase 0123456789abcdef0123456789abcdef"),
        failing("key list"),
        failing("key rotate identity"),
        failing("key rotate signer"),
        failing("key rotate owner"),
        failing("key receipt {fresh}"),
        failing("key add-recipient --recovery {fresh}"),
        failing("key remove-recipient first"),
        failing("key reseal"),
        failing("key require-owners 1"),
        failing("verify"),
        failing("backup {fresh}"),
        failing("doctor"),
    ];

    a_document_of_the_database: "the name of a document", |world| {
        let name = world.text.clone();
        world.insert_document("scope", &name);
    }, [
        failing("verify"),
        failing("doctor"),
        row(0, "status").hidden(),
        row(0, "project list").hidden(),
    ];

    a_project_of_the_database: "the name of a project below another", |world| {
        let name = format!("acme/evals/{}", world.text);
        world.insert_document("scope", &name);
    }, [
        failing("verify"),
        row(0, "project remove acme/evals --dry-run").hidden(),
        row(0, "project list acme").hidden(),
        row(0, "status acme/evals").hidden(),
    ];

    a_kind_of_the_database: "the kind of a document", |world| {
        let kind = world.text.clone();
        world.insert_document(&kind, "acme");
    }, [
        failing("verify"),
        failing("doctor"),
    ];

    a_blob_of_the_database: "the name of a blob", |world| {
        world.insert_bytes("blobs");
    }, [
        failing("verify").hidden(),
        failing("doctor").hidden(),
    ];

    a_node_of_the_database: "the key of a tree node", |world| {
        world.insert_bytes("tree");
    }, [
        failing("verify").hidden(),
        failing("doctor").hidden(),
    ];

    a_changed_document_of_the_database: "the bytes of a document", |world| {
        world.update("UPDATE documents SET payload = CAST(?1 AS BLOB) WHERE name = 'acme'");
    }, [
        failing("verify").hidden(),
        failing("resolve acme openai").hidden(),
        failing("status").hidden(),
    ];

    a_keyring_of_the_database: "the bytes of a keyring", |world| {
        world.update("UPDATE keyrings SET payload = CAST(?1 AS BLOB), signatures = CAST(?1 AS BLOB) WHERE number = 2");
    }, [
        failing("verify").hidden(),
        failing("doctor").hidden(),
    ];

    an_entry_of_the_journal: "a journal entry", |world| {
        world.update("UPDATE journal SET checkpoint = CAST(?1 AS BLOB), signatures = CAST(?1 AS BLOB), change = CAST(?1 AS BLOB) WHERE revision = 3");
    }, [
        failing("verify").hidden(),
        failing("doctor").hidden(),
    ];
}

impl World {
    fn connection(&self) -> rusqlite::Connection {
        rusqlite::Connection::open(self.sandbox.database()).unwrap()
    }

    fn sql(&self, statement: &str) {
        self.connection().execute_batch(statement).unwrap();
    }

    /// The text as a quoted name in SQL, without NUL.
    fn quoted(&self) -> String {
        let text = self.text.replace('\0', "").replace('"', "\"\"");
        format!("\"{text}\"")
    }

    fn insert_document(&self, kind: &str, name: &str) {
        let inserted = self.connection().execute(
            "INSERT INTO documents VALUES (?1, ?2, CAST('x' AS BLOB))",
            [kind, name],
        );
        assert_eq!(inserted.unwrap(), 1);
    }

    /// Inserts a row whose key is the bytes of the text.
    fn insert_bytes(&self, table: &str) {
        let inserted = self.connection().execute(
            &format!("INSERT INTO {table} VALUES (CAST(?1 AS BLOB), x'00')"),
            [&self.text],
        );
        assert_eq!(inserted.unwrap(), 1);
    }

    fn update(&self, statement: &str) {
        let changed = self.connection().execute(statement, [&self.text]);
        assert_eq!(changed.unwrap(), 1);
    }
}
