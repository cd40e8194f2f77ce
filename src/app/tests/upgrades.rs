//! Houses of before get the proofs of today, and what did not hold stays refused.

use sqlx::ConnectOptions;
use sqlx::SqliteConnection;
use sqlx::sqlite::SqliteConnectOptions;

use super::proofs::{desk, may_come_in, outsider, sql};
use super::*;
use crate::records::keyring::{self, KeyOf, WrappedRow};
use crate::repo::opening::adopt;
use crate::vault::{Level, WrappedKey};

/// A house of a lower level, with its rows as they stand: as it was before, or as a cut adoption
/// leaves it.
pub(super) async fn lower_to(fixture: &Fixture, level: Level) {
    let app = fixture.open().await;
    let keys = &app.0.access.repo.keys;
    let (generation, kek) = keys.newest_kek().unwrap();
    let canary = kek.seal_canary(generation, level).unwrap();
    let mut tx = keys.keyring().begin().await.unwrap();
    keyring::set_canary(tx.conn(), generation, &canary).await.unwrap();
    tx.commit().await.unwrap();
    app.close().await;
}

/// Gives the tickets the proofs that they had before there were kinds: the fields are those of
/// `docs/format.md`.
async fn prove_as_before(fixture: &Fixture, conn: &mut SqliteConnection) {
    let app = fixture.open().await;
    let repo = &app.0.access.repo;
    let mut former = Vec::new();
    let mut reader = repo.records.read().await.unwrap();
    for row in crate::records::tickets::all(&mut reader).await.unwrap() {
        let language = row.language.map_or("", Language::code);
        let tokens = crate::records::tokens::of_ticket(&mut reader, &row.reference).await;
        let former_hash = tokens.unwrap().iter().find(|token| token.ended_at.is_none()).unwrap().verifier;
        let fields: [&[u8]; 11] = [
            row.reference.as_str().as_bytes(),
            row.share.as_bytes(),
            row.organisation.as_str().as_bytes(),
            row.engineer.as_str().as_bytes(),
            language.as_bytes(),
            row.status.as_str().as_bytes(),
            &former_hash,
            &row.token_generation.to_be_bytes(),
            &row.key_generation.to_be_bytes(),
            &[u8::from(row.device)],
            b"",
        ];
        former.push((row.reference.clone(), repo.keys.proof().prove("proof of ticket, 1", &fields), former_hash));
    }
    let mut engineers = Vec::new();
    for row in crate::records::people::engineers(&mut reader, None).await.unwrap() {
        let language = row.language.map_or("", Language::code);
        let fields: [&[u8]; 4] = [row.id.as_str().as_bytes(), row.email.as_bytes(), language.as_bytes(), b""];
        engineers.push((row.id.clone(), repo.keys.proof().prove("proof of engineer, 1", &fields)));
    }
    drop(reader);
    app.close().await;
    drop(app);
    for (id, proof) in engineers {
        sql(conn, &format!("UPDATE engineer SET proof = x'{}' WHERE id = '{id}'", hex::encode(proof))).await;
    }
    sql(conn, "DELETE FROM ticket_token").await;
    for (reference, proof, hash) in former {
        let (proof, hash) = (hex::encode(proof), hex::encode(hash));
        let text =
            format!("UPDATE ticket SET proof = x'{proof}', token_hash = x'{hash}' WHERE reference = '{reference}'");
        sql(conn, &text).await;
    }
    lower_to(fixture, Level::Proving).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_house_of_before_the_desk_gets_the_proofs_that_it_lacks_and_no_others() {
    let fixture = Fixture::new();
    let app = fixture.open().await;
    let token = desk(&app).await;
    app.tickets().add_organisation(word("OTHER"), "Other".to_owned(), None).await.unwrap();
    app.close().await;
    drop(app);
    for with_proofs in [false, true] {
        lower_to(&fixture, Level::Proving).await;
        let mut conn = outsider(&fixture).await;
        if !with_proofs {
            sql(&mut conn, "UPDATE organisation SET proof = NULL").await;
            prove_as_before(&fixture, &mut conn).await;
        }
        // What was refused before is refused behind it.
        sql(&mut conn, "UPDATE engineer SET email = 'thief@example.net' WHERE id = 'bert'").await;
        let app = fixture.open().await;
        assert!(app.0.access.repo.keys.level() >= Level::Desk);
        assert_eq!(app.tickets().unproved().await.unwrap(), ["engineer bert"]);
        assert_eq!(may_come_in(&app, &token).await, (true, true));
        let tokens = app.tickets().tokens(&word("XT-1")).await.unwrap();
        assert_eq!(tokens.iter().filter(|token| token.state == "valid" && token.main && token.renews).count(), 1);
        app.close().await;
    }
}

/// A house as it was before there were proofs, or as a cut adoption leaves it.
pub(super) async fn make_bare(fixture: &Fixture, with_proofs: bool) {
    let app = fixture.open().await;
    let keys = &app.0.access.repo.keys;
    let (generation, kek) = keys.newest_kek().unwrap();
    let mut tx = keys.keyring().begin().await.unwrap();
    for (share, row) in keyring::share_keys(tx.conn()).await.unwrap() {
        let wrapped = WrappedKey::try_from(&row.wrapped[..]).unwrap();
        let key = kek.unwrap_share_key(row.kek_generation, share, Some(row.generation), &wrapped).unwrap();
        let wrapped = kek.wrap_share_key(row.kek_generation, share, None, &key).unwrap().as_bytes().to_vec();
        keyring::rewrap(tx.conn(), &KeyOf::Share(share), &WrappedRow { wrapped, ..row }).await.unwrap();
    }
    let canary = kek.seal_canary(generation, Level::Bare).unwrap();
    keyring::set_canary(tx.conn(), generation, &canary).await.unwrap();
    tx.commit().await.unwrap();
    app.close().await;
    if !with_proofs {
        let mut conn = outsider(fixture).await;
        for table in ["organisation", "ticket", "ticket_token", "engineer", "engineer_key"] {
            sql(&mut conn, &format!("UPDATE {table} SET proof = NULL")).await;
        }
        let file = DataDirectory::at(fixture.directory.path().join("data")).keyring();
        let mut keyring = SqliteConnectOptions::new().filename(file).connect().await.unwrap();
        assert_eq!(sql(&mut keyring, "DELETE FROM server_key WHERE purpose = 'proof'").await, 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_house_of_before_is_given_its_proofs_wherever_that_was_cut() {
    let fixture = Fixture::new();
    let app = fixture.open().await;
    let token = desk(&app).await;
    app.close().await;
    drop(app);
    for with_proofs in [false, true, false] {
        make_bare(&fixture, with_proofs).await;
        let app = fixture.open().await;
        assert!(app.0.access.repo.keys.level() >= Level::Desk);
        assert_eq!(app.tickets().unproved().await.unwrap(), Vec::<String>::new());
        assert_eq!(may_come_in(&app, &token).await, (true, true));
        // Done once: what comes later is not taken in.
        let mut conn = outsider(&fixture).await;
        sql(&mut conn, "UPDATE ticket SET proof = NULL").await;
        adopt(&app.0.access.repo.records, &app.0.access.repo.keys, &fixture.settings).await.unwrap();
        app.close().await;
        drop(app);
        let app = fixture.open().await;
        assert_eq!(app.tickets().unproved().await.unwrap(), ["ticket XT-1"]);
        app.close().await;
        drop(app);
        make_bare(&fixture, true).await;
        fixture.open().await.close().await;
    }
}
