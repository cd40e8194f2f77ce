//! What the parser must hold, whatever comes and however it is cut.

use proptest::prelude::*;

use super::*;

/// An event without borrowed bytes; neighbouring payload slices are one.
#[derive(Debug, PartialEq, Eq)]
enum Seen {
    Init(u32),
    Request(u32, Request),
    Write(u32, Handle, u64, u32, Vec<u8>, bool),
    Unknown(u32),
    Malformed(Option<u32>),
    Dead,
}

fn run<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<Seen> {
    let mut parser = Parser::default();
    let mut seen = Vec::new();
    for mut piece in pieces {
        loop {
            match parser.next(&mut piece) {
                Ok(None) => break,
                Ok(Some(Event::Init { version })) => seen.push(Seen::Init(version)),
                Ok(Some(Event::Request { id, request })) => seen.push(Seen::Request(id, request)),
                Ok(Some(Event::WriteBegin { id, handle, offset, length })) => {
                    seen.push(Seen::Write(id, handle, offset, length, Vec::new(), false));
                }
                Ok(Some(Event::WriteData(bytes))) => match seen.last_mut() {
                    Some(Seen::Write(.., payload, false)) if !bytes.is_empty() => payload.extend_from_slice(bytes),
                    other => panic!("payload behind {other:?}"),
                },
                Ok(Some(Event::WriteEnd)) => match seen.last_mut() {
                    Some(Seen::Write(_, _, _, length, payload, ended @ false)) => {
                        assert_eq!(*length as usize, payload.len());
                        *ended = true;
                    }
                    other => panic!("an end behind {other:?}"),
                },
                Ok(Some(Event::Unknown { id })) => seen.push(Seen::Unknown(id)),
                Ok(Some(Event::Malformed { id })) => seen.push(Seen::Malformed(id)),
                Err(BadLength) => {
                    seen.push(Seen::Dead);
                    assert_eq!(parser.next(&mut &b"\0\0\0\x09\x07\0\0\0\x01\0\0\0\0"[..]), Err(BadLength));
                    return seen;
                }
            }
        }
        assert!(piece.is_empty(), "input left over without an event");
        assert!(parser.packet.len() <= MAX_PACKET as usize + 4);
    }
    seen
}

fn packet(kind: u8, body: &[&[u8]]) -> Vec<u8> {
    let body = body.concat();
    let mut out = (body.len() as u32 + 1).to_be_bytes().to_vec();
    out.push(kind);
    out.extend_from_slice(&body);
    out
}

fn string(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u32).to_be_bytes(), bytes].concat()
}

fn id(id: u32) -> [u8; 4] {
    id.to_be_bytes()
}

const NO_ATTRS: [u8; 4] = [0; 4];

fn handle() -> Handle {
    Handle::from_wire(&[7; 32])
}

