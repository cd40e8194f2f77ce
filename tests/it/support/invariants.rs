//! The invariants of the requirements, checked from outside after whatever a test did to a house.

use std::collections::HashMap;

use serde_json::{Value, json};

use super::child::Run;
use super::mail::Mail;
use super::server::{House, Ticket, mails_in};
use super::{eventually, files, python, script};

/// Whether an artifact's or a verification's line is of this path.
fn is_at(line: &Value, path: &str) -> bool {
    line["path"].as_str().unwrap().trim_start_matches('/') == path.trim_start_matches('/')
}

/// An upload whose CLOSE succeeded: ticket, path, SHA-256.
pub(crate) type Acknowledged<'a> = (&'a Ticket, &'a str, String);

impl House {
    /// I1 to I6, as far as they can be seen from outside. The house must be serving. `canaries` are
    /// contents and names that must be nowhere in clear. I4 waits for quotas.
    #[track_caller]
    pub(crate) fn check_invariants(&self, acknowledged: &[Acknowledged<'_>], canaries: &[&[u8]]) {
        // I1: what was acknowledged is there. Each ticket is asked once, however much it was told.
        let mut listed: HashMap<&str, Vec<Value>> = HashMap::new();
        for (ticket, path, sha256) in acknowledged {
            let list = listed.entry(&ticket.reference).or_insert_with(|| self.artifacts(ticket));
            let artifact = list.iter().find(|artifact| is_at(artifact, path));
            let artifact = artifact.unwrap_or_else(|| panic!("I1: {path} is not listed, but {list:#?}"));
            assert_eq!(
                (&artifact["state"], &artifact["sha256"]),
                (&json!("available"), &json!(sha256)),
                "I1: {artifact}"
            );
        }

        // I2: what is called available can be read in whole and is what it was.
        let verified = self.tacdrop(["artifact", "verify", "--json"]).ok().json();
        let verified = verified.as_array().unwrap();
        assert!(verified.iter().all(|line| line["intact"] == true), "I2: {verified:#?}");
        let mut available = Vec::new();
        for ticket in self.json(["ticket", "list"]).as_array().unwrap() {
            let reference = ticket["reference"].as_str().unwrap();
            for artifact in self.json(["artifact", "list", reference]).as_array().unwrap() {
                if artifact["state"] == "available" {
                    let found = verified.iter().any(|line| {
                        line["ticket"] == reference
                            && line["version"] == artifact["version"]
                            && is_at(line, artifact["path"].as_str().unwrap())
                    });
                    assert!(found, "I2: {artifact} was not verified");
                    available.push((reference.to_owned(), artifact.clone()));
                }
            }
        }

        // I3: each of them was told of, and nothing else was.
        let missing = |house: &Self| {
            let delivered: Vec<_> = house
                .notices()
                .into_iter()
                .filter(|notice| notice["state"] == "delivered" && notice["channel"] != "none")
                .collect();
            available.iter().find_map(|(ticket, artifact)| {
                let told = delivered.iter().filter(|notice| notice["ticket"] == ticket.as_str()).any(|notice| {
                    notice["artifacts"].as_array().unwrap().iter().any(|told| {
                        told["about"] == "available"
                            && told["id"] == artifact["id"]
                            && told["version"] == artifact["version"]
                    })
                });
                (!told).then(|| artifact.clone())
            })
        };
        eventually("I3: a delivered notice of every available artifact", || missing(self).is_none().then_some(()));
        for notice in self.notices() {
            let as_whole = |told: &&serde_json::Value| told["about"] == "available";
            for told in notice["artifacts"].as_array().unwrap().iter().filter(as_whole) {
                let known = verified.iter().any(|line| {
                    line["version"] == told["version"]
                        && line["ticket"] == notice["ticket"]
                        && line["path"] == told["path"]
                });
                assert!(known, "I3: {notice} tells of something that is not complete");
            }
        }

        // I5: the audit chain holds, by the program and by another reading of its format.
        self.tacdrop(["audit", "verify"]).ok();
        Run::new(python()).arg("-B").arg(script("records.py")).arg("audit").arg(self.data()).finish().ok();

        // I6: nothing is in clear.
        let spool = self.data().join("notices");
        let hits = files::files_holding(&self.data(), &spool, canaries);
        assert!(hits.is_empty(), "I6: {hits:#?}");

        // And the server's own check agrees.
        self.tacdrop(["store", "check"]).ok();
    }

    /// The mails in the spool, read.
    pub(crate) fn mails(&self) -> Vec<Mail> {
        mails_in(&self.data().join("notices")).iter().map(|text| Mail::parse(text)).collect()
    }
}
