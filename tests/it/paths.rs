//! What a path means by the way it is written, to clients that customers have.

use std::fs;

use crate::orders::Mounted;
use crate::support::cannot;
use crate::support::child::{Finished, Run};
use crate::support::files::{random_file, sha256, show_tech};
use crate::support::server::{House, Ticket};

fn paths(house: &House, ticket: &Ticket) -> Vec<String> {
    let mut paths: Vec<String> =
        house.artifacts(ticket).iter().map(|line| line["path"].as_str().unwrap().to_owned()).collect();
    paths.sort();
    paths
}

/// Two files that are put into a directory which is not there would be two versions of one file.
#[test]
fn r76_a_path_with_a_slash_at_its_end_never_becomes_a_file() {
    let (house, ticket, _) = House::open();
    let customer = house.as_customer(&ticket);
    for name in ["one.txt", "two.txt"] {
        show_tech(&house.work().join(name), 3);
        let refused = |outcome: Finished| assert_ne!(outcome.code(), Some(0), "{outcome}");
        refused(customer.sftp(&format!("put {name} incoming/")).finish());
        refused(customer.scp().args([name, &customer.at("incoming/")]).finish());
        refused(customer.scp().args(["-O", name, &customer.at("incoming/")]).finish());
        refused(customer.psftp(&format!("put {name} incoming/")).finish());
    }
    assert!(paths(&house, &ticket).is_empty());
    // Where the directory is there, the same commands work.
    customer.sftp("mkdir incoming/\nput one.txt incoming/").finish().ok();
    customer.scp().args(["two.txt", &customer.at("incoming/")]).finish().ok();
    assert_eq!(paths(&house, &ticket), ["incoming/one.txt", "incoming/two.txt"]);
}

/// A customer keeps the files of a ticket in a folder of its name, and mirrors the folder above it,
/// again and again.
#[test]
fn a_folder_named_like_the_ticket_is_mirrored_once() {
    let (house, ticket, _) = House::open();
    let other = house.ticket("XT-4712", "anna");
    let folder = house.work().join("cases");
    for reference in [&ticket.reference, &other.reference] {
        fs::create_dir_all(folder.join(reference)).unwrap();
        show_tech(&folder.join(reference).join("show.txt"), 3);
    }
    show_tech(&folder.join("readme"), 2);
    let there = ["XT-4711/show.txt", "XT-4712/show.txt", "readme"];
    for round in 0..3 {
        house.as_customer(&ticket).rclone().args(["sync", "cases", ":sftp:/"]).finish().ok();
        assert_eq!(paths(&house, &ticket), there, "rclone, round {round}");
        house.as_customer(&other).lftp("mirror -R --delete cases /").finish().ok();
        assert_eq!(paths(&house, &other), there, "lftp, round {round}");
    }
    let versions = |ticket: &Ticket| house.artifacts(ticket).iter().all(|line| line["version"] == 1);
    assert!(versions(&ticket) && versions(&other), "nothing was sent twice");
}

#[test]
fn a_lock_on_a_mounted_share_is_made_and_df_shows_the_share() {
    if cannot("fuse") {
        return;
    }
    let (house, ticket, _) = House::new().set("LIMITS__SHARE_GIB", "2").furnish();
    let file = random_file(&house.work().join("dump.bin"), 100 << 20, 5);
    house.put(&ticket, &file, "dump.bin");
    let mounted = Mounted::new(&house, &ticket, "share");
    // The shell that `flock` starts has the lock, which was opened for reading and made by that.
    Run::new("flock").arg(mounted.path.join("lock")).args(["-c", "true"]).finish().ok();
    assert_eq!(fs::metadata(mounted.path.join("lock")).unwrap().len(), 0);
    let shown = Run::new("df").args(["--output=size,used", "-B1M"]).arg(&mounted.path).finish().ok().out();
    let figures: Vec<u64> = shown.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    let [size, used] = figures[..] else { panic!("{shown}") };
    assert!(size <= 2048 && (100..110).contains(&used), "{shown}");
    mounted.finish();
    house.assert_holds(&ticket, "dump.bin", &sha256(&file));
}
