//! Tests of the path checks, and of reading through them.

use std::os::unix::fs::{PermissionsExt as _, lchown, symlink};
use std::path::{Path, PathBuf};

use super::path_check::{check_ancestors, check_link, check_parent, check_private};
use super::{read_private, read_trusted, write_new};
use crate::keys::error::KeyError;

/// Another user: `nobody`, by convention.
const NOBODY: u32 = 65534;

/// Creates a directory with a mode.
fn directory(base: &Path, name: &str, mode: u32) -> PathBuf {
    let created = base.join(name);
    std::fs::create_dir_all(&created).unwrap();
    std::fs::set_permissions(&created, std::fs::Permissions::from_mode(mode)).unwrap();
    created
}

fn private_file(file: &Path) {
    write_new(file, b"text").unwrap();
}

/// Changes the owner of a file. Returns whether that worked: only root can do it.
fn give_away(file: &Path) -> bool {
    let given = lchown(file, Some(NOBODY), Some(NOBODY)).is_ok();
    if !given {
        println!("skipped: only root can give files away");
    }
    given
}

#[test]
fn a_path_is_checked_component_by_component_as_it_was_given() {
    let base = tempfile::tempdir().unwrap();
    let base = base.path();
    let real = directory(base, "real/home", 0o700);
    let shared = directory(base, "shared", 0o777);
    symlink(&real, shared.join("home")).unwrap();
    check_ancestors(&real).unwrap();
    for path in [
        shared.join("home"),
        shared.join("home/keys/.."),
        base.join("real/../shared/home"),
    ] {
        directory(&real, "keys", 0o700);
        match check_ancestors(&path) {
            Err(KeyError::TooOpen { file, mode, .. }) => {
                assert_eq!((&file, mode), (&shared, 0o777), "{}", path.display());
            }
            other => panic!("{}: {other:?}", path.display()),
        }
        assert!(check_private(&path).is_err() || path.ends_with(".."));
        assert!(check_parent(&path).is_err());
    }
}

#[test]
fn every_link_of_a_chain_is_checked() {
    let base = tempfile::tempdir().unwrap();
    let base = base.path();
    let real = directory(base, "real", 0o700);
    let shared = directory(base, "shared", 0o777);
    let own = directory(base, "own", 0o755);
    // A safe link to an unsafe one.
    symlink(&real, shared.join("second")).unwrap();
    symlink("../shared/second", own.join("first")).unwrap();
    assert!(matches!(
        check_ancestors(&own.join("first")),
        Err(KeyError::TooOpen { file, .. }) if file == shared
    ));
    // Safe links only, relative and absolute, up and down.
    std::fs::remove_file(own.join("first")).unwrap();
    symlink("second", own.join("first")).unwrap();
    symlink("../own/./third/", own.join("second")).unwrap();
    symlink(&real, own.join("third")).unwrap();
    check_ancestors(&own.join("first")).unwrap();
    check_parent(&own.join("first")).unwrap();
    check_private(&own.join("first")).unwrap();
}

#[test]
fn a_loop_of_links_is_an_error() {
    let base = tempfile::tempdir().unwrap();
    let (one, two) = (base.path().join("one"), base.path().join("two"));
    symlink(&two, &one).unwrap();
    symlink(&one, &two).unwrap();
    assert!(
        matches!(check_ancestors(&one), Err(KeyError::File { error, .. })
        if error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()))
    );
}

#[test]
fn in_a_sticky_directory_a_link_must_belong_to_the_owner_or_the_system() {
    let base = tempfile::tempdir().unwrap();
    let base = base.path();
    let real = directory(base, "real", 0o700);
    let sticky = directory(base, "sticky", 0o1777);
    let link = sticky.join("home");
    symlink(&real, &link).unwrap();
    check_ancestors(&link).unwrap();
    if give_away(&link) {
        assert!(
            matches!(check_ancestors(&link), Err(KeyError::ForeignOwner { file }) if file == link)
        );
        // In a directory that only its owner can write, the owner of the link is irrelevant.
        let own = directory(base, "own", 0o755);
        symlink(&real, own.join("home")).unwrap();
        assert!(give_away(&own.join("home")));
        check_ancestors(&own.join("home")).unwrap();
    }
}