#[test]
fn each_request_is_understood() {
    let all_attrs = [
        &[0x80, 0, 0, 0x0f][..],
        &77u64.to_be_bytes(),
        &[0; 8],
        &0o100_640u32.to_be_bytes(),
        &[0, 0, 0, 9],
        &1_700_000_000u32.to_be_bytes(),
        &[0, 0, 0, 1],
        &string(b"x@y"),
        &string(b"z"),
    ]
    .concat();
    let wanted = Wanted { size: Some(77), mode: Some(0o640), modified: Some(Time::from_seconds(1_700_000_000)) };
    let (h, p) = (string(&[7; 32]), string(b"a\xff"));
    let path = b"a\xff".to_vec();
    let handle = handle();
    let extended = |name: &[u8], rest: &[u8]| packet(200, &[&id(1), &string(name), rest]);
    let none = Wanted::default();
    assert!(none.changes().is_none() && wanted.changes().is_some());
    let flags = Flags { read: true, write: true, append: false, create: true, truncate: true, exclusive: false };
    let asked = |of: &[u8]| {
        [of, &string(b"md5,sha256"), &[0, 0, 0, 0, 0, 0, 0, 1], &[0, 0, 0, 0, 0, 0, 0, 2], &[0, 0, 1, 0]].concat()
    };
    let check = |of, echoes| {
        let algorithms = b"md5,sha256".to_vec();
        Request::CheckFile(CheckFile { of, algorithms, start: 1, length: 2, block: 256, echoes })
    };
    let table = [
        (packet(3, &[&id(1), &p, &[0, 0, 0, 0x1b], &all_attrs]), Request::Open { path: path.clone(), flags, wanted }),
        (packet(4, &[&id(1), &h]), Request::Close { handle }),
        (
            packet(5, &[&id(1), &h, &u64::MAX.to_be_bytes(), &u32::MAX.to_be_bytes()]),
            Request::Read { handle, offset: u64::MAX, length: u32::MAX },
        ),
        (packet(7, &[&id(1), &p]), Request::Lstat { path: path.clone() }),
        (packet(8, &[&id(1), &h]), Request::Fstat { handle }),
        (packet(9, &[&id(1), &p, &all_attrs]), Request::SetStat { path: path.clone(), wanted }),
        (packet(10, &[&id(1), &h, &NO_ATTRS]), Request::FsetStat { handle, wanted: none }),
        (packet(11, &[&id(1), &p]), Request::OpenDir { path: path.clone() }),
        (packet(12, &[&id(1), &h]), Request::ReadDir { handle }),
        (packet(13, &[&id(1), &p]), Request::Remove { path: path.clone() }),
        (packet(14, &[&id(1), &p, &NO_ATTRS]), Request::MakeDir { path: path.clone() }),
        (packet(15, &[&id(1), &p]), Request::RemoveDir { path: path.clone() }),
        (packet(16, &[&id(1), &p]), Request::RealPath { path: path.clone() }),
        (packet(17, &[&id(1), &p]), Request::Stat { path: path.clone() }),
        (packet(18, &[&id(1), &p, &string(b"b")]), Request::Rename { from: path.clone(), to: b"b".to_vec() }),
        (packet(19, &[&id(1), &p]), Request::Links),
        (packet(20, &[&id(1), &p, &p]), Request::Links),
        (extended(b"limits@openssh.com", b""), Request::Limits),
        (extended(b"fsync@openssh.com", &h), Request::Fsync { handle }),
        (
            extended(b"posix-rename@openssh.com", &[&p[..], &p].concat()),
            Request::PosixRename { from: path.clone(), to: path.clone() },
        ),
        (extended(b"statvfs@openssh.com", &p), Request::StatVfs { path: path.clone() }),
        (extended(b"fstatvfs@openssh.com", &h), Request::FstatVfs { handle }),
        (extended(b"hardlink@openssh.com", &[&p[..], &p].concat()), Request::Links),
        (extended(b"home-directory", &p), Request::HomeDirectory),
        (extended(b"check-file-name", &asked(&p)), check(CheckedFile::Path(path), false)),
        (extended(b"check-file-handle", &asked(&h)), check(CheckedFile::Handle(handle), false)),
        (extended(b"check-file", &asked(&h)), check(CheckedFile::Handle(handle), true)),
        (extended(b"copy-data", b"whatever"), Request::OtherExtension),
    ];
    for (bytes, expected) in table {
        assert_eq!(run([&bytes[..]]), [Seen::Request(1, expected)]);
        // Each byte less and each byte more is malformed, and the id comes back. (An unknown
        // extension's body is opaque.)
        let opaque = bytes.windows(9).any(|w| w == b"copy-data");
        for length in 5..bytes.len() - 4 {
            let mut short = bytes[..4 + length].to_vec();
            short[..4].copy_from_slice(&(length as u32).to_be_bytes());
            if !opaque {
                assert_eq!(run([&short[..]]), [Seen::Malformed(Some(1))], "{length} of {bytes:x?}");
            }
        }
        let mut long = [&bytes[..], b"x"].concat();
        long[..4].copy_from_slice(&(bytes.len() as u32 - 3).to_be_bytes());
        if !opaque {
            assert_eq!(run([&long[..]]), [Seen::Malformed(Some(1))], "{bytes:x?}");
        }
    }
    assert_eq!(run([&packet(1, &[&id(6), &string(b"ext"), &string(b"1")])[..]]), [Seen::Init(6)]);
}

#[test]
fn r17_a_list_of_digests_without_end_is_malformed() {
    let ask = |commas: usize| {
        let list = string(&vec![b','; commas]);
        let body = [&string(b"check-file-name")[..], &string(b"a"), &list, &[0; 20]].concat();
        run([&packet(200, &[&id(1), &body])[..]])
    };
    assert!(matches!(ask(MAX_ALGORITHMS)[..], [Seen::Request(1, Request::CheckFile(_))]));
    assert_eq!(ask(MAX_ALGORITHMS + 1), [Seen::Malformed(Some(1))]);
}

fn write(handle: &[u8], offset: u64, payload: &[u8]) -> Vec<u8> {
    packet(6, &[&id(9), &string(handle), &offset.to_be_bytes(), &string(payload)])
}

