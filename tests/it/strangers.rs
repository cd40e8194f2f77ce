//! Strangers before the login: they come in numbers and say nothing, something, or the same over
//! and over. Whoever has a token gets in, and the log stays short.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::time::Duration;

use rustix::net::{AddressFamily, SocketType, bind, connect, socket};

use crate::support::files::{random_file, sha256};
use crate::support::server::House;

/// A connection from an address of this machine's own.
fn stranger(house: &House, from: [u8; 4]) -> TcpStream {
    let descriptor = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    bind(&descriptor, &SocketAddrV4::new(Ipv4Addr::from(from), 0)).unwrap();
    connect(&descriptor, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, house.port())).unwrap();
    let stream = TcpStream::from(descriptor);
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    stream
}

/// A list of algorithms with one key exchange (RFC 4253, section 7.1).
fn offer(kex: &str) -> Vec<u8> {
    let list = |names: &str| [&u32::try_from(names.len()).unwrap().to_be_bytes()[..], names.as_bytes()].concat();
    let cipher = list("aes128-gcm@openssh.com");
    let mac = list("hmac-sha2-256");
    let none = list("none");
    let (lists, rest) =
        ([list(kex), list("ssh-ed25519"), cipher.clone(), cipher, mac.clone(), mac, none.clone(), none], [0; 13]);
    packet(&[&[20][..], &[7; 16], &lists.concat(), &rest].concat())
}

/// A packet as it is before keys are agreed on (RFC 4253, section 6).
fn packet(payload: &[u8]) -> Vec<u8> {
    let padding = 4 + (8 - (5 + payload.len() + 4) % 8) % 8;
    let length = u32::try_from(1 + payload.len() + padding).unwrap();
    [&length.to_be_bytes()[..], &[padding as u8], payload, &vec![0; padding]].concat()
}

#[test]
fn r33_r85_strangers_that_hold_every_place_keep_nobody_out() {
    let (house, ticket, _) = House::new().set("LIMITS__UNAUTHENTICATED_CONNECTIONS", "12").furnish();
    let words: [&[u8]; 3] =
        [b"", b"SSH-2.0-stranger\r\n", &[b"SSH-2.0-stranger\r\n", &offer("curve25519-sha256")[..]].concat()];
    let mut there = Vec::new();
    for (kind, word) in words.into_iter().enumerate() {
        for n in 0..40u8 {
            let mut socket = stranger(&house, [127, 0, 10 + kind as u8, 1 + n]);
            // It may have been turned away already.
            let _ = socket.write_all(word);
            there.push(socket);
        }
        house.customer(&ticket, "ls").ok();
    }
}

#[test]
fn r33_silent_strangers_behind_the_same_address_keep_nobody_out_either() {
    let (house, ticket, _) = House::new().set("LIMITS__UNAUTHENTICATED_PER_SOURCE", "4").furnish();
    let there: Vec<_> = (0..4).map(|_| stranger(&house, [127, 0, 0, 1])).collect();
    // Their patience is a matter of seconds, and not of the whole time for a login.
    crate::support::eventually("a login", || (house.customer(&ticket, "ls").code() == Some(0)).then_some(()));
    drop(there);
}

#[test]
fn r40_a_client_that_knows_only_a_dear_key_exchange_is_served() {
    let (house, ticket, _) = House::open();
    let source = random_file(&house.work().join("dump"), 300_000, 3);
    let kex = ["KexAlgorithms=diffie-hellman-group16-sha512", "RekeyLimit=100K"];
    house.as_customer(&ticket).sftp_with(&kex, &format!("put {} dump", source.display())).finish().ok();
    house.assert_holds(&ticket, "dump", &sha256(&source));
}

#[test]
fn strangers_leave_few_lines_in_the_log_whatever_they_do() {
    let (house, ticket, _) = House::open();
    let before = house.log().lines().count();
    let words: [&[u8]; 4] = [
        b"",
        b"GET / HTTP/1.1\r\n\r\n",
        &[b"SSH-2.0-stranger\r\n", &offer("none-of-these")[..]].concat(),
        &[b"SSH-2.0-stranger\r\n", &offer("curve25519-sha256")[..], &packet(&[31, 0, 0, 0, 1, 9])].concat(),
    ];
    for n in 0..100 {
        for word in words {
            let mut socket = stranger(&house, [127, 0, 30, 1 + n]);
            let _ = socket.write_all(word);
            let _ = socket.shutdown(std::net::Shutdown::Write);
            // Until the server has closed it.
            let _ = socket.read_to_end(&mut Vec::new());
        }
    }
    house.customer(&ticket, "ls").ok();
    let lines = house.log().lines().count() - before;
    assert!(lines < 30, "{lines} lines:\n{}", house.log());
}
