//! One upload, all the way: from a customer's client to what an engineer fetches.

use std::fs::{self, File, FileTimes};
use std::time::{Duration, SystemTime};

use crate::support::files::{random_file, sha256, show_tech};
use crate::support::mail::Mail;
use crate::support::server::{House, one_mail};

/// The extent's size by default.
const EXTENT: u64 = 32 << 20;

#[test]
fn what_a_customer_puts_is_hashed_fetched_and_told_of_in_one_mail() {
    // A second would end while the large file is on its way.
    let (house, ticket, key) = House::new().set("NOTIFY__SETTLE_SECONDS", "4").furnish();
    let work = house.work();
    show_tech(&work.join("show-tech.txt"), 30_000);
    random_file(&work.join("core.bin"), 64 << 20, 1);
    File::create(work.join("empty")).unwrap();
    fs::create_dir_all(work.join("bundle/logs/deep")).unwrap();
    random_file(&work.join("bundle/a.bin"), 70_000, 2);
    show_tech(&work.join("bundle/logs/messages"), 300);
    random_file(&work.join("bundle/logs/deep/c.bin"), 1_000_000, 3);
    show_tech(&work.join("Größe und Maß – show tech.txt"), 100);
    let commands = "put core.bin\nput show-tech.txt\nput empty\nput -r bundle\nput \"Größe und Maß – show tech.txt\"";
    house.customer(&ticket, commands).ok();

    let files = [
        "show-tech.txt",
        "core.bin",
        "empty",
        "bundle/a.bin",
        "bundle/logs/messages",
        "bundle/logs/deep/c.bin",
        "Größe und Maß – show tech.txt",
    ];
    let listed = house.artifacts(&ticket);
    assert_eq!(listed.len(), files.len(), "{listed:#?}");
    let mail = Mail::parse(&one_mail(&house));
    for file in files {
        let artifact = house.assert_holds(&ticket, file, &sha256(&work.join(file)));
        assert_eq!(artifact["size"].as_u64(), Some(fs::metadata(work.join(file)).unwrap().len()), "{file}");
        assert_eq!((artifact["version"].as_u64(), artifact["uploaded_by"].as_str()), (Some(1), Some("XT-4711")));
        assert!(artifact["received_at"].as_str().unwrap().ends_with('Z'), "{artifact}");
        assert!(artifact["id"].as_str().is_some_and(|id| !id.is_empty()), "{artifact}");
        let location = artifact["location"].as_str().unwrap();
        let path = percent_encoding::percent_decode_str(location).decode_utf8().unwrap().into_owned();
        assert_eq!(path, format!("sftp://127.0.0.1:{}/XT-4711/{file}", house.port()));
        assert!(!location.contains(' ') && location.is_ascii(), "{location}");
        mail.assert_line(location);
        mail.assert_line(artifact["sha256"].as_str().unwrap());
    }
    assert!(mail.header("to").unwrap().contains("anna@support.example"), "{:?}", mail.header("to"));

    // The engineer fetches each, by key, from the place that the location names.
    let fetched = work.join("fetched");
    fs::create_dir(&fetched).unwrap();
    let mut commands = String::new();
    for (number, file) in files.iter().enumerate() {
        commands += &format!("get \"/XT-4711/{file}\" {}/{number}\n", fetched.display());
    }
    house.engineer_sftp("anna", &key, &commands).ok();
    for (number, file) in files.iter().enumerate() {
        assert_eq!(sha256(&fetched.join(number.to_string())), sha256(&work.join(file)), "{file}");
    }
    assert_eq!(house.await_notices(1)[0]["artifacts"].as_array().unwrap().len(), files.len());
    let acknowledged: Vec<_> = files.iter().map(|file| (&ticket, *file, sha256(&work.join(file)))).collect();
    house.check_invariants(&acknowledged, &[b"line protocol is up", "Größe und Maß".as_bytes(), b"show-tech.txt"]);
}

