//! A house that has lost a piece, or has another house's: the server says so and changes nothing.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::support::child::{Finished, Run};
use crate::support::files::{random_file, sha256};
use crate::support::python;
use crate::support::server::{House, Key, Ticket};

const MIB: u64 = 1 << 20;

/// Everything below a directory: files with their SHA-256, and directories.
fn tree(root: &Path) -> BTreeMap<PathBuf, String> {
    let (mut found, mut open) = (BTreeMap::new(), vec![root.to_owned()]);
    while let Some(directory) = open.pop() {
        for item in fs::read_dir(&directory).into_iter().flatten().flatten() {
            if item.file_type().unwrap().is_dir() {
                open.push(item.path());
                found.insert(item.path(), String::new());
            } else {
                found.insert(item.path(), sha256(&item.path()));
            }
        }
    }
    found
}

/// A house with a file in its store, stopped. The KEK lies elsewhere if `kek` names a place.
fn furnished(kek: Option<&Path>) -> (House, Ticket, Key, String) {
    let house = House::new();
    let house = match kek {
        Some(path) => house.set("KEYS__KEK__FILE", path.to_str().unwrap()),
        None => house,
    };
    let (mut house, ticket, key) = house.furnish();
    let source = random_file(&house.work().join("source"), MIB, 1);
    house.put(&ticket, &source, "dump.bin");
    house.stop();
    (house, ticket, key, sha256(&source))
}

/// A database, and the files that SQLite has beside it.
fn database(house: &House, name: &str) -> Vec<PathBuf> {
    ["", "-wal", "-shm"].iter().map(|ending| house.data().join(format!("{name}{ending}"))).collect()
}

fn remove(paths: &[PathBuf]) {
    for path in paths {
        let _ = fs::remove_file(path);
    }
}

fn replace(house: &House, other: &House, name: &str) {
    let (to, from) = (house.data().join(name), other.data().join(name));
    Run::new("rm").args(["-rf"]).arg(&to).finish().ok();
    Run::new("cp").arg("-a").arg(from).arg(to).finish().ok();
}

/// Whatever is started on it is refused with these words, and changes nothing.
#[track_caller]
fn assert_refused(house: &House, what: &str, words: &str) {
    let before = tree(&house.data());
    let said = house.start_refused().refused(1).err();
    assert!(said.contains(words), "{what}: {words:?} is wanted: {said}");
    assert_eq!(said.trim().lines().filter(|line| line.starts_with("tacdrop: ")).count(), 1, "{what}: {said}");
    assert_eq!(tree(&house.data()), before, "{what}: something was changed");
}

/// So is every command, and the one that begins a house.
#[track_caller]
fn assert_commands_refused(house: &House, what: &str) {
    let before = tree(&house.data());
    for command in
        [&["organisation", "add", "X", "--name", "X"][..], &["ticket", "list"], &["init"], &["store", "sweep"]]
    {
        house.tacdrop(command.iter().copied()).refused(1);
        assert_eq!(tree(&house.data()), before, "{what}: {command:?} has changed something");
    }
}

type Break = fn(&House, &House);

