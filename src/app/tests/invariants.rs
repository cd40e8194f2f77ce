//! The invariants I1 to I6 of the requirements, checked on an open data directory after whatever a
//! test did to it.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;

use sha2::{Digest as _, Sha256};

use crate::app::App;
use crate::model::{ArtifactId, NoticeState, SharePath, VersionState};
use crate::namespace::tree::{ResolvedPath, ShareContext, is_from_support, path_of};
use crate::records::versions::VersionRow;
use crate::records::{Conn, consistency, tickets, version_chain, versions};

/// Asserts that all six hold, as far as records, store and files can tell. No upload may be under
/// way.
///
/// `promised`: what an acknowledged CLOSE promised, `REF/PATH` as an engineer sees it and the
/// SHA-256. An upload of the same name that was published later, acknowledged or not, may stand in
/// front of it. `canaries`: contents and names that must be nowhere in clear under the data
/// directory, the mail spool left out.
///
/// It marks what does not verify as damaged, and a damaged version breaks I2: nothing that was ever
/// durable may be lost.
pub(crate) async fn hold(app: &App, promised: &BTreeMap<String, [u8; 32]>, canaries: &[&[u8]]) {
    let verified = app.integrity().verify(None, |_| ()).await.unwrap();
    let broken: Vec<_> = verified.iter().filter(|one| !one.intact).collect();
    assert!(broken.is_empty(), "I2: {broken:#?}");
    hold_but_for_damage(app, promised, canaries).await;
    super::compare::rows_are_as_told(app).await;
}

/// The same for a test that has damaged something itself: what is marked as damaged may be so, and
/// what is promised must not be among it.
pub(crate) async fn hold_but_for_damage(app: &App, promised: &BTreeMap<String, [u8; 32]>, canaries: &[&[u8]]) {
    let all = all_versions(app).await;
    for (ticket, _, version) in &all {
        // I2, the other way round: what verifying passes over is not called available.
        let is_sealed = matches!(version.state, VersionState::Available | VersionState::Withdrawn);
        assert!(!is_sealed || version.manifest.is_some(), "I2: {ticket} {version:?}");
    }
    for (place, sha256) in promised {
        is_there(app, place, sha256).await;
    }
    notices_tell_the_truth(app, &all).await;

    let mut conn = app.0.access.repo.records.read().await.unwrap();
    let wrong = consistency::wrong_sums(&mut conn).await.unwrap();
    assert!(wrong.is_empty(), "I4: {wrong:?}");
    chain_holds(&mut conn).await;
    drop(conn);
    nothing_is_in_clear(app.data().root(), &app.data().notices(), canaries);
}

/// Every version with its ticket, and whether it lies in `from-support`.
async fn all_versions(app: &App) -> Vec<(String, bool, VersionRow)> {
    let mut conn = app.0.access.repo.records.read().await.unwrap();
    let mut all = Vec::new();
    for ticket in tickets::all(&mut conn).await.unwrap() {
        let keys = app.0.access.repo.keys.share(ticket.share).await.unwrap();
        for version in versions::of_share(&mut conn, ticket.share).await.unwrap() {
            let path = path_of(&mut conn, &keys, version.artifact.as_bytes()).await.unwrap();
            let from_support = path.names().first().is_some_and(is_from_support);
            all.push((ticket.reference.to_string(), from_support, version));
        }
    }
    all
}