#[test]
fn the_fetch_command_of_the_mail_fetches_the_file() {
    let (house, ticket, key) = House::open();
    let name = "it's a [show] tech ä.txt";
    let source = show_tech(&house.work().join("source"), 500);
    house.customer(&ticket, &format!("put source \"{name}\"")).ok();
    let mail = Mail::parse(&one_mail(&house));
    let command =
        mail.body.lines().find(|line| line.trim().starts_with("scp ")).unwrap_or_else(|| panic!("{}", mail.body));
    let fetched = house.work().join("fetched");
    fs::create_dir(&fetched).unwrap();
    // As a person would: the line as it stands, in a shell whose ssh knows key and host.
    let options = format!(
        "-F none -i {} -o StrictHostKeyChecking=accept-new -o UserKnownHostsFile={}",
        key.0.display(),
        house.known_hosts().display()
    );
    let line = command.trim().replacen("scp ", &format!("scp {options} "), 1);
    crate::support::child::Run::new("sh").args(["-c", &line]).within(&fetched).finish().ok();
    assert_eq!(sha256(&fetched.join(name)), sha256(&source));
}

#[test]
fn r16_every_size_around_a_boundary_has_the_right_digest() {
    let (house, ticket, _) = House::open();
    let sizes = [0, 1, 65_535, 65_536, 65_537, EXTENT - 1, EXTENT, EXTENT + 1];
    let mut commands = String::new();
    for size in sizes {
        random_file(&house.work().join(size.to_string()), size, 16);
        commands += &format!("put {size}\nget {size} back-{size}\n");
    }
    house.customer(&ticket, &commands).ok();
    for size in sizes {
        let expected = sha256(&house.work().join(size.to_string()));
        assert_eq!(house.assert_holds(&ticket, &size.to_string(), &expected)["size"].as_u64(), Some(size));
        assert_eq!(sha256(&house.work().join(format!("back-{size}"))), expected, "{size}");
    }
    house.tacdrop(["artifact", "verify", "XT-4711"]).ok();
}

#[test]
fn times_are_kept_and_shown() {
    let (house, ticket, _) = House::open();
    let source = show_tech(&house.work().join("old.txt"), 10);
    let then = SystemTime::UNIX_EPOCH + Duration::from_secs(1_500_000_000);
    File::options().write(true).open(&source).unwrap().set_times(FileTimes::new().set_modified(then)).unwrap();
    house.customer(&ticket, "put -p old.txt\nget -p old.txt back.txt").ok();
    assert_eq!(fs::metadata(house.work().join("back.txt")).unwrap().modified().unwrap(), then);
}

#[test]
fn names_are_made_moved_and_removed() {
    let (house, ticket, _) = House::open();
    let source = show_tech(&house.work().join("a.txt"), 10);
    let commands = "mkdir logs\nput a.txt logs/a.txt\nrename logs/a.txt logs/b.txt\nput a.txt gone.txt\nrm gone.txt\n\
                    mkdir empty\nrmdir empty\nls -1\nls -1 logs";
    let said = house.customer(&ticket, commands).ok().out();
    let names: Vec<_> = said.lines().map(str::trim).filter(|line| !line.starts_with("sftp>")).collect();
    assert_eq!(names, ["logs", "logs/b.txt"], "{said}");
    house.assert_holds(&ticket, "logs/b.txt", &sha256(&source));
    assert!(house.artifact(&ticket, "logs/a.txt").is_none());
    assert!(house.artifact(&ticket, "gone.txt").is_none_or(|artifact| artifact["state"] == "withdrawn"));
    house.customer(&ticket, "get gone.txt back").refused(1);
    house.customer(&ticket, "rmdir logs").refused(1);
    house.customer(&ticket, "mkdir logs").refused(1);
    house.customer(&ticket, "rmdir nothing").refused(1);
    house.customer(&ticket, "rm nothing").refused(1);
}