#[test]
fn r78_a_house_that_has_lost_a_piece_is_no_new_house() {
    let (house, ticket, key, digest) = furnished(None);
    let (other, ..) = furnished(None);
    let rows: [(&str, &str, bool, Break); 14] = [
        ("records missing", "records.sqlite is missing or empty", true, |house, _| {
            remove(&database(house, "records.sqlite"));
        }),
        ("records empty", "records.sqlite is missing or empty", true, |house, _| {
            remove(&database(house, "records.sqlite"));
            fs::write(house.data().join("records.sqlite"), b"").unwrap();
        }),
        ("records overwritten", "records.sqlite is damaged", true, |house, _| {
            fs::write(house.data().join("records.sqlite"), vec![0x5a; 8192]).unwrap();
        }),
        ("keyring missing", "keyring.sqlite is missing or empty", true, |house, _| {
            remove(&database(house, "keyring.sqlite"));
        }),
        ("keyring empty", "keyring.sqlite is missing or empty", true, |house, _| {
            fs::write(house.data().join("keyring.sqlite"), b"").unwrap();
        }),
        ("keyring of another house", "kek is not the key", true, |house, other| {
            replace(house, other, "keyring.sqlite")
        }),
        ("KEK of another house", "kek is not the key", true, |house, other| replace(house, other, "keys/kek")),
        ("keyring and KEK of another house", "are of different houses", true, |house, other| {
            replace(house, other, "keyring.sqlite");
            replace(house, other, "keys/kek");
        }),
        ("records of another house", "are of different houses", true, |house, other| {
            replace(house, other, "records.sqlite")
        }),
        ("KEK missing", "kek is missing", true, |house, _| fs::remove_file(house.data().join("keys/kek")).unwrap()),
        ("objects of another house", "is the store of another house", true, |house, other| {
            replace(house, other, "objects")
        }),
        ("only the objects and the keys left", "records.sqlite and", true, |house, _| {
            remove(&database(house, "records.sqlite"));
            remove(&database(house, "keyring.sqlite"));
        }),
        ("only the keys left", "tacdrop init", false, |house, _| {
            remove(&database(house, "records.sqlite"));
            remove(&database(house, "keyring.sqlite"));
            Run::new("rm").args(["-rf"]).arg(house.data().join("objects")).finish().ok();
        }),
        // Commands look after what is lost: 'artifact verify' marks it.
        ("objects missing", "mount their file system", false, |house, _| {
            Run::new("rm").args(["-rf"]).arg(house.data().join("objects")).finish().ok();
        }),
    ];
    for (what, words, commands, change) in rows {
        let copy = house.copy();
        change(&copy, &other);
        assert_refused(&copy, what, words);
        if commands {
            assert_commands_refused(&copy, what);
        }
        let doctor = copy.tacdrop(["doctor"]);
        assert!(doctor.code() == Some(1) || what.ends_with("left") || what == "objects missing", "{what}: {doctor}");
    }
    // The host key is asked for behind the databases.
    let copy = house.copy();
    let host_key = copy.data().join("keys/ssh_host_ed25519_key");
    fs::remove_file(&host_key).unwrap();
    let names = |house: &House| tree(&house.data()).into_keys().collect::<Vec<_>>();
    let before = names(&copy);
    assert!(copy.start_refused().refused(1).err().contains("ssh_host_ed25519_key is missing"));
    assert_eq!(names(&copy), before, "no other host key is made");

    // What was not changed is as it was.
    let mut house = house;
    house.start();
    house.assert_holds(&ticket, "dump.bin", &digest);
    house.engineer_sftp("anna", &key, "get /XT-4711/dump.bin back").ok();
    assert_eq!(sha256(&house.work().join("back")), digest);
}

#[test]
fn a_store_that_is_lost_for_good_can_be_given_up() {
    let (mut house, ticket, ..) = furnished(None);
    Run::new("rm").args(["-rf"]).arg(house.data().join("objects")).finish().ok();
    assert_refused(&house, "objects missing", "artifact verify");
    house.tacdrop(["artifact", "verify"]).refused(1);
    house.start();
    assert_eq!(house.artifact(&ticket, "dump.bin").unwrap()["state"], "damaged");
    let again = random_file(&house.work().join("again"), MIB, 2);
    house.put(&ticket, &again, "dump.bin");
    house.assert_holds(&ticket, "dump.bin", &sha256(&again));
}