/// I1: what was promised is current, or an older version of what is current.
async fn is_there(app: &App, place: &str, sha256: &[u8; 32]) {
    let (reference, path) = place.trim_start_matches('/').split_once('/').expect("REF/PATH");
    let path = SharePath::parse(path.as_bytes()).unwrap();
    let mut conn = app.0.access.repo.records.read().await.unwrap();
    let ticket = tickets::by_reference(&mut conn, reference).await.unwrap().expect("the ticket of what was promised");
    let keys = app.0.access.repo.keys.share(ticket.share).await.unwrap();
    let context = ShareContext { ticket: ticket.reference, keys, aliases: false };
    let resolved = ResolvedPath::find(&mut conn, context, path.names()).await;
    let entry = resolved.ok().and_then(|resolved| resolved.entry).unwrap_or_else(|| panic!("I1: {place} is gone"));
    let current = entry.current.unwrap_or_else(|| panic!("I1: {place} is not available"));
    let current = versions::by_id(&mut conn, current.id).await.unwrap().unwrap();
    assert_eq!(current.state, VersionState::Available, "I1: {place}");
    if current.sha256 == Some(*sha256) {
        return;
    }
    let of_share = versions::of_share(&mut conn, ticket.share).await.unwrap();
    for id in version_chain::entries(&mut conn, &entry.id).await.unwrap() {
        let older = of_share.iter().filter(|version| version.artifact == ArtifactId::from_bytes(id));
        for version in older.filter(|version| version.sha256 == Some(*sha256)) {
            let is_older = id != entry.id || version.number < current.number;
            if is_older && version.state == VersionState::Available {
                return;
            }
        }
    }
    panic!("I1: {place} is not what was promised, nor is an older version of it");
}

/// I3: every available version of the customer's has a notice on its way, and no notice calls
/// anything else available.
async fn notices_tell_the_truth(app: &App, all: &[(String, bool, VersionRow)]) {
    let mut conn = app.0.access.repo.records.read().await.unwrap();
    let announced = tacdrop_probe::announced(&mut conn).await.unwrap();
    let on_its_way: HashSet<_> =
        announced.iter().filter(|(_, state)| *state != NoticeState::Failed).map(|(id, _)| *id).collect();
    for (ticket, from_support, version) in all {
        let told = on_its_way.contains(&version.id);
        let tell = version.state == VersionState::Available && !from_support;
        assert!(told || !tell, "I3: nobody is told of version {} of ticket {ticket}", version.id);
    }
    let complete: HashSet<_> = all
        .iter()
        // Of one that was shredded since, its row does not say whether it was whole.
        .filter(|(_, _, version)| version.sha256.is_some() || version.state == VersionState::Shredded)
        .map(|(_, _, version)| version.id)
        .collect();
    for (id, _) in announced {
        assert!(complete.contains(&id), "I3: a notice calls version {id} available, which never was");
    }
}

/// I5: every row of the audit trail fits the one before it. A walk of its own, so that the house's
/// cannot be wrong with it.
async fn chain_holds(conn: &mut Conn) {
    let mut link = [0; 32];
    for (row, expected) in tacdrop_probe::audit_rows(conn).await.unwrap().into_iter().zip(1..) {
        assert_eq!(row.seq, expected, "I5: an event is missing");
        let mut hash = Sha256::new_with_prefix(link);
        let fields: [&[u8]; 7] = [
            &row.seq.to_be_bytes(),
            &row.at.to_be_bytes(),
            row.kind.as_bytes(),
            row.actor.as_bytes(),
            row.ticket.as_deref().unwrap_or_default().as_bytes(),
            row.subject.as_deref().unwrap_or_default(),
            row.detail.as_bytes(),
        ];
        for field in fields {
            hash.update((field.len() as u64).to_be_bytes());
            hash.update(field);
        }
        link = hash.finalize().into();
        assert_eq!(row.chain, link, "I5: event {expected} ({}) does not fit the one before it", row.kind);
    }
}

/// I6: no file under `directory`, outside of `except`, holds a canary in its bytes or its name.
fn nothing_is_in_clear(directory: &Path, except: &Path, canaries: &[&[u8]]) {
    for item in std::fs::read_dir(directory).unwrap() {
        let path = item.unwrap().path();
        for canary in canaries {
            assert!(!canary.is_empty(), "an empty canary is everywhere");
            let name = path.file_name().unwrap().as_encoded_bytes();
            assert!(!contains(name, canary), "I6: {} is named after a canary", path.display());
        }
        if path.is_dir() {
            if path != except {
                nothing_is_in_clear(&path, except, canaries);
            }
        } else if !canaries.is_empty() {
            let bytes = std::fs::read(&path).unwrap_or_default();
            for canary in canaries {
                let shown = String::from_utf8_lossy(canary);
                assert!(!contains(&bytes, canary), "I6: {} holds {shown:?}", path.display());
            }
        }
    }
}