#[test]
fn overwriting_makes_a_new_version_and_the_old_one_stays_readable_meanwhile() {
    let (house, ticket, key) = House::open();
    let work = house.work();
    let old = random_file(&work.join("old"), 5 << 20, 1);
    let new = random_file(&work.join("new"), 24 << 20, 2);
    house.put(&ticket, &old, "dump");
    house.assert_holds(&ticket, "dump", &sha256(&old));
    let mut upload = house.slow_put(&ticket, &new, "dump", 6);
    std::thread::sleep(Duration::from_millis(1500));
    house.engineer_sftp("anna", &key, "get /XT-4711/dump while").ok();
    assert!(!upload.has_ended(), "the upload was to be under way: {}", upload.stderr());
    assert_eq!(sha256(&work.join("while")), sha256(&old), "the old version, whole");
    house.assert_holds(&ticket, "dump", &sha256(&old));
    upload.finish().ok();
    let artifact = house.assert_holds(&ticket, "dump", &sha256(&new));
    assert_eq!(artifact["version"].as_u64(), Some(2));
    house.engineer_sftp("anna", &key, "get /XT-4711/dump after").ok();
    assert_eq!(sha256(&work.join("after")), sha256(&new));
    house.check_invariants(&[(&ticket, "dump", sha256(&new))], &[]);
}

#[test]
fn renaming_onto_a_file_makes_a_new_version_of_it() {
    let (house, ticket, _) = House::open();
    let old = show_tech(&house.work().join("old"), 20);
    let new = show_tech(&house.work().join("new"), 30);
    house.put(&ticket, &old, "config.txt");
    // OpenSSH renames by posix-rename@openssh.com.
    house.customer(&ticket, "put new upload.part\nrename upload.part config.txt").ok();
    let artifact = house.assert_holds(&ticket, "config.txt", &sha256(&new));
    assert_eq!(artifact["version"].as_u64(), Some(2));
    assert!(house.artifact(&ticket, "upload.part").is_none());
    // -l: the plain RENAME of SFTP v3 must not replace anything.
    house.customer(&ticket, "put old other.txt\nrename -l other.txt config.txt").refused(1);
    house.assert_holds(&ticket, "config.txt", &sha256(&new));
    house.check_invariants(&[(&ticket, "config.txt", sha256(&new)), (&ticket, "other.txt", sha256(&old))], &[]);
}

#[test]
fn the_share_says_how_much_room_there_is_and_refuses_links() {
    let (house, ticket, _) = House::open();
    show_tech(&house.work().join("a.txt"), 10);
    let said = house.customer(&ticket, "df\ndf -i\npwd").ok().out();
    assert!(said.contains("Avail") && said.contains("Remote working directory: /"), "{said}");
    for command in ["symlink a.txt link.txt", "ln a.txt hard.txt"] {
        let refused = house.customer(&ticket, &format!("put a.txt\n{command}")).refused(1);
        assert!(refused.err().to_lowercase().contains("support"), "{refused}");
    }
    let names = house.customer(&ticket, "ls -1").ok().out();
    assert!(!names.contains("link.txt") && !names.contains("hard.txt"), "{names}");
}

#[test]
fn a_ticket_finds_its_share_under_its_reference_too() {
    let (house, ticket, _) = House::open();
    let source = show_tech(&house.work().join("a.txt"), 10);
    house
        .customer(
            &ticket,
            "put a.txt /XT-4711/under.txt\nget /under.txt back.txt\ncd /XT-4711\nget under.txt again.txt",
        )
        .ok();
    house.assert_holds(&ticket, "under.txt", &sha256(&source));
    assert_eq!(sha256(&house.work().join("back.txt")), sha256(&source));
    assert_eq!(sha256(&house.work().join("again.txt")), sha256(&source));
    let said = house.customer(&ticket, "ls -1a /").ok().out();
    assert!(!said.contains("XT-4711"), "its own reference is never listed: {said}");
}
