//! tacdrop as an installed service: what a service manager hears, as which user commands work, and
//! what packages bring.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::net::UnixDatagram;
use std::path::Path;

use crate::support::child::Run;
use crate::support::files::all_files;
use crate::support::server::House;
use crate::support::{PATIENCE, binary, cannot, repository};

/// Debian's `nobody`.
const NOBODY: u32 = 65534;

#[test]
fn a_service_manager_hears_when_the_server_is_ready_that_it_lives_and_that_it_drains() {
    let place = tempfile::tempdir().unwrap();
    let manager = UnixDatagram::bind(place.path().join("notify")).unwrap();
    manager.set_read_timeout(Some(PATIENCE)).unwrap();
    let hear = || {
        let mut bytes = [0; 1024];
        let length = manager.recv(&mut bytes).unwrap();
        String::from_utf8(bytes[..length].to_vec()).unwrap()
    };
    let house = House::new()
        .server_env("NOTIFY_SOCKET", place.path().join("notify").to_str().unwrap())
        .server_env("WATCHDOG_USEC", "400000");
    let (mut house, ..) = house.furnish();
    let first: Vec<_> = (0..4).map(|_| hear()).collect();
    assert_eq!(first.iter().filter(|said| said.trim_end() == "READY=1").count(), 1, "{first:?}");
    assert!(first.iter().filter(|said| said.trim_end() == "WATCHDOG=1").count() == 3, "{first:?}");
    house.stop();
    let draining = std::iter::repeat_with(hear).find(|said| said.contains("STOPPING=1")).unwrap();
    assert!(draining.contains("EXTEND_TIMEOUT_USEC="), "{draining:?}");
}

/// Whatever root does with the data of another user, the server of that user can read.
#[test]
fn what_root_does_with_another_users_data_belongs_to_that_user() {
    if cannot("root") {
        return;
    }
    let place = tempfile::tempdir().unwrap();
    fs::set_permissions(place.path(), fs::Permissions::from_mode(0o755)).unwrap();
    // Where that user can reach it.
    let program = place.path().join("tacdrop");
    fs::copy(binary(), &program).unwrap();
    let data = place.path().join("data");
    fs::create_dir(&data).unwrap();
    fs::set_permissions(&data, fs::Permissions::from_mode(0o700)).unwrap();
    chown(&data, Some(NOBODY), Some(NOBODY)).unwrap();
    let key = place.path().join("anna");
    Run::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&key).finish().ok();
    let public = key.with_extension("pub");
    fs::set_permissions(&public, fs::Permissions::from_mode(0o600)).unwrap();
    let tacdrop = || Run::new(&program).arg("--data").arg(&data);
    tacdrop().args(["organisation", "add", "ACME", "--name", "ACME"]).finish().ok();
    let add = || tacdrop().args(["engineer", "add", "anna", "--email", "anna@example.org", "--key"]);
    // Its owner alone may read it, and the sentence says what helps.
    let refused = add().arg(&public).finish().refused(1);
    assert!(refused.err().contains("'-' instead of the file"), "{refused}");
    add().arg("-").stdin(fs::read(&public).unwrap()).finish().ok();
    tacdrop().args(["ticket", "open", "XT-1", "--organisation", "ACME", "--engineer", "anna"]).finish().ok();
    tacdrop().env("TACDROP__SERVER__LISTEN", "127.0.0.1:0").arg("doctor").finish().ok();
    let files = all_files(&data);
    assert!(files.len() > 3, "{files:?}");
    for file in files {
        assert_eq!(fs::metadata(&file).unwrap().uid(), NOBODY, "{}", file.display());
    }
}

#[test]
fn a_doctor_warns_when_people_are_told_an_address_that_leads_to_their_own_machine() {
    let house = House::new().set("SERVER__LISTEN", "0.0.0.0:0");
    let warned = house.tacdrop(["doctor"]).out();
    assert!(warned.contains("set server.public_host"), "{warned}");
    let told = house.set("SERVER__PUBLIC_HOST", "drop.example.org").tacdrop(["doctor"]).out();
    assert!(!told.contains("set server.public_host"), "{told}");
}

#[test]
fn completions_are_what_the_shell_can_read_and_each_command_has_a_page() {
    let place = tempfile::tempdir().unwrap();
    let script = Run::new(binary()).args(["completions", "bash"]).finish().ok().out();
    Run::new("bash").arg("-n").stdin(script).finish().ok();
    let pages = place.path().join("man1");
    Run::new(binary()).arg("manual").arg(&pages).finish().ok();
    for page in ["tacdrop.1", "tacdrop-serve.1", "tacdrop-ticket-open.1", "tacdrop-audit-verify.1"] {
        assert!(fs::read_to_string(pages.join(page)).unwrap().contains(".SH SYNOPSIS"), "{page}");
    }
}

/// What the package is made of is there, and its settings are good ones.
#[test]
fn the_package_names_what_there_is() {
    let manifest = fs::read_to_string(repository().join("Cargo.toml")).unwrap();
    let assets = manifest.split_once("\nassets = [\n").unwrap().1.split_once("\n]").unwrap().0;
    let sources: Vec<_> = assets.lines().filter_map(|line| line.split('"').nth(1)).collect();
    assert!(sources.len() > 8, "{sources:?}");
    for source in sources.iter().filter(|source| !source.starts_with("target/") && !source.contains('*')) {
        assert!(repository().join(source).exists(), "{source}");
    }
    let settings = repository().join("packaging/tacdrop.toml");
    Run::new(binary()).args([Path::new("--config"), &settings]).args(["config", "check"]).finish().ok();
    let unit = fs::read_to_string(repository().join("packaging/systemd/tacdrop.service")).unwrap();
    let command = unit.lines().find_map(|line| line.strip_prefix("ExecStart=")).unwrap();
    let wrapper = fs::read_to_string(repository().join("packaging/tacdrop")).unwrap();
    for place in command.split_whitespace().filter(|word| word.starts_with('/')) {
        assert!(wrapper.contains(place), "the unit and the command line differ: {place}");
    }
}
