//! Notices over TLS and behind a login, to a real mail server: with a certificate that is right
//! they arrive; with any other, and without TLS, nothing is said but hello.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::support::child::Run;
use crate::support::files::show_tech;
use crate::support::server::{House, Ticket};
use crate::support::sink::Sink;
use crate::support::{eventually, python, script};

const USER: &str = "drop";
const PASSWORD: &str = "pass: w\u{f6}rd \"'$";

/// A sink that is not started yet, its certificates, and a house that trusts their authority and
/// speaks TLS in this way.
fn furnished(work: &Path, tls: &str) -> (Sink, PathBuf, House, Ticket) {
    let certificates = work.join("certificates");
    std::fs::create_dir_all(&certificates).unwrap();
    Run::new(python()).arg("-B").arg(script("smtp_certificates.py")).arg(&certificates).finish().ok();
    let sink = Sink::new(work);
    let (house, ticket, _) = sink
        .house()
        .set("NOTIFY__SMTP__TLS", tls)
        .set("NOTIFY__SMTP__USER", USER)
        .set("NOTIFY__SMTP__PASSWORD__ENV", "TACDROP_TEST_SMTP")
        .environment("TACDROP_TEST_SMTP", PASSWORD)
        .environment("SSL_CERT_FILE", certificates.join("ca.pem").to_str().unwrap())
        .furnish();
    show_tech(&house.work().join("a.txt"), 5);
    (sink, certificates, house, ticket)
}

/// The sink's options for this certificate.
fn options<'a>(tls: &'a str, files: &'a [String; 2]) -> Vec<&'a str> {
    vec![if tls == "tls" { "--tls" } else { "--starttls" }, &files[0], &files[1], "--login", USER, PASSWORD]
}

fn files(certificates: &Path, name: &str) -> [String; 2] {
    ["pem", "key"].map(|kind| certificates.join(format!("{name}.{kind}")).to_str().unwrap().to_owned())
}

fn the_notice(house: &House) -> Value {
    house.notices().into_iter().next().unwrap_or_default()
}

/// Waits until a try has ended with a sentence that holds these words.
fn await_sentence(house: &House, words: &str) -> Value {
    let mut last = Value::Null;
    let found = || {
        last = the_notice(house);
        last["last_error"].as_str().is_some_and(|sentence| sentence.contains(words)).then(|| last.clone())
    };
    eventually(&format!("a try that says {words:?}"), found)
}

/// Both ways of TLS, both logins: what is wrong with the server is said, and nothing else; then it
/// is put right.
fn only_the_right_server_gets_anything(tls: &str) {
    let work = tempfile::tempdir().unwrap();
    let (mut sink, certificates, house, ticket) = furnished(work.path(), tls);
    let mut begun = false;
    for (name, words, advice) in [
        ("other-name", "is for other names than 127.0.0.1", "notify.smtp.host"),
        ("stranger", "is from an authority that this machine does not know", "certificate authorities"),
        ("expired", "has expired", "renewed"),
        ("early", "is not valid yet", "clock"),
    ] {
        let files = files(&certificates, name);
        sink.start_with(&options(tls, &files));
        if begun {
            house.tacdrop(["notice", "retry", the_notice(&house)["id"].as_str().unwrap()]).ok();
        } else {
            house.customer(&ticket, "put a.txt").ok();
            begun = true;
        }
        let notice = await_sentence(&house, words);
        assert!(notice["last_error"].as_str().unwrap().contains(advice), "{name}: {notice}");
        assert_eq!((notice["state"].as_str(), notice["lost_answers"].as_u64()), (Some("pending"), Some(0)), "{notice}");
        assert!(sink.heard().is_empty() && sink.mails().is_empty(), "{name}: {:?}", sink.heard());
    }
    // A wrong password is a setting as well, and the right one comes by each mechanism.
    let files = files(&certificates, "right");
    let mut wrong = options(tls, &files);
    *wrong.last_mut().unwrap() = "another";
    sink.start_with(&wrong);
    house.tacdrop(["notice", "retry", the_notice(&house)["id"].as_str().unwrap()]).ok();
    let notice = await_sentence(&house, "refused the login");
    assert!(!notice.to_string().contains(PASSWORD), "{notice}");
    for (number, without) in ["LOGIN", "PLAIN"].into_iter().enumerate() {
        let mut right = options(tls, &files);
        right.extend(["--without", without]);
        sink.start_with(&right);
        if number == 0 {
            house.tacdrop(["notice", "retry", notice["id"].as_str().unwrap()]).ok();
        } else {
            house.customer(&ticket, "put a.txt b.txt").ok();
        }
        sink.await_mails(number + 1);
        house.await_notices(number + 1);
        let used = if without == "LOGIN" { "AUTH-PLAIN encrypted" } else { "AUTH-LOGIN encrypted" };
        assert!(sink.heard().iter().any(|line| line == used), "{:?}", sink.heard());
    }
    assert_eq!(sink.mails().len(), 2);
    assert!(sink.heard().iter().all(|line| line.ends_with(" encrypted")), "{:?}", sink.heard());
    assert!(!house.log().contains(PASSWORD));
}

#[test]
fn over_tls_from_the_first_byte_only_the_right_server_gets_anything() {
    only_the_right_server_gets_anything("tls");
}

#[test]
fn over_starttls_only_the_right_server_gets_anything() {
    only_the_right_server_gets_anything("starttls");
}

#[test]
fn a_server_that_does_not_encrypt_gets_nothing_and_the_sentence_says_which_setting_to_look_at() {
    let work = tempfile::tempdir().unwrap();
    let (mut sink, _, house, ticket) = furnished(work.path(), "starttls");
    // As if somebody on the way had struck STARTTLS out.
    sink.start_with(&["--login", USER, PASSWORD]);
    house.customer(&ticket, "put a.txt").ok();
    let notice = await_sentence(&house, "does not offer STARTTLS");
    assert_eq!(notice["state"], "pending", "{notice}");
    assert!(sink.heard().is_empty(), "{:?}", sink.heard());

    let work = tempfile::tempdir().unwrap();
    let (mut sink, _, house, ticket) = furnished(work.path(), "tls");
    sink.start_with(&["--login", USER, PASSWORD]);
    house.customer(&ticket, "put a.txt").ok();
    let notice = await_sentence(&house, "does not speak TLS");
    assert!(notice["last_error"].as_str().unwrap().contains("notify.smtp.tls"), "{notice}");
    assert!(sink.heard().is_empty(), "{:?}", sink.heard());
}
