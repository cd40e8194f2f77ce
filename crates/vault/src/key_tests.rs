//! Wraps open where they belong, and nowhere else.

use std::collections::BTreeSet;

use super::*;

const SHARE: ShareId = ShareId::from_bytes([1; 16]);
const OTHER_SHARE: ShareId = ShareId::from_bytes([2; 16]);
const VERSION: VersionId = VersionId::from_bytes([3; 16]);
const OTHER_VERSION: VersionId = VersionId::from_bytes([4; 16]);
const EXTENT: ObjectId = ObjectId::from_bytes([5; 16]);
const OTHER_EXTENT: ObjectId = ObjectId::from_bytes([6; 16]);

/// Small texts: `docs/format.md` reserves a label for them, the golden artifact holds one, and
/// nothing keeps any yet.
impl ShareKey {
    pub(crate) fn seal_text(
        &self,
        share: ShareId,
        id: [u8; 16],
        purpose: &str,
        text: &str,
    ) -> Result<Vec<u8>, VaultError> {
        let bond = self.names(share).bond(Purpose::Text, id, purpose.as_bytes());
        bond.seal(&Purpose::Text.key_from(&self.0), text.as_bytes())
    }

    pub(crate) fn open_text(
        &self,
        share: ShareId,
        id: [u8; 16],
        purpose: &str,
        sealed: &[u8],
    ) -> Result<String, VaultError> {
        let bond = self.names(share).bond(Purpose::Text, id, purpose.as_bytes());
        let text = bond.open(&Purpose::Text.key_from(&self.0), sealed)?;
        Ok(String::from_utf8(text.to_vec()).unwrap())
    }
}

#[test]
fn r04_wraps_open_only_where_they_belong() {
    let (kek, other_kek) = (Kek::generate().unwrap(), Kek::generate().unwrap());
    let (share, file, extent) =
        (ShareKey::generate().unwrap(), FileKey::generate().unwrap(), ExtentKey::generate().unwrap());

    for own in [None, Some(1), Some(2)] {
        let wrapped = kek.wrap_share_key(7, SHARE, own, &share).unwrap();
        assert_eq!(kek.unwrap_share_key(7, SHARE, own, &wrapped).unwrap().0, share.0);
        assert!(kek.unwrap_share_key(8, SHARE, own, &wrapped).is_err());
        assert!(kek.unwrap_share_key(7, OTHER_SHARE, own, &wrapped).is_err());
        assert!(other_kek.unwrap_share_key(7, SHARE, own, &wrapped).is_err());
        for other in [None, Some(1), Some(2), Some(3)].into_iter().filter(|other| *other != own) {
            assert!(kek.unwrap_share_key(7, SHARE, other, &wrapped).is_err(), "{own:?} as {other:?}");
        }
    }

    let wrapped = share.wrap_file_key(1, SHARE, VERSION, &file).unwrap();
    assert_eq!(share.unwrap_file_key(1, SHARE, VERSION, &wrapped).unwrap().key, file.key);
    assert!(share.unwrap_file_key(2, SHARE, VERSION, &wrapped).is_err());
    assert!(share.unwrap_file_key(1, OTHER_SHARE, VERSION, &wrapped).is_err());
    assert!(share.unwrap_file_key(1, SHARE, OTHER_VERSION, &wrapped).is_err());
    assert!(ShareKey::generate().unwrap().unwrap_file_key(1, SHARE, VERSION, &wrapped).is_err());

    let wrapped = file.wrap_extent_key(VERSION, EXTENT, &extent).unwrap();
    assert_eq!(file.unwrap_extent_key(VERSION, EXTENT, &wrapped).unwrap().0, extent.0);
    assert!(file.unwrap_extent_key(OTHER_VERSION, EXTENT, &wrapped).is_err());
    assert!(file.unwrap_extent_key(VERSION, OTHER_EXTENT, &wrapped).is_err());
    assert!(FileKey::generate().unwrap().unwrap_extent_key(VERSION, EXTENT, &wrapped).is_err());

    // The same bytes as a key and as ids: only the purpose differs.
    let same = ShareKey(kek.0);
    let as_file = same.wrap_file_key(0, SHARE, VERSION, &file).unwrap();
    assert!(FileKey { key: kek.0, used: AtomicU64::new(0) }.unwrap_extent_key(VERSION, EXTENT, &as_file).is_err());
}

