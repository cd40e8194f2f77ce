//! Every combination of pieces against what must hold, and the rows that operators meet.

use super::*;

const A: HouseId = HouseId::from_bytes([0xaa; 16]);
const B: HouseId = HouseId::from_bytes([0xbb; 16]);
const DATABASES: [Database; 5] =
    [Database::Missing, Database::Empty, Database::Unnamed, Database::Named(A), Database::Named(B)];
const KEKS: [KekFile; 4] = [KekFile::Missing, KekFile::There, KekFile::Fits, KekFile::Unfit];
const STORES: [Store; 4] = [Store::Empty, Store::Unmarked, Store::Marked(A), Store::Marked(B)];
const OCCASIONS: [Occasion; 3] = [Occasion::Command, Occasion::Serve, Occasion::Init];

fn for_each_combination(mut each: impl FnMut(Pieces)) {
    for records in DATABASES {
        for keyring in DATABASES {
            for kek in KEKS {
                for store in STORES {
                    for bits in 0..32u8 {
                        let bit = |number: u8| bits >> number & 1 == 1;
                        let (host_key, beginning, related) = (bit(0), bit(1), bit(2));
                        let (needs, found) = (bit(3), bit(4));
                        each(Pieces { records, keyring, kek, store, host_key, beginning, related, needs, found });
                    }
                }
            }
        }
    }
}

fn is_there(database: Database) -> bool {
    !matches!(database, Database::Missing | Database::Empty)
}

/// The ids that the pieces bear.
fn ids(p: &Pieces) -> Vec<HouseId> {
    let databases = [p.records, p.keyring].into_iter().filter_map(|one| match one {
        Database::Named(id) => Some(id),
        _ => None,
    });
    let store = if let Store::Marked(id) = p.store { Some(id) } else { None };
    databases.chain(store).collect()
}

#[test]
fn a_house_begins_only_where_nothing_of_one_is_or_where_the_operator_says_so() {
    for_each_combination(|p| {
        let databases = is_there(p.records) as u8 + is_there(p.keyring) as u8;
        let nothing = (p.records, p.keyring) == (Database::Missing, Database::Missing)
            && (p.kek, p.store, p.host_key) == (KekFile::Missing, Store::Empty, false);
        for occasion in OCCASIONS {
            let verdict = p.judge(occasion);
            if nothing {
                assert_eq!(verdict, Ok(Verdict::Begin), "{p:?} {occasion:?}");
            }
            if verdict != Ok(Verdict::Begin) {
                continue;
            }
            // Objects are never put under new keys, and neither are the rows of a house.
            assert!(p.store == Store::Empty && databases < 2, "{p:?} {occasion:?}");
            assert!(p.beginning || databases == 0, "{p:?} {occasion:?}");
            assert!(nothing || p.beginning || occasion == Occasion::Init, "{p:?} {occasion:?}");
            assert!(!is_there(p.keyring) || p.kek != KekFile::Missing, "{p:?}: another KEK would be made");
        }
    });
}

#[test]
fn a_house_is_opened_only_if_all_pieces_are_of_it_and_then_it_is() {
    for_each_combination(|p| {
        let ids = ids(&p);
        let one_house = ids.windows(2).all(|pair| pair[0] == pair[1]);
        let unnamed = [p.records, p.keyring].contains(&Database::Unnamed);
        let tied = !unnamed || p.related || p.beginning;
        let unnamed_store = !matches!(p.store, Store::Marked(_));
        let missed = p.needs && !p.found;
        for occasion in OCCASIONS {
            let verdict = p.judge(occasion);
            let whole = is_there(p.records) && is_there(p.keyring) && p.kek == KekFile::Fits && one_house && tied;
            let store_fits = match (unnamed_store, ids.len()) {
                (true, _) => !missed || occasion != Occasion::Serve,
                // Nobody but the store has an id: it must have what the records need.
                (false, 1) => !missed,
                (false, _) => true,
            };
            let may = occasion != Occasion::Init || p.beginning;
            assert_eq!(matches!(verdict, Ok(Verdict::Open(_))), whole && store_fits && may, "{p:?} {occasion:?}");
            if let Ok(Verdict::Open(house)) = verdict {
                assert_eq!(house, ids.first().copied(), "{p:?} {occasion:?}");
            }
        }
    });
}

