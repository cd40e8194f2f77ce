//! Notices that a mail server refuses, and what operators do about them: each arrives once, where
//! it should, as itself.

use serde_json::Value;

use crate::support::eventually;
use crate::support::files::show_tech;
use crate::support::server::{House, Ticket};
use crate::support::sink::Sink;

/// A mail server, a house that sends to it, and a ticket of the engineer `anna`; `bob` is another
/// one.
fn furnished(work: &std::path::Path) -> (Sink, House, Ticket) {
    let mut sink = Sink::new(work);
    sink.start();
    let (house, ticket, _) = sink.house().furnish();
    house.engineer("bob");
    show_tech(&house.work().join("a.txt"), 5);
    (sink, house, ticket)
}

/// The notice of a ticket, as `notice list REF` shows it.
fn notice_of(house: &House, ticket: &Ticket) -> Value {
    let list = house.json(["notice", "list", &ticket.reference]);
    assert_eq!(list.as_array().map(Vec::len), Some(1), "{list}");
    list[0].clone()
}

/// Waits until a ticket's notice stands like this, and gives it.
fn await_state(house: &House, ticket: &Ticket, state: &str) -> Value {
    let mut last = Value::Null;
    let found = || {
        let list = house.json(["notice", "list", &ticket.reference]);
        last = list[0].clone();
        (last["state"] == state && last["attempts"].as_u64() > Some(0)).then(|| last.clone())
    };
    eventually(&format!("a notice of {} that is {state}", ticket.reference), found)
}

fn id(notice: &Value) -> &str {
    notice["id"].as_str().unwrap()
}

/// A ticket with one upload whose notice was refused for good.
fn failed(house: &House, sink: &Sink, reference: &str) -> (Ticket, Value) {
    sink.refuse("RCPT 550 5.1.1 no such user");
    let ticket = house.ticket(reference, "anna");
    house.customer(&ticket, "put a.txt").ok();
    let notice = await_state(house, &ticket, "failed");
    (ticket, notice)
}

#[test]
fn r24_r81_what_a_setting_refused_is_tried_again_and_arrives_once() {
    let work = tempfile::tempdir().unwrap();
    let (sink, house, _) = furnished(work.path());
    let refusals = [
        ("MAIL 553 5.7.1 Sender address rejected: not owned by user", "553"),
        ("RCPT 550 5.7.1 Relaying denied", "550"),
        ("RCPT 554 5.7.1 <anna@support.example>: Relay access denied", "554"),
        ("MAIL 530 5.7.0 Authentication required", "530"),
        ("RCPT 451 4.7.1 Greylisted", "451"),
        ("DATA 452 4.3.1 disk full", "452"),
    ];
    for (number, (refusal, code)) in refusals.into_iter().enumerate() {
        sink.refuse(refusal);
        let ticket = house.ticket(&format!("XT-{number}"), "anna");
        house.customer(&ticket, "put a.txt").ok();
        let notice = await_state(&house, &ticket, "pending");
        let sentence = notice["last_error"].as_str().unwrap();
        assert!(sentence.contains(code) && !sentence.contains("a.txt"), "{refusal}: {notice}");
        assert!(notice["next_attempt_at"].is_string(), "{refusal}: {notice}");
        assert!(sink.recipients_of(id(&notice)).is_empty(), "{refusal}");
        sink.refuse("");
        house.tacdrop(["notice", "retry", id(&notice)]).ok();
        let after = await_state(&house, &ticket, "delivered");
        assert_eq!((&after["id"], &after["last_error"]), (&notice["id"], &Value::Null), "{refusal}");
        assert_eq!(sink.recipients_of(id(&notice)), ["anna@support.example"], "{refusal}");
        // Delivered is delivered: there is nothing left to do about it.
        for args in [&["retry"][..], &["dismiss"], &["readdress", "--engineer", "bob"]] {
            let said = house.tacdrop(["notice"].iter().chain(args).copied().chain([id(&notice)])).refused(1).err();
            assert!(said.contains("was delivered"), "{args:?}: {said}");
        }
    }
    assert_eq!(sink.mails().len(), refusals.len());
}