#[test]
fn r48_a_write_of_nothing_is_a_write() {
    let bytes = [write(&[7; 32], 5, b""), write(&[7; 32], u64::MAX, b"abc")].concat();
    assert_eq!(
        run([&bytes[..]]),
        [Seen::Write(9, handle(), 5, 0, vec![], true), Seen::Write(9, handle(), u64::MAX, 3, b"abc".to_vec(), true)]
    );
}

#[test]
fn a_writes_payload_is_the_input_itself() {
    let bytes = write(&[7; 32], 0, &[b'x'; 1000]);
    let mut parser = Parser::default();
    let mut input = &bytes[..];
    assert!(matches!(parser.next(&mut input), Ok(Some(Event::WriteBegin { .. }))));
    match parser.next(&mut input) {
        Ok(Some(Event::WriteData(slice))) => {
            assert_eq!(slice.as_ptr_range(), bytes[bytes.len() - 1000..].as_ptr_range())
        }
        other => panic!("{other:?}"),
    }
    assert!(parser.packet.is_empty());
}

#[test]
fn r46_nothing_behind_an_oversize_packet_is_parsed() {
    let remove = packet(13, &[&id(2), &string(b"precious")]);
    for length in [MAX_PACKET + 1, u32::MAX, 0] {
        let bytes = [&length.to_be_bytes()[..], &remove, &remove, &vec![0; 300_000], &remove].concat();
        assert_eq!(run([&bytes[..]]), [Seen::Dead]);
        assert_eq!(run(bytes.chunks(7)), [Seen::Dead]);
    }
    let largest = packet(13, &[&id(2), &string(&vec![b'a'; MAX_PACKET as usize - 9])]);
    assert!(matches!(run([&largest[..]])[..], [Seen::Request(2, Request::Remove { .. })]));
}

#[test]
fn r47_a_malformed_packet_keeps_its_id_and_harms_no_neighbour() {
    let good = packet(16, &[&id(3), &string(b".")]);
    let realpath = || Seen::Request(3, Request::RealPath { path: b".".to_vec() });
    let mut lying = write(&[7; 32], 0, b"payload");
    let at = lying.len() - 8;
    lying[at] = 200; // The payload's length claims more than the packet has.
    let long_handle = write(&[7; 300], 0, b"payload");
    let mut wild_handle = write(&[7; 32], 0, b"payload");
    wild_handle[9] = 0xff;
    let short_write = packet(6, &[&id(9), &[0, 0]]);
    for bad in [lying, long_handle, wild_handle, short_write] {
        let bytes = [&bad[..], &good].concat();
        assert_eq!(run([&bytes[..]]), [Seen::Malformed(Some(9)), realpath()]);
        assert_eq!(run(bytes.chunks(1)), [Seen::Malformed(Some(9)), realpath()]);
    }
    let unknown = [&packet(99, &[&id(4), b"?"])[..], &packet(7, &[b"\0\0"]), &good].concat();
    assert_eq!(run([&unknown[..]]), [Seen::Unknown(4), Seen::Malformed(None), realpath()]);
}

/// Packets that are good, nearly good and bad.
fn packets() -> impl Strategy<Value = Vec<u8>> {
    let body = prop::collection::vec(any::<u8>(), 0..60);
    let one = prop_oneof![
        (0u8..25, body.clone()).prop_map(|(kind, body)| packet(kind, &[&body])),
        (any::<u8>(), body.clone()).prop_map(|(kind, body)| packet(kind, &[&id(1), &string(&body)])),
        (body.clone(), any::<u64>(), body.clone())
            .prop_map(|(handle, offset, payload)| write(&handle, offset, &payload)),
        body.prop_map(|path| packet(18, &[&id(5), &string(&path), &string(b"to")])),
        prop::collection::vec(any::<u8>(), 0..12),
    ];
    prop::collection::vec(one, 0..8).prop_map(|all| all.concat())
}

proptest! {
    #[test]
    fn r47_the_same_requests_however_the_bytes_are_cut(bytes in packets(), cuts in prop::collection::vec(1usize..40, 1..20)) {
        let whole = run([&bytes[..]]);
        let mut rest = &bytes[..];
        let mut pieces = Vec::new();
        for cut in cuts.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (piece, left) = rest.split_at((*cut).min(rest.len()));
            pieces.push(piece);
            rest = left;
        }
        prop_assert_eq!(&run(pieces), &whole);
        prop_assert_eq!(&run(bytes.chunks(1)), &whole);
    }

    #[test]
    fn r47_no_bytes_make_the_parser_panic(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        run([&bytes[..]]);
    }
}