#[test]
fn a_command_is_refused_what_a_server_is_but_for_a_store_that_is_lost() {
    for_each_combination(|p| {
        let (command, server) = (p.judge(Occasion::Command), p.judge(Occasion::Serve));
        let store = matches!(server, Err(Why::StoreLost | Why::StoreOfAnother));
        assert!(command == server || store, "{p:?} {command:?} {server:?}");
    });
}

#[test]
fn every_refusal_says_what_is_wrong_and_what_to_do() {
    use Database::{Empty, Missing, Named, Unnamed};
    let whole = Pieces {
        records: Named(A),
        keyring: Named(A),
        kek: KekFile::Fits,
        store: Store::Marked(A),
        host_key: true,
        beginning: false,
        related: false,
        needs: false,
        found: false,
    };
    let none = Pieces {
        records: Missing,
        keyring: Missing,
        kek: KekFile::Missing,
        store: Store::Empty,
        host_key: false,
        ..whole
    };
    let unnamed = Pieces { records: Unnamed, keyring: Unnamed, store: Store::Unmarked, related: true, ..whole };
    let lost = Pieces { needs: true, found: false, ..whole };
    let rows = [
        (Pieces { records: Missing, ..whole }, Why::RecordsLost, "mount"),
        (Pieces { records: Empty, ..whole }, Why::RecordsLost, "tacdrop restore"),
        (Pieces { keyring: Missing, kek: KekFile::There, ..whole }, Why::KeyringLost, "keyring.sqlite"),
        (Pieces { keyring: Empty, kek: KekFile::There, ..whole }, Why::KeyringLost, "its backup"),
        (Pieces { store: Store::Marked(A), ..none }, Why::DatabasesLost, "are missing or empty"),
        (Pieces { store: Store::Unmarked, ..none }, Why::DatabasesLost, "are missing or empty"),
        (Pieces { records: Empty, keyring: Empty, store: Store::Unmarked, ..none }, Why::DatabasesLost, "mount"),
        // The data's file system is not mounted, and the KEK lies elsewhere.
        (Pieces { kek: KekFile::There, ..none }, Why::OnlyKeys, "tacdrop init"),
        (Pieces { host_key: true, ..none }, Why::OnlyKeys, "mount"),
        (Pieces { records: Empty, keyring: Empty, ..none }, Why::OnlyKeys, "tacdrop init"),
        (Pieces { kek: KekFile::Missing, ..whole }, Why::Kek, "put the right one there"),
        (Pieces { kek: KekFile::Unfit, ..whole }, Why::Kek, "put the right one there"),
        (Pieces { keyring: Named(B), ..whole }, Why::KeyringOfAnother, "different houses"),
        (Pieces { records: Named(B), ..whole }, Why::KeyringOfAnother, "different houses"),
        (Pieces { related: false, ..unnamed }, Why::KeyringOfAnother, "different houses"),
        (Pieces { keyring: Unnamed, ..whole }, Why::KeyringOfAnother, "different houses"),
        (Pieces { store: Store::Marked(B), ..whole }, Why::StoreOfAnother, "another house"),
        (Pieces { store: Store::Unmarked, ..lost }, Why::StoreOfAnother, "another house"),
        (Pieces { store: Store::Empty, ..lost }, Why::StoreLost, "mount their file system"),
    ];
    let data = DataDirectory::at("/srv/tacdrop");
    for (pieces, why, says) in rows {
        assert_eq!(pieces.judge(Occasion::Serve), Err(why), "{pieces:?}");
        let said = why.refusal(&data, Path::new("/etc/kek")).to_string();
        assert!(said.contains(says) && said.contains('/') && !said.ends_with('.'), "{why:?}: {said}");
    }
    assert_eq!(whole.judge(Occasion::Serve), Ok(Verdict::Open(Some(A))));
    assert_eq!(none.judge(Occasion::Serve), Ok(Verdict::Begin));
    assert_eq!(unnamed.judge(Occasion::Serve), Ok(Verdict::Open(None)));
    assert_eq!(whole.judge(Occasion::Init), Err(Why::IsThere));
    assert_eq!(Pieces { kek: KekFile::There, ..none }.judge(Occasion::Init), Ok(Verdict::Begin));
    // A restore from a backup of before there were ids, beside what has one.
    for pieces in
        [Pieces { records: Unnamed, related: true, ..whole }, Pieces { keyring: Unnamed, related: true, ..whole }]
    {
        assert_eq!(pieces.judge(Occasion::Serve), Ok(Verdict::Open(Some(A))));
    }
}