#[test]
fn r24_r81_what_was_refused_for_good_is_sent_again_by_each_command_once_and_as_itself() {
    let work = tempfile::tempdir().unwrap();
    let (sink, house, _) = furnished(work.path());
    let all: Vec<(Ticket, Value)> = (0..6).map(|number| failed(&house, &sink, &format!("XT-{number}"))).collect();
    let [retried, elsewhere, to_bob, assigned, dismissed, left] = &all[..] else { panic!("six are wanted") };
    for (_, notice) in &all {
        assert!(notice["last_error"].as_str().unwrap().contains("'tacdrop notice readdress'"), "{notice}");
        assert_eq!((notice["attempts"].as_u64(), &notice["next_attempt_at"]), (Some(1), &Value::Null), "{notice}");
    }
    let doctor = house.tacdrop(["doctor"]);
    assert!(doctor.out().contains('6') && doctor.out().contains("notice"), "{doctor}");

    // Refused again, it fails again, and counts from its beginning.
    house.tacdrop(["notice", "retry", id(&retried.1)]).ok();
    let again = await_state(&house, &retried.0, "failed");
    assert_eq!(again["attempts"].as_u64(), Some(1), "{again}");

    // Only this address is refused from here on: elsewhere each of them arrives.
    sink.refuse("RCPT anna@support.example 550 5.1.1 no such user");
    house.tacdrop(["notice", "readdress", id(&elsewhere.1), "desk@other.example"]).ok();
    house.tacdrop(["notice", "readdress", id(&to_bob.1), "--engineer", "bob"]).ok();
    house.tacdrop(["ticket", "assign", &assigned.0.reference, "bob"]).ok();
    house.tacdrop(["notice", "dismiss", id(&dismissed.1)]).ok();
    let sent = [(elsewhere, "desk@other.example"), (to_bob, "bob@support.example"), (assigned, "bob@support.example")];
    for ((ticket, notice), address) in sent {
        let after = await_state(&house, ticket, "delivered");
        assert_eq!(after["recipient"].as_str(), Some(address), "{after}");
        assert_eq!(sink.recipients_of(id(notice)), [address]);
    }

    // What was dismissed is sent by nothing that means all; what is left is.
    sink.refuse("");
    house.tacdrop(["ticket", "assign", &dismissed.0.reference, "bob"]).ok();
    assert_eq!(house.json(["notice", "retry", "--all-failed"]).as_array().map(Vec::len), Some(2));
    for (ticket, notice) in [retried, left] {
        await_state(&house, ticket, "delivered");
        assert_eq!(sink.recipients_of(id(notice)), ["anna@support.example"]);
    }
    assert!(house.tacdrop(["notice", "retry", "--all-failed"]).ok().out().contains("No notice has failed"));
    assert_eq!(notice_of(&house, &dismissed.0)["state"], "dismissed");
    // Named, it is.
    house.tacdrop(["notice", "retry", id(&dismissed.1)]).ok();
    await_state(&house, &dismissed.0, "delivered");
    assert_eq!(sink.recipients_of(id(&dismissed.1)), ["anna@support.example"]);
    assert_eq!(sink.mails().len(), all.len(), "each of them once");
    house.check_invariants(&[], &[b"line protocol"]);
}

#[test]
fn a_ticket_s_next_engineer_gets_what_waits_and_nobody_else_does() {
    let work = tempfile::tempdir().unwrap();
    let (sink, house, ticket) = furnished(work.path());
    sink.refuse("RCPT anna@support.example 550 5.7.1 Relaying denied");
    house.customer(&ticket, "put a.txt").ok();
    let notice = await_state(&house, &ticket, "pending");
    house.tacdrop(["ticket", "assign", &ticket.reference, "bob"]).ok();
    await_state(&house, &ticket, "delivered");
    assert_eq!(sink.recipients_of(id(&notice)), ["bob@support.example"]);
    sink.refuse("");
    // And what comes later goes to bob as well, in the thread that bob has.
    house.customer(&ticket, "put a.txt later.txt").ok();
    let mails = sink.await_mails(2);
    house.await_notices(2);
    assert!(mails.iter().all(|mail| mail.header("x-envelope") == Some("drop@support.example bob@support.example")));
    assert_eq!(mails[1].header("references"), mails[0].header("message-id"));
}

