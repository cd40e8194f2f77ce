//! FLOE against the known answers of its authors, and against every change of a byte.

use std::path::PathBuf;

use super::*;

const KEY: [u8; 32] = [0; 32];
const AAD: &[u8] = b"This is AAD";

fn parameters(segment: u32, rotation: u32) -> Parameters {
    Parameters { segment, rotation }
}

/// Splits a message where its length fields say, as a reader without any other knowledge would.
fn open_all(parameters: Parameters, key: &[u8; 32], aad: &[u8], message: &[u8]) -> Result<Vec<u8>, VaultError> {
    let malformed = VaultError::Malformed { what: "test message" };
    let (header, mut rest) = message.split_first_chunk::<HEADER>().ok_or(malformed)?;
    let opener = Opener::new(parameters, key, aad, header)?;
    let mut plaintext = Vec::new();
    for position in 0.. {
        let last = *rest.first_chunk::<4>().ok_or(malformed)? != INNER;
        let length = if last { rest.len() } else { parameters.segment as usize };
        let (segment, after) = rest.split_at_checked(length).ok_or(malformed)?;
        plaintext.extend_from_slice(opener.open(position, last, &mut segment.to_vec())?);
        if last {
            return Ok(plaintext);
        }
        rest = after;
    }
    unreachable!()
}

fn seal_all(parameters: Parameters, plaintext: &[u8]) -> Vec<u8> {
    let full = parameters.segment as usize - OVERHEAD;
    let mut sealer = Sealer::new(parameters, &KEY, AAD).unwrap();
    let mut message = sealer.header().to_vec();
    let (inner, last) = plaintext.split_at(plaintext.len() / full * full);
    for text in inner.chunks(full) {
        let mut segment = [&[0; LEAD], text, &[0; TAG]].concat();
        sealer.seal_inner(&mut segment).unwrap();
        message.extend_from_slice(&segment);
    }
    let mut segment = [&[0; LEAD], last, &[0; TAG]].concat();
    sealer.seal_last(&mut segment).unwrap();
    message.extend_from_slice(&segment);
    let mut more = vec![0; parameters.segment as usize];
    assert_eq!(sealer.seal_inner(&mut more), Err(VaultError::Ended));
    assert_eq!(sealer.seal_last(&mut more), Err(VaultError::Ended));
    message
}

#[test]
fn r08_known_answers_of_go_java_cpp_and_rust_open() {
    let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/floe-kats");
    let mut tried = 0;
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let Some(case) = name.strip_suffix("_ct.txt") else { continue };
        let read = |suffix: &str| {
            let text = std::fs::read_to_string(path.with_file_name(format!("{case}_{suffix}.txt"))).unwrap();
            hex::decode(text.trim()).unwrap()
        };
        let parameters = match case.split_once('_').unwrap().1 {
            "GCM256_IV256_64" => parameters(64, 20),
            "GCM256_IV256_4K" => parameters(4096, 20),
            "rotation" => parameters(40, 2),
            "lastSegAligned" | "lastSegEmpty" => parameters(40, 20),
            other => panic!("unknown known answer {other}"),
        };
        let (ciphertext, plaintext) = (read("ct"), read("pt"));
        assert_eq!(open_all(parameters, &KEY, AAD, &ciphertext), Ok(plaintext), "{name}");
        assert!(open_all(parameters, &KEY, b"This is AAE", &ciphertext).is_err(), "{name}");
        tried += 1;
    }
    assert_eq!(tried, 12);
}

#[test]
fn what_is_sealed_opens_at_all_lengths_and_rotations() {
    for parameters in [parameters(64, 20), parameters(40, 2), parameters(4096, 20)] {
        let full = parameters.segment as usize - OVERHEAD;
        for length in (0..=full.min(64)).chain([full - 1, full, full + 1, 5 * full, 13 * full + 1]) {
            let plaintext: Vec<u8> = (0..length).map(|i| i as u8).collect();
            let message = seal_all(parameters, &plaintext);
            assert_eq!(open_all(parameters, &KEY, AAD, &message), Ok(plaintext));
        }
    }
}

#[test]
fn r02_r03_every_changed_byte_and_every_other_length_is_refused() {
    for parameters in [parameters(64, 20), parameters(40, 1)] {
        let message = seal_all(parameters, &[0x5a; 70]);
        for at in 0..message.len() {
            for bit in 0..8 {
                let mut changed = message.clone();
                changed[at] ^= 1 << bit;
                assert!(open_all(parameters, &KEY, AAD, &changed).is_err(), "bit {bit} of byte {at}");
            }
            assert!(open_all(parameters, &KEY, AAD, &message[..at]).is_err(), "cut to {at}");
        }
        for more in 1..200 {
            for byte in [0, 0xff] {
                let longer = [&message[..], &vec![byte; more]].concat();
                assert!(open_all(parameters, &KEY, AAD, &longer).is_err(), "{more} bytes more");
            }
        }
    }
}

#[test]
fn r06_a_wrong_key_is_refused_by_the_header_tag() {
    let message = seal_all(parameters(64, 20), b"text");
    let wrong = open_all(parameters(64, 20), &[1; 32], AAD, &message);
    assert_eq!(wrong, Err(VaultError::WrongKey { what: HEADER_WHAT }));
}
