//! The command line as operators and programs rely on it.

use std::fs;
use std::time::Duration;

use serde_json::Value;

use crate::support::child::Run;
use crate::support::eventually;
use crate::support::files::{all_files, sha256, show_tech};
use crate::support::repository;
use crate::support::server::House;

#[track_caller]
fn assert_keys(value: &Value, keys: &[&str]) {
    let object = value.as_object().unwrap_or_else(|| panic!("no object: {value}"));
    let missing: Vec<_> = keys.iter().filter(|key| !object.contains_key(**key)).collect();
    assert!(missing.is_empty(), "{missing:?} missing in {value}");
}

#[test]
fn what_a_list_cannot_show_is_named_beside_it() {
    let (house, ticket, _) = House::new().furnish();
    crate::support::files::show_tech(&house.work().join("a.txt"), 5);
    house.customer(&ticket, "put a.txt\nput a.txt b.txt").ok();
    house.await_notices(1);
    let id = house.artifact(&ticket, "a.txt").unwrap()["id"].as_str().unwrap().to_owned();
    crate::support::child::Run::new(crate::support::python())
        .arg("-B")
        .arg(crate::support::script("records.py"))
        .args(["damage"])
        .arg(house.data())
        .arg(&id)
        .finish()
        .ok();
    for list in [&["artifact", "list", "XT-4711"][..], &["artifact", "list", "XT-4711", "--versions"]] {
        let shown = house.tacdrop(list.iter().copied()).ok();
        assert!(shown.out().contains("b.txt"), "{shown}");
        assert!(shown.err().contains("cannot be read"), "{shown}");
    }
    for list in [&["notice", "list"][..], &["notice", "list", "XT-4711"]] {
        let shown = house.tacdrop(list.iter().copied().chain(["--json"])).ok();
        let notices = shown.json();
        let artifacts = notices[0]["artifacts"].as_array().unwrap();
        assert!(artifacts.iter().any(|artifact| artifact["path"] == "b.txt"), "{notices}");
        let problem =
            |artifact: &serde_json::Value| artifact["problem"].as_str().is_some_and(|text| text.contains(&id));
        assert!(artifacts.iter().any(problem), "{notices}");
    }
    let names = house.customer(&ticket, "ls").ok().out();
    assert!(names.contains("b.txt"), "{names}");
}

#[test]
fn json_has_what_programs_rely_on() {
    let (house, ticket, _) = House::open();
    const TICKET: [&str; 10] = [
        "reference",
        "user",
        "host",
        "port",
        "url",
        "host_key_fingerprint",
        "organisation",
        "engineer",
        "priority",
        "status",
    ];
    assert_keys(&ticket.json, &TICKET);
    assert_keys(&ticket.json, &["token", "language"]);
    assert!(
        ticket.token.len() >= 22 && ticket.token.bytes().all(|byte| byte.is_ascii_alphanumeric()),
        "{}",
        ticket.token
    );
    let shown = house.json(["ticket", "show", "XT-4711"]);
    assert_keys(&shown, &TICKET);
    assert_keys(&shown, &["language"]);
    assert!(shown.get("token").is_none_or(Value::is_null), "a token is shown once: {shown}");
    assert_eq!((shown["user"].as_str(), shown["host"].as_str()), (Some("XT-4711"), Some("127.0.0.1")));
    assert_eq!(shown["port"].as_u64(), Some(house.port().into()));
    assert_eq!(
        (shown["priority"].as_u64(), shown["status"].as_str()),
        (ticket.json["priority"].as_u64(), Some("open"))
    );

    let new = house.json(["ticket", "token", "XT-4711"]);
    assert_ne!(new["token"].as_str().unwrap(), ticket.token);
    let ticket = crate::support::server::Ticket { token: new["token"].as_str().unwrap().to_owned(), ..ticket };
    show_tech(&house.work().join("a.txt"), 10);
    house.put(&ticket, &house.work().join("a.txt"), "a.txt");
    let artifacts = house.artifacts(&ticket);
    assert_keys(
        &artifacts[0],
        &["id", "path", "version", "size", "sha256", "state", "uploaded_by", "received_at", "location"],
    );
    let notices = house.await_notices(1);
    assert_keys(
        &notices[0],
        &[
            "id",
            "ticket",
            "artifacts",
            "channel",
            "recipient",
            "state",
            "attempts",
            "next_attempt_at",
            "last_error",
            "lost_answers",
        ],
    );
    assert_eq!(house.json(["ticket", "list"]).as_array().unwrap().len(), 1);
    assert_eq!(house.json(["organisation", "list"])[0]["contract"], "C-1001");
    assert!(house.json(["engineer", "list"])[0]["keys"][0].as_str().unwrap().starts_with("SHA256:"));
}