#[test]
fn what_cannot_be_done_about_a_notice_is_said_and_changes_nothing() {
    let work = tempfile::tempdir().unwrap();
    let (sink, house, _) = furnished(work.path());
    let (ticket, notice) = failed(&house, &sink, "XT-1");
    let nobody = "00000000000000000000000000000000";
    for (args, words) in [
        (&["retry", id(&notice), nobody][..], "there is no notice"),
        (&["dismiss", nobody], "there is no notice"),
        (&["readdress", nobody, "a@b.example"], "there is no notice"),
        (&["readdress", id(&notice), "nobody"], "no mail address"),
        (&["readdress", id(&notice), "a@b.example\r\nBcc: c@d.example"], "no mail address"),
        (&["readdress", id(&notice), "--engineer", "carl"], "carl"),
    ] {
        let said = house.tacdrop(["notice"].iter().chain(args).copied()).refused(1).err();
        assert!(said.contains(words), "{args:?}: {said}");
    }
    // Neither, both, and a number that is none.
    for args in
        [&["retry"][..], &["retry", id(&notice), "--all-failed"], &["readdress", id(&notice)], &["dismiss", "7"]]
    {
        house.tacdrop(["notice"].iter().chain(args).copied()).refused(2);
    }
    house.tacdrop(["engineer", "disable", "bob"]).ok();
    let said = house.tacdrop(["notice", "readdress", id(&notice), "--engineer", "bob"]).refused(1).err();
    assert!(said.contains("bob"), "{said}");
    assert_eq!(notice_of(&house, &ticket), notice);
}

#[test]
fn sent_elsewhere_while_its_answer_is_awaited_a_notice_arrives_there_and_is_delivered_only_then() {
    let work = tempfile::tempdir().unwrap();
    let (sink, house, ticket) = furnished(work.path());
    sink.hold_answers();
    house.customer(&ticket, "put a.txt").ok();
    sink.await_mails(1);
    let notice = notice_of(&house, &ticket);
    house.tacdrop(["notice", "readdress", id(&notice), "desk@other.example"]).ok();
    sink.await_mails(2);
    assert_eq!(sink.recipients_of(id(&notice)), ["anna@support.example", "desk@other.example"]);
    assert_eq!(notice_of(&house, &ticket)["state"], "pending");
    sink.answer_again();
    let after = await_state(&house, &ticket, "delivered");
    assert_eq!((after["recipient"].as_str(), after["attempts"].as_u64()), (Some("desk@other.example"), Some(1)));
    // Tried again while its answer is awaited, it is the same try.
    sink.hold_answers();
    house.customer(&ticket, "put a.txt b.txt").ok();
    sink.await_mails(3);
    let second = house.json(["notice", "list", &ticket.reference])[1].clone();
    house.tacdrop(["notice", "retry", id(&second)]).ok();
    std::thread::sleep(std::time::Duration::from_secs(3));
    sink.answer_again();
    house.await_notices(2);
    assert_eq!(sink.recipients_of(id(&second)), ["anna@support.example"]);
}

#[test]
fn dismissed_before_its_final_dot_a_notice_is_not_handed_over() {
    let work = tempfile::tempdir().unwrap();
    let (sink, house, ticket) = furnished(work.path());
    sink.refuse("RCPT 451 4.7.1 Greylisted");
    house.customer(&ticket, "put a.txt").ok();
    let notice = await_state(&house, &ticket, "pending");
    house.tacdrop(["notice", "dismiss", id(&notice)]).ok();
    sink.refuse("");
    std::thread::sleep(std::time::Duration::from_secs(12));
    assert!(sink.mails().is_empty());
    assert_eq!(notice_of(&house, &ticket)["state"], "dismissed");
}