#[test]
fn r78_data_that_is_not_mounted_is_no_new_house_and_an_operator_can_begin_one() {
    let elsewhere = tempfile::tempdir().unwrap();
    let kek = elsewhere.path().join("kek");
    let (mut house, ticket, _, digest) = furnished(Some(&kek));
    let key = fs::read(&kek).unwrap();
    // The mount point without its file system, and not even that.
    let away = house.work().join("away");
    fs::rename(house.data(), &away).unwrap();
    for is_there in [false, true] {
        if is_there {
            fs::create_dir(house.data()).unwrap();
        }
        let said = house.start_refused().refused(1).err();
        assert!(said.contains("tacdrop init") && said.contains("mount"), "{said}");
        house.tacdrop(["organisation", "add", "X", "--name", "X"]).refused(1);
        assert_eq!((house.data().exists(), tree(&house.data()).len()), (is_there, 0));
    }
    // Mounted again it is as it was.
    fs::remove_dir(house.data()).unwrap();
    fs::rename(&away, house.data()).unwrap();
    house.start();
    house.assert_holds(&ticket, "dump.bin", &digest);
    house.stop();

    // Another house with this KEK: only by the operator's word.
    let mut new = House::new().set("KEYS__KEK__FILE", kek.to_str().unwrap());
    let begun = new.json(["init"]);
    let id = begun["house"].as_str().unwrap().to_owned();
    assert_eq!(fs::read_to_string(new.data().join("objects/house")).unwrap().trim(), id);
    assert!(new.tacdrop(["init"]).refused(1).err().contains("is a data directory already"));
    new.start();
    new.stop();
    assert_eq!(fs::read(&kek).unwrap(), key, "the operator's KEK is taken as it is");
    assert!(!new.data().join("beginning").exists());
    // It opens both houses' keyrings, and each stays with its records.
    replace(&house, &new, "keyring.sqlite");
    assert_refused(&house, "a keyring under the same KEK", "are of different houses");
}

#[test]
fn a_house_begins_by_itself_and_a_beginning_that_was_cut_is_continued() {
    let mut house = House::new();
    house.start();
    house.stop();
    let id = fs::read_to_string(house.data().join("objects/house")).unwrap();
    assert_eq!((id.trim().len(), house.data().join("beginning").exists()), (32, false));
    // As it is left by a cut: at first nothing but the mark, then one piece more each time.
    let pieces = ["", "records.sqlite", "keyring.sqlite", "keys/kek"];
    for count in 1..=pieces.len() {
        let mut cut = House::new();
        fs::create_dir_all(cut.data().join("keys")).unwrap();
        fs::write(cut.data().join("beginning"), b"").unwrap();
        for piece in pieces.iter().take(count).skip(1) {
            let bytes = if *piece == "keys/kek" { fs::read(house.data().join(piece)).unwrap() } else { Vec::new() };
            fs::write(cut.data().join(piece), bytes).unwrap();
            Run::new("chmod").arg("0400").arg(cut.data().join("keys/kek")).finish();
            Run::new("chmod").arg("0600").arg(cut.data().join(piece)).finish();
        }
        cut.start();
        cut.stop();
        assert!(!cut.data().join("beginning").exists() && cut.data().join("objects/house").exists());
    }
    // Killed at any moment of its first seconds, it begins at the next start.
    for round in 0..12u64 {
        let mut cut = House::new();
        let mut job = cut.command(["organisation", "add", "acme", "--name", "A"]).start();
        std::thread::sleep(std::time::Duration::from_millis(2 + 6 * round));
        job.kill();
        cut.start();
        cut.stop();
    }
    // Many first commands at once are one beginning.
    let house = House::new();
    let jobs: Vec<_> = (0..6)
        .map(|number| house.command(["organisation", "add", &format!("O{number}"), "--name", "N"]).start())
        .collect();
    jobs.into_iter().for_each(|job| drop(job.finish().ok()));
    assert_eq!(house.json(["organisation", "list"]).as_array().unwrap().len(), 6);
}

/// Runs SQL on a database as somebody with the file would.
fn edit(database: &Path, sql: &str) -> Finished {
    let script = "import sqlite3, sys\nwith sqlite3.connect(sys.argv[1], timeout=30) as db:\n \
                  [print(*row) for row in db.execute(sys.argv[2])]";
    Run::new(python()).args(["-c", script]).arg(database).arg(sql).finish().ok()
}

