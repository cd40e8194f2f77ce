//! The audit trail as operators use it: who did what from where, and what a change behind the
//! server's back does to it.

use std::fs;

use serde_json::Value;

use crate::support::child::Run;
use crate::support::files::{random_file, show_tech};
use crate::support::server::{House, Ticket};
use crate::support::{eventually, python, sql};

/// Changes the records as somebody with the file would.
fn edit(house: &House, statements: &str) {
    sql::edit(&house.data().join("records.sqlite"), &statements.replace("; ", ";;"));
}

fn of<'a>(lines: &'a [Value], kind: &str) -> Vec<&'a Value> {
    lines.iter().filter(|line| line["kind"] == kind).collect()
}

#[test]
fn r67_a_day_at_the_house_stands_in_the_trail_once_each_and_names_no_file() {
    let (mut house, ticket, key) = House::open();
    show_tech(&house.work().join("canary-name.txt"), 400);
    let size = fs::metadata(house.work().join("canary-name.txt")).unwrap().len();
    house.customer(&ticket, "mkdir canary-dir\nput canary-name.txt\nls -l canary-dir\nls -l canary-dir").ok();
    house.engineer_sftp("anna", &key, "get /XT-4711/canary-name.txt back").ok();
    house.customer(&ticket, "rename canary-name.txt canary-other.txt\nrm canary-other.txt").ok();
    house.tacdrop(["ticket", "close", "XT-4711"]).ok();
    house.customer(&ticket, "put canary-name.txt canary-late.txt").refused(1);
    // A kill in the middle of an upload costs no link of the chain. (It costs counts that have not
    // been written yet.)
    house.stop();
    house.start();
    house.tacdrop(["ticket", "reopen", "XT-4711"]).ok();
    let large = random_file(&house.work().join("canary-large"), 64 << 20, 3);
    let seen = || house.json(["audit", "list", "XT-4711", "--kind", "upload.opened"]).as_array().unwrap().len();
    let before = eventually("the uploads in the trail", || Some(seen()).filter(|seen| *seen >= 1));
    let upload = house.slow_put(&ticket, &large, "canary-large", 8);
    eventually("the large upload in the trail", || (seen() > before).then_some(()));
    house.kill();
    drop(upload);
    house.start();
    house.tacdrop(["audit", "verify"]).ok();
    // Whoever guesses makes few rows, and what he typed stays out of them.
    for n in 0..12 {
        let user = if n % 2 == 0 { "canary-user" } else { "XT-4711" };
        let guess = Ticket { reference: user.to_owned(), token: format!("canary-guess-{n}"), ..ticket.clone() };
        assert_eq!(house.customer(&guess, "ls").code(), Some(255));
    }
    let stranger = house.key("stranger");
    assert_eq!(house.engineer_sftp("anna", &stranger, "ls").code(), Some(255));
    house.stop();

    let all = house.json(["audit", "list"]);
    let all = all.as_array().unwrap();
    assert!(!format!("{all:?}").contains("canary"), "a name in {all:#?}");
    let seqs: Vec<i64> = all.iter().map(|line| line["seq"].as_i64().unwrap()).collect();
    assert_eq!(seqs, (1..=all.len() as i64).collect::<Vec<_>>());
    let lines = house.json(["audit", "list", "XT-4711"]);
    let lines = lines.as_array().unwrap();
    assert!(lines.iter().all(|line| line["ticket"] == "XT-4711"));
    for (kind, actor) in [
        ("artifact.available", "XT-4711"),
        ("artifact.opened", "anna"),
        ("artifact.read", "anna"),
        ("artifact.renamed", "XT-4711"),
        ("artifact.withdrawn", "XT-4711"),
        ("directory.made", "XT-4711"),
        ("access.refused", "XT-4711"),
    ] {
        let found = of(lines, kind);
        assert_eq!(found.len(), 1, "{kind}: {lines:#?}");
        assert_eq!((&found[0]["actor"], &found[0]["detail"]["from"]), (&actor.into(), &"127.0.0.1".into()), "{kind}");
    }
    let (sent, read) = (of(lines, "artifact.available")[0], of(lines, "artifact.read")[0]);
    assert_eq!((&sent["detail"]["bytes"], &sent["subject"]), (&size.into(), &read["subject"]));
    assert_eq!((&read["detail"]["bytes"], &read["detail"]["whole"]), (&size.into(), &true.into()));
    assert_eq!(of(lines, "access.refused")[0]["detail"]["why"], "ticket-closed");
    assert_eq!(of(lines, "directory.listed").len(), 1, "{lines:#?}");
    let (accepted, refused) = (of(all, "login.accepted"), of(all, "login.refused"));
    assert!(accepted.iter().any(|line| line["actor"] == "anna" && line["detail"]["by"] == "key"), "{accepted:#?}");
    assert!(accepted.iter().filter(|line| line["actor"] == "XT-4711").count() >= 3, "{accepted:#?}");
    let tries: u64 = refused.iter().map(|line| line["detail"]["count"].as_u64().unwrap()).sum();
    assert!(tries >= 6 && refused.len() <= 6, "{refused:#?}");
    assert!(refused.iter().any(|line| line["actor"] == "-") && refused.iter().any(|line| line["actor"] == "XT-4711"));
    for kind in ["ticket.opened", "ticket.closed", "ticket.reopened"] {
        assert_eq!(of(lines, kind).len(), 1, "{kind}");
    }
    assert_eq!((of(all, "server.started").len(), of(all, "server.stopped").len()), (3, 2));
    assert_eq!(house.json(["audit", "verify"])["entries"], all.len());
    let listed = house.tacdrop(["audit", "list", "XT-4711"]).ok().out();
    assert_eq!(listed.lines().count(), lines.len() + 1, "{listed}");
}

