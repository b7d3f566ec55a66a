use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::chance::Chance;
use super::disk::Disk;
use super::effect::{Effect, Kind, Node, Place, ROOT};
use super::effect_recorder::EffectRecorder;
use super::image::Image;
use super::recording::Recording;
use super::trace::{CallResult, Event, Reader};
use super::{Fate, FileNames};

/// Encodes a string as `strace -xx` does.
fn escaped(text: &str) -> String {
    text.bytes()
        .fold(String::new(), |text, byte| format!("{text}\\x{byte:02x}"))
}

/// Encodes the parts between vertical bars as `strace -xx` does.
fn line(readable: &str) -> String {
    let parts = readable.split('|').enumerate();
    parts
        .map(|(index, part)| match index % 2 {
            0 => part.to_owned(),
            _ => escaped(part),
        })
        .collect()
}

fn call(readable: &str) -> super::trace::Call {
    match Reader::default().read(&line(readable)).unwrap() {
        Some(Event::Done(call)) => call,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_line_is_parsed_into_a_call_with_arguments_and_result() {
    let call = call(r#"7 pwrite64(4<|/f/a, (b>|>, "|x"),|", 4, 0x10) = 4"#);
    assert_eq!((call.thread, call.name.as_str()), (7, "pwrite64"));
    assert_eq!(call.arguments.len(), 4);
    assert_eq!(call.arguments[0].number(), Some(4));
    let path = call.arguments[0].descriptor_path();
    assert_eq!(path, Some(PathBuf::from("/f/a, (b>")));
    assert_eq!(call.arguments[1].bytes().unwrap(), b"x\"),");
    assert_eq!(call.arguments[3].number(), Some(16));
}

#[test]
fn numbers_are_decimal_octal_or_hexadecimal() {
    let call = call("7 f(12, 0600, 0x1f, 0, -100) = 0");
    let numbers: Vec<_> = call
        .arguments
        .iter()
        .map(super::trace::Argument::number)
        .collect();
    assert_eq!(
        numbers,
        [Some(12), Some(384), Some(31), Some(0), Some(-100)]
    );
}

#[test]
fn a_call_can_fail_or_never_return() {
    let failed = call("7 fsync(3<|/f/a|>) = -1 EIO (Input/output error)");
    assert_eq!(failed.result, CallResult::Failed);
    let restarted = call("7 read(0x3, 0x1, 0x1) = ? ERESTARTSYS (To be restarted)");
    assert_eq!(restarted.result, CallResult::Failed);
    assert_eq!(call("7 exit_group(0) = ?").result, CallResult::Unknown);
}

#[test]
fn the_parts_of_an_interrupted_call_are_joined() {
    let mut reader = Reader::default();
    let begun = reader
        .read(&line("7 fsync(3<|/f/a|> <unfinished ...>"))
        .unwrap();
    assert!(matches!(begun, Some(Event::Begun { thread: 7, .. })));
    reader.read(&line("8 fsync(4<|/f/b|>) = 0")).unwrap();
    let done = reader.read("7 <... fsync resumed>) = 0").unwrap();
    assert_eq!(done, Some(Event::Done(call("7 fsync(3<|/f/a|>) = 0"))));
}

#[test]
fn signals_are_ignored_and_the_end_of_a_thread_is_reported() {
    let mut reader = Reader::default();
    assert_eq!(reader.read("7 --- SIGCHLD {si_pid=8} ---").unwrap(), None);
    let ended = Some(Event::Ended { thread: 7 });
    assert_eq!(reader.read("7 +++ exited with 0 +++").unwrap(), ended);
}

#[test]
fn a_string_that_strace_truncated_is_an_error() {
    let call = call(r#"7 write(3<|/f/a|>, "|x|"..., 900) = 900"#);
    assert!(call.arguments[1].bytes().is_err());
}

/// The effects of a trace on an empty directory `/f`, which need not exist.
fn effects(trace: &[&str]) -> std::io::Result<Vec<Effect>> {
    let mut command = Command::new("program");
    command.current_dir("/f");
    let mut recorder = EffectRecorder::in_directories(vec!["/f".into()], &command)?;
    recorder.acknowledge_on("pipe:[1]".into());
    let mut reader = Reader::default();
    for readable in trace {
        if let Some(event) = reader.read(&line(readable))? {
            recorder.record(event)?;
        }
    }
    Ok(recorder.finish().0)
}

fn place(directory: Node, name: &str) -> Place {
    Place {
        directory,
        name: OsString::from(name),
    }
}

fn created(node: Node, name: &str) -> Effect {
    Effect::Create {
        place: place(ROOT, name),
        node,
        kind: Kind::File,
        mode: 0,
    }
}

fn written(file: Node, offset: usize, bytes: &[u8]) -> Effect {
    Effect::Write {
        file,
        offset,
        bytes: bytes.to_vec(),
    }
}

const OPEN_A: &str = r#"7 openat(AT_FDCWD<|/f|>, "|a|", O_CREAT, 000) = 3<|/f/a|>"#;

#[test]
fn plain_writes_continue_at_the_file_position() {
    let found = effects(&[
        OPEN_A,
        r#"7 write(3<|/f/a|>, "|one|", 3) = 3"#,
        r#"7 write(3<|/f/a|>, "|two|", 3) = 2"#,
        "7 dup(3<|/f/a|>) = 5<|/f/a|>",
        r#"7 write(5<|/f/a|>, "|x|", 1) = 1"#,
        "7 lseek(3<|/f/a|>, 1, SEEK_SET) = 1",
        r#"7 write(5<|/f/a|>, "|y|", 1) = 1"#,
    ]);
    let expected = [
        created(1, "a"),
        written(1, 0, b"one"),
        written(1, 3, b"tw"),
        written(1, 5, b"x"),
        written(1, 1, b"y"),
    ];
    assert_eq!(found.unwrap(), expected);
}

#[test]
fn a_descriptor_keeps_its_file_when_names_change() {
    let found = effects(&[
        OPEN_A,
        r#"7 rename("|/f/a|", "|b|") = 0"#,
        r#"7 write(3<|/f/b|>, "|x|", 1) = 1"#,
        r#"7 unlink("|/f/./b|") = 0"#,
        r#"7 write(3<|/f/b|>(deleted), "|y|", 1) = 1"#,
    ]);
    let expected = [
        created(1, "a"),
        Effect::Rename {
            from: place(ROOT, "a"),
            to: place(ROOT, "b"),
            node: 1,
        },
        written(1, 0, b"x"),
        Effect::Remove(place(ROOT, "b")),
        written(1, 1, b"y"),
    ];
    assert_eq!(found.unwrap(), expected);
}

#[test]
fn a_line_is_acknowledged_when_it_is_complete() {
    let found = effects(&[
        r#"7 write(1<|pipe:[1]|>, "|ack|", 3) = 3"#,
        &format!(r#"7 write(1<|pipe:[1]|>, "{}", 4) = 4"#, escaped(" 1\na")),
        &format!(r#"7 write(2<|pipe:[2]|>, "{}", 2) = 2"#, escaped("!\n")),
    ]);
    assert_eq!(found.unwrap(), [Effect::Acknowledge("ack 1".to_owned())]);
}

#[test]
fn a_sync_covers_the_effects_before_it_began() {
    let found = effects(&[
        OPEN_A,
        "7 fsync(3<|/f/a|> <unfinished ...>",
        r#"8 pwrite64(3<|/f/a|>, "|x|", 1, 0) = 1"#,
        "7 <... fsync resumed>) = 0",
    ]);
    let sync = Effect::Sync { node: 1, before: 1 };
    let expected = [created(1, "a"), written(1, 0, b"x"), sync];
    assert_eq!(found.unwrap(), expected);
}

#[test]
fn a_descriptor_is_free_as_soon_as_its_close_begins() {
    let found = effects(&[
        OPEN_A,
        "7 close(3<|/f/a|> <unfinished ...>",
        &OPEN_A.replace("7 ", "8 "),
        "7 <... close resumed>) = 0",
        r#"8 write(3<|/f/a|>, "|x|", 1) = 1"#,
    ]);
    assert_eq!(found.unwrap(), [created(1, "a"), written(1, 0, b"x")]);
}

#[test]
fn an_unknown_call_is_an_error_only_in_the_recorded_directory() {
    let copy =
        |to: &str| format!("7 copy_file_range(9<|/elsewhere|>, NULL, 3<|{to}|>, NULL, 9, 0) = 9");
    assert!(effects(&[OPEN_A, &copy("/f/a")]).is_err());
    assert!(effects(&[OPEN_A, &copy("/g/a")]).is_ok());
    assert!(effects(&[OPEN_A, "7 ioctl(3<|/f/a|>, FICLONE, 4) = 0"]).is_err());
    assert!(effects(&["7 io_uring_setup(8, {flags=0}) = 3<|anon_inode:[io_uring]|>"]).is_err());
    assert!(effects(&[r#"7 symlink("|/x|", "|/f/a|") = 0"#]).is_err());
}

#[test]
fn the_shared_memory_file_of_sqlite_is_ignored() {
    let found = effects(&[
        r#"7 openat(AT_FDCWD<|/f|>, "|/f/a-shm|", O_CREAT, 0600) = 3<|/f/a-shm|>"#,
        "7 ftruncate(3<|/f/a-shm|>, 3) = 0",
        r#"7 unlink("|/f/a-shm|") = 0"#,
    ]);
    assert_eq!(found.unwrap(), []);
}

/// The contents of an initially empty directory after all effects and a power loss.
fn left(effects: Vec<Effect>, fate: Fate) -> Vec<(String, Vec<u8>)> {
    let last = effects.len();
    let recording = Recording::new(Disk::new(&Image::default()), effects, FileNames::default());
    let mut chance = Chance::new(fate, last);
    let disk = recording.disk(last);
    let image = disk.survivors(&recording.effects, &mut chance);
    let entries = image.entries.into_iter();
    entries
        .map(|(path, entry)| {
            let contents = entry.contents.map(|contents| contents.to_vec());
            (path.display().to_string(), contents.unwrap_or_default())
        })
        .collect()
}

fn random_fates() -> impl Iterator<Item = Fate> {
    (0..500).map(Fate::Random)
}

fn sync(node: Node, before: usize) -> Effect {
    Effect::Sync { node, before }
}

fn file(name: &str, contents: &[u8]) -> Vec<(String, Vec<u8>)> {
    vec![(name.to_owned(), contents.to_vec())]
}

#[test]
fn an_unsynced_write_can_be_lost_or_survive() {
    let effects = || vec![created(1, "a"), sync(ROOT, 1), written(1, 0, b"x")];
    assert_eq!(left(effects(), Fate::NothingUnsynced), file("a", b""));
    assert_eq!(left(effects(), Fate::EverythingUnsynced), file("a", b"x"));
    let found: BTreeSet<_> = random_fates().map(|fate| left(effects(), fate)).collect();
    let lengthened = file("a", b"\0");
    let expected = [file("a", b""), lengthened, file("a", b"x")];
    assert_eq!(found, BTreeSet::from(expected));
}

#[test]
fn synced_effects_are_never_lost() {
    for fate in random_fates().chain([Fate::NothingUnsynced]) {
        let effects = vec![
            created(1, "a"),
            written(1, 0, b"x"),
            sync(1, 2),
            sync(ROOT, 3),
        ];
        assert_eq!(left(effects, fate), file("a", b"x"));
    }
}

#[test]
fn a_sync_does_not_cover_later_effects() {
    let effects = vec![
        created(1, "a"),
        written(1, 0, b"x"),
        sync(ROOT, 1),
        sync(1, 1),
    ];
    assert_eq!(left(effects, Fate::NothingUnsynced), file("a", b""));
}

#[test]
fn a_write_is_torn_at_sector_boundaries() {
    let effects = || {
        let bytes = [1; 1500];
        vec![created(1, "a"), sync(ROOT, 1), written(1, 100, &bytes)]
    };
    let mut edges = BTreeSet::new();
    for fate in random_fates() {
        let contents = left(effects(), fate).remove(0).1;
        let start = contents.iter().position(|byte| *byte == 1);
        let end = contents.iter().rposition(|byte| *byte == 1);
        edges.insert((start, end.map(|end| end + 1)));
    }
    let whole = (Some(100), Some(1600));
    let heads = [512, 1024, 1536].map(|end| (Some(100), Some(end)));
    let tails = [512, 1024, 1536].map(|start| (Some(start), Some(1600)));
    let expected = [(None, None), whole].into_iter().chain(heads).chain(tails);
    assert_eq!(edges, expected.collect());
}

#[test]
fn the_last_of_two_surviving_writes_wins() {
    for fate in random_fates() {
        let effects = vec![
            created(1, "a"),
            sync(ROOT, 1),
            written(1, 0, b"1"),
            written(1, 0, b"2"),
            Effect::Resize { file: 1, length: 1 },
            sync(1, 5),
        ];
        assert_eq!(left(effects, fate), file("a", b"2"));
    }
}

#[test]
fn a_prefix_of_the_name_changes_survives() {
    let effects = || vec![created(1, "a"), created(2, "b"), created(3, "c")];
    let found: BTreeSet<_> = random_fates()
        .map(|fate| {
            left(effects(), fate)
                .into_iter()
                .map(|(name, _)| name)
                .collect::<String>()
        })
        .collect();
    let expected = ["", "a", "ab", "abc"].map(str::to_owned);
    assert_eq!(found, BTreeSet::from(expected));
}

#[test]
fn a_rename_is_atomic_regardless_of_the_contents() {
    let effects = || {
        vec![
            created(1, "a"),
            written(1, 0, b"old"),
            sync(1, 2),
            created(2, "b"),
            sync(ROOT, 4),
            written(2, 0, b"new"),
            Effect::Rename {
                from: place(ROOT, "b"),
                to: place(ROOT, "a"),
                node: 2,
            },
        ]
    };
    let old = |b: &[u8]| [file("a", b"old"), file("b", b)].concat();
    let found: BTreeSet<_> = random_fates().map(|fate| left(effects(), fate)).collect();
    let lost: [&[u8]; 3] = [b"", b"\0\0\0", b"new"];
    let expected = lost.into_iter().flat_map(|b| [old(b), file("a", b)]);
    assert_eq!(found, expected.collect());
}

#[test]
fn a_synced_new_file_may_still_lose_its_name() {
    let effects = || vec![created(1, "a"), created(2, "b"), sync(2, 2)];
    assert_eq!(left(effects(), Fate::NothingUnsynced), []);
    let names = |fate| left(effects(), fate).len();
    let found: BTreeSet<_> = random_fates().map(names).collect();
    assert_eq!(found, BTreeSet::from([0, 1, 2]));
}

#[test]
fn the_image_of_a_point_does_not_depend_on_keyframes() {
    let effects: Vec<_> = [created(1, "a"), sync(ROOT, 1)]
        .into_iter()
        .chain((2..200).map(|index| match index % 3 {
            0 => sync(1, index),
            _ => written(1, index * 50 % 3000, &[index.to_le_bytes()[0]; 700]),
        }))
        .collect();
    let recording = Recording::new(Disk::default(), effects, FileNames::default());
    assert!(recording.keyframes.len() > 2);
    let mut disk = Disk::default();
    for point in 0..recording.points() {
        disk.apply(point, &recording.effects);
        let survivors = |disk: &Disk| {
            let mut chance = Chance::new(Fate::Random(1), point);
            disk.survivors(&recording.effects, &mut chance)
        };
        assert_eq!(survivors(&recording.disk(point + 1)), survivors(&disk));
    }
}

#[test]
fn an_unknown_point_is_an_error() {
    let recording = Recording::new(Disk::default(), Vec::new(), FileNames::default());
    let crash = recording.crash(0, Fate::NothingUnsynced, Path::new("/nowhere"));
    assert!(crash.is_err());
}