#[test]
fn artifact_get_writes_what_was_received() {
    let (house, ticket, _) = House::open();
    let source = show_tech(&house.work().join("show tech ä.txt"), 5000);
    house.put(&ticket, &source, "show tech ä.txt");
    let out = house.work().join("out");
    house.tacdrop(["artifact", "get", "XT-4711", "show tech ä.txt", "-o", out.to_str().unwrap()]).ok();
    assert_eq!(sha256(&out), sha256(&source));
    let verified = house.json(["artifact", "verify", "XT-4711"]);
    assert_eq!(verified[0]["intact"], true, "{verified}");
    let one_sentence = house.tacdrop(["artifact", "get", "XT-4711", "nothing"]).refused(1).err();
    assert_eq!(one_sentence.trim().lines().count(), 1, "{one_sentence}");
}

#[test]
fn exit_codes_are_0_done_1_refused_2_wrong_usage() {
    let (mut house, ..) = House::open();
    house.tacdrop(["ticket", "list"]).ok();
    house.tacdrop(["--version"]).ok();
    house.tacdrop(["--help"]).ok();
    let refused: [&[&str]; 9] = [
        &["ticket", "show", "XT-NOONE"],
        &["ticket", "open", "XT-5", "--organisation", "nobody", "--engineer", "anna"],
        &["ticket", "open", "XT-5", "--organisation", "acme", "--engineer", "nobody"],
        &["ticket", "open", "XT-4711", "--organisation", "acme", "--engineer", "anna"],
        &["ticket", "reopen", "XT-4711"],
        &["organisation", "add", "acme", "--name", "Again"],
        &["organisation", "add", "anna", "--name", "A name that an engineer has"],
        &["engineer", "add", "XT-4711", "--email", "x@support.example"],
        &["artifact", "list", "XT-NOONE"],
    ];
    for args in refused {
        let said = house.tacdrop(args.iter().copied()).refused(1);
        assert_eq!(said.err().trim().lines().count(), 1, "one sentence: {said}");
        assert!(said.out().is_empty() && !said.err().contains("panicked"), "{said}");
    }
    for args in [
        &["nonsense"][..],
        &[],
        &["ticket"],
        &["ticket", "open"],
        &["ticket", "show", "bad reference!"],
        &["engineer", "add", "bert", "--email", "no address"],
        &["serve", "--port", "1"],
        &["ticket", "open", "XT-5", "--organisation", "acme", "--engineer", "anna", "--priority", "9"],
    ] {
        let said = house.tacdrop(args.iter().copied()).refused(2);
        assert!(!said.err().is_empty(), "{said}");
    }
    // A second server on the same data is refused, and the first one goes on.
    let second = house.command(["serve"]).env("TACDROP__SERVER__LISTEN", "127.0.0.1:0").finish().refused(1);
    assert_eq!(second.err().trim().lines().filter(|line| line.contains("another tacdrop")).count(), 1, "{second}");
    house.stop();
}

#[test]
fn an_unknown_setting_names_the_nearest_one() {
    let house = House::new();
    let config = house.work().join("tacdrop.toml");
    let check = || house.tacdrop(["config", "check", "--config", config.to_str().unwrap()]);
    for (text, nearest) in [
        ("[server]\nlisen = \"127.0.0.1:1\"\n", "listen"),
        ("[notify]\nsettle_second = 4\n", "settle_seconds"),
        ("[limts]\nhandles = 4\n", "limits"),
        ("[notify.smtp]\nhst = \"x\"\n", "host"),
    ] {
        fs::write(&config, text).unwrap();
        let said = check().refused(1);
        assert!(said.err().contains(nearest), "{nearest}: {said}");
        house.tacdrop(["serve", "--config", config.to_str().unwrap()]).refused(1);
    }
    for text in ["[server]\nlisten = 5\n", "[limits]\nhandles = -1\n", "[server\n", "[limits]\nhandles = 99999999\n"] {
        fs::write(&config, text).unwrap();
        check().refused(1);
    }
    let overlay = house.command(["config", "check"]).env("TACDROP__SERVER__LISEN", "127.0.0.1:1").finish().refused(1);
    assert!(overlay.err().to_lowercase().contains("listen"), "{overlay}");
    fs::copy(repository().join("config/tacdrop.toml"), &config).unwrap();
    check().ok();
    let shown = house.tacdrop(["config", "show", "--config", config.to_str().unwrap()]).ok().out();
    assert!(shown.contains("settle_seconds = 1"), "the overlay wins: {shown}");
}