#[test]
fn r66_the_program_names_the_first_entry_that_is_not_what_was_written() {
    let (mut house, ticket, _) = House::open();
    show_tech(&house.work().join("a.txt"), 10);
    house.put(&ticket, &house.work().join("a.txt"), "a.txt");
    house.stop();
    let old = house.copy();
    house.start();
    house.put(&ticket, &house.work().join("a.txt"), "b.txt");
    house.stop();
    let kept = house.work().join("checkpoint");
    let kept_name = kept.to_str().unwrap();
    house.tacdrop(["audit", "checkpoint", "-o", kept_name]).ok();
    house.tacdrop(["audit", "checkpoint", "-o", kept_name]).refused(1);
    let printed = house.tacdrop(["audit", "checkpoint"]).ok().out();
    assert!(printed.starts_with("tacdrop audit checkpoint 1\nseq "), "{printed}");
    let verified = house.json(["audit", "verify", "--checkpoint", kept_name]);
    let count = verified["entries"].as_i64().unwrap();
    assert_eq!((&verified["intact"], &verified["signed"]), (&true.into(), &count.into()));

    let exported = house.work().join("trail.jsonl");
    house.tacdrop(["audit", "export", "-o", exported.to_str().unwrap()]).ok();
    let text = fs::read_to_string(&exported).unwrap();
    let seqs: Vec<Value> =
        text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["seq"].clone()).collect();
    assert_eq!(seqs, (1..=count).map(Value::from).collect::<Vec<_>>());

    for (sql, seq, what) in [
        ("UPDATE audit_event SET actor = 'mallory' WHERE seq = 3", 3, "edited"),
        ("UPDATE audit_event SET detail = x'00ff' WHERE seq = 4", 4, "unreadable"),
        ("DELETE FROM audit_event WHERE seq = 5", 5, "missing"),
        (
            "INSERT INTO audit_event SELECT 0, at, kind, actor, ticket, subject, detail, chain, seal FROM audit_event LIMIT 1",
            0,
            "inserted",
        ),
        ("DELETE FROM audit_event WHERE seq > 6; DELETE FROM audit_checkpoint WHERE seq > 6", 7, "missing"),
    ] {
        let copy = house.copy();
        edit(&copy, sql);
        let refused = copy.tacdrop(["audit", "verify"]).refused(1);
        assert!(refused.err().contains(&format!(" {seq}")), "{sql}: {refused}");
        let fault = copy.command(["audit", "verify", "--json"]).finish().refused(1).json()["fault"].clone();
        assert_eq!((&fault["seq"], &fault["what"]), (&seq.into(), &what.into()), "{sql}: {fault}");
    }

    // The whole house as it was: only what was kept elsewhere knows.
    old.tacdrop(["audit", "verify"]).ok();
    let fault = old.command(["audit", "verify", "--json", "--checkpoint", kept_name]).finish().refused(1).json();
    assert_eq!((&fault["fault"]["what"], &fault["fault"]["to"]), (&"missing".into(), &count.into()), "{fault}");
    // The records alone as they were: the keyring knows.
    let mixed = house.copy();
    for name in ["records.sqlite", "records.sqlite-wal", "records.sqlite-shm"] {
        fs::remove_file(mixed.data().join(name)).ok();
        fs::copy(old.data().join(name), mixed.data().join(name)).ok();
    }
    let fault = mixed.command(["audit", "verify", "--json"]).finish().refused(1).json();
    assert_eq!(fault["fault"]["what"], "missing", "{fault}");
    fs::write(&kept, fs::read_to_string(&kept).unwrap().replace("link ", "link 0")).unwrap();
    house.tacdrop(["audit", "verify", "--checkpoint", kept_name]).refused(1);
}