#[test]
fn r02_every_changed_byte_of_a_wrap_is_refused() {
    let (kek, share) = (Kek::generate().unwrap(), ShareKey::generate().unwrap());
    let wrapped = kek.wrap_share_key(1, SHARE, Some(1), &share).unwrap();
    for at in 0..WRAPPED_KEY {
        let mut changed = *wrapped.as_bytes();
        changed[at] ^= 1;
        assert!(kek.unwrap_share_key(1, SHARE, Some(1), &WrappedKey(changed)).is_err(), "{at}");
    }
    assert!(WrappedKey::try_from(&wrapped.as_bytes()[1..]).is_err());
    assert!(WrappedKey::try_from(&[0; 61][..]).is_err());
}

#[test]
fn a_next_kek_is_marked_by_who_has_the_one_before() {
    let [one, two, other] = [1, 2, 3].map(|byte| Kek::from_bytes(&[byte; 32]));
    let mark = one.mark_of(&two);
    assert!(one.is_mark_of(&two, &mark));
    assert!(!one.is_mark_of(&other, &mark) && !other.is_mark_of(&two, &mark) && !two.is_mark_of(&one, &mark));
    assert!(!one.is_mark_of(&two, &[]) && !one.is_mark_of(&two, &mark[1..]));
}

#[test]
fn r09_a_wrong_kek_does_not_pass_the_canary() {
    let kek = Kek::generate().unwrap();
    for level in Level::ALL {
        let canary = kek.seal_canary(1, level).unwrap();
        assert_eq!(kek.check_canary(1, &canary), Ok(level));
        assert_eq!(Kek::from_bytes(&kek.to_secret_bytes()).check_canary(1, &canary), Ok(level));
        assert_eq!(Kek::generate().unwrap().check_canary(1, &canary), Err(VaultError::BadCanary));
        assert_eq!(kek.check_canary(2, &canary), Err(VaultError::BadCanary));
        assert_eq!(kek.check_canary(1, &canary[1..]), Err(VaultError::BadCanary));
        assert_eq!(kek.check_canary(1, b""), Err(VaultError::BadCanary));
    }
}

#[test]
fn secrets_of_the_server_open_for_their_purpose_only() {
    let kek = Kek::generate().unwrap();
    for secret in [&b""[..], b"secret", &[9; 5000]] {
        let wrapped = kek.wrap_secret(1, "token", secret).unwrap();
        assert_eq!(**kek.unwrap_secret(1, "token", &wrapped).unwrap(), *secret);
        assert!(kek.unwrap_secret(2, "token", &wrapped).is_err());
        assert!(kek.unwrap_secret(1, "toke", &wrapped).is_err());
        assert!(kek.unwrap_secret(1, "token\0", &wrapped).is_err());
        for length in 0..wrapped.len().min(100) {
            assert!(kek.unwrap_secret(1, "token", &wrapped[..length]).is_err());
        }
    }
}

#[test]
fn sealed_states_are_bound_to_version_and_count() {
    let file = FileKey::generate().unwrap();
    let sealed = file.seal_state(VERSION, 65_536, b"state").unwrap();
    assert_eq!(file.open_state(VERSION, 65_536, &sealed), Ok(b"state".to_vec()));
    assert!(file.open_state(VERSION, 65_537, &sealed).is_err());
    assert!(file.open_state(OTHER_VERSION, 65_536, &sealed).is_err());
    assert!(FileKey::generate().unwrap().open_state(VERSION, 65_536, &sealed).is_err());
    assert!(file.open_state(VERSION, 65_536, &sealed[..20]).is_err());
}