#[test]
fn doctor_says_what_is_well_and_what_to_do() {
    let (mut house, ..) = House::open();
    let well = house.tacdrop(["doctor"]).ok().out();
    let lines: Vec<_> = well.lines().filter(|line| !line.trim().is_empty()).collect();
    assert!(lines.len() >= 4 && lines.iter().any(|line| line.starts_with("ok")), "{well}");
    house.json(["doctor"]);
    house.stop();
    let kek = house.data().join("keys/kek");
    Run::new("chmod").arg("0444").arg(&kek).finish().ok();
    let ill = house.tacdrop(["doctor"]).refused(1);
    assert!(ill.out().contains("kek") || ill.err().contains("kek"), "{ill}");
    fs::remove_file(&kek).unwrap();
    let ill = house.tacdrop(["doctor"]).refused(1);
    assert!(ill.out().contains("kek") || ill.err().contains("kek"), "{ill}");
    assert!(!kek.exists(), "a doctor makes no keys");
}

#[test]
fn logs_are_json_for_programs_that_want_it() {
    let (house, ticket, _) = House::new().set("LOG__FORMAT", "json").furnish();
    house.customer(&ticket, "ls").ok();
    let log = house.log();
    assert!(log.lines().count() >= 3, "{log}");
    for line in log.lines() {
        assert!(serde_json::from_str::<Value>(line).is_ok_and(|value| value.is_object()), "{line}");
    }
}

#[test]
fn public_host_and_port_are_what_locations_show() {
    let (house, ticket, _) =
        House::new().set("SERVER__PUBLIC_HOST", "drop.example.net").set("SERVER__PUBLIC_PORT", "22").furnish();
    assert_eq!((ticket.json["host"].as_str(), ticket.json["port"].as_u64()), (Some("drop.example.net"), Some(22)));
    show_tech(&house.work().join("a.txt"), 10);
    house.put(&ticket, &house.work().join("a.txt"), "a.txt");
    let location = house.artifact(&ticket, "a.txt").unwrap()["location"].as_str().unwrap().to_owned();
    assert_eq!(location, "sftp://drop.example.net:22/XT-4711/a.txt");
    house.await_notices(1);
    house.mails()[0].assert_line(&location);
}

#[test]
fn the_demo_shows_the_whole_trip_and_leaves_nothing_behind() {
    let house = House::new();
    let temporary = house.work().join("tmp");
    fs::create_dir(&temporary).unwrap();
    let shown = house.command(["demo"]).env("TMPDIR", &temporary).within(&house.work()).finish().ok();
    assert!(shown.took < Duration::from_secs(60), "{:?}", shown.took);
    let text = shown.out();
    assert!(text.contains("sftp://127.0.0.1:"), "the location: {text}");
    let has_digest = text.split(|c: char| !c.is_ascii_hexdigit()).any(|word| word.len() == 64);
    assert!(has_digest && text.contains("Subject:"), "the SHA-256 and the mail: {text}");
    assert_eq!(all_files(&temporary), Vec::<std::path::PathBuf>::new());
    assert!(!house.data().exists(), "the demo has a data directory of its own");

    let own = show_tech(&house.work().join("own file.txt"), 2000);
    let shown = house.command(["demo", "--file", own.to_str().unwrap()]).env("TMPDIR", &temporary).finish().ok();
    assert!(shown.out().contains(&sha256(&own)), "{shown}");
    assert_eq!(all_files(&temporary), Vec::<std::path::PathBuf>::new());
}