/// Takes entries out and makes the chain fit again, as anybody with the file can.
const REWRITE: &str = "\
import hashlib, sqlite3, struct, sys
field = lambda b: struct.pack('>Q', len(b)) + b
db = sqlite3.connect(sys.argv[1], timeout=30, isolation_level=None)
rows = db.execute('SELECT at, kind, actor, ticket, subject, detail FROM audit_event WHERE kind NOT LIKE ? ORDER BY seq', (sys.argv[2],)).fetchall()
db.execute('BEGIN IMMEDIATE'); db.execute('DELETE FROM audit_event'); link = bytes(32)
for seq, (at, kind, actor, ticket, subject, detail) in enumerate(rows, 1):
    parts = [struct.pack('>q', seq), struct.pack('>q', at), kind.encode(), actor.encode(), (ticket or '').encode(), subject or b'', detail.encode()]
    link = hashlib.sha256(link + b''.join(map(field, parts))).digest()
    db.execute('INSERT INTO audit_event (seq, at, kind, actor, ticket, subject, detail, chain) VALUES (?, ?, ?, ?, ?, ?, ?, ?)', (seq, at, kind, actor, ticket, subject, detail, link))
db.execute('COMMIT'); db.close()
";

fn fault(house: &House, arguments: &[&str]) -> Value {
    let asked: Vec<&str> = ["audit", "verify", "--json"].iter().chain(arguments).copied().collect();
    house.command(asked).finish().refused(1).json()["fault"].clone()
}

#[test]
fn r66_a_trail_that_was_made_anew_shows_with_its_checkpoints_deleted_too() {
    let (mut house, ticket, key) = House::open();
    show_tech(&house.work().join("a.txt"), 10);
    house.put(&ticket, &house.work().join("a.txt"), "a.txt");
    house.engineer_sftp("anna", &key, "get /XT-4711/a.txt back").ok();
    house.stop();
    house.tacdrop(["audit", "verify"]).ok();
    let (records, keyring) = (house.data().join("records.sqlite"), house.data().join("keyring.sqlite"));
    Run::new(python()).args(["-c", REWRITE]).arg(&records).arg("artifact.%").finish().ok();
    for database in [&records, &keyring] {
        let found = fault(&house, &[]);
        assert_eq!((&found["what"], &found["seq"]), (&"unsealed".into(), &1.into()), "{found}");
        sql::edit(database, "DELETE FROM audit_checkpoint");
    }
    assert_eq!(fault(&house, &[])["what"], "unsealed");
    // A server signs what it finds, and covers nothing up.
    house.start();
    house.put(&ticket, &house.work().join("a.txt"), "b.txt");
    house.stop();
    assert_eq!(fault(&house, &[])["what"], "unsealed");
    sql::edit(&keyring, "DELETE FROM server_key WHERE purpose = 'trail'");
    assert_eq!(fault(&house, &[])["what"], "lost");
}

