//! What engineers are told: one mail for what belongs together, exact, and never lost.

use std::time::Duration;

use serde_json::Value;

use crate::support::child::Run;
use crate::support::eventually;
use crate::support::files::{sha256, show_tech};
use crate::support::mail::Mail;
use crate::support::server::{House, one_mail};
use crate::support::sink::Sink;

#[test]
fn uploads_that_belong_together_make_one_mail_that_says_everything() {
    let (house, _, _) = House::new().set("NOTIFY__SETTLE_SECONDS", "4").furnish();
    let title = "BGP flaps on the edge";
    let ticket = house.ticket_with("XT-9", "anna", &["--title", title, "--priority", "2", "--language", "en"]);
    show_tech(&house.work().join("a.txt"), 500);
    show_tech(&house.work().join("b c.txt"), 700);
    house.customer(&ticket, "put a.txt").ok();
    house.customer(&ticket, "mkdir logs\nput \"b c.txt\" \"logs/b c.txt\"").ok();
    let text = one_mail(&house);
    let mail = Mail::parse(&text);
    let notices = house.await_notices(1);
    let notice = &notices[0];
    assert_eq!((notice["ticket"].as_str(), notice["recipient"].as_str()), (Some("XT-9"), Some("anna@support.example")));
    assert_eq!((notice["attempts"].as_u64(), &notice["last_error"]), (Some(1), &Value::Null), "{notice}");
    assert_eq!((notice["channel"].as_str(), &notice["next_attempt_at"]), (Some("spool"), &Value::Null), "{notice}");
    assert_eq!(notice["artifacts"].as_array().unwrap().len(), 2);

    let subject = mail.header("subject").unwrap();
    assert!(subject.contains("XT-9") && subject.contains(title), "{subject}");
    assert!(mail.header("content-type").unwrap().starts_with("text/plain"), "{text}");
    let id = notice["id"].as_str().unwrap();
    assert!(mail.header("message-id").unwrap().starts_with(&format!("<{id}@")), "{text}");
    assert!(
        mail.body.contains(title) && mail.body.contains("2 (high)") && mail.body.contains("ACME Networks"),
        "{text}"
    );
    for file in ["a.txt", "logs/b c.txt"] {
        let artifact = house.assert_holds(&ticket, file, &sha256(&house.work().join(file.trim_start_matches("logs/"))));
        mail.assert_line(artifact["location"].as_str().unwrap());
        mail.assert_line(artifact["sha256"].as_str().unwrap());
        mail.assert_line(&format!("File: \"{file}\""));
        let bytes = artifact["size"].as_u64().unwrap();
        assert!(mail.body.contains(&bytes.to_string()[bytes.to_string().len() - 3..]), "the size {bytes}: {text}");
    }
    assert_eq!(mail.body.lines().filter(|line| line.contains("Uploaded by: XT-9")).count(), 2, "{text}");
    assert_eq!(mail.body.lines().filter(|line| line.trim().starts_with("scp ")).count(), 2, "{text}");

    // What comes later makes another mail, in the same thread.
    house.customer(&ticket, "put a.txt later.txt").ok();
    house.await_notices(2);
    let threads: Vec<_> =
        house.mails().iter().filter_map(|mail| mail.header("references").map(str::to_owned)).collect();
    assert_eq!(threads, [mail.header("message-id").unwrap()]);
}

#[test]
fn a_mail_speaks_the_ticket_s_language() {
    let (house, _, _) = House::open();
    let ticket =
        house.ticket_with("XT-DE", "anna", &["--language", "de", "--title", "Überlast am Kern", "--priority", "1"]);
    show_tech(&house.work().join("a.txt"), 50);
    house.customer(&ticket, "put a.txt Größe.txt\nput a.txt").ok();
    let mail = Mail::parse(&one_mail(&house));
    for words in [
        "2 neue Dateien",
        "Priorität: 1 (kritisch)",
        "Überlast am Kern",
        "Größe: ",
        "Ablageort:",
        "Hochgeladen von: XT-DE",
    ] {
        assert!(mail.body.contains(words), "{words}: {}", mail.body);
    }
    assert!(!mail.body.contains("Uploaded"), "{}", mail.body);
}

#[test]
fn settling_ends_even_if_files_keep_coming() {
    let (house, ticket, _) =
        House::new().set("NOTIFY__SETTLE_SECONDS", "3").set("NOTIFY__SETTLE_MAX_SECONDS", "6").furnish();
    show_tech(&house.work().join("a.txt"), 50);
    for number in 0..9 {
        house.customer(&ticket, &format!("put a.txt {number}.txt")).ok();
        std::thread::sleep(Duration::from_secs(1));
        if !house.spool().is_empty() {
            break;
        }
    }
    assert_eq!(house.spool().len(), 1, "a mail after six seconds although no three were quiet: {:#?}", house.notices());
}

#[test]
fn with_a_mail_server_the_mail_arrives_there() {
    let work = tempfile::tempdir().unwrap();
    let mut sink = Sink::new(work.path());
    sink.start();
    let (house, ticket, _) = sink.house().furnish();
    show_tech(&house.work().join("a.txt"), 50);
    house.customer(&ticket, "put a.txt\nput a.txt Größe.txt").ok();
    let mails = sink.await_mails(1);
    assert_eq!(mails.len(), 1);
    let mail = &mails[0];
    assert!(mail.header("from").unwrap().contains("drop@support.example"));
    assert!(mail.header("to").unwrap().contains("anna@support.example"));
    assert_eq!(mail.header("x-envelope"), Some("drop@support.example anna@support.example"));
    for path in ["a.txt", "Größe.txt"] {
        let artifact = house.assert_holds(&ticket, path, &sha256(&house.work().join("a.txt")));
        mail.assert_line(artifact["location"].as_str().unwrap());
    }
    assert_eq!(house.await_notices(1)[0]["channel"], "mail");
    assert!(!house.data().join("notices").exists() || house.spool().is_empty(), "no second copy in the spool");
    house.check_invariants(&[], &["Größe.txt".as_bytes(), b"line protocol"]);
}