/// Fenced blocks of README.md: their language and their lines.
fn readme_blocks() -> Vec<(String, Vec<String>)> {
    let text = fs::read_to_string(repository().join("README.md")).unwrap();
    let (mut blocks, mut open): (Vec<(String, Vec<String>)>, bool) = (Vec::new(), false);
    for line in text.lines() {
        if let Some(language) = line.strip_prefix("```") {
            open = !open;
            if open {
                blocks.push((language.trim().to_owned(), Vec::new()));
            }
        } else if open {
            blocks.last_mut().unwrap().1.push(line.to_owned());
        }
    }
    assert!(!open, "a block of README.md is not closed");
    blocks
}

#[test]
fn every_command_of_the_readme_works() {
    let mut house = House::new();
    let (work, home) = (house.work(), house.work().join("home"));
    fs::create_dir_all(home.join(".ssh")).unwrap();
    fs::create_dir(work.join("bin")).unwrap();
    std::os::unix::fs::symlink(crate::support::binary(), work.join("bin/tacdrop")).unwrap();
    let key = house.key("readme");
    fs::copy(key.0.with_extension("pub"), home.join(".ssh/id_ed25519.pub")).unwrap();
    show_tech(&work.join("show-tech.txt"), 100);
    let path = format!("{}:{}", work.join("bin").display(), std::env::var("PATH").unwrap());

    let blocks = readme_blocks();
    let (mut token, mut done) = (String::new(), Vec::new());
    for (number, (language, lines)) in blocks.iter().enumerate() {
        for line in lines.iter().filter(|_| language == "sh") {
            let line = line.trim();
            // .ci/run runs these two.
            if line.is_empty() || line.starts_with('#') || line == "tests/run" || line == "cargo run --release -- demo"
            {
                continue;
            }
            done.push(line.split_whitespace().take(2).collect::<Vec<_>>().join(" "));
            if line == "tacdrop serve" {
                house.start();
                continue;
            }
            if line.contains("notices/*.eml") {
                eventually("the mail of the README", || Some(()).filter(|()| !house.spool().is_empty()));
            }
            let mut text = line
                .replace("tacdrop-data", house.data().to_str().unwrap())
                .replace("-P 2222", &format!("-P {}", house.port()))
                .replace("-p 2222", &format!("-p {}", house.port()));
            let mut options = format!(
                "-F none -o BatchMode=no -o StrictHostKeyChecking=accept-new -o UserKnownHostsFile={} -o IdentitiesOnly=yes",
                house.known_hosts().display()
            );
            if line.contains("XT-4711@127.0.0.1:") || line.starts_with("ssh ") {
                // A line that says what it wants.
                options += " -o PubkeyAuthentication=no";
            } else if line.starts_with("sftp ") && line.contains("XT-4711@") {
                // What is typed at its prompt stands in the next block.
                let typed: String = blocks[number + 1]
                    .1
                    .iter()
                    .map(|line| line.strip_prefix("sftp> ").unwrap_or_else(|| panic!("no sftp line: {line}")))
                    .fold(String::new(), |all, line| all + line + "\n");
                fs::write(work.join("typed"), typed).unwrap();
                options += " -o PubkeyAuthentication=no -b typed";
            } else {
                options += &format!(" -i {}", key.0.display());
            }
            for program in ["sftp ", "ssh "].into_iter().filter(|program| line.starts_with(program)) {
                text = text.replacen(program, &format!("{program}{options} "), 1);
            }
            let said = house
                .around("sh")
                .args(["-ec", &text])
                .within(&work)
                .env("HOME", &home)
                .env("PATH", &path)
                .env("SSH_ASKPASS", house.askpass())
                .env("SSH_ASKPASS_REQUIRE", "force")
                .env("TACDROP_TEST_TOKEN", &token)
                .finish()
                .ok();
            if line.starts_with("tacdrop ticket open") {
                token = said
                    .out()
                    .split(|c: char| !c.is_ascii_alphanumeric())
                    .find(|word| word.len() >= 22 && word.len() <= 40)
                    .unwrap_or_else(|| panic!("no token for the customer: {said}"))
                    .to_owned();
            }
        }
    }
    for needed in ["tacdrop serve", "tacdrop organisation", "tacdrop engineer", "tacdrop ticket", "sftp -P"] {
        assert!(done.iter().any(|command| command == needed), "README.md shows no '{needed}': {done:#?}");
    }
    assert!(!house.mails().is_empty());
}