#[test]
fn names_are_bound_to_their_entry_and_found_by_their_nfc_form() {
    let key = ShareKey::generate().unwrap();
    let names = key.names(SHARE);
    let name = FileName::new("Größe.txt".as_bytes()).unwrap();
    let sealed = names.seal_name([1; 16], &name).unwrap();
    assert_eq!(names.open_name([1; 16], &sealed), Ok(name.clone()));
    assert!(names.open_name([2; 16], &sealed).is_err());
    assert!(key.names(OTHER_SHARE).open_name([1; 16], &sealed).is_err());
    assert!(ShareKey::generate().unwrap().names(SHARE).open_name([1; 16], &sealed).is_err());
    assert_ne!(names.seal_name([1; 16], &name).unwrap(), sealed);

    let root = DirectoryId::root_of(SHARE);
    let decomposed = FileName::new("Gro\u{308}ße.txt".as_bytes()).unwrap();
    assert_eq!(names.index(root, &name), names.index(root, &decomposed));
    assert_ne!(names.index(root, &name), names.index(DirectoryId::from_bytes([9; 16]), &name));
    assert_ne!(names.index(root, &name), names.index(root, &FileName::new(b"Gr").unwrap()));
    assert_ne!(names.index(root, &name), ShareKey::generate().unwrap().names(SHARE).index(root, &name));

    let sealed = key.seal_text(SHARE, [1; 16], "title", "BGP flaps").unwrap();
    assert_eq!(key.open_text(SHARE, [1; 16], "title", &sealed).as_deref(), Ok("BGP flaps"));
    assert!(key.open_text(SHARE, [1; 16], "titl", &sealed).is_err());
    assert!(key.open_text(SHARE, [2; 16], "title", &sealed).is_err());
    assert!(key.open_text(OTHER_SHARE, [1; 16], "title", &sealed).is_err());
    assert!(names.open_name([1; 16], &sealed).is_err());
    // What opens but is no name is malformed, not a name.
    let no_name = names.bond(Purpose::Name, [1; 16], &[]).seal(&names.names, b"../x").unwrap();
    assert_eq!(names.open_name([1; 16], &no_name), Err(VaultError::Malformed { what: "sealed name" }));
}

#[test]
fn r07_a_file_key_refuses_past_its_cap() {
    let file = FileKey::generate().unwrap();
    let key = ExtentKey::generate().unwrap();
    file.used.store(MOST_ENCRYPTIONS - 2, Ordering::Relaxed);
    assert!(file.wrap_extent_key(VERSION, EXTENT, &key).is_ok());
    assert!(file.seal_state(VERSION, 0, b"").is_ok());
    for _ in 0..3 {
        let refused = Err(VaultError::TooManyEncryptions);
        assert_eq!(file.wrap_extent_key(VERSION, EXTENT, &key), refused);
        assert_eq!(file.seal_state(VERSION, 0, b"").map(|_| ()), Err(VaultError::TooManyEncryptions));
        assert_eq!(file.count_encryption(), Err(VaultError::TooManyEncryptions));
    }
}

#[test]
fn r07_no_nonce_of_a_wrap_comes_twice() {
    let (file, key) = (FileKey::generate().unwrap(), ExtentKey::generate().unwrap());
    let nonces: BTreeSet<[u8; 12]> = (0..100_000)
        .map(|_| file.wrap_extent_key(VERSION, EXTENT, &key).unwrap().as_bytes()[..12].try_into().unwrap())
        .collect();
    assert_eq!(nonces.len(), 100_000);
}

/// Does not compile as soon as a key gets one of the traits: the call would then have two
/// candidates.
#[test]
fn r13_keys_cannot_be_printed_copied_compared_or_serialised() {
    trait Unless<Marker> {
        fn holds() {}
    }
    impl<T> Unless<()> for T {}
    macro_rules! never {
        ($($bound:path),*; $($key:ty),*) => { never!(@ [$($bound),*] [$($key),*]) };
        (@ [] $keys:tt) => {};
        (@ [$bound:path $(, $more:path)*] [$($key:ty),*]) => {{
            {
                struct Marked;
                impl<T: $bound> Unless<Marked> for T {}
                $(<$key as Unless<_>>::holds();)*
            }
            never!(@ [$($more),*] [$($key),*]);
        }};
    }
    never!(fmt::Debug, fmt::Display, Clone, PartialEq, serde::Serialize;
        Kek, ShareKey, FileKey, ExtentKey, crate::TokenKey, NameKeys);

    fn wiped<T: ZeroizeOnDrop>() {}
    wiped::<Kek>();
    wiped::<ShareKey>();
    wiped::<FileKey>();
    wiped::<ExtentKey>();
    wiped::<crate::TokenKey>();
}