#[test]
fn r24_with_the_mail_server_down_the_mail_arrives_when_it_is_back() {
    let work = tempfile::tempdir().unwrap();
    let mut sink = Sink::new(work.path());
    let (mut house, ticket, _) = sink.house().furnish();
    show_tech(&house.work().join("a.txt"), 50);
    house.customer(&ticket, "put a.txt").ok();
    let notice = eventually("a failed attempt", || {
        house.notices().into_iter().find(|notice| notice["attempts"].as_u64() > Some(0))
    });
    assert_eq!(notice["state"], "pending", "{notice}");
    assert!(notice["last_error"].as_str().is_some_and(|sentence| !sentence.contains("a.txt")), "{notice}");
    assert!(notice["next_attempt_at"].is_string(), "{notice}");
    assert!(house.tacdrop(["notice", "list", "XT-4711"]).ok().out().contains("anna@support.example"));
    // And it is forgotten by no restart.
    house.kill();
    house.start();
    sink.start();
    let mails = sink.await_mails(1);
    assert_eq!(mails.len(), 1);
    let message = mails[0].header("message-id").unwrap();
    assert!(message.contains(notice["id"].as_str().unwrap()), "{message}");
    house.await_notices(1);
}

#[test]
fn r24_a_notice_outlives_kill_9_between_upload_and_delivery() {
    let (mut house, ticket, _) = House::new().set("NOTIFY__SETTLE_SECONDS", "6").furnish();
    let source = show_tech(&house.work().join("a.txt"), 50);
    house.customer(&ticket, "put a.txt").ok();
    house.kill();
    assert!(house.spool().is_empty(), "it was to be killed before the delivery");
    house.start();
    let artifact = house.assert_holds(&ticket, "a.txt", &sha256(&source));
    Mail::parse(&one_mail(&house)).assert_line(artifact["location"].as_str().unwrap());
    house.check_invariants(&[(&ticket, "a.txt", sha256(&source))], &[b"a.txt"]);
}

#[test]
fn r24_killed_between_sending_and_writing_it_down_the_same_mail_is_sent_again() {
    let work = tempfile::tempdir().unwrap();
    let mut sink = Sink::new(work.path());
    sink.start();
    // The mail server has the mail, and the answer that says so is still to come.
    sink.hold_answers();
    let (mut house, ticket, _) = sink.house().furnish();
    show_tech(&house.work().join("a.txt"), 50);
    house.customer(&ticket, "put a.txt").ok();
    sink.await_mails(1);
    assert!(house.notices().iter().all(|notice| notice["state"] != "delivered"), "{:#?}", house.notices());
    let in_doubt = |house: &House, tries: u64| {
        let notice = house.notices().remove(0);
        assert_eq!((notice["state"].as_str(), notice["lost_answers"].as_u64()), (Some("pending"), Some(1)), "{notice}");
        assert_eq!(notice["attempts"].as_u64(), Some(tries), "{notice}");
        let list = house.tacdrop(["notice", "list"]).ok().out();
        assert!(list.contains("pending (perhaps delivered)"), "{list}");
    };
    in_doubt(&house, 0);
    house.kill();
    in_doubt(&house, 0);
    sink.answer_again();
    house.start();
    // The try that was cut off counts, as it may have come.
    eventually("a try that was counted", || (house.notices()[0]["attempts"].as_u64() > Some(0)).then_some(()));
    let mails = sink.await_mails(2);
    let ids: Vec<_> = mails.iter().map(|mail| mail.header("message-id").unwrap()).collect();
    assert_eq!(ids[0], ids[1], "who receives both must see that they are one");
    assert_eq!((&mails[0].body, mails.len()), (&mails[1].body, 2));
    assert_eq!(house.await_notices(1)[0]["attempts"].as_u64(), Some(2));
}

#[test]
fn r60_what_a_customer_types_is_inert_in_a_mail() {
    let (house, ticket, _) = House::open();
    show_tech(&house.work().join("a.txt"), 5);
    let names = ["=cmd()|calc", "<script>alert(1)</script>", "Bcc: eve@evil.example", "$(reboot).txt", "a; rm -rf ~"];
    let commands: String = names.iter().map(|name| format!("put a.txt \"{}\"\n", name.replace('/', "_"))).collect();
    house.customer(&ticket, &commands).ok();
    let text = one_mail(&house);
    let mail = Mail::parse(&text);
    assert!(mail.header("bcc").is_none(), "{text}");
    assert_eq!(text.to_lowercase().matches("\nto:").count(), 1, "{text}");
    for line in mail.body.lines().filter(|line| line.trim().starts_with("scp ")) {
        let shell = Run::new("sh").args(["-nc", line.trim()]).finish();
        assert_eq!(shell.code(), Some(0), "{line}: {shell}");
        let words = Run::new("sh").args(["-c", &format!("set -- {}; echo $#", line.trim())]).finish().ok().out();
        assert_eq!(words.trim(), "5", "scp -P PORT SOURCE . and nothing more: {line}");
    }
}