/// Whether `bytes` hold `wanted`.
fn contains(bytes: &[u8], wanted: &[u8]) -> bool {
    let mut rest = bytes;
    while let Some(at) = rest.iter().position(|byte| *byte == wanted[0]) {
        if rest[at..].starts_with(wanted) {
            return true;
        }
        rest = &rest[at + 1..];
    }
    false
}

mod proofs {
    //! The checker can fail.

    use sha2::Digest as _;

    use super::super::*;
    use super::{BTreeMap, hold};

    /// What the checker says of a house after something was done to it.
    async fn said(app: &App, promised: &[(&str, [u8; 32])], canary: &'static [u8]) -> String {
        let promised: BTreeMap<_, _> = promised.iter().map(|(place, sha256)| ((*place).to_owned(), *sha256)).collect();
        let app = app.clone();
        let checked = tokio::spawn(async move { hold(&app, &promised, &[canary]).await });
        match checked.await {
            Ok(()) => "all hold".to_owned(),
            Err(error) => error.into_panic().downcast_ref::<String>().cloned().unwrap_or_default(),
        }
    }

    async fn tamper(app: &App, statement: &'static str) {
        let mut tx = app.0.access.repo.records.begin().await.unwrap();
        assert!(tacdrop_probe::execute(tx.conn(), statement).await.unwrap() > 0, "{statement}");
        tx.commit().await.unwrap();
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn each_invariant_is_missed_when_it_is_broken() {
        let fixture = Fixture::new();
        let app = fixture.open().await;
        let session = customer(&app, "XT-1").await;
        for (name, bytes) in [("f", &b"first"[..]), ("f", b"second"), ("g", &pattern(200_000, 1))] {
            put(&session, name, bytes).await;
        }
        let digest = |bytes: &[u8]| <[u8; 32]>::from(sha2::Sha256::digest(bytes));
        let good =
            [("XT-1/f", digest(b"second")), ("/XT-1/f", digest(b"first")), ("XT-1/g", digest(&pattern(200_000, 1)))];
        assert_eq!(said(&app, &good, b"a canary of ours").await, "all hold");

        let begins = async |promised: &[(&str, [u8; 32])], canary, with: &str| {
            let said = said(&app, promised, canary).await;
            assert!(said.contains(with), "{with}: {said}");
        };
        begins(&[("XT-1/f", digest(b"third"))], b"?!?!", "I1: XT-1/f is not what was promised").await;
        begins(&[("XT-1/h", digest(b"third"))], b"?!?!", "I1: XT-1/h is gone").await;
        std::fs::write(app.data().root().join("stray"), b"here is a canary of ours").unwrap();
        begins(&good, b"a canary of ours", "I6").await;
        tamper(&app, "UPDATE ticket SET names = names + 1").await;
        begins(&good, b"?!?!", "I4").await;
        tamper(&app, "UPDATE ticket SET names = names - 1, stored_bytes = stored_bytes + 1").await;
        begins(&good, b"?!?!", "I4").await;
        tamper(&app, "UPDATE ticket SET stored_bytes = stored_bytes - 1").await;
        tamper(&app, "UPDATE notice SET state = 'failed'").await;
        begins(&good, b"?!?!", "I3: nobody is told").await;
        tamper(&app, "UPDATE notice SET state = 'pending'").await;
        begins(&good, b"?!?!", "all hold").await;
        tamper(&app, "UPDATE audit_event SET actor = 'nobody' WHERE seq = 3").await;
        begins(&good, b"?!?!", "I5: event 3").await;
        tamper(&app, "UPDATE version SET sha256 = manifest_hash WHERE number = 1").await;
        begins(&good, b"?!?!", "I2").await;
    }
}
