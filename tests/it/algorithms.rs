//! What a server offers to agree on, as a stranger's program judges it.

use serde_json::Value;

use crate::support::child::Run;
use crate::support::server::House;

#[test]
fn r40_ssh_audit_finds_nothing_that_fails() {
    let (house, _, _) = House::open();
    let program = crate::support::python().with_file_name("ssh-audit");
    let port = house.port().to_string();
    let run = Run::new(program).args(["--skip-rate-test", "-j", "-p", &port, "127.0.0.1"]).finish();
    let report: Value = serde_json::from_str(&run.out()).unwrap_or_else(|why| panic!("{why}: {}", run.out()));
    let mut offered = Vec::new();
    for kind in ["kex", "key", "enc", "mac"] {
        for algorithm in report[kind].as_array().unwrap() {
            let name = algorithm["algorithm"].as_str().unwrap();
            assert!(algorithm["notes"]["fail"].is_null(), "{algorithm}");
            offered.push(name.to_owned());
        }
    }
    for wanted in ["mlkem768x25519-sha256", "kex-strict-s-v00@openssh.com", "ssh-ed25519", "aes256-gcm@openssh.com"] {
        assert!(offered.iter().any(|name| name == wanted), "{wanted} is not among {offered:?}");
    }
    assert_eq!(report["compression"], serde_json::json!(["none"]));
    assert_eq!(report["cves"], serde_json::json!([]));
}
