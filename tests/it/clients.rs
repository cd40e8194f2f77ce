//! The clients that customers have. What each of them sends must arrive, and what it fetches must
//! be the same.

use std::fs;

use crate::support::child::Run;
use crate::support::files::{random_file, sha256, show_tech};
use crate::support::server::House;

const MIB: u64 = 1 << 20;

#[test]
fn openssh_scp_copies_up_and_down() {
    let (house, ticket, key) = House::open();
    let large = random_file(&house.work().join("large.bin"), 40 * MIB, 1);
    let small = show_tech(&house.work().join("a b.txt"), 40);
    fs::create_dir_all(house.work().join("tree/sub")).unwrap();
    let nested = random_file(&house.work().join("tree/sub/x.bin"), 70_001, 2);
    let port = house.port().to_string();
    let target = format!("{}@127.0.0.1:", ticket.reference);
    let scp = || house.with_token("scp", &ticket.token).args(["-s", "-q", "-P", &port]);
    scp().args(["large.bin", "a b.txt", &target]).finish().ok();
    scp().args(["-r", "-p", "tree", &target]).finish().ok();
    for (path, source) in [("large.bin", &large), ("a b.txt", &small), ("tree/sub/x.bin", &nested)] {
        house.assert_holds(&ticket, path, &sha256(source));
    }
    // A shorter one over a longer one: scp truncates through the handle.
    fs::write(house.work().join("large.bin"), b"now it is short").unwrap();
    scp().args(["large.bin", &target]).finish().ok();
    house.assert_holds(&ticket, "large.bin", &sha256(&house.work().join("large.bin")));
    let back = house.work().join("back");
    fs::create_dir(&back).unwrap();
    let from = |path: &str| format!("anna@127.0.0.1:/XT-4711/{path}");
    let scp = || house.with_key("scp", &key).args(["-s", "-q", "-P", &port]);
    scp().args([&from("large.bin"), &from("a b.txt"), "back"]).finish().ok();
    scp().args(["-r", &from("tree"), "back"]).finish().ok();
    assert_eq!(fs::read(back.join("large.bin")).unwrap(), b"now it is short");
    assert_eq!(sha256(&back.join("a b.txt")), sha256(&small));
    assert_eq!(sha256(&back.join("tree/sub/x.bin")), sha256(&nested));
}

#[test]
fn lftp_puts_gets_and_mirrors() {
    let (house, ticket, _) = House::open();
    let source = random_file(&house.work().join("core dump.bin"), 34 * MIB, 3);
    fs::create_dir_all(house.work().join("tree/a/b")).unwrap();
    let files = ["tree/1", "tree/a/2", "tree/a/b/3", "tree/a/b/Größe"];
    for (seed, file) in files.iter().enumerate() {
        random_file(&house.work().join(file), 50_000 * (1 + seed as u64), seed as u64);
    }
    let commands = "put 'core dump.bin'; mirror -R -P3 tree tree; get 'core dump.bin' -o back.bin; \
                    pget -n4 'core dump.bin' -o parts.bin; mirror -P3 tree back; ls";
    house.as_customer(&ticket).lftp(commands).finish().ok();
    house.assert_holds(&ticket, "core dump.bin", &sha256(&source));
    assert_eq!(sha256(&house.work().join("back.bin")), sha256(&source));
    assert_eq!(sha256(&house.work().join("parts.bin")), sha256(&source));
    for file in files {
        let expected = sha256(&house.work().join(file));
        house.assert_holds(&ticket, file, &expected);
        assert_eq!(sha256(&house.work().join(file.replacen("tree", "back", 1))), expected);
    }
}

#[test]
fn paramiko_puts_and_gets_sixty_mebibytes_with_prefetch() {
    let (house, ticket, _) = House::open();
    let source = random_file(&house.work().join("dump.bin"), 60 * MIB, 5);
    house.python("paramiko_trip.py", &ticket).args(["dump.bin", "remote.bin", "back.bin"]).finish().ok();
    house.assert_holds(&ticket, "remote.bin", &sha256(&source));
    assert_eq!(sha256(&house.work().join("back.bin")), sha256(&source));
}

#[test]
fn asyncssh_puts_and_gets_out_of_order() {
    let (house, ticket, _) = House::open();
    let source = random_file(&house.work().join("dump.bin"), 60 * MIB, 6);
    house.python("asyncssh_trip.py", &ticket).args(["dump.bin", "remote.bin", "back.bin"]).finish().ok();
    house.assert_holds(&ticket, "remote.bin", &sha256(&source));
    assert_eq!(sha256(&house.work().join("back.bin")), sha256(&source));
}

#[test]
fn curl_makes_directories_and_uploads() {
    let version = Run::new("curl").arg("-V").finish().ok().out();
    let protocols = version.lines().find(|line| line.starts_with("Protocols:")).unwrap_or_default();
    assert!(protocols.contains(" sftp"), "this curl speaks no SFTP, install Debian's: {version}");
    let (house, ticket, _) = House::open();
    let source = random_file(&house.work().join("dump.bin"), 20 * MIB, 7);
    let customer = house.as_customer(&ticket);
    let target = customer.url("new/deep/dump.bin");
    customer.curl().args(["--ftp-create-dirs", "-T", "dump.bin", &target]).finish().ok();
    house.assert_holds(&ticket, "new/deep/dump.bin", &sha256(&source));
    customer.curl().args(["-o", "back.bin", &target]).finish().ok();
    assert_eq!(sha256(&house.work().join("back.bin")), sha256(&source));
}

#[test]
fn psftp_puts_and_gets() {
    let (house, ticket, _) = House::open();
    let source = random_file(&house.work().join("dump.bin"), 5 * MIB, 8);
    let commands = "put dump.bin \"remote dump.bin\"\nget \"remote dump.bin\" back.bin\nls";
    house.as_customer(&ticket).psftp(commands).finish().ok();
    house.assert_holds(&ticket, "remote dump.bin", &sha256(&source));
    assert_eq!(sha256(&house.work().join("back.bin")), sha256(&source));
}

#[test]
fn rclone_copies_up_and_checks_the_size() {
    let (house, ticket, _) = House::open();
    fs::create_dir_all(house.work().join("tree/sub")).unwrap();
    let large = random_file(&house.work().join("tree/large.bin"), 20 * MIB, 9);
    let small = show_tech(&house.work().join("tree/sub/show tech.txt"), 100);
    let customer = house.as_customer(&ticket);
    customer.rclone().args(["copy", "tree", ":sftp:tree"]).finish().ok();
    house.assert_holds(&ticket, "tree/large.bin", &sha256(&large));
    house.assert_holds(&ticket, "tree/sub/show tech.txt", &sha256(&small));
    customer.rclone().args(["check", "--size-only", "tree", ":sftp:tree"]).finish().ok();
}