/// Takes the ids away: a data directory of before there were any.
fn make_old(house: &House) {
    edit(&house.data().join("records.sqlite"), "DELETE FROM fact WHERE name = 'house'");
    edit(&house.data().join("keyring.sqlite"), "DELETE FROM server_key WHERE purpose = 'house'");
    fs::remove_file(house.data().join("objects/house")).unwrap();
}

#[test]
fn a_house_of_before_there_were_ids_gets_one_if_its_pieces_belong_together() {
    let (house, ticket, _, digest) = furnished(None);
    let (other, ..) = furnished(None);
    make_old(&house);
    make_old(&other);
    for (what, words, change) in [
        ("keyring and KEK of another", "are of different houses", {
            let change: Break = |house, other| {
                replace(house, other, "keyring.sqlite");
                replace(house, other, "keys/kek");
            };
            change
        }),
        ("objects of another", "is the store of another house", |house, other| replace(house, other, "objects")),
        ("records of an empty house", "are of different houses", |house, _| {
            let empty = House::new();
            empty.tacdrop(["organisation", "add", "acme", "--name", "A"]).ok();
            make_old(&empty);
            replace(house, &empty, "records.sqlite");
        }),
    ] {
        let copy = house.copy();
        change(&copy, &other);
        assert_refused(&copy, what, words);
    }
    let mut house = house;
    house.start();
    house.assert_holds(&ticket, "dump.bin", &digest);
    house.stop();
    let id = fs::read_to_string(house.data().join("objects/house")).unwrap();
    let records = edit(&house.data().join("records.sqlite"), "SELECT value FROM fact WHERE name = 'house'");
    assert_eq!(records.out().trim(), id.trim());
    let keyring = edit(&house.data().join("keyring.sqlite"), "SELECT COUNT(*) FROM server_key WHERE purpose = 'house'");
    assert_eq!(keyring.out().trim(), "1");
    // One half that is older, as a keyring's backup may be, is tied to the other again.
    for (file, sql) in [
        ("keyring.sqlite", "DELETE FROM server_key WHERE purpose = 'house'"),
        ("records.sqlite", "DELETE FROM fact WHERE name = 'house'"),
    ] {
        edit(&house.data().join(file), sql);
        house.start();
        house.assert_holds(&ticket, "dump.bin", &digest);
        house.stop();
        let records = edit(&house.data().join("records.sqlite"), "SELECT value FROM fact WHERE name = 'house'");
        assert_eq!(records.out().trim(), id.trim(), "{file}");
    }
}

#[test]
fn a_backup_is_not_restored_with_the_keyring_of_another_house() {
    let (house, ticket, _, digest) = furnished(None);
    let (other, ..) = furnished(None);
    let (mine, foreign) = (house.work().join("mine"), house.work().join("foreign"));
    house.command(["backup"]).arg(&mine).finish().ok();
    other.command(["backup"]).arg(&foreign).finish().ok();
    let mut restored = House::new();
    let run = |keyring: &Path, kek: &House| {
        let run = restored.command(["restore"]).arg(&mine).arg("--keyring").arg(keyring);
        run.arg("--kek").arg(kek.data().join("keys/kek")).finish()
    };
    let said = run(&foreign.join("keyring"), &other).refused(1).err();
    assert!(said.contains("another house") && !restored.data().exists(), "{said}");
    run(&mine.join("keyring"), &house).ok();
    let key = "keys/ssh_host_ed25519_key";
    fs::copy(house.data().join(key), restored.data().join(key)).unwrap();
    let mark = |house: &House| fs::read(house.data().join("objects/house")).unwrap();
    assert_eq!(mark(&restored), mark(&house), "a restored store bears the id of its records");
    restored.start();
    restored.assert_holds(&ticket, "dump.bin", &digest);
}
