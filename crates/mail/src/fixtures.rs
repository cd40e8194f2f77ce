//! A notice to test with.

use crate::mailer::{DeliveryError, Permission};
use crate::notice::{Arrival, Before, DueNotice, FileLine, News, Recipient, Standing, TicketLine};
use tacdrop_model::{Audience, Language, NoticeId, Priority, SharePath, Time};

pub(crate) fn notice(language: Language) -> DueNotice {
    let mut first = file("logs/show tech Größe.txt", 1);
    arrival(&mut first).size = 4_404_020;
    let mut second = file("core.gz", 3);
    arrival(&mut second).sha256 = [2; 32];
    DueNotice {
        id: NoticeId::from_bytes([0x0a; 16]),
        audience: Audience::Engineers,
        attempts: 0,
        lost_answers: 0,
        created_at: Time::from_seconds(1_700_000_000),
        first_of_ticket: Some(NoticeId::from_bytes([0x01; 16])),
        recipient: Recipient {
            name: "Anna Köhler".into(),
            address: "anna@example.org".into(),
            language,
            instead_of: None,
        },
        ticket: TicketLine {
            reference: "XT-4711".parse().unwrap(),
            title: Some("BGP flaps after the upgrade".into()),
            priority: Priority::try_from(2).unwrap(),
            organisation: "Müller & Söhne GmbH".into(),
        },
        files: vec![first, second],
        more_files: 0,
        more_unfinished: 0,
        more_deleted: 0,
        unreadable: Vec::new(),
        missing: Vec::new(),
    }
}

pub(crate) fn file(path: &str, version: u32) -> FileLine {
    let path = SharePath::parse(path.as_bytes()).unwrap();
    let arrival = Arrival {
        size: 1,
        zeros: 0,
        sha256: [1; 32],
        received_at: Time::from_seconds(1_700_000_000),
        location: format!("sftp://files.example.org:2222/XT-4711/{}", path.url_encoded()),
        fetch: Some(format!("sftp -P 2222 'anna@files.example.org:/XT-4711/{path}'")),
        receipt: None,
        moved_from: None,
        before: version.checked_sub(1).filter(|before| *before > 0).map(|version| Before {
            version,
            size: 12_345,
            continued: false,
        }),
        replaced_by: None,
        standing: Standing::Available,
        checks: Vec::new(),
        transport: tacdrop_model::Transport::Modern,
    };
    FileLine { path, version, uploaded_by: "XT-4711".into(), news: News::Arrived(Box::new(arrival)) }
}

/// The arrival in a line made by [`file`].
pub(crate) fn arrival(line: &mut FileLine) -> &mut Arrival {
    let News::Arrived(arrival) = &mut line.news else { panic!("this one is not whole") };
    arrival
}

/// Mails may always be handed over.
pub(super) struct Always;

impl Permission for Always {
    async fn ask(&self) -> Result<(), DeliveryError> {
        Ok(())
    }
}
