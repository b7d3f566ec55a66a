//! Every future of the library is `Send`, so that it can be awaited in a web handler. That
//! this file compiles is the test; the function that runs checks that the list is complete.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // allowed in tests

use std::path::Path;

use entail::policy::{Engine, Policy};
use entail::store::{History, Store};
use entail::{Entail, Home, Maintenance, Policies, StoreKeys};

fn is_send<T: Send>(_: &T) {}

/// An argument of any type. The functions are never called.
fn any<T>() -> T {
    unreachable!("no future of the list is made")
}

macro_rules! futures {
    ($($owner:ident { $($name:ident($($argument:expr),*);)+ })*) => {
        /// Accepts only futures that are `Send`.
        #[allow(dead_code)]
        fn all_are_send() {
            $($(is_send(&$owner::$name($($argument),*));)+)*
        }

        const NAMES: &[&str] = &[$($(stringify!($name)),+),*];
    };
}

futures! {
    Entail {
        change(any(), any(), any());
        compare_secret(any(), any(), any(), any());
        erase_principal(any(), any(), any());
        explain(any(), any(), any());
        export_bundle(any(), any(), any());
        journal(any(), any(), any(), any());
        journalled_log_heads(any(), any());
        log_head(any(), any());
        masked(any(), any(), any());
        preview(any(), any(), any(), any());
        principals(any(), any());
        probe(any(), any(), any());
        resolve(any(), any(), any());
        resolve_any(any(), any(), any());
        scope(any(), any(), any());
        scopes(any(), any(), any());
        users(any(), any(), any());
    }
    StoreKeys {
        add_recipient(any(), any(), any(), any());
        freshness(any(), any());
        require_heartbeats(any(), any(), any());
        send_heartbeat(any(), any());
        unreadable(any(), any());
        plan(any(), any(), any());
        keyring(any(), any());
        receipt(any(), any());
        rotate_owner(any(), any());
        add_owner(any(), any(), any(), any());
        apply(any(), any(), any(), any());
        add_signer(any(), any(), any());
        remove_owner(any(), any(), any(), any());
        remove_signer(any(), any(), any());
        require_owners(any(), any(), any());
        remove_recipient(any(), any(), any(), any(), any());
        reseal(any(), any(), any());
        rotate_identity(any(), any(), any(), any());
        rotate_signer(any(), any());
    }
    Policies {
        activate(any(), any(), any(), any());
        active(any(), any(), any());
        all_active(any(), any());
        component(any(), any(), any());
        diff(any(), any(), any(), any(), any());
        find(any(), any(), any());
        get(any(), any(), any());
        install(any(), any(), any(), any());
        installed(any(), any());
        load_active(any(), any(), any());
        plan_activate(any(), any(), any(), any(), any());
        plan_install(any(), any(), any(), any());
        plan_remove(any(), any(), any());
        plan_roll_back(any(), any(), any(), any());
        plan_shadow(any(), any(), any(), any());
        remove(any(), any(), any());
        roll_back(any(), any(), any());
        settle_shadows(any(), any());
        shadow(any(), any(), any(), any());
    }
    Maintenance {
        backup(any(), any(), any());
        destroy_due(any(), any());
        run(any(), any());
        verify(any(), any(), any());
    }
    Home {
        create(any(), any());
    }
    entail {
        journalled_log_heads(any(), any(), any());
        plan_restore_in_place(any(), any(), any());
        plan_restore_to_clean_machine(any(), any(), any(), any(), any());
        restore_in_place(any(), any(), any(), any());
        restore_to_clean_machine(any(), any(), any(), any(), any(), any(), any());
    }
    Engine {
        admit_async(any(), any::<Vec<u8>>(), any());
        compose_async(any(), any(), any());
    }
    Policy {
        decide_async(any(), any());
        with_settings_async(any(), any());
    }
    Store {
        adopt_rotated_keys(any());
        proposed(any(), any());
        rotate_key(any(), any(), any(), any(), any());
        send_heartbeat(any(), any());
        blob(any(), any());
        check(any(), any(), any());
        commit(any(), any(), any(), any());
        copy_to(any(), any(), any());
        journal(any(), any(), any());
        names(any(), any(), any(), any(), any());
        newest_entry(any());
        read(any(), any());
        read_one(any(), any());
        keyring(any());
        receipt(any());
        reload_keys(any());
        revision(any());
        unseal(any(), any(), any(), any());
        epoch_key(any(), any());
    }
    History {
        of(any());
    }
}

/// The names of the public asynchronous functions in the files below `directory`.
fn public_async_functions(directory: &Path, names: &mut Vec<String>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            public_async_functions(&path, names);
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let declared = text
            .lines()
            .filter_map(|line| line.trim_start().strip_prefix("pub async fn "));
        names.extend(declared.map(|rest| {
            let end = rest.find(['(', '<']).unwrap();
            rest[..end].to_owned()
        }));
    }
}

#[test]
fn the_list_has_every_public_async_function() {
    let host = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut declared = Vec::new();
    for room in ["entail", "policy", "store"] {
        public_async_functions(&host.join(room).join("src"), &mut declared);
    }
    declared.sort();
    let mut listed = NAMES.to_vec();
    listed.sort_unstable();
    assert_eq!(listed, declared);
}