#[test]
fn a_path_through_a_directory_of_another_user_is_refused() {
    let base = tempfile::tempdir().unwrap();
    let theirs = directory(base.path(), "theirs", 0o755);
    let home = directory(&theirs, "home", 0o700);
    check_ancestors(&home).unwrap();
    if give_away(&theirs) {
        assert!(
            matches!(check_ancestors(&home), Err(KeyError::ForeignOwner { file }) if file == theirs)
        );
    }
}

#[test]
fn a_secret_mounted_by_kubernetes_is_private() {
    let base = tempfile::tempdir().unwrap();
    let mount = directory(base.path(), "mount", 0o1777);
    let version = directory(&mount, "..2026_11_27_00_00_00.1", 0o755);
    private_file(&version.join("identity.txt"));
    symlink("..2026_11_27_00_00_00.1", mount.join("..data")).unwrap();
    symlink("..data/identity.txt", mount.join("identity.txt")).unwrap();
    let keys = directory(base.path(), "keys", 0o700);
    symlink(mount.join("identity.txt"), keys.join("identity.txt")).unwrap();
    for file in [mount.join("identity.txt"), keys.join("identity.txt")] {
        check_private(&file).unwrap();
        check_link(&file).unwrap();
        let read = read_private(&file, 99).unwrap().unwrap();
        assert_eq!(read.expose(), b"text");
    }
}

#[test]
fn a_private_file_is_not_read_through_a_link_that_others_can_change() {
    let base = tempfile::tempdir().unwrap();
    let shared = directory(base.path(), "shared", 0o777);
    private_file(&shared.join("file"));
    let link = base.path().join("link");
    symlink(shared.join("file"), &link).unwrap();
    let is_refused = |checked: Result<(), KeyError>| {
        assert!(
            matches!(&checked, Err(KeyError::TooOpen { file, .. }) if *file == shared),
            "{checked:?}"
        );
    };
    is_refused(check_private(&link));
    is_refused(check_link(&link));
    is_refused(read_private(&link, 99).map(drop));
    is_refused(read_trusted(&link, 99).map(drop));
}

#[test]
fn the_target_of_a_link_must_not_be_writable_by_others() {
    let base = tempfile::tempdir().unwrap();
    let (target, link) = (base.path().join("target"), base.path().join("link"));
    private_file(&target);
    symlink(&target, &link).unwrap();
    let set = |mode| {
        std::fs::set_permissions(&target, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    set(0o644);
    check_link(&link).unwrap();
    assert!(matches!(
        check_private(&link),
        Err(KeyError::TooOpen { .. })
    ));
    set(0o664);
    assert!(matches!(check_link(&link), Err(KeyError::TooOpen { .. })));
    // A file that is not a link passes.
    check_link(&target).unwrap();
    check_link(&base.path().join("nothing")).unwrap();
}

#[test]
fn a_dangling_link_is_an_error_and_not_a_missing_file() {
    let base = tempfile::tempdir().unwrap();
    let link = base.path().join("link");
    assert!(read_private(&link, 99).unwrap().is_none());
    symlink("nothing", &link).unwrap();
    for checked in [
        check_private(&link),
        check_link(&link),
        read_private(&link, 99).map(drop),
    ] {
        assert!(
            matches!(&checked, Err(KeyError::File { error, .. })
                if error.kind() == std::io::ErrorKind::NotFound),
            "{checked:?}"
        );
    }
}

#[test]
fn a_pipe_or_device_is_not_a_private_file() {
    let base = tempfile::tempdir().unwrap();
    let pipe = base.path().join("pipe");
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    let link = base.path().join("link");
    symlink("/dev/zero", &link).unwrap();
    for (file, kind) in [(&pipe, "a named pipe"), (&link, "a device")] {
        for checked in [
            check_private(file),
            read_private(file, 99).map(drop),
            read_trusted(file, 99).map(drop),
        ] {
            let error = checked.unwrap_err().to_string();
            assert!(error.contains(kind), "{error}");
        }
    }
}
