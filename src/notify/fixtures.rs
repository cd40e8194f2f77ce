//! A notice to test with.

use crate::model::{Language, NoticeId, Priority, SharePath, Time};
use crate::notify::outbox::{DueNotice, FileLine, Recipient, TicketLine};

pub(super) fn notice(language: Language) -> DueNotice {
    let mut first = file("logs/show tech Größe.txt", 1);
    first.size = 4_404_020;
    let mut second = file("core.gz", 3);
    second.sha256 = [2; 32];
    DueNotice {
        id: NoticeId::from_bytes([0x0a; 16]),
        attempts: 0,
        created_at: Time::from_seconds(1_700_000_000),
        first_of_ticket: Some(NoticeId::from_bytes([0x01; 16])),
        recipient: Recipient { name: "Anna Köhler".into(), address: "anna@example.org".into(), language },
        ticket: TicketLine {
            reference: "XT-4711".parse().unwrap(),
            title: Some("BGP flaps after the upgrade".into()),
            priority: Priority::try_from(2).unwrap(),
            organisation: "Müller & Söhne GmbH".into(),
        },
        files: vec![first, second],
        more_files: 0,
    }
}

pub(super) fn file(path: &str, version: u32) -> FileLine {
    let path = SharePath::parse(path.as_bytes()).unwrap();
    FileLine {
        version,
        size: 1,
        sha256: [1; 32],
        uploaded_by: "XT-4711".into(),
        received_at: Time::from_seconds(1_700_000_000),
        location: format!("sftp://files.example.org:2222/XT-4711/{}", path.url_encoded()),
        fetch: format!("sftp -P 2222 'anna@files.example.org:/XT-4711/{path}'"),
        path,
    }
}