#[test]
fn r66_the_program_compares_the_rows_with_the_trail() {
    let (mut house, ticket, _) = House::open();
    show_tech(&house.work().join("a.txt"), 10);
    house.put(&ticket, &house.work().join("a.txt"), "a.txt");
    house.stop();
    let right = house.tacdrop(["audit", "verify", "--records"]).ok().out();
    assert!(right.contains("The records are what it tells of 2 people and organisations"), "{right}");
    let compared = house.json(["audit", "verify", "--records"])["records"].clone();
    assert_eq!((&compared["versions"], &compared["differences"]), (&1.into(), &Value::Array(Vec::new())));
    assert_eq!(house.json(["audit", "verify"])["records"], Value::Null);
    for (edit, about, what) in [
        (
            "INSERT INTO engineer_key (engineer, fingerprint, algorithm, added_at) VALUES ('anna', 'SHA256:x', 'ssh-ed25519', 0)",
            "engineer",
            "has the key SHA256:x, which nobody added",
        ),
        ("UPDATE engineer SET email = 'x@evil.example'", "engineer", "has another mail address than was set"),
        ("UPDATE ticket SET status = 'closed'", "ticket", "is closed, and nobody closed it"),
        ("UPDATE version SET length = 1", "version", "has the length 1"),
        ("UPDATE version SET uploaded_by = 'anna'", "version", "has the sender anna"),
        ("DELETE FROM version", "version", "became available, as the trail tells, and has no row"),
    ] {
        let mut copy = house.copy();
        sql::edit(&copy.data().join("records.sqlite"), edit);
        let refused = copy.tacdrop(["audit", "verify", "--records"]).refused(1);
        assert!(refused.out().contains(what) && refused.err().contains("differences"), "{edit}: {refused}");
        let json = copy.command(["audit", "verify", "--records", "--json"]).finish().refused(1).json();
        assert_eq!((&json["intact"], &json["fault"]), (&true.into(), &Value::Null), "{edit}");
        let found = &json["records"]["differences"][0];
        assert_eq!(found["about"], about, "{edit}: {found}");
        // The trail alone is right, and who serves hears of people and tickets.
        copy.tacdrop(["audit", "verify"]).ok();
        if about != "version" {
            copy.start();
            copy.stop();
            assert!(copy.log().contains("the records are not what the audit trail tells"), "{edit}");
        }
    }
}

#[test]
fn r66_receipts_and_backups_are_witnesses_of_the_trail() {
    let (mut house, ticket, _) = House::open();
    show_tech(&house.work().join("a.txt"), 10);
    house.put(&ticket, &house.work().join("a.txt"), "a.txt");
    house.stop();
    let old = house.copy();
    house.start();
    house.put(&ticket, &house.work().join("a.txt"), "b.txt");
    house.stop();
    let receipts = ["a.txt", "b.txt"].map(|name| {
        let file = house.work().join(format!("{name}.receipt"));
        fs::write(&file, house.tacdrop(["receipt", "show", "XT-4711", name]).ok().out()).unwrap();
        file.to_str().unwrap().to_owned()
    });
    let [first, second] = [&receipts[0][..], &receipts[1][..]];
    let verified = house.json(["audit", "verify", "--receipt", first, second]);
    assert_eq!((&verified["intact"], &verified["receipts"]), (&true.into(), &2.into()));
    // The house as it was then knows the first receipt only.
    old.tacdrop(["audit", "verify", "--receipt", first]).ok();
    let refused = old.tacdrop(["audit", "verify", "--receipt", first, second]).refused(1);
    assert!(refused.err().contains("a receipt knows better") && refused.err().contains("b.txt.receipt"), "{refused}");
    let forged = house.work().join("forged");
    fs::write(&forged, fs::read_to_string(first).unwrap().replace("Trail: ", "Trail: 1")).unwrap();
    let forged = forged.to_str().unwrap();
    let refused = house.tacdrop(["audit", "verify", "--receipt", forged]).refused(1);
    assert!(refused.err().contains("this receipt was changed"), "{refused}");

    let backup = house.work().join("backup");
    let printed = house.tacdrop(["backup", backup.to_str().unwrap()]).ok().out();
    let checkpoint = backup.join("audit-checkpoint");
    assert!(printed.contains(fs::read_to_string(&checkpoint).unwrap().trim_end()), "{printed}");
    let checkpoint = checkpoint.to_str().unwrap();
    house.tacdrop(["audit", "verify", "--checkpoint", checkpoint]).ok();
    old.tacdrop(["audit", "verify", "--checkpoint", checkpoint]).refused(1);
}
